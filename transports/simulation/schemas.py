"""A value that conforms to a JSON schema: the arguments of a simulated tool call, a simulated structured output.

Covered: type (also as a list), properties, required, additionalProperties, items, prefixItems, minItems, maxItems, enum,
const, default, anyOf, oneOf, allOf, local $ref, the bounds of numbers, multipleOf, length and format of strings.
Not covered: pattern, not, if/then/else, dependencies, uniqueItems beyond strings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

JSON: TypeAlias = Mapping[str, Any]

#: Below this depth optional properties are left out and nullable values are null, so that recursive schemas end.
_DEPTH = 5

#: References and alternatives followed in one place; a longer way leads in a circle.
_HOPS = 20

_FORMATS = {
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "date-time": "2026-01-02T03:04:05Z",
    "duration": "PT1S",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}

#: Real agents run what a tool call says. Where a string is likely to be executed it has to be harmless.
_COMMANDS = frozenset({"command", "cmd", "commands", "script"})


def example(schema: object, label: str = "value", word: str = "simulated") -> Any:
    """A value for ``schema``. Free strings read ``word label``, the label being the name of the property they stand in."""
    return _Example(schema, word).of(schema, label, 0)


class _Example:
    __slots__ = ("_root", "_word")

    def __init__(self, root: object, word: str) -> None:
        self._root = root
        self._word = word

    def of(self, schema: object, label: str, depth: int) -> Any:
        plain = self._plain(schema, depth) if isinstance(schema, Mapping) else {}  # ``true``: anything goes
        if "const" in plain:
            return plain["const"]
        if plain.get("enum"):
            return next((value for value in plain["enum"] if value is not None), None)
        return plain["default"] if "default" in plain else self._typed(plain, label, depth)

    def _typed(self, schema: JSON, label: str, depth: int) -> Any:
        match _type_of(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, label, depth)
            case "integer" | "number" as kind:
                return _number(schema, whole=kind == "integer")
            case "boolean":
                return False  # agents' switches are dangerous when on ("force", "run_in_background")
            case "null":
                return None
            case _:
                return self._string(schema, label)

    def _plain(self, schema: JSON, depth: int) -> JSON:
        """``schema`` with its references and alternatives decided."""
        for _ in range(_HOPS):
            if "$ref" in schema:
                rest = {key: value for key, value in schema.items() if key != "$ref"}
                schema = {**self._resolve(str(schema["$ref"])), **rest}
            elif options := schema.get("anyOf") or schema.get("oneOf"):
                rest = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
                schema = _merged(rest, self._option(options, depth))
            elif parts := schema.get("allOf"):
                schema = {key: value for key, value in schema.items() if key != "allOf"}
                for part in parts:
                    schema = _merged(schema, self._plain(part, depth))
            else:
                return schema
        return {}

    def _option(self, options: list[Any], depth: int) -> JSON:
        nulls = [option for option in options if option.get("type") == "null"]
        values = [option for option in options if option.get("type") != "null"]
        chosen: JSON = nulls[0] if nulls and (depth >= _DEPTH or not values) else values[0]
        return chosen

    def _resolve(self, reference: str) -> JSON:
        target: Any = self._root
        for name in reference.removeprefix("#").strip("/").split("/"):
            if name:
                target = target.get(name.replace("~1", "/").replace("~0", "~"), {}) if isinstance(target, Mapping) else {}
        return target if isinstance(target, Mapping) and target.get("$ref") != reference else {}

    def _object(self, schema: JSON, depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = schema.get("required") or []
        names = required if depth >= _DEPTH else [*required, *(name for name in properties if name not in required)]
        other = schema.get("additionalProperties", True)
        return {name: self.of(properties.get(name, other), name, depth + 1) for name in names}

    def _array(self, schema: JSON, label: str, depth: int) -> list[Any]:
        first = schema.get("prefixItems") or []
        count = max(len(first), schema.get("minItems", 0 if depth >= _DEPTH else 1))
        count = min(count, schema.get("maxItems", count))
        items = schema.get("items", True)
        schemas = [*first, *[items] * count][:count]
        return [self.of(each, f"{label} {at + 1}" if at else label, depth + 1) for at, each in enumerate(schemas)]

    def _string(self, schema: JSON, label: str) -> str:
        text = _FORMATS.get(schema.get("format", ""))
        if text is None:
            text = "echo simulated" if label.lower() in _COMMANDS else f"{self._word} {label}"
        text = text.ljust(schema.get("minLength", 0), ".")
        return text[: schema.get("maxLength", len(text))]


def _type_of(schema: JSON) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema or "required" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "string"


def _merged(one: JSON, other: JSON) -> JSON:
    """Both schemas at once: properties and required add up, of anything else the later one wins."""
    merged = {**one, **other}
    if "properties" in one and "properties" in other:
        merged["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        merged["required"] = list(dict.fromkeys([*one["required"], *other["required"]]))
    return merged


def _number(schema: JSON, *, whole: bool) -> int | float:
    step = schema.get("multipleOf") or (1 if whole else 0.5)
    value: float = 1
    value = max(value, schema.get("minimum", value))
    if (floor := schema.get("exclusiveMinimum")) is not None and value <= floor:
        value = floor + step
    value = min(value, schema.get("maximum", value))
    if (ceiling := schema.get("exclusiveMaximum")) is not None and value >= ceiling:
        value = ceiling - step
    if "multipleOf" in schema:
        up = math.ceil(value / step) * step
        value = up if up <= schema.get("maximum", up) else math.floor(value / step) * step
    return int(value) if whole else value
