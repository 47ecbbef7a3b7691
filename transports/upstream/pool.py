"""Connections to one origin: the idle ones on a stack, a cap on all, a queue when the cap is reached.

Last in, first out, so that a burst's extra connections grow old at the bottom and are closed while a few warm ones do the work.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from transports.upstream.dial import Link


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Per origin."""

    total: int = 100  # connections at once; more requests wait, first come, first served. 0: no cap
    idle: int = 15  # kept open without work
    keepalive_seconds: float = 30.0  # ... and for how long: below the 60 s after which common load balancers hang up


@dataclass(frozen=True, slots=True)
class Census:
    """How many connections there are, and how many requests wait for one."""

    busy: int
    idle: int
    waiting: int


class _Waiter:
    """A request in the queue. Served, it owns a slot, and with ``link`` a connection as well."""

    __slots__ = ("event", "link", "served")

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.served = False
        self.link: Link | None = None


class Pool:
    """See the module. ``connect`` opens a connection; its errors go to whoever asked for one."""

    def __init__(self, connect: Callable[[], Awaitable[Link]], limits: PoolLimits) -> None:
        self._connect = connect
        self._limits = limits
        self._idle: list[Link] = []
        self._busy = 0
        self._waiting: deque[_Waiter] = deque()

    @property
    def census(self) -> Census:
        return Census(self._busy, len(self._idle), len(self._waiting))

    def take_idle(self) -> Link | None:
        """The connection that was used last, unless it has grown too old or ended meanwhile. To be handed back as one from ``take``."""
        if not self._idle or self._idle[-1].connection.has_expired():
            return None
        link = self._idle.pop()
        self._busy += 1
        link.uses += 1
        return link

    async def take(self, *, fresh: bool = False) -> Link:
        """A connection for one request, to be handed back with ``give`` or ``drop``. ``fresh``: one that was never used.

        Raises what ``connect`` raises. Nothing is held when this fails or is cancelled.
        """
        while self._idle and not fresh:
            link = self.take_idle()
            if link is not None:
                return link
            self._busy += 1  # before closing lets others run
            await self.drop(self._idle.pop())
        waited = await self._slot()
        if waited is not None and not (fresh or waited.connection.has_expired()):
            waited.uses += 1
            return waited
        try:
            if waited is not None:
                await waited.close()
            link = await self._connect()
        except BaseException:
            self._pass_on(None)
            raise
        link.uses += 1
        return link

    async def give(self, link: Link) -> None:
        """Back from a request, ready for the next."""
        surplus = None
        if not self._waiting and len(self._idle) >= self._limits.idle:
            surplus = self._idle.pop(0) if self._idle else link
        if surplus is link:
            await self.drop(link)
            return
        self._pass_on(link)
        if surplus is not None:
            await surplus.close()

    async def drop(self, link: Link) -> None:
        """Back from a request, of no use any more."""
        try:
            await link.close()
        finally:
            self._pass_on(None)

    async def prune(self) -> None:
        """Close idle connections that are too old or that the server has closed."""
        expired = [link for link in self._idle if link.connection.has_expired()]
        self._idle = [link for link in self._idle if link not in expired]
        for link in expired:
            await link.close()

    async def close(self) -> None:
        """Close the idle connections."""
        idle, self._idle = self._idle, []
        for link in idle:
            await link.close()

    async def _slot(self) -> Link | None:
        """The right to one connection, perhaps with a connection that was just handed back."""
        if not self._limits.total or self._busy + len(self._idle) < self._limits.total:
            self._busy += 1
            return None
        if self._idle:  # a fresh one was asked for: it takes the place of the oldest idle one
            self._busy += 1
            return self._idle.pop(0)
        waiter = _Waiter()
        self._waiting.append(waiter)
        try:
            await waiter.event.wait()
        except BaseException:
            if waiter.served:
                self._pass_on(waiter.link)
            else:
                self._waiting.remove(waiter)
            raise
        return waiter.link

    def _pass_on(self, link: Link | None) -> None:
        """A slot is free, with or without a connection: for the first in the queue, else for nobody."""
        if self._waiting:
            waiter = self._waiting.popleft()
            waiter.served, waiter.link = True, link
            waiter.event.set()
            return
        self._busy -= 1
        if link is not None:
            self._idle.append(link)
