"""Estimates: what a text or a body probably costs, in microseconds and without a vocabulary."""

from __future__ import annotations

import re
from typing import Final

from core.tokens.table import Images, Table, pdf_tokens

#: Bytes that are no ASCII character, and bytes that begin no other one in UTF-8.
_NOT_ASCII: Final = bytes(range(0x80, 0x100))
_NOT_LEADING: Final = bytes(range(0xC0))

#: A body up to this many bytes is looked at whole, 16 us. Of a longer one so many samples of so many bytes, spread evenly.
_WHOLE: Final = 8192
_SAMPLES, _SAMPLE = 32, 256

#: No picture is smaller, and no word of any language as long.
_BASE64_MIN: Final = 256
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{200}")
#: So many places before a value stands its name, where a body is cut at its quotes.
_NAME: Final = 2
#: How a PDF begins in base64.
_PDF: Final = b"JVBERi"


def estimate_text(text: str) -> int:
    """ceil(ASCII characters / 3.5 + 1.5 x other characters): a deterministic guess, mostly above the count, in microseconds."""
    ascii_count = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    return -(-(4 * ascii_count + 21 * (len(text) - ascii_count)) // 14)


def estimate_payload(body: bytes, images: Images = Images()) -> int:  # noqa: B008 - frozen
    """``Counter.payload`` with ``estimate_text`` in place of the vocabulary: 4 ns per byte, the same table and errors."""
    return Table(estimate_text, images).payload(body)


def estimate_body(body: bytes, images: Images = Images()) -> int:  # noqa: B008 - frozen
    """A guess from the bytes alone, for a number that is wanted now and will be corrected: 20 us, however long the body is.

    JSON's own marks count as text, so it is a little high. Base64 counts as the pictures and documents that it is. Of a long body only
    samples are looked at. In the worst case, with all that is not ASCII between them, the guess is 1.75 times too low; base64 may be
    missed where it is less than a thirtieth of the body.
    """
    if len(body) <= _WHOLE:
        samples, has_base64 = [body], len(body) >= _BASE64_MIN
    else:
        samples = [body[at : at + _SAMPLE] for at in range(0, len(body), len(body) // _SAMPLES)]
        has_base64 = any(map(_BASE64.search, samples))
    size, media = _without_base64(body, images) if has_base64 else (len(body), 0)
    if all(map(bytes.isascii, samples)):
        return -(-4 * size // 14) + media
    seen = b"".join(samples)
    ascii_count, other = len(seen.translate(None, _NOT_ASCII)), len(seen.translate(None, _NOT_LEADING))
    # The samples speak for the bytes beside them; base64 is ASCII.
    other = other * len(body) // len(seen)
    ascii_count = ascii_count * len(body) // len(seen) - (len(body) - size)
    return -(-(4 * max(ascii_count, 0) + 21 * other) // 14) + media


def _without_base64(body: bytes, images: Images) -> tuple[int, int]:
    """The size of ``body`` without its base64, and the tokens of what that holds. Signatures and ciphertext hold nothing for a model."""
    size, media = len(body), 0
    texts = body.split(b'"')
    for place, text in enumerate(texts):
        if len(text) < _BASE64_MIN:
            continue
        is_url = text.startswith(b"data:")
        data = text[text.find(b"base64,") + len(b"base64,") :] if is_url else text
        if _BASE64.match(data):
            size -= len(text)
            if is_url or (place >= _NAME and texts[place - _NAME] == b"data"):
                media += pdf_tokens(len(data)) if data.startswith(_PDF) else images.tokens()
    return size, media
