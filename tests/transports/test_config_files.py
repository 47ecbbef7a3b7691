"""Configuration files: what they say, and what is wrong with them without a word of their content."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.config import Unreadable, dotenv, write_setting
from transports.config.files import decode, read_text

JSON, YAML = Path("x.json"), Path("x.yaml")

# ------------------------------------------------------------------------------------------------------------ dotenv


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"), ("  A = b  ", "b"), ("export A=b", "b"), ("export\tA=b", "b"), ("A=", ""), ("A=#b", ""), ("A= # b", ""),
        ("A=b#c", "b#c"), ("A=b #c", "b"), ("A=b c", "b c"), ("A='b #c' # d", "b #c"), ("A='b\"c'", 'b"c'), ("A='$B\\n'", "$B\\n"),
        ('A="b\\"c\\n\\\\ \\$d \\x"', 'b"c\n\\ $d \\x'), ('A=""', ""), ("A=''", ""), ("A=b'c'", "b'c'"), ("A=b=c", "b=c"),
        ('A={"b": "c"}', '{"b": "c"}'), ("A=gr\u00fc\u00dfe", "gr\u00fc\u00dfe"),
    ],
)  # fmt: skip
def test_a_line_has_a_value(line: str, value: str) -> None:
    found = dotenv.parse(f"\ufeff# first\r\n{line}\r\nB=c\n\n  # last\nexported=1")
    assert found.values == {"A": value, "B": "c", "exported": "1"}
    assert found.problems == found.warnings == []


def test_the_last_line_for_a_name_counts() -> None:
    assert dotenv.parse("A=1\nA=2").values == {"A": "2"}


@pytest.mark.parametrize("line", ["A='b", 'A="b', "A='b' c", 'A="b\\"', 'A="b" "c"'])
def test_quotes_have_to_be_right(line: str) -> None:
    found = dotenv.parse(f"B=c\n{line}")
    assert found.values == {"B": "c"}
    assert found.problems == ["line 2: A: expected one quoted value, its quotes closed, and nothing behind it"]


@pytest.mark.parametrize("line", ["A", "export A", "=b", "A B=c", "1A=b", "sk-canary"])
def test_a_line_that_is_none_is_mentioned_by_its_number(line: str) -> None:
    found = dotenv.parse(f"B=c\n{line}")
    assert (found.values, found.problems) == ({"B": "c"}, [])
    assert found.warnings == ["line 2: expected NAME=value; left out"]


@pytest.mark.parametrize("value", ["${B}", "$B", "a${B}c", '"a $B"', '"${B:-c}"', "a $b # c"])
def test_a_name_behind_a_dollar_draws_a_warning_and_stays(value: str) -> None:
    found = dotenv.parse(f"\nA={value}")
    assert found.warnings == ["line 2: A: a $ and a name stand for nothing here, and stay as they are"]
    assert "$" in found.values["A"]


@pytest.mark.parametrize("value", ["'${B}'", '"\\$B"', "^a$", "$", "$5", "5 # $B", "a$|b$"])
def test_other_dollars_do_not(value: str) -> None:
    assert dotenv.parse(f"A={value}").warnings == []


@given(st.text())
def test_any_text_is_parsed_and_not_repeated(text: str) -> None:
    found = dotenv.parse("SECRET='" + text.replace("\n", "") + "canary\n" + text)
    assert "canary" not in repr(found)


# ------------------------------------------------------------------------------------------------------ JSON and YAML


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        (JSON, "", {}), (JSON, ' {"a": [1, 2.5, null, true]} ', {"a": [1, 2.5, None, True]}), (JSON, "null", {}),
        (YAML, "", {}), (YAML, "# nothing", {}), (YAML, "a: [1, yes, no, 1.5, ~]", {"a": [1, "yes", "no", 1.5, None]}),
        (YAML, "a: 2023-06-01\nb: 2023-06-01 10:00:00", {"a": "2023-06-01", "b": "2023-06-01 10:00:00"}),
        (YAML, "4.5: {1: 2}\ntrue: x", {"4.5": {"1": 2}, "True": "x"}), (Path("x.YML"), "a: b", {"a": "b"}),
        (YAML, "a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
    ],
)  # fmt: skip
def test_a_file_is_an_object(path: Path, text: str, value: object) -> None:
    assert decode(text, path) == value


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (JSON, "[1]", "expected an object with names and values"),
        (JSON, '{"a": canary}', "line 1, column 7: expected JSON (Expecting value)"),
        (JSON, '{\n"a": "canary', "line 2, column 6: expected JSON (Unterminated string starting at)"),
        (JSON, '{"a": 1, "a": "canary"}', "found the key 'a' twice in one object"),
        (JSON, '{"a": Infinity}', "found Infinity, expected JSON"),
        (JSON, '{"a": ' + "1" * 10_000 + "}", "expected numbers of a sensible length"),
        (JSON, "[" * 100_000, "nested too deeply"),
        (YAML, "a: b: canary", "line 1, column 5: expected YAML (mapping values are not allowed here)"),
        (YAML, "a: 'canary", "line 1, column 11: expected YAML (found unexpected end of stream)"),
        (YAML, "a: 1\nb: 2\na: canary", "line 3, column 1: expected YAML (found a key twice)"),
        (YAML, "a: *canary", "line 1, column 4: expected YAML (found undefined alias '...')"),
        (YAML, "a: !canary x", "line 1, column 4: expected YAML (could not determine a constructor for the tag '...')"),
        (YAML, "a: !!int canary", "expected YAML (found a value that its tag cannot stand for)"),
        (YAML, "a: 1\nb: \x07canary", "line 2: expected YAML (special characters are not allowed)"),
        (YAML, "a: 1\n\tb: canary", "line 2, column 1: expected YAML (found character '\\t' that cannot start any token)"),
        (YAML, "a: [canary", "line 1, column 11: expected YAML (expected ',' or ']', but got '<stream end>')"),
        (YAML, "a: !ca'nary' x", "line 1, column 4: expected YAML (could not determine a constructor for the tag '...')"),
        (YAML, "a: *can\"ary'", "line 1, column "),
        (YAML, "a: 1\n b: canary", "line 2, column 3: expected YAML (mapping values are not allowed here)"),
        (YAML, "a: 1\n---\nb: canary", "line 2, column 1: expected YAML (but found another document)"),
        (YAML, "canary", "expected an object with names and values"),
        (YAML, "[" * 5_000, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_said_without_its_content(path: Path, text: str, expected: str) -> None:
    with pytest.raises(Unreadable) as caught:
        decode(text, path)
    assert str(caught.value).startswith(expected)
    assert "canary" not in str(caught.value)


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbfa")
    assert read_text(tmp_path / "x") == "a"


def test_yaml_is_not_loaded_for_who_has_none() -> None:
    code = "import sys; from pathlib import Path; from transports import config; config.load([], {}, Path('/nonexistent')); print('ruamel' in str(sys.modules))"
    import subprocess  # noqa: PLC0415

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# ------------------------------------------------------------------------------------------------------------- writing


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.yaml"
    write_setting(path, "current_server", "cn")
    assert path.read_text() == "current_server: cn\n"
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


@pytest.mark.parametrize(
    ("before", "name", "value", "after"),
    [
        ("", "port", 1, "port: 1\n"),
        ("# only remarks", "port", 1, "# only remarks\nport: 1\n"),
        ("# only remarks\n\n# more\n", "port", 1, "# only remarks\n\n# more\nport: 1\n"),
        ("{}", "port", 1, "port: 1\n"),
        (
            "# head\nport: 5000  # why\n\nhost: '::1'\nproviders:\n- name: \"a\" # n\n",
            "port",
            7,
            "# head\nport: 7     # why\n\nhost: '::1'\nproviders:\n- name: \"a\" # n\n",
        ),
        ("port: 1\nhost: a\n", "port", None, "host: a\n"),
        ("port: 1\n", "port", None, "{}\n"),
        ("port: 1\n", "gone", None, "port: 1\n"),
        ("port: 1\n", "allowed_hosts", ["a", "b"], "port: 1\nallowed_hosts:\n- a\n- b\n"),
        ("port: 1\n", "ak", "0123", "port: 1\nak: '0123'\n"),
        ("port: 1\n", "ak", "yes", "port: 1\nak: yes\n"),
        ("# a\nproxy_server: cn # b\nport: 1\n", "current_server", "my", "# a\nproxy_server: my # b\nport: 1\n"),
        ("current_server: cn\nport: 1\nproxy_server: cn\n", "current_server", "my", "port: 1\nproxy_server: my\n"),
        ("current_server: cn\nport: 1\n", "current_server", "my", "current_server: my\nport: 1\n"),
        ("proxy_server: cn\nport: 1\n", "current_server", None, "port: 1\n"),
        ("port: 1\n", "model_map_json", {"a": "b"}, "port: 1\nmodel_map_json:\n  a: b\n"),
    ],
)
def test_a_setting_is_written_and_everything_else_stays(tmp_path: Path, before: str, name: str, value: object, after: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(before)
    path.chmod(0o644)
    write_setting(path, name, value)
    assert path.read_text() == after
    assert mode(path) == 0o600
    assert decode(after, path).get("proxy_server" if "proxy_server" in after else name) == value
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_link_leads_to_is_written(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "config.yaml"
    real.write_text("port: 1\n")
    link.symlink_to(real)
    write_setting(link, "port", 2)
    assert link.is_symlink()
    assert real.read_text() == "port: 2\n"


def test_a_broken_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("port: [1\n")
    with pytest.raises(Unreadable, match="expected YAML"):
        write_setting(path, "port", 2)
    assert path.read_text() == "port: [1\n"


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.mkdir()
    (path / "full").touch()
    with pytest.raises((OSError, Unreadable)):
        write_setting(path, "port", 2)
    assert list(tmp_path.iterdir()) == [path]
