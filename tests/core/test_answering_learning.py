"""What an answer teaches about estimates: only numbers that the upstream counted itself, beside an estimate of ours, over text alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.dialects import Protocol
from core.effects import Head
from core.gateway import Gateway
from core.testing import Answer
from tests.core.exchanges import CHAT, EVENTS, JSON, MESSAGES, PATH, Told, encoded, events, question, request, tell, towards, whole

#: About 900 tokens: below 200 nothing is learned.
LONG = "What is learned slowly is kept for long. " * 80
PICTURE = {
    MESSAGES: {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
    CHAT: {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
}
#: Twice what is expected, or nearly; an upstream may be off by three times before it is not believed.
COUNTED = 1900

for_all_pairs = pytest.mark.parametrize(
    ("client", "upstream"), [(client, upstream) for client in Protocol for upstream in Protocol], ids=str
)


def usage(wire: Protocol, prompt: int, output: int) -> dict[str, int]:
    names = ("input_tokens", "output_tokens") if wire is MESSAGES else ("prompt_tokens", "completion_tokens")
    return dict(zip(names, (prompt, output), strict=True))


def answered(
    at: Gateway,
    client: Protocol,
    upstream: Protocol,
    *,
    stream: bool = False,
    picture: bool = False,
    prompt: int = COUNTED,
    output: int = 3,
) -> Told:
    """An exchange over a long text, whose upstream counts ``prompt`` and ``output`` tokens."""
    said = usage(upstream, prompt, output)
    content: list[Any] = [{"type": "text", "text": LONG}, *([PICTURE[client]] if picture else [])]
    answer = Answer(Head(200, (JSON,)), [encoded(whole(upstream, usage=said))])
    if stream:
        frames = b"".join(events(upstream)).decode()
        numbers = (
            '"usage": {"output_tokens": 3}'
            if upstream is MESSAGES
            else '"usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}'
        )
        assert numbers in frames
        answer = Answer(Head(200, (EVENTS,)), [frames.replace(numbers, f'"usage": {json.dumps(said)}').encode()])
    told = tell(request(PATH[client], question(stream, messages=[{"role": "user", "content": content}])), [answer], at=at)
    assert (told.status, told.record.error_code) == (200, None)
    return told


def learned(at: Gateway, told: Told) -> float:
    return at.estimator.factor(told.record.upstream_model)


@for_all_pairs
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_an_answer_to_text_teaches(client: Protocol, upstream: Protocol, *, stream: bool) -> None:
    at = towards(upstream)
    told = answered(at, client, upstream, stream=stream)
    assert told.record.counts.prompt == COUNTED
    assert 1.01 < learned(at, told) < 1.04


@for_all_pairs
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_pictures_teach_nothing(client: Protocol, upstream: Protocol, *, stream: bool) -> None:
    lone = "OPENAI_UPSTREAM_BASE" if upstream is MESSAGES else "UPSTREAM_BASE"  # pictures go where there is an address
    at = towards(upstream, **{lone: ""})
    told = answered(at, client, upstream, stream=stream, picture=True)
    assert (told.record.counts.prompt, told.record.estimated) == (COUNTED, False)
    assert learned(at, told) == 1


@for_all_pairs
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_counts_of_which_one_is_the_proxys_own_teach_nothing(client: Protocol, upstream: Protocol, *, stream: bool) -> None:
    at = towards(upstream)
    told = answered(at, client, upstream, stream=stream, output=0)
    assert (told.record.counts.prompt, told.record.estimated) == (COUNTED, True)
    assert learned(at, told) == 1


@for_all_pairs
def test_where_the_request_was_counted_there_is_no_estimate_to_correct(client: Protocol, upstream: Protocol) -> None:
    at = towards(upstream, TOKEN_VALIDATION_STRICT="yes", ENABLE_TOKEN_VALIDATION="no")
    told = answered(at, client, upstream)
    assert (told.record.counts.prompt, told.record.estimated) == (COUNTED, False)
    assert learned(at, told) == 1
    assert learned(at, answered(at, client, upstream, stream=True)) > 1  # streams are estimated there too
