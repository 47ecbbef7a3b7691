"""Tool definitions and choices, both ways."""

from __future__ import annotations

from typing import Final

from msgspec import Raw

from core.dialects import Dialect
from core.translate.loss import Losses, refuse
from core.translate.naming import ToolNames
from core.wire import chat, messages
from core.wire.codec import decoder, encode, given, is_object, members, text_of

#: Tools of the vendor that the *client* runs, by the start of their type, with the schema the vendor documents for them
#: (platform.claude.com, tool reference, read 2026-11-20). A chat upstream can be told of them like of any function.
CLIENT_RUN: Final[dict[str, tuple[str, bytes]]] = {
    "bash_": (
        "Run a command in a persistent bash session.",
        b'{"type":"object","properties":{"command":{"type":"string","description":"The command to run."},'
        b'"restart":{"type":"boolean","description":"Restart the session."}}}',
    ),
    "text_editor_": (
        "View, create and edit text files.",
        b'{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert"]},'
        b'"path":{"type":"string","description":"Absolute path of a file or directory."},'
        b'"file_text":{"type":"string","description":"Content for create."},'
        b'"old_str":{"type":"string","description":"Text to replace, which must be unique."},'
        b'"new_str":{"type":"string","description":"Replacement, or the text to insert."},'
        b'"insert_line":{"type":"integer","description":"Line after which to insert."},'
        b'"insert_text":{"type":"string","description":"Text to insert."},'
        b'"view_range":{"type":"array","items":{"type":"integer"},"description":"First and last line to view."}},'
        b'"required":["command","path"]}',
    ),
    "memory_": (
        "View and edit files in the memory directory.",
        b'{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert","delete","rename"]},'
        b'"path":{"type":"string"},"file_text":{"type":"string"},"old_str":{"type":"string"},"new_str":{"type":"string"},'
        b'"insert_line":{"type":"integer"},"insert_text":{"type":"string"},"old_path":{"type":"string"},"new_path":{"type":"string"},'
        b'"view_range":{"type":"array","items":{"type":"integer"}}},"required":["command"]}',
    ),
}

_NO_PARAMETERS: Final = Raw(b'{"type":"object","properties":{}}')
#: Members at the top of a schema that Messages refuses there (400 "input_schema does not support oneOf, allOf, or anyOf at the top level").
_TOP_LEVEL_CHOICES: Final = ("anyOf", "oneOf", "allOf")
#: The member that a wrapped schema or a wrapped custom tool has.
WRAPPED: Final = "input"


# ---------------------------------------------------------------------------------------------------- Messages -> chat


def tools_to_chat(
    request: messages.Request, referenced: frozenset[str], names: ToolNames, dialect: Dialect, losses: Losses
) -> list[chat.Tool]:
    """The tools a chat upstream is told of, in the client's order.

    Tools that only Anthropic can run are left out. Deferred tools are told of once a ``tool_reference`` named them, unless the search for
    them is one that only Anthropic can run: then all of them are.
    """
    tools = request.tools or []
    searched_there = any((tool.type or "").startswith("tool_search_tool") for tool in tools)
    told = []
    for index, tool in enumerate(tools):
        if tool.defer_loading and not searched_there and tool.name not in referenced:
            continue
        function = _function(tool, f"tools[{index}]", names, losses)
        if function is not None:
            entry = chat.Tool("function", function)
            if dialect.cache_control.value != "strip":
                entry.cache_control = tool.cache_control
            told.append(entry)
    return told


def _function(tool: messages.Tool, path: str, names: ToolNames, losses: Losses) -> chat.Function | None:
    if tool.type in (None, "custom") or (given(tool.input_schema) and not _client_run(tool.type)):
        if tool.name is None:
            raise refuse(f"{path}.name", "a tool needs a name")
        return chat.Function(names.there(tool.name), tool.description, object_schema(tool.input_schema, f"{path}.input_schema"), tool.strict)
    known = _client_run(tool.type)
    if known is None or tool.name is None:
        losses.drop(path, tool.name or tool.type or "tool", f'only Anthropic can run a tool of type "{tool.type}"')
        return None
    return chat.Function(names.there(tool.name), tool.description or known[0], Raw(known[1]))


