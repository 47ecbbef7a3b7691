"""What is left out is named, or refused in strict mode."""

from __future__ import annotations

import pytest
from msgspec import Raw

from core.errors import BadRequest
from core.translate.loss import Loss, Losses, asks, refuse
from core.wire.codec import ABSENT


def test_losses_are_kept_in_order() -> None:
    losses = Losses()
    losses.drop("a.b", "b", "no place")
    losses.drop("c", "c", "no place either")
    assert losses.found == [Loss("a.b", "b", "no place"), Loss("c", "c", "no place either")]


def test_strict_mode_refuses_the_first_loss() -> None:
    losses = Losses(strict=True)
    with pytest.raises(BadRequest) as caught:
        losses.drop("messages[1].content[0]", "citations", "no place")
    error = caught.value
    assert (error.status, error.code, error.param) == (400, "unsupported_parameter", "messages[1].content[0]")
    assert error.message == "messages[1].content[0]: citations cannot be carried to the upstream: no place"
    assert losses.found == []


def test_a_refusal_names_place_and_reason() -> None:
    error = refuse("container", "exists elsewhere")
    assert (error.message, error.param, error.code) == ("container: exists elsewhere", "container", "unsupported_parameter")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (ABSENT, False),
        *((Raw(value), False) for value in (b"null", b"[]", b"[ ]", b"{}", b"{\n}", b'""', b'{ "enabled": false }')),
        *((Raw(value), True) for value in (b"0", b"false", b"[0]", b'" "', b'{"enabled":true}', b'{"a":null}')),
    ],
)
def test_what_asks_for_nothing(raw: Raw, expected: bool) -> None:
    assert asks(raw) is expected
