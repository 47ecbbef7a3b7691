"""A chat request as a Messages request: for clients that speak Chat Completions and upstreams that speak Messages."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from msgspec import Raw

from core.dialects import CacheMarks, Dialect, Structured
from core.translate import thinking
from core.translate.context import AnswerContext, Translated
from core.translate.conversation_to_messages import Conversation, fitting_mark
from core.translate.loss import Losses, refuse
from core.translate.naming import ToolNames
from core.translate.pictures import attached, with_pictures
from core.translate.tools_to_messages import choice_to_messages, tools_to_messages
from core.wire import chat, messages
from core.wire.codec import ABSENT, encode, given, is_object, members, read, text_of, value_of

#: Filled in where the client names no limit: Messages demands one. GLM-4.5's largest answer (docs.z.ai).
DEFAULT_MAX_TOKENS: Final = 98304
#: Tool names of Messages: 1 to 128 characters.
NAME_MAX: Final = 128
#: Breakpoints a Messages request may have; the last ones are kept, since each covers everything before it.
BREAKPOINTS_MAX: Final = 4
#: The name of the tool that stands for a JSON schema where the model knows no structured output.
SCHEMA_TOOL: Final = "json_response"

#: Members without a twin whose absence costs a feature, not the meaning, and the values that ask for nothing (null never does).
_DROPPED: Final[dict[str, tuple[object, ...]]] = {
    "frequency_penalty": (0,), "presence_penalty": (0,), "repetition_penalty": (1,), "min_p": (0,), "do_sample": (True,), "seed": (),
    "logit_bias": ({},), "logprobs": (False,), "top_logprobs": (0,), "store": (False,), "prediction": (), "moderation": (),
    "metadata": ({},), "prompt_cache_key": ("",), "prompt_cache_options": ({},), "prompt_cache_retention": ("in_memory",),
    "verbosity": ("medium",), "request_id": ("",),
}  # fmt: skip
#: An e-mail address, or a phone number and nothing else: Messages asks not to be sent either as user_id.
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_PHONE: Final = re.compile(r"\+?[\d\s().-]{7,}")
_USER_MAX: Final = 256
#: service_tier of OpenAI in the words of Messages; flex, priority, scale and fast have none there.
_TIERS: Final = {"auto": "auto", "default": "standard_only"}


@dataclass(frozen=True, slots=True)
class Lifted:
    """A chat request as a Messages request, and what its answer will need."""

    request: messages.Request
    custom: frozenset[str]  # the client's names of custom tools, which were wrapped
    schema_tool: str | None  # the tool that stands for the JSON schema of the answer


#: A request as it came, or what ``core.wire.codec.read`` made of it.
Body: TypeAlias = bytes | tuple[chat.Request, list[str]]


def to_messages(
    body: Body,
    dialect: Dialect,
    *,
    model: str,
    answer_model: str,
    seed: str,
    now: float,
    default_max_tokens: int = DEFAULT_MAX_TOKENS,
    strict: bool = False,
) -> Translated:
    """Translate the body of ``POST /v1/chat/completions`` for a Messages upstream of ``dialect``.

    ``model`` is the upstream's name, ``answer_model`` the one the client asked for; ``default_max_tokens`` is filled in where the client
    gives no limit above 0. What has no place there is in ``losses``; with ``strict`` it is a ``BadRequest`` instead. Raises ``BadRequest``
    naming the member for what is malformed, or cannot be left out without changing the meaning: several answers (``n``), audio both ways,
    ``file_id``, images of unknown types, a forced tool that is not there.
    """
    request, unknown = read(chat.Request, body) if isinstance(body, bytes) else body
    losses = Losses(strict=strict)
    for path in unknown:
        losses.drop(path, path.rpartition(".")[2], "unknown to this proxy, so it cannot be translated")
    names = ToolNames(NAME_MAX)
    lifted = lift(request, dialect, names, losses, model=model, default_max_tokens=default_max_tokens)
    answer = AnswerContext(
        model=answer_model,
        seed=seed,
        created=int(now),
        names=names.back,
        custom=lifted.custom,
        stop_sequences=tuple(lifted.request.stop_sequences or ()),
        include_usage=bool(request.stream_options is not None and request.stream_options.include_usage),
        show_thinking=not (request.reasoning is not None and request.reasoning.exclude),
        schema_tool=lifted.schema_tool,
    )
    return Translated(encode(lifted.request), answer, tuple(losses.found))


def lift(
    request: chat.Request, dialect: Dialect, names: ToolNames, losses: Losses, *, model: str, default_max_tokens: int = DEFAULT_MAX_TOKENS
) -> Lifted:
    """The typed form of ``to_messages``."""
    _check_top_level(request)
    _drop_top_level(request, losses)
    names.reserve(one.name for tool in request.tools or () if (one := tool.function or tool.custom) is not None)
    conversation = Conversation(dialect, names, losses)
    urls = attached(request.attachments, losses)
    conversation.add_turns(with_pictures(request.messages, urls, chat.TextPart, chat.ImagePart, losses))
    lifted = messages.Request(model=model, messages=conversation.finished())
    lifted.max_tokens = _limit(request, default_max_tokens, losses)
    lifted.system = conversation.system_prompt()
    told, custom = tools_to_messages(request, names, losses)
    lifted.tool_choice, told = choice_to_messages(request, told, names)
    lifted.tools = told or None
    _sampling(request, lifted, dialect, losses)
    wish = thinking.wish_of_chat(request)
    schema_tool = _structured(request, lifted, dialect, losses, thinks=wish is not None and wish.on)
    _search(request, lifted, dialect, losses)
    thinking.ask_messages(lifted, wish, dialect, losses)
    _identity(request, lifted, dialect, losses)
    if request.stream:
        lifted.stream = True
    _bound_marks(lifted, dialect, inside=conversation.marked)
    return Lifted(lifted, custom, schema_tool)


def _check_top_level(request: chat.Request) -> None:
    if not request.messages:
        raise refuse("messages", "expected at least one message")
    if request.n not in (None, 1):
        raise refuse("n", f"this upstream gives one answer per request, found {request.n}; expected 1")
    if given(request.audio):
        raise refuse("audio", "this upstream cannot speak")
    for index, modality in enumerate(request.modalities or ()):
        if modality != "text":
            raise refuse(f"modalities[{index}]", f'this upstream answers in text, found "{modality}"')


def _drop_top_level(request: chat.Request, losses: Losses) -> None:
    for name, nothing in _DROPPED.items():
        value: object = getattr(request, name)
        if value is None or value is ABSENT or (isinstance(value, Raw) and not given(value)):
            continue
        said = value_of(value) if isinstance(value, Raw) else value
        if not any(said == one and isinstance(said, bool) is isinstance(one, bool) for one in nothing):
            losses.drop(name, name, "has no twin in Messages")
    options = request.stream_options
    for name in ("include_obfuscation", "continuous_usage_stats"):
        if options is not None and getattr(options, name):
            losses.drop(f"stream_options.{name}", name, "has no twin in a Messages stream")
    for place in ("thinking", "chat_template_kwargs"):
        switches: chat.ThinkingToggle | chat.TemplateArguments | None = getattr(request, place)
        if switches is not None and switches.clear_thinking is False:
            losses.drop(
                f"{place}.clear_thinking", "clear_thinking", "how long reasoning is remembered is the upstream's choice in Messages"
            )


def _limit(request: chat.Request, default: int, losses: Losses) -> int:
    for name in ("max_completion_tokens", "max_tokens"):
        asked: int | None = getattr(request, name)
        if asked is not None and asked > 0:
            return asked
        if asked is not None:
            losses.drop(name, name, f"expected 1 or more, found {asked}; {default} was sent")
    return default


def _sampling(request: chat.Request, lifted: messages.Request, dialect: Dialect, losses: Losses) -> None:
    _stops(request, lifted, losses)
    if dialect.top_k:
        lifted.top_k = request.top_k
    elif request.top_k is not None:
        losses.drop("top_k", "top_k", f"models of this upstream ({dialect.name}) take none")
    temperature, top_p = request.temperature, request.top_p
    if not dialect.sampling:
        # 1 is what both are without being said.
        for name, value in (("temperature", temperature), ("top_p", top_p)):
            if value not in (None, 1):
                losses.drop(name, name, f"models of this upstream ({dialect.name}) take none")
        return
    if temperature is not None and temperature > 1:
        losses.drop("temperature", "temperature", f"Messages takes 1 at most, found {temperature}; 1 was sent")
        temperature = 1.0
    if top_p is not None and temperature is not None and not dialect.sampling_pair:
        if top_p != 1:
            losses.drop("top_p", "top_p", "the upstream takes temperature or top_p, not both")
        top_p = None
    lifted.temperature, lifted.top_p = temperature, top_p


def _stops(request: chat.Request, lifted: messages.Request, losses: Losses) -> None:
    kept = []
    for index, stop in enumerate([request.stop] if isinstance(request.stop, str) else request.stop or ()):
        if stop.strip():
            kept.append(stop)
        elif stop:
            path = "stop" if isinstance(request.stop, str) else f"stop[{index}]"
            losses.drop(path, "stop", "Messages takes no stop sequence of white space alone")
    lifted.stop_sequences = kept or None


def _structured(request: chat.Request, lifted: messages.Request, dialect: Dialect, losses: Losses, *, thinks: bool) -> str | None:
    """Hold the answer to JSON; the name of the tool that stands for the schema, where one does."""
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        _instruct(lifted, "Answer with one JSON object and nothing else: no prose, no code fence.")
        return None
    if wanted.type != "json_schema" or wanted.json_schema is None or not given(wanted.json_schema.schema):
        raise refuse("response_format", f'expected text, json_object or json_schema with a schema, found "{wanted.type}"')
    asked = wanted.json_schema
    if dialect.structured is Structured.NATIVE:
        lifted.output_config = messages.OutputConfig(format=messages.OutputFormat("json_schema", asked.schema))
        if asked.description:
            losses.drop("response_format.json_schema.description", "description", "has no place beside a schema in Messages")
        return None
    if dialect.structured is Structured.TOOL and not thinks and _can_be_tool(asked.schema) and not _is_forced(lifted):
        return _as_tool(lifted, asked)
    losses.drop("response_format", "json_schema", f"this upstream ({dialect.name}) takes no schema; the model is told it instead")
    about = f"{asked.description}\n" if asked.description else ""
    _instruct(lifted, f"{about}Answer with one JSON object and nothing else. It must satisfy this JSON schema:\n{text_of(asked.schema)}")
    return None


def _is_forced(lifted: messages.Request) -> bool:
    return lifted.tool_choice is not None and lifted.tool_choice.type in ("any", "tool")


def _can_be_tool(schema: Raw) -> bool:
    """Whether ``schema`` may be the input of a tool, which is an object."""
    if not is_object(bytes(schema)):
        return False
    found = members(schema)
    return bytes(found.get("type", ABSENT)) == b'"object"' and not any(one in found for one in ("anyOf", "oneOf", "allOf"))


def _as_tool(lifted: messages.Request, asked: chat.JsonSchema) -> str:
    """Have the model answer by calling a tool that takes the schema; where the client has tools too, by calling that one or theirs."""
    told = lifted.tools or []
    names = {tool.name for tool in told}
    name = next(one for one in (SCHEMA_TOOL, *(f"{SCHEMA_TOOL}_{number}" for number in range(2, len(told) + 3))) if one not in names)
    tool = messages.Tool(name=name, description=asked.description or "Give the answer through this tool.", input_schema=asked.schema)
    choice = lifted.tool_choice
    if told and (choice is None or choice.type == "auto"):
        lifted.tool_choice = messages.ToolChoice("any", disable_parallel_tool_use=choice.disable_parallel_tool_use if choice else None)
    else:
        lifted.tool_choice = messages.ToolChoice("tool", name)
    lifted.tools = [*told, tool]
    return name


def _instruct(lifted: messages.Request, text: str) -> None:
    """Add an instruction of the proxy's own at the end of the system prompt."""
    if isinstance(lifted.system, list):
        lifted.system.append(messages.Text(text))
    else:
        lifted.system = f"{lifted.system}\n\n{text}" if lifted.system else text


