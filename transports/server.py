"""A service as a process: listening sockets, signals, and the orderly end."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
from anyio.abc import SocketAttribute, SocketListener, TaskGroup

from transports import logs
from transports.listener import Limits, Listener, Service
from transports.upstream import Upstream
from transports.world import MemoryCache

logger = logging.getLogger(logs.NAME)

#: After the drain time is over: for the error events to reach their clients.
_LAST_WORDS_SECONDS: Final = 1.0
#: Kernel buffer per client. Left alone it grows to megabytes, all of which a slow client would make us hold.
_SEND_BUFFER_BYTES: Final = 64 * 1024
#: When the process has no file descriptors left for another client.
_ACCEPT_PAUSE_SECONDS: Final = 0.1
_NO_ROOM: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED))
_END: Final = (signal.SIGTERM, signal.SIGINT)
#: Windows has no such signal; a changed file is noticed there as well.
_RELOAD: Final = () if sys.platform == "win32" else (signal.SIGHUP,)


class AddressUnavailable(Exception):
    """The address cannot be listened on. The message has the cause, ``remedy`` what can be done."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(slots=True)
class Server:
    """A service that listens until a signal ends it.

    ``announce`` is told the base URL once clients can connect, ``hang_up`` is called at SIGHUP, and ``beside`` is what runs in the
    background until the end.
    """

    service: Service
    upstream: Upstream
    limits: Limits
    host: str
    port: int
    drain_seconds: float
    announce: Callable[[str], None]
    #: Between the signal and the closing of the listeners: time for a load balancer to see /ready turn 503.
    lame_duck_seconds: float = 1.0
    hang_up: Callable[[], None] = lambda: None
    beside: Sequence[Callable[[], Coroutine[Any, Any, None]]] = ()
    _listener: Listener | None = field(default=None, init=False)

    def adjust(self, limits: Limits, drain_seconds: float) -> None:
        """Other limits: sizes and times count for connections made from now on, the number of connections at once."""
        self.limits, self.drain_seconds = limits, drain_seconds
        if self._listener is not None:
            self._listener.limits = limits

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT; the exit code. Raises ``AddressUnavailable``."""
        doors = await self._open_doors()
        code = 0
        async with anyio.create_task_group() as tasks:
            self._listener = listener = Listener(self.service, self.upstream, MemoryCache(time.monotonic), self.limits, tasks)
            for door in doors:
                tasks.start_soon(_accept, door, listener, tasks)
            tasks.start_soon(listener.sweep)
            with anyio.open_signal_receiver(*_END, *_RELOAD) as signals:
                for background in self.beside:
                    tasks.start_soon(background)
                self.announce(self._url(doors[0].extra(SocketAttribute.local_port)))
                async for number in signals:
                    if number in _RELOAD:
                        self.hang_up()
                    elif listener.draining:
                        code = 130
                        tasks.cancel_scope.cancel()
                    else:
                        listener.draining = True
                        tasks.start_soon(self._drain, listener, doors, tasks)
        await self.upstream.close()
        return code

    async def _open_doors(self) -> Sequence[SocketListener]:
        try:
            opened = await anyio.create_tcp_listener(local_host=self.host, local_port=self.port)
        except OSError as error:
            raise _unavailable(error, self.host, self.port) from error
        doors = [door for door in opened.listeners if isinstance(door, SocketListener)]
        for door in doors:
            door.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        return doors

    async def _drain(self, listener: Listener, doors: Sequence[SocketListener], tasks: TaskGroup) -> None:
        """Product 13.2: readiness first, then the doors, then wait, then cut."""
        logger.info("shutting down: no new requests; running ones have %g s", self.drain_seconds)
        await anyio.sleep(self.lame_duck_seconds)
        for door in doors:
            await door.aclose()
        listener.close_idle()
        with anyio.move_on_after(self.drain_seconds):
            await listener.empty()
        if listener.connections:
            logger.warning("shutting down: cutting %d connections", len(listener.connections))
            await listener.cut()
            with anyio.move_on_after(_LAST_WORDS_SECONDS):
                await listener.empty()
        tasks.cancel_scope.cancel()

    def _url(self, port: int) -> str:
        return f"http://[{self.host}]:{port}" if ":" in self.host else f"http://{self.host}:{port}"


async def _accept(door: SocketListener, listener: Listener, tasks: TaskGroup) -> None:
    """Let clients in until ``door`` is closed."""
    while True:
        try:
            stream = await door.accept()
        except anyio.ClosedResourceError:
            return
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            logger.warning("cannot accept a connection: %s", error.strerror)
            await anyio.sleep(_ACCEPT_PAUSE_SECONDS)
        else:
            tasks.start_soon(listener.serve, stream)


def _unavailable(error: OSError, host: str, port: int) -> AddressUnavailable:
    if error.errno == errno.EADDRINUSE:
        return AddressUnavailable(f"port {port} on {host} is in use", "stop what listens there, or choose another with --port")
    if error.errno == errno.EACCES:
        return AddressUnavailable(f"port {port} on {host} may not be used by this user", "choose a port above 1023 with --port")
    return AddressUnavailable(
        f"cannot listen on {host} port {port}: {error.strerror or error}", "choose an address of this machine with --host"
    )
