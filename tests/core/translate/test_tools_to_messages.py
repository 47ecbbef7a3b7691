"""Tools and tool choices of chat requests as Messages has them."""

from __future__ import annotations

import json

import pytest

from core.translate.tools import unwrapped
from tests.core.translate.lifting import HELLO, Json, lifted, lossy, refused, translate

NONE_TAKEN = {"type": "object", "properties": {}}
STRING_TAKEN = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"], "additionalProperties": False}


def function(name: str = "f", **members: object) -> Json:
    return {"type": "function", "function": {"name": name, **members}}


def custom(name: str = "c", **members: object) -> Json:
    return {"type": "custom", "custom": {"name": name, **members}}


SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": {"x": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
    "properties": {"a": {"$ref": "#/$defs/x"}}, "type": "object", "additionalProperties": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("tool", "there"),
    [
        pytest.param(function(description="d", parameters=SCHEMA, strict=True), {"name": "f", "description": "d", "input_schema": SCHEMA, "strict": True}, id="with all it may have"),
        pytest.param({"function": {"name": "f"}}, {"name": "f", "input_schema": NONE_TAKEN}, id="without a type, without parameters"),
        pytest.param(function(parameters=None), {"name": "f", "input_schema": NONE_TAKEN}, id="with null for parameters"),
        pytest.param(function(parameters={}), {"name": "f", "input_schema": NONE_TAKEN}, id="with an empty schema"),
        pytest.param(function(parameters={"properties": {"a": {}}}), {"name": "f", "input_schema": {"type": "object", "properties": {"a": {}}}}, id="with a schema that does not say its type"),
        pytest.param(function(parameters={"type": "object"}), {"name": "f", "input_schema": {"type": "object"}}, id="with a schema of nothing but its type"),
        pytest.param(function("n" * 128), {"name": "n" * 128, "input_schema": NONE_TAKEN}, id="with the longest name there may be"),
        pytest.param(custom(), {"name": "c", "input_schema": STRING_TAKEN}, id="a custom one"),
        pytest.param(custom(description="d", format={"type": "text"}), {"name": "c", "description": "d", "input_schema": STRING_TAKEN}, id="a custom one of any text"),
        pytest.param(
            custom(description="d", format={"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /a+/"}}),
            {"name": "c", "description": "d\n\nThe input must match this lark grammar:\nstart: /a+/", "input_schema": STRING_TAKEN},
            id="a custom one with a grammar",
        ),
        pytest.param(
            custom(format={"type": "grammar", "grammar": {"definition": "a"}}),
            {"name": "c", "description": "The input must match this  grammar:\na", "input_schema": STRING_TAKEN}, id="a custom one with nothing but a grammar",
        ),
    ],
)  # fmt: skip
def test_tools_are_told_of(tool: Json, there: Json) -> None:
    assert lifted({"tools": [tool]})["tools"] == [there]


def test_a_schema_is_carried_byte_for_byte() -> None:
    written = b'{ "type":"object", "properties":{"a":{"maximum":1e3}} }'
    body = translate({"tools": [function(parameters={"type": "object", "properties": {"a": {"maximum": 1000.0}}})]}).body
    assert b'"input_schema":{"type": "object", "properties": {"a": {"maximum": 1000.0}}}' in body
    assert written not in body


@pytest.mark.parametrize("choice", ["anyOf", "oneOf", "allOf"])
def test_a_choice_at_the_top_of_a_schema_is_lost_beside_properties_and_refused_without(choice: str) -> None:
    made, losses = lossy({"tools": [function(parameters={"properties": {"a": {}}, choice: [{"required": ["a"]}], "type": "object"})]})
    assert made["tools"] == [{"name": "f", "input_schema": {"properties": {"a": {}}, "type": "object"}}]
    assert losses == [(f"tools[0].function.parameters.{choice}", choice)]
    place, why = refused({"tools": [function(parameters={choice: [{"type": "object"}]})]})
    assert place == f"tools[0].function.parameters.{choice}"
    assert "under a property" in why


