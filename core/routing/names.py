"""What a client's model string stands for: suffixes and aliases."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from core.dialects import Protocol

_SUFFIXES: Final = {"-openai": Protocol.OPENAI, "-anthropic": Protocol.ANTHROPIC}


def without_suffix(model: str) -> tuple[str, Protocol | None]:
    """A model's name, and the protocol that one suffix at its end asks for."""
    for suffix, protocol in _SUFFIXES.items():
        if model.endswith(suffix):
            return model.removesuffix(suffix), protocol
    return model, None


class Names:
    """The names that stand for something: ``known`` ones for themselves, aliases for one of those or for a GLM model."""

    def __init__(self, known: Collection[str], aliases: Mapping[str, str]) -> None:
        self._known = known
        self._aliases = {name: value for name, value in aliases.items() if not name.endswith("*")}
        stems = [(name[:-1], value) for name, value in aliases.items() if name.endswith("*")]
        self._stems = sorted(stems, key=lambda one: len(one[0]), reverse=True)

    def resolve(self, model: str) -> tuple[str, Protocol | None]:
        """The model that is meant, empty if none is, and the protocol a suffix asks for.

        A known name is taken as it is, whatever its end. An alias is looked up once: what it stands for is no alias again.
        """
        if model in self._known:
            return model, None
        base, suffix = without_suffix(model)
        if not base.strip():
            return "", suffix
        if base in self._known and model not in self._aliases:
            return base, suffix
        meant = self._meant(model, base)
        if meant is None:
            return base, suffix
        if meant in self._known:
            return meant, suffix
        name, own = without_suffix(meant)
        return name.strip() and name, suffix or own

    def _meant(self, full: str, base: str) -> str | None:
        """What an alias stands for: that of the full name, else of the name without its suffix, else the longest that fits."""
        if full in self._aliases:
            return self._aliases[full]
        # A stem that fits the base fits the full name; one that fits the full name only is the longer, and the closer match.
        stem, value = next(((stem, value) for stem, value in self._stems if full.startswith(stem)), ("", None))
        return self._aliases[base] if base in self._aliases and len(stem) <= len(base) else value
