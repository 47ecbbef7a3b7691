"""A Messages stream as a chat stream, bytes in and bytes out.

Chat chunks carry no blocks: text, reasoning and calls are told apart by the members of ``delta``. What has to be kept track of is which block
is open, because a call is numbered among the calls and not among the blocks, and because blocks of the vendor's own tools are hidden.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from core.dialects import Protocol
from core.errors import ProxyError, UpstreamFailed, UpstreamGarbled
from core.translate import faults, stops, tools, usage
from core.translate.context import AnswerContext
from core.translate.usage import Counts
from core.wire import messages
from core.wire.codec import decode_lenient, encode, given, is_object, text_of
from core.wire.sse import Decoder


class State(enum.Enum):
    """Where the upstream's stream stands."""

    WAITING = "waiting"  # nothing was written
    BETWEEN = "between"  # begun, no block is open
    TEXT = "text"
    THINKING = "thinking"
    CALL = "call"
    HIDDEN = "hidden"  # a block the client does not see
    STOPPED = "stopped"  # the finish chunk was written
    ENDED = "ended"  # [DONE] or an error was written


#: type of a content block -> what its deltas are to the client; any other is hidden.
BLOCKS: Final = {"text": State.TEXT, "thinking": State.THINKING, "tool_use": State.CALL}

#: (what is open, type of a delta) -> the member of ``Delta`` that goes to the client and the start of its chunk's delta.
#: A pair that is not here says nothing to a chat client.
DELTAS: Final = {
    (State.TEXT, "text_delta"): b'{"content":',
    (State.BETWEEN, "text_delta"): b'{"content":',  # servers that send no content_block_start
    (State.THINKING, "thinking_delta"): b'{"reasoning_content":',
    (State.BETWEEN, "thinking_delta"): b'{"reasoning_content":',
}

_DONE: Final = b"[DONE]"
_PING: Final = b": ping\n\n"


