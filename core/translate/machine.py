"""What all stream machines have in common: fed with the upstream's bytes, cut anywhere, they return the bytes for the client.

Two laws hold for each of them. A failure never becomes a normal end: what ends without its finish, or in an error, ends in an error for the
client too. And what they write is a stream that clients accept, whatever came in.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from typing import ClassVar, Final, TypeVar

import msgspec

from core.dialects import Protocol
from core.errors import ProxyError, UpstreamFailed, UpstreamGarbled
from core.translate import faults, stops, usage
from core.translate.context import AnswerContext
from core.wire import chat, messages
from core.wire.codec import ABSENT, decoder, encode, given, members, mend_surrogates
from core.wire.sse import Decoder, Frame

T = TypeVar("T")

_DONE: Final = b"[DONE]"


class State(enum.Enum):
    """Where an answer stands."""

    WAITING = "waiting"  # nothing was written
    BETWEEN = "between"  # begun, and no block is open
    THINKING = "thinking"
    TEXT = "text"
    CALL = "call"
    OTHER = "other"  # a block of another type is open
    STOPPED = "stopped"  # the reason for its end was written
    ENDED = "ended"  # its last frame was written: the end or an error


#: type of a content block of Messages -> the state while it is open; of any other type: OTHER.
BLOCKS: Final = {"text": State.TEXT, "thinking": State.THINKING, "tool_use": State.CALL}


class Machine(ABC):
    """``feed`` the upstream's bytes and send what it returns; ``close`` at the end of the upstream's body.

    ``error`` is set when the answer failed. If nothing had been written by then, nothing is written: the caller can still get a proper HTTP
    error. Otherwise the error frame is already in the output, and nothing follows it. No method raises.
    """

    CLIENT: ClassVar[Protocol]

    def __init__(self, context: AnswerContext) -> None:
        self.context = context
        self.state = State.WAITING
        self.error: ProxyError | None = None
        self._heard = usage.NOTHING  # what the upstream has said of its tokens
        self._weight = 0  # of the text, thinking and calls that were passed on, by ``usage.weight``
        self.skipped = 0  # malformed frames, and pieces that had no place
        self._frames = Decoder()
        self._out: list[bytes] = []

    @property
    def started(self) -> bool:
        """Whether anything has been written."""
        return self.state is not State.WAITING

    @property
    def finished(self) -> bool:
        """Whether the answer is over, well or not."""
        return self.state is State.ENDED or self.error is not None

    @property
    def counts(self) -> usage.Counts:
        """The tokens of the answer as the upstream counts them, never scaled.

        Once something was written, what the upstream has not said is estimated, if the report wants that.
        """
        return self._final() if self.started and self.context.report.estimates else self._heard

    def _final(self) -> usage.Counts:
        """What the client is told at the end, before it is put into its units."""
        return self.context.completed(self._heard, self._said)

    def _said(self) -> int:
        """The weight of what was passed on."""
        return self._weight

    @property
    def has_content(self) -> bool:
        """Whether anything of the answer itself has been written. Before that another upstream can be asked for it."""
        return self._says_something() or (self.state in (State.STOPPED, State.ENDED) and self.error is None)

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the upstream's stream; returns what they say to the client, possibly nothing."""
        if self.finished:
            return b""
        try:
            for frame in self._frames.feed(data):
                self._take(frame)
                if self.state is State.ENDED:
                    break
        except ProxyError as error:
            self.fail(error)
        return self._written()

    def close(self) -> bytes:
        """The upstream's body is over. Without a reason for its end that is a failure, however clean the connection ended."""
        if self.finished:
            return b""
        try:
            for frame in self._frames.close():
                self._take(frame)
            if self.state is not State.ENDED:
                if not self._has_finish():
                    raise UpstreamFailed("the upstream closed its stream before the answer was complete")
                self._end()
        except ProxyError as error:
            self.fail(error)
        return self._written()

    def fail(self, error: ProxyError) -> None:
        """End the answer with an error: its frame, or nothing when nothing was written yet."""
        if self.finished:
            return
        self.error = error
        if self.state is State.WAITING:
            return
        self._out.append(self._error_frame(error))
        self.state = State.ENDED

    def abort(self, error: ProxyError) -> bytes:
        """``fail`` from outside: returns the bytes that end the client's stream, the error even when nothing was written."""
        if self.finished:
            return b""
        self.fail(error)
        return self._written() or faults.event_of(self.CLIENT, error)

    def _error_frame(self, error: ProxyError) -> bytes:
        """What ends the client's stream: before it, the end of what is open."""
        return faults.event_of(self.CLIENT, error)

    def _written(self) -> bytes:
        data = b"".join(self._out)
        self._out.clear()
        return data

    # ------------------------------------------------------------------ for the four

    @abstractmethod
    def _take(self, frame: Frame) -> None:
        """Take one frame. Raises ``ProxyError`` when the answer has failed."""

    @abstractmethod
    def _says_something(self) -> bool:
        """Whether a content block, or a choice with words or a call in it, has been begun."""

    @abstractmethod
    def _has_finish(self) -> bool:
        """Whether the upstream has given the reason why its answer ends."""

    @abstractmethod
    def _end(self) -> None:
        """Write the end. Raises ``ProxyError`` when there is no answer that could end."""

    def _check_calls(self, reason: str | None, *, called: bool) -> None:
        """A call that was announced, and was lost with a frame that could not be read, is no end like any other."""
        if self.skipped and not called and stops.announces_calls(reason):
            raise UpstreamGarbled("the upstream's answer ends in a tool call that could not be read")


