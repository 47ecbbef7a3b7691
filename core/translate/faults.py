"""Errors of both wires: understood from whatever shape they come in, written in the caller's.

Statuses, types and codes follow the tables of both API references (read 2026-11-20) and the shapes of vLLM, FastAPI and z.ai.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec
from msgspec import Raw

from core.dialects import Protocol
from core.errors import InternalError, ProxyError, UpstreamSaid
from core.wire.codec import ABSENT, decode_lenient, decoder, encode, given

#: status -> (Messages type, chat type, chat code).
TYPES: Final[dict[int, tuple[str, str, str | None]]] = {
    400: ("invalid_request_error", "invalid_request_error", None),
    401: ("authentication_error", "authentication_error", "invalid_api_key"),
    402: ("billing_error", "insufficient_quota", "insufficient_quota"),
    403: ("permission_error", "permission_error", "permission_denied"),
    404: ("not_found_error", "not_found_error", "model_not_found"),
    405: ("invalid_request_error", "invalid_request_error", None),
    408: ("timeout_error", "timeout", "timeout"),
    409: ("invalid_request_error", "invalid_request_error", None),
    413: ("request_too_large", "invalid_request_error", "request_too_large"),
    415: ("invalid_request_error", "invalid_request_error", None),
    422: ("invalid_request_error", "invalid_request_error", None),
    429: ("rate_limit_error", "rate_limit_error", "rate_limit_exceeded"),
    500: ("api_error", "server_error", None),
    502: ("api_error", "server_error", None),
    503: ("overloaded_error", "server_error", "overloaded"),
    504: ("timeout_error", "timeout", "timeout"),
    529: ("overloaded_error", "server_error", "overloaded"),
}
#: Chat types and codes -> Messages types, for errors whose status says nothing (inside a 200, inside a stream).
_KINDS: Final = {
    "invalid_request_error": "invalid_request_error",
    "authentication_error": "authentication_error",
    "invalid_api_key": "authentication_error",
    "insufficient_quota": "billing_error",
    "permission_denied": "permission_error",
    "permission_error": "permission_error",
    "not_found_error": "not_found_error",
    "model_not_found": "not_found_error",
    "rate_limit_error": "rate_limit_error",
    "rate_limit_exceeded": "rate_limit_error",
    "requests": "rate_limit_error",
    "tokens": "rate_limit_error",
    "timeout": "timeout_error",
    "timeout_error": "timeout_error",
    "overloaded": "overloaded_error",
    "overloaded_error": "overloaded_error",
    "billing_error": "billing_error",
    "request_too_large": "request_too_large",
    "server_error": "api_error",
    "api_error": "api_error",
}
#: Business codes of z.ai that say more than the status they come with (docs.z.ai, error codes): code -> status.
ZAI_CODES: Final = {"1113": 402, "1302": 429, "1305": 429, "1210": 400, "1214": 400, "1261": 400}
#: How vendors say that a prompt does not fit.
_OVERFLOW: Final = re.compile(
    r"context_length_exceeded|prompt is too long|maximum context length|exceeds the available context|context window|"
    r"exceed\w* .{0,40}?(?:limit of|maximum|context)|(?:input|prompt|token).{0,40}too (?:long|large)|model_context_window_exceeded",
    re.IGNORECASE | re.DOTALL,
)
_NUMBER: Final = re.compile(r"(?<![\w.])(\d{1,3}(?:,\d{3})+|\d{3,})(?![\w.])")
#: Upstream text in a message of ours is cut here: enough for any real error, too little for a page.
_TEXT_MAX: Final = 4000
_TAGS: Final = re.compile(r"<(?:script|style).*?</(?:script|style)>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_TRACEBACK: Final = re.compile(r"Traceback \(most recent call last\).*", re.DOTALL)
_URL: Final = re.compile(r"https?://[^\s\"'<>]+")
_SECRET: Final = re.compile(r"\b(?:sk-[\w-]{6,}|Bearer\s+\S+)", re.IGNORECASE)


class _Said(msgspec.Struct):
    """The members an error body may have, in any of the known shapes."""

    error: Raw = ABSENT
    message: Raw = ABSENT
    detail: Raw = ABSENT
    msg: Raw = ABSENT
    type: Raw = ABSENT
    code: Raw = ABSENT
    param: Raw = ABSENT
    request_id: Raw = ABSENT


def understand(status: int, body: bytes) -> UpstreamSaid:
    """The error that an upstream's body means. ``status``: of the HTTP answer; 200 for an error inside a good answer or a stream."""
    said = _read(body)
    message, kind, code = _parts(said, body)
    by_code = ZAI_CODES.get(code or "")
    if status < 400:  # noqa: PLR2004 - a good status around an error says nothing: its type or code does
        named = _KINDS.get(kind or "") or _KINDS.get(code or "")
        status = by_code or (UpstreamSaid.STATUS_OF[named] if named else 500)
    no_money = code == "insufficient_quota" or by_code == 402  # noqa: PLR2004 - billing, whatever status it came with
    wire_kind = "billing_error" if no_money else types_of(status)[0]
    message = clean(message) or f"the upstream answered with status {status}"
    error = UpstreamSaid(message, status=status, kind=wire_kind, code=code, body=body)
    if status in (400, 413, 422) and is_overflow(f"{message} {code or ''}"):
        error.code, error.has_code = "context_length_exceeded", True
    return error


def _read(body: bytes) -> _Said | None:
    try:
        return decode_lenient(_Said, body)
    except msgspec.DecodeError:
        return None


