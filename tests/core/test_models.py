"""The model list: one shape for both kinds of client, paged, and extended by what the upstream knows."""

from __future__ import annotations

from typing import Any

import pytest

from core.effects import Fetch, Head
from core.errors import UpstreamFailed, UpstreamTimeout
from core.gateway import Gateway
from core.settings import Settings
from core.settings.upstreams import Bases, Limits, Model, Provider
from core.testing import Answer
from tests.core.exchanges import CHAT, INBOUND_KEY, JSON, KEY, MESSAGES, SERVER_KEY, encoded, gateway, request, tell, towards

LISTED = '["a","b","c","d","e"]'


def item(name: str, window: int | None = 200_000, answer: int | None = None) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "type": "model",
        "created": 1_234_567_890,
        "created_at": "2009-02-13T23:31:30Z",
        "display_name": name,
        "owned_by": "proxy",
        "lifecycle": "active",
        "max_input_tokens": window,
        "max_tokens": answer,
    }


def get(target: str, at: Gateway | None = None, **world: Any) -> Any:
    return tell(request(target, method="GET"), at=at or gateway(OPENAI_MODELS_LIST_JSON=LISTED), **world)


def test_the_list_is_the_text_model_plain_and_with_both_suffixes() -> None:
    names = ["glm-4.6", "glm-4.6-openai", "glm-4.6-anthropic"]
    assert get("/v1/models", gateway()).json == {
        "object": "list",
        "data": [item(name, 200_000, 131_072) for name in names],
        "has_more": False,
        "first_id": "glm-4.6",
        "last_id": "glm-4.6-anthropic",
    }


def test_the_list_can_be_given_and_keeps_its_order_without_duplicates() -> None:
    listed = get("/models", gateway(OPENAI_MODELS_LIST_JSON='["z","glm-4.5v","a","z"]')).json
    assert listed["data"] == [item("z"), item("glm-4.5v", 65_536, 16_384), item("a")]


@pytest.mark.parametrize(
    ("query", "names", "more"),
    [
        ("", "abcde", False),
        ("limit=1000", "abcde", False),
        ("limit=5", "abcde", False),
        ("limit=2", "ab", True),
        ("limit=02", "ab", True),
        ("limit=2&after_id=b", "cd", True),
        ("limit=2&after_id=c", "de", False),
        ("after_id=e", "", False),
        ("after_id=b", "cde", False),
        ("before_id=c", "ab", False),
        ("limit=2&before_id=e", "cd", True),
        ("limit=2&before_id=c", "ab", False),
        ("before_id=a", "", False),
        ("after_id=a&before_id=d", "bc", False),
        ("after_id=d&before_id=b", "", False),
        ("limit=&after_id=", "abcde", False),
        ("beta=true", "abcde", False),
    ],
)
def test_the_list_is_paged_by_cursors(query: str, names: str, more: bool) -> None:
    page = get(f"/v1/models?{query}").json
    assert [model["id"] for model in page["data"]] == list(names)
    ends = (names[0], names[-1]) if names else (None, None)
    assert (page["has_more"], page["first_id"], page["last_id"]) == (more, *ends)


@pytest.mark.parametrize(("query", "param"), [*((f"limit={text}", "limit") for text in ("0", "1001", "-1", "x", "1.5", "00001", "%D9%A3", "1" * 5000)), ("after_id=x", "after_id"), ("before_id=x%0A", "before_id")])  # fmt: skip
def test_a_page_that_cannot_be_is_400(query: str, param: str) -> None:
    told = get(f"/v1/models?{query}")
    assert (told.status, told.json["error"]["param"], told.json["error"]["code"]) == (400, param, "invalid_request")
    assert told.json["error"]["message"].isprintable()
    assert len(told.json["error"]["message"]) < 120


