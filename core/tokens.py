"""Counting the tokens of a request: exactly for a vocabulary, or as a cheap estimate. Nothing is ever downloaded.

What a request costs beside its text is a convention, the same for count and estimate:

==================  ==================================================================================
message             tokens(role) + 4, and tokens(name) + 2 for a named one
text                tokens(text); blank text 0
system              tokens(text) + 10
tool definition     tokens(name + description + compact schema) + 20
tool call           tokens(name) + tokens(compact input) + 20
tool result         its texts and images + 4
thinking            tokens(text); signatures, ids and redacted thinking 0
image               85, whatever its size
document            its text; a PDF by the length of its base64
anything unknown    its compact JSON without base64 and signatures
==================  ==================================================================================

Base64 is never tokenised: it would count a small picture as a novel.
"""

from __future__ import annotations

import functools
import hashlib
import lzma
import re
from collections.abc import Callable, Iterator
from importlib import resources
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from core.errors import BadRequest
from core.wire.codec import decode_lenient, encode

if TYPE_CHECKING:
    import tiktoken

__all__ = ["ENCODINGS", "Counter", "estimate_body", "estimate_payload", "estimate_text", "pieces", "unpack"]

#: How each packaged vocabulary splits text before merging, as in tiktoken 0.14 (``tiktoken_ext.openai_public``). o200k_base is left
#: out: it would add 816 kB to a package of half that size, and is no nearer to the tokenisers of GLM or Claude.
ENCODINGS: Final = {
    "cl100k_base": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    )
}

#: Bytes that are no ASCII character, and bytes that begin no other one in UTF-8.
_NOT_ASCII: Final = bytes(range(0x80, 0x100))
_NOT_LEADING: Final = bytes(range(0xC0))

#: Characters handed to tiktoken at once. Its regular expression panics on about a million blanks in a row (tiktoken 0.14; the panic
#: is a ``BaseException``), and merging one unbroken run takes n log n: 13 ms for 64 Ki, the most one call may take.
PIECE: Final = 65_536

#: Characters searched for a harmless place to cut. Source text has one in every line; what has none for 4 Ki is cut anyway.
SLACK: Final = 4_096

#: Where cutting changes no count: after a line end that a visible character follows, before a space that a visible character
#: precedes. No match of the vocabulary's pattern reaches across either.
_SEAM: Final = re.compile(r"\n(?=\S)|(?<=\S)(?= )")

#: Shorter texts (characters) are counted anew each time: that takes some 15 us, and they would push long ones out of the cache.
_CACHED_FROM: Final = 256

#: Fixed costs of the table above: the delimiters a chat template puts around a thing, rounded up.
_MESSAGE, _NAME, _SYSTEM, _TOOL, _CALL, _RESULT = 4, 2, 10, 20, 20, 4

#: The base price of an image in OpenAI's vision models, whose conventions this table follows.
_IMAGE: Final = 85

#: Tokens per 1024 characters of a PDF's base64, and the least a PDF costs. Anthropic (pdf-support page, read 2026-11-20) reads each
#: page as text (1 500-3 000 tokens) and as a picture (about 1 500). A page of text takes some 40 kB of base64, a scan 400: 100 or 10
#: tokens per kB; the value lies between. The floor is one page; it also stands for documents that are only referred to.
_PDF_PER_KB: Final = 25
_PDF_LEAST: Final = 3_000

#: Members that hold ciphertext or proofs: the model never sees them.
_OPAQUE: Final = frozenset({"signature", "encrypted_content", "encrypted_index", "encrypted_stdout"})

Tokens: TypeAlias = Callable[[str], int]
Json: TypeAlias = dict[str, object]


