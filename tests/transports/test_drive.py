"""The loop between a flow and its world, and that every world performs every effect."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from core.effects import EFFECTS, Effect, Flow, Load, Read, Send
from core.errors import ClientGone, UpstreamFailed
from transports.drive import AsyncPerformers, Performers, abandon, run, run_async
from transports.world import BlockingWorld, EventLoopWorld

pytestmark = pytest.mark.anyio

Reply = Callable[[Effect[Any]], Any]


class Scripted:
    """A world in which ``reply`` answers every effect; it notes what was asked, and the release."""

    def __init__(self, reply: Reply) -> None:
        self.asked: list[object] = []
        self._reply = reply

    @property
    def performers(self) -> Performers:
        return dict.fromkeys(EFFECTS, Scripted._perform)

    def _perform(self, effect: Effect[Any]) -> object:
        self.asked.append(effect)
        return self._reply(effect)

    def release(self) -> None:
        self.asked.append("release")


class ScriptedAsync(Scripted):
    @property
    def performers(self) -> AsyncPerformers:
        return dict.fromkeys(EFFECTS, ScriptedAsync._perform_async)

    async def _perform_async(self, effect: Effect[Any]) -> object:
        await anyio.lowlevel.checkpoint()
        return self._perform(effect)

    async def release(self) -> None:  # type: ignore[override]
        super().release()


Driver = Callable[[Flow[Any], Reply], Awaitable[tuple[Any, list[object]]]]


async def blocking(flow: Flow[Any], reply: Reply) -> tuple[Any, list[object]]:
    world = Scripted(reply)
    try:
        return run(flow, world), world.asked
    finally:
        assert world.asked[-1] == "release"


async def in_a_loop(flow: Flow[Any], reply: Reply) -> tuple[Any, list[object]]:
    world = ScriptedAsync(reply)
    try:
        return await run_async(flow, world), world.asked
    finally:
        assert world.asked[-1] == "release"


DRIVERS = pytest.mark.parametrize("drive", [blocking, in_a_loop])


def failing(error: Exception) -> Reply:
    def reply(effect: Effect[Any]) -> object:
        if isinstance(effect, Read):
            raise error
        return None

    return reply


@DRIVERS
async def test_effects_are_performed_in_order_and_their_replies_come_back(drive: Driver) -> None:
    def flow() -> Flow[list[object]]:
        return [(yield from Load(b"a")), (yield from Load(b"b"))]

    def reply(effect: Effect[Any]) -> object:
        assert isinstance(effect, Load)
        return effect.key * 2

    assert await drive(flow(), reply) == ([b"aa", b"bb"], [Load(b"a"), Load(b"b"), "release"])


@DRIVERS
async def test_a_flow_may_ask_for_nothing(drive: Driver) -> None:
    def flow() -> Flow[str]:
        return "done"
        yield from Load(b"never")

    assert await drive(flow(), lambda effect: None) == ("done", ["release"])


@DRIVERS
async def test_an_upstream_error_is_thrown_into_the_flow_which_may_go_on(drive: Driver) -> None:
    def flow() -> Flow[str]:
        try:
            yield from Read()
        except UpstreamFailed as error:
            yield from Send(str(error).encode())
        return "went on"

    result, asked = await drive(flow(), failing(UpstreamFailed("cut")))
    assert (result, asked) == ("went on", [Read(), Send(b"cut"), "release"])


@DRIVERS
async def test_an_upstream_error_that_the_flow_does_not_expect_leaves_the_loop(drive: Driver) -> None:
    def flow() -> Flow[None]:
        yield from Read()

    with pytest.raises(UpstreamFailed, match="cut"):
        await drive(flow(), failing(UpstreamFailed("cut")))


@DRIVERS
async def test_when_the_client_has_gone_the_flow_still_gives_its_result(drive: Driver) -> None:
    def flow() -> Flow[str]:
        try:
            yield from Read()
        except ClientGone:
            return "gone"
        return "not gone"

    assert (await drive(flow(), failing(ClientGone())))[0] == "gone"


@DRIVERS
async def test_asking_for_more_after_the_client_has_gone_is_a_bug(drive: Driver) -> None:
    def flow() -> Flow[None]:
        try:
            yield from Read()
        except ClientGone:
            yield from Send(b"x")

    with pytest.raises(RuntimeError, match="asked for Send after its client had gone"):
        await drive(flow(), failing(ClientGone()))


@DRIVERS
async def test_a_bug_in_a_performer_is_not_thrown_into_the_flow(drive: Driver) -> None:
    def flow() -> Flow[str]:
        try:
            yield from Read()
        except ZeroDivisionError:
            return "swallowed"
        return ""

    with pytest.raises(ZeroDivisionError):
        await drive(flow(), failing(ZeroDivisionError()))


def test_flows_in_several_threads_are_stepped_one_at_a_time() -> None:
    at_once: list[object] = []
    seen: set[int] = set()
    together = threading.Barrier(6, timeout=10)

    def step() -> None:
        at_once.append(None)
        for _ in range(20):
            time.sleep(0)  # lets the others run
            seen.add(len(at_once))
        at_once.pop()

    def flow() -> Flow[None]:
        step()
        yield from Load(b"a")
        step()
        try:
            yield from Read()
        except UpstreamFailed:
            step()
        try:
            yield from Send(b"b")
        except ClientGone:
            step()

    def reply(effect: Effect[Any]) -> object:
        together.wait()
        if isinstance(effect, Load):
            return None
        raise UpstreamFailed("cut") if isinstance(effect, Read) else ClientGone

    threads = [threading.Thread(target=run, args=(flow(), Scripted(reply))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {1}


async def test_a_cancelled_flow_stands_where_it_was_until_it_is_abandoned() -> None:
    def flow() -> Flow[str]:
        try:
            yield from Read()
        except ClientGone as gone:
            return f"gone: {gone}"
        return ""

    class Endless(ScriptedAsync):
        async def _perform_async(self, effect: Effect[Any]) -> object:
            await anyio.sleep_forever()
            return None

        @property
        def performers(self) -> AsyncPerformers:
            return dict.fromkeys(EFFECTS, Endless._perform_async)

    running, world = flow(), Endless(lambda effect: None)
    with anyio.move_on_after(0.01):
        await run_async(running, world)
    assert world.asked == ["release"]
    assert abandon(running, ClientGone("it left")) == "gone: it left"


@pytest.mark.parametrize("world", [EventLoopWorld, BlockingWorld])
def test_a_world_performs_every_effect_and_no_other(world: type[Any]) -> None:
    performers = world.performers.fget(None)
    assert performers.keys() == set(EFFECTS)
    assert len(set(performers.values())) == len(EFFECTS)
