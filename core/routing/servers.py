"""Which GLM server is selected, and at which addresses it answers."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from core.dialects import Protocol
from core.settings import Settings, SettingsError
from core.settings.showing import shown_value
from core.settings.upstreams import INTERNATIONAL, SERVER_ALIASES, Bases, Server

#: Domains whose every host belongs to the service the built-in server of that name stands for.
_DOMAINS: Final = {"z.ai": "international", "bigmodel.cn": "cn"}


@dataclass(frozen=True, slots=True)
class Selection:
    """The GLM server that answers, as the settings leave it."""

    server: Server
    bases: Bases  # its own, or what the settings pin; None where nothing may be asked
    pinned: tuple[str, ...] = ()  # names of the settings that hold an address which is no known server's


def server_named(name: str, settings: Settings) -> Server | None:
    """A GLM server by its name or by a short one."""
    return settings.servers.get(name) or settings.servers.get(SERVER_ALIASES.get(name, ""))


def selection(settings: Settings) -> Selection:
    """The selected GLM server.

    An address in UPSTREAM_BASE or OPENAI_UPSTREAM_BASE pins its side, unless it is a known server's: then it only selects that server,
    where PROXY_SERVER does not. Where one side alone is set, and not to a host of a known server, the other has no address: a request
    meant for one's own server, with one's own key in it, must not go to another because it holds a picture.
    Raises ``SettingsError`` for a PROXY_SERVER that there is not.
    """
    servers = settings.servers
    given = {
        protocol: base
        for protocol, base in ((Protocol.ANTHROPIC, settings.upstream_base), (Protocol.OPENAI, settings.openai_upstream_base))
        if base is not None
    }
    named = {protocol: owner for protocol, base in given.items() if (owner := _owner(protocol, base, servers)) is not None}
    if len({server.name for server in named.values()}) > 1:
        named = {}  # two servers at once cannot be selected: each side is taken as it is
    pins = {protocol: base for protocol, base in given.items() if protocol not in named}
    lone = next(iter(pins.values())) if len(given) == len(pins) == 1 else None
    kin = None if lone is None else _kin(lone, servers)
    server = _selected(settings, next(iter(named.values()), kin))
    other = Bases() if lone is not None and kin is None else server.bases
    there = Bases(pins.get(Protocol.ANTHROPIC, other.anthropic), pins.get(Protocol.OPENAI, other.openai))
    return Selection(server, there, tuple(_SETTING[protocol] for protocol in pins))


_SETTING: Final = {Protocol.ANTHROPIC: "UPSTREAM_BASE", Protocol.OPENAI: "OPENAI_UPSTREAM_BASE"}


def _owner(protocol: Protocol, base: str, servers: Mapping[str, Server]) -> Server | None:
    """The server whose address ``base`` is."""
    base = base.rstrip("/")
    return next((server for server in servers.values() if (own := server.bases.of(protocol)) and own.rstrip("/") == base), None)


def _kin(base: str, servers: Mapping[str, Server]) -> Server | None:
    """The server at whose host ``base`` is."""
    host = _host(base)
    for domain, name in _DOMAINS.items():
        if host == domain or host.endswith(f".{domain}"):
            return servers[name]
    return next((one for one in servers.values() if host in (_host(one.bases.anthropic), _host(one.bases.openai))), None)


def _host(base: str | None) -> str:
    return urllib.parse.urlsplit(base or "").hostname or ""


def _selected(settings: Settings, by_base: Server | None) -> Server:
    """By name, if one was chosen: set, or another one than the default. Else by the addresses."""
    chosen = "proxy_server" in settings.explicit or settings.proxy_server != INTERNATIONAL.name
    if by_base is not None and not chosen:
        return by_base
    server = server_named(settings.proxy_server, settings)
    if server is None:
        raise SettingsError([f"PROXY_SERVER: {unknown_server(settings)}"])
    return server


def unknown_server(settings: Settings) -> str:
    """What is wrong with PROXY_SERVER."""
    return f"found {shown_value(settings.proxy_server)}, expected one of {', '.join(settings.servers)}"


def settled(settings: Settings) -> Settings:
    """The settings with the selected server's own name in ``proxy_server``, whether an alias or an address had selected it.

    What selects another one from then on, ``dataclasses.replace(settings, proxy_server=...)``, goes before those addresses.
    Raises ``SettingsError`` for a PROXY_SERVER that there is not.
    """
    name = selection(settings).server.name
    has_rivals = settings.upstream_base is not None or settings.openai_upstream_base is not None
    if name == settings.proxy_server and ("proxy_server" in settings.explicit or not has_rivals):
        return settings
    return replace(settings, proxy_server=name, explicit=settings.explicit | {"proxy_server"})


def pins(settings: Settings) -> str | None:
    """Why selecting another GLM server changes nothing, or not all; None when it does what it says."""
    if settings.provider_only:
        return "only providers are served here, no GLM server"
    pinned = selection(settings).pinned
    if not pinned:
        return None
    verb = "holds" if len(pinned) == 1 else "hold"
    return f"{' and '.join(pinned)} {verb} an address that is no known server's, and goes before the selected one; unset it to switch"
