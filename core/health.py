"""The health pages: how the process is doing, and whether it should be sent requests."""

from __future__ import annotations

import datetime as dt

from core.effects import Flow, Inspect
from core.gateway import VERSION
from core.settings import Settings
from core.wire.codec import encode


def health(now: float, *, demo: bool) -> Flow[bytes]:
    """The health JSON. Its numbers leave out the health pages themselves."""
    vitals = yield from Inspect()
    total = vitals.total_requests
    body = {
        "ok": True,
        "health": "ok",
        "status": "draining" if vitals.draining else "ok",
        "message": "anthropic-proxy",
        "version": VERSION,
        "instance": vitals.instance,
        "timestamp": dt.datetime.fromtimestamp(now, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "uptime": round(max(0.0, now - vitals.started), 3),
        "total_requests": total,
        "active_connections": vitals.active_connections,
        "success_rate": round(vitals.succeeded / total, 4) if total else None,
        "avg_response_time": round(vitals.busy_seconds / total, 4) if total else None,
        "requests_per_minute": vitals.requests_last_minute,
        "demo": demo,
    }
    return encode(body)


def unready(settings: Settings) -> Flow[str | None]:
    """Why the process should not be sent requests; None when it should."""
    vitals = yield from Inspect()
    if vitals.draining:
        return "draining"
    if not settings.forward_client_key and settings.server_api_key is None:
        return "no credential: FORWARD_CLIENT_KEY is false and SERVER_API_KEY is not set"
    return None


def ready_body(reason: str | None) -> bytes:
    return b'{"ready":true}' if reason is None else encode({"ready": False, "reason": reason})
