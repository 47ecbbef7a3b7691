"""One request and its answer, spoken by httpcore, but with every wait for bytes in our hands.

httpcore kills a connection whose read is cancelled, so a read with a time limit ("tell me after 15 silent seconds, and go on
waiting") cannot be asked of it. Here its coroutine is run step by step instead: where it wants bytes from the network it is
*parked*, control comes back to us, and we do the waiting on the bare socket, where a cancelled wait loses nothing. What it writes
is collected and leaves in one piece. No task, no buffer beyond what one read brings, and each read hands over everything it
brought.
"""

from __future__ import annotations

import inspect
import select
import sys
import types
from collections.abc import AsyncIterable, Coroutine, Generator
from typing import Any, Final, cast

import anyio
import httpcore
from anyio.abc import ByteStream, SocketAttribute

from core.effects import Head
from transports.http1 import printable
from transports.upstream.chunks import Merger

#: Bytes one read may bring: the bound on what a stream holds while its client is slow.
RECEIVE_BYTES: Final = 64 * 1024
#: Writes up to this size are joined; a larger one costs more to copy than to send by itself.
_JOIN_BYTES: Final = 64 * 1024


class Abandoned(Exception):
    """Thrown into a parked coroutine that nobody will resume."""


class Socket(httpcore.AsyncNetworkStream):
    """A byte stream in the form httpcore wants; the second half is for whoever runs the coroutine."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self._unsent: list[bytes] = []

    # Called by httpcore

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await _parked()

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:  # httpcore writes an empty end of the body, and nothing may seem unsent that is not
            self._unsent.append(buffer)

    async def aclose(self) -> None:
        await self.stream.aclose()

    def get_extra_info(self, info: str) -> object:
        return self.is_readable() if info == "is_readable" else None

    # Called by us

    async def flush(self) -> bool:
        """Send what httpcore wrote. False for a connection that breaks meanwhile, which is no error: the answer may be there already."""
        unsent, self._unsent = self._unsent, []
        if sum(map(len, unsent)) <= _JOIN_BYTES:
            unsent = [b"".join(unsent)]
        try:
            for piece in unsent:
                await self.stream.send(piece)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return False
        return True

    async def receive(self) -> bytes:
        """The next bytes, ``b""`` at the end. May be cancelled without harm."""
        try:
            return await self.stream.receive(RECEIVE_BYTES)
        except anyio.EndOfStream:
            return b""

    def is_readable(self) -> bool:
        """Whether the socket has something to say now: on an idle connection that can only be its end. One that is dead has."""
        try:
            number = self.stream.extra(SocketAttribute.raw_socket).fileno()
        except (AttributeError, OSError, anyio.TypedAttributeLookupError):
            return True  # uvloop takes a broken connection's socket away, and anyio asks None for its address
        if number < 0:
            return True
        if sys.platform == "win32":  # has no poll, and no limit on the numbers select takes
            return bool(select.select([number], [], [], 0)[0])
        poll = select.poll()
        poll.register(number, select.POLLIN)
        return bool(poll.poll(0))


class Conversation:
    """A request on its way over ``connection``, whose stream is ``socket``.

    ``sent`` says that the whole request has left us, or may have. ``head`` is set when it has arrived, ``parts`` gathers the body,
    ``gathered`` says that some of it has come, ``over`` that the answer has been read to its end.
    ``tunnel``: a CONNECT, which ends with its head.
    """

    def __init__(
        self, connection: httpcore.AsyncHTTP11Connection, socket: Socket, request: httpcore.Request, *, tunnel: bool = False
    ) -> None:
        self.sent = False
        self.head: Head | None = None
        self.parts: list[bytes] = []
        self.gathered = False
        self.over = False
        self._merger: Merger | None = None  # when the body is chunked
        self._socket = socket
        self._coroutine = self._talk(connection, request, tunnel)

    @property
    def parked(self) -> bool:
        """Whether more bytes are wanted: it has begun, and is neither over nor broken."""
        return inspect.getcoroutinestate(self._coroutine) == inspect.CORO_SUSPENDED

    async def begin(self) -> None:
        """Send the request. Raises ``httpcore.RemoteProtocolError`` when the connection holds an answer nobody asked for."""
        if await _step(self._coroutine, None) or self.head is not None:
            # Left over from the exchange before. httpcore would take it for the answer to this one.
            raise httpcore.RemoteProtocolError("an answer before the request")
        self.sent = True  # from here on nobody knows, unless the connection breaks
        self.sent = await self._socket.flush()

    async def feed(self, data: bytes) -> None:
        """Hand over received bytes (``b""``: the connection has ended). Raises ``httpcore.RemoteProtocolError``."""
        if self.head is None and b"hunked" in data and (end := data.find(b"\r\n\r\n")) > 0:
            # The head by itself, so that the merger sees the body from its first byte. Otherwise it does without.
            head, data = data[: end + 4], data[end + 4 :]
            self.over = await _step(self._coroutine, head)
            if self.head is not None and self.head.get(b"transfer-encoding") == b"chunked":
                self._merger = Merger()
            if self.over or not data:
                return
        if self._merger is not None:
            if data == b"" and (held := self._merger.close()):
                self.over = await _step(self._coroutine, held)
            elif data != b"" and not (data := self._merger.feed(data)):
                return
        self.over = await _step(self._coroutine, data)

    async def abandon(self) -> None:
        """End the conversation where it stands, also in a cancelled scope. Its connection is closed unless it was over."""
        if not self.parked:
            self._coroutine.close()
            return
        try:
            with anyio.CancelScope(shield=True):
                await _throw(self._coroutine, Abandoned())
        except Abandoned:
            return

    async def _talk(self, connection: httpcore.AsyncHTTP11Connection, request: httpcore.Request, tunnel: bool) -> None:
        response = await connection.handle_async_request(request)
        self.head = Head(response.status, tuple([(name.lower(), printable(value)) for name, value in response.headers]))
        if tunnel:
            return
        gather = self.parts.append
        async for part in cast(AsyncIterable[bytes], response.stream):
            gather(part)
            self.gathered = True
        await response.aclose()


class _Parked:
    """The trap that a coroutine yields to us, and not to the event loop, when it wants bytes."""


_PARKED: Final = _Parked()


@types.coroutine
def _parked() -> Generator[_Parked, bytes, bytes]:
    return (yield _PARKED)


@types.coroutine
def _step(coroutine: Coroutine[Any, Any, None], data: bytes | None) -> Generator[Any, Any, bool]:
    """Run ``coroutine`` until it is parked (False) or over (True). Whatever else it awaits is awaited here."""
    try:
        trap = coroutine.send(data)
        while trap is not _PARKED:
            try:
                reply = yield trap
            except BaseException as error:  # noqa: BLE001 - a cancellation by the event loop: the coroutine's own affair
                trap = coroutine.throw(error)
            else:
                trap = coroutine.send(reply)
    except StopIteration:
        return True
    return False


@types.coroutine
def _throw(coroutine: Coroutine[Any, Any, None], error: Exception) -> Generator[Any, Any, None]:
    """Raise ``error`` where ``coroutine`` is parked and run it to its end."""
    try:
        trap = coroutine.throw(error)
        while True:
            trap = coroutine.send((yield trap))
    except StopIteration:
        return
