"""One upstream answer, read for its client: whole or as a stream, in all four pairs of wires."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final
from typing import Protocol as Interface

from core.asked import Asked
from core.call import Call
from core.dialects import Protocol
from core.effects import Await, Flow, Head, Now, Open, Read, Send, Start
from core.errors import ProxyError, UpstreamError, UpstreamGarbled, UpstreamTimeout
from core.headers import EVENT_STREAM, answer_head, upstream_request_id
from core.outbound import Plan
from core.replay import Listener, remember
from core.reporting import check
from core.translate import faults, relay, relay_chat
from core.translate.answers import answer_to_chat, answer_to_messages, chat_as_stream, messages_as_stream
from core.translate.context import AnswerContext
from core.translate.folding import fold
from core.translate.stream_to_chat import MessagesToChat
from core.translate.stream_to_messages import ChatToMessages
from core.translate.usage import Counts

#: Of an error body so many bytes are read; what an upstream has to say fits.
_ERROR_MAX: Final = 1024 * 1024
#: A whole answer may have this many bytes: the longest answer of a model, with its reasoning, is a few MiB.
_ANSWER_MAX: Final = 64 * 1024 * 1024

_MARK: Final = b"\xef\xbb\xbf"
#: What may stand before the first byte that says what a body is: white space and a byte order mark.
_BLANK: Final = b" \t\r\n" + _MARK
#: How an event stream begins.
_FIELDS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")

#: Said in a stream while the upstream is silent, so that nobody on the way takes the silence for an end.
KEEP_ALIVE: Final = {Protocol.ANTHROPIC: b'event: ping\ndata: {"type":"ping"}\n\n', Protocol.OPENAI: b": keep-alive\n\n"}


class StreamMachine(Interface):
    """What all four stream machines have in common."""

    @property
    def error(self) -> ProxyError | None: ...
    @property
    def counts(self) -> Counts: ...
    @property
    def skipped(self) -> int: ...
    @property
    def finished(self) -> bool: ...
    @property
    def started(self) -> bool: ...
    @property
    def has_content(self) -> bool: ...
    def feed(self, data: bytes) -> bytes: ...
    def close(self) -> bytes: ...
    def abort(self, error: ProxyError) -> bytes: ...


class Client:
    """The client's side of a stream: its head leaves with the first bytes there are to send.

    What an upstream says before the first content event is kept back: until then its answer can be thrown away, and another be asked for.
    """

    #: Set before each attempt: what to call when its answer has begun, and when the upstream was asked, on the clock of ``Now``.
    answered: Callable[[], None]
    asked: float

    def __init__(self, call: Call, *, hold: bool) -> None:
        self.call = call
        self.hold = hold  # keep everything back until the answer is complete
        self.started = False  # it has been sent something, if only keep-alives
        self.delivered = False  # it has been sent some of an answer: there is no way back
        self.upstream: Head | None = None  # the head its answer came with, once it has come
        self.idle = call.gateway.ping_interval
        self._reminded = 0.0  # when the client last was
        self._kept: list[bytes] = []
        self._size = 0

    def forget(self) -> None:
        """Throw away what was kept back of an answer that failed."""
        self._kept.clear()
        self._size, self.upstream = 0, None

    def keep_alive(self) -> Flow[None]:
        yield from self._send(KEEP_ALIVE[self.call.wire])
        self._reminded = yield from Now()

    def deliver(self, out: bytes, machine: StreamMachine) -> Flow[None]:
        """Send ``out``, or keep it back as long as it says nothing."""
        if not self.delivered:
            self._kept.append(out)
            self._size += len(out)
            ready = machine.finished or (machine.has_content and not self.hold)
            if not ready and self._size <= _ANSWER_MAX:
                return
            self.delivered = True
            self.answered()
            out = b"".join(self._kept)
            self._kept.clear()
        yield from self._send(out)

    def while_nothing_is_said(self, plan: Plan, machine: StreamMachine) -> Flow[None]:
        """The upstream keeps talking, and none of it is for the client: comments, pings, an answer that is kept back.

        Raises ``UpstreamTimeout`` when no event came in the time that a stream has for its first.
        """
        now = yield from Now()
        limit = plan.deadlines.first_byte
        if limit and not machine.started and now - self.asked >= limit:
            raise UpstreamTimeout(f"no event within {limit:g} s", phase="head")
        if self.idle is not None and now - max(self.asked, self._reminded) >= self.idle:
            yield from self.keep_alive()

    def may_forget(self, machine: StreamMachine) -> bool:
        """Whether a failure can be kept from the client. It does not depend on how much has arrived at once: content is content."""
        return not self.delivered and (self.hold or not machine.has_content)

    def break_off(self, error: ProxyError, out: bytes, secret: bytes = b"") -> Flow[None]:
        """End a stream that has begun with an error event, unless ``out`` already does: never with what looks like a proper end."""
        record = self.call.record
        faults.redact(error, secret)
        record.error_code, record.error, record.broken = error.code, error.message, True
        self.delivered = True
        kept, end = b"".join(self._kept), faults.blotted(out, secret) or faults.event_of(self.call.wire, error)
        self._kept.clear()
        yield from self._send(kept + end)

    def _send(self, data: bytes) -> Flow[None]:
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
            yield from self.keep_alive()
            head = yield from Await(self.idle)
        return head

    def next_chunk(self) -> Flow[bytes]:
        """The upstream's next bytes, likewise; none at the end."""
        while (chunk := (yield from Read(self.idle))) is None:
            yield from self.keep_alive()
        return chunk


