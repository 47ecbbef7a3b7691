"""core/wire/envelope.py: what is let in, what is refused and how that is worded, and that a change touches nothing else."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import BadRequest
from core.wire.envelope import MAX_DIGITS, MAX_KEYS, Envelope


def members(body: bytes) -> dict[str, bytes]:
    envelope = Envelope.read(body)
    return {name: bytes(value) for name, value in envelope.members.items()}


def complaint(body: bytes, **options: Any) -> str:
    with pytest.raises(BadRequest) as caught:
        Envelope.read(body, **options)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")
    assert len(caught.value.message) < 400
    return caught.value.message


# ---- reading ---------------------------------------------------------------------------------------------------------------------


def test_members_are_found_as_they_were_written() -> None:
    body = b' {"model" : "x" ,\n "n":1.50e+3, "o":{ "a" : [ ] }, "l":[1 , 2],"t":true,"z":null}\n'
    assert members(body) == {"model": b'"x"', "n": b"1.50e+3", "o": b'{ "a" : [ ] }', "l": b"[1 , 2]", "t": b"true", "z": b"null"}
    assert Envelope.read(body).body == body


def test_get_gives_the_text_or_none() -> None:
    envelope = Envelope.read(b'{"model":"x","stream":null}')
    assert (envelope.get("model"), envelope.get("stream"), envelope.get("tools")) == (b'"x"', b"null", None)


def test_the_last_of_equal_keys_counts_however_it_is_spelled() -> None:
    assert members(b'{"a":1,"b":2,"\\u0061":3}') == {"a": b"3", "b": b"2"}


def test_a_byte_order_mark_is_dropped() -> None:
    assert Envelope.read(b'\xef\xbb\xbf{"a":1}').body == b'{"a":1}'


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        (rb"\ud83d", rb"\ufffd"),
        (rb"\uDE00", rb"\ufffd"),
        (rb"a\ud83db", rb"a\ufffdb"),
        (rb"\ud83d\ud83d\ude00", rb"\ufffd\ud83d\ude00"),
        (rb"\ud83d\ude00\ude00", rb"\ud83d\ude00\ufffd"),
        (rb"\ude00\ud83d", rb"\ufffd\ufffd"),
        (rb"\ud83d\u0041", rb"\ufffd\u0041"),
        (rb"\ud83d\\ude00", rb"\ufffd\\ude00"),
        (rb"\ud83d\n", rb"\ufffd\n"),
        (rb"\\\ud83d\\ud83d\\\\ud83d", rb"\\\ufffd\\ud83d\\\\ud83d"),
        (rb"\uDBFF\uDFFF\uD800\uDFFF\uD800", rb"\uDBFF\uDFFF\uD800\uDFFF\ufffd"),
        (rb"\ud7ff\ue000\ud83d", rb"\ud7ff\ue000\ufffd"),
    ],
)
def test_lone_surrogates_are_replaced_and_nothing_else(text: bytes, mended: bytes) -> None:
    for frame in (b'{"a":"%s"}', b'{"a":{"b":["%s"]}}', b'{"a":"%s' + b"x" * 100 + b'"}', b'{"%s":1, "b":"\\\\ud83d"}'):
        envelope = Envelope.read(frame % text)
        assert envelope.body == frame % mended
        assert envelope.members.keys() == json.loads(frame % mended).keys()


def test_a_valid_pair_and_an_escaped_backslash_are_left_alone() -> None:
    body = rb'{"a":"\ud83d\ude00 \\ud83d \\\\ude00"}'
    assert Envelope.read(body).body is body


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "body: empty, expected a JSON object"),
        (b" \r\n\t", "body: empty, expected a JSON object"),
        (b"\xef\xbb\xbf", "body: empty, expected a JSON object"),
        (b"[1]", "body: Expected `object`, got `array`, at byte 0 (line 1, column 1)"),
        (b'\n "x"', "body: Expected `object`, got `str`, at byte 2 (line 2, column 2)"),
        (b"null", "body: Expected `object`, got `null`, at byte 0 (line 1, column 1)"),
        (b"{", "body: ends before the JSON object does, at byte 1 (line 1, column 2)"),
        (b'{"a":"x', "body: ends before the JSON object does, at byte 7 (line 1, column 8)"),
        (b'{"a":1,\n"b":[1}', "body: not JSON: expected ',' or ']', found '}', at byte 14 (line 2, column 7)"),
        (b'{"a":1,}', "body: not JSON: trailing comma in object, found '}', at byte 7 (line 1, column 8)"),
        (b'{"a":1} x', "body: not JSON: trailing characters, found 'x', at byte 8 (line 1, column 9)"),
        (b'{"a":1}{"a":1}', "body: not JSON: trailing characters, found '{', at byte 7 (line 1, column 8)"),
        (b'{"a":NaN}', "body: not JSON: invalid character, found NaN, at byte 5 (line 1, column 6)"),
        (b'{"a":[Infinity]}', "body: not JSON: invalid character, found Infinity, at byte 6 (line 1, column 7)"),
        (b'{"a":-Infinity}', "body: not JSON: invalid character, found Infinity, at byte 6 (line 1, column 7)"),
        (b'{"a":None}', "body: not JSON: invalid character, found None, at byte 5 (line 1, column 6)"),
        (b"{'a':1}", 'body: not JSON: object keys must be strings, found "\'", at byte 1 (line 1, column 2)'),
        (b'{"a":sk-secret}', "body: not JSON: invalid character, found 's', at byte 5 (line 1, column 6)"),
        (b'{"a":"\n"}', "body: not JSON: invalid character, found '\\n', at byte 6 (line 1, column 7)"),
        (b'{"a":"\x00\\ud83d"}', "body: not JSON: invalid character, found '\\x00', at byte 6 (line 1, column 7)"),
        (b'{"a":"\\x"}', "body: not JSON: invalid escaped character, found 'x', at byte 7 (line 1, column 8)"),
        (b'{"a":01}', "body: not JSON: invalid number, found '1', at byte 6 (line 1, column 7)"),
        (b'{"a":\xc3\xa9}', "body: not JSON: invalid character, found '\\xc3', at byte 5 (line 1, column 6)"),
        (b'{"a":"\\ud83d",}', "body: not JSON: trailing comma in object, found '}', at byte 14 (line 1, column 15)"),
        (b'{"a":"\xff"}', "body: found byte 0xff, expected UTF-8, at byte 6 (line 1, column 7)"),
        (b'{"a":"\xed\xa0\xbd"}', "body: found byte 0xed, expected UTF-8, at byte 6 (line 1, column 7)"),
        (b'{"a":\n"\xc3', "body: found byte 0xc3, expected UTF-8, at byte 7 (line 2, column 2)"),
        ('{"a":1}'.encode("utf-16"), "body: found byte 0xff, expected UTF-8, at byte 0 (line 1, column 1)"),
        ("{}".encode("utf-16-le"), "body: not JSON: object keys must be strings, found '\\x00', at byte 1 (line 1, column 2)"),
    ],
)
def test_what_is_not_a_json_object_is_refused_with_its_place(body: bytes, message: str) -> None:
    assert complaint(body) == message


def test_errors_name_what_was_read() -> None:
    assert complaint(b"[", what="upstream answer").startswith("upstream answer: ")


# ---- depth -----------------------------------------------------------------------------------------------------------------------

ARRAY, OBJECT, AMONG_OTHERS, HIDDEN = (b"[", b"]"), (b'{"k":', b"}"), (b"[1, [] , ", b", {}]"), (b'{"k":', b',"k":0}')


def nested(levels: int, kind: tuple[bytes, bytes], core: bytes = b"1") -> bytes:
    """A body with ``levels`` levels around ``core``, itself included."""
    return b'{"a":' + kind[0] * (levels - 1) + core + kind[1] * (levels - 1) + b"}"


def depth(value: object) -> int:
    """Of JSON that was read with every object as the list of its values, those of repeated keys too."""
    if not isinstance(value, list):
        return 0
    return 1 + max((depth(part) for part in value if isinstance(part, list)), default=0)


#: What may stand in the innermost place. Brackets in strings, escapes and quotes are there to mislead; the large ones make each way
#: of measuring do its work, on its own and after the others.
CORES = {
    "a number": b"1",
    "brackets in a string": b'"' + b"[{" * 500 + b'"',
    "closers in a string": b'"' + b"]}" * 500 + b'"',
    "escapes": rb'"\"[\\\"[\\"',
    "escapes and brackets": b"[" + b",".join([rb'"\"[\\\"[\\"', rb'"]\\"', rb'"\\\"]"'] * 200) + b"]",
    "a long text": b'"' + b"lorem [ipsum {\\n" * 5000 + b'"',
    "a long plain text": b'"' + b"lorem ipsum " * 5000 + b'"',
    "a very long text": b'"' + b"lorem [ipsum {\\n" * 150_000 + b'"',
    "a very long text and a list": b'["' + b"lorem [ipsum {\\n" * 150_000 + b'",[],[1,2]]',
    "a long list": b"[" + b'"[",1,"\\"",2,' * 5000 + b"{}]",
    "a very long list": b"[" + (b'"[' + b"x" * 100 + b'",1,"\\"[",2,') * 20_000 + b"{}]",
    "a long list of lists": b"[" + b'["["],{"]":"}","\\\\":{}},["}"],' * 2000 + b"{}]",
    "a very long list of lists": b"[" + (b'["[' + b"x" * 100 + b'"],{"]":"}"},') * 20_000 + b"{}]",
    "columns": b"[" + b",".join([b"[" * 9 + b"]" * 9] * 2000) + b"]",
}


@pytest.mark.parametrize("core", CORES.values(), ids=CORES.keys())
@pytest.mark.parametrize(
    "kind", [ARRAY, OBJECT, AMONG_OTHERS, HIDDEN], ids=["arrays", "objects", "among others", "hidden by repeated keys"]
)
def test_depth_is_exact(kind: tuple[bytes, bytes], core: bytes) -> None:
    for levels in (1, 2, 4, 10, 90) if len(core) < 1_000_000 else (1, 10):
        body = nested(levels, kind, core)
        exact = depth(json.loads(body, object_pairs_hook=lambda pairs: [value for _, value in pairs]))
        assert Envelope.read(body, max_depth=exact).body == body
        if exact > 1:
            assert complaint(body, max_depth=exact - 1) == f"body: member 'a': nested too deep, at most {exact - 1} levels are read"


def test_one_hundred_and_twenty_eight_levels_are_read_and_one_more_is_not() -> None:
    for kind in (ARRAY, OBJECT):
        assert Envelope.read(nested(128, kind)).get("a") is not None
        assert complaint(nested(129, kind)) == "body: member 'a': nested too deep, at most 128 levels are read"


def test_depth_counts_the_body_itself() -> None:
    assert Envelope.read(b'{"a":1}', max_depth=1).members.keys() == {"a"}
    assert "too deep" in complaint(b'{"a":[]}', max_depth=1)


@pytest.mark.parametrize("body", [nested(100_000, ARRAY), nested(100_000, OBJECT), b'{"a":' * 100_000, b"[" * 100_000])
def test_bottomless_nesting_is_refused_not_a_crash(body: bytes) -> None:
    assert complaint(body) in (
        "body: nested too deep, at most 128 levels are read",
        "body: Expected `object`, got `array`, at byte 0 (line 1, column 1)",
    )


def test_what_a_repeated_key_of_the_body_hides_counts_too() -> None:
    for kind in (ARRAY, OBJECT):
        deep = nested(127, kind)
        assert Envelope.read(b'{"a":%s,"a":1}' % deep).get("a") == b"1"
        assert complaint(b'{"a":[%s],"a":1}' % deep) == "body: nested too deep, at most 128 levels are read"


def test_white_space_between_members_is_not_taken_for_depth() -> None:
    body = b'{ "a":%s,%s"b":{"c":[1],%s"d":[2]} }' % (nested(127, ARRAY), b" " * 1000, b"\n" * 1000)
    assert Envelope.read(body).body == body


def test_many_shallow_members_are_not_deep() -> None:
    body = json.dumps({f"k{n}": [{"a": [n, {}]}] for n in range(3000)}).encode()
    assert len(Envelope.read(body, max_depth=5).members) == 3000
    assert "too deep" in complaint(body, max_depth=4)


def test_the_error_shows_no_more_of_a_name_than_is_needed_to_find_it() -> None:
    body = json.dumps({"é" * 1000: [[[]]]}).encode()
    assert complaint(body, max_depth=2) == "body: member '" + "\\xe9" * 64 + "': nested too deep, at most 2 levels are read"


# ---- numbers and keys ------------------------------------------------------------------------------------------------------------

DIGITS = b"1" * MAX_DIGITS
FEW, MANY = DIGITS[: MAX_DIGITS // 2], DIGITS[: MAX_DIGITS // 2 + 1]


@pytest.mark.parametrize("pad", [b"", b" " * 7, b" " * 49, b" " * 200])
@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (DIGITS, DIGITS + b"1"),
        (b"-" + DIGITS, b"-" + DIGITS + b"1"),
        (FEW + b"." + FEW, FEW + b"." + MANY),
        (b"-" + FEW + b".5e-" + FEW[:-1], b"-" + FEW + b".5E+" + FEW),
        (b"[" + DIGITS + b"," + DIGITS + b"]", b"[1," + DIGITS + b"," + DIGITS + b"0]"),
    ],
)
def test_numbers_may_have_four_hundred_digits(pad: bytes, good: bytes, bad: bytes) -> None:
    for frame in (b'{%s"a":%s}', b'{"b":"\\"\\\\",%s"a":{"x":[%s]}}', b'{"b":"' + DIGITS * 2 + b'",%s"a":%s,"c":""}'):
        assert Envelope.read(frame % (pad, good)).get("a") is not None
        assert complaint(frame % (pad, bad)) == "body: a number with more than 400 digits"


def test_digits_in_strings_are_text() -> None:
    for text in (DIGITS * 5, b'\\"' + DIGITS * 5 + b"\\\\", b"- " * 300 + b"-" * 900 + b"." * 900):
        assert Envelope.read(b'{"a":"","b":["%s"],"c":{"%s":1}}' % (text, text)).get("a") == b'""'


def test_there_is_a_limit_to_keys() -> None:
    keys = b",".join(b'"%d":1' % n for n in range(MAX_KEYS))
    assert len(Envelope.read(b"{%s}" % keys).members) == MAX_KEYS
    assert complaint(b'{%s,"one more":1}' % keys) == "body: more than 250000 keys"
    assert complaint(b'{"nested":{%s}}' % keys) == "body: more than 250000 keys"
    assert len(Envelope.read(b"{%s}" % keys.replace(b":1", b':":"', 1)).members) == MAX_KEYS


def test_colons_in_strings_are_not_keys() -> None:
    text = b'\\":' * (MAX_KEYS + 1)
    assert Envelope.read(b'{"a":"%s"}' % text).get("a") == b'"%s"' % text


# ---- replacing -------------------------------------------------------------------------------------------------------------------

BODY = b' {"model" : "a\\u0062c" ,\n  "n":1.50, "tools":[ {"model":"x"} ] ,"\xc3\xa9":"}" } \n'


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, BODY),
        ({"absent": None}, BODY),
        ({"model": b'"y"'}, BODY.replace(b'"a\\u0062c"', b'"y"')),
        ({"n": b"2", "tools": b"[]"}, BODY.replace(b"1.50", b"2").replace(b'[ {"model":"x"} ]', b"[]")),
        ({"model": None}, BODY.replace(b'"model" : "a\\u0062c" ,', b"")),
        ({"n": None}, BODY.replace(b'\n  "n":1.50,', b"")),
        ({"é": None}, BODY.replace(b',"\xc3\xa9":"}" }', b"}")),
        ({"n": None, "tools": None}, BODY.replace(b'\n  "n":1.50, "tools":[ {"model":"x"} ] ,', b"")),
        ({"stream": b"true"}, BODY.replace(b" } \n", b' ,"stream":true} \n')),
        ({"b": b"1", 'a"\n': b"2", "c": None}, BODY.replace(b" } \n", b' ,"b":1,"a\\"\\n":2} \n')),
        ({"model": None, "n": None, "tools": None, "é": None}, b" {} \n"),
        ({"model": None, "n": None, "tools": None, "é": None, "x": b"{}"}, b' {"x":{}} \n'),
    ],
)
def test_only_what_changes_is_touched(changes: dict[str, bytes | None], expected: bytes) -> None:
    assert Envelope.read(BODY).replace(changes) == expected


def test_an_empty_object_can_get_members() -> None:
    envelope = Envelope.read(b"{ }")
    assert (envelope.replace({}), envelope.replace({"a": None}), envelope.replace({"a": b"1"})) == (b"{ }", b"{ }", b'{"a":1}')


@pytest.mark.parametrize(
    "first", [b"1", b"10", b"1.0", b"1e1", b'"x"', b'"}"', b"[1]", b'{"m":[1,{"m":"\\"}"}]}', b"null", b'"\xc3\xa9\\\\"']
)
@pytest.mark.parametrize("last", [b"1", b"10", b'"x"', b"[1]", b"[1,2]", b"null"])
def test_of_equal_keys_the_last_is_changed_and_the_others_go(first: bytes, last: bytes) -> None:
    envelope = Envelope.read(b'{"m":%s,"a":0 , "\\u006d" : %s,"b":1,"m":%s ,"c":2}' % (first, first, last))
    assert envelope.replace({"m": b"9"}) == b'{"a":0 ,"b":1,"m":9 ,"c":2}'
    assert envelope.replace({"m": None}) == b'{"a":0 ,"b":1,"c":2}'
    assert envelope.replace({"a": b"9"}) == b'{"m":%s,"a":9 , "\\u006d" : %s,"b":1,"m":%s ,"c":2}' % (first, first, last)


@pytest.mark.parametrize(
    ("body", "repeated"),
    [
        (b"{}", set()),
        (b'{"a":1,"b":2}', set()),
        (b'{"":0,"":1}', {""}),
        (b'{"a":1,"a":2}', {"a"}),
        (b'{"a":1,"\\u0061":2,"b":3}', {"a"}),
        (b'{"a" : {"a":1,"a":2} ,\n  "b" : "\\u0061"}', set()),
        (b'{"a":1,"b":2,"a":3,"b":[4],"c":"\xc3\xa9"}', {"a", "b"}),
        (b'{"a":{"a":[1]},"a":{"a":[1]},"c":1}', {"a"}),
    ],
)
def test_members_that_stand_more_than_once_are_found(body: bytes, repeated: set[str]) -> None:
    assert Envelope.read(body).repeated() == repeated


def test_a_key_that_is_spelled_with_escapes_keeps_its_spelling() -> None:
    assert Envelope.read(b'{"\\u006dodel":1,"a\\"b":2}').replace({"model": b"3", 'a"b': b"4"}) == b'{"\\u006dodel":3,"a\\"b":4}'


def test_a_mended_body_is_what_gets_changed() -> None:
    envelope = Envelope.read(b'\xef\xbb\xbf{"a":"\\ud83d","model":"x"}')
    assert envelope.replace({"model": b'"y"'}) == b'{"a":"\\ufffd","model":"y"}'


# ---- properties ------------------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "model", "é", 'q"\\', ""])
SPACE = st.sampled_from(["", " ", "\n  ", "\t\r\n"])
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**20), 10**20),
        st.sampled_from([0.5, -1e300, 1e-7]),
        st.text(max_size=10),
        st.sampled_from(['"', "\\", "\\ud83d", "}{][", "😀"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)
CHANGES = st.dictionaries(NAMES, st.one_of(st.none(), VALUES.map(lambda value: json.dumps(value).encode())))


@st.composite
def spelled(draw: st.DrawFn) -> list[tuple[str, str, str]]:
    """Members as (name, key as text, value as text), each with white space around and in one of several spellings."""
    result = []
    for name, value in draw(st.lists(st.tuples(NAMES, VALUES), max_size=6)):
        ascii_only = draw(st.booleans())
        key = "".join(f"\\u{ord(c):04x}" for c in name) if draw(st.booleans()) else json.dumps(name, ensure_ascii=ascii_only)[1:-1]
        text = json.dumps(value, ensure_ascii=ascii_only, indent=draw(st.sampled_from([None, 1])))
        result.append((name, f'{draw(SPACE)}"{key}"{draw(SPACE)}:{draw(SPACE)}', text + draw(SPACE)))
    return result


@given(spelled(), SPACE, SPACE, CHANGES)
@example([("a", '"a":', "1"), ("a", '"a":', "12"), ("a", '"a":', "1")], "", "", {"a": b"2"})
def test_replacing_means_what_it_says_and_keeps_every_other_byte(
    spelling: list[tuple[str, str, str]], before: str, after: str, changes: dict[str, bytes | None]
) -> None:
    body = (before + "{" + ",".join(key + value for _, key, value in spelling) + "}" + after).encode()
    envelope = Envelope.read(body)
    original = json.loads(body)
    assert {name: json.loads(bytes(value)) for name, value in envelope.members.items()} == original
    changed = envelope.replace(changes)

    expected = dict(original)
    for name, value in changes.items():
        expected.pop(name, None) if value is None else expected.update({name: json.loads(value)})
    assert json.loads(changed) == expected
    assert msgspec.json.decode(changed) == expected

    last = {name: number for number, (name, _, _) in enumerate(spelling)}
    parts = []
    for number, (name, key, text) in enumerate(spelling):
        new = changes.get(name)
        if name not in changes:
            parts.append(key + text)
        elif new is not None and number == last[name]:
            parts.append(key + new.decode() + text[len(text.rstrip()) :])
    parts += [
        msgspec.json.encode(name).decode() + ":" + new.decode() for name, new in changes.items() if new is not None and name not in last
    ]
    assert changed.decode() == before + "{" + ",".join(parts) + "}" + after
    assert envelope.replace({}) == body


@given(spelled())
def test_no_repeated_member_is_missed(spelling: list[tuple[str, str, str]]) -> None:
    names = [name for name, _, _ in spelling]
    body = "{" + ",".join(key + value for _, key, value in spelling) + "}"
    assert Envelope.read(body.encode()).repeated() == {name for name in names if names.count(name) > 1}


def is_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False


@given(spelled(), st.sets(st.integers(0, 10_000)), st.sampled_from(["{", "}", "[", "]", '"', "\\", ",", "x", "\\ud800", "\x00"]))
def test_damaged_bodies_are_refused_or_still_json(spelling: list[tuple[str, str, str]], places: set[int], damage: str) -> None:
    text = "{" + ",".join(key + value for _, key, value in spelling) + "}"
    for place in places:
        at = place % (len(text) + 1)
        body = (text[:at] + damage + text[at:]).encode()
        try:
            envelope = Envelope.read(body)
        except BadRequest:
            assert not is_object(body)
        else:
            assert json.loads(envelope.body).keys() == envelope.members.keys()


@given(st.lists(st.sampled_from(["[", "]", "{", "}", '"', "\\", "x"]), max_size=12).map("".join), st.integers(1, 12), st.integers(1, 12))
def test_brackets_in_strings_do_not_count(noise: str, levels: int, limit: int) -> None:
    text = json.dumps([noise, [noise], {noise: noise}] * 60)  # enough to reach the limit if they did
    body = nested(levels, ARRAY, text.encode())
    if levels + 2 <= limit:
        assert Envelope.read(body, max_depth=limit).body == body
    else:
        assert "too deep" in complaint(body, max_depth=limit)
