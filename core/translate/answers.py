"""Whole answers from one wire to the other, and in their streamed form."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec
from msgspec import Raw

from core.dialects import Protocol
from core.errors import UpstreamFailed, UpstreamGarbled
from core.translate import faults, stops, tools, usage
from core.translate.calls import arguments_of, name_of
from core.translate.context import AnswerContext
from core.translate.conversation_to_messages import parsed_arguments
from core.translate.stream_to_chat import completion_id
from core.translate.stream_to_messages import message_id, stop_delta, thinking_of
from core.translate.usage import Counts
from core.wire import chat, messages, sse
from core.wire.codec import compact, decode_lenient, decoder, encode, given, members, mend_surrogates, text_of

T = TypeVar("T")


def whole_completion(body: bytes) -> chat.Completion:
    """A chat upstream's whole answer.

    Raises ``UpstreamSaid`` for an error inside a good status, ``UpstreamGarbled`` for what is no completion, ``UpstreamFailed`` for one
    that its vendor marks as broken off.
    """
    answer = _decoded(chat.Completion, body)
    if answer.says_error() or answer.object == "error":
        raise faults.understand(200, body)
    if not answer.choices:
        _refuse_error(body)
        raise UpstreamGarbled("the upstream's answer has no choices")
    _refuse_broken(answer.choices[0].finish_reason)
    return answer


def whole_message(body: bytes) -> messages.Answer:
    """A Messages upstream's whole answer. Raises as ``whole_completion`` does."""
    answer = _decoded(messages.Answer, body)
    if answer.type == "error" or given(answer.error):
        raise faults.understand(200, body)
    if answer.content is None:
        _refuse_error(body)
        raise UpstreamGarbled("the upstream's answer has no content")
    _refuse_broken(answer.stop_reason)
    return answer


def _refuse_error(body: bytes) -> None:
    if faults.is_flat_error(body):
        raise faults.understand(200, body)


def _decoded(kind: type[T], body: bytes) -> T:
    try:
        return decode_lenient(kind, body)
    except msgspec.DecodeError as error:
        raise UpstreamGarbled(f"the upstream's answer cannot be read: {error}") from None


def legible(body: bytes) -> bytes:
    """``body`` with U+FFFD for broken UTF-8 and lone surrogates. Raises ``UpstreamGarbled`` for what is no JSON object."""
    try:
        body.decode()
        members(body)
    except UnicodeDecodeError:
        return legible(body.decode("utf-8", "replace").encode())
    except RecursionError:
        raise UpstreamGarbled("the upstream's answer cannot be read: nested too deeply") from None
    except msgspec.ValidationError as error:
        raise UpstreamGarbled(f"the upstream's answer cannot be read: {error}") from None
    except msgspec.DecodeError:
        try:
            return mend_surrogates(body)
        except msgspec.DecodeError as error:
            raise UpstreamGarbled(f"the upstream's answer cannot be read: {error}") from None
    return body


def _refuse_broken(reason: str | None) -> None:
    if reason in stops.FAILURES:
        raise UpstreamFailed(f'the upstream broke off its answer ("{reason}")')


# ---------------------------------------------------------------------------------------------------- chat -> Messages


def answer_to_messages(body: bytes, context: AnswerContext) -> tuple[bytes, Counts]:
    """A chat completion as a Messages answer; also its token counts.

    Only the first choice is carried; citations, log probabilities and audio are lost. Raises as ``whole_completion`` does, and
    ``UpstreamGarbled`` for a call without the name of its tool.
    """
    answer = whole_completion(legible(body))
    choice = (answer.choices or [chat.Choice()])[0]
    message = choice.message or choice.delta
    if message is None:
        raise UpstreamGarbled("the upstream's answer has no choices[0].message")
    calls = _calls(message, context)
    thoughts, text = _reasoning(message, context), _text(message)
    content = [*thoughts, *_blocks(text), *calls]
    reason = stops.stop_reason(choice.finish_reason, calls=bool(calls), refused=bool(message.refusal))
    stop_text = choice.stop_reason if isinstance(choice.stop_reason, str) and choice.stop_reason in context.stop_sequences else None
    counts = context.completed(
        usage.of_chat(answer.usage), lambda: usage.weight(text) + _calls_weight(message) + sum(map(_thought_weight, thoughts))
    )
    head = {"id": message_id(answer.id or "", context), "type": "message", "role": "assistant", "model": context.model, "content": content}
    stop = stop_delta(reason, stop_text, message.refusal or "")
    told = context.report.usage_of(Protocol.ANTHROPIC, counts)
    return b'%b,%b,"usage":%b%b}' % (encode(head)[:-1], stop[1:-1], told, context.info(counts)), counts


