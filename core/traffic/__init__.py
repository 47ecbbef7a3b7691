"""Everything with a clock: circuit breakers, gates at upstream keys, keys that rest, windows of a minute, and when to try again.

All of it is plain state that takes ``now`` as an argument: seconds on the clock of the effect ``Now``, never on that of ``Request.now``,
which may be set back. Nothing here waits; who waits at a gate does so in the effect ``Enter``.

There are no locks either. Gates are entered and left by drivers only, from one thread; all else is changed by flows, of which a driver
with several threads steps one at a time (``transports.drive.run`` sees to that).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from core.settings import Settings
from core.traffic.breaker import Breakers, State
from core.traffic.gate import Most
from core.traffic.keys import Keys
from core.traffic.retry import Policy
from core.traffic.windows import Bars, Window

__all__ = ["Queue", "Snapshot", "Traffic"]


@dataclass(frozen=True, slots=True)
class Queue:
    """One upstream key, as reports show it."""

    origin: Hashable  # of the upstream
    inside: int
    waiting: int
    most: Most
    learned: int | None  # what "auto" has come down to


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of things, without anything that tells whose they are."""

    breakers: Mapping[str, State]  # by target label
    queues: tuple[Queue, ...]  # of the keys that are in use or have learned
    resting: Mapping[Hashable, int]  # keys that rest, by origin


class Traffic:
    """One for the life of a process: what it knows survives a change of the settings (``adopt``)."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.breakers = Breakers()
        self.keys = Keys()
        self._requests = Window()
        self._bars = Bars()
        self.adopt(settings or Settings())

    def adopt(self, settings: Settings) -> None:
        """Go by these settings from now on."""
        self.breakers.failures, self.breakers.cooldown = settings.breaker_failures, settings.breaker_cooldown
        self.keys.line = settings.key_queue_size
        self.policy = Policy(settings.max_retries, settings.retry_backoff, settings.retry_after_max)
        self.requests_per_minute = settings.rate_limit_per_minute
        self.auth_failures_per_minute = settings.auth_failures_per_minute

    def admit(self, client: str, now: float) -> float:
        """Count a request of ``client``, a digest of its credential or its address; 0, or the seconds after which it may come again."""
        return self._requests.admit(client, self.requests_per_minute, now)

    def auth_failed(self, address: str, now: float) -> None:
        """Count a wrong key."""
        self._bars.fail(address, self.auth_failures_per_minute, now)

    def barred(self, address: str, now: float) -> float:
        """Seconds for which an address is refused because of its wrong keys; 0 if it is not."""
        return self._bars.barred(address, now)

    @property
    def bars_any(self) -> bool:
        """Whether ``barred`` can be anything but 0: who asks this first need not ask for the time."""
        return bool(self._bars)

    def snapshot(self, now: float) -> Snapshot:
        """For reports."""
        queues = tuple(Queue(origin, gate.inside, gate.waiting, gate.most, gate.learned) for origin, gate in self.keys.gates())
        return Snapshot(self.breakers.states(now), queues, self.keys.resting(now))
