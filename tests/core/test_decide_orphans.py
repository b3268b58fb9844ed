"""Laws of images that a box alone kept which has left: their bytes come from a store, or they are rendered again."""

from __future__ import annotations

import pytest

from comfyledger.core.commands import JoinBox, LeaveBox
from comfyledger.core.decide.decide import Message
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.events import ImageLost, ImageTakenOver
from comfyledger.core.results import Wanted
from comfyledger.core.rows import ImageRow
from support.core_builders import (
    PlainLedger,
    brought_back,
    forget,
    given,
    gone_with,
    kept,
    laid_by,
    made_from,
    miscounted,
    one_kept,
    pinned,
    rendered,
    rendering,
    sending,
    submit,
    taking,
    uploaded,
    uploading,
)

NORTH, SOUTH = Policy(box="north", term=1), Policy(box="south", term=1)
JOIN, LEAVE = JoinBox("app", "north"), LeaveBox("app", "north", 1, "lease")
ORPHAN_REPORTS = pytest.mark.parametrize("report", [brought_back(), gone_with()], ids=lambda one: type(one).__name__)


def orphaned(*messages: Message, into: tuple[str, ...] = ("folder",)) -> PlainLedger:
    """An image that north kept, and perhaps began to upload, before it left. South decides now."""
    ledger = given(JOIN, submit(quantity=1, into=into), one_kept(), *messages, LEAVE, policy=NORTH)
    ledger.policy = SOUTH
    return ledger


def image_of(ledger: PlainLedger) -> ImageRow:
    return ledger.rows["image", "b1", 1]  # type: ignore[return-value]


def test_what_a_store_has_is_taken_over_by_the_box_that_got_it() -> None:
    ledger = orphaned()
    assert ledger.when(brought_back()).events == (ImageTakenOver("b1", 1, "south", "north"),)
    assert ledger.when(uploading()).answer == Wanted(go=True, attempt=1)
    ledger.given(uploaded())
    assert (image_of(ledger).state, image_of(ledger).sha256) == ("stored", pinned(1).sha256)


def test_an_upload_that_the_other_box_began_is_the_same_attempt() -> None:
    ledger = orphaned(uploading()).given(brought_back())
    assert ledger.when(uploading()).answer == Wanted(go=True, attempt=1, resumed=True)


def test_stores_that_have_it_keep_it_when_it_is_taken_over() -> None:
    ledger = orphaned(uploading(), uploaded(), into=("folder", "cloud")).given(brought_back())
    assert [(one.store, one.state) for one in image_of(ledger).uploads] == [("folder", "stored"), ("cloud", "owed")]


@pytest.mark.parametrize("messages", [(), (uploading(),)], ids=["owed", "uploading"])
def test_what_nobody_has_is_rendered_again_under_its_number(messages: tuple[Message, ...]) -> None:
    ledger = orphaned(*messages)
    assert ledger.when(gone_with()).events == (ImageLost("b1", (1,), (1,)),)
    ledger.given(rendered(1, 2), kept(1, attempt=2), uploading(), uploaded())
    row = image_of(ledger)
    assert (row.state, row.number, row.box, row.sha256) == ("stored", 1, "south", pinned(1, 2).sha256)


@ORPHAN_REPORTS
def test_a_box_that_is_back_keeps_its_images(report: Message) -> None:
    ledger = orphaned().given(JOIN)
    assert ledger.when(report).events == ()


@ORPHAN_REPORTS
def test_a_late_report_about_an_orphan_changes_nothing(report: Message) -> None:
    ended = orphaned().given(forget())
    again = orphaned().given(gone_with(), rendered(1, 2), kept(1, attempt=2))
    taken = orphaned().given(brought_back())
    for ledger in (ended, again, taken):
        assert ledger.when(report).events == ()


@ORPHAN_REPORTS
def test_a_report_about_another_attempt_or_box_changes_nothing(report: Message) -> None:
    kind = type(report)
    ledger = orphaned()
    assert ledger.when(kind("b1", 1, 1, 2, "north")).events == ()
    assert ledger.when(kind("b1", 1, 1, 1, "west")).events == ()


def test_what_a_box_that_returns_reports_of_an_image_that_was_lost_replaces_nothing() -> None:
    ledger = orphaned(uploading()).given(gone_with(), rendered(1, 2), kept(1, attempt=2), uploading(), JOIN)
    ledger.policy = NORTH
    assert ledger.when(uploaded()).events == ()
    assert ledger.when(uploading()).answer == Wanted(go=False)
    ledger.policy = SOUTH
    assert ledger.when(uploaded()).kinds == ["ImageUploaded", "BatchSettled"]


def test_nothing_is_rendered_again_while_a_person_is_to_choose_among_the_other_files() -> None:
    ledger = given(
        *(JOIN, submit(quantity=2, per_prompt=2), rendering(), miscounted(files=3), laid_by(3)),
        *(taking("all"), kept(1, prompt=1), LEAVE),
        policy=NORTH,
    )
    ledger.policy = SOUTH
    assert image_of(ledger).state == "kept"
    assert ledger.when(gone_with()).events == ()


def test_copies_of_what_nobody_has_are_forgotten() -> None:
    sha256 = pinned(1).sha256
    ledger = orphaned(submit("b2", 1, loads=(made_from(),)), sending(sha256, source=made_from().source))
    assert ledger.when(gone_with()).kinds == ["ImageLost", "InputForgotten", "InputErased"]


@ORPHAN_REPORTS
def test_what_is_from_before_the_fleet_is_the_founders_while_it_is_there(report: Message) -> None:
    ledger = given(submit(quantity=1), one_kept())
    ledger.policy = NORTH
    ledger.given(JoinBox("app", "north", founder=True))
    ledger.policy = SOUTH
    about = type(report)("b1", 1, 1, 1, "")
    assert ledger.when(about).events == ()
    ledger.given(LEAVE)
    assert len(ledger.when(about).events) == 1
