"""What a running server goes on needing of the files it was configured by.

Editors write files by deleting them, by emptying them, and piece by piece; for an instant a file that holds the key of the door is not
there, or says nothing. A reload at that instant must not open the door, so a file that has set something stays a part of the configuration
until the next start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.settings import Settings

#: Names that are listed.
_LISTED_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Held:
    """A file that sets something. ``needs``: what it cannot lose without being taken for somebody else's, or for half a file."""

    path: Path
    name: str  # as messages call it
    settings: tuple[str, ...]  # at least one, lower case
    needs: tuple[str, ...] = ()


def gone(before: Sequence[Held], exists: Callable[[Path], bool]) -> list[str]:
    """A problem for every file that is not there any more."""
    return [f"{held.name}: has gone; {_it_held(held)}" for held in before if not exists(held.path)]


def emptied(before: Sequence[Held], after: Sequence[Held], exists: Callable[[Path], bool]) -> list[str]:
    """A problem for every file that is there, and does not say any more what it has to."""
    now = {held.path: held for held in after}
    return list(_emptied([held for held in before if exists(held.path)], now.get))


def _emptied(before: Sequence[Held], find: Callable[[Path], Held | None]) -> Iterator[str]:
    for held in before:
        found = find(held.path)
        if found is None:
            yield f"{held.name}: sets nothing any more; {_it_held(held)}"
        else:
            yield from (
                f"{held.name}: {need}: has gone; write it again, or restart to go on without"
                for need in held.needs
                if need not in found.settings
            )


def opened(before: Settings, after: Settings, cleared: frozenset[str]) -> list[str]:
    """The problem with a reload that would let everybody in where there is a key to spend, unless a file says so: ``PROXY_API_KEY=``."""
    if before.proxy_api_key is None or after.proxy_api_key is not None or "proxy_api_key" in cleared or after.demo:
        return []
    if (key := after.spendable()) is None:
        return []
    advice = "write it again, set it to nothing (PROXY_API_KEY=), or restart to go on without it"
    return [f"PROXY_API_KEY: set until now, and not any more, while {key} is: {advice}"]


def _it_held(held: Held) -> str:
    names = [name if name in ("providers", "servers", "models", "cli") else name.upper() for name in held.settings]
    more = f" and {len(names) - _LISTED_MAX} more" if len(names) > _LISTED_MAX else ""
    return f"it held {', '.join(names[:_LISTED_MAX])}{more}; write it again, or restart to go on without it"
