"""Token counts: read leniently from both wires, written in whole numbers that add up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from core.translate.usage import NOTHING, Counts, chat_json, is_tidy_chat, is_tidy_messages, mended, messages_json, of_chat, of_messages
from core.wire.codec import ABSENT


def raw(value: Any) -> Raw:
    return Raw(json.dumps(value).encode())


CHAT: dict[str, tuple[Any, Counts]] = {
    "plain": ({"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}, Counts(10, output=2)),
    "cached": ({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}}, Counts(6, cache_read=4)),
    "cached and written": (
        {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 5}}, Counts(1, cache_read=4, cache_creation=5),
    ),
    "written, in LiteLLM's word": ({"prompt_tokens": 10, "prompt_tokens_details": {"cache_creation_tokens": 5}}, Counts(5, cache_creation=5)),
    "written, in another word": ({"prompt_tokens": 10, "prompt_tokens_details": {"cache_creation_input_tokens": 5}}, Counts(5, cache_creation=5)),
    "DeepSeek": ({"prompt_tokens": 10, "prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 6}, Counts(6, cache_read=4)),
    "Kimi": ({"prompt_tokens": 10, "cached_tokens": 4}, Counts(6, cache_read=4)),
    "a relay in front of Anthropic": ({"prompt_tokens": 10, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 1}, Counts(5, 4, 1)),
    "details win over the top": ({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}, "cached_tokens": 9}, Counts(6, cache_read=4)),
    "reasoning": ({"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 7}}, Counts(output=9, thinking=7)),
    "a cache counted apart does not make the prompt longer": ({"prompt_tokens": 3, "cached_tokens": 4}, Counts(0, cache_read=3)),
    "nor do two": ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 4}}, Counts(0, 4, 1)),
    "null details": ({"prompt_tokens": 3, "prompt_tokens_details": None, "completion_tokens_details": None}, Counts(3)),
    "floats": ({"prompt_tokens": 10.0, "completion_tokens": 2.9}, Counts(10, output=2)),
    "texts": ({"prompt_tokens": "10", "completion_tokens": " 2.0 "}, Counts(10, output=2)),
    "truth is no number": ({"prompt_tokens": True, "completion_tokens": False}, NOTHING),
    "nor is less than none": ({"prompt_tokens": -1, "completion_tokens": "-2"}, NOTHING),
    "nor is infinity": ({"prompt_tokens": "inf", "completion_tokens": "nan"}, NOTHING),
    "nor is a word": ({"prompt_tokens": "many", "completion_tokens": ""}, NOTHING),
    "nothing": ({}, NOTHING),
    "null": (None, NOTHING),
    "a word": ("none", NOTHING),
    "lists": ({"prompt_tokens": []}, NOTHING),
}  # fmt: skip


@pytest.mark.parametrize(("usage", "expected"), CHAT.values(), ids=CHAT.keys())
def test_of_chat(usage: Any, expected: Counts) -> None:
    assert of_chat(raw(usage)) == expected


MESSAGES: dict[str, tuple[Any, Counts]] = {
    "plain": ({"input_tokens": 10, "output_tokens": 2}, Counts(10, output=2)),
    "with caches": (
        {"input_tokens": 10, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 5, "output_tokens": 2},
        Counts(10, 4, 5, 2),
    ),
    "thinking": ({"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 7}}, Counts(output=9, thinking=7)),
    "floats and texts": ({"input_tokens": 10.0, "output_tokens": "2"}, Counts(10, output=2)),
    "truth and negatives": ({"input_tokens": True, "output_tokens": -1}, NOTHING),
    "null": (None, NOTHING),
    "a list": ([], NOTHING),
}


@pytest.mark.parametrize(("usage", "expected"), MESSAGES.values(), ids=MESSAGES.keys())
def test_of_messages(usage: Any, expected: Counts) -> None:
    assert of_messages(raw(usage)) == expected


def test_what_was_not_given_says_nothing() -> None:
    assert of_chat(ABSENT) == of_messages(ABSENT) == NOTHING
    assert of_chat(ABSENT, Counts(3)) == of_messages(ABSENT, Counts(3)) == Counts(3)


EARLIER = Counts(6, 4, None, 1, 1)


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        pytest.param({"completion_tokens": 5}, Counts(6, 4, None, 5, 1), id="what is not said again stays"),
        pytest.param({"prompt_tokens": 20}, Counts(16, 4, None, 1, 1), id="a new prompt still holds the cached part"),
        pytest.param(
            {"prompt_tokens": 10, "cached_tokens": 5}, Counts(5, 5, None, 1, 1), id="a new cached part is taken from the same prompt"
        ),
        pytest.param({"cached_tokens": 5}, Counts(5, 5, None, 1, 1), id="a cached part alone too"),
        pytest.param({"prompt_tokens": 0}, EARLIER, id="a zero takes nothing back"),
        pytest.param("x", EARLIER, id="nonsense says nothing"),
    ],
)
def test_chat_usage_behind_earlier_usage(later: Any, expected: Counts) -> None:
    assert of_chat(raw(later), EARLIER) == expected


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        pytest.param({"output_tokens": 5}, Counts(6, 4, None, 5, 1), id="what is not said again stays"),
        pytest.param({"input_tokens": 20}, Counts(20, 4, None, 1, 1), id="the last number holds"),
        pytest.param({"input_tokens": 0, "cache_read_input_tokens": 10}, Counts(0, 10, None, 1, 1), id="a zero beside a number is one"),
        pytest.param(
            {"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 2}, Counts(6, 4, None, 2, 1), id="zeros take nothing back"
        ),
        pytest.param([], EARLIER, id="nonsense says nothing"),
    ],
)
def test_messages_usage_behind_earlier_usage(later: Any, expected: Counts) -> None:
    assert of_messages(raw(later), EARLIER) == expected


def test_an_estimate_stands_only_where_no_prompt_was_reported() -> None:
    assert Counts(0, output=3).repaired(7) == Counts(7, output=3)
    assert NOTHING.repaired(7) == Counts(7)
    assert Counts(5).repaired(7) == Counts(5)
    assert Counts(0, cache_read=5).repaired(7) == Counts(0, cache_read=5)
    assert NOTHING.repaired(0) == NOTHING.repaired(-1) == NOTHING


def test_a_repair_is_marked() -> None:
    assert NOTHING.repaired(7, 3) == Counts(7, output=3)
    assert Counts(5).repaired(7, 3) == Counts(5, output=3)
    assert Counts(5, output=0).repaired(7, 3) == Counts(5, output=3)
    assert Counts(5, output=2).repaired(7, 3) == Counts(5, output=2)
    repairs = [
        NOTHING.repaired(7),
        NOTHING.repaired(0, 3),
        Counts(5).repaired(7, 3),
        Counts(5, output=2).repaired(7, 3),
        NOTHING.repaired(0, 0),
    ]
    assert [one.estimated for one in repairs] == [True, True, True, False, False]


def test_both_wires_are_written_in_full_and_add_up() -> None:
    counts = Counts(6, 4, 2, 9, 7)
    assert json.loads(messages_json(counts.told())) == {
        "input_tokens": 6, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2, "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 7},
    }  # fmt: skip
    assert json.loads(chat_json(counts.told())) == {
        "prompt_tokens": 12, "completion_tokens": 9, "total_tokens": 21,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2}, "completion_tokens_details": {"reasoning_tokens": 7},
    }  # fmt: skip


def test_what_is_not_known_is_written_as_zero() -> None:
    assert json.loads(messages_json(NOTHING.told())) == {
        "input_tokens": 0, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 0,
    }  # fmt: skip
    assert json.loads(chat_json(NOTHING.told())) == {
        "prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0,
        "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("usage", "can_pass"),
    [
        pytest.param({"input_tokens": 1, "output_tokens": 1}, True, id="both numbers"),
        pytest.param({"output_tokens": 1}, False, id="the output alone"),
        pytest.param({"input_tokens": 1}, False, id="the input alone"),
        pytest.param({"input_tokens": None, "output_tokens": 1}, False, id="a null input"),
        pytest.param({"input_tokens": 1, "output_tokens": 1, "cache_read_input_tokens": None}, True, id="a null cache"),
        pytest.param({"input_tokens": 1, "output_tokens": 1, "cache_read_input_tokens": 1.5}, False, id="a cache that is no integer"),
        pytest.param({"input_tokens": 1.0, "output_tokens": 1}, False, id="a float"),
        pytest.param({"input_tokens": 1, "output_tokens": -1}, False, id="a negative"),
        pytest.param({"input_tokens": 1, "output_tokens": None}, False, id="no output"),
        pytest.param([], False, id="no object"),
    ],
)
def test_which_messages_usage_can_pass(usage: Any, can_pass: bool) -> None:
    assert is_tidy_messages(raw(usage)) is can_pass


SUM = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


@pytest.mark.parametrize(
    ("usage", "can_pass"),
    [
        pytest.param({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "x": None}, True, id="three numbers"),
        pytest.param({"prompt_tokens": 1, "completion_tokens": 1}, False, id="no total"),
        pytest.param({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": None}, False, id="a null total"),
        pytest.param({"prompt_tokens": "1", "completion_tokens": 1, "total_tokens": 2}, False, id="a text"),
        pytest.param("x", False, id="no object"),
        pytest.param(None, False, id="null"),
        pytest.param({"prompt_tokens": True, "completion_tokens": 1, "total_tokens": 2}, False, id="true"),
        pytest.param({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2.0}, False, id="a float"),
        pytest.param({"prompt_tokens": -1, "completion_tokens": 2, "total_tokens": 1}, False, id="a negative"),
        pytest.param({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 3}, False, id="a wrong sum"),
        pytest.param({**SUM, "prompt_tokens_details": {"cached_tokens": 1}}, True, id="all of it cached"),
        pytest.param({**SUM, "prompt_tokens_details": {"cached_tokens": 2}}, False, id="more cached than there is"),
        pytest.param({**SUM, "prompt_cache_hit_tokens": 2}, False, id="the same in DeepSeek's words"),
        pytest.param({**SUM, "cache_creation_input_tokens": 2}, False, id="more written than there is"),
        pytest.param({**SUM, "prompt_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 1}}, False, id="both together are more"),
        pytest.param({**SUM, "cached_tokens": 1.0}, False, id="a cached part that is no integer"),
    ],
)
def test_which_chat_usage_can_pass(usage: Any, can_pass: bool) -> None:
    assert is_tidy_chat(raw(usage)) is can_pass


def test_mended_usage_keeps_what_only_the_vendor_knows() -> None:
    assert json.loads(bytes(mended(raw({"x": 1, "output_tokens": "2"}), messages_json(Counts(1, output=2).told())))) == {
        "x": 1, "input_tokens": 1, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 2,
    }  # fmt: skip
    assert json.loads(bytes(mended(ABSENT, b'{"a":1}'))) == {"a": 1}


def test_a_part_of_the_prompt_that_is_no_number_stays_however_deep_it_is() -> None:
    """Between what JSON may nest for one reading and for the next there are a few levels."""
    found = 0
    for depth in range(800, 1000):
        theirs = b'{"cached_tokens":' + b"[" * depth + b"]" * depth + b"}"
        told = bytes(mended(Raw(theirs), chat_json(Counts(1).told())))
        found += b"[[" in told
    assert found > 0
    assert json.loads(bytes(mended(raw({"cached_tokens": "x"}), b'{"prompt_tokens":1}'))) == {"prompt_tokens": 1, "cached_tokens": "x"}


def test_mended_usage_has_details_only_where_the_vendor_gives_them() -> None:
    counts, numbers = Counts(6, 4, None, 9), {"prompt_tokens": 10, "completion_tokens": 9, "total_tokens": 19}
    assert json.loads(bytes(mended(raw({"total_tokens": "19"}), chat_json(counts.told())))) == numbers
    details = {"prompt_tokens_details": {"cached_tokens": 4.0}}
    assert json.loads(bytes(mended(raw(details), chat_json(counts.told())))) == {**numbers, "prompt_tokens_details": {"cached_tokens": 4}}
