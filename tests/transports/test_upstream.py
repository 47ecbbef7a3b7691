"""Calls upstream over real sockets: what is sent, what comes back, and what happens when it does not."""

from __future__ import annotations

import zlib
from pathlib import Path

import anyio
import pytest

from core.effects import Deadlines, UpstreamRequest
from core.errors import UpstreamFailed, UpstreamGarbled, UpstreamTimeout
from tests.transports.toys import CHUNKED, LAST_CHUNK, LOOPS, Visit, chunk, plain, post, toy_upstream, until, upstream
from transports.upstream import Call, Census, PoolLimits

pytestmark = pytest.mark.anyio

CERTIFICATE = Path(__file__).parent / "data" / "localhost.pem"
LIMITLESS = Deadlines(0, 0, 0, 0)


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


async def whole(call: Call) -> bytes:
    """The rest of the body."""
    body = b""
    while part := await call.read():
        body += part
    return body


# ---------------------------------------------------------------------------------------------------------- requests


async def test_a_request_arrives_with_its_host_its_length_and_no_wish_for_compression() -> None:
    async with toy_upstream() as toy, upstream() as client:
        request = UpstreamRequest(
            "POST",
            f"{toy.url}/v1/messages?beta=true",
            ((b"x-api-key", b"k"), (b"accept-encoding", b"br"), (b"connection", b"close"), (b"x-note", b"a\r\nb")),
            b"hello",
        )
        head, body = await client.fetch(request, 5)
        assert (head.status, body) == (200, b"hello")
        lines = toy.requests[0].split(b"\r\n")
        assert lines[0] == b"POST /v1/messages?beta=true HTTP/1.1"
        assert sorted(lines[1:]) == sorted(
            [b"host: 127.0.0.1:%d" % toy.port, b"x-api-key: k", b"x-note: a??b", b"accept-encoding: identity", b"content-length: 5"]
        )


