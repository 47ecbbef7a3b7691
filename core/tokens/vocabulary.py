"""Vocabularies: the one that is packaged, the patterns of others, and encoders made of them. Nothing is ever downloaded here."""

from __future__ import annotations

import functools
import lzma
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import accumulate, pairwise
from typing import Final

#: How each vocabulary splits text before merging, as in tiktoken 0.14 (``tiktoken_ext.openai_public``).
ENCODINGS: Final = {
    "cl100k_base": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
    "o200k_base": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}

#: What the package holds. o200k_base is left out: it would add 816 kB to a package of half that size, and ``docs/tokens.md`` shows how
#: little it would win for the models this proxy is used with.
PACKAGED: Final = ("cl100k_base",)


@dataclass(frozen=True, slots=True)
class Encoder:
    """A vocabulary at work. ``count``: the tokens of a text of at most some 70 000 characters, special tokens taken for plain text."""

    name: str
    count: Callable[[str], int]


def packaged(name: str) -> Encoder:
    """A packaged vocabulary, loaded (100 ms, 40 MB, shared by all its users) at the first count. ``ValueError`` for any other name."""
    if name not in PACKAGED:
        raise ValueError(f"unknown encoding {name!r}, expected one of {', '.join(PACKAGED)}")
    return Encoder(name, lambda text: _packaged(name).count(text))


def encoder_of(name: str, ranks: Mapping[bytes, int]) -> Encoder:
    """An encoder of byte pair ranks. A name that is not in ``ENCODINGS`` is split like cl100k_base, as GLM-4 and Qwen are.

    Raises ``ValueError`` for ranks without the 256 single bytes, which some texts could not be written with.
    """
    import tiktoken  # noqa: PLC0415 - 22 ms, and logging and thread pools with it, that an import of the core need not pay

    missing = sum(bytes((byte,)) not in ranks for byte in range(256))
    if missing:
        raise ValueError(f"found a vocabulary without {missing} of the 256 single bytes, expected all")
    pattern = ENCODINGS.get(name, ENCODINGS["cl100k_base"])
    encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=dict(ranks), special_tokens={})
    return Encoder(name, lambda text: len(encoding.encode_ordinary(text)))


def unpack(packed: bytes) -> dict[bytes, int]:
    """Token to rank, in rank order, from the form that ``core.vocabulary`` describes."""
    data = lzma.decompress(packed)
    # Every token has one length byte and at least one byte of its own, so the lengths end where they sum up to the rest.
    sums = accumulate(data, initial=0)
    count = next(number for number, total in enumerate(sums) if number + total == len(data))
    ends = accumulate(data[:count], initial=count)
    return {data[start:end]: rank for rank, (start, end) in enumerate(pairwise(ends))}


#: Counts come from many threads at once, and the first of them may come together: one loads, the others wait for it.
_loading: Final = threading.Lock()


def _packaged(name: str) -> Encoder:
    with _loading:
        return _loaded(name)


@functools.cache
def _loaded(name: str) -> Encoder:
    return encoder_of(name, unpack(resources.files("core.vocabulary").joinpath(f"{name}.xz").read_bytes()))
