"""Clients on real sockets: connections kept and reused, refusals, and what leaving at any moment sets off."""

from __future__ import annotations

import re

import anyio
import pytest

from core.effects import Compute, Deadlines, Fetch, Flow, Head, Inspect, Load, Open, Read, Request, Send, Spawn, Start, Store, Vitals
from core.errors import ClientGone
from tests.transports.toys import (
    CHUNKED,
    LAST_CHUNK,
    Done,
    Visit,
    chunk,
    client,
    gateway,
    post,
    relay,
    say,
    toy_upstream,
    until,
)
from transports.listener import Limits, Outcome, Totals
from transports.upstream import Census

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
    ("sent", "seconds"),
    [(POST, 10.1), (POST + b"content-length: 5\r\n\r\nhe", 30.1), (POST + b"transfer-encoding: chunked\r\n\r\n5\r\nhe", 30.1)],
)
async def test_a_request_that_stops_coming_is_answered_408(sent: bytes, seconds: float) -> None:
    async with gateway(say) as house, client(house.port) as caller:
        await caller.send(sent)
        connection = await only_connection(house.listener.connections)
        before = connection.deadline
        await until(lambda: connection.deadline != before or seconds == 10.1)
        await anyio.wait_all_tasks_blocked()
        house.clock.now += seconds - 0.2
        house.listener.look()
        house.clock.now += 0.2
        house.listener.look()
        answer = await caller.rest()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert answer.endswith(b"/v1/messages request_timeout the request did not arrive in time") or seconds == 10.1


async def only_connection(connections: set[object]) -> object:
    await until(lambda: len(connections) == 1)
    return next(iter(connections))


async def test_a_body_that_trickles_is_cut_off_at_its_total_time() -> None:
    async with gateway(say) as house, client(house.port) as caller:
        await caller.send(POST + b"content-length: 1000\r\n\r\n")
        connection = await only_connection(house.listener.connections)
        for step in range(1, 12):
            due = connection.deadline
            await caller.send(b"x")
            if step < 11:
                await until(lambda due=due: connection.deadline > due or due >= 1300.0)
            house.clock.now += 28.0
            house.listener.look()
        assert (await caller.rest()).startswith(b"HTTP/1.1 408 ")


async def test_an_idle_connection_is_closed_after_the_keepalive_time() -> None:
    async with gateway(say) as house, client(house.port) as caller:
        await caller.ask("GET", "/")
        house.clock.now += 74.9
        house.listener.look()
        await caller.ask("GET", "/")
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
        connection = await only_connection(house.listener.connections)
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


# ------------------------------------------------------------------------------------------------------------ leaving


