"""Clients that leave, and a proxy that lets go of the upstream at once."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from tests.e2e.house import PATIENCE, House, ask

PATH = {"anthropic": "/v1/messages", "openai": "/v1/chat/completions"}
pairs = pytest.mark.parametrize(("wire", "upstream"), [(wire, upstream) for wire in PATH for upstream in PATH])


def call(house: House, wire: str, model: str, **more: Any) -> socket.socket:
    """A connection over which a question has been sent."""
    body = json.dumps({"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": "hello"}], **more}).encode()
    connection = socket.create_connection(("127.0.0.1", house.port), PATIENCE)
    head = f"POST {PATH[wire]} HTTP/1.1\r\nhost: localhost\r\nx-api-key: k\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


@pairs
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_client_that_leaves_before_the_head_ends_the_upstream_request(house: House, wire: str, upstream: str, stream: bool) -> None:
    with call(house, wire, f"demo-silent-{upstream}", stream=stream):
        assert house.simulator.wait_until(lambda simulator: len(simulator.requests) == 1, PATIENCE)
        opened = house.simulator.connections_open
    record = house.record()
    assert (record.status, record.error_code, record.target) == (499, "client_gone", f"international/{upstream}")
    assert house.simulator.wait_until(lambda simulator: simulator.connections_open < opened, PATIENCE)


@pairs
def test_a_client_that_leaves_a_kept_alive_stream_ends_the_upstream_request(impatient: House, wire: str, upstream: str) -> None:
    with call(impatient, wire, f"demo-silent-{upstream}", stream=True) as connection:
        received = b""
        while received.count(b"ping" if wire == "anthropic" else b"keep-alive") < 3:
            received += connection.recv(4096)
        # The proxy pings whether or not the upstream has accepted its connection: only what it has accepted can be seen to close.
        assert impatient.simulator.wait_until(lambda simulator: len(simulator.requests) == 1, PATIENCE)
        opened = impatient.simulator.connections_open
    assert impatient.record().status == 499
    assert impatient.simulator.wait_until(lambda simulator: simulator.connections_open < opened, PATIENCE)


@pairs
def test_a_client_that_leaves_in_mid_stream_ends_the_upstream_request(house: House, wire: str, upstream: str) -> None:
    with call(house, wire, f"demo-slow-0.02-{upstream}", stream=True) as connection:
        received = b""
        while b"data:" not in received:
            received += connection.recv(4096)
        opened = house.simulator.connections_open
    record = house.record()
    assert (record.status, record.stream) == (499, True)
    assert house.simulator.wait_until(lambda simulator: simulator.connections_open < opened, PATIENCE)


def test_the_next_client_is_served_after_many_have_left(house: House) -> None:
    for _ in range(20):
        call(house, "anthropic", "demo-silent", stream=True).close()
    assert [house.record().status for _ in range(20)] == [499] * 20
    body = {"model": "glm-4.6", "max_tokens": 64, "messages": [{"role": "user", "content": "hello"}]}
    assert ask(house, "POST", "/v1/messages", body, x_api_key="k").status == 200
    assert ask(house, "GET", "/").json["active_connections"] == 1
