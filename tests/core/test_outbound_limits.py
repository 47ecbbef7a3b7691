"""How long an answer may be: filled in where the wire demands it, lowered to what the model can, and left out as a repair."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from core.dialects import Protocol
from core.gateway import Gateway
from core.outbound import without_max_tokens
from core.settings import Settings
from core.settings.upstreams import Limits
from core.tokens import band_for
from tests.core.exchanges import CHAT, MESSAGES, PAIRS, gateway, plain, question, request, tell
from tests.core.plans import DEFAULT, Planned, planned, target

TO = {MESSAGES: "messages-relay", CHAT: "generic"}


def limits(made: Planned) -> dict[str, Any]:
    return {name: value for name, value in made.body.items() if name in ("max_tokens", "max_completion_tokens")}


@pytest.mark.parametrize(
    "asked", [{}, {"max_tokens": None}, {"max_tokens": -1}, {"max_tokens": -0.5}, {"max_tokens": 0}, {"max_tokens": 0.0}]
)
@pytest.mark.parametrize(("wire", "upstream"), PAIRS)
def test_what_is_no_limit_is_filled_in_for_messages_and_left_out_for_chat(
    wire: Protocol, upstream: Protocol, asked: dict[str, Any]
) -> None:
    value = asked.get("max_tokens")
    if wire is MESSAGES and upstream is CHAT and value == 0:
        return  # refused, see below
    if wire is not upstream and value == -0.5:
        return  # refused by its type
    made = planned(wire, asked, target(TO[upstream], default_max_tokens=777))
    expected = {"max_tokens": 777} if upstream is MESSAGES else {}
    assert {name: one for name, one in limits(made).items() if one is not None} == expected
    assert made.plan.answer.report.max_tokens_clamped is None


def test_a_limit_of_0_passes_to_anthropic_whose_prompt_cache_it_fills() -> None:
    assert limits(planned(MESSAGES, {"max_tokens": 0}, "anthropic")) == {"max_tokens": 0}
    assert limits(planned(MESSAGES, {"max_tokens": -1}, target("anthropic", default_max_tokens=5))) == {"max_tokens": 5}


def test_a_limit_of_0_towards_chat_is_refused() -> None:
    told = tell(request("/v1/messages", question(max_tokens=0)), at=gateway(TEXT_ENDPOINT_PREFERENCE="openai"))
    assert (told.status, told.json["error"]["code"], told.world.opened) == (400, "unsupported_parameter", [])


@pytest.mark.parametrize(("name", "there"), [("DEFAULT_MAX_TOKENS", 4321)])
@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
def test_what_is_filled_in_is_the_setting(wire: Protocol, name: str, there: int) -> None:
    at = gateway(TEXT_ENDPOINT_PREFERENCE="anthropic", **{name: str(there)})
    body = b'{"messages":[{"role":"user","content":"Hello"}]}'
    path = "/v1/messages" if wire is MESSAGES else "/v1/chat/completions"
    assert tell(request(path, body), [plain(MESSAGES)], at=at).upstream["max_tokens"] == there


def test_what_is_filled_in_is_no_more_than_the_model_can_and_no_clamp() -> None:
    for wire in (MESSAGES, CHAT):
        made = planned(wire, {}, target("messages-relay", limit=500, default_max_tokens=777))
        assert (limits(made), made.plan.answer.report.max_tokens_clamped) == ({"max_tokens": 500}, None)


@pytest.mark.parametrize(("wire", "upstream"), PAIRS)
def test_a_limit_above_the_models_is_lowered_and_told_of(wire: Protocol, upstream: Protocol) -> None:
    made = planned(wire, {"max_tokens": 1001}, target(TO[upstream], limit=1000))
    assert (limits(made), made.plan.answer.report.max_tokens_clamped) == ({"max_tokens": 1000}, 1000)
    assert made.record.notes == ["lowered max_tokens to 1000, the most that there has room for"]


@pytest.mark.parametrize("most", [1000, None])
@pytest.mark.parametrize(("wire", "upstream"), PAIRS)
def test_a_limit_the_model_can_keep_is_left_alone(wire: Protocol, upstream: Protocol, most: int | None) -> None:
    made = planned(wire, {"max_tokens": 1000}, target(TO[upstream], limit=most))
    assert (limits(made), made.plan.answer.report.max_tokens_clamped, made.record.notes) == ({"max_tokens": 1000}, None, [])


@pytest.mark.parametrize(("upstream", "name"), [(CHAT, "max_completion_tokens"), (MESSAGES, "max_tokens")])
def test_a_chat_clients_other_limit_is_lowered_as_well(upstream: Protocol, name: str) -> None:
    made = planned(CHAT, {"max_completion_tokens": 1e9}, target(TO[upstream], limit=1000))
    assert (limits(made), made.plan.answer.report.max_tokens_clamped) == ({name: 1000}, 1000)


def test_a_chat_request_of_the_same_wire_keeps_the_name_of_its_limit() -> None:
    assert limits(planned(CHAT, {"max_tokens": 9}, "openai-reasoning")) == {"max_tokens": 9}
    assert limits(planned(MESSAGES, {"max_tokens": 9}, "openai-reasoning")) == {"max_completion_tokens": 9}


@pytest.mark.parametrize("odd", ["many", True, False, [1], {"a": 1}])
def test_on_the_same_wire_what_is_no_number_is_for_the_upstream_to_judge(odd: Any) -> None:
    for wire in (MESSAGES, CHAT):
        assert limits(planned(wire, {"max_tokens": odd}, target(TO[wire], limit=1000))) == {"max_tokens": odd}


def test_a_number_in_quotes_is_one() -> None:
    for wire in (MESSAGES, CHAT):
        assert limits(planned(wire, {"max_tokens": "1001"}, target(TO[wire], limit=1000))) == {"max_tokens": 1000}


def test_the_built_in_limit_of_a_model_holds() -> None:
    told = tell(request("/v1/messages", question(max_tokens=200_000)), [plain(MESSAGES)], at=gateway())
    assert told.upstream["max_tokens"] == 131_072


# ---------------------------------------------------------------------------------------------------- thinking below it


@pytest.mark.parametrize(
    ("asked", "most", "thinking"),
    [
        pytest.param({"max_tokens": 9000}, 5000, {"type": "enabled", "x": 1, "budget_tokens": 4999}, id="lowered with the limit"),
        pytest.param({"max_tokens": 9000}, 8001, {"type": "enabled", "x": 1, "budget_tokens": 8000}, id="it fits"),
        pytest.param({"max_tokens": 9000}, 8000, {"type": "enabled", "x": 1, "budget_tokens": 7999}, id="not below"),
        pytest.param({}, 3000, {"type": "enabled", "x": 1, "budget_tokens": 2999}, id="below what was filled in"),
        pytest.param({"max_tokens": 9000}, 1025, {"type": "enabled", "x": 1, "budget_tokens": 1024}, id="the least"),
        pytest.param({"max_tokens": 9000}, 1024, None, id="no room"),
        pytest.param({"max_tokens": 7000}, 7000, {"type": "enabled", "x": 1, "budget_tokens": 8000}, id="the client's own fault"),
    ],
)
def test_a_budget_stays_below_a_limit_that_was_not_the_clients(asked: dict[str, Any], most: int, thinking: Any) -> None:
    own = {"type": "enabled", "x": 1, "budget_tokens": 8000}
    made = planned(MESSAGES, {**asked, "thinking": own}, target("messages-relay", limit=most))
    assert made.body.get("thinking") == thinking
    assert made.dropped == ([] if thinking else ["thinking"])
    lowered = thinking is not None and thinking["budget_tokens"] != 8000
    assert any("budget_tokens" in note for note in made.record.notes) is lowered


@pytest.mark.parametrize("own", [None, [], {"type": "adaptive"}, {"type": "enabled", "budget_tokens": "x"}])
def test_thinking_without_a_budget_is_left_alone(own: Any) -> None:
    made = planned(MESSAGES, {"max_tokens": 9000, "thinking": own}, target("messages-relay", limit=1000))
    assert made.body["thinking"] == own


# ---------------------------------------------------------------------------------------------------- the repair

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
SEEN = {"messages": [{"role": "user", "content": [PICTURE]}]}


def test_the_repair_leaves_out_both_limits_and_nothing_else() -> None:
    plan = planned(CHAT, {**SEEN, "max_tokens": 9, "max_completion_tokens": 10, "top_p": 0.5}, target("glm", limit=8)).plan
    mended = without_max_tokens(plan)
    assert mended is not None
    assert plan.images
    assert plan.answer.report.max_tokens_clamped == 8
    assert mended.request.body == plan.request.body.replace(b', "max_tokens": 8, "max_completion_tokens": 8', b"")
    assert mended.answer.report.max_tokens_clamped is None
    assert (mended.request.url, mended.request.headers) == (plan.request.url, plan.request.headers)
    assert replace(mended.answer, report=plan.answer.report) == plan.answer
    assert without_max_tokens(mended) is None


def test_the_repair_is_for_translated_requests_as_well() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    plan = planned(MESSAGES, {"messages": [{"role": "user", "content": [picture]}], "max_tokens": 9}, "glm").plan
    mended = without_max_tokens(plan)
    assert mended is not None
    assert b"max_tokens" not in mended.request.body


@pytest.mark.parametrize(
    ("body", "to"),
    [
        pytest.param({"max_tokens": 9}, "glm", id="no pictures"),
        pytest.param(SEEN, "glm", id="no limit"),
        pytest.param({**SEEN, "max_tokens": 9}, "glm-messages", id="Messages demands one"),
    ],
)
def test_there_is_no_repair_where_it_mends_nothing(body: dict[str, Any], to: str) -> None:
    assert without_max_tokens(planned(CHAT, body, to).plan) is None


# ---------------------------------------------------------------------------------------------------- the window

WORDS = "one two three four five six seven eight nine ten " * 400  # some 4000 tokens


@pytest.mark.parametrize(("wire", "upstream"), PAIRS)
def test_an_answer_gets_no_more_than_the_window_leaves(wire: Protocol, upstream: Protocol) -> None:
    there = target(TO[upstream], limits=Limits(8000, 7000))
    made = planned(wire, {"messages": [{"role": "user", "content": WORDS}], "max_tokens": 6000}, there)
    (sent,) = limits(made).values()
    counted = DEFAULT.counter.payload(json.dumps({"messages": [{"role": "user", "content": WORDS}]}).encode())
    assert sent == 8000 - math.ceil(counted * (1 + band_for("there")))
    assert made.plan.answer.report.max_tokens_clamped == sent
    assert made.record.notes == [f"lowered max_tokens to {sent}, the most that there has room for"]


@pytest.mark.parametrize(
    ("window", "wanted", "sent"),
    [
        pytest.param(12_000, 3000, 3000, id="there is room"),
        pytest.param(None, 3000, 3000, id="no window is known"),
        pytest.param(5500, 3000, 3000, id="hardly any room: the upstream says so"),
    ],
)
def test_a_limit_that_fits_or_cannot_is_left_alone(window: int | None, wanted: int, sent: int) -> None:
    body = {"messages": [{"role": "user", "content": WORDS}], "max_tokens": wanted}
    made = planned(MESSAGES, body, target("glm-messages", limits=Limits(window, 7000)))
    assert limits(made) == {"max_tokens": sent}
    assert made.plan.answer.report.max_tokens_clamped is None


def test_what_is_filled_in_fits_the_window_and_nothing_is_filled_in_for_chat() -> None:
    body = {"messages": [{"role": "user", "content": WORDS}]}
    made = planned(MESSAGES, body, target("glm-messages", limits=Limits(8000, 7000)))
    (sent,) = limits(made).values()
    assert 1024 < sent < 4000
    assert made.plan.answer.report.max_tokens_clamped is None
    assert limits(planned(CHAT, body, target("glm", limits=Limits(8000, 7000)))) == {}


def test_an_estimate_is_the_same_for_a_stream_and_an_answer() -> None:
    body = {"messages": [{"role": "user", "content": "Hello, how are you today?"}], "max_tokens": 9}
    tokens = {planned(wire, {**body, "stream": stream}, to).plan.answer.input_tokens for wire in (MESSAGES, CHAT) for to in ("glm", "glm-messages") for stream in (False, True)}  # fmt: skip
    assert len(tokens) == 1
    assert 8 <= tokens.pop() <= 20


def test_every_estimate_is_logged_if_that_is_asked_for() -> None:
    made = planned(MESSAGES, {"max_tokens": 9}, "glm-messages", at=Gateway(Settings(enable_token_counting_logging=True)))
    assert made.record.notes == [f"{made.plan.answer.input_tokens} input tokens expected of name/anthropic"]
    assert planned(MESSAGES, {"max_tokens": 9}, "glm-messages").record.notes == []
