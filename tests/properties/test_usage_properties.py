"""Usage as it is told: streams and whole answers say the same, in all four pairs, under every report, whatever the upstream says."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from core.dialects import Protocol
from core.scaling import Scale
from core.testing import accept_chat_stream, accept_messages_stream
from core.translate.answers import answer_to_chat, answer_to_messages
from core.translate.context import AnswerContext
from core.translate.folding import fold
from core.translate.machine import Machine
from core.translate.relay import MessagesRelay, relay_answer
from core.translate.relay_chat import ChatRelay
from core.translate.report import ContextWork, Report, Truncation
from core.translate.stream_to_chat import MessagesToChat
from core.translate.stream_to_messages import ChatToMessages
from core.translate.usage import Counts
from tests.properties.streams import (
    ARGUMENTS,
    CONTEXT,
    MACHINES,
    Answer,
    Event,
    Habits,
    Message,
    answers,
    as_bytes,
    broken_streams,
    chat_chunks,
    completion,
    message_events,
    messages,
    whole_message,
)

for_all_machines = pytest.mark.parametrize("kind", MACHINES, ids=lambda kind: kind.__name__)

# ---------------------------------------------------------------------------------------------------- strategies


@dataclass(frozen=True)
class Judged:
    estimated: int
    actual: int
    accuracy_percent: float
    status: str


def judge(estimated: int, actual: int) -> Judged | None:
    accuracy = 100 * min(estimated, actual) / max(estimated, actual)
    return Judged(estimated, actual, accuracy, "ok" if accuracy > 90 else "warning" if accuracy > 80 else "error")


WINDOW = st.integers(1, 10**6)
TOKENS = st.integers(0, 10**6)
WORK = st.builds(
    ContextWork,
    st.none() | st.builds(Truncation, TOKENS, TOKENS, client_note=st.text()),
    st.none() | st.sampled_from(["conversation_summary", "smart_truncation"]),
    TOKENS,
    TOKENS,
    TOKENS,
    st.floats(0, 1e6, allow_nan=False).map(lambda ms: round(ms, 3)),
    st.none() | st.floats(0, 1),
)
REPORTS = st.builds(
    Report,
    st.builds(Scale, WINDOW, WINDOW) | st.just(Scale()),
    estimates=st.just(value=True),
    extras=st.booleans(),
    upstream=st.sampled_from(Protocol),
    vision=st.booleans(),
    window=st.none() | WINDOW,
    adds_saved=st.booleans(),
    max_tokens_clamped=st.none() | TOKENS,
    work=WORK,
    validate=st.sampled_from([None, judge]),
)
CONTEXTS = st.builds(
    lambda report, estimate, shown: replace(CONTEXT, report=report, input_tokens=estimate, show_thinking=shown, to_fold=True),
    REPORTS,
    TOKENS,
    st.booleans(),
)
#: As lenient as vendors are: whole numbers mostly, and what some make of them.
SAID = st.one_of(TOKENS, TOKENS, st.floats(0, 1e6), TOKENS.map(str), st.sampled_from([None, -1, 0]))


@st.composite
def chat_answers(draw: st.DrawFn) -> Answer:
    usage: Event | None = draw(st.none() | st.fixed_dictionaries({"prompt_tokens": SAID, "completion_tokens": SAID, "total_tokens": SAID}))
    if usage is not None and draw(st.booleans()):
        usage["prompt_tokens_details"] = draw(st.fixed_dictionaries({"cached_tokens": SAID, "audio_tokens": TOKENS}))
    answer = replace(draw(answers()), usage=usage)
    return replace(answer, calls=tuple(replace(call, arguments=call.arguments or "{}") for call in answer.calls))


@st.composite
def message_answers(draw: st.DrawFn) -> Message:
    message = draw(messages())
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return replace(message, usage={name: draw(SAID) for name in names if draw(st.booleans())})


def told(answer: Any) -> Event:
    """All that an answer says of tokens. Parts of the prompt that are zero need not be said."""
    usage = {name: value for name, value in (answer.get("usage") or {}).items() if not name.startswith("cache_") or value}
    return {"usage": usage, "context_info": answer.get("context_info")}


def folded(kind: type[Machine], context: AnswerContext, stream: bytes) -> tuple[Any, Counts]:
    machine = kind(context)
    out = machine.feed(stream) + machine.close()
    assert machine.error is None
    return json.loads(fold(machine.CLIENT, out)), machine.counts


# ---------------------------------------------------------------------------------------------------- stream = whole


@given(chat_answers(), CONTEXTS, st.data())
def test_of_a_chat_upstream_streams_and_whole_answers_tell_the_same(answer: Answer, context: AnswerContext, data: st.DataObject) -> None:
    habits = Habits(is_whole=data.draw(st.booleans()), finish_apart=data.draw(st.booleans()))
    stream = as_bytes(data.draw(chat_chunks(answer, habits)), Protocol.OPENAI)
    body = json.dumps(completion(answer)).encode()
    for kind, (whole, counts) in (
        (ChatToMessages, answer_to_messages(body, context)),
        (ChatRelay, relay_answer(body, Protocol.OPENAI, context)),
    ):
        found, heard = folded(kind, context, stream)
        assert told(found) == told(json.loads(whole))
        assert (heard, heard.estimated) == (counts, counts.estimated)


@given(message_answers(), CONTEXTS, st.data())
def test_of_a_messages_upstream_streams_and_whole_answers_tell_the_same(
    message: Message, context: AnswerContext, data: st.DataObject
) -> None:
    stream = as_bytes(
        with_usage(data.draw(message_events(replace(message, usage={"output_tokens": 0}))), message.usage), Protocol.ANTHROPIC
    )
    body = json.dumps(whole_message(message), ensure_ascii=False, separators=(",", ":")).encode()
    for kind, (whole, counts) in (
        (MessagesToChat, answer_to_chat(body, context)),
        (MessagesRelay, relay_answer(body, Protocol.ANTHROPIC, context)),
    ):
        found, heard = folded(kind, context, stream)
        assert told(found) == told(json.loads(whole))
        assert (heard.prompt, heard.output, heard.estimated) == (counts.prompt, counts.output, counts.estimated)


def with_usage(events: list[Event], usage: Event) -> list[Event]:
    """The events of an answer with its usage at the start and at the end."""
    found = []
    for event in events:
        if event["type"] == "message_start":
            found.append({**event, "message": {**event["message"], "usage": usage}})
        else:
            found.append({**event, "usage": usage} if event["type"] == "message_delta" else event)
    return found


@for_all_machines
@given(CONTEXTS, st.data())
def test_under_any_report_a_client_gets_a_stream_that_it_accepts(kind: type[Machine], context: AnswerContext, data: st.DataObject) -> None:
    machine = kind(context)
    out = machine.feed(data.draw(broken_streams(MACHINES[kind][0]))) + machine.close()
    if out:
        accept = accept_messages_stream if machine.CLIENT is Protocol.ANTHROPIC else accept_chat_stream
        assert accept(out).kind == ("complete" if machine.error is None else "error")


@given(chat_answers(), CONTEXTS)
def test_the_counts_do_not_depend_on_how_they_are_told(answer: Answer, context: AnswerContext) -> None:
    body = json.dumps(completion(answer)).encode()
    bare = replace(context, report=Report(estimates=True))
    for translate in (answer_to_messages, lambda body, context: relay_answer(body, Protocol.OPENAI, context)):
        assert translate(body, context)[1] == translate(body, bare)[1]


# ---------------------------------------------------------------------------------------------------- JSON


_Count = Annotated[int, Meta(ge=0)]


class _Validation(msgspec.Struct, forbid_unknown_fields=True):
    estimated: _Count
    actual: _Count
    accuracy_percent: Annotated[float, Meta(ge=0, le=100)]
    status: Literal["ok", "warning", "error"]


class _Always(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    real_input_tokens: _Count
    endpoint_type: Literal["text", "vision"]
    upstream: Literal["openai", "anthropic"]
    truncated: bool
    condensation_applied: bool
    condensation_strategy: str | None
    tokens_saved: _Count
    env_tokens_saved: _Count
    images_replaced: _Count
    processing_time_ms: Annotated[float, Meta(ge=0)]
    cache_hit_ratio: Annotated[float, Meta(ge=0, le=1)] | None
    max_tokens_clamped: _Count | None
    scaling_factor: float
    estimated: bool
    token_validation: _Validation | None
    note: str
    # These four are there when it was truncated.
    original_tokens: _Count | None = None
    messages_removed: _Count | None = None
    truncation_reason: str | None = None
    client_note: str | None = None


class _Windowed(_Always, kw_only=True, forbid_unknown_fields=True):
    context_hard_limit: _Count
    utilization_percent: float
    available_tokens: _Count
    risk_level: Literal["SAFE", "CAUTION", "WARNING", "CRITICAL", "OVERFLOW"]
    warning_level: Literal["none", "warning", "critical"]


class _Extras(msgspec.Struct):
    real_input_tokens: _Count
    endpoint_type: Literal["text", "vision"]
    context_limit: _Count | None = None
    context_utilization: Annotated[str, Meta(pattern=r"^\d+\.\d%$")] | None = None


@given(REPORTS, st.builds(Counts, TOKENS, TOKENS, TOKENS, TOKENS), TOKENS)
def test_context_info_has_the_types_of_its_documentation(report: Report, counts: Counts, estimate: int) -> None:
    text = report.context_info(counts, estimate)
    found = msgspec.json.decode(text, type=_Windowed if report.window else _Always, strict=True)
    cut = (found.original_tokens, found.messages_removed, found.truncation_reason, found.client_note)
    assert [one is not None for one in cut] == [found.truncated] * 4
    assert found.condensation_applied is (found.condensation_strategy is not None)
    assert found.real_input_tokens == counts.prompt
    if isinstance(found, _Windowed):
        assert found.available_tokens == max(0, found.context_hard_limit - counts.prompt)
        assert abs(found.utilization_percent - 100 * counts.prompt / found.context_hard_limit) <= 0.0501


@pytest.mark.parametrize("wire", Protocol)
@given(report=REPORTS, counts=st.builds(Counts, TOKENS, TOKENS, TOKENS, TOKENS))
def test_the_members_of_usage_have_their_types_and_are_there_or_not(wire: Protocol, report: Report, counts: Counts) -> None:
    text = report.usage_of(wire, counts)
    if not report.extras:
        assert b"real_input_tokens" not in text
        return
    found = msgspec.json.decode(text, type=_Extras, strict=True)
    assert found.real_input_tokens == counts.prompt
    assert found.context_limit == report.window
    assert (found.context_utilization is None) is (report.window is None)


@given(REPORTS, st.builds(Counts, TOKENS, TOKENS, TOKENS, TOKENS), ARGUMENTS)
def test_a_relayed_usage_keeps_every_member_of_the_vendor(report: Report, counts: Counts, theirs: Event) -> None:
    vendor = {**theirs, "prompt_tokens": counts.prompt, "completion_tokens": counts.output, "total_tokens": counts.total}
    relayed = report.relayed(Protocol.OPENAI, msgspec.Raw(json.dumps(vendor).encode()), counts, is_right=True)
    found = json.loads(bytes(relayed) if relayed is not None else json.dumps(vendor))
    assert theirs.items() <= found.items()
    assert found["total_tokens"] == found["prompt_tokens"] + found["completion_tokens"]
