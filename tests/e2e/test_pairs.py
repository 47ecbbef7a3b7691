"""The four pairs of wires over real sockets, plain and streamed, with everything the simulated upstream can do wrong."""

from __future__ import annotations

from typing import Any

import pytest

from core.testing import Accepted, accept_chat_stream, accept_messages_stream
from tests.e2e.house import House, Reply, ask
from transports.simulation.answers import UNICODE

PATH = {"anthropic": "/v1/messages", "openai": "/v1/chat/completions"}
PAIRS = [(wire, upstream) for wire in PATH for upstream in PATH]
pairs = pytest.mark.parametrize(("wire", "upstream"), PAIRS)
both = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])

TOOL = {
    "name": "get_weather",
    "description": "Weather",
    "schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TOOLS = {
    "anthropic": [{"name": TOOL["name"], "description": TOOL["description"], "input_schema": TOOL["schema"]}],
    "openai": [{"type": "function", "function": {"name": TOOL["name"], "description": TOOL["description"], "parameters": TOOL["schema"]}}],
}


def converse(house: House, wire: str, upstream: str, model: str, *, stream: bool, tools: bool = False) -> Reply:
    body: dict[str, Any] = {
        "model": f"{model}-{upstream}",
        "max_tokens": 2000,
        "messages": [{"role": "user", "content": "hello"}],
        "stream": stream,
    }
    if tools:
        body["tools"] = TOOLS[wire]
    return ask(house, "POST", PATH[wire], body, authorization=f"Bearer client-key-canary-{model}")


def accepted(wire: str, reply: Reply) -> Accepted:
    """What a stream said."""
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    return (accept_messages_stream if wire == "anthropic" else accept_chat_stream)(reply.body)


def text_of(wire: str, reply: Reply) -> str:
    if wire == "openai":
        return reply.json["choices"][0]["message"]["content"] or ""
    return "".join(block["text"] for block in reply.json["content"] if block["type"] == "text")


#: Scenarios that end well -> what stands in the text.
GOOD = {
    "demo-text": "hello",
    "demo-long": "",
    "demo-unicode": UNICODE,
    "demo-split": UNICODE,
    "demo-thinking": "hello",
    "demo-reasoning": "hello",
    "demo-crlf": "hello",
    "demo-gzip": "hello",
    "demo-zero-usage": "hello",
    "demo-json": "hello",
    "demo-sse": "hello",
    "demo-max-tokens": "",
    "demo-refusal": "",
    "demo-empty": "",
}


@pairs
@both
@pytest.mark.parametrize("model", GOOD)
def test_what_goes_well_goes_well_in_every_pair(house: House, wire: str, upstream: str, stream: bool, model: str) -> None:
    reply = converse(house, wire, upstream, model, stream=stream)
    assert reply.status == 200
    text = accepted(wire, reply).text if stream else text_of(wire, reply)
    assert GOOD[model] in text
    record = house.record()
    assert (record.status, record.error_code, record.broken, record.stream) == (200, None, False, stream)
    assert record.counts.prompt > 0 or model == "demo-sse"  # nobody asked that stream for its usage
    assert reply.headers["x-proxy-upstream"] == f"international/{upstream}"


@pairs
@pytest.mark.parametrize(
    "model", ["demo-tool", "demo-parallel", "demo-interleave", "demo-repeat-ids", "demo-zero-index-missing", "demo-no-args"]
)
def test_calls_of_tools_arrive_whole_in_every_pair(house: House, wire: str, upstream: str, model: str) -> None:
    streamed = accepted(wire, converse(house, wire, upstream, model, stream=True, tools=True))
    plain = converse(house, wire, upstream, model, stream=False, tools=True).json
    if wire == "anthropic":
        calls = [block["input"] for block in plain["content"] if block["type"] == "tool_use"]
        assert (plain["stop_reason"], streamed.stop) == ("tool_use", "tool_use")
    else:
        calls = [call["function"]["arguments"] for call in plain["choices"][0]["message"]["tool_calls"]]
        assert (plain["choices"][0]["finish_reason"], streamed.stop) == ("tool_calls", "tool_calls")
    assert len(calls) == len(streamed.arguments) == (2 if model in ("demo-parallel", "demo-interleave", "demo-repeat-ids") else 1)


