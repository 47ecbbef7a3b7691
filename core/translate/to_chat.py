"""A Messages request as a chat request: for clients that speak Messages and upstreams that speak Chat Completions."""

from __future__ import annotations

import hashlib
import re
from typing import Final, TypeAlias

from msgspec import Raw

from core.dialects import Dialect, Prefill, Structured, ThinkingStyle
from core.errors import BadRequest
from core.translate import thinking, tools
from core.translate.context import AnswerContext, Translated
from core.translate.conversation_to_chat import Conversation
from core.translate.loss import Losses, asks, refuse
from core.translate.naming import ToolNames
from core.translate.pictures import attached, with_pictures
from core.translate.schemas import keeps_strict_rules, without_keywords
from core.wire import chat, messages
from core.wire.codec import compact, encode, given, read, text_of

#: The error that makes the SDKs resend a whole conversation instead of a thread id (anthropic-python 2.11, message threads).
THREAD_UNSUPPORTED: Final = b'{"error_code":"thread_unsupported_request","unsupported":[]}'

#: Members that name things which exist at Anthropic only. Without them the model would miss what it is told of: refused when not empty.
_REFUSED: Final = ("mcp_servers", "container", "skills")
#: Members whose absence costs a feature, not the meaning.
_DROPPED: Final = (
    "context_management", "compaction", "diagnostics", "fallbacks", "fallback_credit_token", "billing_policy",
    "inference_geo", "user_profile_id", "workspace_id", "betas",
)  # fmt: skip
#: The four forms of thinking (anthropic-python 2.11).
_THINKING: Final = ("enabled", "disabled", "adaptive", "between_tools")
#: service_tier and speed in OpenAI's one word; speed, which comes second, rules.
_TIERS: Final = {("service_tier", "auto"): "auto", ("service_tier", "standard_only"): "default", ("speed", "fast"): "fast"}
#: What they say when they ask for nothing special.
_USUAL: Final = (("service_tier", None), ("service_tier", "auto"), ("speed", None), ("speed", "standard"))
#: prompt_cache_key has at most 64 characters (developers.openai.com, chat completions).
_CACHE_KEY_MAX: Final = 64

#: The session inside Claude Code's user_id, which is JSON (since 2.1) or ``user_..._account_..._session_...``.
_SESSION: Final = re.compile(r'"session_id"\s*:\s*"([^"]+)"|_session_([0-9a-fA-F-]+)')


#: A request as it came, or what ``core.wire.codec.read`` made of it.
Body: TypeAlias = bytes | tuple[messages.Request, list[str]]


def to_chat(
    body: Body, dialect: Dialect, *, model: str, answer_model: str, seed: str, now: float, strict: bool = False, input_tokens: int = 0
) -> Translated:
    """Translate the body of ``POST /v1/messages`` for a chat upstream of ``dialect``.

    ``model`` is the upstream's name, ``answer_model`` the one the client asked for. Raises ``BadRequest`` for what is malformed, or
    cannot be left out without changing the meaning; everything else that has no place there is in ``losses``.
    """
    request, unknown = read(messages.Request, body) if isinstance(body, bytes) else body
    losses = Losses(strict=strict)
    for path in unknown:
        losses.drop(path, path.rpartition(".")[2], "unknown to this proxy, so it cannot be translated")
    names = ToolNames()
    translated = lower(request, dialect, names, losses, model=model)
    answer = AnswerContext(
        model=answer_model,
        seed=seed,
        created=int(now),
        names=names.back,
        stop_sequences=tuple(translated.stop or ()),
        include_usage=True,
        show_thinking=request.thinking is None or request.thinking.display != "omitted",
        input_tokens=input_tokens,
    )
    return Translated(encode(translated), answer, tuple(losses.found))


def refuse_thread(raw: Raw) -> None:
    """A conversation that lives in a thread at Anthropic cannot be answered from its last messages: 400, and the SDKs resend it whole."""
    if given(raw):
        raise BadRequest(
            "thread: this upstream keeps no message threads; send the whole conversation",
            code="unsupported_parameter",
            param="thread",
            details=THREAD_UNSUPPORTED,
        )


