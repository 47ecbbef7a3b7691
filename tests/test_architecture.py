"""The rules of the house, checked over the syntax trees: the core is pure, files stay readable, transports do not lean on each other.

Who may import whom inside the core is import-linter's part (``pyproject.toml``).
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = sorted((ROOT / "core").rglob("*.py"))
TRANSPORTS = sorted((ROOT / "transports").rglob("*.py"))

OWN = {"core", "transports"}

#: What a pure module may import. Everything here computes; nothing looks at a clock, a file, the environment or a socket.
PURE = {
    "__future__",
    "abc", "base64", "binascii", "collections", "collections.abc", "core", "dataclasses", "datetime", "difflib", "enum", "fnmatch", "functools",
    "hashlib", "hmac", "ipaddress", "itertools", "json", "math", "msgspec", "operator", "re", "string", "typing", "urllib.parse",
}  # fmt: skip

#: Further imports of single files, each with its reason.
ALSO = {
    "core/tokens/vocabulary.py": {
        "importlib": "the packaged vocabulary is read through importlib.resources",
        "lzma": "and is compressed",
        "threading": "drivers count in threads: one of them loads the vocabulary, the others wait for it",
        "tiktoken": "the tokeniser",
    },
    "core/bodies.py": {"zlib": "opens compressed request bodies; it computes, nothing more"},
    "core/testing/strategies.py": {"hypothesis": "strategies for third parties"},
}

#: Functions that import when called, each with its reason.
LATE_IMPORTS = {
    "core/tokens/vocabulary.py:encoder_of": "tiktoken takes 22 ms, and who never counts need not pay",
    "transports/config/files.py:_from_yaml": "YAML takes 25 ms, and who has no such file need not pay",
    "transports/config/writing.py:write_setting": "the same",
    "transports/anyio_server.py:_serve": "the simulator costs start-up time that only --demo should pay",
    "transports/background.py:__init__": "trio takes 60 ms, and who runs on asyncio need not pay",
    "transports/vocabularies.py:download": "tiktoken is for those who ask for it",
    "transports/vocabularies.py:_of_tokenizer": "tokenizers is optional",
    "transports/anyio_server.py:_raise_descriptor_limit": "Windows has no module resource",
}

#: Files that may pass the limit, each with its reason.
LONG_FILES: dict[str, str] = {}
MOST_LINES = 500

#: Modules that transports are built of, and what each is; everything else in transports stands alone.
SHARED = {
    "background": "work that nobody waits for",
    "config": "flags, environment and configuration files",
    "drive": "performs a flow's effects",
    "atomic": "files that are written as a whole",
    "http1": "HTTP/1.1 framing towards clients",
    "listener": "serves one connection",
    "logs": "the logger and its format",
    "probing": "whether upstreams can be reached",
    "reload": "settings that change while the server runs",
    "selection": "the file in which a selection is kept",
    "server": "listens, serves connections, drains",
    "stores": "caches and statistics",
    "upstream": "the HTTP client",
    "vocabularies": "token vocabularies from files",
    "world": "what a flow meets in a server process",
}

#: Imports between transports outside that rule, (who, whom) to the reason.
CROSSINGS: dict[tuple[str, str], str] = {
    ("anyio_server", "simulator"): "--demo serves it",
    ("anyio_server", "switching"): "runs it in the background",
    ("simulator", "simulation"): "the simulated upstream and the listener around it",
}

FORBIDDEN_CALLS = {"open", "print", "eval", "exec", "input", "__import__", "breakpoint", "globals", "delattr"}
#: The clocks of datetime.
FORBIDDEN_METHODS = {"now", "utcnow", "today"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every imported module with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            package = node.module or ""
            # `from transports import config` imports a module, `from transports.config import read` imports from one.
            yield from ((f"{package}.{alias.name}" if package in OWN else package, node.lineno) for alias in node.names)


def allowed_import(module: str, path: str) -> bool:
    allowed = PURE | ALSO.get(path, {}).keys()
    return module in allowed or any(module.startswith(package + ".") for package in allowed & {"core", "msgspec", "hypothesis", "tiktoken"})


def impurities(tree: ast.AST, path: str) -> list[str]:
    """What a file of the core holds that it may not."""
    found = [f"line {line}: import of {module}" for module, line in imports(tree) if not allowed_import(module, path)]
    for node in ast.walk(tree):
        match node:
            case ast.AsyncFunctionDef() | ast.Await() | ast.AsyncFor() | ast.AsyncWith():
                found.append(f"line {node.lineno}: async")
            case ast.comprehension(is_async=1):
                found.append("an async comprehension")
            case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
                found.append(f"line {node.lineno}: call of {name}")
            case ast.Call(func=ast.Attribute(attr=attr)) if attr in FORBIDDEN_METHODS:
                found.append(f"line {node.lineno}: {attr}")
            case ast.Global():
                found.append(f"line {node.lineno}: global state")
            case ast.ExceptHandler(type=None):
                found.append(f"line {node.lineno}: bare except")
            case ast.ExceptHandler(type=kind) if kind is not None and {"Exception", "BaseException"} & {
                name.id for name in ast.walk(kind) if isinstance(name, ast.Name)
            }:
                found.append(f"line {node.lineno}: except Exception")
    return found


def late_imports(tree: ast.AST) -> list[str]:
    """Names of the functions that hold an import."""
    return [
        function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        and any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(function))
    ]


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_a_file_of_the_core_is_pure(path: Path) -> None:
    assert impurities(tree_of(path), name_of(path)) == []


@pytest.mark.parametrize(
    "source",
    [
        "async def f(): pass",
        "async def f():\n    return [x async for x in y]",
        "import time",
        "import os.path",
        "from random import random",
        "import logging, re",
        "import threading",
        "import asyncio",
        "from transports import drive",
        "from importlib import resources",
        "import tiktoken",
        "open('x')",
        "print()",
        "x = eval('1')",
        "from datetime import datetime\ndatetime.now()",
        "import datetime\ndatetime.datetime.now()\ndatetime.date.today()",
        "def f():\n    global x",
        "try:\n    f()\nexcept Exception:\n    pass",
        "try:\n    f()\nexcept (ValueError, BaseException):\n    pass",
        "try:\n    f()\nexcept:\n    pass",
    ],
)
def test_the_purity_check_sees_what_it_should(source: str) -> None:
    assert impurities(ast.parse(source), "core/example.py") != []


@pytest.mark.parametrize("path", CORE + TRANSPORTS, ids=name_of)
def test_a_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(tree_of(path)), "no module docstring"


@pytest.mark.parametrize("path", CORE + TRANSPORTS, ids=name_of)
def test_a_file_is_short_enough_to_know(path: Path) -> None:
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= MOST_LINES or name_of(path) in LONG_FILES, f"{lines} lines"


@pytest.mark.parametrize("path", CORE + TRANSPORTS, ids=name_of)
def test_imports_stand_at_the_top(path: Path) -> None:
    late = {f"{name_of(path)}:{function}" for function in late_imports(tree_of(path))}
    assert late <= LATE_IMPORTS.keys()


def test_the_lists_of_exceptions_hold_nothing_outdated() -> None:
    late = {f"{name_of(path)}:{function}" for path in CORE + TRANSPORTS for function in late_imports(tree_of(path))}
    assert LATE_IMPORTS.keys() <= late
    assert {name for name in LONG_FILES if len((ROOT / name).read_text("utf-8").splitlines()) <= MOST_LINES} == set()
    assert CROSSINGS.keys() <= set(crossings())


def crossings() -> Iterator[tuple[str, str]]:
    """(who, whom) for every import from one transport into another that is not shared."""
    for path in TRANSPORTS:
        own = path.relative_to(ROOT / "transports").with_suffix("").parts[0]
        for module, _line in imports(tree_of(path)):
            package, _, rest = module.partition(".")
            other = rest.partition(".")[0]
            if package == "transports" and other and other not in SHARED and other != own and own not in SHARED:
                yield own, other


def test_transports_share_only_what_is_meant_to_be_shared() -> None:
    assert {pair for pair in crossings() if pair not in CROSSINGS} == set()


def test_importing_the_core_loads_no_transport_and_no_tokeniser() -> None:
    modules = [name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in CORE]
    everything = ", ".join(module for module in modules if not module.startswith("core.testing"))  # may need hypothesis
    code = f"import sys, {everything}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "core.tokens" in loaded
    assert (
        loaded & {"h11", "anyio", "httpcore", "asyncio", "trio", "socket", "ssl", "tiktoken", "requests", "transports", "logging"} == set()
    )
