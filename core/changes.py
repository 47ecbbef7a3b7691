"""What has to change in a client's request whoever gets it, and what in one that leaves on the wire it came in on.

The same wire is not translated: a body passes byte for byte but for the few members named here.
"""

from __future__ import annotations

import functools
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from msgspec import Raw, structs

from core.dialects import Protocol, ThinkingStyle
from core.routing import Target
from core.settings import Settings
from core.translate.loss import Loss
from core.translate.thinking import BUDGET_MIN
from core.translate.to_chat import refuse_thread
from core.wire import chat, messages
from core.wire.codec import ABSENT, decoder, encode, given, members, plain, value_of, whole_number
from core.wire.envelope import Envelope, replace_items

#: What Claude Code puts first into its system prompt.
BILLING: Final = b"x-anthropic-billing-header"
#: Its per-request nonce; it defeats the prefix cache of every upstream but Anthropic's own.
_NONCE: Final = re.compile(rb"(x-anthropic-billing-header:[^\"\\]*?\bcch=)[0-9a-zA-Z]+")
#: Of a list of chat messages so many bytes are searched for it: it stands first, or it is not what is meant here.
_GLANCE: Final = 2048
#: The members of a chat request that limit its answer.
LIMITS: Final = ("max_completion_tokens", "max_tokens")
#: Efforts of a chat client that mean no thinking to an upstream which can only think or not.
_IDLE: Final = ("none", "minimal")


@dataclass(slots=True)
class Changes:
    """What was changed. ``members``: new JSON texts of members of the body, None where one has to go."""

    members: dict[str, bytes | None] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    clamped: int | None = None  # sent in place of a greater limit of the client's

    def made_in(self, envelope: Envelope) -> bytes:
        """The body with the changes made, and each member in it once: who reads the first of two is to read what we read, the last."""
        repeated = {name: envelope.get(name) for name in envelope.repeated()}
        changed = {name: value for name, value in self.members.items() if envelope.get(name) != value}
        return envelope.replace(repeated | changed)

    def lowered(self, limit: float | None, target: Target) -> int | None:
        """The longest answer of the target's model where ``limit`` is beyond it, which is noted; None where it is not."""
        most = target.limits.max_tokens
        if most is None or limit is None or limit <= most:
            return None
        self.clamped = most
        self.notes.append(f"lowered max_tokens to {most}, the most that {target.model} has room for")
        return most


@functools.lru_cache(maxsize=64)  # bases come from the settings
def is_anthropic(base: str) -> bool:
    """Whether an upstream is Anthropic itself: message threads live there alone, and there alone the billing header is read."""
    return urllib.parse.urlsplit(base).hostname == "api.anthropic.com"


def is_constant(target: Target, settings: Settings) -> bool:
    """Whether the system prompt has to be the same at every request."""
    wanted = settings.neutralize_volatile_system
    return not is_anthropic(target.base) if wanted == "auto" else wanted


# ---------------------------------------------------------------------------------------------------- Messages to Messages


def messages_changes(envelope: Envelope, target: Target, settings: Settings) -> Changes:
    """A Messages request for a Messages upstream. Raises ``BadRequest`` for a thread that does not live there."""
    changes = Changes({"model": encode(target.model)})
    if not is_anthropic(target.base):
        refuse_thread(envelope.members.get("thread", ABSENT))
    _limit_messages(envelope, target, changes)
    system = envelope.get("system")
    if system is not None and BILLING in system and is_constant(target, settings):
        changes.members["system"] = _without_nonce(system, changes)
    return changes


def wanted_limit(envelope: Envelope, target: Target) -> float | None:
    """The longest answer that is asked for, if it is limited at all: by the client, or by what is filled in, and by the model."""
    given = (_number(envelope.get(name)) for name in LIMITS)
    wanted = next((limit for limit in given if limit is not None and limit > 0), None)
    if wanted is None and target.protocol is Protocol.ANTHROPIC:
        wanted = target.default_max_tokens
    most = target.limits.max_tokens
    return wanted if wanted is None or most is None else min(wanted, most)


def default_limit(target: Target) -> int:
    """What is filled in where a client names no limit and Messages demands one."""
    return min(target.default_max_tokens, target.limits.max_tokens or target.default_max_tokens)


def _limit_messages(envelope: Envelope, target: Target, changes: Changes) -> None:
    raw = envelope.get("max_tokens")
    limit = _number(raw)
    least = 0 if is_anthropic(target.base) else 1  # a limit of 0 fills the prompt cache there, and means nothing elsewhere
    if raw in (None, b"null") or (limit is not None and limit < least):
        sent = default_limit(target)
    elif (lowered := changes.lowered(limit, target)) is not None:
        sent = lowered
    else:
        return
    changes.members["max_tokens"] = b"%d" % sent
    _budget_below(sent, envelope, changes)


