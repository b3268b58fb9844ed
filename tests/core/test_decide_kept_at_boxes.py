"""Laws of images that one box of a fleet keeps: only that box says what becomes of their uploads."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from comfyledger.core.boxes import BoxRow
from comfyledger.core.decide.decide import Message
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.results import Wanted
from comfyledger.core.rows import ImageRow
from support.core_builders import PlainLedger, forget, given, lost, one_kept, submit, unwanted, uploaded, uploading

NORTH, SOUTH = Policy(box="north", term=1), Policy(box="south", term=1)


def seen_by(policy: Policy, ledger: PlainLedger) -> PlainLedger:
    """The same ledger, as another box decides on it."""
    ledger.policy = policy
    return ledger


def kept_at_north() -> PlainLedger:
    return given(submit(quantity=1), one_kept(), policy=NORTH)


def image_of(ledger: PlainLedger) -> ImageRow:
    return ledger.rows["image", "b1", 1]  # type: ignore[return-value]


def test_a_kept_image_names_the_box_whose_spool_has_it() -> None:
    assert image_of(kept_at_north()).box == "north"


def test_without_a_fleet_no_box_is_named_and_every_report_counts() -> None:
    ledger = given(submit(quantity=1), one_kept())
    assert image_of(ledger).box == ""
    ledger.given(uploading(), uploaded())
    assert image_of(ledger).state == "stored"


@pytest.mark.parametrize("report", [uploaded(), unwanted(), lost()], ids=lambda one: type(one).__name__)
def test_what_another_box_reports_of_its_upload_changes_nothing(report: Message) -> None:
    ledger = seen_by(SOUTH, kept_at_north().given(uploading()))
    assert ledger.when(report).events == ()
    assert seen_by(NORTH, ledger).when(report).events != ()


def test_another_box_is_told_not_to_upload() -> None:
    ledger = seen_by(SOUTH, kept_at_north())
    then = ledger.when(uploading())
    assert (then.answer, then.events) == (Wanted(go=False), ())
    assert seen_by(NORTH, ledger).when(uploading()).answer == Wanted(go=True, attempt=1)


def test_an_upload_that_ends_after_its_image_was_forgotten_is_reported_by_its_box_alone() -> None:
    ledger = kept_at_north().given(uploading(), forget())
    assert seen_by(SOUTH, ledger).when(uploaded()).events == ()
    assert seen_by(NORTH, ledger).when(uploaded()).kinds == ["ImageUploaded"]


def test_an_image_of_before_the_fleet_may_be_uploaded_by_any_box() -> None:
    ledger = seen_by(SOUTH, given(submit(quantity=1), one_kept()))
    assert ledger.when(uploading()).answer == Wanted(go=True, attempt=1)


def test_an_image_that_is_lost_is_kept_by_nobody() -> None:
    ledger = kept_at_north().given(lost())
    assert (image_of(ledger).state, image_of(ledger).box) == ("pending", "")


def test_what_a_box_says_counts_only_in_its_present_term() -> None:
    row = BoxRow("north", 1, present=True)
    assert not NORTH.is_fenced(row)
    assert NORTH.is_fenced(replace(row, present=False))
    assert NORTH.is_fenced(replace(row, term=2))
    assert NORTH.is_fenced(None)
    assert not Policy().is_fenced(None), "without a fleet there is no term"
