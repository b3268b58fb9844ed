"""Laws of storing and of lanes: each store by itself, an image's trouble and a lane's told apart, one settlement."""

from __future__ import annotations

import pytest

from comfyledger.core.commands import PauseLane, ResumeLane
from comfyledger.core.decide.decide import Message
from comfyledger.core.events import BatchSettled, LanePaused, LaneResumed
from comfyledger.core.reports import LaneWorks
from comfyledger.core.results import Wanted
from comfyledger.core.values import EVERYTHING, store_lane
from comfyledger.errors import Refused
from support.core_builders import (
    cancel,
    given,
    kept,
    one_kept,
    one_stored,
    rendered,
    stuck,
    submit,
    unwanted,
    uploaded,
    uploading,
)

TWO = submit(quantity=1, into=("folder", "cloud"))
LANE = store_lane("folder")


def test_the_intent_to_upload_is_written_once_and_says_its_attempt() -> None:
    ledger = given(submit(), one_kept(1))
    assert ledger.when(uploading(1)).kinds == ["UploadStarted"]
    then = ledger.when(uploading(1))
    assert (then.answer, then.events) == (Wanted(go=True, attempt=1, resumed=True), ())


@pytest.mark.parametrize(
    ("outcomes", "state", "uploads"),
    [
        ([], "kept", ["owed", "owed"]),
        ([uploaded(1, "folder")], "kept", ["stored", "owed"]),
        ([unwanted(1, "folder")], "kept", ["parked", "owed"]),
        ([uploading(1, "cloud"), uploaded(1, "folder")], "kept", ["stored", "uploading"]),
        ([uploaded(1, "folder"), uploaded(1, "cloud")], "stored", ["stored", "stored"]),
        ([uploaded(1, "folder"), unwanted(1, "cloud")], "parked", ["stored", "parked"]),
        ([unwanted(1, "folder"), uploaded(1, "cloud")], "parked", ["parked", "stored"]),
        ([unwanted(1, "folder"), unwanted(1, "cloud")], "parked", ["parked", "parked"]),
    ],
)
def test_an_image_has_come_to_its_end_when_every_store_has_answered(
    outcomes: list[Message], state: str, uploads: list[str]
) -> None:
    ledger = given(TWO, one_kept(1), outcomes)
    assert ledger.image().state == state
    assert [upload.state for upload in ledger.image().uploads] == uploads
    assert ledger.batch().settled == (state != "kept")


def test_an_upload_remembers_where_it_went_and_how_often_it_was_tried() -> None:
    (upload,) = given(submit(), one_stored(1)).image().uploads
    assert (upload.url, upload.attempts) == ("file:///1.png", 1)
    (upload,) = given(submit(), one_kept(1), uploading(1), unwanted(1)).image().uploads
    assert (upload.code, upload.attempts) == ("collision", 1)


@pytest.mark.parametrize("late", [uploading(1), uploaded(1), unwanted(1)])
def test_stored_stays_stored(late: Message) -> None:
    ledger = given(submit(), one_stored(1))
    assert ledger.when(late).events == ()
    assert ledger.states()[0] == "stored"


def test_an_image_parked_in_a_store_stays_so_until_a_person_decides() -> None:
    ledger = given(TWO, one_kept(1), unwanted(1, "folder"))
    assert ledger.when(uploading(1, "folder")).answer == Wanted(go=False)
    assert ledger.when(uploaded(1, "folder")).events == ()


def test_a_batch_without_stores_ends_in_the_spool() -> None:
    ledger = given(submit(quantity=1, into=()), one_kept(1))
    assert (ledger.states(), ledger.batch().settled) == (["stored"], True)


def test_a_batch_settles_exactly_once() -> None:
    ledger = given(
        submit(quantity=4), one_stored(1), one_kept(2), unwanted(2), cancel(3), rendered(4), kept(4, prompt=4)
    )
    assert ledger.when(uploaded(4)).events[-1] == BatchSettled("b1", stored=2, parked=1, failed=0, cancelled=1)
    ledger.given(uploaded(4), uploaded(2), cancel(), uploaded(1))
    assert [type(entry.event) for entry in ledger.log].count(BatchSettled) == 1


def test_one_trouble_of_a_lane_is_one_event() -> None:
    ledger = given()
    written = [ledger.when(stuck(LANE)).kinds for _ in range(50)]
    assert written == [["LanePaused"]] + [[]] * 49
    assert ledger.when(LaneWorks(LANE)).events == (LaneResumed(LANE, "trouble"),)
    assert ledger.when(LaneWorks(LANE)).events == ()


def test_another_trouble_of_a_lane_is_another_event() -> None:
    ledger = given(stuck(LANE, "not_reached"))
    event = ledger.when(stuck(LANE, "credentials")).events[0]
    assert isinstance(event, LanePaused)
    assert ledger.lane(LANE).code == event.code == "credentials"


def test_the_trouble_of_a_lane_counts_against_no_image() -> None:
    ledger = given(submit(), one_kept(1), uploading(1), stuck(LANE))
    assert ledger.states()[0] == "kept"
    assert ledger.when(uploading(1)).answer == Wanted(go=True, attempt=1, resumed=True)


def test_a_manual_pause_and_a_lanes_trouble_do_not_undo_each_other() -> None:
    ledger = given(PauseLane("app", LANE), stuck(LANE), LaneWorks(LANE))
    assert ledger.lane(LANE).person
    ledger.given(stuck(LANE), ResumeLane("app", LANE))
    assert (ledger.lane(LANE).person, ledger.lane(LANE).code) == (False, "not_reached")


@pytest.mark.parametrize("lane", [LANE, EVERYTHING])
def test_pausing_twice_is_accepted_and_resuming_an_unpaused_one_refused(lane: str) -> None:
    ledger = given(PauseLane("app", lane))
    assert ledger.when(PauseLane("app", lane)).events == ()
    ledger.given(ResumeLane("app", lane))
    with pytest.raises(Refused) as refusal:
        ledger.when(ResumeLane("app", lane))
    assert refusal.value.code == "nothing_to_do"
