"""What the two wires have in common: the functions a wire consists of, the ways its events may be bent, its errors."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from transports.simulation.answers import Answer
from transports.simulation.questions import Question

Event: TypeAlias = dict[str, Any]


class Bend(enum.Enum):
    """How the events of an answer differ from what the protocol says. A wire that has no such fault answers properly."""

    NONE = enum.auto()
    MIDSTREAM_ERROR = enum.auto()
    NO_DONE = enum.auto()
    NO_FINISH = enum.auto()
    INTERLEAVED = enum.auto()
    REPEATED_IDS = enum.auto()
    NO_INDEX = enum.auto()
    OTHER_REASONING_FIELD = enum.auto()
    DOUBLE_START = enum.auto()
    ODD_USAGE = enum.auto()
    PINGS_ONLY = enum.auto()


@dataclass(frozen=True, slots=True)
class Failure:
    """An error in both vocabularies. ``chat_status`` where Chat Completions uses another status than Messages."""

    status: int
    kind: str  # ``error.type`` of the Messages API
    type: str  # ``error.type`` of Chat Completions
    code: str | None  # ``error.code`` of Chat Completions
    message: str
    chat_status: int | None = None


@dataclass(frozen=True, slots=True)
class Wire:
    """One protocol. Every function is pure."""

    read: Callable[[dict[str, Any]], Question]  # raises Malformed
    frames: Callable[[Question, Answer, Bend], list[bytes]]  # the events of a stream, SSE-framed
    whole: Callable[[Question, Answer, Bend], dict[str, Any]]  # the JSON of a plain answer
    failure: Callable[[Failure, str], dict[str, Any]]  # the JSON of an error; the second argument is the request's key
    status: Callable[[Failure], int]
    limits: tuple[tuple[str, str], ...]  # rate-limit headers of a 429
    request_id: str  # the header that names the request
    overflow: Failure  # the vendor's own words for a prompt that is too long


def encoded(value: object) -> bytes:
    """Compact JSON. Lone surrogates, which no UTF-8 can hold, become question marks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def pieces(text: str, size: int) -> list[str]:
    """``text`` in slices of ``size`` characters; no slice of an empty text."""
    return [text[at : at + size] for at in range(0, len(text), size)]


def words(text: str) -> list[str]:
    """``text`` cut before every word, so that the slices add up to it."""
    cut: list[str] = []
    for piece in text.split(" "):
        cut.append(f" {piece}" if cut else piece)
    return [piece for piece in cut if piece]


#: Characters per slice of tool arguments: small enough to cut JSON escapes and words in two.
ARGUMENT_SLICE = 5