def lower(request: messages.Request, dialect: Dialect, names: ToolNames, losses: Losses, *, model: str) -> chat.Request:
    """The typed form of ``to_chat``."""
    _check_top_level(request, losses)
    names.reserve(tool.name for tool in request.tools or () if tool.name is not None)
    conversation = Conversation(dialect, names, losses)
    conversation.add_system(request.system)
    urls = attached(request.attachments, losses)
    conversation.add_turns(with_pictures(request.messages, urls, messages.Text, messages.ImageUrlPart, losses))
    if all(turn.role == "system" for turn in conversation.turns):
        raise refuse("messages", "nothing is left to send: no message but those of the system says anything")
    told = tools.tools_to_chat(request, conversation.tools, names, dialect, losses)
    if request.tool_choice is not None and request.tool_choice.type == "none" and not dialect.choice_of_none:
        told = []  # a model that is told of no tool calls none
    lowered = chat.Request(model=model, messages=conversation.turns)
    lowered.tools = told or None  # an empty list is refused
    lowered.tool_choice = tools.choice_to_chat(request, told, names, dialect, losses)
    _parallel(request, lowered, dialect, losses)
    _limits(request, lowered, dialect, losses)
    _sampling(request, lowered, dialect, losses)
    _thinking(request, lowered, conversation.effort, dialect, losses)
    _structured(request, lowered, dialect, losses)
    _identity(request, lowered, dialect)
    _tier(request, lowered, dialect, losses)
    _stream(request, lowered, dialect)
    _prefill(request, lowered, dialect, losses)
    return lowered


def _check_top_level(request: messages.Request, losses: Losses) -> None:
    refuse_thread(request.thread)
    for name in _REFUSED:
        if asks(getattr(request, name)):
            raise refuse(name, "these exist at Anthropic only; this upstream cannot offer them to the model")
    for name in _DROPPED:
        if asks(raw := getattr(request, name)):
            loud = name == "compaction" or b'"compact_' in bytes(raw)
            why = (
                "nothing will be compacted: the conversation may outgrow the model's window" if loud else "has no twin in Chat Completions"
            )
            losses.drop(name, name, why)
    if request.output_config is not None and asks(request.output_config.task_budget):
        losses.drop("output_config.task_budget", "task_budget", "has no twin in Chat Completions")


def _parallel(request: messages.Request, lowered: chat.Request, dialect: Dialect, losses: Losses) -> None:
    choice = request.tool_choice
    if choice is None or choice.disable_parallel_tool_use is None or lowered.tools is None or choice.type == "none":
        return
    if dialect.parallel_tool_calls:
        lowered.parallel_tool_calls = not choice.disable_parallel_tool_use
    elif choice.disable_parallel_tool_use:
        losses.drop(
            "tool_choice.disable_parallel_tool_use",
            "disable_parallel_tool_use",
            f"this upstream ({dialect.name}) cannot be held to one call",
        )


def _limits(request: messages.Request, lowered: chat.Request, dialect: Dialect, losses: Losses) -> None:
    limit = request.max_tokens
    if limit == 0:
        raise refuse("max_tokens", "0 only warms a prompt cache, which this upstream cannot do; expected 1 or more")
    if limit is not None and limit < 0:
        losses.drop("max_tokens", "max_tokens", f"expected 1 or more, found {limit}; the upstream's own limit holds")
    elif limit is not None:
        if dialect.max_tokens_key == "max_completion_tokens":
            lowered.max_completion_tokens = limit
        else:
            lowered.max_tokens = limit
    stops = [one for one in request.stop_sequences or () if one]
    if stops and not dialect.stop:
        losses.drop("stop_sequences", "stop_sequences", f"this upstream ({dialect.name}) takes none")
    elif stops:
        if dialect.stop_max is not None and len(stops) > dialect.stop_max:
            losses.drop(f"stop_sequences[{dialect.stop_max}]", "stop_sequences", f"this upstream takes {dialect.stop_max} at most")
        lowered.stop = stops[: dialect.stop_max]


def _sampling(request: messages.Request, lowered: chat.Request, dialect: Dialect, losses: Losses) -> None:
    if dialect.sampling:
        lowered.temperature, lowered.top_p = request.temperature, request.top_p
    else:
        for name in ("temperature", "top_p"):
            if getattr(request, name) is not None:
                losses.drop(name, name, f"models of this upstream ({dialect.name}) take none")
    if dialect.top_k:
        lowered.top_k = request.top_k
    elif request.top_k is not None:
        losses.drop("top_k", "top_k", "not part of Chat Completions")


