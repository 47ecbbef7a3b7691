"""core/traffic: the state of a process, which goes by the settings and survives them."""

from __future__ import annotations

from core.settings import Settings
from core.traffic import Queue, Snapshot, Traffic
from core.traffic.breaker import Outcome, State
from core.traffic.retry import Policy


def ignore() -> None:
    """Nobody listens."""


def test_it_goes_by_the_settings() -> None:
    settings = Settings(
        rate_limit_per_minute=1,
        auth_failures_per_minute=2,
        breaker_failures=1,
        breaker_cooldown=7.0,
        key_queue_size=3,
        max_retries=4,
        retry_backoff=0.5,
        retry_after_max=20.0,
    )
    traffic = Traffic(settings)
    assert traffic.policy == Policy(4, 0.5, 20.0)
    assert [traffic.admit("client", 0.0) for _ in range(2)] == [0.0, 60.0]
    attempt = traffic.breakers.ask("t/openai", 0.0)
    assert attempt is not None
    attempt.over(Outcome.BAD, 0.0)
    assert traffic.breakers.closed_for("t/openai", 0.0) == 7.0
    gate = traffic.keys.gate("t", "digest", "auto")
    assert gate is not None
    assert gate.line == 3
    assert not traffic.bars_any
    traffic.auth_failed("10.0.0.1", 0.0)
    assert traffic.barred("10.0.0.1", 0.0) == 0.0
    traffic.auth_failed("10.0.0.1", 0.0)
    assert (traffic.barred("10.0.0.1", 0.0), traffic.bars_any) == (60.0, True)


def test_without_settings_it_goes_by_their_defaults() -> None:
    traffic, defaults = Traffic(), Settings()
    assert traffic.policy == Policy()
    assert (traffic.requests_per_minute, traffic.auth_failures_per_minute) == (0, defaults.auth_failures_per_minute)
    assert (traffic.breakers.failures, traffic.breakers.cooldown) == (defaults.breaker_failures, defaults.breaker_cooldown)


def test_what_it_knows_survives_a_change_of_the_settings() -> None:
    traffic = Traffic(Settings(rate_limit_per_minute=2, breaker_failures=1))
    traffic.admit("client", 0.0)
    attempt = traffic.breakers.ask("t/openai", 0.0)
    assert attempt is not None
    attempt.over(Outcome.BAD, 0.0)
    gate = traffic.keys.gate("t", "digest", "auto")
    traffic.keys.rest("t", "digest", 0.0)
    traffic.adopt(Settings(rate_limit_per_minute=1, breaker_failures=3, breaker_cooldown=5.0))
    assert traffic.admit("client", 1.0) == 59.0
    assert traffic.breakers.closed_for("t/openai", 1.0) == 4.0
    assert traffic.keys.gate("t", "digest", "auto") is gate
    assert traffic.keys.rests("t", "digest", 1.0) == 59.0


def test_a_snapshot_tells_the_state_and_not_whose_it_is() -> None:
    traffic = Traffic(Settings(breaker_failures=1))
    assert traffic.snapshot(0.0) == Snapshot({}, (), {})
    attempt = traffic.breakers.ask("t/openai", 0.0)
    assert attempt is not None
    attempt.over(Outcome.BAD, 0.0)
    traffic.keys.rest("t", "digest", 0.0)
    gate = traffic.keys.gate("t", "digest", "auto")
    assert gate is not None
    places = [gate.join("client", 0.0, ignore) for _ in range(3)]
    assert places[0] is not None
    gate.leave(places[0], 0.0, crowded=True)
    gate.join("client", 0.0, ignore)
    snapshot = traffic.snapshot(1.0)
    assert snapshot == Snapshot({"t/openai": State.OPEN}, (Queue("t", 2, 1, "auto", 2),), {"t": 1})
    assert "digest" not in repr(snapshot)
