"""Probes: what counts as reached, how fast an upstream with two addresses is, who is the fastest."""

from __future__ import annotations

import socket

import anyio
import pytest

from core.effects import Head, UpstreamRequest
from core.errors import UpstreamFailed, UpstreamTimeout
from tests.transports.toys import Clock, Visit, toy_upstream
from transports.probing import Probe, fastest, fetcher, probe
from transports.upstream import Proxies

pytestmark = pytest.mark.anyio


class World:
    """Upstreams that answer after the seconds in ``delays`` (by URL), or fail as it says."""

    def __init__(self, **delays: float | Exception) -> None:
        self.delays = {f"http://{name}": delay for name, delay in delays.items()}
        self.clock = Clock()
        self.asked: list[UpstreamRequest] = []

    async def fetch(self, request: UpstreamRequest, timeout: float) -> tuple[Head, bytes]:
        assert timeout == 10.0
        self.asked.append(request)
        delay = self.delays[request.url.rsplit("/", 1)[0]]
        if isinstance(delay, Exception):
            raise delay
        self.clock.now += delay
        return Head(404, ()), b""


async def test_any_answer_counts_as_reached_and_no_credential_is_sent() -> None:
    world = World(one=0.5)
    assert await probe({"a": ["http://one/x"]}, world.fetch, world.clock) == [Probe("a", 0.5)]
    assert [(request.method, request.headers, request.body) for request in world.asked] == [("GET", ((b"accept", b"*/*"),), b"")]


async def test_two_bases_on_one_host_are_asked_once() -> None:
    world = World(one=0.5)
    await probe({"a": ["http://one/x", "http://one/y"]}, world.fetch, world.clock)
    assert [request.url for request in world.asked] == ["http://one/x"]


async def test_an_upstream_is_not_reached_when_one_of_its_hosts_is_not() -> None:
    world = World(one=0.5, two=UpstreamFailed("the upstream: connection refused", phase="connect"))
    assert await probe({"a": ["http://one/x", "http://two/x"]}, world.fetch, world.clock) == [Probe("a", None, "connection refused")]


async def test_an_upstream_is_as_slow_as_its_slowest_host() -> None:
    world = World(one=0.0, two=2.0)
    found = await probe({"a": ["http://one/x", "http://two/x"]}, world.fetch, world.clock)
    assert found == [Probe("a", 2.0)]


async def test_answers_come_in_the_order_of_the_question() -> None:
    world = World(one=0.0, two=UpstreamTimeout("the upstream: no connection within 10 s", phase="connect"), three=0.0)
    found = await probe({name: [f"http://{name}/x"] for name in ("three", "two", "one")}, world.fetch, world.clock)
    assert found == [Probe("three", 0.0), Probe("two", None, "no connection within 10 s"), Probe("one", 0.0)]


async def test_all_are_asked_at_once() -> None:
    waiting = 0
    everyone = anyio.Event()

    async def fetch(request: UpstreamRequest, timeout: float) -> tuple[Head, bytes]:
        nonlocal waiting
        waiting += 1
        if waiting == 3:
            everyone.set()
        await everyone.wait()
        return Head(200, ()), b""

    with anyio.fail_after(5):
        found = await probe({name: [f"http://{name}"] for name in "abc"}, fetch)
    assert all(one.reached for one in found)


@pytest.mark.parametrize(
    ("probes", "name"),
    [
        ([Probe("a", 0.2), Probe("b", 0.1)], "b"),
        ([Probe("a", None, "x"), Probe("b", 9.0)], "b"),
        ([Probe("b", 0.1), Probe("a", 0.1)], "b"),
        ([Probe("a", None, "x")], None),
        ([], None),
    ],
)
def test_the_fastest(probes: list[Probe], name: str | None) -> None:
    assert fastest(probes) == name


async def test_over_real_sockets_every_probe_makes_its_own_connection() -> None:
    async def answer(visit: Visit) -> None:
        await visit.request()
        await visit.answer(b"nothing here")
        await visit.left()

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        async with toy_upstream(answer) as upstream:
            fetch = fetcher(Proxies())
            for visits in (1, 2):
                here, there = await probe({"here": [upstream.url + "/api"], "there": [closed]}, fetch)
                assert len(upstream.visits) == visits
                assert here.reached
                assert there == Probe("there", None, "connection refused")
        assert upstream.requests[0].startswith(b"GET /api HTTP/1.1\r\n")
