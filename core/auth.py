"""Credentials: which one a request shows, which one it uses, and which one goes upstream. One identity per request, always."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from core.dialects import Protocol
from core.effects import Headers
from core.errors import Forbidden, Unauthorized
from core.settings import Settings, is_loopback

#: What a client sends that insists on some key: it stands for none.
PLACEHOLDER: Final = b"proxy-local"
_BEARER: Final = b"bearer "


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """A key, without the form it came in. It has no ``repr``: nothing may print it."""

    value: bytes

    def __repr__(self) -> str:
        return "Credential(...)"


def admit(headers: Headers, wire: Protocol, settings: Settings, *, exempt: bool = False) -> Credential | None:
    """Check a request at the door; the client's own credential, if it has one.

    ``wire`` is the endpoint's. With an inbound key set, one of the two headers must hold it; that header is consumed. If two different
    credentials are left, the one native to the endpoint wins. Raises ``Unauthorized``, or ``Forbidden`` for a foreign Host or Origin.
    """
    check_host(headers, settings)
    shown = _shown(headers)
    if settings.proxy_api_key is not None and not exempt:
        expected = _digest(settings.proxy_api_key.encode())
        matching = [name for name, value in shown.items() if hmac.compare_digest(_digest(value), expected)]
        if not matching:
            raise Unauthorized("this proxy wants its own key, in Authorization: Bearer or in x-api-key")
        for name in matching:
            del shown[name]
    order = (b"x-api-key", b"authorization") if wire is Protocol.ANTHROPIC else (b"authorization", b"x-api-key")
    value = next((shown[name] for name in order if name in shown), None)
    return None if value is None else Credential(value)


def _shown(headers: Headers) -> dict[bytes, bytes]:
    """The credentials a request shows, by header; the placeholder is none."""
    shown = {}
    for name, value in headers:
        if name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
            shown[name] = value[len(_BEARER) :].strip()
        elif name == b"x-api-key":
            shown[name] = value.strip()
    return {name: value for name, value in shown.items() if value and value != PLACEHOLDER}


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


def upstream_credential(client: Credential | None, settings: Settings) -> Credential:
    """The one identity a request has towards the GLM server. Raises ``Unauthorized`` when there is none; nothing is sent then."""
    if settings.forward_client_key and client is not None:
        return client
    if settings.server_api_key is not None:
        return Credential(settings.server_api_key.encode())
    raise Unauthorized(
        "no credential for the upstream: send your key in Authorization: Bearer or x-api-key, or set SERVER_API_KEY",
        code="missing_upstream_credential",
    )


def header_of(credential: Credential, protocol: Protocol) -> tuple[bytes, bytes]:
    """The header that carries a credential to an upstream, in the form native to its protocol."""
    if protocol is Protocol.ANTHROPIC:
        return b"x-api-key", credential.value
    return b"authorization", b"Bearer " + credential.value


def check_host(headers: Headers, settings: Settings) -> None:
    """Refuse what a web page could send: a Host that is not ours (DNS rebinding), an Origin at all. Raises ``Forbidden``."""
    host, origin = b"", None
    for name, value in headers:
        if name == b"host":
            host = value
        elif name == b"origin":
            origin = value
    name_only = _without_port(host.decode("latin-1")).lower()
    allowed = {one.lower() for one in settings.allowed_hosts}
    if is_loopback(settings.host):
        if host and not is_loopback(name_only) and name_only not in allowed:
            raise Forbidden("this Host is not served here; add it to ALLOWED_HOSTS if it should be", code="forbidden_host")
    elif allowed and name_only not in allowed:
        raise Forbidden("this Host is not among ALLOWED_HOSTS", code="forbidden_host")
    if origin is not None and origin not in (b"http://" + host, b"https://" + host):
        raise Forbidden("requests from other origins are not served", code="forbidden_origin")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0].strip("[]")
    return host.rpartition(":")[0] if host.count(":") == 1 else host
