"""OpenAI Chat Completions: requests, answers, stream chunks, errors, models.

Field names and values as of openai-python 3.52 (read 2026-11-20) and what GLM, DeepSeek, vLLM, SGLang, OpenRouter, llama.cpp and Ollama
add to them. A request is declared closed, so that whatever is not listed here is noticed; an answer is open.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec import Raw, field

from core.wire import messages
from core.wire.codec import ABSENT, Closed, Open
from core.wire.messages import CacheControl, Number

# ---------------------------------------------------------------------------------------------------- content parts


class CacheBreakpoint(Closed):
    """Explicit prompt caching (GPT-5.6 and later). ``mode``: explicit; ``ttl``: 30m or 12h."""

    mode: str | None = None
    ttl: str | None = None


ImageUrl: TypeAlias = messages.ImageUrl


class File(Closed):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class TextPart(Closed, tag="text"):
    text: str
    cache_control: CacheControl | None = None
    prompt_cache_breakpoint: CacheBreakpoint | None = None


class ImagePart(Closed, tag="image_url"):
    image_url: ImageUrl | str  # the bare URL is no part of the protocol; some clients send it
    cache_control: CacheControl | None = None
    prompt_cache_breakpoint: CacheBreakpoint | None = None


class ImageSource(Closed):
    """``source`` of a picture in the words of Messages. ``type``: base64, url, file."""

    type: str | None = None
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None


class AnyImagePart(Closed, tag="image"):
    """A picture in the words of Messages (``source``), of MCP (``data`` and ``mimeType``) or of an SDK's own: no part of the protocol."""

    source: ImageSource | None = None
    image_url: ImageUrl | str | None = None
    image: str | None = None
    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    mime_type: str | None = None
    mime_type_of_mcp: str | None = field(default=None, name="mimeType")
    detail: str | None = None
    cache_control: CacheControl | None = None


class FilePart(Closed, tag="file"):
    file: File
    cache_control: CacheControl | None = None
    prompt_cache_breakpoint: CacheBreakpoint | None = None


class AudioPart(Closed, tag="input_audio"):
    input_audio: Raw
    prompt_cache_breakpoint: CacheBreakpoint | None = None


class RefusalPart(Closed, tag="refusal"):
    refusal: str


class ToolReferencePart(Closed, tag="tool_reference"):
    """GLM chat templates of vLLM and SGLang take deferred tools by name."""

    name: str


class ThinkingPart(Closed, tag="thinking"):
    """Reasoning as a content part (Mistral, some relays)."""

    thinking: str | list[TextPart]
    signature: str | None = None


PlainPart: TypeAlias = (
    TextPart
    | ImagePart
    | messages.InputImage
    | AnyImagePart
    | FilePart
    | AudioPart
    | RefusalPart
    | ToolReferencePart
    | ThinkingPart
)  # fmt: skip


class ToolResultPart(Closed, tag="tool_result"):
    """A tool's result in the words of Messages: no part of the protocol."""

    tool_use_id: str | None = None
    content: str | list[PlainPart] | None = None
    is_error: bool | None = None
    cache_control: CacheControl | None = None


Part: TypeAlias = PlainPart | ToolResultPart
Content: TypeAlias = str | list[Part] | None

# ---------------------------------------------------------------------------------------------------- turns


class FunctionCall(Closed):
    name: str
    arguments: str | dict[str, Raw] | None = None  # an object is no part of the protocol; what echoes Ollama's answers sends one


class CustomCall(Closed):
    name: str
    input: str = ""


class ToolCall(Closed):
    """``type``: function (the default) or custom. ``index`` is tolerated: relays copy it out of a stream."""

    id: str | None = None
    type: str | None = None
    function: FunctionCall | None = None
    custom: CustomCall | None = None
    index: int | None = None


class ReasoningDetail(Closed):
    """One item of ``reasoning_details`` (OpenRouter). ``type``: reasoning.text, reasoning.summary, reasoning.encrypted."""

    type: str
    text: str | None = None
    summary: str | None = None
    data: str | None = None
    signature: str | None = None
    id: str | None = None
    format: str | None = None
    index: int | None = None


class Turn(Closed):
    """One entry of ``messages``. ``role``: system, developer, user, assistant, tool, function."""

    role: str
    content: Content = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    function_call: FunctionCall | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[ReasoningDetail] | None = None
    audio: Raw = ABSENT
    annotations: Raw = ABSENT
    cache_control: CacheControl | None = None
    prefix: bool | None = None  # DeepSeek: this assistant turn is to be continued


# ---------------------------------------------------------------------------------------------------- tools


class Function(Closed):
    name: str
    description: str | None = None
    parameters: Raw = ABSENT
    strict: bool | None = None


class GrammarDefinition(Closed):
    definition: str
    syntax: str | None = None


class CustomFormat(Closed):
    type: str
    grammar: GrammarDefinition | None = None


class Custom(Closed):
    name: str
    description: str | None = None
    format: CustomFormat | None = None


class Tool(Closed):
    """``type``: function or custom; vendors add their own (GLM: web_search, retrieval)."""

    type: str | None = None
    function: Function | None = None
    custom: Custom | None = None
    cache_control: CacheControl | None = None
    web_search: Raw = ABSENT
    retrieval: Raw = ABSENT


class NamedFunction(Closed):
    name: str


class AllowedTools(Closed):
    mode: str
    tools: list[Tool]


class NamedToolChoice(Closed):
    type: str
    function: NamedFunction | None = None
    custom: NamedFunction | None = None
    allowed_tools: AllowedTools | None = None


# ---------------------------------------------------------------------------------------------------- the request


