"""A server process whose files, signals and selection change while it works. Upstreams are toys that say which they are."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.transports.children import ENVIRONMENT, ROOT, Child, child
from tests.transports.toys import CHUNKED, LAST_CHUNK, PATIENCE, Client, ToyUpstream, Visit, chunk, client, toy_upstream

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="signals")]

#: Seconds after which a change must have been seen; the rest is for a busy machine.
SEEN_WITHIN = 2.0 + 1.5


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@dataclass
class Voice:
    """An upstream that answers with its name; a stream stops in the middle until ``go``."""

    name: str
    go: anyio.Event = field(default_factory=anyio.Event)

    async def __call__(self, visit: Visit) -> None:
        while True:
            body = json.loads(await visit.request())
            if body.get("stream"):
                await visit.send(CHUNKED + self._event({"role": "assistant", "content": "one "}))
                await self.go.wait()
                await visit.send(self._event({"content": "two"}) + self._event({}, "stop") + chunk(b"data: [DONE]\n\n") + LAST_CHUNK)
            else:
                message = {"role": "assistant", "content": f"{self.name} {body['model']}"}
                answer = self._answer("chat.completion", {"index": 0, "message": message, "finish_reason": "stop"})
                await visit.answer(json.dumps(answer).encode(), b"content-type: application/json")

    def _event(self, delta: dict[str, str], finish: str | None = None) -> bytes:
        answer = self._answer("chat.completion.chunk", {"index": 0, "delta": delta, "finish_reason": finish})
        return chunk(f"data: {json.dumps(answer)}\n\n".encode())

    def _answer(self, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
        return {"id": "c", "object": kind, "created": 1, "model": "m", "choices": [choice]}


@dataclass
class Place:
    """A directory with a server in it."""

    directory: Path
    server: Child
    one: ToyUpstream
    two: ToyUpstream
    voice: Voice  # of ``one``

    def write(self, name: str, text: str) -> None:
        """As editors do: a new file in place of the old."""
        unfinished = self.directory / f"{name}.new"
        unfinished.write_text(text)
        unfinished.chmod(0o600)
        unfinished.replace(self.directory / name)

    def provide(self, upstream: ToyUpstream, *models: str) -> None:
        self.write("config.json", providers(upstream, *models))

    def hang_up(self) -> None:
        self.server.process.send_signal(signal.SIGHUP)

    async def hear(self, words: str) -> bytes:
        """Wait for the words in the log, for no longer than a change may take."""
        with anyio.fail_after(SEEN_WITHIN):
            return await self.server.has_logged(words.encode())

    async def say(self, model: str, caller: Client | None = None) -> str:
        """What the upstream answers."""
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hello"}]}).encode()
        if caller is None:
            async with client(self.server.port) as own:
                answer = await own.ask("POST", "/v1/chat/completions", body, ("content-type", "application/json"))
        else:
            answer = await caller.ask("POST", "/v1/chat/completions", body, ("content-type", "application/json"))
        message = json.loads(answer.body)
        return str(message["choices"][0]["message"]["content"] if answer.status == 200 else message["error"]["code"])


def providers(upstream: ToyUpstream, *models: str) -> str:
    mine = {"name": "mine", "base_url": f"{upstream.url}/v1", "api_key": "k-canary", "models": [{"id": name} for name in models]}
    return json.dumps({"providers": [mine]})


@asynccontextmanager
async def place(directory: Path, backend: str, *arguments: str, **environment: str) -> AsyncIterator[Place]:
    """``international`` is upstream one, ``cn`` is upstream two, and the provider is one as well."""
    home = directory / "home"
    home.mkdir()
    voice = Voice("one")
    async with toy_upstream(voice) as one, toy_upstream(Voice("two")) as two:
        (directory / ".env").write_text("SERVER_API_KEY=k-canary\nTEXT_ENDPOINT_PREFERENCE=openai\n")
        (directory / "config.json").write_text(providers(one, "first"))
        (home / "servers.yaml").write_text(
            f"international: {{endpoints: {{openai: '{one.url}/v1'}}}}\ncn: {{endpoints: {{openai: '{two.url}/v1'}}}}\n"
        )
        flags = ("--port", "0", "--config-dir", str(home), "--backend", backend, *arguments)
        async with child("transports.anyio_server", *flags, directory=directory, environment=environment) as server:
            yield Place(directory, server, one, two, voice)


async def test_a_changed_file_is_seen_by_the_next_request_and_no_stream_is_dropped(anyio_backend: str, tmp_path: Path) -> None:
    async with place(tmp_path, anyio_backend) as here, client(here.server.port) as streaming:
        assert await here.say("first") == "one first"
        body = json.dumps({"model": "first", "stream": True, "messages": [{"role": "user", "content": "hello"}]}).encode()
        await streaming.post("POST", "/v1/chat/completions", body, ("content-type", "application/json"))
        received = b""
        while b"one " not in received:
            received += await streaming.stream.receive()
        here.provide(here.two, "first", "second")
        said = await here.hear("providers changed")
        assert b"canary" not in said
        assert await here.say("first") == "two first"
        assert await here.say("second") == "two second"
        here.voice.go.set()
        while not received.endswith(LAST_CHUNK):
            received += await streaming.stream.receive()
        assert b'"two"' in received
        assert b"data: [DONE]" in received


async def test_a_change_of_env_file_and_log_level_counts_at_once(anyio_backend: str, tmp_path: Path) -> None:
    async with place(tmp_path, anyio_backend) as here, client(here.server.port) as kept_alive:
        assert await here.say("glm-4.6", kept_alive) == "one glm-4.6"
        here.write(".env", "SERVER_API_KEY=k-canary\nTEXT_ENDPOINT_PREFERENCE=openai\nAUTOTEXT_MODEL=glm-4.5\nLOG_LEVEL=WARNING\nPORT=1\n")
        assert b"canary" not in await here.hear("settings: AUTOTEXT_MODEL: glm-4.6 -> glm-4.5")
        assert await here.say("", kept_alive) == "one glm-4.5"


async def test_an_invalid_change_changes_nothing_and_is_reported_whole(anyio_backend: str, tmp_path: Path) -> None:
    async with place(tmp_path, anyio_backend) as here:
        here.write("config.json", providers(here.two, "first")[:-5])
        here.hang_up()
        await here.hear("configuration invalid, nothing has changed")
        assert await here.say("first") == "one first"
        here.write("config.json", '{"providers": [{"base_url": "x", "api_key": "k-canary", "modles": []}], "prot": 1}')
        here.hang_up()
        said = await here.hear("prot")
        assert b"canary" not in said
        assert await here.say("first") == "one first"
        here.provide(here.two, "first")
        here.hang_up()
        await here.hear("providers changed")
        assert await here.say("first") == "two first"


async def test_no_state_of_a_file_between_two_others_opens_the_door(anyio_backend: str, tmp_path: Path) -> None:
    async with place(tmp_path, anyio_backend) as here:
        whole = json.dumps({"ak": "inbound", **json.loads(providers(here.one, "first"))})
        here.write("config.json", whole)
        await here.hear("PROXY_API_KEY changed")
        broken = [
            "",
            "{",
            "{}",
            whole[:10],
            whole.replace('"providers"', '"provider"'),
            '{"providers": []}',
            '{"x": 1}',
            "null",
            "[]",
            None,
        ]
        for text in broken:
            if text is None:
                (tmp_path / "config.json").unlink()
            else:
                here.write("config.json", text)
            here.hang_up()
            said = await here.hear("configuration invalid, nothing has changed")
            assert b"canary" not in said
            assert b"settings: " not in said
            assert await here.say("first") == "unauthorized"
        here.write("config.json", whole.replace("inbound", "other"))
        here.hang_up()
        await here.hear("PROXY_API_KEY changed")
        assert await here.say("first") == "unauthorized"
        here.write("config.json", whole.replace('"inbound"', '""'))
        here.hang_up()
        await here.hear("PROXY_API_KEY changed")
        assert await here.say("first") == "one first"


async def test_a_dotenv_that_vanishes_changes_nothing(anyio_backend: str, tmp_path: Path) -> None:
    async with place(tmp_path, anyio_backend) as here:
        whole = "SERVER_API_KEY=k-canary\nTEXT_ENDPOINT_PREFERENCE=openai\nPROXY_API_KEY=inbound\n"
        here.write(".env", whole)
        await here.hear("PROXY_API_KEY changed")
        for text in (None, "", "SERVER_API_KEY=k-canary\n", "# nothing\n"):
            if text is None:
                (tmp_path / ".env").unlink()
            else:
                here.write(".env", text)
            here.hang_up()
            assert b"settings: " not in await here.hear("configuration invalid, nothing has changed")
            assert await here.say("first") == "unauthorized"


async def test_a_signal_reads_everything_again(anyio_backend: str, tmp_path: Path) -> None:
    async with place(tmp_path, anyio_backend) as here:
        here.hang_up()
        await here.hear("settings: nothing has changed")
        here.write(".env", "SERVER_API_KEY=k-canary\nTEXT_ENDPOINT_PREFERENCE=openai\nDRAIN_TIMEOUT=1\nHOST=127.0.0.2\n")
        here.hang_up()
        assert b"HOST: 127.0.0.1 -> 127.0.0.2 (needs a restart)" in await here.hear("DRAIN_TIMEOUT: 600.0 -> 1.0")
        assert await here.say("first") == "one first"
        here.server.process.send_signal(signal.SIGTERM)
        assert await here.server.end() == 0


async def test_a_switch_redirects_the_next_request_whatever_selected_at_the_start(anyio_backend: str, tmp_path: Path) -> None:
    async with place(tmp_path, anyio_backend, "--server", "international", PROXY_SERVER="international") as here:
        assert await here.say("glm-4.6") == "one glm-4.6"
        assert await cli(tmp_path, "switch", "cn") == (0, "selected cn; a running server sends new requests there within 2 s\n")
        await here.hear("selected server: international -> cn (proxy-cli switch)")
        assert await here.say("glm-4.6") == "two glm-4.6"
        assert await here.say("first") == "one first"


async def test_a_selection_of_before_the_start_is_only_what_the_configuration_says(anyio_backend: str, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    assert (await cli(tmp_path, "switch", "cn"))[0] == 0
    (tmp_path / "home" / "config.yaml").rename(tmp_path / "config.yaml")
    (tmp_path / "home" / "run").rename(tmp_path / "run")
    (tmp_path / "home").rmdir()
    async with place(tmp_path, anyio_backend) as here:
        (tmp_path / "run").rename(tmp_path / "home" / "run")
        here.hang_up()
        await here.hear("settings: nothing has changed")
        assert await here.say("glm-4.6") == "one glm-4.6"


async def cli(directory: Path, *words: str) -> tuple[int, str]:
    """``proxy-cli`` in a process of its own: exit code and output."""
    environment = {**ENVIRONMENT, "PYTHONPATH": str(ROOT), "HOME": str(directory)}
    command = [sys.executable, "-m", "transports.console", "--config-dir", str(directory / "home"), *words]
    with anyio.fail_after(PATIENCE):
        done = await anyio.run_process(command, check=False, cwd=directory, env=environment, stderr=None)
    return done.returncode, done.stdout.decode()
