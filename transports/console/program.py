"""The program ``proxy-cli``: its commands, and its exit codes.

0 done, 1 failed or a condition is false, 2 wrong usage, 3 configuration invalid, 4 refused as unsafe, 5 port in use, 6 timed out,
130 interrupted.
"""

from __future__ import annotations

import importlib
import platform
import sys
from collections.abc import Sequence
from typing import Final

import click

from transports.console.session import NAME, Failure, Session, json_option

_INTERRUPTED: Final = 130
#: The module of each command: what is not run is not loaded, so that --version and completion are quick.
_MODULES: Final = {"servers": "servers", "switch": "switch"}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return None
        command = importlib.import_module(f"transports.console.{_MODULES[cmd_name]}").command
        assert isinstance(command, click.Command)
        return command


def _version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        version = importlib.import_module("core.gateway").VERSION  # only here: the core takes longer than everything else
        click.echo(f"{NAME} {version} (Python {platform.python_version()})")
        context.exit()


@click.group(name=NAME, cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config-dir", metavar="DIR", help="Home of config.yaml and servers.yaml (PROXY_CONFIG_DIR).")
@click.option("--config", metavar="FILE", help="Configuration file, JSON or YAML (CONFIG_PATH).")
@click.option("--no-color", is_flag=True, help="No colour, on a terminal either.")
@json_option
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version and exit.")
@click.pass_context
def program(context: click.Context, config_dir: str | None, config: str | None, no_color: bool) -> None:
    """Look after an anthropic-proxy."""
    session = context.ensure_object(Session)
    given = {"--config-dir": config_dir, "--config": config}
    session.flags = tuple(word for flag, value in given.items() if value is not None for word in (flag, value))
    if no_color or session.environment.get("NO_COLOR"):
        session.color = False


def main(arguments: Sequence[str] | None = None, session: Session | None = None) -> int:
    """Run one command; the exit code. What goes wrong stands on stderr: the cause, and below it the remedy."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = program.main(words, prog_name=NAME, standalone_mode=False, obj=session or Session())
    except Failure as error:
        error.show()
        return error.code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    return code if isinstance(code, int) else 0
