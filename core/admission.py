"""Who is let in: what happens between the arrival of a request and its handler."""

from __future__ import annotations

import math
from collections.abc import Iterator

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
    # Only what costs an upstream something is counted: looking at the list of models is free.
    if request.method == "POST":
        yield from count(client, gateway, address)
    return client


def count(client: Credential | None, gateway: Gateway, address: str) -> Flow[None]:
    """Count a request that an upstream is going to be asked. Raises ``TooManyRequests`` beyond RATE_LIMIT_PER_MINUTE."""
    traffic = gateway.traffic
    if not traffic.requests_per_minute:
        return
    now = yield from Now()
    for who in _whose(client, gateway, address):
        if wait := traffic.admit(who, now):
            raise _later(f"the limit of this proxy is {traffic.requests_per_minute} requests per minute", wait)


def _whose(client: Credential | None, gateway: Gateway, address: str) -> Iterator[str]:
    """With whose requests one is counted: with those of its credential, or of its address where it has none.

    A client can show another credential with every request. That is its own affair while the upstream is shown it too; where the owner's
    key may be spent instead, the address counts as well, which nobody can invent: first, so that it bounds what is invented. Where it goes
    is known only after its body has been read, and who takes over only later still, so this is decided by the settings, for all requests.
    """
    door = gateway.door
    shows = client is not None and door.forwards
    if door.lends or not shows:
        yield network_of(address)
    if client is not None and shows:
        yield client.digest


def _later(message: str, wait: float) -> TooManyRequests:
    seconds = max(1, math.ceil(wait))
    return TooManyRequests(f"{message}; try again in {seconds} s", retry_after=seconds)
