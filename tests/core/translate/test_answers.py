"""Whole answers from one wire to the other, passed on, and as streams."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from core.dialects import Protocol
from core.errors import UpstreamError, UpstreamFailed, UpstreamGarbled, UpstreamSaid
from core.translate.answers import answer_to_chat, answer_to_messages, chat_as_stream, messages_as_stream
from core.translate.relay import MessagesRelay, relay_answer
from core.translate.relay_chat import ChatRelay
from core.translate.stream_to_chat import MessagesToChat
from core.translate.stream_to_messages import ChatToMessages
from core.translate.usage import Counts
from tests.core.translate.streaming import CONTEXT, DONE, Event, ending, parsed, run, start, text, thinking, tool

ARGS = '{"a":1}'
NO_USAGE = {"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0}


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def completion(message: Any, finish: str | None = "stop", **more: Any) -> Event:
    choices = [{"index": 0, "message": message, "finish_reason": finish}]
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 7, "model": "glm", "choices": choices, **more}


def message(*content: Event, reason: str | None = "end_turn", **more: Any) -> Event:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "glm", "content": list(content)}
    return {**head, "stop_reason": reason, "stop_sequence": None, **more}


def function(arguments: Any, id: str | None = "c1", name: str | None = "read") -> Event:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def use(given: Any, id: str = "c1") -> Event:
    return {"type": "tool_use", "id": id, "name": "read", "input": given}


def thought(text: str, signature: str = "") -> Event:
    return {"type": "thinking", "thinking": text, "signature": signature}


def spoken(text: str) -> Event:
    return {"type": "text", "text": text}


# ---------------------------------------------------------------------------------------------------- chat -> Messages

TO_MESSAGES: dict[str, tuple[Event, list[Event]]] = {
    "text": ({"content": "Hi"}, [spoken("Hi")]),
    "parts": ({"content": [{"type": "text", "text": "H"}, {"type": "refusal", "refusal": "i"}, {"type": "x"}]}, [spoken("Hi")]),
    "nothing": ({"content": None}, []),
    "an empty text": ({"content": ""}, []),
    "white space beside a call": ({"content": "\n\n", "tool_calls": [function(ARGS)]}, [use({"a": 1})]),
    "reasoning_content": ({"content": "Hi", "reasoning_content": "hm"}, [thought("hm"), spoken("Hi")]),
    "reasoning": ({"content": "Hi", "reasoning": "hm"}, [thought("hm"), spoken("Hi")]),
    "all three fields": ({"reasoning_content": "hm", "reasoning": "hm", "reasoning_details": [{"text": "hm"}]}, [thought("hm")]),
    "details alone": ({"reasoning_details": [{"text": "h"}, {"summary": "m"}]}, [thought("hm")]),
    "a detail's signature": ({"reasoning": "hm", "reasoning_details": [{"text": "hm", "signature": "s"}]}, [thought("hm", "s")]),
    "a signature without its text": ({"reasoning": "hm", "reasoning_details": [{"signature": "s"}]}, [thought("hm", "s")]),
    "two signatures": (
        {"reasoning": "ab", "reasoning_details": [{"text": "a", "signature": "s"}, {"text": "b", "signature": "t"}, {"text": "c"}]},
        [thought("a", "s"), thought("b", "t"), thought("c")],
    ),
    "encrypted details": (
        {"reasoning_details": [{"text": "hm"}, {"data": "x"}, {"data": "y"}]},
        [thought("hm"), {"type": "redacted_thinking", "data": "x"}, {"type": "redacted_thinking", "data": "y"}],
    ),
    "thinking parts": ({"content": [{"type": "thinking", "thinking": [{"text": "h"}]}, {"type": "thinking", "thinking": "m"}, {"type": "text", "text": "Hi"}]}, [thought("hm"), spoken("Hi")]),
    "blank reasoning": ({"content": "Hi", "reasoning": "\n"}, [spoken("Hi")]),
    "calls": ({"tool_calls": [function(ARGS), function("{}", "c2")]}, [use({"a": 1}), use({}, "c2")]),
    "a call without arguments": ({"tool_calls": [function(""), function(None, "c2"), {"id": "c3", "function": {"name": "read"}}]}, [use({}), use({}, "c2"), use({}, "c3")]),
    "arguments as an object": ({"tool_calls": [function({"a": 1})]}, [use({"a": 1})]),
    "arguments that are no object": ({"tool_calls": [function("[1]"), function("{", "c2")]}, [use({"_raw": "[1]"}), use({"_raw": "{"}, "c2")]),
    "calls without ids": ({"tool_calls": [function(ARGS, None), function(ARGS, "")]}, [use({"a": 1}, "toolu_seed_0"), use({"a": 1}, "toolu_seed_1")]),
    "two calls with one id": ({"tool_calls": [function(ARGS), function(ARGS)]}, [use({"a": 1}), use({"a": 1}, "c1_1")]),
    "an empty call": ({"content": "Hi", "tool_calls": [{}, function(ARGS, None)]}, [spoken("Hi"), use({"a": 1}, "toolu_seed_0")]),
    "a custom call": ({"tool_calls": [{"id": "c1", "type": "custom", "custom": {"name": "read", "input": "x"}}]}, [use({"input": "x"})]),
    "the old function_call": ({"function_call": {"name": "read", "arguments": ARGS}}, [use({"a": 1}, "toolu_seed_0")]),
}  # fmt: skip


@pytest.mark.parametrize(("said", "content"), TO_MESSAGES.values(), ids=TO_MESSAGES.keys())
def test_a_completion_becomes(said: Event, content: list[Event]) -> None:
    answer, counts = answer_to_messages(body(completion({"role": "assistant", **said})), CONTEXT)
    called = any(block["type"] == "tool_use" for block in content)
    assert json.loads(answer) == {
        "id": "msg_chatcmpl-1", "type": "message", "role": "assistant", "model": "claude", "content": content,
        "stop_reason": "tool_use" if called else "end_turn", "stop_sequence": None, "usage": NO_USAGE,
    }  # fmt: skip
    assert counts == Counts()


def to_messages(value: Any, **context: Any) -> Any:
    return json.loads(answer_to_messages(body(value), replace(CONTEXT, **context))[0])


def test_a_refusal_is_text_a_reason_and_its_explanation() -> None:
    found = to_messages(completion({"content": None, "refusal": "No."}))
    assert (found["content"], found["stop_reason"]) == ([spoken("No.")], "refusal")
    assert found["stop_details"] == {"type": "refusal", "category": None, "explanation": "No."}


def test_a_stop_sequence_that_vllm_names() -> None:
    one = completion({"content": "Hi"})
    one["choices"][0]["stop_reason"] = "END"
    assert to_messages(one)["stop_reason"] == "end_turn"
    found = to_messages(one, stop_sequences=("END",))
    assert (found["stop_reason"], found["stop_sequence"]) == ("stop_sequence", "END")


def test_usage_of_a_completion() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    answer, counts = answer_to_messages(body(completion({"content": "Hi"}, usage=usage)), CONTEXT)
    assert json.loads(answer)["usage"] == {
        "input_tokens": 6, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 4, "output_tokens": 3,
        "output_tokens_details": {"thinking_tokens": 2},
    }  # fmt: skip
    assert counts == Counts(6, 4, None, 3, 2)


def test_only_the_first_choice_is_taken_and_it_may_hold_a_delta() -> None:
    one = completion({"content": "Hi"})
    one["choices"].append({"index": 1, "message": {"content": "no"}})
    assert to_messages(one)["content"] == [spoken("Hi")]
    assert to_messages({"choices": [{"delta": {"content": "Hi"}}]})["content"] == [spoken("Hi")]


def test_names_are_mapped_back_in_both_directions() -> None:
    assert to_messages(completion({"tool_calls": [function(ARGS)]}), names={"read": "long"})["content"][0]["name"] == "long"
    assert to_chat(message(use({})), names={"read": "long"})["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "long"


# ---------------------------------------------------------------------------------------------------- Messages -> chat

TO_CHAT: dict[str, tuple[list[Event], Event]] = {
    "text": ([spoken("H"), spoken("i")], {"content": "Hi"}),
    "nothing": ([], {"content": None}),
    "thinking": ([thought("h"), thought("m"), spoken("Hi")], {"content": "Hi", "reasoning_content": "hm"}),
    "a signature, and encrypted thinking": (
        [thought("h", "s"), {"type": "redacted_thinking", "data": "x"}, thought("m")],
        {"content": None, "reasoning_content": "hm", "reasoning_details": [
            {"type": "reasoning.text", "text": "h", "signature": "s", "index": 0}, {"type": "reasoning.encrypted", "data": "x", "index": 1},
        ]},
    ),
    "calls": ([spoken("Hi"), use({"a": 1, "b": [1.0]}), use({}, "c2")], {"content": "Hi", "tool_calls": [function('{"a":1,"b":[1.0]}'), function("{}", "c2")]}),
    "calls without id and input": ([{"type": "tool_use", "name": "read"}, {"type": "tool_use", "name": "read", "input": None}], {"content": None, "tool_calls": [function("{}", "call_seed_0"), function("{}", "call_seed_1")]}),
    "tools of the vendor": (
        [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}, spoken("Hi")],
        {"content": "Hi"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "said"), TO_CHAT.values(), ids=TO_CHAT.keys())
def test_a_message_becomes(content: list[Event], said: Event) -> None:
    answer, counts = answer_to_chat(body(message(*content)), CONTEXT)
    choice = {
        "index": 0,
        "message": {"role": "assistant", "refusal": None, **said},
        "logprobs": None,
        "finish_reason": "tool_calls" if "tool_calls" in said else "stop",
    }
    assert json.loads(answer) == {
        "id": "chatcmpl-msg_1", "object": "chat.completion", "created": 1_700_000_000, "model": "claude", "choices": [choice],
        "usage": {
            "prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0,
            "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }  # fmt: skip
    assert counts == Counts()


def to_chat(value: Any, **context: Any) -> Any:
    return json.loads(answer_to_chat(body(value), replace(CONTEXT, **context))[0])


def test_a_refusal_is_explained() -> None:
    details = {"type": "refusal", "category": "x", "explanation": "No."}
    choice = to_chat(message(reason="refusal", stop_details=details))["choices"][0]
    assert (choice["finish_reason"], choice["message"]["refusal"]) == ("content_filter", "No.")
    assert to_chat(message(reason="refusal"))["choices"][0]["message"]["refusal"] is None
    assert to_chat(message(stop_details=details))["choices"][0]["message"]["refusal"] is None


def test_a_custom_tool_is_unwrapped() -> None:
    call = to_chat(message(use({"input": "a b"})), custom=frozenset({"read"}))["choices"][0]["message"]["tool_calls"][0]
    assert call == {"id": "c1", "type": "custom", "custom": {"name": "read", "input": "a b"}}


def test_the_tool_that_stands_for_a_schema_is_the_text() -> None:
    choice = to_chat(message(spoken("so: "), use({"a": 1}), reason="tool_use"), schema_tool="read")["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"], "tool_calls" in choice["message"]) == ('so: {"a":1}', "stop", False)


def test_usage_of_a_message() -> None:
    usage = {
        "input_tokens": 6,
        "cache_read_input_tokens": 4,
        "cache_creation_input_tokens": 2,
        "output_tokens": 3,
        "output_tokens_details": {"thinking_tokens": 2},
    }
    answer, counts = answer_to_chat(body(message(spoken("Hi"), usage=usage)), CONTEXT)
    assert json.loads(answer)["usage"] == {
        "prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2}, "completion_tokens_details": {"reasoning_tokens": 2},
    }  # fmt: skip
    assert counts == Counts(6, 4, 2, 3, 2)


def test_hidden_thinking_leaves_no_trace() -> None:
    assert to_messages(completion({"content": "Hi", "reasoning": "hm"}), show_thinking=False)["content"] == [spoken("Hi")]
    assert to_chat(message(thought("hm", "s"), spoken("Hi")), show_thinking=False)["choices"][0]["message"] == {
        "role": "assistant",
        "content": "Hi",
        "refusal": None,
    }


# ---------------------------------------------------------------------------------------------------- no answers


def test_an_answer_that_has_a_code_as_well_is_an_answer() -> None:
    extra = {"code": "1113", "msg": "x", "success": False}
    assert to_messages(completion({"content": "Hi"}) | extra)["content"] == [spoken("Hi")]
    assert to_chat(message(spoken("Hi")) | extra)["choices"][0]["message"]["content"] == "Hi"


CHAT_FAILURES: dict[str, tuple[Any, type[UpstreamError], str]] = {
    "an error in a good status": ({"error": {"message": "busy"}}, UpstreamSaid, "busy"),
    "an error of old vLLM": ({"object": "error", "message": "busy"}, UpstreamSaid, "busy"),
    "z.ai's flat error": ({"code": 1113, "msg": "no balance", "success": False}, UpstreamSaid, "no balance"),
    "a flat message": ({"code": "1302", "message": "too fast"}, UpstreamSaid, "too fast"),
    "what is neither": ({"code": 200, "msg": "ok", "success": True}, UpstreamGarbled, "no choices"),
    "no choices": ({"choices": []}, UpstreamGarbled, "no choices"),
    "an empty object": ({}, UpstreamGarbled, "no choices"),
    "a list": ([], UpstreamGarbled, "cannot be read"),
    "choices of another kind": ({"choices": 7}, UpstreamGarbled, "cannot be read"),
    "a broken answer": (completion({"content": "Hi"}, "network_error"), UpstreamFailed, "network_error"),
}
MESSAGE_FAILURES: dict[str, tuple[Any, type[UpstreamError], str]] = {
    "an error in a good status": ({"type": "error", "error": {"message": "busy"}}, UpstreamSaid, "busy"),
    "an error of another wire": ({"error": "busy"}, UpstreamSaid, "busy"),
    "z.ai's flat error": ({"code": "1113", "msg": "no balance", "success": False}, UpstreamSaid, "no balance"),
    "a flat message": ({"code": 1302, "message": "too fast"}, UpstreamSaid, "too fast"),
    "what is neither": ({"code": 200, "msg": "ok", "success": True}, UpstreamGarbled, "no content"),
    "no content": ({"type": "message"}, UpstreamGarbled, "no content"),
    "a number": (7, UpstreamGarbled, "cannot be read"),
    "content of another kind": ({"content": "Hi"}, UpstreamGarbled, "cannot be read"),
    "a broken answer": (message(reason="error"), UpstreamFailed, "error"),
}


@pytest.mark.parametrize(("value", "kind", "words"), CHAT_FAILURES.values(), ids=CHAT_FAILURES.keys())
def test_what_is_no_completion(value: Any, kind: type[UpstreamError], words: str) -> None:
    for translate in (answer_to_messages, lambda data, context: relay_answer(data, Protocol.OPENAI, context)):
        with pytest.raises(kind, match=words):
            translate(body(value), CONTEXT)


@pytest.mark.parametrize(("value", "kind", "words"), MESSAGE_FAILURES.values(), ids=MESSAGE_FAILURES.keys())
def test_what_is_no_message(value: Any, kind: type[UpstreamError], words: str) -> None:
    for translate in (
        answer_to_chat,
        lambda data, context: relay_answer(data, Protocol.ANTHROPIC, context),
        lambda data, _: messages_as_stream(data),
    ):
        with pytest.raises(kind, match=words):
            translate(body(value), CONTEXT)


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b'{"choices":NaN}', b'{"a":' * 100_000, b"\xff"], ids=["nothing", "a page", "no JSON", "deep", "no text"]
)
def test_what_is_no_json(data: bytes) -> None:
    for translate in (answer_to_messages, answer_to_chat, lambda data, context: relay_answer(data, Protocol.OPENAI, context)):
        with pytest.raises(UpstreamGarbled, match="cannot be read"):
            translate(data, CONTEXT)


def test_a_completion_whose_choice_says_nothing() -> None:
    with pytest.raises(UpstreamGarbled, match="no choices"):
        answer_to_messages(body({"choices": [{}]}), CONTEXT)


def test_a_call_without_the_name_of_its_tool() -> None:
    with pytest.raises(UpstreamGarbled, match="without its name"):
        to_messages(completion({"tool_calls": [function(ARGS, name=None)]}))
    with pytest.raises(UpstreamGarbled, match="without its name"):
        to_chat(message({"type": "tool_use", "id": "c1", "input": {}}))


@pytest.mark.parametrize("damage", [b"\xff", b"\\ud83d"], ids=["no UTF-8", "a lone surrogate"])
def test_text_that_is_no_unicode_becomes_U_FFFD(damage: bytes) -> None:
    one = body(completion({"content": "?"})).replace(b"?", damage)
    other = body(message(spoken("?"))).replace(b"?", damage)
    assert json.loads(answer_to_messages(one, CONTEXT)[0])["content"] == [spoken("\ufffd")]
    assert json.loads(answer_to_chat(other, CONTEXT)[0])["choices"][0]["message"]["content"] == "\ufffd"
    assert json.loads(relay_answer(other, Protocol.ANTHROPIC, CONTEXT)[0])["content"] == [spoken("\ufffd")]
    assert json.loads(relay_answer(one, Protocol.OPENAI, CONTEXT)[0])["choices"][0]["message"]["content"] == "\ufffd"
    assert "\ufffd" in json.dumps(parsed(messages_as_stream(other)), ensure_ascii=False)
    assert "\ufffd" in json.dumps(parsed(chat_as_stream(one)), ensure_ascii=False)


# ---------------------------------------------------------------------------------------------------- passed on

USAGE = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}


@pytest.mark.parametrize(
    ("wire", "value"),
    [
        pytest.param(Protocol.ANTHROPIC, {**message(spoken("Hi")), "model": "claude", "usage": NO_USAGE, "x": [1.0]}, id="Messages"),
        pytest.param(Protocol.OPENAI, {**completion({"content": "Hi"}, x=1.50), "model": "claude"}, id="chat"),
    ],
)
def test_an_answer_for_the_same_wire_passes_byte_for_byte(wire: Protocol, value: Any) -> None:
    data = json.dumps(value, indent=2).encode()
    assert relay_answer(data, wire, CONTEXT)[0] == data
    other = data.replace(b'"claude"', b'"glm"')
    assert relay_answer(other, wire, CONTEXT)[0] == data


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(message(use({}), usage=NO_USAGE), {"stop_reason": "tool_use"}, id="end_turn behind a call"),
        pytest.param(message(spoken("Hi"), reason="length", usage=NO_USAGE), {"stop_reason": "max_tokens"}, id="a reason of the other wire"),
        pytest.param(message(spoken("Hi"), usage={"input_tokens": 3.0, "output_tokens": "4", "x": 1}), {"usage": {**NO_USAGE, "input_tokens": 3, "output_tokens": 4, "x": 1}}, id="numbers that are no integers"),
        pytest.param(message(spoken("Hi")), {"usage": NO_USAGE}, id="no usage"),
        pytest.param(message(reason=None, usage=NO_USAGE), {}, id="no reason"),
    ],
)  # fmt: skip
def test_a_message_is_mended(value: Event, expected: Event) -> None:
    assert json.loads(relay_answer(body(value), Protocol.ANTHROPIC, CONTEXT)[0]) == {**value, "model": "claude", **expected}


@pytest.mark.parametrize(
    ("said", "finish", "expected"),
    [
        pytest.param({"tool_calls": [function(ARGS)]}, "stop", "tool_calls", id="stop behind a call"),
        pytest.param({"content": "Hi"}, "sensitive", "content_filter", id="a reason clients do not know"),
        pytest.param({"content": "Hi"}, "length", "length", id="a reason they know"),
        pytest.param({"content": "Hi"}, None, None, id="no reason"),
    ],
)
def test_a_completion_is_mended(said: Event, finish: str | None, expected: str | None) -> None:
    value = completion(said, finish, usage=USAGE)
    wanted = completion(said, expected, usage=USAGE, model="claude")
    assert json.loads(relay_answer(body(value), Protocol.OPENAI, CONTEXT)[0]) == wanted


def test_usage_of_an_answer_that_passes_is_read_and_mended() -> None:
    odd = completion({"content": "Hi"}, usage={"prompt_tokens": "10", "completion_tokens": 2.0, "x": 1})
    answer, counts = relay_answer(body(odd), Protocol.OPENAI, CONTEXT)
    assert {name: json.loads(answer)["usage"][name] for name in (*USAGE, "x")} == {**USAGE, "x": 1}
    assert counts == Counts(10, output=2)


def test_an_answer_nobody_can_take_apart_is_the_upstreams_fault() -> None:
    deep = body(completion({"content": "Hi"}))[:-1] + b',"x":' + b"[" * 500 + b"]" * 500 + b"}"
    with pytest.raises(UpstreamGarbled, match="nested"):
        relay_answer(deep, Protocol.OPENAI, CONTEXT)


# ---------------------------------------------------------------------------------------------------- as streams


def test_a_completion_as_a_stream() -> None:
    said = {"role": "assistant", "content": "Hi", "reasoning_content": "hm", "tool_calls": [function(ARGS)]}
    stream = chat_as_stream(json.dumps(completion(said, "tool_calls", usage=USAGE), indent=1).encode())
    _, out = run(ChatToMessages, stream)
    assert out[1:] == [*thinking(0, "hm"), *text(1, "Hi"), *tool(2, ARGS), *ending("tool_use", input_tokens=10, output_tokens=2)]
    _, out = run(ChatRelay, stream, include_usage=True)
    assert out[0]["choices"] == [
        {"index": 0, "delta": {**said, "tool_calls": [{"index": 0, **function(ARGS)}]}, "finish_reason": "tool_calls"}
    ]
    assert (out[1]["usage"], out[2]) == (USAGE, DONE)


def test_a_message_as_a_stream() -> None:
    content = [
        thought("hm", "s"),
        {"type": "redacted_thinking", "data": "x"},
        spoken("Hi"),
        spoken(""),
        use({"a": 1}),
        use({}, "c2"),
        {"type": "holo", "x": 1},
        {"type": 7},
    ]
    usage = {"input_tokens": 3, "output_tokens": 4}
    stream = messages_as_stream(json.dumps(message(*content[:-1], reason="tool_use", usage=usage), indent=1).encode())
    redacted = [{"type": "content_block_start", "index": 1, "content_block": content[1]}, {"type": "content_block_stop", "index": 1}]
    holo = [{"type": "content_block_start", "index": 6, "content_block": content[6]}, {"type": "content_block_stop", "index": 6}]
    begun = start()
    begun["message"]["usage"] = usage
    final = {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": usage}
    blocks = [*thinking(0, "hm", signature="s"), *redacted, *text(2, "Hi"), *text(3), *tool(4, ARGS), *tool(5, id="c2"), *holo]
    _, out = run(MessagesRelay, stream)
    assert out == [begun, *blocks, final, {"type": "message_stop"}]


def test_a_message_as_a_stream_for_a_chat_client_without_reason_and_usage() -> None:
    _, out = run(MessagesToChat, messages_as_stream(body({"content": [spoken("Hi")]})))
    assert [one["choices"][0]["delta"] for one in out[:2]] == [{"role": "assistant", "content": ""}, {"content": "Hi"}]
    assert out[2:] == [{**out[0], "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, DONE]
