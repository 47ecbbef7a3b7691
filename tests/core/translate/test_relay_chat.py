"""Chat streams for chat clients: what passes byte for byte, and what is mended."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.errors import UpstreamError, UpstreamFailed, UpstreamGarbled, UpstreamSaid
from core.translate.relay_chat import ChatRelay
from tests.core.translate.streaming import CONTEXT, DONE, Event, call, calls, chunk, delta, frames, parsed, run

ARGS = '{"a":1}'
ROLE = delta(role="assistant", content="")
HI = delta(content="Hi")
STOP = delta("stop")
END = delta("tool_calls")
USAGE = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
READ = calls(call(0, "", id="c1", name="read"))


def ours(event: Any) -> Any:
    """The same chunk with the client's name of the model."""
    return {**event, "model": "claude"} if isinstance(event, dict) and "choices" in event else event


def relayed(*events: Any, **context: Any) -> list[Any]:
    machine, out = run(ChatRelay, frames(*events), **context)
    assert machine.error is None
    return out


def head(index: int, arguments: str = "", id: str = "c1", name: str = "read") -> Event:
    """The begin of a call as the client gets it."""
    return {"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def more(index: int, arguments: str) -> Event:
    return {"index": index, "function": {"arguments": arguments}}


# ---------------------------------------------------------------------------------------------------- byte for byte

UNTOUCHED: dict[str, list[Any]] = {
    "text": [ROLE, HI, delta(content=" you"), STOP, DONE],
    "reasoning and members that are not known here": [
        {**delta(role="assistant", content="", reasoning_content=None), "system_fingerprint": "f"},
        chunk([{"index": 0, "delta": {"reasoning": "hm", "x": 1}, "logprobs": None, "finish_reason": None}], service_tier="y"),
        STOP, DONE,
    ],
    "calls": [ROLE, READ, calls(call(0, '{"a"')), calls(call(0, ":1}")), calls(call(1, "", id="c2", name="list")), calls(call(1, "{}")), END, DONE],
    "calls whole in one chunk": [ROLE, calls(call(0, ARGS, id="c1", name="read"), call(1, ARGS, id="c2", name="read")), END, DONE],
    "empty ids in later fragments": [ROLE, READ, calls(call(0, ARGS, id="")), END, DONE],
    "empty arguments in later fragments": [ROLE, READ, calls(call(0, "")), calls(call(0, ARGS)), END, DONE],
    "a call cut by the length": [ROLE, calls(call(0, '{"a', id="c1", name="read")), delta("length"), DONE],
    "usage on the finish chunk, not asked for": [ROLE, HI, {**STOP, "usage": {**USAGE, "vendor": 1}}, DONE],
    "the old function_call": [ROLE, delta(function_call={"name": "read", "arguments": ARGS}), delta("function_call"), DONE],
    "a refusal": [ROLE, delta(refusal="No"), delta("content_filter"), DONE],
}  # fmt: skip


@pytest.mark.parametrize("events", UNTOUCHED.values(), ids=UNTOUCHED.keys())
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_what_a_client_can_read_passes_byte_for_byte(events: list[Any], line_end: bytes) -> None:
    stream = frames(*map(ours, events)).replace(b"\n", line_end)
    machine = ChatRelay(CONTEXT)
    done = b"data: [DONE]\n\n"
    assert machine.feed(stream) + machine.close() == stream.removesuffix(done.replace(b"\n", line_end)) + done
    assert (machine.error, machine.skipped) == (None, 0)


def test_a_custom_tool_passes_byte_for_byte() -> None:
    begun = delta(tool_calls=[{"index": 0, "id": "c1", "type": "custom", "custom": {"name": "sql", "input": ""}}])
    stream = frames(*map(ours, (ROLE, begun, delta(tool_calls=[{"index": 0, "custom": {"input": "SELECT"}}]), END, DONE)))
    machine = ChatRelay(CONTEXT)
    assert machine.feed(stream) == stream
    assert machine.error is None


# ---------------------------------------------------------------------------------------------------- mended

ROWS: dict[str, tuple[list[Any], list[Any]]] = {
    "the model": ([ROLE, HI, HI, STOP, DONE], [ROLE, HI, HI, STOP, DONE]),
    "an id and a time that change": ([ROLE, {**HI, "id": "x", "created": 8}, {**STOP, "id": None}, DONE], [ROLE, HI, STOP, DONE]),
    "no id, no time, another object": (
        [{"choices": one["choices"]} for one in (ROLE, HI)] + [{**STOP, "id": "late", "created": 8, "object": "x"}, DONE],
        [{**one, "id": "chatcmpl-seed", "created": 1_700_000_000} for one in (ROLE, HI, STOP)] + [DONE],
    ),
    "a time that is no integer": ([{**ROLE, "created": "7"}, {**HI, "created": True}, {**STOP, "created": -1}, DONE], [{**one, "created": 1_700_000_000} for one in (ROLE, HI, STOP)] + [DONE]),
    "no role": ([HI, STOP, DONE], [delta(content="Hi", role="assistant"), STOP, DONE]),
    "the role in every chunk": (
        [ROLE, delta(role="assistant", content="a"), delta(role="assistant", content="b"), delta(content="c", role="assistant"), delta("stop", role="assistant"), DONE],
        [ROLE, delta(content="a"), delta(content="b"), delta(content="c"), STOP, DONE],
    ),
    "an index of the choice that is none": (
        [ROLE, chunk([{"delta": {"content": "Hi"}}]), chunk([{"index": 0.0, "delta": {"content": "Hi"}}]), chunk([{"index": False, "delta": {"content": "Hi"}}]), STOP, DONE],
        [ROLE, *[chunk([{"index": 0, "delta": {"content": "Hi"}}])] * 3, STOP, DONE],
    ),
    "choices nobody asked for": ([ROLE, chunk([{"index": 1, "delta": {"content": "no"}}, HI["choices"][0]]), chunk([{"index": 1, "delta": {}}]), STOP, DONE], [ROLE, HI, STOP, DONE]),
    "an empty error": ([ROLE, {**HI, "error": None}, {**STOP, "error": ""}, DONE], [ROLE, HI, STOP, DONE]),
    "content in parts": ([ROLE, delta(content=[{"type": "text", "text": "H"}, {"type": "refusal", "refusal": "i"}, {"type": "x"}]), STOP, DONE], [ROLE, HI, STOP, DONE]),
    "a delta that is missing": ([ROLE, chunk([{"index": 0, "finish_reason": None}]), HI, chunk([{"index": 0, "finish_reason": "stop"}]), DONE], [ROLE, HI, STOP, DONE]),
    "a whole answer in one chunk": (
        [{"id": "chatcmpl-1", "object": "chat.completion", "created": 7, "model": "glm", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "read", "arguments": ARGS}}]}, "finish_reason": "tool_calls"}], "usage": USAGE}, DONE],
        [{**delta("tool_calls", role="assistant", content="Hi", tool_calls=[head(0, ARGS)]), "usage": USAGE}, DONE],
    ),
    "a whole answer behind its own stream": (
        [ROLE, HI, chunk([{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]), DONE],
        [ROLE, HI, STOP, DONE],
    ),
    "id, type and name in every fragment": (
        [ROLE, READ, calls(call(0, '{"a"', id="c1", name="read")), calls(call(0, ":1}", id="c1", name="read")), END, DONE],
        [ROLE, calls(head(0)), calls(more(0, '{"a"')), calls(more(0, ":1}")), END, DONE],
    ),
    "no index": ([ROLE, calls(call(None, "", id="c1", name="read")), calls(call(None, ARGS)), END, DONE], [ROLE, calls(head(0)), calls(more(0, ARGS)), END, DONE]),
    "the first index is 1": (
        [ROLE, calls(call(1, ARGS, id="c1", name="read")), calls(call(2, ARGS, id="c2", name="read")), END, DONE],
        [ROLE, calls(head(0, ARGS)), calls(head(1, ARGS, "c2")), END, DONE],
    ),
    "index 0 for call after call": (
        [ROLE, calls(call(0, ARGS, id="c1", name="read")), calls(call(0, ARGS, id="c2", name="read")), END, DONE],
        [ROLE, calls(head(0, ARGS)), calls(head(1, ARGS, "c2")), END, DONE],
    ),
    "no id": ([ROLE, calls(call(0, ARGS, name="read")), END, DONE], [ROLE, calls(head(0, ARGS, "call_seed_0")), END, DONE]),
    "no type": ([ROLE, delta(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "read", "arguments": ARGS}}]), END, DONE], [ROLE, calls(head(0, ARGS)), END, DONE]),
    "interleaved calls": (
        [ROLE, READ, calls(call(1, "", id="c2", name="list")), calls(call(0, '{"a"')), calls(call(1, "{")), calls(call(0, ":1}")), calls(call(1, "}")), END, DONE],
        [ROLE, calls(head(0)), calls(more(0, '{"a"')), calls(more(0, ":1}"), head(1, "{", "c2", "list")), calls(more(1, "}")), END, DONE],
    ),
    "a call that still waits at the end": (
        [ROLE, READ, calls(call(1, ARGS, id="c2", name="list")), END, DONE],
        [ROLE, calls(head(0)), delta("tool_calls", tool_calls=[more(0, "{}"), head(1, ARGS, "c2", "list")]), DONE],
    ),
    "a call without arguments": ([ROLE, READ, END, DONE], [ROLE, calls(head(0)), delta("tool_calls", tool_calls=[more(0, "{}")]), DONE]),
    "a call without arguments in the finish chunk": (
        [ROLE, delta("tool_calls", tool_calls=[call(0, id="c1", name="read")]), DONE],
        [ROLE, delta("tool_calls", tool_calls=[head(0), more(0, "{}")]), DONE],
    ),
    "arguments of white space": ([ROLE, calls(call(0, " ", id="c1", name="read")), END, DONE], [ROLE, calls(head(0, " ")), delta("tool_calls", tool_calls=[more(0, "{}")]), DONE]),
    "arguments as an object": ([ROLE, calls(call(0, {"a": 1}, id="c1", name="read")), END, DONE], [ROLE, calls(head(0, ARGS)), END, DONE]),
    "the name behind the arguments": ([ROLE, calls(call(0, ARGS, id="c1")), calls(call(0, name="read")), END, DONE], [ROLE, calls(head(0, ARGS)), END, DONE]),
    "the name never comes, nor anything else": ([ROLE, HI, calls(call(0, id="c1")), STOP, DONE], [ROLE, HI, STOP, DONE]),
    "a fragment that says nothing": ([ROLE, HI, delta(tool_calls=[{}]), STOP, DONE], [ROLE, HI, STOP, DONE]),
    "text beside a call that waits": (
        [ROLE, READ, delta(content="Hi", tool_calls=[call(1, ARGS, id="c2", name="list")]), calls(call(0, ARGS)), END, DONE],
        [ROLE, calls(head(0)), HI, calls(more(0, ARGS), head(1, ARGS, "c2", "list")), END, DONE],
    ),
    "finish_reason stop although a tool was called": ([ROLE, calls(call(0, ARGS, id="c1", name="read")), STOP, DONE], [ROLE, calls(head(0, ARGS)), END, DONE]),
    "reasons clients do not know": ([ROLE, HI, delta("sensitive"), DONE], [ROLE, HI, delta("content_filter"), DONE]),
    "a full window": ([ROLE, HI, delta("model_context_window_exceeded"), DONE], [ROLE, HI, delta("length"), DONE]),
    "a reason nobody knows": ([ROLE, HI, delta("eos"), DONE], [ROLE, HI, STOP, DONE]),
    "an empty reason": ([ROLE, delta("", content="Hi"), STOP, DONE], [ROLE, HI, STOP, DONE]),
    "chunks behind the finish": ([ROLE, STOP, HI, delta("length"), chunk([]), DONE], [ROLE, STOP, DONE]),
    "no [DONE]": ([ROLE, HI, STOP], [ROLE, HI, STOP, DONE]),
    "[DONE] without a finish": ([ROLE, HI, DONE], [ROLE, HI, chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}]), DONE]),
    "[DONE] without a finish behind a call": (
        [ROLE, READ, DONE],
        [ROLE, calls(head(0)), chunk([{"index": 0, "delta": {"tool_calls": [more(0, "{}")]}, "finish_reason": "tool_calls"}]), DONE],
    ),
    "bad frames, and frames of nothing": (["{", ROLE, b"null", '{"x":1}', chunk([], prompt_filter_results=[]), HI, STOP, DONE], [ROLE, HI, STOP, DONE]),
}  # fmt: skip


