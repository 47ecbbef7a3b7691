"""A world without I/O: performs the effects of a flow from a script, and watches that the flow keeps to the protocol."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeVar

from core.effects import (
    EFFECTS,
    Await,
    Compute,
    Effect,
    Enter,
    Fetch,
    Flow,
    Gate,
    Head,
    Inspect,
    Leave,
    Load,
    Now,
    Open,
    Pause,
    Place,
    Read,
    Send,
    Spawn,
    Start,
    Store,
    UpstreamRequest,
    Vitals,
)
from core.errors import ClientGone, UpstreamError

__all__ = ["Answer", "ProtocolViolation", "ScriptedWorld"]

T = TypeVar("T")


class ProtocolViolation(AssertionError):
    """A flow did what ``core.effects`` forbids, or asked for more than the script holds."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A scripted answer of an upstream. An error in place of the head is thrown there, one in the body where it stands.

    None in the body is silence: ``Read`` replies None there if it has an ``idle`` limit, else it waits for what follows. ``silent``
    says how often ``Open`` and ``Await`` reply None before the head, if they have an ``idle`` limit. ValueError for an empty chunk.
    """

    head: Head | UpstreamError
    body: Sequence[bytes | UpstreamError | None] = ()
    silent: int = 0

    def __post_init__(self) -> None:
        if b"" in self.body:
            raise ValueError("body: found an empty chunk, expected none: the end comes by itself")


class _Stage(Enum):
    SERVING = auto()
    LEFT = auto()  # the flow was told that the client is gone
    BACKGROUND = auto()  # the flow is over, those it spawned run


class _Incoming:
    """The upstream answer that is open: what is still to come of it."""

    __slots__ = ("_body", "_head", "_silent", "headed")

    def __init__(self, answer: Answer) -> None:
        self._head = answer.head
        self._body = iter(answer.body)
        self._silent = answer.silent
        self.headed = False

    def head(self, idle: float | None) -> Head | UpstreamError | None:
        if self._silent > 0 and idle is not None:
            self._silent -= 1
            return None
        self.headed = True
        return self._head

    def read(self, idle: float | None) -> bytes | UpstreamError | None:
        for chunk in self._body:
            if chunk is not None or idle is not None:
                return chunk
        return b""


class _Waiting:
    """The clock, and the place at a gate."""

    __slots__ = ("_gate", "_place", "_script", "now")

    def __init__(self, now: float, script: Sequence[bool | None]) -> None:
        self.now = now
        self._script = iter(script)
        self._gate: Gate[Any] | None = None
        self._place: Place | None = None

    def enter(self, effect: Enter) -> bool | None:
        for scripted in self._script:
            if scripted is None:
                self.now += effect.idle or 0.0
            return scripted
        if self._gate is not effect.gate:
            self.leave()
            self._gate, self._place = effect.gate, effect.gate.join(effect.client, self.now, _unheard)
        effect.gate.look(self.now)
        place, idle_by = self._place, self.now + (math.inf if effect.idle is None else effect.idle)
        while place is not None and not place.inside:
            late_by = place.since + (effect.timeout or math.inf)
            if self.now >= late_by:
                place = None
            elif self.now >= idle_by:
                return None
            else:
                self.now = min(self.now + effect.gate.look(self.now), late_by, idle_by)
                _require(self.now < math.inf, "waits at a gate that nobody leaves", effect)
                effect.gate.look(self.now)
        if place is None:
            self.leave()
        return place is not None

    def leave(self, *, crowded: bool = False) -> None:
        if self._gate is not None and self._place is not None:
            self._gate.leave(self._place, self.now, crowded=crowded)
        self._gate = self._place = None


def _unheard() -> None:
    """Nobody is woken here: who waits looks at the gate."""


class ScriptedWorld:
    """Runs a flow without I/O or threads; everything happens on the spot.

    The clock begins at ``now``. It goes on while the flow pauses, is told of silence, or waits at a gate; nothing else takes time.
    ``enters`` answers the ``Enter`` effects in turn. After that, gates are really entered, and left when the flow ends: what waits there
    was put into the gate by the test.

    ``opens`` and ``fetches`` answer the ``Open`` and ``Fetch`` effects in turn. ``fail=(n, error)`` throws ``error`` at the n-th
    upstream effect (``Open``, ``Await``, ``Read``, ``Fetch``), ``gone=n`` throws ``ClientGone`` at the n-th effect of any kind; both
    count from 0. To try every place, run a flow once without, then once for each number below ``upstream_effects`` or
    ``len(performed)``.

    Spawned flows run after the main one, in order. They have no client: ``gone`` is not for them, and touching the answer is a
    ``ProtocolViolation``. One world is good for one ``run``.
    """

    def __init__(
        self,
        opens: Sequence[Answer] = (),
        *,
        fetches: Sequence[Answer] = (),
        cache: Mapping[bytes, bytes] | None = None,
        vitals: Vitals | None = None,
        fail: tuple[int, UpstreamError] | None = None,
        gone: int | None = None,
        now: float = 1000.0,
        enters: Sequence[bool | None] = (),
    ) -> None:
        self.cache: dict[bytes, bytes] = dict(cache or {})
        self.head: Head | None = None  # of the answer to the client, once begun
        self.sends: list[bytes] = []
        self.opened: list[UpstreamRequest] = []
        self.fetched: list[UpstreamRequest] = []
        self.performed: list[Effect[Any]] = []  # every effect in order, the one at which something was thrown too
        self.upstream_effects = 0
        self._opens = iter(opens)
        self._fetches = iter(fetches)
        self._vitals = vitals or Vitals(instance="scripted", started=0.0)
        self._fail = fail
        self._gone = gone
        self._stage = _Stage.SERVING
        self._incoming: _Incoming | None = None
        self._spawned: list[Flow[Any]] = []
        self._waiting = _Waiting(now, enters)

    @property
    def now(self) -> float:
        """What the clock says."""
        return self._waiting.now

    @property
    def sent(self) -> bytes:
        """The body of the answer to the client, so far."""
        return b"".join(self.sends)

    def run(self, flow: Flow[T]) -> T:
        """The result of ``flow``. Raises ``ProtocolViolation``, and what the flow or a function it has computed raises."""
        result = self._drive(flow)
        self._stage = _Stage.BACKGROUND
        for spawned in self._spawned:  # which may spawn more
            self._incoming = None
            self._drive(spawned)
        return result

    def _drive(self, flow: Flow[T]) -> T:
        try:
            return self._perform_all(flow)
        finally:
            self._waiting.leave()

    def _perform_all(self, flow: Flow[T]) -> T:
        reply: Any = None
        error: ClientGone | UpstreamError | None = None
        while True:
            try:
                effect = flow.send(reply) if error is None else flow.throw(error)
            except StopIteration as end:
                result: T = end.value
                return result
            _require(isinstance(effect, EFFECTS), "not an effect", effect)
            _require(self._stage is not _Stage.LEFT, "asked after ClientGone", effect)
            reply, error = None, None
            self.performed.append(effect)
            if self._stage is _Stage.SERVING and len(self.performed) - 1 == self._gone:
                self._stage = _Stage.LEFT
                error = ClientGone()
            elif isinstance(effect, (Open, Await, Read, Fetch)):
                outcome = self._ask_upstream(effect)
                if isinstance(outcome, UpstreamError):
                    self._incoming = None
                    error = outcome
                else:
                    reply = outcome
                    if outcome is None and not isinstance(effect, Fetch):
                        self._waiting.now += effect.idle or 0.0
            elif isinstance(effect, (Start, Send)):
                self._answer_client(effect)
            else:
                reply = self._perform(effect)

    def _perform(self, effect: Effect[Any]) -> Any:
        if isinstance(effect, Load):
            return self.cache.get(effect.key)
        if isinstance(effect, Store):
            self.cache[effect.key] = effect.value
            return None
        if isinstance(effect, Compute):
            return effect.function(*effect.args)
        if isinstance(effect, Spawn):
            self._spawned.append(effect.flow)
            return None
        if isinstance(effect, Inspect):
            return self._vitals
        return self._wait(effect)

    def _wait(self, effect: Effect[Any]) -> float | bool | None:
        if isinstance(effect, Now):
            return self.now
        if isinstance(effect, Enter):
            return self._waiting.enter(effect)
        if isinstance(effect, Leave):
            self._incoming = None
            self._waiting.leave(crowded=effect.crowded)
            return None
        assert isinstance(effect, Pause), "a new effect has to find its place here"
        _require(effect.seconds >= 0, "paused for less than no time", effect)
        self._waiting.now += effect.seconds
        return None

    def _answer_client(self, effect: Start | Send) -> None:
        _require(self._stage is _Stage.SERVING, "touched the client's answer in the background", effect)
        if isinstance(effect, Start):
            _require(self.head is None, "started the answer twice", effect)
            self.head = effect.head
        else:
            _require(self.head is not None, "sent before the start", effect)
            _require(isinstance(effect.data, bytes), "sent something other than bytes", effect)
            self.sends.append(effect.data)

    def _ask_upstream(self, effect: Open | Await | Read | Fetch) -> Head | bytes | tuple[Head, bytes] | UpstreamError | None:
        number = self.upstream_effects
        self.upstream_effects += 1
        if isinstance(effect, Open):
            self.opened.append(effect.request)
        elif isinstance(effect, Fetch):
            self.fetched.append(effect.request)
        if self._fail is not None and number == self._fail[0]:
            return self._fail[1]
        if isinstance(effect, Fetch):
            return _whole(_next(self._fetches, effect))
        if isinstance(effect, Open):
            self._incoming = _Incoming(_next(self._opens, effect))
            return self._incoming.head(effect.idle)
        incoming = self._incoming
        if isinstance(effect, Await):
            if incoming is None or incoming.headed:
                raise ProtocolViolation(f"awaited a head that is not outstanding: {effect!r}")
            return incoming.head(effect.idle)
        if incoming is None or not incoming.headed:
            raise ProtocolViolation(f"read from an upstream that has not answered: {effect!r}")
        return incoming.read(effect.idle)


def _next(script: Iterator[Answer], effect: Effect[Any]) -> Answer:
    answer = next(script, None)
    if answer is None:
        raise ProtocolViolation(f"asked more often than scripted: {effect!r}")
    return answer


def _whole(answer: Answer) -> tuple[Head, bytes] | UpstreamError:
    chunks: list[bytes] = []
    for part in (answer.head, *answer.body):
        if isinstance(part, UpstreamError):
            return part
        if isinstance(part, bytes):
            chunks.append(part)
    assert isinstance(answer.head, Head)
    return answer.head, b"".join(chunks)


def _require(truth: bool, complaint: str, effect: Effect[Any]) -> None:
    if not truth:
        raise ProtocolViolation(f"{complaint}: {effect!r}")
