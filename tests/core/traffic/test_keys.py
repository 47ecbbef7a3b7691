"""core/traffic/keys.py: the gates of upstream keys, and keys that rest."""

from __future__ import annotations

from core.traffic.keys import REST, Keys


def ignore() -> None:
    """Nobody listens."""


def test_a_key_has_one_gate_and_another_key_or_target_another() -> None:
    keys = Keys()
    gate = keys.gate("international", "digest", "auto")
    assert gate is not None
    assert keys.gate("international", "digest", "auto") is gate
    assert keys.gate("international", "other", "auto") is not gate
    assert keys.gate("cn", "digest", "auto") is not gate


def test_without_a_limit_there_is_no_gate() -> None:
    assert Keys().gate("international", "digest", 0) is None


def test_a_gate_goes_by_what_was_said_last() -> None:
    keys = Keys(line=5)
    gate = keys.gate("international", "digest", "auto")
    assert gate is not None
    assert (gate.most, gate.line) == ("auto", 5)
    keys.line = 7
    assert keys.gate("international", "digest", 3) is gate
    assert (gate.most, gate.line) == (3, 7)


def test_gates_in_use_stay_and_idle_ones_are_forgotten() -> None:
    keys = Keys(most_keys=2)
    used = keys.gate("t", "used", "auto")
    assert used is not None
    place = used.join("client", 0.0, ignore)
    assert place is not None
    idle = keys.gate("t", "idle", "auto")
    for number in range(5):
        keys.gate("t", f"{number}", "auto")
    assert keys.gate("t", "used", "auto") is used
    assert keys.gate("t", "idle", "auto") is not idle
    used.leave(place, 0.0)
    for number in range(5):
        keys.gate("t", f"{number}", "auto")
    assert keys.gate("t", "used", "auto") is not used


def test_the_gates_that_have_something_to_tell() -> None:
    keys = Keys()
    for digest in ("used", "idle", "taught"):
        keys.gate("t", digest, "auto")
    used, taught = keys.gate("t", "used", "auto"), keys.gate("t", "taught", "auto")
    assert used is not None
    assert taught is not None
    used.join("client", 0.0, ignore)
    place = taught.join("client", 0.0, ignore)
    assert place is not None
    taught.leave(place, 0.0, crowded=True)
    assert {gate for _, gate in keys.gates()} == {used, taught}
    assert {target for target, _ in keys.gates()} == {"t"}


def test_a_key_rests_at_one_target_for_a_minute() -> None:
    keys = Keys()
    assert keys.rests("t", "a", 0.0) == 0.0
    keys.rest("t", "a", 100.0)
    assert keys.rests("t", "a", 100.0) == REST
    assert keys.rests("t", "a", 159.5) == 0.5
    assert (keys.rests("t", "a", 160.0), keys.rests("t", "a", 200.0)) == (0.0, 0.0)
    assert (keys.rests("t", "b", 100.0), keys.rests("u", "a", 100.0)) == (0.0, 0.0)


def test_how_many_keys_rest() -> None:
    keys = Keys()
    keys.rest("t", "a", 0.0)
    keys.rest("t", "b", 30.0)
    keys.rest("u", "a", 30.0)
    assert keys.resting(59.0) == {"t": 2, "u": 1}
    assert keys.resting(60.0) == {"t": 1, "u": 1}
    assert keys.resting(90.0) == {}
