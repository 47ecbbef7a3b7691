"""Chat Completions, as z.ai's OpenAI-shaped endpoint speaks it: questions in, frames and JSON out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any

from transports.simulation.answers import Answer, Call, Stop, Text, Thinking
from transports.simulation.questions import (
    Calling,
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

_FINISH_REASONS = {
    Stop.END: "stop",
    Stop.CALLS: "tool_calls",
    Stop.LENGTH: "length",
    Stop.SEQUENCE: "stop",
    Stop.REFUSED: "content_filter",
}

_CALLING = {"required": Calling.FORCED, "none": Calling.BARRED}

#: When every simulated answer was made: answers follow from the request alone, so there is no clock (2026-01-01T00:00:00Z).
CREATED = 1_767_225_600
#: Pings of a stream that holds nothing else.
_PINGS = 5
_DONE = b"data: [DONE]\n\n"
#: The bends after which a stream just ends.
_UNDONE = frozenset({Bend.NO_DONE, Bend.NO_FINISH, Bend.MIDSTREAM_ERROR})


def read(body: dict[str, Any]) -> Question:
    """Raises ``Malformed``."""
    messages, answered = turns(body)
    newest = messages[answered:]
    choice = body.get("tool_choice")
    stop = body.get("stop")
    schema = mapping(mapping(body.get("response_format")).get("json_schema")).get("schema")
    functions = [mapping(tool.get("function")) for tool in objects(body.get("tools")) if tool.get("type") == "function"]
    return Question(
        key=key_of(body),
        model=model_of(body),
        stream=body.get("stream") is True,
        text=asked(messages),
        tools=tuple(Tool(string(function.get("name")), function.get("parameters") or {}) for function in functions),
        calling=Calling.FORCED if isinstance(choice, dict) else _CALLING.get(string(choice), Calling.FREE),
        forced=string(mapping(mapping(choice).get("function")).get("name")),
        parallel=body.get("parallel_tool_calls") is not False,
        results=tuple("\n".join(texts(message.get("content"))) for message in newest if message.get("role") == "tool"),
        images=tuple(image for message in newest for image in images(message.get("content"))),
        thinks=_thinks(body),
        stops=(stop,) if isinstance(stop, str) else strings(stop),
        structure=_structure(mapping(body.get("response_format")), schema),
        note=string(body.get("user")) or string(body.get("safety_identifier")) or string(mapping(body.get("metadata")).get("user_id")),
        prompt_tokens=tokens(body.get("tools"), messages),
        cached_tokens=tokens(body.get("tools"), messages[: answered - 1]) if answered else 0,
        wants_usage=mapping(body.get("stream_options")).get("include_usage") is True,
    )


def whole(question: Question, answer: Answer, bend: Bend) -> dict[str, Any]:
    said = "".join(block.text for block in answer.blocks if isinstance(block, Text))
    message: dict[str, Any] = {"role": "assistant", "content": said or None, "refusal": None}
    if answer.stop is Stop.REFUSED:
        message |= {"content": None, "refusal": said}
    if thought := "".join(block.text for block in answer.blocks if isinstance(block, Thinking)):
        message[_reasoning_field(bend)] = thought
    if calls := [block for block in answer.blocks if isinstance(block, Call)]:
        message["tool_calls"] = [_call(question, call, at) for at, call in enumerate(calls)]
    finish = None if bend is Bend.NO_FINISH else _finish_reason(answer)
    usage = _usage(question, answer)
    return {
        **_base(question, "chat.completion"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": _floats(usage) if bend is Bend.ODD_USAGE else usage,
    }


def frames(question: Question, answer: Answer, bend: Bend) -> list[bytes]:
    if bend is Bend.PINGS_ONLY:
        return [b": ping\n\n"] * _PINGS
    chunks = list(_chunks(question, answer, bend))
    if bend in _BENT:
        chunks = _BENT[bend](chunks)
    return [*(b"data: %s\n\n" % encoded(chunk) for chunk in chunks), *(() if bend in _UNDONE else (_DONE,))]


def failure(error: Failure, _key: str) -> dict[str, Any]:
    return {"error": {"message": error.message, "type": error.type, "param": None, "code": error.code}}


def _status(error: Failure) -> int:
    return error.chat_status or error.status


def _thinks(body: dict[str, Any]) -> bool:
    """z.ai's own ``thinking`` decides, else the effort."""
    if "thinking" in body:
        return mapping(body["thinking"]).get("type") == "enabled"
    return body.get("reasoning_effort") not in (None, "none", "minimal")


def _structure(response_format: dict[str, Any], schema: object) -> object:
    if response_format.get("type") == "json_object":
        return {"type": "object", "properties": {"answer": {"type": "string"}}}
    return schema


