"""Examples conform to their schemas, checked by a validator that shares nothing with the builder."""

from __future__ import annotations

from typing import Any

import pytest

from transports.simulation.schemas import example

TREE = {
    "$defs": {
        "node": {"type": "object", "properties": {"name": {"type": "string"}, "child": {"$ref": "#/$defs/node"}}, "required": ["name"]}
    },
    "$ref": "#/$defs/node",
}
SCHEMAS: list[dict[str, Any]] = [
    {"type": "string"},
    {"type": "string", "minLength": 40},
    {"type": "string", "maxLength": 3},
    {"type": "string", "format": "date-time"},
    {"type": ["null", "integer"]},
    {"type": "null"},
    {"type": "boolean"},
    {"type": "integer", "minimum": 5, "maximum": 9},
    {"type": "integer", "maximum": -3},
    {"type": "integer", "exclusiveMinimum": 7},
    {"type": "integer", "exclusiveMaximum": 1},
    {"type": "integer", "minimum": 4, "multipleOf": 7},
    {"type": "integer", "minimum": 6, "maximum": 10, "multipleOf": 5},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"enum": [None, "a", "b"]},
    {"enum": ["x"], "type": "string"},
    {"const": {"fixed": [1]}},
    {"type": "string", "default": "given"},
    {"type": "array", "items": {"enum": ["a"]}},
    {"type": "array", "minItems": 3, "items": {"type": "string"}, "uniqueItems": True},
    {"type": "array", "maxItems": 0, "items": {"type": "string"}},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": {"type": "boolean"}, "minItems": 3},
    {"type": "array"},
    {"items": {"type": "integer"}},
    {"type": "object"},
    {"type": "object", "required": ["unnamed"], "additionalProperties": {"type": "integer"}},
    {"properties": {"a": {"type": "integer"}, "b": {"type": "object", "properties": {"c": {"type": "boolean"}}}}, "required": ["a"]},
    {"anyOf": [{"type": "null"}, {"type": "integer"}]},
    {"anyOf": [{"type": "null"}]},
    {"oneOf": [{"type": "object", "properties": {"kind": {"const": "a"}}, "required": ["kind"]}, {"type": "string"}]},
    {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "anyOf": [{"properties": {"b": {"type": "integer"}}, "required": ["b"]}]},
    {"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"properties": {"b": {"enum": [2]}}, "required": ["b"]}]},
    {"type": "object", "properties": {"any": True}, "required": ["any"]},
    {"$defs": {"a/b": {"type": "integer"}}, "$ref": "#/$defs/a~1b"},
    TREE,
]  # fmt: skip
TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None), "array": list, "object": dict,
}  # fmt: skip


def conforms(value: Any, schema: Any, root: Any) -> bool:
    if not isinstance(schema, dict):
        return True
    if "$ref" in schema and not conforms(value, referred(root, schema["$ref"]), root):
        return False
    types = schema.get("type", list(TYPES))
    types = [types] if isinstance(types, str) else types
    return (
        any(isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool)) for name in types)
        and value in schema.get("enum", [value])
        and value == schema.get("const", value)
        and all(conforms(value, part, root) for part in schema.get("allOf", ()))
        and ("anyOf" not in schema or any(conforms(value, part, root) for part in schema["anyOf"]))
        and ("oneOf" not in schema or sum(conforms(value, part, root) for part in schema["oneOf"]) == 1)
        and members_conform(value, schema, root)
    )


def members_conform(value: Any, schema: dict[str, Any], root: Any) -> bool:
    if isinstance(value, str):
        return bool(schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)))
    if isinstance(value, list):
        first = schema.get("prefixItems", [])
        schemas = [*first, *[schema.get("items", True)] * len(value)]
        distinct = len({str(each) for each in value}) == len(value) or not schema.get("uniqueItems")
        counted = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        return bool(counted) and distinct and all(map(conforms, value, schemas, [root] * len(value)))
    if isinstance(value, dict):
        properties, other = schema.get("properties", {}), schema.get("additionalProperties", True)
        known = all(name in value for name in schema.get("required", ()))
        return known and all(conforms(each, properties.get(name, other), root) for name, each in value.items())
    if isinstance(value, (int, float)):
        above = schema.get("minimum", value) <= value and schema.get("exclusiveMinimum", value - 1) < value
        below = value <= schema.get("maximum", value) and value < schema.get("exclusiveMaximum", value + 1)
        return bool(above and below) and value % schema.get("multipleOf", value or 1) == 0
    return True


def referred(root: Any, reference: str) -> Any:
    for name in reference.removeprefix("#/").split("/"):
        root = root[name.replace("~1", "/")]
    return root


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_an_example_conforms(schema: dict[str, Any]) -> None:
    value = example(schema)
    assert conforms(value, schema, schema), value


def test_the_validator_of_this_file_refuses_what_does_not_conform() -> None:
    for schema, value in [
        ({"type": "integer", "minimum": 2}, 1),
        ({"type": "integer"}, True),
        ({"enum": ["a"]}, "b"),
        ({"type": "object", "required": ["a"]}, {}),
        ({"type": "array", "items": {"type": "string"}}, [1]),
        ({"anyOf": [{"type": "null"}]}, "x"),
        (TREE, {"child": {}}),
    ]:
        assert not conforms(value, schema, schema), (schema, value)


def test_optional_properties_are_filled_too() -> None:
    assert example({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}) == {"a": 1, "b": "simulated b"}


def test_a_recursive_schema_ends() -> None:
    depth, node = 0, example(TREE)
    while node:
        depth, node = depth + 1, node.get("child")
    assert 1 < depth < 10


def test_a_reference_to_nothing_is_anything() -> None:
    assert example({"$ref": "#/$defs/missing"}, "name") == "simulated name"
    assert example({"$ref": "#"}, "name") == "simulated name"


def test_references_in_a_circle_are_anything() -> None:
    circle = {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}
    assert example(circle, "name") == "simulated name"


def test_what_an_agent_would_execute_is_harmless() -> None:
    schema = {"properties": {"command": {"type": "string"}, "force": {"type": "boolean"}}}
    assert example(schema, word="; rm -rf") == {"command": "echo simulated", "force": False}
