"""Pictures are found in typed requests wherever they may stand."""

from __future__ import annotations

import pytest

from core.translate.images import holds_image
from core.wire import chat, messages

PICTURE = messages.Image(messages.Source(type="url", url="https://example.com/a.png"))


@pytest.mark.parametrize(
    ("turns", "found"),
    [
        pytest.param([messages.Turn("user", "words")], False, id="words alone"),
        pytest.param([messages.Turn("user", [messages.Text("words")])], False, id="a text block"),
        pytest.param([messages.Turn("user", [PICTURE])], True, id="a picture"),
        pytest.param([messages.Turn("user", [messages.ToolResult("a", "words")])], False, id="a result of words"),
        pytest.param([messages.Turn("user", [messages.ToolResult("a", [PICTURE])])], True, id="a picture in a result"),
        pytest.param([messages.Turn("user", [messages.ImageUrlPart("x")])], True, id="a picture in the words of chat"),
        pytest.param(
            [messages.Turn("user", [messages.ToolResult("a", [messages.InputImage("x")])])], True, id="an input_image in a result"
        ),
        pytest.param([messages.Turn("user", [messages.Document(messages.Source("content", content=[PICTURE]))])], True, id="in a document"),
        pytest.param(
            [messages.Turn("user", [messages.ToolResult("a", [messages.Document(messages.Source("content", content=[PICTURE]))])])],
            True,
            id="in a document in a result",
        ),
        pytest.param([messages.Turn("user", [messages.Document(messages.Source("text", data="a"))])], False, id="a document of words"),
        pytest.param([chat.Turn("user", [messages.InputImage("x")])], True, id="an input_image part"),
        pytest.param([chat.Turn("tool", [chat.AnyImagePart(url="x")])], True, id="a part in the words of Messages"),
        pytest.param([chat.Turn("user", [chat.ToolResultPart("a", [chat.AnyImagePart(url="x")])])], True, id="in a result part"),
        pytest.param([chat.Turn("user", [chat.ToolResultPart("a", "words")])], False, id="a result part of words"),
        pytest.param([chat.Turn("user", [chat.ImagePart("https://example.com/a.png")])], True, id="a picture part"),
    ],
)
def test_a_picture_is_found(turns: list[messages.Turn] | list[chat.Turn], found: bool) -> None:
    assert holds_image(turns) is found
