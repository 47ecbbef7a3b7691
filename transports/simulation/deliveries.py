"""How the bytes of an answer travel: properly, or broken in one of the ways connections and servers break.

Every delivery takes the head and the frames of a whole, correct answer: one frame per event of a stream, one frame for a
plain answer. ``head.length`` is the true length of a plain answer and None for a stream.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from transports.simulation.steps import Body, Cut, Head, Pause, Script

Delivery: TypeAlias = Callable[[Head, Sequence[bytes]], Script]

#: What ``lying_length`` promises beyond what it sends, in bytes.
LIE = 100


def paced(head: Head, frames: Sequence[bytes]) -> Script:
    """One write per event, a pause after each but the last."""
    yield head
    for at, frame in enumerate(frames):
        if at:
            yield Pause()
        yield Body(frame)


def slow(seconds: float) -> Delivery:
    """Silent for ``seconds`` before the head and before every event."""

    def deliver(head: Head, frames: Sequence[bytes]) -> Script:
        yield Pause(seconds)
        yield head
        for frame in frames:
            yield Pause(seconds)
            yield Body(frame)

    return deliver


def split(head: Head, frames: Sequence[bytes]) -> Script:
    """Every byte in a write, and a chunk, of its own: nothing is whole, no character and no line."""
    yield head
    for at, frame in enumerate(frames):
        if at:
            yield Pause()
        for byte in frame:
            yield Body(bytes((byte,)))


def cut(head: Head, frames: Sequence[bytes]) -> Script:
    """The connection closes in the middle of an event halfway through, or in the middle of the JSON."""
    middle = len(frames) // 2
    yield from paced(head, [*frames[:middle], frames[middle][: len(frames[middle]) // 2]])
    yield Cut()


def cut_before_head(_head: Head, _frames: Sequence[bytes]) -> Script:
    """The connection closes instead of an answer."""
    yield Cut()


def lying_length(head: Head, frames: Sequence[bytes]) -> Script:
    """``content-length`` promises more bytes than come before the connection closes."""
    yield from paced(replace(head, length=sum(map(len, frames)) + LIE), frames)
    yield Cut()


def gzip(head: Head, frames: Sequence[bytes]) -> Script:
    """Compressed though nobody asked; every event still arrives when it is sent."""
    press = zlib.compressobj(wbits=31)  # 31: with a gzip header, which zlib writes without a time
    packed = [press.compress(frame) + press.flush(zlib.Z_SYNC_FLUSH) for frame in frames]
    packed.append(press.flush())
    length = None if head.length is None else sum(map(len, packed))
    yield from paced(replace(head, headers=(*head.headers, ("content-encoding", "gzip")), length=length), packed)


def garbage(head: Head, frames: Sequence[bytes]) -> Script:
    """Frames nobody can read stand between the good ones; a plain answer ends in the middle of its JSON."""
    if head.length is not None:
        half = frames[0][: head.length // 2]
        yield from paced(replace(head, length=len(half)), [half])
        return
    mixed: list[bytes] = []
    for at, frame in enumerate(frames):
        mixed += [_NOISE[at % len(_NOISE)], frame]
    yield from paced(head, mixed)


def crlf(head: Head, frames: Sequence[bytes]) -> Script:
    """SSE that is legal and rare: a byte order mark, comments, CRLF line ends, no blank after the colon."""
    if head.length is not None:
        yield from paced(head, frames)
        return
    plain = [(b": a comment\n" + frame).replace(b"\ndata: ", b"\ndata:") for frame in frames]
    yield from paced(head, [b"\xef\xbb\xbf:\n\n".replace(b"\n", b"\r\n"), *(frame.replace(b"\n", b"\r\n") for frame in plain)])


#: One of each kind of frame that no reader of the two wires can use.
_NOISE = (
    b"data: {not json\n\n",
    b": only a comment\n\n",
    b"event: nonsense\ndata: {}\n\n",
    b"data\n\n",
    b"id: 7\nretry: 10\n\n",
    b"unknown-field: 1\n\n",
    b"data: null\n\n",
    b"data: [1, 2]\n\n",
    b"data: \xff\xfe\xc3\n\n",
    b"\n\n",
    b'data: "text"\n\n',
)
