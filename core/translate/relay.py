"""Streams whose wire is the client's own: passed on frame by frame, byte for byte, and mended only where a client would break.

What is changed: the model's name (the client's own is echoed), usage that reports no prompt, members without which the SDKs fail, block and
call numbers that do not count from 0, a missing end. What has no place in the grammar is left out and counted. A cut stream ends in an error.
"""

from __future__ import annotations

import enum
from dataclasses import replace
from typing import Final

import msgspec
from msgspec import Raw

from core.dialects import Protocol
from core.errors import ProxyError, UpstreamFailed, UpstreamGarbled
from core.translate import faults, stops, usage
from core.translate.context import AnswerContext
from core.translate.stream_to_messages import message_id
from core.translate.usage import Counts
from core.wire import chat, messages, sse
from core.wire.codec import decode_lenient, encode, given, members
from core.wire.envelope import Envelope


class State(enum.Enum):
    """Where a Messages stream stands."""

    WAITING = "waiting"
    BETWEEN = "between"
    OPEN = "open"  # a content block is open
    STOPPED = "stopped"  # message_delta with its stop_reason was passed on
    ENDED = "ended"


#: type of a block -> the deltas it takes. A block of another type takes any.
FITTING: Final = {
    "text": ("text_delta", "citations_delta"),
    "thinking": ("thinking_delta", "signature_delta"),
    "tool_use": ("input_json_delta",),
}
#: delta -> the block it stands for when its content_block_start is missing.
IMPLIED: Final = {"text_delta": b'{"type":"text","text":""}', "thinking_delta": b'{"type":"thinking","thinking":"","signature":""}'}