@pytest.mark.parametrize("sent", [b"", CHUNKED, CHUNKED + chunk(b"data: 1\n\n"), b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"])
async def test_a_client_that_leaves_closes_the_upstream_at_once_and_leaves_a_record(sent: bytes) -> None:
    left = anyio.Event()

    async def watch(visit: Visit) -> None:
        await visit.request()
        if sent:
            await visit.send(sent)
        waiting.set()
        await visit.left()
        left.set()

    waiting = anyio.Event()
    async with toy_upstream(watch) as toy, gateway(relay(toy.url)) as house, client(house.port) as caller:
        await caller.post("POST", "/v1/messages", b"{}")
        await waiting.wait()
        if chunk(b"data: 1\n\n") in sent:
            await caller.receive_until(b"data: 1\n\n\r\n")
        await caller.leave()
        with anyio.fail_after(0.1):
            await left.wait()
        await until(lambda: not house.listener.connections)
        assert [record.status for record in house.records] == [499]
        assert house.upstream.census == Census(0, 0, 0)


async def test_a_client_that_leaves_while_something_is_computed_does_not_wait_for_it() -> None:
    import threading  # noqa: PLC0415

    entered, finish = threading.Event(), threading.Event()

    def heavy() -> None:
        entered.set()
        finish.wait(5)

    def compute(request: Request) -> Flow[Outcome]:
        try:
            yield from Compute(heavy)
        except ClientGone:
            return Done(499)
        return Done(200)

    async with gateway(compute) as house, client(house.port) as caller:
        await caller.post("GET", "/")
        await until(entered.is_set)
        await caller.leave()
        await until(lambda: not house.listener.connections)
        assert [record.status for record in house.records] == [499]
        finish.set()


async def test_many_clients_that_leave_anywhere_leave_nothing_behind() -> None:
    async def chatter(visit: Visit) -> None:
        while True:
            await visit.request()
            await visit.send(CHUNKED)
            for _ in range(5):
                await visit.send(chunk(b"data: x\n\n"))
                await anyio.lowlevel.checkpoint()
            await visit.send(LAST_CHUNK)

    async with toy_upstream(chatter) as toy, gateway(relay(toy.url)) as house:

        async def visit(patience: int) -> None:
            async with client(house.port) as caller:
                await caller.post("POST", "/v1/messages", b"{}")
                for _ in range(patience):
                    await anyio.lowlevel.checkpoint()

        for patience in range(0, 120, 3):
            async with anyio.create_task_group() as tasks:
                for number in range(5):
                    tasks.start_soon(visit, patience + number)
        await until(lambda: not house.listener.connections)
        assert house.upstream.census.busy == 0
        assert {record.status for record in house.records} <= {200, 499}
        async with client(house.port) as caller:
            assert (await caller.ask("POST", "/v1/messages", b"{}")).body == b"data: x\n\n" * 5


async def test_a_flow_that_asks_for_more_after_its_client_left_is_a_logged_bug(caplog: pytest.LogCaptureFixture) -> None:
    def stubborn(request: Request) -> Flow[Outcome]:
        try:
            yield from Open(post(toy.url), Deadlines())
        except ClientGone:
            yield from Send(b"still here?")
        return Done(200)

    async def silent(visit: Visit) -> None:
        await visit.request()
        await visit.left()

    async with toy_upstream(silent) as toy, gateway(stubborn) as house, client(house.port) as caller:
        await caller.post("GET", "/")
        await until(lambda: len(toy.requests) == 1)
        await caller.leave()
        await until(lambda: not house.listener.connections)
    assert re.search(r"req_[0-9a-f]{24}: internal error after the client had gone", caplog.text)
    assert "asked for Send after its client had gone" in caplog.text


# -------------------------------------------------------------------------------------------------------------- bugs


async def test_a_bug_before_the_answer_is_a_500_that_names_the_request_and_the_log_has_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    def broken(request: Request) -> Flow[Outcome]:
        yield from Load(b"x")
        raise ZeroDivisionError("secret")

    async with gateway(broken) as house, client(house.port) as caller:
        await caller.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = await caller.rest()
    found = re.search(rb"internal_error internal error; the log has it under (req_[0-9a-f]{24})$", answer)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert found
    assert f"{found[1].decode()}: internal error" in caplog.text
    assert "ZeroDivisionError: secret" in caplog.text


async def test_a_bug_after_the_answer_has_begun_cuts_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    def broken(request: Request) -> Flow[Outcome]:
        yield from Start(Head(200, ()))
        yield from Send(b"half")
        raise ZeroDivisionError

    async with gateway(broken) as house, client(house.port) as caller:
        await caller.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"0\r\n\r\n" not in await caller.rest()
    assert "ZeroDivisionError" in caplog.text


async def test_a_flow_that_answers_nothing_is_a_bug(caplog: pytest.LogCaptureFixture) -> None:
    def mute(request: Request) -> Flow[Outcome]:
        yield from Load(b"x")
        return Done(200)

    async with gateway(mute) as house, client(house.port) as caller:
        await caller.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await caller.rest()).startswith(b"HTTP/1.1 500 ")
    assert "ended without an answer" in caplog.text


async def test_a_broken_answer_ends_the_connection_without_looking_whole() -> None:
    def cut(request: Request) -> Flow[Outcome]:
        yield from Start(Head(200, ((b"content-length", b"10"),)))
        yield from Send(b"half")
        return Done(200, broken=True)

    async with gateway(cut) as house, client(house.port) as caller:
        await caller.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await caller.rest()).endswith(b"content-length: 10\r\n\r\nhalf")


# ------------------------------------------------------------------------------------------------- pings and pressure


