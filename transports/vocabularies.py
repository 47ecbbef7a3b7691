"""Vocabularies that are not packaged: read from files, or fetched where that is allowed.

A proxy without the vocabulary it was told to use still serves: it warns once, and estimates.
"""

from __future__ import annotations

import base64
import hashlib
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from core.settings import Settings
from core.tokens import PACKAGED, Encoder, encoder_of

#: Where tiktoken 0.14 gets its vocabularies, whose cache files are named by the digest of it, and the digest of what it gets there.
_ORIGIN: Final = "https://openaipublic.blob.core.windows.net/encodings"
_DIGESTS: Final = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}
#: Seconds. The largest one has 4 MB; tiktoken 0.14 itself waits for ever.
_DOWNLOAD_TIMEOUT: Final = 30.0

#: Fetches a vocabulary by name into a folder (None: tiktoken's own choice). Raises whatever goes wrong.
Download: TypeAlias = Callable[[str, "str | None"], Encoder]


class VocabularyError(Exception):
    """A vocabulary that cannot be used, and why."""


def download(name: str, folder: str | None) -> Encoder:
    """What tiktoken itself gets for ``name``, checked by its digest and kept in ``folder``."""
    import tiktoken  # noqa: PLC0415 - for those who ask for it

    if folder is not None:
        os.environ["TIKTOKEN_CACHE_DIR"] = folder
    encoding = tiktoken.get_encoding(name)
    return Encoder(name, lambda text: len(encoding.encode_ordinary(text)))


def load(settings: Settings, warn: Callable[[str], None], fetch: Download = download, timeout: float = _DOWNLOAD_TIMEOUT) -> Encoder | None:
    """The vocabulary that the settings name, for ``Gateway``; None where the packaged one or none is wanted.

    None as well, after one ``warn``, for one that cannot be had: then tokens are estimated. Takes a second; a download up to ``timeout``.
    """
    name = settings.token_counting_model
    if not settings.enable_accurate_token_counting:
        return None
    try:
        if settings.tokenizer_json is not None:
            return _of_tokenizer(Path(settings.tokenizer_json))
        if name in PACKAGED:
            return None
        return _named(name, settings, fetch, timeout)
    except VocabularyError as error:
        warn(f"{error}; tokens are {'counted with ' + name if name in PACKAGED else 'estimated'} until the next start")
        return None


def _named(name: str, settings: Settings, fetch: Download, timeout: float) -> Encoder:
    folder = settings.tiktoken_cache_dir
    for path in [] if folder is None else _places(name, Path(folder)):
        if path.is_file():
            return _of_file(name, path)
    if not settings.allow_vocab_download:
        where = "TIKTOKEN_CACHE_DIR is not set" if folder is None else f"there is no {name}.tiktoken in {folder}"
        raise VocabularyError(f"TOKEN_COUNTING_MODEL: {name} is not packaged, {where}, and ALLOW_VOCAB_DOWNLOAD is false")
    return _within(timeout, name, lambda: fetch(name, folder))


def _places(name: str, folder: Path) -> list[Path]:
    """The file under its own name, and under the one tiktoken gives it."""
    return [folder / f"{name}.tiktoken", folder / hashlib.sha1(f"{_ORIGIN}/{name}.tiktoken".encode(), usedforsecurity=False).hexdigest()]


def _of_file(name: str, path: Path) -> Encoder:
    """A ``.tiktoken`` file: one ``base64(token) rank`` per line."""
    try:
        text = path.read_bytes()
        expected = _DIGESTS.get(name)
        if expected is not None and hashlib.sha256(text).hexdigest() != expected:
            raise VocabularyError(f"{path}: is not {name}, whose SHA-256 begins with {expected[:12]}; remove it or get it again")
        pairs = (line.split() for line in text.splitlines())
        return encoder_of(name, {base64.b64decode(token, validate=True): int(rank) for token, rank in pairs})
    except OSError as error:
        raise VocabularyError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise VocabularyError(f"{path}: expected one `base64(token) rank` per line: {error}") from None


def _of_tokenizer(path: Path) -> Encoder:
    """A ``tokenizer.json``, as published beside the weights of open models."""
    try:
        import tokenizers  # noqa: PLC0415 - an optional dependency
    except ImportError:
        raise VocabularyError(
            "TOKENIZER_JSON: needs the package `tokenizers`: pip install '.[tokenizer]' in a checkout of this project"
        ) from None
    try:
        tokenizer = tokenizers.Tokenizer.from_str(path.read_text("utf-8"))
    except OSError as error:
        raise VocabularyError(f"TOKENIZER_JSON: {path}: {error.strerror}") from None
    except Exception as error:  # noqa: BLE001 - the library raises plain Exception for whatever it cannot read
        raise VocabularyError(f"TOKENIZER_JSON: {path}: not a tokenizer.json: {error}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True  # what looks like one in a text is text

    def count(text: str) -> int:
        try:
            return len(tokenizer.encode(text, add_special_tokens=False).ids)
        except (TypeError, UnicodeEncodeError):  # a lone surrogate
            return count(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))

    return Encoder(path.name, count)


def _within(seconds: float, name: str, function: Callable[[], Encoder]) -> Encoder:
    """What ``function`` gives in time, in a thread that is left alone otherwise: tiktoken knows no deadline."""
    done: queue.SimpleQueue[Encoder | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            done.put(function())
        except Exception as error:  # noqa: BLE001 - tiktoken, requests and the file system have many, and none may stop the start
            done.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        found = done.get(timeout=seconds)
    except queue.Empty:
        raise VocabularyError(f"TOKEN_COUNTING_MODEL: {name} could not be fetched in {seconds:g} s") from None
    if isinstance(found, Exception):
        raise VocabularyError(f"TOKEN_COUNTING_MODEL: {name} could not be fetched: {found}") from None
    return found
