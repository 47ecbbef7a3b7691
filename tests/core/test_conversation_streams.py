"""Streamed answers in all four pairs: keep-alives, cuts, late errors, and what an upstream may send instead."""

from __future__ import annotations

from typing import Any

import pytest

from core.dialects import Protocol
from core.effects import Await, Head, Now, Open, Read, Send
from core.errors import UpstreamFailed, UpstreamTimeout
from core.testing import Answer
from tests.core.exchanges import (
    CHAT,
    EVENTS,
    JSON,
    MESSAGES,
    PAIRS,
    PATH,
    accept,
    ask,
    encoded,
    events,
    gateway,
    question,
    request,
    streamed,
    tell,
    towards,
    whole,
)

pairs = pytest.mark.parametrize(("wire", "upstream"), PAIRS, ids=lambda wire: wire.value)

PING = {MESSAGES: b'event: ping\ndata: {"type":"ping"}\n\n', CHAT: b": keep-alive\n\n"}
STOP = {MESSAGES: "end_turn", CHAT: "stop"}
#: Marks of a proper end, which a stream that broke may not have.
PROPER_END = {MESSAGES: (b"message_stop", b"end_turn"), CHAT: (b"[DONE]", b'"finish_reason":"stop"')}


@pairs
def test_a_stream_gets_a_stream(wire: Protocol, upstream: Protocol) -> None:
    told = ask(wire, streamed(upstream, (b"x-request-id", b"up_1"), (b"retry-after-ms", b"5")), stream=True, at=towards(upstream))
    accepted = accept(wire, told.body)
    assert (told.status, accepted.kind, accepted.text, accepted.stop) == (200, "complete", "Hello!", STOP[wire])
    assert told.header("content-type") == "text/event-stream; charset=utf-8"
    assert (told.header("cache-control"), told.header("x-accel-buffering"), told.header("content-length")) == ("no-cache", "no", None)
    assert (told.header("x-upstream-request-id"), told.header("retry-after-ms")) == ("up_1", "5")
    assert told.header("x-proxy-stream-fallback") == ("auto" if wire is CHAT else None)
    assert (told.record.stream, told.record.status, told.record.broken, told.record.skipped) == (True, 200, False, 0)
    assert (told.record.counts.prompt, told.record.counts.output) == (11, 3)
    assert told.upstream_header("accept") == ["text/event-stream"]
    assert PING[wire] not in told.body


@pairs
def test_the_head_leaves_with_the_first_event_and_one_send_follows_one_read(wire: Protocol, upstream: Protocol) -> None:
    told = ask(wire, streamed(upstream), stream=True, at=towards(upstream))
    names = [type(effect).__name__ for effect in told.world.performed if not isinstance(effect, Now)]
    assert names[:3] == ["Enter", "Open", "Read"]
    assert names.count("Start") == 1
    assert names[names.index("Start") + 1] == "Send" == next(name for name in names[2:] if name not in ("Read", "Start"))
    sends = sum(isinstance(effect, Send) for effect in told.world.performed)
    assert sends <= sum(isinstance(effect, Read) for effect in told.world.performed)
    at_once = ask(wire, Answer(Head(200, [EVENTS]), [b"".join(events(upstream))]), stream=True, at=towards(upstream))
    assert (at_once.body, len(at_once.world.sends)) == (told.body, 1)


@pairs
def test_every_chunk_names_the_model_as_the_client_did(wire: Protocol, upstream: Protocol) -> None:
    model = f"glm-4.6-{upstream.value}"
    told = tell(request(PATH[wire], question(True, model=model)), [streamed(upstream)], at=towards(upstream))
    assert b'"glm-4.6"' not in told.body
    assert told.body.count(model.encode()) == (1 if wire is MESSAGES else told.body.count(b'"chat.completion.chunk"'))


@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
def test_usage_is_told_as_the_client_asked_for_it(wire: Protocol) -> None:
    with_usage = tell(
        request("/v1/chat/completions", question(True, stream_options={"include_usage": True})), [streamed(wire)], at=towards(wire)
    )
    assert b'"choices":[],"usage":{"prompt_tokens":11' in with_usage.body.replace(b'": ', b'":').replace(b", ", b",")
    accept(CHAT, with_usage.body)


@pytest.mark.parametrize("upstream", [MESSAGES, CHAT])
def test_a_prompt_is_never_reported_as_empty(upstream: Protocol) -> None:
    frames = [
        frame.replace(b'"input_tokens": 11', b'"input_tokens": 0').replace(b'"prompt_tokens": 11', b'"prompt_tokens": 0')
        for frame in events(upstream)
    ]
    told = ask(MESSAGES, Answer(Head(200, [EVENTS]), frames), stream=True, at=towards(upstream))
    assert b'"input_tokens":0' not in told.body.replace(b" ", b"")
    assert told.record.counts.output == 3


# ---------------------------------------------------------------------------------------------------- silence


