"""Addresses: the endpoint under a base, and the origin that decides who may see a key."""

from __future__ import annotations

import functools
import re
import urllib.parse
from typing import Final

from core.dialects import Protocol

_VERSION: Final = re.compile(r"v\d+(?:beta\d*|alpha\d*)?")
_PORTS: Final = {"http": 80, "https": 443}


@functools.lru_cache(maxsize=64)  # bases come from the settings
def upstream_url(protocol: Protocol, base: str, *, count: bool = False) -> str:
    """The address of the endpoint under ``base``, whatever part of the path the base already has."""
    base = base.rstrip("/")
    segments = [one for one in urllib.parse.urlsplit(base).path.split("/") if one]
    if protocol is Protocol.OPENAI:
        if base.endswith("/chat/completions"):
            return base
        return f"{base}/chat/completions" if any(_VERSION.fullmatch(one) for one in segments) else f"{base}/v1/chat/completions"
    if not base.endswith("/v1/messages"):
        base = f"{base}/messages" if segments and _VERSION.fullmatch(segments[-1]) else f"{base}/v1/messages"
    return f"{base}/count_tokens" if count else base


@functools.lru_cache(maxsize=64)
def origin(base: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of an address: the same three, the same server."""
    parts = urllib.parse.urlsplit(base)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
