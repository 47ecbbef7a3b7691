from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from transports.simulator import Simulator, running


@pytest.fixture(scope="package", params=["asyncio", "trio"])
def simulator(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """A running simulator as fast as it can, once on each backend."""
    with running(backend=request.param) as running_simulator:
        yield running_simulator


@pytest.fixture(autouse=True)
def _nothing_failed_inside(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The simulator goes on after a bug of its own; the test does not."""
    yield
    assert [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.ERROR] == []
