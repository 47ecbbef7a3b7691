"""Server-sent events: bytes to frames and back.

The rules are those of the WHATWG HTML standard, section 9.2 "Server-sent events" (read 2026-07): a line ends with CR, LF or CRLF and
with nothing else, a blank line ends a frame, ``data`` lines are joined with LF, one space after the colon is dropped, comments and
unknown fields are ignored, a frame without any ``data`` line is none. ``id`` and ``retry`` serve reconnecting browsers; no client of a
model API uses them, so they are ignored as well. Unlike a browser, ``Decoder.close`` gives out a last frame that lacks its blank line.

This is the hottest code of the proxy: a frame in one of the two shapes all vendors send costs well under a microsecond.
"""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from core.errors import UpstreamGarbled

__all__ = ["LIMIT", "Decoder", "Frame", "comment", "encode"]

#: Bytes of one frame. The largest real ones are whole answers or images in one event, a few MiB; a peer that sends more than this
#: without a blank line is not speaking SSE, and must not be able to fill the memory.
LIMIT = 16 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"

#: Two line ends in a row, as pairs of bytes. CR LF is missing because it is one line end; every other blank line holds one of these.
_BLANK = (b"\n\n", b"\n\r", b"\r\r")


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One event. ``event`` is ``b""`` when it has no name; ``data`` may be ``b""`` when there was an empty ``data`` line.

    ``raw`` is the frame as it was received, up to and with its blank line, to be relayed unchanged. Two exceptions: a frame from
    ``Decoder.close`` has no blank line; and where the last LF of a CRLF arrived in a later ``feed``, the frame did not wait for it.
    """

    event: bytes
    data: bytes
    raw: bytes


class _State(Enum):
    BEGIN = auto()  # nothing but perhaps a piece of a byte order mark has come
    BETWEEN = auto()  # no frame is begun
    INSIDE = auto()  # the beginning of a frame is held back
    FAILED = auto()


class Decoder:
    """Cuts a stream into frames. How the stream is cut into chunks changes nothing but when a frame comes out.

    Time is linear in the bytes fed, also for single bytes; at most ``limit`` bytes are held back. A frame whose lines are longer than
    ``limit`` in total is an ``UpstreamGarbled`` ("invalid_upstream_sse"), raised once the frames before it have been given out, and
    again by every later call.
    """

    __slots__ = ("_held", "_limit", "_state")

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._state = _State.BEGIN
        self._held = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes. Raises ``UpstreamGarbled``."""
        if self._state is not _State.BETWEEN:
            data = self._continue(data)
        if b"\r" in data or len(data) > self._limit:
            return self._feed_any(data)
        frames: list[Frame] = []
        blocks = data.split(b"\n\n")
        rest = blocks.pop()
        for block in blocks:
            first, more, second = block.partition(b"\n")
            if not more and first[:6] == b"data: ":
                frames.append(Frame(b"", first[6:], block + b"\n\n"))
            elif second[:6] == b"data: " and first[:7] == b"event: " and b"\n" not in second:
                frames.append(Frame(first[7:], second[6:], block + b"\n\n"))
            elif (frame := _parse(block.lstrip(b"\n") + b"\n\n")) is not None:
                frames.append(frame)
        if rest:
            self._hold(rest)
        return frames

    def close(self) -> list[Frame]:
        """The stream is over: the last frame, if it has data but no blank line. Raises ``UpstreamGarbled`` only if ``feed`` did."""
        if self._state is _State.FAILED:
            raise self._failure()
        raw = bytes(self._held)
        self._held.clear()
        frame = _parse(raw)
        return [] if frame is None else [frame]

    def _continue(self, data: bytes) -> bytes:
        """What to read now: the bytes held back and ``data``, or nothing as long as no blank line is in sight."""
        if self._state is _State.FAILED:
            raise self._failure()
        held = self._held
        if self._state is _State.INSIDE:
            seam = held[-1:] + data[:1]
            if seam not in _BLANK and not any(blank in data for blank in _BLANK):
                held += data
                if len(held) > self._limit:
                    self._fail()
                    raise self._failure()
                return b""
        held += data
        if self._state is _State.BEGIN and len(held) < len(_BOM) and _BOM.startswith(held):
            return b""
        whole = bytes(held)
        held.clear()
        if self._state is _State.BEGIN:
            whole = whole.removeprefix(_BOM)
        self._state = _State.BETWEEN
        return whole

    def _feed_any(self, data: bytes) -> list[Frame]:
        """``feed`` for any line ends and any length. ``data`` begins where a frame may begin."""
        frames: list[Frame] = []
        lines: list[bytes] = []
        size = 0
        for line in data.splitlines(keepends=True):  # of bytes: ends lines at CR, LF and CRLF only
            blank = line[0] in b"\r\n"
            if not blank:
                lines.append(line)
                size += len(line)
                if size > self._limit:
                    self._fail()
                    if frames:
                        return frames
                    raise self._failure()
            elif lines:  # blank lines before a frame, and the LF of a CRLF whose CR ended the frame before, are nobody's
                frame = _parse(b"".join(lines) + line)
                if frame is not None:
                    frames.append(frame)
                lines.clear()
                size = 0
        if lines:
            self._hold(b"".join(lines))
        return frames

    def _hold(self, rest: bytes) -> None:
        """Keep the beginning of a frame until its blank line comes."""
        begun = rest.lstrip(b"\r\n")
        if begun:
            self._held += begun
            self._state = _State.INSIDE

    def _fail(self) -> None:
        self._held.clear()
        self._state = _State.FAILED

    def _failure(self) -> UpstreamGarbled:
        return UpstreamGarbled(f"event stream: no blank line within {self._limit} bytes", code="invalid_upstream_sse")


def encode(data: bytes, event: bytes = b"") -> bytes:
    """One frame. Each line of ``data`` becomes a ``data`` line (CR and CRLF arrive as LF). ValueError if ``event`` has a line end."""
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(_lines(data))
    if not event:
        return b"data: " + data + b"\n\n"
    if b"\n" in event or b"\r" in event:
        raise ValueError("event name: found a line end, expected one line")
    return b"event: " + event + b"\ndata: " + data + b"\n\n"


def comment(text: bytes) -> bytes:
    """A block that every client ignores; keeps the connection alive. Each line of ``text`` becomes a comment line."""
    return b": " + b"\n: ".join(_lines(text)) + b"\n\n"


def _parse(raw: bytes) -> Frame | None:
    """The frame in ``raw``: whole lines of any kind, perhaps with the blank line that ends them. None when it has no ``data`` line."""
    event = b""
    data = []
    for line in raw.splitlines():
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif name == b"event":
            event = value.removeprefix(b" ")
    return Frame(event, b"\n".join(data), raw) if data else None


def _lines(text: bytes) -> list[bytes]:
    """As ``splitlines``, but what follows the last line end is a line too, even when it is empty."""
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
