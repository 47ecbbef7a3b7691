"""One request, tried at its targets until one answers: retries, failover, breakers, gates, and what is kept back for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from core.credentials import Credential
from core.dialects import Protocol
from core.effects import Effect, Enter, Flow, Head, Leave, Open, Pause, Read, Send, Start
from core.errors import UpstreamError, UpstreamFailed, UpstreamGarbled, UpstreamTimeout
from core.exchange import exchange
from core.gateway import Gateway
from core.record import Record
from core.routing import origin
from core.settings import Settings
from core.settings.sources import Form, Source
from core.testing import Answer, ScriptedWorld
from core.traffic.breaker import Outcome, State
from tests.core.exchanges import (
    CHAT,
    EVENTS,
    KEY,
    MESSAGES,
    PAIRS,
    PATH,
    Told,
    accept,
    encoded,
    events,
    failing,
    gateway,
    plain,
    question,
    request,
    streamed,
    tell,
)

pairs = pytest.mark.parametrize(("wire", "upstream"), PAIRS, ids=lambda wire: wire.value)
#: On the scripted world's clock, after every cooldown.
LATER = 2000.0
both = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])

PROVIDERS: list[dict[str, Any]] = [
    {
        "name": "first",
        "base_url": "https://first.internal/v1",
        "api_key": "first-key-CANARY",
        "models": [{"id": "m1", "remote_id": "real-1", "fallbacks": ["m2", "m3"]}],
    },
    {
        "name": "second",
        "base_url": "https://second.internal",
        "protocol": "anthropic",
        "api_key": "second-key-CANARY",
        "models": [{"id": "m2", "remote_id": "real-2"}],
    },
    {
        "name": "third",
        "base_url": "https://third.internal/v1",
        "api_key": "third-key-CANARY",
        "models": [{"id": "m3"}],
    },
]


def retrying(protocol: Protocol, **settings: str) -> Gateway:
    return gateway(TEXT_ENDPOINT_PREFERENCE=protocol.value, MAX_RETRIES="2", **settings)


def provided(**settings: Any) -> Gateway:
    """Three providers, each the next one's fallback."""
    values = {"providers": PROVIDERS, "max_retries": 0, **settings}
    return Gateway(Settings.from_sources([Source("config.json", Form.FILE, values)]).settings)


def said(wire: Protocol, status: int, code: str = "", *headers: tuple[bytes, bytes]) -> Answer:
    error = {"message": "no", "type": "some_error"} | ({"code": code} if code else {})
    return failing(status, encoded({"type": "error", "error": error} if wire is MESSAGES else {"error": error}), *headers)


def answer(wire: Protocol, *, stream: bool, text: str = "Hello!") -> Answer:
    return Answer(Head(200, (EVENTS,)), events(wire, text)) if stream else plain(wire, text=text)


def text_of(told: Told, wire: Protocol, *, stream: bool) -> str:
    if stream:
        accepted = accept(wire, told.body)
        assert accepted.kind == "complete"
        return accepted.text
    if wire is MESSAGES:
        return "".join(block["text"] for block in told.json["content"])
    return str(told.json["choices"][0]["message"]["content"])


def ask(wire: Protocol, answers: list[Answer], at: Gateway, *, stream: bool, **more: Any) -> Told:
    return tell(request(PATH[wire], question(stream or False, **more)), answers, at=at)


def with_before(flow: Flow[Record], kind: type[Effect[Any]], before: Callable[[], Flow[None]]) -> Flow[Record]:
    """``flow``, with something that happens before each of its effects of a ``kind``."""
    reply = None
    try:
        while True:
            effect = flow.send(reply)
            if isinstance(effect, kind):
                yield from before()
            reply = yield from effect
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


def pauses(told: Told) -> list[float]:
    return [effect.seconds for effect in told.world.performed if isinstance(effect, Pause)]


def hosts(told: Told) -> list[str]:
    return [sent.url.split("/")[2] for sent in told.world.opened]


# ---------------------------------------------------------------------------------------------------- again


