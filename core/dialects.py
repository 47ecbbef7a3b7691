"""What each family of upstreams can and cannot say: one frozen record each.

A quirk is a field here, never an ``if`` on a vendor's or a model's name in a translator. Which record applies follows from the upstream's
host and the model's name by ``TABLE``, first match wins. Facts without a source of their own are from the vendors' API references and
the public issues listed in ``docs/wire.md``, read 2026-11-20.
"""

from __future__ import annotations

import enum
import fnmatch
import urllib.parse
from dataclasses import dataclass, replace
from typing import Final


class Protocol(enum.Enum):
    """The two wires. The value is the word used in headers, logs and settings."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"


class ThinkingStyle(enum.Enum):
    """How a request asks the model to think, or not to."""

    NONE = "none"  # no field at all
    EFFORT = "effort"  # reasoning_effort
    TOGGLE = "toggle"  # thinking: {type: enabled | disabled}
    TEMPLATE = "template"  # chat_template_kwargs.enable_thinking
    REASONING = "reasoning"  # reasoning: {effort, max_tokens, enabled}
    BUDGET = "budget"  # Messages: thinking: {type: enabled, budget_tokens}
    ADAPTIVE = "adaptive"  # Messages: thinking: {type: adaptive} and output_config.effort


class ReasoningField(enum.Enum):
    """Where reasoning of earlier turns is written in a chat request."""

    CONTENT = "reasoning_content"
    REASONING = "reasoning"
    DETAILS = "reasoning_details"
    NONE = "none"


class Structured(enum.Enum):
    """How an answer is held to a JSON schema."""

    NATIVE = "native"  # response_format json_schema; Messages: output_config.format
    OBJECT = "object"  # response_format json_object, the schema in the prompt
    TOOL = "tool"  # Messages: a tool of that schema that must be called
    PROMPT = "prompt"  # the schema in the prompt, nothing else


class CacheMarks(enum.Enum):
    """What becomes of ``cache_control``."""

    STRIP = "strip"
    KEEP = "keep"
    NO_TTL = "no_ttl"  # breakpoints yes, their ttl and scope no


class ResultImages(enum.Enum):
    """Where images of a tool result go in a chat request, whose tool messages hold text only by OpenAI's rule."""

    USER = "user"  # one user message behind the last tool message of the turn
    TOOL = "tool"  # an image_url part inside the tool message


class UnsignedThinking(enum.Enum):
    """What a Messages upstream gets of reasoning that carries no signature."""

    KEEP = "keep"
    DROP = "drop"  # api.anthropic.com answers 400 to a thinking block without its own signature


class Prefill(enum.Enum):
    """What an assistant turn at the end of a request means to a chat upstream."""

    PASS = "pass"  # noqa: S105 - sent as it is; some continue it, some start a new turn
    CONTINUE = "continue"  # vLLM: continue_final_message
    PREFIX = "prefix"  # DeepSeek: prefix: true


#: reasoning_effort of OpenAI, lowest first (openai-python 3.52).
OPENAI_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class Dialect:
    """One family of upstreams. The defaults describe an OpenAI-compatible server of no particular kind."""

    name: str
    #: The vendor whose wire it is: threads, encrypted blocks and the billing header mean something there.
    original: bool = False
    thinking: ThinkingStyle = ThinkingStyle.EFFORT
    #: Values reasoning_effort / output_config.effort may have, lowest first. Others are rounded to the nearest.
    efforts: tuple[str, ...] = OPENAI_EFFORTS
    #: Whether reasoning_effort may stand beside a TOGGLE that is on.
    effort_beside_toggle: bool = False
    reasoning: ReasoningField = ReasoningField.CONTENT
    #: Whether assistant turns with tool calls must carry reasoning, a space if there is none (DeepSeek and Kimi answer 400 otherwise).
    reasoning_required: bool = False
    unsigned_thinking: UnsignedThinking = UnsignedThinking.KEEP
    #: Whether thinking excludes a forced tool and a temperature other than 1 (Anthropic's rule).
    strict_thinking: bool = True
    #: Whether a turn that is to be continued has to begin with signed reasoning, if the model is to think: 400 "a final assistant message
    #: must start with a thinking block". Models that think adaptively do not ask for it.
    thoughts_first: bool = False
    forced_tool: bool = True
    choice_of_none: bool = True  # takes tool_choice "none"; otherwise the tools have to go
    parallel_tool_calls: bool = True
    #: Whether a system message may stand between turns.
    inline_system: bool = True
    result_images: ResultImages = ResultImages.USER
    tool_references: bool = False  # takes {type: tool_reference} parts
    structured: Structured = Structured.NATIVE
    sampling: bool = True  # temperature, top_p
    sampling_pair: bool = True  # temperature and top_p together
    top_k: bool = False
    stop: bool = True
    stop_max: int | None = None
    max_tokens_key: str = "max_tokens"
    cache_control: CacheMarks = CacheMarks.STRIP
    cache_breakpoints: bool = False  # OpenAI's explicit prompt_cache_breakpoint
    content_required: bool = False  # assistant turns must have the key content, empty if there is no text
    files: bool = True  # takes file parts
    image_urls: bool = True  # fetches images by URL
    user_key: str = "user"  # where metadata.user_id goes
    user_min: int = 1  # characters it must and may have there; one outside of that is sent as its digest
    user_max: int = 64
    prompt_cache_key: bool = False
    service_tier: bool = False
    stream_usage: bool = True  # knows stream_options.include_usage
    continuous_usage: bool = False
    tool_stream: bool = False  # GLM: arguments are streamed only when asked to
    prefill: Prefill = Prefill.PASS
    id_max: int = 64  # characters of a tool call id; longer ones are refused by several vendors
    #: Whether Claude Code's billing header goes to a chat upstream: its nonce defeats every prefix cache but Anthropic's own.
    billing_header: bool = False
    #: thinking a chat request gets when the client says nothing about it.
    thinking_default: str | None = None
    schema_keywords_refused: tuple[str, ...] = ()


