"""What is from before a fleet names no box: it is that of the box whose ledger the fleet began with."""

from __future__ import annotations

import pytest

from comfyledger.core.boxes import BoxRow
from comfyledger.core.commands import JoinBox, LeaveBox
from comfyledger.core.rows import ImageRow, Upload
from comfyledger.core.scheduling.orphans import Orphans
from comfyledger.core.scheduling.ownership import Ownership
from support.core_builders import PlainLedger

OLD = ImageRow("b1", 1, 1, "f", "n_1", 1, "areg", "kept", (Upload("folder"),), "aa")


def owners(box: str, *, founder_is_present: bool = True) -> Ownership:
    made = Ownership(box)
    made.apply(BoxRow("first", 1, present=True), 0)
    made.apply(BoxRow("founder", 1, present=founder_is_present, founder=True), 0)
    return made


def test_the_founder_is_named_once_and_stays_it() -> None:
    ledger = PlainLedger()
    ledger.when(JoinBox("cli", "founder", founder=True))
    ledger.when(LeaveBox("cli", "founder", 1, "person"))
    ledger.when(JoinBox("comfyledger", "founder"))
    ledger.when(JoinBox("comfyledger", "other"))
    rows = {row.name: row for row in ledger.rows.values() if isinstance(row, BoxRow)}
    assert {name: (row.founder, row.term) for name, row in rows.items()} == {"founder": (True, 2), "other": (False, 1)}


@pytest.mark.parametrize(("box", "has"), [("founder", True), ("first", False)])
def test_it_alone_uploads_what_was_kept_and_does_the_work_of_its_old_comfyuis(box: str, has: bool) -> None:
    assert bool(owners(box).of_image(OLD)) is has
    assert owners(box).has_backend("main") is has


def test_once_it_has_left_the_caretaker_takes_up_what_it_kept() -> None:
    gone = owners("first", founder_is_present=False)
    orphans = Orphans(gone)
    orphans.put(None, OLD)
    assert orphans.due(after_ms=100, now_ms=99) == []
    assert orphans.due(after_ms=100, now_ms=100) == [OLD]
    assert gone.is_gone(gone.of_backend("main"))
