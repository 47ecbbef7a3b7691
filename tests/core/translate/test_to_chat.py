"""Top level of a Messages request on its way to chat upstreams."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from core.dialects import DIALECTS, TABLE, Protocol
from core.errors import BadRequest
from tests.core.translate.lowering import HELLO, Json, assistant, dialect, lossy, lowered, refused, text, translate

CHAT = sorted({record.name for protocol, _, _, record in TABLE if protocol is Protocol.OPENAI} | {"generic", "vllm", "sglang", "llama.cpp"})
SCHEMA: Json = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def test_a_request_of_nothing_but_the_necessary_becomes_the_same() -> None:
    assert lowered({"model": "asked-for"}) == {"model": "there", "messages": HELLO, "max_tokens": 9}


@pytest.mark.parametrize("name", CHAT)
def test_every_dialect_gets_a_request_that_keeps_the_rules(name: str) -> None:
    conversation = [
        {
            "role": "user",
            "content": [text("a"), {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}],
        },
        assistant(
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            text("b"),
            {"type": "tool_use", "id": "x" * 80, "name": "n" * 90, "input": {}},
        ),
        {
            "role": "user",
            "content": [text("c"), {"type": "tool_result", "tool_use_id": "x" * 80, "content": [text("d")], "is_error": True}],
        },
        {"role": "system", "content": "e"},
        {"role": "assistant", "content": "f"},
        {"role": "user", "content": "g"},
    ]
    request = {
        "system": [text("s", cache_control={"type": "ephemeral"})],
        "messages": conversation,
        "stream": True,
        "tools": [{"name": "n" * 90, "input_schema": {"type": "object"}, "strict": True}],
        "tool_choice": {"type": "tool", "name": "n" * 90, "disable_parallel_tool_use": True},
        "thinking": {"type": "enabled", "budget_tokens": 3000},
        "output_config": {"effort": "max", "format": {"type": "json_schema", "schema": SCHEMA}},
        "stop_sequences": [str(number) for number in range(20)],
        "temperature": 0.5,
        "top_p": 0.5,
        "top_k": 3,
        "metadata": {"user_id": "u" * 300},
        "service_tier": "standard_only",
        "speed": "fast",
    }
    assert json.loads(translate(request, name).body)["model"] == "there"


# ---------------------------------------------------------------------------------------------------- limits and sampling


@pytest.mark.parametrize(
    ("request_", "target", "expected"),
    [
        pytest.param({}, "glm", {"max_tokens": 9}, id="the limit is max_tokens"),
        pytest.param({}, "openai", {"max_completion_tokens": 9}, id="the limit is max_completion_tokens at OpenAI, never both"),
        pytest.param({"max_tokens": None}, "glm", {}, id="no limit is no limit"),
        pytest.param({"stop_sequences": []}, "glm", {"max_tokens": 9}, id="no stop sequences are left out"),
        pytest.param({"stop_sequences": ["", "a"]}, "glm", {"max_tokens": 9, "stop": ["a"]}, id="an empty stop sequence stops nothing"),
        pytest.param(
            {"temperature": 1, "top_p": 0.25},
            "openai",
            {"max_completion_tokens": 9, "temperature": 1.0, "top_p": 0.25},
            id="sampling has the same names",
        ),
        pytest.param({"top_k": 4}, "vllm", {"max_tokens": 9, "top_k": 4}, id="top_k goes where it is known"),
        pytest.param({"stream": False}, "glm", {"max_tokens": 9}, id="no stream is the default"),
        pytest.param(
            {"stream": True},
            "openai",
            {"max_completion_tokens": 9, "stream": True, "stream_options": {"include_usage": True}},
            id="a stream is asked for its usage",
        ),
        pytest.param(
            {"stream": True},
            "vllm",
            {"max_tokens": 9, "stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}},
            id="vLLM reports usage all along",
        ),
        pytest.param(
            {"stream": True},
            dialect("glm", stream_usage=False, thinking_default=None),
            {"max_tokens": 9, "stream": True},
            id="usage is asked for where it is known",
        ),
        pytest.param(
            {"cache_control": {"type": "ephemeral"}}, "glm", {"max_tokens": 9}, id="caching of the whole request is the upstream's business"
        ),
    ],
)
def test_members_that_are_carried(request_: Json, target: Any, expected: Json) -> None:
    assert lowered(request_, target) == {"model": "there", "messages": HELLO, **expected}


def test_glm_streams_arguments_when_asked_to() -> None:
    tools = [{"name": "look", "input_schema": {"type": "object", "properties": {}}}]
    assert lowered({"stream": True, "tools": tools}, "glm")["tool_stream"] is True
    assert "tool_stream" not in lowered({"tools": tools}, "glm")
    assert "tool_stream" not in lowered({"stream": True, "tools": tools}, "openai")


@pytest.mark.parametrize(
    ("request_", "target", "path", "what", "expected"),
    [
        pytest.param({"max_tokens": -1}, "glm", "max_tokens", "max_tokens", {}, id="a negative limit is none"),
        pytest.param(
            {"stop_sequences": list("abcde")},
            "openai",
            "stop_sequences[4]",
            "stop_sequences",
            {"stop": list("abcd")},
            id="OpenAI takes four stops",
        ),
        pytest.param(
            {"stop_sequences": ["a", "b"]}, "glm", "stop_sequences[1]", "stop_sequences", {"stop": ["a"]}, id="GLM takes one stop"
        ),
        pytest.param(
            {"stop_sequences": ["a"]}, "openai-reasoning", "stop_sequences", "stop_sequences", {}, id="reasoning models take no stop"
        ),
        pytest.param({"temperature": 0}, "openai-reasoning", "temperature", "temperature", {}, id="reasoning models take no temperature"),
        pytest.param({"top_p": 0.0}, "openai-reasoning", "top_p", "top_p", {}, id="reasoning models take no top_p"),
        pytest.param({"top_k": 1}, "openai", "top_k", "top_k", {}, id="OpenAI has no top_k"),
        pytest.param({"service_tier": "standard_only"}, "glm", "service_tier", "service_tier", {}, id="a tier where there are none"),
        pytest.param({"service_tier": "gold"}, "openai", "service_tier", "service_tier", {}, id="an unknown tier"),
        pytest.param({"speed": "fast"}, "glm", "speed", "speed", {}, id="speed where there is none"),
        pytest.param({"speed": "warp"}, "openai", "speed", "speed", {}, id="an unknown speed"),
        pytest.param(
            {"output_config": {"task_budget": {"type": "tokens", "total": 9}}},
            "glm",
            "output_config.task_budget",
            "task_budget",
            {},
            id="task_budget",
        ),
        *(
            pytest.param({name: value}, "glm", name, name, {}, id=name)
            for name, value in {
                "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
                "compaction": {"enabled": True},
                "diagnostics": {"a": 1},
                "fallbacks": ["b"],
                "fallback_credit_token": "t",
                "billing_policy": "p",
                "inference_geo": "eu",
                "user_profile_id": "p",
                "workspace_id": "w",
                "betas": ["x"],
            }.items()
        ),
    ],
)
def test_members_that_are_left_out_are_reported(request_: Json, target: str, path: str, what: str, expected: Json) -> None:
    found, losses = lossy(request_, target)
    assert losses == [(path, what)]
    kept = {name: value for name, value in found.items() if name not in ("model", "messages", "max_tokens", "max_completion_tokens")}
    assert kept == expected
    assert ("max_tokens" in found or "max_completion_tokens" in found) == (what != "max_tokens")


def test_a_lost_compaction_is_reported_loudly() -> None:
    made = translate({"context_management": {"edits": [{"type": "compact_20260112"}]}})
    assert "outgrow" in made.losses[0].why
    assert "outgrow" in translate({"compaction": {"enabled": True}}).losses[0].why
    assert "outgrow" not in translate({"context_management": {"edits": [{"type": "clear_thinking_20251015"}]}}).losses[0].why


@pytest.mark.parametrize("value", [None, [], {}, "", {"enabled": False}])
@pytest.mark.parametrize("name", ["mcp_servers", "container", "skills", "context_management", "betas", "fallbacks", "diagnostics"])
def test_what_asks_for_nothing_is_no_loss(name: str, value: Any) -> None:
    body = json.dumps({"max_tokens": 9, "messages": HELLO, name: value}, indent=1).encode()
    assert translate(body).losses == ()


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        pytest.param({"max_tokens": 0}, "max_tokens", id="0 warms a cache"),
        pytest.param({"mcp_servers": [{"name": "m"}]}, "mcp_servers", id="MCP servers"),
        pytest.param({"container": "c"}, "container", id="a container"),
        pytest.param({"container": {"id": "c"}}, "container", id="a container as an object"),
        pytest.param({"skills": [{"id": "s"}]}, "skills", id="skills"),
        pytest.param({"thinking": {"type": "sometimes"}}, "thinking.type", id="an unknown kind of thinking"),
        pytest.param({"output_config": {"format": {"type": "xml"}}}, "output_config.format", id="an unknown format"),
        pytest.param({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format", id="a format without schema"),
        pytest.param({"output_format": {"type": "xml"}}, "output_format", id="an unknown format by its old name"),
        pytest.param({"messages": []}, "messages", id="no messages"),
        pytest.param({"messages": [{"role": "user", "content": " \n"}]}, "messages", id="blank messages"),
        pytest.param(
            {"system": "s", "messages": [{"role": "assistant", "content": []}]}, "messages", id="empty messages beside a system prompt"
        ),
        pytest.param({"messages": [{"role": "system", "content": "s"}]}, "messages", id="instructions alone"),
    ],
)
def test_what_would_change_the_meaning_is_refused(request_: Json, param: str) -> None:
    error = refused(request_)
    assert (error.param, error.code, error.status) == (param, "unsupported_parameter", 400)


def test_a_thread_is_refused_so_that_the_sdks_send_the_whole_conversation() -> None:
    error = refused({"thread": {"id": "t"}})
    assert (error.param, error.details) == ("thread", b'{"error_code":"thread_unsupported_request","unsupported":[]}')
    assert lowered({"thread": None})["messages"] == HELLO


# ---------------------------------------------------------------------------------------------------- identity and tiers

LEGACY = "user_0a1b_account_0a0b-0c_session_11111111-2222-3333-4444-555555555555"
CURRENT = json.dumps({"device_id": "d" * 64, "account_uuid": "a", "session_id": "11111111-2222-3333-4444-555555555555"})
LONG_SESSION = json.dumps({"session_id": "s" * 65})


def digest(words: str) -> str:
    return hashlib.sha256(words.encode()).hexdigest()


@pytest.mark.parametrize(
    ("user_id", "target", "expected"),
    [
        pytest.param("someone", "glm-relay", {"user": "someone"}, id="user"),
        pytest.param("someone", "glm", {"user_id": "someone"}, id="user_id of GLM"),
        pytest.param("me", "glm", {"user_id": digest("me")}, id="a user_id too short for GLM as its digest"),
        pytest.param("someone", "openai", {"safety_identifier": "someone"}, id="safety_identifier of OpenAI"),
        pytest.param("u" * 64, "glm-relay", {"user": "u" * 64}, id="the longest user"),
        pytest.param("é" * 65, "glm-relay", {"user": digest("é" * 65)}, id="a longer user as its digest"),
        pytest.param("", "glm-relay", {}, id="an empty user_id is none"),
        pytest.param(None, "openai", {}, id="no user_id"),
        pytest.param(
            LEGACY,
            "openai",
            {"safety_identifier": LEGACY, "prompt_cache_key": "11111111-2222-3333-4444-555555555555"},
            id="Claude Code's session, old form",
        ),
        pytest.param(
            CURRENT,
            "openai",
            {"safety_identifier": digest(CURRENT), "prompt_cache_key": "11111111-2222-3333-4444-555555555555"},
            id="Claude Code's session, JSON",
        ),
        pytest.param(
            LONG_SESSION,
            "openai",
            {"safety_identifier": LONG_SESSION, "prompt_cache_key": digest("s" * 65)},
            id="a long session as its digest",
        ),
        pytest.param(LEGACY, "glm", {"user_id": LEGACY}, id="no cache key where there is none"),
    ],
)
def test_who_asks(user_id: str | None, target: str, expected: Json) -> None:
    found = lowered({"metadata": {"user_id": user_id}}, target)
    assert {name: found[name] for name in found if name not in ("model", "messages", "max_tokens", "max_completion_tokens")} == expected


@pytest.mark.parametrize(
    ("request_", "tier"),
    [
        ({"service_tier": "auto"}, "auto"),
        ({"service_tier": "standard_only"}, "default"),
        ({"speed": "fast"}, "fast"),
        ({"service_tier": "standard_only", "speed": "fast"}, "fast"),
        ({"service_tier": "auto", "speed": "standard"}, "auto"),
        ({"speed": "standard"}, None),
    ],
)
def test_service_tiers_of_openai(request_: Json, tier: str | None) -> None:
    assert lowered(request_, "openai").get("service_tier") == tier


@pytest.mark.parametrize("request_", [{"service_tier": "auto"}, {"speed": "standard"}])
def test_the_usual_tier_is_what_others_have_anyway(request_: Json) -> None:
    assert "service_tier" not in lowered(request_, "glm")


# ---------------------------------------------------------------------------------------------------- prefill


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param("vllm", {"continue_final_message": True, "add_generation_prompt": False}, id="vLLM continues"),
        pytest.param("sglang", {"continue_final_message": True, "add_generation_prompt": False}, id="SGLang continues"),
        pytest.param("deepseek", {}, id="DeepSeek continues what is marked as a prefix"),
    ],
)
def test_a_prefill_is_continued_where_the_upstream_can(target: str, expected: Json) -> None:
    found = lowered({"messages": [*HELLO, {"role": "assistant", "content": "{"}]}, target)
    last = {"role": "assistant", "content": "{"}
    assert found["messages"][-1] == (last | {"prefix": True} if target == "deepseek" else last)
    assert {name: found[name] for name in found if "_final_" in name or "_prompt" in name} == expected


@pytest.mark.parametrize("target", ["openai", "glm", "openrouter"])
def test_a_prefill_elsewhere_is_sent_and_reported(target: str) -> None:
    found, losses = lossy({"messages": [*HELLO, assistant(text("{"))]}, target)
    assert (found["messages"][-1], losses) == ({"role": "assistant", "content": "{"}, [("messages[1]", "prefill")])


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([*HELLO, {"role": "assistant", "content": " "}], id="a blank last turn is no turn"),
        pytest.param([*HELLO, {"role": "assistant", "content": "{"}, {"role": "system", "content": "s"}], id="instructions come after it"),
        pytest.param(
            [*HELLO, {"role": "assistant", "content": "{"}, {"role": "user", "content": " "}], id="a blank user turn comes after it"
        ),
    ],
)
def test_what_is_no_prefill(messages: list[Json]) -> None:
    assert "continue_final_message" not in lowered({"messages": messages}, "vllm")


# ---------------------------------------------------------------------------------------------------- what the way back needs


def test_the_answer_is_told_what_it_needs_to_know() -> None:
    long = "n" * 70
    made = translate(
        {"stop_sequences": ["a", "", "b"], "tools": [{"name": long}], "thinking": {"type": "adaptive", "display": "omitted"}}, "glm"
    )
    answer = made.answer
    assert (answer.model, answer.seed, answer.created, answer.include_usage) == ("here", "seed", 1, True)
    assert answer.stop_sequences == ("a",)  # what was not sent cannot have stopped the answer
    assert list(answer.names.values()) == [long]
    assert answer.show_thinking is False
    assert translate({"thinking": {"type": "adaptive"}}).answer.show_thinking is True
    assert translate({}).answer.show_thinking is True


# ---------------------------------------------------------------------------------------------------- malformed and unknown


@pytest.mark.parametrize(
    ("request_", "path", "what"),
    [
        pytest.param({"zap": 1}, "zap", "zap", id="top level"),
        pytest.param({"metadata": {"zap": 1}}, "metadata.zap", "zap", id="metadata"),
        pytest.param({"thinking": {"type": "adaptive", "zap": 1}}, "thinking.zap", "zap", id="thinking"),
        pytest.param({"tools": [{"name": "a"}, {"name": "b", "zap": {}}]}, "tools[1].zap", "zap", id="a tool"),
        pytest.param({"system": [text("s", zap=1)]}, "system[0].zap", "zap", id="a system block"),
        pytest.param({"messages": [{**HELLO[0], "zap": 1}]}, "messages[0].zap", "zap", id="a turn"),
        pytest.param(
            {"messages": [*HELLO, {"role": "user", "content": [text("a", zap=1)]}]}, "messages[1].content[0].zap", "zap", id="a block"
        ),
        pytest.param(
            {
                "messages": [
                    {"role": "user", "content": [text("a"), {"type": "image", "source": {"type": "url", "url": "https://x", "zap": 1}}]}
                ]
            },
            "messages[0].content[1].source.zap",
            "zap",
            id="an image's source",
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": [text("a"), {"type": "hologram", "rays": 3}]}]},
            'messages[0].content[1].type="hologram"',
            'type="hologram"',
            id="a block of unknown type",
        ),
    ],
)
def test_the_unknown_is_left_out_and_named_at_any_depth(request_: Json, path: str, what: str) -> None:
    found, losses = lossy(request_, "generic")
    assert (path, what) in losses
    assert b"zap" not in json.dumps(found).encode()
    assert b"hologram" not in json.dumps(found).encode()


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({"max_tokens": "many"}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"stop_sequences": ["a", 1]}, "stop_sequences[1]"),
        ({"metadata": 1}, "metadata"),
        ({"stream": 1}, "stream"),
        ({"system": 1}, "system"),
        ({"system": [{"type": "text", "text": 1}]}, "system[0].text"),
        ({"tools": 5}, "tools"),
        ({"tools": [{"name": 1}]}, "tools[0].name"),
        ({"tools": [{"name": "a", "input_schema": [1]}]}, "tools[0].input_schema"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"thinking": {"type": "enabled", "budget_tokens": "x"}}, "thinking.budget_tokens"),
        ({"messages": [1]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "bystander", "content": "x"}]}, "messages[0].role"),
        ({"messages": [*HELLO, {"role": "user", "content": [text("a"), {"type": "text"}]}]}, "messages[1].content[1].text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": [1]}]}]},
            "messages[0].content[0].content[0]",
        ),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
    ],
)
def test_what_is_malformed_is_named_at_any_depth(request_: Json, param: str) -> None:
    assert refused(request_).param == param


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"nul", b'{"messages":[{"role":"user","content":"\xff"}]}', b"[" * 2000])
def test_what_is_no_request_is_a_400(body: bytes) -> None:
    with pytest.raises(BadRequest):
        translate(body)


def test_text_of_every_script_arrives_as_it_was() -> None:
    words = "naïve 数据 → λ 🎈 \u2028 \x7f \\u0041"
    made = translate(json.dumps({"max_tokens": 9, "messages": [{"role": "user", "content": words}]}, ensure_ascii=False).encode())
    assert json.loads(made.body)["messages"] == [{"role": "user", "content": words}]
    assert "数据 → λ 🎈".encode() in made.body


def test_all_dialects_of_chat_are_known_to_these_tests() -> None:
    assert set(CHAT) <= set(DIALECTS)
