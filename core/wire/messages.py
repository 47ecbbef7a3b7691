"""Anthropic Messages: requests, answers, stream events, errors, models, count_tokens.

Field names and values as of anthropic-python 2.11 (read 2026-11-20), stable and beta. A request is declared closed, so that whatever
is not listed here is noticed; an answer is open. ``input`` of a tool call and schemas stay ``Raw``: they are carried, not understood.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Raw, field

from core.wire.codec import ABSENT, Closed, Open

# ---------------------------------------------------------------------------------------------------- content blocks


class CacheControl(Closed):
    """A cache breakpoint: everything up to this block may be cached. ``ttl``: ``5m`` or ``1h``."""

    type: str
    ttl: str | None = None
    scope: Raw = ABSENT  # sent by Claude Code to api.anthropic.com only; other endpoints refuse it


class Text(Closed, tag="text"):
    text: str
    cache_control: CacheControl | None = None
    citations: Raw = ABSENT


class Source(Closed):
    """Where the bytes of an image or document are. ``type``: base64, url, file, text or content."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: str | list[Text | Picture] | None = None


class Image(Closed, tag="image"):
    source: Source
    cache_control: CacheControl | None = None
    transformations: Raw = ABSENT


class ImageUrl(Closed):
    url: str
    detail: str | None = None  # auto, low, high, original


class ImageUrlPart(Closed, tag="image_url"):
    """A picture in the words of chat: no part of this protocol, and sent by clients that mix the two."""

    image_url: ImageUrl | str
    cache_control: CacheControl | None = None


class InputImage(Closed, tag="input_image"):
    """A picture in the words of OpenAI's Responses API: no part of either protocol, and sent on both."""

    image_url: ImageUrl | str | None = None
    file_id: str | None = None
    detail: str | None = None
    cache_control: CacheControl | None = None


class Document(Closed, tag="document"):
    source: Source
    title: str | None = None
    context: str | None = None
    citations: Raw = ABSENT
    cache_control: CacheControl | None = None


class SearchResult(Closed, tag="search_result"):
    source: str
    title: str
    content: list[Text]
    citations: Raw = ABSENT
    cache_control: CacheControl | None = None


class Thinking(Closed, tag="thinking"):
    """The model's reasoning. A signature is the vendor's proof that it is unchanged: kept or dropped, never made up.

    The wire wants the member: reasoning without a signature is written with an empty one.
    """

    thinking: str
    signature: str | None = None
    cache_control: CacheControl | None = None


class RedactedThinking(Closed, tag="redacted_thinking"):
    data: str


class ToolUse(Closed, tag="tool_use"):
    id: str
    name: str
    input: Raw
    cache_control: CacheControl | None = None
    caller: Raw = ABSENT
    toolset_name: str | None = None


class ToolReference(Closed, tag="tool_reference"):
    """Names a deferred tool that the client's tool search found: the model may call it from now on."""

    tool_name: str
    cache_control: CacheControl | None = None


class BrowserState(Closed, tag="browser_state"):
    tabs: Raw
    state_changes: Raw = ABSENT
    cache_control: CacheControl | None = None


#: A picture, in whosever words.
Picture: TypeAlias = Image | ImageUrlPart | InputImage
ResultPart: TypeAlias = Text | Picture | Document | SearchResult | ToolReference | BrowserState


class ToolResult(Closed, tag="tool_result"):
    tool_use_id: str
    content: str | list[ResultPart] | None = None
    is_error: bool | None = None
    cache_control: CacheControl | None = None
    toolset_name: str | None = None


class ServerToolUse(Closed, tag="server_tool_use"):
    """A call that the upstream itself ran. It can be shown, not repeated."""

    id: str
    name: str
    input: Raw = ABSENT
    cache_control: CacheControl | None = None
    caller: Raw = ABSENT


