"""Calls and their results as Messages turns: every call answered once, in the very next turn, in the order of the calls."""

from __future__ import annotations

import pytest

from core.translate.conversation_to_messages import NO_RESULT, STRAY_RESULT, parsed_arguments
from tests.core.translate.lifting import (
    HELLO,
    PNG,
    Json,
    assistant,
    call,
    image,
    lifted,
    lossy,
    picture,
    result,
    system,
    text,
    tool,
    translate,
    turns,
    use,
    user,
)  # fmt: skip
from tests.core.translate.messages_rules import violations

MARK = {"type": "ephemeral"}
AB = assistant(None, tool_calls=[call("a"), call("b")])
A_AND_B = assistant([use("a"), use("b")])


# ------------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("arguments", "there"),
    [
        pytest.param('{"b": 1,"a":2}', b'{"b": 1,"a":2}', id="an object, byte for byte"),
        pytest.param(
            '{"n":12345678901234567890123,"f":1.50e+3}', b'{"n":12345678901234567890123,"f":1.50e+3}', id="numbers as they are spelt"
        ),
        pytest.param(r'{"s":"\u00e9\/"}', rb'{"s":"\u00e9\/"}', id="escapes as they are written"),
        pytest.param('{"数":"é"}', '{"数":"é"}'.encode(), id="letters of any script"),
        pytest.param('{"a":1,"a":2}', b'{"a":1,"a":2}', id="a repeated key"),
        pytest.param(None, b"{}", id="none"),
        pytest.param("", b"{}", id="empty"),
        pytest.param(" \n", b"{}", id="blank"),
        pytest.param("[1]", b'{"_raw":"[1]"}', id="a list"),
        pytest.param("null", b'{"_raw":"null"}', id="null"),
        pytest.param('{"a":', b'{"_raw":"{\\"a\\":"}', id="cut off"),
        pytest.param('{"a":NaN}', b'{"_raw":"{\\"a\\":NaN}"}', id="what only looks like JSON"),
        pytest.param(r'{"a":"\ud83d"}', rb'{"_raw":"{\"a\":\"\\ud83d\"}"}', id="half of a surrogate pair"),
        pytest.param("[" * 100_000, b'{"_raw":"' + b"[" * 100_000 + b'"}', id="nested beyond measure"),
    ],
)
def test_arguments_are_an_object_whatever_they_were(arguments: str | None, there: bytes) -> None:
    assert bytes(parsed_arguments(arguments)) == there
    body = translate({"messages": [*HELLO, assistant(tool_calls=[call("a", arguments)]), tool("a", "r")]}).body
    assert b'"name":"f","input":' + there + b"}]" in body


# ------------------------------------------------------------------------------------------------- calls


@pytest.mark.parametrize(
    ("answer", "blocks"),
    [
        pytest.param(assistant("t", tool_calls=[call("a", '{"x":1}')]), [text("t"), use("a", {"x": 1})], id="the text first"),
        pytest.param(assistant(" ", tool_calls=[call("a")]), [use("a")], id="no blank text before a call"),
        pytest.param(
            assistant("t", tool_calls=[call("a")], reasoning_content="r"), [{"type": "thinking", "thinking": "r", "signature": ""}, text("t"), use("a")],
            id="reasoning before both",
        ),
        pytest.param(assistant(tool_calls=[{"id": "a", "custom": {"name": "f", "input": 'x"'}}]), [use("a", {"input": 'x"'})], id="a custom call is wrapped"),
        pytest.param(assistant("t", tool_calls=[call("a")], cache_control=MARK), [text("t"), use("a") | {"cache_control": MARK}], id="a breakpoint goes to the last call"),
        pytest.param(assistant(tool_calls=[call("a") | {"index": 0}]), [use("a")], id="an index copied out of a stream"),
    ],
)  # fmt: skip
def test_calls_come_last_in_their_turn(answer: Json, blocks: list[Json]) -> None:
    assert turns([*HELLO, answer, tool("a", "r")])[1] == assistant(blocks)


@pytest.mark.parametrize(
    ("said", "there"),
    [
        pytest.param(["toolu_1", "call-2"], ["toolu_1", "call-2"], id="legal ones stay"),
        pytest.param(["functions.Bash:0"], ["functions_Bash_0"], id="other characters become underscores"),
        pytest.param(["a.b", "a_b", "a:b"], ["a_b", "a_b_2", "a_b_3"], id="what becomes equal is told apart"),
        pytest.param(["a", "a"], ["a", "a_2"], id="so is what was equal"),
        pytest.param([None, ""], ["call_1_0", "call_1_1"], id="missing ones are made up"),
        pytest.param([None, "call_1_0"], ["call_1_0", "call_1_0_2"], id="and do not meet real ones"),
        pytest.param(["x" * 65], ["x" * 55 + "_9537c5fd"], id="long ones are cut, with a digest"),
    ],
)
def test_ids_are_legal_and_occur_once(said: list[str | None], there: list[str]) -> None:
    made = turns([*HELLO, assistant(tool_calls=[call(one) for one in said]), *(tool(one, "r") for one in said)])
    assert [block["id"] for block in made[1]["content"]] == there
    assert [block["tool_use_id"] for block in made[2]["content"]] == there