@both
@pairs
@pytest.mark.parametrize("status", [500, 502, 503, 504, 529])
def test_a_failing_upstream_is_asked_again(wire: Protocol, upstream: Protocol, stream: bool, status: int) -> None:
    told = ask(wire, [said(upstream, status), answer(upstream, stream=stream)], retrying(upstream), stream=stream)
    assert text_of(told, wire, stream=stream) == "Hello!"
    assert (told.status, told.record.attempts, told.header("x-proxy-attempts")) == (200, 2, "2")
    (pause,) = pauses(told)
    assert 0.05 <= pause <= 0.1
    first, second = told.world.opened
    assert first == second


@both
@pytest.mark.parametrize("error", [UpstreamFailed("refused", phase="connect"), UpstreamFailed("reset", phase="head")])
def test_a_connection_that_fails_is_made_again(stream: bool, error: UpstreamError) -> None:
    told = ask(MESSAGES, [Answer(error), Answer(error), answer(MESSAGES, stream=stream)], retrying(MESSAGES), stream=stream)
    assert (told.status, told.record.attempts) == (200, 3)
    short, long = pauses(told)
    assert 0.05 <= short <= 0.1 <= long <= 0.2


@both
def test_when_the_attempts_are_over_the_client_gets_the_last_error(stream: bool) -> None:
    answers = [said(CHAT, 500), said(CHAT, 503), said(CHAT, 502, "last")]
    told = ask(CHAT, answers, retrying(CHAT), stream=stream)
    assert (told.status, told.json["error"]["code"], told.record.attempts) == (502, "last", 3)
    assert told.header("x-proxy-attempts") == "3"


@both
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_what_is_wrong_with_the_request_is_not_sent_again(stream: bool, status: int) -> None:
    told = ask(MESSAGES, [said(MESSAGES, status)], retrying(MESSAGES), stream=stream)
    assert (told.status, told.record.attempts) == (status, 1)


def test_a_silent_upstream_is_not_asked_again() -> None:
    told = ask(MESSAGES, [Answer(UpstreamTimeout("silence", phase="head"))], retrying(MESSAGES), stream=True)
    assert (told.status, told.record.attempts) == (504, 1)


@both
def test_a_retry_after_is_waited_for_if_it_is_short(stream: bool) -> None:
    told = ask(CHAT, [said(CHAT, 429, "", (b"retry-after", b"3")), answer(CHAT, stream=stream)], retrying(CHAT), stream=stream)
    assert (told.status, [int(one) for one in pauses(told)]) == (200, [3])


@both
def test_a_long_retry_after_is_the_clients_business(stream: bool) -> None:
    told = ask(CHAT, [said(CHAT, 429, "", (b"retry-after", b"60"))], retrying(CHAT), stream=stream)
    assert (told.status, told.header("retry-after"), pauses(told)) == (429, "60", [])


def test_the_attempts_together_keep_within_the_deadline() -> None:
    at = retrying(CHAT, REQUEST_TIMEOUT="2")
    told = ask(CHAT, [said(CHAT, 429, "", (b"retry-after", b"3"))], at, stream=False)
    assert (told.status, told.record.attempts) == (429, 1)
    told = ask(CHAT, [said(CHAT, 429, "", (b"retry-after", b"1")), plain(CHAT)], at, stream=False)
    assert told.status == 200
    whole, rest = (effect.deadlines.total for effect in told.world.performed if isinstance(effect, Open))
    assert whole == 2.0
    assert rest == pytest.approx(2.0 - pauses(told)[0])


def test_a_long_pause_keeps_a_streaming_client_alive() -> None:
    at = retrying(MESSAGES, SSE_PING_INTERVAL="2")
    told = ask(MESSAGES, [said(MESSAGES, 429, "", (b"retry-after", b"5")), streamed(MESSAGES)], at, stream=True)
    assert [int(one) for one in pauses(told)] == [2, 2, 1]
    assert told.body.count(b"event: ping") == 2
    assert accept(MESSAGES, told.body).kind == "complete"


def test_a_failure_after_keep_alives_is_an_event() -> None:
    at = retrying(MESSAGES, SSE_PING_INTERVAL="2")
    told = ask(MESSAGES, [said(MESSAGES, 429, "", (b"retry-after", b"5")), said(MESSAGES, 400)], at, stream=True)
    assert (told.status, accept(MESSAGES, told.body).kind) == (200, "error")
    assert (told.record.broken, told.record.error_code) == (True, "upstream_request_failed")


