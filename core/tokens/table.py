"""What a request costs, item by item, for any way to count a text. The table itself stands in ``core.tokens``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

import msgspec

from core.errors import BadRequest
from core.wire.codec import decode_lenient, encode, plain

#: Fixed costs of the table: the delimiters a chat template puts around a thing, rounded up.
_MESSAGE, _NAME, _SYSTEM, _TOOL, _CALL, _RESULT = 4, 2, 10, 20, 20, 4

#: What an image costs when its price is not to depend on anything: the order of a medium-sized one at today's vision models.
_FLAT_IMAGE: Final = 1000

#: Tokens per 1024 characters of a PDF's base64, and the least a PDF costs. Anthropic (pdf-support page, read 2026-11-20) reads each
#: page as text (1 500-3 000 tokens) and as a picture (about 1 500). A page of text takes some 40 kB of base64, a scan 400: 100 or 10
#: tokens per kilobyte; 25 lies between. The least is one page, which is also what a document costs that is only referred to.
_PDF_PER_KB: Final = 25
_PDF_LEAST: Final = 3_000

#: Members that hold ciphertext or proofs: the model never sees them.
_OPAQUE: Final = frozenset({"signature", "encrypted_content", "encrypted_index", "encrypted_stdout"})
#: Members beside which ``data`` is base64.
_MEDIA: Final = frozenset({"media_type", "format"})

#: Roles whose messages are a system prompt, and a tool result, of the chat wire.
_SYSTEM_ROLES: Final = ("system", "developer")
_RESULT_ROLES: Final = ("tool", "function")

Tokens: TypeAlias = Callable[[str], int]
Json: TypeAlias = dict[str, object]


@dataclass(frozen=True, slots=True)
class Images:
    """What a picture costs, in tokens."""

    base: int = 85  # the base price of an image in OpenAI's vision models, whose conventions the table follows
    per_character: float = 0.25  # of its description: what text costs
    dynamic: bool = True  # off: every picture costs 1000

    def tokens(self, description: str = "") -> int:
        """The price of one picture."""
        return self.base + math.ceil(self.per_character * len(description)) if self.dynamic else _FLAT_IMAGE


class Table:
    """The table for one way to count texts. ``tokens``: of a text; it is not asked about blank ones."""

    __slots__ = ("_images", "_tokens")

    def __init__(self, tokens: Tokens, images: Images) -> None:
        self._tokens = tokens
        self._images = images

    def payload(self, body: bytes) -> int:
        """Tokens of a request. Raises ``BadRequest`` (``invalid_json``) for what is no JSON object."""
        try:
            document = decode_lenient(Json, body)
            total = self._system(document.get("system")) + self._text(document.get("text"))
            total += sum(map(self._tool, _listed(document.get("tools"))))
            total += sum(map(self._function, _listed(document.get("functions"))))
            total += sum(map(self._message, _listed(document.get("messages"))))
        except msgspec.DecodeError as error:
            raise BadRequest(f"the body is not a JSON object: {error}", code="invalid_json") from None
        except RecursionError:
            raise BadRequest("the body is nested too deeply", code="invalid_json") from None
        return max(total, 1) if document else 0

    # ------------------------------------------------------------------ the parts of a request

    def _system(self, value: object) -> int:
        return self._content(value) + _SYSTEM if value else 0

    def _tool(self, tool: object) -> int:
        # A tool that the upstream runs itself has no schema; what the model is told of it is not known, so its declaration counts.
        if not isinstance(tool, dict):
            return self._unknown(tool) + _TOOL
        if "input_schema" in tool:
            return self._definition(tool, "input_schema")
        if isinstance(function := tool.get("function"), dict):
            return self._function(function)
        if isinstance(custom := tool.get("custom"), dict):
            return self._definition(custom, "format")
        return self._unknown(tool) + _TOOL

    def _function(self, function: object) -> int:
        return self._definition(function, "parameters") if isinstance(function, dict) else self._unknown(function) + _TOOL

    def _definition(self, tool: Json, schema: str) -> int:
        name, description = tool.get("name"), tool.get("description")
        described = f"{name}{description or ''}" if isinstance(name, str) else f"{description or ''}"
        return self._tokens(described + (_compact(tool[schema]) if schema in tool else "")) + _TOOL

    def _message(self, message: object) -> int:
        if not isinstance(message, dict):
            return self._tokens("user") + _MESSAGE + self._content(message)
        if "content" not in message and "message" in message:
            return self._message(message["message"])
        if "role" not in message and ("type" in message or "content" not in message):
            return self._tokens("user") + _MESSAGE + self._block(message)
        role, name = message.get("role"), message.get("name")
        total = self._content(message.get("content")) + self._chat_members(message)
        if role in _SYSTEM_ROLES:  # so that a conversation costs the same on both wires
            total += _SYSTEM
        else:
            total += self._tokens(role if isinstance(role, str) else "user") + _MESSAGE
        if role in _RESULT_ROLES:
            total += _RESULT
        return total + self._tokens(name) + _NAME if isinstance(name, str) else total

    def _chat_members(self, message: Json) -> int:
        """What the chat wire puts beside the content."""
        total = self._text(message.get("reasoning_content") or message.get("reasoning")) + self._text(message.get("refusal"))
        total += sum(map(self._chat_call, _listed(message.get("tool_calls"))))
        return total + sum(map(self._called, _listed(message.get("function_call"))))

    def _chat_call(self, call: object) -> int:
        if isinstance(call, dict):
            for kind in ("function", "custom"):
                if isinstance(called := call.get(kind), dict):
                    return self._called(called)
        return self._unknown(call) + _CALL

    def _called(self, called: object) -> int:
        if not isinstance(called, dict):
            return self._unknown(called) + _CALL
        arguments = called.get("arguments", called.get("input"))
        text = _compacted(arguments) if isinstance(arguments, str) else _compact(arguments or {})
        return self._text(called.get("name")) + self._tokens(text) + _CALL

    # ------------------------------------------------------------------ content

    def _content(self, content: object) -> int:
        if isinstance(content, str):
            return self._text(content)
        return sum(map(self._block, _listed(content)))

    def _text(self, text: object) -> int:
        return self._tokens(text) if isinstance(text, str) and text and not text.isspace() else 0

    def _block(self, block: object) -> int:
        if isinstance(block, str):
            return self._text(block)
        if not isinstance(block, dict):
            return self._unknown(block)
        kind = block.get("type")
        counted = self._BLOCKS.get(kind) if isinstance(kind, str) else None
        if counted is not None:
            return counted(self, block)
        return self._text(block["text"]) if block.keys() == {"text"} else self._unknown(block)

    def _text_block(self, block: Json) -> int:
        return self._text(block.get("text"))

    def _thinking(self, block: Json) -> int:
        return self._text(block.get("thinking"))

    def _refusal(self, block: Json) -> int:
        return self._text(block.get("refusal"))

    def _nothing(self, block: Json) -> int:
        return 0

    def _image(self, block: Json) -> int:
        description = block.get("description")
        return self._images.tokens(description if isinstance(description, str) else "")

    def _call(self, block: Json) -> int:
        return self._text(block.get("name")) + self._tokens(_compact(block.get("input", {}))) + _CALL

    def _result(self, block: Json) -> int:
        return self._content(block.get("content")) + _RESULT

    def _search_result(self, block: Json) -> int:
        return self._text(block.get("title")) + self._text(block.get("source")) + self._content(block.get("content"))

    def _document(self, block: Json) -> int:
        labels = self._text(block.get("title")) + self._text(block.get("context"))
        source = block.get("source")
        if not isinstance(source, dict):
            return labels + self._content(source)
        kind, data = source.get("type"), source.get("data")
        if kind == "text":
            return labels + self._text(data)
        if kind == "content":
            return labels + self._content(source.get("content"))
        return labels + _pdf(data)

    def _file(self, block: Json) -> int:
        file = block.get("file")
        return self._text(file.get("filename")) + _pdf(file.get("file_data")) if isinstance(file, dict) else self._unknown(block)

    def _unknown(self, value: object) -> int:
        return self._tokens(_compact(_visible(value)))

    #: How each type of block is counted; what is not here is unknown. Input of calls to server tools is written by the model as well.
    _BLOCKS: ClassVar[dict[str, Callable[[Table, Json], int]]] = {
        "text": _text_block,
        "input_text": _text_block,
        "output_text": _text_block,
        "refusal": _refusal,
        "image": _image,
        "image_url": _image,
        "input_image": _image,
        "document": _document,
        "file": _file,
        "search_result": _search_result,
        "thinking": _thinking,
        "redacted_thinking": _nothing,
        "tool_use": _call,
        "server_tool_use": _call,
        "mcp_tool_use": _call,
        "tool_result": _result,
        "mcp_tool_result": _result,
    }


def _listed(value: object) -> list[object]:
    """A list as it is; one thing where a list belongs is a list of one; null and empty text are nothing."""
    if isinstance(value, list):
        return value
    return [] if value is None or value == "" else [value]


def _pdf(data: object) -> int:
    return pdf_tokens(len(data) if isinstance(data, str) else 0)


def pdf_tokens(characters: int) -> int:
    """What a PDF of so many characters of base64 costs."""
    return max(_PDF_LEAST, _PDF_PER_KB * (characters // 1024))


def _visible(value: object) -> object:
    """``value`` without base64, signatures and ciphertext."""
    if isinstance(value, str):
        return "" if value.startswith("data:") and ";base64," in value[:256] else value
    if isinstance(value, list):
        return [_visible(item) for item in value]
    if not isinstance(value, dict):
        return value
    hidden = _OPAQUE | {"data"} if value.get("type") == "base64" or _MEDIA & value.keys() else _OPAQUE
    return {name: _visible(member) for name, member in value.items() if name not in hidden}


def _compact(value: object) -> str:
    return encode(value).decode()


def _compacted(text: str) -> str:
    """JSON text without its white space; text that is no JSON as it is."""
    try:
        return _compact(plain(text.encode("utf-8", "replace")))
    except msgspec.DecodeError:
        return text
