"""Numbers one can stand by: estimates corrected by what upstreams counted, and the check of one against the other.

A request's number is wanted before anybody has counted it, so it is estimated from its bytes, at a nanosecond each. How far such an
estimate is off depends on the model's tokeniser and on what its users write, both of which stay the same for long: one slow factor per
model takes most of the error away.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from core.settings import Settings
from core.tokens import Counter, Encoder, Images, estimate_body, packaged
from core.tokens.vocabulary import PACKAGED

#: A factor's limits. Beyond them it is not a tokeniser that differs, but what is counted.
LEAST: Final = 0.8
MOST: Final = 1.5

#: Answers after which half of a lasting difference is corrected: a short session moves the factor a little, a working day all the way.
HALF_LIFE: Final = 20
_STEP: Final = 1 - 2 ** (-1 / HALF_LIFE)

#: Smaller numbers teach nothing: they are mostly the fixed costs of a chat template.
_LEAST_TOKENS: Final = 200
#: An upstream further off than this does not count the same thing: a mock's constant, only the uncached part, a cut prompt.
_PLAUSIBLE: Final = 3.0
#: Models remembered, those heard of last; and characters of a name, which clients may choose.
_MODELS: Final = 256
_LONGEST_NAME: Final = 100

Status: TypeAlias = Literal["ok", "warning", "error"]


class Calibration:
    """What upstreams have taught about each model: a factor from ``LEAST`` to ``MOST``, 1 for a model of which nothing is known."""

    def __init__(self) -> None:
        self._logs: dict[str, float] = {}  # the one heard of last stands last

    def factor(self, model: str) -> float:
        """What to multiply an estimate for ``model`` with."""
        found = self._logs.get(model)
        return 1.0 if found is None else math.exp(found)

    def learn(self, model: str, estimated: int, actual: int) -> None:
        """Take in that the upstream counted ``actual`` input tokens (cached ones too) where ``estimated``, as corrected, was expected.

        A weighted mean of logarithms with the half-life ``HALF_LIFE``. One answer moves a factor by 3 % at most, and nonsense by nothing:
        numbers below 200, and those further apart than three times, are left out.
        """
        if min(estimated, actual) < _LEAST_TOKENS or len(model) > _LONGEST_NAME:
            return
        error = math.log(actual / estimated)
        if abs(error) > math.log(_PLAUSIBLE):
            return
        # Of an error that is relative to the corrected estimate, a step is the exponential mean of the errors of uncorrected ones.
        known = self._logs.pop(model, 0.0)
        self._logs[model] = min(max(known + _STEP * error, math.log(LEAST)), math.log(MOST))
        if len(self._logs) > _MODELS:
            del self._logs[next(iter(self._logs))]


class Estimator:
    """Estimates of requests under given settings, in microseconds. Not for several threads."""

    def __init__(self, settings: Settings) -> None:
        self._images = images_for(settings)
        self._calibration = Calibration() if settings.token_calibration else None

    def estimate(self, parts: Iterable[bytes], model: str) -> int:
        """What the upstream will probably count for a request, at least 1. ``parts``: the members that a model reads, as JSON."""
        estimated = sum(estimate_body(part, self._images) for part in parts)
        if self._calibration is not None:
            estimated = round(estimated * self._calibration.factor(model))
        return max(1, estimated)

    def factor(self, model: str) -> float:
        """The correction that ``estimate`` applies; 1 with TOKEN_CALIBRATION off."""
        return 1.0 if self._calibration is None else self._calibration.factor(model)

    def learn(self, model: str, estimated: int, actual: int) -> None:
        """See ``Calibration.learn``; ``estimated`` is what ``estimate`` gave. Not for requests with pictures: their prices differ."""
        if self._calibration is not None:
            self._calibration.learn(model, estimated, actual)


def images_for(settings: Settings) -> Images:
    """What a picture costs."""
    return Images(settings.base_image_tokens, settings.image_tokens_per_char, settings.enable_dynamic_image_tokens)


def counter_for(settings: Settings, encoder: Encoder | None = None) -> Counter:
    """The counter that the settings ask for. ``encoder``: what a transport has loaded; without it only a packaged vocabulary is usable.

    A counter without a usable vocabulary estimates.
    """
    if not settings.enable_accurate_token_counting:
        encoder = None
    elif encoder is None and settings.token_counting_model in PACKAGED:
        encoder = packaged(settings.token_counting_model)
    return Counter(encoder, settings.tiktoken_cache_size, images_for(settings))


# ---------------------------------------------------------------------------------------------------- validation


@dataclass(frozen=True, slots=True)
class Validation:
    """How an estimate compares with what the upstream counted, both unscaled."""

    estimated: int
    actual: int
    accuracy_percent: float  # 100 x the smaller / the larger, one decimal
    status: Status


def validate(estimated: int | None, actual: int | None, settings: Settings) -> Validation | None:
    """Compare a request's number with the upstream's. None with validation off, or without two positive numbers.

    Not for requests with pictures. ``ok`` are differences under TOKEN_VALIDATION_MIN_DIFFERENCE tokens or
    TOKEN_VALIDATION_PERCENTAGE_THRESHOLD percent of the larger number; else ``error`` is an accuracy below
    TOKEN_ACCURACY_ERROR_THRESHOLD, ``warning`` one below TOKEN_ACCURACY_WARNING_THRESHOLD.
    """
    if not settings.enable_token_validation or estimated is None or actual is None or min(estimated, actual) < 1:
        return None
    accuracy = 100 * min(estimated, actual) / max(estimated, actual)
    return Validation(estimated, actual, round(accuracy, 1), _status(abs(estimated - actual), accuracy, settings))


def _status(difference: int, accuracy: float, settings: Settings) -> Status:
    if difference < settings.token_validation_min_difference or 100 - accuracy < settings.token_validation_percentage_threshold:
        return "ok"
    if accuracy < settings.token_accuracy_error_threshold:
        return "error"
    return "warning" if accuracy < settings.token_accuracy_warning_threshold else "ok"
