"""The door of the running server: every setting of it, seen from outside."""

from __future__ import annotations

import gzip
import socket
from typing import Any

import pytest

from tests.e2e.house import PATIENCE, House, Reply, ask, serving
from transports.simulator import Simulator

QUESTION = {"model": "glm-4.6", "max_tokens": 64, "messages": [{"role": "user", "content": "hello"}]}
INBOUND = "inbound-CANARY"
PAGE = "http://localhost:3000"

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def post(house: House, target: str = "/v1/messages", body: object = QUESTION, **headers: str) -> Reply:
    return ask(house, "POST", target, body, **({"x_api_key": "client-key"} | headers))


def code(reply: Reply) -> Any:
    return reply.json["error"]["code"]


def connected(house: House) -> socket.socket:
    return socket.create_connection(("127.0.0.1", house.port), timeout=PATIENCE)


# ---------------------------------------------------------------------------------------------------- keys


#: (x-api-key, bearer) -> whether it opens the door.
SHOWN = [
    (None, None, False),
    (INBOUND, None, True),
    (None, INBOUND, True),
    (INBOUND, INBOUND, True),
    (INBOUND, "client-key", True),
    ("client-key", INBOUND, True),
    ("client-key", None, False),
    (None, "client-key", False),
    ("client-key", "other", False),
    ("proxy-local", INBOUND, True),
    ("proxy-local", None, False),
]


def test_the_inbound_key_opens_in_either_header_and_is_never_passed_on(simulator: Simulator) -> None:
    with serving(simulator, "asyncio", PROXY_API_KEY=INBOUND, SERVER_API_KEY="server-key", AUTH_FAILURES_PER_MINUTE="0") as house:
        for target in ("/v1/messages", "/v1/chat/completions"):
            for in_x, in_bearer, opens in SHOWN:
                simulator.requests.clear()
                shown = ({} if in_x is None else {"x_api_key": in_x}) | (
                    {} if in_bearer is None else {"authorization": f"bearer {in_bearer}"}
                )
                reply = ask(house, "POST", target, QUESTION, **shown)
                assert reply.status == (200 if opens else 401), (target, in_x, in_bearer)
                assert INBOUND not in repr(simulator.requests)
                if opens:
                    own = "client-key" if "client-key" in (in_x, in_bearer) else "server-key"
                    (received,) = simulator.requests
                    assert [received.headers.get("x-api-key"), received.headers.get("authorization")] == [own, None]
                else:
                    assert (simulator.requests, code(reply)) == ([], "unauthorized")
        for target in ("/", "/health", "/ready", "/status"):
            assert ask(house, "GET", target).status == 200
        assert ask(house, "GET", "/v1/models").status == 401


@backends
def test_an_address_that_guesses_is_kept_out_for_a_minute(simulator: Simulator, backend: str) -> None:
    with serving(simulator, backend, PROXY_API_KEY=INBOUND, AUTH_FAILURES_PER_MINUTE="2") as house:
        assert [post(house, x_api_key=key).status for key in ("a", "b")] == [401, 401]
        barred = post(house, x_api_key=INBOUND)
        assert (barred.status, code(barred)) == (429, "rate_limit_exceeded")
        assert 0 < int(barred.headers["retry-after"]) <= 60
        assert [ask(house, "GET", path).status for path in ("/health", "/ready", "/v1/models")] == [200, 200, 429]


@backends
def test_a_client_with_too_many_requests_is_told_when_to_come_back(simulator: Simulator, backend: str) -> None:
    with serving(simulator, backend, RATE_LIMIT_PER_MINUTE="2") as house:
        assert [post(house).status for _ in range(2)] == [200, 200]
        for target, has_type in (("/v1/messages", True), ("/v1/chat/completions", False)):
            late = post(house, target)
            assert (late.status, code(late), "type" in late.json) == (429, "rate_limit_exceeded", has_type)
            assert 0 < int(late.headers["retry-after"]) <= 60
        assert post(house, x_api_key="another").status == 200
        assert ask(house, "GET", "/v1/models", x_api_key="client-key").status == 200


