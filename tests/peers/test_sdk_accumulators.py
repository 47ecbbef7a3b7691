"""The official SDKs, fed with what the machines write: what they accumulate is the translation of the whole answer.

Their HTTP client is given a transport that answers from memory; everything above it is the SDKs' own code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from anthropic.types import Message as SdkMessage
from anthropic.types.beta import BetaMessage
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat.chat_completion import Choice

from core.dialects import Protocol
from core.translate import stops
from core.translate.answers import answer_to_chat, answer_to_messages
from core.translate.machine import Machine
from core.translate.relay import MessagesRelay
from core.translate.relay_chat import ChatRelay
from core.translate.stream_to_chat import MessagesToChat
from core.translate.stream_to_messages import ChatToMessages
from tests.core.translate.streaming import (
    CONTEXT,
    DONE,
    Event,
    call,
    calls,
    chunk,
    closed,
    delta,
    ending,
    frames,
    piece,
    start,
    text,
    thinking,
    tool,
)
from tests.properties.streams import (
    Answer,
    Habits,
    Message,
    ToolCall,
    answers,
    as_bytes,
    chat_chunks,
    completion,
    message_events,
    messages,
    whole_message,
)

ARGS = '{"a":1}'
HI = delta(content="Hi")
STOP = delta("stop")
END = delta("tool_calls")
USAGE = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "prompt_tokens_details": {"cached_tokens": 4}}
READ = ToolCall("c1", "read", ARGS)
LIST = ToolCall("c2", "list", ARGS)

ASKED: Any = [{"role": "user", "content": "hello"}]


class Canned(httpx2.BaseTransport):
    """Answers every request with the stream it holds."""

    def __init__(self) -> None:
        self.stream = b""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=self.stream, request=request)


@pytest.fixture(scope="module")
def canned() -> Canned:
    return Canned()


@pytest.fixture(scope="module")
def claude(canned: Canned) -> Iterator[anthropic.Anthropic]:
    http = httpx2.Client(transport=canned)
    with anthropic.Anthropic(base_url="http://127.0.0.1:1", api_key="none", max_retries=0, http_client=http) as client:
        yield client


@pytest.fixture(scope="module")
def gpt(canned: Canned) -> Iterator[openai.OpenAI]:
    http = httpx2.Client(transport=canned)
    with openai.OpenAI(base_url="http://127.0.0.1:1", api_key="none", max_retries=0, http_client=http) as client:
        yield client


def written(kind: type[Machine], stream: bytes, **context: Any) -> bytes:
    machine = kind(replace(CONTEXT, include_usage=True, **context))
    return machine.feed(stream) + machine.close()


def message_of(client: anthropic.Anthropic, canned: Canned, stream: bytes) -> Any:
    """What the SDK accumulates from a Messages stream."""
    canned.stream = stream
    with client.messages.stream(model="claude", max_tokens=1, messages=ASKED) as events:
        return plain(events.get_final_message().model_dump())


def completion_of(client: openai.OpenAI, canned: Canned, stream: bytes) -> Any:
    """What the SDK accumulates from a chat stream. It raises for an answer that was cut, and shows it."""
    canned.stream = stream
    with client.chat.completions.stream(model="gpt", messages=ASKED, stream_options={"include_usage": True}) as events:
        try:
            found = events.get_final_completion()
        except (openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError) as error:
            found = error.completion  # type: ignore[assignment]  # raised while there is one
        assert found is not None
        return plain(found.model_dump())


#: What the SDKs add of their own, or need in a stream only.
ADDED = {"parsed", "parsed_arguments", "parsed_output"}


def plain(value: Any) -> Any:
    """``value`` without members that are null, an empty text or list, or the SDKs' own, and without the indexes of a list's items."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items() if inner not in (None, "", []) and key not in ADDED and key != "index"}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


# ---------------------------------------------------------------------------------------------------- chat -> both

