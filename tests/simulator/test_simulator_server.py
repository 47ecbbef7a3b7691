"""The server around the scripts: connections, what it remembers, its command line."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.simulator.grammar import accept
from tests.simulator.plain_http import STUCK, WIRES, ask, connect, encoded, parsed, read_to_end, request_body
from transports.simulation import scripts
from transports.simulation.scenarios import SCENARIOS
from transports.simulation.steps import Body, Cut, Head, Hold, Pause
from transports.simulator import Simulator, main, running, serve

ROOT = Path(__file__).parents[2]
BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def read_plain(client: socket.socket) -> bytes:
    """One answer with a content-length from a connection that stays open."""
    received = b""
    while b"\r\n\r\n" not in received or not parsed(received).whole:
        received += client.recv(65536)
    return received


# ------------------------------------------------------------------------------------------------------- connections


@pytest.mark.parametrize("wire", WIRES)
def test_a_connection_serves_one_request_after_the_other(simulator: Simulator, wire: str) -> None:
    made = simulator.connections_made
    with connect(simulator.port) as client:
        for text in ("first", "second"):
            client.sendall(encoded("POST", WIRES[wire], json.dumps(request_body(wire, "demo-text", text)).encode(), ""))
            assert text.encode() in parsed(read_plain(client)).body
    assert simulator.connections_made == made + 1


def test_requests_sent_ahead_are_answered_in_their_order(simulator: Simulator) -> None:
    bodies = [json.dumps(request_body("chat", "demo-text", text)).encode() for text in ("first", "second", "third")]
    with connect(simulator.port) as client:
        sent = [encoded("POST", WIRES["chat"], body, "") for body in bodies[:2]]
        client.sendall(b"".join(sent) + encoded("POST", WIRES["chat"], bodies[2]))
        received = read_to_end(client)
    assert received.index(b"first") < received.index(b"second") < received.index(b"third")
    assert received.count(b"HTTP/1.1 200 OK") == 3


def test_a_chunked_request_is_read(simulator: Simulator) -> None:
    body = json.dumps(request_body("chat", "demo-text", "in pieces")).encode()
    framed = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
    head = b"POST %s HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n" % WIRES["chat"].encode()
    with connect(simulator.port) as client:
        client.sendall(head + framed)
        assert b"in pieces" in parsed(read_to_end(client)).body


def test_a_client_that_waits_is_told_to_continue(simulator: Simulator) -> None:
    message = encoded("POST", WIRES["chat"], json.dumps(request_body("chat", "demo-text")).encode(), "expect: 100-continue\r\n")
    head, _, body = message.partition(b"\r\n\r\n")
    with connect(simulator.port) as client:
        client.sendall(head + b"\r\n\r\n")
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert parsed(read_plain(client)).status == 200


def test_what_is_not_http_is_dropped_and_the_server_goes_on(simulator: Simulator) -> None:
    with connect(simulator.port) as client:
        client.sendall(b"\x16\x03\x01 this is TLS or worse\r\n\r\n")
        assert read_to_end(client) == b""
    assert ask(simulator.port, "/", method="GET")


@BACKENDS
@pytest.mark.parametrize("wire", WIRES)
def test_the_silent_model_says_nothing_until_the_client_leaves(backend: str, wire: str) -> None:
    with running(backend=backend) as simulator:
        with connect(simulator.port) as client:
            client.sendall(encoded("POST", WIRES[wire], json.dumps(request_body(wire, "demo-silent")).encode()))
            assert simulator.wait_until(lambda seen: len(seen.requests) == 1)
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(1)
            assert simulator.connections_open == 1
        assert simulator.wait_until(lambda seen: seen.connections_open == 0)


@BACKENDS
def test_a_client_that_leaves_a_slow_answer_is_noticed_in_the_silence(backend: str) -> None:
    with running(backend=backend) as simulator:
        with connect(simulator.port) as client:
            client.sendall(encoded("POST", WIRES["chat"], json.dumps(request_body("chat", "demo-slow-3600")).encode()))
            assert simulator.wait_until(lambda seen: seen.connections_open == 1 and bool(seen.requests))
        assert simulator.wait_until(lambda seen: seen.connections_open == 0)


@BACKENDS
def test_a_client_that_resets_a_long_answer_does_no_harm(backend: str) -> None:
    with running(backend=backend) as simulator:
        with connect(simulator.port) as client:
            # Closing with this option and unread data sends a reset.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.sendall(encoded("POST", WIRES["chat"], json.dumps(request_body("chat", "demo-long", stream=True)).encode()))
            assert client.recv(10)
        assert simulator.wait_until(lambda seen: seen.connections_open == 0)
        accept("chat", ask(simulator.port, WIRES["chat"], request_body("chat", "demo-text")), stream=False)


@BACKENDS
def test_a_bug_in_a_script_costs_one_connection_and_is_logged(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    broken = {"type": "function", "function": {"name": "t", "parameters": {"properties": 5}}}
    body = request_body("chat", "demo-tool", tools=False) | {"tools": [broken]}
    with running(backend=backend) as simulator:
        assert ask(simulator.port, WIRES["chat"], body) is None
        assert simulator.wait_until(lambda seen: seen.connections_open == 0)  # which is behind the logging
        assert [record.message for record in caplog.records] == ["an exchange failed"]
        accept("chat", ask(simulator.port, WIRES["chat"], request_body("chat", "demo-text")), stream=False)
    caplog.clear()


def test_leaving_the_block_ends_answers_that_never_would() -> None:
    with running() as simulator:
        client = connect(simulator.port)
        client.sendall(encoded("POST", WIRES["chat"], json.dumps(request_body("chat", "demo-silent")).encode()))
        assert simulator.wait_until(lambda seen: len(seen.requests) == 1)
    with client:
        assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(simulator.port)


# ------------------------------------------------------------------------------------------------- what it remembers


@BACKENDS
def test_every_request_is_remembered_as_it_came(backend: str) -> None:
    body = request_body("messages", "demo-text", "h\u00e9llo")
    with running(backend=backend) as simulator:
        ask(simulator.port, WIRES["messages"] + "?beta=true", body, headers="X-Api-Key: secret\r\n")
        ask(simulator.port, "/v1/models", method="GET")
        ask(simulator.port, WIRES["chat"], b"{not json")
        first, second, third = simulator.requests
    assert (first.method, first.path, first.query) == ("POST", WIRES["messages"], "beta=true")
    assert (first.body, json.loads(first.raw)) == (body, body)
    assert first.headers["x-api-key"] == "secret"
    assert (second.method, second.path, second.body) == ("GET", "/v1/models", None)
    assert (third.raw, third.body) == (b"{not json", None)


def test_waiting_for_what_does_not_come_ends(simulator: Simulator) -> None:
    assert simulator.wait_until(lambda seen: seen.connections_open < 0, timeout=0.0) is False


@BACKENDS
def test_serve_reports_its_port_and_ends_when_cancelled(backend: str) -> None:
    async def scenario() -> bytes:
        async with anyio.create_task_group() as group:
            port = await group.start(partial(serve, pace=0.0))
            async with await anyio.connect_tcp("127.0.0.1", port) as client:
                await client.send(encoded("GET", "/"))
                received = await client.receive()
            group.cancel_scope.cancel()
        return received

    assert anyio.run(scenario, backend=backend).startswith(b"HTTP/1.1 200 OK\r\n")


# ------------------------------------------------------------------------------------------------- paths and methods


@pytest.mark.parametrize("path", ["/v1/messages", "/a/b/v1/messages", "/api/anthropic/v1/messages"])
def test_messages_are_answered_under_any_base(simulator: Simulator, path: str) -> None:
    accept("messages", ask(simulator.port, path, request_body("messages", "demo-text")), stream=False)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/coding/paas/v4/chat/completions", "/chat/completions"])
def test_chat_is_answered_under_any_base(simulator: Simulator, path: str) -> None:
    accept("chat", ask(simulator.port, path, request_body("chat", "demo-text")), stream=False)


@pytest.mark.parametrize(
    ("path", "headers", "kind"),
    [
        ("/api/anthropic/v1/models", "", "messages"),
        ("/api/paas/v4/models", "", "chat"),
        ("/v1/models", "", "chat"),
        ("/v1/models?limit=1000", "anthropic-version: 2023-06-01\r\n", "messages"),
    ],
)
def test_models_come_in_the_shape_of_the_client(simulator: Simulator, path: str, headers: str, kind: str) -> None:
    reply = ask(simulator.port, path, method="GET", headers=headers)
    assert reply is not None
    first = reply.json["data"][0]
    assert (first["type"] if kind == "messages" else first["object"]) == "model"
    assert ("has_more" in reply.json) == (kind == "messages")


def test_a_head_request_gets_a_head_only(simulator: Simulator) -> None:
    reply = ask(simulator.port, "/v1/models", method="HEAD")
    assert reply is not None
    assert (reply.status, reply.body) == (200, b"")
    assert int(reply.headers["content-length"]) > 1000


def test_the_root_says_it_is_simulated(simulator: Simulator) -> None:
    reply = ask(simulator.port, "/", method="GET")
    assert reply is not None
    assert reply.json["simulated"] is True
    assert set(SCENARIOS) <= set(reply.json["models"])


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/embeddings"), ("GET", "/v1/messages"), ("DELETE", "/v1/models")])
def test_other_places_are_not_found(simulator: Simulator, method: str, path: str) -> None:
    reply = ask(simulator.port, path, method=method)
    assert reply is not None
    assert reply.status == 404
    assert reply.json["error"]["message"] == f"Simulated: nothing at {method} {path}"
    assert ("request_id" in reply.json) == path.endswith("/messages")


MALFORMED: list[tuple[str, Any, str]] = [
    ("messages", b"{", "not JSON"),
    ("chat", b"[" * 100_000, "not JSON"),
    ("chat", [], "not an object"),
    ("chat", {"model": "m"}, "messages"),
    ("chat", {"model": "m", "messages": []}, "messages"),
    ("chat", {"messages": [{"role": "user", "content": "x"}]}, "model"),
    ("messages", {"model": "m", "messages": [{"role": "user", "content": "x"}]}, "max_tokens"),
    ("chat", {"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,%"}}]}]}, "base64"),
]


@pytest.mark.parametrize(("wire", "body", "words"), MALFORMED, ids=[words for _, _, words in MALFORMED])
def test_a_malformed_request_is_refused_in_the_shape_of_its_wire(simulator: Simulator, wire: str, body: Any, words: str) -> None:
    reply = ask(simulator.port, WIRES[wire], body)
    assert reply is not None
    assert reply.status == 400
    assert words in reply.json["error"]["message"]
    assert ("request_id" in reply.json) == (wire == "messages")


ODD: list[dict[str, Any]] = [
    {"tools": 5, "tool_choice": ["x"], "stop": 7, "user": 1, "response_format": "json", "stream_options": []},
    {
        "tools": [1, {"input_schema": 3, "name": 4}, {"type": "function"}],
        "tool_choice": {"type": ["x"]},
        "stop_sequences": {},
        "metadata": 3,
    },
    {
        "thinking": "yes",
        "output_config": [],
        "system": {"a": None},
        "messages": [{"role": 1, "content": {"type": "text", "text": "a tool"}}],
    },
    {"messages": [{"role": "user", "content": [{"type": "image", "source": 1}, 3, {"type": "tool_result"}, {"type": "image_url"}]}]},
    {"messages": [{"role": "user", "content": "lone \ud83d surrogate"}]},
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("wire", WIRES)
def test_odd_values_are_taken_for_absent(simulator: Simulator, wire: str, odd: dict[str, Any]) -> None:
    reply = ask(simulator.port, WIRES[wire], request_body(wire, "glm-4.7", tools=False) | odd)
    assert reply is not None
    assert reply.status == 200


def test_counting_needs_no_max_tokens_and_meets_the_same_errors(simulator: Simulator) -> None:
    path = WIRES["messages"] + "/count_tokens"
    body = request_body("messages", "glm-4.7")
    del body["max_tokens"]
    counted = ask(simulator.port, path, body)
    assert counted is not None
    assert counted.json["input_tokens"] > 10
    failed = ask(simulator.port, path, body | {"model": "demo-error-529"})
    assert failed is not None
    assert failed.status == 529
    refused = ask(simulator.port, path, {"model": "m"})
    assert refused is not None
    assert refused.status == 400


def test_pictures_count_the_same_whatever_their_size(simulator: Simulator) -> None:
    counts = []
    for data in ("A" * 4, "A" * 40_000):
        image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
        body = {"model": "m", "messages": [{"role": "user", "content": [image]}]}
        reply = ask(simulator.port, WIRES["messages"] + "/count_tokens", body)
        assert reply is not None
        counts.append(reply.json["input_tokens"])
    assert counts[0] == counts[1] > 1600


# ----------------------------------------------------------------------------------------------------------- scripts

SCRIPTS = [scripts.messages_script, scripts.chat_script]


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_request_always_gets_the_same_steps(script: Any, name: str) -> None:
    body = {"model": name, "max_tokens": 1, "stream": True, "messages": [{"role": "user", "content": "x"}]}
    assert list(script(body)) == list(script(body))


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_stream_pauses_between_its_events_at_the_pace_of_the_server(script: Any) -> None:
    body = {"model": "demo-text", "max_tokens": 1, "stream": True, "messages": [{"role": "user", "content": "x"}]}
    head, *rest = script(body)
    assert isinstance(head, Head)
    assert {type(step) for step in rest[0::2]} == {Body}
    assert set(rest[1::2]) == {Pause(None)}


SILENCES = [
    ("demo-slow-0.25", {}, 0.25),
    ("demo-slow", {"user": "3", "metadata": {"user_id": "3"}}, 3.0),
    ("demo-slow-2", {"user": "3", "metadata": {"user_id": "3"}}, 2.0),
    ("demo-slow", {"user": "someone"}, 1.0),
    ("demo-slow", {}, 1.0),
]


@pytest.mark.parametrize(("model", "more", "seconds"), SILENCES)
@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("stream", [True, False])
def test_the_slow_model_is_silent_before_everything(script: Any, stream: bool, model: str, more: dict[str, Any], seconds: float) -> None:
    body = {"model": model, "max_tokens": 1, "stream": stream, "messages": [{"role": "user", "content": "x"}], **more}
    steps = list(script(body))
    assert set(steps[0::2]) == {Pause(seconds)}
    assert isinstance(steps[1], Head)
    assert {type(step) for step in steps[3::2]} == {Body}


@pytest.mark.parametrize("script", SCRIPTS)
def test_silence_and_cuts_are_steps_of_their_own(script: Any) -> None:
    body = {"max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}
    assert list(script(body | {"model": "demo-silent"})) == [Hold()]
    assert list(script(body | {"model": "demo-cut-before-head"})) == [Cut()]


# ------------------------------------------------------------------------------------------------------ command line


def test_the_list_has_a_line_for_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("[")[0].split(" ")[0] for line in lines] == list(SCENARIOS)
    assert all(len(line) < 140 for line in lines)


def test_the_command_says_where_it_listens_and_serves_there() -> None:
    command = [sys.executable, "-m", "transports.simulator", "--port", "0", "--pace", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            port = int(line.rsplit(":", 1)[1])
            accept("chat", ask(port, WIRES["chat"], request_body("chat", "demo-text", stream=True)), stream=True)
        finally:
            process.terminate()
            process.wait(STUCK)
    assert line == f"simulated upstream at http://127.0.0.1:{port}\n"


def test_an_interrupt_ends_the_command_with_130() -> None:
    command = [sys.executable, "-m", "transports.simulator"]
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # what runs in the background of a shell ignores it, and so would a child
    try:
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline()
            process.send_signal(signal.SIGINT)
            try:
                assert process.wait(STUCK) == 130
            finally:
                process.kill()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_port_in_use_ends_the_command_with_five(simulator: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", str(simulator.port)]) == 5
    assert f"cannot listen on port {simulator.port}" in capsys.readouterr().err
