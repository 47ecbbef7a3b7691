"""The effects: records that a flow yields, each answered with the reply of its type."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from core import effects
from core.effects import EFFECTS, Deadlines, Effect, Flow, Head, Load, Read, Request, Start, UpstreamRequest, Vitals


def test_a_flow_yields_the_effect_itself_and_goes_on_with_its_reply() -> None:
    def flow() -> Flow[list[object]]:
        return [(yield from Load(b"key")), (yield from Read(2.0))]

    running = flow()
    assert next(running) == Load(b"key")
    assert running.send(b"value") == Read(2.0)
    with pytest.raises(StopIteration) as end:
        running.send(None)
    assert end.value.value == [b"value", None]


def test_every_effect_is_in_the_list_that_drivers_are_held_to() -> None:
    declared = {value for value in vars(effects).values() if isinstance(value, type) and issubclass(value, Effect) and value is not Effect}
    assert set(EFFECTS) == declared


@pytest.mark.parametrize("record", [*EFFECTS, Request, UpstreamRequest, Head, Deadlines, Vitals], ids=lambda one: one.__name__)
def test_what_travels_is_frozen_and_has_no_dictionary(record: Any) -> None:
    assert record.__dataclass_params__.frozen
    assert "__slots__" in vars(record)
    assert not any("__dict__" in vars(base) for base in record.__mro__ if base.__module__ == "core.effects")
    assert dataclasses.is_dataclass(record)


def test_a_header_is_found_by_its_first_value() -> None:
    head = Head(200, [(b"via", b"one"), (b"via", b"two")])
    assert head.get(b"via") == b"one"
    assert head.get(b"age") is None
    assert Start(head) == Start(head)
