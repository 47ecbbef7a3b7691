"""``POST /v1/messages/count_tokens``: counted by the upstream where it can, and here where it cannot, over everything the request holds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from core.call import Call
from core.credentials import credential_for
from core.dialects import Protocol
from core.effects import Compute, Fetch, Flow, Head, UpstreamRequest
from core.errors import BadRequest, Unauthorized, UpstreamError
from core.headers import upstream_headers, upstream_request_id
from core.routing import Target, has_images, sees, upstream_url
from core.scaling import UNSCALED, Scale
from core.wire.codec import decode_lenient, encode, plain
from core.wire.envelope import Envelope

#: Bodies up to this many bytes are counted on the spot (under a millisecond); a longer one may go to a thread.
_ON_THE_SPOT: Final = 8192
#: Seconds an upstream has for a count. Agents ask before they send, and a local number now is worth more than a better one later.
_TIMEOUT: Final = 5.0
#: Where a number may stand in an answer, in the order of belief.
_NAMES: Final = ("input_tokens", "token_count", "input_token_count")
#: Larger integers are no count, and not every client's JSON can hold them.
_MOST: Final = 2**53

_ESTIMATE: Final = (b"x-proxy-estimate", b"true")
_SCALED: Final = (b"x-proxy-count-scaled", b"VISION")


@dataclass(frozen=True, slots=True)
class _Count:
    tokens: int
    by: str  # who counted: a vocabulary, ``estimate``, or the upstream
    head: Head | None = None  # of the upstream's answer; None: counted here
    members: dict[str, object] = field(default_factory=dict)  # of the upstream's answer


def count_tokens(call: Call) -> Flow[None]:
    """Answer with ``input_tokens``, under the three names clients look for. A number of the proxy's own says so."""
    settings = call.gateway.settings
    envelope = Envelope.read(call.request.body, max_depth=settings.max_json_depth)
    model, images = _model(envelope), has_images(envelope)
    call.record.model = model
    answering = _answering(call, model, images=images)
    target = _counting(call, model, answering, images=images)
    call.record.upstream_model, call.record.target, call.record.reason = target.model, target.label, target.reason
    count = yield from _forwarded(call, envelope, target)
    if count is None:
        count = yield from _counted_here(call, envelope.body)
    scale = _scale(call, answering, images=images)
    scaled = scale.of(count.tokens)
    if settings.enable_token_counting_logging:
        shown = "" if scale.is_identity else f", scaled to {scaled}"
        call.record.note(f"counted {count.tokens} tokens in {len(envelope.body)} bytes by {count.by}{shown}")
    yield from call.answer(_body(call, count, scaled), upstream=count.head, extra=_marks(call, count, scale, images=images))


def _model(envelope: Envelope) -> str:
    raw = envelope.get("model")
    named = None if raw is None else plain(raw)
    return named if isinstance(named, str) else ""


def _answering(call: Call, model: str, *, images: bool) -> Target:
    """Who would answer the request. Raises ``BadRequest`` for an unknown model. Pictures that nobody takes can still be counted."""
    text = call.gateway.route(model, images=False, wire=call.wire)[0]
    if not images:
        return text
    try:
        return call.gateway.route(model, images=True, wire=call.wire)[0]
    except BadRequest:
        return text


def _counting(call: Call, model: str, answering: Target, *, images: bool) -> Target:
    """Who counts: whoever answers, but on a GLM server the text default in place of a model that sees, for those do not count."""
    if not answering.glm or not (images or sees(answering.model)):
        return answering
    default = call.gateway.route(call.gateway.settings.autotext_model, images=False, wire=call.wire)[0]
    text = call.gateway.route(model, images=False, wire=call.wire)[0]
    return replace(text, model=default.model) if text.glm and default.glm else default


# ---------------------------------------------------------------------------------------------------- by the upstream


def _forwarded(call: Call, envelope: Envelope, target: Target) -> Flow[_Count | None]:
    """What the upstream counts; None where it cannot, for whatever reason. Breakers hear nothing of it: many upstreams cannot."""
    settings, record = call.gateway.settings, call.record
    if not settings.forward_count_to_upstream or target.protocol is not Protocol.ANTHROPIC:
        return None
    try:
        request = _request(call, envelope, target)
    except Unauthorized:  # nothing may be sent, but anybody may know the size of what they ask
        return None
    record.attempts += 1
    try:
        head, body = yield from Fetch(request, _TIMEOUT)
    except UpstreamError as error:
        record.note(f"counted here: {error.message}")
        return None
    record.upstream_status, record.upstream_request_id = head.status, upstream_request_id(head)
    members = _members(body) if 200 <= head.status < 300 else {}
    tokens = next((number for name in _NAMES if (number := _number(members.get(name))) is not None), None)
    if tokens is None:
        record.note(f"counted here: {target.label} answered {head.status} without a count")
        return None
    return _Count(tokens, target.label, head, members)


def _request(call: Call, envelope: Envelope, target: Target) -> UpstreamRequest:
    settings = call.gateway.settings
    credential = credential_for(call.client, target)
    body = envelope.replace({"model": encode(target.model)})
    headers = upstream_headers(target, credential, call.request.headers, body, wire=call.wire, stream=False, settings=settings)
    query = call.request.target.partition("?")[2]
    url = upstream_url(target.protocol, target.base, count=True)
    return UpstreamRequest("POST", f"{url}?{query}" if query else url, headers, body)


def _members(body: bytes) -> dict[str, object]:
    try:
        return decode_lenient(dict[str, object], body)
    except msgspec.DecodeError:
        return {}


def _number(value: object) -> int | None:
    """A count of at least 1, also one that is written as text or with decimals; None for anything else."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= _MOST:
        return None
    return int(value)


# ---------------------------------------------------------------------------------------------------- here


def _counted_here(call: Call, body: bytes) -> Flow[_Count]:
    counter = call.gateway.counter
    if len(body) <= _ON_THE_SPOT and counter.ready:
        return _Count(counter.payload(body), counter.name)
    tokens = yield from Compute(counter.payload, (body,))
    return _Count(tokens, counter.name)


# ---------------------------------------------------------------------------------------------------- the answer


def _scale(call: Call, answering: Target, *, images: bool) -> Scale:
    """That of the answer's usage, so that the two agree. With pictures only if the settings want it."""
    if images and not call.gateway.settings.scale_count_tokens_for_vision:
        return UNSCALED
    return call.gateway.reports.of(answering, call.wire).scale


def _body(call: Call, count: _Count, tokens: int) -> bytes:
    if not call.gateway.settings.count_shape_compat:
        return b'{"input_tokens":%d}' % tokens
    mark = {"proxy_estimate": True} if count.head is None else {}
    return encode({**count.members, **dict.fromkeys(_NAMES, tokens), **mark})


def _marks(call: Call, count: _Count, scale: Scale, *, images: bool) -> tuple[tuple[bytes, bytes], ...]:
    if not call.gateway.settings.proxy_headers:
        return ()
    return (*((_ESTIMATE,) if count.head is None else ()), *((_SCALED,) if images and not scale.is_identity else ()))
