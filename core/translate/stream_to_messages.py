"""A chat stream as a Messages stream, bytes in and bytes out.

The machine has an enum for what stands open in its output and a table for what must be written before the next thing: flags would let two
of them disagree. What the table forbids is held back and written when it may be: a block of Messages cannot be opened twice.
"""

from __future__ import annotations

import enum
from dataclasses import replace
from typing import Final

import msgspec

from core.dialects import Protocol
from core.errors import ProxyError, UpstreamFailed, UpstreamGarbled
from core.translate import faults, stops, tools, usage
from core.translate.context import AnswerContext
from core.translate.usage import Counts
from core.wire import chat
from core.wire.codec import decode_lenient, encode, given, is_object, whole_number
from core.wire.sse import Decoder


class State(enum.Enum):
    """What stands open in the output."""

    WAITING = "waiting"  # nothing was written
    BETWEEN = "between"  # the message has begun, no block is open
    THINKING = "thinking"
    TEXT = "text"
    CALL = "call"
    ENDED = "ended"  # message_stop or an error was written


class Step(enum.Enum):
    """What has to be written first."""

    START = "start"  # message_start
    CLOSE = "close"  # content_block_stop of the open block
    OPEN = "open"  # content_block_start of the new one


#: (what is open, what comes) -> what to write before its delta. BETWEEN as the thing that comes: nothing, only close what is open.
TABLE: Final[dict[tuple[State, State], tuple[Step, ...]]] = {
    (State.WAITING, State.BETWEEN): (Step.START,),
    (State.WAITING, State.THINKING): (Step.START, Step.OPEN),
    (State.WAITING, State.TEXT): (Step.START, Step.OPEN),
    (State.WAITING, State.CALL): (Step.START, Step.OPEN),
    (State.BETWEEN, State.BETWEEN): (),
    (State.BETWEEN, State.THINKING): (Step.OPEN,),
    (State.BETWEEN, State.TEXT): (Step.OPEN,),
    (State.BETWEEN, State.CALL): (Step.OPEN,),
    (State.THINKING, State.BETWEEN): (Step.CLOSE,),
    (State.THINKING, State.THINKING): (),
    (State.THINKING, State.TEXT): (Step.CLOSE, Step.OPEN),
    (State.THINKING, State.CALL): (Step.CLOSE, Step.OPEN),
    (State.TEXT, State.BETWEEN): (Step.CLOSE,),
    (State.TEXT, State.THINKING): (Step.CLOSE, Step.OPEN),
    (State.TEXT, State.TEXT): (),
    (State.TEXT, State.CALL): (Step.CLOSE, Step.OPEN),
    (State.CALL, State.BETWEEN): (Step.CLOSE,),
    (State.CALL, State.CALL): (),
}

_DONE: Final = b"[DONE]"