def _search(request: chat.Request, lifted: messages.Request, dialect: Dialect, losses: Losses) -> None:
    options = request.web_search_options
    if not given(options):
        return
    if not dialect.original:
        losses.drop("web_search_options", "web_search_options", f"this upstream ({dialect.name}) cannot search the web")
        return
    if bytes(options).strip(b"{} \t\r\n"):
        losses.drop("web_search_options", "web_search_options", "the web is searched, but without regard to its settings")
    lifted.tools = [*(lifted.tools or ()), messages.Tool(name="web_search", type="web_search_20250305")]


def _identity(request: chat.Request, lifted: messages.Request, dialect: Dialect, losses: Losses) -> None:
    named = {name: user for name in ("safety_identifier", "user", "user_id") if (user := getattr(request, name))}
    user = next(iter(named.values()), None)
    for name, other in named.items():
        if other != user:
            losses.drop(name, name, "Messages has one place for the user's name, which is taken by another")
    if user is not None:
        if len(user) > _USER_MAX or _EMAIL.search(user) or _PHONE.fullmatch(user):
            user = hashlib.sha256(user.encode()).hexdigest()
        lifted.metadata = messages.Metadata(user)
    tier = request.service_tier
    if tier is not None:
        lifted.service_tier = _TIERS.get(tier) if dialect.original else None
        if lifted.service_tier is None and tier != "auto":
            losses.drop("service_tier", "service_tier", f'"{tier}" has no twin at this upstream ({dialect.name})')


def _bound_marks(lifted: messages.Request, dialect: Dialect, *, inside: bool) -> None:
    """Leave four cache breakpoints at most. ``inside``: whether the conversation has any, which are as the dialect takes them already."""
    tools = [tool for tool in lifted.tools or () if tool.cache_control is not None]
    for tool in tools:
        assert tool.cache_control is not None
        tool.cache_control = fitting_mark(tool.cache_control, dialect)
    if dialect.cache_control is CacheMarks.STRIP or not (tools or inside):
        return
    holders = [*tools, *(block for block in _blocks(lifted) if block.cache_control is not None)]
    for block in holders[:-BREAKPOINTS_MAX]:
        block.cache_control = None


def _blocks(
    lifted: messages.Request,
) -> Iterator[messages.Text | messages.Image | messages.Document | messages.ToolUse | messages.ToolResult]:
    """Every block of the conversation that can have a breakpoint, in order."""
    if isinstance(lifted.system, list):
        yield from lifted.system
    for turn in lifted.messages:
        for block in turn.content if isinstance(turn.content, list) else ():
            if isinstance(block, messages.Text | messages.Image | messages.Document | messages.ToolUse | messages.ToolResult):
                yield block
