"""Thinking in its four forms, and effort, in the words of every style of upstream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.core.translate.lowering import Json, dialect, lossy, lowered, translate

ABSENT: Json = {}
OFF: Json = {"thinking": {"type": "disabled"}}
ADAPTIVE: Json = {"thinking": {"type": "adaptive"}}
BETWEEN: Json = {"thinking": {"type": "between_tools"}}


def budget(tokens: int) -> Json:
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


def effort(value: str) -> Json:
    return {"output_config": {"effort": value}}


def said(request: Json, target: Any) -> Json:
    """The members about thinking that the upstream gets."""
    found = json.loads(translate(request, target).body)
    return {name: found[name] for name in ("thinking", "reasoning_effort", "reasoning", "chat_template_kwargs") if name in found}


ON, NO = {"thinking": {"type": "enabled"}}, {"thinking": {"type": "disabled"}}


@pytest.mark.parametrize(
    ("target", "request_", "expected"),
    [
        *(
            pytest.param(target, ABSENT, {}, id=f"nothing is nothing ({target})")
            for target in ("openai-reasoning", "glm", "vllm", "openrouter", "openai")
        ),
        # reasoning_effort
        pytest.param("openai-reasoning", OFF, {"reasoning_effort": "none"}, id="effort: off"),
        pytest.param("openai-gpt5", OFF, {"reasoning_effort": "minimal"}, id="effort: off where there is no none"),
        pytest.param("openai-o", OFF, {}, id="effort: off where there is neither"),
        pytest.param("openai-reasoning", {**OFF, **effort("high")}, {"reasoning_effort": "none"}, id="effort: off rules over an effort"),
        pytest.param("openai-reasoning", budget(4096), {"reasoning_effort": "high"}, id="effort: a budget of 4096"),
        pytest.param("openai-reasoning", budget(4095), {"reasoning_effort": "medium"}, id="effort: a budget of 4095"),
        pytest.param("openai-reasoning", budget(2048), {"reasoning_effort": "medium"}, id="effort: a budget of 2048"),
        pytest.param("openai-reasoning", budget(2047), {"reasoning_effort": "low"}, id="effort: a budget of 2047"),
        pytest.param("openai-reasoning", budget(1024), {"reasoning_effort": "low"}, id="effort: a budget of 1024"),
        pytest.param("openai-reasoning", budget(1023), {"reasoning_effort": "minimal"}, id="effort: a budget of 1023"),
        pytest.param("openai-reasoning", ADAPTIVE, {}, id="effort: adaptive is the model's choice"),
        pytest.param(
            "openai-reasoning", {**ADAPTIVE, **effort("xhigh")}, {"reasoning_effort": "xhigh"}, id="effort: adaptive with an effort"
        ),
        pytest.param(
            "openai-reasoning", {**BETWEEN, **effort("low")}, {"reasoning_effort": "low"}, id="effort: between tools with an effort"
        ),
        pytest.param("openai-reasoning", effort("max"), {"reasoning_effort": "max"}, id="effort: an effort alone"),
        pytest.param("openai-gpt5", effort("max"), {"reasoning_effort": "high"}, id="effort: the strongest there is"),
        # thinking {type}
        pytest.param("glm", OFF, NO, id="toggle: off"),
        pytest.param("deepseek", {**OFF, **effort("high")}, NO, id="toggle: no effort beside off"),
        pytest.param("glm-relay", {**OFF, **effort("high")}, NO, id="toggle: no effort beside off at a relay"),
        pytest.param("glm", budget(5000), ON, id="toggle: a budget"),
        pytest.param("glm", ADAPTIVE, ON, id="toggle: adaptive"),
        pytest.param("glm", BETWEEN, ON, id="toggle: between tools"),
        pytest.param(
            "glm-relay", {**ADAPTIVE, **effort("low")}, {**ON, "reasoning_effort": "low"}, id="toggle: an effort where it is known"
        ),
        # chat_template_kwargs
        pytest.param("vllm", OFF, {"chat_template_kwargs": {"enable_thinking": False}}, id="template: off"),
        pytest.param("vllm", ADAPTIVE, {"chat_template_kwargs": {"enable_thinking": True}}, id="template: adaptive"),
        pytest.param("vllm", BETWEEN, {"chat_template_kwargs": {"enable_thinking": True}}, id="template: between tools"),
        pytest.param(
            "vllm", effort("max"), {"chat_template_kwargs": {"enable_thinking": True}, "reasoning_effort": "high"}, id="template: effort"
        ),
        # reasoning {...}
        pytest.param("openrouter", OFF, {"reasoning": {"enabled": False}}, id="options: off"),
        pytest.param("openrouter", {**budget(5000), "max_tokens": 5001}, {"reasoning": {"max_tokens": 5000}}, id="options: a budget"),
        pytest.param(
            "openrouter", {**budget(5000), "max_tokens": 5000}, {"reasoning": {"max_tokens": 4999}}, id="options: below the limit"
        ),
        pytest.param(
            "openrouter", {**budget(5000), "max_tokens": 1025}, {"reasoning": {"max_tokens": 1024}}, id="options: just above the least"
        ),
        pytest.param(
            "openrouter", {**budget(5000), "max_tokens": 1024}, {"reasoning": {"effort": "high"}}, id="options: no room for a budget"
        ),
        pytest.param("openrouter", {**budget(5000), "max_tokens": None}, {"reasoning": {"max_tokens": 5000}}, id="options: no limit"),
        pytest.param("openrouter", ADAPTIVE, {"reasoning": {"enabled": True}}, id="options: adaptive"),
        pytest.param("openrouter", {**ADAPTIVE, **effort("high")}, {"reasoning": {"effort": "high"}}, id="options: effort"),
        # nothing at all
        pytest.param("openai", OFF, {}, id="none: off is what it is anyway"),
        pytest.param("openai", budget(5000), {}, id="none: on"),
    ],
)
def test_thinking(target: str, request_: Json, expected: Json) -> None:
    assert said(request_, target) == expected


@pytest.mark.parametrize("request_", [budget(5000), ADAPTIVE, effort("high")])
def test_thinking_where_there_is_none_is_reported(request_: Json) -> None:
    assert [loss.what for loss in translate(request_, "openai").losses] != []


@pytest.mark.parametrize("target", ["glm", "deepseek", "moonshot"])
@pytest.mark.parametrize("form", [ABSENT, ADAPTIVE, BETWEEN, budget(5000)])
def test_an_effort_the_upstream_cannot_be_told_is_reported(target: str, form: Json) -> None:
    found, losses = lossy({**form, **effort("high")}, target)
    assert (found["thinking"], losses) == ({"type": "enabled"}, [("output_config.effort", "effort")])


def test_an_effort_that_is_none_is_reported() -> None:
    assert lossy(effort("gigantic"), "openai-reasoning")[1] == [("output_config.effort", "effort")]


@pytest.mark.parametrize("target", ["glm", "openai-reasoning", "vllm", "openrouter", "glm-relay"])
@pytest.mark.parametrize("request_", [{**OFF, **effort("high")}, ADAPTIVE, BETWEEN, budget(5000)])
def test_what_is_carried_or_ruled_out_is_no_loss(target: str, request_: Json) -> None:
    assert translate(request_, target).losses == ()


def test_a_hidden_display_asks_the_upstream_for_nothing_more() -> None:
    shown = lowered({"thinking": {"type": "adaptive", "display": "omitted"}}, dialect("glm"))
    assert shown["thinking"] == {"type": "enabled"}


@pytest.mark.parametrize(
    ("name", "request_", "expected"),
    [
        pytest.param("glm", {}, {"type": "enabled"}, id="GLM thinks unless told otherwise"),
        pytest.param("glm-relay", {}, {"type": "enabled"}, id="so does a server of GLM elsewhere"),
        pytest.param("glm", {"thinking": {"type": "disabled"}}, {"type": "disabled"}, id="the client's own word wins"),
        pytest.param("deepseek", {}, None, id="nobody else is told to"),
    ],
)
def test_a_dialect_may_have_a_default_of_thinking(name: str, request_: Json, expected: Json | None) -> None:
    assert lowered(request_, dialect(name)).get("thinking") == expected
