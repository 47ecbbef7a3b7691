"""Token counts of both wires, brought to one form and written in either.

The algebra: ``prompt = input + cache_read + cache_creation`` and ``total = prompt + output``; all are integers, none is negative. Messages
counts the three parts of the prompt apart, chat counts them together and names the cached part.

What the upstream said are ``Counts``; what a client is told are ``Told``. Only the first can be scaled, which gives the second, and only
the second can be written: no number is scaled twice, and none is forgotten.

Numbers are read leniently (floats, numeric strings); a ``usage`` that cannot be read at all says nothing, and fails nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, TypeGuard, TypeVar

import msgspec
from msgspec import Raw

from core.scaling import UNSCALED, Scale
from core.wire import chat, messages
from core.wire.codec import ABSENT, decode_lenient, encode, given, is_object, members, value_of, whole_number

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Counts:
    """Tokens of one answer. None: the upstream did not say."""

    input: int | None = None  # of the prompt, neither read from nor written to a cache
    cache_read: int | None = None
    cache_creation: int | None = None
    output: int | None = None
    thinking: int | None = None  # part of output
    #: A number in it is the proxy's own. A mark and no number: counts are equal without it.
    estimated: bool = field(default=False, compare=False)

    @property
    def prompt(self) -> int:
        return (self.input or 0) + (self.cache_read or 0) + (self.cache_creation or 0)

    @property
    def total(self) -> int:
        return self.prompt + (self.output or 0)

    def overlaid(self, later: Counts) -> Counts:
        """These numbers with every number that ``later`` knows: counts in a stream are cumulative, the last one holds."""
        return Counts(
            self.input if later.input is None else later.input,
            self.cache_read if later.cache_read is None else later.cache_read,
            self.cache_creation if later.cache_creation is None else later.cache_creation,
            self.output if later.output is None else later.output,
            self.thinking if later.thinking is None else later.thinking,
        )

    def repaired(self, estimate: int, output: int = 0) -> Counts:
        """With ``estimate`` as input where the upstream reports no prompt at all (z.ai's zero in message_start), ``output`` likewise.

        Numbers that are not positive repair nothing.
        """
        repaired = self
        if estimate > 0 == self.prompt:
            repaired = replace(repaired, input=estimate, estimated=True)
        return replace(repaired, output=output, estimated=True) if output > 0 and not self.output else repaired

    def told(self, scale: Scale = UNSCALED, saved: int = 0) -> Told:
        """These numbers for a client: ``saved`` tokens more of input, and each part in units of its window. What is not known is 0."""
        return Told(
            scale.of((self.input or 0) + saved),
            scale.of(self.cache_read or 0),
            scale.of(self.cache_creation or 0),
            scale.of(self.output or 0),
            scale.of(self.thinking),
        )


NOTHING: Final = Counts()
ZEROS: Final = Counts(0, 0, 0, 0)


class Told(msgspec.Struct, frozen=True, gc=False):
    """Tokens as a client is told them. Nothing computes with them any more, but for their sums."""

    input: int
    cache_read: int
    cache_creation: int
    output: int
    thinking: int | None  # None: the wire need not speak of it

    @property
    def prompt(self) -> int:
        return self.input + self.cache_read + self.cache_creation

    @property
    def total(self) -> int:
        return self.prompt + self.output


# ---------------------------------------------------------------------------------------------------- reading


def of_chat(raw: Raw, earlier: Counts = NOTHING) -> Counts:
    """Counts by a chat ``usage``; what it does not say is as ``earlier`` in the stream said, for counts are cumulative.

    Cached tokens are read from whichever of the vendors' fields holds them. A vendor that counts its cache apart from the prompt does not
    make the sum exceed the prompt.
    """
    usage = _decoded(chat.Usage, raw)
    if usage is None:
        return earlier
    reads, writes = _of_cache(usage)
    read, written = _first(*reads, earlier.cache_read), _first(*writes, earlier.cache_creation)
    said = whole_number(usage.prompt_tokens)
    prompt = earlier.prompt if not said and earlier.input is not None else said  # a zero behind a number takes nothing back
    if prompt is not None:
        read = None if read is None else min(read, prompt)
        written = None if written is None else min(written, prompt - (read or 0))
    thinking = usage.completion_tokens_details.reasoning_tokens if usage.completion_tokens_details is not None else None
    return Counts(
        None if prompt is None else prompt - (read or 0) - (written or 0),
        read,
        written,
        _first(usage.completion_tokens, earlier.output),
        _first(thinking, earlier.thinking),
    )


def _of_cache(usage: chat.Usage) -> tuple[tuple[messages.Number, ...], tuple[messages.Number, ...]]:
    """Whatever a vendor says of what was read from its cache, and of what was written to it; the first of each holds."""
    details = usage.prompt_tokens_details or chat.PromptTokensDetails()
    return (
        (details.cached_tokens, usage.prompt_cache_hit_tokens, usage.cached_tokens, usage.cache_read_input_tokens),
        (
            details.cache_write_tokens,
            details.cache_creation_tokens,
            details.cache_creation_input_tokens,
            usage.cache_creation_input_tokens,
        ),
    )


def of_messages(raw: Raw, earlier: Counts = NOTHING) -> Counts:
    """Counts by a Messages ``usage``; what it does not say is as ``earlier`` in the stream said.

    Servers that know their prompt at the start only may report a zero for it at the end: that does not take the first number back.
    """
    usage = _decoded(messages.Usage, raw)
    if usage is None:
        return earlier
    details = usage.output_tokens_details
    said = Counts(
        whole_number(usage.input_tokens),
        whole_number(usage.cache_read_input_tokens),
        whole_number(usage.cache_creation_input_tokens),
        whole_number(usage.output_tokens),
        None if details is None else whole_number(details.thinking_tokens),
    )
    if said.prompt == 0 < earlier.prompt:
        said = replace(said, input=None, cache_read=None, cache_creation=None)
    return earlier.overlaid(said)


def _decoded(kind: type[T], raw: Raw) -> T | None:
    if not given(raw):
        return None
    try:
        return decode_lenient(kind, bytes(raw))
    except msgspec.DecodeError:
        return None


def _first(*values: object) -> int | None:
    """The first of ``values`` that is a count."""
    return next((count for value in values if (count := whole_number(value)) is not None), None)


# ---------------------------------------------------------------------------------------------------- writing


def messages_json(told: Told, extras: bytes = b"") -> bytes:
    """``usage`` of the Messages wire. Clients read its members unguarded: all are there. ``extras``: more members, with a comma first."""
    thinking = b"" if told.thinking is None else b',"output_tokens_details":{"thinking_tokens":%d}' % told.thinking
    return b'{"input_tokens":%d,"cache_creation_input_tokens":%d,"cache_read_input_tokens":%d,"output_tokens":%d%b%b}' % (
        told.input,
        told.cache_creation,
        told.cache_read,
        told.output,
        thinking,
        extras,
    )


def chat_json(told: Told, extras: bytes = b"") -> bytes:
    """``usage`` of the chat wire. ``extras``: more members, with a comma first."""
    written = b"" if not told.cache_creation else b',"cache_write_tokens":%d' % told.cache_creation
    return (
        b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d%b},'
        b'"completion_tokens_details":{"reasoning_tokens":%d}%b}'
        % (told.prompt, told.output, told.total, told.cache_read, written, told.thinking or 0, extras)
    )


# ---------------------------------------------------------------------------------------------------- passing on

_MESSAGES_NUMBERS: Final = ("output_tokens", "input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
#: Where vendors of chat count parts of the prompt, at the top of ``usage`` or in its details.
_CHAT_PARTS: Final = (
    "cached_tokens",
    "prompt_cache_hit_tokens",
    "cache_read_input_tokens",
    "cache_write_tokens",
    "cache_creation_tokens",
    "cache_creation_input_tokens",
)
#: No count of tokens is longer; Python refuses to read numbers of some thousand digits.
_MOST_DIGITS: Final = 18


def is_tidy_messages(raw: Raw) -> bool:
    """Whether a Messages ``usage`` can be passed on as it came: input and output are there, and all numbers are plain integers."""
    if not is_object(bytes(raw)):
        return False
    found = members(raw)
    numbers = [bytes(found[name]) for name in _MESSAGES_NUMBERS if name in found]
    needed = {bytes(found.get(name, ABSENT)) for name in ("input_tokens", "output_tokens")}
    return all(number.isdigit() or number == b"null" for number in numbers) and all(number.isdigit() for number in needed)


def is_tidy_chat(raw: Raw) -> bool:
    """Whether a chat ``usage`` can be passed on as it came: plain integers, right sums (clients add them up), no part above its whole."""
    usage = _decoded(chat.Usage, raw)
    if usage is None:
        return False
    prompt, output, total = usage.prompt_tokens, usage.completion_tokens, usage.total_tokens
    if not (_is_count(prompt) and _is_count(output) and _is_count(total)) or prompt + output != total:
        return False
    read, written = _of_cache(usage)
    parts = [part for part in (*read, *written) if part is not None]
    return all(_is_count(part) and part <= prompt for part in parts) and (_first(*read) or 0) + (_first(*written) or 0) <= prompt


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0


def mended(raw: Raw, numbers: bytes, scale: Scale = UNSCALED) -> Raw:
    """The vendor's ``usage`` with ``numbers``, which are told, in place of its own.

    Members that only the vendor knows stay, its further counts scaled as ours are, and details that it does not give are not made up.
    No part of a chat prompt is above the whole.
    """
    found = members(raw) if is_object(bytes(raw)) else {}
    ours: dict[str, Raw] = {}
    told = members(numbers)
    prompt = told.get("prompt_tokens")
    for name, value in told.items():
        if not name.endswith("_details"):
            ours[name] = value
        elif name in found:
            theirs = found[name]
            ours[name] = Raw(encode({**_scaled(members(theirs), scale, prompt), **members(value)})) if is_object(bytes(theirs)) else value
    return Raw(encode({**_scaled(found, scale, prompt), **ours}))


def _scaled(theirs: dict[str, Raw], scale: Scale, prompt: Raw | None) -> dict[str, Raw]:
    """A vendor's members in the client's units. ``prompt``: of a chat client, in them already."""
    return {
        name: _scaled_count(name, value, scale)
        if prompt is None or name not in _CHAT_PARTS
        else _scaled_part(value, scale, int(bytes(prompt)))
        for name, value in theirs.items()
    }


def _scaled_part(value: Raw, scale: Scale, prompt: int) -> Raw:
    count = None if bytes(value)[:1] in (b"[", b"{") else whole_number(value_of(value))
    return value if count is None else Raw(b"%d" % min(scale.of(count), prompt))


def _scaled_count(name: str, value: Raw, scale: Scale) -> Raw:
    """A vendor's own member in the client's units, if it counts tokens and is a whole number."""
    number = bytes(value)
    if scale.is_identity or not name.endswith("_tokens") or not number.isdigit() or len(number) > _MOST_DIGITS:
        return value
    return Raw(b"%d" % scale.of(int(number)))


def extended(raw: Raw, extras: bytes) -> Raw:
    """A tidy ``usage`` as it came, with ``extras`` (members, with a comma first) at its end."""
    return Raw(b"%b%b}" % (bytes(raw)[:-1], extras))


# ---------------------------------------------------------------------------------------------------- measuring

#: Tokens of a character in fourteenths: 1/3.5 of an ASCII one, 1.5 of any other. ``core.tokens.estimate_text``, so that pieces add up.
_ASCII: Final = 4
_OTHER: Final = 21
_TOKEN: Final = 14


def weight(text: str) -> int:
    """What ``text`` probably costs, in fourteenths of a token. It does not matter how a text is cut."""
    if text.isascii():
        return _ASCII * len(text)
    ascii_count = len(text.encode("ascii", "ignore"))
    return _ASCII * ascii_count + _OTHER * (len(text) - ascii_count)


def call_weight(name: str, arguments: str) -> int:
    """``weight`` of a call of a tool. No arguments may be written as an empty object or as nothing."""
    return weight(name) + (0 if arguments == "{}" else weight(arguments))


def tokens_of(weight: int) -> int:
    return -(-weight // _TOKEN)
