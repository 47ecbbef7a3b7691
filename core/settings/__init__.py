"""Every setting as one frozen record, built from what stands in flags, environment and files.

Finding and reading those is the transport's business. All problems are reported at once, each with where it is, what was found, and what
is expected; secrets are masked. An empty value means "not set".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from core.settings.addresses import is_loopback
from core.settings.sources import Form, Source, gather
from core.settings.upstreams import INTERNATIONAL
from core.settings.whole import Whole

__all__ = ["ZAI_ANTHROPIC", "ZAI_OPENAI", "Form", "Reading", "Settings", "SettingsError", "Source", "UnsafeSettings", "is_loopback"]

#: Bases of z.ai's international service.
ZAI_ANTHROPIC: Final = INTERNATIONAL.bases.anthropic or ""
ZAI_OPENAI: Final = INTERNATIONAL.bases.openai or ""


class SettingsError(Exception):
    """Settings that cannot be used. ``problems``: one line each, fit to be shown."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class UnsafeSettings(SettingsError):
    """Settings under which anyone could spend the owner's key."""


@dataclass(frozen=True, slots=True)
class Settings(Whole):
    """What the proxy does, decided once. Times are seconds, 0 meaning no limit; sizes are in the unit of their name."""

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, str]) -> Settings:
        """Settings from names in upper case to text, as an environment has them. Raises as ``from_sources`` does."""
        return cls.from_sources([Source("environment", Form.VARIABLES, mapping)]).settings

    @classmethod
    def from_sources(cls, sources: Sequence[Source], problems: Sequence[str] = (), *, demo: bool = False) -> Reading:
        """Settings from everything that sets some, the source that wins over all others first.

        ``problems``: found while the sources were read. Raises ``SettingsError`` with every problem, or ``UnsafeSettings`` when starting
        would make an open relay of the owner's key; in a demonstration there is none.
        """
        found = gather(sources, problems)
        if found.problems:
            raise SettingsError(found.problems)
        settings = cls(**found.values, explicit=frozenset(found.places), demo=demo)
        conflicts = [f"{found.places.get(name, name.upper())}: {problem}" for name, problem in settings.conflicts()]
        if conflicts:
            raise SettingsError(conflicts)
        settings.check()
        return Reading(settings, (*found.warnings, *settings.warnings()), found.origins)

    def check(self) -> None:
        """Raises ``UnsafeSettings`` for an upstream key that anyone on the network could spend."""
        if (problem := self.open_relay()) is not None:
            raise UnsafeSettings([problem])


@dataclass(frozen=True, slots=True)
class Reading:
    """Settings, what is to be said about them, and who set them."""

    settings: Settings
    warnings: tuple[str, ...]
    origins: Mapping[str, str]  # field -> name of the source; not there: the default
