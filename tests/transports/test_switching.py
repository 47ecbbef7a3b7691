"""The auto-switch: when it moves, and where to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import anyio
import anyio.lowlevel
import pytest

from core.gateway import Gateway
from core.settings import Settings
from core.settings.upstreams import SERVERS, Bases, Commands, Server
from tests.transports.toys import PATIENCE, until
from transports.config import Configuration
from transports.probing import Probe
from transports.reload import Live
from transports.switching import AutoSwitch, candidates, decide
from transports.upstream import Proxies

pytestmark = pytest.mark.anyio


def up(name: str, seconds: float = 0.1) -> Probe:
    return Probe(name, seconds)


def down(name: str) -> Probe:
    return Probe(name, None, "connection refused")


@pytest.mark.parametrize(
    ("selected", "probes", "move"),
    [
        # never for speed alone
        ("a", [up("a", 9.0), up("b", 0.1)], None),
        ("a", [up("a"), down("b")], None),
        # to the fastest that is reached
        ("a", [down("a"), up("b")], "b"),
        ("a", [down("a"), up("b", 0.3), up("c", 0.2)], "c"),
        ("a", [up("c", 0.2), up("b", 0.3), down("a")], "c"),
        ("a", [down("a"), down("b"), up("c", 9.0)], "c"),
        # nowhere to go
        ("a", [down("a"), down("b")], None),
        ("a", [down("a")], None),
        # nothing known
        ("a", [up("b")], None),
        ("a", [], None),
    ],
)
def test_the_decision(selected: str, probes: list[Probe], move: str | None) -> None:
    assert decide(selected, probes) == move


MINE = Server("mine", Bases(openai="http://127.0.0.1:1/v1"), api_key="k-mine")


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (Settings(), ["international", "cn"]),
        (Settings(proxy_server="cn"), ["cn", "international"]),
        (Settings(forward_client_key=False, server_api_key="k"), ["international", "cn"]),
        # without a key a server would answer every request with 401
        (Settings(forward_client_key=False), ["international"]),
        (Settings(forward_client_key=False, servers={**SERVERS, "mine": MINE}), ["international", "mine"]),
    ],
)
def test_who_could_take_over(settings: Settings, names: list[str]) -> None:
    assert list(candidates(settings)) == names


def test_a_server_is_probed_at_the_addresses_it_has() -> None:
    found = candidates(Settings(servers={**SERVERS, "mine": MINE}))
    assert found["mine"] == ("http://127.0.0.1:1/v1",)
    assert found["cn"] == ("https://open.bigmodel.cn/api/anthropic", "https://open.bigmodel.cn/api/paas/v4")


class Net:
    """What probing finds, and how often it was asked to."""

    def __init__(self, *probes: Probe) -> None:
        self.probes = list(probes)
        self.asked: list[list[str]] = []
        self.before_answer: Callable[[], None] = lambda: None

    async def __call__(self, upstreams: Mapping[str, Sequence[str]]) -> list[Probe]:
        self.asked.append(list(upstreams))
        self.before_answer()
        return self.probes


def live(**settings: object) -> Live:
    every: dict[str, object] = {"cli": Commands(auto_switch_enabled=True), **settings}
    configuration = Configuration(replace(Settings(), **every), Proxies())  # type: ignore[arg-type]
    return Live(configuration, lambda: configuration, lambda new, before: Gateway(new), started=0.0)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


async def test_a_move_is_made_and_logged(said: pytest.LogCaptureFixture) -> None:
    here, net = live(), Net(down("international"), up("cn"))
    await AutoSwitch(here, net).look()
    assert here.settings.proxy_server == "cn"
    assert said.messages == ["selected server: international -> cn (auto-switch: international cannot be reached: connection refused)"]


async def test_it_stays_where_it_went(said: pytest.LogCaptureFixture) -> None:
    here, net = live(), Net(down("international"), up("cn"))
    await AutoSwitch(here, net).look()
    net.probes = [up("cn", 5.0), up("international", 0.1)]
    await AutoSwitch(here, net).look()
    assert here.settings.proxy_server == "cn"
    assert len(said.messages) == 1


async def test_a_server_that_is_reached_keeps_its_place_in_silence(said: pytest.LogCaptureFixture) -> None:
    here, net = live(), Net(up("international"), up("cn"))
    await AutoSwitch(here, net).look()
    assert here.settings.proxy_server == "international"
    assert said.messages == []


async def test_nowhere_to_go_is_said(said: pytest.LogCaptureFixture) -> None:
    here, net = live(), Net(down("international"), down("cn"))
    await AutoSwitch(here, net).look()
    assert here.settings.proxy_server == "international"
    assert said.messages == ["auto-switch: international cannot be reached (connection refused), nor can any other server"]


@pytest.mark.parametrize(
    "settings",
    [
        {"cli": Commands(auto_switch_enabled=False)},
        {"provider_only": True},
        {
            "upstream_base": "http://127.0.0.1:1",
            "openai_upstream_base": "http://127.0.0.1:2",
            "explicit": frozenset({"upstream_base", "openai_upstream_base"}),
        },
    ],
    ids=["off", "providers only", "pinned"],
)
async def test_nothing_is_probed_where_nothing_could_be_done(settings: dict[str, object]) -> None:
    here, net = live(**settings), Net(down("international"), up("cn"))
    await AutoSwitch(here, net).look()
    assert (here.settings.proxy_server, net.asked) == ("international", [])


async def test_a_selection_made_during_the_probes_counts_before_them(said: pytest.LogCaptureFixture) -> None:
    here, net = live(servers={**SERVERS, "mine": MINE}), Net(down("international"), up("cn"))
    net.before_answer = lambda: here.select("mine", "proxy-cli switch")
    await AutoSwitch(here, net).look()
    assert here.settings.proxy_server == "mine"


async def test_it_looks_again_and_again_and_survives_a_bug(said: pytest.LogCaptureFixture) -> None:
    here, net = live(), Net(down("international"), up("cn"))
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await anyio.lowlevel.checkpoint()

    def fail_once() -> None:
        if len(net.asked) == 1:
            raise RuntimeError("a bug")

    net.before_answer = fail_once
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(AutoSwitch(here, net, pause).run)
            await until(lambda: here.settings.proxy_server == "cn")
            tasks.cancel_scope.cancel()
    assert said.messages[0] == "the auto-switch failed"
    assert pauses[:2] == [60.0, 60.0]


async def test_an_interval_of_nothing_is_a_second() -> None:
    here, net = live(cli=Commands(auto_switch_enabled=True, auto_switch_interval=0.0)), Net()
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(AutoSwitch(here, net, pause).run)
        await until(lambda: pauses != [])
        tasks.cancel_scope.cancel()
    assert pauses == [1.0]
