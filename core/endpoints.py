"""What is served: every path with its methods and its dialect, and which of them a request target names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from core import health
from core.bodies import check_body, inflated
from core.call import Call
from core.conversation import converse
from core.counting import count_tokens
from core.dialects import Protocol
from core.effects import Compute, Flow, Headers
from core.errors import NotFound, Refused
from core.models import list_models, one_model


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path of the proxy. ``wire``: the dialect of its answers; ``is_open``: it needs no inbound key."""

    path: str
    methods: tuple[str, ...]
    answer: Callable[[Call], Flow[None]]
    wire: Protocol = Protocol.OPENAI
    is_open: bool = False


def _converse(call: Call) -> Flow[None]:
    yield from converse((yield from _with_body(call)))


def _count(call: Call) -> Flow[None]:
    yield from count_tokens((yield from _with_body(call)))


def _with_body(call: Call) -> Flow[Call]:
    """The call with its body as it can be read. Raises ``Refused`` for one that is not taken."""
    door = call.gateway.door
    if not check_body(call.request.headers, gzip=door.gzip):
        return call
    body = yield from Compute(inflated, (call.request.body, door.body_max))
    if isinstance(body, Refused):
        raise body
    return replace(call, request=replace(call.request, body=body))


def _health(call: Call) -> Flow[None]:
    body = yield from health.health(call.request.now, call.gateway.settings)
    yield from call.answer(body)


def _ready(call: Call) -> Flow[None]:
    reason = yield from health.unready(call.gateway)
    yield from call.answer(health.ready_body(reason), status=200 if reason is None else 503)


_READ: Final = ("GET", "HEAD")
_ONE_MODEL: Final = "/v1/models/"
_HEALTH: Final = Endpoint("/health", _READ, _health, is_open=True)
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
        _HEALTH,
        Endpoint("/ready", _READ, _ready, is_open=True),
        # Claude Code asks this at its start, to see whether the address answers at all.
        Endpoint("/api/hello", _READ, _health, is_open=True),
    )
}
#: Pages that others of our kind have and people look for. No endpoint is like them.
_LATER: Final = frozenset(("/docs", "/redoc", "/openapi.json", "/dashboard", "/metrics", "/stats"))
#: Paths that are served without their /v1 as well: some clients put it into the base URL, some do not.
_SHORT: Final = ("/chat/completions", "/messages", "/messages/count_tokens", "/models")


def endpoint_of(target: str, health_path: str = "") -> tuple[Endpoint | None, str]:
    """The endpoint a request target names, and the rest of its path. The query takes no part; one trailing slash is tolerated.

    ``health_path``: a further path of the health page; what has a path of its own already keeps it.
    """
    path = target.partition("?")[0]
    if len(path) > 1 and path.endswith("/"):
        path = path[:-1]
    if path in _SHORT or path.startswith("/models/"):
        path = f"/v1{path}"
    if path in ENDPOINTS and path != _ONE_MODEL:
        return ENDPOINTS[path], ""
    rest = path.removeprefix(_ONE_MODEL)
    if rest not in (path, ""):
        return ENDPOINTS[_ONE_MODEL], rest
    return (_HEALTH if path and path == health_path else None), ""


def dialect_of(endpoint: Endpoint | None, target: str, headers: Headers) -> Protocol:
    """The caller's dialect: Messages on and below its endpoint, chat on its own; elsewhere an anthropic-version header decides."""
    if endpoint is not None and "POST" in endpoint.methods:
        return endpoint.wire
    if endpoint is None and target.removeprefix("/v1").removeprefix("/v1").startswith("/messages"):
        return Protocol.ANTHROPIC
    return Protocol.ANTHROPIC if any(name == b"anthropic-version" for name, _ in headers) else Protocol.OPENAI


def unknown(target: str, headers: Headers) -> NotFound:
    """What to say about a path that is not served."""
    path = target.partition("?")[0]
    if path.startswith("/v1/v1/"):
        host = next((value.decode("ascii", "replace")[:100] for name, value in headers if name == b"host"), "the port")
        return NotFound(
            f"the path has /v1 twice: your client adds it by itself, so give it a base URL without /v1, one that ends in {host}"
        )
    if (page := "/" + path.split("/")[1] if path.startswith("/") else "") in _LATER:
        return NotFound(f"this version does not serve {page} yet")
    nearest = max(ENDPOINTS, key=lambda one: _likeness(one, path))
    shown = nearest + "{id}" if nearest == _ONE_MODEL else nearest
    return NotFound(f"nothing is served at {path[:100]!a}; the nearest endpoint is {shown}")


def _likeness(known: str, path: str) -> tuple[int, int]:
    """How many path segments two paths share, wherever they stand; then how many characters from the start."""
    segments = set(known.strip("/").split("/")) & set(path.strip("/").split("/"))
    return len(segments), next(
        (at for at, (one, other) in enumerate(zip(known, path, strict=False)) if one != other), min(len(known), len(path))
    )