#: id -> chunks, and the answer that they say.
STREAMS: dict[str, tuple[list[Any], Answer]] = {
    "text": ([delta(role="assistant", content=""), HI, delta(content=", é😀"), STOP, DONE], Answer(text="Hi, é😀")),
    "nothing": ([delta(role="assistant", content=""), STOP, DONE], Answer()),
    "reasoning, text and calls": (
        [delta(reasoning_content="hm"), HI, calls(call(0, "", id="c1", name="read")), calls(call(0, '{"a"')), calls(call(0, ":1}")), END, DONE],
        Answer("hm", "Hi", "", (READ,), "tool_calls"),
    ),
    "a refusal": ([delta(refusal="N"), delta(refusal="o"), STOP, DONE], Answer(refusal="No")),
    "a filter": ([HI, delta("content_filter"), DONE], Answer(text="Hi", finish="content_filter")),
    "usage in a chunk of its own": ([HI, STOP, chunk([], usage=USAGE), DONE], Answer(text="Hi", usage=USAGE)),
    "usage with the finish": ([HI, {**STOP, "usage": USAGE}, DONE], Answer(text="Hi", usage=USAGE)),
    "usage in every chunk": ([{**HI, "usage": {**USAGE, "completion_tokens": 1}}, {**STOP, "usage": USAGE}, DONE], Answer(text="Hi", usage=USAGE)),
    "usage, and chunks without it behind": ([{**HI, "usage": USAGE}, STOP, chunk([]), DONE], Answer(text="Hi", usage=USAGE)),
    "usage as floats": (
        [HI, STOP, chunk([], usage={**USAGE, "prompt_tokens": 10.0, "completion_tokens": "2"}), DONE],
        Answer(text="Hi", usage=USAGE),
    ),
    "the role, id, type and name in every chunk": (
        [delta(role="assistant", content="Hi")] + [delta(role="assistant", tool_calls=[call(0, one, id="c1", name="read")]) for one in ("", '{"a"', ":1}")] + [END, DONE],
        Answer(text="Hi", calls=(READ,), finish="tool_calls"),
    ),
    "no index": (
        [calls(call(None, "", id="c1", name="read")), calls(call(None, ARGS)), calls(call(None, ARGS, id="c2", name="list")), END, DONE],
        Answer(calls=(READ, LIST), finish="tool_calls"),
    ),
    "the first index is 1": ([calls(call(1, ARGS, id="c1", name="read")), calls(call(2, ARGS, id="c2", name="list")), END, DONE], Answer(calls=(READ, LIST), finish="tool_calls")),
    "index 0 for both": ([calls(call(0, ARGS, id="c1", name="read")), calls(call(0, ARGS, id="c2", name="list")), END, DONE], Answer(calls=(READ, LIST), finish="tool_calls")),
    "two calls in one chunk": ([calls(call(0, ARGS, id="c1", name="read"), call(1, ARGS, id="c2", name="list")), END, DONE], Answer(calls=(READ, LIST), finish="tool_calls")),
    "interleaved calls": (
        [calls(call(0, '{"a"', id="c1", name="read")), calls(call(1, '{"a"', id="c2", name="list")), calls(call(0, ":1}")), calls(call(1, ":1}")), END, DONE],
        Answer(calls=(READ, LIST), finish="tool_calls"),
    ),
    "calls without arguments": (
        [calls(call(0, "", id="c1", name="read")), calls(call(1, id="c2", name="list")), END, DONE],
        Answer(calls=(ToolCall("c1", "read", "{}"), ToolCall("c2", "list", "{}")), finish="tool_calls"),
    ),
    "finish_reason stop behind a call": ([calls(call(0, ARGS, id="c1", name="read")), STOP, DONE], Answer(calls=(READ,), finish="tool_calls")),
    "content and call in the finish chunk": ([delta("tool_calls", content="Hi", tool_calls=[call(0, ARGS, id="c1", name="read")]), DONE], Answer(text="Hi", calls=(READ,), finish="tool_calls")),
}  # fmt: skip


@pytest.mark.parametrize(("events", "answer"), STREAMS.values(), ids=STREAMS.keys())
def test_anthropics_sdk_reads_a_translated_stream_as_the_whole_answer(
    claude: anthropic.Anthropic, canned: Canned, events: list[Any], answer: Answer
) -> None:
    whole, _ = answer_to_messages(json.dumps(completion(answer)).encode(), CONTEXT)
    assert message_of(claude, canned, written(ChatToMessages, frames(*events))) == plain(json.loads(whole))


