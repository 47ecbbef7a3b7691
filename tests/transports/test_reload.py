"""Settings that change while the server runs. Files have no times of their own here: a test says when one has changed."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import anyio.from_thread
import pytest

from core import routing
from core.gateway import Gateway
from core.settings import Settings, SettingsError
from core.settings.upstreams import SERVERS, Bases, Model, Provider, Server
from tests.transports.toys import PATIENCE, until
from transports import selection
from transports.config import Configuration, Held
from transports.reload import Live, Watch, changes
from transports.selection import Selection
from transports.upstream import Proxies, Proxy

pytestmark = pytest.mark.anyio

STARTED = 1000.0
FILE = Path("config.yaml")
OTHER = Path("servers.yaml")


class Disk:
    """What ``os.stat`` says of files that are not there."""

    def __init__(self, *paths: Path) -> None:
        self._files: dict[Path, tuple[int, int, int]] = {}
        for path in paths:
            self.put(path)

    def put(self, path: Path, *, mtime: int = 0, size: int = 0, inode: int = 0) -> None:
        """Change one property (by so much), or the time of change if none is named."""
        was = self._files.get(path, (0, 0, 0))
        change = (mtime, size, inode) if mtime or size or inode else (1, 0, 0)
        self._files[path] = (was[0] + change[0], was[1] + change[1], was[2] + change[2])

    def remove(self, path: Path) -> None:
        del self._files[path]

    def stat(self, path: Path) -> os.stat_result:
        if path not in self._files:
            raise FileNotFoundError(path)
        mtime, size, inode = self._files[path]
        return os.stat_result((0o600, inode, 0, 1, 0, 0, size, 0, 0, 0), {"st_mtime_ns": mtime})


# -------------------------------------------------------------------------------------------------------------- watch


def test_a_file_counts_as_changed_when_it_is_looked_at_for_the_first_time() -> None:
    watch = Watch(Disk(FILE).stat)
    assert watch.changed([FILE, OTHER]) == [FILE, OTHER]
    assert watch.changed([FILE, OTHER]) == []


@pytest.mark.parametrize("what", ["mtime", "size", "inode"])
def test_time_size_and_inode_each_tell_a_change(what: str) -> None:
    disk = Disk(FILE, OTHER)
    watch = Watch(disk.stat)
    watch.changed([FILE, OTHER])
    disk.put(FILE, **{what: 1})
    assert watch.changed([FILE, OTHER]) == [FILE]
    assert watch.changed([FILE, OTHER]) == []


def test_a_file_that_appears_or_vanishes_has_changed() -> None:
    disk = Disk()
    watch = Watch(disk.stat)
    watch.changed([FILE])
    disk.put(FILE)
    assert watch.changed([FILE]) == [FILE]
    disk.remove(FILE)
    assert watch.changed([FILE]) == [FILE]
    assert watch.changed([FILE]) == []


def test_a_file_that_is_watched_again_has_changed() -> None:
    watch = Watch(Disk(FILE).stat)
    watch.changed([FILE])
    watch.changed([])
    assert watch.changed([FILE]) == [FILE]


# ------------------------------------------------------------------------------------------------------- differences


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({}, {}, []),
        ({}, {"port": 5001}, ["PORT: 5000 -> 5001"]),
        ({}, {"log_level": "DEBUG", "drain_timeout": 1.5}, ["DRAIN_TIMEOUT: 600.0 -> 1.5", "LOG_LEVEL: INFO -> DEBUG"]),
        ({}, {"proxy_headers": False}, ["PROXY_HEADERS: true -> false"]),
        ({"upstream_base": "http://a"}, {"upstream_base": None}, ["UPSTREAM_BASE: http://a -> unset"]),
        ({}, {"allowed_hosts": ("a", "b")}, ["ALLOWED_HOSTS: unset -> a,b"]),
        ({"server_api_key": "k-canary"}, {"server_api_key": "k-other"}, ["SERVER_API_KEY changed"]),
        ({}, {"stats_store": "redis://:k-canary@host"}, ["STATS_STORE changed"]),
        ({}, {"model_map_json": {"a": "b"}}, ["MODEL_MAP_JSON changed"]),
        ({}, {"explicit": frozenset({"port"})}, []),
        (
            {},
            {"providers": (Provider("p", Bases(openai="http://p"), (Model("m", "m", "m"),), api_key="k-canary"),)},
            ["providers changed"],
        ),
        ({}, {"servers": {"cn": SERVERS["cn"]}}, ["servers changed"]),
        ({}, {"autotext_model": "x" * 300}, [f"AUTOTEXT_MODEL: glm-4.6 -> {'x' * 200}"]),
    ],
)
def test_what_differs_is_named_and_no_secret_is_shown(before: dict[str, object], after: dict[str, object], words: list[str]) -> None:
    found = changes(replace(Settings(), **before), replace(Settings(), **after))  # type: ignore[arg-type]
    assert [change.text for change in found] == words
    assert "k-canary" not in repr(found)


# --------------------------------------------------------------------------------------------------------------- live


@dataclass
class House:
    """A server as far as its settings go. ``next``: what reading the configuration will give."""

    home: Path
    log: pytest.LogCaptureFixture
    disk: Disk = field(default_factory=lambda: Disk(FILE))
    next: Configuration | Exception = field(default_factory=lambda: Configuration(Settings(), Proxies()))
    loads: int = 0
    built: list[tuple[Settings, Gateway | None]] = field(default_factory=list)
    applied: list[Settings] = field(default_factory=list)

    def configured(self, **settings: object) -> Configuration:
        every = {"proxy_config_dir": str(self.home), **settings}
        return Configuration(replace(Settings(), **every), Proxies(), watched=(FILE,))  # type: ignore[arg-type]

    def load(self) -> Configuration:
        self.loads += 1
        if isinstance(self.next, Exception):
            raise self.next
        return self.next

    def build(self, settings: Settings, before: Gateway | None) -> Gateway:
        self.built.append((settings, before))
        return Gateway(settings)

    def live(self, **settings: object) -> Live:
        self.next = self.configured(**settings)
        return Live(self.next, self.load, self.build, started=STARTED, apply=self.applied.append, stat=self.disk.stat)

    async def change(self, live: Live, new: Configuration | Exception) -> None:
        """``new`` stands in the file, and the server looks."""
        self.next = new
        self.disk.put(FILE)
        await live.look()

    def choose(self, server: str, at: float = STARTED + 1) -> None:
        path = selection.file_in(self.home)
        selection.write(path, Selection(server, at))
        self.disk.put(path)

    def said(self) -> list[str]:
        """What has been logged since the last time."""
        lines = [f"{record.levelname} {record.getMessage()}" for record in self.log.records]
        self.log.clear()
        return lines


@pytest.fixture
def house(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> House:
    caplog.set_level(logging.INFO)
    return House(tmp_path, caplog)


async def settled(house: House, **settings: object) -> Live:
    """A server that has looked once, which it does whether or not something changed."""
    live = house.live(**settings)
    await live.look()
    assert (house.loads, len(house.built), house.applied, house.said()) == (1, 1, [], [])
    return live


async def test_nothing_is_read_while_nothing_changes(house: House) -> None:
    live = await settled(house)
    gateway = live.gateway
    await live.look()
    await live.look()
    assert (house.loads, house.said()) == (1, [])
    assert live.gateway is gateway


async def test_a_change_gives_new_requests_a_new_gateway_that_goes_on_from_the_old(house: House) -> None:
    live = await settled(house)
    old = live.gateway
    await house.change(live, house.configured(autotext_model="glm-4.5"))
    assert live.gateway is not old
    assert live.settings.autotext_model == "glm-4.5"
    assert old.settings.autotext_model == "glm-4.6"
    assert house.built[-1] == (live.settings, old)
    assert house.applied == [live.settings]
    assert house.said() == ["INFO settings: AUTOTEXT_MODEL: glm-4.6 -> glm-4.5"]


async def test_a_file_that_was_only_touched_changes_nothing(house: House) -> None:
    live = await settled(house)
    gateway = live.gateway
    await house.change(live, house.configured())
    assert live.gateway is gateway
    assert (house.applied, house.said()) == ([], [])


async def test_an_invalid_configuration_changes_nothing_and_every_problem_is_logged(house: House) -> None:
    live = await settled(house)
    gateway = live.gateway
    await house.change(live, SettingsError(["config.yaml: port: found 'x'", "config.yaml: hots: unknown"]))
    assert live.gateway is gateway
    assert house.said() == [
        "ERROR configuration invalid, nothing has changed: problems: 2",
        "ERROR configuration: config.yaml: port: found 'x'",
        "ERROR configuration: config.yaml: hots: unknown",
    ]


async def test_a_half_written_file_is_read_again_when_it_changes_again(house: House) -> None:
    live = await settled(house)
    await house.change(live, SettingsError(["config.yaml: not YAML"]))
    loads = house.loads
    await live.look()
    assert house.loads == loads
    await house.change(live, house.configured(autotext_model="glm-4.5"))
    assert live.settings.autotext_model == "glm-4.5"


async def test_what_changed_while_a_broken_file_lay_there_is_told_when_it_is_whole_again(house: House) -> None:
    live = await settled(house)
    await house.change(live, SettingsError(["broken"]))
    house.said()
    await house.change(live, house.configured(max_retries=7))
    assert house.said() == ["INFO settings: MAX_RETRIES: 2 -> 7"]


async def test_other_files_are_watched_from_the_moment_they_are_configured(house: House) -> None:
    live = await settled(house)
    await house.change(live, replace(house.configured(), watched=(FILE, OTHER)))
    await live.look()  # OTHER may have changed after it was read
    loads = house.loads
    await live.look()
    assert house.loads == loads
    house.disk.put(OTHER)
    await live.look()
    assert house.loads == loads + 1


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("host", "127.0.0.2", "HOST: 127.0.0.1 -> 127.0.0.2"),
        ("port", 5001, "PORT: 5000 -> 5001"),
        ("backend", "trio", "BACKEND: asyncio -> trio"),
        ("uvloop", "off", "UVLOOP: auto -> off"),
        ("workers", 2, "WORKERS: 1 -> 2"),
        ("stats_store", "redis://x", "STATS_STORE changed"),
        ("http_pool_maxsize", 7, "HTTP_POOL_MAXSIZE: 1000 -> 7"),
    ],
)
async def test_what_needs_a_restart_stays_and_is_said_once(house: House, name: str, value: object, shown: str) -> None:
    live = await settled(house)
    before = getattr(live.settings, name)
    await house.change(live, house.configured(**{name: value}))
    assert getattr(live.settings, name) == before
    assert house.applied == []
    assert house.said() == [f"INFO settings: {shown} (needs a restart)"]
    await house.change(live, house.configured(**{name: value}))
    assert house.said() == []


async def test_a_configuration_that_is_safe_only_at_its_own_address_is_refused_at_the_one_that_stays(house: House) -> None:
    live = await settled(house, host="0.0.0.0", server_api_key="k-canary", proxy_api_key="inbound")
    await house.change(live, house.configured(host="127.0.0.1", server_api_key="k-canary"))
    assert live.settings.proxy_api_key == "inbound"
    said = house.said()
    assert "nothing has changed" in said[0]
    assert "PROXY_API_KEY" in said[1]
    assert "k-canary" not in "".join(said)


# ------------------------------------------------------------------------------------------- files that vanish or say nothing


def holding(house: House, *held: Held, **settings: object) -> Configuration:
    return replace(house.configured(**settings), held=held)


ENV = Held(FILE, ".env", ("proxy_api_key", "port", "providers"))


async def keeping(house: House, *held: Held, **settings: object) -> Live:
    live = house.live(**settings)
    live._configuration = house.next = holding(house, *held, **settings)
    await live.look()
    house.said()
    return live


async def refused(house: House, live: Live, new: Configuration | Exception) -> list[str]:
    """The problems with a change that changes nothing."""
    gateway = live.gateway
    house.next = new
    await live.look(asked=True)
    assert live.gateway is gateway
    said = house.said()
    assert said[0].startswith("ERROR configuration invalid, nothing has changed")
    return [line.removeprefix("ERROR configuration: ") for line in said[1:]]


async def test_a_file_that_has_gone_changes_nothing_until_it_is_there_again(house: House) -> None:
    live = await keeping(house, ENV, autotext_model="glm-4.5")
    house.disk.remove(FILE)
    gateway = live.gateway
    house.next = holding(house)
    await live.look()
    assert live.gateway is gateway
    advice = "write it again, or restart to go on without it"
    assert house.said()[1:] == [f"ERROR configuration: .env: has gone; it held PROXY_API_KEY, PORT, providers; {advice}"]
    await live.look()
    assert house.said() == []
    await house.change(live, holding(house, ENV, autotext_model="glm-5"))
    assert live.settings.autotext_model == "glm-5"


async def test_a_file_that_has_gone_is_named_beside_what_follows_from_it(house: House) -> None:
    live = await keeping(house, replace(ENV, settings=tuple(f"name_{index}" for index in range(7))))
    house.disk.remove(FILE)
    found = await refused(house, live, SettingsError(["config.yaml: no key"]))
    assert [problem.partition(";")[0] for problem in found] == [".env: has gone", "config.yaml: no key"]
    assert "it held NAME_0, NAME_1, NAME_2, NAME_3, NAME_4 and 2 more;" in found[0]


async def test_a_file_that_says_nothing_any_more_changes_nothing(house: House) -> None:
    live = await keeping(house, ENV)
    (problem,) = await refused(house, live, holding(house))
    assert problem.startswith(".env: sets nothing any more; it held PROXY_API_KEY, PORT, providers; write it again")
    assert await refused(house, live, SettingsError(["x"])) == ["x"]


async def test_a_file_has_to_keep_what_makes_it_ours(house: House) -> None:
    live = await keeping(house, replace(ENV, needs=("providers",)))
    (problem,) = await refused(house, live, holding(house, replace(ENV, settings=("port",))))
    assert problem == ".env: providers: has gone; write it again, or restart to go on without"
    await house.change(live, holding(house, replace(ENV, settings=("providers",)), max_retries=7))
    assert live.settings.max_retries == 7


async def test_files_that_set_nothing_come_and_go(house: House) -> None:
    live = await keeping(house)
    await house.change(live, holding(house, ENV, max_retries=7))
    assert house.said() == ["INFO settings: MAX_RETRIES: 2 -> 7"]
    assert (await refused(house, live, holding(house)))[0].startswith(".env: sets nothing")


OWNED = (
    {"server_api_key": "k-canary"},
    {"providers": (Provider("p", Bases(openai="http://p"), (Model("m", "m", "m"),), api_key="k-canary"),)},
    {"servers": {**SERVERS, "cn": replace(SERVERS["cn"], api_key="k-canary")}},
)


@pytest.mark.parametrize("owned", OWNED)
async def test_a_reload_does_not_open_the_door_where_there_is_a_key_to_spend(house: House, owned: dict[str, object]) -> None:
    live = await keeping(house, ENV, proxy_api_key="inbound", **owned)
    (problem,) = await refused(house, live, holding(house, ENV, **owned))
    assert problem.startswith("PROXY_API_KEY: set until now, and not any more, while ")
    assert "canary" not in problem
    assert live.settings.proxy_api_key == "inbound"
    await house.change(live, holding(house, ENV, proxy_api_key="other", **owned))
    assert live.settings.proxy_api_key == "other"
    await house.change(live, replace(holding(house, ENV, **owned), cleared=frozenset({"proxy_api_key"})))
    assert live.settings.proxy_api_key is None


async def test_a_door_with_nothing_behind_it_may_be_opened(house: House) -> None:
    live = await keeping(house, ENV, proxy_api_key="inbound", server_api_key="k")
    await house.change(live, holding(house, ENV))
    assert live.settings.proxy_api_key is None


async def test_a_demonstration_has_no_door(house: House) -> None:
    live = await keeping(house, ENV, proxy_api_key="inbound", server_api_key="demo", demo=True)
    await house.change(live, holding(house, ENV, server_api_key="demo", demo=True))
    assert live.settings.proxy_api_key is None


async def test_another_forward_proxy_needs_a_restart(house: House) -> None:
    live = await settled(house)
    await house.change(live, replace(house.configured(), proxies=Proxies(https=Proxy("http", "p", 1))))
    assert house.said() == ["INFO settings: the forward proxy changed (needs a restart)"]


async def test_only_new_warnings_are_repeated(house: House) -> None:
    live = await settled(house)
    await house.change(live, replace(house.configured(), warnings=("a",)))
    await house.change(live, replace(house.configured(), warnings=("a", "b")))
    assert house.said() == ["WARNING settings: a", "WARNING settings: b"]


async def test_what_changed_is_told_before_the_log_falls_silent(house: House) -> None:
    live = await settled(house)
    live.apply = lambda settings: logging.getLogger("anthropic-proxy").info("applied %s", settings.log_level)
    await house.change(live, house.configured(log_level="ERROR"))
    assert house.said() == ["INFO settings: LOG_LEVEL: INFO -> ERROR", "INFO applied ERROR"]


async def test_settings_of_which_no_gateway_can_be_made_change_nothing(house: House) -> None:
    live = await settled(house)
    gateway = live.gateway
    await house.change(live, house.configured(proxy_server="nowhere"))
    assert live.gateway is gateway
    assert "PROXY_SERVER" in house.said()[1]
    await house.change(live, house.configured(max_retries=7))
    assert house.said() == ["INFO settings: MAX_RETRIES: 2 -> 7"]


async def test_asked_for_everything_is_read_although_nothing_looks_changed(house: House) -> None:
    live = await settled(house)
    house.next = house.configured(max_retries=7)
    await live.look(asked=True)
    assert live.settings.max_retries == 7
    await live.look(asked=True)
    assert house.said() == ["INFO settings: MAX_RETRIES: 2 -> 7", "INFO settings: nothing has changed"]


async def running(live: Live, every: float, condition: Callable[[], bool]) -> None:
    """Run until ``condition`` holds."""
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(live.run, every)
            await until(condition)
            tasks.cancel_scope.cancel()


async def test_a_signal_is_acted_on_at_once_and_each_time(house: House) -> None:
    live = await settled(house)
    live.ask()
    await running(live, math.inf, lambda: house.loads == 2)
    live.ask()
    await running(live, math.inf, lambda: house.loads == 3)
    assert house.said() == ["INFO settings: nothing has changed"] * 2


async def test_files_are_looked_at_again_and_again(house: House) -> None:
    live = await settled(house)
    house.next = house.configured(max_retries=7)
    house.disk.put(FILE)
    await running(live, 0, lambda: live.settings.max_retries == 7)
    assert house.loads == 2


async def test_a_bug_does_not_end_the_watch(house: House) -> None:
    live = await settled(house)
    house.next = RuntimeError("a bug")
    live.ask()
    await running(live, math.inf, lambda: house.loads == 2 and len(house.log.records) == 1)
    assert house.said() == ["ERROR reloading failed"]
    house.next = house.configured()
    live.ask()
    await running(live, math.inf, lambda: house.loads == 3)


# ---------------------------------------------------------------------------------------------------------- selection


async def test_a_selection_redirects_new_requests_whatever_was_configured(house: House) -> None:
    live = await settled(house)
    old = live.gateway
    house.choose("cn")
    await live.look()
    assert live.settings.proxy_server == "cn"
    assert old.settings.proxy_server == "international"
    assert house.loads == 1
    assert house.said() == ["INFO selected server: international -> cn (proxy-cli switch)"]


async def test_a_known_servers_address_in_upstream_base_does_not_hold_a_selection_up(house: House) -> None:
    cn = SERVERS["cn"].bases
    given = {
        "upstream_base": cn.anthropic,
        "openai_upstream_base": cn.openai,
        "explicit": frozenset({"upstream_base", "openai_upstream_base"}),
    }
    live = await settled(house, **given)
    assert routing.selection(live.settings).server.name == "cn"
    house.choose("international")
    await live.look()
    await house.change(live, house.configured(**given, max_retries=7))
    assert routing.selection(live.settings).server.name == "international"
    assert house.said()[0] == "INFO selected server: cn -> international (proxy-cli switch)"


async def test_a_selection_from_before_the_start_is_no_news(house: House) -> None:
    house.choose("cn", at=STARTED - 1)
    live = await settled(house)
    assert live.settings.proxy_server == "international"


async def test_a_selection_survives_a_change_of_other_settings(house: House) -> None:
    live = await settled(house)
    house.choose("cn")
    await live.look()
    await house.change(live, house.configured(max_retries=7))
    assert (live.settings.proxy_server, live.settings.max_retries) == ("cn", 7)


async def test_a_server_that_is_configured_later_counts_before_a_selection(house: House) -> None:
    live = await settled(house, proxy_server="cn")
    house.choose("international")
    await live.look()
    await house.change(live, house.configured(proxy_server="international"))
    await house.change(live, house.configured(proxy_server="cn"))
    assert live.settings.proxy_server == "cn"


async def test_a_selection_made_while_a_gateway_is_built_is_not_lost(house: House) -> None:
    live = await settled(house)
    building = iter([lambda: anyio.from_thread.run_sync(live.select, "cn", "auto-switch")])

    def build(settings: Settings, before: Gateway | None) -> Gateway:
        next(building, lambda: None)()
        return house.build(settings, before)

    live._build = build
    await house.change(live, house.configured(max_retries=7))
    assert (live.settings.proxy_server, live.settings.max_retries) == ("cn", 7)
    assert house.built[-1][1] is not house.built[0][1]


async def test_an_invalid_configuration_does_not_end_a_selection(house: House) -> None:
    live = await settled(house, host="0.0.0.0", server_api_key="k", proxy_api_key="inbound")
    house.choose("cn")
    await live.look()
    await house.change(live, house.configured(host="127.0.0.1", server_api_key="k", proxy_server="other"))
    await house.change(live, house.configured(host="0.0.0.0", server_api_key="k", proxy_api_key="inbound"))
    assert live.settings.proxy_server == "cn"


async def test_a_selected_server_that_is_gone_gives_way_to_the_configured_one(house: House) -> None:
    mine = Server("mine", Bases(anthropic="http://127.0.0.1:1"))
    live = await settled(house, servers={**SERVERS, "mine": mine})
    house.choose("mine")
    await live.look()
    assert live.settings.proxy_server == "mine"
    await house.change(live, house.configured())
    assert live.settings.proxy_server == "international"


async def test_a_selection_that_is_no_server_changes_nothing(house: House) -> None:
    live = await settled(house)
    house.choose("nowhere")
    await live.look()
    assert live.settings.proxy_server == "international"
    assert house.said() == ["WARNING selection of 'nowhere' not followed (proxy-cli switch): there is no such server"]


async def test_selecting_what_is_selected_is_no_change(house: House) -> None:
    live = await settled(house)
    house.choose("international")
    await live.look()
    assert (len(house.built), house.said()) == (1, [])


async def test_a_selection_that_a_pinned_base_makes_ineffective_says_so(house: House) -> None:
    live = await settled(
        house,
        upstream_base="http://127.0.0.1:1",
        openai_upstream_base="http://127.0.0.1:2",
        explicit=frozenset({"upstream_base", "openai_upstream_base"}),
    )
    house.choose("cn")
    await live.look()
    assert "WARNING selecting a server changes nothing" in "\n".join(house.said())


async def test_a_selection_is_followed_while_the_files_are_invalid(house: House) -> None:
    live = await settled(house)
    house.choose("cn")
    await house.change(live, SettingsError(["broken"]))
    assert live.settings.proxy_server == "cn"
