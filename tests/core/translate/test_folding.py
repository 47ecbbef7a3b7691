"""Streams folded back into whole answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.dialects import Protocol
from core.errors import UpstreamFailed, UpstreamSaid
from core.translate.folding import fold
from tests.core.translate.streaming import (
    DONE,
    call,
    calls,
    chunk,
    closed,
    delta,
    ending,
    frames,
    opened,
    piece,
    start,
    text,
    thinking,
    tool,
)

ERROR = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}


def folded(wire: Protocol, *events: Any) -> Any:
    return json.loads(fold(wire, frames(*events)))


def test_a_messages_stream() -> None:
    cited = [
        opened(3, "text", text="so "),
        piece(3, "citations_delta", citation={"url": "x"}),
        piece(3, "text_delta", text="it is"),
        closed(3),
    ]
    search = [
        opened(4, "server_tool_use", id="s", name="web_search", input={}),
        piece(4, "input_json_delta", partial_json='{"q": 1.0}'),
        closed(4),
    ]
    events = [
        start(input_tokens=3, read=2),
        *thinking(0, "h", "m", signature="s"),
        *text(1, "Hi", "!"),
        *tool(2),
        *cited,
        *search,
        *tool(5, '{"a'),
        {"type": "ping"},
    ]
    found = folded(Protocol.ANTHROPIC, *events, *ending("max_tokens", input_tokens=3, output_tokens=9, read=2))
    assert found == {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "Hi!"},
            {"type": "tool_use", "id": "c1", "name": "read", "input": {}},
            {"type": "text", "text": "so it is", "citations": [{"url": "x"}]},
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": 1.0}},
            {"type": "tool_use", "id": "c1", "name": "read", "input": {"_raw": '{"a'}},
        ],
        "stop_reason": "max_tokens", "stop_sequence": None,
        "usage": {"input_tokens": 3, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 2, "output_tokens": 9},
    }  # fmt: skip


def test_usage_of_a_messages_stream_is_that_of_the_start_under_that_of_the_end() -> None:
    final: Any = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": 2, "input_tokens": None, "x": 1},
    }
    found = folded(Protocol.ANTHROPIC, start(input_tokens=3), final, {"type": "message_stop"})
    assert found["usage"] == {"input_tokens": 3, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 2, "x": 1}
    final["usage"] = None
    assert folded(Protocol.ANTHROPIC, start(input_tokens=3), final, {"type": "message_stop"})["usage"]["input_tokens"] == 3


def test_a_chat_stream() -> None:
    details = [
        {"type": "reasoning.text", "text": "h", "signature": "s", "index": 0},
        {"type": "reasoning.encrypted", "data": "x", "index": 1},
    ]
    custom = {"index": 1, "id": "c2", "type": "custom", "custom": {"name": "sql", "input": "SEL"}}
    found = folded(
        Protocol.OPENAI,
        {**delta(role="assistant", content=""), "system_fingerprint": "f"}, delta(reasoning_content="h"), delta(reasoning="m"),
        delta(reasoning_details=details[:1]), delta(reasoning_details=details[1:]), delta(content="H"), delta(content="i"), delta(refusal="N"), delta(refusal="o"),
        calls(call(0, '{"a"', id="c1", name="read")), calls(call(0, ":1}"), custom), calls({"index": 1, "custom": {"input": "ECT"}}),
        delta("tool_calls"), chunk([], usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}), DONE,
    )  # fmt: skip
    message = {
        "role": "assistant", "content": "Hi", "refusal": "No", "reasoning_content": "hm", "reasoning_details": details,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "read", "arguments": '{"a":1}'}},
            {"id": "c2", "type": "custom", "custom": {"name": "sql", "input": "SELECT"}},
        ],
    }  # fmt: skip
    assert found == {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 7, "model": "glm", "system_fingerprint": "f",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }  # fmt: skip


def test_a_chat_stream_of_nothing_and_without_usage() -> None:
    found = folded(Protocol.OPENAI, {**delta(role="assistant"), "usage": None}, delta("stop"), DONE)
    assert "usage" not in found
    assert found["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": None, "refusal": None}, "logprobs": None, "finish_reason": "stop"}
    ]


def test_several_answers_are_kept_apart() -> None:
    def two(number: int, finish: str | None, **members: Any) -> Any:
        return chunk([{"index": number, "delta": members, "finish_reason": finish}])

    found = folded(Protocol.OPENAI, two(1, None, content="b"), two(0, "stop", content="a"), two(1, "length"), DONE)
    assert [(one["index"], one["message"]["content"], one["finish_reason"]) for one in found["choices"]] == [
        (0, "a", "stop"),
        (1, "b", "length"),
    ]


@pytest.mark.parametrize(
    ("wire", "events"),
    [
        pytest.param(Protocol.ANTHROPIC, [ERROR], id="Messages, at once"),
        pytest.param(Protocol.ANTHROPIC, [start(), *text(0, "Hi"), ending()[0], ERROR], id="Messages, in place of message_stop"),
        pytest.param(Protocol.OPENAI, [delta(content="Hi"), {"error": {"message": "busy"}}], id="chat"),
    ],
)
def test_an_error_in_the_stream_is_raised(wire: Protocol, events: list[Any]) -> None:
    with pytest.raises(UpstreamSaid, match="busy"):
        fold(wire, frames(*events))


@pytest.mark.parametrize(
    ("wire", "events"),
    [
        pytest.param(Protocol.ANTHROPIC, [], id="Messages, nothing"),
        pytest.param(Protocol.ANTHROPIC, [start(), *text(0, "Hi"), ending()[0]], id="Messages"),
        pytest.param(Protocol.OPENAI, [delta("stop", content="Hi")], id="chat"),
    ],
)
def test_a_stream_without_its_end_is_raised(wire: Protocol, events: list[Any]) -> None:
    with pytest.raises(UpstreamFailed, match="closed its stream"):
        fold(wire, frames(*events))
