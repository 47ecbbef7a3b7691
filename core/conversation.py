"""The two endpoints that talk to a model: one request in, one upstream exchange, one answer out, in all four pairs of wires."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, TypeVar, cast
from typing import Protocol as Interface

from msgspec import Raw

from core.auth import Credential, upstream_credential
from core.call import Call
from core.dialects import Protocol, ThinkingStyle
from core.effects import Await, Deadlines, Flow, Head, Open, Read, Send, Start, UpstreamRequest
from core.errors import BadRequest, ProxyError, UpstreamError, UpstreamGarbled
from core.headers import EVENT_STREAM, answer_head, upstream_headers, upstream_request_id
from core.routing import Target, has_attached_image, has_images, upstream_url
from core.tokens import estimate_body
from core.translate import faults, relay, relay_chat, to_chat, to_messages
from core.translate.answers import answer_to_chat, answer_to_messages, chat_as_stream, messages_as_stream
from core.translate.context import AnswerContext, Translated
from core.translate.folding import fold
from core.translate.images import holds_image
from core.translate.stream_to_chat import MessagesToChat
from core.translate.stream_to_messages import ChatToMessages
from core.translate.usage import Counts
from core.wire import chat, messages
from core.wire.codec import ABSENT, encode, given, members, plain, read
from core.wire.envelope import Envelope

T = TypeVar("T")

#: Of an error body so many bytes are read; what an upstream has to say fits.
_ERROR_MAX: Final = 1024 * 1024
#: A whole answer may have this many bytes: the longest answer of a model, with its reasoning, is a few MiB.
_ANSWER_MAX: Final = 64 * 1024 * 1024

_MARK: Final = b"\xef\xbb\xbf"
#: What may stand before the first byte that says what a body is: white space and a byte order mark.
_BLANK: Final = b" \t\r\n" + _MARK
#: How an event stream begins.
_FIELDS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")

#: Of the list of messages so many bytes are looked at to see whether it is one, and not empty.
_GLANCE: Final = 1024

#: Said in a stream while the upstream is silent, so that nobody on the way takes the silence for an end.
KEEP_ALIVE: Final = {Protocol.ANTHROPIC: b'event: ping\ndata: {"type":"ping"}\n\n', Protocol.OPENAI: b": keep-alive\n\n"}
#: Claude Code's per-request nonce inside the system prompt; it defeats the prefix cache of every upstream but Anthropic's own.
_NONCE: Final = re.compile(rb"(x-anthropic-billing-header:[^\"\\]*?\bcch=)[0-9a-zA-Z]+")


#: What no id of ours may hold.
_SEEDLESS: Final = re.compile(r"[^A-Za-z0-9_-]")

#: A request in types with the paths of what was unknown in it; None where it is not translated.
_Parsed: TypeAlias = tuple[messages.Request, list[str]] | tuple[chat.Request, list[str]] | None


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
    credential: Credential
    deadlines: Deadlines
    answer: AnswerContext
    stream: bool


def converse(call: Call) -> Flow[None]:
    """Answer a request for a model."""
    plan = _plan(call)
    try:
        yield from (_stream if plan.stream else _whole)(call, plan)
    except ProxyError as error:
        faults.redact(error, plan.credential.value)
        raise


# ---------------------------------------------------------------------------------------------------- the request


def _plan(call: Call) -> Plan:
    """Read the request, choose its target, and put it into the target's words."""
    settings, record, wire = call.gateway.settings, call.record, call.wire
    envelope = Envelope.read(call.request.body, max_depth=None)
    envelope.check(settings.max_json_depth, but="messages")
    model = _member(envelope, "model", str) or ""
    stream = bool(_member(envelope, "stream", bool))
    _check_messages(envelope, settings.max_json_depth)
    target, parsed = _target(call, envelope, model)
    record.model, record.stream = model, stream
    record.upstream_model, record.target, record.reason = target.model, f"{target.name}/{target.protocol.value}", target.reason
    record.note(target.line)
    credential = upstream_credential(call.client, settings)
    translated = _translated(call, envelope, parsed, target, model or target.model)
    record.losses = translated.losses
    for loss in translated.losses:
        record.note(f"left out {loss.path}: {loss.what}: {loss.why}")
    headers = upstream_headers(target, credential, call.request.headers, wire=wire, stream=stream, version=settings.anthropic_version)
    query = call.request.target.partition("?")[2]
    url = upstream_url(target.protocol, target.base)
    if query and wire is target.protocol is Protocol.ANTHROPIC:
        url = f"{url}?{query}"
    deadlines = call.gateway.stream_deadlines if stream else call.gateway.plain_deadlines
    return Plan(target, UpstreamRequest("POST", url, headers, translated.body), credential, deadlines, translated.answer, stream)