def timed(*settings: dict[str, Any], **more: Any) -> Gateway:
    """The three providers with ``timeouts`` of their own."""
    providers = [{**provider, "timeouts": own} for provider, own in zip(PROVIDERS, settings, strict=True)]
    return provided(providers=providers, **more)


def totals(told: Told) -> list[float]:
    return [effect.deadlines.total for effect in told.world.performed if isinstance(effect, Open)]


def test_a_provider_has_its_own_time_also_more_than_others() -> None:
    at = timed({"request": 600}, {}, {}, request_timeout=1)
    assert totals(ask(CHAT, [plain(CHAT)], at, stream=False, model="m1")) == [600.0]


def test_the_next_target_has_the_time_that_is_left() -> None:
    at = timed({"request": 10}, {"request": 30}, {"request": 5})
    told = ask(CHAT, [said(CHAT, 500), said(MESSAGES, 500), plain(CHAT)], at, stream=False, model="m1")
    assert totals(told) == [10.0, 30.0, 5.0]


def test_an_attempt_for_which_there_is_no_time_is_made_elsewhere() -> None:
    at = timed({"request": 2}, {"request": 60}, {}, max_retries=2)
    told = ask(CHAT, [said(CHAT, 503, "", (b"retry-after", b"5")), plain(MESSAGES)], at, stream=False, model="m1")
    assert (told.status, hosts(told), pauses(told)) == (200, ["first.internal", "second.internal"], [])


def test_the_time_in_our_own_line_is_not_the_upstreams() -> None:
    at = gateway(TEXT_ENDPOINT_PREFERENCE="openai", UPSTREAM_KEY_CONCURRENCY="1", REQUEST_TIMEOUT="2", KEY_QUEUE_TIMEOUT="30")
    gate = at.traffic.keys.gate(origin("https://chat.upstream.internal/o/v4"), Credential(KEY.encode()).digest, 1)
    assert gate is not None
    place = gate.join("another", 1000.0, lambda: None)
    assert place is not None
    world = ScriptedWorld([plain(CHAT)])
    flow = exchange(request(PATH[CHAT], question()), at)

    def before() -> Flow[None]:
        yield from Pause(7.0)
        gate.leave(place, 1007.0)

    assert world.run(with_before(flow, Enter, before)).status == 200
    (total,) = (effect.deadlines.total for effect in world.performed if isinstance(effect, Open))
    assert total == 2.0


# ---------------------------------------------------------------------------------------------------- before the first content


@pairs
def test_a_stream_that_breaks_before_it_says_anything_is_begun_anew(wire: Protocol, upstream: Protocol) -> None:
    cut = Answer(Head(200, (EVENTS,)), [events(upstream)[0], UpstreamFailed("reset")])
    told = ask(wire, [cut, streamed(upstream)], retrying(upstream), stream=True)
    accepted = accept(wire, told.body)
    assert (accepted.kind, accepted.text, told.record.attempts) == ("complete", "Hello!", 2)


@pairs
def test_a_stream_that_breaks_later_is_not(wire: Protocol, upstream: Protocol) -> None:
    cut = Answer(Head(200, (EVENTS,)), [*events(upstream)[:3], UpstreamFailed("reset")])
    told = ask(wire, [cut, streamed(upstream)], retrying(upstream), stream=True)
    assert (accept(wire, told.body).kind, told.record.attempts, told.record.broken) == ("error", 1, True)


@pairs
def test_it_does_not_matter_how_much_of_an_answer_arrives_at_once(wire: Protocol, upstream: Protocol) -> None:
    error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    begun = [*events(upstream)[:3], error]
    for body in (begun, [b"".join(begun)]):
        at = retrying(upstream, BREAKER_FAILURES="1")
        told = ask(wire, [Answer(Head(200, (EVENTS,)), body)], at, stream=True)
        accepted = accept(wire, told.body)
        assert (told.status, accepted.kind, accepted.text[:3], told.record.attempts) == (200, "error", "Hel", 1)
        assert set(at.traffic.breakers.states(LATER).values()) == {State.CLOSED}


def test_what_was_kept_back_of_a_failed_answer_is_not_sent_behind_keep_alives() -> None:
    at = retrying(MESSAGES, SSE_PING_INTERVAL="2", STREAM_RESCUE="hold")
    cut = Answer(Head(200, (EVENTS,)), [*events(MESSAGES)[:3], None, UpstreamTimeout("gap", phase="body")])
    told = ask(MESSAGES, [cut], at, stream=True)
    assert accept(MESSAGES, told.body).kind == "error"
    assert b"Hel" not in told.body


