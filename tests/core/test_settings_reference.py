"""The reference page and the example files say what the code does."""

from __future__ import annotations

import json
import re

from core.settings import Form, Settings, Source, reference
from core.settings.sources import facts
from transports.config import dotenv
from transports.config.reference import FILES


def test_the_files_are_in_step_with_the_code() -> None:
    for path, text in FILES.items():
        assert path.read_text("utf-8") == text(), f"run python -m transports.config.reference: {path.name}"


def test_the_page_has_every_setting_with_its_aliases() -> None:
    rows = dict(re.findall(r"^\| `([A-Z0-9_]+)`(.*)$", reference.page(), re.MULTILINE))
    assert rows.keys() == {name.upper() for name, _ in facts()}
    for name, fact in facts():
        assert all(f"`{alias}`" in rows[name.upper()] for alias in fact.aliases)
        assert ("*not yet*" in rows[name.upper()]) is bool(fact.feature)
        assert rows[name.upper()].count(" | ") == 3


def test_the_example_of_the_environment_sets_nothing_and_every_line_of_it_is_legal() -> None:
    text = reference.dotenv_example()
    assert dotenv.parse(text).values == {}
    uncommented = dotenv.parse(re.sub(r"^#([A-Z])", r"\1", text, flags=re.MULTILINE))
    assert uncommented.problems == uncommented.warnings == []
    assert uncommented.values.keys() == {name.upper() for name, _ in facts()}
    settings = Settings.from_sources([Source(".env", Form.DOTENV, uncommented.values)]).settings
    assert {name: getattr(settings, name) for name, _ in facts()} == {name: getattr(Settings(), name) for name, _ in facts()}


def test_the_example_of_a_file_is_a_configuration() -> None:
    values = json.loads(reference.json_example())
    reading = Settings.from_sources([Source("config.json", Form.FILE, values)])
    assert [model.id for provider in reading.settings.providers for model in provider.models] == ["m1", "m2", "m3"]
    assert reading.settings.provider_only
