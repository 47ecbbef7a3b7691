"""Where settings come from: command-line flags over the process environment."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from core.settings import SettingsError
from transports.upstream import Proxies

#: Flag -> the setting it stands for.
_FLAGS = {"host": "HOST", "port": "PORT", "backend": "BACKEND", "uvloop": "UVLOOP", "log_level": "LOG_LEVEL"}


@dataclass(frozen=True, slots=True)
class Configuration:
    """What was configured, before it is understood."""

    mapping: Mapping[str, str]  # for ``Settings.from_mapping``
    proxies: Proxies
    demo: bool

    def with_demo_upstream(self, port: int) -> Configuration:
        """The same with the simulated upstream on ``port`` as the only one."""
        base = f"http://127.0.0.1:{port}/api"
        demo = {"UPSTREAM_BASE": f"{base}/anthropic", "OPENAI_UPSTREAM_BASE": f"{base}/paas/v4", "SERVER_API_KEY": "demo", "DEMO": "true"}
        return replace(self, mapping={**self.mapping, **demo})


def read(arguments: Sequence[str], environment: Mapping[str, str]) -> Configuration:
    """Flags win over the environment; an empty value is no value.

    Raises ``SettingsError`` for a malformed proxy address. Wrong flags end the process with code 2, as argparse does.
    """
    parser = argparse.ArgumentParser(prog="anthropic-proxy", description="Serve Anthropic Messages and OpenAI Chat Completions.")
    parser.add_argument("--host", help="address to listen on (HOST)")
    parser.add_argument("--port", help="port to listen on, 0 for a free one (PORT)")
    parser.add_argument("--backend", choices=("asyncio", "trio"), help="event loop (BACKEND)")
    parser.add_argument("--uvloop", choices=("auto", "on", "off"), help="use uvloop with asyncio (UVLOOP)")
    parser.add_argument("--log-level", help="DEBUG, INFO, WARNING or ERROR (LOG_LEVEL)")
    parser.add_argument("--demo", action="store_true", help="serve from an embedded simulated upstream: no key, no network")
    flags = vars(parser.parse_args(arguments))
    mapping = {name: value for name, value in environment.items() if value}
    mapping |= {setting: flags[flag] for flag, setting in _FLAGS.items() if flags[flag] is not None}
    try:
        proxies = Proxies.from_environment(environment)
    except ValueError as error:
        raise SettingsError([f"environment: {error}"]) from None
    return Configuration(mapping, proxies, flags["demo"])
