"""Where settings come from: flags, environment, ``.env``, configuration files. Finds and reads them; the core understands them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from core import routing
from core.settings import Reading, Settings, SettingsError
from core.settings.upstreams import INTERNATIONAL, SERVERS
from transports.config.files import Unreadable
from transports.config.search import Search
from transports.config.writing import write_setting
from transports.upstream import Proxies

__all__ = ["Configuration", "Unreadable", "load", "write_setting"]

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
    found = Search({setting: value for flag, setting in _FLAGS.items() if (value := flags[flag]) is not None}, environment, directory)
    try:
        proxies = Proxies.from_environment({**found.dotenv, **environment})
    except ValueError as error:
        found.problems.append(f"environment: {error}")
        proxies = Proxies()
    reading = Settings.from_sources(found.sources, found.problems, demo=flags["demo"])
    settings = replace(reading.settings, proxy_config_dir=str(found.home), config_path=found.config_path)
    if nowhere := routing.problems(settings):
        raise SettingsError([_placed(problem, reading) for problem in nowhere])
    watched = tuple(dict.fromkeys(found.watched))
    settings = routing.settled(settings)
    return Configuration(settings, proxies, flags["demo"], (*found.warnings, *reading.warnings), watched, reading.origins)


def _placed(problem: str, reading: Reading) -> str:
    """With the source of the setting it names in front."""
    origin = reading.origins.get(problem.partition(":")[0].lower())
    return f"{origin}: {problem}" if origin else problem


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="anthropic-proxy", description="Serve Anthropic Messages and OpenAI Chat Completions.")
    parser.add_argument("--host", help="address to listen on (HOST)")
    parser.add_argument("--port", help="port to listen on, 0 for a free one (PORT)")
    parser.add_argument("--workers", help="processes that share the port (WORKERS)")
    parser.add_argument("--server", help="GLM server requests go to (PROXY_SERVER)")
    parser.add_argument("--config", help="configuration file, JSON or YAML (CONFIG_PATH)")
    parser.add_argument("--config-dir", help="home of config.yaml and servers.yaml (PROXY_CONFIG_DIR)")
    parser.add_argument("--backend", choices=("asyncio", "trio"), help="event loop (BACKEND)")
    parser.add_argument("--uvloop", choices=("auto", "on", "off"), help="use uvloop with asyncio (UVLOOP)")
    parser.add_argument("--log-level", help="DEBUG, INFO, WARNING or ERROR (LOG_LEVEL)")
    parser.add_argument("--demo", action="store_true", help="serve from an embedded simulated upstream: no key, no network")
    return parser