def _reasoning(message: chat.AnswerMessage, context: AnswerContext) -> list[dict[str, object]]:
    """The thinking blocks: by the first of the three fields that says anything. Signatures stand in ``reasoning_details`` alone."""
    if not context.show_thinking:
        return []
    details = message.reasoning_details or []
    text = message.reasoning_content or message.reasoning or ""
    if not text and isinstance(message.content, list):
        text = "".join(map(thinking_of, message.content))
    if text and not (any(detail.signature for detail in details) and any(detail.text for detail in details)):
        details = [chat.AnswerDetail(text=text), *(chat.AnswerDetail(signature=one.signature, data=one.data) for one in details)]
    blocks: list[dict[str, object]] = []
    pending = ""
    for detail in details:
        pending += detail.text or detail.summary or ""
        if detail.signature:
            blocks.append(_thinking(pending, detail.signature))
            pending = ""
        if detail.data:
            blocks += [_thinking(pending)] if pending.strip() else []
            blocks.append({"type": "redacted_thinking", "data": detail.data})
            pending = ""
    return [*blocks, _thinking(pending)] if pending.strip() else blocks


def _thinking(text: str, signature: str = "") -> dict[str, object]:
    return {"type": "thinking", "thinking": text, "signature": signature}


def _text(message: chat.AnswerMessage) -> str:
    content = message.content
    text = content if isinstance(content, str) else "".join(part.text or part.refusal or "" for part in content or ())
    return text + (message.refusal or "")


def _blocks(text: str) -> list[dict[str, object]]:
    return [{"type": "text", "text": text}] if text.strip() else []  # Anthropic refuses blank text when it comes back


def _thought_weight(block: dict[str, object]) -> int:
    return usage.weight(str(block.get("thinking", "")))


def _calls_weight(message: chat.AnswerMessage) -> int:
    return sum(usage.call_weight(name_of(call), arguments_of(call)) for call in _said_calls(message))


def completion_weight(answer: chat.Completion) -> int:
    """What a chat completion says in all its choices, by ``usage.weight``."""
    total = 0
    for choice in answer.choices or ():
        message = choice.message or choice.delta or chat.AnswerMessage()
        total += usage.weight(_text(message)) + usage.weight(message.reasoning_content or message.reasoning or "") + _calls_weight(message)
    return total


def _said_calls(message: chat.AnswerMessage) -> list[chat.Call]:
    calls = list(message.tool_calls or ())
    if message.function_call is not None:
        calls.append(chat.Call(function=message.function_call))
    return [call for call in calls if name_of(call) or arguments_of(call).strip()]


def _calls(message: chat.AnswerMessage, context: AnswerContext) -> list[dict[str, object]]:
    ids: set[str] = set()
    return [_call(call, number, ids, context) for number, call in enumerate(_said_calls(message))]


def _call(call: chat.Call, number: int, ids: set[str], context: AnswerContext) -> dict[str, object]:
    name, arguments = name_of(call), arguments_of(call)
    if not name:
        raise UpstreamGarbled("the upstream called a tool without its name")
    call_id = call.id or f"toolu_{context.seed}_{number}"
    if call_id in ids:  # results are told apart by the id
        call_id = f"{call_id}_{number}"
    ids.add(call_id)
    given_input = Raw(encode({tools.WRAPPED: arguments})) if call.custom is not None else parsed_arguments(arguments)
    return {"type": "tool_use", "id": call_id, "name": context.names.get(name, name), "input": given_input}


# ---------------------------------------------------------------------------------------------------- Messages -> chat


def answer_to_chat(body: bytes, context: AnswerContext) -> tuple[bytes, Counts]:
    """A Messages answer as a chat completion; also its token counts.

    Blocks of the vendor's own tools and citations are lost. Raises as ``whole_message`` does, and ``UpstreamGarbled`` for a call without
    the name of its tool.
    """
    answer = whole_message(legible(body))
    content = answer.content or []
    calls, schema_text = _tool_calls(content, context)
    text = "".join(block.text or "" for block in content if block.type == "text") + schema_text
    message: dict[str, object] = {"role": "assistant", "content": text or None, "refusal": None}
    if answer.stop_reason == "refusal" and answer.stop_details is not None:
        message["refusal"] = answer.stop_details.explanation
    if context.show_thinking:
        _add_reasoning(message, content)
    if calls:
        message["tool_calls"] = calls
    counts = context.completed(usage.of_messages(answer.usage), lambda: message_weight(answer, context, thinking=context.show_thinking))
    reason = stops.finish_reason(answer.stop_reason, calls=bool(calls))
    completion: dict[str, object] = {
        "id": completion_id(answer.id or "", context),
        "object": "chat.completion",
        "created": context.created,
        "model": context.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": Raw(context.report.usage_of(Protocol.OPENAI, counts)),
    }
    return b"%b%b}" % (encode(completion)[:-1], context.info(counts)), counts


