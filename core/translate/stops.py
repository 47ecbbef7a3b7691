"""Why an answer ended, in the words of both wires."""

from __future__ import annotations

from typing import Final

#: finish_reason -> stop_reason. Sources: openai-python 3.52, docs.z.ai (sensitive, model_context_window_exceeded).
TO_MESSAGES: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
    "sensitive": "refusal",
    "model_context_window_exceeded": "model_context_window_exceeded",
}
#: stop_reason -> finish_reason.
TO_CHAT: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "compaction": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
#: Reasons, of either wire, that report a failure in the middle of an answer (GLM, OpenRouter): the answer is not whole.
FAILURES: Final = frozenset({"network_error", "error"})
#: Reasons, of either wire, that may cut the answer anywhere, also inside the arguments of its last call.
CUTTING: Final = frozenset({"length", "content_filter", "sensitive", "max_tokens", "refusal", "model_context_window_exceeded"})
#: Values of finish_reason the SDKs know; any other fails their validation.
FINISH_REASONS: Final = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
#: Values of stop_reason the SDKs know (anthropic-python 2.11, stable and beta).
STOP_REASONS: Final = frozenset(TO_CHAT)


def stop_reason(finish: str | None, *, calls: bool, refused: bool) -> str:
    """The stop_reason of a chat answer.

    Agents run a tool on ``tool_use`` and on nothing else, so calls make every plain end one, and without calls there is none. What cuts an
    answer stays what it is: the last call may not be whole.
    """
    if refused:
        return "refusal"
    reason = TO_MESSAGES.get(finish or "stop", "end_turn")
    if reason in ("end_turn", "tool_use"):
        return "tool_use" if calls else "end_turn"
    return reason


def known_stop_reason(said: str, *, calls: bool) -> str:
    """The stop_reason of a Messages answer for a client of Messages: one that clients know; calls as for ``stop_reason``."""
    reason = said if said in STOP_REASONS else TO_MESSAGES.get(said, "end_turn")
    return "tool_use" if calls and reason == "end_turn" else reason


def known_finish_reason(said: str, *, calls: bool) -> str:
    """The finish_reason of a chat answer for a client of chat: one that clients know; calls as for ``stop_reason``."""
    reason = said if said in FINISH_REASONS else TO_CHAT[TO_MESSAGES.get(said, "end_turn")]
    return "tool_calls" if calls and reason == "stop" else reason


def finish_reason(stop: str | None, *, calls: bool) -> str:
    """The finish_reason of a Messages answer. Calls as for ``stop_reason``."""
    reason = TO_CHAT.get(stop or "end_turn", "stop")
    if reason in ("stop", "tool_calls"):
        return "tool_calls" if calls else "stop"
    return reason


def announces_calls(reason: str | None) -> bool:
    """Whether a reason, of either wire, says that the answer ends in tool calls."""
    return reason in ("tool_calls", "function_call", "tool_use")
