"""What is known of a setting beside its name and type, and of a whole configuration's problems."""

from __future__ import annotations

from dataclasses import Field, dataclass, field
from typing import Any, Final

from core.settings.kinds import Kind

#: Parts of the product that are not there yet. Their settings are read and checked, and have no effect.
CONTEXT: Final = "context editing"
LOGS: Final = "log files and bodies"
STATISTICS: Final = "statistics"
METRICS: Final = "metrics"
DASHBOARD: Final = "the dashboard"
WORKERS: Final = "several processes"
COMMANDS: Final = "proxy-cli"


@dataclass(frozen=True, slots=True)
class Fact:
    """One setting."""

    group: str
    kind: Kind
    meaning: str
    aliases: tuple[str, ...] = ()  # upper case: everywhere; lower case: keys of files
    secret: bool = False
    unit: str = ""
    why: str = ""  # the default's reason, or what it stands for
    feature: str = ""  # the part that will use it, where that is not there yet
    file: bool = True  # may stand in a configuration file


def setting(  # noqa: PLR0913 - a setting has many sides
    group: str,
    kind: Kind,
    default: object,
    meaning: str,
    *aliases: str,
    secret: bool = False,
    unit: str = "",
    why: str = "",
    feature: str = "",
    file: bool = True,
) -> Any:
    """A field of the settings."""
    fact = Fact(group, kind, meaning, aliases, secret, unit, why, feature, file)
    if isinstance(default, dict):
        return field(default_factory=default.copy, repr=not secret, metadata={"fact": fact})
    return field(default=default, repr=not secret, metadata={"fact": fact})


def fact_of(one: Field[Any]) -> Fact | None:
    """None for the fields that no setting stands for."""
    fact: Fact | None = one.metadata.get("fact")
    return fact
