"""Who is let in: what happens between the arrival of a request and its handler."""

from __future__ import annotations

import math

from core.credentials import Credential
from core.dialects import Protocol
from core.effects import Flow, Now, Request
from core.errors import TooManyRequests, Unauthorized
from core.gateway import Gateway
from core.traffic.windows import network_of


def admit(request: Request, gateway: Gateway, wire: Protocol, address: str) -> Flow[Credential | None]:
    """Let a request in at an endpoint that wants a key: the client's own credential, if it has one.

    ``wire``: the endpoint's. ``address``: the client's. Raises ``Unauthorized`` without the inbound key, ``TooManyRequests`` for an address
    that guessed at it too often and for a client with too many requests, ``BadRequest`` for a header that says two things.
    """
    traffic, keys = gateway.traffic, gateway.door.keys
    if keys.wanted and traffic.bars_any and (wait := traffic.barred(address, (yield from Now()))):
        raise _later("too many requests with a wrong key came from this address", wait)
    try:
        client = keys.admit(request.headers, wire)
    except Unauthorized:
        if traffic.auth_failures_per_minute:
            traffic.auth_failed(address, (yield from Now()))
        raise
    # Only what costs an upstream something is counted: looking at the models is free.
    if traffic.requests_per_minute and request.method == "POST":
        wait = traffic.admit(_who(client, gateway, address), (yield from Now()))
        if wait:
            raise _later(f"the limit of this proxy is {traffic.requests_per_minute} requests per minute", wait)
    return client


def _who(client: Credential | None, gateway: Gateway, address: str) -> str:
    """Whose requests are counted together: a credential's, or an address's where there is none.

    A credential nobody upstream will ever check is none: a client could show another one with every request.
    """
    return client.digest if client is not None and gateway.door.forwards else network_of(address)


def _later(message: str, wait: float) -> TooManyRequests:
    seconds = max(1, math.ceil(wait))
    return TooManyRequests(f"{message}; try again in {seconds} s", retry_after=seconds)
