"""System prompts, users' and assistants' messages as Messages turns; calls and their results have a file of their own."""

from __future__ import annotations

import json

import pytest

from core.dialects import CacheMarks
from core.translate.conversation_to_messages import NEUTRAL_TURN
from tests.core.translate.lifting import (
    HELLO,
    PNG,
    Json,
    assistant,
    dialect,
    image,
    lifted,
    lossy,
    picture,
    refused,
    system,
    text,
    turns,
    user,
)  # fmt: skip

MARK = {"type": "ephemeral"}
LONG = {"type": "ephemeral", "ttl": "1h"}
STEADY, INLINE = "messages-relay", "anthropic"


def marked(instructions: str) -> str:
    return f"<system>\n{instructions}\n</system>"


# ------------------------------------------------------------------------------------------------- the system prompt


@pytest.mark.parametrize(
    ("messages", "prompt"),
    [
        pytest.param([system("One")], "One", id="a string stays a string"),
        pytest.param([{"role": "developer", "content": "One"}], "One", id="developer is system"),
        pytest.param([system([text("One")])], "One", id="a list of one text is that text"),
        pytest.param(
            [system("One"), {"role": "developer", "content": "Two"}], [text("One"), text("Two")], id="several stay several blocks"
        ),
        pytest.param([system([text("One"), text(" \n"), text("Two")])], [text("One"), text("Two")], id="blank parts go"),
        pytest.param([system("One", cache_control=MARK)], [text("One", cache_control=MARK)], id="a breakpoint on the message"),
        pytest.param(
            [system([text("One", cache_control=LONG)])], [text("One", cache_control=LONG)], id="a breakpoint on a part, with its ttl"
        ),
        pytest.param(
            [system([text("One", prompt_cache_breakpoint={"mode": "explicit"})])],
            [text("One", cache_control=MARK)],
            id="OpenAI's breakpoint",
        ),
        pytest.param([system("")], None, id="a blank one is none"),
        pytest.param([system([], cache_control=MARK)], None, id="nor is one without parts, whatever its breakpoint"),
        pytest.param([user(" "), system("One")], "One", id="blank users before it do not make it a later one"),
    ],
)
def test_leading_instructions_are_the_system_prompt(messages: list[Json], prompt: object) -> None:
    assert lifted({"messages": [*messages, *HELLO]}).get("system") == prompt


@pytest.mark.parametrize(
    ("target", "messages", "expected"),
    [
        pytest.param(
            INLINE, [user("a"), system("s"), assistant("b"), user("c")],
            [user("a"), system("s"), assistant("b"), user("c")], id="kept after a user and before an assistant",
        ),
        pytest.param(INLINE, [user("a"), system("s")], [user("a"), system("s")], id="kept at the end"),
        pytest.param(
            INLINE, [user("a"), system("s"), {"role": "developer", "content": "t"}],
            [user("a"), system([text("s"), text("t")])], id="two in a row are one",
        ),
        pytest.param(
            INLINE, [user("a"), system("s"), user("b")], [user([text("a"), text(marked("s")), text("b")])],
            id="merged where a user follows",
        ),
        pytest.param(
            INLINE, [user("a"), system("s"), assistant(""), user("b")], [user([text("a"), text(marked("s")), text("b")])],
            id="merged where nothing but a blank answer is between",
        ),
        pytest.param(
            INLINE, [user("a"), assistant("b"), system("s"), user("c")],
            [user("a"), assistant("b"), user([text(marked("s")), text("c")])], id="merged after an assistant",
        ),
        pytest.param(
            STEADY, [user("a"), system("s"), assistant("b"), user("c")],
            [user([text("a"), text(marked("s"))]), assistant("b"), user("c")], id="merged where the upstream has no system turns",
        ),
        pytest.param(
            STEADY, [user("a"), assistant("b"), system([text("s"), text("t")])],
            [user("a"), assistant("b"), user(marked("s\nt"))], id="a turn of its own where there is no neighbour",
        ),
        pytest.param(
            STEADY, [user("a"), system([text("s", cache_control=MARK)])],
            [user([text("a"), text(marked("s"), cache_control=MARK)])], id="merged with its breakpoint",
        ),
        pytest.param(STEADY, [user("a"), system(" ")], [user("a")], id="blank ones leave nothing"),
        pytest.param(INLINE, [user("a"), system([])], [user("a")], id="nor where system turns are kept"),
    ],
)  # fmt: skip
def test_later_instructions_stay_where_they_were(target: str, messages: list[Json], expected: list[Json]) -> None:
    made = lifted({"messages": messages}, target)
    assert made["messages"] == expected
    assert "system" not in made


