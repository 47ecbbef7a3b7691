"""Images and documents between the two wires."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from core.dialects import Dialect
from core.translate.loss import refuse
from core.wire import chat, messages

#: What Messages takes as an image (platform.claude.com, vision, read 2026-11-20).
IMAGE_TYPES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
_ALIASES: Final = {"image/jpg": "image/jpeg"}
PDF: Final = "application/pdf"

_DATA_URI: Final = re.compile(r"data:(?P<media>[^;,]*)(?P<parameters>(?:;[^;,]*)*),", re.IGNORECASE)


def image_to_part(block: messages.Image, path: str) -> chat.ImagePart:
    """An image block as an ``image_url`` part. A ``file`` source lies at the other vendor: ``BadRequest``."""
    return chat.ImagePart(chat.ImageUrl(_source_to_url(block.source, path)))


def _source_to_url(source: messages.Source, path: str) -> str:
    if source.type == "base64" and source.data is not None:
        return f"data:{source.media_type or 'image/png'};base64,{source.data}"
    if source.type == "url" and source.url is not None:
        return source.url
    raise refuse(f"{path}.source", f'an image of source type "{source.type}" cannot be sent to this upstream; expected base64 or url')


def part_to_image(part: chat.ImagePart, path: str) -> messages.Image | messages.Document:
    """An ``image_url`` part as an image block (or a document, for a PDF in a data URI). ``detail`` has no place there."""
    source = _url_to_source(part.image_url.url, f"{path}.image_url.url")
    return messages.Document(source) if source.media_type == PDF else messages.Image(source)


def _url_to_source(url: str, path: str) -> messages.Source:
    if url[:5].lower() == "data:":
        media, data = split_data_uri(url, path)
        if media not in IMAGE_TYPES and media != PDF:
            raise refuse(path, f'media type "{media}" is not an image the upstream takes; expected one of {", ".join(IMAGE_TYPES)}')
        return messages.Source(type="base64", media_type=media, data=data)
    if url[:8].lower().startswith(("http://", "https://")):
        return messages.Source(type="url", url=url)
    raise refuse(path, "expected a data: URI or an http(s) URL")


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
        raise refuse(path, "the data of the data URI is not base64")
    return plain


def document_to_parts(block: messages.Document, path: str, dialect: Dialect) -> list[chat.Part]:
    """A document as text, as its own text and images, or as a file part where the dialect has those; else ``BadRequest``."""
    source = block.source
    header = "\n".join(line for line in (block.title, block.context) if line)
    if source.type == "text" and source.data is not None:
        return [chat.TextPart(f"{header}\n\n{source.data}" if header else source.data)]
    if source.type == "content" and source.content is not None:
        return _inline(header, source.content, path)
    if source.type == "base64" and source.data is not None:
        return [_file(block, source.media_type or PDF, source.data, path, dialect)]
    raise refuse(f"{path}.source", f'a document of source type "{source.type}" cannot be sent to this upstream')


def _inline(header: str, content: str | list[messages.Text | messages.Image], path: str) -> list[chat.Part]:
    parts: list[chat.Part] = [chat.TextPart(header)] if header else []
    if isinstance(content, str):
        return [*parts, chat.TextPart(content)]
    for index, block in enumerate(content):
        if isinstance(block, messages.Text):
            parts.append(chat.TextPart(block.text))
        else:
            parts.append(image_to_part(block, f"{path}.source.content[{index}]"))
    return parts


def _file(block: messages.Document, media: str, data: str, path: str, dialect: Dialect) -> chat.Part:
    if media.startswith("text/"):
        return chat.TextPart(base64.b64decode(data).decode("utf-8", "replace"))
    if not dialect.files:
        raise refuse(f"{path}.source", f'this upstream ({dialect.name}) takes no documents of type "{media}"; send their text instead')
    return chat.FilePart(chat.File(file_data=f"data:{media};base64,{data}", filename=block.title or "document.pdf"))


def file_to_document(part: chat.FilePart, path: str) -> messages.Document | messages.Image:
    """A ``file`` part as a document (or image). ``file_id`` lies at the other vendor: ``BadRequest``."""
    data = part.file.file_data
    if data is None:
        raise refuse(f"{path}.file", "only file_data can be sent to this upstream; a file_id exists at the other vendor only")
    title = part.file.filename
    if data[:5].lower() != "data:":
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
