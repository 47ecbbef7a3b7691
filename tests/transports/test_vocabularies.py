"""Vocabularies that are not packaged: from files, from the network where that is allowed, and what happens when there are none."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from core.gateway import Gateway
from core.settings import Settings
from core.tokens import Encoder
from transports.vocabularies import download, load

RANKS = {**{bytes((byte,)): byte for byte in range(256)}, b"ab": 256, b"abc": 257}
FILE = b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in RANKS.items())
BODY = b'{"system":"abcabd"}'


class Desk:
    """Loads under given settings and takes the warnings down."""

    def __init__(self, **settings: Any) -> None:
        self.settings = Settings(**settings)
        self.warnings: list[str] = []
        self.fetched: list[tuple[str, str | None]] = []

    def load(self, fetched: Encoder | Exception | None = None, **more: Any) -> Encoder | None:
        def fetch(name: str, folder: str | None) -> Encoder:
            self.fetched.append((name, folder))
            if isinstance(fetched, Encoder):
                return fetched
            raise fetched or AssertionError("nothing may be fetched")

        return load(self.settings, self.warnings.append, fetch, **more)

    def tokens(self, encoder: Encoder | None) -> int:
        return Gateway(self.settings, encoder).counter.payload(BODY) - 10


@pytest.mark.parametrize(
    "settings", [{}, {"allow_vocab_download": True}, {"enable_accurate_token_counting": False, "tokenizer_json": "nowhere"}], ids=str
)
def test_nothing_is_loaded_where_the_packaged_vocabulary_or_none_is_wanted(settings: dict[str, Any]) -> None:
    desk = Desk(**settings)
    assert (desk.load(), desk.warnings, desk.fetched) == (None, [], [])


def test_a_file_of_the_vocabularys_name_is_read(tmp_path: Path) -> None:
    tmp_path.joinpath("mine.tiktoken").write_bytes(FILE)
    desk = Desk(token_counting_model="mine", tiktoken_cache_dir=str(tmp_path), allow_vocab_download=True)
    encoder = desk.load()
    assert encoder is not None
    assert (encoder.name, desk.tokens(encoder), desk.warnings, desk.fetched) == ("mine", 3, [], [])


def test_a_file_that_tiktoken_has_kept_is_read(tmp_path: Path) -> None:
    address = "https://openaipublic.blob.core.windows.net/encodings/p50k_base.tiktoken"
    tmp_path.joinpath(hashlib.sha1(address.encode()).hexdigest()).write_bytes(FILE)
    encoder = Desk(token_counting_model="p50k_base", tiktoken_cache_dir=str(tmp_path)).load()
    assert encoder is not None
    assert encoder.count("abc") == 1


WRONG: list[tuple[str, bytes, str]] = [
    ("o200k_base", FILE, "is not o200k_base, whose SHA-256 begins with 446a9538cb6c"),
    ("mine", b"no vocabulary", "expected one `base64(token) rank` per line"),
    ("mine", b"IQ== one\n", "expected one `base64(token) rank` per line"),
    ("mine", b"!! 1\n", "expected one `base64(token) rank` per line"),
    ("mine", b"IQ== 0\n", "without 255 of the 256 single bytes"),
    ("mine", b"", "without 256 of the 256 single bytes"),
]


@pytest.mark.parametrize(("name", "content", "problem"), WRONG)
def test_a_file_that_is_no_vocabulary_is_named_once_and_tokens_are_estimated(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    tmp_path.joinpath(f"{name}.tiktoken").write_bytes(content)
    desk = Desk(token_counting_model=name, tiktoken_cache_dir=str(tmp_path))
    assert desk.load() is None
    (warning,) = desk.warnings
    assert str(tmp_path) in warning
    assert problem in warning
    assert warning.endswith("tokens are estimated until the next start")
    assert Gateway(desk.settings).counter.name == "estimate"


@pytest.mark.parametrize("folder", [True, False])
def test_nothing_is_fetched_unless_that_is_allowed(tmp_path: Path, folder: bool) -> None:
    desk = Desk(token_counting_model="o200k_base", tiktoken_cache_dir=str(tmp_path) if folder else None)
    assert desk.load() is None
    (warning,) = desk.warnings
    assert warning.startswith("TOKEN_COUNTING_MODEL: o200k_base is not packaged, ")
    assert (f"there is no o200k_base.tiktoken in {tmp_path}" if folder else "TIKTOKEN_CACHE_DIR is not set") in warning
    assert "ALLOW_VOCAB_DOWNLOAD is false" in warning


def test_a_vocabulary_is_fetched_where_that_is_allowed(tmp_path: Path) -> None:
    desk = Desk(token_counting_model="o200k_base", tiktoken_cache_dir=str(tmp_path), allow_vocab_download=True)
    fetched = Encoder("o200k_base", len)
    assert desk.load(fetched) is fetched
    assert (desk.fetched, desk.warnings) == ([("o200k_base", str(tmp_path))], [])


def test_a_download_that_fails_is_a_warning(tmp_path: Path) -> None:
    desk = Desk(token_counting_model="o200k_base", allow_vocab_download=True)
    assert desk.load(OSError("no route to host")) is None
    assert desk.warnings == [
        "TOKEN_COUNTING_MODEL: o200k_base could not be fetched: no route to host; tokens are estimated until the next start"
    ]


def test_a_download_that_does_not_end_is_left_alone() -> None:
    desk, ended = Desk(token_counting_model="o200k_base", allow_vocab_download=True), threading.Event()

    def fetch(name: str, folder: str | None) -> Encoder:
        ended.wait()
        return Encoder(name, len)

    assert load(desk.settings, desk.warnings.append, fetch, timeout=0.01) is None
    ended.set()
    assert "could not be fetched in 0.01 s" in desk.warnings[0]


def test_the_download_is_tiktokens_own_with_its_cache_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "elsewhere")  # is put back afterwards
    with pytest.raises(ValueError, match="Unknown encoding nothing"):
        download("nothing", str(tmp_path))
    assert os.environ["TIKTOKEN_CACHE_DIR"] == str(tmp_path)


# ---------------------------------------------------------------------------------------------------- tokenizer.json


def tokenizer_json(folder: Path) -> Path:
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "one": 1, "two": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.enable_truncation(2)
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def test_a_tokenizer_json_counts_whole_texts_and_takes_special_tokens_for_text(tmp_path: Path) -> None:
    path = tokenizer_json(tmp_path)
    desk = Desk(tokenizer_json=str(path))
    encoder = desk.load()
    assert encoder is not None
    assert (encoder.name, desk.warnings) == ("tokenizer.json", [])
    assert (encoder.count("one two three four"), encoder.count(""), encoder.count("one \ud800")) == (4, 0, 2)
    assert encoder.count("<|end|>") == 3
    assert Gateway(desk.settings, encoder).counter.name == "tokenizer.json"


@pytest.mark.parametrize(
    ("content", "problem"), [(None, "No such file or directory"), ("{}", "not a tokenizer.json"), ("[", "not a tokenizer.json")]
)
def test_a_tokenizer_json_that_cannot_be_used_leaves_the_packaged_vocabulary(tmp_path: Path, content: str | None, problem: str) -> None:
    pytest.importorskip("tokenizers")
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    desk = Desk(tokenizer_json=str(path))
    assert desk.load() is None
    (warning,) = desk.warnings
    assert warning.startswith(f"TOKENIZER_JSON: {path}: {problem}")
    assert warning.endswith("tokens are counted with cl100k_base until the next start")
    assert Gateway(desk.settings).counter.name == "cl100k_base"
