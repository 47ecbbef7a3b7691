"""The turns of a Messages conversation as chat messages.

What chat demands and Messages does not: every ``tool`` message right behind the assistant message that called, one for each call, before
anything else of the user's. So a run of turns between two assistant turns is laid out anew: results first, then the user's own content.

What a turn becomes depends on the turns before it, never on those behind it (but for instructions that expire, and those that are folded
into the turn before): a conversation that grows keeps its translated beginning, byte for byte, and with it the upstream's prefix cache.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, TypeAlias

from core.dialects import Dialect, ReasoningField, ResultImages
from core.errors import BadRequest
from core.translate.blocks_to_chat import Blocks
from core.translate.loss import Losses, refuse
from core.translate.naming import CallIds, ToolNames
from core.translate.tools import ToolChanges
from core.wire import chat, messages
from core.wire.codec import compact, text_of
from core.wire.envelope import MAX_DEPTH, is_deeper_than

#: Between two blocks of a system prompt. Any constant serves; it must never change, or every prefix cache is lost.
SYSTEM_SEPARATOR: Final = "\n\n"
#: Between the texts of a tool result. As constant as the other.
_RESULT_SEPARATOR: Final = "\n"
#: What an unanswered call is answered with: chat upstreams refuse a call without a result.
NO_RESULT: Final = "No result: the tool call was interrupted."
#: The text of a result that was nothing but images, which a tool message cannot hold.
IMAGES_FOLLOW: Final = "[The result is in the next user message.]"
#: What stands before a result without a call, in the user's turn.
ORPHAN: Final = "[Result of an earlier tool call]"
#: Claude Code's first system block. Its nonce differs on every request and so defeats every prefix cache but Anthropic's own.
_BILLING: Final = "x-anthropic-billing-header"
#: A text whose first word says that it is an error: "Error: ...", "<tool_use_error>...", "TypeError: ...".
_SAYS_ERROR: Final = re.compile(r"\W*\w*error", re.IGNORECASE)

_Thought: TypeAlias = messages.Thinking | messages.RedactedThinking
#: Parts that a tool message may hold by everyone's rules; others need ``ResultImages.TOOL``.
_STAYS: Final = (chat.TextPart, chat.ToolReferencePart)


class Conversation:
    """Builds ``turns`` from Messages turns.

    ``effort`` is the last effort a system turn asked for, ``tools`` what the turns did to the tools.
    """

    def __init__(self, dialect: Dialect, names: ToolNames, losses: Losses) -> None:
        self.dialect = dialect
        self.names = names
        self.losses = losses
        self.blocks = Blocks(dialect, names, losses)
        self.ids = CallIds(dialect.id_max)
        self.turns: list[chat.Turn] = []
        self.effort: str | None = None
        self._open: dict[str, tuple[str, str]] = {}  # calls without a result yet: client's id -> upstream's, and where the call stands

    @property
    def tools(self) -> ToolChanges:
        return self.blocks.tools

    # ------------------------------------------------------------------ system

    def add_system(self, system: str | list[messages.Text] | None) -> None:
        """Write the system prompt, without Claude Code's billing line. Blank blocks are left out."""
        blocks = [messages.Text(system)] if isinstance(system, str) else system or []
        kept = [messages.Text(text, block.cache_control) for block in blocks if (text := self._kept(block.text)).strip()]
        if self.blocks.keeps_marks and any(block.cache_control for block in kept):
            self.turns.append(chat.Turn("system", [self.blocks.text(block, "system") for block in kept]))
        elif kept:
            self.turns.append(chat.Turn("system", SYSTEM_SEPARATOR.join(block.text for block in kept)))

    def _kept(self, text: str) -> str:
        """A text of the system's, without the billing line."""
        return text.partition("\n")[2] if text.startswith(_BILLING) and not self.dialect.billing_header else text

    def _instructions(self, turn: messages.Turn, path: str) -> str:
        """The text of a system turn, after its side effects on tools and effort."""
        if turn.output_config is not None and turn.output_config.effort is not None:
            self.effort = turn.output_config.effort
        if isinstance(turn.content, str):
            return self._kept(turn.content)
        texts = []
        for index, block in enumerate(turn.content or ()):
            place = f"{path}.content[{index}]"
            if isinstance(block, messages.Text):
                self.blocks.check_citations(block, place)
                texts.append(self._kept(block.text))
            elif isinstance(block, messages.ToolAddition | messages.ToolRemoval):
                self.tools.change(block, place, self.losses)
            else:
                self.losses.drop(place, str(block.__struct_config__.tag), "system turns hold text only")
        return SYSTEM_SEPARATOR.join(text for text in texts if text.strip())

    def _add_instructions(self, turn: messages.Turn, path: str, *, expired: bool) -> None:
        text = self._instructions(turn, path)
        if expired or not text.strip():
            return
        if not self.turns:
            self.turns.append(chat.Turn("system", text))
        elif len(self.turns) == 1 and self.turns[0].role == "system":  # before any turn: part of the system prompt
            _extend(self.turns[0], text)
        elif self.dialect.inline_system:
            self.turns.append(chat.Turn("system", text))
        elif (last := self.turns[-1]).role in ("user", "tool"):
            _extend(last, text)
        else:  # never hoisted to the front, which would rewrite the head of the prompt
            self.turns.append(chat.Turn("user", text))

    # ------------------------------------------------------------------ turns

    def add_turns(self, turns: Sequence[messages.Turn]) -> None:
        """Write all turns. ``BadRequest`` for an unknown role, and for a block that may be neither carried nor left out."""
        index = 0
        last_user = max((number for number, turn in enumerate(turns) if turn.role == "user"), default=-1)
        while index < len(turns):
            start = index
            while index < len(turns) and turns[index].role != "assistant":
                index += 1
            if start < index:
                self._add_run(turns, range(start, index), last_user)
            if index < len(turns):
                self._answer_open_calls()
                self._add_assistant(turns[index], f"messages[{index}]")
                index += 1
        self._answer_open_calls()

    def _add_run(self, turns: Sequence[messages.Turn], run: range, last_user: int) -> None:
        """The turns between two assistant turns: all results first, then everything else in order."""
        hoisted: list[chat.Part] = []
        rest = [self._take_results(turns[number], f"messages[{number}]", hoisted) for number in run]
        self._answer_open_calls()
        for number, blocks in zip(run, rest, strict=True):
            turn, path = turns[number], f"messages[{number}]"
            self._check_extras(turn, path)
            if turn.role == "user":
                if blocks or hoisted or isinstance(turn.content, str):
                    self._add_user(turn, blocks, path, hoisted)
                    hoisted = []
            elif turn.role == "system":
                self._add_instructions(turn, path, expired=turn.clear_at == "next_user_message" and last_user > number)
            else:
                raise refuse(f"{path}.role", f'unknown role "{turn.role}"; expected user, assistant or system')

    def _take_results(self, turn: messages.Turn, path: str, hoisted: list[chat.Part]) -> list[tuple[int, messages.Block]]:
        """Write the results that answer open calls; what else a user turn holds, with its indices, stays for later."""
        if turn.role != "user" or not isinstance(turn.content, list):
            return []
        if not self._open:
            return list(enumerate(turn.content))
        rest: list[tuple[int, messages.Block]] = []
        for index, block in enumerate(turn.content):
            if isinstance(block, messages.ToolResult) and (call := self._open.pop(block.tool_use_id, None)) is not None:
                self._add_result(block, call[0], f"{path}.content[{index}]", hoisted)
            else:
                rest.append((index, block))
        return rest

    def _answer_open_calls(self) -> None:
        for there, path in self._open.values():
            self.turns.append(chat.Turn("tool", NO_RESULT, tool_call_id=there))
            self.losses.drop(
                path, "tool_use without tool_result", "chat upstreams refuse a call without a result; one that says so was put in"
            )
        self._open.clear()

    # ------------------------------------------------------------------ user

    def _add_user(self, turn: messages.Turn, blocks: list[tuple[int, messages.Block]], path: str, hoisted: list[chat.Part]) -> None:
        """A user turn without the results that are written already; first of all what those could not hold."""
        parts = hoisted
        if isinstance(turn.content, str):
            parts.append(chat.TextPart(turn.content))
        for index, block in blocks:
            place = f"{path}.content[{index}]"
            parts.extend(self._orphan(block, place) if isinstance(block, messages.ToolResult) else self.blocks.to_parts(block, place))
        kept = [part for part in parts if not isinstance(part, chat.TextPart) or part.text.strip()]
        if kept:
            self.turns.append(chat.Turn("user", _plain(kept)))

    def _check_extras(self, turn: messages.Turn, path: str) -> None:
        if turn.clear_at is None and turn.output_config is None:
            return
        for name in ("clear_at", "output_config") if turn.role != "system" else ():
            if getattr(turn, name) is not None:
                self.losses.drop(f"{path}.{name}", name, "means something in system turns only")

    def _orphan(self, block: messages.ToolResult, path: str) -> list[chat.Part]:
        """A result whose call is gone (or was answered already): it goes to the user's turn, where no pairing is asked for."""
        why = f"no open call {block.tool_use_id} stands before it; its content went to the user's turn"
        self.losses.drop(path, "tool_result without tool_use", why)
        return [chat.TextPart(ORPHAN), *self._result_parts(block, path, references=False)]

    # ------------------------------------------------------------------ tool results

    def _add_result(self, block: messages.ToolResult, there: str, path: str, hoisted: list[chat.Part]) -> None:
        if isinstance(block.content, str) and not block.is_error and (block.cache_control is None or not self.blocks.keeps_marks):
            self.turns.append(chat.Turn("tool", block.content, tool_call_id=there))  # what most results are
            return
        parts = self._result_parts(block, path, references=self.dialect.tool_references)
        if self.dialect.result_images is ResultImages.USER and not all(isinstance(part, _STAYS) for part in parts):
            hoisted.extend(part for part in parts if not isinstance(part, _STAYS))
            parts = [part for part in parts if isinstance(part, _STAYS)] or [chat.TextPart(IMAGES_FOLLOW)]
        if parts and isinstance(last := parts[-1], chat.TextPart):
            self.blocks.marked(last, block.cache_control)
        self.turns.append(chat.Turn("tool", _joined(parts), tool_call_id=there))

    def _result_parts(self, block: messages.ToolResult, path: str, *, references: bool) -> list[chat.Part]:
        parts: list[chat.Part] = []
        if isinstance(block.content, str):
            parts.append(chat.TextPart(block.content))
        for index, one in enumerate(block.content if isinstance(block.content, list) else ()):
            if references and isinstance(one, messages.ToolReference):
                self.tools.referenced.add(one.tool_name)
                parts.append(chat.ToolReferencePart(self.names.there(one.tool_name)))
            else:
                parts.extend(self.blocks.to_parts(one, f"{path}.content[{index}]"))
        if block.is_error:
            _name_error(parts)
        return parts

    # ------------------------------------------------------------------ assistant

    def _add_assistant(self, turn: messages.Turn, path: str) -> None:
        self._check_extras(turn, path)
        texts: list[str] = [turn.content] if isinstance(turn.content, str) else []
        thoughts: list[tuple[str, _Thought]] = []
        calls: list[chat.ToolCall] = []
        for index, block in enumerate(turn.content if isinstance(turn.content, list) else ()):
            place = f"{path}.content[{index}]"
            match block:
                case messages.Text():
                    self.blocks.check_citations(block, place)
                    texts.append(block.text)
                case messages.ToolUse():
                    calls.append(self._call(block, place))
                case messages.Thinking() | messages.RedactedThinking():
                    thoughts.append((place, block))
                case messages.Compaction():
                    self._add_summary(block, place)
                case _:
                    if rendered := self.blocks.rendered(block, place):
                        texts.append(f"\n\n{rendered}\n\n" if texts else f"{rendered}\n\n")
        text = "".join(texts)
        if calls or thoughts or text.strip():
            self._add_answer(text, thoughts, calls)

    def _call(self, block: messages.ToolUse, path: str) -> chat.ToolCall:
        if block.id in self._open:
            raise refuse(f"{path}.id", f'two calls of one turn have the id "{block.id}": their results could not be told apart')
        if is_deeper_than(MAX_DEPTH, block.input):
            where = f"{path}.input"
            raise BadRequest(f"{where}: nested too deep, at most {MAX_DEPTH} levels are read", code="invalid_json", param=where)
        arguments = compact(block.input)
        if not arguments.startswith(b"{"):
            raise refuse(f"{path}.input", "expected an object")
        there = self.ids.there(block.id)
        self._open[block.id] = there, path
        self.tools.referenced.add(block.name)
        return chat.ToolCall(there, "function", chat.FunctionCall(self.names.there(block.name), text_of(arguments)))

    def _add_summary(self, block: messages.Compaction, path: str) -> None:
        """The summary of what stood before: said by the user, for no model takes it for an answer of its own."""
        if block.content:
            self.turns.append(chat.Turn("user", block.content))
        elif block.encrypted_content is not None:
            self.losses.drop(path, "compaction", "only Anthropic can read it")
        self.tools.compacted(block.tool_changes, f"{path}.tool_changes", self.losses)

    def _add_answer(self, text: str, thoughts: list[tuple[str, _Thought]], calls: list[chat.ToolCall]) -> None:
        turn = chat.Turn("assistant", text if text.strip() else None)
        if calls:
            turn.tool_calls = calls
        if thoughts:
            self._reason(turn, thoughts)
        if self.dialect.reasoning_required and calls and not turn.reasoning_content:
            turn.reasoning_content = " "
        if turn.content is None and not (calls or turn.reasoning_content or turn.reasoning or turn.reasoning_details):
            return
        if turn.content is None and self.dialect.content_required:
            turn.content = ""
        self.turns.append(turn)

    def _reason(self, turn: chat.Turn, thoughts: list[tuple[str, _Thought]]) -> None:
        """Reasoning of an earlier turn where the dialect has it: never in ``content``."""
        field = self.dialect.reasoning
        if field is ReasoningField.DETAILS:
            turn.reasoning_details = [_detail(one) for _, one in thoughts]
            return
        texts = []
        for path, one in thoughts:
            if isinstance(one, messages.RedactedThinking):
                self.losses.drop(path, "redacted_thinking", "only Anthropic can read it")
            elif one.thinking and field is ReasoningField.NONE:
                self.losses.drop(path, "thinking", f"this upstream ({self.dialect.name}) takes no reasoning back")
            else:
                texts.append(one.thinking)
        text = "".join(texts) or None
        if field is ReasoningField.REASONING:
            turn.reasoning = text
        else:
            turn.reasoning_content = text


