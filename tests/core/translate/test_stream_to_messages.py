"""Chat streams for Messages clients: what each kind of chunk becomes."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import UpstreamError, UpstreamFailed, UpstreamGarbled, UpstreamSaid
from core.translate.machine import State
from core.translate.stream_to_messages import TABLE, ChatToMessages
from tests.core.translate.streaming import (
    DONE,
    Event,
    call,
    calls,
    chunk,
    delta,
    ending,
    frame,
    frames,
    opened,
    run,
    start,
    text,
    thinking,
    tool,
)

STOP = delta("stop")
END = delta("tool_calls")
HI = delta(content="Hi")
OBJECT = '{"a":1}'
C1 = calls(call(0, OBJECT, id="c1", name="read"))
C2 = calls(call(1, OBJECT, id="c2", name="read"))
USAGE = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}


def written(*events: Event | str | bytes, **context: Any) -> list[Any]:
    """What a stream becomes, without its message_start."""
    machine, out = run(ChatToMessages, frames(*events), **context)
    assert machine.error is None
    assert out[0]["type"] == "message_start"
    return out[1:]


def reasoning_detail(**members: Any) -> Event:
    return delta(reasoning_details=[{"type": "reasoning.text", **members}])


ROWS: dict[str, tuple[list[Any], list[Event]]] = {
    # wire.md 5, steps 2 to 5
    "text": ([delta(role="assistant", content=""), HI, delta(content=" you"), STOP, DONE], [*text(0, "Hi", " you"), *ending()]),
    "an answer of nothing": ([delta(role="assistant", content=""), STOP, DONE], [*ending()]),
    "empty and null deltas open nothing": (
        [delta(content=""), delta(content=None), delta(reasoning_content=""), chunk([{"index": 0, "delta": None}]), chunk([{}]), HI, STOP, DONE],
        [*text(0, "Hi"), *ending()],
    ),
    "only the first choice is taken": (
        [chunk([{"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": "yes"}}, {"index": 2.0, "delta": {"content": "no"}}]), STOP, DONE],
        [*text(0, "yes"), *ending()],
    ),
    "the index of a choice as a float or missing": (
        [chunk([{"index": 0.0, "delta": {"content": "a"}}]), chunk([{"delta": {"content": "b"}}]), STOP, DONE],
        [*text(0, "a", "b"), *ending()],
    ),
    "reasoning": ([delta(reasoning_content="hm"), HI, STOP, DONE], [*thinking(0, "hm"), *text(1, "Hi"), *ending()]),
    "reasoning in vLLM's field": ([delta(reasoning="hm"), HI, STOP, DONE], [*thinking(0, "hm"), *text(1, "Hi"), *ending()]),
    "reasoning said in all three fields counts once": (
        [delta(reasoning_content="hm", reasoning="hm", reasoning_details=[{"type": "reasoning.text", "text": "hm"}]), HI, STOP, DONE],
        [*thinking(0, "hm"), *text(1, "Hi"), *ending()],
    ),
    "reasoning in details alone": ([reasoning_detail(text="hm"), HI, STOP, DONE], [*thinking(0, "hm"), *text(1, "Hi"), *ending()]),
    "a summary of reasoning": (
        [delta(reasoning_details=[{"type": "reasoning.summary", "summary": "short"}]), STOP, DONE],
        [*thinking(0, "short"), *ending()],
    ),
    "a signature closes its thinking": (
        [delta(reasoning="hm"), reasoning_detail(signature="c2ln"), delta(reasoning="more"), STOP, DONE],
        [*thinking(0, "hm", signature="c2ln"), *thinking(1, "more"), *ending()],
    ),
    "a signature without text is a block of its own": (
        [HI, reasoning_detail(signature="c2ln"), STOP, DONE],
        [*text(0, "Hi"), *thinking(1, signature="c2ln"), *ending()],
    ),
    "encrypted reasoning": (
        [delta(reasoning_details=[{"type": "reasoning.encrypted", "data": "xyz"}]), HI, STOP, DONE],
        [opened(0, "redacted_thinking", data="xyz"), {"type": "content_block_stop", "index": 0}, *text(1, "Hi"), *ending()],
    ),
    "content in parts": (
        [
            delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}, {"type": "text"}]}]),
            delta(content=[{"type": "thinking", "thinking": "m"}, {"type": "text", "text": "Hi"}, {"type": "other"}]),
            STOP, DONE,
        ],
        [*thinking(0, "hm", "m"), *text(1, "Hi"), *ending()],
    ),
    "a refusal is text and a reason": (
        [delta(refusal="I ca"), delta(refusal="n't"), STOP, DONE],
        [*text(0, "I ca", "n't"), *ending("refusal", details={"type": "refusal", "category": None, "explanation": "I can't"})],
    ),
    "a refusal in parts": ([delta(content=[{"type": "refusal", "refusal": "No"}]), STOP, DONE], [*text(0, "No"), *ending()]),
    "a whole answer in one chunk": (
        [{"id": "chatcmpl-1", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi", "tool_calls": [call(None, OBJECT, id="c1", name="read")]}, "finish_reason": "tool_calls"}]}, DONE],
        [*text(0, "Hi"), *tool(1, OBJECT), *ending("tool_use")],
    ),
    "a whole answer behind its own stream is not said twice": (
        [HI, chunk([{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]), DONE],
        [*text(0, "Hi"), *ending()],
    ),
    # white space
    "white space before reasoning and calls is no block": (
        [delta(content="\n\n"), delta(reasoning="hm"), delta(content="\n"), C1, END, DONE],
        [*thinking(0, "hm"), *tool(1, OBJECT), *ending("tool_use")],
    ),
    "white space before text belongs to it": ([delta(content="\n\n"), delta(content=" Hi"), STOP, DONE], [*text(0, "\n\n Hi"), *ending()]),
    "blank reasoning is no block": ([delta(reasoning="\n"), HI, STOP, DONE], [*text(0, "Hi"), *ending()]),
    "blank reasoning inside a text does not cut it": ([HI, delta(reasoning="\n"), delta(content="!"), STOP, DONE], [*text(0, "Hi", "!"), *ending()]),
    "white space inside a text stays": ([HI, delta(content=" "), delta(content="\n"), STOP, DONE], [*text(0, "Hi", " ", "\n"), *ending()]),
    # wire.md 5, step 6
    "a call in pieces": (
        [calls(call(0, "", id="c1", name="read")), calls(call(0, '{"a"')), calls(call(0, ":1}")), END, DONE],
        [*tool(0, '{"a"', ":1}"), *ending("tool_use")],
    ),
    "a call whole in its first chunk": ([C1, END, DONE], [*tool(0, OBJECT), *ending("tool_use")]),
    "two calls, one after the other": ([C1, C2, END, DONE], [*tool(0, OBJECT), *tool(1, OBJECT, id="c2"), *ending("tool_use")]),
    "two calls in one chunk": (
        [calls(call(0, OBJECT, id="c1", name="read"), call(1, OBJECT, id="c2", name="read")), END, DONE],
        [*tool(0, OBJECT), *tool(1, OBJECT, id="c2"), *ending("tool_use")],
    ),
    "arguments as an object": (
        [calls(call(0, {"a": [1, "é"]}, id="c1", name="read")), END, DONE],
        [*tool(0, '{"a":[1,"é"]}'), *ending("tool_use")],
    ),
    "arguments as null, then as text": (
        [delta(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "read", "arguments": None}}]), calls(call(0, OBJECT)), END, DONE],
        [*tool(0, OBJECT), *ending("tool_use")],
    ),
    "white space before the arguments goes with them": (
        [calls(call(0, " ", id="c1", name="read")), calls(call(0, OBJECT)), END, DONE],
        [*tool(0, " " + OBJECT), *ending("tool_use")],
    ),
    "the id comes later than the name": (
        [calls(call(0, "", name="read")), calls(call(0, OBJECT, id="c1")), END, DONE],
        [*tool(0, OBJECT), *ending("tool_use")],
    ),
    "the name comes later than arguments": (
        [calls(call(0, OBJECT, id="c1")), delta(tool_calls=[{"index": 0, "function": {}}]), calls(call(0, "", id="c1", name="read")), END, DONE],
        [*tool(0, OBJECT), *ending("tool_use")],
    ),
    "two calls with one id get two": ([C1, calls(call(1, OBJECT, id="c1", name="read")), END, DONE], [*tool(0, OBJECT), *tool(1, OBJECT, id="c1_1"), *ending("tool_use")]),
    "an id that looks like the mended one": (
        [calls(call(0, OBJECT, id="x_2", name="read"), call(1, OBJECT, id="x", name="read"), call(2, OBJECT, id="x", name="read")), END, DONE],
        [*tool(0, OBJECT, id="x_2"), *tool(1, OBJECT, id="x"), *tool(2, OBJECT, id="x_2_2"), *ending("tool_use")],
    ),
    "a fragment that says nothing is no call": ([delta(tool_calls=[{}]), HI, STOP, DONE], [*text(0, "Hi"), *ending()]),
    "a call that never gets a name or arguments is none": ([HI, calls(call(0, "", id="c1")), STOP, DONE], [*text(0, "Hi"), *ending()]),
    "the old function_call": (
        [delta(function_call={"name": "read", "arguments": '{"a"'}), delta(function_call={"arguments": ":1}"}), delta("function_call"), DONE],
        [*tool(0, '{"a"', ":1}", id="toolu_seed_0"), *ending("tool_use")],
    ),
    "a call of a custom tool": (
        [delta(tool_calls=[{"index": 0, "id": "c1", "type": "custom", "custom": {"name": "read", "input": "a "}}]), delta(tool_calls=[{"index": 0, "custom": {"input": "b"}}]), END, DONE],
        [*tool(0, '{"input":"a b"}'), *ending("tool_use")],
    ),
    "text behind a call that is whole": ([C1, HI, STOP, DONE], [*tool(0, OBJECT), *text(1, "Hi"), *ending("tool_use")]),
    "text behind a call that is not waits": (
        [calls(call(0, '{"a"', id="c1", name="read")), HI, delta(content=" "), delta(content="you"), delta(reasoning="hm"), calls(call(0, ":1}")), delta(content="!"), END, DONE],
        [*tool(0, '{"a"', ":1}"), *text(1, "Hi you"), *thinking(2, "hm"), *text(3, "!"), *ending("tool_use")],
    ),
    "text behind a call that never gets arguments": ([calls(call(0, "", id="c1", name="read")), HI, END, DONE], [*tool(0), *text(1, "Hi"), *ending("tool_use")]),
    "a signature behind a call goes to its own thinking": (
        [calls(call(0, '{"a"', id="c1", name="read")), delta(reasoning="hm"), reasoning_detail(signature="s"), delta(reasoning="so"), calls(call(0, ":1}")), END, DONE],
        [*tool(0, '{"a"', ":1}"), *thinking(1, "hm", signature="s"), *thinking(2, "so"), *ending("tool_use")],
    ),
    "encrypted reasoning behind a call waits": (
        [calls(call(0, '{"a"', id="c1", name="read")), delta(reasoning_details=[{"data": "x"}]), calls(call(0, ":1}")), END, DONE],
        [*tool(0, '{"a"', ":1}"), opened(1, "redacted_thinking", data="x"), {"type": "content_block_stop", "index": 1}, *ending("tool_use")],
    ),
    "arguments that are no object, not written yet, are kept": (
        [calls(call(0, "", id="c1", name="read")), calls(call(1, "[1]", id="c2", name="read")), END, DONE],
        [*tool(0), *tool(1, '{"_raw":"[1]"}', id="c2"), *ending("tool_use")],
    ),
    "a call cut by the length stays cut": ([calls(call(0, '{"a', id="c1", name="read")), delta("length"), DONE], [*tool(0, '{"a'), *ending("max_tokens")]),
    "a call cut before it was written": (
        [calls(call(0, "", id="c1", name="read"), call(1, '{"a', id="c2", name="read")), delta("length"), DONE],
        [*tool(0), *tool(1, '{"a', id="c2"), *ending("max_tokens")],
    ),
    # wire.md 5, steps 7 and 8
    "more text behind the finish": ([HI, STOP, delta(content="!"), delta("length"), DONE], [*text(0, "Hi", "!"), *ending()]),
    "the end of the body behind a finish": ([HI, STOP], [*text(0, "Hi"), *ending()]),
    "[DONE] without a finish": ([HI, DONE], [*text(0, "Hi"), *ending()]),
    "[DONE] without a finish behind a call": ([C1, DONE], [*tool(0, OBJECT), *ending("tool_use")]),
    "[DONE] with white space": ([HI, "[DONE] "], [*text(0, "Hi"), *ending()]),
    "an empty finish is none yet": ([HI, delta(""), delta("length"), DONE], [*text(0, "Hi"), *ending("max_tokens")]),
    "nothing is read behind [DONE]": ([HI, STOP, DONE, HI, DONE], [*text(0, "Hi"), *ending()]),
    "a call announced that never came": ([HI, END, DONE], [*text(0, "Hi"), *ending()]),
    "bad frames are skipped": ([b"{", HI, "null", '{"choices":7}', STOP, DONE], [*text(0, "Hi"), *ending()]),
    "an empty error is none": ([{**HI, "error": None}, {**STOP, "error": {}}, DONE], [*text(0, "Hi"), *ending()]),
    "a lone surrogate becomes U+FFFD": ([delta(content="a\ud83d"), STOP, DONE], [*text(0, "a\ufffd"), *ending()]),
}  # fmt: skip


@pytest.mark.parametrize(("events", "expected"), ROWS.values(), ids=ROWS.keys())
def test_a_stream_becomes(events: list[Any], expected: list[Event]) -> None:
    assert written(*events) == expected


def test_the_message_begins_with_the_upstreams_id_and_the_clients_model() -> None:
    _, out = run(ChatToMessages, frames(HI, STOP, DONE), model="claude-sonnet")
    assert out[0] == start("msg_chatcmpl-1", "claude-sonnet")


@pytest.mark.parametrize(("upstream", "expected"), [("msg_9", "msg_9"), ("x", "msg_x"), (None, "msg_seed"), ("", "msg_seed")])
def test_the_id_can_be_read_back(upstream: str | None, expected: str) -> None:
    _, out = run(ChatToMessages, frames({**HI, "id": upstream}, {**STOP, "id": "later"}, DONE))
    assert out[0]["message"]["id"] == expected


def test_names_are_mapped_back() -> None:
    assert written(C1, END, DONE, names={"read": "a much longer name"}) == [
        *tool(0, OBJECT, name="a much longer name"),
        *ending("tool_use"),
    ]


def test_hidden_thinking_leaves_no_trace() -> None:
    events = (delta(reasoning="hm"), reasoning_detail(signature="s"), delta(content=[{"thinking": "x"}]), HI, STOP, DONE)
    assert written(*events, show_thinking=False) == [*text(0, "Hi"), *ending()]
    assert written(delta(reasoning="hm"), DONE, show_thinking=False) == [*ending()]


FINISHES = [
    ("stop", "end_turn", "tool_use"),
    ("length", "max_tokens", "max_tokens"),
    ("tool_calls", "end_turn", "tool_use"),
    ("function_call", "end_turn", "tool_use"),
    ("content_filter", "refusal", "refusal"),
    ("sensitive", "refusal", "refusal"),
    ("model_context_window_exceeded", "model_context_window_exceeded", "model_context_window_exceeded"),
    ("eos", "end_turn", "tool_use"),
]


@pytest.mark.parametrize(("finish", "without_calls", "with_calls"), FINISHES)
def test_every_finish_with_and_without_calls(finish: str, without_calls: str, with_calls: str) -> None:
    assert written(HI, delta(finish), DONE) == [*text(0, "Hi"), *ending(without_calls)]
    assert written(C1, delta(finish), DONE) == [*tool(0, OBJECT), *ending(with_calls)]


@pytest.mark.parametrize(
    ("said", "reason", "sequence"),
    [
        pytest.param("END", "stop_sequence", "END", id="one of the client's"),
        pytest.param("other", "end_turn", None, id="another text"),
        pytest.param(128001, "end_turn", None, id="a token"),
        pytest.param(None, "end_turn", None, id="nothing"),
    ],
)
def test_the_stop_sequence_that_vllm_names(said: Any, reason: str, sequence: str | None) -> None:
    last = chunk([{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": said}])
    assert written(HI, last, DONE, stop_sequences=("END",)) == [*text(0, "Hi"), *ending(reason, sequence)]


# ---------------------------------------------------------------------------------------------------- usage

USAGES: dict[str, tuple[list[Any], dict[str, Any], dict[str, Any]]] = {
    "in a chunk of its own": ([HI, STOP, chunk([], usage=USAGE), DONE], {}, {"input_tokens": 10, "output_tokens": 2}),
    "with the finish": ([HI, {**STOP, "usage": USAGE}, DONE], {}, {"input_tokens": 10, "output_tokens": 2}),
    "in every chunk": (
        [{**HI, "usage": {"prompt_tokens": 10, "completion_tokens": 1}}, {**STOP, "usage": USAGE}, DONE],
        {"input_tokens": 10},
        {"input_tokens": 10, "output_tokens": 2},
    ),
    "null in all chunks but one": ([{**HI, "usage": None}, STOP, chunk([], usage=USAGE), DONE], {}, {"input_tokens": 10, "output_tokens": 2}),
    "details in one chunk, numbers in another": (
        [{**HI, "usage": {**USAGE, "prompt_tokens_details": {"cached_tokens": 4}}}, STOP, chunk([], usage={**USAGE, "completion_tokens": 5}), DONE],
        {"input_tokens": 6, "read": 4},
        {"input_tokens": 6, "read": 4, "output_tokens": 5},
    ),
    "of no use": ([HI, STOP, chunk([], usage="none"), chunk([], usage={"prompt_tokens": []}), DONE], {}, {}),
}  # fmt: skip


@pytest.mark.parametrize(("events", "at_start", "at_end"), USAGES.values(), ids=USAGES.keys())
def test_usage(events: list[Any], at_start: dict[str, Any], at_end: dict[str, Any]) -> None:
    _, out = run(ChatToMessages, frames(*events))
    assert out[0] == start("msg_chatcmpl-1", **at_start)
    assert out[-2:] == ending(**at_end)


def test_the_estimate_stands_where_the_upstream_says_nothing() -> None:
    machine, out = run(ChatToMessages, frames(HI, STOP, DONE), input_tokens=17)
    assert (out[0], out[-2:]) == (start("msg_chatcmpl-1", input_tokens=17), ending(input_tokens=17))
    assert machine.counts.input is None  # what the upstream said, not what we guess


def test_the_upstreams_number_replaces_the_estimate() -> None:
    machine, out = run(ChatToMessages, frames(HI, STOP, chunk([], usage=USAGE), DONE), input_tokens=17)
    assert (out[0], out[-2:]) == (start("msg_chatcmpl-1", input_tokens=17), ending(input_tokens=10, output_tokens=2))
    assert (machine.counts.input, machine.counts.output) == (10, 2)


# ---------------------------------------------------------------------------------------------------- failures

FAILURES: dict[str, tuple[list[Any], type[UpstreamError]]] = {
    "a stream of nothing": ([], UpstreamFailed),
    "[DONE] and nothing else": ([DONE], UpstreamGarbled),
    "a role and [DONE]": ([delta(role="assistant", content=""), DONE], UpstreamGarbled),
    "an error at once": ([{"error": {"message": "busy", "type": "overloaded_error"}}], UpstreamSaid),
    "an error as text": ([{"error": "busy"}], UpstreamSaid),
    "an error of old vLLM": ([{"object": "error", "message": "busy", "code": 400}], UpstreamSaid),
    "usage, and then the end": ([chunk([], usage=USAGE)], UpstreamFailed),
}


@pytest.mark.parametrize(("events", "kind"), FAILURES.values(), ids=FAILURES.keys())
def test_a_failure_before_the_first_word_writes_nothing(events: list[Any], kind: type[UpstreamError]) -> None:
    machine, out = run(ChatToMessages, frames(*events))
    assert (type(machine.error), out, machine.started, machine.finished) == (kind, [], False, True)


def test_an_event_named_error_is_one() -> None:
    machine, _ = run(ChatToMessages, frame({"message": "busy", "code": 429}, "error"))
    assert isinstance(machine.error, UpstreamSaid)


BREAKS: dict[str, tuple[list[Any], list[Event], str, str]] = {
    "the end of the body": ([HI], text(0, "Hi"), "api_error", "closed its stream"),
    "the end of the body in a call": ([calls(call(0, '{"a', id="c1", name="read"))], tool(0, '{"a'), "api_error", "closed its stream"),
    "an error between two blocks": ([reasoning_detail(text="hm", signature="s"), {"error": "busy"}], thinking(0, "hm", signature="s"), "api_error", "busy"),
    "an error object": ([HI, {"error": {"message": "busy", "type": "overloaded_error"}}, HI], text(0, "Hi"), "overloaded_error", "busy"),
    "finish_reason error": ([HI, delta("error")], text(0, "Hi"), "api_error", 'finish_reason "error"'),
    "finish_reason network_error": ([delta(reasoning="hm"), delta("network_error"), DONE], thinking(0, "hm"), "api_error", "network_error"),
    "arguments that are no JSON": ([calls(call(0, '{"a', id="c1", name="read")), END, DONE], tool(0, '{"a'), "api_error", 'the tool "read"'),
    "arguments that are no object": ([calls(call(0, "[1]", id="c1", name="read")), END, DONE], tool(0, "[1]"), "api_error", 'the tool "read"'),
    "broken arguments with another call behind, at the length": (
        [calls(call(0, '{"a', id="c1", name="read")), C2, delta("length"), DONE], tool(0, '{"a'), "api_error", 'the tool "read"',
    ),
    "a call without a name": ([HI, calls(call(0, OBJECT, id="c1")), END, DONE], text(0, "Hi"), "api_error", "without its name"),
    "an announced call that could not be read": ([HI, '{"choices":[{"delta":{"tool_calls":7}}]}', END, DONE], text(0, "Hi"), "api_error", "could not be read"),
}  # fmt: skip


@pytest.mark.parametrize(("events", "before", "kind", "message"), BREAKS.values(), ids=BREAKS.keys())
def test_a_failure_later_ends_in_one_error_event(events: list[Any], before: list[Event], kind: str, message: str) -> None:
    machine, out = run(ChatToMessages, frames(*events))
    assert out[1:-1] == before
    assert (out[-1]["type"], out[-1]["error"]["type"]) == ("error", kind)
    assert message in out[-1]["error"]["message"]
    assert machine.error is not None
    assert machine.finished


def test_what_waits_behind_a_broken_call_is_not_said() -> None:
    machine, out = run(ChatToMessages, frames(calls(call(0, '{"a', id="c1", name="read")), HI, delta("stop"), DONE))
    assert out[1:-1] == tool(0, '{"a')
    assert isinstance(machine.error, UpstreamGarbled)


def test_pieces_that_had_no_place_are_counted() -> None:
    machine, _ = run(ChatToMessages, frames("{", {"x": 1}, C1, C2, calls(call(0, "more")), calls(call(0, " ")), END, DONE))
    assert machine.skipped == 3


# ---------------------------------------------------------------------------------------------------- the table

#: state -> what leads there.
WAYS: dict[State, list[Event]] = {
    State.WAITING: [],
    State.BETWEEN: [reasoning_detail(text="a", signature="s")],
    State.THINKING: [delta(reasoning="a")],
    State.TEXT: [delta(content="a")],
    State.CALL: [calls(call(0, OBJECT, id="c1", name="read"))],
}
#: what comes -> as chunks. BETWEEN: encrypted reasoning, which comes as a whole block.
KINDS: dict[State, Event] = {
    State.BETWEEN: delta(reasoning_details=[{"data": "x"}]),
    State.THINKING: delta(reasoning="b"),
    State.TEXT: delta(content="b"),
    State.CALL: calls(call(7, OBJECT, id="c7", name="read")),
}


def test_the_table_has_every_pair_but_those_that_cannot_come() -> None:
    pairs = {(state, kind) for state in WAYS for kind in KINDS}
    assert set(TABLE) == pairs - {(State.CALL, State.TEXT), (State.CALL, State.THINKING), (State.CALL, State.CALL)}


@pytest.mark.parametrize(("state", "kind"), [(state, kind) for state in WAYS for kind in KINDS], ids=lambda one: one.value)
def test_every_thing_can_come_after_every_other(state: State, kind: State) -> None:
    machine, out = run(ChatToMessages, frames(*WAYS[state], KINDS[kind], STOP, DONE))
    assert machine.error is None
    kinds = [event["content_block"]["type"] for event in out if event["type"] == "content_block_start"]
    names = {State.BETWEEN: "redacted_thinking", State.THINKING: "thinking", State.TEXT: "text", State.CALL: "tool_use"}
    before = [] if state is State.WAITING else ["thinking"] if state is State.BETWEEN else [names[state]]
    assert kinds == (before if state is kind and kind in (State.THINKING, State.TEXT) else [*before, names[kind]])
