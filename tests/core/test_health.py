"""The health pages: how the process is doing, and whether it should be sent requests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.effects import Inspect, Now, Send, Start, Vitals
from core.gateway import Gateway
from core.settings import Settings
from core.settings.upstreams import CN, INTERNATIONAL, SERVERS, Bases, Model, Provider
from core.traffic.breaker import Outcome
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
            {"ready": False, "reason": "no credential: clients' keys are not forwarded, and there is no key of the proxy's own"},
        ),
    ],
)
def test_the_proxy_is_ready_unless_it_drains_or_can_never_have_a_credential(
    settings: dict[str, str], vitals: Vitals, status: int, body: object
) -> None:
    told = tell(request("/ready", method="GET", key=None), at=gateway(**settings), vitals=vitals)
    assert (told.status, told.json) == (status, body)


@pytest.mark.parametrize(("path", "effects"), [("/", [Inspect, Start, Send]), ("/ready", [Inspect, Now, Start, Send])])
def test_no_upstream_is_asked_about_health(path: str, effects: list[type]) -> None:
    told = tell(request(path, method="GET"))
    assert [type(effect) for effect in told.world.performed] == effects


@pytest.mark.parametrize(("provider_only", "message"), [(False, "anthropic-proxy"), (True, "claude-proxy")])
def test_with_providers_only_the_proxy_has_the_name_that_the_clients_of_such_a_configuration_know(
    provider_only: bool, message: str
) -> None:
    at = Gateway(Settings(providers=(PROVIDER,), provider_only=provider_only))
    assert tell(request("/", method="GET"), at=at).json["message"] == message


# ---------------------------------------------------------------------------------------------------- readiness

#: A provider that sees nothing, with a key of the owner's, and one that takes the client's.
PROVIDER = Provider("own", Bases(openai="https://own.example"), (Model("m", "m", "m", vision=False),), api_key=SERVER_KEY)
GIVING = Provider("giving", Bases(anthropic="https://giving.example"), (Model("g", "g", "g"),), forward_client_key=True)
WITH_KEY = replace(INTERNATIONAL, api_key=SERVER_KEY)


@pytest.mark.parametrize(
    ("settings", "ready"),
    [
        (Settings(), True),
        (Settings(forward_client_key=False), False),
        (Settings(forward_client_key=False, server_api_key=SERVER_KEY), True),
        (Settings(forward_client_key=False, servers={**SERVERS, "international": WITH_KEY}), True),
        (Settings(forward_client_key=False, servers={**SERVERS, "cn": replace(CN, api_key=SERVER_KEY)}), False),
        (Settings(forward_client_key=False, servers={**SERVERS, "cn": replace(CN, api_key=SERVER_KEY)}, proxy_server="cn"), True),
        (Settings(forward_client_key=False, servers={**SERVERS, "cn": replace(CN, api_key=SERVER_KEY)}, failover_targets=("cn",)), True),
        (Settings(forward_client_key=False, providers=(PROVIDER,)), True),
        (Settings(forward_client_key=False, providers=(PROVIDER,), provider_only=True), True),
        (Settings(forward_client_key=False, providers=(GIVING,), provider_only=True), True),
        (Settings(provider_only=True), False),
    ],
)
def test_the_proxy_is_not_ready_while_no_request_can_have_a_credential(settings: Settings, ready: bool) -> None:
    told = tell(request("/ready", method="GET", key=None), at=Gateway(settings))
    assert (told.status, told.json["ready"]) == ((200, True) if ready else (503, False))
    assert SERVER_KEY not in str(told.json)


def failed(at: Gateway, *labels: str) -> None:
    for label in labels:
        for _ in range(5):
            attempt = at.traffic.breakers.ask(label, 1000.0)
            assert attempt is not None
            attempt.over(Outcome.BAD, 1000.0)


def test_the_proxy_is_not_ready_while_every_target_is_left_alone() -> None:
    at = Gateway(Settings(failover_targets=("own",), providers=(PROVIDER, GIVING)))
    targets = ("international/anthropic", "international/openai", "own/openai", "giving/anthropic")
    for label in targets:
        assert tell(request("/ready", method="GET"), at=at, now=1000.0).status == 200
        failed(at, label)
    told = tell(request("/ready", method="GET"), at=at, now=1000.0)
    assert told.status == 503
    assert not any(label in told.json["reason"] for label in targets)  # everybody may ask, and names are the owner's business
    assert tell(request("/health", method="GET"), at=at, now=1000.0).status == 200
    assert tell(request("/ready", method="GET"), at=at, now=1030.0).status == 200


def test_a_target_that_can_have_no_credential_does_not_make_the_proxy_ready() -> None:
    at = Gateway(Settings(forward_client_key=False, providers=(PROVIDER,)))
    failed(at, "own/openai")
    assert tell(request("/ready", method="GET"), at=at, now=1000.0).json == {
        "ready": False,
        "reason": "no target: every upstream failed too often and is left alone for a while",
    }