# ---------------------------------------------------------------------------------------------------- whole answers


def whole(call: Call, plan: Plan, asked: Asked, heard: Listener | None) -> Flow[None]:
    """Ask for an answer, and give it to the client. Raises ``ProxyError``, and has sent nothing then.

    ``heard``: who listens for reasoning that has to be remembered.
    """
    head = yield from Open(plan.request, plan.deadlines)
    assert head is not None  # without an idle time there is no silence to report
    _note_head(call, head)
    if head.status >= 400:
        raise _upstream_error(head, (yield from _error_body()))
    body = yield from _whole_body(b"", _next)
    try:
        is_stream = _is_stream(head, body)
        if heard is not None:
            (heard.feed if is_stream else heard.whole)(body)
        body = _folded(call, plan, body) if is_stream else _translated_answer(call, plan, body)
    except ProxyError as error:
        raise _with_head(error, head) from None
    _learn(call, plan)
    if heard is not None:
        yield from remember(call, asked, heard)
    yield from call.answer(body, upstream=head)


def _note_head(call: Call, head: Head) -> None:
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
    machine = _machine(call.wire, plan.target.protocol, replace(plan.answer, include_usage=True, to_fold=True))
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


def stream(call: Call, plan: Plan, client: Client, asked: Asked, heard: Listener | None) -> Flow[ProxyError | None]:
    """Ask for a stream, and pass it on; the result is the failure that ended it when some of it had been delivered.

    Raises ``ProxyError`` for one before that: nothing of this answer has reached the client then.
    """
    machine = _machine(call.wire, plan.target.protocol, plan.answer)
    client.forget()
    try:
        yield from _run_stream(plan, client, machine, asked, heard)
    except ProxyError as error:
        if not client.delivered:
            raise
        yield from client.break_off(error, machine.abort(error), plan.credential.value)
        return error
    finally:
        call.record.counts, call.record.skipped = machine.counts, machine.skipped
    if machine.error is None:
        _learn(call, plan)
    return machine.error


def _learn(call: Call, plan: Plan) -> None:
    """Compare what was expected with what the upstream counted. Raises ``BadRequest`` where that forbids the answer."""
    counts, exact = call.record.counts, call.gateway.settings.token_validation_strict and not plan.stream
    if not (plan.images or counts.estimated or exact):
        call.gateway.estimator.learn(plan.target.model, plan.answer.input_tokens, counts.prompt)
    check(call.record, plan.answer, call.gateway.settings)


def _run_stream(plan: Plan, client: Client, machine: StreamMachine, asked: Asked, heard: Listener | None) -> Flow[None]:
    head = yield from client.await_head(plan)
    _note_head(client.call, head)
    client.upstream = head
    if head.status >= 400:
        raise _upstream_error(head, (yield from _error_body()))
    try:
        out = yield from _first_said(plan, client, machine, heard)
        while True:
            if heard is not None and machine.finished and machine.error is None:
                yield from remember(client.call, asked, heard)
            yield from _tell(plan, client, machine, out)
            if machine.finished:
                return
            if not (out and client.delivered):
                yield from client.while_nothing_is_said(plan, machine)
            out = _fed(machine, (yield from client.next_chunk()), heard)
    except ProxyError as error:
        raise _with_head(error, head) from None


def _first_said(plan: Plan, client: Client, machine: StreamMachine, heard: Listener | None) -> Flow[bytes]:
    """What the beginning of the upstream's body says to the client; all of it where the upstream answers whole."""
    chunk = yield from _first_bytes(client)
    if not _begins_whole(chunk):
        return _fed(machine, chunk, heard)
    body = yield from _whole_body(chunk, client.next_chunk)
    as_stream = chat_as_stream if plan.target.protocol is Protocol.OPENAI else messages_as_stream
    out = machine.feed(as_stream(body)) + machine.close()
    if heard is not None:
        heard.whole(body)
    return out


def _tell(plan: Plan, client: Client, machine: StreamMachine, out: bytes) -> Flow[None]:
    """Give the client what the machine has made. Raises the failure that can be kept from it."""
    error = machine.error
    if error is None:
        if out:
            yield from client.deliver(out, machine)
        return
    if client.may_forget(machine):
        raise error
    client.answered()
    yield from client.break_off(error, out, plan.credential.value)


def _fed(machine: StreamMachine, chunk: bytes, heard: Listener | None) -> bytes:
    if heard is not None:
        heard.feed(chunk)
    return machine.feed(chunk) if chunk else machine.close()


def _first_bytes(client: Client) -> Flow[bytes]:
    """The beginning of the upstream's body, up to something by which its kind can be told."""
    begin = b""
    while not begin.lstrip(_BLANK) and (chunk := (yield from client.next_chunk())):
        begin += chunk
    return begin
