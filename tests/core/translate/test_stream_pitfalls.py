"""Bugs of other converters that users really hit, one row each: the id says what went wrong there, the row what is right.

The numbers are those of a collection of public reports; the streams are made up in the manner of the vendors.
"""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import UpstreamFailed
from core.translate.stream_to_chat import MessagesToChat
from core.translate.stream_to_messages import ChatToMessages
from tests.core.translate.streaming import (
    DONE,
    Event,
    call,
    calls,
    chunk,
    closed,
    delta,
    ending,
    frames,
    opened,
    piece,
    run,
    start,
    text,
    thinking,
    tool,
)

STOP = delta("stop")
END = delta("tool_calls")
HI = delta(content="Hi")
ARGS = '{"a":1}'


def repeated(arguments: str) -> Event:
    """A fragment of a vendor that says everything every time."""
    return delta(role="assistant", content=None, tool_calls=[call(0, arguments, id="c1", name="read_file")])


TO_MESSAGES: dict[str, tuple[list[Any], list[Event]]] = {
    "1: interleaved arguments of parallel calls landed in the wrong block": (
        [
            calls(call(0, '{"a"', id="c1", name="read")),
            calls(call(1, '{"b"', id="c2", name="write")),
            calls(call(0, ":1")),
            calls(call(1, ":2}")),
            calls(call(0, "}")),
            END, DONE,
        ],
        [*tool(0, '{"a"', ":1", "}"), *tool(1, '{"b":2}', id="c2", name="write"), *ending("tool_use")],
    ),
    "1: interleaved calls told apart by their ids alone": (
        [
            calls(call(None, '{"a"', id="c1", name="read")),
            calls(call(None, '{"b"', id="c2", name="write")),
            calls(call(None, ":1}", id="c1", name="read")),
            calls(call(None, ":2}", id="c2", name="write")),
            END, DONE,
        ],
        [*tool(0, '{"a"', ":1}"), *tool(1, '{"b"', ":2}", id="c2", name="write"), *ending("tool_use")],
    ),
    "2: a line end between two calls was written into the open tool block": (
        [calls(call(0, ARGS, id="c1", name="read")), delta(content="\n"), calls(call(1, ARGS, id="c2", name="read")), END, DONE],
        [*tool(0, ARGS), *tool(1, ARGS, id="c2"), *ending("tool_use")],
    ),
    "3: the first token of every new block was lost": (
        [delta(reasoning_content="first"), delta(content="second"), calls(call(0, ARGS, id="c1", name="read")), END, DONE],
        [*thinking(0, "first"), *text(1, "second"), *tool(2, ARGS), *ending("tool_use")],
    ),
    "4: an empty text block stood at index 0 before thinking": ([delta(role="assistant", content=""), delta(reasoning_content="hm"), HI, STOP, DONE], [*thinking(0, "hm"), *text(1, "Hi"), *ending()]),
    "4: an empty text block stood at index 0 before a call": ([delta(role="assistant", content=""), calls(call(0, ARGS, id="c1", name="read")), END, DONE], [*tool(0, ARGS), *ending("tool_use")]),
    "5: content and call in one chunk, one of them was dropped": (
        [delta(content="Hi", tool_calls=[call(0, ARGS, id="c1", name="read")]), END, DONE],
        [*text(0, "Hi"), *tool(1, ARGS), *ending("tool_use")],
    ),
    "5: reasoning and content in one chunk, one of them was dropped": (
        [delta(reasoning_content="hm", content="Hi"), STOP, DONE],
        [*thinking(0, "hm"), *text(1, "Hi"), *ending()],
    ),
    "6: what the finish chunk carried was dropped": ([delta("stop", content="Hi", reasoning="hm"), DONE], [*thinking(0, "hm"), *text(1, "Hi"), *ending()]),
    "6: a call in the finish chunk was dropped": ([delta("tool_calls", tool_calls=[call(0, ARGS, id="c1", name="read")]), DONE], [*tool(0, ARGS), *ending("tool_use")]),
    "7: the text block stayed open when thinking followed": (
        [HI, delta(reasoning_content="hm"), delta(content="!"), STOP, DONE],
        [*text(0, "Hi"), *thinking(1, "hm"), *text(2, "!"), *ending()],
    ),
    "8: an answer of reasoning_content alone came out empty": ([delta(reasoning_content="hm"), STOP, DONE], [*thinking(0, "hm"), *ending()]),
    "9: the renamed field reasoning was lost": ([delta(reasoning="hm"), STOP, DONE], [*thinking(0, "hm"), *ending()]),
    "10: id, type and name in every chunk were added up": (
        [repeated(""), repeated('{"a"'), repeated(":1}"), repeated(""), END, DONE],
        [*tool(0, '{"a"', ":1}", name="read_file"), *ending("tool_use")],
    ),
    "10: the name in every chunk, without any id, became call after call": (
        [calls(call(0, '{"a"', name="read")), calls(call(0, ":1}", name="read")), calls(call(0, "", name="read")), END, DONE],
        [*tool(0, '{"a"', ":1}", id="toolu_seed_0"), *ending("tool_use")],
    ),
    "10: a name in pieces was cut": (
        [calls(call(0, "", id="c1", name="read")), calls(call(0, name="_file")), calls(call(0, ARGS)), END, DONE],
        [*tool(0, ARGS, name="read_file"), *ending("tool_use")],
    ),
    "10: a name that grows in every chunk was added up": (
        [calls(call(0, "", id="c1", name="read")), calls(call(0, name="read_file")), calls(call(0, ARGS)), END, DONE],
        [*tool(0, ARGS, name="read_file"), *ending("tool_use")],
    ),
    "10: index 0 for call after call": (
        [calls(call(0, ARGS, id="c1", name="read")), calls(call(0, ARGS, id="c2", name="read")), END, DONE],
        [*tool(0, ARGS), *tool(1, ARGS, id="c2"), *ending("tool_use")],
    ),
    "10: index 0 for call after call, without ids": (
        [calls(call(0, ARGS, name="read")), calls(call(0, ARGS, name="read")), calls(call(0, "", name="list")), END, DONE],
        [*tool(0, ARGS, id="toolu_seed_0"), *tool(1, ARGS, id="toolu_seed_1"), *tool(2, id="toolu_seed_2", name="list"), *ending("tool_use")],
    ),
    "11: no index at all": (
        [calls(call(None, '{"a"', id="c1", name="read")), calls(call(None, ":1}")), END, DONE],
        [*tool(0, '{"a"', ":1}"), *ending("tool_use")],
    ),
    "11: no index, two calls in a chunk": (
        [calls(call(None, ARGS, id="c1", name="read"), call(None, ARGS, id="c2", name="read")), END, DONE],
        [*tool(0, ARGS), *tool(1, ARGS, id="c2"), *ending("tool_use")],
    ),
    "11: the first index is 1": (
        [calls(call(1, ARGS, id="c1", name="read")), calls(call(2, ARGS, id="c2", name="read")), END, DONE],
        [*tool(0, ARGS), *tool(1, ARGS, id="c2"), *ending("tool_use")],
    ),
    "11: the index is a text": (
        [delta(tool_calls=[{**call(0, ARGS, id="c1", name="read"), "index": "1"}]), END, DONE],
        [*tool(0, ARGS), *ending("tool_use")],
    ),
    "11: the id is missing": (
        [calls(call(0, ARGS, id="c1", name="read")), calls(call(1, ARGS, name="read")), END, DONE],
        [*tool(0, ARGS), *tool(1, ARGS, id="toolu_seed_1"), *ending("tool_use")],
    ),
    "12: a tool without arguments, given as an empty text": ([calls(call(0, "", id="c1", name="read")), END, DONE], [*tool(0), *ending("tool_use")]),
    "12: a tool without arguments, never given": ([calls(call(0, id="c1", name="read")), END, DONE], [*tool(0), *ending("tool_use")]),
    "12: a tool without arguments, given as a blank": ([calls(call(0, " ", id="c1", name="read")), END, DONE], [*tool(0), *ending("tool_use")]),
    "12: tools without arguments, one after the other": (
        [calls(call(0, "", id="c1", name="read")), calls(call(1, "", id="c2", name="read")), END, DONE],
        [*tool(0), *tool(1, id="c2"), *ending("tool_use")],
    ),
    "13: finish_reason stop although a tool was called": ([calls(call(0, ARGS, id="c1", name="read")), STOP, DONE], [*tool(0, ARGS), *ending("tool_use")]),
    "14: the last block was not closed": ([calls(call(0, ARGS, id="c1", name="read")), END], [*tool(0, ARGS), *ending("tool_use")]),
    "16: usage behind the finish was dropped": (
        [HI, STOP, chunk([], usage={"prompt_tokens": 5, "completion_tokens": 1}), DONE],
        [*text(0, "Hi"), *ending(input_tokens=5, output_tokens=1)],
    ),
    "17: cached tokens were lost, or counted twice": (
        [HI, STOP, chunk([], usage={"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2}}), DONE],
        [*text(0, "Hi"), *ending(input_tokens=3, output_tokens=1, read=4, written=2)],
    ),
    "19: several message_deltas": (
        [{**HI, "usage": {"prompt_tokens": 5}}, {**STOP, "usage": {"completion_tokens": 1}}, chunk([], usage={"completion_tokens": 2}), DONE],
        [*text(0, "Hi"), *ending(input_tokens=5, output_tokens=2)],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("events", "expected"), TO_MESSAGES.values(), ids=TO_MESSAGES.keys())
def test_towards_messages(events: list[Any], expected: list[Event]) -> None:
    machine, out = run(ChatToMessages, frames(*events))
    assert machine.error is None
    assert out[1:] == expected


def test_15_the_first_event_had_no_input_tokens() -> None:
    _, out = run(ChatToMessages, frames(HI, STOP, DONE))
    assert out[0]["message"]["usage"] == {
        "input_tokens": 0,
        "output_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
    }
    _, out = run(ChatToMessages, frames(HI, STOP, DONE), input_tokens=20)
    assert out[0]["message"]["usage"]["input_tokens"] == 20


@pytest.mark.parametrize("events", [[HI], [HI, {"error": {"message": "gone"}}, STOP, DONE]], ids=["the end of the body", "an error object"])
def test_18_a_failure_in_the_middle_became_a_clean_end(events: list[Any]) -> None:
    machine, out = run(ChatToMessages, frames(*events))
    assert [event["type"] for event in out] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "error",
    ]
    assert machine.error is not None


def test_20_a_second_answer_was_spliced_in_by_a_retry() -> None:
    events = [start(), opened(0, "text", text=""), piece(0, "text_delta", text="Hi"), start(), *text(0, "Hi"), *ending()]
    _, out = run(MessagesToChat, frames(*events))
    assert deltas(out[:-1]) == [{"role": "assistant", "content": ""}, {"content": "Hi"}]
    assert "second answer" in out[-1]["error"]["message"]


# ---------------------------------------------------------------------------------------------------- towards chat


def deltas(out: list[Any]) -> list[Any]:
    """The deltas and finish reasons of chunks, and whatever else there is."""
    return [
        one["choices"][0]["finish_reason"] or one["choices"][0]["delta"] if isinstance(one, dict) and one.get("choices") else one
        for one in out
    ]


def test_21_the_block_index_was_used_as_the_index_of_the_call() -> None:
    events = [start(), *thinking(0, "hm"), *text(1, "Hi"), *tool(2, ARGS), *tool(3, ARGS, id="c2"), *ending("tool_use")]
    _, out = run(MessagesToChat, frames(*events))
    begun = [{"index": index, "id": f"c{index + 1}", "type": "function", "function": {"name": "read", "arguments": ""}} for index in (0, 1)]
    args = [{"index": index, "function": {"arguments": ARGS}} for index in (0, 1)]
    fragments = [{"tool_calls": [one]} for one in (begun[0], args[0], begun[1], args[1])]
    assert deltas(out) == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "hm"},
        {"content": "Hi"},
        *fragments,
        "tool_calls",
        DONE,
    ]


def test_22_an_error_event_was_swallowed_and_the_text_cut_in_silence() -> None:
    events = [start(), *text(0, "Hi"), {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, *ending()]
    _, out = run(MessagesToChat, frames(*events))
    assert deltas(out[:-1]) == [{"role": "assistant", "content": ""}, {"content": "Hi"}]
    assert {key: out[-1]["error"][key] for key in ("message", "type", "param", "code")} == {
        "message": "busy", "type": "server_error", "param": None, "code": "overloaded",
    }  # fmt: skip


def test_23_cached_tokens_were_left_out_of_the_final_usage() -> None:
    events = [
        start(input_tokens=3, read=4, written=2),
        *text(0, "Hi"),
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]
    _, out = run(MessagesToChat, frames(*events), include_usage=True)
    assert out[-1] == DONE
    assert (out[-2]["choices"], out[-2]["usage"]) == (
        [],
        {
            "prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2}, "completion_tokens_details": {"reasoning_tokens": 0},
        },
    )  # fmt: skip


def test_28_a_signature_was_made_up_or_lost() -> None:
    _, out = run(ChatToMessages, frames(delta(reasoning_content="hm"), HI, STOP, DONE))
    assert out[1:4] == [opened(0, "thinking", thinking="", signature=""), piece(0, "thinking_delta", thinking="hm"), closed(0)]
    _, out = run(MessagesToChat, frames(start(), *thinking(0, "h", "m", signature="c2ln"), *text(1, "Hi"), *ending()))
    detail = {"type": "reasoning.text", "text": "hm", "signature": "c2ln", "index": 0}
    assert deltas(out)[1:4] == [{"reasoning_content": "h"}, {"reasoning_content": "m"}, {"reasoning_details": [detail]}]


@pytest.mark.parametrize("machine", [ChatToMessages, MessagesToChat])
def test_18_nothing_at_all_is_a_failure_and_no_empty_answer(machine: Any) -> None:
    found, out = run(machine, b"")
    assert (type(found.error), out) == (UpstreamFailed, [])
