"""Reports by the settings and the target, and what becomes of estimates that were far off."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.dialects import DIALECTS, Protocol
from core.errors import BadRequest
from core.record import Record
from core.reporting import Reports, check
from core.routing import Target
from core.scaling import UNSCALED, Scale
from core.settings import Settings
from core.settings.upstreams import GlmModel, Limits
from core.translate.context import AnswerContext
from core.translate.report import ContextWork
from core.translate.usage import Counts

MESSAGES, CHAT = Protocol.ANTHROPIC, Protocol.OPENAI
SETTINGS = Settings(openai_expected_tokens=128_000)


def target(protocol: Protocol = CHAT, **more: Any) -> Target:
    found = Target(
        "international", protocol, "https://x", "glm-4.6", "auto", next(iter(DIALECTS.values())), limits=Limits(200_000, 131_072)
    )
    return replace(found, **more)


@pytest.mark.parametrize(
    ("settings", "to", "wire", "expected"),
    [
        pytest.param(SETTINGS, target(MESSAGES), CHAT, Scale(128_000, 200_000), id="Messages to chat"),
        pytest.param(SETTINGS, target(), MESSAGES, Scale(200_000, 128_000), id="chat to Messages"),
        pytest.param(SETTINGS, target(vision=True), CHAT, Scale(128_000, 65_536), id="pictures, chat to chat"),
        pytest.param(SETTINGS, target(vision=True), MESSAGES, Scale(200_000, 65_536), id="pictures, chat to Messages"),
        pytest.param(SETTINGS, target(MESSAGES, glm=False), CHAT, UNSCALED, id="a provider"),
        pytest.param(replace(SETTINGS, enable_token_scaling=False), target(MESSAGES), CHAT, UNSCALED, id="switched off"),
        pytest.param(
            replace(SETTINGS, models=(GlmModel("big", "Big", "glm-4.6", openai_expected_tokens=400_000),)),
            target(MESSAGES), CHAT, Scale(400_000, 200_000), id="a model whose clients expect another window",
        ),
        pytest.param(
            replace(SETTINGS, models=(GlmModel("big", "Big", "glm-4.6"), GlmModel("other", "Other", "glm-5", openai_expected_tokens=400_000))),
            target(MESSAGES), CHAT, Scale(128_000, 200_000), id="a model of which nothing is said",
        ),
    ],
)  # fmt: skip
def test_the_scale(settings: Settings, to: Target, wire: Protocol, expected: Scale) -> None:
    assert Reports(settings).of(to, wire).scale == expected


def test_a_report_is_made_once_for_a_kind_of_target() -> None:
    reports = Reports(SETTINGS)
    found = reports.of(target(), CHAT)
    assert reports.of(target(reason="another", model="glm-4.5"), CHAT) is found
    others = [target(MESSAGES), target(glm=False), target(vision=True), target(limits=Limits(65_536))]
    assert all(reports.of(other, CHAT) is not found for other in others)
    assert reports.of(target(), MESSAGES) is not found


def test_it_is_remembered_for_a_limited_number_of_windows() -> None:
    reports = Reports(SETTINGS)
    found = reports.of(target(limits=Limits(0)), CHAT)
    for window in range(1, 1025):
        reports.of(target(limits=Limits(window)), CHAT)
    assert len(reports._known) <= 1024
    assert reports.of(target(limits=Limits(0)), CHAT) is not found
    assert reports.of(target(limits=Limits(0)), CHAT) == found


def test_what_a_report_says_of_its_target() -> None:
    report = Reports(SETTINGS).of(target(vision=True), CHAT)
    assert (report.upstream, report.vision, report.window, report.estimates) == (CHAT, True, 200_000, True)
    assert (report.thresholds, report.extras, report.adds_saved) == ((0.70, 0.80, 0.90), True, False)
    assert (report.max_tokens_clamped, report.work) == (None, ContextWork())


def test_what_the_settings_change_in_it() -> None:
    chosen = replace(
        SETTINGS,
        include_context_info=False,
        usage_basis="raw",
        condensation_caution_threshold=0.1,
        condensation_warning_threshold=0.2,
        condensation_critical_threshold=0.3,
        enable_token_validation=False,
    )
    report = Reports(chosen).of(target(), CHAT)
    assert (report.extras, report.adds_saved, report.thresholds, report.validate) == (False, True, (0.1, 0.2, 0.3), None)


def test_what_is_particular_to_a_request() -> None:
    reports, work = Reports(SETTINGS), ContextWork(tokens_saved=7)
    report = reports.of(target(), CHAT, max_tokens_clamped=5, work=work)
    assert (report.max_tokens_clamped, report.work) == (5, work)
    assert b'"max_tokens_clamped":5' in report.context_info(Counts(1), 0)
    assert b'"tokens_saved":7' in report.context_info(Counts(1), 0)
    assert reports.of(target(), CHAT, work=work).work == work
    assert reports.of(target(), CHAT).max_tokens_clamped is None


# ---------------------------------------------------------------------------------------------------- validation


THOUSAND = Counts(1000)


def judged(estimate: int, counts: Counts = THOUSAND, *, stream: bool = False, images: bool = False, **settings: Any) -> Record:
    record = Record("req_1", "/v1/messages", 0.0, counts=counts, stream=stream)
    chosen = replace(SETTINGS, **settings)
    check(record, AnswerContext("glm", "seed", 1, input_tokens=estimate, report=Reports(chosen).of(target(vision=images), CHAT)), chosen)
    return record


@pytest.mark.parametrize(
    ("estimate", "alarms"),
    [
        pytest.param(1000, [], id="right"),
        pytest.param(910, [], id="nearly"),
        pytest.param(850, [("warning", "estimated 850 input tokens, the upstream counted 1000 (85.0 %)")], id="off"),
        pytest.param(2000, [("error", "estimated 2000 input tokens, the upstream counted 1000 (50.0 %)")], id="far off"),
    ],
)
def test_an_estimate_that_was_off_is_an_alarm_that_says_what_to_do(estimate: int, alarms: list[tuple[str, str]]) -> None:
    found = judged(estimate)
    assert [(level, text.split("; ")[0]) for level, text in found.alarms] == [
        (level, f"token validation {level}: {text}") for level, text in alarms
    ]
    for _, text in found.alarms:
        assert all(
            name in text for name in ("TOKEN_CALIBRATION", "TOKENIZER_JSON", "TOKEN_COUNTING_MODEL", "ENABLE_TOKEN_VALIDATION=false")
        )
        assert len(text) < 500
    assert found.notes == []


def test_by_default_no_answer_is_withheld() -> None:
    assert judged(2000).error is None


def test_a_strict_house_refuses_a_plain_answer_whose_count_is_far_off() -> None:
    with pytest.raises(BadRequest, match=r"estimated 2000 input tokens, the upstream counted 1000 \(50.0 %\)") as refused:
        judged(2000, token_validation_strict=True)
    assert (refused.value.status, refused.value.code) == (400, "token_validation_failed")


@pytest.mark.parametrize(
    "found",
    [
        pytest.param({"stream": True}, id="a stream has gone out"),
        pytest.param({"images": True}, id="pictures"),
        pytest.param({"counts": Counts(output=3)}, id="an upstream that does not count"),
        pytest.param({"counts": Counts().repaired(1000)}, id="an estimate beside another"),
        pytest.param({"enable_token_validation": False}, id="switched off"),
    ],
)
def test_even_there_it_is_not_withheld_for(found: dict[str, Any]) -> None:
    assert judged(2000, token_validation_strict=True, **found).error is None


def test_even_there_a_warning_is_no_error() -> None:
    assert len(judged(850, token_validation_strict=True).alarms) == 1
