"""Chat messages as the turns of a Messages conversation.

What Messages demands and chat does not: turns that alternate and begin with the user, every ``tool_use`` answered in the very next user
turn with the results first, no empty text, ids of ``[A-Za-z0-9_-]``, thinking before text before calls.
"""

from __future__ import annotations

from typing import Final

from msgspec import Raw

from core.dialects import Dialect, UnsignedThinking
from core.translate.images import file_to_document, part_to_image
from core.translate.loss import Losses, refuse
from core.translate.naming import CallIds, ToolNames
from core.translate.thinking import reasoning_of_chat
from core.wire import chat, messages
from core.wire.codec import encode, is_object

#: What an unanswered call is answered with: Messages refuses a tool_use without its tool_result.
NO_RESULT: Final = "No result: the tool call was interrupted."
#: The user turn a conversation is given when it has none at its beginning.
NEUTRAL_TURN: Final = "Continue."
#: Around instructions that stand in mid-conversation where the upstream takes no system turn there.
_OPENING, _CLOSING = "<system>\n", "\n</system>"
#: Tool call ids of Messages (``^[a-zA-Z0-9_-]+$``); no documented length, 64 is what all vendors take.
_ID_MAX: Final = 64
#: The ttl of an explicit chat breakpoint in the words of Messages; it lives at least as long there.
_TTL: Final = {"30m": "1h", "12h": "1h"}


