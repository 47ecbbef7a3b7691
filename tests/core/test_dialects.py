"""Which record an upstream has, and that the records say nothing which nobody reads."""

from __future__ import annotations

import ast
from dataclasses import fields
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from core import dialects
from core.dialects import (
    DIALECTS,
    TABLE,
    CacheMarks,
    Dialect,
    Protocol,
    ReasoningField,
    Structured,
    ThinkingStyle,
    UnsignedThinking,
    dialect_for,
)

CORE = Path(dialects.__file__).parent
CHAT, MESSAGES = Protocol.OPENAI, Protocol.ANTHROPIC

#: An upstream for every row of the table, in its order.
UPSTREAMS = [
    (CHAT, "https://api.z.ai/api/coding/paas/v4", "glm-5.3", "glm-effort"),
    (CHAT, "https://open.bigmodel.cn/api/paas/v4", "glm-5.2-flash", "glm-effort"),
    (CHAT, "https://api.z.ai/api/coding/paas/v4", "glm-5", "glm"),
    (CHAT, "https://open.bigmodel.cn/api/paas/v4", "glm-5", "glm"),
    (CHAT, "https://api.openai.com/v1", "gpt-5.6", "openai-caching"),
    (CHAT, "https://api.openai.com/v1", "gpt-6-mini", "openai-caching"),
    (CHAT, "https://api.openai.com/v1", "gpt-5-chat-latest", "openai"),
    (CHAT, "https://api.openai.com/v1", "gpt-5.1", "openai-gpt5.1"),
    (CHAT, "https://api.openai.com/v1", "gpt-5.2", "openai-reasoning"),
    (CHAT, "https://api.openai.com/v1", "gpt-5-mini-2025-08-07", "openai-gpt5"),
    (CHAT, "https://api.openai.com/v1", "o4-mini", "openai-o"),
    (CHAT, "https://api.openai.com/v1", "gpt-4.1", "openai"),
    (CHAT, "https://api.deepseek.com", "deepseek-chat", "deepseek"),
    (CHAT, "https://api.moonshot.cn/v1", "kimi-k2", "moonshot"),
    (CHAT, "https://openrouter.ai/api/v1", "z-ai/glm-5", "openrouter"),
    (CHAT, "http://gpu.example:11434/v1", "qwen3", "ollama"),
    (CHAT, "https://relay.example/v1", "glm-5", "glm-relay"),
    (MESSAGES, "https://api.anthropic.com", "claude-3-7-sonnet-20250219", "anthropic-tools"),
    (MESSAGES, "https://api.anthropic.com", "claude-opus-4", "anthropic-tools"),
    (MESSAGES, "https://api.anthropic.com", "claude-sonnet-4-0", "anthropic-tools"),
    (MESSAGES, "https://api.anthropic.com", "claude-opus-4-20250514", "anthropic-tools"),
    (MESSAGES, "https://api.anthropic.com", "claude-opus-4-1-20250805", "anthropic-budget"),
    (MESSAGES, "https://api.anthropic.com", "claude-opus-4-8", "anthropic"),
    (MESSAGES, "https://api.z.ai/api/anthropic", "glm-5", "glm-messages"),
    (MESSAGES, "https://open.bigmodel.cn/api/anthropic", "glm-5", "glm-messages"),
    (MESSAGES, "https://api.deepseek.com/anthropic", "deepseek-chat", "deepseek-messages"),
    (MESSAGES, "https://relay.example", "claude-opus-4-8", "messages-relay"),
]


@pytest.mark.parametrize(("protocol", "base", "model", "name"), UPSTREAMS)
def test_an_upstream_has_the_record_of_its_host_and_model(protocol: Protocol, base: str, model: str, name: str) -> None:
    assert dialect_for(protocol, base, model) is DIALECTS[name]


def test_every_row_of_the_table_is_reached() -> None:
    assert len(UPSTREAMS) == len(TABLE)
    for place, (protocol, base, model, name) in enumerate(UPSTREAMS):
        rows = [index for index, row in enumerate(TABLE) if _matches(row, protocol, base, model)]
        assert rows[0] == place, f"{base} {model}"
        assert TABLE[place][3].name == name


def _matches(row: tuple[Protocol, str, str, Dialect], protocol: Protocol, base: str, model: str) -> bool:
    parts = urlsplit(base)
    return (
        row[0] is protocol
        and any(fnmatchcase(host, row[1]) for host in (parts.hostname or "", parts.netloc))
        and fnmatchcase(model, row[2])
    )


@pytest.mark.parametrize(
    "base",
    [
        "https://api.z.ai.example.org/v1",
        "https://example.org/api.openai.com/v1",
        "https://notz.ai/v1",
        "https://api.anthropic.com.example.org",
        "http://127.0.0.1:8000",
        "http://[::1]:8000/v1",
        "nonsense",
        "",
    ],
)
def test_unknown_hosts_have_the_records_of_relays(base: str) -> None:
    assert dialect_for(CHAT, base, "gpt-5") is DIALECTS["glm-relay"]
    assert dialect_for(MESSAGES, base, "claude-opus-4-8") is DIALECTS["messages-relay"]