def test_who_comes_through_a_trusted_proxy_counts_for_itself(simulator: Simulator) -> None:
    limits = {"RATE_LIMIT_PER_MINUTE": "1", "SERVER_API_KEY": "server-key"}
    forwarded = [{"x_forwarded_for": f"10.1.1.1, 203.0.113.{number}"} for number in (1, 2, 1)]
    with serving(simulator, "asyncio", TRUSTED_PROXIES="127.0.0.0/8", **limits) as house:
        assert [ask(house, "POST", "/v1/messages", QUESTION, **headers).status for headers in forwarded] == [200, 200, 429]
        assert [house.record().peer for _ in range(3)] == ["203.0.113.1", "203.0.113.2", "203.0.113.1"]
    with serving(simulator, "asyncio", **limits) as house:
        assert [ask(house, "POST", "/v1/messages", QUESTION, **headers).status for headers in forwarded] == [200, 429, 429]


# ---------------------------------------------------------------------------------------------------- connections


@backends
@pytest.mark.parametrize(("setting", "status"), [("MAX_CONNECTIONS", b"503"), ("MAX_CONNECTIONS_PER_IP", b"429")])
def test_connections_are_limited_in_all_and_by_address(simulator: Simulator, backend: str, setting: str, status: bytes) -> None:
    with serving(simulator, backend, **{setting: "1"}) as house, connected(house) as first:
        first.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert first.recv(65536).startswith(b"HTTP/1.1 200 ")
        with connected(house) as second:
            refused = second.recv(65536)
            assert refused.startswith(b"HTTP/1.1 " + status)
            assert b"\r\nretry-after: 1\r\n" in refused
            assert b"\r\nconnection: close\r\n" in refused


def test_connections_of_a_trusted_proxy_are_not_limited(simulator: Simulator) -> None:
    with serving(simulator, "asyncio", MAX_CONNECTIONS_PER_IP="1", TRUSTED_PROXIES="127.0.0.1") as house, connected(house):
        assert ask(house, "GET", "/health").status == 200


# ---------------------------------------------------------------------------------------------------- web pages


@backends
def test_a_listed_page_asks_and_reads(simulator: Simulator, backend: str) -> None:
    with serving(simulator, backend, ENABLE_CORS="true", CORS_ORIGINS=f"{PAGE},https://app.example", PROXY_API_KEY=INBOUND) as house:
        asked = {"origin": PAGE, "access_control_request_method": "POST", "access_control_request_headers": "x-api-key, x-stainless-os"}
        allowed = ask(house, "OPTIONS", "/v1/messages?beta=true", **asked)
        assert (allowed.status, allowed.body) == (204, b"")
        assert "content-length" not in allowed.headers
        assert "transfer-encoding" not in allowed.headers
        assert allowed.headers["access-control-allow-origin"] == PAGE
        assert allowed.headers["access-control-allow-methods"] == "POST, OPTIONS"
        assert allowed.headers["access-control-allow-headers"] == "x-api-key, x-stainless-os"
        for body, shown, status in (
            (QUESTION, {"x_api_key": INBOUND, "authorization": "Bearer k"}, 200),
            ({**QUESTION, "stream": True}, {"x_api_key": INBOUND, "authorization": "Bearer k"}, 200),
            (QUESTION, {}, 401),
            (b"{", {"x_api_key": INBOUND}, 400),
        ):
            reply = ask(house, "POST", "/v1/messages", body, origin=PAGE, **shown)
            assert (reply.status, reply.headers.get("access-control-allow-origin")) == (status, PAGE)
            assert (reply.headers["vary"], reply.headers["access-control-expose-headers"]) == ("origin", "*")
        foreign = ask(house, "POST", "/v1/messages", QUESTION, origin="https://evil.example", x_api_key=INBOUND)
        assert (foreign.status, code(foreign)) == (403, "forbidden_origin")
        assert "access-control-allow-origin" not in foreign.headers


def test_a_page_may_read_why_its_body_is_too_large(simulator: Simulator) -> None:
    with serving(simulator, "asyncio", ENABLE_CORS="true", CORS_ORIGINS=PAGE, MAX_REQUEST_SIZE_MB="0.001") as house:
        reply = ask(house, "POST", "/v1/messages", b" " * 2000, origin=PAGE)
        assert (reply.status, reply.headers["access-control-allow-origin"]) == (413, PAGE)


