"""The grammar of the two kinds of answer streams, as acceptors: the reference that every producer of a stream is held to.

They know what clients accept (the official SDKs' accumulators, and agents that are stricter than those), and nothing of how the proxy
makes its streams.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from core.wire.sse import Decoder, Frame

__all__ = ["Accepted", "GrammarViolation", "accept_chat_stream", "accept_messages_stream"]


class GrammarViolation(AssertionError):
    """A stream that no client should get. The message begins with the number of the frame, from 0, and its first bytes."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What an accepted stream said. ``stop`` is its stop or finish reason, None when it ended in an error before one came."""

    kind: Literal["complete", "error"]
    frames: int
    stop: str | None
    text: str
    thinking: str
    arguments: tuple[str, ...]  # of the tool calls, in order; the last may be cut when the answer is


_Count: TypeAlias = Annotated[int, Meta(ge=0)]
_Name: TypeAlias = Annotated[str, Meta(min_length=1)]

#: Stop and finish reasons that may cut the answer in the middle of a tool call's arguments.
_CUTTING: Final = frozenset({"max_tokens", "model_context_window_exceeded", "refusal", "length", "content_filter"})

#: What ends a stream: a blank line, whatever the line ends.
_ENDS: Final = (b"\n\n", b"\r\r", b"\n\r", b"\n\r\n")


def _walk(data: bytes, step: Callable[[Frame], None]) -> int:
    """Give every frame to ``step``, and say in its violations which frame it was. Returns how many there were."""
    _require(data.endswith(_ENDS), f"the stream ends with {data[-20:]!r}, expected a blank line")
    frames = Decoder(limit=len(data)).feed(data)
    for number, frame in enumerate(frames):
        try:
            step(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, GrammarViolation) as error:
            raise GrammarViolation(f"frame {number} {frame.raw[:100]!r}: {error}") from None
    return len(frames)


def _require(truth: bool, complaint: str) -> None:
    if not truth:
        raise GrammarViolation(complaint)


def _is_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except msgspec.DecodeError:
        return False


# ---- Anthropic Messages ----------------------------------------------------------------------------------------------------------


class _Usage(msgspec.Struct):
    input_tokens: _Count
    output_tokens: _Count


class _FinalUsage(msgspec.Struct):
    output_tokens: _Count
    input_tokens: _Count | None = None


class _Message(msgspec.Struct):
    id: _Name
    type: Literal["message"]
    role: Literal["assistant"]
    model: _Name
    content: Annotated[list[Any], Meta(max_length=0)]
    usage: _Usage
    stop_reason: None = None


class _Block(msgspec.Struct):
    type: _Name
    id: str = ""
    name: str = ""
    input: dict[str, Any] | None = None
    text: str | None = None
    thinking: str | None = None


class _BlockDelta(msgspec.Struct):
    type: _Name
    text: str = ""
    thinking: str = ""
    partial_json: str = ""


class _Stop(msgspec.Struct):
    stop_reason: Literal[
        "end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "model_context_window_exceeded", "compaction"
    ]


class _Problem(msgspec.Struct):
    type: _Name
    message: str


class _Tagged(msgspec.Struct):
    type: _Name


class _MessageStart(msgspec.Struct):
    message: _Message


class _BlockStart(msgspec.Struct):
    index: _Count
    content_block: _Block


class _BlockContinues(msgspec.Struct):
    index: _Count
    delta: _BlockDelta


class _BlockStop(msgspec.Struct):
    index: _Count


class _MessageDelta(msgspec.Struct):
    delta: _Stop
    usage: _FinalUsage


class _Error(msgspec.Struct):
    error: _Problem


#: Which deltas a block may get. A kind that is not listed may get any, so that blocks newer than this list pass.
_DELTAS: Final[Mapping[str, frozenset[str]]] = {
    "text": frozenset({"text_delta", "citations_delta"}),
    "thinking": frozenset({"thinking_delta", "signature_delta"}),
    "redacted_thinking": frozenset(),
    "tool_use": frozenset({"input_json_delta"}),
    "server_tool_use": frozenset({"input_json_delta"}),
    "mcp_tool_use": frozenset({"input_json_delta"}),
    "compaction": frozenset({"compaction_delta"}),
}


class _Phase(Enum):
    BEGIN = auto()  # before message_start, or the role chunk
    BETWEEN = auto()  # no block is open, or: the chat answer goes on
    OPEN = auto()  # a block is open
    STOPPED = auto()  # the stop reason has come
    METERED = auto()  # the usage of a chat answer has come, too
    COMPLETE = auto()
    FAILED = auto()


_OVER: Final = (_Phase.COMPLETE, _Phase.FAILED)


