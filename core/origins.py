"""Web pages: which Host and Origin a request may have, and what a browser is told so that a page may read the answer.

A page on any site can make a browser send requests to this machine, and a name it controls can be made to resolve to 127.0.0.1 (DNS
rebinding). Both show in the headers that browsers add and pages cannot set.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from core.effects import Flow, Head, Headers, Start
from core.errors import ClientGone, Forbidden, UpstreamError
from core.settings import Settings, is_loopback

#: ``Host``: a name or IPv4 address, or an IPv6 address in brackets; then perhaps a port.
_HOST: Final = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^\s:@/\[\]]*))(?::[0-9]*)?", re.IGNORECASE)
#: This machine's own, in lower case: its addresses as browsers write them, and the one name that no resolver is asked for.
_OWN: Final = re.compile(r"(?:localhost|127(?:\.(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}|\[::1\])(?::[0-9]*)?")
#: What may be echoed of an ``Origin`` that is not listed by name.
_ORIGIN: Final = re.compile(rb"https?://[\x21-\x7e]{1,1000}")
#: Names of headers with commas between them. The bound is far above what any client asks for; it is echoed.
_NAMES: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:[ \t]*,[ \t]*[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")
_NAMES_MAX: Final = 4096
#: For a browser that does not say what it is going to send: what the vendors' own clients send from pages.
_USUAL_NAMES: Final = (
    b"authorization, x-api-key, content-type, anthropic-version, anthropic-beta, anthropic-dangerous-direct-browser-access, "
    b"x-request-id, x-stainless-arch, x-stainless-lang, x-stainless-os, x-stainless-package-version, x-stainless-retry-count, "
    b"x-stainless-runtime, x-stainless-runtime-version, x-stainless-timeout"
)
#: Seconds a browser may remember a preflight: two hours are as much as Chromium grants.
_MAX_AGE: Final = b"7200"
ANY: Final = "*"


class Origins:
    """The rules for Host and Origin, worked out once."""

    __slots__ = ("_any_page", "_checks_hosts", "_is_loopback", "_names", "_pages", "_usual", "shares")

    def __init__(self, settings: Settings) -> None:
        self._is_loopback = is_loopback(settings.host)
        self._names = frozenset(name.strip("[]").lower() for name in settings.allowed_hosts)
        self._checks_hosts = self._is_loopback or bool(self._names)
        #: What nearly every request on loopback has, and need not be taken apart.
        self._usual = frozenset((b"127.0.0.1:%d" % settings.port, b"localhost:%d" % settings.port) if self._is_loopback else ())
        #: Whether any page of another origin may ask.
        self.shares = settings.enable_cors
        pages = settings.cors_origins if settings.enable_cors else ()
        self._any_page = ANY in pages
        self._pages = frozenset(page.encode() for page in pages if page != ANY)

    def check(self, headers: Headers) -> None:
        """Refuse what only a web page would send that has no business here.

        Raises ``Forbidden`` for a Host that is not ours, and for an Origin that is neither our own nor listed. On loopback a request
        without a Host passes (HTTP/1.0 has none): every browser sends one.
        """
        hosts, origins = [], []
        for name, value in headers:
            if name == b"host":
                hosts.append(value)
            elif name == b"origin":
                origins.append(value)
        if self._checks_hosts:
            served = all(host in self._usual or self._is_served(host.decode("latin-1").lower()) for host in hosts)
            if not served or (not hosts and not self._is_loopback):
                raise Forbidden("this Host is not served here; add it to ALLOWED_HOSTS if it should be", code="forbidden_host")
        if origins and not self._may_ask(origins, hosts):
            remedy = "add this one to CORS_ORIGINS if it should be" if self.shares else "set ENABLE_CORS and CORS_ORIGINS if they should be"
            raise Forbidden(f"requests from pages of other origins are not served; {remedy}", code="forbidden_origin")

    def page(self, headers: Headers) -> bytes | None:
        """The listed origin of the page that asks, whose scripts may read the answer; None for everybody else."""
        if not self.shares:
            return None
        origins = [value for name, value in headers if name == b"origin"]
        return origins[0] if len(origins) == 1 and self._is_listed(origins[0]) else None

    def _is_served(self, host: str) -> bool:
        """Whether a ``Host`` is one of ours: an allowed one, or this machine's own while nobody else can reach us."""
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        return (self._is_loopback and _OWN.fullmatch(host) is not None) or (match["address"] or match["name"]) in self._names

    def _may_ask(self, origins: Sequence[bytes], hosts: Sequence[bytes]) -> bool:
        own = {scheme + host.lower() for host in hosts for scheme in (b"http://", b"https://")}
        return len(origins) == 1 and (origins[0].lower() in own or self._is_listed(origins[0]))

    def _is_listed(self, origin: bytes) -> bool:
        # "null" is what sandboxed frames and local files send, from whatever site they come.
        return origin.lower() in self._pages or (self._any_page and _ORIGIN.fullmatch(origin) is not None)


def preflight(methods: Sequence[str], headers: Headers) -> list[tuple[bytes, bytes]]:
    """What a browser is told that asks, by OPTIONS, what it may send. ``readable`` adds for whom."""
    asked = next((value for name, value in headers if name == b"access-control-request-headers"), b"")
    names = asked if len(asked) <= _NAMES_MAX and _NAMES.fullmatch(asked) else _USUAL_NAMES
    return [
        (b"access-control-allow-methods", ", ".join((*methods, "OPTIONS")).encode()),
        (b"access-control-allow-headers", names),
        (b"access-control-max-age", _MAX_AGE),
    ]


def readable(flow: Flow[None], page: bytes | None) -> Flow[None]:
    """``flow``, its answer open to the scripts of ``page``; as it is when there is none."""
    return flow if page is None else _opened(flow, granted(page))


def granted(page: bytes | None) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that let the scripts of ``page`` read an answer, all of its headers included."""
    if page is None:
        return ()
    return (b"access-control-allow-origin", page), (b"access-control-expose-headers", b"*"), (b"vary", b"origin")


def _opened(flow: Flow[None], headers: tuple[tuple[bytes, bytes], ...]) -> Flow[None]:
    reply: Any = None
    error: UpstreamError | ClientGone | None = None
    while True:
        try:
            effect = flow.send(reply) if error is None else flow.throw(error)
        except StopIteration:
            return
        if isinstance(effect, Start):
            effect = Start(Head(effect.head.status, (*effect.head.headers, *headers)))
        try:
            reply, error = (yield effect), None
        except (UpstreamError, ClientGone) as thrown:
            reply, error = None, thrown
