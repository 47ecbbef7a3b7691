"""Tool definitions and choices of a chat request as Messages has them."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw

from core.translate.loss import Losses, refuse
from core.translate.naming import ToolNames
from core.translate.tools import WRAPPED
from core.wire import chat, messages
from core.wire.codec import encode, given, members

_NO_PARAMETERS: Final = Raw(b'{"type":"object","properties":{}}')
#: What a wrapped custom tool takes.
_ONE_STRING: Final = Raw(encode({
    "type": "object", "properties": {WRAPPED: {"type": "string"}}, "required": [WRAPPED], "additionalProperties": False,
}))  # fmt: skip
#: Members at the top of a schema that Messages refuses there (400 "input_schema does not support oneOf, allOf, or anyOf at the top level").
_TOP_LEVEL_CHOICES: Final = ("anyOf", "oneOf", "allOf")
#: tool_choice and function_call in one word, in the words of Messages. "any" is what some clients write for required.
_CHOICES: Final = {"none": "none", "auto": "auto", "required": "any", "any": "any"}


def tools_to_messages(request: chat.Request, names: ToolNames, losses: Losses) -> tuple[list[messages.Tool], frozenset[str]]:
    """The tools in the client's order, and the client's names of custom tools among them, wrapped as ``{"input": string}``.

    Only the members that Messages knows are carried over. A tool of a vendor's own type is a ``Loss``; a schema that Messages refuses (no
    object, or nothing but a choice of several at its top) is a ``BadRequest``.
    """
    told: list[messages.Tool] = []
    custom: set[str] = set()
    for index, tool in enumerate(request.tools or ()):
        path = f"tools[{index}]"
        if tool.function is not None:
            told.append(_from_function(tool.function, f"{path}.function", names, losses, tool.cache_control))
        elif tool.custom is not None:
            custom.add(tool.custom.name)
            told.append(_from_custom(tool.custom, names, tool.cache_control))
        else:
            losses.drop(path, tool.type or "tool", f'a tool of type "{tool.type}" has no twin in Messages')
    told.extend(_from_function(one, f"functions[{index}]", names, losses) for index, one in enumerate(request.functions or ()))
    return told, frozenset(custom)


def _from_function(
    function: chat.Function, path: str, names: ToolNames, losses: Losses, cache_control: messages.CacheControl | None = None
) -> messages.Tool:
    return messages.Tool(
        name=names.there(function.name),
        description=function.description,
        input_schema=_input_schema(function.parameters, f"{path}.parameters", losses),
        strict=function.strict,
        cache_control=cache_control,
    )


def _input_schema(schema: Raw, path: str, losses: Losses) -> Raw:
    """``schema`` as it came where Messages takes it so; it demands ``"type": "object"`` and refuses choices at the top."""
    if not given(schema):
        return _NO_PARAMETERS
    try:
        found = members(schema)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise refuse(path, "expected a JSON schema, an object") from None
    kind = found.get("type")
    if kind is not None and bytes(kind) != b'"object"':
        raise refuse(f"{path}.type", 'Messages takes objects only as the input of a tool; expected "object"')
    choices = [one for one in _TOP_LEVEL_CHOICES if one in found]
    if kind is not None and not choices:
        return schema
    for choice in choices:
        if "properties" not in found:
            raise refuse(f"{path}.{choice}", f"Messages takes no {choice} at the top of a tool's schema; put it under a property")
        losses.drop(f"{path}.{choice}", choice, "Messages takes none at the top of a tool's schema; the properties beside it were kept")
        del found[choice]
    if kind is None:
        found = {"type": Raw(b'"object"'), **found}
    return _NO_PARAMETERS if len(found) == 1 else Raw(encode(found))


def _from_custom(custom: chat.Custom, names: ToolNames, cache_control: messages.CacheControl | None) -> messages.Tool:
    description = custom.description or ""
    grammar = custom.format.grammar if custom.format is not None else None
    if grammar is not None:
        description += f"\n\nThe input must match this {grammar.syntax or ''} grammar:\n{grammar.definition}"
    return messages.Tool(
        name=names.there(custom.name), description=description.strip() or None, input_schema=_ONE_STRING, cache_control=cache_control
    )


def choice_to_messages(
    request: chat.Request, told: list[messages.Tool], names: ToolNames
) -> tuple[messages.ToolChoice | None, list[messages.Tool]]:
    """``tool_choice`` (or ``function_call``) and ``parallel_tool_calls``; also the tools, which ``allowed_tools`` may narrow.

    A choice that forces a tool the upstream is not told of is a ``BadRequest``; without tools there is no choice.
    """
    choice, told = _choose(request, told, names)
    if not told:
        return None, told
    if request.parallel_tool_calls is False and (choice is None or choice.type != "none"):
        choice = choice or messages.ToolChoice("auto")
        choice.disable_parallel_tool_use = True
    return choice, told


def _choose(request: chat.Request, told: list[messages.Tool], names: ToolNames) -> tuple[messages.ToolChoice | None, list[messages.Tool]]:
    wanted = request.tool_choice if request.tool_choice is not None else request.function_call
    path = "tool_choice" if request.tool_choice is not None else "function_call"
    known = {tool.name for tool in told}
    match wanted:
        case None:
            return None, told
        case str():
            return _in_a_word(wanted, told, path), told
        case chat.NamedFunction():
            return messages.ToolChoice("tool", _known(wanted, known, names, f"{path}.name")), told
        case chat.NamedToolChoice(allowed_tools=chat.AllowedTools() as allowed):
            return _narrowed(allowed, told, names)
    member, named = ("custom", wanted.custom) if wanted.function is None else ("function", wanted.function)
    if named is None:
        raise refuse(path, "expected none, auto, required, allowed_tools, or a function or custom tool by name")
    return messages.ToolChoice("tool", _known(named, known, names, f"{path}.{member}.name")), told


def _in_a_word(wanted: str, told: list[messages.Tool], path: str) -> messages.ToolChoice:
    kind = _CHOICES.get(wanted)
    if kind is None:
        raise refuse(path, f'unknown choice "{wanted}"; expected none, auto, required or a named tool')
    if kind == "any" and not told:
        raise refuse(path, "a tool is forced, but the request has none that this upstream can be told of")
    return messages.ToolChoice(kind)


def _known(named: chat.NamedFunction | chat.Function | chat.Custom, known: set[str | None], names: ToolNames, path: str) -> str:
    name = names.there(named.name)
    if name not in known:
        raise refuse(path, f'"{named.name}" is none of the tools that this upstream can be told of')
    return name


def _narrowed(allowed: chat.AllowedTools, told: list[messages.Tool], names: ToolNames) -> tuple[messages.ToolChoice, list[messages.Tool]]:
    known, wanted = {tool.name for tool in told}, set()
    for index, tool in enumerate(allowed.tools):
        named, path = tool.function or tool.custom, f"tool_choice.allowed_tools.tools[{index}]"
        if named is None:
            raise refuse(path, "expected a function or custom tool by name")
        wanted.add(_known(named, known, names, path))
    kept = [tool for tool in told if tool.name in wanted]
    if allowed.mode not in ("auto", "required"):
        raise refuse("tool_choice.allowed_tools.mode", f'unknown mode "{allowed.mode}"; expected auto or required')
    if allowed.mode == "required" and not kept:
        raise refuse("tool_choice.allowed_tools.tools", "a tool is forced, but none is allowed")
    return messages.ToolChoice("any" if allowed.mode == "required" else "auto"), kept
