"""Make the packaged vocabulary from a ``.tiktoken`` file, or give the file back.

    python -m benchmarks.pack_vocabulary pack cl100k_base.tiktoken core/vocabulary/cl100k_base.xz
    python -m benchmarks.pack_vocabulary unpack core/vocabulary/cl100k_base.xz cl100k_base.tiktoken

A ``.tiktoken`` file holds one ``base64(token) rank`` per line, ranks counting from 0. Packed: the lengths of all tokens, one byte
each, then their bytes in rank order, compressed with xz: 375 kB instead of the 561 kB that xz makes of the text itself, and there is
no base64 to undo when it is loaded. The length bytes lie together because similar neighbours compress better.
"""

from __future__ import annotations

import base64
import lzma
import sys
from pathlib import Path

from core.tokens import unpack

#: xz at its strongest; packing is done once, and reading does not become slower.
PRESET = 9 | lzma.PRESET_EXTREME

USAGE = "usage: python -m benchmarks.pack_vocabulary pack|unpack SOURCE TARGET"


def pack(text: bytes) -> bytes:
    """The packed form of a ``.tiktoken`` file. Raises ``ValueError`` if ranks do not count from 0 or a token is empty or over 255 bytes."""
    tokens: list[bytes] = []
    for line in text.splitlines():
        token, rank = line.split()
        if int(rank) != len(tokens):
            raise ValueError(f"line {len(tokens) + 1}: found rank {int(rank)}, expected {len(tokens)}")
        tokens.append(base64.b64decode(token))
    if not all(tokens):
        raise ValueError("found an empty token, expected 1 to 255 bytes")
    return lzma.compress(bytes(map(len, tokens)) + b"".join(tokens), preset=PRESET)


def to_text(packed: bytes) -> bytes:
    """The ``.tiktoken`` file that ``packed`` was made of, byte for byte."""
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in unpack(packed).items())


def main(argv: list[str]) -> int:
    """Run one conversion; 2 on wrong use."""
    match argv:
        case ["pack", source, target]:
            Path(target).write_bytes(pack(Path(source).read_bytes()))
        case ["unpack", source, target]:
            Path(target).write_bytes(to_text(Path(source).read_bytes()))
        case _:
            print(USAGE, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
