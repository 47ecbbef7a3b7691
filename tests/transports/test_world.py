"""The blocking world over a real event loop and a real upstream, waiting in both worlds, and the cache in memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import anyio
import anyio.to_thread
import pytest
from anyio.from_thread import start_blocking_portal

from core.effects import (
    Await,
    Compute,
    Deadlines,
    Enter,
    Fetch,
    Flow,
    Head,
    Inspect,
    Leave,
    Load,
    Now,
    Open,
    Pause,
    Read,
    Send,
    Spawn,
    Start,
    Store,
    Vitals,
)
from core.errors import ClientGone, UpstreamFailed
from core.traffic.gate import QUIET_SECONDS, Gate, Place
from tests.transports.toys import CHUNKED, LAST_CHUNK, Clock, ToyUpstream, Visit, chunk, post, toy_upstream
from transports.drive import Performers, run, run_async
from transports.upstream import Census, Upstream
from transports.world import BlockingWorld, EventLoopWorld, House, MemoryCache, Nobody

VITALS = Vitals("instance", 1.0)


@contextmanager
def blocking_world(backend: str) -> Iterator[tuple[BlockingWorld, ToyUpstream, Callable[[], None]]]:
    """A world in this thread, its event loop and the toy upstream in another. The third thing lets slow answers come."""

    async def slow(visit: Visit) -> None:
        while True:
            body = await visit.request()
            if body == b"slow":
                await heard.wait()
            await visit.send(CHUNKED + chunk(b"answer to ") + chunk(body) + LAST_CHUNK)

    with start_blocking_portal(backend) as portal, portal.wrap_async_context_manager(toy_upstream(slow)) as toy:
        heard = portal.call(anyio.Event)
        world = BlockingWorld(portal, Upstream(), MemoryCache(Clock()), VITALS)
        yield world, toy, lambda: portal.call(heard.set)
        portal.call(world.upstream.close)


def test_a_flow_runs_in_a_thread_with_every_effect_there_is(anyio_backend: str) -> None:
    threads: list[int] = []
    gate, inside = Gate(1), list[int]()

    def background() -> Flow[None]:
        head, body = yield from Fetch(post(toy.url, b"fetch"), 5)
        yield from Store(b"fetched", b"%d %s" % (head.status, body), 10.0)

    def flow() -> Flow[str]:
        assert (yield from Inspect()) is VITALS
        assert (yield from Load(b"fetched")) is None
        assert (yield from Now()) == 5.0
        yield from Pause(0.001)
        assert (yield from Enter(gate, "a")) is True
        yield from Compute(lambda: inside.append(gate.inside))
        yield from Leave()
        assert (yield from Enter(gate, "a")) is True
        yield from Spawn(background())
        yield from Compute(lambda: threads.append(threading.get_ident()))
        head = yield from Open(post(toy.url, b"slow"), Deadlines(), idle=0.005)
        silences = 0
        while head is None:
            silences += 1
            if silences == 2:
                hurry()
            head = yield from Await(idle=0.005)
        assert silences >= 2
        yield from Start(Head(head.status, ()))
        while data := (yield from Read(idle=5.0)):
            yield from Send(data)
        return "done"

    with blocking_world(anyio_backend) as (world, toy, hurry):
        world.clock = lambda: 5.0
        assert run(flow(), world) == "done"
        assert world.head == Head(200, ())
        assert world.body == b"answer to slow"
        assert world.cache.load(b"fetched") == b"200 answer to fetch"
        assert threads == [threading.get_ident()]
        assert (inside, gate.inside) == ([1], 0)
        assert world.upstream.census == Census(busy=0, idle=1, waiting=0)


def test_upstream_errors_reach_a_flow_in_a_thread(anyio_backend: str) -> None:
    def flow() -> Flow[str]:
        try:
            yield from Open(post("http://127.0.0.1:1/"), Deadlines())
        except UpstreamFailed as error:
            return str(error)
        return ""

    with blocking_world(anyio_backend) as (world, _, _):
        assert run(flow(), world) == "the upstream: connection refused"


@pytest.mark.parametrize("effect", [Await(), Read()])
def test_asking_for_an_answer_that_was_not_opened_is_a_bug(effect: Await | Read) -> None:
    def flow() -> Flow[None]:
        yield from effect

    with start_blocking_portal() as portal:
        world = BlockingWorld(portal, Upstream(), MemoryCache(Clock()), VITALS)
        with pytest.raises(RuntimeError, match="without having opened one"):
            run(flow(), world)


def test_a_background_flow_has_nobody_to_answer() -> None:
    with pytest.raises(RuntimeError, match="no client to answer with status 200"):
        Nobody().start(Head(200, ()))
    with pytest.raises(RuntimeError, match="no client to send 1 bytes to"):
        Nobody().write(b"x")


# ------------------------------------------------------------------------------------------------------------ waiting


def take(gate: Gate) -> Place:
    """A place for somebody else."""
    place = gate.join("other", time.monotonic(), lambda: None)
    assert place is not None
    return place


def house() -> House:
    return House(Upstream(), MemoryCache(Clock()), lambda flow: None, lambda: VITALS)


def event_loop_world() -> EventLoopWorld:
    return EventLoopWorld(house(), Nobody())


def entering(gate: Gate, timeout: float = 0.0) -> Flow[bool | None]:
    return (yield from Enter(gate, "a", timeout))


@pytest.mark.anyio
async def test_a_flow_waits_until_a_place_is_left() -> None:
    gate = Gate(1)
    place, results = take(gate), list[object]()

    async def go() -> None:
        results.append(await run_async(entering(gate), event_loop_world()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go)
        await anyio.wait_all_tasks_blocked()
        assert (results, gate.waiting) == ([], 1)
        gate.leave(place, time.monotonic())
    assert (results, gate.inside, gate.waiting) == ([True], 0, 0)


@pytest.mark.anyio
async def test_a_flow_that_waits_too_long_is_refused() -> None:
    gate = Gate(1)
    take(gate)
    assert await run_async(entering(gate, timeout=0.005), event_loop_world()) is False
    assert (gate.inside, gate.waiting) == (1, 0)


@pytest.mark.anyio
async def test_a_full_line_refuses_a_flow_which_may_ask_again() -> None:
    gate = Gate(1, line=0)
    place = take(gate)

    def flow() -> Flow[list[bool | None]]:
        first = yield from Enter(gate, "a")
        yield from Compute(lambda: gate.leave(place, 0.0))
        return [first, (yield from Enter(gate, "a"))]

    assert await run_async(flow(), event_loop_world()) == [False, True]
    assert gate.inside == 0


@pytest.mark.anyio
async def test_a_flow_that_is_told_of_silence_keeps_its_place_in_line() -> None:
    gate = Gate(1)
    place, later = take(gate), list[Place]()

    def flow() -> Flow[list[object]]:
        replies: list[object] = []
        replies.append((yield from Enter(gate, "a", idle=0.001)))
        yield from Compute(lambda: later.append(take(gate)))
        replies.append((yield from Enter(gate, "a", idle=0.001)))
        yield from Compute(lambda: gate.leave(place, 0.0))
        replies.append((yield from Enter(gate, "a", idle=0.001)))
        replies.append((yield from Enter(gate, "a")))
        yield from Compute(lambda: replies.append((gate.inside, later[0].inside)))
        return replies

    assert await run_async(flow(), event_loop_world()) == [None, None, True, True, (1, False)]
    assert later[0].inside


@pytest.mark.anyio
async def test_time_alone_lets_a_flow_into_a_gate_that_has_learned() -> None:
    gate = Gate("auto")
    take(gate)
    gate.leave(take(gate), time.monotonic(), crowded=True)
    gate.quiet_since -= QUIET_SECONDS - 0.01
    assert await run_async(entering(gate), event_loop_world()) is True
    assert gate.learned == 2


@pytest.mark.anyio
async def test_a_flow_has_one_place() -> None:
    first, second, seen = Gate(1), Gate(1), list[tuple[int, int]]()

    def flow() -> Flow[None]:
        for effect in (Leave(), Enter(first, "a"), Enter(second, "a"), Leave()):
            yield from effect
            yield from Compute(lambda: seen.append((first.inside, second.inside)))

    await run_async(flow(), event_loop_world())
    assert seen == [(0, 0), (1, 0), (0, 1), (0, 0)]


@pytest.mark.anyio
async def test_a_gate_learns_what_a_flow_tells_it() -> None:
    gate = Gate("auto")
    take(gate)

    def flow() -> Flow[None]:
        yield from Enter(gate, "a")
        yield from Leave(crowded=True)

    await run_async(flow(), event_loop_world())
    assert (gate.learned, gate.inside) == (1, 1)


@pytest.mark.anyio
@pytest.mark.parametrize("was_let_in", [False, True])
async def test_a_flow_that_is_cancelled_in_line_leaves_it(*, was_let_in: bool) -> None:
    gate = Gate(1)
    place = take(gate)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_async, entering(gate), event_loop_world())
        await anyio.wait_all_tasks_blocked()
        if was_let_in:
            gate.leave(place, time.monotonic())
            assert gate.inside == 1
        tasks.cancel_scope.cancel()
    assert (gate.inside, gate.waiting) == (int(not was_let_in), 0)


@pytest.mark.anyio
async def test_the_place_is_given_back_after_the_upstream_answer() -> None:
    gate, world, seen = Gate(1), event_loop_world(), list[int]()

    class Answer:
        async def release(self) -> None:
            seen.append(gate.inside)
            if len(seen) == 2:
                raise ZeroDivisionError

    def flow(*more: Leave) -> Flow[None]:
        yield from Enter(gate, "a")
        for effect in more:
            yield from effect

    world._call = Answer()  # type: ignore[assignment]
    await run_async(flow(), world)
    assert (seen, gate.inside) == ([1], 0)
    with pytest.raises(ZeroDivisionError):
        await run_async(flow(), world)
    assert (seen, gate.inside) == ([1, 1], 0)
    await run_async(flow(Leave()), world)
    assert seen == [1, 1, 1, 0]


@pytest.mark.anyio
async def test_nobody_waits_when_the_process_must_end() -> None:
    gate, results = Gate(1), list[object]()
    take(gate)
    worlds = [event_loop_world() for _ in range(2)]

    def pausing() -> Flow[str]:
        yield from Pause(1000.0)
        yield from Pause(1000.0)
        return "went on"

    async def go(flow: Flow[object], world: EventLoopWorld) -> None:
        results.append(await run_async(flow, world))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(go, entering(gate), worlds[0])
            tasks.start_soon(go, pausing(), worlds[1])
            await anyio.wait_all_tasks_blocked()
            for world in worlds:
                await world.interrupt()
    assert (set(results), gate.waiting) == ({False, "went on"}, 0)


@pytest.mark.anyio
@pytest.mark.parametrize("effect", [Pause(0.0), Enter(Gate(), "a")])
async def test_what_was_sent_leaves_before_anything_is_waited_for(effect: Pause | Enter) -> None:
    class Client:
        def __init__(self) -> None:
            self.pending = 5

        def start(self, head: Head) -> None: ...

        def write(self, data: bytes) -> None: ...

        async def flush(self) -> None:
            self.pending = 0

    def flow() -> Flow[None]:
        yield from effect

    client = Client()
    await run_async(flow(), EventLoopWorld(house(), client))
    assert client.pending == 0


@pytest.mark.anyio
async def test_the_clock_is_that_of_the_house() -> None:
    def flow() -> Flow[float]:
        return (yield from Now())

    clock = Clock()
    world = EventLoopWorld(House(Upstream(), MemoryCache(clock), lambda flow: None, lambda: VITALS, clock), Nobody())
    assert await run_async(flow(), world) == clock.now


def test_flows_in_threads_wait_at_one_gate(anyio_backend: str) -> None:
    gate, most = Gate(2), list[int]()

    def flow() -> Flow[bool | None]:
        entered = yield from Enter(gate, "a")
        yield from Pause(0.001)
        most.append(gate.inside)
        return entered

    results: list[bool | None] = []
    with start_blocking_portal(anyio_backend) as portal:
        upstream, cache = Upstream(), MemoryCache(Clock())

        def go() -> None:
            results.extend(run(flow(), BlockingWorld(portal, upstream, cache, VITALS)) for _ in range(5))

        threads = [threading.Thread(target=go) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [True] * 30
    assert 1 <= max(most) <= 2
    assert (gate.inside, gate.waiting) == (0, 0)


def test_a_place_is_given_back_when_a_client_leaves_a_flow_in_a_thread() -> None:
    gate = Gate(1)

    class Leaving(BlockingWorld):
        @property
        def performers(self) -> Performers:
            return {**super().performers, Send: gone}

    def gone(world: object, effect: object) -> object:
        raise ClientGone

    def flow() -> Flow[str]:
        yield from Enter(gate, "a")
        try:
            yield from Send(b"x")
        except ClientGone:
            return "gone"
        return ""

    with start_blocking_portal() as portal:
        assert run(flow(), Leaving(portal, Upstream(), MemoryCache(Clock()), VITALS)) == "gone"
    assert gate.inside == 0


# ---------------------------------------------------------------------------------------------------------- computing


@pytest.mark.anyio
async def test_no_more_is_computed_at_once_than_there_are_threads_for_even_when_clients_leave() -> None:
    entered, finish = threading.Semaphore(0), threading.Event()
    begun: list[int] = []
    one = replace(house(), threads=anyio.CapacityLimiter(2))

    def heavy(number: int) -> int:
        begun.append(number)
        entered.release()
        assert finish.wait(10)
        return number

    def flow(number: int) -> Flow[int]:
        return (yield from Compute(heavy, (number,)))

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(run_async, flow(number), EventLoopWorld(one, Nobody()))
        for _ in range(2):
            await anyio.to_thread.run_sync(entered.acquire)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    try:
        assert one.threads.borrowed_tokens == 2  # nobody waits for them any more, but they compute
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_async, flow(5), EventLoopWorld(one, Nobody()))
            await anyio.wait_all_tasks_blocked()
            assert len(begun) == 2
            finish.set()
    finally:
        finish.set()
    assert (max(begun), len(begun)) == (5, 3)  # those in line have left it


@pytest.mark.anyio
async def test_one_processor_is_left_to_the_event_loop() -> None:
    assert house().threads.total_tokens == max(1, (os.cpu_count() or 1) - 1)


@pytest.mark.anyio
async def test_what_is_computed_may_fail() -> None:
    def flow() -> Flow[float]:
        return (yield from Compute(lambda: 1 / 0))

    with pytest.raises(ZeroDivisionError):
        await run_async(flow(), event_loop_world())


# -------------------------------------------------------------------------------------------------------------- cache


def test_what_was_stored_is_found_until_its_time_is_over() -> None:
    clock = Clock()
    cache = MemoryCache(clock)
    cache.store(b"for good", b"1", None)
    cache.store(b"for a while", b"2", 10.0)
    clock.now += 9.9
    assert (cache.load(b"for good"), cache.load(b"for a while"), cache.load(b"never")) == (b"1", b"2", None)
    clock.now += 0.1
    assert (cache.load(b"for good"), cache.load(b"for a while")) == (b"1", None)


def test_a_newer_value_takes_the_place_of_the_older() -> None:
    cache = MemoryCache(Clock())
    cache.store(b"k", b"old", 1.0)
    cache.store(b"k", b"new", None)
    assert cache.load(b"k") == b"new"


def test_when_there_is_no_room_the_least_recently_used_leave() -> None:
    cache = MemoryCache(Clock(), max_bytes=30)
    for key in (b"a", b"b", b"c"):
        cache.store(key, b"123456789", None)
    assert cache.load(b"a") is not None
    cache.store(b"d", b"123456789", None)
    assert [cache.load(key) is not None for key in (b"a", b"b", b"c", b"d")] == [True, False, True, True]
    cache.store(b"big", b"x" * 31, None)
    assert [cache.load(key) is not None for key in (b"a", b"c", b"d", b"big")] == [False] * 4
    cache.store(b"e", b"123456789", None)
    assert cache.load(b"e") is not None