def test_an_id_that_comes_back_in_a_later_turn_is_another_one() -> None:
    made = turns([*HELLO, assistant(tool_calls=[call("a")]), tool("a", "1"), assistant(tool_calls=[call("a")]), tool("a", "2")])
    assert made[1:] == [assistant([use("a")]), user([result("a", "1")]), assistant([use("a_2")]), user([result("a_2", "2")])]


def test_a_cut_id_that_is_taken_stays_within_the_limit() -> None:
    made = turns([*HELLO, assistant(tool_calls=[call("x" * 64), call("x" * 64)]), tool("x" * 64, "1"), tool("x" * 64, "2")])
    assert [block["id"] for block in made[1]["content"]] == ["x" * 64, "x" * 62 + "_2"]


# ------------------------------------------------------------------------------------------------- results


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        pytest.param([tool("a", "1"), tool("b", "2")], [result("a", "1"), result("b", "2")], id="in order"),
        pytest.param([tool("b", "2"), tool("a", "1")], [result("a", "1"), result("b", "2")], id="out of order: that of the calls"),
        pytest.param([tool(None, "1"), tool("", "2")], [result("a", "1"), result("b", "2")], id="without ids: one after the other"),
        pytest.param([tool(None, "1", name="f"), tool("b", "2")], [result("a", "1"), result("b", "2")], id="a tool's name is no id"),
        pytest.param([tool("a", "1"), tool(None, "2")], [result("a", "1"), result("b", "2")], id="without an id: the first call that waits"),
        pytest.param(
            [tool("a", "1"), tool("a", "3"), tool("b", "2"), tool("a", "4")],
            [result("a", [text("1"), text("3"), text("4")]), result("b", "2")], id="several of one id are joined",
        ),
        pytest.param([tool("a", ""), tool("a", "1"), tool("b", None)], [result("a", "1"), result("b", "")], id="empty ones add nothing"),
        pytest.param([tool("a", [text("1"), text(" ")]), tool("b", [])], [result("a", "1"), result("b", "")], id="blank parts neither"),
        pytest.param(
            [tool("a", [text("1"), image(f"data:image/png;base64,{PNG}")]), tool("b", "2")],
            [result("a", [text("1"), picture()]), result("b", "2")], id="images stay inside",
        ),
        pytest.param(
            [tool("a", "1", cache_control=MARK), tool("b", [text("2", cache_control=MARK), text("3")])],
            [result("a", "1", cache_control=MARK), result("b", [text("2"), text("3")], cache_control=MARK)], id="breakpoints are at their ends",
        ),
        pytest.param(
            [tool("a", "1", cache_control=MARK), tool("a", "3"), tool("b", "2")],
            [result("a", [text("1"), text("3")], cache_control=MARK), result("b", "2")], id="also of what was joined",
        ),
        pytest.param(
            [tool("a", "1"), tool("b", "2", name="f"), user("u")], [result("a", "1"), result("b", "2"), text("u")],
            id="before what the user says next",
        ),
    ],
)  # fmt: skip
def test_results_are_one_user_turn_in_the_order_of_the_calls(results: list[Json], expected: list[Json]) -> None:
    assert turns([*HELLO, AB, *results]) == [*HELLO, A_AND_B, user(expected)]


@pytest.mark.parametrize(
    ("after", "expected", "losses"),
    [
        pytest.param(
            [tool("b", "2")], [result("a", NO_RESULT, is_error=True), result("b", "2")],
            [("messages[1].tool_calls[0]", "tool call without result")], id="missing ones are made",
        ),
        pytest.param(
            [user("u")], [result("a", NO_RESULT, is_error=True), result("b", NO_RESULT, is_error=True), text("u")],
            [("messages[1].tool_calls[0]", "tool call without result"), ("messages[1].tool_calls[1]", "tool call without result")], id="all of them",
        ),
        pytest.param(
            [tool("a", "1"), tool("z", "3"), tool("b", "2")], [result("a", "1"), result("b", "2"), text(STRAY_RESULT), text("3")],
            [("messages[3]", "tool message without call")], id="a stray one between does not disturb the others",
        ),
        pytest.param(
            [tool("a", "1"), tool("b", "2"), tool(None, "3")], [result("a", "1"), result("b", "2"), text(STRAY_RESULT), text("3")],
            [("messages[4]", "tool message without call")], id="one too many without an id",
        ),
    ],
)  # fmt: skip
def test_what_does_not_match_is_mended_and_told(after: list[Json], expected: list[Json], losses: list[tuple[str, str]]) -> None:
    made, lost = lossy({"messages": [*HELLO, AB, *after]})
    assert made["messages"] == [*HELLO, A_AND_B, user(expected)]
    assert lost == losses
    assert violations(made) == []


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param([*HELLO, tool("z", "1")], [user([text("Hello"), text(STRAY_RESULT), text("1")])], id="without any call"),
        pytest.param(
            [*HELLO, assistant("t"), tool("a", "1"), user("u")],
            [*HELLO, assistant("t"), user([text(STRAY_RESULT), text("1"), text("u")])], id="after an answer that called nothing",
        ),
        pytest.param([{"role": "function", "name": "f", "content": "1"}, *HELLO], [user([text(STRAY_RESULT), text("1"), text("Hello")])], id="of a function"),
    ],
)  # fmt: skip
def test_a_result_without_its_call_is_text_of_the_users(messages: list[Json], expected: list[Json]) -> None:
    made, losses = lossy({"messages": messages})
    assert made["messages"] == expected
    assert [what for _, what in losses] == ["tool message without call"]