#: Nothing but what the API reference of Chat Completions has had for years: the preset for servers nothing is known of.
GENERIC: Final = Dialect("generic")

# docs.z.ai, chat completion: thinking {type, clear_thinking}, tool_stream, tool_choice "auto" only, response_format text|json_object,
# stop takes one string, user_id 6-128 characters.
GLM: Final = Dialect(
    "glm",
    thinking=ThinkingStyle.TOGGLE,
    forced_tool=False,
    choice_of_none=False,
    parallel_tool_calls=False,
    structured=Structured.OBJECT,
    stop_max=1,
    files=False,
    user_key="user_id",
    user_min=6,
    user_max=128,
    tool_stream=True,
    thinking_default="enabled",
    strict_thinking=False,
)

# docs.bigmodel.cn, chat completion: from GLM-5.2 on reasoning_effort low, high or max while thinking.
GLM_EFFORT: Final = replace(GLM, name="glm-effort", efforts=("low", "high", "max"), effort_beside_toggle=True)

#: A GLM server at an address that is not z.ai's: a relay, a self-hosted model behind vLLM or SGLang. Thinking is asked for as GLM does,
#: everything else as OpenAI has it, because such servers implement what z.ai left out and ignore what they do not know.
GLM_RELAY: Final = Dialect("glm-relay", thinking=ThinkingStyle.TOGGLE, effort_beside_toggle=True, thinking_default="enabled")

# platform.openai.com, Chat Completions: models that do not reason. Four stop sequences; safety_identifier of 128 characters, ids of 40.
OPENAI: Final = Dialect(
    "openai",
    original=True,
    reasoning=ReasoningField.NONE,
    thinking=ThinkingStyle.NONE,
    stop_max=4,
    max_tokens_key="max_completion_tokens",
    user_key="safety_identifier",
    user_max=128,
    prompt_cache_key=True,
    service_tier=True,
    id_max=40,
)
# Reasoning models refuse temperature, top_p and stop. Which efforts there are depends on the generation (the reference of
# reasoning_effort): none and xhigh came after GPT-5, minimal with it; the o models know neither.
OPENAI_REASONING: Final = replace(
    OPENAI, name="openai-reasoning", thinking=ThinkingStyle.EFFORT, efforts=OPENAI_EFFORTS, sampling=False, stop=False
)
OPENAI_GPT5: Final = replace(OPENAI_REASONING, name="openai-gpt5", efforts=("minimal", "low", "medium", "high"))
OPENAI_GPT51: Final = replace(OPENAI_REASONING, name="openai-gpt5.1", efforts=("none", "low", "medium", "high"))
OPENAI_O: Final = replace(OPENAI_REASONING, name="openai-o", efforts=("low", "medium", "high"))
# GPT-5.6 and later: prompt_cache_breakpoint on content parts.
OPENAI_CACHING: Final = replace(OPENAI_REASONING, name="openai-caching", cache_breakpoints=True)

