"""``GET /v1/models`` and ``/v1/models/{id}``: what can be asked for here, in a shape both kinds of client read."""

from __future__ import annotations

import urllib.parse
from typing import Final

from core.auth import upstream_credential
from core.call import Call
from core.effects import Fetch, Flow, UpstreamRequest
from core.errors import BadRequest, NotFound, ProxyError
from core.gateway import model_item
from core.headers import upstream_headers
from core.routing import upstream_url
from core.wire.codec import encode, is_object, members

#: The largest page the Models API gives.
_PAGE_MAX: Final = 1000
#: Seconds the upstream has to say whether it knows a model; clients ask this while someone waits at a prompt.
_LOOKUP_TIMEOUT: Final = 5.0


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
    """One model of the list; another one when the upstream that would serve it says that it knows it."""
    name = urllib.parse.unquote(call.rest)
    body = call.gateway.model(name)
    if body is None and (yield from _upstream_knows(call, name)):
        body = encode(model_item(name))
    if body is None:
        raise NotFound(f"there is no model {name[:100]!a} here; GET /v1/models lists them", code="model_not_found")
    yield from call.answer(body)


def _upstream_knows(call: Call, name: str) -> Flow[bool]:
    """Whether the upstream lists ``name``. An upstream that cannot be asked knows nothing."""
    target = call.gateway.route(name, images=False, wire=call.wire)
    settings = call.gateway.settings
    url = upstream_url(target.protocol, target.base)
    for ending in ("/chat/completions", "/messages"):
        url = url.removesuffix(ending)
    try:
        credential = upstream_credential(call.client, settings)
        headers = upstream_headers(
            target, credential, call.request.headers, wire=call.wire, stream=False, version=settings.anthropic_version
        )
        request = UpstreamRequest("GET", f"{url}/models/{urllib.parse.quote(target.model, safe='')}", headers, b"")
        head, answer = yield from Fetch(request, _LOOKUP_TIMEOUT)
        return head.status == 200 and is_object(answer) and "id" in members(answer)
    except ProxyError:
        return False
