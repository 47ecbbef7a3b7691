"""Upstream errors: understood from any shape, written in the caller's words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.dialects import Protocol
from core.errors import (
    BadRequest,
    Forbidden,
    InternalError,
    NotFound,
    ProxyError,
    RequestTimeout,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamSaid,
    UpstreamTimeout,
)
from core.translate import faults
from core.translate.faults import body_of, event_of, status_for, understand

MESSAGES, CHAT = Protocol.ANTHROPIC, Protocol.OPENAI


def said(status: int, body: object) -> UpstreamSaid:
    return understand(status, body if isinstance(body, bytes) else json.dumps(body).encode())


def written(wire: Protocol, error: ProxyError) -> Any:
    return json.loads(body_of(wire, error, "req_1"))


# ---------------------------------------------------------------------------------------------------- understood


@pytest.mark.parametrize(
    ("status", "body", "message", "code", "kind"),
    [
        pytest.param(400, {"error": {"message": "Bad", "type": "invalid_request_error", "param": "n", "code": "bad_n"}}, "Bad", "bad_n", "invalid_request_error", id="the form of OpenAI"),
        pytest.param(400, {"error": "Bad"}, "Bad", None, "invalid_request_error", id="a text for an error"),
        pytest.param(404, {"object": "error", "message": "No model", "type": "NotFoundError", "code": 404}, "No model", "404", "not_found_error", id="the form of older vLLM"),
        pytest.param(401, {"detail": "Not authenticated"}, "Not authenticated", None, "authentication_error", id="the form of FastAPI, a text"),
        pytest.param(422, {"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "field required", "type": "missing"}, {"msg": "also this"}]}, "body.messages.0.role: field required; also this", None, "invalid_request_error", id="the form of FastAPI, a list"),
        pytest.param(400, {"detail": {"message": "Bad"}}, "Bad", None, "invalid_request_error", id="the form of FastAPI, an object"),
        pytest.param(500, {"msg": "Busy", "code": 500}, "Busy", "500", "api_error", id="msg in place of message"),
        pytest.param(429, {"error": {"code": "1305", "message": "Overloaded"}}, "Overloaded", "1305", "rate_limit_error", id="the form of z.ai, its code a text"),
        pytest.param(429, {"error": {"code": 1305, "message": "Overloaded"}}, "Overloaded", "1305", "rate_limit_error", id="the form of z.ai, its code a number"),
        pytest.param(403, {"type": "error", "error": {"type": "permission_error", "message": "No"}, "request_id": "r"}, "No", None, "permission_error", id="the form of Anthropic"),
        pytest.param(400, {"error": {"type": "x"}, "message": "Outside"}, "Outside", None, "invalid_request_error", id="a message beside the error object"),
        pytest.param(400, {"error": True, "message": "Beside"}, "Beside", None, "invalid_request_error", id="an error that is only a flag"),
        pytest.param(400, {"error": {"message": {"msg": "Inside"}}}, "Inside", None, "invalid_request_error", id="a message that is an object"),
        pytest.param(400, {"error": {"message": "Bad", "code": True, "type": 3}}, "Bad", None, "invalid_request_error", id="a code that is a boolean"),
        pytest.param(500, "Oh no", "Oh no", None, "api_error", id="a text"),
        pytest.param(502, b"<html><head><style>h1 { color: red }</style></head><body><h1>502 Bad\nGateway</h1></body></html>", "502 Bad Gateway", None, "api_error", id="a page"),
        pytest.param(503, b"no healthy upstream", "no healthy upstream", None, "overloaded_error", id="no JSON at all"),
        pytest.param(500, b"", "the upstream answered with status 500", None, "api_error", id="nothing"),
        pytest.param(500, b"[]", "the upstream answered with status 500", None, "api_error", id="an empty list"),
        pytest.param(500, b"7", "the upstream answered with status 500", None, "api_error", id="a number"),
        pytest.param(418, {"error": {}}, "the upstream answered with status 418", None, "invalid_request_error", id="an empty error of a status in no table"),
        pytest.param(599, {}, "the upstream answered with status 599", None, "api_error", id="a server's status in no table"),
        pytest.param(500, b"\xff\xfe\x00", "\ufffd\ufffd", None, "api_error", id="bytes that are no text"),
        pytest.param(500, b'{"error":{"message":"half a pair \\ud83d"}}', "half a pair \ufffd", None, "api_error", id="a lone surrogate"),
        pytest.param(500, b'{"detail":' + b"[" * 50 + b'"deep"' + b"]" * 50 + b"}", "the upstream answered with status 500", None, "api_error", id="a list without end"),
    ],
)  # fmt: skip
def test_an_error_is_understood_in_the_form_of(status: int, body: object, message: str, code: str | None, kind: str) -> None:
    error = said(status, body)
    assert error.message == message
    assert (error.code if error.has_code else None) == code
    assert (error.status, error.kind) == (status, kind)


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"error": {"message": "x", "type": "overloaded_error"}}, 529, "overloaded_error"),
        ({"type": "error", "error": {"message": "x", "type": "rate_limit_error"}}, 429, "rate_limit_error"),
        ({"type": "error", "error": {"message": "x", "type": "timeout_error"}}, 504, "timeout_error"),
        ({"error": {"message": "x", "type": "invalid_request_error"}}, 400, "invalid_request_error"),
        ({"error": {"message": "x", "type": "x", "code": "invalid_api_key"}}, 401, "authentication_error"),
        ({"error": {"message": "x", "code": "insufficient_quota"}}, 402, "billing_error"),
        ({"error": {"message": "x", "code": "model_not_found"}}, 404, "not_found_error"),
        ({"error": {"message": "x", "type": "server_error"}}, 500, "api_error"),
        ({"error": {"message": "x", "type": "server_error", "code": "overloaded"}}, 529, "overloaded_error"),
        ({"error": {"message": "x", "code": 502}}, 502, "api_error"),
        ({"error": {"message": "x", "code": "429"}}, 429, "rate_limit_error"),
        ({"error": {"message": "x", "code": 4000}}, 500, "api_error"),
        ({"error": {"message": "x", "type": "nobody_knows"}}, 500, "api_error"),
        ({"error": "x"}, 500, "api_error"),
        ({"error": {"message": "maximum context length is 100 tokens"}}, 400, "invalid_request_error"),
    ],
    ids=str,
)
def test_an_error_inside_a_good_answer_gets_the_status_its_type_or_code_implies(body: object, status: int, kind: str) -> None:
    error = said(200, body)
    assert (error.status, error.kind) == (status, kind)


@pytest.mark.parametrize("as_code", [str, int], ids=["a text", "a number"])
@pytest.mark.parametrize(
    ("came_with", "code", "status", "kind"),
    [
        (200, "1113", 402, "billing_error"),
        (429, "1113", 429, "billing_error"),
        (200, "1302", 429, "rate_limit_error"),
        (500, "1302", 429, "rate_limit_error"),
        (200, "1305", 429, "rate_limit_error"),
        (529, "1305", 429, "rate_limit_error"),
        (200, "1210", 400, "invalid_request_error"),
        (500, "1214", 400, "invalid_request_error"),
        (200, "1261", 400, "invalid_request_error"),
        (503, "9999", 503, "overloaded_error"),
    ],
)
def test_a_business_code_of_zai_acts_in_any_status(as_code: Any, came_with: int, code: str, status: int, kind: str) -> None:
    error = said(came_with, {"error": {"code": as_code(code), "message": "x"}})
    assert (error.status, error.kind) == (status, kind)
    assert error.code == ("context_length_exceeded" if code == "1261" else code)


@pytest.mark.parametrize("as_code", [str, int], ids=["a text", "a number"])
@pytest.mark.parametrize("name", ["msg", "message"])
@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("1113", 402, "billing_error"),
        ("1302", 429, "rate_limit_error"),
        ("1305", 429, "rate_limit_error"),
        ("1210", 400, "invalid_request_error"),
        ("1214", 400, "invalid_request_error"),
        ("401", 401, "authentication_error"),
        ("9999", 500, "api_error"),
    ],
)
def test_a_flat_error_of_zai_in_a_good_answer_is_understood(as_code: Any, name: str, code: str, status: int, kind: str) -> None:
    for more in ({"success": False}, {}):
        body = {"code": as_code(code), name: "No", **more}
        assert faults.is_flat_error(json.dumps(body).encode())
        error = said(200, body)
        assert (error.message, error.code, error.status, error.kind) == ("No", code, status, kind)


@pytest.mark.parametrize(
    ("body", "flat"),
    [
        ({"msg": "No", "success": False}, True),
        ({"code": 0, "msg": "No", "success": False}, True),
        ({"code": "1113", "msg": "x", "choices": None, "content": None}, True),
        ({"code": "1113", "msg": "x", "choices": []}, False),
        ({"code": "1113", "msg": "x", "content": []}, False),
        ({"code": "1113"}, False),
        ({"code": "1113", "msg": ""}, False),
        ({"code": "1113", "message": {"role": "assistant"}}, False),
        ({"code": "1113", "msg": "x", "success": True}, False),
        ({"code": 200, "msg": "OK"}, False),
        ({"code": 0, "msg": "fine"}, False),
        ({"code": "Success", "message": "fine"}, False),
        ({"code": None, "msg": "x"}, False),
        ({"msg": "x"}, False),
        ([], False),
    ],
    ids=str,
)
def test_what_a_flat_error_is_and_what_only_looks_like_one(body: object, flat: bool) -> None:
    assert faults.is_flat_error(json.dumps(body).encode()) is flat


def test_a_quota_that_is_used_up_is_a_matter_of_billing_and_keeps_its_status() -> None:
    error = said(429, {"error": {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": "insufficient_quota"}})
    assert (error.status, error.kind) == (429, "billing_error")
    assert written(MESSAGES, error)["error"]["type"] == "billing_error"
    told = {"message": "You exceeded your current quota", "type": "insufficient_quota", "param": None, "code": "insufficient_quota"}
    assert written(CHAT, error)["error"] == told


# ---------------------------------------------------------------------------------------------------- overflow

#: What vendors say of a prompt that does not fit, and what Messages clients are told.
OVERFLOWS = {
    "OpenAI": (
        400,
        {"error": {"message": "This model's maximum context length is 128000 tokens. However, your messages resulted in 130001 tokens.", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}},
        "prompt is too long: 130001 tokens > 128000 maximum (This",
    ),
    "OpenAI, with the parts of the sum": (
        400,
        {"error": {"message": "This model's maximum context length is 32,768 tokens. However, you requested 40,000 tokens (30,000 in the messages, 10,000 in the completion).", "type": "invalid_request_error", "code": None}},
        "prompt is too long: 40000 tokens > 32768 maximum (This",
    ),
    "OpenAI, GPT-5": (400, {"error": {"message": "Your input exceeds the context window of this model. Please adjust your input and try again.", "type": "invalid_request_error", "code": "context_length_exceeded"}}, "prompt is too long (Your"),
    "OpenAI, tokens": (400, {"error": {"message": "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.", "type": "invalid_request_error", "code": "context_length_exceeded"}}, "prompt is too long: 300000 tokens > 272000 maximum (Input"),
    "vLLM": (400, {"object": "error", "message": "This model's maximum context length is 32768 tokens. However, you requested 40000 tokens.", "type": "BadRequestError", "code": 400}, "prompt is too long: 40000 tokens > 32768 maximum (This"),
    "vLLM, without a size": (400, {"error": {"message": "maximum context length is 32768 tokens and your request has 10000 input tokens", "type": "BadRequestError", "code": 400}}, "prompt is too long (maximum"),
    "SGLang": (400, {"object": "error", "message": "The input (40000 tokens) is longer than the model's context length (32768 tokens).", "type": "BadRequest", "code": 400}, "prompt is too long: 40000 tokens > 32768 maximum (The"),
    "llama.cpp": (400, {"error": {"code": 400, "message": "the request exceeds the available context size, try increasing it", "type": "exceed_context_size_error", "n_prompt_tokens": 40000, "n_ctx": 32768}}, "prompt is too long: 40000 tokens > 32768 maximum (the"),
    "z.ai": (400, {"error": {"code": "1261", "message": "Prompt exceeds max length"}}, "prompt is too long (Prompt"),
    "Gemini": (400, {"error": {"code": 400, "message": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", "status": "INVALID_ARGUMENT"}}, "prompt is too long: 1200000 tokens > 1048576 maximum (The"),
    "Copilot": (400, {"error": {"message": "prompt token count of 150000 exceeds the limit of 128000", "code": "model_max_prompt_tokens_exceeded"}}, "prompt is too long: 150000 tokens > 128000 maximum (prompt"),
    "Bedrock": (400, {"message": "Input is too long for requested model."}, "prompt is too long (Input"),
    "a proxy, with 413": (413, {"detail": "the prompt is too large"}, "prompt is too long (the"),
    "GLM": (400, {"error": {"message": "x", "type": "model_context_window_exceeded"}}, "prompt is too long (x)"),
}  # fmt: skip


@pytest.mark.parametrize(("status", "body", "begin"), OVERFLOWS.values(), ids=OVERFLOWS)
def test_an_overflow_is_told_so_that_both_kinds_of_client_recognise_it(status: int, body: object, begin: str) -> None:
    error = said(status, body)
    assert (error.status, error.code) == (status, "context_length_exceeded")
    for_messages, for_chat = written(MESSAGES, error)["error"], written(CHAT, error)["error"]
    assert for_messages["message"].startswith(begin)
    assert error.message in for_messages["message"]
    assert for_chat["code"] == "context_length_exceeded"
    assert for_chat["message"] == error.message


@pytest.mark.parametrize("status", [500, 502, 503, 529])
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.", "type": "InternalServerError"}},
        {"error": {"message": "x", "type": "server_error", "code": "context_length_exceeded"}},
        {"error": {"message": "x", "type": "exceed_context_size_error"}},
        {"error": {"message": "prompt is too long: 9000 tokens > 8192 maximum"}},
        {"type": "error", "error": {"message": "prompt is too long: 9000 tokens > 8192 maximum", "type": "api_error"}},
        {"error": {"message": "input length and `max_tokens` exceed context limit: 9000 + 1000 > 8192"}},
        {"detail": "The input (9000 tokens) is longer than the model's context length (8192 tokens)."},
        {"detail": "the request exceeds the available context size (8192 tokens), try increasing it"},
        {"error": {"code": "1261", "message": "Prompt exceeds"}},
    ],
    ids=str,
)  # fmt: skip
def test_an_overflow_that_is_said_with_a_servers_status_is_one_all_the_same(status: int, body: dict[str, Any]) -> None:
    error = said(status, body)
    assert (error.status, error.code, error.kind) == (400, "context_length_exceeded", "invalid_request_error")
    chat, here = written(CHAT, error)["error"], written(MESSAGES, error)["error"]
    assert (chat["code"], chat["type"]) == ("context_length_exceeded", "invalid_request_error")
    assert here["type"] == "invalid_request_error"
    assert "prompt is too long" in here["message"] or "exceed context limit: " in here["message"]


@pytest.mark.parametrize(
    "text",
    [
        "context deadline exceeded: max retries",
        "the input queue exceeds its limit",
        "the prompt cache is too large",
        "cannot start: maximum context length not configured",
        "prompt is too long to be shown here",
        "larger than life",
    ],
)
def test_a_failure_of_the_upstreams_is_no_overflow_without_sure_words(text: str) -> None:
    for status in (500, 503):
        error = said(status, {"error": {"message": text}})
        assert error.status == status
        assert error.code != "context_length_exceeded"


def test_anthropics_own_overflow_passes_to_its_clients_and_gets_a_code_for_the_others() -> None:
    body = {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "prompt is too long: 200001 tokens > 200000 maximum"},
        "request_id": "req_up",
    }
    error = said(400, body)
    assert written(MESSAGES, error) == body
    told = written(CHAT, error)["error"]
    assert (told["code"], told["type"], told["message"]) == ("context_length_exceeded", "invalid_request_error", body["error"]["message"])  # type: ignore[index]


def test_the_other_overflow_of_anthropic_is_left_as_claude_code_reads_it() -> None:
    text = (
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length or `max_tokens` and try again"
    )
    error = said(400, {"type": "error", "error": {"type": "invalid_request_error", "message": text}})
    assert written(MESSAGES, error)["error"]["message"] == text
    assert written(CHAT, error)["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (400, "max_tokens: 300000 > 128000, which is the maximum allowed number of output tokens for this model"),
        (400, "max_tokens 200000 exceeds the maximum of 131072"),
        (400, "messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 6291456 bytes > 5242880 bytes"),
        (413, "Request exceeds the maximum size"),
        (400, "tools.0.name: String should have at most 128 characters"),
        (400, "Invalid value for 'temperature'"),
        (429, "This request would exceed your organization's rate limit of 40,000 input tokens per minute"),
        (500, "maximum context length is unknown"),
    ],
)
def test_an_error_that_compacting_would_not_cure_is_no_overflow(status: int, text: str) -> None:
    error = said(status, {"error": {"message": text, "type": "x"}})
    assert error.code != "context_length_exceeded"
    assert "prompt is too long" not in written(MESSAGES, error)["error"]["message"]


# ---------------------------------------------------------------------------------------------------- written

OWN = [
    (
        BadRequest("x", param="n", code="unsupported_parameter"),
        400,
        "invalid_request_error",
        "invalid_request_error",
        "unsupported_parameter",
    ),
    (Unauthorized("x"), 401, "authentication_error", "authentication_error", "unauthorized"),
    (Forbidden("x", code="forbidden_host"), 403, "permission_error", "permission_error", "forbidden_host"),
    (NotFound("x"), 404, "not_found_error", "not_found_error", "not_found"),
    (RequestTimeout("x"), 408, "timeout_error", "timeout", "request_timeout"),
    (TooLarge("x"), 413, "request_too_large", "invalid_request_error", "request_too_large"),
    (UnsupportedMedia("x"), 415, "invalid_request_error", "invalid_request_error", "unsupported_media_type"),
    (InternalError("x"), 500, "api_error", "server_error", "internal_error"),
    (UpstreamFailed("x"), 502, "api_error", "server_error", "upstream_request_failed"),
    (UpstreamGarbled("x"), 502, "api_error", "server_error", "invalid_upstream_json"),
    (Unavailable("x", code="draining"), 503, "api_error", "server_error", "draining"),
    (UpstreamTimeout("x"), 504, "timeout_error", "timeout", "upstream_timeout"),
]


@pytest.mark.parametrize(("error", "status", "messages_type", "chat_type", "code"), OWN, ids=lambda value: type(value).__name__)
def test_an_error_of_the_proxys_own_is_said_in_both_shapes(
    error: ProxyError, status: int, messages_type: str, chat_type: str, code: str
) -> None:
    assert written(MESSAGES, error) == {
        "type": "error",
        "error": {"type": messages_type, "message": "x", "code": code},
        "request_id": "req_1",
    }
    assert written(CHAT, error) == {"error": {"message": "x", "type": chat_type, "param": error.param, "code": code}, "request_id": "req_1"}
    assert status_for(MESSAGES, error) == status_for(CHAT, error) == status


@pytest.mark.parametrize(
    ("status", "messages_type", "chat_type", "chat_code", "chat_status"),
    [
        (400, "invalid_request_error", "invalid_request_error", None, 400),
        (401, "authentication_error", "authentication_error", "invalid_api_key", 401),
        (402, "billing_error", "insufficient_quota", "insufficient_quota", 402),
        (403, "permission_error", "permission_error", "permission_denied", 403),
        (404, "not_found_error", "not_found_error", "model_not_found", 404),
        (405, "invalid_request_error", "invalid_request_error", None, 405),
        (408, "timeout_error", "timeout", "timeout", 408),
        (409, "invalid_request_error", "invalid_request_error", None, 409),
        (413, "request_too_large", "invalid_request_error", "request_too_large", 413),
        (415, "invalid_request_error", "invalid_request_error", None, 415),
        (422, "invalid_request_error", "invalid_request_error", None, 422),
        (429, "rate_limit_error", "rate_limit_error", "rate_limit_exceeded", 429),
        (500, "api_error", "server_error", None, 500),
        (502, "api_error", "server_error", None, 502),
        (503, "overloaded_error", "server_error", "overloaded", 503),
        (504, "timeout_error", "timeout", "timeout", 504),
        (529, "overloaded_error", "server_error", "overloaded", 503),
    ],
)
def test_an_upstreams_status_has_a_type_on_both_wires(
    status: int, messages_type: str, chat_type: str, chat_code: str | None, chat_status: int
) -> None:
    error = said(status, b"no JSON")
    assert written(MESSAGES, error) == {
        "type": "error",
        "error": {"type": messages_type, "message": "no JSON", "upstream": "no JSON"},
        "request_id": "req_1",
    }
    assert written(CHAT, error) == {
        "error": {"message": "no JSON", "type": chat_type, "param": None, "code": chat_code, "upstream": "no JSON"},
        "request_id": "req_1",
    }
    assert (status_for(MESSAGES, error), status_for(CHAT, error)) == (status, chat_status)


def test_an_upstream_error_of_the_other_wire_is_reshaped_and_kept() -> None:
    body = {"error": {"message": "No such tool", "type": "invalid_request_error", "param": "tools[0]", "code": "bad_tool"}}
    assert written(MESSAGES, said(400, body)) == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "No such tool", "code": "bad_tool", "upstream": body},
        "request_id": "req_1",
    }
    anthropic = {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "Overloaded", "details": {"a": 1}},
        "request_id": "req_up",
    }
    assert written(CHAT, said(529, anthropic)) == {
        "error": {"message": "Overloaded", "type": "server_error", "param": None, "code": "overloaded", "upstream": anthropic},
        "request_id": "req_1",
    }


def test_an_upstream_error_of_the_callers_wire_passes_with_its_body() -> None:
    details = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
    anthropic = {
        "type": "error",
        "error": {"type": "new_error", "message": "No", "details": details},
        "request_id": "req_up",
        "more": [1, 2.5],
    }
    assert written(MESSAGES, said(400, anthropic)) == anthropic
    chat = {"error": {"message": "No", "type": "x", "param": "n", "code": 400, "innererror": {"a": None}}}
    assert written(CHAT, said(400, chat)) == {**chat, "request_id": "req_1"}


def test_a_parameter_the_upstream_names_is_named_to_chat_clients_when_the_rest_is_put_into_words() -> None:
    error = said(400, {"message": "Bad", "param": "n"})
    assert written(CHAT, error)["error"]["param"] == "n"
    assert said(400, {"message": "Bad", "param": 3}).param is None


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (MESSAGES, {"type": "error", "error": {"type": "api_error", "message": "Oh", "details": {"a": [1]}}, "request_id": "r"}),
        (CHAT, {"error": {"message": "Oh", "type": "server_error", "param": None, "code": "x"}}),
    ],
)
def test_an_error_event_of_the_callers_wire_keeps_its_error_object(wire: Protocol, body: dict[str, Any]) -> None:
    frame = event_of(wire, said(200, body)).decode()
    name, _, data = frame.removesuffix("\n\n").rpartition("data: ")
    assert name == ("event: error\n" if wire is MESSAGES else "")
    assert json.loads(data) == ({"type": "error", "error": body["error"]} if wire is MESSAGES else {"error": body["error"]})


def test_an_error_event_in_other_words_has_the_form_of_its_wire() -> None:
    error = UpstreamFailed("cut")
    assert (
        event_of(MESSAGES, error)
        == b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"cut","code":"upstream_request_failed"}}\n\n'
    )
    assert (
        event_of(CHAT, error)
        == b'data: {"error":{"message":"cut","type":"server_error","param":null,"code":"upstream_request_failed"}}\n\n'
    )


def test_details_that_the_sdks_act_upon_stand_in_both_shapes() -> None:
    error = BadRequest("x", details=b'{"error_code":"thread_unsupported_request"}')
    assert written(MESSAGES, error)["error"]["details"] == {"error_code": "thread_unsupported_request"}
    assert written(CHAT, error)["error"]["details"] == {"error_code": "thread_unsupported_request"}


# ---------------------------------------------------------------------------------------------------- clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("see https://internal.example/v1/x?key=1 for more", "see [url] for more"),
        ("redis://10.0.0.1:6379/0 refused", "[url] refused"),
        ("wrong key sk-abcdef123456-XYZ given", "wrong key [redacted] given"),
        ("wrong key 0123456789abcdef0123456789abcdef.AbCdEfGhIjKlMnOp given", "wrong key [redacted] given"),
        ("got Authorization: Bearer abc.def", "got Authorization: [redacted]"),
        ('Boom\nTraceback (most recent call last):\n  File "/srv/x.py", line 3\nKeyError: 1', "Boom"),
        ("TypeError: x\n    at handler (/srv/app.js:1:2)\n    at run", "TypeError: x"),
        ('Boom\n  File "/srv/x.py", line 3, in f', "Boom"),
        ("bell \x07, bidi \u202e, zero \x00, tab \t, line\nend", "bell , bidi , zero , tab \t, line\nend"),
        ("  spaces  ", "spaces"),
        ("x" * 5000, "x" * 4000),
    ],
)
def test_upstream_text_is_cleaned_before_a_client_sees_it(text: str, clean: str) -> None:
    assert faults.clean(text) == clean
    for wire in (MESSAGES, CHAT):
        told = body_of(wire, said(500, {"error": {"message": text, "type": "x"}}), "r")
        assert json.loads(told)["error"]["message"] == clean


def test_an_address_is_found_however_json_writes_it() -> None:
    body = (
        rb'{"error":{"message":"x","type":"y","where":"http:\/\/10.0.0.1:8080\/a","also":["http\u003a//10.0.0.2/b"],"http://10.0.0.3/":1}}'
    )
    for wire in (MESSAGES, CHAT):
        assert "10.0.0" not in body_of(wire, understand(500, body), "r").decode()


def test_what_is_kept_of_an_upstreams_body_is_bounded() -> None:
    long = written(MESSAGES, said(500, {"message": "x", "more": ["y" * 3000] * 3}))["error"]["upstream"]
    assert isinstance(long, str)
    assert len(long) == 4000
    assert len(written(MESSAGES, said(500, b"z" * 100_000))["error"]["upstream"]) == 4000


def test_a_body_that_is_nested_without_end_or_has_endless_numbers_can_still_be_kept() -> None:
    deep = said(500, b'{"message":"x","n":' + b"9" * 300 + b',"deep":' + b"[" * 400 + b"]" * 400 + b"}")
    kept = written(MESSAGES, deep)["error"]["upstream"]
    assert kept["n"] == "9" * 300
    assert json.dumps(kept["deep"]).count("[") == 15
    assert written(CHAT, said(500, b"[" * 5000))["error"]["code"] is None


SECRET = b"canary-key-0123456789"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"error":{"message":"canary-key-0123456789 is wrong","type":"x","code":"canary-key-0123456789","param":"canary-key-0123456789"}}', id="the form of the wire"),
        pytest.param(b'{"message":"Key canary\\u002dkey-0123456789 is wrong"}', id="escaped"),
        pytest.param(b"<p>canary-key-0123456789 is wrong</p>", id="a page"),
        pytest.param(b'{"type":"error","error":{"type":"canary-key-0123456789","message":"canary-key-0123456789"}}', id="an error of Messages"),
    ],
)  # fmt: skip
def test_a_credential_that_the_upstream_repeats_is_blotted_out(body: bytes) -> None:
    for wire in (MESSAGES, CHAT):
        error = understand(401, body)
        faults.redact(error, SECRET)
        assert SECRET not in body_of(wire, error, "r") + event_of(wire, error) + repr(error).encode() + error.code.encode()
        assert b"[redacted]" in body_of(wire, error, "r")


def test_a_placeholder_for_a_key_is_no_secret_and_may_be_any_word() -> None:
    error = said(401, {"error": {"message": "a demo", "type": "x"}})
    faults.redact(error, b"demo")
    assert error.message == "a demo"
    assert faults.blotted(b"a demo", b"demo") == b"a demo"
    assert faults.blotted(b"a " + SECRET, SECRET) == b"a [redacted]"


def test_an_error_of_the_transport_is_blotted_too() -> None:
    error = UpstreamFailed(f"refused {SECRET.decode()}")
    faults.redact(error, SECRET)
    assert error.message == "refused [redacted]"
