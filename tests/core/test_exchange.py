"""The door of the proxy: paths, methods, bodies, who may come in, and how it says no."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.effects import Head, Now, Send, Start
from core.endpoints import ENDPOINTS
from core.errors import MethodNotAllowed, TooLarge, Unavailable, UpstreamSaid
from core.exchange import exchange, refusal
from core.testing import Answer, ScriptedWorld
from tests.core.exchanges import (
    CHAT,
    INBOUND_KEY,
    JSON,
    KEY,
    MESSAGES,
    PATH,
    SERVER_KEY,
    Told,
    encoded,
    gateway,
    plain,
    question,
    request,
    tell,
    towards,
)

#: What an upstream says that counts.
COUNTED = Answer(Head(200, (JSON,)), [b'{"input_tokens":7}'])

# ---------------------------------------------------------------------------------------------------- paths

#: path -> the endpoint that answers it, and the method that it takes.
SERVED = {
    "/v1/chat/completions": ("/v1/chat/completions", "POST"),
    "/chat/completions": ("/v1/chat/completions", "POST"),
    "/v1/messages": ("/v1/messages", "POST"),
    "/messages": ("/v1/messages", "POST"),
    "/v1/messages/count_tokens": ("/v1/messages/count_tokens", "POST"),
    "/messages/count_tokens": ("/v1/messages/count_tokens", "POST"),
    "/v1/models": ("/v1/models", "GET"),
    "/models": ("/v1/models", "GET"),
    "/v1/models/glm-4.6": ("/v1/models/", "GET"),
    "/models/glm-4.6": ("/v1/models/", "GET"),
    "/status": ("/status", "GET"),
    "/health": ("/health", "GET"),
    "/ready": ("/ready", "GET"),
    "/api/hello": ("/api/hello", "GET"),
}


@pytest.mark.parametrize("form", ["{}", "{}/", "{}?beta=true", "{}/?beta=true&x=%2F", "{}?"])
@pytest.mark.parametrize("path", SERVED)
def test_a_path_is_served_with_and_without_prefix_slash_and_query(path: str, form: str) -> None:
    endpoint, method = SERVED[path]
    told = tell(request(form.format(path), question() if method == "POST" else b"", method=method), [plain(MESSAGES)], fetches=[COUNTED])
    assert (told.status, told.record.endpoint) == (200, endpoint)
    assert told.json


def test_the_root_is_served_with_and_without_query() -> None:
    for target in ("/", "/?x=1"):
        assert tell(request(target, method="GET")).json["message"] == "anthropic-proxy"


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/v1/completions", "/v1/chat/completions"),
        ("/v1/message", "/v1/messages"),
        ("/v1/messages/batches", "/v1/messages"),
        ("/v1/messages/count", "/v1/messages"),
        ("/openai/v1/chat/completions", "/v1/chat/completions"),
        ("/anthropic/v1/messages", "/v1/messages"),
        ("/v1/model/glm-4.6", "/v1/models"),
        ("/v1/messages//", "/v1/messages"),
        ("//v1/messages", "/v1/messages"),
        ("/V1/Messages", "/"),
        ("/v1%2Fmessages", "/"),
        ("/heal", "/health"),
        ("/v1/models//", "/v1/models"),
        ("*", "/"),
        ("", "/"),
    ],
)
def test_an_unknown_path_is_404_and_names_the_nearest_endpoint(path: str, hint: str) -> None:
    told = tell(request(path, question()))
    assert told.status == 404
    assert told.json["error"]["code"] == "not_found"
    assert hint in told.json["error"]["message"].partition("nearest endpoint is ")[2]
    assert told.world.opened == []


@pytest.mark.parametrize(
    "path", ["/docs", "/docs/", "/docs?x=1", "/docs/oauth2-redirect", "/redoc", "/openapi.json", "/dashboard", "/metrics", "/stats"]
)
def test_a_page_that_is_still_to_come_is_404_and_says_so(path: str) -> None:
    told = tell(request(path, method="GET"))
    assert (told.status, told.json["error"]["code"]) == (404, "not_found")
    page = path.partition("?")[0].split("/")[1]
    assert told.json["error"]["message"] == f"this version does not serve /{page} yet"


@pytest.mark.parametrize("path", ["/v1/v1/messages", "/v1/v1/chat/completions?beta=true"])
def test_a_doubled_prefix_is_told_what_to_do_about_it(path: str) -> None:
    message = tell(request(path, question())).json["error"]["message"]
    assert "without /v1" in message


@pytest.mark.parametrize("path", [*SERVED, "/"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_a_wrong_method_is_405_with_the_right_ones(path: str, method: str) -> None:
    allowed = ENDPOINTS[SERVED.get(path, ("/", "GET"))[0]].methods
    told = tell(request(path, question() if method == "POST" else b"", method=method), [plain(MESSAGES)], fetches=[COUNTED])
    if method in allowed:
        assert told.status == 200
        return
    assert told.status == 405
    assert told.header("allow") == ", ".join(allowed)
    if method == "HEAD":
        assert told.body == b""
    else:
        assert told.json["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", [path for path, (_, method) in SERVED.items() if method == "GET"])
def test_every_get_answers_head_with_the_same_head_and_no_body(path: str) -> None:
    got, headed = (tell(request(path, method=method)) for method in ("GET", "HEAD"))
    assert list(headed.head.headers) == list(got.head.headers)
    assert headed.header("content-length") == str(len(got.body))
    assert headed.body == b""


# ---------------------------------------------------------------------------------------------------- bodies


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/messages/count_tokens"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"content-type": "application/json"}, 200, id="json"),
        pytest.param({"content-type": "Application/JSON; charset=UTF-8"}, 200, id="json in UTF-8"),
        pytest.param({"content-type": 'application/json; charset="utf8"'}, 200, id="json in utf8"),
        pytest.param({"content-type": "application/vnd.api+json"}, 200, id="+json"),
        pytest.param({"content-type": "application/json; charset=latin-1"}, 415, id="json in another charset"),
        pytest.param({"content-type": "text/plain"}, 415, id="text"),
        pytest.param({"content-type": "text/json"}, 415, id="text that says json"),
        pytest.param({"content-type": "application/x-www-form-urlencoded"}, 415, id="a form"),
        pytest.param({"content-type": "multipart/form-data; boundary=application/json"}, 415, id="a form with parts"),
        pytest.param({"content-type": ""}, 415, id="an empty type"),
        pytest.param({"content-encoding": "identity"}, 200, id="not encoded"),
        pytest.param({"content-encoding": "gzip"}, 415, id="gzip"),
        pytest.param({"content-encoding": "br, identity"}, 415, id="several encodings"),
    ],
)
def test_a_body_has_to_say_that_it_is_json_and_not_compressed(path: str, headers: dict[str, str], status: int) -> None:
    told = tell(request(path, question(), headers=headers), [plain(MESSAGES)], fetches=[COUNTED])
    assert told.status == status
    if status == 415:
        assert told.json["error"]["code"] == "unsupported_media_type"
        assert told.world.opened == []


def test_a_missing_content_type_is_accepted() -> None:
    made = request("/v1/messages", question())
    bare = type(made)(
        made.method, made.target, [field for field in made.headers if field[0] != b"content-type"], made.body, made.id, made.now
    )
    assert tell(bare, [plain(MESSAGES)]).status == 200


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/messages/count_tokens"])
@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b"[]", b"null", b'"text"', b"1", b'{"a":1}}', b'{"a":NaN}', b'{"a":-Infinity}', b"{'a':1}", b'{"a":1,}', b"\xff\xfe{}",
        b'{"a":"\xff"}', b'{"a":' + b"[" * 200 + b"]" * 200 + b"}", b'{"a":' + b"9" * 500 + b"}", b'{"model":"m"} {"model":"n"}', b'{"a":\x00}', b"-", b'{"a":-',
    ],
    ids=lambda body: repr(body)[:30],
)  # fmt: skip
def test_what_is_no_json_object_is_400_in_the_callers_dialect(path: str, body: bytes) -> None:
    told = tell(request(path, body))
    assert told.status == 400
    assert told.json["error"]["code"] == "invalid_json"
    assert ("type" in told.json) is ("messages" in path)
    assert told.world.opened == []


@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": 3}, "messages"),
        ({"messages": True}, "messages"),
        ({"model": 3}, "model"),
        ({"model": ["m"]}, "model"),
        ({"model": "m" * 513}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream": {}}, "stream"),
    ],
    ids=str,
)
def test_a_member_of_the_wrong_type_is_named(wire: Any, more: dict[str, Any], param: str) -> None:
    told = tell(request(PATH[wire], question(**more)), at=towards(wire))
    assert (told.status, told.json["error"]["code"]) == (400, "invalid_request")
    assert told.json["error"]["message"].startswith(f"{param}: ")
    if wire is CHAT:
        assert told.json["error"]["param"] == param
    assert told.world.opened == []


def test_of_a_key_that_stands_twice_the_last_one_counts() -> None:
    body = b'{"model":"first","max_tokens":9,"messages":[{"role":"user","content":"a"}],"model":"glm-4.6-anthropic"}'
    told = tell(request("/v1/messages", body), [plain(MESSAGES)])
    assert told.world.opened[0].body == b'{"max_tokens":9,"messages":[{"role":"user","content":"a"}],"model":"glm-4.6"}'
    assert told.json["model"] == "glm-4.6-anthropic"


@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
@pytest.mark.parametrize("space", ["", " ", "\n  "])
def test_nobody_upstream_can_read_another_request_than_we_did(wire: Any, space: str) -> None:
    """Whoever takes the first of two members takes the one that was routed and counted, even where nothing has to be changed."""
    twice = [
        '"model":"first"',
        '"stream":true',
        '"max_tokens":9',
        '"mod\\u0065l":3',
        '"messages":[]',
        '"model":"glm-4.6"',
        '"stream":false',
    ]
    body = ("{" + f",{space}".join([*twice, '"max_tokens":64', '"messages":[{"role":"user","content":"a"}]']) + "}").encode()
    sent = tell(request(PATH[wire], body), [plain(wire)], at=towards(wire)).world.opened[0].body
    members = json.loads(sent, object_pairs_hook=list)
    once = dict(members)
    assert len(members) == len(once)
    assert (once["model"], once["stream"], once["max_tokens"], len(once["messages"])) == ("glm-4.6", False, 64, 1)


@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
def test_a_body_that_needs_no_change_passes_byte_for_byte(wire: Any) -> None:
    body = b'{ "model" : "glm-4.6",\n"max_tokens": 64, "x":{"a":1,"a":2}, "stream":false, "messages":[{"role":"user","content":"a"}],"thinking": {"type":"disabled"} }'
    assert tell(request(PATH[wire], body), [plain(wire)], at=towards(wire)).world.opened[0].body == body


def test_a_long_name_is_a_name() -> None:
    assert tell(request("/v1/messages", question(model="m" * 512)), [plain(MESSAGES)]).status == 200


# ---------------------------------------------------------------------------------------------------- dialects, ids, heads


@pytest.mark.parametrize(
    ("target", "version", "is_messages"),
    [
        ("/v1/messages", False, True),
        ("/messages/", False, True),
        ("/v1/messages/count_tokens?beta=true", False, True),
        ("/v1/messages/batches", False, True),
        ("/messages/unknown", False, True),
        ("/v1/chat/completions", False, False),
        ("/v1/chat/completions", True, False),
        ("/v1/models/unknown", False, False),
        ("/v1/models/unknown", True, True),
        ("/nowhere", False, False),
        ("/nowhere", True, True),
        ("/health", True, True),
    ],
)
def test_an_error_has_the_shape_of_the_callers_dialect(target: str, version: bool, is_messages: bool) -> None:
    headers = {"anthropic-version": "2023-06-01"} if version else {}
    asked = request(target, method="PUT", headers=headers)
    told = tell(asked)
    head, body = refusal(target, asked.headers, TooLarge("too large"), "req_9")
    for answer, code in ((told.json, told.record.error_code), (json.loads(body), "request_too_large")):
        if is_messages:
            assert answer["type"] == "error"
            assert answer["error"]["code"] == code
        else:
            assert answer["error"].keys() == {"message", "type", "param", "code"}
    assert head == Head(413, [JSON, (b"x-request-id", b"req_9"), (b"request-id", b"req_9"), (b"content-length", b"%d" % len(body))])


@pytest.mark.parametrize(
    ("error", "header"),
    [
        (Unavailable("draining", code="draining", retry_after=3), (b"retry-after", b"3")),
        (MethodNotAllowed("no", allow="GET, HEAD"), (b"allow", b"GET, HEAD")),
    ],
)
def test_a_refusal_says_in_its_head_what_the_client_can_do(error: Any, header: tuple[bytes, bytes]) -> None:
    head, _ = refusal("/v1/messages", [], error, "req_9")
    assert header in head.headers
    assert head.status == error.status


def test_what_the_upstream_says_of_coming_back_goes_before_what_the_proxy_knows() -> None:
    error = UpstreamSaid("busy", status=529, kind="overloaded_error")
    error.headers, error.retry_after = ((b"retry-after", b"7"),), 3
    head, _ = refusal("/v1/messages", [], error, "req_9")
    assert [value for name, value in head.headers if name == b"retry-after"] == [b"7"]


def test_an_unavailable_proxy_that_knows_no_time_names_none() -> None:
    head, body = refusal("/v1/messages", [], Unavailable("no target"), "req_9")
    assert head.get(b"retry-after") is None
    assert json.loads(body)["error"] == {"type": "api_error", "message": "no target", "code": "no_target_available"}


@pytest.mark.parametrize(
    "asked",
    [
        request("/v1/messages", question()),
        request("/v1/messages", b"{"),
        request("/nowhere"),
        request("/v1/messages", method="GET"),
        request("/", method="GET"),
        request("/v1/models", method="HEAD"),
        request("/v1/models/none", method="GET"),
        request("/v1/messages", question(), key=None),
        request("/health", method="GET", headers={"host": "evil.example"}),
    ],
    ids=lambda asked: f"{asked.method} {asked.target}",
)
def test_every_answer_carries_its_id_twice(asked: Any) -> None:
    told = tell(asked, [plain(MESSAGES)], fetches=[plain(MESSAGES)])
    assert told.header("x-request-id") == told.header("request-id") == "req_1" == told.record.request_id
    assert told.header("content-type") == "application/json"
    if told.body:
        assert told.header("content-length") == str(len(told.body))
    if told.status >= 400:
        assert told.json["request_id"] == "req_1"
        assert (told.record.status, told.record.error) == (told.status, told.json["error"]["message"])


# ---------------------------------------------------------------------------------------------------- who comes in

OPEN = ("/", "/status", "/health", "/ready", "/api/hello")


@pytest.mark.parametrize("path", OPEN)
def test_pages_about_the_proxy_need_no_key(path: str) -> None:
    assert tell(request(path, method="GET", key=None), at=gateway(PROXY_API_KEY=INBOUND_KEY)).status == 200


@pytest.mark.parametrize("path", [path for path in SERVED if path not in OPEN])
@pytest.mark.parametrize("key", [None, "wrong", INBOUND_KEY])
def test_everything_else_needs_it_when_there_is_one(path: str, key: str | None) -> None:
    method = SERVED[path][1]
    at = gateway(PROXY_API_KEY=INBOUND_KEY, SERVER_API_KEY=SERVER_KEY)
    asked = request(path, question() if method == "POST" else b"", method=method, key=key)
    told = tell(asked, [plain(MESSAGES)], fetches=[COUNTED], at=at)
    assert told.status == (200 if key == INBOUND_KEY else 401)
    if key != INBOUND_KEY:
        assert told.json["error"]["code"] == "unauthorized"
        assert [type(effect) for effect in told.world.performed] == [Now, Start, Send]


@pytest.mark.parametrize("path", ["/v1/messages", "/", "/nowhere", "/health"])
def test_a_foreign_host_or_origin_is_403_everywhere(path: str) -> None:
    for name, value in (("host", "evil.example"), ("origin", "http://evil.example")):
        told = tell(
            request(
                path,
                question() if path.startswith("/v1") else b"",
                method="POST" if path.startswith("/v1") else "GET",
                headers={name: value},
            )
        )
        assert (told.status, told.json["error"]["code"]) == (403, f"forbidden_{name}")


#: What a client shows: (x-api-key, bearer).
SHOWN = [(None, None), (KEY, None), (None, KEY), (KEY, "other-key-CANARY-4"), (INBOUND_KEY, None), (None, INBOUND_KEY), (INBOUND_KEY, KEY), (KEY, INBOUND_KEY), ("proxy-local", None)]  # fmt: skip


def expected(wire: Any, shown: tuple[str | None, str | None], *, inbound: bool, server: bool, forward: bool) -> str | None:
    """Product 2.1 and 2.2 in other words: the identity that goes upstream, None when nothing may."""
    left = {"x-api-key": shown[0], "bearer": shown[1]}
    if inbound:
        if INBOUND_KEY not in shown:
            return None
        left = {name: value for name, value in left.items() if value != INBOUND_KEY}
    own = [left.get(name) for name in (("x-api-key", "bearer") if wire is MESSAGES else ("bearer", "x-api-key"))]
    client = next((value for value in own if value not in (None, "proxy-local")), None)
    return client if forward and client is not None else SERVER_KEY if server else None


@pytest.mark.parametrize("forward", [True, False], ids=["forward", "own only"])
@pytest.mark.parametrize("server", [True, False], ids=["server key", "no server key"])
@pytest.mark.parametrize("inbound", [True, False], ids=["closed", "open"])
@pytest.mark.parametrize("upstream", [MESSAGES, CHAT], ids=["to messages", "to chat"])
@pytest.mark.parametrize("wire", [MESSAGES, CHAT], ids=["messages", "chat"])
@pytest.mark.parametrize("shown", SHOWN, ids=str)
def test_of_all_combinations_of_keys_exactly_one_identity_goes_upstream(
    wire: Any, upstream: Any, inbound: bool, server: bool, forward: bool, shown: tuple[str | None, str | None]
) -> None:
    if not inbound and INBOUND_KEY in shown:
        return  # without an inbound key it is a key like any other
    settings = (
        {"FORWARD_CLIENT_KEY": str(forward)}
        | ({"PROXY_API_KEY": INBOUND_KEY} if inbound else {})
        | ({"SERVER_API_KEY": SERVER_KEY} if server else {})
    )
    headers = [(name, value) for name, value in ((b"x-api-key", shown[0]), (b"authorization", shown[1] and f"Bearer {shown[1]}")) if value]
    told = tell(
        request(PATH[wire], question(), key=None, headers=[(name, value.encode()) for name, value in headers]),
        [plain(upstream)],
        at=towards(upstream, **settings),
    )
    used = expected(wire, shown, inbound=inbound, server=server, forward=forward)
    if used is None:
        assert (told.status, told.world.opened) == (401, [])
        assert told.json["error"]["code"] == ("missing_upstream_credential" if not inbound or INBOUND_KEY in shown else "unauthorized")
        return
    assert told.status == 200
    keys = [field for field in told.world.opened[0].headers if b"CANARY" in field[1]]
    assert keys == [(b"x-api-key", used.encode()) if upstream is MESSAGES else (b"authorization", f"Bearer {used}".encode())]
    assert b"CANARY" not in told.world.opened[0].body
    assert "CANARY" not in told.world.opened[0].url


@pytest.mark.parametrize("query", ["?beta=true", "?a=%20b&c", ""])
@pytest.mark.parametrize(("wire", "upstream"), [(MESSAGES, MESSAGES), (MESSAGES, CHAT), (CHAT, MESSAGES), (CHAT, CHAT)])
def test_the_query_goes_on_as_sent_from_messages_to_messages_and_nowhere_else(wire: Any, upstream: Any, query: str) -> None:
    told = tell(request(PATH[wire] + query, question()), [plain(upstream)], at=towards(upstream))
    base = (
        "https://messages.upstream.internal/a/v1/messages"
        if upstream is MESSAGES
        else "https://chat.upstream.internal/o/v4/chat/completions"
    )
    assert told.world.opened[0].url == base + (query if wire is upstream is MESSAGES else "")


# ---------------------------------------------------------------------------------------------------- a client that leaves


@pytest.mark.parametrize("target", ["/", "/ready", "/v1/models", "/nowhere"])
def test_a_client_that_leaves_over_any_effect_leaves_a_record(target: str) -> None:
    at, asked = gateway(), request(target, method="GET")
    effects = len(tell(asked, at=at).world.performed)
    assert effects >= 2
    for number in range(effects):
        world = ScriptedWorld(gone=number)
        record = world.run(exchange(asked, at))
        assert (record.status, record.error_code) == (499, "client_gone")
        assert len(world.performed) == number + 1


def test_a_record_says_what_was_asked() -> None:
    told: Told = tell(
        request("/v1/messages?beta=true", encoded({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "a"}]})),
        [plain(MESSAGES)],
    )
    record = told.record
    assert (record.endpoint, record.wire, record.peer, record.started, record.model) == (
        "/v1/messages",
        "anthropic",
        "127.0.0.1",
        1_795_132_800.0,
        "m",
    )
    assert tell(request("/nowhere")).record.endpoint == "unknown"