class McpToolUse(Closed, tag="mcp_tool_use"):
    id: str
    name: str
    input: Raw = ABSENT
    server_name: str | None = None
    cache_control: CacheControl | None = None


class ServerResult(Closed):
    """What a server tool gave back; its shape is the vendor's business and stays raw."""

    tool_use_id: str
    content: Raw = ABSENT
    is_error: bool | None = None
    cache_control: CacheControl | None = None
    caller: Raw = ABSENT


class WebSearchToolResult(ServerResult, tag="web_search_tool_result"):
    pass


class WebFetchToolResult(ServerResult, tag="web_fetch_tool_result"):
    pass


class CodeExecutionToolResult(ServerResult, tag="code_execution_tool_result"):
    pass


class BashCodeExecutionToolResult(ServerResult, tag="bash_code_execution_tool_result"):
    pass


class TextEditorCodeExecutionToolResult(ServerResult, tag="text_editor_code_execution_tool_result"):
    pass


class ToolSearchToolResult(ServerResult, tag="tool_search_tool_result"):
    pass


class AdvisorToolResult(ServerResult, tag="advisor_tool_result"):
    pass


class McpToolResult(ServerResult, tag="mcp_tool_result"):
    pass


class Compaction(Closed, tag="compaction"):
    """A summary that stands for earlier turns."""

    content: str | None = None
    encrypted_content: str | None = None
    signature: str | None = None
    tool_changes: Raw = ABSENT
    cache_control: CacheControl | None = None


class Fallback(Closed, tag="fallback"):
    origin: Raw = field(default=ABSENT, name="from")
    to: Raw = ABSENT
    trigger: Raw = ABSENT


class McpToolListing(Closed, tag="mcp_tool_listing"):
    mcp_server_name: str
    tools: Raw = ABSENT


class ContainerUpload(Closed, tag="container_upload"):
    file_id: str
    cache_control: CacheControl | None = None


class ToolAddition(Closed, tag="tool_addition"):
    tool: Raw
    cache_control: CacheControl | None = None


class ToolRemoval(Closed, tag="tool_removal"):
    tool: Raw
    cache_control: CacheControl | None = None


Block: TypeAlias = (
    Text | Picture | Document | SearchResult | Thinking | RedactedThinking | ToolUse | ToolResult | ToolReference | BrowserState
    | ServerToolUse | McpToolUse | WebSearchToolResult | WebFetchToolResult | CodeExecutionToolResult | BashCodeExecutionToolResult
    | TextEditorCodeExecutionToolResult | ToolSearchToolResult | AdvisorToolResult | McpToolResult | Compaction | Fallback
    | McpToolListing | ContainerUpload | ToolAddition | ToolRemoval
)  # fmt: skip

# ---------------------------------------------------------------------------------------------------- the request


class SystemOutputConfig(Closed):
    effort: str | None = None


class Turn(Closed):
    """One entry of ``messages``. ``role``: user, assistant, or system (instructions given in mid-conversation)."""

    role: str
    content: str | list[Block] | None
    clear_at: str | None = None  # system turns, beta: next_user_message or never
    output_config: SystemOutputConfig | None = None  # system turns, beta


class Tool(Closed):
    """A tool definition. ``type`` absent or ``custom``: the client runs it; anything else names a tool of the vendor."""

    name: str | None = None
    type: str | None = None
    description: str | None = None
    input_schema: Raw = ABSENT
    strict: bool | None = None
    cache_control: CacheControl | None = None
    defer_loading: bool | None = None
    eager_input_streaming: bool | None = None
    input_examples: Raw = ABSENT
    allowed_callers: Raw = ABSENT
    # Settings of the vendors' own tools (web_search_*, web_fetch_*, computer_*, mcp_toolset, ...).
    max_uses: int | None = None
    allowed_domains: Raw = ABSENT
    blocked_domains: Raw = ABSENT
    user_location: Raw = ABSENT
    citations: Raw = ABSENT
    max_content_tokens: int | None = None
    max_characters: int | None = None
    display_width_px: int | None = None
    display_height_px: int | None = None
    display_number: int | None = None
    enable_zoom: bool | None = None
    mcp_server_name: str | None = None
    configs: Raw = ABSENT
    default_config: Raw = ABSENT
    tools: Raw = ABSENT


