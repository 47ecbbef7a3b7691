"""How much to think, in the words of each family, and the reasoning of earlier turns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.dialects import Dialect, ThinkingStyle
from core.translate.loss import Losses
from core.wire import chat, messages

#: A thinking budget in tokens and the effort it stands for, highest first. The thresholds are LiteLLM's, so that a change of gateway
#: changes nothing; below the last one it is "minimal".
BUDGET_TO_EFFORT: Final = ((4096, "high"), (2048, "medium"), (1024, "low"))
EFFORT_TO_BUDGET: Final = {"minimal": 1024, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16384}
#: The smallest budget Messages accepts (platform.claude.com, extended thinking).
BUDGET_MIN: Final = 1024

#: All efforts in order; a value a dialect lacks becomes the nearest it has, the stronger one of two.
_ORDER: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client wants of thinking, whatever wire it said so on."""

    on: bool
    effort: str | None = None  # minimal ... max; None: the model's own choice
    budget: int | None = None  # tokens


def nearest_effort(effort: str, allowed: tuple[str, ...]) -> str | None:
    """The value of ``allowed`` nearest to ``effort``; None when there is none to choose from or ``effort`` is no effort."""
    if effort in allowed:
        return effort
    ranked = [one for one in _ORDER if one in allowed and one != "none"]
    if effort not in _ORDER or not ranked:
        return None
    place = _ORDER.index(effort)
    return min(ranked, key=lambda one: (abs(_ORDER.index(one) - place), -_ORDER.index(one)))


def effort_of_budget(budget: int) -> str:
    return next((effort for least, effort in BUDGET_TO_EFFORT if budget >= least), "minimal")


def wish_of_messages(thinking: messages.ThinkingConfig | None, effort: str | None) -> Wish | None:
    """The wish of a Messages request: ``thinking`` rules, ``output_config.effort`` says how much. None: it says nothing."""
    if thinking is None:
        return None if effort is None else Wish(on=True, effort=effort)
    if thinking.type == "disabled":
        return Wish(on=False)
    if thinking.type == "enabled" and thinking.budget_tokens is not None:
        return Wish(on=True, effort=effort or effort_of_budget(thinking.budget_tokens), budget=thinking.budget_tokens)
    return Wish(on=True, effort=effort)


def wish_of_chat(request: chat.Request) -> Wish | None:
    """The wish of a chat request, from whichever of its fields says something: the vendor's toggle first, then effort."""
    effort = request.reasoning_effort
    toggle = request.thinking.type if request.thinking is not None else None
    options = request.reasoning
    template = request.chat_template_kwargs
    switch = request.enable_thinking if template is None else template.enable_thinking
    if toggle is not None:
        return Wish(on=toggle != "disabled", effort=_active(effort), budget=request.thinking.budget_tokens if request.thinking else None)
    if options is not None and (options.enabled is not None or options.effort or options.max_tokens):
        off = options.enabled is False or options.effort == "none"
        return Wish(on=not off, effort=None if off else options.effort, budget=options.max_tokens)
    if effort is not None:
        return Wish(on=effort != "none", effort=_active(effort))
    return None if switch is None else Wish(on=switch)


def _active(effort: str | None) -> str | None:
    return None if effort == "none" else effort


# ---------------------------------------------------------------------------------------------------- towards chat


def ask_chat(request: chat.Request, wish: Wish | None, dialect: Dialect, losses: Losses) -> None:
    """Write ``wish`` into a chat request in the words of ``dialect``."""
    if wish is None:
        return
    style = dialect.thinking
    if style is ThinkingStyle.TOGGLE:
        request.thinking = chat.ThinkingToggle("enabled" if wish.on else "disabled")
        if wish.on and dialect.effort_beside_toggle and wish.effort:
            request.reasoning_effort = nearest_effort(wish.effort, dialect.efforts)
    elif style is ThinkingStyle.EFFORT:
        request.reasoning_effort = _effort(wish, dialect)
    elif style is ThinkingStyle.TEMPLATE:
        request.chat_template_kwargs = chat.TemplateArguments(enable_thinking=wish.on)
        if wish.on and wish.effort:
            request.reasoning_effort = nearest_effort(wish.effort, ("low", "medium", "high"))
    elif style is ThinkingStyle.REASONING:
        request.reasoning = _reasoning_options(wish, dialect)
    elif wish.on:
        losses.drop("thinking", "thinking", f"models of this upstream ({dialect.name}) do not think on request")


