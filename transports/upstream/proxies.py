"""Which HTTP proxy stands between us and an upstream, if any."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote, urlsplit

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy: ``CONNECT`` for https upstreams, absolute request targets for http ones."""

    scheme: str  # how the proxy itself is spoken to: http or https
    host: str
    port: int
    headers: tuple[tuple[bytes, bytes], ...] = ()  # proxy-authorization, when the address held a user

    @classmethod
    def parse(cls, address: str) -> Proxy:
        """``[http[s]://][user[:password]@]host[:port]``. Raises ``ValueError`` (without the address: it may hold a password)."""
        parts = urlsplit(address if "://" in address else f"http://{address}")
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("expected http://host:port or https://host:port")
        headers: tuple[tuple[bytes, bytes], ...] = ()
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            headers = ((b"proxy-authorization", b"Basic " + base64.b64encode(pair)),)
        try:
            port = parts.port
        except ValueError:
            raise ValueError("the port is not a number from 0 to 65535") from None
        return cls(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], headers)


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies of an environment. Loopback upstreams are always reached directly: a proxy could not reach them."""

    http: Proxy | None = None
    https: Proxy | None = None
    bypass: tuple[str, ...] = ()  # lower case: host, .suffix, host:port or *

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Proxies:
        """From ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``; the lower-case names win, as in curl.

        Raises ``ValueError`` that names the variable.
        """

        def proxy(name: str) -> Proxy | None:
            for key in (name.lower(), name, "all_proxy", "ALL_PROXY"):
                if value := environment.get(key):
                    try:
                        return Proxy.parse(value)
                    except ValueError as error:
                        raise ValueError(f"{key}: {error}") from None
            return None

        listed = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
        bypass = tuple(entry.strip().lower() for entry in listed.split(",") if entry.strip())
        return cls(proxy("HTTP_PROXY"), proxy("HTTPS_PROXY"), bypass)

    def toward(self, scheme: str, host: str, port: int) -> Proxy | None:
        """The proxy for an upstream, or None for the direct way."""
        if self._bypassed(host.lower(), port):
            return None
        return self.https if scheme == "https" else self.http

    def _bypassed(self, host: str, port: int) -> bool:
        if host == "localhost" or _is_loopback(host):
            return True
        for entry in self.bypass:
            name, _, digits = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
            if digits and digits != str(port):
                continue
            suffix = name.removeprefix("*").removeprefix(".")
            if name == "*" or host == suffix or host.endswith("." + suffix):
                return True
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
