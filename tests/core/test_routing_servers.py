"""Which GLM server is selected, at which addresses, and what stands in the way of another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.dialects import Protocol
from core.routing import Router, Target, pins, route, selection, server_named, settled
from core.settings import Settings, SettingsError
from core.settings.upstreams import CN, INTERNATIONAL, SERVERS, Bases, Provider, Server

MESSAGES, CHAT = Protocol.ANTHROPIC, Protocol.OPENAI
MY = Server("my", Bases("https://glm.example/a", "https://glm.example/o"), api_key="my-key", key_concurrency=3)
CHAT_ONLY = Server("chat-only", Bases(openai="https://chat.example/v1"))
ALL = {**SERVERS, "my": MY, "chat-only": CHAT_ONLY}
ZAI_ANTHROPIC, ZAI_OPENAI = INTERNATIONAL.bases.anthropic, INTERNATIONAL.bases.openai
CN_ANTHROPIC, CN_OPENAI = CN.bases.anthropic, CN.bases.openai


def target(model: str = "m", *, images: bool = False, wire: Protocol = MESSAGES, settings: Settings) -> Target:
    return route(model, images=images, wire=wire, settings=settings)[0]


def explicitly(name: str, **more: Any) -> Settings:
    return Settings(proxy_server=name, explicit=frozenset({"proxy_server"}), servers=ALL, **more)


# ---------------------------------------------------------------------------------------------------- the selection


@pytest.mark.parametrize(
    ("name", "server"), [("international", INTERNATIONAL), ("inter", INTERNATIONAL), ("cn", CN), ("my", MY), ("chat-only", CHAT_ONLY)]
)
def test_a_server_is_selected_by_its_name_or_alias(name: str, server: Server) -> None:
    found = selection(explicitly(name))
    assert (found.server, found.bases, found.pinned) == (server, server.bases, ())
    assert target(settings=explicitly(name)).name == server.name


def test_an_alias_may_be_overridden_by_a_server_of_that_name() -> None:
    mine = replace(MY, name="inter")
    assert server_named("inter", Settings(servers={**SERVERS, "inter": mine})) is mine


def test_a_server_that_there_is_not_is_refused() -> None:
    with pytest.raises(SettingsError) as caught:
        Router(explicitly("mars"))
    assert caught.value.problems == ["PROXY_SERVER: found 'mars', expected one of international, cn, my, chat-only"]


@pytest.mark.parametrize(
    ("anthropic", "openai", "expected"),
    [
        pytest.param(None, None, (ZAI_ANTHROPIC, ZAI_OPENAI), id="none: z.ai"),
        pytest.param("http://a", "http://b", ("http://a", "http://b"), id="both"),
        pytest.param("http://a", None, ("http://a", None), id="one's own, Messages only"),
        pytest.param(None, "http://b", (None, "http://b"), id="one's own, chat only"),
        pytest.param("https://api.z.ai/else", None, ("https://api.z.ai/else", ZAI_OPENAI), id="z.ai's Messages side"),
        pytest.param(None, "https://z.ai/v4", (ZAI_ANTHROPIC, "https://z.ai/v4"), id="z.ai's chat side"),
        pytest.param("https://bigmodel.cn/x", None, ("https://bigmodel.cn/x", CN_OPENAI), id="the other one's Messages side"),
        pytest.param("https://notz.ai/x", None, ("https://notz.ai/x", None), id="a name that ends alike"),
        pytest.param("https://glm.example/x", None, ("https://glm.example/x", "https://glm.example/o"), id="the host of a further server"),
        pytest.param("https://x.glm.example", None, ("https://x.glm.example", None), id="below the host of a further server"),
        pytest.param(ZAI_ANTHROPIC, None, (ZAI_ANTHROPIC, ZAI_OPENAI), id="a known one's"),
        pytest.param(CN_ANTHROPIC, None, (CN_ANTHROPIC, CN_OPENAI), id="a known one's, not the default's"),
        pytest.param(None, CN_OPENAI, (CN_ANTHROPIC, CN_OPENAI), id="its chat side"),
        pytest.param(f"{CN_ANTHROPIC}/", CN_OPENAI, (CN_ANTHROPIC, CN_OPENAI), id="both of it, with a slash"),
        pytest.param(ZAI_ANTHROPIC, CN_OPENAI, (ZAI_ANTHROPIC, CN_OPENAI), id="one of each: both are meant"),
        pytest.param(CN_ANTHROPIC, "http://b", (CN_ANTHROPIC, "http://b"), id="a known one's beside one's own"),
        pytest.param("http://a", "https://api.z.ai/else", ("http://a", "https://api.z.ai/else"), id="one's own beside a known host"),
        pytest.param(CN_OPENAI, None, (CN_OPENAI, CN_OPENAI), id="the wrong side's address is no known one"),
    ],
)
def test_ones_own_server_never_shares_its_requests_with_another(
    anthropic: str | None, openai: str | None, expected: tuple[str | None, str | None]
) -> None:
    found = selection(Settings(upstream_base=anthropic, openai_upstream_base=openai, servers=ALL)).bases
    assert (found.anthropic, found.openai) == expected


@pytest.mark.parametrize(
    ("anthropic", "openai", "name"),
    [
        (CN_ANTHROPIC, None, "cn"),
        (None, CN_OPENAI, "cn"),
        (CN_ANTHROPIC, "http://b", "cn"),
        ("https://open.bigmodel.cn/else", None, "cn"),
        (CN_ANTHROPIC, ZAI_OPENAI, "international"),
        ("http://a", None, "international"),
        ("https://glm.example/a", None, "my"),
    ],
)
def test_a_known_address_selects_its_server_where_none_was_chosen(anthropic: str | None, openai: str | None, name: str) -> None:
    settings = Settings(upstream_base=anthropic, openai_upstream_base=openai, servers=ALL)
    assert selection(settings).server.name == name
    assert settled(settings).proxy_server == name
    assert selection(settled(settings)) == selection(settings)
    assert settled(settled(settings)) == settled(settings)


@pytest.mark.parametrize("openai", [None, ZAI_OPENAI])
def test_the_defaults_written_out_do_not_keep_from_switching(openai: str | None) -> None:
    settings = Settings(upstream_base=ZAI_ANTHROPIC, openai_upstream_base=openai, servers=ALL)
    assert pins(settings) is None
    for chosen in (explicitly("cn", upstream_base=ZAI_ANTHROPIC, openai_upstream_base=openai), replace(settings, proxy_server="cn")):
        assert selection(chosen).bases == CN.bases


@pytest.mark.parametrize("selected", ["international", "cn"])
def test_switching_is_another_word_for_the_same_settings(selected: str) -> None:
    settings = settled(Settings(upstream_base=CN_ANTHROPIC, proxy_server=selected))
    assert target(settings=settings).name == "cn"
    for name in ("international", "cn", "international"):
        settings = replace(settings, proxy_server=name)
        assert (target(settings=settings).name, target(settings=settings).base) == (name, SERVERS[name].bases.anthropic)


def test_an_alias_is_settled_as_the_name_it_stands_for() -> None:
    assert settled(Settings(proxy_server="inter")).proxy_server == "international"
    settings = Settings()
    assert settled(settings) is settings


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (Settings(), None),
        (Settings(upstream_base=CN_ANTHROPIC), None),
        (Settings(upstream_base="http://a"), "UPSTREAM_BASE holds an address that is no known server's"),
        (Settings(openai_upstream_base="https://api.z.ai/else"), "OPENAI_UPSTREAM_BASE holds an address"),
        (Settings(upstream_base="http://a", openai_upstream_base="http://b"), "UPSTREAM_BASE and OPENAI_UPSTREAM_BASE hold an address"),
        (Settings(upstream_base=CN_ANTHROPIC, openai_upstream_base="http://b"), "OPENAI_UPSTREAM_BASE holds"),
        (Settings(provider_only=True), "only providers are served"),
    ],
)
def test_a_pin_says_why_switching_changes_nothing(settings: Settings, reason: str | None) -> None:
    found = pins(settings)
    if reason is None:
        assert found is None
    else:
        assert found is not None
        assert found.startswith(reason)


def test_a_pinned_side_stays_when_another_server_is_selected() -> None:
    settings = explicitly("cn", upstream_base="https://api.z.ai/else")
    assert selection(settings).bases == Bases("https://api.z.ai/else", CN_OPENAI)
    settings = explicitly("cn", upstream_base="http://a")
    assert selection(settings).bases == Bases("http://a", None)


# ---------------------------------------------------------------------------------------------------- the target


@pytest.mark.parametrize(
    ("settings", "images", "model", "protocol"),
    [
        (Settings(upstream_base="http://a"), True, "m", MESSAGES),
        (Settings(upstream_base="http://a"), False, "m-openai", MESSAGES),
        (Settings(openai_upstream_base="http://b"), False, "m-anthropic", CHAT),
        (Settings(openai_upstream_base="http://b"), False, "m", CHAT),
        (explicitly("chat-only"), False, "m", CHAT),
    ],
)
def test_a_server_of_one_protocol_gets_everything_in_it(settings: Settings, images: bool, model: str, protocol: Protocol) -> None:
    found = target(model, images=images, settings=settings)
    assert (found.protocol, found.reason) == (protocol, f"only base: {protocol.value}")


def test_the_reason_stays_where_the_one_protocol_is_the_one_that_is_wanted() -> None:
    assert target("m-openai", settings=explicitly("chat-only")).reason == "suffix: -openai"


@pytest.mark.parametrize(
    ("settings", "key", "concurrency"),
    [
        (Settings(), None, "auto"),
        (Settings(server_api_key="s", upstream_key_concurrency=7), "s", 7),
        (explicitly("my", server_api_key="s", upstream_key_concurrency=7), "my-key", 3),
        (explicitly("cn", server_api_key="s"), "s", "auto"),
    ],
)
def test_a_target_has_the_key_and_the_concurrency_of_its_server(settings: Settings, key: str | None, concurrency: object) -> None:
    found = target(settings=settings)
    assert (found.key, found.concurrency) == (key, concurrency)
    assert "my-key" not in repr(found)


@pytest.mark.parametrize("forward", [True, False])
def test_a_target_says_what_the_settings_say_of_every_glm_server(forward: bool) -> None:
    settings = Settings(forward_client_key=forward, default_max_tokens=77)
    found = target(settings=settings)
    assert (found.forward_client_key, found.default_max_tokens, found.auth, found.headers) == (forward, 77, None, ())


@pytest.mark.parametrize(
    ("settings", "model", "protocol", "dialect"),
    [
        (Settings(), "glm-4.6", MESSAGES, "glm-messages"),
        (Settings(), "glm-4.6-openai", CHAT, "glm"),
        (Settings(), "glm-5.2-openai", CHAT, "glm-effort"),
        (explicitly("cn"), "glm-4.6-openai", CHAT, "glm"),
        (explicitly("my"), "glm-4.6-openai", CHAT, "glm-relay"),
        (explicitly("my"), "glm-4.6", MESSAGES, "messages-relay"),
        (explicitly("my"), "x" * 200, MESSAGES, "messages-relay"),
        (Settings(upstream_dialect="anthropic"), "glm-4.6", MESSAGES, "anthropic"),
        (Settings(openai_upstream_dialect="vllm"), "glm-4.6-openai", CHAT, "vllm"),
        (Settings(openai_upstream_dialect="vllm"), "glm-4.6", MESSAGES, "glm-messages"),
    ],
)
def test_a_servers_dialect_is_the_one_that_is_set_or_told_by_host_and_model(
    settings: Settings, model: str, protocol: Protocol, dialect: str
) -> None:
    found = target(model, settings=settings)
    assert (found.protocol, found.dialect.name) == (protocol, dialect)


def test_a_provider_takes_no_server_away() -> None:
    settings = Settings(providers=(Provider("p", Bases("https://p.example"), (), "k"),))
    assert target("glm-4.6", settings=settings).name == "international"