def _effort(wish: Wish, dialect: Dialect) -> str | None:
    if not wish.on:
        return next((one for one in ("none", "minimal") if one in dialect.efforts), None)
    return nearest_effort(wish.effort, dialect.efforts) if wish.effort else None


def _reasoning_options(wish: Wish, dialect: Dialect) -> chat.ReasoningOptions:
    if not wish.on:
        return chat.ReasoningOptions(enabled=False)
    if wish.budget is not None:
        return chat.ReasoningOptions(max_tokens=wish.budget)
    effort = nearest_effort(wish.effort, dialect.efforts) if wish.effort else None
    return chat.ReasoningOptions(effort=effort) if effort else chat.ReasoningOptions(enabled=True)


# ---------------------------------------------------------------------------------------------------- towards Messages


def ask_messages(request: messages.Request, wish: Wish | None, dialect: Dialect, losses: Losses) -> None:
    """Write ``wish`` into a Messages request whose ``max_tokens`` is known already."""
    if wish is None:
        return
    if dialect.thinking is ThinkingStyle.ADAPTIVE:
        _ask_adaptive(request, wish, dialect)
    elif not wish.on:
        request.thinking = messages.ThinkingConfig("disabled")
    else:
        _ask_budget(request, wish, losses)
    if request.thinking is not None and request.thinking.type != "disabled" and dialect.strict_thinking:
        _keep_thinking_rules(request, losses)


def _ask_adaptive(request: messages.Request, wish: Wish, dialect: Dialect) -> None:
    if not wish.on:
        request.thinking = messages.ThinkingConfig("disabled")
        return
    request.thinking = messages.ThinkingConfig("adaptive", display="summarized")
    wanted = wish.effort or (effort_of_budget(wish.budget) if wish.budget else None)
    effort = nearest_effort(wanted, dialect.efforts) if wanted else None
    if effort is not None:
        request.output_config = request.output_config or messages.OutputConfig()
        request.output_config.effort = effort


def _ask_budget(request: messages.Request, wish: Wish, losses: Losses) -> None:
    budget = wish.budget or EFFORT_TO_BUDGET.get(wish.effort or "medium", EFFORT_TO_BUDGET["medium"])
    limit = request.max_tokens
    if limit is not None and limit <= BUDGET_MIN:
        losses.drop("reasoning_effort", "reasoning_effort", f"thinking needs a max_tokens above {BUDGET_MIN}, found {limit}")
        return
    if limit is not None:
        budget = min(budget, limit - 1)
    request.thinking = messages.ThinkingConfig("enabled", budget_tokens=max(budget, BUDGET_MIN))


def _keep_thinking_rules(request: messages.Request, losses: Losses) -> None:
    """Messages refuses thinking beside a forced tool, and any temperature but 1, top_k, or a top_p below 0.95 beside thinking."""
    choice = request.tool_choice
    if choice is not None and choice.type in ("any", "tool"):
        request.thinking = None
        losses.drop("reasoning_effort", "reasoning_effort", "the upstream cannot think when a tool is forced")
        return
    if request.temperature not in (None, 1):
        request.temperature = None
        losses.drop("temperature", "temperature", "the upstream takes none but 1 while thinking")
    if request.top_k is not None:
        request.top_k = None
        losses.drop("top_k", "top_k", "the upstream takes none while thinking")
    if request.top_p is not None and request.top_p < 0.95:  # noqa: PLR2004 - the bound in the API reference
        request.top_p = None
        losses.drop("top_p", "top_p", "the upstream takes none below 0.95 while thinking")


# ---------------------------------------------------------------------------------------------------- reasoning of earlier turns


def reasoning_of_chat(turn: chat.Turn) -> list[messages.Thinking | messages.RedactedThinking]:
    """The reasoning a chat turn carries, as blocks.

    ``reasoning_details`` first, because only they hold signatures; then ``reasoning_content``, then ``reasoning``: the first that says
    anything, never two of them.
    """
    blocks: list[messages.Thinking | messages.RedactedThinking] = []
    for detail in turn.reasoning_details or ():
        if detail.type == "reasoning.encrypted" and detail.data:
            blocks.append(messages.RedactedThinking(detail.data))
        elif detail.text or detail.summary or detail.signature:
            blocks.append(messages.Thinking(detail.text or detail.summary or "", signature=detail.signature or ""))
    text = turn.reasoning_content or turn.reasoning
    if not blocks and text:
        blocks.append(messages.Thinking(text))
    return blocks
