"""Errors of both wires: understood from whatever shape they come in, written in the caller's.

Statuses, types and codes follow the tables of both API references (read 2026-11-20) and the shapes of vLLM, llama.cpp, FastAPI, OpenRouter
and z.ai.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec
from msgspec import Raw

from core.dialects import Protocol
from core.errors import ProxyError, UpstreamSaid
from core.wire.codec import decode_lenient, encode

#: status -> (Messages type, chat type, chat code).
TYPES: Final[dict[int, tuple[str, str, str | None]]] = {
    400: ("invalid_request_error", "invalid_request_error", None),
    401: ("authentication_error", "authentication_error", "invalid_api_key"),
    402: ("billing_error", "insufficient_quota", "insufficient_quota"),
    403: ("permission_error", "permission_error", "permission_denied"),
    404: ("not_found_error", "not_found_error", "model_not_found"),
    408: ("timeout_error", "timeout", "timeout"),
    413: ("request_too_large", "invalid_request_error", "request_too_large"),
    429: ("rate_limit_error", "rate_limit_error", "rate_limit_exceeded"),
    500: ("api_error", "server_error", None),
    503: ("overloaded_error", "server_error", "overloaded"),
    504: ("timeout_error", "timeout", "timeout"),
    529: ("overloaded_error", "server_error", "overloaded"),
}
#: Types and codes of either wire -> the status they imply, for errors whose status says nothing (inside a 200, inside a stream).
_IMPLIED: Final = {
    **UpstreamSaid.STATUS_OF,
    "invalid_api_key": 401,
    "insufficient_quota": 402,
    "permission_denied": 403,
    "model_not_found": 404,
    "rate_limit_exceeded": 429,
    "requests": 429,
    "tokens": 429,
    "server_error": 500,
    "timeout": 504,
    "overloaded": 529,
}
#: Business codes of z.ai that mean one status whatever they come with (docs.z.ai, error codes, read 2026-11-20).
_ZAI_STATUS: Final = {"1302": 429, "1305": 429, "1210": 400, "1214": 400}
#: The same, only where the status says nothing: the balance is used up, there is no such model, the prompt is too long.
_ZAI_IMPLIED: Final = {"1113": 402, "1211": 404, "1261": 400}
#: Codes that are none of an error, in lower case.
_GOOD: Final = ("0", "200", "ok", "success")
#: Codes of an account without money, whatever the status.
_NO_MONEY: Final = ("insufficient_quota", "1113")

#: How vendors say that a prompt does not fit: OpenAI, Anthropic, vLLM, SGLang, llama.cpp, GLM, Bedrock, Copilot. Never about images or
#: max_tokens alone: clients shorten the conversation on it.
_OVERFLOW: Final = re.compile(
    r"context_length_exceeded|model_context_window_exceeded|exceed_context_size|maximum context length|context limit:|"
    r"(?:exceed\w*|longer than|larger than|fit in(?:to)?) (?:\S+ ){0,3}context (?:size|window|length|limit)|"
    r"\b(?:prompt|input|context|token count)\b.{0,60}?(?:\bexceed\w* .{0,40}?\b(?:limit|max)|\btoo (?:long|large)\b)",
    re.IGNORECASE | re.DOTALL,
)
_Z_AI_OVERFLOW: Final = "1261"
#: The same without a doubt, also where the status says that the upstream is at fault: some vLLM and some relays answer 500.
_SURE_OVERFLOW: Final = re.compile(
    r"context_length_exceeded|model_context_window_exceeded|exceed_context_size|prompt is too long: \d|exceed context limit: |"
    r"maximum context length (?:is|of) [\d,]+ tokens|"
    r"(?:exceed\w*|longer than|larger than) (?:\S+ ){0,3}context (?:size|window|length|limit)",
    re.IGNORECASE,
)
#: Statuses with which an overflow is said.
_OVERFLOW_STATUSES: Final = (400, 413, 422)
_COUNT: Final = r"\d{1,3}(?:,\d{3})+|\d{3,}"
_COUNTS: Final = re.compile(rf"(?<![\w.])(?:{_COUNT})(?![\w.])")
_LIMIT: Final = re.compile(rf"(?:limit|max|window|context (?:length|size)|allowed)\D{{0,40}}?(?<![\w.])({_COUNT})(?![\w.])", re.IGNORECASE)
#: Anthropic's own word for an answer limit that leaves no room for the prompt; Claude Code reads it, and lowers its limit.
_SUM: Final = "exceed context limit: "

#: Upstream text in a message of ours is cut here: enough for any real error, too little for a page.
_TEXT_MAX: Final = 4000
#: Levels of an upstream's error object that are looked at; real ones have three.
_LEVELS: Final = 16
_TAGS: Final = re.compile(r"<(?:script|style).*?</(?:script|style)>|<[^>]*>", re.IGNORECASE | re.DOTALL)
#: From here on a text is a stack trace: of Python, or (two spaces and more) of Node and Java.
_TRACEBACK: Final = re.compile(r"Traceback \(most recent call last\).*|\n[ \t]+at \S.*|\n[ \t]+File \".*", re.DOTALL)
_URL: Final = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>]+", re.IGNORECASE)
#: Keys as vendors make them: sk-..., z.ai's id.secret, and whatever follows Bearer.
_SECRET: Final = re.compile(r"\bsk-[\w-]{6,}|\b[0-9a-f]{32}\.\w{16}\b|\bBearer\s+\S+", re.IGNORECASE)
#: A credential shorter than this is a placeholder, and may be a word that occurs in any text.
_SECRET_MIN: Final = 8
_REDACTED: Final = "[redacted]"


# ---------------------------------------------------------------------------------------------------- understood


def understand(status: int, body: bytes) -> UpstreamSaid:
    """The error that an upstream's body means. ``status``: of the HTTP answer; 200 for an error inside a good answer or a stream."""
    parsed = _parsed(body)
    fields = _fields(parsed)
    code, kind, param = _word(fields.get("code")), _word(fields.get("type")), fields.get("param")
    message = clean(_message_of(fields) if parsed is not None else _page_text(body))
    words = f"{message} {kind} {code}"
    overflow = code == _Z_AI_OVERFLOW or is_overflow(words)
    status = _status(status, code, kind, overflow=overflow)
    if status >= 500 and (code == _Z_AI_OVERFLOW or _SURE_OVERFLOW.search(words)):
        status = 400  # asking again, or asking another, mends nothing
    message = message or f"the upstream answered with status {status}"
    error = UpstreamSaid(message, status=status, kind="billing_error" if code in _NO_MONEY else types_of(status)[0], code=code, body=body)
    error.param = param if isinstance(param, str) else None
    if overflow and status in _OVERFLOW_STATUSES:
        error.code, error.has_code = "context_length_exceeded", True
    return error