def _parts(said: _Said | None, body: bytes) -> tuple[str, str | None, str | None]:
    """Message, type and code of an error body."""
    if said is None:
        text = body[: 16 * _TEXT_MAX].decode("utf-8", "replace")
        return " ".join(_TAGS.sub(" ", text).split()), None, None
    inner = _plain(said.error)
    if isinstance(inner, dict):
        fields: dict[str, object] = inner
    else:
        fields = {"message": inner or _plain(said.message) or _plain(said.detail) or _plain(said.msg), "type": _plain(said.type)}
        fields["code"] = _plain(said.code)
    text = _text(fields.get("message") or fields.get("msg") or fields.get("detail"))
    code = fields.get("code")
    kind = fields.get("type")
    return text, kind if isinstance(kind, str) else None, str(code) if isinstance(code, str | int) and not isinstance(code, bool) else None


def _plain(raw: Raw) -> object:
    return decoder(object).decode(bytes(raw)) if given(raw) else None


def _text(value: object) -> str:
    """The message, also from FastAPI's list of ``{loc, msg}``."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "; ".join(_text(one) for one in value)
    if isinstance(value, dict):
        place = value.get("loc")
        where = ".".join(str(one) for one in place) + ": " if isinstance(place, list) else ""
        return where + _text(value.get("msg") or value.get("message"))
    return "" if value is None else str(value)


def clean(message: str) -> str:
    """Upstream text fit for a client: no traceback, no address of ours, no key, no control characters, bounded."""
    text = _TRACEBACK.sub("", message)
    text = _SECRET.sub("[redacted]", _URL.sub("[url]", text))
    return "".join(char for char in text[:_TEXT_MAX] if char.isprintable() or char in "\n\t").strip()


def is_overflow(text: str) -> bool:
    """Whether an error says that the prompt does not fit into the model's window."""
    return _OVERFLOW.search(text) is not None


def overflow_message(text: str) -> str:
    """The phrase clients look for before they compact, with the numbers when the upstream gave them and its own words behind it."""
    if text.lower().startswith("prompt is too long"):
        return text
    numbers = [int(one.replace(",", "")) for one in _NUMBER.findall(text)]
    if len(numbers) >= 2 and max(numbers) != min(numbers):  # noqa: PLR2004 - the size and the limit
        return f"prompt is too long: {max(numbers)} tokens > {min(numbers)} maximum ({text})"
    return f"prompt is too long ({text})"


def types_of(status: int) -> tuple[str, str, str | None]:
    """Messages type, chat type and chat code of a status, also of one that no table has."""
    found = TYPES.get(status)
    if found is not None:
        return found
    return TYPES[500] if status >= 500 else TYPES[400]  # noqa: PLR2004


def status_for(wire: Protocol, error: ProxyError) -> int:
    """The status the client gets: the error's own, but chat clients do not know 529."""
    return 503 if wire is Protocol.OPENAI and error.status == 529 else error.status  # noqa: PLR2004


def body_of(wire: Protocol, error: ProxyError, request_id: str) -> bytes:
    """The whole error body in the words of ``wire``."""
    if wire is Protocol.ANTHROPIC:
        return b'{"type":"error","error":%b,"request_id":%b}' % (_messages_error(error), encode(request_id))
    return b'{"error":%b,"request_id":%b}' % (_chat_error(error), encode(request_id))


def event_of(wire: Protocol, error: ProxyError) -> bytes:
    """The error as the last frame of a stream."""
    if wire is Protocol.ANTHROPIC:
        return b'event: error\ndata: {"type":"error","error":%b}\n\n' % _messages_error(error)
    return b'data: {"error":%b}\n\n' % _chat_error(error)


def _message(error: ProxyError, wire: Protocol) -> str:
    if isinstance(error, InternalError):
        return error.message
    if error.code == "context_length_exceeded" and wire is Protocol.ANTHROPIC:
        return overflow_message(error.message)
    return error.message


def _messages_error(error: ProxyError) -> bytes:
    kind = error.kind if isinstance(error, UpstreamSaid) else _own_kind(error)
    members: dict[str, object] = {"type": kind, "message": _message(error, Protocol.ANTHROPIC)}
    if error.details is not None:
        members["details"] = Raw(error.details)
    if not isinstance(error, UpstreamSaid) or error.has_code:
        members["code"] = error.code
    if isinstance(error, UpstreamSaid) and error.body:
        members["upstream"] = _kept(error.body)
    return encode(members)


def _own_kind(error: ProxyError) -> str:
    # 503 of the proxy itself (draining, no target) is no overload of a model: product 1.8 has api_error.
    return "api_error" if error.status == 503 else types_of(error.status)[0]  # noqa: PLR2004


def _chat_error(error: ProxyError) -> bytes:
    _, kind, code = types_of(error.status)
    if isinstance(error, UpstreamSaid):
        code = error.code if error.has_code else code
        if error.kind == "billing_error":
            kind = "insufficient_quota"
    else:
        code = error.code
    members: dict[str, object] = {"message": _message(error, Protocol.OPENAI), "type": kind, "param": error.param, "code": code}
    if error.details is not None:
        members["details"] = Raw(error.details)
    if isinstance(error, UpstreamSaid) and error.body:
        members["upstream"] = _kept(error.body)
    return encode(members)


def _kept(body: bytes) -> object:
    """The upstream's own words beside ours: JSON as it is when it is small, else text; without addresses and keys."""
    text = clean(body[: 4 * _TEXT_MAX].decode("utf-8", "replace"))
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
    return Raw(text.encode())
