"""Configuration files: JSON and YAML to plain values. What is wrong is said by line, never by content: a file holds keys."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

#: Suffixes of YAML files; everything else is JSON.
_YAML: Final = (".yaml", ".yml")
#: YAML's messages show what was found in quotes.
_QUOTES: Final = "'\""
_HARMLESS: Final = re.compile(r"""(?:[^'"]|'(?:<[a-z ]+>|[^\w\s'"]{1,2}|\\\w)')*""")


class Unreadable(Exception):
    """A file that cannot be used. The message says why, and has nothing of its content."""


class NoObject(Unreadable):
    """A file that is JSON or YAML, and no object."""


def read_text(path: Path) -> str:
    """The text of a file. Raises ``Unreadable``, and ``FileNotFoundError`` where there is none."""
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise Unreadable(f"expected UTF-8 ({error.reason} at byte {error.start})") from None
    except ValueError:  # a NUL in the path
        raise Unreadable("cannot be read: its name is none a file can have") from None


def decode(text: str, path: Path) -> Mapping[str, object]:
    """The object that a file's text stands for; an empty file is an empty one. Raises ``Unreadable``."""
    try:
        value = _from_yaml(text) if path.suffix.lower() in _YAML else _from_json(text)
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise NoObject("expected an object with names and values")
    return value


def _from_json(text: str) -> object:
    if not text.strip():
        return None
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise Unreadable(f"line {error.lineno}, column {error.colno}: expected JSON ({error.msg})") from None
    except ValueError:  # a number of thousands of digits
        raise Unreadable("expected numbers of a sensible length") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise Unreadable(f"found the key {name[:100]!a} twice in one object")
        found[name] = value
    return found


def _no_number(word: str) -> NoReturn:
    raise Unreadable(f"found {word}, expected JSON")


def _from_yaml(text: str) -> object:
    # 25 ms, which a start without such a file need not pay.
    from ruamel.yaml import YAML  # noqa: PLC0415
    from ruamel.yaml.constructor import DuplicateKeyError, SafeConstructor  # noqa: PLC0415
    from ruamel.yaml.error import MarkedYAMLError, YAMLError  # noqa: PLC0415
    from ruamel.yaml.reader import ReaderError  # noqa: PLC0415

    class Constructor(SafeConstructor):
        """Leaves dates as they are written: here they are versions."""

    Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = Constructor
    try:
        return _plain(yaml.load(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        problem = "found a key twice" if isinstance(error, DuplicateKeyError) else _told(error.problem or error.context or "")
        raise Unreadable(f"{place}expected YAML ({problem})") from None
    except ReaderError as error:
        raise Unreadable(f"line {text.count(chr(10), 0, error.position) + 1}: expected YAML ({error.reason})") from None
    except (YAMLError, ValueError):
        raise Unreadable("expected YAML (found a value that its tag cannot stand for)") from None


def _told(problem: str) -> str:
    """A message of YAML's without the words it found in the file; signs, and what YAML calls its own parts, may stay."""
    kept = _HARMLESS.match(problem)
    assert kept is not None  # nothing at all fits as well
    rest = problem[kept.end() :]
    return problem if not rest else f"{kept[0]}'...'{rest[max(rest.rfind(quote) for quote in _QUOTES) + 1 :]}"


def _plain(value: Any) -> Any:
    """With text for every key: a model may be called 4.5."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value
