"""The way to an upstream: names, TCP, TLS and proxies, and what is said when it does not lead there."""

from __future__ import annotations

import ssl
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream, SocketStream
from anyio.streams.tls import TLSStream

from core.effects import Deadlines
from core.errors import UpstreamFailed
from tests.transports.toys import PATIENCE, Visit, echo, post, toy_upstream, upstream
from transports.upstream import Census, Proxies, Proxy, Upstream

pytestmark = pytest.mark.anyio

CERTIFICATE = Path(__file__).parent / "data" / "localhost.pem"
LIMITLESS = Deadlines(0, 0, 0, 0)


async def closed_port() -> int:
    """A port nobody listens on."""
    async with toy_upstream() as toy:
        return toy.port


# ---------------------------------------------------------------------------------------------------------- failures


async def test_a_refused_connection_says_so() -> None:
    port = await closed_port()
    async with upstream() as client:
        with pytest.raises(UpstreamFailed, match=r"^the upstream: connection refused$") as caught:
            await client.fetch(post(f"http://127.0.0.1:{port}/secret?key=k"), 5)
        assert (caught.value.phase, caught.value.status) == ("connect", 502)
        assert client.census == Census(0, 0, 0)


async def test_a_name_that_does_not_exist_says_so() -> None:
    async with upstream() as client:
        with pytest.raises(UpstreamFailed, match=r"^the upstream: name not resolved$"):
            await client.fetch(post("http://no-such-host.invalid/"), 5)


async def test_a_reset_says_so() -> None:
    async def reset(visit: Visit) -> None:
        raw = visit.stream.extra(anyio.abc.SocketAttribute.raw_socket)
        await visit.request()
        raw.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SO_LINGER 0: close with a reset

    async with toy_upstream(reset) as toy, upstream() as client:
        with pytest.raises(UpstreamFailed, match=r"^the upstream: (connection reset|the connection was closed)"):
            await client.fetch(post(toy.url), 5)


async def with_tls(raw: SocketStream) -> ByteStream:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    try:
        return await TLSStream.wrap(raw, server_side=True, ssl_context=context, standard_compatible=False)
    except ssl.SSLError:  # the client did not like the certificate
        raise anyio.BrokenResourceError from None


async def test_a_certificate_that_is_not_trusted_is_refused() -> None:
    async with toy_upstream(echo, with_tls) as toy, upstream() as client:
        with pytest.raises(UpstreamFailed, match=r"^the upstream: TLS: certificate not accepted: it is self-signed$") as caught:
            await client.fetch(post(f"https://127.0.0.1:{toy.port}/"), 5)
        assert caught.value.phase == "connect"
        assert client.census == Census(0, 0, 0)


async def test_a_server_without_TLS_is_refused() -> None:
    async def not_tls(visit: Visit) -> None:
        await visit.stream.receive()
        await visit.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await visit.left()

    async with toy_upstream(not_tls) as toy, upstream() as client:
        with pytest.raises(UpstreamFailed, match=r"^the upstream: TLS: (wrong version number|record layer failure|packet length too long)"):
            await client.fetch(post(f"https://127.0.0.1:{toy.port}/"), 5)


async def test_a_trusted_certificate_is_spoken_to_and_the_connection_kept() -> None:
    context = ssl.create_default_context(cafile=str(CERTIFICATE))
    with anyio.fail_after(PATIENCE):
        async with toy_upstream(echo, with_tls) as toy:
            client = Upstream(tls=context)
            for text in (b"one", b"two"):
                _, body = await client.fetch(post(f"https://127.0.0.1:{toy.port}/", text), 5)
                assert body == text
            assert len(toy.visits) == 1
            await client.close()


# ------------------------------------------------------------------------------------------------------------ proxies


def proxied(port: int, *, password: str = "") -> Upstream:
    proxy = Proxy.parse(f"http://{password}127.0.0.1:{port}")
    return Upstream(proxies=Proxies(http=proxy, https=proxy), tls=ssl.create_default_context(cafile=str(CERTIFICATE)))


