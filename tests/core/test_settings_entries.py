"""Entries of configuration files: providers, GLM servers, further models."""

from __future__ import annotations

from typing import Any

import pytest

from core.settings import Form, Settings, SettingsError, Source
from core.settings.addresses import bases_at
from core.settings.upstreams import CN, INTERNATIONAL, Bases, Commands, GlmModel, Limits, Model, Provider, Server, Timeouts

MODEL = {"id": "m1"}
PROVIDER = {"base_url": "https://api.example.com/", "api_key": "sk-x", "models": [MODEL]}


def read(**values: Any) -> Settings:
    return Settings.from_sources([Source("f", Form.FILE, values)]).settings


def servers(**values: Any) -> dict[str, Server]:
    return dict(Settings.from_sources([Source("f", Form.SERVERS, values)]).settings.servers)


def problems(form: Form, values: dict[str, Any]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        Settings.from_sources([Source("f", form, values)])
    return caught.value.problems


def provider(**more: Any) -> Provider:
    (found,) = read(providers=[{**PROVIDER, **more}]).providers
    return found


# -------------------------------------------------------------------------------------------------------- providers


def test_a_provider_needs_an_address_a_key_and_a_model() -> None:
    assert provider() == Provider("api.example.com", Bases(openai="https://api.example.com"), (Model("m1", "m1", "m1"),), api_key="sk-x")


def test_a_provider_may_say_everything() -> None:
    found = provider(
        name="mine",
        base_url=None,
        base_urls={"openai": "https://a.example/v1", "anthropic": "https://b.example"},
        preset="zai",
        auth="x-api-key",
        forward_client_key=True,
        timeouts={"connect": 1, "request": 2, "first_byte": 3, "stream": 4, "stream_total": 5},
        key_concurrency=3,
        weight=7,
        default_max_tokens=99,
        headers={"X-Tenant": "a b"},
        models=[
            {
                "id": "m1", "remote_id": "r", "display_name": "d", "max_input_tokens": 9, "max_tokens": 3, "vision": False,
                "vision_model": "m2", "fallbacks": ["m2", "m3"], "group": "g", "created": 5,
            },
            {"id": "m2", "fallbacks": "m1"},
        ],
    )  # fmt: skip
    assert found == Provider(
        "mine",
        Bases("https://b.example", "https://a.example/v1"),
        (Model("m1", "r", "d", Limits(9, 3), False, "m2", ("m2", "m3"), "g", 5), Model("m2", "m2", "m2", fallbacks=("m1",))),
        api_key="sk-x",
        forward_client_key=True,
        preset="zai",
        auth="x-api-key",
        timeouts=Timeouts(1, 2, 3, 4, 5),
        key_concurrency=3,
        weight=7,
        default_max_tokens=99,
        headers={"x-tenant": "a b"},
    )


def test_a_provider_of_the_other_protocol_and_without_a_key_of_its_own() -> None:
    found = provider(protocol="anthropic", api_key="", forward_client_key=True, key_concurrency="auto")
    assert (found.bases, found.api_key, found.key_concurrency) == (Bases(anthropic="https://api.example.com"), None, "auto")
    assert provider(base_url=None, base_urls={"anthropic": "https://a.example"}).bases == Bases(anthropic="https://a.example")


def test_providers_are_called_after_their_hosts_and_told_apart() -> None:
    hosts = ["https://a.example/v1", "http://localhost:8001", "https://a.example", "https://a.example/v2"]
    entries = [{**PROVIDER, "base_url": host, "models": [{"id": str(index)}]} for index, host in enumerate(hosts)]
    entries.append({**PROVIDER, "name": "a.example#2", "models": [{"id": "named"}]})
    assert [one.name for one in read(providers=entries).providers] == [
        "a.example",
        "localhost:8001",
        "a.example#3",
        "a.example#4",
        "a.example#2",
    ]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"base_url": None}, "providers[0].base_url: expected base_url, or base_urls with openai or anthropic or both"),
        ({"base_url": None, "base_urls": {}}, "providers[0].base_url: expected base_url, or base_urls"),
        ({"base_urls": {"openai": "http://x"}}, "providers[0].base_urls: found base_urls and base_url, expected one of the two"),
        ({"base_url": None, "base_urls": {"openai": "http://x"}, "protocol": "openai"}, "providers[0].protocol: expected only beside base_url"),
        ({"base_url": "api.example.com"}, "providers[0].base_url: found 'api.example.com', expected an http:// or https:// URL"),
        ({"base_urls": {"opneai": "http://x"}}, "providers[0].base_urls.opneai: unknown key, did you mean openai?"),
        ({"api_key": None}, "providers[0].api_key: found nothing, expected a key, or forward_client_key: true"),
        ({"api_key": "two words"}, "providers[0].api_key: found a secret of 9 characters, expected visible ASCII"),
        ({"models": None}, "providers[0].models: found nothing, expected a list of models"),
        ({"models": []}, "providers[0].models: expected at least one model"),
        ({"models": {"id": "m"}}, "providers[0].models: found an object, expected a list of models"),
        ({"models": [{}]}, "providers[0].models[0].id: found nothing, expected text"),
        ({"models": ["m"]}, "providers[0].models[0]: found text, expected an object"),
        ({"models": [{"id": "m", "vision": "dim"}]}, "providers[0].models[0].vision: found 'dim', expected true or false"),
        ({"models": [{"id": "m", "created": -1}]}, "providers[0].models[0].created: found -1, expected a whole number"),
        ({"models": [{"id": "m", "remoteid": "r"}]}, "providers[0].models[0].remoteid: unknown key, did you mean remote_id?"),
        ({"models": [MODEL, MODEL]}, "providers[0].models[1].id: found 'm1', which providers[0].models[0] has already; expected ids that differ"),
        ({"models": [MODEL, {"id": "m2", "group": "m1"}]}, "providers[0].models[1].group: found 'm1', which is the id of providers[0].models[0]"),
        ({"protocol": "gemini"}, "providers[0].protocol: found 'gemini', expected one of anthropic, openai"),
        ({"preset": "klingon"}, "providers[0].preset: found 'klingon', expected one of generic, openai, anthropic, zai"),
        ({"auth": "basic"}, "providers[0].auth: found 'basic', expected one of bearer, x-api-key, as-sent"),
        ({"timeouts": {"read": 1}}, "providers[0].timeouts.read: unknown key"),
        ({"timeouts": {"connect": -1}}, "providers[0].timeouts.connect: found -1, expected a number from 0 to 86400"),
        ({"weight": -1}, "providers[0].weight: found -1, expected a whole number"),
        ({"headers": ["x"]}, "providers[0].headers: found a list, expected an object of names and values"),
        ({"headers": {"Authorization": "x"}}, "providers[0].headers.Authorization: expected no credential"),
        ({"headers": {"x-api-key": "x"}}, "providers[0].headers['x-api-key']: expected no credential"),
        ({"headers": {"Transfer-Encoding": "x"}}, "providers[0].headers['Transfer-Encoding']: expected no credential"),
        ({"headers": {"a b": "x"}}, "providers[0].headers['a b']: expected the name of a header"),
        ({"headers": {"": "x"}}, "providers[0].headers['']: expected the name of a header"),
        ({"headers": {"x-a": "x", "X-A": "y"}}, "providers[0].headers['X-A']: found twice"),
        ({"headers": {"xa": "canary\r\ny: z"}}, "providers[0].headers.xa: found a secret of 12 characters, expected visible ASCII"),
        ({"headers": {"xa": 5}}, "providers[0].headers.xa: found a number in place of a secret, expected visible ASCII"),
        ({"nmae": "x"}, "providers[0].nmae: unknown key, did you mean name?"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_provider_is_said_by_its_place(more: dict[str, Any], expected: str) -> None:
    (problem,) = problems(Form.FILE, {"providers": [{**PROVIDER, **more}]})
    assert problem.startswith(f"f: {expected}")
    assert "canary" not in problem


def test_ids_are_unique_over_all_providers_and_that_is_said_beside_other_problems() -> None:
    found = problems(Form.FILE, {"providers": [PROVIDER, 5, {**PROVIDER, "weight": "much", "models": [{"id": 5}, MODEL, {"id": "m2"}]}]})
    assert [problem.partition(",")[0] for problem in found] == [
        "f: providers[2].models[1].id: found 'm1'",
        "f: providers[1]: found a number",
        "f: providers[2].models[0].id: found 5",
        "f: providers[2].weight: found 'much'",
    ]


def test_every_wrong_header_is_named() -> None:
    headers = {"x-a": 5, "Cookie": "x", "_x": 5, "a b": "\n", "x-b": "\n", "Host": "\n"}
    found = problems(Form.FILE, {"providers": [{**PROVIDER, "headers": headers}]})
    assert [problem.partition(": found")[0].partition(": expected")[0] for problem in found] == [
        "f: providers[0].headers['x-a']",
        "f: providers[0].headers.Cookie",
        "f: providers[0].headers['a b']",
        "f: providers[0].headers['x-b']",
        "f: providers[0].headers.Host",
    ]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("glm-4.6v", "glm-4.6"), ("glm-4.6", "glm-4.6v"), ("glm-4.5v-plus", "glm-4.5-plus"), ("vision-flashx", "vision-flash"),
        ("claude-3-5-sonnet", "claude-3-7-sonnet"), ("gpt-4o", "gpt-4v"), ("my-vision", "my-visions"), ("text-large", "text-small"),
        ("eyes", "eyse"), ("my-visoin-two", "my-vision"), ("visoin-modle", "vision-model"), ("vision", "vision"),
    ],
)  # fmt: skip
def test_any_vision_model_may_be_one_the_provider_knows(name: str, known: str) -> None:
    assert provider(models=[{"id": known}, {"id": "m", "vision": False, "vision_model": name}]).models[1].vision_model == name


