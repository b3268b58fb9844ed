"""The table of reviews has what was reviewed and nothing else, and it is found again by fold, audit and rebuild."""

from __future__ import annotations

from pathlib import Path

from comfyledger.core.reports import ImageIsLost
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.audit.findings import silent
from comfyledger.maintenance.rebuild import rebuild
from support.core_builders import forget, one_kept, one_stored, reviewing
from support.ledger_builders import check_tables, raw, submission, take
from support.ledger_on_disk import seen_in_parts

BATCH = "batch-app-r1"


def reviews_in(path: Path) -> list[tuple[int, str, int]]:
    connection = raw(path)
    found = connection.execute("SELECT image, verdict, rating FROM reviews ORDER BY image").fetchall()
    connection.close()
    return found


def reviewed(ledger: Ledger) -> None:
    """The first image is stored, the second kept; both have a verdict."""
    take(ledger, submission("r1"))
    take(ledger, *one_stored(1, batch=BATCH), *one_kept(2, batch=BATCH))
    take(ledger, reviewing(f"{BATCH}/1", f"{BATCH}/2", verdict="approved"), reviewing(f"{BATCH}/1", rating=4))


def test_the_table_has_the_images_that_have_a_review(ledger: Ledger, path: Path) -> None:
    reviewed(ledger)
    assert reviews_in(path) == [(1, "approved", 4), (2, "approved", 0)]
    take(ledger, reviewing(f"{BATCH}/1", verdict="none"), reviewing(f"{BATCH}/2", verdict="none"))
    assert reviews_in(path) == [(1, "", 4)]
    check_tables(path)


def test_a_lost_image_has_no_row_any_more(ledger: Ledger, path: Path) -> None:
    reviewed(ledger)
    take(ledger, ImageIsLost(BATCH, 2, "folder", 2, 1))
    assert reviews_in(path) == [(1, "approved", 4)]
    check_tables(path)
    assert seen_in_parts(path).tables


def test_a_forgotten_image_keeps_its_row(ledger: Ledger, path: Path) -> None:
    reviewed(ledger)
    take(ledger, forget(batch=BATCH))
    assert reviews_in(path) == [(1, "approved", 4), (2, "approved", 0)]
    check_tables(path)


def test_a_rebuild_makes_the_table_again(ledger: Ledger, path: Path) -> None:
    reviewed(ledger)
    take(ledger, ImageIsLost(BATCH, 2, "folder", 2, 1))
    ledger.close()
    stranger = raw(path)
    stranger.execute("UPDATE reviews SET verdict = 'rejected'")
    stranger.execute("INSERT INTO reviews VALUES (?, 2, 'approved', 1)", (BATCH,))
    stranger.close()
    assert not seen_in_parts(path).tables
    rebuild(path, silent)
    assert reviews_in(path) == [(1, "approved", 4)]
    check_tables(path)
