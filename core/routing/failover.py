"""Who takes over when a target fails, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from core.routing.servers import server_named
from core.routing.targets import Target
from core.routing.upstreams import Ask, Upstreams
from core.settings.upstreams import Provider


def successors(tried: Sequence[Target], entries: Iterable[str], name: str, ask: Ask, upstreams: Upstreams) -> tuple[Target, ...]:
    """The targets that ``entries`` and FAILOVER_TARGETS stand for when a request for the model ``name`` failed at those ``tried``.

    Only those that can serve the request, and nobody twice.
    """
    known = {target.identity for target in tried}
    found = []
    for entry in (*entries, *upstreams.settings.failover_targets):
        for target in _named(entry, name, ask, upstreams):
            if target.identity not in known:
                known.add(target.identity)
                found.append(target)
    return tuple(found)


def _named(entry: str, name: str, ask: Ask, upstreams: Upstreams) -> Iterator[Target]:
    """An entry is a GLM server, a provider, one of a provider's models or groups, or a GLM model."""
    server = server_named(entry, upstreams.settings)
    if server is not None:
        yield upstreams.glm(server, _glm_model(name, ask, upstreams), ask)
    elif entry in upstreams.providers:
        yield from list(_able(_counterparts(upstreams.providers[entry], name, upstreams), ask, upstreams))[:1]
    elif upstreams.has(entry):
        yield from _able(upstreams.groups.get(entry, (entry,)), ask, upstreams)
    elif upstreams.has_glm(entry):
        yield upstreams.glm(upstreams.selection.server, upstreams.able(entry, ask), ask)


def _able(names: Iterable[str], ask: Ask, upstreams: Upstreams) -> Iterator[Target]:
    return (target for one in names if (target := upstreams.provided(one, ask)) is not None)


def _glm_model(name: str, ask: Ask, upstreams: Upstreams) -> str:
    """The model a GLM server is asked for: the one that was asked for, where it can have it, else its default."""
    wanted = name if upstreams.has_glm(name) or not upstreams.has(name) else upstreams.settings.autotext_model
    return upstreams.able(wanted, ask)


def _counterparts(provider: Provider, name: str, upstreams: Upstreams) -> list[str]:
    """The provider's models, first those that are the same model as ``name`` under another id."""
    same = {name, upstreams.models[name][1].remote_id} if name in upstreams.models else {name}
    return [model.id for model in sorted(provider.models, key=lambda one: one.remote_id not in same)]
