"""What every chat request must be, whoever it is for: the official SDK's types, and the rules that types cannot say."""

from __future__ import annotations

import json
import re
from typing import Any

from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming, CompletionCreateParamsStreaming
from pydantic import TypeAdapter

from core.dialects import Dialect, ResultImages

Json = dict[str, Any]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PLAIN: TypeAdapter[Any] = TypeAdapter(CompletionCreateParamsNonStreaming)
_STREAM: TypeAdapter[Any] = TypeAdapter(CompletionCreateParamsStreaming)


def check(request: Json, dialect: Dialect) -> None:
    """Fail unless an upstream of ``dialect`` has to accept ``request``."""
    if dialect.result_images is ResultImages.USER:  # images in tool messages are no part of the SDK's types
        _walk((_STREAM if request.get("stream") else _PLAIN).validate_python(request))
    _check_turns(request["messages"], dialect)
    _check_tools(request)
    assert None not in request.values()
    assert not {"max_tokens", "max_completion_tokens"} <= request.keys()
    if "stop" in request:
        assert request["stop"]
        assert dialect.stop
        assert dialect.stop_max is None or len(request["stop"]) <= dialect.stop_max
    assert dialect.sampling or not {"temperature", "top_p"} & request.keys()
    assert request.get("service_tier") is None or dialect.service_tier


def _walk(value: Any) -> None:
    """Iterables are validated when they are consumed."""
    if isinstance(value, dict):
        for one in value.values():
            _walk(one)
    elif not isinstance(value, str | int | float | None):
        for one in value:
            _walk(one)


def _check_turns(turns: list[Json], dialect: Dialect) -> None:
    assert any(turn["role"] != "system" for turn in turns)
    waiting: list[str] = []
    for index, turn in enumerate(turns):
        assert turn["role"] in ("system", "user", "assistant", "tool")
        if turn["role"] == "tool":
            waiting.remove(turn["tool_call_id"])
            _check_content(turn["content"], "tool", dialect)
            continue
        assert not waiting, f"a {turn['role']} message between a call and its result"
        if turn["role"] == "assistant":
            waiting = _check_answer(turn, dialect)
            continue
        assert turn["role"] == "user" or index == 0 or dialect.inline_system
        assert turn["content"]
        _check_content(turn["content"], turn["role"], dialect)
    assert not waiting


def _check_answer(turn: Json, dialect: Dialect) -> list[str]:
    calls = turn.get("tool_calls", [])
    assert "tool_calls" not in turn or calls
    assert turn.get("content") or calls or turn.keys() & {"reasoning_content", "reasoning", "reasoning_details"}
    assert "content" in turn or not dialect.content_required
    assert not calls or not dialect.reasoning_required or turn["reasoning_content"]
    ids = [call["id"] for call in calls]
    assert len(ids) == len(set(ids))
    for call in calls:
        assert 0 < len(call["id"]) <= dialect.id_max
        assert call["type"] == "function"
        assert _NAME.fullmatch(call["function"]["name"])
        assert isinstance(json.loads(call["function"]["arguments"]), dict)
    return ids


def _check_content(content: Any, role: str, dialect: Dialect) -> None:
    if isinstance(content, str):
        return
    assert content
    allowed = {"text"}
    if role == "user":
        allowed |= {"image_url", "file"}
    if role == "tool" and dialect.result_images is ResultImages.TOOL:
        allowed |= {"image_url"}
    if role == "tool" and dialect.tool_references:
        allowed |= {"tool_reference"}
    for part in content:
        assert part["type"] in allowed
        assert part["type"] != "text" or part["text"].strip()
        assert part["type"] != "file" or dialect.files


def _check_tools(request: Json) -> None:
    tools, choice = request.get("tools"), request.get("tool_choice")
    if tools is None:
        assert choice is None
        assert "parallel_tool_calls" not in request
        return
    assert tools
    names = [tool["function"]["name"] for tool in tools]
    assert len(names) == len(set(names))
    assert all(_NAME.fullmatch(name) for name in names)
    for tool in tools:
        schema = tool["function"]["parameters"]
        assert "type" in schema
        assert schema["type"] != "object" or "properties" in schema
    assert choice in (None, "auto", "none", "required") or choice["function"]["name"] in names