def _detail(block: _Thought) -> chat.ReasoningDetail:
    if isinstance(block, messages.RedactedThinking):
        return chat.ReasoningDetail("reasoning.encrypted", data=block.data)
    return chat.ReasoningDetail("reasoning.text", text=block.thinking, signature=block.signature or None)


def _plain(parts: list[chat.Part]) -> str | list[chat.Part]:
    """One text as a string, which every upstream takes; anything else as it is."""
    only = parts[0]
    if len(parts) == 1 and isinstance(only, chat.TextPart) and only.cache_control is None and only.prompt_cache_breakpoint is None:
        return only.text
    return parts


def _joined(parts: list[chat.Part]) -> str | list[chat.Part]:
    """The content of a tool message: one string of all texts, unless there is something that a string cannot hold."""
    texts = []
    for part in parts:
        if not isinstance(part, chat.TextPart) or part.cache_control is not None or part.prompt_cache_breakpoint is not None:
            return [one for one in parts if not isinstance(one, chat.TextPart) or one.text.strip()] or ""
        texts.append(part.text)
    return _RESULT_SEPARATOR.join(texts)


def _name_error(parts: list[chat.Part]) -> None:
    """Say in words that the call failed: chat has no member for it, and upstreams refuse an unknown one."""
    first = parts[0] if parts else None
    if not isinstance(first, chat.TextPart):
        parts.insert(0, chat.TextPart("Error"))
    elif not _SAYS_ERROR.match(first.text):
        first.text = f"Error: {first.text}" if first.text else "Error"


def _extend(turn: chat.Turn, text: str) -> None:
    if isinstance(turn.content, list):
        turn.content.append(chat.TextPart(text))
    else:
        turn.content = f"{turn.content}{SYSTEM_SEPARATOR}{text}" if turn.content else text
