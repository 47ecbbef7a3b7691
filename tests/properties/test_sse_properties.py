"""Server-sent events: the decoder against a slow one that follows the text of the standard step by step."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from core.wire.sse import Decoder, Frame, comment, encode

LINE_ENDS = [b"\n", b"\r", b"\r\n"]

#: Pieces that streams are made of; joined at random they form every construct there is, and all ways to break it.
PIECES = st.sampled_from(
    [
        *LINE_ENDS,
        b"\n\n",
        b"\r\n\r\n",
        b"data: ",
        b"data:",
        b"data",
        b"event: ",
        b"event:",
        b"event",
        b"id: 1",
        b": comment",
        b":",
        b" ",
        b"x",
        b'{"a":1}',
        b"data: {}\n\n",
        b"event: x\ndata: {}\n\n",
        b"\xef\xbb\xbf",
        b"\xef",
        "\u2028é".encode(),
        b"\x00",
    ]
)
STREAMS = st.one_of(st.lists(PIECES, max_size=40).map(b"".join), st.binary(max_size=60))
CUTS = st.lists(st.integers(0, 400), max_size=8)


def reference(stream: bytes) -> list[tuple[bytes, bytes]]:
    """The standard's algorithm, one byte at a time; at the end of the stream an unfinished line and frame count as finished."""
    stream = stream.removeprefix(b"\xef\xbb\xbf")
    lines: list[bytes] = []
    line = b""
    at = 0
    while at < len(stream):
        byte = stream[at : at + 1]
        at += 1
        if byte == b"\r" and stream[at : at + 1] == b"\n":
            at += 1
        if byte in (b"\r", b"\n"):
            lines.append(line)
            line = b""
        else:
            line += byte
    events: list[tuple[bytes, bytes]] = []
    event, data, seen = b"", b"", False
    for text in [*lines, line, b""]:
        if text == b"":
            if seen:
                events.append((event, data[:-1]))
            event, data, seen = b"", b"", False
            continue
        if text[:1] == b":":
            continue
        colon = text.find(b":")
        field, value = (text, b"") if colon < 0 else (text[:colon], text[colon + 1 :])
        if value[:1] == b" ":
            value = value[1:]
        if field == b"event":
            event = value
        elif field == b"data":
            data += value + b"\n"
            seen = True
    return events


def decode(stream: bytes, cuts: list[int]) -> list[Frame]:
    decoder = Decoder()
    places = [0, *sorted(cuts), max([len(stream), *cuts])]
    frames = [frame for a, b in pairwise(places) for frame in decoder.feed(stream[a:b])]
    return frames + decoder.close()


@given(STREAMS, CUTS)
def test_any_stream_cut_anywhere_is_read_as_the_standard_says(stream: bytes, cuts: list[int]) -> None:
    assert [(frame.event, frame.data) for frame in decode(stream, cuts)] == reference(stream)


@given(STREAMS)
def test_any_stream_is_read_the_same_byte_by_byte(stream: bytes) -> None:
    expected = reference(stream)
    assert [(frame.event, frame.data) for frame in decode(stream, list(range(len(stream))))] == expected


@given(STREAMS, CUTS)
def test_relaying_raw_frames_loses_nothing(stream: bytes, cuts: list[int]) -> None:
    relayed = b"".join(frame.raw + b"\n\n" for frame in decode(stream, cuts))
    assert reference(relayed) == reference(stream)


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=10), st.binary(max_size=10))), CUTS)
def test_what_is_encoded_is_decoded(frames: list[tuple[bytes, bytes, bytes]], cuts: list[int]) -> None:
    frames = [(data, event.replace(b"\r", b"").replace(b"\n", b""), note) for data, event, note in frames]
    stream = b"".join(comment(note) + encode(data, event) for data, event, note in frames)
    expected = [(event, data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")) for data, event, _ in frames]
    assert [(frame.event, frame.data) for frame in decode(stream, cuts)] == expected
