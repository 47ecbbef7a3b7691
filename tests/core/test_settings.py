"""Settings as a whole: what is safe, what goes together, what is warned of."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from core.settings import Form, Settings, SettingsError, Source, UnsafeSettings, is_loopback
from core.settings.upstreams import CN, INTERNATIONAL, SERVERS, Bases, GlmModel, Model, Provider, Server

PROVIDER = Provider("example", Bases(openai="https://api.example.com"), (Model("m1", "m1", "m1"),), api_key="sk-canary")


def test_nothing_is_needed_and_every_default_is_good() -> None:
    settings = Settings.from_mapping({})
    assert settings == Settings()
    assert settings.warnings() == []
    assert settings.conflicts() == []
    assert settings.open_relay() is None


def test_all_problems_are_said_at_once_under_the_names_they_were_given() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_mapping({"PROXY_PORT": "x", "BACKEND": "x", "REQUEST_TIMEOUT": "x", "HOST": "0.0.0.0", "SERVER_API_KEY": "k"})
    names = ["environment: PROXY_PORT", "environment: BACKEND", "environment: REQUEST_TIMEOUT", "SERVER_API_KEY is set and HOST is 0.0.0.0"]
    assert [re.split(": found|: anyone", problem)[0] for problem in caught.value.problems] == names
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert not isinstance(caught.value, UnsafeSettings)


# ---------------------------------------------------------------------------------------------------- safety


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "proxy.example"])
def test_a_server_key_that_anyone_could_spend_stops_the_start_and_names_the_remedies(host: str) -> None:
    open_relay = {"HOST": host, "SERVER_API_KEY": "canary-key"}
    with pytest.raises(UnsafeSettings) as caught:
        Settings.from_mapping(open_relay)
    (problem,) = caught.value.problems
    assert all(remedy in problem for remedy in ("PROXY_API_KEY", "127.0.0.1", "ALLOW_OPEN_RELAY=true", host))
    assert "canary" not in problem
    for remedy in ({"PROXY_API_KEY": "p"}, {"HOST": "127.0.0.1"}, {"ALLOW_OPEN_RELAY": "true"}, {"SERVER_API_KEY": ""}):
        Settings.from_mapping(open_relay | remedy)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("[::1]", True), ("localhost", True), ("LOCALHOST", True),
        ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("localhost.example", False), ("", False),
    ],
)  # fmt: skip
def test_loopback_is_what_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("more", [{"providers": (PROVIDER,)}, {"servers": {**SERVERS, "cn": replace(CN, api_key="sk-canary")}}])
def test_the_keys_of_providers_and_servers_are_protected_as_well(more: dict[str, Any]) -> None:
    settings = Settings(host="0.0.0.0", **more)
    problem = settings.open_relay() or ""
    assert problem.partition(" is set")[0] in ("the api_key of provider example", "servers.cn.api_key")
    assert "canary" not in problem
    with pytest.raises(UnsafeSettings):
        settings.check()
    replace(settings, proxy_api_key="inbound").check()
    assert replace(settings, providers=(replace(PROVIDER, api_key=None, forward_client_key=True),), servers=SERVERS).open_relay() is None


def test_a_demonstration_has_no_key_to_protect() -> None:
    sources = [Source("environment", Form.VARIABLES, {"HOST": "0.0.0.0", "SERVER_API_KEY": "demo"})]
    assert Settings.from_sources(sources, demo=True).settings.demo
    with pytest.raises(UnsafeSettings):
        Settings.from_sources(sources)


def test_nobody_can_say_that_it_is_a_demonstration() -> None:
    with pytest.raises(UnsafeSettings):
        Settings.from_mapping({"HOST": "0.0.0.0", "SERVER_API_KEY": "k", "DEMO": "true"})


# -------------------------------------------------------------------------------------------------------- warnings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(forward_client_key=False), "SERVER_API_KEY is not set"),
        (
            Settings(
                forward_client_key=False, proxy_server="cn", servers={**SERVERS, "international": replace(INTERNATIONAL, api_key="k")}
            ),
            "not set",
        ),
        (
            Settings(server_api_key="k", host="0.0.0.0", allow_open_relay=True),
            "ALLOW_OPEN_RELAY: whoever reaches 0.0.0.0 spends SERVER_API_KEY",
        ),
        (Settings(upstream_base="http://models.example"), "UPSTREAM_BASE is plain http"),
        (Settings(openai_upstream_base="http://models.example"), "OPENAI_UPSTREAM_BASE is plain http"),
        (Settings(providers=(replace(PROVIDER, bases=Bases("http://10.0.0.1")),)), "provider example is plain http"),
        (Settings(servers={**SERVERS, "x": Server("x", Bases(openai="http://x.example"))}), "server x is plain http"),
    ],
)
def test_what_is_probably_not_meant_draws_a_warning(settings: Settings, words: str) -> None:
    (warning,) = settings.warnings()
    assert words in warning


@pytest.mark.parametrize(
    "settings",
    [
        Settings(openai_upstream_base="http://127.0.0.1:8000/v1", server_api_key="k", forward_client_key=False),
        Settings(forward_client_key=False, servers={**SERVERS, "international": replace(INTERNATIONAL, api_key="k")}),
        Settings(forward_client_key=False, provider_only=True, providers=(PROVIDER,)),
        Settings(host="0.0.0.0", allow_open_relay=True),
        Settings(host="0.0.0.0", allow_open_relay=True, server_api_key="k", proxy_api_key="p"),
        Settings(cache_dir="/x", explicit=frozenset({"host", "providers"})),
    ],
)
def test_usual_settings_draw_no_warning(settings: Settings) -> None:
    assert settings.warnings() == []


def test_settings_that_have_no_effect_yet_are_named_on_one_line() -> None:
    reading = Settings.from_sources([Source("environment", Form.VARIABLES, {"CACHE_DIR": "/x", "PORT": "1", "LOG_FORMAT": "json"})])
    assert reading.warnings == ("set, and without effect yet: CACHE_DIR, LOG_FORMAT",)


# ------------------------------------------------------------------------------------------------------- conflicts


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (
            {"CONDENSATION_WARNING_THRESHOLD": "0.7"},
            "environment: CONDENSATION_WARNING_THRESHOLD: found 0.7, expected more than the 0.7 of CONDENSATION_CAUTION_THRESHOLD",
        ),
        (
            {"CONDENSATION_CAUTION_THRESHOLD": "0.85"},
            "environment: CONDENSATION_CAUTION_THRESHOLD: found 0.85, expected less than the 0.8 of CONDENSATION_WARNING_THRESHOLD",
        ),
        (
            {"CONDENSATION_CRITICAL_THRESHOLD": "1"},
            "environment: CONDENSATION_CRITICAL_THRESHOLD: found 1, expected less than the 0.95 of CONDENSATION_EMERGENCY_THRESHOLD",
        ),
        (
            {"CONDENSATION_CRITICAL_THRESHOLD": "0.75"},
            "environment: CONDENSATION_CRITICAL_THRESHOLD: found 0.75, expected more than the 0.8 of CONDENSATION_WARNING_THRESHOLD",
        ),
        (
            {"ENABLE_CORS": "yes", "CORS_ORIGINS": "*", "SERVER_API_KEY": "k"},
            "environment: CORS_ORIGINS: found *, expected a list of origins: any web page could spend SERVER_API_KEY",
        ),
        (
            {"PROVIDER_ONLY": "yes"},
            "environment: PROVIDER_ONLY: found true, expected providers beside it: without one no request can be answered",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_a_problem(values: dict[str, str], problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_mapping(values)
    assert caught.value.problems == [problem]


@pytest.mark.parametrize(
    ("values", "extra"),
    [
        ({"CONDENSATION_CAUTION_THRESHOLD": "0,6", "CONDENSATION_WARNING_THRESHOLD": "0.65"}, 0),
        ({"CONDENSATION_CRITICAL_THRESHOLD": "x", "CONDENSATION_EMERGENCY_THRESHOLD": "0.7"}, 0),
        ({"CONDENSATION_EMERGENCY_THRESHOLD": "0.7", "PORT": "x"}, 1),
        ({"ENABLE_CORS": "x", "CORS_ORIGINS": "*", "SERVER_API_KEY": "k"}, 0),
        ({"ENABLE_CORS": "1", "CORS_ORIGINS": "*", "SERVER_API_KEY": "k", "PORT": "x"}, 1),
        ({"PROVIDER_ONLY": "yes", "PORT": "x"}, 1),
        ({"HOST": "0.0.0.0", "SERVER_API_KEY": "k", "PORT": "x"}, 1),
        ({"HOST": "0.0.0.0", "SERVER_API_KEY": "k", "PROXY_API_KEY": "two words"}, 0),
        ({"HOST": "0.0.0.0", "SERVER_API_KEY": "k", "ALLOW_OPEN_RELAY": "treu"}, 0),
        ({"HOST": "0 0", "SERVER_API_KEY": "k"}, 0),
    ],
)
def test_what_follows_from_good_values_is_said_beside_the_bad_ones_and_nothing_that_follows_from_those(
    values: dict[str, str], extra: int
) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_mapping(values)
    assert len(caught.value.problems) == 1 + extra
    assert not isinstance(caught.value, UnsafeSettings)


def test_nothing_is_said_of_models_while_providers_are_not_known() -> None:
    settings = Settings(providers=(PROVIDER,), models=(GlmModel("m1", "m1", "m1"),))
    assert len(settings.conflicts({"port"})) == 1
    assert settings.conflicts({"providers"}) == settings.conflicts({"models"}) == []


@pytest.mark.parametrize("values", [{"ENABLE_CORS": "yes", "CORS_ORIGINS": "*"}, {"CORS_ORIGINS": "*", "SERVER_API_KEY": "k"}])
def test_every_origin_is_let_in_where_there_is_nothing_to_spend(values: dict[str, str]) -> None:
    assert Settings.from_mapping(values).cors_origins == ("*",)


def test_a_model_of_a_provider_and_one_of_the_glm_servers_cannot_share_an_id() -> None:
    settings = Settings(providers=(PROVIDER,), models=(GlmModel("m1", "m1", "m1"), GlmModel("m2", "m2", "m2")))
    assert settings.conflicts() == [("models", "found 'm1', which a provider has already; expected ids that differ")]