def is_flat_error(body: bytes) -> bool:
    """Whether a body that is no answer is an error all the same, one without ``error``: z.ai's ``{"code", "msg", "success"}``.

    Relays wrap good answers in the same words, with ``success`` or a code that says so.
    """
    found = _parsed(body)
    if not isinstance(found, dict) or found.get("choices") is not None or found.get("content") is not None:
        return False
    if not any(isinstance(text := found.get(name), str) and text for name in ("msg", "message")):
        return False
    if isinstance(found.get("success"), bool):
        return not found["success"]
    return (_word(found.get("code")) or "ok").lower() not in _GOOD


def _status(status: int, code: str | None, kind: str | None, *, overflow: bool) -> int:
    if code in _ZAI_STATUS:
        return _ZAI_STATUS[code]
    if status >= 400:
        return status
    if code is not None and code.isascii() and code.isdigit() and code[:1] in "45" and len(code) == len("400"):
        return int(code)  # OpenRouter, vLLM: the status stands in the body
    implied = _ZAI_IMPLIED.get(code or "") or _IMPLIED.get(code or "") or _IMPLIED.get(kind or "")
    return implied or (400 if overflow else 500)


def _parsed(body: bytes) -> object:
    """``body`` as JSON; None when it is none."""
    try:
        return decode_lenient(object, body)
    except msgspec.DecodeError:
        return None


