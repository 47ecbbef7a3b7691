"""Whose a request is, behind proxies that are believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.peers import Peers
from core.settings import Settings

TRUSTED = Peers(Settings(trusted_proxies=("10.0.0.0/8", "127.0.0.1/32", "fd00::/8")))


def address(peer: str, *forwarded: bytes, at: Peers = TRUSTED) -> str:
    return at.address(peer, [(b"host", b"x"), *((b"x-forwarded-for", value) for value in forwarded)])


@pytest.mark.parametrize(
    ("forwarded", "found"),
    [
        pytest.param([], "10.0.0.1", id="nobody is named"),
        pytest.param([b""], "10.0.0.1", id="an empty list"),
        pytest.param([b"203.0.113.7"], "203.0.113.7", id="the client"),
        pytest.param([b" 203.0.113.7 "], "203.0.113.7", id="blanks around it"),
        pytest.param([b"198.51.100.1, 203.0.113.7"], "203.0.113.7", id="what the client claimed, then the client"),
        pytest.param([b"127.0.0.1, 203.0.113.7"], "203.0.113.7", id="a client that claims to be trusted"),
        pytest.param([b"203.0.113.7, 10.0.0.9"], "203.0.113.7", id="two proxies"),
        pytest.param([b"203.0.113.7, 10.0.0.9,10.1.1.1"], "203.0.113.7", id="three proxies"),
        pytest.param([b"203.0.113.7", b"10.0.0.9"], "203.0.113.7", id="in two lines"),
        pytest.param([b"203.0.113.7", b"198.51.100.1"], "198.51.100.1", id="the last line is the nearer one"),
        pytest.param([b"10.0.0.8, 10.0.0.9"], "10.0.0.1", id="proxies only"),
        pytest.param([b"rubbish, 203.0.113.7"], "203.0.113.7", id="rubbish from the client is not looked at"),
        pytest.param([b"203.0.113.7, rubbish"], "10.0.0.1", id="rubbish from the proxy"),
        pytest.param([b"203.0.113.7, rubbish, 10.0.0.9"], "10.0.0.1", id="rubbish between proxies"),
        pytest.param([b"203.0.113.7,"], "10.0.0.1", id="an empty entry"),
        pytest.param([b"unknown"], "10.0.0.1", id="a word"),
        pytest.param([b"203.0.113.700"], "10.0.0.1", id="no such number"),
        pytest.param([b"203.0.113.007"], "10.0.0.1", id="octal"),
        pytest.param([b"3405803783"], "10.0.0.1", id="one number"),
        pytest.param([b"\xff"], "10.0.0.1", id="no ASCII"),
        pytest.param([b"203.0.113.7:1234"], "203.0.113.7", id="with a port"),
        pytest.param([b"[2001:db8::7]:1234"], "2001:db8::7", id="IPv6 with a port"),
        pytest.param([b"[2001:db8::7]"], "2001:db8::7", id="IPv6 in brackets"),
        pytest.param([b"2001:DB8:0::7"], "2001:db8::7", id="IPv6"),
        pytest.param([b"[203.0.113.7]"], "203.0.113.7", id="IPv4 in brackets"),
        pytest.param([b"::ffff:203.0.113.7"], "203.0.113.7", id="IPv4 as IPv6"),
        pytest.param([b"203.0.113.7, ::ffff:10.0.0.9"], "203.0.113.7", id="a proxy as IPv6"),
        pytest.param([b"203.0.113.7, fd00::1"], "203.0.113.7", id="a proxy with IPv6"),
        pytest.param([b"203.0.113.7" + b", 10.0.0.9" * 33], "10.0.0.1", id="more proxies than anybody has"),
        pytest.param([b"203.0.113.7" + b", 10.0.0.9" * 32], "203.0.113.7", id="as many as anybody has"),
    ],
)
def test_a_trusted_proxy_says_whom_it_speaks_for(forwarded: list[bytes], found: str) -> None:
    assert address("10.0.0.1", *forwarded) == found


@pytest.mark.parametrize("peer", ["203.0.113.9", "2001:db8::1", "", "a.socket", "10.0.0.300"])
def test_nobody_else_is_believed(peer: str) -> None:
    assert address(peer, b"198.51.100.1") == peer
    assert not TRUSTED.is_trusted(peer)


def test_without_trusted_proxies_nobody_is() -> None:
    nobody = Peers(Settings())
    assert address("127.0.0.1", b"198.51.100.1", at=nobody) == "127.0.0.1"
    assert not nobody.is_trusted("127.0.0.1")


@pytest.mark.parametrize("peer", ["127.0.0.1", "::ffff:127.0.0.1", "10.255.255.255", "fd12::1"])
def test_a_proxy_is_trusted_in_every_spelling(peer: str) -> None:
    assert TRUSTED.is_trusted(peer)


@pytest.mark.parametrize(
    ("peer", "counted"),
    [
        ("10.0.0.1", None),
        ("fd00::1", None),
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8::1", "2001:db8::"),
        ("2001:db8::ffff:1", "2001:db8::"),
    ],
)
def test_connections_of_a_trusted_proxy_are_not_counted_and_those_of_an_IPv6_network_together(peer: str, counted: str | None) -> None:
    assert TRUSTED.counted_as(peer) == counted


@given(
    claims=st.lists(st.text(st.characters(codec="latin-1"), max_size=20), max_size=3),
    client=st.ip_addresses().filter(lambda one: not TRUSTED.is_trusted(str(one))),
    proxies=st.lists(st.sampled_from(["10.0.0.9", "127.0.0.1", "fd00::2"]), max_size=3),
)
def test_what_a_client_writes_changes_nothing(claims: list[str], client: object, proxies: list[str]) -> None:
    said, added = [claim.encode("latin-1") for claim in claims], [str(client).encode(), *(proxy.encode() for proxy in proxies)]
    assert address("10.0.0.1", b", ".join(said + added)) == address("10.0.0.1", b", ".join(added))
