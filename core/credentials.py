"""Outbound credentials: which identity a target gets, and in which header. One identity per request, always."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field
from typing import overload

from core.dialects import Protocol
from core.errors import Unauthorized
from core.routing import Target


@dataclass(frozen=True, repr=False)
class Credential:
    """A key. It has no ``repr``: nothing may print it. Equal keys are the same identity, in whichever header they came."""

    value: bytes
    #: Whether it came in ``Authorization: Bearer`` (or else in ``x-api-key``); None for the owner's, which came in no header.
    bearer: bool | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        return "Credential(...)"

    @functools.cached_property
    def digest(self) -> str:
        """What stands for the identity where the key itself must not be kept: 64 hex digits."""
        return hashlib.blake2b(self.value, digest_size=32).hexdigest()


@overload
def credential_for(client: Credential | None, target: Target) -> Credential: ...
@overload
def credential_for(client: Credential | None, target: Target, *, first: Target) -> Credential | None: ...
def credential_for(client: Credential | None, target: Target, *, first: Target | None = None) -> Credential | None:
    """The one identity a request has towards ``target``.

    ``client``: the client's own, if it sent one. ``first``: the target that was chosen first, when ``target`` takes over from it; the
    client's key goes to no other origin than that one's. None when ``target`` takes over and there is no key for it: it has to be skipped.
    Raises ``Unauthorized`` when there is none for the first target; nothing may be sent then.
    """
    may_forward = target.forward_client_key and (first is None or first is target or first.origin == target.origin)
    if may_forward and client is not None:
        return client
    if target.key is not None:
        return _owners(target.key)
    if first is None or first is target:
        raise Unauthorized(f"no credential for the upstream: {_remedy(target)}", code="missing_upstream_credential")
    return None


@functools.lru_cache(maxsize=64)  # they come from the settings
def _owners(key: str) -> Credential:
    return Credential(key.encode())


def _remedy(target: Target) -> str:
    own = "SERVER_API_KEY" if target.glm else f"api_key of the provider {target.name}"
    if target.forward_client_key:
        return f"send your key in Authorization: Bearer or x-api-key, or set {own}"
    return f"the proxy lacks its {own}"


def header_of(credential: Credential, target: Target) -> tuple[bytes, bytes]:
    """The header that carries a credential to a target: in the form native to its protocol, unless its settings name another."""
    bearer = target.protocol is Protocol.OPENAI
    if target.auth == "as-sent":
        bearer = bearer if credential.bearer is None else credential.bearer
    elif target.auth is not None:
        bearer = target.auth == "bearer"
    return (b"authorization", b"Bearer " + credential.value) if bearer else (b"x-api-key", credential.value)
