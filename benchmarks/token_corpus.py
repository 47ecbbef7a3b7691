"""Texts to measure token counts on: what coding agents send, from what is installed here and from a seed.

Every item is a Messages request. The same machine gives the same corpus; another one has other sources, so the numbers move a little.
"""

from __future__ import annotations

import difflib
import json
import random
import sysconfig
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
SEED: Final = 20261120
#: Items per corpus, and the characters of one: from a short tool result to a file.
ITEMS: Final = 40
SHORTEST, LONGEST = 1_500, 16_000
#: Files looked at per kind; the first so many in order of their names.
_FILES: Final = 400

#: Sentences of our own, for languages that no installed file holds in quantity.
SENTENCES: Final[dict[str, list[str]]] = json.loads(Path(__file__).with_name("sentences.json").read_text("utf-8"))

#: Corpus -> endings of the files it is made of.
_SOURCES: Final = {
    "python": (".py",),
    "c headers": (".h", ".c", ".pxd", ".pyx"),
    "web (js, ts, css, html)": (".js", ".ts", ".mjs", ".css", ".html"),
    "english prose": (".rst", ".md", ".txt", "METADATA", "LICENSE"),
}


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a corpus."""

    corpus: str
    body: bytes


def corpora(items: int = ITEMS) -> list[Item]:
    """All items, ``items`` of each corpus; of a kind of file that is not installed there are none."""
    made: list[Item] = []
    for name in (*_SOURCES, "json", "logs, digests, numbers", *SENTENCES):
        texts = _texts(random.Random(f"{SEED} {name}"), name)
        made += [Item(name, _body(text)) for text in islice(texts, items)]
    dice, python = random.Random(SEED), _files(_SOURCES["python"])
    return made + [Item("tool traffic", _traffic(dice, python)) for _ in range(items)]


def own() -> list[Item]:
    """A small corpus of this project's own: one item of each kind, made of its sources, its documentation, and the seed."""
    sources, pages = sorted((ROOT / "core").rglob("*.py")), sorted((ROOT / "docs").glob("*.md"))
    made = [
        Item(name, _body(next(_texts(random.Random(f"{SEED} {name}"), name)))) for name in ("json", "logs, digests, numbers", *SENTENCES)
    ]
    dice = random.Random(SEED)
    made += [Item(name, _body(next(_excerpts(dice, files)))) for name, files in (("python", sources), ("english prose", pages))]
    traffic = _traffic(dice, sources).replace(str(ROOT).encode(), b"/home/user/project")  # the same wherever the checkout is
    return [*made, Item("tool traffic", traffic)]


def _texts(dice: random.Random, corpus: str) -> Iterator[str]:
    if corpus in _SOURCES:
        return _excerpts(dice, _files(_SOURCES[corpus]))
    if corpus in SENTENCES:
        return _sayings(dice, SENTENCES[corpus])
    return _jsons(dice) if corpus == "json" else _logs(dice)


# ---------------------------------------------------------------------------------------------------- from files


