"""What the way back has to know of the request that was translated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from core.translate.loss import Loss
from core.translate.report import PLAIN, Report
from core.translate.usage import Counts, tokens_of


@dataclass(frozen=True, slots=True)
class AnswerContext:
    """Facts of one request that its answer needs. ``seed`` makes the ids: the core has no dice."""

    model: str  # the name the client asked for: what its answer says
    seed: str  # unique per request, of [A-Za-z0-9_-]; ids that the upstream left out are made from it
    created: int  # seconds since the epoch, for the chat wire
    choices: int = 1  # chat: how many answers the client asked for; a translated one is always one
    names: Mapping[str, str] = field(default_factory=dict)  # upstream's tool name -> client's, where they differ
    custom: frozenset[str] = frozenset()  # client's names of custom (grammar) tools, which were wrapped
    stop_sequences: tuple[str, ...] = ()
    include_usage: bool = False  # chat: the client asked for usage in its stream
    to_fold: bool = False  # Messages: the stream will be folded, and has to say what only whole answers do
    show_thinking: bool = True  # False: the client asked for display "omitted"
    input_tokens: int = 0  # a local estimate, for message_start when the upstream has not spoken yet, or never speaks of it
    schema_tool: str | None = None  # the tool that stands for a JSON schema, whose input is the answer's text
    report: Report = PLAIN  # how its usage is told

    def completed(self, heard: Counts, said: Callable[[], int]) -> Counts:
        """The final numbers of an answer: those that were ``heard``, with our own where there are none.

        ``said`` weighs (``usage.weight``) what was delivered; it is asked only where the upstream gave no output tokens.
        """
        wanted = self.report.estimates and not heard.output
        return heard.repaired(self.input_tokens, tokens_of(said()) if wanted else 0)

    def info(self, counts: Counts) -> bytes:
        """The member ``context_info`` for final ``counts``, with a comma first; nothing where it is not wanted."""
        return self.report.info(counts, self.input_tokens)


@dataclass(frozen=True, slots=True)
class Translated:
    """A request in the upstream's words: the body, what the answer will need, and what was left out."""

    body: bytes
    answer: AnswerContext
    losses: tuple[Loss, ...] = ()
