"""Messages streams for chat clients: what each event becomes."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import UpstreamError, UpstreamFailed, UpstreamGarbled, UpstreamSaid
from core.translate.stream_to_chat import MessagesToChat
from tests.core.translate.streaming import (
    CONTEXT,
    DONE,
    Event,
    closed,
    ending,
    frame,
    frames,
    opened,
    parsed,
    piece,
    run,
    start,
    text,
    thinking,
    tool,
)

ARGS = '{"a":1}'
PING = {"type": "ping"}
STOP = {"type": "message_stop"}
ROLE = {"role": "assistant", "content": ""}


def end(reason: str | None, **members: Any) -> Event:
    """A message_delta."""
    return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, **members}


def began(index: int, id: str = "c1", name: str = "read") -> Event:
    return {"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]}


def arguments(index: int, said: str) -> Event:
    return {"tool_calls": [{"index": index, "function": {"arguments": said}}]}


def said(out: list[Any]) -> list[Any]:
    """The deltas of chunks, their finish reasons, and whatever else there is."""
    return [
        one["choices"][0]["finish_reason"] or one["choices"][0]["delta"] if isinstance(one, dict) and one.get("choices") else one
        for one in out
    ]


ROWS: dict[str, tuple[list[Any], list[Any]]] = {
    "text": ([start(), *text(0, "Hi", " you"), *ending()], [{"content": "Hi"}, {"content": " you"}, "stop", DONE]),
    "an answer of nothing": ([start(), *ending()], ["stop", DONE]),
    "text in the block's start": ([start(), opened(0, "text", text="Hi"), closed(0), *ending()], [{"content": "Hi"}, "stop", DONE]),
    "thinking": ([start(), *thinking(0, "hm"), *text(1, "Hi"), *ending()], [{"reasoning_content": "hm"}, {"content": "Hi"}, "stop", DONE]),
    "thinking in the block's start": (
        [start(), opened(0, "thinking", thinking="hm", signature="s"), closed(0), *ending()],
        [{"reasoning_content": "hm"}, {"reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s", "index": 0}]}, "stop", DONE],
    ),
    "a signature in pieces": (
        [start(), *thinking(0, "hm")[:-1], piece(0, "signature_delta", signature="c2"), piece(0, "signature_delta", signature="ln"), closed(0), *ending()],
        [{"reasoning_content": "hm"}, {"reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "c2ln", "index": 0}]}, "stop", DONE],
    ),
    "redacted thinking": (
        [start(), opened(0, "redacted_thinking", data="xyz"), closed(0), opened(1, "redacted_thinking", data="uvw"), closed(1), *ending()],
        [{"reasoning_details": [{"type": "reasoning.encrypted", "data": data, "index": index}]} for index, data in enumerate(["xyz", "uvw"])] + ["stop", DONE],
    ),
    "a call in pieces": (
        [start(), *tool(0, "", '{"a"', ":1}"), *ending("tool_use")],
        [began(0), arguments(0, '{"a"'), arguments(0, ":1}"), "tool_calls", DONE],
    ),
    "a call without input": ([start(), *tool(0), *ending("tool_use")], [began(0), arguments(0, "{}"), "tool_calls", DONE]),
    "a call whose input stands in its start": (
        [start(), opened(0, "tool_use", id="c1", name="read", input={"a": 1}), closed(0), *ending("tool_use")],
        [began(0), arguments(0, ARGS), "tool_calls", DONE],
    ),
    "input in the start and in deltas: the deltas hold": (
        [start(), opened(0, "tool_use", id="c1", name="read", input={"b": 2}), piece(0, "input_json_delta", partial_json=ARGS), closed(0), *ending("tool_use")],
        [began(0), arguments(0, ARGS), "tool_calls", DONE],
    ),
    "a call without an id": (
        [start(), opened(0, "tool_use", name="read", input={}), closed(0), *ending("tool_use")],
        [began(0, "call_seed_0"), arguments(0, "{}"), "tool_calls", DONE],
    ),
    "tools of the vendor are hidden": (
        [
            start(),
            opened(0, "server_tool_use", id="s1", name="web_search", input={}), piece(0, "input_json_delta", partial_json='{"q":1}'), closed(0),
            opened(1, "web_search_tool_result", tool_use_id="s1", content=[]), closed(1),
            *tool(2, ARGS), *ending("tool_use"),
        ],
        [began(0), arguments(0, ARGS), "tool_calls", DONE],
    ),
    "text inside a hidden block": ([start(), opened(0, "mcp_tool_result"), piece(0, "text_delta", text="no"), closed(0), *text(1, "Hi"), *ending()], [{"content": "Hi"}, "stop", DONE]),
    "citations and unknown deltas": (
        [start(), *text(0, "Hi")[:-1], piece(0, "citations_delta", citation={}), piece(0, "holo_delta", x=1), {"type": "weather"}, closed(0), *ending()],
        [{"content": "Hi"}, "stop", DONE],
    ),
    "no content_block_start": ([start(), piece(0, "thinking_delta", thinking="hm"), piece(0, "text_delta", text="Hi"), *ending()], [{"reasoning_content": "hm"}, {"content": "Hi"}, "stop", DONE]),
    "no content_block_stop": (
        [start(), *thinking(0, "hm", signature="s")[:-1], *tool(1, ARGS)[:-1], *ending("tool_use")],
        [{"reasoning_content": "hm"}, {"reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s", "index": 0}]}, began(0), arguments(0, ARGS), "tool_calls", DONE],
    ),
    "no indexes": (
        [start(), {"type": "content_block_start", "content_block": {"type": "tool_use", "id": "c1", "name": "read"}}, {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": ARGS}}, {"type": "content_block_stop"}, *ending("tool_use")],
        [began(0), arguments(0, ARGS), "tool_calls", DONE],
    ),
    "text of another index": ([start(), opened(0, "text", text=""), piece(7, "text_delta", text="Hi"), closed(0), *ending()], [{"content": "Hi"}, "stop", DONE]),
    "arguments and stops of another index are not this call's": (
        [start(), *tool(0, '{"a"')[:-1], piece(1, "input_json_delta", partial_json="x"), closed(1), piece(0, "input_json_delta", partial_json=":1}"), closed(0), *ending("tool_use")],
        [began(0), arguments(0, '{"a"'), arguments(0, ":1}"), "tool_calls", DONE],
    ),
    "stops of nothing": ([{"type": "content_block_stop"}, start(), *text(0, "Hi"), end("end_turn"), {"type": "content_block_stop"}, STOP], [{"content": "Hi"}, "stop", DONE]),
    "a ping is a comment": ([start(), PING, *text(0, "Hi"), *ending()], [": ping", {"content": "Hi"}, "stop", DONE]),
    "a ping before the answer is nothing": ([PING, start(), *text(0, "Hi"), *ending()], [{"content": "Hi"}, "stop", DONE]),
    "a stray [DONE]": ([start(), DONE, *text(0, "Hi"), *ending(), DONE], [{"content": "Hi"}, "stop", DONE]),
    "bad frames are skipped": (["{", start(), b"null", '{"type":7}', "{}", '{"type":"a\\nb"}', *text(0, "Hi"), *ending()], [{"content": "Hi"}, "stop", DONE]),
    "no message_start": ([*text(0, "Hi"), *ending()], [{"content": "Hi"}, "stop", DONE]),
    "nothing but a delta and the end": ([piece(0, "text_delta", text="Hi"), end("end_turn"), STOP], [{"content": "Hi"}, "stop", DONE]),
    "nothing but a reason": ([end("max_tokens"), STOP], ["length", DONE]),
    "a whole answer in message_start": (
        [{"type": "message_start", "message": {"content": [{"type": "text", "text": "Hi"}, {"type": "tool_use", "id": "c1", "name": "read", "input": {"a": 1}}], "stop_reason": "tool_use"}}, STOP],
        [{"content": "Hi"}, began(0), arguments(0, ARGS), "tool_calls", DONE],
    ),
    "a whole answer in message_start, its call first": (
        [{"type": "message_start", "message": {"content": [{"type": "tool_use", "id": "c1", "name": "read", "input": {"a": 1}}, {"type": "text", "text": "Hi"}], "stop_reason": "max_tokens"}}],
        [began(0), arguments(0, ARGS), {"content": "Hi"}, "length", DONE],
    ),
    "the end of the body behind a reason": ([start(), *text(0, "Hi"), end("end_turn")], [{"content": "Hi"}, "stop", DONE]),
    "message_stop without a reason": ([start(), *text(0, "Hi"), STOP], [{"content": "Hi"}, "stop", DONE]),
    "message_stop without a reason behind a call": ([start(), *tool(0, ARGS), STOP], [began(0), arguments(0, ARGS), "tool_calls", DONE]),
    "a message_delta without a reason": ([start(), end(None), end(""), *text(0, "Hi"), *ending()], [{"content": "Hi"}, "stop", DONE]),
    "a second message_delta": ([start(), *text(0, "Hi"), end("end_turn"), end("max_tokens"), STOP], [{"content": "Hi"}, "stop", DONE]),
    "content behind the reason": ([start(), end("end_turn"), *text(0, "Hi"), closed(0), STOP], ["stop", DONE]),
    "a refusal is explained": (
        [start(), *ending("refusal", details={"type": "refusal", "category": None, "explanation": "No."})],
        [{"refusal": "No."}, "content_filter", DONE],
    ),
    "details of another reason are not": ([start(), *ending("end_turn", details={"explanation": "No."})], ["stop", DONE]),
    "a call cut by the length stays cut": ([start(), *tool(0, '{"a'), *ending("max_tokens")], [began(0), arguments(0, '{"a'), "length", DONE]),
    "a call announced that never came": ([start(), *text(0, "Hi"), *ending("tool_use")], [{"content": "Hi"}, "stop", DONE]),
    "event and block without what they should have": (
        [start(), {"type": "content_block_start", "index": 0}, {"type": "content_block_delta", "index": 0}, piece(0, "text_delta"), piece(0, "input_json_delta", partial_json=""), *ending()],
        ["stop", DONE],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("events", "expected"), ROWS.values(), ids=ROWS.keys())
def test_a_stream_becomes(events: list[Any], expected: list[Any]) -> None:
    machine, out = run(MessagesToChat, frames(*events))
    assert machine.error is None
    assert said(out) == [ROLE, *expected]


def test_every_chunk_has_the_same_head() -> None:
    _, out = run(MessagesToChat, frames(start("msg_1", "upstream"), *text(0, "Hi"), *ending()), model="gpt", include_usage=True)
    assert out.pop() == DONE
    assert {(one["id"], one["object"], one["created"], one["model"]) for one in out} == {
        ("chatcmpl-msg_1", "chat.completion.chunk", 1_700_000_000, "gpt")
    }


@pytest.mark.parametrize(("upstream", "expected"), [("chatcmpl-9", "chatcmpl-9"), ("msg_1", "chatcmpl-msg_1"), (None, "chatcmpl-seed")])
def test_the_id_can_be_read_back(upstream: str | None, expected: str) -> None:
    _, out = run(MessagesToChat, frames({"type": "message_start", "message": {"id": upstream}}, *text(0, "Hi"), *ending()))
    assert out[0]["id"] == expected


def test_an_event_whose_data_has_no_type_goes_by_its_name() -> None:
    event = piece(0, "text_delta", text="Hi")
    del event["type"]
    _, out = run(MessagesToChat, frames(start()) + frame(event, "content_block_delta") + frames(*ending()))
    assert said(out) == [ROLE, {"content": "Hi"}, "stop", DONE]


REASONS = [
    ("end_turn", "stop", "tool_calls"),
    ("stop_sequence", "stop", "tool_calls"),
    ("pause_turn", "stop", "tool_calls"),
    ("compaction", "stop", "tool_calls"),
    ("max_tokens", "length", "length"),
    ("model_context_window_exceeded", "length", "length"),
    ("tool_use", "stop", "tool_calls"),
    ("refusal", "content_filter", "content_filter"),
    ("whatever", "stop", "tool_calls"),
]


@pytest.mark.parametrize(("reason", "without_calls", "with_calls"), REASONS)
def test_every_stop_reason_with_and_without_calls(reason: str, without_calls: str, with_calls: str) -> None:
    _, out = run(MessagesToChat, frames(start(), *text(0, "Hi"), *ending(reason)))
    assert said(out)[-2] == without_calls
    _, out = run(MessagesToChat, frames(start(), *tool(0, ARGS), *ending(reason)))
    assert said(out)[-2] == with_calls


def test_names_are_mapped_back() -> None:
    _, out = run(MessagesToChat, frames(start(), *tool(0, ARGS), *ending("tool_use")), names={"read": "a.longer.name"})
    assert said(out)[1] == began(0, name="a.longer.name")


def test_a_custom_tool_is_unwrapped_when_it_is_whole() -> None:
    _, out = run(MessagesToChat, frames(start(), *tool(0, '{"input":', '"a b"}'), *ending("tool_use")), custom=frozenset({"read"}))
    assert said(out)[1:3] == [
        {"tool_calls": [{"index": 0, "id": "c1", "type": "custom", "custom": {"name": "read", "input": ""}}]},
        {"tool_calls": [{"index": 0, "custom": {"input": "a b"}}]},
    ]


def test_the_tool_that_stands_for_a_schema_is_the_text() -> None:
    events = [start(), *tool(0, '{"a"', ":1}", name="json"), *ending("tool_use")]
    _, out = run(MessagesToChat, frames(*events), schema_tool="json")
    assert said(out) == [ROLE, {"content": '{"a"'}, {"content": ":1}"}, "stop", DONE]
    events = [start(), *tool(0, name="json"), *tool(1, ARGS), *ending("tool_use")]
    _, out = run(MessagesToChat, frames(*events), schema_tool="json")
    assert said(out) == [ROLE, {"content": "{}"}, began(0), arguments(0, ARGS), "tool_calls", DONE]


def test_a_schema_is_an_answer_even_where_another_frame_was_lost() -> None:
    machine, out = run(MessagesToChat, frames("{", start(), *tool(0, ARGS, name="json"), *ending("tool_use")), schema_tool="json")
    assert (machine.error, said(out)[1]) == (None, {"content": ARGS})


def test_a_block_is_said_to_its_end_as_soon_as_it_stops() -> None:
    machine = MessagesToChat(CONTEXT)
    assert said(parsed(machine.feed(frames(start(), *tool(0))))) == [ROLE, began(0), arguments(0, "{}")]


def test_hidden_thinking_leaves_no_trace() -> None:
    events = [start(), *thinking(0, "hm", signature="s"), opened(1, "redacted_thinking", data="x"), closed(1), *text(2, "Hi"), *ending()]
    _, out = run(MessagesToChat, frames(*events), show_thinking=False)
    assert said(out) == [ROLE, {"content": "Hi"}, "stop", DONE]


# ---------------------------------------------------------------------------------------------------- usage


def test_usage_is_said_only_when_asked_for() -> None:
    events = [start(input_tokens=5), *text(0, "Hi"), *ending(input_tokens=5, output_tokens=2)]
    machine, out = run(MessagesToChat, frames(*events))
    assert not any("usage" in one for one in out)
    assert (machine.counts.input, machine.counts.output) == (5, 2)


def usage_of(*events: Event, **context: Any) -> Any:
    _, out = run(MessagesToChat, frames(*events), include_usage=True, **context)
    return out[-2]["usage"]


def test_usage_is_that_of_the_start_under_that_of_the_end() -> None:
    final = {"output_tokens": 7, "output_tokens_details": {"thinking_tokens": 3}}
    found = usage_of(start(input_tokens=5, read=4), *text(0, "Hi"), end("end_turn", usage=final), STOP)
    assert found == {
        "prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16,
        "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 3},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("at_start", "at_end", "prompt"),
    [
        pytest.param({"input_tokens": 5}, {"output_tokens": 2}, 5, id="known at the start only"),
        pytest.param({"input_tokens": 5}, {"input_tokens": 0, "output_tokens": 2}, 5, id="a zero at the end takes nothing back"),
        pytest.param({"input_tokens": 0}, {"input_tokens": 6, "output_tokens": 2}, 6, id="known at the end only"),
        pytest.param({"input_tokens": 5}, {"input_tokens": 6, "output_tokens": 2}, 6, id="the end holds"),
        pytest.param({}, {}, 17, id="never known: the estimate"),
    ],
)
def test_the_prompt_is_what_the_upstream_knows(at_start: Event, at_end: Event, prompt: int) -> None:
    begin = start()
    begin["message"]["usage"] = at_start
    assert usage_of(begin, *text(0, "Hi"), end("end_turn", usage=at_end), STOP, input_tokens=17)["prompt_tokens"] == prompt


# ---------------------------------------------------------------------------------------------------- failures

FAILURES: dict[str, tuple[list[Any], type[UpstreamError]]] = {
    "an error at once": ([{"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}], UpstreamSaid),
    "an error of another wire": ([{"error": {"message": "busy"}}], UpstreamSaid),
    "an error as text": ([{"type": "error", "error": "busy"}], UpstreamSaid),
    "message_stop and nothing else": ([STOP], UpstreamGarbled),
    "a call that could not be read, and the reason": ([{"type": 7}, end("tool_use")], UpstreamGarbled),
    "a ping and the end": ([PING], UpstreamFailed),
}


@pytest.mark.parametrize(("events", "kind"), FAILURES.values(), ids=FAILURES.keys())
def test_a_failure_before_the_first_word_writes_nothing(events: list[Any], kind: type[UpstreamError]) -> None:
    stream = frames(*events) if "error" not in events[0] or "type" in events[0] else frame(events[0], "message")
    machine, out = run(MessagesToChat, stream)
    assert (type(machine.error), out, machine.started) == (kind, [], False)


BREAKS: dict[str, tuple[list[Any], list[Any], str]] = {
    "the end of the body": ([start(), *text(0, "Hi")], [{"content": "Hi"}], "closed its stream"),
    "the end of the body right at the start, with a reason in it": ([{"type": "message_start", "message": {"stop_reason": "end_turn"}}], [], "closed its stream"),
    "message_stop and no answer": ([start(), STOP], [], "held no answer"),
    "an error behind the reason": ([start(), end("end_turn"), {"type": "error", "error": {"message": "busy"}}], ["stop"], "busy"),
    "stop_reason error": ([start(), *text(0, "Hi"), *ending("error")], [{"content": "Hi"}], 'stop_reason "error"'),
    "arguments that are no JSON": ([start(), *tool(0, '{"a'), *ending("tool_use")], [began(0), arguments(0, '{"a')], 'the tool "read"'),
    "arguments that are no object": ([start(), *tool(0, "[1]"), *ending("tool_use")], [began(0), arguments(0, "[1]")], 'the tool "read"'),
    "broken arguments with another call behind": ([start(), *tool(0, '{"a'), *tool(1, ARGS), *ending("max_tokens")], [began(0), arguments(0, '{"a')], 'the tool "read"'),
    "a call without a name": ([start(), opened(0, "tool_use", id="c1", input={}), closed(0), *ending("tool_use")], [], "without its name"),
    "arguments whose call could not be read": ([start(), *text(0, "Hi"), '{"type":"content_block_start","content_block":7}', piece(1, "input_json_delta", partial_json=ARGS), *ending("tool_use")], [{"content": "Hi"}], "could not be read"),
}  # fmt: skip


@pytest.mark.parametrize(("events", "before", "message"), BREAKS.values(), ids=BREAKS.keys())
def test_a_failure_later_ends_in_one_error_frame(events: list[Any], before: list[Any], message: str) -> None:
    machine, out = run(MessagesToChat, frames(*events))
    assert said(out[:-1]) == [ROLE, *before]
    assert message in out[-1]["error"]["message"]
    assert machine.error is not None


def test_what_is_hidden_is_not_counted_as_lost() -> None:
    search = [opened(0, "server_tool_use", id="s", name="web_search", input={}), piece(0, "input_json_delta", partial_json="{}"), closed(0)]
    cited = [*text(1, "Hi")[:-1], piece(1, "citations_delta", citation={}), piece(1, "input_json_delta", partial_json=""), closed(1)]
    machine, _ = run(MessagesToChat, frames(start(), *search, *cited, {"type": "weather"}, DONE, *ending()))
    assert machine.skipped == 0


def test_pieces_that_had_no_place_are_counted() -> None:
    machine, _ = run(
        MessagesToChat,
        frames(
            "{",
            start(),
            piece(0, "input_json_delta", partial_json="x"),
            {"type": "content_block_start"},
            end("end_turn"),
            *text(0, "Hi"),
            STOP,
        ),
    )
    assert machine.skipped == 5
