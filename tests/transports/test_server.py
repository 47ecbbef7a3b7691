"""The process: addresses, signals, and an end that cuts nobody short without need."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process

from core.settings import Settings
from tests.transports.toys import CHUNKED, LAST_CHUNK, PATIENCE, Visit, chunk, client, say, serving, toy_upstream, until
from transports import anyio_server
from transports.listener import Limits
from transports.server import AddressUnavailable, Server
from transports.upstream import Upstream

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
#: What a child needs of our environment; nothing in it may configure the proxy.
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}


@dataclass
class Child:
    process: Process
    port: int
    head: str = ""

    async def end(self) -> int:
        """Its exit code."""
        return await self.process.wait()

    async def has_logged(self, words: bytes) -> None:
        """Wait until ``words`` stand in its log."""
        assert self.process.stderr is not None
        said = b""
        while words not in said:
            said += await self.process.stderr.receive()


@asynccontextmanager
async def child(*arguments: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[Child]:
    """A Python process that prints its URL; it is killed if it is still there in the end."""
    with anyio.fail_after(PATIENCE):
        async with await anyio.open_process(
            [sys.executable, "-m", *arguments], cwd=ROOT, env={**ENVIRONMENT, **(environment or {})}
        ) as process:
            try:
                assert process.stdout is not None
                head = b""
                while not head.endswith(b"\n"):
                    head += await process.stdout.receive()
                url = head.decode().split()
                port = next(int(word.rpartition(":")[2]) for word in url if word.startswith("http://"))
                yield Child(process, port, head.decode())
            finally:
                if process.returncode is None:
                    process.kill()


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


# ---------------------------------------------------------------------------------------------------- the command


async def test_the_demonstration_answers_without_key_and_network(anyio_backend: str) -> None:
    async with (
        child("transports.anyio_server", "--demo", "--port", "0", "--backend", anyio_backend) as server,
        client(server.port) as caller,
    ):
        assert "demonstration" in server.head
        assert f"curl -s http://127.0.0.1:{server.port}/v1/messages" in server.head
        body = b'{"model":"glm-4.6","max_tokens":9,"messages":[{"role":"user","content":"Hello"}]}'
        answer = await caller.ask("POST", "/v1/messages", body, ("content-type", "application/json"))
        assert answer.status == 200
        assert b'"type":"message"' in answer.body
        await server.has_logged(b"status=200")


def test_a_port_in_use_is_exit_code_5_with_cause_and_remedy(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clean(monkeypatch)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert anyio_server.main(["--port", str(port)]) == 5
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"anthropic-proxy: port {port} on 127.0.0.1 is in use",
        "anthropic-proxy: stop what listens there, or choose another with --port",
    ]


def test_wrong_settings_are_exit_code_3_with_every_problem(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clean(monkeypatch)
    monkeypatch.setenv("MAX_CONNECTIONS", "many")
    assert anyio_server.main(["--port", "x"]) == 3
    said = capsys.readouterr().err
    assert "PORT" in said
    assert "MAX_CONNECTIONS" in said


def test_an_open_relay_is_exit_code_4_with_the_remedies(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clean(monkeypatch)
    monkeypatch.setenv("SERVER_API_KEY", "k-canary")
    assert anyio_server.main(["--host", "0.0.0.0"]) == 4
    said = capsys.readouterr().err
    assert all(remedy in said for remedy in ("PROXY_API_KEY", "127.0.0.1", "ALLOW_OPEN_RELAY=true"))
    assert "k-canary" not in said


def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings from the environment of whoever runs the tests, and logging as it was."""
    for name in os.environ:
        if name not in ENVIRONMENT and not name.startswith(("PYTEST", "COV")):
            monkeypatch.delenv(name)
    monkeypatch.setattr("transports.logs.set_up", lambda level: None)


def test_the_listener_gets_its_limits_from_the_settings() -> None:
    mapping = {"MAX_HEADER_KB": "2", "MAX_REQUEST_SIZE_MB": "0.5", "MAX_CONNECTIONS": "3", "DRAIN_TIMEOUT": "7", "PORT": "0"}
    server = anyio_server.server_of(Settings.from_mapping(mapping), Upstream(), lambda targets, url: None)
    assert server.limits == Limits(header_bytes=2048, body_bytes=524_288, connections=3)
    assert (server.host, server.port, server.drain_seconds) == ("127.0.0.1", 0, 7.0)
