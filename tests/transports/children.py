"""Servers as processes of their own, in a directory of their own: what they print, what they log, how they end."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
from anyio.abc import Process

from tests.transports.toys import PATIENCE

ROOT = Path(__file__).parents[2]
#: What a child needs of our environment; nothing in it may configure the proxy.
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}


@dataclass
class Child:
    process: Process
    directory: Path  # where it runs, and its home
    head: str = ""  # what it printed first
    _log: bytes = b""

    @property
    def port(self) -> int:
        return next(int(word.rpartition(":")[2]) for word in self.head.split() if word.startswith("http://"))

    async def end(self) -> int:
        """Its exit code."""
        return await self.process.wait()

    async def has_logged(self, words: bytes) -> bytes:
        """Wait until ``words`` stand in its log, and take everything up to the end of their line out of it."""
        assert self.process.stderr is not None
        while words not in self._log or b"\n" not in self._log[self._log.index(words) :]:
            self._log += await self.process.stderr.receive()
        end = self._log.index(b"\n", self._log.index(words)) + 1
        said, self._log = self._log[:end], self._log[end:]
        return said


@asynccontextmanager
async def child(*arguments: str, directory: Path | None = None, environment: Mapping[str, str] | None = None) -> AsyncIterator[Child]:
    """A Python process that prints its URL; it is killed if it is still there in the end."""
    with TemporaryDirectory() as home, anyio.fail_after(PATIENCE):
        here = directory or Path(home)
        async with await anyio.open_process(
            [sys.executable, "-m", *arguments],
            cwd=here,
            env={**ENVIRONMENT, "PYTHONPATH": str(ROOT), "HOME": str(here), **(environment or {})},
        ) as process:
            try:
                assert process.stdout is not None
                head = b""
                while not head.endswith(b"\n"):
                    head += await process.stdout.receive()
                yield Child(process, here, head.decode())
            finally:
                if process.returncode is None:
                    process.kill()
