"""A Messages stream as a chat stream, bytes in and bytes out.

Chat chunks carry no blocks: text, reasoning and calls are told apart by the members of ``delta``. What has to be kept track of is which
block is open, because a call is numbered among the calls and not among the blocks, and because the vendor's own tools are hidden.
"""

from __future__ import annotations

from typing import ClassVar, Final

from core.dialects import Protocol
from core.errors import UpstreamFailed, UpstreamGarbled
from core.translate import stops, tools, usage
from core.translate.context import AnswerContext
from core.translate.machine import BLOCKS, MessagesReader, State
from core.translate.usage import call_weight, weight
from core.wire import messages
from core.wire.codec import compact, encode, given, is_object, text_of
from core.wire.sse import Frame

#: delta -> the start of the chunk's delta. They fit anywhere but in a hidden block: some servers send no content_block_start.
_DELTAS: Final = {"text_delta": b'{"content":', "thinking_delta": b'{"reasoning_content":'}


class MessagesToChat(MessagesReader):
    """A Messages stream for a chat client."""

    CLIENT: ClassVar = Protocol.OPENAI

    def __init__(self, context: AnswerContext) -> None:
        super().__init__(context)
        self._head = b""  # everything of a chunk before its choices; known with the id
        self._prefix = b""  # everything of a chunk before its delta
        self._open_index: int | None = None  # the upstream's index of the open block
        self._calls = 0
        self._call_name = ""  # of the open or last call
        self._is_custom = False
        self._is_schema = False  # the open call is the tool that stands for a JSON schema: its input is the answer's text
        self._schemas = 0
        self._input = b""  # the open call's input from its content_block_start
        self._arguments: list[str] = []
        self._is_broken = False  # the arguments of the last call are no JSON object
        self._thought: list[str] = []
        self._signature = ""
        self._details = 0
        self._said_anything = False
        self._stop: str | None = None

    # ------------------------------------------------------------------ what comes in

    def _take_start(self, event: messages.Event, frame: Frame) -> None:
        message = event.message or messages.Answer()
        self._heard = usage.of_messages(message.usage)
        self._begin(message.id or "")
        for number, block in enumerate(message.content or ()):  # a server that sends the whole answer in its first event
            self._open_block(block, number)
            self._close_block()
            self._stop = message.stop_reason

    def _begin(self, upstream_id: str = "") -> None:
        if self.started:
            return
        self._head = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,' % (
            encode(completion_id(upstream_id, self.context)),
            self.context.created,
            encode(self.context.model),
        )
        self._prefix = self._head + b'"choices":[{"index":0,"finish_reason":null,"delta":'
        self.state = State.BETWEEN
        self._out.append(b'%b{"role":"assistant","content":""}}]}\n\n' % self._prefix)

    def _say(self, delta: bytes) -> None:
        self._said_anything = True
        self._out.append(b"%b%b}]}\n\n" % (self._prefix, delta))

    def _take_block(self, event: messages.Event, frame: Frame) -> None:
        if event.content_block is None or self.state is State.STOPPED:
            self.skipped += 1
            return
        self._begin()
        self._close_block()
        self._open_block(event.content_block, event.index)

    def _open_block(self, block: messages.AnswerBlock, index: int | None) -> None:
        self.state = BLOCKS.get(block.type, State.OTHER)
        self._open_index = index
        if self.state is State.TEXT and block.text:
            self._weight += weight(block.text)
            self._say(b'{"content":%b}' % encode(block.text))
        elif self.state is State.THINKING:
            self._thought, self._signature = [], block.signature or ""
            self._think(block.thinking or "")
        elif self.state is State.CALL:
            self._open_call(block)
        elif block.type == "redacted_thinking" and block.data:
            self._add_detail(b'"type":"reasoning.encrypted","data":%b' % encode(block.data))

    def _take_delta(self, event: messages.Event, frame: Frame) -> None:
        delta = event.delta
        if delta is None or self.state is State.STOPPED:
            self.skipped += 1
            return
        start = _DELTAS.get(delta.type or "")
        if start is not None and self.state is not State.OTHER:
            if self.state is State.WAITING:
                self._begin()
            if delta.thinking:
                self._think(delta.thinking)
            elif delta.text:
                self._weight += weight(delta.text)
                self._say(b"%b%b}" % (start, encode(delta.text)))
        elif delta.partial_json and self.state is State.CALL and event.index in (None, self._open_index):
            self._take_arguments(delta.partial_json)
        elif delta.signature and self.state is State.THINKING:
            self._signature += delta.signature
        else:
            self.skipped += bool(delta.partial_json) and self.state is not State.OTHER

    def _take_stop(self, event: messages.Event, frame: Frame) -> None:
        if event.index in (None, self._open_index):
            self._close_block()

    def _take_other(self, kind: str, frame: Frame) -> None:
        if kind == "ping" and self.started:
            self._out.append(b": ping\n\n")

    # ------------------------------------------------------------------ thinking

    def _think(self, text: str) -> None:
        self._thought.append(text)
        if text and self.context.show_thinking:
            self._weight += weight(text)
            self._say(b'{"reasoning_content":%b}' % encode(text))

    def _add_detail(self, members: bytes) -> None:
        """One item of ``reasoning_details``, for clients that send it back: the only place where a signature fits."""
        if self.context.show_thinking:
            self._say(b'{"reasoning_details":[{%b,"index":%d}]}' % (members, self._details))
            self._details += 1

    # ------------------------------------------------------------------ calls

    def _open_call(self, block: messages.AnswerBlock) -> None:
        self._check_arguments(cut=False)
        if not block.name:
            raise UpstreamGarbled("the upstream called a tool without its name")
        self._input = compact(block.input) if given(block.input) else b"{}"
        self._arguments = []
        self._call_name = self.context.names.get(block.name, block.name)
        self._is_schema = block.name == self.context.schema_tool
        self._is_custom = self._call_name in self.context.custom
        if self._is_schema:
            self._schemas += 1
            return
        kind = (
            b'"type":"custom","custom":{"name":%b,"input":""}'
            if self._is_custom
            else b'"type":"function","function":{"name":%b,"arguments":""}'
        )
        call_id = block.id or f"call_{self.context.seed}_{self._calls}"
        self._say(b'{"tool_calls":[{"index":%d,"id":%b,%b}]}' % (self._calls, encode(call_id), kind % encode(self._call_name)))

    def _take_arguments(self, text: str) -> None:
        self._arguments.append(text)
        if self._is_schema:
            self._say(b'{"content":%b}' % encode(text))
        elif not self._is_custom:
            self._say(b'{"tool_calls":[{"index":%d,"function":{"arguments":%b}}]}' % (self._calls, encode(text)))

    def _close_call(self) -> None:
        text = "".join(self._arguments)
        if not text.strip():  # nothing was streamed: the input stood in the block's start, or there is none
            text = text_of(self._input)
            self._take_arguments(text)
        self._weight += weight(text) if self._is_schema else call_weight(self._call_name, text)
        if self._is_schema:
            return
        if self._is_custom:
            self._say(b'{"tool_calls":[{"index":%d,"custom":{"input":%b}}]}' % (self._calls, encode(tools.unwrapped(text))))
        self._is_broken = not self._is_custom and not is_object(text)
        self._calls += 1

    def _check_arguments(self, *, cut: bool) -> None:
        """Arguments that went out already and turn out to be no JSON object cannot be taken back: the answer fails. A cut is no fault."""
        if self._is_broken and not cut:
            raise UpstreamGarbled(f'the upstream sent arguments for the tool "{self._call_name}" that are not a JSON object')

    # ------------------------------------------------------------------ the end

    def _close_block(self) -> None:
        if self.state is State.CALL:
            self._close_call()
        elif self.state is State.THINKING and self._signature:
            thought = encode("".join(self._thought))
            self._add_detail(b'"type":"reasoning.text","text":%b,"signature":%b' % (thought, encode(self._signature)))
        if self.state not in (State.WAITING, State.STOPPED):
            self.state = State.BETWEEN
        self._open_index = None

    def _take_message_delta(self, event: messages.Event, frame: Frame) -> None:
        self._heard = usage.of_messages(event.usage, self._heard)
        delta = event.delta
        if delta is not None and delta.stop_reason and self.state is not State.STOPPED:
            self._stop = delta.stop_reason
            self._finish(delta.stop_details)

    def _finish(self, details: messages.StopDetails | None = None) -> None:
        """The chunk with finish_reason."""
        if self._stop in stops.FAILURES:
            raise UpstreamFailed(f'the upstream broke off its answer (stop_reason "{self._stop}")')
        self._close_block()
        self._check_arguments(cut=self._stop in stops.CUTTING)
        self._check_calls(self._stop, called=self._calls > 0 or self._schemas > 0)
        self._begin()
        if details is not None and details.explanation and self._stop == "refusal":
            self._say(b'{"refusal":%b}' % encode(details.explanation))
        reason = stops.finish_reason(self._stop, calls=self._calls > 0)
        self._out.append(b'%b"choices":[{"index":0,"delta":{},"finish_reason":%b}]}\n\n' % (self._head, encode(reason)))
        self.state = State.STOPPED

    def _says_something(self) -> bool:
        return self._said_anything

    def _has_finish(self) -> bool:
        return self._stop is not None

    def _end(self) -> None:
        if self.state is not State.STOPPED:
            if not (self._said_anything or self._stop):
                raise UpstreamGarbled("the upstream's stream held no answer")
            self._finish()
        if self.context.include_usage:
            counts = self._final()
            told = self.context.report.usage_of(self.CLIENT, counts)
            self._out.append(b'%b"choices":[],"usage":%b%b}\n\n' % (self._head, told, self.context.info(counts)))
        self._out.append(b"data: [DONE]\n\n")
        self.state = State.ENDED


def completion_id(upstream: str, context: AnswerContext) -> str:
    """The id of a chat answer, from which the upstream's can be read back."""
    if not upstream:
        return f"chatcmpl-{context.seed}"
    return upstream if upstream.startswith("chatcmpl-") else f"chatcmpl-{upstream}"
