"""Every setting as one frozen record, built from a plain mapping of names to text.

Where the text comes from (environment, files, flags) is the transport's business. All problems are reported at once, each with the name,
what was found, and what is expected; secrets are masked. An empty value means "not set".
"""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

import msgspec

from core.dialects import DIALECTS
from core.tokens import ENCODINGS

#: Bases of z.ai's international service (docs.z.ai, read 2026-11-20); the coding plan's OpenAI base.
ZAI_ANTHROPIC: Final = "https://api.z.ai/api/anthropic"
ZAI_OPENAI: Final = "https://api.z.ai/api/coding/paas/v4"

PREFERENCES: Final = ("auto", "openai", "anthropic", "endpoint")
BACKENDS: Final = ("asyncio", "trio")
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("0", "false", "no", "off")
#: Characters of a wrong value that are shown.
_SHOWN_MAX: Final = 200
_USER_IN_URL: Final = re.compile(r"//[^/?#]*@")
#: Names of this machine, and its usual addresses, which need not be parsed at every request.
_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1", "localhost.localdomain", "ip6-localhost")


class SettingsError(Exception):
    """Settings that cannot be used. ``problems``: one line each, fit to be shown."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class UnsafeSettings(SettingsError):
    """Settings under which anyone could spend the owner's key."""


def _setting(parse: Callable[[str], Any], default: object, *aliases: str, secret: bool = False, unit: str = "", why: str = "") -> Any:
    metadata = {"parse": parse, "aliases": aliases, "secret": secret, "unit": unit, "why": why}
    return field(default=default, repr=not secret, metadata=metadata)


def _text(value: str) -> str:
    return value


def _token(value: str) -> str:
    """What goes into a header as it is: a key, a version."""
    if not (value.isascii() and value.isprintable() and " " not in value):
        raise ValueError("expected visible ASCII characters without spaces")
    return value


def _switch(value: str) -> bool:
    lowered = value.lower()
    if lowered in _TRUE or lowered in _FALSE:
        return lowered in _TRUE
    raise ValueError("expected true or false (1/0, yes/no, on/off)")


