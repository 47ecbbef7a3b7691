"""The record of an exchange: one line, whatever is in it."""

from __future__ import annotations

import pytest

from core.record import Record
from core.translate.loss import Loss
from core.translate.usage import Counts


def record(**more: object) -> Record:
    return Record("req_1", "/v1/messages", 0.0, **more)  # type: ignore[arg-type]


def test_a_line_has_what_is_known_and_nothing_else() -> None:
    assert record(status=405).line() == "status=405 endpoint=/v1/messages"
    full = record(
        status=200,
        stream=True,
        model="glm-4.6-openai",
        upstream_model="glm-4.6",
        target="international/openai",
        reason="suffix: -openai",
        counts=Counts(input=10, cache_read=5, output=3),
        losses=(Loss("a", "top_k", "x"), Loss("b", "top_k", "y"), Loss("c", "metadata", "z")),
        skipped=2,
        error_code="upstream_timeout",
        error='the upstream said "no"',
    )
    assert full.line() == (
        'status=200 endpoint=/v1/messages target=international/openai model=glm-4.6-openai upstream_model=glm-4.6 route="suffix: -openai" '
        r'stream=True input=15 output=3 dropped=top_k,metadata skipped=2 code=upstream_timeout error="the upstream said \"no\""'
    )


def test_tokens_that_are_zero_are_told_from_tokens_that_are_unknown() -> None:
    assert "input=0 output=0" in record(counts=Counts(input=0, output=0)).line()
    assert "input" not in record(counts=Counts()).line()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nstatus=200", r"a\nstatus=200"),
        ("a\r\u2028b\x85c\x00\x1b[31m", r"a\r\u2028b\x85c\x00\x1b[31m"),
        ("\u202eright to left\u2066", r'"\u202eright to left\u2066"'),
        ("\ud83d", r"\ud83d"),
        ("back\\slash", r"back\\slash"),
        ("grüße", "grüße"),
        ('a"b', r'"a\"b"'),
        ("x" * 2000, "x" * 1000),
    ],
)
def test_nothing_can_break_the_line_or_turn_it_around(text: str, shown: str) -> None:
    line = record(status=200, model=text).line()
    assert line == f"status=200 endpoint=/v1/messages model={shown}"
    assert line.isprintable()
    noted = record()
    noted.note(text)
    assert noted.notes[0].isprintable()
    assert len(noted.notes[0]) <= 6000
    noted.alarm("error", text)
    assert noted.alarms == [("error", noted.notes[0])]


def test_numbers_that_the_proxy_estimated_are_marked() -> None:
    estimated = record(counts=Counts(output=3).repaired(7))
    assert estimated.estimated
    assert "input=7 output=3 estimated=True" in estimated.line()
    assert not record(counts=Counts(7, output=3)).estimated
    assert "estimated" not in record(counts=Counts(7, output=3)).line()
