"""What the core may ask of the world: a handful of frozen records.

The protocol between a flow and its driver, in full:

* A *flow* is a generator. It yields effects and is sent each one's reply; its return value is the result.
* The driver performs exactly one effect at a time, in the order they are yielded, and never calls the flow concurrently.
* ``Open``, ``Await``, ``Read`` and ``Fetch`` may be answered by throwing an ``UpstreamError`` into the flow.
* Any effect may be answered by throwing ``ClientGone``; after that the flow yields nothing more and returns.
* No other exception is thrown in. A flow ends by running out, never by ``close()``, and no effect stands in a ``finally``.
* When the flow returns, the driver ends the client's answer (if one was started) and releases the upstream answer:
  back to the pool when it was read to its end, closed otherwise. Then it gives back the place that ``Enter`` took.
* Flows that share a ``Gateway`` share its mutable state: a driver with several threads steps one of them at a time.

``reply = yield from effect`` is typed with the reply of the effect.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, cast

R = TypeVar("R")
T = TypeVar("T")

#: Header fields in order: names in lower case, both sides ASCII bytes without CR, LF or NUL.
Headers: TypeAlias = Sequence[tuple[bytes, bytes]]


class Effect(Generic[R]):
    """One request to the outer world; ``reply = yield from effect`` is typed ``R``."""

    __slots__ = ()

    def __iter__(self) -> Generator[Effect[Any], Any, R]:
        return cast(R, (yield self))


#: A generator of effects with a result of type ``T``.
Flow: TypeAlias = Generator[Effect[Any], Any, T]


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked, whole. Time and identity come in here, because the core has neither clock nor dice."""

    method: str
    target: str  # the request target as sent: path and query, percent-escapes untouched
    headers: Headers = field(repr=False)  # they hold keys
    body: bytes = field(repr=False)
    id: str  # the request id, already chosen (adopted from the client or made by the transport)
    now: float  # seconds since the Unix epoch at arrival
    peer: str = ""  # the client's address, for the record only
    dice: float = 0.5  # uniform in [0, 1): so that those who fail together do not come back together


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """What is sent upstream. ``url`` is absolute, ``http`` or ``https``; the driver adds ``host`` and framing headers."""

    method: str
    url: str
    headers: Headers = field(repr=False)  # they hold a key
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of an answer, upstream's or ours."""

    status: int
    headers: Headers

    def get(self, name: bytes) -> bytes | None:
        """The first value of the header ``name`` (lower case), or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds; 0 means no limit. The driver enforces them and throws ``UpstreamTimeout``."""

    connect: float = 10.0  # DNS, TCP and TLS together
    first_byte: float = 300.0  # from the end of connecting to the first byte of the answer's body
    gap: float = 300.0  # between two reads of the body
    total: float = 0.0  # the whole upstream exchange


@dataclass(frozen=True, slots=True)
class Vitals:
    """How the process is doing, for the health pages."""

    instance: str  # random id of the process group
    started: float  # seconds since the epoch
    draining: bool = False
    total_requests: int = 0
    active_connections: int = 0
    succeeded: int = 0  # of total_requests, those that ended below status 400
    busy_seconds: float = 0.0  # summed over all finished requests
    requests_last_minute: int = 0


@dataclass(frozen=True, slots=True)
class Open(Effect["Head | None"]):
    """Send ``request`` upstream and wait for the head of its answer.

    Reply: the head, or None after ``idle`` silent seconds (the exchange goes on; ask again with ``Await``). ``idle`` None: wait as
    long as the deadlines allow. An upstream answer that is still open is closed first.
    """

    request: UpstreamRequest
    deadlines: Deadlines
    idle: float | None = None


@dataclass(frozen=True, slots=True)
class Await(Effect["Head | None"]):
    """Go on waiting for the head of the request that ``Open`` sent. Reply as for ``Open``."""

    idle: float | None = None


@dataclass(frozen=True, slots=True)
class Read(Effect["bytes | None"]):
    """The next bytes of the upstream's body: all that have arrived, ``b""`` at its proper end, None after ``idle`` silent seconds.

    A connection that breaks before the framing says the body is over is an ``UpstreamFailed``, not an end.
    """

    idle: float | None = None


