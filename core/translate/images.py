"""Images and documents between the two wires."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final, TypeAlias

from core.dialects import Dialect
from core.translate.loss import Losses, asks, refuse
from core.translate.pictures import PICTURES, part_of
from core.wire import chat, messages

#: What Messages takes as an image (platform.claude.com, vision, read 2026-11-20).
IMAGE_TYPES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
_ALIASES: Final = {"image/jpg": "image/jpeg"}
PDF: Final = "application/pdf"

#: What a document may become.
DocumentPart: TypeAlias = chat.TextPart | chat.ImagePart | chat.FilePart

_DATA_URI: Final = re.compile(r"data:(?P<media>[^;,]*)(?P<parameters>(?:;[^;,]*)*),", re.IGNORECASE)


def image_to_part(block: messages.Picture, path: str, dialect: Dialect, losses: Losses) -> chat.ImagePart:
    """An image, in whosever words, as an ``image_url`` part; ``transformations`` are lost.

    ``BadRequest`` for a ``file`` source, which lies at the other vendor, and for a URL where the upstream fetches none.
    """
    if not isinstance(block, messages.Image):
        part = part_of(block, path)
        part.cache_control = None  # whether the upstream takes one is for the caller to say
        if not dialect.image_urls and not is_data_uri(url_of(part)):
            raise refuse(path, f"this upstream ({dialect.name}) fetches no images; expected a data: URI")
        return part
    if asks(block.transformations):
        losses.drop(f"{path}.transformations", "transformations", "chat upstreams take images as they are")
    return chat.ImagePart(chat.ImageUrl(_source_to_url(block.source, f"{path}.source", dialect)))


def _source_to_url(source: messages.Source, path: str, dialect: Dialect) -> str:
    if source.type == "base64" and source.data is not None:
        if not source.media_type:
            raise refuse(f"{path}.media_type", "this field is required")
        return f"data:{source.media_type};base64,{source.data}"
    if source.type == "url" and source.url is not None and dialect.image_urls:
        return source.url
    taken = "base64 or url" if dialect.image_urls else "base64"
    raise refuse(path, f'an image of source type "{source.type}" cannot be sent to this upstream; expected {taken} with its data')


def part_to_image(part: chat.ImagePart, path: str) -> messages.Image | messages.Document:
    """An ``image_url`` part as an image block (or a document, for a PDF in a data URI). ``detail`` has no place there.

    ``path``: of its URL.
    """
    source = _url_to_source(url_of(part), path)
    return messages.Document(source) if source.media_type == PDF else messages.Image(source)


def url_of(part: chat.ImagePart) -> str:
    """The URL of an ``image_url`` part."""
    return part.image_url if isinstance(part.image_url, str) else part.image_url.url


def _url_to_source(url: str, path: str) -> messages.Source:
    if is_data_uri(url):
        media, data = split_data_uri(url, path)
        if media not in IMAGE_TYPES and media != PDF:
            raise refuse(path, f'media type "{media}" is not an image the upstream takes; expected one of {", ".join(IMAGE_TYPES)}')
        return messages.Source(type="base64", media_type=media, data=data)
    if url[:8].lower().startswith(("http://", "https://")):
        return messages.Source(type="url", url=url)
    raise refuse(path, "expected a data: URI or an http(s) URL")


def is_data_uri(url: str) -> bool:
    return url[:5].lower() == "data:"


def split_data_uri(url: str, path: str) -> tuple[str, str]:
    """Media type (lower case, without parameters) and base64 text of a data URI. Not base64, or broken: ``BadRequest``."""
    match = _DATA_URI.match(url[:512])
    if match is None or not match["parameters"].lower().endswith(";base64"):
        raise refuse(path, "the data URI is not base64; expected data:<media type>;base64,<data>")
    media = match["media"].strip().lower()
    data = url[match.end() :]
    if not _is_base64(data):
        data = _mended_base64(data, path)
    return _ALIASES.get(media, media), data


def _is_base64(data: str) -> bool:
    try:
        binascii.a2b_base64(data, strict_mode=True)
    except (binascii.Error, ValueError):
        return False
    return bool(data)


def _mended_base64(data: str, path: str) -> str:
    """Base64 with white space, URL-safe letters or missing padding, in its usual form."""
    plain = "".join(data.split()).replace("-", "+").replace("_", "/").rstrip("=")
    plain += "=" * (-len(plain) % 4)
    if not _is_base64(plain):
        raise refuse(path, "the data is not base64")
    return plain


def document_to_parts(block: messages.Document, path: str, dialect: Dialect, losses: Losses) -> list[DocumentPart]:
    """A document as text, as its own text and images, or as a file part where the dialect has those; else ``BadRequest``.

    ``title`` and ``context`` go before the text; a file has the title for its name, and its ``context`` is lost. ``citations`` are lost.
    """
    if asks(block.citations):
        losses.drop(f"{path}.citations", "citations", "chat upstreams cite no documents")
    source = block.source
    header = "\n".join(line for line in (block.title, block.context) if line)
    if source.type == "text" and source.data is not None:
        return [_titled(header, source.data)]
    if source.type == "content" and source.content is not None:
        return _inline(header, source.content, f"{path}.source.content", dialect, losses)
    if source.type != "base64" or source.data is None:
        raise refuse(f"{path}.source", f'a document of source type "{source.type}" cannot be sent to this upstream; send its text instead')
    media = source.media_type or PDF
    if media.startswith("text/"):
        return [_titled(header, _decoded(source.data, f"{path}.source.data"))]
    if not dialect.files:
        raise refuse(f"{path}.source", f'this upstream ({dialect.name}) takes no documents of type "{media}"; send their text instead')
    if block.context:
        losses.drop(f"{path}.context", "context", "a file has no place for it")
    return [chat.FilePart(chat.File(file_data=f"data:{media};base64,{source.data}", filename=block.title or "document.pdf"))]


def _titled(header: str, text: str) -> chat.TextPart:
    return chat.TextPart(f"{header}\n\n{text}" if header else text)


def _inline(
    header: str, content: str | list[messages.Text | messages.Picture], path: str, dialect: Dialect, losses: Losses
) -> list[DocumentPart]:
    if isinstance(content, str):
        return [_titled(header, content)]
    parts: list[DocumentPart] = [chat.TextPart(header)] if header else []
    for index, block in enumerate(content):
        if isinstance(block, messages.Text):
            parts.append(chat.TextPart(block.text))
        else:
            parts.append(image_to_part(block, f"{path}[{index}]", dialect, losses))
    return parts


def _decoded(data: str, path: str) -> str:
    """The text of base64; bytes that are not UTF-8 become U+FFFD. Not base64: ``BadRequest``."""
    plain = data if _is_base64(data) else _mended_base64(data, path)
    return base64.b64decode(plain).decode("utf-8", "replace")


def file_to_document(part: chat.FilePart, path: str) -> messages.Document | messages.Image:
    """A ``file`` part as a document (or image). ``file_id`` lies at the other vendor: ``BadRequest``."""
    data = part.file.file_data
    if data is None:
        raise refuse(f"{path}.file", "only file_data can be sent to this upstream; a file_id exists at the other vendor only")
    title = part.file.filename
    if not is_data_uri(data):
        data = f"data:{PDF};base64,{data}"
    media, payload = split_data_uri(data, f"{path}.file.file_data")
    if media in IMAGE_TYPES:
        return messages.Image(messages.Source(type="base64", media_type=media, data=payload))
    if media.startswith("text/"):
        text = base64.b64decode(payload).decode("utf-8", "replace")
        return messages.Document(messages.Source(type="text", media_type="text/plain", data=text), title=title)
    if media != PDF:
        raise refuse(f"{path}.file.file_data", f'media type "{media}" cannot be sent to this upstream; expected {PDF} or text')
    return messages.Document(messages.Source(type="base64", media_type=PDF, data=payload), title=title)


def holds_image(turns: list[messages.Turn] | list[chat.Turn]) -> bool:
    """Whether any turn of a conversation has a picture, its tool results and documents included."""
    return any(_is_image(block) for turn in turns if isinstance(turn.content, list) for block in turn.content)


def _is_image(block: object) -> bool:
    if isinstance(block, PICTURES):
        return True
    inner = block.source if isinstance(block, messages.Document) else block
    if not isinstance(inner, messages.Source | messages.ToolResult | chat.ToolResultPart) or not isinstance(inner.content, list):
        return False
    return any(map(_is_image, inner.content))
