"""Tool definitions and choices of a Messages request as chat has them, and what the way back needs of both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec
from msgspec import Raw

from core.dialects import CacheMarks, Dialect
from core.errors import BadRequest
from core.translate.loss import Losses, asks, refuse
from core.translate.naming import ToolNames
from core.translate.schemas import keeps_strict_rules, object_schema, without_keywords
from core.wire import chat, messages
from core.wire.codec import ABSENT, compact, decode_lenient, decoder, encode, given, is_object, members, read


def _schema(required: list[str], **properties: object) -> Raw:
    return Raw(encode({"type": "object", "properties": properties, "required": required}))


def _text(description: str) -> dict[str, str]:
    return {"type": "string", "description": description}


#: Tools of the vendor that the *client* runs, by the start of their type, with the schema the vendor documents for them
#: (platform.claude.com, tool reference, read 2026-11-20). A chat upstream can be told of them like of any function.
CLIENT_RUN: Final[dict[str, tuple[str, Raw]]] = {
    "bash_": (
        "Run a command in a persistent bash session.",
        _schema([], command=_text("The command to run."), restart={"type": "boolean", "description": "Restart the session."}),
    ),
    "text_editor_": (
        "View, create and edit text files.",
        _schema(
            ["command", "path"],
            command={"type": "string", "enum": ["view", "create", "str_replace", "insert"]},
            path=_text("Absolute path of a file or directory."),
            file_text=_text("Content for create."),
            old_str=_text("Text to replace, which must be unique."),
            new_str=_text("Replacement, or the text to insert."),
            insert_line={"type": "integer", "description": "Line after which to insert."},
            insert_text=_text("Text to insert."),
            view_range={"type": "array", "items": {"type": "integer"}, "description": "First and last line to view."},
        ),
    ),
    "memory_": (
        "View and edit files in the memory directory.",
        _schema(
            ["command"],
            command={"type": "string", "enum": ["view", "create", "str_replace", "insert", "delete", "rename"]},
            path=_text("Path of a file or directory below /memories."),
            file_text=_text("Content for create."),
            old_str=_text("Text to replace, which must be unique."),
            new_str=_text("Replacement."),
            insert_line={"type": "integer", "description": "Line after which to insert."},
            insert_text=_text("Text to insert."),
            old_path=_text("Path to rename."),
            new_path=_text("Its new path."),
            view_range={"type": "array", "items": {"type": "integer"}, "description": "First and last line to view."},
        ),
    ),
}
#: ``allowed_callers`` that says what is so anyway.
_DIRECT: Final = b'["direct"]'
#: The member that a wrapped schema or a wrapped custom tool has.
WRAPPED: Final = "input"


# ---------------------------------------------------------------------------------------------------- Messages -> chat


class _ChangedTool(msgspec.Struct):
    """``tool`` of a tool_addition or tool_removal. ``type``: tool_reference, tool_definition, or one of MCP."""

    type: str
    name: str | None = None
    definition: Raw = ABSENT


@dataclass(slots=True)
class ToolChanges:
    """What a conversation does to the tools of its request."""

    referenced: set[str] = field(default_factory=set)  # deferred tools that were brought into play
    removed: set[str] = field(default_factory=set)
    defined: dict[str, tuple[str, messages.Tool]] = field(default_factory=dict)  # by name: where it stands, and what it is

    def change(self, block: messages.ToolAddition | messages.ToolRemoval, path: str, losses: Losses) -> None:
        """Add or remove the tool that ``block`` at ``path`` names. ``BadRequest`` for what is neither a reference nor a definition."""
        path = f"{path}.tool"
        try:
            tool = decode_lenient(_ChangedTool, bytes(block.tool))
        except msgspec.ValidationError as error:
            raise refuse(path, f"expected a reference to a tool: {error}") from None
        if tool.type == "tool_definition" and given(tool.definition):
            self._define(tool.definition, f"{path}.definition", losses)
        elif tool.type != "tool_reference" or tool.name is None:
            losses.drop(path, tool.type, "only tools that the client runs can come and go with this upstream")
        elif isinstance(block, messages.ToolAddition):
            self.referenced.add(tool.name)
            self.removed.discard(tool.name)
        else:
            self.removed.add(tool.name)

    def compacted(self, changes: Raw, path: str, losses: Losses) -> None:
        """Take over the changes that a compaction block sums up."""
        if not given(changes):
            return
        try:
            blocks = decode_lenient(list[messages.ToolAddition | messages.ToolRemoval], bytes(changes))
        except msgspec.ValidationError as error:
            raise refuse(path, f"expected tool_addition and tool_removal blocks: {error}") from None
        for index, block in enumerate(blocks):
            self.change(block, f"{path}[{index}]", losses)

    def _define(self, definition: Raw, path: str, losses: Losses) -> None:
        try:
            tool, unknown = read(messages.Tool, bytes(definition))
        except BadRequest as error:
            raise refuse(f"{path}.{error.param}", error.message) from None
        for place in unknown:
            losses.drop(f"{path}.{place}", place, "unknown to this proxy, so it cannot be translated")
        if tool.name is None:
            raise refuse(f"{path}.name", "a tool needs a name")
        self.defined[tool.name] = path, tool
        self.removed.discard(tool.name)


def tools_to_chat(request: messages.Request, changes: ToolChanges, names: ToolNames, dialect: Dialect, losses: Losses) -> list[chat.Tool]:
    """The tools a chat upstream is told of, in the client's order, with what the conversation changed about them.

    Tools that only Anthropic can run are left out. Deferred tools are told of once they are referenced, called or forced, unless the search
    for them is one that only Anthropic can run: then all of them are, for nothing else would bring them into play.
    """
    tools = [(f"tools[{index}]", tool) for index, tool in enumerate(request.tools or ()) if tool.name not in changes.defined]
    tools.extend(changes.defined.values())
    everything = any((tool.type or "").startswith("tool_search_tool") for _, tool in tools)
    wanted = changes.referenced if request.tool_choice is None else {*changes.referenced, request.tool_choice.name}
    told = []
    for path, tool in tools:
        hidden = tool.defer_loading and not everything and tool.name not in wanted and tool.name not in changes.defined
        if hidden or tool.name in changes.removed:
            continue
        function = _function(tool, path, names, dialect, losses)
        if function is not None:
            told.append(chat.Tool("function", function, cache_control=kept_mark(tool.cache_control, dialect)))
    return told


def kept_mark(mark: messages.CacheControl | None, dialect: Dialect) -> messages.CacheControl | None:
    """A cache breakpoint as far as the upstream knows it. ``scope`` means something to Anthropic alone."""
    if mark is None or dialect.cache_control is CacheMarks.STRIP:
        return None
    return messages.CacheControl(mark.type, mark.ttl if dialect.cache_control is CacheMarks.KEEP else None)


def _function(tool: messages.Tool, path: str, names: ToolNames, dialect: Dialect, losses: Losses) -> chat.Function | None:
    known = _client_run(tool.type)
    if tool.type in (None, "custom") or (given(tool.input_schema) and known is None):
        if tool.name is None:
            raise refuse(f"{path}.name", "a tool needs a name")
        return _custom_function(tool, tool.name, path, names, dialect, losses)
    if known is None or tool.name is None:
        losses.drop(path, tool.name or tool.type or "tool", f'only Anthropic can run a tool of type "{tool.type}"')
        return None
    return chat.Function(names.there(tool.name), tool.description or known[0], known[1])


def _custom_function(tool: messages.Tool, name: str, path: str, names: ToolNames, dialect: Dialect, losses: Losses) -> chat.Function:
    if asks(tool.input_examples):
        losses.drop(f"{path}.input_examples", "input_examples", "chat upstreams take no examples of a tool's input")
    if asks(tool.allowed_callers) and compact(tool.allowed_callers) != _DIRECT:
        losses.drop(
            f"{path}.allowed_callers", "allowed_callers", "a chat upstream runs no code that could call the tool: the model may call it"
        )
    schema = object_schema(tool.input_schema, f"{path}.input_schema")
    if dialect.schema_keywords_refused:
        schema = without_keywords(schema, dialect.schema_keywords_refused, f"{path}.input_schema", losses)
    strict = tool.strict
    if strict and not keeps_strict_rules(schema):
        losses.drop(f"{path}.strict", "strict", "strict mode needs a schema that requires every property and allows no other")
        strict = None
    return chat.Function(names.there(name), tool.description, schema, strict)


def _client_run(kind: str | None) -> tuple[str, Raw] | None:
    return next((known for start, known in CLIENT_RUN.items() if kind.startswith(start)), None) if kind else None


def choice_to_chat(
    request: messages.Request, told: list[chat.Tool], names: ToolNames, dialect: Dialect, losses: Losses
) -> str | chat.NamedToolChoice | None:
    """``tool_choice`` in chat's words. A choice that forces a tool the upstream was not told of is a ``BadRequest``."""
    choice = request.tool_choice
    if choice is None:
        return None
    if choice.type not in ("auto", "any", "tool", "none"):
        raise refuse("tool_choice.type", f'unknown type "{choice.type}"; expected auto, any, tool or none')
    forced = chat.NamedFunction(_forced(choice, told, names)) if choice.type == "tool" else None
    if not told:
        if choice.type == "any":
            raise refuse("tool_choice", "a tool is forced, but none of the tools can be run with this upstream")
        return None
    if choice.type in ("auto", "none"):
        return choice.type
    if not dialect.forced_tool:
        losses.drop("tool_choice", "tool_choice", f"this upstream ({dialect.name}) cannot be forced to call a tool")
        return "auto"
    return "required" if forced is None else chat.NamedToolChoice("function", forced)


def _forced(choice: messages.ToolChoice, told: list[chat.Tool], names: ToolNames) -> str:
    """The upstream's name of the tool that must be called."""
    if choice.name is None:
        raise refuse("tool_choice.name", "this field is required with type tool")
    name = names.there(choice.name)
    if not any(tool.function is not None and tool.function.name == name for tool in told):
        raise refuse("tool_choice.name", f'the tool "{choice.name}" cannot be forced: the upstream does not know it')
    return name


# ---------------------------------------------------------------------------------------------------- what answers need


def unwrapped(arguments: str) -> str:
    """The text inside the wrapped input of a custom tool; the whole of it when it is not wrapped."""
    inner = members(arguments.encode()).get(WRAPPED) if is_object(arguments) else None
    if inner is None or not bytes(inner).startswith(b'"'):
        return arguments
    text: str = decoder(str).decode(bytes(inner))
    return text
