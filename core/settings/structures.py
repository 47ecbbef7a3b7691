"""Settings that have members: each member is read by itself, so that all problems of a file are found at once."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from core.settings.kinds import TEXT, Kind, Place, Shapeless, Unusable, from_value, in_json, is_comment, mapping_of, number
from core.settings.upstreams import Limits, Price

#: Characters of an unknown name that are shown.
_NAME_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Member:
    """One key of an object."""

    kind: Kind
    required: bool = False
    secret: bool = False


def read_object(members: Mapping[str, Member], value: object, place: Place) -> dict[str, Any]:
    """The members that are there, by name: None for one that is wrong. Nothing and empty text count as not there.

    Unknown keys, missing ones and wrong values are noted. Raises ``Shapeless`` when ``value`` is no object.
    """
    if not isinstance(value, Mapping):
        raise Shapeless("expected an object")
    found = {}
    for name, one in value.items():
        if is_comment(name):
            continue
        member = members.get(name)
        if member is None:
            note_unknown(str(name), members, place)
        elif one not in (None, ""):
            try:
                found[name] = from_value(member.kind, one, replace(place.member(name), secret=member.secret))
            except Unusable:
                found[name] = None
    for name, member in members.items():
        if member.required and name not in found:
            place.member(name).note(f"found nothing, expected {member.kind.word}")
    return found


def record(word: str, members: Mapping[str, Member], build: Callable[..., Any]) -> Kind:
    """An object that becomes ``build(**members)``."""

    def of_value(value: object, place: Place) -> Any:
        before = len(place.problems)
        found = read_object(members, value, place)
        if len(place.problems) > before:
            raise Unusable
        return build(**found)

    return Kind(word, of_value, of_value)


def note_unknown(name: str, known: Iterable[str], place: Place) -> None:
    """Say that nothing is called ``name``, and what is nearly."""
    names = list(known)
    hint = nearest(name, names)
    place.member(name[:_NAME_MAX]).note(f"unknown key, {hint}" if hint else f"unknown key, expected one of {', '.join(names)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the known name that is meant, or nothing."""
    names = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name[:_NAME_MAX].lower(), names, n=1)
    return f"did you mean {names[close[0]]}?" if close else ""


def _by_name(word: str, kind: Kind, example: str) -> Kind:
    def of_value(value: object, place: Place) -> Any:
        return mapping_of(kind, value, place, f"expected {word}, such as {example}")

    return in_json(word, of_value, example)


LIMIT: Final = Member(number(1, 1_000_000_000, int))
_DOLLARS: Final = Member(number(0, 1_000_000, float))

LIMITS_OF_MODELS: Final = _by_name(
    "limits by model",
    record("limits", {"max_input_tokens": LIMIT, "max_tokens": LIMIT}, Limits),
    '{"glm-4.6": {"max_input_tokens": 200000, "max_tokens": 131072}}',
)
PRICES: Final = _by_name(
    "prices by model",
    record("prices", dict.fromkeys(("input", "output", "cache_read", "cache_write"), _DOLLARS), Price),
    '{"glm-4.6": {"input": 0.6, "output": 2.2}}',
)
MODEL_MAP: Final = _by_name("names of models", TEXT, '{"gpt-*": "glm-4.6"}')
