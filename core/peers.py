"""Addresses: whose a request is, behind proxies that are believed."""

from __future__ import annotations

import ipaddress
import re
from typing import Final, TypeAlias

from core.effects import Headers
from core.settings import Settings
from core.traffic.windows import network_of

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
#: An entry of ``X-Forwarded-For``. Some proxies add the port (Azure Application Gateway, IIS).
_ENTRY: Final = re.compile(r"(?:(?P<v4>[0-9.]+)|\[(?P<bracketed>[0-9A-Fa-f:.]+)\])(?::[0-9]+)?|(?P<v6>[0-9A-Fa-f:.]+)")
#: Of a chain of proxies so many are followed: no real one is longer, and the list comes from the client.
_HOPS_MAX: Final = 32


class Peers:
    """Knows the proxies in front of us. ``TRUSTED_PROXIES`` is parsed once. Raises ``ValueError`` for what is no network."""

    __slots__ = ("_trusted",)

    def __init__(self, settings: Settings) -> None:
        self._trusted = tuple(ipaddress.ip_network(network, strict=False) for network in settings.trusted_proxies)

    def address(self, peer: str, headers: Headers) -> str:
        """The client's address. ``peer`` is the socket's.

        A trusted peer is asked whom it speaks for: of ``X-Forwarded-For``, the right-most address that is not a trusted proxy itself.
        What stands left of it was written by the client. Where that list is empty, or holds garbage before such an address, it is ``peer``.
        """
        if not self._trusted or not self.is_trusted(peer):
            return peer
        forwarded = b",".join(value for name, value in headers if name == b"x-forwarded-for").decode("latin-1")
        for entry in reversed(forwarded.rsplit(",", _HOPS_MAX)):
            match = _ENTRY.fullmatch(entry.strip())
            address = None if match is None else _parsed(match["v4"] or match["bracketed"] or match["v6"])
            if address is None:
                return peer
            if not self._holds(address):
                return str(address)
        return peer

    def is_trusted(self, peer: str) -> bool:
        """Whether ``peer`` is a proxy that is believed."""
        if not self._trusted:
            return False
        address = _parsed(peer)
        return address is not None and self._holds(address)

    def counted_as(self, peer: str) -> str | None:
        """By what the connections of ``peer`` are counted; None for a trusted proxy, which brings those of many."""
        return None if self.is_trusted(peer) else network_of(peer)

    def _holds(self, address: _Address) -> bool:
        return any(address in network for network in self._trusted)


def _parsed(text: str) -> _Address | None:
    """An address; IPv4 in the clothes of IPv6, as sockets for both give it, is IPv4."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