class Counter:
    """Counts with one packaged vocabulary, remembering long texts so that a growing conversation costs only its new turn.

    ``encoding`` is a key of ``ENCODINGS`` (``ValueError`` otherwise). ``cache_size``: at least so many of the texts counted last are
    remembered, at most twice as many; 0 remembers none. Loading the vocabulary (100 ms, 40 MB, shared by all counters) happens at the
    first count. A counter may be used from several threads: the worst a race does is to count a text twice.
    """

    def __init__(self, encoding: str = "cl100k_base", cache_size: int = 1000) -> None:
        if encoding not in ENCODINGS:
            raise ValueError(f"unknown encoding {encoding!r}, expected one of {', '.join(ENCODINGS)}")
        self._encoding = encoding
        self._cache_size = cache_size
        # Two generations instead of an ordered LRU: every step is one atomic dict operation, so threads need no lock.
        self._young: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}

    def text(self, text: str) -> int:
        """Tokens of ``text``; what looks like a special token is plain text, and a lone surrogate counts as U+FFFD.

        Exact, but for texts without a line end or space in 64 Ki characters: each cut in those may add a token or two.
        """
        if len(text) < _CACHED_FROM or not self._cache_size:
            return self._count(text)
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        count = self._young.get(key)
        if count is None:
            count = self._old.get(key)
            self._remember(key, count := self._count(text) if count is None else count)
        return count

    def payload(self, body: bytes) -> int:
        """Tokens of a Messages request, also of the odd shapes that count_tokens is asked about. 0 only for ``{}``.

        Understood beside the regular form: ``messages`` as a string or one object, items that are no objects (user text), content
        blocks in place of messages, ``{"content"}``, ``{"message"}`` and ``{"text"}``. Raises ``BadRequest`` (``invalid_json``) if
        ``body`` is not a JSON object. 50 ns per byte of new text: a long history belongs on another thread.
        """
        return _payload(body, self.text)

    def _count(self, text: str) -> int:
        encoder = _encoder(self._encoding)
        if len(text) <= PIECE:
            return len(encoder.encode_ordinary(text))
        return sum(len(encoder.encode_ordinary(piece)) for piece in pieces(text))

    def _remember(self, key: bytes, count: int) -> None:
        if len(self._young) >= self._cache_size:
            self._old, self._young = self._young, {}
        self._young[key] = count


