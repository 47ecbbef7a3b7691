"""What one attempt goes to, and how the records of servers and providers become it."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import Final

from core.dialects import DIALECTS, GENERIC, GLM_RELAY, VLLM, Dialect, Protocol, dialect_for
from core.routing.urls import origin
from core.settings import Settings
from core.settings.upstreams import NO_LIMITS, NO_TIMEOUTS, Auth, Concurrency, Limits, Provider, Server, Timeouts

#: Looking a dialect up takes a fifth of a small exchange. Names come from clients, so neither their number nor their length is trusted.
REMEMBERED_NAME: Final = 100  # characters
_dialect_for: Final = functools.lru_cache(maxsize=256)(dialect_for)

#: Whose addresses a preset stands for: a provider of that preset speaks like the server there.
_PRESETS: Final = {
    "openai": "https://api.openai.com",
    "anthropic": "https://api.anthropic.com",
    "zai": "https://api.z.ai",
    "deepseek": "https://api.deepseek.com",
    "moonshot": "https://api.moonshot.ai",
    "openrouter": "https://openrouter.ai",
    "ollama": "http://localhost:11434",
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes, as what, and why."""

    name: str  # the configured name of the server or provider
    protocol: Protocol
    base: str
    model: str  # as the upstream knows it
    reason: str  # what X-Proxy-Route says
    dialect: Dialect
    glm: bool = True  # a GLM server: its usage is scaled, and FORWARD_CLIENT_KEY says whose key it gets
    vision: bool = False  # the request holds pictures, so the model's vision limits apply
    key: str | None = field(default=None, repr=False)  # the owner's
    forward_client_key: bool = True  # a client's own key may go there
    auth: Auth | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()  # fixed ones
    limits: Limits = NO_LIMITS
    default_max_tokens: int = 98_304  # where the wire needs a limit and the client gave none
    timeouts: Timeouts = NO_TIMEOUTS
    concurrency: Concurrency = "auto"  # requests at once per key

    @property
    def label(self) -> str:
        """How logs, metrics and X-Proxy-Upstream call it."""
        return f"{self.name}/{self.protocol.value}"

    @property
    def line(self) -> str:
        """The line that is logged for it."""
        word = "OpenAI" if self.protocol is Protocol.OPENAI else "Anthropic"
        return f"[ROUTING] → {word} ({self.reason})"

    @property
    def origin(self) -> tuple[str, str, int | None]:
        """Scheme, host and port: who gets to see what is sent there."""
        return origin(self.base)

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes two attempts the same attempt, whatever led there."""
        return self.name, self.protocol, self.base, self.model

    def instead_of(self, failed: Target, cause: str) -> Target:
        """This target as the one that takes over. ``cause``: in a word or two, such as ``503`` or ``timeout``."""
        return replace(self, reason=f"failover: {failed.name} {cause}")


def glm_target(
    server: Server, base: str, protocol: Protocol, model: str, *, reason: str, vision: bool, limits: Limits, settings: Settings
) -> Target:
    """A GLM server's, for one request. ``base``: the address that the settings leave it."""
    return Target(
        server.name,
        protocol,
        base,
        model,
        reason,
        _glm_dialect(protocol, base, model, settings),
        vision=vision,
        key=server.api_key or settings.server_api_key,
        forward_client_key=settings.forward_client_key,
        limits=limits,
        default_max_tokens=settings.default_max_tokens,
        concurrency=settings.upstream_key_concurrency if server.key_concurrency is None else server.key_concurrency,
    )


def provider_target(
    provider: Provider, base: str, protocol: Protocol, model: str, *, vision: bool, limits: Limits, settings: Settings
) -> Target:
    """A provider's, for one request. ``model``: as the provider calls it."""
    return Target(
        provider.name,
        protocol,
        base,
        model,
        f"provider: {provider.name}",
        _preset_dialect(provider.preset, protocol, base, model),
        glm=False,
        vision=vision,
        key=provider.api_key,
        forward_client_key=provider.forward_client_key,
        auth=provider.auth,
        headers=tuple((name.encode(), value.encode()) for name, value in provider.headers.items()),
        limits=limits,
        default_max_tokens=provider.default_max_tokens,
        timeouts=provider.timeouts,
        concurrency=settings.upstream_key_concurrency if provider.key_concurrency is None else provider.key_concurrency,
    )


def _glm_dialect(protocol: Protocol, base: str, model: str, settings: Settings) -> Dialect:
    """The dialect the settings name, else the one that host and model tell."""
    named = settings.openai_upstream_dialect if protocol is Protocol.OPENAI else settings.upstream_dialect
    return _by_host(protocol, base, model) if named is None else DIALECTS[named]


def _by_host(protocol: Protocol, base: str, model: str) -> Dialect:
    find = _dialect_for if len(model) <= REMEMBERED_NAME else dialect_for
    return find(protocol, base, model)


def _preset_dialect(preset: str, protocol: Protocol, base: str, model: str) -> Dialect:
    """What a provider can and cannot say. None but z.ai's own preset makes a model think that was not asked to."""
    if preset == "vllm" and protocol is Protocol.OPENAI:
        return VLLM
    found = _by_host(protocol, _PRESETS.get(preset, base), model)
    if found is GLM_RELAY:  # GLM behind another address is what a GLM server of one's own is, and not what a provider is
        return GENERIC
    return found if preset == "zai" or found.thinking_default is None else replace(found, thinking_default=None)
