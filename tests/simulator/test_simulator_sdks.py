"""The official SDKs against the running simulator: what they accumulate is what was meant."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.simulator.plain_http import TOOLS, WEATHER
from tests.simulator.test_simulator_schemas import conforms
from transports.simulation.answers import LONG, UNICODE
from transports.simulator import ANTHROPIC_PATH, OPENAI_PATH, Simulator

PIXEL = base64.b64encode(b"\x89PNG" + bytes(64)).decode()  # 68 bytes


@pytest.fixture(scope="module")
def claude(simulator: Simulator) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=simulator.url + ANTHROPIC_PATH, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def gpt(simulator: Simulator) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=simulator.url + OPENAI_PATH, api_key="none", max_retries=0) as client:
        yield client


def conversation(content: Any) -> Any:
    """``content`` if it is a list of messages already, else the content of one."""
    return content if isinstance(content, list) and "role" in content[0] else [{"role": "user", "content": content}]


def message_of(client: anthropic.Anthropic, model: str, content: Any = "hello", **more: Any) -> anthropic.types.Message:
    """The streamed message, after making sure that the plain one is the same."""
    messages = conversation(content)
    with client.messages.stream(model=model, max_tokens=2000, messages=messages, **more) as stream:
        streamed = stream.get_final_message()
    plain = client.messages.create(model=model, max_tokens=2000, messages=messages, **more)
    assert dumped(streamed) == dumped(plain)
    return streamed


def dumped(message: anthropic.types.Message) -> Any:
    """What has to be equal whether it was streamed or not: not the ids, which follow from the request."""
    whole = message.model_dump(exclude={"id"})
    for block in whole["content"]:
        block.pop("id", None)
    return whole


def chunks_of(client: openai.OpenAI, model: str, content: Any = "hello", **more: Any) -> Any:
    """The streamed completion, accumulated by the SDK."""
    messages = conversation(content)
    with client.chat.completions.stream(model=model, messages=messages, stream_options={"include_usage": True}, **more) as stream:
        return stream.get_final_completion()


def texts(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def calls(message: anthropic.types.Message) -> list[anthropic.types.ToolUseBlock]:
    return [block for block in message.content if block.type == "tool_use"]


HEALTHY = ["glm-4.7", "demo-text", "demo-slow-0", "demo-crlf", "demo-gzip", "demo-flaky-0"]


@pytest.mark.parametrize("model", HEALTHY)
def test_a_text_says_it_is_simulated(claude: anthropic.Anthropic, gpt: openai.OpenAI, model: str) -> None:
    message = message_of(claude, model)
    assert "simulated answer" in texts(message)
    assert message.stop_reason == "end_turn"
    completion = chunks_of(gpt, model)
    assert "simulated answer" in completion.choices[0].message.content
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens


def test_a_text_echoes_the_question(claude: anthropic.Anthropic, gpt: openai.OpenAI) -> None:
    reminder = [{"type": "text", "text": "a reminder"}, {"type": "text", "text": "What is 2+2?"}]
    assert 'You wrote: "What is 2+2?"' in texts(message_of(claude, "glm-4.7", reminder))
    assert 'You wrote: "What is 2+2?"' in chunks_of(gpt, "glm-4.7", reminder).choices[0].message.content


@pytest.mark.parametrize(("model", "text"), [("demo-tool", "hello"), ("glm-4.7", "please use a tool"), ("glm-4.7", "get_weather in Rome")])
def test_a_tool_call_conforms_to_its_schema(claude: anthropic.Anthropic, gpt: openai.OpenAI, model: str, text: str) -> None:
    message = message_of(claude, model, text, tools=TOOLS["messages"])
    (call,) = calls(message)
    assert (message.stop_reason, call.name) == ("tool_use", "get_weather")
    assert conforms(call.input, WEATHER, WEATHER)
    completion = chunks_of(gpt, model, text, tools=TOOLS["chat"])
    (chat_call,) = completion.choices[0].message.tool_calls
    assert (completion.choices[0].finish_reason, chat_call.function.name) == ("tool_calls", "get_weather")
    assert conforms(json.loads(chat_call.function.arguments), WEATHER, WEATHER)


def test_a_named_or_forced_tool_is_the_one_that_is_called(claude: anthropic.Anthropic, gpt: openai.OpenAI) -> None:
    tools = TOOLS["messages"]
    assert calls(message_of(claude, "glm-4.7", "what does get_tides say?", tools=tools))[0].name == "get_tides"
    forced = {"type": "tool", "name": "get_tides"}
    assert calls(message_of(claude, "glm-4.7", tools=tools, tool_choice=forced))[0].name == "get_tides"
    choice = {"type": "function", "function": {"name": "get_tides"}}
    assert chunks_of(gpt, "glm-4.7", tools=TOOLS["chat"], tool_choice=choice).choices[0].message.tool_calls[0].function.name == "get_tides"
    assert chunks_of(gpt, "glm-4.7", tools=TOOLS["chat"], tool_choice="required").choices[0].finish_reason == "tool_calls"


def test_tools_are_left_alone_when_nobody_asks_or_when_they_are_barred(claude: anthropic.Anthropic, gpt: openai.OpenAI) -> None:
    assert message_of(claude, "glm-4.7", "hello", tools=TOOLS["messages"]).stop_reason == "end_turn"
    barred = message_of(claude, "glm-4.7", "use a tool", tools=TOOLS["messages"], tool_choice={"type": "none"})
    assert barred.stop_reason == "end_turn"
    assert chunks_of(gpt, "glm-4.7", "use a tool", tools=TOOLS["chat"], tool_choice="none").choices[0].finish_reason == "stop"


def test_a_tool_result_is_quoted_however_deep_it_is(claude: anthropic.Anthropic, gpt: openai.OpenAI) -> None:
    asked = {"role": "user", "content": "use get_weather"}
    call = calls(message_of(claude, "demo-tool", [asked], tools=TOOLS["messages"]))[0]
    nested = [{"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "rain in Rome"}]}]
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": nested}]}
    turn = {"role": "assistant", "content": [call.model_dump()]}
    message = message_of(claude, "demo-tool", [asked, turn, result], tools=TOOLS["messages"])
    assert 'The tool answered: "rain in Rome"' in texts(message)
    assert message.stop_reason == "end_turn"
    counted = claude.messages.count_tokens(model="demo-tool", messages=[asked, turn, result], tools=TOOLS["messages"])  # type: ignore[arg-type, list-item]
    assert message.usage.cache_read_input_tokens
    assert message.usage.input_tokens + message.usage.cache_read_input_tokens == counted.input_tokens

    chat_call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    chat_turn = {"role": "assistant", "content": None, "tool_calls": [chat_call]}
    chat_result = {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "rain in Rome"}]}
    completion = chunks_of(gpt, "demo-tool", [asked, chat_turn, chat_result], tools=TOOLS["chat"])
    assert 'The tool answered: "rain in Rome"' in completion.choices[0].message.content
    assert completion.usage.prompt_tokens_details.cached_tokens > 0


@pytest.mark.parametrize("model", ["demo-parallel", "demo-repeat-ids"])
def test_two_calls_come_in_one_message(claude: anthropic.Anthropic, model: str) -> None:
    message = message_of(claude, model, tools=TOOLS["messages"])
    assert [call.name for call in calls(message)] == ["get_weather", "get_tides"]
    assert len(message.content) == 2
    assert all(conforms(call.input, WEATHER, WEATHER) for call in calls(message))


def test_two_calls_come_in_one_completion(gpt: openai.OpenAI) -> None:
    first, second = chunks_of(gpt, "demo-parallel", tools=TOOLS["chat"]).choices[0].message.tool_calls
    assert (first.function.name, second.function.name) == ("get_weather", "get_tides")
    assert first.id != second.id
    alone = chunks_of(gpt, "demo-parallel", tools=TOOLS["chat"][:1]).choices[0].message.tool_calls
    assert [call.function.name for call in alone] == ["get_weather", "get_weather"]


def test_two_calls_are_one_where_two_are_not_wanted(claude: anthropic.Anthropic, gpt: openai.OpenAI) -> None:
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert len(calls(message_of(claude, "demo-parallel", tools=TOOLS["messages"], tool_choice=choice))) == 1
    completion = chunks_of(gpt, "demo-parallel", tools=TOOLS["chat"], parallel_tool_calls=False)
    assert len(completion.choices[0].message.tool_calls) == 1


def test_a_call_without_arguments_has_an_empty_input(claude: anthropic.Anthropic) -> None:
    assert calls(message_of(claude, "demo-no-args", tools=TOOLS["messages"]))[0].input == {}


@pytest.mark.parametrize(
    ("model", "thinking"),
    [("demo-thinking", None), ("glm-4.7", {"type": "enabled", "budget_tokens": 1024}), ("glm-4.7", {"type": "adaptive"})],
)
def test_thinking_comes_first_and_is_signed(claude: anthropic.Anthropic, model: str, thinking: Any) -> None:
    message = message_of(claude, model, **({"thinking": thinking} if thinking else {}))
    first, second = message.content
    assert first.type == "thinking"
    assert first.thinking.startswith("The user sent 5 characters")
    assert base64.b64decode(first.signature).startswith(b"simulated")
    assert second.type == "text"
    assert message.usage.output_tokens_details
    assert 0 < message.usage.output_tokens_details.thinking_tokens < message.usage.output_tokens


def test_omitted_thinking_is_signed_and_empty(claude: anthropic.Anthropic) -> None:
    first = message_of(claude, "glm-4.7", thinking={"type": "adaptive", "display": "omitted"}).content[0]
    assert first.type == "thinking"
    assert (first.thinking, bool(first.signature)) == ("", True)


@pytest.mark.parametrize(
    ("model", "more", "thinks"),
    [
        ("demo-thinking", {}, True),
        ("glm-4.7", {"reasoning_effort": "low"}, True),
        ("glm-4.7", {"extra_body": {"thinking": {"type": "enabled"}}}, True),
        ("glm-4.7", {"extra_body": {"thinking": {"type": "disabled"}}, "reasoning_effort": "high"}, False),
        ("glm-4.7", {"reasoning_effort": "none"}, False),
        ("glm-4.7", {}, False),
    ],
)
def test_reasoning_comes_when_it_is_asked_for(gpt: openai.OpenAI, model: str, more: dict[str, Any], thinks: bool) -> None:
    message = chunks_of(gpt, model, **more).choices[0].message
    assert message.to_dict().get("reasoning_content", "").startswith("The user sent 5 characters" if thinks else "")
    assert ("reasoning_content" in message.to_dict()) == thinks


@pytest.mark.parametrize("model", ["demo-image", "glm-4.6v"])
def test_images_are_acknowledged_with_type_and_size(claude: anthropic.Anthropic, gpt: openai.OpenAI, model: str) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    image = {"type": "image", "source": source}
    assert "I see 1 image, image/png, 68 bytes." in texts(message_of(claude, model, [image, {"type": "text", "text": "what?"}]))
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image]}
    address = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    seen = texts(message_of(claude, model, [{"role": "user", "content": [result, address]}]))
    assert "I see 2 images, image/png, 68 bytes; at https://example.com/a.png." in seen
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    completion = chunks_of(gpt, model, [part, {"type": "text", "text": "what?"}])
    assert "I see 1 image, image/png, 68 bytes." in completion.choices[0].message.content


def test_the_image_model_says_when_it_sees_none(claude: anthropic.Anthropic) -> None:
    assert texts(message_of(claude, "demo-image")).startswith("I see 0 images")


@pytest.mark.parametrize("model", ["demo-unicode", "demo-split"])
def test_awkward_characters_arrive_whole(claude: anthropic.Anthropic, gpt: openai.OpenAI, model: str) -> None:
    message = message_of(claude, model, tools=TOOLS["messages"])
    assert texts(message) == f"Simulated: {UNICODE}"
    assert calls(message)[0].input["city"] == f"{UNICODE} city"
    said = chunks_of(gpt, model, tools=TOOLS["chat"]).choices[0].message
    assert said.content == f"Simulated: {UNICODE}"
    assert json.loads(said.tool_calls[0].function.arguments)["city"] == f"{UNICODE} city"


ENDS = [
    ("demo-refusal", "refusal", "content_filter"),
    ("demo-max-tokens", "max_tokens", "length"),
    ("demo-stop-sequence", "stop_sequence", "stop"),
    ("demo-empty", "end_turn", "stop"),
    ("demo-finish-pause_turn", "pause_turn", "pause_turn"),
    ("demo-finish-sensitive", "sensitive", "sensitive"),
]


@pytest.mark.parametrize(("model", "stop_reason", "finish_reason"), ENDS)
def test_an_answer_ends_for_the_reason_of_its_scenario(
    claude: anthropic.Anthropic, gpt: openai.OpenAI, model: str, stop_reason: str, finish_reason: str
) -> None:
    message = message_of(claude, model)
    assert message.stop_reason == stop_reason
    assert message.content == [] or model != "demo-empty"
    chunks = list(gpt.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}], stream=True))
    assert chunks[-1].choices[0].finish_reason == finish_reason


def test_a_refusal_explains_itself(claude: anthropic.Anthropic, gpt: openai.OpenAI) -> None:
    details = message_of(claude, "demo-refusal").stop_details
    assert details
    assert details.explanation == "This refusal is simulated."
    plain = gpt.chat.completions.create(model="demo-refusal", messages=[{"role": "user", "content": "hello"}])
    assert plain.choices[0].message.refusal == "I cannot help with that: this is a simulated refusal."
    assert plain.choices[0].message.content is None


def test_the_stop_sequence_is_the_first_of_the_request(claude: anthropic.Anthropic) -> None:
    assert message_of(claude, "demo-stop-sequence", stop_sequences=["END", "x"]).stop_sequence == "END"
    assert message_of(claude, "demo-stop-sequence").stop_sequence == "###"


def test_the_long_answer_has_its_number_of_deltas(claude: anthropic.Anthropic, gpt: openai.OpenAI) -> None:
    with claude.messages.stream(model="demo-long", max_tokens=1, messages=[{"role": "user", "content": "hello"}]) as stream:
        deltas = [event for event in stream if event.type == "content_block_delta"]
    assert len(deltas) == LONG
    chunks = gpt.chat.completions.create(model="demo-long", messages=[{"role": "user", "content": "hello"}], stream=True)
    assert sum(bool(chunk.choices[0].delta.content) for chunk in chunks) == LONG


def test_structured_output_has_the_wanted_structure(claude: anthropic.Anthropic, gpt: openai.OpenAI) -> None:
    output = {"format": {"type": "json_schema", "schema": WEATHER}}
    said = texts(message_of(claude, "glm-4.7", output_config=output))
    assert '"city": "simulated city"' in said
    wanted = {"type": "json_schema", "json_schema": {"name": "weather", "schema": WEATHER}}
    for response_format, text in [(wanted, '"city": "simulated city"'), ({"type": "json_object"}, '"answer": "simulated answer"')]:
        create: Any = gpt.chat.completions.create
        completion = create(model="glm-4.7", messages=[{"role": "user", "content": "hello"}], response_format=response_format)
        assert text in completion.choices[0].message.content


def test_tokens_are_counted_as_the_answer_reports_them(claude: anthropic.Anthropic) -> None:
    messages: Any = [{"role": "user", "content": "hello " * 100}]
    counted = claude.messages.count_tokens(model="glm-4.7", messages=messages)
    usage = claude.messages.create(model="glm-4.7", max_tokens=10, messages=messages).usage
    assert counted.input_tokens == usage.input_tokens > 100


def test_models_are_listed_on_both_wires(claude: anthropic.Anthropic, gpt: openai.OpenAI) -> None:
    names = [model.id for model in claude.models.list()]
    assert names == [model.id for model in gpt.models.list()]
    assert {"demo-tool", "demo-error-429", "glm-4.7"} <= set(names)


def test_errors_become_the_exceptions_of_the_sdks(claude: anthropic.Anthropic, gpt: openai.OpenAI) -> None:
    with pytest.raises(anthropic.RateLimitError):
        message_of(claude, "demo-error-429")
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        message_of(claude, "demo-midstream")
    with pytest.raises(openai.AuthenticationError):
        chunks_of(gpt, "demo-error-401")
    with pytest.raises(openai.APIError, match="Overloaded"):
        chunks_of(gpt, "demo-midstream")
