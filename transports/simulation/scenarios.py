"""The table of scenarios: which model name gets which behaviour."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from transports.simulation import answers, deliveries
from transports.simulation.answers import LONG, Answer
from transports.simulation.deliveries import Delivery
from transports.simulation.failures import FAILURES
from transports.simulation.questions import Question
from transports.simulation.wire import Bend


class Mode(enum.Enum):
    """Whether the answer is a stream or plain."""

    AS_ASKED = enum.auto()
    ALWAYS_PLAIN = enum.auto()
    ALWAYS_STREAM = enum.auto()


class Special(enum.Enum):
    """Scenarios that do more than answer, bend and deliver."""

    NONE = enum.auto()
    STATUS = enum.auto()
    HTML = enum.auto()
    ERROR_IN_200 = enum.auto()
    OVERFLOW = enum.auto()
    SILENT = enum.auto()
    FLAKY = enum.auto()
    SLOW = enum.auto()
    FINISH = enum.auto()


@dataclass(frozen=True, slots=True)
class Scenario:
    """``parameter`` names what may follow the name after a hyphen; empty: nothing may."""

    name: str
    about: str
    answer: Callable[[Question], Answer] = answers.ordinary
    bend: Bend = Bend.NONE
    delivery: Delivery = deliveries.paced
    mode: Mode = Mode.AS_ASKED
    special: Special = Special.NONE
    parameter: str = ""
    status: int = 0
    thinks: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """A scenario and the parameter its model name ended in, empty when there was none."""

    scenario: Scenario
    parameter: str = ""


#: What every model does whose name does not begin with ``demo-``.
ORDINARY = Scenario("", "any other model: text; a tool call when the user asks for one")

_ALL = (
    Scenario("demo-text", "a text that echoes the question, tools or not", answers.text),
    Scenario("demo-tool", "one tool call; once its result is there, a text that quotes it", answers.tool),
    Scenario("demo-parallel", "two tool calls in one answer, without text", answers.parallel),
    Scenario("demo-thinking", "thinks before it answers, asked to or not", thinks=True),
    Scenario("demo-image", "says which images it sees, or that it sees none", answers.image),
    Scenario("demo-unicode", "awkward characters in the text, and in tool arguments where a tool is offered", answers.unicode),
    Scenario("demo-refusal", "refuses: refusal / content_filter", answers.refusal),
    Scenario("demo-max-tokens", "stops at the limit: max_tokens / length", answers.max_tokens),
    Scenario("demo-stop-sequence", "stops at the first stop sequence: stop_sequence / stop", answers.stop_sequence),
    Scenario("demo-empty", "ends at once, without any content", answers.empty),
    Scenario("demo-long", f"a text in {LONG} deltas", answers.long),
    Scenario("demo-no-args", "one tool call with empty arguments", answers.bare_call),
    Scenario(
        "demo-finish",
        "ends with REASON as the stop or finish reason",
        answers.short,
        special=Special.FINISH,
        parameter="REASON",
    ),
    Scenario(
        "demo-slow",
        "silent for SECONDS (default 1; or the number in metadata.user_id / user) before the head and every event",
        answers.short,
        special=Special.SLOW,
        parameter="SECONDS",
    ),
    Scenario("demo-silent", "never answers, holds the connection open", special=Special.SILENT),
    Scenario("demo-split", "as demo-unicode, every byte in a write of its own", answers.unicode, delivery=deliveries.split),
    Scenario("demo-crlf", "a stream with byte order mark, comments and CRLF line ends", delivery=deliveries.crlf),
    Scenario("demo-gzip", "gzip-encoded though not asked to", delivery=deliveries.gzip),
    Scenario("demo-reasoning", "thinks, in a field `reasoning` (OpenAI)", bend=Bend.OTHER_REASONING_FIELD, thinks=True),
    Scenario("demo-zero-usage", "no usage at the start, float counts at the end", bend=Bend.ODD_USAGE),
    Scenario("demo-interleave", "two calls, their arguments in turns", answers.parallel, Bend.INTERLEAVED),
    Scenario("demo-repeat-ids", "two calls; id, type and name in every chunk (OpenAI)", answers.parallel, Bend.REPEATED_IDS),
    Scenario("demo-zero-index-missing", "one call whose chunks have no index (OpenAI)", answers.tool, Bend.NO_INDEX),
    Scenario("demo-json", "answers JSON to a streaming request", mode=Mode.ALWAYS_PLAIN),
    Scenario("demo-sse", "answers a stream to a plain request", mode=Mode.ALWAYS_STREAM),
    Scenario("demo-no-done", "the stream lacks message_stop / [DONE]", bend=Bend.NO_DONE),
    Scenario("demo-no-finish", "the answer has no stop reason, the stream just ends", bend=Bend.NO_FINISH),
    Scenario("demo-double-start", "a second message begins in mid-stream", bend=Bend.DOUBLE_START),
    Scenario("demo-ping-only", "the stream holds pings and nothing else", bend=Bend.PINGS_ONLY),
    Scenario("demo-midstream", "an error event in mid-stream (plain requests are answered)", bend=Bend.MIDSTREAM_ERROR),
    Scenario("demo-garbage", "unreadable frames between the good ones; plain: broken JSON", delivery=deliveries.garbage),
    Scenario("demo-cut", "the connection closes in mid-answer", delivery=deliveries.cut),
    Scenario("demo-cut-before-head", "the connection closes instead of an answer", delivery=deliveries.cut_before_head),
    Scenario("demo-lying-length", "content-length is larger than the body", delivery=deliveries.lying_length),
    Scenario(
        "demo-flaky",
        "503 to the first N equal requests (default 1), then a text",
        answers.text,
        special=Special.FLAKY,
        parameter="N",
    ),
    *(
        Scenario(f"demo-error-{status}", failure.message, special=Special.STATUS, status=status)
        for status, failure in FAILURES.items()
        if status != 429
    ),
    Scenario(
        "demo-error-429",
        "Simulated: too many requests, retry-after SECONDS (default 1)",
        special=Special.STATUS,
        status=429,
        parameter="SECONDS",
    ),
    Scenario("demo-error-html", "502 with a page of HTML", special=Special.HTML),
    Scenario(
        "demo-error-in-200",
        "200 whose body is z.ai's error CODE (default 1305)",
        special=Special.ERROR_IN_200,
        parameter="CODE",
    ),
    Scenario(
        "demo-context",
        "the prompt is too long, in the words of the vendor, or of WHOM: zai, vllm, llama",
        special=Special.OVERFLOW,
        parameter="WHOM",
    ),
)

#: By model name, in the order of the list.
SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in _ALL}


def choose(model: str) -> Chosen | None:
    """The scenario of ``model``; None when it begins with ``demo-`` and there is no such scenario."""
    if not model.startswith("demo-"):
        return Chosen(ORDINARY)
    if model in SCENARIOS:
        return Chosen(SCENARIOS[model])
    fitting = [scenario for scenario in _ALL if scenario.parameter and model.startswith(f"{scenario.name}-")]
    return Chosen(fitting[0], model.removeprefix(f"{fitting[0].name}-")) if fitting else None


def listing() -> str:
    """One line per scenario."""
    names = {scenario: scenario.name + (f"[-{scenario.parameter}]" if scenario.parameter else "") for scenario in _ALL}
    width = max(map(len, names.values()))
    return "".join(f"{name:<{width}}  {scenario.about}\n" for scenario, name in names.items())
