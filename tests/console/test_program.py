"""The program around the commands: version, help, options, exit codes."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from core.gateway import VERSION
from tests.console.conftest import Cli
from transports.console import program
from transports.console.session import Failure, Session, table

ROOT = Path(__file__).parents[2]


def test_the_version(cli: Cli) -> None:
    done = cli("--version")
    assert (done.code, done.out, done.err) == (0, f"proxy-cli {VERSION} (Python {platform.python_version()})\n", "")


def test_help_names_every_command(cli: Cli) -> None:
    done = cli("--help")
    assert done.code == 0
    assert all(f"  {name} " in done.out for name in ("servers", "switch"))


def test_no_command_is_wrong_usage_and_shows_the_help(cli: Cli) -> None:
    done = cli()
    assert (done.code, done.out) == (2, "")
    assert "Usage: proxy-cli" in done.err


@pytest.mark.parametrize("words", [("nonsense",), ("--nonsense",), ("switch", "a", "b"), ("--config-dir",), ("switch", "--nonsense")])
def test_wrong_usage_is_2(cli: Cli, words: tuple[str, ...]) -> None:
    done = cli(*words)
    assert (done.code, done.out) == (2, "")
    assert "Error:" in done.err


def test_an_invalid_configuration_is_3_with_every_problem_on_its_line(cli: Cli) -> None:
    done = cli("switch", PORT="x", SERVER_API_KEY="k canary")
    assert (done.code, done.out) == (3, "")
    lines = done.err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("proxy-cli: ") for line in lines)
    assert "canary" not in done.err


def adds(monkeypatch: pytest.MonkeyPatch, name: str, command: click.Command) -> None:
    """A further command."""
    monkeypatch.setitem(program._MODULES, name, name)
    monkeypatch.setitem(sys.modules, f"transports.console.{name}", SimpleNamespace(command=command))


@pytest.mark.parametrize(
    ("raised", "code", "err"),
    [
        (Failure("the cause", "the remedy"), 1, "proxy-cli: the cause\nproxy-cli: the remedy\n"),
        (Failure("the cause", code=6), 6, "proxy-cli: the cause\n"),
        (KeyboardInterrupt(), 130, "\n"),
        (click.Abort(), 130, ""),
    ],
)
def test_how_it_ends(cli: Cli, monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int, err: str) -> None:
    @click.command
    def command() -> None:
        raise raised

    adds(monkeypatch, "ends", command)
    done = cli("ends")
    assert (done.code, done.out, done.err) == (code, "", err)


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        ((), ()),
        (("--config", "f.json"), ("--config", "f.json")),
        (("--config-dir", "d", "--config", "f"), ("--config-dir", "d", "--config", "f")),
    ],
)
def test_where_the_configuration_is_goes_on_to_it(monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], flags: tuple[str, ...]) -> None:
    session = Session({})
    adds(monkeypatch, "nothing", click.command(name="nothing")(lambda: None))
    assert program.main([*words, "nothing"], session) == 0
    assert session.flags == flags


@pytest.mark.parametrize(
    ("words", "environment", "color"),
    [((), {}, None), (("--no-color",), {}, False), ((), {"NO_COLOR": "1"}, False), ((), {"NO_COLOR": ""}, None)],
)
def test_colour_is_the_terminals_unless_it_is_unwanted(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], environment: dict[str, str], color: bool | None
) -> None:
    session = Session(environment)
    adds(monkeypatch, "nothing", click.command(name="nothing")(lambda: None))
    program.main([*words, "nothing"], session)
    assert session.color is color


def test_columns_are_as_wide_as_their_widest_cell_and_colour_has_no_width() -> None:
    rows = [("a", click.style("yes", fg="green"), "x"), ("long name", "no", "")]
    assert [click.unstyle(line) for line in table(("N", "STATE", "Z"), rows)] == [
        "N          STATE  Z",
        "a          yes    x",
        "long name  no",
    ]


def test_the_version_is_quick_because_no_command_is_loaded() -> None:
    code = "import sys; from transports.console.program import main; main(['--version']); print(*sys.modules)"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert set(done.stdout.split()) & {"anyio", "httpcore", "h11", "trio", "asyncio", "ruamel.yaml", "tiktoken", "ssl"} == set()
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 1.0  # it takes a fifth of that; the bound only keeps somebody's machine from deciding
