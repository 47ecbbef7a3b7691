"""Answers of Messages for a client of Messages: passed on byte for byte, and mended only where a client would break.

What is changed: the model's name (the client's own is echoed), usage that reports no prompt or no numbers, members without which the SDKs
fail, block numbers that do not count from 0, a missing end. What has no place in the grammar is left out and counted. A cut stream ends in
an error.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final

from msgspec import Raw

from core.dialects import Protocol
from core.errors import BadRequest, ProxyError, UpstreamFailed, UpstreamGarbled
from core.translate import stops, usage
from core.translate.answers import block_events, completion_weight, legible, message_weight, whole_completion, whole_message
from core.translate.context import AnswerContext
from core.translate.machine import BLOCKS, MessagesReader, State, can_pass
from core.translate.stream_to_messages import end_event, message_id, start_event, stop_delta
from core.translate.usage import call_weight, weight
from core.wire import chat, messages, sse
from core.wire.codec import ABSENT, decoder, encode, given, is_object, members
from core.wire.envelope import Envelope
from core.wire.sse import Frame

#: type of a block -> the deltas it takes. A block of any other type takes any.
FITTING: Final = {
    "text": ("text_delta", "citations_delta"),
    "thinking": ("thinking_delta", "signature_delta"),
    "redacted_thinking": (),
    "tool_use": ("input_json_delta",),
    "server_tool_use": ("input_json_delta",),
    "mcp_tool_use": ("input_json_delta",),
    "compaction": ("compaction_delta",),
}
#: delta -> the block it stands for where none that takes it is open.
_IMPLIED: Final = {"text_delta": "text", "thinking_delta": "thinking"}
#: The blocks whose text has the name of their type: what such a block has to have when it starts.
_EMPTY: Final = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}}
_CALLS: Final = ("tool_use", "server_tool_use", "mcp_tool_use")


class MessagesRelay(MessagesReader):
    """A Messages stream for a Messages client."""

    CLIENT: ClassVar = Protocol.ANTHROPIC

    def __init__(self, context: AnswerContext) -> None:
        super().__init__(context)
        self._index = -1  # of the open or last block, as the client counts
        self._upstream_index: int | None = None
        self._kind = ""  # of the open or last block
        self._name = ""  # of its tool
        self._input: list[str] = []  # what was streamed of its input
        self._space = ""  # white space before that
        self._called = False
        self._told = usage.NOTHING  # what the client was told of the counts at the start

    # ------------------------------------------------------------------ writing

    def _pass(self, frame: Frame, kind: str, *, renumber: bool = False) -> None:
        """The frame as it came; anew where its event line is missing or wrong, or where its block has another number here."""
        if renumber:
            self._say(kind, encode({**members(frame.data), "index": self._index}))
        elif frame.event == kind.encode() and can_pass(frame):
            self._out.append(frame.raw)
        else:
            self._say(kind, frame.data)

    def _say(self, kind: str, data: bytes) -> None:
        self._out.append(sse.encode(data, kind.encode()))

    # ------------------------------------------------------------------ the beginning

    def _take_start(self, event: messages.Event, frame: Frame) -> None:
        message = event.message or messages.Answer()
        self._heard = usage.of_messages(message.usage)
        counts = self._heard.repaired(self.context.input_tokens)
        self._told = replace(counts, output=counts.output or 0)
        found = members(members(frame.data)["message"]) if event.message is not None else {}
        self.state = State.BETWEEN
        changes = self._mended_start(message)
        if "usage" in changes:
            self._told = usage.ZEROS.overlaid(self._told)
        if changes:
            self._say("message_start", encode({**members(frame.data), "message": {**found, **changes}}))
        else:
            self._pass(frame, "message_start")
        if message.content:  # a server that sends the whole answer in its first event
            for number, block in enumerate(decoder(list[Raw]).decode(found["content"])):
                for one in sse.Decoder().feed(b"".join(block_events(number, block))):
                    self._take(one)

    def _mended_start(self, message: messages.Answer) -> dict[str, object]:
        """What has to stand in ``message`` instead of, or beside, what the upstream says."""
        facts = {"type": (message.type, "message"), "role": (message.role, "assistant"), "model": (message.model, self.context.model)}
        changes: dict[str, object] = {name: wanted for name, (found, wanted) in facts.items() if found != wanted}
        if not message.id:
            changes["id"] = message_id("", self.context)
        if message.content is None or message.content:
            changes["content"] = []
        if message.stop_reason is not None:
            changes["stop_reason"] = None
        report = self.context.report
        if report.alters or not usage.is_tidy_messages(message.usage) or self._heard.prompt != self._told.prompt:
            changes["usage"] = usage.mended(message.usage, report.start_usage(self._told), report.scale)
        return changes

    def _begin(self) -> None:
        if not self.started:
            counts = replace(self._heard.repaired(self.context.input_tokens), output=0)
            self._say("message_start", start_event(message_id("", self.context), counts, self.context))
            self._told = usage.ZEROS.overlaid(counts)
            self.state = State.BETWEEN

    # ------------------------------------------------------------------ blocks

    def _take_block(self, event: messages.Event, frame: Frame) -> None:
        block = event.content_block
        if block is None or not block.type or self.state is State.STOPPED:
            self.skipped += 1
            return
        if block.type in _CALLS and not block.name:
            raise UpstreamGarbled("the upstream called a tool without its name")
        self._begin()
        self._open(block.type, event.index)
        self._name = block.name or ""
        self._weight += weight(block.text or block.thinking or "")
        found = members(members(frame.data)["content_block"])
        if changes := self._mended_block(block, found):
            whole = {**members(frame.data), "index": self._index, "content_block": {**found, **changes}}
            self._say("content_block_start", encode(whole))
        else:
            self._pass(frame, "content_block_start", renumber=event.index != self._index)

    def _open(self, kind: str, upstream_index: int | None) -> None:
        self._stop_block()
        self._end_input(cut=False)
        self._index += 1
        self._upstream_index = upstream_index
        self._kind = kind
        self._input, self._space = [], ""
        self._name = ""
        self._called = self._called or kind == "tool_use"
        self.state = BLOCKS.get(kind, State.OTHER)

    def _mended_block(self, block: messages.AnswerBlock, found: dict[str, Raw]) -> dict[str, object]:
        """What has to stand in a block's start instead of, or beside, what the upstream says."""
        changes: dict[str, object] = {}
        if block.type in _EMPTY and not given(found.get(block.type, ABSENT)):
            changes[block.type] = ""
        if block.type in _CALLS:
            if not block.id:
                changes["id"] = f"toolu_{self.context.seed}_{self._index}"
            if not is_object(bytes(block.input)):
                changes["input"] = {"_raw": block.input} if given(block.input) and bytes(block.input) != b'""' else {}
        return changes

    def _take_delta(self, event: messages.Event, frame: Frame) -> None:
        delta = event.delta
        if delta is None or not delta.type or self.state is State.STOPPED:
            self.skipped += 1
            return
        kind, text = delta.type, delta.text if delta.type == "text_delta" else delta.thinking
        if not self._is_open or kind not in FITTING.get(self._kind, (kind,)):
            if kind not in _IMPLIED or text is None:
                self.skipped += 1
                return
            if not text.strip():
                return  # parsers leave line ends between blocks
            self._imply(_IMPLIED[kind], event.index)
        if kind in _IMPLIED and text is None:
            self.skipped += 1
        elif kind == "input_json_delta":
            self._take_input(delta.partial_json, event, frame)
        else:
            if text:
                self._weight += weight(text)
            self._pass(frame, "content_block_delta", renumber=event.index != self._index)

    def _imply(self, kind: str, upstream_index: int | None) -> None:
        """Open a block whose content_block_start is missing."""
        self._begin()
        self._open(kind, upstream_index)
        start = {"type": "content_block_start", "index": self._index, "content_block": {"type": kind, **_EMPTY[kind]}}
        self._say("content_block_start", encode(start))

    def _take_input(self, text: str | None, event: messages.Event, frame: Frame) -> None:
        if text is None or event.index not in (None, self._upstream_index):
            self.skipped += 1  # pieces of another call would spoil this one
            return
        if text and not self._input:
            self._space += text  # white space alone is no input, and clients would try to read it
            if not self._space.strip():
                return
            if self._space != text:
                delta = {"type": "input_json_delta", "partial_json": self._space}
                frame = Frame(frame.event, encode({**members(frame.data), "delta": delta}), b"")
        if text:
            self._input.append(text)
        self._pass(frame, "content_block_delta", renumber=event.index != self._index)

    @property
    def _is_open(self) -> bool:
        return self.state not in (State.WAITING, State.BETWEEN, State.STOPPED)

    def _take_stop(self, event: messages.Event, frame: Frame) -> None:
        if not self._is_open or event.index not in (None, self._upstream_index):
            self.skipped += 1
            return
        self._pass(frame, "content_block_stop", renumber=event.index != self._index)
        self.state = State.BETWEEN

    def _stop_block(self) -> None:
        if self._is_open:
            self._say("content_block_stop", b'{"type":"content_block_stop","index":%d}' % self._index)
            self.state = State.BETWEEN

    def _end_input(self, *, cut: bool) -> None:
        """Input that went out already and turns out to be no JSON object cannot be taken back: the answer fails. A cut is no fault."""
        text = "".join(self._input)
        if self._kind == "tool_use":
            self._weight += call_weight(self._name, text)
        if text and not cut and not is_object(text):
            raise UpstreamGarbled("the upstream sent arguments for a tool that are not a JSON object")

    def _take_other(self, kind: str, frame: Frame) -> None:
        if self.started:
            self._pass(frame, kind)
        else:
            self.skipped += kind != "ping"

    # ------------------------------------------------------------------ the end

    def _take_message_delta(self, event: messages.Event, frame: Frame) -> None:
        self._heard = usage.of_messages(event.usage, self._heard)
        if event.delta is None or not event.delta.stop_reason or self.state is State.STOPPED:
            return  # usage alone: it is said with the stop_reason
        if event.delta.stop_reason in stops.FAILURES:
            raise UpstreamFailed(f'the upstream broke off its answer (stop_reason "{event.delta.stop_reason}")')
        self._end_input(cut=event.delta.stop_reason in stops.CUTTING)
        self._check_calls(event.delta.stop_reason, called=self._called)
        self._begin()
        self._stop_block()
        if changes := self._mended_end(event, event.delta.stop_reason, frame):
            self._say("message_delta", encode({**members(frame.data), **changes}))
        else:
            self._pass(frame, "message_delta")
        self.state = State.STOPPED

    def _mended_end(self, event: messages.Event, said: str, frame: Frame) -> dict[str, object]:
        """What has to stand in a message_delta instead of, or beside, what the upstream says."""
        changes: dict[str, object] = {}
        reason = stops.known_stop_reason(said, calls=self._called)
        if reason != said:
            changes["delta"] = {**members(members(frame.data)["delta"]), "stop_reason": reason}
        counts = self._final()
        told = self._told_end(event.usage, counts)
        if told is not None:
            changes["usage"] = told
        if self.context.to_fold and self.context.report.extras:
            changes["context_info"] = Raw(self.context.report.context_info(counts, self.context.input_tokens))
        return changes

    def _told_end(self, raw: Raw, counts: usage.Counts) -> object:
        """``usage`` of a message_delta: every final number, for some clients look nowhere else. None where ``raw`` has them all.

        A cache of which nobody has ever spoken is not made up.
        """
        start = self._told
        final = replace(usage.ZEROS, cache_read=_zero(start.cache_read), cache_creation=_zero(start.cache_creation)).overlaid(counts)
        is_right = usage.is_tidy_messages(raw) and usage.of_messages(raw) == final
        told = self.context.report.relayed(self.CLIENT, raw, counts, is_right=is_right)
        caches = {"cache_read_input_tokens": final.cache_read, "cache_creation_input_tokens": final.cache_creation}
        if told is None or None not in caches.values():
            return told
        return {name: value for name, value in members(told).items() if caches.get(name, 0) is not None}

    def _says_something(self) -> bool:
        return self._index >= 0

    def _has_finish(self) -> bool:
        return self.state is State.STOPPED

    def _take_message_stop(self, frame: Frame) -> None:
        self._finish()
        self._pass(frame, "message_stop")
        self.state = State.ENDED

    def _end(self) -> None:
        self._finish()
        self._say("message_stop", b'{"type":"message_stop"}')
        self.state = State.ENDED

    def _finish(self) -> None:
        """The message_delta, where the upstream left it out."""
        if self.state is State.STOPPED:
            return
        if self._index < 0:
            raise UpstreamGarbled("the upstream's stream held no answer")
        self._stop_block()
        self._end_input(cut=False)
        reason = stops.stop_reason(None, calls=self._called, refused=False)
        self._say("message_delta", end_event(stop_delta(reason, None, ""), self._final(), self.context))

    def _error_frame(self, error: ProxyError) -> bytes:
        self._stop_block()
        return super()._error_frame(error)


