"""The listener: client connections on anyio, each a short loop of request, exchange, answer.

Per connection two tasks: one talks, one listens. The listener notices at once when the client leaves, whatever the other is waiting
for, and keeps what the client sends early. There is no timer per request: a connection states by when something must have happened
(``deadline``), and one sweeper looks at all of them.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import anyio
import h11
from anyio.abc import SocketAttribute, SocketStream, TaskGroup

from core.effects import Flow, Head, Headers, Request, Vitals
from core.errors import ClientGone, InternalError, ProxyError, RequestTimeout, TooManyRequests, Unavailable
from core.traffic.windows import network_of
from transports.drive import abandon, run_async
from transports.http1 import Connection, Phase
from transports.logs import NAME
from transports.upstream import Upstream
from transports.world import Cache, EventLoopWorld, House, Nobody

logger = logging.getLogger(NAME)

#: One read from a client. asyncio reads up to this at a time, and splitting what it read costs another copy.
_RECEIVE_BYTES: Final = 256 * 1024
#: Bytes of coming requests kept while one is being answered; then the client has to wait.
_EARLY_BYTES: Final = 64 * 1024
#: The endpoints whose requests count; health, pages and metrics do not (product 1.2).
_COUNTED: Final = "/v1/"
#: How an exchange's alarms are logged.
_LEVELS: Final = {"warning": logging.WARNING, "error": logging.ERROR}
#: How long an answer that ends the connection waits for the client to stop sending. Closing at once would reset the connection and
#: could take the answer with it.
_LINGER_SECONDS: Final = 2.0


class Outcome(Protocol):
    """What the listener needs to know of a finished exchange; ``core.record.Record`` is one."""

    status: int
    endpoint: str  # the path's canonical form
    broken: bool  # the answer ended in an error: the connection must close
    notes: list[str]  # lines for the log
    alarms: list[tuple[Literal["warning", "error"], str]]  # lines that the log shows as such

    def line(self) -> str:
        """One line for the access log."""
        ...


@dataclass(frozen=True, slots=True)
class Service:
    """What is served."""

    #: The whole answer to one request.
    answer: Callable[[Request], Flow[Outcome]]
    #: An error answer for a request that gets no exchange: (target, headers, error, request id).
    refuse: Callable[[str, Headers, ProxyError, str], tuple[Head, bytes]]
    #: The request id: (headers, a fresh one).
    identify: Callable[[Headers, str], str]
    #: By what the connections of a peer address are counted; None: not at all.
    counted_as: Callable[[str], str | None] = network_of


@dataclass(frozen=True, slots=True)
class Limits:
    """Product 13.1. Seconds and bytes."""

    header_bytes: int = 64 * 1024
    body_bytes: int = 32 * 1024 * 1024
    connections: int = 2000  # 0: no limit
    connections_per_address: int = 0  # the same
    header: float = 10.0
    body_idle: float = 30.0
    body_total: float = 300.0
    keepalive: float = 75.0
    write_stall: float = 60.0
    sweep: float = 0.5  # between two looks at the deadlines: how late one may be noticed


class Listener:
    """All client connections of the process. ``serve`` one stream after the other in ``tasks``; ``sweep`` must run beside.

    ``clock`` gives monotonic seconds for the deadlines of clients.
    """

    def __init__(
        self,
        service: Service,
        upstream: Upstream,
        cache: Cache,
        limits: Limits,
        tasks: TaskGroup,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.service = service
        self.limits = limits
        self.clock = clock
        self.draining = False  # new work is refused
        self.closing = False  # ... and connections are not kept
        self.house = House(upstream, cache, self._spawn, self.vitals, clock)
        self.totals = Totals(time.time(), secrets.token_hex(8))
        self.connections: set[ClientConnection] = set()
        self._places = Places()
        self._emptied = anyio.Event()
        self._tasks = tasks

    def vitals(self) -> Vitals:
        return self.totals.vitals(time.time(), draining=self.draining, active=len(self.connections))

    async def serve(self, stream: SocketStream) -> None:
        """Talk with one client until either side closes the connection."""
        connection = ClientConnection(stream, self)
        self.connections.add(connection)
        who = self.service.counted_as(connection.peer)
        refused = self._places.refusal(who, self.limits)
        if refused is None:
            self._places.take(who)
        try:
            await connection.run(refused)
        except Exception:
            logger.exception("a connection failed")  # a bug, which must not end the other connections
        finally:
            self.connections.discard(connection)
            if refused is None:
                self._places.give_back(who)
            if not self.connections:
                self._emptied.set()
                self._emptied = anyio.Event()
            with anyio.CancelScope(shield=True):
                await stream.aclose()

    async def sweep(self) -> None:
        """Enforce deadlines for ever."""
        while True:
            await anyio.sleep(self.limits.sweep)
            self.look()
            await self.house.upstream.prune()

    def look(self) -> None:
        """Act on the deadlines that have passed."""
        now = self.clock()
        for connection in [each for each in self.connections if each.deadline < now]:
            connection.overdue()

    def close_idle(self) -> None:
        """Close the connections on which nothing is going on, and from now on each one when its answer is complete."""
        self.closing = True
        for connection in [each for each in self.connections if each.is_idle]:
            connection.close()

    async def empty(self) -> None:
        """Wait until there are no connections."""
        while self.connections:
            await self._emptied.wait()

    async def cut(self) -> None:
        """Fail what running exchanges have upstream, so that they end with an error."""
        for connection in list(self.connections):
            await connection.interrupt()

    def _spawn(self, flow: Flow[Any]) -> None:
        self._tasks.start_soon(self._background, flow)

    async def _background(self, flow: Flow[Any]) -> None:
        try:
            await run_async(flow, EventLoopWorld(self.house, Nobody()))
        except anyio.get_cancelled_exc_class():
            with contextlib.suppress(ClientGone):  # it need not have a result to give
                abandon(flow, ClientGone("the proxy is shutting down"))
            raise
        except Exception:
            logger.exception("a background flow failed")


class Places:
    """How many connections there are, in all and by address. One that is told that there is no room for it takes none."""

    def __init__(self) -> None:
        self._taken = 0
        self._by_address: dict[str, int] = {}

    def refusal(self, who: str | None, limits: Limits) -> ProxyError | None:
        """Why there is no room for one more of ``who``."""
        if 0 < limits.connections <= self._taken:
            return Unavailable("too many connections", retry_after=1)
        if who is not None and 0 < limits.connections_per_address <= self._by_address.get(who, 0):
            return TooManyRequests("too many connections from this address", retry_after=1)
        return None

    def take(self, who: str | None) -> None:
        self._taken += 1
        if who is not None:
            self._by_address[who] = self._by_address.get(who, 0) + 1

    def give_back(self, who: str | None) -> None:
        self._taken -= 1
        if who is None:
            return
        left = self._by_address[who] - 1
        if left:
            self._by_address[who] = left
        else:
            del self._by_address[who]


class Totals:
    """The counters behind ``Vitals``."""

    def __init__(self, started: float, instance: str) -> None:
        self._started = started
        self._instance = instance
        self._requests = 0
        self._succeeded = 0
        self._busy = 0.0
        #: Requests per second of the last minute, by second modulo 60, each with its second.
        self._recent = [(0, 0)] * 60

    def count(self, status: int, seconds: float, now: float) -> None:
        self._requests += 1
        self._succeeded += status < 400
        self._busy += seconds
        second, slot = int(now), int(now) % 60
        self._recent[slot] = (second, self._recent[slot][1] + 1 if self._recent[slot][0] == second else 1)

    def vitals(self, now: float, *, draining: bool, active: int) -> Vitals:
        recent = sum(count for second, count in self._recent if second > now - 60)
        return Vitals(self._instance, self._started, draining, self._requests, active, self._succeeded, self._busy, recent)


class ClientConnection:
    """One client. To an exchange it is the ``Client`` that is answered."""

    def __init__(self, stream: SocketStream, listener: Listener) -> None:
        limits = listener.limits
        #: When something must have happened, on the listener's clock; infinity while nothing is asked of the client.
        self.deadline = listener.clock() + limits.header
        self.pending = 0
        self._stream = stream
        self._listener = listener
        self.peer = str(stream.extra(SocketAttribute.remote_address, ("",))[0])
        self._http = Connection(max_header_bytes=limits.header_bytes, max_body_bytes=limits.body_bytes)
        self._unsent: list[bytes] = []
        self._head: Head | None = None  # announced by the exchange, not yet turned into bytes
        self._started = False  # some of the answer has been turned into bytes
        self._news = anyio.Event()  # something arrived, or is overdue
        self._room = anyio.Event()  # bytes that came early have been taken
        self._late = False
        self._deaf = False  # what the client sends is thrown away
        self._last = False  # the answer under way is the last on this connection
        self._body_by = math.inf
        self._scope = anyio.CancelScope()
        self._flow: Flow[Outcome] | None = None  # under way
        self._world: EventLoopWorld | None = None
        self._began = 0.0
        self._id = ""

    async def run(self, refused: ProxyError | None = None) -> None:
        """Serve requests until the connection ends. ``refused``: there is no room for it, say so and close."""
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._listen)
                    if refused is not None:
                        await self._refuse(refused)
                    else:
                        await self._converse()
                    tasks.cancel_scope.cancel()
        finally:
            if self._flow is not None:
                self._abandon(self._flow)

    @property
    def is_idle(self) -> bool:
        return self._flow is None and self._http.phase is Phase.IDLE and not self._deaf

    def overdue(self) -> None:
        """``deadline`` has passed."""
        self.deadline = math.inf
        if self._http.phase in (Phase.HEAD, Phase.BODY) and not self._deaf:
            self._late = True
            self._news.set()
        else:
            self.close()

    def close(self) -> None:
        """End the connection now; an exchange under way sees its client leave."""
        self._scope.cancel()

    async def interrupt(self) -> None:
        """Fail what the exchange under way has upstream."""
        if self._world is not None:
            await self._world.interrupt()

    # The two tasks

    async def _listen(self) -> None:
        """Take what the client sends until it leaves."""
        try:
            while True:
                data = await self._stream.receive(_RECEIVE_BYTES)
                if self._deaf:
                    continue
                self._http.receive(data)
                self._news.set()
                while self._flow is not None and self._http.held > _EARLY_BYTES:
                    self._room = anyio.Event()
                    await self._room.wait()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            self.close()

    async def _converse(self) -> None:
        """Request, answer, and again."""
        listener = self._listener
        while True:
            try:
                await self._await_request()
            except ClientGone:
                return
            except ProxyError as error:
                await self._refuse(error)
                return
            # Only POSTs cost upstream work; health and readiness have to be visible until the end.
            if listener.draining and self._http.method == "POST":
                await self._refuse(Unavailable("the proxy is shutting down", code="draining", retry_after=1))
                return
            if not await self._exchange():
                return
            if self._last or listener.closing or not self._http.restart():
                await self._part()
                return
            self.deadline = listener.clock() + listener.limits.keepalive
            self._started = False
            self._room.set()

    async def _await_request(self) -> None:
        http, clock, limits = self._http, self._listener.clock, self._listener.limits
        phase = Phase.IDLE
        while not http.advance():
            if self._late:
                raise RequestTimeout("the request did not arrive in time")
            if http.phase is Phase.BODY:
                if phase is not Phase.BODY:
                    self._body_by = clock() + limits.body_total
                self.deadline = min(clock() + limits.body_idle, self._body_by)
                if invitation := http.invitation():
                    self._unsent.append(invitation)
                    await self.flush()
                    continue  # the body may have come meanwhile
            elif http.phase is not phase:
                self.deadline = clock() + limits.header
            phase = http.phase
            self._news = anyio.Event()
            await self._news.wait()
        self.deadline = math.inf

    async def _exchange(self) -> bool:
        """Have the request answered. False when the connection has been given up over it."""
        service, now = self._listener.service, time.time()
        self._id = service.identify(self._http.headers, _fresh_id())
        self._began = self._listener.clock()
        self._last = self._listener.draining
        dice = random.random()  # noqa: S311 - spreads retries, and hides nothing
        self._flow = service.answer(self._http.request(id=self._id, now=now, peer=self.peer, dice=dice))
        self._world = EventLoopWorld(self._listener.house, self)
        try:
            record = await run_async(self._flow, self._world)
            self._flow = None
            self._settle(record)
            self._last = self._last or record.broken
            await self._end(whole=not record.broken)
        except ClientGone:
            return False
        except Exception:
            # Anything that is not a ProxyError is a bug, in the flow or in what performs its effects.
            self._flow = None
            logger.exception("%s: internal error", self._id)
            if not self._started:
                await self._refuse(InternalError(f"internal error; the log has it under {self._id}"))
            return False
        finally:
            self._world = None
        return True

    async def _refuse(self, error: ProxyError) -> None:
        """Answer without an exchange, and part."""
        http, service = self._http, self._listener.service
        identity = self._id or service.identify(http.headers, _fresh_id())
        head, body = service.refuse(http.target, http.headers, error, identity)
        logger.info("%s status=%d code=%s error=%r", identity, head.status, error.code, error.message)
        self._last, self._head, self._deaf = True, head, True
        self._unsent.clear()
        try:
            self.write(body)
            await self._end()
            await self._part()
        except ClientGone:
            return

    async def _part(self) -> None:
        """Close in an orderly way: what the client still sends would otherwise reset the connection under our answer."""
        if self._http.phase is Phase.WHOLE and not self._http.held:
            return
        self._deaf = True
        with anyio.move_on_after(_LINGER_SECONDS), contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._stream.send_eof()
            await anyio.sleep_forever()  # until the client closes, which ends the whole connection

    def _abandon(self, flow: Flow[Outcome]) -> None:
        """The client left, or the process ends: the exchange still has its record."""
        try:
            self._settle(abandon(flow, ClientGone()))
        except Exception:
            logger.exception("%s: internal error after the client had gone", self._id)

    def _settle(self, record: Outcome) -> None:
        if record.endpoint.startswith(_COUNTED):
            self._listener.totals.count(record.status, self._listener.clock() - self._began, time.time())
        for note in record.notes:
            logger.info("%s %s", self._id, note)
        for level, text in record.alarms:
            logger.log(_LEVELS[level], "%s %s", self._id, text)
        logger.info("%s %s", self._id, record.line())

    # The client of an exchange

    def start(self, head: Head) -> None:
        self._head = head

    def write(self, data: bytes) -> None:
        if self._head is not None:
            self._announce(self._head)
        if framed := self._http.data(data):
            self._unsent.append(framed)
            self.pending += len(framed)

    async def flush(self) -> None:
        data = self._unsent[0] if len(self._unsent) == 1 else b"".join(self._unsent)
        self._unsent.clear()
        self.pending = 0
        if not data:
            return
        # A client that takes less than 1 KiB/s is as good as stalled.
        self.deadline = self._listener.clock() + self._listener.limits.write_stall + len(data) / 1024
        try:
            await self._stream.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise ClientGone from None
        self.deadline = math.inf

    async def _end(self, *, whole: bool = True) -> None:
        """The exchange is over: send the rest of its answer. ``whole``: it is all that its head promised."""
        if self._head is not None:
            head = self._head
            if head.status not in (204, 304) and self._http.method != "HEAD" and head.get(b"content-length") is None:
                head = Head(head.status, (*head.headers, (b"content-length", b"0")))
            self._announce(head)
        if not self._started:
            raise RuntimeError("the exchange ended without an answer")
        try:
            self._unsent.append(self._http.end())
        except h11.LocalProtocolError:
            if whole:
                raise  # a bug; of a broken answer it is expected, and the client learns it from the connection's end
        await self.flush()

    def _announce(self, head: Head) -> None:
        self._head, self._started = None, True
        announced = self._http.start(head, close=self._last)
        self._unsent.append(announced)
        self.pending += len(announced)


def _fresh_id() -> str:
    return "req_" + secrets.token_hex(12)
