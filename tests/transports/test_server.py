"""The process: addresses, signals, and an end that cuts nobody short without need."""

from __future__ import annotations

import signal
import socket

import anyio
import pytest

from tests.transports.children import child
from tests.transports.toys import CHUNKED, LAST_CHUNK, PATIENCE, Visit, chunk, client, say, serving, toy_upstream, until
from transports.listener import Limits
from transports.server import AddressUnavailable, Server
from transports.upstream import Upstream

pytestmark = pytest.mark.anyio


def toy(url: str, backend: str, *, drain: float = 60.0, lame_duck: float = 0.2) -> tuple[str, ...]:
    """The arguments of a child that is the toy server."""
    return ("tests.transports.toy_server", url, str(drain), str(lame_duck), backend)


@pytest.mark.parametrize(("number", "lame_duck"), [(signal.SIGTERM, 1.0), (signal.SIGINT, 0.0)])
async def test_an_idle_server_ends_within_two_seconds(anyio_backend: str, number: signal.Signals, lame_duck: float) -> None:
    async with child(*toy("http://127.0.0.1:1", anyio_backend, lame_duck=lame_duck)) as server, client(server.port):
        server.process.send_signal(number)
        with anyio.fail_after(2):
            assert await server.end() == 0


async def test_a_running_stream_ends_in_peace_and_new_work_is_refused(anyio_backend: str) -> None:
    go = anyio.Event()

    async def slow(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED + chunk(b"data: 1\n\n"))
        await go.wait()
        await visit.send(chunk(b"data: 2\n\n") + LAST_CHUNK)
        await visit.left()

    async with (
        toy_upstream(slow) as upstream,
        child(*toy(upstream.url, anyio_backend)) as server,
        client(server.port) as caller,
        client(server.port) as late,
    ):
        await caller.send(b"POST /v1/x HTTP/1.1\r\nhost: x\r\n\r\n")
        await caller.receive_until(b"data: 1\n\n\r\n")
        server.process.send_signal(signal.SIGTERM)
        await server.has_logged(b"shutting down")
        await late.send(b"POST /v1/x HTTP/1.1\r\nhost: x\r\n\r\n")
        refused = await late.rest()
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"/v1/x draining" in refused
        await no_longer_listening(server.port)
        assert server.process.returncode is None
        go.set()
        assert (await caller.rest()).endswith(b"data: 2\n\n\r\n0\r\n\r\n")
        assert await server.end() == 0


async def no_longer_listening(port: int) -> None:
    def refused() -> bool:
        with socket.socket() as knock:
            return knock.connect_ex(("127.0.0.1", port)) != 0

    await until(refused)


async def stalled(visit: Visit) -> None:
    await visit.request()
    await visit.send(CHUNKED + chunk(b"data: 1\n\n"))
    await visit.left()


async def test_what_still_runs_when_the_drain_time_is_over_ends_with_an_error(anyio_backend: str) -> None:
    async with (
        toy_upstream(stalled) as upstream,
        child(*toy(upstream.url, anyio_backend, drain=0.05)) as server,
        client(server.port) as caller,
    ):
        await caller.send(b"POST /v1/x HTTP/1.1\r\nhost: x\r\n\r\n")
        await caller.receive_until(b"data: 1\n\n\r\n")
        server.process.send_signal(signal.SIGTERM)
        assert b"error: the proxy is shutting down" in await caller.rest()
        assert await server.end() == 0


async def test_a_second_signal_ends_at_once(anyio_backend: str) -> None:
    async with toy_upstream(stalled) as upstream, child(*toy(upstream.url, anyio_backend)) as server, client(server.port) as caller:
        await caller.send(b"POST /v1/x HTTP/1.1\r\nhost: x\r\n\r\n")
        await caller.receive_until(b"data: 1\n\n\r\n")
        server.process.send_signal(signal.SIGTERM)
        await server.has_logged(b"shutting down")
        server.process.send_signal(signal.SIGTERM)
        with anyio.fail_after(0.9):
            assert await server.end() == 130


@pytest.mark.parametrize(
    ("host", "message"), [("127.0.0.1", r"port \d+ on 127\.0\.0\.1 is in use"), ("192.0.2.1", r"cannot listen on 192\.0\.2\.1")]
)
async def test_an_address_that_cannot_be_had_is_named(host: str, message: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = Server(serving(say), Upstream(), Limits(), host, taken.getsockname()[1], 1.0, lambda url: None)
        with pytest.raises(AddressUnavailable, match=message) as caught:
            await server.run()
        assert "with --" in caught.value.remedy


# ------------------------------------------------------------------------------------------------------- while it runs


async def test_a_hang_up_is_passed_on_and_ends_nothing(anyio_backend: str) -> None:
    called, doors = anyio.Event(), anyio.Event()
    server = Server(
        serving(say), Upstream(), Limits(), "127.0.0.1", 0, 1.0, lambda url: doors.set(), lame_duck_seconds=0.0, hang_up=called.set
    )
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.run)
            await doors.wait()
            signal.raise_signal(signal.SIGHUP)
            await called.wait()
            signal.raise_signal(signal.SIGTERM)


async def test_what_runs_beside_is_ended_with_the_server(anyio_backend: str) -> None:
    begun, ended = anyio.Event(), anyio.Event()

    async def beside() -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    server = Server(serving(say), Upstream(), Limits(), "127.0.0.1", 0, 1.0, lambda url: None, lame_duck_seconds=0.0, beside=(beside,))
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.run)
            await begun.wait()
            signal.raise_signal(signal.SIGTERM)
    assert ended.is_set()


async def test_other_limits_count_for_the_next_connections(anyio_backend: str) -> None:
    urls: list[str] = []
    server = Server(serving(say), Upstream(), Limits(), "127.0.0.1", 0, 60.0, urls.append, lame_duck_seconds=0.0)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.run)
            await until(lambda: urls != [])
            port = int(urls[0].rpartition(":")[2])
            async with client(port) as earlier:
                assert (await earlier.ask("POST", "/v1/x", b"12345")).status == 200
                server.adjust(Limits(body_bytes=4), 5.0)
                assert (await earlier.ask("POST", "/v1/x", b"12345")).status == 200
                async with client(port) as later:
                    assert (await later.ask("POST", "/v1/x", b"12345")).status == 413
            assert server.drain_seconds == 5.0
            signal.raise_signal(signal.SIGTERM)


def test_limits_that_change_before_the_start_are_those_it_starts_with() -> None:
    server = Server(serving(say), Upstream(), Limits(), "127.0.0.1", 0, 60.0, lambda url: None)
    server.adjust(Limits(connections=3), 5.0)
    assert (server.limits.connections, server.drain_seconds) == (3, 5.0)
