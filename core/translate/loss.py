"""What a translation could not carry, named: never silence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from msgspec import Raw

from core.errors import BadRequest
from core.wire.codec import ABSENT, compact

#: Values of a member that ask for nothing: leaving them out loses nothing.
_NOTHING: Final = (b"null", b"[]", b"{}", b'""', b'{"enabled":false}')


@dataclass(frozen=True, slots=True)
class Loss:
    """One thing that was left out: where it stood, its name, and why it has no place on the other wire."""

    path: str  # as the client would write it: messages[2].content[0]
    what: str  # the field, block type or tool: what X-Proxy-Dropped lists
    why: str


class Losses:
    """Collects losses. In strict mode the first one is a 400 instead."""

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self.found: list[Loss] = []

    def drop(self, path: str, what: str, why: str) -> None:
        """Note that ``what`` at ``path`` is left out. Raises ``BadRequest`` in strict mode."""
        if self.strict:
            raise BadRequest(f"{path}: {what} cannot be carried to the upstream: {why}", code="unsupported_parameter", param=path)
        self.found.append(Loss(path, what, why))


def refuse(path: str, why: str) -> BadRequest:
    """The error for what may not be lost in silence: leaving it out would change what the request means."""
    return BadRequest(f"{path}: {why}", code="unsupported_parameter", param=path)


def asks(raw: Raw) -> bool:
    """Whether a raw member was sent and asks for anything: it is neither null, nor empty, nor ``{"enabled": false}``."""
    return raw is not ABSENT and compact(raw) not in _NOTHING
