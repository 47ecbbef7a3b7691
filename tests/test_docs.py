"""README and docs tell the truth: their Python runs, their commands run, their links lead somewhere.

A block fenced as ``python`` is executed in a fresh namespace, from the top of the checkout. A block fenced as ``bash runnable`` is
executed as a script. Everything else is for reading; Python that cannot stand alone is fenced as ``py``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [page for page in (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))) if page.exists()]

FENCE = re.compile(r"^(?P<fence>```+) *(?P<info>[^\n`]*)\n(?P<code>.*?)^(?P=fence) *$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]\n]*\]\((?P<target>[^)\s]+)[^)\n]*\)")
INLINE_CODE = re.compile(r"`[^`\n]+`")
HEADING = re.compile(r"^#+ +(?P<text>.+?) *#*$", re.MULTILINE)

#: Seconds a command of the documentation may take: enough for a server to start, ask and stop.
COMMAND_TIMEOUT = 60


def blocks() -> list[object]:
    """Every block that runs: its fence's info string, its place, its text."""
    found: list[object] = []
    for page in PAGES:
        text = page.read_text("utf-8")
        for match in FENCE.finditer(text):
            if (info := match["info"].strip()) in RUNNERS:
                line = text.count("\n", 0, match.start("code")) + 1
                place = f"{page.relative_to(ROOT)}:{line}"
                found.append(pytest.param(info, place, match["code"], id=place))
    return found


def run_python(place: str, code: str) -> None:
    _page, _, line = place.rpartition(":")
    # Blank lines in front, so that a traceback names the line of the page.
    exec(compile("\n" * (int(line) - 1) + code, place, "exec"), {"__name__": "__main__"})


def run_script(place: str, script: str) -> None:
    python_first = f'export PATH="{Path(sys.executable).parent}:$PATH"\n'
    command = ["bash", "-euo", "pipefail", "-c", python_first + script]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=COMMAND_TIMEOUT)
    assert done.returncode == 0, f"{place}\n{done.stdout}{done.stderr}"


RUNNERS = {"python": run_python, "bash runnable": run_script}


def links(page: Path) -> set[str]:
    text = INLINE_CODE.sub("", FENCE.sub("", page.read_text("utf-8")))
    return {match["target"] for match in LINK.finditer(text)}


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as GitHub makes them."""
    headings = HEADING.findall(FENCE.sub("", page.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    broken = []
    for link in sorted(links(page)):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue  # the wider net is not ours to check
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (fragment and target.suffix == ".md" and fragment not in anchors(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize(("info", "place", "code"), blocks())
def test_code_in_the_documentation_runs(info: str, place: str, code: str) -> None:
    RUNNERS[info](place, code)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_in_the_documentation_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_dead_link_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `title`, here\n[a](nowhere.md) [b](#a-title-here) [c](page.md#gone) [d](https://example.org) `[e](f)`\n")
    assert broken_links(page) == ["nowhere.md", "page.md#gone"]


def test_failing_code_is_noticed() -> None:
    with pytest.raises(ZeroDivisionError):
        run_python("page.md:3", "1 / 0")
    with pytest.raises(AssertionError, match=r"page\.md:3"):
        run_script("page.md:3", "false\ntrue")