class ChatReader(Machine):
    """A machine whose upstream speaks chat."""

    def _take(self, frame: Frame) -> None:
        if frame.data.startswith(_DONE):
            self._end()
            return
        try:
            chunk, frame = decoded(chat.Completion, frame)
        except msgspec.DecodeError:
            self.skipped += 1
            return
        if chunk.error is not ABSENT and chunk.says_error():
            raise faults.understand(200, frame.data)
        if chunk.usage is not ABSENT:
            self._heard = usage.of_chat(chunk.usage, self._heard)
        if chunk.choices is None and chunk.usage is ABSENT:
            if frame.event == b"error" or chunk.object == "error" or faults.is_flat_error(frame.data):
                raise faults.understand(200, frame.data)
            self.skipped += 1
            return
        self._take_chunk(chunk, frame)

    @abstractmethod
    def _take_chunk(self, chunk: chat.Completion, frame: Frame) -> None: ...


class MessagesReader(Machine):
    """A machine whose upstream speaks Messages. What an event is, its data says; its name only where the data does not."""

    def _take(self, frame: Frame) -> None:
        try:
            event, frame = decoded(messages.Event, frame)
        except msgspec.DecodeError:
            if faults.is_flat_error(frame.data):  # its message is a text, and that of an event is none
                raise faults.understand(200, frame.data) from None
            self.skipped += not frame.data.startswith(_DONE)  # a stray [DONE] is a habit of relays, not an event
            return
        kind = event.type or frame.event.decode("utf-8", "replace")
        if not event.type and faults.is_flat_error(frame.data):
            raise faults.understand(200, frame.data)
        if not kind or not kind.isprintable():
            self.skipped += 1
            return
        if not event.type:
            frame = Frame(frame.event, encode({"type": kind, **members(frame.data)}), b"")
        self._take_event(kind, event, frame)

    def _take_event(self, kind: str, event: messages.Event, frame: Frame) -> None:
        if kind == "content_block_delta":
            self._take_delta(event, frame)
        elif kind == "error" or given(event.error):
            raise faults.understand(200, frame.data)
        elif kind == "content_block_start":
            self._take_block(event, frame)
        elif kind == "content_block_stop":
            self._take_stop(event, frame)
        elif kind == "message_start":
            if self.started:
                raise UpstreamGarbled("the upstream began a second answer in the same stream")
            self._take_start(event, frame)
        elif kind == "message_delta":
            self._take_message_delta(event, frame)
        elif kind == "message_stop":
            self._take_message_stop(frame)
        else:
            self._take_other(kind, frame)

    def _take_message_stop(self, frame: Frame) -> None:
        self._end()

    @abstractmethod
    def _take_start(self, event: messages.Event, frame: Frame) -> None: ...
    @abstractmethod
    def _take_block(self, event: messages.Event, frame: Frame) -> None: ...
    @abstractmethod
    def _take_delta(self, event: messages.Event, frame: Frame) -> None: ...
    @abstractmethod
    def _take_stop(self, event: messages.Event, frame: Frame) -> None: ...
    @abstractmethod
    def _take_message_delta(self, event: messages.Event, frame: Frame) -> None: ...
    @abstractmethod
    def _take_other(self, kind: str, frame: Frame) -> None: ...


def decoded(kind: type[T], frame: Frame) -> tuple[T, Frame]:
    """What a frame says, and the frame; a mended one, without ``raw``, where broken UTF-8 or lone surrogates had to be replaced.

    Raises ``msgspec.DecodeError`` and nothing else.
    """
    found: T
    try:
        if not frame.raw.isascii():
            frame.raw.decode()  # msgspec does not look into what it skips
        found = decoder(kind).decode(frame.data)
    except msgspec.ValidationError:
        raise
    except RecursionError:
        raise msgspec.DecodeError("nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        frame = Frame(frame.event, mend_surrogates(frame.data.decode("utf-8", "replace").encode()), b"")
        found = decoder(kind).decode(frame.data)
    return found, frame


def can_pass(frame: Frame) -> bool:
    """Whether a frame may be passed on as it was received: it ends, as its sender meant it to, with a blank line."""
    return frame.raw.endswith((b"\n\n", b"\r\r", b"\n\r", b"\n\r\n"))