# ------------------------------------------------------------------------------------------------- users and assistants


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param([user("a")], [user("a")], id="one user"),
        pytest.param([user("a"), user([text("b"), text("c")])], [user([text("a"), text("b"), text("c")])], id="users in a row are one turn"),
        pytest.param([user([text("a")])], [user("a")], id="a list of one text is a string"),
        pytest.param([user("a"), assistant("b"), assistant("c")], [user("a"), assistant([text("b"), text("c")])], id="so are assistants"),
        pytest.param([user("a"), user(""), user(" \t"), user(None), user([text("\n")])], [user("a")], id="blank ones are left out"),
        pytest.param([user("a"), assistant(""), user("b")], [user([text("a"), text("b")])], id="a blank answer is left out"),
        pytest.param([user(" a ")], [user(" a ")], id="a user's white space stays"),
        pytest.param([user("a"), assistant("b \n")], [user("a"), assistant("b")], id="not so at the end of a final answer"),
        pytest.param(
            [user("a"), assistant([text("b "), text("c ")])], [user("a"), assistant([text("b "), text("c")])], id="of several texts only the last",
        ),
        pytest.param([user("a"), assistant("b "), user("c")], [user("a"), assistant("b "), user("c")], id="nor in earlier ones"),
        pytest.param(
            [user("a"), assistant([{"type": "refusal", "refusal": "No."}])], [user("a"), assistant("No.")], id="a refusal part is text",
        ),
        pytest.param([user("a"), assistant(None, refusal="No.")], [user("a"), assistant("No.")], id="so is the member refusal"),
        pytest.param([user("a"), assistant("b", refusal=" ")], [user("a"), assistant("b")], id="unless it is blank"),
        pytest.param([user("a"), assistant("b", prefix=True)], [user("a"), assistant("b")], id="DeepSeek's prefix is what Messages does anyway"),
        pytest.param([user([{"type": "tool_reference", "name": "n"}])], [user("n")], id="a tool reference is its name"),
        pytest.param(
            [user("a"), assistant("b", cache_control=MARK)], [user("a"), assistant([text("b", cache_control=MARK)])], id="an answer's breakpoint",
        ),
    ],
)  # fmt: skip
def test_turns_alternate_and_hold_no_blank_text(messages: list[Json], expected: list[Json]) -> None:
    assert turns(messages) == expected


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param([assistant("a"), user("b")], [user(NEUTRAL_TURN), assistant("a"), user("b")], id="an assistant first"),
        pytest.param([system("s")], [user(NEUTRAL_TURN)], id="nothing but a system prompt"),
    ],
)
def test_a_conversation_that_no_user_begins_is_given_a_neutral_turn(messages: list[Json], expected: list[Json]) -> None:
    made, losses = lossy({"messages": messages})
    assert made["messages"] == expected
    assert losses == [("messages", "first user turn")]


