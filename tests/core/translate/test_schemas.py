"""JSON schemas: when strict mode takes them as they are."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from core.translate.schemas import keeps_strict_rules
from core.wire.codec import encode
from tests.core.translate.lowering import HELLO, Json, dialect, lossy, lowered, refused, text

WORD: Json = {"type": "string"}


def closed(**properties: Any) -> Json:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        pytest.param(closed(), True, id="no properties"),
        pytest.param({"type": "object", "additionalProperties": False}, True, id="properties left out"),
        pytest.param(closed(a=WORD, b={"type": ["integer", "null"], "minimum": 0}), True, id="every property required"),
        pytest.param(closed(a=closed(b={"type": "array", "items": closed(c={"enum": [1, {"default": 2}]})})), True, id="nested"),
        pytest.param({**closed(a={"$ref": "#/$defs/a"}), "$defs": {"a": closed(b=WORD)}}, True, id="definitions"),
        pytest.param(closed(a={"anyOf": [WORD, closed(b=WORD)]}), True, id="a choice"),
        pytest.param(closed(default=WORD, oneOf=WORD), True, id="properties that are called like keywords"),
        pytest.param({**closed(a=WORD), "required": []}, False, id="an optional property"),
        pytest.param({**closed(a=WORD), "additionalProperties": True}, False, id="open"),
        pytest.param({"type": "object", "properties": {}}, False, id="open by default"),
        pytest.param(closed(a={"type": "object", "properties": {"b": WORD}, "required": ["b"]}), False, id="open inside"),
        pytest.param(closed(a={"properties": {"b": WORD}}), False, id="open inside without a type"),
        pytest.param(closed(a={"type": ["object", "null"]}), False, id="open inside, or null"),
        pytest.param(closed(a={"type": "array", "items": {"type": "object"}}), False, id="open in a list"),
        pytest.param(closed(a={"anyOf": [WORD, {"type": "object"}]}), False, id="open in a choice"),
        pytest.param({**closed(), "$defs": {"a": {"type": "object"}}}, False, id="open in a definition"),
        pytest.param(closed(a={"oneOf": [WORD]}), False, id="oneOf"),
        pytest.param(closed(a={"type": "string", "default": "x"}), False, id="a default"),
        pytest.param(closed(a=True), False, id="a schema that is no object"),
        pytest.param({**closed(), "$schema": "x"}, False, id="another keyword"),
        pytest.param({"anyOf": [closed()]}, False, id="no object at the top"),
        pytest.param({"type": "array", "items": WORD}, False, id="a list at the top"),
        pytest.param({"type": "object", "properties": 5, "additionalProperties": False}, False, id="odd properties"),
        pytest.param({"type": "object", "required": 5, "additionalProperties": False}, False, id="odd required"),
        pytest.param({**closed(), "$defs": 5, "anyOf": 5}, True, id="odd members hold no schemas"),
    ],
)
def test_strict_mode_takes_a_schema_only_as_it_is(schema: Any, expected: bool) -> None:
    assert keeps_strict_rules(Raw(encode(schema))) is expected
    request = {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    made = lowered(request, "openai")["response_format"]["json_schema"]
    assert made == {"name": "response", "schema": schema, **({"strict": True} if expected else {})}


@pytest.mark.parametrize("member", ["output_format", "output_config"])
def test_a_format_may_bear_its_old_name(member: str) -> None:
    wanted = {"type": "json_schema", "schema": closed(a=WORD)}
    request = {member: wanted if member == "output_format" else {"format": wanted}}
    expected = {"type": "json_schema", "json_schema": {"name": "response", "schema": closed(a=WORD), "strict": True}}
    assert lowered(request, "generic")["response_format"] == expected


def test_of_two_formats_the_newer_name_rules() -> None:
    first, second = ({"type": "json_schema", "schema": closed(**{name: WORD})} for name in "ab")
    found, losses = lossy({"output_config": {"format": first}, "output_format": second}, "generic")
    assert found["response_format"]["json_schema"]["schema"] == closed(a=WORD)
    assert losses == [("output_format", "output_format")]


@pytest.mark.parametrize("target", ["glm", "deepseek"])
@pytest.mark.parametrize(
    ("system", "before"),
    [
        pytest.param(None, None, id="without a system prompt"),
        pytest.param("Be brief.", "Be brief.\n\n", id="behind the system prompt"),
    ],
)
def test_where_no_schema_is_taken_the_model_is_told_it(target: str, system: str | None, before: str | None) -> None:
    found, losses = lossy({"system": system, "output_config": {"format": {"type": "json_schema", "schema": closed(a=WORD)}}}, target)
    assert found["response_format"] == {"type": "json_object"}
    prompt, *rest = found["messages"]
    assert (prompt["role"], rest) == ("system", HELLO)
    assert prompt["content"].startswith(before or "Answer with one JSON object")
    assert prompt["content"].endswith(encode(closed(a=WORD)).decode())
    assert losses == [("output_config.format", "json_schema")]


def test_where_not_even_json_is_known_the_prompt_says_it_all() -> None:
    target = dialect("openrouter", structured=dialect("glm-messages").structured)
    request = {"system": [text("a", cache_control={"type": "ephemeral"})], "output_format": {"type": "json_schema", "schema": closed()}}
    found, losses = lossy(request, target)
    assert "response_format" not in found
    assert found["messages"][0]["content"][1]["text"].endswith(encode(closed()).decode())
    assert losses == [("output_format", "json_schema")]


def test_refused_keywords_are_dropped_from_a_format_too() -> None:
    schema = closed(a={"type": "string", "pattern": "\\p{L}"})
    found, losses = lossy(
        {"output_format": {"type": "json_schema", "schema": schema}}, dialect("openai", schema_keywords_refused=("pattern",))
    )
    assert found["response_format"]["json_schema"] == {"name": "response", "schema": closed(a=WORD), "strict": True}
    assert losses == [("output_format.schema", "pattern")]


def test_a_format_of_another_type_is_refused_by_its_own_name() -> None:
    assert refused({"output_config": {"format": {"type": "json_object", "schema": {}}}}).param == "output_config.format"


def test_a_schema_that_is_no_object_is_refused() -> None:
    assert refused({"output_format": {"type": "json_schema", "schema": [1]}}).param == "output_format"
    assert keeps_strict_rules(Raw(b"[1]")) is False


def test_text_that_is_no_text_keeps_no_rules() -> None:
    assert keeps_strict_rules(Raw(b'{"type":"object","additionalProperties":false,"title":"\xff"}')) is False
