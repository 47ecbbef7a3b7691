"""Clients on real sockets: connections kept and reused, refusals, deadlines."""

from __future__ import annotations

import re

import anyio
import pytest

from core.effects import Flow, Head, Request, Send, Start
from core.errors import ClientGone
from tests.transports.toys import (
    CHUNKED,
    LAST_CHUNK,
    Done,
    ToyGateway,
    Visit,
    chunk,
    client,
    gateway,
    relay,
    say,
    toy_upstream,
    until,
)
from transports.listener import ClientConnection, Limits, Outcome, Places

pytestmark = pytest.mark.anyio

POST = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\n"


# -------------------------------------------------------------------------------------------------------- connections


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with gateway(say) as house, client(house.port) as caller:
        for number in range(5):
            answer = await caller.ask("POST", f"/v1/{number}", b"body")
            assert (answer.status, answer.body) == (200, b"POST /v1/%d body" % number)
        assert len(house.listener.connections) == 1
        assert [record.status for record in house.records] == [200] * 5
    assert house.listener.connections == set()


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with gateway(say) as house, client(house.port) as caller:
        await caller.send(b"".join(b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % number for number in range(20)))
        received = await caller.receive_until(b"GET /19 ")
        assert re.findall(rb"GET /(\d+) ", received) == [b"%d" % number for number in range(20)]


async def test_a_client_that_sends_too_much_ahead_has_to_wait_and_loses_nothing() -> None:
    async with gateway(say) as house, client(house.port) as caller:
        body = b"x" * 100_000
        one = POST + b"content-length: %d\r\n\r\n" % len(body) + body

        async def send() -> None:
            for _ in range(20):
                await caller.send(one)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            received = b""
            while received.count(b"HTTP/1.1 200") < 20 or not received.endswith(b"x" * 1000):
                received += await caller.stream.receive()
        assert len(house.records) == 20


async def test_what_is_kept_of_coming_requests_is_bounded() -> None:
    go = anyio.Event()

    async def slow(visit: Visit) -> None:
        await visit.request()
        await go.wait()
        await visit.answer(b"")
        await visit.left()

    async with toy_upstream(slow) as toy, gateway(relay(toy.url)) as house, client(house.port) as caller:
        await caller.post("GET", "/")
        await until(lambda: len(toy.requests) == 1)
        connection = await only_connection(house)

        async def send_ahead() -> None:
            await caller.send(POST + b"content-length: 20000000\r\n\r\n" + b"x" * 20_000_000)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send_ahead)
            await until(lambda: connection._http.held > 64 * 1024)
            await anyio.wait_all_tasks_blocked()
            assert connection._http.held <= (64 + 256) * 1024
            go.set()
            assert (await caller.answer()).status == 200


@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_a_large_body_arrives_whole(framing: str) -> None:
    body = bytes(range(256)) * 8000
    got: list[bytes] = []

    def measure(request: Request) -> Flow[Outcome]:
        got.append(request.body)
        yield from Start(Head(204, ()))
        return Done(204)

    async with gateway(measure) as house, client(house.port) as caller:
        if framing == "length":
            await caller.send(POST + b"content-length: %d\r\n\r\n" % len(body) + body)
        else:
            pieces = [body[start : start + 3000] for start in range(0, len(body), 3000)]
            await caller.send(POST + b"transfer-encoding: chunked\r\n\r\n" + b"".join(map(chunk, pieces)) + LAST_CHUNK)
        assert await caller.receive_until(b"\r\n\r\n") == b"HTTP/1.1 204 No Content\r\n\r\n"
        assert got == [body]


async def test_HEAD_is_answered_without_a_body_and_the_connection_goes_on() -> None:
    async with gateway(say) as house, client(house.port) as caller:
        answer = await caller.ask("HEAD", "/")
        assert (answer.status, answer.headers[b"content-length"], answer.body) == (200, b"7", b"")
        assert (await caller.ask("GET", "/")).body == b"GET / "


async def test_an_HTTP_1_0_client_is_answered_and_let_go() -> None:
    async with gateway(say) as house, client(house.port) as caller:
        await caller.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await caller.rest()).endswith(b"\r\n\r\nGET / ")


