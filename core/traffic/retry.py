"""What to do about an attempt that failed: ask the same target again, ask another, give up. One pure function, and one table.

================================================  =====================================================================
what happened                                     what follows, while nothing of the answer has reached the client
================================================  =====================================================================
no connection, reset before the head, cut         the same target again, then another
500, 502, 503, 504, 529                           the same target again, then another
429 with a retry-after that is short enough       the same target again, then another
429 otherwise                                     another
silence: no connection, no first byte, a gap      another
an answer that is not of its protocol             another
any other 5xx                                     another
any other 4xx                                     give up
z.ai 1113: balance exhausted                      another; the key rests
z.ai 1302: too many at once                       the same target again, the gate having learned; then give up
z.ai 1305: overloaded                             the same target again, then another
z.ai 1210: invalid parameters                     once again without max_tokens where that may be why; else give up
z.ai 1214: invalid value                          give up
the prompt does not fit; the content is refused   give up, whatever the status
================================================  =====================================================================

A retry-after is the least delay, and one above the limit means: not this target. ``x-should-retry: false`` means the same.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias

from core.effects import Headers
from core.errors import ProxyError, UpstreamError, UpstreamFailed, UpstreamGarbled, UpstreamSaid, UpstreamTimeout
from core.traffic.breaker import Outcome

#: Causes of going elsewhere that no error has: for ``failover: FROM CAUSE``.
OPEN_BREAKER: Final = "open breaker"
RESTING_KEY: Final = "resting key"
FULL_LINE: Final = "full line"

#: z.ai's business codes (docs.z.ai, error codes, read 2026-11-20).
EXHAUSTED: Final = "1113"
_CROWDED: Final = "1302"
_OVERLOADED: Final = "1305"
INVALID_CALL: Final = "1210"
_INVALID_VALUE: Final = "1214"
_BUSINESS: Final = frozenset((EXHAUSTED, _CROWDED, _OVERLOADED, INVALID_CALL, _INVALID_VALUE))
#: Codes of answers that are none: another target would be a way around a refusal (1301 is z.ai's), or has no larger window.
_FINAL_CODES: Final = frozenset(
    ("context_length_exceeded", "content_filter", "content_policy_violation", "1301", INVALID_CALL, _INVALID_VALUE)
)
#: Statuses after which the same request may well succeed at the same target.
_PASSING: Final = frozenset((500, 502, 503, 504, 529))
_TOO_MANY: Final = 429
#: So many doublings, at most: beyond, the delay has long met its bound.
_MOST_DOUBLINGS: Final = 30

_NUMBER: Final = re.compile(rb"[0-9]{1,12}(?:\.[0-9]{1,6})?")
_MONTHS: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
#: The one form of date that may be sent (RFC 9110, 5.6.7).
_DATE: Final = re.compile(rb"\w{3}, (\d{2}) (%b) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT" % b"|".join(_MONTHS))


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient we are with one target."""

    retries: int = 2  # further attempts
    backoff: float = 0.1  # seconds before the first of them; doubles with each, up to ``patience``
    patience: float = 10.0  # seconds: a longer retry-after is not waited for


@dataclass(frozen=True, slots=True)
class Again:
    """Ask the same target once more after ``delay`` seconds, and through its gate."""

    delay: float


