"""Who is let in: keys that are wrong too often, requests that are too many, and whose they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.admission import admit
from core.credentials import Credential
from core.effects import Now, Request
from core.exchange import exchange
from core.gateway import Gateway
from core.settings import Settings
from core.settings.upstreams import Bases, Model, Provider
from core.testing import ScriptedWorld
from tests.core.exchanges import CHAT, INBOUND_KEY, KEY, MESSAGES, PATH, SERVER_KEY, Told, gateway, plain, question, request, tell

HERE, THERE = "203.0.113.1", "203.0.113.2"


def post(at: Gateway, now: float = 1000.0, *, key: str | None = KEY, peer: str = HERE, path: str = "/v1/messages", **headers: str) -> Told:
    """One small request at a moment of the clock."""
    asked = replace(
        request(path, question(), key=key, headers={name.replace("_", "-"): value for name, value in headers.items()}), peer=peer
    )
    return tell(asked, [plain(MESSAGES)], at=at, now=now)


def get(at: Gateway, target: str, now: float = 1000.0, *, key: str | None = KEY, peer: str = HERE) -> Told:
    return tell(replace(request(target, method="GET", key=key), peer=peer), at=at, now=now)


def code(told: Told) -> Any:
    return told.json["error"]["code"]


# ---------------------------------------------------------------------------------------------------- requests per minute


def test_requests_beyond_the_limit_are_429_until_the_first_is_a_minute_old() -> None:
    at = gateway(RATE_LIMIT_PER_MINUTE="3")
    assert [post(at, 1000.0 + second).status for second in (0, 10, 20)] == [200] * 3
    for now, seconds in ((20.0, "40"), (59.5, "1"), (30.25, "30")):
        told = post(at, 1000.0 + now)
        assert (told.status, code(told), told.header("retry-after")) == (429, "rate_limit_exceeded", seconds)
        assert told.world.opened == []
        assert told.record.error_code == "rate_limit_exceeded"
    assert post(at, 1060.0).status == 200
    assert post(at, 1060.0).header("retry-after") == "10"


@pytest.mark.parametrize(("wire", "has_type"), [(MESSAGES, True), (CHAT, False)])
def test_too_many_is_said_in_the_callers_dialect(wire: Any, has_type: bool) -> None:
    at = gateway(RATE_LIMIT_PER_MINUTE="1")
    post(at, path=PATH[wire])
    told = post(at, path=PATH[wire])
    assert told.status == 429
    assert told.json["error"]["type"] == "rate_limit_error"
    assert ("type" in told.json) is has_type
    assert "1 requests per minute" in told.json["error"]["message"]
    assert KEY not in repr(told.json)


def test_every_credential_has_a_minute_of_its_own_in_whichever_header_and_from_wherever_it_comes() -> None:
    at = gateway(RATE_LIMIT_PER_MINUTE="1")
    assert post(at, key="a").status == 200
    assert post(at, key="b").status == 200
    assert post(at, key="a", peer=THERE).status == 429
    assert post(at, key=None, authorization="Bearer a").status == 429
    assert post(at, key="a", path="/v1/chat/completions").status == 429


def test_without_a_credential_the_address_counts() -> None:
    at = gateway(RATE_LIMIT_PER_MINUTE="1", SERVER_API_KEY=SERVER_KEY)
    assert [post(at, key=key).status for key in (None, "proxy-local", None)] == [200, 429, 429]
    assert post(at, key=None, peer=THERE).status == 200
    assert post(at, key="mine").status == 200


@pytest.mark.parametrize(
    ("peers", "statuses"),
    [
        (["2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"], [200, 429, 200]),
        (["::ffff:203.0.113.1", "203.0.113.1", "::ffff:203.0.113.2"], [200, 429, 200]),
    ],
)
def test_an_IPv6_network_is_one_address(peers: list[str], statuses: list[int]) -> None:
    at = gateway(RATE_LIMIT_PER_MINUTE="1", SERVER_API_KEY=SERVER_KEY)
    assert [post(at, key=None, peer=peer).status for peer in peers] == statuses


@pytest.mark.parametrize("settings", [{"FORWARD_CLIENT_KEY": "false"}, {"FORWARD_CLIENT_KEY": "false", "PROXY_API_KEY": INBOUND_KEY}])
def test_a_credential_that_nobody_checks_gives_no_further_requests(settings: dict[str, str]) -> None:
    at = gateway(RATE_LIMIT_PER_MINUTE="2", SERVER_API_KEY=SERVER_KEY, **settings)
    made_up = [post(at, key=f"key-{number}", authorization=f"Bearer {INBOUND_KEY}") for number in range(3)]
    assert [told.status for told in made_up] == [200, 200, 429]


def mixed(*, forwards: bool = False, own: str | None = "provider-key", **settings: Any) -> Gateway:
    """GLM, which is sent the clients' keys, and a provider, whose own is sent."""
    models = (Model("m", "m-1", "M"),)
    provider = Provider("p", Bases(anthropic="https://p.example"), models, own, forward_client_key=forwards)
    return Gateway(Settings(rate_limit_per_minute=2, max_retries=0, providers=(provider,), **settings))


