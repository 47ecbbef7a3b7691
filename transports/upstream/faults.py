"""The one place where exceptions of sockets, TLS and httpcore become ours.

Messages say what happened, never to whom: clients read them, and addresses of upstreams are none of their business.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Final

import anyio
import httpcore

from core.errors import UpstreamError, UpstreamFailed, UpstreamGarbled

#: What can go wrong between us and an upstream without being our bug.
CAUGHT: Final = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, httpcore.RemoteProtocolError)

#: Who is meant in messages.
UPSTREAM: Final = "the upstream"
FORWARD_PROXY: Final = "the forward proxy"

#: OpenSSL's verification errors (x509_vfy.h), without the names its own words hold.
_CERTIFICATE: Final = {
    10: "it has expired",
    18: "it is self-signed",
    19: "it is self-signed",
    20: "its issuer is not known",
    62: "it is for another host",
    64: "it is for another address",
}

_WORDS: Final = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection reset",
    errno.ETIMEDOUT: "connection timed out",
    errno.EHOSTUNREACH: "host unreachable",
    errno.ENETUNREACH: "network unreachable",
}


def failure(error: BaseException, who: str, phase: str, *, ended: bool = False) -> UpstreamError:
    """``error``, one of ``CAUGHT``, in our words. ``who`` it was; ``ended``: the upstream had closed the connection when it was raised."""
    if isinstance(error, httpcore.RemoteProtocolError):
        if ended:
            return UpstreamFailed(f"{who}: the connection was closed before the answer was complete", phase=phase)
        return UpstreamGarbled(f"{who}: the answer is not valid HTTP", code="upstream_request_failed", phase=phase)
    root = _root(error)
    if isinstance(root, ssl.SSLCertVerificationError):
        why = _CERTIFICATE.get(root.verify_code, "it cannot be verified")
        return UpstreamFailed(f"{who}: TLS: certificate not accepted: {why}", phase=phase)
    if isinstance(root, ssl.SSLError):
        return UpstreamFailed(f"{who}: TLS: {(root.reason or 'handshake failed').lower().replace('_', ' ')}", phase=phase)
    if isinstance(root, socket.gaierror):
        return UpstreamFailed(f"{who}: name not resolved", phase=phase)
    if isinstance(root, OSError) and root.errno is not None:
        words = _WORDS.get(root.errno) or os.strerror(root.errno).lower()
        return UpstreamFailed(f"{who}: {words}", phase=phase)
    return UpstreamFailed(f"{who}: the connection was closed", phase=phase)


def _root(error: BaseException) -> BaseException:
    """The first cause: anyio wraps what the sockets said, for several addresses in a group."""
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif error.__cause__ is not None:
            error = error.__cause__
        else:
            return error
