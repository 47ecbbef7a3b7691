"""JSON as both wires use it: what does not fit is named, what is unknown is noticed, what is broken is mended or refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from core.errors import BadRequest
from core.wire import chat, messages
from core.wire.codec import (
    ABSENT,
    Closed,
    compact,
    decode_lenient,
    decoder,
    encode,
    given,
    is_object,
    members,
    mend_surrogates,
    plain,
    read,
    text_of,
    value_of,
    whole_number,
)


class Leaf(Closed, tag="leaf"):
    size: int
    word: str = ""


class Branch(Closed, tag="branch"):
    parts: list[Leaf | Branch]


class Option(msgspec.Struct):
    """Open: what it does not know stays."""

    on: bool = False


class Tree(Closed):
    parts: list[Leaf | Branch] | str | None = None
    option: Option | None = None
    limit: int | None = None
    exact: int = 0
    plain: Leaf | None = None
    names: list[str] | None = None


def seen(body: object) -> tuple[Any, list[str]]:
    found, unknown = read(Tree, body if isinstance(body, bytes) else json.dumps(body).encode())
    return json.loads(encode(found)), unknown


LEAF = {"type": "leaf", "size": 1}


@pytest.mark.parametrize(
    ("body", "kept", "unknown"),
    [
        pytest.param({}, {}, [], id="nothing"),
        pytest.param({"parts": [LEAF]}, {"parts": [LEAF]}, [], id="what is known"),
        pytest.param({"parts": None}, {}, [], id="null"),
        pytest.param({"parts": "text"}, {"parts": "text"}, [], id="the other form of a union"),
        pytest.param({"new": 1, "parts": [LEAF]}, {"parts": [LEAF]}, ["new"], id="an unknown member"),
        pytest.param({"parts": [{**LEAF, "new": {"a": [1]}}]}, {"parts": [LEAF]}, ["parts[0].new"], id="an unknown member below"),
        pytest.param({"parts": [LEAF, {"type": "fruit", "x": 1}, LEAF]}, {"parts": [LEAF, LEAF]}, ['parts[1].type="fruit"'], id="an unknown type in a list"),
        pytest.param({"parts": [{"type": "branch", "parts": [{"type": "branch", "parts": [{**LEAF, "new": 1}]}]}]}, {"parts": [{"type": "branch", "parts": [{"type": "branch", "parts": [LEAF]}]}]}, ["parts[0].parts[0].parts[0].new"], id="at any depth"),
        pytest.param({"parts": {**LEAF, "new": 1}}, {"parts": [LEAF]}, ["parts[0].new"], id="one object where a list belongs"),
        pytest.param({"parts": {"type": "fruit"}}, {}, ['parts[0].type="fruit"'], id="one object of an unknown type where a list belongs"),
        pytest.param({"option": {"on": True, "vendor": 1}, "new": 1}, {"option": {"on": True}}, ["new"], id="an open type ignores what it does not know"),
        pytest.param({"limit": 8192.0}, {"limit": 8192}, [], id="a float that is whole"),
        pytest.param({"limit": "8192", "exact": "7"}, {"limit": 8192, "exact": 7}, [], id="a number as text"),
    ],
)  # fmt: skip
def test_a_body_is_read_without_what_is_unknown_which_is_named(body: Any, kept: Any, unknown: list[str]) -> None:
    assert seen(body) == (kept | ({"parts": []} if "fruit" in json.dumps(body) and not kept else {}), unknown)


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        ({"parts": 3}, "parts: expected str | array | null, found int", "parts"),
        ({"parts": [3]}, "parts[0]: expected object, found int", "parts[0]"),
        ({"parts": [{"size": 1}]}, "parts[0].type: this field is required", "parts[0].type"),
        ({"parts": [{"type": 3}]}, "parts[0].type: Expected str", "parts[0].type"),
        ({"parts": [{"type": "leaf"}]}, "parts[0].size: this field is required", "parts[0].size"),
        ({"parts": [{"type": "leaf", "size": "big"}]}, "parts[0].size: expected int, found str", "parts[0].size"),
        ({"parts": [{"type": "leaf", "size": 1, "word": None}]}, "parts[0].word: expected str, found null", "parts[0].word"),
        ({"parts": {"type": "leaf"}}, "parts[0].size: this field is required", "parts[0].size"),
        ({"plain": {"type": "fruit", "size": 1}}, "plain.type: unknown value 'fruit'", "plain.type"),
        ({"parts": [{"type": "branch", "parts": 3}]}, "parts[0].parts: expected array, found int", "parts[0].parts"),
        ({"plain": []}, "plain: expected object | null, found array", "plain"),
        ({"names": {"a": 1}}, "names: expected array | null, found object", "names"),
        ({"names": [1]}, "names[0]: expected str, found int", "names[0]"),
        ({"option": "on"}, "option: expected object | null, found str", "option"),
        ({"limit": 1.5}, "limit: expected int | null, found float", "limit"),
        ({"limit": -1.0}, "limit: expected int | null, found float", "limit"),
        ({"limit": True}, "limit: expected int | null, found bool", "limit"),
        (b'{"limit":1e999}', "limit: Number out of range", "limit"),
        ([], "body: expected object, found array", None),
    ],
)
def test_what_does_not_fit_is_named_with_what_was_found_and_expected(body: Any, message: str, param: str | None) -> None:
    with pytest.raises(BadRequest) as caught:
        seen(body)
    assert (caught.value.message, caught.value.param, caught.value.code) == (message, param, "request_conversion_failed")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nope", b'{"names":["\xff"]}', b'{"names":["\\ud83d"]}', b'{"parts":"x"} 1', b'{"new":' * 5000 + b"1" + b"}" * 5000],
    ids=["empty", "cut", "no JSON", "no UTF-8", "half a pair", "more behind it", "nested without end"],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        seen(body)
    assert caught.value.code == "invalid_json"
    assert caught.value.message.startswith("body: ")


def test_a_body_whose_parts_are_nested_deeper_than_the_stack_is_refused() -> None:
    body = b'{"new":1,"parts":' + b'[{"type":"branch","parts":' * 900 + b"[]" + b"}]" * 900 + b"}"
    with pytest.raises(BadRequest, match="nested too deeply"):
        seen(body)


def test_a_value_in_an_error_is_cut() -> None:
    with pytest.raises(BadRequest) as caught:
        seen({"plain": {"type": "x" * 10_000, "size": 1}})
    assert len(caught.value.message) < 200


# ---------------------------------------------------------------------------------------------------- what upstreams send


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a":1}', {"a": 1}),
        (b'{"a":"\xff"}', {"a": "\ufffd"}),
        (b'{"a":"\\ud83d"}', {"a": "\ufffd"}),
        (b'{"a":"\\udc00\\ud83d\\ude00"}', {"a": "\ufffd\U0001f600"}),
        (b'{"a":"\xff\\ud83d"}', {"a": "\ufffd\ufffd"}),
    ],
)
def test_broken_text_becomes_the_replacement_character(data: bytes, value: object) -> None:
    assert decode_lenient(object, data) == value


@pytest.mark.parametrize(
    "data", [b"", b"nope", b"{", b"[NaN]", b'{"a":Infinity}', b"[" * 5000, b'{"a":"\\ud83d",}', b"\x00\x00\x00"], ids=repr
)
def test_what_cannot_be_mended_is_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_lenient(object, data)
    with pytest.raises(msgspec.DecodeError):
        mend_surrogates(data)


def test_a_wrong_type_stays_a_wrong_type() -> None:
    with pytest.raises(msgspec.ValidationError, match="size"):
        decode_lenient(Leaf, b'{"type":"leaf","size":"x"}')


def test_any_value_is_read_even_numbers_beyond_any_range() -> None:
    assert plain(b'{"a":[1e999,-1e999,1.5,123456789012345678901234567890]}') == {
        "a": [float("inf"), -float("inf"), 1.5, 123456789012345678901234567890]
    }


def test_a_raw_member_that_is_no_text_has_no_value() -> None:
    assert value_of(Raw(b'{"a":["b"]}')) == {"a": ["b"]}
    assert value_of(Raw(b'"\xff"')) is None


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (3, 3), (0, 0), (-1, None), (3.0, 3), (3.9, 3), (-0.5, 0), (-1.0, None), ("3", 3), ("3.5", 3), ("x", None), ("", None), ("nan", None),
        ("1e999", None), (float("inf"), None), (float("nan"), None), (1e30, None), (True, None), (False, None), (None, None), ([], None),
    ],
)  # fmt: skip
def test_a_count_is_read_as_vendors_send_it(value: object, count: int | None) -> None:
    assert whole_number(value) == count


# ---------------------------------------------------------------------------------------------------- small things


def test_a_raw_member_is_given_when_it_was_sent_and_is_not_null() -> None:
    assert [given(raw) for raw in (ABSENT, Raw(b"null"), Raw(b"0"), Raw(b'""'))] == [False, False, True, True]


def test_an_absent_raw_member_is_not_written() -> None:
    tool = messages.Tool(name="n")
    assert encode(tool) == b'{"name":"n"}'
    assert encode(messages.Tool(name="n", input_schema=Raw(b"{}"))) == b'{"name":"n","input_schema":{}}'


def test_compact_json_keeps_its_strings_numbers_and_order() -> None:
    assert compact(Raw(b' { "b" : "a  b" , "a" : [ 1.0 , 1e5 ] } ')) == b'{"b":"a  b","a":[1.0,1e5]}'


def test_text_is_made_of_any_bytes() -> None:
    assert (text_of(Raw(b"\xc3\xbc")), text_of(b"\xff")) == ("ü", "\ufffd")


@pytest.mark.parametrize(
    ("data", "truth"),
    [
        (b"{}", True),
        ("{}", True),
        (b'{"a":1} ', True),
        (b"[]", False),
        (b"", False),
        (b"{", False),
        (b'{"\xff":1}', False),
        (b'{"a":' * 5000, False),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_an_object_is_told_from_everything_else(data: bytes | str, truth: bool) -> None:
    assert is_object(data) is truth


def test_members_are_found_as_they_stand() -> None:
    assert {name: bytes(value) for name, value in members(b'{"a": [ 1 ], "b":"x"}').items()} == {"a": b"[ 1 ]", "b": b'"x"'}
    with pytest.raises(msgspec.DecodeError):
        members(b"[]")


def test_a_decoder_is_built_once() -> None:
    assert decoder(Leaf) is decoder(Leaf)


# ---------------------------------------------------------------------------------------------------- the vocabularies


@pytest.mark.parametrize("kind", [messages.Request, chat.Request])
def test_a_request_is_closed_from_top_to_bottom_so_that_nothing_unknown_passes_in_silence(kind: type) -> None:
    waiting: list[Any] = [msgspec.inspect.type_info(kind)]
    met: set[type] = set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, msgspec.inspect.UnionType):
            waiting.extend(one.types)
        elif isinstance(one, msgspec.inspect.ListType):
            waiting.append(one.item_type)
        elif isinstance(one, msgspec.inspect.StructType) and one.cls not in met:
            met.add(one.cls)
            waiting.extend(field.type for field in one.fields)
    assert {cls for cls in met if not issubclass(cls, Closed) or not cls.__struct_config__.forbid_unknown_fields} == set()
    assert len(met) > 15


@pytest.mark.parametrize("kind", [messages.Answer, messages.Event, chat.Completion])
def test_an_answer_is_open_for_vendors_add_fields_at_any_time(kind: type) -> None:
    minimum = b'{"type":"x","new":{"a":[1]}}'
    assert decode_lenient(kind, minimum) == decode_lenient(kind, b'{"type":"x"}')