def _budget_below(limit: int, envelope: Envelope, changes: Changes) -> None:
    """Messages refuses a thinking budget that is not below ``max_tokens``, and of this one the client knows nothing."""
    thinking = envelope.get("thinking")
    if thinking is None or not thinking.startswith(b"{"):
        return
    budget = _number(bytes(members(thinking).get("budget_tokens", ABSENT)))
    if budget is None or budget < limit:
        return
    if limit <= BUDGET_MIN:
        changes.members["thinking"] = None
        changes.losses.append(Loss("thinking", "thinking", f"thinking needs a max_tokens above {BUDGET_MIN}, found {limit}"))
        return
    changes.members["thinking"] = Envelope.read(thinking, max_depth=None).replace({"budget_tokens": b"%d" % (limit - 1)})
    changes.notes.append(f"lowered thinking.budget_tokens to {limit - 1}, below max_tokens")


# ---------------------------------------------------------------------------------------------------- chat to chat


def chat_changes(envelope: Envelope, target: Target, settings: Settings, *, stream: bool) -> Changes:
    """A chat request for a chat upstream."""
    changes = Changes({"model": encode(target.model)})
    if stream and target.dialect.stream_usage and not asks_for_usage(envelope):
        options = envelope.members.get("stream_options")
        found = members(options) if options is not None and bytes(options).startswith(b"{") else {}
        changes.members["stream_options"] = encode({**found, "include_usage": True})
    for name in LIMITS:
        limit = _number(envelope.get(name))
        if limit is not None and limit <= 0:
            changes.members[name] = None
        elif (lowered := changes.lowered(limit, target)) is not None:
            changes.members[name] = b"%d" % lowered
    thinking = _thinking(envelope.members, target, settings)
    if thinking is not None:
        changes.members["thinking"] = thinking
    return changes


def asks_for_usage(envelope: Envelope) -> bool:
    """Whether a chat client wants to see the usage of its stream."""
    options = envelope.members.get("stream_options")
    if options is None or not bytes(options).startswith(b"{"):
        return False
    asked = members(options).get("include_usage")
    return asked is not None and bytes(asked) == b"true"


def _thinking(found: Mapping[str, Raw], target: Target, settings: Settings) -> bytes | None:
    """GLM's thinking switch, where the client does not set it; None where it does, or the upstream has no such switch."""
    wanted = target.dialect.thinking_default
    if wanted is None or target.dialect.thinking is not ThinkingStyle.TOGGLE or not settings.enable_zai_thinking:
        return None
    if given(found.get("thinking", ABSENT)):
        return None
    return encode({"type": "disabled" if _declines(found) else wanted})


def _declines(found: Mapping[str, Raw]) -> bool:
    """Whether a client says in the words of another vendor that the model is not to think."""
    for name in ("reasoning_effort", "enable_thinking", "reasoning", "chat_template_kwargs"):
        if name in found and _is_no(name, value_of(found[name])):
            return True
    return False


def _is_no(name: str, value: object) -> bool:
    if isinstance(value, dict):  # reasoning and chat_template_kwargs hold the others
        return any(_is_no(inner, one) for inner, one in value.items() if inner != "max_tokens") or value.get("max_tokens") == 0
    return value in _IDLE if name.endswith("effort") else name in ("enabled", "enable_thinking", "thinking") and value is False


# ---------------------------------------------------------------------------------------------------- before a translation


def limited_messages(request: messages.Request, target: Target, changes: Changes) -> messages.Request:
    """A Messages request with a limit that the target's model can keep."""
    lowered = changes.lowered(request.max_tokens, target)
    return request if lowered is None else structs.replace(request, max_tokens=lowered)


def limited_chat(request: chat.Request, target: Target, changes: Changes) -> chat.Request:
    """A chat request, likewise."""
    for name in LIMITS:
        limit: int | None = getattr(request, name)
        if (lowered := changes.lowered(limit, target)) is not None:
            request = structs.replace(request, **{name: lowered})
    return request


def constant_chat(envelope: Envelope, target: Target, settings: Settings, changes: Changes) -> bytes | None:
    """``messages`` of a chat client that has Claude Code's system prompt, without its nonce; None where there is nothing to change."""
    found = envelope.members["messages"]
    if BILLING not in bytes(memoryview(found)[:_GLANCE]) or not is_constant(target, settings):
        return None
    places = {}
    for place, raw in enumerate(_opening(found)):
        if BILLING in (turn := bytes(raw)):
            places[place] = _without_nonce(turn, changes)
    return replace_items(bytes(found), places) if places else None


def _opening(found: Raw) -> Iterator[Raw]:
    """The system messages a conversation begins with."""
    for raw in decoder(list[Raw]).decode(found):
        turn = value_of(raw)
        if not isinstance(turn, dict) or turn.get("role") not in ("system", "developer"):
            return
        yield raw


def _without_nonce(system: bytes, changes: Changes) -> bytes:
    constant = _NONCE.sub(rb"\g<1>00000", system)
    if constant != system:
        changes.notes.append("replaced the changing cch= of the billing header by a constant, for the upstream's prompt cache")
    return constant


def _number(raw: bytes | None) -> float | None:
    """The number of a member, however it is spelled; None where it is none: what the upstream says to that is for the client."""
    if not raw:
        return None
    if raw.isdigit():
        return int(raw)
    value = plain(raw)
    if isinstance(value, str):
        return whole_number(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