@pytest.mark.parametrize("target", ["/v1/models/a", "/models/a", "/v1/models/a/", "/v1/models/%61", "/v1/models/a?x=1"])
def test_one_of_the_list_is_answered_without_asking_anyone(target: str) -> None:
    told = get(target)
    assert told.json == item("a")
    assert told.world.fetched == []


# ---------------------------------------------------------------------------------------------------- the upstream


@pytest.mark.parametrize(
    ("protocol", "url", "headers"),
    [
        (
            MESSAGES,
            "https://messages.upstream.internal/a/v1/models/glm-5%2Fair",
            {b"x-api-key": KEY.encode(), b"anthropic-version": b"2023-06-01"},
        ),
        (CHAT, "https://chat.upstream.internal/o/v4/models/glm-5%2Fair", {b"authorization": b"Bearer " + KEY.encode()}),
    ],
)
def test_another_model_exists_if_its_upstream_says_so(protocol: Any, url: str, headers: dict[bytes, bytes]) -> None:
    told = get("/v1/models/glm-5/air", towards(protocol), fetches=[Answer(Head(200, [JSON]), [encoded({"id": "glm-5/air"})])])
    assert (told.status, told.json) == (200, item("glm-5/air"))
    (sent,) = told.world.fetched
    assert (sent.method, sent.url, sent.body) == ("GET", url, b"")
    assert dict(sent.headers) == {
        b"content-type": b"application/json",
        b"accept": b"application/json",
        b"user-agent": b"anthropic-proxy/0.1",
        **headers,
    }
    (fetch,) = [effect for effect in told.world.performed if isinstance(effect, Fetch)]
    assert fetch.timeout == 5


def test_a_suffix_stays_with_the_client_and_decides_whom_to_ask() -> None:
    told = get("/v1/models/glm-5-openai", gateway(), fetches=[Answer(Head(200, [JSON]), [b'{"id":"glm-5"}'])])
    assert told.world.fetched[0].url == "https://chat.upstream.internal/o/v4/models/glm-5"
    assert told.json["id"] == "glm-5-openai"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(Head(404, [JSON]), [b'{"id":"x"}']),
        Answer(Head(200, [JSON]), [b'{"object":"list"}']),
        Answer(Head(200, [JSON]), [b"[]"]),
        Answer(Head(200, [JSON]), [b"<html>"]),
        Answer(Head(200, [JSON]), [b'{"\xff":1}']),
        Answer(Head(200, [JSON]), [b'{"a":' * 5000]),
        Answer(Head(200, [JSON])),
        Answer(UpstreamFailed("no")),
        Answer(UpstreamTimeout("slow")),
    ],
    ids=["404", "another object", "a list", "a page", "no UTF-8", "nested without end", "nothing", "failure", "silence"],
)
def test_a_model_that_nobody_knows_is_404(answer: Answer) -> None:
    told = get("/v1/models/nobody/knows", fetches=[answer])
    assert (told.status, len(told.world.fetched)) == (404, 1)
    assert told.json["error"]["code"] == "model_not_found"
    assert told.json["error"]["message"].isprintable()


def test_nobody_is_asked_without_a_credential_and_the_inbound_key_is_none() -> None:
    for at, key in ((gateway(), None), (gateway(PROXY_API_KEY=INBOUND_KEY), INBOUND_KEY)):
        told = tell(request("/v1/models/x", method="GET", key=key), at=at)
        assert (told.status, told.world.fetched) == (404, [])
    told = tell(
        request("/v1/models/x", method="GET", key=INBOUND_KEY),
        at=gateway(PROXY_API_KEY=INBOUND_KEY, SERVER_API_KEY=SERVER_KEY),
        fetches=[Answer(Head(200, [JSON]), [b'{"id":"x"}'])],
    )
    assert told.status == 200
    assert INBOUND_KEY not in repr(told.world.fetched)