def _target(call: Call, envelope: Envelope, model: str) -> tuple[Target, _Parsed]:
    """Where the request goes, and its typed form if it has to be translated for that.

    Pictures decide where it goes. They are looked for in the types where those are needed anyway, in the bytes otherwise.
    """
    wire, depth = call.wire, call.gateway.settings.max_json_depth
    target = call.gateway.route(model, images=False, wire=wire)
    if target.protocol is wire:
        envelope.check_member("messages", depth)
        if not has_images(envelope):
            return target, None
        target = call.gateway.route(model, images=True, wire=wire)
        return target, None if target.protocol is wire else _parsed(wire, envelope)
    parsed = _parsed(wire, envelope)
    if holds_image(parsed[0].messages) or has_attached_image(envelope):
        target = call.gateway.route(model, images=True, wire=wire)
    return target, parsed


def _parsed(wire: Protocol, envelope: Envelope) -> tuple[messages.Request, list[str]] | tuple[chat.Request, list[str]]:
    return read(messages.Request, envelope.body) if wire is Protocol.ANTHROPIC else read(chat.Request, envelope.body)


def _member(envelope: Envelope, name: str, kind: type[T]) -> T | None:
    """A top-level member of a simple type, None when it is missing or null."""
    raw = envelope.get(name)
    if raw is None or raw == b"null":
        return None
    value = plain(raw)
    if not isinstance(value, kind):
        word = "a string" if kind is str else "true or false"
        raise BadRequest(f"{name}: expected {word}, found {_shown(value)}", param=name, code="invalid_request")
    return value


def _shown(value: object) -> str:
    return {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}.get(type(value), "a number")


def _check_messages(envelope: Envelope, max_depth: int) -> None:
    raw = envelope.members.get("messages", ABSENT)
    begin = bytes(memoryview(raw)[:_GLANCE])
    if begin in (b"", b"null"):
        raise BadRequest("messages: this field is required", param="messages", code="invalid_request")
    if not begin.startswith(b"["):
        envelope.check_member("messages", max_depth)
        raise BadRequest(f"messages: expected an array, found {_shown(plain(raw))}", param="messages", code="invalid_request")
    if begin[1:].lstrip().startswith(b"]"):
        raise BadRequest("messages: expected at least one message", param="messages", code="invalid_request")


