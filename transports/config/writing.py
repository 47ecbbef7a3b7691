"""Changes to ``config.yaml``, with everything else in it left as it is."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
from pathlib import Path

from core.settings.sources import spellings_in_files
from transports.config.files import decode, read_text


def write_setting(path: Path, name: str, value: object) -> None:
    """Set one key of a YAML file, or make the file; comments and order stay. ``value``: plain data; None takes the key out.

    A setting that stands there under another of its names is set under that one, and one that stands there twice only once.

    At once: who reads sees the earlier file or the new one, and only its owner can. Raises ``OSError``, and ``Unreadable`` for a file
    that is no YAML, which is left alone.
    """
    from ruamel.yaml import YAML  # noqa: PLC0415 - see files.py

    path = path.resolve()  # what a link leads to is changed, not the link
    try:
        text = read_text(path)
        decode(text, path)
    except FileNotFoundError:
        text = ""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096  # long values stay on their line
    content = yaml.load(text)
    remarks = text if content is None else ""  # a file of nothing else; ruamel.yaml 0.19 gives nothing to hang them on
    content = {} if content is None else content
    there = [key for key in spellings_in_files(name) if key in content]
    kept = there[0] if there and value is not None else name
    for key in there:
        if key != kept or value is None:
            del content[key]
    if value is not None:
        content[kept] = value
    written = io.StringIO()
    yaml.dump(content, written)
    _replace(path, remarks + ("" if not remarks or remarks.endswith("\n") else "\n") + written.getvalue())


def _replace(path: Path, text: str) -> None:
    """Put ``text`` where ``path`` is. Raises ``OSError``."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
