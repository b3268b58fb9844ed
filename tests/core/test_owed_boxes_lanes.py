"""Laws of lanes in a fleet: a trouble with a store or a disk is of the box that has it, a person's pause of all."""

from __future__ import annotations

import pytest

from comfyledger.core.commands import DropStore, PauseLane, ResumeLane
from comfyledger.core.events import LaneResumed
from comfyledger.core.reports import LaneWorks
from comfyledger.core.scheduling.effects import UploadImage
from comfyledger.core.values import EVERYTHING, INPUTS, SPOOL, lane_and_box, lane_at, store_lane
from support.core_builders import accepted, finished, intended, kept, stuck, submit
from support.plain_fleet import PlainBox, PlainFleet

FOLDER = store_lane("folder")
BOXES = ("north", "south")


def both_keep() -> PlainFleet:
    """Each of two boxes keeps an image."""
    fleet = PlainFleet({"north": ["a"], "south": ["a"]})
    fleet["north"].post(submit(quantity=2))
    for prompt, box in enumerate(BOXES, 1):
        at = [intended(prompt, backend=f"{box}.a"), accepted(prompt), finished(prompt), kept(prompt, prompt=prompt)]
        fleet[box].given(*at)
    return fleet


def uploads(box: PlainBox) -> int:
    """How many uploads a box begins now."""
    return sum(isinstance(effect, UploadImage) for effect in box.take())


def in_trouble(box: PlainBox, lane: str = FOLDER) -> PlainBox:
    return box.given(stuck(box.owed.lane_here(lane)))


def test_the_trouble_of_one_box_with_a_store_stops_no_other() -> None:
    fleet = both_keep()
    in_trouble(fleet["north"])
    assert [fleet[box].owed.in_trouble(FOLDER) for box in BOXES] == [True, False]
    assert [uploads(fleet[box]) for box in BOXES] == [0, 1]


def test_a_box_in_trouble_probes_its_own_lane_and_goes_on_by_itself() -> None:
    fleet = both_keep()
    north = in_trouble(fleet["north"])
    wake_at = north.owed.wake_at_ms(0)
    assert wake_at is not None
    fleet.wait(wake_at).work()
    assert not north.owed.in_trouble(FOLDER)
    assert {fleet.ledger.image(index).state for index in (1, 2)} == {"stored"}


def test_each_box_lists_its_own_trouble_and_with_their_names_that_of_others() -> None:
    fleet = both_keep()
    in_trouble(fleet["north"])
    troubles = [fleet[box].owed.standing(0).troubles for box in BOXES]
    assert troubles == [{FOLDER: "not_reached"}, {f"{FOLDER}@north": "not_reached"}]
    fleet["north"].post(LaneWorks(f"{FOLDER}@north"))
    assert [fleet[box].owed.standing(0).troubles for box in BOXES] == [{}, {}]


def test_a_pause_of_a_store_by_a_person_holds_for_all_boxes_and_ends_no_trouble() -> None:
    fleet = both_keep()
    in_trouble(fleet["north"]).post(PauseLane("app", FOLDER))
    assert [uploads(fleet[box]) for box in BOXES] == [0, 0]
    fleet["south"].post(ResumeLane("app", FOLDER))
    assert [fleet[box].owed.in_trouble(FOLDER) for box in BOXES] == [True, False]
    assert uploads(fleet["south"]) == 1


def test_a_restarted_box_knows_its_own_trouble() -> None:
    fleet = both_keep()
    in_trouble(fleet["north"])
    for box in BOXES:
        fleet[box].die().start()
    assert [fleet[box].owed.in_trouble(FOLDER) for box in BOXES] == [True, False]


@pytest.mark.parametrize("lane", [SPOOL, INPUTS])
def test_the_disks_of_a_box_are_its_own(lane: str) -> None:
    fleet = both_keep()
    in_trouble(fleet["south"], lane)
    assert [fleet[box].owed.in_trouble(lane) for box in BOXES] == [False, True]


def test_the_trouble_of_a_backend_is_known_to_all_boxes() -> None:
    fleet = both_keep()
    in_trouble(fleet["south"], "backend/south.a")
    assert [fleet[box].owed.in_trouble("backend/south.a") for box in BOXES] == [True, True]


def test_what_is_given_up_for_a_store_ends_the_trouble_of_every_box() -> None:
    fleet = both_keep()
    for box in BOXES:
        in_trouble(fleet[box])
    fleet["north"].post(DropStore("app", "folder", ("b1",), BOXES))
    resumed = [entry.event for entry in fleet.ledger.log if isinstance(entry.event, LaneResumed)]
    assert resumed == [LaneResumed(f"{FOLDER}@{box}", "trouble", "app") for box in BOXES]
    assert [fleet[box].owed.in_trouble(FOLDER) for box in BOXES] == [False, False]


@pytest.mark.parametrize("lane", [FOLDER, SPOOL, INPUTS])
def test_a_lane_of_a_box_is_told_apart_from_its_box(lane: str) -> None:
    assert lane_and_box(lane_at(lane, "north")) == (lane, "north")
    assert lane_and_box(lane_at(lane, "")) == (lane, "")


@pytest.mark.parametrize("lane", ["user/areg@example.com", "backend/north.a", EVERYTHING])
def test_other_lanes_are_of_no_box(lane: str) -> None:
    assert lane_at(lane, "north") == lane
    assert lane_and_box(lane) == (lane, "")
