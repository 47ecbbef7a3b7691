"""The short loop that performs a flow's effects: ``run`` in a thread, ``run_async`` in an event loop, ``abandon`` when the client left.

A *world* holds one performer per effect type. Both loops keep the protocol that ``core.effects`` states: upstream errors and
``ClientGone`` are thrown into the flow, anything else that a performer raises is a bug (or a cancellation) and leaves the loop.
Flows share the state of their gateway: ``run`` steps one at a time, whatever the number of threads, and an event loop does so anyway. A
gateway is used by threads with ``run`` or by one event loop, not by both.
Whoever runs a flow ends the client's answer afterwards: by then the result is safe, even if the client leaves over its last bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from core.effects import Effect, Flow
from core.errors import ClientGone, UpstreamError

T = TypeVar("T")

#: Effect type -> function of (world, effect) that returns the reply.
Performers: TypeAlias = Mapping[type[Effect[Any]], Callable[[Any, Any], Any]]
#: The same for an event loop: the functions return awaitables of the reply.
AsyncPerformers: TypeAlias = Mapping[type[Effect[Any]], Callable[[Any, Any], Awaitable[Any]]]

#: Held while a flow computes, not while its effects are performed. Python runs one thread at a time in any case.
_STEP: Final = threading.Lock()


class World(Protocol):
    """What ``run`` needs to perform effects."""

    @property
    def performers(self) -> Performers: ...

    def release(self) -> None:
        """Let go of what the flow has upstream. Called exactly once, last, whatever happened."""


class AsyncWorld(Protocol):
    """What ``run_async`` needs to perform effects; see ``World``."""

    @property
    def performers(self) -> AsyncPerformers: ...

    async def release(self) -> None: ...


def run(flow: Flow[T], world: World) -> T:
    """Perform ``flow``'s effects, blocking, and return its result.

    Raises ``RuntimeError`` when the flow asks for anything after ``ClientGone``, and whatever bug the flow or a performer has.
    """
    performers = world.performers
    try:
        with _STEP:
            effect = next(flow)
        while True:
            try:
                reply = performers[type(effect)](world, effect)
            except UpstreamError as error:
                with _STEP:
                    effect = flow.throw(error)
            except ClientGone as gone:
                with _STEP:
                    return abandon(flow, gone)
            else:
                with _STEP:
                    effect = flow.send(reply)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        world.release()


async def run_async(flow: Flow[T], world: AsyncWorld) -> T:
    """Perform ``flow``'s effects in an event loop and return its result; errors as for ``run``.

    A cancellation leaves the flow where it stands; whoever cancelled asks ``abandon`` for its result.
    """
    performers = world.performers
    try:
        effect = next(flow)
        while True:
            try:
                reply = await performers[type(effect)](world, effect)
            except UpstreamError as error:
                effect = flow.throw(error)
            except ClientGone as gone:
                return abandon(flow, gone)
            else:
                effect = flow.send(reply)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        await world.release()


def abandon(flow: Flow[T], gone: ClientGone) -> T:
    """Tell a suspended ``flow`` that its client has left, and return its result.

    Raises ``RuntimeError`` when the flow asks for anything more instead of returning.
    """
    try:
        effect = flow.throw(gone)
    except StopIteration as stop:
        result: T = stop.value
        return result
    flow.close()
    raise RuntimeError(f"the flow asked for {type(effect).__name__} after its client had gone")
