"""What the settings say about routing, checked: names that lead nowhere, or to two places."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Final

from core.routing.servers import server_named, unknown_server
from core.routing.upstreams import Upstreams
from core.settings import Settings
from core.settings.kinds import Place
from core.settings.showing import shown_value
from core.settings.upstreams import INTERNATIONAL

#: What decides whether a name leads somewhere.
_OF_NAMES: Final = frozenset({"servers", "providers", "models", "autotext_model", "autovision_model"})


@dataclass(frozen=True, slots=True)
class Problem:
    """One name that leads nowhere, or to two places."""

    field: str
    path: str  # in the file that has the field; empty where it is a setting of its own
    text: str  # fit to be shown


def problems(settings: Settings, unknown: AbstractSet[str] = frozenset()) -> list[Problem]:
    """Every one there is. ``unknown``: fields whose real values are not known; nothing is said of what depends on them."""
    found = []
    if server_named(settings.proxy_server, settings) is None:
        if not unknown & {"proxy_server", "servers"}:
            found.append(Problem("proxy_server", "", unknown_server(settings)))
        settings = replace(settings, proxy_server=INTERNATIONAL.name)  # what else is wrong does not depend on it
    return [*found, *_problems(Upstreams(settings), unknown)]


def _problems(upstreams: Upstreams, unknown: AbstractSet[str]) -> Iterator[Problem]:
    settings = upstreams.settings
    for index, provider in enumerate(settings.providers):
        if server_named(provider.name, settings) is not None:
            text = f"found {shown_value(provider.name)}, which is the name of a GLM server; expected another"
            yield Problem("providers", f"providers[{index}].name", text)
    for field, path, entry in _entries(settings):
        if unknown & {field, *_OF_NAMES}:
            continue
        known = entry in upstreams.providers or upstreams.has(entry) or upstreams.has_glm(entry)
        if not known and server_named(entry, settings) is None:
            text = f"found {shown_value(entry)}, expected the name of a GLM server or a provider, or the id of a model"
            yield Problem(field, path, text)


def _entries(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Everything that says who takes over: the field, the path in its file, and whom it names."""
    for index, provider in enumerate(settings.providers):
        models = Place("").member("providers").item(index).member("models")
        for number, model in enumerate(provider.models):
            place = models.item(number).member("fallbacks")
            yield from (("providers", place.item(order).path, entry) for order, entry in enumerate(model.fallbacks))
    for server in settings.servers.values():
        place = Place("").member(server.name).member("fallbacks")
        yield from (("servers", place.item(order).path, entry) for order, entry in enumerate(server.fallbacks))
    yield from (("failover_targets", "", entry) for entry in settings.failover_targets)
