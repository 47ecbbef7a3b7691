"""The upstreams as the drivers see them: one ``Call`` per answer, all of them over one ``Upstream`` with its pools."""

from __future__ import annotations

import enum
import math
import ssl
from functools import lru_cache, partial
from typing import Final
from urllib.parse import urlsplit

import anyio
import httpcore

from core.effects import Deadlines, Head, UpstreamRequest
from core.errors import UpstreamError, UpstreamFailed, UpstreamGarbled, UpstreamTimeout
from transports.background import Background
from transports.http1 import printable
from transports.upstream.bodies import Inflater, decoder
from transports.upstream.conversation import Conversation
from transports.upstream.dial import Link, Origin, dial
from transports.upstream.faults import CAUGHT, UPSTREAM, failure
from transports.upstream.pool import Census, Pool, PoolLimits
from transports.upstream.proxies import Proxies

#: A body that the buffers of both kernels take at once, whether or not the upstream reads: sending it is no waiting.
_QUICK_BYTES: Final = 64 * 1024
#: A readable socket answers at once; under TLS what is there may be half a record.
_LEAVE_SECONDS: Final = 0.005
#: What ``Fetch`` takes at most: its answers are a summary, a description, a count.
_MAX_FETCHED: Final = 32 * 1024 * 1024
#: Ours to set: the connection's own business, and the coding we can pass on.
_OWN_HEADERS: Final = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"connection", b"accept-encoding", b"expect", b"te", b"upgrade", b"keep-alive")
)
_SHUTTING_DOWN: Final = "the proxy is shutting down"
_NOT_OPENED: Final = "asked for an answer without having opened one"


