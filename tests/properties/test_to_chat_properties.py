"""Laws of the way from Messages to chat, for conversations of any shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dialects import DIALECTS
from core.errors import BadRequest
from core.translate.to_chat import to_chat
from tests.core.translate import chat_rules

Json = dict[str, Any]

TARGETS = ("generic", "glm", "openai", "openai-caching", "deepseek", "vllm", "sglang", "openrouter", "llama.cpp", "ollama")

Blocks = st.SearchStrategy[Json]

words = st.text("aé🎈 \n", max_size=6)
ids = st.sampled_from(["a", "b", "long" * 20, ""])
names = st.sampled_from(["look", "with.dot", "n" * 70])
texts: Blocks = st.builds(lambda one: {"type": "text", "text": one}, words)
images: Blocks = st.just({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}})
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
uses: Blocks = st.builds(
    lambda call, name, given_: {"type": "tool_use", "id": call, "name": name, "input": given_},
    ids,
    names,
    st.dictionaries(words, values, max_size=3),
)
results: Blocks = st.builds(
    lambda call, content, bad: {"type": "tool_result", "tool_use_id": call, "content": content, "is_error": bad},
    ids,
    st.none() | words | st.lists(texts | images | st.builds(lambda name: {"type": "tool_reference", "tool_name": name}, names), max_size=3),
    st.booleans(),
)
thoughts: Blocks = st.builds(lambda one: {"type": "thinking", "thinking": one, "signature": "s"}, words) | st.just(
    {"type": "redacted_thinking", "data": "x"}
)
server: Blocks = st.sampled_from(
    [
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"type": "web_search_result", "title": "t", "url": "u"}]},
        {"type": "compaction", "content": "summary"},
    ]
)
users: Blocks = st.builds(lambda content: {"role": "user", "content": content}, words | st.lists(texts | images | results, max_size=4))
answers: Blocks = st.builds(
    lambda content: {"role": "assistant", "content": content},
    words | st.lists(texts | uses | thoughts | server, max_size=4, unique_by=lambda block: block.get("id", repr(block))),
)
systems: Blocks = st.builds(
    lambda content, clear: {"role": "system", "content": content, "clear_at": clear}, words, st.sampled_from([None, "next_user_message"])
)
conversations: st.SearchStrategy[list[Json]] = st.lists(users | answers | systems, min_size=1, max_size=8)


def translate(messages: list[Json], target: str, **more: Any) -> Json:
    body = json.dumps({"max_tokens": 9, "messages": messages, **more}).encode()
    made = to_chat(body, DIALECTS[target], model="m", answer_model="m", seed="s", now=0)
    found: Json = json.loads(made.body)
    return found


@given(conversations, st.sampled_from(TARGETS), st.none() | words)
def test_every_conversation_becomes_one_that_keeps_the_rules_or_is_empty(messages: list[Json], target: str, system: str | None) -> None:
    try:
        made = translate(messages, target, system=system, tools=[{"name": "look"}, {"name": "with.dot"}])
    except BadRequest as error:
        assert error.param == "messages"  # noqa: PT017 - nothing was left of it
        return
    chat_rules.check(made, DIALECTS[target])


@given(st.dictionaries(words, values, max_size=5))
def test_arguments_mean_what_the_client_wrote(given_: Json) -> None:
    messages: list[Json] = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "look", "input": given_}]},
    ]
    made = translate(messages, "generic")
    assert json.loads(made["messages"][1]["tool_calls"][0]["function"]["arguments"]) == given_


@st.composite
def sessions(draw: st.DrawFn) -> list[list[Json]]:
    """A session as agents lead it, in the steps in which they send it: what the user says, and the results of all calls of the turn before."""
    steps: list[list[Json]] = [[draw(users)]]
    for number in range(draw(st.integers(1, 4))):
        content = draw(st.lists(texts | thoughts | server, max_size=3))
        calls = [{**draw(uses), "id": f"call{number}.{index}"} for index in range(draw(st.integers(0, 3)))]
        found = [{**draw(results), "tool_use_id": call["id"]} for call in draw(st.permutations(calls))]
        said = draw(st.lists(texts | images, max_size=2))
        step = [{"role": "assistant", "content": [*content, *calls]}, {"role": "user", "content": [*found, *said]}]
        steps.append([*step, *draw(st.lists(users, max_size=1))])
    return steps


@pytest.mark.parametrize("target", ["glm", "llama.cpp", "openrouter"])
@given(st.data())
def test_a_conversation_that_grows_keeps_its_translated_beginning(target: str, data: st.DataObject) -> None:
    steps = data.draw(sessions())
    before: list[Json] | None = None
    messages: list[Json] = [{"role": "user", "content": "Hello"}]
    for step in steps:
        messages = [*messages, *step]
        now = translate(messages, target, system="Be brief.")["messages"]
        assert before is None or now[: len(before)] == before
        before = now


@given(sessions(), words.filter(str.strip))
def test_instructions_at_the_end_are_appended_and_change_nothing_before(steps: list[list[Json]], rule: str) -> None:
    messages = [{"role": "user", "content": "Hello"}, *(turn for step in steps for turn in step)]
    for target in ("glm", "llama.cpp"):
        before = translate(messages, target)["messages"]
        now = translate([*messages, {"role": "system", "content": rule}], target)["messages"]
        if DIALECTS[target].inline_system:
            assert now == [*before, {"role": "system", "content": rule}]
        elif len(now) > len(before):
            assert now == [*before, {"role": "user", "content": rule}]
        else:
            assert now[:-1] == before[:-1]
            old, new = (turns[-1]["content"] for turns in (before, now))
            assert new[: len(old)] == old


@given(
    st.recursive(
        values,
        lambda inner: st.dictionaries(st.sampled_from(["role", "content", "type", "text", "messages", "tools", "name"]), inner),
        max_leaves=20,
    )
)
def test_garbage_is_a_400_and_nothing_else(garbage: Any) -> None:
    for request in (
        {"messages": garbage},
        {"messages": [garbage]},
        {"messages": [{"role": "user", "content": [garbage]}]},
        {"tools": garbage, "messages": []},
    ):
        try:
            to_chat(json.dumps(request).encode(), DIALECTS["generic"], model="m", answer_model="m", seed="s", now=0)
        except BadRequest:
            continue
