"""What goes upstream: a request put into the words of its target, with the headers and the credential the target wants."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, cast

from core import replay
from core.asked import Asked
from core.call import Call
from core.changes import (
    BILLING,
    Changes,
    asks_for_usage,
    chat_changes,
    constant_chat,
    default_limit,
    is_constant,
    limited_chat,
    limited_messages,
    messages_changes,
    wanted_limit,
)
from core.credentials import Credential
from core.dialects import Protocol
from core.effects import Compute, Deadlines, Flow, UpstreamRequest
from core.headers import upstream_headers
from core.routing import Target, upstream_url
from core.tokens import band_for
from core.translate import to_chat, to_messages
from core.translate.context import AnswerContext
from core.translate.loss import Loss
from core.translate.mixed import in_own_words
from core.wire import chat, messages
from core.wire.codec import read
from core.wire.envelope import Envelope

#: The members of a request that cost tokens; the others are about it.
_READ_BY_MODELS: Final = ("system", "tools", "functions", "messages")
#: Tokens. An answer that has less room is of no use, and clients that are told so compact the conversation.
_ROOM_MIN: Final = 1024
#: What no id of ours may hold.
_SEEDLESS: Final = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class Plan:
    """One request, ready to be sent: where, what, and how its answer is to be read."""

    target: Target
    request: UpstreamRequest
    credential: Credential
    deadlines: Deadlines
    answer: AnswerContext
    stream: bool
    images: bool = False  # the request holds pictures


def prepare(call: Call, asked: Asked, target: Target, credential: Credential) -> Flow[Plan]:
    """The request for ``target``, under ``credential``. Raises ``BadRequest`` for what the target cannot be told."""
    settings, record, wire = call.gateway.settings, call.record, call.wire
    images = asked.images(translated=wire is not target.protocol)
    tokens = yield from _tokens(call, asked, target)
    target = yield from _in_its_window(call, asked, target, tokens)
    remembered = (yield from replay.recall(call, asked)) if replay.is_needed(target) else {}
    if remembered:
        record.note(f"put back the reasoning of {len(remembered)} tool turns, which {target.label} wants")
    worded = _worded(call, asked, target, remembered)
    record.losses = (*worded.changes.losses, *worded.losses)
    for loss in record.losses:
        record.note(f"left out {loss.path}: {loss.what}: {loss.why}")
    for note in worded.changes.notes:
        record.note(note)
    headers = upstream_headers(target, credential, call.request.headers, worded.body, wire=wire, stream=asked.stream, settings=settings)
    query = call.request.target.partition("?")[2]
    url = upstream_url(target.protocol, target.base)
    if query and wire is target.protocol is Protocol.ANTHROPIC:
        url = f"{url}?{query}"
    report = call.gateway.reports.of(target, wire, max_tokens_clamped=worded.changes.clamped)
    answer = replace(worded.answer, input_tokens=tokens, report=report)
    deadlines = call.gateway.deadlines(target, stream=asked.stream)
    return Plan(target, UpstreamRequest("POST", url, headers, worded.body), credential, deadlines, answer, asked.stream, images)


def without_max_tokens(plan: Plan) -> Plan | None:
    """The same request without its limit; None where that mends nothing.

    z.ai's vision models answer 1210 ("invalid parameter") to limits they do not like, and do well without any. Messages demands one.
    """
    if not plan.images or plan.target.protocol is Protocol.ANTHROPIC:
        return None
    body = Envelope.read(plan.request.body, max_depth=None).replace({"max_tokens": None, "max_completion_tokens": None})
    if body == plan.request.body:
        return None
    answer = replace(plan.answer, report=replace(plan.answer.report, max_tokens_clamped=None))
    return replace(plan, request=replace(plan.request, body=body), answer=answer)


# ---------------------------------------------------------------------------------------------------- words


@dataclass(slots=True)
class _Worded:
    """A request in the words of its target."""

    body: bytes
    answer: AnswerContext
    changes: Changes
    losses: tuple[Loss, ...] = ()


def _worded(call: Call, asked: Asked, target: Target, remembered: Mapping[str, str]) -> _Worded:
    """The request in the target's words. The same wire is not translated: it passes but for the few members that must change."""
    if call.wire is not target.protocol:
        return _for_chat(call, asked, target, remembered) if call.wire is Protocol.ANTHROPIC else _for_messages(call, asked, target)
    settings, envelope = call.gateway.settings, asked.envelope
    if asked.images(translated=False):
        envelope = _with_turns(envelope, in_own_words(bytes(envelope.members["messages"]), call.wire))
    if call.wire is Protocol.ANTHROPIC:
        changes = messages_changes(envelope, target, settings)
    else:
        changes = chat_changes(envelope, target, settings, stream=asked.stream)
        envelope = _with_turns(envelope, constant_chat(envelope, target, settings, changes))
        if remembered:
            envelope = _with_turns(envelope, replay.with_reasoning(envelope, remembered))
    answer = AnswerContext(
        asked.model or target.model,
        _seed(call),
        int(call.request.now),
        _choices(envelope),
        include_usage=asks_for_usage(envelope),
    )
    return _Worded(changes.made_in(envelope), answer, changes)


