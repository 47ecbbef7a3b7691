"""Upstream keys: the gate of each, and which of them rest because their money is used up.

A key is named by the origin it goes to and a digest of the credential: both endpoints of a server, and two providers at one, share it; the
same credential elsewhere is another key. No credential is kept here.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from core.traffic.gate import Gate, Most
from core.traffic.memory import Memory

#: Keys that are remembered: clients bring their own, so their number is theirs. A gate takes about 2 KiB, one that is in use always stays.
MOST_KEYS: Final = 10_000
#: A key whose balance is exhausted (z.ai's code 1113) is not tried again for so many seconds.
REST: Final = 60.0


class Keys:
    """``line``: how many may wait for one key."""

    def __init__(self, line: int = 100, most_keys: int = MOST_KEYS) -> None:
        self.line = line
        self._gates: Memory[tuple[Hashable, Hashable], Gate] = Memory(most_keys, keep=lambda gate: gate.busy)
        self._rests: Memory[tuple[Hashable, Hashable], float] = Memory(most_keys)

    def gate(self, origin: Hashable, digest: Hashable, most: Most) -> Gate | None:
        """The gate of a key, through which ``most`` may go at once. None when that is 0: nobody counts, and nobody waits."""
        if not most:
            return None
        key = origin, digest
        gate = self._gates.find(key)
        if gate is None:
            gate = Gate(most, self.line)
            self._gates.put(key, gate)
        gate.most, gate.line = most, self.line
        return gate

    def rest(self, origin: Hashable, digest: Hashable, now: float) -> None:
        """Let a key rest."""
        self._rests.put((origin, digest), now + REST)

    def rests(self, origin: Hashable, digest: Hashable, now: float) -> float:
        """Seconds that a key still rests; 0 if it does not."""
        until = self._rests.find((origin, digest))
        return 0.0 if until is None else max(0.0, until - now)

    def gates(self) -> list[tuple[Hashable, Gate]]:
        """Those in use or with a lesson learned, each with its origin."""
        return [(origin, gate) for (origin, _), gate in self._gates if gate.busy or gate.learned is not None]

    def resting(self, now: float) -> dict[Hashable, int]:
        """How many keys rest, by origin."""
        found: dict[Hashable, int] = {}
        for (origin, _), until in self._rests:
            if until > now:
                found[origin] = found.get(origin, 0) + 1
        return found
