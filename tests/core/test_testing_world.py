"""core/testing/world.py: the scripted world does what its script says, and is strict with the flow."""

from __future__ import annotations

from typing import Any

import pytest

from core.effects import (
    EFFECTS,
    Await,
    Compute,
    Deadlines,
    Effect,
    Enter,
    Fetch,
    Flow,
    Head,
    Inspect,
    Leave,
    Load,
    Now,
    Open,
    Pause,
    Read,
    Send,
    Spawn,
    Start,
    Store,
    UpstreamRequest,
    Vitals,
)
from core.errors import ClientGone, UpstreamError, UpstreamFailed, UpstreamTimeout
from core.testing import Answer, ProtocolViolation, ScriptedWorld
from core.traffic.gate import Gate

HEAD = Head(200, [(b"content-type", b"text/event-stream")])
REQUEST = UpstreamRequest("POST", "http://127.0.0.1/v1/messages", [], b"{}")
OTHER = UpstreamRequest("POST", "http://127.0.0.1/v1/other", [], b"{}")
CUT = UpstreamFailed("reset")
LATE = UpstreamTimeout("silence", phase="head")


def ask(*effects: Effect[Any]) -> Flow[list[Any]]:
    """Yield each effect; the result is the replies, and the errors thrown instead."""
    replies: list[Any] = []
    for effect in effects:
        try:
            replies.append((yield effect))
        except UpstreamError as error:
            replies.append(error)
        except ClientGone as gone:
            return [*replies, gone]
    return replies


OPEN, OPEN_IDLE = Open(REQUEST, Deadlines()), Open(REQUEST, Deadlines(), idle=5.0)


def relay() -> Flow[str]:
    """A small exchange, to be broken everywhere: one retry, what arrives is sent on, the outcome is named."""
    try:
        for attempt in (1, 2):
            try:
                head = yield from Open(REQUEST, Deadlines())
                assert head is not None
                yield from Start(head)
                while (data := (yield from Read())) != b"":
                    assert data is not None
                    yield from Send(data)
            except UpstreamError as error:
                if attempt == 2 or error.phase == "body":
                    return f"failed: {error}"
            else:
                return "done"
    except ClientGone:
        return "gone"
    raise AssertionError("not reached")


def test_a_flow_runs_to_its_result() -> None:
    world = ScriptedWorld([Answer(HEAD, [b"a", b"b"])])
    assert world.run(relay()) == "done"
    assert (world.head, world.sent, world.sends, world.opened) == (HEAD, b"ab", [b"a", b"b"], [REQUEST])
    assert [type(effect) for effect in world.performed] == [Open, Start, Read, Send, Read, Send, Read]
    assert world.upstream_effects == 4


def test_every_effect_is_performed() -> None:
    vitals = Vitals(instance="i", started=1.0)
    world = ScriptedWorld([Answer(HEAD, [b"x"], silent=1)], fetches=[Answer(HEAD, [b"f", None, b"g"])], cache={b"k": b"v"}, vitals=vitals)
    effects: list[Effect[Any]] = [
        OPEN_IDLE, Await(), Read(), Read(), Start(HEAD), Send(b"s"), Fetch(OTHER, 1.0), Load(b"k"), Load(b"l"), Store(b"l", b"w"), Load(b"l"),
        Compute(divmod, (7, 2)), Inspect(), Spawn(ask(Load(b"k"))), Now(), Pause(0.5), Enter(Gate(), "a"), Leave(),
    ]  # fmt: skip
    assert world.run(ask(*effects)) == [
        None, HEAD, b"x", b"", None, None, (HEAD, b"fg"), b"v", None, None, b"w", (3, 1), vitals, None, 1005.0, None, True, None,
    ]  # fmt: skip
    assert {type(effect) for effect in effects} == set(EFFECTS)
    assert world.performed == [*effects, Load(b"k")]
    assert (world.opened, world.fetched, world.cache) == ([REQUEST], [OTHER], {b"k": b"v", b"l": b"w"})


def test_the_given_cache_is_not_written_to() -> None:
    given: dict[bytes, bytes] = {}
    ScriptedWorld(cache=given).run(ask(Store(b"k", b"v")))
    assert given == {}


