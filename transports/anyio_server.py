"""``python -m transports.anyio_server``: the gateway as a process, on asyncio or trio.

Exit codes: 0 done, 2 wrong usage, 3 configuration invalid, 4 refused as unsafe, 5 address not available, 130 ended by a second signal.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TextIO

import anyio

from core import routing
from core.exchange import adopt_request_id, exchange, refusal
from core.gateway import Gateway
from core.settings import Settings, SettingsError, UnsafeSettings
from transports import config, logs, probing, vocabularies
from transports.config import Configuration
from transports.listener import Limits, Service
from transports.reload import Live
from transports.server import AddressUnavailable, Server
from transports.switching import AutoSwitch
from transports.upstream import PoolLimits, Upstream

logger = logging.getLogger(logs.NAME)

_GREETING: Final = '{"model":"glm-4.6","max_tokens":64,"messages":[{"role":"user","content":"Hello"}]}'
#: What counting depends on. While none of it changes, what was counted and learned stays.
_COUNTING: Final = (
    "enable_accurate_token_counting", "token_counting_model", "tokenizer_json", "tiktoken_cache_size", "tiktoken_cache_dir",
    "allow_vocab_download", "token_calibration", "base_image_tokens", "image_tokens_per_char", "enable_dynamic_image_tokens",
)  # fmt: skip
#: Two for each of a few thousand clients, with room for logs and stores.
_DESCRIPTORS: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Start:
    """What a run begins with."""

    load: Callable[[], Configuration]  # reads everything, at the start and whenever it may have changed
    at: float  # seconds since the epoch


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the configuration, serve, and return the exit code."""
    load = partial(config.load, sys.argv[1:] if arguments is None else arguments, os.environ, Path.cwd())
    start = Start(load, time.time())
    try:
        configuration = start.load()
    except SettingsError as error:
        _complain(*error.problems)
        return 4 if isinstance(error, UnsafeSettings) else 3
    settings = configuration.settings
    logs.set_up(settings.log_level)
    _raise_descriptor_limit()
    options = {"use_uvloop": _wants_uvloop(settings)} if settings.backend == "asyncio" else {}
    return anyio.run(partial(_serve, start, configuration), backend=settings.backend, backend_options=options)


async def _serve(start: Start, configuration: Configuration) -> int:
    load = start.load
    async with anyio.create_task_group() as tasks:
        if configuration.demo:
            # Here and not above: the simulator costs start-up time that only a demonstration should pay.
            from transports import simulator  # noqa: PLC0415

            port = await tasks.start(simulator.serve)
            configuration = configuration.with_demo_upstream(port)

            def load() -> Configuration:
                return start.load().with_demo_upstream(port)

        server = server_of(configuration, load, start.at)
        try:
            code = await server.run()
        except AddressUnavailable as error:
            _complain(str(error), error.remedy)
            code = 5
        tasks.cancel_scope.cancel()
    return code


def server_of(configuration: Configuration, load: Callable[[], Configuration], started: float) -> Server:
    """The core wired to the world, and to what changes while it runs."""
    settings = configuration.settings
    live = Live(configuration, load, gateway_of, started=started)
    pool = PoolLimits(settings.http_pool_maxsize, settings.http_keepalive_connections, settings.http_keepalive_seconds)
    server = Server(
        service_of(lambda: live.gateway),
        Upstream(pool, configuration.proxies),
        limits_of(settings),
        settings.host,
        settings.port,
        settings.drain_timeout,
        lambda url: _say(sys.stdout, *greeting(live.gateway, configuration.warnings, url)),
        hang_up=live.ask,
        beside=(live.run, AutoSwitch(live, partial(probing.probe, fetch=probing.fetcher(configuration.proxies))).run),
    )

    def apply(settings: Settings) -> None:
        logs.set_up(settings.log_level)
        server.adjust(limits_of(settings), settings.drain_timeout)
        live.gateway.traffic.adopt(settings)

    live.apply = apply
    return server


def gateway_of(settings: Settings, before: Gateway | None) -> Gateway:
    """A gateway of ``settings`` which goes on from the state of the one ``before``. May take a second: see ``vocabularies.load``."""
    counts = before is not None and all(getattr(settings, name) == getattr(before.settings, name) for name in _COUNTING)
    gateway = Gateway(settings, None if counts else vocabularies.load(settings, logger.warning))
    if before is not None:
        gateway.traffic = before.traffic  # breakers, gates and windows live as long as the process
        if counts:
            gateway.counter, gateway.estimator = before.counter, before.estimator
    return gateway


def service_of(gateway: Callable[[], Gateway]) -> Service:
    """What the listener serves. ``gateway``: the one for a request that begins now."""
    return Service(
        answer=lambda request: exchange(request, gateway()),
        refuse=lambda target, headers, error, request_id: refusal(target, headers, error, request_id, gateway()),
        identify=lambda headers, fresh: adopt_request_id(headers, fresh, adopt=gateway().settings.enable_request_id_tracking),
        counted_as=lambda peer: gateway().door.peers.counted_as(peer),  # noqa: PLW0108 - the gateway of then
    )


def limits_of(settings: Settings) -> Limits:
    return Limits(
        header_bytes=settings.max_header_kb * 1024,
        body_bytes=int(settings.max_request_size_mb * 1024 * 1024),
        connections=settings.max_connections,
        connections_per_address=settings.max_connections_per_ip,
    )


def greeting(gateway: Gateway, warnings: Sequence[str], url: str) -> list[str]:
    """What is said once clients can connect."""
    settings = gateway.settings
    lines = [f"anthropic-proxy listens on {url}"]
    if settings.demo:
        here = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")  # where every interface is listened on
        lines += [
            "  demonstration: answers come from an embedded simulated upstream; no key is needed and nothing leaves this machine",
            f"  try: curl -s {here}/v1/messages -H 'content-type: application/json' -d '{_GREETING}'",
        ]
    else:
        lines += [f"  upstream: {target}" for target in gateway.targets()]
        lines += _routing(settings)
    return lines + [f"  warning: {warning}" for warning in warnings]


def _routing(settings: Settings) -> list[str]:
    lines = []
    if not settings.provider_only:
        lines.append(f"  routing: {settings.text_endpoint_preference}; GLM server {routing.selection(settings).server.name}")
    if settings.providers:
        lines.append(f"  providers: {len(settings.providers)}, with {sum(len(one.models) for one in settings.providers)} models")
    if settings.provider_only:
        port = "" if "port" in settings.explicit else f"; and as PORT is not set, it is {settings.port}"
        lines.append(f"  only providers are configured: no GLM server is asked, other models are refused{port}")
    return lines


def _complain(*lines: str) -> None:
    _say(sys.stderr, *(f"anthropic-proxy: {line}" for line in lines))


def _say(stream: TextIO, *lines: str) -> None:
    stream.write("".join(f"{line}\n" for line in lines))
    stream.flush()


def _wants_uvloop(settings: Settings) -> bool:
    return settings.uvloop == "on" or (settings.uvloop == "auto" and find_spec("uvloop") is not None)


def _raise_descriptor_limit() -> None:
    """Every stream needs two descriptors, and the usual soft limit of 1024 would end at 500 streams."""
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - not on Windows

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
