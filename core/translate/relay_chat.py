"""A chat stream for a chat client: passed on byte for byte, mended only where a client would break."""

from __future__ import annotations

import enum
from typing import Final

import msgspec
from msgspec import Raw

from core.dialects import Protocol
from core.errors import ProxyError, UpstreamFailed, UpstreamGarbled
from core.translate import faults, stops, usage
from core.translate.context import AnswerContext
from core.translate.stream_to_chat import completion_id
from core.translate.usage import Counts
from core.wire import chat, sse
from core.wire.codec import decode_lenient, decoder, encode, given, members, whole_number

_DONE: Final = b"[DONE]"


class State(enum.Enum):
    """Where a chat stream stands."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPED = "stopped"  # finish_reason was passed on
    ENDED = "ended"


class ChatRelay:
    """A chat stream for a chat client. Interface and laws as of the translating machines.

    Usage is passed on once, in a last chunk without choices, if the client asked for it. Where the vendor put it on the finish chunk of
    its own accord and the client did not ask, it stays there.
    """

    def __init__(self, context: AnswerContext) -> None:
        self.context = context
        self.state = State.WAITING
        self.error: ProxyError | None = None
        self.counts = Counts()
        self.skipped = 0
        self._frames = sse.Decoder()
        self._out: list[bytes] = []
        self._id = ""
        self._created = context.created
        self._usage: Raw | None = None  # what the last usage said, until it is passed on
        self._numbers: dict[int, int] = {}  # the upstream's key of a call -> its number
        self._ids: list[str] = []  # of the calls, by number

    @property
    def started(self) -> bool:
        """Whether anything has been written."""
        return self.state is not State.WAITING

    @property
    def finished(self) -> bool:
        """Whether the answer is over, well or not."""
        return self.state is State.ENDED or self.error is not None

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the upstream's stream; returns what goes to the client."""
        if self.finished:
            return b""
        try:
            for frame in self._frames.feed(data):
                self._take(frame)
                if self.finished:
                    break
        except ProxyError as error:
            self.fail(error)
        return self._written()

    def close(self) -> bytes:
        """The upstream's body is over. Without a finish_reason that is a failure."""
        if self.finished:
            return b""
        try:
            for frame in self._frames.close():
                self._take(frame)
            if not self.finished:
                if self.state is not State.STOPPED:
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
        data = b"".join(self._out)
        self._out.clear()
        return data

    # ------------------------------------------------------------------ frames

    def _take(self, frame: sse.Frame) -> None:
        if frame.data == _DONE:
            self._end()
            return
        try:
            chunk = decode_lenient(chat.Completion, frame.data)
        except msgspec.DecodeError:
            self.skipped += 1
            return
        if given(chunk.error) and bytes(chunk.error) not in (b"false", b'""', b"{}"):
            raise faults.understand(200, frame.data)
        if chunk.usage is not None:
            self.counts = self.counts.overlaid(usage.of_chat(chunk.usage))
            self._usage = members(frame.data)["usage"]
        if chunk.choices:
            self._take_choices(chunk, frame)
        elif chunk.usage is None:
            self.skipped += 1

    def _take_choices(self, chunk: chat.Completion, frame: sse.Frame) -> None:
        choices = chunk.choices or []
        if self.state is State.STOPPED and not any(choice.index for choice in choices):
            self.skipped += any(choice.delta is not None and choice.delta.content for choice in choices)
            return
        changes = self._mended_top(chunk)
        if len(choices) == 1 and not choices[0].index:
            mended = self._mended_choice(choices[0], members(frame.data)["choices"])
            if mended is not None:
                changes["choices"] = [mended]
        if choices[0].finish_reason and not choices[0].index:
            if choices[0].finish_reason in stops.FAILURES:
                raise UpstreamFailed(f'the upstream broke off its answer (finish_reason "{choices[0].finish_reason}")')
            if chunk.usage is not None and not self.context.include_usage:
                self._usage = None  # it stays where the vendor put it
                changes.pop("usage", None)
        self._out.append(sse.encode(encode({**members(frame.data), **changes})) if changes else frame.raw)
        self.state = State.STOPPED if choices[0].finish_reason and not choices[0].index else self._running()

    def _running(self) -> State:
        return State.RUNNING if self.state is State.WAITING else self.state

    def _mended_top(self, chunk: chat.Completion) -> dict[str, object]:
        """What has to stand at the top of a chunk instead of, or beside, what the upstream says."""
        changes: dict[str, object] = {}
        if chunk.model != self.context.model:
            changes["model"] = self.context.model
        if not self._id:
            self._id = chunk.id or completion_id("", self.context)
            self._created = whole_number(chunk.created) or self.context.created
        if chunk.id != self._id:
            changes["id"] = self._id
        if whole_number(chunk.created) is None:
            changes["created"] = self._created
        if chunk.object is None:
            changes["object"] = "chat.completion.chunk"
        if chunk.usage is not None:
            changes["usage"] = None
        return changes

    def _mended_choice(self, choice: chat.Choice, raw: Raw) -> dict[str, object] | None:
        """The choice with calls numbered from 0 and a finish_reason of the protocol; None when it is right as it is."""
        changes: dict[str, object] = {}
        calls = choice.delta.tool_calls if choice.delta is not None else None
        if calls:
            numbered = [self._numbered(call, position) for position, call in enumerate(calls)]
            if any(changed for _, changed in numbered):
                changes["delta"] = self._delta_with(raw, [call for call, _ in numbered])
        finish = choice.finish_reason
        if finish is not None and finish not in stops.FINISH_REASONS | stops.FAILURES:
            changes["finish_reason"] = stops.TO_CHAT[stops.TO_MESSAGES.get(finish, "end_turn")] if finish else None
        elif finish == "stop" and self._ids:
            changes["finish_reason"] = "tool_calls"  # agents run a tool on nothing else
        if choice.index is None:
            changes["index"] = 0
        return {**decoder(list[dict[str, Raw]]).decode(bytes(raw))[0], **changes} if changes else None

    @staticmethod
    def _delta_with(raw: Raw, calls: list[dict[str, object]]) -> dict[str, object]:
        delta = decoder(list[dict[str, Raw]]).decode(bytes(raw))[0]["delta"]
        return {**members(delta), "tool_calls": calls}

    def _numbered(self, call: chat.Call, position: int) -> tuple[dict[str, object], bool]:
        """A fragment as the protocol has it: numbered from 0, id, type and name on the first fragment only. Also whether that differs."""
        index = whole_number(call.index)
        key = position if index is None else index
        name = call.function.name if call.function is not None else None
        number = self._numbers.get(key)
        is_new = number is None or bool(name and call.id and call.id != self._ids[number])
        if is_new:
            number = self._numbers[key] = len(self._ids)
            self._ids.append(call.id or f"call_{self.context.seed}_{number}")
        assert number is not None  # both branches set it
        function: dict[str, object] = {}
        whole: dict[str, object] = {"index": number}
        if is_new:
            whole.update(id=self._ids[number], type="function")
            function["name"] = name or ""
        if call.function is not None and given(call.function.arguments):
            function["arguments"] = call.function.arguments
        elif is_new:
            function["arguments"] = ""
        whole["function"] = function
        tidy = index == number and (
            (is_new and bool(call.id and name and call.type)) or (not is_new and not (call.id or name or call.type))
        )
        return whole, not tidy and call.custom is None

    # ------------------------------------------------------------------ the end

    def _say(self, rest: bytes) -> None:
        head = b'{"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,' % (
            encode(self._id),
            self._created,
            encode(self.context.model),
        )
        self._out.append(sse.encode(head + rest))

    def _end(self) -> None:
        if self.state is State.WAITING:
            raise UpstreamGarbled("the upstream's stream held no answer")
        if self.state is not State.STOPPED:
            reason = stops.finish_reason(None, calls=bool(self._ids))
            self._say(b'"choices":[{"index":0,"delta":{},"finish_reason":%b}]}' % encode(reason))
        if self._usage is not None and self.context.include_usage:
            self._say(b'"choices":[],"usage":%b}' % bytes(self._usage))
        self._out.append(b"data: [DONE]\n\n")
        self.state = State.ENDED
