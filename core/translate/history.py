"""Blocks of a history that only Anthropic could make: shown as text to whoever cannot run them again."""

from __future__ import annotations

from typing import Any, Final

from core.wire import messages
from core.wire.codec import ABSENT, value_of

#: Members that say something to a reader, in the order in which they are shown. Encrypted ones, ids and counts say nothing.
_TEXTS: Final = ("title", "url", "text", "stdout", "stderr", "tool_name")
#: Members that hold more of the same.
_NESTED: Final = ("content", "tool_references", "lines")


def render_server_block(block: messages.Block) -> str | None:
    """The text of a block of a server tool; "" when it says nothing, None when it is no such block.

    Calls say nothing (their results follow); encrypted parts are lost.
    """
    match block:
        case messages.ServerToolUse() | messages.McpToolUse() | messages.Fallback() | messages.McpToolListing():
            return ""
        case messages.ServerResult():
            text = _render(_content(block))
            return f"Error: {text}" if block.is_error else text
    return None


def found_tools(block: messages.ToolSearchToolResult) -> list[str]:
    """Names of the deferred tools that a tool search of the vendor brought into play."""
    content = _content(block)
    references = content.get("tool_references") if isinstance(content, dict) else None
    if not isinstance(references, list):
        return []
    return [name for one in references if isinstance(one, dict) and isinstance(name := one.get("tool_name"), str)]


def _content(block: messages.ServerResult) -> object:
    return value_of(block.content) if block.content is not ABSENT else None


def _render(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(text for one in value if (text := _render(one)))
    return "\n".join(_lines(value)) if isinstance(value, dict) else ""


def _lines(piece: dict[str, Any]) -> list[str]:
    own = [text for name in _TEXTS if isinstance(text := piece.get(name), str) and text]
    if isinstance(code := piece.get("error_code"), str):
        own.append(f"error: {code}")
    source = piece.get("source")  # of a fetched document; a PDF stays out, its base64 is nothing to read
    if isinstance(source, dict) and source.get("type") == "text" and isinstance(text := source.get("data"), str):
        own.append(text)
    return own + [text for name in _NESTED if (text := _render(piece.get(name)))]