def _client_run(kind: str | None) -> tuple[str, bytes] | None:
    return next((known for start, known in CLIENT_RUN.items() if (kind or "").startswith(start)), None)


def object_schema(schema: Raw, path: str) -> Raw:
    """``schema`` with the ``type`` and ``properties`` that OpenAI demands of an object schema; otherwise as it came."""
    if not given(schema):
        return _NO_PARAMETERS
    if not is_object(bytes(schema)):
        raise refuse(path, "expected a JSON schema, an object")
    found = members(schema)
    kind = found.get("type")
    if kind is not None and (bytes(kind) != b'"object"' or "properties" in found):
        return schema
    if kind is None:
        found = {"type": Raw(b'"object"'), **found}
    found.setdefault("properties", Raw(b"{}"))
    return Raw(encode(found))


def choice_to_chat(request: messages.Request, told: list[chat.Tool], names: ToolNames, dialect: Dialect, losses: Losses) -> (
    str | chat.NamedToolChoice | None
):
    """``tool_choice`` in chat's words. A choice that forces a tool the upstream was not told of is a ``BadRequest``."""
    choice = request.tool_choice
    if choice is None:
        return None
    if choice.type == "tool":
        name = names.there(choice.name or "")
        if not any(tool.function is not None and tool.function.name == name for tool in told):
            raise refuse("tool_choice.name", f'the tool "{choice.name}" cannot be forced: the upstream does not know it')
    elif choice.type == "any" and not told:
        raise refuse("tool_choice", "a tool is forced, but none of the tools can be run with this upstream")
    if not told:
        return None
    if choice.type in ("auto", "none"):
        return choice.type
    if choice.type not in ("any", "tool"):
        raise refuse("tool_choice.type", f'unknown type "{choice.type}"; expected auto, any, tool or none')
    if not dialect.forced_tool:
        losses.drop("tool_choice", "tool_choice", f"this upstream ({dialect.name}) cannot be forced to call a tool")
        return "auto"
    return "required" if choice.type == "any" else chat.NamedToolChoice("function", chat.NamedFunction(name))


# ---------------------------------------------------------------------------------------------------- chat -> Messages


def tools_to_messages(request: chat.Request, names: ToolNames, losses: Losses) -> tuple[list[messages.Tool], frozenset[str]]:
    """Messages tools, and the client's names of custom tools among them, which are wrapped as ``{"input": string}``."""
    told: list[messages.Tool] = []
    custom: set[str] = set()
    for index, tool in enumerate(request.tools or ()):
        path = f"tools[{index}]"
        if tool.function is not None:
            told.append(_from_function(tool.function, f"{path}.function", names, tool.cache_control))
        elif tool.custom is not None:
            custom.add(tool.custom.name)
            told.append(_from_custom(tool.custom, names))
        else:
            losses.drop(path, tool.type or "tool", f'a tool of type "{tool.type}" has no twin in Messages')
    told.extend(_from_function(one, f"functions[{index}]", names) for index, one in enumerate(request.functions or ()))
    return told, frozenset(custom)


def _from_function(
    function: chat.Function, path: str, names: ToolNames, cache_control: messages.CacheControl | None = None
) -> messages.Tool:
    return messages.Tool(
        name=names.there(function.name),
        description=function.description,
        input_schema=_input_schema(function.parameters, f"{path}.parameters"),
        strict=function.strict,
        cache_control=cache_control,
    )


def _input_schema(schema: Raw, path: str) -> Raw:
    if not given(schema):
        return _NO_PARAMETERS
    if not is_object(bytes(schema)):
        raise refuse(path, "expected a JSON schema, an object")
    found = members(schema)
    choice = next((one for one in _TOP_LEVEL_CHOICES if one in found), None)
    if choice is not None and "properties" not in found:
        raise refuse(f"{path}.{choice}", f"Messages takes no {choice} at the top of a tool's schema; put it under a property")
    if choice is not None:  # next to properties it narrows them only: the properties still say what the tool takes
        found.pop(choice)
    if "type" not in found:
        found = {"type": Raw(b'"object"'), **found}
    elif choice is None:
        return schema
    return Raw(encode(found))