def asking(at: Gateway, model: str, key: str, *, peer: str = HERE, **headers: str) -> Told:
    return tell(replace(request("/v1/messages", question(model=model), key=key, headers=headers), peer=peer), [plain(MESSAGES)], at=at)


@pytest.mark.parametrize("settings", [{}, {"provider_only": True}, {"proxy_api_key": INBOUND_KEY}])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/messages/count_tokens"])
def test_invented_keys_do_not_spend_a_providers(settings: dict[str, Any], path: str) -> None:
    at = mixed(**settings)
    told = []
    for number in range(8):
        headers = {"x-api-key": f"invented-{number}"} | (
            {"authorization": f"Bearer {INBOUND_KEY}"} if settings.get("proxy_api_key") else {}
        )
        asked = request(path, question(model="m"), key=None, headers=headers)
        told.append(tell(replace(asked, peer=HERE), [plain(MESSAGES)], fetches=[plain(MESSAGES)], at=at))
    assert [one.status for one in told] == [200, 200, *[429] * 6]
    assert all(one.world.opened == one.world.fetched == [] for one in told[2:])


def test_where_a_key_of_the_owners_may_be_spent_both_address_and_credential_count() -> None:
    at = mixed()
    assert [asking(at, "glm-4.6", key).status for key in "abc"] == [200, 200, 429]
    assert [asking(at, "glm-4.6", "a", peer=peer).status for peer in (THERE, "203.0.113.3")] == [200, 429]
    assert asking(at, "glm-4.6", "c", peer=THERE).status == 200


def test_where_every_upstream_is_shown_the_clients_key_the_address_does_not_count() -> None:
    at = mixed(forwards=True)
    assert [asking(at, model, key).status for key in "abcd" for model in ("m", "glm-4.6")] == [200] * 8
    assert asking(at, "m", "a", peer=THERE).status == 429


def test_who_takes_over_with_a_key_of_the_owners_is_guarded_as_well() -> None:
    at = mixed(forwards=True, failover_targets=("p",))
    told = [asking(at, "glm-4.6", key) for key in "abc"]
    assert [one.status for one in told] == [200, 200, 429]


def test_the_inbound_key_is_no_credential_of_the_clients() -> None:
    at = gateway(RATE_LIMIT_PER_MINUTE="1", SERVER_API_KEY=SERVER_KEY, PROXY_API_KEY=INBOUND_KEY)
    assert [post(at, key=INBOUND_KEY, peer=peer).status for peer in (HERE, THERE, HERE)] == [200, 200, 429]


def test_only_what_costs_something_counts() -> None:
    at = gateway(RATE_LIMIT_PER_MINUTE="1")
    for target in ("/v1/models", "/", "/health", "/ready", "/nowhere", "/v1/messages"):
        assert get(at, target).status != 429
    assert post(at).status == 200
    assert post(at).status == 429
    assert get(at, "/v1/models").status == 200
    assert post(at, path="/v1/messages/count_tokens").status == 429


def test_without_a_limit_nobody_asks_for_the_time() -> None:
    flow = admit(request("/v1/messages", question()), gateway(), MESSAGES, HERE)
    with pytest.raises(StopIteration) as done:
        next(flow)
    assert done.value.value == Credential(KEY.encode())


# ---------------------------------------------------------------------------------------------------- wrong keys


def test_an_address_that_tries_too_many_keys_is_429_for_a_minute_also_with_the_right_one() -> None:
    at = gateway(PROXY_API_KEY=INBOUND_KEY, SERVER_API_KEY=SERVER_KEY, AUTH_FAILURES_PER_MINUTE="3")
    assert [post(at, 1000.0 + second, key=f"guess-{second}").status for second in range(3)] == [401] * 3
    for key in ("guess", INBOUND_KEY, None):
        told = post(at, 1002.5, key=key)
        assert (told.status, code(told), told.header("retry-after")) == (429, "rate_limit_exceeded", "60")
        assert told.world.opened == []
    assert get(at, "/v1/models", 1010.0, key=INBOUND_KEY).status == 429
    assert post(at, 1010.0, key=INBOUND_KEY, peer=THERE).status == 200
    assert [get(at, path, 1010.0).status for path in ("/", "/health", "/ready", "/status")] == [200] * 4
    assert post(at, 1061.9, key=INBOUND_KEY).status == 429
    assert post(at, 1062.0, key=INBOUND_KEY).status == 200


