"""The simulated upstream: a server on loopback that behaves like z.ai, without key and without network.

It stands behind ``--demo`` and the end-to-end tests. Any base works, because only the end of a path counts; the two that
z.ai has are ``ANTHROPIC_PATH`` and ``OPENAI_PATH``. What a model name starting with ``demo-`` does is in the list that
``python -m transports.simulator --list`` prints. The answers themselves come from ``transports.simulation``, as scripts;
here they are performed. Requests are read with h11, answers are written as raw bytes, because some of them lie.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import h11
from anyio.abc import SocketAttribute, SocketStream, TaskStatus
from anyio.from_thread import start_blocking_portal

from transports.simulation.scenarios import listing
from transports.simulation.scripts import answer
from transports.simulation.steps import Body, Cut, Head, Hold, Pause, Script

__all__ = ["ANTHROPIC_PATH", "OPENAI_PATH", "Received", "Simulator", "running", "serve"]

#: Where z.ai has its Anthropic-shaped and its OpenAI-shaped base.
ANTHROPIC_PATH = "/api/anthropic"
OPENAI_PATH = "/api/paas/v4"

#: Seconds between two events: about the speed of a quick model, 50 words a second.
PACE = 0.02

_LOGGER = logging.getLogger(__name__)

#: Bytes: a request of the usual agent in one or two reads.
_READ_SIZE = 65536


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came. ``body`` is its parsed JSON, None when it has none; header names are in lower case."""

    method: str
    path: str  # without the query
    query: str
    headers: Mapping[str, str]
    raw: bytes
    body: Any


