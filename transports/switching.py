"""The auto-switch: when the selected GLM server cannot be reached, move to one that can."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias

import anyio

from core import routing
from core.settings import Settings
from core.settings.upstreams import Server
from transports.logs import NAME
from transports.probing import Probe, fastest
from transports.reload import Live

logger = logging.getLogger(NAME)

#: Between two looks: probing all the time would be no kindness to anyone.
_LEAST_SECONDS: Final = 1.0

#: Base URLs by the server's name, to what was found.
Prober: TypeAlias = Callable[[Mapping[str, Sequence[str]]], Awaitable[list[Probe]]]


def decide(selected: str, probes: Sequence[Probe]) -> str | None:
    """The server to move to: the fastest reached, but only when ``selected`` was not. None: stay."""
    own = next((one for one in probes if one.name == selected), None)
    if own is None or own.reached:
        return None
    return fastest(probes)


class AutoSwitch:
    """Looks after the selected server of ``live``, while the settings of the moment say so. ``pause`` waits for so many seconds."""

    def __init__(self, live: Live, prober: Prober, pause: Callable[[float], Awaitable[None]] = anyio.sleep) -> None:
        self._live = live
        self._prober = prober
        self._pause = pause

    async def run(self) -> None:
        """Look once per interval, for ever."""
        while True:
            await self._pause(max(_LEAST_SECONDS, self._live.settings.cli.auto_switch_interval))
            try:
                await self.look()
            except Exception:
                logger.exception("the auto-switch failed")  # a bug, which must not end the server

    async def look(self) -> None:
        """Probe, and move if the selected server is out of reach and another is not."""
        settings = self._live.settings
        if not settings.cli.auto_switch_enabled or routing.pins(settings) is not None:
            return
        selected = routing.selection(settings).server.name
        probes = await self._prober(candidates(settings))
        better = decide(selected, probes)
        if self._live.settings is not settings:
            return  # something was selected or configured meanwhile: these probes may say nothing any more
        why = next((one.problem for one in probes if one.name == selected), "")
        if better is not None:
            self._live.select(better, f"auto-switch: {selected} cannot be reached: {why}")
        elif why:
            logger.warning("auto-switch: %s cannot be reached (%s), nor can any other server", selected, why)


def candidates(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The base URLs of the selected server, and of those that could take over: those with a key, unless clients bring theirs."""
    selected = routing.selection(settings).server
    able = {
        name: addresses(server)
        for name, server in settings.servers.items()
        if settings.forward_client_key or settings.server_api_key or server.api_key
    }
    return {selected.name: addresses(selected)} | able


def addresses(server: Server) -> tuple[str, ...]:
    return tuple(base for base in (server.bases.anthropic, server.bases.openai) if base is not None)