class ToolChoice(Closed):
    """``type``: auto, any, tool or none."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None
    toolset_name: str | None = None


class ThinkingConfig(Closed):
    """``type``: enabled (with ``budget_tokens``), disabled, adaptive, between_tools."""

    type: str
    budget_tokens: int | None = None
    display: str | None = None  # summarized, omitted; beta: updates


class OutputFormat(Closed):
    type: str
    schema: Raw = ABSENT


class OutputConfig(Closed):
    effort: str | None = None  # low, medium, high, xhigh, max
    format: OutputFormat | None = None
    task_budget: Raw = ABSENT


class Metadata(Closed):
    user_id: str | None = None


class Request(Closed, kw_only=True):
    """The body of ``POST /v1/messages``. ``max_tokens`` is required by the wire; None means the client left it out."""

    model: str | None = None
    max_tokens: int | None = None
    system: str | list[Text] | None = None
    messages: list[Turn]
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: ThinkingConfig | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None  # the name of output_config.format before 2026
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    temperature: float | None = None  # removed from the SDKs with version 2026-10-21; older clients send it
    top_p: float | None = None
    top_k: int | None = None
    metadata: Metadata | None = None
    cache_control: CacheControl | None = None
    service_tier: str | None = None
    speed: str | None = None
    thread: Raw = ABSENT
    context_management: Raw = ABSENT
    compaction: Raw = ABSENT
    container: Raw = ABSENT
    mcp_servers: Raw = ABSENT
    skills: Raw = ABSENT
    diagnostics: Raw = ABSENT
    fallbacks: Raw = ABSENT
    fallback_credit_token: Raw = ABSENT
    billing_policy: Raw = ABSENT
    inference_geo: Raw = ABSENT
    user_profile_id: Raw = ABSENT
    workspace_id: Raw = ABSENT
    betas: Raw = ABSENT
    attachments: Raw = ABSENT  # some editors


# ---------------------------------------------------------------------------------------------------- answers

#: A number as vendors send it (integer, float, numeric string); ``translate.usage`` makes integers of them.
Number: TypeAlias = int | float | str | bool | None


class OutputTokensDetails(Open):
    thinking_tokens: Number = None


class Usage(Open):
    """``input_tokens`` excludes what was read from and written to the prompt cache; the three are disjoint."""

    input_tokens: Number = None
    output_tokens: Number = None
    cache_read_input_tokens: Number = None
    cache_creation_input_tokens: Number = None
    output_tokens_details: OutputTokensDetails | None = None


class AnswerBlock(Open):
    """Any content block of an answer. Its ``type`` may be one that is not known yet."""

    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = ABSENT
    citations: Raw = ABSENT


class StopDetails(Open):
    type: str | None = None
    category: str | None = None
    explanation: str | None = None


class Answer(Open):
    """The body of a whole answer, or ``message`` of a ``message_start``."""

    id: str | None = None
    type: str | None = None
    role: str | None = None
    model: str | None = None
    content: list[AnswerBlock] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None
    usage: Raw = ABSENT  # a ``Usage``; read apart, so that an odd one costs the numbers and not the answer
    error: Raw = ABSENT


class Delta(Open):
    """``delta`` of a ``content_block_delta`` or a ``message_delta``."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    citation: Raw = ABSENT
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None


class Event(Open):
    """One stream event of any type; which members it has follows from ``type``."""

    type: str = ""
    index: int | None = None
    message: Answer | None = None
    content_block: AnswerBlock | None = None
    delta: Delta | None = None
    usage: Raw = ABSENT  # a ``Usage``
    error: Raw = ABSENT