def test_without_cors_nobody_asks(house: House) -> None:
    told = ask(house, "OPTIONS", "/v1/messages", origin=f"http://127.0.0.1:{house.port}")
    assert (told.status, told.headers["allow"]) == (405, "POST")
    assert ask(house, "OPTIONS", "/v1/messages", origin=PAGE).status == 403


def test_a_further_host_is_served_where_it_is_allowed(simulator: Simulator) -> None:
    with serving(simulator, "asyncio", ALLOWED_HOSTS="proxy.example,[fd00::1]") as house:
        served = [
            ask(house, "GET", "/health", host=host).status for host in ("proxy.example:8080", "[fd00::1]", "localhost", "evil.example")
        ]
        assert served == [200, 200, 200, 403]
        for path in ("/nowhere", "/v1/messages", "/ready"):
            assert ask(house, "GET", path, host="evil.example").status == 403


# ---------------------------------------------------------------------------------------------------- bodies and heads


@backends
def test_a_compressed_body_is_taken_where_it_is_allowed(simulator: Simulator, backend: str) -> None:
    packed = gzip.compress(b'{"model":"glm-4.6","max_tokens":64,"messages":[{"role":"user","content":"hello"}]}')
    with serving(simulator, backend, ALLOW_REQUEST_COMPRESSION="true", MAX_REQUEST_SIZE_MB="0.01") as house:
        assert post(house, body=packed, content_encoding="gzip").status == 200
        assert simulator.requests[-1].headers.get("content-encoding") is None
        for body, encoding, status in (
            (gzip.compress(b" " * 20_000), "gzip", 413),
            (gzip.compress(b" " * 9_000), "gzip", 413),
            (packed + packed, "gzip", 400),
            (packed[:-1], "gzip", 400),
            (b"{}", "gzip", 400),
            (packed, "br", 415),
        ):
            assert post(house, body=body, content_encoding=encoding).status == status
        assert post(house).status == 200
    with serving(simulator, backend) as house:
        assert post(house, body=packed, content_encoding="gzip").status == 415


@backends
def test_an_absolute_target_is_served_where_it_names_us(simulator: Simulator, backend: str) -> None:
    with serving(simulator, backend) as house:
        own = f"http://127.0.0.1:{house.port}"
        assert ask(house, "GET", f"{own}/health").status == 200
        assert post(house, f"{own}/v1/messages?beta=true").status == 200
        foreign = ask(house, "GET", "http://evil.example/health")
        assert (foreign.status, code(foreign)) == (403, "forbidden_host")
        # What the target says counts, and Host does not (RFC 9112 3.2.2).
        assert ask(house, "GET", f"{own}/health", host="evil.example").status == 200


@backends
def test_values_may_hold_what_is_not_ASCII_and_it_goes_nowhere(simulator: Simulator, backend: str) -> None:
    with serving(simulator, backend) as house:
        reply = post(house, x_request_id="anfrage-ü", x_title="café 日本".encode().decode("latin-1"))
        assert (reply.status, reply.headers["x-request-id"][:4]) == (200, "req_")
        assert all(value.isascii() for field in simulator.requests[-1].headers.items() for value in field)
        refused = post(house, x_title="a\x01b")
        assert (refused.status, code(refused)) == (400, "malformed_http")
        assert refused.json["error"]["message"].endswith("found control character 0x01 in header x-title")


def test_the_head_of_a_request_has_its_limit(simulator: Simulator) -> None:
    with serving(simulator, "asyncio", MAX_HEADER_KB="2") as house:
        assert ask(house, "GET", "/health", x_padding="x" * 1500).status == 200
        assert ask(house, "GET", "/health", x_padding="x" * 2100).status == 431
    with serving(simulator, "asyncio") as house:
        assert ask(house, "GET", "/health", x_padding="x" * 2100).status == 200


