"""Credentials: one identity per request, always."""

from __future__ import annotations

import pytest

from core.auth import Credential, admit, check_host, header_of, upstream_credential
from core.dialects import Protocol
from core.errors import Forbidden, Unauthorized
from core.settings import Settings

MESSAGES, CHAT = Protocol.ANTHROPIC, Protocol.OPENAI
INBOUND = "inbound-key"


def bearer(key: str, scheme: str = "Bearer") -> tuple[bytes, bytes]:
    return b"authorization", f"{scheme} {key}".encode()


def api_key(key: str) -> tuple[bytes, bytes]:
    return b"x-api-key", key.encode()


def admitted(*headers: tuple[bytes, bytes], wire: Protocol = MESSAGES, inbound: str | None = None, exempt: bool = False) -> bytes | None:
    client = admit(headers, wire, Settings(proxy_api_key=inbound), exempt=exempt)
    return None if client is None else client.value


# ---------------------------------------------------------------------------------------------------- at the door


@pytest.mark.parametrize(
    ("headers", "on_messages", "on_chat"),
    [
        pytest.param([], None, None, id="nothing"),
        pytest.param([api_key("a")], b"a", b"a", id="x-api-key"),
        pytest.param([bearer("b")], b"b", b"b", id="a bearer"),
        pytest.param([api_key("a"), bearer("b")], b"a", b"b", id="both: the one native to the endpoint"),
        pytest.param([bearer("b"), api_key("a")], b"a", b"b", id="both, in the other order"),
        pytest.param([bearer("b", "bEARer")], b"b", b"b", id="a scheme in any case"),
        pytest.param([bearer("  b  ")], b"b", b"b", id="spaces around it"),
        pytest.param([bearer("b", "Basic")], None, None, id="another scheme"),
        pytest.param([(b"authorization", b"b")], None, None, id="no scheme"),
        pytest.param([bearer("")], None, None, id="an empty bearer"),
        pytest.param([api_key("proxy-local")], None, None, id="the placeholder"),
        pytest.param([api_key("proxy-local"), bearer("b")], b"b", b"b", id="the placeholder beside a key"),
        pytest.param([api_key("a"), bearer("proxy-local")], b"a", b"a", id="a key beside the placeholder"),
        pytest.param([(b"x-api-key", b"a\r\nx: y")], None, None, id="a line end in it"),
        pytest.param([(b"x-api-key", b"caf\xc3\xa9")], None, None, id="letters no header may hold"),
    ],
)
def test_the_clients_own_credential_is_the_one_it_shows(
    headers: list[tuple[bytes, bytes]], on_messages: bytes | None, on_chat: bytes | None
) -> None:
    assert admitted(*headers, wire=MESSAGES) == on_messages
    assert admitted(*headers, wire=CHAT) == on_chat


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        pytest.param([api_key(INBOUND)], None, id="in x-api-key"),
        pytest.param([bearer(INBOUND)], None, id="as a bearer"),
        pytest.param([bearer(INBOUND), api_key(INBOUND)], None, id="in both"),
        pytest.param([bearer(INBOUND), api_key("a")], b"a", id="as a bearer, beside a key"),
        pytest.param([api_key(INBOUND), bearer("b")], b"b", id="in x-api-key, beside a bearer"),
        pytest.param([api_key(INBOUND), bearer("proxy-local")], None, id="beside the placeholder"),
    ],
)
@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
def test_the_inbound_key_is_consumed_and_what_is_left_is_the_clients(
    wire: Protocol, headers: list[tuple[bytes, bytes]], client: bytes | None
) -> None:
    assert admitted(*headers, wire=wire, inbound=INBOUND) == client


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [api_key("wrong")],
        [bearer("wrong"), api_key("also wrong")],
        [bearer(INBOUND, "Basic")],
        [(b"authorization", INBOUND.encode())],
        [api_key(INBOUND + "x")],
        [api_key(INBOUND[:-1])],
        [(b"x-proxy-key", INBOUND.encode())],
        [api_key("")],
    ],
    ids=str,
)
@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
def test_without_the_inbound_key_nobody_comes_in(wire: Protocol, headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Unauthorized) as caught:
        admitted(*headers, wire=wire, inbound=INBOUND)
    assert caught.value.code == "unauthorized"
    assert INBOUND not in str(caught.value)
    admitted(*headers, wire=wire, inbound=INBOUND, exempt=True)


