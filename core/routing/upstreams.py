"""Everything the settings have that can answer, ready to be made a target."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from core.dialects import Protocol
from core.limits import glm_limits, provider_limits
from core.routing.servers import selection
from core.routing.targets import Target, glm_target, provider_target
from core.settings import Settings
from core.settings.upstreams import Bases, Model, Provider, Server

#: Models that see, by their names: GLM's vision models end in v (glm-4.5v, glm-4.6v-flash).
_SEEING: Final = ("glm-*[0-9]v", "glm-*[0-9]v-*")
_PATHS: Final = {Protocol.ANTHROPIC: "/v1/messages", Protocol.OPENAI: "/v1/chat/completions"}
_OTHER: Final = {Protocol.ANTHROPIC: Protocol.OPENAI, Protocol.OPENAI: Protocol.ANTHROPIC}


@dataclass(frozen=True, slots=True)
class Ask:
    """What of a request, beside its model, decides where it goes."""

    images: bool
    wire: Protocol  # of the endpoint that was called
    suffix: Protocol | None  # what the model's name asks for


def sees(model: str) -> bool:
    """Whether a GLM model is known to take pictures."""
    return any(fnmatch.fnmatchcase(model.lower(), pattern) for pattern in _SEEING)


class Upstreams:
    """The selected GLM server, the providers and their models, by name. Immutable."""

    def __init__(self, settings: Settings) -> None:
        """Raises ``SettingsError`` for a selected server that there is not."""
        self.settings = settings
        self.selection = selection(settings)
        self.providers: Mapping[str, Provider] = {provider.name: provider for provider in settings.providers}
        self.models: Mapping[str, tuple[Provider, Model]] = {
            model.id: (provider, model) for provider in settings.providers for model in provider.models
        }
        self.groups: Mapping[str, Sequence[str]] = _groups(self.models)
        self._glm_models = {model.id: model for model in settings.models}

    def has(self, name: str) -> bool:
        """Whether ``name`` is a model of a provider, or a group of such."""
        return name in self.models or name in self.groups

    def has_glm(self, name: str) -> bool:
        """Whether ``name`` is known to be a model of GLM servers: they take others as well."""
        defaults = (self.settings.autotext_model, self.settings.autovision_model)
        return name in self._glm_models or name in defaults or name.lower().startswith("glm-")

    def able(self, name: str, ask: Ask) -> str:
        """A GLM model that can do it: pictures go to one that sees, text does not go to the vision default."""
        text, vision = self.settings.autotext_model, self.settings.autovision_model
        if text == vision:
            return name
        if ask.images:
            return name if sees(self._upstream_model(name)) and name != text else vision
        return text if name == vision else name

    def is_for_images(self, name: str) -> bool:
        """Whether a GLM model is there for pictures: text goes to another."""
        is_default = name == self.settings.autovision_model != self.settings.autotext_model
        return not self.has(name) and (is_default or sees(self._upstream_model(name)))

    def _upstream_model(self, name: str) -> str:
        """A GLM model as its server calls it."""
        entry = self._glm_models.get(name)
        return name if entry is None else entry.text_model_name

    def glm(self, server: Server, name: str, ask: Ask) -> Target:
        """A GLM server as the target for its model ``name``."""
        bases = self.selection.bases if server is self.selection.server else server.bases
        protocol, reason = self._protocol(ask)
        spoken, base = _spoken(bases, protocol)
        model = self._upstream_model(name)
        return glm_target(
            server,
            base,
            spoken,
            model,
            reason=reason if spoken is protocol else f"only base: {spoken.value}",
            vision=ask.images,
            limits=glm_limits(model, self._glm_models.get(name), images=ask.images, settings=self.settings),
            settings=self.settings,
        )

    def _protocol(self, ask: Ask) -> tuple[Protocol, str]:
        """What is spoken to a GLM server, and why."""
        if ask.images:  # z.ai serves vision on its OpenAI side only
            return Protocol.OPENAI, "has_images=True"
        if ask.suffix is not None:
            return ask.suffix, f"suffix: -{ask.suffix.value}"
        match self.settings.text_endpoint_preference:
            case "openai":
                return Protocol.OPENAI, "preference: openai"
            case "anthropic":
                return Protocol.ANTHROPIC, "preference: anthropic"
            case "endpoint":
                return ask.wire, f"endpoint: {_PATHS[ask.wire]}"
            case _:
                return Protocol.ANTHROPIC, f"auto: {_PATHS[ask.wire]}"

    def provided(self, name: str, ask: Ask) -> Target | None:
        """The provider of the model ``name`` as a target; None when that model takes no pictures and the request has some."""
        provider, model = self.models[name]
        if model.vision or not ask.images:
            return self._at(provider, model, ask)
        if model.vision_model is None:
            return None
        if model.vision_model in self.models:
            provider, other = self.models[model.vision_model]
            return self._at(provider, other, ask) if other.vision else None
        return self._at(provider, Model(model.vision_model, model.vision_model, model.vision_model), ask)

    def _at(self, provider: Provider, model: Model, ask: Ask) -> Target:
        protocol, base = _spoken(provider.bases, ask.suffix or ask.wire)
        limits = provider_limits((model.id, model.remote_id), model.limits, self.settings)
        return provider_target(provider, base, protocol, model.remote_id, vision=ask.images, limits=limits, settings=self.settings)


def _groups(models: Mapping[str, tuple[Provider, Model]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for _, model in models.values():
        if model.group is not None:
            groups.setdefault(model.group, []).append(model.id)
    return groups


def _spoken(bases: Bases, protocol: Protocol) -> tuple[Protocol, str]:
    """``protocol`` and its address, or the other's where that is the only one spoken."""
    base = bases.of(protocol)
    if base is None:
        protocol = _OTHER[protocol]
        base = bases.of(protocol)
        assert base is not None  # whoever answers has an address
    return protocol, base
