"""Providers over real sockets: which one answers, under which key and name, and who takes over when it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.house import House, ask, serving
from tests.e2e.test_pairs import PATH, accepted, both, text_of
from transports.simulator import ANTHROPIC_PATH, OPENAI_PATH, Simulator, running

wires = pytest.mark.parametrize("wire", PATH)


def configuration(simulator: Simulator) -> dict[str, Any]:
    """Two providers, one of each protocol; the first fails in many ways, the second does not."""
    broken = ["demo-error-500", "demo-error-503", "demo-cut-before-head", "demo-error-html", "demo-error-401", "demo-cut"]
    return {
        "ak": "inbound-key-canary",
        "max_retries": 0,
        "breaker_failures": 0,
        "providers": [
            {
                "name": "broken",
                "base_url": simulator.url + OPENAI_PATH,
                "api_key": "broken-key-canary",
                "models": [{"id": f"my-{remote}", "remote_id": remote, "fallbacks": ["good"]} for remote in broken]
                + [{"id": "flaky", "remote_id": "demo-flaky-2"}],
            },
            {
                "name": "sound",
                "base_url": simulator.url + ANTHROPIC_PATH,
                "protocol": "anthropic",
                "api_key": "sound-key-canary",
                "models": [{"id": "good", "remote_id": "demo-text", "display_name": "Good", "max_input_tokens": 1000, "max_tokens": 100}],
            },
        ],
    }


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def provided(request: pytest.FixtureRequest) -> Iterator[House]:
    with running(pace=0) as simulator, serving(simulator, request.param, configuration(simulator)) as house:
        yield house


def converse(house: House, wire: str, model: str, *, stream: bool = False) -> Any:
    house.simulator.requests.clear()
    body = {"model": model, "max_tokens": 50, "stream": stream, "messages": [{"role": "user", "content": "hello"}]}
    return ask(house, "POST", PATH[wire], body, x_api_key="inbound-key-canary")


@both
@wires
def test_a_provider_answers_under_its_own_names_and_key(provided: House, wire: str, stream: bool) -> None:
    reply = converse(provided, wire, "good", stream=stream)
    assert "hello" in (accepted(wire, reply).text if stream else text_of(wire, reply))
    assert (reply.headers["x-proxy-upstream"], reply.headers["x-proxy-route"]) == ("sound/anthropic", "provider: sound")
    (received,) = provided.simulator.requests
    assert received.body["model"] == "demo-text"
    assert received.headers["x-api-key"] == "sound-key-canary"
    assert "canary" not in received.headers.get("authorization", "")
    if not stream:
        assert reply.json["model"] == "good"


@both
@wires
@pytest.mark.parametrize(
    ("model", "cause"),
    [
        ("my-demo-error-500", "status 500"),
        ("my-demo-error-503", "status 503"),
        ("my-demo-cut-before-head", "reset"),
        ("my-demo-error-html", "status 502"),
    ],
)
def test_the_next_provider_takes_over(provided: House, wire: str, model: str, cause: str, stream: bool) -> None:
    reply = converse(provided, wire, model, stream=stream)
    assert "hello" in (accepted(wire, reply).text if stream else text_of(wire, reply))
    assert (reply.headers["x-proxy-route"], reply.headers["x-proxy-attempts"]) == (f"failover: broken {cause}", "2")
    keys = [received.headers.get("x-api-key") or received.headers.get("authorization") for received in provided.simulator.requests]
    assert keys == ["Bearer broken-key-canary", "sound-key-canary"]


@both
@wires
def test_a_refused_request_is_not_tried_elsewhere(provided: House, wire: str, stream: bool) -> None:
    reply = converse(provided, wire, "my-demo-error-401", stream=stream)
    assert (reply.status, len(provided.simulator.requests)) == (401, 1)


@wires
def test_an_answer_that_has_begun_is_not_begun_elsewhere(provided: House, wire: str) -> None:
    reply = converse(provided, wire, "my-demo-cut", stream=True)
    assert (accepted(wire, reply).kind, len(provided.simulator.requests)) == ("error", 1)


@both
@wires
def test_what_no_provider_has_is_refused(provided: House, wire: str, stream: bool) -> None:
    reply = converse(provided, wire, "glm-4.6", stream=stream)
    assert (reply.status, reply.json["error"]["code"], len(provided.simulator.requests)) == (400, "unknown_model", 0)
    reply = converse(provided, wire, "", stream=stream)
    assert (reply.status, reply.json["error"]["code"]) == (400, "missing_model")


def test_models_are_those_of_the_providers_in_their_order(provided: House) -> None:
    listed = ask(provided, "GET", "/v1/models", x_api_key="inbound-key-canary").json["data"]
    assert [one["id"] for one in listed][-2:] == ["flaky", "good"]
    assert (listed[-1]["display_name"], listed[-1]["max_input_tokens"], listed[-1]["max_tokens"]) == ("Good", 1000, 100)


def test_the_answer_limit_of_a_model_holds(provided: House) -> None:
    body = {"model": "good", "max_tokens": 5000, "messages": [{"role": "user", "content": "hello"}]}
    provided.simulator.requests.clear()
    reply = ask(provided, "POST", "/v1/messages", body, x_api_key="inbound-key-canary")
    assert provided.simulator.requests[-1].body["max_tokens"] == 100
    assert reply.json["context_info"]["max_tokens_clamped"] == 100