def _one_of(*options: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        found = next((option for option in options if option.lower() == value.lower()), None)
        if found is None:
            raise ValueError(f"expected one of {', '.join(options)}")
        return found

    return parse


def _number(low: float, high: float, kind: type[int | float]) -> Callable[[str], float]:
    def parse(value: str) -> float:
        try:
            number = None if "_" in value else kind(value)  # Python reads 1_000, nobody else does
        except ValueError:
            number = None
        if number is None or not low <= number <= high:
            word = "a whole number" if kind is int else "a number"
            raise ValueError(f"expected {word} from {low:g} to {high:g}")
        return number

    return parse


def _url(value: str) -> str:
    try:
        parts = urllib.parse.urlsplit(_token(value))
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not close, a port that is no number
        usable = False
    if not usable:
        raise ValueError("expected an http:// or https:// URL with a host, and with a port from 1 to 65535 if any")
    if "@" in parts.netloc or "?" in value or "#" in value:
        raise ValueError("expected a URL without credentials, query or fragment")
    return value.rstrip("/")


def _names(value: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in value.split(",") if one.strip())


def _json_names(value: str) -> tuple[str, ...]:
    try:
        return tuple(msgspec.json.decode(value, type=list[str]))
    except msgspec.DecodeError:
        raise ValueError('expected a JSON list of strings, such as ["glm-4.6"]') from None


def _dialect(value: str) -> str:
    if value not in DIALECTS:
        raise ValueError(f"expected one of {', '.join(DIALECTS)}")
    return value


_SECONDS = _number(0, 86_400, float)  # a day: more is a typing error
_COUNT = _number(0, 1_000_000, int)
_TOKENS = _number(1, 100_000_000, int)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the proxy does, decided once. Times are seconds, 0 meaning no limit; sizes are in the unit of their name."""

    # Server
    host: str = _setting(_text, "127.0.0.1", "PROXY_HOST", why="loopback: a proxy holds keys")
    port: int = _setting(_number(0, 65_535, int), 5000, "PROXY_PORT", why="0: any free port, printed at start")
    backend: str = _setting(_one_of(*BACKENDS), "asyncio")
    uvloop: str = _setting(_one_of("auto", "on", "off"), "auto", why="15 to 20 % less CPU on streams, where it is installed")
    log_level: str = _setting(_one_of(*LOG_LEVELS), "INFO")
    drain_timeout: float = _setting(_SECONDS, 600.0, unit="s", why="longer than nearly any answer")
    # Safety and limits
    proxy_api_key: str | None = _setting(_token, None, "AK", secret=True)
    allow_open_relay: bool = _setting(_switch, default=False)
    allowed_hosts: tuple[str, ...] = _setting(_names, ())
    max_request_size_mb: float = _setting(_number(0.001, 1024, float), 32.0, unit="MiB", why="Anthropic's own limit")
    max_header_kb: int = _setting(_number(1, 1024, int), 64, unit="KiB")
    max_json_depth: int = _setting(_number(8, 900, int), 128, why="real requests stay below 20; decoders recurse")
    max_connections: int = _setting(_COUNT, 2000)
    enable_request_id_tracking: bool = _setting(_switch, default=True)
    proxy_headers: bool = _setting(_switch, default=True)
    # Upstream and routing
    server_api_key: str | None = _setting(_token, None, secret=True)
    forward_client_key: bool = _setting(_switch, default=True)
    upstream_base: str | None = _setting(_url, None, why=f"unset: {ZAI_ANTHROPIC}")
    openai_upstream_base: str | None = _setting(_url, None, why=f"unset: {ZAI_OPENAI}")
    upstream_dialect: str | None = _setting(_dialect, None, why="unset: by the host of UPSTREAM_BASE and the model")
    openai_upstream_dialect: str | None = _setting(_dialect, None, why="unset: by the host of OPENAI_UPSTREAM_BASE and the model")
    text_endpoint_preference: str = _setting(_one_of(*PREFERENCES), "auto")
    openai_models_list_json: tuple[str, ...] = _setting(_json_names, (), why="unset: the text model, plain and with both suffixes")
    autotext_model: str = _setting(_text, "glm-4.6")
    autovision_model: str = _setting(_text, "glm-4.5v")
    default_max_tokens: int = _setting(_TOKENS, 98_304, unit="tokens", why="GLM-4.5's largest answer")
    enable_zai_thinking: bool = _setting(_switch, default=True)
    anthropic_version: str = _setting(_token, "2023-06-01", why="the last version that takes sampling parameters")
    # Timeouts
    connect_timeout: float = _setting(_SECONDS, 10.0, unit="s", why="DNS, TCP and TLS together")
    request_timeout: float = _setting(_SECONDS, 300.0, "UPSTREAM_TIMEOUT_SECONDS", unit="s", why="a whole plain exchange")
    first_byte_timeout: float = _setting(_SECONDS, 300.0, unit="s", why="a stream's first event")
    stream_timeout: float = _setting(_SECONDS, 300.0, unit="s", why="the longest gap in a stream")
    stream_total_timeout: float = _setting(_SECONDS, 0.0, unit="s")
    sse_ping_interval: float = _setting(_SECONDS, 15.0, unit="s", why="below the idle limits of common load balancers")
    http_pool_maxsize: int = _setting(_number(1, 100_000, int), 1000, why="streams hold a connection each")
    http_keepalive_connections: int = _setting(_COUNT, 15)
    http_keepalive_seconds: float = _setting(_SECONDS, 30.0, unit="s")
    # Counting
    token_counting_model: str = _setting(_one_of(*ENCODINGS), "cl100k_base")
    tiktoken_cache_size: int = _setting(_COUNT, 1000)
    # Set by the server itself
    demo: bool = _setting(_switch, default=False)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, str]) -> Settings:
        """Settings from names in upper case to text. Other names are none of ours and are left alone.

        Raises ``SettingsError`` with every problem, or ``UnsafeSettings`` when starting would make an open relay of the owner's key.
        """
        values: dict[str, Any] = {}
        problems: list[str] = []
        for one in fields(cls):
            name = one.name.upper()
            source = next((key for key in (name, *one.metadata["aliases"]) if mapping.get(key, "").strip()), None)
            if source is None:
                continue
            text = mapping[source].strip()
            try:
                values[one.name] = one.metadata["parse"](text)
            except ValueError as error:
                shown = _masked(text) if one.metadata["secret"] else ascii(_USER_IN_URL.sub("//...@", text)[:_SHOWN_MAX])
                problems.append(f"{source}: found {shown}, {error}")
        if problems:
            raise SettingsError(problems)
        settings = cls(**values)
        settings.check()
        return settings

    def check(self) -> None:
        """Raises ``UnsafeSettings`` for a server key that anyone on the network could spend."""
        if self.demo or self.proxy_api_key or self.allow_open_relay:
            return
        if self.server_api_key and not is_loopback(self.host):
            problem = (
                f"SERVER_API_KEY is set and HOST is {self.host}: anyone who reaches this address could spend the key. "
                "Set PROXY_API_KEY, or bind to 127.0.0.1, or set ALLOW_OPEN_RELAY=true if that is what you want."
            )
            raise UnsafeSettings([problem])

    def warnings(self) -> list[str]:
        """What is legal, and probably not meant."""
        found = []
        if not self.forward_client_key and self.server_api_key is None:
            found.append("FORWARD_CLIENT_KEY is false and SERVER_API_KEY is not set: every request will be refused with 401")
        if self.server_api_key and self.allow_open_relay and not self.proxy_api_key and not is_loopback(self.host):
            found.append(f"ALLOW_OPEN_RELAY: whoever reaches {self.host} spends SERVER_API_KEY")
        for name, base in (("UPSTREAM_BASE", self.upstream_base), ("OPENAI_UPSTREAM_BASE", self.openai_upstream_base)):
            parts = urllib.parse.urlsplit(base or "")
            if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
                found.append(f"{name} is plain http: keys and prompts travel in clear")
        return found


def _masked(secret: str) -> str:
    return f"a secret of {len(secret)} characters"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    name = host.strip("[]").lower()
    if name in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
