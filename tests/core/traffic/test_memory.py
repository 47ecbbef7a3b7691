"""core/traffic/memory.py: what is kept, and what leaves first."""

from __future__ import annotations

from core.traffic.memory import Memory


def keys(memory: Memory[str, int]) -> list[str]:
    return [key for key, _ in memory]


def test_the_longest_unused_leaves_first() -> None:
    memory: Memory[str, int] = Memory(2)
    memory.put("a", 1)
    memory.put("b", 2)
    assert memory.find("a") == 1
    memory.put("c", 3)
    assert (keys(memory), len(memory), memory.find("b")) == (["a", "c"], 2, None)
    memory.put("a", 4)
    memory.put("d", 5)
    assert list(memory) == [("a", 4), ("d", 5)]


def test_what_must_stay_stays_and_the_next_leaves() -> None:
    memory: Memory[str, int] = Memory(2, keep=lambda number: number < 0)
    memory.put("a", -1)
    memory.put("b", 2)
    memory.put("c", 3)
    assert sorted(keys(memory)) == ["a", "c"]


def test_when_all_must_stay_there_are_more_and_later_fewer_again() -> None:
    needed = {"all": True}
    memory: Memory[str, int] = Memory(3, keep=lambda _: needed["all"])
    for number in range(20):
        memory.put(f"{number}", number)
    assert len(memory) == 20
    needed["all"] = False
    for number in range(3):
        memory.put(f"new {number}", number)
    assert keys(memory) == ["new 0", "new 1", "new 2"]


def test_what_is_forgotten_is_gone_and_can_be_forgotten_again() -> None:
    memory: Memory[str, int] = Memory(2)
    memory.put("a", 1)
    memory.forget("a")
    memory.forget("a")
    assert (memory.find("a"), len(memory)) == (None, 0)
