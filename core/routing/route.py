"""Which upstreams answer a request, in order: one pure function of the request and the settings, with its reasons."""

from __future__ import annotations

import functools
from typing import Final

from core.dialects import Protocol
from core.errors import BadRequest
from core.limits import smallest
from core.routing.failover import successors
from core.routing.groups import Group, Member
from core.routing.names import Names
from core.routing.targets import REMEMBERED_NAME, Target
from core.routing.upstreams import Ask, Upstreams
from core.settings import Settings
from core.settings.upstreams import NO_LIMITS, Limits

#: Kinds of requests whose targets are remembered: a few dozen models at two endpoints, with room for what clients invent.
_REMEMBERED: Final = 1024


def route(model: str | None, *, images: bool, wire: Protocol, settings: Settings, session: str = "") -> tuple[Target, ...]:
    """The targets of one request: see ``Router.route``, which is for many."""
    return Router(settings).route(model, images=images, wire=wire, session=session)


class Router:
    """The settings made ready for routing. Immutable but for what it remembers."""

    def __init__(self, settings: Settings) -> None:
        """Raises ``SettingsError`` for a selected server that there is not."""
        self.upstreams = Upstreams(settings)
        known = self.upstreams.models.keys() | self.upstreams.groups.keys()
        self._names = Names(known, settings.model_map_json)
        self._remembered = functools.lru_cache(maxsize=_REMEMBERED)(self._routes)

    def route(self, model: str | None, *, images: bool, wire: Protocol, session: str = "") -> tuple[Target, ...]:
        """The targets of a request, one at least: the first is the one to try, the others take over in their order.

        ``model``: as the client wrote it, with any suffix. ``wire``: that of the endpoint it called. ``session``: what stays the same over
        a conversation; the members of a group are chosen by it. Raises ``BadRequest`` for a model that there is not, or that cannot see.
        """
        name = model or ""
        found = (self._remembered if len(name) <= REMEMBERED_NAME else self._routes)(name, images, wire)
        return found.order(session) if isinstance(found, Group) else found

    def limits(self, model: str) -> Limits:
        """What can be expected of a model, before there is a request: of a GLM vision model with pictures, of a group at any member."""
        name, _ = self._names.resolve(model)
        members = self.upstreams.groups.get(name, (model,))
        images = self.upstreams.is_for_images(name)
        try:
            return smallest(self.route(one, images=images, wire=Protocol.ANTHROPIC)[0].limits for one in members)
        except BadRequest:  # the vision default is a provider's model that does not see
            return NO_LIMITS

    def _routes(self, model: str, images: bool, wire: Protocol) -> tuple[Target, ...] | Group:
        upstreams = self.upstreams
        name, suffix = self._names.resolve(model)
        ask = Ask(images, wire, suffix)
        if not name:
            name = self._default(ask)
        if not upstreams.has(name):
            if upstreams.settings.provider_only:
                raise _unknown(model)
            name = upstreams.able(name, ask)
        if name in upstreams.groups:
            return self._group(name, ask)
        if name in upstreams.models:
            return self._provided(name, ask)
        server = upstreams.selection.server
        target = upstreams.glm(server, name, ask)
        return (target, *successors((target,), server.fallbacks, name, ask, upstreams))

    def _default(self, ask: Ask) -> str:
        settings = self.upstreams.settings
        if settings.provider_only:
            raise BadRequest("model: this field is required; GET /v1/models lists what there is", param="model", code="missing_model")
        return settings.autovision_model if ask.images else settings.autotext_model

    def _provided(self, name: str, ask: Ask) -> tuple[Target, ...]:
        target = self.upstreams.provided(name, ask)
        if target is None:
            raise _blind(name)
        model = self.upstreams.models[name][1]
        others = model.fallbacks if model.group is None else (model.group, *model.fallbacks)
        return (target, *successors((target,), others, name, ask, self.upstreams))

    def _group(self, name: str, ask: Ask) -> Group:
        """The members that can serve the request, each with who takes over when it was the first."""
        able: dict[str, Target] = {}
        for one in self.upstreams.groups[name]:
            target = self.upstreams.provided(one, ask)
            # Two that do not see may leave pictures to the same model.
            if target is not None and target.identity not in {other.identity for other in able.values()}:
                able[one] = target
        if not able:
            raise _blind(name)
        return Group([self._member(one, able, ask) for one in able])

    def _member(self, name: str, group: dict[str, Target], ask: Ask) -> Member:
        provider, model = self.upstreams.models[name]
        rest = successors(tuple(group.values()), model.fallbacks, name, ask, self.upstreams)
        return Member(name, provider.weight, group[name], rest)


def _unknown(model: str) -> BadRequest:
    shown = ascii(model[:REMEMBERED_NAME])
    return BadRequest(f"model: there is no {shown} here; GET /v1/models lists what there is", param="model", code="unknown_model")


def _blind(name: str) -> BadRequest:
    """``name`` comes from the settings."""
    return BadRequest(f"model: {name} takes no pictures, and the request has some", param="model", code="unsupported_parameter")
