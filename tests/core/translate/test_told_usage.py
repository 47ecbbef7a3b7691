"""Where usage and ``context_info`` stand in the answers of all four pairs, and what stands there where the upstream says nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from core.dialects import Protocol
from core.scaling import Scale
from core.translate.answers import answer_to_chat, answer_to_messages
from core.translate.context import AnswerContext
from core.translate.folding import fold
from core.translate.machine import Machine
from core.translate.relay import MessagesRelay, relay_answer
from core.translate.relay_chat import ChatRelay
from core.translate.report import ContextWork, Report
from core.translate.stream_to_chat import MessagesToChat
from core.translate.stream_to_messages import ChatToMessages
from core.translate.usage import Counts
from tests.core.translate.streaming import (
    CONTEXT,
    DONE,
    call,
    calls,
    chunk,
    closed,
    delta,
    ending,
    frames,
    opened,
    run,
    start,
    text,
    thinking,
    tool,
)

MESSAGES, CHAT = Protocol.ANTHROPIC, Protocol.OPENAI
FULL = Report(extras=True, window=1000, estimates=True)
QUIET = Report(estimates=True)
EXTRAS = {"real_input_tokens": 10, "context_limit": 1000, "context_utilization": "1.0%", "endpoint_type": "text"}

USAGE = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
ROLE, HI, STOP = delta(role="assistant", content=""), delta(content="Hi"), delta("stop")
CHAT_STREAM = [ROLE, HI, STOP, chunk([], usage=USAGE), DONE]
MESSAGES_STREAM = [start(input_tokens=10), *text(0, "Hi"), *ending(input_tokens=10, output_tokens=2)]


def completion(**more: Any) -> bytes:
    choices = [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]
    return json.dumps({"id": "chatcmpl-1", "object": "chat.completion", "created": 7, "model": "glm", "choices": choices, **more}).encode()


def message(**more: Any) -> bytes:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "glm", "content": [{"type": "text", "text": "Hi"}]}
    return json.dumps({**head, "stop_reason": "end_turn", "stop_sequence": None, **more}).encode()


WHOLE_CHAT, WHOLE_MESSAGE = completion(usage=USAGE), message(usage={"input_tokens": 10, "output_tokens": 2})

#: The four pairs: (a stream machine, its stream, the function for whole answers, its body).
PAIRS: dict[str, tuple[type[Machine], list[Any], Any, bytes]] = {
    "chat to Messages": (ChatToMessages, CHAT_STREAM, answer_to_messages, WHOLE_CHAT),
    "Messages to chat": (MessagesToChat, MESSAGES_STREAM, answer_to_chat, WHOLE_MESSAGE),
    "Messages": (MessagesRelay, MESSAGES_STREAM, lambda body, context: relay_answer(body, MESSAGES, context), WHOLE_MESSAGE),
    "chat": (ChatRelay, CHAT_STREAM, lambda body, context: relay_answer(body, CHAT, context), WHOLE_CHAT),
}
for_all_pairs = pytest.mark.parametrize(("machine", "events", "translate", "body"), PAIRS.values(), ids=PAIRS.keys())
for_chat_clients = pytest.mark.parametrize("pair", ["Messages to chat", "chat"])
for_messages_clients = pytest.mark.parametrize("pair", ["chat to Messages", "Messages"])


def whole(pair: str, body: bytes | None = None, **context: Any) -> tuple[Any, Counts]:
    _, _, translate, usual = PAIRS[pair]
    answer, counts = translate(usual if body is None else body, replace(CONTEXT, **context))
    return json.loads(answer), counts


def streamed(pair: str, events: list[Any] | None = None, **context: Any) -> tuple[Machine, list[Any]]:
    kind, usual, _, _ = PAIRS[pair]
    return run(kind, frames(*(usual if events is None else events)), **context)


# ---------------------------------------------------------------------------------------------------- places


@pytest.mark.parametrize("pair", PAIRS)
def test_a_whole_answer_has_both_at_their_places(pair: str) -> None:
    answer, counts = whole(pair, report=FULL)
    assert EXTRAS.items() <= answer["usage"].items()
    assert answer["context_info"]["real_input_tokens"] == 10
    assert answer["context_info"]["estimated"] is False
    assert (counts.prompt, counts.output, counts.estimated) == (10, 2, False)


@for_chat_clients
def test_a_chat_stream_has_both_in_its_last_chunk(pair: str) -> None:
    _, out = streamed(pair, include_usage=True, report=FULL)
    last = out[-2]
    assert last["choices"] == []
    assert EXTRAS.items() <= last["usage"].items()
    assert last["context_info"]["real_input_tokens"] == 10
    assert all("context_info" not in one and not one.get("usage") for one in out[:-2])


@for_chat_clients
def test_a_chat_stream_that_nobody_asked_for_usage_has_neither(pair: str) -> None:
    _, out = streamed(pair, report=FULL)
    assert all("context_info" not in one and not one.get("usage") for one in out[:-1])


def test_usage_that_a_chat_upstream_puts_on_its_finish_unasked_is_told_there() -> None:
    events = [ROLE, HI, {**STOP, "usage": {**USAGE, "x_tokens": 3}}, DONE]
    _, out = streamed("chat", events, report=replace(FULL, scale=Scale(3, 1)))
    assert out[-2]["usage"] == {"prompt_tokens": 30, "completion_tokens": 6, "total_tokens": 36, "x_tokens": 9, **EXTRAS}
    assert out[-2]["context_info"]["scaling_factor"] == 3.0
    assert out[-2]["choices"][0]["finish_reason"] == "stop"


@for_messages_clients
def test_a_messages_stream_has_the_members_of_usage_at_its_end_and_no_context_info(pair: str) -> None:
    _, out = streamed(pair, report=FULL)
    assert EXTRAS.items() <= out[-2]["usage"].items()
    assert not EXTRAS.keys() & out[0]["message"]["usage"].keys()
    assert all("context_info" not in one for one in out)


@pytest.mark.parametrize("pair", PAIRS)
def test_a_stream_that_is_to_be_folded_has_what_a_whole_answer_has(pair: str) -> None:
    kind, events, _, _ = PAIRS[pair]
    machine = kind(replace(CONTEXT, report=FULL, include_usage=True, to_fold=True))
    folded = json.loads(fold(machine.CLIENT, machine.feed(frames(*events)) + machine.close()))
    answer, _ = whole(pair, report=FULL)
    assert folded["context_info"] == answer["context_info"]
    assert {name: number for name, number in folded["usage"].items() if number or name in answer["usage"]} == answer["usage"]


@for_messages_clients
def test_a_message_delta_that_the_upstream_left_out_has_them_too(pair: str) -> None:
    events = MESSAGES_STREAM[:-2] if pair == "Messages" else [*CHAT_STREAM[:2], DONE]
    _, out = streamed(pair, [*events, {"type": "message_stop"}] if pair == "Messages" else events, report=FULL, input_tokens=10)
    assert EXTRAS.items() <= out[-2]["usage"].items()


@pytest.mark.parametrize("pair", PAIRS)
def test_without_extras_nothing_is_added(pair: str) -> None:
    answer, _ = whole(pair, report=QUIET)
    assert "context_info" not in answer
    assert "real_input_tokens" not in answer["usage"]
    _, out = streamed(pair, report=QUIET, include_usage=True)
    assert all("context_info" not in one and "real_input" not in str(one) for one in out)


def test_without_extras_the_same_wire_passes_byte_for_byte() -> None:
    body = WHOLE_MESSAGE.replace(b'"glm"', b'"claude"')
    assert relay_answer(body, MESSAGES, replace(CONTEXT, report=QUIET, input_tokens=99))[0] == body
    body = WHOLE_CHAT.replace(b'"glm"', b'"claude"')
    assert relay_answer(body, CHAT, replace(CONTEXT, report=QUIET, input_tokens=99))[0] == body


# ---------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("pair", PAIRS)
def test_numbers_are_told_in_the_clients_units_and_recorded_in_the_upstreams(pair: str) -> None:
    report = replace(FULL, scale=Scale(5, 2))
    names = ("prompt_tokens", "completion_tokens") if pair in ("chat", "Messages to chat") else ("input_tokens", "output_tokens")
    answer, counts = whole(pair, report=report)
    assert tuple(answer["usage"][name] for name in names) == (25, 5)
    assert answer["usage"]["real_input_tokens"] == 10
    machine, out = streamed(pair, report=report, include_usage=True)
    assert tuple(out[-2]["usage"][name] for name in names) == (25, 5)
    assert (counts.prompt, counts.output) == (machine.counts.prompt, machine.counts.output) == (10, 2)


@for_messages_clients
def test_the_start_of_a_messages_stream_is_in_the_same_units(pair: str) -> None:
    _, out = streamed(pair, report=replace(FULL, scale=Scale(5, 2)), input_tokens=40)
    assert out[0]["message"]["usage"]["input_tokens"] == (25 if pair == "Messages" else 100)


def test_zero_usage_at_the_start_is_repaired_in_the_clients_units() -> None:
    _, out = streamed(
        "Messages",
        [start(), *text(0, "Hi"), *ending(input_tokens=10, output_tokens=2)],
        report=replace(FULL, scale=Scale(2, 1)),
        input_tokens=7,
    )
    assert out[0]["message"]["usage"]["input_tokens"] == 14
    assert out[-2]["usage"]["input_tokens"] == 20
    assert out[-2]["usage"]["real_input_tokens"] == 10


@pytest.mark.parametrize("pair", PAIRS)
def test_saved_tokens_are_told_as_input_and_not_recorded(pair: str) -> None:
    report = replace(FULL, adds_saved=True, work=ContextWork(tokens_saved=90))
    answer, counts = whole(pair, report=report)
    assert (answer["usage"].get("prompt_tokens") or answer["usage"]["input_tokens"], counts.prompt) == (100, 10)
    assert (answer["usage"]["real_input_tokens"], answer["context_info"]["tokens_saved"]) == (10, 90)


# ---------------------------------------------------------------------------------------------------- an upstream that does not count

#: "Hi": ceil(2 / 3.5) tokens.
ESTIMATED = Counts(40, output=1)


def without_usage(pair: str) -> tuple[list[Any], bytes]:
    if pair in ("chat to Messages", "chat"):
        return [ROLE, HI, STOP, DONE], completion()
    return [
        {**start(), "message": {**start()["message"], "usage": None}},
        *text(0, "Hi"),
        {**ending()[0], "usage": None},
        ending()[1],
    ], message()


@pytest.mark.parametrize("pair", PAIRS)
def test_an_upstream_without_usage_is_counted_here(pair: str) -> None:
    events, body = without_usage(pair)
    answer, counts = whole(pair, body, report=FULL, input_tokens=40)
    machine, out = streamed(pair, events, report=FULL, input_tokens=40, include_usage=True)
    for usage in (answer["usage"], out[-2]["usage"]):
        assert (usage.get("prompt_tokens") or usage["input_tokens"], usage.get("completion_tokens") or usage["output_tokens"]) == (40, 1)
        assert usage["real_input_tokens"] == 40
    assert answer["context_info"]["estimated"] is True
    assert (counts, counts.estimated) == (machine.counts, machine.counts.estimated) == (ESTIMATED, True)


@pytest.mark.parametrize("pair", PAIRS)
def test_zeros_are_no_usage(pair: str) -> None:
    zeros: Any = (
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        if pair in ("chat to Messages", "chat")
        else {"input_tokens": 0, "output_tokens": 0}
    )
    body = completion(usage=zeros) if "prompt_tokens" in zeros else message(usage=zeros)
    answer, counts = whole(pair, body, report=FULL, input_tokens=40)
    assert (counts.prompt, counts.output, counts.estimated) == (40, 1, True)
    assert answer["usage"].get("total_tokens") in (None, 41)


def test_zeros_of_a_chat_stream_are_none_either() -> None:
    _, out = streamed(
        "chat", [ROLE, HI, STOP, chunk([], usage=dict.fromkeys(USAGE, 0)), DONE], report=FULL, input_tokens=40, include_usage=True
    )
    assert (out[-2]["usage"]["total_tokens"], out[-2]["context_info"]["estimated"]) == (41, True)


@pytest.mark.parametrize("pair", PAIRS)
def test_one_number_that_is_missing_is_estimated_and_the_other_kept(pair: str) -> None:
    body = completion(usage={"completion_tokens": 9}) if pair in ("chat to Messages", "chat") else message(usage={"output_tokens": 9})
    answer, counts = whole(pair, body, report=FULL, input_tokens=40)
    assert (counts.prompt, counts.output, answer["context_info"]["estimated"]) == (40, 9, True)


@pytest.mark.parametrize("usage", [{}, {"usage": None}, {"usage": dict.fromkeys(USAGE, 0)}], ids=["none", "null", "zeros"])
def test_a_chat_answer_without_usage_has_an_estimate_without_context_info_too(usage: dict[str, Any]) -> None:
    """Clients read its members unguarded."""
    numbers = {"prompt_tokens": 40, "completion_tokens": 1, "total_tokens": 41}
    answer, counts = whole("chat", completion(**usage), report=QUIET, input_tokens=40)
    assert numbers.items() <= answer["usage"].items()
    assert (counts, counts.estimated) == (ESTIMATED, True)
    events = [ROLE, HI, STOP, *([chunk([], **usage)] if usage else []), DONE]
    machine, out = streamed("chat", events, report=QUIET, input_tokens=40, include_usage=True)
    assert out[-2]["choices"] == []
    assert numbers.items() <= out[-2]["usage"].items()
    assert machine.counts == ESTIMATED


def test_a_messages_stream_ends_with_the_numbers_of_a_plain_answer() -> None:
    usage = {"input_tokens": 50, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 7, "output_tokens": 5}
    events = [start(), *text(0, "Hi"), *ending()]
    events[0]["message"]["usage"] = {**usage, "output_tokens": 1}
    events[-2]["usage"] = {"output_tokens": 5}
    for report in (FULL, QUIET):
        _, out = streamed("Messages", events, report=report)
        assert out[-2]["usage"] == whole("Messages", message(usage=usage), report=report)[0]["usage"]


#: What is wrong with it -> the usage of a chat upstream, and what a client is told instead.
WRONG: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a total that is none": (
        {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 999},
        {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105},
    ),
    "more cached than there is": (
        {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "prompt_tokens_details": {"cached_tokens": 300, "audio_tokens": 1}},
        {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "prompt_tokens_details": {"cached_tokens": 10, "audio_tokens": 1}},
    ),
    "the same beside the details": (
        {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "cached_tokens": 300, "prompt_cache_hit_tokens": 4, "x": 300},
        {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "cached_tokens": 10, "prompt_cache_hit_tokens": 4, "x": 300},
    ),
    "more read and written than there is": (
        {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "prompt_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 8}},
        {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "prompt_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 2}},
    ),
    "a cached part that is no integer": (
        {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "cached_tokens": 4.0, "cache_write_tokens": [1]},
        {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "cached_tokens": 4, "cache_write_tokens": [1]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("report", [FULL, QUIET], ids=["with extras", "bare"])
@pytest.mark.parametrize(("said", "right"), WRONG.values(), ids=WRONG.keys())
def test_sums_of_a_chat_upstream_that_are_wrong_are_not_passed_on(said: dict[str, Any], right: dict[str, Any], report: Report) -> None:
    answer, _ = whole("chat", completion(usage=said), report=report)
    _, asked = streamed("chat", [ROLE, HI, STOP, chunk([], usage=said), DONE], report=report, include_usage=True)
    _, unasked = streamed("chat", [ROLE, HI, {**STOP, "usage": said}, DONE], report=report)
    for told in (answer["usage"], asked[-2]["usage"], unasked[-2]["usage"]):
        assert {name: value for name, value in told.items() if name not in EXTRAS} == right


def test_a_cached_part_is_capped_in_the_clients_units() -> None:
    said = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "cached_tokens": 30, "prompt_cache_hit_tokens": 4}
    answer, _ = whole("chat", completion(usage=said), report=replace(QUIET, scale=Scale(2, 1)))
    assert (answer["usage"]["cached_tokens"], answer["usage"]["prompt_cache_hit_tokens"]) == (20, 8)


@pytest.mark.parametrize("pair", PAIRS)
def test_an_answer_that_breaks_off_is_counted_as_far_as_it_came(pair: str) -> None:
    events, _ = without_usage(pair)
    machine, _ = streamed(pair, events[:-2] if pair != "chat to Messages" else events[:2], report=FULL, input_tokens=40)
    assert machine.error is not None
    assert (machine.counts, machine.counts.estimated) == (ESTIMATED, True)


@pytest.mark.parametrize("pair", PAIRS)
def test_an_answer_that_never_began_has_no_counts(pair: str) -> None:
    machine, _ = streamed(pair, [], report=FULL, input_tokens=40)
    assert (machine.counts, machine.counts.estimated) == (Counts(), False)


@pytest.mark.parametrize("pair", PAIRS)
def test_nothing_is_estimated_for_who_does_not_want_it(pair: str) -> None:
    events, body = without_usage(pair)
    machine, _ = streamed(pair, events, input_tokens=40)
    assert machine.counts == Counts()
    assert whole(pair, body, input_tokens=0)[1] == Counts()


#: 4 characters of thinking, 5 of text (one of them not ASCII), a name of 4 and arguments of 7: 4*4/14 + (4*4 + 21)/14 + 4*11/14.
LONG = -(-(16 + 37 + 44) // 14)


@pytest.mark.parametrize("pair", PAIRS)
def test_text_thinking_and_calls_are_counted(pair: str) -> None:
    if pair in ("chat to Messages", "chat"):
        events = [
            ROLE,
            delta(reasoning_content="hmm."),
            delta(content="So"),
            delta(content=" né"),
            calls(call(0, '{"a"', id="c", name="read")),
            calls(call(0, ":1}")),
            delta("tool_calls"),
            DONE,
        ]
        said = {
            "role": "assistant",
            "content": "So né",
            "reasoning_content": "hmm.",
            "tool_calls": [call(0, '{"a":1}', id="c", name="read")],
        }
        body = completion(choices=[{"index": 0, "message": said, "finish_reason": "tool_calls"}])
    else:
        events = [start(), *thinking(0, "hm", "m."), *text(1, "So", " né"), *tool(2, '{"a"', ":1}"), *ending("tool_use")]
        blocks = [
            {"type": "thinking", "thinking": "hmm."},
            {"type": "text", "text": "So né"},
            {"type": "tool_use", "id": "c", "name": "read", "input": {"a": 1}},
        ]
        body = message(content=blocks, stop_reason="tool_use")
    machine, _ = streamed(pair, events, report=FULL, input_tokens=40)
    assert machine.error is None
    assert machine.counts.output == LONG
    assert whole(pair, body, report=FULL, input_tokens=40)[1].output == LONG


def test_what_is_hidden_from_the_client_is_not_counted() -> None:
    shown = {"report": FULL, "input_tokens": 40, "show_thinking": False}
    machine, _ = streamed("chat to Messages", [ROLE, delta(reasoning_content="hmm."), HI, STOP, DONE], **shown)
    assert machine.counts.output == 1
    machine, _ = streamed("Messages to chat", [start(), *thinking(0, "hmm."), *text(1, "Hi"), *ending()], **shown)
    assert machine.counts.output == 1
    blocks = [{"type": "thinking", "thinking": "hmm."}, {"type": "text", "text": "Hi"}]
    assert whole("Messages to chat", message(content=blocks), **shown)[1].output == 1


def test_the_tool_that_stands_for_a_schema_is_counted_as_text() -> None:
    context: dict[str, Any] = {"report": FULL, "input_tokens": 40, "schema_tool": "read"}
    machine, _ = streamed("Messages to chat", [start(), *tool(0, '{"a"', ":1}"), *ending("tool_use")], **context)
    assert machine.counts.output == 2
    blocks = [{"type": "tool_use", "id": "c", "name": "read", "input": {"a": 1}}]
    assert whole("Messages to chat", message(content=blocks, stop_reason="tool_use"), **context)[1].output == 2


def test_all_choices_of_a_chat_answer_are_counted() -> None:
    choices = [{"index": number, "message": {"role": "assistant", "content": "1234567"}, "finish_reason": "stop"} for number in (0, 1)]
    assert whole("chat", completion(choices=choices), report=FULL)[1].output == 4
    two = [chunk([{"index": number, "delta": {"role": "assistant", "content": "1234567"}, "finish_reason": "stop"}]) for number in (0, 1)]
    kind, *_ = PAIRS["chat"]
    machine = kind(AnswerContext("glm", "seed", 1, choices=2, report=FULL))
    machine.feed(frames(*two, DONE))
    assert machine.counts.output == 4


def test_a_refusal_is_counted() -> None:
    machine, _ = streamed("chat", [ROLE, delta(refusal="1234567"), STOP, DONE], report=FULL)
    assert machine.counts.output == 2


@pytest.mark.parametrize("pair", ["Messages", "Messages to chat"])
def test_text_in_the_start_of_a_block_is_counted(pair: str) -> None:
    machine, _ = streamed(pair, [start(), opened(0, "text", text="1234567"), closed(0), *ending()], report=FULL)
    assert machine.counts.output == 2
