"""What the whole server costs: CPU time per request, from /proc, against an upstream that costs next to nothing.

    python -m benchmarks.server_speed [--seconds 3] [--json FILE] [--only S,A,T,P128]

Server and upstream run as processes of their own on free loopback ports; the load comes from this one. CPU time of the server is
what can be compared between machines that are busy with other things; requests per second cannot. Linux only.

S      1 KB, plain          A  200 KB agent request, plain
T      the agent request, answered with 300 events at once
P128   128 open streams, one event each 25 ms (P with any number)
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import machine, payloads

WORK = "S,A,T,P128"
#: Client wire and upstream wire of a row.
DIRECTIONS: tuple[tuple[payloads.Wire, payloads.Wire], ...] = (
    ("messages", "chat"),
    ("chat", "messages"),
    ("messages", "messages"),
    ("chat", "chat"),
)
PATHS = {"messages": "/v1/messages", "chat": "/v1/chat/completions"}
SUFFIXES = {"messages": "-anthropic", "chat": "-openai"}
#: Requests in flight while CPU time is measured: enough to keep the server busy, too few to queue.
IN_FLIGHT = 8
#: Seconds a server may take until it accepts connections, and an answer until the run is given up.
PATIENCE = 30


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement."""

    client: str
    upstream: str
    work: str
    requests: int
    cpu_ms: float  # of the server, per request
    per_second: float
    rss_mb: float


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def settings(port: int, upstream_port: int) -> dict[str, str]:
    """One server that speaks both wires; the suffix of a model's name chooses."""
    base = f"http://127.0.0.1:{upstream_port}"
    return {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "UPSTREAM_BASE": base,
        "OPENAI_UPSTREAM_BASE": f"{base}/v1",
        "SERVER_API_KEY": "upstream-key",
        "LOG_LEVEL": "WARNING",
    }


def http_request(port: int, client: payloads.Wire, upstream: payloads.Wire, work: str) -> bytes:
    stream = work[0] in "TP"
    model = ("mock-paced" if work[0] == "P" else "mock") + SUFFIXES[upstream]
    body = payloads.request(client, "small" if work[0] in "SP" else "agent", model, stream=stream)
    head = (
        f"POST {PATHS[client]} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
    """Send a request and read its answer to the end. Raises ``RuntimeError`` for anything but 200."""
    writer.write(request)
    async with asyncio.timeout(PATIENCE):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(f"answered {head.decode()}{(await reader.read(2000)).decode(errors='replace')}")
        if b"transfer-encoding: chunked" not in head:
            await reader.readexactly(int(head.partition(b"content-length:")[2].split()[0]))
            return
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)


async def closed_loop(port: int, request: bytes, seconds: float) -> int:
    """Requests answered by ``IN_FLIGHT`` connections that ask again as soon as they are answered."""
    end = time.monotonic() + seconds

    async def ask_again() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        count = 0
        while time.monotonic() < end:
            await exchange(reader, writer, request)
            count += 1
        writer.close()
        return count

    return sum(await asyncio.gather(*(ask_again() for _ in range(IN_FLIGHT))))


async def at_once(port: int, request: bytes, streams: int) -> int:
    async def ask() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await exchange(reader, writer, request)
        writer.close()

    await asyncio.gather(*(ask() for _ in range(streams)))
    return streams


def measure(pid: int, port: int, client: payloads.Wire, upstream: payloads.Wire, work: str, seconds: float) -> Row:
    request = http_request(port, client, upstream, work)
    asyncio.run(closed_loop(port, http_request(port, client, upstream, "S"), 0.2))  # connections and caches are warm
    before, started = machine.cpu_seconds(pid), time.monotonic()
    load = at_once(port, request, int(work[1:])) if work[0] == "P" else closed_loop(port, request, seconds)
    count = asyncio.run(load)
    used, took = machine.cpu_seconds(pid) - before, time.monotonic() - started
    return Row(client, upstream, work, count, 1000 * used / count, count / took, machine.memory_mb(pid)[0])


def wait_until_open(process: subprocess.Popen[str], port: int) -> float:
    """Seconds until the server accepts connections."""
    started = time.monotonic()
    while time.monotonic() - started < PATIENCE:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return time.monotonic() - started
        time.sleep(0.01)
    raise RuntimeError(f"the server did not listen within {PATIENCE} s")


def run(work: list[str], seconds: float) -> tuple[dict[str, float], list[Row]]:
    """Figures of the server as a whole, and a row for each direction and kind of work."""
    with running([sys.executable, "-m", "benchmarks.mock_upstream"], {}) as mock:
        assert mock.stdout is not None
        port = free_port()
        environment = settings(port, int(mock.stdout.readline()))
        with running([sys.executable, "-m", "transports.anyio_server"], environment) as server:
            start = wait_until_open(server, port)
            idle = machine.memory_mb(server.pid)[0]
            rows = []
            for client, upstream in DIRECTIONS:
                for kind in work:
                    rows.append(measure(server.pid, port, client, upstream, kind, seconds))
                    print(line(rows[-1]), flush=True)
            return {"start_s": start, "idle_mb": idle, "peak_mb": machine.memory_mb(server.pid)[1]}, rows


def line(row: Row) -> str:
    return f"{row.client:>9} {row.upstream:>9} {row.work:>5} {row.requests:9} {row.cpu_ms:12.2f} {row.per_second:11.1f} {row.rss_mb:7.1f}"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server_speed", description="CPU time of the server per request.")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each S, A, T measurement (default: %(default)s)")
    parser.add_argument("--only", default=WORK, help="kinds of work (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the result to this file as well")
    arguments = parser.parse_args(argv)
    print("   client  upstream  work  requests  CPU ms/req.  per second  RSS MB")
    server, rows = run(arguments.only.split(","), arguments.seconds)
    print("start {start_s:.2f} s, memory idle {idle_mb:.1f} MB, peak {peak_mb:.1f} MB".format(**server))
    if arguments.json:
        result = {"machine": machine.description(), "server": server, "rows": [asdict(row) for row in rows]}
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
