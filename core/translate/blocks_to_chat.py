"""Content blocks of a user turn or a tool result as parts of a chat message."""

from __future__ import annotations

from typing import TypeVar

from core.dialects import CacheMarks, Dialect
from core.translate.history import found_tools, render_server_block
from core.translate.images import document_to_parts, image_to_part
from core.translate.loss import Losses, asks
from core.translate.naming import ToolNames
from core.translate.tools import ToolChanges, kept_mark
from core.wire import chat, messages
from core.wire.codec import compact, given, text_of

_Part = TypeVar("_Part", bound=chat.TextPart | chat.ImagePart | chat.FilePart)


class Blocks:
    """Translates blocks for one request, and notes in ``tools`` which deferred tools they bring into play."""

    def __init__(self, dialect: Dialect, names: ToolNames, losses: Losses) -> None:
        self.dialect = dialect
        self.names = names
        self.losses = losses
        self.tools = ToolChanges()
        self.keeps_marks = dialect.cache_control is not CacheMarks.STRIP or dialect.cache_breakpoints

    def to_parts(self, block: messages.Block, path: str) -> list[chat.Part]:
        """``block`` as parts, none when a chat message has no place for it (a ``Loss``). Raises ``BadRequest`` for what it must hold."""
        match block:
            case messages.Text():
                return [self.text(block, path)]
            case messages.Image() | messages.ImageUrlPart() | messages.InputImage():
                return [self.marked(image_to_part(block, path, self.dialect, self.losses), block.cache_control)]
            case messages.Document():
                return self._document(block, path)
            case messages.SearchResult():
                return [self._search_result(block, path)]
            case messages.ToolReference():
                self.tools.referenced.add(block.tool_name)
                return [chat.TextPart(self.names.there(block.tool_name))]
            case messages.BrowserState():
                return [self.marked(chat.TextPart(_browser_text(block)), block.cache_control)]
        rendered = self.rendered(block, path)
        return [chat.TextPart(rendered)] if rendered else []

    def text(self, block: messages.Text, path: str) -> chat.TextPart:
        self.check_citations(block, path)
        return self.marked(chat.TextPart(block.text), block.cache_control)

    def check_citations(self, block: messages.Text | messages.SearchResult, path: str) -> None:
        if asks(block.citations):
            self.losses.drop(f"{path}.citations", "citations", "a chat message holds none")

    def marked(self, part: _Part, mark: messages.CacheControl | None) -> _Part:
        """``part`` with the cache breakpoint of its block, as the upstream has it."""
        if mark is None or not self.keeps_marks:
            return part
        if self.dialect.cache_breakpoints:
            # The lifetimes are 30 minutes and 12 hours: the shortest one that is long enough.
            part.prompt_cache_breakpoint = chat.CacheBreakpoint(mode="explicit", ttl="12h" if mark.ttl == "1h" else None)
        else:
            part.cache_control = kept_mark(mark, self.dialect)
        return part

    def rendered(self, block: messages.Block, path: str) -> str:
        """The text of a block of a server tool. What says nothing here is a ``Loss``."""
        if isinstance(block, messages.ToolSearchToolResult):
            self.tools.referenced.update(found_tools(block))
        text = render_server_block(block) or ""
        if not text.strip():
            tag = str(block.__struct_config__.tag)
            self.losses.drop(path, tag, "has no twin in a chat message")
        return text

    def _document(self, block: messages.Document, path: str) -> list[chat.Part]:
        parts = document_to_parts(block, path, self.dialect, self.losses)
        if parts:
            self.marked(parts[-1], block.cache_control)
        return [*parts]

    def _search_result(self, block: messages.SearchResult, path: str) -> chat.TextPart:
        self.check_citations(block, path)
        text = "\n".join([block.title, block.source, *(part.text for part in block.content)])
        return self.marked(chat.TextPart(text), block.cache_control)


def _browser_text(block: messages.BrowserState) -> str:
    """Every open tab, and what changed: the vendor shows its model a text made of these."""
    text = f"Open tabs: {text_of(compact(block.tabs))}"
    return f"{text}\nChanges: {text_of(compact(block.state_changes))}" if given(block.state_changes) else text
