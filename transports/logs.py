"""Log lines on stderr: one line per record, whatever the record holds."""

from __future__ import annotations

import logging
import re
import sys
from typing import Final

#: Our logger. Other libraries keep to warnings: at DEBUG httpcore would log request headers, credentials included.
NAME: Final = "anthropic-proxy"

#: Control characters would break lines or drive terminals; the bidirectional ones make a line read as something else.
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class LineFormatter(logging.Formatter):
    """Time, level, message and, escaped onto the same line, the traceback."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return _UNPRINTABLE.sub(_escaped, super().format(record))


def set_up(level: str) -> None:
    """Log at ``level`` (a name of the standard library) from now on; may be called again to change it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger(NAME).setLevel(level.upper())


def _escaped(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]
