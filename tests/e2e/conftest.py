"""One simulator for all tests of the folder, and two proxies per backend: one as it comes, one with quick keep-alives."""

from __future__ import annotations

import logging
import queue
from collections.abc import Iterator

import pytest

from tests.e2e.house import House, serving
from transports.simulator import Simulator, running

backends = pytest.fixture(scope="package", params=["asyncio", "trio"])


@pytest.fixture(scope="package")
def simulator() -> Iterator[Simulator]:
    with running(pace=0) as one:
        yield one


@backends
def _ordinary(request: pytest.FixtureRequest, simulator: Simulator) -> Iterator[House]:
    with serving(simulator, request.param) as one:
        yield one


@backends
def _impatient(request: pytest.FixtureRequest, simulator: Simulator) -> Iterator[House]:
    with serving(simulator, request.param, SSE_PING_INTERVAL="0.002") as one:
        yield one


@pytest.fixture
def house(_ordinary: House) -> House:
    """A proxy with the default settings, and no records and requests of earlier tests."""
    return emptied(_ordinary)


@pytest.fixture
def impatient(_impatient: House) -> House:
    """The same with a keep-alive every 2 ms of silence."""
    return emptied(_impatient)


def emptied(house: House) -> House:
    house.simulator.requests.clear()
    while True:
        try:
            house.records.get_nowait()
        except queue.Empty:
            return house


@pytest.fixture(autouse=True)
def _nothing_failed_inside(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The server goes on after a bug of its own; the test does not."""
    yield
    said = [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert [message for message in said if "token validation" not in message] == []  # the simulator's counts are its own
