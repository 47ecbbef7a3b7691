"""What is told beside the bare numbers: the members of ``context_info`` and of ``usage``, value by value."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
from msgspec import Raw

from core.dialects import Protocol
from core.scaling import Scale
from core.translate.report import NO_WORK, PLAIN, ContextWork, Report, Truncation
from core.translate.usage import Counts

MESSAGES, CHAT = Protocol.ANTHROPIC, Protocol.OPENAI
FULL = Report(extras=True, window=65_536, vision=True, upstream=CHAT, estimates=True)
COUNTS = Counts(40_000, 190, 5, 12)


@dataclass(frozen=True)
class Validation:
    estimated: int
    actual: int
    accuracy_percent: float
    status: str


def info(report: Report, counts: Counts = COUNTS, estimate: int = 0) -> Any:
    return json.loads(report.context_info(counts, estimate))


def test_context_info_in_full() -> None:
    assert info(FULL) == {
        "real_input_tokens": 40_195, "context_hard_limit": 65_536, "endpoint_type": "vision", "upstream": "openai",
        "utilization_percent": 61.3, "available_tokens": 25_341, "risk_level": "SAFE", "warning_level": "warning",
        "truncated": False, "condensation_applied": False, "condensation_strategy": None,
        "tokens_saved": 0, "env_tokens_saved": 0, "images_replaced": 0, "processing_time_ms": 0.0, "cache_hit_ratio": None,
        "max_tokens_clamped": None, "scaling_factor": 1.0, "estimated": False, "token_validation": None,
        "note": "Use these values to manage context and avoid truncation",
    }  # fmt: skip


def test_the_members_come_in_the_order_of_the_documentation() -> None:
    work = ContextWork(Truncation(70_112, 6))
    assert list(info(replace(FULL, work=work)))[8:13] == [
        "truncated",
        "original_tokens",
        "messages_removed",
        "truncation_reason",
        "client_note",
    ]
    assert list(info(FULL))[:3] == ["real_input_tokens", "context_hard_limit", "endpoint_type"]


def test_what_was_done_to_the_conversation_is_told() -> None:
    cut = Truncation(70_112, 6, client_note='100 % of "it" \u2028 went')
    work = ContextWork(cut, "smart_truncation", 29_917, 17, 2, 1.25, 0.5)
    found = info(replace(FULL, work=work, max_tokens_clamped=4096, scale=Scale(128_000, 65_536)))
    assert {name: found[name] for name in list(found)[8:20]} == {
        "truncated": True, "original_tokens": 70_112, "messages_removed": 6, "truncation_reason": "context_overflow",
        "client_note": '100 % of "it" \u2028 went', "condensation_applied": True, "condensation_strategy": "smart_truncation",
        "tokens_saved": 29_917, "env_tokens_saved": 17, "images_replaced": 2, "processing_time_ms": 1.25, "cache_hit_ratio": 0.5,
    }  # fmt: skip
    assert (found["max_tokens_clamped"], found["scaling_factor"]) == (4096, 1.9531)


def test_without_a_known_window_nothing_is_said_about_it() -> None:
    assert set(info(FULL)) - set(info(replace(FULL, window=None))) == {
        "context_hard_limit", "utilization_percent", "available_tokens", "risk_level", "warning_level",
    }  # fmt: skip
    told = json.loads(replace(FULL, window=None).usage_of(CHAT, COUNTS))
    assert (told["real_input_tokens"], told["endpoint_type"]) == (40_195, "vision")
    assert not {"context_limit", "context_utilization"} & told.keys()


def test_the_additional_members_of_usage() -> None:
    told = json.loads(replace(FULL, vision=False, scale=Scale(2, 1)).usage_of(MESSAGES, COUNTS))
    assert told == {
        "input_tokens": 80_000, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 380, "output_tokens": 24,
        "real_input_tokens": 40_195, "context_limit": 65_536, "context_utilization": "61.3%", "endpoint_type": "text",
    }  # fmt: skip


def test_the_start_of_a_stream_has_numbers_alone() -> None:
    assert json.loads(replace(FULL, scale=Scale(2, 1)).start_usage(Counts(3))) == {
        "input_tokens": 6, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("prompt", "saved", "risk", "warning", "percent", "available"),
    [
        pytest.param(0, 0, "SAFE", "none", 0.0, 1000, id="nothing"),
        pytest.param(600, 0, "SAFE", "none", 60.0, 400, id="just not yet a warning"),
        pytest.param(601, 0, "SAFE", "warning", 60.1, 399, id="a warning"),
        pytest.param(699, 0, "SAFE", "warning", 69.9, 301, id="just not yet caution"),
        pytest.param(700, 0, "CAUTION", "warning", 70.0, 300, id="caution"),
        pytest.param(799, 0, "CAUTION", "warning", 79.9, 201, id="still caution"),
        pytest.param(800, 0, "WARNING", "warning", 80.0, 200, id="condensing would begin"),
        pytest.param(801, 0, "WARNING", "critical", 80.1, 199, id="and clients should care"),
        pytest.param(900, 0, "CRITICAL", "critical", 90.0, 100, id="critical"),
        pytest.param(999, 0, "CRITICAL", "critical", 99.9, 1, id="the last token"),
        pytest.param(1000, 0, "OVERFLOW", "critical", 100.0, 0, id="full"),
        pytest.param(1500, 0, "OVERFLOW", "critical", 150.0, 0, id="more than full"),
        pytest.param(500, 300, "WARNING", "none", 50.0, 500, id="the risk is that before edits"),
    ],
)
def test_levels(prompt: int, saved: int, risk: str, warning: str, percent: float, available: int) -> None:
    found = info(replace(FULL, window=1000, work=ContextWork(tokens_saved=saved)), Counts(prompt))
    assert (found["risk_level"], found["warning_level"]) == (risk, warning)
    assert (found["utilization_percent"], found["available_tokens"]) == (percent, available)


def test_levels_begin_where_the_settings_say() -> None:
    report = replace(FULL, window=1000, thresholds=(0.1, 0.2, 0.3))
    assert [info(report, Counts(prompt))["risk_level"] for prompt in (99, 100, 200, 300)] == ["SAFE", "CAUTION", "WARNING", "CRITICAL"]


# ---------------------------------------------------------------------------------------------------- validation

JUDGED = replace(FULL, vision=False, validate=lambda estimated, actual: Validation(estimated, actual, 99.54, "warning"))


def test_the_estimate_is_compared_with_the_real_number() -> None:
    found = info(replace(JUDGED, scale=Scale(2, 1)), COUNTS, 40_010)["token_validation"]
    assert found == {"estimated": 40_010, "actual": 40_195, "accuracy_percent": 99.5, "status": "warning"}


@pytest.mark.parametrize(
    ("report", "counts", "estimate"),
    [
        pytest.param(replace(JUDGED, vision=True), COUNTS, 40_010, id="with pictures"),
        pytest.param(JUDGED, COUNTS, 0, id="without an estimate"),
        pytest.param(JUDGED, Counts(output=2), 40_010, id="without a prompt"),
        pytest.param(JUDGED, Counts().repaired(40_010), 40_010, id="with itself"),
        pytest.param(FULL, COUNTS, 40_010, id="where nobody wants it"),
        pytest.param(replace(JUDGED, validate=lambda *_: None), COUNTS, 40_010, id="where nobody can"),
    ],
)
def test_what_is_not_compared(report: Report, counts: Counts, estimate: int) -> None:
    assert info(report, counts, estimate)["token_validation"] is None


def test_an_estimate_says_that_it_is_one() -> None:
    assert info(FULL, Counts().repaired(7))["estimated"] is True


# ---------------------------------------------------------------------------------------------------- same wire

RAW = Raw(b'{"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4, "vendor": {"x": 1.50}}')
HEARD = Counts(3, output=1)


def test_right_numbers_pass_as_they_came() -> None:
    assert PLAIN.relayed(CHAT, RAW, HEARD, is_right=True) is None


def test_additional_members_stand_behind_what_came() -> None:
    told = FULL.relayed(CHAT, RAW, HEARD, is_right=True)
    assert told is not None
    assert bytes(told).startswith(bytes(RAW)[:-1] + b',"real_input_tokens":3,"context_limit":65536,')


def test_wrong_numbers_are_replaced_and_the_vendors_other_members_stay() -> None:
    told = PLAIN.relayed(CHAT, RAW, Counts(5, output=2), is_right=False)
    assert told is not None
    assert json.loads(bytes(told)) == {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "vendor": {"x": 1.5}}


def test_the_members_of_another_proxy_on_the_way_are_replaced() -> None:
    raw = Raw(b'{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4,"real_input_tokens":99,"endpoint_type":"text"}')
    told = FULL.relayed(CHAT, raw, HEARD, is_right=True)
    assert told is not None
    assert bytes(told).count(b"real_input_tokens") == 1
    assert json.loads(bytes(told))["real_input_tokens"] == 3


def test_a_scale_takes_all_counts_of_the_vendor_along() -> None:
    raw = {
        "prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14, "cached_tokens": 6, "prompt_cache_miss_tokens": 4, "queue_time": 2,
        "odd_tokens": 1.5, "huge_tokens": 10**30, "prompt_tokens_details": {"cached_tokens": 6, "audio_tokens": 2, "ratio": 1},
        "completion_tokens_details": None,
    }  # fmt: skip
    told = replace(PLAIN, scale=Scale(3, 1)).relayed(CHAT, Raw(json.dumps(raw).encode()), Counts(4, 6, output=4), is_right=True)
    assert told is not None
    assert json.loads(bytes(told)) == {
        "prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42, "cached_tokens": 18, "prompt_cache_miss_tokens": 12, "queue_time": 2,
        "odd_tokens": 1.5, "huge_tokens": 10**30, "prompt_tokens_details": {"cached_tokens": 18, "audio_tokens": 6, "ratio": 1},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }  # fmt: skip


def test_tokens_that_the_proxy_saved_are_told_as_input_if_that_is_wanted() -> None:
    saved = replace(FULL, work=ContextWork(tokens_saved=100), adds_saved=True, scale=Scale(2, 1))
    told = json.loads(saved.usage_of(MESSAGES, Counts(10, 3)))
    assert (told["input_tokens"], told["cache_read_input_tokens"], told["real_input_tokens"]) == (220, 6, 13)
    assert info(saved, Counts(10, 3))["real_input_tokens"] == 13
    assert json.loads(replace(saved, adds_saved=False).usage_of(MESSAGES, Counts(10, 3)))["input_tokens"] == 20


def test_what_alters_numbers() -> None:
    assert not PLAIN.alters
    assert not replace(FULL, work=ContextWork(tokens_saved=100)).alters
    assert not replace(FULL, work=NO_WORK, adds_saved=True).alters
    assert replace(FULL, work=ContextWork(tokens_saved=1), adds_saved=True).alters
    assert replace(FULL, scale=Scale(2, 1)).alters


def test_without_extras_there_is_no_context_info() -> None:
    assert PLAIN.info(COUNTS, 7) == b""
    assert FULL.info(COUNTS, 7).startswith(b',"context_info":{"real_input_tokens":40195,')
