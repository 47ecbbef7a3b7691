"""Pictures among messages that are not translated: put into the words of their own wire, every other byte kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Raw

from core.dialects import Protocol
from core.translate.images import part_to_image
from core.translate.pictures import found_url
from core.wire import chat
from core.wire.codec import decoder, encode, members, plain
from core.wire.envelope import replace_items

#: By wire, the types of parts that are pictures in the words of others.
_FOREIGN: Final = {Protocol.OPENAI: (b'"image"', b'"input_image"'), Protocol.ANTHROPIC: (b'"image_url"', b'"input_image"')}
#: What a message that holds any picture has in it.
_PICTURES: Final = (b'"image"', b'"image_url"', b'"input_image"')
#: Where pictures stand: in a message, in a result or a document's source in it, and in what that holds.
_LEVELS: Final = 4

_items = decoder(list[Raw]).decode


def in_own_words(turns: bytes, wire: Protocol) -> bytes | None:
    """``messages`` with pictures as ``wire`` has them, in a list of parts; None where nothing is to be changed.

    A picture that cannot be understood stays as it is, for the upstream to judge. Raises ``BadRequest`` for one that Messages cannot take.
    """
    changes = {}
    for place, turn in enumerate(_items(turns)):
        if (worded := _holder(bytes(turn), wire, f"messages[{place}]")) is not None:
            changes[place] = worded
    return replace_items(turns, changes) if changes else None


def _holder(data: bytes, wire: Protocol, path: str, levels: int = _LEVELS) -> bytes | None:
    """What has its parts in ``content``: a message, a result, the source of a document. None where nothing is to be changed."""
    if not levels or not data.startswith(b"{") or not any(kind in data for kind in _PICTURES):
        return None
    found = members(data)
    for name in ("content", "source"):
        value = bytes(found.get(name, b""))
        worded = _holder(value, wire, f"{path}.{name}", levels - 1) if name == "source" else _content(value, wire, f"{path}.{name}", levels)
        if worded is not None:
            return encode({**found, name: Raw(worded)})
    return None


def _content(data: bytes, wire: Protocol, path: str, levels: int) -> bytes | None:
    if not data.startswith(b"["):
        worded = _part(data, wire, path, levels)
        alone = worded is not None or (data.startswith(b"{") and bytes(members(data).get("type", b"")) in _PICTURES)
        return b"[%b]" % (worded or data) if alone else None
    changes = {}
    for place, part in enumerate(_items(data)):
        if (worded := _part(bytes(part), wire, f"{path}[{place}]", levels)) is not None:
            changes[place] = worded
    return replace_items(data, changes) if changes else None


def _part(data: bytes, wire: Protocol, path: str, levels: int) -> bytes | None:
    """One part, or the one object that a content is; None where nothing is to be changed."""
    if not data.startswith(b"{"):
        return None
    found = members(data)
    if bytes(found.get("type", b"")) not in _FOREIGN[wire]:
        return _holder(data, wire, path, levels - 1)
    described = plain(data)
    assert isinstance(described, dict)
    url = found_url(described)
    if url is None:
        return None
    picture = _picture(url, described, wire, path)
    if (mark := found.get("cache_control")) is not None:
        picture["cache_control"] = mark
    return encode(picture)


def _picture(url: str, described: Mapping[str, object], wire: Protocol, path: str) -> dict[str, Raw]:
    if wire is Protocol.ANTHROPIC:
        return members(encode(part_to_image(chat.ImagePart(url), path)))
    inner = described.get("image_url")
    detail = inner.get("detail") if isinstance(inner, dict) else described.get("detail")
    return members(encode(chat.ImagePart(chat.ImageUrl(url, detail if isinstance(detail, str) else None))))
