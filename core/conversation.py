"""The two endpoints that talk to a model: one request in, one upstream exchange, one answer out, in all four pairs of wires."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final
from typing import Protocol as Interface
from typing import TypeVar

from core.auth import upstream_credential
from core.call import Call
from core.dialects import Protocol, ThinkingStyle
from core.effects import Await, Deadlines, Flow, Head, Open, Read, Send, Start, UpstreamRequest
from core.errors import BadRequest, ProxyError, UpstreamGarbled
from core.headers import EVENT_STREAM, answer_head, upstream_headers, upstream_request_id
from core.routing import Target, has_images, upstream_url
from core.tokens import estimate_payload
from core.translate import faults, relay, relay_chat, to_chat, to_messages
from core.translate.answers import answer_to_chat, answer_to_messages, chat_as_stream, messages_as_stream
from core.translate.context import AnswerContext, Translated
from core.translate.folding import fold
from core.translate.stream_to_chat import MessagesToChat
from core.translate.stream_to_messages import ChatToMessages
from core.translate.usage import Counts
from core.wire.codec import decoder, encode, members
from core.wire.envelope import Envelope

T = TypeVar("T")

#: An error body is read up to this many bytes; what an upstream has to say fits.
_ERROR_MAX: Final = 1024 * 1024
#: A whole answer may have this many bytes: the longest answer of a model, with its reasoning, is a few MiB.
_ANSWER_MAX: Final = 64 * 1024 * 1024

#: Said in a stream while the upstream is silent, so that nobody on the way takes the silence for an end.
KEEP_ALIVE: Final = {Protocol.ANTHROPIC: b'event: ping\ndata: {"type":"ping"}\n\n', Protocol.OPENAI: b": keep-alive\n\n"}
#: Claude Code's per-request nonce inside the system prompt; it defeats the prefix cache of every upstream but Anthropic's own.
_NONCE: Final = re.compile(rb"(x-anthropic-billing-header:[^\"\\]*?\bcch=)[0-9a-zA-Z]+")


class StreamMachine(Interface):
    """What all four stream machines have in common."""

    error: ProxyError | None
    counts: Counts
    skipped: int

    @property
    def finished(self) -> bool: ...
    def feed(self, data: bytes) -> bytes: ...
    def close(self) -> bytes: ...
    def abort(self, error: ProxyError) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """One request, ready to be sent: where, what, and how its answer is to be read."""

    target: Target
    request: UpstreamRequest
    deadlines: Deadlines
    answer: AnswerContext
    stream: bool


def converse(call: Call) -> Flow[None]:
    """Answer a request for a model."""
    plan = _plan(call)
    if plan.stream:
        yield from _stream(call, plan)
    else:
        yield from _whole(call, plan)


# ---------------------------------------------------------------------------------------------------- the request


def _plan(call: Call) -> Plan:
    """Read the request, choose its target, and put it into the target's words."""
    settings, record, wire = call.gateway.settings, call.record, call.wire
    envelope = Envelope.read(call.request.body, max_depth=settings.max_json_depth)
    model = _member(envelope, "model", str) or ""
    stream = bool(_member(envelope, "stream", bool))
    _check_messages(envelope)
    target = call.gateway.route(model, images=has_images(envelope), wire=wire)
    record.model, record.stream = model, stream
    record.upstream_model, record.target, record.reason = target.model, f"{target.name}/{target.protocol.value}", target.reason
    record.notes.append(target.line)
    credential = upstream_credential(call.client, settings)
    translated = _translated(call, envelope, target, model or target.model, stream=stream)
    record.losses = translated.losses
    record.notes.extend(f"left out {loss.path}: {loss.what}: {loss.why}" for loss in translated.losses)
    headers = upstream_headers(target, credential, call.request.headers, wire=wire, stream=stream, version=settings.anthropic_version)
    query = call.request.target.partition("?")[2]
    url = upstream_url(target.protocol, target.base)
    if query and wire is target.protocol is Protocol.ANTHROPIC:
        url = f"{url}?{query}"
    deadlines = call.gateway.stream_deadlines if stream else call.gateway.plain_deadlines
    return Plan(target, UpstreamRequest("POST", url, headers, translated.body), deadlines, translated.answer, stream)


def _member(envelope: Envelope, name: str, kind: type[T]) -> T | None:
    """A top-level member of a simple type, None when it is missing or null."""
    raw = envelope.get(name)
    if raw is None or raw == b"null":
        return None
    value = decoder(object).decode(raw)
    if not isinstance(value, kind):
        word = "a string" if kind is str else "true or false"
        raise BadRequest(f"{name}: expected {word}, found {_shown(value)}", param=name, code="invalid_request")
    return value


def _shown(value: object) -> str:
    return {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}.get(type(value), "a number")


