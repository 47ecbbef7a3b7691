"""A directory for each test, with nothing configured, and ``proxy-cli`` to be run in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from transports.console.program import main
from transports.console.session import Session

#: Seconds since the epoch.
NOW = 1_800_000_000.0


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Done]


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run it with these words, in this environment."""

    def run(*words: str, **environment: str) -> Done:
        session = Session({"HOME": str(tmp_path), **environment}, tmp_path, lambda: NOW)
        code = main(words, session)
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return run
