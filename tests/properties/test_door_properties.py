"""Laws of the door: whatever a request holds, no inbound key goes further, and nothing but visible ASCII gets into a header line."""

from __future__ import annotations

import gzip

from hypothesis import given
from hypothesis import strategies as st

from core.effects import Request
from core.errors import TooLarge
from core.exchange import exchange, refusal
from core.testing import ScriptedWorld
from tests.core.exchanges import INBOUND_KEY, KEY, MESSAGES, NOW, SERVER_KEY, gateway, plain, question, towards

#: Everything of the door switched on.
OPEN = {"ENABLE_CORS": "true", "CORS_ORIGINS": "*", "ALLOW_OPEN_RELAY": "true"}
GUARDED = {
    "PROXY_API_KEY": INBOUND_KEY,
    "SERVER_API_KEY": SERVER_KEY,
    "ENABLE_CORS": "true",
    "CORS_ORIGINS": "http://localhost:3000",
    "ALLOW_REQUEST_COMPRESSION": "true",
    "TRUSTED_PROXIES": "10.0.0.0/8",
    "RATE_LIMIT_PER_MINUTE": "1000000",
    "AUTH_FAILURES_PER_MINUTE": "3",
    "HEALTH_CHECK_PATH": "/healthz",
    "ALLOWED_HOSTS": "proxy.example",
    "FORWARD_COUNT_TO_UPSTREAM": "false",
}

BYTES = st.binary(max_size=30)
KEYS = st.sampled_from([INBOUND_KEY.encode(), KEY.encode(), b"proxy-local", b"", b" " + INBOUND_KEY.encode()]) | BYTES
HEADERS = st.lists(
    st.one_of(
        st.tuples(st.just(b"x-api-key"), KEYS),
        st.tuples(st.just(b"authorization"), KEYS.map(b"Bearer ".__add__) | BYTES),
        st.tuples(st.just(b"host"), st.sampled_from([b"localhost", b"proxy.example:80", b"evil.example"]) | BYTES),
        st.tuples(st.just(b"origin"), st.sampled_from([b"http://localhost:3000", b"https://evil.example", b"null"]) | BYTES),
        st.tuples(st.just(b"x-forwarded-for"), st.sampled_from([b"203.0.113.1", b"10.0.0.2, 10.0.0.3", b"::1, x"]) | BYTES),
        st.tuples(st.just(b"content-encoding"), st.sampled_from([b"gzip", b"identity", b"br"]) | BYTES),
        st.tuples(st.just(b"content-type"), st.sampled_from([b"application/json", b"text/plain"]) | BYTES),
        st.tuples(st.sampled_from([b"access-control-request-headers", b"x-request-id", b"anthropic-version", b"anthropic-beta"]), BYTES),
    ),
    max_size=8,
)
METHODS = st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT"])
TARGETS = st.sampled_from(
    ["/v1/messages", "/chat/completions", "/v1/messages/count_tokens", "/v1/models", "/healthz", "/ready", "/v1/v1/x", "/"]
)
REQUESTS = st.builds(
    Request,
    METHODS,
    TARGETS | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30),
    HEADERS,
    st.sampled_from([question(), gzip.compress(question()), b""]) | BYTES,
    st.just("req_1"),
    st.just(NOW),
    st.sampled_from(["127.0.0.1", "10.0.0.1", "2001:db8::1", ""]),
)


def is_sound(head_lines: list[tuple[bytes, bytes]]) -> bool:
    return all(name.isascii() and all(0x20 <= byte < 0x7F or byte == 9 for byte in value) for name, value in head_lines)


@given(REQUESTS, st.booleans())
def test_whatever_is_asked_an_answer_comes_back_and_the_inbound_key_stays(asked: Request, guarded: bool) -> None:
    at = towards(MESSAGES, **(GUARDED if guarded else OPEN))
    world = ScriptedWorld([plain(MESSAGES)], fetches=[plain(MESSAGES)])
    record = world.run(exchange(asked, at))
    assert world.head is not None
    assert record.status == world.head.status
    assert is_sound(list(world.head.headers))
    for sent in (*world.opened, *world.fetched):
        assert is_sound([field for field in sent.headers if field[0] not in (b"x-api-key", b"authorization")])
        if guarded:
            assert INBOUND_KEY.encode() not in repr((sent.headers, sent.url, sent.body)).encode()
    if guarded:
        assert INBOUND_KEY not in repr((record, world.head, world.sent))


@given(HEADERS, st.booleans())
def test_without_the_inbound_key_nothing_goes_upstream(headers: list[tuple[bytes, bytes]], shared: bool) -> None:
    kept = [(name, value) for name, value in headers if INBOUND_KEY.encode() not in value]
    asked = Request("POST", "/v1/messages", kept, question(), "req_1", NOW, "127.0.0.1")
    at = gateway(**{**GUARDED, "ENABLE_CORS": str(shared)})
    world = ScriptedWorld()
    assert world.run(exchange(asked, at)).status in (400, 401, 403)
    assert world.opened == world.fetched == []


@given(HEADERS, TARGETS)
def test_a_refusal_without_an_exchange_has_a_sound_head(headers: list[tuple[bytes, bytes]], target: str) -> None:
    for settings in (OPEN, GUARDED):
        head, _ = refusal(target, headers, TooLarge("too large"), "req_1", gateway(**settings))
        assert is_sound(list(head.headers))
