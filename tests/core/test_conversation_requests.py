"""What goes upstream: on the same wire the client's own bytes but for the members that must change, on the other its meaning."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.dialects import Protocol
from tests.core.exchanges import CHAT, MESSAGES, PAIRS, PATH, Told, encoded, gateway, plain, question, request, tell, towards

ZAI = {"UPSTREAM_BASE": "https://api.z.ai/api/anthropic", "OPENAI_UPSTREAM_BASE": "https://api.z.ai/api/paas/v4"}
ANTHROPIC = {"UPSTREAM_BASE": "https://api.anthropic.com"}


def sent(wire: Protocol, body: bytes, upstream: Protocol, **settings: str) -> Told:
    return tell(request(PATH[wire], body), [plain(upstream)], at=towards(upstream, **settings))


# ---------------------------------------------------------------------------------------------------- byte for byte

#: A request no re-encoding would leave as it is: odd spacing, order, escapes, numbers, unknown members.
ODD = rb"""
 { "unknown" : { "z":1 , "a":[ 1.0, 1e2, -0.0, 1E+2 ] },"system":"caf\u00e9 \ud83d\ude00 \/", "temperature" : 0.70,
   "messages":[ {"role":"user","content":[{"type":"text","text":"a\tb","new_field":null},{"type":"new_block","x":{}}]},
   {"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"EqQB/+=="},{"type":"tool_use","id":"t1","name":"f","input":{"b" : 1,"a":"\u4f60"}}]},
   {"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":""}]} ] , "max_tokens": 10 ,"model":"%s","tools" :[ ] , "z":"" }
