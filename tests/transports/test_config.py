"""Flags, environment and files become one configuration."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from core.settings import SettingsError, UnsafeSettings
from tests.core.settings_table import ROWS, Row
from transports import config
from transports.upstream import Proxy

PROVIDER = {"base_url": "https://api.example.com", "api_key": "sk-x", "models": [{"id": "m1"}]}
#: As the earlier Go proxy documented it.
GO = (
    '{"ak": "k", "port": 8888, "upstream_timeout_seconds": 300, "log_body_max_chars": 4096, "log_stream_text_preview_chars": 256,'
    ' "providers":[{"base_url":"https://api.example.com","api_key":"sk-x",'
    '"models":[{"id":"m1","display_name":"M1","remote_id":"real-1"},{"id":"m2"}]}]}'
)


class Place:
    """A working directory and a home."""

    def __init__(self, root: Path) -> None:
        self.directory = root / "work"
        self.home = root / "home" / ".anthropic-proxy"
        self.directory.mkdir()
        self.home.mkdir(parents=True)
        self.environment = {"HOME": str(root / "home")}

    def write(self, name: str, text: str) -> Path:
        path = (self.home if name in ("config.yaml", "servers.yaml") else self.directory) / name
        path.write_text(text, "utf-8")
        path.chmod(0o600)
        return path

    def load(self, *arguments: str, **environment: str) -> config.Configuration:
        return config.load(arguments, {**self.environment, **environment}, self.directory)

    def problems(self, *arguments: str, **environment: str) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            self.load(*arguments, **environment)
        return caught.value.problems


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# ----------------------------------------------------------------------------------------------------------- who wins

LEVELS = ["flag", "environment", "dotenv", "json", "yaml"]


@pytest.mark.parametrize("chosen", [chosen for size in range(6) for chosen in itertools.combinations(LEVELS, size)], ids="-".join)
def test_flag_environment_dotenv_json_yaml_default(place: Place, chosen: tuple[str, ...]) -> None:
    port = {level: str(1001 + index) for index, level in enumerate(LEVELS)}
    place.write(".env", f"PORT={port['dotenv']}" if "dotenv" in chosen else "")
    place.write("given.json", json.dumps({"port": int(port["json"])} if "json" in chosen else {"host": "127.0.0.1"}))
    place.write("config.yaml", f"port: {port['yaml']}" if "yaml" in chosen else "")
    flags = ["--port", port["flag"]] if "flag" in chosen else []
    found = place.load("--config", "given.json", *flags, **({"PORT": port["environment"]} if "environment" in chosen else {}))
    assert found.settings.port == (int(port[chosen[0]]) if chosen else 5000)
    names = {
        "flag": "flag --port",
        "environment": "environment",
        "dotenv": ".env",
        "json": "given.json",
        "yaml": str(place.home / "config.yaml"),
    }
    assert found.origins.get("port") == (names[chosen[0]] if chosen else None)


def test_every_flag_is_a_setting(place: Place) -> None:
    settings = place.load(
        "--host", "::1", "--port", "0", "--log-level", "DEBUG", "--backend", "trio", "--uvloop", "off", "--server", "cn", "--workers", "2",
        HOST="0.0.0.0", PORT="8888", MAX_CONNECTIONS="7", DRAIN_TIMEOUT="",
    ).settings  # fmt: skip
    assert (settings.host, settings.port, settings.log_level, settings.backend, settings.uvloop) == ("::1", 0, "DEBUG", "trio", "off")
    assert (settings.proxy_server, settings.workers, settings.max_connections, settings.drain_timeout) == ("cn", 2, 7, 600)


def test_the_earlier_proxys_configuration_starts_unchanged(place: Place) -> None:
    place.write("config.json", GO)
    found = place.load()
    settings = found.settings
    assert (settings.proxy_api_key, settings.port, settings.request_timeout, settings.provider_only) == ("k", 8888, 300, True)
    assert [(model.id, model.remote_id) for model in settings.providers[0].models] == [("m1", "real-1"), ("m2", "m2")]
    assert (settings.log_body_max_chars, settings.log_stream_text_preview_chars) == (4096, 256)
    assert found.warnings == ("set, and without effect yet: LOG_BODY_MAX_CHARS, LOG_STREAM_TEXT_PREVIEW_CHARS",)


#: Two files as users of the earlier GLM proxy have them.
TYPICAL = [
    """\