def _fields(parsed: object) -> dict[str, object]:
    """The members of an error, whichever way it is wrapped."""
    if not isinstance(parsed, dict):
        return {"message": parsed}
    inner = parsed.get("error")
    if isinstance(inner, dict):
        return {**inner, "message": inner.get("message") or parsed.get("message")}
    return {**parsed, "message": inner} if isinstance(inner, str) and inner else parsed


def _word(value: object) -> str | None:
    """A code or type, which some vendors send as a number."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None


def _message_of(fields: dict[str, object]) -> str:
    text = next((found for name in ("message", "msg", "detail") if (found := _text(fields.get(name)))), "")
    size, room = fields.get("n_prompt_tokens"), fields.get("n_ctx")
    if isinstance(size, int) and isinstance(room, int):  # llama.cpp has the numbers apart from the text
        text += f" (limit {room}, prompt {size})"
    return text


def _text(value: object, levels: int = 3) -> str:
    """The message, also from FastAPI's list of ``{loc, msg}``."""
    if isinstance(value, str):
        return value
    if levels and isinstance(value, list):
        return "; ".join(filter(None, (_text(one, levels - 1) for one in value)))
    if levels and isinstance(value, dict):
        place = value.get("loc")
        where = ".".join(str(one) for one in place) + ": " if isinstance(place, list) else ""
        return where + _text(value.get("msg") or value.get("message") or value.get("error"), levels - 1)
    return ""


def _page_text(body: bytes) -> str:
    """The words of a page, or of whatever is no JSON."""
    return " ".join(_TAGS.sub(" ", body[: 16 * _TEXT_MAX].decode("utf-8", "replace")).split())


def clean(message: str) -> str:
    """Upstream text fit for a client: no stack trace, no address, no key, no control characters, bounded."""
    text = _SECRET.sub(_REDACTED, _URL.sub("[url]", _TRACEBACK.sub("", message)))
    return "".join(char for char in text[:_TEXT_MAX] if char.isprintable() or char in "\n\t").strip()


def redact(error: ProxyError, secret: bytes) -> None:
    """Blot ``secret`` out of what an upstream said, should it have repeated the credential it was sent."""
    if len(secret) < _SECRET_MIN:
        return
    text = secret.decode("latin-1")
    error.args = (error.message.replace(text, _REDACTED),)
    if isinstance(error, UpstreamSaid):
        error.code = error.code.replace(text, _REDACTED)
        error.param = error.param and error.param.replace(text, _REDACTED)
        parsed = _parsed(error.body)
        body = error.body if parsed is None else encode(_scrubbed(parsed))  # JSON has many ways to write a string, encode() one
        error.body = blotted(body, secret)


def blotted(data: bytes, secret: bytes) -> bytes:
    """Our own JSON without ``secret``."""
    return data.replace(encode(secret.decode("latin-1"))[1:-1], _REDACTED.encode()) if len(secret) >= _SECRET_MIN else data


def is_overflow(text: str) -> bool:
    """Whether an error says that the prompt does not fit into the model's window."""
    return _OVERFLOW.search(text) is not None


def overflow_message(text: str) -> str:
    """The phrase clients look for before they compact, with the numbers when the upstream gave them and its own words behind it."""
    if "prompt is too long" in text or _SUM in text:
        return text
    numbers = [int(one.replace(",", "")) for one in _COUNTS.findall(text)]
    limit = _LIMIT.search(text)
    if limit is not None and max(numbers) > (most := int(limit[1].replace(",", ""))):
        return f"prompt is too long: {max(numbers)} tokens > {most} maximum ({text})"
    return f"prompt is too long ({text})"


# ---------------------------------------------------------------------------------------------------- written


def types_of(status: int) -> tuple[str, str, str | None]:
    """Messages type, chat type and chat code of a status, also of one that no table has."""
    return TYPES.get(status) or TYPES[500 if status >= 500 else 400]


def status_for(wire: Protocol, error: ProxyError) -> int:
    """The status the client gets: the error's own, but chat clients do not know 529."""
    return 503 if wire is Protocol.OPENAI and error.status == 529 else error.status