@pytest.mark.parametrize(
    ("message", "lost"),
    [
        pytest.param(user("a", name="Ann"), ("messages[0].name", "name"), id="the name of a speaker"),
        pytest.param(
            user("a", tool_calls=[]) | {"reasoning_content": "r"},
            ("messages[0].reasoning_content", "reasoning_content"),
            id="a user's reasoning",
        ),
        pytest.param(user("a", function_call={"name": "f"}), ("messages[0].function_call", "function_call"), id="a user's call"),
        pytest.param(user("a", mood="good"), ("messages[0].mood", "mood"), id="an unknown member"),
        pytest.param(user([text("a", mood="good")]), ("messages[0].content[0].mood", "mood"), id="an unknown member of a part"),
        pytest.param(
            user([text("a"), {"type": "video_url", "video_url": {}}]),
            ('messages[0].content[1].type="video_url"', 'type="video_url"'),
            id="an unknown part",
        ),
        pytest.param(
            user(
                [text("a"), image(f"data:image/png;base64,{PNG}") | {"image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}}]
            ),
            ("messages[0].content[1].image_url.detail", "detail"),
            id="an image's detail",
        ),
    ],
)
def test_what_a_message_holds_without_a_twin_is_a_loss(message: Json, lost: tuple[str, str]) -> None:
    made, losses = lossy({"messages": [message]})
    assert losses == [lost]
    assert "a" in json.dumps(made["messages"][0]["content"])


def test_annotations_of_an_answer_are_a_loss_unless_there_are_none() -> None:
    assert turns([*HELLO, assistant("a", annotations=[])]) == turns([*HELLO, assistant("a", annotations=None)]) == [*HELLO, assistant("a")]
    assert lossy({"messages": [*HELLO, assistant("a", annotations=[{}])]})[1] == [("messages[1].annotations", "annotations")]


# ------------------------------------------------------------------------------------------------- images, files, audio


@pytest.mark.parametrize(
    ("url", "source"),
    [
        pytest.param(f"data:image/png;base64,{PNG}", {"type": "base64", "media_type": "image/png", "data": PNG}, id="base64"),
        pytest.param(
            f"data:image/PNG;name=a.png;base64,{PNG}",
            {"type": "base64", "media_type": "image/png", "data": PNG},
            id="media type parameters",
        ),
        pytest.param(f"data:image/jpg;base64,{PNG}", {"type": "base64", "media_type": "image/jpeg", "data": PNG}, id="jpg is jpeg"),
        pytest.param(
            f"data:image/webp;base64,{PNG[:-1]}", {"type": "base64", "media_type": "image/webp", "data": PNG}, id="missing padding"
        ),
        pytest.param("https://example.org/a.png", {"type": "url", "url": "https://example.org/a.png"}, id="https"),
        pytest.param("http://example.org/a.png", {"type": "url", "url": "http://example.org/a.png"}, id="http"),
    ],
)
def test_images_become_blocks(url: str, source: Json) -> None:
    assert turns([user([text("See"), image(url)])]) == [user([text("See"), {"type": "image", "source": source}])]


def test_an_image_may_say_that_its_detail_is_of_no_matter() -> None:
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "auto"}}
    assert turns([user([part])]) == [user([picture()])]


@pytest.mark.parametrize(
    ("file", "block"),
    [
        pytest.param(
            {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"},
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}, "title": "a.pdf"},
            id="a PDF",
        ),
        pytest.param(
            {"file_data": "data:text/plain;base64,aGk="},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}},
            id="a text",
        ),
        pytest.param({"file_data": f"data:image/png;base64,{PNG}"}, picture(), id="an image"),
    ],
)
def test_files_become_documents(file: Json, block: Json) -> None:
    assert turns([user([{"type": "file", "file": file, "cache_control": MARK}])]) == [user([{**block, "cache_control": MARK}])]


