"""One client request, first byte to last.

``exchange`` is a flow: it yields effects (see ``core.effects``) and returns the record of what happened, whatever happened. Everything
that can go wrong is a ``ProxyError`` and becomes an answer in the caller's dialect: a proper HTTP error while nothing has been sent, an
error event after that. A failure is never turned into a normal end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from core import health
from core.auth import admit, check_host
from core.call import Call
from core.conversation import converse
from core.counting import count_tokens
from core.dialects import Protocol
from core.effects import Flow, Head, Headers, Request, Send, Start
from core.errors import ClientGone, MethodNotAllowed, NotFound, ProxyError, Unavailable, UnsupportedMedia
from core.gateway import Gateway
from core.headers import JSON, adopt_request_id, answer_head
from core.models import list_models, one_model
from core.record import Record
from core.translate import faults

__all__ = ["adopt_request_id", "exchange", "refusal"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path of the proxy. ``wire``: the dialect of its answers; ``is_open``: it needs no inbound key."""

    path: str
    methods: tuple[str, ...]
    answer: Callable[[Call], Flow[None]]
    wire: Protocol = Protocol.OPENAI
    is_open: bool = False


def _converse(call: Call) -> Flow[None]:
    _check_body(call.request)
    yield from converse(call)


def _count(call: Call) -> Flow[None]:
    _check_body(call.request)
    yield from count_tokens(call)


def _health(call: Call) -> Flow[None]:
    body = yield from health.health(call.request.now, demo=call.gateway.settings.demo)
    yield from call.answer(body)


def _ready(call: Call) -> Flow[None]:
    reason = yield from health.unready(call.gateway.settings)
    yield from call.answer(health.ready_body(reason), status=200 if reason is None else 503)


_READ: Final = ("GET", "HEAD")
_ONE_MODEL: Final = "/v1/models/"
#: Every endpoint by its path; a path that ends in / takes the rest as an argument.
ENDPOINTS: Final = {
    one.path: one
    for one in (
        Endpoint("/v1/chat/completions", ("POST",), _converse),
        Endpoint("/v1/messages", ("POST",), _converse, Protocol.ANTHROPIC),
        Endpoint("/v1/messages/count_tokens", ("POST",), _count, Protocol.ANTHROPIC),
        Endpoint("/v1/models", _READ, list_models),
        Endpoint(_ONE_MODEL, _READ, one_model),
        Endpoint("/", _READ, _health, is_open=True),
        Endpoint("/status", _READ, _health, is_open=True),
        Endpoint("/health", _READ, _health, is_open=True),
        Endpoint("/ready", _READ, _ready, is_open=True),
        # Claude Code asks this at its start, to see whether the address answers at all.
        Endpoint("/api/hello", _READ, _health, is_open=True),
    )
}
#: Paths that are served without their /v1 as well: some clients put it into the base URL, some do not.
_SHORT: Final = ("/chat/completions", "/messages", "/messages/count_tokens", "/models")


def endpoint_of(target: str) -> tuple[Endpoint | None, str]:
    """The endpoint a request target names, and the rest of its path. The query takes no part; one trailing slash is tolerated."""
    path = target.partition("?")[0]
    if len(path) > 1 and path.endswith("/"):
        path = path[:-1]
    if path in _SHORT or path.startswith("/models/"):
        path = f"/v1{path}"
    rest = path.removeprefix(_ONE_MODEL)
    if rest != path:
        return (ENDPOINTS[_ONE_MODEL] if rest else None), rest
    return ENDPOINTS.get(path), ""


def exchange(request: Request, gateway: Gateway) -> Flow[Record]:
    """Answer ``request``; whatever happens, return the record of it."""
    endpoint, rest = endpoint_of(request.target)
    wire = _wire(endpoint, request.target, request.headers)
    record = Record(request.id, endpoint.path if endpoint is not None else "unknown", request.now, request.peer, wire.value)
    try:
        try:
            if endpoint is None:
                check_host(request.headers, gateway.settings)
                raise _unknown(request)
            client = admit(request.headers, endpoint.wire, gateway.settings, exempt=endpoint.is_open)
            if request.method not in endpoint.methods:
                allow = ", ".join(endpoint.methods)
                raise MethodNotAllowed(f"{endpoint.path} takes {allow}, not {request.method[:20]}", allow=allow)
            yield from endpoint.answer(Call(request, gateway, record, wire, client, rest))
        except ProxyError as error:
            yield from _refuse(request, gateway, record, wire, error)
    except ClientGone as gone:
        record.status, record.error_code = gone.status, gone.code
    return record


