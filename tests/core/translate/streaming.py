"""The words of both streams, and a way to run a machine: what the tables of the stream tests are written in."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from core.dialects import Protocol
from core.testing import accept_chat_stream, accept_messages_stream
from core.translate.context import AnswerContext
from core.translate.machine import Machine
from core.wire import sse

Event = dict[str, Any]

CONTEXT = AnswerContext("claude", "seed", 1_700_000_000)
DONE = "[DONE]"


def frame(event: Event | str | bytes, name: str = "") -> bytes:
    """One frame: of a JSON value, without white space as vendors write it, or of data as it is."""
    data = (
        event
        if isinstance(event, bytes)
        else event.encode()
        if isinstance(event, str)
        else json.dumps(event, separators=(",", ":")).encode()
    )
    return sse.encode(data, name.encode())


def frames(*events: Event | str | bytes) -> bytes:
    """Frames without names: the machines go by what the data says."""
    return b"".join(map(frame, events))


def run(kind: type[Machine], stream: bytes, **context: Any) -> tuple[Machine, list[Any]]:
    """A machine that took ``stream`` at once, and what it wrote, as parsed JSON: ``[DONE]`` and comments stay text.

    What it wrote is held to the grammar of its client's wire.
    """
    machine = kind(replace(CONTEXT, **context))
    out = machine.feed(stream) + machine.close()
    if out and not machine.context.custom:  # the acceptor of chat knows function calls only
        accepted = (accept_messages_stream if machine.CLIENT is Protocol.ANTHROPIC else accept_chat_stream)(out)
        assert accepted.kind == ("complete" if machine.error is None else "error")
    return machine, parsed(out)


def parsed(out: bytes) -> list[Any]:
    found = []
    for block in out.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n")[:-1]:
        data = b"\n".join(line[6:] for line in block.split(b"\n") if line.startswith(b"data: "))
        found.append(json.loads(data) if data[:1] == b"{" else (data or block).decode())
    return found


# ---------------------------------------------------------------------------------------------------- chat


def delta(finish: str | None = None, **members: Any) -> Event:
    """A chunk as a plain server sends it."""
    return chunk([{"index": 0, "delta": members, "finish_reason": finish}])


def chunk(choices: list[Event], **more: Any) -> Event:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "glm", "choices": choices, **more}


def call(index: int | None = 0, arguments: Any = None, *, id: str | None = None, name: str | None = None) -> Event:
    """A fragment of a call; the members that are None are left out."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    head: Event = {"index": index, "id": id, "type": "function" if id else None, "function": function}
    return {key: value for key, value in head.items() if value is not None}


def calls(*fragments: Event) -> Event:
    return delta(tool_calls=list(fragments))


# ---------------------------------------------------------------------------------------------------- Messages


def usage(input_tokens: int = 0, output_tokens: int = 0, read: int = 0, written: int = 0, **more: Any) -> Event:
    """Usage as the proxy writes it."""
    cache = {"cache_creation_input_tokens": written, "cache_read_input_tokens": read}
    return {"input_tokens": input_tokens, **cache, "output_tokens": output_tokens, **more}


def start(id: str = "msg_1", model: str = "claude", **tokens: Any) -> Event:
    head: Event = {
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
    return {"type": "message_start", "message": {**head, "usage": usage(**tokens)}}


def opened(index: int, kind: str, **members: Any) -> Event:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **members}}


def piece(index: int, kind: str, **members: Any) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **members}}


def closed(index: int) -> Event:
    return {"type": "content_block_stop", "index": index}


def text(index: int, *pieces: str) -> list[Event]:
    return [opened(index, "text", text=""), *(piece(index, "text_delta", text=one) for one in pieces), closed(index)]


def thinking(index: int, *pieces: str, signature: str = "") -> list[Event]:
    signed = [piece(index, "signature_delta", signature=signature)] if signature else []
    begun = opened(index, "thinking", thinking="", signature="")
    return [begun, *(piece(index, "thinking_delta", thinking=one) for one in pieces), *signed, closed(index)]


def tool(index: int, *pieces: str, id: str = "c1", name: str = "read") -> list[Event]:
    begun = opened(index, "tool_use", id=id, name=name, input={})
    return [begun, *(piece(index, "input_json_delta", partial_json=one) for one in pieces), closed(index)]


def ending(reason: str = "end_turn", sequence: str | None = None, details: Event | None = None, **tokens: Any) -> list[Event]:
    stop: Event = {"stop_reason": reason, "stop_sequence": sequence}
    if details is not None:
        stop["stop_details"] = details
    return [{"type": "message_delta", "delta": stop, "usage": usage(**tokens)}, {"type": "message_stop"}]
