"""HTTP/1.1 as a server speaks it, without a socket: bytes in, a request out; an answer in, bytes out.

h11 does the parsing and the framing. What it tolerates and another parser might frame differently is refused here before h11
sees it, because a gateway that disagrees with its neighbours about where a request ends can be made to smuggle one. Against
h11 0.16: bare LF and bare CR, folded headers, control characters in headers, Content-Length beside Transfer-Encoding,
repeated or listed Content-Length, Transfer-Encoding in HTTP/1.0, versions other than 1.0 and 1.1, blanks after a chunk size, chunk
extensions and trailers (no client of an API sends the last two, and parsers differ over them). What a refusal says never holds a
value: it may be a key.
"""

from __future__ import annotations

import enum
import http
import re
from collections.abc import Sequence
from typing import Final

import h11

from core.effects import Head, Headers, Request
from core.errors import BadRequest, HeadersTooLarge, TooLarge

#: Header lines in one request: ten times what the most talkative client sends; the bound is on work, not on memory.
MAX_HEADERS: Final = 200
#: The longest chunk-size line: 16 hexadecimal digits (2^64) and CRLF.
_MAX_SIZE_LINE: Final = 18
#: What may stand in a header line that leaves us.
_PRINTABLE: Final = bytes(range(0x20, 0x7F)) + b"\t"
#: What may stand in a header block besides its line ends. Bytes from 0x80 on are part of values (obs-text, RFC 9110 5.5): h11 refuses them
#: in the request line and in names.
_TEXT: Final = _PRINTABLE + bytes(range(0x80, 0x100))
#: Every other byte becomes a question mark where a header leaves us.
_MASK: Final = bytes(byte if byte in _PRINTABLE else ord("?") for byte in range(256))
_LENGTH_VALUES: Final = re.compile(rb"\ncontent-length:([^\r]*)\r")
#: 15 digits are a petabyte; more only serves to find parsers that overflow.
_LENGTH: Final = re.compile(rb"[ \t]*[0-9]{1,15}[ \t]*")
_CHUNK_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,16}")
_TOKEN: Final = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]"
_REQUEST_LINE: Final = re.compile(_TOKEN + rb"{1,32} ([!-~]+) HTTP/[0-9]\.[0-9]\r\n")
#: The absolute form of a request target (RFC 9112 3.2.2): whom it is for, and the rest.
_ABSOLUTE: Final = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE)
_NAME: Final = re.compile(rb"(" + _TOKEN + rb"+):")
_STRAY: Final = re.compile(rb"[^\t\r\n\x20-\x7e\x80-\xff]|\r(?!\n|\Z)|(?<!\r)\n")
_REASONS: Final = {status.value: status.phrase.encode("ascii") for status in http.HTTPStatus} | {529: b"Overloaded"}


class Phase(enum.Enum):
    """How far the client is with its request."""

    IDLE = enum.auto()  # nothing of it is here
    HEAD = enum.auto()  # some of its head is here
    BODY = enum.auto()  # the head is whole, the body is not
    WHOLE = enum.auto()  # ready to be answered, or being answered


def printable(value: bytes) -> bytes:
    """``value`` as it may stand in a header line: CR, LF, NUL, other controls and non-ASCII bytes become ``?``."""
    return value.translate(_MASK).strip(b" \t")


