"""The published band: no request of a small corpus costs a model more than the proxy's count and the margin for that model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.token_corpus import own
from benchmarks.token_error import ALL, FAMILIES, THREE_DIGITS, Error, bands, between, measure, table
from core.tokens import BAND, BANDS, ESTIMATE_BAND, Counter, band, band_for, estimate_body

ROOT = Path(__file__).parent.parent.parent
#: Bodies with what each reference counts for them, as ``benchmarks/token_error.py`` wrote them down.
ITEMS: list[dict[str, Any]] = json.loads((ROOT / "tests" / "data" / "token_references.json").read_text("utf-8"))
COUNTER = Counter()


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item["corpus"])
def test_no_item_is_under_counted_beyond_the_band_of_its_model(item: dict[str, Any]) -> None:
    counted, estimated = COUNTER.payload(item["body"].encode()), estimate_body(item["body"].encode())
    for reference, actual in item["counts"].items():
        for word in FAMILIES[reference]:
            assert actual <= counted * (1 + band_for(word))
        if reference in THREE_DIGITS:
            assert actual <= counted * (1 + BAND)
        assert actual <= estimated * (1 + ESTIMATE_BAND)


def test_every_reference_and_kind_of_text_is_held_against_it() -> None:
    assert {reference for item in ITEMS for reference in item["counts"]} == set(FAMILIES)
    assert {item["corpus"] for item in ITEMS} >= {"python", "english prose", "json", "logs, digests, numbers", "chinese", "tool traffic"}


def test_a_band_is_no_wider_than_it_has_to_be() -> None:
    for reference, words in FAMILIES.items():
        most = max(item["counts"][reference] / COUNTER.payload(item["body"].encode()) for item in ITEMS) - 1
        assert BANDS[words[0]] <= most + 0.30  # the corpus it was measured on is forty times as large


@pytest.mark.parametrize(
    ("model", "word"),
    [
        ("qwen3-coder", "qwen"),
        ("deepseek-ai/DeepSeek-V3.1", "deepseek"),
        ("claude-sonnet-4-5", "claude"),
        ("mistralai/Mixtral-8x7B", "mistral"),
    ],
)
def test_a_model_is_known_by_its_familys_word(model: str, word: str) -> None:
    assert band_for(model) == BANDS[word]


@pytest.mark.parametrize("model", ["", "glm-4.6", "mine"])
def test_any_other_model_has_the_band_of_those_like_ours(model: str) -> None:
    assert band_for(model) == BAND


# ----------------------------------------------------------------------------------------------------- the measuring


def test_an_error_tells_how_far_off_most_are_and_the_largest_shortfall() -> None:
    error = Error.of([100] * 18 + [150, 80], [100] * 20)
    assert [error.median, error.p95, error.under] == pytest.approx([0.0, 0.2, 0.25])
    assert Error.of([150], [100]) == Error(0.5, 0.5, 0.0)


def test_the_corpus_is_the_same_every_time() -> None:
    assert own() == own()
    assert len({item.corpus for item in own()}) == len(own()) >= 15
    assert all(json.loads(item.body)["messages"] for item in own())


def test_what_is_measured_becomes_constants_and_a_table() -> None:
    items = own()[:3]
    numbers = [1000, 1000, 1000]
    theirs = {"DeepSeek V3": [1101, 1000, 1000], "Qwen": [1000, 1500, 900]}
    counted, estimated = measure(items, numbers, theirs), measure(items, [500, 500, 500], theirs)
    assert counted[ALL, "Qwen"].under == 0.5
    written = bands(counted, estimated)
    assert '"deepseek": 0.11,' in written
    assert '"qwen": 0.50,' in written
    assert "BAND: Final = 0.11 " in written
    assert "ESTIMATE_BAND: Final = 2.00 " in written
    rows = table(counted).splitlines()
    assert rows[0] == "| corpus | DeepSeek V3 | Qwen |"
    assert rows[-1] == "| all | 0 / 9 / 11 | 11 / 33 / 50 |"


def test_what_is_written_stands_between_the_marks_of_the_files_it_is_written_to() -> None:
    source = Path(band.__file__).read_text("utf-8")
    changed = between(source, ("# measured: begin\n", "# measured: end\n"), "BAND = 1\n")
    assert "BANDS" not in changed.partition("def ")[0].partition("# measured: end")[0].partition("# measured: begin")[2]
    assert "BAND = 1\n# measured: end\n" in changed
    with pytest.raises(ValueError, match="substring not found"):
        between("nothing", ("a", "b"), "")


def test_the_documentation_has_the_bands() -> None:
    page = (ROOT / "docs" / "tokens.md").read_text("utf-8")
    measured = page.partition("<!-- measured: begin -->")[2].partition("<!-- measured: end -->")[0]
    cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in measured.splitlines() if line.startswith("| ")]
    names, everything = cells[0], next(row for row in cells if row[0] == "all")
    for reference, words in FAMILIES.items():
        assert everything[names.index(reference)].endswith(f"/ {100 * BANDS[words[0]]:.0f}")
