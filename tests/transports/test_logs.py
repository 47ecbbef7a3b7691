"""One record, one line."""

from __future__ import annotations

import logging
import sys
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports import logs


@pytest.fixture
def restored() -> Iterator[None]:
    """Logging is global; leave it as it was."""
    root, ours = logging.getLogger(), logging.getLogger(logs.NAME)
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


def line(message: str, *arguments: object, exc_info: bool = False) -> str:
    record = logging.LogRecord(logs.NAME, logging.INFO, "", 0, message, arguments, sys.exc_info() if exc_info else None)
    return logs.LineFormatter().format(record)


@given(text=st.text(max_size=50))
def test_whatever_is_logged_stays_on_its_line(text: str) -> None:
    written = line("%s", text)
    assert len(written.splitlines()) == 1
    assert {unicodedata.category(char) for char in written} & {"Cc", "Zl", "Zp"} == set()


def test_control_and_bidirectional_characters_are_escaped_and_others_kept() -> None:
    assert line("a\nb\x1b[31m\u202ec ü 漢").endswith(r"INFO a\nb\x1b[31m\u202ec ü 漢")


def test_a_traceback_stays_on_the_line() -> None:
    try:
        int("a\nb")
    except ValueError:
        written = line("failed", exc_info=True)
    assert len(written.splitlines()) == 1
    assert r"failed\nTraceback (most recent call last):\n" in written
    assert written.endswith(r"ValueError: invalid literal for int() with base 10: 'a\nb'")


@pytest.mark.usefixtures("restored")
def test_our_level_is_ours_and_other_libraries_keep_to_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("DEBUG")
    logging.getLogger(logs.NAME).debug("ours")
    logging.getLogger("httpcore.http11").debug("authorization: secret")
    logging.getLogger("httpcore.http11").info("authorization: secret")
    logging.getLogger("asyncio").warning("theirs")
    logs.set_up("warning")
    logging.getLogger(logs.NAME).info("quiet")
    logging.getLogger(logs.NAME).warning("loud")
    written = capsys.readouterr().err
    assert [entry.split(" ", 2)[2] for entry in written.splitlines()] == ["DEBUG ours", "WARNING theirs", "WARNING loud"]