COMMENTS = [b": PROCESSING\n\n"] * 5


def chatty(seconds: float, answer: Answer, at: Gateway) -> tuple[Record, ScriptedWorld]:
    """An upstream each of whose reads takes so long."""
    world = ScriptedWorld([answer])
    flow = exchange(request(PATH[MESSAGES], question(True)), at)

    def before() -> Flow[None]:
        yield from Pause(seconds)

    return world.run(with_before(flow, Read, before)), world


def test_an_upstream_that_only_comments_does_not_keep_its_client_waiting_in_silence() -> None:
    at = gateway(TEXT_ENDPOINT_PREFERENCE="anthropic", SSE_PING_INTERVAL="2")
    record, world = chatty(1.0, Answer(Head(200, (EVENTS,)), [*COMMENTS, *events(MESSAGES)]), at)
    assert record.status == 200
    assert world.sent.count(b"event: ping") in (2, 3)
    assert accept(MESSAGES, world.sent).kind == "complete"


def test_comments_are_no_first_event() -> None:
    at = gateway(TEXT_ENDPOINT_PREFERENCE="anthropic", FIRST_BYTE_TIMEOUT="3")
    record, _ = chatty(1.0, Answer(Head(200, (EVENTS,)), [*COMMENTS, *events(MESSAGES)]), at)
    assert (record.status, record.error_code, record.error) == (504, "upstream_timeout", "no event within 3 s")
    record, _ = chatty(1.0, Answer(Head(200, (EVENTS,)), [*COMMENTS[:1], *events(MESSAGES)]), at)
    assert record.status == 200


def test_a_held_stream_keeps_its_client_alive_while_it_is_spoken() -> None:
    at = gateway(TEXT_ENDPOINT_PREFERENCE="anthropic", SSE_PING_INTERVAL="2", STREAM_RESCUE="hold")
    record, world = chatty(1.0, Answer(Head(200, (EVENTS,)), events(MESSAGES, *"abcdefgh")), at)
    assert record.status == 200
    assert world.sent.count(b"event: ping") >= 4
    assert accept(MESSAGES, world.sent).text == "abcdefgh"


def test_an_overload_that_is_said_in_the_stream_before_the_answer_is_no_answer() -> None:
    overloaded = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    told = ask(
        MESSAGES, [Answer(Head(200, (EVENTS,)), [events(MESSAGES)[0], overloaded]), streamed(MESSAGES)], retrying(MESSAGES), stream=True
    )
    assert (accept(MESSAGES, told.body).text, told.record.attempts) == ("Hello!", 2)


@pairs
def test_a_held_stream_is_begun_anew_whenever_it_breaks(wire: Protocol, upstream: Protocol) -> None:
    cut = Answer(Head(200, (EVENTS,)), [*events(upstream)[:3], UpstreamFailed("reset")])
    told = ask(wire, [cut, streamed(upstream)], retrying(upstream, STREAM_RESCUE="hold"), stream=True)
    accepted = accept(wire, told.body)
    assert (accepted.kind, accepted.text, told.record.attempts) == ("complete", "Hello!", 2)


def test_a_held_stream_keeps_its_client_alive() -> None:
    slow = Answer(Head(200, (EVENTS,)), [*events(MESSAGES)[:3], None, *events(MESSAGES)[3:]])
    told = ask(MESSAGES, [slow], retrying(MESSAGES, STREAM_RESCUE="hold"), stream=True)
    sends = [data for data in told.world.sends if data]
    assert sends[0].startswith(b"event: ping")
    assert len(sends) == 2
    assert accept(MESSAGES, told.body).text == "Hello!"


# ---------------------------------------------------------------------------------------------------- elsewhere


@both
@pytest.mark.parametrize("wire", [MESSAGES, CHAT], ids=lambda wire: wire.value)
def test_the_next_target_answers_for_the_first(wire: Protocol, stream: bool) -> None:
    told = ask(wire, [said(CHAT, 500), answer(MESSAGES, stream=stream)], provided(), stream=stream, model="m1")
    assert text_of(told, wire, stream=stream) == "Hello!"
    assert hosts(told) == ["first.internal", "second.internal"]
    assert [json.loads(sent.body)["model"] for sent in told.world.opened] == ["real-1", "real-2"]
    assert told.header("x-proxy-route") == "failover: first status 500"
    assert told.record.target == "second/anthropic"
    lines = [note for note in told.record.notes if note.startswith("[ROUTING]")]
    assert lines == ["[ROUTING] → OpenAI (provider: first)", "[ROUTING] → Anthropic (failover: first status 500)"]