class _Call:
    """One tool call while its fragments come in."""

    __slots__ = ("_complete", "arguments", "id", "is_closed", "name", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.id: str | None = None
        self.name = ""
        self.arguments: list[str] = []
        self.is_closed = False  # its block is written to the end
        self._complete: bool | None = None  # None: not looked at since the last fragment

    def add(self, arguments: str) -> None:
        self.arguments.append(arguments)
        self._complete = None

    def text(self) -> str:
        return "".join(self.arguments)

    def is_complete(self) -> bool:
        """Whether the arguments are one whole JSON object, so that nothing more can come."""
        if self._complete is None:
            self._complete = bool(self.arguments) and self.arguments[-1].rstrip().endswith("}") and is_object(self.text())
        return self._complete


class _Passage:
    """Text or thinking that came while a call was open."""

    __slots__ = ("kind", "pieces")

    def __init__(self, kind: State, text: str) -> None:
        self.kind = kind
        self.pieces = [text]


class ChatToMessages:
    """``feed`` the upstream's bytes, cut anywhere, and send what it returns; ``close`` at the end of the upstream's body.

    ``error`` is set when the answer failed. If nothing had been written by then, nothing is written: the caller can still get a proper HTTP
    error. Otherwise the error event is already in the output.
    """

    def __init__(self, context: AnswerContext) -> None:
        self.context = context
        self.state = State.WAITING
        self.error: ProxyError | None = None
        self.counts = Counts()
        self.skipped = 0  # malformed frames and fragments that had no place
        self._frames = Decoder()
        self._out: list[bytes] = []
        self._index = -1
        self._delta = b""  # everything of the open block's delta events before the text
        self._calls: dict[int, _Call] = {}  # key of the fragments -> the call they belong to now
        self._call_count = 0
        #: What is not written to its end yet, in output order. Only the head may be open; whatever comes behind a call waits for it,
        #: because fragments of it may still come and a block cannot be opened twice.
        self._queue: list[_Call | _Passage] = []
        self._finish: str | None = None
        self._stop_text: str | None = None
        self._refusal = ""
        self._id = ""
        self._said_anything = False

    # ------------------------------------------------------------------ for the driver

    @property
    def started(self) -> bool:
        """Whether anything has been written."""
        return self.state is not State.WAITING

    @property
    def finished(self) -> bool:
        """Whether the answer is over, well or not."""
        return self.state is State.ENDED or self.error is not None

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the upstream's stream; returns the events they make, possibly none."""
        if self.finished:
            return b""
        try:
            for frame in self._frames.feed(data):
                self._take(frame.data)
                if self.finished:
                    break
        except ProxyError as error:
            self.fail(error)
        return self._written()

    def close(self) -> bytes:
        """The upstream's body is over. Without a finish that is a failure, however clean the connection ended."""
        if self.finished:
            return b""
        try:
            for frame in self._frames.close():
                self._take(frame.data)
            if not self.finished:
                self._end_of_body()
        except ProxyError as error:
            self.fail(error)
        return self._written()

    def fail(self, error: ProxyError) -> None:
        """End the answer with an error: its event, or nothing when nothing was written yet."""
        if self.finished:
            return
        self.error = error
        if self.state is State.WAITING:
            return
        self._enter(State.BETWEEN, TABLE[self.state, State.BETWEEN])
        self._out.append(faults.event_of(Protocol.ANTHROPIC, error))
        self.state = State.ENDED

    def abort(self, error: ProxyError) -> bytes:
        """``fail`` from outside: returns the bytes that end the client's stream, the error event even when nothing was written."""
        if self.finished:
            return b""
        self.fail(error)
        return self._written() or faults.event_of(Protocol.ANTHROPIC, error)

    def _written(self) -> bytes:
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    # ------------------------------------------------------------------ what comes in

    def _take(self, data: bytes) -> None:
        if data == _DONE:
            self._end()
            return
        try:
            chunk = decode_lenient(chat.Completion, data)
        except msgspec.DecodeError:
            self.skipped += 1
            return
        if given(chunk.error) and bytes(chunk.error) not in (b"false", b'""', b"{}"):
            raise faults.understand(200, data)
        if chunk.usage is not None:
            self.counts = self.counts.overlaid(usage.of_chat(chunk.usage))
            self._said_anything = True
        if chunk.id and not self._id:
            self._id = chunk.id
        for choice in chunk.choices or ():
            if not choice.index:
                self._take_choice(choice)

    def _take_choice(self, choice: chat.Choice) -> None:
        """Reasoning, then text, then calls, then the end: a chunk may hold all of them."""
        delta = choice.delta or choice.message
        if delta is not None:
            self._take_reasoning(delta)
            if delta.content:
                self._take_content(delta.content)
            if delta.refusal:
                self._refusal += delta.refusal
                self._write(State.TEXT, delta.refusal)
            for position, call in enumerate(delta.tool_calls or ()):
                self._take_call(call, position)
            if delta.function_call is not None:
                self._take_call(chat.Call(index=0, function=delta.function_call), 0)
        if choice.finish_reason:
            if choice.finish_reason in stops.FAILURES:
                raise UpstreamFailed(f'the upstream broke off its answer (finish_reason "{choice.finish_reason}")')
            self._finish = self._finish or choice.finish_reason
            if isinstance(choice.stop_reason, str) and choice.stop_reason in self.context.stop_sequences:
                self._stop_text = choice.stop_reason

    def _take_reasoning(self, delta: chat.AnswerMessage) -> None:
        if not self.context.show_thinking:
            self._said_anything = self._said_anything or bool(delta.reasoning_content or delta.reasoning or delta.reasoning_details)
            return
        text = delta.reasoning_content or delta.reasoning
        if text:
            self._write(State.THINKING, text)
        for detail in delta.reasoning_details or ():
            if not text and (detail.text or detail.summary):
                self._write(State.THINKING, detail.text or detail.summary or "")
            if detail.signature:
                self._sign(detail.signature)
            if detail.data:
                self._redact(detail.data)

    def _take_content(self, content: str | list[chat.AnswerPart]) -> None:
        if isinstance(content, str):
            self._write(State.TEXT, content)
            return
        for part in content:
            if part.text or part.refusal:
                self._write(State.TEXT, part.text or part.refusal or "")
            elif given(part.thinking) and self.context.show_thinking:
                self._write(State.THINKING, tools.plain_text(part.thinking))

    def _take_call(self, fragment: chat.Call, position: int) -> None:
        call = self._call_of(fragment, position)
        arguments = _arguments(fragment)
        if call.is_closed:
            self.skipped += bool(arguments.strip())
            return
        call.id = call.id or fragment.id
        name = _name(fragment)
        if name and not call.arguments and name != call.name:  # a name may come in pieces, or again and again
            call.name = name if name.startswith(call.name) else call.name + name
        if arguments:
            call.add(arguments)
            if self._queue[0] is call:
                self._write_arguments(call, arguments)

    def _call_of(self, fragment: chat.Call, position: int) -> _Call:
        """The call a fragment belongs to. Vendors leave out the index, repeat id and name, or reuse index 0 for the next call."""
        index = whole_number(fragment.index)
        key = position if index is None else index
        call = self._calls.get(key)
        if call is None or _begins_anew(call, fragment):
            call = self._calls[key] = _Call(self._call_count)
            self._call_count += 1
            self._said_anything = True
            self._queue.append(call)
            self._advance()
        return call

    # ------------------------------------------------------------------ what goes out

    def _write(self, kind: State, text: str) -> None:
        """A delta of thinking or text; behind a call that is not complete it waits."""
        self._said_anything = True
        if self._queue and not self._wait(kind, text):
            return
        if steps := TABLE[self.state, kind]:
            self._enter(kind, steps)
        self._out.append(b"%b%b}}\n\n" % (self._delta, encode(text)))

    def _wait(self, kind: State, text: str) -> bool:
        """Queue text behind a call; True when the queue has emptied meanwhile and the text may be written after all."""
        if not text.strip():
            return False  # parsers leave line ends between two calls
        self._advance(more=True)
        if not self._queue:
            return True
        last = self._queue[-1]
        if isinstance(last, _Passage) and last.kind is kind:
            last.pieces.append(text)
        else:
            self._queue.append(_Passage(kind, text))
        return False

    def _advance(self, *, more: bool = False) -> None:
        """Write what can be written to its end: passages at once, a call when it is complete and something (or ``more``) is behind it."""
        queue = self._queue
        while queue and (isinstance(queue[0], _Passage) or ((more or len(queue) > 1) and queue[0].is_complete())):
            self._write_whole(queue.pop(0))
        if queue and isinstance(head := queue[0], _Call) and self.state is not State.CALL and head.arguments:
            self._write_arguments(head, head.text())

    def _write_whole(self, item: _Call | _Passage) -> None:
        if isinstance(item, _Passage):
            self._enter(item.kind, TABLE[self.state, item.kind])
            self._out.append(b"%b%b}}\n\n" % (self._delta, encode("".join(item.pieces))))
            return
        if self.state is not State.CALL:
            self._write_arguments(item, self._sound(item))
        self._close_block()
        item.is_closed = True

    def _write_arguments(self, call: _Call, arguments: str) -> None:
        """Arguments of the call at the head, whose block is opened when it is not open yet."""
        if self.state is not State.CALL:
            start = b'{"type":"tool_use","id":%b,"name":%b,"input":{}}' % (
                encode(call.id or f"toolu_{self.context.seed}_{call.number}"),
                encode(self.context.names.get(call.name, call.name)),
            )
            self._enter(State.CALL, TABLE[self.state, State.CALL], start)
        if arguments:
            self._out.append(b"%b%b}}\n\n" % (self._delta, encode(arguments)))

    def _sound(self, call: _Call) -> str:
        """The arguments of a call of which nothing was written: what is no JSON object is kept as text under ``_raw``."""
        text = call.text()
        if not text.strip():
            return ""
        return text if self._finish == "length" or call.is_complete() or is_object(text) else encode({"_raw": text}).decode()

    def _enter(self, kind: State, steps: tuple[Step, ...], start: bytes = b"") -> None:
        for step in steps:
            if step is Step.START:
                self._start()
            elif step is Step.CLOSE:
                self._close_block()
            else:
                self._open_block(kind, start)
        self.state = kind

    def _start(self) -> None:
        counts = self.counts.repaired(self.context.input_tokens)
        self._out.append(
            b'event: message_start\ndata: {"type":"message_start","message":{"id":%b,"type":"message","role":"assistant","model":%b,'
            b'"content":[],"stop_reason":null,"stop_sequence":null,"usage":%b}}\n\n'
            % (encode(message_id(self._id, self.context)), encode(self.context.model), usage.messages_json(replace(counts, output=0)))
        )

    def _open_block(self, kind: State, start: bytes) -> None:
        self._index += 1
        if kind is State.TEXT:
            start, delta = b'{"type":"text","text":""}', b'"text_delta","text":'
        elif kind is State.THINKING:
            start, delta = b'{"type":"thinking","thinking":"","signature":""}', b'"thinking_delta","thinking":'
        else:
            delta = b'"input_json_delta","partial_json":'
        self._start_block(start)
        self._delta = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":%b' % (self._index, delta)

    def _start_block(self, start: bytes) -> None:
        self._out.append(
            b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":%b}\n\n' % (self._index, start)
        )

    def _close_block(self) -> None:
        self._out.append(b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % self._index)
        self.state = State.BETWEEN

    def _sign(self, signature: str) -> None:
        """A signature ends its thinking block; one without text makes a block of its own."""
        if self._queue:
            self.skipped += 1
            return
        self._enter(State.THINKING, TABLE[self.state, State.THINKING])
        self._out.append(
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"signature_delta","signature":%b}}\n\n'
            % (self._index, encode(signature))
        )
        self._close_block()

    def _redact(self, data: str) -> None:
        if self._queue:
            self.skipped += 1
            return
        self._enter(State.BETWEEN, TABLE[self.state, State.BETWEEN])
        self._index += 1
        self._start_block(b'{"type":"redacted_thinking","data":%b}' % encode(data))
        self._close_block()

    # ------------------------------------------------------------------ the end

    def _end_of_body(self) -> None:
        if self._finish is None:
            raise UpstreamFailed("the upstream closed its stream before the answer was complete")
        self._end()

    def _end(self) -> None:
        if self._finish is None and not self._said_anything:
            raise UpstreamGarbled("the upstream's stream held no answer")
        self._check_live_call()
        while self._queue:
            self._write_whole(self._queue.pop(0))
        self._enter(State.BETWEEN, TABLE[self.state, State.BETWEEN])
        reason = stops.stop_reason(self._finish, calls=self._call_count > 0, refused=bool(self._refusal))
        self._out.append(
            b'event: message_delta\ndata: {"type":"message_delta","delta":%b,"usage":%b}\n\n'
            b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
            % (
                stop_delta(reason, self._stop_text, self._refusal),
                usage.messages_json(self.counts.repaired(self.context.input_tokens)),
            )
        )
        self.state = State.ENDED

    def _check_live_call(self) -> None:
        """Arguments that went out already and turn out to be no JSON cannot be taken back: the answer fails. A cut by length is no fault."""
        head = self._queue[0] if self._queue else None
        if isinstance(head, _Call) and self.state is State.CALL and self._finish != "length" and not is_object(head.text()):
            raise UpstreamGarbled(f'the upstream sent arguments for the tool "{head.name}" that are not a JSON object')


