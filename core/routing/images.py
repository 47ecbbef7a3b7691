"""Whether a request holds a picture, found in its bytes: it decides which model can answer."""

from __future__ import annotations

from typing import Final

from core.translate.pictures import is_picture
from core.wire.codec import plain
from core.wire.envelope import Envelope

_IMAGE_TYPES: Final = ("image", "image_url", "input_image")  # no set: what a client calls a type need not be hashable
#: Members that hold the client's own data, in which a "type": "image" means nothing.
_OPAQUE: Final = frozenset({"input", "arguments", "input_schema", "parameters"})


def has_images(envelope: Envelope) -> bool:
    """Whether a request holds a picture, at any depth: in messages, tool results, single-object contents, attachments."""
    # One look at the bytes first: every type of picture has the word in it, and most requests do not.
    if b"image" in envelope.body and _holds_image(_member(envelope, "messages")):
        return True
    return has_attached_image(envelope)


def has_attached_image(envelope: Envelope) -> bool:
    """Whether a picture is among the ``attachments`` that some editors put beside the messages."""
    attached = _member(envelope, "attachments")
    return isinstance(attached, list) and any(is_picture(one) for one in attached)


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