def _from_custom(custom: chat.Custom, names: ToolNames) -> messages.Tool:
    description = custom.description or ""
    grammar = custom.format.grammar if custom.format is not None else None
    if grammar is not None:
        description += f"\n\nThe input must match this {grammar.syntax or ''} grammar:\n{grammar.definition}"
    return messages.Tool(
        name=names.there(custom.name),
        description=description.strip() or None,
        input_schema=Raw(b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}'),
    )


def choice_to_messages(request: chat.Request, told: list[messages.Tool], names: ToolNames, losses: Losses) -> (
    tuple[messages.ToolChoice | None, list[messages.Tool]]
):
    """``tool_choice`` and ``parallel_tool_calls`` in Messages' words; also the tools, which ``allowed_tools`` may narrow."""
    choice, told = _choose(request, told, names)
    if not told:
        return None, told
    if request.parallel_tool_calls is False and (choice is None or choice.type != "none"):
        choice = choice or messages.ToolChoice("auto")
        choice.disable_parallel_tool_use = True
    return choice, told


def _choose(request: chat.Request, told: list[messages.Tool], names: ToolNames) -> tuple[messages.ToolChoice | None, list[messages.Tool]]:
    wanted = request.tool_choice if request.tool_choice is not None else request.function_call
    if wanted is None:
        return None, told
    if isinstance(wanted, str):
        kind = {"none": "none", "auto": "auto", "required": "any", "any": "any"}.get(wanted)
        if kind is None:
            raise refuse("tool_choice", f'unknown choice "{wanted}"; expected none, auto, required or a named tool')
        if kind == "any" and not told:
            raise refuse("tool_choice", "a tool is forced, but the request has no tool that this upstream can be told of")
        return messages.ToolChoice(kind), told
    if isinstance(wanted, chat.NamedFunction):
        return messages.ToolChoice("tool", _known(names.there(wanted.name), told, "function_call.name")), told
    if wanted.allowed_tools is not None:
        return _narrow(wanted.allowed_tools, told, names)
    named = wanted.function or wanted.custom
    if named is None:
        raise refuse("tool_choice", "expected a function or custom tool by name")
    return messages.ToolChoice("tool", _known(names.there(named.name), told, "tool_choice.function.name")), told


def _known(name: str, told: list[messages.Tool], path: str) -> str:
    if not any(tool.name == name for tool in told):
        raise refuse(path, f'the tool "{name}" is forced, but not among the tools')
    return name


def _narrow(allowed: chat.AllowedTools, told: list[messages.Tool], names: ToolNames) -> tuple[messages.ToolChoice, list[messages.Tool]]:
    wanted = {names.there(one.name) for tool in allowed.tools if (one := tool.function or tool.custom) is not None}
    return messages.ToolChoice("any" if allowed.mode == "required" else "auto"), [tool for tool in told if tool.name in wanted]


def unwrapped(arguments: str) -> str:
    """The text inside the wrapped input of a custom tool; the whole of it when it is not wrapped."""
    if not is_object(arguments):
        return arguments
    inner = members(arguments.encode()).get(WRAPPED)
    if inner is None or not bytes(inner).startswith(b'"'):
        return arguments
    return decode_string(inner)


def decode_string(raw: Raw) -> str:
    """A raw JSON string as text; any other JSON as it is written."""
    found = decoder(object).decode(bytes(raw))
    return found if isinstance(found, str) else text_of(raw)


def plain_text(raw: Raw) -> str:
    """The text of a thinking part: a string, or a list of text parts."""
    found = decoder(object).decode(bytes(raw))
    if isinstance(found, list):
        return "".join(part["text"] for part in found if isinstance(part, dict) and isinstance(part.get("text"), str))
    return found if isinstance(found, str) else ""
