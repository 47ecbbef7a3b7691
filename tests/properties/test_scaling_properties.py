"""The algebra of told numbers: whatever the windows and the counts, parts are disjoint, sums are sums, and more is never told as less."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dialects import Protocol
from core.scaling import Scale, Windows, scale
from core.tokens import estimate_text
from core.translate import usage
from core.translate.usage import Counts, Told, chat_json, messages_json, weight

WINDOW = st.integers(1, 2_000_000)
SCALES = st.builds(Scale, WINDOW, WINDOW)
COUNT = st.integers(0, 10**12)
MAYBE = st.none() | COUNT
COUNTS = st.builds(Counts, MAYBE, MAYBE, MAYBE, MAYBE, MAYBE)


# ---------------------------------------------------------------------------------------------------- one number


@given(SCALES, st.integers(1, 10**12))
def test_a_scaled_number_is_the_whole_part_of_the_product_and_at_least_one(one: Scale, count: int) -> None:
    assert one.of(count) == max(1, int(Fraction(one.client, one.upstream) * count))


@given(SCALES, st.none() | st.integers(max_value=0))
def test_what_is_not_positive_stays(one: Scale, count: int | None) -> None:
    assert one.of(count) == count


@given(SCALES, COUNT, COUNT)
def test_more_is_never_told_as_less(one: Scale, count: int, more: int) -> None:
    assert one.of(count) <= one.of(count + more)


@given(SCALES, st.integers(0, 2_000_000))
def test_what_fits_its_window_fits_the_other(one: Scale, count: int) -> None:
    count = min(count, one.upstream)
    assert 0 <= one.of(count) <= one.client
    assert one.of(one.upstream) == one.client


@given(WINDOW, COUNT)
def test_equal_windows_change_nothing(window: int, count: int) -> None:
    assert Scale(window, window).of(count) == count


@pytest.mark.parametrize("upstream", Protocol)
@pytest.mark.parametrize("caller", Protocol)
@given(a=WINDOW, o=WINDOW, v=WINDOW, vision=st.booleans())
def test_every_cell_of_the_table(upstream: Protocol, caller: Protocol, a: int, o: int, v: int, vision: bool) -> None:
    one = Fraction(1)
    text, pictures = {
        ("anthropic", "openai"): (Fraction(o, a), Fraction(o, a)),
        ("openai", "openai"): (one, Fraction(o, v)),
        ("openai", "anthropic"): (Fraction(a, o), Fraction(a, v)),
        ("anthropic", "anthropic"): (one, one),
    }[upstream.value, caller.value]
    found = scale(upstream, caller, Windows(a, o, v), vision=vision)
    assert Fraction(found.client, found.upstream) == (pictures if vision else text)


# ---------------------------------------------------------------------------------------------------- all numbers of an answer


@given(COUNTS, SCALES, st.integers(0, 10**6))
def test_told_numbers_are_whole_and_each_is_scaled_once(counts: Counts, one: Scale, saved: int) -> None:
    told = counts.told(one, saved)
    assert (told.input, told.cache_read) == (one.of((counts.input or 0) + saved), one.of(counts.cache_read or 0))
    assert (told.cache_creation, told.output) == (one.of(counts.cache_creation or 0), one.of(counts.output or 0))
    assert told.thinking == one.of(counts.thinking)
    assert all(type(part) is int and part >= 0 for part in (told.input, told.cache_read, told.cache_creation, told.output))


@given(COUNTS, SCALES)
def test_totals_are_sums_of_the_told_parts_on_both_wires(counts: Counts, one: Scale) -> None:
    told = counts.told(one)
    chat: Any = json.loads(chat_json(told))
    message: Any = json.loads(messages_json(told))
    parts = message["input_tokens"] + message["cache_read_input_tokens"] + message["cache_creation_input_tokens"]
    assert chat["prompt_tokens"] == parts
    assert chat["total_tokens"] == chat["prompt_tokens"] + chat["completion_tokens"]
    assert chat["completion_tokens"] == message["output_tokens"]
    assert chat["prompt_tokens"] >= chat["prompt_tokens_details"]["cached_tokens"] == message["cache_read_input_tokens"]


@given(COUNTS, SCALES)
def test_the_told_prompt_differs_from_the_scaled_one_by_less_than_its_parts(counts: Counts, one: Scale) -> None:
    assert abs(counts.told(one).prompt - Fraction(one.client, one.upstream) * counts.prompt) < 3


@given(COUNTS, SCALES)
def test_what_is_no_part_before_is_none_after(counts: Counts, one: Scale) -> None:
    told = counts.told(one)
    for before, after in ((counts.input, told.input), (counts.cache_read, told.cache_read), (counts.cache_creation, told.cache_creation)):
        assert (after > 0) is bool(before)


@given(st.builds(Counts, COUNT, COUNT, COUNT, COUNT), st.integers(0, 100), SCALES)
def test_thinking_stays_a_part_of_the_output(counts: Counts, percent: int, one: Scale) -> None:
    output = counts.output or 0
    told = Counts(1, output=output, thinking=output * percent // 100).told(one)
    assert told.thinking is not None
    assert told.thinking <= told.output


@given(COUNTS)
def test_without_a_scale_the_numbers_are_the_upstreams(counts: Counts) -> None:
    told = counts.told()
    assert (told.prompt, told.total, told.output, told.thinking) == (counts.prompt, counts.total, counts.output or 0, counts.thinking)


def test_no_number_can_be_scaled_twice() -> None:
    """What is scaled is a ``Counts``, what comes of it a ``Told``; and nothing turns a ``Told`` into anything but JSON."""
    assert get_type_hints(Counts.told)["return"] is Told
    takers = [one for one in vars(usage).values() if callable(one) and getattr(one, "__module__", "") == usage.__name__ and one is not Told]
    takers = [one for one in takers if not isinstance(one, type) and Told in get_type_hints(one).values()]
    assert {(one.__name__, get_type_hints(one)["return"]) for one in takers} == {("messages_json", bytes), ("chat_json", bytes)}
    assert {name for name in dir(Told) if not name.startswith("_")} == {
        "input",
        "cache_read",
        "cache_creation",
        "output",
        "thinking",
        "prompt",
        "total",
    }


# ---------------------------------------------------------------------------------------------------- measuring


@given(st.text(), st.text())
def test_the_measure_of_a_text_is_its_estimate_however_it_is_cut(one: str, other: str) -> None:
    assert weight(one) + weight(other) == weight(one + other)
    assert usage.tokens_of(weight(one)) == estimate_text(one)
