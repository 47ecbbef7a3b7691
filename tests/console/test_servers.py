"""``proxy-cli servers``, over real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.conftest import Cli
from transports.simulator import Simulator, running


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with running() as one:
        yield one


@pytest.fixture
def closed() -> Iterator[str]:
    """A base at which nothing listens."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{nobody.getsockname()[1]}"


def configure(tmp_path: Path, simulator: Simulator | None, closed: str) -> None:
    """``international`` out of reach; ``cn`` and the provider where the simulator is, if there is one."""
    there = closed if simulator is None else simulator.url
    home = tmp_path / ".anthropic-proxy"
    home.mkdir()
    (home / "servers.yaml").write_text(
        f"international: {{endpoints: {{anthropic: '{closed}/a', openai: '{closed}/o'}}, region: far}}\n"
        f"cn: {{endpoints: {{anthropic: '{there}/a', openai: '{there}/o'}}, region: near, api_key: k-canary}}\n"
    )
    (home / "config.yaml").write_text(f"providers:\n- {{name: mine, base_url: '{there}/v1', api_key: k-canary, models: [{{id: m}}]}}\n")
    for name in ("servers.yaml", "config.yaml"):
        (home / name).chmod(0o600)


def test_every_target_is_probed_and_the_fastest_server_recommended(cli: Cli, tmp_path: Path, simulator: Simulator, closed: str) -> None:
    configure(tmp_path, simulator, closed)
    done = cli("servers", AUTOTEXT_MODEL="glm-4.6")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].split() == ["NAME", "KIND", "STATE", "LATENCY", "REGION", "KEY"]
    assert lines[1].startswith("*  international  server    unreachable: connection refused  -")
    assert lines[1].endswith("far     no")
    assert lines[2].split()[:3] == ["cn", "server", "reachable"]
    assert lines[2].split()[4:] == ["ms", "near", "yes"]
    assert lines[3].split()[:3] == ["mine", "provider", "reachable"]
    assert lines[4] == "recommended: cn, the fastest server (proxy-cli switch cn)"
    assert "canary" not in done.out
    assert {request.method for request in simulator.requests} == {"GET"}
    assert [request for request in simulator.requests if "authorization" in request.headers or "x-api-key" in request.headers] == []


@pytest.mark.parametrize("words", [("--json", "servers"), ("servers", "--json")])
def test_the_same_as_json(cli: Cli, tmp_path: Path, simulator: Simulator, closed: str, words: tuple[str, ...]) -> None:
    configure(tmp_path, simulator, closed)
    done = cli(*words, AUTOTEXT_MODEL="glm-4.6")
    assert done.json["recommended"] == "cn"
    first, second, third = done.json["targets"]
    assert first == {
        "name": "international",
        "kind": "server",
        "selected": True,
        "reachable": False,
        "problem": "connection refused",
        "latency_ms": None,
        "region": "far",
        "key": False,
    }
    assert (second["reachable"], second["problem"], second["key"]) == (True, None, True)
    assert 0 < second["latency_ms"] < 10_000
    assert (third["name"], third["kind"], third["region"]) == ("mine", "provider", None)


def test_where_there_are_only_providers_no_server_is_probed(cli: Cli, tmp_path: Path, simulator: Simulator) -> None:
    (tmp_path / "config.json").write_text(
        f'{{"providers": [{{"name": "mine", "base_url": "{simulator.url}/v1", "api_key": "k", "models": [{{"id": "m"}}]}}]}}'
    )
    done = cli("servers", "--json")
    assert [target["name"] for target in done.json["targets"]] == ["mine"]
    assert done.json["recommended"] is None


def test_pinned_addresses_are_those_that_are_probed(cli: Cli, simulator: Simulator, closed: str) -> None:
    done = cli("servers", "--json", UPSTREAM_BASE=simulator.url + "/a", OPENAI_UPSTREAM_BASE=simulator.url + "/o", HTTPS_PROXY=closed)
    assert [(one["name"], one["reachable"]) for one in done.json["targets"]] == [("international", True), ("cn", False)]


def test_nothing_within_reach_is_1(cli: Cli, tmp_path: Path, closed: str) -> None:
    configure(tmp_path, None, closed)
    done = cli("servers", AUTOTEXT_MODEL="glm-4.6")
    assert done.code == 1
    assert "recommended" not in done.out
