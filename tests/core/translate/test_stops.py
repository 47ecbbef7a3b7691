"""Why an answer ended, in the words of both wires."""

from __future__ import annotations

import pytest

from core.translate import stops

TO_MESSAGES = [
    # finish_reason, stop_reason without calls, with calls
    ("stop", "end_turn", "tool_use"),
    (None, "end_turn", "tool_use"),
    ("", "end_turn", "tool_use"),
    ("tool_calls", "end_turn", "tool_use"),
    ("function_call", "end_turn", "tool_use"),
    ("length", "max_tokens", "max_tokens"),
    ("content_filter", "refusal", "refusal"),
    ("sensitive", "refusal", "refusal"),
    ("model_context_window_exceeded", "model_context_window_exceeded", "model_context_window_exceeded"),
    ("whatever", "end_turn", "tool_use"),
]
TO_CHAT = [
    ("end_turn", "stop", "tool_calls"),
    (None, "stop", "tool_calls"),
    ("", "stop", "tool_calls"),
    ("stop_sequence", "stop", "tool_calls"),
    ("pause_turn", "stop", "tool_calls"),
    ("compaction", "stop", "tool_calls"),
    ("tool_use", "stop", "tool_calls"),
    ("max_tokens", "length", "length"),
    ("model_context_window_exceeded", "length", "length"),
    ("refusal", "content_filter", "content_filter"),
    ("whatever", "stop", "tool_calls"),
]


@pytest.mark.parametrize(("finish", "without", "with_calls"), TO_MESSAGES)
def test_towards_messages(finish: str | None, without: str, with_calls: str) -> None:
    assert stops.stop_reason(finish, calls=False, refused=False) == without
    assert stops.stop_reason(finish, calls=True, refused=False) == with_calls
    assert stops.stop_reason(finish, calls=True, refused=True) == "refusal"


@pytest.mark.parametrize(("stop", "without", "with_calls"), TO_CHAT)
def test_towards_chat(stop: str | None, without: str, with_calls: str) -> None:
    assert stops.finish_reason(stop, calls=False) == without
    assert stops.finish_reason(stop, calls=True) == with_calls


@pytest.mark.parametrize(
    ("said", "without", "with_calls"),
    [
        ("end_turn", "end_turn", "tool_use"),
        ("tool_use", "tool_use", "tool_use"),
        ("stop_sequence", "stop_sequence", "stop_sequence"),
        ("max_tokens", "max_tokens", "max_tokens"),
        ("stop", "end_turn", "tool_use"),
        ("length", "max_tokens", "max_tokens"),
        ("whatever", "end_turn", "tool_use"),
    ],
)
def test_between_two_of_messages_only_what_clients_do_not_know_changes(said: str, without: str, with_calls: str) -> None:
    assert stops.known_stop_reason(said, calls=False) == without
    assert stops.known_stop_reason(said, calls=True) == with_calls


@pytest.mark.parametrize(
    ("said", "without", "with_calls"),
    [
        ("stop", "stop", "tool_calls"),
        ("tool_calls", "tool_calls", "tool_calls"),
        ("function_call", "function_call", "function_call"),
        ("length", "length", "length"),
        ("sensitive", "content_filter", "content_filter"),
        ("model_context_window_exceeded", "length", "length"),
        ("whatever", "stop", "tool_calls"),
    ],
)
def test_between_two_of_chat_only_what_clients_do_not_know_changes(said: str, without: str, with_calls: str) -> None:
    assert stops.known_finish_reason(said, calls=False) == without
    assert stops.known_finish_reason(said, calls=True) == with_calls


@pytest.mark.parametrize(
    ("reason", "announces"), [("tool_calls", True), ("function_call", True), ("tool_use", True), ("stop", False), (None, False)]
)
def test_reasons_that_announce_calls(reason: str | None, announces: bool) -> None:
    assert stops.announces_calls(reason) is announces


def test_reasons_that_cut_are_those_that_mean_a_limit_or_a_refusal_on_either_wire() -> None:
    both = stops.CUTTING & stops.TO_MESSAGES.keys() | stops.CUTTING & stops.TO_CHAT.keys()
    assert both == stops.CUTTING
    for reason in stops.CUTTING & stops.TO_MESSAGES.keys():
        assert stops.TO_MESSAGES[reason] in stops.CUTTING
    assert not stops.CUTTING & stops.FAILURES