class MessagesToChat:
    """``feed`` the upstream's bytes, cut anywhere, and send what it returns; ``close`` at the end of the upstream's body.

    ``error`` is set when the answer failed. If nothing had been written by then, nothing is written: the caller can still get a proper HTTP
    error. Otherwise the error frame is already in the output, and no ``[DONE]`` follows it.
    """

    def __init__(self, context: AnswerContext) -> None:
        self.context = context
        self.state = State.WAITING
        self.error: ProxyError | None = None
        self.counts = Counts()
        self.skipped = 0  # malformed frames and events that had no place
        self._frames = Decoder()
        self._out: list[bytes] = []
        self._head = b""  # everything of a chunk before its choices; known with the id
        self._prefix = b""  # everything of a chunk before its delta
        self._open_index: int | None = None  # the upstream's index of the open block
        self._calls = 0
        self._call_name = ""
        self._custom = False
        self._as_text = False  # the open call is the tool that stands for a JSON schema
        self._texts_of_schema = 0
        self._input = b""  # the open call's input from its content_block_start
        self._arguments: list[str] = []
        self._thought: list[str] = []
        self._signature = ""
        self._details = 0
        self._stop: str | None = None
        self._broken_call: str | None = None

    # ------------------------------------------------------------------ for the driver

    @property
    def started(self) -> bool:
        """Whether anything has been written."""
        return self.state is not State.WAITING

    @property
    def finished(self) -> bool:
        """Whether the answer is over, well or not."""
        return self.state is State.ENDED or self.error is not None

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the upstream's stream; returns the chunks they make, possibly none."""
        if self.finished:
            return b""
        try:
            for frame in self._frames.feed(data):
                self._take(frame.data)
                if self.finished:
                    break
        except ProxyError as error:
            self.fail(error)
        return self._written()

    def close(self) -> bytes:
        """The upstream's body is over. Without a stop_reason that is a failure, however clean the connection ended."""
        if self.finished:
            return b""
        try:
            for frame in self._frames.close():
                self._take(frame.data)
            if not self.finished:
                if self._stop is None:
                    raise UpstreamFailed("the upstream closed its stream before the answer was complete")
                self._end()
        except ProxyError as error:
            self.fail(error)
        return self._written()

    def fail(self, error: ProxyError) -> None:
        """End the answer with an error: its frame, or nothing when nothing was written yet."""
        if self.finished:
            return
        self.error = error
        if self.state is State.WAITING:
            return
        self._out.append(faults.event_of(Protocol.OPENAI, error))
        self.state = State.ENDED

    def abort(self, error: ProxyError) -> bytes:
        """``fail`` from outside: returns the bytes that end the client's stream, the error frame even when nothing was written."""
        if self.finished:
            return b""
        self.fail(error)
        return self._written() or faults.event_of(Protocol.OPENAI, error)

    def _written(self) -> bytes:
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    # ------------------------------------------------------------------ what comes in

    def _take(self, data: bytes) -> None:
        try:
            event = decode_lenient(messages.Event, data)
        except msgspec.DecodeError:
            self.skipped += data != _DONE  # a stray [DONE] is a habit of relays, not an event
            return
        kind = event.type
        if kind == "content_block_delta":
            self._take_delta(event)
        elif kind == "ping":
            if self.started:
                self._out.append(_PING)
        elif kind == "message_start":
            self._take_start(event)
        elif kind == "content_block_start":
            self._take_block(event)
        elif kind == "content_block_stop":
            self._stop_block()
        elif kind == "message_delta":
            self._take_message_delta(event)
        elif kind == "message_stop":
            self._end()
        elif kind == "error" or event.error is not None:
            raise faults.understand(200, data)

    def _take_start(self, event: messages.Event) -> None:
        if self.started:
            raise UpstreamGarbled("the upstream began a second answer in the same stream")
        message = event.message or messages.Answer()
        if message.usage is not None:
            self.counts = usage.of_messages(message.usage)
        self._begin(message.id or "")
        for number, block in enumerate(message.content or ()):  # a server that sends the whole answer in its first event
            self._take_block(messages.Event("content_block_start", index=number, content_block=block))
            self._stop_block()
        self._stop = message.stop_reason

    def _begin(self, upstream_id: str) -> None:
        if self.started:
            return
        self._head = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,' % (
            encode(completion_id(upstream_id, self.context)),
            self.context.created,
            encode(self.context.model),
        )
        self._prefix = self._head + b'"choices":[{"index":0,"finish_reason":null,"delta":'
        self.state = State.BETWEEN
        self._chunk(b'{"role":"assistant","content":""}')

    def _chunk(self, delta: bytes) -> None:
        self._out.append(b"%b%b}]}\n\n" % (self._prefix, delta))

    def _take_block(self, event: messages.Event) -> None:
        block = event.content_block
        if block is None or self.state is State.STOPPED:
            self.skipped += 1
            return
        self._begin("")
        self._stop_block()
        self.state = BLOCKS.get(block.type, State.HIDDEN)
        self._open_index = event.index
        if self.state is State.TEXT and block.text:
            self._chunk(b'{"content":%b}' % encode(block.text))
        elif self.state is State.THINKING:
            self._open_thinking(block)
        elif self.state is State.CALL:
            self._open_call(block)
        elif block.type == "redacted_thinking" and block.data and self.context.show_thinking:
            self._detail(b'"type":"reasoning.encrypted","data":%b' % encode(block.data))

    def _take_delta(self, event: messages.Event) -> None:
        delta = event.delta
        if delta is None or self.state is State.STOPPED or (self._open_index is not None and event.index not in (None, self._open_index)):
            self.skipped += 1
            return
        if self.state is State.WAITING:
            self._begin("")
        start = DELTAS.get((self.state, delta.type or ""))
        if start is not None:
            text = delta.text if delta.text is not None else delta.thinking
            if not text:
                return
            if self.state is State.THINKING:
                self._thought.append(text)
                if not self.context.show_thinking:
                    return
            self._out.append(b"%b%b%b}}]}\n\n" % (self._prefix, start, encode(text)))
        elif self.state is State.CALL and delta.partial_json:
            self._take_arguments(delta.partial_json)
        elif self.state is State.THINKING and delta.signature:
            self._signature += delta.signature

    # ------------------------------------------------------------------ thinking

    def _open_thinking(self, block: messages.AnswerBlock) -> None:
        self._thought, self._signature = [], block.signature or ""
        if block.thinking:
            self._thought.append(block.thinking)
            if self.context.show_thinking:
                self._chunk(b'{"reasoning_content":%b}' % encode(block.thinking))

    def _detail(self, members: bytes) -> None:
        """One item of ``reasoning_details``, for clients that send it back: the only place where a signature fits."""
        self._chunk(b'{"reasoning_details":[{%b,"index":%d}]}' % (members, self._details))
        self._details += 1

    # ------------------------------------------------------------------ calls

    def _open_call(self, block: messages.AnswerBlock) -> None:
        name = self.context.names.get(block.name or "", block.name or "")
        self._input = bytes(block.input) if given(block.input) else b""
        self._arguments = []
        self._call_name = name
        self._custom = name in self.context.custom
        self._as_text = block.name is not None and block.name == self.context.schema_tool
        if self._as_text:
            self._texts_of_schema += 1
            return
        call_id = block.id or f"call_{self.context.seed}_{self._calls}"
        if self._custom:
            self._chunk(
                b'{"tool_calls":[{"index":%d,"id":%b,"type":"custom","custom":{"name":%b,"input":""}}]}'
                % (self._calls, encode(call_id), encode(name))
            )
            return
        self._chunk(
            b'{"tool_calls":[{"index":%d,"id":%b,"type":"function","function":{"name":%b,"arguments":""}}]}'
            % (self._calls, encode(call_id), encode(name))
        )

    def _take_arguments(self, text: str) -> None:
        self._arguments.append(text)
        if self._as_text:
            self._chunk(b'{"content":%b}' % encode(text))
        elif not self._custom:
            self._chunk(b'{"tool_calls":[{"index":%d,"function":{"arguments":%b}}]}' % (self._calls, encode(text)))

    def _stop_call(self) -> None:
        text = "".join(self._arguments)
        if not text.strip():  # nothing streamed: the input stood in the block's start, or there is none
            text = text_of(self._input) if self._input.strip() else "{}"
            if not self._custom:
                self._take_arguments(text)
        if self._custom:
            self._chunk(b'{"tool_calls":[{"index":%d,"custom":{"input":%b}}]}' % (self._calls, encode(tools.unwrapped(text))))
        elif not self._as_text and not is_object(text):
            self._broken_call = self._call_name
        self._calls += not self._as_text

    # ------------------------------------------------------------------ the end

    def _stop_block(self) -> None:
        if self.state is State.CALL:
            self._stop_call()
        elif self.state is State.THINKING and self._signature and self.context.show_thinking:
            self._detail(
                b'"type":"reasoning.text","text":%b,"signature":%b' % (encode("".join(self._thought)), encode(self._signature))
            )
        if self.state in (State.TEXT, State.THINKING, State.CALL, State.HIDDEN):
            self.state = State.BETWEEN
        self._open_index = None

    def _take_message_delta(self, event: messages.Event) -> None:
        if event.usage is not None:
            self.counts = self.counts.overlaid(usage.of_messages(event.usage))
        delta = event.delta
        if delta is None or delta.stop_reason is None or self.state is State.STOPPED:
            return
        self._stop = delta.stop_reason
        self._finish(delta.stop_details)

    def _finish(self, details: messages.StopDetails | None) -> None:
        """The chunk with finish_reason. Arguments that are no JSON are a failure, unless the length cut them."""
        self._begin("")
        self._stop_block()
        if self._broken_call is not None and self._stop not in ("max_tokens", "model_context_window_exceeded"):
            raise UpstreamGarbled(f'the upstream sent arguments for the tool "{self._broken_call}" that are not a JSON object')
        if details is not None and details.explanation:
            self._chunk(b'{"refusal":%b}' % encode(details.explanation))
        reason = "stop" if self._texts_of_schema and not self._calls and self._stop == "tool_use" else None
        reason = reason or stops.finish_reason(self._stop, calls=self._calls > 0)
        self._out.append(b'%b"choices":[{"index":0,"delta":{},"finish_reason":%b}]}\n\n' % (self._head, encode(reason)))
        self.state = State.STOPPED

    def _end(self) -> None:
        if self.state is State.WAITING:
            raise UpstreamGarbled("the upstream's stream held no answer")
        if self.state is not State.STOPPED:
            self._finish(None)
        if self.context.include_usage:
            counts = self.counts.repaired(self.context.input_tokens)
            self._out.append(b'%b"choices":[],"usage":%b}\n\n' % (self._head, usage.chat_json(counts)))
        self._out.append(b"data: [DONE]\n\n")
        self.state = State.ENDED


def completion_id(upstream: str, context: AnswerContext) -> str:
    """The id of a chat answer, from which the upstream's can be read back."""
    if not upstream:
        return f"chatcmpl-{context.seed}"
    return upstream if upstream.startswith("chatcmpl-") else f"chatcmpl-{upstream}"
