"""A chat stream for a chat client: passed on byte for byte, mended only where a client would break.

What is changed: the model's name (the client's own is echoed), id and time that change on the way, a role or the head of a call that is
said again and again, calls that are not numbered from 0 or come interleaved, reasons that clients do not know, a missing end. A cut
stream ends in an error.
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
from msgspec import Raw

from core.dialects import Protocol
from core.errors import UpstreamFailed, UpstreamGarbled
from core.translate import stops, usage
from core.translate.calls import Call, Calls, arguments_of, name_of
from core.translate.context import AnswerContext
from core.translate.machine import ChatReader, State, can_pass
from core.translate.stream_to_chat import completion_id
from core.translate.usage import call_weight, weight
from core.wire import chat, sse
from core.wire.codec import ABSENT, decoder, encode, given, members, whole_number
from core.wire.sse import Frame

_CHOICES: Final = decoder(list[dict[str, Raw]])
#: The members at the top of a chunk that every chunk has, and that are the same in all of them.
_CONSTANT: Final = frozenset({"id", "object", "created", "model"})
#: How the delta of a chunk begins where a vendor (GLM, DeepSeek) says the role in every one.
_ROLE: Final = b'"delta":{"role":"assistant",'


class _Choice:
    """One of the answers: an upstream is asked for several with ``n``."""

    __slots__ = ("calls", "calls_weight", "count", "has_role", "is_finished", "queue", "said_anything")

    def __init__(self, seed: str) -> None:
        self.calls = Calls(f"call_{seed}")
        self.queue: list[Call] = []  # calls that are not written to their end; only the first may be begun
        self.count = 0  # of calls that are begun
        self.calls_weight = 0  # of calls that are written to their end
        self.has_role = False  # the client knows the role
        self.said_anything = False
        self.is_finished = False  # its finish_reason was written

    def take_calls(self, fragments: list[chat.Call]) -> tuple[list[dict[str, object]], bool, int]:
        """What may be written of the calls now, whether that is just what came, and how many pieces had no place."""
        pieces: list[dict[str, object]] = []
        is_tidy, lost = True, 0
        for position, fragment in enumerate(fragments):
            found = self.calls.take(fragment, position)
            if found is None:
                is_tidy = False
                lost += bool(arguments_of(fragment).strip())
                continue
            call, is_new = found
            if is_new:
                self.queue.append(call)
            before = len(pieces)
            self._advance(call, pieces)
            is_tidy = is_tidy and len(pieces) == before + 1 and _is_tidy(fragment, pieces[-1])
        return pieces, is_tidy, lost

    def _advance(self, own: Call, pieces: list[dict[str, object]]) -> None:
        """The pieces of calls that may be written: of the first, and of the next ones where those before it are whole."""
        queue = self.queue
        while True:
            head = queue[0]
            if head.name:
                text = head.unwritten()
                if text or head is own or not head.is_begun:
                    pieces.append(self._piece(head, text))
            if len(queue) == 1 or not head.is_begun or not head.is_whole:
                return
            self._close(head)

    def _piece(self, call: Call, text: str) -> dict[str, object]:
        kind, member = ("custom", "input") if call.is_custom else ("function", "arguments")
        if call.is_begun:
            return {"index": call.number, kind: {member: text}}
        call.is_begun = True
        call.number = self.count
        self.count += 1
        return {"index": call.number, "id": call.id, "type": kind, kind: {"name": call.name, member: text}}

    def rest(self, *, cut: bool) -> list[dict[str, object]]:
        """The rest of all calls, at the end of the answer. Raises ``UpstreamGarbled`` for arguments that are no JSON object."""
        pieces = []
        while self.queue:
            call = self.queue[0]
            if call.name:
                if call.is_blank and not call.is_custom:
                    call.add("{}")  # clients parse what there is
                call.check(cut=cut and len(self.queue) == 1)
                if (text := call.unwritten()) or not call.is_begun:
                    pieces.append(self._piece(call, text))
            elif not call.is_blank:
                raise UpstreamGarbled("the upstream called a tool without its name")
            self._close(call)
        return pieces

    def _close(self, call: Call) -> None:
        """The call at the head of the queue is written to its end."""
        call.is_closed = True
        self.calls_weight += call_weight(call.name, call.text)
        del self.queue[0]


def _is_tidy(fragment: chat.Call, piece: dict[str, object]) -> bool:
    """Whether a fragment says just what ``piece`` does."""
    head = (fragment.id or None, fragment.type or None, name_of(fragment) or None)
    body = piece.get("function") or piece.get("custom")
    assert isinstance(body, dict)  # one of the two is there
    said = fragment.function.arguments if fragment.function is not None else fragment.custom and fragment.custom.input
    return (
        (type(fragment.index), fragment.index) == (int, piece["index"])
        and head == (piece.get("id"), piece.get("type"), body.get("name"))
        and said in (body.get("arguments"), body.get("input"))
        and isinstance(said, str)
    )


class _Head:
    """What stands before the choices of a chunk: the same bytes in chunk after chunk, so they are parsed and mended once."""

    __slots__ = ("_ours", "_theirs")

    def __init__(self) -> None:
        self._theirs = self._ours = b""

    def learn(self, data: bytes, whole: dict[str, object]) -> None:
        """``data`` was mended to be ``whole``, in nothing but constant members."""
        theirs, choices, _ = data.partition(b'"choices":')
        try:
            found = members(theirs + choices + b"0}")
        except msgspec.DecodeError:  # those were not the choices at the top
            return
        if found.keys() >= _CONSTANT:
            self._theirs = theirs + choices
            self._ours = encode({name: whole[name] for name in found if name != "choices"})[:-1] + b',"choices":'

    def mended(self, data: bytes) -> bytes | None:
        """``data`` with our head; None when it does not begin as that which was learnt."""
        if not self._theirs or not data.startswith(self._theirs):
            return None
        return self._ours + data[len(self._theirs) :]


class ChatRelay(ChatReader):
    """A chat stream for a chat client.

    Usage is passed on once, in a last chunk without choices, if the client asked for it. Where the vendor put it on the finish chunk of
    its own accord and the client did not ask, it stays there.
    """

    CLIENT: ClassVar = Protocol.OPENAI

    def __init__(self, context: AnswerContext) -> None:
        super().__init__(context)
        self._id = ""
        self._created = -1  # not known yet
        self._usage = ABSENT  # what the last usage said
        self._choices: dict[int, _Choice] = {}
        self._head = _Head()

    # ------------------------------------------------------------------ chunks

    def _take_chunk(self, chunk: chat.Completion, frame: Frame) -> None:
        if given(chunk.usage):
            self._usage = chunk.usage
        kept: list[dict[str, object] | int] = []  # choices as they came, by position, or mended
        for position, choice in enumerate(chunk.choices or ()):
            number = choice.index if type(choice.index) is int and choice.index >= 0 else whole_number(choice.index) or 0
            record = self._choices.get(number)
            if record is None:
                if number >= self.context.choices:
                    self.skipped += 1
                    continue
                record = self._choices[number] = _Choice(self.context.seed if number == 0 else f"{self.context.seed}_{number}")
            if record.is_finished:
                self.skipped += choice.delta is not None and _says_anything(choice.delta)
                continue
            if record.has_role and choice.delta is not None and choice.delta.role is not None:
                frame = _without_role(frame, choice.delta)
            mended = self._mended(choice, number, record, frame, position)
            if mended is None:
                kept.append(position)
            elif mended:
                kept.append(mended)
        if kept:
            self._write(chunk, frame, kept)

    def _write(self, chunk: chat.Completion, frame: Frame, kept: list[dict[str, object] | int]) -> None:
        choices = chunk.choices or []
        if any(choice.finish_reason for choice in choices) and self._has_finish() and len(self._choices) == self.context.choices:
            self.state = State.STOPPED
        elif self.state is State.WAITING:
            self.state = State.BETWEEN
        changes = self._mended_top(chunk)
        is_constant = chunk.error is ABSENT and changes.keys() <= _CONSTANT
        if kept != list(range(len(choices))):
            is_constant = False
            raw: list[dict[str, Raw]] = _CHOICES.decode(members(frame.data)["choices"])
            changes["choices"] = [raw[one] if isinstance(one, int) else one for one in kept]
        if is_constant and not changes:
            self._out.append(frame.raw if can_pass(frame) else sse.encode(frame.data))
        elif is_constant and (data := self._head.mended(frame.data)) is not None:
            self._out.append(sse.encode(data))
        else:
            whole = {**members(frame.data), **changes}
            whole.pop("error", None)  # an empty one
            self._out.append(sse.encode(encode(whole)))
            if is_constant:
                self._head.learn(frame.data, whole)

    def _mended_top(self, chunk: chat.Completion) -> dict[str, object]:
        """What has to stand at the top of a chunk instead of, or beside, what the upstream says."""
        changes: dict[str, object] = {}
        if chunk.model != self.context.model:
            changes["model"] = self.context.model
        if not self._id:
            self._id = chunk.id or completion_id("", self.context)
        if chunk.id != self._id:
            changes["id"] = self._id
        created = chunk.created if isinstance(chunk.created, int) and not isinstance(chunk.created, bool) else -1
        if self._created < 0:
            self._created = created if created >= 0 else self.context.created
        if created != self._created:
            changes["created"] = self._created
        if chunk.object != "chat.completion.chunk":
            changes["object"] = "chat.completion.chunk"
        if given(chunk.usage):
            if self.context.include_usage or self.state is not State.STOPPED:
                changes["usage"] = None
            else:
                changes |= self._told()
        return changes

    def _told(self) -> dict[str, Raw]:
        """The members with which the last usage, if there was one, is told."""
        report, raw, counts = self.context.report, self._usage, self._final()
        is_right = usage.is_tidy_chat(raw) and usage.of_chat(raw) == counts
        told = report.relayed(self.CLIENT, raw, counts, is_right=is_right)
        found = {} if told is None else {"usage": told}
        return {**found, "context_info": Raw(report.context_info(counts, self.context.input_tokens))} if report.extras else found

    # ------------------------------------------------------------------ choices

    def _mended(self, choice: chat.Choice, number: int, record: _Choice, frame: Frame, position: int) -> dict[str, object] | None:
        """The choice as it has to be; None when it is right as it came, empty when nothing of it remains."""
        source, delta = "delta", choice.delta
        if delta is None:  # a whole answer; where it comes behind its own stream (MiniMax) it was said already
            source, delta = "message", choice.message
            if delta is None or record.said_anything:
                source, delta = "", chat.AnswerMessage()
        inner = self._inner_changes(delta, choice.finish_reason, record)
        # Not ==: 0.0 and False are equal to 0, and no index.
        top: dict[str, object] = {} if choice.index is number else {"index": number}
        if choice.finish_reason is not None and (reason := self._reason(choice.finish_reason, record)) != choice.finish_reason:
            top["finish_reason"] = reason
        if source == "delta" and not (top or inner):
            return None
        raw: dict[str, Raw] = _CHOICES.decode(members(frame.data)["choices"])[position]
        found = members(raw[source]) if source else {}
        remaining = {name: value for name, value in {**found, **inner}.items() if value is not ABSENT}
        if not (remaining or choice.finish_reason):
            return {}
        return {**{name: value for name, value in raw.items() if name != "message"}, **top, "delta": remaining}

    def _inner_changes(self, delta: chat.AnswerMessage, finish: str | None, record: _Choice) -> dict[str, object]:
        """What has to stand in a delta instead of, or beside, what the upstream says. A member that has to go is ABSENT."""
        changes: dict[str, object] = {}
        if not record.has_role:
            record.has_role = True
            if delta.role != "assistant":
                changes["role"] = "assistant"
        elif delta.role is not None:
            changes["role"] = ABSENT  # SDKs add up what is said twice
        content = delta.content
        if isinstance(content, list):
            content = changes["content"] = "".join(part.text or part.refusal or "" for part in content)
        if content:
            self._weight += weight(content)
        if thought := delta.reasoning_content or delta.reasoning:
            self._weight += weight(thought)
        if delta.refusal:
            self._weight += weight(delta.refusal)
        if not record.said_anything:
            record.said_anything = _says_anything(delta)
        pieces: list[dict[str, object]] = []
        is_tidy = True
        if delta.tool_calls:
            pieces, is_tidy, lost = record.take_calls(delta.tool_calls)
            self.skipped += lost
        if finish:
            rest = record.rest(cut=finish in stops.CUTTING)
            pieces, is_tidy = pieces + rest, is_tidy and not rest
        if not is_tidy:
            changes["tool_calls"] = pieces or ABSENT
        return changes

    def _reason(self, said: str, record: _Choice) -> str | None:
        """A finish_reason that clients know."""
        if not said:
            return None
        if said in stops.FAILURES:
            raise UpstreamFailed(f'the upstream broke off its answer (finish_reason "{said}")')
        self._check_calls(said, called=record.count > 0)
        record.is_finished = True
        return stops.known_finish_reason(said, calls=record.count > 0)

    # ------------------------------------------------------------------ the end

    def _said(self) -> int:
        return self._weight + sum(choice.calls_weight for choice in self._choices.values())

    def _says_something(self) -> bool:
        return any(choice.said_anything for choice in self._choices.values())

    def _has_finish(self) -> bool:
        return bool(self._choices) and all(record.is_finished for record in self._choices.values())

    def _end(self) -> None:
        if not any(record.is_finished or record.said_anything for record in self._choices.values()):
            raise UpstreamGarbled("the upstream's stream held no answer")
        for number, record in self._choices.items():
            if not record.is_finished:
                rest = record.rest(cut=False)
                delta = {"tool_calls": rest} if rest else {}
                reason = stops.finish_reason(None, calls=record.count > 0)
                self._say(b'"choices":%b}' % encode([{"index": number, "delta": delta, "finish_reason": reason}]))
        if self.context.include_usage and (given(self._usage) or self.context.report.estimates):
            self._say(b'"choices":[],%b' % encode({"usage": self._usage, **self._told()})[1:])
        self._out.append(b"data: [DONE]\n\n")
        self.state = State.ENDED

    def _say(self, rest: bytes) -> None:
        head = b'{"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,' % (
            encode(self._id),
            self._created,
            encode(self.context.model),
        )
        self._out.append(sse.encode(head + rest))


def _without_role(frame: Frame, delta: chat.AnswerMessage) -> Frame:
    """The frame without a role that was said before, where it stands at the begin of its delta, as it mostly does."""
    before, role, behind = frame.data.partition(_ROLE)
    if not role or before.endswith(b"\\") or _ROLE in behind:
        return frame
    delta.role = None
    return Frame(frame.event, b'%b"delta":{%b' % (before, behind), b"")


def _says_anything(delta: chat.AnswerMessage) -> bool:
    said = delta.content or delta.reasoning_content or delta.reasoning or delta.reasoning_details or delta.refusal or delta.tool_calls
    return bool(said) or delta.function_call is not None or delta.audio is not ABSENT
