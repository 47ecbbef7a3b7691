"""Turns of a Messages conversation on their way to chat: system text, pairing of calls and results, text, reasoning."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.translate.conversation_to_chat import NO_RESULT, ORPHAN
from core.wire.codec import compact
from tests.core.translate.lowering import (
    HELLO,
    Json,
    assistant,
    call,
    called,
    dialect,
    lossy,
    lowered,
    refused,
    result,
    text,
    told,
    translate,
    turns,
    user,
)

BILLING = "x-anthropic-billing-header: cc_version=2.1; cch=a1b2c;"
EPHEMERAL = {"type": "ephemeral"}
ASKED = {"role": "user", "content": "Hello"}


def system_of(system: Any, target: Any = "glm-relay") -> Any:
    first = lowered({"system": system}, target)["messages"][0]
    return first["content"] if first["role"] == "system" else None


# ---------------------------------------------------------------------------------------------------- the system prompt


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        pytest.param("Be brief.", "Be brief.", id="a string"),
        pytest.param([text("Be brief.")], "Be brief.", id="one block"),
        pytest.param([text("a"), text("b")], "a\n\nb", id="blocks are joined, always the same way"),
        pytest.param([text("a"), text(" \n"), text("b")], "a\n\nb", id="blank blocks are dropped"),
        pytest.param("", None, id="an empty string is none"),
        pytest.param([], None, id="an empty list is none"),
        pytest.param(" ", None, id="a blank string is none"),
        pytest.param([text(BILLING), text("a")], "a", id="the billing block is dropped"),
        pytest.param(BILLING, None, id="the billing block alone is none"),
        pytest.param([text(f"{BILLING}\nBe brief.\nBe kind.")], "Be brief.\nBe kind.", id="the billing line is dropped, the rest kept"),
        pytest.param(f"Be brief.\n{BILLING}", f"Be brief.\n{BILLING}", id="a billing line elsewhere is somebody's text"),
        pytest.param([text("a", cache_control=EPHEMERAL)], "a", id="cache marks are stripped"),
    ],
)
def test_the_system_prompt_is_one_message_at_the_front(system: Any, expected: Any) -> None:
    assert system_of(system) == expected


@pytest.mark.parametrize(
    ("target", "mark", "expected"),
    [
        pytest.param(
            "openrouter",
            {"type": "ephemeral", "ttl": "1h", "scope": "global"},
            {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
            id="kept",
        ),
        pytest.param(
            dialect("generic", cache_control=dialect("glm-messages").cache_control),
            {"type": "ephemeral", "ttl": "1h"},
            {"cache_control": EPHEMERAL},
            id="kept without ttl",
        ),
        pytest.param("openai-caching", EPHEMERAL, {"prompt_cache_breakpoint": {"mode": "explicit"}}, id="a breakpoint of OpenAI"),
        pytest.param(
            "openai-caching",
            {"type": "ephemeral", "ttl": "1h"},
            {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
            id="a long one",
        ),
    ],
)
def test_cache_marks_go_where_they_are_known(target: Any, mark: Json, expected: Json) -> None:
    request = {
        "system": [text("a"), text("b", cache_control=mark)],
        "messages": [
            user(text("c", cache_control=mark)),
            assistant(call()),
            user(
                result(content=[text("d")], cache_control=mark),
                {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}, "cache_control": mark},
            ),
        ],
    }
    found = lowered(request, target)["messages"]
    assert found[0] == {"role": "system", "content": [text("a"), {**text("b"), **expected}]}
    assert found[1] == {"role": "user", "content": [{**text("c"), **expected}]}
    assert found[3] == told([{**text("d"), **expected}])
    assert found[4]["content"] == [{"type": "image_url", "image_url": {"url": "https://x/y.png"}, **expected}]


def test_a_mark_on_a_blank_result_marks_nothing() -> None:
    found = turns([*HELLO, assistant(call()), user(result(content=" ", cache_control=EPHEMERAL))], "openrouter")
    assert found[-1] == told("")


# ---------------------------------------------------------------------------------------------------- system turns

INLINE, FOLD = "glm", "llama.cpp"
RULE = {"role": "system", "content": "Rule."}


@pytest.mark.parametrize(
    ("target", "messages", "expected"),
    [
        *(
            pytest.param(target, [RULE, ASKED], [RULE, ASKED], id=f"before any turn it is the system prompt ({target})")
            for target in (INLINE, FOLD)
        ),
        pytest.param(FOLD, [RULE, RULE, ASKED], [{"role": "system", "content": "Rule.\n\nRule."}, ASKED], id="two of them are one prompt"),
        pytest.param(INLINE, [ASKED, RULE], [ASKED, RULE], id="after a user turn: kept"),
        pytest.param(FOLD, [ASKED, RULE], [{"role": "user", "content": "Hello\n\nRule."}], id="after a user turn: folded into it"),
        pytest.param(
            FOLD,
            [user(text("a"), text("b")), RULE],
            [{"role": "user", "content": [text("a"), text("b"), text("Rule.")]}],
            id="folded into a list of parts",
        ),
        pytest.param(
            INLINE,
            [ASKED, {"role": "assistant", "content": "Hi"}, RULE, ASKED],
            [ASKED, {"role": "assistant", "content": "Hi"}, RULE, ASKED],
            id="after an answer: kept",
        ),
        pytest.param(
            FOLD,
            [ASKED, {"role": "assistant", "content": "Hi"}, RULE, ASKED],
            [ASKED, {"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Rule."}, ASKED],
            id="after an answer: a user turn of its own",
        ),
        pytest.param(
            INLINE,
            [ASKED, assistant(call()), RULE, user(result())],
            [ASKED, called(), told("found"), RULE],
            id="between call and result: kept behind the result",
        ),
        pytest.param(
            FOLD,
            [ASKED, assistant(call()), RULE, user(result())],
            [ASKED, called(), told("found\n\nRule.")],
            id="between call and result: folded into the result",
        ),
        pytest.param(
            FOLD,
            [ASKED, assistant(call()), user(result(content="")), RULE],
            [ASKED, called(), told("Rule.")],
            id="folded into an empty result",
        ),
        pytest.param(INLINE, [ASKED, {"role": "system", "content": " "}], [ASKED], id="blank instructions are none"),
        pytest.param(INLINE, [ASKED, {"role": "system", "content": None}], [ASKED], id="no instructions are none"),
        pytest.param(
            INLINE, [ASKED, {"role": "system", "content": f"{BILLING}\nRule."}], [ASKED, RULE], id="the billing line is dropped here too"
        ),
        pytest.param(
            INLINE,
            [ASKED, {"role": "system", "content": [text("a"), text(""), text("b")]}],
            [ASKED, {"role": "system", "content": "a\n\nb"}],
            id="blocks",
        ),
    ],
)
def test_system_turns_are_kept_or_folded_but_never_hoisted(target: str, messages: list[Json], expected: list[Json]) -> None:
    assert turns(messages, target) == expected


def test_a_system_turn_before_any_turn_extends_a_prompt_with_cache_marks() -> None:
    found = lowered({"system": [text("a", cache_control=EPHEMERAL)], "messages": [RULE, ASKED]}, "openrouter")
    assert found["messages"][0]["content"] == [text("a", cache_control=EPHEMERAL), text("Rule.")]


@pytest.mark.parametrize(
    ("clear_at", "later", "kept"),
    [("next_user_message", [ASKED], False), ("next_user_message", [], True), ("never", [ASKED], True), (None, [ASKED], True)],
)
def test_instructions_expire_once_the_user_spoke_again(clear_at: str | None, later: list[Json], kept: bool) -> None:
    found = turns([ASKED, {**RULE, "clear_at": clear_at}, *later])
    assert (RULE in found) is kept


def test_an_effort_of_a_system_turn_rules_and_the_last_one_wins_even_if_its_text_expired() -> None:
    low, high = ({**RULE, "output_config": {"effort": effort}, "clear_at": "next_user_message"} for effort in ("low", "high"))
    request = {"messages": [low, ASKED, high, ASKED], "output_config": {"effort": "medium"}}
    assert lowered(request, "openai-reasoning")["reasoning_effort"] == "high"
    assert lowered({**request, "messages": [ASKED, {**RULE, "output_config": {}}]}, "openai-reasoning")["reasoning_effort"] == "medium"


def test_what_is_no_text_in_a_system_turn_is_reported() -> None:
    found, losses = lossy({"messages": [ASKED, {"role": "system", "content": [text("a", citations=[{"type": "x"}]), call()]}]})
    assert found["messages"] == [ASKED, {"role": "system", "content": "a"}]
    assert losses == [("messages[1].content[0].citations", "citations"), ("messages[1].content[1]", "tool_use")]


@pytest.mark.parametrize("role", ["user", "assistant"])
@pytest.mark.parametrize(
    "members", [{"clear_at": "never"}, {"output_config": {"effort": "low"}}, {"clear_at": "never", "output_config": {}}]
)
def test_members_of_system_turns_elsewhere_are_reported(role: str, members: Json) -> None:
    _, losses = lossy({"messages": [ASKED, {"role": role, "content": "x", **members}, ASKED]})
    assert losses == [(f"messages[1].{name}", name) for name in members]


# ---------------------------------------------------------------------------------------------------- calls and results


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param(
            [ASKED, assistant(call()), user(text("and?"), result())],
            [ASKED, called(), told("found"), {"role": "user", "content": "and?"}],
            id="results go before the user's text",
        ),
        pytest.param(
            [ASKED, assistant(call("a"), call("b")), user(result("b", "B"), result("a", "A"))],
            [ASKED, called("a", "b"), told("B", "b"), told("A", "a")],
            id="parallel calls, answered in the client's order",
        ),
        pytest.param(
            [ASKED, assistant(call("a"), call("b")), user(result("a", "A"), text("x")), user(result("b", "B"), text("y"))],
            [ASKED, called("a", "b"), told("A", "a"), told("B", "b"), {"role": "user", "content": "x"}, {"role": "user", "content": "y"}],
            id="results spread over user turns",
        ),
        pytest.param(
            [ASKED, assistant(call()), user(result()), assistant(call()), user(result(content="again"))],
            [ASKED, called(), told("found"), called(), told("again")],
            id="one id in two turns",
        ),
        pytest.param([ASKED, ASKED], [ASKED, ASKED], id="user turns in a row stay apart"),
        pytest.param([ASKED, {"role": "user", "content": ""}, ASKED], [ASKED, ASKED], id="an empty turn is none"),
        pytest.param(
            [ASKED, {"role": "user", "content": None}, {"role": "assistant", "content": None}, ASKED],
            [ASKED, ASKED],
            id="content null is none",
        ),
        pytest.param([user(text("a"), text(" "))], [{"role": "user", "content": "a"}], id="one text is a string, blank ones are dropped"),
        pytest.param([user(text("a"), text("b"))], [{"role": "user", "content": [text("a"), text("b")]}], id="several texts stay parts"),
        pytest.param([{"role": "user", "content": text("a")}], [{"role": "user", "content": "a"}], id="a block where a list belongs"),
    ],
)
def test_results_stand_right_behind_their_call(messages: list[Json], expected: list[Json]) -> None:
    assert turns(messages) == expected


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        pytest.param(result(content="x"), "x", id="a string"),
        pytest.param(result(content=None), "", id="no content"),
        pytest.param({"type": "tool_result", "tool_use_id": "c1"}, "", id="content left out"),
        pytest.param(result(content=[]), "", id="an empty list"),
        pytest.param(result(content=[text("a"), text("b")]), "a\nb", id="texts are joined"),
        pytest.param(result(content=[text(" a ")]), " a ", id="white space is the tool's"),
        pytest.param(
            result(content=[{"type": "search_result", "source": "https://x", "title": "T", "content": [text("one"), text("two")]}]),
            "T\nhttps://x\none\ntwo",
            id="a search result",
        ),
        pytest.param(result(content=[{"type": "tool_reference", "tool_name": "later"}]), "later", id="a tool reference"),
        pytest.param(
            result(content=[{"type": "browser_state", "tabs": [{"tab_id": "1", "title": "T", "url": "u", "active": True}]}]),
            'Open tabs: [{"tab_id":"1","title":"T","url":"u","active":true}]',
            id="a browser state",
        ),
        pytest.param(
            result(content=[{"type": "browser_state", "tabs": [], "state_changes": [{"type": "tab_opened", "tab_id": "1"}]}]),
            'Open tabs: []\nChanges: [{"type":"tab_opened","tab_id":"1"}]',
            id="a browser state with changes",
        ),
        pytest.param(
            result(content=[{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "D"}, "title": "T"}]),
            "T\n\nD",
            id="a document",
        ),
        pytest.param(result(content="no such file", is_error=True), "Error: no such file", id="an error"),
        pytest.param(result(content=[text("no"), text("file")], is_error=True), "Error: no\nfile", id="an error in blocks"),
        pytest.param(result(content="No errors found", is_error=True), "Error: No errors found", id="an error that says it is none"),
        pytest.param(result(content="", is_error=True), "Error", id="an error that says nothing"),
        pytest.param(result(content=None, is_error=True), "Error", id="an error without content"),
        pytest.param(result(content="Error: no", is_error=True), "Error: no", id="an error that says so"),
        pytest.param(result(content="<tool_use_error>no", is_error=True), "<tool_use_error>no", id="an error in Claude Code's tags"),
        pytest.param(result(content="TypeError: no", is_error=True), "TypeError: no", id="an error with a name"),
        pytest.param(result(content="fine", is_error=False), "fine", id="no error"),
    ],
)
def test_content_of_results(block: Json, expected: str) -> None:
    assert turns([ASKED, assistant(call()), user(block)])[-1] == told(expected)


def test_a_long_error_without_the_word_is_looked_at_in_linear_time() -> None:
    for filler in (" ", "e", "- ", "error"[:4]):
        words = filler * 200_000
        assert turns([ASKED, assistant(call()), user(result(content=words, is_error=True))])[-1] == told(f"Error: {words}")


def test_unanswered_calls_are_answered_so_that_the_session_goes_on() -> None:
    found, losses = lossy({"messages": [ASKED, assistant(call("a"), call("b")), user(result("b")), assistant(text("x"), call("c"))]})
    assert found["messages"] == [
        ASKED, called("a", "b"), told("found", "b"), told(NO_RESULT, "a"), {**called("c"), "content": "x"}, told(NO_RESULT, "c"),
    ]  # fmt: skip
    assert losses == [(path, "tool_use without tool_result") for path in ("messages[1].content[0]", "messages[3].content[1]")]


@pytest.mark.parametrize(
    ("messages", "path", "expected"),
    [
        pytest.param(
            [user(result(content="lost"))],
            "messages[0].content[0]",
            [{"role": "user", "content": [text(ORPHAN), text("lost")]}],
            id="no call at all",
        ),
        pytest.param(
            [ASKED, assistant(call()), user(result(), result(content="twice"))],
            "messages[2].content[1]",
            [ASKED, called(), told("found"), {"role": "user", "content": [text(ORPHAN), text("twice")]}],
            id="a second result",
        ),
        pytest.param(
            [ASKED, assistant(call()), user(result()), {"role": "assistant", "content": "ok"}, user(result(content="late", is_error=True))],
            "messages[4].content[0]",
            [
                ASKED,
                called(),
                told("found"),
                {"role": "assistant", "content": "ok"},
                {"role": "user", "content": [text(ORPHAN), text("Error: late")]},
            ],
            id="a result that comes too late",
        ),
        pytest.param(
            [user({"type": "tool_result", "tool_use_id": "z", "content": [{"type": "tool_reference", "tool_name": "later"}]})],
            "messages[0].content[0]",
            [{"role": "user", "content": [text(ORPHAN), text("later")]}],
            id="a reference without a call",
        ),
    ],
)
def test_results_without_a_call_go_to_the_users_turn(messages: list[Json], path: str, expected: list[Json]) -> None:
    for target in ("glm", dialect("sglang")):
        found, losses = lossy({"messages": messages}, target)
        assert (found["messages"], losses) == (expected, [(path, "tool_result without tool_use")])


def test_two_calls_of_one_turn_with_the_same_id_are_refused() -> None:
    assert refused({"messages": [ASKED, assistant(call(), call())]}).param == "messages[1].content[1].id"


@pytest.mark.parametrize("given", [[1], "x", 1, None, True])
def test_input_that_is_no_object_is_refused(given: Any) -> None:
    assert refused({"messages": [ASKED, assistant({**call(), "input": given})]}).param == "messages[1].content[0].input"


@pytest.mark.parametrize(("levels", "fits"), [(128, True), (129, False)])
def test_input_may_be_nested_as_deep_as_a_body(levels: int, fits: bool) -> None:
    given: Any = {}
    for _ in range(levels - 1):
        given = {"a": given}
    asked = {"messages": [ASKED, assistant({**call(), "input": given})]}
    if fits:
        assert translate(asked).body.count(b"a") > levels
    else:
        assert "at most 128 levels" in refused(asked).message


def test_arguments_are_compact_with_letters_for_escapes_and_otherwise_byte_identical() -> None:
    written = '{ "z" : 1, "a":[ 1.50 , 1e400, 123456789012345678901234567890, -0.0 ],\n"é→🎈":"\\u00e9 \\ud83d\\ude00 a : b", "z" : {} }'
    body = (
        '{"max_tokens":9,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":['
        '{"type":"tool_use","id":"c1","name":"look","input":' + written + '}]},'
        '{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"y"}]}]}'
    )  # fmt: skip
    found = json.loads(translate(body.encode()).body)["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert found == '{"z":1,"a":[1.50,1e400,123456789012345678901234567890,-0.0],"é→🎈":"é 😀 a : b","z":{}}'


def test_long_ids_are_mapped_the_same_way_at_call_and_result() -> None:
    long = "toolu_" + "x" * 80
    found = turns([ASKED, assistant(call(long), call("short")), user(result("short"), result(long))], "openai")
    first = found[1]["tool_calls"][0]["id"]
    assert len(first) == 40
    assert [turn["tool_call_id"] for turn in found[2:]] == ["short", first]
    assert turns([ASKED, assistant(call(long[:40])), user(result(long[:40]))], "openai")[2]["tool_call_id"] == long[:40]


# ---------------------------------------------------------------------------------------------------- answers and reasoning


@pytest.mark.parametrize(
    ("target", "blocks", "expected"),
    [
        pytest.param("glm", [text("a"), text("b")], {"content": "ab"}, id="texts are one string"),
        pytest.param("glm", [text("a"), call()], {**called(), "content": "a"}, id="text and call"),
        pytest.param("glm", [text(" "), call()], called(), id="blank text beside a call is none"),
        pytest.param(
            "deepseek", [call()], {**called(), "content": "", "reasoning_content": " "}, id="DeepSeek wants content and reasoning"
        ),
        pytest.param("moonshot", [call()], {**called(), "reasoning_content": " "}, id="Kimi wants reasoning"),
        pytest.param("deepseek", [text("a")], {"content": "a"}, id="but on turns that call only"),
    ],
)
def test_answers(target: str, blocks: list[Json], expected: Json) -> None:
    answered = user(*(result(block["id"]) for block in blocks if block["type"] == "tool_use"), text("go on"))
    assert turns([ASKED, assistant(*blocks), answered], target)[1] == {"role": "assistant", **expected}


THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "sig"}
MORE = {"type": "thinking", "thinking": " so", "signature": ""}
REDACTED = {"type": "redacted_thinking", "data": "secret"}


@pytest.mark.parametrize(
    ("target", "blocks", "expected", "lost"),
    [
        pytest.param(
            "glm", [THOUGHT, MORE, text("a")], {"content": "a", "reasoning_content": "hm so"}, [], id="reasoning_content, joined in order"
        ),
        pytest.param("vllm", [THOUGHT, text("a")], {"content": "a", "reasoning": "hm"}, [], id="reasoning of vLLM"),
        pytest.param(
            "deepseek", [THOUGHT, call()], {**called(), "content": "", "reasoning_content": "hm"}, [], id="with a call and no text"
        ),
        pytest.param("glm", [THOUGHT], {"reasoning_content": "hm"}, [], id="reasoning alone"),
        pytest.param("glm", [{**THOUGHT, "thinking": ""}, text("a")], {"content": "a"}, [], id="a signature alone says nothing to others"),
        pytest.param(
            "openrouter",
            [THOUGHT, REDACTED, MORE, text("a")],
            {
                "content": "a",
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "hm", "signature": "sig"},
                    {"type": "reasoning.encrypted", "data": "secret"},
                    {"type": "reasoning.text", "text": " so"},
                ],
            },
            [],
            id="details keep signatures and what is encrypted",
        ),
        pytest.param(
            "glm",
            [REDACTED, text("a")],
            {"content": "a"},
            [("messages[1].content[0]", "redacted_thinking")],
            id="redacted thinking is dropped",
        ),
        pytest.param(
            "openai", [text("a"), THOUGHT], {"content": "a"}, [("messages[1].content[1]", "thinking")], id="OpenAI takes no reasoning back"
        ),
    ],
)
def test_reasoning_of_earlier_turns(target: str, blocks: list[Json], expected: Json, lost: list[tuple[str, str]]) -> None:
    answered = user(*(result(block["id"]) for block in blocks if block["type"] == "tool_use"), text("go on"))
    made = translate({"messages": [ASKED, assistant(*blocks), answered]}, target)
    assert json.loads(made.body)["messages"][1] == {"role": "assistant", **expected}
    assert [(loss.path, loss.what) for loss in made.losses] == lost


@pytest.mark.parametrize(("target", "blocks"), [("glm", [REDACTED]), ("openai", [THOUGHT]), ("deepseek", [REDACTED]), ("glm", [text(" ")])])
def test_a_turn_of_which_nothing_is_left_is_no_turn(target: str, blocks: list[Json]) -> None:
    assert json.loads(translate({"messages": [ASKED, assistant(*blocks), ASKED]}, target).body)["messages"] == [ASKED, ASKED]


def test_citations_are_lost_but_reported() -> None:
    cited = text("a", citations=[{"type": "char_location"}])
    found, losses = lossy({"messages": [user(cited), assistant(cited, text("b", citations=None)), ASKED]})
    assert found["messages"] == [{"role": "user", "content": "a"}, {"role": "assistant", "content": "ab"}, ASKED]
    assert losses == [(f"messages[{number}].content[0].citations", "citations") for number in (0, 1)]


def test_escapes_that_are_no_letters_stay() -> None:
    written = rb'{"a": "\u0041 \\u00e9 \ud83d\ude00 \n \u0000 \u00e9"}'
    assert compact(written) == rb'{"a":"\u0041 \\u00e9 ' + "😀".encode() + rb" \n \u0000 " + "é".encode() + b'"}'
