"""The gate of an upstream key: so many requests at once, the others wait in line.

First come, first served within a client; between clients in turn, so that who has one request waits for at most one of each other client
that was there before, however many those have in line.

How many may be within is a number, or is learned ("auto"): nobody waits until the upstream complains that there are too many (z.ai's code
1302). Then one less than were within may be, one at least, and one more after each 60 seconds without a complaint. When as many as caused
a complaint have been allowed for 60 quiet seconds, the lesson is forgotten.
"""

from __future__ import annotations

import enum
import math
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

#: Requests at once: a number, 0 being no limit, or learned.
Most: TypeAlias = int | Literal["auto"]

#: After so many seconds without a complaint one more is let in.
QUIET_SECONDS: Final = 60.0
#: How much the length of one stay changes the mean: that of the last eight or so.
_WEIGHT: Final = 1 / 8
#: No client is told to stay away longer: a mean says little about so many turns ahead.
_LONGEST_RESET: Final = 60


class _Where(enum.Enum):
    IN_LINE = enum.auto()
    WITHIN = enum.auto()
    GONE = enum.auto()


@dataclass(slots=True, eq=False)
class Place:
    """One request at a gate. ``since``: when it came; ``wake``: called when it is let in."""

    client: str
    since: float
    wake: Callable[[], None] = field(repr=False)
    where: _Where = _Where.IN_LINE
    entered: float = math.nan

    @property
    def inside(self) -> bool:
        return self.where is _Where.WITHIN


class Gate:
    """See the module; ``core.effects.Gate`` says what each method promises. ``line``: how many may wait.

    ``most`` and ``line`` may be set anew at any time, and count from the next call on. Nobody who is within is put out.
    """

    __slots__ = ("_lines", "_stay", "_too_many", "inside", "learned", "line", "most", "quiet_since", "waiting")

    def __init__(self, most: Most = "auto", line: int = 100) -> None:
        self.most: Most = most
        self.line = line
        self.inside = 0
        self.waiting = 0
        self.learned: int | None = None
        self.quiet_since = 0.0  # the last complaint, or the last that was let in for its absence
        self._too_many = 0  # as many caused a complaint
        self._lines: OrderedDict[str, deque[Place]] = OrderedDict()  # whose turn is next stands first
        self._stay: float | None = None  # seconds, the mean

    @property
    def capacity(self) -> float:
        """How many may be within; infinity for no limit."""
        if self.most == "auto":
            return math.inf if self.learned is None else self.learned
        return self.most or math.inf

    @property
    def busy(self) -> bool:
        return bool(self.inside or self.waiting)

    def join(self, client: str, now: float, wake: Callable[[], None]) -> Place | None:
        self.look(now)
        place = Place(client, now, wake)
        if self.inside < self.capacity:
            self._let_in(place, now)
            return place
        if self.waiting >= self.line:
            return None
        self._lines.setdefault(client, deque()).append(place)
        self.waiting += 1
        return place

    def leave(self, place: Place, now: float, *, crowded: bool = False) -> None:
        """A second time it does nothing."""
        if place.where is _Where.IN_LINE:
            self._take_out(place)
        elif place.where is _Where.WITHIN:
            stay = now - place.entered
            self._stay = stay if self._stay is None else self._stay + (stay - self._stay) * _WEIGHT
            if crowded:
                self._learn(now)
            self.inside -= 1
        place.where = _Where.GONE
        self.look(now)

    def look(self, now: float) -> float:
        if self.learned is None and not self.waiting:
            return math.inf  # as nearly always
        self._grow(now)
        while self.waiting and self.inside < self.capacity:
            self._call_next(now)
        if self.most != "auto" or self.learned is None:
            return math.inf
        return self.quiet_since + QUIET_SECONDS - now

    def reset(self, now: float) -> int:
        """In how many whole seconds a place may be had, for ``Retry-After``: a guess from how long the last ones were kept, 1 at least."""
        turns = math.ceil((self.waiting + 1) / min(self.capacity, self.waiting + 1))
        soonest = turns * self._stay if self._stay is not None else 0.0
        if self.most == "auto" and self.learned is not None:
            soonest = min(soonest, self.quiet_since + QUIET_SECONDS - now)
        return min(max(1, math.ceil(soonest)), _LONGEST_RESET)

    def _learn(self, now: float) -> None:
        if self.most != "auto":
            return
        if self.learned is None:
            self.learned = self._too_many = self.inside
        self._too_many = max(self._too_many, self.inside)
        self.learned = max(1, min(self.learned, self.inside - 1))
        self.quiet_since = now

    def _grow(self, now: float) -> None:
        if self.learned is None or now < self.quiet_since + QUIET_SECONDS:
            return
        steps = int((now - self.quiet_since) // QUIET_SECONDS)
        self.learned += steps
        self.quiet_since += steps * QUIET_SECONDS
        if self.learned > self._too_many:
            self.learned = None

    def _let_in(self, place: Place, now: float) -> None:
        place.where, place.entered = _Where.WITHIN, now
        self.inside += 1

    def _call_next(self, now: float) -> None:
        client, line = self._lines.popitem(last=False)
        place = line.popleft()
        if line:
            self._lines[client] = line  # behind all others
        self.waiting -= 1
        self._let_in(place, now)
        place.wake()

    def _take_out(self, place: Place) -> None:
        line = self._lines[place.client]
        line.remove(place)
        if not line:
            del self._lines[place.client]
        self.waiting -= 1
