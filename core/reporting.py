"""How usage is told under given settings: a report per kind of target, and what becomes of a count that was far off."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Final

from core.calibration import validate
from core.dialects import Protocol
from core.errors import BadRequest
from core.record import Record
from core.routing import Target
from core.scaling import UNSCALED, Scale, Windows, scale
from core.settings import Settings
from core.translate.context import AnswerContext
from core.translate.report import NO_WORK, ContextWork, Report

#: Kinds of targets remembered. There are as many as the configuration has windows, times eight; the limit is for safety alone.
_KINDS: Final = 1024

#: What a count that was far off means, and what can be done.
_ADVICE: Final = (
    "numbers told before an answer (count_tokens, message_start) may be off by as much; TOKEN_CALIBRATION corrects estimates, "
    "TOKENIZER_JSON or TOKEN_COUNTING_MODEL makes counts exact, ENABLE_TOKEN_VALIDATION=false switches this check off"
)


class Reports:
    """The reports of one configuration. Each kind of target has one, made when it is first asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._own = {model.text_model_name: model.openai_expected_tokens for model in settings.models if model.openai_expected_tokens}
        self._validate = functools.partial(validate, settings=settings) if settings.enable_token_validation else None
        self._thresholds = (
            settings.condensation_caution_threshold,
            settings.condensation_warning_threshold,
            settings.condensation_critical_threshold,
        )
        self._known: dict[tuple[object, ...], Report] = {}

    def of(self, target: Target, wire: Protocol, *, max_tokens_clamped: int | None = None, work: ContextWork = NO_WORK) -> Report:
        """How an answer of ``target`` is told to a client of ``wire``.

        ``max_tokens_clamped``: the output limit that was sent in place of the client's; ``work``: what was done to the conversation.
        """
        window = target.limits.max_input_tokens
        anthropic = target.protocol is Protocol.ANTHROPIC  # an Enum's hash is dear
        key = (wire is Protocol.ANTHROPIC, anthropic, target.glm, target.vision, window, self._own.get(target.model))
        report = self._known.get(key)
        if report is None:
            if len(self._known) >= _KINDS:
                self._known.clear()
            report = self._known[key] = self._made(target, wire)
        if max_tokens_clamped is None and work is NO_WORK:
            return report
        return replace(report, max_tokens_clamped=max_tokens_clamped, work=work)

    def _made(self, target: Target, wire: Protocol) -> Report:
        settings = self._settings
        return Report(
            self._scale(target, wire),
            estimates=True,
            extras=settings.include_context_info,
            upstream=target.protocol,
            vision=target.vision,
            window=target.limits.max_input_tokens,
            thresholds=self._thresholds,
            adds_saved=settings.usage_basis == "raw",
            validate=self._validate,
        )

    def _scale(self, target: Target, wire: Protocol) -> Scale:
        settings = self._settings
        if not (target.glm and settings.enable_token_scaling):
            return UNSCALED
        openai = self._own.get(target.model) or settings.openai_expected_tokens
        windows = Windows(settings.anthropic_expected_tokens, openai, settings.real_vision_model_tokens)
        return scale(target.protocol, wire, windows, vision=target.vision)


def check(record: Record, answer: AnswerContext, settings: Settings) -> None:
    """Note in the record of an answered request if its estimate was far from what the upstream counted.

    ``record.counts`` are final. Raises ``BadRequest`` (``token_validation_failed``) for an error under TOKEN_VALIDATION_STRICT, unless the
    answer is a stream, which has gone out.
    """
    verdict = answer.report.verdict(record.counts, answer.input_tokens)
    if verdict is None or verdict.status == "ok":
        return
    found = f"estimated {verdict.estimated} input tokens, the upstream counted {verdict.actual} ({verdict.accuracy_percent:.1f} %)"
    record.alarm("error" if verdict.status == "error" else "warning", f"token validation {verdict.status}: {found}; {_ADVICE}")
    if verdict.status == "error" and settings.token_validation_strict and not record.stream:
        raise BadRequest(f"the count of this request's tokens cannot be trusted: {found}", code="token_validation_failed")
