"""core/traffic/retry.py: what follows each kind of failure, row by row, and how long it takes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import (
    BadRequest,
    ClientGone,
    InternalError,
    ProxyError,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamSaid,
    UpstreamTimeout,
)
from core.traffic.breaker import Outcome
from core.traffic.retry import Again, Decision, Elsewhere, GiveUp, Policy, Repair, cause_of, decide, is_crowded, outcome_of, retry_after
from core.translate.faults import understand

POLICY = Policy(retries=2, backoff=0.1, patience=10.0)
#: Without chance a delay is the whole of its sure half.
AGAIN = Again(0.05)


def said(status: int, code: object = None, *headers: tuple[bytes, bytes]) -> UpstreamSaid:
    """An upstream's error, as it is read from its answer."""
    body = {"error": {"message": "no", **({} if code is None else {"code": code})}}
    error = understand(status, json.dumps(body).encode())
    error.headers = headers
    return error


def wait(seconds: bytes) -> tuple[bytes, bytes]:
    return (b"retry-after", seconds)


def after(error: ProxyError, *, attempt: int = 1, now: float = 0.0, deadline: float = 1000.0, repairable: bool = False) -> Decision:
    return decide(error, POLICY, attempt=attempt, dice=0.0, now=now, deadline=deadline, repairable=repairable)


#: error -> what follows the first attempt, what follows the last, what it shows of the target.
ROWS: list[tuple[ProxyError, Decision, Decision, Outcome]] = [
    (UpstreamFailed("refused", phase="connect"), AGAIN, Elsewhere("connect"), Outcome.BAD),
    (UpstreamFailed("reset", phase="send"), AGAIN, Elsewhere("reset"), Outcome.BAD),
    (UpstreamFailed("reset", phase="head"), AGAIN, Elsewhere("reset"), Outcome.BAD),
    (UpstreamFailed("cut"), AGAIN, Elsewhere("cut"), Outcome.BAD),
    (UpstreamFailed("shutting down", code="draining"), GiveUp(), GiveUp(), Outcome.NOTHING),
    (UpstreamGarbled("HTML"), Elsewhere("garbled"), Elsewhere("garbled"), Outcome.BAD),
    (UpstreamTimeout("silent", phase="connect"), Elsewhere("timeout"), Elsewhere("timeout"), Outcome.BAD),
    (UpstreamTimeout("silent", phase="send"), Elsewhere("timeout"), Elsewhere("timeout"), Outcome.BAD),
    (UpstreamTimeout("silent", phase="head"), Elsewhere("timeout"), Elsewhere("timeout"), Outcome.BAD),
    (UpstreamTimeout("silent", phase="body"), Elsewhere("timeout"), Elsewhere("timeout"), Outcome.BAD),
    *[
        (said(status), AGAIN, Elsewhere(f"status {status}"), Outcome.BAD)
        for status in (500, 502, 503, 504, 529)
    ],
    *[
        (said(status), Elsewhere(f"status {status}"), Elsewhere(f"status {status}"), Outcome.BAD)
        for status in (501, 505, 520)
    ],
    *[(said(status), GiveUp(), GiveUp(), Outcome.GOOD) for status in (400, 401, 402, 403, 404, 408, 409, 413, 422)],
    # Patience
    (said(429), Elsewhere("status 429"), Elsewhere("status 429"), Outcome.GOOD),
    (said(429, None, wait(b"0")), AGAIN, Elsewhere("status 429"), Outcome.GOOD),
    (said(429, None, wait(b"10")), Again(10.05), Elsewhere("status 429"), Outcome.GOOD),
    (said(429, None, wait(b"10.5")), Elsewhere("status 429"), Elsewhere("status 429"), Outcome.GOOD),
    (said(429, None, wait(b"soon")), Elsewhere("status 429"), Elsewhere("status 429"), Outcome.GOOD),
    (said(429, None, (b"retry-after-ms", b"1500")), Again(1.55), Elsewhere("status 429"), Outcome.GOOD),
    (said(429, None, wait(b"1"), (b"x-should-retry", b"false")), Elsewhere("status 429"), Elsewhere("status 429"), Outcome.GOOD),
    (said(503, None, wait(b"3")), Again(3.05), Elsewhere("status 503"), Outcome.BAD),
    (said(529, None, wait(b"11")), Elsewhere("status 529"), Elsewhere("status 529"), Outcome.BAD),
    (said(500, None, (b"x-should-retry", b"false")), Elsewhere("status 500"), Elsewhere("status 500"), Outcome.BAD),
    (said(500, None, (b"x-should-retry", b"true")), AGAIN, Elsewhere("status 500"), Outcome.BAD),
    # z.ai's codes, in any status
    *[
        (said(status, code), Elsewhere("code 1113", rest=True), Elsewhere("code 1113", rest=True), Outcome.GOOD)
        for status, code in [(429, "1113"), (200, 1113), (500, "1113")]
    ],
    *[(said(status, code), AGAIN, GiveUp(), Outcome.GOOD) for status, code in [(429, "1302"), (200, 1302), (500, "1302")]],
    (said(429, "1302", wait(b"2")), Again(2.05), GiveUp(), Outcome.GOOD),
    (said(429, "1302", wait(b"30")), GiveUp(), GiveUp(), Outcome.GOOD),
    *[(said(status, code), AGAIN, Elsewhere("code 1305"), Outcome.GOOD) for status, code in [(429, "1305"), (200, 1305), (529, "1305")]],
    (said(429, "1305", wait(b"30")), Elsewhere("code 1305"), Elsewhere("code 1305"), Outcome.GOOD),
    *[(said(status, code), GiveUp(), GiveUp(), Outcome.GOOD) for status, code in [(400, "1210"), (200, 1210), (500, "1214"), (200, 1214)]],
    # answers that are no failures
    *[(said(status, code), GiveUp(), GiveUp(), Outcome.GOOD) for status, code in [(400, "1301"), (500, "1301"), (500, "content_filter")]],
    (understand(413, b'{"error":{"message":"prompt is too long"}}'), GiveUp(), GiveUp(), Outcome.GOOD),
    (understand(200, b'{"error":{"code":"1261","message":"Prompt exceeds max length"}}'), GiveUp(), GiveUp(), Outcome.GOOD),
    # errors that no upstream made
    (BadRequest("cannot be carried"), GiveUp(), GiveUp(), Outcome.NOTHING),
    (InternalError("a bug"), GiveUp(), GiveUp(), Outcome.NOTHING),
]  # fmt: skip