class JsonSchema(Closed):
    name: str
    schema: Raw = ABSENT
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Closed):
    """``type``: text, json_object, json_schema."""

    type: str
    json_schema: JsonSchema | None = None


class StreamOptions(Closed):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None
    continuous_usage_stats: bool | None = None  # vLLM, SGLang


class ThinkingToggle(Closed):
    """``thinking`` of GLM and DeepSeek. ``type``: enabled, disabled, adaptive, auto."""

    type: str
    clear_thinking: bool | None = None  # GLM; false: keep the reasoning of earlier turns
    budget_tokens: int | None = None


class TemplateArguments(Closed):
    enable_thinking: bool | None = None
    thinking: bool | None = None
    clear_thinking: bool | None = None
    reasoning_effort: str | None = None


class ReasoningOptions(Closed):
    """``reasoning`` at the top level (OpenRouter)."""

    effort: str | None = None
    max_tokens: int | None = None
    exclude: bool | None = None
    enabled: bool | None = None


class Request(Closed, kw_only=True):
    """The body of ``POST /v1/chat/completions``."""

    model: str | None = None
    messages: list[Turn]
    tools: list[Tool] | None = None
    tool_choice: str | NamedToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Function] | None = None
    function_call: str | NamedFunction | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: Raw = ABSENT
    repetition_penalty: Raw = ABSENT
    reasoning_effort: str | None = None
    thinking: ThinkingToggle | None = None
    reasoning: ReasoningOptions | None = None
    chat_template_kwargs: TemplateArguments | None = None
    enable_thinking: bool | None = None
    response_format: ResponseFormat | None = None
    user: str | None = None
    safety_identifier: str | None = None
    user_id: str | None = None  # GLM
    service_tier: str | None = None
    n: int | None = None
    web_search_options: Raw = ABSENT
    audio: Raw = ABSENT
    modalities: list[str] | None = None
    frequency_penalty: Raw = ABSENT
    presence_penalty: Raw = ABSENT
    logit_bias: Raw = ABSENT
    logprobs: bool | None = None
    top_logprobs: Raw = ABSENT
    metadata: Raw = ABSENT
    moderation: Raw = ABSENT
    prediction: Raw = ABSENT
    prompt_cache_key: str | None = None
    prompt_cache_options: Raw = ABSENT
    prompt_cache_retention: Raw = ABSENT
    seed: Raw = ABSENT
    store: Raw = ABSENT
    verbosity: str | None = None
    tool_stream: bool | None = None  # GLM: stream the arguments of calls
    do_sample: Raw = ABSENT  # GLM
    request_id: Raw = ABSENT  # GLM
    continue_final_message: bool | None = None  # vLLM
    add_generation_prompt: bool | None = None  # vLLM
    attachments: Raw = ABSENT  # some editors


# ---------------------------------------------------------------------------------------------------- answers


class PromptTokensDetails(Open):
    cached_tokens: Number = None
    cache_write_tokens: Number = None
    cache_creation_tokens: Number = None
    cache_creation_input_tokens: Number = None


class CompletionTokensDetails(Open):
    reasoning_tokens: Number = None


class Usage(Open):
    """``prompt_tokens`` includes what was read from and written to the prompt cache."""

    prompt_tokens: Number = None
    completion_tokens: Number = None
    total_tokens: Number = None
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None
    prompt_cache_hit_tokens: Number = None  # DeepSeek
    cached_tokens: Number = None  # Kimi
    cache_read_input_tokens: Number = None  # relays in front of Anthropic
    cache_creation_input_tokens: Number = None


class CallFunction(Open):
    name: str | None = None
    arguments: object = None  # a string; some vendors send an object


class CallCustom(Open):
    name: str | None = None
    input: str | None = None


class Call(Open):
    """A tool call of an answer, or a fragment of one in a stream."""

    index: Number = None
    id: str | None = None
    type: str | None = None
    function: CallFunction | None = None
    custom: CallCustom | None = None


class AnswerDetail(Open):
    type: str | None = None
    text: str | None = None
    summary: str | None = None
    data: str | None = None
    signature: str | None = None


class UrlCitation(Open):
    url: str | None = None
    title: str | None = None


class Annotation(Open):
    type: str | None = None
    url_citation: UrlCitation | None = None


class AnswerText(Open):
    text: str | None = None


class AnswerPart(Open):
    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    thinking: str | list[AnswerText] | None = None  # Mistral


class AnswerMessage(Open):
    """``message`` of a whole answer, ``delta`` of a chunk."""

    role: str | None = None
    content: str | list[AnswerPart] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[AnswerDetail] | None = None
    tool_calls: list[Call] | None = None
    function_call: CallFunction | None = None
    audio: Raw = ABSENT
    annotations: list[Annotation] | None = None


class Choice(Open):
    index: Number = None
    message: AnswerMessage | None = None
    delta: AnswerMessage | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None  # vLLM: the stop string (or token) that ended the answer


#: What a vendor may write for no error.
_FALSE: Final = frozenset({b"null", b"false", b"0", b'""', b"{}", b"[]"})


class Completion(Open):
    """A whole answer or one chunk of a stream; every member may be missing. A truthy ``error`` makes it an error."""

    id: str | None = None
    object: str | None = None
    created: Number = None
    model: str | None = None
    choices: list[Choice] | None = None
    usage: Raw = ABSENT  # a ``Usage``; read apart, so that an odd one costs the numbers and not the answer
    error: Raw = ABSENT

    def says_error(self) -> bool:
        """Whether ``error`` is truthy: some vendors send an empty one along with every answer."""
        return self.error is not ABSENT and bytes(self.error) not in _FALSE
