"""The turns of a Messages conversation as chat messages.

What chat demands and Messages does not: every ``tool`` message right behind the assistant message that called, one for each call, before
anything else of the user's. So a run of turns between two assistant turns is laid out anew: results first, then the user's own content.
"""

from __future__ import annotations

import re
from typing import Final

from core.dialects import CacheMarks, Dialect, ReasoningField, ResultImages
from core.translate.history import render_server_block
from core.translate.images import document_to_parts, image_to_part
from core.translate.loss import Losses, refuse
from core.translate.naming import CallIds, ToolNames
from core.wire import chat, messages
from core.wire.codec import compact, decoder, members, text_of

#: Between two blocks of a system prompt. Any constant serves; it must never change, or every prefix cache is lost.
SYSTEM_SEPARATOR: Final = "\n\n"
#: What an unanswered call is answered with: chat upstreams refuse a call without a result.
NO_RESULT: Final = "No result: the tool call was interrupted."
#: The text of a result that was nothing but images, which a tool message cannot hold.
IMAGES_FOLLOW: Final = "[The result is in the next user message.]"
_BILLING: Final = "x-anthropic-billing-header"
_SAYS_ERROR: Final = re.compile(r"\W*(?:\w+\W+){0,2}error", re.IGNORECASE)


class Conversation:
    """Builds ``turns`` from Messages turns. ``effort``: the last effort a system turn asked for."""

    def __init__(self, dialect: Dialect, names: ToolNames, losses: Losses) -> None:
        self.dialect = dialect
        self.names = names
        self.losses = losses
        self.ids = CallIds(dialect.id_max)
        self.turns: list[chat.Turn] = []
        self.effort: str | None = None
        self._open: dict[str, str] = {}  # calls without a result yet: client's id -> upstream's
        self._removed: set[str] = set()
        self._referenced: set[str] = set()
        self._keeps_marks = dialect.cache_control is not CacheMarks.STRIP or dialect.cache_breakpoints

    @property
    def referenced(self) -> frozenset[str]:
        """Names of deferred tools that the conversation has brought into play."""
        return frozenset(self._referenced)

    def with_tool_changes(self, told: list[chat.Tool]) -> list[chat.Tool]:
        """``told`` without the tools that a system turn took away."""
        gone = {self.names.there(name) for name in self._removed}
        return [tool for tool in told if tool.function is None or tool.function.name not in gone]

    # ------------------------------------------------------------------ system

    def add_system(self, system: str | list[messages.Text] | None) -> None:
        blocks = [messages.Text(system)] if isinstance(system, str) else system or []
        kept = [messages.Text(text, block.cache_control) for block in blocks if (text := _without_billing(block.text)).strip()]
        if not kept:
            return
        if self._keeps_marks and any(block.cache_control for block in kept):
            self.turns.append(chat.Turn("system", [self._text(block) for block in kept]))
        else:
            self.turns.append(chat.Turn("system", SYSTEM_SEPARATOR.join(block.text for block in kept)))

    def _text(self, block: messages.Text) -> chat.TextPart:
        part = chat.TextPart(block.text)
        mark = block.cache_control
        if mark is None:
            return part
        if self.dialect.cache_breakpoints:
            part.prompt_cache_breakpoint = chat.CacheBreakpoint(mode="explicit")
        elif self.dialect.cache_control is CacheMarks.KEEP:
            part.cache_control = messages.CacheControl(mark.type, mark.ttl)
        elif self.dialect.cache_control is CacheMarks.NO_TTL:
            part.cache_control = messages.CacheControl(mark.type)
        return part

    def _instructions(self, turn: messages.Turn, path: str) -> str:
        """The text of a system turn, after its side effects on tools and effort."""
        if turn.output_config is not None and turn.output_config.effort is not None:
            self.effort = turn.output_config.effort
        if isinstance(turn.content, str):
            return _without_billing(turn.content)
        texts = []
        for index, block in enumerate(turn.content or ()):
            if isinstance(block, messages.Text):
                texts.append(_without_billing(block.text))
            elif isinstance(block, messages.ToolAddition | messages.ToolRemoval):
                self._change_tools(block)
            else:
                self.losses.drop(f"{path}.content[{index}]", "system block", "system turns hold text only")
        return SYSTEM_SEPARATOR.join(text for text in texts if text.strip())

    def _change_tools(self, block: messages.ToolAddition | messages.ToolRemoval) -> None:
        tool = members(block.tool)
        raw = tool.get("name") or tool.get("tool_name")
        name = decoder(str).decode(bytes(raw)) if raw is not None else ""
        if isinstance(block, messages.ToolAddition):
            self._referenced.add(name)
            self._removed.discard(name)
        else:
            self._removed.add(name)

    # ------------------------------------------------------------------ turns

    def add_turns(self, turns: list[messages.Turn]) -> None:
        index = 0
        last_user = max((number for number, turn in enumerate(turns) if turn.role == "user"), default=-1)
        while index < len(turns):
            if turns[index].role == "assistant":
                self._add_assistant(turns[index], f"messages[{index}]")
                index += 1
                continue
            start = index
            while index < len(turns) and turns[index].role != "assistant":
                index += 1
            self._add_run(turns, start, index, last_user)
        self._answer_open_calls()

    def _add_run(self, turns: list[messages.Turn], start: int, end: int, last_user: int) -> None:
        """The turns between two assistant turns: all results first, then everything else in order."""
        hoisted: list[chat.Part] = []
        rest = [self._take_results(turns[number], f"messages[{number}]", hoisted) for number in range(start, end)]
        self._answer_open_calls()
        for number, blocks in enumerate(rest, start):
            turn, path = turns[number], f"messages[{number}]"
            if turn.role == "system":
                self._add_instructions(turn, path, expired=turn.clear_at == "next_user_message" and last_user > number)
            elif turn.role == "user":
                self._add_user(turn.content, blocks, hoisted)
                hoisted = []
            else:
                raise refuse(f"{path}.role", f'unknown role "{turn.role}"; expected user, assistant or system')

    def _take_results(self, turn: messages.Turn, path: str, hoisted: list[chat.Part]) -> list[tuple[str, messages.Block]]:
        """Write the results that answer open calls; what else a user turn holds, with its paths, stays for later."""
        rest: list[tuple[str, messages.Block]] = []
        if turn.role != "user" or not isinstance(turn.content, list):
            return rest
        for index, block in enumerate(turn.content):
            place = f"{path}.content[{index}]"
            if isinstance(block, messages.ToolResult) and block.tool_use_id in self._open:
                self._add_result(block, place, hoisted)
            else:
                rest.append((place, block))
        return rest

    def _answer_open_calls(self) -> None:
        for call_id, there in self._open.items():
            self.turns.append(chat.Turn("tool", NO_RESULT, tool_call_id=there))
            self.losses.drop("messages", "tool_use without tool_result", f"the call {call_id} has no result; one was put in that says so")
        self._open = {}

    def _add_instructions(self, turn: messages.Turn, path: str, *, expired: bool) -> None:
        text = self._instructions(turn, path)
        if expired or not text.strip():
            return
        if all(one.role == "system" for one in self.turns):  # before any turn: part of the system prompt
            self.add_system(text) if not self.turns else self._extend(self.turns[-1], text)
        elif self.dialect.inline_system:
            self.turns.append(chat.Turn("system", text))
        else:  # never hoisted to the front, which would rewrite the head of the prompt
            self._fold(text)

    def _fold(self, text: str) -> None:
        last = self.turns[-1]
        if last.role in ("user", "tool"):
            self._extend(last, text)
        else:
            self.turns.append(chat.Turn("user", text))

    @staticmethod
    def _extend(turn: chat.Turn, text: str) -> None:
        if isinstance(turn.content, list):
            turn.content.append(chat.TextPart(text))
        else:
            turn.content = f"{turn.content}{SYSTEM_SEPARATOR}{text}" if turn.content else text

    # ------------------------------------------------------------------ user

    def _add_user(
        self, content: str | list[messages.Block] | None, blocks: list[tuple[str, messages.Block]], hoisted: list[chat.Part]
    ) -> None:
        parts = list(hoisted)
        if isinstance(content, str):
            parts.append(chat.TextPart(content))
        for path, block in blocks:
            parts.extend(self._user_parts(block, path))
        self._add_parts(parts)

    def _add_parts(self, parts: list[chat.Part]) -> None:
        kept = [part for part in parts if not isinstance(part, chat.TextPart) or part.text.strip()]
        if len(kept) == 1 and isinstance(only := kept[0], chat.TextPart) and not (only.cache_control or only.prompt_cache_breakpoint):
            self.turns.append(chat.Turn("user", only.text))
        elif kept:
            self.turns.append(chat.Turn("user", kept))

    def _user_parts(self, block: messages.Block, path: str) -> list[chat.Part]:
        match block:
            case messages.Text():
                return [self._text(block)]
            case messages.Image():
                return [image_to_part(block, path)]
            case messages.Document():
                return document_to_parts(block, path, self.dialect)
            case messages.SearchResult():
                return [chat.TextPart(_search_text(block))]
            case messages.ToolResult():
                return self._orphan(block, path)
            case messages.ToolReference():
                self._referenced.add(block.tool_name)
                return [chat.TextPart(block.tool_name)]
        rendered = render_server_block(block)
        if rendered is None or not rendered.strip():
            self.losses.drop(path, _type_of(block), "has no twin in a chat message")
            return []
        return [chat.TextPart(rendered)]

    def _orphan(self, block: messages.ToolResult, path: str) -> list[chat.Part]:
        """A result whose call is gone (or was answered already): its text goes to the user's turn, where no pairing is asked for."""
        hoisted: list[chat.Part] = []
        text = self._result_text(block, path, hoisted)
        self.losses.drop(path, "tool_result without tool_use", f"no call {block.tool_use_id} stands before it; its text went to the user's turn")
        return [chat.TextPart(f"[Result of an earlier tool call]\n{text}"), *hoisted]

    # ------------------------------------------------------------------ tool results

    def _add_result(self, block: messages.ToolResult, path: str, hoisted: list[chat.Part]) -> None:
        there = self._open.pop(block.tool_use_id)
        images: list[chat.Part] = []
        text = self._result_text(block, path, images)
        if images and self.dialect.result_images is ResultImages.TOOL:
            parts: list[chat.Part] = [chat.TextPart(text)] if text else []
            self.turns.append(chat.Turn("tool", [*parts, *images], tool_call_id=there))
            return
        hoisted.extend(images)
        self.turns.append(chat.Turn("tool", text or (IMAGES_FOLLOW if images else ""), tool_call_id=there))

    def _result_text(self, block: messages.ToolResult, path: str, hoisted: list[chat.Part]) -> str:
        parts = [messages.Text(block.content)] if isinstance(block.content, str) else block.content or []
        texts = [text for index, part in enumerate(parts) if (text := self._result_part(part, f"{path}.content[{index}]", hoisted)) is not None]
        text = "\n".join(texts)
        if block.is_error and not _SAYS_ERROR.match(text):
            text = f"Error: {text}"
        return text

    def _result_part(self, part: messages.ResultPart, path: str, hoisted: list[chat.Part]) -> str | None:
        match part:
            case messages.Text():
                return part.text
            case messages.Image():
                hoisted.append(image_to_part(part, path))
                return None
            case messages.Document():
                return self._result_document(part, path, hoisted)
            case messages.SearchResult():
                return _search_text(part)
            case messages.ToolReference():
                self._referenced.add(part.tool_name)
                return part.tool_name
            case messages.BrowserState():
                return text_of(compact(part.tabs))

    def _result_document(self, part: messages.Document, path: str, hoisted: list[chat.Part]) -> str | None:
        found = document_to_parts(part, path, self.dialect)
        texts = [one.text for one in found if isinstance(one, chat.TextPart)]
        hoisted.extend(one for one in found if not isinstance(one, chat.TextPart))
        return "\n".join(texts) if texts else None

    # ------------------------------------------------------------------ assistant

    def _add_assistant(self, turn: messages.Turn, path: str) -> None:
        self._answer_open_calls()
        if isinstance(turn.content, str):
            if turn.content.strip():
                self.turns.append(self._assistant(turn.content, [], []))
            return
        text: list[str] = []
        thoughts: list[messages.Thinking | messages.RedactedThinking] = []
        calls: list[chat.ToolCall] = []
        for index, block in enumerate(turn.content or ()):
            match block:
                case messages.Text():
                    text.append(block.text)
                case messages.Thinking() | messages.RedactedThinking():
                    thoughts.append(block)
                case messages.ToolUse():
                    calls.append(self._call(block))
                case _:
                    self._add_foreign(block, f"{path}.content[{index}]", text)
        content = "".join(text)
        if content.strip() or calls or thoughts:
            self.turns.append(self._assistant(content, thoughts, calls, path))

    def _call(self, block: messages.ToolUse) -> chat.ToolCall:
        there = self._open[block.id] = self.ids.there(block.id)
        arguments = text_of(compact(block.input))
        return chat.ToolCall(there, "function", chat.FunctionCall(self.names.there(block.name), arguments))

    def _add_foreign(self, block: messages.Block, path: str, text: list[str]) -> None:
        rendered = render_server_block(block)
        if rendered:
            text.append(f"\n\n{rendered}\n\n" if text else f"{rendered}\n\n")
        else:
            self.losses.drop(path, _type_of(block), "has no twin in a chat message")

    def _assistant(
        self,
        content: str,
        thoughts: list[messages.Thinking | messages.RedactedThinking],
        calls: list[chat.ToolCall],
        path: str = "",
    ) -> chat.Turn:
        text = content if content.strip() else None
        kind = chat.NullContentTurn if text is None and self.dialect.null_content else chat.Turn
        turn = kind("assistant", text)
        if calls:
            turn.tool_calls = calls
        self._reason(turn, thoughts, path)
        if self.dialect.reasoning_required and calls and not turn.reasoning_content:
            turn.reasoning_content = " "
        return turn

    def _reason(self, turn: chat.Turn, thoughts: list[messages.Thinking | messages.RedactedThinking], path: str) -> None:
        field = self.dialect.reasoning
        if field is ReasoningField.DETAILS and thoughts:
            turn.reasoning_details = [_detail(one) for one in thoughts]
            return
        if any(isinstance(one, messages.RedactedThinking) for one in thoughts):
            self.losses.drop(f"{path}.content", "redacted_thinking", "only Anthropic can read it")
        text = "".join(one.thinking for one in thoughts if isinstance(one, messages.Thinking))
        if not text:
            return
        if field is ReasoningField.CONTENT:
            turn.reasoning_content = text
        elif field is ReasoningField.REASONING:
            turn.reasoning = text
        else:
            self.losses.drop(f"{path}.content", "thinking", f"this upstream ({self.dialect.name}) takes no reasoning back")


def _detail(block: messages.Thinking | messages.RedactedThinking) -> chat.ReasoningDetail:
    if isinstance(block, messages.RedactedThinking):
        return chat.ReasoningDetail("reasoning.encrypted", data=block.data)
    return chat.ReasoningDetail("reasoning.text", text=block.thinking, signature=block.signature or None)


def _search_text(block: messages.SearchResult) -> str:
    return "\n".join([block.title, block.source, *(part.text for part in block.content)])


def _type_of(block: messages.Block) -> str:
    return str(block.__struct_config__.tag)


def _without_billing(text: str) -> str:
    """``text`` without Claude Code's billing line, whose nonce differs on every request and so defeats every prefix cache."""
    if not text.startswith(_BILLING):
        return text
    return text.partition("\n")[2]
