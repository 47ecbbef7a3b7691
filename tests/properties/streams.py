"""Strategies: answers, the streams that say them in all the ways vendors have, and what can become of a stream on its way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from core.dialects import Protocol
from core.translate.context import AnswerContext
from core.translate.machine import Machine
from core.translate.relay import MessagesRelay
from core.translate.relay_chat import ChatRelay
from core.translate.stream_to_chat import MessagesToChat
from core.translate.stream_to_messages import ChatToMessages

Event = dict[str, Any]

CONTEXT = AnswerContext("claude-sonnet", "seed", 1_700_000_000, stop_sequences=("END",), include_usage=True, input_tokens=11)

#: machine -> the wire of its upstream, and the wire of its client.
MACHINES: dict[type[Machine], tuple[Protocol, Protocol]] = {
    ChatToMessages: (Protocol.OPENAI, Protocol.ANTHROPIC),
    MessagesToChat: (Protocol.ANTHROPIC, Protocol.OPENAI),
    MessagesRelay: (Protocol.ANTHROPIC, Protocol.ANTHROPIC),
    ChatRelay: (Protocol.OPENAI, Protocol.OPENAI),
}

#: Text with everything that JSON, SSE and UTF-8 make special, and no lone surrogates.
TEXT = st.text(st.sampled_from('ab "\\\n\r\t\x00{}[]:,é\u2028😀data:'), min_size=1, max_size=12)
SPOKEN = TEXT.filter(str.strip)
COUNT = st.integers(0, 10**6)
ARGUMENTS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    TEXT,
    st.recursive(st.none() | st.booleans() | st.integers() | TEXT, lambda inner: st.lists(inner, max_size=2), max_leaves=3),
    max_size=3,
)


# ---------------------------------------------------------------------------------------------------- answers


@dataclass(frozen=True)
class ToolCall:
    id: str
    name: str
    arguments: str  # JSON of an object, or nothing


@dataclass(frozen=True)
class Answer:
    """What a model says, in the order in which both wires can say it."""

    reasoning: str = ""
    text: str = ""
    refusal: str = ""
    calls: tuple[ToolCall, ...] = ()
    finish: str = "stop"
    usage: Event | None = None
    signature: str = ""


@st.composite
def calls(draw: st.DrawFn) -> tuple[ToolCall, ...]:
    ids = draw(st.lists(st.text("abc123_", min_size=1, max_size=6), unique=True, max_size=3))
    found = []
    for one in ids:
        arguments = draw(st.none() | ARGUMENTS)
        text = "" if arguments is None else json.dumps(arguments, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
        found.append(ToolCall(one, draw(st.sampled_from(["read", "write_file", "x"])), text))
    return tuple(found)


@st.composite
def chat_usages(draw: st.DrawFn) -> Event:
    prompt, output = draw(COUNT), draw(COUNT)
    usage: Event = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
    if draw(st.booleans()):
        usage["prompt_tokens_details"] = {"cached_tokens": draw(st.integers(0, prompt))}
    if draw(st.booleans()):
        usage["completion_tokens_details"] = {"reasoning_tokens": draw(st.integers(0, output))}
    return usage


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    finish = draw(st.sampled_from(["stop", "length", "tool_calls", "content_filter"]))
    return Answer(
        draw(st.just("") | SPOKEN),
        draw(st.just("") | SPOKEN),
        draw(st.just("") | SPOKEN),
        draw(calls()),
        finish,
        draw(st.none() | chat_usages()),
    )


def pieces(draw: st.DrawFn, text: str) -> list[str]:
    """``text`` in pieces, none of them empty."""
    if not text:
        return []
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=4)))
    places = [0, *(cut for cut in cuts if cut < len(text)), len(text)]
    return [text[a:b] for a, b in pairwise(places)]


# ---------------------------------------------------------------------------------------------------- chat streams


@dataclass(frozen=True)
class Habits:
    """How a vendor writes its chat stream."""

    reasoning: str = "reasoning_content"  # the field
    repeats: bool = False  # role, id, type and name in every chunk
    first_index: int | None = 0  # of calls; None: there is none
    is_whole: bool = False  # a chunk for each thing, not for each piece
    finish_apart: bool = True  # the finish has a chunk of its own
    done: bool = True


HABITS = st.builds(
    Habits,
    st.sampled_from(["reasoning_content", "reasoning"]),
    st.booleans(),
    st.sampled_from([0, 1, None]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


def chunk(delta: Event | None = None, finish: str | None = None, **more: Any) -> Event:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "glm-5", "choices": choices, **more}


@st.composite
def chat_chunks(draw: st.DrawFn, answer: Answer, habits: Habits) -> list[Event]:
    """The chunks of an answer, in the order reasoning, text, refusal, calls, finish, usage."""
    cut: Callable[[str], list[str]] = (lambda text: [text] if text else []) if habits.is_whole else lambda text: pieces(draw, text)
    deltas: list[Event] = [{"role": "assistant", "content": ""}]
    deltas += [{habits.reasoning: piece} for piece in cut(answer.reasoning)]
    deltas += [{"content": piece} for piece in cut(answer.text)]
    deltas += [{"refusal": piece} for piece in cut(answer.refusal)]
    for number, call in enumerate(answer.calls):
        for position, piece in enumerate(cut(call.arguments) or [""]):
            fragment: Event = {"function": {"arguments": piece}}
            if position == 0 or habits.repeats:
                fragment |= {"id": call.id, "type": "function"}
                fragment["function"]["name"] = call.name
            if habits.first_index is not None:
                fragment["index"] = habits.first_index + number
            deltas.append({"tool_calls": [fragment]})
    if habits.repeats:
        deltas = [{"role": "assistant", **delta} for delta in deltas]
    chunks = [chunk(delta) for delta in deltas]
    if habits.finish_apart:
        chunks.append(chunk({}, answer.finish))
    else:
        chunks[-1]["choices"][0]["finish_reason"] = answer.finish
    if answer.usage is not None:
        chunks.append(chunk(usage=answer.usage))
    return chunks


def completion(answer: Answer) -> Event:
    """The same answer as a whole."""
    message: Event = {"role": "assistant", "content": answer.text or None}
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.refusal:
        message["refusal"] = answer.refusal
    if answer.calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}} for call in answer.calls
        ]
    choices = [{"index": 0, "message": message, "finish_reason": answer.finish}]
    whole: Event = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "glm-5", "choices": choices}
    return whole if answer.usage is None else {**whole, "usage": answer.usage}


# ---------------------------------------------------------------------------------------------------- Messages streams


@dataclass(frozen=True)
class Message:
    """An answer of the Messages wire."""

    blocks: tuple[Event, ...]
    stop: Event
    usage: Event = field(default_factory=dict)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    blocks: list[Event] = []
    for kind in draw(st.lists(st.sampled_from(["thinking", "redacted_thinking", "text", "tool_use", "server_tool_use"]), max_size=5)):
        match kind:
            case "thinking":
                blocks.append({"type": kind, "thinking": draw(SPOKEN), "signature": draw(st.sampled_from(["", "c2ln"]))})
            case "redacted_thinking":
                blocks.append({"type": kind, "data": draw(SPOKEN)})
            case "text":
                blocks.append({"type": kind, "text": draw(SPOKEN)})
            case _:
                name = "read" if kind == "tool_use" else "web_search"
                blocks.append({"type": kind, "id": f"toolu_{len(blocks)}", "name": name, "input": draw(ARGUMENTS)})
    called = any(block["type"] == "tool_use" for block in blocks)
    reason = draw(
        st.sampled_from(["max_tokens", "refusal", "tool_use" if called else "end_turn", "pause_turn", "model_context_window_exceeded"])
    )
    stop: Event = {"stop_reason": reason, "stop_sequence": None}
    if reason == "refusal" and draw(st.booleans()):
        stop["stop_details"] = {"type": "refusal", "category": None, "explanation": draw(SPOKEN)}
    usage = {"input_tokens": draw(st.integers(1, 10**6)), "output_tokens": draw(COUNT)}
    for name in ("cache_read_input_tokens", "cache_creation_input_tokens"):
        if draw(st.booleans()):
            usage[name] = draw(COUNT)
    return Message(tuple(blocks), stop, usage)


@st.composite
def message_events(draw: st.DrawFn, message: Message) -> list[Event]:
    start: Event = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
    at_start = {**message.usage, "output_tokens": 1}
    events: list[Event] = [{"type": "message_start", "message": {**start, "usage": at_start}}]
    for index, block in enumerate(message.blocks):
        empty, deltas = dict(block), []
        if block["type"] == "thinking":
            empty |= {"thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(draw, block["thinking"])]
            deltas += [{"type": "signature_delta", "signature": block["signature"]}] if block["signature"] else []
        elif block["type"] == "text":
            empty["text"] = ""
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(draw, block["text"])]
        elif "input" in block:
            empty["input"] = {}
            text = json.dumps(block["input"], ensure_ascii=False, separators=(",", ":"))
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *pieces(draw, "" if text == "{}" else text)]]
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    if draw(st.booleans()):
        events.insert(draw(st.integers(1, len(events))), {"type": "ping"})
    final = message.usage if draw(st.booleans()) else {"output_tokens": message.usage["output_tokens"]}
    return [*events, {"type": "message_delta", "delta": message.stop, "usage": final}, {"type": "message_stop"}]


def whole_message(message: Message) -> Event:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x"}
    return {**head, "content": list(message.blocks), **message.stop, "usage": message.usage}


# ---------------------------------------------------------------------------------------------------- bytes


@dataclass(frozen=True)
class Framing:
    """How a server writes SSE."""

    line_end: bytes = b"\n"
    space: bytes = b" "
    names: bool = True  # event lines
    ascii_only: bool = False
    comments: bool = False


FRAMINGS = st.builds(
    Framing, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.sampled_from([b" ", b""]), st.booleans(), st.booleans(), st.booleans()
)


def framed(data: bytes, name: str = "", framing: Framing = Framing()) -> bytes:
    end = framing.line_end
    event = b"event:" + framing.space + name.encode("utf-8", "surrogatepass") + end if name and framing.names else b""
    comment = b": still here" + end + end if framing.comments else b""
    return comment + event + b"data:" + framing.space + data + end + end


def as_bytes(events: list[Event], wire: Protocol, framing: Framing = Framing(), *, done: bool = True) -> bytes:
    """Events on the wire. ``[DONE]`` ends chat only."""
    frames = []
    for event in events:
        data = json.dumps(event, ensure_ascii=framing.ascii_only, separators=(",", ":")).encode("utf-8", "surrogatepass")
        frames.append(framed(data, str(event.get("type", "")) if wire is Protocol.ANTHROPIC else "", framing))
    return b"".join(frames) + (framed(b"[DONE]", framing=framing) if done and wire is Protocol.OPENAI else b"")


@st.composite
def streams(draw: st.DrawFn, wire: Protocol) -> list[Event]:
    """The events of a valid stream of ``wire``."""
    if wire is Protocol.OPENAI:
        return draw(chat_chunks(draw(answers()), draw(HABITS)))
    return draw(message_events(draw(messages())))


# ---------------------------------------------------------------------------------------------------- what goes wrong

#: Values of the wrong type, and odd ones of the right type.
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        -1,
        1,
        2,
        1.5,
        "",
        "x",
        " ",
        "{",
        "{}",
        "[1]",
        [],
        {},
        [{}],
        {"a": 1},
        "stop",
        "\ud83d",
        10**30,
        "tool_use",
        "error",
        "a\nb",
    ]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every member and item below ``value``."""
    items = list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    return [found for name, inner in items for found in [(*path, name), *places(inner, (*path, name))]]


