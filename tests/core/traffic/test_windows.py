"""core/traffic/windows.py: requests per minute, and addresses that are barred."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.traffic.windows import BAR, WINDOW, Bars, Window, network_of


def test_so_many_within_a_minute_are_admitted_and_the_next_is_told_when() -> None:
    window = Window()
    assert [window.admit("a", 3, now) for now in (0.0, 10.0, 20.0)] == [0.0, 0.0, 0.0]
    assert window.admit("a", 3, 30.0) == 30.0
    assert window.admit("a", 3, 59.5) == 0.5
    assert window.admit("a", 3, 60.0) == 0.0
    assert window.admit("a", 3, 60.0) == 10.0


def test_keys_are_counted_apart() -> None:
    window = Window()
    assert [window.admit(key, 1, 0.0) for key in ("a", "b", "a")] == [0.0, 0.0, 60.0]


def test_without_a_limit_nothing_is_counted() -> None:
    window = Window()
    assert [window.admit("a", 0, 0.0) for _ in range(100)] == [0.0] * 100
    assert len(window) == 0


def test_a_limit_that_is_lowered_waits_for_all_that_are_too_many() -> None:
    window = Window()
    for now in (0.0, 10.0, 20.0, 30.0):
        window.admit("a", 4, now)
    assert window.admit("a", 2, 30.0) == 50.0
    assert window.admit("a", 2, 79.0) == 1.0
    assert window.admit("a", 2, 80.0) == 0.0


def test_the_number_of_keys_is_bounded_and_the_longest_unseen_leave() -> None:
    window = Window(most_keys=3)
    for key in ("a", "b", "c"):
        window.admit(key, 1, 0.0)
    assert window.admit("a", 1, 1.0) == 59.0
    window.admit("d", 1, 1.0)
    assert len(window) == 3
    assert window.admit("a", 1, 2.0) == 58.0
    assert window.admit("b", 1, 2.0) == 0.0


@given(st.lists(st.sampled_from([0.0, 0.1, 1.0, 7.5, 20.0, 59.9, 60.0]), max_size=60), st.integers(1, 5))
def test_exactly_so_many_are_admitted_in_any_minute(gaps: list[float], limit: int) -> None:
    window, now = Window(), 0.0
    admitted: list[float] = []
    for gap in gaps:
        now += gap
        recent = [moment for moment in admitted if moment + WINDOW > now]
        wait = window.admit("a", limit, now)
        assert (wait == 0.0) is (len(recent) < limit)
        if wait == 0.0:
            admitted.append(now)
        else:
            assert 0.0 < wait == recent[-limit] + WINDOW - now
    for start in admitted:
        assert sum(start <= moment < start + WINDOW for moment in admitted) <= limit


# --------------------------------------------------------------------------------------------------------------- bars


@pytest.mark.parametrize("limit", [1, 2, 30])
def test_so_many_wrong_keys_bar_an_address_for_a_minute(limit: int) -> None:
    bars = Bars()
    for _ in range(limit):
        assert (bars.barred("10.0.0.1", 5.0), bool(bars)) == (0.0, False)
        bars.fail("10.0.0.1", limit, 5.0)
    assert (bars.barred("10.0.0.1", 5.0), bool(bars)) == (BAR, True)
    assert bars.barred("10.0.0.2", 5.0) == 0.0
    assert bars.barred("10.0.0.1", 64.0) == 1.0
    assert (bars.barred("10.0.0.1", 65.0), bool(bars)) == (0.0, False)


def test_after_the_minute_the_count_begins_anew() -> None:
    bars = Bars()
    for now in (0.0, 1.0, 61.0):
        bars.fail("10.0.0.1", 2, now)
    assert bars.barred("10.0.0.1", 61.0) == 0.0
    bars.fail("10.0.0.1", 2, 62.0)
    assert bars.barred("10.0.0.1", 62.0) == 60.0


def test_wrong_keys_that_are_far_apart_bar_nobody() -> None:
    bars = Bars()
    for number in range(100):
        bars.fail("10.0.0.1", 3, number * 30.0)
    assert not bars


def test_without_a_limit_nobody_is_barred() -> None:
    bars = Bars()
    for _ in range(1000):
        bars.fail("10.0.0.1", 0, 0.0)
    assert (bars.barred("10.0.0.1", 0.0), bool(bars)) == (0.0, False)


def test_a_network_of_ipv6_addresses_counts_as_one() -> None:
    bars = Bars()
    bars.fail("2001:db8::1", 2, 0.0)
    bars.fail("2001:db8::ffff", 2, 0.0)
    assert bars.barred("2001:db8:0:0:1234::", 0.0) == 60.0
    assert bars.barred("2001:db8:0:1::", 0.0) == 0.0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("", ""),
        ("/run/proxy.sock", "/run/proxy.sock"),
        ("::1", "::"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::"),
        ("no:address", "no:address"),
    ],
)
def test_the_part_of_an_address_that_counts(address: str, network: str) -> None:
    assert network_of(address) == network