@pytest.mark.parametrize(
    ("target", "messages", "expected"),
    [
        pytest.param(
            "messages-relay", [AB, system("s"), tool("a", "1"), tool("b", "2")],
            [user([result("a", "1"), result("b", "2"), text("<system>\ns\n</system>")])], id="merged behind the results",
        ),
        pytest.param(
            "messages-relay", [AB, tool("a", "1"), system("s"), system("t"), tool("b", "2"), user("u")],
            [user([result("a", "1"), result("b", "2"), text("<system>\ns\n</system>"), text("<system>\nt\n</system>"), text("u")])],
            id="also between two of them",
        ),
        pytest.param(
            "anthropic", [AB, tool("a", "1"), system("s"), tool("b", "2"), assistant("t")],
            [user([result("a", "1"), result("b", "2")]), system("s"), assistant("t")], id="a turn of its own where an answer follows",
        ),
        pytest.param("anthropic", [AB, system(" "), tool("a", "1"), tool("b", "2")], [user([result("a", "1"), result("b", "2")])], id="blank ones are none"),
    ],
)  # fmt: skip
def test_instructions_never_stand_between_a_call_and_its_results(target: str, messages: list[Json], expected: list[Json]) -> None:
    assert turns([*HELLO, *messages], target) == [*HELLO, A_AND_B, *expected]


# ------------------------------------------------------------------------------------------------- functions, as before tools


def test_function_calls_are_calls_with_ids_of_the_proxys_own() -> None:
    asked = assistant(None, function_call={"name": "f", "arguments": '{"x":1}'})
    answered = {"role": "function", "name": "f", "content": "r"}
    made = turns([*HELLO, asked, answered, asked, answered, user("u")])
    assert made == [
        *HELLO,
        assistant([use("call_1_function", {"x": 1})]),
        user([result("call_1_function", "r")]),
        assistant([use("call_3_function", {"x": 1})]),
        user([result("call_3_function", "r"), text("u")]),
    ]


def test_a_function_answers_by_its_name_alone() -> None:
    asked = assistant(None, function_call={"name": "f"})
    made, losses = lossy({"messages": [*HELLO, asked, {"role": "function", "name": "g", "content": "r"}]})
    assert made["messages"][2]["content"] == [result("call_1_function", NO_RESULT, is_error=True), text(STRAY_RESULT), text("r")]
    assert losses == [("messages[2]", "tool message without call"), ("messages[1].function_call", "tool call without result")]


def test_a_function_without_a_name_answers_the_call_that_waits() -> None:
    made = turns([*HELLO, assistant(None, function_call={"name": "f"}), {"role": "function", "content": "r"}])
    assert made[2] == user([result("call_1_function", "r")])


def test_ten_thousand_calls_of_one_id_get_their_results_in_order() -> None:
    # A search through all of them for each would take minutes.
    many = range(10_000)
    made = turns([*HELLO, assistant(tool_calls=[call("a") for _ in many]), *(tool("a", str(number)) for number in many)])
    assert [block["content"] for block in made[2]["content"]] == [str(number) for number in many]
    assert [block["tool_use_id"] for block in made[2]["content"]] == [block["id"] for block in made[1]["content"]]


def test_arguments_that_are_an_object_are_the_input() -> None:
    call_ = {"id": "a", "type": "function", "function": {"name": "f", "arguments": {"z": 1.50, "a": []}}}
    found = lifted(
        {"messages": [user("q"), {"role": "assistant", "tool_calls": [call_]}, {"role": "tool", "tool_call_id": "a", "content": "r"}]}
    )
    assert found["messages"][1]["content"] == [{"type": "tool_use", "id": "a", "name": "f", "input": {"z": 1.50, "a": []}}]


def test_a_picture_whose_url_stands_bare_is_a_picture() -> None:
    found = lifted({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "https://example.com/a.png"}]}]})
    assert found["messages"][0]["content"] == [{"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}]
