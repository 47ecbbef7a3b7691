"""A chat request as a Messages request: for clients that speak Chat Completions and upstreams that speak Messages."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Final

from msgspec import Raw

from core.dialects import CacheMarks, Dialect, Structured
from core.translate import thinking, tools
from core.translate.context import AnswerContext, Translated
from core.translate.conversation_to_messages import Conversation
from core.translate.loss import Losses, refuse
from core.translate.naming import ToolNames
from core.wire import chat, messages
from core.wire.codec import ABSENT, encode, given, read, text_of

#: Filled in where the client names no limit: Messages demands one. GLM-4.5's largest answer (docs.z.ai).
DEFAULT_MAX_TOKENS: Final = 98304
#: Tool names of Messages: 1 to 128 characters.
NAME_MAX: Final = 128
#: Breakpoints a Messages request may have; the last ones are kept, since each covers everything before it.
BREAKPOINTS_MAX: Final = 4
#: The name of the tool that stands for a JSON schema where the model knows no structured output.
SCHEMA_TOOL: Final = "json_response"

#: Members without a twin whose absence costs a feature, not the meaning, and the values that ask for nothing.
_DROPPED: Final = (
    "frequency_penalty", "presence_penalty", "logit_bias", "seed", "store", "prediction", "prompt_cache_key", "prompt_cache_options",
    "prompt_cache_retention", "moderation", "metadata", "logprobs", "top_logprobs", "verbosity", "min_p", "repetition_penalty",
    "do_sample", "attachments",
)  # fmt: skip
_NOTHING: Final = (b"null", b"false", b"0", b"0.0", b"{}", b"[]", b'""')
#: An e-mail address or a phone number: Messages asks not to be sent either as user_id.
_PERSONAL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+|\+?[\d\s().-]{7,}")
_USER_MAX: Final = 256


def to_messages(
    body: bytes,
    dialect: Dialect,
    *,
    model: str,
    answer_model: str,
    seed: str,
    now: float,
    default_max_tokens: int = DEFAULT_MAX_TOKENS,
    strict: bool = False,
    input_tokens: int = 0,
) -> Translated:
    """Translate the body of ``POST /v1/chat/completions`` for a Messages upstream of ``dialect``.

    ``model`` is the upstream's name, ``answer_model`` the one the client asked for; ``default_max_tokens`` is filled in where the client
    gives no limit. Raises ``BadRequest`` for what is malformed, or cannot be left out without changing the meaning.
    """
    request, unknown = read(chat.Request, body)
    losses = Losses(strict=strict)
    for path in unknown:
        losses.drop(path, path.rpartition(".")[2], "unknown to this proxy, so it cannot be translated")
    names = ToolNames(NAME_MAX)
    lifted, custom = lift(request, dialect, names, losses, model=model, default_max_tokens=default_max_tokens)
    answer = AnswerContext(
        model=answer_model,
        seed=seed,
        created=int(now),
        names=names.back,
        custom=custom,
        stop_sequences=tuple(lifted.stop_sequences or ()),
        include_usage=bool(request.stream_options is not None and request.stream_options.include_usage),
        show_thinking=not (request.reasoning is not None and request.reasoning.exclude),
        input_tokens=input_tokens,
        schema_tool=SCHEMA_TOOL if lifted.tools and any(tool.name == SCHEMA_TOOL for tool in lifted.tools) else None,
    )
    return Translated(encode(lifted), answer, tuple(losses.found))


def lift(
    request: chat.Request, dialect: Dialect, names: ToolNames, losses: Losses, *, model: str, default_max_tokens: int = DEFAULT_MAX_TOKENS
) -> tuple[messages.Request, frozenset[str]]:
    """The typed form of ``to_messages``; also the client's names of custom tools, which were wrapped."""
    _check_top_level(request, losses)
    conversation = Conversation(dialect, names, losses)
    conversation.add_turns(request.messages)
    lifted = messages.Request(model=model, messages=conversation.finished())
    lifted.max_tokens = _limit(request, default_max_tokens)
    lifted.system = conversation.system_prompt()
    told, custom = tools.tools_to_messages(request, names, losses)
    lifted.tool_choice, told = tools.choice_to_messages(request, told, names, losses)
    if told:
        lifted.tools = told
    _sampling(request, lifted, dialect, losses)
    wish = thinking.wish_of_chat(request)
    _structured(request, lifted, dialect, losses, thinks=wish is not None and wish.on)
    thinking.ask_messages(lifted, wish, dialect, losses)
    _identity(request, lifted, dialect, losses)
    if request.stream:
        lifted.stream = True
    _bound_marks(lifted, dialect)
    return lifted, custom


def _check_top_level(request: chat.Request, losses: Losses) -> None:
    if not request.messages:
        raise refuse("messages", "expected at least one message")
    if request.n is not None and request.n > 1:
        raise refuse("n", f"this upstream gives one answer per request, found {request.n}; expected 1")
    if given(request.audio) or "audio" in (request.modalities or ()):
        raise refuse("audio" if given(request.audio) else "modalities", "this upstream cannot speak")
    for name in _DROPPED:
        value: object = getattr(request, name)
        raw = bytes(value) if isinstance(value, Raw) else encode(value)
        if value is not ABSENT and raw not in _NOTHING:
            losses.drop(name, name, "has no twin in Messages")


