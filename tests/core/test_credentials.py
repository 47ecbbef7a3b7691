"""Outbound credentials: over every combination one identity goes to a target, or none and 401."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from core.auth import Keys
from core.credentials import Credential, credential_for, header_of
from core.dialects import Protocol
from core.effects import Headers
from core.errors import ProxyError, Unauthorized
from core.headers import upstream_headers
from core.routing import Target, route
from core.settings import Settings
from core.settings.upstreams import AUTHS, INTERNATIONAL, SERVERS, Auth, Bases, Model, Provider

MESSAGES, CHAT = Protocol.ANTHROPIC, Protocol.OPENAI
INBOUND = "inbound-key"
#: What a client shows: (x-api-key, bearer).
SHOWN = {
    "none": (None, None),
    "x-api-key": ("client-x", None),
    "bearer": (None, "client-b"),
    "both": ("client-x", "client-b"),
    "placeholder": ("proxy-local", None),
    "placeholder beside a key": ("client-x", "proxy-local"),
}


def shown(x_api_key: str | None, bearer: str | None) -> list[tuple[bytes, bytes]]:
    headers = [] if x_api_key is None else [(b"x-api-key", x_api_key.encode())]
    return headers if bearer is None else [*headers, (b"authorization", b"Bearer " + bearer.encode())]


def admitted(headers: Headers, wire: Protocol, inbound: str | None) -> Credential | None:
    return Keys(Settings(proxy_api_key=inbound)).admit(headers, wire)


# ---------------------------------------------------------------------------------------------------- every combination


def kinds() -> Iterator[tuple[str, Protocol, dict[str, Any] | None]]:
    """(name, protocol, provider) of every kind of target; no provider: the GLM server."""
    for protocol in (MESSAGES, CHAT):
        yield f"glm/{protocol.value}", protocol, None
        yield f"provider/{protocol.value}", protocol, {"api_key": "provider-key"}
        yield f"forwarding/{protocol.value}", protocol, {"forward_client_key": True}
        yield f"forwarding with a key/{protocol.value}", protocol, {"forward_client_key": True, "api_key": "provider-key"}
        for auth in AUTHS:
            yield f"provider, {auth}/{protocol.value}", protocol, {"api_key": "provider-key", "auth": auth}
            yield f"forwarding, {auth}/{protocol.value}", protocol, {"forward_client_key": True, "auth": auth}


SERVER_KEYS: dict[str, dict[str, Any]] = {
    "none": {},
    "SERVER_API_KEY": {"server_api_key": "server-key"},
    "the server's own": {"servers": {**SERVERS, "international": replace(INTERNATIONAL, api_key="own-key")}},
    "both": {"server_api_key": "server-key", "servers": {**SERVERS, "international": replace(INTERNATIONAL, api_key="own-key")}},
}


def the_clients(client: str, wire: Protocol, inbound_in: str | None) -> tuple[str, str] | None:
    """(key, header) of the client's own credential, as the rules have it."""
    held = dict(zip(("x-api-key", "authorization"), SHOWN[client], strict=True))
    if inbound_in is not None:
        held[inbound_in] = None  # the inbound key stood there
    order = ("x-api-key", "authorization") if wire is MESSAGES else ("authorization", "x-api-key")
    return next(((value, name) for name in order if (value := held[name]) not in (None, "proxy-local")), None)


def expected(own: tuple[str, str] | None, server: str, forward: bool, protocol: Protocol, provider: dict[str, Any] | None) -> Any:
    """(header, key) that goes upstream; None for 401. The table, in its own words."""
    if provider is None:
        owner: str | None = {"none": None, "SERVER_API_KEY": "server-key"}.get(server, "own-key")
        forwards = forward
    else:
        owner, forwards = provider.get("api_key"), provider.get("forward_client_key", False)
    key, came = own if forwards and own is not None else (owner, None)
    if key is None:
        return None
    native = "x-api-key" if protocol is MESSAGES else "authorization"
    forms = {None: native, "bearer": "authorization", "x-api-key": "x-api-key", "as-sent": came or native}
    return forms[(provider or {}).get("auth")], key


CASES = list(itertools.product(SHOWN, (None, "x-api-key", "authorization"), SERVER_KEYS, (True, False), kinds(), (MESSAGES, CHAT)))


def target_of(server: str, forward: bool, protocol: Protocol, provider: dict[str, Any] | None) -> Target:
    base = "https://upstream.example"
    bases = Bases(base, None) if protocol is MESSAGES else Bases(None, base)
    providers = () if provider is None else (Provider("p", bases, (Model("m", "m", "m"),), **provider),)
    settings = Settings(forward_client_key=forward, providers=providers, text_endpoint_preference=protocol.value, **SERVER_KEYS[server])
    return route("m", images=False, wire=MESSAGES, settings=settings)[0]


def credential_or_401(client: Credential | None, target: Target) -> Credential | None:
    try:
        return credential_for(client, target)
    except Unauthorized:
        return None


