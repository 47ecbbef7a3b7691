"""The worlds that flows run in: what each effect does to sockets, cache and threads.

``EventLoopWorld`` serves the listeners on asyncio and trio. ``BlockingWorld`` is for a thread without an event loop: scripts, tests,
embedders. Both speak to the upstreams through the same code.
"""

from __future__ import annotations

import math
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Final, Protocol

import anyio
import anyio.to_thread
from anyio.from_thread import BlockingPortal

from core.effects import (
    Await,
    Compute,
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
    Vitals,
)
from core.errors import UpstreamFailed
from transports.background import Background
from transports.drive import AsyncPerformers, Performers, run
from transports.upstream import Call, Upstream

#: Answer bytes that may wait for company before they are sent; the bound of product 13.1 on what a slow client makes us hold.
PENDING_BYTES: Final = 64 * 1024
#: Threads that may compute at once: tokenizers leave Python's lock, and one processor belongs to the event loop.
THREADS: Final = max(1, (os.cpu_count() or 1) - 1)


class Cache(Protocol):
    """What ``Load`` and ``Store`` use. A cache that is broken answers None, logs, and raises nothing."""

    def load(self, key: bytes) -> bytes | None: ...

    def store(self, key: bytes, value: bytes, ttl: float | None) -> None: ...


class MemoryCache:
    """A cache in this process: least recently used entries leave first. ``clock`` gives seconds, for example ``time.monotonic``."""

    def __init__(self, clock: Callable[[], float], *, max_bytes: int = 32 * 1024 * 1024) -> None:
        self._clock = clock
        self._room = max_bytes
        self._entries: OrderedDict[bytes, tuple[bytes, float | None]] = OrderedDict()

    def load(self, key: bytes) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, until = entry
        if until is not None and self._clock() >= until:
            self._forget(key)
            return None
        self._entries.move_to_end(key)
        return value

    def store(self, key: bytes, value: bytes, ttl: float | None) -> None:
        if key in self._entries:
            self._forget(key)
        self._entries[key] = value, None if ttl is None else self._clock() + ttl
        self._room -= len(key) + len(value)
        while self._room < 0:
            self._forget(next(iter(self._entries)))

    def _forget(self, key: bytes) -> None:
        value, _ = self._entries.pop(key)
        self._room += len(key) + len(value)


class Client(Protocol):
    """Whom an exchange answers. What is written may wait until ``flush``; both raise ``ClientGone``."""

    @property
    def pending(self) -> int:
        """Bytes that wait."""
        ...

    def start(self, head: Head) -> None: ...

    def write(self, data: bytes) -> None: ...

    async def flush(self) -> None:
        """Send what waits, and return when there is room for more."""
        ...


class Nobody:
    """The client of a background flow, which may not answer."""

    pending: ClassVar[int] = 0

    def start(self, head: Head) -> None:
        raise RuntimeError(f"a background flow has no client to answer with status {head.status}")

    def write(self, data: bytes) -> None:
        raise RuntimeError(f"a background flow has no client to send {len(data)} bytes to")

    async def flush(self) -> None:
        return


@dataclass(frozen=True, slots=True)
class House:
    """What all exchanges of a process share."""

    upstream: Upstream
    cache: Cache
    spawn: Callable[[Flow[Any]], None]
    inspect: Callable[[], Vitals]
    clock: Callable[[], float] = time.monotonic
    threads: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(THREADS))  # for what is computed


class Waiting:
    """The pauses of a flow, and its place at a gate. Used within one event loop, so that nobody is let in between a look and a wait."""

    __slots__ = ("_alarm", "_clock", "_ended", "_gate", "_place")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._gate: Gate[Any] | None = None
        self._place: Place | None = None
        self._alarm: anyio.Event | None = None
        self._ended = False

    async def pause(self, seconds: float) -> None:
        if not self._ended:
            await self._wait(seconds)

    async def enter(self, effect: Enter) -> bool | None:
        now = self._clock()
        idle_by = now + (math.inf if effect.idle is None else effect.idle)
        if self._gate is not effect.gate:
            self.leave()
            self._gate, self._place = effect.gate, effect.gate.join(effect.client, now, self._wake)
        place = self._place
        while place is not None and not place.inside:
            until_growth = effect.gate.look(now)
            late_by = place.since + (effect.timeout or math.inf)
            if place.inside:
                break
            if now >= late_by or self._ended:
                place = None
            elif now >= idle_by:
                return None
            else:
                await self._wait(min(until_growth, late_by - now, idle_by - now))
                now = self._clock()
        if place is None:
            self.leave()
        return place is not None

    def leave(self, *, crowded: bool = False) -> None:
        """Give back the place, if there is one."""
        gate, place = self._gate, self._place
        self._gate = self._place = None
        if gate is not None and place is not None:
            gate.leave(place, self._clock(), crowded=crowded)

    def end(self) -> None:
        """Nobody waits any more: the process must end."""
        self._ended = True
        self._wake()

    async def _wait(self, seconds: float) -> None:
        self._alarm = anyio.Event()
        with anyio.move_on_after(seconds):
            await self._alarm.wait()

    def _wake(self) -> None:
        if self._alarm is not None:
            self._alarm.set()


