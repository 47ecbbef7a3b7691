"""Every name, alias and default as the product promises them, and a legal and an illegal value of each; copied by hand, not from the code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from core.settings.upstreams import Limits, Price


@dataclass(frozen=True)
class Row:
    """``text`` is legal in the environment and gives ``value``; ``native`` is the same in a file. None: everything is legal."""

    name: str
    default: object
    text: str
    value: object
    illegal: str | None
    native: Any = None
    illegal_native: Any = None
    aliases: tuple[str, ...] = ()
    secret: bool = False
    file: bool = True

    @property
    def field(self) -> str:
        return self.name.lower()

    @property
    def in_environment(self) -> list[str]:
        return [self.name, *(alias for alias in self.aliases if alias.isupper())]

    @property
    def in_files(self) -> list[str]:
        return [self.name.lower(), *(alias.lower() for alias in self.aliases)] if self.file else []


def _split(entry: str) -> tuple[str, tuple[str, ...], str]:
    """``NAME/ALIAS=default`` in parts."""
    names, _, default = entry.partition("=")
    name, *aliases = names.split("/")
    return name, tuple(aliases), default


def _switches(entries: str) -> list[Row]:
    rows = []
    for entry in entries.split():
        name, aliases, default = _split(entry)
        on = default == "true"
        rows.append(Row(name, on, "off" if on else "YES", not on, "maybe", not on, 2, aliases))
    return rows


def _numbers(entries: str, kind: type, text: str) -> list[Row]:
    rows = []
    for entry in entries.split():
        name, aliases, default = _split(entry)
        rows.append(Row(name, kind(default), text, kind(text), "-2", kind(text), "many", aliases))
    return rows


def _words(entries: str, options: str) -> list[Row]:
    """``options``: the others; the last is taken."""
    rows = []
    for entry in entries.split():
        name, aliases, default = _split(entry)
        word = options.rsplit(maxsplit=1)[-1]
        rows.append(Row(name, default, word.upper(), word, "no-such-word", word, 1, aliases))
    return rows


def _texts(entries: str, text: str = "anything", illegal: str | None = None) -> list[Row]:
    rows = []
    for entry in entries.split():
        name, aliases, default = _split(entry)
        rows.append(Row(name, default or None, text, text, illegal, text, 5, aliases))
    return rows


def _json(name: str, default: object, native: Any, value: object, illegal: Any, aliases: tuple[str, ...] = ()) -> Row:
    return Row(name, default, json.dumps(native), value, "{", native, illegal, aliases)


_URL = "https://models.example/v1"
_SECRET = "sk-canary-0123456789"

ROWS: list[Row] = [
    # Server
    *_texts("HOST/PROXY_HOST=127.0.0.1 PROXY_SERVER/current_server=international", "cn"),
    Row("CONFIG_PATH", None, "x.json", "x.json", None, file=False),
    Row("PROXY_CONFIG_DIR", "~/.anthropic-proxy", "/x", "/x", None, file=False),
    Row("PORT", 5000, "0", 0, "65536", 0, 65536, ("PROXY_PORT",)),
    *_numbers("WORKERS/WEB_CONCURRENCY=1", int, "2"),
    *_words("BACKEND=asyncio", "trio"),
    *_words("UVLOOP=auto", "on off"),
    *_numbers("DRAIN_TIMEOUT=600 STOP_TIMEOUT=30", float, "7.5"),
    *_switches("ENABLE_HEALTH_CHECK=true ENABLE_METRICS=true METRICS_PUBLIC=false ENABLE_DASHBOARD=true"),
    *_texts("HEALTH_CHECK_PATH=/health METRICS_PATH=/metrics", "/over/there", "no-slash"),
    # Safety and limits
    Row("PROXY_API_KEY", None, _SECRET, _SECRET, "two words", _SECRET, 5, ("ak",), secret=True),
    *_switches("ALLOW_OPEN_RELAY=false ENABLE_CORS=false ALLOW_REQUEST_COMPRESSION=false ENABLE_REQUEST_ID_TRACKING=true PROXY_HEADERS=true"),
    Row("ALLOWED_HOSTS", (), " a.example, ,b ", ("a.example", "b"), None, ["a.example", "b"], [1]),
    Row("CORS_ORIGINS", ("http://localhost:3000", "http://localhost:8080"), "https://a.example,http://B:1/", ("https://a.example", "http://b:1"), "a.example", ["https://a.example", "http://b:1"], ["https://a.example/path"]),
    Row("TRUSTED_PROXIES", (), "10.1.2.3/8,::1", ("10.0.0.0/8", "::1/128"), "10.0.0.0/33", ["10.0.0.0/8", "::1"], ["ten"]),
    *_numbers("AUTH_FAILURES_PER_MINUTE=30 RATE_LIMIT_PER_MINUTE=0 MAX_CONNECTIONS=2000 MAX_CONNECTIONS_PER_IP=0", int, "11"),
    *_numbers("MAX_REQUEST_SIZE_MB=32", float, "0.5"),
    *_numbers("MAX_JSON_DEPTH=128 MAX_HEADER_KB=64", int, "11"),
    # Upstream and routing
    Row("SERVER_API_KEY", None, _SECRET, _SECRET, "two words", _SECRET, 5, secret=True),
    *_switches("FORWARD_CLIENT_KEY=true ENABLE_ZAI_THINKING=true"),
    *_texts("UPSTREAM_BASE OPENAI_UPSTREAM_BASE", _URL, "models.example"),
    *_texts("UPSTREAM_DIALECT OPENAI_UPSTREAM_DIALECT", "vllm", "klingon"),
    Row("PROVIDER_ONLY", False, "off", False, "maybe", False, "maybe"),
    _json("MODEL_MAP_JSON", {}, {"gpt-*": "glm-4.6"}, {"gpt-*": "glm-4.6"}, {"gpt-*": 5}),
    _json("OPENAI_MODELS_LIST_JSON", (), ["a", "b"], ("a", "b"), [5]),
    *_texts("AUTOTEXT_MODEL=glm-4.6 AUTOVISION_MODEL=glm-4.5v"),
    *_words("TEXT_ENDPOINT_PREFERENCE=auto", "openai anthropic endpoint"),
    Row("FAILOVER_TARGETS", (), "cn, international", ("cn", "international"), None, ["cn", "international"], [1]),
    _json("MODEL_LIMITS_JSON", {}, {"m": {"max_input_tokens": 9, "max_tokens": 3}}, {"m": Limits(9, 3)}, {"m": {"max_input_tokens": "9"}}, ("model_limits",)),
    *_numbers("DEFAULT_MAX_TOKENS=98304 KEY_QUEUE_SIZE=100 MAX_RETRIES=2 BREAKER_FAILURES=5", int, "11"),
    *_numbers("KEY_QUEUE_TIMEOUT=30 RETRY_BACKOFF=0.1 RETRY_AFTER_MAX=10 BREAKER_COOLDOWN=30", float, "7.5"),
    Row("UPSTREAM_KEY_CONCURRENCY", "auto", "3", 3, "few", 3, -1),
    Row("FORCE_ANTHROPIC_BETA", False, "ALWAYS", "always", "never", "always", 5),
    *_texts("DEFAULT_ANTHROPIC_BETA=prompt-caching-2024-07-31 ANTHROPIC_VERSION=2023-06-01", "2020-01-01", "a b"),
    Row("NEUTRALIZE_VOLATILE_SYSTEM", "auto", "no", False, "maybe", False, "maybe"),
    *_words("STREAM_RESCUE=off", "hold"),
    # Timeouts
    *_numbers("CONNECT_TIMEOUT=10 REQUEST_TIMEOUT/upstream_timeout_seconds=300 FIRST_BYTE_TIMEOUT=300 STREAM_TIMEOUT=300 STREAM_TOTAL_TIMEOUT=0 SSE_PING_INTERVAL=15 HTTP_KEEPALIVE_SECONDS=30", float, "7.5"),
    *_numbers("HTTP_POOL_MAXSIZE=1000 HTTP_KEEPALIVE_CONNECTIONS=15", int, "11"),
    # Token counts
    *_numbers("ANTHROPIC_EXPECTED_TOKENS=200000 OPENAI_EXPECTED_TOKENS=200000 REAL_TEXT_MODEL_TOKENS/OPENAI_TEXT_REAL_TOKENS=200000 REAL_VISION_MODEL_TOKENS/OPENAI_VISION_REAL_TOKENS=65536 TIKTOKEN_CACHE_SIZE=1000 BASE_IMAGE_TOKENS=85 TOKEN_VALIDATION_MIN_DIFFERENCE=25", int, "11"),
    *_switches("ENABLE_TOKEN_SCALING=true INCLUDE_CONTEXT_INFO=true FORWARD_COUNT_TO_UPSTREAM=true COUNT_SHAPE_COMPAT=true SCALE_COUNT_TOKENS_FOR_VISION=true ENABLE_ACCURATE_TOKEN_COUNTING=true ALLOW_VOCAB_DOWNLOAD=false TOKEN_CALIBRATION=true ENABLE_TOKEN_COUNTING_LOGGING=false ENABLE_DYNAMIC_IMAGE_TOKENS=true ENABLE_TOKEN_VALIDATION=true TOKEN_VALIDATION_STRICT=false"),
    *_words("USAGE_BASIS=sent", "raw"),
    *_texts("TOKEN_COUNTING_MODEL=cl100k_base", "o200k_base", "../cl100k"),
    *_texts("TIKTOKEN_CACHE_DIR TOKENIZER_JSON"),
    *_numbers("IMAGE_TOKENS_PER_CHAR=0.25 TOKEN_ACCURACY_WARNING_THRESHOLD=90 TOKEN_ACCURACY_ERROR_THRESHOLD=80 TOKEN_VALIDATION_PERCENTAGE_THRESHOLD=10", float, "7.5"),
    # Context
    *_switches("ENABLE_AI_CONDENSATION/ENABLE_MESSAGE_CONDENSATION=true ENABLE_EMERGENCY_TRUNCATION=true ENABLE_CONTEXT_PERFORMANCE_LOGGING=false ENABLE_ENV_DEDUPLICATION/ENABLE_ENVIRONMENT_DEDUPLICATION=true ENV_DEDUPLICATION_LOGGING=false ENV_DEDUPLICATION_STATS=true GENERATE_IMAGE_DESCRIPTIONS=true CACHE_ASYNC_WRITE=true CACHE_COMPRESSION=true CACHE_ENABLE_LOGGING=false"),
    *_words("CONDENSATION_DEFAULT_STRATEGY=conversation_summary", "key_point_extraction progressive_summarization smart_truncation"),
    *_words("ENV_DEDUPLICATION_STRATEGY/ENVIRONMENT_DEDUPLICATION_STRATEGY=keep_latest", "keep_most_relevant merge selective_removal exact_match remove_all merge_strategy line_delta"),
    *_numbers("CONDENSATION_CAUTION_THRESHOLD=0.70", float, "0.25"),
    *_numbers("CONDENSATION_WARNING_THRESHOLD=0.80", float, "0.85"),
    *_numbers("CONDENSATION_CRITICAL_THRESHOLD=0.90", float, "0.93"),
    *_numbers("CONDENSATION_EMERGENCY_THRESHOLD=0.95", float, "1"),
    *_texts("CONDENSATION_MODEL IMAGE_DESCRIPTION_PROMPT CACHE_DIR=./cache"),
    *_numbers("CONDENSATION_MIN_MESSAGES=3 CONDENSATION_MAX_MESSAGES=10 CONTEXT_CACHE_SIZE=100 MIN_CACHEABLE_TOKENS=1024 IMAGE_AGE_THRESHOLD=3 IMAGE_DESCRIPTION_MAX_TOKENS=200 IMAGE_DESCRIPTION_CONCURRENCY=4 CACHE_CONTEXT_MESSAGES=2 IMAGE_DESCRIPTION_CACHE_SIZE=1000", int, "11"),
    *_numbers("CONDENSATION_TIMEOUT=30 CONDENSATION_CACHE_TTL=3600 CONTEXT_ANALYSIS_CACHE_TTL=300 CACHE_DEFAULT_TTL_SECONDS=300 CACHE_1H_TTL_SECONDS=3600 CONTEXT_LOGGING_WARNING_THRESHOLD_MS=1000 CONTEXT_LOGGING_ERROR_THRESHOLD_MS=5000 ENV_DETAILS_MAX_AGE_MINUTES=30 IMAGE_DESCRIPTION_TIMEOUT=30", float, "7.5"),
    *_numbers("ENVIRONMENT_DEDUPLICATION_SIMILARITY_THRESHOLD=0.9", float, "0.25"),
    Row("ENV_DETAILS_PATTERNS", (), "a|b", ("a|b",), "(", ["a|b", "c"], ["("]),
    *_texts("IMAGE_AGE_TRUNCATION_MESSAGE", "{descriptions}{description}{threshold}", "{image}"),
    # Logs and statistics
    *_words("LOG_LEVEL=INFO", "DEBUG WARNING ERROR CRITICAL"),
    *_switches("DEBUG=false ENABLE_STRUCTURED_LOGGING=true ENABLE_FILE_LOGGING=true ENABLE_REQUEST_BODY_LOGGING=false ENABLE_RESPONSE_BODY_LOGGING=false UPSTREAM_LOG_ROTATION=true UPSTREAM_LOG_COMPRESSION=true UPSTREAM_LOG_COMPRESS_IMMEDIATELY=true LOG_ROTATION_LOGGING=true ENABLE_STATS=true"),
    *_words("LOG_FORMAT=auto", "json human"),
    *_words("LOGGING_PERFORMANCE_LEVEL=balanced", "max_detail performance minimal"),
    *_texts("UPSTREAM_LOG_DIR/LOG_DIR=./logs"),
    *_numbers("LOG_BODY_MAX_CHARS/log_body_max_chars=4096 LOG_STREAM_TEXT_PREVIEW_CHARS/log_stream_text_preview_chars=256 LOG_PAYLOAD_THRESHOLD=1000 UPSTREAM_LOG_BACKUP_COUNT=10 UPSTREAM_LOG_RETENTION_DAYS=30 STATS_RETENTION_DAYS=90", int, "11"),
    *_numbers("UPSTREAM_LOG_MAX_SIZE_MB=50 LOG_CLEANUP_INTERVAL_HOURS=24", float, "7.5"),
    Row("STATS_STORE", "sqlite", "redis://:canary@h:6379/0", "redis://:canary@h:6379/0", "mysql://h", "sqlite:///x", 5, ("REDIS_URL",), secret=True),
    _json("PRICES_JSON", {}, {"m": {"input": 1, "output": 2.5}}, {"m": Price(1, 2.5)}, {"m": {"inptu": 1}}, ("prices",)),
]  # fmt: skip

BY_NAME = {row.name: row for row in ROWS}
