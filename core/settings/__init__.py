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
        reading = cls.read(sources, problems, demo=demo)
        reading.check()
        return reading

    @classmethod
    def read(cls, sources: Sequence[Source], problems: Sequence[str] = (), *, demo: bool = False) -> Reading:
        """The same, with the problems as a part of it: whatever is wrong has its default then."""
        found = gather(sources, problems)
        settings = cls(**found.values, explicit=frozenset(found.places), demo=demo)
        unknown = frozenset(found.unknown)
        conflicts = [f"{found.places.get(name, name.upper())}: {problem}" for name, problem in settings.conflicts(unknown)]
        return Reading(
            settings,
            (*found.warnings, *settings.warnings()),
            found.origins,
            found.places,
            {name: tuple(dict.fromkeys(fields)) for name, fields in found.said.items()},
            frozenset(found.cleared),
            unknown,
            (*found.problems, *conflicts),
            settings.open_relay(unknown),
        )

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
    places: Mapping[str, str]  # field -> the source and the name it has there
    said: Mapping[str, tuple[str, ...]]  # name of a source -> the fields it has a value for, right or wrong
    cleared: frozenset[str]  # fields that a file sets to nothing
    unknown: frozenset[str]  # fields whose real values are not known, as something is wrong with them
    problems: tuple[str, ...]
    unsafe: str | None  # why starting would make an open relay

    def place(self, field: str, path: str = "") -> str:
        """Where a setting stands; ``path``: of an entry in the file that has it."""
        return f"{self.origins[field]}: {path}" if path else self.places.get(field, field.upper())

    def check(self, more: Sequence[str] = ()) -> None:
        """Raises ``SettingsError`` for problems and ``more`` of them, and ``UnsafeSettings`` where nothing else is wrong."""
        unsafe = [] if self.unsafe is None else [self.unsafe]
        if problems := [*self.problems, *more]:
            raise SettingsError(problems + unsafe)
        if unsafe:
            raise UnsafeSettings(unsafe)