@pytest.mark.parametrize(
    ("name", "known"),
    [("Vision", "vision"), ("glm_4.6v", "glm-4.6v"), ("GLM-46v", "glm-4.6v"), ("my-visoin-model", "my-vision-model"), ("visin", "vision")],
)
def test_a_vision_model_that_is_nearly_one_that_is_known_is_meant_to_be_that(name: str, known: str) -> None:
    found = problems(Form.FILE, {"providers": [{**PROVIDER, "models": [{"id": 5}, {"id": "m", "vision_model": name}, {"id": known}]}]})
    expected = f"found '{name}', expected the id of a model, or its name at the provider; did you mean {known}?"
    assert f"f: providers[0].models[1].vision_model: {expected}" in found


def test_names_of_providers_are_unique() -> None:
    entries = [{**PROVIDER, "name": "a"}, {**PROVIDER, "name": "a", "models": [{"id": "m2"}]}]
    (problem,) = problems(Form.FILE, {"providers": entries})
    assert problem == "f: providers[1].name: found 'a', which providers[0] has already; expected another"


@pytest.mark.parametrize("providers", [{}, "x", 5])
def test_providers_are_a_list(providers: Any) -> None:
    (problem,) = problems(Form.FILE, {"providers": providers})
    assert problem.endswith("expected a list of providers")


