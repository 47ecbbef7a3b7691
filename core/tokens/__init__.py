"""Counting the tokens of a request: exactly for a vocabulary, or as a cheap estimate. Nothing is ever downloaded.

What a request costs beside its text is a convention, the same for count and estimate, and the same for both wires:

==================  ==================================================================================
message             tokens(role) + 4, and tokens(name) + 2 for a named one
text                tokens(text); blank text 0
system, developer   tokens(text) + 10, beside the messages or among them
tool definition     tokens(name + description + compact schema) + 20
tool call           tokens(name) + tokens(compact arguments) + 20
tool result         its texts and images + 4; a message of role ``tool`` is a message and a result
thinking            tokens(text), ``reasoning_content`` likewise; signatures, ids and redacted thinking 0
image               85 + a quarter of the characters of its ``description``, if it has one (``Images``)
document, file      its text; a PDF by the length of its base64
anything unknown    its compact JSON without base64 and signatures
==================  ==================================================================================

Base64 is never tokenised: it would count a small picture as a novel.
"""

from __future__ import annotations

from core.tokens.band import BAND, BANDS, ESTIMATE_BAND, band_for
from core.tokens.counter import PIECE, SLACK, Counter, pieces
from core.tokens.estimates import estimate_body, estimate_payload, estimate_text
from core.tokens.table import Images
from core.tokens.vocabulary import ENCODINGS, PACKAGED, Encoder, encoder_of, packaged, unpack

__all__ = [
    "BAND",
    "BANDS",
    "ENCODINGS",
    "ESTIMATE_BAND",
    "PACKAGED",
    "PIECE",
    "SLACK",
    "Counter",
    "Encoder",
    "Images",
    "band_for",
    "encoder_of",
    "estimate_body",
    "estimate_payload",
    "estimate_text",
    "packaged",
    "pieces",
    "unpack",
]
