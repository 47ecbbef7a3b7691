"""Finds every source of settings and reads it, the one that wins over all others first."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from core.settings import Form, Source
from core.settings.kinds import Lookup
from transports.config import dotenv
from transports.config.files import Unreadable, decode, read_text

#: Under the home directory.
_CONFIG_DIRECTORY: Final = ".anthropic-proxy"
#: Names of what nobody but the owner should read, in lower case.
_KEYS: Final = frozenset(("ak", "api_key", "proxy_api_key", "server_api_key"))
#: Values that stand for others, which are no keys themselves.
_REFERENCES: Final = ("env:", "file:")
#: A file that holds a key is short; what is longer is some other file.
_SECRET_MAX: Final = 64 * 1024  # characters


class Search:
    """What was found. ``flags``: by the name of their setting; ``directory``: where ``.env`` and ``config.json`` are looked for."""

    def __init__(self, flags: Mapping[str, str], environment: Mapping[str, str], directory: Path) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.watched: list[Path] = []  # every file that was looked at
        self._environment = environment
        self._directory = directory
        self.dotenv = self._read_dotenv(directory / ".env")
        lookup = self._lookup(directory)
        self.sources = [
            *(Source(f"flag --{name.lower().replace('_', '-')}", Form.VARIABLES, {name: value}, lookup) for name, value in flags.items()),
            Source("environment", Form.VARIABLES, environment, lookup),
            Source(".env", Form.DOTENV, self.dotenv, lookup),
        ]
        self.config_path = self._add_named(self._first("CONFIG_PATH", flags))
        home = self._first("PROXY_CONFIG_DIR", flags)
        self.home = self._user_home() / _CONFIG_DIRECTORY if home is None else self._at(home, directory)
        self._add(self.home / "config.yaml", Form.FILE)
        self._add(self.home / "servers.yaml", Form.SERVERS)

    # ------------------------------------------------------------------------------------------------ places

    def _first(self, name: str, flags: Mapping[str, str]) -> str | None:
        texts = (source.get(name, "").strip() for source in (flags, self._environment, self.dotenv))
        return next((text for text in texts if text), None)

    def _user_home(self) -> Path:
        return Path(self._environment.get("HOME") or self._environment.get("USERPROFILE") or self._directory)

    def _at(self, path: str, base: Path) -> Path:
        """A path as a person writes it, seen from ``base``."""
        return self._user_home() / path[2:] if path == "~" or path.startswith("~/") else base / path

    def _name(self, path: Path) -> str:
        """How messages call a file."""
        return str(path.relative_to(self._directory)) if path.is_relative_to(self._directory) else str(path)

    # ------------------------------------------------------------------------------------------------- files

    def _read_dotenv(self, path: Path) -> dict[str, str]:
        self.watched.append(path)
        try:
            found = dotenv.parse(read_text(path))
        except FileNotFoundError:
            return {}
        except Unreadable as error:
            self.problems.append(f".env: {error}")
            return {}
        self.problems += [f".env: {problem}" for problem in found.problems]
        self.warnings += [f".env: {warning}" for warning in found.warnings]
        self._check_mode(path, found.values)
        return found.values

    def _add_named(self, given: str | None) -> str | None:
        """Adds the file that somebody names, which has to be there and to say something; else ./config.json, if it is one of ours.

        Its path, if one is named.
        """
        if given is None:
            self._add_default(self._directory / "config.json")
            return None
        path = self._at(given, self._directory)
        before = len(self.problems)
        values = self._add(path, Form.FILE)
        if values is None and len(self.problems) == before:
            self.problems.append(f"{self._name(path)}: there is no such file, and CONFIG_PATH or --config names it")
        elif values is not None and all(name.startswith(("_", "$")) for name in values):
            self.problems.append(f"{self._name(path)}: found nothing, expected at least one provider or one setting")
        return str(path)

    def _add_default(self, path: Path) -> None:
        """A file of this name may be anybody's: it is ours when it has providers."""
        self.watched.append(path)
        try:
            text = read_text(path)
        except (FileNotFoundError, Unreadable):
            return
        try:
            ours = isinstance(decode(text, path).get("providers"), list)
        except Unreadable:
            ours = '"providers"' in text
        if ours:
            self._add(path, Form.FILE)

    def _add(self, path: Path, form: Form) -> Mapping[str, object] | None:
        """Reads a file and adds it as a source; None when it is not there, or cannot be used."""
        if path in self.watched and any(source.name == self._name(path) for source in self.sources):
            return None  # config.yaml given as --config is one source, not two
        self.watched.append(path)
        try:
            values = decode(read_text(path), path)
        except FileNotFoundError:
            return None
        except Unreadable as error:
            self.problems.append(f"{self._name(path)}: {error}")
            return None
        self._check_mode(path, values)
        self.sources.append(Source(self._name(path), form, values, self._lookup(path.parent)))
        return values

    def _check_mode(self, path: Path, values: object) -> None:
        mode = stat.S_IMODE(path.stat().st_mode)
        if os.name == "posix" and mode & 0o077 and any(_keys(values)):
            self.warnings.append(
                f"{self._name(path)}: holds a key, and others on this machine may read it (mode {mode:o}): chmod 600 {path}"
            )

    # -------------------------------------------------------------------------------------------- references

    def _lookup(self, base: Path) -> Lookup:
        """Reads ``env:NAME`` and ``file:PATH`` of a source in the folder ``base``."""

        def lookup(reference: str) -> str:
            kind, _, name = reference.partition(":")
            return self._variable(name.strip()) if kind == "env" else self._content(self._at(name.strip(), base))

        return lookup

    def _variable(self, name: str) -> str:
        found = (self._environment.get(name, "").strip(), self.dotenv.get(name, "").strip())
        if not any(found):
            raise LookupError(f"the environment has no {name[:100]!a}, which is referred to")
        return found[0] or found[1]

    def _content(self, path: Path) -> str:
        self.watched.append(path)
        try:
            text = read_text(path).strip()
        except FileNotFoundError:
            raise LookupError(f"there is no file {str(path)!a}, which is referred to") from None
        except Unreadable as error:
            raise LookupError(f"{path}: {error}") from None
        if not text or len(text) > _SECRET_MAX:
            raise LookupError(f"{path}: found {len(text)} characters, expected a value")
        return text


def _keys(value: object) -> Iterator[str]:
    """Every key that stands in a file itself."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            if str(name).lower() in _KEYS and isinstance(one, str) and one and not one.startswith(_REFERENCES):
                yield one
            yield from _keys(one)
    elif isinstance(value, list):
        for one in value:
            yield from _keys(one)
