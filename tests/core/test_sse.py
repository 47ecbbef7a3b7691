"""core/wire/sse.py: one table through every way of cutting it, then the limit, then the writing side."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest

from core.errors import UpstreamGarbled
from core.wire.sse import Decoder, Frame, comment, encode

JSON = b'{"choices":[{"delta":{"content":"hi"}}]}'

#: name, stream, its events. What is not dispatched is not listed.
STREAMS: list[tuple[str, bytes, list[tuple[bytes, bytes]]]] = [
    ("nothing", b"", []),
    ("the openai shape", b"data: " + JSON + b"\n\n", [(b"", JSON)]),
    ("the anthropic shape", b"event: ping\ndata: {}\n\n", [(b"ping", b"{}")]),
    ("both shapes in turn", b"data: 1\n\nevent: x\ndata: 2\n\ndata: 3\n\n", [(b"", b"1"), (b"x", b"2"), (b"", b"3")]),
    ("no space after the colon", b"event:x\ndata:1\n\n", [(b"x", b"1")]),
    ("only one space is dropped", b"event:  x\ndata:  1\n\ndata:   2\n\n", [(b" x", b" 1"), (b"", b"  2")]),
    ("a tab is not a space", b"data:\t1\n\n", [(b"", b"\t1")]),
    ("trailing blanks are data", b"data: 1 \n\n", [(b"", b"1 ")]),
    ("colons in the value", b"data: a: b:c\n\n", [(b"", b"a: b:c")]),
    ("several data lines", b"data: 1\ndata: 2\ndata:3\n\n", [(b"", b"1\n2\n3")]),
    ("event after data", b"data: 1\nevent: x\n\n", [(b"x", b"1")]),
    ("event between data", b"data: 1\nevent: x\ndata: 2\n\n", [(b"x", b"1\n2")]),
    ("data lines under an event", b"event: x\ndata: 1\ndata: 2\n\n", [(b"x", b"1\n2")]),
    ("the last event name counts", b"event: x\nevent: y\ndata: 1\n\n", [(b"y", b"1")]),
    ("an event name can be taken back", b"event: x\nevent\ndata: 1\n\n", [(b"", b"1")]),
    ("event names do not stick", b"event: x\ndata: 1\n\ndata: 2\n\n", [(b"x", b"1"), (b"", b"2")]),
    ("an event without data is none", b"event: x\n\ndata: 1\n\n", [(b"", b"1")]),
    ("empty data is data", b"data:\n\ndata: \n\ndata\n\n", [(b"", b"")] * 3),
    ("empty data lines are lines", b"data\ndata:\ndata: \n\n", [(b"", b"\n\n")]),
    ("comments", b": hello\n\n:\n\ndata: 1\n: in between\ndata: 2\n\n: bye\n\n", [(b"", b"1\n2")]),
    ("comments before the event of a frame", b": OPENROUTER PROCESSING\nevent: x\ndata: 1\n\n", [(b"x", b"1")]),
    ("id, retry and unknown fields", b"id: 7\nretry: 100\nfoo: bar\nfoo\ndata: 1\n\n", [(b"", b"1")]),
    ("field names are exact", b"Data: 1\ndata : 2\n data: 3\ndatax: 4\ndat: 5\nevents: x\ndata: 6\n\n", [(b"", b"6")]),
    ("blank lines in a row", b"\n\n\ndata: 1\n\n\n\n\ndata: 2\n\n\nevent: x\ndata: 3\n\n\n", [(b"", b"1"), (b"", b"2"), (b"x", b"3")]),
    ("a byte order mark", b"\xef\xbb\xbfdata: 1\n\n", [(b"", b"1")]),
    ("a byte order mark and an unfinished frame", b"\xef\xbb\xbfdata: 1\n", [(b"", b"1")]),
    ("nothing but a byte order mark", b"\xef\xbb\xbf", []),
    ("a piece of a byte order mark", b"\xef\xbb", []),
    ("no byte order mark later on", b"data: 1\n\n\xef\xbb\xbfdata: 2\n\n", [(b"", b"1")]),
    ("one byte order mark only", b"\xef\xbb\xbf\xef\xbb\xbfdata: 1\n\n", []),
    (
        "other unicode line ends are text",
        "data: a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\n\n".encode(),
        [(b"", "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg".encode())],
    ),
    ("bytes that are not UTF-8", b"data: \xff\xfe\x00\n\n", [(b"", b"\xff\xfe\x00")]),
    ("crlf", b"event: x\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n", [(b"x", b"1"), (b"", b"2")]),
    ("cr", b"event: x\rdata: 1\r\rdata: 2\r\r", [(b"x", b"1"), (b"", b"2")]),
    (
        "line ends mixed",
        b"data: 1\r\n\ndata: 2\n\r\ndata: 3\r\r\ndata: 4\n\rdata: 5\r\n\rdata: 6\r\n\r\n",
        [(b"", b"%d" % n) for n in range(1, 7)],
    ),
    ("crlf is one line end", b"data: 1\r\ndata: 2\r\n\r\n", [(b"", b"1\n2")]),
    ("cr in a frame of lf", b"data: 1\rdata: 2\n\n", [(b"", b"1\n2")]),
    ("cr in frames behind frames of lf", b"data: 0\n\nevent: x\ndata: 1\rdata: 2\n\n", [(b"", b"0"), (b"x", b"1\n2")]),
    ("without the last blank line", b"data: 1\n\ndata: 2\n", [(b"", b"1"), (b"", b"2")]),
    ("without the last line end", b"data: 1\n\nevent: x\ndata: 2", [(b"", b"1"), (b"x", b"2")]),
    ("without the last line end, crlf", b"data: 1\r\n\r\ndata: 2\r", [(b"", b"1"), (b"", b"2")]),
    ("an unfinished frame without data", b"data: 1\n\nevent: x\n", [(b"", b"1")]),
    ("an unfinished comment", b"data: 1\n\n: x", [(b"", b"1")]),
    ("html", b"<html>\n<body>502: Bad\n\nGateway</body>\n", []),
]


def events(frames: list[Frame]) -> list[tuple[bytes, bytes]]:
    return [(frame.event, frame.data) for frame in frames]


def decode(chunks: list[bytes]) -> list[Frame]:
    decoder = Decoder()
    frames = [frame for chunk in chunks for frame in decoder.feed(chunk)]
    return frames + decoder.close()


def feed(decoder: Decoder, frames: list[Frame], chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        frames += decoder.feed(chunk)


def cut(data: bytes, *places: int) -> list[bytes]:
    return [data[a:b] for a, b in itertools.pairwise((0, *places, len(data)))]


@pytest.mark.parametrize(("stream", "expected"), [row[1:] for row in STREAMS], ids=[row[0] for row in STREAMS])
class TestEveryStream:
    def test_whole(self, stream: bytes, expected: list[tuple[bytes, bytes]]) -> None:
        assert events(decode([stream])) == expected

    def test_byte_by_byte(self, stream: bytes, expected: list[tuple[bytes, bytes]]) -> None:
        assert events(decode([bytes([byte]) for byte in stream])) == expected

    def test_cut_at_any_two_places(self, stream: bytes, expected: list[tuple[bytes, bytes]]) -> None:
        for places in itertools.combinations_with_replacement(range(len(stream) + 1), 2):
            assert events(decode(cut(stream, *places))) == expected, places

    def test_each_frame_decodes_from_its_own_raw_bytes(self, stream: bytes, expected: list[tuple[bytes, bytes]]) -> None:
        for places in itertools.combinations_with_replacement(range(len(stream) + 1), 2):
            frames = decode(cut(stream, *places))
            assert events(decode([frame.raw + b"\n\n" for frame in frames])) == expected, places
            rest = stream
            for frame in frames:  # found in the stream, in this order
                before, found, rest = rest.partition(frame.raw)
                assert found, (places, before)


def test_raw_bytes_put_together_are_the_stream_when_it_holds_nothing_but_frames() -> None:
    for stream in (
        b"data: 1\n\nevent: x\ndata: 2\n\n",
        b": c\ndata:1\nid: 5\n\n",
        b"data: 1\r\n\r\nevent: x\r\ndata: 2\r\n\r\n",
        b"data: 1\r\r",
    ):
        assert b"".join(frame.raw for frame in Decoder().feed(stream)) == stream


def test_a_frame_that_close_gives_out_has_its_bytes_as_received() -> None:
    decoder = Decoder()
    assert decoder.feed(b"\n\nevent: x\r\nda") == []
    assert decoder.feed(b"ta: 2\r") == []
    assert decoder.close() == [Frame(b"x", b"2", b"event: x\r\ndata: 2\r")]
    assert decoder.close() == []


@pytest.mark.parametrize("end", [b"\n\n", b"\r\r", b"\r\n\r", b"\n\r", b"\r\n\n"])
def test_a_frame_comes_out_with_the_byte_that_ends_it(end: bytes) -> None:
    decoder = Decoder()
    stream = b"data: 1" + end
    for byte in stream[:-1]:
        assert decoder.feed(bytes([byte])) == []
    assert decoder.feed(stream[-1:]) == [Frame(b"", b"1", stream)]


def test_the_line_feed_of_a_crlf_that_comes_too_late_for_its_frame_is_swallowed() -> None:
    decoder = Decoder()
    assert decoder.feed(b"data: 1\r\n\r") == [Frame(b"", b"1", b"data: 1\r\n\r")]
    assert decoder.feed(b"\ndata: 2\n") == []
    assert decoder.feed(b"\n") == [Frame(b"", b"2", b"data: 2\n\n")]


def test_empty_chunks_change_nothing() -> None:
    decoder = Decoder()
    assert [decoder.feed(chunk) for chunk in (b"", b"data: 1\n", b"", b"\n", b"")] == [[], [], [], [Frame(b"", b"1", b"data: 1\n\n")], []]


def test_frames_do_not_change() -> None:
    frame = Frame(b"", b"1", b"data: 1\n\n")
    with pytest.raises(AttributeError):
        frame.data = b"2"  # type: ignore[misc]


LONG = b"data: 123456\n"  # 13 bytes


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_a_frame_as_long_as_the_limit_passes(blank: bytes, size: int) -> None:
    stream = (LONG + blank) * 3
    decoder = Decoder(limit=len(LONG))
    frames = [frame for at in range(0, len(stream), size) for frame in decoder.feed(stream[at : at + size])]
    assert events(frames) == [(b"", b"123456")] * 3


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_a_frame_longer_than_the_limit_is_garbage_after_all_frames_before_it(blank: bytes, size: int) -> None:
    stream = b"data: 1\n\ndata: 2\n" + blank + b"event: x\n" + LONG + blank
    decoder = Decoder(limit=len(LONG))
    frames: list[Frame] = []
    with pytest.raises(UpstreamGarbled, match="no blank line within 13 bytes") as caught:
        feed(decoder, frames, (stream[at : at + size] for at in range(0, len(stream) + size, size)))
    assert events(frames) == [(b"", b"1"), (b"", b"2")]
    assert (caught.value.status, caught.value.code) == (502, "invalid_upstream_sse")
    with pytest.raises(UpstreamGarbled):
        decoder.feed(b"data: 3\n\n")
    with pytest.raises(UpstreamGarbled):
        decoder.close()


@pytest.mark.parametrize("chunks", [[LONG + b"\n"], [LONG, b"\n"], [LONG[:5], LONG[5:] + b"\n"], [b": x\n\n" + LONG + b"\n"]])
def test_one_byte_too_many_is_garbage_however_it_comes(chunks: list[bytes]) -> None:
    decoder = Decoder(limit=len(LONG) - 1)
    with pytest.raises(UpstreamGarbled):
        feed(decoder, [], chunks)


def test_a_stream_without_blank_lines_is_given_up_while_it_comes() -> None:
    decoder = Decoder(limit=1000)
    feed(decoder, [], [b"x"] * 1000)
    with pytest.raises(UpstreamGarbled):
        decoder.feed(b"x")
    with pytest.raises(UpstreamGarbled):
        decoder.close()


def test_comments_and_blank_lines_are_not_counted_together() -> None:
    decoder = Decoder(limit=10)
    for _ in range(100):
        assert decoder.feed(b": ping\n\n\n") == []
    assert events(decoder.feed(b"data: 1\n\n" * 100)) == [(b"", b"1")] * 100


def test_the_limit_is_16_mib_unless_told_otherwise() -> None:
    data = b"x" * (16 * 1024 * 1024 - len(b"data: \n"))
    decoder = Decoder()
    stream = encode(data)
    assert decoder.feed(stream[:1000]) + decoder.feed(stream[1000:]) == [Frame(b"", data, stream)]
    with pytest.raises(UpstreamGarbled):
        decoder.feed(encode(data + b"x"))


@pytest.mark.parametrize(
    ("data", "event", "expected"),
    [
        (b"{}", b"", b"data: {}\n\n"),
        (b"{}", b"ping", b"event: ping\ndata: {}\n\n"),
        (b"", b"", b"data: \n\n"),
        (b"a\nb", b"", b"data: a\ndata: b\n\n"),
        (b"a\r\nb\rc\n", b"x", b"event: x\ndata: a\ndata: b\ndata: c\ndata: \n\n"),
    ],
)
def test_encoding(data: bytes, event: bytes, expected: bytes) -> None:
    assert encode(data, event) == expected


@pytest.mark.parametrize("event", [b"a\nb", b"a\r", b"\n"])
def test_an_event_name_cannot_smuggle_lines_in(event: bytes) -> None:
    with pytest.raises(ValueError, match="found a line end"):
        encode(b"{}", event)


def test_comments_are_ignored_whatever_they_say() -> None:
    assert comment(b"ping") == b": ping\n\n"
    assert comment(b"") == b": \n\n"
    assert comment(b"a\ndata: 1\r\n\r\ndata: 2") == b": a\n: data: 1\n: \n: data: 2\n\n"
    assert decode([comment(b"a\ndata: 1\r\n\r\ndata: 2\r")]) == []
