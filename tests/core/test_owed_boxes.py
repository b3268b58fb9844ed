"""Laws of who does what in a fleet: each effect is owned by one box that is present, or by none."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from comfyledger.core.backends import box_of
from comfyledger.core.commands import ForgetInput, LeaveBox
from comfyledger.core.events import PromptMoved
from comfyledger.core.rows import ImageRow
from comfyledger.core.scheduling.effects import (
    DeleteImage,
    Effect,
    EffectKey,
    FindSources,
    FollowPrompt,
    PromptEffect,
    RemoveInput,
    SubmitPrompt,
    UploadImage,
)
from support.core_builders import (
    accepted,
    adding,
    fallen,
    finished,
    forget,
    hold,
    intended,
    kept,
    laid_by,
    loading,
    made_from,
    miscounted,
    refused,
    release,
    sending,
    submit,
    taking,
    uploaded,
    uploading,
)
from support.plain_fleet import ORPHAN_AFTER_MS, PlainBox, PlainFleet

NORTH, SOUTH = "north.a", "south.a"


def two(**backends: list[str]) -> PlainFleet:
    return PlainFleet({"north": ["a"], "south": ["a"]} | backends)


def rendering_at(backend: str, prompt: int = 1, attempt: int = 1, *, batch: str = "b1") -> list[object]:
    return [intended(prompt, attempt, batch=batch, backend=backend), accepted(prompt, attempt, batch=batch)]


def kept_at(fleet: PlainFleet, box: str, prompt: int = 1, *, batch: str = "b1") -> None:
    """A box renders a prompt and keeps its image."""
    messages = [*rendering_at(f"{box}.a", prompt, batch=batch), finished(prompt, batch=batch)]
    fleet[box].given(*messages, kept(prompt, prompt=prompt, batch=batch))  # type: ignore[arg-type]


def wanted(box: PlainBox) -> dict[EffectKey, Effect]:
    return box.owed._effects.wanted


def kinds(box: PlainBox) -> list[type[Effect]]:
    return [type(effect) for effect in wanted(box).values()]


def image_of(fleet: PlainFleet, index: int = 1) -> ImageRow:
    return fleet.ledger.image(index)


def test_a_box_does_what_is_owed_at_its_own_backends_and_for_the_images_that_it_keeps() -> None:
    fleet = two()
    fleet["south"].given(submit(quantity=2), *rendering_at(SOUTH))  # type: ignore[arg-type]
    assert (kinds(fleet["north"]), kinds(fleet["south"])) == ([], [FollowPrompt])
    fleet["south"].given(finished(), kept(1))
    assert (kinds(fleet["north"]), kinds(fleet["south"])) == ([], [UploadImage])


def test_a_box_begins_prompts_at_its_own_backends_alone() -> None:
    fleet = two()
    fleet["north"].post(submit(quantity=8))
    for name, box in fleet.boxes.items():
        submits = [effect for effect in box.take() if isinstance(effect, SubmitPrompt)]
        assert {effect.backend for effect in submits} == {f"{name}.a"}
        assert len(submits) == 2


def test_two_boxes_render_one_batch_and_store_each_image_once() -> None:
    fleet = two()
    fleet["north"].post(submit(quantity=20))
    fleet.work()
    rows = [image_of(fleet, index) for index in range(1, 21)]
    assert {row.state for row in rows} == {"stored"}
    assert {row.box for row in rows} == {"north", "south"}


def test_the_caretaker_is_the_first_by_name_of_those_that_are_present() -> None:
    fleet = two()
    fleet["south"].given(submit(quantity=1), submit("b2", 1, loads=(made_from(),)))
    assert (FindSources in kinds(fleet["north"]), FindSources in kinds(fleet["south"])) == (True, False)
    fleet["north"].fall_asleep()
    fleet.declare_left("north")
    assert FindSources in kinds(fleet["south"])
    fleet["north"].join()
    assert (FindSources in kinds(fleet["north"]), FindSources in kinds(fleet["south"])) == (True, False)


def test_sources_that_change_are_looked_at_by_the_caretaker_alone() -> None:
    fleet = two()
    fleet["south"].given(submit(quantity=1), submit("b2", 1, loads=(made_from(),)))
    fleet.work()
    assert fleet.ledger.image(1, "b2").state == "stored"


def test_a_box_that_was_declared_left_does_nothing_until_it_has_joined_again() -> None:
    fleet = two()
    fleet["north"].post(submit(quantity=8))
    kept_at(fleet, "south")
    fleet.declare_left("south")
    south = fleet["south"]
    assert (kinds(south), south.take()) == ([], [])
    south.join()
    assert UploadImage in kinds(south)
    assert any(isinstance(effect, SubmitPrompt) for effect in south.take())


def test_the_only_box_does_nothing_while_it_takes_no_part() -> None:
    fleet = PlainFleet({"north": ["a"]})
    north = fleet["north"].given(submit(quantity=1), LeaveBox("fleet", "north", 1, "stopped"))
    assert north.take() == []
    north.join()
    assert len(north.take()) == 1


def test_a_forgotten_image_is_deleted_by_the_box_that_kept_it_and_after_that_left_by_the_caretaker() -> None:
    fleet = two()
    fleet["north"].post(submit(quantity=1))
    kept_at(fleet, "south")
    fleet["south"].given(uploading(), uploaded(), forget(stores=True))
    assert (kinds(fleet["north"]), kinds(fleet["south"])) == ([], [DeleteImage])
    fleet["south"].die()
    fleet.declare_left("south")
    assert kinds(fleet["north"]) == [DeleteImage]
    fleet["south"].start()
    assert (kinds(fleet["north"]), kinds(fleet["south"])) == ([], [DeleteImage])


def test_a_copy_of_an_input_is_removed_by_the_box_of_its_backend_and_the_own_bytes_by_the_caretaker() -> None:
    fleet = two()
    fleet["north"].given(adding("1f"), sending("1f", SOUTH), sending("1f", NORTH), ForgetInput("app", "1f"))
    removed = {
        name: sorted(effect.backend for effect in wanted(box).values() if isinstance(effect, RemoveInput))
        for name, box in fleet.boxes.items()
    }
    assert removed == {"north": ["", NORTH], "south": [SOUTH]}


def test_what_is_from_before_the_fleet_is_done_by_the_caretaker() -> None:
    fleet = two()
    north = fleet["north"]
    north.given(submit(quantity=2), *rendering_at("main"))  # type: ignore[arg-type]
    assert (kinds(north), kinds(fleet["south"])) == ([FollowPrompt], [])


# ---- where prompts may go


def test_a_prompt_that_only_another_box_can_render_stays_queued_for_it() -> None:
    fleet = two()
    fleet["north"].given(submit(quantity=1, backend=SOUTH))
    assert fleet["north"].take() == []
    (effect,) = fleet["south"].take()
    assert isinstance(effect, SubmitPrompt)


def test_what_one_box_refuses_goes_to_another() -> None:
    fleet = two()
    north = fleet["north"]
    north.given(submit(quantity=1), intended(backend=NORTH))
    assert north.owed.fit.elsewhere(north.owed.batch("b1"), fleet.ledger.prompt(1), NORTH) == (SOUTH,)  # type: ignore[arg-type]
    north.given(refused(elsewhere=(SOUTH,)))
    assert fleet.ledger.prompt(1).state == "queued"
    assert north.take() == []
    (effect,) = fleet["south"].take()
    assert isinstance(effect, SubmitPrompt)


def test_a_box_that_has_left_is_nowhere_to_move_to() -> None:
    fleet = two(north=["a"], south=["a"])
    fleet["north"].given(submit(quantity=1), *rendering_at(NORTH))  # type: ignore[arg-type]
    assert [one.why for one in fleet["north"].owed.moves.at(NORTH)] == [""]
    fleet.declare_left("south")
    assert [one.why for one in fleet["north"].owed.moves.at(NORTH)] == ["nowhere"]


# ---- a box leaves


def test_prompts_of_a_box_that_left_are_due_at_once_for_the_caretaker_alone() -> None:
    fleet = PlainFleet({"east": ["a"], "north": ["a"], "south": ["a"]})
    fleet["south"].given(submit(quantity=3), *rendering_at(SOUTH), *rendering_at(SOUTH, 2), finished(2))  # type: ignore[arg-type]
    for box in fleet.boxes.values():
        assert box.owed.moves_due(0) == []
    fleet["south"].die()
    fleet.declare_left("south")
    due = {name: [row.index for row in box.owed.moves_due(0)] for name, box in fleet.boxes.items()}
    assert (due["east"], due["north"]) == ([1, 2], [])


def test_what_was_moved_is_rendered_by_others_and_stays_a_stray_until_its_box_returns() -> None:
    fleet = two()
    fleet["south"].given(submit(quantity=1), *rendering_at(SOUTH))  # type: ignore[arg-type]
    fleet["south"].die()
    fleet.declare_left("south").work()
    moved = [entry.event for entry in fleet.ledger.log if isinstance(entry.event, PromptMoved)]
    assert moved == [PromptMoved("b1", 1, 1, SOUTH, "away")]
    assert (image_of(fleet).state, image_of(fleet).box) == ("stored", "north")
    assert [one.backend for one in fleet.ledger.prompt(1).strays] == [SOUTH]
    fleet["south"].start()
    fleet.work()
    assert fleet.ledger.prompt(1).strays == ()


def test_a_suspect_of_a_box_that_left_stays_until_the_box_is_given_up() -> None:
    fleet = two()
    south = fleet["south"].given(submit(quantity=1), *rendering_at(SOUTH), fallen())  # type: ignore[arg-type]
    south.given(*rendering_at(SOUTH, attempt=2))  # type: ignore[arg-type]
    south.die()
    fleet.declare_left("south").work()
    assert fleet.ledger.prompt(1).backend == SOUTH
    fleet.give_up("south").work()
    assert image_of(fleet).state == "stored"


def test_strays_at_a_box_that_was_given_up_have_ended() -> None:
    fleet = two()
    fleet["south"].given(submit(quantity=1), *rendering_at(SOUTH))  # type: ignore[arg-type]
    fleet["south"].die()
    fleet.declare_left("south").work()
    fleet.give_up("south").work()
    assert fleet.ledger.prompt(1).is_over


def test_files_that_a_person_chose_are_gone_with_a_box_that_was_given_up() -> None:
    fleet = two()
    south = fleet["south"].given(submit(quantity=1), *rendering_at(SOUTH), miscounted(files=2), laid_by(2))  # type: ignore[arg-type]
    south.die()
    fleet.declare_left("south")
    fleet["north"].post(taking("last"))
    fleet.work()
    assert image_of(fleet).state == "pending"
    fleet.give_up("south").work()
    assert (image_of(fleet).state, image_of(fleet).box) == ("stored", "north")


def test_nothing_of_a_held_batch_leaves_a_box_that_left() -> None:
    fleet = two()
    fleet["south"].given(submit(quantity=1), *rendering_at(SOUTH), hold())  # type: ignore[arg-type]
    fleet["south"].die()
    fleet.declare_left("south")
    assert fleet["north"].owed.moves_due(0) == []
    fleet["north"].post(release())
    assert len(fleet["north"].owed.moves_due(0)) == 1


def orphaned() -> PlainFleet:
    """An image that south keeps, and has begun to upload, and that nobody else has."""
    fleet = two()
    fleet["south"].post(submit(quantity=1))
    kept_at(fleet, "south")
    fleet["south"].post(uploading())
    fleet["south"].die()
    return fleet.declare_left("south")


def due(fleet: PlainFleet, ms: int = 0) -> list[str]:
    """The boxes to which the orphan is due after a time."""
    fleet.wait(ms)
    return [name for name, box in fleet.boxes.items() if box.owed.orphans_due(box.now_ms)]


def test_a_kept_image_waits_for_its_box_and_then_is_due_for_the_caretaker() -> None:
    fleet = orphaned()
    assert due(fleet, ORPHAN_AFTER_MS - 1) == []
    assert due(fleet, 1) == ["north"]


def test_a_kept_image_of_a_box_that_is_given_up_is_due_at_once() -> None:
    assert due(orphaned().give_up("south")) == ["north"]


def test_a_box_that_returns_in_time_goes_on_with_its_upload() -> None:
    fleet = orphaned()
    assert due(fleet, ORPHAN_AFTER_MS - 1) == []
    fleet["south"].start()
    assert due(fleet, ORPHAN_AFTER_MS) == []
    (effect,) = [one for one in fleet["south"].take() if isinstance(one, UploadImage)]
    assert (effect.upload.state, effect.upload.attempts) == ("uploading", 1)


def test_what_is_taken_over_is_uploaded_by_the_box_that_has_it_now() -> None:
    fleet = orphaned().give_up("south")
    fleet.put("south", image_of(fleet), "folder")
    assert fleet["north"].take_up_orphans() == 1
    assert (kinds(fleet["north"]), due(fleet)) == ([UploadImage], [])
    fleet["south"].start()
    assert UploadImage not in kinds(fleet["south"])


def test_an_image_that_is_forgotten_while_its_box_is_away_is_no_orphan() -> None:
    fleet = orphaned().give_up("south")
    fleet["north"].post(forget())
    assert due(fleet) == []


def test_a_fleet_that_has_done_its_work_holds_nothing_of_it_in_memory() -> None:
    fleet = two()
    fleet["north"].given(submit(quantity=6), adding("1f"), submit("b2", 2, loads=(loading("1f"),)))
    fleet.work()
    for box in fleet.boxes.values():
        assert box.owed.open_counts() == dict.fromkeys(("batches", "prompts", "uploads", "waiting", "running"), 0)
        assert not wanted(box)
        assert not box.owed._orphans._kept
        assert not box.owed.moves._strays


@pytest.mark.parametrize(("backend", "box"), [("north.main", "north"), ("main", ""), ("", "")])
def test_the_name_of_a_backend_says_its_box(backend: str, box: str) -> None:
    assert box_of(backend) == box


def test_no_effect_is_wanted_by_two_boxes() -> None:
    fleet = PlainFleet({"east": ["a"], "north": ["a"], "south": ["a"]})
    fleet["south"].given(submit(quantity=9), adding("1f"), submit("b2", 2, loads=(made_from(), loading("1f"))))
    for box, prompt in (("east", 1), ("north", 2), ("south", 3)):
        kept_at(fleet, box, prompt)
    fleet["east"].given(*rendering_at("east.a", 4), forget(3, stores=True))  # type: ignore[arg-type]
    for gone in ("", "south", "east"):
        if gone:
            fleet[gone].die()
            fleet.declare_left(gone)
        check_apart(fleet.present())


def check_apart(boxes: Iterable[PlainBox]) -> None:
    seen: set[EffectKey] = set()
    for box in boxes:
        assert seen.isdisjoint(wanted(box))
        seen |= wanted(box).keys()
        for effect in wanted(box).values():
            assert not isinstance(effect, PromptEffect) or box_of(effect.backend) == box.name
