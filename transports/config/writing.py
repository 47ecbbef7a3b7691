"""Changes to ``config.yaml``, with everything else in it left as it is."""

from __future__ import annotations

import io
from pathlib import Path

from core.settings.sources import spellings_in_files
from transports import atomic
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
    whole = remarks + ("" if not remarks or remarks.endswith("\n") else "\n") + written.getvalue()
    atomic.write(path, whole.encode())
