"""What the simulated model says: functions from a question to an answer, wire-neutral."""

from __future__ import annotations

import enum
import json
import re
from dataclasses import dataclass
from typing import TypeAlias

from transports.simulation.questions import Calling, Question, Tool
from transports.simulation.schemas import example

#: Characters of the user's text, and of a tool's result, that an answer quotes.
_ECHO, _QUOTE = 500, 2000

#: Text deltas of ``demo-long``.
LONG = 2000

#: One of everything that breaks careless byte handling: two to four bytes a character, joined emoji, right to left, the line
#: separators that are not line ends in SSE, quotes, backslash, tab and newline.
UNICODE = 'é 日本語 🚀 👩‍👩‍👧 שלום \u2028\u2029\u0085 "quoted" \\ back\tslash\nnew line €'


class Stop(enum.Enum):
    END = enum.auto()
    CALLS = enum.auto()
    LENGTH = enum.auto()
    SEQUENCE = enum.auto()
    REFUSED = enum.auto()


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    pieces: tuple[str, ...] = ()  # how a stream cuts it; () means word by word


@dataclass(frozen=True, slots=True)
class Thinking:
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """``arguments`` is JSON text, or empty for a call without any."""

    name: str
    arguments: str


Block: TypeAlias = Text | Thinking | Call


@dataclass(frozen=True, slots=True)
class Answer:
    """``sequence`` is the stop sequence met. ``reason``, when given, is the wire's own stop reason, said verbatim."""

    blocks: tuple[Block, ...]
    stop: Stop = Stop.END
    sequence: str = ""
    reason: str = ""


def ordinary(question: Question) -> Answer:
    """What any model without a scenario does: calls a tool when asked to, quotes results, else answers with text."""
    may_call = question.tools and not question.results and question.calling is not Calling.BARRED
    if may_call and (question.calling is Calling.FORCED or _asks_for_a_tool(question)):
        return tool(question)
    return text(question)


def text(question: Question) -> Answer:
    if question.results:
        return Answer((Text(_sentences(_seen(question), *map(_quoted, question.results), _FINISHED)),))
    if question.structure is not None:
        return Answer((Text(_json(example(question.structure))),))
    return Answer((Text(_sentences(_greeting(question), _seen(question), _echo(question), _HINT)),))


def tool(question: Question) -> Answer:
    if question.results:
        return text(question)
    if not question.tools:
        return Answer((Text("I would call a tool now, but the request offered none."),))
    chosen = _chosen(question)
    return Answer((Text(f"Let me call {chosen.name}."), _call(chosen)), Stop.CALLS)


def parallel(question: Question) -> Answer:
    """Two calls and no text: of two tools where two are offered, else of one twice. One call where two are not wanted."""
    if question.results or not question.tools:
        return tool(question)
    first = _chosen(question)
    second = next((each for each in question.tools if each.name != first.name), first)
    calls = (_call(first), _call(second, "second simulated"))
    return Answer(calls if question.parallel else calls[:1], Stop.CALLS)


def bare_call(question: Question) -> Answer:
    if question.results or not question.tools:
        return tool(question)
    return Answer((Call(_chosen(question).name, ""),), Stop.CALLS)


def unicode(question: Question) -> Answer:
    """Awkward characters in the text and, where a tool is offered, in its arguments."""
    said: tuple[Block, ...] = (Text(f"Simulated: {UNICODE}"),)
    if question.results or not question.tools:
        return Answer((*said, *text(question).blocks) if question.results else said)
    return Answer((*said, _call(_chosen(question), UNICODE)), Stop.CALLS)


def image(question: Question) -> Answer:
    return text(question) if question.images else Answer((Text("I see 0 images: the request holds none."),))


def refusal(_question: Question) -> Answer:
    return Answer((Text("I cannot help with that: this is a simulated refusal."),), Stop.REFUSED)


def max_tokens(_question: Question) -> Answer:
    return Answer((Text("This simulated answer stops in the middle of a"),), Stop.LENGTH)


def stop_sequence(question: Question) -> Answer:
    """Ends before the first stop sequence of the request, or before ``###``."""
    return Answer((Text("This simulated answer met a stop sequence."),), Stop.SEQUENCE, (*question.stops, "###")[0])


def empty(_question: Question) -> Answer:
    return Answer(())


def long(_question: Question) -> Answer:
    pieces = tuple(f"word {number} " for number in range(1, LONG + 1))
    return Answer((Text("".join(pieces), pieces),))


def short(_question: Question) -> Answer:
    return Answer((Text("A short simulated answer."),))


def thinking(question: Question) -> Thinking:
    return Thinking(f"The user sent {len(question.text)} characters. This is simulated thinking, one step after another.")


_HINT = "Try the models demo-tool, demo-thinking or demo-unicode; every demo-* model shows one behaviour."
_FINISHED = "That is all I wanted to know; this answer is simulated."


def _sentences(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _greeting(question: Question) -> str:
    return f"Hello, this is a simulated answer of model {question.model}; no real model was asked."


def _echo(question: Question) -> str:
    return f'You wrote: "{_cut(question.text, _ECHO)}".' if question.text else ""


def _quoted(result: str) -> str:
    return f'The tool answered: "{_cut(result, _QUOTE)}".'


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + "…"


def _seen(question: Question) -> str:
    if not question.images:
        return ""
    count = len(question.images)
    each = "; ".join(f"{image.source}, {image.size} bytes" if image.size is not None else f"at {image.source}" for image in question.images)
    return f"I see {count} image{'s' if count > 1 else ''}, {each}."


def _asks_for_a_tool(question: Question) -> bool:
    return re.search(r"\b(tools?|functions?)\b", question.text, re.IGNORECASE) is not None or any(
        _names(question.text, tool) for tool in question.tools
    )


def _names(text: str, tool: Tool) -> bool:
    return re.search(rf"(?<!\w){re.escape(tool.name)}(?!\w)", text) is not None


def _chosen(question: Question) -> Tool:
    """The forced tool, else the one the user named, else the first."""
    for tool in question.tools:
        if tool.name == question.forced:
            return tool
    return next((tool for tool in question.tools if _names(question.text, tool)), question.tools[0])


def _call(tool: Tool, word: str = "simulated") -> Call:
    arguments = example(tool.schema, word=word)
    return Call(tool.name, _json(arguments if isinstance(arguments, dict) else {}))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