def test_the_first_list_of_providers_counts() -> None:
    sources = [Source(name, Form.FILE, {"providers": [{**PROVIDER, "name": name}]}) for name in ("a", "b")]
    reading = Settings.from_sources([Source("c", Form.FILE, {"providers": None}), *sources])
    assert [one.name for one in reading.settings.providers] == ["a"]
    assert reading.origins == {"providers": "a"}


# ---------------------------------------------------------------------------------------------------------- servers


@pytest.mark.parametrize(
    ("url", "bases"),
    [
        ("https://api.z.ai", INTERNATIONAL.bases),
        ("https://api.z.ai/api/anthropic", INTERNATIONAL.bases),
        ("https://api.z.ai/api/coding/paas/v4", INTERNATIONAL.bases),
        ("https://api.z.ai/api/paas/v4", Bases(openai="https://api.z.ai/api/paas/v4")),
        ("https://open.bigmodel.cn", CN.bases),
        ("https://open.bigmodel.cn/api/anthropic", CN.bases),
        ("https://x.example", Bases("https://x.example/api/anthropic", "https://x.example/api/coding/paas/v4")),
        ("http://x.example:81", Bases("http://x.example:81/api/anthropic", "http://x.example:81/api/coding/paas/v4")),
        ("https://x.example/anthropic", Bases(anthropic="https://x.example/anthropic")),
        ("https://x.example/v1/messages", Bases(anthropic="https://x.example/v1/messages")),
        ("https://x.example/v1", Bases(openai="https://x.example/v1")),
    ],
)
def test_one_address_gives_the_bases_of_a_server(url: str, bases: Bases) -> None:
    assert bases_at(url) == bases