async def test_a_client_that_wants_to_close_is_let_go() -> None:
    async with gateway(say) as house, client(house.port) as caller:
        await caller.send(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert (await caller.rest()).endswith(b"\r\n\r\nGET / ")


async def test_an_answer_without_a_body_has_its_length() -> None:
    def nothing(request: Request) -> Flow[Outcome]:
        yield from Start(Head(405, ()))
        return Done(405)

    async with gateway(nothing) as house, client(house.port) as caller:
        answer = await caller.ask("GET", "/")
        assert (answer.status, answer.headers) == (405, {b"content-length": b"0"})


async def test_a_client_that_asks_first_is_invited_to_send_its_body() -> None:
    async with gateway(say) as house, client(house.port) as caller:
        await caller.send(POST + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert await caller.receive_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await caller.send(b"hi")
        assert b"200 OK" in await caller.receive_until(b"hi")


async def test_the_request_knows_its_peer_its_id_and_its_time() -> None:
    seen: list[Request] = []

    def look(request: Request) -> Flow[Outcome]:
        seen.append(request)
        return (yield from say(request))

    async with gateway(look) as house, client(house.port) as caller:
        await caller.ask("GET", "/")
        await caller.ask("GET", "/")
    assert [request.peer for request in seen] == ["127.0.0.1"] * 2
    assert all(re.fullmatch(r"req_[0-9a-f]{24}", request.id) for request in seen)
    assert seen[0].id != seen[1].id
    assert 1_700_000_000 < seen[0].now <= seen[1].now


# ----------------------------------------------------------------------------------------------------- one piece each


async def segments(answers: list[bytes], port: int) -> list[bytes]:
    """What a client receives, read by read, when nothing hurries it."""
    async with client(port) as caller:
        await caller.send(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        try:
            while True:
                answers.append(await caller.stream.receive())
        except anyio.EndOfStream:
            return answers


async def test_head_and_body_leave_in_one_piece() -> None:
    async with gateway(say) as house:
        pieces = await segments([], house.port)
        assert len(pieces) == 1
        assert pieces[0].endswith(b"GET / ")


async def test_the_end_of_a_stream_leaves_with_its_last_event() -> None:
    async def burst(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED + chunk(b"data: 1\n\n") + chunk(b"data: 2\n\n") + LAST_CHUNK)
        await visit.left()

    async with toy_upstream(burst) as toy, gateway(relay(toy.url)) as house:
        pieces = await segments([], house.port)
        assert len(pieces) == 1
        assert pieces[0].endswith(b"\r\n12\r\ndata: 1\n\ndata: 2\n\n\r\n0\r\n\r\n")


# ----------------------------------------------------------------------------------------------------------- refusals

CASES = [
    pytest.param(POST + b"content-length: 101\r\n\r\n", 413, b"/v1/messages request_too_large", id="announced as too large"),
    pytest.param(POST + b"transfer-encoding: chunked\r\n\r\n65\r\n", 413, b"/v1/messages request_too_large", id="too large in chunks"),
    pytest.param(POST + b"x: " + b"y" * 3000, 431, b"/v1/messages headers_too_large", id="large header"),
    pytest.param(POST + b"a: b\r\n" * 200 + b"\r\n", 431, b"/v1/messages headers_too_large", id="many headers"),
    pytest.param(POST + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400, b"/v1/messages malformed_http", id="two framings"),
    pytest.param(b"GET / HTTP/1.1\nhost: x\n\n", 400, b" malformed_http", id="bare LF"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01", 400, b" malformed_http", id="TLS"),
]


@pytest.mark.parametrize(("data", "status", "body"), CASES)
async def test_a_request_that_cannot_be_taken_is_answered_and_the_connection_closed(data: bytes, status: int, body: bytes) -> None:
    async with gateway(say, Limits(header_bytes=2000, body_bytes=100)) as house, client(house.port) as caller:
        await caller.send(data)
        answer = await caller.rest()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"connection: close\r\n" in answer
        assert answer.partition(b"\r\n\r\n")[2].startswith(body)
        assert house.records == []
        await caller.leave()
        await until(lambda: not house.listener.connections)


async def test_a_refused_client_that_keeps_sending_still_gets_its_answer() -> None:
    async with gateway(say, Limits(body_bytes=100)) as house, client(house.port) as caller:
        await caller.send(POST + b"content-length: 9000000\r\n\r\n")
        for _ in range(90):
            await caller.send(b"x" * 100_000)
        assert (await caller.rest()).startswith(b"HTTP/1.1 413 ")


async def test_connections_beyond_the_limit_are_refused() -> None:
    async with gateway(say, Limits(connections=1)) as house, client(house.port) as first:
        assert (await first.ask("GET", "/")).status == 200
        async with client(house.port) as second:
            assert (await second.rest()).startswith(b"HTTP/1.1 503 ")
        await until(lambda: len(house.listener.connections) == 1)
        await first.leave()
        await until(lambda: not house.listener.connections)
        async with client(house.port) as third:
            assert (await third.ask("GET", "/")).status == 200


async def test_connections_of_one_address_beyond_its_limit_are_refused() -> None:
    async with gateway(say, Limits(connections_per_address=2)) as house, client(house.port) as first, client(house.port) as second:
        assert (await first.ask("GET", "/")).status == 200
        assert (await second.ask("GET", "/")).status == 200
        for _ in range(3):
            async with client(house.port) as third:
                refused = await third.rest()
                assert refused.startswith(b"HTTP/1.1 429 ")
                assert b"connection: close" in refused
        await second.leave()
        await until(lambda: len(house.listener.connections) == 1)
        async with client(house.port) as third:
            assert (await third.ask("GET", "/")).status == 200


async def test_who_is_told_that_there_is_no_room_takes_none() -> None:
    async with gateway(say, Limits(connections=3, connections_per_address=1)) as house, client(house.port) as first:
        assert (await first.ask("GET", "/")).status == 200
        async with client(house.port) as second, client(house.port) as third, client(house.port) as fourth:
            for refused in (second, third, fourth):
                assert (await refused.rest()).startswith(b"HTTP/1.1 429 ")
            assert len(house.listener.connections) == 4  # they have not closed yet
        await until(lambda: len(house.listener.connections) == 1)


@pytest.mark.parametrize(
    ("limits", "present", "who", "status"),
    [
        (Limits(connections=0), ["a"] * 9, "a", None),
        (Limits(connections=2), ["a", "b"], "c", 503),
        (Limits(connections=2), ["a"], "c", None),
        (Limits(connections=2), [None, None], None, 503),
        (Limits(connections_per_address=0), ["a"] * 9, "a", None),
        (Limits(connections_per_address=2), ["a"], "a", None),
        (Limits(connections_per_address=2), ["a", "a"], "a", 429),
        (Limits(connections_per_address=2), ["a", "a"], "b", None),
        (Limits(connections_per_address=2), ["a", "a"], None, None),
        (Limits(connections_per_address=2), [None] * 9, None, None),
        (Limits(connections=2, connections_per_address=2), ["a", "a"], "a", 503),
    ],
)
def test_places_are_counted_in_all_and_by_address(limits: Limits, present: list[str | None], who: str | None, status: int | None) -> None:
    places = Places()
    for one in present:
        places.take(one)
    refusal = places.refusal(who, limits)
    assert (None if refusal is None else refusal.status) == status
    assert (None if refusal is None else refusal.retry_after) == (None if status is None else 1)
    for one in present:
        places.give_back(one)
    assert places.refusal(who, limits) is None
    assert vars(places) == vars(Places())


# ---------------------------------------------------------------------------------------------------------- deadlines


async def test_a_client_that_says_nothing_is_let_go_after_the_header_time() -> None:
    async with gateway(say) as house, client(house.port) as caller:
        await until(lambda: len(house.listener.connections) == 1)
        house.clock.now += 9.9
        house.listener.look()
        assert (await caller.ask("GET", "/")).status == 200
    async with gateway(say) as house, client(house.port) as caller:
        await until(lambda: len(house.listener.connections) == 1)
        house.clock.now += 10.1
        house.listener.look()
        assert await caller.rest() == b""


@pytest.mark.parametrize(
    ("sent", "deadline"),
    [
        pytest.param(POST, 1015.0, id="head"),
        pytest.param(POST + b"content-length: 5\r\n\r\nhe", 1035.0, id="body"),
        pytest.param(POST + b"transfer-encoding: chunked\r\n\r\n5\r\nhe", 1035.0, id="chunks"),
    ],
)
async def test_a_request_that_stops_coming_is_answered_408(sent: bytes, deadline: float) -> None:
    async with gateway(say) as house, client(house.port) as caller:
        connection = await only_connection(house)
        house.clock.now += 5
        await caller.send(sent)
        await until(lambda: connection.deadline == deadline)
        house.clock.now = deadline - 0.1
        house.listener.look()
        assert house.listener.connections == {connection}
        house.clock.now = deadline + 0.1
        house.listener.look()
        assert (await caller.rest()).startswith(b"HTTP/1.1 408 ")


async def only_connection(house: ToyGateway) -> ClientConnection:
    await until(lambda: len(house.listener.connections) == 1)
    return next(iter(house.listener.connections))


async def test_a_body_that_trickles_is_cut_off_at_its_total_time() -> None:
    async with gateway(say) as house, client(house.port) as caller:
        await caller.send(POST + b"content-length: 1000\r\n\r\n")
        connection = await only_connection(house)
        await until(lambda: connection.deadline == 1030.0)
        for _ in range(9):
            house.clock.now += 29
            await caller.send(b"x")
            await until(lambda: connection.deadline == house.clock.now + 30)
            house.listener.look()
        house.clock.now += 29
        await caller.send(b"x")
        await until(lambda: connection.deadline == 1300.0)
        house.clock.now = 1300.1
        house.listener.look()
        assert (await caller.rest()).startswith(b"HTTP/1.1 408 ")


async def test_an_idle_connection_is_closed_after_the_keepalive_time() -> None:
    async with gateway(say) as house, client(house.port) as caller:
        await caller.ask("GET", "/")
        (connection,) = house.listener.connections
        await until(lambda: connection.is_idle)
        house.clock.now += 74.9
        house.listener.look()
        await caller.ask("GET", "/")
        await until(lambda: connection.is_idle)
        house.clock.now += 75.1
        house.listener.look()
        assert await caller.rest() == b""


async def test_a_client_that_stops_reading_is_cut_off() -> None:
    ended: list[str] = []

    def flood(request: Request) -> Flow[Outcome]:
        yield from Start(Head(200, ()))
        try:
            while True:
                yield from Send(b"x" * 65536)
        except ClientGone:
            ended.append("gone")
        return Done(499)

    async with gateway(flood) as house, client(house.port) as caller:
        await caller.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        connection = await only_connection(house)
        await anyio.wait_all_tasks_blocked()
        assert house.clock.now + 60 < connection.deadline < house.clock.now + 190
        house.clock.now = connection.deadline + 1
        house.listener.look()
        await until(lambda: ended == ["gone"])
        await until(lambda: not house.listener.connections)
        assert [record.status for record in house.records] == [499]


async def test_an_exchange_that_takes_long_has_no_client_deadline() -> None:
    go = anyio.Event()

    async def slow(visit: Visit) -> None:
        await visit.request()
        await go.wait()
        await visit.answer(b"at last")

    async with toy_upstream(slow) as toy, gateway(relay(toy.url)) as house, client(house.port) as caller:
        await caller.post("GET", "/")
        await until(lambda: len(toy.requests) == 1)
        house.clock.now += 10_000
        house.listener.look()
        go.set()
        assert (await caller.answer()).body == b"at last"


async def test_the_sweeper_looks_at_the_deadlines() -> None:
    async with gateway(say, Limits(sweep=0.01)) as house, client(house.port) as caller:
        await until(lambda: len(house.listener.connections) == 1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(house.listener.sweep)
            house.clock.now += 11
            assert await caller.rest() == b""
            tasks.cancel_scope.cancel()
