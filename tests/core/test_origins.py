"""Web pages: which Host and Origin a request may have, and what a browser is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.effects import Compute, Flow, Head, Load, Send, Start
from core.errors import ClientGone, Forbidden, UpstreamFailed
from core.origins import Origins, granted, preflight, readable
from core.settings import Settings
from core.testing import ScriptedWorld

LOOPBACK = Settings()
LOOPBACK_AND_NAME = Settings(allowed_hosts=("Proxy.Example", "::2"))
PUBLIC = Settings(host="0.0.0.0")
PUBLIC_WITH_NAMES = Settings(host="0.0.0.0", allowed_hosts=("proxy.example",))


@pytest.mark.parametrize(
    ("settings", "host", "served"),
    [
        (LOOPBACK, b"localhost", True),
        (LOOPBACK, b"LocalHost:5000", True),
        (LOOPBACK, b"127.0.0.1", True),
        (LOOPBACK, b"127.0.0.1:1", True),
        (LOOPBACK, b"[::1]", True),
        (LOOPBACK, b"[::1]:5000", True),
        (LOOPBACK, b"127.255.0.1:5000", True),
        (LOOPBACK, b"127.0.0.0", True),
        (LOOPBACK, b"", False),
        (LOOPBACK, b":5000", False),
        (LOOPBACK, b"[]", False),
        (LOOPBACK, b"[127.0.0.1]", False),
        (LOOPBACK, b"[localhost]", False),
        (LOOPBACK, b"[::ffff:127.0.0.1]", False),
        (LOOPBACK, b"localhost.localdomain", False),
        (LOOPBACK, b"ip6-localhost", False),
        (LOOPBACK, b"localhost.", False),
        (LOOPBACK, b"127.1", False),
        (LOOPBACK, b"127.0.0.256", False),
        (LOOPBACK, b"127.0.0.01", False),
        (LOOPBACK, b"126.0.0.1", False),
        (LOOPBACK, b"127.0.0.1.1", False),
        (LOOPBACK, b"127x0x0x1", False),
        (LOOPBACK, b"\xef\xbc\x91127.0.0.1", False),
        (LOOPBACK, b"evil.example", False),
        (LOOPBACK, b"evil.example:5000", False),
        (LOOPBACK, b"localhost.evil.example", False),
        (LOOPBACK, b"127.0.0.1.evil.example", False),
        (LOOPBACK, b"evil.example@127.0.0.1", False),
        (LOOPBACK, b"127.0.0.1:5000@evil.example", False),
        (LOOPBACK, b"127.0.0.1:port", False),
        (LOOPBACK, b"[::1]evil.example", False),
        (LOOPBACK, b"[::1", False),
        (LOOPBACK, b"192.168.1.2", False),
        (LOOPBACK, b"0.0.0.0", False),
        (LOOPBACK, b"2130706433", False),
        (LOOPBACK, b"localhost/", False),
        (LOOPBACK, b"local host", False),
        (LOOPBACK, b"::1", False),
        (LOOPBACK, b"lo\xe9calhost", False),
        (LOOPBACK_AND_NAME, b"proxy.example:443", True),
        (LOOPBACK_AND_NAME, b"[::2]:443", True),
        (LOOPBACK_AND_NAME, b"127.0.0.1", True),
        (LOOPBACK_AND_NAME, b"other.example", False),
        (LOOPBACK_AND_NAME, b"", False),
        (PUBLIC, b"anything.example", True),
        (PUBLIC, b"", True),
        (PUBLIC_WITH_NAMES, b"PROXY.example:80", True),
        (PUBLIC_WITH_NAMES, b"127.0.0.1", False),
        (PUBLIC_WITH_NAMES, b"", False),
    ],
)
def test_a_host_that_is_not_ours_is_what_a_rebound_name_looks_like(settings: Settings, host: bytes, served: bool) -> None:
    if served:
        Origins(settings).check([(b"host", host)])
        return
    with pytest.raises(Forbidden) as caught:
        Origins(settings).check([(b"host", host)])
    assert (caught.value.status, caught.value.code) == (403, "forbidden_host")
    assert "ALLOWED_HOSTS" in str(caught.value)


def test_a_request_without_a_host_is_served_on_loopback_and_where_any_host_is() -> None:
    Origins(LOOPBACK).check([])
    Origins(PUBLIC).check([])
    Origins(LOOPBACK_AND_NAME).check([])
    with pytest.raises(Forbidden):
        Origins(PUBLIC_WITH_NAMES).check([])


def test_a_second_host_does_not_cover_the_first() -> None:
    with pytest.raises(Forbidden):
        Origins(LOOPBACK).check([(b"host", b"evil.example"), (b"host", b"localhost")])
    with pytest.raises(Forbidden):
        Origins(LOOPBACK).check([(b"host", b"localhost"), (b"host", b"")])


@pytest.mark.parametrize(
    ("origin", "served"),
    [
        (b"http://127.0.0.1:5000", True),
        (b"https://127.0.0.1:5000", True),
        (b"HTTPS://127.0.0.1:5000", True),
        (b"http://127.0.0.1", False),
        (b"http://127.0.0.1:5001", False),
        (b"http://evil.example", False),
        (b"null", False),
        (b"", False),
        (b"http://127.0.0.1:5000.evil.example", False),
    ],
)
@pytest.mark.parametrize("settings", [LOOPBACK, PUBLIC])
def test_a_web_page_of_another_origin_is_refused(settings: Settings, origin: bytes, served: bool) -> None:
    headers = [(b"host", b"127.0.0.1:5000"), (b"origin", origin)]
    if served:
        Origins(settings).check(headers)
        return
    with pytest.raises(Forbidden) as caught:
        Origins(settings).check(headers)
    assert caught.value.code == "forbidden_origin"


def test_a_request_has_one_origin() -> None:
    own = (b"origin", b"http://127.0.0.1:5000")
    with pytest.raises(Forbidden):
        Origins(LOOPBACK).check([(b"host", b"127.0.0.1:5000"), own, own])


def test_any_port_of_ours_is_ours() -> None:
    """Host is compared whole with the origin, and taken apart only where it is not the usual one."""
    for host in (b"localhost:5000", b"localhost:80", b"LOCALHOST"):
        Origins(LOOPBACK).check([(b"host", host), (b"origin", b"http://" + host.lower())])


# ---------------------------------------------------------------------------------------------------- pages of other origins

LISTED = Settings(enable_cors=True, cors_origins=("http://localhost:3000", "https://app.example"))
ANYONE = Settings(enable_cors=True, cors_origins=("*",))
SWITCHED_OFF = Settings(cors_origins=("http://localhost:3000",))


@pytest.mark.parametrize(
    ("settings", "origin", "listed"),
    [
        (LISTED, b"http://localhost:3000", True),
        (LISTED, b"https://app.example", True),
        (LISTED, b"HTTPS://App.Example", True),
        (LISTED, b"http://app.example", False),
        (LISTED, b"https://app.example:8443", False),
        (LISTED, b"https://app.example.evil.example", False),
        (LISTED, b"https://evil.example", False),
        (LISTED, b"null", False),
        (LISTED, b"", False),
        (LISTED, b"*", False),
        (ANYONE, b"https://evil.example", True),
        (ANYONE, b"null", False),
        (ANYONE, b"*", False),
        (ANYONE, b"", False),
        (ANYONE, b"file://", False),
        (ANYONE, b"https://a b", False),
        (ANYONE, b"https://caf\xe9.example", False),
        (SWITCHED_OFF, b"http://localhost:3000", False),
    ],
)
def test_a_listed_page_may_ask_and_read(settings: Settings, origin: bytes, listed: bool) -> None:
    origins, headers = Origins(settings), [(b"host", b"127.0.0.1:5000"), (b"origin", origin)]
    assert origins.page(headers) == (origin if listed else None)
    if listed:
        origins.check(headers)
        return
    with pytest.raises(Forbidden) as caught:
        origins.check(headers)
    assert ("CORS_ORIGINS" in str(caught.value), "ENABLE_CORS" in str(caught.value)) == (True, not settings.enable_cors)


def test_the_page_is_one_that_may_ask() -> None:
    two = [(b"host", b"127.0.0.1:5000"), (b"origin", b"http://localhost:3000"), (b"origin", b"http://localhost:3000")]
    assert Origins(LISTED).page(two) is None
    assert Origins(LISTED).page([]) is None
    with pytest.raises(Forbidden):
        Origins(LISTED).check(two)


def test_our_own_pages_need_no_permission() -> None:
    own = [(b"host", b"127.0.0.1:5000"), (b"origin", b"http://127.0.0.1:5000")]
    Origins(LISTED).check(own)
    assert Origins(LISTED).page(own) is None


@pytest.mark.parametrize(
    ("asked", "echoed"),
    [
        (b"authorization", True),
        (b"x-api-key,anthropic-version, X-Stainless-OS", True),
        (b"x-api-key\t,\tcontent-type", True),
        (b"", False),
        (b",", False),
        (b"a b", False),
        (b"a:b", False),
        (b"a,\r\nset-cookie: b", False),
        (b"caf\xc3\xa9", False),
        (b"a\x00", False),
        (b"a" * 4096, True),
        (b"a" * 4097, False),
    ],
)
def test_a_preflight_allows_the_headers_that_are_asked_for_if_they_are_names(asked: bytes, echoed: bool) -> None:
    told = dict(preflight(("POST",), [(b"access-control-request-headers", asked)]))
    assert told[b"access-control-allow-methods"] == b"POST, OPTIONS"
    assert int(told[b"access-control-max-age"]) > 0
    assert (told[b"access-control-allow-headers"] == asked) is echoed
    if not echoed:
        assert b"x-stainless-os" in told[b"access-control-allow-headers"]


def test_a_preflight_that_asks_for_nothing_allows_what_the_vendors_clients_send() -> None:
    names = dict(preflight(("GET", "HEAD"), []))[b"access-control-allow-headers"]
    for name in (b"authorization", b"x-api-key", b"content-type", b"anthropic-version", b"anthropic-beta"):
        assert name in names.split(b", ")


@given(st.binary(max_size=60))
def test_nothing_gets_into_a_header_line_that_is_no_name(asked: bytes) -> None:
    for name, value in preflight(("POST",), [(b"access-control-request-headers", asked)]):
        assert all(0x20 <= byte < 0x7F or byte == 9 for byte in name + value)


@given(st.binary(max_size=40) | st.binary(max_size=30).map(b"https://".__add__))
def test_no_origin_gets_into_a_header_line_that_is_not_visible_ASCII(origin: bytes) -> None:
    page = Origins(ANYONE).page([(b"origin", origin)])
    assert page is None or all(0x20 < byte < 0x7F for byte in page)


# ---------------------------------------------------------------------------------------------------- answers that may be read


def test_an_answer_for_a_page_says_so_and_is_otherwise_the_same() -> None:
    world = ScriptedWorld(cache={b"k": b"v"})
    got: list[object] = []

    def flow() -> Flow[None]:
        got.append((yield from Load(b"k")))
        yield from Start(Head(200, [(b"a", b"b")]))
        got.append((yield from Compute(len, (b"12",))))
        yield from Send(b"x")

    world.run(readable(flow(), b"http://page"))
    assert got == [b"v", 2]
    assert world.head == Head(200, ((b"a", b"b"), *granted(b"http://page")))
    assert dict(world.head.headers)[b"access-control-allow-origin"] == b"http://page"
    assert dict(world.head.headers)[b"vary"] == b"origin"
    assert world.sent == b"x"


def test_without_a_page_the_flow_is_left_alone() -> None:
    def nothing() -> Flow[None]:
        yield from Start(Head(204, ()))

    flow = nothing()
    assert readable(flow, None) is flow
    assert granted(None) == ()


@pytest.mark.parametrize("error", [UpstreamFailed("cut"), ClientGone()])
def test_what_goes_wrong_goes_wrong_where_it_did(error: Exception) -> None:
    caught: list[Exception] = []

    def flow() -> Flow[None]:
        try:
            yield from Load(b"k")
        except (UpstreamFailed, ClientGone) as thrown:
            caught.append(thrown)
            if isinstance(thrown, ClientGone):
                raise
        yield from Start(Head(502, ()))

    outer = readable(flow(), b"http://page")
    assert next(outer) == Load(b"k")
    if isinstance(error, ClientGone):
        with pytest.raises(ClientGone):
            outer.throw(error)
    else:
        assert outer.throw(error) == Start(Head(502, granted(b"http://page")))
        with pytest.raises(StopIteration):
            outer.send(None)
    assert caught == [error]
