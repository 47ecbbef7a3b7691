"""HTTP by hand: nothing between the test and the bytes, so that broken answers can be looked at."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Seconds after which a test that waits for bytes is stuck.
STUCK = 10.0

WIRES = {"messages": "/api/anthropic/v1/messages", "chat": "/api/paas/v4/chat/completions"}

WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"enum": ["celsius", "kelvin"]},
        "days": {"type": "array", "items": {"type": "integer", "minimum": 2}},
        "place": {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"lat": {"type": "number"}}, "required": ["lat"]}]},
    },
    "required": ["city", "unit", "days", "place"],
}
TOOLS: dict[str, list[dict[str, Any]]] = {
    "messages": [{"name": name, "description": "d", "input_schema": WEATHER} for name in ("get_weather", "get_tides")],
    "chat": [{"type": "function", "function": {"name": name, "parameters": WEATHER}} for name in ("get_weather", "get_tides")],
}


@dataclass(frozen=True, slots=True)
class Reply:
    """``body`` without its framing; ``whole`` when the framing was kept, ``pieces`` the chunks as they were cut."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool
    pieces: tuple[bytes, ...] = ()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request_body(wire: str, model: str, text: str = "hello", *, tools: bool = True, **more: object) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    if wire == "messages":
        body.setdefault("max_tokens", 1000)
    if tools:
        body["tools"] = TOOLS[wire]
    return body


def encoded(method: str, path: str, body: bytes = b"", headers: str = "connection: close\r\n") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body


def ask(port: int, path: str, body: object = None, *, method: str = "POST", headers: str = "") -> Reply | None:
    """One request on a connection of its own, read to the end of the connection. None when it ends without a head."""
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    with connect(port) as client:
        client.sendall(encoded(method, path, raw, f"connection: close\r\n{headers}"))
        received = read_to_end(client)
    return parsed(received) if received else None


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=STUCK)


def read_to_end(client: socket.socket) -> bytes:
    received = b""
    while data := client.recv(65536):
        received += data
    return received


def parsed(received: bytes) -> Reply:
    head, _, rest = received.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    status = int(lines[0].split(" ")[1])
    if "content-length" in headers:
        return Reply(status, headers, rest, len(rest) == int(headers["content-length"]))
    pieces, whole = _chunks(rest)
    body = b"".join(pieces)
    if headers.get("content-encoding") == "gzip" and whole:
        body = gzip.decompress(body)
    return Reply(status, headers, body, whole, tuple(pieces))


def _chunks(rest: bytes) -> tuple[list[bytes], bool]:
    pieces: list[bytes] = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return pieces, rest == b"\r\n"
        if rest[length : length + 2] != b"\r\n":
            return [*pieces, rest[:length]], False
        pieces.append(rest[:length])
        rest = rest[length + 2 :]
    return pieces, False