# Server
HOST=0.0.0.0
PORT=5000
export SERVER_API_KEY="0123456789abcdef0123456789abcdef.GLMglmGLMglm1234"
PROXY_API_KEY='inbound-key'
FORWARD_CLIENT_KEY=true   # clients may bring theirs

UPSTREAM_BASE="https://api.z.ai/api/anthropic"
OPENAI_UPSTREAM_BASE="https://api.z.ai/api/coding/paas/v4"
AUTOTEXT_MODEL=glm-4.6
AUTOVISION_MODEL=glm-4.5v
TEXT_ENDPOINT_PREFERENCE=auto
MODEL_MAP_JSON='{"claude-*": "glm-4.6", "gpt-4o": "glm-4.5v"}'
OPENAI_MODELS_LIST_JSON=["glm-4.6","glm-4.5v"]
REQUEST_TIMEOUT=120
TOKEN_COUNTING_MODEL=o200k_base
SCALE_COUNT_TOKENS_FOR_VISION=True
ENABLE_MESSAGE_CONDENSATION=1
IMAGE_AGE_TRUNCATION_MESSAGE="[Previous images in conversation context: {descriptions}]"
ENABLE_CHUNK_BASED_CONDENSATION=true
CHUNK_SIZE_MESSAGES=8
DEBUG=false
""",
    """\
