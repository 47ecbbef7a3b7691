"""The top level of a JSON body: looked at, and changed, without touching any other byte.

A request that leaves in the vocabulary it came in is not translated. What must change (the model, an injected option) is cut out of
the received bytes and put back; unknown fields, white space, the order of keys and the spelling of numbers stay as the client sent
them. Only the members are found here, as slices of the body; whoever needs more decodes a member.

This is also the gate for hostile JSON: what passes can be decoded by anything downstream without a crash.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate

import msgspec

from core.errors import BadRequest

__all__ = ["MAX_DEPTH", "MAX_DIGITS", "MAX_KEYS", "Envelope", "replace_items"]

#: Levels of nesting; the body itself is the first. Real requests stay below 20, tool schemas included; decoders downstream recurse,
#: and CPython's stack allows them about 1 000.
MAX_DEPTH = 128

#: Digits of one number. No real quantity has more; converting long ones takes quadratic time, and CPython refuses above 4 300.
MAX_DIGITS = 400

#: Keys of all objects together. A 1 MB agent request has about 5 000. A decoded key costs about 200 bytes: 50 MB at the limit.
MAX_KEYS = 250_000

_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\n\r"

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_name = msgspec.json.Decoder(str).decode


@dataclass(frozen=True, slots=True)
class Envelope:
    r"""A JSON object with its members as raw bytes.

    ``body`` is what was received, but for a dropped UTF-8 byte order mark and for escapes of lone surrogates (``\ud83d`` without
    its other half), which no text can hold: they are replaced by ``\ufffd``, of the same length. ``members`` are views into
    ``body``; of a key that occurs twice the last value counts, as in every common JSON parser.
    """

    body: bytes
    members: Mapping[str, msgspec.Raw]

    @classmethod
    def read(cls, body: bytes, *, what: str = "body", max_depth: int | None = MAX_DEPTH) -> Envelope:
        """Check ``body`` and find its members. ``what`` names it in errors; ``max_depth`` None leaves depth and UTF-8 to ``check``.

        Raises ``BadRequest`` (``invalid_json``): empty; not UTF-8; not JSON (NaN and Infinity are not); more behind the value; not
        an object; nested deeper than ``max_depth``; a number with more than ``MAX_DIGITS`` digits; more than ``MAX_KEYS`` keys.
        Places count bytes from 0, lines and columns from 1, both after the byte order mark.
        """
        body = body.removeprefix(_BOM)
        if max_depth is not None:
            _check_text(body, what)
        if _too_many_keys(body):
            raise BadRequest(f"{what}: more than {MAX_KEYS} keys", code="invalid_json")
        try:
            body, members = _decode(body)
        except RecursionError:
            raise BadRequest(f"{what}: {_too_deep(max_depth or MAX_DEPTH)}", code="invalid_json") from None
        except msgspec.DecodeError as error:
            raise _explain(what, body, error) from None
        if _has_long_number(body):
            raise BadRequest(f"{what}: a number with more than {MAX_DIGITS} digits", code="invalid_json")
        envelope = cls(body, members)
        if max_depth is not None:
            envelope._check_depths(members, max_depth, what)
        return envelope

    def check(self, max_depth: int, *, what: str = "body", but: str = "") -> None:
        """What ``read`` leaves out without a ``max_depth``, of all members but the one named ``but``.

        That one can wait for ``check_member``, or is decoded into types, which have a depth of their own and take UTF-8 only.
        Raises ``BadRequest`` (``invalid_json``): not UTF-8; nested deeper than ``max_depth``.
        """
        names = [name for name in self.members if name != but]
        for name in names:
            _check_text(bytes(self.members[name]), _member(what, name))
        self._check_depths(names, max_depth, what)

    def check_member(self, name: str, max_depth: int, *, what: str = "body") -> None:
        """``check`` of one member."""
        _check_text(bytes(self.members[name]), _member(what, name))
        self._check_depth(name, max_depth, what)

    def _check_depths(self, names: Iterable[str], max_depth: int, what: str) -> None:
        for name in names:
            self._check_depth(name, max_depth, what)
        if _may_hide(max_depth - 1, len(self.body), self.members) and _deeper_than_exactly(max_depth, self.body):
            raise BadRequest(f"{what}: {_too_deep(max_depth)}", code="invalid_json")

    def _check_depth(self, name: str, max_depth: int, what: str) -> None:
        if is_deeper_than(max_depth - 1, self.members[name]):
            raise BadRequest(f"{_member(what, name)}: {_too_deep(max_depth)}", code="invalid_json")

    def get(self, name: str) -> bytes | None:
        """The member's value as JSON text, or None."""
        value = self.members.get(name)
        return None if value is None else bytes(value)

    def repeated(self) -> set[str]:
        """The names of members that occur more than once. Cheap for bodies without much white space between the members."""
        # The least that one hides: two quotes, colon, value and comma.
        if not _may_hide_bytes(len('"":0,'), len(self.body), self.members):
            return set()
        names = Counter(span.name for span in _spans(self.body, self.members))
        return {name for name, times in names.items() if times > 1}

    def replace(self, changes: Mapping[str, bytes | None]) -> bytes:
        """The body with the named members set to the given JSON texts, or removed where None; unknown names are appended.

        A value is replaced where it stands; a removed member takes one comma and the white space on its own side of the commas with
        it. Of a key that occurs twice the last is changed and the earlier ones are removed. The values are not checked.
        """
        stale = {name for name, value in changes.items() if value is not None or name in self.members}
        if not stale:
            return self.body
        body = memoryview(self.body)
        spans = _spans(self.body, self.members)
        last = {span.name: span for span in spans}
        pieces: list[bytes | memoryview] = []
        for span in spans:
            if span.name not in stale:
                pieces += (body[span.begin : span.end], b",")
            elif span is last[span.name] and (value := changes[span.name]) is not None:
                pieces += (body[span.begin : span.value], value, body[span.after : span.end], b",")
        for name, value in changes.items():
            if value is not None and name not in self.members:
                pieces += (msgspec.json.encode(name), b":", value, b",")
        opened = self.body.index(b"{") + 1
        return b"".join((body[:opened], *pieces[:-1], body[self.body.rindex(b"}") :]))


