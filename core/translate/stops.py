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
#: finish_reason values that report a failure in the middle of an answer (GLM, OpenRouter): the answer is not whole.
FAILURES: Final = frozenset({"network_error", "error"})
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
#: Values of stop_reason the SDKs know (anthropic-python 2.11).
STOP_REASONS: Final = frozenset(TO_CHAT) - {"compaction"}
#: Values of finish_reason the SDKs know; any other fails their validation.
FINISH_REASONS: Final = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})


def stop_reason(finish: str | None, *, calls: bool, refused: bool) -> str:
    """The stop_reason of a chat answer.

    Agents run a tool only on ``tool_use``, so calls make a plain or missing finish one; ``length`` stays what it is, the last call may be cut.
    """
    if refused:
        return "refusal"
    if calls and finish in (None, "", "stop"):
        return "tool_use"
    return TO_MESSAGES.get(finish or "stop", "end_turn")


def finish_reason(stop: str | None, *, calls: bool) -> str:
    """The finish_reason of a Messages answer."""
    if calls and stop in (None, "", "end_turn"):
        return "tool_calls"
    return TO_CHAT.get(stop or "end_turn", "stop")