# api-docs.deepseek.com: thinking {type}; no effort beside disabled; reasoning_content must be passed back on tool turns; prefix: true.
DEEPSEEK: Final = Dialect(
    "deepseek",
    thinking=ThinkingStyle.TOGGLE,
    reasoning_required=True,
    content_required=True,  # 400 "missing field `content`" to an assistant turn that only calls
    forced_tool=False,
    structured=Structured.OBJECT,
    files=False,
    stop_max=16,
    prefill=Prefill.PREFIX,
)
# platform.moonshot.ai (Kimi): thinking {type}, reasoning_content both ways (on tool turns it must be passed back), tool_choice "required"
# is refused.
MOONSHOT: Final = Dialect("moonshot", thinking=ThinkingStyle.TOGGLE, reasoning_required=True, forced_tool=False, files=False)
# vLLM: `reasoning` (reasoning_content was removed in January 2026), chat_template_kwargs, continue_final_message, images in tool messages.
VLLM: Final = Dialect(
    "vllm",
    thinking=ThinkingStyle.TEMPLATE,
    efforts=("low", "medium", "high"),
    reasoning=ReasoningField.REASONING,
    result_images=ResultImages.TOOL,
    top_k=True,
    continuous_usage=True,
    prefill=Prefill.CONTINUE,
    files=False,
)
# SGLang (its openai and anthropic entry points): reasoning_content, tool_reference parts for GLM's chat templates.
SGLANG: Final = replace(VLLM, name="sglang", reasoning=ReasoningField.CONTENT, tool_references=True, prefill=Prefill.CONTINUE)
# openrouter.ai/docs: reasoning {effort, max_tokens, enabled, exclude}, reasoning_details with signatures, cache_control of Messages.
OPENROUTER: Final = Dialect(
    "openrouter",
    thinking=ThinkingStyle.REASONING,
    reasoning=ReasoningField.DETAILS,
    cache_control=CacheMarks.KEEP,
    top_k=True,
)
# docs.ollama.com, OpenAI compatibility: reasoning_effort none to high, `reasoning`, images as data only, tool_choice is ignored.
OLLAMA: Final = Dialect(
    "ollama",
    efforts=("none", "low", "medium", "high"),
    reasoning=ReasoningField.REASONING,
    top_k=True,
    forced_tool=False,
    files=False,
    image_urls=False,
)
# llama.cpp's server: reasoning_content, chat_template_kwargs; most templates want the system message at the beginning.
LLAMA_CPP: Final = Dialect(
    "llama.cpp",
    thinking=ThinkingStyle.TEMPLATE,
    efforts=("low", "medium", "high"),
    result_images=ResultImages.TOOL,
    inline_system=False,
    top_k=True,
    files=False,
)

# platform.claude.com, Messages. Models before Opus 4.7 take a thinking budget and sampling parameters; since 4.1 only one of
# temperature and top_p (400 "cannot both be specified for this model").
ANTHROPIC_BUDGET: Final = Dialect(
    "anthropic-budget",
    original=True,
    thinking=ThinkingStyle.BUDGET,
    unsigned_thinking=UnsignedThinking.DROP,
    thoughts_first=True,
    inline_system=False,
    cache_control=CacheMarks.KEEP,
    top_k=True,
    sampling_pair=False,
    id_max=64,
)
# Opus 4.7 and later: adaptive thinking only, no sampling parameters, system turns inside the conversation.
ANTHROPIC: Final = replace(
    ANTHROPIC_BUDGET,
    name="anthropic",
    thinking=ThinkingStyle.ADAPTIVE,
    efforts=("low", "medium", "high", "xhigh", "max"),
    thoughts_first=False,
    inline_system=True,
    sampling=False,
    top_k=False,
)
#: Models from before structured outputs (Claude 3, Opus 4 and Sonnet 4): the schema becomes a tool that has to be called.
ANTHROPIC_TOOLS: Final = replace(ANTHROPIC_BUDGET, name="anthropic-tools", structured=Structured.TOOL)

# z.ai's /api/anthropic: a compatible subset. Unsigned thinking is wanted back; ttl and scope of cache_control are not known.
GLM_MESSAGES: Final = Dialect(
    "glm-messages",
    thinking=ThinkingStyle.BUDGET,
    strict_thinking=False,
    inline_system=False,
    structured=Structured.PROMPT,
    cache_control=CacheMarks.NO_TTL,
    top_k=True,
)
#: A Messages endpoint at an address that is not z.ai's and of no known vendor: Kimi, MiniMax, vLLM, a relay. Such endpoints want unsigned
#: reasoning back, and leave the merging of turns to the client.
RELAY_MESSAGES: Final = Dialect(
    "messages-relay",
    thinking=ThinkingStyle.BUDGET,
    inline_system=False,
    cache_control=CacheMarks.KEEP,
    top_k=True,
)
# api-docs.deepseek.com, Anthropic API: cache_control, top_k, budgets and metadata are ignored; no structured output.
DEEPSEEK_MESSAGES: Final = replace(RELAY_MESSAGES, name="deepseek-messages", structured=Structured.PROMPT, cache_control=CacheMarks.STRIP)

