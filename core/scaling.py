"""The token scaler: a client that expects another window than its upstream has is told numbers in units of the window it expects.

Clients decide by the share of *their* window that is used: a chat client that expects 200 000 tokens, at a model of 65 536, would believe
at a full window that two thirds are left. Numbers are scaled once, where they are told, each part by itself; totals are sums of scaled
parts. Only GLM servers are scaled: a provider's numbers are its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

from core.dialects import Protocol

N = TypeVar("N", bound=int | None)


@dataclass(frozen=True, slots=True)
class Scale:
    """A factor as a fraction, so that no number suffers from rounding. Both parts are positive."""

    client: int = 1  # tokens of the window the client expects
    upstream: int = 1  # tokens of the window the upstream's numbers refer to

    @property
    def is_identity(self) -> bool:
        return self.client == self.upstream

    @property
    def factor(self) -> float:
        return self.client / self.upstream

    def of(self, count: N) -> N | int:
        """``count`` in the client's units: exactly the whole part of the product, but at least 1 of something.

        None, zero and negatives stay as they are. Monotone. The sum of scaled parts differs from the scaled sum by less than one per part.
        """
        if count is None or count <= 0 or self.client == self.upstream:
            return count
        return max(1, count * self.client // self.upstream)


UNSCALED: Final = Scale()


@dataclass(frozen=True, slots=True)
class Windows:
    """Tokens: what the clients of each wire expect, and what the vision model really has."""

    anthropic: int
    openai: int
    vision: int


def scale(upstream: Protocol, caller: Protocol, windows: Windows, *, vision: bool) -> Scale:
    """The factor for numbers of a GLM server.

    ``upstream``: the protocol that serves; ``caller``: the wire of the client; ``vision``: the request sent upstream holds pictures.
    A Messages endpoint reports in units of the Messages window, pictures or not; a chat endpoint in real tokens. The text model's window
    is the one chat clients expect, so chat to chat is scaled for pictures alone.
    """
    if upstream is Protocol.ANTHROPIC:
        return UNSCALED if caller is Protocol.ANTHROPIC else Scale(windows.openai, windows.anthropic)
    expected = windows.openai if caller is Protocol.OPENAI else windows.anthropic
    return Scale(expected, windows.vision if vision else windows.openai)
