"""How much to think, in the words of each family, and the reasoning of earlier turns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from core.dialects import Dialect, ThinkingStyle, UnsignedThinking
from core.translate.loss import Losses, refuse
from core.wire import chat, messages

#: A thinking budget in tokens and the effort it stands for, highest first. The thresholds are LiteLLM's, so that a change of gateway
#: changes nothing; below the last one it is "minimal".
BUDGET_TO_EFFORT: Final = ((4096, "high"), (2048, "medium"), (1024, "low"))
EFFORT_TO_BUDGET: Final = {"minimal": 1024, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16384}
#: The smallest budget Messages accepts (platform.claude.com, extended thinking).
BUDGET_MIN: Final = 1024
#: The smallest top_p it accepts beside thinking (the same page).
_TOP_P_MIN: Final = 0.95

#: All efforts in order; a value a dialect lacks becomes the nearest it has, the stronger one of two.
_ORDER: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
#: What GLM, DeepSeek and Kimi write as the type of ``thinking``, and whether it asks for any.
_TOGGLES: Final = {"enabled": True, "adaptive": True, "auto": True, "disabled": False}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client wants of thinking, whatever wire it said so on."""

    on: bool
    effort: str | None = None  # minimal ... max; None: the model's own choice
    budget: int | None = None  # tokens, above 0
    said: str = "thinking"  # the member that said so: where a loss is reported


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
    """The wish of a chat request, from whichever of its members say something.

    The vendors' switches (``thinking``, ``reasoning``, ``chat_template_kwargs``, ``enable_thinking``) rule over efforts, and one that is
    off over all others: DeepSeek refuses an effort beside a switch that is off. A word that is neither is a ``BadRequest``.
    """
    switches = dict(_switches(request))
    efforts = dict(_efforts(request))
    off = next((path for path, on in switches.items() if not on), None)
    if off is not None:
        return Wish(on=False, said=off)
    effort = next(iter(efforts.values()), None)
    if not switches and effort is None:
        return None
    said = next(iter(efforts), None) or next(iter(switches))
    on = bool(switches) or effort != "none"
    return Wish(on=on, effort=None if effort == "none" else effort, budget=_budget(request) if on else None, said=said)


def _switches(request: chat.Request) -> Iterator[tuple[str, bool]]:
    """Every switch that is set, by the member that sets it. A budget of 0 tokens switches off, a greater one on."""
    toggle, options, template = request.thinking, request.reasoning, request.chat_template_kwargs
    if toggle is not None:
        if toggle.type not in _TOGGLES:
            raise refuse("thinking.type", f'unknown type "{toggle.type}"; expected one of {", ".join(_TOGGLES)}')
        yield "thinking", _TOGGLES[toggle.type]
    if options is not None and options.enabled is not None:
        yield "reasoning.enabled", options.enabled
    if options is not None and options.max_tokens is not None:
        yield "reasoning.max_tokens", options.max_tokens != 0
    if template is not None and template.enable_thinking is not None:
        yield "chat_template_kwargs.enable_thinking", template.enable_thinking
    if template is not None and template.thinking is not None:
        yield "chat_template_kwargs.thinking", template.thinking
    if request.enable_thinking is not None:
        yield "enable_thinking", request.enable_thinking


def _efforts(request: chat.Request) -> Iterator[tuple[str, str]]:
    """Every effort that is given, by its member."""
    options, template = request.reasoning, request.chat_template_kwargs
    for path, effort in (
        ("reasoning_effort", request.reasoning_effort),
        ("reasoning.effort", None if options is None else options.effort),
        ("chat_template_kwargs.reasoning_effort", None if template is None else template.reasoning_effort),
    ):
        if effort is not None:
            if effort not in _ORDER:
                raise refuse(path, f'unknown effort "{effort}"; expected one of {", ".join(_ORDER)}')
            yield path, effort


def _budget(request: chat.Request) -> int | None:
    """The budget the client names. A negative one means what none does: the model's own choice."""
    toggle, options = request.thinking, request.reasoning
    named = (None if toggle is None else toggle.budget_tokens, None if options is None else options.max_tokens)
    return next((budget for budget in named if budget is not None and budget > 0), None)


# ---------------------------------------------------------------------------------------------------- towards chat


