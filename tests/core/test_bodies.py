"""Which bodies are taken, and how a compressed one is opened without becoming a bomb."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bodies import RATIO_MAX, check_body, inflated
from core.errors import BadRequest, Refused, TooLarge, UnsupportedMedia

MOST = 1024 * 1024


@pytest.mark.parametrize(
    ("encodings", "unless_allowed", "if_allowed"),
    [
        ([], False, False),
        ([b""], False, False),
        ([b"identity"], False, False),
        ([b" Identity "], False, False),
        ([b"gzip"], None, True),
        ([b" GZip "], None, True),
        ([b"x-gzip"], None, True),
        ([b"identity", b"gzip"], None, True),
        ([b"gzip", b"gzip"], None, None),
        ([b"gzip, gzip"], None, None),
        ([b"gzip, identity"], None, None),
        ([b"br"], None, None),
        ([b"deflate"], None, None),
        ([b"zstd"], None, None),
        ([b"\xff"], None, None),
    ],
)
def test_gzip_is_taken_once_and_only_where_it_is_allowed(
    encodings: list[bytes], unless_allowed: bool | None, if_allowed: bool | None
) -> None:
    headers = [(b"content-encoding", one) for one in encodings]
    for allowed, expected in ((False, unless_allowed), (True, if_allowed)):
        if expected is not None:
            assert check_body(headers, gzip=allowed) is expected
            continue
        with pytest.raises(UnsupportedMedia) as caught:
            check_body(headers, gzip=allowed)
        assert ("gzip, once" in str(caught.value)) is allowed


@given(st.binary(max_size=5000), st.integers(0, 9))
def test_what_was_compressed_comes_out_again(data: bytes, level: int) -> None:
    assert inflated(gzip.compress(data, level), MOST) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"\x1f",
        b"\x1f\x8b",
        zlib.compress(b"{}"),
        gzip.compress(b"{}")[:-1],
        gzip.compress(b"{}")[:12],
        gzip.compress(b"{}")[:-8] + b"\0" * 8,
        gzip.compress(b"{}") + b"\0",
        gzip.compress(b"{") + gzip.compress(b"}"),
        gzip.compress(b"") * 10_000,
    ],
    ids=map(str, range(11)),
)
def test_what_is_not_one_whole_piece_of_gzip_is_400(data: bytes) -> None:
    error = inflated(data, MOST)
    assert isinstance(error, BadRequest)
    assert (error.status, error.code) == (400, "invalid_request")


@given(st.binary(max_size=200))
def test_garbage_is_refused_in_words(data: bytes) -> None:
    for garbage in (data, gzip.compress(data)[: len(data)], b"\x1f\x8b\x08\x00" + data):
        assert isinstance(inflated(garbage, MOST), bytes | Refused)


@pytest.mark.parametrize("size", [MOST - 1, MOST, MOST + 1])
def test_the_unpacked_size_has_the_same_limit(size: int) -> None:
    data = (b"%d," * 20_000 % tuple(range(20_000)) * 10)[:size]
    assert len(data) == size
    opened = inflated(gzip.compress(data), MOST)
    if size <= MOST:
        assert opened == data
    else:
        assert isinstance(opened, TooLarge)
        assert str(MOST) in str(opened)


def test_a_body_may_grow_a_hundred_times_and_no_more() -> None:
    packed = gzip.compress(b"x" * 50_000)
    assert len(packed) * RATIO_MAX > 5_000
    fits = gzip.compress(b"x" * 7_000 + bytes(range(256)))
    assert inflated(fits, MOST) == gzip.decompress(fits)
    refused = inflated(packed, MOST)
    assert isinstance(refused, TooLarge)
    assert "100 times" in str(refused)


def test_a_bomb_is_never_unpacked() -> None:
    bomb = gzip.compress(b"\0" * 200_000_000)
    tracemalloc.start()
    try:
        refused = inflated(bomb, 100_000_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(refused, TooLarge)
    assert peak < 60_000_000  # 100 times 200 KB, and what it takes to grow there
