"""Whatever conversation a chat client sends, the Messages request made of it keeps the rules of that wire; and what both wires can say
comes back as it went."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.dialects import DIALECTS, ReasoningField, UnsignedThinking
from core.errors import BadRequest
from core.translate.context import Translated
from core.translate.to_chat import to_chat
from core.translate.to_messages import to_messages
from tests.core.translate.messages_rules import violations

MESSAGES_DIALECTS = ("anthropic", "anthropic-budget", "anthropic-tools", "glm-messages", "messages-relay", "deepseek-messages")

Json = dict[str, Any]


def translate(request: Json, dialect: str, *, strict: bool = False) -> Translated:
    body = json.dumps(request).encode()
    return to_messages(body, DIALECTS[dialect], model="there", answer_model="here", seed="s", now=0.0, strict=strict)


def translated(request: Json, dialect: str) -> Json:
    found: Json = json.loads(translate(request, dialect).body)
    return found


# ------------------------------------------------------------------------------------------------- any conversation

BLANKS = st.sampled_from(["", " ", "\n\t", " "])
TEXTS = BLANKS | st.text(max_size=8) | st.sampled_from(["ends in blanks  ", "hello", "naïve 数据"])
IDS = st.sampled_from(["", "a", "b", "a.b", "a_b", "a b", "a_b_2", "call_1_0", "functions.Bash:0", "x" * 70, "é"])
NAMES = st.sampled_from(["f", "g", "mcp.server/tool", "n" * 140])
ARGUMENTS = st.none() | BLANKS | st.sampled_from(['{"a":1}', "[1]", "{", "null", "1", '{"a":{"b":[1e400]}}', '"text"'])
MARKS = st.none() | st.sampled_from([{"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}])
PNG = "data:image/png;base64,iVBORw0KGgo="


def some(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    """An object that has any of ``members``."""
    return st.fixed_dictionaries({}, optional=members)


def part(kind: str, **members: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries({"type": st.just(kind), **members}, optional={"cache_control": MARKS})


TEXT_PARTS = part("text", text=TEXTS)
OTHER_PARTS = st.one_of(
    part("image_url", image_url=st.fixed_dictionaries({"url": st.sampled_from([PNG, "https://example.org/a.png", "data:image/svg+xml,x"])})),
    part("file", file=some(file_data=st.sampled_from(["JVBERi0=", "data:text/plain;base64,aGk=", PNG]), file_id=st.just("f"))),
    st.fixed_dictionaries({"type": st.just("refusal"), "refusal": TEXTS}),
    st.fixed_dictionaries({"type": st.just("thinking"), "thinking": TEXTS}, optional={"signature": TEXTS}),
    st.fixed_dictionaries({"type": st.just("input_audio"), "input_audio": st.just({})}),
    st.fixed_dictionaries({"type": st.just("tool_reference"), "name": TEXTS}),
)
PARTS = TEXT_PARTS | TEXT_PARTS | OTHER_PARTS
CONTENTS = st.none() | TEXTS | st.lists(TEXT_PARTS, max_size=3) | st.lists(PARTS, max_size=3)
CALLS = st.fixed_dictionaries(
    {"function": st.fixed_dictionaries({"name": NAMES}, optional={"arguments": ARGUMENTS})}, optional={"id": IDS}
) | st.fixed_dictionaries({"custom": st.fixed_dictionaries({"name": NAMES, "input": TEXTS})}, optional={"id": IDS})
DETAILS = st.fixed_dictionaries(
    {"type": st.sampled_from(["reasoning.text", "reasoning.summary", "reasoning.encrypted"])},
    optional={
        "text": TEXTS, "summary": TEXTS, "data": TEXTS, "signature": TEXTS, "index": st.integers(0, 1),
        "format": st.sampled_from(["anthropic-claude-v1", "openai-responses-v1"]),
    },
)  # fmt: skip
TURNS = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "developer"]), "content": CONTENTS}, optional={"cache_control": MARKS}),
    st.fixed_dictionaries(
        {"role": st.just("assistant")},
        optional={
            "content": CONTENTS, "tool_calls": st.lists(CALLS, max_size=3), "function_call": st.fixed_dictionaries({"name": NAMES}),
            "refusal": TEXTS, "reasoning_content": TEXTS, "reasoning": TEXTS, "reasoning_details": st.lists(DETAILS, max_size=3),
            "cache_control": MARKS,
        },
    ),
    st.fixed_dictionaries({"role": st.just("tool"), "content": CONTENTS}, optional={"tool_call_id": IDS, "cache_control": MARKS}),
    st.fixed_dictionaries({"role": st.just("function"), "content": CONTENTS}, optional={"name": NAMES}),
)  # fmt: skip
SCHEMAS = st.sampled_from([
    None, {}, {"type": "object"}, {"properties": {}}, {"anyOf": [{}]}, {"type": "object", "properties": {}, "oneOf": [{}]}, [], "x", {"type": "array"},
])  # fmt: skip
TOOLS = st.fixed_dictionaries(
    {"type": st.just("function"), "function": st.fixed_dictionaries({"name": NAMES}, optional={"parameters": SCHEMAS})},
    optional={"cache_control": MARKS},
) | st.fixed_dictionaries({"type": st.just("custom"), "custom": st.fixed_dictionaries({"name": NAMES})})
REQUESTS = st.fixed_dictionaries(
    {"messages": st.lists(TURNS, max_size=8)},
    optional={
        "tools": st.lists(TOOLS, max_size=3),
        "tool_choice": st.sampled_from(["none", "auto", "required", "x", {"type": "function", "function": {"name": "f"}}]),
        "max_tokens": st.integers(-1, 5000),
        "reasoning_effort": st.sampled_from(["none", "minimal", "high", "max"]),
        "response_format": st.sampled_from([{"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}]),
        "temperature": st.floats(0, 2),
        "stop": TEXTS,
        "user": TEXTS,
    },
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(REQUESTS, st.sampled_from(MESSAGES_DIALECTS))
@example({"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f"}}, {"id": "a", "function": {"name": "f"}}]}]}, "anthropic")
@example({"messages": [{"role": "user", "content": "x"}, {"role": "system", "content": "y"}, {"role": "assistant", "content": ""}, {"role": "user", "content": "z"}]}, "anthropic")
@example({"messages": [{"role": "assistant", "content": "x"}, {"role": "assistant", "content": "y", "reasoning_content": "z"}]}, "messages-relay")
def test_any_conversation_becomes_a_request_that_keeps_the_rules_or_is_refused(request: Json, dialect: str) -> None:
    try:
        made = translated(request, dialect)
    except BadRequest as error:
        assert error.param
        return
    assert violations(made) == []
