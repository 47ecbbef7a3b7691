"""Every endpoint of the running server, as any HTTP client sees it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.house import House, ask, serving
from transports.simulator import Simulator

QUESTION = {"model": "glm-4.6", "max_tokens": 64, "messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/status", 200),
        ("GET", "/health", 200),
        ("GET", "/ready", 200),
        ("HEAD", "/api/hello", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/models/glm-4.6", 200),
        ("GET", "/v1/models?limit=1000", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/v1/messages", 405),
        ("OPTIONS", "/v1/messages", 405),
    ],
)
def test_an_endpoint_without_a_body_answers(house: House, method: str, target: str, status: int) -> None:
    reply = ask(house, method, target)
    assert reply.status == status
    assert reply.headers["x-request-id"] == reply.headers["request-id"]
    assert reply.headers["x-request-id"].startswith("req_")
    assert (reply.body == b"") is (method == "HEAD")
    assert ("allow" in reply.headers) is (status == 405)


@pytest.mark.parametrize("target", ["/v1/messages", "/messages/", "/v1/chat/completions?x=1", "/chat/completions"])
def test_an_endpoint_that_talks_to_a_model_answers(house: House, target: str) -> None:
    reply = ask(house, "POST", target, QUESTION, x_api_key="client-key", x_request_id="mine-1")
    assert (reply.status, reply.headers["x-request-id"]) == (200, "mine-1")
    assert reply.json["model"] == "glm-4.6"
    (received,) = house.simulator.requests
    assert received.headers["x-api-key"] == "client-key"
    assert "authorization" not in received.headers
    assert received.headers["accept-encoding"] == "identity"
    assert house.record().status == 200


def test_tokens_are_counted_without_asking_the_upstream(house: House) -> None:
    reply = ask(house, "POST", "/v1/messages/count_tokens?beta=true", QUESTION)
    assert reply.json["input_tokens"] == reply.json["token_count"] > 0
    assert house.simulator.requests == []


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "invalid_json"),
        (b"a=b", {"content_type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
        (b"{}", {"content_encoding": "gzip"}, 415, "unsupported_media_type"),
        (QUESTION, {"origin": "http://evil.example"}, 403, "forbidden_origin"),
        (QUESTION, {"host": "evil.example"}, 403, "forbidden_host"),
        (QUESTION, {}, 401, "missing_upstream_credential"),
    ],
)
@pytest.mark.parametrize("target", ["/v1/messages", "/v1/chat/completions"])
def test_what_is_refused_is_refused_in_the_callers_shape(
    house: House, target: str, body: Any, headers: dict[str, str], status: int, code: str
) -> None:
    reply = ask(house, "POST", target, body, **headers)
    assert (reply.status, reply.json["error"]["code"]) == (status, code)
    assert ("type" in reply.json) is (target == "/v1/messages")
    assert house.simulator.requests == []


def test_a_body_that_is_too_large_is_refused_in_the_callers_shape(simulator: Simulator) -> None:
    with serving(simulator, "asyncio", MAX_REQUEST_SIZE_MB="0.001") as small:
        reply = ask(small, "POST", "/v1/messages", b" " * 2000)
        assert (reply.status, reply.json["type"], reply.json["error"]["code"]) == (413, "error", "request_too_large")


def test_the_inbound_key_stays_here(simulator: Simulator) -> None:
    simulator.requests.clear()
    with serving(simulator, "trio", PROXY_API_KEY="inbound-canary", SERVER_API_KEY="server-canary") as closed:
        assert ask(closed, "POST", "/v1/messages", QUESTION).status == 401
        assert ask(closed, "POST", "/v1/messages", QUESTION, x_api_key="server-canary").status == 401
        assert ask(closed, "GET", "/health").status == 200
        assert ask(closed, "POST", "/v1/messages", QUESTION, authorization="Bearer inbound-canary").status == 200
    (received,) = simulator.requests
    assert received.headers["x-api-key"] == "server-canary"
    assert "inbound" not in repr(received)


def test_a_connection_is_used_again_on_both_sides(house: House) -> None:
    connections = house.simulator.connections_made
    for _ in range(3):
        assert ask(house, "POST", "/v1/messages", QUESTION, x_api_key="k").status == 200
    assert house.simulator.connections_made <= connections + 1
