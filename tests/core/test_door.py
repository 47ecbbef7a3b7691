"""Exchanges at the door: web pages of other origins, compressed bodies, further paths."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from core.door import Door
from core.effects import Compute
from core.errors import RequestTimeout
from core.exchange import refusal
from core.settings import Settings
from core.settings.upstreams import Bases, Model, Provider, Server
from core.testing import Answer
from tests.core.exchanges import (
    CHAT,
    INBOUND_KEY,
    MESSAGES,
    PATH,
    Told,
    failing,
    gateway,
    plain,
    question,
    request,
    streamed,
    tell,
    towards,
)

PAGE = "http://localhost:3000"
SHARED = {"ENABLE_CORS": "true", "CORS_ORIGINS": f"{PAGE}, https://app.example"}


def asked_by_a_page(target: str, answers: list[Answer] | None = None, *, origin: str = PAGE, method: str = "POST", **settings: str) -> Told:
    asked = request(target, question() if method == "POST" else b"", method=method, headers={"origin": origin})
    return tell(asked, answers or [], at=gateway(**{**SHARED, **settings}))


def may_read(told: Told) -> bool:
    if told.header("access-control-allow-origin") is None:
        assert [name for name, _ in told.head.headers if name.startswith(b"access-control") or name == b"vary"] == []
        return False
    assert told.header("access-control-allow-origin") == PAGE
    assert told.header("access-control-expose-headers") == "*"
    assert told.header("vary") == "origin"
    assert told.header("access-control-allow-credentials") is None
    return True


# ---------------------------------------------------------------------------------------------------- who may read


@pytest.mark.parametrize(
    ("target", "method", "status"),
    [
        ("/v1/messages", "POST", 200),
        ("/v1/models", "GET", 200),
        ("/v1/models", "HEAD", 200),
        ("/health", "GET", 200),
        ("/nowhere", "GET", 404),
        ("/v1/messages", "GET", 405),
        ("/v1/models/none", "GET", 502),
    ],
)
def test_a_listed_page_may_read_every_answer(target: str, method: str, status: int) -> None:
    told = tell(
        request(target, question() if method == "POST" else b"", method=method, headers={"origin": PAGE}),
        [plain(MESSAGES)],
        fetches=[failing(500, b"")],
        at=gateway(**SHARED),
    )
    assert told.status in (status, 404)
    assert may_read(told)


@pytest.mark.parametrize(
    ("settings", "code"),
    [({"PROXY_API_KEY": INBOUND_KEY}, 401), ({"RATE_LIMIT_PER_MINUTE": "1"}, 429), ({"MAX_JSON_DEPTH": "8"}, 400)],
)
def test_so_it_may_the_refusals_of_the_door(settings: dict[str, str], code: int) -> None:
    at = gateway(**SHARED, **settings)
    deep = question(metadata=[[[[[[[[[1]]]]]]]]])
    told = [tell(request("/v1/messages", deep, headers={"origin": PAGE}), [plain(MESSAGES)], at=at) for _ in range(2)][-1]
    assert told.status == code
    assert may_read(told)


@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
def test_so_it_may_streams_and_errors_of_the_upstream(wire: Any) -> None:
    at = towards(wire, **SHARED)
    stream = tell(request(PATH[wire], question(True), headers={"origin": PAGE}), [streamed(wire)], at=at)
    assert may_read(stream)
    assert (stream.status, stream.header("content-type")) == (200, "text/event-stream; charset=utf-8")
    assert stream.body == tell(request(PATH[wire], question(True)), [streamed(wire)], at=at).body
    failed = tell(request(PATH[wire], question(), headers={"origin": PAGE}), [failing(404, b"{}")], at=at)
    assert failed.status == 404
    assert may_read(failed)


def test_so_it_may_what_is_refused_before_there_is_an_exchange() -> None:
    for headers, read in (([(b"origin", PAGE.encode())], True), ([(b"origin", b"http://evil.example")], False), ([], False)):
        head, _ = refusal("/v1/messages", headers, RequestTimeout("late"), "req_1", gateway(**SHARED))
        assert (head.get(b"access-control-allow-origin") == PAGE.encode()) is read
    assert refusal("/v1/messages", [(b"origin", PAGE.encode())], RequestTimeout("late"), "req_1")[0].get(b"vary") is None


@pytest.mark.parametrize("target", ["/v1/messages", "/health", "/nowhere"])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://localhost:3000", f"{PAGE}.evil.example"])
@pytest.mark.parametrize("method", ["POST", "GET", "OPTIONS"])
def test_another_page_is_403_and_reads_nothing(target: str, origin: str, method: str) -> None:
    told = asked_by_a_page(target, origin=origin, method=method)
    assert told.status == 403
    assert told.json["error"]["code"] == "forbidden_origin"
    assert not may_read(told)
    assert told.world.opened == []


def test_who_is_no_page_is_told_nothing_of_this() -> None:
    told = tell(request("/v1/messages", question()), [plain(MESSAGES)], at=gateway(**SHARED))
    assert told.status == 200
    assert not may_read(told)


def test_without_cors_a_page_of_the_list_is_403() -> None:
    told = asked_by_a_page("/v1/messages", ENABLE_CORS="false")
    assert (told.status, told.json["error"]["code"]) == (403, "forbidden_origin")


# ---------------------------------------------------------------------------------------------------- preflights


@pytest.mark.parametrize(
    ("target", "methods"),
    [
        ("/v1/messages", "POST, OPTIONS"),
        ("/chat/completions/?beta=true", "POST, OPTIONS"),
        ("/v1/models", "GET, HEAD, OPTIONS"),
        ("/v1/models/a/b", "GET, HEAD, OPTIONS"),
        ("/health", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_preflight_needs_no_key_and_says_what_may_be_sent(target: str, methods: str) -> None:
    headers = {"origin": PAGE, "access-control-request-method": "POST", "access-control-request-headers": "x-api-key,x-stainless-lang"}
    told = tell(request(target, method="OPTIONS", key=None, headers=headers), at=gateway(**SHARED, PROXY_API_KEY=INBOUND_KEY))
    assert (told.status, told.record.status, told.body) == (204, 204, b"")
    assert may_read(told)
    assert told.header("access-control-allow-methods") == methods
    assert told.header("access-control-allow-headers") == "x-api-key,x-stainless-lang"
    assert told.header("access-control-max-age") == "7200"
    assert told.header("x-request-id") == told.header("request-id") == "req_1"
    assert told.header("content-length") is None


def test_OPTIONS_of_nobody_in_particular_is_answered_and_grants_nothing() -> None:
    told = tell(request("/v1/messages", method="OPTIONS"), at=gateway(**SHARED))
    assert (told.status, told.header("access-control-allow-methods")) == (204, "POST, OPTIONS")
    assert told.header("access-control-allow-origin") is None


def test_OPTIONS_is_405_without_cors_and_404_where_nothing_is() -> None:
    told = tell(request("/v1/messages", method="OPTIONS", key=None), at=gateway(PROXY_API_KEY=INBOUND_KEY))
    assert (told.status, told.header("allow"), told.json["error"]["code"]) == (405, "POST", "method_not_allowed")
    told = tell(request("/nowhere", method="OPTIONS", headers={"origin": PAGE}), at=gateway(**SHARED))
    assert told.status == 404


# ---------------------------------------------------------------------------------------------------- compressed bodies


def packed(body: bytes, **settings: str) -> Told:
    asked = request("/v1/messages", body, headers={"content-encoding": "gzip"})
    return tell(asked, [plain(MESSAGES)], at=gateway(ALLOW_REQUEST_COMPRESSION="true", **settings))


def test_a_compressed_request_is_answered_like_any_other() -> None:
    told = packed(gzip.compress(question()))
    assert told.status == 200
    assert told.upstream == tell(request("/v1/messages", question()), [plain(MESSAGES)], at=gateway()).upstream
    assert told.upstream_header("content-encoding") == []
    assert isinstance(told.world.performed[0], Compute)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (question(), 400, "invalid_request"),
        (gzip.compress(question())[:-4], 400, "invalid_request"),
        (gzip.compress(b"[]"), 400, "invalid_json"),
        (gzip.compress(b"[" * 4900), 413, "request_too_large"),
        (gzip.compress(question(metadata=[str(number) for number in range(1000)])), 413, "request_too_large"),
    ],
    ids=["not compressed", "cut", "no object", "a bomb", "too large"],
)
def test_a_compressed_request_that_cannot_be_opened_is_refused(body: bytes, status: int, code: str) -> None:
    told = packed(body, MAX_REQUEST_SIZE_MB="0.005")
    assert (told.status, told.json["error"]["code"]) == (status, code)
    assert told.world.opened == []


@pytest.mark.parametrize("allowed", ["true", "false"])
def test_other_encodings_are_415_with_the_one_that_is_taken(allowed: str) -> None:
    told = tell(request("/v1/messages", b"x", headers={"content-encoding": "br"}), at=gateway(ALLOW_REQUEST_COMPRESSION=allowed))
    assert (told.status, told.json["error"]["code"]) == (415, "unsupported_media_type")
    assert ("gzip" in told.json["error"]["message"]) is (allowed == "true")


# ---------------------------------------------------------------------------------------------------- further paths


@pytest.mark.parametrize("setting", ["/healthz", "/healthz/", "/a/b/health"])
def test_the_health_page_has_a_further_path(setting: str) -> None:
    at = gateway(HEALTH_CHECK_PATH=setting, PROXY_API_KEY=INBOUND_KEY)
    for target in (setting, setting.rstrip("/"), f"{setting.rstrip('/')}/", f"{setting}?x=1"):
        told = tell(request(target, method="GET", key=None), at=at)
        assert (told.status, told.json["ok"], told.record.endpoint) == (200, True, "/health")
        assert tell(request(target, method="HEAD", key=None), at=at).body == b""
    off = gateway(HEALTH_CHECK_PATH=setting, ENABLE_HEALTH_CHECK="false")
    assert tell(request(setting, method="GET"), at=off).status == 404
    for path in ("/", "/health"):
        assert tell(request(path, method="GET"), at=off).status == tell(request(path, method="GET"), at=at).status == 200


@pytest.mark.parametrize("setting", ["/", "/v1/models", "/v1/messages"])
def test_a_path_that_has_its_page_keeps_it(setting: str) -> None:
    at = gateway(HEALTH_CHECK_PATH=setting, PROXY_API_KEY=INBOUND_KEY)
    assert tell(request("/v1/models", method="GET", key=None), at=at).status == 401
    assert tell(request("/v1/messages", method="GET", key=None), at=at).status == 405
    assert tell(request("", method="GET", key=None), at=at).status == 404


def test_a_doubled_prefix_is_refused_in_the_dialect_of_the_rest_with_the_base_URL_to_use() -> None:
    told = tell(request("/v1/v1/messages", question()))
    assert (told.status, told.json["type"]) == (404, "error")
    assert told.json["error"]["message"].endswith("one that ends in 127.0.0.1:5000")
    assert "type" not in tell(request("/v1/v1/chat/completions", question())).json


def test_a_wrong_method_is_said_before_a_key_is_asked_for() -> None:
    assert tell(request("/v1/messages", method="PUT", key=None), at=gateway(PROXY_API_KEY=INBOUND_KEY)).status == 405


# ---------------------------------------------------------------------------------------------------- what depends on settings alone


@pytest.mark.parametrize(
    ("settings", "forwards"),
    [
        (Settings(), True),
        (Settings(forward_client_key=False), False),
        (Settings(provider_only=True), False),
        (Settings(provider_only=True, forward_client_key=False), False),
    ],
)
def test_a_clients_key_counts_where_it_may_go_somewhere(settings: Settings, forwards: bool) -> None:
    assert Door(settings).forwards is forwards


def provider(*, forwards: bool, key: str | None = None, **model: Any) -> Provider:
    return Provider("p", Bases(openai="https://p.example"), (Model("m", "m", "M", **model),), key, forward_client_key=forwards)


FALLS_BACK = {"x": Server("x", Bases(openai="https://x.example"), fallbacks=("cn",))}
WITH_KEY = {"x": Server("x", Bases(openai="https://x.example"), api_key="k")}


@pytest.mark.parametrize(
    ("settings", "lends"),
    [
        (Settings(), False),
        (Settings(server_api_key="k"), False),
        (Settings(forward_client_key=False), True),
        (Settings(providers=(provider(forwards=False),)), True),
        (Settings(providers=(provider(forwards=True, key="k"),)), False),
        (Settings(providers=(provider(forwards=True),), forward_client_key=False), True),
        (Settings(providers=(provider(forwards=True),), forward_client_key=False, provider_only=True), False),
        (Settings(failover_targets=("cn",)), False),
        (Settings(failover_targets=("cn",), server_api_key="k"), True),
        (Settings(failover_targets=("x",), servers=WITH_KEY), True),
        (Settings(servers=FALLS_BACK), False),
        (Settings(servers=FALLS_BACK, server_api_key="k"), True),
        (Settings(servers=FALLS_BACK, server_api_key="k", providers=(provider(forwards=True),), provider_only=True), False),
        (Settings(providers=(provider(forwards=True, key="k", fallbacks=("n",)),)), True),
        (Settings(providers=(provider(forwards=True, key="k", group="g"),)), True),
        (Settings(providers=(provider(forwards=True, fallbacks=("n",)),)), False),
    ],
)
def test_a_key_of_the_owners_may_be_spent_for_who_shows_one_where_it_is_not_sent_or_another_takes_over(
    settings: Settings, lends: bool
) -> None:
    assert Door(settings).lends is lends
