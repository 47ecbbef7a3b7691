"""The official SDKs, fed with what the machines write: what they accumulate is the translation of the whole answer.

Their HTTP client is given a transport that answers from memory; everything above it is the SDKs' own code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from anthropic.types import Message
from anthropic.types.beta import BetaMessage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.chat.chat_completion import Choice

from core.translate import stops
from core.translate.answers import answer_to_chat, answer_to_messages, messages_as_stream
from core.translate.machine import Machine
from core.translate.relay import MessagesRelay
from core.translate.relay_chat import ChatRelay
from core.translate.stream_to_chat import MessagesToChat
from core.translate.stream_to_messages import ChatToMessages
from tests.core.translate.streaming import CONTEXT, DONE, Event, call, calls, chunk, delta, ending, frames, opened, piece, start, text, thinking, tool
from tests.properties.streams import Answer, Habits, answers, as_bytes, chat_chunks, completion, message_events, messages, whole_message
from tests.properties.streams import Message as Said

ARGS = '{"a":1}'
STOP = delta("stop")
END = delta("tool_calls")
USAGE = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "prompt_tokens_details": {"cached_tokens": 4}}

#: The two wires say different things; each SDK's client is asked for an answer that it does not care about.
ASKED: Any = [{"role": "user", "content": "hello"}]


class Canned(httpx2.BaseTransport):
    """Answers every request with the same stream."""

    def __init__(self) -> None:
        self.stream = b""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=self.stream, request=request)


CANNED = Canned()


@pytest.fixture(scope="module")
def claude() -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url="http://127.0.0.1:1", api_key="none", max_retries=0, http_client=httpx2.Client(transport=CANNED)) as client:
        yield client


@pytest.fixture(scope="module")
def gpt() -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url="http://127.0.0.1:1", api_key="none", max_retries=0, http_client=httpx2.Client(transport=CANNED)) as client:
        yield client


def written(kind: type[Machine], stream: bytes, **context: Any) -> bytes:
    machine = kind(replace(CONTEXT, include_usage=True, **context))
    return machine.feed(stream) + machine.close()


def message_of(client: anthropic.Anthropic, stream: bytes) -> Any:
    """What the SDK accumulates from a Messages stream, without what is null."""
    CANNED.stream = stream
    with client.messages.stream(model="claude", max_tokens=1, messages=ASKED) as events:
        return events.get_final_message().model_dump(exclude_none=True, exclude={"content": {"__all__": {"parsed_output"}}})


def completion_of(client: openai.OpenAI, stream: bytes) -> Any:
    """What the SDK accumulates from a chat stream, without what is null."""
    CANNED.stream = stream
    with client.chat.completions.stream(model="gpt", messages=ASKED, stream_options={"include_usage": True}) as events:
        events.until_done()
        found = events.get_final_completion().model_dump(exclude_none=True)
    for choice in found["choices"]:
        choice["message"].pop("parsed", None)
        for one in choice["message"].get("tool_calls", ()):
            one.pop("index", None)
            one.get("function", {}).pop("parsed_arguments", None)
        for one in choice["message"].get("reasoning_details", ()):
            one.pop("index", None)
    return found


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


# ---------------------------------------------------------------------------------------------------- chat -> Messages

SAID: dict[str, Answer] = {
    "text": Answer(text="Hi, é😀"),
    "nothing": Answer(),
    "reasoning and text": Answer("hm", "Hi", usage=USAGE),
    "a call": Answer(calls=(("c1", "read", ARGS),), finish="tool_calls"),  # type: ignore[arg-type]  # made whole below
    "everything": Answer("hm", "Hi", "", (("c1", "read", ARGS), ("c2", "list", "")), "tool_calls", USAGE),  # type: ignore[arg-type]
    "a refusal": Answer(refusal="No."),
    "the length": Answer(text="Hi", finish="length"),
    "a filter": Answer(text="Hi", finish="content_filter"),
}


def made(answer: Answer) -> Answer:
    from tests.properties.streams import ToolCall

    return replace(answer, calls=tuple(ToolCall(*one) for one in answer.calls))  # type: ignore[misc]
