"""Where settings come from: flags, environment, ``.env``, configuration files. Finds and reads them; the core understands them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from core import routing
from core.settings import Settings
from core.settings.upstreams import INTERNATIONAL, SERVERS
from transports.config.files import Unreadable
from transports.config.kept import Held, emptied, gone, opened
from transports.config.search import Search
from transports.config.writing import write_setting
from transports.upstream import Proxies

__all__ = ["Configuration", "Held", "Unreadable", "emptied", "gone", "load", "opened", "write_setting"]

#: Flag -> the setting it stands for.
_FLAGS: Final = {
    "host": "HOST",
    "port": "PORT",
    "workers": "WORKERS",
    "server": "PROXY_SERVER",
    "config": "CONFIG_PATH",
    "config_dir": "PROXY_CONFIG_DIR",
    "backend": "BACKEND",
    "uvloop": "UVLOOP",
    "log_level": "LOG_LEVEL",
}


@dataclass(frozen=True, slots=True)
class Configuration:
    """What was configured, checked as a whole."""

    settings: Settings
    proxies: Proxies
    demo: bool = False
    warnings: tuple[str, ...] = ()
    watched: tuple[Path, ...] = ()  # the change of one, or its appearance, means to load anew
    origins: Mapping[str, str] = field(default_factory=dict)  # setting in lower case -> who set it; not there: the default
    held: tuple[Held, ...] = ()  # the files that set something
    cleared: frozenset[str] = frozenset()  # settings in lower case that a file sets to nothing

    def with_demo_upstream(self, port: int) -> Configuration:
        """The same with the simulated upstream on ``port`` as the only one."""
        base = f"http://127.0.0.1:{port}/api"
        settings = replace(
            self.settings,
            upstream_base=f"{base}/anthropic",
            openai_upstream_base=f"{base}/paas/v4",
            upstream_dialect=None,
            openai_upstream_dialect=None,
            server_api_key="demo",
            demo=True,
            providers=(),
            provider_only=False,
            servers=SERVERS,
            proxy_server=INTERNATIONAL.name,
            failover_targets=(),
            explicit=self.settings.explicit | {"upstream_base", "openai_upstream_base", "server_api_key"},
        )
        return replace(self, settings=settings)


def load(arguments: Sequence[str], environment: Mapping[str, str], directory: Path) -> Configuration:
    """Read and check everything that is configured. ``directory``: where ``.env`` and ``config.json`` are looked for.

    Raises ``SettingsError`` with every problem. Wrong flags end the process with code 2, as argparse does.
    """
    flags = vars(_parser().parse_args(arguments))
    found = Search(
        {flag: (setting, value) for flag, setting in _FLAGS.items() if (value := flags[flag]) is not None}, environment, directory
    )
    try:
        proxies = Proxies.from_environment({**found.dotenv, **environment})
    except ValueError as error:
        found.problems.append(f"environment: {error}")
        proxies = Proxies()
    reading = Settings.read(found.sources, found.problems, demo=flags["demo"])
    astray = routing.problems(reading.settings, reading.unknown)
    reading.check([f"{reading.place(one.field, one.path)}: {one.text}" for one in astray])
    settings = replace(reading.settings, proxy_config_dir=str(found.home), config_path=found.config_path)
    return Configuration(
        routing.settled(settings),
        proxies,
        flags["demo"],
        (*found.warnings, *reading.warnings),
        tuple(dict.fromkeys(found.watched)),
        reading.origins,
        found.held(reading.said),
        reading.cleared,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="anthropic-proxy", description="Serve Anthropic Messages and OpenAI Chat Completions.")
    parser.add_argument("--host", help="address to listen on (HOST)")
    parser.add_argument("--port", help="port to listen on, 0 for a free one (PORT)")
    parser.add_argument("--workers", help="processes that share the port (WORKERS)")
    parser.add_argument("--server", help="GLM server requests go to (PROXY_SERVER)")
    parser.add_argument("--config", help="configuration file, JSON or YAML (CONFIG_PATH)")
    parser.add_argument("--config-dir", help="home of config.yaml and servers.yaml (PROXY_CONFIG_DIR)")
    parser.add_argument("--backend", help="event loop: asyncio or trio (BACKEND)")
    parser.add_argument("--uvloop", help="use uvloop with asyncio: auto, on or off (UVLOOP)")
    parser.add_argument("--log-level", help="DEBUG, INFO, WARNING or ERROR (LOG_LEVEL)")
    parser.add_argument("--demo", action="store_true", help="serve from an embedded simulated upstream: no key, no network")
    return parser