def _thinking(request: messages.Request, lowered: chat.Request, effort: str | None, dialect: Dialect, losses: Losses) -> None:
    if request.thinking is not None and request.thinking.type not in _THINKING:
        raise refuse("thinking.type", f'unknown type "{request.thinking.type}"; expected one of {", ".join(_THINKING)}')
    asked = effort or (request.output_config.effort if request.output_config is not None else None)
    wish = thinking.wish_of_messages(request.thinking, asked)
    thinking.ask_chat(lowered, wish, dialect, losses)
    carried = lowered.reasoning_effort is not None or lowered.reasoning is not None
    if asked is not None and wish is not None and wish.on and not carried and dialect.thinking is not ThinkingStyle.NONE:
        losses.drop("output_config.effort", "effort", f'this upstream ({dialect.name}) knows no effort "{asked}"')


def _structured(request: messages.Request, lowered: chat.Request, dialect: Dialect, losses: Losses) -> None:
    wanted, path = request.output_config.format if request.output_config is not None else None, "output_config.format"
    if wanted is None:
        wanted, path = request.output_format, "output_format"
    elif request.output_format is not None:
        losses.drop("output_format", "output_format", "output_config.format, its newer name, says otherwise or the same")
    if wanted is None:
        return
    if wanted.type != "json_schema" or not bytes(wanted.schema).startswith(b"{"):
        raise refuse(path, f'expected type json_schema and a schema, an object; found type "{wanted.type}"')
    schema = without_keywords(wanted.schema, dialect.schema_keywords_refused, f"{path}.schema", losses)
    if dialect.structured is Structured.NATIVE:
        strict = True if keeps_strict_rules(schema) else None
        lowered.response_format = chat.ResponseFormat("json_schema", chat.JsonSchema("response", schema, strict=strict))
        return
    losses.drop(path, "json_schema", f"this upstream ({dialect.name}) takes no schema; the model is told it instead")
    if dialect.structured is Structured.OBJECT:
        lowered.response_format = chat.ResponseFormat("json_object")
    _append_system(lowered, f"Answer with one JSON object and nothing else. It must satisfy this JSON schema:\n{text_of(compact(schema))}")


def _append_system(lowered: chat.Request, text: str) -> None:
    first = lowered.messages[0]
    if first.role == "system" and isinstance(first.content, str):
        first.content = f"{first.content}\n\n{text}"
    elif first.role == "system" and isinstance(first.content, list):
        first.content.append(chat.TextPart(text))
    else:
        lowered.messages.insert(0, chat.Turn("system", text))


def _identity(request: messages.Request, lowered: chat.Request, dialect: Dialect) -> None:
    user = request.metadata.user_id if request.metadata is not None else None
    if not user:
        return
    # Claude Code sends a JSON text longer than any upstream allows: its digest identifies the user as well.
    name = user if dialect.user_min <= len(user) <= dialect.user_max else _digest(user)
    match dialect.user_key:
        case "safety_identifier":
            lowered.safety_identifier = name
        case "user_id":
            lowered.user_id = name
        case _:
            lowered.user = name
    session = _SESSION.search(user)
    if dialect.prompt_cache_key and session is not None:
        key = session[1] or session[2]
        lowered.prompt_cache_key = key if len(key) <= _CACHE_KEY_MAX else _digest(key)


def _digest(text: str) -> str:
    """64 hex digits: as many characters as the narrowest limit of them all."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _tier(request: messages.Request, lowered: chat.Request, dialect: Dialect, losses: Losses) -> None:
    for name, value in (("service_tier", request.service_tier), ("speed", request.speed)):
        if dialect.service_tier and value is not None and (name, value) in _TIERS:
            lowered.service_tier = _TIERS[name, value]
        elif (name, value) not in _USUAL:
            losses.drop(name, name, f'this upstream ({dialect.name}) knows no {name} "{value}"')


def _stream(request: messages.Request, lowered: chat.Request, dialect: Dialect) -> None:
    if not request.stream:
        return
    lowered.stream = True
    if dialect.stream_usage:
        lowered.stream_options = chat.StreamOptions(include_usage=True)
        if dialect.continuous_usage:
            lowered.stream_options.continuous_usage_stats = True
    if dialect.tool_stream and lowered.tools:
        lowered.tool_stream = True


def _prefill(request: messages.Request, lowered: chat.Request, dialect: Dialect, losses: Losses) -> None:
    last = lowered.messages[-1]
    if last.role != "assistant" or request.messages[-1].role != "assistant":
        return
    if dialect.prefill is Prefill.CONTINUE:
        lowered.continue_final_message, lowered.add_generation_prompt = True, False
    elif dialect.prefill is Prefill.PREFIX:
        last.prefix = True
    else:
        losses.drop(f"messages[{len(request.messages) - 1}]", "prefill", "chat upstreams may answer anew instead of going on")
