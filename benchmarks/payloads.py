"""Deterministic request bodies in the shape that coding agents send, in both wires.

``small`` has about 1 KB; ``agent`` about 200 KB: a system prompt in two blocks, 20 tools, 60 messages with calls and results; ``big``
about 1 MB. One text in four has characters outside ASCII, as conversations have.
"""

from __future__ import annotations

import functools
import random
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

Wire: TypeAlias = Literal["messages", "chat"]
Size: TypeAlias = Literal["small", "agent", "big"]

WIRES: tuple[Wire, ...] = ("messages", "chat")
SIZES: tuple[Size, ...] = ("small", "agent", "big")

_WORDS = [
    "the", "file", "returns", "value", "index", "buffer", "stream", "client", "request", "token", "parse", "header", "chunk", "async",
    "await", "yield", "update", "error", "path", "class", "def",
]  # fmt: skip
_FOREIGN = ("naïve", "café", "数据", "→", "größe")


class _Shape(NamedTuple):
    """Numbers of tools and exchanges, and characters per text of each kind."""

    tools: int
    exchanges: int
    system: int
    description: int
    text: int


_SHAPES: dict[Size, _Shape] = {
    "small": _Shape(tools=1, exchanges=0, system=150, description=40, text=300),
    "agent": _Shape(tools=20, exchanges=29, system=7_000, description=1_000, text=2_700),
    "big": _Shape(tools=20, exchanges=29, system=9_000, description=1_600, text=16_000),
}


@functools.cache
def request(wire: Wire, size: Size, model: str = "mock", *, stream: bool = False) -> bytes:
    """The body of a request to ``/v1/messages`` or ``/v1/chat/completions``."""
    conversation = _conversation(size)
    members = conversation if wire == "messages" else _to_chat(conversation)
    body: dict[str, Any] = {"model": model, "max_tokens": 4096, **members}
    if stream:
        body["stream"] = True
        if wire == "chat":
            body["stream_options"] = {"include_usage": True}
    return msgspec.json.encode(body)


def _conversation(size: Size) -> dict[str, Any]:
    shape, dice = _SHAPES[size], random.Random(size)
    messages: list[dict[str, Any]] = [{"role": "user", "content": _text(dice, shape.text)}]
    for turn in range(shape.exchanges):
        call = {
            "type": "tool_use",
            "id": f"toolu_{turn:024}",
            "name": f"Tool{turn % shape.tools}",
            "input": {"path": f"src/file_{turn}.py", "edits": [{"old": _text(dice, shape.text // 4), "new": _text(dice, shape.text // 4)}]},
        }
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": _text(dice, shape.text)}
        messages.append({"role": "assistant", "content": [{"type": "text", "text": _text(dice, shape.text // 3)}, call]})
        messages.append({"role": "user", "content": [result]})
    if shape.exchanges:
        messages.append({"role": "assistant", "content": [{"type": "text", "text": "Done so far."}]})
        messages.append({"role": "user", "content": "Go on, please."})
    system = [{"type": "text", "text": "You are a coding agent."}, {"type": "text", "text": _text(dice, shape.system)}]
    return {"system": system, "tools": [_tool(dice, number, shape.description) for number in range(shape.tools)], "messages": messages}


def _tool(dice: random.Random, number: int, description: int) -> dict[str, Any]:
    properties = {f"option_{index}": {"type": "string", "description": _text(dice, 80)} for index in range(6)}
    schema = {"type": "object", "properties": properties, "required": ["option_0"], "additionalProperties": False}
    return {"name": f"Tool{number}", "description": _text(dice, description), "input_schema": schema}


def _text(dice: random.Random, length: int) -> str:
    words = [*_WORDS, dice.choice(_FOREIGN)] if dice.random() < 0.25 else _WORDS
    lines: list[str] = []
    while sum(map(len, lines)) + len(lines) < length:
        lines.append("    " * dice.randrange(3) + " ".join(dice.choices(words, k=10)) + dice.choice(("", ":", ' = "x"', "\t# note")))
    return "\n".join(lines)[:length]


def _to_chat(conversation: dict[str, Any]) -> dict[str, Any]:
    """The same conversation as a chat client would hold it; written for these bodies only."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": "\n".join(block["text"] for block in conversation["system"])}]
    for message in conversation["messages"]:
        content = message["content"]
        if isinstance(content, str):
            messages.append({"role": message["role"], "content": content})
        elif message["role"] == "user":
            messages += [{"role": "tool", "tool_call_id": block["tool_use_id"], "content": block["content"]} for block in content]
        else:
            calls = [
                {
                    "id": block["id"],
                    "type": "function",
                    "function": {"name": block["name"], "arguments": msgspec.json.encode(block["input"]).decode()},
                }
                for block in content[1:]
            ]
            messages.append({"role": "assistant", "content": content[0]["text"]} | ({"tool_calls": calls} if calls else {}))
    functions = [
        {"name": tool["name"], "description": tool["description"], "parameters": tool["input_schema"]} for tool in conversation["tools"]
    ]
    return {"messages": messages, "tools": [{"type": "function", "function": function} for function in functions]}