def _files(endings: tuple[str, ...]) -> list[Path]:
    """Installed files with these endings, the standard library's before those of packages."""
    found: list[Path] = []
    for place in ("stdlib", "include", "purelib"):
        folder = Path(sysconfig.get_paths()[place])
        found += sorted(path for path in folder.rglob("*") if path.name.endswith(endings) and path.is_file())
    return sorted(set(found))[:: max(1, len(set(found)) // _FILES)]


def _excerpts(dice: random.Random, files: list[Path]) -> Iterator[str]:
    """Whole lines from anywhere in the files."""
    long_enough = [text for path in files if len(text := path.read_text("utf-8", "replace")) >= SHORTEST]
    while long_enough:
        yield _excerpt(dice, dice.choice(long_enough))


def _excerpt(dice: random.Random, text: str) -> str:
    size = dice.randint(SHORTEST, LONGEST)
    begin = dice.randint(0, max(0, len(text) - size))
    begin = text.find("\n", begin) + 1
    return text[begin : begin + size]


# ---------------------------------------------------------------------------------------------------- from the seed


def _sayings(dice: random.Random, sentences: list[str]) -> Iterator[str]:
    """The sentences in another order each time."""
    while True:
        parts: list[str] = []
        while sum(map(len, parts)) < SHORTEST:
            parts.append(dice.choice(sentences))
        yield "\n".join(parts)


def _record(dice: random.Random) -> dict[str, object]:
    return {
        "id": str(uuid.UUID(int=dice.getrandbits(128))),
        "name": dice.choice(("getUserById", "refresh_token", "MAX_RETRIES", "Content-Type", "node_modules")),
        "price": round(dice.random() * 1000, dice.randint(0, 6)),
        "created_at": f"2026-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}T{dice.randint(0, 23):02}:00:00.{dice.randint(0, 999):03}Z",
        "tags": dice.sample(("alpha", "beta", "production", "eu-west-1", "deprecated"), 2),
        "active": dice.random() < 0.5,
        "parent": None,
    }


def _jsons(dice: random.Random) -> Iterator[str]:
    while True:
        records = [_record(dice) for _ in range(dice.randint(8, 60))]
        yield json.dumps(records, indent=dice.choice((None, 2, 4)), separators=dice.choice((None, (",", ":"))))


def _logs(dice: random.Random) -> Iterator[str]:
    while True:
        yield "\n".join(_log_line(dice) for _ in range(dice.randint(15, 80)))


def _log_line(dice: random.Random) -> str:
    day, hour, minute, micro = dice.randint(1, 30), dice.randint(0, 23), dice.randint(0, 59), dice.randint(0, 999_999)
    address = ".".join(str(dice.randint(0, 255)) for _ in range(4))
    level = dice.choice(("INFO", "DEBUG", "ERROR"))
    return (
        f"2026-11-{day:02} {hour:02}:{minute:02}:00.{micro:06} [{dice.randint(1, 99999)}] {level} 0x{dice.getrandbits(64):016x} "
        f"sha256:{dice.getrandbits(256):064x} {address}:{dice.randint(1024, 65535)} took {dice.random() * 1000:.3f}ms"
    )


# ---------------------------------------------------------------------------------------------------- requests


def _body(text: str) -> bytes:
    request = {"model": "glm-4.6", "max_tokens": 1024, "messages": [{"role": "user", "content": text}]}
    return json.dumps(request, ensure_ascii=False).encode("utf-8", "replace")


_TOOLS: Final = [
    {
        "name": name,
        "description": f"{said} Returns text. Paths are absolute. Fails with a message when there is nothing to do.",
        "input_schema": {
            "type": "object",
            "properties": {part: {"type": "string", "description": f"The {part} to use"} for part in parts},
            "required": list(parts[:1]),
            "additionalProperties": False,
        },
    }
    for name, said, parts in (
        ("Read", "Reads a file from the local file system.", ("file_path", "offset", "limit")),
        ("Edit", "Replaces text in a file.", ("file_path", "old_string", "new_string")),
        ("Bash", "Runs a command in a shell.", ("command", "timeout", "description")),
        ("Grep", "Searches files for a regular expression.", ("pattern", "path", "glob")),
    )
]


def _traffic(dice: random.Random, files: list[Path]) -> bytes:
    """An agent at work: reads files, searches, edits, sees the difference."""
    messages: list[dict[str, object]] = [{"role": "user", "content": "Find out why the test fails and repair it."}]
    for turn in range(dice.randint(3, 12)):
        path = dice.choice(files)
        lines = path.read_text("utf-8", "replace").splitlines() or [""]
        begin = dice.randrange(len(lines))
        part = lines[begin : begin + dice.randint(5, 80)]
        name, given, result = dice.choice((_reading, _searching, _editing))(path, part, begin)
        call = {"type": "tool_use", "id": f"toolu_{turn:024}", "name": name, "input": given}
        messages.append({"role": "assistant", "content": [{"type": "text", "text": f"Let me look at {path.name}."}, call]})
        messages.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": result}]})
    request = {"model": "glm-4.6", "max_tokens": 1024, "system": "You are a careful engineer.", "tools": _TOOLS, "messages": messages}
    return json.dumps(request, ensure_ascii=False).encode("utf-8", "replace")


def _reading(path: Path, part: list[str], begin: int) -> tuple[str, dict[str, object], str]:
    numbered = "\n".join(f"{begin + number:6}\t{line}" for number, line in enumerate(part))
    return "Read", {"file_path": str(path), "offset": begin, "limit": len(part)}, numbered


def _searching(path: Path, part: list[str], begin: int) -> tuple[str, dict[str, object], str]:
    found = "\n".join(f"{path}:{begin + number}:{line}" for number, line in enumerate(part) if line.strip())
    return "Grep", {"pattern": r"def \w+\(self", "path": str(path.parent), "glob": "*.py"}, found or "nothing found"


def _editing(path: Path, part: list[str], begin: int) -> tuple[str, dict[str, object], str]:
    changed = [line.replace("self", "this") for line in part]
    difference = "\n".join(difflib.unified_diff(part, changed, f"a/{path.name}", f"b/{path.name}", f"line {begin}", lineterm=""))
    return "Edit", {"file_path": str(path), "old_string": "\n".join(part[:5]), "new_string": "\n".join(changed[:5])}, difference
