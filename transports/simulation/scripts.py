"""Requests in, scripts out: the pure half of the simulated upstream."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from transports.simulation import answers, chat, deliveries, messages
from transports.simulation.answers import Answer
from transports.simulation.failures import FAILURES, OVERFLOWS, RETRY_AFTER, ZAI_MESSAGES
from transports.simulation.questions import Malformed, Question
from transports.simulation.scenarios import SCENARIOS, Chosen, Mode, Special, choose
from transports.simulation.steps import Body, Head, Hold, Script
from transports.simulation.wire import Failure, Wire, encoded

_JSON = (("content-type", "application/json"),)
_SSE = (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"))

#: Seconds of every silence of ``demo-slow`` when neither its name nor the request says.
_SILENCE = 1.0

#: Models that are listed beside the scenarios, so that clients with fixed names find something familiar.
_PLAIN_MODELS = ("glm-4.7", "glm-4.6v")


def messages_script(body: object, earlier: int = 0) -> Script:
    """The answer to ``POST .../v1/messages``; ``body`` is the parsed JSON.

    ``earlier``: how many requests equal to this one came before it, which only ``demo-flaky`` minds.
    """
    return _script(messages.WIRE, body, earlier)


def chat_script(body: object, earlier: int = 0) -> Script:
    """The answer to ``POST .../chat/completions``; the arguments are those of ``messages_script``."""
    return _script(chat.WIRE, body, earlier)


def count_script(body: object, earlier: int = 0) -> Script:
    """The answer to ``POST .../v1/messages/count_tokens``: the number that the usage of an answer would report."""
    wire = replace(messages.WIRE, read=messages.read_uncounted)
    try:
        question, chosen = _understood(wire, body)
    except _Refused as refused:
        return _failed(wire, refused.failure, "0")
    early = _early(wire, question, chosen, earlier)
    return early or _whole(200, encoded({"input_tokens": question.prompt_tokens}))


def answer(method: str, path: str, body: bytes, *, speaks_messages: bool = False, earlier: int = 0) -> Script:
    """The script for any request. ``path`` has no query; only its end counts, so that any base works.

    ``speaks_messages``: the client is one of the Messages API although the path does not say so.
    """
    if method == "HEAD":
        whole = answer("GET", path, body, speaks_messages=speaks_messages, earlier=earlier)
        return (step for step in whole if not isinstance(step, Body))
    wire = messages.WIRE if speaks_messages or "/anthropic" in path or path.endswith("/messages") else chat.WIRE
    for ending, script in _POSTS.items():
        if method == "POST" and path.endswith(ending):
            try:
                parsed = json.loads(body)
            except (ValueError, RecursionError):
                return _failed(wire, _malformed("the body is not JSON"), "0")
            return script(parsed, earlier)
    if method == "GET" and path.endswith("/models"):
        return _whole(200, encoded(_models_of_messages() if wire is messages.WIRE else _models_of_chat()))
    if method == "GET" and path == "/":
        return _whole(200, encoded({"simulated": True, "models": [*_PLAIN_MODELS, *SCENARIOS]}))
    return _failed(wire, replace(FAILURES[404], message=f"Simulated: nothing at {method} {path}"), "0")


_POSTS = {"/messages/count_tokens": count_script, "/messages": messages_script, "/chat/completions": chat_script}


class _Refused(Exception):
    """The request gets an error whatever its scenario."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def _script(wire: Wire, body: object, earlier: int) -> Script:
    try:
        question, chosen = _understood(wire, body)
    except _Refused as refused:
        return _failed(wire, refused.failure, "0")
    return _early(wire, question, chosen, earlier) or _answered(wire, question, chosen)


def _understood(wire: Wire, body: object) -> tuple[Question, Chosen]:
    """Raises ``_Refused``."""
    if not isinstance(body, dict):
        raise _Refused(_malformed("the body is not an object"))
    try:
        question = wire.read(body)
    except Malformed as error:
        raise _Refused(_malformed(str(error))) from None
    chosen = choose(question.model)
    if chosen is None:
        known = ", ".join(SCENARIOS)
        raise _Refused(replace(FAILURES[404], message=f"Simulated: no model {question.model}; there are {known}"))
    return question, chosen


