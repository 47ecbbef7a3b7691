"""Counting with a vocabulary: long texts in pieces, and none of them twice."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Final

from core.tokens.estimates import estimate_text
from core.tokens.table import Images, Table
from core.tokens.vocabulary import Encoder, packaged

#: Characters handed to an encoder at once. tiktoken's regular expression panics on about a million blanks in a row (tiktoken 0.14; the
#: panic is a ``BaseException``), and merging one unbroken run takes n log n: 13 ms for 64 Ki, the most one call may take.
PIECE: Final = 65_536

#: Characters searched for a harmless place to cut. Source text has one in every line; what has none for 4 Ki is cut anyway.
SLACK: Final = 4_096

#: Where cutting changes no count: after a line end that a visible character follows (no slash, which o200k_base joins to it), before a
#: space that a visible character precedes. No match of the vocabularies' patterns reaches across either.
_SEAM: Final = re.compile(r"\n(?=[^\s/])|(?<=\S)(?= )")

#: Shorter texts (characters) are counted anew each time: that takes some 15 us, and they would push long ones out of the cache.
_CACHED_FROM: Final = 256

#: cl100k_base: as near to today's tokenisers as any (``docs/tokens.md``), and half the size of the next.
DEFAULT: Final = packaged("cl100k_base")


class Counter:
    """Counts with one vocabulary, remembering long texts so that a growing conversation costs only its new turn.

    ``encoder`` None: there is no vocabulary, and texts are estimated. ``cache_size``: at least so many of the texts counted last are
    remembered, at most twice as many; 0 remembers none. ``images``: what a picture costs. A counter may be used from several threads:
    the worst a race does is to count a text twice.
    """

    def __init__(self, encoder: Encoder | None = DEFAULT, cache_size: int = 1000, images: Images = Images()) -> None:  # noqa: B008
        self._encoder = encoder
        self._cache_size = cache_size
        self._table = Table(self.text, images)
        # Two generations instead of an ordered LRU: every step is one atomic dict operation, so threads need no lock.
        self._young: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}
        #: Whether a count costs no more than counting: the first one may load a vocabulary, which an event loop had better not wait for.
        self.ready = encoder is None

    @property
    def name(self) -> str:
        """The vocabulary's, or ``estimate``."""
        return "estimate" if self._encoder is None else self._encoder.name

    def text(self, text: str) -> int:
        """Tokens of ``text``; what looks like a special token is plain text, and a lone surrogate counts as U+FFFD.

        Exact, but for texts without a line end or space in 64 Ki characters: each cut in those may add a token or two.
        """
        encoder = self._encoder
        if encoder is None:
            return estimate_text(text)
        if len(text) < _CACHED_FROM or not self._cache_size:
            return _count(encoder, text)
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        count = self._young.get(key)
        if count is None:
            count = self._old.get(key)
            self._remember(key, count := _count(encoder, text) if count is None else count)
        return count

    def payload(self, body: bytes) -> int:
        """Tokens of a request of either wire, also of the odd shapes that count_tokens is asked about. 0 only for ``{}``.

        Understood beside the regular forms: ``messages`` as a string or one object, items that are no objects (user text), content
        blocks in place of messages, ``{"content"}``, ``{"message"}`` and ``{"text"}``. Raises ``BadRequest`` (``invalid_json``) if
        ``body`` is not a JSON object. 50 ns per byte of new text: a long history belongs on another thread.
        """
        total = self._table.payload(body)
        self.ready = True
        return total

    def _remember(self, key: bytes, count: int) -> None:
        if len(self._young) >= self._cache_size:
            self._old, self._young = self._young, {}
        self._young[key] = count


def _count(encoder: Encoder, text: str) -> int:
    if len(text) <= PIECE:
        return encoder.count(text)
    return sum(map(encoder.count, pieces(text)))


def pieces(text: str, size: int = PIECE, slack: int = SLACK) -> Iterator[str]:
    """``text`` in pieces of ``size`` to ``size + slack`` characters, the last one shorter, cut where no count changes if possible."""
    start = 0
    while len(text) - start > size + slack:
        seam = _SEAM.search(text, start + size, start + size + slack)
        end = seam.end() if seam else start + size + slack
        yield text[start:end]
        start = end
    yield text[start:]
