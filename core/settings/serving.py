"""Settings of the server, of its safety, and of the way upstream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from core.dialects import DIALECTS
from core.settings.fields import COMMANDS, DASHBOARD, METRICS, WORKERS, setting
from core.settings.kinds import (
    COUNT,
    HOST,
    JSON_NAMES,
    NAMES,
    NETWORKS,
    ORIGINS,
    PATH,
    SECONDS,
    SWITCH,
    TEXT,
    TOKEN,
    TOKENS,
    URL,
    URL_PATH,
    number,
    one_of,
    or_word,
)
from core.settings.structures import LIMITS_OF_MODELS, MODEL_MAP
from core.settings.upstreams import INTERNATIONAL, Limits

PREFERENCES: Final = ("auto", "openai", "anthropic", "endpoint")
BACKENDS: Final = ("asyncio", "trio")
_BASES: Final = INTERNATIONAL.bases

_server = partial(setting, "Server")
_safety = partial(setting, "Safety and limits")
_upstream = partial(setting, "Upstream and routing")
_timeout = partial(setting, "Timeouts and connections")


@dataclass(frozen=True, slots=True)
class Serving:
    """Times are seconds, 0 meaning no limit; sizes are in the unit of their name."""

    host: str = _server(HOST, "127.0.0.1", "address to listen on", "PROXY_HOST", why="a proxy holds keys")
    port: int = _server(
        number(0, 65_535, int), 5000, "port to listen on; 0 takes a free one and prints it", "PROXY_PORT", why="8888 with providers only"
    )
    workers: int = _server(number(1, 256, int), 1, "processes that share the port", "WEB_CONCURRENCY", feature=WORKERS)
    backend: str = _server(one_of(*BACKENDS), "asyncio", "event loop")
    uvloop: str = _server(
        one_of("auto", "on", "off"), "auto", "asyncio's faster loop; auto: where it is installed", why="15 to 20 % less CPU on streams"
    )
    config_path: str | None = _server(PATH, None, "a configuration file, JSON or YAML", why="./config.json if it is ours", file=False)
    proxy_config_dir: str = _server(PATH, "~/.anthropic-proxy", "home of config.yaml and servers.yaml", file=False)
    proxy_server: str = _server(TEXT, "international", "the GLM server requests go to", "current_server")
    drain_timeout: float = _server(
        SECONDS, 600.0, "how long running requests may go on after SIGTERM", unit="s", why="longer than nearly any answer"
    )
    stop_timeout: float = _server(SECONDS, 30.0, "how long proxy-cli stop waits", unit="s", feature=COMMANDS)
    enable_health_check: bool = _server(SWITCH, True, "serve health under HEALTH_CHECK_PATH too")
    health_check_path: str = _server(URL_PATH, "/health", "a further path of the health page; / and /health are always there")
    enable_metrics: bool = _server(SWITCH, True, "serve METRICS_PATH", feature=METRICS)
    metrics_path: str = _server(URL_PATH, "/metrics", "where metrics are", feature=METRICS)
    metrics_public: bool = _server(SWITCH, False, "metrics without a key, from anywhere", feature=METRICS)
    enable_dashboard: bool = _server(SWITCH, True, "serve /dashboard", feature=DASHBOARD)

    proxy_api_key: str | None = _safety(TOKEN, None, "the key clients need for this proxy", "ak", secret=True, why="none needed")
    allow_open_relay: bool = _safety(SWITCH, False, "start even if anyone on the network could spend your keys")
    allowed_hosts: tuple[str, ...] = _safety(NAMES, (), "further names this proxy is called by", why="on loopback: only loopback's names")
    enable_cors: bool = _safety(SWITCH, False, "let web pages of CORS_ORIGINS in")
    cors_origins: tuple[str, ...] = _safety(
        ORIGINS, ("http://localhost:3000", "http://localhost:8080"), "origins of web pages; * only where there is no server key"
    )
    trusted_proxies: tuple[str, ...] = _safety(NETWORKS, (), "peers whose X-Forwarded-For is believed")
    auth_failures_per_minute: int = _safety(COUNT, 30, "wrong keys of one address before it has to wait a minute; 0: any number")
    rate_limit_per_minute: int = _safety(COUNT, 0, "requests a minute per credential, or per address without one; 0: any number")
    max_request_size_mb: float = _safety(number(0.001, 1024, float), 32.0, "largest request body", unit="MiB", why="Anthropic's own limit")
    max_json_depth: int = _safety(number(8, 900, int), 128, "deepest nesting of JSON", why="real requests stay below 20; decoders recurse")
    max_header_kb: int = _safety(number(1, 1024, int), 64, "largest request head", unit="KiB")
    max_connections: int = _safety(COUNT, 2000, "open connections; 0: any number")
    max_connections_per_ip: int = _safety(COUNT, 0, "open connections of one address; 0: any number")
    allow_request_compression: bool = _safety(SWITCH, False, "take gzip bodies")
    enable_request_id_tracking: bool = _safety(SWITCH, True, "adopt the client's x-request-id")
    proxy_headers: bool = _safety(SWITCH, True, "add the X-Proxy-* headers to answers")

    server_api_key: str | None = _upstream(TOKEN, None, "your key for the GLM server", secret=True, why="clients bring theirs")
    forward_client_key: bool = _upstream(SWITCH, True, "use the client's own key where it sent one")
    upstream_base: str | None = _upstream(
        URL, None, "where Messages are spoken; set, it stays whatever server is selected", why=f"the server's: {_BASES.anthropic}"
    )
    openai_upstream_base: str | None = _upstream(
        URL, None, "where Chat Completions are spoken; set, it stays likewise", why=f"the server's: {_BASES.openai}"
    )
    upstream_dialect: str | None = _upstream(
        one_of(*DIALECTS), None, "what UPSTREAM_BASE can and cannot say", why="by its host and the model"
    )
    openai_upstream_dialect: str | None = _upstream(
        one_of(*DIALECTS), None, "what OPENAI_UPSTREAM_BASE can and cannot say", why="by its host and the model"
    )
    provider_only: bool = _upstream(
        or_word("auto", SWITCH), False, "refuse models no provider has, and use no GLM server", why="auto: providers and no GLM setting"
    )
    model_map_json: Mapping[str, str] = _upstream(MODEL_MAP, {}, "other names for models; a name may end in *, the longest match wins")
    openai_models_list_json: tuple[str, ...] = _upstream(
        JSON_NAMES, (), "what /v1/models lists", why="the text model, plain and with both suffixes"
    )
    autotext_model: str = _upstream(TEXT, "glm-4.6", "the model where a request names none")
    autovision_model: str = _upstream(TEXT, "glm-4.5v", "the model for pictures where the one asked for cannot see")
    text_endpoint_preference: str = _upstream(
        one_of(*PREFERENCES), "auto", "protocol towards a GLM server for text; auto: Messages; endpoint: as the client speaks"
    )
    failover_targets: tuple[str, ...] = _upstream(NAMES, (), "servers and providers tried when the first fails, in order")
    model_limits_json: Mapping[str, Limits] = _upstream(
        LIMITS_OF_MODELS, {}, "windows and longest answers of models", "model_limits", unit="tokens", why="those of GLM models are known"
    )
    default_max_tokens: int = _upstream(
        TOKENS,
        98_304,
        "longest answer where the client sets none and Messages demands one",
        unit="tokens",
        why="GLM-4.5's; providers: 1024",
    )
    upstream_key_concurrency: int | Literal["auto"] = _upstream(
        or_word("auto", COUNT), "auto", "requests in flight per upstream key; 0: any number; auto: learned from refusals"
    )
    key_queue_size: int = _upstream(COUNT, 100, "requests that wait for a key at most")
    key_queue_timeout: float = _upstream(SECONDS, 30.0, "how long one waits for a key at most", unit="s")
    max_retries: int = _upstream(number(0, 20, int), 2, "further attempts at the same target")
    retry_backoff: float = _upstream(SECONDS, 0.1, "pause before the first further attempt; doubles", unit="s")
    retry_after_max: float = _upstream(SECONDS, 10.0, "longest retry-after that is waited for", unit="s")
    breaker_failures: int = _upstream(COUNT, 5, "failures in a row after which a target rests; 0: never")
    breaker_cooldown: float = _upstream(SECONDS, 30.0, "how long it rests before it is tried again", unit="s")
    enable_zai_thinking: bool = _upstream(SWITCH, True, "let GLM think where the client says nothing about it")
    force_anthropic_beta: bool | Literal["always"] = _upstream(
        or_word("always", SWITCH), False, "send DEFAULT_ANTHROPIC_BETA where the client sends none: true with cache_control only"
    )
    default_anthropic_beta: str = _upstream(TOKEN, "prompt-caching-2024-07-31", "the anthropic-beta header of that")
    anthropic_version: str = _upstream(
        TOKEN, "2023-06-01", "the anthropic-version header where the client sends none", why="the last that takes sampling parameters"
    )
    neutralize_volatile_system: bool | Literal["auto"] = _upstream(
        or_word("auto", SWITCH), "auto", "blank the changing cch= field of the system text, so that caches hold; auto: except for Anthropic"
    )
    stream_rescue: str = _upstream(
        one_of("off", "hold"), "off", "hold: send streams only when complete, so that failover covers them whole"
    )

    connect_timeout: float = _timeout(SECONDS, 10.0, "DNS, TCP and TLS together", unit="s")
    request_timeout: float = _timeout(SECONDS, 300.0, "a whole plain exchange", "upstream_timeout_seconds", unit="s")
    first_byte_timeout: float = _timeout(SECONDS, 300.0, "until a stream's first event", unit="s")
    stream_timeout: float = _timeout(SECONDS, 300.0, "the longest gap in a stream", unit="s")
    stream_total_timeout: float = _timeout(SECONDS, 0.0, "a whole stream; 0: no limit", unit="s")
    sse_ping_interval: float = _timeout(
        SECONDS, 15.0, "silence after which a stream gets a keep-alive", unit="s", why="below the idle limits of common load balancers"
    )
    http_pool_maxsize: int = _timeout(number(1, 100_000, int), 1000, "connections per upstream origin", why="streams hold one each")
    http_keepalive_connections: int = _timeout(COUNT, 15, "idle connections kept per origin")
    http_keepalive_seconds: float = _timeout(SECONDS, 30.0, "for how long", unit="s")
