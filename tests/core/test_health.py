"""The health pages: how the process is doing, and whether it should be sent requests."""

from __future__ import annotations

import pytest

from core.effects import Inspect, Vitals
from tests.core.exchanges import NOW, SERVER_KEY, gateway, request, tell

BUSY = Vitals("abc", NOW - 60.5, total_requests=8, active_connections=3, succeeded=6, busy_seconds=4.0, requests_last_minute=5)


@pytest.mark.parametrize("path", ["/", "/status", "/health", "/api/hello"])
def test_the_health_page_has_its_numbers(path: str) -> None:
    assert tell(request(path, method="GET", key=None), vitals=BUSY).json == {
        "ok": True,
        "health": "ok",
        "status": "ok",
        "message": "anthropic-proxy",
        "version": "0.1.0",
        "instance": "abc",
        "timestamp": "2026-11-20T00:00:00Z",
        "uptime": 60.5,
        "total_requests": 8,
        "active_connections": 3,
        "success_rate": 0.75,
        "avg_response_time": 0.5,
        "requests_per_minute": 5,
        "demo": False,
    }


def test_before_the_first_request_there_are_no_rates() -> None:
    health = tell(request("/health", method="GET"), vitals=Vitals("abc", NOW + 5)).json
    assert (health["success_rate"], health["avg_response_time"], health["uptime"]) == (None, None, 0)


def test_health_stays_good_while_the_proxy_drains_and_says_that_it_does() -> None:
    told = tell(request("/health", method="GET"), vitals=Vitals("abc", NOW, draining=True))
    assert (told.status, told.json["ok"], told.json["status"]) == (200, True, "draining")


@pytest.mark.parametrize(
    ("settings", "vitals", "status", "body"),
    [
        ({}, Vitals("a", NOW), 200, {"ready": True}),
        ({}, Vitals("a", NOW, draining=True), 503, {"ready": False, "reason": "draining"}),
        ({"FORWARD_CLIENT_KEY": "no", "SERVER_API_KEY": SERVER_KEY}, Vitals("a", NOW), 200, {"ready": True}),
        (
            {"FORWARD_CLIENT_KEY": "no"},
            Vitals("a", NOW),
            503,
            {"ready": False, "reason": "no credential: FORWARD_CLIENT_KEY is false and SERVER_API_KEY is not set"},
        ),
    ],
)
def test_the_proxy_is_ready_unless_it_drains_or_can_never_have_a_credential(
    settings: dict[str, str], vitals: Vitals, status: int, body: object
) -> None:
    told = tell(request("/ready", method="GET", key=None), at=gateway(**settings), vitals=vitals)
    assert (told.status, told.json) == (status, body)


@pytest.mark.parametrize("path", ["/", "/ready", "/health"])
def test_no_upstream_is_asked_about_health(path: str) -> None:
    told = tell(request(path, method="GET"))
    assert [type(effect).__name__ for effect in told.world.performed] == ["Inspect", "Start", "Send"]
    assert isinstance(told.world.performed[0], Inspect)