#: (protocol, pattern of the host, pattern of the model, record); the first match wins, the last of a protocol matches all.
TABLE: Final[tuple[tuple[Protocol, str, str, Dialect], ...]] = (
    (Protocol.OPENAI, "*.z.ai", "glm-5.[2-9]*", GLM_EFFORT),
    (Protocol.OPENAI, "*.bigmodel.cn", "glm-5.[2-9]*", GLM_EFFORT),
    (Protocol.OPENAI, "*.z.ai", "*", GLM),
    (Protocol.OPENAI, "*.bigmodel.cn", "*", GLM),
    (Protocol.OPENAI, "api.openai.com", "gpt-5.[6-9]*", OPENAI_CACHING),
    (Protocol.OPENAI, "api.openai.com", "gpt-[6-9]*", OPENAI_CACHING),
    (Protocol.OPENAI, "api.openai.com", "gpt-5*-chat*", OPENAI),
    (Protocol.OPENAI, "api.openai.com", "gpt-5.1*", OPENAI_GPT51),
    (Protocol.OPENAI, "api.openai.com", "gpt-5.*", OPENAI_REASONING),
    (Protocol.OPENAI, "api.openai.com", "gpt-5*", OPENAI_GPT5),
    (Protocol.OPENAI, "api.openai.com", "o[1-9]*", OPENAI_O),
    (Protocol.OPENAI, "api.openai.com", "*", OPENAI),
    (Protocol.OPENAI, "api.deepseek.com", "*", DEEPSEEK),
    (Protocol.OPENAI, "api.moonshot.*", "*", MOONSHOT),
    (Protocol.OPENAI, "openrouter.ai", "*", OPENROUTER),
    (Protocol.OPENAI, "*:11434", "*", OLLAMA),  # Ollama's port
    (Protocol.OPENAI, "*", "*", GLM_RELAY),
    (Protocol.ANTHROPIC, "api.anthropic.com", "claude-3*", ANTHROPIC_TOOLS),
    (Protocol.ANTHROPIC, "api.anthropic.com", "claude-*-4", ANTHROPIC_TOOLS),
    (Protocol.ANTHROPIC, "api.anthropic.com", "claude-*-4-0", ANTHROPIC_TOOLS),
    (Protocol.ANTHROPIC, "api.anthropic.com", "claude-*-4-2025*", ANTHROPIC_TOOLS),  # dated, without a minor version
    (Protocol.ANTHROPIC, "api.anthropic.com", "claude-*-4-[1-6]*", ANTHROPIC_BUDGET),
    (Protocol.ANTHROPIC, "api.anthropic.com", "*", ANTHROPIC),
    (Protocol.ANTHROPIC, "*.z.ai", "*", GLM_MESSAGES),
    (Protocol.ANTHROPIC, "*.bigmodel.cn", "*", GLM_MESSAGES),
    (Protocol.ANTHROPIC, "api.deepseek.com", "*", DEEPSEEK_MESSAGES),
    (Protocol.ANTHROPIC, "*", "*", RELAY_MESSAGES),
)

#: Every record by its name, for settings and for embedders.
DIALECTS: Final[dict[str, Dialect]] = {
    one.name: one
    for one in (
        GENERIC, GLM, GLM_EFFORT, GLM_RELAY,
        OPENAI, OPENAI_REASONING, OPENAI_GPT5, OPENAI_GPT51, OPENAI_O, OPENAI_CACHING, DEEPSEEK, MOONSHOT, VLLM,
        SGLANG, OPENROUTER, OLLAMA, LLAMA_CPP,
        ANTHROPIC, ANTHROPIC_BUDGET, ANTHROPIC_TOOLS, GLM_MESSAGES, RELAY_MESSAGES, DEEPSEEK_MESSAGES,
    )
}  # fmt: skip


def dialect_for(protocol: Protocol, base_url: str, model: str) -> Dialect:
    """The record of the upstream at ``base_url`` for ``model``: an unknown one has its protocol's record for relays."""
    parts = urllib.parse.urlsplit(base_url)
    hosts = (parts.hostname or "", parts.netloc)
    return next(
        dialect
        for kind, host, name, dialect in TABLE  # the last row of each protocol matches all
        if kind is protocol and any(fnmatch.fnmatchcase(one, host) for one in hosts) and fnmatch.fnmatchcase(model, name)
    )


#: What a provider may say that it is, in ``preset``: whose records it has, wherever it is.
PRESETS: Final = ("generic", "openai", "anthropic", "zai", "deepseek", "moonshot", "openrouter", "ollama", "vllm")