def replace_items(array: bytes, changes: Mapping[int, bytes]) -> bytes:
    """A JSON array with the items at some places set to the given JSON texts; every other byte stays. The texts are not checked."""
    if not changes:
        return array
    pieces: list[bytes] = []
    done = 0
    at = 1  # behind the bracket
    for place, item in enumerate(_elements(array)):
        gap = _GAP.match(array, at)
        assert gap is not None  # it matches nothing as well
        at = gap.end()
        if place in changes:
            pieces += (array[done:at], changes[place])
            done = at + len(item)
        at += len(item)
    return b"".join((*pieces, array[done:]))


# ---- where the members are -------------------------------------------------------------------------------------------------------


class _Span(msgspec.Struct, frozen=True, gc=False):
    """Offsets of one member: ``begin``, white space, key, colon, ``value``, ``after`` it white space, ``end`` (a comma or brace)."""

    name: str
    begin: int
    value: int
    after: int
    end: int


_KEY = re.compile(rb'[ \t\n\r]*+("(?:[^"\\]|\\.)*+")[ \t\n\r]*+:[ \t\n\r]*+')
_END = re.compile(rb"[ \t\n\r]*+(?=[,}])")
_GAP = re.compile(rb"[ \t\n\r,]*+")
_scan = json.JSONDecoder().raw_decode


def _spans(body: bytes, members: Mapping[str, msgspec.Raw]) -> list[_Span]:
    """Every member in order, repeated keys too.

    The length of a value is known from ``members``; only the earlier values of a repeated key have to be measured by decoding them.
    """
    spans: list[_Span] = []
    text = ""
    begin = body.index(b"{") + 1
    while (key := _KEY.match(body, begin)) is not None:
        name = _name(key[1])
        value = key.end()
        known = members[name]
        after = value + len(known)
        # Of two JSON values one is a proper prefix of the other only if both are numbers: then no comma or brace follows.
        end = _END.match(body, after) if body.startswith(known, value) else None
        if end is None:
            text = text or body.decode("latin-1")  # one character per byte keeps offsets offsets
            after = _scan(text, value)[1]
            end = _END.match(body, after)
        assert end is not None, "valid JSON, or there would be no members"
        spans.append(_Span(name, begin, value, after, end.end()))
        begin = end.end() + 1
    return spans


