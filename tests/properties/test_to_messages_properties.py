"""Whatever conversation a chat client sends, the Messages request made of it keeps the rules of that wire; and what both wires can say
comes back as it went."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from core.dialects import DIALECTS, ReasoningField, UnsignedThinking
from core.errors import BadRequest
from core.translate.context import Translated
from core.translate.to_chat import to_chat
from core.translate.to_messages import to_messages
from tests.core.translate.messages_rules import violations

MESSAGES_DIALECTS = ("anthropic", "anthropic-budget", "anthropic-tools", "glm-messages", "messages-relay", "deepseek-messages")

Json = dict[str, Any]


def translate(request: Json, dialect: str, *, strict: bool = False) -> Translated:
    body = json.dumps(request).encode()
    return to_messages(body, DIALECTS[dialect], model="there", answer_model="here", seed="s", now=0.0, strict=strict)


def translated(request: Json, dialect: str) -> Json:
    found: Json = json.loads(translate(request, dialect).body)
    return found


# ------------------------------------------------------------------------------------------------- any conversation

BLANKS = st.sampled_from(["", " ", "\n\t", " "])
TEXTS = BLANKS | st.text(max_size=8) | st.sampled_from(["ends in blanks  ", "hello", "naïve 数据"])
IDS = st.sampled_from(["", "a", "b", "a.b", "a_b", "a b", "a_b_2", "call_1_0", "functions.Bash:0", "x" * 70, "é"])
NAMES = st.sampled_from(["f", "g", "mcp.server/tool", "n" * 140])
ARGUMENTS = st.none() | BLANKS | st.sampled_from(['{"a":1}', "[1]", "{", "null", "1", '{"a":{"b":[1e400]}}', '"text"'])
MARKS = st.none() | st.sampled_from([{"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}])
PNG = "data:image/png;base64,iVBORw0KGgo="


def some(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    """An object that has any of ``members``."""
    return st.fixed_dictionaries({}, optional=members)


def part(kind: str, **members: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries({"type": st.just(kind), **members}, optional={"cache_control": MARKS})


TEXT_PARTS = part("text", text=TEXTS)
OTHER_PARTS = st.one_of(
    part(
        "image_url", image_url=st.fixed_dictionaries({"url": st.sampled_from([PNG, "https://example.org/a.png", "data:image/svg+xml,x"])})
    ),
    part("file", file=some(file_data=st.sampled_from(["JVBERi0=", "data:text/plain;base64,aGk=", PNG]), file_id=st.just("f"))),
    st.fixed_dictionaries({"type": st.just("refusal"), "refusal": TEXTS}),
    st.fixed_dictionaries({"type": st.just("thinking"), "thinking": TEXTS}, optional={"signature": TEXTS}),
    st.fixed_dictionaries({"type": st.just("input_audio"), "input_audio": st.just({})}),
    st.fixed_dictionaries({"type": st.just("tool_reference"), "name": TEXTS}),
)
CONTENTS = st.one_of(st.none(), TEXTS, *[st.lists(TEXT_PARTS, max_size=3)] * 5, st.lists(TEXT_PARTS | OTHER_PARTS, max_size=2))
CALLS = st.fixed_dictionaries(
    {"function": st.fixed_dictionaries({"name": NAMES}, optional={"arguments": ARGUMENTS})}, optional={"id": IDS}
) | st.fixed_dictionaries({"custom": st.fixed_dictionaries({"name": NAMES, "input": TEXTS})}, optional={"id": IDS})
DETAILS = st.fixed_dictionaries(
    {"type": st.sampled_from(["reasoning.text", "reasoning.summary", "reasoning.encrypted"])},
    optional={
        "text": TEXTS, "summary": TEXTS, "data": TEXTS, "signature": TEXTS, "index": st.integers(0, 1),
        "format": st.sampled_from(["anthropic-claude-v1", "openai-responses-v1"]),
    },
)  # fmt: skip
TURNS = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "developer"]), "content": CONTENTS}, optional={"cache_control": MARKS}),
    st.fixed_dictionaries(
        {"role": st.just("assistant")},
        optional={
            "content": CONTENTS, "tool_calls": st.lists(CALLS, max_size=3), "function_call": st.fixed_dictionaries({"name": NAMES}),
            "refusal": TEXTS, "reasoning_content": TEXTS, "reasoning": TEXTS, "reasoning_details": st.lists(DETAILS, max_size=3),
            "cache_control": MARKS,
        },
    ),
    st.fixed_dictionaries({"role": st.just("tool"), "content": CONTENTS}, optional={"tool_call_id": IDS, "cache_control": MARKS}),
    st.fixed_dictionaries({"role": st.just("function"), "content": CONTENTS}, optional={"name": NAMES}),
)  # fmt: skip
SCHEMAS: st.SearchStrategy[Any] = st.sampled_from([
    None, {}, {"type": "object"}, {"properties": {}}, {"anyOf": [{}]}, {"type": "object", "properties": {}, "oneOf": [{}]}, [], "x", {"type": "array"},
])  # fmt: skip
TOOLS = st.fixed_dictionaries(
    {"type": st.just("function"), "function": st.fixed_dictionaries({"name": NAMES}, optional={"parameters": SCHEMAS})},
    optional={"cache_control": MARKS},
) | st.fixed_dictionaries({"type": st.just("custom"), "custom": st.fixed_dictionaries({"name": NAMES})})
REQUESTS = st.fixed_dictionaries(
    {"messages": st.lists(TURNS, min_size=1, max_size=12)},
    optional={
        "tools": st.lists(TOOLS, max_size=3),
        "tool_choice": st.sampled_from(["none", "auto", "required", {"type": "function", "function": {"name": "f"}}]),
        "max_tokens": st.integers(-1, 5000),
        "reasoning_effort": st.sampled_from(["none", "minimal", "high", "max"]),
        "response_format": st.sampled_from(
            [{"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}]
        ),
        "temperature": st.floats(0, 2),
        "stop": TEXTS,
        "user": TEXTS,
    },
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(REQUESTS, st.sampled_from(MESSAGES_DIALECTS))
@example(
    {"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f"}}, {"id": "a", "function": {"name": "f"}}]}]},
    "anthropic",
)
@example(
    {
        "messages": [
            {"role": "user", "content": "x"},
            {"role": "system", "content": "y"},
            {"role": "assistant", "content": ""},
            {"role": "user", "content": "z"},
        ]
    },
    "anthropic",
)
@example(
    {"messages": [{"role": "assistant", "content": "x"}, {"role": "assistant", "content": "y", "reasoning_content": "z"}]}, "messages-relay"
)
def test_any_conversation_becomes_a_request_that_keeps_the_rules_or_is_refused(request: Json, dialect: str) -> None:
    try:
        made = translated(request, dialect)
    except BadRequest as error:
        problem = error
    else:
        assert violations(made) == []
        return
    assert problem.param
    assert str(problem).startswith(f"{problem.param}: ")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(REQUESTS, st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=3), st.sampled_from(MESSAGES_DIALECTS))
def test_no_garbage_raises_anything_but_a_bad_request(request: Json, changes: list[tuple[int, int]], dialect: str) -> None:
    body = bytearray(json.dumps({**request, "metadata": {"a": "\ud83d"}, "seed": 1}).encode())
    for place, byte in changes:
        body[place % len(body)] = byte
    try:
        made = to_messages(bytes(body), DIALECTS[dialect], model="there", answer_model="here", seed="s", now=0.0)
    except BadRequest as error:
        problem = error
    else:
        assert isinstance(json.loads(made.body), dict)
        return
    assert problem.status == 400


# ------------------------------------------------------------------------------------------------- a conversation that grows


@st.composite
def sane_rounds(draw: st.DrawFn) -> list[list[Json]]:
    """A conversation as agents hold it, cut where the model spoke next."""
    rounds: list[list[Json]] = [[{"role": "system", "content": "s"}, {"role": "user", "content": draw(st.text("ab ", max_size=3))}]]
    for number in range(draw(st.integers(1, 5))):
        ids = [
            f"{draw(st.sampled_from(['c', 'c.', 'functions.f:']))}{index if draw(st.booleans()) else number}"
            for index in range(draw(st.integers(0, 2)))
        ]
        answer: Json = {
            "role": "assistant",
            "content": draw(st.sampled_from([None, "", "t", "t "])),
            "reasoning_content": draw(st.sampled_from(["", "r"])),
        }
        if ids:
            answer["tool_calls"] = [{"id": one, "type": "function", "function": {"name": "f", "arguments": "{}"}} for one in ids]
        elif not answer["content"]:
            answer["content"] = "t"
        said = [{"role": "tool", "tool_call_id": one, "content": "r"} for one in draw(st.permutations(ids))]
        if draw(st.booleans()):
            said.insert(draw(st.integers(0, len(said))), {"role": "system", "content": "i"})
        if not ids or draw(st.booleans()):
            said.append({"role": "user", "content": "u"})
        rounds.append([answer, *said])
    return rounds


@settings(max_examples=150, deadline=None)
@given(sane_rounds(), st.sampled_from(MESSAGES_DIALECTS), st.data())
def test_a_conversation_that_grows_keeps_its_beginning_byte_for_byte(rounds: list[list[Json]], dialect: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(rounds)))
    assume(any(says_something(turn) for turn in chain(*rounds[:cut])))
    shorter, longer = (translated({"messages": [*chain(*part)]}, dialect) for part in (rounds[:cut], rounds))
    assert violations(longer) == []
    assert longer["system"] == shorter["system"]
    assert longer["messages"][: len(shorter["messages"])] == shorter["messages"]


@settings(max_examples=100, deadline=None)
@given(sane_rounds(), st.sampled_from(MESSAGES_DIALECTS), st.text("ab", min_size=1, max_size=3))
def test_a_message_more_of_the_user_only_grows_the_last_turn(rounds: list[list[Json]], dialect: str, more: str) -> None:
    turns = [*chain(*rounds)]
    shorter, longer = (translated({"messages": turns + added}, dialect)["messages"] for added in ([], [{"role": "user", "content": more}]))
    assume(shorter[-1]["role"] != "system")  # that stays a turn of its own only until the user says more
    last = len(shorter) - (shorter[-1]["role"] == "user")
    assert longer[:last] == shorter[:last]
    if last < len(shorter):
        assert blocks(longer[last]) == [*blocks(shorter[last]), {"type": "text", "text": more}]


def says_something(turn: Json) -> bool:
    """Whether a turn that is none of the system's leaves anything to send."""
    return turn["role"] not in ("system", "developer") and bool(turn.get("tool_calls") or str(turn.get("content") or "").strip())


