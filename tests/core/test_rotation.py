"""Laws of whose prompt is next: fair over users, then batches, in priorities of which none starves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from comfyledger.core.scheduling import fair_queue as module
from comfyledger.core.scheduling.fair_queue import FairQueue
from comfyledger.core.scheduling.turns import Turns

AGE_MS = 1_000
HIGH, NORMAL, LOW = range(3)


def queued(*entries: tuple[str, str, int], priority: int = NORMAL) -> FairQueue:
    """A rotation with `count` prompts, from 1, of each (user, batch, count)."""
    rotation = FairQueue(AGE_MS, Turns())
    for user, batch, count in entries:
        for prompt in range(1, count + 1):
            rotation.add(priority, user, batch, prompt, 0)
    return rotation


def picks(rotation: FairQueue, count: int, now_ms: int = 0) -> list[tuple[str, int]]:
    found = (pick(rotation, now_ms) for _ in range(count))
    return [one for one in found if one is not None]


def pick(rotation: FairQueue, now_ms: int) -> tuple[str, int] | None:
    return rotation.pick(rotation.urgency(now_ms).priority, now_ms) if rotation else None


def batches(rotation: FairQueue, count: int) -> list[str]:
    return [batch for batch, _ in picks(rotation, count)]


def test_sixty_images_of_one_user_never_block_another() -> None:
    rotation = queued(("areg", "a1", 60), ("mara", "m1", 2))
    assert batches(rotation, 6) == ["a1", "m1", "a1", "m1", "a1", "a1"]


def test_a_user_who_comes_late_is_served_after_one_prompt_of_the_others() -> None:
    rotation = queued(("areg", "a1", 60))
    picks(rotation, 30)
    rotation.add(NORMAL, "mara", "m1", 1, 0)
    assert "m1" in batches(rotation, 2)


def test_the_batches_of_one_user_take_turns_within_the_turns_of_that_user() -> None:
    rotation = queued(("areg", "a1", 3), ("areg", "a2", 3), ("mara", "m1", 6))
    assert batches(rotation, 8) == ["a1", "m1", "a2", "m1", "a1", "m1", "a2", "m1"]


def test_many_batches_give_a_user_no_more_turns() -> None:
    rotation = queued(*(("areg", f"a{count}", 2) for count in range(50)), ("mara", "m1", 10))
    assert batches(rotation, 20).count("m1") == 10


def test_the_prompts_of_a_batch_go_in_their_order() -> None:
    assert picks(queued(("areg", "a1", 4)), 9) == [("a1", 1), ("a1", 2), ("a1", 3), ("a1", 4)]


def test_nothing_is_picked_from_nothing() -> None:
    assert not FairQueue(AGE_MS, Turns())


def test_a_prompt_added_twice_is_picked_once() -> None:
    rotation = queued(("areg", "a1", 2), ("areg", "a1", 2))
    assert len(picks(rotation, 9)) == 2


def test_what_is_discarded_is_not_picked() -> None:
    rotation = queued(("areg", "a1", 3), ("mara", "m1", 1))
    rotation.discard(NORMAL, "areg", "a1", 2)
    rotation.discard(NORMAL, "mara", "m1", 1)
    assert picks(rotation, 9) == [("a1", 1), ("a1", 3)]


@pytest.mark.parametrize("where", [("nobody", "a1", 1), ("areg", "no", 1), ("areg", "a1", 9)])
def test_discarding_what_is_not_there_changes_nothing(where: tuple[str, str, int]) -> None:
    rotation = queued(("areg", "a1", 2))
    rotation.discard(NORMAL, *where)
    assert len(picks(rotation, 9)) == 2


def both(high: int, low: int, low_is: int = NORMAL) -> FairQueue:
    rotation = FairQueue(AGE_MS, Turns())
    for prompt in range(high):
        rotation.add(HIGH, "areg", "urgent", prompt, 0)
    for prompt in range(low):
        rotation.add(low_is, "areg", "later", prompt, 0)
    return rotation


def test_a_higher_priority_goes_first() -> None:
    assert batches(both(3, 3), 6) == ["urgent"] * 3 + ["later"] * 3


@pytest.mark.parametrize(("low_is", "ages"), [(NORMAL, 2), (LOW, 3)])
def test_a_priority_that_waits_unserved_comes_up_by_one_class_for_each_age(low_is: int, ages: int) -> None:
    rotation = both(1_000, 1_000, low_is)
    served = {now for now in range(0, 20 * AGE_MS, 100) if picks(rotation, 1, now)[0][0] == "later"}
    assert min(served) == ages * AGE_MS
    assert len(served) == 20 // ages - (20 % ages == 0)


def test_a_priority_does_not_age_while_nothing_of_it_waits() -> None:
    rotation = both(100, 0)
    picks(rotation, 50, 10 * AGE_MS)
    rotation.add(NORMAL, "areg", "later", 1, 10 * AGE_MS)
    assert picks(rotation, 1, 10 * AGE_MS) == [("urgent", 50)]


def test_a_rotation_that_was_emptied_holds_nothing() -> None:
    rotation = queued(("areg", "a1", 5), ("mara", "m1", 5))
    picks(rotation, 4)
    for prompt in range(1, 6):
        rotation.discard(NORMAL, "areg", "a1", prompt)
        rotation.discard(NORMAL, "mara", "m1", prompt)
    assert all(not ring.users for ring in rotation._rings)


def lines_run(call: Callable[[], Any]) -> int:
    """How many lines of the module a call runs through: a cost without a clock."""
    count = 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace if frame.f_code.co_filename == module.__file__ else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def test_every_operation_costs_the_same_however_much_waits() -> None:
    def costs(size: int) -> list[int]:
        rotation = queued(*((f"user {count}", f"b{count}", 3) for count in range(size)))
        return [
            lines_run(lambda: rotation.add(NORMAL, "user 1", "b1", 9, 0)),
            lines_run(lambda: rotation.discard(NORMAL, f"user {size - 1}", f"b{size - 1}", 1)),
            lines_run(lambda: pick(rotation, 0)),
        ]

    assert costs(3) == costs(3_000)


def test_the_next_one_is_found_without_passing_those_that_went() -> None:
    """A plain dict walks over the places of what was taken out at its front; these structures do not."""
    rotation = queued(("areg", "a1", 3))
    (ring,) = (ring for ring in rotation._rings if ring.users)
    batches = ring.users["areg"].batches
    assert {type(batches), type(batches["a1"])} == {module.OrderedDict}
