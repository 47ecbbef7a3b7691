"""Images and documents between the two wires."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from core.errors import BadRequest
from core.translate.conversation_to_chat import IMAGES_FOLLOW, ORPHAN
from core.translate.images import file_to_document, part_to_image, split_data_uri
from core.wire import chat
from core.wire.codec import encode
from tests.core.translate.lowering import (
    HELLO,
    IMAGE,
    IMAGE_PART,
    PNG,
    Json,
    assistant,
    call,
    called,
    dialect,
    lossy,
    refused,
    result,
    text,
    told,
    turns,
    user,
)  # fmt: skip

URL_IMAGE: Json = {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}
URL_PART: Json = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
PDF = base64.b64encode(b"%PDF-1.7").decode()


def document(source: Json, **more: Any) -> Json:
    return {"type": "document", "source": source, **more}


def pdf(**more: Any) -> Json:
    return document({"type": "base64", "media_type": "application/pdf", "data": PDF}, **more)


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        pytest.param([IMAGE], [IMAGE_PART], id="base64 becomes a data URI"),
        pytest.param([text("a"), URL_IMAGE, text("b")], [text("a"), URL_PART, text("b")], id="a URL stays one, the order too"),
        pytest.param([document({"type": "text", "media_type": "text/plain", "data": "D"})], "D", id="a text document"),
        pytest.param(
            [document({"type": "text", "media_type": "text/plain", "data": "D"}, title="T", context="C", citations={"enabled": False})],
            "T\nC\n\nD",
            id="title and context go before",
        ),
        pytest.param([document({"type": "content", "content": "D"}, title="T")], "T\n\nD", id="a document of content, a string"),
        pytest.param(
            [document({"type": "content", "content": [text("a"), IMAGE]}, title="T")],
            [text("T"), text("a"), IMAGE_PART],
            id="a document of content, text and image",
        ),
        pytest.param([document({"type": "content", "content": []}), text("a")], "a", id="a document of nothing"),
        pytest.param(
            [document({"type": "base64", "media_type": "text/csv", "data": base64.b64encode("é;1".encode()).decode()}, title="T")],
            "T\n\né;1",
            id="text as base64",
        ),
        pytest.param(
            [document({"type": "base64", "media_type": "text/plain", "data": " Y Q"})], "a", id="base64 with blanks and without padding"
        ),
        pytest.param([document({"type": "base64", "media_type": "text/plain", "data": "/w=="})], "\ufffd", id="bytes that are no UTF-8"),
        pytest.param(
            [pdf()],
            [{"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "document.pdf"}}],
            id="a PDF is a file",
        ),
        pytest.param(
            [document({"type": "base64", "data": PDF}, title="t.pdf")],
            [{"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "t.pdf"}}],
            id="the title is its name",
        ),
        pytest.param(
            [{"type": "search_result", "source": "s", "title": "t", "content": [text("c")], "citations": {"enabled": False}}],
            "t\ns\nc",
            id="a search result is text",
        ),
        pytest.param([{"type": "browser_state", "tabs": []}], "Open tabs: []", id="a browser state is text"),
    ],
)
def test_content_of_user_turns(blocks: list[Json], expected: Any) -> None:
    assert turns([user(*blocks)], "generic") == [{"role": "user", "content": expected}]


@pytest.mark.parametrize(
    ("block", "target", "place"),
    [
        pytest.param(
            {"type": "image", "source": {"type": "file", "file_id": "f"}}, "generic", ".source", id="an image that is a file of the vendor"
        ),
        pytest.param(
            {"type": "image", "source": {"type": "base64", "media_type": "image/png"}}, "generic", ".source", id="an image without data"
        ),
        pytest.param(
            {"type": "image", "source": {"type": "base64", "data": "AAAA"}}, "generic", ".source.media_type", id="an image without a type"
        ),
        pytest.param({"type": "image", "source": {"type": "url"}}, "generic", ".source", id="an image without a URL"),
        pytest.param(URL_IMAGE, "ollama", ".source", id="an image by URL where none are fetched"),
        pytest.param(document({"type": "file", "file_id": "f"}), "generic", ".source", id="a document that is a file of the vendor"),
        pytest.param(document({"type": "url", "url": "https://x/y.pdf"}), "generic", ".source", id="a document by URL"),
        pytest.param(document({"type": "text"}), "generic", ".source", id="a document without text"),
        pytest.param(document({"type": "content"}), "generic", ".source", id="a document without content"),
        pytest.param(document({"type": "base64"}), "generic", ".source", id="a document without data"),
        pytest.param(pdf(), "glm", ".source", id="a PDF where files are not taken"),
        pytest.param(
            document({"type": "base64", "media_type": "text/plain", "data": "a"}),
            "generic",
            ".source.data",
            id="a document that is not base64",
        ),
        pytest.param(
            document({"type": "content", "content": [text("a"), {"type": "image", "source": {"type": "file"}}]}),
            "generic",
            ".source.content[1].source",
            id="an image inside a document",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused_and_never_dropped(block: Json, target: str, place: str) -> None:
    assert refused({"messages": [user(text("a"), block)]}, target).param == f"messages[0].content[1]{place}"
    messages = [*HELLO, assistant(call()), user(result(content=[text("a"), block]))]
    assert refused({"messages": messages}, target).param == f"messages[2].content[0].content[1]{place}"


@pytest.mark.parametrize(
    ("block", "member"),
    [
        (pdf(context="C"), "context"),
        (pdf(citations={"enabled": True}), "citations"),
        ({"type": "search_result", "source": "s", "title": "t", "content": [], "citations": {"enabled": True}}, "citations"),
        ({**IMAGE, "transformations": [{"type": "crop"}]}, "transformations"),
    ],
)
def test_what_is_lost_of_them_is_reported(block: Json, member: str) -> None:
    _, losses = lossy({"messages": [user(block)]}, "generic")
    assert losses == [(f"messages[0].content[0].{member}", member)]


MIXED = result(content=[text("before"), IMAGE, text("after")])
BLANK = result("c2", content=[URL_IMAGE])


@pytest.mark.parametrize(
    ("target", "blocks", "expected"),
    [
        pytest.param("glm", [MIXED], [told("before\nafter"), {"role": "user", "content": [IMAGE_PART]}], id="images go to a user message"),
        pytest.param(
            "glm",
            [text("and?"), MIXED, BLANK],
            [told("before\nafter"), told(IMAGES_FOLLOW, "c2"), {"role": "user", "content": [IMAGE_PART, URL_PART, text("and?")]}],
            id="one user message behind the last result, before the user's own words",
        ),
        pytest.param(
            "vllm",
            [MIXED, BLANK],
            [told([text("before"), IMAGE_PART, text("after")]), told([URL_PART], "c2")],
            id="images stay where tool messages may hold them, in order",
        ),
        pytest.param("vllm", [result(content=[text(" "), IMAGE])], [told([IMAGE_PART])], id="blank text beside them is dropped"),
        pytest.param("vllm", [result(content=[IMAGE], is_error=True)], [told([text("Error"), IMAGE_PART])], id="an error that is an image"),
        pytest.param(
            "glm",
            [result(content=[IMAGE], is_error=True)],
            [told("Error"), {"role": "user", "content": [IMAGE_PART]}],
            id="an error that is an image elsewhere",
        ),
    ],
)
def test_images_of_results_are_never_lost(target: str, blocks: list[Json], expected: list[Json]) -> None:
    calls = assistant(*(call(block["tool_use_id"]) for block in blocks if block["type"] == "tool_result"))
    assert turns([*HELLO, calls, user(*blocks)], target)[2:] == expected


def test_a_pdf_of_a_result_is_a_file_of_the_user() -> None:
    found = turns([*HELLO, assistant(call()), user(result(content=[pdf(title="t.pdf")]))], "generic")
    assert found[1:3] == [called(), told(IMAGES_FOLLOW)]
    assert found[3]["content"][0]["file"]["filename"] == "t.pdf"


def test_images_of_a_result_come_after_instructions_that_follow_it() -> None:
    messages = [*HELLO, assistant(call()), {"role": "system", "content": "Rule."}, user(MIXED)]
    found = turns(messages, "glm")
    assert found[2:] == [told("before\nafter"), {"role": "system", "content": "Rule."}, {"role": "user", "content": [IMAGE_PART]}]


def test_an_image_of_a_result_without_a_call_goes_to_the_user() -> None:
    found, _ = lossy({"messages": [user(result(content=[IMAGE]))]}, dialect("vllm"))
    assert found["messages"] == [{"role": "user", "content": [text(ORPHAN), IMAGE_PART]}]


# ---------------------------------------------------------------------------------------------------- the other way


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param(f"data:image/png;base64,{PNG}", ("image/png", PNG), id="the usual one"),
        pytest.param(f"DATA:Image/JPG;charset=x;BASE64,{PNG}", ("image/jpeg", PNG), id="letters of any case, parameters, an alias"),
        pytest.param("data:image/png;base64,iVBO Rw0K\nGgo", ("image/png", PNG), id="white space and no padding"),
        pytest.param("data:image/png;base64,-_-_", ("image/png", "+/+/"), id="URL-safe letters"),
    ],
)
def test_data_uris(url: str, expected: tuple[str, str]) -> None:
    assert split_data_uri(url, "p") == expected


@pytest.mark.parametrize(
    "url",
    ["data:image/png,abc", "data:image/png;base64", "data:image/png;base64,", "data:image/png;base64,a", "data:image/png;base64,é", "x"],
)
def test_broken_data_uris_are_refused(url: str) -> None:
    with pytest.raises(BadRequest) as caught:
        split_data_uri(url, "p")
    assert caught.value.param == "p"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"data:image/gif;base64,{PNG}", {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": PNG}}),
        (
            f"data:application/pdf;base64,{PDF}",
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
        ),
        ("HTTPS://x/y.png", {"type": "image", "source": {"type": "url", "url": "HTTPS://x/y.png"}}),
    ],
)
def test_image_parts_become_blocks(url: str, expected: Json) -> None:
    assert json.loads(encode(part_to_image(chat.ImagePart(chat.ImageUrl(url)), "p.image_url.url"))) == expected


@pytest.mark.parametrize("url", ["data:image/tiff;base64,AAAA", "ftp://x", "/etc/passwd"])
def test_image_parts_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(BadRequest) as caught:
        part_to_image(chat.ImagePart(chat.ImageUrl(url)), "p.image_url.url")
    assert caught.value.param == "p.image_url.url"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            f"data:application/pdf;base64,{PDF}",
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}, "title": "n"},
        ),
        (PDF, {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}, "title": "n"}),
        (
            "data:text/csv;base64,YQ==",
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a"}, "title": "n"},
        ),
        (f"data:image/png;base64,{PNG}", {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}),
    ],
)
def test_file_parts_become_blocks(data: str, expected: Json) -> None:
    assert json.loads(encode(file_to_document(chat.FilePart(chat.File(file_data=data, filename="n")), "p"))) == expected


@pytest.mark.parametrize(
    ("file", "place"), [(chat.File(file_id="f"), "p.file"), (chat.File(file_data="data:video/mp4;base64,AAAA"), "p.file.file_data")]
)
def test_file_parts_that_cannot_be_sent_are_refused(file: chat.File, place: str) -> None:
    with pytest.raises(BadRequest) as caught:
        file_to_document(chat.FilePart(file), "p")
    assert caught.value.param == place
