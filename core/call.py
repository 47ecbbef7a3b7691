"""One request with everything its handler needs, and the way a whole answer of the proxy's own is given."""

from __future__ import annotations

from dataclasses import dataclass

from core.credentials import Credential
from core.dialects import Protocol
from core.effects import Flow, Head, Request, Send, Start
from core.gateway import Gateway
from core.headers import JSON, answer_head
from core.record import Record


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has passed the door."""

    request: Request
    gateway: Gateway
    record: Record
    wire: Protocol  # the caller's dialect
    client: Credential | None = None  # the client's own, if it has one
    rest: str = ""  # what follows the endpoint's path

    def answer(
        self, body: bytes, *, status: int = 200, upstream: Head | None = None, extra: tuple[tuple[bytes, bytes], ...] = ()
    ) -> Flow[None]:
        """Send a whole JSON answer; to a HEAD request, its head alone."""
        self.record.status = status
        show = self.gateway.settings.proxy_headers
        head = answer_head(status, JSON, self.record, upstream=upstream, wire=self.wire, show=show, length=len(body))
        yield from Start(Head(head.status, [*head.headers, *extra]) if extra else head)
        if self.request.method != "HEAD":
            yield from Send(body)
