"""Which GLM server was selected while servers run: a small file beside the configuration, which each of them watches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from transports import atomic


@dataclass(frozen=True, slots=True)
class Selection:
    server: str
    at: float  # seconds since the epoch


def file_in(directory: Path) -> Path:
    """The file's place in the configuration directory."""
    return directory / "run" / "selection.json"


def read(path: Path) -> Selection | None:
    """The selection in ``path``; None when there is none, or what is there is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Selection)
    except (OSError, msgspec.DecodeError):
        return None


def write(path: Path, selection: Selection) -> None:
    """Put ``selection`` into ``path`` at once: who reads sees the earlier one or this one. Raises ``OSError``."""
    atomic.write(path, msgspec.json.encode(selection) + b"\n")