# ---- lone surrogates -------------------------------------------------------------------------------------------------------------

_LONE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)


def _decode(body: bytes) -> tuple[bytes, dict[str, msgspec.Raw]]:
    """The members; where lone surrogates are what msgspec stumbles over (it words that in several ways), of a mended body."""
    try:
        return body, _members(body)
    except msgspec.DecodeError:
        mended = _without_lone_surrogates(body)
        return mended, _members(mended)


def _without_lone_surrogates(body: bytes) -> bytes:
    if b"\x00" in body:  # not JSON; and the next line needs a pair of bytes that JSON cannot hold
        return body
    marked = body.replace(rb"\\", b"\x00\x00")  # of `\\ud83d` the first two are a backslash, the rest is text
    return _LONE.sub(rb"\\ufffd", marked).replace(b"\x00\x00", rb"\\")


def _check_text(text: bytes, what: str) -> None:
    if text.isascii():
        return
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise _invalid(what, text, error.start, f"found byte 0x{text[error.start]:02x}, expected UTF-8") from None


# ---- limits ----------------------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(rb"[-+.eE0-9]{%d,}+" % (MAX_DIGITS + 1))

#: Bytes that numbers are made of become "1", others "0".
_NUMERIC = bytes(ord("1") if byte in b"+-.eE0123456789" else ord("0") for byte in range(256))
_STRIDE = 50
_RUN = b"1" * ((MAX_DIGITS + 1) // _STRIDE)

_NOT_OPENERS = bytes(set(range(256)) - set(b"[{"))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}

#: Bytes. Up to this size all opening brackets are counted; longer values either have so many that finding the first hundred is
#: quick, or hardly any (long texts, images).
_COUNTED = 16 * 1024
#: Above this size, and after this many levels, cutting values into their parts would cost time and memory of a sender's choice.
_CUT_BYTES = 2 * 1024 * 1024
_CUT_LEVELS = 6
#: Bytes looked at together in ``_structure``: few enough that the brackets in one piece seldom reach the limit by number alone.
_PIECE = 128


def _too_many_keys(body: bytes) -> bool:
    if len(body) < 5 * MAX_KEYS or body.count(b":") <= MAX_KEYS:  # a key takes five bytes: "":1,
        return False
    return sum(map(len, _structure(body, b":"))) > MAX_KEYS


def _has_long_number(body: bytes) -> bool:
    """Whether valid JSON has a number with more than ``MAX_DIGITS`` digits.

    Such a number would show in a sample of every 50th byte as eight numeric ones in a row; only then it is worth looking closer.
    """
    if _RUN not in body[::_STRIDE].translate(_NUMERIC):
        return False
    text = _without_escaped_quotes(body)
    quotes = done = 0
    for run in _NUMBER.finditer(text):
        quotes += text.count(b'"', done, run.start())
        done = run.start()
        if quotes % 2 == 0 and len(run[0].translate(None, b"+-.eE")) > MAX_DIGITS:
            return True
    return False


def is_deeper_than(levels: int, part: msgspec.Raw, cuts: int = _CUT_LEVELS) -> bool:
    """Whether a valid JSON value is nested more than ``levels`` deep.

    Exact, and cheap for what clients really send: a value cannot be nested deeper than it has opening brackets (those in strings
    only make that bound safer), and few messages or tools have as many as the limit. Those are cut into their parts, each of which
    is looked at in the same way: a long text is a part without any.
    """
    if len(part) < 2 * (levels + 1):  # every level takes an opening and a closing byte
        return False
    value = bytes(part)
    if value[0] not in b"[{":
        return False
    if not levels:
        return True
    if _opens_at_most(levels, value):
        return False
    if not cuts or len(value) > _CUT_BYTES:
        return _deeper_than_exactly(levels, value)
    if value[0] == ord("["):
        return any(is_deeper_than(levels - 1, part, cuts - 1) for part in _elements(value))
    members = _members(value)
    if _may_hide(levels - 1, len(value), members):
        return _deeper_than_exactly(levels, value)
    return any(is_deeper_than(levels - 1, part, cuts - 1) for part in members.values())