def test_servers_come_beside_the_built_in_ones_and_in_place_of_them() -> None:
    found = servers(
        _="a remark",
        cn={"api_key": "k"},
        inter={"endpoint": "https://api.z.ai/", "name": "Z", "latency_ms": 12.5},
        local={"endpoint": "localhost:8080"},
        far={"endpoint": "relay.example", "fallbacks": ["inter", "cn"], "region": "eu", "key_concurrency": 2},
        two={"name": "Two", "endpoints": {"openai": "https://two.example/v1"}},
    )
    assert list(found) == ["international", "cn", "local", "far", "two"]
    assert found["cn"] == Server("cn", CN.bases, CN.display_name, "cn", "k")
    assert found["international"] == Server("international", INTERNATIONAL.bases, "Z", "international", latency_ms=12.5)
    assert found["local"].bases.anthropic == "http://localhost:8080/api/anthropic"
    assert found["far"] == Server(
        "far", bases_at("https://relay.example"), "far", "eu", fallbacks=("international", "cn"), key_concurrency=2
    )
    assert found["two"] == Server("two", Bases(openai="https://two.example/v1"), "Two")


def test_a_server_may_take_a_short_name_that_stands_for_another() -> None:
    reading = Settings.from_sources(
        [Source("e", Form.VARIABLES, {"PROXY_SERVER": "mine"}), Source("f", Form.SERVERS, {"mine": {"endpoint": "x.example"}})]
    )
    assert reading.settings.proxy_server == "mine"
    assert "servers" in reading.settings.explicit


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"x": {}}, "x.endpoint: found nothing, expected a host or a URL, or endpoints"),
        ({"x": {"endpoints": {}}}, "x.endpoint: found nothing, expected a host or a URL, or endpoints"),
        ({"x": {"endpoint": "h", "endpoints": {"openai": "http://h"}}}, "x.endpoints: expected endpoint or endpoints, not both"),
        ({"x": {"endpoint": 5}}, "x.endpoint: found 5, expected text"),
        ({"x": {"endpoint": "two words"}}, "x.endpoint: found 'two words', expected an http:// or https:// URL"),
        ({"x": {"endpoint": "ftp://h"}}, "x.endpoint: found 'ftp://h', expected an http:// or https:// URL"),
        ({"x": "h"}, "x: found text, expected an object"),
        ({"x": {"endpoint": "h", "apikey": "k"}}, "x.apikey: unknown key, did you mean api_key?"),
        ({"cn": {"api_key": "two words"}}, "cn.api_key: found a secret of 9 characters"),
        ({"cn": {"latency_ms": "fast"}}, "cn.latency_ms: found 'fast', expected a number"),
        ({"international": {}, "inter": {}}, "inter: expected one entry for this server, and international is one"),
    ],
)
def test_what_is_wrong_with_a_server_is_said_by_its_place(values: dict[str, Any], expected: str) -> None:
    (problem,) = problems(Form.SERVERS, values)
    assert problem.startswith(f"f: {expected}")


# ------------------------------------------------------------------------------------------------------- config.yaml


def test_further_models_have_their_id_for_a_name() -> None:
    settings = read(
        models={
            "a": {},
            "b": {
                "display_name": "B",
                "text_model_name": "bb",
                "openai_expected_tokens": 5,
                "real_text_model_tokens": 6,
                "description": "d",
            },
        }
    )
    assert settings.models == (GlmModel("a", "a", "a"), GlmModel("b", "B", "bb", 5, 6, "d"))


def test_what_the_commands_go_by() -> None:
    assert read().cli == Commands(2, False, 60)
    assert read(cli={"refresh_interval": 1, "auto_switch_enabled": "on", "auto_switch_interval": 5}).cli == Commands(1, True, 5)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"models": {"a": {"text_model": "x"}}}, "models.a.text_model: unknown key, did you mean text_model_name?"),
        ({"models": ["a"]}, "models: found a list, expected an object of ids and models"),
        ({"cli": {"refresh_interval": 0}}, "cli.refresh_interval: found 0, expected a number from 0.1 to 3600"),
    ],
)
def test_what_is_wrong_there_is_said_by_its_place(values: dict[str, Any], expected: str) -> None:
    (problem,) = problems(Form.FILE, values)
    assert problem.startswith(f"f: {expected}")


def test_a_model_of_a_provider_cannot_be_one_of_the_glm_servers_too() -> None:
    (problem,) = problems(Form.FILE, {"providers": [PROVIDER], "models": {"m1": {}}})
    assert problem == "f: models: found 'm1', which a provider has already; expected ids that differ"
