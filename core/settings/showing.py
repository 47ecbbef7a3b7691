"""Values as messages may show them: short, on one line, and without keys and passwords, wherever somebody put those."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

#: Characters of a value that are shown.
_SHOWN_MAX: Final = 200
_HIDDEN: Final = "..."
#: Beginnings of keys (OpenAI's and its followers', other services'), z.ai's form (32 hex digits, a dot, more), and UUIDs.
_KEY: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:sk|pk|rk|gsk|xai|hf|ghp|tvly|nvapi)[-_][\w.-]{4,}"
    r"|[0-9a-fA-F]{32}\.\w{8,}"
    r"|(?<![A-Za-z0-9])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
)
#: What could be drawn at random. Names of models, hosts and paths have separators much sooner.
_RUN: Final = re.compile(r"[A-Za-z0-9]{16,}")
_BOTH: Final = re.compile(r"[A-Za-z]\d|\d[A-Za-z]")
#: Letters or digits alone are random when there are this many of this many kinds: no word is like that.
_LONG: Final = 20
_KINDS: Final = 10
#: Dashes and underscores too are what keys are made of; the whole is hidden when a part of it looks random.
_TOKEN: Final = re.compile(r"[\w+/=-]+", re.ASCII)
#: What a native value is called, where it is not shown.
_WORDS: Final[tuple[tuple[type, str], ...]] = (
    (bool, "true or false"),
    (str, "text"),
    (int, "a number"),
    (float, "a number"),
    (Mapping, "an object"),
    (list, "a list"),
    (type(None), "nothing"),
)


def shown_value(value: object) -> str:
    """A wrong value as a message may show it: bounded, on one line, without passwords and keys."""
    if isinstance(value, str):
        return ascii(without_secrets(value)[:_SHOWN_MAX])
    if isinstance(value, bool | int | float):
        return str(value).lower()[:_SHOWN_MAX]
    return called(value)


def masked(value: object) -> str:
    """Where a secret belongs."""
    return f"a secret of {len(value)} characters" if isinstance(value, str) else f"{called(value)} in place of a secret"


def called(value: object) -> str:
    """What sort of value it is, and nothing of it."""
    return next((word for kind, word in _WORDS if isinstance(value, kind)), f"a {type(value).__name__}")


def without_secrets(text: str) -> str:
    """``text`` without what looks like a key, and without the credentials and the query of an address."""
    return _TOKEN.sub(_unless_random, _KEY.sub(_HIDDEN, _without_credentials(text)))


def _without_credentials(text: str) -> str:
    scheme, slashes, rest = text.rpartition("//") if text.count("//") == 1 else ("", "", text)
    head, at, tail = rest.rpartition("@")
    if at and set("?#/") & set(head):
        rest = _HIDDEN  # whether the @ ends a password or stands in a query cannot be told
    elif at:
        rest = f"{_HIDDEN}@{tail}"
    return scheme + slashes + re.sub(r"([?#]).+", rf"\1{_HIDDEN}", rest, flags=re.DOTALL)


def _unless_random(token: re.Match[str]) -> str:
    runs = _RUN.findall(token[0])
    return _HIDDEN if any(_BOTH.search(run) or (len(run) >= _LONG and len(set(run)) >= _KINDS) for run in runs) else token[0]