def _zero(count: int | None) -> int | None:
    return None if count is None else 0


# ---------------------------------------------------------------------------------------------------- whole answers


def relay_answer(body: bytes, wire: Protocol, context: AnswerContext) -> tuple[bytes, usage.Counts]:
    """A whole answer for a client of the same wire: as it came, but for the model's name and what clients cannot read. Also its counts.

    Raises ``UpstreamSaid`` for an error inside a good status, ``UpstreamGarbled`` for what is no answer of that wire, ``UpstreamFailed``
    for an answer that its vendor marks as broken off.
    """
    body = legible(body)
    changes, counts = (_message_changes if wire is Protocol.ANTHROPIC else _completion_changes)(body, context)
    try:
        return (Envelope.read(body, what="answer").replace(changes) if changes else body), counts
    except BadRequest as error:
        raise UpstreamGarbled(f"the upstream's answer cannot be read: {error}") from None


def _message_changes(body: bytes, context: AnswerContext) -> tuple[dict[str, bytes | None], usage.Counts]:
    answer = whole_message(body)
    heard = usage.of_messages(answer.usage)
    counts = context.completed(heard, lambda: message_weight(answer, context))
    changes: dict[str, bytes | None] = {}
    if answer.model != context.model:
        changes["model"] = encode(context.model)
    if answer.stop_reason is not None:
        called = any(block.type == "tool_use" for block in answer.content or ())
        reason = stops.known_stop_reason(answer.stop_reason, calls=called)
        if reason != answer.stop_reason:
            changes["stop_reason"] = encode(reason)
    is_right = usage.is_tidy_messages(answer.usage) and heard == counts
    return changes | _told(Protocol.ANTHROPIC, answer.usage, counts, context, is_right=is_right), counts