@pairs
def test_silence_before_the_head_is_filled_with_keep_alives(wire: Protocol, upstream: Protocol) -> None:
    good = streamed(upstream)
    told = ask(wire, Answer(good.head, good.body, silent=3), stream=True, at=towards(upstream))
    assert told.world.sends[:3] == [PING[wire]] * 3
    assert [type(effect).__name__ for effect in told.world.performed if not isinstance(effect, Now)][1:7] == [
        "Open",
        "Start",
        "Send",
        "Await",
        "Send",
        "Await",
    ]
    assert (accept(wire, told.body).text, told.status) == ("Hello!", 200)
    assert told.header("x-upstream-request-id") is None


@pairs
def test_silence_within_the_body_is_filled_with_keep_alives_between_events_only(wire: Protocol, upstream: Protocol) -> None:
    frames = events(upstream)
    cut = frames[3][: len(frames[3]) // 2], frames[3][len(frames[3]) // 2 :]
    body = [None, *frames[:3], None, None, cut[0], None, cut[1], None, *frames[4:]]
    told = ask(wire, Answer(Head(200, [EVENTS]), body), stream=True, at=towards(upstream))
    assert told.world.sends.count(PING[wire]) == 5
    assert accept(wire, told.body).text == "Hello!"
    assert told.body.replace(PING[wire], b"") == ask(wire, streamed(upstream), stream=True, at=towards(upstream)).body


@pairs
def test_without_an_interval_there_are_no_keep_alives_and_the_upstream_is_awaited(wire: Protocol, upstream: Protocol) -> None:
    good = streamed(upstream)
    told = ask(wire, Answer(good.head, [None, *good.body], silent=2), stream=True, at=towards(upstream, SSE_PING_INTERVAL="0"))
    assert PING[wire] not in told.body
    assert {effect.idle for effect in told.world.performed if isinstance(effect, Open | Await | Read)} == {None}


@pairs
def test_each_wait_is_as_long_as_the_interval(wire: Protocol, upstream: Protocol) -> None:
    told = ask(
        wire, Answer(Head(200, [EVENTS]), [None, *events(upstream)], silent=1), stream=True, at=towards(upstream, SSE_PING_INTERVAL="3")
    )
    assert {effect.idle for effect in told.world.performed if isinstance(effect, Open | Await | Read)} == {3.0}


@pairs
def test_an_error_after_a_keep_alive_is_an_error_event_for_the_status_has_left(wire: Protocol, upstream: Protocol) -> None:
    refusals: list[Answer] = [
        Answer(Head(429, [JSON]), [encoded({"error": {"message": "Slow down", "type": "x"}})], silent=1),
        Answer(UpstreamTimeout("Slow down"), silent=1),
        Answer(Head(200, [EVENTS]), [None, UpstreamFailed("Slow down")]),
        Answer(Head(200, [JSON]), [None, encoded({"error": {"message": "Slow down", "type": "overloaded_error"}})]),
        Answer(Head(200, [EVENTS]), [None, b'data: {"type":"error","error":{"message":"Slow down","type":"x"}}\n\n']),
    ]
    for refusal in refusals:
        told = ask(wire, refusal, stream=True, at=towards(upstream))
        assert told.status == 200
        accepted = accept(wire, told.body)
        assert (accepted.kind, accepted.stop) == ("error", None)
        assert told.body.startswith(PING[wire])
        assert b"Slow down" in told.world.sends[-1]
        assert told.record.broken
        assert (told.record.status, told.record.error) == (200, "Slow down")


@pairs
def test_a_slow_whole_answer_to_a_streaming_request_is_kept_alive_as_well(wire: Protocol, upstream: Protocol) -> None:
    body = encoded(whole(upstream))
    told = ask(wire, Answer(Head(200, [JSON]), [body[:20], None, body[20:40], None, body[40:]]), stream=True, at=towards(upstream))
    assert told.world.sends[:2] == [PING[wire]] * 2
    assert accept(wire, told.body).text == "Hello!"


# ---------------------------------------------------------------------------------------------------- cuts


@pairs
@pytest.mark.parametrize("how", ["ends", "breaks", "times out"])
def test_a_cut_stream_never_looks_like_a_whole_one(wire: Protocol, upstream: Protocol, how: str) -> None:
    frames = events(upstream)
    last = len(frames) - (2 if upstream is MESSAGES else 3)  # of those before the stop reason
    ends: dict[str, list[Any]] = {"ends": [], "breaks": [UpstreamFailed("cut")], "times out": [UpstreamTimeout("gap")]}
    for count in range(last):
        for half in (b"", frames[count][:-5]):
            told = ask(
                wire,
                Answer(Head(200, [EVENTS]), [*frames[:count], *([half] if half else []), *ends[how]]),
                stream=True,
                at=towards(upstream),
            )
            if told.status != 200:
                assert told.status in (502, 504)
                assert told.json["error"]["code"] in ("upstream_request_failed", "upstream_timeout", "invalid_upstream_json")
                continue
            assert accept(wire, told.body).kind == "error"
            assert not any(mark in told.body for mark in PROPER_END[wire])
            assert told.record.broken
            assert told.record.error_code in ("upstream_request_failed", "upstream_timeout")


@pairs
def test_a_stream_that_only_lacks_its_last_word_is_whole(wire: Protocol, upstream: Protocol) -> None:
    told = ask(wire, Answer(Head(200, [EVENTS]), events(upstream)[:-1]), stream=True, at=towards(upstream))
    assert (accept(wire, told.body).kind, told.record.broken) == ("complete", False)


@pairs
def test_nothing_is_asked_of_an_upstream_that_has_said_its_last_word(wire: Protocol, upstream: Protocol) -> None:
    told = ask(wire, Answer(Head(200, [EVENTS]), [*events(upstream), UpstreamFailed("reset")]), stream=True, at=towards(upstream))
    assert (accept(wire, told.body).kind, told.record.broken, told.record.error) == ("complete", False, None)


@pairs
def test_an_error_event_in_mid_stream_ends_the_answer(wire: Protocol, upstream: Protocol) -> None:
    error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded","details":{"a":1}}}\n\n'
    if upstream is CHAT:
        error = b'data: {"error":{"type":"overloaded_error","message":"Overloaded","code":"1305"}}\n\n'
    told = ask(wire, Answer(Head(200, [EVENTS]), [*events(upstream)[:3], error, *events(upstream)[3:]]), stream=True, at=towards(upstream))
    accepted = accept(wire, told.body)
    assert (told.status, accepted.kind) == (200, "error")
    assert b"Overloaded" in told.world.sends[-1]
    assert (b'"details":{"a":1}' in told.world.sends[-1]) is (upstream is MESSAGES)
    assert told.record.error == "Overloaded"
    if wire is upstream is CHAT:
        assert b'"code":"1305"' in told.body


@pairs
def test_an_error_event_before_anything_else_is_a_proper_error(wire: Protocol, upstream: Protocol) -> None:
    answer = Answer(
        Head(200, [EVENTS, (b"retry-after", b"9")]),
        [b'data: {"type":"error","error":{"type":"rate_limit_error","message":"Slow down"}}\n\n'],
    )
    told = ask(wire, answer, stream=True, at=towards(upstream))
    assert (told.status, told.header("retry-after"), told.json["error"]["message"]) == (429, "9", "Slow down")
    assert told.header("content-type") == "application/json"


# ---------------------------------------------------------------------------------------------------- other forms


@pairs
@pytest.mark.parametrize("kind", [[JSON], [], [EVENTS], [(b"content-type", b"text/html")]], ids=["json", "no type", "events", "html"])
@pytest.mark.parametrize("begin", [b"", b"\r\n ", b"\xef\xbb\xbf"], ids=["", "blank", "mark"])
def test_a_whole_answer_to_a_streaming_request_becomes_a_stream(
    wire: Protocol, upstream: Protocol, kind: list[tuple[bytes, bytes]], begin: bytes
) -> None:
    body = encoded(whole(upstream))
    told = ask(wire, Answer(Head(200, kind), [*([begin] if begin else []), body[:9], body[9:]]), stream=True, at=towards(upstream))
    accepted = accept(wire, told.body)
    assert (told.status, accepted.kind, accepted.text, accepted.stop) == (200, "complete", "Hello!", STOP[wire])
    assert (told.record.counts.prompt, told.record.counts.output) == (11, 3)
    assert len(told.world.opened) == 1


@pairs
@pytest.mark.parametrize("kind", [[], [JSON], [(b"content-type", b"text/plain")]], ids=["no type", "json", "text"])
@pytest.mark.parametrize(
    "begin", [b"", b": hello\n\n", b"\n", b"\xef\xbb\xbf", b"\xef"], ids=["", "comment", "blank", "mark", "half a mark"]
)
def test_a_stream_is_a_stream_whatever_its_type_says(
    wire: Protocol, upstream: Protocol, kind: list[tuple[bytes, bytes]], begin: bytes
) -> None:
    frames = events(upstream)
    if begin == b"\xef":
        frames = [b"\xbb\xbf" + frames[0], *frames[1:]]
    told = ask(wire, Answer(Head(200, kind), [*([begin] if begin else []), *frames]), stream=True, at=towards(upstream))
    assert accept(wire, told.body).text == "Hello!"
    assert len(told.world.sends) > 2


@pairs
def test_what_cannot_be_read_in_a_stream_is_skipped_and_counted(wire: Protocol, upstream: Protocol) -> None:
    frames = events(upstream)
    told = ask(
        wire,
        Answer(Head(200, [EVENTS]), [frames[0], b"data: {]\n\n", *frames[1:3], b"data: nope\n\n", *frames[3:]]),
        stream=True,
        at=towards(upstream),
    )
    assert (accept(wire, told.body).text, told.record.skipped) == ("Hello!", 2)
    assert "skipped=2" in told.record.line()


def test_the_default_goes_to_messages_from_both_endpoints() -> None:
    for wire in (MESSAGES, CHAT):
        told = ask(wire, streamed(MESSAGES), stream=True, at=gateway())
        assert told.header("x-proxy-route") == f"auto: {PATH[wire]}"
        assert accept(wire, told.body).kind == "complete"