def message_weight(answer: messages.Answer, context: AnswerContext, *, thinking: bool = True) -> int:
    """What a Messages answer says to its client, by ``usage.weight``: text, ``thinking`` if it is passed on, and calls of its tools."""
    total = 0
    for block in answer.content or ():
        if block.type == "text" or (block.type == "thinking" and thinking):
            total += usage.weight(block.text or block.thinking or "")
        elif block.type == "tool_use":
            arguments = _arguments(block)
            schema = block.name == context.schema_tool
            name = context.names.get(block.name or "", block.name or "")
            total += usage.weight(arguments) if schema else usage.call_weight(name, arguments)
    return total


def _arguments(block: messages.AnswerBlock) -> str:
    return text_of(compact(block.input)) if given(block.input) else "{}"


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
        if not block.name:
            raise UpstreamGarbled("the upstream called a tool without its name")
        arguments = _arguments(block)
        if block.name == context.schema_tool:
            schema_text += arguments
            continue
        name = context.names.get(block.name, block.name)
        call_id = block.id or f"call_{context.seed}_{len(calls)}"
        if name in context.custom:
            calls.append({"id": call_id, "type": "custom", "custom": {"name": name, "input": tools.unwrapped(arguments)}})
        else:
            calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}})
    return calls, schema_text


# ---------------------------------------------------------------------------------------------------- whole -> streamed


def chat_as_stream(body: bytes) -> bytes:
    """A whole chat completion as a stream of one chunk, whose choices hold a ``message`` still.

    For upstreams that answer a streaming request with JSON. Raises ``UpstreamGarbled`` for what is no JSON object.
    """
    return sse.encode(legible(body)) + sse.encode(b"[DONE]")


def messages_as_stream(body: bytes) -> bytes:
    """A whole Messages answer as the stream that says the same. Raises as ``whole_message`` does."""
    body = legible(body)
    whole_message(body)
    found = members(body)
    start = {name: value for name, value in found.items() if name not in ("content", "stop_reason", "stop_sequence", "stop_details")}
    start.update(content=Raw(b"[]"), stop_reason=Raw(b"null"), stop_sequence=Raw(b"null"))
    out = [_event("message_start", b'"message":%b' % encode(start))]
    for index, block in enumerate(decoder(list[Raw]).decode(found["content"])):
        out.extend(block_events(index, block))
    stop = {name: found[name] for name in ("stop_reason", "stop_sequence", "stop_details") if name in found}
    said = bytes(found["usage"]) if "usage" in found else b"null"
    out.append(_event("message_delta", b'"delta":%b,"usage":%b' % (encode(stop), said)))
    out.append(_event("message_stop", b""))
    return b"".join(out)


def _event(kind: str, rest: bytes) -> bytes:
    return sse.encode(b'{"type":%b%b}' % (encode(kind), b"," + rest if rest else b""), kind.encode())


#: Of a block that is streamed: the member that deltas carry, the delta that does, and what stands in the block's start instead.
_STREAMED: Final = {
    "text": (("text", b'{"type":"text_delta","text":%b}', b'""'),),
    "thinking": (
        ("thinking", b'{"type":"thinking_delta","thinking":%b}', b'""'),
        ("signature", b'{"type":"signature_delta","signature":%b}', b'""'),
    ),
    "tool_use": (("input", b'{"type":"input_json_delta","partial_json":%b}', b"{}"),),
}


def block_events(index: int, raw: Raw) -> list[bytes]:
    """The frames of one block of a whole answer."""
    start: dict[str, Raw] = members(raw)
    deltas = []
    for name, delta, empty in _STREAMED.get(decode_lenient(messages.AnswerBlock, bytes(raw)).type, ()):
        value, start[name] = start.get(name), Raw(empty)
        if value is None or bytes(value) in (b'""', b"{}", b"null"):
            continue
        carried = encode(text_of(compact(value))) if name == "input" else bytes(value)
        deltas.append(_event("content_block_delta", b'"index":%d,"delta":%b' % (index, delta % carried)))
    opening = _event("content_block_start", b'"index":%d,"content_block":%b' % (index, encode(start)))
    return [opening, *deltas, _event("content_block_stop", b'"index":%d' % index)]
