"""Which proxy an environment means."""

from __future__ import annotations

import pytest

from transports.upstream import Proxies, Proxy


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://proxy:3128", Proxy("http", "proxy", 3128)),
        ("proxy:3128", Proxy("http", "proxy", 3128)),
        ("http://proxy", Proxy("http", "proxy", 80)),
        ("https://proxy/", Proxy("https", "proxy", 443)),
        ("http://[::1]:8080", Proxy("http", "::1", 8080)),
        ("http://me:p%40ss@proxy:1", Proxy("http", "proxy", 1, ((b"proxy-authorization", b"Basic bWU6cEBzcw=="),))),
    ],
)
def test_an_address_is_understood(address: str, expected: Proxy) -> None:
    assert Proxy.parse(address) == expected


@pytest.mark.parametrize("address", ["socks5://me:secret@proxy:1", "http://", "http://me:secret@proxy:99999", "http://me:secret@proxy:x"])
def test_a_wrong_address_is_refused_without_telling_its_password(address: str) -> None:
    with pytest.raises(ValueError, match=r"^HTTPS_PROXY: ") as caught:
        Proxies.from_environment({"HTTPS_PROXY": address})
    assert "secret" not in str(caught.value)


def test_each_scheme_has_its_proxy_and_lower_case_names_win() -> None:
    proxies = Proxies.from_environment({"HTTP_PROXY": "a:1", "http_proxy": "b:2", "ALL_PROXY": "c:3"})
    http, https = proxies.toward("http", "x.example", 80), proxies.toward("https", "x.example", 443)
    assert (http and http.host, https and https.host) == ("b", "c")


def test_without_proxies_every_way_is_direct() -> None:
    assert Proxies.from_environment({"HTTP_PROXY": "", "PATH": "/bin"}) == Proxies()
    assert Proxies().toward("https", "api.example", 443) is None


@pytest.mark.parametrize(
    ("listed", "host", "port", "direct"),
    [
        ("", "api.example", 443, False),
        ("", "localhost", 443, True),
        ("", "127.0.0.9", 443, True),
        ("", "::1", 443, True),
        ("*", "api.example", 443, True),
        ("example", "api.example", 443, True),
        (".example", "API.Example", 443, True),
        ("*.example", "api.example", 443, True),
        ("api.example", "api.example", 443, True),
        ("pi.example", "api.example", 443, False),
        ("a, api.example:443 ,b", "api.example", 443, True),
        ("api.example:8443", "api.example", 443, False),
        ("10.0.0.1", "10.0.0.1", 80, True),
    ],
)
def test_NO_PROXY_and_loopback_go_direct(listed: str, host: str, port: int, direct: bool) -> None:
    proxies = Proxies.from_environment({"ALL_PROXY": "proxy:1", "NO_PROXY": listed})
    assert (proxies.toward("https", host, port) is None) is direct
