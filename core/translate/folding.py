"""Streams folded back into whole answers: for upstreams that stream to a plain request, and for the law that both forms say the same."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import Raw

from core.dialects import Protocol
from core.errors import ProxyError, UpstreamFailed
from core.translate import faults
from core.translate.calls import arguments_of, name_of
from core.wire import chat, messages, sse
from core.wire.codec import decode_lenient, decoder, encode, given, is_object, members, whole_number


def fold(wire: Protocol, stream: bytes) -> bytes:
    """A *well-formed* stream of ``wire`` (what the stream machines write) as the body of the whole answer.

    Raises ``UpstreamSaid`` when the stream ends in an error, ``UpstreamFailed`` when it does not end.
    """
    frames = sse.Decoder(limit=len(stream) + 1).feed(stream)
    datas = [frame.data for frame in frames]
    return _fold_messages(datas) if wire is Protocol.ANTHROPIC else _fold_chat(datas)


def _unfinished() -> ProxyError:
    return UpstreamFailed("the upstream closed its stream before the answer was complete")


def _known(raw: Raw) -> dict[str, Raw]:
    """The members of an object that are not null; none of a null."""
    return {name: value for name, value in members(raw).items() if given(value)} if given(raw) else {}


def _info(found: dict[str, Raw]) -> dict[str, Raw]:
    """What an event says of the context: in chat the last one, in Messages only that of a stream that is to be folded (``to_fold``)."""
    return {"context_info": found["context_info"]} if "context_info" in found else {}


# ---------------------------------------------------------------------------------------------------- Messages


@dataclass(slots=True)
class _Block:
    members: dict[str, object]
    text: list[str] = field(default_factory=list)
    citations: list[Raw] = field(default_factory=list)
    signature: str = ""

    def take(self, delta: messages.Delta) -> None:
        self.text.append(delta.text or delta.thinking or delta.partial_json or "")
        self.signature = delta.signature or self.signature
        if given(delta.citation):
            self.citations.append(delta.citation)

    def whole(self) -> dict[str, object]:
        kind, text = self.members.get("type"), "".join(self.text)
        whole = dict(self.members)
        if kind in ("text", "thinking"):
            whole[kind] = f"{whole.get(kind) or ''}{text}"
        elif text.strip():
            whole["input"] = Raw(text.encode()) if is_object(text) else {"_raw": text}
        if self.signature:
            whole["signature"] = self.signature
        if self.citations:
            whole["citations"] = self.citations
        return whole


def _fold_messages(datas: list[bytes]) -> bytes:
    head: dict[str, Raw] = {}
    blocks: list[_Block] = []
    usage: dict[str, Raw] = {}
    stop: dict[str, Raw] = {}
    info: dict[str, Raw] = {}
    for data in datas:
        event = decode_lenient(messages.Event, data)
        if event.type == "message_start":
            head = members(members(data)["message"])
            usage = members(head["usage"])
        elif event.type == "content_block_start":
            blocks.append(_Block(decoder(dict[str, object]).decode(members(data)["content_block"])))
        elif event.type == "content_block_delta" and event.delta is not None:
            blocks[-1].take(event.delta)
        elif event.type == "message_delta":
            found = members(data)
            stop = members(found["delta"])
            usage |= _known(event.usage)
            info = _info(found)
        elif event.type == "message_stop":
            content = Raw(encode([block.whole() for block in blocks]))
            return encode({**head, "content": content, **stop, "usage": usage, **info})
        elif event.type == "error":
            raise faults.understand(200, data)
    raise _unfinished()


# ---------------------------------------------------------------------------------------------------- chat


@dataclass(slots=True)
class _Message:
    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    details: list[Raw] = field(default_factory=list)
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    finish: str | None = None

    def take(self, choice: chat.Choice, raw: dict[str, Raw]) -> None:
        self.finish = choice.finish_reason or self.finish
        delta = choice.delta or chat.AnswerMessage()
        if isinstance(delta.content, str):
            self.content.append(delta.content)
        self.reasoning.append(delta.reasoning_content or delta.reasoning or "")
        self.refusal.append(delta.refusal or "")
        if delta.reasoning_details:
            self.details += decoder(list[Raw]).decode(members(raw["delta"])["reasoning_details"])
        for position, call in enumerate(delta.tool_calls or ()):
            self._take_call(call, position)

    def _take_call(self, call: chat.Call, position: int) -> None:
        index = whole_number(call.index)
        whole = self.calls.setdefault(position if index is None else index, {"id": "", "type": "", "name": "", "text": ""})
        whole["id"] += call.id or ""
        whole["type"] += call.type or ""
        whole["name"] += name_of(call)
        whole["text"] += arguments_of(call)

    def whole(self) -> dict[str, object]:
        refusal = "".join(self.refusal)
        message: dict[str, object] = {"role": "assistant", "content": "".join(self.content) or None, "refusal": refusal or None}
        if reasoning := "".join(self.reasoning):
            message["reasoning_content"] = reasoning
        if self.details:
            message["reasoning_details"] = self.details
        if self.calls:
            message["tool_calls"] = [_whole_call(call) for _, call in sorted(self.calls.items())]
        return message


def _whole_call(call: dict[str, str]) -> dict[str, object]:
    member, body = ("custom", "input") if call["type"] == "custom" else ("function", "arguments")
    return {"id": call["id"], "type": member, member: {"name": call["name"], body: call["text"]}}


def _fold_chat(datas: list[bytes]) -> bytes:
    choices: dict[int, _Message] = {}
    head: dict[str, Raw] = {}
    usage: dict[str, Raw] = {}
    info: dict[str, Raw] = {}
    for data in datas:
        if data == b"[DONE]":
            break
        chunk = decode_lenient(chat.Completion, data)
        if chunk.says_error():
            raise faults.understand(200, data)
        found = members(data)
        head = head or found
        usage |= _known(chunk.usage)
        info |= _info(found)
        for choice, raw in zip(chunk.choices or (), decoder(list[dict[str, Raw]]).decode(found["choices"]), strict=True):
            choices.setdefault(whole_number(choice.index) or 0, _Message()).take(choice, raw)
    else:
        raise _unfinished()
    whole: dict[str, object] = {**head, "object": "chat.completion"}
    whole["choices"] = [
        {"index": number, "message": message.whole(), "logprobs": None, "finish_reason": message.finish}
        for number, message in sorted(choices.items())
    ]
    whole.pop("usage", None)
    return encode({**whole, "usage": usage, **info} if usage else whole)