def test_an_inbound_key_may_be_the_very_word_that_stands_for_none() -> None:
    assert admitted(api_key("proxy-local"), inbound="proxy-local") is None


# ---------------------------------------------------------------------------------------------------- upstream


@pytest.mark.parametrize(
    ("forward", "client", "server", "used"),
    [
        (True, "c", "s", b"c"),
        (True, "c", None, b"c"),
        (True, None, "s", b"s"),
        (True, None, None, None),
        (False, "c", "s", b"s"),
        (False, "c", None, None),
        (False, None, "s", b"s"),
        (False, None, None, None),
    ],
)
def test_exactly_one_identity_goes_upstream_or_none_does(forward: bool, client: str | None, server: str | None, used: bytes | None) -> None:
    settings = Settings(forward_client_key=forward, server_api_key=server)
    shown = None if client is None else Credential(client.encode())
    if used is not None:
        assert upstream_credential(shown, settings) == Credential(used)
        return
    with pytest.raises(Unauthorized) as caught:
        upstream_credential(shown, settings)
    assert caught.value.code == "missing_upstream_credential"
    assert "SERVER_API_KEY" in str(caught.value)


def test_a_credential_goes_in_the_form_native_to_the_upstream() -> None:
    assert header_of(Credential(b"k"), MESSAGES) == (b"x-api-key", b"k")
    assert header_of(Credential(b"k"), CHAT) == (b"authorization", b"Bearer k")


def test_a_credential_does_not_show_itself() -> None:
    assert "secret" not in f"{Credential(b'secret')} {Credential(b'secret')!r} {[Credential(b'secret')]}"


# ---------------------------------------------------------------------------------------------------- host and origin

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
        (LOOPBACK, b"", True),
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
        (PUBLIC, b"anything.example", True),
        (PUBLIC, b"", True),
        (PUBLIC_WITH_NAMES, b"PROXY.example:80", True),
        (PUBLIC_WITH_NAMES, b"127.0.0.1", False),
        (PUBLIC_WITH_NAMES, b"", False),
    ],
)
def test_a_host_that_is_not_ours_is_what_a_rebound_name_looks_like(settings: Settings, host: bytes, served: bool) -> None:
    if served:
        check_host([(b"host", host)], settings)
        return
    with pytest.raises(Forbidden) as caught:
        check_host([(b"host", host)], settings)
    assert (caught.value.status, caught.value.code) == (403, "forbidden_host")
    assert "ALLOWED_HOSTS" in str(caught.value)


def test_a_request_without_a_host_is_served_on_loopback_and_where_any_host_is() -> None:
    check_host([], LOOPBACK)
    check_host([], PUBLIC)
    with pytest.raises(Forbidden):
        check_host([], PUBLIC_WITH_NAMES)


def test_a_second_host_does_not_cover_the_first() -> None:
    with pytest.raises(Forbidden):
        check_host([(b"host", b"evil.example"), (b"host", b"localhost")], LOOPBACK)


@pytest.mark.parametrize(
    ("origin", "served"),
    [
        (b"http://127.0.0.1:5000", True),
        (b"https://127.0.0.1:5000", True),
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
        check_host(headers, settings)
        return
    with pytest.raises(Forbidden) as caught:
        check_host(headers, settings)
    assert caught.value.code == "forbidden_origin"


def test_the_door_checks_the_host_before_any_key() -> None:
    with pytest.raises(Forbidden):
        admitted((b"host", b"evil.example"), api_key("wrong"), inbound=INBOUND)
    with pytest.raises(Forbidden):
        admitted((b"host", b"evil.example"), exempt=True)