def _base(question: Question, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{question.key}", "object": kind, "created": CREATED, "model": question.model}


def _reasoning_field(bend: Bend) -> str:
    return "reasoning" if bend is Bend.OTHER_REASONING_FIELD else "reasoning_content"


def _finish_reason(answer: Answer) -> str:
    return answer.reason or _FINISH_REASONS[answer.stop]


def _call(question: Question, call: Call, at: int) -> dict[str, Any]:
    return {"id": f"call_{question.key}_{at}", "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _usage(question: Question, answer: Answer) -> dict[str, Any]:
    thought = sum(tokens(block.text) for block in answer.blocks if isinstance(block, Thinking))
    said = tokens(*(block.arguments if isinstance(block, Call) else block.text for block in answer.blocks))
    return {
        "prompt_tokens": question.prompt_tokens,
        "completion_tokens": said,
        "total_tokens": question.prompt_tokens + said,
        "prompt_tokens_details": {"cached_tokens": question.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": min(thought, said)},
    }


def _floats(usage: dict[str, Any]) -> dict[str, Any]:
    return {key: _floats(value) if isinstance(value, dict) else float(value) for key, value in usage.items()}


def _chunks(question: Question, answer: Answer, bend: Bend) -> Iterator[Event]:
    yield _chunk(question, {"role": "assistant", "content": ""})
    for block in answer.blocks:
        if isinstance(block, Thinking):
            for piece in words(block.text):
                yield _chunk(question, {_reasoning_field(bend): piece})
        elif isinstance(block, Text):
            field = "refusal" if answer.stop is Stop.REFUSED else "content"
            for piece in block.pieces or words(block.text):
                yield _chunk(question, {field: piece})
    calls = [block for block in answer.blocks if isinstance(block, Call)]
    for delta in _call_deltas(question, calls, bend):
        yield _chunk(question, {"tool_calls": [delta]})
    yield _chunk(question, {}, _finish_reason(answer))
    if question.wants_usage:
        usage = _usage(question, answer)
        yield _chunk(question, {}) | {"choices": [], "usage": _floats(usage) if bend is Bend.ODD_USAGE else usage}


def _chunk(question: Question, delta: dict[str, Any], finish: str | None = None) -> Event:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {**_base(question, "chat.completion.chunk"), "choices": [choice]}


def _call_deltas(question: Question, calls: list[Call], bend: Bend) -> Iterator[dict[str, Any]]:
    """A call's first delta names it, the rest bring its arguments; one call after the other unless they are interleaved."""
    runs = [list(_one_call(question, call, at, bend)) for at, call in enumerate(calls)]
    if bend is Bend.INTERLEAVED:
        yield from (delta for turn in zip_longest(*runs) for delta in turn if delta is not None)
    else:
        yield from (delta for run in runs for delta in run)


def _one_call(question: Question, call: Call, at: int, bend: Bend) -> Iterator[dict[str, Any]]:
    first = {"index": at, **_call(question, call, at)}
    for number, piece in enumerate(["", *pieces(call.arguments, ARGUMENT_SLICE)]):
        delta: dict[str, Any] = {"index": at, "function": {"arguments": piece}}
        if number == 0 or bend is Bend.REPEATED_IDS:
            delta = first | {"function": {"name": call.name, "arguments": piece}}
        if bend is Bend.NO_INDEX:
            del delta["index"]
        yield delta


def _with_error(chunks: list[Event]) -> list[Event]:
    error = Failure(503, "", "server_error", "overloaded", "Overloaded (simulated, in mid-stream)")
    return [*chunks[: len(chunks) // 2], failure(error, "")]


def _unfinished(chunks: list[Event]) -> list[Event]:
    return [chunk for chunk in chunks if chunk["choices"] and chunk["choices"][0]["finish_reason"] is None]


def _started_twice(chunks: list[Event]) -> list[Event]:
    """The beginning of a second generation, with an id of its own, in the middle of the first."""
    again = copy.deepcopy(chunks[0])
    again["id"] += "-again"
    return [*chunks[: len(chunks) // 2], again, *chunks[len(chunks) // 2 :]]


_BENT: dict[Bend, Callable[[list[Event]], list[Event]]] = {
    Bend.MIDSTREAM_ERROR: _with_error,
    Bend.NO_FINISH: _unfinished,
    Bend.DOUBLE_START: _started_twice,
}

WIRE = Wire(
    read=read,
    frames=frames,
    whole=whole,
    failure=failure,
    status=_status,
    limits=(
        ("x-ratelimit-limit-requests", "50"),
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "1s"),
    ),
    request_id="x-request-id",
    overflow=Failure(
        400,
        "",
        "invalid_request_error",
        "context_length_exceeded",
        "This model's maximum context length is 200000 tokens. However, your messages resulted in 250000 tokens. "
        "Please reduce the length of the messages.",
    ),
)
