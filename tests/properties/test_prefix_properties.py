"""A conversation that grows keeps its beginning, byte for byte, on its way upstream: that is what prompt caches live on.

Sessions are as agents lead them: every request repeats the last one's messages, and adds the answer to it and what the user or the tools
say to that.
"""

from __future__ import annotations

import copy
import itertools
import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import replay
from core.asked import Asked, understand
from core.call import Call
from core.credentials import credential_for
from core.gateway import Gateway
from core.outbound import prepare
from core.settings import Settings
from core.testing import ScriptedWorld
from core.wire.envelope import Envelope
from tests.core.exchanges import CHAT, MESSAGES
from tests.core.plans import Planned, called, planned, target

Json = dict[str, Any]

#: Upstreams of every kind, by their dialects.
CHATS: Final = (
    "glm",
    "glm-relay",
    "generic",
    "openai",
    "openai-caching",
    "deepseek",
    "moonshot",
    "vllm",
    "openrouter",
    "llama.cpp",
    "ollama",
)
STRIPPING: Final = ("glm", "glm-relay", "generic", "openai", "deepseek", "moonshot", "vllm", "llama.cpp", "ollama")
#: Where the wire stays the same, dialects hardly differ.
SAME_CHATS: Final = ("glm", "generic", "deepseek")
SAME_MESSAGESES: Final = ("glm-messages", "anthropic")
MESSAGESES: Final = ("glm-messages", "messages-relay", "deepseek-messages", "anthropic", "anthropic-budget")

#: The nonce is constant towards Anthropic too.
CONSTANT: Final = Gateway(Settings(neutralize_volatile_system=True))
NONCES: Final = ("7f3a9", "0dd1e", "00000", "aB3xZ")
BILLING: Final = "x-anthropic-billing-header: cc_version=2.1.329.778; cc_entrypoint=cli; cch={};"
MARK: Final = {"type": "ephemeral"}
PNG: Final = "iVBORw0KGgo="

words = st.text("aé🎈 \n", max_size=6)
said = words.filter(str.strip)
names = st.sampled_from(["look", "with.dot", "n" * 70])
inputs = st.dictionaries(words, words | st.integers() | st.none(), max_size=2)


# ---------------------------------------------------------------------------------------------------- sessions on the Messages wire

texts: st.SearchStrategy[Json] = st.builds(lambda one: {"type": "text", "text": one}, said)
images: st.SearchStrategy[Json] = st.just({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}})
thoughts: st.SearchStrategy[Json] = st.builds(
    lambda one, signature: {"type": "thinking", "thinking": one, "signature": signature}, words, st.sampled_from(["", "EqQB/+=="])
) | st.just({"type": "redacted_thinking", "data": "x"})


@st.composite
def messages_sessions(draw: st.DrawFn) -> list[list[Json]]:
    """What each request adds."""
    added: list[list[Json]] = [[{"role": "user", "content": draw(said | st.lists(texts | images, min_size=1, max_size=3))}]]
    for number in range(draw(st.integers(1, 4))):
        calls = [
            {"type": "tool_use", "id": draw(st.sampled_from(["toolu_{}", "functions.f:{}", "long" * 20 + "{}"])).format(f"{number}{index}"), "name": draw(names), "input": draw(inputs)}
            for index in range(draw(st.integers(0, 3)))
        ]  # fmt: skip
        answer = [*draw(st.lists(thoughts, max_size=2)), *draw(st.lists(texts, min_size=0 if calls else 1, max_size=2)), *calls]
        results = [
            {
                "type": "tool_result",
                "tool_use_id": call["id"],
                "content": draw(words | st.lists(texts | images, max_size=2)),
                "is_error": draw(st.booleans()),
            }
            for call in draw(st.permutations(calls))
        ]
        more = draw(st.lists(texts | images, min_size=0 if results else 1, max_size=2))
        added.append([{"role": "assistant", "content": answer}, {"role": "user", "content": [*results, *more]}])
    return added


def marked(turns: list[Json]) -> list[Json]:
    """The turns with Claude Code's cache breakpoint, which wanders to the newest block."""
    turns = copy.deepcopy(turns)
    last = turns[-1]
    if isinstance(last["content"], str):
        last["content"] = [{"type": "text", "text": last["content"]}]
    last["content"][-1]["cache_control"] = MARK
    return turns


def messages_body(turns: list[Json], nonce: str) -> Json:
    system = [{"type": "text", "text": BILLING.format(nonce)}, {"type": "text", "text": "Be brief.", "cache_control": MARK}]
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in ("look", "with.dot", "n" * 70)]
    return {"max_tokens": 9000, "system": system, "messages": turns, "tools": tools, "thinking": {"type": "enabled", "budget_tokens": 2000}}


# ---------------------------------------------------------------------------------------------------- sessions on the chat wire

