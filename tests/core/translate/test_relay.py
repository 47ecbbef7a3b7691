"""Messages streams for Messages clients: what passes byte for byte, and what is mended."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.errors import UpstreamError, UpstreamFailed, UpstreamGarbled, UpstreamSaid
from core.translate.relay import MessagesRelay
from tests.core.translate.streaming import (
    CONTEXT,
    DONE,
    Event,
    closed,
    ending,
    frame,
    frames,
    opened,
    parsed,
    piece,
    run,
    start,
    text,
    thinking,
    tool,
)

ARGS = '{"a":1}'
STOP = {"type": "message_stop"}
SIGNED = thinking(0, "hm", signature="c2ln")


def named(*events: Event) -> bytes:
    return b"".join(frame(event, event["type"]) for event in events)


def relayed(*events: Any, **context: Any) -> list[Any]:
    machine, out = run(MessagesRelay, frames(*events), **context)
    assert machine.error is None
    return out


def end(reason: Any, **usage: Any) -> Event:
    return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}


# ---------------------------------------------------------------------------------------------------- byte for byte

UNTOUCHED: dict[str, list[Event]] = {
    "text, thinking and a call": [start(input_tokens=3), *SIGNED, *text(1, "Hi"), *tool(2, "", '{"a"', ":1}"), *ending("tool_use", input_tokens=3)],
    "blocks, deltas and events that are not known here": [
        start(input_tokens=3), opened(0, "holo", x=[1]), piece(0, "holo_delta", y={}), closed(0), {"type": "weather", "sun": True},
        opened(1, "redacted_thinking", data="xyz"), closed(1), *ending("end_turn", input_tokens=3),
    ],
    "members that are not known here": [
        {**start(input_tokens=3), "trace": 1},
        opened(0, "text", text="", citations=None), {**piece(0, "text_delta", text="Hi"), "p": "abc"}, piece(0, "citations_delta", citation={"url": "x"}), closed(0),
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None, "container": None}, "usage": {"input_tokens": 3, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 2, "server_tool_use": {"web_search_requests": 1}}},
        {**STOP, "amazon-bedrock-invocationMetrics": {"inputTokenCount": 1}},
    ],
    "tools of the vendor": [
        start(input_tokens=3), opened(0, "server_tool_use", id="s", name="web_search", input={}), piece(0, "input_json_delta", partial_json='{"q":1}'), closed(0),
        opened(1, "web_search_tool_result", tool_use_id="s", content=[{"url": "x"}]), closed(1), *ending("pause_turn", input_tokens=3),
    ],
    "pings": [start(input_tokens=3), {"type": "ping"}, *text(0, "Hi"), {"type": "ping"}, *ending(input_tokens=3)],
    "a compaction": [start(input_tokens=3), opened(0, "compaction", content=None), piece(0, "compaction_delta", content="x"), closed(0), *ending("compaction", input_tokens=3)],
    "a refusal with its details": [start(input_tokens=3), *ending("refusal", details={"type": "refusal", "category": "x", "explanation": "y"}, input_tokens=3)],
    "usage whose caches are null": [
        {"type": "message_start", "message": {**start()["message"], "usage": {"input_tokens": 3, "output_tokens": 1, "cache_read_input_tokens": None}}},
        *text(0, "Hi"), end("end_turn", input_tokens=3, output_tokens=2), STOP,
    ],
    "usage whose thinking is said at the start alone": [
        {"type": "message_start", "message": {**start()["message"], "usage": {"input_tokens": 3, "output_tokens": 1, "output_tokens_details": {"thinking_tokens": 1}}}},
        *text(0, "Hi"), end("end_turn", input_tokens=3, output_tokens=2), STOP,
    ],
    "usage that is whole at its end": [
        {"type": "message_start", "message": {**start()["message"], "usage": {"input_tokens": 3, "output_tokens": 1, "cache_creation_input_tokens": 0}}},
        *text(0, "Hi"), end("end_turn", input_tokens=3, output_tokens=2, cache_read_input_tokens=0, cache_creation_input_tokens=0), STOP,
    ],
    "two calls": [start(input_tokens=3), *tool(0, '{"a"', ":1}"), *tool(1, '{"b"', ":2}", id="c2"), *ending("tool_use", input_tokens=3)],
    "a call cut by the length": [start(input_tokens=3), *tool(0, '{"a'), *ending("max_tokens", input_tokens=3)],
}  # fmt: skip


@pytest.mark.parametrize("events", UNTOUCHED.values(), ids=UNTOUCHED.keys())
def test_what_a_client_can_read_passes_byte_for_byte(events: list[Event]) -> None:
    stream = named(*events)
    machine = MessagesRelay(CONTEXT)
    assert machine.feed(stream) + machine.close() == stream
    assert (machine.error, machine.skipped) == (None, 0)


@pytest.mark.parametrize("line_end", [b"\r\n", b"\r"], ids=["CRLF", "CR"])
def test_other_line_ends_pass_as_well(line_end: bytes) -> None:
    stream = named(start(input_tokens=3), *text(0, "Hi"), *ending(input_tokens=3)).replace(b"\n", line_end)
    machine = MessagesRelay(CONTEXT)
    assert machine.feed(stream) + machine.close() == stream


def test_comments_and_ids_inside_a_frame_pass() -> None:
    stream = b": note\nid: 7\n" + named(start(input_tokens=3), *text(0, "Hi"), *ending(input_tokens=3))
    machine = MessagesRelay(CONTEXT)
    assert machine.feed(stream) + machine.close() == stream


# ---------------------------------------------------------------------------------------------------- mended

ROWS: dict[str, tuple[list[Any], list[Any]]] = {
    "missing names": ([start(), *text(0, "Hi"), *ending()], [start(), *text(0, "Hi"), *ending()]),
    "the model": ([start(model="glm"), *text(0, "Hi"), *ending()], [start(), *text(0, "Hi"), *ending()]),
    "a message without anything": ([{"type": "message_start"}, *text(0, "Hi"), *ending()], [
        {"type": "message_start", "message": {"type": "message", "role": "assistant", "model": "claude", "id": "msg_seed", "content": [], "usage": {
            "input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0}}},
        *text(0, "Hi"), *ending(),
    ]),
    "no message_start": ([*text(0, "Hi"), *ending()], [start("msg_seed"), *text(0, "Hi"), *ending()]),
    "nothing but a reason": ([end("end_turn", output_tokens=1), STOP], [start("msg_seed"), end("end_turn", output_tokens=1, input_tokens=0, cache_read_input_tokens=0, cache_creation_input_tokens=0), STOP]),
    "blocks that do not count from 0": (
        [start(), *thinking(1, "hm"), *text(4, "Hi"), *tool(4, ARGS), *ending("tool_use")],
        [start(), *thinking(0, "hm"), *text(1, "Hi"), *tool(2, ARGS), *ending("tool_use")],
    ),
    "a missing content_block_stop": ([start(), *thinking(0, "hm")[:-1], *text(1, "Hi")[:-1], *ending()], [start(), *thinking(0, "hm"), *text(1, "Hi"), *ending()]),
    "a missing content_block_start": (
        [start(), piece(0, "thinking_delta", thinking="hm"), piece(1, "text_delta", text="Hi"), closed(1), *ending()],
        [start(), *thinking(0, "hm"), *text(1, "Hi"), *ending()],
    ),
    "a stream that begins with a delta": ([piece(3, "text_delta", text="Hi"), *ending()], [start("msg_seed"), *text(0, "Hi"), *ending()]),
    "text in an open call": (
        [start(), *tool(0, ARGS)[:-1], piece(0, "text_delta", text="\n"), piece(0, "text_delta", text="Hi"), closed(0), *ending("tool_use")],
        [start(), *tool(0, ARGS), *text(1, "Hi"), *ending("tool_use")],
    ),
    "text of another index": ([start(), opened(0, "text", text=""), piece(7, "text_delta", text="Hi"), closed(0), *ending()], [start(), *text(0, "Hi"), *ending()]),
    "a text block without text, a thinking block without thinking": (
        [start(), opened(0, "text"), closed(0), opened(1, "thinking", thinking=None), closed(1), *ending()],
        [start(), opened(0, "text", text=""), closed(0), opened(1, "thinking", thinking=""), closed(1), *ending()],
    ),
    "a call without id and input": (
        [start(), opened(0, "tool_use", name="read"), closed(0), opened(1, "tool_use", id="", name="read", input=""), closed(1), *ending("tool_use")],
        [start(), *tool(0, id="toolu_seed_0"), *tool(1, id="toolu_seed_1"), *ending("tool_use")],
    ),
    "an input that is no object": (
        [start(), opened(0, "tool_use", id="c1", name="read", input="x"), closed(0), *ending("tool_use")],
        [start(), opened(0, "tool_use", id="c1", name="read", input={"_raw": "x"}), closed(0), *ending("tool_use")],
    ),
    "white space before an input": (
        [start(), *tool(0, "", " ", "\n", ARGS), *ending("tool_use")],
        [start(), *tool(0, "", " \n" + ARGS), *ending("tool_use")],
    ),
    "an input of white space": ([start(), *tool(0, " "), *ending("tool_use")], [start(), *tool(0), *ending("tool_use")]),
    "arguments and stops of another index": (
        [start(), *tool(0, '{"a"')[:-1], piece(1, "input_json_delta", partial_json="x"), closed(1), piece(0, "input_json_delta", partial_json=":1}"), closed(0), *ending("tool_use")],
        [start(), *tool(0, '{"a"', ":1}"), *ending("tool_use")],
    ),
    "deltas that do not fit": (
        [start(), opened(0, "text", text=""), piece(0, "input_json_delta", partial_json="{}"), piece(0, "signature_delta", signature="s"), piece(0, "text_delta", text=None), piece(0, "text_delta", text="Hi"), closed(0), closed(0), piece(0, "signature_delta"), *ending()],
        [start(), *text(0, "Hi"), *ending()],
    ),
    "arguments without a text": ([start(), opened(0, "tool_use", id="c1", name="read", input={}), piece(0, "input_json_delta"), closed(0), *ending("tool_use")], [start(), *tool(0), *ending("tool_use")]),
    "events without what they should have": (
        [start(), {"type": "content_block_start", "index": 0}, opened(0, ""), {"type": "content_block_delta", "index": 0}, {"type": "message_delta"}, {"type": "ping"}, *ending()],
        [start(), {"type": "ping"}, *ending()],
    ),
    "unknown events and pings before the start": ([{"type": "weather"}, {"type": "ping"}, start(), *text(0, "Hi"), *ending()], [start(), *text(0, "Hi"), *ending()]),
    "bad frames and stray [DONE]s": ([start(), "{", DONE, b"null", *text(0, "Hi"), *ending(), DONE], [start(), *text(0, "Hi"), *ending()]),
    "a whole answer in message_start": (
        [{"type": "message_start", "message": {**start()["message"], "content": [{"type": "text", "text": "Hi"}, {"type": "tool_use", "id": "c1", "name": "read", "input": {"a": 1}}], "stop_reason": "tool_use"}}, *ending("tool_use")],
        [start(), *text(0, "Hi"), *tool(1, ARGS), *ending("tool_use")],
    ),
    "no message_delta": ([start(), *text(0, "Hi"), STOP], [start(), *text(0, "Hi"), *ending()]),
    "no message_delta behind a call": ([start(), *tool(0, ARGS), STOP], [start(), *tool(0, ARGS), *ending("tool_use")]),
    "no message_stop": ([start(), *text(0, "Hi"), *ending()[:1]], [start(), *text(0, "Hi"), *ending()]),
    "a second message_delta": ([start(), *text(0, "Hi"), ending()[0], *ending("max_tokens")], [start(), *text(0, "Hi"), *ending()]),
    "blocks behind the reason": ([start(), *text(0, "Hi"), ending()[0], *text(1, "!"), STOP], [start(), *text(0, "Hi"), *ending()]),
    "a reason in chat's words": ([start(), *text(0, "Hi"), *ending("length")], [start(), *text(0, "Hi"), *ending("max_tokens")]),
    "a reason nobody knows": ([start(), *text(0, "Hi"), *ending("eos")], [start(), *text(0, "Hi"), *ending()]),
    "end_turn behind a call": ([start(), *tool(0, ARGS), *ending()], [start(), *tool(0, ARGS), *ending("tool_use")]),
}  # fmt: skip


@pytest.mark.parametrize(("events", "expected"), ROWS.values(), ids=ROWS.keys())
def test_mended_is(events: list[Any], expected: list[Any]) -> None:
    assert relayed(*events) == expected


def test_events_get_the_name_their_data_says_and_the_type_their_name_says() -> None:
    stream = (
        frame(start(input_tokens=3), "wrong")
        + frame({"index": 0, "content_block": {"type": "text", "text": ""}}, "content_block_start")
        + frames(closed(0), *ending())
    )
    machine = MessagesRelay(CONTEXT)
    lines = machine.feed(stream).split(b"\n")
    assert [line[7:] for line in lines if line.startswith(b"event: ")] == [
        b"message_start", b"content_block_start", b"content_block_stop", b"message_delta", b"message_stop",
    ]  # fmt: skip
    assert all("type" in json.loads(line[6:]) for line in lines if line.startswith(b"data: "))


def test_what_had_no_place_is_counted() -> None:
    machine, _ = run(
        MessagesRelay,
        frames(
            {"type": "weather"},
            "{",
            start(),
            closed(0),
            piece(0, "input_json_delta", partial_json="x"),
            *text(0, "Hi"),
            ending()[0],
            opened(1, "text", text=""),
            STOP,
        ),
    )
    assert machine.skipped == 5


def test_pieces_of_another_call_are_counted() -> None:
    other = [piece(1, "input_json_delta", partial_json="x"), piece(0, "input_json_delta"), closed(1)]
    machine, _ = run(MessagesRelay, frames(start(), tool(0)[0], *other, closed(0), *ending("tool_use")))
    assert machine.skipped == 3


# ---------------------------------------------------------------------------------------------------- usage


def begun(usage: Any) -> Event:
    return {"type": "message_start", "message": {**start()["message"], "usage": usage}}


def with_usage(at_start: Any, at_end: Any, **context: Any) -> tuple[Any, Any]:
    final = {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": at_end}
    out = relayed(begun(at_start), *text(0, "Hi"), final, STOP, **context)
    return out[0]["message"]["usage"], out[-2]["usage"]


NO_CACHE = {"cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}


@pytest.mark.parametrize(
    ("at_start", "at_end", "told_first", "told_last"),
    [
        pytest.param(
            {"input_tokens": 0, "output_tokens": 0}, {"output_tokens": 2},
            {"input_tokens": 17, "output_tokens": 0, **NO_CACHE}, {"input_tokens": 17, "output_tokens": 2, **NO_CACHE},
            id="z.ai's zero at the start",
        ),
        pytest.param(
            {"input_tokens": 0, "output_tokens": 0}, {"input_tokens": 9, "output_tokens": 2},
            {"input_tokens": 17, "output_tokens": 0, **NO_CACHE}, {"input_tokens": 9, "output_tokens": 2, **NO_CACHE},
            id="the truth comes at the end",
        ),
        pytest.param(
            {"input_tokens": 0, "output_tokens": 0}, {"cache_read_input_tokens": 9, "output_tokens": 2},
            {"input_tokens": 17, "output_tokens": 0, **NO_CACHE}, {"input_tokens": 0, "output_tokens": 2, **NO_CACHE, "cache_read_input_tokens": 9},
            id="the truth comes at the end, and is the cache",
        ),
        pytest.param(
            {"input_tokens": 50, "cache_read_input_tokens": 7, "output_tokens": 1}, {"output_tokens": 5},
            {"input_tokens": 50, "cache_read_input_tokens": 7, "output_tokens": 1},
            {"input_tokens": 50, "cache_read_input_tokens": 7, "output_tokens": 5},
            id="the prompt is said at the start alone, and nothing is made up",
        ),
        pytest.param(
            {"input_tokens": 50, "cache_creation_input_tokens": 3, "cache_read_input_tokens": None, "output_tokens": 1}, {"output_tokens": 5, "cache_read_input_tokens": None},
            {"input_tokens": 50, "cache_creation_input_tokens": 3, "cache_read_input_tokens": None, "output_tokens": 1},
            {"input_tokens": 50, "cache_creation_input_tokens": 3, "output_tokens": 5},
            id="a cache that was written alone",
        ),
        pytest.param(
            {"input_tokens": 9, "output_tokens": 0, "service_tier": "x"}, {"input_tokens": 0, "output_tokens": 2, "server_tool_use": {}},
            {"input_tokens": 9, "output_tokens": 0, "service_tier": "x"}, {"input_tokens": 9, "output_tokens": 2, "server_tool_use": {}},
            id="a zero at the end takes nothing back",
        ),
        pytest.param(
            {"input_tokens": 9.0, "output_tokens": "1", "x": 1}, {"output_tokens": 2.0, "y": 2},
            {"input_tokens": 9, "output_tokens": 1, **NO_CACHE, "x": 1}, {"input_tokens": 9, "output_tokens": 2, **NO_CACHE, "y": 2},
            id="numbers that are no integers",
        ),
        pytest.param(
            {"input_tokens": 4, "output_tokens": 0, "cache_read_input_tokens": 5.0}, {"output_tokens": 2, "cache_read_input_tokens": "5"},
            {"input_tokens": 4, "output_tokens": 0, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 0},
            {"input_tokens": 4, "output_tokens": 2, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 0},
            id="cache numbers that are no integers",
        ),
        pytest.param(None, None, {"input_tokens": 17, "output_tokens": 0, **NO_CACHE}, {"input_tokens": 17, "output_tokens": 0, **NO_CACHE}, id="none at all"),
        pytest.param("x", [], {"input_tokens": 17, "output_tokens": 0, **NO_CACHE}, {"input_tokens": 17, "output_tokens": 0, **NO_CACHE}, id="of no use"),
        pytest.param(
            {"input_tokens": -1, "output_tokens": True}, {"output_tokens": -5},
            {"input_tokens": 17, "output_tokens": 0, **NO_CACHE}, {"input_tokens": 17, "output_tokens": 0, **NO_CACHE},
            id="negative, and true",
        ),
    ],
)  # fmt: skip
def test_usage_is_mended(at_start: Any, at_end: Any, told_first: Any, told_last: Any) -> None:
    assert with_usage(at_start, at_end, input_tokens=17) == (told_first, told_last)


def test_usage_of_a_message_delta_that_did_not_pass_is_told_later() -> None:
    events = [
        begun({"input_tokens": 0, "output_tokens": 0}),
        {"type": "message_delta", "usage": {"input_tokens": 9, "output_tokens": 1}},
        *text(0, "Hi"),
        end("end_turn", output_tokens=2),
        STOP,
    ]
    assert relayed(*events)[-2]["usage"] == {"input_tokens": 9, "output_tokens": 2}


def test_counts_are_what_the_upstream_said() -> None:
    machine, _ = run(
        MessagesRelay,
        frames(start(input_tokens=3, read=2), *text(0, "Hi"), *ending(input_tokens=3, output_tokens=4, read=2)),
        input_tokens=99,
    )
    assert (machine.counts.prompt, machine.counts.output) == (5, 4)


# ---------------------------------------------------------------------------------------------------- failures

FAILURES: dict[str, tuple[list[Any], type[UpstreamError]]] = {
    "an error at once": ([{"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}], UpstreamSaid),
    "an error behind a ping": (
        [{"type": "ping"}, {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}],
        UpstreamSaid,
    ),
    "a ping and the end": ([{"type": "ping"}], UpstreamFailed),
    "message_stop and nothing else": ([STOP], UpstreamGarbled),
    "a call that could not be read, and the reason": (["{", end("tool_use")], UpstreamGarbled),
    "a call without a name": ([opened(0, "tool_use", id="c1", input={})], UpstreamGarbled),
}


@pytest.mark.parametrize(("events", "kind"), FAILURES.values(), ids=FAILURES.keys())
def test_a_failure_before_the_first_word_writes_nothing(events: list[Any], kind: type[UpstreamError]) -> None:
    machine, out = run(MessagesRelay, frames(*events))
    assert (type(machine.error), out, machine.started) == (kind, [], False)


BREAKS: dict[str, tuple[list[Any], list[Any], str]] = {
    "the end of the body": ([*text(0, "Hi")], text(0, "Hi"), "closed its stream"),
    "the end of the body in a block": (text(0, "Hi")[:-1], text(0, "Hi"), "closed its stream"),
    "message_stop and no answer": ([STOP], [], "held no answer"),
    "an error": ([*text(0, "Hi"), {"type": "error", "error": {"message": "busy"}}, *ending()], text(0, "Hi"), "busy"),
    "an error in place of message_stop": ([*text(0, "Hi"), ending()[0], {"type": "error", "error": {"message": "busy"}}], [*text(0, "Hi"), ending()[0]], "busy"),
    "a second answer": ([*text(0, "Hi"), start()], text(0, "Hi"), "second answer"),
    "stop_reason error": ([*text(0, "Hi"), *ending("error")], text(0, "Hi"), 'stop_reason "error"'),
    "arguments that are no JSON": ([*tool(0, '{"a'), *ending("tool_use")], tool(0, '{"a'), "not a JSON object"),
    "arguments that are no object, and no reason": ([*tool(0, "[1]"), STOP], tool(0, "[1]"), "not a JSON object"),
    "broken arguments with another call behind": ([*tool(0, '{"a'), *tool(1, ARGS), *ending("max_tokens")], tool(0, '{"a'), "not a JSON object"),
    "a call that could not be read": ([*text(0, "Hi"), {"type": "content_block_start", "index": 1, "content_block": 7}, *ending("tool_use")], text(0, "Hi"), "could not be read"),
}  # fmt: skip


@pytest.mark.parametrize(("events", "before", "message"), BREAKS.values(), ids=BREAKS.keys())
def test_a_failure_later_ends_in_one_error_event(events: list[Any], before: list[Any], message: str) -> None:
    machine, out = run(MessagesRelay, frames(start(), *events))
    assert out[:-1] == [start(), *before]
    assert (out[-1]["type"], message in out[-1]["error"]["message"]) == ("error", True)
    assert machine.error is not None


def test_broken_text_is_mended_also_where_it_is_not_looked_at() -> None:
    stream = named({**start(input_tokens=3), "trace": "?"}, *text(0, "Hi"), *ending(input_tokens=3)).replace(b'"?"', b'"\xff"')
    machine = MessagesRelay(CONTEXT)
    assert parsed(machine.feed(stream))[0]["trace"] == "\ufffd"