@dataclass(frozen=True, slots=True)
class Start(Effect[None]):
    """Begin the client's answer. The head leaves with the first ``Send`` (or with the end of the flow)."""

    head: Head


@dataclass(frozen=True, slots=True)
class Send(Effect[None]):
    """Bytes of the client's answer; replies when there is room for more: that is the whole of back-pressure."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Fetch(Effect[tuple[Head, bytes]]):
    """A small auxiliary call upstream, answered whole, within ``timeout`` seconds."""

    request: UpstreamRequest
    timeout: float


@dataclass(frozen=True, slots=True)
class Load(Effect["bytes | None"]):
    """Look into the cache. A broken cache answers None."""

    key: bytes


@dataclass(frozen=True, slots=True)
class Store(Effect[None]):
    """Put into the cache for ``ttl`` seconds (None: for good). A broken cache is the driver's log line, never a failure."""

    key: bytes
    value: bytes
    ttl: float | None = None


@dataclass(frozen=True, slots=True)
class Compute(Effect[R]):
    """Run a pure function that is too heavy for an event loop; the driver may use a thread."""

    function: Callable[..., R]
    args: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Spawn(Effect[None]):
    """Run ``flow`` in the background, after the answer if need be. It may not touch the client."""

    flow: Flow[Any]


@dataclass(frozen=True, slots=True)
class Inspect(Effect[Vitals]):
    """How the process is doing."""


@dataclass(frozen=True, slots=True)
class Now(Effect[float]):
    """Seconds on a clock that only goes forward, the one that all times of ``core.traffic`` are on. Its zero means nothing."""


@dataclass(frozen=True, slots=True)
class Pause(Effect[None]):
    """Do nothing for ``seconds``. Shorter when the process must end."""

    seconds: float


class Place(Protocol):
    """A place in line at a gate, or within."""

    @property
    def inside(self) -> bool: ...

    @property
    def since(self) -> float:
        """When it was taken, on the clock of ``Now``."""
        ...


P = TypeVar("P", bound=Place)


class Gate(Protocol[P]):
    """Lets few in at a time; ``core.traffic.gate`` has the one there is. Only drivers call it, from one thread at a time."""

    def join(self, client: str, now: float, wake: Callable[[], None]) -> P | None:
        """A place for ``client``, within or in line; None when the line is full. ``wake`` is called once, when it has come to be within."""
        ...

    def look(self, now: float) -> float:
        """Let in whom time alone lets in. In so many seconds to look again: infinity while only a ``leave`` can change anything."""
        ...

    def leave(self, place: P, now: float, *, crowded: bool = False) -> None:
        """Give ``place`` back, out of line or from within. ``crowded``: the upstream said that there were too many."""
        ...


@dataclass(frozen=True, slots=True)
class Enter(Effect["bool | None"]):
    """Take a place at ``gate``, waiting in line for it.

    Reply: True within, False when there is none to be had (the line is full, ``timeout`` seconds have passed, the process must end),
    None after ``idle`` seconds in line. After None ask again, with the same gate: the place in line is kept.

    A flow has one place at most. Asked for the gate it is at, it keeps its place, within as well; asked for another, it leaves the first.
    The driver gives the place back at ``Leave``, and after the upstream answer when the flow ends or is abandoned.
    """

    gate: Gate[Any]
    client: str  # who asks: gates are fair between clients
    timeout: float = 0.0  # seconds since the first asking; 0: as long as it takes
    idle: float | None = None


@dataclass(frozen=True, slots=True)
class Leave(Effect[None]):
    """Give back the place that ``Enter`` took, if there is one; an upstream answer that is still open is closed first.

    ``crowded``: the upstream refused because there were too many requests at once. The gate lets fewer in from now on.
    """

    crowded: bool = False


#: Every effect there is. A test asserts that each driver performs all of them.
EFFECTS: tuple[type[Effect[Any]], ...] = (
    Open, Await, Read, Start, Send, Fetch, Load, Store, Compute, Spawn, Inspect, Now, Pause, Enter, Leave,
)  # fmt: skip
