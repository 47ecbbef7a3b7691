"""Who answers: GLM servers, and providers of either protocol. Frozen records, as the settings hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from core.dialects import Protocol

#: Requests at once per upstream key: a number (0: unlimited), or learned from the upstream's complaints.
Concurrency: TypeAlias = int | Literal["auto"]
#: How a credential is written for a target, where not as its protocol has it.
Auth: TypeAlias = Literal["bearer", "x-api-key", "as-sent"]
AUTHS: Final[tuple[Auth, ...]] = ("bearer", "x-api-key", "as-sent")
#: What a provider may say it is. ``core.routing`` knows the dialects of each.
PRESETS: Final = ("generic", "openai", "anthropic", "zai", "deepseek", "moonshot", "openrouter", "ollama", "vllm")


@dataclass(frozen=True, slots=True)
class Bases:
    """The addresses of one upstream, without trailing slashes; None where it does not speak that protocol."""

    anthropic: str | None = None
    openai: str | None = None

    def of(self, protocol: Protocol) -> str | None:
        return self.openai if protocol is Protocol.OPENAI else self.anthropic


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a model, in tokens; None: not known."""

    max_input_tokens: int | None = None  # the window
    max_tokens: int | None = None  # the longest answer


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds, 0 meaning no limit; None: as for everyone."""

    connect: float | None = None
    request: float | None = None
    first_byte: float | None = None
    stream: float | None = None
    stream_total: float | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """Of a model, in USD per million tokens; None: not known."""

    input: float | None = None
    output: float | None = None
    cache_read: float | None = None
    cache_write: float | None = None


@dataclass(frozen=True, slots=True)
class Commands:
    """The ``cli`` part of ``config.yaml``. Seconds."""

    refresh_interval: float = 2.0
    auto_switch_enabled: bool = False
    auto_switch_interval: float = 60.0


NO_LIMITS: Final = Limits()
NO_TIMEOUTS: Final = Timeouts()


@dataclass(frozen=True, slots=True)
class Model:
    """One model of a provider."""

    id: str  # as clients call it
    remote_id: str  # as the provider calls it
    display_name: str
    limits: Limits = NO_LIMITS
    vision: bool = True
    vision_model: str | None = None  # takes over when there are pictures and ``vision`` is off
    fallbacks: tuple[str, ...] = ()  # ids, in order
    group: str | None = None  # an id shared with other models
    created: int | None = None  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Provider:
    """An entry of ``providers``."""

    name: str
    bases: Bases
    models: tuple[Model, ...]
    api_key: str | None = field(default=None, repr=False)
    forward_client_key: bool = False
    preset: str = "generic"
    auth: Auth | None = None
    timeouts: Timeouts = NO_TIMEOUTS
    key_concurrency: Concurrency | None = None  # None: as for everyone
    weight: int = 1
    default_max_tokens: int = 1024
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # lower-case names


@dataclass(frozen=True, slots=True)
class Server:
    """A GLM server: built in, or an entry of ``servers.yaml``."""

    name: str
    bases: Bases
    display_name: str = ""
    region: str = ""
    api_key: str | None = field(default=None, repr=False)
    latency_ms: float | None = None  # for people only
    fallbacks: tuple[str, ...] = ()  # names of servers, in order
    key_concurrency: Concurrency | None = None


@dataclass(frozen=True, slots=True)
class GlmModel:
    """An entry of ``models`` in ``config.yaml``: a further model of the GLM servers."""

    id: str
    display_name: str
    text_model_name: str  # as the server calls it
    openai_expected_tokens: int | None = None  # the window its clients expect
    real_text_model_tokens: int | None = None  # its real one
    description: str = ""


#: z.ai's two services (docs.z.ai and docs.bigmodel.cn, read 2026-11-20); the OpenAI base of the first is the coding plan's.
INTERNATIONAL: Final = Server(
    "international",
    Bases("https://api.z.ai/api/anthropic", "https://api.z.ai/api/coding/paas/v4"),
    display_name="Z.AI international",
    region="international",
)
CN: Final = Server(
    "cn",
    Bases("https://open.bigmodel.cn/api/anthropic", "https://open.bigmodel.cn/api/paas/v4"),
    display_name="BigModel China",
    region="cn",
)
SERVERS: Final = {server.name: server for server in (INTERNATIONAL, CN)}
#: Short names of them.
SERVER_ALIASES: Final = {"inter": "international"}
