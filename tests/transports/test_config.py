"""Flags and environment become one mapping."""

from __future__ import annotations

import pytest

from core.settings import Settings, SettingsError
from transports import config
from transports.upstream import Proxy


def test_flags_win_over_the_environment_and_empty_values_are_none() -> None:
    found = config.read(
        ["--host", "::1", "--port", "0", "--log-level", "DEBUG", "--backend", "trio", "--uvloop", "off"],
        {"HOST": "0.0.0.0", "PORT": "8888", "MAX_CONNECTIONS": "7", "DRAIN_TIMEOUT": ""},
    )
    assert found.mapping == {
        "HOST": "::1", "PORT": "0", "LOG_LEVEL": "DEBUG", "BACKEND": "trio", "UVLOOP": "off", "MAX_CONNECTIONS": "7",
    }  # fmt: skip
    assert not found.demo


def test_without_flags_the_environment_stands() -> None:
    assert config.read([], {"PORT": "8888"}).mapping == {"PORT": "8888"}


def test_the_demonstration_upstream_takes_the_place_of_every_other() -> None:
    found = config.read(["--demo"], {"UPSTREAM_BASE": "https://elsewhere.example", "SERVER_API_KEY": "real"})
    assert found.demo
    settings = Settings.from_mapping(found.with_demo_upstream(4711).mapping)
    assert settings.upstream_base == "http://127.0.0.1:4711/api/anthropic"
    assert settings.openai_upstream_base == "http://127.0.0.1:4711/api/paas/v4"
    assert settings.server_api_key == "demo"
    assert settings.demo


def test_proxies_come_from_the_environment() -> None:
    assert config.read([], {"HTTPS_PROXY": "proxy:3128"}).proxies.https == Proxy("http", "proxy", 3128)


def test_a_wrong_proxy_address_is_a_problem_of_the_settings() -> None:
    with pytest.raises(SettingsError) as caught:
        config.read([], {"HTTPS_PROXY": "socks5://me:secret@proxy"})
    assert caught.value.problems == ["environment: HTTPS_PROXY: expected http://host:port or https://host:port"]


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--backend", "curio"], ["extra"]])
def test_wrong_flags_end_with_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        config.read(arguments, {})
    assert caught.value.code == 2
    assert "usage: anthropic-proxy" in capsys.readouterr().err
