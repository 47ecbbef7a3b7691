"""Which member of a group answers a session: chosen by weight, and the same one as long as it is there."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from core.routing.targets import REMEMBERED_NAME, Target

#: 2 ** 64: what eight bytes of a digest can be.
_SPAN: Final = 1 << 64


def by_weight(session: str, members: Sequence[tuple[str, int]]) -> list[int]:
    """The places of ``members`` (name, weight) in the order in which ``session`` tries them.

    Weighted rendezvous hashing: each member draws its own number for a session, so a member that goes takes only its own sessions along,
    and replicas agree. A member of weight 0 comes last.
    """
    draws = [(-_score(session, name, weight), place) for place, (name, weight) in enumerate(members)]
    return [place for _, place in sorted(draws)]


def _score(session: str, name: str, weight: int) -> float:
    seed = f"{len(name)}:{name}{session}".encode("utf-8", "surrogatepass")
    drawn = int.from_bytes(hashlib.blake2b(seed, digest_size=8).digest(), "big")
    return weight / -math.log((drawn + 0.5) / _SPAN)


@dataclass(frozen=True, slots=True)
class Member:
    """A model of a group, as one request would be sent to it."""

    id: str
    weight: int
    target: Target
    rest: tuple[Target, ...]  # what is tried when it answers first, and every other member has failed


class Group:
    """The members that can serve one kind of request. Immutable but for what it remembers of sessions."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = tuple(members)
        self._names = tuple((one.id, one.weight) for one in members)
        self._remembered = functools.lru_cache(maxsize=1024)(self._ordered)

    def order(self, session: str) -> tuple[Target, ...]:
        """The targets in the order in which ``session`` tries them."""
        return (self._remembered if len(session) <= REMEMBERED_NAME else self._ordered)(session)

    def _ordered(self, session: str) -> tuple[Target, ...]:
        members = [self._members[place] for place in by_weight(session, self._names)]
        return (*(one.target for one in members), *members[0].rest)
