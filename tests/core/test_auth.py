"""The inbound key: which credentials a request shows, whether one of them opens the door, and which is left."""

from __future__ import annotations

import itertools

import pytest

from core.auth import Keys
from core.credentials import Credential
from core.dialects import Protocol
from core.errors import BadRequest, Unauthorized
from core.settings import Settings

MESSAGES, CHAT = Protocol.ANTHROPIC, Protocol.OPENAI
INBOUND = "inbound-key"


def bearer(key: str, scheme: str = "Bearer") -> tuple[bytes, bytes]:
    return b"authorization", f"{scheme} {key}".encode()


def api_key(key: str) -> tuple[bytes, bytes]:
    return b"x-api-key", key.encode()


def admitted(*headers: tuple[bytes, bytes], wire: Protocol = MESSAGES, inbound: str | None = None) -> bytes | None:
    client = Keys(Settings(proxy_api_key=inbound)).admit(headers, wire)
    return None if client is None else client.value


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


def test_an_inbound_key_may_be_the_very_word_that_stands_for_none() -> None:
    assert admitted(api_key("proxy-local"), inbound="proxy-local") is None


#: What a header may hold: nothing, the inbound key in several spellings, the client's own key, the placeholder, rubbish.
HELD = (None, INBOUND, f"  {INBOUND} ", "mine", "theirs", "proxy-local", "", "caf\u00e9")


@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
@pytest.mark.parametrize(("in_x", "in_bearer"), list(itertools.product(HELD, HELD)), ids=str)
def test_of_every_combination_a_right_value_in_either_header_is_enough_and_goes_no_further(
    in_x: str | None, in_bearer: str | None, scheme: str, wire: Protocol
) -> None:
    headers = [
        *([] if in_x is None else [api_key(in_x)]),
        *([] if in_bearer is None else [bearer(in_bearer, scheme)]),
    ]
    held = {"x-api-key": (in_x or "").strip(), "authorization": (in_bearer or "").strip()}
    if INBOUND not in held.values():
        with pytest.raises(Unauthorized):
            admitted(*headers, wire=wire, inbound=INBOUND)
        return
    left = [value for value in held.values() if value in ("mine", "theirs")]
    assert admitted(*headers, wire=wire, inbound=INBOUND) == (left[0].encode() if left else None)


@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
@pytest.mark.parametrize("inbound", [None, INBOUND])
@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ([api_key(INBOUND), api_key("other")], "x-api-key"),
        ([api_key("other"), api_key(INBOUND)], "x-api-key"),
        ([bearer("other"), bearer(INBOUND)], "authorization"),
        ([bearer(INBOUND), api_key("a"), api_key("b")], "x-api-key"),
    ],
)
def test_a_header_that_says_two_things_is_refused_whoever_would_read_the_first_or_the_last(
    headers: list[tuple[bytes, bytes]], name: str, inbound: str | None, wire: Protocol
) -> None:
    with pytest.raises(BadRequest) as caught:
        admitted(*headers, wire=wire, inbound=inbound)
    assert name in str(caught.value)
    assert INBOUND not in str(caught.value)


def test_a_header_that_says_the_same_twice_says_it() -> None:
    assert admitted(api_key(INBOUND), api_key(f" {INBOUND}"), bearer("b"), bearer("b"), inbound=INBOUND) == b"b"


@pytest.mark.parametrize(("header", "bearer_form"), [(api_key("k"), False), (bearer("k"), True)])
def test_a_credential_knows_the_form_it_came_in(header: tuple[bytes, bytes], bearer_form: bool) -> None:
    client = Keys(Settings()).admit([header], MESSAGES)
    assert client is not None
    assert client.bearer is bearer_form


def test_the_key_itself_is_not_kept() -> None:
    keys = Keys(Settings(proxy_api_key=INBOUND))
    assert keys.wanted
    assert not Keys(Settings()).wanted
    assert INBOUND not in repr([getattr(keys, name) for name in keys.__slots__])
    assert "mine" not in f"{Credential(b'mine')}"