@both
def test_each_target_gets_its_own_key_and_never_the_clients(stream: bool) -> None:
    told = ask(CHAT, [said(CHAT, 500), said(MESSAGES, 529), answer(CHAT, stream=stream)], provided(), stream=stream, model="m1")
    keys = [dict(sent.headers) for sent in told.world.opened]
    assert keys[0][b"authorization"] == b"Bearer first-key-CANARY"
    assert keys[1][b"x-api-key"] == b"second-key-CANARY"
    assert keys[2][b"authorization"] == b"Bearer third-key-CANARY"
    assert not any(KEY.encode() in value for headers in keys for value in headers.values())


def test_a_client_key_goes_to_no_other_origin() -> None:
    at = provided(provider_only=False, failover_targets=["cn", "m3"])
    told = ask(CHAT, [said(MESSAGES, 500), answer(CHAT, stream=False)], at, stream=False)
    assert hosts(told) == ["api.z.ai", "third.internal"]
    assert [KEY in str(sent.headers) for sent in told.world.opened] == [True, False]


@both
def test_a_silent_target_is_left_for_the_next(stream: bool) -> None:
    silent = Answer(UpstreamTimeout("silence", phase="head"))
    told = ask(CHAT, [silent, answer(MESSAGES, stream=stream)], provided(max_retries=2), stream=stream, model="m1")
    assert (hosts(told), told.header("x-proxy-route")) == (["first.internal", "second.internal"], "failover: first timeout")


def test_a_garbled_answer_is_asked_for_elsewhere() -> None:
    garbled = Answer(Head(200, ()), [b"<html>gateway</html>"])
    told = ask(CHAT, [garbled, answer(MESSAGES, stream=False)], provided(), stream=False, model="m1")
    assert (told.status, hosts(told)) == (200, ["first.internal", "second.internal"])


def test_a_refusal_of_the_model_is_an_answer() -> None:
    refused = plain(CHAT, choices=[{"index": 0, "message": {"role": "assistant", "content": "no"}, "finish_reason": "content_filter"}])
    told = ask(CHAT, [refused], provided(), stream=False, model="m1")
    assert (told.status, told.record.attempts) == (200, 1)


def test_when_all_have_failed_the_client_gets_the_last_error() -> None:
    told = ask(CHAT, [said(CHAT, 500), said(MESSAGES, 500), said(CHAT, 503, "third")], provided(), stream=False, model="m1")
    assert (told.status, told.json["error"]["code"]) == (503, "third")


# ---------------------------------------------------------------------------------------------------- conversations of a group

GROUP: list[dict[str, Any]] = [
    {"name": f"p{number}", "base_url": f"https://p{number}.internal/v1", "api_key": "k", "models": [{"id": f"g{number}", "group": "all"}]}
    for number in range(8)
]


def first_host(body: dict[str, Any], **headers: str) -> str:
    at = Gateway(Settings.from_sources([Source("config.json", Form.FILE, {"providers": GROUP, "max_retries": 0})]).settings)
    key = headers.pop("key", KEY)
    told = tell(request(PATH[CHAT], encoded(body), headers=headers, key=key), [plain(CHAT)], at=at)
    assert told.status == 200
    return hosts(told)[0]


def conversation(*turns: str, **more: Any) -> dict[str, Any]:
    return {"model": "all", "messages": [{"role": "user", "content": turn} for turn in turns], **more}


@pytest.mark.parametrize("member", ["prompt_cache_key", "user"])
def test_a_conversation_that_has_a_name_stays_with_one_member(member: str) -> None:
    assert len({first_host(conversation(f"turn {number}", **{member: "c1"})) for number in range(6)}) == 1
    assert len({first_host(conversation("turn", **{member: f"c{number}"})) for number in range(20)}) > 3


