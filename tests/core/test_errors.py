"""The tree of errors: each class with its status and code."""

from __future__ import annotations

import pytest

from core import errors
from core.errors import (
    BadRequest,
    ClientGone,
    Forbidden,
    HeadersTooLarge,
    InternalError,
    MethodNotAllowed,
    NotFound,
    ProxyError,
    Refused,
    RequestTimeout,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
    UpstreamError,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamSaid,
    UpstreamTimeout,
)


@pytest.mark.parametrize(
    ("error", "status", "code", "parent"),
    [
        (BadRequest("x"), 400, "request_conversion_failed", Refused),
        (Unauthorized("x"), 401, "unauthorized", Refused),
        (Forbidden("x"), 403, "forbidden", Refused),
        (NotFound("x"), 404, "not_found", Refused),
        (MethodNotAllowed("x", allow="GET"), 405, "method_not_allowed", Refused),
        (RequestTimeout("x"), 408, "request_timeout", Refused),
        (TooLarge("x"), 413, "request_too_large", Refused),
        (UnsupportedMedia("x"), 415, "unsupported_media_type", Refused),
        (TooManyRequests("x"), 429, "rate_limit_exceeded", Refused),
        (HeadersTooLarge("x"), 431, "headers_too_large", Refused),
        (Unavailable("x"), 503, "no_target_available", Refused),
        (UpstreamFailed("x"), 502, "upstream_request_failed", UpstreamError),
        (UpstreamGarbled("x"), 502, "invalid_upstream_json", UpstreamError),
        (UpstreamTimeout("x"), 504, "upstream_timeout", UpstreamError),
        (UpstreamSaid("x", status=418, kind="teapot"), 418, "upstream_request_failed", UpstreamError),
        (InternalError("x"), 500, "internal_error", ProxyError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ProxyError) else "",
)
def test_an_error_knows_its_status_and_its_code(error: ProxyError, status: int, code: str, parent: type[ProxyError]) -> None:
    assert isinstance(error, parent)
    assert isinstance(error, ProxyError)
    assert (error.status, error.code, error.message, str(error)) == (status, code, "x", "x")
    assert (error.param, error.details, list(error.headers)) == (None, None, [])


def test_every_public_error_is_listed() -> None:
    classes = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert set(errors.__all__) == classes


def test_a_client_that_left_is_no_proxy_error_for_no_handler_may_answer_it() -> None:
    gone = ClientGone()
    assert not isinstance(gone, ProxyError)
    assert (gone.status, gone.code, str(gone)) == (499, "client_gone", "the client closed the connection")


def test_what_is_said_of_one_error_does_not_change_its_class() -> None:
    error = BadRequest("messages[0].role: found 3", code="invalid_request", param="messages[0].role", details=b"{}")
    assert (error.code, error.param, error.details) == ("invalid_request", "messages[0].role", b"{}")
    assert (BadRequest.code, BadRequest.param, BadRequest("y").details) == ("request_conversion_failed", None, None)


@pytest.mark.parametrize("kind", [Unavailable, TooManyRequests])
def test_a_refusal_that_time_ends_says_when_to_come_back_if_it_knows(kind: type[Unavailable | TooManyRequests]) -> None:
    assert kind("x").retry_after is None
    error = kind("x", code="draining", retry_after=0)
    assert (error.code, error.retry_after) == ("draining", 0)
    assert kind.retry_after is None


def test_an_upstream_error_says_where_in_the_exchange_it_happened() -> None:
    assert UpstreamFailed("x").phase == "body"
    assert UpstreamTimeout("x", phase="connect").phase == "connect"
    assert UpstreamSaid("x", status=400, kind="invalid_request_error").phase == "head"


@pytest.mark.parametrize(("code", "has_code"), [(None, False), ("1305", True)])
def test_an_upstream_that_gave_no_code_of_its_own_is_told_from_one_that_did(code: str | None, has_code: bool) -> None:
    error = UpstreamSaid("x", status=429, kind="rate_limit_error", code=code, body=b"{}")
    assert (error.has_code, error.body, error.kind) == (has_code, b"{}", "rate_limit_error")


def test_the_statuses_of_the_messages_error_types_are_those_of_its_reference() -> None:
    assert UpstreamSaid.STATUS_OF == {
        "invalid_request_error": 400,
        "authentication_error": 401,
        "billing_error": 402,
        "permission_error": 403,
        "not_found_error": 404,
        "request_too_large": 413,
        "rate_limit_error": 429,
        "api_error": 500,
        "timeout_error": 504,
        "overloaded_error": 529,
    }
