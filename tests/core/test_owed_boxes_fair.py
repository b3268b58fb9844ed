"""Laws of turns across the boxes of a fleet: all of them count what any of them sends, and each picks other prompts."""

from __future__ import annotations

from collections import Counter

import pytest

from comfyledger.core.events import PromptSubmitting
from comfyledger.core.scheduling.effects import SubmitPrompt
from comfyledger.core.scheduling.turns import NEVER, Turns
from support.core_builders import accepted, failed, finished, intended, kept, submit, uploaded, uploading
from support.plain_fleet import PlainBox, PlainFleet


def three(depth: int = 1) -> PlainFleet:
    return PlainFleet({"east": ["a"], "north": ["a"], "south": ["a"]}, depth)


def turns_of(box: PlainBox) -> Turns:
    return box.owed._queue._turns


def picked(box: PlainBox) -> list[SubmitPrompt]:
    return [effect for effect in box.take() if isinstance(effect, SubmitPrompt)]


def sent(fleet: PlainFleet) -> list[str]:
    """The batches of the prompts that were sent, in their order."""
    return [entry.event.batch_id for entry in fleet.ledger.log if isinstance(entry.event, PromptSubmitting)]


def test_what_one_box_sends_is_a_turn_of_its_user_at_every_box() -> None:
    fleet = three()
    fleet["east"].given(submit("b1", 5, user="Areg"), submit("b2", 5, user="Mara"))
    fleet["east"].given(intended(1, batch="b1", backend="east.a"), accepted(1, batch="b1"))
    for name in ("north", "south"):
        assert (turns_of(fleet[name]).last("areg"), turns_of(fleet[name]).last("mara")) == (1, NEVER)
        (effect,) = picked(fleet[name])
        assert effect.batch_id == "b2"


def test_a_pick_that_is_sent_counts_once_at_each_box() -> None:
    fleet = three()
    fleet["east"].post(submit(quantity=9))
    (effect,) = picked(fleet["east"])
    fleet["east"].perform(effect)
    assert [turns_of(box).now for box in fleet.boxes.values()] == [1, 1, 1]


def test_a_pick_that_another_box_sent_first_counts_once_and_the_next_prompt_goes_at_once() -> None:
    fleet = three()
    fleet["east"].post(submit(quantity=9))
    (effect,) = picked(fleet["south"])
    fleet["north"].given(intended(effect.prompt, backend="north.a"))
    assert turns_of(fleet["south"]).now == 1
    fleet["south"].perform(effect)
    (other,) = picked(fleet["south"])
    assert other.prompt != effect.prompt


def test_an_attempt_that_failed_elsewhere_leaves_its_prompt_where_any_box_may_take_it() -> None:
    fleet = three()
    fleet["east"].given(submit(quantity=1), intended(backend="east.a"), accepted(), failed())
    (effect,) = picked(fleet["south"])
    assert effect.attempt == 2


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_boxes_that_choose_at_the_same_time_choose_other_prompts(batches: int) -> None:
    fleet = three()
    for number in range(batches):
        fleet["east"].post(submit(f"b{number}", 6))
    chosen = [(one.batch_id, one.prompt) for box in fleet.boxes.values() for one in picked(box)]
    assert len(set(chosen)) == 3


def test_the_last_prompts_are_found_by_every_box() -> None:
    fleet = three()
    fleet["east"].given(submit("b1", 1), submit("b2", 2))
    for box in fleet.boxes.values():
        assert len(picked(box)) == 1


def test_the_ranks_close_up_when_a_box_leaves() -> None:
    fleet = three()
    assert [turns_of(box).offset for box in fleet.boxes.values()] == [0, 1, 2]
    fleet["north"].die()
    fleet.declare_left("north")
    assert [turns_of(box).offset for box in fleet.present()] == [0, 1]


def test_a_user_of_few_prompts_waits_for_none_of_a_user_of_many_although_three_boxes_choose() -> None:
    fleet = three()
    fleet["east"].given(submit("many", 60, user="Areg"), submit("few", 12, user="Mara"))
    for _ in range(8):
        for box in fleet.present():
            box.work_once()
    both = sent(fleet)[: 2 * 12]
    assert abs(both.count("many") - both.count("few")) <= 3, Counter(both)
    fleet.work()
    assert fleet.ledger.batch("many").stored == 60


def test_a_pick_that_another_box_sent_first_takes_no_place_although_it_was_not_told_so_yet() -> None:
    fleet = three()
    fleet["east"].post(submit(quantity=1))
    (effect,) = picked(fleet["south"])
    assert fleet["south"].owed.standing(0).busy_ms["south.a"] == 0
    fleet["north"].given(intended(backend="north.a"), accepted(), finished(), kept(1), uploading(1), uploaded(1))
    fleet["south"].wait(5_000)
    assert fleet["south"].owed.standing(fleet["south"].now_ms).busy_ms["south.a"] == 0
    fleet["south"].perform(effect)
    fleet["east"].post(submit("b2", 1))
    assert len(picked(fleet["south"])) == 1