@pytest.mark.parametrize("base", ["https://API.Z.AI/api/anthropic", "https://user:secret@api.z.ai:443/api/anthropic"])
def test_hosts_are_compared_as_hosts(base: str) -> None:
    assert dialect_for(MESSAGES, base, "glm-5") is DIALECTS["glm-messages"]


def test_a_model_of_any_name_has_a_record() -> None:
    for base in ("https://api.openai.com/v1", "https://api.anthropic.com", "https://api.z.ai"):
        for protocol in Protocol:
            assert dialect_for(protocol, base, "").name in DIALECTS
            assert dialect_for(protocol, base, "*[").name in DIALECTS


def test_every_record_is_known_by_its_name() -> None:
    records = {name: one for name, one in vars(dialects).items() if isinstance(one, Dialect)}
    assert {one.name: one for one in records.values()} == DIALECTS
    assert all(one is DIALECTS[one.name] for _, _, _, one in TABLE)


def test_every_record_has_its_source_beside_it() -> None:
    lines = Path(dialects.__file__).read_text("utf-8").splitlines()
    places = [index for index, line in enumerate(lines) if ": Final = Dialect(" in line or ": Final = replace(" in line]
    assert len(places) == len(DIALECTS)
    # Records of one source stand below one another, with the comment above the first.
    for index in places:
        above = next(line for line in reversed(lines[:index]) if line.startswith("#") or not line.strip())
        assert above.startswith("#"), lines[index]


def test_every_field_is_read_somewhere_in_the_core() -> None:
    read = {
        node.attr
        for path in CORE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and "dialect" in ast.dump(node.value)
    }
    assert {field.name for field in fields(Dialect)} - read == set()


def test_what_anthropic_demands() -> None:
    """The rules that make api.anthropic.com answer 400 (pitfalls 28, 30, 36, 37, 40)."""
    for name in ("anthropic", "anthropic-budget", "anthropic-tools"):
        record = DIALECTS[name]
        assert record.original
        assert record.unsigned_thinking is UnsignedThinking.DROP
        assert record.strict_thinking
        assert record.cache_control is CacheMarks.KEEP
        assert not (record.sampling and record.sampling_pair)
    assert DIALECTS["anthropic"].thinking is ThinkingStyle.ADAPTIVE
    assert (DIALECTS["anthropic"].sampling, DIALECTS["anthropic"].top_k, DIALECTS["anthropic"].inline_system) == (False, False, True)
    assert DIALECTS["anthropic-budget"].thinking is ThinkingStyle.BUDGET
    assert (DIALECTS["anthropic-budget"].thoughts_first, DIALECTS["anthropic"].thoughts_first) == (True, False)


def test_what_compatible_messages_endpoints_want() -> None:
    for name in ("glm-messages", "messages-relay", "deepseek-messages"):
        record = DIALECTS[name]
        assert not record.original
        assert record.unsigned_thinking is UnsignedThinking.KEEP
        assert not record.inline_system
    assert DIALECTS["glm-messages"].cache_control is CacheMarks.NO_TTL
    assert DIALECTS["deepseek-messages"].cache_control is CacheMarks.STRIP


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("glm", {"thinking": ThinkingStyle.TOGGLE, "forced_tool": False, "tool_stream": True, "structured": Structured.OBJECT, "user_key": "user_id", "stop_max": 1}),
        ("deepseek", {"thinking": ThinkingStyle.TOGGLE, "reasoning_required": True, "forced_tool": False, "effort_beside_toggle": False}),
        ("vllm", {"reasoning": ReasoningField.REASONING, "thinking": ThinkingStyle.TEMPLATE, "continuous_usage": True, "top_k": True}),
        ("sglang", {"reasoning": ReasoningField.CONTENT, "tool_references": True, "continuous_usage": True}),
        ("openrouter", {"reasoning": ReasoningField.DETAILS, "thinking": ThinkingStyle.REASONING, "cache_control": CacheMarks.KEEP}),
        ("ollama", {"reasoning": ReasoningField.REASONING, "image_urls": False, "top_k": True}),
        ("llama.cpp", {"reasoning": ReasoningField.CONTENT, "inline_system": False, "top_k": True}),
        ("openai", {"max_tokens_key": "max_completion_tokens", "stop_max": 4, "id_max": 40, "reasoning": ReasoningField.NONE, "service_tier": True}),
        ("openai-reasoning", {"sampling": False, "stop": False, "thinking": ThinkingStyle.EFFORT}),
        ("openai-caching", {"cache_breakpoints": True}),
    ],
)  # fmt: skip
def test_facts_about_chat_upstreams(name: str, facts: dict[str, object]) -> None:
    assert {field: getattr(DIALECTS[name], field) for field in facts} == facts


def test_efforts_are_in_order() -> None:
    order = dialects.OPENAI_EFFORTS
    for record in DIALECTS.values():
        assert list(record.efforts) == sorted(record.efforts, key=order.index), record.name
