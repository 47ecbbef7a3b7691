"""JSON as both wires use it: typed decoding that names the faulty place, and that never drops a field in silence.

Request types are declared closed (``forbid_unknown_fields``): the usual request, which holds nothing but known fields, is decoded in
one pass. When something unknown is met, a second, slower reading removes it and says where it stood; the caller turns that into a
``Loss``. Error messages follow msgspec 0.22, whose wording is pinned by tests.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw, inspect

from core.errors import BadRequest

T = TypeVar("T")

#: A ``Raw`` field that was not given. Compared by identity, so that msgspec leaves it out when encoding.
ABSENT: Final = Raw()

_encoder: Final = msgspec.json.Encoder()
encode = _encoder.encode

#: For values of any type. The hook is what makes a number beyond the range of a float infinite instead of an error.
_anything: Final = msgspec.json.Decoder(object, float_hook=float)
_members: Final = msgspec.json.Decoder(dict[str, Raw])
_items: Final = msgspec.json.Decoder(list[Raw])

#: Characters of a client's own value in an error message.
_SHOWN_MAX: Final = 100

_WHERE = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_EXPECTED = re.compile(r"Expected `(?P<expected>[^`]+)`, got `(?P<found>[^`]+)`")
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]+)`")
_INVALID = re.compile(r"Invalid value (?P<value>.+)", re.DOTALL)
#: A surrogate pair, any other escape of four digits, or an escape of one character (which is passed over, so that no ``\\\\u`` misleads).
_ESCAPE: Final = re.compile(rb"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\.", re.DOTALL)
_LONE = re.compile("[\ud800-\udfff]")


class Closed(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Base of everything a client sends: fields outside the declaration are noticed, defaults are not written."""


class Open(msgspec.Struct, omit_defaults=True, gc=False):
    """Base of everything an upstream sends: vendors add fields at any time, and those are ignored.

    Hundreds per answer, and none in a cycle: the garbage collector need not look at them.
    """


_decoders: Final[dict[Any, msgspec.json.Decoder[Any]]] = {}


def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """The decoder of a type, built once."""
    found = _decoders.get(kind)
    if found is None:
        found = _decoders[kind] = msgspec.json.Decoder(kind)
    return found


def given(raw: Raw) -> bool:
    """Whether a raw member was sent and is not null."""
    return raw is not ABSENT and bytes(raw) != b"null"


def compact(raw: Raw | bytes) -> bytes:
    """The same JSON without white space between its tokens, and with letters for the escapes of letters.

    Numbers, the order of members, and escapes that JSON needs are untouched: a model is to read é and not what a library made of it.
    """
    tight = msgspec.json.format(bytes(raw), indent=-1)
    return _ESCAPE.sub(_letter, tight) if b"\\u" in tight else tight


def _letter(escape: re.Match[bytes]) -> bytes:
    """The letter of one escape. ASCII stays escaped: some of it must be. Half a surrogate pair does not get as far as here."""
    high, low, code = escape.groups()
    if high is not None:
        return chr(0x10000 + ((int(high, 16) & 0x3FF) << 10) + (int(low, 16) & 0x3FF)).encode()
    letter = int(code, 16) if code is not None else 0
    return chr(letter).encode() if letter > 0x7F else escape[0]


def text_of(raw: Raw | bytes) -> str:
    """``raw`` as text; bytes that are not UTF-8 become U+FFFD."""
    return bytes(raw).decode("utf-8", "replace")


def is_object(data: bytes | str) -> bool:
    """Whether ``data`` is one whole JSON object."""
    try:
        _members.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def plain(data: bytes | Raw) -> object:
    """Any JSON value as Python's own types. Raises ``msgspec.DecodeError``, ``UnicodeDecodeError``, ``RecursionError`` for what is none."""
    return _anything.decode(data)


def value_of(raw: Raw) -> object:
    """A raw member of a decoded body as Python's own types. None when it is not UTF-8, for which raw members are not checked."""
    try:
        return plain(raw)
    except UnicodeDecodeError:
        return None


def members(data: bytes | Raw) -> dict[str, Raw]:
    """The members of a JSON object. Raises ``msgspec.DecodeError``."""
    return _members.decode(data)