def test_vitals_have_a_default() -> None:
    assert ScriptedWorld().run(ask(Inspect())) == [Vitals(instance="scripted", started=0.0)]


def test_silence_is_a_reply_only_for_those_who_set_a_limit() -> None:
    world = ScriptedWorld([Answer(HEAD, [None, b"a", None, None, b"b", None], silent=3)] * 2)
    patient: list[Effect[Any]] = [OPEN, Read(), Read(), Read()]
    assert world.run(ask(OPEN_IDLE, Await(1.0), Await(1.0), Await(1.0), *[Read(1.0)] * 7, *patient)) == [
        None, None, None, HEAD, None, b"a", None, None, b"b", None, b"", HEAD, b"a", b"b", b"",
    ]  # fmt: skip


def test_an_answer_is_not_silent_unless_scripted() -> None:
    assert ScriptedWorld([Answer(HEAD)]).run(ask(OPEN_IDLE, Read(1.0))) == [HEAD, b""]


def test_the_clock_goes_on_where_time_passes_and_nowhere_else() -> None:
    world = ScriptedWorld([Answer(HEAD, [None, b"a", None], silent=2)], now=7.0)
    effects: list[Effect[Any]] = [
        Now(),
        OPEN_IDLE,
        Now(),
        Await(2.0),
        Await(2.0),
        Now(),
        Read(1.0),
        Now(),
        Read(1.0),
        Start(HEAD),
        Send(b"x"),
    ]
    assert world.run(ask(*effects, Read(), Pause(3.0), Now(), Pause(0.0), Now())) == [
        7.0, None, 12.0, None, HEAD, 14.0, None, 15.0, b"a", None, None, b"", None, 18.0, None, 18.0,
    ]  # fmt: skip
    assert world.now == 18.0


def occupied(most: int = 1, line: int = 100) -> Gate:
    """A gate at which others have all the places."""
    gate = Gate(most, line)
    for _ in range(most):
        gate.join("other", 1000.0, lambda: None)
    return gate


def test_a_place_at_a_gate_is_taken_and_given_back_at_the_end() -> None:
    gate, inside = Gate(2), []
    world = ScriptedWorld()
    assert world.run(ask(Enter(gate, "a"), Enter(gate, "a"), Compute(lambda: inside.append(gate.inside)))) == [True, True, None]
    assert (inside, gate.inside) == ([1], 0)


def test_a_place_is_given_back_when_the_client_leaves_and_when_the_flow_breaks() -> None:
    gate = Gate(1)
    ScriptedWorld(gone=1).run(ask(Enter(gate, "a"), Load(b"k")))
    assert gate.inside == 0
    with pytest.raises(ZeroDivisionError):
        ScriptedWorld().run(ask(Enter(gate, "a"), Compute(divmod, (1, 0))))
    assert gate.inside == 0


def test_a_place_can_be_left_and_one_place_is_all_a_flow_has() -> None:
    first, second, seen = Gate(1), Gate(1), []
    note = Compute(lambda: seen.append((first.inside, second.inside)))
    ScriptedWorld().run(ask(Leave(), Enter(first, "a"), note, Enter(second, "a"), note, Leave(), note))
    assert seen == [(1, 0), (0, 1), (0, 0)]


def test_a_gate_learns_from_a_flow_that_leaves_it_because_of_a_crowd() -> None:
    gate = Gate("auto")
    gate.join("other", 0.0, lambda: None)
    ScriptedWorld().run(ask(Enter(gate, "a"), Leave(crowded=True)))
    assert gate.learned == 1


def test_who_waits_in_vain_is_refused_after_the_time_it_gave_itself() -> None:
    gate, world = occupied(), ScriptedWorld()
    assert world.run(ask(Enter(gate, "a", timeout=10.0), Now())) == [False, 1010.0]
    assert gate.waiting == 0


def test_who_waits_with_an_idle_time_keeps_its_place_in_line() -> None:
    gate, world, waiting = occupied(), ScriptedWorld(), []
    enter = Enter(gate, "a", timeout=10.0, idle=4.0)
    note = Compute(lambda: waiting.append(gate.waiting))
    assert world.run(ask(enter, Now(), note, enter, Now(), note, enter, Now(), note)) == [
        None, 1004.0, None, None, 1008.0, None, False, 1010.0, None,
    ]  # fmt: skip
    assert waiting == [1, 1, 0]


