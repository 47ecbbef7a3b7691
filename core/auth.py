"""The inbound key: which credentials a request shows, whether one of them opens the door, and which is left as the client's own."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final

from core.credentials import Credential
from core.dialects import Protocol
from core.effects import Headers
from core.errors import BadRequest, Unauthorized
from core.settings import Settings

#: What a client sends that insists on some key: it stands for none.
PLACEHOLDER: Final = b"proxy-local"
_BEARER: Final = b"bearer "
#: What a header may hold of a key. Another one cannot be any vendor's, and must not get into a header line.
_VISIBLE: Final = re.compile(rb"[\x21-\x7e]+")
#: The headers in the order in which they count, by the dialect of the endpoint: its native one first.
_ORDER: Final = {
    Protocol.ANTHROPIC: (b"x-api-key", b"authorization"),
    Protocol.OPENAI: (b"authorization", b"x-api-key"),
}


class Keys:
    """Tells who may come in. Holds the digest of the inbound key, worked out once, and not the key."""

    __slots__ = ("_expected",)

    def __init__(self, settings: Settings) -> None:
        self._expected = None if settings.proxy_api_key is None else _digest(settings.proxy_api_key.encode())

    @property
    def wanted(self) -> bool:
        """Whether there is an inbound key."""
        return self._expected is not None

    def admit(self, headers: Headers, wire: Protocol) -> Credential | None:
        """The client's own credential, if it has one, of a request that may come in. ``wire`` is the endpoint's.

        With an inbound key set, one of the two headers must hold it, whatever the other holds; every header that holds it is consumed. If
        two different credentials are left, the one native to the endpoint wins. Raises ``Unauthorized`` without the key, and
        ``BadRequest`` for one header that stands there twice with different credentials: who reads the first and who reads the last
        would take it for different callers.
        """
        shown = _shown(headers)
        if self._expected is not None:
            # Both are compared, and as digests: neither the time nor the length of a wrong key tells anything.
            matching = [name for name, value in shown.items() if hmac.compare_digest(_digest(value), self._expected)]
            if not matching:
                raise Unauthorized("this proxy wants its own key, in Authorization: Bearer or in x-api-key")
            for name in matching:
                del shown[name]
        for name in _ORDER[wire]:
            if (value := shown.get(name, PLACEHOLDER)) != PLACEHOLDER:
                return Credential(value, bearer=name == b"authorization")
        return None


def _shown(headers: Headers) -> dict[bytes, bytes]:
    """The credentials a request shows, by header."""
    shown: dict[bytes, bytes] = {}
    for name, value in headers:
        if name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
            key = value[len(_BEARER) :].strip()
        elif name == b"x-api-key":
            key = value.strip()
        else:
            continue
        if not _VISIBLE.fullmatch(key):
            continue
        if shown.setdefault(name, key) != key:
            raise BadRequest(f"header {name.decode()}: found twice with different values, expected one", code="invalid_request")
    return shown


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()
