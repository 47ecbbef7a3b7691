"""What Anthropic's own tools left in a history, shown to whoever cannot run them again."""

from __future__ import annotations

from typing import Any

import pytest

from core.translate.history import found_tools, render_server_block
from core.wire import messages
from core.wire.codec import decoder, encode
from tests.core.translate.lowering import HELLO, Json, assistant, call, called, lossy, refused, result, text, told, translate, turns, user


def block(kind: str, content: Any, **more: Any) -> Json:
    return {"type": kind, "tool_use_id": "srv", "content": content, **more}


WEB = {"type": "web_search_result", "title": "T", "url": "https://x", "encrypted_content": "zzz", "page_age": "1 day"}
FETCHED = {
    "type": "web_fetch_result",
    "url": "https://x",
    "retrieved_at": "2026",
    "content": {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "The page."}},
}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(block("web_search_tool_result", [WEB, WEB]), "T\nhttps://x\nT\nhttps://x", id="web search"),
        pytest.param(
            block("web_search_tool_result", {"type": "web_search_tool_result_error", "error_code": "too_many"}),
            "error: too_many",
            id="a failed web search",
        ),
        pytest.param(block("web_fetch_tool_result", FETCHED), "https://x\nT\nThe page.", id="a fetched page"),
        pytest.param(
            block("web_fetch_tool_result", {**FETCHED, "content": {"type": "document", "source": {"type": "base64", "data": "JVBE"}}}),
            "https://x",
            id="a fetched PDF",
        ),
        pytest.param(
            block(
                "code_execution_tool_result",
                {"type": "code_execution_result", "stdout": "1\n", "stderr": "w", "return_code": 0, "content": []},
            ),
            "1\n\nw",
            id="code",
        ),
        pytest.param(
            block("bash_code_execution_tool_result", {"stdout": "", "stderr": "e", "content": [{"file_id": "f"}]}), "e", id="bash"
        ),
        pytest.param(block("text_editor_code_execution_tool_result", {"content": "line", "num_lines": 1}), "line", id="a file"),
        pytest.param(block("text_editor_code_execution_tool_result", {"lines": ["-a", "+b"], "old_start": 1}), "-a\n+b", id="an edit"),
        pytest.param(block("advisor_tool_result", {"type": "advisor_result", "text": "Think."}), "Think.", id="an adviser"),
        pytest.param(block("mcp_tool_result", "plain"), "plain", id="MCP, a string"),
        pytest.param(block("mcp_tool_result", [text("a"), text("b")]), "a\nb", id="MCP, blocks"),
        pytest.param(block("mcp_tool_result", "no", is_error=True), "Error: no", id="MCP, an error"),
        pytest.param(block("mcp_tool_result", [{"type": "text", "text": 5, "title": None}, 7, None, 1e300]), "", id="nothing to read"),
        pytest.param(
            block("advisor_tool_result", {"type": "advisor_redacted_result", "encrypted_content": "z"}), "", id="something encrypted"
        ),
        pytest.param({"type": "mcp_tool_result", "tool_use_id": "srv"}, "", id="no content at all"),
        pytest.param({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, "", id="a call says nothing"),
        pytest.param({"type": "mcp_tool_use", "id": "s", "name": "x", "server_name": "m", "input": {}}, "", id="an MCP call says nothing"),
        pytest.param({"type": "mcp_tool_listing", "mcp_server_name": "m", "tools": []}, "", id="a listing says nothing"),
        pytest.param({"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}}, "", id="a fallback says nothing"),
        pytest.param({"type": "container_upload", "file_id": "f"}, None, id="an upload is no block of a server tool"),
        pytest.param(text("a"), None, id="text is no block of a server tool"),
    ],
)
def test_rendered_blocks(given: Json, expected: str | None) -> None:
    assert render_server_block(decoder(messages.Block).decode(encode(given))) == expected


def test_a_result_that_no_text_can_hold_says_nothing() -> None:
    found = decoder(messages.ToolSearchToolResult).decode(b'{"type":"tool_search_tool_result","tool_use_id":"s","content":"\xff"}')
    assert render_server_block(found) == ""
    assert found_tools(found) == []


@pytest.mark.parametrize("content", [{}, {"tool_references": 3}, [], "x"])
def test_a_search_without_references_found_nothing(content: Any) -> None:
    assert translate({"messages": [*HELLO, assistant(block("tool_search_tool_result", content), text("a")), *HELLO]}).answer.names == {}


def test_results_become_text_of_the_answer_and_calls_are_reported() -> None:
    search = {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"query": "q"}}
    answer = assistant(text("Let me see."), search, block("web_search_tool_result", [WEB]), text("It is T."), call())
    found, losses = lossy({"messages": [*HELLO, answer, user(result())]})
    assert found["messages"][1:] == [{**called(), "content": "Let me see.\n\nT\nhttps://x\n\nIt is T."}, told("found")]
    assert losses == [("messages[1].content[1]", "server_tool_use")]


@pytest.mark.parametrize("kind", ["container_upload", "server_tool_use"])
def test_blocks_without_text_are_reported_in_any_turn(kind: str) -> None:
    odd = {"type": kind, "file_id": "f"} if kind == "container_upload" else {"type": kind, "id": "s", "name": "n"}
    found, losses = lossy({"messages": [user(text("a"), odd), assistant(odd, text("b")), *HELLO]})
    assert [turn["content"] for turn in found["messages"]] == ["a", "b", "Hello"]
    assert losses == [("messages[0].content[1]", kind), ("messages[1].content[0]", kind)]


def test_a_result_of_a_server_tool_in_a_user_turn_is_text() -> None:
    assert turns([user(text("a"), block("mcp_tool_result", "b"))]) == [{"role": "user", "content": [text("a"), text("b")]}]


def test_a_compaction_is_told_by_the_user() -> None:
    answer = assistant({"type": "compaction", "content": "Summary.", "encrypted_content": "z"}, text("Going on."))
    assert turns([*HELLO, answer, *HELLO]) == [
        *HELLO,
        {"role": "user", "content": "Summary."},
        {"role": "assistant", "content": "Going on."},
        *HELLO,
    ]


def test_a_failed_compaction_is_nothing_and_an_encrypted_one_a_loss() -> None:
    assert turns([*HELLO, assistant({"type": "compaction", "content": None}, text("a")), *HELLO])[1] == {
        "role": "assistant",
        "content": "a",
    }
    _, losses = lossy({"messages": [*HELLO, assistant({"type": "compaction", "encrypted_content": "z"}, text("a")), *HELLO]})
    assert losses == [("messages[1].content[0]", "compaction")]


@pytest.mark.parametrize(
    "odd", [{"type": "image", "source": {"type": "url", "url": "https://x"}}, {"type": "document", "source": {"type": "url"}}, result()]
)
def test_blocks_of_users_in_an_answer_are_reported(odd: Json) -> None:
    _, losses = lossy({"messages": [*HELLO, assistant(text("a"), odd), *HELLO]})
    assert losses == [("messages[1].content[1]", odd["type"])]


def test_a_call_in_a_user_turn_is_reported() -> None:
    _, losses = lossy({"messages": [user(text("a"), call())]})
    assert losses == [("messages[0].content[1]", "tool_use")]
    assert refused({"messages": [user(call())]}).param == "messages"