class MessagesRelay:
    """A Messages stream for a Messages client. Interface and laws as of the translating machines."""

    def __init__(self, context: AnswerContext) -> None:
        self.context = context
        self.state = State.WAITING
        self.error: ProxyError | None = None
        self.counts = Counts()
        self.skipped = 0
        self._frames = sse.Decoder()
        self._out: list[bytes] = []
        self._index = -1  # of the open or last block, as the client counts
        self._upstream_index: int | None = None
        self._kind = ""
        self._called = False

    @property
    def started(self) -> bool:
        """Whether anything has been written."""
        return self.state is not State.WAITING

    @property
    def finished(self) -> bool:
        """Whether the answer is over, well or not."""
        return self.state is State.ENDED or self.error is not None

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the upstream's stream; returns what goes to the client."""
        if self.finished:
            return b""
        try:
            for frame in self._frames.feed(data):
                self._take(frame)
                if self.finished:
                    break
        except ProxyError as error:
            self.fail(error)
        return self._written()

    def close(self) -> bytes:
        """The upstream's body is over. Without a stop_reason that is a failure."""
        if self.finished:
            return b""
        try:
            for frame in self._frames.close():
                self._take(frame)
            if not self.finished:
                if self.state is not State.STOPPED:
                    raise UpstreamFailed("the upstream closed its stream before the answer was complete")
                self._say("message_stop", b'{"type":"message_stop"}')
                self.state = State.ENDED
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
        self._stop_block()
        self._out.append(faults.event_of(Protocol.ANTHROPIC, error))
        self.state = State.ENDED

    def abort(self, error: ProxyError) -> bytes:
        """``fail`` from outside: returns the bytes that end the client's stream, the error event even when nothing was written."""
        if self.finished:
            return b""
        self.fail(error)
        return self._written() or faults.event_of(Protocol.ANTHROPIC, error)

    def _written(self) -> bytes:
        data = b"".join(self._out)
        self._out.clear()
        return data

    # ------------------------------------------------------------------ frames

    def _take(self, frame: sse.Frame) -> None:
        try:
            event = decode_lenient(messages.Event, frame.data)
        except msgspec.DecodeError:
            self.skipped += frame.data != b"[DONE]"
            return
        match event.type:
            case "content_block_delta":
                self._take_delta(event, frame)
            case "content_block_start":
                self._take_block(event, frame)
            case "content_block_stop":
                self._take_stop(frame)
            case "message_start":
                self._take_start(event, frame)
            case "message_delta":
                self._take_message_delta(event, frame)
            case "message_stop":
                self._take_end(frame)
            case "error":
                raise faults.understand(200, frame.data)
            case _ if self.started or event.type == "ping":
                self._pass(frame, event.type)
            case _:
                self.skipped += 1

    def _pass(self, frame: sse.Frame, kind: str, index: int | None = None) -> None:
        """The frame as it came; anew when its event line is missing or its block has another number here."""
        if index is not None:
            self._say(kind, encode({**members(frame.data), "index": index}))
        elif frame.event == kind.encode():
            self._out.append(frame.raw)
        else:
            self._say(kind, frame.data)

    def _say(self, kind: str, data: bytes) -> None:
        self._out.append(sse.encode(data, kind.encode()))

    def _take_start(self, event: messages.Event, frame: sse.Frame) -> None:
        if self.started:
            raise UpstreamGarbled("the upstream began a second answer in the same stream")
        message = event.message or messages.Answer()
        self.counts = usage.of_messages(message.usage or messages.Usage())
        changes = self._mended_start(message)
        self.state = State.BETWEEN
        if not changes:
            self._pass(frame, "message_start")
            return
        found = members(members(frame.data)["message"]) if event.message is not None else {}
        self._say("message_start", encode({"type": "message_start", "message": {**found, **changes}}))

    def _mended_start(self, message: messages.Answer) -> dict[str, object]:
        """What has to stand in ``message`` instead of, or beside, what the upstream says."""
        changes: dict[str, object] = {}
        if message.model != self.context.model:
            changes["model"] = self.context.model
        if message.id is None:
            changes["id"] = message_id("", self.context)
        for name, value in (("type", "message"), ("role", "assistant"), ("content", [])):
            if getattr(message, name) is None:
                changes[name] = value
        if self.counts.input is None or self.counts.output is None or (self.counts.prompt == 0 and self.context.input_tokens > 0):
            repaired = replace(self.counts.repaired(self.context.input_tokens), output=self.counts.output or 0)
            changes["usage"] = Raw(usage.messages_json(repaired))
        return changes

    def _begin(self) -> None:
        if not self.started:
            start = {"id": message_id("", self.context), "type": "message", "role": "assistant", "model": self.context.model, "content": []}
            counts = Raw(usage.messages_json(Counts(input=self.context.input_tokens, output=0)))
            whole = {**start, "stop_reason": None, "stop_sequence": None, "usage": counts}
            self._say("message_start", encode({"type": "message_start", "message": whole}))
            self.state = State.BETWEEN

    # ------------------------------------------------------------------ blocks

    def _take_block(self, event: messages.Event, frame: sse.Frame) -> None:
        if event.content_block is None or self.state is State.STOPPED:
            self.skipped += 1
            return
        self._begin()
        self._stop_block()
        self._open(event.content_block.type, event.index)
        self._pass(frame, "content_block_start", None if event.index == self._index else self._index)

    def _open(self, kind: str, upstream_index: int | None) -> None:
        self._index += 1
        self._upstream_index = upstream_index
        self._kind = kind
        self._called = self._called or kind == "tool_use"
        self.state = State.OPEN

    def _take_delta(self, event: messages.Event, frame: sse.Frame) -> None:
        kind = event.delta.type if event.delta is not None else None
        if self.state in (State.WAITING, State.BETWEEN) and kind in IMPLIED:
            self._begin()
            self._open(kind.removesuffix("_delta"), event.index)
            self._say("content_block_start", b'{"type":"content_block_start","index":%d,"content_block":%b}' % (self._index, IMPLIED[kind]))
        fits = self.state is State.OPEN and event.index == self._upstream_index and kind in FITTING.get(self._kind, (kind,))
        if not fits:
            self.skipped += 1
            return
        self._pass(frame, "content_block_delta", None if event.index == self._index else self._index)

    def _take_stop(self, frame: sse.Frame) -> None:
        if self.state is not State.OPEN:
            self.skipped += 1
            return
        self._pass(frame, "content_block_stop", None if self._upstream_index == self._index else self._index)
        self.state = State.BETWEEN

    def _stop_block(self) -> None:
        if self.state is State.OPEN:
            self._say("content_block_stop", b'{"type":"content_block_stop","index":%d}' % self._index)
            self.state = State.BETWEEN

    # ------------------------------------------------------------------ the end

    def _take_message_delta(self, event: messages.Event, frame: sse.Frame) -> None:
        if event.usage is not None:
            self.counts = self.counts.overlaid(usage.of_messages(event.usage))
        if event.delta is None or event.delta.stop_reason is None or self.state is State.STOPPED:
            return  # usage alone: it is said with the stop_reason
        self._begin()
        self._stop_block()
        said = usage.of_messages(event.usage or messages.Usage())
        if said.output is None or said.input == 0 == said.prompt < self.counts.repaired(self.context.input_tokens).prompt:
            repaired = self.counts.repaired(self.context.input_tokens)
            self._say("message_delta", encode({**members(frame.data), "usage": Raw(usage.messages_json(repaired))}))
        else:
            self._pass(frame, "message_delta")
        self.state = State.STOPPED

    def _take_end(self, frame: sse.Frame) -> None:
        if self.state is State.WAITING:
            raise UpstreamGarbled("the upstream's stream held no answer")
        self._stop_block()
        if self.state is not State.STOPPED:
            reason = stops.stop_reason(None, calls=self._called, refused=False)
            counts = usage.messages_json(self.counts.repaired(self.context.input_tokens))
            data = b'{"type":"message_delta","delta":{"stop_reason":%b,"stop_sequence":null},"usage":%b}' % (encode(reason), counts)
            self._say("message_delta", data)
        self._pass(frame, "message_stop")
        self.state = State.ENDED


