"""Headers: allow-lists upstream and back, and nothing in a line that may not stand there."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

import pytest

from core.credentials import Credential
from core.dialects import Protocol
from core.effects import Head
from core.errors import BadRequest
from core.headers import adopt_request_id, answer_head, printable, relayed, upstream_headers, upstream_request_id
from core.record import Record
from core.routing import Target, route
from core.settings import Settings
from core.translate.loss import Loss

MESSAGES, CHAT = Protocol.ANTHROPIC, Protocol.OPENAI
#: Friday, 20 November 2026, 00:00 UTC.
NOW = 1_795_132_800.0
DEFAULTS = Settings()
Field: TypeAlias = tuple[bytes, bytes]


def target(protocol: Protocol) -> Target:
    return route(f"glm-4.6-{protocol.value}", images=False, wire=MESSAGES, settings=Settings())[0]


def sent(
    protocol: Protocol,
    *client: Field,
    wire: Protocol = MESSAGES,
    stream: bool = False,
    body: bytes = b"",
    settings: Settings = DEFAULTS,
    fixed: tuple[Field, ...] = (),
) -> list[Field]:
    to = replace(target(protocol), headers=fixed)
    return upstream_headers(to, Credential(b"k"), client, body, wire=wire, stream=stream, settings=settings)


def values(headers: list[Field], name: bytes) -> list[bytes]:
    return [value for found, value in headers if found == name]


# ---------------------------------------------------------------------------------------------------- upstream


def test_a_chat_upstream_gets_these_headers_and_no_others() -> None:
    noise = [(b"cookie", b"a"), (b"x-forwarded-for", b"1"), (b"anthropic-beta", b"b"), (b"x-claude-code-session-id", b"s"), (b"host", b"h")]
    assert sent(CHAT, *noise) == [
        (b"content-type", b"application/json"),
        (b"accept", b"application/json"),
        (b"user-agent", b"anthropic-proxy/0.1"),
        (b"authorization", b"Bearer k"),
    ]


def test_a_messages_upstream_gets_the_clients_version_and_beta_byte_for_byte() -> None:
    beta = [(b"anthropic-beta", b"one-2025-01-01, two;x=1"), (b"anthropic-beta", b"three")]
    assert sent(MESSAGES, (b"anthropic-version", b"2026-10-21"), *beta, (b"x-stainless-lang", b"python")) == [
        (b"content-type", b"application/json"),
        (b"accept", b"application/json"),
        (b"user-agent", b"anthropic-proxy/0.1"),
        (b"x-api-key", b"k"),
        (b"anthropic-version", b"2026-10-21"),
        *beta,
    ]


def test_the_version_is_the_configured_one_where_the_client_names_none_or_speaks_chat() -> None:
    version = (b"anthropic-version", b"2023-06-01")
    assert version in sent(MESSAGES)
    told = sent(MESSAGES, (b"anthropic-version", b"2026-10-21"), (b"anthropic-beta", b"b"), wire=CHAT)
    assert [field for field in told if field[0] == b"anthropic-version"] == [version]  # later versions refuse temperature
    assert (b"anthropic-beta", b"b") in told


def test_the_version_is_the_one_of_the_settings() -> None:
    told = sent(MESSAGES, wire=CHAT, settings=Settings(anthropic_version="2027-01-01"))
    assert values(told, b"anthropic-version") == [b"2027-01-01"]


MARKED = b'{"messages":[{"cache_control" : {"type":"ephemeral"}}]}'
UNMARKED = rb'{"messages":[{"text":"cache_control"},{"text":"\"cache_control\": {"},{"cache_control":null}]}'
OWN = (b"anthropic-beta", b"own-1, own-2")


@pytest.mark.parametrize(
    ("force", "body", "client", "betas"),
    [
        (False, MARKED, (), []),
        (True, MARKED, (), [b"some-beta"]),
        (True, UNMARKED, (), []),
        (True, b"", (), []),
        ("always", UNMARKED, (), [b"some-beta"]),
        ("always", b"", (), [b"some-beta"]),
        (False, MARKED, (OWN,), [OWN[1]]),
        (True, MARKED, (OWN,), [OWN[1]]),
        ("always", MARKED, (OWN,), [OWN[1]]),
    ],
)
@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
def test_a_beta_is_forced_only_where_the_client_has_none(
    wire: Protocol, force: bool | Literal["always"], body: bytes, client: tuple[Field, ...], betas: list[bytes]
) -> None:
    settings = Settings(force_anthropic_beta=force, default_anthropic_beta="some-beta")
    assert values(sent(MESSAGES, *client, wire=wire, body=body, settings=settings), b"anthropic-beta") == betas
    assert values(sent(CHAT, *client, wire=wire, body=body, settings=settings), b"anthropic-beta") == []


def test_the_beta_that_is_forced_has_a_default() -> None:
    assert values(sent(MESSAGES, settings=Settings(force_anthropic_beta="always")), b"anthropic-beta") == [b"prompt-caching-2024-07-31"]


def test_fixed_headers_of_a_target_are_added_and_replace_the_proxys_own() -> None:
    fixed = ((b"http-referer", b"https://me.example"), (b"user-agent", b"mine/1"), (b"x-title", b"t"))
    assert sent(CHAT, fixed=fixed) == [
        (b"content-type", b"application/json"),
        (b"accept", b"application/json"),
        (b"authorization", b"Bearer k"),
        *fixed,
    ]


@pytest.mark.parametrize(
    "name", ["authorization", "x-api-key", "content-type", "accept", "accept-encoding", "host", "content-length", "transfer-encoding", "connection", "cookie"]
)  # fmt: skip
@pytest.mark.parametrize("protocol", [MESSAGES, CHAT])
def test_no_fixed_header_touches_a_credential_or_the_framing(protocol: Protocol, name: str) -> None:
    assert sent(protocol, fixed=((name.encode(), b"evil"),)) == sent(protocol)


def test_fixed_headers_stand_behind_the_clients_own_version_and_beta_and_before_the_settings() -> None:
    fixed = ((b"anthropic-version", b"fixed"), (b"anthropic-beta", b"fixed"))
    forced = Settings(force_anthropic_beta="always")
    assert sent(MESSAGES, fixed=fixed, settings=forced)[-2:] == list(fixed)
    assert [name for name, _ in sent(MESSAGES, fixed=fixed, settings=forced)].count(b"anthropic-beta") == 1
    told = sent(MESSAGES, OWN, (b"anthropic-version", b"v"), fixed=fixed, settings=forced)
    assert (values(told, b"anthropic-version"), values(told, b"anthropic-beta")) == ([b"v"], [OWN[1]])


@pytest.mark.parametrize("protocol", [MESSAGES, CHAT])
def test_a_stream_is_asked_for_as_one(protocol: Protocol) -> None:
    assert (b"accept", b"text/event-stream") in sent(protocol, stream=True)


@pytest.mark.parametrize("name", [b"anthropic-version", b"anthropic-beta"])
@pytest.mark.parametrize("value", [b"a\r\nx-evil: 1", b"a\x00", b"caf\xc3\xa9", b"\x7f"])
def test_what_may_not_stand_in_a_header_line_is_refused(name: bytes, value: bytes) -> None:
    with pytest.raises(BadRequest, match=name.decode()) as caught:
        sent(MESSAGES, (name, value))
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


# ---------------------------------------------------------------------------------------------------- request ids


@pytest.mark.parametrize("given", [b"abc", b"req_01-2.3:4", b"x" * 128])
def test_a_request_id_that_is_one_is_adopted(given: bytes) -> None:
    assert adopt_request_id([(b"x-request-id", given)], "fresh") == given.decode()
    assert adopt_request_id([(b"x-request-id", given)], "fresh", adopt=False) == "fresh"


@pytest.mark.parametrize("given", [b"", b"x" * 129, b"a b", b"a\r\nb", b"\xe9", b"a\n", b"a/b"])
def test_a_request_id_that_is_none_is_replaced(given: bytes) -> None:
    assert adopt_request_id([(b"x-request-id", given), (b"request-id", b"other")], "fresh") == "fresh"


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([(b"request-id", b"a"), (b"x-request-id", b"b")], "a"),
        ([(b"x-request-id", b"b")], "b"),
        ([(b"x-request-id", b"b" * 200)], "b" * 128),
        ([], ""),
    ],
)
def test_the_upstreams_own_id_is_found_under_either_name(headers: list[tuple[bytes, bytes]], found: str) -> None:
    assert upstream_request_id(Head(200, headers)) == found


# ---------------------------------------------------------------------------------------------------- answers


def record(**more: object) -> Record:
    return Record("req_1", "/v1/messages", NOW, **more)  # type: ignore[arg-type]


def head(
    record: Record, *, upstream: Head | None = None, wire: Protocol = MESSAGES, show: bool = True, length: int | None = None
) -> dict[bytes, bytes]:
    made = answer_head(200, b"x/y", record, upstream=upstream, wire=wire, show=show, length=length)
    assert made.status == 200
    assert len(dict(made.headers)) == len(made.headers)
    return dict(made.headers)


BASE = {b"content-type": b"x/y", b"x-request-id": b"req_1", b"request-id": b"req_1"}


def test_a_whole_answer_has_its_ids_and_its_length() -> None:
    assert head(record(), length=7) == {**BASE, b"content-length": b"7"}


def test_a_stream_is_not_to_be_buffered_on_its_way() -> None:
    assert head(record()) == {**BASE, b"cache-control": b"no-cache", b"x-accel-buffering": b"no"}


def routed(**more: object) -> Record:
    return record(target="international/anthropic", upstream_model="glm-4.6", reason="auto: /v1/messages", **more)


ABOUT = {b"x-proxy-upstream": b"international/anthropic", b"x-proxy-model": b"glm-4.6", b"x-proxy-route": b"auto: /v1/messages"}


def test_an_answer_of_an_upstream_says_where_it_came_from() -> None:
    assert head(routed(upstream_request_id="up_1", attempts=1), length=1) == {
        **BASE,
        b"content-length": b"1",
        **ABOUT,
        b"x-upstream-request-id": b"up_1",
    }
    assert head(routed(attempts=2), length=1)[b"x-proxy-attempts"] == b"2"


def test_what_was_dropped_is_named_once_each_and_not_without_end() -> None:
    losses = (
        Loss("a[0]", "server tool web_search", "no twin"),
        Loss("a[1]", "server tool web_search", "no twin"),
        Loss("b", "top_k", "no twin"),
    )
    assert head(routed(losses=losses), length=1)[b"x-proxy-dropped"] == b"server tool web_search, top_k"
    many = tuple(Loss("a", f"field {number}\r\n\xe9", "x") for number in range(1000))
    dropped = head(routed(losses=many), length=1)[b"x-proxy-dropped"]
    assert len(dropped) == 1000
    assert dropped.startswith(b"field 0???, field 1???")


def test_no_name_makes_a_head_that_a_client_cannot_read() -> None:
    long = record(target="t" * 70_000, upstream_model="m\xe9" * 70_000, reason="r" * 70_000)
    found = head(long, length=1)
    assert [found[name] for name in ABOUT] == [b"t" * 256, b"m?" * 128, b"r" * 256]


def test_a_chat_stream_keeps_the_header_of_old() -> None:
    assert head(routed(), wire=CHAT)[b"x-proxy-stream-fallback"] == b"auto"
    assert b"x-proxy-stream-fallback" not in head(routed(), wire=MESSAGES)
    assert b"x-proxy-stream-fallback" not in head(routed(), wire=CHAT, length=1)


def test_the_proxys_own_headers_can_be_turned_off() -> None:
    found = head(routed(losses=(Loss("a", "b", "c"),), attempts=2, upstream_request_id="u"), show=False, wire=CHAT)
    assert not [name for name in found if name.startswith(b"x-proxy")]
    assert found[b"x-upstream-request-id"] == b"u"


@pytest.mark.parametrize(
    ("text", "value"), [("glm-4.6", b"glm-4.6"), ("a\r\nb\x00c\x7f", b"a??b?c?"), ("gr\xfc\xdf\u4f60\ud83d", b"gr????")]
)
def test_any_text_can_become_a_header_value(text: str, value: bytes) -> None:
    assert printable(text) == value


# ---------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
def test_what_clients_retry_by_is_relayed_on_either_wire_and_nothing_else(wire: Protocol) -> None:
    kept = [(b"retry-after", b"7"), (b"retry-after-ms", b"700"), (b"x-should-retry", b"false")]
    noise = [
        (b"server", b"x"),
        (b"set-cookie", b"a"),
        (b"content-encoding", b"gzip"),
        (b"content-length", b"3"),
        (b"transfer-encoding", b"chunked"),
    ]
    assert relayed(Head(429, [*noise, *kept]), wire, NOW) == kept


@pytest.mark.parametrize(
    ("anthropic", "openai"),
    [
        ((b"anthropic-ratelimit-requests-limit", b"50"), (b"x-ratelimit-limit-requests", b"50")),
        ((b"anthropic-ratelimit-requests-remaining", b"49"), (b"x-ratelimit-remaining-requests", b"49")),
        ((b"anthropic-ratelimit-tokens-limit", b"40000"), (b"x-ratelimit-limit-tokens", b"40000")),
        ((b"anthropic-ratelimit-tokens-remaining", b"0"), (b"x-ratelimit-remaining-tokens", b"0")),
        ((b"anthropic-ratelimit-tokens-reset", b"2026-11-20T00:06:00Z"), (b"x-ratelimit-reset-tokens", b"6m0s")),
        ((b"anthropic-ratelimit-requests-reset", b"2026-11-20T01:00:05Z"), (b"x-ratelimit-reset-requests", b"1h0m5s")),
        ((b"anthropic-ratelimit-requests-reset", b"2026-11-20T00:00:01Z"), (b"x-ratelimit-reset-requests", b"1s")),
    ],
)
def test_a_rate_limit_is_said_in_the_words_of_the_other_wire(anthropic: tuple[bytes, bytes], openai: tuple[bytes, bytes]) -> None:
    assert relayed(Head(200, [anthropic]), MESSAGES, NOW) == [anthropic]
    assert relayed(Head(200, [openai]), CHAT, NOW) == [openai]
    assert relayed(Head(200, [anthropic]), CHAT, NOW) == [openai]
    assert relayed(Head(200, [openai]), MESSAGES, NOW) == [anthropic]


@pytest.mark.parametrize(
    ("moment", "duration"),
    [
        (b"2026-11-19T23:00:00Z", b"0s"),  # over
        (b"2026-11-20T00:00:00.2Z", b"1s"),  # a client that comes back too early is refused again
        (b"2026-11-20T02:00:30+02:00", b"30s"),
        (b"2026-11-20T00:00:30", b"30s"),
        (b"soon", b"soon"),
        (b"\xe9", b"?"),
        (b"", b""),
    ],
)
def test_a_moment_becomes_the_time_until_then(moment: bytes, duration: bytes) -> None:
    assert relayed(Head(200, [(b"anthropic-ratelimit-tokens-reset", moment)]), CHAT, NOW) == [(b"x-ratelimit-reset-tokens", duration)]


@pytest.mark.parametrize(
    ("duration", "moment"),
    [
        (b"20ms", b"2026-11-20T00:00:01Z"),
        (b"1.5s", b"2026-11-20T00:00:02Z"),
        (b"1h0m5s", b"2026-11-20T01:00:05Z"),
        (b"0s", b"2026-11-20T00:00:00Z"),
        (b"2h", b"2026-11-20T02:00:00Z"),
        (b"17", b"17"),
        (b"", b""),
        (b"9" * 400 + b"s", b"9" * 400 + b"s"),
        (b"999999999h", b"999999999h"),
    ],
)
def test_a_duration_becomes_the_moment_it_is_over(duration: bytes, moment: bytes) -> None:
    assert relayed(Head(200, [(b"x-ratelimit-reset-tokens", duration)]), MESSAGES, NOW) == [(b"anthropic-ratelimit-tokens-reset", moment)]


def test_limits_without_a_twin_pass_on_their_own_wire_only() -> None:
    anthropic, openai = (b"anthropic-ratelimit-input-tokens-limit", b"1"), (b"x-ratelimit-limit-images", b"1")
    assert relayed(Head(200, [anthropic, openai]), MESSAGES, NOW) == [anthropic]
    assert relayed(Head(200, [anthropic, openai]), CHAT, NOW) == [openai]
