"""What happened in one exchange: everything logs, statistics and response headers are made from. No prompt text, no key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from core.translate.loss import Loss
from core.translate.usage import Counts

#: How much an alarm matters, by the names of the logging module in small letters.
Level: TypeAlias = Literal["warning", "error"]

#: Characters of one note or value of a log line: names in it come from clients.
_SHOWN_MAX: Final = 1000


@dataclass(slots=True)
class Record:
    """Filled in as the exchange goes on; the only thing about it that is mutable."""

    request_id: str
    endpoint: str  # the path's canonical form, or "unknown"
    started: float  # seconds since the epoch
    peer: str = ""
    wire: str = ""  # the caller's dialect: anthropic, openai
    status: int = 0  # what the client got; 499 when it left before
    error_code: str | None = None
    error: str | None = None  # the message the client got
    stream: bool = False
    model: str = ""  # as the client asked
    upstream_model: str = ""
    target: str = ""  # name/protocol
    reason: str = ""  # of the route
    upstream_status: int | None = None
    upstream_request_id: str = ""
    attempts: int = 0
    counts: Counts = field(default_factory=Counts)  # the upstream's, never scaled
    losses: tuple[Loss, ...] = ()
    skipped: int = 0  # malformed upstream events
    notes: list[str] = field(default_factory=list)  # lines for the log, from ``note``: routing, losses
    alarms: list[tuple[Level, str]] = field(default_factory=list)  # such lines that somebody should see, from ``alarm``
    broken: bool = False  # the answer could not be ended properly: the connection must close

    @property
    def estimated(self) -> bool:
        """Whether a number in ``counts`` is the proxy's own, because the upstream gave none."""
        return self.counts.estimated

    def note(self, text: str) -> None:
        """Add a line for the log. Whatever would break the line, or turn its letters around, is escaped."""
        self.notes.append(_one_line(text))

    def alarm(self, level: Level, text: str) -> None:
        """Add a line that the log shows at ``level``. ``text`` says what it means and what to do."""
        self.alarms.append((level, _one_line(text)))

    def line(self) -> str:
        """The exchange in one line of ``key=value`` pairs; values with spaces or quotes stand in quotes."""
        pairs: list[tuple[str, object]] = [
            ("status", self.status),
            ("endpoint", self.endpoint),
            ("target", self.target),
            ("model", self.model),
            ("upstream_model", self.upstream_model),
            ("route", self.reason),
            ("stream", self.stream or None),
            ("input", None if self.counts.input is None else self.counts.prompt),
            ("output", self.counts.output),
            ("estimated", self.counts.estimated or None),
            ("dropped", ",".join(dict.fromkeys(loss.what for loss in self.losses))),
            ("skipped", self.skipped or None),
            ("code", self.error_code),
            ("error", self.error),
        ]
        return " ".join(f"{name}={_shown(value)}" for name, value in pairs if value not in (None, ""))


def _shown(value: object) -> str:
    text = _one_line(str(value))
    return '"{}"'.format(text.replace('"', r"\"")) if " " in text or '"' in text else text


def _one_line(text: str) -> str:
    text = text[:_SHOWN_MAX]
    if text.isprintable() and "\\" not in text:
        return text
    # Not printable are line ends, control and bidirectional characters, lone surrogates. A backslash is escaped to keep it reversible.
    return "".join(one if one.isprintable() and one != "\\" else one.encode("unicode_escape").decode() for one in text)
