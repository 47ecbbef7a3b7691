"""What a contributor and the CI run. ``nox`` alone: lint, types, tests, e2e; ``nox -l`` lists the rest."""

from __future__ import annotations

import os
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.sessions = ["lint", "types", "tests", "e2e"]
# virtualenv comes with nox and, unlike venv, works where Debian has left ensurepip out.
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True

PROJECT = nox.project.load_toml("pyproject.toml")
TEST = nox.project.dependency_groups(PROJECT, "test")


def pinned(*names: str) -> list[str]:
    """The requirements of the group ``dev`` for these tools."""
    wanted = [line for line in nox.project.dependency_groups(PROJECT, "dev") if line.partition("~")[0].partition(">")[0] in names]
    assert len(wanted) == len(names), f"{names} are not all in the dependency group dev"
    return wanted


def install(session: nox.Session, *requirements: str, project: str = ".") -> None:
    session.install("-e", project, *requirements)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, common mistakes, formatting, and who imports whom."""
    install(session, *pinned("ruff", "import-linter"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """mypy --strict over everything but this file."""
    install(session, *TEST, *pinned("mypy"))
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Everything fast. Arguments go to pytest."""
    install(session, *TEST, project=".[uvloop]")
    session.run("pytest", "--ignore=tests/peers", "--ignore=tests/e2e", *session.posargs)


@nox.session
def e2e(session: nox.Session) -> None:
    """The whole server over the simulated upstream, on both event loops."""
    install(session, *TEST, project=".[uvloop]")
    session.run("pytest", "tests/e2e", *session.posargs)


@nox.session
def properties(session: nox.Session) -> None:
    """The properties with 10 000 examples each, or as HYPOTHESIS_PROFILE says."""
    install(session, *TEST)
    profile = os.environ.get("HYPOTHESIS_PROFILE", "nightly")
    session.run("pytest", "tests/properties", *session.posargs, env={"HYPOTHESIS_PROFILE": profile})


@nox.session
def coverage(session: nox.Session) -> None:
    """Every line and branch of the core is run by its own tests and the properties."""
    install(session, *TEST)
    session.run("coverage", "run", "-m", "pytest", "tests/core", "tests/properties", env={"HYPOTHESIS_PROFILE": "ci"})
    session.run("coverage", "report")


@nox.session
def peers(session: nox.Session) -> None:
    """The official SDKs against a loopback server."""
    install(session, *TEST, project=".[uvloop]")
    session.run("pytest", "tests/peers", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Code and commands of README and docs run, and their links lead somewhere."""
    install(session, *TEST)
    session.run("pytest", "tests/test_docs.py", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Wheel and sdist; the wheel works in an environment of its own, away from the checkout."""
    session.install(*pinned("hatch"))
    out = Path(session.create_tmp()).resolve()
    for old in out.glob("*.whl"):
        old.unlink()
    session.run("hatch", "build", str(out))
    (wheel,) = out.glob("*.whl")
    home = out / "elsewhere"
    session.run("python", "-m", "virtualenv", "--quiet", "--clear", str(home))
    scripts = home / ("Scripts" if os.name == "nt" else "bin")
    python = str(scripts / "python")
    session.chdir(home)
    session.run(python, "-m", "pip", "install", "--quiet", str(wheel), external=True)
    session.run(python, "-c", "import core", external=True)
    session.run(python, "-c", "from core.tokens import Counter; assert Counter().text('hello world') == 2", external=True)
    session.run(python, "-m", "transports.anyio_server", "--help", external=True)
    session.run(str(scripts / "anthropic-proxy"), "--help", external=True)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Speed of the core and of the whole server."""
    install(session, project=".[uvloop]")
    session.run("python", "-m", "benchmarks.core_speed", *session.posargs)
    session.run("python", "-m", "benchmarks.server_speed", *session.posargs)


@nox.session
def serve(session: nox.Session) -> None:
    """The demo server, without key or network. Arguments go to it."""
    install(session, project=".[uvloop]")
    session.run("python", "-m", "transports.anyio_server", "--demo", *session.posargs)
