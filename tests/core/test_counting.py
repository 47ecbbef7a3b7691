"""count_tokens: counted here, whatever the upstream."""

from __future__ import annotations

from typing import Any

import pytest

from core.effects import Compute
from tests.core.exchanges import INBOUND_KEY, encoded, gateway, request, tell

SMALL = {"model": "m", "messages": [{"role": "user", "content": "Say hello"}]}


def count(body: object, **more: Any) -> Any:
    return tell(request("/v1/messages/count_tokens", body if isinstance(body, bytes) else encoded(body)), **more)


def test_the_answer_has_one_number_under_three_names_and_says_whose_it_is() -> None:
    told = count(SMALL)
    number = told.json["input_tokens"]
    assert number > 0
    assert told.json == {"input_tokens": number, "token_count": number, "input_token_count": number, "proxy_estimate": True}
    assert told.header("x-proxy-estimate") == "true"
    assert told.world.opened == []
    assert count(SMALL, at=gateway(PROXY_HEADERS="no")).header("x-proxy-estimate") is None


def test_no_credential_is_needed_but_the_inbound_key() -> None:
    body = encoded(SMALL)
    assert tell(request("/v1/messages/count_tokens", body, key=None)).status == 200
    assert tell(request("/v1/messages/count_tokens", body, key=None), at=gateway(PROXY_API_KEY=INBOUND_KEY)).status == 401


@pytest.mark.parametrize(
    "more",
    [
        {"system": "You are a careful assistant that says hello."},
        {"tools": [{"name": "greet", "description": "Says hello to someone", "input_schema": {"type": "object", "properties": {"name": {"type": "string"}}}}]},
        {"messages": [*SMALL["messages"], {"role": "assistant", "content": [{"type": "thinking", "thinking": "I should be polite", "signature": "x"}, {"type": "tool_use", "id": "t", "name": "greet", "input": {"name": "World"}}]}]},
        {"messages": [*SMALL["messages"], {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "Hello, World"}]}]},
        {"messages": [*SMALL["messages"], {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}]}]},
    ],
    ids=["system", "tools", "thinking and calls", "results", "images"],
)  # fmt: skip
def test_everything_in_a_request_counts(more: dict[str, Any]) -> None:
    assert count(SMALL | more).json["input_tokens"] >= count(SMALL).json["input_tokens"] + 5


@pytest.mark.parametrize(
    "body",
    [
        {"messages": "hello"},
        {"messages": ["a", {"type": "text", "text": "b"}, {"content": "c"}]},
        {"system": "s"},
        {"text": "t"},
        {"tools": [], "messages": []},
    ],
)
def test_odd_forms_are_counted_too_and_are_never_nothing(body: object) -> None:
    told = count(body)
    assert told.status == 200
    assert told.json["input_tokens"] > 0


def test_a_long_body_may_be_counted_in_a_thread_and_to_the_same_number() -> None:
    at = gateway()
    short, long = (SMALL | {"system": "word " * words} for words in (1, 5000))
    assert not any(isinstance(effect, Compute) for effect in count(short, at=at).world.performed)
    told = count(long, at=at)
    (compute,) = [effect for effect in told.world.performed if isinstance(effect, Compute)]
    assert told.json["input_tokens"] == compute.function(*compute.args) > 5000


def test_a_client_that_leaves_while_it_is_counted_leaves_a_record() -> None:
    told = count(SMALL | {"system": "word " * 5000}, gone=0)
    assert (told.record.status, told.record.endpoint, told.world.head) == (499, "/v1/messages/count_tokens", None)
