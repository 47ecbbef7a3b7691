"""Many small HTTP chunks made into few large ones before httpcore sees them.

Upstreams send each event of a stream as a chunk of its own, and a burst of 300 of them costs httpcore and h11 2 ms of CPU, most of what
relaying it costs. What arrives in one read is one chunk afterwards. Nothing is judged here: whatever is not plainly a chunk goes on as
it came, for h11 to accept or refuse.
"""

from __future__ import annotations

import re
from typing import Final

_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
#: What may still become a size line when more has arrived: 8 digits (4 GiB) and CR.
_MAX_PARTIAL: Final = 9
_PARTIAL: Final = re.compile(rb"[0-9A-Fa-f]{1,8}\r?")


class Merger:
    """A push machine over the body of a chunked answer, from its first byte on."""

    def __init__(self) -> None:
        self._left = 0  # of a chunk that has been passed on in part, with its CRLF
        self._held = b""  # the beginning of a size line
        self._over = False  # the rest goes through as it is

    def feed(self, data: bytes) -> bytes:
        """The same chunked body in fewer chunks. May be empty while a size line is incomplete."""
        if self._over:
            return data
        if self._held:
            data, self._held = self._held + data, b""
        start = min(self._left, len(data))
        self._left -= start
        payloads: list[bytes] = []
        position = start
        while position < len(data):
            line = _SIZE_LINE.match(data, position)
            size = int(line[1], 16) if line else 0
            if line is None or not size:
                break
            begin, end = line.end(), line.end() + size
            if not data.startswith(b"\r\n", end):
                if end + 2 > len(data) and b"\r\n".startswith(data[end:]):
                    self._left = end + 2 - len(data)
                else:
                    self._over = True
                return self._joined(data, start, payloads, position, data[position:])
            payloads.append(data[begin:end])
            position = end + 2
        rest = data[position:]
        if len(rest) <= _MAX_PARTIAL and _PARTIAL.fullmatch(rest):
            self._held, rest = rest, b""
        self._over = bool(rest)  # the last chunk, a trailer, or nothing that is a chunk
        return self._joined(data, start, payloads, position, rest)

    def close(self) -> bytes:
        """What was held back when the connection ended."""
        held, self._held = self._held, b""
        return held

    def _joined(self, data: bytes, start: int, payloads: list[bytes], position: int, rest: bytes) -> bytes:
        if len(payloads) < 2:  # nothing to merge
            return data[:position] + rest if start or payloads else rest
        payload = b"".join(payloads)
        return b"%s%x\r\n%s\r\n%s" % (data[:start], len(payload), payload, rest)