class EventLoopWorld:
    """One flow's world on asyncio or trio.

    What the flow sends waits until it asks for something that takes time, so that a head leaves with its body, and the end of a
    stream with its last event.
    """

    __slots__ = ("_call", "_client", "_fetching", "_house", "_interrupted", "_waiting")

    def __init__(self, house: House, client: Client) -> None:
        self._house = house
        self._client = client
        self._call: Call | None = None
        self._fetching: Call | None = None
        self._interrupted = False
        self._waiting = Waiting(house.clock)

    @property
    def performers(self) -> AsyncPerformers:
        return _EVENT_LOOP

    async def release(self) -> None:
        try:
            if self._call is not None:
                await self._call.release()
        finally:
            self._waiting.leave()

    async def interrupt(self) -> None:
        """Fail whatever the flow has upstream, now and from now on, and let it wait for nothing: the process must end."""
        self._interrupted = True
        self._waiting.end()
        for call in (self._call, self._fetching):
            if call is not None:
                await call.interrupt()

    async def open(self, effect: Open) -> Head | None:
        await self._flush()
        if self._call is None:
            self._call = self._new_call()
        return await self._call.open(effect.request, effect.deadlines, effect.idle)

    async def wait(self, effect: Await) -> Head | None:
        await self._flush()
        return await self._opened().wait(effect.idle)

    async def read(self, effect: Read) -> bytes | None:
        call = self._opened()
        if not call.ready:
            await self._flush()
        return await call.read(effect.idle)

    async def start(self, effect: Start) -> None:
        self._client.start(effect.head)

    async def send(self, effect: Send) -> None:
        client = self._client
        client.write(effect.data)
        if client.pending >= PENDING_BYTES:
            await client.flush()

    async def fetch(self, effect: Fetch) -> tuple[Head, bytes]:
        await self._flush()
        self._fetching = call = self._new_call()
        try:
            return await call.whole(effect.request, effect.timeout)
        finally:
            await call.release()
            self._fetching = None

    async def load(self, effect: Load) -> bytes | None:
        return self._house.cache.load(effect.key)

    async def store(self, effect: Store) -> None:
        self._house.cache.store(effect.key, effect.value, effect.ttl)

    async def compute(self, effect: Compute[Any]) -> object:
        await self._flush()
        # A thread cannot be stopped. A client that leaves need not wait for it, but its place stays taken until it ends: else clients
        # who come and go could have any number of threads computing.
        run = partial(anyio.to_thread.run_sync, partial(effect.function, *effect.args), limiter=self._house.threads)
        return await Background(run).result()

    async def spawn(self, effect: Spawn) -> None:
        self._house.spawn(effect.flow)

    async def inspect(self, effect: Inspect) -> Vitals:
        return self._house.inspect()

    async def now(self, effect: Now) -> float:
        return self._house.clock()

    async def pause(self, effect: Pause) -> None:
        await self._flush()
        await self._waiting.pause(effect.seconds)

    async def enter(self, effect: Enter) -> bool | None:
        await self._flush()
        return await self._waiting.enter(effect)

    async def leave(self, effect: Leave) -> None:
        if self._call is not None:
            await self._call.release()
        self._waiting.leave(crowded=effect.crowded)

    async def _flush(self) -> None:
        if self._client.pending:
            await self._client.flush()

    def _new_call(self) -> Call:
        if self._interrupted:
            raise UpstreamFailed("the proxy is shutting down", code="draining", phase="connect")
        return self._house.upstream.call()

    def _opened(self) -> Call:
        if self._call is None:
            raise RuntimeError("asked for an answer without having opened one")
        return self._call