class Connection:
    """One client connection: any number of requests, one after the other.

    Feed it with ``receive``, ask with ``advance`` whether a request is whole, answer with ``start``, ``data`` and ``end``, and go on
    with ``restart``. Bytes of the next request that arrive early are kept.
    """

    def __init__(self, *, max_header_bytes: int, max_body_bytes: int) -> None:
        self.phase = Phase.IDLE
        #: Method, target and headers of the current request as far as they are known: enough to refuse it in the client's dialect.
        self.method = ""
        self.target = ""
        self.headers: Headers = ()
        self._max_header = max_header_bytes
        self._max_body = max_body_bytes
        # h11's own limit must lie beyond ours: it is only ever fed what has been measured.
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=max_header_bytes + 1024)
        self._buffer = bytearray()
        self._searched = 0  # of the buffer, in phase HEAD
        self._parts: list[bytes] = []
        self._chunked = False
        self._body_left = 0  # Content-Length body still to come; for chunked bodies: of the current chunk with its CRLF
        self._body_size = 0  # decoded so far, chunked bodies only

    # The request

    @property
    def held(self) -> int:
        """Bytes received and not yet understood."""
        return len(self._buffer)

    def receive(self, data: bytes) -> None:
        """Take bytes from the client; they are looked at by ``advance``."""
        if self.phase is Phase.BODY and not self._chunked and len(data) <= self._body_left and not self._buffer:
            self._h11.receive_data(data)  # the common case of a large body goes without another copy
            self._body_left -= len(data)
        else:
            self._buffer += data

    def advance(self) -> bool:
        """Whether a request is whole.

        Raises ``BadRequest`` for ambiguous or broken framing, ``HeadersTooLarge`` and ``TooLarge``; after each of them the
        connection can only be answered with an error and closed.
        """
        if self.phase is Phase.IDLE:
            if self._buffer.startswith(b"\r\n"):  # RFC 9112 2.2: an empty line before the request line should be ignored
                del self._buffer[:2]
            if not self._buffer or self._buffer == b"\r":
                return False
            self.phase = Phase.HEAD
        if self.phase is Phase.HEAD and not self._take_head():
            return False
        if self.phase is Phase.BODY:
            return self._take_chunks() if self._chunked else self._take_length()
        return True

    def request(self, *, id: str, now: float, peer: str, dice: float = 0.5) -> Request:
        """The whole request; ``id``, ``now``, ``peer`` and ``dice`` as in ``Request``."""
        parts, self._parts = self._parts, []
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        return Request(self.method, self.target, self.headers, bytes(body), id, now, peer, dice)

    def invitation(self) -> bytes:
        """``100 Continue`` when the client waits for it before it sends the body, else nothing."""
        if self.phase is not Phase.BODY or not self._h11.they_are_waiting_for_100_continue:
            return b""
        return self._h11.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")) or b""

    def _take_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", self._searched)
        size = len(self._buffer) if end < 0 else end + 4
        if end < 0:
            # A block that will never have its CRLF CRLF need not wait for the clock. Either end may cut a CRLF in two.
            fresh = bytes(self._buffer[self._searched :]).removesuffix(b"\r")
            if _strays(fresh.removeprefix(b"\n") if self._searched else fresh):
                raise self._broken(b"")
            self._searched = max(0, size - 3)
        if size > self._max_header:
            self._guess_target()
            raise HeadersTooLarge(f"the header block is larger than {self._max_header} bytes")
        if end < 0:
            return False
        block = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._searched = 0
        self._read_head(block)
        return True

    def _read_head(self, block: bytes) -> None:
        self._guess_target(block)
        if block.count(b"\r\n") - 2 > MAX_HEADERS:
            raise HeadersTooLarge(f"more than {MAX_HEADERS} header lines")
        lowered = block.lower()
        lengths = _LENGTH_VALUES.findall(lowered)
        if (
            _strays(block)
            or b"\r\n " in block
            or b"\r\n\t" in block
            or len(lengths) > 1
            or (lengths and (not _LENGTH.fullmatch(lengths[0]) or b"\ntransfer-encoding" in lowered))
        ):
            raise self._broken(block)
        self._h11.receive_data(block)
        try:
            event = self._h11.next_event()
        except h11.RemoteProtocolError as error:
            raise BadRequest(f"malformed HTTP request: {_problem(block) or error}", code="malformed_http") from None
        if not isinstance(event, h11.Request):
            raise self._broken(block)
        self.method = event.method.decode("ascii")
        self.headers = tuple(event.headers)
        self.target, authority = _origin_form(event.target.decode("ascii"))
        if authority is not None:  # it counts, and Host does not
            self.headers = ((b"host", authority), *(field for field in self.headers if field[0] != b"host"))
        self._chunked = b"\ntransfer-encoding" in lowered
        if event.http_version not in (b"1.0", b"1.1") or (self._chunked and event.http_version == b"1.0") or event.method == b"CONNECT":
            raise BadRequest("only HTTP/1.0 and HTTP/1.1 requests, and no tunnels, are served here", code="malformed_http")
        self._body_left = int(lengths[0]) if lengths else 0
        if self._body_left > self._max_body:
            raise self._too_large()
        self._body_size = 0
        self.phase = Phase.BODY

    def _take_length(self) -> bool:
        if self._body_left and self._buffer:
            piece = bytes(self._buffer[: self._body_left])
            del self._buffer[: self._body_left]
            self._body_left -= len(piece)
            self._h11.receive_data(piece)
        self._drain()
        return self.phase is Phase.WHOLE

    def _take_chunks(self) -> bool:
        """Follow the chunks line by line, hand what is complete to h11, and stop where the message ends."""
        buffer, position = self._buffer, 0
        while position < len(buffer):
            if self._body_left:
                step = min(self._body_left, len(buffer) - position)
                position += step
                self._body_left -= step
                continue
            line_end = buffer.find(b"\r\n", position, position + _MAX_SIZE_LINE)
            if line_end < 0:
                if len(buffer) - position >= _MAX_SIZE_LINE or b"\n" in buffer[position:]:
                    raise BadRequest("malformed chunk size", code="malformed_http")
                break
            line = bytes(buffer[position:line_end])
            if not _CHUNK_SIZE.fullmatch(line):
                raise BadRequest("malformed chunk size", code="malformed_http")
            size = int(line, 16)
            if not size:
                if len(buffer) < line_end + 4 and b"\r\n".startswith(bytes(buffer[line_end + 2 :])):
                    break
                if not buffer.startswith(b"\r\n", line_end + 2):
                    raise BadRequest("trailers after a chunked body are not accepted", code="malformed_http")
                position = line_end + 4
                break
            self._body_size += size
            if self._body_size > self._max_body:
                raise self._too_large()
            position, self._body_left = line_end + 2, size + 2
        if position:
            self._h11.receive_data(bytes(buffer[:position]))
            del buffer[:position]
            self._drain()
        return self.phase is Phase.WHOLE

    def _drain(self) -> None:
        """Move h11's body events into the parts; the phase follows."""
        try:
            while self.phase is Phase.BODY:
                event = self._h11.next_event()
                if isinstance(event, h11.Data):
                    self._parts.append(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    self.phase = Phase.WHOLE
                else:
                    break
        except h11.RemoteProtocolError as error:
            raise BadRequest(f"malformed HTTP request: {error}", code="malformed_http") from None

    def _broken(self, block: bytes) -> BadRequest:
        self._guess_target(block)
        problem = _problem(block or bytes(self._buffer)) or "its length is ambiguous"
        return BadRequest(f"malformed HTTP request: {problem}", code="malformed_http")

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the request body is larger than {self._max_body} bytes")

    def _guess_target(self, block: bytes = b"") -> None:
        """The target alone decides the dialect of a refusal; take it from the request line if that is sound."""
        if line := _REQUEST_LINE.match(block or bytes(self._buffer)):
            self.target, _ = _origin_form(line[1].decode("ascii"))

    # The answer

    def start(self, head: Head, *, close: bool = False) -> bytes:
        """The head of the answer. ``close`` announces that the connection ends after it.

        Without ``content-length`` the body goes out in chunks (HTTP/1.0: up to the end of the connection).
        """
        headers = [(name, printable(value)) for name, value in head.headers]
        if close:
            headers.append((b"connection", b"close"))
        reason = _REASONS.get(head.status, b"")
        return self._h11.send(h11.Response(status_code=head.status, headers=headers, reason=reason)) or b""

    def data(self, data: bytes) -> bytes:
        """Bytes of the body, framed; nothing where the answer has no body (HEAD)."""
        if not data or self.method == "HEAD":
            return b""
        return self._h11.send(h11.Data(data=data)) or b""

    def end(self) -> bytes:
        """The end of the answer. Raises ``h11.LocalProtocolError`` when less was sent than the head promised."""
        return self._h11.send(h11.EndOfMessage()) or b""

    def restart(self) -> bool:
        """Get ready for the next request; False when this connection has to be closed instead."""
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        self.phase = Phase.IDLE
        self.method, self.target, self.headers = "", "", ()
        return True


def _origin_form(target: str) -> tuple[str, bytes | None]:
    """A request target as path and query, and whom it was for if it said so."""
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        return target, None
    rest = match[2]
    return rest if rest.startswith("/") else f"/{rest}", match[1].encode("ascii")


def _strays(block: bytes) -> int:
    """Bytes that are neither text nor part of a CRLF."""
    return len(block.translate(None, _TEXT)) - 2 * block.count(b"\r\n")


def _problem(block: bytes) -> str:
    """What is wrong with a header block, and where, as far as it shows in the shape of its lines; empty where it does not."""
    if stray := _STRAY.search(block):
        before = block[: stray.start()].split(b"\r\n")
        found = {b"\r": "a bare CR", b"\n": "a bare LF"}.get(stray[0], f"control character 0x{stray[0][0]:02x}")
        return f"found {found} in {_place(before)}"
    first, *lines = block.split(b"\r\n")
    if not _REQUEST_LINE.match(first + b"\r\n"):
        return "expected METHOD target HTTP/1.1 in the request line"
    for number, line in enumerate(lines):
        if line.startswith((b" ", b"\t")):
            return f"found a line break in {_place([first, *lines[:number]])}"
        if line and not _NAME.match(line):
            return f"expected a name, a colon and a value in {_place([first, *lines[: number + 1]])}"
    return ""


def _place(lines: Sequence[bytes]) -> str:
    """The last of these lines, without its value."""
    if len(lines) == 1:
        return "the request line"
    name = _NAME.match(lines[-1])
    return f"header line {len(lines) - 1}" if name is None else f"header {name[1][:64].decode('ascii')}"