def _may_hide(levels: int, size: int, members: Mapping[str, msgspec.Raw]) -> bool:
    """Whether an object of ``size`` bytes has room for a value nested more than ``levels`` deep that is not among ``members``.

    Such are the earlier values of repeated keys. White space looks the same; there is seldom enough of it between members.
    """
    return size >= 2 * (levels + 1) and _may_hide_bytes(2 * (levels + 1), size, members)


def _may_hide_bytes(least: int, size: int, members: Mapping[str, msgspec.Raw]) -> bool:
    seen = sum(len(name) + len(value) + len('"":,') for name, value in members.items())
    return size - seen >= least


def _opens_at_most(most: int, value: bytes) -> bool:
    if len(value) <= _COUNTED:
        return len(value.translate(None, _NOT_OPENERS)) <= most
    for opener in (b"[", b"{"):
        at = value.find(opener)
        while at >= 0:
            most -= 1
            if most < 0:
                return False
            at = value.find(opener, at + 1)
    return True


def _deeper_than_exactly(levels: int, value: bytes) -> bool:
    depth = 0
    for piece in _structure(value, b"[]{}"):
        opened = len(piece.translate(None, b"]}"))
        if depth + opened > levels and max(accumulate(map(_STEP.__getitem__, piece), initial=depth)) > levels:
            return True
        depth += 2 * opened - len(piece)
    return False


def _structure(text: bytes, kept: bytes) -> Iterator[bytes]:
    """Those bytes of JSON ``text`` that are one of ``kept`` and stand outside strings, in pieces."""
    others = bytes(set(range(256)) - set(kept + b'"'))
    # Two quotes with nothing of interest between them may go: whether a byte is inside a string is a matter of odd and even.
    marks = _without_escaped_quotes(text).translate(None, others).replace(b'""', b"")
    inside = 0
    for start in range(0, len(marks), _PIECE):
        pieces = marks[start : start + _PIECE].split(b'"')
        yield b"".join(pieces[inside::2])
        inside = (inside + len(pieces) - 1) % 2


def _without_escaped_quotes(text: bytes) -> bytes:
    """JSON ``text`` in which every quote begins or ends a string."""
    return text.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in text else text


# ---- errors ----------------------------------------------------------------------------------------------------------------------

_PLACE = re.compile(r"JSON is malformed: (.*) \(byte (\d+)\)")
_FOREIGN = re.compile(rb"NaN|Infinity|undefined|None|True|False")


def _member(what: str, name: str) -> str:
    return f"{what}: member {name[:64]!a}"


def _too_deep(max_depth: int) -> str:
    return f"nested too deep, at most {max_depth} levels are read"


def _explain(what: str, body: bytes, error: msgspec.DecodeError) -> BadRequest:
    """The error in our words. Of the body it shows a single byte, or one of the words other languages have."""
    if not body.strip(_SPACE):
        return BadRequest(f"{what}: empty, expected a JSON object", code="invalid_json")
    if isinstance(error, msgspec.ValidationError):
        return _invalid(what, body, len(body) - len(body.lstrip(_SPACE)), str(error))
    place = _PLACE.fullmatch(str(error))
    if place is None:
        return _invalid(what, body, len(body), "ends before the JSON object does")
    reason, at = place[1], int(place[2])
    if reason == "trailing characters":
        at -= 1  # msgspec 0.22 has read one byte on
    if at >= len(body):  # a number of which there is only the sign
        return _invalid(what, body, len(body), "ends before the JSON object does")
    foreign = _FOREIGN.match(body, at)
    found = foreign[0].decode() if foreign else ascii(chr(body[at]))
    return _invalid(what, body, at, f"not JSON: {reason}, found {found}")


def _invalid(what: str, body: bytes, at: int, reason: str) -> BadRequest:
    line = body.count(b"\n", 0, at) + 1
    column = at - body.rfind(b"\n", 0, at)
    return BadRequest(f"{what}: {reason}, at byte {at} (line {line}, column {column})", code="invalid_json")