class _MessagesStream:
    def __init__(self) -> None:
        self.phase = _Phase.BEGIN
        self.blocks: list[_Block] = []
        self.stop: str | None = None
        self.text: list[str] = []
        self.thinking: list[str] = []
        self.inputs: list[str] = []  # one per block
        self.steps: dict[str, Callable[[bytes], None]] = {
            "message_start": self.message_start,
            "content_block_start": self.block_start,
            "content_block_delta": self.block_delta,
            "content_block_stop": self.block_stop,
            "message_delta": self.message_delta,
            "message_stop": self.message_stop,
            "error": self.error,
            "ping": lambda _: None,
        }

    def step(self, frame: Frame) -> None:
        name = msgspec.json.decode(frame.data, type=_Tagged).type
        _require(frame.event == name.encode(), f"event line {frame.event!r}, expected {name!r} as in the data")
        _require(self.phase not in _OVER, "nothing may follow the end")
        known = self.steps.get(name)
        if known is not None:
            known(frame.data)
        else:
            _require(self.phase is not _Phase.BEGIN, "an unknown event before message_start")

    def expect(self, *phases: _Phase) -> None:
        _require(self.phase in phases, f"not allowed in phase {self.phase.name}")

    def message_start(self, data: bytes) -> None:
        self.expect(_Phase.BEGIN)
        msgspec.json.decode(data, type=_MessageStart)
        self.phase = _Phase.BETWEEN

    def block_start(self, data: bytes) -> None:
        self.expect(_Phase.BETWEEN)
        event = msgspec.json.decode(data, type=_BlockStart)
        block = event.content_block
        _require(event.index == len(self.blocks), f"index {event.index}, expected {len(self.blocks)}")
        self.require_whole_input()
        if block.type == "text":
            _require(block.text is not None, "a text block without text")
        elif block.type == "thinking":
            _require(block.thinking is not None, "a thinking block without thinking")
        elif block.type in ("tool_use", "server_tool_use", "mcp_tool_use"):
            _require(bool(block.id and block.name) and block.input is not None, "a tool block without id, name or input")
        self.blocks.append(block)
        self.inputs.append("")
        self.text.append(block.text or "")
        self.thinking.append(block.thinking or "")
        self.phase = _Phase.OPEN

    def block_delta(self, data: bytes) -> None:
        self.expect(_Phase.OPEN)
        event = msgspec.json.decode(data, type=_BlockContinues)
        self.require_open(event.index)
        kind = self.blocks[-1].type
        allowed = _DELTAS.get(kind)
        _require(allowed is None or event.delta.type in allowed, f"{event.delta.type} in a {kind} block")
        self.text.append(event.delta.text)
        self.thinking.append(event.delta.thinking)
        self.inputs[-1] += event.delta.partial_json

    def block_stop(self, data: bytes) -> None:
        self.expect(_Phase.OPEN)
        self.require_open(msgspec.json.decode(data, type=_BlockStop).index)
        self.phase = _Phase.BETWEEN

    def message_delta(self, data: bytes) -> None:
        self.expect(_Phase.BETWEEN)
        self.stop = msgspec.json.decode(data, type=_MessageDelta).delta.stop_reason
        if self.stop not in _CUTTING:
            self.require_whole_input()
        self.phase = _Phase.STOPPED

    def message_stop(self, _: bytes) -> None:
        self.expect(_Phase.STOPPED)
        self.phase = _Phase.COMPLETE

    def error(self, data: bytes) -> None:
        self.expect(_Phase.BEGIN, _Phase.BETWEEN, _Phase.STOPPED)
        msgspec.json.decode(data, type=_Error)
        self.phase = _Phase.FAILED

    def require_open(self, index: int) -> None:
        _require(index == len(self.blocks) - 1, f"index {index}, but block {len(self.blocks) - 1} is open")

    def require_whole_input(self) -> None:
        """Only the last block may have been cut, and only if an error or a limit follows."""
        whole = not self.inputs or not self.inputs[-1] or _is_object(self.inputs[-1])
        _require(whole, f"the input of block {len(self.inputs) - 1} is not a JSON object")


def accept_messages_stream(data: bytes) -> Accepted:
    """Check a whole answer stream of the Messages API. Raises ``GrammarViolation``.

    Complete: ``message_start``; blocks one after another, numbered from 0; one ``message_delta`` with the stop reason; ``message_stop``.
    Or it ends, anywhere but inside a block, with one ``error``. Pings may stand between any two events; unknown events, blocks and
    members are let through. A block cut by an error or a limit may hold half a JSON text, all others a whole object or nothing.
    """
    stream = _MessagesStream()
    count = _walk(data, stream.step)
    _require(stream.phase in _OVER, f"the stream ends after {count} frames without message_stop or error")
    calls = (text for text, block in zip(stream.inputs, stream.blocks, strict=True) if block.type == "tool_use")
    kind: Literal["complete", "error"] = "complete" if stream.phase is _Phase.COMPLETE else "error"
    return Accepted(kind, count, stream.stop, "".join(stream.text), "".join(stream.thinking), tuple(calls))