def body_of(wire: Protocol, error: ProxyError, request_id: str) -> bytes:
    """The whole error body in the words of ``wire``: the upstream's own where it speaks them, cleaned."""
    native = _native(wire, error)
    if native is not None:
        return encode({**native, "request_id": native.get("request_id") or request_id})
    if wire is Protocol.ANTHROPIC:
        return b'{"type":"error","error":%b,"request_id":%b}' % (_messages_error(error), encode(request_id))
    return b'{"error":%b,"request_id":%b}' % (_chat_error(error), encode(request_id))


def event_of(wire: Protocol, error: ProxyError) -> bytes:
    """The error as the last frame of a stream."""
    native = _native(wire, error)
    if wire is Protocol.ANTHROPIC:
        said = _messages_error(error) if native is None else encode(native["error"])
        return b'event: error\ndata: {"type":"error","error":%b}\n\n' % said
    return b'data: {"error":%b}\n\n' % (_chat_error(error) if native is None else encode(native["error"]))


def _native(wire: Protocol, error: ProxyError) -> dict[str, object] | None:
    """The upstream's own body if it is an error of ``wire`` that its clients understand; None when it has to be put into words."""
    parsed = _parsed(error.body) if isinstance(error, UpstreamSaid) else None
    if not isinstance(parsed, dict) or not isinstance(said := parsed.get("error"), dict):
        return None
    message, spoken = said.get("message"), Protocol.ANTHROPIC if parsed.get("type") == "error" else Protocol.OPENAI
    if spoken is not wire or not isinstance(message, str) or not isinstance(said.get("type"), str):
        return None
    if error.code == "context_length_exceeded":
        understood = overflow_message(message) == message if wire is Protocol.ANTHROPIC else said.get("code") == error.code
        if not understood or _IMPLIED.get(str(said["type"]), 400) >= 500:
            return None
    whole = said if wire is Protocol.ANTHROPIC else {"param": None, "code": None, **said}  # the SDKs read both
    return {clean(name): _scrubbed(value) for name, value in {**parsed, "error": whole}.items()}


def _messages_error(error: ProxyError) -> bytes:
    members: dict[str, object] = {"type": _messages_type(error), "message": error.message}
    if error.code == "context_length_exceeded":
        members["message"] = overflow_message(error.message)
    if not isinstance(error, UpstreamSaid) or error.has_code:
        members["code"] = error.code
    return _encoded(members, error)


def _messages_type(error: ProxyError) -> str:
    if isinstance(error, UpstreamSaid):
        return error.kind
    # 503 of the proxy itself (draining, no target) is no overload of a model: product 1.8 has api_error.
    return "api_error" if error.status == 503 else types_of(error.status)[0]


def _chat_error(error: ProxyError) -> bytes:
    _, kind, code = types_of(error.status)
    if not isinstance(error, UpstreamSaid) or error.has_code:
        code = error.code
    if isinstance(error, UpstreamSaid) and error.kind == "billing_error":
        kind = "insufficient_quota"
    return _encoded({"message": error.message, "type": kind, "param": error.param, "code": code}, error)


def _encoded(members: dict[str, object], error: ProxyError) -> bytes:
    if error.details is not None:
        members["details"] = Raw(error.details)
    if isinstance(error, UpstreamSaid) and error.body:
        members["upstream"] = _kept(error.body)
    return encode(members)


def _kept(body: bytes) -> object:
    """The upstream's own words beside ours: JSON when it is small, else text, cut; without addresses and keys."""
    parsed = _parsed(body)
    if parsed is None:
        return clean(body[: 4 * _TEXT_MAX].decode("utf-8", "replace"))
    text = encode(_scrubbed(parsed))
    return Raw(text) if len(text) <= _TEXT_MAX else text.decode()[:_TEXT_MAX]


def _scrubbed(value: object, levels: int = _LEVELS) -> object:
    """A JSON value in which every text is clean."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list | dict) and not levels:
        return "..."
    if isinstance(value, list):
        return [_scrubbed(one, levels - 1) for one in value]
    if isinstance(value, dict):
        return {clean(name): _scrubbed(one, levels - 1) for name, one in value.items()}
    return str(value)[:_TEXT_MAX] if isinstance(value, int) and abs(value) >= 2**63 else value  # encode() knows 64 bits