def blocks(turn: Json) -> list[Json]:
    content = turn["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


# ------------------------------------------------------------------------------------------------- ids


@settings(max_examples=200, deadline=None)
@given(st.lists(IDS | st.text(min_size=1, max_size=70), min_size=1, max_size=8))
def test_ids_become_legal_and_stay_different_and_results_find_their_calls(ids: list[str]) -> None:
    calls = [{"id": one, "function": {"name": "f"}} for one in ids]
    results = [{"role": "tool", "tool_call_id": one, "content": f"r{index}"} for index, one in enumerate(ids) if one]
    made = translated(
        {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": calls}, *results]}, "messages-relay"
    )
    assert violations(made) == []
    answered = {block["tool_use_id"]: block["content"] for block in made["messages"][2]["content"]}
    expected = {block["id"]: f"r{index}" for index, (block, one) in enumerate(zip(made["messages"][1]["content"], ids, strict=True)) if one}
    assert {there: answered[there] for there in expected} == expected


# ------------------------------------------------------------------------------------------------- there and back

WORDS = st.text("abc 数", min_size=1, max_size=5).filter(str.strip).map(str.strip)
BREAKPOINTS = st.none() | st.just({"type": "ephemeral"}) | st.just({"type": "ephemeral", "ttl": "1h"})
INPUTS = st.dictionaries(st.text("kl", max_size=2), st.integers() | st.text(max_size=3) | st.lists(st.none(), max_size=2), max_size=2)


def text_block(text: str, mark: Json | None = None) -> Json:
    return {"type": "text", "text": text} | ({"cache_control": mark} if mark else {})


@st.composite
def messages_requests(draw: st.DrawFn) -> Json:
    """Messages requests that hold only what chat can say as well: a user text per turn, one assistant text, results as text."""
    turns: list[Json] = [{"role": "user", "content": draw(WORDS)}]
    marks = 0
    for number in range(draw(st.integers(0, 4))):
        answer: list[Json] = []
        if draw(st.booleans()):
            answer.append({"type": "thinking", "thinking": draw(WORDS), "signature": draw(WORDS)})
        answer.append(text_block(draw(WORDS)))
        ids = [f"toolu_{number}_{index}" for index in range(draw(st.integers(0, 2)))]
        answer += [{"type": "tool_use", "id": one, "name": "f", "input": draw(INPUTS)} for one in ids]
        turns.append({"role": "assistant", "content": answer})
        said: list[Json] = [{"type": "tool_result", "tool_use_id": one, "content": draw(WORDS)} for one in ids]
        if draw(st.booleans()) or not said:
            mark = draw(BREAKPOINTS) if marks < 3 else None
            marks += mark is not None
            said.append(text_block(draw(WORDS), mark))
            if draw(st.booleans()):
                said.append({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}})
        turns.append({"role": "user", "content": said})
    request: Json = {"model": "there", "max_tokens": 9000, "messages": turns}
    if draw(st.booleans()):
        request["system"] = draw(WORDS | st.just([text_block("one", {"type": "ephemeral"}), text_block("two")]))
    tools = [
        {"name": name, "input_schema": {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {}}}} for name in "fg"
    ]
    if draw(st.booleans()):
        request["tools"] = tools
        choice: Json | None = draw(
            st.sampled_from([None, {"type": "auto"}, {"type": "any"}, {"type": "none"}, {"type": "tool", "name": "g"}])
        )
        if choice is not None:
            if choice["type"] != "none" and draw(st.booleans()):
                choice = {**choice, "disable_parallel_tool_use": True}
            request["tool_choice"] = choice
    members = some(
        stop_sequences=st.lists(WORDS, min_size=1, max_size=2), temperature=st.floats(0, 1), top_p=st.floats(0.1, 1), top_k=st.integers(1, 9),
        stream=st.just(True), metadata=st.just({"user_id": "user_1"}),
        output_config=st.just({"format": {"type": "json_schema", "schema": {"type": "object"}}}),
    )  # fmt: skip
    request.update(draw(members))
    if draw(st.booleans()) and request.get("tool_choice", {}).get("type") not in ("any", "tool"):
        request["thinking"] = draw(st.sampled_from([{"type": "disabled"}, {"type": "enabled", "budget_tokens": 2048}]))
        if request["thinking"]["type"] == "enabled":
            request = {name: value for name, value in request.items() if name not in ("temperature", "top_p", "top_k")}
    return request


def normal(request: Json) -> Json:
    """A turn of one text as that text's string."""

    def plain(content: object) -> object:
        if isinstance(content, list) and len(content) == 1 and content[0].keys() == {"type", "text"}:
            return content[0]["text"]
        return content

    turns = [{**turn, "content": plain(turn["content"])} for turn in request["messages"]]
    return {**request, "messages": turns, **({"system": plain(request["system"])} if "system" in request else {})}


@settings(max_examples=200, deadline=None)
@given(messages_requests())
def test_what_both_wires_can_say_comes_back_as_it_went(request: Json) -> None:
    there, back = DIALECTS["openrouter"], DIALECTS["messages-relay"]
    assert there.reasoning is ReasoningField.DETAILS, "the only dialect of chat that carries signatures"
    assert back.unsigned_thinking is UnsignedThinking.KEEP
    chat = to_chat(json.dumps(request).encode(), there, model="there", answer_model="here", seed="s", now=0.0)
    made = to_messages(chat.body, back, model="there", answer_model="here", seed="s", now=0.0)
    assert (chat.losses, made.losses) == ((), ())
    assert normal(json.loads(made.body)) == normal(request)
