"""core/testing/streams.py: the acceptors say yes to what clients can read and no to everything else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from core.testing import Accepted, GrammarViolation, accept_chat_stream, accept_messages_stream
from core.wire.sse import comment, encode

Event = dict[str, Any]

# ---- messages --------------------------------------------------------------------------------------------------------------------

START: Event = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "glm-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 0},
    },
}
PING: Event = {"type": "ping"}
STOP: Event = {"type": "message_stop"}
ERROR: Event = {"type": "error", "error": {"type": "api_error", "message": "the upstream was cut"}}


def block(index: int, kind: str, **fields: Any) -> Event:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **fields}}


def delta(index: int, kind: str, **fields: Any) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def stop(index: int) -> Event:
    return {"type": "content_block_stop", "index": index}


def final(reason: str | None = "end_turn", **usage: Any) -> Event:
    return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage or {"output_tokens": 3}}


def without(event: Event, *path: str, **replaced: Any) -> Event:
    """A copy of ``event`` without the member at ``path``, or with its members there replaced."""
    copy: Event = json.loads(json.dumps(event))
    place = copy
    for name in path if replaced else path[:-1]:
        place = place[name]
    if replaced:
        place.update(replaced)
    else:
        del place[path[-1]]
    return copy


def messages(*events: Event) -> bytes:
    return b"".join(encode(json.dumps(event).encode(), event["type"].encode()) for event in events)


TEXT = [block(0, "text", text=""), delta(0, "text_delta", text="Hel"), delta(0, "text_delta", text="lo"), stop(0)]
THINKING = [
    block(0, "thinking", thinking="", signature=""),
    delta(0, "thinking_delta", thinking="hm"),
    delta(0, "signature_delta", signature="c2ln"),
    stop(0),
]


def call(index: int, *pieces: str, kind: str = "tool_use") -> list[Event]:
    deltas = [delta(index, "input_json_delta", partial_json=piece) for piece in pieces]
    return [block(index, kind, id=f"toolu_{index}", name="read", input={}), *deltas, stop(index)]


GOOD_MESSAGES: dict[str, tuple[Sequence[Event], Accepted]] = {
    "text": ([START, *TEXT, final(), STOP], Accepted("complete", 7, "end_turn", "Hello", "", ())),
    "no content": ([START, final("stop_sequence"), STOP], Accepted("complete", 3, "stop_sequence", "", "", ())),
    "pings anywhere": (
        [PING, START, PING, TEXT[0], PING, *TEXT[1:], PING, final(), PING, STOP],
        Accepted("complete", 12, "end_turn", "Hello", "", ()),
    ),
    "thinking and calls": (
        [START, *THINKING, *call(1, "", '{"a"', ":1}"), *call(2), *call(3, "{}"), final("tool_use", input_tokens=5, output_tokens=3), STOP],
        Accepted("complete", 17, "tool_use", "", "hm", ('{"a":1}', "", "{}")),
    ),
    "server tools and blocks without deltas": (
        [START, *call(0, '{"q":1}', kind="server_tool_use"), block(1, "redacted_thinking", data="x"), stop(1), block(2, "compaction", content=None),
         delta(2, "compaction_delta", content="x"), stop(2), final(), STOP],
        Accepted("complete", 11, "end_turn", "", "", ()),
    ),
    "events, blocks and deltas newer than the list": (
        [START, {"type": "weather"}, block(0, "holo"), delta(0, "holo_delta"), stop(0), final(), STOP],
        Accepted("complete", 7, "end_turn", "", "", ()),
    ),
    "thinking in the block start": (
        [START, block(0, "thinking", thinking="hm"), stop(0), final(), STOP],
        Accepted("complete", 5, "end_turn", "", "hm", ()),
    ),
    "text in the block start": ([START, block(0, "text", text="Hi"), stop(0), final(), STOP], Accepted("complete", 5, "end_turn", "Hi", "", ())),
    "a call cut by the limit": ([START, *call(0, '{"a'), final("max_tokens"), STOP], Accepted("complete", 6, "max_tokens", "", "", ('{"a',))),
    "a call cut by an error": ([START, *call(0, '{"a'), ERROR], Accepted("error", 5, None, "", "", ('{"a',))),
    "an error at once": ([ERROR], Accepted("error", 1, None, "", "", ())),
    "an error after a ping": ([PING, ERROR], Accepted("error", 2, None, "", "", ())),
    "an error after the start": ([START, ERROR], Accepted("error", 2, None, "", "", ())),
    "an error in place of message_stop": ([START, *TEXT, final(), ERROR], Accepted("error", 7, "end_turn", "Hello", "", ())),
}  # fmt: skip


@pytest.mark.parametrize(("events", "accepted"), GOOD_MESSAGES.values(), ids=GOOD_MESSAGES.keys())
def test_messages_streams_that_clients_can_read(events: Sequence[Event], accepted: Accepted) -> None:
    assert accept_messages_stream(messages(*events)) == accepted


@pytest.mark.parametrize(
    "reason",
    ["end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "model_context_window_exceeded", "compaction"],
)
def test_every_stop_reason_of_the_messages_api(reason: str) -> None:
    assert accept_messages_stream(messages(START, final(reason), STOP)).stop == reason


BAD_MESSAGES: dict[str, tuple[Sequence[Event], str]] = {
    "no start": ([*TEXT, final(), STOP], "frame 0 .*not allowed in phase BEGIN"),
    "an unknown event first": ([{"type": "weather"}, START, final(), STOP], "frame 0 .*unknown event before message_start"),
    "two starts": ([START, START, final(), STOP], "frame 1 .*not allowed in phase BETWEEN"),
    "a start in a block": ([START, TEXT[0], START], "frame 2 .*phase OPEN"),
    "a start without id": ([without(START, "message", "id")], "frame 0 .*`id`"),
    "an empty id": ([without(START, "message", id="")], "frame 0 .*length"),
    "a start without model": ([without(START, "message", "model")], "frame 0 .*`model`"),
    "a start without usage": ([without(START, "message", "usage")], "frame 0 .*`usage`"),
    "no input tokens": ([without(START, "message", "usage", "input_tokens")], "frame 0 .*`input_tokens`"),
    "no output tokens": ([without(START, "message", "usage", "output_tokens")], "frame 0 .*`output_tokens`"),
    "tokens as null": ([without(START, "message", "usage", input_tokens=None)], "frame 0 .*got `null`"),
    "tokens as float": ([without(START, "message", "usage", input_tokens=1.5)], "frame 0 .*got `float`"),
    "negative tokens": ([without(START, "message", "usage", input_tokens=-1)], "frame 0 .*>= 0"),
    "a start with content": ([without(START, "message", content=[{}])], "frame 0 .*length"),
    "a start with another role": ([without(START, "message", role="user")], "frame 0 .*user"),
    "a start with another type": ([without(START, "message", type="completion")], "frame 0 .*completion"),
    "a start with a stop reason": ([without(START, "message", stop_reason="end_turn")], "frame 0 .*null"),
    "a first block that is not 0": ([START, block(1, "text", text=""), stop(1), final(), STOP], "frame 1 .*index 1, expected 0"),
    "a gap in the blocks": ([START, *TEXT, block(2, "text", text=""), stop(2), final(), STOP], "frame 5 .*index 2, expected 1"),
    "an index twice": ([START, *TEXT, *TEXT, final(), STOP], "frame 5 .*index 0, expected 1"),
    "a block in a block": ([START, TEXT[0], block(1, "text", text="")], "frame 2 .*phase OPEN"),
    "a text block without text": ([START, block(0, "text")], "frame 1 .*without text"),
    "a thinking block without thinking": ([START, block(0, "thinking")], "frame 1 .*without thinking"),
    "a call without id": ([START, block(0, "tool_use", name="x", input={})], "frame 1 .*without id, name or input"),
    "a call without name": ([START, block(0, "tool_use", id="x", input={})], "frame 1 .*without id, name or input"),
    "a call without input": ([START, block(0, "tool_use", id="x", name="x")], "frame 1 .*without id, name or input"),
    "a delta without a block": ([START, TEXT[1]], "frame 1 .*phase BETWEEN"),
    "a delta after the stop": ([START, *TEXT, TEXT[1]], "frame 5 .*phase BETWEEN"),
    "a delta for another block": ([START, TEXT[0], delta(1, "text_delta", text="x")], "frame 2 .*index 1, but block 0 is open"),
    "text in a call": ([START, call(0)[0], TEXT[1]], "frame 2 .*text_delta in a tool_use block"),
    "text in thinking": ([START, THINKING[0], TEXT[1]], "frame 2 .*text_delta in a thinking block"),
    "thinking in text": ([START, TEXT[0], THINKING[1]], "frame 2 .*thinking_delta in a text block"),
    "json in text": ([START, TEXT[0], call(0, "{}")[1]], "frame 2 .*input_json_delta in a text block"),
    "a delta in redacted thinking": ([START, block(0, "redacted_thinking"), THINKING[1]], "frame 2 .*in a redacted_thinking block"),
    "a stop without a block": ([START, stop(0)], "frame 1 .*phase BETWEEN"),
    "a stop for another block": ([START, TEXT[0], stop(1)], "frame 2 .*index 1, but block 0 is open"),
    "two stops": ([START, *TEXT, stop(0)], "frame 5 .*phase BETWEEN"),
    "arguments that are not JSON": ([START, *call(0, '{"a'), final("tool_use"), STOP], "frame 4 .*input of block 0 is not a JSON object"),
    "arguments that are no object": ([START, *call(0, "[1]"), final("tool_use"), STOP], "frame 4 .*input of block 0 is not a JSON object"),
    "a cut call that is not the last block": ([START, *call(0, '{"a'), *call(1), final("max_tokens"), STOP], "frame 4 .*input of block 0"),
    "the end in a block": ([START, TEXT[0], final(), STOP], "frame 2 .*phase OPEN"),
    "two message_deltas": ([START, final(), final(), STOP], "frame 2 .*phase STOPPED"),
    "a block after message_delta": ([START, final(), *TEXT, STOP], "frame 2 .*phase STOPPED"),
    "no message_delta": ([START, *TEXT, STOP], "frame 5 .*phase BETWEEN"),
    "a null stop reason": ([START, final(None), STOP], "frame 1 .*null"),
    "a chat stop reason": ([START, final("stop"), STOP], "frame 1 .*stop"),
    "a final usage without output": ([START, final("end_turn", input_tokens=3), STOP], "frame 1 .*`output_tokens`"),
    "a final usage with fractions": ([START, final("end_turn", input_tokens=0.5, output_tokens=3), STOP], "frame 1 .*got `float`"),
    "a final without usage": ([START, without(final(), "usage"), STOP], "frame 1 .*`usage`"),
    "no message_stop": ([START, *TEXT, final()], "ends after 6 frames without message_stop or error"),
    "a cut in a block": ([START, *TEXT[:2]], "ends after 3 frames without"),
    "only a ping": ([PING], "ends after 1 frames without"),
    "something after the end": ([START, final(), STOP, PING], "frame 3 .*nothing may follow the end"),
    "an error after the end": ([START, final(), STOP, ERROR], "frame 3 .*nothing may follow the end"),
    "two errors": ([ERROR, ERROR], "frame 1 .*nothing may follow the end"),
    "an end after an error": ([START, ERROR, final(), STOP], "frame 2 .*nothing may follow the end"),
    "an error in a block": ([START, TEXT[0], ERROR], "frame 2 .*phase OPEN"),
    "an error without message": ([without(ERROR, "error", "message")], "frame 0 .*`message`"),
    "an error without type": ([without(ERROR, "error", "type")], "frame 0 .*`type`"),
}


@pytest.mark.parametrize(("events", "complaint"), BAD_MESSAGES.values(), ids=BAD_MESSAGES.keys())
def test_messages_streams_that_no_client_should_get(events: Sequence[Event], complaint: str) -> None:
    with pytest.raises(GrammarViolation, match=complaint):
        accept_messages_stream(messages(*events))


GOOD = messages(START, *TEXT, final(), STOP)


@pytest.mark.parametrize(
    ("stream", "complaint"),
    [
        (b"", "expected a blank line"),
        (b": ping\n\n", "ends after 0 frames"),
        (GOOD[:-1], "expected a blank line"),
        (GOOD + b"event: mess", "expected a blank line"),
        (GOOD + b"data: [DONE]\n\n", r"frame 7 .*got `array`"),
        (GOOD.replace(b"event: message_start\n", b""), "frame 0 .*event line b''"),
        (GOOD.replace(b"event: message_delta", b"event: ping"), "frame 5 .*event line b'ping', expected 'message_delta'"),
        (GOOD.replace(b"Hel", b"\xff"), "frame 2 .*utf-8"),
        (GOOD.replace(b'"type": "message_stop"', b'"a": 1'), "frame 6 .*`type`"),
        (GOOD.replace(b'"index": 0', b'"index": -1', 1), "frame 1 .*>= 0"),
    ],
)
def test_messages_streams_that_are_broken_below_the_events(stream: bytes, complaint: str) -> None:
    with pytest.raises(GrammarViolation, match=complaint):
        accept_messages_stream(stream)


@pytest.mark.parametrize("end", [b"\r\n", b"\r", b"\n"])
def test_line_ends_and_comments_do_not_matter(end: bytes) -> None:
    assert accept_messages_stream((comment(b"hi") + GOOD + comment(b"bye")).replace(b"\n", end)).text == "Hello"


def test_a_long_complaint_shows_only_the_begin_of_its_frame() -> None:
    with pytest.raises(GrammarViolation) as caught:
        accept_messages_stream(messages(START, block(1, "text", text="x" * 10_000)))
    assert len(str(caught.value)) < 300


# ---- chat ------------------------------------------------------------------------------------------------------------------------

USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


def chunk(delta: Event | None = None, finish: str | None = None, **fields: Any) -> Event:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "glm-5", "choices": choices, **fields}


def call_delta(index: int, arguments: str = "", **head: Any) -> Event:
    name = {"name": head.pop("name")} if "name" in head else {}
    return chunk({"tool_calls": [{"index": index, **head, "function": {**name, "arguments": arguments}}]})


def call_start(index: int, arguments: str = "") -> Event:
    return call_delta(index, arguments, id=f"call_{index}", type="function", name="read")


def chat(*chunks: Event | str) -> bytes:
    return b"".join(encode(item.encode() if isinstance(item, str) else json.dumps(item).encode()) for item in chunks)


DONE = "[DONE]"
ROLE = chunk({"role": "assistant", "content": ""})
HELLO = chunk({"content": "Hello"})
END = chunk({}, "stop")
CALLED = chunk({}, "tool_calls")
LAST = chunk(usage=USAGE)
FAULT: Event = {"error": {"message": "the upstream was cut", "type": "server_error", "param": None, "code": "upstream_request_failed"}}

GOOD_CHAT: dict[str, tuple[Sequence[Event | str], Accepted]] = {
    "text": ([ROLE, HELLO, END, DONE], Accepted("complete", 4, "stop", "Hello", "", ())),
    "usage in the last chunk": ([ROLE, HELLO, END, LAST, DONE], Accepted("complete", 5, "stop", "Hello", "", ())),
    "usage with the finish": ([ROLE, chunk({}, "stop", usage=USAGE), DONE], Accepted("complete", 3, "stop", "", "", ())),
    "usage null elsewhere": ([{**ROLE, "usage": None}, {**END, "usage": None}, LAST, DONE], Accepted("complete", 4, "stop", "", "", ())),
    "everything in one chunk": (
        [chunk({"role": "assistant", "content": "Hi"}, "stop"), DONE],
        Accepted("complete", 2, "stop", "Hi", "", ()),
    ),
    "reasoning": ([ROLE, chunk({"reasoning_content": "hm"}), HELLO, END, DONE], Accepted("complete", 5, "stop", "Hello", "hm", ())),
    "null members": (
        [ROLE, chunk({"role": None, "content": None, "reasoning_content": None, "tool_calls": None}), END, DONE],
        Accepted("complete", 4, "stop", "", "", ()),
    ),
    "calls": (
        [
            ROLE,
            call_start(0),
            call_delta(0, '{"a"'),
            call_delta(0, ":1}", id=None, type=None, name=None),
            call_start(1, "{}"),
            CALLED,
            DONE,
        ],
        Accepted("complete", 7, "tool_calls", "", "", ('{"a":1}', "{}")),
    ),
    "a call cut by the limit": (
        [ROLE, call_start(0, '{"a'), chunk({}, "length"), DONE],
        Accepted("complete", 4, "length", "", "", ('{"a',)),
    ),
    "a call cut by an error": ([ROLE, call_start(0, '{"a'), FAULT], Accepted("error", 3, None, "", "", ('{"a',))),
    "an error at once": ([FAULT], Accepted("error", 1, None, "", "", ())),
    "an error in place of [DONE]": ([ROLE, END, FAULT], Accepted("error", 3, "stop", "", "", ())),
}


@pytest.mark.parametrize(("chunks", "accepted"), GOOD_CHAT.values(), ids=GOOD_CHAT.keys())
def test_chat_streams_that_clients_can_read(chunks: Sequence[Event | str], accepted: Accepted) -> None:
    assert accept_chat_stream(chat(*chunks)) == accepted
    assert accept_chat_stream(comment(b"ping") + chat(*chunks).replace(b"\n\n", b"\n\n: ping\n\n")) == accepted


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter", "function_call"])
def test_every_finish_reason_of_chat_completions(reason: str) -> None:
    assert accept_chat_stream(chat(ROLE, chunk({}, reason), DONE)).stop == reason


TWO_IN_ONE = chunk(
    {"tool_calls": [*call_start(0, "{}")["choices"][0]["delta"]["tool_calls"], *call_start(1, "{}")["choices"][0]["delta"]["tool_calls"]]}
)


def test_one_chunk_may_hold_several_calls() -> None:
    assert accept_chat_stream(chat(ROLE, TWO_IN_ONE, CALLED, DONE)).arguments == ("{}", "{}")


BAD_CHAT: dict[str, tuple[Sequence[Event | str], str]] = {
    "no role": ([HELLO, END, DONE], "frame 0 .*the role must stand in the first chunk"),
    "the role twice": ([ROLE, ROLE, END, DONE], "frame 1 .*the role must stand in the first chunk"),
    "another role": ([chunk({"role": "user"})], "frame 0 .*user"),
    "another id": ([ROLE, {**HELLO, "id": "x"}], "frame 1 .*id, created, model"),
    "another time": ([ROLE, {**HELLO, "created": 2}], "frame 1 .*id, created, model"),
    "another model": ([ROLE, {**HELLO, "model": "x"}], "frame 1 .*id, created, model"),
    "another id with the usage": ([ROLE, END, {**LAST, "id": "x"}, DONE], "frame 2 .*id, created, model"),
    "no id": ([without(ROLE, "id")], "frame 0 .*`id`"),
    "an empty model": ([{**ROLE, "model": ""}], "frame 0 .*length"),
    "another object": ([{**ROLE, "object": "chat.completion"}], "frame 0 .*chat.completion"),
    "a float for the time": ([{**ROLE, "created": 1.5}], "frame 0 .*float"),
    "a second choice": ([{**ROLE, "choices": ROLE["choices"] * 2}], "frame 0 .*length"),
    "a choice that is not 0": ([{**ROLE, "choices": [{**ROLE["choices"][0], "index": 1}]}], "frame 0 .*1"),
    "a choice without delta": ([{**ROLE, "choices": [{"index": 0}]}], "frame 0 .*`delta`"),
    "an unknown finish reason": ([ROLE, chunk({}, "end_turn")], "frame 1 .*end_turn"),
    "no finish": ([ROLE, HELLO, DONE], r"frame 2 .*\[DONE\] before any finish_reason"),
    "two finishes": ([ROLE, END, END, DONE], "frame 2 .*a choice after the finish_reason"),
    "content after the finish": ([ROLE, END, HELLO, DONE], "frame 2 .*a choice after the finish_reason"),
    "content after the usage": ([ROLE, END, LAST, HELLO, DONE], "frame 3 .*a chunk after the usage"),
    "usage twice": ([ROLE, END, LAST, LAST, DONE], "frame 3 .*a chunk after the usage"),
    "usage with the finish and again": ([ROLE, chunk({}, "stop", usage=USAGE), LAST, DONE], "frame 2 .*a chunk after the usage"),
    "usage before the finish": ([ROLE, LAST, END, DONE], "frame 1 .*usage before the finish_reason"),
    "usage with content": ([ROLE, {**HELLO, "usage": USAGE}, END, DONE], "frame 1 .*usage before the finish_reason"),
    "usage first": ([LAST], "frame 0 .*usage before the finish_reason"),
    "usage without total": ([ROLE, END, chunk(usage=without(USAGE, "total_tokens"))], "frame 2 .*`total_tokens`"),
    "usage with a fraction": ([ROLE, END, chunk(usage={**USAGE, "prompt_tokens": 0.5})], "frame 2 .*float"),
    "a chunk with nothing": ([ROLE, chunk(), END, DONE], "frame 1 .*neither choices nor usage"),
    "a first call that is not 0": ([ROLE, call_start(1, "{}"), CALLED, DONE], "frame 1 .*call 1 in the midst of call -1"),
    "a gap in the calls": ([ROLE, call_start(0, "{}"), call_start(2, "{}")], "frame 2 .*call 2 in the midst of call 0"),
    "calls interleaved": ([ROLE, call_start(0, "{}"), call_start(1, "{}"), call_delta(0, " ")], "frame 3 .*call 0 in the midst of call 1"),
    "a call without id": ([ROLE, call_delta(0, "{}", type="function", name="x")], "frame 1 .*expected all three"),
    "a call without type": ([ROLE, call_delta(0, "{}", id="x", name="x")], "frame 1 .*expected all three"),
    "a call without name": ([ROLE, call_delta(0, "{}", id="x", type="function")], "frame 1 .*expected all three"),
    "a call with an empty id": ([ROLE, call_delta(0, "{}", id="", type="function", name="x")], "frame 1 .*expected all three"),
    "a repeated id": ([ROLE, call_start(0), call_delta(0, "{}", id="call_0")], "frame 2 .*call 0 repeats"),
    "a repeated type": ([ROLE, call_start(0), call_delta(0, "{}", type="function")], "frame 2 .*call 0 repeats"),
    "a repeated name": ([ROLE, call_start(0), call_delta(0, "{}", name="read")], "frame 2 .*call 0 repeats"),
    "arguments that are not JSON": ([ROLE, call_start(0, '{"a'), CALLED, DONE], "frame 2 .*arguments of call 0 are not a JSON object"),
    "no arguments": ([ROLE, call_start(0), CALLED, DONE], "frame 2 .*arguments of call 0 are not a JSON object"),
    "arguments that are no object": ([ROLE, call_start(0, "1"), CALLED, DONE], "frame 2 .*arguments of call 0 are not a JSON object"),
    "a cut call that is not the last": (
        [ROLE, call_start(0, "{"), call_start(1, "{}"), chunk({}, "length")],
        "frame 2 .*arguments of call 0",
    ),
    "no [DONE]": ([ROLE, HELLO, END, LAST], r"ends after 4 frames without \[DONE\] or error"),
    "a cut": ([ROLE, HELLO], r"ends after 2 frames without \[DONE\] or error"),
    "only [DONE]": ([DONE], r"frame 0 .*\[DONE\] before any finish_reason"),
    "two [DONE]": ([ROLE, END, DONE, DONE], "frame 3 .*nothing may follow the end"),
    "a chunk after [DONE]": ([ROLE, END, DONE, LAST], "frame 3 .*nothing may follow the end"),
    "an error after [DONE]": ([ROLE, END, DONE, FAULT], "frame 3 .*nothing may follow the end"),
    "[DONE] after an error": ([ROLE, FAULT, DONE], "frame 2 .*nothing may follow the end"),
    "a finish after an error": ([ROLE, FAULT, END, DONE], "frame 2 .*nothing may follow the end"),
    "an error without message": ([without(FAULT, "error", "message")], "frame 0 .*`message`"),
    "an error without type": ([without(FAULT, "error", "type")], "frame 0 .*`type`"),
    "an error without param": ([without(FAULT, "error", "param")], "frame 0 .*`param`"),
    "an error without code": ([without(FAULT, "error", "code")], "frame 0 .*`code`"),
    "an error that is a text": ([{"error": "no"}], "frame 0 .*got `str`"),
}


@pytest.mark.parametrize(("chunks", "complaint"), BAD_CHAT.values(), ids=BAD_CHAT.keys())
def test_chat_streams_that_no_client_should_get(chunks: Sequence[Event | str], complaint: str) -> None:
    with pytest.raises(GrammarViolation, match=complaint):
        accept_chat_stream(chat(*chunks))


@pytest.mark.parametrize(
    ("stream", "complaint"),
    [
        (b"", "expected a blank line"),
        (comment(b"ping"), "ends after 0 frames"),
        (chat(ROLE, END, DONE)[:-1], "expected a blank line"),
        (chat(ROLE) + b"event: x\n" + chat(END, DONE), "frame 1 .*event line b'x', expected data only"),
        (chat(ROLE, END, " [DONE]"), "frame 2 .*got `array`"),
        (chat(ROLE, "{", END, DONE), "frame 1 .*truncated"),
    ],
)
def test_chat_streams_that_are_broken_below_the_chunks(stream: bytes, complaint: str) -> None:
    with pytest.raises(GrammarViolation, match=complaint):
        accept_chat_stream(stream)
