"""What is remembered per key, of a number of keys that clients decide: bounded, and the longest unused leave first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

#: Of the oldest entries so many are looked at for each new one. One leaves for each that comes, so more are needed only while the oldest
#: are in use; and a flood of new keys costs no more than this each.
_LOOKS: Final = 8


class Memory(Generic[K, V]):
    """Entries by key: ``most`` of them, and above that only those of which ``keep`` says that they must stay."""

    def __init__(self, most: int, keep: Callable[[V], bool] = lambda _entry: False) -> None:
        self._most = most
        self._keep = keep
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return iter(self._entries.items())

    def find(self, key: K) -> V | None:
        """The entry of ``key``, which has now been used."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: K, entry: V) -> None:
        """Remember ``entry``, in place of the one there was."""
        self._entries[key] = entry
        self._entries.move_to_end(key)
        for _ in range(_LOOKS):
            if len(self._entries) <= self._most:
                return
            oldest, entry = self._entries.popitem(last=False)
            if self._keep(entry):
                self._entries[oldest] = entry

    def forget(self, key: K) -> None:
        self._entries.pop(key, None)
