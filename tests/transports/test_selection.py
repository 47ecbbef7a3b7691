"""The file in which a selection is kept."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from transports import selection
from transports.selection import Selection


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = selection.file_in(tmp_path)
    selection.write(path, Selection("cn", 12.5))
    assert path == tmp_path / "run" / "selection.json"
    assert path.read_text() == '{"server":"cn","at":12.5}\n'
    assert selection.read(path) == Selection("cn", 12.5)


def test_it_is_the_owners_and_nothing_else_is_left_behind(tmp_path: Path) -> None:
    path = selection.file_in(tmp_path)
    selection.write(path, Selection("cn", 1.0))
    selection.write(path, Selection("international", 2.0))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [one.name for one in path.parent.iterdir()] == ["selection.json"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"server":"cn"}', b'{"server":1,"at":1}', b"\xff", b"[]"])
def test_what_is_no_selection_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "selection.json"
    path.write_bytes(content)
    assert selection.read(path) is None


def test_no_file_is_no_selection(tmp_path: Path) -> None:
    assert selection.read(tmp_path / "selection.json") is None


def test_a_place_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "selection.json"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        selection.write(path, Selection("cn", 1.0))
    assert [one.name for one in tmp_path.iterdir()] == ["selection.json"]
