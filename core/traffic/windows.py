"""Sliding windows of one minute: how many requests a client made, how often an address was refused. Exact, and bounded in memory.

What is counted here is counted for this process. For several workers or replicas the same three questions (``admit``, ``fail``,
``barred``) can be put to a store they share; they take and give nothing but keys and numbers for that reason.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from typing import Final

from core.traffic.memory import Memory

#: Seconds that count.
WINDOW: Final = 60.0
#: Keys that are remembered. Each takes 32 bytes per counted request and half a KiB beside, so with a limit of 60 all together 25 MB. A
#: further key takes the place of the one that was admitted longest ago, whose count is lost.
MOST_KEYS: Final = 10_000
#: An address whose keys were wrong too often is refused for so many seconds.
BAR: Final = 60.0
#: Who is given one IPv6 address has a whole network of this size to choose from (RFC 6177).
_HOST_BITS: Final = 64


class Window:
    """So many per minute and key, whatever the keys are."""

    def __init__(self, most_keys: int = MOST_KEYS) -> None:
        self._counted: Memory[str, deque[float]] = Memory(most_keys)

    def admit(self, key: str, limit: int, now: float) -> float:
        """0 if ``key`` may go on: it is one of fewer than ``limit`` in the last minute, and is counted. Else the seconds until it may.

        ``limit`` 0: there is none.
        """
        if not limit:
            return 0.0
        counted = self._counted.find(key)
        if counted is None:
            counted = deque()
            self._counted.put(key, counted)
        while counted and counted[0] + WINDOW <= now:
            counted.popleft()
        if len(counted) >= limit:
            return counted[len(counted) - limit] + WINDOW - now  # a limit that was lowered needs more than the first to grow old
        counted.append(now)
        return 0.0

    def __len__(self) -> int:
        return len(self._counted)


class Bars:
    """Addresses that sent too many wrong keys are barred for a minute. Each IPv6 network counts as one address."""

    def __init__(self, most_keys: int = MOST_KEYS) -> None:
        self._failures = Window(most_keys)
        self._until: Memory[str, float] = Memory(most_keys)

    def fail(self, address: str, limit: int, now: float) -> None:
        """Count a wrong key from ``address``; the ``limit``-th within a minute bars it. 0: never."""
        if not limit:
            return
        who = network_of(address)
        if limit > 1 and not self._failures.admit(who, limit - 1, now):
            return
        self._until.put(who, now + BAR)

    def __bool__(self) -> bool:
        """Whether any address may be barred."""
        return bool(len(self._until))

    def barred(self, address: str, now: float) -> float:
        """Seconds that ``address`` is still barred; 0 if it is not."""
        if not self:
            return 0.0
        who = network_of(address)
        until = self._until.find(who)
        if until is None:
            return 0.0
        if until <= now:
            self._until.forget(who)
            return 0.0
        return until - now


def network_of(address: str) -> str:
    """The part of an address that its holder cannot choose: all of an IPv4 address, the first half of an IPv6 one."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:  # how a listener for both sees IPv4
        return str(parsed.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(parsed) >> _HOST_BITS << _HOST_BITS)}"