class Conversation:
    """Builds the system prompt and the turns from chat turns."""

    def __init__(self, dialect: Dialect, names: ToolNames, losses: Losses) -> None:
        self.dialect = dialect
        self.names = names
        self.losses = losses
        self.ids = CallIds(_ID_MAX, legal_only=True)
        self._system: list[messages.Text] = []
        self._turns: list[tuple[str, list[messages.Block]]] = []
        self._open: dict[str, messages.ToolResult | None] = {}  # calls of the last assistant turn, in order, with their results so far
        self._late: list[messages.Block] = []  # instructions that stood between a call and its results
        self._functions: dict[str, str] = {}  # name of the last unanswered function_call -> its made-up id

    # ------------------------------------------------------------------ results

    def system_prompt(self) -> str | list[messages.Text] | None:
        """One plain text as a string, anything more as blocks."""
        if not self._system:
            return None
        if len(self._system) == 1 and self._system[0].cache_control is None:
            return self._system[0].text
        return self._system

    def finished(self) -> list[messages.Turn]:
        """The turns, with what Messages demands at both ends."""
        self._close_calls()
        turns = [messages.Turn(role, _collapsed(blocks)) for role, blocks in self._turns if blocks]
        if not turns or turns[0].role == "assistant":
            turns.insert(0, messages.Turn("user", NEUTRAL_TURN))
            self.losses.drop("messages[0]", "first user turn", "the conversation does not begin with one; a neutral one was put there")
        _strip_end(turns[-1])
        return turns

    # ------------------------------------------------------------------ turns

    def add_turns(self, turns: list[chat.Turn]) -> None:
        self.ids.reserve([call.id for turn in turns for call in turn.tool_calls or () if call.id])
        for index, turn in enumerate(turns):
            path = f"messages[{index}]"
            match turn.role:
                case "system" | "developer":
                    self._add_system(turn, path, turns[index + 1].role if index + 1 < len(turns) else None)
                case "user":
                    self._close_calls()
                    self._append("user", self._user_blocks(turn, path))
                case "assistant":
                    self._add_assistant(turn, index, path)
                case "tool" | "function":
                    self._add_result(turn, path)
                case unknown:
                    expected = "system, developer, user, assistant, tool or function"
                    raise refuse(f"{path}.role", f'unknown role "{unknown}"; expected {expected}')

    def _append(self, role: str, blocks: list[messages.Block]) -> None:
        """Add blocks to the conversation; neighbours of one role are one turn."""
        if not blocks:
            return
        if self._turns and self._turns[-1][0] == role:
            self._turns[-1][1].extend(blocks)
        else:
            self._turns.append((role, blocks))

    # ------------------------------------------------------------------ system

    def _add_system(self, turn: chat.Turn, path: str, next_role: str | None) -> None:
        blocks: list[messages.Text] = []
        for block in self._blocks(turn.content, f"{path}.content"):
            if not isinstance(block, messages.Text):
                raise refuse(f"{path}.content", "system messages hold text only")
            blocks.append(block)
        if turn.cache_control is not None and blocks:
            blocks[-1].cache_control = turn.cache_control
        if not blocks:
            return
        if not self._turns:
            self._system.extend(blocks)
            return
        text = "\n\n".join(block.text for block in blocks)
        if self._open and next_role in ("tool", "function"):  # between a call and its results: it waits until they are written
            self._late.append(_marked(text))
            return
        self._close_calls()
        if self.dialect.inline_system and self._turns[-1][0] == "user" and next_role in (None, "assistant"):
            self._turns.append(("system", [messages.Text(text)]))
        else:
            self._append("user", [_marked(text)])

    # ------------------------------------------------------------------ user

    def _user_blocks(self, turn: chat.Turn, path: str) -> list[messages.Block]:
        blocks = self._blocks(turn.content, f"{path}.content")
        if turn.cache_control is not None and blocks and isinstance(blocks[-1], messages.Text):
            blocks[-1].cache_control = turn.cache_control
        return blocks

    def _blocks(self, content: chat.Content, path: str) -> list[messages.Block]:
        """Content as blocks, without blank texts."""
        if isinstance(content, str):
            return [messages.Text(content)] if content.strip() else []
        blocks: list[messages.Block] = []
        for index, part in enumerate(content or ()):
            block = self._block(part, f"{path}[{index}]")
            if not isinstance(block, messages.Text) or block.text.strip():
                blocks.append(block)
        return blocks

    def _block(self, part: chat.Part, path: str) -> messages.Block:
        match part:
            case chat.TextPart():
                return messages.Text(part.text, _mark(part))
            case chat.ImagePart():
                image = part_to_image(part, path)
                image.cache_control = _mark(part)
                return image
            case chat.FilePart():
                document = file_to_document(part, path)
                document.cache_control = _mark(part)
                return document
            case chat.RefusalPart():
                return messages.Text(part.refusal)
            case chat.ToolReferencePart():
                return messages.Text(part.name)
            case chat.ThinkingPart():
                text = part.thinking if isinstance(part.thinking, str) else "".join(one.text for one in part.thinking)
                return messages.Thinking(text, part.signature or "")
            case chat.AudioPart():
                raise refuse(path, "this upstream cannot hear audio")

    # ------------------------------------------------------------------ assistant

    def _add_assistant(self, turn: chat.Turn, index: int, path: str) -> None:
        self._close_calls()
        thoughts: list[messages.Block] = list(reasoning_of_chat(turn))
        texts: list[messages.Block] = []
        for block in self._blocks(turn.content, f"{path}.content"):
            (thoughts if isinstance(block, messages.Thinking) else texts).append(block)
        if turn.refusal and turn.refusal.strip():
            texts.append(messages.Text(turn.refusal))
        if turn.cache_control is not None and texts and isinstance(texts[-1], messages.Text):
            texts[-1].cache_control = turn.cache_control
        calls = self._calls(turn, index, path)
        self._append("assistant", [*self._fitting(thoughts, path), *texts, *calls])

    def _fitting(self, thoughts: list[messages.Block], path: str) -> list[messages.Block]:
        """The reasoning the upstream takes back: signed always, unsigned and encrypted only where it is of use."""
        kept: list[messages.Block] = []
        for block in thoughts:
            unsigned = isinstance(block, messages.Thinking) and not block.signature
            foreign = isinstance(block, messages.RedactedThinking) and not self.dialect.original
            if (unsigned and self.dialect.unsigned_thinking is UnsignedThinking.DROP) or foreign:
                self.losses.drop(path, "reasoning_content", "the upstream takes reasoning back with its own signature only")
            else:
                kept.append(block)
        return kept

    def _calls(self, turn: chat.Turn, index: int, path: str) -> list[messages.Block]:
        blocks: list[messages.Block] = []
        for number, call in enumerate(turn.tool_calls or ()):
            there = self.ids.there(call.id or f"call_{index}_{number}")
            if call.function is not None:
                blocks.append(messages.ToolUse(there, self.names.there(call.function.name), parsed_arguments(call.function.arguments)))
            elif call.custom is not None:
                wrapped = Raw(encode({"input": call.custom.input}))
                blocks.append(messages.ToolUse(there, self.names.there(call.custom.name), wrapped))
            else:
                raise refuse(f"{path}.tool_calls[{number}]", "expected a function or custom call")
            self._open[there] = None
        if turn.function_call is not None:
            there = self.ids.there(f"call_{index}_function")
            self._functions[turn.function_call.name] = there
            self._open[there] = None
            blocks.append(messages.ToolUse(there, self.names.there(turn.function_call.name), parsed_arguments(turn.function_call.arguments)))
        return blocks

    # ------------------------------------------------------------------ tool results

    def _add_result(self, turn: chat.Turn, path: str) -> None:
        if turn.role == "function":
            there = self._functions.get(turn.name or "", "")
        else:
            there = self.ids.there(turn.tool_call_id) if turn.tool_call_id else self._only_open()
        content = self._blocks(turn.content, f"{path}.content")
        if there not in self._open:
            self.losses.drop(path, "tool message without call", "no call of that id stands before it; its text went to the user's turn")
            self._close_calls()
            self._append("user", [messages.Text("[Result of an earlier tool call]"), *content])
            return
        self._open[there] = self._joined(self._open[there], there, turn, content)

    def _only_open(self) -> str:
        """A result without an id answers the first call that has none yet."""
        return next((one for one, result in self._open.items() if result is None), "")

    def _joined(self, before: messages.ToolResult | None, there: str, turn: chat.Turn, content: list[messages.Block]) -> messages.ToolResult:
        parts = [block for block in content if isinstance(block, messages.Text | messages.Image | messages.Document)]
        if before is not None:
            earlier = [messages.Text(before.content)] if isinstance(before.content, str) else before.content or []
            return messages.ToolResult(there, [*earlier, *parts], cache_control=turn.cache_control or before.cache_control)
        if len(parts) == 1 and isinstance(only := parts[0], messages.Text) and only.cache_control is None:
            return messages.ToolResult(there, only.text, cache_control=turn.cache_control)
        return messages.ToolResult(there, [*parts] or "", cache_control=turn.cache_control)

    def _close_calls(self) -> None:
        """Write the results of the last assistant turn's calls, in the order of the calls, one for each."""
        if not self._open:
            return
        results: list[messages.Block] = []
        for call_id, result in self._open.items():
            if result is None:
                self.losses.drop("messages", "tool call without result", f"the call {call_id} has no result; one was put in that says so")
                result = messages.ToolResult(call_id, NO_RESULT, is_error=True)  # noqa: PLW2901
            results.append(result)
        self._append("user", [*results, *self._late])
        self._open, self._late = {}, []


