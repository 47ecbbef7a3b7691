"""Reasoning that clients cannot carry comes back to the upstreams that want it, and to nobody else."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import replay
from core.asked import understand
from core.effects import Load, Store
from core.replay import Listener
from core.testing import ScriptedWorld
from core.wire.envelope import Envelope, replace_items
from tests.core.exchanges import CHAT, MESSAGES, PAIRS
from tests.core.plans import called, planned, target

HELLO = {"role": "user", "content": "Look"}
THOUGHT = "I look. né"


def chunks(*deltas: dict[str, Any]) -> bytes:
    """A chat stream of these deltas."""
    frames = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    return b"".join(b"data: %b\n\n" % json.dumps(frame).encode() for frame in frames) + b"data: [DONE]\n\n"


def piece(call_id: str | None = "c1", **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "id": call_id, "function": {"name": "f", "arguments": "{}"}}], **more}


STREAM = chunks({"role": "assistant", "reasoning_content": "I "}, {"reasoning_content": "look. né"}, {"content": "x"}, piece(), piece("c2"))


def heard(data: bytes = STREAM) -> Listener:
    listener = Listener()
    listener.feed(data)
    return listener


def remembered(wire: Any = CHAT, listener: Listener | None = None, **more: Any) -> ScriptedWorld:
    """A world that has seen the answer to the client's first request."""
    world = ScriptedWorld()
    call = called(wire, {"messages": [HELLO], "max_tokens": 9}, **more)
    world.run(replay.remember(call, understand(call), listener or heard()))
    return world


def after(world: ScriptedWorld) -> ScriptedWorld:
    """What comes after it, with the same cache."""
    return ScriptedWorld(cache=world.cache)


def chat_turn(*ids: str, **more: Any) -> dict[str, Any]:
    calls = [{"id": one, "type": "function", "function": {"name": "f", "arguments": "{}"}} for one in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls, **more}


def chat_history(*ids: str, first: Any = HELLO, **more: Any) -> dict[str, Any]:
    results = [{"role": "tool", "tool_call_id": one, "content": "seen"} for one in ids]
    return {"messages": [{"role": "system", "content": "Be brief."}, first, chat_turn(*ids, **more), *results], "max_tokens": 9}


