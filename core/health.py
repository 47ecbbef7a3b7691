"""The health pages: how the process is doing, and whether it should be sent requests."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator

from core.dialects import Protocol
from core.effects import Flow, Inspect, Now
from core.errors import BadRequest
from core.gateway import VERSION, Gateway
from core.routing import Target
from core.settings import Settings
from core.wire.codec import encode


def health(now: float, settings: Settings) -> Flow[bytes]:
    """The health JSON. Its numbers leave out the health pages themselves."""
    vitals = yield from Inspect()
    total = vitals.total_requests
    body = {
        "ok": True,
        "health": "ok",
        "status": "draining" if vitals.draining else "ok",
        # The name the Go proxy gave itself, whose configuration this is then.
        "message": "claude-proxy" if settings.provider_only else "anthropic-proxy",
        "version": VERSION,
        "instance": vitals.instance,
        "timestamp": dt.datetime.fromtimestamp(now, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "uptime": round(max(0.0, now - vitals.started), 3),
        "total_requests": total,
        "active_connections": vitals.active_connections,
        "success_rate": round(vitals.succeeded / total, 4) if total else None,
        "avg_response_time": round(vitals.busy_seconds / total, 4) if total else None,
        "requests_per_minute": vitals.requests_last_minute,
        "demo": settings.demo,
    }
    return encode(body)


def unready(gateway: Gateway) -> Flow[str | None]:
    """Why the process should not be sent requests; None when it should."""
    vitals = yield from Inspect()
    if vitals.draining:
        return "draining"
    usable = {target.label for target in _targets(gateway) if target.key is not None or target.forward_client_key}
    if not usable:
        return "no credential: clients' keys are not forwarded, and there is no key of the proxy's own"
    now = yield from Now()
    if all(gateway.traffic.breakers.closed_for(label, now) for label in usable):
        return "no target: every upstream failed too often and is left alone for a while"
    return None


def _targets(gateway: Gateway) -> Iterator[Target]:
    """Everything a request can go to, those included that only take over."""
    settings = gateway.settings
    names = [model.id for provider in settings.providers for model in provider.models]
    if not settings.provider_only:
        names += [settings.autotext_model, settings.autovision_model]
    for name, images, wire in itertools.product(names, (False, True), Protocol):
        try:
            targets = gateway.route(name, images=images, wire=wire)
        except BadRequest:
            continue  # not every model takes pictures
        yield from targets


def ready_body(reason: str | None) -> bytes:
    return b'{"ready":true}' if reason is None else encode({"ready": False, "reason": reason})
