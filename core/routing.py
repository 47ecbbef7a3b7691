"""Which upstream answers a request: one pure function of the request and the settings, with its reason."""

from __future__ import annotations

import fnmatch
import functools
import re
import urllib.parse
from dataclasses import dataclass, field
from typing import Final

from core.dialects import DIALECTS, Dialect, Protocol, dialect_for
from core.settings import ZAI_ANTHROPIC, ZAI_OPENAI, Settings
from core.settings.upstreams import NO_LIMITS, NO_TIMEOUTS, Auth, Bases, Concurrency, Limits, Timeouts
from core.wire.codec import plain
from core.wire.envelope import Envelope

_SUFFIXES: Final = {"-openai": Protocol.OPENAI, "-anthropic": Protocol.ANTHROPIC}
_VERSION: Final = re.compile(r"v\d+(?:beta\d*|alpha\d*)?")
#: Models that see, by their names: GLM's vision models end in v (glm-4.5v, glm-4.6v-flash).
_SEEING: Final = ("glm-*[0-9]v", "glm-*[0-9]v-*")
_IMAGE_TYPES: Final = ("image", "image_url", "input_image")  # no set: what a client calls a type need not be hashable
#: Members that hold the client's own data, in which a "type": "image" means nothing.
_OPAQUE: Final = frozenset({"input", "arguments", "input_schema", "parameters"})

#: Looking a dialect up takes a fifth of a small exchange. Names come from clients, so neither their number nor their length is trusted.
_REMEMBERED_NAME: Final = 100  # characters
_dialect_for: Final = functools.lru_cache(maxsize=256)(dialect_for)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes, as what, and why."""

    name: str  # the configured name of the server or provider
    protocol: Protocol
    base: str
    model: str  # as the upstream knows it
    reason: str  # what X-Proxy-Route says
    dialect: Dialect
    glm: bool = True  # a GLM server: its usage is scaled, and FORWARD_CLIENT_KEY says whose key it gets
    vision: bool = False  # the request holds pictures, so the model's vision limits apply
    key: str | None = field(default=None, repr=False)  # the owner's
    forward_client_key: bool = True  # a client's own key may go there
    auth: Auth | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()  # fixed ones
    limits: Limits = NO_LIMITS
    default_max_tokens: int = 98_304  # where the wire needs a limit and the client gave none
    timeouts: Timeouts = NO_TIMEOUTS
    concurrency: Concurrency = "auto"  # requests at once per key

    @property
    def label(self) -> str:
        """How logs, metrics and X-Proxy-Upstream call it."""
        return f"{self.name}/{self.protocol.value}"

    @property
    def line(self) -> str:
        """The line that is logged for it."""
        word = "OpenAI" if self.protocol is Protocol.OPENAI else "Anthropic"
        return f"[ROUTING] → {word} ({self.reason})"


def bases(settings: Settings) -> Bases:
    """The GLM server's addresses.

    Each side that is set is taken as it is. Where only one is set, and not to a z.ai address, the other is *not* z.ai's: a request meant
    for one's own server, with one's own key in it, must not go to another because it holds a picture.
    """
    anthropic, openai = settings.upstream_base, settings.openai_upstream_base
    if anthropic is None and openai is None:
        return Bases(ZAI_ANTHROPIC, ZAI_OPENAI)
    if anthropic is None:
        return Bases(ZAI_ANTHROPIC if _is_zai(openai) else None, openai)
    if openai is None:
        return Bases(anthropic, ZAI_OPENAI if _is_zai(anthropic) else None)
    return Bases(anthropic, openai)


def _is_zai(base: str | None) -> bool:
    host = urllib.parse.urlsplit(base or "").hostname or ""
    return host == "z.ai" or host.endswith(".z.ai")


def has_images(envelope: Envelope) -> bool:
    """Whether a request holds a picture, at any depth: in messages, tool results, single-object contents, attachments."""
    # One look at the bytes first: every type of picture has the word in it, and most requests do not.
    if b"image" in envelope.body and _holds_image(_member(envelope, "messages")):
        return True
    return has_attached_image(envelope)


def has_attached_image(envelope: Envelope) -> bool:
    """Whether a picture is among the ``attachments`` that some editors put beside the messages."""
    attached = _member(envelope, "attachments")
    return isinstance(attached, list) and any(_is_picture(one) for one in attached)


def _member(envelope: Envelope, name: str) -> object:
    raw = envelope.get(name)
    return None if raw is None else plain(raw)


def _holds_image(value: object) -> bool:
    """Walks with a list of its own: what JSON may nest is deeper than Python's stack."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, dict):
            if one.get("type") in _IMAGE_TYPES:
                return True
            waiting.extend(inner for name, inner in one.items() if name not in _OPAQUE)
    return False


