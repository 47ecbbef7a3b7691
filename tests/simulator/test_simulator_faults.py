"""Each fault is the fault it says it is, looked at as bytes."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

import pytest

from tests.simulator.grammar import accept, sse
from tests.simulator.plain_http import WIRES, Reply, ask, connect, encoded, parsed, read_to_end, request_body
from transports.simulation.deliveries import LIE
from transports.simulator import Simulator


def answered(simulator: Simulator, wire: str, model: str, **more: Any) -> Reply:
    reply = ask(simulator.port, WIRES[wire], request_body(wire, model, **more))
    assert reply is not None
    return reply


def stream_of(simulator: Simulator, wire: str, model: str) -> list[Any]:
    """The events of a stream; ``"[DONE]"`` as itself."""
    reply = answered(simulator, wire, model, stream=True)
    assert reply.whole
    return [data if data == "[DONE]" else json.loads(data) for _, data in sse(reply.body)]


# ------------------------------------------------------------------------------------------------------------ errors

ERRORS = [
    (400, "invalid_request_error", 400, "invalid_request_error", "invalid_value"),
    (401, "authentication_error", 401, "invalid_request_error", "invalid_api_key"),
    (402, "billing_error", 402, "insufficient_quota", "insufficient_quota"),
    (403, "permission_error", 403, "permission_error", "permission_denied"),
    (404, "not_found_error", 404, "invalid_request_error", "model_not_found"),
    (413, "request_too_large", 413, "invalid_request_error", "request_too_large"),
    (429, "rate_limit_error", 429, "rate_limit_error", "rate_limit_exceeded"),
    (500, "api_error", 500, "server_error", "internal_error"),
    (503, "overloaded_error", 503, "server_error", "service_unavailable"),
    (529, "overloaded_error", 503, "server_error", "overloaded"),
]


@pytest.mark.parametrize(("status", "kind", "chat_status", "chat_type", "code"), ERRORS)
@pytest.mark.parametrize("stream", [True, False])
def test_an_error_comes_in_the_shape_of_its_wire(
    simulator: Simulator, stream: bool, status: int, kind: str, chat_status: int, chat_type: str, code: str
) -> None:
    reply = answered(simulator, "messages", f"demo-error-{status}", stream=stream)
    assert (reply.status, reply.json["type"], reply.json["error"]["type"]) == (status, "error", kind)
    assert reply.json["request_id"] == reply.headers["request-id"]
    assert reply.json["error"]["message"].startswith("Simulated: ")
    reply = answered(simulator, "chat", f"demo-error-{status}", stream=stream)
    assert reply.status == chat_status
    assert reply.json == {"error": {"message": reply.json["error"]["message"], "type": chat_type, "param": None, "code": code}}
    assert reply.headers["x-request-id"]


@pytest.mark.parametrize(("model", "seconds"), [("demo-error-429", "1"), ("demo-error-429-0", "0"), ("demo-error-429-30", "30")])
@pytest.mark.parametrize("wire", WIRES)
def test_a_429_says_when_to_come_back(simulator: Simulator, wire: str, model: str, seconds: str) -> None:
    headers = answered(simulator, wire, model).headers
    left = {"messages": "anthropic-ratelimit-requests-remaining", "chat": "x-ratelimit-remaining-requests"}[wire]
    assert (headers["retry-after"], headers[left]) == (seconds, "0")


def test_other_errors_do_not_say_when_to_come_back(simulator: Simulator) -> None:
    assert "retry-after" not in answered(simulator, "messages", "demo-error-529").headers


@pytest.mark.parametrize("wire", WIRES)
def test_html_comes_with_502(simulator: Simulator, wire: str) -> None:
    reply = answered(simulator, wire, "demo-error-html")
    assert (reply.status, reply.headers["content-type"]) == (502, "text/html")
    assert reply.body.startswith(b"<html>")


@pytest.mark.parametrize(
    ("model", "code"), [("demo-error-in-200", "1305"), ("demo-error-in-200-1113", "1113"), ("demo-error-in-200-9", "9")]
)
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("stream", [True, False])
def test_an_error_can_hide_in_a_200(simulator: Simulator, stream: bool, wire: str, model: str, code: str) -> None:
    reply = answered(simulator, wire, model, stream=stream)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert set(reply.json) == {"error"}
    assert reply.json["error"]["code"] == code
    assert reply.json["error"]["message"]


def test_context_overflow_is_said_in_the_words_of_the_vendor(simulator: Simulator) -> None:
    reply = answered(simulator, "messages", "demo-context")
    assert (reply.status, reply.json["error"]["message"]) == (400, "prompt is too long: 250000 tokens > 200000 maximum")
    reply = answered(simulator, "chat", "demo-context")
    assert (reply.status, reply.json["error"]["code"]) == (400, "context_length_exceeded")
    assert "maximum context length is 200000 tokens" in reply.json["error"]["message"]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("demo-context-zai", b"Prompt exceeds max length"),
        ("demo-context-vllm", b"maximum context length is 32768"),
        ("demo-context-llama", b"exceeds the available context size"),
    ],
)
def test_context_overflow_can_be_said_in_the_words_of_others(simulator: Simulator, model: str, words: bytes) -> None:
    reply = answered(simulator, "chat", model)
    assert reply.status == 400
    assert words in reply.body


@pytest.mark.parametrize("wire", WIRES)
def test_an_unknown_demo_model_is_told_which_there_are(simulator: Simulator, wire: str) -> None:
    reply = answered(simulator, wire, "demo-foo")
    assert reply.status == 404
    assert "demo-tool" in reply.json["error"]["message"]


@pytest.mark.parametrize("wire", WIRES)
def test_a_flaky_model_recovers_per_request(simulator: Simulator, wire: str) -> None:
    for text in (f"first {simulator.port}", f"second {simulator.port}"):
        body = request_body(wire, "demo-flaky-2", text)
        replies = [ask(simulator.port, WIRES[wire], body) for _ in range(3)]
        assert [reply.status for reply in replies if reply] == [503, 503, 200]
        accept(wire, replies[2], stream=False)


# ------------------------------------------------------------------------------------------------- events of a stream


def test_a_messages_stream_fails_in_the_middle_with_an_error_event(simulator: Simulator) -> None:
    events = stream_of(simulator, "messages", "demo-midstream")
    assert any(event["type"] == "content_block_delta" for event in events)
    assert events[-1] == {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded (simulated, in mid-stream)"}}
    assert all(event["type"] not in ("content_block_stop", "message_delta", "message_stop") for event in events)


def test_a_chat_stream_fails_in_the_middle_with_an_error_object(simulator: Simulator) -> None:
    *chunks, last = stream_of(simulator, "chat", "demo-midstream")
    assert any("content" in chunk["choices"][0]["delta"] for chunk in chunks)
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks)
    assert (last["error"]["type"], last["error"]["code"]) == ("server_error", "overloaded")


def test_no_done_lacks_only_the_last_word(simulator: Simulator) -> None:
    assert stream_of(simulator, "messages", "demo-no-done")[-1]["type"] == "message_delta"
    assert stream_of(simulator, "chat", "demo-no-done")[-1]["choices"][0]["finish_reason"] == "stop"


def test_no_finish_ends_behind_the_content(simulator: Simulator) -> None:
    assert stream_of(simulator, "messages", "demo-no-finish")[-1]["type"] == "content_block_stop"
    chunks = stream_of(simulator, "chat", "demo-no-finish")
    assert {chunk["choices"][0]["finish_reason"] for chunk in chunks} == {None}
    assert answered(simulator, "messages", "demo-no-finish").json["stop_reason"] is None
    assert answered(simulator, "chat", "demo-no-finish").json["choices"][0]["finish_reason"] is None


def arguments_in_turn(deltas: list[tuple[int, str]]) -> dict[int, Any]:
    """Asserts that the deltas of two calls alternate; the parsed arguments by index."""
    turns = [index for index, _ in groupby(index for index, _ in deltas)]
    assert turns[:6] == [0, 1, 0, 1, 0, 1]
    return {at: json.loads("".join(piece for index, piece in deltas if index == at)) for at in (0, 1)}


def test_interleaved_calls_of_messages_are_open_together(simulator: Simulator) -> None:
    events = stream_of(simulator, "messages", "demo-interleave")
    names = [event["type"] for event in events]
    assert names.index("content_block_stop") > len(names) - 5
    deltas = [(event["index"], event["delta"]["partial_json"]) for event in events if event["type"] == "content_block_delta"]
    assert arguments_in_turn(deltas)[1]["city"] == "second simulated city"
    assert names[-2:] == ["message_delta", "message_stop"]


def chat_calls(simulator: Simulator, model: str) -> list[dict[str, Any]]:
    chunks = stream_of(simulator, "chat", model)
    return [call for chunk in chunks[:-1] for call in chunk["choices"][0]["delta"].get("tool_calls", ())]


def test_interleaved_calls_of_chat_take_turns(simulator: Simulator) -> None:
    deltas = [(call["index"], call["function"]["arguments"]) for call in chat_calls(simulator, "demo-interleave")]
    assert arguments_in_turn(deltas)[0]["city"] == "simulated city"


def test_repeated_ids_stand_on_every_chunk(simulator: Simulator) -> None:
    calls = chat_calls(simulator, "demo-repeat-ids")
    seen = {(call["index"], call["id"], call["type"], call["function"]["name"]) for call in calls}
    assert len(seen) == 2
    assert len(calls) > 10


def test_a_missing_index_is_missing_everywhere(simulator: Simulator) -> None:
    calls = chat_calls(simulator, "demo-zero-index-missing")
    assert len(calls) > 10
    assert all("index" not in call for call in calls)
    assert json.loads("".join(call["function"]["arguments"] for call in calls))["city"] == "simulated city"


def test_a_call_without_arguments_sends_none(simulator: Simulator) -> None:
    (call,) = chat_calls(simulator, "demo-no-args")
    assert call["function"] == {"name": "get_weather", "arguments": ""}
    events = stream_of(simulator, "messages", "demo-no-args")
    assert all(event["type"] != "content_block_delta" for event in events)
    assert answered(simulator, "messages", "demo-no-args").json["content"][0]["input"] == {}


def test_reasoning_comes_in_the_other_field(simulator: Simulator) -> None:
    deltas = [chunk["choices"][0]["delta"] for chunk in stream_of(simulator, "chat", "demo-reasoning")[:-1]]
    assert "".join(delta.get("reasoning", "") for delta in deltas).startswith("The user sent 5 characters")
    assert all("reasoning_content" not in delta for delta in deltas)
    assert "reasoning_content" not in answered(simulator, "chat", "demo-reasoning").json["choices"][0]["message"]


def test_a_message_can_start_twice(simulator: Simulator) -> None:
    events = stream_of(simulator, "messages", "demo-double-start")
    starts = [at for at, event in enumerate(events) if event["type"] == "message_start"]
    assert len(starts) == 2
    assert events[starts[1] - 1]["type"] == "content_block_delta"
    assert events[0]["message"]["id"] != events[starts[1]]["message"]["id"]
    chunks = stream_of(simulator, "chat", "demo-double-start")[:-1]
    assert sum("role" in chunk["choices"][0]["delta"] for chunk in chunks) == 2
    assert len({chunk["id"] for chunk in chunks}) == 2


def test_zero_usage_is_zero_at_the_start_and_in_floats_at_the_end(simulator: Simulator) -> None:
    reply = answered(simulator, "messages", "demo-zero-usage", stream=True)
    assert b'"usage":{"input_tokens":0,"output_tokens":0}' in reply.body
    delta = next(json.loads(data) for name, data in sse(reply.body) if name == "message_delta")
    assert delta["usage"]["input_tokens"] > 0
    assert {type(count) for count in delta["usage"].values()} == {float}
    reply = answered(simulator, "chat", "demo-zero-usage", stream=True, stream_options={"include_usage": True})
    assert b'"prompt_tokens":' in reply.body
    assert type(json.loads(list(sse(reply.body))[-2][1])["usage"]["prompt_tokens"]) is float


@pytest.mark.parametrize(("wire", "ping"), [("messages", b'event: ping\ndata: {"type":"ping"}\n\n'), ("chat", b": ping\n\n")])
def test_pings_can_be_all_there_is(simulator: Simulator, wire: str, ping: bytes) -> None:
    reply = answered(simulator, wire, "demo-ping-only", stream=True)
    assert reply.body.startswith(ping)
    assert reply.body.removesuffix(b"data: [DONE]\n\n").replace(ping, b"") == b""


# ------------------------------------------------------------------------------------------------------------- bytes


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("stream", [True, False])
def test_nothing_can_come_instead_of_an_answer(simulator: Simulator, stream: bool, wire: str) -> None:
    assert ask(simulator.port, WIRES[wire], request_body(wire, "demo-cut-before-head", stream=stream)) is None


@pytest.mark.parametrize("wire", WIRES)
def test_a_cut_stream_ends_inside_an_event(simulator: Simulator, wire: str) -> None:
    reply = answered(simulator, wire, "demo-cut", stream=True)
    assert (reply.status, reply.whole) == (200, False)
    assert b"simulated answer" in b"".join(reply.pieces) or len(reply.pieces) > 5
    assert not reply.body.endswith(b"\n\n")


@pytest.mark.parametrize("wire", WIRES)
def test_a_cut_plain_answer_ends_inside_its_json(simulator: Simulator, wire: str) -> None:
    reply = answered(simulator, wire, "demo-cut")
    assert 0 < len(reply.body) < int(reply.headers["content-length"])


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("stream", [True, False])
def test_a_lying_length_promises_more_than_a_whole_answer(simulator: Simulator, stream: bool, wire: str) -> None:
    reply = answered(simulator, wire, "demo-lying-length", stream=stream)
    assert int(reply.headers["content-length"]) == len(reply.body) + LIE
    accept(wire, Reply(reply.status, reply.headers, reply.body, whole=True), stream=stream)


@pytest.mark.parametrize("model", ["demo-lying-length", "demo-cut", "demo-cut-before-head"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_broken_answer_closes_the_connection_that_was_to_be_kept(simulator: Simulator, stream: bool, model: str) -> None:
    body = json.dumps(request_body("chat", model, stream=stream)).encode()
    with connect(simulator.port) as client:
        client.sendall(encoded("POST", WIRES["chat"], body, headers=""))
        received = read_to_end(client)  # hangs for as long as the connection is open
    assert not received or not parsed(received).whole


@pytest.mark.parametrize("wire", WIRES)
def test_garbage_stands_between_the_events_of_a_whole_stream(simulator: Simulator, wire: str) -> None:
    reply = answered(simulator, wire, "demo-garbage", stream=True)
    noise, good = reply.pieces[0::2], reply.pieces[1::2]
    accept(wire, Reply(reply.status, reply.headers, b"".join(good), whole=True), stream=True)
    assert {b"data: {not json\n\n", b"data: \xff\xfe\xc3\n\n", b"data: null\n\n"} <= set(noise)


@pytest.mark.parametrize("wire", WIRES)
def test_garbage_in_a_plain_answer_is_half_its_json(simulator: Simulator, wire: str) -> None:
    reply = answered(simulator, wire, "demo-garbage")
    assert reply.whole
    assert reply.body.startswith(b'{"id":')
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(reply.body)


@pytest.mark.parametrize("wire", WIRES)
def test_a_split_stream_has_one_byte_in_every_chunk(simulator: Simulator, wire: str) -> None:
    reply = answered(simulator, wire, "demo-split", stream=True)
    assert {len(piece) for piece in reply.pieces} == {1}
    assert "日本語".encode() in reply.body


@pytest.mark.parametrize("wire", WIRES)
def test_crlf_comes_with_comments_and_a_byte_order_mark(simulator: Simulator, wire: str) -> None:
    body = answered(simulator, wire, "demo-crlf", stream=True).body
    assert body.startswith(b"\xef\xbb\xbf:\r\n")
    assert b": a comment\r\n" in body
    assert body.count(b"\n") == body.count(b"\r\n")
    assert b"\r\ndata:{" in body


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("stream", [True, False])
def test_gzip_is_announced(simulator: Simulator, stream: bool, wire: str) -> None:
    reply = answered(simulator, wire, "demo-gzip", stream=stream)
    assert reply.headers["content-encoding"] == "gzip"
    assert (reply.pieces[0] if stream else reply.body).startswith(b"\x1f\x8b")


@pytest.mark.parametrize("wire", WIRES)
def test_the_kind_of_answer_can_be_the_wrong_one(simulator: Simulator, wire: str) -> None:
    accept(wire, answered(simulator, wire, "demo-json", stream=True), stream=False)
    accept(wire, answered(simulator, wire, "demo-sse"), stream=True)
