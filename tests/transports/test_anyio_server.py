"""The server's command: what it prints, how it refuses to start, and how the core is wired to what may change."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from core.effects import Request, Send, Start
from core.gateway import Gateway
from core.settings import Settings
from core.settings.upstreams import Bases, Model, Provider
from core.traffic import Traffic
from tests.transports.children import ENVIRONMENT, child
from tests.transports.toys import client
from transports import anyio_server, config
from transports.config import Configuration
from transports.listener import Limits
from transports.upstream import Proxies

#: The example of the earlier proxy's documentation.
GO_CONFIG = """{
  "ak": "inbound-canary",
  "upstream_timeout_seconds": 300,
  "log_body_max_chars": 4096,
  "providers": [
    {"base_url": "https://api.example.com/v1", "api_key": "k-canary",
     "models": [{"id": "gpt-4o", "display_name": "GPT-4o"}, {"id": "mini", "remote_id": "gpt-4o-mini"}]}
  ]
}"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to start in, and no settings from the environment of whoever runs the tests; logging stays as it was."""
    for name in os.environ:
        if name not in ENVIRONMENT and not name.startswith(("PYTEST", "COV")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("transports.logs.set_up", lambda level: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---------------------------------------------------------------------------------------------------------- the start


@pytest.mark.anyio
async def test_the_demonstration_answers_without_key_and_network(anyio_backend: str) -> None:
    async with (
        child("transports.anyio_server", "--demo", "--port", "0", "--backend", anyio_backend) as server,
        client(server.port) as caller,
    ):
        assert "demonstration" in server.head
        assert f"curl -s http://127.0.0.1:{server.port}/v1/messages" in server.head
        body = b'{"model":"glm-4.6","max_tokens":9,"messages":[{"role":"user","content":"Hello"}]}'
        answer = await caller.ask("POST", "/v1/messages", body, ("content-type", "application/json"))
        assert answer.status == 200
        assert b'"type":"message"' in answer.body
        await server.has_logged(b"status=200")


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_demonstration_ignores_configured_upstreams(anyio_backend: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(GO_CONFIG)
    (tmp_path / ".env").write_text("UPSTREAM_BASE=http://127.0.0.1:1\n")
    async with (
        child("transports.anyio_server", "--demo", "--port", "0", directory=tmp_path) as server,
        client(server.port) as caller,
    ):
        assert "demonstration" in server.head
        body = b'{"model":"glm-4.6","max_tokens":9,"messages":[{"role":"user","content":"Hello"}]}'
        headers = (("content-type", "application/json"), ("x-api-key", "inbound-canary"))
        assert (await caller.ask("POST", "/v1/messages", body, *headers)).status == 200
        server.process.send_signal(signal.SIGHUP)
        await server.has_logged(b"settings: nothing has changed")
        assert (await caller.ask("POST", "/v1/messages", body, *headers)).status == 200


def test_a_port_in_use_is_exit_code_5_with_cause_and_remedy(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert anyio_server.main(["--port", str(port)]) == 5
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"anthropic-proxy: port {port} on 127.0.0.1 is in use",
        "anthropic-proxy: stop what listens there, or choose another with --port",
    ]


def test_wrong_settings_are_exit_code_3_with_every_problem(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_CONNECTIONS", "many")
    (directory / ".env").write_text("MAX_RETRIES=some\n")
    assert anyio_server.main(["--port", "x"]) == 3
    said = capsys.readouterr().err
    assert [len([line for line in said.splitlines() if name in line]) for name in ("PORT", "MAX_CONNECTIONS", "MAX_RETRIES")] == [1, 1, 1]


def test_an_unknown_server_is_exit_code_3(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert anyio_server.main(["--server", "nowhere"]) == 3
    assert "international, cn" in capsys.readouterr().err


def test_an_open_relay_is_exit_code_4_with_the_remedies(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER_API_KEY", "k-canary")
    assert anyio_server.main(["--host", "0.0.0.0"]) == 4
    said = capsys.readouterr().err
    assert all(remedy in said for remedy in ("PROXY_API_KEY", "127.0.0.1", "ALLOW_OPEN_RELAY=true"))
    assert "k-canary" not in said


@pytest.mark.parametrize("arguments", [["--nonsense"], ["extra"], ["--port"]])
def test_wrong_usage_is_exit_code_2(directory: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        anyio_server.main(arguments)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_what_has_no_effect_yet_is_said_and_stops_nothing(directory: Path) -> None:
    (warning,) = config.load(["--workers", "2"], {"IMAGE_AGE_THRESHOLD": "5"}, directory).warnings
    assert "IMAGE_AGE_THRESHOLD" in warning
    assert "WORKERS" in warning


# ------------------------------------------------------------------------------------------------------ what is printed


PROVIDER = Provider("example", Bases(openai="https://api.example.com/v1"), (Model("a", "a", "a"), Model("b", "b", "b")), api_key="k-canary")


def greeted(*warnings: str, **settings: object) -> list[str]:
    gateway = Gateway(replace(Settings(), **settings))  # type: ignore[arg-type]
    return anyio_server.greeting(gateway, warnings, "http://127.0.0.1:5000")


def test_address_upstreams_and_routing_are_printed() -> None:
    assert greeted() == [
        "anthropic-proxy listens on http://127.0.0.1:5000",
        "  upstream: international/anthropic https://api.z.ai/api/anthropic",
        "  upstream: international/openai https://api.z.ai/api/coding/paas/v4",
        "  routing: auto; GLM server international",
    ]


@pytest.mark.parametrize(
    ("host", "reached"), [("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]"), ("127.0.0.1", "127.0.0.1"), ("10.0.0.0", "10.0.0.0")]
)
def test_a_demonstration_says_how_to_reach_it_from_here(host: str, reached: str) -> None:
    said = anyio_server.greeting(Gateway(Settings(demo=True)), (), f"http://{host}:5000")
    assert said[0] == f"anthropic-proxy listens on http://{host}:5000"
    assert f"curl -s http://{reached}:5000/v1/messages" in said[2]


def test_providers_are_counted_and_keys_are_not_shown() -> None:
    said = greeted("mind the gap", providers=(PROVIDER,), server_api_key="k-canary", text_endpoint_preference="openai", proxy_server="cn")
    assert said[-3:] == ["  routing: openai; GLM server cn", "  providers: 1, with 2 models", "  warning: mind the gap"]
    assert "  upstream: example/openai https://api.example.com/v1" in said
    assert "k-canary" not in "".join(said)


def test_where_there_are_only_providers_that_is_said_with_the_port_it_means() -> None:
    said = greeted(providers=(PROVIDER,), provider_only=True, port=8888)
    only = "  only providers are configured: no GLM server is asked, other models are refused"
    assert said[-2:] == ["  providers: 1, with 2 models", f"{only}; and as PORT is not set, it is 8888"]
    assert [line for line in said if "z.ai" in line] == []
    assert greeted(providers=(PROVIDER,), provider_only=True, port=1, explicit=frozenset({"port"}))[-1] == only


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_earlier_proxys_configuration_starts_unchanged_and_says_where(anyio_backend: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(GO_CONFIG)
    with socket.socket() as knock:
        if knock.connect_ex(("127.0.0.1", 8888)) == 0:
            pytest.skip("something listens on 8888")
    async with child("transports.anyio_server", directory=tmp_path) as server, client(server.port) as caller:
        assert server.port == 8888
        assert "  providers: 1, with 2 models" in server.head.splitlines()
        assert "as PORT is not set, it is 8888" in server.head
        assert "canary" not in server.head
        models = await caller.ask("GET", "/v1/models", b"", ("x-api-key", "inbound-canary"))
        assert b'"id":"gpt-4o"' in models.body
        assert b'"id":"mini"' in models.body


# ----------------------------------------------------------------------------------------------------------- the wiring


def test_the_listener_gets_its_limits_from_the_settings() -> None:
    settings = replace(Settings(), max_header_kb=2, max_request_size_mb=0.5, max_connections=3)
    assert anyio_server.limits_of(settings) == Limits(header_bytes=2048, body_bytes=524_288, connections=3)


def configured(**settings: object) -> Configuration:
    return Configuration(replace(Settings(), **settings), Proxies())  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_what_changes_reaches_listener_and_log(anyio_backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[str] = []
    monkeypatch.setattr("transports.logs.set_up", levels.append)
    adopted: list[tuple[Traffic, int]] = []
    monkeypatch.setattr("core.traffic.Traffic.adopt", lambda self, settings: adopted.append((self, settings.max_retries)))
    configurations = [configured(log_level="DEBUG", max_connections=3, drain_timeout=7.0, max_retries=9)]
    server = anyio_server.server_of(configured(port=0), configurations.pop, 0.0)
    assert (server.host, server.port, server.drain_seconds) == ("127.0.0.1", 0, 600.0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.beside[0])
        server.hang_up()
        with anyio.fail_after(5):
            while not levels:
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert (server.limits.connections, server.drain_seconds, levels) == (3, 7.0, ["DEBUG"])
    assert (adopted[0][0], 9) in adopted  # by the traffic of the start


def test_what_the_process_has_learned_survives_other_settings() -> None:
    first = anyio_server.gateway_of(Settings(), None)
    second = anyio_server.gateway_of(replace(Settings(), max_retries=7, proxy_server="cn"), first)
    assert second.settings.proxy_server == "cn"
    assert second.traffic is first.traffic
    assert (second.counter, second.estimator) == (first.counter, first.estimator)


@pytest.mark.parametrize(
    "change",
    [{"tiktoken_cache_size": 5}, {"enable_accurate_token_counting": False}, {"base_image_tokens": 1}, {"token_calibration": False}],
)
def test_other_ways_to_count_begin_anew(change: dict[str, object]) -> None:
    first = anyio_server.gateway_of(Settings(), None)
    second = anyio_server.gateway_of(replace(Settings(), **change), first)  # type: ignore[arg-type]
    assert second.traffic is first.traffic
    assert second.counter is not first.counter
    assert second.estimator is not first.estimator


def test_an_exchange_keeps_the_gateway_it_began_with() -> None:
    now = Gateway(configured(autotext_model="mine").settings)
    request = Request("GET", "/v1/models", ((b"host", b"localhost"),), b"", "req_1", 0.0)
    flow = anyio_server.service_of(lambda: now).answer(request)
    now = Gateway(configured().settings)
    assert isinstance(next(flow), Start)
    send = flow.send(None)
    assert isinstance(send, Send)
    assert b'"mine-openai"' in send.data


def test_request_ids_are_adopted_as_the_settings_of_the_moment_say() -> None:
    now = Gateway(configured().settings)
    service = anyio_server.service_of(lambda: now)
    headers = ((b"x-request-id", b"mine"),)
    assert service.identify(headers, "fresh") == "mine"
    now = Gateway(configured(enable_request_id_tracking=False).settings)
    assert service.identify(headers, "fresh") == "fresh"
