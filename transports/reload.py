"""Settings that change while the server runs: at SIGHUP, when a file changes, and when another GLM server is selected.

New requests get the new gateway, those in flight keep theirs. What is invalid as a whole changes nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final, TypeAlias

import anyio
import anyio.to_thread

from core import routing
from core.gateway import Gateway
from core.settings import Settings, SettingsError
from core.settings.fields import fact_of
from transports import config, selection
from transports.config import Configuration
from transports.logs import NAME

logger = logging.getLogger(NAME)

#: Seconds between two looks at the files: what people take for "at once", and too rare to cost anything.
LOOK_SECONDS: Final = 2.0

#: What is used up when the server starts: its sockets, its event loop, its pools.
FIXED: Final = (
    "host", "port", "workers", "backend", "uvloop", "stats_store", "demo",
    "http_pool_maxsize", "http_keepalive_connections", "http_keepalive_seconds",
)  # fmt: skip

#: Not settings themselves, but what is known of them.
_DERIVED: Final = ("explicit", "demo")
#: Of a value, in a log line.
_SHOWN_CHARS: Final = 200

#: What tells one state of a file from another: time of change (ns), size, inode. None: there is no such file.
Print: TypeAlias = tuple[int, int, int] | None
Stat: TypeAlias = Callable[[Path], os.stat_result]


class Watch:
    """Which files have changed since the last look. One that was never looked at has: who read it before may have missed something."""

    def __init__(self, stat: Stat = os.stat) -> None:
        self._stat = stat
        self._prints: dict[Path, Print] = {}

    def changed(self, paths: Iterable[Path]) -> list[Path]:
        """Those of ``paths`` that changed, appeared or vanished. Others are forgotten."""
        seen, self._prints = self._prints, {path: self._print(path) for path in paths}
        return [path for path, now in self._prints.items() if path not in seen or seen[path] != now]

    def exists(self, path: Path) -> bool:
        return self._print(path) is not None

    def _print(self, path: Path) -> Print:
        try:
            found = self._stat(path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


class Live:
    """The settings in force, and the gateway made of them.

    ``load`` reads the whole configuration anew; ``build`` makes a gateway of settings and of the one before, whose state goes on. Both
    may take their time, except where only another server is selected. ``apply`` is told of other settings that are in force from now on.
    ``started``: seconds since the epoch; what was selected before is no news.
    """

    def __init__(
        self,
        configuration: Configuration,
        load: Callable[[], Configuration],
        build: Callable[[Settings, Gateway | None], Gateway],
        *,
        started: float,
        apply: Callable[[Settings], None] = lambda _: None,
        stat: Stat = os.stat,
    ) -> None:
        self.apply = apply
        self.gateway = build(configuration.settings, None)
        self._configuration = configuration
        self._load = load
        self._build = build
        self._started = started
        self._watch = Watch(stat)
        self._selected: str | None = None  # since the start
        self._asked = anyio.Event()

    @property
    def settings(self) -> Settings:
        return self.gateway.settings

    def ask(self) -> None:
        """Have everything read again now."""
        self._asked.set()

    async def run(self, every: float = LOOK_SECONDS) -> None:
        """Look every ``every`` seconds, and when asked, for ever."""
        while True:
            with anyio.move_on_after(every):
                await self._asked.wait()
            asked, self._asked = self._asked.is_set(), anyio.Event()
            try:
                await self.look(asked=asked)
            except Exception:
                logger.exception("reloading failed")  # a bug, which must not end the server

    async def look(self, *, asked: bool = False) -> None:
        """Take over what has changed since the last look. ``asked``: read everything, whether or not it looks changed."""
        chosen = selection.file_in(self._directory)
        changed = self._watch.changed([*self._configuration.watched, chosen])
        if asked or any(path != chosen for path in changed):
            await self._reload(asked=asked)
        if chosen in changed:
            self._follow(selection.read(chosen))

    def select(self, name: str, why: str) -> None:
        """Serve new requests from another GLM server."""
        server, before = routing.server_named(name, self.settings), routing.selection(self.settings).server
        if server is None:
            logger.warning("selection of %a not followed (%s): there is no such server", name, why)
            return
        self._selected = server.name
        if server.name == before.name:
            return
        self._put(self._build(_selecting(self.settings, server.name), self.gateway))
        logger.info("selected server: %s -> %s (%s)", before.name, server.name, why)
        if (pinned := routing.pins(self.settings)) is not None:
            logger.warning("selecting a server changes nothing, or not all: %s", pinned)

    @property
    def _directory(self) -> Path:
        return Path(self.settings.proxy_config_dir)

    def _follow(self, chosen: selection.Selection | None) -> None:
        if chosen is not None and chosen.at >= self._started:
            self.select(chosen.server, "proxy-cli switch")

    async def _reload(self, *, asked: bool) -> None:
        before = self._configuration
        try:
            configuration = await anyio.to_thread.run_sync(self._read)
            same = _server(configuration) == _server(before)
            while True:
                base = self.gateway
                selected = self._selected if same else None  # the later word counts
                settings = self._in_force(configuration.settings, selected)
                gateway = base if settings == base.settings else await anyio.to_thread.run_sync(self._build, settings, base)
                if base is self.gateway:
                    break  # else another server was selected meanwhile
        except SettingsError as error:
            logger.error("configuration invalid, nothing has changed: problems: %d", len(error.problems))  # noqa: TRY400 - no bug of ours
            for problem in error.problems:
                logger.error("configuration: %s", problem)  # noqa: TRY400
            return
        self._configuration, self._selected = configuration, selected
        self._tell(before, configuration, asked=asked)  # first: the new log level may be a quieter one
        self._put(gateway)

    def _read(self) -> Configuration:
        """Everything anew. Raises ``SettingsError``, also for what a running server must not lose."""
        before, exists = self._configuration, self._watch.exists
        try:
            after = self._load()
        except SettingsError as error:
            raise SettingsError([*config.gone(before.held, exists), *error.problems]) from None
        lost = [*config.gone(before.held, exists), *config.emptied(before.held, after.held, exists)]
        if problems := lost or config.opened(before.settings, after.settings, after.cleared):
            raise SettingsError(problems)
        return after

    def _tell(self, before: Configuration, configuration: Configuration, *, asked: bool) -> None:
        """Log what has changed, at the level that was."""
        found = changes(before.settings, configuration.settings)
        for change in found:
            logger.info("settings: %s%s", change.text, " (needs a restart)" if change.name in FIXED else "")
        if configuration.proxies != before.proxies:
            logger.info("settings: the forward proxy changed (needs a restart)")
        for warning in configuration.warnings:
            if warning not in before.warnings:
                logger.warning("settings: %s", warning)
        if asked and not found:
            logger.info("settings: nothing has changed")

    def _in_force(self, settings: Settings, selected: str | None) -> Settings:
        """What of ``settings`` can be had without a restart. Raises ``UnsafeSettings``: at the address that stays, it may open a relay."""
        settings = replace(settings, **{name: getattr(self.settings, name) for name in FIXED})
        settings.check()
        if selected is not None and routing.server_named(selected, settings) is not None:
            settings = _selecting(settings, selected)
        return settings

    def _put(self, gateway: Gateway) -> None:
        if gateway is not self.gateway:
            self.gateway = gateway
            self.apply(gateway.settings)


def _selecting(settings: Settings, server: str) -> Settings:
    """With ``server`` selected as if PROXY_SERVER said so, which goes before a known server's address in UPSTREAM_BASE."""
    return replace(settings, proxy_server=server, explicit=settings.explicit | {"proxy_server"})


def _server(configuration: Configuration) -> str:
    """The configured GLM server. Raises ``SettingsError`` when there is no such server."""
    return routing.selection(configuration.settings).server.name


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that differs between two configurations."""

    name: str
    text: str  # what it was and is, where that may be shown


def changes(before: Settings, after: Settings) -> list[Change]:
    """What differs, by the settings' names. Secrets are not shown, nor what may hold some."""
    found = []
    for one in fields(Settings):
        old, new = getattr(before, one.name), getattr(after, one.name)
        if old == new or one.name in _DERIVED:
            continue
        name = one.name.upper() if fact_of(one) is not None else one.name  # of files only
        shown = (_shown(old), _shown(new)) if one.repr else (None, None)
        found.append(Change(one.name, f"{name} changed" if None in shown else f"{name}: {shown[0]} -> {shown[1]}"))
    return found


def _shown(value: object) -> str | None:
    """``value`` for a log line; None when it has too many parts, which may hold keys."""
    match value:
        case None | ():
            return "unset"
        case bool() | int() | float():
            return str(value).lower()
        case str():
            return value[:_SHOWN_CHARS]
        case tuple() if all(isinstance(one, str) for one in value):
            return ",".join(value)[:_SHOWN_CHARS]
        case _:
            return None
