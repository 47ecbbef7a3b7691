"""What settings do: each can be seen in what the core does with it, or is acted upon by a transport."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.effects import Deadlines, Open
from core.gateway import Gateway
from core.settings.sources import facts
from tests.core.exchanges import CHAT, INBOUND_KEY, MESSAGES, SERVER_KEY, gateway, plain, question, request, streamed, tell, towards

ROOT = Path(__file__).parent.parent.parent
#: Where settings are read, as opposed to acted upon.
READERS = (ROOT / "core" / "settings", ROOT / "transports" / "config")


def test_every_setting_is_used_but_those_of_parts_that_are_not_there_yet() -> None:
    used = {
        node.attr
        for package in ("core", "transports")
        for path in (ROOT / package).rglob("*.py")
        if not any(path.is_relative_to(reader) for reader in READERS)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
    }
    # Where files are is used when they are read, and the open relay is allowed when settings are checked.
    assert {name for name, fact in facts() if not fact.feature} - used == {"config_path", "allow_open_relay"}


def _deadlines(name: str, seconds: str, stream: bool) -> Deadlines:
    told = tell(request("/v1/messages", question(stream)), [(streamed if stream else plain)(MESSAGES)], at=gateway(**{name: seconds}))
    (opened,) = [effect for effect in told.world.performed if isinstance(effect, Open)]
    return opened.deadlines


def _upstream(at: Gateway, **more: Any) -> Any:
    return tell(request("/v1/chat/completions", question(**more)), [plain(CHAT)], at=at)


#: name -> whether what it says can be seen in what the core does.
EFFECTS: dict[str, Callable[[], bool]] = {
    "PROXY_API_KEY": lambda: tell(request("/v1/models", method="GET"), at=gateway(PROXY_API_KEY=INBOUND_KEY)).status == 401,
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
}  # fmt: skip


@pytest.mark.parametrize("name", EFFECTS)
def test_a_setting_has_an_effect(name: str) -> None:
    assert EFFECTS[name]()


def test_the_deadlines_of_a_plain_answer_are_one_for_the_whole_of_it() -> None:
    assert _deadlines("CONNECT_TIMEOUT", "10", False) == Deadlines(connect=10, first_byte=0, gap=0, total=300)
    assert _deadlines("CONNECT_TIMEOUT", "10", True) == Deadlines(connect=10, first_byte=300, gap=300, total=0)
