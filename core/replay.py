"""Reasoning a client cannot carry, kept for the tool turns it belongs to.

Some upstreams (``Dialect.reasoning_required``) answer 400 to an assistant turn that calls tools and comes back without its reasoning, and
many clients drop it: because their wire has no place for it, or because they asked not to be shown any. So the reasoning of an answer
that calls tools is stored under the id of its first call, and put back where the client sends that call without any reasoning.

Nothing of this happens for other upstreams. What a client sends of its own is never touched.

Entries belong to one client and one conversation: Kimi counts its ids (``functions.Bash:0``), so that an id alone, even of one client, may
name the call of another conversation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from msgspec import Raw, structs

from core.asked import Asked
from core.call import Call
from core.dialects import Protocol
from core.effects import Flow, Load, Store
from core.errors import UpstreamGarbled
from core.routing import Target
from core.wire import chat, messages
from core.wire.codec import Open, decode_lenient, decoder, encode, value_of
from core.wire.envelope import Envelope, replace_items
from core.wire.sse import Decoder

#: Seconds an entry is kept: a working day. Who comes back later than that has lost the upstream's prompt cache as well.
TTL: Final = 8 * 3600.0
#: Characters of one entry. The longest reasoning of a turn is about 32 k tokens; part of one would be worse than none.
REASONING_MAX: Final = 256 * 1024
#: Turns of one request that are looked up, newest first: more tool turns than a window holds.
TURNS_MAX: Final = 512


def is_needed(target: Target) -> bool:
    """Whether ``target`` wants reasoning back on tool turns: only then anything else here need be called."""
    return target.dialect.reasoning_required and target.protocol is Protocol.OPENAI


# ---------------------------------------------------------------------------------------------------- remembering


class Listener:
    """Overhears a chat upstream's answer. ``feed`` it the bytes of a stream, cut anywhere, or ``whole`` those of a whole answer.

    What it cannot read it passes over: whether an answer is good is for others to say.
    """

    def __init__(self) -> None:
        self.call_id = ""  # of the first call
        self._reasoning: list[str] = []
        self._frames = Decoder()
        self._is_deaf = False

    @property
    def reasoning(self) -> str:
        return "".join(self._reasoning)

    def feed(self, data: bytes) -> None:
        if self._is_deaf:
            return
        try:
            frames = self._frames.feed(data)
        except UpstreamGarbled:
            self._is_deaf = True
            return
        for frame in frames:
            self._take(frame.data)

    def whole(self, body: bytes) -> None:
        self._take(body)

    def _take(self, data: bytes) -> None:
        try:
            said = decode_lenient(chat.Completion, data)
        except msgspec.DecodeError:  # [DONE] is none either
            return
        for choice in (said.choices or ())[:1]:  # whoever asks for several answers gets no reasoning back for any
            message = choice.delta or choice.message or chat.AnswerMessage()
            self._reasoning.append(message.reasoning_content or message.reasoning or "")
            for one in message.tool_calls or ():
                self.call_id = self.call_id or one.id or ""


def remember(call: Call, asked: Asked, heard: Listener) -> Flow[None]:
    """Keep the reasoning of a complete answer that calls tools. To be run before the client has got its end: it may answer at once."""
    reasoning = heard.reasoning
    if heard.call_id and reasoning.strip() and len(reasoning) <= REASONING_MAX:
        yield from Store(_key(conversation(call, asked), heard.call_id), reasoning.encode(), TTL)


# ---------------------------------------------------------------------------------------------------- recalling


def recall(call: Call, asked: Asked) -> Flow[Mapping[str, str]]:
    """The reasoning that is remembered of the tool turns of a request that have none: by the id of their first call."""
    wanted = [*dict.fromkeys(_wanting_messages(asked) if asked.wire is Protocol.ANTHROPIC else _wanting_chat(asked))][-TURNS_MAX:]
    found: dict[str, str] = {}
    whose = conversation(call, asked) if wanted else b""
    for call_id in wanted:
        reasoning = yield from Load(_key(whose, call_id))
        if reasoning:
            found[call_id] = reasoning.decode("utf-8", "replace")
    return found


def with_thinking(request: messages.Request, remembered: Mapping[str, str]) -> messages.Request:
    """A copy of ``request`` whose tool turns have the thinking that is remembered of them; turns with thinking of their own stay."""
    turns = []
    for turn in request.messages:
        reasoning = remembered.get(_first_call(turn))
        if reasoning is not None:
            assert isinstance(turn.content, list)  # there is a call in it
            turn = structs.replace(turn, content=[messages.Thinking(reasoning, ""), *turn.content])  # noqa: PLW2901 - the same turn, complete
        turns.append(turn)
    return structs.replace(request, messages=turns)


def with_reasoning(envelope: Envelope, remembered: Mapping[str, str]) -> bytes:
    """``messages`` of a chat request, in which the tool turns that have none have the ``reasoning_content`` that is remembered of them.

    Every other byte is as the client sent it.
    """
    changes = {}
    for index, raw, turn in _tool_turns(envelope):
        reasoning = remembered.get(_first_call_of_chat(turn))
        if reasoning is not None:
            changes[index] = Envelope.read(bytes(raw), max_depth=None).replace({"reasoning_content": encode(reasoning)})
    return replace_items(bytes(envelope.members["messages"]), changes)


# ---------------------------------------------------------------------------------------------------- turns without reasoning


def _wanting_messages(asked: Asked) -> Iterator[str]:
    request = asked.typed[0]
    assert isinstance(request, messages.Request)
    return filter(None, map(_first_call, request.messages))


def _first_call(turn: messages.Turn) -> str:
    """The id of the first call of an assistant turn without thinking; "" where there is none."""
    if turn.role != "assistant" or not isinstance(turn.content, list):
        return ""
    if any(isinstance(block, messages.Thinking) and block.thinking.strip() for block in turn.content):
        return ""
    return next((block.id for block in turn.content if isinstance(block, messages.ToolUse)), "")


class _ToolCall(Open):
    id: str | None = None


class _Turn(Open):
    """What has to be known of a chat turn, whatever else it holds."""

    role: str | None = None
    tool_calls: list[_ToolCall] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Raw] | None = None


def _wanting_chat(asked: Asked) -> Iterator[str]:
    return filter(None, (_first_call_of_chat(turn) for _, _, turn in _tool_turns(asked.envelope)))


def _first_call_of_chat(turn: _Turn) -> str:
    if turn.role != "assistant" or turn.reasoning_details or any((one or "").strip() for one in (turn.reasoning_content, turn.reasoning)):
        return ""
    return next((one.id for one in turn.tool_calls or () if one.id), "")


def _tool_turns(envelope: Envelope) -> Iterator[tuple[int, Raw, _Turn]]:
    """The turns of a chat request that call tools, with their places and bytes. Odd ones are the upstream's business."""
    for index, raw in enumerate(decoder(list[Raw]).decode(envelope.members["messages"])):
        if b'"tool_calls"' not in bytes(raw):
            continue
        try:
            yield index, raw, decoder(_Turn).decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue


# ---------------------------------------------------------------------------------------------------- keys


def conversation(call: Call, asked: Asked) -> bytes:
    """A digest of whose conversation it is and how it began: with the words the user said first, which stay as the conversation grows."""
    whose = call.client.value if call.client is not None else b""
    digest = hashlib.sha256(hashlib.sha256(whose).digest())
    for raw in decoder(list[Raw]).decode(asked.envelope.members["messages"]):
        if b'"user"' in bytes(raw) and isinstance(turn := value_of(raw), dict) and turn.get("role") == "user":
            digest.update(_text(turn.get("content")).encode("utf-8", "replace"))
            break
    return digest.digest()


def _text(content: object) -> str:
    """The words of a content, whether it is a text or a list of parts: without cache marks, which wander."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "".join(text for part in parts if isinstance(part, dict) and isinstance(text := part.get("text"), str))


def _key(whose: bytes, call_id: str) -> bytes:
    return b"reasoning:" + hashlib.sha256(whose + call_id.encode("utf-8", "replace")).hexdigest().encode()
