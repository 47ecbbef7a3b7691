"""What a Messages endpoint demands of a request, as one function; written from the API reference, not from the translator."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

LEGAL_ID = re.compile(r"[a-zA-Z0-9_-]+")
LEGAL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
#: Thinking comes before text, text before calls.
RANK = {"thinking": 0, "redacted_thinking": 0, "text": 1, "tool_use": 2}
IN_A_USER_TURN = {"text", "image", "document", "tool_result"}


def violations(request: dict[str, Any]) -> list[str]:
    """Every rule that ``request`` breaks."""
    return list(_violations(request))


def _violations(request: dict[str, Any]) -> Iterator[str]:
    turns = request["messages"]
    if not isinstance(request.get("max_tokens"), int) or request["max_tokens"] < 1:
        yield "max_tokens is missing"
    if not turns or turns[0]["role"] != "user":
        yield "the first turn is not the user's"
    yield from _order(turns)
    yield from _pairs(turns)
    for index, turn in enumerate(turns):
        yield from (f"turn {index}: {what}" for what in _content(turn))
    if turns and turns[-1]["role"] == "assistant" and (text := _last_text(turns[-1])) != text.rstrip():
        yield "the final assistant text ends in white space"
    marked = sum(1 for _ in _marks(request))
    if marked > 4:
        yield f"{marked} cache breakpoints"
    if isinstance(system := request.get("system"), str) and not system.strip():
        yield "a blank system prompt"
    names = [tool["name"] for tool in request.get("tools", ())]
    yield from (f"illegal tool name {name}" for name in names if not LEGAL_NAME.fullmatch(name))
    yield from (f"tool {tool['name']}: no object" for tool in request.get("tools", ()) if not _takes_object(tool))


def _takes_object(tool: dict[str, Any]) -> bool:
    schema = tool.get("input_schema", {"type": "object"} if "type" in tool else {})
    return schema.get("type") == "object" and not {"anyOf", "oneOf", "allOf"} & schema.keys()


def _order(turns: list[dict[str, Any]]) -> Iterator[str]:
    for before, turn in pairwise(turns):
        pair = (before["role"], turn["role"])
        if pair not in {("user", "assistant"), ("assistant", "user"), ("user", "system"), ("system", "assistant")}:
            yield f"{pair[0]} is followed by {pair[1]}"


def _pairs(turns: list[dict[str, Any]]) -> Iterator[str]:
    seen: set[str] = set()
    waiting: list[str] = []
    for turn in turns:
        blocks = turn["content"] if isinstance(turn["content"], list) else []
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if results != waiting:
            yield f"results of {results}, expected those of {waiting}"
        if any(block["type"] == "tool_result" for block in blocks[len(results) :]):
            yield "a result behind other content"
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
        for one in waiting:
            if one in seen:
                yield f"the id {one} occurs twice"
            if not LEGAL_ID.fullmatch(one):
                yield f"illegal id {one!r}"
            seen.add(one)
    if waiting:
        yield "calls without results at the end"


def _content(turn: dict[str, Any]) -> Iterator[str]:
    content = turn["content"]
    if isinstance(content, str):
        if not content.strip():
            yield "blank text"
        return
    if not content:
        yield "no content"
    kinds = [block["type"] for block in content]
    if turn["role"] == "assistant":
        if not set(kinds) <= RANK.keys():
            yield f"{kinds} in an assistant turn"
        elif [RANK[kind] for kind in kinds] != sorted(RANK[kind] for kind in kinds):
            yield f"{kinds} are out of order"
        elif RANK[kinds[-1]] == 0:
            yield "thinking that no answer follows"
    elif not set(kinds) <= (IN_A_USER_TURN if turn["role"] == "user" else {"text"}):
        yield f"{kinds} in a {turn['role']} turn"
    for block in content:
        yield from _block(block)


def _block(block: dict[str, Any]) -> Iterator[str]:
    if block["type"] == "text" and not block["text"].strip():
        yield "blank text"
    if block["type"] == "thinking" and not block["thinking"].strip() and not block.get("signature"):
        yield "blank thinking"
    if block["type"] == "tool_use" and not isinstance(block["input"], dict):
        yield "input that is no object"
    if block["type"] == "tool_result" and isinstance(block.get("content"), list):
        for part in block["content"]:
            if part["type"] not in {"text", "image", "document"}:
                yield f"{part['type']} in a result"
            yield from _block(part)


def _last_text(turn: dict[str, Any]) -> str:
    if isinstance(turn["content"], str):
        return turn["content"]
    last = turn["content"][-1]
    return str(last["text"]) if last["type"] == "text" else ""


def _marks(value: object) -> Iterator[object]:
    """Every cache_control at an API position; schemas and inputs of calls are the client's own."""
    if isinstance(value, dict):
        if value.get("cache_control") is not None:
            yield value
        for name, member in value.items():
            if name not in ("input", "input_schema"):
                yield from _marks(member)
    elif isinstance(value, list):
        for item in value:
            yield from _marks(item)
