"""core/traffic/breaker.py: when a target is left alone, and how it comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.traffic.breaker import Attempt, Breakers, Outcome, State

LABEL = "international/openai"


def attempt(breakers: Breakers, now: float = 0.0) -> Attempt:
    leave = breakers.ask(LABEL, now)
    assert leave is not None
    return leave


def broken(failures: int = 2, cooldown: float = 30.0, now: float = 100.0) -> Breakers:
    """Breakers of which that of ``LABEL`` opened at ``now``."""
    breakers = Breakers(failures, cooldown)
    for _ in range(failures):
        attempt(breakers, now).over(Outcome.BAD, now)
    return breakers


def state(breakers: Breakers, now: float = 0.0) -> State:
    return breakers.states(now)[LABEL]


def test_failures_in_a_row_open_it() -> None:
    breakers = Breakers(3)
    for _ in range(3):
        assert state_of_next(breakers) is State.CLOSED
        attempt(breakers).over(Outcome.BAD, 0.0)
    assert state(breakers) is State.OPEN
    assert breakers.ask(LABEL, 0.0) is None


def state_of_next(breakers: Breakers) -> State:
    attempt(breakers)
    return state(breakers)


def test_a_success_begins_the_row_anew() -> None:
    breakers = Breakers(2)
    for outcome in (Outcome.BAD, Outcome.GOOD, Outcome.BAD, Outcome.GOOD, Outcome.BAD):
        attempt(breakers).over(outcome, 0.0)
    assert state(breakers) is State.CLOSED


def test_nothing_counts_neither_way() -> None:
    breakers = Breakers(2)
    for one in (Outcome.BAD, Outcome.NOTHING, Outcome.NOTHING):
        attempt(breakers).over(one, 0.0)
    assert state(breakers) is State.CLOSED
    attempt(breakers).over(Outcome.BAD, 0.0)
    assert state(breakers) is State.OPEN


def test_an_attempt_is_over_once() -> None:
    breakers = Breakers(2)
    leave = attempt(breakers)
    leave.over(Outcome.BAD, 0.0)
    leave.over(Outcome.BAD, 0.0)
    assert state(breakers) is State.CLOSED


def test_after_the_cooldown_one_request_is_the_probe() -> None:
    breakers = broken(now=100.0)
    assert breakers.ask(LABEL, 129.9) is None
    attempt(breakers, 130.0)
    assert state(breakers, 130.0) is State.HALF_OPEN
    assert [breakers.ask(LABEL, now) for now in (130.0, 500.0)] == [None, None]


def test_an_answer_to_the_probe_closes_it() -> None:
    breakers = broken(now=100.0)
    attempt(breakers, 130.0).over(Outcome.GOOD, 131.0)
    assert state(breakers) is State.CLOSED
    attempt(breakers, 131.0).over(Outcome.BAD, 131.0)
    assert state(breakers) is State.CLOSED, "the row of failures has begun anew"


def test_the_beginning_of_an_answer_decides() -> None:
    breakers = broken(now=100.0)
    attempt(breakers, 130.0).answered()
    assert state(breakers) is State.CLOSED
    breakers = Breakers(1)
    ordinary = attempt(breakers)
    ordinary.answered()
    ordinary.over(Outcome.BAD, 0.0)
    assert state(breakers) is State.CLOSED


def test_a_failure_of_the_probe_opens_it_for_another_cooldown() -> None:
    breakers = broken(now=100.0)
    attempt(breakers, 130.0).over(Outcome.BAD, 140.0)
    assert state(breakers, 140.0) is State.OPEN
    assert breakers.ask(LABEL, 169.9) is None
    attempt(breakers, 170.0)


def test_a_probe_whose_client_left_frees_the_place_for_another() -> None:
    breakers = broken(now=100.0)
    probe = attempt(breakers, 130.0)
    probe.over(Outcome.NOTHING, 131.0)
    assert state(breakers, 131.0) is State.HALF_OPEN
    second = attempt(breakers, 131.0)
    assert breakers.ask(LABEL, 131.0) is None
    probe.over(Outcome.GOOD, 132.0)
    assert state(breakers, 132.0) is State.HALF_OPEN
    second.over(Outcome.GOOD, 132.0)
    assert state(breakers, 132.0) is State.CLOSED


@pytest.mark.parametrize("outcome", list(Outcome))
def test_what_began_before_it_opened_decides_nothing(outcome: Outcome) -> None:
    breakers = Breakers(1, 30.0)
    early, later = attempt(breakers), attempt(breakers)
    early.over(Outcome.BAD, 0.0)
    later.over(outcome, 1.0)
    assert state(breakers, 1.0) is State.OPEN
    assert breakers.closed_for(LABEL, 1.0) == 29.0
    straggler = attempt(broken := Breakers(1, 30.0))
    attempt(broken).over(Outcome.BAD, 0.0)
    probe = attempt(broken, 30.0)
    straggler.over(outcome, 31.0)
    assert state(broken, 31.0) is State.HALF_OPEN
    probe.over(Outcome.GOOD, 32.0)
    assert state(broken, 32.0) is State.CLOSED


def test_targets_have_breakers_of_their_own() -> None:
    breakers = broken()
    other = breakers.ask("cn/openai", 100.0)
    assert other is not None
    assert breakers.states(100.0) == {LABEL: State.OPEN, "cn/openai": State.CLOSED}


def test_switched_off_nothing_opens_and_what_was_open_is_closed() -> None:
    breakers = Breakers(0)
    for _ in range(100):
        attempt(breakers).over(Outcome.BAD, 0.0)
    assert state(breakers) is State.CLOSED
    breakers = broken(now=100.0)
    breakers.failures = 0
    assert (state(breakers, 100.0), breakers.closed_for(LABEL, 100.0)) == (State.CLOSED, 0.0)
    attempt(breakers, 100.0).over(Outcome.BAD, 100.0)
    breakers.failures = 2
    assert state(breakers, 100.0) is State.CLOSED


def test_asking_for_how_long_changes_nothing() -> None:
    breakers = broken(cooldown=30.0, now=100.0)
    assert breakers.closed_for("never asked", 100.0) == 0.0
    assert breakers.closed_for(LABEL, 110.0) == 20.0
    assert breakers.closed_for(LABEL, 131.0) == 0.0
    assert state(breakers, 129.0) is State.OPEN
    assert state(breakers, 131.0) is State.HALF_OPEN
    attempt(breakers, 131.0)
    assert breakers.closed_for(LABEL, 131.0) == 1.0


def test_each_says_when_it_may_be_asked() -> None:
    breakers = broken(cooldown=30.0, now=100.0)
    for now in (103.5, 103.5):
        other = breakers.ask("cn/openai", now)
        assert other is not None
        other.over(Outcome.BAD, now)
    assert [breakers.closed_for(label, 104.5) for label in (LABEL, "cn/openai", "another")] == [25.5, 29.0, 0.0]
    assert [breakers.closed_for(label, 500.0) for label in (LABEL, "cn/openai")] == [0.0, 0.0]


STEPS = st.lists(
    st.tuples(st.sampled_from(["ask", "over"]), st.integers(0, 5), st.sampled_from(list(Outcome)), st.sampled_from([0.0, 1.0, 10.0]))
)


@given(STEPS, st.integers(1, 3))
def test_whatever_happens_at_most_one_probe_is_out(steps: list[tuple[str, int, Outcome, float]], failures: int) -> None:
    breakers, now = Breakers(failures, 10.0), 0.0
    out: list[tuple[Attempt, bool]] = []
    for what, which, outcome, passes in steps:
        now += passes
        if what == "ask":
            was_closed = breakers.states(now).get(LABEL, State.CLOSED) is State.CLOSED
            free = breakers.closed_for(LABEL, now) == 0.0
            leave = breakers.ask(LABEL, now)
            assert (leave is not None) is free
            if leave is not None:
                out.append((leave, not was_closed))
        elif out:
            leave, was_probe = out.pop(which % len(out))
            before = breakers.states(now)[LABEL]
            leave.over(outcome, now)
            after = breakers.states(now)[LABEL]
            assert was_probe or before is State.CLOSED or before is after, "only a probe changes what is not closed"
        assert sum(is_probe for _, is_probe in out) <= 1
        assert (breakers.states(now).get(LABEL) is State.HALF_OPEN) or not any(is_probe for _, is_probe in out)
