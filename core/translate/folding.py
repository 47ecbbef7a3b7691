"""Streams folded back into whole answers: for upstreams that stream to a plain request, and for the law that both forms say the same."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import Raw

from core.dialects import Protocol
from core.errors import ProxyError, UpstreamFailed, UpstreamGarbled
from core.translate import faults, usage
from core.translate.usage import Counts
from core.wire import chat, messages, sse
from core.wire.codec import decode_lenient, decoder, encode, given, is_object, whole_number


def fold(wire: Protocol, stream: bytes) -> bytes:
    """A *well-formed* stream of ``wire`` (what the stream machines write) as the body of the whole answer.

    Raises ``UpstreamSaid`` when the stream ends in an error, ``UpstreamFailed`` when it does not end.
    """
    frames = sse.Decoder(limit=len(stream) + 1)
    found = frames.feed(stream) + frames.close()
    datas = [frame.data for frame in found]
    return _fold_messages(datas) if wire is Protocol.ANTHROPIC else _fold_chat(datas)


def _unfinished() -> ProxyError:
    return UpstreamFailed("the upstream closed its stream before the answer was complete")


# ---------------------------------------------------------------------------------------------------- Messages


@dataclass(slots=True)
class _Block:
    members: dict[str, object]
    text: list[str] = field(default_factory=list)
    signature: str = ""


def _fold_messages(datas: list[bytes]) -> bytes:
    head: dict[str, Raw] | None = None
    blocks: list[_Block] = []
    counts, stop = Counts(), None
    for data in datas:
        event = decode_lenient(messages.Event, data)
        if event.type == "message_start" and event.message is not None:
            head = decoder(dict[str, Raw]).decode(bytes(decoder(dict[str, Raw]).decode(data)["message"]))
            counts = usage.of_messages(event.message.usage or messages.Usage())
        elif event.type == "content_block_start" and event.content_block is not None:
            raw = decoder(dict[str, Raw]).decode(data)["content_block"]
            blocks.append(_Block(decoder(dict[str, object]).decode(bytes(raw))))
        elif event.type == "content_block_delta" and event.delta is not None and blocks:
            delta = event.delta
            blocks[-1].text.append(delta.text or delta.thinking or delta.partial_json or "")
            blocks[-1].signature += delta.signature or ""
        elif event.type == "message_delta":
            stop = decoder(dict[str, Raw]).decode(bytes(decoder(dict[str, Raw]).decode(data)["delta"]))
            counts = counts.overlaid(usage.of_messages(event.usage or messages.Usage()))
        elif event.type == "error":
            raise faults.understand(200, data)
    if head is None or stop is None:
        raise _unfinished()
    whole = {**head, "content": Raw(encode([_whole_block(block) for block in blocks])), **stop, "usage": Raw(usage.messages_json(counts))}
    return encode(whole)


def _whole_block(block: _Block) -> dict[str, object]:
    kind, text = block.members.get("type"), "".join(block.text)
    whole = dict(block.members)
    if kind == "text":
        whole["text"] = f"{whole.get('text') or ''}{text}"
    elif kind == "thinking":
        whole["thinking"] = f"{whole.get('thinking') or ''}{text}"
        whole["signature"] = block.signature or whole.get("signature", "")
    elif text.strip():
        whole["input"] = Raw(text.encode()) if is_object(text) else {"_raw": text}
    return whole


# ---------------------------------------------------------------------------------------------------- chat


@dataclass(slots=True)
class _Message:
    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    details: list[Raw] = field(default_factory=list)
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    finish: str | None = None

    def take(self, delta: chat.AnswerMessage) -> None:
        if isinstance(delta.content, str):
            self.content.append(delta.content)
        self.reasoning.append(delta.reasoning_content or delta.reasoning or "")
        self.refusal.append(delta.refusal or "")
        self.details.extend(Raw(encode(detail)) for detail in delta.reasoning_details or ())
        for position, call in enumerate(delta.tool_calls or ()):
            self._take_call(call, position)

    def _take_call(self, call: chat.Call, position: int) -> None:
        index = whole_number(call.index)
        whole = self.calls.setdefault(position if index is None else index, {"id": "", "type": "", "name": "", "text": ""})
        whole["id"] += call.id or ""
        whole["type"] += call.type or ""
        if call.function is not None:
            whole["name"] += call.function.name or ""
            whole["text"] += decoder(str).decode(bytes(call.function.arguments)) if given(call.function.arguments) else ""
        if call.custom is not None:
            whole["name"] += call.custom.name or ""
            whole["text"] += call.custom.input or ""

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
    if call["type"] == "custom":
        return {"id": call["id"], "type": "custom", "custom": {"name": call["name"], "input": call["text"]}}
    return {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["text"]}}


def _fold_chat(datas: list[bytes]) -> bytes:
    message = _Message()
    first: chat.Completion | None = None
    usage_raw: Raw | None = None
    for data in datas:
        if data == b"[DONE]":
            break
        chunk = decode_lenient(chat.Completion, data)
        if given(chunk.error):
            raise faults.understand(200, data)
        first = first or chunk
        if chunk.usage is not None:
            usage_raw = decoder(dict[str, Raw]).decode(data)["usage"]
        for choice in (chunk.choices or ())[:1]:
            message.finish = choice.finish_reason or message.finish
            if choice.delta is not None:
                message.take(choice.delta)
    else:
        raise _unfinished()
    if first is None:
        raise UpstreamGarbled("the upstream's stream held no answer")
    whole: dict[str, object] = {"id": first.id, "object": "chat.completion", "created": first.created, "model": first.model}
    whole["choices"] = [{"index": 0, "message": message.whole(), "logprobs": None, "finish_reason": message.finish or "stop"}]
    if usage_raw is not None:
        whole["usage"] = usage_raw
    return encode(whole)