def _malformed(message: str) -> Failure:
    return replace(FAILURES[400], message=message)


def _early(wire: Wire, question: Question, chosen: Chosen, earlier: int) -> Script | None:
    """The script of a scenario that ends before there is an answer, on count_tokens as well; None for all others."""
    match chosen.scenario.special:
        case Special.STATUS:
            return _failed(wire, FAILURES[chosen.scenario.status], question.key, chosen.parameter or RETRY_AFTER)
        case Special.FLAKY if earlier < int(_number(chosen.parameter, 1)):
            return _failed(wire, FAILURES[503], question.key)
        case Special.HTML:
            page = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n"
            return _whole(502, page, (("content-type", "text/html"),))
        case Special.ERROR_IN_200:
            code = chosen.parameter or "1305"
            return _whole(200, encoded({"error": {"code": code, "message": ZAI_MESSAGES.get(code, f"Business error {code}.")}}))
        case Special.OVERFLOW if chosen.parameter in OVERFLOWS:
            status, body = OVERFLOWS[chosen.parameter]
            return _whole(status, encoded(body))
        case Special.OVERFLOW:
            return _failed(wire, wire.overflow, question.key)
        case Special.SILENT:
            return iter((Hold(),))
        case _:
            return None


def _answered(wire: Wire, question: Question, chosen: Chosen) -> Script:
    scenario = chosen.scenario
    said = _composed(question, chosen)
    delivery = deliveries.slow(_silence(question, chosen)) if scenario.special is Special.SLOW else scenario.delivery
    named = ((wire.request_id, f"req_{question.key}"),)
    if scenario.mode is Mode.ALWAYS_STREAM or (question.stream and scenario.mode is Mode.AS_ASKED):
        return delivery(Head(200, (*_SSE, *named)), wire.frames(question, said, scenario.bend))
    data = encoded(wire.whole(question, said, scenario.bend))
    return delivery(Head(200, (*_JSON, *named), len(data)), [data])


def _composed(question: Question, chosen: Chosen) -> Answer:
    said = chosen.scenario.answer(question)
    if chosen.scenario.special is Special.FINISH:
        said = replace(said, reason=chosen.parameter)
    if said.blocks and (question.thinks or chosen.scenario.thinks):
        said = replace(said, blocks=(answers.thinking(question), *said.blocks))
    return said


def _silence(question: Question, chosen: Chosen) -> float:
    return _number(chosen.parameter, _number(question.note, _SILENCE))


def _number(text: str, default: float) -> float:
    """``text`` as a number that is not negative, else ``default``."""
    try:
        return max(0.0, float(text))
    except ValueError:
        return default


def _failed(wire: Wire, failure: Failure, key: str, retry_after: str = RETRY_AFTER) -> Script:
    waiting = (("retry-after", retry_after), *wire.limits) if failure.status == 429 else ()
    headers = (*_JSON, (wire.request_id, f"req_{key}"), *waiting)
    return _whole(wire.status(failure), encoded(wire.failure(failure, key)), headers)


def _whole(status: int, body: bytes, headers: tuple[tuple[str, str], ...] = _JSON) -> Script:
    return iter((Head(status, headers, len(body)), Body(body)))


def _models_of_messages() -> dict[str, Any]:
    names = [*_PLAIN_MODELS, *SCENARIOS]
    data = [
        {
            "type": "model",
            "id": name,
            "display_name": f"{name} (simulated)",
            "created_at": "2026-01-01T00:00:00Z",
            "lifecycle": "active",
            "max_input_tokens": 200_000,
            "max_tokens": 32_000,
        }
        for name in names
    ]
    return {"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]}


def _models_of_chat() -> dict[str, Any]:
    names = [*_PLAIN_MODELS, *SCENARIOS]
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": chat.CREATED, "owned_by": "simulator"} for name in names],
    }