def test_a_gate_that_grows_lets_in_who_waits() -> None:
    gate, world = Gate("auto"), ScriptedWorld()
    for _ in range(2):
        place = gate.join("other", 1000.0, lambda: None)
    assert place is not None
    gate.leave(place, 1000.0, crowded=True)
    enter = Enter(gate, "a", idle=50.0)
    assert world.run(ask(enter, enter, Now())) == [None, True, 1060.0]


def test_a_gate_that_has_grown_meanwhile_lets_in_at_once() -> None:
    gate, world = Gate("auto"), ScriptedWorld()
    for _ in range(3):
        place = gate.join("other", 1000.0, lambda: None)
    assert place is not None
    gate.leave(place, 1000.0, crowded=True)
    enter = Enter(gate, "a", idle=1.0)
    assert world.run(ask(enter, Pause(70.0), enter, Now())) == [None, None, True, 1071.0]


def test_a_full_line_refuses_at_once() -> None:
    assert ScriptedWorld().run(ask(Enter(occupied(line=0), "a", timeout=10.0), Now())) == [False, 1000.0]


def test_the_answers_of_gates_can_be_scripted() -> None:
    gate, world = occupied(), ScriptedWorld(enters=[None, True, False, None])
    enter = Enter(gate, "a", timeout=3.0, idle=5.0)
    assert world.run(ask(enter, Now(), enter, enter, Enter(gate, "a"), enter, Now())) == [None, 1005.0, True, False, None, False, 1008.0]


def test_scripted_errors_are_thrown_where_they_stand() -> None:
    world = ScriptedWorld(
        [Answer(LATE), Answer(LATE, silent=1), Answer(HEAD, [b"a", CUT])], fetches=[Answer(LATE), Answer(HEAD, [b"a", CUT])]
    )
    effects: list[Effect[Any]] = [OPEN, OPEN_IDLE, Await(), OPEN, Read(), Read(), Fetch(OTHER, 1.0), Fetch(OTHER, 1.0)]
    assert world.run(ask(*effects)) == [LATE, None, LATE, HEAD, b"a", CUT, LATE, CUT]
    assert (len(world.opened), len(world.fetched)) == (3, 2)


def test_an_error_can_be_thrown_at_any_upstream_effect() -> None:
    outcomes = []
    for number in range(4):
        world = ScriptedWorld([Answer(HEAD, [b"a", b"b"])] * 2, fail=(number, CUT))
        outcomes.append((world.run(relay()), world.sent, len(world.opened)))
    assert outcomes == [("failed: reset", b"", 1), ("failed: reset", b"", 1), ("failed: reset", b"a", 1), ("failed: reset", b"ab", 1)]


def test_an_open_that_fails_was_still_asked_for_and_can_be_retried() -> None:
    world = ScriptedWorld([Answer(HEAD, [b"a"])], fail=(0, UpstreamFailed("refused", phase="connect")))
    assert (world.run(relay()), world.sent, len(world.opened)) == ("done", b"a", 2)


@pytest.mark.parametrize("effects", [[OPEN_IDLE, Await()], [OPEN, Read()], [Fetch(OTHER, 1.0)]])
def test_errors_can_be_thrown_at_each_kind_of_upstream_effect(effects: list[Effect[Any]]) -> None:
    world = ScriptedWorld([Answer(HEAD, silent=1 if OPEN_IDLE in effects else 0)], fail=(len(effects) - 1, CUT))
    assert world.run(ask(*effects))[-1] is CUT


def test_the_client_can_leave_at_every_effect() -> None:
    for number in range(7):
        world = ScriptedWorld([Answer(HEAD, [b"a", b"b"])], gone=number)
        assert world.run(relay()) == "gone"
        assert len(world.performed) == number + 1
        assert world.sent == [b"", b"", b"", b"", b"a", b"a", b"ab"][number]
        assert (world.head is None) is (number < 2)


