"""Compressed answers that nobody asked for, decoded within bounds."""

from __future__ import annotations

import zlib
from typing import Final

from core.errors import UpstreamFailed, UpstreamGarbled

#: Decoded bytes of one answer: as much as we take from a client.
MAX_DECODED: Final = 32 * 1024 * 1024
#: Decoded over received bytes. Text compresses by 3 to 10, a bomb by 1000.
MAX_RATIO: Final = 100
#: Below this size the ratio says nothing: a short answer of blanks is no bomb.
_RATIO_FROM: Final = 64 * 1024
_GZIP_OR_ZLIB: Final = 47  # zlib's window argument: 32 KiB window, header detected
_RAW: Final = -15  # ... and no header at all, which some servers call "deflate"


class Inflater:
    """A push machine: compressed bytes in, decoded bytes out."""

    def __init__(self) -> None:
        self._machine: zlib._Decompress | None = None
        self._taken = 0
        self._given = 0

    def feed(self, data: bytes) -> bytes:
        """Decode ``data``. Raises ``UpstreamGarbled`` for broken data and beyond the bounds."""
        if self._machine is None:
            # A zlib header is 0x78 or its smaller kin, a gzip header 0x1f; everything else is taken for a headerless stream.
            self._machine = zlib.decompressobj(_GZIP_OR_ZLIB if data[0] == 0x1F or data[0] & 0x0F == 8 else _RAW)
        self._taken += len(data)
        allowed = min(MAX_DECODED, max(_RATIO_FROM, self._taken * MAX_RATIO)) - self._given
        try:
            decoded = self._machine.decompress(data, allowed + 1)
        except zlib.error:
            raise UpstreamGarbled("the upstream's compressed answer is broken") from None
        if len(decoded) > allowed:
            raise UpstreamGarbled("the upstream's compressed answer is too large when decoded")
        self._given += len(decoded)
        return decoded

    def close(self) -> None:
        """The body is over. Raises ``UpstreamFailed`` when the compressed data is not."""
        if self._machine is not None and not self._machine.eof:
            raise UpstreamFailed("the upstream's compressed answer is incomplete")


def decoder(encoding: bytes | None) -> Inflater | None:
    """What decodes ``content-encoding: encoding``; None for identity. Raises ``UpstreamGarbled`` for an encoding we do not know."""
    name = (encoding or b"identity").strip().lower()
    if name == b"identity":
        return None
    if name in (b"gzip", b"x-gzip", b"deflate"):
        return Inflater()
    raise UpstreamGarbled("the upstream's answer is compressed in a way that was not asked for")
