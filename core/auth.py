"""Credentials: which one a request shows, which one it uses, and which one goes upstream. One identity per request, always."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final

from core.dialects import Protocol
from core.effects import Headers
from core.errors import Forbidden, Unauthorized
from core.settings import Settings, is_loopback

#: What a client sends that insists on some key: it stands for none.
PLACEHOLDER: Final = b"proxy-local"
_BEARER: Final = b"bearer "
#: What a header may hold of a key. Another one cannot be any vendor's, and must not get into a header line.
_VISIBLE: Final = re.compile(rb"[\x21-\x7e]+")
#: ``Host``: a name or IPv4 address, or an IPv6 address in brackets; then perhaps a port.
_HOST: Final = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^\s:@/\[\]]*))(?::[0-9]*)?", re.IGNORECASE)


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
    value = next((shown[name] for name in order if name in shown and shown[name] != PLACEHOLDER), None)
    return None if value is None else Credential(value)


def _shown(headers: Headers) -> dict[bytes, bytes]:
    """The credentials a request shows, by header."""
    shown = {}
    for name, value in headers:
        if name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
            shown[name] = value[len(_BEARER) :].strip()
        elif name == b"x-api-key":
            shown[name] = value.strip()
    return {name: value for name, value in shown.items() if _VISIBLE.fullmatch(value)}


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


def upstream_credential(client: Credential | None, settings: Settings) -> Credential:
    """The one identity a request has towards the GLM server. Raises ``Unauthorized`` when there is none; nothing is sent then."""
    if settings.forward_client_key and client is not None:
        return client
    if settings.server_api_key is not None:
        return Credential(settings.server_api_key.encode())
    remedy = "send your key in Authorization: Bearer or x-api-key, or set" if settings.forward_client_key else "the proxy lacks its"
    raise Unauthorized(f"no credential for the upstream: {remedy} SERVER_API_KEY", code="missing_upstream_credential")


def header_of(credential: Credential, protocol: Protocol) -> tuple[bytes, bytes]:
    """The header that carries a credential to an upstream, in the form native to its protocol."""
    if protocol is Protocol.ANTHROPIC:
        return b"x-api-key", credential.value
    return b"authorization", b"Bearer " + credential.value


def check_host(headers: Headers, settings: Settings) -> None:
    """Refuse what a web page could send: a Host that is not ours (DNS rebinding), an Origin other than our own. Raises ``Forbidden``.

    On loopback a request without a Host passes: every browser sends one.
    """
    hosts = [value for name, value in headers if name == b"host"] or [b""]
    if is_loopback(settings.host) or settings.allowed_hosts:
        for host in hosts:
            if not _is_served(host.decode("latin-1").lower(), settings):
                raise Forbidden("this Host is not served here; add it to ALLOWED_HOSTS if it should be", code="forbidden_host")
    own = {scheme + host for host in hosts for scheme in (b"http://", b"https://")}
    if any(name == b"origin" and value not in own for name, value in headers):
        raise Forbidden("requests from other origins are not served", code="forbidden_origin")


def _is_served(host: str, settings: Settings) -> bool:
    """Whether a ``Host`` is one of ours: an allowed one, or this machine's own while nobody else can reach us."""
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match["address"] or match["name"]
    if is_loopback(settings.host) and (not name or is_loopback(name)):
        return True
    return name in (one.lower() for one in settings.allowed_hosts)