@dataclass(slots=True)
class Simulator:
    """What a running simulator has seen so far. Written by its thread; reading is safe from any other."""

    port: int = 0
    requests: list[Received] = field(default_factory=list)
    connections_open: int = 0
    connections_made: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until(self, condition: Callable[[Simulator], bool], timeout: float = 10.0) -> bool:
        """Block until ``condition`` holds, looking again after every request and connection; False after ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self), timeout)

    def saw(self, request: Received) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def connected(self, change: int) -> None:
        with self._changed:
            self.connections_open += change
            self.connections_made += max(change, 0)
            self._changed.notify_all()


async def serve(
    *,
    task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED,
    host: str = "127.0.0.1",
    port: int = 0,
    pace: float = PACE,
    journal: Simulator | None = None,
) -> None:
    """Answer until cancelled; ``task_status`` is told the port once the server listens.

    ``pace``: seconds between two events of a stream, 0 for as fast as possible. ``journal`` collects what arrives, and
    grows with it: leave it out of anything that runs for long. Raises ``OSError`` when the port cannot be had.
    """
    earlier: Counter[bytes] = Counter()
    async with await anyio.create_tcp_listener(local_host=host, local_port=port) as listener:
        task_status.started(listener.extra_attributes[SocketAttribute.local_port]())
        await listener.serve(lambda stream: _Connection(stream, pace, earlier, journal).serve())


@contextmanager
def running(*, pace: float = 0.0, backend: str = "asyncio") -> Iterator[Simulator]:
    """A simulator in a thread of its own, for code that blocks; it is gone when the block ends."""
    simulator = Simulator()

    async def start(*, task_status: TaskStatus[int]) -> None:
        await serve(task_status=task_status, pace=pace, journal=simulator)

    with start_blocking_portal(backend) as portal:
        future, simulator.port = portal.start_task(start)
        try:
            yield simulator
        finally:
            future.cancel()


class _Connection:
    """One connection: requests one after the other, each answered by performing its script."""

    __slots__ = ("_earlier", "_journal", "_pace", "_stream", "_unread")

    def __init__(self, stream: SocketStream, pace: float, earlier: Counter[bytes], journal: Simulator | None) -> None:
        self._stream = stream
        self._pace = pace
        self._earlier = earlier
        self._journal = journal
        self._unread = b""

    async def serve(self) -> None:
        if self._journal is not None:
            self._journal.connected(1)
        try:
            async with self._stream:
                while await self._exchange():
                    pass
        except (anyio.BrokenResourceError, h11.RemoteProtocolError) as error:
            _LOGGER.debug("the client left or does not speak HTTP: %s", error)
        except Exception:
            # A bug in a script must not take the other connections down with it.
            _LOGGER.exception("an exchange failed")
        finally:
            if self._journal is not None:
                self._journal.connected(-1)

    async def _exchange(self) -> bool:
        """Read a request and answer it. False when the connection is over."""
        read = await self._read()
        if read is None:
            return False
        request, keeps_alive = read
        if self._journal is not None:
            self._journal.saw(request)
        return await self._answer(request) and keeps_alive

    async def _read(self) -> tuple[Received, bool] | None:
        """The next request, and whether the client keeps the connection; None at its end.

        Raises ``h11.RemoteProtocolError``.
        """
        # One parser per request: what is answered never passes through h11, so it could not follow a whole connection.
        parser = h11.Connection(h11.SERVER)
        if self._unread:
            parser.receive_data(self._unread)
        head: h11.Request | None = None
        body: list[bytes] = []
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                if parser.they_are_waiting_for_100_continue:
                    await self._stream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                parser.receive_data(await self._more())
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                self._unread = parser.trailing_data[0]
                return _received(head, b"".join(body)), parser.their_state is h11.DONE
            else:
                return None

    async def _more(self) -> bytes:
        """More bytes of the client, ``b""`` at their end, however it came."""
        try:
            return await self._stream.receive(_READ_SIZE)
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return b""

    async def _answer(self, request: Received) -> bool:
        """Perform the script of ``request``. False when the connection is not to be used again.

        A client that leaves, or only closes its sending side, ends the answer at once, in the middle of a silence too.
        """
        speaks_messages = "anthropic-version" in request.headers
        earlier = self._times_seen(request.raw)
        script = answer(request.method, request.path, request.raw, speaks_messages=speaks_messages, earlier=earlier)
        whole = False
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch, group.cancel_scope)
            with suppress(anyio.BrokenResourceError):  # the client left in mid-answer
                whole = await self._perform(script)
            group.cancel_scope.cancel()
        return whole

    async def _watch(self, scope: anyio.CancelScope) -> None:
        """Cancel ``scope`` when the client leaves; keep what it sends ahead."""
        while data := await self._more():
            self._unread += data
        scope.cancel()

    async def _perform(self, script: Script) -> bool:
        """Do every step. True when the answer was whole."""
        chunked = False
        for step in script:
            match step:
                case Head():
                    chunked = step.length is None
                    await self._stream.send(step.encode())
                case Body(data):
                    await self._stream.send(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)
                case Pause(seconds):
                    await self._sleep(self._pace if seconds is None else seconds)
                case Hold():
                    await anyio.sleep_forever()
                case Cut():
                    return False
        if chunked:
            await self._stream.send(b"0\r\n\r\n")
        return True

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            await anyio.sleep(seconds)

    def _times_seen(self, raw: bytes) -> int:
        """How often this body came before. Only the scenario that minds it is counted, so that nothing grows without end."""
        if b"demo-flaky" not in raw:
            return 0
        digest = hashlib.sha256(raw).digest()
        self._earlier[digest] += 1
        return self._earlier[digest] - 1


def _received(head: h11.Request, raw: bytes) -> Received:
    path, _, query = head.target.decode("ascii").partition("?")
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        body = None
    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
    return Received(head.method.decode("ascii"), path, query, headers, raw, body)


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m transports.simulator``. Exit codes: 0 after ``--list``, 5 when the port cannot be had, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m transports.simulator", description="A simulated upstream on loopback.")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: any free one)")
    parser.add_argument("--pace", type=float, default=PACE, metavar="S", help="seconds between events (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="print what each demo-* model does, and end")
    chosen = parser.parse_args(arguments)
    if chosen.list:
        sys.stdout.write(listing())
        return 0
    try:
        # asyncio, because it turns an interrupt into a cancellation; in trio it may strike anywhere.
        anyio.run(partial(serve, task_status=_Announcement(), port=chosen.port, pace=chosen.pace), backend="asyncio")
    except OSError as error:
        sys.stderr.write(f"cannot listen on port {chosen.port}: {error.strerror}\n")
        return 5
    except KeyboardInterrupt:
        pass
    return 130


class _Announcement(TaskStatus[int]):
    """Tells the terminal what ``serve`` tells a task group."""

    def started(self, value: int | None = None) -> None:
        sys.stdout.write(f"simulated upstream at http://127.0.0.1:{value}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
