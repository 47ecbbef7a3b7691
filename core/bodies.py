"""Request bodies: which kinds are taken, and how a compressed one is opened without becoming a bomb."""

from __future__ import annotations

import zlib
from typing import Final

from core.effects import Headers
from core.errors import BadRequest, Refused, TooLarge, UnsupportedMedia

#: Both are one encoding (RFC 9110 8.4.1.3).
_GZIP: Final = (b"gzip", b"x-gzip")
_PLAIN: Final = (b"", b"identity")
#: zlib's word for "a gzip header and trailer, and the largest window".
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
#: A body may grow by this much. Conversations grow by 4 to 20; deflate can be made to grow by 1032.
RATIO_MAX: Final = 100


def check_body(headers: Headers, *, gzip: bool) -> bool:
    """Refuse what no API client sends: forms (which any web page may post), and compressed bodies unless ``gzip`` allows that one way.

    Whether the body is compressed. Raises ``UnsupportedMedia``.
    """
    encodings = []
    for name, value in headers:
        if name == b"content-type":
            _check_type(value.lower())
        elif name == b"content-encoding" and (encoding := value.lower().strip()) not in _PLAIN:
            encodings.append(encoding)
    if not encodings:
        return False
    if gzip and len(encodings) == 1 and encodings[0] in _GZIP:
        return True
    taken = "send gzip, once, or identity" if gzip else "send identity"
    found = b", ".join(encodings).decode("ascii", "replace")[:60]
    raise UnsupportedMedia(f"content-encoding: {found} is not taken; {taken}")


def _check_type(value: bytes) -> None:
    kind, _, parameters = value.partition(b";")
    kind = kind.strip()
    if kind != b"application/json" and not kind.endswith(b"+json"):
        raise UnsupportedMedia(f"content-type: expected application/json, found {kind.decode('ascii', 'replace')[:60]}")
    if b"charset=" in parameters and b"utf-8" not in parameters and b"utf8" not in parameters:
        raise UnsupportedMedia("content-type: expected charset utf-8")


def inflated(data: bytes, most: int) -> bytes | Refused:
    """A gzip body opened, or why it is not: larger than ``most`` bytes or than ``RATIO_MAX`` allows, cut short, no gzip.

    Never more than the allowed size is unpacked. It returns the error so that it can run in a thread (see ``Compute``).
    """
    limit = min(most, RATIO_MAX * len(data))
    machine = zlib.decompressobj(_GZIP_WINDOW)
    try:
        opened = machine.decompress(data, limit + 1)
    except zlib.error as error:
        return _broken(f"found no proper gzip data ({error})")
    if len(opened) > limit:
        if limit < most:
            return TooLarge(f"the request body grows more than {RATIO_MAX} times when it is unpacked; send it uncompressed")
        return TooLarge(f"the request body is larger than {most} bytes when it is unpacked")
    if not machine.eof:
        return _broken("the gzip data end too early")
    if machine.unused_data:
        # Legal, and sent by nobody: with an empty member every 20 bytes, opening them one by one would take minutes.
        return _broken("found data after the end of the first gzip member")
    return opened


def _broken(problem: str) -> BadRequest:
    return BadRequest(f"content-encoding: {problem}", code="invalid_request")
