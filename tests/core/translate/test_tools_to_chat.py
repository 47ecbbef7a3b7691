"""Tool definitions, choices and names of a Messages request on their way to chat."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from tests.core.translate.lowering import HELLO, Json, assistant, call, dialect, lossy, lowered, refused, result, translate, user

SCHEMA: Json = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
LOOK: Json = {"name": "look", "input_schema": SCHEMA}
SEARCH: Json = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}


def function(name: str = "look", parameters: Json | None = None, **more: Any) -> Json:
    return {"type": "function", "function": {"name": name, **more, "parameters": SCHEMA if parameters is None else parameters}}


def names(found: Json) -> list[str]:
    return [tool["function"]["name"] for tool in found.get("tools", [])]


# ---------------------------------------------------------------------------------------------------- definitions


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        pytest.param(LOOK, function(), id="name and schema"),
        pytest.param({**LOOK, "type": "custom", "description": "Looks."}, function(description="Looks."), id="type custom, a description"),
        pytest.param(
            {
                **LOOK,
                "cache_control": {"type": "ephemeral"},
                "eager_input_streaming": True,
                "defer_loading": False,
                "input_examples": [],
                "allowed_callers": ["direct"],
            },
            function(),
            id="members that ask for nothing here never reach tool or schema",
        ),
        pytest.param({"name": "look"}, function(parameters={"type": "object", "properties": {}}), id="no schema"),
        pytest.param({"name": "look", "input_schema": None}, function(parameters={"type": "object", "properties": {}}), id="schema null"),
        pytest.param(
            {"name": "look", "input_schema": {"type": "object"}},
            function(parameters={"type": "object", "properties": {}}),
            id="no properties",
        ),
        pytest.param(
            {"name": "look", "input_schema": {"required": ["a"]}},
            function(parameters={"type": "object", "required": ["a"], "properties": {}}),
            id="no type",
        ),
        pytest.param(
            {"name": "look", "input_schema": {"type": ["object", "null"]}},
            function(parameters={"type": ["object", "null"]}),
            id="another type is the client's",
        ),
        pytest.param({**LOOK, "strict": True}, function(strict=True), id="strict where the schema keeps its rules"),
        pytest.param({**LOOK, "strict": False}, function(strict=False), id="not strict"),
        pytest.param({**LOOK, "type": "function"}, function(), id="an unknown type with a schema of its own"),
    ],
)
def test_tools_become_functions(tool: Json, expected: Json) -> None:
    assert lowered({"tools": [tool]})["tools"] == [expected]


def test_a_schema_is_carried_byte_for_byte() -> None:
    written = '{ "type":"object", "properties" : {"type": {"enum":[1.0, 1e2]}}, "$schema":"x", "title":"é"}'
    body = '{"max_tokens":9,"messages":[{"role":"user","content":"x"}],"tools":[{"name":"look","input_schema":' + written + "}]}"
    assert written.encode() in translate(body.encode()).body


def test_no_tools_are_no_list() -> None:
    assert "tools" not in lowered({"tools": []})
    assert "tools" not in lowered({"tools": [], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}})


@pytest.mark.parametrize(
    ("member", "value"), [("input_examples", [{"a": "x"}]), ("allowed_callers", ["code_execution_20250825"]), ("strict", True)]
)
def test_members_of_a_tool_that_are_lost_are_reported(member: str, value: Any) -> None:
    loose = {**SCHEMA, "required": []}
    found, losses = lossy({"tools": [{"name": "look", "input_schema": loose, member: value}]})
    assert (found["tools"], losses) == ([function(parameters=loose)], [(f"tools[0].{member}", member)])


@pytest.mark.parametrize(
    ("target", "expected"), [("glm", None), ("openrouter", {"type": "ephemeral", "ttl": "1h"}), ("openai-caching", None)]
)
def test_cache_marks_of_tools_go_where_they_are_known(target: str, expected: Json | None) -> None:
    mark = {"type": "ephemeral", "ttl": "1h", "scope": "global"}
    assert lowered({"tools": [{**LOOK, "cache_control": mark}]}, target)["tools"][0].get("cache_control") == expected


def test_keywords_the_upstream_refuses_are_dropped_where_they_are_keywords() -> None:
    schema = {
        "type": "object",
        "properties": {
            "pattern": {"type": "string", "pattern": "\\p{L}", "default": {"pattern": 1}},
            "b": {"anyOf": [{"pattern": "x"}, True]},
        },
        "items": {"pattern": "y"},
    }
    target = dialect("generic", schema_keywords_refused=("pattern", "$schema"))
    found, losses = lossy({"tools": [{"name": "look", "input_schema": schema}]}, target)
    assert found["tools"][0]["function"]["parameters"] == {
        "type": "object",
        "properties": {"pattern": {"type": "string", "default": {"pattern": 1}}, "b": {"anyOf": [{}, True]}},
        "items": {},
    }
    assert losses == [("tools[0].input_schema", "pattern")]
    only_a_name = {"type": "object", "properties": {"pattern": {"type": "string"}}}
    assert (
        lowered({"tools": [LOOK, {"name": "b", "input_schema": only_a_name}]}, target)["tools"][1]["function"]["parameters"] == only_a_name
    )


# ---------------------------------------------------------------------------------------------------- tools of the vendor


@pytest.mark.parametrize(
    ("kind", "name", "needed"),
    [
        ("bash_20250124", "bash", {"command", "restart"}),
        ("text_editor_20250728", "str_replace_based_edit_tool", {"command", "path", "old_str", "new_str"}),
        ("memory_20250818", "memory", {"command", "path", "old_path", "new_path"}),
    ],
)
def test_tools_the_client_runs_are_told_with_the_published_schema(kind: str, name: str, needed: set[str]) -> None:
    found = lowered({"tools": [{"type": kind, "name": name}], "tool_choice": {"type": "tool", "name": name}}, "generic")
    told = found["tools"][0]["function"]
    assert told["name"] == found["tool_choice"]["function"]["name"] == name
    assert told["description"]
    assert needed <= told["parameters"]["properties"].keys()


@pytest.mark.parametrize(
    ("tool", "what"),
    [
        (SEARCH, "web_search"),
        ({"type": "web_fetch_20250910", "name": "web_fetch"}, "web_fetch"),
        ({"type": "code_execution_20250825", "name": "code_execution"}, "code_execution"),
        ({"type": "computer_20250124", "name": "computer", "display_width_px": 1, "display_height_px": 1}, "computer"),
        ({"type": "mcp_toolset", "mcp_server_name": "m"}, "mcp_toolset"),
        ({"type": "bash_20250124"}, "bash_20250124"),
    ],
)
def test_tools_only_anthropic_can_run_are_dropped_and_named(tool: Json, what: str) -> None:
    found, losses = lossy({"tools": [tool, LOOK]})
    assert (names(found), losses) == (["look"], [("tools[0]", what)])


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        pytest.param(
            {"tools": [SEARCH], "tool_choice": {"type": "tool", "name": "web_search"}}, "tool_choice.name", id="a tool of the vendor"
        ),
        pytest.param(
            {"tools": [SEARCH, LOOK], "tool_choice": {"type": "tool", "name": "web_search"}},
            "tool_choice.name",
            id="a tool of the vendor beside others",
        ),
        pytest.param({"tools": [SEARCH], "tool_choice": {"type": "any"}}, "tool_choice", id="any, when none is left"),
        pytest.param({"tool_choice": {"type": "any"}}, "tool_choice", id="any of none"),
        pytest.param(
            {"tools": [LOOK], "tool_choice": {"type": "tool", "name": "other"}}, "tool_choice.name", id="a tool that is not there"
        ),
        pytest.param({"tools": [LOOK], "tool_choice": {"type": "tool"}}, "tool_choice.name", id="a tool without a name"),
        pytest.param({"tools": [LOOK], "tool_choice": {"type": "sometimes"}}, "tool_choice.type", id="an unknown type"),
        pytest.param({"tool_choice": {"type": "sometimes"}}, "tool_choice.type", id="an unknown type without tools"),
        pytest.param({"tools": [{"input_schema": SCHEMA}]}, "tools[0].name", id="a tool without a name"),
        pytest.param({"tools": [{"name": "a", "input_schema": "x"}]}, "tools[0].input_schema", id="a schema that is no object"),
    ],
)
def test_what_cannot_be_forced_or_told_is_refused(request_: Json, param: str) -> None:
    assert refused(request_).param == param


# ---------------------------------------------------------------------------------------------------- choices


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, {}),
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "tool", "name": "look"}, {"tool_choice": {"type": "function", "function": {"name": "look"}}}),
        ({"type": "auto", "disable_parallel_tool_use": True}, {"tool_choice": "auto", "parallel_tool_calls": False}),
        ({"type": "any", "disable_parallel_tool_use": False}, {"tool_choice": "required", "parallel_tool_calls": True}),
        ({"type": "none", "disable_parallel_tool_use": True}, {"tool_choice": "none"}),
    ],
)
def test_choices(choice: Json | None, expected: Json) -> None:
    found = lowered({"tools": [LOOK], "tool_choice": choice}, "openai")
    assert {name: found[name] for name in ("tool_choice", "parallel_tool_calls") if name in found} == expected
    if choice is None or choice["type"] in ("auto", "none"):  # without tools there is nothing to choose
        assert not {"tool_choice", "parallel_tool_calls"} & lowered({"tool_choice": choice}, "openai").keys()


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "look"}])
@pytest.mark.parametrize("target", ["glm", "deepseek", "moonshot", "ollama"])
def test_a_choice_that_cannot_be_forced_is_left_to_the_model_and_reported(choice: Json, target: str) -> None:
    found, losses = lossy({"tools": [LOOK], "tool_choice": choice}, target)
    assert (found["tool_choice"], losses) == ("auto", [("tool_choice", "tool_choice")])


def test_an_upstream_that_cannot_be_held_to_one_call_is_reported() -> None:
    request = {"tools": [LOOK], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
    found, losses = lossy(request, "glm")
    assert "parallel_tool_calls" not in found
    assert losses == [("tool_choice.disable_parallel_tool_use", "disable_parallel_tool_use")]
    assert "parallel_tool_calls" not in lowered(
        {"tools": [LOOK], "tool_choice": {"type": "auto", "disable_parallel_tool_use": False}}, "glm"
    )


# ---------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["mcp__" + "x" * 80, "with.dot", "näme", "a b"])
def test_names_chat_refuses_are_mapped_everywhere_and_back(name: str) -> None:
    request = {
        "tools": [{"name": name}, LOOK],
        "tool_choice": {"type": "tool", "name": name},
        "messages": [*HELLO, assistant(call(name=name)), user(result())],
    }
    made = translate(request, "generic")
    found = json.loads(made.body)
    short = found["tool_choice"]["function"]["name"]
    assert short.endswith("_" + hashlib.sha256(name.encode()).hexdigest()[:8])
    assert len(short) <= 64
    assert names(found) == [short, "look"]
    assert found["messages"][1]["tool_calls"][0]["function"]["name"] == short
    assert made.answer.names == {short: name}


def test_a_legal_name_that_looks_like_a_mapped_one_stays_what_it_is() -> None:
    long = "n" * 70
    twin = "n" * 55 + "_" + hashlib.sha256(long.encode()).hexdigest()[:8]
    made = translate({"tools": [{"name": long}, {"name": twin}]})
    mapped, kept = names(json.loads(made.body))
    assert kept == twin != mapped
    assert made.answer.names == {mapped: long}


# ---------------------------------------------------------------------------------------------------- deferred, added, removed

LATER: Json = {"name": "later", "defer_loading": True}
FOUND: Json = {"type": "tool_reference", "tool_name": "later"}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param({}, ["look"], id="not before they are found"),
        pytest.param(
            {"messages": [*HELLO, assistant(call()), user(result(content=[FOUND]))]}, ["look", "later"], id="found by a tool of the client"
        ),
        pytest.param({"messages": [user(FOUND)]}, ["look", "later"], id="named in a user turn"),
        pytest.param({"messages": [*HELLO, assistant(call(name="later")), user(result())]}, ["look", "later"], id="called before"),
        pytest.param({"tool_choice": {"type": "tool", "name": "later"}}, ["look", "later"], id="forced"),
        pytest.param({"tool_choice": {"type": "auto"}}, ["look"], id="a choice that names none"),
    ],
)
def test_deferred_tools_are_told_when_they_come_into_play(more: Json, expected: list[str]) -> None:
    assert names(lowered({"tools": [LOOK, LATER], **more}, "generic")) == expected


def test_deferred_tools_that_anthropic_alone_could_find_are_all_told() -> None:
    search = {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}
    found, losses = lossy({"tools": [search, LOOK, LATER]})
    assert (names(found), losses) == (["look", "later"], [("tools[0]", "tool_search_tool_regex")])


def test_what_a_tool_search_of_the_vendor_found_stays_known() -> None:
    block = {
        "type": "tool_search_tool_result",
        "tool_use_id": "s",
        "content": {"type": "tool_search_tool_search_result", "tool_references": [FOUND, {"type": "tool_reference"}, 3]},
    }
    found = lowered({"tools": [LOOK, LATER], "messages": [*HELLO, assistant(block), *HELLO]})
    assert names(found) == ["look", "later"]
    assert found["messages"][1] == {"role": "assistant", "content": "later\n\n"}
    nothing = {**block, "content": {"type": "tool_search_tool_result_error", "error_code": "unavailable"}}
    assert names(lowered({"tools": [LOOK, LATER], "messages": [*HELLO, assistant(nothing), *HELLO]})) == ["look"]


def test_references_are_parts_of_their_own_where_the_chat_template_knows_them() -> None:
    request = {"tools": [LOOK, LATER], "messages": [*HELLO, assistant(call()), user(result(content=[FOUND]))]}
    found = lowered(request, "sglang")
    assert found["messages"][-1] == {"role": "tool", "content": [{"type": "tool_reference", "name": "later"}], "tool_call_id": "c1"}
    assert names(found) == ["look", "later"]


def change(kind: str, tool: Any) -> Json:
    return {"role": "system", "content": [{"type": kind, "tool": tool}]}


def reference(name: str) -> Json:
    return {"type": "tool_reference", "name": name}


NEW: Json = {"type": "tool_definition", "definition": {"name": "new", "input_schema": SCHEMA}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param([change("tool_addition", reference("later"))], ["look", "later"], id="a deferred tool is added"),
        pytest.param([change("tool_removal", reference("look"))], [], id="a tool is removed"),
        pytest.param(
            [change("tool_removal", reference("look")), change("tool_addition", reference("look"))], ["look"], id="removed and added again"
        ),
        pytest.param(
            [change("tool_addition", reference("later")), change("tool_removal", reference("later"))], ["look"], id="added and removed"
        ),
        pytest.param([change("tool_addition", NEW)], ["look", "new"], id="a definition"),
        pytest.param([change("tool_addition", NEW), change("tool_removal", reference("new"))], ["look"], id="a definition, removed"),
        pytest.param(
            [change("tool_addition", NEW), change("tool_removal", reference("new")), change("tool_addition", NEW)],
            ["look", "new"],
            id="a definition, once more",
        ),
        pytest.param(
            [change("tool_addition", {**NEW, "definition": {"name": "look", "defer_loading": True}})],
            ["look"],
            id="a definition instead of a declared tool",
        ),
    ],
)
def test_system_turns_change_the_tools(changes: list[Json], expected: list[str]) -> None:
    assert names(lowered({"tools": [LOOK, LATER], "messages": [*HELLO, *changes]})) == expected


def test_a_compaction_sums_up_changes_of_tools() -> None:
    block = {"type": "compaction", "content": "What was.", "tool_changes": [{"type": "tool_removal", "tool": reference("look")}]}
    found = lowered({"tools": [LOOK, {"name": "b"}], "messages": [*HELLO, assistant(block), *HELLO]})
    assert names(found) == ["b"]


def test_changes_of_tools_at_anthropic_are_reported() -> None:
    toolset = {"type": "mcp_toolset_reference", "server_name": "m"}
    extra = {"type": "tool_definition", "definition": {"name": "new", "zap": 1}}
    messages = [
        *HELLO,
        change("tool_addition", toolset),
        change("tool_removal", NEW["definition"] | {"type": "tool_reference", "name": None}),
        change("tool_addition", extra),
    ]
    _, losses = lossy({"messages": messages})
    assert losses == [
        ("messages[1].content[0].tool", "mcp_toolset_reference"),
        ("messages[2].content[0].tool", "tool_reference"),
        ("messages[3].content[0].tool.definition.zap", "zap"),
    ]


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        pytest.param([change("tool_addition", 3)], "messages[0].content[0].tool", id="no object"),
        pytest.param([change("tool_addition", {"type": 3})], "messages[0].content[0].tool", id="an odd type"),
        pytest.param(
            [change("tool_addition", {**NEW, "definition": {"name": 3}})],
            "messages[0].content[0].tool.definition.name",
            id="an odd definition",
        ),
        pytest.param(
            [change("tool_addition", {**NEW, "definition": {}})],
            "messages[0].content[0].tool.definition.name",
            id="a definition without a name",
        ),
        pytest.param(
            [assistant({"type": "compaction", "content": "x", "tool_changes": [3]})],
            "messages[0].content[0].tool_changes",
            id="odd changes",
        ),
    ],
)
def test_malformed_changes_of_tools_are_refused(messages: list[Json], param: str) -> None:
    assert refused({"messages": [*messages, *HELLO]}).param == param


def test_where_none_is_no_choice_the_model_is_told_of_no_tool() -> None:
    request = {"tools": [{"name": "look", "input_schema": {"type": "object"}}], "tool_choice": {"type": "none"}}
    assert not {"tools", "tool_choice"} & set(lowered(request, "glm"))
    assert lowered(request, "vllm")["tool_choice"] == "none"