# ---- OpenAI Chat Completions -----------------------------------------------------------------------------------------------------


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str = ""


class _Call(msgspec.Struct):
    index: _Count
    function: _Function
    id: str | None = None
    type: Literal["function"] | None = None


class _Delta(msgspec.Struct):
    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    index: Literal[0]
    delta: _Delta
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter", "function_call"] | None = None


class _ChatUsage(msgspec.Struct):
    prompt_tokens: _Count
    completion_tokens: _Count
    total_tokens: _Count


class _Chunk(msgspec.Struct):
    id: _Name
    object: Literal["chat.completion.chunk"]
    created: _Count
    model: _Name
    choices: Annotated[list[_Choice], Meta(max_length=1)]
    usage: _ChatUsage | None = None


class _ChatProblem(msgspec.Struct):
    message: str
    type: _Name
    param: str | None
    code: str | int | None


class _ErrorOrNot(msgspec.Struct):
    error: _ChatProblem | UnsetType = UNSET


class _ChatStream:
    def __init__(self) -> None:
        self.phase = _Phase.BEGIN
        self.identity: tuple[str, int, str] | None = None
        self.stop: str | None = None
        self.text: list[str] = []
        self.thinking: list[str] = []
        self.arguments: list[str] = []

    def step(self, frame: Frame) -> None:
        _require(not frame.event, f"event line {frame.event!r}, expected data only")
        _require(self.phase not in _OVER, "nothing may follow the end")
        if frame.data == b"[DONE]":
            _require(self.phase in (_Phase.STOPPED, _Phase.METERED), "[DONE] before any finish_reason")
            self.phase = _Phase.COMPLETE
        elif msgspec.json.decode(frame.data, type=_ErrorOrNot).error is not UNSET:
            self.phase = _Phase.FAILED
        else:
            self.chunk(msgspec.json.decode(frame.data, type=_Chunk))

    def chunk(self, chunk: _Chunk) -> None:
        _require(self.phase is not _Phase.METERED, "a chunk after the usage")
        identity = (chunk.id, chunk.created, chunk.model)
        _require(self.identity in (None, identity), f"id, created, model {identity}, before: {self.identity}")
        self.identity = identity
        if chunk.choices:
            self.choice(chunk.choices[0])
        else:
            _require(chunk.usage is not None, "neither choices nor usage")
        if chunk.usage is not None:
            _require(self.phase is _Phase.STOPPED, "usage before the finish_reason")
            self.phase = _Phase.METERED

    def choice(self, choice: _Choice) -> None:
        _require(self.phase is not _Phase.STOPPED, "a choice after the finish_reason")
        first = self.phase is _Phase.BEGIN
        _require((choice.delta.role is not None) is first, "the role must stand in the first chunk, and only there")
        self.phase = _Phase.BETWEEN
        self.text.append(choice.delta.content or "")
        self.thinking.append(choice.delta.reasoning_content or "")
        for call in choice.delta.tool_calls or ():
            self.call(call)
        if choice.finish_reason is not None:
            if choice.finish_reason not in _CUTTING:
                self.require_whole_arguments()
            self.stop = choice.finish_reason
            self.phase = _Phase.STOPPED

    def call(self, call: _Call) -> None:
        head = (call.id, call.type, call.function.name)
        if call.index == len(self.arguments):
            self.require_whole_arguments()
            _require(all(head), f"call {call.index} begins with id, type, name {head}, expected all three")
            self.arguments.append("")
        else:
            _require(call.index == len(self.arguments) - 1, f"call {call.index} in the midst of call {len(self.arguments) - 1}")
            _require(not any(head), f"call {call.index} repeats id, type, name: {head}")
        self.arguments[-1] += call.function.arguments

    def require_whole_arguments(self) -> None:
        """Only the last call may have been cut, and only if an error or a limit follows."""
        whole = not self.arguments or _is_object(self.arguments[-1])
        _require(whole, f"the arguments of call {len(self.arguments) - 1} are not a JSON object")


def accept_chat_stream(data: bytes) -> Accepted:
    """Check a whole answer stream of Chat Completions. Raises ``GrammarViolation``.

    Complete: a chunk with the role; chunks; one with the ``finish_reason``, which may carry the usage; or the usage in a last chunk
    without choices; ``[DONE]``. Or it ends, anywhere before ``[DONE]``, with one ``error`` object. Comments may stand anywhere. Calls
    come one after another, numbered from 0, with id, type and name at their begin only. Arguments cut by an error or a limit may be
    half a JSON text, all others are an object.
    """
    stream = _ChatStream()
    count = _walk(data, stream.step)
    _require(stream.phase in _OVER, f"the stream ends after {count} frames without [DONE] or error")
    kind: Literal["complete", "error"] = "complete" if stream.phase is _Phase.COMPLETE else "error"
    return Accepted(kind, count, stream.stop, "".join(stream.text), "".join(stream.thinking), tuple(stream.arguments))
