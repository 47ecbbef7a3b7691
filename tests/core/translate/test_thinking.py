"""How much to think: the wish of a client in any of its words, as each family of upstreams says it; and the reasoning of earlier turns."""

from __future__ import annotations

import pytest

from core.dialects import DIALECTS, Dialect, ThinkingStyle
from core.translate.loss import Losses
from core.translate.thinking import EFFORT_TO_BUDGET, Wish, ask_chat, effort_of_budget, nearest_effort, wish_of_chat, wish_of_messages
from core.wire import chat, messages
from core.wire.codec import decoder, encode
from tests.core.translate.lifting import HELLO, Json, assistant, call, dialect, lifted, lossy, refused, result, text, tool, turns, use, user

FORCED = {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required"}

# ------------------------------------------------------------------------------------------------- efforts and budgets


@pytest.mark.parametrize(
    ("effort", "allowed", "nearest"),
    [
        ("low", ("low", "high"), "low"),
        ("medium", ("low", "high"), "high"),
        ("xhigh", ("low", "medium", "high"), "high"),
        ("max", ("low", "medium", "high", "xhigh"), "xhigh"),
        ("minimal", ("low", "medium"), "low"),
        ("none", ("none", "low"), "none"),
        ("none", ("low",), "low"),
        ("low", ("none",), None),
        ("low", (), None),
        ("ultra", ("low",), None),
    ],
)
def test_an_effort_becomes_the_nearest_there_is_and_of_two_the_stronger(effort: str, allowed: tuple[str, ...], nearest: str | None) -> None:
    assert nearest_effort(effort, allowed) == nearest


@pytest.mark.parametrize(
    ("budget", "effort"),
    [(1, "minimal"), (1023, "minimal"), (1024, "low"), (2047, "low"), (2048, "medium"), (4095, "medium"), (4096, "high"), (99999, "high")],
)
def test_a_budget_stands_for_an_effort(budget: int, effort: str) -> None:
    assert effort_of_budget(budget) == effort


# ------------------------------------------------------------------------------------------------- wishes


@pytest.mark.parametrize(
    ("thinking", "effort", "wish"),
    [
        (None, None, None),
        (None, "high", Wish(on=True, effort="high")),
        ({"type": "disabled"}, "high", Wish(on=False)),
        ({"type": "enabled", "budget_tokens": 2048}, None, Wish(on=True, effort="medium", budget=2048)),
        ({"type": "enabled", "budget_tokens": 2048}, "max", Wish(on=True, effort="max", budget=2048)),
        ({"type": "enabled"}, None, Wish(on=True)),
        ({"type": "adaptive"}, "low", Wish(on=True, effort="low")),
        ({"type": "between_tools"}, None, Wish(on=True)),
    ],
)
def test_the_wish_of_a_messages_request(thinking: Json | None, effort: str | None, wish: Wish | None) -> None:
    given = None if thinking is None else decoder(messages.ThinkingConfig).decode(encode(thinking))
    assert wish_of_messages(given, effort) == wish


OFF, ON = Wish(on=False), Wish(on=True)


@pytest.mark.parametrize(
    ("request_", "wish"),
    [
        pytest.param({}, None, id="nothing said"),
        pytest.param({"reasoning": {}, "chat_template_kwargs": {}}, None, id="nothing said at length"),
        pytest.param({"reasoning": {"exclude": True}}, None, id="nothing said but not to show it"),
        pytest.param({"reasoning_effort": "high"}, Wish(on=True, effort="high", said="reasoning_effort"), id="an effort"),
        pytest.param({"reasoning_effort": "none"}, Wish(on=False, said="reasoning_effort"), id="the effort none"),
        pytest.param({"reasoning": {"effort": "low"}}, Wish(on=True, effort="low", said="reasoning.effort"), id="OpenRouter's effort"),
        pytest.param({"reasoning": {"effort": "none"}}, Wish(on=False, said="reasoning.effort"), id="OpenRouter's none"),
        pytest.param({"reasoning": {"enabled": True}}, Wish(on=True, said="reasoning.enabled"), id="OpenRouter's switch on"),
        pytest.param({"reasoning": {"enabled": False, "effort": "high"}}, Wish(on=False, said="reasoning.enabled"), id="OpenRouter's switch off"),
        pytest.param({"reasoning": {"max_tokens": 3000}}, Wish(on=True, budget=3000, said="reasoning.max_tokens"), id="OpenRouter's budget"),
        pytest.param({"reasoning": {"max_tokens": 0}}, Wish(on=False, said="reasoning.max_tokens"), id="a budget of nothing"),
        pytest.param({"reasoning": {"max_tokens": -1}}, Wish(on=True, said="reasoning.max_tokens"), id="a budget of the model's choice"),
        pytest.param({"thinking": {"type": "enabled"}}, ON, id="GLM's toggle on"),
        pytest.param({"thinking": {"type": "auto"}}, ON, id="the toggle on auto"),
        pytest.param({"thinking": {"type": "adaptive"}}, ON, id="the toggle on adaptive"),
        pytest.param({"thinking": {"type": "disabled"}}, OFF, id="GLM's toggle off"),
        pytest.param({"thinking": {"type": "disabled"}, "reasoning_effort": "high"}, OFF, id="off rules over an effort"),
        pytest.param({"thinking": {"type": "enabled", "budget_tokens": 5000}}, Wish(on=True, budget=5000), id="the toggle's budget"),
        pytest.param({"thinking": {"type": "enabled"}, "reasoning_effort": "max"}, Wish(on=True, effort="max", said="reasoning_effort"), id="on, and how much"),
        pytest.param({"thinking": {"type": "enabled"}, "reasoning_effort": "none"}, Wish(on=True, said="reasoning_effort"), id="a switch rules over none"),
        pytest.param({"chat_template_kwargs": {"enable_thinking": True}}, Wish(on=True, said="chat_template_kwargs.enable_thinking"), id="a template's switch"),
        pytest.param({"chat_template_kwargs": {"thinking": False}}, Wish(on=False, said="chat_template_kwargs.thinking"), id="a template's other switch"),
        pytest.param({"chat_template_kwargs": {"reasoning_effort": "low"}}, Wish(on=True, effort="low", said="chat_template_kwargs.reasoning_effort"), id="a template's effort"),
        pytest.param({"enable_thinking": True}, Wish(on=True, said="enable_thinking"), id="Qwen's switch on"),
        pytest.param({"enable_thinking": False, "reasoning_effort": "high"}, Wish(on=False, said="enable_thinking"), id="Qwen's switch off"),
    ],
)  # fmt: skip
def test_the_wish_of_a_chat_request(request_: Json, wish: Wish | None) -> None:
    assert wish_of_chat(decoder(chat.Request).decode(encode({"messages": [], **request_}))) == wish


@pytest.mark.parametrize(
    ("request_", "place"),
    [
        ({"reasoning_effort": "ultra"}, "reasoning_effort"),
        ({"reasoning": {"effort": "ultra"}}, "reasoning.effort"),
        ({"chat_template_kwargs": {"reasoning_effort": "ultra"}}, "chat_template_kwargs.reasoning_effort"),
        ({"thinking": {"type": "on"}}, "thinking.type"),
    ],
)
def test_a_word_nobody_knows_is_refused_with_those_that_are_known(request_: Json, place: str) -> None:
    found, why = refused(request_)
    assert found == place
    assert "expected one of" in why


# ------------------------------------------------------------------------------------------------- towards chat

AT_LENGTH = Wish(on=True, effort="high", budget=5000)


@pytest.mark.parametrize(
    ("target", "wish", "said"),
    [
        ("glm", AT_LENGTH, {"thinking": {"type": "enabled"}}),
        ("glm", OFF, {"thinking": {"type": "disabled"}}),
        ("glm-relay", AT_LENGTH, {"thinking": {"type": "enabled"}, "reasoning_effort": "high"}),
        ("glm-relay", ON, {"thinking": {"type": "enabled"}}),
        ("glm-relay", OFF, {"thinking": {"type": "disabled"}}),
        ("deepseek", Wish(on=False, effort="high"), {"thinking": {"type": "disabled"}}),
        ("openai-reasoning", Wish(on=True, effort="max"), {"reasoning_effort": "max"}),
        ("openai-reasoning", OFF, {"reasoning_effort": "none"}),
        ("openai-reasoning", ON, {}),
        ("openai-gpt5", OFF, {"reasoning_effort": "minimal"}),
        ("openai-gpt5", Wish(on=True, effort="max"), {"reasoning_effort": "high"}),
        ("openai-o", OFF, {}),
        ("openai-o", Wish(on=True, effort="minimal"), {"reasoning_effort": "low"}),
        ("vllm", AT_LENGTH, {"chat_template_kwargs": {"enable_thinking": True}, "reasoning_effort": "high"}),
        ("vllm", Wish(on=True, effort="max"), {"chat_template_kwargs": {"enable_thinking": True}, "reasoning_effort": "high"}),
        ("vllm", ON, {"chat_template_kwargs": {"enable_thinking": True}}),
        ("vllm", Wish(on=False, effort="high"), {"chat_template_kwargs": {"enable_thinking": False}}),
        ("openrouter", AT_LENGTH, {"reasoning": {"max_tokens": 5000}}),
        ("openrouter", Wish(on=True, effort="low"), {"reasoning": {"effort": "low"}}),
        ("openrouter", ON, {"reasoning": {"enabled": True}}),
        ("openrouter", OFF, {"reasoning": {"enabled": False}}),
        ("openai", OFF, {}),
        ("glm", None, {"thinking": {"type": "enabled"}}),
    ],
)
def test_a_wish_in_the_words_of_a_chat_upstream(target: str, wish: Wish | None, said: Json) -> None:
    request, losses = chat.Request(messages=[]), Losses()
    ask_chat(request, wish, DIALECTS[target], losses)
    assert decoder(dict).decode(encode(request)) == {"messages": [], **said}
    assert losses.found == []


def test_a_chat_upstream_that_does_not_think_on_request_is_a_loss() -> None:
    request, losses = chat.Request(messages=[]), Losses()
    ask_chat(request, ON, DIALECTS["openai"], losses)
    assert decoder(dict).decode(encode(request)) == {"messages": []}
    assert [(loss.path, loss.what) for loss in losses.found] == [("thinking", "thinking")]


# ------------------------------------------------------------------------------------------------- towards Messages

BUDGET, ADAPTIVE = "anthropic-budget", "anthropic"


def budget(tokens: int) -> Json:
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


def adaptive(effort: str | None = None) -> Json:
    return {"thinking": {"type": "adaptive", "display": "summarized"}} | ({"output_config": {"effort": effort}} if effort else {})


@pytest.mark.parametrize(
    ("target", "request_", "said"),
    [
        *[pytest.param(BUDGET, {"reasoning_effort": effort, "max_tokens": 99999}, budget(tokens), id=f"budget of {effort}") for effort, tokens in (
            ("minimal", 1024), ("low", 1024), ("medium", 2048), ("high", 4096), ("xhigh", 8192), ("max", 16384),
        )],
        *[pytest.param(ADAPTIVE, {"reasoning_effort": effort}, adaptive(there), id=f"adaptive, {effort}") for effort, there in (
            ("minimal", "low"), ("low", "low"), ("medium", "medium"), ("high", "high"), ("xhigh", "xhigh"), ("max", "max"),
        )],
        pytest.param(BUDGET, {"reasoning_effort": "max", "max_tokens": 5000}, budget(4999), id="a budget stays below max_tokens"),
        pytest.param(BUDGET, {"reasoning_effort": "max", "max_tokens": 1025}, budget(1024), id="as low as it can be"),
        pytest.param(BUDGET, {"reasoning": {"max_tokens": 3000}}, budget(3000), id="a budget of the client's own"),
        pytest.param(BUDGET, {"reasoning": {"max_tokens": 5}}, budget(1024), id="one below the least is the least"),
        pytest.param(BUDGET, {"thinking": {"type": "enabled"}}, budget(2048), id="a switch alone is medium"),
        pytest.param(BUDGET, {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}, id="none, by budget"),
        pytest.param(BUDGET, {"reasoning_effort": "none", "max_tokens": 5, **FORCED}, {"thinking": {"type": "disabled"}}, id="none never stands in the way"),
        pytest.param(ADAPTIVE, {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}, id="none, adaptive"),
        pytest.param(ADAPTIVE, {"enable_thinking": True}, adaptive(), id="a switch alone, adaptive"),
        pytest.param(ADAPTIVE, {"reasoning": {"max_tokens": 3000}}, adaptive("medium"), id="a budget as an effort"),
        pytest.param(ADAPTIVE, {"reasoning": {"max_tokens": 10}, "max_tokens": 20}, adaptive("low"), id="adaptive thinking fits any max_tokens"),
        pytest.param("glm-messages", {"thinking": {"type": "enabled"}, **FORCED}, budget(2048), id="GLM thinks beside a forced tool"),
        pytest.param("messages-relay", {"enable_thinking": False}, {"thinking": {"type": "disabled"}}, id="a relay"),
        pytest.param("deepseek-messages", {"reasoning_effort": "high"}, budget(4096), id="DeepSeek"),
        pytest.param(BUDGET, {}, {}, id="nothing said, by budget"),
        pytest.param(ADAPTIVE, {}, {}, id="nothing said, adaptive"),
    ],
)  # fmt: skip
def test_a_wish_in_the_words_of_a_messages_upstream(target: str, request_: Json, said: Json) -> None:
    made = lifted(request_, target)
    assert {name: made[name] for name in ("thinking", "output_config") if name in made} == said


def test_the_budgets_cover_every_effort() -> None:
    assert set(EFFORT_TO_BUDGET) == {"minimal", "low", "medium", "high", "xhigh", "max"}


IN_A_LOOP = {"messages": [*HELLO, assistant("t", tool_calls=[call("a")]), tool("a", "r")]}


@pytest.mark.parametrize(
    ("target", "request_", "lost"),
    [
        pytest.param(BUDGET, {"reasoning_effort": "high", "max_tokens": 1024}, "reasoning_effort", id="too few tokens"),
        pytest.param("glm-messages", {"thinking": {"type": "enabled"}, "max_tokens": 1}, "thinking", id="too few, said by a switch"),
        pytest.param(BUDGET, {"reasoning_effort": "high", **FORCED}, "reasoning_effort", id="a forced tool, by budget"),
        pytest.param(ADAPTIVE, {"reasoning": {"effort": "high"}, **FORCED}, "reasoning.effort", id="a forced tool, adaptive"),
        pytest.param("messages-relay", {"enable_thinking": True, **FORCED, "tool_choice": {"type": "function", "function": {"name": "f"}}}, "enable_thinking", id="a tool forced by name"),
        pytest.param(BUDGET, {"reasoning_effort": "high", **IN_A_LOOP}, "reasoning_effort", id="results for a turn that did not begin with reasoning"),
        pytest.param(BUDGET, {"reasoning_effort": "high", "messages": [*HELLO, assistant("t")]}, "reasoning_effort", id="an answer to be continued that did not"),
        pytest.param(dialect("anthropic", thinking=ThinkingStyle.NONE), {"reasoning_effort": "high"}, "reasoning_effort", id="a model that does not think"),
    ],
)  # fmt: skip
def test_where_the_upstream_would_refuse_to_think_it_does_not(target: str | Dialect, request_: Json, lost: str) -> None:
    made, losses = lossy(request_, target)
    assert losses == [(lost, lost)]
    assert "thinking" not in made


@pytest.mark.parametrize(
    ("target", "request_"),
    [
        pytest.param(ADAPTIVE, IN_A_LOOP, id="adaptive thinking does not ask for it"),
        pytest.param("messages-relay", IN_A_LOOP, id="nor do compatible endpoints"),
        pytest.param(BUDGET, {"messages": [*IN_A_LOOP["messages"], assistant("t"), user("u")]}, id="a turn of its own begins"),
        pytest.param(
            BUDGET,
            {"messages": [*HELLO, assistant("t", tool_calls=[call("a")], reasoning_details=[{"type": "reasoning.text", "text": "r", "signature": "s"}]), tool("a", "r")]},
            id="the turn began with signed reasoning",
        ),
        pytest.param(
            BUDGET,
            {"messages": [*HELLO, assistant("t", tool_calls=[call("a")], reasoning_details=[{"type": "reasoning.encrypted", "data": "d"}]), tool("a", "r")]},
            id="or with encrypted",
        ),
    ],
)  # fmt: skip
def test_a_tool_loop_goes_on_thinking_where_it_may(target: str, request_: Json) -> None:
    assert lifted({**request_, "reasoning_effort": "high"}, target)["thinking"]["type"] in ("enabled", "adaptive")


def test_a_model_that_does_not_think_is_not_told_not_to() -> None:
    assert "thinking" not in lifted({"reasoning_effort": "none"}, dialect("anthropic", thinking=ThinkingStyle.NONE))


@pytest.mark.parametrize(
    ("samplers", "kept", "lost"),
    [
        ({"temperature": 0.5}, {}, ["temperature"]),
        ({"temperature": 1}, {"temperature": 1}, []),
        ({"top_k": 5}, {}, ["top_k"]),
        ({"top_p": 0.5}, {}, ["top_p"]),
        ({"top_p": 0.95}, {"top_p": 0.95}, []),
    ],
)
def test_beside_thinking_samplers_keep_its_rules(samplers: Json, kept: Json, lost: list[str]) -> None:
    request = {"reasoning_effort": "low", **samplers}
    made = lossy(request, BUDGET)[0] if lost else lifted(request, BUDGET)
    assert {name: made[name] for name in ("temperature", "top_p", "top_k") if name in made} == kept
    if lost:
        assert lossy(request, BUDGET)[1] == [(name, name) for name in lost]


def test_where_thinking_has_no_such_rules_samplers_stay() -> None:
    made = lifted({"thinking": {"type": "enabled"}, "temperature": 0.5, "top_p": 0.5, "top_k": 5}, "glm-messages")
    assert (made["temperature"], made["top_p"], made["top_k"]) == (0.5, 0.5, 5)


# ------------------------------------------------------------------------------------------------- reasoning of earlier turns

KEEPS, DROPS = "messages-relay", "anthropic"
SIGNED = {"type": "reasoning.text", "text": "r", "signature": "s"}


def thought(said: str, signature: str = "") -> Json:
    return {"type": "thinking", "thinking": said, "signature": signature}


@pytest.mark.parametrize(
    ("target", "members", "expected"),
    [
        pytest.param(KEEPS, {"reasoning_content": "r"}, [thought("r")], id="reasoning_content, unsigned"),
        pytest.param(KEEPS, {"reasoning": "r"}, [thought("r")], id="reasoning"),
        pytest.param(KEEPS, {"reasoning_content": "r", "reasoning": "r"}, [thought("r")], id="both at once are one"),
        pytest.param(KEEPS, {"reasoning_content": " "}, [], id="DeepSeek's filler says nothing"),
        pytest.param(DROPS, {"reasoning_content": "\n"}, [], id="and is no loss"),
        pytest.param(KEEPS, {"reasoning_details": [SIGNED], "reasoning_content": "other"}, [thought("r", "s")], id="details before all others"),
        pytest.param(DROPS, {"reasoning_details": [SIGNED]}, [thought("r", "s")], id="signed reasoning goes back anywhere"),
        pytest.param(DROPS, {"reasoning_details": [{**SIGNED, "format": "anthropic-claude-v1"}]}, [thought("r", "s")], id="of the format of Claude too"),
        pytest.param(KEEPS, {"reasoning_details": [{**SIGNED, "format": "google-gemini-v1"}]}, [thought("r")], id="a foreign signature is none"),
        pytest.param(DROPS, {"reasoning_details": [{"type": "reasoning.text", "signature": "s"}], "reasoning_content": "r"}, [thought("r", "s")], id="a signature apart from its text"),
        pytest.param(DROPS, {"reasoning_details": [{"type": "reasoning.text", "signature": "s"}]}, [{"type": "thinking", "thinking": "", "signature": "s"}], id="a signature without any text"),
        pytest.param(KEEPS, {"reasoning_details": [{"type": "reasoning.summary", "summary": "r"}]}, [thought("r")], id="a summary"),
        pytest.param(
            DROPS,
            {"reasoning_details": [{"type": "reasoning.text", "text": "a ", "index": 0}, {"type": "reasoning.text", "text": "b", "index": 0}, {"type": "reasoning.text", "signature": "s", "index": 0}, {"type": "reasoning.text", "text": "c", "signature": "t", "index": 1}]},
            [thought("a b", "s"), thought("c", "t")], id="pieces of a stream are put together",
        ),
        pytest.param(KEEPS, {"reasoning_details": [{"type": "reasoning.text", "text": "a"}, {"type": "reasoning.text", "text": "b"}]}, [thought("a"), thought("b")], id="items without an index are whole"),
        pytest.param(
            DROPS, {"reasoning_details": [{"type": "reasoning.encrypted", "data": "d"}, SIGNED]},
            [{"type": "redacted_thinking", "data": "d"}, thought("r", "s")], id="encrypted reasoning at its vendor",
        ),
        pytest.param(KEEPS, {"content": [{"type": "thinking", "thinking": "r", "signature": "s"}, text("t")]}, [thought("r", "s")], id="a thinking part"),
        pytest.param(KEEPS, {"content": [text("t"), {"type": "thinking", "thinking": [text("r"), text("q")]}]}, [thought("rq")], id="a thinking part in pieces, behind the text"),
        pytest.param(KEEPS, {"content": [{"type": "thinking", "thinking": "p"}, text("t")], "reasoning_content": "r"}, [thought("r")], id="members before parts"),
    ],
)  # fmt: skip
def test_reasoning_comes_first_and_once(target: str, members: Json, expected: list[Json]) -> None:
    answer = {"role": "assistant", "content": "t", **members}
    made = turns([*HELLO, answer, user("u")], target)[1]["content"]
    assert made == ([*expected, text("t")] if expected else "t")


@pytest.mark.parametrize(
    ("target", "members", "lost"),
    [
        pytest.param(DROPS, {"reasoning_content": "r"}, ("reasoning_content", "reasoning_content"), id="unsigned"),
        pytest.param(DROPS, {"reasoning": "r"}, ("reasoning", "reasoning"), id="unsigned, by its other name"),
        pytest.param(DROPS, {"reasoning_details": [{"type": "reasoning.text", "text": "r"}]}, ("reasoning_details[0]", "reasoning_details"), id="unsigned details"),
        pytest.param(DROPS, {"reasoning_details": [{**SIGNED, "format": "xai-responses-v1"}]}, ("reasoning_details[0]", "reasoning_details"), id="signed by another vendor"),
        pytest.param(DROPS, {"reasoning_details": [{"type": "reasoning.encrypted", "data": "d", "format": "openai-responses-v1"}]}, ("reasoning_details[0]", "redacted_thinking"), id="encrypted by another vendor"),
        pytest.param(KEEPS, {"reasoning_details": [{"type": "reasoning.encrypted", "data": "d"}]}, ("reasoning_details[0]", "redacted_thinking"), id="encrypted, for another vendor"),
        pytest.param(DROPS, {"content": [{"type": "thinking", "thinking": "r"}, text("t")]}, ("content", "content"), id="an unsigned part"),
    ],
)  # fmt: skip
def test_reasoning_the_upstream_does_not_take_back_is_a_loss(target: str, members: Json, lost: tuple[str, str]) -> None:
    made, losses = lossy({"messages": [*HELLO, {"role": "assistant", "content": "t", **members}]}, target)
    assert made["messages"][1] == assistant("t")
    assert losses == [(f"messages[1].{lost[0]}", lost[1])]


def test_reasoning_comes_first_also_where_answers_are_merged() -> None:
    made = turns(
        [*HELLO, assistant("a", reasoning_content="p"), assistant("b", reasoning_content="q", tool_calls=[call("c")]), tool("c", "r")]
    )
    assert made[1:] == [assistant([thought("p"), thought("q"), text("a"), text("b"), use("c")]), user([result("c", "r")])]


def test_reasoning_that_no_answer_follows_is_a_loss() -> None:
    made, losses = lossy({"messages": [*HELLO, assistant(" ", reasoning_content="r"), user("u")]})
    assert made["messages"] == [user([text("Hello"), text("u")])]
    assert losses == [("messages[1]", "reasoning")]
