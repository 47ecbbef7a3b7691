"""What a client asked of a model, read once: the few members that decide where it goes, the rest as bytes or in types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from core.call import Call
from core.dialects import Protocol
from core.errors import BadRequest
from core.routing import has_attached_image, has_images
from core.translate.images import holds_image
from core.wire import chat, messages
from core.wire.codec import ABSENT, plain, read
from core.wire.envelope import Envelope

T = TypeVar("T")

#: Characters of a model's name; real ones stay below 100.
_NAME_MAX: Final = 512
#: Of the list of messages so many bytes are looked at to see whether it is one, and not empty.
_GLANCE: Final = 1024

#: A request in types, with the paths of what was unknown in it.
Typed: TypeAlias = tuple[messages.Request, list[str]] | tuple[chat.Request, list[str]]


@dataclass(slots=True)
class Asked:
    """One request. What its bytes have to be looked through for is looked for when it is wanted, and once."""

    wire: Protocol  # the client's
    envelope: Envelope
    model: str  # as the client wrote it; empty if it named none
    stream: bool
    max_depth: int
    _typed: Typed | None = None
    _images: bool | None = None

    @property
    def typed(self) -> Typed:
        """The request in types. Raises ``BadRequest`` for what does not fit into them."""
        if self._typed is None:
            body = self.envelope.body
            self._typed = read(messages.Request, body) if self.wire is Protocol.ANTHROPIC else read(chat.Request, body)
        return self._typed

    def images(self, *, translated: bool) -> bool:
        """Whether it holds a picture. ``translated``: its types are needed anyway, and are looked through in place of the bytes."""
        if self._images is None:
            if translated:
                request, unknown = self.typed
                self._images = holds_image(request.messages) or has_attached_image(self.envelope)
                if unknown and not self._images:  # in what the types have no room for, perhaps
                    self.envelope.check_member("messages", self.max_depth)
                    self._images = has_images(self.envelope)
            else:
                self.envelope.check_member("messages", self.max_depth)
                self._images = has_images(self.envelope)
        return self._images


def understand(call: Call) -> Asked:
    """Read a request. Raises ``BadRequest`` for what is no conversation."""
    max_depth = call.gateway.settings.max_json_depth
    envelope = Envelope.read(call.request.body, max_depth=None)
    envelope.check(max_depth, but="messages")
    model = _member(envelope, "model", str) or ""
    if len(model) > _NAME_MAX:
        raise BadRequest(
            f"model: expected a name of at most {_NAME_MAX} characters, found {len(model)}", param="model", code="invalid_request"
        )
    stream = bool(_member(envelope, "stream", bool))
    _check_messages(envelope, max_depth)
    return Asked(call.wire, envelope, model, stream, max_depth)


def _member(envelope: Envelope, name: str, kind: type[T]) -> T | None:
    """A top-level member of a simple type, None when it is missing or null."""
    raw = envelope.get(name)
    if raw is None or raw == b"null":
        return None
    value = plain(raw)
    if not isinstance(value, kind):
        word = "a string" if kind is str else "true or false"
        raise BadRequest(f"{name}: expected {word}, found {_shown(value)}", param=name, code="invalid_request")
    return value


def _shown(value: object) -> str:
    return {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}.get(type(value), "a number")


def _check_messages(envelope: Envelope, max_depth: int) -> None:
    raw = envelope.members.get("messages", ABSENT)
    begin = bytes(memoryview(raw)[:_GLANCE])
    if begin in (b"", b"null"):
        raise BadRequest("messages: this field is required", param="messages", code="invalid_request")
    if not begin.startswith(b"["):
        envelope.check_member("messages", max_depth)
        raise BadRequest(f"messages: expected an array, found {_shown(plain(raw))}", param="messages", code="invalid_request")
    if begin[1:].lstrip().startswith(b"]"):
        raise BadRequest("messages: expected at least one message", param="messages", code="invalid_request")
