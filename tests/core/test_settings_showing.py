"""What messages show of values: enough to find them, and no key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.settings import Form, Settings, SettingsError, Source
from core.settings.showing import shown_value, without_secrets


@pytest.mark.parametrize(
    "text",
    [
        "glm-4.6", "claude-3-5-sonnet-20241022", "Qwen2.5-Coder-32B-Instruct", "condensation_default_strategy", "x" * 300,
        "http://127.0.0.1:5000/api/coding/paas/v4", "https://open.bigmodel.cn/api/anthropic", "/var/lib/anthropic-proxy/config.yaml",
        "task-force", "two words", "2023-06-01", "international", "::1", "10.0.0.0/8, here", "", "1700000000",
    ],
)  # fmt: skip
def test_what_people_write_is_shown(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sk-canary", "..."),
        ("sk-ant-api03-canary_canary-AA", "..."),
        ("x=sk-canary.canary", "x=..."),
        ("gsk_canary", "..."),
        ("hf_canaryCANARY", "..."),
        (f"{'0a' * 16}.canary1234567890", "..."),
        ("AIzaSyD-9canaryRce72PouQMnMX-a7eZSW0jk", "..."),
        ("canary00-e29b-41d4-a716-446655440000", "canary00-e29b-41d4-a716-446655440000"),  # no hex digits
        ("550e8400-e29b-41d4-a716-446655440000", "..."),
        ("canary7f1e9b2c4d6a", "..."),
        ("Bearer canary7f1e9b2c4d6a", "Bearer ..."),
        ("canaryQWERTZUIOPASDFGHJKL", "..."),
        ("c2VjcmV0LWNhbmFyeS1jYW5hcnk=", "..."),
        ("http://me:canary@host:80/path", "http://...@host:80/path"),
        ("http://me:can@ary@host/path", "http://...@host/path"),
        ("me:canary@host", "...@host"),
        ("http://me:ca/nary@host", "http://..."),
        ("http://me:ca?nary@host", "http://..."),
        ("http://host/?key=me@canary", "http://..."),
        ("https://host/v1?key=canary", "https://host/v1?..."),
        ("host/v1?key=canary#x", "host/v1?..."),
        ("https://host/v1#canary", "https://host/v1#..."),
        ("https://host/?a\ncanary", "https://host/?..."),
        ("http://a//b:canary@c", "..."),
    ],
)
def test_what_may_be_a_key_is_not_shown(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\nb", "'a\\nb'"),
        ("gr\u00fcn", "'gr\\xfcn'"),
        (True, "true"),
        (7, "7"),
        (None, "nothing"),
        ({}, "an object"),
        ("x" * 300, f"'{'x' * 200}'"),
    ],
)
def test_a_value_is_shown_on_one_line(value: object, shown: str) -> None:
    assert shown_value(value) == shown


@given(before=st.sampled_from(["", "a ", "url=", "x/"]), key=st.from_regex(r"[a-z]{3}[0-9]{3}[A-Za-z0-9]{20}", fullmatch=True))
def test_a_random_key_is_not_shown_wherever_it_stands(before: str, key: str) -> None:
    assert key not in without_secrets(f"{before}{key} and more")
    assert key not in shown_value("y" * 150 + " " + key)


KEY = "sk-canary-canary-canary"


@pytest.mark.parametrize(
    "values",
    [
        {"providers": "canary"},
        {"providers": ["canary"]},
        {"providers": [{"headers": "Authorization: canary"}]},
        {"providers": [{"headers": {"x-a": "can\nary"}}]},
        {"providers": [{"models": ["canary"]}]},
        {"providers": [{"base_url": "https://h/v1?key=canary"}]},
        {"providers": [{"base_urls": {"openai": "https://h/v1#canary"}}]},
        {"providers": [{"base_url": "https://me:canary@h/v1"}]},
        {"providers": [{"name": [KEY], "preset": KEY}]},
        {"providers": [{"models": [{"id": KEY}, {"id": KEY}]}]},
        {"ak": ["canary"]},
        {"model_map_json": KEY},
        {"prices": {"m": "canary"}},
        {KEY: 1},
        {"canary0123456789canary": 1},
        {"failover_targets": {"canary": 1}, "port": KEY},
    ],
)
def test_no_message_about_a_file_shows_a_key(values: dict[str, object]) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_sources([Source("f", Form.FILE, values)])
    assert "canary" not in str(caught.value)


def test_a_server_that_is_no_object_is_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_sources([Source("f", Form.SERVERS, {"x": "canary"})])
    assert caught.value.problems == ["f: x: found text, expected an object"]


def test_a_line_of_dotenv_that_begins_with_a_key_is_not_shown() -> None:
    reading = Settings.from_sources([Source(".env", Form.DOTENV, {"canary0123456789canary": "="})])
    assert reading.warnings == (".env: unknown names, left alone: ...",)