def test_a_conversation_is_known_by_its_header_before_anything_else() -> None:
    name = {"x-claude-code-session-id": "s1"}
    assert len({first_host(conversation("turn", user=f"c{number}"), **name) for number in range(6)}) == 1


def test_a_conversation_without_a_name_is_known_by_its_beginning() -> None:
    assert len({first_host(conversation("tell me of rivers", *["and more"] * turns)) for turns in range(8)}) == 1
    assert len({first_host(conversation(f"{number}: tell me of rivers")) for number in range(20)}) > 3
    assert len({first_host(conversation("tell me of rivers"), key=f"key-{number}") for number in range(20)}) > 3


# ---------------------------------------------------------------------------------------------------- breakers


def test_a_target_that_always_fails_is_left_alone_for_a_while() -> None:
    at = gateway(TEXT_ENDPOINT_PREFERENCE="openai", BREAKER_FAILURES="2", BREAKER_COOLDOWN="30")
    for _ in range(2):
        assert ask(CHAT, [said(CHAT, 500)], at, stream=False).status == 500
    told = ask(CHAT, [], at, stream=False)
    assert (told.status, told.json["error"]["code"], told.header("retry-after")) == (503, "no_target_available", "30")


def test_a_request_that_was_tried_often_has_failed_once() -> None:
    at = retrying(CHAT, BREAKER_FAILURES="2")
    assert ask(CHAT, [said(CHAT, 500)] * 3, at, stream=False).status == 500
    told = ask(CHAT, [said(CHAT, 500)] * 3, at, stream=False)
    assert (told.status, told.record.attempts) == (500, 3)
    assert ask(CHAT, [], at, stream=False).status == 503


def test_the_first_content_of_a_probe_lets_others_in() -> None:
    at = gateway(TEXT_ENDPOINT_PREFERENCE="openai", BREAKER_FAILURES="1", BREAKER_COOLDOWN="30")
    assert ask(CHAT, [said(CHAT, 500)], at, stream=False).status == 500
    world = ScriptedWorld([Answer(Head(200, (EVENTS,)), events(CHAT))], now=LATER)
    flow, states = exchange(request(PATH[CHAT], question(True)), at), []

    def before() -> Flow[None]:
        states.append(at.traffic.breakers.states(LATER)["international/openai"])
        yield from ()

    assert world.run(with_before(flow, Send, before)).status == 200
    assert states[0] is State.CLOSED


def test_a_client_that_leaves_gives_the_probe_back() -> None:
    at = gateway(TEXT_ENDPOINT_PREFERENCE="openai", BREAKER_FAILURES="1", BREAKER_COOLDOWN="30")
    assert ask(CHAT, [said(CHAT, 500)], at, stream=False).status == 500
    number = 2  # Now, Enter, and then Open
    left = tell(request(PATH[CHAT], question()), [plain(CHAT)], at=at, gone=number, now=LATER)
    assert (left.record.status, isinstance(left.world.performed[number], Open)) == (499, True)
    assert tell(request(PATH[CHAT], question()), [plain(CHAT)], at=at, now=LATER).status == 200


def test_a_request_with_a_fault_of_its_own_breaks_nothing() -> None:
    at = gateway(TEXT_ENDPOINT_PREFERENCE="openai", BREAKER_FAILURES="2")
    for _ in range(5):
        assert ask(CHAT, [said(CHAT, 400)], at, stream=False).status == 400


def test_an_unable_target_behind_a_broken_one_is_not_the_clients_fault() -> None:
    at = provided(breaker_failures=1, providers=[{**PROVIDERS[0], "models": [{"id": "m1", "fallbacks": ["m2"]}]}, PROVIDERS[1]])
    assert ask(CHAT, [said(CHAT, 500), plain(MESSAGES)], at, stream=False, model="m1").status == 200
    told = ask(CHAT, [], at, stream=False, model="m1", n=2)
    assert (told.status, told.json["error"]["code"], told.header("retry-after")) == (503, "no_target_available", "30")


def test_a_broken_target_is_passed_by() -> None:
    at = provided(breaker_failures=1)
    told = ask(CHAT, [said(CHAT, 500), answer(MESSAGES, stream=False)], at, stream=False, model="m1")
    assert hosts(told) == ["first.internal", "second.internal"]
    told = ask(CHAT, [answer(MESSAGES, stream=False)], at, stream=False, model="m1")
    assert (hosts(told), told.header("x-proxy-route")) == (["second.internal"], "failover: first open breaker")


