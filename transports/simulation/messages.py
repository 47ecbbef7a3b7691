"""The Messages API, as z.ai's Anthropic-shaped endpoint speaks it: questions in, frames and JSON out."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any

from transports.simulation.answers import Answer, Block, Call, Stop, Text, Thinking
from transports.simulation.questions import (
    Calling,
    Malformed,
    Question,
    Tool,
    asked,
    images,
    key_of,
    mapping,
    model_of,
    objects,
    string,
    strings,
    texts,
    tokens,
    turns,
)  # fmt: skip
from transports.simulation.wire import ARGUMENT_SLICE, Bend, Event, Failure, Wire, encoded, pieces, words

_STOP_REASONS = {
    Stop.END: "end_turn",
    Stop.CALLS: "tool_use",
    Stop.LENGTH: "max_tokens",
    Stop.SEQUENCE: "stop_sequence",
    Stop.REFUSED: "refusal",
}

_CALLING = {"any": Calling.FORCED, "tool": Calling.FORCED, "none": Calling.BARRED}

_PING: Event = {"type": "ping"}
#: Pings of a stream that holds nothing else.
_PINGS = 5


def read(body: dict[str, Any]) -> Question:
    """Raises ``Malformed``."""
    if not isinstance(body.get("max_tokens"), int):
        raise Malformed("max_tokens: an integer is required")
    return read_uncounted(body)


def read_uncounted(body: dict[str, Any]) -> Question:
    """The body of a count_tokens request, which says nothing of an answer's length. Raises ``Malformed``."""
    messages, answered = turns(body)
    newest = messages[answered:]
    choice = mapping(body.get("tool_choice"))
    thinking = mapping(body.get("thinking"))
    output = mapping(mapping(body.get("output_config")).get("format"))
    results = [block for message in newest for block in objects(message.get("content")) if block.get("type") == "tool_result"]
    return Question(
        key=key_of(body),
        model=model_of(body),
        stream=body.get("stream") is True,
        text=asked(messages),
        tools=tuple(Tool(string(tool.get("name")), tool["input_schema"]) for tool in objects(body.get("tools")) if "input_schema" in tool),
        calling=_CALLING.get(string(choice.get("type")), Calling.FREE),
        forced=string(choice.get("name")),
        parallel=choice.get("disable_parallel_tool_use") is not True,
        results=tuple("\n".join(texts(block.get("content"))) for block in results),
        images=tuple(image for message in newest for image in images(message.get("content"))),
        thinks=thinking.get("type") in ("enabled", "adaptive", "between_tools"),
        hides_thinking=thinking.get("display") == "omitted",
        stops=strings(body.get("stop_sequences")),
        structure=output.get("schema"),
        note=string(mapping(body.get("metadata")).get("user_id")),
        prompt_tokens=tokens(body.get("system"), body.get("tools"), messages),
        cached_tokens=tokens(body.get("system"), body.get("tools"), messages[: answered - 1]) if answered else 0,
    )


def whole(question: Question, answer: Answer, bend: Bend) -> dict[str, Any]:
    message = _message(question)
    message["content"] = [_block(question, answer, at) for at in range(len(answer.blocks))]
    message |= _ending(answer)
    message["usage"] = _usage(question, answer)
    if bend is Bend.NO_FINISH:
        message["stop_reason"] = None
    if bend is Bend.ODD_USAGE:
        message["usage"] = _floats(message["usage"])
    return message


def frames(question: Question, answer: Answer, bend: Bend) -> list[bytes]:
    events = list(_events(question, answer))
    if bend in _BENT:
        events = _BENT[bend](events)
    return [_frame(event) for event in events]


