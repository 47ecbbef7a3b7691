"""Token counts of both wires, brought to one form and written in either.

The algebra: ``prompt = input + cache_read + cache_creation`` and ``total = prompt + output``; all are integers, none is negative. Messages
counts the three parts of the prompt apart, chat counts them together and names the cached part.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.wire import chat, messages
from core.wire.codec import whole_number


@dataclass(frozen=True, slots=True)
class Counts:
    """Tokens of one answer. None: the upstream did not say."""

    input: int | None = None  # of the prompt, neither read from nor written to a cache
    cache_read: int | None = None
    cache_creation: int | None = None
    output: int | None = None
    thinking: int | None = None  # part of output

    def overlaid(self, later: Counts) -> Counts:
        """These numbers with every number that ``later`` knows: counts in a stream are cumulative, the last one holds."""
        return Counts(
            self.input if later.input is None else later.input,
            self.cache_read if later.cache_read is None else later.cache_read,
            self.cache_creation if later.cache_creation is None else later.cache_creation,
            self.output if later.output is None else later.output,
            self.thinking if later.thinking is None else later.thinking,
        )

    @property
    def prompt(self) -> int:
        return (self.input or 0) + (self.cache_read or 0) + (self.cache_creation or 0)

    @property
    def known(self) -> bool:
        return self.input is not None or self.output is not None

    def repaired(self, estimate: int) -> Counts:
        """With ``estimate`` as input where the upstream reports no prompt at all (z.ai's zero in message_start)."""
        return self if self.prompt > 0 or estimate <= 0 else self.overlaid(Counts(input=estimate))


def of_chat(usage: chat.Usage) -> Counts:
    """Counts of a chat answer; cached tokens are read from whichever of the vendors' fields holds them."""
    details = usage.prompt_tokens_details or chat.PromptTokensDetails()
    read = _first(details.cached_tokens, usage.prompt_cache_hit_tokens, usage.cached_tokens, usage.cache_read_input_tokens)
    written = _first(
        details.cache_write_tokens, details.cache_creation_tokens, details.cache_creation_input_tokens, usage.cache_creation_input_tokens
    )
    prompt = whole_number(usage.prompt_tokens)
    if prompt is not None:  # a vendor that counts its cache apart must not make the sum exceed the prompt
        read = None if read is None else min(read, prompt)
        written = None if written is None else min(written, prompt - (read or 0))
    thinking = usage.completion_tokens_details.reasoning_tokens if usage.completion_tokens_details is not None else None
    return Counts(
        None if prompt is None else prompt - (read or 0) - (written or 0),
        read,
        written,
        whole_number(usage.completion_tokens),
        whole_number(thinking),
    )


def of_messages(usage: messages.Usage) -> Counts:
    """Counts of a Messages answer or event."""
    details = usage.output_tokens_details
    return Counts(
        whole_number(usage.input_tokens),
        whole_number(usage.cache_read_input_tokens),
        whole_number(usage.cache_creation_input_tokens),
        whole_number(usage.output_tokens),
        None if details is None else whole_number(details.thinking_tokens),
    )


def _first(*values: object) -> int | None:
    return next((count for value in values if (count := whole_number(value)) is not None), None)


def messages_json(counts: Counts) -> bytes:
    """``usage`` of the Messages wire. Clients read its members unguarded: all are there."""
    thinking = b"" if counts.thinking is None else b',"output_tokens_details":{"thinking_tokens":%d}' % counts.thinking
    return b'{"input_tokens":%d,"cache_creation_input_tokens":%d,"cache_read_input_tokens":%d,"output_tokens":%d%b}' % (
        counts.input or 0,
        counts.cache_creation or 0,
        counts.cache_read or 0,
        counts.output or 0,
        thinking,
    )


def chat_json(counts: Counts) -> bytes:
    """``usage`` of the chat wire."""
    prompt, output = counts.prompt, counts.output or 0
    written = b"" if not counts.cache_creation else b',"cache_write_tokens":%d' % counts.cache_creation
    return (
        b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d%b},'
        b'"completion_tokens_details":{"reasoning_tokens":%d}}'
        % (prompt, output, prompt + output, counts.cache_read or 0, written, counts.thinking or 0)
    )
