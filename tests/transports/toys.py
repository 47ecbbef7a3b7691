"""Toys for the transport tests: an upstream that does what a script says, a gateway around a toy flow, and a plain client."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Literal

import anyio
import anyio.lowlevel
import h11
import pytest
from anyio.abc import ByteStream, SocketAttribute, SocketStream

from core.effects import Deadlines, Flow, Head, Headers, Open, Read, Request, Send, Start, UpstreamRequest
from core.errors import ClientGone, ProxyError, UpstreamError
from transports.listener import Limits, Listener, Outcome, Service
from transports.upstream import PoolLimits, Upstream
from transports.world import MemoryCache

#: No test may hang; each of them takes milliseconds.
PATIENCE = 8.0

#: For a fixture ``anyio_backend`` of tests that must hold on every event loop there is.
LOOPS = [
    pytest.param("asyncio", id="asyncio"),
    pytest.param(
        ("asyncio", {"use_uvloop": True}),
        id="uvloop",
        marks=pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed"),
    ),
    pytest.param("trio", id="trio"),
]


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until ``condition`` holds."""
    while not condition():
        await anyio.lowlevel.checkpoint()


# ---------------------------------------------------------------------------------------------------------- upstream


class Visit:
    """One connection to the toy upstream, as its script sees it."""

    def __init__(self, stream: ByteStream, number: int) -> None:
        self.stream = stream
        self.number = number  # 1 is the first
        self.requests: list[bytes] = []  # heads
        self._buffer = b""

    async def request(self) -> bytes:
        """The body of the next request. Raises ``EndOfStream`` when the other side has closed."""
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += await self.stream.receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        self.requests.append(head)
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
        while len(self._buffer) < length:
            self._buffer += await self.stream.receive()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return body

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)

    async def answer(self, body: bytes, *headers: bytes) -> None:
        await self.send(plain(body, *headers))

    async def reset(self) -> None:
        """End the connection as a process that dies does: with RST, at once."""
        raw = self.stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.stream.aclose()

    async def left(self) -> None:
        """Wait until the other side closes."""
        try:
            while True:
                await self.stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return


def plain(body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"content-length: %d" % len(body), *headers, b"", body]
    return b"\r\n".join(lines)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

Script = Callable[[Visit], Awaitable[None]]


@dataclass
class ToyUpstream:
    port: int
    visits: list[Visit] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[bytes]:
        return [head for visit in self.visits for head in visit.requests]


async def echo(visit: Visit) -> None:
    """Answer every request with its own body."""
    while True:
        await visit.answer(await visit.request())


@asynccontextmanager
async def toy_upstream(
    script: Script = echo, wrap: Callable[[SocketStream], Awaitable[ByteStream]] | None = None, *, small_buffer: bool = False
) -> AsyncIterator[ToyUpstream]:
    """A server on loopback that runs ``script`` for each connection and closes it afterwards.

    ``wrap`` may add TLS; ``small_buffer`` lets the kernel take little that the script does not read.
    """
    sockets = await anyio.create_tcp_listener(local_host="127.0.0.1")
    if small_buffer:
        sockets.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    toy = ToyUpstream(sockets.extra(SocketAttribute.local_port))

    async def serve(raw: SocketStream) -> None:
        async with raw:
            try:
                visit = Visit(raw if wrap is None else await wrap(raw), len(toy.visits) + 1)
                toy.visits.append(visit)
                await script(visit)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return

    async with sockets, anyio.create_task_group() as tasks:
        tasks.start_soon(sockets.serve, serve, tasks)
        yield toy
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def upstream(limits: PoolLimits | None = None) -> AsyncIterator[Upstream]:
    """The thing under test, with the patience of a test."""
    client = Upstream(limits)
    with anyio.fail_after(PATIENCE):
        try:
            yield client
        finally:
            await client.close()


def post(url: str, body: bytes = b"{}") -> UpstreamRequest:
    return UpstreamRequest("POST", url, ((b"content-type", b"application/json"),), body)


# ----------------------------------------------------------------------------------------------------------- gateway


@dataclass(slots=True)
class Done:
    """The record of a toy exchange."""

    status: int
    why: str = ""
    endpoint: str = "/v1/toys"
    broken: bool = False
    notes: list[str] = field(default_factory=list)
    alarms: list[tuple[Literal["warning", "error"], str]] = field(default_factory=list)

    def line(self) -> str:
        return f"{self.status} {self.why}"