parts: st.SearchStrategy[Json] = texts | st.just({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}})


@st.composite
def chat_sessions(draw: st.DrawFn) -> list[list[Json]]:
    contents = said | st.lists(parts, min_size=1, max_size=3)
    added: list[list[Json]] = [[{"role": "user", "content": draw(contents)}]]
    for number in range(draw(st.integers(1, 4))):
        calls = [
            {
                "id": draw(st.sampled_from(["call_{}", "functions.f:{}", "same"])).format(f"{number}{index}"),
                "type": "function",
                "function": {"name": draw(names), "arguments": json.dumps(draw(inputs))},
            }
            for index in range(draw(st.integers(0, 3)))
        ]
        answer: Json = {"role": "assistant", "content": draw(st.none() | words if calls else said)}
        if calls:
            answer["tool_calls"] = calls
        if draw(st.booleans()):
            answer["reasoning_content"] = draw(words)
        results = [{"role": "tool", "tool_call_id": call["id"], "content": draw(words | st.lists(parts, max_size=2))} for call in draw(st.permutations(calls))]  # fmt: skip
        # A picture comes as a user's message behind the results (Cline).
        asks = [{"role": "user", "content": draw(contents)} for _ in range(draw(st.integers(0 if results else 1, 2)))]
        rules = [{"role": "system", "content": draw(said)} for _ in range(draw(st.integers(0, 1)))]
        added.append([answer, *results, *asks, *rules])
    return added


def chat_body(turns: list[Json], nonce: str) -> Json:
    system = {"role": "system", "content": f"{BILLING.format(nonce)}\nBe brief."}
    tools = [{"type": "function", "function": {"name": name}} for name in ("look", "with.dot", "n" * 70)]
    return {"max_tokens": 9000, "messages": [system, *turns], "tools": tools, "reasoning_effort": "medium"}


# ---------------------------------------------------------------------------------------------------- the law


def histories(added: list[list[Json]]) -> list[list[Json]]:
    """The messages of each request."""
    return [[turn for step in added[: number + 1] for turn in step] for number in range(len(added))]


def keep_their_beginning(requests: list[Planned]) -> None:
    for earlier, later in itertools.pairwise(requests):
        before, now = members(earlier), members(later)
        begun = before.pop("messages")[:-1]  # without the closing bracket
        assert now.pop("messages").startswith((begun + b",", begun + b"]"))
        if later.plan.target.dialect.thoughts_first:  # Claude before 4.7 may not think on without its own signed reasoning
            for one in (before, now):
                one.pop("thinking", None)
        assert now == before


def members(made: Planned) -> dict[str, bytes]:
    return {name: bytes(value) for name, value in Envelope.read(made.raw).members.items()}


def sent(wire: Any, to: str, bodies: list[Json], world: ScriptedWorld | None = None) -> list[Planned]:
    cache = world.cache if world is not None else {}
    return [planned(wire, body, to, at=CONSTANT, world=ScriptedWorld(cache=cache)) for body in bodies]


def nonced(body: Any, added: list[list[Json]]) -> list[Json]:
    """The bodies of all requests, each with another nonce."""
    return [body(turns, NONCES[number % len(NONCES)]) for number, turns in enumerate(histories(added))]


@pytest.mark.parametrize("to", SAME_MESSAGESES)
@given(messages_sessions())
def test_messages_to_messages(to: str, added: list[list[Json]]) -> None:
    keep_their_beginning(sent(MESSAGES, to, nonced(messages_body, added)))


@pytest.mark.parametrize("to", SAME_MESSAGESES)
@given(messages_sessions())
def test_messages_to_messages_with_a_wandering_breakpoint_are_as_the_client_wrote_them(to: str, added: list[list[Json]]) -> None:
    for turns in histories(added):
        body = messages_body(marked(turns), "7f3a9")
        (made,) = sent(MESSAGES, to, [body])
        assert Envelope.read(made.raw).get("messages") == json.dumps(body["messages"]).encode()


@pytest.mark.parametrize("to", CHATS)
@given(messages_sessions())
def test_messages_to_chat(to: str, added: list[list[Json]]) -> None:
    keep_their_beginning(sent(MESSAGES, to, nonced(messages_body, added)))


@pytest.mark.parametrize("to", STRIPPING)
@given(messages_sessions())
def test_messages_to_chat_with_a_wandering_breakpoint(to: str, added: list[list[Json]]) -> None:
    keep_their_beginning(sent(MESSAGES, to, nonced(lambda turns, nonce: messages_body(marked(turns), nonce), added)))


@pytest.mark.parametrize("to", MESSAGESES)
@given(chat_sessions())
def test_chat_to_messages(to: str, added: list[list[Json]]) -> None:
    keep_their_beginning(sent(CHAT, to, nonced(chat_body, added)))


