"""Everything that can go wrong, as one tree; a class knows its HTTP status and its code.

::

    ProxyError
    ├── Refused                     the proxy itself says no to the client's request
    │   ├── BadRequest        400   what was sent cannot be understood or carried
    │   ├── Unauthorized      401
    │   ├── Forbidden         403
    │   ├── NotFound          404
    │   ├── MethodNotAllowed  405
    │   ├── RequestTimeout    408
    │   ├── TooLarge          413
    │   ├── UnsupportedMedia  415
    │   ├── TooManyRequests   429   a limit of ours: requests per minute, the line at an upstream key
    │   ├── HeadersTooLarge   431
    │   └── Unavailable       503   draining, or no target left
    ├── UpstreamError               the upstream could not be asked, or did not answer properly
    │   ├── UpstreamFailed    502   connect, TLS, DNS, reset, cut answer
    │   ├── UpstreamGarbled   502   an answer that is not what its protocol says
    │   ├── UpstreamTimeout   504
    │   └── UpstreamSaid      any   the upstream answered with an error of its own
    └── InternalError         500   a bug of ours; the message holds no details
    ClientGone                      nobody is left to answer: no ProxyError, so that no handler of those takes it for one

Any other exception that leaves the core is a bug. Messages say what was found, where, and what was expected;
they never hold credentials, upstream URLs or bodies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

__all__ = [
    "BadRequest",
    "ClientGone",
    "Forbidden",
    "HeadersTooLarge",
    "InternalError",
    "MethodNotAllowed",
    "NotFound",
    "ProxyError",
    "Refused",
    "RequestTimeout",
    "TooLarge",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "UnsupportedMedia",
    "UpstreamError",
    "UpstreamFailed",
    "UpstreamGarbled",
    "UpstreamSaid",
    "UpstreamTimeout",
]


class ProxyError(Exception):
    """Root of the tree. ``str(error)`` is the message for the client."""

    status: int = 500
    code: str = "internal_error"
    param: str | None = None
    #: A JSON object for ``error.details`` of the Messages API, already encoded; None when there is nothing to add.
    details: bytes | None = None
    #: Whole seconds after which asking again may help, for the ``Retry-After`` header; None when unknown.
    retry_after: int | None = None
    #: Headers of the upstream answer it came with: the client's retry logic reads some of them.
    headers: Sequence[tuple[bytes, bytes]] = ()

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        if param is not None:
            self.param = param
        if retry_after is not None:
            self.retry_after = retry_after

    @property
    def message(self) -> str:
        return str(self.args[0])


class Refused(ProxyError):
    """The proxy refuses the request; nothing was sent upstream."""


class BadRequest(Refused):
    """400. ``param`` names the place, for example ``messages[3].content[0].type``."""

    status = 400
    code = "request_conversion_failed"

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None, details: bytes | None = None) -> None:
        super().__init__(message, code=code, param=param)
        self.details = details


class Unauthorized(Refused):
    status = 401
    code = "unauthorized"


class Forbidden(Refused):
    status = 403
    code = "forbidden"


class NotFound(Refused):
    status = 404
    code = "not_found"


class MethodNotAllowed(Refused):
    """405. ``allow`` is the value of the ``Allow`` header."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class RequestTimeout(Refused):
    status = 408
    code = "request_timeout"


class TooLarge(Refused):
    status = 413
    code = "request_too_large"


class UnsupportedMedia(Refused):
    status = 415
    code = "unsupported_media_type"


class HeadersTooLarge(Refused):
    status = 431
    code = "headers_too_large"


class TooManyRequests(Refused):
    """429. ``code`` is ``concurrency_queue_full`` for the line at an upstream key."""

    status = 429
    code = "rate_limit_exceeded"


class Unavailable(Refused):
    status = 503
    code = "no_target_available"


class UpstreamError(ProxyError):
    """The upstream is at fault. ``phase`` says where in the exchange: ``connect``, ``send``, ``head``, ``body``."""

    status = 502
    code = "upstream_request_failed"

    def __init__(self, message: str, *, code: str | None = None, phase: str = "body") -> None:
        super().__init__(message, code=code)
        self.phase = phase


class UpstreamFailed(UpstreamError):
    """502: the connection could not be made, or broke, or the answer ended before it was whole."""


class UpstreamGarbled(UpstreamError):
    """502: the upstream answered something that is not JSON, not SSE, or not of its protocol."""

    code = "invalid_upstream_json"


class UpstreamTimeout(UpstreamError):
    """504: silence longer than a deadline allows. ``phase``: ``connect``, ``head`` (first byte), ``body`` (gap, total)."""

    status = 504
    code = "upstream_timeout"


class UpstreamSaid(UpstreamError):
    """The upstream's own error, understood from any of the shapes it may have.

    ``status`` is the upstream's (for an error inside a 200 answer or a stream: the one its type implies), ``kind`` the
    Messages error type, ``code`` the upstream's code where it gave one. ``body`` holds the upstream's body as it came.
    """

    #: Statuses a kind implies when the upstream gave none of its own (an error event in a stream, an error in a 200).
    STATUS_OF: ClassVar[dict[str, int]] = {
        "invalid_request_error": 400,
        "authentication_error": 401,
        "billing_error": 402,
        "permission_error": 403,
        "not_found_error": 404,
        "request_too_large": 413,
        "rate_limit_error": 429,
        "api_error": 500,
        "timeout_error": 504,
        "overloaded_error": 529,
    }

    def __init__(self, message: str, *, status: int, kind: str, code: str | None = None, body: bytes = b"") -> None:
        super().__init__(message, code=code, phase="head")
        self.status = status
        self.kind = kind
        self.has_code = code is not None
        self.body = body


class InternalError(ProxyError):
    """500: a bug. The message names the request id only; the log has the rest."""


class ClientGone(Exception):
    """The client closed its connection. Thrown into a flow, which then must end without asking for anything more."""

    #: What the record says: the number nginx made common for it. It is never sent to anyone.
    status = 499
    code = "client_gone"

    def __init__(self, message: str = "the client closed the connection") -> None:
        super().__init__(message)
