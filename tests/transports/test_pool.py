"""Connections kept and shared: reuse, age, dead ones, the cap and its queue, and what cancellation leaves behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import anyio
import pytest

from core.effects import Deadlines
from core.errors import UpstreamFailed
from tests.transports.toys import CHUNKED, LAST_CHUNK, LOOPS, ToyUpstream, Visit, chunk, echo, plain, post, toy_upstream, until, upstream
from transports.upstream import Census, PoolLimits, Upstream
from transports.upstream.conversation import Socket

pytestmark = pytest.mark.anyio

EMPTY = Census(0, 0, 0)


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


async def ask(client: Upstream, toy: ToyUpstream, text: bytes = b"x") -> bytes:
    return (await client.fetch(post(toy.url, text), 5))[1]


@asynccontextmanager
async def both(limits: PoolLimits) -> AsyncIterator[tuple[ToyUpstream, Upstream]]:
    async with toy_upstream() as toy, upstream(limits) as client:
        yield toy, client


async def test_a_connection_is_used_again() -> None:
    async with both(PoolLimits()) as (toy, client):
        for text in (b"one", b"two", b"three"):
            assert await ask(client, toy, text) == text
        assert len(toy.visits) == 1
        assert client.census == Census(busy=0, idle=1, waiting=0)


async def test_a_connection_that_is_too_old_is_not_used_again() -> None:
    async with both(PoolLimits(keepalive_seconds=0)) as (toy, client):
        await ask(client, toy)
        await ask(client, toy)
        assert len(toy.visits) == 2
        await client.prune()
        assert client.census == EMPTY


async def test_pruning_keeps_what_is_fresh() -> None:
    async with both(PoolLimits()) as (toy, client):
        await ask(client, toy)
        await client.prune()
        assert client.census == Census(0, 1, 0)


async def test_a_connection_that_the_server_closed_is_noticed_before_it_is_used() -> None:
    closed = anyio.Event()

    async def once(visit: Visit) -> None:
        await visit.answer(await visit.request())
        await visit.stream.aclose()
        closed.set()

    async with toy_upstream(once) as toy, upstream() as client:
        for _ in range(3):
            assert await ask(client, toy, b"x") == b"x"
            await closed.wait()
            closed = anyio.Event()
        assert len(toy.requests) == 3


async def test_a_connection_that_was_reset_is_noticed_before_it_is_used() -> None:
    gone = anyio.Event()

    async def once(visit: Visit) -> None:
        await visit.answer(await visit.request())
        await visit.reset()
        gone.set()

    async with toy_upstream(once) as toy, upstream(PoolLimits(total=1)) as client:
        for number in range(3):
            assert await ask(client, toy, b"x") == b"x"
            await gone.wait()
            gone = anyio.Event()
            if number == 1:
                await client.prune()
                assert client.census == EMPTY
        assert len(toy.requests) == 3


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("size", [1, 300_000])
async def test_a_request_that_was_written_is_not_sent_again(*, reset: bool, size: int) -> None:
    """It may be at work, and cost money; nobody here can know."""

    async def die_over_the_second(visit: Visit) -> None:
        await visit.answer(await visit.request())
        await visit.request()
        if reset:
            await visit.reset()

    async with toy_upstream(die_over_the_second) as toy, upstream() as client:
        await ask(client, toy)
        with pytest.raises(UpstreamFailed) as caught:
            await ask(client, toy, b"x" * size)
        assert caught.value.phase == "head"
        assert [len(visit.requests) for visit in toy.visits] == [2]
        assert client.census == EMPTY


async def cut_off(visit: Visit) -> None:
    """Die over the first part of a request."""
    await visit.stream.receive(10)
    await visit.reset()


@pytest.mark.parametrize("idle", [None, 5.0])
async def test_a_request_that_could_not_be_written_whole_is_sent_again_on_a_fresh_connection(idle: float | None) -> None:
    async def script(visit: Visit) -> None:
        if visit.number == 1:
            await visit.answer(await visit.request())
            await cut_off(visit)
        else:
            await echo(visit)

    async with toy_upstream(script) as toy, upstream() as client:
        await ask(client, toy)
        call = client.call()
        assert await call.open(post(toy.url, b"x" * 20_000_000), Deadlines(), idle) is not None
        assert [len(visit.requests) for visit in toy.visits] == [1, 1]
        await call.release()


async def test_it_is_sent_again_on_one_that_was_never_used_although_another_is_idle() -> None:
    async def script(visit: Visit) -> None:
        await (cut_off if visit.number < 3 else echo)(visit)

    async with toy_upstream(script) as toy, upstream() as client:
        pool = client.pool_of(toy.url)
        for link in [await pool.take() for _ in range(2)]:
            await pool.give(link)
        assert len(await ask(client, toy, b"x" * 10_000_000)) == 10_000_000
        assert (len(toy.visits), client.census) == (3, Census(busy=0, idle=2, waiting=0))


async def test_it_is_sent_again_only_once() -> None:
    async def script(visit: Visit) -> None:
        if visit.number == 1:
            await visit.answer(await visit.request())
        await cut_off(visit)

    async with toy_upstream(script) as toy, upstream() as client:
        await ask(client, toy)
        with pytest.raises(UpstreamFailed):
            await ask(client, toy, b"x" * 20_000_000)
        assert len(toy.visits) == 2
        assert client.census == EMPTY


async def test_nothing_is_sent_after_the_last_byte_of_a_request() -> None:
    """What failed then would look as if the request had not been sent whole."""
    sent: list[bytes] = []

    class Stream:
        async def send(self, data: bytes) -> None:
            sent.append(data)

    socket = Socket(Stream())  # type: ignore[arg-type]
    for piece in (b"head", b"x" * 100_000, b""):
        await socket.write(piece)
    assert await socket.flush()
    assert [len(piece) for piece in sent] == [4, 100_000]


async def test_it_is_not_sent_again_on_a_connection_that_was_new() -> None:
    async def hang_up(visit: Visit) -> None:
        await visit.request()

    async with toy_upstream(hang_up) as toy, upstream() as client:
        with pytest.raises(UpstreamFailed):
            await ask(client, toy)
        assert len(toy.requests) == 1


async def test_it_is_not_sent_again_when_an_answer_had_begun() -> None:
    async def begin(visit: Visit) -> None:
        await visit.answer(await visit.request())
        await visit.request()
        await visit.send(b"HTTP/1.1 2")

    async with toy_upstream(begin) as toy, upstream() as client:
        await ask(client, toy)
        with pytest.raises(UpstreamFailed):
            await ask(client, toy)
        assert len(toy.requests) == 2


@pytest.mark.parametrize("poison", [plain(b"poison"), plain(b"poison")[:-3], CHUNKED])
async def test_an_answer_that_nobody_asked_for_is_never_taken_for_one(poison: bytes) -> None:
    async def generous(visit: Visit) -> None:
        await visit.send(plain(await visit.request()) + (poison if visit.number == 1 else b""))
        await visit.left()

    async with toy_upstream(generous) as toy, upstream() as client:
        assert await ask(client, toy, b"one") == b"one"
        assert await ask(client, toy, b"two") == b"two"
        assert [len(visit.requests) for visit in toy.visits] == [1, 1]
        assert client.census == Census(0, 1, 0)


async def test_the_last_chunk_that_a_reader_of_events_leaves_unread_is_taken_to_save_the_connection() -> None:
    done = anyio.Event()

    async def stream(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED + chunk(b"data: [DONE]\n\n"))
        await done.wait()
        await visit.send(LAST_CHUNK)
        sent.set()
        await visit.left()

    sent = anyio.Event()
    async with toy_upstream(stream) as toy, upstream() as client:
        call = client.call()
        await call.open(post(toy.url), Deadlines())
        assert await call.read() == b"data: [DONE]\n\n"
        done.set()
        await sent.wait()
        await call.release()
        assert client.census == Census(0, 1, 0)


async def test_an_answer_that_was_not_read_to_its_end_costs_its_connection() -> None:
    async with both(PoolLimits()) as (toy, client):
        call = client.call()
        await call.open(post(toy.url, b"x" * 300_000), Deadlines())
        await call.read()
        await call.release()
        assert client.census == EMPTY


async def test_no_more_are_kept_idle_than_allowed_and_the_last_used_goes_first() -> None:
    async with both(PoolLimits(idle=2)) as (toy, client):
        pool = client.pool_of(toy.url)
        links = [await pool.take() for _ in range(4)]
        for link in links:
            await pool.give(link)
        assert client.census == Census(busy=0, idle=2, waiting=0)
        again = await pool.take()
        await pool.drop(again)
    async with both(PoolLimits(idle=0)) as (toy, client):
        await ask(client, toy)
        assert client.census == EMPTY


async def test_requests_beyond_the_cap_wait_first_come_first_served() -> None:
    order: list[int] = []
    async with both(PoolLimits(total=1)) as (toy, client):
        pool = client.pool_of(toy.url)
        held = await pool.take()

        async def wait(number: int) -> None:
            await ask(client, toy)
            order.append(number)

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(wait, number)
                await until(lambda number=number: client.census.waiting == number + 1)  # type: ignore[misc]
            assert client.census == Census(busy=1, idle=0, waiting=5)
            await pool.drop(held)
        assert order == [0, 1, 2, 3, 4]
        assert client.census == Census(busy=0, idle=1, waiting=0)


async def test_without_a_cap_nobody_waits() -> None:
    async with both(PoolLimits(total=0)) as (toy, client):
        pool = client.pool_of(toy.url)
        links = [await pool.take() for _ in range(20)]
        assert client.census == Census(busy=20, idle=0, waiting=0)
        for link in links:
            await pool.drop(link)


async def test_a_fresh_connection_at_the_cap_takes_the_place_of_an_idle_one() -> None:
    async with both(PoolLimits(total=1)) as (toy, client):
        await ask(client, toy)
        pool = client.pool_of(toy.url)
        link = await pool.take(fresh=True)
        assert link.uses == 1
        assert client.census == Census(busy=1, idle=0, waiting=0)
        await pool.give(link)


async def test_a_connection_that_fails_frees_its_place_for_the_next() -> None:
    async with toy_upstream() as gone:
        port = gone.port
    async with upstream(PoolLimits(total=1)) as client:
        for _ in range(3):
            with pytest.raises(UpstreamFailed, match="refused"):
                await client.fetch(post(f"http://127.0.0.1:{port}/"), 5)
        assert client.census == EMPTY


async def test_cancelled_in_the_queue_leaves_no_trace_and_passes_on_what_was_handed_over() -> None:
    async with both(PoolLimits(total=1)) as (toy, client):
        pool = client.pool_of(toy.url)
        held = await pool.take()
        scope = anyio.CancelScope()
        done: list[str] = []

        async def first() -> None:
            with scope:
                await ask(client, toy)

        async def second() -> None:
            await ask(client, toy)
            done.append("second")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first)
            await until(lambda: client.census.waiting == 1)
            tasks.start_soon(second)
            await until(lambda: client.census.waiting == 2)
            await pool.give(held)  # handed to the first in the queue ...
            scope.cancel()  # ... which is cancelled before it can use it
        assert done == ["second"]
        assert client.census == Census(busy=0, idle=1, waiting=0)


@pytest.mark.parametrize("steps", range(4))
async def test_200_cancellations_anywhere_leave_no_socket_and_no_place_taken(steps: int) -> None:
    """Each is cancelled a little later than the one before; ``steps`` varies what the upstream is doing meanwhile."""
    turn = count()

    async def script(visit: Visit) -> None:
        while True:
            text = await visit.request()
            await visit.send(CHUNKED)
            for _ in range(steps):
                await visit.send(chunk(text))
                await anyio.lowlevel.checkpoint()
            if next(turn) % 2:
                await visit.send(LAST_CHUNK)

    async with toy_upstream(script) as toy, upstream(PoolLimits(total=3)) as client:

        async def one(patience: int) -> None:
            call = client.call()
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(cancel_after, patience, scope)
                    try:
                        head = await call.open(post(toy.url), Deadlines(), (None, 0.001)[patience % 2])
                        while head is None:
                            head = await call.wait(0.001)
                        while await call.read(idle=0.01) != b"":
                            pass
                    finally:
                        await call.release()

        async def cancel_after(patience: int, scope: anyio.CancelScope) -> None:
            for _ in range(patience):
                await anyio.lowlevel.checkpoint()
            scope.cancel()

        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(one, number % 50)
        census = client.census
        assert (census.busy, census.waiting) == (0, 0)
        assert census.idle <= 3
    async with both(PoolLimits(total=3)) as (fine, client):
        assert await ask(client, fine, b"still works") == b"still works"