def messages_history(*ids: str, before: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    uses = [{"type": "tool_use", "id": one, "name": "f", "input": {}} for one in ids]
    results = [{"type": "tool_result", "tool_use_id": one, "content": "seen"} for one in ids]
    first = {"role": "user", "content": [{"type": "text", "text": "Look", "cache_control": {"type": "ephemeral"}}]}
    turns = [first, {"role": "assistant", "content": [*before, *uses]}, {"role": "user", "content": results}]
    return {"messages": turns, "max_tokens": 9, "tools": [{"name": "f"}]}


def reasoning(made: Any) -> list[Any]:
    return [turn.get("reasoning_content") for turn in made.body["messages"] if turn["role"] == "assistant"]


# ---------------------------------------------------------------------------------------------------- coming back


@pytest.mark.parametrize("to", ["deepseek", "moonshot"])
def test_a_chat_client_that_dropped_it_gets_it_put_back_and_every_other_byte_stays(to: str) -> None:
    raw = (
        b' {"messages":[ {"role":"user","content":"Look"} ,{ "role":"assistant","content":null , "tool_calls":[{"id":"c1","x":1.0}] } ,'
        b' {"role":"tool","tool_call_id":"c1","content":"\\u0041"}] ,"model":"there"}'
    )
    made = planned(CHAT, raw, to, world=after(remembered()))
    expected = raw.replace(b"1.0}] }", b'1.0}] ,"reasoning_content":%b}' % json.dumps(THOUGHT, ensure_ascii=False).encode())
    assert made.raw == expected


@pytest.mark.parametrize("to", ["deepseek", "moonshot"])
def test_a_messages_client_that_was_not_shown_it_gets_it_put_back(to: str) -> None:
    made = planned(MESSAGES, messages_history("c1", "c2"), to, world=after(remembered(MESSAGES)))
    assert reasoning(made) == [THOUGHT]
    assert made.record.notes == ["put back the reasoning of 1 tool turns, which name/openai wants"]


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_reasoning_that_says_nothing_is_none(value: Any) -> None:
    assert reasoning(planned(CHAT, chat_history("c1", reasoning_content=value), "deepseek", world=after(remembered()))) == [THOUGHT]
    blank = ({"type": "thinking", "thinking": value or "", "signature": ""},)
    found = reasoning(planned(MESSAGES, messages_history("c1", before=blank), "deepseek", world=after(remembered(MESSAGES))))
    assert [one.strip() for one in found] == [THOUGHT]


@pytest.mark.parametrize("own", [{"reasoning_content": "mine"}, {"reasoning": "mine"}, {"reasoning_details": [{"type": "reasoning.text", "text": "mine"}]}])  # fmt: skip
def test_a_chat_clients_own_reasoning_is_not_touched(own: dict[str, Any]) -> None:
    made = planned(CHAT, chat_history("c1", **own), "deepseek", world=after(remembered()))
    assert made.body["messages"] == chat_history("c1", **own)["messages"]


def test_a_messages_clients_own_thinking_is_not_touched() -> None:
    own = ({"type": "thinking", "thinking": "mine", "signature": "s"},)
    assert reasoning(planned(MESSAGES, messages_history("c1", before=own), "deepseek", world=after(remembered(MESSAGES)))) == ["mine"]


@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
def test_every_tool_turn_has_its_own(wire: Any) -> None:
    world = remembered(wire)
    second = chunks({"reasoning_content": "More."}, piece("d1"))
    world = ScriptedWorld(cache={**world.cache, **remembered(wire, heard(second)).cache})
    one, two = (chat_history(call)["messages"][2:] if wire is CHAT else messages_history(call)["messages"][1:] for call in ("c1", "d1"))
    later = {"role": "assistant", "content": "Done."}
    body = {
        "messages": [HELLO, *one, *two, later, {"role": "user", "content": "Thanks"}],
        "max_tokens": 9,
        "tools": [] if wire is CHAT else [{"name": "f"}],
    }
    found = reasoning(planned(wire, body, "deepseek", world=world))
    assert found == [THOUGHT, "More.", None]


def test_turns_of_which_nothing_is_remembered_stay_as_they_are() -> None:
    body = {"messages": [HELLO, chat_turn("c0"), chat_turn("c1"), chat_turn("c2")]}
    assert reasoning(planned(CHAT, body, "deepseek", world=after(remembered()))) == [None, THOUGHT, None]


def test_a_conversation_without_a_user_is_one_as_well() -> None:
    call = called(CHAT, {"messages": [chat_turn("c0")]})
    world = ScriptedWorld()
    world.run(replay.remember(call, understand(call), heard()))
    assert reasoning(planned(CHAT, {"messages": [chat_turn("c0"), chat_turn("c1")]}, "deepseek", world=after(world))) == [None, THOUGHT]


@pytest.mark.parametrize(("wire", "upstream"), PAIRS)
def test_nobody_else_is_sent_any_and_nothing_is_looked_up(wire: Any, upstream: Any) -> None:
    to = {MESSAGES: "deepseek-messages", CHAT: "glm"}[upstream]
    world = after(remembered(wire))
    made = planned(wire, chat_history("c1") if wire is CHAT else messages_history("c1"), to, world=world)
    assert world.performed == []
    assert THOUGHT not in json.dumps(made.body, ensure_ascii=False)
    assert not replay.is_needed(target(to))


def test_a_request_translated_for_one_upstream_is_untouched_for_the_next() -> None:
    """Failover: the same request goes to another upstream after all."""
    call = called(MESSAGES, messages_history("c1"))
    asked = understand(call)
    before = repr(asked.typed)
    found = ScriptedWorld(cache=remembered(MESSAGES).cache).run(replay.recall(call, asked))
    changed = replay.with_thinking(asked.typed[0], found)  # type: ignore[arg-type]
    assert found == {"c1": THOUGHT}
    assert repr(changed) != before[1:]
    assert repr(asked.typed) == before


# ---------------------------------------------------------------------------------------------------- whose it is


def test_nobody_else_gets_it() -> None:
    world = remembered(client=b"key-one")
    assert reasoning(planned(CHAT, chat_history("c1"), "deepseek", client=b"key-one", world=after(world))) == [THOUGHT]
    for other in (b"key-two", None):
        assert reasoning(planned(CHAT, chat_history("c1"), "deepseek", client=other, world=after(world))) == [None]


@pytest.mark.parametrize("first", ["Look again", None, [], [{"type": "image_url", "image_url": {"url": "https://x.example"}}]])
def test_no_other_conversation_gets_it_though_its_calls_have_the_same_ids(first: Any) -> None:
    body = chat_history("c1", first={"role": "user", "content": first})
    assert reasoning(planned(CHAT, body, "moonshot", world=after(remembered()))) == [None]


@pytest.mark.parametrize(
    "first", ["Look", [{"type": "text", "text": "Lo"}, {"type": "text", "text": "ok", "cache_control": {"type": "ephemeral"}}]]
)
def test_a_conversation_is_known_by_the_users_first_words_however_they_are_written(first: Any) -> None:
    body = chat_history("c1", first={"role": "user", "content": first})
    assert reasoning(planned(CHAT, body, "moonshot", world=after(remembered()))) == [THOUGHT]


def test_the_key_shows_neither_credential_nor_id() -> None:
    world = remembered(client=b"key-one")
    (key,) = world.cache
    assert key.startswith(b"reasoning:")
    assert len(key) == len(b"reasoning:") + 64
    (stored,) = world.performed
    assert isinstance(stored, Store)
    assert (stored.value, stored.ttl) == (THOUGHT.encode(), replay.TTL)


# ---------------------------------------------------------------------------------------------------- bounds and oddities


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(chunks({"reasoning_content": "hm"}, {"content": "x"}), id="no call"),
        pytest.param(chunks({"reasoning_content": "hm"}, piece(None)), id="a call without an id"),
        pytest.param(chunks(piece()), id="no reasoning"),
        pytest.param(chunks({"reasoning_content": " \n"}, piece()), id="blank reasoning"),
        pytest.param(chunks({"reasoning_content": "x" * (replay.REASONING_MAX + 1)}, piece()), id="too much"),
        pytest.param(b'data: {"choices":[]}\n\ndata: {"choices":null}\n\ndata: nonsense\n\ndata: {"choices":[{}]}\n\n', id="oddities"),
        pytest.param(b"data: " + b"x" * (17 * 1024 * 1024), id="a frame without an end"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_cannot_come_back_is_not_kept(stream: bytes) -> None:
    listener = heard(stream)
    listener.feed(b"")
    assert remembered(listener=listener).performed == []


def test_as_much_as_may_be_is_kept() -> None:
    world = remembered(listener=heard(chunks({"reasoning_content": "x" * replay.REASONING_MAX}, piece())))
    assert [len(value) for value in world.cache.values()] == [replay.REASONING_MAX]


def test_after_a_frame_without_an_end_nothing_more_is_heard() -> None:
    listener = heard(b"data: " + b"x" * (17 * 1024 * 1024))
    listener.feed(STREAM)
    assert (listener.call_id, listener.reasoning) == ("", "")


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_a_whole_answer_is_heard_as_well(name: str) -> None:
    listener = Listener()
    listener.whole(json.dumps({"choices": [{"message": piece("c9", **{name: "hm"})}, {"message": {name: "other"}}]}).encode())
    assert (listener.call_id, listener.reasoning) == ("c9", "hm")


@given(st.lists(st.integers(0, len(STREAM)), max_size=5))
def test_how_a_stream_is_cut_changes_nothing(cuts: list[int]) -> None:
    listener, places = Listener(), sorted({0, *cuts, len(STREAM)})
    for begin, end in itertools.pairwise(places):
        listener.feed(STREAM[begin:end])
    assert (listener.call_id, listener.reasoning) == ("c1", THOUGHT)


@pytest.mark.parametrize(
    "odd",
    [
        {"role": "assistant", "tool_calls": "x"},
        {"role": "assistant", "tool_calls": [{"id": 3}]},
        {"role": "assistant", "tool_calls": [{"type": "function"}]},
        {"role": "user", "content": "y", "tool_calls": [{"id": "c1"}]},
        {"role": "assistant", "content": '"tool_calls"'},
        ["tool_calls"],
    ],
)
def test_odd_turns_are_the_upstreams_business(odd: Any) -> None:
    world = after(remembered())
    made = planned(CHAT, {"messages": [HELLO, odd]}, "deepseek", world=world)
    assert made.body["messages"] == [HELLO, odd]
    assert not any(isinstance(effect, Store) for effect in world.performed)


def test_only_so_many_turns_are_looked_up_the_newest_and_each_once() -> None:
    ids = [f"c{number}" for number in range(replay.TURNS_MAX + 2)]
    body = {"messages": [HELLO, *(chat_turn(one) for one in [*ids, *ids[-3:]])]}
    world = after(remembered())  # c1 is beyond the bound
    made = planned(CHAT, body, "deepseek", world=world)
    assert sum(isinstance(effect, Load) for effect in world.performed) == replay.TURNS_MAX
    assert not any(reasoning(made))


def test_a_call_that_is_repeated_is_looked_up_once() -> None:
    world = after(remembered())
    made = planned(CHAT, {"messages": [HELLO, chat_turn("c1"), chat_turn("c1")]}, "deepseek", world=world)
    assert (len(world.performed), reasoning(made)) == (1, [THOUGHT, THOUGHT])


def test_what_a_broken_cache_answers_does_no_harm() -> None:
    world = remembered()
    for value in (b"", b"\xff"):
        found = reasoning(planned(CHAT, chat_history("c1"), "deepseek", world=ScriptedWorld(cache=dict.fromkeys(world.cache, value))))
        assert found == [None if not value else "�"]


def test_it_works_for_any_provider_that_has_the_dialect() -> None:
    there = target("deepseek", base="https://relay.example/v1", glm=False)
    assert reasoning(planned(CHAT, chat_history("c1"), there, world=after(remembered()))) == [THOUGHT]


# ---------------------------------------------------------------------------------------------------- arrays


@given(
    st.lists(st.sampled_from([b"1", b'"a,]"', b'{"a": [1, 2]}', b"[ ]", b"null", b'"\\""'])),
    st.sets(st.integers(0, 6)),
    st.sampled_from([b"", b" ", b"\n\t"]),
)
def test_items_of_an_array_are_replaced_and_every_other_byte_stays(items: list[bytes], places: set[int], space: bytes) -> None:
    def array(parts: list[bytes]) -> bytes:
        return b"[" + space + (space + b"," + space).join(parts) + space + b"]"

    changes = {place: b'"new"' for place in places if place < len(items)}
    expected = array([changes.get(place, item) for place, item in enumerate(items)])
    assert replace_items(array(items), changes) == expected
    assert Envelope.read(b'{"a":%b}' % expected).get("a") == expected