@pytest.mark.parametrize(("error", "first", "last", "outcome"), ROWS)
def test_what_follows_an_attempt_that_failed(error: ProxyError, first: Decision, last: Decision, outcome: Outcome) -> None:
    assert after(error, attempt=1) == first
    assert after(error, attempt=POLICY.retries + 1) == last
    assert outcome_of(error) is outcome


def test_an_answer_is_good_and_a_client_that_left_shows_nothing() -> None:
    assert outcome_of(None) is Outcome.GOOD
    assert outcome_of(ClientGone()) is Outcome.NOTHING


@pytest.mark.parametrize(
    ("error", "crowded"), [(said(200, 1302), True), (said(429, "1305"), False), (UpstreamFailed("x", code="1302"), False)]
)
def test_a_gate_has_to_learn_of_one_code_only(error: ProxyError, crowded: bool) -> None:
    assert is_crowded(error) is crowded


@pytest.mark.parametrize("code", ["1210", 1210])
def test_a_call_with_pictures_and_max_tokens_may_be_repaired_once(code: object) -> None:
    assert after(said(400, code), repairable=True) == Repair()
    assert after(said(400, code), attempt=9, repairable=True) == Repair()
    assert after(said(400, "1214"), repairable=True) == GiveUp()
    assert after(said(500), repairable=True) == AGAIN


def test_without_retries_the_first_failure_is_the_last_at_its_target() -> None:
    assert decide(said(500), Policy(retries=0), attempt=1, dice=0.5, now=0.0) == Elsewhere("status 500")


def test_an_error_of_the_upstream_that_has_a_code_of_no_meaning_here_is_named_by_its_status() -> None:
    assert cause_of(said(500, "weird\r\ncode")) == "status 500"


# ------------------------------------------------------------------------------------------------------------- delays


def delay(error: ProxyError, attempt: int = 1, dice: float = 0.0, policy: Policy = POLICY) -> float:
    decision = decide(error, policy, attempt=attempt, dice=dice, now=0.0)
    assert isinstance(decision, Again)
    return decision.delay