@pytest.mark.parametrize(("events", "answer"), STREAMS.values(), ids=STREAMS.keys())
def test_openais_sdk_reads_a_relayed_stream_as_the_whole_answer(
    gpt: openai.OpenAI, canned: Canned, events: list[Any], answer: Answer
) -> None:
    whole = {**completion(answer), "model": "claude", "created": 7}
    assert completion_of(gpt, canned, written(ChatRelay, frames(*events))) == plain(whole)


# ---------------------------------------------------------------------------------------------------- Messages -> both

REDACTED: Event = {"type": "redacted_thinking", "data": "xyz"}
SEARCH: list[Event] = [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": 1}}]
HELD: dict[str, Any] = {"input_tokens": 3, "output_tokens": 5, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2}


def begun(index: int, block: Event) -> Event:
    return {"type": "content_block_start", "index": index, "content_block": block}


def ended(reason: str, **usage: Any) -> list[Event]:
    return [{"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}, {"type": "message_stop"}]


def said(*blocks: Event, reason: str = "end_turn", **usage: Any) -> Message:
    return Message(blocks, {"stop_reason": reason, "stop_sequence": None}, {"input_tokens": 0, "output_tokens": 0, **usage})


SPOKEN: Event = {"type": "text", "text": "Hi"}
USED: Event = {"type": "tool_use", "id": "c1", "name": "read", "input": {"a": 1}}

EVENTS: dict[str, tuple[list[Any], Message]] = {
    "text": ([start(), *text(0, "H", "i"), *ended("end_turn", output_tokens=0)], said(SPOKEN)),
    "nothing": ([start(), *ended("end_turn", output_tokens=0)], said()),
    "thinking with a signature, and encrypted": (
        [start(), *thinking(0, "h", "m", signature="c2ln"), begun(1, REDACTED), closed(1), *text(2, "Hi"), *ended("end_turn", output_tokens=0)],
        said({"type": "thinking", "thinking": "hm", "signature": "c2ln"}, REDACTED, SPOKEN),
    ),
    "a call": ([start(), *tool(0, "", '{"a"', ":1}"), *ended("tool_use", output_tokens=0)], said(USED, reason="tool_use")),
    "a call without input": ([start(), *tool(0), *ended("tool_use", output_tokens=0)], said({**USED, "input": {}}, reason="tool_use")),
    "a call whose input stands in its start": ([start(), begun(0, USED), closed(0), *ended("tool_use", output_tokens=0)], said(USED, reason="tool_use")),
    "blocks that do not count from 0": (
        [start(), *text(1, "Hi"), *tool(3, ARGS), *ended("tool_use", output_tokens=0)],
        said(SPOKEN, USED, reason="tool_use"),
    ),
    "no starts and stops of blocks": ([start(), piece(0, "text_delta", text="Hi"), *ended("end_turn", output_tokens=0)], said(SPOKEN)),
    "usage at the start under that of the end": (
        [start(input_tokens=3, read=4, written=2), *text(0, "Hi"), *ended("end_turn", output_tokens=5)],
        said(SPOKEN, **HELD),
    ),
    "usage at the end only": ([start(), *text(0, "Hi"), *ended("end_turn", **HELD)], said(SPOKEN, **HELD)),
    "usage as floats": ([start(), *text(0, "Hi"), *ended("end_turn", **{name: float(number) for name, number in HELD.items()})], said(SPOKEN, **HELD)),
    "several message_deltas": ([start(), *text(0, "Hi"), {"type": "message_delta", "usage": {**HELD, "output_tokens": 1}}, *ended("end_turn", output_tokens=5)], said(SPOKEN, **HELD)),
    "tools of the vendor": (
        [start(), begun(0, {**SEARCH[0], "input": {}}), piece(0, "input_json_delta", partial_json='{"q":1}'), closed(0), *text(1, "Hi"), *ended("end_turn", output_tokens=0)],
        said(*SEARCH, SPOKEN),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("events", "message"), EVENTS.values(), ids=EVENTS.keys())
def test_openais_sdk_reads_a_translated_stream_as_the_whole_answer(
    gpt: openai.OpenAI, canned: Canned, events: list[Any], message: Message
) -> None:
    compact = json.dumps(whole_message(message), separators=(",", ":")).encode()
    whole, _ = answer_to_chat(compact, CONTEXT)
    assert completion_of(gpt, canned, written(MessagesToChat, frames(*events))) == plain(json.loads(whole))


@pytest.mark.parametrize(("events", "message"), EVENTS.values(), ids=EVENTS.keys())
def test_anthropics_sdk_reads_a_relayed_stream_as_the_whole_answer(
    claude: anthropic.Anthropic, canned: Canned, events: list[Any], message: Message
) -> None:
    found = message_of(claude, canned, written(MessagesRelay, frames(*events)))
    whole = plain({**whole_message(message), "model": "claude"})
    assert {**found, "usage": {name: number for name, number in found["usage"].items() if number}} == {
        **whole, "usage": {name: number for name, number in whole["usage"].items() if number},
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------------- any answer


@settings(max_examples=25)
@given(answers(), st.data())
def test_any_chat_answer(claude: anthropic.Anthropic, gpt: openai.OpenAI, canned: Canned, answer: Answer, data: st.DataObject) -> None:
    stream = as_bytes(data.draw(chat_chunks(answer, Habits(repeats=data.draw(st.booleans())))), Protocol.OPENAI)
    whole, _ = answer_to_messages(json.dumps(completion(answer)).encode(), CONTEXT)
    assert message_of(claude, canned, written(ChatToMessages, stream)) == plain(json.loads(whole))
    accumulated = completion_of(gpt, canned, written(ChatRelay, stream))
    spoken = accumulated["choices"][0]["message"]
    assert [one["function"]["arguments"] for one in spoken.get("tool_calls", ())] == [one.arguments or "{}" for one in answer.calls]
    assert (spoken.get("content", ""), spoken.get("reasoning_content", "")) == (answer.text, answer.reasoning)


@settings(max_examples=25)
@given(messages(), st.data())
def test_any_message(claude: anthropic.Anthropic, gpt: openai.OpenAI, canned: Canned, message: Message, data: st.DataObject) -> None:
    stream = as_bytes(data.draw(message_events(message)), Protocol.ANTHROPIC)
    assert message_of(claude, canned, written(MessagesRelay, stream)) == plain({**whole_message(message), "model": "claude"})
    compact = json.dumps(whole_message(message), ensure_ascii=False, separators=(",", ":")).encode()
    whole, _ = answer_to_chat(compact, CONTEXT)
    assert completion_of(gpt, canned, written(MessagesToChat, stream)) == plain(json.loads(whole))


# ---------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("kind", [ChatToMessages, MessagesRelay])
def test_anthropics_sdk_raises_for_a_stream_that_broke(claude: anthropic.Anthropic, canned: Canned, kind: type[Machine]) -> None:
    stream = frames(HI) if kind is ChatToMessages else frames(start(), *text(0, "Hi"))
    with pytest.raises(anthropic.APIStatusError, match="closed its stream"):
        message_of(claude, canned, written(kind, stream))


@pytest.mark.parametrize("kind", [MessagesToChat, ChatRelay])
def test_openais_sdk_raises_for_a_stream_that_broke(gpt: openai.OpenAI, canned: Canned, kind: type[Machine]) -> None:
    stream = frames(HI) if kind is ChatRelay else frames(start(), *text(0, "Hi"))
    with pytest.raises(openai.APIError, match="closed its stream"):
        completion_of(gpt, canned, written(kind, stream))


# ---------------------------------------------------------------------------------------------------- words


def literals(schema: dict[str, Any]) -> set[str]:
    return {value for option in schema["anyOf"] for value in option.get("enum", ())}


def test_the_reasons_we_know_are_those_of_the_sdks() -> None:
    assert set(Choice.model_json_schema()["properties"]["finish_reason"]["enum"]) == stops.FINISH_REASONS
    stable, beta = (literals(kind.model_json_schema()["properties"]["stop_reason"]) for kind in (SdkMessage, BetaMessage))
    assert stable <= stops.STOP_REASONS <= stable | beta


def test_a_call_cut_by_the_length_is_read_and_not_refused(claude: anthropic.Anthropic, canned: Canned) -> None:
    found = message_of(
        claude, canned, written(ChatToMessages, frames(calls(call(0, '{"a":"b', id="c1", name="read")), delta("length"), DONE))
    )
    assert (found["stop_reason"], found["content"][0]["name"]) == ("max_tokens", "read")
    assert ending("max_tokens")[0]["delta"]["stop_reason"] == found["stop_reason"]