_EVENT_LOOP: Final[AsyncPerformers] = {
    Open: EventLoopWorld.open,
    Await: EventLoopWorld.wait,
    Read: EventLoopWorld.read,
    Start: EventLoopWorld.start,
    Send: EventLoopWorld.send,
    Fetch: EventLoopWorld.fetch,
    Load: EventLoopWorld.load,
    Store: EventLoopWorld.store,
    Compute: EventLoopWorld.compute,
    Spawn: EventLoopWorld.spawn,
    Inspect: EventLoopWorld.inspect,
    Now: EventLoopWorld.now,
    Pause: EventLoopWorld.pause,
    Enter: EventLoopWorld.enter,
    Leave: EventLoopWorld.leave,
}


@dataclass(slots=True)
class BlockingWorld:
    """One flow's world in a thread of its own, answering into ``head`` and ``body``.

    ``portal`` leads to an event loop in another thread (``anyio.from_thread.start_blocking_portal``) which does the waiting; the
    flow, what it computes and the cache stay in the calling thread. Spawned flows run in ``release``, one after the other. Worlds whose
    flows share a gateway share a portal: only its thread touches the gates.
    """

    portal: BlockingPortal
    upstream: Upstream
    cache: Cache
    vitals: Vitals
    head: Head | None = None
    body: bytearray = field(default_factory=bytearray)
    clock: Callable[[], float] = time.monotonic
    _call: Call | None = None
    _spawned: list[Flow[Any]] = field(default_factory=list)
    _waiting: Waiting | None = None  # once something was waited for

    @property
    def performers(self) -> Performers:
        return _BLOCKING

    def release(self) -> None:
        try:
            self.leave(Leave())
        finally:
            for flow in self._spawned:
                run(flow, BlockingWorld(self.portal, self.upstream, self.cache, self.vitals, clock=self.clock))

    def open(self, effect: Open) -> Head | None:
        if self._call is None:
            self._call = self.upstream.call()
        return self.portal.call(self._call.open, effect.request, effect.deadlines, effect.idle)

    def wait(self, effect: Await) -> Head | None:
        return self.portal.call(self._opened().wait, effect.idle)

    def read(self, effect: Read) -> bytes | None:
        return self.portal.call(self._opened().read, effect.idle)

    def start(self, effect: Start) -> None:
        self.head = effect.head

    def send(self, effect: Send) -> None:
        self.body += effect.data

    def fetch(self, effect: Fetch) -> tuple[Head, bytes]:
        return self.portal.call(self.upstream.fetch, effect.request, effect.timeout)

    def load(self, effect: Load) -> bytes | None:
        return self.cache.load(effect.key)

    def store(self, effect: Store) -> None:
        self.cache.store(effect.key, effect.value, effect.ttl)

    def compute(self, effect: Compute[Any]) -> object:
        return effect.function(*effect.args)

    def spawn(self, effect: Spawn) -> None:
        self._spawned.append(effect.flow)

    def inspect(self, effect: Inspect) -> Vitals:
        return self.vitals

    def now(self, effect: Now) -> float:
        return self.clock()

    def pause(self, effect: Pause) -> None:
        self.portal.call(self._waits().pause, effect.seconds)

    def enter(self, effect: Enter) -> bool | None:
        return self.portal.call(self._waits().enter, effect)

    def leave(self, effect: Leave) -> None:
        try:
            if self._call is not None:
                self.portal.call(self._call.release)
        finally:
            if self._waiting is not None:
                self.portal.call(partial(self._waiting.leave, crowded=effect.crowded))

    def _waits(self) -> Waiting:
        if self._waiting is None:
            self._waiting = Waiting(self.clock)
        return self._waiting

    def _opened(self) -> Call:
        if self._call is None:
            raise RuntimeError("asked for an answer without having opened one")
        return self._call


_BLOCKING: Final[Performers] = {
    Open: BlockingWorld.open,
    Await: BlockingWorld.wait,
    Read: BlockingWorld.read,
    Start: BlockingWorld.start,
    Send: BlockingWorld.send,
    Fetch: BlockingWorld.fetch,
    Load: BlockingWorld.load,
    Store: BlockingWorld.store,
    Compute: BlockingWorld.compute,
    Spawn: BlockingWorld.spawn,
    Inspect: BlockingWorld.inspect,
    Now: BlockingWorld.now,
    Pause: BlockingWorld.pause,
    Enter: BlockingWorld.enter,
    Leave: BlockingWorld.leave,
}
