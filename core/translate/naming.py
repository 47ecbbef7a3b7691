"""Names and ids that one wire allows and the other does not: mapped one to one, the same way at every place of a request.

A tool name is at most 64 characters of ``[A-Za-z0-9_-]`` for chat upstreams (128 for Messages). A longer or otherwise illegal one becomes
its first 55 characters, an underscore, and eight hex digits of its SHA-256: equal names stay equal, different ones stay different, and the
answer's names are mapped back.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Container, Iterable
from typing import Final

_LEGAL: Final = re.compile(r"[A-Za-z0-9_-]+")
_ILLEGAL: Final = re.compile(r"[^A-Za-z0-9_-]")
#: Eight hex digits: two of a hundred tools collide with a chance below one in a million.
_DIGITS: Final = 8


def digest(text: str) -> str:
    """The first eight hex digits of the SHA-256 of ``text``."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:_DIGITS]


def shortened(name: str, limit: int, taken: Container[str] = ()) -> str:
    """A legal stand-in of at most ``limit`` characters for ``name``, the same every time, and none of ``taken``."""
    start = _ILLEGAL.sub("_", name[:limit])[: limit - _DIGITS - 1]
    found = f"{start}_{digest(name)}"
    again = itertools.count(1)
    while found in taken:
        found = f"{start}_{digest(f'{name} {next(again)}')}"
    return found


class ToolNames:
    """The tool names of one request. ``back`` leads from the upstream's names to the client's, for those that differ."""

    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        self.back: dict[str, str] = {}
        self._there: dict[str, str] = {}
        self._taken: set[str] = set()

    def reserve(self, names: Iterable[str]) -> None:
        """Tell of names before any is asked for: the legal ones among them stay as they are, whatever others are shortened to."""
        for name in names:
            if self._is_legal(name):
                self._there[name] = name
                self._taken.add(name)

    def there(self, name: str) -> str:
        """The upstream's form of the client's ``name``; equal names stay equal, different ones different."""
        found = self._there.get(name)
        if found is None:
            found = name if self._is_legal(name) and name not in self._taken else shortened(name, self.limit, self._taken)
            self._there[name] = found
            self._taken.add(found)
            if found != name:
                self.back[found] = name
        return found

    def _is_legal(self, name: str) -> bool:
        return len(name) <= self.limit and _LEGAL.fullmatch(name) is not None


class CallIds:
    """The tool call ids of one request. ``legal_only``: the upstream takes ``[A-Za-z0-9_-]`` alone (Messages)."""

    def __init__(self, limit: int = 64, *, legal_only: bool = False) -> None:
        self.limit = limit
        self.legal_only = legal_only
        self._there: dict[str, str] = {}
        self._taken: set[str] = set()

    def reserve(self, ids: Iterable[str]) -> None:
        """Tell of ids before any is asked for: those that fit stay as they are, whatever others are mended to."""
        for one in ids:
            if self._fits(one):
                self._there[one] = one
                self._taken.add(one)

    def there(self, call_id: str) -> str:
        """The upstream's form of ``call_id``; equal ids stay equal, different ones different."""
        found = self._there.get(call_id)
        if found is None:
            found = self._there[call_id] = self._free(call_id)
            self._taken.add(found)
        return found

    def _free(self, call_id: str) -> str:
        mended = _ILLEGAL.sub("_", call_id) if self.legal_only else call_id
        if 0 < len(mended) <= self.limit and mended not in self._taken:
            return mended
        return shortened(call_id or "call", self.limit, self._taken)

    def _fits(self, call_id: str) -> bool:
        return 0 < len(call_id) <= self.limit and (not self.legal_only or _LEGAL.fullmatch(call_id) is not None)
