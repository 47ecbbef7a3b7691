"""What a provider's preset changes in a request: the names of fields, what is asked for unasked, and what has to be left out."""

from __future__ import annotations

from typing import Any

import pytest

from core.dialects import PRESETS
from core.gateway import Gateway
from core.settings import Settings
from core.settings.upstreams import Bases, Model, Provider
from tests.core.exchanges import CHAT, MESSAGES
from tests.core.plans import Planned, planned

#: An address that says nothing about who is there.
RELAY = "https://relay.example/v1"


def provided(wire: Any, preset: str, body: dict[str, Any], *, model: str = "there", bases: Bases | None = None, **more: Any) -> Planned:
    """A request to a provider of a preset."""
    provider = Provider("p", bases or Bases(openai=RELAY), (Model("here", model, "here"),), "key", preset=preset, **more)
    at = Gateway(Settings(providers=(provider,)))
    (to,) = at.route("here", images=False, wire=wire)
    return planned(wire, {"max_tokens": 9000, **body}, to, at=at)


@pytest.mark.parametrize(
    ("preset", "model", "expected"),
    [
        ("generic", "gpt-5", {"max_tokens": 9000, "temperature": 0.5, "top_p": 0.9, "stop": ["a", "b"]}),
        ("openai", "gpt-4.1", {"max_completion_tokens": 9000, "temperature": 0.5, "top_p": 0.9, "stop": ["a", "b"]}),
        ("openai", "gpt-5", {"max_completion_tokens": 9000}),
        ("openai", "o3", {"max_completion_tokens": 9000}),
        ("zai", "glm-4.6", {"max_tokens": 9000, "temperature": 0.5, "top_p": 0.9, "stop": ["a"], "thinking": {"type": "enabled"}, "tool_stream": True}),
        ("deepseek", "deepseek-chat", {"max_tokens": 9000, "temperature": 0.5, "top_p": 0.9, "stop": ["a", "b"]}),
        ("moonshot", "kimi-k2", {"max_tokens": 9000, "temperature": 0.5, "top_p": 0.9, "stop": ["a", "b"]}),
        ("openrouter", "z-ai/glm-5", {"max_tokens": 9000, "temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop": ["a", "b"]}),
        ("ollama", "qwen3", {"max_tokens": 9000, "temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop": ["a", "b"]}),
        ("vllm", "qwen3", {"max_tokens": 9000, "temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop": ["a", "b"]}),
    ],
)  # fmt: skip
def test_a_messages_request_in_the_words_of_a_preset(preset: str, model: str, expected: dict[str, Any]) -> None:
    tools = [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]
    body = {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop_sequences": ["a", "b"], "stream": True, "tools": tools}
    made = provided(MESSAGES, preset, body, model=model).body
    options = made.pop("stream_options")
    assert options["include_usage"] is True
    assert ("continuous_usage_stats" in options) is (preset == "vllm")
    assert {name: value for name, value in made.items() if name not in ("model", "messages", "stream", "tools")} == expected


@pytest.mark.parametrize(
    ("preset", "field"),
    [
        ("generic", "reasoning_content"),
        ("openai", None),
        ("zai", "reasoning_content"),
        ("deepseek", "reasoning_content"),
        ("moonshot", "reasoning_content"),
        ("openrouter", "reasoning_details"),
        ("ollama", "reasoning"),
        ("vllm", "reasoning"),
    ],
)
def test_reasoning_goes_back_in_the_field_of_a_preset(preset: str, field: str | None) -> None:
    use = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
    turns = [
        {"role": "user", "content": "Look"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": ""}, use]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "seen"}]},
    ]
    turn = provided(MESSAGES, preset, {"messages": turns}).body["messages"][1]
    assert [name for name in turn if name.startswith("reasoning")] == ([] if field is None else [field])


@pytest.mark.parametrize("preset", PRESETS)
def test_a_chat_request_passes_with_the_name_of_the_model_changed_and_what_is_injected(preset: str) -> None:
    body = {"model": "here", "max_tokens": 9, "temperature": 0.5, "stop": ["a"] * 20, "logit_bias": {"1": 2}, "new": [1.0]}
    made = provided(CHAT, preset, body, model="gpt-5").body
    hello = {"messages": [{"role": "user", "content": "Hello"}]}
    assert made == {**body, **hello, "model": "gpt-5"} | ({"thinking": {"type": "enabled"}} if preset == "zai" else {})


@pytest.mark.parametrize("preset", PRESETS)
def test_a_chat_stream_is_asked_for_its_usage_at_any_preset(preset: str) -> None:
    assert provided(CHAT, preset, {"stream": True}).body["stream_options"] == {"include_usage": True}


def test_a_generic_provider_is_never_told_to_think_wherever_it_is() -> None:
    for base in (RELAY, "https://api.z.ai/api/paas/v4"):
        for wire in (MESSAGES, CHAT):
            assert "thinking" not in provided(wire, "generic", {}, bases=Bases(openai=base), model="glm-4.6").body


@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
def test_a_messages_provider_has_a_default_limit_and_headers_of_its_own(wire: Any) -> None:
    more: dict[str, Any] = {"bases": Bases(anthropic="https://relay.example"), "headers": {"x-title": "t", "x-api-key": "evil"}}
    made = provided(wire, "anthropic", {"max_tokens": None}, model="claude-opus-4-8", **more)
    assert made.body["max_tokens"] == 1024
    assert provided(wire, "anthropic", {"max_tokens": None}, default_max_tokens=77, **more).body["max_tokens"] == 77
    headers = made.plan.request.headers
    assert (b"x-title", b"t") in headers
    assert [value for name, value in headers if name == b"x-api-key"] == [b"key"]
