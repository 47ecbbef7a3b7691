"""Whether the model is to think: the client's own word in all its forms, and GLM's switch where there is none."""

from __future__ import annotations

from typing import Any, Final

import pytest

from core.gateway import Gateway
from core.settings import Settings
from tests.core.exchanges import CHAT, MESSAGES, Told, plain, request, tell
from tests.core.exchanges import gateway as glm_gateway
from tests.core.plans import planned

ON, OFF = {"type": "enabled"}, {"type": "disabled"}
SAID: Final = ("thinking", "reasoning_effort", "reasoning", "chat_template_kwargs", "enable_thinking")


def said(wire: Any, body: dict[str, Any], to: str, *, switch: bool = True) -> dict[str, Any]:
    """What the upstream is told about thinking."""
    made = planned(wire, {"max_tokens": 50_000, **body}, to, at=Gateway(Settings(enable_zai_thinking=switch))).body
    return {name: made[name] for name in SAID if name in made}


def budget(tokens: int) -> dict[str, Any]:
    return {"type": "enabled", "budget_tokens": tokens}


# ---------------------------------------------------------------------------------------------------- towards GLM's chat side


@pytest.mark.parametrize("to", ["glm", "glm-effort", "glm-relay"])
@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
def test_glm_is_told_to_think_where_the_client_says_nothing_and_the_switch_is_on(wire: Any, to: str) -> None:
    assert said(wire, {}, to) == {"thinking": ON}
    assert said(wire, {}, to, switch=False) == {}


@pytest.mark.parametrize("to", ["generic", "openai", "openai-reasoning", "deepseek", "moonshot", "openrouter", "ollama", "vllm"])
@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
def test_no_other_chat_upstream_is(wire: Any, to: str) -> None:
    assert said(wire, {}, to) == {}


@pytest.mark.parametrize("to", ["glm-messages", "messages-relay", "anthropic", "anthropic-budget", "deepseek-messages"])
@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
def test_no_messages_upstream_is(wire: Any, to: str) -> None:
    assert said(wire, {}, to) == {}


@pytest.mark.parametrize("switch", [True, False])
@pytest.mark.parametrize(
    ("thinking", "there"),
    [
        (budget(4096), ON),
        ({**budget(4096), "display": "omitted"}, ON),
        ({"type": "adaptive"}, ON),
        ({"type": "between_tools"}, ON),
        (OFF, OFF),
    ],
)
def test_a_messages_clients_own_word_wins(thinking: dict[str, Any], there: dict[str, Any], switch: bool) -> None:
    assert said(MESSAGES, {"thinking": thinking}, "glm", switch=switch) == {"thinking": there}


def test_an_effort_of_a_messages_client_is_a_wish_to_think() -> None:
    assert said(MESSAGES, {"output_config": {"effort": "low"}}, "glm", switch=False) == {"thinking": ON}


@pytest.mark.parametrize("switch", [True, False])
@pytest.mark.parametrize(
    "thinking", [ON, OFF, {"type": "auto"}, {"type": "enabled", "clear_thinking": False}, {"type": "disabled", "new": [1]}, {}, "on", False]
)
def test_a_chat_clients_own_switch_passes_byte_for_byte(thinking: Any, switch: bool) -> None:
    assert said(CHAT, {"thinking": thinking}, "glm", switch=switch) == {"thinking": thinking}


@pytest.mark.parametrize(
    ("words", "there"),
    [
        ({"thinking": None}, ON),
        ({"reasoning_effort": "none"}, OFF),
        ({"reasoning_effort": "minimal"}, OFF),
        *[({"reasoning_effort": effort}, ON) for effort in ("low", "medium", "high", "xhigh", None, 3, ["none"], {"a": "none"})],
        ({"enable_thinking": False}, OFF),
        ({"enable_thinking": True}, ON),
        ({"enable_thinking": "false"}, ON),
        ({"reasoning": {"enabled": False}}, OFF),
        ({"reasoning": {"enabled": True}}, ON),
        ({"reasoning": {"effort": "none"}}, OFF),
        ({"reasoning": {"effort": "high", "exclude": False}}, ON),
        ({"reasoning": {"max_tokens": 0}}, OFF),
        ({"reasoning": {"max_tokens": 1}}, ON),
        ({"reasoning": "none"}, ON),
        ({"chat_template_kwargs": {"enable_thinking": False}}, OFF),
        ({"chat_template_kwargs": {"thinking": False}}, OFF),
        ({"chat_template_kwargs": {"thinking": True, "clear_thinking": False}}, ON),
        ({"chat_template_kwargs": {"reasoning_effort": "minimal"}}, OFF),
        ({"reasoning_effort": "high", "enable_thinking": False}, OFF),
    ],
)
def test_a_chat_clients_word_in_another_vendors_form_wins_over_the_default(words: dict[str, Any], there: dict[str, Any]) -> None:
    told = said(CHAT, words, "glm")
    assert told == {**words, "thinking": there}
    assert said(CHAT, words, "glm", switch=False) == words


