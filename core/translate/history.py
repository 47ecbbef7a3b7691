"""Blocks of a history that only Anthropic could make: shown as text to whoever cannot run them again."""

from __future__ import annotations

import msgspec

from core.wire import messages
from core.wire.codec import decoder, given


class _Piece(msgspec.Struct):
    """Any part of a server tool's result that a reader can make use of."""

    type: str | None = None
    title: str | None = None
    url: str | None = None
    text: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    tool_name: str | None = None
    error_code: str | None = None
    content: object = None
    tool_references: object = None


def render_server_block(block: messages.Block) -> str | None:
    """The text of a block of a server tool; "" when it says nothing, None when it is no such block.

    Calls say nothing (their results follow); encrypted parts are lost.
    """
    match block:
        case messages.ServerToolUse() | messages.McpToolUse() | messages.Fallback() | messages.McpToolListing():
            return ""
        case messages.Compaction():
            return block.content or ""
        case messages.ServerResult():
            return _render(decoder(object).decode(bytes(block.content))) if given(block.content) else ""
    return None


def _render(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(text for one in value if (text := _render(one)))
    if not isinstance(value, dict):
        return ""
    try:
        piece = msgspec.convert(value, _Piece)
    except msgspec.ValidationError:
        return ""
    error = f"error: {piece.error_code}" if piece.error_code else None
    own = [piece.title, piece.url, piece.text, piece.stdout, piece.stderr, piece.tool_name, error]
    return "\n".join([one for one in own if one] + [text for one in (piece.content, piece.tool_references) if (text := _render(one))])
