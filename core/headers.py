"""Headers: what goes upstream, what comes back to the client. Allow-lists both ways; nothing is relayed because it was there."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Final

from core.credentials import Credential, header_of
from core.dialects import Protocol
from core.effects import Head, Headers
from core.errors import BadRequest
from core.record import Record
from core.routing import Target
from core.settings import Settings

#: Sent to every upstream. Compression is refused: an event stream gains nothing from it and every event would wait for a block.
USER_AGENT: Final = b"anthropic-proxy/0.1"
JSON: Final = b"application/json"
EVENT_STREAM: Final = b"text/event-stream; charset=utf-8"

#: Headers of an answer that are the client's business on either wire: it retries by them.
_RETRY: Final = frozenset((b"retry-after", b"retry-after-ms", b"x-should-retry"))
_ANTHROPIC_LIMIT: Final = re.compile(rb"anthropic-ratelimit-(requests|tokens)-(limit|remaining|reset)")
_OPENAI_LIMIT: Final = re.compile(rb"x-ratelimit-(limit|remaining|reset)-(requests|tokens)")
#: Seconds. A duration beyond a century is no duration, and may be beyond the calendar.
_LONGEST_WAIT: Final = 100 * 365 * 86_400
_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")
#: Characters of each X-Proxy-* value: the model may be named by the client, and clients limit what they read of a head.
_ABOUT_MAX: Final = 256
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_UNPRINTABLE: Final = re.compile(rb"[^\x20-\x7e]")
#: A cache breakpoint in JSON: the key, not a text that speaks of it (whose quotes are escaped), and not null.
_CACHE_MARK: Final = re.compile(rb'"cache_control"\s*:\s*\{')
#: What no fixed header of a target replaces: credentials, and what says how the two ends understand each other's bytes.
_FIRM: Final = frozenset(
    (
        b"authorization", b"x-api-key", b"proxy-authorization", b"cookie",
        b"content-type", b"content-length", b"content-encoding", b"accept", b"accept-encoding", b"expect",
        b"host", b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    )
)  # fmt: skip


def upstream_headers(
    target: Target,
    credential: Credential,
    client: Headers,
    body: bytes = b"",
    *,
    wire: Protocol,
    stream: bool,
    settings: Settings,
) -> list[tuple[bytes, bytes]]:
    """The headers of an upstream request: of a conversation, a count, or a look at a model.

    ``client``: the headers of the client's request, of which only two go on, and only towards Messages. ``anthropic-beta`` byte for byte,
    on either wire; where there is none, the setting's own if it is to be forced on ``body``, the request as it goes up.
    ``anthropic-version`` where the client speaks Messages itself; the setting's otherwise, because later versions refuse the sampling
    parameters chat clients send. A target's fixed headers come in place of the proxy's own, never of the client's, of a credential or of
    framing. Raises ``BadRequest`` for either header with anything but visible ASCII and spaces in it.
    """
    headers = [
        (b"content-type", JSON),
        (b"accept", b"text/event-stream" if stream else JSON),
        (b"user-agent", USER_AGENT),
        header_of(credential, target),
    ]
    own: list[tuple[bytes, bytes]] = []
    if target.protocol is Protocol.ANTHROPIC:
        versions = [_checked(name, value) for name, value in client if name == b"anthropic-version" and wire is Protocol.ANTHROPIC]
        betas = [_checked(name, value) for name, value in client if name == b"anthropic-beta"]
        own = [*versions[-1:], *betas]
        if not versions:
            headers.append((b"anthropic-version", settings.anthropic_version.encode()))
        if not betas and _forces_beta(body, settings):
            headers.append((b"anthropic-beta", settings.default_anthropic_beta.encode()))
    if target.headers:
        taken = _FIRM | {name for name, _ in own}
        fixed = [field for field in target.headers if field[0] not in taken]
        replaced = {name for name, _ in fixed}
        headers = [field for field in headers if field[0] not in replaced] + fixed
    return headers + own


def _forces_beta(body: bytes, settings: Settings) -> bool:
    force = settings.force_anthropic_beta
    return force == "always" or (force is True and _CACHE_MARK.search(body) is not None)


def _checked(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    if _UNPRINTABLE.search(value):
        raise BadRequest(f"header {name.decode()}: expected visible ASCII characters", code="invalid_request")
    return name, value


def adopt_request_id(headers: Headers, fresh: str, *, adopt: bool = True) -> str:
    """The client's ``x-request-id`` when it is one, else ``fresh``."""
    for name, value in headers:
        if adopt and name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode("ascii")
    return fresh


