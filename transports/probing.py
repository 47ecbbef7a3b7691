"""Whether upstreams can be reached, and how fast: name, TCP, TLS and one small request without a credential."""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import anyio

from core.effects import Head, UpstreamRequest
from core.errors import UpstreamError
from transports.upstream import PoolLimits, Proxies, Upstream

#: For one probe in all. Who is slower than this to say anything is of no use to a client either.
TIMEOUT_SECONDS: Final = 10.0
#: Every probe makes its own connection: a warm one would say nothing about name, TCP and TLS.
_NO_POOL: Final = PoolLimits(total=0, idle=0)

Fetch: TypeAlias = Callable[[UpstreamRequest, float], Awaitable[tuple[Head, bytes]]]


@dataclass(frozen=True, slots=True)
class Probe:
    """What one probe found. An upstream with several addresses is as slow as the slowest, and not reached if one is not."""

    name: str
    seconds: float | None  # None: not reached
    problem: str = ""  # why not

    @property
    def reached(self) -> bool:
        return self.seconds is not None


def fetcher(proxies: Proxies) -> Fetch:
    """The real way to the upstreams."""
    return Upstream(_NO_POOL, proxies).fetch


async def probe(
    upstreams: Mapping[str, Sequence[str]], fetch: Fetch, clock: Callable[[], float] = time.perf_counter, timeout: float = TIMEOUT_SECONDS
) -> list[Probe]:
    """Probe all at once. ``upstreams``: their base URLs by name; the answer has their order. Any HTTP answer counts as reached."""
    #: Most upstreams have two bases on one host, which is then asked once.
    asked = {name: list({_origin(url): url for url in reversed(urls)}.values()) for name, urls in upstreams.items()}
    found: dict[str, Probe] = {}

    async def one(url: str) -> None:
        began = clock()
        try:
            await fetch(UpstreamRequest("GET", url, ((b"accept", b"*/*"),), b""), timeout)
        except UpstreamError as error:
            found[url] = Probe("", None, error.message.removeprefix("the upstream: "))
        else:
            found[url] = Probe("", clock() - began)

    async with anyio.create_task_group() as tasks:
        for url in {url for urls in asked.values() for url in urls}:
            tasks.start_soon(one, url)
    return [_together(name, [found[url] for url in urls]) for name, urls in asked.items()]


def _together(name: str, probes: Sequence[Probe]) -> Probe:
    seconds = [one.seconds for one in probes if one.seconds is not None]
    if len(seconds) < len(probes):
        return Probe(name, None, next(one.problem for one in probes if not one.reached))
    return Probe(name, max(seconds))


def fastest(probes: Sequence[Probe]) -> str | None:
    """The name of the fastest that was reached; the first of equals. None when none was."""
    reached = [(one.seconds, place) for place, one in enumerate(probes) if one.seconds is not None]
    return probes[min(reached)[1]].name if reached else None


def _origin(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
