"""What a correct answer is, on both wires, written down independently of the simulator. Anything else raises ``Wrong``."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

from tests.simulator.plain_http import Reply


class Wrong(AssertionError):
    pass


def demand(true: object, what: str) -> None:
    if not true:
        raise Wrong(what)


def accept(wire: str, reply: Reply | None, *, stream: bool, wants_usage: bool = False) -> None:
    if reply is None:
        raise Wrong("no answer")
    demand(reply.status == 200, f"status {reply.status}")
    demand(reply.whole, "the framing was broken")
    kind = reply.headers["content-type"]
    demand(kind.startswith("text/event-stream" if stream else "application/json"), f"content type {kind}")
    if not stream:
        text = gzip.decompress(reply.body) if "content-encoding" in reply.headers else reply.body
        (_accept_message if wire == "messages" else _accept_completion)(_json(text.decode()))
    elif wire == "messages":
        _accept_events(list(sse(reply.body)))
    else:
        _accept_chunks(list(sse(reply.body)), wants_usage=wants_usage)


def sse(body: bytes) -> Iterator[tuple[str, str]]:
    """Event name and data of every frame, as the WHATWG grammar has it; comments are skipped."""
    try:
        text = body.removeprefix(b"\xef\xbb\xbf").decode().replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise Wrong("not UTF-8") from None
    demand(text.endswith("\n\n"), "the last frame is not ended")
    for frame in text[:-2].split("\n\n"):
        name, data = "", []
        lines = [line for line in frame.split("\n") if not line.startswith(":")]
        for line in lines:
            field, colon, value = line.partition(":")
            demand(colon and field in ("event", "data"), f"odd line {line!r}")
            if field == "event":
                name = value.removeprefix(" ")
            else:
                data.append(value.removeprefix(" "))
        if lines:
            yield name, "\n".join(data)


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        raise Wrong(f"not JSON: {text[:80]!r}") from None
    demand(isinstance(value, dict) and "error" not in value, f"not an answer: {text[:80]!r}")
    assert isinstance(value, dict)
    return value


def _counts(usage: dict[str, Any], *names: str) -> None:
    for name in names:
        demand(type(usage[name]) is int and usage[name] >= 0, f"{name}: {usage[name]!r}")


MESSAGES_REASONS = {"end_turn", "tool_use", "max_tokens", "stop_sequence", "refusal"}


def _accept_message(message: dict[str, Any]) -> None:
    demand(message["type"] == "message" and message["role"] == "assistant" and message["id"].startswith("msg_"), "no message")
    demand(message["stop_reason"] in MESSAGES_REASONS, "stop_reason")
    demand((message["stop_reason"] == "stop_sequence") == isinstance(message["stop_sequence"], str), "stop_sequence")
    calls = [block for block in message["content"] if block["type"] == "tool_use"]
    demand((message["stop_reason"] == "tool_use") == bool(calls), "stop_reason and calls disagree")
    demand(len({call["id"] for call in calls}) == len(calls), "ids repeat")
    demand(all(isinstance(call["input"], dict) for call in calls), "input")
    demand(all(block["text"] for block in message["content"] if block["type"] == "text"), "an empty text block")
    _counts(message["usage"], "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    demand(message["usage"]["output_tokens"] > 0, "nothing was said")


_DELTAS = {
    "text": {"text_delta": "text"},
    "thinking": {"thinking_delta": "thinking", "signature_delta": "signature"},
    "tool_use": {"input_json_delta": "partial_json"},
}


def _accept_events(frames: list[tuple[str, str]]) -> None:
    """Folds the stream into a message, which must be one."""
    events = [_json(data) for _, data in frames]
    demand([name for name, _ in frames] == [event["type"] for event in events], "event lines")
    events = [event for event in events if event["type"] != "ping"]
    demand(len(events) >= 3, "too short")
    first, *middle, delta, last = events
    demand(first["type"] == "message_start" and first["message"]["content"] == [], "message_start")
    demand(first["message"]["usage"]["input_tokens"] > 0, "no input counted")
    _counts(first["message"]["usage"], "input_tokens", "output_tokens")
    demand(delta["type"] == "message_delta" and last == {"type": "message_stop"}, "the end")
    message = first["message"] | delta["delta"] | {"usage": delta["usage"], "content": list(_blocks(middle))}
    _accept_message(message)


def _blocks(events: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    count, block, said = 0, None, ""
    for event in events:
        demand(event.get("index") == count, "index")
        match event["type"]:
            case "content_block_start":
                demand(block is None, "two open blocks")
                block, said = event["content_block"], ""
            case "content_block_delta":
                demand(block is not None and event["delta"]["type"] in _DELTAS[block["type"]], "delta")
                assert block is not None
                piece = event["delta"][_DELTAS[block["type"]][event["delta"]["type"]]]
                demand(piece, "an empty delta")
                said += piece
            case "content_block_stop":
                demand(block is not None, "no open block")
                assert block is not None
                content = {"input": _json(said or "{}")} if block["type"] == "tool_use" else {block["type"]: said}
                yield block | content
                count, block = count + 1, None
            case other:
                raise Wrong(f"{other} between blocks")
    demand(block is None, "a block stays open")


CHAT_REASONS = {"stop", "length", "tool_calls", "content_filter"}


def _accept_completion(completion: dict[str, Any]) -> None:
    demand(completion["object"] == "chat.completion" and completion["id"], "no completion")
    (choice,) = completion["choices"]
    message, reason = choice["message"], choice["finish_reason"]
    demand(message["role"] == "assistant" and "reasoning" not in message, "message")
    demand(reason in CHAT_REASONS, "finish_reason")
    calls = message.get("tool_calls", [])
    demand((reason == "tool_calls") == bool(calls), "finish_reason and calls disagree")
    demand("tool_calls" not in message or calls, "an empty list of calls")
    demand(len({call["id"] for call in calls}) == len(calls), "ids repeat")
    for call in calls:
        demand(call["type"] == "function" and call["function"]["name"], "call")
        _json(call["function"]["arguments"] or "{}")
    demand((reason == "content_filter") == isinstance(message["refusal"], str), "refusal")
    _accept_usage(completion["usage"])


def _accept_usage(usage: dict[str, Any]) -> None:
    _counts(usage, "prompt_tokens", "completion_tokens", "total_tokens")
    demand(usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"], "the sum")
    demand(usage["prompt_tokens"] > 0 and usage["completion_tokens"] > 0, "nothing counted")
    _counts(usage["prompt_tokens_details"], "cached_tokens")
    _counts(usage["completion_tokens_details"], "reasoning_tokens")


def _accept_chunks(frames: list[tuple[str, str]], *, wants_usage: bool) -> None:
    demand(all(name == "" for name, _ in frames), "event lines")
    demand(frames and frames[-1][1] == "[DONE]", "no [DONE]")
    chunks = [_json(data) for _, data in frames[:-1]]
    demand(chunks, "nothing but [DONE]")
    if wants_usage:
        *chunks, last = chunks
        demand(last["choices"] == [], "the usage chunk has choices")
        _accept_usage(last["usage"])
    demand(all("usage" not in chunk for chunk in chunks), "usage before the end")
    head = {(chunk["id"], chunk["object"], chunk["created"], chunk["model"]) for chunk in chunks}
    demand(len(head) == 1 and chunks[0]["object"] == "chat.completion.chunk", "ids change")
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    demand(len(choices) == len(chunks) and all(choice["index"] == 0 for choice in choices), "choices")
    demand([choice["finish_reason"] for choice in choices[:-1]] == [None] * (len(choices) - 1), "finished early")
    demand(choices[-1]["delta"] == {} and choices[-1]["finish_reason"] in CHAT_REASONS, "not finished")
    demand(choices[0]["delta"] == {"role": "assistant", "content": ""}, "role")
    deltas = [choice["delta"] for choice in choices[1:-1]]
    for delta in deltas:
        demand(len(delta) == 1 and set(delta) <= {"content", "reasoning_content", "refusal", "tool_calls"}, f"delta {set(delta)}")
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    demand((choices[-1]["finish_reason"] == "tool_calls") == bool(calls), "finish_reason and calls disagree")
    _accept_calls(calls)


def _accept_calls(deltas: list[dict[str, Any]]) -> None:
    arguments: list[str] = []
    for delta in deltas:
        demand("index" in delta, "no index")
        if delta["index"] == len(arguments):
            demand(delta["id"] and delta["type"] == "function" and delta["function"]["name"], "the first delta names the call")
            arguments.append("")
        else:
            demand(delta["index"] == len(arguments) - 1, "calls take turns")
            demand(set(delta) == {"index", "function"} and set(delta["function"]) == {"arguments"}, "named twice")
        arguments[-1] += delta["function"]["arguments"]
    for text in arguments:
        _json(text or "{}")