def estimate_text(text: str) -> int:
    """ceil(ASCII characters / 3.5 + 1.5 x other characters): a deterministic guess, mostly above the count, in microseconds."""
    ascii_count = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    return -(-(4 * ascii_count + 21 * (len(text) - ascii_count)) // 14)


def estimate_payload(body: bytes) -> int:
    """``Counter.payload`` with ``estimate_text`` in place of the vocabulary: 4 ns per byte, the same table and errors."""
    return _payload(body, estimate_text)


def estimate_body(body: bytes) -> int:
    """A guess from the bytes alone, for a number that is wanted now and will be corrected: 1 ns per byte.

    JSON's own marks count as text, so it is a little high. A body with base64 in it gets ``estimate_payload``, for a picture is no text.
    """
    if b"base64" in body:
        return estimate_payload(body)
    if body.isascii():
        return -(-4 * len(body) // 14)
    ascii_count, other = len(body.translate(None, _NOT_ASCII)), len(body.translate(None, _NOT_LEADING))
    return -(-(4 * ascii_count + 21 * other) // 14)


def pieces(text: str, size: int = PIECE, slack: int = SLACK) -> Iterator[str]:
    """``text`` in pieces of ``size`` to ``size + slack`` characters, the last one shorter, cut where no count changes if possible."""
    start = 0
    while len(text) - start > size + slack:
        seam = _SEAM.search(text, start + size, start + size + slack)
        end = seam.end() if seam else start + size + slack
        yield text[start:end]
        start = end
    yield text[start:]


def unpack(packed: bytes) -> dict[bytes, int]:
    """Token to rank, in rank order, from the form that ``core.vocabulary`` describes."""
    data = lzma.decompress(packed)
    # Every token has one length byte and at least one byte of its own, so the lengths end where they sum up to the rest.
    sums = accumulate(data, initial=0)
    count = next(number for number, total in enumerate(sums) if number + total == len(data))
    ends = accumulate(data[:count], initial=count)
    return {data[start:end]: rank for rank, (start, end) in enumerate(pairwise(ends))}


@functools.cache
def _encoder(name: str) -> tiktoken.Encoding:
    import tiktoken  # noqa: PLC0415 - 22 ms, and logging and thread pools with it, that an import of the core need not pay

    ranks = unpack(resources.files("core.vocabulary").joinpath(f"{name}.xz").read_bytes())
    return tiktoken.Encoding(name, pat_str=ENCODINGS[name], mergeable_ranks=ranks, special_tokens={})


def _payload(body: bytes, tokens: Tokens) -> int:
    try:
        document = decode_lenient(Json, body)
        total = _system(document.get("system"), tokens) + _text(document.get("text"), tokens)
        total += sum(_tool(tool, tokens) for tool in _listed(document.get("tools")))
        total += sum(_message(message, tokens) for message in _listed(document.get("messages")))
    except msgspec.DecodeError as error:
        raise BadRequest(f"the body is not a JSON object: {error}", code="invalid_json") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply", code="invalid_json") from None
    return max(total, 1) if document else 0


def _listed(value: object) -> list[object]:
    """A list as it is; one thing where a list belongs is a list of one; null and empty text are nothing."""
    if isinstance(value, list):
        return value
    return [] if value is None or value == "" else [value]


def _system(value: object, tokens: Tokens) -> int:
    return _content(value, tokens) + _SYSTEM if value else 0


def _tool(tool: object, tokens: Tokens) -> int:
    # A tool that the upstream runs itself has no schema; what the model is told of it is not known, so its declaration counts.
    if not isinstance(tool, dict) or "input_schema" not in tool:
        return _unknown(tool, tokens) + _TOOL
    name, description = tool.get("name"), tool.get("description")
    described = f"{name}{description or ''}" if isinstance(name, str) else f"{description or ''}"
    return tokens(described + _compact(tool["input_schema"])) + _TOOL


def _message(message: object, tokens: Tokens) -> int:
    if not isinstance(message, dict):
        return tokens("user") + _MESSAGE + _content(message, tokens)
    if "content" not in message and "message" in message:
        return _message(message["message"], tokens)
    if "role" not in message and ("type" in message or "content" not in message):
        return tokens("user") + _MESSAGE + _block(message, tokens)
    role, name = message.get("role"), message.get("name")
    total = tokens(role if isinstance(role, str) else "user") + _MESSAGE + _content(message.get("content"), tokens)
    return total + tokens(name) + _NAME if isinstance(name, str) else total


def _content(content: object, tokens: Tokens) -> int:
    if isinstance(content, str):
        return _text(content, tokens)
    return sum(_block(block, tokens) for block in _listed(content))


def _text(text: object, tokens: Tokens) -> int:
    return tokens(text) if isinstance(text, str) and text and not text.isspace() else 0


def _block(block: object, tokens: Tokens) -> int:
    if isinstance(block, str):
        return _text(block, tokens)
    if not isinstance(block, dict):
        return _unknown(block, tokens)
    kind = block.get("type")
    counted = _BLOCKS.get(kind) if isinstance(kind, str) else None
    if counted is not None:
        return counted(block, tokens)
    return _text(block["text"], tokens) if block.keys() == {"text"} else _unknown(block, tokens)


def _text_block(block: Json, tokens: Tokens) -> int:
    return _text(block.get("text"), tokens)


def _thinking(block: Json, tokens: Tokens) -> int:
    return _text(block.get("thinking"), tokens)


def _call(block: Json, tokens: Tokens) -> int:
    return _text(block.get("name"), tokens) + tokens(_compact(block.get("input", {}))) + _CALL


def _result(block: Json, tokens: Tokens) -> int:
    return _content(block.get("content"), tokens) + _RESULT


def _search_result(block: Json, tokens: Tokens) -> int:
    return _text(block.get("title"), tokens) + _text(block.get("source"), tokens) + _content(block.get("content"), tokens)


def _document(block: Json, tokens: Tokens) -> int:
    labels = _text(block.get("title"), tokens) + _text(block.get("context"), tokens)
    source = block.get("source")
    if not isinstance(source, dict):
        return labels + _content(source, tokens)
    kind, data = source.get("type"), source.get("data")
    if kind == "text":
        return labels + _text(data, tokens)
    if kind == "content":
        return labels + _content(source.get("content"), tokens)
    kilobytes = len(data) // 1024 if isinstance(data, str) else 0
    return labels + max(_PDF_LEAST, _PDF_PER_KB * kilobytes)


def _unknown(value: object, tokens: Tokens) -> int:
    return tokens(_compact(_visible(value)))


def _visible(value: object) -> object:
    """``value`` without base64, signatures and ciphertext."""
    if isinstance(value, str):
        return "" if value.startswith("data:") and ";base64," in value[:256] else value
    if isinstance(value, list):
        return [_visible(item) for item in value]
    if not isinstance(value, dict):
        return value
    hidden = _OPAQUE | {"data"} if value.get("type") == "base64" or "media_type" in value else _OPAQUE
    return {name: _visible(member) for name, member in value.items() if name not in hidden}


def _compact(value: object) -> str:
    return encode(value).decode()


#: How each type of block is counted; what is not here is unknown. Input of calls to server tools is written by the model as well.
_BLOCKS: Final[dict[str, Callable[[Json, Tokens], int]]] = {
    "text": _text_block,
    "image": lambda _block, _tokens: _IMAGE,
    "image_url": lambda _block, _tokens: _IMAGE,  # the chat wire's, which some clients put into Messages
    "document": _document,
    "search_result": _search_result,
    "thinking": _thinking,
    "redacted_thinking": lambda _block, _tokens: 0,
    "tool_use": _call,
    "server_tool_use": _call,
    "mcp_tool_use": _call,
    "tool_result": _result,
    "mcp_tool_result": _result,
}
