"""count_tokens: by the upstream where it can, here where it cannot, and always an answer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from core.effects import Compute, Fetch, Head
from core.errors import UpstreamFailed, UpstreamGarbled, UpstreamTimeout
from core.gateway import Gateway
from core.settings import Settings
from core.settings.upstreams import Bases, GlmModel, Model, Provider
from core.testing import Answer
from core.tokens import Counter, estimate_payload
from tests.core.exchanges import INBOUND_KEY, JSON, KEY, MESSAGES, SERVER_KEY, Told, encoded, gateway, plain, request, tell

PATH = "/v1/messages/count_tokens"
SMALL: dict[str, Any] = {"model": "glm-4.6", "messages": [{"role": "user", "content": "Say hello"}]}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
SEEING: dict[str, Any] = SMALL | {"messages": [{"role": "user", "content": [PICTURE, {"type": "text", "text": "What is this?"}]}]}
COUNTER = Counter()
COUNTER.payload(b"{}")


def local(**settings: str) -> Gateway:
    """A gateway that counts by itself."""
    return gateway(FORWARD_COUNT_TO_UPSTREAM="no", **settings)


def said(value: object, status: int = 200, *headers: tuple[bytes, bytes]) -> Answer:
    body = value if isinstance(value, bytes) else encoded(value)
    return Answer(Head(status, (JSON, *headers)), [body] if body else [])


def count(body: object, answer: Answer | None = None, *, at: Gateway | None = None, path: str = PATH, **more: Any) -> Told:
    fetches = [] if answer is None else [answer]
    asked = {name: more.pop(name) for name in ("headers", "key") if name in more}
    data = body if isinstance(body, bytes) else encoded(body)
    return tell(request(path, data, **asked), at=at or (local() if answer is None else gateway()), fetches=fetches, **more)


def counted(told: Told) -> int:
    number = told.json["input_tokens"]
    assert isinstance(number, int)
    return number


# ------------------------------------------------------------------------------------------------------------- here


def test_the_answer_has_one_number_under_three_names_and_says_whose_it_is() -> None:
    told = count(SMALL)
    number = COUNTER.payload(encoded(SMALL))
    assert told.json == {"input_tokens": number, "token_count": number, "input_token_count": number, "proxy_estimate": True}
    assert told.header("x-proxy-estimate") == "true"
    assert told.header("x-proxy-count-scaled") is None
    assert (told.world.opened, told.world.fetched) == ([], [])
    assert count(SMALL, at=local(PROXY_HEADERS="no")).header("x-proxy-estimate") is None


def test_no_credential_is_needed_but_the_inbound_key() -> None:
    assert count(SMALL, key=None).status == 200
    assert count(SMALL, key=None, at=local(PROXY_API_KEY=INBOUND_KEY)).status == 401


@pytest.mark.parametrize(
    "more",
    [
        {"system": "You are a careful assistant that says hello."},
        {"tools": [{"name": "greet", "description": "Says hello to someone", "input_schema": {"type": "object", "properties": {"name": {"type": "string"}}}}]},
        {"messages": [*SMALL["messages"], {"role": "assistant", "content": [{"type": "thinking", "thinking": "I should be polite", "signature": "x"}, {"type": "tool_use", "id": "t", "name": "greet", "input": {"name": "World"}}]}]},
        {"messages": [*SMALL["messages"], {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "Hello, World"}]}]},
        {"messages": [*SMALL["messages"], {"role": "user", "content": [PICTURE]}]},
    ],
    ids=["system", "tools", "thinking and calls", "results", "images"],
)  # fmt: skip
def test_everything_in_a_request_counts(more: dict[str, Any]) -> None:
    assert counted(count(SMALL | more)) >= counted(count(SMALL)) + 5


ODD: list[object] = [
    {"messages": "hello"},
    {"messages": ["a", {"type": "text", "text": "b"}, {"content": "c"}, {"message": "d"}, 5]},
    {"system": "s"},
    {"text": "t"},
    {"text": " "},
    {"tools": [], "messages": []},
    {"model": 5, "messages": "hello"},
]


@pytest.mark.parametrize("body", ODD)
def test_odd_forms_are_counted_too_and_are_never_nothing(body: object) -> None:
    told = count(body)
    assert told.status == 200
    assert counted(told) > 0


@pytest.mark.parametrize("body", ODD)
def test_odd_forms_are_passed_on_as_they_are_for_the_upstream_to_refuse(body: dict[str, Any]) -> None:
    told = count(body, said({"type": "error", "error": {"type": "invalid_request_error", "message": "messages: expected a list"}}, 400))
    (sent,) = told.world.fetched
    assert json.loads(sent.body) == body | {"model": "glm-4.6"}
    assert counted(told) == COUNTER.payload(encoded(body))


def test_a_body_that_is_none_is_refused() -> None:
    told = count(b"[1]")
    assert (told.status, told.json["error"]["code"]) == (400, "invalid_json")


def test_a_count_goes_to_a_thread_when_it_is_long_or_may_load_the_vocabulary() -> None:
    at = local()
    assert at.counter.ready is False
    first, second, long = (count(SMALL | {"system": "word " * words}, at=at) for words in (1, 2, 5000))
    assert [sum(isinstance(effect, Compute) for effect in told.world.performed) for told in (first, second, long)] == [1, 0, 1]
    (compute,) = [effect for effect in long.world.performed if isinstance(effect, Compute)]
    assert counted(long) == compute.function(*compute.args) > 5000


def test_a_client_that_leaves_while_it_is_counted_leaves_a_record() -> None:
    told = count(SMALL | {"system": "word " * 5000}, gone=0)
    assert (told.record.status, told.record.endpoint, told.world.head) == (499, PATH, None)


def test_without_a_vocabulary_the_number_is_an_estimate() -> None:
    body = encoded(SMALL | {"system": "数据" * 50})
    for at in (local(ENABLE_ACCURATE_TOKEN_COUNTING="no"), local(TOKEN_COUNTING_MODEL="o200k_base")):
        assert counted(count(body, at=at)) == estimate_payload(body) != COUNTER.payload(body)


# ---------------------------------------------------------------------------------------------------- by the upstream


def test_an_upstream_that_speaks_messages_is_asked_in_its_words() -> None:
    headers = {"anthropic-beta": "token-counting-2024-11-01", "anthropic-version": "2026-10-21"}
    body = b'{"unknown": [1, 2],  "model":"", "messages" :[{"role":"user","content":"Say hello"}]}'
    told = count(body, said({"input_tokens": 7}), headers=headers, path=PATH + "?beta=true")
    (fetch,) = [effect for effect in told.world.performed if isinstance(effect, Fetch)]
    sent, told_headers = fetch.request, dict(fetch.request.headers)
    assert (sent.method, sent.url, fetch.timeout) == (
        "POST",
        "https://messages.upstream.internal/a/v1/messages/count_tokens?beta=true",
        5.0,
    )
    assert sent.body == body.replace(b'""', b'"glm-4.6"')
    assert told_headers[b"x-api-key"] == KEY.encode()
    assert told_headers[b"anthropic-beta"] == b"token-counting-2024-11-01"
    assert told_headers[b"anthropic-version"] == b"2026-10-21"
    assert told_headers[b"accept"] == b"application/json"
    assert told.world.opened == []


def test_its_answer_is_passed_on_with_the_two_other_names() -> None:
    told = count(SMALL, said({"input_tokens": 7, "cache": {"x": [1.5]}}, 200, (b"request-id", b"up_1"), (b"retry-after", b"3")))
    assert told.json == {"input_tokens": 7, "cache": {"x": [1.5]}, "token_count": 7, "input_token_count": 7}
    assert told.header("x-proxy-estimate") is None
    assert (told.header("x-upstream-request-id"), told.header("retry-after")) == ("up_1", "3")
    assert (told.header("x-proxy-upstream"), told.header("x-proxy-model")) == ("international/anthropic", "glm-4.6")
    record = told.record
    assert (record.model, record.upstream_model, record.upstream_status, record.attempts) == ("glm-4.6", "glm-4.6", 200, 1)


def test_the_strict_shape_is_one_number() -> None:
    for answer, at in ((said({"input_tokens": 7, "cache": 1}), gateway(COUNT_SHAPE_COMPAT="no")), (None, local(COUNT_SHAPE_COMPAT="no"))):
        told = count(SMALL, answer, at=at)
        assert told.json == {"input_tokens": 7 if answer else COUNTER.payload(encoded(SMALL))}
        assert told.header("x-proxy-estimate") == (None if answer else "true")


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ({"input_tokens": 7.9}, 7),
        ({"input_tokens": "7"}, 7),
        ({"input_tokens": " 7.0 "}, 7),
        ({"token_count": 7}, 7),
        ({"input_token_count": 7}, 7),
        ({"input_tokens": 0, "token_count": 7}, 7),
        ({"input_tokens": None, "input_token_count": 7}, 7),
        ({"input_tokens": 7, "token_count": 8}, 7),
        ({"input_tokens": 2**53}, 2**53),
    ],
    ids=str,
)
def test_a_number_is_read_however_it_is_written(answer: object, number: int) -> None:
    told = count(SMALL, said(answer))
    assert told.json["input_tokens"] == told.json["token_count"] == told.json["input_token_count"] == number
    assert "proxy_estimate" not in told.json


@pytest.mark.parametrize(
    "answer",
    [
        said({"error": {"message": "no such path"}}, 404),
        said({"input_tokens": 7}, 500),
        said({"input_tokens": 7}, 302),
        said({"code": 500, "msg": "404 NOT_FOUND", "success": False}),
        said({"input_tokens": 0}),
        said({"input_tokens": -7}),
        said({"input_tokens": True}),
        said({"input_tokens": "many"}),
        said({"input_tokens": "NaN"}),
        said({"input_tokens": "1e999"}),
        said({"input_tokens": 2**53 + 1}),
        said(b'{"input_tokens":1' + b"0" * 400 + b"}"),
        said({"input_tokens": [7]}),
        said([7]),
        said(b"<html>"),
        said(b""),
        said(b"\xff"),
        said(b"[" * 100_000),
        Answer(UpstreamFailed("connection refused", code="upstream_request_failed", phase="connect")),
        Answer(UpstreamTimeout("no answer in 5 s")),
        Answer(UpstreamGarbled("not HTTP")),
    ],
    ids=lambda answer: str(answer.head.status) + repr(answer.body)[:40] if isinstance(answer.head, Head) else type(answer.head).__name__,
)
def test_whatever_goes_wrong_there_is_counted_here(answer: Answer) -> None:
    told = count(SMALL, answer)
    number = COUNTER.payload(encoded(SMALL))
    assert told.status == 200
    assert told.json == {"input_tokens": number, "token_count": number, "input_token_count": number, "proxy_estimate": True}
    assert told.header("x-proxy-estimate") == "true"
    assert told.record.error_code is None
    assert any(note.startswith("counted here: ") for note in told.record.notes)


def test_failed_counts_open_no_breaker() -> None:
    at = gateway(BREAKER_FAILURES="1")
    failed = Answer(UpstreamFailed("connection refused", code="upstream_request_failed", phase="connect"))
    for _ in range(5):
        assert len(count(SMALL, failed, at=at).world.fetched) == 1
    assert counted(count(SMALL, said({"input_tokens": 7}), at=at)) == 7


def test_what_cannot_be_forwarded_is_counted_here() -> None:
    nowhere: list[tuple[Gateway, dict[str, Any]]] = [
        (gateway(), {"key": None}),
        (gateway(FORWARD_CLIENT_KEY="no"), {}),
        (gateway(TEXT_ENDPOINT_PREFERENCE="openai"), {}),
        (gateway(FORWARD_COUNT_TO_UPSTREAM="no"), {}),
    ]
    for at, more in nowhere:
        told = count(SMALL, at=at, **more)
        assert (told.status, told.world.fetched) == (200, [])
        assert counted(told) == COUNTER.payload(encoded(SMALL))
        assert told.record.attempts == 0


@pytest.mark.parametrize(
    ("at", "model", "about"),
    [
        (local(), "glm-4.6", ("international/anthropic", "glm-4.6", "auto: /v1/messages")),
        (local(), "glm-4.5v-openai", ("international/openai", "glm-4.6", "suffix: -openai")),
        (local(PROXY_HEADERS="no"), "glm-4.6", (None, None, None)),
    ],
)
def test_what_is_counted_here_says_for_whom(at: Gateway, model: str, about: tuple[str | None, ...]) -> None:
    told = count(SMALL | {"model": model}, at=at)
    assert tuple(told.header(f"x-proxy-{name}") for name in ("upstream", "model", "route")) == about


def test_the_credential_is_the_one_a_message_would_have() -> None:
    for at, key in ((gateway(SERVER_API_KEY=SERVER_KEY), KEY), (gateway(SERVER_API_KEY=SERVER_KEY, FORWARD_CLIENT_KEY="no"), SERVER_KEY)):
        (sent,) = count(SMALL, said({"input_tokens": 7}), at=at).world.fetched
        assert (b"x-api-key", key.encode()) in sent.headers


# ----------------------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize(
    ("model", "settings", "upstream"),
    [
        ("glm-4.6", {}, "glm-4.6"),
        ("", {}, "glm-4.6"),
        ("glm-4.6-anthropic", {}, "glm-4.6"),
        ("claude-sonnet-4-5", {"MODEL_MAP_JSON": '{"claude-*":"glm-4.6"}'}, "glm-4.6"),
        ("glm-4.5v", {}, "glm-4.6"),
        ("glm-4.6v-flash", {}, "glm-4.6"),
        ("glm-4.6v-flash", {"AUTOTEXT_MODEL": "mine"}, "mine"),
        ("eyes", {"AUTOVISION_MODEL": "eyes"}, "glm-4.6"),
    ],
)
@pytest.mark.parametrize("base", [SMALL, SEEING], ids=["text", "picture"])
def test_the_model_is_that_of_the_request_but_never_one_that_sees(
    base: dict[str, Any], model: str, settings: dict[str, str], upstream: str
) -> None:
    (sent,) = count(base | {"model": model}, said({"input_tokens": 7}), at=gateway(**settings)).world.fetched
    assert json.loads(sent.body) == base | {"model": upstream}


@pytest.mark.parametrize("model", ["glm-5", "glm-4.5-air", "glm-5-anthropic", "glm-9"])
def test_a_picture_takes_any_text_model_to_the_text_default_because_the_one_that_sees_would_answer(model: str) -> None:
    (sent,) = count(SMALL | {"model": model}, said({"input_tokens": 7})).world.fetched
    assert json.loads(sent.body)["model"] == model.removesuffix("-anthropic")
    told = count(SEEING | {"model": model}, said({"input_tokens": 7}))
    (sent,) = told.world.fetched
    assert json.loads(sent.body) == SEEING | {"model": "glm-4.6"}
    assert told.header("x-proxy-model") == "glm-4.6"


def test_the_text_default_is_asked_for_by_its_name_upstream() -> None:
    entry = GlmModel("mine", "Mine", "glm-5")
    at = Gateway(replace(Settings.from_mapping({"AUTOTEXT_MODEL": "mine", "SERVER_API_KEY": SERVER_KEY}), models=(entry,)))
    for body in (SMALL | {"model": "glm-4.5v"}, SEEING | {"model": "glm-4.6"}):
        (sent,) = count(body, said({"input_tokens": 7}), at=at).world.fetched
        assert json.loads(sent.body)["model"] == "glm-5"


def test_a_text_default_of_a_provider_counts_there() -> None:
    provider = Provider("p", Bases(anthropic="https://p.internal"), (Model("m", "their-m", "M"),), "provider-key")
    at = Gateway(replace(Settings.from_mapping({"AUTOTEXT_MODEL": "m"}), providers=(provider,)))
    told = count(SEEING | {"model": "glm-5"}, said({"input_tokens": 7}), at=at)
    (sent,) = told.world.fetched
    assert (sent.url, json.loads(sent.body)["model"]) == ("https://p.internal/v1/messages/count_tokens", "their-m")


def provided(**bases: str) -> Gateway:
    provider = Provider("p", Bases(**bases), (Model("m", "their-m", "M", vision=False),), "provider-key")
    return Gateway(Settings(providers=(provider,), provider_only=True))


def test_a_provider_that_speaks_messages_is_asked_with_its_own_key_and_its_numbers_are_not_scaled() -> None:
    told = count(SEEING | {"model": "m"}, said({"input_tokens": 7}), at=provided(anthropic="https://p.internal"))
    (sent,) = told.world.fetched
    assert sent.url == "https://p.internal/v1/messages/count_tokens"
    assert (b"x-api-key", b"provider-key") in sent.headers
    assert json.loads(sent.body)["model"] == "their-m"
    assert (counted(told), told.header("x-proxy-count-scaled")) == (7, None)


def test_for_a_provider_that_speaks_chat_is_counted_here() -> None:
    body = SMALL | {"model": "m"}
    told = count(body, at=provided(openai="https://p.internal"))
    assert (told.world.fetched, counted(told)) == ([], COUNTER.payload(encoded(body)))


def test_a_model_that_nobody_has_is_refused_as_for_messages() -> None:
    told = count(SMALL, at=provided(anthropic="https://p.internal"))
    assert (told.status, told.json["error"]["code"]) == (400, "unknown_model")


# ---------------------------------------------------------------------------------------------------------- scaling


@pytest.mark.parametrize(
    ("settings", "number"),
    [
        ({}, 7 * 200_000 // 65_536),
        ({"REAL_VISION_MODEL_TOKENS": "100000"}, 14),
        ({"REAL_VISION_MODEL_TOKENS": "100000000"}, 1),
        ({"REAL_VISION_MODEL_TOKENS": "200000"}, 7),
        ({"SCALE_COUNT_TOKENS_FOR_VISION": "no"}, 7),
        ({"ENABLE_TOKEN_SCALING": "no"}, 7),
        ({"ANTHROPIC_EXPECTED_TOKENS": "65536"}, 7),
    ],
    ids=str,
)
def test_pictures_on_a_glm_server_scale_the_number(settings: dict[str, str], number: int) -> None:
    told = count(SEEING, said({"input_tokens": 7}), at=gateway(**settings))
    assert counted(told) == told.json["token_count"] == number
    assert told.header("x-proxy-count-scaled") == (None if number == 7 else "VISION")
    text = count(SMALL, said({"input_tokens": 7}), at=gateway(**settings))
    assert (counted(text), text.header("x-proxy-count-scaled")) == (7, None)


BASES = {"UPSTREAM_BASE": "https://messages.upstream.internal/a", "OPENAI_UPSTREAM_BASE": "https://chat.upstream.internal/o/v4"}
PREFERENCES = {preference: {**BASES, "TEXT_ENDPOINT_PREFERENCE": preference} for preference in ("auto", "openai", "endpoint")}


def owned(**settings: Any) -> Settings:
    return replace(Settings.from_mapping(PREFERENCES["openai"]), **settings)


def seeing(**bases: str) -> Settings:
    provider = Provider("p", Bases(**bases), (Model("glm-4.6", "their-m", "M", vision=True),), "provider-key")
    return Settings(providers=(provider,), anthropic_expected_tokens=150_000)


#: Every cell of the table of factors, and who is in none of them.
CELLS: dict[str, Settings] = {
    **{f"{name} {size}": Settings.from_mapping({**found, "OPENAI_EXPECTED_TOKENS": size}) for name, found in PREFERENCES.items() for size in ("200000", "128000")},
    "Messages alone": Settings.from_mapping({"UPSTREAM_BASE": BASES["UPSTREAM_BASE"]}),
    "chat alone": Settings.from_mapping({"OPENAI_UPSTREAM_BASE": BASES["OPENAI_UPSTREAM_BASE"], "OPENAI_EXPECTED_TOKENS": "128000"}),
    "not scaled": owned(enable_token_scaling=False, openai_expected_tokens=128_000),
    "a model of another window": owned(models=(GlmModel("glm-4.6", "G", "glm-4.6", openai_expected_tokens=64_000),)),
    "a vision model of another window": owned(models=(GlmModel("see", "S", "glm-4.5v", openai_expected_tokens=64_000),), real_vision_model_tokens=9000),
    "a provider of Messages": seeing(anthropic="https://p.internal"),
    "a provider of chat": seeing(openai="https://p.internal"),
}  # fmt: skip


@pytest.mark.parametrize("base", [SMALL, SEEING], ids=["text", "picture"])
@pytest.mark.parametrize("settings", CELLS.values(), ids=CELLS.keys())
def test_a_count_agrees_with_the_usage_of_the_answer(settings: Settings, base: dict[str, Any]) -> None:
    at = Gateway(replace(settings, forward_count_to_upstream=False))
    number = COUNTER.payload(encoded(base))
    wire = at.route(base["model"], images=base is SEEING, wire=MESSAGES)[0].protocol
    usage = {"input_tokens": number, "output_tokens": 1} if wire is MESSAGES else {"prompt_tokens": number, "completion_tokens": 1}
    answered = tell(request("/v1/messages", encoded(base)), [plain(wire, usage=usage)], at=at)
    told = count(base, at=at)
    assert counted(told) == answered.json["usage"]["input_tokens"]
    assert (told.header("x-proxy-count-scaled") == "VISION") is (base is SEEING and counted(told) != number)


def test_pictures_that_do_not_go_to_the_chat_side_are_not_scaled() -> None:
    at = gateway(OPENAI_UPSTREAM_BASE="")
    assert at.route("glm-4.6", images=True, wire=MESSAGES)[0].protocol is MESSAGES
    told = count(SEEING, said({"input_tokens": 7}), at=at)
    assert (counted(told), told.header("x-proxy-count-scaled")) == (7, None)


def test_a_number_counted_here_is_scaled_as_well() -> None:
    told = count(SEEING)
    assert counted(told) == COUNTER.payload(encoded(SEEING)) * 200_000 // 65_536
    assert told.header("x-proxy-count-scaled") == "VISION"
    assert count(SEEING, at=local(PROXY_HEADERS="no")).header("x-proxy-count-scaled") is None


# ---------------------------------------------------------------------------------------------------------- logging


@pytest.mark.parametrize(
    ("body", "answer", "note"),
    [
        (SMALL, None, "counted 8 tokens in {size} bytes by cl100k_base"),
        (SMALL, said({"input_tokens": 7}), "counted 7 tokens in {size} bytes by international/anthropic"),
        (SEEING, said({"input_tokens": 7}), "counted 7 tokens in {size} bytes by international/anthropic, scaled to 21"),
    ],
)
def test_every_count_is_logged_if_that_is_asked_for(body: dict[str, Any], answer: Answer | None, note: str) -> None:
    number = COUNTER.payload(encoded(SMALL))
    expected = note.format(size=len(encoded(body))).replace("counted 8 ", f"counted {number} ")
    forward = "no" if answer is None else "yes"
    told = count(body, answer, at=gateway(ENABLE_TOKEN_COUNTING_LOGGING="yes", FORWARD_COUNT_TO_UPSTREAM=forward))
    assert expected in told.record.notes
    assert not any(line.startswith("counted 7") for line in count(body, answer, at=gateway(FORWARD_COUNT_TO_UPSTREAM=forward)).record.notes)
