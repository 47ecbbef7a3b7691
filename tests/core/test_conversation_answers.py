"""Whole answers in all four pairs: the good ones, and everything an upstream may say instead."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.dialects import Protocol
from core.effects import Head, Read
from core.errors import UpstreamError, UpstreamFailed, UpstreamTimeout
from core.testing import Answer
from tests.core.exchanges import (
    CHAT,
    EVENTS,
    JSON,
    KEY,
    MESSAGES,
    PAIRS,
    PATH,
    ask,
    encoded,
    events,
    failing,
    plain,
    question,
    request,
    tell,
    towards,
    whole,
)

pairs = pytest.mark.parametrize(("wire", "upstream"), PAIRS, ids=lambda wire: wire.value)


def text_of(wire: Protocol, answer: Any) -> str:
    found = answer["content"][0]["text"] if wire is MESSAGES else answer["choices"][0]["message"]["content"]
    assert isinstance(found, str)
    return found


def stop_of(wire: Protocol, answer: Any) -> Any:
    return answer["stop_reason"] if wire is MESSAGES else answer["choices"][0]["finish_reason"]


@pairs
def test_a_plain_question_gets_a_plain_answer(wire: Protocol, upstream: Protocol) -> None:
    told = ask(wire, plain(upstream, (b"request-id", b"up_1"), (b"retry-after", b"3")), at=towards(upstream))
    assert told.status == 200
    assert (text_of(wire, told.json), stop_of(wire, told.json)) == ("Hello!", "end_turn" if wire is MESSAGES else "stop")
    assert told.json["model"] == "glm-4.6"
    assert told.header("content-type") == "application/json"
    assert told.header("content-length") == str(len(told.body))
    assert (told.header("x-upstream-request-id"), told.header("retry-after")) == ("up_1", "3")
    assert (told.record.counts.prompt, told.record.counts.output) == (11, 3)
    assert (told.record.attempts, told.record.upstream_status, told.record.upstream_request_id) == (1, 200, "up_1")
    assert (told.record.stream, told.record.broken, told.record.error_code) == (False, False, None)


@pairs
def test_the_answer_names_the_model_as_the_client_did(wire: Protocol, upstream: Protocol) -> None:
    told = tell(request(PATH[wire], question(model=f"glm-4.6-{upstream.value}")), [plain(upstream)], at=towards(upstream))
    assert told.json["model"] == f"glm-4.6-{upstream.value}"
    assert told.upstream["model"] == "glm-4.6"
    nameless = tell(request(PATH[wire], question(model=None)), [plain(upstream, model="other")], at=towards(upstream))
    assert nameless.json["model"] == "glm-4.6"


@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
def test_on_the_same_wire_an_answer_passes_byte_for_byte(wire: Protocol) -> None:
    body = json.dumps(whole(wire, new_field={"z": 1.0}), indent=1).encode().replace(b"Hello", rb"H\u00e9llo")
    answer = Answer(Head(200, [JSON]), [body[:50], body[50:]])
    at = towards(wire, INCLUDE_CONTEXT_INFO="false")
    assert ask(wire, answer, at=at).body == body
    renamed = tell(request(PATH[wire], question(model=f"glm-4.6-{wire.value}")), [answer], at=at)
    assert renamed.body == body.replace(b'"glm-4.6"', f'"glm-4.6-{wire.value}"'.encode())


# ---------------------------------------------------------------------------------------------------- other forms


@pairs
@pytest.mark.parametrize("kind", [[EVENTS], [], [JSON], [(b"content-type", b"text/plain")]], ids=["events", "no type", "json", "text"])
@pytest.mark.parametrize(
    "begin",
    [b"", b": hello\n\n", b"\xef\xbb\xbf", b"\r\n\r\n", b"retry: 10\n\n", b"id: 1\n"],
    ids=["", "comment", "mark", "blank", "retry", "id"],
)
def test_a_stream_in_answer_to_a_plain_question_is_folded(
    wire: Protocol, upstream: Protocol, kind: list[tuple[bytes, bytes]], begin: bytes
) -> None:
    told = ask(wire, Answer(Head(200, kind), [begin + b"".join(events(upstream))]), at=towards(upstream))
    assert told.status == 200
    assert (text_of(wire, told.json), stop_of(wire, told.json)) == ("Hello!", "end_turn" if wire is MESSAGES else "stop")
    assert (told.record.counts.prompt, told.record.counts.output) == (11, 3)


@pairs
@pytest.mark.parametrize("kind", [[], [EVENTS], [(b"content-type", b"text/html")]], ids=["no type", "events", "html"])
def test_json_is_json_whatever_its_type_says(wire: Protocol, upstream: Protocol, kind: list[tuple[bytes, bytes]]) -> None:
    for begin in (b"\n ", b"\xef\xbb\xbf"):
        told = ask(wire, Answer(Head(200, kind), [begin + encoded(whole(upstream))]), at=towards(upstream))
        assert (told.status, text_of(wire, told.json)) == (200, "Hello!")


# ---------------------------------------------------------------------------------------------------- errors of the upstream


def error_body(wire: Protocol, kind: str, message: str) -> bytes:
    error = {"type": kind, "message": message}
    return encoded({"type": "error", "error": error} if wire is MESSAGES else {"error": error | {"code": None, "param": None}})


@pairs
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529, 418, 599])
def test_the_upstreams_status_reaches_the_client(wire: Protocol, upstream: Protocol, stream: bool, status: int) -> None:
    limits = [
        (b"retry-after", b"7"),
        (b"x-should-retry", b"true"),
        (b"x-request-id", b"up_1"),
        (b"anthropic-ratelimit-requests-limit", b"5"),
        (b"set-cookie", b"c"),
    ]
    told = ask(wire, failing(status, error_body(upstream, "some_error", "No."), *limits), stream=stream, at=towards(upstream))
    assert told.status == (503 if wire is CHAT and status == 529 else status)
    assert told.json["error"]["message"] == "No."
    assert (told.json.get("type") == "error") is (wire is MESSAGES)
    if wire is not upstream:
        assert told.json["error"]["upstream"] == json.loads(error_body(upstream, "some_error", "No."))
    assert (told.header("retry-after"), told.header("x-should-retry"), told.header("x-upstream-request-id")) == ("7", "true", "up_1")
    assert told.header("anthropic-ratelimit-requests-limit" if wire is MESSAGES else "x-ratelimit-limit-requests") == "5"
    assert told.header("content-type") == "application/json"
    assert told.header("set-cookie") is None
    assert (told.record.upstream_status, told.record.status, told.record.broken) == (status, told.status, False)
    assert told.header("x-proxy-upstream") == f"international/{upstream.value}"


@pairs
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_an_error_inside_a_good_answer_is_an_error(wire: Protocol, upstream: Protocol, stream: bool) -> None:
    for answer in (
        failing(200, error_body(upstream, "overloaded_error", "Busy"), (b"retry-after", b"7")),
        Answer(Head(200, [EVENTS, (b"retry-after", b"7")]), [error_body(upstream, "overloaded_error", "Busy")]),
    ):
        told = ask(wire, answer, stream=stream, at=towards(upstream))
        assert told.status == (503 if wire is CHAT else 529)
        assert (told.json["error"]["message"], told.header("retry-after")) == ("Busy", "7")
    told = ask(wire, failing(200, b'{"error":{"code":1113,"message":"No balance"}}'), stream=stream, at=towards(upstream))
    assert (told.status, told.json["error"]["code"]) == (402, "1113")


GARBAGE = {
    "a page": b"<html><body>It works!</body></html>",
    "nothing": b"",
    "blanks": b" \n ",
    "text": b"upstream is sleeping",
    "a list": b"[]",
    "a string": b'"ok"',
    "null": b"null",
    "an empty object": b"{}",
    "cut JSON": b'{"id":"x","content":[{"type":"text","te',
    "no UTF-8": b"\xff\xfe\xfd",
    "another shape": b'{"content":3,"choices":"none","type":7}',
    "nested without end": b'{"content":' + b"[" * 5000,
    "an empty stream": b": ping\n\n",
    "a stream of garbage": b"data: {]\n\ndata: nope\n\n",
}


@pairs
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("kind", [[], [JSON], [EVENTS], [(b"content-type", b"text/html")]], ids=["no type", "json", "events", "html"])
@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE)
def test_garbage_in_a_good_answer_is_502(
    wire: Protocol, upstream: Protocol, stream: bool, kind: list[tuple[bytes, bytes]], body: bytes
) -> None:
    told = ask(wire, Answer(Head(200, kind), [body] if body else []), stream=stream, at=towards(upstream))
    assert told.status == 502
    assert told.json["error"]["code"] in ("invalid_upstream_json", "upstream_request_failed")
    assert told.header("content-type") == "application/json"


@pairs
def test_an_answer_nested_beyond_reason_is_the_upstreams_fault(wire: Protocol, upstream: Protocol) -> None:
    answer = encoded(whole(upstream, model="other"))[:-1] + b',"deep":' + b"[" * 500 + b"]" * 500 + b"}"
    told = ask(wire, Answer(Head(200, [JSON]), [answer]), at=towards(upstream))
    assert told.status in (200, 502)


@pairs
def test_an_answer_without_end_is_given_up(wire: Protocol, upstream: Protocol) -> None:
    endless = Answer(Head(200, [JSON]), [b"{" + b" " * (1024 * 1024)] * 65)
    for stream in (False, True):
        told = ask(wire, endless, stream=stream, at=towards(upstream))
        assert told.status == 502
        assert "longer than" in told.json["error"]["message"]


# ---------------------------------------------------------------------------------------------------- redirects, error bodies


@pairs
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_redirect_is_not_followed(wire: Protocol, upstream: Protocol, stream: bool) -> None:
    told = ask(wire, Answer(Head(302, [(b"location", b"https://elsewhere.example/")])), stream=stream, at=towards(upstream))
    assert (told.status, len(told.world.opened)) == (502, 1)
    assert "elsewhere" not in str(told.head.headers) + told.body.decode()


@pairs
def test_a_refusal_that_is_cut_short_is_still_that_refusal(wire: Protocol, upstream: Protocol) -> None:
    answer = Answer(Head(429, [(b"retry-after", b"7")]), [b'{"error":{"mess', UpstreamFailed("cut")])
    told = ask(wire, answer, at=towards(upstream))
    assert (told.status, told.header("retry-after")) == (429, "7")


def test_of_a_refusal_without_end_only_the_beginning_is_read() -> None:
    answer = Answer(Head(500, [(b"content-type", b"text/html")]), [b"<p>" + b"sorry " * 100_000] * 10)
    told = ask(MESSAGES, answer, at=towards(MESSAGES))
    assert told.status == 500
    assert len(told.body) < 20_000
    assert sum(isinstance(effect, Read) for effect in told.world.performed) == 2


# ---------------------------------------------------------------------------------------------------- errors of the way there


@pairs
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (UpstreamFailed("connection refused", phase="connect"), 502, "upstream_request_failed"),
        (UpstreamTimeout("no head", phase="head"), 504, "upstream_timeout"),
        (UpstreamFailed("the proxy is shutting down", code="draining", phase="connect"), 502, "draining"),
    ],
)
def test_an_upstream_that_cannot_be_asked_is_a_502_or_504(
    wire: Protocol, upstream: Protocol, stream: bool, error: UpstreamError, status: int, code: str
) -> None:
    told = ask(wire, Answer(error), stream=stream, at=towards(upstream))
    assert (told.status, told.json["error"]["code"], told.json["error"]["message"]) == (status, code, error.message)
    assert (told.record.attempts, told.record.upstream_status) == (1, None)


@pairs
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_every_upstream_effect_may_fail_and_the_client_learns_it(wire: Protocol, upstream: Protocol, stream: bool) -> None:
    answer = Answer(Head(200, [EVENTS if stream else JSON]), events(upstream) if stream else [encoded(whole(upstream))])
    effects = ask(wire, answer, stream=stream, at=towards(upstream)).world.upstream_effects
    for number in range(effects):
        told = ask(wire, answer, stream=stream, at=towards(upstream), fail=(number, UpstreamTimeout("silence")))
        assert told.record.error_code == "upstream_timeout"
        if told.status == 504:
            assert told.json["error"]["message"] == "silence"
        else:
            assert stream
            assert b"silence" in told.world.sends[-1]
            assert told.record.broken


# ---------------------------------------------------------------------------------------------------- a client that leaves


@pairs
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("status", [200, 429])
def test_a_client_that_leaves_over_any_effect_leaves_a_record(wire: Protocol, upstream: Protocol, stream: bool, status: int) -> None:
    good = Answer(
        Head(200, [EVENTS if stream else JSON]),
        [*events(upstream)[:2], None, *events(upstream)[2:]] if stream else [encoded(whole(upstream))],
        silent=1,
    )
    answer = good if status == 200 else failing(429, b"{}")
    effects = len(ask(wire, answer, stream=stream, at=towards(upstream)).world.performed)
    assert effects >= 4
    for number in range(effects):
        told = ask(wire, answer, stream=stream, at=towards(upstream), gone=number)
        assert (told.record.status, told.record.error_code) == (499, "client_gone")
        assert len(told.world.performed) == number + 1
        assert told.record.target == f"international/{upstream.value}"


@pairs
def test_a_client_that_leaves_over_the_error_event_leaves_a_record(wire: Protocol, upstream: Protocol) -> None:
    answer = Answer(Head(200, [EVENTS]), [*events(upstream)[:3], UpstreamFailed("cut")])
    effects = len(ask(wire, answer, stream=True, at=towards(upstream)).world.performed)
    told = ask(wire, answer, stream=True, at=towards(upstream), gone=effects - 1)
    assert (told.record.status, told.record.error_code) == (499, "client_gone")


# ---------------------------------------------------------------------------------------------------- keys


@pairs
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("status", [200, 401])
def test_a_key_that_the_upstream_repeats_is_told_to_nobody(wire: Protocol, upstream: Protocol, stream: bool, status: int) -> None:
    body = error_body(upstream, "authentication_error", f"{KEY} is no key, see https://chat.upstream.internal/keys")
    told = ask(wire, failing(status, body), stream=stream, at=towards(upstream))
    assert told.status == 401
    everything = f"{told.body!r} {told.head!r} {told.record!r} {told.record.line()} {told.record.notes}"
    assert "CANARY" not in everything
    assert "upstream.internal" not in everything
    assert "[redacted] is no key, see [url]" in told.json["error"]["message"]


@pairs
def test_a_key_that_is_repeated_in_mid_stream_is_told_to_nobody(wire: Protocol, upstream: Protocol) -> None:
    body = error_body(upstream, "authentication_error", f"{KEY} was revoked")
    frame = (b"event: error\n" if upstream is MESSAGES else b"") + b"data: " + body + b"\n\n"
    for answer in (
        Answer(Head(200, [EVENTS]), [*events(upstream)[:3], frame]),
        Answer(Head(200, [EVENTS]), [*events(upstream)[:2], None, b"".join(events(upstream)[2:3]) + frame]),
        Answer(Head(401, [JSON]), [body], silent=1),
    ):
        told = ask(wire, answer, stream=True, at=towards(upstream))
        assert told.status == 200
        assert "CANARY" not in f"{told.body!r} {told.record!r} {told.record.line()}"
        assert b"[redacted] was revoked" in told.body
