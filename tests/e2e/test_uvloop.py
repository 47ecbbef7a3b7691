"""Upstreams that die at every stage of an answer, and what clients are told, on every event loop there is.

asyncio's faster loop, which is the usual one where it is installed, treats broken connections in a way of its own.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from tests.e2e.house import PATIENCE, House, Reply, ask, serving
from tests.e2e.test_pairs import PATH, accepted, text_of
from tests.transports.toys import CHUNKED, LAST_CHUNK, Script, ToyUpstream, Visit, chunk, plain, toy_upstream
from transports.simulator import Simulator

WHOLE = (
    b'{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hello"}],'
    b'"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}'
)
EVENTS = [
    b"event: %s\ndata: %s\n\n" % (json.loads(data)["type"].encode(), data)
    for data in (
        b'{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"usage":{}}}',
        b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hello"}}',
        b'{"type":"content_block_stop","index":0}',
        b'{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":1}}',
        b'{"type":"message_stop"}',
    )
]
JSON = plain(WHOLE, b"content-type: application/json")
STREAM = CHUNKED + b"".join(map(chunk, EVENTS)) + LAST_CHUNK
#: Seconds between the last bytes and the end: the proxy has read them, and waits for more, or has put the connection away.
PAUSE = 0.05

wires = pytest.mark.parametrize("wire", PATH)


@pytest.fixture(
    params=[
        "asyncio",
        pytest.param("uvloop", marks=pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed")),
        "trio",
    ]
)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def dying(*answers: bytes) -> Script:
    """Connection by connection: a request, one of ``answers`` (the last for all further ones), and soon afterwards RST."""

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(answers[min(visit.number, len(answers)) - 1])
        await anyio.sleep(PAUSE)
        await visit.reset()

    return script


@contextmanager
def over(script: Script, loop: str, **settings: str) -> Iterator[tuple[House, ToyUpstream, Callable[[], None]]]:
    """A proxy over an upstream of that script. The third thing waits until one more connection to the upstream is dead."""
    ends = threading.Semaphore(0)

    async def counted(visit: Visit) -> None:
        await script(visit)
        ends.release()

    def dead() -> None:
        assert ends.acquire(timeout=PATIENCE)

    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(toy_upstream(counted)) as toy,
        serving(Simulator(), loop, UPSTREAM_BASE=toy.url, OPENAI_UPSTREAM_BASE=toy.url, **settings) as house,
    ):
        yield house, toy, dead


def converse(house: House, wire: str, *, stream: bool) -> Reply:
    body = {"model": "m-anthropic", "max_tokens": 50, "stream": stream, "messages": [{"role": "user", "content": "hello"}]}
    return ask(house, "POST", PATH[wire], body, x_api_key="key-canary")


@wires
@pytest.mark.parametrize(
    ("part", "stream"),
    [
        pytest.param(b"", False, id="before the head"),
        pytest.param(b"", True, id="before the head of a stream"),
        pytest.param(JSON[:20], False, id="in the head"),
        pytest.param(JSON[:-10], False, id="in the body"),
        pytest.param(CHUNKED, True, id="before the first event"),
    ],
)
def test_a_reset_before_anything_was_answered_is_502_and_asked_once(loop: str, wire: str, part: bytes, stream: bool) -> None:
    with over(dying(part), loop) as (house, toy, _):
        for count in (1, 2, 3):
            reply = converse(house, wire, stream=stream)
            assert (reply.status, reply.json["error"]["code"]) == (502, "upstream_request_failed")
            assert "connection reset" in reply.json["error"]["message"]
            assert len(toy.requests) == count


@wires
@pytest.mark.parametrize("events", [3, 4])
def test_a_reset_in_mid_stream_is_an_error_event(loop: str, wire: str, events: int) -> None:
    with over(dying(CHUNKED + b"".join(map(chunk, EVENTS[:events]))), loop) as (house, toy, _):
        for count in (1, 2, 3):
            told = accepted(wire, converse(house, wire, stream=True))
            assert (told.kind, told.text) == ("error", "hello")
            assert len(toy.requests) == count


@wires
@pytest.mark.parametrize("part", [b"", JSON[:-10]], ids=["before the head", "in the body"])
def test_a_reset_can_be_tried_again(loop: str, wire: str, part: bytes) -> None:
    with over(dying(part, JSON), loop, MAX_RETRIES="1", RETRY_BACKOFF="0") as (house, toy, _):
        reply = converse(house, wire, stream=False)
        assert (text_of(wire, reply), len(toy.requests)) == ("hello", 2)


@wires
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_an_idle_connection_that_was_reset_is_nothing_to_the_next_request(loop: str, wire: str, stream: bool) -> None:
    with over(dying(STREAM if stream else JSON), loop) as (house, toy, dead):
        for count in (1, 2, 3):
            reply = converse(house, wire, stream=stream)
            assert "hello" in (accepted(wire, reply).text if stream else text_of(wire, reply))
            assert len(toy.visits) == count
            dead()