# ---------------------------------------------------------------------------------------------------- whole answers


def relay_answer(body: bytes, wire: Protocol, context: AnswerContext) -> tuple[bytes, Counts]:
    """A whole answer for a client of the same wire: as it came, but for the model's name. Also its token counts.

    Raises ``UpstreamSaid`` for an error inside a good status, ``UpstreamGarbled`` for what is no answer of that wire.
    """
    try:
        if wire is Protocol.ANTHROPIC:
            model, is_answer, counts = _look_at_message(body)
        else:
            model, is_answer, counts = _look_at_completion(body)
    except msgspec.DecodeError as error:
        raise UpstreamGarbled(f"the upstream's answer cannot be read: {error}") from None
    if not is_answer:
        raise UpstreamGarbled(f"the upstream's answer has no {'content' if wire is Protocol.ANTHROPIC else 'choices'}")
    if model == context.model:
        return body, counts
    return Envelope.read(body, what="answer").replace({"model": encode(context.model)}), counts


def _look_at_message(body: bytes) -> tuple[str | None, bool, Counts]:
    """Model, whether it is an answer at all, token counts."""
    answer = decode_lenient(messages.Answer, body)
    if answer.type == "error" or answer.error is not None:
        raise faults.understand(200, body)
    return answer.model, answer.content is not None, usage.of_messages(answer.usage or messages.Usage())


def _look_at_completion(body: bytes) -> tuple[str | None, bool, Counts]:
    answer = decode_lenient(chat.Completion, body)
    if given(answer.error) and bytes(answer.error) not in (b"false", b'""', b"{}"):
        raise faults.understand(200, body)
    return answer.model, bool(answer.choices), usage.of_chat(answer.usage or chat.Usage())