KNOWN = Answer(Head(200, [JSON]), [b'{"id":"x"}'])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_look_at_the_upstream_counts_as_a_request(method: str) -> None:
    at = gateway(OPENAI_MODELS_LIST_JSON=LISTED, RATE_LIMIT_PER_MINUTE="2")
    for status in (200, 200, 429):
        told = tell(request("/v1/models/x", method=method), at=at, fetches=[KNOWN], now=1000.0)
        assert (told.status, len(told.world.fetched)) == (status, int(status == 200))
    assert told.header("retry-after") == "60"
    assert [get(f"/v1/models{rest}", at).status for rest in ("", "/a")] == [200, 200]


def test_where_nobody_is_asked_nothing_is_counted() -> None:
    at = gateway(OPENAI_MODELS_LIST_JSON=LISTED, RATE_LIMIT_PER_MINUTE="1")
    for target in ("/v1/models/..", "/v1/models/a", "/v1/models"):
        get(target, at)
    assert tell(request("/v1/models/x", method="GET", key=None), at=at).status == 404
    assert get("/v1/models/x", at, fetches=[KNOWN]).status == 200


@pytest.mark.parametrize(
    "id",
    [
        "..",
        ".",
        "a%2F..%2Fb",
        "a/../b",
        "../x",
        "%2e%2e",
        "a/..",
        "..-openai",
        "..%5Cx",
        "a%00",
        "a%0Ab",
        "a%7F",
        "%C3%A9",
        "%ff",
        "a" * 257,
    ],
)
def test_what_no_model_is_called_is_404_without_asking_anyone(id: str) -> None:
    told = get(f"/v1/models/{id}", fetches=[KNOWN])
    assert (told.status, told.json["error"]["code"], told.world.fetched) == (404, "model_not_found", [])
    assert told.json["error"]["message"].isprintable()


def test_an_alias_makes_no_name_of_what_is_none() -> None:
    at = gateway(MODEL_MAP_JSON='{"claude-*":"glm-5"}')
    for name, status in (("claude-x", 200), ("claude-%0A", 404), ("claude-/../x", 404), ("claude-" + "x" * 250, 404)):
        assert get(f"/v1/models/{name}", at, fetches=[KNOWN]).status == status


@pytest.mark.parametrize("id", ["a" * 256, "a..b", "...", "org/name", "a b"])
def test_what_a_model_may_be_called_is_asked_for(id: str) -> None:
    assert get(f"/v1/models/{id}", fetches=[KNOWN]).status == 200


# ---------------------------------------------------------------------------------------------------- providers

PROVIDER = Provider("p", Bases(openai="https://p.example/v1"), (Model("m", "m-1", "M", Limits(10, 5)),), "provider-key")


def serving(**settings: Any) -> Gateway:
    return Gateway(Settings(providers=(PROVIDER,), **settings))


@pytest.mark.parametrize("name", ["m", "m-openai", "m-anthropic", "any-alias"])
@pytest.mark.parametrize("only", [True, False])
def test_a_providers_model_is_known_by_every_name_without_asking_anyone(name: str, only: bool) -> None:
    told = get(f"/v1/models/{name}", serving(provider_only=only, model_map_json={"any-*": "m"}))
    assert (told.status, told.json["id"], told.json["max_input_tokens"], told.json["max_tokens"]) == (200, name, 10, 5)
    assert told.world.fetched == []


def test_with_providers_only_nobody_is_asked_for_another_model() -> None:
    told = get("/v1/models/glm-4.6", serving(provider_only=True))
    assert (told.status, told.json["error"]["code"], told.world.fetched) == (404, "model_not_found", [])


def test_an_alias_is_asked_for_by_what_it_stands_for() -> None:
    at = gateway(MODEL_MAP_JSON='{"claude-*":"glm-5"}')
    told = get("/v1/models/claude-x-openai", at, fetches=[Answer(Head(200, [JSON]), [b'{"id":"glm-5"}'])])
    assert (told.json["id"], told.world.fetched[0].url) == ("claude-x-openai", "https://chat.upstream.internal/o/v4/models/glm-5")
