"""Circuit breakers: a target that keeps failing is left alone for a while, then one request is the probe that decides.

::

    CLOSED --- so many failures in a row ---> OPEN
    OPEN --- the cooldown is over, and somebody asks ---> HALF_OPEN: that one is the probe, all others are refused
    HALF_OPEN --- the probe fails ---> OPEN
    HALF_OPEN --- the probe is answered ---> CLOSED
    HALF_OPEN --- the probe is dropped ---> the next one to ask is the probe

What began in one state says nothing in another: only the probe decides what becomes of a breaker that is half open.
"""

from __future__ import annotations

import enum
import math
from typing import Final

from core.traffic.memory import Memory

#: There are as many targets as the configuration names; the bound is for a process that sees many configurations.
_MOST_TARGETS: Final = 1000
#: A probe is out, and nobody knows for how long.
_PROBING_SECONDS: Final = 1.0


class State(enum.Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Outcome(enum.Enum):
    """What an attempt showed of its target."""

    GOOD = enum.auto()  # it answered, if only to refuse the request (4xx)
    BAD = enum.auto()  # it did not, or with a 5xx
    NOTHING = enum.auto()  # the client left before it could show anything


class Breaker:
    """Of one target."""

    __slots__ = ("failures", "probing", "since", "stage", "state")

    def __init__(self) -> None:
        self.state = State.CLOSED
        self.failures = 0  # in a row
        self.since = 0.0  # when it opened
        self.probing = False
        self.stage = 0  # counts the changes of state

    def turn(self, state: State) -> None:
        self.state = state
        self.failures, self.probing = 0, False
        self.stage += 1


class Attempt:
    """Leave to ask a target once. Say ``over`` when its outcome is known, in any case in the end; only the first time counts."""

    __slots__ = ("_breaker", "_limit", "_probe", "_stage")

    def __init__(self, breaker: Breaker, limit: float, *, probe: bool) -> None:
        self._breaker: Breaker | None = breaker
        self._limit = limit  # failures in a row that open it
        self._stage = breaker.stage
        self._probe = probe

    def answered(self) -> None:
        """The target has begun to answer, which is all that counts: others may wait for a probe, and a cut answer is no dead target."""
        self.over(Outcome.GOOD, math.nan)  # nothing closes at a time

    def over(self, outcome: Outcome, now: float) -> None:
        breaker, self._breaker = self._breaker, None
        if breaker is None or breaker.stage != self._stage:
            return
        if self._probe:
            self._decide(breaker, outcome, now)
        elif outcome is Outcome.GOOD:
            breaker.failures = 0
        elif outcome is Outcome.BAD:
            breaker.failures += 1
            if breaker.failures >= self._limit:
                breaker.turn(State.OPEN)
                breaker.since = now

    @staticmethod
    def _decide(breaker: Breaker, outcome: Outcome, now: float) -> None:
        if outcome is Outcome.NOTHING:
            breaker.probing = False
        elif outcome is Outcome.BAD:
            breaker.turn(State.OPEN)
            breaker.since = now
        else:
            breaker.turn(State.CLOSED)


class Breakers:
    """Of all targets, by label. ``failures``: so many in a row open one, 0 means never; ``cooldown``: seconds it stays open."""

    def __init__(self, failures: int = 5, cooldown: float = 30.0) -> None:
        self.failures = failures
        self.cooldown = cooldown
        self._breakers: Memory[str, Breaker] = Memory(_MOST_TARGETS)

    def ask(self, label: str, now: float) -> Attempt | None:
        """Leave to ask the target ``label`` once; None while its breaker is open."""
        breaker = self._breakers.find(label)
        if breaker is None:
            breaker = Breaker()
            self._breakers.put(label, breaker)
        if breaker.state is not State.CLOSED and not self.failures:
            breaker.turn(State.CLOSED)  # switched off meanwhile
        if breaker.state is State.CLOSED:
            return Attempt(breaker, self.failures or math.inf, probe=False)
        if self._closed_for(breaker, now):
            return None
        if breaker.state is State.OPEN:
            breaker.turn(State.HALF_OPEN)
        breaker.probing = True
        return Attempt(breaker, self.failures, probe=True)

    def closed_for(self, label: str, now: float) -> float:
        """Seconds until ``ask`` may say yes; 0 if it would now. It changes nothing: for who only wants to know, or does not count."""
        breaker = self._breakers.find(label)
        return 0.0 if breaker is None else self._closed_for(breaker, now)

    def states(self, now: float) -> dict[str, State]:
        """Of every target that was asked lately. One whose cooldown is over counts as half open."""
        return {label: self._state(breaker, now) for label, breaker in self._breakers}

    def _closed_for(self, breaker: Breaker, now: float) -> float:
        if not self.failures or breaker.state is State.CLOSED:
            return 0.0
        if breaker.state is State.OPEN:
            return max(0.0, breaker.since + self.cooldown - now)
        return _PROBING_SECONDS if breaker.probing else 0.0

    def _state(self, breaker: Breaker, now: float) -> State:
        if not self.failures:
            return State.CLOSED
        if breaker.state is State.OPEN and not self._closed_for(breaker, now):
            return State.HALF_OPEN
        return breaker.state
