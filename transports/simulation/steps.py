"""The steps of an answer: what the server does on the connection, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias

_PHRASES = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and headers. ``length`` is what ``content-length`` claims; None means a chunked body.

    Nobody checks the claim: an answer may lie about its length.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None

    def encode(self) -> bytes:
        framing = ("transfer-encoding", "chunked") if self.length is None else ("content-length", str(self.length))
        lines = [f"HTTP/1.1 {self.status} {_PHRASES.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in (*self.headers, framing)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes of the body, in a write of their own; one chunk when the head says chunked. Never empty."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence. ``seconds`` None: as long as the server's pace says, and none at all at pace 0."""

    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Silence until the client leaves."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Close the connection now, whatever the framing still promises."""


Step: TypeAlias = Head | Body | Pause | Hold | Cut

#: An answer. A script that runs out has ended properly: the server then adds the last chunk of a chunked body.
Script: TypeAlias = Iterator[Step]