@st.composite
def merging_sessions(draw: st.DrawFn) -> list[list[Json]]:
    """What each request adds where the client says more before the model has answered, or instructs it on the way."""
    contents = said | st.lists(parts, min_size=1, max_size=2)
    mine = st.builds(lambda one: {"role": "user", "content": one}, contents)
    rules = st.builds(lambda role, one: {"role": role, "content": one}, st.sampled_from(["system", "developer"]), said)
    answers = st.builds(lambda one: {"role": "assistant", "content": one}, said)
    steps = st.tuples(st.lists(answers, max_size=1), st.lists(mine | rules, min_size=1, max_size=2))
    return [[draw(mine)], *([*answered, *more] for answered, more in draw(st.lists(steps, min_size=1, max_size=4)))]


@pytest.mark.parametrize("to", MESSAGESES)
@given(merging_sessions())
def test_chat_to_messages_with_turns_that_merge(to: str, added: list[list[Json]]) -> None:
    """All blocks stay but an instruction that stood last as a turn of its own, which the upstream takes there only."""
    for earlier, later in itertools.pairwise(sent(CHAT, to, nonced(chat_body, added))):
        before, now = members(earlier), members(later)
        begun, grown = before.pop("messages"), now.pop("messages")
        turns = earlier.body["messages"]
        if turns[-1]["role"] == "system" and not grown.startswith(begun[:-1]):
            begun = begun[: begun.rindex(b',{"role":"system"')] + b"]"
        assert begun.endswith(b"}]}]")
        assert grown.startswith((begun[: -len(b"]}]")] + b",", begun[:-1] + b","))
        assert now == before


@pytest.mark.parametrize("to", SAME_CHATS)
@given(chat_sessions())
def test_chat_to_chat(to: str, added: list[list[Json]]) -> None:
    keep_their_beginning(sent(CHAT, to, nonced(chat_body, added)))


@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
@given(st.data())
def test_a_request_can_be_put_into_the_words_of_one_upstream_after_another(wire: Any, data: st.DataObject) -> None:
    """Failover: what was done to it for the one is not seen by the next."""
    added = data.draw(messages_sessions() if wire is MESSAGES else chat_sessions())
    call = called(wire, (messages_body if wire is MESSAGES else chat_body)(histories(added)[-1], "7f3a9"))
    asked = understand(call)
    order = data.draw(st.permutations([*CHATS, *MESSAGESES]))[:3]
    first, second = ([body_for(name, call, asked) for name in names_] for names_ in (order, reversed(order)))
    assert first == second[::-1]


def body_for(name: str, call: Call, asked: Asked) -> bytes:
    there = target(name, limit=5000)
    plan = ScriptedWorld().run(prepare(call, asked, there, credential_for(None, there)))
    return plan.request.body


@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
@given(st.data())
def test_reasoning_that_comes_back_from_the_store_stays_where_it_is(wire: Any, data: st.DataObject) -> None:
    """Every answer that called tools was overheard, and the client dropped the reasoning of all."""
    added = data.draw(messages_sessions() if wire is MESSAGES else chat_sessions())
    body = messages_body if wire is MESSAGES else chat_body
    world = ScriptedWorld()
    for number, turns in enumerate(histories(added)[:-1]):
        answer = added[number + 1][0]
        content = answer["content"]
        calls = (
            [block["id"] for block in content if block["type"] == "tool_use"]
            if wire is MESSAGES
            else [one["id"] for one in answer.get("tool_calls", ())]
        )
        listener = replay.Listener()
        message = {"reasoning_content": f"Thought {number}", "tool_calls": [{"id": one} for one in calls]}
        listener.whole(json.dumps({"choices": [{"message": message}]}).encode())
        call = called(wire, body(turns, "7f3a9"))
        world = ScriptedWorld(cache=world.cache)
        world.run(replay.remember(call, understand(call), listener))
    if wire is MESSAGES:
        dropped = [[without_thinking(turn) for turn in step] for step in added]
    else:
        dropped = [[{name: one for name, one in turn.items() if name != "reasoning_content"} for turn in step] for step in added]
    requests = sent(wire, "deepseek", nonced(body, dropped), world)
    keep_their_beginning(requests)
    for step, turns in zip(added[1:], dropped[1:], strict=True):
        assert len(step) == len(turns)
    kept = sum("Thought" in (turn.get("reasoning_content") or "") for turn in requests[-1].body["messages"])
    assert kept == sum(has_calls(step[0]) for step in added[1:])


def without_thinking(turn: Json) -> Json:
    if turn["role"] != "assistant":
        return turn
    kept = [block for block in turn["content"] if "thinking" not in block["type"]]
    return {**turn, "content": kept}


def has_calls(answer: Json) -> bool:
    content = answer["content"]
    return "tool_calls" in answer or (isinstance(content, list) and any(block["type"] == "tool_use" for block in content))
