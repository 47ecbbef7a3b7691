"""Finds every source of settings and reads it, the one that wins over all others first."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from core.settings import Form, Source
from core.settings.kinds import IN_FILE, IN_VARIABLE, REFERENCES, Lookup, is_comment
from core.settings.showing import shown_value, without_secrets
from core.settings.sources import stranger
from transports.config import dotenv
from transports.config.files import NoObject, Unreadable, decode, read_text
from transports.config.kept import Held

#: Under the home directory.
_CONFIG_DIRECTORY: Final = ".anthropic-proxy"
#: Names of what nobody but the owner should read, in lower case.
_KEYS: Final = frozenset(("ak", "api_key", "proxy_api_key", "server_api_key"))
#: What makes ./config.json one of ours, and what it has to keep while a server runs with it.
_OURS: Final = ("providers",)
#: A file that holds a key is short; what is longer is some other file.
_SECRET_MAX: Final = 64 * 1024  # characters


class Search:
    """What was found. ``flags``: the setting and the value of each; ``directory``: where ``.env`` and ``config.json`` are looked for."""

    def __init__(self, flags: Mapping[str, tuple[str, str]], environment: Mapping[str, str], directory: Path) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.watched: list[Path] = []  # every file that was looked at
        self._environment = environment
        self._directory = directory
        self._files: dict[str, Path] = {}  # those nobody named, by the name of their source
        dotenv = self._read_dotenv(directory / ".env")
        self.dotenv = dotenv.values
        lookup = self._lookup(directory)
        self.sources = [
            *(Source(f"flag --{flag.replace('_', '-')}", Form.VARIABLES, dict([given]), lookup) for flag, given in flags.items()),
            Source("environment", Form.VARIABLES, environment, lookup),
            Source(".env", Form.DOTENV, self.dotenv, lookup, broken=bool(dotenv.problems)),
        ]
        named = dict(flags.values())
        self.config_path = self._add_named(self._first("CONFIG_PATH", named))
        home = self._first("PROXY_CONFIG_DIR", named)
        self.home = self._user_home() / _CONFIG_DIRECTORY if home is None else self._at(home, directory)
        for path, form in ((self.home / "config.yaml", Form.FILE), (self.home / "servers.yaml", Form.SERVERS)):
            if self._add(path, form) is not None:
                self._files[self._name(path)] = path

    def held(self, said: Mapping[str, tuple[str, ...]]) -> tuple[Held, ...]:
        """The files that set something. ``said``: what by the names of sources."""
        default = self._directory / "config.json"
        return tuple(
            Held(path, name, said[name], tuple(need for need in _OURS if path == default and need in said[name]))
            for name, path in self._files.items()
            if name in said
        )

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

    def _read_dotenv(self, path: Path) -> dotenv.Dotenv:
        self.watched.append(path)
        try:
            found = dotenv.parse(read_text(path))
        except FileNotFoundError:
            return dotenv.Dotenv()
        except Unreadable as error:
            found = dotenv.Dotenv(problems=[str(error)])
        else:
            self._check_mode(path, found.values)
        self._files[".env"] = path
        self.problems += [f".env: {problem}" for problem in found.problems]
        self.warnings += [f".env: {warning}" for warning in found.warnings]
        return found

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
        elif values is not None and not any(_says(name, value) for name, value in values.items()):
            self.problems.append(f"{self._name(path)}: found nothing, expected at least one provider or one setting")
        return str(path)

    def _add_default(self, path: Path) -> None:
        """A file of this name may be anybody's. It is ours when it has providers or a setting, or when nobody can say whose it is."""
        try:
            why = stranger(decode(read_text(path), path))
        except (FileNotFoundError, Unreadable) as error:
            why = "it is JSON, and no object" if isinstance(error, NoObject) else None
        if why is not None:
            self.watched.append(path)
            self.warnings.append(f"{self._name(path)}: left alone, as it is not for this proxy: {why}")
        elif self._add(path, Form.FILE) is not None:
            self._files[self._name(path)] = path

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
            self.sources.append(Source(self._name(path), form, {}, broken=True))
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
            if reference.startswith(IN_VARIABLE):
                return self._variable(reference.removeprefix(IN_VARIABLE).strip())
            return self._content(self._at(reference.removeprefix(IN_FILE).strip(), base))

        return lookup

    def _variable(self, name: str) -> str:
        found = (self._environment.get(name, "").strip(), self.dotenv.get(name, "").strip())
        if not any(found):
            raise LookupError(f"the environment has no {shown_value(name)}, which is referred to")
        return found[0] or found[1]

    def _content(self, path: Path) -> str:
        self.watched.append(path)
        try:
            text = read_text(path).strip()
        except FileNotFoundError:
            raise LookupError(f"there is no file {_shown(path)!a}, which is referred to") from None
        except Unreadable as error:
            raise LookupError(f"{_shown(path)}: {error}") from None
        if not text or len(text) > _SECRET_MAX:
            raise LookupError(f"{_shown(path)}: found {len(text)} characters, expected a value")
        return text


def _shown(path: Path) -> str:
    """A path somebody gave in the place of a key, which it may be."""
    return str(Path(*(without_secrets(part) for part in path.parts)))


def _says(name: str, value: object) -> bool:
    """Whether a key of a file stands for anything."""
    return not is_comment(name) and value not in (None, "", [], {})


def _keys(value: object) -> Iterator[str]:
    """Every key that stands in a file itself."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            if str(name).lower() in _KEYS and isinstance(one, str) and one and not one.startswith(REFERENCES):
                yield one
            yield from _keys(one)
    elif isinstance(value, list):
        for one in value:
            yield from _keys(one)