def test_what_a_flow_raises_comes_out() -> None:
    def careless() -> Flow[None]:
        yield from Open(REQUEST, Deadlines())

    with pytest.raises(ClientGone):
        ScriptedWorld([Answer(HEAD)], gone=0).run(careless())
    with pytest.raises(UpstreamFailed):
        ScriptedWorld([Answer(CUT)]).run(careless())
    with pytest.raises(ZeroDivisionError):
        ScriptedWorld().run(ask(Compute(divmod, (1, 0))))


def test_what_a_computed_function_raises_is_not_taken_for_an_upstream_error() -> None:
    def broken() -> None:
        raise CUT

    with pytest.raises(UpstreamFailed):
        ScriptedWorld().run(ask(Compute(broken)))


def test_spawned_flows_run_afterwards_and_may_spawn_more() -> None:
    inner = ask(Store(b"inner", b"1"), Fetch(OTHER, 1.0))
    outer = ask(Spawn(inner), OPEN, Read(), Store(b"outer", b"1"))
    world = ScriptedWorld([Answer(HEAD, [b"x"])], fetches=[Answer(HEAD)], gone=3)
    assert world.run(ask(Spawn(outer), Load(b"outer"), Load(b"inner"))) == [None, None, None]
    assert list(world.cache) == [b"outer", b"inner"]


def test_spawned_flows_run_although_the_client_has_gone() -> None:
    world = ScriptedWorld(gone=1)
    replies = world.run(ask(Spawn(ask(Store(b"k", b"v"))), Start(HEAD)))
    assert replies[0] is None
    assert isinstance(replies[1], ClientGone)
    assert (world.cache, world.head) == ({b"k": b"v"}, None)


def stubborn() -> Flow[None]:
    try:
        yield from Start(HEAD)
    except ClientGone:
        yield from Send(b"more")


@pytest.mark.parametrize(
    ("flow", "gone", "complaint"),
    [
        (stubborn(), 0, "asked after ClientGone: Send"),
        (ask(Start(HEAD), Start(HEAD)), None, "started the answer twice: Start"),
        (ask(Send(b"a")), None, "sent before the start: Send"),
        (ask(Start(HEAD), Send("a")), None, "something other than bytes: Send"),  # type: ignore[arg-type]
        (ask(Start(HEAD), Send(bytearray(b"a"))), None, "something other than bytes: Send"),  # type: ignore[arg-type]
        (ask("go"), None, "not an effect: 'go'"),  # type: ignore[arg-type]
        (ask(Effect()), None, "not an effect"),
        (ask(Read()), None, "not answered: Read"),
        (ask(Await()), None, "not outstanding: Await"),
        (ask(OPEN, Await()), None, "not outstanding: Await"),
        (ask(OPEN_IDLE, Read()), None, "not answered: Read"),
        (ask(OPEN, OPEN), None, "more often than scripted: Open"),
        (ask(Fetch(OTHER, 1.0)), None, "more often than scripted: Fetch"),
        (ask(Spawn(ask(Start(HEAD)))), None, "in the background: Start"),
        (ask(Start(HEAD), Spawn(ask(Send(b"a")))), None, "in the background: Send"),
        (ask(OPEN, Spawn(ask(Read()))), None, "not answered: Read"),
        (ask(OPEN, Leave(), Read()), None, "not answered: Read"),
        (ask(Pause(-1.0)), None, "paused for less than no time: Pause"),
        (ask(Enter(occupied(), "a")), None, "waits at a gate that nobody leaves: Enter"),
    ],
)
def test_what_a_flow_may_not_do(flow: Flow[Any], gone: int | None, complaint: str) -> None:
    silent = 1 if "Read" in complaint else 0
    world = ScriptedWorld([Answer(HEAD, silent=silent)], gone=gone)
    with pytest.raises(ProtocolViolation, match=complaint):
        world.run(flow)


def test_after_an_error_there_is_nothing_to_read() -> None:
    for world in (ScriptedWorld([Answer(HEAD, [CUT, b"x"])]), ScriptedWorld([Answer(HEAD, [b"x"])], fail=(1, CUT))):
        with pytest.raises(ProtocolViolation, match="not answered: Read"):
            world.run(ask(OPEN, Read(), Read()))


def test_an_empty_chunk_cannot_be_scripted() -> None:
    with pytest.raises(ValueError, match="found an empty chunk"):
        Answer(HEAD, [b"a", b""])
