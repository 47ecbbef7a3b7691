"""A chat stream as a Messages stream, bytes in and bytes out.

A table says what must be written before the next thing: flags would let two of them disagree. What the table forbids is held back and
written when it may be: a block of Messages cannot be opened twice, so whatever comes behind an open call waits until the call is whole.
"""

from __future__ import annotations

import enum
from dataclasses import replace
from typing import ClassVar, Final

from core.dialects import Protocol
from core.errors import ProxyError, UpstreamFailed, UpstreamGarbled
from core.translate import stops, usage
from core.translate.calls import Call, Calls, arguments_of
from core.translate.context import AnswerContext
from core.translate.machine import ChatReader, State
from core.translate.usage import call_weight, weight
from core.wire import chat
from core.wire.codec import encode, whole_number
from core.wire.sse import Frame


class Step(enum.Enum):
    """What has to be written first."""

    START = "start"  # message_start
    CLOSE = "close"  # content_block_stop of the open block
    OPEN = "open"  # content_block_start of the new one


#: (what is open, what comes) -> what to write before its delta. BETWEEN as the thing that comes: nothing, only close what is open.
#: Text and thinking do not come while a call is open.
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
}

#: kind of a block -> how its start and its deltas are written.
_STARTS: Final = {State.TEXT: b'{"type":"text","text":""}', State.THINKING: b'{"type":"thinking","thinking":"","signature":""}'}
_DELTAS: Final = {
    State.TEXT: b'"text_delta","text":',
    State.THINKING: b'"thinking_delta","thinking":',
    State.CALL: b'"input_json_delta","partial_json":',
}


class _Passage:
    """Text or thinking that came while a call was open, or a block that comes as a whole (OTHER: redacted thinking)."""

    __slots__ = ("kind", "pieces", "signature")

    def __init__(self, kind: State, text: str, signature: str = "") -> None:
        self.kind = kind
        self.pieces = [text] if text else []
        self.signature = signature  # ends its block


