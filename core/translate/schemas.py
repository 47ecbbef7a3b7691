"""JSON schemas towards chat upstreams: mended where OpenAI demands more than Messages does, otherwise carried byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

import msgspec
from msgspec import Raw

from core.translate.loss import Losses, refuse
from core.wire.codec import ABSENT, encode, given, members, value_of

NO_PARAMETERS: Final = Raw(b'{"type":"object","properties":{}}')
_OBJECT: Final = b'"object"'

#: All that a schema may hold in strict mode (developers.openai.com, structured outputs, "supported schemas", read 2026-11-20).
_STRICT_KEYWORDS: Final = frozenset((
    "type", "title", "description", "enum", "const", "properties", "required", "additionalProperties", "items", "anyOf", "$ref", "$defs",
    "definitions", "pattern", "format", "multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems",
))  # fmt: skip
#: Where a schema holds further schemas: by name, in a list, or one by itself. Everything else (enum, default, examples) is data.
_NAMED: Final = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTED: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE: Final = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")


class _Top(msgspec.Struct):
    type: Raw = ABSENT
    properties: Raw = ABSENT


_top: Final = msgspec.json.Decoder(_Top)


def object_schema(schema: Raw, path: str) -> Raw:
    """``schema`` with the ``type`` and ``properties`` that OpenAI demands of an object schema; otherwise as it came.

    None at all becomes a schema without parameters. Anything but an object is a ``BadRequest``.
    """
    if not given(schema):
        return NO_PARAMETERS
    try:
        top = _top.decode(schema)
    except msgspec.ValidationError:
        raise refuse(path, "expected a JSON schema, an object") from None
    if top.type is not ABSENT and (top.properties is not ABSENT or bytes(top.type) != _OBJECT):
        return schema
    found = members(schema)
    if top.type is ABSENT:
        found = {"type": Raw(_OBJECT), **found}
    found.setdefault("properties", Raw(b"{}"))
    return Raw(encode(found))


def without_keywords(schema: Raw, refused: Collection[str], path: str, losses: Losses) -> Raw:
    """``schema`` without the keywords that the upstream answers 400 to, where they are keywords: a property may bear the same name."""
    data = bytes(schema)
    if not any(encode(keyword) in data for keyword in refused):  # as good as always
        return schema
    dropped: set[str] = set()
    kept = encode(_without(value_of(schema), refused, dropped))
    for keyword in sorted(dropped):
        losses.drop(path, keyword, "the upstream refuses schemas with this keyword")
    return Raw(kept) if dropped else schema


def _without(schema: Any, refused: Collection[str], dropped: set[str]) -> Any:
    if not isinstance(schema, dict):
        return schema
    dropped.update(keyword for keyword in refused if keyword in schema)
    return {
        keyword: _inside(keyword, value, lambda one: _without(one, refused, dropped))
        for keyword, value in schema.items()
        if keyword not in refused
    }


def _inside(keyword: str, value: Any, change: Callable[[Any], Any]) -> Any:
    """``value`` of ``keyword`` with ``change`` applied to the schemas it holds."""
    if keyword in _NAMED and isinstance(value, dict):
        return {name: change(one) for name, one in value.items()}
    if keyword in _LISTED and isinstance(value, list):
        return [change(one) for one in value]
    return change(value) if keyword in _SINGLE else value


def keeps_strict_rules(schema: Raw) -> bool:
    """Whether ``schema`` may be sent with ``strict: true`` as it is: every object closed, every property required, no other keywords.

    Strict mode answers 400 to anything else, and a schema is never rewritten to fit: that would change what the client asked for.
    """
    top = value_of(schema)
    return isinstance(top, dict) and top.get("type") == "object" and _is_strict(top)


def _is_strict(schema: Any) -> bool:
    if not isinstance(schema, dict) or not schema.keys() <= _STRICT_KEYWORDS:
        return False
    kind = schema.get("type")
    if (kind == "object" or "properties" in schema or (isinstance(kind, list) and "object" in kind)) and not _is_closed(schema):
        return False
    return all(_is_strict(one) for keyword, value in schema.items() if keyword != "additionalProperties" for one in _held(keyword, value))


def _is_closed(schema: dict[str, Any]) -> bool:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if schema.get("additionalProperties") is not False or not isinstance(properties, dict) or not isinstance(required, list):
        return False
    return all(name in required for name in properties)


def _held(keyword: str, value: Any) -> list[Any]:
    """The schemas inside ``value`` of ``keyword``."""
    if keyword in _NAMED and isinstance(value, dict):
        return list(value.values())
    if keyword in _LISTED and isinstance(value, list):
        return value
    return [value] if keyword in _SINGLE else []
