"""The whole server on loopback, in a thread of its own, with the simulated upstream behind it; and a plain client."""

from __future__ import annotations

import http.client
import json
import queue
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
from anyio.abc import SocketAttribute, TaskStatus
from anyio.from_thread import start_blocking_portal

from core.effects import Flow, Request
from core.gateway import Gateway
from core.record import Record
from core.settings import Settings
from core.settings.sources import Form, Source
from transports import anyio_server
from transports.listener import Listener, Outcome
from transports.simulator import ANTHROPIC_PATH, OPENAI_PATH, Simulator
from transports.upstream import Upstream
from transports.world import MemoryCache

#: Seconds. Nothing takes a tenth of it; it only keeps a failure from hanging.
PATIENCE = 10.0


@dataclass
class House:
    """A running proxy. ``records``: those of its exchanges, as they end."""

    port: int = 0
    simulator: Simulator = field(default_factory=Simulator)
    records: queue.Queue[Record] = field(default_factory=queue.Queue)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def record(self) -> Record:
        """The next record. Raises ``queue.Empty`` when none comes."""
        return self.records.get(timeout=PATIENCE)


@contextmanager
def serving(simulator: Simulator, backend: str, file: Mapping[str, object] | None = None, /, **settings: str) -> Iterator[House]:
    """The server as its command wires it, but for the signals, which a thread cannot have.

    ``backend``: asyncio, uvloop or trio.
    ``settings``: as in the environment; ``file``: as in config.json, and then the simulator is nobody's upstream by itself.
    """
    house = House(simulator=simulator)
    bases = {
        "UPSTREAM_BASE": simulator.url + ANTHROPIC_PATH,
        "OPENAI_UPSTREAM_BASE": simulator.url + OPENAI_PATH,
        # One request, one failure: what is tried again, and left alone after failures, has tests of its own.
        "MAX_RETRIES": "0",
        "BREAKER_FAILURES": "0",
    }
    sources = [Source("environment", Form.VARIABLES, settings if file is not None else {**bases, **settings})]
    sources.append(Source("config.json", Form.FILE, file or {}))

    async def serve(*, task_status: TaskStatus[int]) -> None:
        upstream = Upstream()
        gateway = Gateway(Settings.from_sources(sources).settings)
        service, limits = anyio_server.service_of(lambda: gateway), anyio_server.limits_of(gateway.settings)

        def recorded(request: Request) -> Flow[Outcome]:
            record = yield from service.answer(request)
            assert isinstance(record, Record)
            house.records.put(record)
            return record

        try:
            async with await anyio.create_tcp_listener(local_host="127.0.0.1") as door, anyio.create_task_group() as tasks:
                listener = Listener(replace(service, answer=recorded), upstream, MemoryCache(time.monotonic), limits, tasks)
                task_status.started(door.extra(SocketAttribute.local_port))
                await door.serve(listener.serve, tasks)
        finally:
            with anyio.CancelScope(shield=True):
                await upstream.close()

    options = {"use_uvloop": True} if backend == "uvloop" else {}
    with start_blocking_portal("trio" if backend == "trio" else "asyncio", options) as portal:
        future, house.port = portal.start_task(serve)
        try:
            yield house
        finally:
            future.cancel()


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(house: House, method: str, target: str, body: object = None, **headers: str) -> Reply:
    """One request on a connection of its own. ``body``: bytes, or what becomes JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=PATIENCE)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        sent = {"content-type": "application/json"} | sent
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    try:
        connection.request(method, target, data, sent)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, found, response.read())
    finally:
        connection.close()
