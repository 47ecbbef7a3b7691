"""What a value may be: one ``Kind`` per sort of setting, read from text (environment) or from a native value (JSON, YAML).

A reader that cannot use a value raises ``Wrong`` with what was expected; ``from_text`` and ``from_value`` note that at the value's
``Place`` and raise ``Unusable``, so that a structure can be read member by member and every problem is found in one go.
"""

from __future__ import annotations

import ipaddress
import re
import string
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import msgspec

from core.settings.showing import called, masked, shown_value, without_secrets

_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("0", "false", "no", "off")
#: Values of a file that stand for others.
IN_VARIABLE, IN_FILE = "env:", "file:"
REFERENCES: Final = (IN_VARIABLE, IN_FILE)
#: Looks up what ``env:NAME`` and ``file:PATH`` stand for; raises ``LookupError`` with the reason when it cannot.
Lookup: TypeAlias = Callable[[str], str]


class Wrong(ValueError):
    """Not the value that was expected. The message says which would be."""


class Shapeless(Wrong):
    """Not even a value with parts, where one was expected. What is there instead is not shown: parts may be keys."""


class Unusable(Exception):
    """A value that cannot be used; the problem is noted."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands, and the list its problems go to."""

    source: str
    path: str = ""
    problems: list[str] = field(default_factory=list)
    secret: bool = False
    lookup: Lookup | None = None  # None: values stand for themselves

    def member(self, name: str) -> Place:
        plain = name.isidentifier() and without_secrets(name) == name
        shown = name if plain else shown_value(name)
        if not plain and self.path:
            return replace(self, path=f"{self.path}[{shown}]")
        return replace(self, path=f"{self.path}.{shown}" if self.path else shown)

    def item(self, index: int) -> Place:
        return replace(self, path=f"{self.path}[{index}]")

    def note(self, problem: str) -> None:
        self.problems.append(": ".join(part for part in (self.source, self.path, problem) if part))

    def wrong(self, value: object, expected: str) -> None:
        self.note(f"found {masked(value) if self.secret else shown_value(value)}, {expected}")


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of value. ``word`` is what the reference page calls it."""

    word: str
    of_text: Callable[[str, Place], Any]
    of_value: Callable[[object, Place], Any]


def from_text(kind: Kind, text: str, place: Place) -> Any:
    """``text`` as ``kind``. Raises ``Unusable`` when it is none; the problem is noted then."""
    try:
        return kind.of_text(text, place)
    except Wrong as error:
        place.wrong(text, str(error))
        raise Unusable from None


def from_value(kind: Kind, value: object, place: Place) -> Any:
    """A native ``value`` as ``kind``, ``env:NAME`` and ``file:PATH`` looked up. Raises ``Unusable`` likewise."""
    if place.lookup is not None and isinstance(value, str) and value.startswith(REFERENCES):
        try:
            text = place.lookup(value)
        except LookupError as error:
            place.note(str(error.args[0]))
            raise Unusable from None
        return from_text(kind, text, place)
    try:
        return kind.of_value(value, place)
    except Shapeless as error:
        place.note(f"found {called(value)}, {error}")
        raise Unusable from None
    except Wrong as error:
        place.wrong(value, str(error))
        raise Unusable from None


# ------------------------------------------------------------------------------------------------------------ simple


def _scalar(word: str, parse: Callable[[str], Any]) -> Kind:
    """A kind that is text in files too."""

    def of_value(value: object, _place: Place) -> Any:
        if not isinstance(value, str):
            raise Wrong(f"expected {word}" + ("" if isinstance(value, Mapping | list) else "; in a file, put it in quotes"))
        return parse(value)

    return Kind(word, lambda text, _place: parse(text), of_value)


def _text(value: str) -> str:
    if not value.strip():
        raise Wrong("expected text")
    return value


def _token(value: str) -> str:
    """What goes into a header as it is: a key, a version."""
    if not (value and value.isascii() and value.isprintable() and " " not in value):
        raise Wrong("expected visible ASCII characters without spaces")
    return value


def _host(value: str) -> str:
    """An address to listen on; brackets around it belong to URLs."""
    name = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    if not name or not name.isprintable() or set(" []/") & set(name):
        raise Wrong("expected a name or an address, such as 127.0.0.1 or ::1")
    return name


def _word(value: str) -> str:
    if not re.fullmatch(r"\w[\w.-]*", value, re.ASCII):
        raise Wrong("expected letters, digits, dots, dashes and underscores")
    return value


def _url(value: str) -> str:
    try:
        parts = urllib.parse.urlsplit(_token(value))
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not close, a port that is no number
        usable = False
    if not usable:
        raise Wrong("expected an http:// or https:// URL with a host, and with a port from 1 to 65535 if any")
    if "@" in parts.netloc or "?" in value or "#" in value:
        raise Wrong("expected a URL without credentials, query or fragment")
    return value.rstrip("/")


def _path_of_url(value: str) -> str:
    if not (_token(value).startswith("/") and not set("?#%") & set(value)):
        raise Wrong("expected a path that begins with / and has no query, such as /health")
    return value


def _store(value: str) -> str:
    if value != "sqlite" and not (_token(value).startswith(("sqlite:///", "redis://", "rediss://")) and not value.endswith("://")):
        raise Wrong("expected sqlite, sqlite:///path or redis://host:port/database")
    return value


def _template(value: str) -> str:
    try:
        used = {(name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(value) if name is not None}
    except ValueError:  # a brace that is not closed
        used = {("{", "", None)}
    if not used <= {(name, "", None) for name in PLACEHOLDERS}:
        raise Wrong(f"expected no placeholders but {', '.join(f'{{{name}}}' for name in PLACEHOLDERS)}")
    return value


#: What IMAGE_AGE_TRUNCATION_MESSAGE may name.
PLACEHOLDERS: Final = ("descriptions", "description", "threshold")

TEXT: Final = _scalar("text", _text)
HOST: Final = _scalar("a name or an address", _host)
TOKEN: Final = _scalar("text without spaces", _token)
WORD: Final = _scalar("a name", _word)
PATH: Final = _scalar("a path", _text)
URL: Final = _scalar("a URL", _url)
URL_PATH: Final = _scalar("a path of a URL", _path_of_url)
STORE: Final = _scalar("a store", _store)
TEMPLATE: Final = _scalar("text with placeholders", _template)


def _switch(value: str) -> bool:
    lowered = value.lower()
    if lowered in _TRUE or lowered in _FALSE:
        return lowered in _TRUE
    raise Wrong("expected true or false (1/0, yes/no, on/off)")


def _native_switch(value: object, _place: Place) -> bool:
    # YAML 1.2 has yes and on for text, and a person does not know that.
    if isinstance(value, bool | str) or value in (0, 1):
        return _switch(str(value))
    raise Wrong("expected true or false")


SWITCH: Final = Kind("true or false", lambda text, _place: _switch(text), _native_switch)


def number(low: float, high: float, kind: type[int | float]) -> Kind:
    """A number from ``low`` to ``high``."""
    word = f"{'a whole number' if kind is int else 'a number'} from {_plain(low)} to {_plain(high)}"

    def within(found: object) -> int | float:
        if isinstance(found, bool) or not isinstance(found, int | float if kind is float else int) or not low <= found <= high:
            raise Wrong(f"expected {word}")
        return kind(found)

    def of_text(text: str, _place: Place) -> int | float:
        try:
            found = None if "_" in text else kind(text)  # Python reads 1_000, nobody else does
        except ValueError:
            found = None
        return within(found)

    return Kind(word, of_text, lambda value, _place: within(value))


def _plain(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)


def one_of(*options: str, also: Mapping[str, str] | None = None) -> Kind:
    """One of a few words, in any case. ``also``: other words for some, in lower case."""
    word = f"one of {', '.join(options)}"
    meant = {option.lower(): option for option in options} | dict(also or {})

    def parse(value: str) -> str:
        found = meant.get(value.lower())
        if found is None:
            raise Wrong(f"expected {word}")
        return found

    return _scalar(word, parse)


def or_word(word: str, kind: Kind) -> Kind:
    """``kind``, or one word beside it."""

    def worded(value: object) -> bool:
        return isinstance(value, str) and value.lower() == word

    def of_text(text: str, place: Place) -> Any:
        return word if worded(text) else _with_word(kind.of_text, text, place)

    def of_value(value: object, place: Place) -> Any:
        return word if worded(value) else _with_word(kind.of_value, value, place)

    def _with_word(read: Callable[[Any, Place], Any], value: object, place: Place) -> Any:
        try:
            return read(value, place)
        except Wrong as error:
            raise Wrong(f"{error}, or {word}") from None

    return Kind(f"{kind.word}, or {word}", of_text, of_value)


# ------------------------------------------------------------------------------------------------------------- lists


def listed(word: str, check: Callable[[str], str]) -> Kind:
    """Text between commas; in a file also a list of text. ``check`` refuses an item with ``Wrong``."""

    def of_text(text: str, _place: Place) -> tuple[str, ...]:
        return tuple(check(one.strip()) for one in text.split(",") if one.strip())

    def of_value(value: object, place: Place) -> tuple[str, ...]:
        if isinstance(value, str):
            return of_text(value, place)
        return tuple(items(_scalar("text", check), value, place, f"expected a list of {word}"))

    return Kind(f"{word} between commas", of_text, of_value)


def items(kind: Kind, value: object, place: Place, expected: str) -> list[Any]:
    """Every item of a list as ``kind``. Raises ``Wrong`` where there is no list, ``Unusable`` when an item is wrong."""
    if not isinstance(value, list):
        raise Shapeless(expected)
    found, before = [], len(place.problems)
    for index, one in enumerate(value):
        try:
            found.append(from_value(kind, one, place.item(index)))
        except Unusable:
            continue
    if len(place.problems) > before:
        raise Unusable
    return found


def _name(value: str) -> str:
    return value


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise Wrong("expected addresses or networks such as 10.0.0.0/8") from None


def _origin(value: str) -> str:
    parts = urllib.parse.urlsplit(value)
    if value != "*" and (
        parts.scheme not in ("http", "https") or not parts.netloc or f"{parts.scheme}://{parts.netloc}" != value.rstrip("/")
    ):
        raise Wrong("expected origins such as http://localhost:3000, or *")
    return value.rstrip("/").lower()


NAMES: Final = listed("names", _name)
NETWORKS: Final = listed("addresses or networks", _network)
ORIGINS: Final = listed("origins", _origin)


def in_json(word: str, of_value: Callable[[object, Place], Any], example: str) -> Kind:
    """A structure: native in files, JSON in the environment."""

    def of_text(text: str, place: Place) -> Any:
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise Wrong(f"expected JSON such as {example} ({error})") from None
        return of_value(value, place)

    def of_native(value: object, place: Place) -> Any:
        return of_text(value, place) if isinstance(value, str) else of_value(value, place)

    return Kind(f"JSON: {word}", of_text, of_native)


def _strings(value: object, place: Place) -> tuple[str, ...]:
    return tuple(items(TEXT, value, place, 'expected a JSON list of strings, such as ["glm-4.6"]'))


JSON_NAMES: Final = in_json("a list of strings", _strings, '["glm-4.6"]')


def _expression(value: str) -> str:
    try:
        re.compile(_text(value))
    except re.error as error:
        raise Wrong(f"expected a regular expression ({error})") from None
    return value


_EXPRESSION: Final = _scalar("a regular expression", _expression)


def _expressions(value: object, place: Place) -> tuple[str, ...]:
    if isinstance(value, str):
        return (_expression(value),)
    return tuple(items(_EXPRESSION, value, place, "expected a list of regular expressions"))


def _expressions_in_text(text: str, place: Place) -> tuple[str, ...]:
    try:  # [abc]+ is an expression, ["abc"] a list of one
        value: object = msgspec.json.decode(text, type=list[str])
    except msgspec.DecodeError:
        value = text
    return _expressions(value, place)


EXPRESSIONS: Final = Kind("a regular expression, or a JSON list of them", _expressions_in_text, _expressions)


def mapping_of(kind: Kind, value: object, place: Place, expected: str) -> dict[str, Any]:
    """Every member of an object as ``kind``, comments left out. Raises as ``items`` does."""
    if not isinstance(value, Mapping):
        raise Shapeless(expected)
    found, before = {}, len(place.problems)
    for name, one in value.items():
        if is_comment(name):
            continue
        try:
            found[str(name)] = from_value(kind, one, place.member(str(name)))
        except Unusable:
            continue
    if len(place.problems) > before:
        raise Unusable
    return found


def is_comment(name: object) -> bool:
    """Whether a key of a file is a remark."""
    return isinstance(name, str) and name.startswith(("_", "$"))


SECONDS: Final = number(0, 86_400, float)  # a day: more is a typing error
COUNT: Final = number(0, 1_000_000, int)
TOKENS: Final = number(1, 100_000_000, int)
SHARE: Final = number(0, 1, float)
PERCENT: Final = number(0, 100, float)