export PROXY_HOST=127.0.0.1
export PROXY_PORT=5055
SERVER_API_KEY=
OPENAI_TEXT_REAL_TOKENS=131072
OPENAI_VISION_REAL_TOKENS=65536
LOG_DIR=/var/log/proxy
LOG_LEVEL=debug
ENABLE_ENVIRONMENT_DEDUPLICATION=no
ENVIRONMENT_DEDUPLICATION_STRATEGY=merge_strategy
ENV_DETAILS_PATTERNS='<env>.*?</env>|<context>'
CONTAINER_NAME=glm-proxy
COMPOSE_PROJECT_NAME=proxy
""",
]


def test_a_typical_dotenv_of_a_shared_server_is_understood(place: Place) -> None:
    place.write(".env", TYPICAL[0])
    found = place.load()
    settings = found.settings
    assert (settings.host, settings.proxy_api_key, settings.forward_client_key) == ("0.0.0.0", "inbound-key", True)
    assert settings.server_api_key == "0123456789abcdef0123456789abcdef.GLMglmGLMglm1234"
    assert settings.model_map_json == {"claude-*": "glm-4.6", "gpt-4o": "glm-4.5v"}
    assert settings.openai_models_list_json == ("glm-4.6", "glm-4.5v")
    assert (settings.request_timeout, settings.token_counting_model) == (120, "o200k_base")
    assert [warning.partition(":")[0] for warning in found.warnings] == ["not needed any more, and ignored", "set, and without effect yet"]


def test_a_typical_dotenv_with_other_spellings_is_understood(place: Place) -> None:
    place.write(".env", TYPICAL[1].replace("\n", "\r\n"))
    found = place.load()
    settings = found.settings
    assert (settings.port, settings.server_api_key, settings.real_text_model_tokens, settings.log_level) == (5055, None, 131072, "DEBUG")
    assert (settings.enable_env_deduplication, settings.env_deduplication_strategy) == (False, "merge_strategy")
    assert settings.env_details_patterns == ("<env>.*?</env>|<context>",)
    assert settings.upstream_log_dir == "/var/log/proxy"
    assert ".env: unknown names, left alone: COMPOSE_PROJECT_NAME" in found.warnings


# -------------------------------------------------------------------------------------------- every name from every file


def _dotenv(row: Row) -> str:
    return "".join(f"export {name}='{row.text}'\n" for name in row.in_environment[-1:])


def _json(row: Row) -> str:
    return json.dumps({row.in_files[-1]: row.native, "_": "a remark"})


def _yaml(row: Row) -> str:
    return f"# a remark\n{row.in_files[-1]}: {json.dumps(row.native)}\n"


@pytest.mark.parametrize("row", [row for row in ROWS if row.file], ids=lambda row: row.name)
@pytest.mark.parametrize(("name", "write"), [(".env", _dotenv), ("given.json", _json), ("given.yaml", _yaml)])
def test_a_setting_is_read_from_a_file(place: Place, row: Row, name: str, write: Callable[[Row], str]) -> None:
    place.write(name, write(row))
    found = place.load(*([] if name == ".env" else ["--config", name]))
    assert row.field in found.settings.explicit
    assert found.origins[row.field] == name
    if row.name not in ("ENV_DETAILS_PATTERNS", "STATS_STORE"):  # other values in files
        assert getattr(found.settings, row.field) == row.value


@pytest.mark.parametrize("row", [row for row in ROWS if row.file], ids=lambda row: row.name)
@pytest.mark.parametrize("name", ["given.json", "given.yaml"])
def test_a_setting_refuses_nonsense_from_a_file(place: Place, row: Row, name: str) -> None:
    place.write(name, json.dumps({row.in_files[0]: row.illegal_native}))  # JSON is YAML
    (problem,) = place.problems("--config", name)
    assert problem.startswith(f"{name}: {row.in_files[0]}")


# ------------------------------------------------------------------------------------------------------------- files


def test_yaml_means_what_it_says(place: Place) -> None:
    place.write(
        "config.yaml",
        """\
        anthropic_version: 2023-06-01   # no date
        proxy_headers: off
        port: 5001
        model_limits: {4.5: {max_tokens: 7}}
        autotext_model: "glm-4.5"
        current_server: cn
        cli: {refresh_interval: 5}
        """.replace("        ", ""),
    )
    settings = place.load().settings
    assert (settings.anthropic_version, settings.proxy_headers, settings.port, settings.autotext_model) == (
        "2023-06-01",
        False,
        5001,
        "glm-4.5",
    )
    assert settings.model_limits_json["4.5"].max_tokens == 7
    assert (settings.proxy_server, settings.cli.refresh_interval) == ("cn", 5)


def test_servers_come_from_their_file(place: Place) -> None:
    place.write("servers.yaml", "mine: {endpoint: relay.example, api_key: sk-mine}\ncn: {fallbacks: [mine]}\n")
    settings = place.load("--server", "mine").settings
    assert settings.servers["mine"].bases.anthropic == "https://relay.example/api/anthropic"
    assert settings.servers["cn"].fallbacks == ("mine",)
    assert settings.proxy_server == "mine"


def test_the_directory_of_files_can_be_another(place: Place, tmp_path: Path) -> None:
    other = tmp_path / "work" / "other"
    other.mkdir()
    (other / "config.yaml").write_text("port: 7")
    for found in (
        place.load("--config-dir", "other"),
        place.load(PROXY_CONFIG_DIR=str(other)),
        place.load("--config-dir", f"~/../{other.parent.name}/other"),
    ):
        assert found.settings.port == 7
        assert Path(found.settings.proxy_config_dir).resolve() == other
    place.write(".env", "PROXY_CONFIG_DIR=other")
    assert place.load().settings.port == 7
    assert place.load(PROXY_CONFIG_DIR="nowhere").settings.port == 5000


def test_without_a_home_the_directory_of_files_is_here(tmp_path: Path) -> None:
    found = config.load([], {}, tmp_path)
    assert found.settings.proxy_config_dir == str(tmp_path / ".anthropic-proxy")
    assert config.load([], {"USERPROFILE": str(tmp_path / "u")}, tmp_path).settings.proxy_config_dir == str(
        tmp_path / "u" / ".anthropic-proxy"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"prot": 1}', "found 'prot' (did you mean port?), and neither providers nor any setting"),
        ('{"name": "x", "version": 1, "main": 2, "scripts": {}}', "found 'name', 'version', 'main', ..., and neither"),
        ('{"profiles": []}', "found 'profiles' (did you mean prices?), and neither"),
        ('{"models": ["x"], "cli": 1}', "found 'models' (did you mean model_limits?), 'cli', and neither"),
        ('{"sk-canary-canary": 1, "canary0123456789canary": 1}', "found '...', '...', and neither"),
        ("{}", "found nothing, and neither"),
        ('{"_": 1}', "found nothing, and neither"),
        ("", "found nothing, and neither"),
        ("[]", "it is JSON, and no object"),
        ('"canary"', "it is JSON, and no object"),
    ],
)
def test_a_config_json_of_somebody_else_is_left_alone_and_that_is_said(place: Place, text: str, why: str) -> None:
    path = place.write("config.json", text)
    found = place.load()
    (warning,) = found.warnings
    assert warning.startswith(f"config.json: left alone, as it is not for this proxy: {why}")
    assert "canary" not in warning
    assert (found.origins, found.held) == ({}, ())
    assert path in found.watched


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "config.json: line 1, column 2: expected JSON"),
        ("not json", "config.json: line 1, column 1: expected JSON"),
        ('{"a": 1, "a": 2}', "config.json: found the key 'a' twice"),
        ('{"a": NaN}', "config.json: found NaN, expected JSON"),
        (b"\xff\xfe", "config.json: expected UTF-8"),
        (None, "config.json: cannot be read: Is a directory"),
        ('{"provider": []}', "config.json: provider: unknown key, did you mean providers?"),
        ('{"Providers": []}', "config.json: Providers: unknown key, did you mean providers?"),
        ('{"providrs": [], "x": 1}', "config.json: providrs: unknown key, did you mean providers?"),
        ('{"providers": {}}', "config.json: providers: found an object, expected a list of providers"),
        ('{"providers": "SUPERSECRET"}', "config.json: providers: found text, expected a list of providers"),
        ('{"ak": ["SUPERSECRET"]}', "config.json: ak: found a list in place of a secret, expected text without spaces"),
        ('{"port": "x"}', "config.json: port: found 'x', expected a whole number"),
        ('{"PORT": 1}', "config.json: PORT: unknown key, did you mean port?"),
    ],
)
def test_a_config_json_that_is_ours_or_nobodys_has_to_be_right(place: Place, text: str | bytes | None, problem: str) -> None:
    if text is None:
        (place.directory / "config.json").mkdir()
    else:
        (place.directory / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    found = place.problems()
    assert found[0].startswith(problem)
    assert "SUPERSECRET" not in str(found)


def test_a_config_json_with_settings_alone_is_ours(place: Place) -> None:
    place.write("config.json", '{"ak": "k", "port": 7, "_": 1}')
    found = place.load()
    assert (found.settings.proxy_api_key, found.settings.port, found.warnings) == ("k", 7, ())


def test_a_config_json_that_is_ours_and_broken_is_a_problem(place: Place) -> None:
    place.write("config.json", GO[:-1] + ",")
    (problem,) = place.problems()
    assert problem.startswith("config.json: line 1, column ")
    place.write("config.json", GO.replace('"ak"', '"port": 1, "ak"'))
    assert place.problems() == ["config.json: found the key 'port' twice in one object"]


def test_a_file_that_is_named_takes_the_place_of_the_usual_one(place: Place) -> None:
    place.write("config.json", GO)
    place.write("given.yaml", "port: 7")
    found = place.load(CONFIG_PATH="given.yaml")
    assert (found.settings.port, found.settings.providers, found.settings.config_path) == (7, (), str(place.directory / "given.yaml"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "given.json: there is no such file, and CONFIG_PATH or --config names it"),
        ("", "given.json: found nothing, expected at least one provider or one setting"),
        ("{}", "given.json: found nothing, expected at least one provider or one setting"),
        ('{"providers": []}', "given.json: found nothing, expected at least one provider or one setting"),
        ('{"ak": "", "port": null, "model_map_json": {}}', "given.json: found nothing, expected at least one provider or one setting"),
        ('{"_": 1}', "given.json: found nothing, expected at least one provider or one setting"),
        ("[]", "given.json: expected an object with names and values"),
        ('{"port": 1,}', "given.json: line 1, column 12: expected JSON"),
        ('{"port": NaN}', "given.json: found NaN, expected JSON"),
    ],
)
def test_a_file_that_is_named_has_to_be_there_and_to_say_something(place: Place, text: str | None, expected: str) -> None:
    if text is not None:
        place.write("given.json", text)
    (problem,) = place.problems("--config", "given.json")
    assert problem.startswith(expected)


def test_a_file_that_is_found_twice_is_read_once(place: Place) -> None:
    path = place.write("config.yaml", "prot: 1")
    assert len(place.problems("--config", str(path))) == 1
    place.write("config.yaml", "port: 1")
    assert place.load("--config", str(path)).watched.count(path) == 1


def test_every_file_that_could_change_something_is_watched(place: Place) -> None:
    secret = place.write("secret", "sk-canary")
    usual = (place.directory / ".env", place.directory / "config.json", place.home / "config.yaml", place.home / "servers.yaml")
    assert place.load().watched == usual
    given = place.load("--config", str(place.write("x.json", '{"port": 1}')), SERVER_API_KEY_FILE="secret").watched
    assert set(given) == {usual[0], place.directory / "x.json", *usual[2:], secret}


# ----------------------------------------------------------------------------------------------------------- problems


def test_all_problems_are_said_at_once_and_none_holds_a_secret(place: Place) -> None:
    place.write(".env", 'SERVER_API_KEY="sk-canary\nPORT=x\n')
    place.write("config.json", '{"providers": [{"base_url": "x", "api_key": "canary canary", "models": [{"id": "m1"}]}], "prot": 1}')
    place.write("config.yaml", "ak: *canary\n")
    place.write("servers.yaml", "mine: {endpoint: a b}\n")
    found = place.problems("--port", "y", HTTPS_PROXY="socks5://me:canary@proxy", BACKEND="curio")
    assert [": ".join(problem.split(": ")[:2]) for problem in found] == [
        ".env: line 1",
        f"{place.home / 'config.yaml'}: line 1, column 5",
        "environment: HTTPS_PROXY",
        "flag --port: PORT",
        "environment: BACKEND",
        ".env: PORT",
        "config.json: providers[0].base_url",
        "config.json: providers[0].api_key",
        "config.json: prot",
        f"{place.home / 'servers.yaml'}: mine.endpoint",
    ]
    assert "canary" not in str(found)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"PROXY_SERVER": "mars"}, "environment: PROXY_SERVER: found 'mars', expected one of international, cn"),
        ({"FAILOVER_TARGETS": "mars"}, "environment: FAILOVER_TARGETS: found 'mars', expected"),
        ({"FAILOVER_TARGETS": "sk-canary-canary"}, "environment: FAILOVER_TARGETS: found '...', expected"),
        ({"PROXY_SERVER": "sk-canary-canary"}, "environment: PROXY_SERVER: found '...', expected"),
    ],
)
def test_names_that_lead_nowhere_are_a_problem_of_who_said_them(place: Place, environment: Mapping[str, Any], expected: str) -> None:
    (problem,) = place.problems(**environment)
    assert problem.startswith(expected)


def test_a_name_that_leads_nowhere_is_named_as_it_was_given(place: Place) -> None:
    place.write("config.yaml", "current_server: mars")
    (problem,) = place.problems()
    assert problem.startswith(f"{place.home / 'config.yaml'}: current_server: found 'mars', expected one of international, cn")


def test_names_that_lead_nowhere_in_entries_are_a_problem_of_their_file_and_path(place: Place) -> None:
    place.write("servers.yaml", "my-own: {endpoint: x.example, fallbacks: [cn, mars]}")
    models = [{"id": "m1"}, {"id": "m2", "fallbacks": ["m1", "venus"]}]
    place.write("config.json", json.dumps({"providers": [{**PROVIDER, "name": "cn", "models": models}]}))
    assert [problem.partition(", ")[0] for problem in place.problems()] == [
        "config.json: providers[0].name: found 'cn'",
        "config.json: providers[0].models[1].fallbacks[1]: found 'venus'",
        f"{place.home / 'servers.yaml'}: 'my-own'.fallbacks[1]: found 'mars'",
    ]


def test_problems_of_every_stage_are_said_in_one_go(place: Place) -> None:
    place.write("config.yaml", "condensation_caution_threshold: 0.9")
    found = place.problems(
        "--backend", "curio", "--uvloop", "maybe", "--host", "0.0.0.0",
        PROXY_SERVER="mars", FAILOVER_TARGETS="moon", SERVER_API_KEY="k-canary", PORT="x",
    )  # fmt: skip
    assert [problem.partition(": found")[0].partition(": anyone")[0] for problem in found] == [
        "flag --backend: BACKEND",
        "flag --uvloop: UVLOOP",
        "environment: PORT",
        f"{place.home / 'config.yaml'}: condensation_caution_threshold",
        "environment: PROXY_SERVER",
        "environment: FAILOVER_TARGETS",
        "SERVER_API_KEY is set and HOST is 0.0.0.0",
    ]
    assert "canary" not in str(found)


@pytest.mark.parametrize(
    ("name", "text", "also"),
    [
        ("config.json", "{", ["environment: PROXY_SERVER"]),  # it might have the key, and models
        ("config.yaml", "port: [", ["environment: PROXY_SERVER"]),
        ("servers.yaml", "x: [", ["SERVER_API_KEY is set"]),
        ("servers.yaml", "mars: {endpoint: 5}", ["SERVER_API_KEY is set"]),
        (".env", "FAILOVER_TARGETS='x", ["environment: PROXY_SERVER"]),
        (".env", "PORT=x", ["environment: PROXY_SERVER", "environment: FAILOVER_TARGETS", "SERVER_API_KEY is set"]),
    ],
)
def test_nothing_is_said_of_what_a_broken_file_may_have_settled(place: Place, name: str, text: str, also: list[str]) -> None:
    place.write(name, text)
    found = place.problems(HOST="0.0.0.0", SERVER_API_KEY="k", PROXY_SERVER="mars", FAILOVER_TARGETS="moon")
    assert len(found) == 1 + len(also)
    assert all(problem.startswith(expected) for problem, expected in zip(found[1:], also, strict=True))


def test_invalid_goes_before_unsafe(place: Place) -> None:
    with pytest.raises(SettingsError) as caught:
        place.load("--host", "0.0.0.0", SERVER_API_KEY="k", PORT="x")
    assert not isinstance(caught.value, UnsafeSettings)
    with pytest.raises(SettingsError) as caught:
        place.load("--host", "0.0.0.0", SERVER_API_KEY="k", PROXY_SERVER="mars")
    assert not isinstance(caught.value, UnsafeSettings)
    with pytest.raises(UnsafeSettings):
        place.load("--host", "0.0.0.0", SERVER_API_KEY="k")


def test_a_flag_is_called_by_its_own_name(place: Place) -> None:
    (problem,) = place.problems("--server", "mars")
    assert problem.startswith("flag --server: PROXY_SERVER: found 'mars'")


def test_what_files_hold_is_known(place: Place) -> None:
    place.write(".env", "PORT=1\nPROXY_API_KEY=\nOTHERS=x")
    place.write("config.json", GO)
    place.write("config.yaml", "ak: k\nport: 2\nmodels: {a: {}}\nhost:")
    place.write("servers.yaml", "cn: {api_key: k}")
    found = place.load()
    assert [(held.path, held.name) for held in found.held] == [
        (place.directory / ".env", ".env"),
        (place.directory / "config.json", "config.json"),
        (place.home / "config.yaml", str(place.home / "config.yaml")),
        (place.home / "servers.yaml", str(place.home / "servers.yaml")),
    ]
    assert [set(held.settings) for held in found.held] == [
        {"port"},
        {"port", "proxy_api_key", "providers", "request_timeout", "log_body_max_chars", "log_stream_text_preview_chars"},
        {"proxy_api_key", "port", "models"},
        {"servers"},
    ]
    assert [held.needs for held in found.held] == [(), ("providers",), (), ()]
    assert found.cleared == {"proxy_api_key", "host"}
    place.write("config.json", "{}")
    place.write(".env", "OTHERS=x")
    assert len(place.load(HOST="", PROXY_API_KEY="").held) == 2


def test_a_key_that_anyone_could_spend_is_refused(place: Place) -> None:
    place.write("config.json", json.dumps({"providers": [PROVIDER]}))
    with pytest.raises(UnsafeSettings):
        place.load("--host", "0.0.0.0")
    assert any("ALLOW_OPEN_RELAY" in warning for warning in place.load("--host", "0.0.0.0", ALLOW_OPEN_RELAY="yes").warnings)


@pytest.mark.parametrize("arguments", [["--nonsense"], ["extra"], ["--port"]])
def test_wrong_flags_end_with_code_2(place: Place, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        place.load(*arguments)
    assert caught.value.code == 2
    assert "usage: anthropic-proxy" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------- references


def test_secrets_may_be_elsewhere(place: Place) -> None:
    place.write("inbound", "sk-inbound\n")
    place.write("config.json", json.dumps({"providers": [{**PROVIDER, "api_key": "env:MY_KEY"}], "ak": "file:inbound"}))
    place.write(".env", "MY_KEY=sk-of-dotenv\n")
    assert place.load().settings.providers[0].api_key == "sk-of-dotenv"
    found = place.load(MY_KEY="sk-of-environment", PROXY_API_KEY_FILE=str(place.directory / "inbound"))
    assert (found.settings.providers[0].api_key, found.settings.proxy_api_key) == ("sk-of-environment", "sk-inbound")
    assert found.warnings == ()


def test_a_file_is_referred_to_from_where_the_reference_stands(place: Place) -> None:
    (place.home / "key").write_text("sk-home")
    place.write("key", "sk-work")
    place.write("config.yaml", "server_api_key: file:key\n")
    assert place.load().settings.server_api_key == "sk-home"
    place.write("config.yaml", "server_api_key: file:~/.anthropic-proxy/key\n")
    assert place.load(SERVER_API_KEY_FILE="key").settings.server_api_key == "sk-work"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("env:GONE", "config.yaml: server_api_key: the environment has no 'GONE', which is referred to"),
        ("file:gone", "key: there is no file '"),
        ("file:empty", "empty: found 0 characters, expected a value"),
        ("file:long", "long: found 70000 characters, expected a value"),
        ("env:sk-canary-canary", "the environment has no '...', which is referred to"),
        ("file:sk-canary-canary", "/...', which is referred to"),
        ('"file:a\\0b"', "cannot be read: its name is none a file can have"),
        (f"file:{'canary01' * 40}", "/...: cannot be read: File name too long"),
        ("file:folder", "folder: cannot be read: Is a directory"),
        ("file:latin", "latin: expected UTF-8 (invalid"),
    ],
)
def test_a_reference_that_leads_nowhere_is_a_problem(place: Place, value: str, expected: str) -> None:
    (place.home / "empty").write_text("\n")
    (place.home / "long").write_text("x" * 70_000)
    (place.home / "folder").mkdir()
    (place.home / "latin").write_bytes(b"gr\xfc\xdfe")
    place.write("config.yaml", f"server_api_key: {value}\n")
    (problem,) = place.problems()
    assert expected in problem
    assert "canary" not in problem


# -------------------------------------------------------------------------------------------------- modes, demo, proxies


@pytest.mark.parametrize(
    ("name", "text", "warned"),
    [
        (".env", "SERVER_API_KEY=k", True),
        (".env", "SERVER_API_KEY=", False),
        (".env", "PORT=1", False),
        ("config.json", json.dumps({"providers": [PROVIDER]}), True),
        ("config.yaml", "ak: k", True),
        ("config.yaml", "ak: env:HOME", False),
        ("servers.yaml", "cn: {api_key: k}", True),
        ("servers.yaml", "cn: {region: k}", False),
    ],
)
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604])
def test_a_key_that_others_can_read_draws_a_warning(place: Place, name: str, text: str, warned: bool, mode: int) -> None:
    path = place.write(name, text)
    path.chmod(mode)
    warnings = [warning for warning in place.load().warnings if "holds a key" in warning]
    assert bool(warnings) is (warned and mode != 0o600)
    assert all(f"chmod 600 {path}" in warning and f"mode {mode:o}" in warning for warning in warnings)


def test_the_demonstration_upstream_takes_the_place_of_every_other(place: Place) -> None:
    place.write("config.json", json.dumps({"providers": [PROVIDER]}))
    place.write("servers.yaml", "mine: {endpoint: relay.example, api_key: sk-mine}")
    found = place.load(
        "--demo", "--host", "0.0.0.0", UPSTREAM_BASE="https://elsewhere.example", SERVER_API_KEY="sk-real", PROXY_SERVER="mine"
    )
    assert found.demo
    assert found.settings.demo
    settings = found.with_demo_upstream(4711).settings
    assert settings.upstream_base == "http://127.0.0.1:4711/api/anthropic"
    assert settings.openai_upstream_base == "http://127.0.0.1:4711/api/paas/v4"
    assert (settings.server_api_key, settings.proxy_server, settings.providers, settings.provider_only) == (
        "demo",
        "international",
        (),
        False,
    )
    assert settings.demo
    assert "sk-real" not in repr(settings)
    assert not place.load().demo


def test_proxies_come_from_the_environment_and_from_dotenv(place: Place) -> None:
    place.write(".env", "HTTP_PROXY=http://of-dotenv:1\nHTTPS_PROXY=http://of-dotenv:1\n")
    proxies = place.load(HTTPS_PROXY="proxy:3128").proxies
    assert (proxies.https, proxies.http) == (Proxy("http", "proxy", 3128), Proxy("http", "of-dotenv", 1))


def test_a_wrong_proxy_address_is_a_problem_of_the_settings(place: Place) -> None:
    assert place.problems(HTTPS_PROXY="socks5://me:secret@proxy") == [
        "environment: HTTPS_PROXY: expected http://host:port or https://host:port"
    ]