async def test_a_GET_has_no_body_and_no_length() -> None:
    async with toy_upstream() as toy, upstream() as client:
        await client.fetch(UpstreamRequest("GET", toy.url, (), b""), 5)
        assert toy.requests[0].startswith(b"GET / HTTP/1.1\r\n")
        assert b"content-length" not in toy.requests[0]


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    async def redirect(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")
        await visit.left()

    async with toy_upstream(redirect) as toy, upstream() as client:
        head, body = await client.fetch(post(toy.url), 5)
        assert (head.status, head.get(b"location"), body) == (307, b"http://127.0.0.1:1/", b"")
        assert len(toy.visits) == 1


async def test_header_names_come_in_lower_case_and_values_printable() -> None:
    async def odd(visit: Visit) -> None:
        await visit.request()
        await visit.answer(b"", b"X-Odd: \xe9\x01")

    async with toy_upstream(odd) as toy, upstream() as client:
        head, _ = await client.fetch(post(toy.url), 5)
        assert head.headers == ((b"content-length", b"0"), (b"x-odd", b"??"))


@pytest.mark.parametrize("url", ["ftp://x/", "http://", "x"])
async def test_an_address_that_is_not_http_is_a_bug_of_the_caller(url: str) -> None:
    async with upstream() as client:
        with pytest.raises(ValueError, match="http or https"):
            await client.fetch(post(url), 5)


# ----------------------------------------------------------------------------------------------------------- reading


async def test_a_read_brings_all_that_has_arrived() -> None:
    async def burst(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED + b"".join(chunk(b"%d;" % n) for n in range(300)) + LAST_CHUNK)
        await visit.left()

    async with toy_upstream(burst) as toy, upstream() as client:
        call = client.call()
        assert await call.open(post(toy.url), LIMITLESS) is not None
        assert call.ready
        assert await call.read() == b"".join(b"%d;" % n for n in range(300))
        assert await call.read() == b""
        assert await call.read() == b""
        assert client.census == Census(busy=0, idle=1, waiting=0)


async def test_silence_is_an_answer_and_the_stream_goes_on_undamaged() -> None:
    go = [anyio.Event() for _ in range(3)]

    async def slow(visit: Visit) -> None:
        await visit.request()
        await go[0].wait()
        await visit.send(CHUNKED + b"5\r\nhe")
        await go[1].wait()
        await visit.send(b"llo\r\n6\r\n wor")
        await go[2].wait()
        await visit.send(b"ld\r\n0\r\n\r\n")
        await visit.left()

    async with toy_upstream(slow) as toy, upstream() as client:
        call = client.call()
        assert await call.open(post(toy.url), LIMITLESS, idle=0.01) is None
        assert await call.wait(idle=0.01) is None
        go[0].set()
        head = await call.wait()
        assert head is not None
        received = b""
        for event in go[1:]:
            while (data := await call.read(idle=0.01)) is not None:
                received += data
            event.set()
        assert received + await whole(call) == b"hello world"
        assert client.census.idle == 1


async def test_a_slow_reader_stops_the_upstream() -> None:
    sent = 0

    async def endless(visit: Visit) -> None:
        nonlocal sent
        await visit.request()
        await visit.send(CHUNKED)
        while True:
            await visit.send(chunk(b"x" * 65536))
            sent += 65536

    async with toy_upstream(endless) as toy, upstream() as client:
        call = client.call()
        await call.open(post(toy.url), LIMITLESS)
        await anyio.wait_all_tasks_blocked()
        filled = sent  # the kernel's buffers are full
        assert filled < 30_000_000
        while sent == filled:
            data = await call.read()
            assert data is not None
            assert len(data) <= 64 * 1024
        await call.release()


@pytest.mark.parametrize("ending", [b"", b"0\r\n"])
async def test_an_answer_that_is_cut_is_a_failure_and_no_end(ending: bytes) -> None:
    async def cut(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED + chunk(b"half") + ending)

    async with toy_upstream(cut) as toy, upstream() as client:
        call = client.call()
        await call.open(post(toy.url), LIMITLESS)
        with pytest.raises(UpstreamFailed, match=r"^the upstream: the connection was closed before the answer was complete$") as caught:
            await whole(call)
        assert caught.value.phase == "body"
        await call.release()
        assert client.census == Census(0, 0, 0)


@pytest.mark.parametrize(
    ("part", "phase"),
    [
        pytest.param(b"", "head", id="before the head"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-", "head", id="in the head"),
        pytest.param(plain(b"whole")[:-2], "body", id="in the body"),
        pytest.param(CHUNKED + chunk(b"data: x\n\n"), "body", id="in a stream"),
    ],
)
@pytest.mark.parametrize("when", ["at once", "while we wait", "before we look"])
async def test_a_reset_is_a_failure_that_frees_its_place(part: bytes, phase: str, when: str) -> None:
    now, gone = anyio.Event(), anyio.Event()

    async def die(visit: Visit) -> None:
        await visit.request()
        await visit.send(part)
        if when != "at once":
            await now.wait()
        await visit.reset()
        gone.set()

    async def go(call: Call) -> None:
        head = await call.open(post(toy.url), LIMITLESS, 0.02)
        now.set()
        if when == "before we look":
            await gone.wait()
        while head is None:
            head = await call.wait()
        await whole(call)

    async with toy_upstream(die) as toy, upstream(PoolLimits(total=1)) as client:
        for _ in range(3):  # a place that is not given back leaves none for the next
            now, gone = anyio.Event(), anyio.Event()
            call = client.call()
            with pytest.raises(UpstreamFailed, match="connection reset") as caught:
                await go(call)
            if when != "at once":  # then it may take with it what was sent before
                assert caught.value.phase == phase
            await call.release()
            assert client.census == Census(0, 0, 0)
        assert len(toy.requests) == 3


async def test_a_place_is_free_whatever_goes_wrong_in_letting_go_of_it() -> None:
    async def stream(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED + chunk(b"x"))
        await visit.left()

    async def broken() -> bytes:
        raise ZeroDivisionError

    async with toy_upstream(stream) as toy, upstream() as client:
        call = client.call()
        await call.open(post(toy.url), LIMITLESS)
        await call.read()
        assert call._link is not None
        call._link.socket.is_readable = lambda: True  # type: ignore[method-assign]
        call._link.socket.receive = broken  # type: ignore[method-assign]
        with pytest.raises(ZeroDivisionError):
            await call.release()
        assert client.census == Census(0, 0, 0)


@pytest.mark.parametrize("garbage", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", CHUNKED + b"zz\r\n"])
async def test_what_is_not_HTTP_is_garbled(garbage: bytes) -> None:
    async def odd(visit: Visit) -> None:
        await visit.request()
        await visit.send(garbage)
        await visit.left()

    async with toy_upstream(odd) as toy, upstream() as client:
        with pytest.raises(UpstreamGarbled, match="not valid HTTP"):
            await client.fetch(post(toy.url), 5)
        assert client.census == Census(0, 0, 0)


async def test_an_early_refusal_is_heard_although_the_body_was_not_taken() -> None:
    async def refuse(visit: Visit) -> None:
        await visit.stream.receive(100)
        await visit.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
        await visit.left()

    async with toy_upstream(refuse) as toy, upstream() as client:
        head, body = await client.fetch(post(toy.url, b"x" * 3_000_000), 5)
        assert (head.status, body) == (413, b"no")
        assert client.census == Census(0, 0, 0)


def compressed(data: bytes, bits: int) -> bytes:
    machine = zlib.compressobj(wbits=bits)
    return machine.compress(data) + machine.flush()


@pytest.mark.parametrize(("coding", "bits"), [(b"gzip", 31), (b"deflate", 15), (b"deflate", -15)])
async def test_a_compressed_answer_that_comes_anyway_is_decoded(coding: bytes, bits: int) -> None:
    text = b'{"text": "hello hello hello"}' * 10

    async def squeeze(visit: Visit) -> None:
        await visit.request()
        await visit.answer(compressed(text, bits), b"content-encoding: " + coding)
        await visit.left()

    async with toy_upstream(squeeze) as toy, upstream() as client:
        head, body = await client.fetch(post(toy.url), 5)
        assert body == text
        assert head.get(b"content-encoding") is None
        assert head.get(b"content-length") is None


# --------------------------------------------------------------------------------------------------------- deadlines


async def test_an_upstream_that_never_answers_meets_the_first_byte_deadline() -> None:
    async def silent(visit: Visit) -> None:
        await visit.request()
        await visit.left()

    async with toy_upstream(silent) as toy, upstream() as client:
        call = client.call()
        with pytest.raises(UpstreamTimeout, match=r"no answer within 0\.05 s") as caught:
            await call.open(post(toy.url), Deadlines(first_byte=0.05))
        assert caught.value.phase == "head"
        await call.release()
        assert client.census == Census(0, 0, 0)


async def test_a_head_alone_does_not_satisfy_the_first_byte_deadline_and_pings_do_not_stop_it() -> None:
    async def head_only(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED)
        await visit.left()

    async with toy_upstream(head_only) as toy, upstream() as client:
        call = client.call()
        assert await call.open(post(toy.url), Deadlines(first_byte=0.1)) is not None
        silences: list[bytes | None] = []

        async def wait_on() -> None:
            while True:
                silences.append(await call.read(idle=0.03))

        with pytest.raises(UpstreamTimeout, match=r"no answer within 0\.1 s") as caught:
            await wait_on()
        assert set(silences) == {None}  # how many fit in depends on the machine; that there were some does not
        assert caught.value.phase == "body"
        await call.release()


async def test_a_stall_meets_the_gap_deadline() -> None:
    async def stall(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED + chunk(b"one"))
        await visit.left()

    async with toy_upstream(stall) as toy, upstream() as client:
        call = client.call()
        await call.open(post(toy.url), Deadlines(gap=0.05))
        with pytest.raises(UpstreamTimeout, match=r"silent for 0\.05 s in the middle of its answer"):
            await whole(call)
        await call.release()


async def test_a_trickle_meets_the_total_deadline() -> None:
    async def trickle(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED)
        while True:
            await visit.send(chunk(b"."))
            await anyio.lowlevel.checkpoint()

    async with toy_upstream(trickle) as toy, upstream() as client:
        call = client.call()
        await call.open(post(toy.url), Deadlines(total=0.0999693))
        with pytest.raises(UpstreamTimeout, match=r"no complete answer within 0\.1 s"):
            await whole(call)
        await call.release()


async def test_a_request_that_is_not_taken_meets_the_first_byte_deadline() -> None:
    async def deaf(visit: Visit) -> None:
        await anyio.sleep_forever()

    async with toy_upstream(deaf, small_buffer=True) as toy, upstream() as client:
        call = client.call()
        with pytest.raises(UpstreamTimeout) as caught:
            await call.open(post(toy.url, b"x" * 20_000_000), Deadlines(first_byte=0.1))
        assert caught.value.phase == "send"
        await call.release()
        assert client.census == Census(0, 0, 0)


async def test_waiting_for_a_connection_counts_as_connecting() -> None:
    async with toy_upstream() as toy, upstream(PoolLimits(total=1)) as client:
        holder = await client.pool_of(toy.url).take()
        with pytest.raises(UpstreamTimeout, match=r"no connection within 0\.05 s") as caught:
            await client.call().open(post(toy.url), Deadlines(connect=0.05))
        assert caught.value.phase == "connect"
        assert client.census == Census(busy=1, idle=0, waiting=0)
        await client.pool_of(toy.url).drop(holder)


# --------------------------------------------------------------------------------------- silence before the request is sent


async def test_silence_while_connecting_is_an_answer_and_connecting_goes_on() -> None:
    async with toy_upstream() as toy, upstream(PoolLimits(total=1)) as client:
        holder = await client.pool_of(toy.url).take()
        call = client.call()
        assert await call.open(post(toy.url, b"hello"), LIMITLESS, idle=0.01) is None
        assert await call.wait(idle=0.01) is None
        await client.pool_of(toy.url).drop(holder)
        head = await call.wait(idle=5)
        assert head is not None
        assert await whole(call) == b"hello"
        assert client.census == Census(busy=0, idle=1, waiting=0)


async def test_silence_while_a_handshake_hangs_does_not_move_its_deadline() -> None:
    async def mute(visit: Visit) -> None:
        await visit.left()

    async with toy_upstream(mute) as toy, upstream() as client:
        call = client.call()
        silences: list[object] = [await call.open(post(toy.url.replace("http", "https")), Deadlines(connect=0.1), idle=0.02)]

        async def wait_on() -> None:
            while True:
                silences.append(await call.wait(idle=0.02))

        with pytest.raises(UpstreamTimeout, match=r"no connection within 0\.1 s") as caught:
            await wait_on()
        assert set(silences) == {None}
        assert caught.value.phase == "connect"
        await call.release()
        assert client.census == Census(0, 0, 0)


async def test_silence_while_the_body_is_not_taken_is_an_answer_and_sending_goes_on() -> None:
    go, body = anyio.Event(), b"x" * 20_000_000

    async def late(visit: Visit) -> None:
        await visit.answer(await visit.request())
        await go.wait()
        await visit.answer(b"%d" % len(await visit.request()))
        await visit.left()

    async with toy_upstream(late) as toy, upstream() as client:
        assert (await client.fetch(post(toy.url), 5))[1] == b"{}"
        call = client.call()
        assert await call.open(post(toy.url, body), LIMITLESS, idle=0.01) is None
        go.set()
        assert await call.wait() is not None
        assert await whole(call) == b"20000000"
        assert (len(toy.visits), client.census) == (1, Census(0, 1, 0))


async def test_what_fails_while_connecting_fails_the_call_that_may_be_told_of_silence() -> None:
    async with toy_upstream() as gone:
        port = gone.port
    async with upstream() as client:
        call = client.call()
        with pytest.raises(UpstreamFailed, match="refused") as caught:
            await call.open(post(f"http://127.0.0.1:{port}/"), LIMITLESS, idle=5)
        assert caught.value.phase == "connect"
        assert client.census == Census(0, 0, 0)


async def test_releasing_a_call_that_connects_leaves_nothing_behind() -> None:
    async with toy_upstream() as toy, upstream(PoolLimits(total=1)) as client:
        holder = await client.pool_of(toy.url).take()
        call = client.call()
        assert await call.open(post(toy.url), LIMITLESS, idle=0.01) is None
        assert client.census == Census(busy=1, idle=0, waiting=1)
        await call.release()
        assert client.census == Census(busy=1, idle=0, waiting=0)
        with pytest.raises(RuntimeError, match="without having opened one"):
            await call.wait()
        await client.pool_of(toy.url).give(holder)


async def test_an_interrupted_call_connects_no_longer() -> None:
    async with toy_upstream() as toy, upstream(PoolLimits(total=1)) as client:
        holder = await client.pool_of(toy.url).take()
        call = client.call()
        assert await call.open(post(toy.url), LIMITLESS, idle=0.01) is None
        await call.interrupt()
        with pytest.raises(UpstreamFailed, match="shutting down") as caught:
            await call.wait()
        assert (caught.value.code, caught.value.phase) == ("draining", "connect")
        assert client.census == Census(busy=1, idle=0, waiting=0)
        await client.pool_of(toy.url).drop(holder)


# ------------------------------------------------------------------------------------------------- leaving and ending


async def test_releasing_a_call_closes_its_socket() -> None:
    seen: list[str] = []

    async def watch(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED + chunk(b"x"))
        await visit.left()
        seen.append("left")

    async with toy_upstream(watch) as toy, upstream() as client:
        call = client.call()
        await call.open(post(toy.url), LIMITLESS)
        await call.release()
        await until(lambda: seen == ["left"])
        assert client.census == Census(0, 0, 0)


async def test_an_interrupted_call_fails_at_once_and_for_good() -> None:
    async def silent(visit: Visit) -> None:
        await visit.request()
        await visit.left()

    async with toy_upstream(silent) as toy, upstream() as client:
        call = client.call()

        async def interrupt() -> None:
            await until(lambda: len(toy.requests) == 1)
            await call.interrupt()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(interrupt)
            with pytest.raises(UpstreamFailed, match="shutting down") as caught:
                await call.open(post(toy.url), LIMITLESS)
            assert caught.value.code == "draining"
        with pytest.raises(UpstreamFailed, match="shutting down"):
            await call.open(post(toy.url), LIMITLESS)
        assert len(toy.requests) == 1
        await call.release()
        assert client.census == Census(0, 0, 0)


async def test_reading_without_an_answer_is_a_bug_of_the_caller() -> None:
    async with upstream() as client:
        with pytest.raises(RuntimeError, match="without having opened one"):
            await client.call().read()


async def test_a_fetched_answer_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transports.upstream.client._MAX_FETCHED", 10)

    async def large(visit: Visit) -> None:
        await visit.request()
        await visit.send(plain(b"x" * 11))
        await visit.left()

    async with toy_upstream(large) as toy, upstream() as client:
        with pytest.raises(UpstreamGarbled, match="larger than 10 bytes"):
            await client.fetch(post(toy.url), 5)