def _translated(call: Call, envelope: Envelope, parsed: _Parsed, target: Target, model: str) -> Translated:
    """The body in the target's words. The same wire is not translated: it passes but for the few members that must change."""
    settings, request, stream = call.gateway.settings, call.request, call.record.stream
    seed = _SEEDLESS.sub("_", request.id)
    estimate = estimate_body(envelope.body) if stream and call.wire is Protocol.ANTHROPIC else 0
    if call.wire is target.protocol:
        relays_messages = call.wire is Protocol.ANTHROPIC
        body = _messages_body(envelope, target, call) if relays_messages else _chat_body(envelope, target, call, stream=stream)
        asked = _asks_for_usage(envelope)
        answer = AnswerContext(model, seed, int(request.now), _choices(envelope), include_usage=asked, input_tokens=estimate)
        return Translated(body, answer)
    if target.protocol is Protocol.OPENAI:
        dialect = target.dialect if settings.enable_zai_thinking else replace(target.dialect, thinking_default=None)
        return to_chat.to_chat(
            cast("to_chat.Body", parsed), dialect, model=target.model, answer_model=model, seed=seed, now=request.now, input_tokens=estimate
        )
    return to_messages.to_messages(
        cast("to_messages.Body", parsed),
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


# ---------------------------------------------------------------------------------------------------- whole answers


def _whole(call: Call, plan: Plan) -> Flow[None]:
    head = yield from Open(plan.request, plan.deadlines)
    assert head is not None  # without an idle time there is no silence to report
    _note_head(call, head)
    if head.status >= 400:
        raise _upstream_error(head, (yield from _error_body()))
    body = yield from _whole_body(b"", _next)
    try:
        body = _folded(call, plan, body) if _is_stream(head, body) else _translated_answer(call, plan, body)
    except ProxyError as error:
        raise _with_head(error, head) from None
    yield from call.answer(body, upstream=head)


def _note_head(call: Call, head: Head) -> None:
    call.record.attempts += 1
    call.record.upstream_status = head.status
    call.record.upstream_request_id = upstream_request_id(head)


def _next() -> Flow[bytes]:
    return (yield from Read()) or b""


def _whole_body(begin: bytes, following: Callable[[], Flow[bytes]]) -> Flow[bytes]:
    """``begin`` and all that follows it, without a byte order mark."""
    parts, size = [begin], len(begin)
    while chunk := (yield from following()):
        parts.append(chunk)
        size += len(chunk)
        if size > _ANSWER_MAX:
            raise UpstreamGarbled(f"the upstream's answer is longer than {_ANSWER_MAX} bytes")
    return b"".join(parts).removeprefix(_MARK)


def _error_body() -> Flow[bytes]:
    """What the upstream says about its refusal: as much of it as arrives. The status is known, and a cut here does not change it."""
    parts: list[bytes] = []
    size = 0
    try:
        while size < _ERROR_MAX and (chunk := (yield from Read())):
            parts.append(chunk)
            size += len(chunk)
    except UpstreamError:
        return b"".join(parts)
    return b"".join(parts)[:_ERROR_MAX]


def _is_stream(head: Head, body: bytes) -> bool:
    """By how it begins rather than by its content-type, which may be missing or wrong: no JSON begins like a field of an event stream."""
    if _begins_whole(body):
        return False
    return b"event-stream" in (head.get(b"content-type") or b"").lower() or body.lstrip(_BLANK).startswith(_FIELDS)


def _begins_whole(body: bytes) -> bool:
    """Whether it begins like JSON, or like a page: no event stream does."""
    return body.lstrip(_BLANK)[:1] in (b"{", b"[", b"<", b'"')


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
        self.upstream: Head | None = None  # the head its answer came with, once it has come
        self.idle = call.gateway.ping_interval

    def send(self, data: bytes) -> Flow[None]:
        if not self.started:
            self.started = True
            call = self.call
            call.record.status = 200
            show = call.gateway.settings.proxy_headers
            yield from Start(answer_head(200, EVENT_STREAM, call.record, upstream=self.upstream, wire=call.wire, show=show))
        yield from Send(data)

    def await_head(self, plan: Plan) -> Flow[Head]:
        """The upstream's head, with keep-alives for the client while it does not come."""
        head = yield from Open(plan.request, plan.deadlines, self.idle)
        while head is None:
            yield from self.send(KEEP_ALIVE[self.call.wire])
            head = yield from Await(self.idle)
        return head

    def next_chunk(self) -> Flow[bytes]:
        """The upstream's next bytes, likewise; none at the end."""
        while (chunk := (yield from Read(self.idle))) is None:
            yield from self.send(KEEP_ALIVE[self.call.wire])
        return chunk


def _stream(call: Call, plan: Plan) -> Flow[None]:
    client = _Client(call)
    machine = _machine(call.wire, plan.target.protocol, plan.answer)
    try:
        yield from _run_stream(plan, client, machine)
    except ProxyError as error:
        if not client.started:
            raise
        yield from _break_off(plan, client, error, machine.abort(error))
    finally:
        call.record.counts, call.record.skipped = machine.counts, machine.skipped


def _run_stream(plan: Plan, client: _Client, machine: StreamMachine) -> Flow[None]:
    head = yield from client.await_head(plan)
    _note_head(client.call, head)
    client.upstream = head
    if head.status >= 400:
        raise _upstream_error(head, (yield from _error_body()))
    try:
        chunk = yield from _first_bytes(client)
        if _begins_whole(chunk):
            body = yield from _whole_body(chunk, client.next_chunk)
            as_stream = chat_as_stream if plan.target.protocol is Protocol.OPENAI else messages_as_stream
            out = machine.feed(as_stream(body)) + machine.close()
        else:
            out = machine.feed(chunk) if chunk else machine.close()
        while True:
            if machine.error is not None and not client.started:
                raise machine.error
            if machine.error is not None:
                yield from _break_off(plan, client, machine.error, out)
            elif out:
                yield from client.send(out)
            if machine.finished:
                return
            chunk = yield from client.next_chunk()
            out = machine.feed(chunk) if chunk else machine.close()
    except ProxyError as error:
        raise _with_head(error, head) from None


def _first_bytes(client: _Client) -> Flow[bytes]:
    """The beginning of the upstream's body, up to something by which its kind can be told."""
    begin = b""
    while not begin.lstrip(_BLANK) and (chunk := (yield from client.next_chunk())):
        begin += chunk
    return begin


def _break_off(plan: Plan, client: _Client, error: ProxyError, out: bytes) -> Flow[None]:
    """End a stream that has begun with an error event, unless ``out`` already does: never with anything that looks like a proper end."""
    record, secret = client.call.record, plan.credential.value
    faults.redact(error, secret)
    record.error_code, record.error, record.broken = error.code, error.message, True
    yield from client.send(faults.blotted(out, secret) or faults.event_of(client.call.wire, error))