@pytest.mark.parametrize(("events", "expected"), ROWS.values(), ids=ROWS.keys())
def test_mended_is(events: list[Any], expected: list[Any]) -> None:
    assert relayed(*events) == [ours(one) for one in expected]


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["compact", "spaced"])
@pytest.mark.parametrize("content", ["Hi", '"choices":', '"delta":{"role":"assistant",', 'a"choices":b\\', "é😀\u2028"])
def test_the_head_is_changed_and_never_the_text(content: str, separators: tuple[str, str]) -> None:
    one = delta(content=content)
    roled = delta(role="assistant", content=content)
    stream = frames(*[json.dumps(it, separators=separators) for it in (ROLE, one, one, roled, roled, STOP)], DONE)
    _, out = run(ChatRelay, stream)
    assert out == [ours(it) for it in (ROLE, one, one, one, one, STOP, DONE)]


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({**HI, "usage": None, "zz": '"choices":'}, id="members behind the choices"),
        pytest.param({"choices": HI["choices"], **{key: HI[key] for key in ("id", "object", "created", "model")}}, id="the choices first"),
        pytest.param({**HI, "created": 9}, id="another time"),
        pytest.param({"trace": {"choices": 1}, **HI}, id="choices inside another member"),
        pytest.param(
            {"trace": {"delta": {"role": "assistant", "x": 1}}, **delta(role="assistant", content="Hi")}, id="a delta inside another member"
        ),
    ],
)
def test_a_chunk_with_another_head_is_not_taken_for_one_that_was_seen(odd: Event) -> None:
    expected = [ours(one) for one in (ROLE, HI, HI, {**odd, "choices": HI["choices"], "created": 7}, HI, STOP)]
    assert relayed(ROLE, HI, HI, odd, HI, STOP, DONE) == [*expected, DONE]


