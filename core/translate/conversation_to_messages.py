"""Chat messages as the turns of a Messages conversation.

What Messages demands and chat does not: turns that alternate and begin with the user, every ``tool_use`` answered in the very next user
turn with the results first, no empty text, ids of ``[A-Za-z0-9_-]`` that occur once, thinking before text before calls.

A turn depends on nothing that comes after it but for what is merged with it: a conversation that grows keeps its beginning byte for byte,
and with it the upstream's prompt cache.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from operator import attrgetter
from typing import Final, TypeAlias, cast

from msgspec import Raw, Struct

from core.dialects import CacheMarks, Dialect
from core.translate.images import file_to_document, part_to_image
from core.translate.loss import Losses, refuse
from core.translate.naming import ToolNames, shortened
from core.translate.pictures import part_of
from core.translate.thinking import reasoning_to_messages
from core.translate.tools import WRAPPED
from core.wire import chat, messages
from core.wire.codec import ABSENT, encode, given, is_object

#: What an unanswered call is answered with: Messages refuses a tool_use without its tool_result.
NO_RESULT: Final = "No result: the tool call was interrupted."
#: The user turn a conversation is given when it has none at its beginning.
NEUTRAL_TURN: Final = "Continue."
#: What goes before a result whose call is not there: it becomes a text of the user's.
STRAY_RESULT: Final = "[Result of an earlier tool call]"
#: Around instructions that stand in mid-conversation where the upstream takes no system turn there.
_OPENING, _CLOSING = "<system>\n", "\n</system>"
#: Characters of a tool call id. Messages documents no limit; 64 is what all vendors take.
_ID_MAX: Final = 64
#: Ids of Messages (``^[a-zA-Z0-9_-]+$``).
_LEGAL: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{_ID_MAX}}}")
_ILLEGAL: Final = re.compile(r"[^A-Za-z0-9_-]")
#: The ttl of an explicit chat breakpoint in the words of Messages: the shortest that is not shorter; of 12h the longest there is.
_TTL: Final = {"30m": "1h", "12h": "1h"}
#: Members that only an assistant's message has.
_ASSISTANTS: Final = ("tool_calls", "function_call", "refusal", "reasoning_content", "reasoning", "reasoning_details")
_of_assistants: Final = attrgetter(*_ASSISTANTS)
#: What a tool_result may hold of what a chat message may hold.
_RESULT_PARTS: Final = (messages.Text, messages.Image, messages.Document)


#: The role of the message that answers a call, and the client's id (or the function's name); None stands for any call.
_Key: TypeAlias = tuple[str, str] | None


# Structs, because a long conversation makes hundreds of them, and these are made four times as fast as slotted dataclasses.


class _Call(Struct):
    """A call of the last assistant turn, until its result is written."""

    there: str  # its id at the upstream
    path: str
    result: messages.ToolResult | None = None


class _Calls(Struct):
    """Calls of one key, in order; those before ``at`` have their results."""

    all: list[_Call] = []
    at: int = 0

    def waiting(self) -> _Call | None:
        """The first call that has no result yet."""
        while self.at < len(self.all) and self.all[self.at].result is not None:
            self.at += 1
        return self.all[self.at] if self.at < len(self.all) else None


class _Turn(Struct):
    """A turn while it may still grow."""

    role: str
    blocks: list[messages.Block]
    thoughts: list[messages.Block]  # an assistant's; they come first


class Conversation:
    """Builds the system prompt and the turns from chat turns. ``marked``: whether any block has a cache breakpoint."""

    def __init__(self, dialect: Dialect, names: ToolNames, losses: Losses) -> None:
        self.dialect = dialect
        self.names = names
        self.losses = losses
        self.marked = False
        self._system: list[messages.Text] = []
        self._turns: list[_Turn] = []
        self._open: defaultdict[_Key, _Calls] = defaultdict(_Calls)  # the calls of the last assistant turn
        self._late: list[tuple[str, list[messages.Block]]] = []  # what stood between calls and their results: role and content
        self._taken: set[str] = set()  # ids of calls so far
        self._again: dict[str, int] = {}  # how often an id was wanted that was taken

    # ------------------------------------------------------------------ results

    def system_prompt(self) -> str | list[messages.Text] | None:
        """One plain text as a string, anything more as blocks."""
        if len(self._system) == 1 and self._system[0].cache_control is None:
            return self._system[0].text
        return self._system or None

    def finished(self) -> list[messages.Turn]:
        """The turns, with what Messages demands at both ends. Nothing can be added after it."""
        self._close_calls()
        if self._turns and self._turns[-1].role == "assistant":
            last = self._turns[-1].blocks[-1]
            assert isinstance(last, messages.Text)  # an answer that ends in a call is followed by its result
            last.text = last.text.rstrip()  # 400 "final assistant content cannot end with trailing whitespace"
        # Always as blocks: a turn of one text may grow with the next request, and its beginning must not change then.
        turns = [messages.Turn(turn.role, [*turn.thoughts, *turn.blocks]) for turn in self._turns]
        if not turns and self._spoke:
            raise refuse("messages", "nothing is left to send: no message but those of the system says anything")
        if not turns or turns[0].role == "assistant":
            turns.insert(0, messages.Turn("user", [messages.Text(NEUTRAL_TURN)]))
            self.losses.drop(
                "messages", "first user turn", "Messages begins with the user, who has not spoken here; a neutral turn was put there"
            )
        return turns

    # ------------------------------------------------------------------ turns

    def add_turns(self, turns: list[chat.Turn]) -> None:
        """Add the messages of a request. Raises ``BadRequest`` for what cannot be left out without changing what is said."""
        self._spoke = any(turn.role not in ("system", "developer") for turn in turns)
        for index, turn in enumerate(turns):
            path = f"messages[{index}]"
            match turn.role:
                case "assistant":
                    self._add_assistant(turn, index, path)
                    continue
                case "tool" | "function":
                    self._add_result(turn, path)
                case "user":
                    self._add_user(turn, path)
                case "system" | "developer":
                    self._add_system(turn, path)
                case unknown:
                    expected = "system, developer, user, assistant, tool or function"
                    raise refuse(f"{path}.role", f'unknown role "{unknown}"; expected {expected}')
            if any(members := _of_assistants(turn)):
                for name, member in zip(_ASSISTANTS, members, strict=True):
                    if member:
                        self.losses.drop(f"{path}.{name}", name, f'it means nothing in a message of role "{turn.role}"')

    def _add_user(self, turn: chat.Turn, path: str) -> None:
        """What the user says, after the results among it: some clients put them where Messages has them."""
        parts = turn.content if isinstance(turn.content, list) else ()
        for index, part in enumerate(parts):
            if isinstance(part, chat.ToolResultPart):
                content = cast("chat.Content", part.content)
                result = chat.Turn("tool", content, tool_call_id=part.tool_use_id, cache_control=part.cache_control)
                self._add_result(result, f"{path}.content[{index}]", failed=bool(part.is_error))
        self._close_calls()
        self._append("user", self._marked(turn, self._said(turn, path, results=False)))

    def _append(self, role: str, blocks: list[messages.Block], thoughts: Sequence[messages.Block] = ()) -> None:
        """Add blocks to the conversation; neighbours of one role are one turn. A system turn may only be last or before an assistant's."""
        if not blocks:
            return
        if role == "user" and self._turns and self._turns[-1].role == "system":
            instructions = self._turns.pop()
            self._turns[-1].blocks.append(_instructions(instructions.blocks))
        if not self._turns or self._turns[-1].role != role:
            self._turns.append(_Turn(role, blocks, [*thoughts]))
            return
        self._turns[-1].blocks.extend(blocks)
        self._turns[-1].thoughts.extend(thoughts)

    # ------------------------------------------------------------------ system

    def _add_system(self, turn: chat.Turn, path: str) -> None:
        blocks = self._marked(turn, self._said(turn, path, text_only="system messages"))
        if not self._turns:
            self._system.extend(block for block in blocks if isinstance(block, messages.Text))
        elif self._open:
            self._late.append(("system", blocks))
        else:
            self._instruct(blocks)

    def _instruct(self, blocks: list[messages.Block]) -> None:
        """Put instructions where the conversation has come to."""
        if self.dialect.inline_system and self._turns[-1].role != "assistant":
            self._append("system", blocks)
        elif blocks:
            self._append("user", [_instructions(blocks)])

    # ------------------------------------------------------------------ content

    def _said(
        self,
        turn: chat.Turn,
        path: str,
        text_only: str | None = None,
        thoughts: list[messages.Thinking] | None = None,
        *,
        results: bool = True,
    ) -> list[messages.Block]:
        """The content of a turn; its name, which Messages has no place for, is lost."""
        if turn.name:
            self.losses.drop(f"{path}.name", "name", "Messages has no names of speakers")
        return self._blocks(turn.content, f"{path}.content", text_only, thoughts, results=results)

    def _blocks(
        self,
        content: chat.Content,
        path: str,
        text_only: str | None = None,
        thoughts: list[messages.Thinking] | None = None,
        *,
        results: bool = True,
    ) -> list[messages.Block]:
        """Content as blocks, without blank texts. Thinking goes to ``thoughts``; where that is None, it may not be.

        Of a result among the parts, what is in it; nothing where ``results`` is False.
        """
        if isinstance(content, str):
            return [messages.Text(content)] if content and not content.isspace() else []
        blocks: list[messages.Block] = []
        for index, part in enumerate(content or ()):
            place = f"{path}[{index}]"
            if isinstance(part, chat.ThinkingPart):
                if thoughts is None:
                    raise refuse(place, "only assistant messages hold thinking")
                thoughts.append(_thinking(part))
                continue
            if isinstance(part, chat.ToolResultPart):
                if results:
                    blocks += self._blocks(cast("chat.Content", part.content), f"{place}.content", text_only, thoughts)
                continue
            block = self._block(part, place)
            if not isinstance(block, messages.Text):
                if text_only is not None:
                    raise refuse(place, f"{text_only} hold text only at this upstream")
                blocks.append(block)
            elif block.text.strip():
                blocks.append(block)
        return blocks

    def _block(self, part: chat.PlainPart, path: str) -> messages.Text | messages.Image | messages.Document:
        match part:
            case chat.TextPart():
                return messages.Text(part.text, self._mark_of(part))
            case chat.ImagePart():
                return self._image(part, f"{path}.image_url")
            case messages.InputImage() | chat.AnyImagePart():
                return self._image(part_of(part, path), path)
            case chat.FilePart():
                document = file_to_document(part, path)
                document.cache_control = self._mark_of(part)
                return document
            case chat.RefusalPart():
                return messages.Text(part.refusal)
            case chat.ToolReferencePart():
                return messages.Text(part.name)
        raise refuse(path, "this upstream cannot hear audio")

    def _image(self, part: chat.ImagePart, path: str) -> messages.Image | messages.Document:
        """``path``: of what holds its URL."""
        image = part_to_image(part, f"{path}.url")
        if image.source.url is not None and not self.dialect.image_urls:
            raise refuse(f"{path}.url", f"this upstream ({self.dialect.name}) fetches no images; expected a data: URI")
        if isinstance(part.image_url, chat.ImageUrl) and part.image_url.detail not in (None, "auto"):
            self.losses.drop(f"{path}.detail", "detail", "Messages has one way to look at an image")
        image.cache_control = self._mark_of(part)
        return image

    # ------------------------------------------------------------------ cache breakpoints

    def _mark_of(self, part: chat.TextPart | chat.ImagePart | chat.FilePart) -> messages.CacheControl | None:
        mark, point = part.cache_control, part.prompt_cache_breakpoint
        if mark is None and point is not None:
            mark = messages.CacheControl("ephemeral", _TTL.get(point.ttl or ""))
        return None if mark is None else self._mark(mark)

    def _mark(self, mark: messages.CacheControl) -> messages.CacheControl | None:
        self.marked = True
        return fitting_mark(mark, self.dialect)

    def _marked(self, turn: chat.Turn, blocks: list[messages.Block]) -> list[messages.Block]:
        """``blocks`` with the breakpoint of the turn they come from, at their end."""
        last = blocks[-1] if blocks else None
        if turn.cache_control is not None and isinstance(last, messages.Text | messages.Image | messages.Document | messages.ToolUse):
            last.cache_control = self._mark(turn.cache_control)
        return blocks

    # ------------------------------------------------------------------ assistant

    def _add_assistant(self, turn: chat.Turn, index: int, path: str) -> None:
        self._close_calls()
        if turn.audio is not ABSENT or turn.annotations is not ABSENT:
            self._check_answer(turn, path)
        parts: list[messages.Thinking] = []
        spoken = self._said(turn, path, "assistant messages", parts)
        if turn.refusal and turn.refusal.strip():
            spoken.append(messages.Text(turn.refusal))
        spoken.extend(self._calls(turn, index, path))
        thoughts = reasoning_to_messages(turn, parts, self.dialect, self.losses, path)
        if thoughts and not spoken:
            self.losses.drop(path, "reasoning", "Messages takes none that no answer follows")
        self._append("assistant", self._marked(turn, spoken), thoughts)

    def _check_answer(self, turn: chat.Turn, path: str) -> None:
        if given(turn.audio):
            raise refuse(f"{path}.audio", "spoken answers exist at the other vendor only; send their transcript as content")
        if given(turn.annotations) and bytes(turn.annotations) != b"[]":
            self.losses.drop(f"{path}.annotations", "annotations", "have no twin in Messages")

    def _calls(self, turn: chat.Turn, index: int, path: str) -> list[messages.Block]:
        blocks: list[messages.Block] = []
        for number, call in enumerate(turn.tool_calls or ()):
            place = f"{path}.tool_calls[{number}]"
            there = self._id(call.id or f"call_{index}_{number}")
            if call.function is not None:
                blocks.append(messages.ToolUse(there, self.names.there(call.function.name), parsed_arguments(call.function.arguments)))
            elif call.custom is not None:
                wrapped = Raw(encode({WRAPPED: call.custom.input}))
                blocks.append(messages.ToolUse(there, self.names.there(call.custom.name), wrapped))
            else:
                raise refuse(place, "expected a function or custom call")
            self._expect(("tool", call.id or ""), _Call(there, place))
        function = turn.function_call
        if function is not None:
            there = self._id(f"call_{index}_function")
            blocks.append(messages.ToolUse(there, self.names.there(function.name), parsed_arguments(function.arguments)))
            self._expect(("function", function.name), _Call(there, f"{path}.function_call"))
        return blocks

    def _expect(self, key: _Key, call: _Call) -> None:
        self._open[key].all.append(call)
        self._open[None].all.append(call)

    def _id(self, wanted: str) -> str:
        """A legal id that no other call has: the client's own where it is both."""
        found = wanted
        if not _LEGAL.fullmatch(wanted):
            found = _ILLEGAL.sub("_", wanted) if len(wanted) <= _ID_MAX else shortened(wanted, _ID_MAX)
        base = found
        while found in self._taken:
            self._again[base] = number = self._again.get(base, 1) + 1
            found = f"{base[: _ID_MAX - 1 - len(str(number))]}_{number}"
        self._taken.add(found)
        return found

    # ------------------------------------------------------------------ tool results

    def _add_result(self, turn: chat.Turn, path: str, *, failed: bool = False) -> None:
        content = self._blocks(turn.content, f"{path}.content")
        call = self._answered(turn)
        if call is not None:
            self._answer(call, content, turn, failed=failed)
            return
        self.losses.drop(path, "tool message without call", "no call of that id stands before it; its text went to the user's turn")
        stray: list[messages.Block] = [messages.Text(STRAY_RESULT), *content]
        if self._open:
            self._late.append(("user", stray))
        else:
            self._append("user", stray)

    def _answered(self, turn: chat.Turn) -> _Call | None:
        """The call a result belongs to: the first of its id (or name) without one, else the last; without an id, the first of all."""
        name = turn.tool_call_id if turn.role == "tool" else turn.name
        calls = self._open.get((turn.role, name) if name else None)
        if calls is None:
            return None
        return calls.waiting() or (calls.all[-1] if name else None)

    def _answer(self, call: _Call, content: list[messages.Block], turn: chat.Turn, *, failed: bool) -> None:
        """Write a result; a second one for the same call is joined to the first. Breakpoints inside it become one at its end."""
        mark = None if turn.cache_control is None else self._mark(turn.cache_control)
        parts: list[messages.ResultPart] = []
        before = call.result
        if before is not None:
            mark = mark or before.cache_control
            parts = before.content if isinstance(before.content, list) else [messages.Text(before.content)] if before.content else []
        for block in content:
            assert isinstance(block, _RESULT_PARTS)  # what else a message may hold, `_blocks` refuses without `thoughts`
            mark, block.cache_control = block.cache_control or mark, None
            parts.append(block)
        only = parts[0] if len(parts) == 1 else None
        plain = only.text if isinstance(only, messages.Text) else parts or ""
        # Messages refuses an error that says nothing.
        call.result = messages.ToolResult(call.there, plain, is_error=(failed and bool(plain)) or None, cache_control=mark)

    def _close_calls(self) -> None:
        """Write the results of the last assistant turn's calls, in the order of the calls, one for each; then what stood between."""
        if not self._open:
            return
        results: list[messages.Block] = []
        for call in self._open[None].all:
            if call.result is None:
                self.losses.drop(call.path, "tool call without result", "one was put in that says so")
                call.result = messages.ToolResult(call.there, NO_RESULT, is_error=True)
            results.append(call.result)
        late, self._late = self._late, []
        self._open.clear()
        self._append("user", results)
        for role, blocks in late:
            if role == "system":
                self._instruct(blocks)
            else:
                self._append("user", blocks)


