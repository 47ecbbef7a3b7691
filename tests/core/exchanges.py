"""Exchanges over a scripted world, for the tests: what clients send, what upstreams answer, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.dialects import Protocol
from core.effects import Head, Headers, Request
from core.exchange import exchange
from core.gateway import Gateway
from core.record import Record
from core.settings import Settings
from core.testing import Accepted, Answer, ScriptedWorld, accept_chat_stream, accept_messages_stream

MESSAGES: Final = Protocol.ANTHROPIC
CHAT: Final = Protocol.OPENAI
#: The four pairs: (the client's wire, the upstream's).
PAIRS: Final = ((MESSAGES, MESSAGES), (MESSAGES, CHAT), (CHAT, MESSAGES), (CHAT, CHAT))
PATH: Final = {MESSAGES: "/v1/messages", CHAT: "/v1/chat/completions"}

#: Friday, 20 November 2026, 00:00 UTC.
NOW: Final = 1_795_132_800.0
KEY: Final = "client-key-CANARY-1"
SERVER_KEY: Final = "server-key-CANARY-2"
INBOUND_KEY: Final = "inbound-key-CANARY-3"

EVENTS: Final = (b"content-type", b"text/event-stream; charset=utf-8")
JSON: Final = (b"content-type", b"application/json")


def gateway(**settings: str) -> Gateway:
    """A gateway whose settings are given by name; its upstreams have names that no message may hold, and are asked once."""
    bases = {
        "MAX_RETRIES": "0",
        "UPSTREAM_BASE": "https://messages.upstream.internal/a",
        "OPENAI_UPSTREAM_BASE": "https://chat.upstream.internal/o/v4",
    }
    return Gateway(Settings.from_mapping({**bases, **settings}))


def towards(protocol: Protocol, **settings: str) -> Gateway:
    """A gateway that sends everything to upstreams of one protocol."""
    return gateway(TEXT_ENDPOINT_PREFERENCE=protocol.value, **settings)


def question(stream: Any = False, **more: Any) -> bytes:
    """A small request that is good on both wires."""
    base: dict[str, Any] = {"model": "glm-4.6", "max_tokens": 64, "messages": [{"role": "user", "content": "Say hello"}]}
    return encoded(base | ({} if stream is False else {"stream": stream}) | more)


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def request(
    target: str,
    body: bytes = b"",
    *,
    method: str = "POST",
    headers: Mapping[str, str | bytes] | Headers | None = None,
    key: str | None = KEY,
    id: str = "req_1",
) -> Request:
    """A request as a listener hands it over. ``key``: in the header that is native to the path."""
    found: list[tuple[bytes, bytes]] = [(b"host", b"127.0.0.1:5000")]
    if body:
        found.append(JSON)
    if key is not None:
        found.append((b"x-api-key", key.encode()) if "messages" in target else (b"authorization", b"Bearer " + key.encode()))
    given = headers.items() if isinstance(headers, Mapping) else headers or ()
    for name, value in ((_bytes(name), _bytes(value)) for name, value in given):
        found = [field for field in found if field[0] != name] + [(name, value)]
    return Request(method, target, found, body, id, NOW, "127.0.0.1")


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


@dataclass(frozen=True)
class Told:
    """What a client was told, and what became of the exchange."""

    world: ScriptedWorld
    record: Record

    @property
    def head(self) -> Head:
        assert self.world.head is not None
        return self.world.head

    @property
    def status(self) -> int:
        return self.head.status

    @property
    def body(self) -> bytes:
        return self.world.sent

    @property
    def json(self) -> Any:
        return json.loads(self.world.sent)

    def header(self, name: str) -> str | None:
        value = self.head.get(name.encode())
        return None if value is None else value.decode()

    @property
    def upstream(self) -> Any:
        """The body of the one upstream request."""
        (sent,) = self.world.opened
        return json.loads(sent.body)

    def upstream_header(self, name: str) -> list[str]:
        (sent,) = self.world.opened
        return [value.decode() for found, value in sent.headers if found == name.encode()]


def tell(request: Request, answers: Sequence[Answer] = (), *, at: Gateway | None = None, **world: Any) -> Told:
    """Run one exchange."""
    scripted = ScriptedWorld(answers, **world)
    return Told(scripted, scripted.run(exchange(request, at or gateway())))


def ask(client: Protocol, answer: Answer, *, stream: bool = False, at: Gateway, **world: Any) -> Told:
    """The small question of a client, answered by an upstream as scripted."""
    return tell(request(PATH[client], question(stream)), [answer], at=at, **world)


def accept(wire: Protocol, stream: bytes) -> Accepted:
    return (accept_messages_stream if wire is MESSAGES else accept_chat_stream)(stream)


# ---------------------------------------------------------------------------------------------------- upstream answers


def whole(wire: Protocol, text: str = "Hello!", **more: Any) -> dict[str, Any]:
    """A whole answer."""
    if wire is MESSAGES:
        return {
            "id": "msg_up",
            "type": "message",
            "role": "assistant",
            "model": "glm-4.6",
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 11, "output_tokens": 3},
        } | more
    return {
        "id": "chatcmpl-up",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "glm-4.6",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14},
    } | more


def plain(wire: Protocol, *headers: tuple[bytes, bytes], **more: Any) -> Answer:
    return Answer(Head(200, (JSON, *headers)), [encoded(whole(wire, **more))])


def events(wire: Protocol, *words: str) -> list[bytes]:
    """The frames of a stream that says ``words``."""
    return _message_events(words or ("Hel", "lo!")) if wire is MESSAGES else _chat_events(words or ("Hel", "lo!"))


def streamed(wire: Protocol, *headers: tuple[bytes, bytes]) -> Answer:
    return Answer(Head(200, (EVENTS, *headers)), events(wire))


def _message_events(words: Sequence[str]) -> list[bytes]:
    message = whole(MESSAGES, content=[], stop_reason=None, usage={"input_tokens": 11, "output_tokens": 0})
    deltas = [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}} for word in words]
    sequence: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *deltas,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
    ]
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in sequence]


def _chat_events(words: Sequence[str]) -> list[bytes]:
    head = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "glm-4.6"}
    deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": word}, None) for word in words]
    deltas.append(({}, "stop"))
    chunks = [head | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]} for delta, finish in deltas]
    chunks.append(head | {"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}})
    return [*(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks), b"data: [DONE]\n\n"]


def failing(status: int, body: bytes, *headers: tuple[bytes, bytes]) -> Answer:
    return Answer(Head(status, (JSON, *headers)), [body] if body else [])
