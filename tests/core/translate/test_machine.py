"""What all four stream machines have in common, whatever their wires."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.errors import UpstreamFailed, UpstreamGarbled, UpstreamTimeout
from core.translate.machine import Machine, State
from core.translate.relay import MessagesRelay
from core.translate.relay_chat import ChatRelay
from core.translate.stream_to_chat import MessagesToChat
from core.translate.stream_to_messages import ChatToMessages
from core.wire.sse import LIMIT
from tests.core.translate.streaming import CONTEXT, DONE, delta, ending, frames, parsed, run, start, text

CHAT = frames(delta(role="assistant", content=""), delta(content="Hi"), delta("stop"), DONE)
MESSAGES = frames(start(), *text(0, "Hi"), *ending())
STREAMS: dict[type[Machine], bytes] = {ChatToMessages: CHAT, ChatRelay: CHAT, MessagesToChat: MESSAGES, MessagesRelay: MESSAGES}
BEGUN: dict[type[Machine], bytes] = {kind: stream[: stream.index(b"\n\n", stream.index(b"Hi")) + 2] for kind, stream in STREAMS.items()}

for_all_machines = pytest.mark.parametrize("kind", STREAMS, ids=lambda kind: kind.__name__)


def is_error(frame: Any) -> bool:
    return isinstance(frame, dict) and "error" in frame


@for_all_machines
def test_a_machine_starts_with_its_first_byte_and_finishes_with_its_last(kind: type[Machine]) -> None:
    machine = kind(CONTEXT)
    assert (machine.started, machine.finished) == (False, False)
    assert machine.feed(BEGUN[kind])
    assert (machine.started, machine.finished) == (True, False)
    machine.feed(STREAMS[kind][len(BEGUN[kind]) :])
    assert (machine.started, machine.finished, machine.error) == (True, True, None)


@for_all_machines
def test_after_the_end_nothing_more_is_read_or_written(kind: type[Machine]) -> None:
    machine = kind(CONTEXT)
    machine.feed(STREAMS[kind] + STREAMS[kind])
    machine.fail(UpstreamFailed("late"))
    assert (machine.feed(STREAMS[kind]), machine.close(), machine.abort(UpstreamFailed("late")), machine.error) == (b"", b"", b"", None)


@for_all_machines
def test_a_stream_that_broke_ends_in_one_error(kind: type[Machine]) -> None:
    machine = kind(CONTEXT)
    out = parsed(machine.feed(BEGUN[kind]) + machine.abort(UpstreamTimeout("silent")))
    assert [is_error(one) for one in out] == [False] * (len(out) - 1) + [True]
    assert "silent" in out[-1]["error"]["message"]
    assert isinstance(machine.error, UpstreamTimeout)
    assert (machine.finished, machine.state) == (True, State.ENDED)


@for_all_machines
def test_a_stream_that_never_began_is_aborted_with_its_error_alone(kind: type[Machine]) -> None:
    machine = kind(CONTEXT)
    out = parsed(machine.abort(UpstreamTimeout("silent")))
    assert len(out) == 1
    assert is_error(out[0])


@for_all_machines
def test_a_failure_before_the_begin_is_the_callers_to_tell(kind: type[Machine]) -> None:
    machine = kind(CONTEXT)
    machine.fail(UpstreamTimeout("silent"))
    assert (machine.feed(STREAMS[kind]), machine.close(), machine.finished, machine.started) == (b"", b"", True, False)


@for_all_machines
def test_a_last_frame_without_its_blank_line_counts(kind: type[Machine]) -> None:
    machine, out = run(kind, STREAMS[kind].rstrip(b"\n"))
    assert machine.error is None
    assert out == run(kind, STREAMS[kind])[1]


@for_all_machines
def test_a_reason_in_a_last_frame_without_its_blank_line_counts(kind: type[Machine]) -> None:
    stream = STREAMS[kind]
    reason = stream.index(b'"stop"' if b'"stop"' in stream else b'"end_turn"')
    machine, out = run(kind, stream[: stream.index(b"\n\n", reason)])
    assert machine.error is None
    assert out == run(kind, stream)[1]


@for_all_machines
def test_a_frame_without_end_is_a_failure_and_does_not_fill_the_memory(kind: type[Machine]) -> None:
    machine = kind(CONTEXT)
    machine.feed(BEGUN[kind])
    out = parsed(machine.feed(b"data: " + b"x" * (LIMIT + 1)))
    assert is_error(out[-1])
    assert isinstance(machine.error, UpstreamGarbled)


@for_all_machines
def test_what_came_in_one_piece_before_the_failure_is_still_said(kind: type[Machine]) -> None:
    machine = kind(CONTEXT)
    error = frames({"type": "error", "error": {"message": "busy"}})
    first = machine.feed(BEGUN[kind] + error)
    assert b"Hi" in first
    assert is_error(parsed(first)[-1])


FLAT = {"code": 1305, "msg": "the model is overloaded", "success": False}


@for_all_machines
@pytest.mark.parametrize("flat", [FLAT, {"code": "1305", "message": "overloaded"}, {**FLAT, "choices": None, "type": ""}], ids=str)
def test_an_error_in_the_middle_may_be_flat(kind: type[Machine], flat: dict[str, Any]) -> None:
    for frame in (frames(flat), b"event: message_stop\n" + frames(flat)):
        machine = kind(CONTEXT)
        out = parsed(machine.feed(BEGUN[kind] + frame + STREAMS[kind]))
        assert [is_error(one) for one in out] == [False] * (len(out) - 1) + [True]
        assert "overloaded" in out[-1]["error"]["message"]
        assert machine.error is not None
        assert machine.error.status == 429


@for_all_machines
def test_a_flat_error_before_the_begin_is_the_callers_to_tell(kind: type[Machine]) -> None:
    machine = kind(CONTEXT)
    assert machine.feed(frames(FLAT)) == b""
    assert (machine.started, machine.error and machine.error.status) == (False, 429)


@for_all_machines
@pytest.mark.parametrize("alike", [{**FLAT, "success": True}, {"code": 200, "msg": "ok"}, {"msg": "hello"}, {"code": 1305}], ids=str)
def test_what_only_looks_like_a_flat_error_is_skipped(kind: type[Machine], alike: dict[str, Any]) -> None:
    machine, out = run(kind, BEGUN[kind] + frames(alike) + STREAMS[kind][len(BEGUN[kind]) :])
    assert (machine.error, machine.skipped) == (None, 1)
    assert not any(is_error(one) for one in out)


@for_all_machines
def test_json_nested_too_deeply_is_skipped(kind: type[Machine]) -> None:
    deep = b'{"x":' * 100_000 + b"1" + b"}" * 100_000
    machine, out = run(kind, frames(b'{"error":' + deep + b"}") + frames(deep) + STREAMS[kind])
    assert machine.skipped == 2
    assert out == run(kind, STREAMS[kind])[1]


@for_all_machines
@pytest.mark.parametrize("damage", [b"\xff", b"\xc3(", b"\\ud83d"], ids=["no UTF-8", "a cut character", "a lone surrogate"])
def test_text_that_is_no_unicode_becomes_U_FFFD(kind: type[Machine], damage: bytes) -> None:
    _, out = run(kind, STREAMS[kind].replace(b"Hi", b"H" + damage + b"i"))
    assert "H\ufffd" in json.dumps(out, ensure_ascii=False)
    assert "i" in json.dumps(out)
