"""Merged chunks say the same as the chunks that came."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transports.toys import LAST_CHUNK, chunk
from transports.upstream.chunks import Merger


def decoded(pieces: list[bytes]) -> tuple[bytes, str]:
    """What h11 makes of a chunked body that arrives in ``pieces``: the data, and how it ended."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    assert isinstance(connection.next_event(), h11.Response)
    data = b""
    try:
        for piece in [*pieces, b""]:
            connection.receive_data(piece)
            while (event := connection.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.EndOfMessage):
                    return data, "end"
                assert isinstance(event, h11.Data)
                data += bytes(event.data)
    except h11.RemoteProtocolError:
        return data, "refused"
    raise AssertionError("neither an end nor a refusal")


def merged(pieces: list[bytes]) -> list[bytes]:
    machine = Merger()
    return [piece for piece in [*map(machine.feed, pieces), machine.close()] if piece]


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    pieces = []
    for size in cuts:
        pieces.append(data[:size])
        data = data[size:]
    return [piece for piece in [*pieces, data] if piece]


PAYLOADS = st.lists(st.binary(min_size=1, max_size=20) | st.sampled_from([b"\r\n", b"0\r\n\r\n", b"5\r\n"]), max_size=8)
CUTS = st.lists(st.integers(1, 12), max_size=20)


@given(payloads=PAYLOADS, cuts=CUTS, ending=st.sampled_from([LAST_CHUNK, b"000\r\n\r\n", b"0\r\nx: y\r\n\r\n"]))
def test_a_body_is_the_same_however_it_is_cut(payloads: list[bytes], cuts: list[int], ending: bytes) -> None:
    body = b"".join(map(chunk, payloads)) + ending
    assert decoded(merged(cut(body, cuts))) == (b"".join(payloads), "end")


@given(
    payloads=PAYLOADS,
    cuts=CUTS,
    garbage=st.binary(max_size=12)
    | st.sampled_from([b"5;x=y\r\nhello\r\n", b"5\nhello", b"5\r\nhelloXX", b"-1\r\n", b" 5\r\n", b"ffffffffff\r\n", b"5 \r\nhello\r\n"]),
)
def test_what_is_not_a_chunk_is_judged_by_h11_as_if_it_had_come_alone(payloads: list[bytes], cuts: list[int], garbage: bytes) -> None:
    body = b"".join(map(chunk, payloads)) + garbage
    assert decoded(merged(cut(body, cuts))) == decoded(cut(body, cuts))


def test_what_arrives_together_leaves_as_one_chunk() -> None:
    burst = b"".join(chunk(b"data: %d\n\n" % number) for number in range(100, 400))
    text = b"".join(b"data: %d\n\n" % number for number in range(100, 400))
    assert Merger().feed(burst + LAST_CHUNK) == chunk(text) + LAST_CHUNK


@pytest.mark.parametrize("end", range(1, 16))
def test_merging_goes_on_after_a_chunk_that_came_in_two_parts(end: int) -> None:
    body = b"b\r\nhello world\r\n"
    machine = Merger()
    passed = machine.feed(body[:end])
    passed += machine.feed(body[end:] + chunk(b"one") + chunk(b"two"))
    assert passed.removeprefix(body) in (chunk(b"onetwo"), chunk(b"hello worldonetwo"))


@pytest.mark.parametrize("end", range(1, 14))
def test_no_byte_of_a_chunk_is_held_back_but_those_of_an_unfinished_size(end: int) -> None:
    body = b"b\r\nhello world\r\n"
    machine = Merger()
    passed = machine.feed(body[:end])
    assert passed == (b"" if end < 3 else body[:end])
    assert passed + machine.feed(body[end:]) == body