def test_over_every_combination_one_identity_goes_upstream_or_none_does() -> None:
    targets = {(server, forward, kind[0]): target_of(server, forward, *kind[1:]) for server in SERVER_KEYS for forward in (True, False) for kind in kinds()}  # fmt: skip
    seen: set[tuple[str, str]] = set()
    for client, inbound_in, server, forward, (kind, protocol, provider), wire in CASES:
        held = list(SHOWN[client])
        if inbound_in is not None:
            held[("x-api-key", "authorization").index(inbound_in)] = INBOUND
        own = admitted(shown(*held), wire, None if inbound_in is None else INBOUND)
        target = targets[server, forward, kind]
        assert target.protocol is protocol
        wanted = expected(the_clients(client, wire, inbound_in), server, forward, protocol, provider)
        case = (client, inbound_in, server, forward, kind, wire)
        credential = credential_or_401(own, target)
        if credential is None:
            assert wanted is None, case
            seen.add(("401", ""))
            continue
        headers = upstream_headers(target, credential, shown(*held), wire=wire, stream=False, settings=Settings())
        carried = [(name.decode(), value.decode().removeprefix("Bearer ")) for name, value in headers if name in (b"x-api-key", b"authorization")]  # fmt: skip
        assert carried == [wanted], case
        assert INBOUND.encode() not in b"".join(value for _, value in headers), case
        seen.add(carried[0])
    assert len(seen) == 1 + 2 * len({"client-x", "client-b", "server-key", "own-key", "provider-key"})  # each in both headers, and 401


@pytest.mark.parametrize(
    ("forward", "provider", "message"),
    [
        (True, None, "no credential for the upstream: send your key in Authorization: Bearer or x-api-key, or set SERVER_API_KEY"),
        (False, None, "no credential for the upstream: the proxy lacks its SERVER_API_KEY"),
        (
            True,
            {"forward_client_key": True},
            "no credential for the upstream: send your key in Authorization: Bearer or x-api-key, or set api_key of the provider p",
        ),
        (True, {}, "no credential for the upstream: the proxy lacks its api_key of the provider p"),
    ],
)
def test_a_request_without_a_credential_is_told_where_to_put_one(forward: bool, provider: dict[str, Any] | None, message: str) -> None:
    with pytest.raises(Unauthorized) as caught:
        credential_for(None, target_of("none", forward, MESSAGES, provider))
    assert (caught.value.message, caught.value.status, caught.value.code) == (message, 401, "missing_upstream_credential")


# ---------------------------------------------------------------------------------------------------- when another takes over

CLIENT = Credential(b"client")


def at(base: str, key: str | None = None, *, forward: bool = True) -> Target:
    return replace(target_of("none", forward, CHAT, {"forward_client_key": forward, "api_key": key}), base=base)


@pytest.mark.parametrize(
    ("client", "first", "then", "used"),
    [
        pytest.param(CLIENT, at("https://a/x"), at("https://a/y"), b"client", id="the same origin"),
        pytest.param(CLIENT, at("https://a"), at("https://a:443/y"), b"client", id="the same origin, written out"),
        pytest.param(CLIENT, at("https://a"), at("https://b", "own"), b"own", id="another with its own key"),
        pytest.param(CLIENT, at("https://a"), at("https://b"), None, id="another without"),
        pytest.param(CLIENT, at("https://a"), at("https://a:444"), None, id="another port"),
        pytest.param(CLIENT, at("https://a"), at("http://a"), None, id="another scheme"),
        pytest.param(CLIENT, at("https://a", "k", forward=False), at("https://b"), None, id="another, though the first has not seen it"),
        pytest.param(CLIENT, at("https://a"), at("https://a", "own", forward=False), b"own", id="the same origin, own key only"),
        pytest.param(CLIENT, at("https://a"), at("https://a", forward=False), None, id="the same origin, neither"),
        pytest.param(None, at("https://a", "k"), at("https://b", "own"), b"own", id="no client's, its own key"),
        pytest.param(None, at("https://a", "k"), at("https://a"), None, id="no client's, and the first one's is not its own"),
    ],
)
def test_a_clients_key_goes_to_no_other_origin(client: Credential | None, first: Target, then: Target, used: bytes | None) -> None:
    found = credential_for(client, then, first=first)
    assert (None if found is None else found.value) == used


def test_the_first_target_is_no_other_than_itself() -> None:
    first = at("https://a")
    assert credential_for(CLIENT, first, first=first) is CLIENT
    with pytest.raises(ProxyError):
        credential_for(None, first, first=first)


# ---------------------------------------------------------------------------------------------------- what it is


@pytest.mark.parametrize(
    ("protocol", "auth", "bearer", "header"),
    [
        (MESSAGES, None, True, b"x-api-key"),
        (CHAT, None, False, b"authorization"),
        (MESSAGES, "bearer", False, b"authorization"),
        (CHAT, "x-api-key", True, b"x-api-key"),
        (MESSAGES, "as-sent", True, b"authorization"),
        (CHAT, "as-sent", False, b"x-api-key"),
        (MESSAGES, "as-sent", None, b"x-api-key"),
        (CHAT, "as-sent", None, b"authorization"),
    ],
)
def test_a_credential_goes_in_the_form_of_its_target(protocol: Protocol, auth: Auth | None, bearer: bool | None, header: bytes) -> None:
    target = replace(target_of("none", True, protocol, None), auth=auth)
    value = b"Bearer k" if header == b"authorization" else b"k"
    assert header_of(Credential(b"k", bearer), target) == (header, value)


def test_a_credential_does_not_show_itself() -> None:
    one = Credential(b"secret")
    assert "secret" not in f"{one} {one!r} {[one]} {one.digest}"


def test_the_same_key_is_the_same_identity_however_it_came() -> None:
    one, other = Credential(b"k", bearer=True), Credential(b"k", bearer=False)
    assert (one, one.digest, hash(one)) == (other, other.digest, hash(other))
    assert Credential(b"k2").digest != one.digest != Credential(b"").digest
    assert (len(one.digest), one.digest.isalnum()) == (64, True)