class ChatToMessages(ChatReader):
    """A chat stream for a Messages client."""

    CLIENT: ClassVar = Protocol.ANTHROPIC

    def __init__(self, context: AnswerContext) -> None:
        super().__init__(context)
        self._id = ""
        self._index = -1  # of the open or last block
        self._delta = b""  # everything of the open block's delta events before the text
        self._blank = _Passage(State.TEXT, "")  # white space at the beginning of a block that may come
        self._calls = Calls(f"toolu_{context.seed}")
        self._called = False  # a call was written
        #: What is not written to its end yet, in output order. Only the first may be open.
        self._queue: list[Call | _Passage] = []
        self._said_anything = False
        self._finish: str | None = None
        self._stop_text: str | None = None
        self._refusal = ""

    # ------------------------------------------------------------------ what comes in

    def _take_chunk(self, chunk: chat.Completion, frame: Frame) -> None:
        if chunk.id and not self._id:
            self._id = chunk.id
        for choice in chunk.choices or ():
            if not choice.index or whole_number(choice.index) == 0:  # a Messages answer is one
                self._take_choice(choice)

    def _take_choice(self, choice: chat.Choice) -> None:
        """Reasoning, then text, then calls, then the end: a chunk may hold all of them."""
        delta = choice.delta
        if delta is None and not self._said_anything:
            delta = choice.message  # a whole answer; where it comes behind its own stream (MiniMax) it was said already
        if delta is not None:
            self._take_delta(delta)
        if choice.finish_reason:
            if choice.finish_reason in stops.FAILURES:
                raise UpstreamFailed(f'the upstream broke off its answer (finish_reason "{choice.finish_reason}")')
            self._finish = self._finish or choice.finish_reason
            if isinstance(choice.stop_reason, str) and choice.stop_reason in self.context.stop_sequences:
                self._stop_text = choice.stop_reason

    def _take_delta(self, delta: chat.AnswerMessage) -> None:
        if delta.reasoning_content or delta.reasoning or delta.reasoning_details:
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

    def _take_reasoning(self, delta: chat.AnswerMessage) -> None:
        """The first of the three fields that says anything: they repeat one another."""
        self._said_anything = True
        if not self.context.show_thinking:
            return
        text = delta.reasoning_content or delta.reasoning
        if text:
            self._write(State.THINKING, text)
        for detail in delta.reasoning_details or ():
            if not text and (said := detail.text or detail.summary):
                self._write(State.THINKING, said)
            if detail.signature:
                self._sign(detail.signature)
            if detail.data:
                self._put(_Passage(State.OTHER, detail.data))

    def _take_content(self, content: str | list[chat.AnswerPart]) -> None:
        if isinstance(content, str):
            self._write(State.TEXT, content)
            return
        for part in content:
            if said := part.text or part.refusal:
                self._write(State.TEXT, said)
            elif part.thinking and self.context.show_thinking:
                self._write(State.THINKING, thinking_of(part))

    def _take_call(self, fragment: chat.Call, position: int) -> None:
        found = self._calls.take(fragment, position)
        if found is None:
            self.skipped += bool(arguments_of(fragment).strip())
            return
        call, is_new = found
        if is_new:
            self._said_anything = True
            self._queue.append(call)
        if len(self._queue) > 1:
            self._advance()
        else:
            self._write_call(call)

    # ------------------------------------------------------------------ what goes out

    def _write(self, kind: State, text: str) -> None:
        """A delta of thinking or text; behind a call it waits until the call is whole."""
        self._weight += weight(text)
        if self.state is not kind or self._queue:
            text = self._admitted(kind, text)
            if not text:
                return
            self._enter(kind, TABLE[self.state, kind])
        self._out.append(b"%b%b}}\n\n" % (self._delta, encode(text)))

    def _admitted(self, kind: State, text: str) -> str:
        """What of ``text`` may be written in a new block now, with the white space before it.

        A block of white space alone is none: parsers leave line ends around reasoning and calls, and Anthropic refuses such blocks when
        they come back.
        """
        self._said_anything = True
        last = self._queue[-1] if self._queue else None
        if isinstance(last, _Passage) and last.kind is kind and not last.signature:
            last.pieces.append(text)
            return ""
        if self._blank.kind is kind:
            text = "".join(self._blank.pieces) + text
        self._blank = _Passage(kind, text if text.isspace() else "")
        if self._blank.pieces:
            return ""
        if last is None:
            return text
        self._put(_Passage(kind, text))
        return ""

    def _put(self, passage: _Passage) -> None:
        self._queue.append(passage)
        self._advance()

    def _advance(self) -> None:
        """Write what can be written to its end: passages at once, a call when it is whole and something is behind it."""
        queue = self._queue
        while queue:
            head = queue[0]
            if isinstance(head, _Passage):
                self._write_passage(head)
            else:
                self._write_call(head)
                if len(queue) == 1 or not (head.is_whole and self.state is State.CALL):
                    return
                self._close_call(head)
            del queue[0]

    def _write_passage(self, passage: _Passage) -> None:
        text = "".join(passage.pieces)
        if passage.kind is State.OTHER:
            self._enter(State.BETWEEN, TABLE[self.state, State.BETWEEN])
            self._index += 1
            self._start_block(b'{"type":"redacted_thinking","data":%b}' % encode(text))
            self._stop_block()
            return
        self._enter(passage.kind, TABLE[self.state, passage.kind])
        if text:
            self._out.append(b"%b%b}}\n\n" % (self._delta, encode(text)))
        if passage.signature:
            self._out.append(
                b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
                b'"delta":{"type":"signature_delta","signature":%b}}\n\n' % (self._index, encode(passage.signature))
            )
            self._stop_block()

    def _sign(self, signature: str) -> None:
        """A signature ends its thinking block; one without text makes a block of its own."""
        last = self._queue[-1] if self._queue else None
        if isinstance(last, _Passage) and last.kind is State.THINKING and not last.signature:
            last.signature = signature
        else:
            self._put(_Passage(State.THINKING, "", signature))

    def _write_call(self, call: Call) -> None:
        """What has come of the call at the head of the queue. Its block is opened when the name is whole: with the first argument."""
        if self.state is not State.CALL:
            if call.is_blank or call.is_custom or not call.name:
                return
            self._open_call(call)
        if text := call.unwritten():
            self._out.append(b"%b%b}}\n\n" % (self._delta, encode(text)))

    def _open_call(self, call: Call) -> None:
        call.is_begun = self._called = True
        name = self.context.names.get(call.name, call.name)
        start = b'{"type":"tool_use","id":%b,"name":%b,"input":{}}' % (encode(call.id), encode(name))
        self._enter(State.CALL, TABLE[self.state, State.CALL], start)

    def _close_call(self, call: Call) -> None:
        self._stop_block()
        self._weight += call_weight(call.name, call.text)
        call.is_closed = True

    def _enter(self, kind: State, steps: tuple[Step, ...], start: bytes = b"") -> None:
        for step in steps:
            if step is Step.START:
                self._start()
            elif step is Step.CLOSE:
                self._stop_block()
            else:
                self._index += 1
                self._start_block(start or _STARTS[kind])
                self._delta = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":%b' % (
                    self._index,
                    _DELTAS[kind],
                )
        self.state = kind

    def _start(self) -> None:
        self._out.append(b"event: message_start\ndata: %b\n\n" % start_event(message_id(self._id, self.context), self._heard, self.context))

    def _start_block(self, start: bytes) -> None:
        self._out.append(
            b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":%b}\n\n' % (self._index, start)
        )

    def _stop_block(self) -> None:
        self._out.append(b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % self._index)
        self.state = State.BETWEEN

    # ------------------------------------------------------------------ the end

    def _says_something(self) -> bool:
        return self._index >= 0

    def _has_finish(self) -> bool:
        return self._finish is not None

    def _end(self) -> None:
        if self._finish is None and not self._said_anything:
            raise UpstreamGarbled("the upstream's stream held no answer")
        while self._queue:
            item = self._queue[0]
            if isinstance(item, _Passage):
                self._write_passage(item)
            else:
                self._finish_call(item, cut=self._finish in stops.CUTTING and len(self._queue) == 1)
            del self._queue[0]
        self._check_calls(self._finish, called=self._called)
        self._enter(State.BETWEEN, TABLE[self.state, State.BETWEEN])
        reason = stops.stop_reason(self._finish, calls=self._called, refused=bool(self._refusal))
        self._out.append(
            b'event: message_delta\ndata: %b\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
            % end_event(stop_delta(reason, self._stop_text, self._refusal), self._final(), self.context)
        )
        self.state = State.ENDED

    def _finish_call(self, call: Call, *, cut: bool) -> None:
        """The rest of a call. ``cut``: the answer was, and this is its last call."""
        if self.state is State.CALL:
            call.check(cut=cut)
        elif not call.name:
            if not call.is_blank:
                raise UpstreamGarbled("the upstream called a tool without its name")
            self.skipped += 1
            return
        else:
            text = call.sound(cut=cut)
            self._open_call(call)
            if text.strip():
                self._out.append(b"%b%b}}\n\n" % (self._delta, encode(text)))
        self._close_call(call)

    def _error_frame(self, error: ProxyError) -> bytes:
        if self.state in (State.THINKING, State.TEXT, State.CALL):
            self._stop_block()
        return super()._error_frame(error)


def start_event(identity: str, counts: usage.Counts, context: AnswerContext) -> bytes:
    """A ``message_start``. Its input tokens are an estimate where the upstream has not said them yet."""
    known = context.report.start_usage(replace(counts.repaired(context.input_tokens), output=0))
    return (
        b'{"type":"message_start","message":{"id":%b,"type":"message","role":"assistant","model":%b,'
        b'"content":[],"stop_reason":null,"stop_sequence":null,"usage":%b}}' % (encode(identity), encode(context.model), known)
    )


def end_event(delta: bytes, counts: usage.Counts, context: AnswerContext) -> bytes:
    """A ``message_delta`` with the final counts."""
    info = context.info(counts) if context.to_fold else b""
    told = context.report.usage_of(Protocol.ANTHROPIC, counts)
    return b'{"type":"message_delta","delta":%b,"usage":%b%b}' % (delta, told, info)


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


def thinking_of(part: chat.AnswerPart) -> str:
    """The text of a thinking part: a string, or a list of text parts."""
    if isinstance(part.thinking, list):
        return "".join(text.text or "" for text in part.thinking)
    return part.thinking or ""