"""


def odd(model: str) -> bytes:
    return ODD.replace(b"%s", model.encode())


def test_a_messages_request_to_a_messages_upstream_is_not_touched() -> None:
    told = sent(MESSAGES, odd("glm-4.6"), MESSAGES)
    assert told.world.opened[0].body == odd("glm-4.6")


def test_only_the_name_of_the_model_changes_where_it_has_another_there() -> None:
    told = sent(MESSAGES, odd("glm-4.6-anthropic"), MESSAGES)
    assert told.world.opened[0].body == odd("glm-4.6")
    assert told.json["model"] == "glm-4.6-anthropic"


def test_a_chat_request_to_a_chat_upstream_gets_a_thinking_switch_and_nothing_else() -> None:
    told = sent(CHAT, odd("glm-4.6"), CHAT)
    assert told.world.opened[0].body == odd("glm-4.6").rstrip()[:-2] + b' ,"thinking":{"type":"enabled"}}\n'
    assert sent(CHAT, odd("glm-4.6"), CHAT, ENABLE_ZAI_THINKING="no").world.opened[0].body == odd("glm-4.6")


@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
def test_a_byte_order_mark_goes_and_a_lone_surrogate_is_replaced(wire: Protocol) -> None:
    told = sent(wire, b"\xef\xbb\xbf" + question(x=1).replace(b"hello", rb"hello \ud83d"), wire, ENABLE_ZAI_THINKING="no")
    assert told.world.opened[0].body == question(x=1).replace(b"hello", rb"hello \ufffd")


def changed(wire: Protocol, body: bytes, **settings: str) -> dict[str, Any]:
    """The members that differ upstream; those that were taken away are None."""
    before, after = json.loads(body), sent(wire, body, wire, **settings).upstream
    return {name: after.get(name) for name in before.keys() | after.keys() if name not in after or before.get(name, ...) != after[name]}


@pytest.mark.parametrize(
    ("more", "changes"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param({"model": "glm-4.6-anthropic"}, {"model": "glm-4.6"}, id="a suffix"),
        pytest.param({"model": None}, {"model": "glm-4.6"}, id="no model"),
        pytest.param({"model": "glm-4.5v"}, {"model": "glm-4.6"}, id="the vision model without images"),
        pytest.param({"max_tokens": None}, {"max_tokens": 98_304}, id="no limit"),
        pytest.param({"max_tokens": -1}, {"max_tokens": 98_304}, id="a negative limit"),
        pytest.param({"max_tokens": 0}, {"max_tokens": 98_304}, id="a limit of 0"),
        pytest.param({"stream": True}, {}, id="a stream"),
        pytest.param({"thinking": {"type": "enabled", "budget_tokens": 4096}}, {}, id="thinking"),
        pytest.param(
            {"temperature": 0.3, "top_k": 5, "metadata": {"user_id": "u"}, "context_management": {"edits": []}}, {}, id="anything else"
        ),
    ],
)
def test_on_the_messages_wire_these_members_change(more: dict[str, Any], changes: dict[str, Any]) -> None:
    body = question(**more)
    if more.get("stream"):
        from_stream = tell(request("/v1/messages", body), [plain(MESSAGES)], at=towards(MESSAGES))
        assert from_stream.world.opened[0].body == body
        return
    assert changed(MESSAGES, body) == changes


@pytest.mark.parametrize(
    ("more", "changes"),
    [
        pytest.param({}, {"thinking": {"type": "enabled"}}, id="thinking is asked for"),
        pytest.param({"thinking": None}, {"thinking": {"type": "enabled"}}, id="null is not a wish"),
        pytest.param({"thinking": {"type": "disabled"}}, {}, id="the client's own wish wins"),
        pytest.param({"thinking": {"type": "enabled", "clear_thinking": False}}, {}, id="the client's own wish, with more"),
        pytest.param({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}, id="no effort"),
        pytest.param({"reasoning_effort": "minimal"}, {"thinking": {"type": "disabled"}}, id="hardly an effort"),
        pytest.param({"reasoning_effort": "high"}, {"thinking": {"type": "enabled"}}, id="an effort"),
        pytest.param({"model": "glm-4.6-openai", "thinking": {"type": "disabled"}}, {"model": "glm-4.6"}, id="a suffix"),
        pytest.param({"max_tokens": 0, "thinking": {}}, {"max_tokens": None}, id="a limit of 0 is left out"),
        pytest.param({"max_completion_tokens": -5, "thinking": {}}, {"max_completion_tokens": None}, id="a negative limit is left out"),
        pytest.param({"max_tokens": None, "thinking": {}}, {}, id="no limit stays none"),
        pytest.param({"n": 3, "logprobs": True, "new": [1], "thinking": {}}, {}, id="anything else"),
        pytest.param({"stream_options": {"include_usage": True}, "thinking": {}}, {}, id="stream options of a plain request"),
    ],
)
def test_on_the_chat_wire_these_members_change(more: dict[str, Any], changes: dict[str, Any]) -> None:
    assert changed(CHAT, question(**more), **ZAI) == changes


@pytest.mark.parametrize(
    ("options", "sent_options"),
    [
        ({}, {"include_usage": True}),
        ({"stream_options": None}, {"include_usage": True}),
        ({"stream_options": []}, {"include_usage": True}),
        ({"stream_options": {"include_usage": False, "x": 1}}, {"include_usage": True, "x": 1}),
        ({"stream_options": {"include_usage": True, "x": 1}}, {"include_usage": True, "x": 1}),
    ],
)
def test_a_chat_stream_is_asked_for_its_usage(options: dict[str, Any], sent_options: dict[str, Any]) -> None:
    told = tell(request("/v1/chat/completions", question(True, **options)), [plain(CHAT)], at=towards(CHAT))
    assert told.upstream["stream_options"] == sent_options


def test_an_upstream_without_that_switch_is_not_asked_to_think() -> None:
    told = sent(CHAT, question(), CHAT, OPENAI_UPSTREAM_BASE="https://api.openai.com/v1")
    assert told.world.opened[0].body == question()


# ---------------------------------------------------------------------------------------------------- the billing header

BILLING = "x-anthropic-billing-header: cc_version=2.1.329.a1b; cc_entrypoint=cli; cch=7f3a9;"


@pytest.mark.parametrize("system", [BILLING, [{"type": "text", "text": BILLING}, {"type": "text", "text": "cch=untouched, x-anthropic cch=too"}]], ids=["a text", "blocks"])  # fmt: skip
def test_the_nonce_of_claude_code_is_constant_towards_others_and_the_change_is_noted(system: Any) -> None:
    body = question(system=system)
    told = sent(MESSAGES, body, MESSAGES, **ZAI)
    assert told.world.opened[0].body == body.replace(b"cch=7f3a9", b"cch=00000")
    assert any("cch=" in note for note in told.record.notes)
    other = sent(MESSAGES, body.replace(b"7f3a9", b"0dd1e"), MESSAGES, **ZAI)
    assert other.world.opened[0].body == told.world.opened[0].body


def test_the_nonce_is_untouched_towards_anthropic() -> None:
    body = question(system=BILLING, model="claude-opus-4-7")
    told = sent(MESSAGES, body, MESSAGES, **ANTHROPIC)
    assert told.world.opened[0].body == body
    assert not any("cch=" in note for note in told.record.notes)


def test_a_prompt_without_the_header_is_left_alone_even_if_it_speaks_of_cch() -> None:
    body = question(system="cch=7f3a9")
    assert sent(MESSAGES, body, MESSAGES).world.opened[0].body == body


# ---------------------------------------------------------------------------------------------------- threads


THREAD = {"type": "create"}


def test_a_thread_is_refused_by_upstreams_that_know_none_in_the_way_the_sdks_act_upon() -> None:
    for upstream in (MESSAGES, CHAT):
        told = tell(request("/v1/messages", question(thread=THREAD)), at=towards(upstream))
        assert (told.status, told.world.opened) == (400, [])
        error = told.json["error"]
        assert (error["type"], error["details"]) == (
            "invalid_request_error",
            {"error_code": "thread_unsupported_request", "unsupported": []},
        )


def test_a_thread_passes_to_anthropic_and_a_thread_that_is_null_everywhere() -> None:
    assert sent(MESSAGES, question(thread=THREAD, model="claude-opus-4-7"), MESSAGES, **ANTHROPIC).upstream["thread"] == THREAD
    assert sent(MESSAGES, question(thread=None), MESSAGES).status == 200


# ---------------------------------------------------------------------------------------------------- the other wire


def test_a_messages_request_becomes_a_chat_request_with_the_thinking_switch() -> None:
    told = sent(MESSAGES, question(system="Be brief."), CHAT, **ZAI)
    assert told.upstream == {
        "model": "glm-4.6",
        "max_tokens": 64,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello"}],
        "thinking": {"type": "enabled"},
    }
    assert "thinking" not in sent(MESSAGES, question(), CHAT, ENABLE_ZAI_THINKING="no", **ZAI).upstream


@pytest.mark.parametrize(
    ("thinking", "switch"),
    [({"type": "disabled"}, {"type": "disabled"}), ({"type": "enabled", "budget_tokens": 4096}, {"type": "enabled"})],
)
def test_a_messages_clients_own_wish_wins_over_the_switch(thinking: dict[str, Any], switch: dict[str, Any]) -> None:
    body = question(thinking=thinking, max_tokens=8192)
    assert sent(MESSAGES, body, CHAT, **ZAI).upstream["thinking"] == switch


def test_a_chat_request_becomes_a_messages_request_with_the_limit_that_wire_demands() -> None:
    body = encoded({"model": "glm-4.6", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello"}]})
    upstream = sent(CHAT, body, MESSAGES).upstream
    assert upstream["max_tokens"] == 98_304
    assert upstream["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Say hello"}]}]
    assert upstream["model"] == "glm-4.6"


def test_what_was_dropped_on_the_way_is_named_in_the_answer_and_in_the_log() -> None:
    told = sent(MESSAGES, question(tools=[{"type": "web_search_20250305", "name": "web_search"}], metadata={"user_id": "u" * 8}), CHAT)
    assert told.status == 200
    dropped = told.header("x-proxy-dropped")
    assert dropped is not None
    assert "web_search" in dropped
    assert any(note.startswith("left out tools[0]") for note in told.record.notes)
    assert any(loss.path.startswith("tools[0]") for loss in told.record.losses)


def test_what_may_not_be_dropped_is_400_and_nothing_is_sent() -> None:
    told = tell(request("/v1/chat/completions", question(n=2)), at=towards(MESSAGES))
    assert (told.status, told.json["error"]["param"], told.json["error"]["code"]) == (400, "n", "unsupported_parameter")
    assert told.header("x-proxy-upstream") == "international/anthropic"
    assert told.world.opened == []


@pytest.mark.parametrize(("wire", "upstream"), PAIRS)
def test_the_upstream_gets_exactly_these_headers(wire: Protocol, upstream: Protocol) -> None:
    noise = {
        "cookie": "c",
        "user-agent": "u",
        "x-forwarded-for": "9.9.9.9",
        "accept-encoding": "gzip",
        "x-api-version": "1",
        "anthropic-beta": "b-1",
    }
    told = tell(request(PATH[wire], question(), headers=noise), [plain(upstream)], at=towards(upstream))
    names = [name for name, _ in told.world.opened[0].headers]
    common = [b"content-type", b"accept", b"user-agent"]
    assert (
        names == [*common, b"x-api-key", b"anthropic-version", b"anthropic-beta"] if upstream is MESSAGES else [*common, b"authorization"]
    )
    assert told.upstream_header("accept") == ["application/json"]


@pytest.mark.parametrize(("wire", "upstream"), PAIRS)
def test_every_request_has_one_routing_line_and_says_the_reason(wire: Protocol, upstream: Protocol) -> None:
    told = sent(wire, question(model=f"glm-4.6-{upstream.value}"), upstream)
    word = "OpenAI" if upstream is CHAT else "Anthropic"
    assert [note for note in told.record.notes if note.startswith("[ROUTING]")] == [f"[ROUTING] → {word} (suffix: -{upstream.value})"]
    assert told.header("x-proxy-route") == f"suffix: -{upstream.value}"
    assert told.header("x-proxy-upstream") == f"international/{upstream.value}"
    assert told.header("x-proxy-model") == "glm-4.6"
    assert told.record.upstream_model == "glm-4.6"


URI = "data:image/png;base64,iVBORw0KGgo="
BLOCK = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ASKED = [{"role": "user", "content": "Look"}, {"role": "assistant", "content": None, "tool_calls": [CALL]}]


@pytest.mark.parametrize(
    "part", [BLOCK, {"type": "input_image", "image_url": URI}, {"type": "input_image", "image_url": {"url": URI}}], ids=str
)
@pytest.mark.parametrize(
    "turns",
    [
        lambda part: [{"role": "user", "content": [part]}],
        lambda part: [{"role": "user", "content": part}],
        lambda part: [*ASKED, {"role": "tool", "tool_call_id": "a", "content": [part]}],
        lambda part: [*ASKED, {"role": "tool", "tool_call_id": "a", "content": part}],
        lambda part: [*ASKED, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [part]}]}],
    ],
    ids=["in a list", "alone", "in a tool message", "alone in a tool message", "in a result"],
)
def test_a_chat_clients_picture_in_other_words_goes_to_the_vision_model(part: object, turns: Any) -> None:
    """Text goes to the Messages side, for which requests are read into types."""
    at = gateway(TEXT_ENDPOINT_PREFERENCE="anthropic")
    told = tell(request(PATH[CHAT], question(messages=turns(part))), [plain(CHAT)], at=at)
    assert (told.status, told.header("x-proxy-route"), told.header("x-proxy-model")) == (200, "has_images=True", "glm-4.5v")


def test_pictures_go_to_the_vision_model_on_the_chat_side() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    body = question(model="glm-4.6-anthropic", messages=[{"role": "user", "content": [picture, {"type": "text", "text": "What is it?"}]}])
    told = tell(request("/v1/messages", body), [plain(CHAT)], at=gateway())
    assert (told.header("x-proxy-route"), told.header("x-proxy-model")) == ("has_images=True", "glm-4.5v")
    assert told.upstream["messages"][0]["content"][0] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    assert told.json["model"] == "glm-4.6-anthropic"


PNG = "data:image/png;base64,iVBORw0KGgo="


@pytest.mark.parametrize("part", [{"type": "input_image", "image_url": PNG}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}], ids=["of Responses", "of Messages"])  # fmt: skip
def test_a_picture_in_another_wires_words_is_put_into_the_upstreams(part: dict[str, Any]) -> None:
    body = question(messages=[{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}])
    told = tell(request(PATH[CHAT], body), [plain(CHAT)], at=gateway())
    assert told.record.reason == "has_images=True"
    assert told.upstream["messages"][0]["content"][1] == {"type": "image_url", "image_url": {"url": PNG}}


def test_a_picture_in_a_block_that_nobody_knows_is_one() -> None:
    block = {"type": "canvas", "layers": [{"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}]}
    body = question(messages=[{"role": "user", "content": [{"type": "text", "text": "What is it?"}, block]}])
    at = gateway(TEXT_ENDPOINT_PREFERENCE="openai")
    assert tell(request(PATH[MESSAGES], body), [plain(CHAT)], at=at).record.reason == "has_images=True"