def damaged(draw: st.DrawFn, event: Event) -> Event:
    """A copy of ``event`` with one member gone or of another value."""
    copy: Event = json.loads(json.dumps(event))
    found = places(copy)
    if not found:
        return copy
    *way, last = draw(st.sampled_from(found))
    place: Any = copy
    for name in way:
        place = place[name]
    if draw(st.booleans()):
        del place[last]
    else:
        place[last] = draw(ODD)
    return copy


@st.composite
def broken_streams(draw: st.DrawFn, wire: Protocol) -> bytes:
    """A stream that was valid before something happened to it."""
    events = draw(streams(wire))
    other = draw(streams(wire))
    for _ in range(draw(st.integers(1, 4))):
        if not events:
            break
        here = draw(st.integers(0, len(events) - 1))
        there = draw(st.integers(0, len(events) - 1))
        match draw(st.sampled_from(["drop", "repeat", "swap", "cut", "damage", "damage", "splice"])):
            case "drop":
                del events[here]
            case "repeat":
                events.insert(there, events[here])
            case "swap":
                events[here], events[there] = events[there], events[here]
            case "cut":
                del events[here:]
            case "splice":
                events[here:here] = other
            case _:
                events[here] = damaged(draw, events[here])
    stream = as_bytes(events, wire, draw(FRAMINGS), done=draw(st.booleans()))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(stream)))
        junk = draw(
            st.sampled_from(
                [b"\xff", b"\x00", b"\n", b"\n\n", b"\r", b"{", b'"', b"data: x\n\n", b"\\ud83d", b":", b"event: error\n", b"[DONE]"]
            )
        )
        stream = stream[:place] + junk + stream[place + draw(st.integers(0, 3)) :]
    return stream
