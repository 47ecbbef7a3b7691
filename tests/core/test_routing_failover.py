"""Who takes over: in which order, and only who can."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.dialects import Protocol
from core.routing import problems, route, selection
from core.settings import Settings, SettingsError
from core.settings.upstreams import CN, INTERNATIONAL, SERVERS, Bases, GlmModel, Model, Provider, Server

MESSAGES, CHAT = Protocol.ANTHROPIC, Protocol.OPENAI


def model(name: str, **more: Any) -> Model:
    return Model(name, more.pop("remote_id", name), name, **more)


def provider(name: str, *models: Model) -> Provider:
    return Provider(name, Bases(openai=f"https://{name}.example/v1"), models, "k")


ONE = provider("one", model("a", fallbacks=("b", "c")), model("a2", vision=False))
TWO = provider("two", model("b"), model("c", vision=False), model("glm-4.6-two", remote_id="glm-4.6"))
THREE = provider("three", model("d", group="team"), model("e", group="team", vision=False), model("a3", remote_id="a"))
GLMS = provider("glms", model("glm-x"))
BACKED = {**SERVERS, "international": replace(INTERNATIONAL, fallbacks=("cn", "my")), "my": Server("my", Bases("https://my.example"))}


def chain(name: str, *failover: str, images: bool = False, **more: Any) -> list[str]:
    settings = Settings(**{"providers": (ONE, TWO, THREE, GLMS), "failover_targets": failover} | more)
    return [f"{target.label}:{target.model}" for target in route(name, images=images, wire=MESSAGES, settings=settings)]


@pytest.mark.parametrize(
    ("name", "failover", "found"),
    [
        pytest.param("glm-4.6", (), ["international/anthropic:glm-4.6"], id="nobody"),
        pytest.param("a", (), ["one/openai:a", "two/openai:b", "two/openai:c"], id="the model's fallbacks"),
        pytest.param("a", ("d",), ["one/openai:a", "two/openai:b", "two/openai:c", "three/openai:d"], id="then everyone's"),
        pytest.param("a", ("b", "one", "a"), ["one/openai:a", "two/openai:b", "two/openai:c"], id="nobody twice"),
        pytest.param("glm-5", ("cn",), ["international/anthropic:glm-5", "cn/anthropic:glm-5"], id="a server, with the same model"),
        pytest.param("glm-5-openai", ("cn",), ["international/openai:glm-5", "cn/openai:glm-5"], id="and the same suffix"),
        pytest.param("glm-5", ("inter", "cn"), ["international/anthropic:glm-5", "cn/anthropic:glm-5"], id="not the one that failed"),
        pytest.param("b", ("cn",), ["two/openai:b", "cn/anthropic:glm-4.6"], id="a server, for what it has not: its default"),
        pytest.param("glm-x", ("cn",), ["glms/openai:glm-x", "cn/anthropic:glm-x"], id="a server, for a GLM model of a provider"),
        pytest.param("glm-4.6", ("two",), ["international/anthropic:glm-4.6", "two/openai:glm-4.6"], id="a provider that has the model"),
        pytest.param("glm-5", ("two",), ["international/anthropic:glm-5", "two/openai:b"], id="a provider that has not: its first"),
        pytest.param("a2", ("three",), ["one/openai:a2", "three/openai:d"], id="a provider's first for a provider's model"),
        pytest.param("a", ("three",), ["one/openai:a", "two/openai:b", "two/openai:c", "three/openai:a"], id="the same model elsewhere"),
        pytest.param("glm-5", ("team",), ["international/anthropic:glm-5", "three/openai:d", "three/openai:e"], id="a group, in its order"),
        pytest.param("glm-5", ("glm-4.5-air",), ["international/anthropic:glm-5", "international/anthropic:glm-4.5-air"], id="a GLM model"),
        pytest.param("a2", ("quick",), ["one/openai:a2", "international/anthropic:glm-q"], id="a further GLM model"),
        pytest.param(
            "glm-5", ("glm-4.5v",), ["international/anthropic:glm-5", "international/anthropic:glm-4.6"], id="text to no vision model"
        ),
        pytest.param("e", (), ["three/openai:e", "three/openai:d"], id="the others of its group, for one asked by its own id"),
        pytest.param("a2", ("nobody", "c"), ["one/openai:a2", "two/openai:c"], id="what leads nowhere"),
    ],
)
def test_who_takes_over(name: str, failover: tuple[str, ...], found: list[str]) -> None:
    assert chain(name, *failover, models=(GlmModel("quick", "Quick", "glm-q"),)) == found


@pytest.mark.parametrize(
    ("name", "failover", "found"),
    [
        pytest.param("a", (), ["one/openai:a", "two/openai:b"], id="no fallback that does not see"),
        pytest.param("b", ("c", "team"), ["two/openai:b", "three/openai:d"], id="no model, no member either"),
        pytest.param("b", ("one",), ["two/openai:b", "one/openai:a"], id="a provider's model that sees"),
        pytest.param("b", ("cn",), ["two/openai:b", "cn/openai:glm-4.5v"], id="a server's vision default"),
        pytest.param("glm-4.6", ("cn", "two"), ["international/openai:glm-4.5v", "cn/openai:glm-4.5v", "two/openai:b"], id="servers see alike"),
        pytest.param("b", ("glm-5",), ["two/openai:b", "international/openai:glm-4.5v"], id="a GLM model that does not see"),
    ],
)  # fmt: skip
def test_pictures_go_on_to_those_who_see(name: str, failover: tuple[str, ...], found: list[str]) -> None:
    assert chain(name, *failover, images=True) == found


def test_a_provider_takes_over_with_the_same_model_whatever_either_calls_it() -> None:
    here, there = provider("here", model("z", remote_id="r")), provider("there", model("y"), model("x", remote_id="r"), model("z2"))
    assert chain("z", "there", providers=(here, there)) == ["here/openai:r", "there/openai:r"]


def test_a_provider_of_which_nothing_sees_takes_over_for_text_alone() -> None:
    blind = provider("blind", model("x", vision=False))
    assert chain("b", "blind", providers=(TWO, blind)) == ["two/openai:b", "blind/openai:x"]
    assert chain("b", "blind", images=True, providers=(TWO, blind)) == ["two/openai:b"]


def test_a_servers_fallbacks_come_before_everyones() -> None:
    found = chain("glm-5-openai", "b", servers=BACKED)
    assert found == ["international/openai:glm-5", "cn/openai:glm-5", "my/anthropic:glm-5", "two/openai:b"]
    assert chain("a2", "international", servers=BACKED) == ["one/openai:a2", "international/anthropic:glm-4.6"]
    assert chain("glm-5", servers=BACKED, proxy_server="cn") == ["cn/anthropic:glm-5"]


def test_another_server_answers_at_its_own_address_whatever_is_pinned() -> None:
    settings = Settings(upstream_base="http://own", failover_targets=("cn", "international"))
    found = route("glm-5", images=False, wire=MESSAGES, settings=settings)
    assert [target.base for target in found] == ["http://own", CN.bases.anthropic]


def test_who_takes_over_says_for_whom_and_why() -> None:
    settings = Settings(providers=(TWO,), failover_targets=("two",))
    first, second = route("glm-5", images=False, wire=MESSAGES, settings=settings)
    taken = second.instead_of(first, "503")
    assert taken.line == "[ROUTING] → OpenAI (failover: international 503)"
    assert replace(taken, reason=second.reason) == second


# ---------------------------------------------------------------------------------------------------- names that lead nowhere


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        (Settings(), []),
        (Settings(proxy_server="mars"), ["proxy_server : found 'mars', expected one of international, cn"]),
        (
            Settings(
                providers=(ONE, TWO, THREE),
                models=(GlmModel("quick", "Quick", "glm-q"),),
                failover_targets=("inter", "cn", "two", "team", "a", "quick", "GLM-5", "glm-4.6"),
            ),
            [],
        ),
        (
            Settings(failover_targets=("cnn", "a\nb")),
            [
                "failover_targets : found 'cnn', expected the name of a GLM server or a provider, or the id of a model",
                "failover_targets : found 'a\\nb', expected the name of a GLM server or a provider, or the id of a model",
            ],
        ),
        (
            Settings(providers=(provider("one", model("a", fallbacks=("b", "a"))),)),
            ["providers providers[0].models[0].fallbacks[0]: found 'b', expected the name of a GLM server or a provider, or the id of a model"],
        ),
        (
            Settings(servers={**SERVERS, "cn": replace(CN, fallbacks=("moon", "international"))}),
            ["servers cn.fallbacks[0]: found 'moon', expected the name of a GLM server or a provider, or the id of a model"],
        ),
        (Settings(providers=(provider("inter", model("a")),)), ["providers providers[0].name: found 'inter', which is the name of a GLM server; expected another"]),
    ],
)  # fmt: skip
def test_names_that_lead_nowhere_are_problems(settings: Settings, found: list[str]) -> None:
    assert [f"{one.field} {one.path}: {one.text}" for one in problems(settings)] == found


def test_an_unknown_server_hides_no_other_problem() -> None:
    found = problems(Settings(proxy_server="mars", failover_targets=("moon",)))
    assert [one.field for one in found] == ["proxy_server", "failover_targets"]


@pytest.mark.parametrize(
    ("unknown", "fields"),
    [
        (set(), ["proxy_server", "providers", "providers", "failover_targets"]),
        ({"port"}, ["proxy_server", "providers", "providers", "failover_targets"]),
        ({"proxy_server"}, ["providers", "providers", "failover_targets"]),
        ({"failover_targets"}, ["proxy_server", "providers", "providers"]),
        ({"servers"}, ["providers"]),
        ({"models"}, ["proxy_server", "providers"]),
    ],
)
def test_nothing_is_said_of_what_depends_on_what_is_not_known(unknown: set[str], fields: list[str]) -> None:
    clash = provider("cn", model("a", fallbacks=("b",)))
    settings = Settings(proxy_server="mars", failover_targets=("moon",), providers=(clash,))
    assert [one.field for one in problems(settings, unknown)] == fields


def test_what_looks_like_a_key_is_not_shown_where_a_name_belongs() -> None:
    key = "sk-canary-canary"
    settings = Settings(proxy_server=key, failover_targets=(key,), providers=(provider("one", model("a", fallbacks=(key,))),))
    found = problems(settings)
    assert len(found) == 3
    assert "canary" not in str(found)
    with pytest.raises(SettingsError) as caught:
        selection(settings)
    assert "canary" not in str(caught.value)