class Upstream:
    """Every connection of the process to upstreams. Redirects are never followed: origins come from configuration only."""

    def __init__(self, limits: PoolLimits | None = None, proxies: Proxies | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._limits = limits or PoolLimits()
        self._proxies = proxies or Proxies()
        self._tls = tls
        self._pools: dict[Origin, Pool] = {}

    def call(self) -> Call:
        """A new call; release it when done."""
        return Call(self)

    async def fetch(self, request: UpstreamRequest, timeout: float) -> tuple[Head, bytes]:
        """A whole answer within ``timeout`` seconds. Raises ``UpstreamError``, ``UpstreamGarbled`` above 32 MiB."""
        call = Call(self)
        try:
            return await call.whole(request, timeout)
        finally:
            await call.release()

    @property
    def census(self) -> Census:
        """Over all origins."""
        each = [pool.census for pool in self._pools.values()]
        return Census(sum(c.busy for c in each), sum(c.idle for c in each), sum(c.waiting for c in each))

    async def prune(self) -> None:
        """Close idle connections that have grown too old; to be called every few seconds."""
        for pool in list(self._pools.values()):
            await pool.prune()

    async def close(self) -> None:
        """Close the idle connections."""
        for pool in list(self._pools.values()):
            await pool.close()

    def pool_of(self, url: str) -> Pool:
        """The pool for ``url``. There are as many as the configuration names origins."""
        origin, _ = _parts(url)
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(lambda: self._dial(origin), self._limits)
        return pool

    async def _dial(self, origin: Origin) -> Link:
        proxy = self._proxies.toward(origin.scheme, origin.host, origin.port)
        if self._tls is None and (origin.scheme == "https" or (proxy is not None and proxy.scheme == "https")):
            self._tls = ssl.create_default_context()  # here, because loading the authorities takes 20 ms of a start
        return await dial(origin, proxy, self._tls, self._limits.keepalive_seconds)


class Phase(enum.Enum):
    """How far a call is; the value is the ``phase`` of its errors."""

    CONNECT = "connect"
    SEND = "send"
    HEAD = "head"
    BODY = "body"


class Call:
    """One request upstream and its answer, with its deadlines.

    ``open``, ``wait`` and ``read`` perform the effects ``Open``, ``Await`` and ``Read``. All raise ``UpstreamError``. Always ``release``
    in the end.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._interrupted = False
        self._phase = Phase.CONNECT
        self._request: UpstreamRequest | None = None
        self._again = False  # sent a second time, because it cannot have reached anybody the first time
        self._sender: Background[None] | None = None  # while it is being sent, and that may take time
        self._pool: Pool | None = None
        self._link: Link | None = None
        self._talk: Conversation | None = None
        self._inflater: Inflater | None = None
        self._heard = False  # any byte of this answer
        # Moments on anyio's clock; infinity is no limit.
        self._deadlines = Deadlines()
        self._total_by = math.inf
        self._bytes_by: float | None = math.inf  # None: the gap has not begun, because nobody waits

    @property
    def ready(self) -> bool:
        """Whether ``read`` will answer without waiting."""
        return self._talk is not None and (self._talk.over or bool(self._talk.parts))

    async def open(self, request: UpstreamRequest, deadlines: Deadlines, idle: float | None = None) -> Head | None:
        """Send ``request`` and wait for the head; None after ``idle`` silent seconds."""
        await self.release()
        self._request, self._deadlines, self._again = request, deadlines, False
        self._total_by = anyio.current_time() + (deadlines.total or math.inf)
        return await self.wait(idle)

    async def wait(self, idle: float | None = None) -> Head | None:
        """Go on waiting for the head; None after ``idle`` silent seconds."""
        if self._request is None:
            raise RuntimeError(_NOT_OPENED)
        quiet_by = _quiet_by(idle)
        while True:
            try:
                if not await self._sent(self._request, quiet_by):
                    return None
                talk = self._talking()
                while talk.head is None:
                    if not await self._listen(talk, quiet_by):
                        return None
                break
            except (UpstreamFailed, UpstreamGarbled):
                if not self._was_stale():
                    raise
            await self._let_go()
            self._again, self._talk = True, None
        self._phase = Phase.BODY
        encoding = talk.head.get(b"content-encoding")
        self._inflater = decoder(encoding)
        if encoding is None:
            return talk.head
        gone = (b"content-encoding", b"content-length")
        return Head(talk.head.status, tuple(field for field in talk.head.headers if field[0] not in gone))

    async def read(self, idle: float | None = None) -> bytes | None:
        """The next bytes of the body, all that have arrived; ``b""`` at its end, None after ``idle`` silent seconds."""
        talk, quiet_by = self._talking(), _quiet_by(idle)
        while True:
            if talk.parts:
                data = talk.parts[0] if len(talk.parts) == 1 else b"".join(talk.parts)
                talk.parts.clear()
                if self._inflater is not None:
                    data = self._inflater.feed(data)
                if data:
                    return data
            elif talk.over:
                if self._inflater is not None:
                    self._inflater.close()
                return b""
            elif not await self._listen(talk, quiet_by):
                return None

    async def whole(self, request: UpstreamRequest, timeout: float) -> tuple[Head, bytes]:
        """``open`` and ``read`` to the end, within ``timeout`` seconds in all."""
        head = await self.open(request, Deadlines(connect=timeout, first_byte=0, gap=0, total=timeout))
        assert head is not None, "only an Open with idle may answer None"
        parts, size = [], 0
        while part := await self.read():
            parts.append(part)
            size += len(part)
            if size > _MAX_FETCHED:
                raise UpstreamGarbled(f"the upstream's answer is larger than {_MAX_FETCHED} bytes")
        return head, b"".join(parts)

    async def release(self) -> None:
        """Let go of the answer: the connection goes back to the pool if it was read to its end, and is closed otherwise."""
        sender, self._sender = self._sender, None
        if sender is not None:
            await sender.stop()
        await self._let_go()
        self._request = self._talk = None

    async def interrupt(self) -> None:
        """Fail this call, now and for good: the process must end."""
        self._interrupted = True
        if self._sender is not None:
            await self._sender.stop()
        if self._link is not None:
            await self._link.close()

    async def _sent(self, request: UpstreamRequest, quiet_by: float) -> bool:
        """Have ``request`` sent. False when ``quiet_by`` comes first; it goes on being sent."""
        if self._sender is None:
            if self._talk is not None:
                return True
            self._phase, self._heard = Phase.CONNECT, False
            self._refuse_if_interrupted()
            self._pool = self._upstream.pool_of(request.url)
            self._link = None if self._again else self._pool.take_idle()
            if quiet_by == math.inf or (self._link is not None and len(request.body) <= _QUICK_BYTES):
                await self._send(request, self._pool)
                return True
            self._sender = Background(partial(self._send, request, self._pool))
        try:
            if not await self._sender.ended(quiet_by):
                return False
        finally:
            if self._sender.done:
                self._sender = None
        self._refuse_if_interrupted()
        return True

    async def _send(self, request: UpstreamRequest, pool: Pool) -> None:
        """Get a connection and send ``request`` over it, each within its deadline."""
        origin, target = _parts(request.url)
        by = min(anyio.current_time() + (self._deadlines.connect or math.inf), self._total_by)
        with anyio.CancelScope(deadline=by) as scope:
            if self._link is None:
                self._link = await pool.take(fresh=self._again)
            link = self._link
            self._phase = Phase.SEND
            self._bytes_by = anyio.current_time() + (self._deadlines.first_byte or math.inf)
            scope.deadline = min(self._bytes_by, self._total_by)
            self._talk = Conversation(link.connection, link.socket, _message(request, origin, target, link))
            try:
                await self._talk.begin()
            except CAUGHT as error:
                raise self._failed(error) from error
            self._phase = Phase.HEAD
        if scope.cancelled_caught:
            raise self._late()

    async def _listen(self, talk: Conversation, quiet_by: float) -> bool:
        """Wait for bytes once. False when ``quiet_by`` comes first."""
        link = self._link
        assert link is not None, "a conversation that is not over has its connection"
        if self._bytes_by is None:
            self._bytes_by = anyio.current_time() + (self._deadlines.gap or math.inf)
        limit = min(self._bytes_by, self._total_by)
        until = min(limit, quiet_by)
        data: bytes | None = None
        try:
            with anyio.CancelScope(deadline=until):
                data = await link.socket.receive()
            if data is None:
                if until < limit:
                    return False
                raise self._late()
            self._heard = self._heard or data != b""
            await talk.feed(data)
        except CAUGHT as error:
            raise self._failed(error, ended=data == b"") from error
        if talk.parts:
            self._bytes_by = None
        if talk.over:
            await self._let_go()
        return True

    async def _let_go(self) -> None:
        link, self._link = self._link, None
        if link is None:
            return
        assert self._pool is not None
        kept = False
        with anyio.CancelScope(shield=True):
            try:
                kept = self._talk is not None and await self._part(self._talk, link)
            finally:  # whatever went wrong in parting: the place is free
                await (self._pool.give(link) if kept else self._pool.drop(link))

    async def _part(self, talk: Conversation, link: Link) -> bool:
        """End ``talk``. Whether ``link`` may be used again."""
        reusable = False
        try:
            await self._take_leave(talk, link)
            reusable = talk.over and link.connection.is_idle()
        finally:
            if not reusable:
                await talk.abandon()
        return reusable

    async def _take_leave(self, talk: Conversation, link: Link) -> None:
        """Who reads events stops at the last one, and leaves the last chunk unread. Take it, if it is here: it saves the connection."""
        if not talk.parked or not talk.gathered or self._interrupted or not link.socket.is_readable():
            return
        try:
            data = b""
            with anyio.move_on_after(_LEAVE_SECONDS):
                data = await link.socket.receive()
            if data:
                await talk.feed(data)
        except CAUGHT:
            return  # it is of no use any more, and will be closed

    def _talking(self) -> Conversation:
        if self._talk is None:
            raise RuntimeError(_NOT_OPENED)
        return self._talk

    def _refuse_if_interrupted(self) -> None:
        if self._interrupted:
            raise UpstreamFailed(_SHUTTING_DOWN, code="draining", phase=self._phase.value)

    def _was_stale(self) -> bool:
        """Whether the failure means that the connection had ended before the request was written, so that nobody can have acted on it.

        A request that was written whole may be at work, and cost money, whatever became of the connection: it is not sent again from
        here (RFC 9112, 9.3.1). Whether it is tried again is for the core to decide, which counts.
        """
        reused = self._link is not None and self._link.uses > 1
        return reused and self._talk is not None and not (self._talk.sent or self._heard or self._interrupted)

    def _failed(self, error: BaseException, *, ended: bool = False) -> UpstreamError:
        if self._interrupted:
            return UpstreamFailed(_SHUTTING_DOWN, code="draining", phase=self._phase.value)
        return failure(error, UPSTREAM, self._phase.value, ended=ended)

    def _late(self) -> UpstreamTimeout:
        """Which deadline it was."""
        limits = self._deadlines
        if anyio.current_time() >= self._total_by:
            what = f"no complete answer within {_rounded(limits.total)} s"
        elif self._phase is Phase.CONNECT:
            what = f"no connection within {_rounded(limits.connect)} s"
        elif self._talk is not None and self._talk.gathered:
            what = f"silent for {_rounded(limits.gap)} s in the middle of its answer"
        else:
            what = f"no answer within {_rounded(limits.first_byte)} s"
        return UpstreamTimeout(f"{UPSTREAM}: {what}", phase=self._phase.value)


def _quiet_by(idle: float | None) -> float:
    """The moment at which ``idle`` seconds from now will have been silent."""
    return math.inf if idle is None else anyio.current_time() + idle


def _rounded(seconds: float) -> str:
    """For people: a deadline may be what earlier attempts have left of one."""
    return f"{round(seconds, 2):g}"


@lru_cache(maxsize=256)  # more than the origins and paths of any configuration; clients' query strings come and go
def _parts(url: str) -> tuple[Origin, bytes]:
    """``url`` as origin and request target. Raises ``ValueError`` for anything but http and https."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an upstream URL must be http or https and name a host")
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Origin(parts.scheme, parts.hostname, port), target.encode("ascii")


def _message(request: UpstreamRequest, origin: Origin, target: bytes, link: Link) -> httpcore.Request:
    """``request`` as httpcore sends it, framed and addressed."""
    headers = [(b"host", origin.authority)]
    headers += [(name, printable(value)) for name, value in request.headers if name not in _OWN_HEADERS]
    headers.append((b"accept-encoding", b"identity"))
    if request.body or request.method not in ("GET", "HEAD"):
        headers.append((b"content-length", b"%d" % len(request.body)))
    if link.through is not None:
        target = b"http://" + origin.authority + target
        headers += link.through.headers
    url = httpcore.URL(scheme=origin.scheme, host=origin.host, port=origin.port, target=target)
    return httpcore.Request(request.method, url, headers=headers, content=request.body)
