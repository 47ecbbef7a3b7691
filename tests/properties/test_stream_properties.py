"""Laws of the stream machines, for answers and accidents of all kinds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import Raw

from core.dialects import Protocol
from core.testing import Accepted, accept_chat_stream, accept_messages_stream
from core.translate.answers import answer_to_chat, answer_to_messages
from core.translate.folding import fold
from core.translate.machine import Machine
from core.translate.relay import MessagesRelay
from core.translate.relay_chat import ChatRelay
from core.translate.stream_to_chat import MessagesToChat
from core.translate.stream_to_messages import ChatToMessages
from core.translate.usage import Counts, chat_json, messages_json, of_chat, of_messages
from core.wire import sse
from tests.core.translate.streaming import call, calls, chunk, delta, ending, start, text, thinking, tool
from tests.properties.streams import (
    CONTEXT,
    FRAMINGS,
    MACHINES,
    Answer,
    Framing,
    Habits,
    Message,
    answers,
    as_bytes,
    broken_streams,
    chat_chunks,
    completion,
    message_events,
    messages,
    streams,
    whole_message,
)

ACCEPT: dict[Protocol, Callable[[bytes], Accepted]] = {Protocol.ANTHROPIC: accept_messages_stream, Protocol.OPENAI: accept_chat_stream}

for_all_machines = pytest.mark.parametrize("kind", MACHINES, ids=lambda kind: kind.__name__)


def run(kind: type[Machine], pieces: Iterable[bytes]) -> tuple[Machine, bytes]:
    machine = kind(CONTEXT)
    out = b"".join(machine.feed(piece) for piece in pieces)
    return machine, out + machine.close()


def said(out: bytes) -> list[tuple[bytes, bytes]]:
    """What a stream says. How its lines end may differ with the cuts: a frame whose last LF comes later does not wait for it."""
    return [(frame.event, frame.data) for frame in sse.Decoder().feed(out)]


def outcome(kind: type[Machine], pieces: Iterable[bytes]) -> tuple[Any, ...]:
    machine, out = run(kind, pieces)
    return said(out), str(machine.error), machine.counts, machine.skipped


# ---------------------------------------------------------------------------------------------------- 1: cuts


@for_all_machines
@given(st.data())
def test_cutting_the_bytes_anywhere_changes_nothing(kind: type[Machine], data: st.DataObject) -> None:
    wire = MACHINES[kind][0]
    stream = data.draw(st.one_of(broken_streams(wire), st.builds(as_bytes, streams(wire), st.just(wire), FRAMINGS)))
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    cuts = [0, *places, len(stream)]
    assert outcome(kind, (stream[a:b] for a, b in pairwise(cuts))) == outcome(kind, [stream])


@for_all_machines
@given(st.data())
def test_byte_by_byte_changes_nothing(kind: type[Machine], data: st.DataObject) -> None:
    wire = MACHINES[kind][0]
    stream = as_bytes(data.draw(streams(wire)), wire, data.draw(FRAMINGS))
    assert outcome(kind, (stream[place : place + 1] for place in range(len(stream)))) == outcome(kind, [stream])


#: One of everything, and a character of two and one of four bytes.
SHORT: dict[Protocol, list[Any]] = {
    Protocol.OPENAI: [
        delta(role="assistant", content=""), delta(reasoning_content="hm"), delta(content="é😀"),
        calls(call(0, "", id="c1", name="read")), calls(call(0, '{"é"')), calls(call(0, ":1}")),
        delta("tool_calls"), chunk([], usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}),
    ],
    Protocol.ANTHROPIC: [start(input_tokens=3), *thinking(0, "hm", signature="s"), *text(1, "é😀"), *tool(2, "", '{"é"', ":1}"), *ending("tool_use", input_tokens=3)],
}  # fmt: skip


@for_all_machines
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_every_cut_of_a_short_stream_changes_nothing(kind: type[Machine], line_end: bytes) -> None:
    wire = MACHINES[kind][0]
    stream = as_bytes(SHORT[wire], wire, Framing(line_end))
    whole = outcome(kind, [stream])
    for place in range(len(stream) + 1):
        assert outcome(kind, [stream[:place], stream[place:]]) == whole


@for_all_machines
def test_an_upstream_cut_at_any_byte_never_ends_well_before_its_finish_came(kind: type[Machine]) -> None:
    wire, client = MACHINES[kind]
    stream = as_bytes(SHORT[wire], wire)
    reason = stream.index(b'"finish_reason":"tool_calls"' if wire is Protocol.OPENAI else b'"stop_reason":"tool_use"')
    arrived = stream.index(b"\n", reason)  # the last byte of its JSON is the one before
    for place in range(len(stream) + 1):
        machine, out = run(kind, [stream[:place]])
        if place >= arrived:
            assert ACCEPT[client](out).kind == "complete"
            continue
        assert machine.error is not None
        assert b"message_stop" not in out
        assert b"[DONE]" not in out
        assert b'"stop_reason":"' not in out
        assert b'"finish_reason":"' not in out
        if out:
            assert ACCEPT[client](out).kind == "error"


# ---------------------------------------------------------------------------------------------------- 2: folding


@given(answers(), st.data())
def test_folding_a_translated_chat_stream_is_translating_the_whole_answer(answer: Answer, data: st.DataObject) -> None:
    habits = Habits(is_whole=data.draw(st.booleans()), finish_apart=data.draw(st.booleans()))
    _, out = run(ChatToMessages, [as_bytes(data.draw(chat_chunks(answer, habits)), Protocol.OPENAI)])
    whole, _ = answer_to_messages(json.dumps(completion(answer)).encode(), CONTEXT)
    assert json.loads(fold(Protocol.ANTHROPIC, out)) == json.loads(whole)


@given(messages(), st.data())
def test_folding_a_translated_messages_stream_is_translating_the_whole_answer(message: Message, data: st.DataObject) -> None:
    _, out = run(MessagesToChat, [as_bytes(data.draw(message_events(message)), Protocol.ANTHROPIC)])
    compact = json.dumps(whole_message(message), ensure_ascii=False, separators=(",", ":")).encode()
    whole, _ = answer_to_chat(compact, CONTEXT)
    assert json.loads(fold(Protocol.OPENAI, out)) == json.loads(whole)


@given(messages(), st.data())
def test_folding_a_relayed_messages_stream_is_the_whole_answer(message: Message, data: st.DataObject) -> None:
    _, out = run(MessagesRelay, [as_bytes(data.draw(message_events(message)), Protocol.ANTHROPIC)])
    assert json.loads(fold(Protocol.ANTHROPIC, out)) == {**whole_message(message), "model": CONTEXT.model}


@given(answers(), st.data())
def test_folding_a_relayed_chat_stream_is_the_whole_answer(answer: Answer, data: st.DataObject) -> None:
    assume(answer.usage is None or answer.usage["prompt_tokens"])  # for a zero an estimate is told
    answer = replace(answer, calls=tuple(replace(call, arguments=call.arguments or "{}") for call in answer.calls))
    _, out = run(ChatRelay, [as_bytes(data.draw(chat_chunks(answer, Habits())), Protocol.OPENAI)])
    folded, whole = json.loads(fold(Protocol.OPENAI, out)), completion(answer)
    choice = whole["choices"][0]
    if answer.calls and answer.finish == "stop":
        choice["finish_reason"] = "tool_calls"
    choice |= {"logprobs": None, "message": {"refusal": None, **choice["message"]}}
    assert folded == {**whole, "model": CONTEXT.model}


# ---------------------------------------------------------------------------------------------------- 3: grammar


@for_all_machines
@given(st.data())
def test_every_valid_stream_becomes_a_complete_one(kind: type[Machine], data: st.DataObject) -> None:
    wire, client = MACHINES[kind]
    machine, out = run(kind, [as_bytes(data.draw(streams(wire)), wire, data.draw(FRAMINGS))])
    assert machine.error is None
    assert ACCEPT[client](out).kind == "complete"


@for_all_machines
@given(st.data())
def test_whatever_comes_in_the_client_gets_a_stream_or_an_error_or_nothing(kind: type[Machine], data: st.DataObject) -> None:
    wire, client = MACHINES[kind]
    machine, out = run(kind, [data.draw(broken_streams(wire))])
    assert machine.finished
    if not out:
        assert machine.error is not None
        assert not machine.started
        return
    assert ACCEPT[client](out).kind == ("complete" if machine.error is None else "error")


@for_all_machines
@given(st.binary(max_size=200))
def test_bytes_that_are_no_stream_are_an_error(kind: type[Machine], stream: bytes) -> None:
    machine, out = run(kind, [stream])
    assert (machine.error is None, out) == (False, b"")


# ---------------------------------------------------------------------------------------------------- 8: arguments


@given(answers(), st.data())
def test_arguments_of_a_chat_stream_arrive_as_they_were_sent(answer: Answer, data: st.DataObject) -> None:
    stream = as_bytes(
        data.draw(chat_chunks(answer, Habits(first_index=data.draw(st.sampled_from([0, 1])), repeats=data.draw(st.booleans())))),
        Protocol.OPENAI,
    )
    cut = data.draw(st.integers(0, len(stream)))
    for kind, blank in ((ChatToMessages, ""), (ChatRelay, "{}")):
        _, out = run(kind, [stream[:cut], stream[cut:]])
        assert ACCEPT[MACHINES[kind][1]](out).arguments == tuple(call.arguments or blank for call in answer.calls)


@given(messages(), st.data())
def test_arguments_of_a_messages_stream_arrive_as_they_were_sent(message: Message, data: st.DataObject) -> None:
    stream = as_bytes(data.draw(message_events(message)), Protocol.ANTHROPIC)
    cut = data.draw(st.integers(0, len(stream)))
    sent = [
        json.dumps(block["input"], ensure_ascii=False, separators=(",", ":")) for block in message.blocks if block["type"] == "tool_use"
    ]
    _, out = run(MessagesToChat, [stream[:cut], stream[cut:]])
    assert accept_chat_stream(out).arguments == tuple(sent)
    _, out = run(MessagesRelay, [stream[:cut], stream[cut:]])
    assert accept_messages_stream(out).arguments == tuple("" if text == "{}" else text for text in sent)


# ---------------------------------------------------------------------------------------------------- 9: usage

NUMBERS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**12),
    st.floats(),
    st.sampled_from(["12", "3.7", "-1", "", "x", "1e400", "inf"]),
)


def raw(value: Any) -> Raw:
    return Raw(json.dumps(value).encode())


def check(counts: Counts) -> None:
    parts = (counts.input, counts.cache_read, counts.cache_creation, counts.output, counts.thinking)
    assert all(part is None or (type(part) is int and part >= 0) for part in parts)
    chat, written = json.loads(chat_json(counts.told())), json.loads(messages_json(counts.told()))
    prompt = written["input_tokens"] + written["cache_read_input_tokens"] + written["cache_creation_input_tokens"]
    assert chat["prompt_tokens"] == prompt
    assert chat["total_tokens"] == chat["prompt_tokens"] + chat["completion_tokens"]
    assert chat["prompt_tokens"] >= chat["prompt_tokens_details"]["cached_tokens"]


def chat_usage(prompt: Any, output: Any, read: Any, written: Any) -> Any:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
    }


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=3))
def test_chat_usage_adds_up_whatever_numbers_come_however_often(usages: list[tuple[Any, Any, Any, Any]]) -> None:
    counts = Counts()
    for usage in usages:
        counts = of_chat(raw(chat_usage(*usage)), counts)
    check(counts)


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=3))
def test_messages_usage_adds_up_whatever_numbers_come_however_often(usages: list[tuple[Any, Any, Any, Any]]) -> None:
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    counts = Counts()
    for usage in usages:
        counts = of_messages(raw(dict(zip(names, usage, strict=True))), counts)
    check(counts)


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_counts_survive_the_way_over_either_wire(given_input: int, read: int, written: int, output: int) -> None:
    counts = Counts(given_input, read, written, output)
    assert of_messages(Raw(messages_json(counts.told()))) == counts
    back = of_chat(Raw(chat_json(counts.told())))
    assert (back.input, back.cache_read, back.cache_creation or 0, back.output) == (given_input, read, written, output)