def _is_picture(attachment: object) -> bool:
    if isinstance(attachment, str):
        return attachment.startswith("data:image/")
    if not isinstance(attachment, dict):
        return False
    return any("image" in str(attachment.get(name, "")) for name in ("type", "media_type", "mime_type", "contentType"))


def route(model: str | None, *, images: bool, wire: Protocol, settings: Settings) -> Target:
    """The target of a request. ``model``: as the client wrote it, with any suffix; ``wire``: that of the endpoint it called."""
    name, wanted = _without_suffix(model or "")
    protocol, reason = _protocol(wanted, images=images, wire=wire, settings=settings)
    there = bases(settings)
    base = there.openai if protocol is Protocol.OPENAI else there.anthropic
    if base is None:  # the server speaks one protocol only
        protocol = Protocol.ANTHROPIC if protocol is Protocol.OPENAI else Protocol.OPENAI
        base = there.openai if protocol is Protocol.OPENAI else there.anthropic
        assert base is not None  # bases() leaves one of them
        reason = f"only base: {protocol.value}"
    upstream_model = _upstream_model(name, images=images, settings=settings)
    return Target("international", protocol, base, upstream_model, reason, _dialect(protocol, base, upstream_model, settings))


def _dialect(protocol: Protocol, base: str, model: str, settings: Settings) -> Dialect:
    """The dialect the settings name, else the one that host and model tell."""
    named = settings.openai_upstream_dialect if protocol is Protocol.OPENAI else settings.upstream_dialect
    if named is not None:
        return DIALECTS[named]
    find = _dialect_for if len(model) <= _REMEMBERED_NAME else dialect_for
    return find(protocol, base, model)


def _without_suffix(model: str) -> tuple[str, Protocol | None]:
    for suffix, protocol in _SUFFIXES.items():
        if model.endswith(suffix):
            return model.removesuffix(suffix), protocol
    return model, None


def _upstream_model(name: str, *, images: bool, settings: Settings) -> str:
    text, vision = settings.autotext_model, settings.autovision_model
    if not name.strip():
        return vision if images else text
    if text == vision:
        return name
    if images:
        return name if sees(name) and name != text else vision
    return text if name == vision else name


def sees(model: str) -> bool:
    """Whether a model is known to take pictures."""
    return any(fnmatch.fnmatchcase(model.lower(), pattern) for pattern in _SEEING)


def _protocol(wanted: Protocol | None, *, images: bool, wire: Protocol, settings: Settings) -> tuple[Protocol, str]:
    if images:  # z.ai serves vision on its OpenAI side only
        return Protocol.OPENAI, "has_images=True"
    if wanted is not None:
        return wanted, f"suffix: -{wanted.value}"
    path = "/v1/messages" if wire is Protocol.ANTHROPIC else "/v1/chat/completions"
    match settings.text_endpoint_preference:
        case "openai":
            return Protocol.OPENAI, "preference: openai"
        case "anthropic":
            return Protocol.ANTHROPIC, "preference: anthropic"
        case "endpoint":
            return wire, f"endpoint: {path}"
        case _:
            return Protocol.ANTHROPIC, f"auto: {path}"


@functools.lru_cache(maxsize=64)  # bases come from the settings
def upstream_url(protocol: Protocol, base: str, *, count: bool = False) -> str:
    """The address of the endpoint under ``base``, whatever part of the path the base already has."""
    base = base.rstrip("/")
    segments = [one for one in urllib.parse.urlsplit(base).path.split("/") if one]
    if protocol is Protocol.OPENAI:
        if base.endswith("/chat/completions"):
            return base
        return f"{base}/chat/completions" if any(_VERSION.fullmatch(one) for one in segments) else f"{base}/v1/chat/completions"
    if not base.endswith("/v1/messages"):
        base = f"{base}/messages" if segments and _VERSION.fullmatch(segments[-1]) else f"{base}/v1/messages"
    return f"{base}/count_tokens" if count else base