def ask_chat(request: chat.Request, wish: Wish | None, dialect: Dialect, losses: Losses) -> None:
    """Write ``wish`` into a chat request in the words of ``dialect``; without one, what the dialect has as its default.

    The request has its limit already: a budget stays below it.
    """
    if wish is None and dialect.thinking_default is not None:
        wish = Wish(on=dialect.thinking_default == "enabled")
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
            request.reasoning_effort = nearest_effort(wish.effort, dialect.efforts)
    elif style is ThinkingStyle.REASONING:
        request.reasoning = _reasoning_options(wish, request.max_completion_tokens or request.max_tokens, dialect)
    elif wish.on:
        losses.drop("thinking", "thinking", f"models of this upstream ({dialect.name}) do not think on request")


def _effort(wish: Wish, dialect: Dialect) -> str | None:
    if not wish.on:
        return next((one for one in ("none", "minimal") if one in dialect.efforts), None)
    return nearest_effort(wish.effort, dialect.efforts) if wish.effort else None


def _reasoning_options(wish: Wish, limit: int | None, dialect: Dialect) -> chat.ReasoningOptions:
    if not wish.on:
        return chat.ReasoningOptions(enabled=False)
    if wish.budget is not None and (limit is None or limit > BUDGET_MIN):
        return chat.ReasoningOptions(max_tokens=wish.budget if limit is None else min(wish.budget, limit - 1))
    effort = nearest_effort(wish.effort, dialect.efforts) if wish.effort else None
    return chat.ReasoningOptions(effort=effort) if effort else chat.ReasoningOptions(enabled=True)


# ---------------------------------------------------------------------------------------------------- towards Messages


def ask_messages(request: messages.Request, wish: Wish | None, dialect: Dialect, losses: Losses) -> None:
    """Write ``wish`` into a Messages request that is complete otherwise: some of it excludes thinking, and thinking some of it.

    A budget is lowered below ``max_tokens``; where that leaves less than the least there is, the model does not think.
    """
    if wish is None:
        return
    limit = request.max_tokens
    assert limit is not None, "it is filled in where the client names none"
    if dialect.thinking not in (ThinkingStyle.ADAPTIVE, ThinkingStyle.BUDGET):
        if wish.on:
            losses.drop(wish.said, wish.said, f"models of this upstream ({dialect.name}) do not think on request")
    elif not wish.on:
        request.thinking = messages.ThinkingConfig("disabled")
    elif (obstacle := _obstacle(request, limit, dialect)) is not None:
        losses.drop(wish.said, wish.said, obstacle)
    else:
        _think(request, wish, limit, dialect)
        if dialect.strict_thinking:
            _keep_thinking_rules(request, losses)


def _obstacle(request: messages.Request, limit: int, dialect: Dialect) -> str | None:
    """Why the upstream would refuse to think about this request; None where it would not."""
    if dialect.thinking is ThinkingStyle.BUDGET and limit <= BUDGET_MIN:
        return f"thinking needs a max_tokens above {BUDGET_MIN}, found {limit}"
    if dialect.strict_thinking and request.tool_choice is not None and request.tool_choice.type in ("any", "tool"):
        return "the upstream cannot think when a tool is forced"
    if dialect.thoughts_first and not _goes_on_thinking(request.messages):
        return "the upstream thinks on only where the turn to be continued begins with its own signed reasoning"
    return None


def _goes_on_thinking(turns: list[messages.Turn]) -> bool:
    """Whether the turn that is to be continued, if there is one, begins with reasoning.

    That is an assistant turn at the end, or one whose calls have just got their results.
    """
    last = next(turn for turn in reversed(turns) if turn.role != "system" and not _answers_calls(turn))
    if last.role != "assistant":
        return True
    return isinstance(last.content, list) and isinstance(last.content[0], messages.Thinking | messages.RedactedThinking)


def _answers_calls(turn: messages.Turn) -> bool:
    return turn.role == "user" and isinstance(turn.content, list) and isinstance(turn.content[0], messages.ToolResult)


def _think(request: messages.Request, wish: Wish, limit: int, dialect: Dialect) -> None:
    if dialect.thinking is ThinkingStyle.ADAPTIVE:
        _ask_adaptive(request, wish, dialect)
        return
    budget = min(wish.budget or EFFORT_TO_BUDGET[wish.effort or "medium"], limit - 1)
    request.thinking = messages.ThinkingConfig("enabled", budget_tokens=max(budget, BUDGET_MIN))


