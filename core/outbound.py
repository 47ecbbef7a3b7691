"""What goes upstream: a request put into the words of its target, with the headers and the credential the target wants."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, cast

from msgspec import Raw

from core.asked import Asked
from core.auth import Credential, upstream_credential
from core.call import Call
from core.dialects import Protocol, ThinkingStyle
from core.effects import Deadlines, UpstreamRequest
from core.headers import upstream_headers
from core.routing import Target, upstream_url
from core.tokens import estimate_body
from core.translate import to_chat, to_messages
from core.translate.context import AnswerContext, Translated
from core.wire.codec import ABSENT, encode, given, members
from core.wire.envelope import Envelope

#: Claude Code's per-request nonce inside the system prompt; it defeats the prefix cache of every upstream but Anthropic's own.
_NONCE: Final = re.compile(rb"(x-anthropic-billing-header:[^\"\\]*?\bcch=)[0-9a-zA-Z]+")
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


def prepare(call: Call, asked: Asked, target: Target) -> Plan:
    """The request for ``target``. Raises ``BadRequest`` for what it cannot be told, ``Unauthorized`` without a credential for it."""
    settings, record, wire = call.gateway.settings, call.record, call.wire
    credential = upstream_credential(call.client, settings)
    translated = _translated(call, asked, target)
    record.losses = translated.losses
    for loss in translated.losses:
        record.note(f"left out {loss.path}: {loss.what}: {loss.why}")
    version = settings.anthropic_version
    headers = upstream_headers(target, credential, call.request.headers, wire=wire, stream=asked.stream, version=version)
    query = call.request.target.partition("?")[2]
    url = upstream_url(target.protocol, target.base)
    if query and wire is target.protocol is Protocol.ANTHROPIC:
        url = f"{url}?{query}"
    deadlines = call.gateway.stream_deadlines if asked.stream else call.gateway.plain_deadlines
    request = UpstreamRequest("POST", url, headers, translated.body)
    return Plan(target, request, credential, deadlines, translated.answer, asked.stream)


def _translated(call: Call, asked: Asked, target: Target) -> Translated:
    """The body in the target's words. The same wire is not translated: it passes but for the few members that must change."""
    settings, request, stream, envelope = call.gateway.settings, call.request, asked.stream, asked.envelope
    model = asked.model or target.model
    seed = _SEEDLESS.sub("_", request.id)
    estimate = estimate_body(envelope.body) if stream and call.wire is Protocol.ANTHROPIC else 0
    if call.wire is target.protocol:
        relays_messages = call.wire is Protocol.ANTHROPIC
        body = _messages_body(envelope, target, call) if relays_messages else _chat_body(envelope, target, call, stream=stream)
        wanted = _asks_for_usage(envelope)
        answer = AnswerContext(model, seed, int(request.now), _choices(envelope), include_usage=wanted, input_tokens=estimate)
        return Translated(body, answer)
    if target.protocol is Protocol.OPENAI:
        dialect = target.dialect if settings.enable_zai_thinking else replace(target.dialect, thinking_default=None)
        return to_chat.to_chat(
            cast("to_chat.Body", asked.typed),
            dialect,
            model=target.model,
            answer_model=model,
            seed=seed,
            now=request.now,
            input_tokens=estimate,
        )
    return to_messages.to_messages(
        cast("to_messages.Body", asked.typed),
        target.dialect,
        model=target.model,
        answer_model=model,
        seed=seed,
        now=request.now,
        default_max_tokens=settings.default_max_tokens,
    )


def _messages_body(envelope: Envelope, target: Target, call: Call) -> bytes:
    if not target.dialect.original:
        thread = envelope.members.get("thread")
        if thread is not None:
            to_chat.refuse_thread(thread)
    changes: dict[str, bytes | None] = {"model": encode(target.model)}
    limit = envelope.get("max_tokens")
    if limit is None or limit == b"null" or limit.startswith(b"-"):  # 0 is meant: it fills the prompt cache
        changes["max_tokens"] = b"%d" % call.gateway.settings.default_max_tokens
    system = envelope.get("system")
    if system is not None and not target.dialect.original and b"x-anthropic-billing-header" in system:
        changes["system"] = _NONCE.sub(rb"\g<1>00000", system)
        call.record.note("replaced the changing cch= of the billing header by a constant, for the upstream's prompt cache")
    return envelope.replace({name: value for name, value in changes.items() if envelope.get(name) != value})


def _chat_body(envelope: Envelope, target: Target, call: Call, *, stream: bool) -> bytes:
    changes: dict[str, bytes | None] = {"model": encode(target.model)}
    if stream and target.dialect.stream_usage and not _asks_for_usage(envelope):
        options = envelope.members.get("stream_options")
        found = members(options) if options is not None and bytes(options).startswith(b"{") else {}
        changes["stream_options"] = encode({**found, "include_usage": True})
    for name in ("max_tokens", "max_completion_tokens"):
        limit = envelope.get(name)
        if limit is not None and (limit == b"0" or limit.startswith(b"-")):
            changes[name] = None
    thinking = _thinking(envelope.members, target, call)
    if thinking is not None:
        changes["thinking"] = thinking
    return envelope.replace({name: value for name, value in changes.items() if envelope.get(name) != value})


def _thinking(found: Mapping[str, Raw], target: Target, call: Call) -> bytes | None:
    """GLM's thinking switch, where the client said nothing of its own about it; None where it did, or the upstream has no such switch."""
    wanted = target.dialect.thinking_default
    if wanted is None or target.dialect.thinking is not ThinkingStyle.TOGGLE or not call.gateway.settings.enable_zai_thinking:
        return None
    if given(found.get("thinking", ABSENT)):
        return None
    effort = bytes(found.get("reasoning_effort", ABSENT))
    return encode({"type": "disabled" if effort in (b'"none"', b'"minimal"') else wanted})


def _choices(envelope: Envelope) -> int:
    """How many answers the client wants at once (``n`` of chat)."""
    asked = envelope.get("n") or b""
    return max(1, int(asked)) if asked.isdigit() else 1


def _asks_for_usage(envelope: Envelope) -> bool:
    options = envelope.members.get("stream_options")
    if options is None or not bytes(options).startswith(b"{"):
        return False
    asked = members(options).get("include_usage")
    return asked is not None and bytes(asked) == b"true"
