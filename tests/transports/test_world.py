"""The blocking world over a real event loop and a real upstream, and the cache in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from core.effects import Await, Compute, Deadlines, Fetch, Flow, Head, Inspect, Load, Open, Read, Send, Spawn, Start, Store, Vitals
from core.errors import UpstreamFailed
from tests.transports.toys import CHUNKED, LAST_CHUNK, Clock, ToyUpstream, Visit, chunk, post, toy_upstream
from transports.drive import run
from transports.upstream import Census, Upstream
from transports.world import BlockingWorld, MemoryCache, Nobody

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

    def background() -> Flow[None]:
        head, body = yield from Fetch(post(toy.url, b"fetch"), 5)
        yield from Store(b"fetched", b"%d %s" % (head.status, body), 10.0)

    def flow() -> Flow[str]:
        assert (yield from Inspect()) is VITALS
        assert (yield from Load(b"fetched")) is None
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
        assert run(flow(), world) == "done"
        assert world.head == Head(200, ())
        assert world.body == b"answer to slow"
        assert world.cache.load(b"fetched") == b"200 answer to fetch"
        assert threads == [threading.get_ident()]
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