async def test_pings_fill_the_silence_before_and_within_a_stream() -> None:
    pinged = [anyio.Event(), anyio.Event()]

    async def slow(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED)
        await pinged[0].wait()
        await visit.send(b"9\r\ndata:")
        await pinged[1].wait()
        await visit.send(b" 1\n\n\r\n" + LAST_CHUNK)

    async with toy_upstream(slow) as toy, gateway(relay(toy.url, idle=0.01)) as house, client(house.port) as caller:
        await caller.send(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        first = await caller.receive_until(b": ping\n\n\r\n")
        pinged[0].set()
        second = await caller.receive_until(b": ping\n\n\r\n")
        pinged[1].set()
        rest = await caller.rest()
        text = re.sub(rb"[0-9a-f]+\r\n(.*?)\r\n", rb"\1", (first + second + rest).partition(b"\r\n\r\n")[2], flags=re.DOTALL)
        assert text.replace(b": ping\n\n", b"").removesuffix(b"\r\n") == b"data: 1\n\n"
        assert (await ended_with(house.records)).status == 200


async def ended_with(records: list[Outcome]) -> Outcome:
    await until(lambda: len(records) == 1)
    return records[0]


async def test_a_slow_client_holds_little_and_stops_the_upstream() -> None:
    sent = 0

    async def endless(visit: Visit) -> None:
        nonlocal sent
        await visit.request()
        await visit.send(CHUNKED)
        while True:
            await visit.send(chunk(b"x" * 65536))
            sent += 65536

    async with toy_upstream(endless) as toy, gateway(relay(toy.url)) as house:
        stream = await anyio.connect_tcp("127.0.0.1", house.port)
        async with stream:
            await stream.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await anyio.wait_all_tasks_blocked()
            stopped = sent
            assert 0 < stopped < 30_000_000
            (connection,) = house.listener.connections
            assert connection.pending <= 64 * 1024
            while sent == stopped:  # it goes on when the client does
                await stream.receive(65536)


# ------------------------------------------------------------------------------------------------------ other effects


async def test_a_flow_sees_how_the_process_is_doing() -> None:
    def inspect(request: Request) -> Flow[Outcome]:
        seen.append((yield from Inspect()))
        yield from Start(Head(204, ()))
        return Done(503 if request.target == "/v1/bad" else 204, endpoint=request.target)

    seen: list[Vitals] = []
    async with gateway(inspect) as house, client(house.port) as caller:
        for target in ("/v1/good", "/v1/bad", "/health", "/v1/good"):
            await caller.ask("GET", target)
        house.listener.draining = True
        await caller.ask("GET", "/health")
    assert [vitals.total_requests for vitals in seen] == [0, 1, 2, 2, 3]
    assert [vitals.requests_last_minute for vitals in seen] == [0, 1, 2, 2, 3]
    assert [vitals.succeeded for vitals in seen] == [0, 1, 1, 1, 2]
    assert [vitals.active_connections for vitals in seen] == [1] * 5
    assert [vitals.draining for vitals in seen] == [False] * 4 + [True]
    assert len({vitals.instance for vitals in seen}) == 1


def test_requests_of_the_last_minute_are_forgotten_second_by_second() -> None:
    totals = Totals(started=0.0, instance="i")
    for moment in (100.0, 100.5, 130.0, 159.9):
        totals.count(200, 0.5, moment)
    recent = [totals.vitals(now, draining=False, active=0).requests_last_minute for now in (159.9, 160.0, 189.9, 190.0, 400.0)]
    assert recent == [4, 2, 2, 1, 0]
    totals.count(200, 0.5, 160.0)
    assert totals.vitals(160.0, draining=False, active=3) == Vitals("i", 0.0, False, 5, 3, 5, 2.5, 3)


async def test_a_background_flow_goes_on_after_the_answer_and_fills_the_cache() -> None:
    def prepare() -> Flow[None]:
        head, body = yield from Fetch(post(toy.url, b"summary"), 5)
        yield from Store(b"key", b"%d %s" % (head.status, body))

    def flow(request: Request) -> Flow[Outcome]:
        stored = yield from Load(b"key")
        if stored is None:
            yield from Spawn(prepare())
        yield from Start(Head(200, ((b"content-length", b"%d" % len(stored or b"")),)))
        yield from Send(stored or b"")
        return Done(200)

    async with toy_upstream() as toy, gateway(flow) as house, client(house.port) as caller:
        assert (await caller.ask("GET", "/")).body == b""
        while not (answer := (await caller.ask("GET", "/")).body):
            pass
        assert answer == b"200 summary"


async def test_a_background_flow_that_answers_or_breaks_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def answering() -> Flow[None]:
        yield from Send(b"x")

    def flow(request: Request) -> Flow[Outcome]:
        yield from Spawn(answering())
        return (yield from say(request))

    async with gateway(flow) as house, client(house.port) as caller:
        assert (await caller.ask("GET", "/")).status == 200
        await until(lambda: "a background flow failed" in caplog.text)
        assert (await caller.ask("GET", "/")).status == 200


# ------------------------------------------------------------------------------------------------------------ the end


async def test_while_draining_new_work_is_refused_and_pages_are_served() -> None:
    async with gateway(say) as house, client(house.port) as caller:
        assert (await caller.ask("POST", "/v1/messages", b"{}")).status == 200
        house.listener.draining = True
        await caller.send(POST + b"content-length: 2\r\n\r\n{}")
        answer = await caller.rest()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"/v1/messages draining" in answer
        async with client(house.port) as other:
            await other.send(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n")
            answer = await other.rest()
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"connection: close" in answer


async def test_closing_the_idle_ones_leaves_running_exchanges_alone() -> None:
    go = anyio.Event()

    async def slow(visit: Visit) -> None:
        await visit.request()
        await go.wait()
        await visit.answer(b"done")

    async with toy_upstream(slow) as toy, gateway(relay(toy.url)) as house, client(house.port) as idle, client(house.port) as busy:
        await busy.post("GET", "/")
        await until(lambda: len(toy.requests) == 1 and len(house.listener.connections) == 2)
        house.listener.draining = True
        house.listener.close_idle()
        assert await idle.rest() == b""
        go.set()
        assert (await busy.answer()).body == b"done"
        assert await busy.rest() == b""
        await house.listener.empty()


async def test_cutting_ends_running_exchanges_with_an_error() -> None:
    async def stall(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED + chunk(b"data: 1\n\n"))
        await visit.left()

    async with toy_upstream(stall) as toy, gateway(relay(toy.url)) as house, client(house.port) as caller:
        await caller.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await caller.receive_until(b"data: 1\n\n\r\n")
        house.listener.draining = True
        await house.listener.cut()
        assert b"shutting down" in await caller.rest()
        await house.listener.empty()
