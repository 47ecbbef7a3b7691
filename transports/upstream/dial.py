"""From an origin to a connection that httpcore can speak on: name, TCP, TLS, and the way through a proxy."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import anyio
import httpcore
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from core.errors import UpstreamFailed
from transports.upstream.conversation import Conversation, Socket
from transports.upstream.faults import CAUGHT, FORWARD_PROXY, UPSTREAM, failure
from transports.upstream.proxies import Proxy


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an upstream lives; what connections are pooled by."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> bytes:
        """The value of the ``host`` header: without the scheme's own port, IPv6 addresses in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"http": 80, "https": 443}[self.scheme] == self.port
        return (host if usual else f"{host}:{self.port}").encode("ascii")


@dataclass(slots=True)
class Link:
    """An open connection to an origin."""

    connection: httpcore.AsyncHTTP11Connection
    socket: Socket
    through: Proxy | None  # a proxy that wants absolute request targets and its own credentials
    uses: int = 0  # requests it was taken for

    async def close(self) -> None:
        """Close the socket at once, also in a cancelled scope."""
        with anyio.CancelScope(shield=True):
            await self.socket.aclose()


async def dial(origin: Origin, proxy: Proxy | None, tls: ssl.SSLContext | None, keepalive_seconds: float) -> Link:
    """Connect to ``origin``. ``tls`` is needed for https, to the origin or to the proxy.

    Raises ``UpstreamFailed``. Whatever was opened is closed when this fails or is cancelled.
    """
    first = origin if proxy is None else Origin(proxy.scheme, proxy.host, proxy.port)
    name = UPSTREAM if proxy is None else FORWARD_PROXY
    stream: ByteStream | None = None
    try:
        stream = await anyio.connect_tcp(first.host, first.port)
        if first.scheme == "https":
            stream = await _encrypt(stream, first.host, tls)
        if proxy is not None and origin.scheme == "https":
            await _ask_for_tunnel(stream, origin, proxy)
            name = UPSTREAM
            stream = await _encrypt(stream, origin.host, tls)
    except BaseException as error:
        if stream is not None:
            with anyio.CancelScope(shield=True):
                await stream.aclose()
        if isinstance(error, CAUGHT):
            raise failure(error, name, "connect") from error
        raise
    socket = Socket(stream)
    spoken_to = httpcore.Origin(origin.scheme.encode(), origin.host.encode("ascii"), origin.port)
    connection = httpcore.AsyncHTTP11Connection(spoken_to, socket, keepalive_expiry=keepalive_seconds)
    return Link(connection, socket, proxy if origin.scheme == "http" else None)


async def _encrypt(stream: ByteStream, host: str, tls: ssl.SSLContext | None) -> ByteStream:
    # Servers end TLS without saying goodbye; HTTP's own framing tells a whole answer from a cut one.
    return await TLSStream.wrap(stream, hostname=host, ssl_context=tls, standard_compatible=False)


async def _ask_for_tunnel(stream: ByteStream, origin: Origin, proxy: Proxy) -> None:
    """``CONNECT`` through ``proxy``; afterwards ``stream`` leads to ``origin``."""
    target = f"[{origin.host}]:{origin.port}" if ":" in origin.host else f"{origin.host}:{origin.port}"
    address = httpcore.URL(scheme=proxy.scheme, host=proxy.host, port=proxy.port, target=target)
    request = httpcore.Request(b"CONNECT", address, headers=[(b"host", target.encode("ascii")), *proxy.headers])
    socket = Socket(stream)
    connection = httpcore.AsyncHTTP11Connection(address.origin, socket)
    talk = Conversation(connection, socket, request, tunnel=True)
    data = None
    try:
        await talk.begin()
        while talk.head is None:
            data = await socket.receive()
            await talk.feed(data)
    except httpcore.RemoteProtocolError as error:
        raise failure(error, FORWARD_PROXY, "connect", ended=data == b"") from error
    finally:
        await talk.abandon()
    if not 200 <= talk.head.status < 300:
        raise UpstreamFailed(f"{FORWARD_PROXY}: refused the tunnel with status {talk.head.status}", phase="connect")
