"""The top level of chat requests as Messages has it: limits, sampling, formats, identities, and what has no twin."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from core.dialects import DIALECTS, Structured
from core.errors import BadRequest
from core.translate.to_messages import DEFAULT_MAX_TOKENS, to_messages
from tests.core.translate.lifting import HELLO, Json, lifted, lossy, refused, shown, system, text, translate

RELAY = "messages-relay"
TOOL = {"type": "function", "function": {"name": "f"}}


def test_a_whole_request_in_the_words_of_messages() -> None:
    made = translate(
        {
            "model": "here",
            "messages": [system("Be brief."), *HELLO],
            "max_completion_tokens": 100,
            "stop": ["END"],
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 5,
            "user": "u1",
            "stream": True,
            "stream_options": {"include_usage": True},
            "tools": [TOOL],
            "tool_choice": "auto",
        }
    )
    assert made.losses == ()
    assert shown(made.body) == {
        "model": "there",
        "max_tokens": 100,
        "system": "Be brief.",
        "messages": HELLO,
        "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}}],
        "tool_choice": {"type": "auto"},
        "stop_sequences": ["END"],
        "stream": True,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "metadata": {"user_id": "u1"},
    }
    answer = made.answer
    assert (answer.model, answer.seed, answer.created, answer.stop_sequences) == ("here", "seed", 1, ("END",))
    assert (answer.include_usage, answer.show_thinking, answer.schema_tool, answer.names) == (True, True, None, {})


def test_the_least_request_has_a_limit_all_the_same() -> None:
    assert lifted({}) == {"model": "there", "max_tokens": 9000, "messages": HELLO}
    body = to_messages(b'{"messages":[{"role":"user","content":"a"}]}', DIALECTS[RELAY], model="m", answer_model="m", seed="s", now=0).body
    assert json.loads(body)["max_tokens"] == DEFAULT_MAX_TOKENS


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_completion_tokens": 6, "max_tokens": 5}, 6),
        ({"max_completion_tokens": None, "max_tokens": 5}, 5),
        ({"max_tokens": None}, 9000),
    ],
)
def test_the_limit_is_the_first_that_is_given(given: Json, limit: int) -> None:
    assert lifted(given)["max_tokens"] == limit


@pytest.mark.parametrize(
    ("given", "limit", "lost"),
    [
        ({"max_completion_tokens": 0, "max_tokens": 5}, 5, "max_completion_tokens"),
        ({"max_tokens": 0}, 9000, "max_tokens"),
        ({"max_tokens": -1}, 9000, "max_tokens"),
    ],
)
def test_a_limit_of_nothing_is_none_and_reported(given: Json, limit: int, lost: str) -> None:
    made, losses = lossy(given)
    assert made["max_tokens"] == limit
    assert losses == [(lost, lost)]


# ------------------------------------------------------------------------------------------------- sampling


@pytest.mark.parametrize(
    ("stop", "kept"),
    [
        (None, None),
        ("END", ["END"]),
        (["a", "b c"], ["a", "b c"]),
        ("", None),
        ([], None),
        (["", "a"], ["a"]),
        ("\na", ["\na"]),
    ],
)
def test_stop_sequences(stop: object, kept: list[str] | None) -> None:
    assert lifted({"stop": stop}).get("stop_sequences") == kept


@pytest.mark.parametrize(("stop", "kept", "path"), [("\n", None, "stop"), (["a", " \n"], ["a"], "stop[1]")])
def test_stop_sequences_of_white_space_are_a_loss(stop: object, kept: list[str] | None, path: str) -> None:
    made, losses = lossy({"stop": stop})
    assert made.get("stop_sequences") == kept
    assert losses == [(path, "stop")]


@pytest.mark.parametrize(
    ("target", "given", "kept", "lost"),
    [
        pytest.param(RELAY, {"temperature": 0}, {"temperature": 0}, [], id="a temperature of nothing is said"),
        pytest.param(RELAY, {"temperature": 1.0}, {"temperature": 1}, [], id="the highest there is"),
        pytest.param(RELAY, {"temperature": 1.7}, {"temperature": 1}, ["temperature"], id="a higher one is that"),
        pytest.param(RELAY, {"temperature": 0.2, "top_p": 0.3}, {"temperature": 0.2, "top_p": 0.3}, [], id="both where both are taken"),
        pytest.param("anthropic-budget", {"temperature": 0.2, "top_p": 0.3}, {"temperature": 0.2}, ["top_p"], id="of both the temperature"),
        pytest.param("anthropic-budget", {"temperature": 0.2, "top_p": 1}, {"temperature": 0.2}, [], id="a top_p of 1 asks for nothing"),
        pytest.param("anthropic-budget", {"top_p": 0.3}, {"top_p": 0.3}, [], id="one alone"),
        pytest.param("anthropic-budget", {"top_k": 3}, {"top_k": 3}, [], id="top_k where it is known"),
        pytest.param(
            "anthropic",
            {"temperature": 0.2, "top_p": 0.3, "top_k": 3},
            {},
            ["top_k", "temperature", "top_p"],
            id="none where none are taken",
        ),
        pytest.param("anthropic", {"temperature": 1, "top_p": 1.0}, {}, [], id="none of them asked for anything"),
    ],
)
def test_samplers(target: str, given: Json, kept: Json, lost: list[str]) -> None:
    made = translate(given, target)
    assert {name: value for name, value in json.loads(made.body).items() if name in ("temperature", "top_p", "top_k")} == kept
    assert [(loss.path, loss.what) for loss in made.losses] == [(name, name) for name in lost]


# ------------------------------------------------------------------------------------------------- what has no twin


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("frequency_penalty", 0.5), ("presence_penalty", -1), ("repetition_penalty", 1.1), ("min_p", 0.1), ("do_sample", False), ("seed", 0),
        ("logit_bias", {"5": 1}), ("logprobs", True), ("top_logprobs", 2), ("store", True), ("prediction", {"type": "content"}),
        ("moderation", {"a": 1}), ("metadata", {"a": "b"}), ("prompt_cache_key", "k"), ("prompt_cache_options", {"a": 1}),
        ("prompt_cache_retention", "24h"), ("verbosity", "low"), ("request_id", "r"), ("web_search_options", {}),
        ("unknown", 1), ("service_tier", "priority"), ("service_tier", "default"),
    ],
)  # fmt: skip
def test_members_without_a_twin_are_a_loss_each(name: str, value: object) -> None:
    made, losses = lossy({name: value})
    assert losses == [(name, name)]
    assert made == lifted({})


@pytest.mark.parametrize(
    ("request_", "loss"),
    [
        ({"stream_options": {"include_obfuscation": True}}, ("stream_options.include_obfuscation", "include_obfuscation")),
        ({"stream_options": {"continuous_usage_stats": True}}, ("stream_options.continuous_usage_stats", "continuous_usage_stats")),
        ({"stream_options": {"unknown": True}}, ("stream_options.unknown", "unknown")),
        ({"chat_template_kwargs": {"clear_thinking": False}}, ("chat_template_kwargs.clear_thinking", "clear_thinking")),
        ({"chat_template_kwargs": {"unknown": {"a": 1}}}, ("chat_template_kwargs.unknown", "unknown")),
        ({"response_format": {"type": "text", "unknown": 1}}, ("response_format.unknown", "unknown")),
    ],
)
def test_members_inside_others_are_lost_by_their_path(request_: Json, loss: tuple[str, str]) -> None:
    made, losses = lossy(request_)
    assert losses == [loss]
    assert made == lifted({})


def test_a_thinking_switch_that_keeps_reasoning_loses_that() -> None:
    assert lossy({"thinking": {"type": "disabled", "clear_thinking": False}})[1] == [("thinking.clear_thinking", "clear_thinking")]
    assert "thinking" in lifted({"thinking": {"type": "disabled", "clear_thinking": True}})


@pytest.mark.parametrize(
    "request_",
    [
        {"frequency_penalty": 0, "presence_penalty": 0.0, "repetition_penalty": 1, "min_p": 0, "do_sample": True, "seed": None},
        {"logit_bias": {}, "logprobs": False, "top_logprobs": 0, "store": False, "prediction": None, "moderation": None, "metadata": {}},
        {
            "prompt_cache_key": "",
            "prompt_cache_options": None,
            "prompt_cache_retention": "in_memory",
            "verbosity": "medium",
            "attachments": [],
        },
        {
            "n": 1,
            "modalities": ["text"],
            "audio": None,
            "service_tier": "auto",
            "web_search_options": None,
            "response_format": {"type": "text"},
        },
        {"stream": False, "stream_options": {"include_usage": False, "include_obfuscation": False}, "tool_stream": True, "user": ""},
        {
            "continue_final_message": True,
            "add_generation_prompt": False,
            "functions": [],
            "tools": [],
            "reasoning": {},
            "chat_template_kwargs": {},
        },
    ],
)
def test_what_asks_for_nothing_is_no_loss(request_: Json) -> None:
    assert {name: value for name, value in lifted(request_).items() if name != "stream"} == lifted({})


@pytest.mark.parametrize(
    ("request_", "place"),
    [
        pytest.param({"n": 2}, "n", id="several answers"),
        pytest.param({"n": 0}, "n", id="no answer"),
        pytest.param({"messages": []}, "messages", id="no messages"),
        pytest.param({"messages": "a"}, "messages", id="messages of a wrong type"),
        pytest.param({"messages": ["a"]}, "messages[0]", id="a message of a wrong type"),
        pytest.param({"audio": {"voice": "v"}}, "audio", id="a voice"),
        pytest.param({"modalities": ["text", "audio"]}, "modalities[1]", id="a spoken answer"),
        pytest.param({"max_tokens": "many"}, "max_tokens", id="a limit of a wrong type"),
        pytest.param({"temperature": "hot"}, "temperature", id="a temperature of a wrong type"),
        pytest.param({"stop": [5]}, "stop[0]", id="a stop sequence of a wrong type"),
        pytest.param({"stream_options": {"include_usage": 1}}, "stream_options.include_usage", id="a wrong type deep inside"),
        pytest.param({"reasoning": {"max_tokens": "many"}}, "reasoning.max_tokens", id="a budget of a wrong type"),
        pytest.param({"response_format": {"type": "grammar"}}, "response_format", id="an unknown format"),
        pytest.param({"response_format": {"type": "json_schema"}}, "response_format", id="a schema that is not there"),
        pytest.param(
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": None}}},
            "response_format",
            id="a schema that is null",
        ),
        pytest.param({"response_format": {}}, "response_format.type", id="a format of no type"),
    ],
)
def test_what_cannot_be_carried_is_refused_by_its_place(request_: Json, place: str) -> None:
    assert refused(request_)[0] == place


def test_without_messages_there_is_nothing_to_translate() -> None:
    with pytest.raises(BadRequest) as caught:
        to_messages(b'{"model":"m"}', DIALECTS[RELAY], model="m", answer_model="m", seed="s", now=0)
    assert caught.value.param == "messages"


# ------------------------------------------------------------------------------------------------- formats of the answer

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
WANTED = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}
NATIVE, AS_TOOL, AS_PROMPT = RELAY, "anthropic-tools", "glm-messages"
PROMPT = f"Answer with one JSON object and nothing else. It must satisfy this JSON schema:\n{json.dumps(SCHEMA)}"
JSON_ONLY = "Answer with one JSON object and nothing else: no prose, no code fence."


def tool_of(name: str = "json_response", description: str = "Give the answer through this tool.") -> Json:
    return {"name": name, "description": description, "input_schema": SCHEMA}


def test_a_schema_is_the_format_where_there_are_formats() -> None:
    made = translate({"response_format": WANTED, "reasoning_effort": "low"}, "anthropic")
    assert json.loads(made.body)["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}
    assert made.losses == ()
    assert made.answer.schema_tool is None


def test_the_description_of_a_schema_is_lost_beside_it() -> None:
    wanted = {"type": "json_schema", "json_schema": {**WANTED["json_schema"], "description": "d"}}  # type: ignore[dict-item]
    assert lossy({"response_format": wanted})[1] == [("response_format.json_schema.description", "description")]
    assert lossy({"response_format": wanted}, AS_PROMPT)[0]["system"] == f"d\n{PROMPT}"
    assert lifted({"response_format": wanted}, AS_TOOL)["tools"] == [tool_of(description="d")]


@pytest.mark.parametrize(
    ("request_", "choice", "names"),
    [
        pytest.param({}, {"type": "tool", "name": "json_response"}, ["json_response"], id="alone it is forced"),
        pytest.param({"tools": [TOOL]}, {"type": "any"}, ["f", "json_response"], id="beside others one of them is"),
        pytest.param({"tools": [TOOL], "tool_choice": "auto"}, {"type": "any"}, ["f", "json_response"], id="so it is with auto"),
        pytest.param(
            {"tools": [TOOL], "parallel_tool_calls": False}, {"type": "any", "disable_parallel_tool_use": True}, ["f", "json_response"],
            id="one call at a time stays",
        ),
        pytest.param({"tools": [TOOL], "tool_choice": "none"}, {"type": "tool", "name": "json_response"}, ["f", "json_response"], id="forced where the others may not be called"),
        pytest.param(
            {"tools": [{"type": "function", "function": {"name": "json_response"}}]}, {"type": "any"}, ["json_response", "json_response_2"],
            id="its name gives way to the client's",
        ),
    ],
)  # fmt: skip
def test_a_schema_is_a_tool_where_there_are_no_formats(request_: Json, choice: Json, names: list[str]) -> None:
    made = translate({"response_format": WANTED, **request_}, AS_TOOL)
    body = json.loads(made.body)
    assert made.losses == ()
    assert body["tool_choice"] == choice
    assert [tool["name"] for tool in body["tools"]] == names
    assert body["tools"][-1] == tool_of(names[-1])
    assert made.answer.schema_tool == names[-1]


def test_a_tool_of_that_name_alone_stands_for_no_schema() -> None:
    assert translate({"tools": [{"type": "function", "function": {"name": "json_response"}}]}, AS_TOOL).answer.schema_tool is None


@pytest.mark.parametrize(
    ("target", "request_"),
    [
        pytest.param(AS_PROMPT, {}, id="where there is neither format nor forced tool"),
        pytest.param(AS_TOOL, {"reasoning_effort": "low"}, id="beside thinking"),
        pytest.param(AS_TOOL, {"tools": [TOOL], "tool_choice": "required"}, id="beside a forced tool"),
        pytest.param(AS_TOOL, {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}}, id="beside a tool forced by name"),
    ],
)  # fmt: skip
def test_a_schema_is_told_to_the_model_otherwise(target: str, request_: Json) -> None:
    made, losses = lossy({"response_format": WANTED, **request_}, target)
    assert losses == [("response_format", "json_schema")]
    assert made["system"] == PROMPT
    assert [tool["name"] for tool in made.get("tools", [])] == (["f"] if "tools" in request_ else [])


@pytest.mark.parametrize("schema", [{"type": "array"}, {"properties": {}}, {"type": "object", "oneOf": [{}]}, True])
def test_a_schema_of_no_object_is_no_tool(schema: object) -> None:
    made, _ = lossy({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}, AS_TOOL)
    assert made["system"].endswith(json.dumps(schema))
    assert "tools" not in made


@pytest.mark.parametrize(
    ("messages", "prompt"),
    [
        pytest.param(HELLO, JSON_ONLY, id="no system prompt"),
        pytest.param([system("s"), *HELLO], f"s\n\n{JSON_ONLY}", id="behind a string"),
        pytest.param([system("s"), system("t"), *HELLO], [text("s"), text("t"), text(JSON_ONLY)], id="behind blocks"),
    ],
)
def test_any_json_object_is_an_instruction(messages: list[Json], prompt: object) -> None:
    for target in (NATIVE, AS_TOOL, AS_PROMPT):
        assert lifted({"messages": messages, "response_format": {"type": "json_object"}}, target)["system"] == prompt


def test_every_messages_dialect_has_one_of_these_ways() -> None:
    assert {DIALECTS[name].structured for name in (NATIVE, AS_TOOL, AS_PROMPT)} == {Structured.NATIVE, Structured.TOOL, Structured.PROMPT}


# ------------------------------------------------------------------------------------------------- who asks, and how it is served


def digest(user: str) -> str:
    return hashlib.sha256(user.encode()).hexdigest()


@pytest.mark.parametrize(
    ("given", "user"),
    [
        pytest.param({"user": "u1"}, "u1", id="user"),
        pytest.param({"safety_identifier": "s1"}, "s1", id="safety_identifier"),
        pytest.param({"user_id": "g1"}, "g1", id="GLM's user_id"),
        pytest.param({"safety_identifier": "s1", "user": "s1"}, "s1", id="the same twice"),
        pytest.param({"user": "u" * 256}, "u" * 256, id="the longest there may be"),
        pytest.param({"user": "u" * 257}, digest("u" * 257), id="a longer one is its digest"),
        pytest.param({"user": "ann@example.org"}, digest("ann@example.org"), id="so is an e-mail address"),
        pytest.param({"user": "Ann <ann@example.org>"}, digest("Ann <ann@example.org>"), id="also inside of something"),
        pytest.param({"user": "+49 (30) 123-4567"}, digest("+49 (30) 123-4567"), id="and a phone number"),
        pytest.param({"user": "2f1a7c9e-1111-4222-8333-123456789abc"}, "2f1a7c9e-1111-4222-8333-123456789abc", id="not so an id"),
    ],
)
def test_the_user_is_known_by_name_or_digest(given: Json, user: str) -> None:
    assert lifted(given)["metadata"] == {"user_id": user}


def test_of_two_users_one_is_lost() -> None:
    made, losses = lossy({"user": "u", "safety_identifier": "s", "user_id": "s"})
    assert made["metadata"] == {"user_id": "s"}
    assert losses == [("user", "user")]


@pytest.mark.parametrize(("tier", "there"), [("auto", "auto"), ("default", "standard_only")])
def test_service_tiers_are_anthropics_own(tier: str, there: str) -> None:
    assert lifted({"service_tier": tier}, "anthropic")["service_tier"] == there


@pytest.mark.parametrize("tier", ["fast", "priority", "flex"])
def test_other_tiers_are_a_loss_there_too(tier: str) -> None:
    made, losses = lossy({"service_tier": tier}, "anthropic")
    assert losses == [("service_tier", "service_tier")]
    assert "service_tier" not in made


def test_the_web_is_searched_by_anthropic_alone() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    assert lifted({"web_search_options": {}}, "anthropic")["tools"] == [search]
    made, losses = lossy({"web_search_options": {"search_context_size": "low"}, "tools": [TOOL], "tool_choice": "auto"}, "anthropic")
    assert [tool["name"] for tool in made["tools"]] == ["f", "web_search"]
    assert losses == [("web_search_options", "web_search_options")]


@pytest.mark.parametrize(
    ("request_", "include_usage", "show_thinking"),
    [
        ({}, False, True),
        ({"stream_options": {"include_usage": True}}, True, True),
        ({"stream_options": {}}, False, True),
        ({"reasoning": {"exclude": True}}, False, False),
        ({"reasoning": {"exclude": False}}, False, True),
    ],
)
def test_the_way_back_is_told_what_to_show(request_: Json, include_usage: bool, show_thinking: bool) -> None:
    answer = translate(request_).answer
    assert (answer.include_usage, answer.show_thinking) == (include_usage, show_thinking)


def test_a_dialect_is_all_that_decides() -> None:
    """No name of a vendor or model is looked at: two dialects that differ in nothing but their name give the same request."""
    request = {"messages": HELLO, "temperature": 0.5, "reasoning_effort": "high", "tools": [TOOL], "response_format": WANTED}
    for name in ("anthropic", "anthropic-budget", "anthropic-tools", "glm-messages", RELAY, "deepseek-messages"):
        assert translate(request, name).body == translate({**request, "model": "claude-3"}, replace(DIALECTS[name], name="other")).body
