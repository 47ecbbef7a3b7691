"""The official SDKs through the proxy: what programs in the field really do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.e2e.house import House

UPSTREAMS = ("anthropic", "openai")
TOOL: Any = {
    "name": "get_weather",
    "description": "Weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
FUNCTION: Any = {
    "type": "function",
    "function": {"name": TOOL["name"], "description": TOOL["description"], "parameters": TOOL["input_schema"]},
}


@pytest.fixture
def claude(house: House) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=house.url, api_key="client-key", max_retries=0) as client:
        yield client


@pytest.fixture
def gpt(house: House) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key="client-key", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_anthropics_sdk_gets_a_message_plain_and_streamed(claude: anthropic.Anthropic, upstream: str) -> None:
    asked: Any = {"model": f"demo-thinking-{upstream}", "max_tokens": 2000, "messages": [{"role": "user", "content": "hello"}]}
    plain = claude.messages.create(**asked)
    with claude.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    for message in (plain, streamed):
        assert [block.type for block in message.content] == ["thinking", "text"]
        assert (message.stop_reason, message.model) == ("end_turn", asked["model"])
        assert message.usage.input_tokens > 0
        assert message.usage.output_tokens > 0
    assert [block.model_dump() for block in streamed.content] == [block.model_dump() for block in plain.content]
    assert streamed.usage.output_tokens == plain.usage.output_tokens


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_openais_sdk_gets_a_completion_plain_and_streamed(gpt: openai.OpenAI, upstream: str) -> None:
    asked: Any = {"model": f"demo-text-{upstream}", "messages": [{"role": "user", "content": "hello"}]}
    plain = gpt.chat.completions.create(**asked)
    with gpt.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
        streamed = stream.get_final_completion()
    for completion in (plain, streamed):
        assert (completion.choices[0].finish_reason, completion.model) == ("stop", asked["model"])
        assert completion.usage is not None
        assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens > 0
    assert streamed.choices[0].message.content == plain.choices[0].message.content
    assert "hello" in (plain.choices[0].message.content or "")


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_anthropics_sdk_has_a_tool_run_and_its_result_read(claude: anthropic.Anthropic, upstream: str) -> None:
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    model = f"demo-tool-{upstream}"
    with claude.messages.stream(model=model, max_tokens=2000, messages=messages, tools=[TOOL]) as stream:
        asked = stream.get_final_message()
    (call,) = [block for block in asked.content if block.type == "tool_use"]
    assert (asked.stop_reason, call.name) == ("tool_use", "get_weather")
    messages += [
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in asked.content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "21 degrees and sunny"}]},
    ]
    with claude.messages.stream(model=model, max_tokens=2000, messages=messages, tools=[TOOL]) as stream:
        assert "21 degrees and sunny" in stream.get_final_text()


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_openais_sdk_has_a_tool_run_and_its_result_read(gpt: openai.OpenAI, upstream: str) -> None:
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    model = f"demo-tool-{upstream}"
    with gpt.chat.completions.stream(model=model, messages=messages, tools=[FUNCTION]) as stream:
        asked = stream.get_final_completion().choices[0]
    calls: Any = asked.message.tool_calls
    assert asked.finish_reason == "tool_calls"
    assert [call.function.name for call in calls] == ["get_weather"]
    json.loads(calls[0].function.arguments)
    messages += [
        {
            "role": "assistant",
            "tool_calls": [
                {"id": calls[0].id, "type": "function", "function": {"name": "get_weather", "arguments": calls[0].function.arguments}}
            ],
        },
        {"role": "tool", "tool_call_id": calls[0].id, "content": "21 degrees and sunny"},
    ]
    answer = gpt.chat.completions.create(model=model, messages=messages, tools=[FUNCTION])
    assert "21 degrees and sunny" in (answer.choices[0].message.content or "")


ERRORS: list[tuple[int, type[anthropic.APIStatusError], type[openai.APIStatusError]]] = [
    (400, anthropic.BadRequestError, openai.BadRequestError),
    (401, anthropic.AuthenticationError, openai.AuthenticationError),
    (403, anthropic.PermissionDeniedError, openai.PermissionDeniedError),
    (404, anthropic.NotFoundError, openai.NotFoundError),
    (429, anthropic.RateLimitError, openai.RateLimitError),
    (500, anthropic.InternalServerError, openai.InternalServerError),
]


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize(("status", "in_claude", "in_gpt"), ERRORS, ids=lambda value: value if isinstance(value, int) else "")
def test_both_sdks_raise_the_error_of_the_status(
    claude: anthropic.Anthropic, gpt: openai.OpenAI, upstream: str, status: int, in_claude: Any, in_gpt: Any
) -> None:
    model = f"demo-error-{status}-{upstream}"
    messages: Any = [{"role": "user", "content": "hello"}]
    with pytest.raises(in_claude) as first:
        claude.messages.create(model=model, max_tokens=64, messages=messages)
    with pytest.raises(in_gpt) as second, gpt.chat.completions.stream(model=model, messages=messages) as stream:
        stream.get_final_completion()
    for caught in (first.value, second.value):
        assert caught.status_code == status
        assert caught.request_id == caught.response.headers["x-request-id"]
        assert "Simulated" in str(caught)


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_both_sdks_raise_on_a_stream_that_breaks(claude: anthropic.Anthropic, gpt: openai.OpenAI, upstream: str) -> None:
    messages: Any = [{"role": "user", "content": "hello"}]
    with (
        pytest.raises(anthropic.APIError),
        claude.messages.stream(model=f"demo-midstream-{upstream}", max_tokens=64, messages=messages) as stream,
    ):
        stream.get_final_message()
    with pytest.raises(openai.APIError), gpt.chat.completions.stream(model=f"demo-midstream-{upstream}", messages=messages) as chunks:
        chunks.get_final_completion()


def test_an_sdk_that_retries_is_told_when_and_gets_its_answer(house: House) -> None:
    with anthropic.Anthropic(base_url=house.url, api_key="k", max_retries=2) as client:
        message = client.messages.create(
            model="demo-flaky-anthropic", max_tokens=64, messages=[{"role": "user", "content": f"once {house.port}"}]
        )
    assert message.stop_reason == "end_turn"
    assert [house.record().status for _ in range(2)] == [503, 200]


def test_both_sdks_list_the_models_and_count_tokens(claude: anthropic.Anthropic, gpt: openai.OpenAI) -> None:
    names = ["glm-4.6", "glm-4.6-openai", "glm-4.6-anthropic"]
    assert [model.id for model in claude.models.list(limit=2)] == names  # it asks for the second page
    assert [model.id for model in gpt.models.list()] == names
    assert claude.models.retrieve("glm-4.6").display_name == "glm-4.6"
    assert gpt.models.retrieve("glm-4.6").created == 1_234_567_890
    with pytest.raises(openai.NotFoundError):
        gpt.models.retrieve("none")
    assert claude.messages.count_tokens(model="glm-4.6", messages=[{"role": "user", "content": "hello"}]).input_tokens > 0