async def test_an_http_upstream_is_asked_for_through_the_proxy_with_its_whole_address() -> None:
    with anyio.fail_after(PATIENCE):
        async with toy_upstream() as proxy:
            client = proxied(proxy.port, password="me:secret@")
            _, body = await client.fetch(post("http://api.example/v1/x?y=z", b"hi"), 5)
            assert body == b"hi"
            lines = proxy.requests[0].split(b"\r\n")
            assert lines[0] == b"POST http://api.example/v1/x?y=z HTTP/1.1"
            assert b"host: api.example" in lines
            assert b"proxy-authorization: Basic bWU6c2VjcmV0" in lines
            await client.close()


async def test_an_https_upstream_is_reached_through_a_tunnel() -> None:
    async def tunnel(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        assert isinstance(visit.stream, SocketStream)
        inner = Visit(await with_tls(visit.stream), 1)
        inside.append(inner)
        await echo(inner)

    inside: list[Visit] = []
    with anyio.fail_after(PATIENCE):
        async with toy_upstream(tunnel) as proxy:
            client = proxied(proxy.port, password="me:secret@")
            call = client.call()
            # The test certificate is for localhost; a name that leads nowhere shows that nobody but the proxy resolves it.
            with pytest.raises(UpstreamFailed, match=r"^the upstream: TLS: certificate not accepted: it is for another host$"):
                await call.open(post("https://api.example/"), LIMITLESS)
            assert proxy.requests == [
                b"CONNECT api.example:443 HTTP/1.1\r\nhost: api.example:443\r\nproxy-authorization: Basic bWU6c2VjcmV0"
            ]
            await call.release()
            assert client.census == Census(0, 0, 0)


async def test_what_is_said_in_a_tunnel_is_no_business_of_the_proxy() -> None:
    async def tunnel(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        assert isinstance(visit.stream, SocketStream)
        inside.append(Visit(await with_tls(visit.stream), 1))
        await echo(inside[-1])

    inside: list[Visit] = []
    context = ssl.create_default_context(cafile=str(CERTIFICATE))
    context.check_hostname = False
    with anyio.fail_after(PATIENCE):
        async with toy_upstream(tunnel) as proxy:
            client = Upstream(proxies=Proxies(https=Proxy.parse(f"http://127.0.0.1:{proxy.port}")), tls=context)
            for text in (b"one", b"two"):
                assert (await client.fetch(post("https://api.example/v1", text), 5))[1] == text
            assert inside[0].requests[1].startswith(b"POST /v1 HTTP/1.1\r\nhost: api.example\r\n")
            assert len(proxy.requests) == 1
            await client.close()


async def test_a_proxy_that_refuses_the_tunnel_is_named() -> None:
    async def refuse(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
        await visit.left()

    with anyio.fail_after(PATIENCE):
        async with toy_upstream(refuse) as proxy:
            client = proxied(proxy.port)
            with pytest.raises(UpstreamFailed, match=r"^the forward proxy: refused the tunnel with status 407$"):
                await client.fetch(post("https://api.example/"), 5)
            assert client.census == Census(0, 0, 0)


async def test_a_proxy_that_hangs_up_is_named() -> None:
    async def hang_up(visit: Visit) -> None:
        await visit.request()

    with anyio.fail_after(PATIENCE):
        async with toy_upstream(hang_up) as proxy:
            client = proxied(proxy.port)
            with pytest.raises(UpstreamFailed, match=r"^the forward proxy: the connection was closed"):
                await client.fetch(post("https://api.example/"), 5)


async def test_a_proxy_that_does_not_listen_is_named() -> None:
    port = await closed_port()
    with anyio.fail_after(PATIENCE):
        with pytest.raises(UpstreamFailed, match=r"^the forward proxy: connection refused$"):
            await proxied(port).fetch(post("http://api.example/"), 5)