def test_pretty_printed_chunks_pass() -> None:
    stream = (
        b'data: {\ndata:  "id":"x","object":"chat.completion.chunk","created":7,"model":"glm",\ndata: "choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
        * 2
    )
    machine, out = run(ChatRelay, stream + frames(STOP, DONE))
    assert machine.error is None
    assert [one["model"] for one in out[:2]] == ["claude", "claude"]


def test_an_escaped_quote_before_a_delta_hides_nothing() -> None:
    odd = {'x"delta': {"role": "assistant", "y": 1}, **delta(role="assistant", content="Hi")}
    _, out = run(ChatRelay, frames(ROLE, odd, STOP, DONE))
    assert (out[1]['x"delta'], out[1]["choices"][0]["delta"]) == ({"role": "assistant", "y": 1}, {"content": "Hi"})


def test_several_answers_pass_side_by_side() -> None:
    def two(number: int, finish: str | None = None, **members: Any) -> Event:
        return chunk([{"index": number, "delta": members, "finish_reason": finish}])

    events = [
        two(0, role="assistant"),
        two(1, role="assistant"),
        two(0, content="a"),
        two(1, content="b"),
        two(0, "stop"),
        two(1, tool_calls=[call(0, ARGS, name="read")]),
        two(1, "stop"),
    ]
    machine = ChatRelay(CONTEXT.__class__("claude", "seed", 1, choices=2))
    out = parsed(machine.feed(frames(*events, DONE)))
    assert machine.error is None
    assert out[:5] == [ours(one) for one in events[:5]]
    assert out[5]["choices"][0]["delta"] == {"tool_calls": [head(0, ARGS, "call_seed_1_0")]}
    assert (out[6]["choices"][0]["finish_reason"], out[7]) == ("tool_calls", DONE)