def test_the_depth_of_a_body_has_its_limit(simulator: Simulator) -> None:
    deep = {**QUESTION, "metadata": {"a": [[[[[[[[1]]]]]]]]}}
    with serving(simulator, "asyncio", MAX_JSON_DEPTH="8") as house:
        reply = post(house, body=deep)
        assert (reply.status, code(reply)) == (400, "invalid_json")
        assert post(house).status == 200
    with serving(simulator, "asyncio") as house:
        assert post(house, body=deep).status == 200


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_the_size_of_a_body_has_its_limit(simulator: Simulator, framing: str) -> None:
    with serving(simulator, "asyncio", MAX_REQUEST_SIZE_MB="0.001") as house:
        head = b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\n"
        rest = b"content-length: 1049\r\n\r\n" if framing == "length" else b"transfer-encoding: chunked\r\n\r\n419\r\n"
        # Neither needs the body: it is decided by what is announced.
        with connected(house) as client:
            client.sendall(head + rest)
            assert client.recv(65536).startswith(b"HTTP/1.1 413 ")
        assert post(house).status == 200


def test_request_ids_are_adopted_unless_that_is_switched_off(simulator: Simulator) -> None:
    for setting, adopted in (("true", True), ("false", False)):
        with serving(simulator, "asyncio", ENABLE_REQUEST_ID_TRACKING=setting) as house:
            reply = ask(house, "GET", "/health", x_request_id="mine-1")
            assert (reply.headers["x-request-id"] == "mine-1") is adopted
            assert reply.headers["x-request-id"] == reply.headers["request-id"]
            assert ask(house, "GET", "/health", x_request_id="not mine").headers["x-request-id"].startswith("req_")


def test_the_proxys_own_headers_can_be_switched_off(simulator: Simulator) -> None:
    for setting, shown in (("true", True), ("false", False)):
        with serving(simulator, "asyncio", PROXY_HEADERS=setting) as house:
            for reply in (post(house), post(house, body={**QUESTION, "stream": True}, target="/v1/chat/completions")):
                assert reply.status == 200
                assert any(name.startswith("x-proxy-") for name in reply.headers) is shown


# ---------------------------------------------------------------------------------------------------- pages about the proxy


@backends
def test_the_health_page_has_a_further_path(simulator: Simulator, backend: str) -> None:
    for setting, status in (("true", 200), ("false", 404)):
        with serving(simulator, backend, ENABLE_HEALTH_CHECK=setting, HEALTH_CHECK_PATH="/healthz", PROXY_API_KEY=INBOUND) as house:
            assert [ask(house, method, "/healthz").status for method in ("GET", "HEAD")] == [status] * 2
            assert [ask(house, "GET", path).status for path in ("/", "/health", "/status")] == [200] * 3


def test_a_proxy_that_can_have_no_key_is_alive_and_not_ready(simulator: Simulator) -> None:
    with serving(simulator, "asyncio", FORWARD_CLIENT_KEY="false") as house:
        ready = ask(house, "GET", "/ready")
        assert (ready.status, ready.json["ready"]) == (503, False)
        assert "credential" in ready.json["reason"]
        assert ask(house, "GET", "/health").status == 200
        assert code(post(house)) == "missing_upstream_credential"


@pytest.mark.parametrize("path", ["/", "/status", "/health", "/ready", "/v1/models", "/models", "/v1/models/glm-4.6", "/api/hello"])
def test_what_answers_GET_answers_HEAD(house: House, path: str) -> None:
    got, headed = ask(house, "GET", path), ask(house, "HEAD", path)
    assert (headed.status, headed.body) == (got.status, b"") == (200, b"")
    assert int(headed.headers["content-length"]) > 0
    assert headed.headers.keys() == got.headers.keys()


@pytest.mark.parametrize("target", ["/v1/v1/messages", "/v1/v1/chat/completions", "/v1/v1/models"])
def test_a_doubled_prefix_names_the_base_URL(house: House, target: str) -> None:
    reply = post(house, target)
    assert (reply.status, code(reply)) == (404, "not_found")
    assert reply.json["error"]["message"].endswith(f"127.0.0.1:{house.port}")
    assert ("type" in reply.json) is target.endswith("messages")
