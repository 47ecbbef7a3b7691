"""What exchanges meet in the listener: clients that leave at any moment, bugs, silence, slow readers, background work, the end."""

from __future__ import annotations

import logging
import re

import anyio
import pytest

from core.effects import Compute, Deadlines, Fetch, Flow, Head, Inspect, Load, Open, Request, Send, Spawn, Start, Store, Vitals
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
from transports.listener import Outcome, Totals
from transports.upstream import Census

pytestmark = pytest.mark.anyio

POST = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\n"


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


# --------------------------------------------------------------------------------------------------------------- log


async def test_what_an_exchange_notes_is_information_and_its_alarms_are_logged_as_such(caplog: pytest.LogCaptureFixture) -> None:
    def alarmed(request: Request) -> Flow[Outcome]:
        yield from Start(Head(204, ()))
        return Done(204, "well", notes=["noted"], alarms=[("warning", "look here"), ("error", "look at once")])

    caplog.set_level(logging.INFO)
    async with gateway(alarmed) as house, client(house.port) as caller:
        await caller.ask("GET", "/")
    lines = [(found.levelname, found.getMessage().split(" ", 1)[1]) for found in caplog.records if found.getMessage().startswith("req_")]
    assert lines == [("INFO", "noted"), ("WARNING", "look here"), ("ERROR", "look at once"), ("INFO", "204 well")]


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
