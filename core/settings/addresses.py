"""Addresses: which only this machine can reach, and what a host's bases are."""

from __future__ import annotations

import ipaddress
import urllib.parse
from typing import Final

from core.settings.upstreams import INTERNATIONAL, SERVERS, Bases

#: Names of this machine, and its usual addresses, which need not be parsed at every request.
_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1", "localhost.localdomain", "ip6-localhost")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    name = host.strip("[]").lower()
    if name in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def host_of(url: str) -> str:
    return urllib.parse.urlsplit(url).hostname or ""


def _path(url: str | None) -> str:
    return urllib.parse.urlsplit(url or "").path


def _known(host: str) -> Bases:
    """The bases of the service at ``host``; those of the international one where it is not known."""
    found = (server.bases for server in SERVERS.values() if host_of(server.bases.openai or "") == host)
    return next(found, INTERNATIONAL.bases)


def bases_at(url: str) -> Bases:
    """The bases of a GLM server given by one address.

    A bare host, or one of the paths known for it, gives both. Any other path is a base of the protocol it is named for.
    """
    parts = urllib.parse.urlsplit(url)
    known = _known(parts.hostname or "")
    paths = [_path(base) for base in (known.anthropic, known.openai)]
    if parts.path in ("", *paths):
        origin = f"{parts.scheme}://{parts.netloc}"
        return Bases(*(origin + path for path in paths))
    return Bases(anthropic=url) if "anthropic" in parts.path or parts.path.endswith("/messages") else Bases(openai=url)
