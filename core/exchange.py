"""One client request, first byte to last.

``exchange`` is a flow: it yields effects (see ``core.effects``) and returns the record of what happened, whatever happened. Everything
that can go wrong is a ``ProxyError`` and becomes an answer in the caller's dialect: a proper HTTP error while nothing has been sent, an
error event after that. A failure is never turned into a normal end.
"""

from __future__ import annotations

from core.admission import admit
from core.call import Call
from core.dialects import Protocol
from core.effects import Flow, Head, Headers, Request, Send, Start
from core.endpoints import Endpoint, dialect_of, endpoint_of, unknown
from core.errors import ClientGone, MethodNotAllowed, ProxyError
from core.gateway import Gateway
from core.headers import JSON, adopt_request_id, answer_head
from core.origins import granted, preflight, readable
from core.record import Record
from core.translate import faults

__all__ = ["adopt_request_id", "exchange", "refusal"]


def exchange(request: Request, gateway: Gateway) -> Flow[Record]:
    """Answer ``request``; whatever happens, return the record of it."""
    door = gateway.door
    endpoint, rest = endpoint_of(request.target, door.health_path)
    wire = dialect_of(endpoint, request.target, request.headers)
    address = door.peers.address(request.peer, request.headers)
    record = Record(request.id, endpoint.path if endpoint is not None else "unknown", request.now, address, wire.value)
    page = door.origins.page(request.headers)
    try:
        try:
            door.origins.check(request.headers)
            if endpoint is None:
                raise unknown(request.target, request.headers)
            if request.method not in endpoint.methods:
                yield from readable(_other_method(request, gateway, record, endpoint), page)
            else:
                client = None if endpoint.is_open else (yield from admit(request, gateway, endpoint.wire, address))
                yield from readable(endpoint.answer(Call(request, gateway, record, wire, client, rest)), page)
        except ProxyError as error:
            yield from readable(_refuse(request, gateway, record, wire, error), page)
    except ClientGone as gone:
        record.status, record.error_code = gone.status, gone.code
    return record


def _other_method(request: Request, gateway: Gateway, record: Record, endpoint: Endpoint) -> Flow[None]:
    """Answer a browser that asks what a page may send. Raises ``MethodNotAllowed`` for everything else."""
    if request.method != "OPTIONS" or not gateway.door.origins.shares:
        allow = ", ".join(endpoint.methods)
        raise MethodNotAllowed(f"{endpoint.path} takes {allow}, not {request.method[:20]}", allow=allow)
    record.status = 204
    request_id = record.request_id.encode()
    ids = [(b"x-request-id", request_id), (b"request-id", request_id)]
    yield from Start(Head(204, [*ids, *preflight(endpoint.methods, request.headers)]))


def refusal(target: str, headers: Headers, error: ProxyError, request_id: str, gateway: Gateway | None = None) -> tuple[Head, bytes]:
    """A whole error answer, for requests that are refused before an exchange exists: framing errors, sizes, draining.

    ``gateway``: whose rules say whether a web page may read it; without one none may.
    """
    wire = dialect_of(endpoint_of(target)[0], target, headers)
    head, body = _error_answer(wire, error, Record(request_id, "unknown", 0.0), show=False)
    page = None if gateway is None else gateway.door.origins.page(headers)
    return Head(head.status, [*head.headers, *granted(page)]), body


def _error_answer(wire: Protocol, error: ProxyError, record: Record, *, show: bool) -> tuple[Head, bytes]:
    body = faults.body_of(wire, error, record.request_id)
    status = faults.status_for(wire, error)
    upstream = Head(error.status, error.headers) if error.headers else None
    head = answer_head(status, JSON, record, upstream=upstream, wire=wire, show=show, length=len(body))
    extra = []
    if isinstance(error, MethodNotAllowed):
        extra.append((b"allow", error.allow.encode()))
    if error.retry_after is not None and head.get(b"retry-after") is None:
        extra.append((b"retry-after", b"%d" % error.retry_after))
    return Head(status, [*head.headers, *extra]), body


def _refuse(request: Request, gateway: Gateway, record: Record, wire: Protocol, error: ProxyError) -> Flow[None]:
    record.error_code, record.error = error.code, error.message
    head, body = _error_answer(wire, error, record, show=gateway.settings.proxy_headers)
    record.status = head.status
    yield from Start(head)
    if request.method != "HEAD":
        yield from Send(body)
