"""``GET /v1/models`` and ``/v1/models/{id}``: what can be asked for here, in a shape both kinds of client read."""

from __future__ import annotations

import re
import urllib.parse
from typing import Final

from core.admission import count
from core.call import Call
from core.credentials import credential_for
from core.effects import Fetch, Flow, UpstreamRequest
from core.errors import BadRequest, NotFound, ProxyError
from core.headers import upstream_headers
from core.routing import Target, upstream_url
from core.wire.codec import encode, is_object, members

#: The largest page the Models API gives.
_PAGE_MAX: Final = 1000
#: Seconds the upstream has to say whether it knows a model; clients ask this while someone waits at a prompt.
_LOOKUP_TIMEOUT: Final = 5.0
#: What is asked of an upstream: the longest names of real models have 100 characters.
_NAME: Final = re.compile(r"[\x20-\x7e]{1,256}")
_SEPARATORS: Final = re.compile(r"[/\\]")
_STEPS: Final = frozenset((".", ".."))


def list_models(call: Call) -> Flow[None]:
    """The list, or a page of it by ``limit``, ``after_id`` and ``before_id``."""
    query = dict(urllib.parse.parse_qsl(call.request.target.partition("?")[2]))
    page = call.gateway.models(limit=_limit(query.get("limit")), after=query.get("after_id"), before=query.get("before_id"))
    yield from call.answer(page)


def _limit(text: str | None) -> int | None:
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= len(str(_PAGE_MAX)) and 1 <= int(text) <= _PAGE_MAX:
        return int(text)
    raise BadRequest(f"limit: expected a whole number from 1 to {_PAGE_MAX}, found {text[:20]!a}", param="limit", code="invalid_request")


def one_model(call: Call) -> Flow[None]:
    """One model: of the list, of a provider, or one the GLM server says that it knows."""
    name = urllib.parse.unquote(call.rest)
    body = call.gateway.model(name)
    if body is None and (yield from _is_known(call, name)):
        body = encode(call.gateway.item(name))
    if body is None:
        raise NotFound(f"there is no model {name[:100]!a} here; GET /v1/models lists them", code="model_not_found")
    yield from call.answer(body)


def _is_known(call: Call, name: str) -> Flow[bool]:
    """Whether there is a model ``name`` that is not listed: with a suffix, under an alias with a wildcard, or at the GLM server alone.

    Raises ``TooManyRequests`` where asking for it would be one request too many.
    """
    try:
        target = call.gateway.route(name, images=False, wire=call.wire)[0]
        if not target.glm:
            return True
        if not (_may_be_asked_for(name) and _may_be_asked_for(target.model)):
            return False
        request = _lookup(call, target)
    except ProxyError:  # no such provider, no credential
        return False
    yield from count(call.client, call.gateway, call.record.peer)
    try:
        head, answer = yield from Fetch(request, _LOOKUP_TIMEOUT)
    except ProxyError:  # no answer
        return False
    return head.status == 200 and is_object(answer) and "id" in members(answer)


def _may_be_asked_for(name: str) -> bool:
    """Whether a name is one to put into an upstream's path: nothing that leads to another one, or that no model is called."""
    return _NAME.fullmatch(name) is not None and _STEPS.isdisjoint(_SEPARATORS.split(name))


def _lookup(call: Call, target: Target) -> UpstreamRequest:
    """The question whether a GLM server has the model. Raises ``ProxyError`` when it cannot be asked."""
    url = upstream_url(target.protocol, target.base)
    for ending in ("/chat/completions", "/messages"):
        url = url.removesuffix(ending)
    credential = credential_for(call.client, target)
    headers = upstream_headers(target, credential, call.request.headers, wire=call.wire, stream=False, settings=call.gateway.settings)
    return UpstreamRequest("GET", f"{url}/models/{urllib.parse.quote(target.model, safe='')}", headers, b"")
