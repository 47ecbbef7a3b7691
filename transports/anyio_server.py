"""``python -m transports.anyio_server``: the gateway as a process, on asyncio or trio.

Exit codes: 0 done, 2 wrong usage, 3 configuration invalid, 4 refused as unsafe, 5 address not available, 130 ended by a second signal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Final, TextIO

import anyio

from core.exchange import adopt_request_id, exchange, refusal
from core.gateway import Gateway
from core.settings import Settings, SettingsError, UnsafeSettings
from transports import config, logs
from transports.listener import Limits, Service
from transports.server import AddressUnavailable, Server
from transports.upstream import PoolLimits, Upstream

_GREETING: Final = '{"model":"glm-4.6","max_tokens":64,"messages":[{"role":"user","content":"Hello"}]}'
#: Two for each of a few thousand clients, with room for logs and stores.
_DESCRIPTORS: Final = 16 * 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the configuration, serve, and return the exit code."""
    try:
        configuration = config.read(sys.argv[1:] if arguments is None else arguments, os.environ)
        if configuration.demo:
            configuration = configuration.with_demo_upstream(1)  # to be checked now; the port is known when the simulator runs
        settings = Settings.from_mapping(configuration.mapping)
    except SettingsError as error:
        _complain(*error.problems)
        return 4 if isinstance(error, UnsafeSettings) else 3
    logs.set_up(settings.log_level)
    _raise_descriptor_limit()
    options = {"use_uvloop": _wants_uvloop(settings)} if settings.backend == "asyncio" else {}
    return anyio.run(partial(_serve, configuration, settings), backend=settings.backend, backend_options=options)


async def _serve(configuration: config.Configuration, settings: Settings) -> int:
    async with anyio.create_task_group() as tasks:
        if configuration.demo:
            # Here and not above: the simulator costs start-up time that only a demonstration should pay.
            from transports import simulator  # noqa: PLC0415

            configuration = configuration.with_demo_upstream(await tasks.start(simulator.serve))
            settings = Settings.from_mapping(configuration.mapping)
        pool = PoolLimits(settings.http_pool_maxsize, settings.http_keepalive_connections, settings.http_keepalive_seconds)
        server = server_of(settings, Upstream(pool, configuration.proxies), partial(_announce, configuration.demo, settings.warnings()))
        try:
            code = await server.run()
        except AddressUnavailable as error:
            _complain(str(error), error.remedy)
            code = 5
        tasks.cancel_scope.cancel()
    return code


def server_of(settings: Settings, upstream: Upstream, announce: Callable[[Sequence[str], str], None]) -> Server:
    """The core wired to the world. ``announce`` is told the upstreams and, when clients can connect, the base URL."""
    gateway = Gateway(settings)
    service = Service(
        answer=lambda request: exchange(request, gateway),
        refuse=refusal,
        identify=partial(adopt_request_id, adopt=settings.enable_request_id_tracking),
    )
    limits = Limits(
        header_bytes=settings.max_header_kb * 1024,
        body_bytes=int(settings.max_request_size_mb * 1024 * 1024),
        connections=settings.max_connections,
    )
    return Server(service, upstream, limits, settings.host, settings.port, settings.drain_timeout, partial(announce, gateway.targets()))


def _announce(demo: bool, warnings: Sequence[str], targets: Sequence[str], url: str) -> None:
    lines = [f"anthropic-proxy listens on {url}"]
    if demo:
        lines += [
            "  demonstration: answers come from an embedded simulated upstream; no key is needed and nothing leaves this machine",
            f"  try: curl -s {url}/v1/messages -H 'content-type: application/json' -d '{_GREETING}'",
        ]
    else:
        lines += [f"  upstream: {target}" for target in targets]
    lines += [f"  warning: {warning}" for warning in warnings]
    _say(sys.stdout, *lines)


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
