"""The settings as a whole: what stands in files only, and what several of them have to agree on."""

from __future__ import annotations

import itertools
import urllib.parse
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, fields
from typing import Final

from core.settings.addresses import is_loopback
from core.settings.fields import fact_of
from core.settings.observing import Observing
from core.settings.showing import shown_value
from core.settings.upstreams import SERVERS, Bases, Commands, GlmModel, Provider, Server

_COMMANDS: Final = Commands()
#: What decides whether anyone may ask.
_OF_RELAYS: Final = frozenset({"host", "proxy_api_key", "allow_open_relay"})


@dataclass(frozen=True, slots=True)
class Whole(Observing):
    """Every setting, and the entries of the files."""

    providers: tuple[Provider, ...] = ()
    servers: Mapping[str, Server] = field(default_factory=lambda: SERVERS)  # by name; the built-in ones are always there
    models: tuple[GlmModel, ...] = ()  # of the GLM servers, beside those they are known for
    cli: Commands = _COMMANDS
    #: The fields somebody set, by name.
    explicit: frozenset[str] = frozenset()
    #: The upstream is the simulator, and there is no key to protect.
    demo: bool = False

    def conflicts(self, unknown: AbstractSet[str] = frozenset()) -> list[tuple[str, str]]:
        """(field, problem) for what does not go together. Names that lead nowhere are found by ``core.routing.problems``.

        ``unknown``: fields whose real values are not known; nothing is said of what depends on them.
        """
        found = [*self._thresholds(), *self._origins(), *self._models()]
        return [(name, problem) for name, depends, problem in found if not depends & unknown]

    def open_relay(self, unknown: AbstractSet[str] = frozenset()) -> str | None:
        """The problem with a key that anyone on the network could spend, if there is one. ``unknown``: as for ``conflicts``."""
        if unknown & _OF_RELAYS:
            return None
        if self.demo or self.proxy_api_key or self.allow_open_relay or is_loopback(self.host):
            return None
        key = self.spendable()
        return key and (
            f"{key} is set and HOST is {self.host}: anyone who reaches this address could spend the key. "
            "Set PROXY_API_KEY, or bind to 127.0.0.1, or set ALLOW_OPEN_RELAY=true if that is what you want."
        )

    def spendable(self) -> str | None:
        """Where a key of the owner's stands, if there is one."""
        return next(self._keys(), None)

    def warnings(self) -> list[str]:
        """What is legal, and probably not meant."""
        found = []
        selected = self.servers.get(self.proxy_server)
        if not self.forward_client_key and not self.provider_only and not (self.server_api_key or (selected and selected.api_key)):
            found.append(
                "FORWARD_CLIENT_KEY is false and SERVER_API_KEY is not set: every request to the GLM server will be refused with 401"
            )
        if self.allow_open_relay and not self.proxy_api_key and not is_loopback(self.host) and (spent := self.spendable()):
            found.append(f"ALLOW_OPEN_RELAY: whoever reaches {self.host} spends {spent}")
        for name, base in self._addresses():
            parts = urllib.parse.urlsplit(base or "")
            if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
                found.append(f"{name} is plain http: keys and prompts travel in clear")
        without = [one.name.upper() for one in fields(self) if one.name in self.explicit and (fact := fact_of(one)) and fact.feature]
        if without:
            found.append(f"set, and without effect yet: {', '.join(without)}")
        return found

    def _keys(self) -> Iterator[str]:
        """Where the owner's keys stand."""
        if self.server_api_key:
            yield "SERVER_API_KEY"
        yield from (f"servers.{server.name}.api_key" for server in self.servers.values() if server.api_key)
        yield from (f"the api_key of provider {provider.name}" for provider in self.providers if provider.api_key)

    def _addresses(self) -> Iterator[tuple[str, str | None]]:
        yield from (("UPSTREAM_BASE", self.upstream_base), ("OPENAI_UPSTREAM_BASE", self.openai_upstream_base))
        entries: list[tuple[str, Bases]] = [(f"server {server.name}", server.bases) for server in self.servers.values()]
        entries += [(f"provider {provider.name}", provider.bases) for provider in self.providers]
        yield from ((name, base) for name, bases in entries for base in (bases.anthropic, bases.openai))

    # ------------------------------------------------------------------------------------------------- conflicts

    def _thresholds(self) -> Iterator[tuple[str, AbstractSet[str], str]]:
        thresholds = (
            ("condensation_caution_threshold", self.condensation_caution_threshold),
            ("condensation_warning_threshold", self.condensation_warning_threshold),
            ("condensation_critical_threshold", self.condensation_critical_threshold),
            ("condensation_emergency_threshold", self.condensation_emergency_threshold),
        )
        for (below, lower), (name, upper) in itertools.pairwise(thresholds):
            if lower < upper:
                continue
            if below in self.explicit and name not in self.explicit:  # who is told has set it
                yield below, {below, name}, f"found {lower:g}, expected less than the {upper:g} of {name.upper()}"
            else:
                yield name, {below, name}, f"found {upper:g}, expected more than the {lower:g} of {below.upper()}"

    def _origins(self) -> Iterator[tuple[str, AbstractSet[str], str]]:
        if self.enable_cors and "*" in self.cors_origins and (key := self.spendable()):
            problem = f"found *, expected a list of origins: any web page could spend {key}"
            yield "cors_origins", {"enable_cors", "cors_origins"}, problem

    def _models(self) -> Iterator[tuple[str, AbstractSet[str], str]]:
        depends = {"provider_only", "providers"}
        if self.provider_only and not self.providers:
            yield "provider_only", depends, "found true, expected providers beside it: without one no request can be answered"
        offered = {model.id for provider in self.providers for model in provider.models}
        for model in self.models:
            if model.id in offered:
                problem = f"found {shown_value(model.id)}, which a provider has already; expected ids that differ"
                yield "models", {"models", "providers"}, problem
