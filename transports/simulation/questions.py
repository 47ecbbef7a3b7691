"""What a request asks, independent of the wire it came in on."""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

#: Bytes per token in the simulated counting: the usual rule of thumb for English text.
_BYTES_PER_TOKEN = 4
#: Tokens of one picture whatever its size: what the Messages API counts for a picture of about a megapixel.
_IMAGE_TOKENS = 1600


class Malformed(ValueError):
    """The request is not one of its protocol; the message says why. Answered 400."""


class Calling(enum.Enum):
    """What the request says about tool calls."""

    FREE = enum.auto()
    FORCED = enum.auto()
    BARRED = enum.auto()


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    schema: Any  # the JSON schema of its arguments, as sent


@dataclass(frozen=True, slots=True)
class Image:
    """``size`` in bytes, None when only an address was sent. ``source`` is the media type or the address."""

    source: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Question:
    key: str  # 24 hex digits that follow from the request: the ids of its answer are made of it
    model: str
    stream: bool
    text: str  # the last text the user wrote; empty when there is none
    prompt_tokens: int  # everything that was sent
    tools: tuple[Tool, ...] = ()
    calling: Calling = Calling.FREE
    forced: str = ""  # the name of the one tool that must be called
    parallel: bool = True  # several calls in one answer are welcome
    results: tuple[str, ...] = ()  # texts of the tool results that came since the last answer
    images: tuple[Image, ...] = ()  # those that came since the last answer, in tool results too
    thinks: bool = False
    hides_thinking: bool = False  # thinking happens, its text is not wanted
    stops: tuple[str, ...] = ()
    structure: Any = None  # the JSON schema of the wanted structured output
    note: str = ""  # ``metadata.user_id`` or ``user``, verbatim
    cached_tokens: int = 0  # of the prompt, what the previous turn of the conversation had sent already
    wants_usage: bool = False  # a stream is to end with a usage chunk


def key_of(body: object) -> str:
    text = json.dumps(body, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def objects(value: object) -> list[dict[str, Any]]:
    """The objects of a list; none of anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def mapping(value: object) -> dict[str, Any]:
    """An object, or an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def string(value: object) -> str:
    return value if isinstance(value, str) else ""


def strings(value: object) -> tuple[str, ...]:
    """The strings of a list; none of anything else."""
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def texts(content: object) -> Iterator[str]:
    """Every text of a content, however deep: a string, a block, a list of blocks, a block with a content of its own."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for each in content:
            yield from texts(each)
    elif isinstance(content, dict):
        if isinstance(content.get("text"), str):
            yield content["text"]
        yield from texts(content.get("content"))


def images(content: object) -> Iterator[Image]:
    """Every image of a content in either wire's shape, however deep."""
    if isinstance(content, list):
        for each in content:
            yield from images(each)
    elif isinstance(content, dict):
        if content.get("type") == "image":
            source = mapping(content.get("source"))
            if source.get("type") == "base64":
                yield Image(string(source.get("media_type")), _decoded_size(string(source.get("data"))))
            else:
                yield Image(string(source.get("url")) or string(source.get("file_id")), None)
        elif content.get("type") == "image_url":
            yield _image_at(string(mapping(content.get("image_url")).get("url")))
        yield from images(content.get("content"))


def turns(body: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
    """The messages, and how many of them stand up to and including the last answer of the assistant.

    Raises ``Malformed``.
    """
    messages = objects(body.get("messages"))
    if not messages:
        raise Malformed("messages: at least one message is required")
    last = max((at for at, message in enumerate(messages) if message.get("role") == "assistant"), default=-1)
    return messages, last + 1


def model_of(body: dict[str, Any]) -> str:
    """Raises ``Malformed``."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise Malformed("model: a non-empty string is required")
    return model


def asked(messages: Sequence[dict[str, Any]]) -> str:
    """The last text block of the last message the user wrote text in. Agents put reminders in front, the request last."""
    for message in reversed(messages):
        if message.get("role") == "user":
            found = [text for text in _own_texts(message.get("content")) if text.strip()]
            if found:
                return found[-1]
    return ""


def tokens(*values: object) -> int:
    return sum(map(_weight, values)) // _BYTES_PER_TOKEN + 1


def _own_texts(content: object) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [string(block.get("text")) for block in objects(content) if block.get("type") == "text"]


def _weight(value: object) -> int:
    if isinstance(value, str):
        return _IMAGE_TOKENS * _BYTES_PER_TOKEN if value.startswith("data:") else len(value)
    if isinstance(value, dict):
        if value.get("type") == "base64":
            return _IMAGE_TOKENS * _BYTES_PER_TOKEN
        return sum(len(name) + _weight(each) for name, each in value.items())
    return sum(map(_weight, value)) if isinstance(value, list) else _BYTES_PER_TOKEN


def _image_at(url: str) -> Image:
    if not url.startswith("data:"):
        return Image(url, None)
    head, _, data = url.removeprefix("data:").partition(",")
    return Image(head.partition(";")[0], _decoded_size(data))


def _decoded_size(data: str) -> int:
    try:
        return len(base64.b64decode(data, validate=True))
    except binascii.Error:
        raise Malformed("image: the data are not base64") from None
