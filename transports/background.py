"""Work that goes on while nobody waits for it: a connection being opened between an ``Open`` and its ``Await``, a thread that computes."""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar, cast

import anyio

T = TypeVar("T")


class Background(Generic[T]):
    """``work``, started beside whoever made this: to be waited for as often as one likes, and to be ended with ``cancel`` or ``stop``.

    It has no task group, because it has no place for one: an effect may begin in one task and be asked for again in another, as in a
    thread's ``BlockingWorld``, where each is a task of its own, and a task group belongs to the task that opened it.
    """

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self._work = work
        self._scope = anyio.CancelScope()
        self._done = anyio.Event()
        self._value: T | None = None
        self._error: Exception | None = None
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            from trio.lowlevel import spawn_system_task  # noqa: PLC0415 - half of a start that may not need it

            spawn_system_task(self._run, name=self, context=contextvars.copy_context())
        else:
            self._task = loop.create_task(self._run())  # kept: the loop itself does not hold its tasks

    @property
    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._done.is_set()

    async def ended(self, by: float) -> bool:
        """Whether it has ended when it is ``by`` on anyio's clock. Raises what the work raised."""
        with anyio.CancelScope(deadline=by):
            await self._done.wait()
        if self._error is not None:
            raise self._error
        return self._done.is_set()

    async def result(self) -> T:
        """What the work returned. Whoever cancels the waiting cancels the work."""
        try:
            await self.ended(math.inf)
        finally:
            self.cancel()
        return cast(T, self._value)

    def cancel(self) -> None:
        """End the work where it can be ended. What it raises from now on is nobody's affair."""
        self._scope.cancel()

    async def stop(self) -> None:
        """Cancel the work and wait until it has let go of everything."""
        self.cancel()
        with anyio.CancelScope(shield=True):
            await self._done.wait()

    async def _run(self) -> None:
        try:
            with self._scope:
                self._value = await self._work()
        except Exception as error:  # noqa: BLE001 - the affair of whoever waits
            self._error = error
        finally:
            self._done.set()