def test_the_switch_is_a_setting_of_the_gateway() -> None:
    def asked(wire: Any, **settings: str) -> Told:
        body = b'{"max_tokens":9,"messages":[{"role":"user","content":"Hello"}]}'
        path = "/v1/messages" if wire is MESSAGES else "/v1/chat/completions"
        return tell(request(path, body), [plain(CHAT)], at=glm_gateway(TEXT_ENDPOINT_PREFERENCE="openai", **settings))

    for wire in (MESSAGES, CHAT):
        assert asked(wire).upstream["thinking"] == ON
        assert "thinking" not in asked(wire, ENABLE_ZAI_THINKING="off").upstream


# ---------------------------------------------------------------------------------------------------- towards Messages


@pytest.mark.parametrize("to", ["glm-messages", "messages-relay", "anthropic"])
@pytest.mark.parametrize("thinking", [budget(4096), {"type": "adaptive", "display": "updates"}, OFF, {"type": "new", "x": 1}, None])
def test_a_messages_clients_thinking_passes(thinking: Any, to: str) -> None:
    assert said(MESSAGES, {"thinking": thinking}, to) == {"thinking": thinking}


@pytest.mark.parametrize(
    ("words", "there"),
    [
        ({"thinking": budget(4096)}, budget(4096)),
        ({"thinking": OFF}, OFF),
        ({"reasoning_effort": "none"}, OFF),
        ({"reasoning_effort": "low"}, budget(1024)),
        ({"reasoning_effort": "medium"}, budget(2048)),
        ({"reasoning_effort": "high"}, budget(4096)),
        ({"reasoning_effort": "high", "max_tokens": 3000}, budget(2999)),
        ({"reasoning_effort": "high", "max_tokens": 1025}, budget(1024)),
    ],
)
def test_a_chat_clients_wish_becomes_a_budget_below_the_limit(words: dict[str, Any], there: dict[str, Any]) -> None:
    assert said(CHAT, words, "glm-messages") == {"thinking": there}


def test_where_the_limit_leaves_no_room_there_is_no_thinking_and_it_is_told() -> None:
    made = planned(CHAT, {"reasoning_effort": "high", "max_tokens": 1024}, "glm-messages")
    assert "thinking" not in made.body
    assert made.dropped == ["reasoning_effort"]


# ---------------------------------------------------------------------------------------------------- reasoning of earlier turns

TURNS = [
    {"role": "user", "content": "Look"},
    {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "I look.\n", "signature": "EqQB/+=="},
        {"type": "redacted_thinking", "data": "AAAA"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"b": 1, "a": 2}},
    ]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "seen"}]},
]  # fmt: skip


@pytest.mark.parametrize("to", ["glm-messages", "messages-relay", "anthropic", "deepseek-messages"])
def test_thinking_and_signatures_inside_a_tool_loop_are_never_altered(to: str) -> None:
    assert planned(MESSAGES, {"max_tokens": 9, "messages": TURNS}, to).body["messages"] == TURNS


@pytest.mark.parametrize(("to", "name"), [("glm", "reasoning_content"), ("deepseek", "reasoning_content"), ("vllm", "reasoning")])
def test_thinking_goes_to_chat_upstreams_as_their_reasoning(to: str, name: str) -> None:
    made = planned(MESSAGES, {"max_tokens": 9, "messages": TURNS, "tools": [{"name": "f"}]}, to).body
    assert made["messages"][1][name] == "I look.\n"