# ---------------------------------------------------------------------------------------------------- gates and business codes


def test_a_place_is_taken_before_each_attempt_and_given_back_while_nothing_is_asked() -> None:
    told = ask(CHAT, [said(CHAT, 500), plain(CHAT)], retrying(CHAT), stream=False)
    names = [type(effect).__name__ for effect in told.world.performed if isinstance(effect, Enter | Leave | Pause)]
    assert names == ["Enter", "Leave", "Pause", "Enter"]


def test_who_finds_no_place_goes_elsewhere_or_is_told_when_to_come_back() -> None:
    at = gateway(TEXT_ENDPOINT_PREFERENCE="openai", KEY_QUEUE_TIMEOUT="3")
    told = tell(request(PATH[CHAT], question()), [], at=at, enters=[False])
    assert (told.status, told.json["error"]["code"], told.header("retry-after")) == (429, "concurrency_queue_full", "1")
    told = tell(request(PATH[CHAT], question(model="m1")), [plain(MESSAGES)], at=provided(), enters=[False, True])
    assert (told.status, told.header("x-proxy-route"), hosts(told)) == (200, "failover: first full line", ["second.internal"])


def test_a_streaming_client_is_kept_alive_in_line() -> None:
    at = gateway(TEXT_ENDPOINT_PREFERENCE="anthropic", SSE_PING_INTERVAL="2")
    told = tell(request(PATH[MESSAGES], question(True)), [streamed(MESSAGES)], at=at, enters=[None, None, True])
    assert told.body.count(b"event: ping") == 2
    assert accept(MESSAGES, told.body).kind == "complete"
    assert {effect.idle for effect in told.world.performed if isinstance(effect, Enter)} == {2.0}


def test_a_target_that_broke_while_a_request_was_in_line_is_not_asked() -> None:
    at = gateway(TEXT_ENDPOINT_PREFERENCE="openai", UPSTREAM_KEY_CONCURRENCY="1", BREAKER_FAILURES="1")
    label = "international/openai"
    gate = at.traffic.keys.gate(origin("https://chat.upstream.internal/o/v4"), Credential(KEY.encode()).digest, 1)
    assert gate is not None
    place = gate.join("another", 0.0, lambda: None)
    assert place is not None
    world = ScriptedWorld([])
    flow = exchange(request(PATH[CHAT], question()), at)

    def before() -> Flow[None]:
        leave = at.traffic.breakers.ask(label, 1000.0)
        assert leave is not None
        leave.over(Outcome.BAD, 1000.0)
        gate.leave(place, 1000.0)
        yield from ()

    record = world.run(with_before(flow, Enter, before))
    assert (record.status, record.error_code, gate.inside) == (503, "no_target_available", 0)


def test_a_target_that_cannot_be_told_the_request_is_passed_by() -> None:
    told = ask(CHAT, [said(CHAT, 500), plain(CHAT)], provided(), stream=False, model="m1", n=2)
    assert (told.status, hosts(told)) == (200, ["first.internal", "third.internal"])
    assert told.header("x-proxy-route") == "failover: second unable"
    told = ask(CHAT, [], provided(), stream=False, model="m2", n=2)
    assert (told.status, told.json["error"]["param"]) == (400, "n")


def test_both_endpoints_of_a_server_share_a_key() -> None:
    at = gateway(
        UPSTREAM_BASE="https://glm.internal/anthropic", OPENAI_UPSTREAM_BASE="https://glm.internal/v4", UPSTREAM_KEY_CONCURRENCY="1"
    )
    gates = []
    for model, wire in (("glm-4.6-openai", CHAT), ("glm-4.6-anthropic", MESSAGES)):
        told = tell(request(PATH[CHAT], question(model=model)), [plain(wire)], at=at)
        gates += [effect.gate for effect in told.world.performed if isinstance(effect, Enter)]
    assert gates[0] is gates[1]


def test_without_limits_there_is_no_gate() -> None:
    told = ask(CHAT, [said(CHAT, 500), plain(CHAT)], retrying(CHAT, UPSTREAM_KEY_CONCURRENCY="0"), stream=False)
    assert told.status == 200
    assert not any(isinstance(effect, Enter | Leave) for effect in told.world.performed)