def test_delays_double_from_half_to_whole() -> None:
    policy = Policy(retries=100, backoff=0.1, patience=10.0)
    assert [delay(said(500), attempt, 0.0, policy) for attempt in (1, 2, 3, 4)] == pytest.approx([0.05, 0.1, 0.2, 0.4])
    assert [delay(said(500), attempt, 0.5, policy) for attempt in (1, 2)] == pytest.approx([0.075, 0.15])
    assert [delay(said(500), attempt, 0.0, policy) for attempt in (20, 100)] == [5.0, 5.0]


def test_what_the_upstream_asks_for_is_the_least() -> None:
    assert delay(said(503, None, wait(b"3")), dice=0.5) == pytest.approx(3.075)


@given(st.integers(1, 3), st.floats(0, 1, exclude_max=True), st.integers(0, 10))
def test_a_delay_is_bounded_on_both_sides(attempt: int, dice: float, asked: int) -> None:
    policy = Policy(retries=3, backoff=0.2, patience=10.0)
    whole = 0.2 * 2 ** (attempt - 1)
    assert asked + whole / 2 <= delay(said(503, None, wait(b"%d" % asked)), attempt, dice, policy) <= asked + whole


def test_a_delay_that_does_not_fit_into_the_deadline_is_not_waited_for() -> None:
    error = said(503, None, wait(b"3"))
    assert after(error, now=100.0, deadline=103.1) == Again(3.05)
    assert after(error, now=100.0, deadline=103.05) == Elsewhere("status 503")
    assert after(said(429, "1302"), now=100.0, deadline=100.01) == GiveUp()


@pytest.mark.parametrize("error", [said(500), said(429, "1113"), UpstreamTimeout("late"), UpstreamGarbled("x")])
def test_after_the_deadline_nothing_follows(error: ProxyError) -> None:
    assert after(error, now=100.0, deadline=100.0) == GiveUp()


def test_a_call_is_not_repaired_after_the_deadline() -> None:
    assert after(said(400, "1210"), now=100.0, deadline=100.0, repairable=True) == GiveUp()


# -------------------------------------------------------------------------------------------------------- retry-after

DATE = (b"date", b"Wed, 21 Oct 2026 07:28:00 GMT")
EPOCH = 1_792_567_680.0  # the same


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        ([wait(b"7")], 7.0),
        ([wait(b" 7 ")], 7.0),
        ([wait(b"1.5")], 1.5),
        ([wait(b"0")], 0.0),
        ([wait(b"7"), wait(b"9")], 7.0),
        ([wait(b"-1")], None),
        ([wait(b"1e9")], None),
        ([wait(b"inf")], None),
        ([wait(b"nan")], None),
        ([wait(b"9" * 13)], None),
        ([wait(b"")], None),
        ([wait(b"7"), (b"retry-after-ms", b"250")], 0.25),
        ([wait(b"7"), (b"retry-after-ms", b"x")], 7.0),
        ([(b"retry-after-ms", b"x")], None),
        ([wait(b"Wed, 21 Oct 2026 07:28:05 GMT")], 5.0),
        ([wait(b"Wed, 21 Oct 2026 07:27:00 GMT")], 0.0),
        ([wait(b"Sun, 01 Nov 2026 07:28:00 GMT")], 11 * 86400.0),
        ([wait(b"Wed, 21 Oct 2026 07:28:05 GMT"), (b"date", b"Wed, 21 Oct 2026 07:28:02 GMT")], 3.0),
        ([wait(b"Wed, 21 Oct 2026 07:28:05 GMT"), (b"date", b"today")], 5.0),
        ([wait(b"Wed, 31 Feb 2026 07:28:05 GMT")], None),
        ([wait(b"Wednesday, 21-Oct-26 07:28:05 GMT")], None),
        ([DATE], None),
    ],
)
def test_how_long_an_upstream_asks_to_wait(headers: list[tuple[bytes, bytes]], seconds: float | None) -> None:
    assert retry_after(headers, EPOCH) == seconds


def test_a_date_is_compared_with_the_time_of_the_request() -> None:
    error = said(503, None, wait(b"Wed, 21 Oct 2026 07:28:05 GMT"))
    assert decide(error, POLICY, attempt=1, dice=0.0, now=0.0, epoch=EPOCH) == Again(5.05)
    assert decide(error, POLICY, attempt=1, dice=0.0, now=0.0, epoch=EPOCH - 60) == Elsewhere("status 503")


@given(st.binary(max_size=40))
def test_whatever_an_upstream_writes_is_read_or_ignored(value: bytes) -> None:
    found = retry_after([wait(value)], EPOCH)
    assert found is None or found >= 0.0