def test_several_answers_are_over_when_all_of_them_are() -> None:
    machine = ChatRelay(CONTEXT.__class__("claude", "seed", 1, choices=2))
    machine.feed(frames(ROLE, chunk([{"index": 1, "delta": {"content": "b"}}]), STOP))
    assert b'"error"' in machine.close()
    assert isinstance(machine.error, UpstreamFailed)


# ---------------------------------------------------------------------------------------------------- usage


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([ROLE, HI, STOP, chunk([], usage=USAGE), DONE], id="in a chunk of its own"),
        pytest.param([ROLE, HI, {**STOP, "usage": USAGE}, DONE], id="with the finish"),
        pytest.param(
            [ROLE, {**HI, "usage": {**USAGE, "completion_tokens": 1}}, {**STOP, "usage": None}, chunk([], usage=USAGE), DONE],
            id="in every chunk",
        ),
        pytest.param([ROLE, HI, chunk([], usage=USAGE), STOP, DONE], id="before the finish"),
    ],
)
def test_usage_that_was_asked_for_comes_once_and_last(events: list[Any]) -> None:
    out = relayed(*events, include_usage=True)
    assert out[-2:] == [ours(chunk([], usage=USAGE)), DONE]
    assert [one.get("usage") for one in out[:-2]] == [None] * (len(out) - 2)