@pairs
@both
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 429, 500, 503, 529])
def test_an_upstream_error_keeps_its_status_in_every_pair(house: House, wire: str, upstream: str, stream: bool, status: int) -> None:
    reply = converse(house, wire, upstream, f"demo-error-{status}", stream=stream)
    assert reply.status == (503 if status == 529 and "openai" in (wire, upstream) else status)
    assert reply.json["error"]["message"].startswith("Simulated")
    assert ("type" in reply.json) is (wire == "anthropic")
    assert reply.headers.get("retry-after") == ("1" if status == 429 else reply.headers.get("retry-after"))
    assert (status == 429) <= ("retry-after" in reply.headers)
    assert "canary" not in f"{reply}{house.record()!r}"


@pairs
@both
@pytest.mark.parametrize(
    ("model", "status"),
    [
        ("demo-error-html", 502),
        ("demo-error-in-200", 429),
        ("demo-error-in-200-1113", 402),
        ("demo-error-in-200-1210", 400),
        ("demo-context", 400),
        ("demo-context-zai", 400),
        ("demo-context-vllm", 400),
        ("demo-context-llama", 400),
        ("demo-cut-before-head", 502),
        ("demo-unknown", 404),
    ],
)
def test_a_failure_before_anything_was_sent_is_a_proper_error_in_every_pair(
    house: House, wire: str, upstream: str, stream: bool, model: str, status: int
) -> None:
    reply = converse(house, wire, upstream, model, stream=stream)
    assert reply.status == status
    error = reply.json["error"]
    assert ("type" in reply.json) is (wire == "anthropic")
    if "context" in model:
        assert error["code"] == "context_length_exceeded" if wire == "openai" else "prompt is too long" in error["message"]
    assert house.simulator.url not in reply.body.decode()


#: (model, wire of the upstream). A chat stream has no event that begins a message, so that none can begin twice.
BREAKING = [(model, upstream) for model in ("demo-cut", "demo-midstream", "demo-no-finish") for upstream in PATH] + [
    ("demo-double-start", "anthropic")
]


@pytest.mark.parametrize(("model", "upstream"), BREAKING)
@pytest.mark.parametrize("wire", PATH)
def test_a_stream_that_breaks_never_looks_whole_in_any_pair(house: House, wire: str, upstream: str, model: str) -> None:
    reply = converse(house, wire, upstream, model, stream=True)
    record = house.record()
    if reply.status != 200:  # it broke before anything had been sent: how much arrives at once is the kernel's business
        assert reply.status in (500, 502, 503, 529)
        assert reply.json["error"]["message"] == record.error
        return
    found = accepted(wire, reply)
    if model == "demo-no-finish" and found.kind == "complete":
        assert b"message_stop" in reply.body or b"[DONE]" in reply.body  # the upstream said that it was over, if not why
        return
    assert found.kind == "error"
    assert not any(mark in reply.body for mark in (b"message_stop", b"[DONE]"))
    assert record.broken


@pairs
@pytest.mark.parametrize("model", ["demo-cut", "demo-lying-length", "demo-garbage"])
def test_a_whole_answer_that_breaks_is_502_in_every_pair(house: House, wire: str, upstream: str, model: str) -> None:
    reply = converse(house, wire, upstream, model, stream=False)
    assert reply.status == 502
    assert house.record().error_code in ("upstream_request_failed", "invalid_upstream_json")


@pairs
def test_unreadable_frames_are_skipped_in_every_pair(house: House, wire: str, upstream: str) -> None:
    found = accepted(wire, converse(house, wire, upstream, "demo-garbage", stream=True))
    assert (found.kind, "hello" in found.text) == ("complete", True)
    assert house.record().skipped > 0


@pairs
def test_a_stream_without_its_last_word_is_whole_in_every_pair(house: House, wire: str, upstream: str) -> None:
    assert accepted(wire, converse(house, wire, upstream, "demo-no-done", stream=True)).kind == "complete"


@pairs
def test_silence_is_filled_with_keep_alives_in_every_pair(impatient: House, wire: str, upstream: str) -> None:
    reply = converse(impatient, wire, upstream, "demo-slow-0.01", stream=True)
    assert accepted(wire, reply).kind == "complete"
    assert reply.body.startswith(b"event: ping\n" if wire == "anthropic" else b": keep-alive\n")
