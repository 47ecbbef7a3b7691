"""Compressed answers, and what they may not do to us."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UpstreamFailed, UpstreamGarbled
from transports.upstream.bodies import MAX_DECODED, Inflater, decoder


def squeezed(data: bytes, bits: int) -> bytes:
    machine = zlib.compressobj(9, wbits=bits)
    return machine.compress(data) + machine.flush()


@given(data=st.binary(max_size=2000), bits=st.sampled_from([31, 15, -15]), step=st.integers(1, 100))
def test_what_was_compressed_comes_back_however_it_is_cut(data: bytes, bits: int, step: int) -> None:
    packed = squeezed(data, bits)
    inflater = Inflater()
    pieces = [packed[start : start + step] for start in range(0, len(packed), step)]
    assert b"".join(inflater.feed(piece) for piece in pieces) == data
    inflater.close()


@pytest.mark.parametrize("size", [20_000_000, MAX_DECODED + 1])
def test_a_bomb_is_not_unpacked(size: int) -> None:
    with pytest.raises(UpstreamGarbled, match="too large when decoded"):
        Inflater().feed(squeezed(bytes(size), 31))


def test_many_well_packed_bytes_end_at_the_bound() -> None:
    block = bytes(range(256)) * 16
    machine, inflater = zlib.compressobj(wbits=31), Inflater()

    def feed_endlessly() -> None:
        for _ in range(MAX_DECODED // len(block) + 1):
            inflater.feed(machine.compress(block) + machine.flush(zlib.Z_FULL_FLUSH))

    with pytest.raises(UpstreamGarbled, match="too large when decoded"):
        feed_endlessly()


def test_a_short_answer_of_blanks_is_no_bomb() -> None:
    assert Inflater().feed(squeezed(b" " * 60_000, 31)) == b" " * 60_000


def test_what_is_not_compressed_at_all_is_garbled() -> None:
    with pytest.raises(UpstreamGarbled, match="broken"):
        Inflater().feed(b"\x1fnothing of the kind")


def test_an_incomplete_body_is_a_failure() -> None:
    inflater = Inflater()
    inflater.feed(squeezed(b"hello" * 100, 31)[:-4])
    with pytest.raises(UpstreamFailed, match="incomplete"):
        inflater.close()


def test_an_empty_body_is_complete() -> None:
    Inflater().close()
    assert decoder(b"gzip") is not None


@pytest.mark.parametrize("coding", [None, b"identity", b" Identity "])
def test_no_coding_needs_no_decoder(coding: bytes | None) -> None:
    assert decoder(coding) is None


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"gzip, gzip"])
def test_an_unknown_coding_is_garbled(coding: bytes) -> None:
    with pytest.raises(UpstreamGarbled, match="not asked for"):
        decoder(coding)
