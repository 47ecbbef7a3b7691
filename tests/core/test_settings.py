"""Settings: every name has an effect, every problem is said at once, and no secret is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from core.effects import Deadlines, Open
from core.gateway import Gateway
from core.settings import Settings, SettingsError, UnsafeSettings, is_loopback
from tests.core.exchanges import CHAT, INBOUND_KEY, MESSAGES, SERVER_KEY, gateway, plain, question, request, streamed, tell, towards

NAMES = [one.name.upper() for one in fields(Settings)]
ALIASES = [(alias, one.name) for one in fields(Settings) for alias in one.metadata["aliases"]]


def test_nothing_is_needed_and_every_default_is_good() -> None:
    settings = Settings.from_mapping({})
    assert settings == Settings()
    assert (settings.host, settings.port, settings.drain_timeout, settings.default_max_tokens) == ("127.0.0.1", 5000, 600.0, 98_304)
    assert (settings.connect_timeout, settings.request_timeout, settings.first_byte_timeout, settings.stream_timeout) == (10, 300, 300, 300)
    assert (settings.stream_total_timeout, settings.sse_ping_interval, settings.max_request_size_mb, settings.max_json_depth) == (
        0,
        15,
        32,
        128,
    )
    assert (settings.autotext_model, settings.autovision_model, settings.anthropic_version) == ("glm-4.6", "glm-4.5v", "2023-06-01")


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_value_is_no_value(name: str) -> None:
    assert Settings.from_mapping({name: "", **{alias: "  " for alias, _ in ALIASES}}) == Settings()


def test_names_of_others_are_left_alone() -> None:
    assert Settings.from_mapping({"PATH": "/bin", "host": "1.2.3.4", "PORTS": "x"}) == Settings()


@pytest.mark.parametrize(("alias", "name"), ALIASES)
def test_an_alias_stands_for_its_name_which_wins_over_it(alias: str, name: str) -> None:
    assert getattr(Settings.from_mapping({alias: "42"}), name) in ("42", 42)
    assert getattr(Settings.from_mapping({alias: "42", name.upper(): "43"}), name) in ("43", 43)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        *(("PROXY_HEADERS", text, False) for text in ("0", "false", "No", "OFF")),
        *(("ALLOW_OPEN_RELAY", text, True) for text in ("1", "TRUE", "yes", "on")),
        ("BACKEND", "TRIO", "trio"),
        ("LOG_LEVEL", " debug ", "DEBUG"),
        ("MAX_REQUEST_SIZE_MB", "0.5", 0.5),
        ("ALLOWED_HOSTS", " a.example , ,b ", ("a.example", "b")),
        ("OPENAI_MODELS_LIST_JSON", '["a","b"]', ("a", "b")),
        ("UPSTREAM_BASE", "http://[::1]:8080/x/", "http://[::1]:8080/x"),
        ("STREAM_TIMEOUT", "0", 0.0),
        ("PORT", "0", 0),
    ],
)
def test_a_value_is_understood(name: str, text: str, value: object) -> None:
    assert getattr(Settings.from_mapping({name: text}), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("PORT", "65536", "expected a whole number from 0 to 65535"),
        ("PORT", "-1", "expected a whole number from 0 to 65535"),
        ("PORT", "5000.0", "expected a whole number"),
        ("PORT", "5_000", "expected a whole number"),
        ("CONNECT_TIMEOUT", "nan", "expected a number from 0 to 86400"),
        ("CONNECT_TIMEOUT", "inf", "expected a number from 0 to 86400"),
        ("DEFAULT_MAX_TOKENS", "0", "expected a whole number from 1"),
        ("PROXY_HEADERS", "maybe", "expected true or false"),
        ("BACKEND", "twisted", "expected one of asyncio, trio"),
        ("TEXT_ENDPOINT_PREFERENCE", "any", "expected one of auto, openai, anthropic, endpoint"),
        ("TOKEN_COUNTING_MODEL", "p50k_base", "expected one of cl100k_base"),
        ("OPENAI_MODELS_LIST_JSON", "glm-4.6", "expected a JSON list of strings"),
        ("OPENAI_MODELS_LIST_JSON", "[1]", "expected a JSON list of strings"),
        ("UPSTREAM_BASE", "api.z.ai", "expected an http:// or https:// URL"),
        ("UPSTREAM_BASE", "ftp://x", "expected an http:// or https:// URL"),
        ("UPSTREAM_BASE", "http://", "expected an http:// or https:// URL"),
        ("UPSTREAM_BASE", "http://[::1", "expected an http:// or https:// URL"),
        ("UPSTREAM_BASE", "http://x:port", "expected an http:// or https:// URL"),
        ("UPSTREAM_BASE", "http://x\r\ny", "expected an http:// or https:// URL"),
        ("UPSTREAM_BASE", "http://gr\xfc\xdfe", "expected an http:// or https:// URL"),
        ("OPENAI_UPSTREAM_BASE", "http://x/?a=b", "expected a URL without credentials, query or fragment"),
        ("UPSTREAM_DIALECT", "klingon", "expected one of generic, glm"),
        ("OPENAI_UPSTREAM_BASE", "http://x/#a", "expected a URL without credentials, query or fragment"),
        ("ANTHROPIC_VERSION", "2023\r\nx: y", "expected visible ASCII characters without spaces"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_found_and_what_is_expected(name: str, text: str, expected: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_mapping({name: text})
    (problem,) = caught.value.problems
    assert problem.startswith(f"{name}: found {text!a}, ")
    assert expected in problem
    assert str(caught.value) == problem
    assert problem.isprintable()


def test_all_problems_are_said_at_once_under_the_names_they_were_given() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_mapping(
            {"PROXY_PORT": "x", "BACKEND": "x", "UPSTREAM_TIMEOUT_SECONDS": "x", "HOST": "0.0.0.0", "SERVER_API_KEY": "k"}
        )
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["PROXY_PORT", "BACKEND", "UPSTREAM_TIMEOUT_SECONDS"]
    assert not isinstance(caught.value, UnsafeSettings)


@pytest.mark.parametrize("name", ["SERVER_API_KEY", "PROXY_API_KEY", "AK"])
def test_a_secret_is_shown_nowhere(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_mapping({name: "canary key"})
    assert caught.value.problems == [f"{name}: found a secret of 10 characters, expected visible ASCII characters without spaces"]
    assert "canary" not in repr(Settings.from_mapping({name: "canary-key"}))


def test_a_password_in_an_address_is_not_shown_and_a_long_value_not_whole() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_mapping({"UPSTREAM_BASE": "https://user:canary@x/", "BACKEND": "x" * 1000})
    assert "canary" not in str(caught.value)
    assert "//...@x" in str(caught.value)
    assert all(len(problem) < 300 for problem in caught.value.problems)


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


# ---------------------------------------------------------------------------------------------------- effects


def _deadlines(name: str, seconds: str, stream: bool) -> Deadlines:
    at = gateway(**{name: seconds})
    return at.stream_deadlines if stream else at.plain_deadlines


def _upstream(at: Gateway, **more: Any) -> Any:
    return tell(request("/v1/chat/completions", question(**more)), [plain(CHAT)], at=at)


#: name -> whether what it says can be seen in what the core does.
EFFECTS: dict[str, Callable[[], bool]] = {
    "PROXY_API_KEY": lambda: tell(request("/v1/models"), at=gateway(PROXY_API_KEY=INBOUND_KEY)).status == 401,
    "ALLOWED_HOSTS": lambda: tell(request("/", method="GET", headers={"host": "a.example"}), at=gateway(ALLOWED_HOSTS="a.example")).status == 200,
    "MAX_JSON_DEPTH": lambda: tell(request("/v1/messages", question(x=[[[[[[[[[1]]]]]]]]])), at=gateway(MAX_JSON_DEPTH="8")).json["error"]["code"] == "invalid_json",
    "PROXY_HEADERS": lambda: _upstream(towards(CHAT, PROXY_HEADERS="no")).header("x-proxy-route") is None,
    "SERVER_API_KEY": lambda: tell(request("/v1/chat/completions", question(), key=None), [plain(CHAT)], at=towards(CHAT, SERVER_API_KEY=SERVER_KEY)).upstream_header("authorization") == [f"Bearer {SERVER_KEY}"],
    "FORWARD_CLIENT_KEY": lambda: _upstream(towards(CHAT, SERVER_API_KEY=SERVER_KEY, FORWARD_CLIENT_KEY="no")).upstream_header("authorization") == [f"Bearer {SERVER_KEY}"],
    "UPSTREAM_BASE": lambda: tell(request("/v1/messages", question()), [plain(MESSAGES)], at=gateway(UPSTREAM_BASE="http://x/y")).world.opened[0].url == "http://x/y/v1/messages",
    "OPENAI_UPSTREAM_BASE": lambda: _upstream(towards(CHAT, OPENAI_UPSTREAM_BASE="http://x/y")).world.opened[0].url == "http://x/y/v1/chat/completions",
    "UPSTREAM_DIALECT": lambda: tell(request("/v1/chat/completions", question(temperature=0.5)), [plain(MESSAGES)], at=towards(MESSAGES, UPSTREAM_DIALECT="anthropic")).header("x-proxy-dropped") == "temperature",
    "OPENAI_UPSTREAM_DIALECT": lambda: "thinking" not in _upstream(towards(CHAT, OPENAI_UPSTREAM_DIALECT="vllm")).upstream,
    "TEXT_ENDPOINT_PREFERENCE": lambda: _upstream(gateway(TEXT_ENDPOINT_PREFERENCE="openai")).header("x-proxy-route") == "preference: openai",
    "OPENAI_MODELS_LIST_JSON": lambda: [item["id"] for item in tell(request("/v1/models", method="GET"), at=gateway(OPENAI_MODELS_LIST_JSON='["b","a"]')).json["data"]] == ["b", "a"],
    "AUTOTEXT_MODEL": lambda: _upstream(towards(CHAT, AUTOTEXT_MODEL="mine"), model="").upstream["model"] == "mine",
    "AUTOVISION_MODEL": lambda: _upstream(towards(CHAT, AUTOVISION_MODEL="mine"), messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y"}}]}]).upstream["model"] == "mine",
    "DEFAULT_MAX_TOKENS": lambda: tell(request("/v1/messages", question(max_tokens=None)), [plain(MESSAGES)], at=gateway(DEFAULT_MAX_TOKENS="77")).upstream["max_tokens"] == 77,
    "ENABLE_ZAI_THINKING": lambda: "thinking" in _upstream(towards(CHAT)).upstream and "thinking" not in _upstream(towards(CHAT, ENABLE_ZAI_THINKING="no")).upstream,
    "ANTHROPIC_VERSION": lambda: tell(request("/v1/messages", question()), [plain(MESSAGES)], at=gateway(ANTHROPIC_VERSION="2020-01-01")).upstream_header("anthropic-version") == ["2020-01-01"],
    "CONNECT_TIMEOUT": lambda: _deadlines("CONNECT_TIMEOUT", "7", True).connect == _deadlines("CONNECT_TIMEOUT", "7", False).connect == 7,
    "REQUEST_TIMEOUT": lambda: _deadlines("REQUEST_TIMEOUT", "7", False).total == 7,
    "FIRST_BYTE_TIMEOUT": lambda: _deadlines("FIRST_BYTE_TIMEOUT", "7", True).first_byte == 7,
    "STREAM_TIMEOUT": lambda: _deadlines("STREAM_TIMEOUT", "7", True).gap == 7,
    "STREAM_TOTAL_TIMEOUT": lambda: _deadlines("STREAM_TOTAL_TIMEOUT", "7", True).total == 7,
    "SSE_PING_INTERVAL": lambda: (gateway(SSE_PING_INTERVAL="7").ping_interval, gateway(SSE_PING_INTERVAL="0").ping_interval) == (7, None),
    "TOKEN_COUNTING_MODEL": lambda: gateway(TOKEN_COUNTING_MODEL="cl100k_base").counter.payload(b'{"system":"one two"}') == 12,
    "TIKTOKEN_CACHE_SIZE": lambda: gateway(TIKTOKEN_CACHE_SIZE="5").counter._cache_size == 5,
    "DEMO": lambda: tell(request("/", method="GET"), at=gateway(DEMO="yes")).json["demo"] is True,
}  # fmt: skip

#: Those that a transport acts upon; its own tests see to them. ALLOW_OPEN_RELAY and HOST are tested above.
OUTSIDE = {
    "HOST", "PORT", "BACKEND", "UVLOOP", "LOG_LEVEL", "DRAIN_TIMEOUT", "ALLOW_OPEN_RELAY", "MAX_REQUEST_SIZE_MB", "MAX_HEADER_KB",
    "MAX_CONNECTIONS", "ENABLE_REQUEST_ID_TRACKING", "HTTP_POOL_MAXSIZE", "HTTP_KEEPALIVE_CONNECTIONS", "HTTP_KEEPALIVE_SECONDS",
}  # fmt: skip


def test_every_name_is_accounted_for() -> None:
    assert set(NAMES) == EFFECTS.keys() | OUTSIDE
    assert EFFECTS.keys() & OUTSIDE == set()


@pytest.mark.parametrize("name", EFFECTS)
def test_a_setting_has_an_effect(name: str) -> None:
    assert EFFECTS[name]()


def test_the_deadlines_of_a_plain_answer_are_one_for_the_whole_of_it() -> None:
    assert gateway().plain_deadlines == Deadlines(connect=10, first_byte=0, gap=0, total=300)
    assert gateway().stream_deadlines == Deadlines(connect=10, first_byte=300, gap=300, total=0)
    for stream in (False, True):
        told = tell(request("/v1/messages", question(stream)), [(streamed if stream else plain)(MESSAGES)], at=gateway())
        (opened,) = [effect for effect in told.world.performed if isinstance(effect, Open)]
        assert opened.deadlines == (gateway().stream_deadlines if stream else gateway().plain_deadlines)


@pytest.mark.parametrize(
    ("mapping", "word"),
    [
        ({"FORWARD_CLIENT_KEY": "no"}, "SERVER_API_KEY is not set"),
        ({"SERVER_API_KEY": "k", "HOST": "0.0.0.0", "ALLOW_OPEN_RELAY": "yes"}, "ALLOW_OPEN_RELAY"),
        ({"UPSTREAM_BASE": "http://models.example"}, "UPSTREAM_BASE is plain http"),
    ],
)
def test_what_is_probably_not_meant_is_warned_of(mapping: dict[str, str], word: str) -> None:
    (warning,) = Settings.from_mapping(mapping).warnings()
    assert word in warning


def test_usual_settings_draw_no_warning() -> None:
    assert Settings.from_mapping({"OPENAI_UPSTREAM_BASE": "http://127.0.0.1:8000/v1", "SERVER_API_KEY": "k"}).warnings() == []


def test_a_demonstration_has_no_key_to_protect() -> None:
    assert Settings.from_mapping({"HOST": "0.0.0.0", "SERVER_API_KEY": "demo", "DEMO": "true"}).demo is True