@pytest.mark.parametrize(
    ("message", "place"),
    [
        pytest.param(user([image("data:image/svg+xml;base64,PHN2Zz4=")]), "messages[0].content[0].image_url.url", id="an image type Messages lacks"),
        pytest.param(user([image("data:image/png;base64,???")]), "messages[0].content[0].image_url.url", id="broken base64"),
        pytest.param(user([image("data:image/png,x")]), "messages[0].content[0].image_url.url", id="a data URI without base64"),
        pytest.param(user([image("file:///etc/passwd")]), "messages[0].content[0].image_url.url", id="another scheme"),
        pytest.param(user([{"type": "file", "file": {"file_id": "file-1"}}]), "messages[0].content[0].file", id="a file of the other vendor"),
        pytest.param(user([{"type": "input_audio", "input_audio": {}}]), "messages[0].content[0]", id="audio"),
        pytest.param(user([{"type": "thinking", "thinking": "t"}]), "messages[0].content[0]", id="a user's thinking"),
        pytest.param(system([image(f"data:image/png;base64,{PNG}")]), "messages[0].content[0]", id="an image in the system prompt"),
        pytest.param(assistant([text("a"), image(f"data:image/png;base64,{PNG}")]), "messages[0].content[1]", id="an image of the assistant's"),
        pytest.param(assistant(None, audio={"id": "audio_1"}), "messages[0].audio", id="an answer that was spoken"),
        pytest.param({"role": "critic", "content": "a"}, "messages[0].role", id="an unknown role"),
        pytest.param(assistant(None, tool_calls=[{"id": "a"}]), "messages[0].tool_calls[0]", id="a call of nothing"),
        pytest.param(user(5), "messages[0].content", id="content of a wrong type"),
        pytest.param(user([{"type": "text", "text": 5}]), "messages[0].content[0].text", id="text of a wrong type"),
        pytest.param(user([{"text": "a"}]), "messages[0].content[0].type", id="a part without a type"),
        pytest.param(assistant(tool_calls=[{"function": {"name": "f", "arguments": [1]}}]), "messages[0].tool_calls[0].function.arguments", id="arguments that are no text"),
        pytest.param(user(" "), "messages", id="nothing but blanks"),
        pytest.param(user([{"type": "holo"}]), "messages", id="nothing that is known"),
        pytest.param(assistant(None), "messages", id="an answer that says nothing"),
        pytest.param({"content": "a"}, "messages[0].role", id="no role"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused_by_its_place(message: Json, place: str) -> None:
    assert refused({"messages": [message]})[0] == place


def test_an_upstream_that_fetches_no_images_is_sent_none_by_url() -> None:
    target = dialect("messages-relay", image_urls=False)
    place, why = refused({"messages": [user([image("https://example.org/a.png")])]}, target)
    assert place == "messages[0].content[0].image_url.url"
    assert "data: URI" in why
    assert turns([user([image(f"data:image/png;base64,{PNG}")])], target) == [user([picture()])]


# ------------------------------------------------------------------------------------------------- cache breakpoints


@pytest.mark.parametrize(
    ("part", "mark"),
    [
        pytest.param({"cache_control": LONG}, LONG, id="cache_control as it is"),
        pytest.param({"prompt_cache_breakpoint": {"mode": "explicit"}}, MARK, id="OpenAI's breakpoint"),
        pytest.param({"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}, LONG, id="half an hour is one hour"),
        pytest.param({"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}, LONG, id="half a day is one hour"),
        pytest.param({"prompt_cache_breakpoint": {"mode": "explicit"}, "cache_control": LONG}, LONG, id="of both the native one"),
    ],
)
def test_breakpoints_of_parts_are_kept(part: Json, mark: Json) -> None:
    assert turns([user([text("a", **part)])]) == [user([text("a", cache_control=mark)])]


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        pytest.param(CacheMarks.KEEP, LONG, id="as they are"),
        pytest.param(CacheMarks.NO_TTL, MARK, id="without the ttl"),
        pytest.param(CacheMarks.STRIP, None, id="not at all"),
    ],
)
def test_breakpoints_are_what_the_upstream_takes(marks: CacheMarks, expected: Json | None) -> None:
    kept: Json = {} if expected is None else {"cache_control": expected}
    made = lifted(
        {
            "messages": [
                system([text("s", cache_control=LONG), text("t")]),
                user([text("a"), image(f"data:image/png;base64,{PNG}")], cache_control=LONG),
            ],
            "tools": [{"type": "function", "function": {"name": "f"}, "cache_control": LONG}],
        },
        dialect("messages-relay", cache_control=marks),
    )
    assert made["system"] == [text("s", **kept), text("t")]
    assert made["messages"] == [user([text("a"), picture(**kept)])]
    assert made["tools"] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}, **kept}]


def test_only_the_last_four_breakpoints_are_kept() -> None:
    request = {
        "messages": [system("s", cache_control=MARK), *(user(str(number), cache_control=MARK) for number in range(3))],
        "tools": [{"type": "function", "function": {"name": "f"}, "cache_control": MARK}],
    }
    made = lifted(request)
    assert "cache_control" not in made["tools"][0]
    assert made["system"] == [text("s", cache_control=MARK)]
    assert [block["cache_control"] for block in made["messages"][0]["content"]] == [MARK] * 3


def test_breakpoints_of_the_conversation_alone_are_bounded_too() -> None:
    made = lifted({"messages": [system("s", cache_control=MARK), *(user([text(str(number), cache_control=MARK)]) for number in range(5))]})
    assert "cache_control" not in json.dumps(made["system"])
    assert ["cache_control" in block for block in made["messages"][0]["content"]] == [False, True, True, True, True]
