"""Which upstream answers: every row of the tables for a GLM server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.dialects import Protocol
from core.routing import bases, has_images, route, sees, upstream_url
from core.settings import ZAI_ANTHROPIC, ZAI_OPENAI, Settings
from core.wire.envelope import Envelope

MESSAGES, CHAT = Protocol.ANTHROPIC, Protocol.OPENAI


# ---------------------------------------------------------------------------------------------------- the protocol


@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
@pytest.mark.parametrize(
    ("model", "images", "preference", "protocol", "reason"),
    [
        pytest.param("glm-4.6", True, "anthropic", CHAT, "has_images=True", id="1: images"),
        pytest.param("glm-4.6-anthropic", True, "auto", CHAT, "has_images=True", id="1: images, whatever the suffix"),
        pytest.param("glm-4.6-openai", False, "anthropic", CHAT, "suffix: -openai", id="2: suffix before preference"),
        pytest.param("glm-4.6-anthropic", False, "openai", MESSAGES, "suffix: -anthropic", id="2: the other suffix"),
        pytest.param("glm-4.6", False, "openai", CHAT, "preference: openai", id="3: preference openai"),
        pytest.param("glm-4.6", False, "anthropic", MESSAGES, "preference: anthropic", id="3: preference anthropic"),
    ],
)
def test_the_protocol_is_the_first_that_applies(
    wire: Protocol, model: str, images: bool, preference: str, protocol: Protocol, reason: str
) -> None:
    target = route(model, images=images, wire=wire, settings=Settings(text_endpoint_preference=preference))
    assert (target.protocol, target.reason) == (protocol, reason)
    word = "OpenAI" if protocol is CHAT else "Anthropic"
    assert target.line == f"[ROUTING] → {word} ({reason})"
    assert target.base == (ZAI_OPENAI if protocol is CHAT else ZAI_ANTHROPIC)
    assert target.dialect.name == ("glm" if protocol is CHAT else "glm-messages")
    assert target.name == "international"


@pytest.mark.parametrize(
    ("preference", "wire", "protocol", "reason"),
    [
        ("endpoint", MESSAGES, MESSAGES, "endpoint: /v1/messages"),
        ("endpoint", CHAT, CHAT, "endpoint: /v1/chat/completions"),
        ("auto", MESSAGES, MESSAGES, "auto: /v1/messages"),
        ("auto", CHAT, MESSAGES, "auto: /v1/chat/completions"),
    ],
)
def test_the_endpoint_counts_when_nothing_else_does(preference: str, wire: Protocol, protocol: Protocol, reason: str) -> None:
    target = route("glm-4.6", images=False, wire=wire, settings=Settings(text_endpoint_preference=preference))
    assert (target.protocol, target.reason) == (protocol, reason)


# ---------------------------------------------------------------------------------------------------- the model


@pytest.mark.parametrize(
    ("model", "images", "upstream"),
    [
        pytest.param(None, False, "glm-4.6", id="none: the text default"),
        pytest.param("", True, "glm-4.5v", id="none, with images: the vision default"),
        pytest.param("  ", False, "glm-4.6", id="a blank one"),
        pytest.param("-openai", False, "glm-4.6", id="a suffix alone"),
        pytest.param("glm-4.6", False, "glm-4.6", id="the text default"),
        pytest.param("glm-4.6", True, "glm-4.5v", id="the text default with images"),
        pytest.param("glm-4.5v", False, "glm-4.6", id="the vision default without images"),
        pytest.param("glm-4.5v", True, "glm-4.5v", id="the vision default with images"),
        pytest.param("glm-4.6v-flash", True, "glm-4.6v-flash", id="another that sees, with images"),
        pytest.param("glm-4.6v-flash", False, "glm-4.6v-flash", id="another that sees, without"),
        pytest.param("claude-sonnet-4-5", True, "glm-4.5v", id="one not known to see, with images"),
        pytest.param("claude-sonnet-4-5", False, "claude-sonnet-4-5", id="any other passes"),
        pytest.param("glm-4.6-openai", False, "glm-4.6", id="a suffix"),
        pytest.param("glm-4.5v-anthropic", False, "glm-4.6", id="a suffix on the vision default"),
        pytest.param("glm-4.6-openai-anthropic", False, "glm-4.6-openai", id="one suffix only"),
        pytest.param("glm-4.6-openai-x", False, "glm-4.6-openai-x", id="no suffix but at the end"),
    ],
)
def test_the_upstream_gets_a_model_that_can_do_it(model: str | None, images: bool, upstream: str) -> None:
    assert route(model, images=images, wire=CHAT, settings=Settings()).model == upstream


@pytest.mark.parametrize("images", [True, False])
@pytest.mark.parametrize(("model", "upstream"), [("m", "m"), ("other", "other"), ("", "m")])
def test_equal_defaults_never_switch(images: bool, model: str, upstream: str) -> None:
    settings = Settings(autotext_model="m", autovision_model="m")
    assert route(model, images=images, wire=CHAT, settings=settings).model == upstream


def test_a_text_default_that_happens_to_see_still_makes_room_for_the_vision_default() -> None:
    settings = Settings(autotext_model="glm-4.6v", autovision_model="glm-5v")
    assert route("glm-4.6v", images=True, wire=CHAT, settings=settings).model == "glm-5v"


@pytest.mark.parametrize(
    ("model", "known"), [("glm-4.5v", True), ("GLM-4.6V-Flash", True), ("glm-4.6", False), ("glm-4.6-dev", False), ("gpt-5v", False)]
)
def test_a_model_is_known_to_see_by_its_name(model: str, known: bool) -> None:
    assert sees(model) is known


# ---------------------------------------------------------------------------------------------------- the addresses


@pytest.mark.parametrize(
    ("anthropic", "openai", "expected"),
    [
        pytest.param(None, None, (ZAI_ANTHROPIC, ZAI_OPENAI), id="none: z.ai"),
        pytest.param("http://a", "http://b", ("http://a", "http://b"), id="both"),
        pytest.param("http://a", None, ("http://a", None), id="one's own, Messages only"),
        pytest.param(None, "http://b", (None, "http://b"), id="one's own, chat only"),
        pytest.param("https://api.z.ai/api/anthropic", None, ("https://api.z.ai/api/anthropic", ZAI_OPENAI), id="z.ai's Messages side"),
        pytest.param(None, "https://z.ai/v4", (ZAI_ANTHROPIC, "https://z.ai/v4"), id="z.ai's chat side"),
        pytest.param("https://notz.ai/x", None, ("https://notz.ai/x", None), id="a name that ends alike"),
    ],
)
def test_ones_own_server_never_shares_its_requests_with_another(
    anthropic: str | None, openai: str | None, expected: tuple[str, str]
) -> None:
    found = bases(Settings(upstream_base=anthropic, openai_upstream_base=openai))
    assert (found.anthropic, found.openai) == expected


@pytest.mark.parametrize(
    ("settings", "wanted", "protocol"),
    [
        (Settings(upstream_base="http://a"), {"images": True, "model": "m"}, MESSAGES),
        (Settings(upstream_base="http://a"), {"images": False, "model": "m-openai"}, MESSAGES),
        (Settings(openai_upstream_base="http://b"), {"images": False, "model": "m-anthropic"}, CHAT),
        (Settings(openai_upstream_base="http://b"), {"images": False, "model": "m"}, CHAT),
    ],
)
def test_a_server_of_one_protocol_gets_everything_in_it(settings: Settings, wanted: dict[str, Any], protocol: Protocol) -> None:
    target = route(wanted["model"], images=wanted["images"], wire=MESSAGES, settings=settings)
    assert (target.protocol, target.reason) == (protocol, f"only base: {protocol.value}")


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://x", "https://x/v1/chat/completions"),
        ("https://x/", "https://x/v1/chat/completions"),
        ("https://x//", "https://x/v1/chat/completions"),
        ("https://x/v1", "https://x/v1/chat/completions"),
        ("https://x/v1/", "https://x/v1/chat/completions"),
        ("https://x/api/paas/v4", "https://x/api/paas/v4/chat/completions"),
        ("https://x/v1beta/openai", "https://x/v1beta/openai/chat/completions"),
        ("https://x/v1/chat/completions", "https://x/v1/chat/completions"),
        ("https://x/any/chat/completions/", "https://x/any/chat/completions"),
        ("https://x/vienna", "https://x/vienna/v1/chat/completions"),
        ("https://v1.example", "https://v1.example/v1/chat/completions"),
    ],
)
def test_a_chat_base_is_completed_by_what_it_lacks(base: str, url: str) -> None:
    assert upstream_url(CHAT, base) == url


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://x", "https://x/v1/messages"),
        ("https://x/", "https://x/v1/messages"),
        ("https://x/v1", "https://x/v1/messages"),
        ("https://x/v2/", "https://x/v2/messages"),
        ("https://x/api/anthropic", "https://x/api/anthropic/v1/messages"),
        ("https://x/v1/anthropic", "https://x/v1/anthropic/v1/messages"),
        ("https://x/v1/messages", "https://x/v1/messages"),
        ("https://x/a/v1/messages/", "https://x/a/v1/messages"),
    ],
)
def test_a_messages_base_is_completed_by_what_it_lacks(base: str, url: str) -> None:
    assert upstream_url(MESSAGES, base) == url
    assert upstream_url(MESSAGES, base, count=True) == f"{url}/count_tokens"


# ---------------------------------------------------------------------------------------------------- images

PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
LINK = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}


def user(content: object) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        pytest.param(user([PICTURE]), True, id="Messages"),
        pytest.param(user([{"type": "text", "text": "a"}, LINK]), True, id="chat"),
        pytest.param(user([{"type": "input_image", "image_url": "x"}]), True, id="input_image"),
        pytest.param(user(PICTURE), True, id="a content that is one object"),
        pytest.param(user([{"type": "tool_result", "tool_use_id": "t", "content": [PICTURE]}]), True, id="in a tool result"),
        pytest.param({"messages": [{"role": "tool", "tool_call_id": "t", "content": [LINK]}]}, True, id="in a tool message"),
        pytest.param(user([{"type": "document", "source": {"type": "content", "content": [PICTURE]}}]), True, id="in a document"),
        pytest.param({"messages": [], "attachments": [{"contentType": "image/png", "url": "x"}]}, True, id="an attachment"),
        pytest.param({"messages": [], "attachments": [{"type": "image"}]}, True, id="an attachment by type"),
        pytest.param({"messages": [], "attachments": ["data:image/png;base64,AA=="]}, True, id="an attachment that is a data URL"),
        pytest.param({"messages": [], "attachments": [3, "image", {"type": "text/plain"}]}, False, id="other attachments"),
        pytest.param({"messages": [], "attachments": {"type": "image"}}, False, id="attachments that are no list"),
        pytest.param(user("plain"), False, id="none"),
        pytest.param(user('the words "image" and "image_url"'), False, id="the word in a text"),
        pytest.param(
            {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": PICTURE}]}]},
            False,
            id="a tool's own data",
        ),
        pytest.param(
            {"messages": [], "tools": [{"name": "n", "input_schema": {"properties": {"type": "image", "a": {"type": "image"}}}}]},
            False,
            id="a schema",
        ),
        pytest.param(user([{"type": ["image"]}, {"type": {"image": 1}}, {"type": None}]), False, id="types that are no texts"),
        pytest.param({"model": "image"}, False, id="no messages at all"),
        pytest.param({"messages": '"image"'}, False, id="messages that are a text"),
    ],
)
def test_a_picture_is_found_wherever_it_stands(body: dict[str, Any], found: bool) -> None:
    assert has_images(Envelope.read(json.dumps(body).encode())) is found


def test_a_picture_is_found_beside_numbers_that_are_out_of_range_and_below_any_depth() -> None:
    assert has_images(Envelope.read(b'{"messages":[1e999,{"type":"image"}]}'))
    deep = b'{"messages":' + b"[" * 800 + b'{"type":"image"}' + b"]" * 800 + b"}"
    assert has_images(Envelope.read(deep, max_depth=900))