def failure(error: Failure, key: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": error.kind, "message": error.message}, "request_id": f"req_{key}"}


def _status(error: Failure) -> int:
    return error.status


def _frame(event: Event) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (event["type"].encode(), encoded(event))


def _message(question: Question) -> dict[str, Any]:
    return {
        "id": f"msg_{question.key}",
        "type": "message",
        "role": "assistant",
        "model": question.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _ending(answer: Answer) -> dict[str, Any]:
    ending: dict[str, Any] = {
        "stop_reason": answer.reason or _STOP_REASONS[answer.stop],
        "stop_sequence": answer.sequence or None,
    }
    if answer.stop is Stop.REFUSED:
        ending["stop_details"] = {"type": "refusal", "category": None, "explanation": "This refusal is simulated."}
    return ending


def _usage(question: Question, answer: Answer) -> dict[str, Any]:
    thought = sum(tokens(block.text) for block in answer.blocks if isinstance(block, Thinking))
    said = tokens(*(block.arguments if isinstance(block, Call) else block.text for block in answer.blocks))
    usage: dict[str, Any] = {
        "input_tokens": question.prompt_tokens - question.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": question.cached_tokens,
        "output_tokens": said,
    }
    if thought:
        usage["output_tokens_details"] = {"thinking_tokens": min(thought, said)}
    return usage


def _block(question: Question, answer: Answer, at: int) -> dict[str, Any]:
    match answer.blocks[at]:
        case Text(text):
            return {"type": "text", "text": text}
        case Thinking(text):
            return {"type": "thinking", "thinking": "" if question.hides_thinking else text, "signature": _signature(text)}
        case Call(name, arguments):
            return {"type": "tool_use", "id": f"toolu_{question.key}_{at}", "name": name, "input": json.loads(arguments or "{}")}


def _signature(text: str) -> str:
    return base64.b64encode(b"simulated" + hashlib.sha256(text.encode("utf-8", "replace")).digest()).decode()


def _events(question: Question, answer: Answer) -> Iterator[Event]:
    usage = _usage(question, answer)
    start = {key: value for key, value in usage.items() if key != "output_tokens_details"} | {"output_tokens": 1}
    yield {"type": "message_start", "message": _message(question) | {"usage": start}}
    yield _PING
    for at, block in enumerate(answer.blocks):
        whole_block = _block(question, answer, at)
        empty: dict[str, Any] = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}
        yield {"type": "content_block_start", "index": at, "content_block": whole_block | empty[whole_block["type"]]}
        for delta in _deltas(block, whole_block):
            yield {"type": "content_block_delta", "index": at, "delta": delta}
        yield {"type": "content_block_stop", "index": at}
    yield {"type": "message_delta", "delta": _ending(answer), "usage": usage}
    yield {"type": "message_stop"}


def _deltas(block: Block, whole_block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    match block:
        case Text(text, cut):
            for piece in cut or words(text):
                yield {"type": "text_delta", "text": piece}
        case Thinking():
            for piece in words(whole_block["thinking"]):
                yield {"type": "thinking_delta", "thinking": piece}
            yield {"type": "signature_delta", "signature": whole_block["signature"]}
        case Call(_, arguments):
            for piece in pieces(arguments, ARGUMENT_SLICE):
                yield {"type": "input_json_delta", "partial_json": piece}


def _with_error(events: list[Event]) -> list[Event]:
    error = Failure(529, "overloaded_error", "", None, "Overloaded (simulated, in mid-stream)")
    return [*events[: len(events) // 2], {"type": "error", "error": {"type": error.kind, "message": error.message}}]


def _without(*types: str) -> Callable[[list[Event]], list[Event]]:
    return lambda events: [event for event in events if event["type"] not in types]


def _interleaved(events: list[Event]) -> list[Event]:
    """All blocks open at once, their deltas taking turns."""
    blocks = sorted({event["index"] for event in events if "index" in event})
    starts = [event for event in events if event["type"] == "content_block_start"]
    stops = [event for event in events if event["type"] == "content_block_stop"]
    deltas = [[event for event in events if event["type"] == "content_block_delta" and event["index"] == at] for at in blocks]
    mixed = [event for turn in zip_longest(*deltas) for event in turn if event is not None]
    rest = [event for event in events if "index" not in event]
    return [*rest[:-2], *starts, *mixed, *stops, *rest[-2:]]


def _started_twice(events: list[Event]) -> list[Event]:
    again = copy.deepcopy(events[0])
    again["message"]["id"] += "_again"
    return [*events[: len(events) // 2], again, *events[len(events) // 2 :]]


def _odd_usage(events: list[Event]) -> list[Event]:
    """z.ai: nothing is known at the start, and the numbers of the end are not always integers."""
    events = copy.deepcopy(events)
    events[0]["message"]["usage"] = {"input_tokens": 0, "output_tokens": 0}
    for event in events:
        if event["type"] == "message_delta":
            event["usage"] = _floats(event["usage"])
    return events


def _floats(usage: dict[str, Any]) -> dict[str, Any]:
    return {key: _floats(value) if isinstance(value, dict) else float(value) for key, value in usage.items()}


def _pings_only(_events: list[Event]) -> list[Event]:
    return [_PING] * _PINGS


_BENT: dict[Bend, Callable[[list[Event]], list[Event]]] = {
    Bend.MIDSTREAM_ERROR: _with_error,
    Bend.NO_DONE: _without("message_stop"),
    Bend.NO_FINISH: _without("message_delta", "message_stop"),
    Bend.INTERLEAVED: _interleaved,
    Bend.DOUBLE_START: _started_twice,
    Bend.ODD_USAGE: _odd_usage,
    Bend.PINGS_ONLY: _pings_only,
}

WIRE = Wire(
    read=read,
    frames=frames,
    whole=whole,
    failure=failure,
    status=_status,
    limits=(
        ("anthropic-ratelimit-requests-limit", "50"),
        ("anthropic-ratelimit-requests-remaining", "0"),
        ("anthropic-ratelimit-requests-reset", "2026-01-02T03:04:05Z"),
    ),
    request_id="request-id",
    overflow=Failure(400, "invalid_request_error", "", None, "prompt is too long: 250000 tokens > 200000 maximum"),
)
