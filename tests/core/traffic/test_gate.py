"""core/traffic/gate.py: who is let in, in which order, and what a gate learns."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, consumes, invariant, multiple, rule

from core.traffic.gate import QUIET_SECONDS, Gate, Most, Place


def ignore() -> None:
    """Nobody listens."""


def enter(gate: Gate, client: str = "a", now: float = 0.0) -> Place:
    place = gate.join(client, now, ignore)
    assert place is not None
    return place


def fill(gate: Gate, number: int, now: float = 0.0) -> list[Place]:
    return [enter(gate, now=now) for _ in range(number)]


def test_as_many_as_may_are_within_and_the_others_wait() -> None:
    gate = Gate(2)
    places = fill(gate, 4)
    assert [place.inside for place in places] == [True, True, False, False]
    assert (gate.inside, gate.waiting, gate.busy) == (2, 2, True)
    gate.leave(places[0], 1.0)
    assert [place.inside for place in places] == [False, True, True, False]
    assert (gate.inside, gate.waiting) == (2, 1)


def test_a_gate_without_a_limit_lets_everybody_in_and_counts_them() -> None:
    for most in ("auto", 0):
        gate = Gate(most)
        assert all(place.inside for place in fill(gate, 1000))
        assert (gate.inside, gate.capacity) == (1000, math.inf)


def test_who_is_let_in_later_is_woken_once_and_who_is_at_once_is_not() -> None:
    gate, woken = Gate(1), []
    first = gate.join("a", 0.0, lambda: woken.append("first"))
    second = gate.join("b", 0.0, lambda: woken.append("second"))
    assert first is not None
    assert second is not None
    gate.leave(first, 1.0)
    gate.leave(second, 2.0)
    gate.look(3.0)
    assert woken == ["second"]


def test_clients_are_let_in_by_turns_and_each_in_its_own_order() -> None:
    gate, order = Gate(1), []
    within = enter(gate, "z")

    def come(client: str, number: int) -> Place | None:
        return gate.join(client, 0.0, lambda: order.append(f"{client}{number}"))

    waiting = [come("a", number) for number in range(4)] + [come("b", number) for number in range(2)] + [come("c", 0)]
    gate.leave(within, 1.0)
    while gate.waiting:
        gate.leave(next(place for place in waiting if place is not None and place.inside), 1.0)
    assert order == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


def test_fifty_requests_of_one_client_do_not_keep_another_waiting() -> None:
    gate = Gate(1)
    greedy = [enter(gate, "greedy") for _ in range(51)]
    modest = enter(gate, "modest")
    gate.leave(greedy[0], 1.0)
    assert (greedy[1].inside, modest.inside) == (True, False)
    gate.leave(greedy[1], 2.0)
    assert modest.inside


def test_the_line_has_an_end() -> None:
    gate = Gate(1, line=2)
    places = fill(gate, 3)
    assert gate.join("b", 0.0, ignore) is None
    gate.leave(places[2], 0.0)
    assert gate.join("b", 0.0, ignore) is not None
    assert Gate(1, line=0).join("a", 0.0, ignore) is not None
    full = Gate(1, line=0)
    fill(full, 1)
    assert full.join("a", 0.0, ignore) is None


def test_who_leaves_the_line_is_not_let_in_and_holds_nobody_up() -> None:
    gate = Gate(1)
    first, second, third = fill(gate, 3)
    gate.leave(second, 0.0)
    assert (gate.inside, gate.waiting) == (1, 1)
    gate.leave(first, 0.0)
    assert (second.inside, third.inside) == (False, True)


def test_leaving_twice_frees_one_place() -> None:
    gate = Gate(2)
    first, _, third, fourth = fill(gate, 4)
    gate.leave(first, 0.0)
    gate.leave(first, 0.0)
    assert (gate.inside, third.inside, fourth.inside) == (2, True, False)
    gate.leave(fourth, 0.0)
    gate.leave(fourth, 0.0)
    assert (gate.inside, gate.waiting) == (2, 0)


def test_a_limit_that_is_changed_counts_from_the_next_look_on() -> None:
    gate = Gate(1)
    places = fill(gate, 4)
    gate.most = 3
    gate.look(0.0)
    assert [place.inside for place in places] == [True, True, True, False]
    gate.most = 1
    gate.leave(places[0], 0.0)
    assert (gate.inside, gate.waiting) == (2, 1)
    gate.most = 0
    assert gate.look(0.0) == math.inf
    assert (gate.inside, gate.waiting) == (3, 0)


# -------------------------------------------------------------------------------------------------------------- auto


def test_after_a_complaint_one_less_than_were_within_may_be() -> None:
    gate = Gate("auto")
    places = fill(gate, 5, now=10.0)
    gate.leave(places[0], 10.0, crowded=True)
    assert (gate.learned, gate.capacity, gate.inside) == (4, 4, 4)
    assert not enter(gate, now=10.0).inside


def test_a_burst_of_complaints_finds_what_the_upstream_takes() -> None:
    gate = Gate("auto")
    places = fill(gate, 10)
    for place in places[:7]:
        gate.leave(place, 0.0, crowded=True)
    assert gate.learned == 3
    assert gate.inside == 3


def test_one_may_always_be_within() -> None:
    gate = Gate("auto")
    for _ in range(3):
        gate.leave(enter(gate), 0.0, crowded=True)
    assert gate.learned == 1


def test_a_complaint_never_raises_what_was_learned() -> None:
    gate = Gate("auto")
    places = fill(gate, 6)
    gate.leave(enter(gate), 0.0, crowded=True)
    gate.learned = 2
    gate.leave(places[0], 1.0, crowded=True)
    assert gate.learned == 2


def test_a_complaint_teaches_nothing_to_a_gate_with_a_number_or_to_who_was_in_line() -> None:
    gate = Gate(1)
    within, waiting = fill(gate, 2)
    gate.leave(waiting, 0.0, crowded=True)
    gate.leave(within, 0.0, crowded=True)
    assert (gate.learned, gate.capacity) == (None, 1)


def test_one_more_is_let_in_after_each_quiet_minute() -> None:
    gate = Gate("auto")
    places = fill(gate, 4, now=100.0)
    for place in places[:3]:
        gate.leave(place, 100.0, crowded=True)
    assert gate.learned == 1
    waiting = fill(gate, 3, now=101.0)
    assert gate.look(101.0) == 59.0
    assert gate.look(159.5) == 0.5
    assert [place.inside for place in waiting] == [False, False, False]
    assert gate.look(160.0) == QUIET_SECONDS
    assert [place.inside for place in waiting] == [True, False, False]
    gate.look(279.0)
    assert (gate.learned, [place.inside for place in waiting]) == (3, [True, True, False])
    gate.look(280.0)
    assert gate.learned == 4


def test_who_comes_after_a_quiet_minute_finds_the_place_that_it_made() -> None:
    gate = Gate("auto")
    gate.leave(fill(gate, 2)[0], 0.0, crowded=True)
    assert not enter(gate, now=59.0).inside
    first = enter(gate, now=60.0)
    assert (first.inside, gate.inside) == (False, 2)
    gate.leave(first, 60.0)
    assert enter(gate, now=120.0).inside


def test_a_complaint_begins_the_minute_anew() -> None:
    gate = Gate("auto")
    places = fill(gate, 5)
    gate.leave(places[0], 0.0, crowded=True)
    gate.leave(places[1], 50.0, crowded=True)
    assert gate.learned == 3
    assert gate.look(100.0) == 10.0
    assert gate.learned == 3


def test_what_was_learned_is_forgotten_when_what_was_too_many_has_been_allowed_for_a_minute() -> None:
    gate = Gate("auto")
    places = fill(gate, 3)
    gate.leave(places[0], 0.0, crowded=True)
    assert gate.learned == 2
    gate.look(60.0)
    assert gate.look(119.0) == 1.0
    assert gate.capacity == 3
    assert gate.look(120.0) == math.inf
    assert gate.capacity == math.inf


def test_a_lesson_is_measured_by_the_largest_complaint() -> None:
    gate = Gate("auto")
    places = fill(gate, 5)
    gate.learned, gate._too_many = 1, 2
    gate.leave(places[0], 0.0, crowded=True)
    gate.look(4 * QUIET_SECONDS)
    assert gate.learned == 5
    gate.look(5 * QUIET_SECONDS)
    assert gate.learned is None


# -------------------------------------------------------------------------------------------------------------- reset


@pytest.mark.parametrize(
    ("most", "stay", "waiting", "seconds"),
    [
        (1, None, 3, 1),  # nothing known
        (1, 0.2, 0, 1),  # a second at least
        (1, 4.0, 0, 4),
        (1, 4.5, 0, 5),
        (1, 4.0, 2, 12),  # the third turn
        (2, 4.0, 2, 8),  # two at a time
        (5, 4.0, 2, 4),
        (1, 50.0, 99, 60),
    ],
)
def test_who_is_refused_is_told_when_a_place_may_be_had(most: int, stay: float | None, waiting: int, seconds: int) -> None:
    gate = Gate(most)
    gate._stay, gate.waiting = stay, waiting
    assert gate.reset(0.0) == seconds


def test_the_mean_stay_is_that_of_those_who_were_within() -> None:
    gate = Gate(1)
    first, second = enter(gate, now=0.0), enter(gate, now=0.0)
    gate.leave(second, 100.0)
    assert gate.reset(100.0) == 1
    gate.leave(first, 10.0)
    assert gate.reset(10.0) == 10
    gate.leave(enter(gate, now=10.0), 28.0)
    assert gate.reset(28.0) == 11


def test_a_growing_gate_may_have_a_place_earlier() -> None:
    gate = Gate("auto")
    places = fill(gate, 2)
    gate.leave(places[0], 50.0, crowded=True)
    assert gate.reset(60.0) == 50
    assert gate.reset(105.0) == 5
    assert gate.reset(300.0) == 1


# ----------------------------------------------------------------------------------------------------------- properties


class AnyCourse(RuleBasedStateMachine):
    """A gate against a plain list of what happened."""

    places: Bundle[Place] = Bundle("places")

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate(2, line=6)
        self.now = 0.0
        self.line: list[Place] = []  # ours, in the order of coming
        self.within: set[Place] = set()
        self.woken: Counter[int] = Counter()
        self.passed: dict[Place, Counter[str]] = {}  # by whom each one that waits was passed since it heads its client's line
        self.ahead: dict[Place, set[str]] = {}  # the other clients that waited when it came to head its client's line

    def head(self, client: str) -> Place | None:
        return next((place for place in self.line if place.client == client), None)

    def note_heads(self) -> None:
        for place in self.line:
            if place is self.head(place.client) and place not in self.passed:
                self.passed[place] = Counter()
                self.ahead[place] = {other.client for other in self.line} - {place.client}

    def settle(self) -> None:
        """Take note of who was let in."""
        came_in = [place for place in self.line if place.inside]
        for place in came_in:
            assert place not in self.within
            self.within.add(place)
        for client in {place.client for place in came_in}:
            theirs = [place for place in self.line if place.client == client]
            let_in = [place for place in theirs if place.inside]
            assert let_in == theirs[: len(let_in)], "first come, first served"
        self.line = [place for place in self.line if not place.inside]
        for waiting in self.line:
            if waiting in self.passed:
                self.passed[waiting].update(place.client for place in came_in)
                newcomers = self.passed[waiting].keys() - self.ahead[waiting] - {waiting.client}
                assert not newcomers, "who came later went first"
                assert all(times == 1 for times in self.passed[waiting].values()), "one client went twice before another's turn"
        self.note_heads()

    @rule(target=places, client=st.sampled_from("abc"))
    def come(self, client: str) -> Place | MultipleResults[Place]:
        number = len(self.woken)
        before = self.gate.waiting
        place = self.gate.join(client, self.now, lambda: self.woken.update([number]))
        self.woken[number] += 0
        if place is None:
            assert before == self.gate.waiting >= self.gate.line
            return multiple()
        if place.inside:
            self.within.add(place)
        else:
            self.line.append(place)
        self.settle()
        return place

    @rule(place=consumes(places), crowded=st.booleans(), again=st.booleans())
    def go(self, place: Place, *, crowded: bool, again: bool) -> None:
        was_within = place in self.within
        self.within.discard(place)
        self.line = [one for one in self.line if one is not place]
        learned = self.gate.learned
        self.gate.leave(place, self.now, crowded=crowded)
        if again:
            self.gate.leave(place, self.now, crowded=crowded)
        if not (was_within and crowded and self.gate.most == "auto"):
            assert self.gate.learned in (learned, None)
        assert not place.inside
        self.settle()

    @rule(seconds=st.sampled_from([0.5, 30.0, 60.0, 130.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds
        again = self.gate.look(self.now)
        assert again > 0
        self.settle()

    @rule(most=st.sampled_from(["auto", 1, 2, 3]))
    def change_the_limit(self, most: Most) -> None:
        self.gate.most = most
        self.gate.look(self.now)
        self.settle()

    @invariant()
    def nobody_is_lost_and_no_place_is_given_twice(self) -> None:
        assert self.gate.inside == len(self.within) == sum(place.inside for place in self.within)
        assert self.gate.waiting == len(self.line) == sum(map(len, self.gate._lines.values()))
        assert max(self.woken.values(), default=0) <= 1
        assert all(self.gate._lines.values())

    @invariant()
    def no_place_is_free_while_somebody_waits(self) -> None:
        assert not self.gate.waiting or self.gate.inside >= self.gate.capacity

    @invariant()
    def a_guess_is_a_number_of_seconds(self) -> None:
        assert 1 <= self.gate.reset(self.now) <= 60


TestAnyCourse = AnyCourse.TestCase
TestAnyCourse.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


class NeverTooMany(RuleBasedStateMachine):
    """With a fixed limit there are never more within than it says."""

    places: Bundle[Place] = Bundle("places")

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate(3, line=5)

    @rule(target=places, client=st.sampled_from("ab"))
    def come(self, client: str) -> Place | MultipleResults[Place]:
        return self.gate.join(client, 0.0, ignore) or multiple()

    @rule(place=consumes(places))
    def go(self, place: Place) -> None:
        self.gate.leave(place, 0.0)

    @invariant()
    def there_are_never_too_many(self) -> None:
        assert 0 <= self.gate.inside <= 3
        assert 0 <= self.gate.waiting <= 5


TestNeverTooMany = NeverTooMany.TestCase
TestNeverTooMany.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
