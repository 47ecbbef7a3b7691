"""Whole answers from one wire to the other, and between their whole and their streamed form."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec import Raw

from core.errors import UpstreamFailed, UpstreamGarbled
from core.translate import faults, stops, tools, usage
from core.translate.context import AnswerContext
from core.translate.conversation_to_messages import parsed_arguments
from core.translate.stream_to_chat import completion_id
from core.translate.stream_to_messages import message_id, stop_delta
from core.translate.usage import Counts
from core.wire import chat, messages, sse
from core.wire.codec import compact, decode_lenient, encode, given, is_object, members, text_of

T = TypeVar("T")


def answer_to_messages(body: bytes, context: AnswerContext) -> tuple[bytes, Counts]:
    """A chat completion as a Messages answer; also its token counts.

    Only the first choice is carried. Raises ``UpstreamSaid`` for an error inside a good status, ``UpstreamGarbled`` for what is no
    completion, ``UpstreamFailed`` for one that its vendor marks as broken off.
    """
    answer = _decoded(chat.Completion, body)
    if given(answer.error) and bytes(answer.error) not in (b"false", b'""', b"{}"):
        raise faults.understand(200, body)
    if not answer.choices or (message := answer.choices[0].message or answer.choices[0].delta) is None:
        raise UpstreamGarbled("the upstream's answer has no choices[0].message")
    choice = answer.choices[0]
    if choice.finish_reason in stops.FAILURES:
        raise UpstreamFailed(f'the upstream broke off its answer (finish_reason "{choice.finish_reason}")')
    content = [*_reasoning(message, context), *_texts(message), *_calls(message, context)]
    called = any(block["type"] == "tool_use" for block in content)
    reason = stops.stop_reason(choice.finish_reason, calls=called, refused=bool(message.refusal))
    stop_text = choice.stop_reason if isinstance(choice.stop_reason, str) and choice.stop_reason in context.stop_sequences else None
    counts = usage.of_chat(answer.usage) if answer.usage is not None else Counts()
    counts = counts.repaired(context.input_tokens)
    head = {"id": message_id(answer.id or "", context), "type": "message", "role": "assistant", "model": context.model, "content": content}
    stop = stop_delta(reason, stop_text, message.refusal or "")
    return b"%b,%b,\"usage\":%b}" % (encode(head)[:-1], stop[1:-1], usage.messages_json(counts)), counts


def _decoded(kind: type[T], body: bytes) -> T:
    try:
        return decode_lenient(kind, body)
    except msgspec.DecodeError as error:
        raise UpstreamGarbled(f"the upstream's answer cannot be read: {error}") from None


def _reasoning(message: chat.AnswerMessage, context: AnswerContext) -> list[dict[str, object]]:
    if not context.show_thinking:
        return []
    blocks: list[dict[str, object]] = []
    text = message.reasoning_content or message.reasoning
    signature = ""
    for detail in message.reasoning_details or ():
        if detail.data:
            blocks.append({"type": "redacted_thinking", "data": detail.data})
        signature = detail.signature or signature
    if not text:
        text = "".join(detail.text or detail.summary or "" for detail in message.reasoning_details or ())
    if not text and isinstance(message.content, list):
        text = "".join(tools.plain_text(part.thinking) for part in message.content if given(part.thinking))
    if text or signature:
        blocks.insert(0, {"type": "thinking", "thinking": text or "", "signature": signature})
    return blocks


def _texts(message: chat.AnswerMessage) -> list[dict[str, object]]:
    content = message.content
    text = content if isinstance(content, str) else "".join(part.text or part.refusal or "" for part in content or ())
    text += message.refusal or ""
    return [{"type": "text", "text": text}] if text else []


def _calls(message: chat.AnswerMessage, context: AnswerContext) -> list[dict[str, object]]:
    calls = list(message.tool_calls or ())
    if message.function_call is not None:
        calls.append(chat.Call(function=message.function_call))
    return [_call(call, number, context) for number, call in enumerate(calls)]


def _call(call: chat.Call, number: int, context: AnswerContext) -> dict[str, object]:
    name = (call.function.name if call.function is not None else call.custom.name if call.custom is not None else None) or ""
    arguments = tools.decode_string(call.function.arguments) if call.function is not None and given(call.function.arguments) else ""
    return {
        "type": "tool_use",
        "id": call.id or f"toolu_{context.seed}_{number}",
        "name": context.names.get(name, name),
        "input": parsed_arguments(arguments),
    }


# ---------------------------------------------------------------------------------------------------- Messages -> chat


def answer_to_chat(body: bytes, context: AnswerContext) -> tuple[bytes, Counts]:
    """A Messages answer as a chat completion; also its token counts. Raises as ``answer_to_messages`` does."""
    answer = _decoded(messages.Answer, body)
    if answer.type == "error" or answer.error is not None:
        raise faults.understand(200, body)
    if answer.content is None:
        raise UpstreamGarbled("the upstream's answer has no content")
    calls, schema_text = _tool_calls(answer.content, context)
    text = "".join(block.text or "" for block in answer.content if block.type == "text") + schema_text
    message: dict[str, object] = {"role": "assistant", "content": text or None}
    _explain_refusal(message, answer)
    if context.show_thinking:
        _add_reasoning(message, answer.content)
    if calls:
        message["tool_calls"] = calls
    reason = stops.finish_reason(answer.stop_reason, calls=bool(calls))
    if schema_text and not calls and answer.stop_reason == "tool_use":
        reason = "stop"
    counts = usage.of_messages(answer.usage) if answer.usage is not None else Counts()
    counts = counts.repaired(context.input_tokens)
    completion = {
        "id": completion_id(answer.id or "", context),
        "object": "chat.completion",
        "created": context.created,
        "model": context.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": Raw(usage.chat_json(counts)),
    }
    return encode(completion), counts


def _explain_refusal(message: dict[str, object], answer: messages.Answer) -> None:
    message["refusal"] = None
    if answer.stop_reason == "refusal" and answer.stop_details is not None:
        message["refusal"] = answer.stop_details.explanation


def _add_reasoning(message: dict[str, object], content: list[messages.AnswerBlock]) -> None:
    text = "".join(block.thinking or "" for block in content if block.type == "thinking")
    if text:
        message["reasoning_content"] = text
    details: list[dict[str, object]] = []
    for block in content:
        if block.type == "thinking" and block.signature:
            item = {"type": "reasoning.text", "text": block.thinking or "", "signature": block.signature}
        elif block.type == "redacted_thinking" and block.data:
            item = {"type": "reasoning.encrypted", "data": block.data}
        else:
            continue
        details.append({**item, "index": len(details)})
    if details:
        message["reasoning_details"] = details


def _tool_calls(content: list[messages.AnswerBlock], context: AnswerContext) -> tuple[list[dict[str, object]], str]:
    """The calls, and the text of the tool that stands for a JSON schema."""
    calls: list[dict[str, object]] = []
    schema_text = ""
    for block in content:
        if block.type != "tool_use":
            continue
        arguments = text_of(compact(block.input)) if given(block.input) else "{}"
        if block.name is not None and block.name == context.schema_tool:
            schema_text += arguments
            continue
        name = context.names.get(block.name or "", block.name or "")
        call_id = block.id or f"call_{context.seed}_{len(calls)}"
        if name in context.custom:
            calls.append({"id": call_id, "type": "custom", "custom": {"name": name, "input": tools.unwrapped(arguments)}})
        else:
            calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}})
    return calls, schema_text


# ---------------------------------------------------------------------------------------------------- whole <-> streamed


def chat_as_stream(body: bytes) -> bytes:
    """A whole chat completion as the stream of one chunk that says the same: for upstreams that answer JSON to a streaming request."""
    if not is_object(body):
        raise UpstreamGarbled("the upstream answered a streaming request with neither a stream nor a JSON object")
    return sse.encode(body) + sse.encode(b"[DONE]")


def messages_as_stream(body: bytes) -> bytes:
    """A whole Messages answer as the stream that says the same."""
    answer = _decoded(messages.Answer, body)
    if answer.type == "error" or answer.error is not None:
        raise faults.understand(200, body)
    if answer.content is None:
        raise UpstreamGarbled("the upstream's answer has no content")
    found = members(body)
    start = {name: value for name, value in found.items() if name not in ("content", "stop_reason", "stop_sequence", "stop_details")}
    start.update(content=Raw(b"[]"), stop_reason=Raw(b"null"), stop_sequence=Raw(b"null"))
    out = [_event("message_start", b'"message":%b' % encode(start))]
    for index, block in enumerate(decode_lenient(list[Raw], bytes(found["content"]))):
        out.extend(_block_events(index, block))
    stop = {name: found[name] for name in ("stop_reason", "stop_sequence", "stop_details") if name in found}
    stop.setdefault("stop_reason", Raw(b"null"))
    usage_raw = bytes(found["usage"]) if "usage" in found and given(found["usage"]) else b"{}"
    out.append(_event("message_delta", b'"delta":%b,"usage":%b' % (encode(stop), usage_raw)))
    out.append(_event("message_stop", b""))
    return b"".join(out)


def _event(kind: str, rest: bytes) -> bytes:
    return sse.encode(b'{"type":%b%b}' % (encode(kind), b"," + rest if rest else b""), kind.encode())


#: Of a block that is streamed: the member that deltas carry, the delta that does, and what stands in the block's start instead.
_STREAMED = {
    "text": (("text", b'{"type":"text_delta","text":%b}', b'""'),),
    "thinking": (
        ("thinking", b'{"type":"thinking_delta","thinking":%b}', b'""'),
        ("signature", b'{"type":"signature_delta","signature":%b}', b'""'),
    ),
    "tool_use": (("input", b'{"type":"input_json_delta","partial_json":%b}', b"{}"),),
}


def _block_events(index: int, raw: Raw) -> list[bytes]:
    block = members(raw)
    kind = text_of(block["type"]).strip('"') if "type" in block else ""
    start, deltas = dict(block), []
    for name, delta, empty in _STREAMED.get(kind, ()):
        value = block.get(name)
        start[name] = Raw(empty)
        if value is None or bytes(value) in (b'""', b"{}", b"null"):
            continue
        carried = encode(text_of(compact(value))) if name == "input" else bytes(value)
        deltas.append(_event("content_block_delta", b'"index":%d,"delta":%b' % (index, delta % carried)))
    opening = _event("content_block_start", b'"index":%d,"content_block":%b' % (index, encode(start)))
    return [opening, *deltas, _event("content_block_stop", b'"index":%d' % index)]
