"""``POST /v1/messages/count_tokens``: counted here, over everything the request holds."""

from __future__ import annotations

from typing import Final

from core.call import Call
from core.effects import Compute, Flow
from core.wire.envelope import Envelope

#: Bodies up to this many bytes are counted on the spot (under a millisecond); a longer one may go to a thread.
_ON_THE_SPOT: Final = 8192


def count_tokens(call: Call) -> Flow[None]:
    """Answer with ``input_tokens``, under the three names clients look for. The number is the proxy's own and says so."""
    settings, counter = call.gateway.settings, call.gateway.counter
    envelope = Envelope.read(call.request.body, max_depth=settings.max_json_depth)
    if len(envelope.body) <= _ON_THE_SPOT:
        tokens = counter.payload(envelope.body)
    else:
        tokens = yield from Compute(counter.payload, (envelope.body,))
    body = b'{"input_tokens":%d,"token_count":%d,"input_token_count":%d,"proxy_estimate":true}' % (tokens, tokens, tokens)
    yield from call.answer(body, extra=((b"x-proxy-estimate", b"true"),) if settings.proxy_headers else ())
