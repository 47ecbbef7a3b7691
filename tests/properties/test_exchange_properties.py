"""Laws of whole exchanges: only errors of ours come out of garbage, nothing leaks into a header line, nothing of a client's stays behind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dialects import Protocol
from core.effects import Head, Request
from core.errors import UpstreamError, UpstreamFailed, UpstreamSaid, UpstreamTimeout
from core.exchange import exchange
from core.headers import answer_head, relayed
from core.record import Record
from core.testing import Answer, GrammarViolation, ScriptedWorld
from core.translate.faults import body_of, event_of, overflow_message, redact, understand
from core.translate.loss import Loss
from tests.core.exchanges import (
    CHAT,
    EVENTS,
    INBOUND_KEY,
    JSON,
    KEY,
    MESSAGES,
    NOW,
    PAIRS,
    PATH,
    SERVER_KEY,
    accept,
    ask,
    encoded,
    events,
    gateway,
    plain,
    question,
    request,
    tell,
    whole,
)

pairs = pytest.mark.parametrize(("wire", "upstream"), PAIRS, ids=lambda wire: wire.value)

#: Each knows one upstream only, so that pictures go there as well.
#: Without breakers: examples know nothing of one another.
GATEWAYS = {
    MESSAGES: gateway(OPENAI_UPSTREAM_BASE="", BREAKER_FAILURES="0"),
    CHAT: gateway(UPSTREAM_BASE="", BREAKER_FAILURES="0"),
}

# ---------------------------------------------------------------------------------------------------- garbage from clients

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=12
)

#: Words that mean something somewhere in a request.
WORDS = st.sampled_from(
    [
        "model", "messages", "role", "content", "type", "text", "image", "source", "tool_use", "tool_result", "tool_calls", "function", "name", "id",
        "input", "arguments", "user", "assistant", "system", "tool", "developer", "tools", "tool_choice", "thinking", "enabled", "stream",
        "max_tokens", "stop", "image_url", "url", "stream_options", "include_usage", "attachments", "cache_control", "response_format", "json_schema",
        "schema", "reasoning_effort", "output_config", "format", "document", "data", "base64", "thread", "tool_call_id", "tool_use_id", "is_error",
    ]
)  # fmt: skip
MEANT = st.recursive(
    SCALARS | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=5),
    max_leaves=25,
)

#: A request that uses most of either wire, to be mutated.
RICH: dict[Protocol, dict[str, Any]] = {
    MESSAGES: {
        "model": "glm-4.6",
        "max_tokens": 100,
        "system": [{"type": "text", "text": "x-anthropic-billing-header: cch=abc;", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [
            {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}}},
            {"type": "web_search_20250305", "name": "web_search"},
        ],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "metadata": {"user_id": "u"},
        "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "t", "signature": "s"},
                    {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": "b"}},
                ],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "r"}], "is_error": True}],
            },
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}}]},
        ],
    },
    CHAT: {
        "model": "glm-4.6",
        "max_completion_tokens": 100,
        "stop": ["a"],
        "temperature": 1.5,
        "reasoning_effort": "high",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        "stream_options": {"include_usage": True},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "messages": [
            {"role": "system", "content": "s"},
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}],
            },
            {
                "role": "assistant",
                "content": None,
                "reasoning_content": "t",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "r"},
            {"role": "user", "content": "b"},
        ],
    },
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, one in items for place in places(one, (*path, name)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    if new is ... and len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@st.composite
def mutated(draw: st.DrawFn, wire: Protocol) -> bytes:
    """A rich request with up to three values taken away or replaced."""
    value: Any = RICH[wire]
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(value)[1:] or [()]))
        value = replaced(value, path, draw(st.just(...) | MEANT)) if path else value
    return json.dumps(value).encode("utf-8", "surrogatepass")


def check_refusal(wire: Protocol, body: bytes, upstream: Protocol, *, stream: bool = False) -> None:
    """Run a request against an upstream that answers well: it is answered, or refused with a 4xx of ours that names no internals."""
    answer = Answer(Head(200, [EVENTS]), events(upstream)) if stream else plain(upstream)
    world = ScriptedWorld([answer])
    record = world.run(exchange(request(PATH[wire], body), GATEWAYS[upstream]))
    assert world.head is not None
    assert world.head.status == record.status
    if world.head.status == 200:
        (sent,) = world.opened
        assert isinstance(json.loads(sent.body), dict)
        return
    assert 400 <= world.head.status < 500, world.sent
    error = json.loads(world.sent)["error"]
    assert error["message"]
    assert error["code"]
    assert world.opened == []


@pairs
@given(body=st.binary(max_size=60))
def test_any_bytes_are_answered_or_refused(wire: Protocol, upstream: Protocol, body: bytes) -> None:
    check_refusal(wire, body, upstream)


@pairs
@given(value=VALUES | MEANT)
def test_any_json_is_answered_or_refused(wire: Protocol, upstream: Protocol, value: Any) -> None:
    check_refusal(wire, json.dumps(value).encode("utf-8", "surrogatepass"), upstream)


@pairs
@given(messages=st.lists(st.dictionaries(WORDS, MEANT, max_size=5), min_size=1, max_size=3), more=st.dictionaries(WORDS, MEANT, max_size=3))
def test_any_messages_are_answered_or_refused(wire: Protocol, upstream: Protocol, messages: list[Any], more: dict[str, Any]) -> None:
    body = json.dumps({**more, "messages": messages, "model": "m", "stream": False}).encode("utf-8", "surrogatepass")
    check_refusal(wire, body, upstream)


@pairs
@given(data=st.data())
def test_a_request_in_which_something_is_wrong_is_answered_or_refused(wire: Protocol, upstream: Protocol, data: st.DataObject) -> None:
    body = data.draw(mutated(wire))
    stream = json.loads(body).get("stream") is True
    check_refusal(wire, body, upstream, stream=stream)


@given(body=st.binary(max_size=40) | VALUES.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")))
def test_anything_can_be_counted_or_refused(body: bytes) -> None:
    told = tell(request("/v1/messages/count_tokens", body), at=GATEWAYS[MESSAGES], fetches=[Answer(UpstreamFailed("no"))])
    assert told.status in (200, 400)
    assert ("input_tokens" in told.json) is (told.status == 200)


@given(
    method=st.sampled_from(["GET", "POST", "HEAD", "PUT", "OPTIONS"]) | st.text("ABC-", min_size=1, max_size=30),
    path=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30) | st.lists(st.sampled_from(["", "v1", "models", "messages", "chat", "completions", "%2F", "..", "a?b=c", "limit=3"]), max_size=5).map("/".join),
)  # fmt: skip
def test_any_target_is_answered_or_refused(method: str, path: str) -> None:
    told = tell(request(f"/{path}", b"", method=method), at=GATEWAYS[MESSAGES], fetches=[Answer(UpstreamFailed("no"))])
    assert told.status in (200, 400, 404, 405)
    assert told.header("x-request-id") == "req_1"
    assert told.record.line().isprintable()


# ---------------------------------------------------------------------------------------------------- garbage from upstreams


@given(status=st.integers(100, 599), body=st.binary(max_size=80) | MEANT.map(lambda value: json.dumps({"error": value}).encode("utf-8", "surrogatepass")) | VALUES.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")))  # fmt: skip
def test_any_error_body_is_understood_and_can_be_told(status: int, body: bytes) -> None:
    error = understand(status, body)
    assert isinstance(error, UpstreamSaid)
    assert 400 <= error.status <= 599
    assert error.message
    redact(error, b"canary-key")
    for wire in (MESSAGES, CHAT):
        told = json.loads(body_of(wire, error, "req_1"))
        assert told["request_id"]
        assert isinstance(told["error"]["message"], str)
        assert isinstance(told["error"]["type"], str)
        assert event_of(wire, error).endswith(b"\n\n")
        assert event_of(wire, error).count(b"\n\n") == 1


@given(st.text())
def test_an_overflow_message_has_the_phrase_and_the_upstreams_words(text: str) -> None:
    told = overflow_message(text)
    assert text in told
    assert "prompt is too long" in told or "exceed context limit: " in told


@pairs
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@given(
    status=st.sampled_from([200, 200, 200, 204, 302, 400, 429, 500, 529]),
    kind=st.sampled_from([[], [JSON], [EVENTS], [(b"content-type", b"\xff")]]),
    body=st.lists(st.none() | st.binary(min_size=1, max_size=40) | MEANT.map(lambda value: b"data: " + json.dumps(value).encode("utf-8", "surrogatepass") + b"\n\n") | st.sampled_from([*events(MESSAGES), *events(CHAT)]) | st.sampled_from([UpstreamFailed("cut"), UpstreamTimeout("gap")]), max_size=8),
    silent=st.integers(0, 2),
)  # fmt: skip
def test_whatever_an_upstream_says_the_client_gets_an_answer_of_its_wire(
    wire: Protocol, upstream: Protocol, stream: bool, status: int, kind: Any, body: Any, silent: int
) -> None:
    told = ask(wire, Answer(Head(status, kind), body, silent=silent), stream=stream, at=GATEWAYS[upstream])
    assert told.record.status == told.status
    if told.header("content-type") == "application/json":
        assert (told.status == 200) is ("error" not in told.json)
        assert told.header("content-length") == str(len(told.body))
        return
    try:
        accepted = accept(wire, told.body)
    except GrammarViolation as violation:
        raise AssertionError(f"{violation}\n{told.body!r}") from None
    assert (accepted.kind == "error") is told.record.broken


FAULTS = st.sampled_from([UpstreamFailed("cut"), UpstreamTimeout("gap"), UpstreamFailed("refused", phase="connect")])


@pairs
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@given(error=FAULTS, fail=st.none() | st.integers(0, 12), gone=st.none() | st.integers(0, 25), silent=st.integers(0, 2), data=st.data())
def test_a_record_comes_back_whoever_leaves_and_whatever_breaks(
    wire: Protocol,
    upstream: Protocol,
    stream: bool,
    error: UpstreamError,
    fail: int | None,
    gone: int | None,
    silent: int,
    data: st.DataObject,
) -> None:
    pieces = events(upstream) if stream else [encoded(whole(upstream))]
    body: list[bytes | None] = []
    for piece in pieces:
        at = data.draw(st.integers(0, len(piece)))
        body += [part for part in (piece[:at], piece[at:]) if part]
        body += [None] if data.draw(st.booleans()) else []
    told = ask(
        wire,
        Answer(Head(200, [EVENTS if stream else JSON]), body, silent=silent),
        stream=stream,
        at=GATEWAYS[upstream],
        fail=None if fail is None else (fail, error),
        gone=gone,
    )
    if told.record.status == 499:
        return
    if told.header("content-type") == "application/json":
        assert (told.status == 200) is (told.record.error is None)
        return
    assert (accept(wire, told.body).kind == "error") is told.record.broken is (told.record.error is not None)


# ---------------------------------------------------------------------------------------------------- headers

HEADER_VALUES = st.binary(max_size=30) | st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass"))
HEADER_NAMES = st.sampled_from([b"x-api-key", b"authorization", b"anthropic-version", b"anthropic-beta", b"x-request-id", b"origin", b"host", b"content-type", b"content-encoding", b"cookie"])  # fmt: skip


def check_lines(headers: Any) -> None:
    for name, value in headers:
        assert all(0x20 <= byte < 0x7F for byte in name + value), (name, value)
        assert name == name.lower()


@pairs
@given(
    headers=st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=4),
    key=HEADER_VALUES,
    model=st.text(max_size=20),
    field=st.text(max_size=10),
)
def test_nothing_a_client_controls_can_break_a_header_line(
    wire: Protocol, upstream: Protocol, headers: Any, key: bytes, model: str, field: str
) -> None:
    body = question(model=model, **{f"new{field}": 1})
    asked = Request("POST", PATH[wire], [(b"x-api-key", key), (b"authorization", b"Bearer " + key), *headers], body, "req_1", NOW)
    world = ScriptedWorld([plain(upstream)])
    record = world.run(exchange(asked, GATEWAYS[upstream]))
    assert world.head is not None
    check_lines(world.head.headers)
    for sent in world.opened:
        check_lines(sent.headers)
        assert sent.url.isascii()
        assert sent.url.isprintable()
    assert record.line().isprintable()
    assert all(note.isprintable() for note in record.notes)
    assert record.status < 500


@given(fields=st.lists(st.tuples(st.sampled_from([b"retry-after", b"x-should-retry", b"x-request-id", b"anthropic-ratelimit-tokens-reset", b"anthropic-ratelimit-x", b"x-ratelimit-reset-requests", b"x-ratelimit-limit-tokens"]), HEADER_VALUES | st.from_regex(rb"\d{1,30}(h|m|s|ms)", fullmatch=True) | st.datetimes().map(lambda time: time.isoformat().encode()))), wire=st.sampled_from([MESSAGES, CHAT]))  # fmt: skip
def test_nothing_an_upstream_says_can_break_a_header_line(fields: Any, wire: Protocol) -> None:
    check_lines(relayed(Head(200, fields), wire, NOW))
    told = ask(wire, Answer(Head(429, fields), [b"{}"]), at=GATEWAYS[MESSAGES])
    check_lines(told.head.headers)


@given(words=st.lists(st.text(max_size=20), min_size=5, max_size=5))
def test_nothing_in_a_record_can_break_a_header_line(words: list[str]) -> None:
    record = Record(
        "req_1",
        "/",
        NOW,
        target=words[0] or "t",
        upstream_model=words[1],
        reason=words[2],
        losses=(Loss("a", words[3], "b"),),
        upstream_request_id=words[4],
    )
    check_lines(answer_head(200, b"x/y", record, upstream=None, wire=CHAT, show=True).headers)


# ---------------------------------------------------------------------------------------------------- keys


@pairs
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@given(
    inbound=st.booleans(),
    echo=st.sampled_from(["message", "page", "event", "code"]),
    forward=st.booleans(),
    status=st.sampled_from([200, 401, 500]),
)
def test_no_key_leaves_the_proxy_but_the_one_for_the_upstream(
    wire: Protocol, upstream: Protocol, stream: bool, inbound: bool, echo: str, forward: bool, status: int
) -> None:
    at = gateway(
        TEXT_ENDPOINT_PREFERENCE=upstream.value,
        SERVER_API_KEY=SERVER_KEY,
        FORWARD_CLIENT_KEY=str(forward),
        **({"PROXY_API_KEY": INBOUND_KEY} if inbound else {}),
    )
    headers = (
        [(b"x-api-key", KEY.encode()), (b"authorization", f"Bearer {INBOUND_KEY}".encode())] if inbound else [(b"x-api-key", KEY.encode())]
    )
    used = KEY if forward else SERVER_KEY
    said = {
        "message": encoded({"error": {"message": f"bad key {used}!", "type": "x"}}),
        "page": f"<p>bad key {used}</p>".encode(),
        "event": f'data: {{"type":"error","error":{{"type":"{used}","message":"bad {used}"}}}}\n\n'.encode(),
        "code": encoded({"error": {"message": "bad key", "type": "x", "code": used, "param": used, used: used}}),
    }[echo]
    told = tell(request(PATH[wire], question(stream), key=None, headers=headers), [Answer(Head(status, []), [said])], at=at)
    (sent,) = told.world.opened
    assert [value for _, value in sent.headers if b"CANARY" in value] == [
        used.encode() if upstream is MESSAGES else f"Bearer {used}".encode()
    ]
    assert told.status >= 400
    everything = f"{told.body!r} {told.head!r} {told.record!r} {told.record.line()} {at.settings!r} {at!r}"
    assert "CANARY" not in everything