def whole_number(value: object) -> int | None:
    """A count as vendors send it: integers, floats and numeric strings become integers; anything else, and negatives, None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, float):
        value = int(value) if -1 < value < 2**63 else None
    return value if isinstance(value, int) and value >= 0 else None


def decode_lenient(kind: type[T], data: bytes) -> T:
    """Decode what an upstream sent. Lone surrogates and broken UTF-8 become U+FFFD.

    Raises ``msgspec.DecodeError`` (or ``msgspec.ValidationError``, its subclass) and nothing else.
    """
    try:
        found: T = decoder(kind).decode(data)
    except RecursionError:
        raise msgspec.DecodeError("nested too deeply") from None
    except UnicodeDecodeError:
        found = decode_lenient(kind, data.decode("utf-8", "replace").encode())
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        found = decoder(kind).decode(mend_surrogates(data))
    return found


def mend_surrogates(data: bytes) -> bytes:
    r"""JSON that msgspec refuses only for a lone surrogate such as ``"\ud83d"``, or for bytes that are no text, with U+FFFD in their place.

    msgspec 0.22 has no replacement mode; the standard library reads surrogates. Raises ``msgspec.DecodeError`` for anything else.
    """
    try:
        value = json.loads(data.decode("utf-8", "replace"))
        # A constant outside JSON (NaN, Infinity) stays refused: allow_nan=False raises ValueError.
        return _LONE.sub("\ufffd", json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)).encode()
    except (ValueError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None


def read(kind: type[T], body: bytes) -> tuple[T, list[str]]:
    """Decode a client's body into a closed type; also the paths of what was unknown and left out.

    An unknown field is left out at any depth; an unknown ``type`` of a content block, part or tool likewise. Anything else that does
    not fit, and what is no JSON, is a ``BadRequest`` that says what was found, where, and what was expected.
    """
    unknown: list[str] = []
    found: T
    try:
        try:
            found = decoder(kind).decode(body)
        except msgspec.ValidationError:
            found = decoder(kind).decode(_prune(body, inspect.type_info(kind), "", unknown))
    except msgspec.ValidationError as error:
        raise _explain(error) from None
    except RecursionError:
        raise BadRequest("body: nested too deeply", code="invalid_json") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"body: {error}", code="invalid_json") from None
    return found, unknown


def _prune(data: bytes | Raw, kind: inspect.Type, path: str, unknown: list[str]) -> bytes:
    """``data`` without what ``kind`` does not know. Whatever has the wrong shape stays, for the typed decoder to complain of."""
    if isinstance(kind, inspect.StructType):
        return _prune_object(data, kind, path, unknown)
    if isinstance(kind, inspect.ListType):
        return _prune_list(data, kind.item_type, path, unknown)
    if isinstance(kind, inspect.UnionType):
        return _prune_union(data, kind, path, unknown)
    return _mended_number(data) if isinstance(kind, inspect.IntType) else bytes(data)


def _mended_number(data: bytes | Raw) -> bytes:
    """A whole number that was written as ``8192.0`` or ``"8192"`` without its ornaments; anything else as it is."""
    value = plain(data)
    if isinstance(value, str | float) and (count := whole_number(value)) is not None and count == float(value):
        return b"%d" % count
    return bytes(data)


def _prune_union(data: bytes | Raw, kind: inspect.UnionType, path: str, unknown: list[str]) -> bytes:
    first = bytes(data).lstrip()[:1]
    lists = [option for option in kind.types if isinstance(option, inspect.ListType)]
    structs = [option for option in kind.types if isinstance(option, inspect.StructType)]
    if first == b"[" and lists:
        return _prune_list(data, lists[0].item_type, path, unknown)
    if first == b"{" and structs:
        return _prune_object(data, _choose(data, structs) or structs[0], path, unknown)
    if all(isinstance(option, inspect.IntType | inspect.NoneType) for option in kind.types):
        return _mended_number(data)
    if first == b"{" and lists and not isinstance(lists[0].item_type, inspect.StrType):
        # One block where a list of blocks belongs: some clients send that.
        return _prune_list(b"[" + bytes(data) + b"]", lists[0].item_type, path, unknown)
    return bytes(data)


def _choose(data: bytes | Raw, structs: list[inspect.StructType]) -> inspect.StructType | None:
    """The member of a tagged union that ``data`` names, None when it names none of them."""
    field = structs[0].tag_field
    tag = members(data).get(field) if field else None
    if tag is None:
        return None
    return next((one for one in structs if encode(one.tag) == bytes(tag)), None)


def _prune_object(data: bytes | Raw, kind: inspect.StructType, path: str, unknown: list[str]) -> bytes:
    if bytes(data).lstrip()[:1] != b"{":
        return bytes(data)
    fields = {field.encode_name: field.type for field in kind.fields}
    closed = bool(kind.cls.__struct_config__.forbid_unknown_fields)
    kept = []
    for name, value in members(data).items():
        place = f"{path}.{name}" if path else name
        if name in fields:
            kept.append(encode(name) + b":" + _prune(value, fields[name], place, unknown))
        elif name == kind.tag_field or not closed:
            kept.append(encode(name) + b":" + bytes(value))
        else:
            unknown.append(place)
    return b"{" + b",".join(kept) + b"}"


def _prune_list(data: bytes | Raw, item: inspect.Type, path: str, unknown: list[str]) -> bytes:
    if bytes(data).lstrip()[:1] != b"[":
        return bytes(data)
    options = [one for one in (item.types if isinstance(item, inspect.UnionType) else (item,)) if isinstance(one, inspect.StructType)]
    kept = []
    for index, value in enumerate(_items.decode(data)):
        place = f"{path}[{index}]"
        if options and options[0].tag_field == "type" and _is_unknown_type(value, options):
            unknown.append(f"{place}.type={text_of(members(value)['type'])}")
        else:
            kept.append(_prune(value, item, place, unknown))
    return b"[" + b",".join(kept) + b"]"


def _is_unknown_type(value: Raw, options: list[inspect.StructType]) -> bool:
    data = bytes(value).lstrip()
    if data[:1] != b"{":
        return False
    tag = members(value).get("type")
    return tag is not None and bytes(tag).startswith(b'"') and _choose(value, options) is None


def _explain(error: msgspec.ValidationError) -> BadRequest:
    """msgspec's complaint in the words of an API: the path as the client would write it, found and expected."""
    match = _WHERE.match(str(error))
    assert match is not None  # the pattern matches any text
    what, path = match["what"], (match["path"] or "").removeprefix("$").removeprefix(".")
    if missing := _MISSING.fullmatch(what):
        path, what = f"{path}.{missing['name']}".removeprefix("."), "this field is required"
    elif expected := _EXPECTED.fullmatch(what):
        what = f"expected {expected['expected']}, found {expected['found']}"
    elif invalid := _INVALID.fullmatch(what):
        what = f"unknown value {invalid['value'][:_SHOWN_MAX]}"
    else:
        what = what.replace("`", "")
    return BadRequest(f"{path or 'body'}: {what}", param=path or None)
