"""``.env`` files: lines of ``NAME=value``.

``export`` in front, quotes around and remarks behind a ``#`` are understood as a shell would; values of several lines are not, nor is
``$NAME``, which draws a warning. The last of several lines for one name counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

_LINE: Final = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_]\w*)\s*=\s*(?P<rest>.*)", re.ASCII)
#: A quoted value and what follows it.
_DOUBLE: Final = re.compile(r'"(?P<inner>(?:[^"\\]|\\.)*)"(?P<rest>.*)')
_SINGLE: Final = re.compile(r"'(?P<inner>[^']*)'(?P<rest>.*)")
_REMARK: Final = re.compile(r"(?:^|\s+)#.*")
#: As a shell has it; behind a backslash it is none.
_REFERENCE: Final = re.compile(r"(?<!\\)\$(?:\{[A-Za-z_]|[A-Za-z_])")
_ESCAPE: Final = re.compile(r"\\(.)")
_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$", "`": "`"}


@dataclass(slots=True)
class Dotenv:
    """What a file holds, and what is wrong with it. Lines are named by their numbers: they may hold keys."""

    values: dict[str, str] = field(default_factory=dict, repr=False)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def parse(text: str) -> Dotenv:
    """The values of a file's text."""
    found = Dotenv()
    for number, line in enumerate(text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            found.warnings.append(f"line {number}: expected NAME=value; left out")
            continue
        value = _value(match["rest"].rstrip())
        if value is None:
            found.problems.append(f"line {number}: {match['name']}: expected one quoted value, its quotes closed, and nothing behind it")
        else:
            found.values[match["name"]] = value
            if _is_reference(match["rest"]):
                found.warnings.append(f"line {number}: {match['name']}: a $ and a name stand for nothing here, and stay as they are")
    return found


def _is_reference(text: str) -> bool:
    """Whether a shell would put something else in the place of ``$NAME``."""
    return not text.startswith("'") and _REFERENCE.search(_REMARK.sub("", text, count=1) if text[:1] != '"' else text) is not None


def _value(text: str) -> str | None:
    """What stands behind the equals sign; None when its quotes are wrong."""
    if text[:1] not in ("'", '"'):
        return _REMARK.sub("", text, count=1)
    match = (_DOUBLE if text[0] == '"' else _SINGLE).fullmatch(text)
    if match is None or _REMARK.sub("", match["rest"], count=1).strip():
        return None
    return match["inner"] if text[0] == "'" else _ESCAPE.sub(lambda one: _ESCAPED.get(one[1], one[0]), match["inner"])
