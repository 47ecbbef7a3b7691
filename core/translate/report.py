"""What a client is told about tokens beside the upstream's bare numbers: units it understands, the real numbers, how full the window is.

A ``Report`` is worked out per target and not per request, all of its JSON but the numbers included. ``PLAIN`` tells the upstream's numbers
as they are, and nothing more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from typing import Protocol as Interface

from msgspec import Raw

from core.dialects import Protocol
from core.scaling import UNSCALED, Scale
from core.translate import usage
from core.translate.usage import Counts
from core.wire.codec import encode

#: Names of the levels, in ascending order; each threshold that is reached leads to the next one.
LEVELS: Final = (b"SAFE", b"CAUTION", b"WARNING", b"CRITICAL", b"OVERFLOW")
#: Percent of the window above which clients are warned, and of what.
_CRITICAL, _WARNING = 80, 60
_NOTE: Final = "Use these values to manage context and avoid truncation"


class Verdict(Interface):
    """How an estimate compares with what the upstream counted, both unscaled."""

    @property
    def estimated(self) -> int: ...
    @property
    def actual(self) -> int: ...
    @property
    def accuracy_percent(self) -> float: ...
    @property
    def status(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Truncation:
    """A conversation that was cut because it did not fit."""

    original_tokens: int
    messages_removed: int
    reason: str = "context_overflow"
    client_note: str = ""


@dataclass(frozen=True, slots=True)
class ContextWork:
    """What was done to a conversation before it was sent. Tokens by the local counter."""

    truncation: Truncation | None = None
    condensation_strategy: str | None = None  # None: it was not condensed
    tokens_saved: int = 0  # by everything together
    env_tokens_saved: int = 0  # of those, by deduplication of environment blocks
    images_replaced: int = 0
    processing_time_ms: float = 0.0
    cache_hit_ratio: float | None = None  # 0..1 over this request's look-ups


NO_WORK: Final = ContextWork()


@dataclass(frozen=True, slots=True)
class Report:
    """How the usage of answers is told. Made once for a kind of target and shared: making one takes some 10 us."""

    scale: Scale = UNSCALED
    estimates: bool = False  # numbers the upstream does not give are told, and recorded, by estimate
    extras: bool = False  # context_info, and the additional members of usage
    upstream: Protocol = Protocol.ANTHROPIC  # that served
    vision: bool = False  # the request sent upstream holds pictures
    window: int | None = None  # tokens of the model's real window
    thresholds: tuple[float, float, float] = (0.70, 0.80, 0.90)  # shares of the window where CAUTION, WARNING, CRITICAL begin
    adds_saved: bool = False  # tokens that the proxy saved are told as input, so that a client that compacts by itself still does
    max_tokens_clamped: int | None = None  # what was sent in place of the client's
    work: ContextWork = NO_WORK
    validate: Callable[[int, int], Verdict | None] | None = field(default=None, compare=False)  # (estimated, actual)
    _extras: bytes = field(init=False, repr=False, compare=False)
    _info: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_extras", _extras_form(self))
        object.__setattr__(self, "_info", _info_form(self))

    @property
    def alters(self) -> bool:
        """Whether a client is told other numbers than the upstream's."""
        return not self.scale.is_identity or self._saved > 0

    @property
    def _saved(self) -> int:
        return self.work.tokens_saved if self.adds_saved else 0

    # ------------------------------------------------------------------ usage

    def start_usage(self, counts: Counts) -> bytes:
        """``usage`` of a message_start: numbers alone."""
        return usage.messages_json(counts.told(self.scale, self._saved))

    def usage_of(self, wire: Protocol, counts: Counts) -> bytes:
        """The final ``usage`` of an answer in the client's ``wire``."""
        write = usage.messages_json if wire is Protocol.ANTHROPIC else usage.chat_json
        return write(counts.told(self.scale, self._saved), self._extra_members(counts) if self.extras else b"")

    def relayed(self, wire: Protocol, raw: Raw, counts: Counts, *, is_right: bool) -> Raw | None:
        """The same for a client of the upstream's wire, where the vendor's other members stay; None where ``raw`` can pass as it came.

        ``is_right``: ``raw`` is whole and says what ``counts`` do.
        """
        if not is_right or self.alters or (self.extras and b'"real_input_tokens"' in bytes(raw)):  # another proxy's, then
            return usage.mended(raw, self.usage_of(wire, counts), self.scale)
        return usage.extended(raw, self._extra_members(counts)) if self.extras else None

    def _extra_members(self, counts: Counts) -> bytes:
        prompt = counts.prompt
        return self._extras % ((prompt, 100 * prompt / self.window) if self.window else (prompt,))

    # ------------------------------------------------------------------ context_info

    def info(self, counts: Counts, estimate: int) -> bytes:
        """The member ``context_info``, with a comma first; nothing without ``extras``. ``estimate``: of the input, 0 if there is none."""
        return b',"context_info":' + self.context_info(counts, estimate) if self.extras else b""

    def context_info(self, counts: Counts, estimate: int) -> bytes:
        prompt = counts.prompt
        end = (b"true" if counts.estimated else b"false", self._validation(counts, estimate))
        window = self.window
        if not window:
            return self._info % (prompt, *end)
        level = _level((prompt + self.work.tokens_saved) / window, self.thresholds)
        used = 100 * prompt / window
        warning = b"critical" if used > _CRITICAL else b"warning" if used > _WARNING else b"none"
        return self._info % (prompt, used, max(0, window - prompt), level, warning, *end)

    def verdict(self, counts: Counts, estimate: int) -> Verdict | None:
        """How good ``estimate`` was; None where that cannot be told: with pictures, and where one of the two numbers is missing."""
        if self.validate is None or self.vision or counts.estimated or estimate <= 0 or counts.prompt <= 0:
            return None
        return self.validate(estimate, counts.prompt)

    def _validation(self, counts: Counts, estimate: int) -> bytes:
        verdict = self.verdict(counts, estimate)
        if verdict is None:
            return b"null"
        return b'{"estimated":%d,"actual":%d,"accuracy_percent":%.1f,"status":"%b"}' % (
            verdict.estimated,
            verdict.actual,
            verdict.accuracy_percent,
            verdict.status.encode(),
        )


