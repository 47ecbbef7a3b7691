"""What is worked out once: the list of models, the deadlines, the upstreams to be named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.dialects import Protocol
from core.effects import Deadlines
from core.errors import BadRequest
from core.gateway import Gateway
from core.settings import Settings, SettingsError
from core.settings.upstreams import SERVERS, Bases, GlmModel, Limits, Model, Provider, Server, Timeouts

MESSAGES, CHAT = Protocol.ANTHROPIC, Protocol.OPENAI

OWN = Provider(
    "own",
    Bases("https://own.example", "https://own.example/v1"),
    (Model("b", "b-1", "Model B", Limits(10, 5), group="team", created=86_400), Model("a", "a-1", "a", group="team")),
    "own-key-CANARY",
    timeouts=Timeouts(connect=1, request=2, first_byte=3, stream=4, stream_total=5),
)
OTHER = Provider("other", Bases(openai="https://other.example/v1"), (Model("glm-4.6", "x", "x", Limits(7)),), "other-key-CANARY")


def listed(**settings: Any) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = json.loads(Gateway(Settings(**settings)).models())["data"]
    return data


# ---------------------------------------------------------------------------------------------------- models


def test_the_list_has_everything_that_can_be_asked_for_in_a_fixed_order() -> None:
    data = listed(
        providers=(OWN, OTHER),
        model_map_json={"z": "a", "glm-4.6": "b", "claude-*": "b", "y": "b-openai"},
        models=(GlmModel("quick", "Quick", "glm-4.5"), GlmModel("z", "not shown", "glm-4.5")),
    )
    assert [(one["id"], one["display_name"], one["max_input_tokens"], one["max_tokens"]) for one in data] == [
        ("b", "Model B", 10, 5),
        ("a", "a", None, None),
        ("glm-4.6", "x", 7, None),
        ("glm-4.6-openai", "glm-4.6-openai", 7, None),
        ("glm-4.6-anthropic", "glm-4.6-anthropic", 7, None),
        ("z", "z", None, None),
        ("y", "y", 10, 5),
        ("quick", "Quick", 128_000, 98_304),
        ("team", "team", 10, 5),
    ]


def test_with_providers_only_the_list_has_what_they_have() -> None:
    data = listed(provider_only=True, providers=(OWN, OTHER), model_map_json={"z": "a"}, models=(GlmModel("quick", "", "q"),))
    assert [one["id"] for one in data] == ["b", "a", "glm-4.6", "team"]


def test_a_model_says_since_when_it_is_there_if_its_entry_does() -> None:
    data = listed(providers=(OWN,))
    assert [(one["created"], one["created_at"]) for one in data[:2]] == [
        (86_400, "1970-01-02T00:00:00Z"),
        (1_234_567_890, "2009-02-13T23:31:30Z"),
    ]


@pytest.mark.parametrize(
    ("name", "settings", "window"),
    [
        ("glm-4.5v", {}, 65_536),
        ("glm-4.5v-openai", {}, 65_536),
        ("glm-4.6v", {}, 65_536),
        ("see", {"model_map_json": {"see": "glm-4.5v"}}, 65_536),
        ("eyes", {"autovision_model": "eyes"}, 65_536),
        ("eyes", {}, 200_000),
        ("both", {"autovision_model": "both", "autotext_model": "both"}, 200_000),
        ("glm-4.5", {}, 128_000),
        ("glm-9v", {"providers": (OWN,), "model_map_json": {"glm-9v": "b"}}, 10),
    ],
)
def test_a_vision_model_is_listed_with_the_limits_it_has_for_pictures(name: str, settings: dict[str, Any], window: int) -> None:
    (one,) = [one for one in listed(openai_models_list_json=(name,), **settings) if one["id"] == name]
    assert one["max_input_tokens"] == window


def test_a_providers_model_is_listed_with_its_own_limits_whatever_it_is_called() -> None:
    blind = Provider("p", Bases(openai="https://p"), (Model("glm-9v", "r", "r", Limits(10), vision=False),), "k")
    assert listed(providers=(blind,))[0]["max_input_tokens"] == 10


def test_where_no_picture_can_be_taken_nothing_is_known_of_vision_models() -> None:
    blind = Provider("p", Bases(openai="https://p"), (Model("blind", "blind", "blind", vision=False),), "k")
    data = listed(providers=(blind,), autovision_model="blind", autotext_model="glm-4.6v", openai_models_list_json=("glm-4.6v",))
    assert [one["max_input_tokens"] for one in data] == [None, None]


def test_an_empty_list_has_no_first_and_no_last() -> None:
    found = json.loads(Gateway(Settings(provider_only=True)).models())
    assert (found["data"], found["first_id"], found["last_id"], found["has_more"]) == ([], None, None, False)


# ---------------------------------------------------------------------------------------------------- targets


def test_the_first_target_is_the_one_to_try() -> None:
    gateway = Gateway(Settings(providers=(OWN,), failover_targets=("own",)))
    targets = gateway.route("glm-4.6", images=False, wire=MESSAGES, session="s")
    assert [target.label for target in targets] == ["international/anthropic", "own/anthropic"]
    assert {gateway.route("team", images=False, wire=CHAT, session=str(number))[0].model for number in range(20)} == {"a-1", "b-1"}
    with pytest.raises(BadRequest):
        Gateway(Settings(providers=(OWN,), provider_only=True)).route("x", images=False, wire=MESSAGES)


def test_the_upstreams_are_named_with_their_addresses_and_without_keys() -> None:
    mine = Server("mine", Bases(openai="https://mine.example"), api_key="mine-key-CANARY")
    settings = Settings(proxy_server="mine", servers={**SERVERS, "mine": mine}, providers=(OWN, OTHER), server_api_key="server-key-CANARY")
    found = Gateway(settings).targets()
    assert found == [
        "mine/openai https://mine.example",
        "own/anthropic https://own.example",
        "own/openai https://own.example/v1",
        "other/openai https://other.example/v1",
    ]
    assert Gateway(Settings(providers=(OTHER,), provider_only=True)).targets() == ["other/openai https://other.example/v1"]
    assert Gateway(Settings(upstream_base="http://a")).targets() == ["international/anthropic http://a"]


def test_a_server_that_there_is_not_is_refused() -> None:
    with pytest.raises(SettingsError, match="PROXY_SERVER"):
        Gateway(Settings(proxy_server="mars"))


# ---------------------------------------------------------------------------------------------------- deadlines


def test_deadlines_are_the_providers_own_where_it_has_some() -> None:
    everyone: dict[str, Any] = {
        "connect_timeout": 11,
        "request_timeout": 12,
        "first_byte_timeout": 13,
        "stream_timeout": 14,
        "stream_total_timeout": 15,
    }
    partly = Provider("partly", Bases(openai="https://partly"), (Model("c", "c", "c"),), "k", timeouts=Timeouts(first_byte=0))
    gateway = Gateway(Settings(providers=(OWN, OTHER, partly), **everyone))

    def of(model: str, *, stream: bool) -> Deadlines:
        return gateway.deadlines(gateway.route(model, images=False, wire=CHAT)[0], stream=stream)

    for model in ("glm-5", "glm-4.6"):
        assert of(model, stream=False) == Deadlines(connect=11, first_byte=0, gap=0, total=12)
        assert of(model, stream=True) == Deadlines(connect=11, first_byte=13, gap=14, total=15)
    assert of("b", stream=False) == Deadlines(connect=1, first_byte=0, gap=0, total=2)
    assert of("b", stream=True) == Deadlines(connect=1, first_byte=3, gap=4, total=5)
    assert of("c", stream=False) == Deadlines(connect=11, first_byte=0, gap=0, total=12)
    assert of("c", stream=True) == Deadlines(connect=11, first_byte=0, gap=14, total=15)
