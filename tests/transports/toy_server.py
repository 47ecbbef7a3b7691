"""A process for the tests of signals: the toy relay in front of the upstream that ``argv[1]`` names.

Then follow the drain time, the time the doors stay open after a signal, and the backend."""

from __future__ import annotations

import sys

import anyio

from tests.transports.toys import relay, serving
from transports.listener import Limits
from transports.logs import set_up
from transports.server import Server
from transports.upstream import Upstream


def announce(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    set_up("INFO")
    url, drain, lame_duck, backend = sys.argv[1:]
    server = Server(serving(relay(url)), Upstream(), Limits(), "127.0.0.1", 0, float(drain), announce, float(lame_duck))
    sys.exit(anyio.run(server.run, backend=backend))
