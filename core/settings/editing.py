"""Settings of token counts, and of what may be done to a conversation that grows too long."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

from core.settings.fields import CONTEXT, setting
from core.settings.kinds import COUNT, EXPRESSIONS, PATH, PERCENT, SECONDS, SHARE, SWITCH, TEMPLATE, TEXT, TOKENS, WORD, number, one_of
from core.settings.serving import Serving

CONDENSATIONS: Final = ("conversation_summary", "key_point_extraction", "progressive_summarization", "smart_truncation")
#: merge_strategy is what merge was called.
DEDUPLICATIONS: Final = (
    "keep_latest",
    "keep_most_relevant",
    "merge",
    "merge_strategy",
    "selective_removal",
    "exact_match",
    "remove_all",
    "line_delta",
)
_MILLISECONDS: Final = number(0, 3_600_000, float)
_TTL: Final = number(0, 31_536_000, float)  # a year

_counts = partial(setting, "Token counts")
_levels = partial(setting, "Context")  # context_info tells them
_context = partial(setting, "Context", feature=CONTEXT)


@dataclass(frozen=True, slots=True)
class Editing(Serving):
    """Tokens are those of the window they are measured by; times are seconds, 0 meaning no limit."""

    anthropic_expected_tokens: int = _counts(TOKENS, 200_000, "window that Messages clients expect", unit="tokens")
    openai_expected_tokens: int = _counts(TOKENS, 200_000, "window that Chat Completions clients expect", unit="tokens")
    real_text_model_tokens: int = _counts(TOKENS, 200_000, "window of the text model", "OPENAI_TEXT_REAL_TOKENS", unit="tokens")
    real_vision_model_tokens: int = _counts(TOKENS, 65_536, "window of the vision model", "OPENAI_VISION_REAL_TOKENS", unit="tokens")
    enable_token_scaling: bool = _counts(SWITCH, True, "report usage in units of the window a client expects")
    include_context_info: bool = _counts(SWITCH, True, "add context_info and real_input_tokens to answers")
    usage_basis: str = _counts(one_of("sent", "raw"), "sent", "raw: report the tokens the proxy removed as well")
    forward_count_to_upstream: bool = _counts(SWITCH, True, "let the upstream answer count_tokens where it can")
    count_shape_compat: bool = _counts(SWITCH, True, "answer count_tokens with token_count and input_token_count too")
    scale_count_tokens_for_vision: bool = _counts(SWITCH, True, "scale count_tokens for requests with pictures")
    enable_accurate_token_counting: bool = _counts(SWITCH, True, "count with the vocabulary; false: estimate from characters")
    token_counting_model: str = _counts(WORD, "cl100k_base", "the vocabulary, by tiktoken's name; without it counts are estimates")
    tokenizer_json: str | None = _counts(PATH, None, "a tokenizer.json to count with, in place of TOKEN_COUNTING_MODEL")
    tiktoken_cache_size: int = _counts(COUNT, 1000, "texts whose counts are remembered")
    tiktoken_cache_dir: str | None = _counts(PATH, None, "where further vocabularies are", why="the packaged one")
    allow_vocab_download: bool = _counts(SWITCH, False, "fetch a vocabulary that is not there")
    token_calibration: bool = _counts(SWITCH, True, "correct estimates by what the upstream counted")
    enable_token_counting_logging: bool = _counts(SWITCH, False, "log every count")
    base_image_tokens: int = _counts(COUNT, 85, "of a picture", unit="tokens")
    image_tokens_per_char: float = _counts(number(0, 1000, float), 0.25, "of a character of its description", unit="tokens")
    enable_dynamic_image_tokens: bool = _counts(SWITCH, True, "false: every picture counts 1000")
    enable_token_validation: bool = _counts(SWITCH, True, "compare estimates with the upstream's counts")
    token_validation_strict: bool = _counts(SWITCH, False, "answer 400 instead of a plain answer whose count is far off")
    token_accuracy_warning_threshold: float = _counts(PERCENT, 90.0, "accuracy below which is warned", unit="%")
    token_accuracy_error_threshold: float = _counts(PERCENT, 80.0, "accuracy below which is an error", unit="%")
    token_validation_percentage_threshold: float = _counts(PERCENT, 10.0, "difference that is always fine", unit="%")
    token_validation_min_difference: int = _counts(COUNT, 25, "difference that is always fine", unit="tokens")

    enable_ai_condensation: bool = _context(SWITCH, True, "condense conversations that grow too long", "ENABLE_MESSAGE_CONDENSATION")
    condensation_default_strategy: str = _context(one_of(*CONDENSATIONS), "conversation_summary", "how")
    condensation_caution_threshold: float = _levels(SHARE, 0.70, "share of the window from which a conversation is called long (CAUTION)")
    condensation_warning_threshold: float = _levels(
        SHARE, 0.80, "share from which it is nearly too long (WARNING), and will be condensed lightly"
    )
    condensation_critical_threshold: float = _levels(
        SHARE, 0.90, "share from which it hardly fits (CRITICAL), and will be condensed aggressively"
    )
    condensation_emergency_threshold: float = _context(SHARE, 0.95, "share from which turns are dropped if condensing failed")
    condensation_model: str | None = _context(TEXT, None, "the model that summarises", why="AUTOTEXT_MODEL")
    condensation_min_messages: int = _context(COUNT, 3, "messages there must be")
    condensation_max_messages: int = _context(number(1, 100_000, int), 10, "oldest messages condensed at once")
    condensation_timeout: float = _context(SECONDS, 30.0, "per call of that model", unit="s")
    condensation_cache_ttl: float = _context(_TTL, 3600.0, "how long summaries are remembered", unit="s")
    enable_emergency_truncation: bool = _context(SWITCH, True, "drop turns; false: answer with an error when it is too long")
    context_cache_size: int = _context(COUNT, 100, "analyses remembered")
    context_analysis_cache_ttl: float = _context(_TTL, 300.0, "for how long", unit="s")
    cache_default_ttl_seconds: float = _context(_TTL, 300.0, "assumed life of upstream cache entries", unit="s")
    cache_1h_ttl_seconds: float = _context(_TTL, 3600.0, "that of entries with a ttl of an hour", unit="s")
    min_cacheable_tokens: int = _context(COUNT, 1024, "smallest prefix an upstream caches", unit="tokens")
    enable_context_performance_logging: bool = _context(SWITCH, False, "log the time context work takes")
    context_logging_warning_threshold_ms: float = _context(_MILLISECONDS, 1000.0, "from which it is a warning", unit="ms")
    context_logging_error_threshold_ms: float = _context(_MILLISECONDS, 5000.0, "from which it is an error", unit="ms")
    enable_env_deduplication: bool = _context(SWITCH, True, "remove repeated environment details", "ENABLE_ENVIRONMENT_DEDUPLICATION")
    env_deduplication_strategy: str = _context(one_of(*DEDUPLICATIONS), "keep_latest", "how", "ENVIRONMENT_DEDUPLICATION_STRATEGY")
    environment_deduplication_similarity_threshold: float = _context(SHARE, 0.9, "likeness for selective_removal")
    env_details_max_age_minutes: float = _context(number(0, 525_600, float), 30.0, "age at which dated details go", unit="min")
    env_details_patterns: tuple[str, ...] = _context(EXPRESSIONS, (), "what else counts as environment details")
    env_deduplication_logging: bool = _context(SWITCH, False, "log each removal")
    env_deduplication_stats: bool = _context(SWITCH, True, "count removals")
    image_age_threshold: int = _context(number(-1, 1_000_000, int), 3, "later messages that make a picture old; 0 or less: never")
    generate_image_descriptions: bool = _context(SWITCH, True, "replace old pictures by a description; false: by a placeholder")
    image_description_max_tokens: int = _context(TOKENS, 200, "longest description", unit="tokens")
    image_description_prompt: str | None = _context(TEXT, None, "how one is asked for", why="built in")
    image_description_timeout: float = _context(SECONDS, 30.0, "per description", unit="s")
    image_description_concurrency: int = _context(number(1, 1000, int), 4, "descriptions at once per request")
    cache_context_messages: int = _context(COUNT, 2, "preceding messages a description depends on")
    image_age_truncation_message: str = _context(
        TEMPLATE, "[Previous images in conversation context: {descriptions}]", "the notice in place of pictures"
    )
    image_description_cache_size: int = _context(COUNT, 1000, "descriptions kept")
    cache_dir: str = _context(PATH, "./cache", "where")
    cache_async_write: bool = _context(SWITCH, True, "write them in the background")
    cache_compression: bool = _context(SWITCH, True, "compress them")
    cache_enable_logging: bool = _context(SWITCH, False, "log hits and misses")