@pytest.mark.parametrize(
    ("request_", "place"),
    [
        pytest.param({"tools": [function(parameters=[])]}, "tools[0].function.parameters", id="a schema that is a list"),
        pytest.param({"tools": [function(parameters=True)]}, "tools[0].function.parameters", id="a schema that is true"),
        pytest.param({"tools": [function(parameters={"type": "string"})]}, "tools[0].function.parameters.type", id="a schema of a string"),
        pytest.param({"functions": [{"name": "f"}, {"name": "g", "parameters": 5}]}, "functions[1].parameters", id="a function's"),
        pytest.param({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name", id="no name"),
        pytest.param({"tools": [{"type": "function", "function": {"name": 5}}]}, "tools[0].function.name", id="a name of a wrong type"),
        pytest.param({"tools": "f"}, "tools", id="tools of a wrong type"),
    ],
)
def test_what_is_no_tool_is_refused_by_its_place(request_: Json, place: str) -> None:
    assert refused(request_)[0] == place


def test_tools_of_a_vendors_own_are_a_loss() -> None:
    made, losses = lossy({"tools": [{"type": "web_search", "web_search": {"enable": True}}, function(), {}]})
    assert made["tools"] == [{"name": "f", "input_schema": NONE_TAKEN}]
    assert losses == [("tools[0]", "web_search"), ("tools[2]", "tool")]


def test_members_of_a_tool_that_messages_does_not_know_never_leak_into_it() -> None:
    made, losses = lossy({"tools": [{**function(parameters=NONE_TAKEN), "defer_loading": True}]})
    assert made["tools"] == [{"name": "f", "input_schema": NONE_TAKEN}]
    assert losses == [("tools[0].defer_loading", "defer_loading")]


def test_names_that_messages_does_not_take_are_mapped_everywhere_and_back() -> None:
    name = "mcp.server/" + "n" * 140
    answer = {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": name, "arguments": "{}"}}]}
    made = translate({
        "messages": [*HELLO, answer, {"role": "tool", "tool_call_id": "a", "content": "r"}],
        "tools": [function(name), custom("c.d")],
        "tool_choice": {"type": "function", "function": {"name": name}},
    })  # fmt: skip
    there = {long: short for short, long in made.answer.names.items()}
    assert there.keys() == {name, "c.d"}
    assert len(there[name]) == 128
    assert made.answer.custom == {"c.d"}
    for place in (b'"tools":[{"name":"%b"', b'"tool_choice":{"type":"tool","name":"%b"}', b'"type":"tool_use","id":"a","name":"%b"'):
        assert place % there[name].encode() in made.body


def test_a_mended_name_never_meets_a_tool_of_that_name() -> None:
    mended = translate({"tools": [function("a.b")]}).answer.names
    (taken,) = mended
    made = translate({"tools": [function("a.b"), function(taken)]})
    first, second = (tool["name"] for tool in json.loads(made.body)["tools"])
    assert (second, made.answer.names) == (taken, {first: "a.b"})
    assert first != taken


def test_custom_tools_are_told_to_the_way_back() -> None:
    assert translate({"tools": [function(), custom()]}).answer.custom == {"c"}
    assert translate({"tools": [function()]}).answer.custom == frozenset()


def test_functions_from_before_tools_are_tools() -> None:
    assert lifted({"functions": [{"name": "f", "description": "d", "parameters": SCHEMA}]})["tools"] == [
        {"name": "f", "description": "d", "input_schema": SCHEMA}
    ]


# ------------------------------------------------------------------------------------------------- choices

TWO: Json = {"tools": [function(), custom()]}


@pytest.mark.parametrize(
    ("request_", "choice"),
    [
        pytest.param({}, None, id="none given"),
        pytest.param({"tool_choice": None}, None, id="null"),
        pytest.param({"tool_choice": "none"}, {"type": "none"}, id="none"),
        pytest.param({"tool_choice": "auto"}, {"type": "auto"}, id="auto"),
        pytest.param({"tool_choice": "required"}, {"type": "any"}, id="required is any"),
        pytest.param({"tool_choice": "any"}, {"type": "any"}, id="so is any"),
        pytest.param({"tool_choice": {"type": "function", "function": {"name": "f"}}}, {"type": "tool", "name": "f"}, id="a function by name"),
        pytest.param({"tool_choice": {"type": "custom", "custom": {"name": "c"}}}, {"type": "tool", "name": "c"}, id="a custom tool by name"),
        pytest.param({"function_call": "none"}, {"type": "none"}, id="function_call none"),
        pytest.param({"function_call": "auto"}, {"type": "auto"}, id="function_call auto"),
        pytest.param({"function_call": {"name": "f"}}, {"type": "tool", "name": "f"}, id="function_call by name"),
        pytest.param({"tool_choice": "auto", "function_call": "none"}, {"type": "auto"}, id="tool_choice before function_call"),
        pytest.param({"parallel_tool_calls": True}, None, id="parallel calls are what there is anyway"),
        pytest.param({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}, id="one call at a time needs a choice"),
        pytest.param({"parallel_tool_calls": False, "tool_choice": "required"}, {"type": "any", "disable_parallel_tool_use": True}, id="one call, forced"),
        pytest.param(
            {"parallel_tool_calls": False, "tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"type": "tool", "name": "f", "disable_parallel_tool_use": True}, id="one call of one tool",
        ),
        pytest.param({"parallel_tool_calls": False, "tool_choice": "none"}, {"type": "none"}, id="none has no such flag"),
    ],
)  # fmt: skip
def test_choices(request_: Json, choice: Json | None) -> None:
    made = lifted({**TWO, **request_})
    assert made.get("tool_choice") == choice
    assert len(made["tools"]) == 2


@pytest.mark.parametrize(
    "request_", [{"tool_choice": "auto"}, {"tool_choice": "none"}, {"parallel_tool_calls": False}, {"tools": [], "tool_choice": "auto"}]
)
def test_without_tools_there_is_no_choice(request_: Json) -> None:
    made = lifted(request_)
    assert not {"tool_choice", "tools"} & made.keys()


@pytest.mark.parametrize(
    ("mode", "allowed", "choice", "names"),
    [
        ("auto", [function()], {"type": "auto"}, ["f"]),
        ("required", [custom()], {"type": "any"}, ["c"]),
        ("auto", [function(), custom()], {"type": "auto"}, ["f", "c"]),
        ("auto", [], None, []),
    ],
)
def test_allowed_tools_narrow_the_tools(mode: str, allowed: list[Json], choice: Json | None, names: list[str]) -> None:
    made = lifted({**TWO, "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": allowed}}})
    assert made.get("tool_choice") == choice
    assert [tool["name"] for tool in made.get("tools", [])] == names


def allow(mode: str, *tools: Json) -> Json:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": list(tools)}}


@pytest.mark.parametrize(
    ("request_", "place"),
    [
        pytest.param({**TWO, "tool_choice": "some"}, "tool_choice", id="an unknown word"),
        pytest.param({**TWO, "function_call": "some"}, "function_call", id="an unknown word for function_call"),
        pytest.param({"tool_choice": "required"}, "tool_choice", id="a tool forced where there is none"),
        pytest.param(
            {**TWO, "tool_choice": {"type": "function", "function": {"name": "g"}}},
            "tool_choice.function.name",
            id="a function that is not there",
        ),
        pytest.param(
            {**TWO, "tool_choice": {"type": "custom", "custom": {"name": "g"}}},
            "tool_choice.custom.name",
            id="a custom tool that is not there",
        ),
        pytest.param({**TWO, "function_call": {"name": "g"}}, "function_call.name", id="a function_call that is not there"),
        pytest.param({**TWO, "tool_choice": {"type": "function"}}, "tool_choice", id="nobody named"),
        pytest.param({**TWO, "tool_choice": allow("some", function())}, "tool_choice.allowed_tools.mode", id="an unknown mode"),
        pytest.param({**TWO, "tool_choice": allow("required")}, "tool_choice.allowed_tools.tools", id="none allowed, one required"),
        pytest.param(
            {**TWO, "tool_choice": allow("auto", function(), function("g"))},
            "tool_choice.allowed_tools.tools[1]",
            id="one allowed that is not there",
        ),
        pytest.param(
            {**TWO, "tool_choice": allow("auto", {"type": "web_search"})},
            "tool_choice.allowed_tools.tools[0]",
            id="one allowed without a name",
        ),
        pytest.param({**TWO, "tool_choice": 5}, "tool_choice", id="a number"),
        pytest.param({**TWO, "parallel_tool_calls": "no"}, "parallel_tool_calls", id="parallel_tool_calls of a wrong type"),
    ],
)
def test_choices_that_cannot_be_kept_are_refused_by_their_place(request_: Json, place: str) -> None:
    found, why = refused(request_)
    assert found == place
    assert why.startswith(f"{place}: ")


def test_a_forced_tool_that_was_dropped_is_refused() -> None:
    assert refused({"tools": [{"type": "web_search"}], "tool_choice": "required"})[0] == "tool_choice"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param('{"input": "a \\"b\\" é"}', 'a "b" é', id="the text inside"),
        pytest.param('{"input": 7}', '{"input": 7}', id="no text inside: all of it"),
        pytest.param('{"other": "x"}', '{"other": "x"}', id="not wrapped: all of it"),
        pytest.param("plain words", "plain words", id="no JSON: all of it"),
    ],
)
def test_the_input_of_a_custom_tool_is_unwrapped(arguments: str, expected: str) -> None:
    assert unwrapped(arguments) == expected