def stop_delta(reason: str, stop_text: str | None, refusal: str) -> bytes:
    """``delta`` of a ``message_delta``."""
    if stop_text is not None and reason == "end_turn":
        return b'{"stop_reason":"stop_sequence","stop_sequence":%b}' % encode(stop_text)
    details = b',"stop_details":{"type":"refusal","category":null,"explanation":%b}' % encode(refusal) if refusal else b""
    return b'{"stop_reason":%b,"stop_sequence":null%b}' % (encode(reason), details)


def message_id(upstream: str, context: AnswerContext) -> str:
    """The id of a Messages answer, from which the upstream's can be read back."""
    if not upstream:
        return f"msg_{context.seed}"
    return upstream if upstream.startswith("msg_") else f"msg_{upstream}"


def _begins_anew(call: _Call, fragment: chat.Call) -> bool:
    """Whether a fragment under the key of ``call`` is the beginning of another one."""
    if not _name(fragment):
        return False
    if fragment.id and call.id:
        return fragment.id != call.id
    return call.is_complete()


def _name(fragment: chat.Call) -> str | None:
    if fragment.function is not None:
        return fragment.function.name
    return fragment.custom.name if fragment.custom is not None else None


def _arguments(fragment: chat.Call) -> str:
    """The piece of arguments in a fragment. Some vendors send the whole object, or null, where a string belongs."""
    if fragment.function is None:
        return fragment.custom.input or "" if fragment.custom is not None else ""
    raw = fragment.function.arguments
    if not given(raw):
        return ""
    return tools.decode_string(raw)
