"""Factors learned from upstreams, estimates under settings, and the check of an estimate against the upstream's count."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.calibration import HALF_LIFE, LEAST, MOST, Calibration, Estimator, Validation, counter_for, images_for, validate
from core.settings import Settings
from core.tokens import Encoder, Images, estimate_body

BODY = json.dumps({"messages": [{"role": "user", "content": "word " * 1000}]}).encode()
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA" * 5000}}
WITH_PICTURE = json.dumps({"messages": [{"role": "user", "content": [PICTURE]}]}).encode()


def taught(ratio: float, answers: int, model: str = "m") -> Calibration:
    """What is known after so many answers that counted ``ratio`` times the raw estimate."""
    calibration = Calibration()
    for _ in range(answers):
        estimated = round(100_000 * calibration.factor(model))
        calibration.learn(model, estimated, round(100_000 * ratio))
    return calibration


# ------------------------------------------------------------------------------------------------------ calibration


def test_nothing_is_corrected_before_anything_is_known() -> None:
    assert Calibration().factor("m") == 1
    assert taught(1.3, 100).factor("another") == 1


@pytest.mark.parametrize("ratio", [0.81, 0.9, 1.1, 1.4])
def test_half_of_a_lasting_difference_is_corrected_after_the_half_life(ratio: float) -> None:
    assert taught(ratio, HALF_LIFE).factor("m") == pytest.approx(math.sqrt(ratio), rel=1e-3)
    assert taught(ratio, 15 * HALF_LIFE).factor("m") == pytest.approx(ratio, rel=1e-3)


@pytest.mark.parametrize(("ratio", "limit"), [(2.9, MOST), (0.35, LEAST)])
def test_a_factor_stays_within_its_limits_and_comes_back_at_once(ratio: float, limit: float) -> None:
    calibration = taught(ratio, 500)
    assert calibration.factor("m") == pytest.approx(limit)
    calibration.learn("m", 1000, round(1000 / ratio))
    assert abs(calibration.factor("m") - 1) < abs(limit - 1)


@pytest.mark.parametrize(
    ("estimated", "actual"),
    [(0, 0), (0, 5000), (5000, 0), (5000, -7), (-5000, 5000), (199, 250), (250, 199), (5000, 11), (5000, 1600), (5000, 15_100), (11, 5000)],
    ids=str,
)
def test_nonsense_teaches_nothing(estimated: int, actual: int) -> None:
    calibration = Calibration()
    for _ in range(100):
        calibration.learn("m", estimated, actual)
    assert calibration.factor("m") == 1
    assert not calibration._logs


def test_numbers_at_the_edge_of_the_plausible_teach() -> None:
    calibration = Calibration()
    calibration.learn("m", 200, 600)
    assert calibration.factor("m") > 1


@given(st.lists(st.tuples(st.integers(-10, 10**7), st.integers(-10, 10**7)), max_size=30))
def test_one_answer_moves_a_factor_little_and_never_out_of_its_limits(answers: list[tuple[int, int]]) -> None:
    calibration = Calibration()
    for estimated, actual in answers:
        before = calibration.factor("m")
        calibration.learn("m", estimated, actual)
        assert LEAST - 1e-9 <= calibration.factor("m") <= MOST + 1e-9
        assert abs(calibration.factor("m") / before - 1) < 0.04


def test_models_heard_of_longest_ago_are_forgotten_first() -> None:
    calibration = Calibration()
    for number in range(256):
        calibration.learn(f"m{number}", 1000, 1500)
    calibration.learn("m0", 1000, 1500)
    calibration.learn("newest", 1000, 1500)
    assert len(calibration._logs) == 256
    assert calibration.factor("m0") > 1
    assert calibration.factor("newest") > 1
    assert calibration.factor("m1") == 1


def test_a_name_without_end_is_not_kept() -> None:
    calibration = Calibration()
    calibration.learn("m" * 101, 1000, 1500)
    assert not calibration._logs


# ------------------------------------------------------------------------------------------------------- estimates


def test_an_estimate_is_that_of_the_body_times_the_models_factor() -> None:
    estimator = Estimator(Settings())
    raw = estimate_body(BODY)
    assert estimator.estimate([BODY], "m") == raw
    for _ in range(10 * HALF_LIFE):
        estimator.learn("m", estimator.estimate([BODY], "m"), round(raw * 1.2))
    assert estimator.factor("m") == pytest.approx(1.2, rel=0.01)
    assert estimator.estimate([BODY], "m") == pytest.approx(raw * 1.2, rel=0.01)
    assert estimator.estimate([BODY], "another") == raw


def test_without_calibration_nothing_is_learned() -> None:
    estimator = Estimator(Settings(token_calibration=False))
    for _ in range(100):
        estimator.learn("m", 1000, 1500)
    assert estimator.factor("m") == 1
    assert estimator.estimate([BODY], "m") == estimate_body(BODY)


def test_an_estimate_is_never_nothing() -> None:
    assert Estimator(Settings()).estimate([], "m") == 1


def test_a_picture_costs_what_the_settings_say() -> None:
    settings = Settings(base_image_tokens=300, image_tokens_per_char=2.0)
    assert images_for(settings) == Images(300, 2.0)
    more = Estimator(settings).estimate([WITH_PICTURE], "m") - Estimator(Settings()).estimate([WITH_PICTURE], "m")
    assert more == counter_for(settings).payload(WITH_PICTURE) - counter_for(Settings()).payload(WITH_PICTURE) == 300 - 85
    flat = Settings(enable_dynamic_image_tokens=False)
    assert counter_for(flat).payload(WITH_PICTURE) - counter_for(Settings()).payload(WITH_PICTURE) == 1000 - 85


# -------------------------------------------------------------------------------------------------------- counters

WORDS = Encoder("words", lambda text: len(text.split()))


@pytest.mark.parametrize(
    ("settings", "encoder", "name"),
    [
        (Settings(), None, "cl100k_base"),
        (Settings(), WORDS, "words"),
        (Settings(token_counting_model="o200k_base"), None, "estimate"),
        (Settings(token_counting_model="o200k_base"), WORDS, "words"),
        (Settings(enable_accurate_token_counting=False), None, "estimate"),
        (Settings(enable_accurate_token_counting=False), WORDS, "estimate"),
    ],
)
def test_the_counter_is_the_one_the_settings_ask_for_and_the_transport_has(settings: Settings, encoder: Encoder | None, name: str) -> None:
    assert counter_for(settings, encoder).name == name


def test_the_counter_remembers_as_many_texts_as_it_is_told() -> None:
    counter = counter_for(Settings(tiktoken_cache_size=0), WORDS)
    counter.text("word " * 100)
    assert not counter._young
    counter = counter_for(Settings(tiktoken_cache_size=2), WORDS)
    for number in range(20):
        counter.text(f"{number} " * 300)
    assert len(counter._young) + len(counter._old) <= 4


# ------------------------------------------------------------------------------------------------------- validation


@pytest.mark.parametrize(
    ("estimated", "actual", "accuracy", "status"),
    [
        (40_010, 40_195, 99.5, "ok"),
        (1000, 1000, 100.0, "ok"),
        (1, 25, 4.0, "ok"),  # 24 tokens are no difference
        (1, 26, 3.8, "error"),
        (905, 1000, 90.5, "ok"),  # under 10 percent
        (900, 1000, 90.0, "ok"),  # not below the threshold
        (899, 1000, 89.9, "warning"),
        (1000, 899, 89.9, "warning"),
        (800, 1000, 80.0, "warning"),
        (799, 1000, 79.9, "error"),
        (1000, 799, 79.9, "error"),
        (10, 1_000_000, 0.0, "error"),
    ],
)
def test_a_difference_is_judged_by_its_size(estimated: int, actual: int, accuracy: float, status: str) -> None:
    found = validate(estimated, actual, Settings())
    assert found is not None
    assert (found.estimated, found.actual, found.accuracy_percent, found.status) == (estimated, actual, accuracy, status)


@pytest.mark.parametrize(("estimated", "actual"), [(None, 5), (5, None), (None, None), (0, 5), (5, 0), (-1, 5)])
def test_a_missing_number_is_not_judged(estimated: int | None, actual: int | None) -> None:
    assert validate(estimated, actual, Settings()) is None


def test_validation_can_be_off() -> None:
    assert validate(1, 1000, Settings(enable_token_validation=False)) is None


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        (Settings(), "error"),
        (Settings(token_validation_min_difference=301), "ok"),
        (Settings(token_validation_min_difference=300), "error"),
        (Settings(token_validation_percentage_threshold=31.0), "ok"),
        (Settings(token_accuracy_error_threshold=70.0), "warning"),
        (Settings(token_accuracy_error_threshold=70.0, token_accuracy_warning_threshold=70.0), "ok"),
    ],
)
def test_each_threshold_has_its_say(settings: Settings, status: str) -> None:
    assert validate(700, 1000, settings) == Validation(700, 1000, 70.0, status)  # type: ignore[arg-type]
