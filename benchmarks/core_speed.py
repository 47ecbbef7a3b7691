"""What the core costs by itself, without a socket: CPU time of one call.

    python -m benchmarks.core_speed [--json FILE]

Each figure is the best of several rounds: the rest is other things that the machine did meanwhile.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from benchmarks import machine, mock_upstream, payloads
from core.dialects import DIALECTS
from core.tokens import Counter, estimate_payload
from core.translate.context import AnswerContext
from core.translate.stream_to_chat import MessagesToChat
from core.translate.stream_to_messages import ChatToMessages
from core.translate.to_chat import to_chat
from core.translate.to_messages import to_messages

ROUNDS = 5
#: Events that travel together when an upstream or a network is busy.
TOGETHER = 16
#: Seconds of CPU time a round takes at least: a thousand times the clock's resolution.
ROUND_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement."""

    what: str
    microseconds: float


def best(call: Callable[[], object]) -> float:
    """CPU microseconds of one call."""
    call()
    times: list[float] = []
    for _ in range(ROUNDS):
        count, started = 0, time.process_time()
        while (took := time.process_time() - started) < ROUND_SECONDS:
            call()
            count += 1
        times.append(took / count)
    return 1e6 * min(times)


def translate(translator: type[ChatToMessages | MessagesToChat], chunks: list[bytes]) -> None:
    stream = translator(AnswerContext(model="mock", seed="benchmark", created=0))
    for chunk in chunks:
        stream.feed(chunk)
    stream.close()


def stream_rows() -> Iterator[Row]:
    """The price of one event of a stream of text, alone in its chunk and among others."""
    chat, messages = list(mock_upstream.chat_events(mock_upstream.BURST)), list(mock_upstream.messages_events(mock_upstream.BURST))
    for what, translator, events in (("chat -> messages", ChatToMessages, chat), ("messages -> chat", MessagesToChat, messages)):
        together = [b"".join(events[at : at + TOGETHER]) for at in range(0, len(events), TOGETHER)]
        for how, chunks in (("alone", events), (f"{TOGETHER} at once", together)):
            yield Row(f"stream event {what}, {how}", best(partial(translate, translator, chunks)) / len(events))


def request_rows() -> Iterator[Row]:
    lower = partial(to_chat, dialect=DIALECTS["openai"], model="mock", answer_model="mock", seed="benchmark", now=0.0)
    lift = partial(to_messages, dialect=DIALECTS["anthropic"], model="mock", answer_model="mock", seed="benchmark", now=0.0)
    for size in payloads.SIZES:
        messages, chat = payloads.request("messages", size), payloads.request("chat", size)
        yield Row(f"request messages -> chat, {size}", best(partial(lower, messages)))
        yield Row(f"request chat -> messages, {size}", best(partial(lift, chat)))
        yield Row(f"count tokens anew, {size}", best(partial(Counter(cache_size=0).payload, messages)))
        yield Row(f"count tokens again, {size}", best(partial(Counter().payload, messages)))
        yield Row(f"estimate tokens, {size}", best(partial(estimate_payload, messages)))


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.core_speed", description="CPU time of the core's calls.")
    parser.add_argument("--json", type=Path, help="write the result to this file as well")
    arguments = parser.parse_args(argv)
    found: list[Row] = []
    for row in chain(stream_rows(), request_rows()):
        print(f"{row.what:<45} {row.microseconds:12.2f} us", flush=True)
        found.append(row)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine.description(), "rows": [asdict(row) for row in found]}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