def test_wrong_keys_that_are_far_between_bar_nobody() -> None:
    at = gateway(PROXY_API_KEY=INBOUND_KEY, SERVER_API_KEY=SERVER_KEY, AUTH_FAILURES_PER_MINUTE="2")
    assert [post(at, 1000.0 + 60 * minute, key="guess").status for minute in range(5)] == [401] * 5
    assert post(at, 1300.0, key=INBOUND_KEY).status == 200


def test_right_keys_are_no_failures_and_neither_is_a_key_that_only_the_upstream_lacks() -> None:
    at = gateway(PROXY_API_KEY=INBOUND_KEY, AUTH_FAILURES_PER_MINUTE="1")
    for _ in range(3):
        assert code(post(at, key=INBOUND_KEY)) == "missing_upstream_credential"


def test_0_lets_everybody_guess() -> None:
    at = gateway(PROXY_API_KEY=INBOUND_KEY, AUTH_FAILURES_PER_MINUTE="0")
    for _ in range(100):
        told = post(at, key="guess")
        assert told.status == 401
    assert Now() not in told.world.performed


def test_without_an_inbound_key_no_key_is_wrong() -> None:
    at = gateway(AUTH_FAILURES_PER_MINUTE="1")
    assert [post(at, key=None).status for _ in range(3)] == [401] * 3
    assert post(at).status == 200


def test_thirty_wrong_keys_are_what_an_address_has_by_default() -> None:
    at = gateway(PROXY_API_KEY=INBOUND_KEY)
    assert [post(at, key="guess").status for _ in range(31)] == [401] * 30 + [429]


def test_a_wrong_key_uses_up_no_request() -> None:
    at = gateway(PROXY_API_KEY=INBOUND_KEY, SERVER_API_KEY=SERVER_KEY, RATE_LIMIT_PER_MINUTE="1")
    assert [post(at, key=key).status for key in ("guess", "guess", INBOUND_KEY, INBOUND_KEY)] == [401, 401, 200, 429]


# ---------------------------------------------------------------------------------------------------- behind a proxy

BEHIND = {"TRUSTED_PROXIES": "10.0.0.0/8", "SERVER_API_KEY": SERVER_KEY, "PROXY_API_KEY": INBOUND_KEY}


def test_behind_a_trusted_proxy_its_clients_are_counted_and_recorded_one_by_one() -> None:
    at = gateway(RATE_LIMIT_PER_MINUTE="1", **BEHIND)
    assert post(at, key=INBOUND_KEY, peer="10.0.0.1", x_forwarded_for=HERE).status == 200
    told = post(at, key=INBOUND_KEY, peer="10.0.0.1", x_forwarded_for=f"{THERE}, 10.0.0.2")
    assert (told.status, told.record.peer) == (200, THERE)
    assert post(at, key=INBOUND_KEY, peer="10.9.9.9", x_forwarded_for=f"198.51.100.77, {HERE}").status == 429


def test_who_is_no_trusted_proxy_cannot_hand_out_addresses() -> None:
    at = gateway(AUTH_FAILURES_PER_MINUTE="2", **BEHIND)
    told = [post(at, key="guess", x_forwarded_for=f"198.51.100.{number}") for number in range(3)]
    assert [one.status for one in told] == [401, 401, 429]
    assert {one.record.peer for one in told} == {HERE}


# ---------------------------------------------------------------------------------------------------- a client that leaves


@pytest.mark.parametrize("key", ["guess", INBOUND_KEY])
def test_a_client_that_leaves_at_the_door_leaves_a_record(key: str) -> None:
    settings = {"PROXY_API_KEY": INBOUND_KEY, "SERVER_API_KEY": SERVER_KEY, "RATE_LIMIT_PER_MINUTE": "1", "AUTH_FAILURES_PER_MINUTE": "9"}
    asked: Request = request("/v1/messages", question(), key=key)
    for number in range(len(tell(asked, [plain(MESSAGES)], at=gateway(**settings)).world.performed)):
        world = ScriptedWorld([plain(MESSAGES)], gone=number)
        record = world.run(exchange(asked, gateway(**settings)))
        assert (record.status, record.error_code) == (499, "client_gone")