def printable(text: str) -> bytes:
    """``text`` as a header value: anything but visible ASCII becomes a question mark."""
    return _UNPRINTABLE.sub(b"?", text.encode("ascii", "replace"))


def answer_head(
    status: int, content_type: bytes, record: Record, *, upstream: Head | None, wire: Protocol, show: bool, length: int | None = None
) -> Head:
    """The head of an answer. ``upstream``: the head it came with; ``show``: whether X-Proxy-* are wanted; ``length``: of a whole body."""
    request_id = record.request_id.encode()
    headers = [(b"content-type", content_type), (b"x-request-id", request_id), (b"request-id", request_id)]
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    else:
        headers += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
    if upstream is not None:
        headers += relayed(upstream, wire, record.started)
    if record.upstream_request_id:
        headers.append((b"x-upstream-request-id", printable(record.upstream_request_id)))
    if show and record.target:
        headers += _about(record)
        if length is None and wire is Protocol.OPENAI:
            headers.append((b"x-proxy-stream-fallback", b"auto"))
    return Head(status, headers)


def _about(record: Record) -> list[tuple[bytes, bytes]]:
    about = [
        (b"x-proxy-upstream", printable(record.target[:_ABOUT_MAX])),
        (b"x-proxy-model", printable(record.upstream_model[:_ABOUT_MAX])),
        (b"x-proxy-route", printable(record.reason[:_ABOUT_MAX])),
    ]
    if record.attempts > 1:
        about.append((b"x-proxy-attempts", b"%d" % record.attempts))
    if record.losses:
        # Bounded: names may come from the client, and clients limit what they read of a head.
        names = ", ".join(dict.fromkeys(loss.what for loss in record.losses))
        about.append((b"x-proxy-dropped", printable(names)[:1000]))
    return about


def relayed(upstream: Head, wire: Protocol, now: float) -> list[tuple[bytes, bytes]]:
    """The upstream's retry and rate limit headers, in the words of ``wire``; limits it has no words for stay out."""
    return [field for name, value in upstream.headers if (field := _relayed(name, _UNPRINTABLE.sub(b"?", value), wire, now)) is not None]


def _relayed(name: bytes, value: bytes, wire: Protocol, now: float) -> tuple[bytes, bytes] | None:
    if name in _RETRY:
        return name, value
    if name.startswith(b"anthropic-ratelimit-"):
        native, match = Protocol.ANTHROPIC, _ANTHROPIC_LIMIT.fullmatch(name)
    elif name.startswith(b"x-ratelimit-"):
        native, match = Protocol.OPENAI, _OPENAI_LIMIT.fullmatch(name)
    else:
        return None
    if wire is native:
        return name, value
    if match is None:
        return None
    return _to_openai(match[1], match[2], value, now) if wire is Protocol.OPENAI else _to_anthropic(match[2], match[1], value, now)


def _to_openai(kind: bytes, what: bytes, value: bytes, now: float) -> tuple[bytes, bytes]:
    return b"x-ratelimit-%b-%b" % (what, kind), _as_duration(value, now) if what == b"reset" else value


def _to_anthropic(kind: bytes, what: bytes, value: bytes, now: float) -> tuple[bytes, bytes]:
    return b"anthropic-ratelimit-%b-%b" % (kind, what), _as_time(value, now) if what == b"reset" else value


def _as_duration(value: bytes, now: float) -> bytes:
    """A moment (RFC 3339) as the time until then, like ``6m0s``, rounded up to seconds; what is no moment stays as it is."""
    try:
        moment = dt.datetime.fromisoformat(value.decode("ascii"))
    except ValueError:
        return value
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    seconds = max(0, math.ceil(moment.timestamp() - now))
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    text = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{text}{seconds % 60}s".encode()


def _as_time(value: bytes, now: float) -> bytes:
    """A duration like ``6m0s`` or ``20ms`` as the moment it is over (RFC 3339, whole seconds); what is no duration stays as it is."""
    match = _DURATION.fullmatch(value.decode("ascii"))
    if match is None or not any(match.groups()):
        return value
    hours, minutes, seconds, millis = (float(one or 0) for one in match.groups())
    wait = hours * 3600 + minutes * 60 + seconds + millis / 1000
    if wait > _LONGEST_WAIT:
        return value
    moment = dt.datetime.fromtimestamp(math.ceil(now + wait), dt.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ").encode()


def upstream_request_id(head: Head) -> str:
    """The id the upstream gave its answer, under whichever name."""
    found = head.get(b"request-id") or head.get(b"x-request-id") or b""
    return found.decode("ascii", "replace")[:128]