def test_usage_that_was_not_asked_for_is_read_and_not_passed_on() -> None:
    machine, out = run(ChatRelay, frames(ROLE, {**HI, "usage": USAGE}, STOP, chunk([], usage={**USAGE, "completion_tokens": 3}), DONE))
    assert [one.get("usage") for one in out[:-1]] == [None] * 3
    assert (machine.counts.input, machine.counts.output) == (10, 3)


@pytest.mark.parametrize(("asked", "place"), [(True, -2), (False, -2)])
def test_usage_that_is_no_numbers_is_mended(asked: bool, place: int) -> None:
    odd = {"prompt_tokens": 10.0, "completion_tokens": "2", "total_tokens": None, "vendor": 1}
    out = relayed(ROLE, HI, {**STOP, "usage": odd}, DONE, include_usage=asked)
    assert {key: out[place]["usage"][key] for key in (*USAGE, "vendor")} == {**USAGE, "vendor": 1}


# ---------------------------------------------------------------------------------------------------- failures

FAILURES: dict[str, tuple[list[Any], type[UpstreamError]]] = {
    "an error at once": ([{"error": {"message": "busy"}}], UpstreamSaid),
    "[DONE] and nothing else": ([DONE], UpstreamGarbled),
    "a stream of nothing": ([chunk([])], UpstreamFailed),
    "a broken answer at once": ([delta("error")], UpstreamFailed),
}


@pytest.mark.parametrize(("events", "kind"), FAILURES.values(), ids=FAILURES.keys())
def test_a_failure_before_the_first_word_writes_nothing(events: list[Any], kind: type[UpstreamError]) -> None:
    machine, out = run(ChatRelay, frames(*events))
    assert (type(machine.error), out, machine.started) == (kind, [], False)


BREAKS: dict[str, tuple[list[Any], list[Any], str]] = {
    "the end of the body": ([HI], [HI], "closed its stream"),
    "a role and [DONE]": ([DONE], [], "held no answer"),
    "an error": ([HI, {"error": {"message": "busy"}}, STOP, DONE], [HI], "busy"),
    "an error behind the finish": ([HI, STOP, {"error": {"message": "busy"}}], [HI, STOP], "busy"),
    "finish_reason error": ([HI, delta("error"), DONE], [HI], 'finish_reason "error"'),
    "arguments that are no JSON": ([calls(call(0, '{"a', id="c1", name="read")), END, DONE], [calls(head(0, '{"a'))], 'the tool "read"'),
    "broken arguments with another call behind": ([calls(call(0, '{"a', id="c1", name="read")), calls(call(1, ARGS, id="c2", name="x")), delta("length")], [calls(head(0, '{"a'))], 'the tool "read"'),
    "a name that goes on behind its call's begin": ([READ, calls(call(0, name="_file"))], [READ], "changed the name"),
    "a call without a name": ([HI, calls(call(0, ARGS, id="c1")), END], [HI], "without its name"),
    "a call that could not be read": ([HI, '{"choices":[{"delta":{"tool_calls":7}}]}', END, DONE], [HI], "could not be read"),
}  # fmt: skip


@pytest.mark.parametrize(("events", "before", "message"), BREAKS.values(), ids=BREAKS.keys())
def test_a_failure_later_ends_in_one_error_frame(events: list[Any], before: list[Any], message: str) -> None:
    machine, out = run(ChatRelay, frames(ROLE, *events))
    assert out[:-1] == [ours(ROLE), *map(ours, before)]
    assert message in out[-1]["error"]["message"]
    assert machine.error is not None


def test_pieces_that_had_no_place_are_counted() -> None:
    closed = calls(call(0, ARGS, id="c1", name="read"))
    machine, _ = run(
        ChatRelay,
        frames(
            ROLE,
            "{",
            closed,
            calls(call(1, ARGS, id="c2", name="x")),
            calls(call(0, "more")),
            chunk([{"index": 3, "delta": {}}]),
            END,
            HI,
            DONE,
        ),
    )
    assert machine.skipped == 4
