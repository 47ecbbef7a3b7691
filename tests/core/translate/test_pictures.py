"""Pictures in the words of others reach the upstream as pictures, in all four pairs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.dialects import DIALECTS, Protocol
from core.errors import BadRequest
from core.translate.mixed import in_own_words
from core.translate.to_chat import to_chat
from core.translate.to_messages import to_messages
from core.wire import chat, messages
from core.wire.codec import encode, read
from tests.core.translate import lifting, lowering
from tests.core.translate.lifting import HELLO, PNG, Json, assistant, call, picture, result, text, tool, use, user

MESSAGES, CHAT = Protocol.ANTHROPIC, Protocol.OPENAI
DATA_URI = f"data:image/png;base64,{PNG}"
LINK = "https://example.org/a.png"
PART: Json = {"type": "image_url", "image_url": {"url": DATA_URI}}
LINKED: Json = {"type": "image", "source": {"type": "url", "url": LINK}}
MARK = {"type": "ephemeral"}

#: What chat clients send for a picture, and that picture as Messages has it.
FOREIGN_TO_CHAT = [
    pytest.param({"type": "input_image", "image_url": DATA_URI}, picture(), id="input_image"),
    pytest.param({"type": "input_image", "image_url": {"url": LINK}}, LINKED, id="input_image with an object"),
    pytest.param(picture(), picture(), id="in the words of Messages"),
    pytest.param(picture(cache_control=MARK), picture(cache_control=MARK), id="with a breakpoint"),
    pytest.param(LINKED, LINKED, id="by URL in the words of Messages"),
    pytest.param({"type": "image", "image_url": DATA_URI}, picture(), id="image with image_url"),
    pytest.param({"type": "image", "image": DATA_URI}, picture(), id="image with image"),
    pytest.param({"type": "image", "image": PNG, "media_type": "image/png"}, picture(), id="image with bare data"),
    pytest.param({"type": "image", "url": LINK}, LINKED, id="image with url"),
    pytest.param({"type": "image", "data": PNG, "mimeType": "image/png"}, picture(), id="as MCP has it"),
    pytest.param({"type": "image", "data": PNG, "mime_type": "image/png"}, picture(), id="as MCP has it, in Python"),
]
#: What Messages clients send for a picture.
FOREIGN_TO_MESSAGES = [
    pytest.param(PART, PART, id="image_url"),
    pytest.param({"type": "image_url", "image_url": DATA_URI}, PART, id="image_url, a text"),
    pytest.param({"type": "input_image", "image_url": DATA_URI}, PART, id="input_image"),
    pytest.param(
        {"type": "input_image", "image_url": DATA_URI, "detail": "low"},
        {"type": "image_url", "image_url": {"url": DATA_URI, "detail": "low"}},
        id="input_image with a detail",
    ),
    pytest.param({"type": "image_url", "image_url": {"url": LINK}}, {"type": "image_url", "image_url": {"url": LINK}}, id="a URL"),
]


# ---------------------------------------------------------------------------------------------------- chat -> Messages


@pytest.mark.parametrize(("part", "block"), FOREIGN_TO_CHAT)
def test_a_picture_of_a_chat_request_becomes_a_block_wherever_it_stands(part: Json, block: Json) -> None:
    target = "anthropic"  # takes breakpoints
    assert lifting.turns([user([text("See"), part])], target) == [user([text("See"), block])]
    assert lifting.turns([user(part)], target) == [user([block])]
    unmarked = {name: value for name, value in block.items() if name != "cache_control"}
    mark = {name: value for name, value in block.items() if name == "cache_control"}
    for content in ([text("r"), part], part):
        turns = [*HELLO, assistant(tool_calls=[call("a")]), tool("a", content)]
        said = [text("r"), unmarked] if isinstance(content, list) else [unmarked]
        assert lifting.turns(turns, target)[-1] == user([result("a", said, **mark)])
        wrapped = [*turns[:-1], user([text("also"), result("a", content)])]
        assert lifting.turns(wrapped, target)[-1] == user([result("a", said, **mark), text("also")])


def test_the_detail_of_a_picture_is_lost() -> None:
    part = {"type": "input_image", "image_url": DATA_URI, "detail": "low"}
    made, losses = lifting.lossy({"messages": [user([part])]})
    assert made["messages"] == [user([picture()])]
    assert losses == [("messages[0].content[0].detail", "detail")]


@pytest.mark.parametrize(
    ("part", "place"),
    [
        ({"type": "input_image", "file_id": "f"}, ""),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, ""),
        ({"type": "image"}, ""),
        ({"type": "image", "image": "not a URL"}, ""),
        ({"type": "image", "data": "", "mimeType": "image/png"}, ""),
        ({"type": "image", "data": PNG, "mimeType": "text/plain"}, ""),
        (picture(media="image/tiff"), ".url"),
    ],
)
def test_a_picture_of_a_chat_request_that_cannot_be_shown_is_refused(part: Json, place: str) -> None:
    found, _ = lifting.refused({"messages": [user([text("See"), part])]})
    assert found == f"messages[0].content[1]{place}"


def test_results_in_the_words_of_messages_are_results() -> None:
    asked = [*HELLO, assistant(tool_calls=[call("a"), call("b")])]
    said = user([text("x"), result("b", "2", cache_control=MARK), result("a", "1", is_error=True)])
    assert lifting.turns([*asked, said], "anthropic")[-1] == user(
        [result("a", "1", is_error=True), result("b", "2", cache_control=MARK), text("x")]
    )
    empty = user([result("a", "", is_error=True), result("b", None, is_error=False)])
    assert lifting.turns([*asked, empty])[-1] == user([result("a", ""), result("b", "")]), "an error that says nothing is refused"
    stray, losses = lifting.lossy({"messages": [*HELLO, assistant("Yes"), user([result("a", [picture()])])]})
    assert stray["messages"][-1] == user([text("[Result of an earlier tool call]"), picture()])
    assert losses == [("messages[2].content[0]", "tool message without call")]


def test_a_result_inside_a_tool_message_is_what_is_in_it() -> None:
    turns = [*HELLO, assistant(tool_calls=[call("a")]), tool("a", [text("1"), result("a", [text("2"), picture()])])]
    assert lifting.turns(turns)[-1] == user([result("a", [text("1"), text("2"), picture()])])


# ---------------------------------------------------------------------------------------------------- Messages -> chat


@pytest.mark.parametrize(("block", "part"), FOREIGN_TO_MESSAGES)
def test_a_picture_of_a_messages_request_becomes_a_part_wherever_it_stands(block: Json, part: Json) -> None:
    assert lowering.turns([user([text("See"), block])]) == [user([text("See"), part])]
    assert lowering.turns([user(block)]) == [user([part])]
    document = {"type": "document", "source": {"type": "content", "content": [block]}}
    assert lowering.turns([user([document])]) == [user([part])]
    turns = [*HELLO, assistant([use("a")]), user([result("a", [block])])]
    assert lowering.turns(turns, lowering.dialect("vllm", thinking_default=None))[-1]["content"] == [part]


def test_a_breakpoint_on_a_picture_is_for_upstreams_that_take_them() -> None:
    block = {**PART, "cache_control": MARK}
    assert lowering.turns([user([block])], "generic") == [user([PART])]
    assert lowering.turns([user([block])], "openrouter") == [user([block])]


@pytest.mark.parametrize(
    ("block", "target"),
    [
        ({"type": "input_image", "file_id": "f"}, "generic"),
        ({"type": "image_url", "image_url": "ftp://x"}, "generic"),
        ({"type": "image_url", "image_url": {"url": LINK}}, "ollama"),
    ],
)
def test_a_picture_of_a_messages_request_that_cannot_be_shown_is_refused(block: Json, target: str) -> None:
    assert lowering.refused({"messages": [user([text("See"), block])]}, target).param == "messages[0].content[1]"


def test_a_picture_as_data_reaches_upstreams_that_fetch_none() -> None:
    assert lowering.turns([user([PART])], "ollama") == [user([PART])]


# ---------------------------------------------------------------------------------------------------- attachments

ATTACHED = [
    pytest.param(DATA_URI, id="a data URI"),
    pytest.param({"url": DATA_URI}, id="a data URI in an object"),
    pytest.param({"type": "image", "data": PNG, "mimeType": "image/png"}, id="mimeType"),
    pytest.param({"type": "image", "data": PNG, "mime_type": "image/png"}, id="mime_type"),
    pytest.param({"type": "file", "data": PNG, "media_type": "image/png"}, id="media_type"),
    pytest.param({"name": "a.png", "content": PNG, "content_type": "image/png"}, id="content_type"),
    pytest.param({"name": "a.png", "content": PNG, "contentType": "image/png"}, id="contentType"),
    pytest.param({"type": "image/png", "data": PNG}, id="a media type for a type"),
    pytest.param({"mimeType": "image/png", "source": {"data": PNG}}, id="a media type outside of the source"),
    pytest.param(picture(), id="in the words of Messages"),
    pytest.param(PART, id="in the words of chat"),
]


@pytest.mark.parametrize("attachment", ATTACHED)
def test_an_attached_picture_is_shown_with_the_users_last_message(attachment: object) -> None:
    begin = [user("First"), assistant("Yes?")]
    for content, said in (("What is it?", [text("What is it?")]), ([text("It?")], [text("It?")])):
        request = {"messages": [*begin, user(content), assistant("Hm")], "attachments": [attachment, attachment]}
        assert lifting.lifted(request)["messages"] == [*begin, user([*said, picture()]), assistant("Hm")]
        assert lowering.lowered(request, lowering.dialect("vllm", thinking_default=None))["messages"] == [
            *begin,
            user([*said, PART]),
            assistant("Hm"),
        ]


def test_the_request_itself_is_not_touched() -> None:
    """It may be put into the words of another upstream after this one."""
    body = json.dumps({"max_tokens": 9, "messages": [user([text("It?")])], "attachments": [DATA_URI]}).encode()
    on_chat, on_messages = read(chat.Request, body), read(messages.Request, body)
    before = encode((on_chat, on_messages))
    to_messages(on_chat, DIALECTS["anthropic"], model="there", answer_model="here", seed="s", now=0.0)
    to_chat(on_messages, DIALECTS["openai"], model="there", answer_model="here", seed="s", now=0.0)
    assert encode((on_chat, on_messages)) == before


@pytest.mark.parametrize("there", [picture(), PART, {"type": "input_image", "image_url": DATA_URI}])
def test_an_attachment_that_is_in_the_message_already_is_not_shown_twice(there: Json) -> None:
    request = {"messages": [user([text("It?"), there])], "attachments": [DATA_URI]}
    assert lifting.lifted(request)["messages"] == [user([text("It?"), picture()])]
    assert lowering.lowered(request)["messages"] == [user([text("It?"), PART])]


@pytest.mark.parametrize(
    ("attachments", "place"),
    [
        ([{"type": "text/plain", "data": "YQ=="}], "attachments[0]"),
        ([{"type": "image"}], "attachments[0]"),
        ([3], "attachments[0]"),
        (["notes"], "attachments[0]"),
        ([LINK], "attachments[0]"),
        ({"path": "a.txt"}, "attachments[0]"),
        ([{"type": "image", "source": {"source": {"source": {"url": LINK}}}}], "attachments[0]"),
    ],
)
def test_an_attachment_that_is_no_picture_is_lost_and_told(attachments: object, place: str) -> None:
    for way in (lifting, lowering):
        made, losses = way.lossy({"messages": [user("Hi")], "attachments": attachments})
        assert made["messages"] == [user("Hi")]
        assert losses == [(place, "attachments")]


def test_attachments_without_a_message_of_the_users_are_lost() -> None:
    request = {"messages": [assistant("Hi")], "attachments": [DATA_URI]}
    assert lowering.lossy(request)[1][0] == ("attachments", "attachments")
    assert lifting.lossy(request)[1][0] == ("attachments", "attachments")


def test_an_empty_message_of_the_users_takes_attachments_too() -> None:
    assert lifting.lifted({"messages": [user(None)], "attachments": [DATA_URI]})["messages"] == [user([picture()])]


@pytest.mark.parametrize("nothing", [None, [], {}])
def test_no_attachments_are_no_loss(nothing: object) -> None:
    assert lifting.lifted({"attachments": nothing})["messages"] == HELLO
    assert lowering.lowered({"attachments": nothing})["messages"] == HELLO


# ---------------------------------------------------------------------------------------------------- the same wire


def own(turns: Any, wire: Protocol) -> Any:
    made = in_own_words(json.dumps(turns).encode(), wire)
    return None if made is None else json.loads(made)


def in_all_places(part: Json, *, alone: bool = False) -> list[list[Json]]:
    """``alone``: also as the one object that a content is."""
    single = part if alone else [part]
    return [
        [user([text("See"), part])],
        [user(single)],
        [*HELLO, tool("a", [part])],
        [*HELLO, tool("a", single)],
        [user([text("x"), result("a", [text("y"), part])])],
        [user([result("a", single)])],
        [user([{"type": "document", "source": {"type": "content", "content": single}}])],
        [user([result("a", [{"type": "document", "source": {"type": "content", "content": [part]}}])])],
    ]


@pytest.mark.parametrize(
    ("part", "made"),
    [
        (picture(), PART),
        (picture(cache_control=MARK), {**PART, "cache_control": MARK}),
        ({"type": "input_image", "image_url": DATA_URI}, PART),
        ({"type": "input_image", "image_url": DATA_URI, "detail": 3}, PART),
        (
            {"type": "input_image", "image_url": {"url": LINK, "detail": "low"}},
            {"type": "image_url", "image_url": {"url": LINK, "detail": "low"}},
        ),
        ({"type": "image", "data": PNG, "mimeType": "image/png"}, PART),
    ],
)
def test_chat_upstreams_are_told_in_their_own_words(part: Json, made: Json) -> None:
    for before, after in zip(in_all_places(part, alone=True), in_all_places(made), strict=True):
        assert own(before, CHAT) == after


@pytest.mark.parametrize(
    ("part", "made"),
    [
        (PART, picture()),
        ({**PART, "cache_control": MARK}, picture(cache_control=MARK)),
        ({"type": "input_image", "image_url": LINK}, LINKED),
    ],
)
def test_messages_upstreams_are_told_in_their_own_words(part: Json, made: Json) -> None:
    for before, after in zip(in_all_places(part, alone=True), in_all_places(made), strict=True):
        assert own(before, MESSAGES) == after


@pytest.mark.parametrize("wire", [MESSAGES, CHAT])
@pytest.mark.parametrize(
    "turns",
    [
        [user("plain")],
        [user('the words "image", "input_image" and "image_url"')],
        [user([{"type": "tool_use", "input": {"type": "input_image", "image_url": DATA_URI}}])],
        [user([{"type": "input_image", "file_id": "f"}, 3, "image"])],
        [user([{"type": "text", "text": "a", "note": "input_image"}])],
        ["input_image", 3],
        [user([result("a", [result("b", [result("c", [result("d", [{"type": "input_image", "image_url": DATA_URI}])])])])])],
    ],
    ids=["words", "quoted words", "a tool's own data", "what cannot be understood", "a value", "no objects", "deeper than pictures stand"],
)
def test_what_is_no_foreign_picture_stays(turns: Any, wire: Protocol) -> None:
    assert own(turns, wire) is None


def test_pictures_in_the_words_of_the_wire_stay() -> None:
    assert own([user([PART])], CHAT) is None
    assert own([user([picture()])], MESSAGES) is None


def test_a_picture_that_is_the_whole_content_gets_its_list() -> None:
    assert own([user(PART)], CHAT) == [user([PART])]
    assert own([user(picture())], MESSAGES) == [user([picture()])]
    assert own([user({"type": "input_image", "file_id": "f"})], CHAT) == [user([{"type": "input_image", "file_id": "f"}])]
    assert own([user({"type": "text", "text": "image", "image": 1})], CHAT) is None


def test_every_other_byte_stays() -> None:
    begin, end = b'[ {"role": "user",  "content": "a\\u00e9 1e5"}, ', b', {"role":"user","n": 1.50}]'
    turn = b'{"role": "user", "x": 1.50, "content": [ {"type":"text", "text":"\\u00e9"} , %s ]}'
    made = in_own_words(begin + turn % json.dumps(picture()).encode() + end, CHAT)
    expected = b'{"role":"user","x":1.50,"content":[ {"type":"text", "text":"\\u00e9"} , {"type":"image_url","image_url":{"url":"%s"}} ]}'
    assert made == begin + expected % DATA_URI.encode() + end


def test_a_picture_that_messages_cannot_take_is_refused_by_its_place() -> None:
    with pytest.raises(BadRequest) as caught:
        own([*HELLO, user([text("a"), {"type": "image_url", "image_url": "data:image/tiff;base64,AAAA"}])], MESSAGES)
    assert caught.value.param == "messages[1].content[1]"
