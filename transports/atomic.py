"""Files that are written as a whole: who reads sees the earlier one or the new one, also when the writer dies."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """Put ``data`` where ``path`` is, for this user's eyes only; missing folders are made likewise. Raises ``OSError``."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:  # an interrupt too: no half-written file stays behind
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