def _limit(request: chat.Request, default: int) -> int:
    asked = request.max_completion_tokens if request.max_completion_tokens is not None else request.max_tokens
    return asked if asked is not None and asked > 0 else default


def _sampling(request: chat.Request, lifted: messages.Request, dialect: Dialect, losses: Losses) -> None:
    stops = [request.stop] if isinstance(request.stop, str) else request.stop or []
    if kept := [one for one in stops if one.strip()]:
        lifted.stop_sequences = kept
    elif stops:
        losses.drop("stop", "stop", "Messages takes no stop sequence of white space alone")
    if dialect.top_k:
        lifted.top_k = request.top_k
    elif request.top_k is not None:
        losses.drop("top_k", "top_k", f"models of this upstream ({dialect.name}) take none")
    if not dialect.sampling:
        for name in ("temperature", "top_p"):
            if getattr(request, name) is not None:
                losses.drop(name, name, f"models of this upstream ({dialect.name}) take none")
        return
    if request.temperature is not None:
        lifted.temperature = min(request.temperature, 1.0)
        if request.temperature > 1:
            losses.drop("temperature", "temperature", f"Messages takes 1 at most, found {request.temperature}; 1 was sent")
    if request.top_p is not None and request.temperature is not None and not dialect.sampling_pair:
        losses.drop("top_p", "top_p", "the upstream takes temperature or top_p, not both")
    else:
        lifted.top_p = request.top_p


def _structured(request: chat.Request, lifted: messages.Request, dialect: Dialect, losses: Losses, *, thinks: bool) -> None:
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return
    if wanted.type == "json_object":
        _instruct(lifted, "Answer with one JSON object and nothing else: no prose, no code fence.")
        return
    if wanted.type != "json_schema" or wanted.json_schema is None or not given(wanted.json_schema.schema):
        raise refuse("response_format", f'expected text, json_object or json_schema with a schema, found "{wanted.type}"')
    schema = wanted.json_schema.schema
    if dialect.structured is Structured.NATIVE:
        lifted.output_config = lifted.output_config or messages.OutputConfig()
        lifted.output_config.format = messages.OutputFormat("json_schema", schema)
    elif dialect.structured is Structured.TOOL and not thinks and lifted.tool_choice is None:
        description = wanted.json_schema.description or "Give the answer through this tool."
        lifted.tools = [*(lifted.tools or ()), messages.Tool(name=SCHEMA_TOOL, description=description, input_schema=schema)]
        lifted.tool_choice = messages.ToolChoice("tool", SCHEMA_TOOL)
    else:
        losses.drop("response_format", "json_schema", f"this upstream ({dialect.name}) takes no schema; the model is told it instead")
        _instruct(lifted, f"Answer with one JSON object and nothing else. It must satisfy this JSON schema:\n{text_of(schema)}")


def _instruct(lifted: messages.Request, text: str) -> None:
    """Add an instruction of the proxy's own at the end of the system prompt."""
    if isinstance(lifted.system, list):
        lifted.system.append(messages.Text(text))
    else:
        lifted.system = f"{lifted.system}\n\n{text}" if lifted.system else text


def _identity(request: chat.Request, lifted: messages.Request, dialect: Dialect, losses: Losses) -> None:
    user = request.safety_identifier or request.user or request.user_id
    if user:
        if len(user) > _USER_MAX or _PERSONAL.fullmatch(user):
            user = hashlib.sha256(user.encode("utf-8", "replace")).hexdigest()
        lifted.metadata = messages.Metadata(user)
    tier = request.service_tier
    if tier is not None:
        lifted.service_tier = {"auto": "auto", "default": "standard_only"}.get(tier) if dialect.original else None
        if lifted.service_tier is None:
            losses.drop("service_tier", "service_tier", f'"{tier}" has no twin at this upstream ({dialect.name})')
    if given(request.web_search_options):
        if dialect.original:
            lifted.tools = [*(lifted.tools or ()), messages.Tool(name="web_search", type="web_search_20250305")]
        else:
            losses.drop("web_search_options", "web_search_options", f"this upstream ({dialect.name}) cannot search the web")


def _bound_marks(lifted: messages.Request, dialect: Dialect) -> None:
    """Cache breakpoints as the dialect takes them: none, without ttl, and four at most."""
    holders = [one for one in _holders(lifted) if one.cache_control is not None]
    keep = 0 if dialect.cache_control is CacheMarks.STRIP else BREAKPOINTS_MAX
    for number, one in enumerate(reversed(holders)):
        if number >= keep:
            one.cache_control = None
        elif dialect.cache_control is CacheMarks.NO_TTL and one.cache_control is not None:
            one.cache_control = messages.CacheControl(one.cache_control.type)


def _holders(lifted: messages.Request) -> Iterator[messages.Tool | messages.Text | messages.Image | messages.Document | messages.ToolResult]:
    yield from lifted.tools or ()
    if isinstance(lifted.system, list):
        yield from lifted.system
    for turn in lifted.messages:
        for block in turn.content if isinstance(turn.content, list) else ():
            if isinstance(block, messages.Text | messages.Image | messages.Document | messages.ToolResult):
                yield block