@both
@pytest.mark.parametrize("status", [200, 429, 500])
def test_z_ai_says_that_there_are_too_many_at_once(stream: bool, status: int) -> None:
    told = ask(CHAT, [said(CHAT, status, "1302"), answer(CHAT, stream=stream)], retrying(CHAT), stream=stream)
    assert told.status == 200
    assert any(isinstance(effect, Leave) and effect.crowded for effect in told.world.performed)


@pytest.mark.parametrize(("status", "shown"), [(200, 402), (429, 429), (402, 402)])
def test_z_ai_says_that_the_balance_is_used_up(status: int, shown: int) -> None:
    at = retrying(CHAT)
    told = ask(CHAT, [said(CHAT, status, "1113")], at, stream=False)
    assert (told.status, told.json["error"]["code"], told.record.attempts) == (shown, "1113", 1)
    again = ask(CHAT, [], at, stream=False)
    assert (again.status, again.json["error"]["code"], again.header("retry-after")) == (402, "1113", "60")
    other = tell(request(PATH[CHAT], question(), key="another-key"), [plain(CHAT)], at=at)
    assert other.status == 200


def test_z_ai_is_asked_once_more_without_a_limit_it_does_not_like() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}]
    told = ask(CHAT, [said(CHAT, 400, "1210"), plain(CHAT)], retrying(CHAT), stream=False, messages=messages)
    assert told.status == 200
    assert [("max_tokens" in json.loads(sent.body)) for sent in told.world.opened] == [True, False]
    told = ask(CHAT, [said(CHAT, 400, "1210"), said(CHAT, 400, "1210")], retrying(CHAT), stream=False, messages=messages)
    assert (told.status, told.json["error"]["code"]) == (400, "1210")


def test_nothing_has_been_sent_when_there_is_no_credential() -> None:
    told = tell(request(PATH[CHAT], question(), key=None), [], at=retrying(CHAT))
    assert (told.status, told.json["error"]["code"]) == (401, "missing_upstream_credential")
    assert not any(isinstance(effect, Enter) for effect in told.world.performed)
    assert sum(isinstance(effect, Start) for effect in told.world.performed) == 1


def test_garbled_answers_are_not_asked_for_again_at_the_same_place() -> None:
    told = ask(CHAT, [Answer(UpstreamGarbled("nonsense"))], retrying(CHAT), stream=False)
    assert (told.status, told.record.attempts) == (502, 1)


# ---------------------------------------------------------------------------------------------------- reasoning that comes back

THOUGHT = "The weather has to be looked up."
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def thoughtful(*, stream: bool) -> list[bytes]:
    """An answer of DeepSeek that calls a tool, as it comes over the wire."""
    message = {"role": "assistant", "content": "", "reasoning_content": THOUGHT, "tool_calls": [{**CALL, "index": 0}]}
    head = {"id": "c1", "created": 1, "model": "real"}
    usage = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
    if not stream:
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        return [encoded({**head, "object": "chat.completion", "choices": [choice], "usage": usage})]
    chunks = [{"index": 0, "delta": message}, {"index": 0, "delta": {}, "finish_reason": "tool_calls"}]
    return [b"data: %b\n\n" % encoded({**head, "object": "chat.completion.chunk", "choices": [one]}) for one in chunks] + [
        b"data: [DONE]\n\n"
    ]


@both
@pytest.mark.parametrize("streams", [False, True], ids=["answered whole", "answered in a stream"])
def test_reasoning_that_a_client_drops_is_put_back(stream: bool, streams: bool) -> None:
    provider = {**PROVIDERS[0], "preset": "deepseek", "models": [{"id": "deep"}]}
    at = provided(providers=[provider])
    beginning = {"role": "user", "content": "What is the weather?"}
    body = question(stream or False, model="deep", messages=[beginning], tools=[TOOL])
    first = tell(request(PATH[CHAT], body), [Answer(Head(200, (EVENTS,) if streams else ()), thoughtful(stream=streams))], at=at)
    assert first.status == 200
    turns = [
        beginning,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "fine"},
    ]
    second = question(model="deep", messages=turns, tools=[TOOL])
    told = tell(request(PATH[CHAT], second), [plain(CHAT)], at=at, cache=first.world.cache)
    assert told.upstream["messages"][1]["reasoning_content"] == THOUGHT