def _ask_adaptive(request: messages.Request, wish: Wish, dialect: Dialect) -> None:
    request.thinking = messages.ThinkingConfig("adaptive", display="summarized")
    wanted = wish.effort or (effort_of_budget(wish.budget) if wish.budget else None)
    effort = nearest_effort(wanted, dialect.efforts) if wanted else None
    if effort is not None:
        request.output_config = request.output_config or messages.OutputConfig()
        request.output_config.effort = effort


def _keep_thinking_rules(request: messages.Request, losses: Losses) -> None:
    """Beside thinking, Messages refuses any temperature but 1, top_k, and a top_p below 0.95."""
    if request.temperature not in (None, 1):
        request.temperature = None
        losses.drop("temperature", "temperature", "the upstream takes none but 1 while thinking")
    if request.top_k is not None:
        request.top_k = None
        losses.drop("top_k", "top_k", "the upstream takes none while thinking")
    if request.top_p is not None and request.top_p < _TOP_P_MIN:
        request.top_p = None
        losses.drop("top_p", "top_p", f"the upstream takes none below {_TOP_P_MIN} while thinking")


# ---------------------------------------------------------------------------------------------------- reasoning of earlier turns

#: Where reasoning stood in its turn, the reasoning, and whether it comes from a vendor whose signatures Messages upstreams know.
_Thought: TypeAlias = tuple[str, messages.Thinking | messages.RedactedThinking, bool]
#: How the format of an item begins that such a vendor made (OpenRouter: anthropic-claude-v1, openai-responses-v1, google-gemini-v1, ...).
_OWN_FORMAT: Final = "anthropic"


def reasoning_to_messages(
    turn: chat.Turn, parts: list[messages.Thinking], dialect: Dialect, losses: Losses, path: str
) -> list[messages.Thinking | messages.RedactedThinking]:
    """The reasoning of the chat turn at ``path`` as the upstream takes it back.

    With its own signature always, without one where the dialect wants it, encrypted only at the vendor who encrypted it. What the upstream
    does not take is a ``Loss``.

    ``reasoning_details`` first, because only they hold signatures; then ``reasoning_content``, then ``reasoning``, then ``parts`` (thinking
    among the content): the first that says anything, never two of them.
    """
    kept: list[messages.Thinking | messages.RedactedThinking] = []
    for where, block, own in _thoughts(turn, parts):
        if isinstance(block, messages.RedactedThinking):
            if own and dialect.original:
                kept.append(block)
            else:
                losses.drop(f"{path}.{where}", "redacted_thinking", "only the vendor who encrypted it can read it")
        elif block.signature or (block.thinking.strip() and dialect.unsigned_thinking is UnsignedThinking.KEEP):
            kept.append(block)
        elif block.thinking.strip():
            losses.drop(f"{path}.{where}", where.partition("[")[0], "the upstream takes reasoning back with its own signature only")
    return kept


def _thoughts(turn: chat.Turn, parts: list[messages.Thinking]) -> list[_Thought]:
    if not (turn.reasoning_content or turn.reasoning or turn.reasoning_details or parts):
        return []
    found = _details(turn.reasoning_details) if turn.reasoning_details else []
    where, text = ("reasoning_content", turn.reasoning_content) if turn.reasoning_content else ("reasoning", turn.reasoning)
    spoken = [block for _, block, _ in found if isinstance(block, messages.Thinking)]
    if not spoken and text:
        found.insert(0, (where, messages.Thinking(text, ""), True))
    elif len(spoken) == 1 and text and not spoken[0].thinking:  # the signature stands apart from the text it signs
        spoken[0].thinking = text
    return found or [("content", part, True) for part in parts]


def _details(details: list[chat.ReasoningDetail]) -> list[_Thought]:
    """Items of ``reasoning_details`` as blocks. Neighbours of one ``index`` are pieces of one item, gathered from a stream."""
    found: list[_Thought] = []
    before: int | None = None
    for number, detail in enumerate(details):
        where = f"reasoning_details[{number}]"
        own = detail.format is None or detail.format.startswith(_OWN_FORMAT)
        text, signature = detail.text or detail.summary or "", detail.signature if own and detail.signature else ""
        last = found[-1][1] if found else None
        if detail.type == "reasoning.encrypted":
            found.append((where, messages.RedactedThinking(detail.data or ""), own))
        elif isinstance(last, messages.Thinking) and detail.index is not None and detail.index == before:
            last.thinking += text
            last.signature = signature or last.signature
        else:
            found.append((where, messages.Thinking(text, signature), own))
        before = detail.index
    return found