def _check_messages(envelope: Envelope) -> None:
    raw = envelope.get("messages")
    if raw is None or raw == b"null":
        raise BadRequest("messages: this field is required", param="messages", code="invalid_request")
    if not raw.startswith(b"["):
        raise BadRequest(f"messages: expected an array, found {_shown(decoder(object).decode(raw))}", param="messages", code="invalid_request")
    if raw[1:].lstrip().startswith(b"]"):
        raise BadRequest("messages: expected at least one message", param="messages", code="invalid_request")


def _translated(call: Call, envelope: Envelope, target: Target, model: str, *, stream: bool) -> Translated:
    """The body in the target's words. The same wire is not translated: it passes but for the few members that must change."""
    wire, settings, request = call.wire, call.gateway.settings, call.request
    seed = re.sub(r"[^A-Za-z0-9_-]", "_", request.id)
    estimate = estimate_payload(envelope.body) if stream and wire is Protocol.ANTHROPIC else 0
    if wire is target.protocol:
        body = _messages_body(envelope, target, call) if wire is Protocol.ANTHROPIC else _chat_body(envelope, target, call, stream=stream)
        answer = AnswerContext(model, seed, int(request.now), include_usage=_asks_for_usage(envelope), input_tokens=estimate)
        return Translated(body, answer)
    if wire is Protocol.ANTHROPIC:
        translated = to_chat.to_chat(
            envelope.body, target.dialect, model=target.model, answer_model=model, seed=seed, now=request.now, input_tokens=estimate
        )
        return replace(translated, body=_with_thinking(Envelope.read(translated.body), target, call))
    return to_messages.to_messages(
        envelope.body,
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
    if limit is None or limit == b"null":
        changes["max_tokens"] = b"%d" % call.gateway.settings.default_max_tokens
    system = envelope.get("system")
    if system is not None and not target.dialect.original and b"x-anthropic-billing-header" in system:
        changes["system"] = _NONCE.sub(rb"\g<1>00000", system)
    return envelope.replace({name: value for name, value in changes.items() if envelope.get(name) != value})


def _chat_body(envelope: Envelope, target: Target, call: Call, *, stream: bool) -> bytes:
    changes: dict[str, bytes | None] = {"model": encode(target.model)}
    if stream and target.dialect.stream_usage and not _asks_for_usage(envelope):
        options = envelope.members.get("stream_options")
        found = members(options) if options is not None and bytes(options).startswith(b"{") else {}
        changes["stream_options"] = encode({**found, "include_usage": True})
    changed = envelope.replace({name: value for name, value in changes.items() if envelope.get(name) != value})
    return _with_thinking(Envelope.read(changed), target, call)


def _with_thinking(envelope: Envelope, target: Target, call: Call) -> bytes:
    """GLM's thinking switch, where the client said nothing of its own about it."""
    wanted = target.dialect.thinking_default
    if wanted is None or target.dialect.thinking is not ThinkingStyle.TOGGLE or not call.gateway.settings.enable_zai_thinking:
        return envelope.body
    if envelope.get("thinking") not in (None, b"null"):
        return envelope.body
    effort = envelope.get("reasoning_effort")
    kind = "disabled" if effort in (b'"none"', b'"minimal"') else wanted
    return envelope.replace({"thinking": encode({"type": kind})})


def _asks_for_usage(envelope: Envelope) -> bool:
    options = envelope.members.get("stream_options")
    if options is None or not bytes(options).startswith(b"{"):
        return False
    asked = members(options).get("include_usage")
    return asked is not None and bytes(asked) == b"true"


# ---------------------------------------------------------------------------------------------------- whole answers


def _whole(call: Call, plan: Plan) -> Flow[None]:
    head = yield from Open(plan.request, plan.deadlines)
    assert head is not None  # without an idle time there is no silence to report
    _note_head(call, head)
    body = yield from _read_whole(_ANSWER_MAX if head.status < 400 else _ERROR_MAX)  # noqa: PLR2004 - the statuses of HTTP
    if head.status >= 400:  # noqa: PLR2004
        raise _upstream_error(head, body)
    if _is_stream(head, body):
        body = _folded(call, plan, body)
    else:
        try:
            body = _translated_answer(call, plan, body)
        except ProxyError as error:
            raise _with_head(error, head) from None
    yield from call.answer(body, upstream=head)


def _note_head(call: Call, head: Head) -> None:
    call.record.attempts += 1
    call.record.upstream_status = head.status
    call.record.upstream_request_id = upstream_request_id(head)


def _read_whole(limit: int) -> Flow[bytes]:
    parts: list[bytes] = []
    size = 0
    while chunk := (yield from Read()):
        size += len(chunk)
        if size > limit:
            raise UpstreamGarbled(f"the upstream's answer is longer than {limit} bytes")
        parts.append(chunk)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _is_stream(head: Head, body: bytes) -> bool:
    kind = (head.get(b"content-type") or b"").lower()
    if b"event-stream" in kind:
        return True
    return b"json" not in kind and body.lstrip()[:6] in (b"data: ", b"event:")


def _upstream_error(head: Head, body: bytes) -> ProxyError:
    return _with_head(faults.understand(head.status, body), head)


def _with_head(error: ProxyError, head: Head) -> ProxyError:
    """The error with the head it came with, whose retry headers the client needs."""
    error.headers = head.headers
    return error


def _translated_answer(call: Call, plan: Plan, body: bytes) -> bytes:
    wire, protocol = call.wire, plan.target.protocol
    if wire is Protocol.ANTHROPIC and protocol is Protocol.OPENAI:
        answer, call.record.counts = answer_to_messages(body, plan.answer)
    elif wire is Protocol.OPENAI and protocol is Protocol.ANTHROPIC:
        answer, call.record.counts = answer_to_chat(body, plan.answer)
    else:
        answer, call.record.counts = relay.relay_answer(body, wire, plan.answer)
    return answer


def _folded(call: Call, plan: Plan, stream: bytes) -> bytes:
    """An upstream that streams although it was not asked to: the whole answer of its stream."""
    machine = _machine(call.wire, plan.target.protocol, replace(plan.answer, include_usage=True))
    out = machine.feed(stream) + machine.close()
    call.record.counts, call.record.skipped = machine.counts, machine.skipped
    if machine.error is not None:
        raise machine.error
    return fold(call.wire, out)


# ---------------------------------------------------------------------------------------------------- streams


def _machine(wire: Protocol, protocol: Protocol, context: AnswerContext) -> StreamMachine:
    if wire is Protocol.ANTHROPIC:
        return ChatToMessages(context) if protocol is Protocol.OPENAI else relay.MessagesRelay(context)
    return MessagesToChat(context) if protocol is Protocol.ANTHROPIC else relay_chat.ChatRelay(context)


class _Client:
    """The client's side of a stream: its head leaves with the first bytes there are to send."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.started = False
        self.upstream: Head | None = None

    def send(self, data: bytes) -> Flow[None]:
        if not self.started:
            self.started = True
            call = self.call
            call.record.status = 200
            show = call.gateway.settings.proxy_headers
            yield from Start(answer_head(200, EVENT_STREAM, call.record, upstream=self.upstream, wire=call.wire, show=show))
        yield from Send(data)

    def keep_alive(self) -> Flow[None]:
        yield from self.send(KEEP_ALIVE[self.call.wire])


def _stream(call: Call, plan: Plan) -> Flow[None]:
    client = _Client(call)
    machine = _machine(call.wire, plan.target.protocol, plan.answer)
    try:
        yield from _run_stream(call, plan, client, machine)
    except ProxyError as error:
        if not client.started or call.record.broken:
            raise
        yield from _break_off(call, client, machine, error)
    finally:
        call.record.counts, call.record.skipped = machine.counts, machine.skipped


def _run_stream(call: Call, plan: Plan, client: _Client, machine: StreamMachine) -> Flow[None]:
    idle = call.gateway.ping_interval
    head = yield from Open(plan.request, plan.deadlines, idle)
    while head is None:
        yield from client.keep_alive()
        head = yield from Await(idle)
    _note_head(call, head)
    client.upstream = head
    if head.status >= 400:  # noqa: PLR2004
        raise _upstream_error(head, (yield from _read_whole(_ERROR_MAX)))
    kind = (head.get(b"content-type") or b"").lower()
    if b"event-stream" not in kind and kind:
        body = yield from _read_whole(_ANSWER_MAX)
        if not _is_stream(head, body):
            body = (chat_as_stream if plan.target.protocol is Protocol.OPENAI else messages_as_stream)(body)
        yield from _pass(client, machine, machine.feed(body) + machine.close())
        return
    while not machine.finished:
        chunk = yield from Read(idle)
        if chunk is None:
            yield from client.keep_alive()
        else:
            yield from _pass(client, machine, machine.feed(chunk) if chunk else machine.close())


def _pass(client: _Client, machine: StreamMachine, out: bytes) -> Flow[None]:
    """Send what a machine made. An error before anything was sent is raised, to become a proper HTTP answer."""
    if machine.error is not None:
        client.call.record.error_code, client.call.record.error = machine.error.code, machine.error.message
        if not client.started:
            raise _with_head(machine.error, client.upstream) if client.upstream is not None else machine.error
        client.call.record.broken = True
        out = out or faults.event_of(client.call.wire, machine.error)
    if out:
        yield from client.send(out)


def _break_off(call: Call, client: _Client, machine: StreamMachine, error: ProxyError) -> Flow[None]:
    """End a stream that has begun with an error event: never with anything that looks like a proper end."""
    call.record.error_code, call.record.error, call.record.broken = error.code, error.message, True
    out = machine.abort(error)
    if out:
        yield from client.send(out)