def _for_chat(call: Call, asked: Asked, target: Target, remembered: Mapping[str, str]) -> _Worded:
    settings, changes, dialect = call.gateway.settings, Changes(), target.dialect
    request, unknown = cast("tuple[messages.Request, list[str]]", asked.typed)
    request = limited_messages(request, target, changes)
    if remembered:
        request = replay.with_thinking(request, remembered)
    if dialect.thinking_default is not None and not settings.enable_zai_thinking:
        dialect = replace(dialect, thinking_default=None)
    if BILLING in (asked.envelope.get("system") or b""):
        if is_constant(target, settings):
            changes.notes.append("left out the billing header, whose cch= changes, for the upstream's prompt cache")
        else:
            dialect = replace(dialect, billing_header=True)
    translated = to_chat.to_chat(
        (request, unknown),
        dialect,
        model=target.model,
        answer_model=asked.model or target.model,
        seed=_seed(call),
        now=call.request.now,
    )
    return _Worded(translated.body, translated.answer, changes, translated.losses)


def _for_messages(call: Call, asked: Asked, target: Target) -> _Worded:
    settings, changes = call.gateway.settings, Changes()
    request, unknown = cast("tuple[chat.Request, list[str]]", asked.typed)
    constant = constant_chat(asked.envelope, target, settings, changes)
    if constant is not None:
        request, unknown = read(chat.Request, asked.envelope.replace({"messages": constant}))
    translated = to_messages.to_messages(
        (limited_chat(request, target, changes), unknown),
        target.dialect,
        model=target.model,
        answer_model=asked.model or target.model,
        seed=_seed(call),
        now=call.request.now,
        default_max_tokens=default_limit(target),
    )
    return _Worded(translated.body, translated.answer, changes, translated.losses)


def _with_turns(envelope: Envelope, turns: bytes | None) -> Envelope:
    return envelope if turns is None else Envelope.read(envelope.replace({"messages": turns}), max_depth=None)


def _seed(call: Call) -> str:
    return _SEEDLESS.sub("_", call.request.id)


def _tokens(call: Call, asked: Asked, target: Target) -> Flow[int]:
    """Input tokens of a request: an estimate, unless an answer may be refused over the number."""
    gateway = call.gateway
    if gateway.settings.token_validation_strict and not asked.stream:
        tokens = yield from Compute(gateway.counter.payload, (asked.envelope.body,))
    else:
        parts = (part for name in _READ_BY_MODELS if (part := asked.envelope.get(name)) is not None)
        tokens = gateway.estimator.estimate(parts, target.model)
    if gateway.settings.enable_token_counting_logging:
        call.record.note(f"{tokens} input tokens expected of {target.label}")
    return tokens


def _in_its_window(call: Call, asked: Asked, target: Target, tokens: int) -> Flow[Target]:
    """``target`` with no longer answers than its window leaves room for. What hardly leaves any is for the upstream to refuse."""
    window, wanted = target.limits.max_input_tokens, wanted_limit(asked.envelope, target)
    if window is None or wanted is None or tokens + wanted <= window:
        return target
    counted = yield from Compute(call.gateway.counter.payload, (asked.envelope.body,))
    room = window - math.ceil(counted * (1 + band_for(target.model)))
    if not _ROOM_MIN <= room < wanted:
        return target
    return replace(target, limits=replace(target.limits, max_tokens=room))


def _choices(envelope: Envelope) -> int:
    """How many answers the client wants at once (``n`` of chat)."""
    asked = envelope.get("n") or b""
    return max(1, int(asked)) if asked.isdigit() else 1
