"""Sources of settings: who wins, what is said about names nobody has, and that every problem is said at once without a secret in it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.settings import Form, Reading, Settings, SettingsError, Source
from core.settings.sources import IGNORED, spellings_in_files, stranger

PROVIDER = {"base_url": "https://api.example.com", "api_key": "sk-x", "models": [{"id": "m1"}]}


def variables(name: str = "environment", /, **values: Any) -> Source:
    return Source(name, Form.VARIABLES, values)


def dotenv(**values: Any) -> Source:
    return Source(".env", Form.DOTENV, values)


def file(name: str = "config.yaml", /, **values: Any) -> Source:
    return Source(name, Form.FILE, values)


def read(*sources: Source) -> Reading:
    return Settings.from_sources(sources)


def problems(*sources: Source, found_before: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        Settings.from_sources(sources, found_before)
    return caught.value.problems


ORDERED = [
    (variables("flag --port", PORT="1001"), 1001),
    (variables(PORT="1002"), 1002),
    (dotenv(PORT="1003"), 1003),
    (file("config.json", port=1004), 1004),
    (file("config.yaml", port=1005), 1005),
]


@pytest.mark.parametrize("chosen", [chosen for size in range(6) for chosen in itertools.combinations(ORDERED, size)])
def test_the_first_source_that_sets_a_setting_wins(chosen: tuple[tuple[Source, int], ...]) -> None:
    reading = read(*(source for source, _ in chosen))
    assert reading.settings.port == (chosen[0][1] if chosen else 5000)
    assert reading.origins == ({"port": chosen[0][0].name} if chosen else {})


def test_a_source_is_not_asked_for_more_than_it_says() -> None:
    reading = read(variables(PORT="1", HOST=""), dotenv(HOST="::1"), file(host="x", log_level="ERROR", port=2))
    assert (reading.settings.port, reading.settings.host, reading.settings.log_level) == (1, "::1", "ERROR")
    assert reading.settings.explicit == {"port", "host", "log_level"}


def test_an_alias_above_wins_over_the_name_below() -> None:
    assert read(variables(PROXY_PORT="1"), dotenv(PORT="2")).settings.port == 1
    assert read(variables(PROXY_PORT="1"), dotenv(PORT="2")).warnings == ()


@pytest.mark.parametrize(
    ("source", "warning"),
    [
        (variables(PORT="1", PROXY_PORT="2"), "environment: PORT and PROXY_PORT differ, and PORT counts"),
        (file(port=1, proxy_port=2), "config.yaml: port and proxy_port differ, and port counts"),
        (
            file(proxy_server="cn", current_server="international"),
            "config.yaml: proxy_server and current_server differ, and proxy_server counts",
        ),
    ],
)
def test_a_name_and_an_alias_that_differ_draw_one_warning_and_the_name_counts(source: Source, warning: str) -> None:
    reading = read(source)
    assert reading.settings.port == 1 or reading.settings.proxy_server == "cn"
    assert list(reading.warnings) == [warning]


def test_a_name_and_an_alias_that_say_the_same_draw_none() -> None:
    assert read(variables(REQUEST_TIMEOUT="7", PORT="07", PROXY_PORT="7"), file(upstream_timeout_seconds=7.0)).warnings == ()


def test_what_is_overridden_has_to_be_right_all_the_same() -> None:
    assert problems(variables(PORT="1", PROXY_PORT="x"), file(port="y")) == [
        "environment: PROXY_PORT: found 'x', expected a whole number from 0 to 65535",
        "config.yaml: port: found 'y', expected a whole number from 0 to 65535",
    ]


def test_all_problems_of_all_sources_are_said_at_once() -> None:
    found = problems(
        variables(PORT="x", MODEL_MAP_JSON="{"),
        dotenv(BACKEND="x"),
        file("config.json", prot=1, providers=[{"base_url": "ftp://x", "models": [{"id": 5}, {"remote_id": "r"}]}, 7]),
        Source("servers.yaml", Form.SERVERS, {"mine": {"endpont": "x"}}),
        found_before=("config.yaml: line 3: expected YAML",),
    )
    assert [": ".join(problem.split(": ")[:2]) for problem in found] == [
        "config.yaml: line 3",
        "environment: PORT",
        "environment: MODEL_MAP_JSON",
        ".env: BACKEND",
        "config.json: providers[0].base_url",
        "config.json: providers[0].models[0].id",
        "config.json: providers[0].models[1].id",
        "config.json: providers[1]",
        "config.json: prot",
        "servers.yaml: mine.endpont",
    ]


def test_problems_found_before_are_problems() -> None:
    assert problems(found_before=(".env: cannot be read",)) == [".env: cannot be read"]


# ---------------------------------------------------------------------------------------------------- unknown names


def test_names_of_others_in_the_environment_are_left_alone() -> None:
    reading = read(variables(PATH="/bin", host="1.2.3.4", PORTS="x", AK="k"))
    assert reading.settings == Settings()
    assert reading.warnings == ()


def test_unknown_names_in_dotenv_are_mentioned_with_what_may_be_meant() -> None:
    reading = read(dotenv(SERVER_API_KYE="sk-canary", LINES="x", HTTPS_PROXY="http://p", _NOTE="x", tavily_key="x"))
    assert reading.warnings == (
        ".env: unknown names, left alone: SERVER_API_KYE (did you mean SERVER_API_KEY?), LINES",
        "not needed any more, and ignored: tavily_key",
    )


def test_names_of_dotenv_that_a_file_refers_to_are_known() -> None:
    dotenv = Source(".env", Form.DOTENV, {"EXAMPLE_KEY": "k", "LISTED": "k", "OTHER": "k"}, str)
    provider = {"base_url": "https://a.example", "api_key": "env:EXAMPLE_KEY", "models": [{"id": "m"}]}
    file = Source("config.json", Form.FILE, {"providers": [provider], "allowed_hosts": ["env:LISTED"]}, lambda reference: "k")
    (warning,) = (one for one in Settings.from_sources([dotenv, file]).warnings if "unknown" in one)
    assert warning == ".env: unknown names, left alone: OTHER"


def test_a_flood_of_unknown_names_is_cut() -> None:
    (warning,) = read(dotenv(**{f"NAME{'X' * 200}{index}": "x" for index in range(12)})).warnings
    assert warning.endswith(" and 2 more")
    assert len(warning) < 1200


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"prot": 1}, "config.yaml: prot: unknown key, did you mean port?"),
        ({"PORT": 1}, "config.yaml: PORT: unknown key, did you mean port?"),
        ({"provider": []}, "config.yaml: provider: unknown key, did you mean providers?"),
        ({"cli": {"auto_switch": True}}, "config.yaml: cli.auto_switch: unknown key, did you mean auto_switch_enabled?"),
    ],
)
def test_an_unknown_key_of_a_file_is_a_problem_with_what_may_be_meant(values: dict[str, Any], problem: str) -> None:
    assert problems(file(**values)) == [problem]


def test_an_unknown_key_that_resembles_nothing_names_what_there_is() -> None:
    (problem,) = problems(file(**{"x" * 300: 1}))
    assert problem.startswith(f"config.yaml: {'x' * 100}: unknown key, expected one of host, proxy_host, port,")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"providers": []}, None),
        ({"Provider": 1, "x": 1}, None),
        ({"x": 1, "ak": None}, None),
        ({"PORT": 1}, None),
        ({"upstream_timeout_seconds": 1}, None),
        ({"server_api_key_file": "x"}, None),
        ({"models": {}, "cli": {}}, "found 'models' (did you mean model_limits?), 'cli', and neither providers nor any setting"),
        ({"zz": 1, "prot": 2, "_": 3, "qq": 4, "d": 5}, "found 'zz', 'prot' (did you mean port?), 'qq', ..., and neither"),
        ({"$schema": "x"}, "found nothing, and neither"),
    ],
)
def test_a_file_is_a_strangers_when_none_of_its_keys_is_known(values: dict[str, Any], why: str | None) -> None:
    found = stranger(values)
    assert found == why if why is None else found is not None and found.startswith(why)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("current_server", ("proxy_server", "current_server")),
        ("ak", ("proxy_api_key", "ak", "proxy_api_key_file", "ak_file")),
        ("max_retries", ("max_retries",)),
        ("nothing", ("nothing",)),
    ],
)
def test_a_setting_has_its_names_in_files(name: str, names: tuple[str, ...]) -> None:
    assert spellings_in_files(name) == names


def test_what_each_source_says_is_known_whether_or_not_it_counts() -> None:
    sources = [
        variables(PORT="1", HOST="", WORKERS=""),
        file(port="x", ak="", host=" ", upstream_timeout_seconds=1, request_timeout=1, providers=5, models=None),
        Source("servers.yaml", Form.SERVERS, {"_": 1}),
        Source("other.yaml", Form.SERVERS, {"mine": {"endpoint": "x"}}),
    ]
    reading = Settings.read(sources)
    assert reading.said == {
        "environment": ("port",),
        "config.yaml": ("port", "request_timeout", "providers"),
        "other.yaml": ("servers",),
    }
    assert reading.cleared == {"proxy_api_key", "host"}
    assert reading.unknown == {"providers"}
    assert len(reading.problems) == 2
    assert (reading.place("port"), reading.place("workers"), reading.place("servers", "mine.endpoint")) == (
        "environment: PORT",
        "WORKERS",
        "other.yaml: mine.endpoint",
    )


@pytest.mark.parametrize(
    ("source", "some", "others"),
    [
        (
            Source("x", Form.FILE, {"host": "a"}, broken=True),
            {"workers", "providers", "models"},
            {"host", "port", "servers", "config_path"},
        ),
        (Source("x", Form.DOTENV, {}, broken=True), {"workers", "host", "config_path"}, {"port", "servers", "providers"}),
        (Source("x", Form.SERVERS, {}, broken=True), {"servers"}, {"workers", "port", "providers"}),
        (Source("x", Form.SERVERS, {"a": 5}), {"servers"}, {"workers", "port", "providers"}),
        (Source("x", Form.FILE, {"workers": "x", "port": "x", "host": "a"}), {"workers"}, {"host", "port", "servers"}),
    ],
)
def test_what_a_source_fails_to_say_is_not_known_unless_one_above_says_it(source: Source, some: set[str], others: set[str]) -> None:
    unknown = Settings.read([variables(PORT="1"), source, file("below", workers=1, host="b")]).unknown
    assert some <= unknown
    assert not others & unknown


def test_remarks_are_left_alone_at_every_depth() -> None:
    models = [{"id": "m1", "_": "x", "$schema": 1}]
    values = {"_": 1, "$schema": "x", "providers": [{**PROVIDER, "_x": 1, "models": models}], "cli": {"_y": 1}, "model_map_json": {"_": 5}}
    settings = read(file(**values), Source("servers.yaml", Form.SERVERS, {"_": 1, "$x": 2})).settings
    assert settings.providers[0].models[0].id == "m1"
    assert settings.model_map_json == {}
    assert settings.provider_only


@pytest.mark.parametrize("name", IGNORED)
def test_what_is_not_needed_any_more_is_named_once(name: str) -> None:
    reading = read(variables(**{name: "x"}), dotenv(**{name: "y"}), file(**{name.lower(): 5}))
    assert reading.settings == Settings()
    assert reading.warnings == (f"not needed any more, and ignored: {name}, {name.lower()}",)


# ------------------------------------------------------------------------------------------------------- references


def lookup(reference: str) -> str:
    found = {"env:KEY": "sk-of-env", "file:/run/key": "sk-of-file", "env:PORT_OF_US": "77", "file:bad": "two words"}
    if reference not in found:
        raise LookupError(f"there is no {reference}")
    return found[reference]


def referring(form: Form, values: dict[str, Any]) -> Reading:
    return read(Source("there", form, values, lookup))


@pytest.mark.parametrize("form", [Form.VARIABLES, Form.DOTENV])
def test_a_secret_may_be_in_a_file_that_a_variable_names(form: Form) -> None:
    settings = referring(form, {"SERVER_API_KEY_FILE": " /run/key ", "PROXY_API_KEY_FILE": ""}).settings
    assert settings.server_api_key == "sk-of-file"
    assert settings.proxy_api_key is None
    assert settings.explicit == {"server_api_key"}


def test_a_secret_given_twice_counts_as_it_stands_there() -> None:
    reading = referring(Form.VARIABLES, {"SERVER_API_KEY_FILE": "/run/key", "SERVER_API_KEY": "sk-here"})
    assert reading.settings.server_api_key == "sk-here"
    assert reading.warnings == ("there: SERVER_API_KEY and SERVER_API_KEY_FILE differ, and SERVER_API_KEY counts",)


def test_aliases_of_secrets_may_name_files_too() -> None:
    found = {"file:/run/store": "redis://h"}
    assert read(Source("there", Form.VARIABLES, {"REDIS_URL_FILE": "/run/store"}, found.__getitem__)).settings.stats_store == "redis://h"
    assert referring(Form.FILE, {"ak_file": "/run/key"}).settings.proxy_api_key == "sk-of-file"


def test_only_secrets_may_be_in_files_that_variables_name() -> None:
    assert referring(Form.VARIABLES, {"HOST_FILE": "/run/key"}).settings == Settings()


@pytest.mark.parametrize(
    ("values", "value"),
    [
        ({"server_api_key": "env:KEY"}, "sk-of-env"),
        ({"server_api_key": "file:/run/key"}, "sk-of-file"),
        ({"server_api_key": "enviable"}, "enviable"),
    ],
)
def test_a_value_of_a_file_may_refer_to_another(values: dict[str, Any], value: str) -> None:
    assert referring(Form.FILE, values).settings.server_api_key == value


def test_what_is_referred_to_is_text_and_understood_as_such() -> None:
    assert referring(Form.FILE, {"port": "env:PORT_OF_US"}).settings.port == 77
    settings = referring(Form.FILE, {"providers": [{**PROVIDER, "api_key": "env:KEY"}]}).settings
    assert settings.providers[0].api_key == "sk-of-env"


def test_a_variable_means_what_it_says() -> None:
    assert referring(Form.VARIABLES, {"SERVER_API_KEY": "env:KEY"}).settings.server_api_key == "env:KEY"
    assert referring(Form.DOTENV, {"MODEL_MAP_JSON": '{"a": "env:KEY"}'}).settings.model_map_json == {"a": "env:KEY"}


@pytest.mark.parametrize(
    ("form", "values", "problem"),
    [
        (Form.FILE, {"server_api_key": "env:GONE"}, "there: server_api_key: there is no env:GONE"),
        (Form.FILE, {"providers": [{**PROVIDER, "api_key": "file:gone"}]}, "there: providers[0].api_key: there is no file:gone"),
        (Form.FILE, {"port": "env:KEY"}, "there: port: found '...', expected a whole number from 0 to 65535"),
        (Form.VARIABLES, {"SERVER_API_KEY_FILE": "gone"}, "there: SERVER_API_KEY_FILE: there is no file:gone"),
        (
            Form.VARIABLES,
            {"SERVER_API_KEY_FILE": "bad"},
            "there: SERVER_API_KEY_FILE: found a secret of 9 characters, expected visible ASCII characters without spaces",
        ),
    ],
)
def test_a_reference_that_leads_nowhere_is_a_problem(form: Form, values: dict[str, Any], problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        referring(form, values)
    assert caught.value.problems == [problem]


def test_a_source_that_cannot_look_up_says_so() -> None:
    assert problems(variables(SERVER_API_KEY_FILE="/run/key")) == ["environment: SERVER_API_KEY_FILE: files cannot be read here"]


# -------------------------------------------------------------------------------------------- what follows from what


@pytest.mark.parametrize(
    ("sources", "level", "warnings"),
    [
        ([variables(DEBUG="yes")], "DEBUG", 0),
        ([variables(DEBUG="no", LOG_LEVEL="ERROR")], "ERROR", 0),
        ([variables(DEBUG="yes", LOG_LEVEL="ERROR")], "DEBUG", 1),
        ([variables(DEBUG="yes", LOG_LEVEL="DEBUG")], "DEBUG", 0),
        ([variables("flag --log-level", LOG_LEVEL="ERROR"), variables(DEBUG="yes")], "ERROR", 0),
        ([variables(DEBUG="yes"), file(log_level="ERROR")], "DEBUG", 0),
        ([variables(DEBUG="no"), dotenv(DEBUG="yes")], "INFO", 0),
    ],
)
def test_debug_is_the_log_level_of_its_source(sources: list[Source], level: str, warnings: int) -> None:
    reading = read(*sources)
    assert reading.settings.log_level == level
    assert len(reading.warnings) == warnings


@pytest.mark.parametrize("server", ["inter", "international"])
def test_a_short_name_of_a_server_stands_for_it(server: str) -> None:
    assert read(variables(PROXY_SERVER=server)).settings.proxy_server == "international"


def providers(**more: Any) -> Source:
    return file("config.json", providers=[PROVIDER], **more)


SERVERS = Source("servers.yaml", Form.SERVERS, {"mine": {"endpoint": "x.example"}})


@pytest.mark.parametrize(
    ("sources", "only", "port"),
    [
        ([providers()], True, 8888),
        ([providers(port=7)], True, 7),
        ([variables(PORT="7"), providers()], True, 7),
        ([variables(PROVIDER_ONLY="auto"), providers()], True, 8888),
        ([variables(PROVIDER_ONLY="no"), providers()], False, 5000),
        ([variables(SERVER_API_KEY="k"), providers()], False, 5000),
        ([variables(SERVER_API_KEY="k", PROVIDER_ONLY="yes"), providers()], True, 8888),
        ([dotenv(UPSTREAM_BASE="http://127.0.0.1"), providers()], False, 5000),
        ([providers(openai_upstream_base="http://127.0.0.1")], False, 5000),
        ([providers(autotext_model="glm-4.6")], False, 5000),
        ([providers(), SERVERS], False, 5000),
        ([providers(), Source("servers.yaml", Form.SERVERS, {"_": 1})], True, 8888),
        ([providers(autovision_model="x", current_server="cn")], True, 8888),
        ([SERVERS], False, 5000),
        ([], False, 5000),
    ],
)
def test_providers_alone_mean_that_no_glm_server_is_used(sources: list[Source], only: bool, port: int) -> None:
    settings = read(*sources).settings
    assert (settings.provider_only, settings.port) == (only, port)
    assert ("port" in settings.explicit) is (port == 7)


def test_the_documented_configuration_of_the_earlier_proxy_is_understood() -> None:
    settings = read(
        file(
            "config.json",
            ak="k",
            port=8888,
            upstream_timeout_seconds=300,
            log_body_max_chars=4096,
            log_stream_text_preview_chars=256,
            providers=[{**PROVIDER, "models": [{"id": "m1", "display_name": "M1", "remote_id": "real-1"}, {"id": "m2"}]}],
        )
    ).settings
    assert (settings.proxy_api_key, settings.port, settings.request_timeout, settings.log_body_max_chars) == ("k", 8888, 300, 4096)
    assert settings.provider_only
    assert [(model.id, model.display_name, model.remote_id) for model in settings.providers[0].models] == [
        ("m1", "M1", "real-1"),
        ("m2", "m2", "m2"),
    ]
    assert not settings.enable_request_body_logging


# ---------------------------------------------------------------------------------------------------------- secrets

#: What is in no message by chance.
SECRETS = st.text(st.sampled_from("QXZ\u00e9 \t\\'\"{}[]~"), min_size=12).filter(
    lambda text: len(set(text.strip())) > 3 and len(text.strip()) > 9
)


@given(secret=SECRETS, right=st.booleans())
def test_no_message_and_no_repr_holds_a_secret(secret: str, right: bool) -> None:
    secret = "QXZ-" + secret.encode("ascii", "ignore").hex() if right else secret.strip()
    sources = [
        variables(SERVER_API_KEY=secret, STATS_STORE=f"redis://{secret}"),
        dotenv(PROXY_API_KEY=secret, PROTO=secret),
        file(ak=secret, providers=[{**PROVIDER, "api_key": secret, "headers": {"x-tenant": secret, "cookie": secret}}]),
        Source("servers.yaml", Form.SERVERS, {"cn": {"api_key": secret}, "x": {"api_key": [secret]}}),
    ]
    said = "\n".join(problems(*sources))
    assert secret not in said
    assert ascii(secret)[1:-1] not in said
    assert secret not in repr(sources)
    if right:
        del sources[2].values["providers"][0]["headers"]["cookie"], sources[3].values["x"]  # type: ignore[index, attr-defined, unused-ignore]
        reading = read(*sources)
        assert secret not in repr(reading)
        assert (reading.settings.providers[0].api_key, reading.settings.servers["cn"].api_key) == (secret, secret)


def test_a_key_in_a_wrong_place_and_a_password_in_an_address_are_not_shown() -> None:
    found = problems(
        variables(
            PORT="sk-canary123",
            HEALTH_CHECK_PATH=f"{'0a' * 16}.canary1234567890",
            UPSTREAM_BASE="https://user:canary@x/",
            BACKEND="x" * 1000,
        )
    )
    assert "canary" not in str(found)
    assert "//...@x" in str(found)
    assert all(len(problem) < 300 for problem in found)
