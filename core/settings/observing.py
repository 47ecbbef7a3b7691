"""Settings of logs and statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from core.settings.editing import Editing
from core.settings.fields import LOGS, STATISTICS, setting
from core.settings.kinds import COUNT, PATH, STORE, SWITCH, number, one_of
from core.settings.structures import PRICES
from core.settings.upstreams import Price

LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_DAYS: Final = number(0, 36_500, int)

_level = partial(setting, "Logs")
_logs = partial(setting, "Logs", feature=LOGS)
_statistics = partial(setting, "Statistics", feature=STATISTICS)


@dataclass(frozen=True, slots=True)
class Observing(Editing):
    """Sizes are in the unit of their name; 0 switches a bounded thing off."""

    log_level: str = _level(one_of(*LOG_LEVELS, also={"warn": "WARNING"}), "INFO", "how much is logged")
    debug: bool = _level(SWITCH, False, "the same as LOG_LEVEL=DEBUG")
    enable_structured_logging: bool = _logs(SWITCH, True, "JSON where nobody is watching")
    log_format: str = _logs(one_of("auto", "json", "human"), "auto", "form of a line; auto: human on a terminal")
    logging_performance_level: str = _logs(
        one_of("max_detail", "balanced", "performance", "minimal"), "balanced", "how much of normal requests is logged"
    )
    enable_file_logging: bool = _logs(SWITCH, True, "write log files")
    upstream_log_dir: str = _logs(PATH, "./logs", "where", "LOG_DIR")
    enable_request_body_logging: bool = _logs(SWITCH, False, "log what is sent upstream")
    enable_response_body_logging: bool = _logs(SWITCH, False, "log what comes back")
    log_body_max_chars: int = _logs(number(0, 100_000_000, int), 4096, "of a body; 0: none", unit="characters")
    log_stream_text_preview_chars: int = _logs(number(0, 100_000_000, int), 256, "of a stream's text; 0: none", unit="characters")
    log_payload_threshold: int = _logs(number(0, 100_000_000, int), 1000, "above it, head and tail only", unit="characters")
    upstream_log_rotation: bool = _logs(SWITCH, True, "begin a new file when one is full")
    upstream_log_max_size_mb: float = _logs(number(0.001, 1_000_000, float), 50.0, "when that is", unit="MiB")
    upstream_log_backup_count: int = _logs(COUNT, 10, "full files kept per name")
    upstream_log_retention_days: int = _logs(_DAYS, 30, "for how long", unit="days")
    upstream_log_compression: bool = _logs(SWITCH, True, "compress full files")
    upstream_log_compress_immediately: bool = _logs(SWITCH, True, "at once; false: at the next clean-up")
    log_cleanup_interval_hours: float = _logs(number(0.001, 8_760, float), 24.0, "between clean-ups", unit="h")
    log_rotation_logging: bool = _logs(SWITCH, True, "log rotations and clean-ups")

    enable_stats: bool = _statistics(SWITCH, True, "keep statistics")
    stats_store: str = _statistics(
        STORE, "sqlite", "where: sqlite (in the configuration directory), sqlite:///path, redis://...", "REDIS_URL", secret=True
    )
    stats_retention_days: int = _statistics(_DAYS, 90, "for how long", unit="days")
    prices_json: Mapping[str, Price] = _statistics(PRICES, {}, "prices of models", "prices", unit="USD per million tokens")