def parsed_arguments(arguments: str | None) -> Raw:
    """The arguments of a call as an input object; what is no JSON object is kept, as text, under ``_raw``."""
    if arguments is None or not arguments.strip():
        return Raw(b"{}")
    if is_object(arguments):
        return Raw(arguments.encode("utf-8", "replace"))
    return Raw(encode({"_raw": arguments}))


def _marked(text: str) -> messages.Text:
    """Instructions inside a user turn, told apart from the user's own words."""
    return messages.Text(f"{_OPENING}{text}{_CLOSING}")


def _mark(part: chat.TextPart | chat.ImagePart | chat.FilePart) -> messages.CacheControl | None:
    if part.cache_control is not None:
        return part.cache_control
    point = part.prompt_cache_breakpoint
    return None if point is None else messages.CacheControl("ephemeral", _TTL.get(point.ttl or ""))


def _collapsed(blocks: list[messages.Block]) -> str | list[messages.Block]:
    """A turn of one plain text as a string, as clients write it."""
    if len(blocks) == 1 and isinstance(only := blocks[0], messages.Text) and only.cache_control is None:
        return only.text
    return blocks


def _strip_end(turn: messages.Turn) -> None:
    """Messages refuses a final assistant text that ends in white space."""
    if turn.role != "assistant":
        return
    if isinstance(turn.content, str):
        turn.content = turn.content.rstrip()
    elif turn.content and isinstance(last := turn.content[-1], messages.Text):
        last.text = last.text.rstrip()