def relay(url: str, idle: float | None = None) -> Callable[[Request], Flow[Outcome]]:
    """A flow that passes everything through; silence becomes a ping."""

    def flow(request: Request) -> Flow[Outcome]:
        started = False
        try:
            head = yield from Open(UpstreamRequest(request.method, url + request.target, (), request.body), Deadlines())
            assert head is not None
            kept = tuple(field for field in head.headers if field[0] in (b"content-type", b"content-length"))
            yield from Start(Head(head.status, kept))
            started = True
            while (data := (yield from Read(idle))) != b"":
                yield from Send(b": ping\n\n" if data is None else data)
        except UpstreamError as error:
            if not started:
                yield from Start(Head(error.status, ()))
            yield from Send(f"error: {error}".encode())
            return Done(error.status, str(error), broken=True)
        except ClientGone:
            return Done(499, "gone")
        return Done(head.status)

    return flow


def say(request: Request) -> Flow[Outcome]:
    """A flow that answers with what it was asked."""
    body = f"{request.method} {request.target} ".encode() + request.body
    yield from Start(Head(200, ((b"content-length", b"%d" % len(body)),)))
    yield from Send(body)
    return Done(200)


def refuse(target: str, headers: Headers, error: ProxyError, request_id: str) -> tuple[Head, bytes]:
    body = f"{target} {error.code} {error}".encode()
    return Head(error.status, ((b"content-length", b"%d" % len(body)), (b"x-request-id", request_id.encode()))), body


def serving(answer: Callable[[Request], Flow[Outcome]]) -> Service:
    return Service(answer, refuse, lambda headers, fresh: fresh)


@dataclass
class ToyGateway:
    port: int
    listener: Listener
    upstream: Upstream
    records: list[Outcome]
    clock: Clock


class Clock:
    """Monotonic seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def gateway(answer: Callable[[Request], Flow[Outcome]], limits: Limits | None = None) -> AsyncIterator[ToyGateway]:
    """A listener on loopback around ``answer``. Its clock stands; ``listener.look()`` enforces deadlines."""
    records: list[Outcome] = []

    def recorded(request: Request) -> Flow[Outcome]:
        record = yield from answer(request)
        records.append(record)
        return record

    clock, client = Clock(), Upstream()
    sockets = await anyio.create_tcp_listener(local_host="127.0.0.1")
    with anyio.fail_after(PATIENCE):
        async with sockets, anyio.create_task_group() as tasks:
            listener = Listener(serving(recorded), client, MemoryCache(clock), limits or Limits(), tasks, clock)
            tasks.start_soon(sockets.serve, listener.serve, tasks)
            yield ToyGateway(sockets.extra(SocketAttribute.local_port), listener, client, records, clock)
            tasks.cancel_scope.cancel()
        await client.close()


# ------------------------------------------------------------------------------------------------------------ client


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Client:
    """A client that says exactly what it is told, and understands answers."""

    def __init__(self, stream: SocketStream) -> None:
        self.stream = stream
        self._http = h11.Connection(h11.CLIENT)

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)

    async def ask(self, method: str, target: str, body: bytes = b"", *headers: tuple[str, str]) -> Answer:
        """One request, well formed, and its answer."""
        await self.post(method, target, body, *headers)
        answer = await self.answer()
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        return answer

    async def post(self, method: str, target: str, body: bytes = b"", *headers: tuple[str, str]) -> None:
        length = [("content-length", str(len(body)))] if body else []
        data = self._http.send(h11.Request(method=method, target=target, headers=[("host", "localhost"), *length, *headers])) or b""
        if body:
            data += self._http.send(h11.Data(data=body)) or b""
        await self.send(data + (self._http.send(h11.EndOfMessage()) or b""))

    async def answer(self) -> Answer:
        """The answer to what ``post`` asked, however it is framed."""
        head: h11.Response | None = None
        body = b""
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                try:
                    self._http.receive_data(await self.stream.receive())
                except anyio.EndOfStream:
                    self._http.receive_data(b"")
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                return Answer(head.status_code, dict(head.headers), body)

    async def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        received = b""
        try:
            while True:
                received += await self.stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return received

    async def receive_until(self, ending: bytes) -> bytes:
        received = b""
        while not received.endswith(ending):
            received += await self.stream.receive()
        return received

    async def leave(self) -> None:
        await self.stream.aclose()


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Client]:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        yield Client(stream)