def wire_of(target: str, headers: Headers) -> Protocol:
    """The caller's dialect."""
    return _wire(endpoint_of(target)[0], target, headers)


def _wire(endpoint: Endpoint | None, target: str, headers: Headers) -> Protocol:
    """Messages on and below its endpoint, chat on its own; elsewhere an anthropic-version header decides."""
    if endpoint is not None and "POST" in endpoint.methods:
        return endpoint.wire
    if endpoint is None and target.removeprefix("/v1").startswith("/messages"):
        return Protocol.ANTHROPIC
    return Protocol.ANTHROPIC if any(name == b"anthropic-version" for name, _ in headers) else Protocol.OPENAI


def refusal(target: str, headers: Headers, error: ProxyError, request_id: str) -> tuple[Head, bytes]:
    """A whole error answer, for requests that are refused before an exchange exists: framing errors, sizes, draining."""
    return _error_answer(wire_of(target, headers), error, Record(request_id, "unknown", 0.0), show=False)


def _error_answer(wire: Protocol, error: ProxyError, record: Record, *, show: bool) -> tuple[Head, bytes]:
    body = faults.body_of(wire, error, record.request_id)
    status = faults.status_for(wire, error)
    upstream = Head(error.status, error.headers) if error.headers else None
    head = answer_head(status, JSON, record, upstream=upstream, wire=wire, show=show, length=len(body))
    extra = []
    if isinstance(error, MethodNotAllowed):
        extra.append((b"allow", error.allow.encode()))
    if isinstance(error, Unavailable) and error.retry_after is not None:
        extra.append((b"retry-after", b"%d" % error.retry_after))
    return Head(status, [*head.headers, *extra]), body


def _refuse(request: Request, gateway: Gateway, record: Record, wire: Protocol, error: ProxyError) -> Flow[None]:
    record.error_code, record.error = error.code, error.message
    head, body = _error_answer(wire, error, record, show=gateway.settings.proxy_headers)
    record.status = head.status
    yield from Start(head)
    if request.method != "HEAD":
        yield from Send(body)


def _unknown(request: Request) -> NotFound:
    path = request.target.partition("?")[0]
    if path.startswith("/v1/v1/"):
        return NotFound("the path has /v1 twice: give your client the base URL without /v1")
    nearest = max(ENDPOINTS, key=lambda one: _likeness(one, path))
    shown = nearest + "{id}" if nearest == _ONE_MODEL else nearest
    return NotFound(f"nothing is served at {path[:100]!a}; the nearest endpoint is {shown}")


def _likeness(known: str, path: str) -> tuple[int, int]:
    """How many path segments two paths share, wherever they stand; then how many characters from the start."""
    segments = set(known.strip("/").split("/")) & set(path.strip("/").split("/"))
    return len(segments), next(
        (at for at, (one, other) in enumerate(zip(known, path, strict=False)) if one != other), min(len(known), len(path))
    )


def _check_body(request: Request) -> None:
    """Refuse what no API client sends: forms (which any web page may post) and compressed bodies (which may be bombs)."""
    for name, value in request.headers:
        lowered = value.lower()
        if name == b"content-type":
            kind, _, parameters = lowered.partition(b";")
            kind = kind.strip()
            if kind != b"application/json" and not kind.endswith(b"+json"):
                raise UnsupportedMedia(f"content-type: expected application/json, found {kind.decode('ascii', 'replace')[:60]}")
            if b"charset=" in parameters and b"utf-8" not in parameters and b"utf8" not in parameters:
                raise UnsupportedMedia("content-type: expected charset utf-8")
        elif name == b"content-encoding" and lowered.strip() not in (b"", b"identity"):
            raise UnsupportedMedia("content-encoding: compressed bodies are not taken; send identity")
