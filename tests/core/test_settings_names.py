"""Every name and alias of the product is read, from wherever it may stand, and refuses what makes no sense."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest

from core.settings import Form, Settings, SettingsError, Source
from core.settings.fields import fact_of
from core.settings.sources import facts
from core.settings.upstreams import Limits
from tests.core.settings_table import BY_NAME, ROWS, Row

IN_ENVIRONMENT = [pytest.param(row, name, id=name) for row in ROWS for name in row.in_environment]
IN_FILES = [pytest.param(row, name, id=name) for row in ROWS for name in row.in_files]


def said(form: Form, values: dict[str, Any]) -> Settings:
    return Settings.from_sources([Source("there", form, values)]).settings


def test_the_code_has_the_names_of_the_product_and_no_others() -> None:
    assert [name for name, _ in facts()] == [one.name for one in fields(Settings) if fact_of(one) is not None]
    assert {name.upper() for name, _ in facts()} == BY_NAME.keys()
    assert len(ROWS) == len(BY_NAME)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_default_is_the_promised_one(row: Row) -> None:
    default = getattr(Settings(), row.field)
    if row.name == "IMAGE_AGE_TRUNCATION_MESSAGE":
        assert default == "[Previous images in conversation context: {descriptions}]"
    else:
        assert default == row.default
        assert type(default) is type(row.default)


@pytest.mark.parametrize(("row", "name"), IN_ENVIRONMENT)
@pytest.mark.parametrize("form", [Form.VARIABLES, Form.DOTENV])
def test_a_name_is_read_from_the_environment(row: Row, name: str, form: Form) -> None:
    settings = said(form, {name: f" {row.text} "})
    assert getattr(settings, row.field) == row.value
    assert settings.explicit == {row.field}


@pytest.mark.parametrize(("row", "name"), IN_FILES)
def test_a_name_is_read_from_a_file(row: Row, name: str) -> None:
    settings = said(Form.FILE, {name: row.native})
    expected = (
        row.value if row.name not in ("ENV_DETAILS_PATTERNS", "STATS_STORE") else {"STATS_STORE": "sqlite:///x"}.get(row.name, ("a|b", "c"))
    )
    assert getattr(settings, row.field) == expected
    assert settings.explicit == {row.field}


@pytest.mark.parametrize(("row", "name"), [one for one in IN_ENVIRONMENT if one.values[0].illegal is not None])  # type: ignore[union-attr]
def test_a_name_refuses_nonsense_from_the_environment(row: Row, name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        said(Form.VARIABLES, {name: row.illegal})
    (problem,) = caught.value.problems
    assert problem.startswith(f"there: {name}: found ")
    assert "expected" in problem
    assert row.secret is (str(row.illegal) not in problem)


@pytest.mark.parametrize(("row", "name"), IN_FILES)
def test_a_name_refuses_nonsense_from_a_file(row: Row, name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        said(Form.FILE, {name: row.illegal_native})
    (problem,) = caught.value.problems
    assert problem.startswith(f"there: {name}")
    assert "expected" in problem or "did you mean" in problem


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("nothing", ["", "  ", None])
def test_nothing_is_no_value(row: Row, nothing: str | None) -> None:
    if nothing is not None:
        assert said(Form.VARIABLES, dict.fromkeys(row.in_environment, nothing)) == Settings()
    assert said(Form.FILE, dict.fromkeys(row.in_files, nothing)) == Settings()


@pytest.mark.parametrize("row", [row for row in ROWS if any(alias.islower() for alias in row.aliases)], ids=lambda row: row.name)
def test_the_short_names_of_files_mean_nothing_in_the_environment(row: Row) -> None:
    names = [alias for alias in row.aliases if alias.islower() and alias.upper() != row.name]
    assert said(Form.VARIABLES, {spelled: row.text for name in names for spelled in (name, name.upper())}) == Settings()


@pytest.mark.parametrize("row", [row for row in ROWS if not row.file], ids=lambda row: row.name)
def test_what_says_where_files_are_cannot_stand_in_one(row: Row) -> None:
    with pytest.raises(SettingsError, match=f"there: {row.field}: expected in the environment or as a flag"):
        said(Form.FILE, {row.field: row.text})


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.name.endswith("_JSON") and isinstance(row.default, dict | tuple)], ids=lambda row: row.name
)
def test_a_structure_may_be_json_in_a_file_too(row: Row) -> None:
    assert getattr(said(Form.FILE, {row.field: json.dumps(row.native)}), row.field) == row.value


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        *(("PROXY_HEADERS", text, False) for text in ("0", "false", "No", "OFF")),
        *(("ALLOW_OPEN_RELAY", text, True) for text in ("1", "TRUE", "yes", "on")),
        ("UPSTREAM_KEY_CONCURRENCY", "Auto", "auto"),
        ("UPSTREAM_KEY_CONCURRENCY", "0", 0),
        ("NEUTRALIZE_VOLATILE_SYSTEM", "on", True),
        ("FORCE_ANTHROPIC_BETA", "true", True),
        ("PROVIDER_ONLY", "auto", False),
        ("LOG_LEVEL", " debug ", "DEBUG"),
        ("LOG_LEVEL", "Warn", "WARNING"),
        ("HOST", "[::1]", "::1"),
        ("HOST", "proxy.example", "proxy.example"),
        ("UPSTREAM_BASE", "http://[::1]:8080/x/", "http://[::1]:8080/x"),
        ("CORS_ORIGINS", "*", ("*",)),
        ("IMAGE_AGE_THRESHOLD", "-1", -1),
        ("ENV_DETAILS_PATTERNS", '["a", "b"]', ("a", "b")),
        ("ENV_DETAILS_PATTERNS", "[ab]+", ("[ab]+",)),
        ("IMAGE_AGE_TRUNCATION_MESSAGE", "{{{descriptions}}}", "{{{descriptions}}}"),
        ("STATS_STORE", "sqlite:///x.db", "sqlite:///x.db"),
        ("STATS_STORE", "rediss://h", "rediss://h"),
        ("MODEL_LIMITS_JSON", '{"_": "a remark", "$x": 1}', {}),
    ],
)
def test_a_value_is_understood(name: str, text: str, value: object) -> None:
    assert getattr(said(Form.VARIABLES, {name: text}), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "native", "value"),
    [
        ("proxy_headers", "off", False), ("proxy_headers", 0, False), ("allow_open_relay", 1, True),
        ("connect_timeout", 7, 7.0), ("allowed_hosts", "a,b", ("a", "b")), ("env_details_patterns", "a|b", ("a|b",)),
        ("upstream_key_concurrency", "auto", "auto"), ("model_limits", {"m": {"max_tokens": None, "_x": 1}}, {"m": Limits()}),
    ],
)  # fmt: skip
def test_a_native_value_is_understood(name: str, native: Any, value: object) -> None:
    field = {"model_limits": "model_limits_json"}.get(name, name)
    assert getattr(said(Form.FILE, {name: native}), field) == value


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("PORT", "65536", "a whole number from 0 to 65535"),
        ("PORT", "-1", "a whole number from 0 to 65535"),
        ("PORT", "5000.0", "a whole number"),
        ("PORT", "5_000", "a whole number"),
        ("CONNECT_TIMEOUT", "nan", "a number from 0 to 86400"),
        ("CONNECT_TIMEOUT", "inf", "a number from 0 to 86400"),
        ("MAX_REQUEST_SIZE_MB", "0", "a number from 0.001 to 1024"),
        ("DEFAULT_MAX_TOKENS", "0", "a whole number from 1 to 100000000"),
        ("UPSTREAM_KEY_CONCURRENCY", "some", "a whole number from 0 to 1000000, or auto"),
        ("PROXY_HEADERS", "maybe", "true or false (1/0, yes/no, on/off)"),
        ("BACKEND", "twisted", "one of asyncio, trio"),
        ("LOG_LEVEL", "warned", "one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        *(("HOST", host, "a name or an address, such as") for host in ("a b", "\x1b[31mred", "[::1", "[]", "http://x", "a\x00b")),
        ("OPENAI_MODELS_LIST_JSON", "glm-4.6", 'JSON such as ["glm-4.6"]'),
        ("OPENAI_MODELS_LIST_JSON", "{}", 'a JSON list of strings, such as ["glm-4.6"]'),
        ("MODEL_MAP_JSON", "[]", "names of models, such as"),
        ("MODEL_LIMITS_JSON", "\ud800", "JSON such as"),
        ("UPSTREAM_BASE", "api.z.ai", "an http:// or https:// URL"),
        ("UPSTREAM_BASE", "ftp://x", "an http:// or https:// URL"),
        ("UPSTREAM_BASE", "http://", "an http:// or https:// URL"),
        ("UPSTREAM_BASE", "http://[::1", "an http:// or https:// URL"),
        ("UPSTREAM_BASE", "http://x:port", "an http:// or https:// URL"),
        ("UPSTREAM_BASE", "http://x:0", "an http:// or https:// URL"),
        ("UPSTREAM_BASE", "http://x\r\ny", "an http:// or https:// URL"),
        ("UPSTREAM_BASE", "http://gr\xfc\xdfe", "an http:// or https:// URL"),
        ("OPENAI_UPSTREAM_BASE", "http://x/?", "a URL without credentials, query or fragment"),
        ("OPENAI_UPSTREAM_BASE", "http://x/#", "a URL without credentials, query or fragment"),
        ("UPSTREAM_DIALECT", "klingon", "one of generic, glm"),
        ("ANTHROPIC_VERSION", "2023\r\nx: y", "visible ASCII characters without spaces"),
        ("HEALTH_CHECK_PATH", "/a?", "a path that begins with /"),
        ("CORS_ORIGINS", "ftp://x", "origins such as"),
        ("CORS_ORIGINS", "http://x/path", "origins such as"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, here", "addresses or networks such as"),
        ("STATS_STORE", "sqlite://x", "sqlite, sqlite:///path or redis://"),
        ("STATS_STORE", "redis://", "sqlite, sqlite:///path or redis://"),
        ("ENV_DETAILS_PATTERNS", "(", "a regular expression (missing )"),
        ("IMAGE_AGE_TRUNCATION_MESSAGE", "{descriptions!r}", "no placeholders but {descriptions}, {description}, {threshold}"),
        ("IMAGE_AGE_TRUNCATION_MESSAGE", "{description:>9}", "no placeholders but"),
        ("IMAGE_AGE_TRUNCATION_MESSAGE", "{description.x}", "no placeholders but"),
        ("IMAGE_AGE_TRUNCATION_MESSAGE", "{", "no placeholders but"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_found_and_what_is_expected(name: str, text: str, expected: str) -> None:
    with pytest.raises(SettingsError) as caught:
        said(Form.VARIABLES, {name: text})
    (problem,) = caught.value.problems
    found = "a secret of" if name == "STATS_STORE" else ascii(text)
    assert problem.startswith(f"there: {name}: found {found}")
    assert f"expected {expected}" in problem
    assert problem.isprintable()


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"port": "8888"}, "port: found '8888', expected a whole number from 0 to 65535"),
        ({"port": 5000.5}, "port: found 5000.5, expected a whole number from 0 to 65535"),
        ({"port": True}, "port: found true, expected a whole number from 0 to 65535"),
        ({"host": 5}, "host: found 5, expected a name or an address; in a file, put it in quotes"),
        ({"host": ["a"]}, "host: found a list, expected a name or an address"),
        ({"host": {"a": 1}}, "host: found an object, expected a name or an address"),
        ({"host": b"x"}, "host: found a bytes, expected a name or an address; in a file, put it in quotes"),
        ({"proxy_headers": []}, "proxy_headers: found a list, expected true or false"),
        ({"ak": 5}, "ak: found a number in place of a secret, expected text without spaces; in a file, put it in quotes"),
        ({"allowed_hosts": {"a": 1}}, "allowed_hosts: found an object, expected a list of names"),
        ({"openai_models_list_json": ["a", 5, "b"]}, "openai_models_list_json[1]: found 5, expected text; in a file, put it in quotes"),
        ({"model_map_json": {"a": " "}}, "model_map_json.a: found ' ', expected text"),
        ({"model_limits": {"glm-4.6": {"max_tokens": 0}}}, "model_limits['glm-4.6'].max_tokens: found 0, expected a whole number from 1 to 1000000000"),
        ({"model_limits": {"m": {"max_token": 1}}}, "model_limits.m.max_token: unknown key, did you mean max_tokens?"),
        ({"model_limits": {"m": {"zzz": 1}}}, "model_limits.m.zzz: unknown key, expected one of max_input_tokens, max_tokens"),
        ({"model_limits": {"m": 5}}, "model_limits.m: found a number, expected an object"),
        ({"prices": {"m": {"input": "free"}}}, "prices.m.input: found 'free', expected a number from 0 to 1000000"),
        ({"env_details_patterns": {}}, "env_details_patterns: found an object, expected a list of regular expressions"),
    ],
)  # fmt: skip
def test_a_wrong_value_of_a_file_is_named_by_its_place(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        said(Form.FILE, values)
    assert caught.value.problems == [f"there: {problem}"]