def parsed_arguments(arguments: str | dict[str, Raw] | None) -> Raw:
    """The arguments of a call as an input object, byte for byte; none as ``{}``; what is no JSON object as text under ``_raw``."""
    if isinstance(arguments, dict):
        return Raw(encode(arguments))
    if not arguments or arguments.isspace():
        return Raw(b"{}")
    data = arguments.encode()
    return Raw(data) if is_object(data) else Raw(encode({"_raw": arguments}))


def fitting_mark(mark: messages.CacheControl, dialect: Dialect) -> messages.CacheControl | None:
    """A cache breakpoint as the dialect takes it: as it is, without ttl and scope, or not at all."""
    if dialect.cache_control is CacheMarks.KEEP:
        return mark
    return messages.CacheControl(mark.type) if dialect.cache_control is CacheMarks.NO_TTL else None


def _instructions(blocks: list[messages.Block]) -> messages.Text:
    """Instructions inside a user turn, told apart from the user's own words."""
    texts = [block for block in blocks if isinstance(block, messages.Text)]
    return messages.Text(f"{_OPENING}{chr(10).join(block.text for block in texts)}{_CLOSING}", texts[-1].cache_control)


def _thinking(part: chat.ThinkingPart) -> messages.Thinking:
    text = part.thinking if isinstance(part.thinking, str) else "".join(one.text for one in part.thinking)
    return messages.Thinking(text, part.signature or "")
