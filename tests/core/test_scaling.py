"""The token scaler: every cell of its table, and numbers that floating point would get wrong."""

from __future__ import annotations

import pytest

from core.dialects import Protocol
from core.scaling import UNSCALED, Scale, Windows, scale

MESSAGES, CHAT = Protocol.ANTHROPIC, Protocol.OPENAI
WINDOWS = Windows(anthropic=200_000, openai=128_000, vision=65_536)


@pytest.mark.parametrize(
    ("upstream", "caller", "text", "vision"),
    [
        pytest.param(MESSAGES, CHAT, Scale(128_000, 200_000), Scale(128_000, 200_000), id="Messages to chat"),
        pytest.param(CHAT, CHAT, Scale(128_000, 128_000), Scale(128_000, 65_536), id="chat to chat"),
        pytest.param(CHAT, MESSAGES, Scale(200_000, 128_000), Scale(200_000, 65_536), id="chat to Messages"),
        pytest.param(MESSAGES, MESSAGES, UNSCALED, UNSCALED, id="Messages to Messages"),
    ],
)
def test_the_factor_of_each_pair(upstream: Protocol, caller: Protocol, text: Scale, vision: Scale) -> None:
    assert scale(upstream, caller, WINDOWS, vision=False) == text
    assert scale(upstream, caller, WINDOWS, vision=True) == vision


@pytest.mark.parametrize("upstream", [MESSAGES, CHAT])
@pytest.mark.parametrize("caller", [MESSAGES, CHAT])
def test_text_is_never_changed_where_both_wires_expect_the_same_window(upstream: Protocol, caller: Protocol) -> None:
    assert scale(upstream, caller, Windows(200_000, 200_000, 65_536), vision=False).is_identity


@pytest.mark.parametrize(
    ("found", "count", "told"),
    [
        pytest.param(Scale(128_000, 200_000), 200_000, 128_000, id="a full text window"),
        pytest.param(Scale(128_000, 65_536), 65_536, 128_000, id="a full vision window"),
        pytest.param(Scale(128_000, 200_000), 1, 1, id="something is never told as nothing"),
        pytest.param(Scale(128_000, 200_000), 0, 0, id="nothing is nothing"),
        pytest.param(Scale(128_000, 200_000), -7, -7, id="a negative is nobody's number"),
        pytest.param(Scale(128_000, 200_000), None, None, id="what is not known"),
        pytest.param(Scale(128_000, 200_000), 3, 1, id="the whole part"),
        pytest.param(Scale(7, 7), 3, 3, id="equal windows"),
        # In floating point this product is one too large.
        pytest.param(Scale(131_072, 200_000), 3 * 10**17 + 1, (3 * 10**17 + 1) * 131_072 // 200_000, id="exactly"),
        pytest.param(Scale(29, 100), 100, 29, id="where 100 * 0.29 is 28.999999999999996"),
    ],
)
def test_a_count_in_the_units_of_the_client(found: Scale, count: int | None, told: int | None) -> None:
    assert found.of(count) == told


def test_the_factor_as_a_number() -> None:
    assert (Scale(128_000, 200_000).factor, UNSCALED.factor) == (0.64, 1.0)
    assert not Scale(128_000, 65_536).is_identity
