"""Pictures in the words of others: of the other wire, of the Responses API and of MCP among one's own; attachments beside the messages.

Clients mix them, relays and tools hand them on, and a picture that is not understood is a question about nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import Raw, structs

from core.translate.loss import Losses, asks, refuse
from core.wire import chat, messages
from core.wire.codec import value_of

_Turn = TypeVar("_Turn", messages.Turn, chat.Turn)

#: Pictures in all words that the types of either wire know, and those that are not the words of the way they are on.
PICTURES: Final = (messages.Image, messages.ImageUrlPart, messages.InputImage, chat.ImagePart, chat.AnyImagePart)
Foreign: TypeAlias = messages.ImageUrlPart | messages.InputImage | chat.AnyImagePart

#: The names under which clients give the media type of a picture.
_MEDIA: Final = ("media_type", "mime_type", "mimeType", "content_type", "contentType")
#: Where a picture is: a text, or an object that says where.
_PLACES: Final = ("image_url", "source", "image", "url", "data", "content")
#: Of these, the ones that may hold bare base64.
_BARE: Final = ("image", "data", "content")
#: Objects inside one another: image_url.url, source.data.
_LEVELS: Final = 2
_URLS: Final = ("data:", "http://", "https://")
_URL_GLANCE: Final = len("https://")
_DATA_IMAGE: Final = "data:image/"


def media_of(picture: Mapping[str, object]) -> str:
    """The media type of a picture as its description names it; empty where it names none. Some write it as its ``type``."""
    named = next((value for name in _MEDIA if isinstance(value := picture.get(name), str)), "")
    kind = picture.get("type")
    return named or (kind if isinstance(kind, str) and "/" in kind else "")


def found_url(picture: object, media: str = "", levels: int = _LEVELS) -> str | None:
    """The URL of a picture described in any of the shapes in use; a data URI where its data are given. None for what is none of them."""
    if isinstance(picture, str):
        return picture if picture[:_URL_GLANCE].lower().startswith(_URLS) else None
    if not isinstance(picture, dict) or not levels:
        return None
    media = media_of(picture) or media
    for name in _PLACES:
        value = picture.get(name)
        if (url := found_url(value, media, levels - 1)) is not None:
            return url
        if name in _BARE and value and isinstance(value, str) and media.lower().startswith("image/"):
            return f"data:{media};base64,{value}"
    return None


def is_picture(attachment: object) -> bool:
    """Whether an attachment is a picture, by its type or by its data."""
    if isinstance(attachment, dict) and any("image" in str(attachment.get(name, "")) for name in ("type", *_MEDIA)):
        return True
    return (found_url(attachment) or "")[: len(_DATA_IMAGE)].lower() == _DATA_IMAGE


def part_of(picture: Foreign, path: str) -> chat.ImagePart:
    """``picture`` as an ``image_url`` part. Raises ``BadRequest`` for a file at the other vendor, and for what cannot be understood."""
    described = msgspec.to_builtins(picture)
    url = found_url(described)
    if url is None:
        raise refuse(path, "found no picture in it; expected a data: URI or an http(s) URL, or base64 data with their media type")
    inner = described.get("image_url")
    detail = inner.get("detail") if isinstance(inner, dict) else described.get("detail")
    return chat.ImagePart(chat.ImageUrl(url, detail), picture.cache_control)


def attached(attachments: Raw, losses: Losses) -> list[str]:
    """The URLs of the pictures among the ``attachments`` of a request; what is no picture, or one that cannot be read, is lost."""
    if not asks(attachments):
        return []
    found = value_of(attachments)
    urls: list[str] = []
    for index, one in enumerate(found if isinstance(found, list) else [found]):
        if is_picture(one) and (url := found_url(one)) is not None:
            urls.append(url)
        else:
            losses.drop(f"attachments[{index}]", "attachments", "only pictures can be shown to the model")
    return urls


def with_pictures(
    turns: list[_Turn], urls: list[str], text: Callable[[str], Any], image: Callable[[str], Any], losses: Losses
) -> list[_Turn]:
    """``turns`` with the pictures at ``urls`` at the end of the user's last message. The turns given stay as they are.

    ``text`` and ``image`` make the parts of that message, of words and of URLs. A picture that is there already is not shown twice.
    """
    if not urls:
        return turns
    last = max((number for number, turn in enumerate(turns) if turn.role == "user"), default=-1)
    if last < 0:
        losses.drop("attachments", "attachments", "there is no message of the user's that they could go to")
        return turns
    content = turns[last].content
    parts = [text(content)] if isinstance(content, str) else list(content or ())
    there = {found_url(msgspec.to_builtins(part)) for part in parts if isinstance(part, PICTURES)}
    parts += [image(url) for url in dict.fromkeys(urls) if url not in there]
    changed = list(turns)
    changed[last] = structs.replace(turns[last], content=parts)
    return changed
