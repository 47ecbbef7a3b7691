"""``proxy-cli switch``."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.console.conftest import NOW, Cli
from transports import selection
from transports.selection import Selection

SERVERS = """mine:
  name: Mine
  endpoint: https://glm.example.com
  api_key: k-canary
  region: here
"""


def test_a_switch_is_written_for_the_next_start_and_for_running_servers(cli: Cli, tmp_path: Path) -> None:
    home = tmp_path / ".anthropic-proxy"
    home.mkdir()
    (home / "config.yaml").write_text("# mine\nlog_level: DEBUG  # loud\ncurrent_server: international\n")
    done = cli("switch", "cn")
    assert (done.code, done.out, done.err) == (0, "selected cn; a running server sends new requests there within 2 s\n", "")
    assert (home / "config.yaml").read_text() == "# mine\nlog_level: DEBUG  # loud\ncurrent_server: cn\n"
    assert selection.read(home / "run" / "selection.json") == Selection("cn", NOW)
    assert stat.S_IMODE((home / "run" / "selection.json").stat().st_mode) == 0o600
    assert cli("--json", "switch").json["selected"] == "cn"


def test_the_configuration_directory_may_be_named(cli: Cli, tmp_path: Path) -> None:
    assert cli("--config-dir", str(tmp_path / "there"), "switch", "cn").code == 0
    assert (tmp_path / "there" / "config.yaml").read_text() == "current_server: cn\n"
    assert selection.read(tmp_path / "there" / "run" / "selection.json") == Selection("cn", NOW)


def test_a_short_name_is_written_as_the_whole_one(cli: Cli, tmp_path: Path) -> None:
    assert cli("switch", "inter").out.startswith("selected international;")
    assert selection.read(tmp_path / ".anthropic-proxy" / "run" / "selection.json") == Selection("international", NOW)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cm", "did you mean cn? there are: international, cn"),
        ("intl", "did you mean international? "),
        ("xyzzy", "there are: international, cn"),
    ],
)
def test_an_unknown_name_is_refused_with_the_list_and_the_nearest(cli: Cli, tmp_path: Path, name: str, words: str) -> None:
    done = cli("switch", name)
    assert (done.code, done.out) == (1, "")
    cause, remedy = done.err.splitlines()
    assert cause == f"proxy-cli: there is no server '{name}'"
    assert remedy.startswith(f"proxy-cli: {words}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "pinned",
    [
        {"UPSTREAM_BASE": "https://glm.example.com/anthropic", "OPENAI_UPSTREAM_BASE": "https://glm.example.com/v4"},
        {"UPSTREAM_BASE": "https://glm.example.com/anthropic"},
        {"OPENAI_UPSTREAM_BASE": "https://glm.example.com/v4"},
    ],
)
def test_a_pinned_base_is_said_and_nothing_is_written(cli: Cli, tmp_path: Path, pinned: dict[str, str]) -> None:
    done = cli("switch", "cn", **pinned)
    assert (done.code, done.out) == (1, "")
    assert all(name in done.err for name in pinned)
    assert list(tmp_path.iterdir()) == []


def test_a_base_that_is_a_known_servers_pins_nothing(cli: Cli) -> None:
    done = cli("switch", "cn", UPSTREAM_BASE="https://api.z.ai/api/anthropic", OPENAI_UPSTREAM_BASE="https://api.z.ai/api/coding/paas/v4")
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("where", ["environment", ".env"])
def test_what_will_win_at_the_next_start_is_said(cli: Cli, tmp_path: Path, where: str) -> None:
    environment = {}
    if where == ".env":
        (tmp_path / ".env").write_text("PROXY_SERVER=international\n")
    else:
        environment["PROXY_SERVER"] = "international"
    done = cli("switch", "cn", **environment)
    assert done.code == 0
    assert done.out.startswith("selected cn;")
    assert f"select international again: that is set by {where}" in done.err


def test_without_a_name_the_servers_are_listed_with_the_selected_one_marked(cli: Cli, tmp_path: Path) -> None:
    home = tmp_path / ".anthropic-proxy"
    home.mkdir()
    (home / "servers.yaml").write_text(SERVERS)
    (home / "servers.yaml").chmod(0o600)
    done = cli("switch", PROXY_SERVER="mine")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].split() == ["SERVER", "REGION", "ANTHROPIC", "OPENAI"]
    assert [line.split()[0] for line in lines[1:]] == ["international", "cn", "*"]
    assert lines[3].split()[1:3] == ["mine", "here"]
    assert "k-canary" not in done.out


@pytest.mark.parametrize("words", [("--json", "switch"), ("switch", "--json")])
def test_the_list_as_json(cli: Cli, words: tuple[str, ...]) -> None:
    done = cli(*words)
    assert done.json["selected"] == "international"
    assert done.json["pinned"] is None
    assert done.json["servers"][1] == {
        "name": "cn",
        "selected": False,
        "region": "cn",
        "key": False,
        "anthropic": "https://open.bigmodel.cn/api/anthropic",
        "openai": "https://open.bigmodel.cn/api/paas/v4",
    }


def test_the_list_says_that_the_selection_has_no_effect(cli: Cli) -> None:
    done = cli("switch", UPSTREAM_BASE="https://glm.example.com/anthropic")
    assert done.code == 0
    assert "the selection has no effect: UPSTREAM_BASE" in done.err


def test_a_switch_as_json(cli: Cli) -> None:
    assert cli("--json", "switch", "cn").json == {"selected": "cn"}


def test_a_directory_that_cannot_be_written_is_a_failure_with_its_remedy(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / ".anthropic-proxy" / "run" / "selection.json").mkdir(parents=True)
    done = cli("switch", "cn")
    assert (done.code, done.out) == (1, "")
    cause, remedy = done.err.splitlines()
    assert "cannot write" in cause
    assert "--config-dir" in remedy