def _completion_changes(body: bytes, context: AnswerContext) -> tuple[dict[str, bytes | None], usage.Counts]:
    answer = whole_completion(body)
    heard = usage.of_chat(answer.usage)
    counts = context.completed(heard, lambda: completion_weight(answer))
    changes: dict[str, bytes | None] = {}
    if answer.model != context.model:
        changes["model"] = encode(context.model)
    if (choices := _mended_choices(answer, body)) is not None:
        changes["choices"] = choices
    if not (given(answer.usage) or context.report.estimates):
        return changes, counts
    is_right = usage.is_tidy_chat(answer.usage) and heard == counts
    return changes | _told(Protocol.OPENAI, answer.usage, counts, context, is_right=is_right), counts


def _told(wire: Protocol, raw: Raw, counts: usage.Counts, context: AnswerContext, *, is_right: bool) -> dict[str, bytes | None]:
    """The changes that tell ``counts``."""
    report = context.report
    told = report.relayed(wire, raw, counts, is_right=is_right)
    changes: dict[str, bytes | None] = {} if told is None else {"usage": bytes(told)}
    if report.extras:
        changes["context_info"] = report.context_info(counts, context.input_tokens)
    return changes


def _mended_choices(answer: chat.Completion, body: bytes) -> bytes | None:
    """The choices with reasons that clients know; None when they are right as they are."""
    reasons = [_known_reason(choice) for choice in answer.choices or ()]
    if reasons == [choice.finish_reason for choice in answer.choices or ()]:
        return None
    found = decoder(list[dict[str, Raw]]).decode(members(body)["choices"])
    return encode([{**choice, "finish_reason": reason} for choice, reason in zip(found, reasons, strict=True)])


def _known_reason(choice: chat.Choice) -> str | None:
    message = choice.message
    calls = message is not None and bool(message.tool_calls)
    return stops.known_finish_reason(choice.finish_reason, calls=calls) if choice.finish_reason else choice.finish_reason
