"""After a restore no series goes on where the backup left it, whether the backup knew the series or not."""

from __future__ import annotations

import pytest

from comfyledger.core.events import LedgerRestored, SeriesOpened, SeriesRaised
from comfyledger.core.reports import SeriesAnswered
from comfyledger.core.rows import SeriesRow
from comfyledger.core.values import Evidence
from support.core_builders import PlainLedger, given, raising, restoring, series, submit


def numbers(ledger: PlainLedger, batch: str, user: str = "Areg", trust: bool = True) -> list[int]:
    then = ledger.when(submit(batch, 2, user=user, trust=trust))
    return [image.number for image in then.answer.images]


@pytest.mark.parametrize(("seen", "following"), [(0, 1_004), (3, 1_004), (157, 1_158)])
def test_a_series_goes_on_above_all_that_was_seen_and_by_the_margin(seen: int, following: int) -> None:
    ledger = given(submit("b1", 3), restoring(("Areg", seen)))
    assert numbers(ledger, "b2") == [following, following + 1]


def test_the_event_records_what_was_seen_and_batch_rows_do_not_change() -> None:
    ledger = given(submit("b1", 3))
    before = {each: row for each, row in ledger.rows.items() if each[0] != "series"}
    position = ledger.log[-1].position
    restored, raised = ledger.when(restoring(("Areg", 57))).events
    assert isinstance(restored, LedgerRestored)
    assert isinstance(raised, SeriesRaised)
    assert (restored.epoch_before, restored.epoch, restored.position_before) == ("epoch1", "epoch2", position)
    assert (restored.margin, restored.by) == (1_000, "cli")
    assert (raised.reason, raised.next, raised.evidence[0].highest) == ("restore", 1_058, 57)
    assert {each: row for each, row in ledger.rows.items() if each[0] != "series"} == before


def test_a_series_unknown_to_the_backup_is_made_and_other_stores_are_asked() -> None:
    ledger = given(restoring(("Zoe", 57)))
    row = ledger.rows["series", series("Zoe").key, ""]
    assert isinstance(row, SeriesRow)
    assert (row.next, row.open, row.folder) == (1_058, False, series("Zoe").folder)
    then = ledger.when(submit("b1", 1, user="Zoe", into=("folder", "cloud"), trust=False))
    assert [store.name for store in then.answer.stores] == ["cloud"]


def test_a_series_that_nothing_knew_begins_above_the_margin_for_ever() -> None:
    """Numbers of it may have been given after the backup, and nobody can say which."""
    ledger = given(restoring(first=1_001))
    assert numbers(ledger, "b1", "Areg") == [1_001, 1_002]
    ledger.when(SeriesAnswered(series("Mara"), (Evidence("folder", "folder:/there", 57),)))
    assert numbers(ledger, "b2", "Mara") == [1_058, 1_059]
    ledger.when(raising(("Zoe", 5)))
    assert numbers(ledger, "b3", "Zoe") == [1_006, 1_007]


def test_where_the_old_ledger_told_all_a_new_series_begins_with_1() -> None:
    ledger = given(restoring(("Areg", 57), first=1))
    assert numbers(ledger, "b1", "Mara") == [1, 2]


def test_a_second_restore_forgets_nothing_of_the_first() -> None:
    ledger = given(restoring(first=1_001), restoring(first=1, margin=0))
    assert numbers(ledger, "b1") == [1_001, 1_002]
    opened = [entry.event.next for entry in ledger.log if isinstance(entry.event, SeriesOpened)]
    assert opened == [1_001]
