"""``proxy-cli servers``: whether the upstreams can be reached, and how fast."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import anyio
import click

from core import routing
from core.settings import Settings
from core.settings.upstreams import Bases
from transports.console.configured import configuration_of
from transports.console.session import FAILED, Session, json_option, table
from transports.probing import Probe, fastest, fetcher, probe


@dataclass(frozen=True, slots=True)
class _Target:
    name: str
    kind: str  # server, or provider
    region: str
    has_key: bool  # the owner's
    bases: Bases
    selected: bool = False

    @property
    def key(self) -> str:
        """A provider may be called as a server is."""
        return f"{self.kind} {self.name}"


@click.command("servers")
@json_option
@click.pass_context
def command(context: click.Context) -> None:
    """Probe every upstream; the exit code is 1 when none can be reached."""
    session = context.ensure_object(Session)
    configuration = configuration_of(session)
    targets = _targets(configuration.settings)
    urls = {target.key: [url for url in (target.bases.anthropic, target.bases.openai) if url is not None] for target in targets}
    probes = anyio.run(partial(probe, urls, fetcher(configuration.proxies)))
    best = fastest([replace(found, name=target.name) for found, target in zip(probes, targets, strict=True) if target.kind == "server"])
    session.show(
        {"recommended": best, "targets": [_fields(target, found) for target, found in zip(targets, probes, strict=True)]},
        *table(
            ("", "NAME", "KIND", "STATE", "LATENCY", "REGION", "KEY"),
            [_row(target, found) for target, found in zip(targets, probes, strict=True)],
        ),
        *([] if best is None else [f"recommended: {best}, the fastest server (proxy-cli switch {best})"]),
    )
    if not any(found.reached for found in probes):
        context.exit(FAILED)


def _targets(settings: Settings) -> list[_Target]:
    """Servers (but not where requests go to providers only), then providers."""
    chosen = routing.selection(settings)
    servers = [] if settings.provider_only else settings.servers.values()
    found = [
        _Target(
            one.name,
            "server",
            one.region,
            bool(one.api_key or settings.server_api_key),
            chosen.bases if one.name == chosen.server.name else one.bases,  # which may be pinned
            one.name == chosen.server.name,
        )
        for one in servers
    ]
    found += [_Target(one.name, "provider", "", one.api_key is not None, one.bases) for one in settings.providers]
    return found


def _row(target: _Target, found: Probe) -> tuple[str, ...]:
    state = click.style("reachable", fg="green") if found.seconds is not None else click.style(f"unreachable: {found.problem}", fg="red")
    latency = "-" if found.seconds is None else f"{found.seconds * 1000:.0f} ms"
    return (
        "*" if target.selected else "",
        target.name,
        target.kind,
        state,
        latency,
        target.region or "-",
        "yes" if target.has_key else "no",
    )


def _fields(target: _Target, found: Probe) -> dict[str, object]:
    return {
        "name": target.name,
        "kind": target.kind,
        "selected": target.selected,
        "reachable": found.reached,
        "problem": found.problem or None,
        "latency_ms": None if found.seconds is None else round(found.seconds * 1000, 1),
        "region": target.region or None,
        "key": target.has_key,
    }
