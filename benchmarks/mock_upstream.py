"""An upstream that costs next to nothing: both wires, plain and streaming, from bytes made beforehand.

    python -m benchmarks.mock_upstream

Listens on a free loopback port and prints it. A model with ``paced`` in its name is answered with 40 events, one each 25 ms;
any other with 300 at once. It is no reference for either wire: the simulator is.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

#: Events of text per stream: a long answer at once, and a typical one at the speed of a model.
BURST, PACED = 300, 40
#: Seconds between the events of a paced stream.
PACE = 0.025

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_MODEL_PACED = re.compile(rb'"model" *: *"[^"]*paced[^"]*"')
_STREAM = re.compile(rb'"stream" *: *true')

_USAGE_MESSAGES = {"input_tokens": 1000, "output_tokens": BURST, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
_USAGE_CHAT = {"prompt_tokens": 1000, "completion_tokens": BURST, "total_tokens": 1000 + BURST}


def _encode(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _message(content: list[dict[str, Any]], stop_reason: str | None) -> dict[str, Any]:
    return {
        "id": "msg_mock", "type": "message", "role": "assistant", "model": "mock", "content": content,
        "stop_reason": stop_reason, "stop_sequence": None, "usage": _USAGE_MESSAGES,
    }  # fmt: skip


def _completion(kind: str, choice: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-mock", "object": kind, "created": 1_700_000_000, "model": "mock", "choices": [{"index": 0, **choice}], **more}


def messages_events(count: int) -> Iterator[bytes]:
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": _message([], None)},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": f"word {n} "}} for n in range(count)),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": count}},
        {"type": "message_stop"},
    ]
    return (b"event: " + event["type"].encode() + b"\ndata: " + _encode(event) + b"\n\n" for event in events)


def chat_events(count: int) -> Iterator[bytes]:
    kind = "chat.completion.chunk"
    chunks = [
        _completion(kind, {"delta": {"role": "assistant", "content": ""}, "finish_reason": None}),
        *(_completion(kind, {"delta": {"content": f"word {n} "}, "finish_reason": None}) for n in range(count)),
        _completion(kind, {"delta": {}, "finish_reason": "stop"}),
        _completion(kind, {}) | {"choices": [], "usage": _USAGE_CHAT},
    ]
    yield from (b"data: " + _encode(chunk) + b"\n\n" for chunk in chunks)
    yield b"data: [DONE]\n\n"


def _plain(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_STREAM_END = b"0\r\n\r\n"

_TEXT = "A short answer. " * 10
PLAIN = {
    "messages": _plain(_encode(_message([{"type": "text", "text": _TEXT}], "end_turn"))),
    "chat": _plain(
        _encode(
            _completion("chat.completion", {"message": {"role": "assistant", "content": _TEXT}, "finish_reason": "stop"}, usage=_USAGE_CHAT)
        )
    ),
}
#: The whole stream in pieces of 16 events: what a busy upstream puts into one packet.
AT_ONCE = {
    wire: _STREAM_HEAD + b"".join(_chunk(b"".join(events[at : at + 16])) for at in range(0, len(events), 16)) + _STREAM_END
    for wire, events in (("messages", list(messages_events(BURST))), ("chat", list(chat_events(BURST))))
}
ONE_BY_ONE = {
    "messages": [_chunk(event) for event in messages_events(PACED)],
    "chat": [_chunk(event) for event in chat_events(PACED)],
}


class _Upstream(asyncio.Protocol):
    def __init__(self) -> None:
        self._buffer = bytearray()
        self._pending = -1  # bytes of head and body of the request that is coming in; -1 while its head is incomplete
        self._transport: asyncio.Transport | None = None
        self._pacing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._pacing is not None:
            self._pacing.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._pending < 0 and (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._buffer, 0, end)
            self._pending = end + 4 + (int(length[1]) if length else 0)
        if 0 <= self._pending <= len(self._buffer):
            request, self._buffer, self._pending = bytes(self._buffer[: self._pending]), self._buffer[self._pending :], -1
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        assert self._transport is not None
        wire = "messages" if b"/messages" in request[: request.index(b"\r\n")] else "chat"
        if not _STREAM.search(request):
            self._transport.write(PLAIN[wire])
        elif _MODEL_PACED.search(request):
            self._pacing = asyncio.create_task(self._pace(ONE_BY_ONE[wire], self._transport))
        else:
            self._transport.write(AT_ONCE[wire])

    async def _pace(self, events: list[bytes], transport: asyncio.Transport) -> None:
        transport.write(_STREAM_HEAD)
        for event in events:
            transport.write(event)
            await asyncio.sleep(PACE)
        transport.write(_STREAM_END)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(_Upstream, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