@dataclass(frozen=True, slots=True)
class Repair:
    """Ask the same target once more, without ``max_tokens``."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Ask the next target, because of ``cause``. ``rest``: the key shall rest at this one."""

    cause: str
    rest: bool = False


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The error is the answer."""


Decision: TypeAlias = Again | Repair | Elsewhere | GiveUp


def decide(
    error: ProxyError,
    policy: Policy,
    *,
    attempt: int,
    dice: float,
    now: float,
    deadline: float = math.inf,
    epoch: float = 0.0,
    repairable: bool = False,
) -> Decision:
    """What follows ``error``. Only for an exchange of which the client has seen nothing yet but keep-alives: after that, nothing does.

    ``attempt``: how many this target has had, 1 after the first; ``dice``: in [0, 1), of the request; ``now`` and ``deadline``: on the
    clock of ``Now``; ``epoch``: seconds since the Unix epoch, for a retry-after that is a date and comes without a date to compare it with;
    ``repairable``: the request has pictures and ``max_tokens``, and was not repaired yet.
    """
    if now >= deadline or not isinstance(error, UpstreamError) or error.code == "draining":
        return GiveUp()
    if isinstance(error, UpstreamSaid):
        if error.code == INVALID_CALL and repairable:
            return Repair()
        if error.code in _FINAL_CODES:
            return GiveUp()
        if error.code == EXHAUSTED:
            return Elsewhere(cause_of(error), rest=True)
    if _passes(error) and attempt <= policy.retries:
        asked = retry_after(error.headers, epoch)
        delay = (asked or 0.0) + _backoff(policy, attempt, dice)
        if _may_wait(error, asked, policy) and now + delay < deadline:
            return Again(delay)
    if error.code == _CROWDED or (400 <= error.status < 500 and error.status != _TOO_MANY):
        return GiveUp()
    return Elsewhere(cause_of(error))


def is_crowded(error: ProxyError) -> bool:
    """Whether an upstream says that its key has too many requests at once: the gate of the key has to learn it."""
    return isinstance(error, UpstreamSaid) and error.code == _CROWDED


def outcome_of(error: BaseException | None) -> Outcome:
    """What an attempt that ended so shows of its target, for its breaker. None: it answered. Refusals of ours are not its doing."""
    if error is None:
        return Outcome.GOOD
    if not isinstance(error, UpstreamError) or error.code == "draining":
        return Outcome.NOTHING
    if isinstance(error, UpstreamSaid) and error.code in _FINAL_CODES | {EXHAUSTED}:
        return Outcome.GOOD  # about this key or this request, whatever the status
    return Outcome.BAD if error.status >= 500 else Outcome.GOOD


def cause_of(error: ProxyError) -> str:
    """An error in a word or two, for ``failover: FROM CAUSE``. Nothing in it is the upstream's wording."""
    if isinstance(error, UpstreamTimeout):
        return "timeout"
    if isinstance(error, UpstreamGarbled):
        return "garbled"
    if isinstance(error, UpstreamFailed):
        return {"connect": "connect", "body": "cut"}.get(error.phase, "reset")
    return f"code {error.code}" if error.code in _BUSINESS else f"status {error.status}"


def retry_after(headers: Headers, epoch: float) -> float | None:
    """The seconds an upstream asks to wait, from ``retry-after-ms`` or ``retry-after``; None when it says nothing that can be read."""
    found = {name: value.strip() for name, value in reversed(headers) if name in (b"retry-after", b"retry-after-ms", b"date")}
    milliseconds, seconds = found.get(b"retry-after-ms", b""), found.get(b"retry-after", b"")
    if _NUMBER.fullmatch(milliseconds):
        return float(milliseconds) / 1000
    if _NUMBER.fullmatch(seconds):
        return float(seconds)
    moment = _moment(seconds)
    if moment is None:
        return None
    sent = _moment(found.get(b"date", b""))  # its own clock, if it says what that shows: ours may be another
    return max(0.0, moment - (epoch if sent is None else sent))


def _passes(error: UpstreamError) -> bool:
    """Whether the same request to the same target may well succeed in a moment."""
    if isinstance(error, UpstreamSaid):
        return error.status in _PASSING or error.status == _TOO_MANY
    return isinstance(error, UpstreamFailed)


def _may_wait(error: UpstreamError, asked: float | None, policy: Policy) -> bool:
    if asked is not None and asked > policy.patience:
        return False
    if (b"x-should-retry", b"false") in error.headers:
        return False
    # A 429 that does not say for how long may mean this minute or this month. z.ai's codes tell which.
    return error.status != _TOO_MANY or asked is not None or error.code in (_CROWDED, _OVERLOADED)


def _backoff(policy: Policy, attempt: int, dice: float) -> float:
    """Half of the delay is sure, half is chance, so that those who failed together do not come back together."""
    whole = policy.backoff * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS)
    return min(whole, policy.patience) * (1 + dice) / 2


def _moment(date: bytes) -> float | None:
    """Seconds since the epoch."""
    found = _DATE.fullmatch(date)
    if found is None:
        return None
    day, month, year, hour, minute, second = found.groups()
    try:
        at = datetime(int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    except ValueError:  # the 31st of February, the 61st second
        return None
    return at.timestamp()
