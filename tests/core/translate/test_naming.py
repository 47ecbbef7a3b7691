"""Names and ids of one request: one to one, the same way every time, whatever they are."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.translate.naming import CallIds, ToolNames, digest, shortened

LEGAL = re.compile(r"[A-Za-z0-9_-]+")
LONG = "mcp__some_server__" + "x" * 80


def test_a_name_that_is_too_long_keeps_its_beginning_and_gets_a_digest() -> None:
    assert shortened(LONG, 64) == LONG[:55] + "_" + hashlib.sha256(LONG.encode()).hexdigest()[:8]
    assert len(shortened(LONG, 40)) == 40
    assert shortened("a.b", 64) == "a_b_" + digest("a.b")
    assert digest("\ud83d") == digest("\ud83d")  # text that is no text has one too


def test_a_stand_in_is_never_one_that_is_taken() -> None:
    first = shortened(LONG, 64)
    second = shortened(LONG, 64, {first})
    third = shortened(LONG, 64, {first, second})
    assert len({first, second, third}) == 3
    assert all(len(one) == 64 and one.startswith(LONG[:55]) for one in (first, second, third))


@pytest.mark.parametrize(
    ("name", "kept"),
    [("look", True), ("a" * 64, True), ("A-z_0", True), ("a" * 65, False), ("", False), ("a.b", False), ("näme", False), ("a\n", False)],
)
def test_legal_names_stay_as_they_are(name: str, kept: bool) -> None:
    names = ToolNames()
    assert (names.there(name) == name) is kept
    assert names.back == ({} if kept else {names.there(name): name})


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_a_legal_name_that_equals_a_stand_in_is_told_apart(order: list[int]) -> None:
    pair = [LONG, shortened(LONG, 64)]
    unknown, known = ToolNames(), ToolNames()
    known.reserve(pair)
    for names in (unknown, known):
        found = [names.there(pair[index]) for index in order]
        assert len(set(found)) == 2
        assert [names.back.get(one, one) for one in found] == [pair[index] for index in order]
    assert known.there(pair[1]) == pair[1]


@pytest.mark.parametrize(
    ("call_id", "legal_only", "expected"),
    [
        pytest.param("toolu_1", True, "toolu_1", id="a legal one"),
        pytest.param("call:1.é", False, "call:1.é", id="any text where any is taken"),
        pytest.param("call:1", True, "call_1", id="a mended one"),
        pytest.param("", False, "call_" + digest("call"), id="an empty one"),
        pytest.param("i" * 41, False, "i" * 31 + "_" + digest("i" * 41), id="a long one"),
    ],
)
def test_ids(call_id: str, legal_only: bool, expected: str) -> None:
    assert CallIds(40, legal_only=legal_only).there(call_id) == expected


def test_a_mended_id_is_never_one_that_is_reserved() -> None:
    ids = CallIds(40, legal_only=True)
    ids.reserve(["call_1", "call:1", "x" * 50])
    assert ids.there("call:1") == "call_1_" + digest("call:1")
    assert ids.there("call_1") == "call_1"


#: Few letters and lengths around the limit, so that stand-ins meet names; and the stand-ins themselves.
words = st.text("ab.é_", max_size=12) | st.text("ab.", min_size=9, max_size=14).map(lambda word: shortened(word, 12))


@given(st.lists(words, max_size=30), st.lists(words, max_size=10))
def test_names_are_mapped_one_to_one_and_back(asked: list[str], reserved: list[str]) -> None:
    names = ToolNames(12)
    names.reserve(reserved)
    found = {word: names.there(word) for word in asked}
    assert {word: names.there(word) for word in asked} == found
    assert len(set(found.values())) == len(found)
    assert all(len(one) <= 12 and LEGAL.fullmatch(one) for one in found.values())
    assert {names.back.get(there, there): there for there in found.values()} == found
    assert all(found[word] == word for word in asked if word in reserved and len(word) <= 12 and LEGAL.fullmatch(word))


@given(st.lists(words, max_size=30), st.lists(words, max_size=10), st.booleans())
def test_ids_are_mapped_one_to_one(asked: list[str], reserved: list[str], legal_only: bool) -> None:
    ids = CallIds(12, legal_only=legal_only)
    ids.reserve(reserved)
    found = {word: ids.there(word) for word in asked}
    assert len(set(found.values())) == len(found)
    assert all(0 < len(one) <= 12 and (LEGAL.fullmatch(one) or not legal_only) for one in found.values())
    assert {word: ids.there(word) for word in asked} == found
