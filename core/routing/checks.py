"""What the settings say about routing, checked: names that lead nowhere, or to two places."""

from __future__ import annotations

from collections.abc import Iterator

from core.routing.servers import server_named, unknown_server
from core.routing.upstreams import Upstreams
from core.settings import Settings


def problems(settings: Settings) -> list[str]:
    """One line for each name that leads nowhere, or to two places; fit to be shown."""
    if server_named(settings.proxy_server, settings) is None:
        return [unknown_server(settings)]
    return list(_problems(Upstreams(settings)))


def _problems(upstreams: Upstreams) -> Iterator[str]:
    settings = upstreams.settings
    for name in upstreams.providers:
        if server_named(name, settings) is not None:
            yield f"providers: found the name {name!a}, which is a GLM server's; expected another"
    for place, entry in _entries(upstreams):
        known = entry in upstreams.providers or upstreams.has(entry) or upstreams.has_glm(entry)
        if not known and server_named(entry, settings) is None:
            yield f"{place}: found {entry[:100]!a}, expected the name of a GLM server or a provider, or the id of a model"


def _entries(upstreams: Upstreams) -> Iterator[tuple[str, str]]:
    """Everything that says who takes over, with the place where it stands."""
    for name, (_, model) in upstreams.models.items():
        yield from ((f"fallbacks of the model {name}", entry) for entry in model.fallbacks)
    for server in upstreams.settings.servers.values():
        yield from ((f"fallbacks of the server {server.name}", entry) for entry in server.fallbacks)
    yield from (("FAILOVER_TARGETS", entry) for entry in upstreams.settings.failover_targets)