def _level(share: float, thresholds: tuple[float, float, float]) -> bytes:
    """The level of a ``share`` of the window."""
    if share < thresholds[0]:
        return LEVELS[0]
    return LEVELS[1 + (share >= thresholds[1]) + (share >= thresholds[2]) + (share >= 1)]


# ---------------------------------------------------------------------------------------------------- forms


def _extras_form(report: Report) -> bytes:
    """The additional members of ``usage``, with places for the prompt and, if the window is known, the percentage of it."""
    window = b"" if not report.window else b',"context_limit":%d,"context_utilization":"%%.1f%%%%"' % report.window
    return b',"real_input_tokens":%%d%b,"endpoint_type":"%b"' % (window, _endpoint_type(report))


def _info_form(report: Report) -> bytes:
    """``context_info`` with places for what differs from answer to answer."""
    limit, fill = b"", b""
    if report.window:
        limit = b',"context_hard_limit":%d' % report.window
        fill = b',"utilization_percent":%.1f,"available_tokens":%d,"risk_level":"%b","warning_level":"%b"'
    served = b',"endpoint_type":"%b","upstream":"%b"' % (_endpoint_type(report), report.upstream.value.encode())
    work = encode(_work_members(report))[1:-1].replace(b"%", b"%%")
    return b'{"real_input_tokens":%%d%b%b%b,%b,"estimated":%%b,"token_validation":%%b,"note":%b}' % (
        limit,
        served,
        fill,
        work,
        encode(_NOTE),
    )


def _endpoint_type(report: Report) -> bytes:
    return b"vision" if report.vision else b"text"


def _work_members(report: Report) -> dict[str, object]:
    work, cut = report.work, report.work.truncation
    truncated: dict[str, object] = {"truncated": cut is not None}
    if cut is not None:
        truncated |= {
            "original_tokens": cut.original_tokens,
            "messages_removed": cut.messages_removed,
            "truncation_reason": cut.reason,
            "client_note": cut.client_note,
        }
    return {
        **truncated,
        "condensation_applied": work.condensation_strategy is not None,
        "condensation_strategy": work.condensation_strategy,
        "tokens_saved": work.tokens_saved,
        "env_tokens_saved": work.env_tokens_saved,
        "images_replaced": work.images_replaced,
        "processing_time_ms": work.processing_time_ms,
        "cache_hit_ratio": work.cache_hit_ratio,
        "max_tokens_clamped": report.max_tokens_clamped,
        "scaling_factor": round(report.scale.factor, 4),
    }


#: The upstream's numbers as they are, and nothing more.
PLAIN: Final = Report()
