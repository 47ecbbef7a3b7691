"""Pictures are found wherever they stand, and only there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.routing import has_images
from core.wire.envelope import Envelope

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
        pytest.param({"messages": [], "attachments": [{"url": "DATA:image/png;base64,AA=="}]}, True, id="an attachment with a data URL"),
        pytest.param(
            {"messages": [], "attachments": [{"content_type": "image/png", "url": "x"}]}, True, id="an attachment by content_type"
        ),
        pytest.param({"messages": [], "attachments": [{"mimeType": "image/png", "data": "AA=="}]}, True, id="an attachment by mimeType"),
        pytest.param({"messages": [], "attachments": ["https://x/y"]}, False, id="an attachment that may be anything"),
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
