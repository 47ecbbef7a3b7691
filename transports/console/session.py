"""What every command has: where it runs, what was asked of it in general, and how it says something."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import click

NAME: Final = "proxy-cli"
FAILED: Final = 1
INVALID: Final = 3


class Failure(click.ClickException):
    """The command cannot do what it was asked to. ``lines``: the cause, and where there is one, the remedy."""

    def __init__(self, *lines: str, code: int = FAILED) -> None:
        super().__init__("\n".join(lines))
        self.code = code

    def show(self, file: IO[Any] | None = None) -> None:
        for line in self.message.splitlines():
            click.echo(f"{NAME}: {line}", file=file, err=True)


@dataclass(slots=True)
class Session:
    """One run of a command. ``clock`` gives seconds since the epoch."""

    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    directory: Path = field(default_factory=Path.cwd)
    clock: Callable[[], float] = time.time
    flags: tuple[str, ...] = ()  # as the server takes them: --config, --config-dir
    json: bool = False  # print that, where there is something to print
    color: bool | None = None  # None: on a terminal

    def show(self, data: object, *lines: str) -> None:
        """Print ``data`` as JSON if that is wanted, else the lines."""
        text = json.dumps(data, indent=2, ensure_ascii=False) if self.json else "\n".join(lines)
        click.echo(text, color=self.color)

    def note(self, line: str) -> None:
        """Tell the user something that is no result."""
        click.echo(line, err=True, color=self.color)


def _wants_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    context.ensure_object(Session).json |= value


#: For the whole program and, as people put it last as well, for a command that prints a table.
json_option: Final = click.option(
    "--json", is_flag=True, expose_value=False, is_eager=True, callback=_wants_json, help="Print JSON instead of a table."
)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with columns as wide as they need to be; the last one may be as long as it likes. Cells may be styled."""
    every = [titles, *rows]
    widths = [max(len(click.unstyle(row[column])) for row in every) for column in range(len(titles))]
    return [
        "  ".join(cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in every
    ]
