"""Reading SQLite beside the writer: short, by index, read-only. What is read is tested in `contract/`."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from comfyledger.ledger.ports import BatchFilter, ImageFilter
from comfyledger.ledger.sqlite import reader as readers
from comfyledger.ledger.sqlite.reader import Reader
from comfyledger.ledger.sqlite.writer import Ledger
from support.ledger_builders import submission, take


@pytest.fixture
async def reader(ledger: Ledger, path: Path) -> AsyncIterator[Reader]:
    opened = Reader(path)
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    "wanted",
    [
        ImageFilter(batch_id="b"),
        ImageFilter(username_key="u", before=("b", 1)),
        ImageFilter(before=("b", 1)),
    ],
)
async def test_a_page_of_images_is_found_by_an_index_and_not_by_reading_up_to_it(
    ledger: Ledger, path: Path, wanted: ImageFilter
) -> None:
    plan = plan_of(ledger, readers._images, wanted)
    assert "SEARCH" in plan[0]
    assert "batch_id" in plan[0]


def plan_of(ledger: Ledger, read: Callable[[Any, Any], object], wanted: BatchFilter | ImageFilter) -> list[str]:
    """How SQLite finds the rows of a list."""
    plan: list[str] = []

    class Explaining:
        def execute(self, sql: str, values: tuple[str | int, ...]) -> list[tuple[str]]:
            plan.extend(row[3] for row in ledger._connection.execute(f"EXPLAIN QUERY PLAN {sql}", values))
            return []

    read(Explaining(), wanted)
    return plan


@pytest.mark.parametrize(
    "wanted",
    [
        BatchFilter(label="l"),
        BatchFilter(label="l", username_key="u", before="b", open_only=True),
        BatchFilter(label="l", series="s"),
        ImageFilter(label="l", username_key="u", before=("b", 1)),
        ImageFilter(label="l", state="stored"),
    ],
)
async def test_a_list_of_one_label_reads_no_batch_of_another(ledger: Ledger, wanted: BatchFilter | ImageFilter) -> None:
    """Otherwise its time would show how much others have of the same user."""
    is_batches = isinstance(wanted, BatchFilter)
    plan = plan_of(ledger, readers._batches if is_batches else readers._images, wanted)
    assert plan[0] == f"SEARCH {'batches' if is_batches else 'images'} USING PRIMARY KEY (batch_id=?)"
    assert "SEARCH requests USING PRIMARY KEY (label=?)" in plan


@pytest.mark.parametrize("statement", ["DELETE FROM blobs", "UPDATE series SET next = 1", "CREATE TABLE t (x)"])
async def test_a_reader_cannot_write(reader: Reader, statement: str) -> None:
    """Twice over: the connection is told not to, and the file is opened so that it could not."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(statement)

    def allow(connection: sqlite3.Connection) -> None:
        assert connection.execute("PRAGMA query_only").fetchone() == (1,)
        connection.execute("PRAGMA query_only=OFF")

    for prepare in (lambda _: None, allow):
        await reader._run(prepare)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await reader._run(write)


async def test_a_reader_holds_no_transaction_between_two_calls(ledger: Ledger, reader: Reader, path: Path) -> None:
    """Else the log beside the file could not be checkpointed and would grow for as long as the reader lives."""
    take(ledger, submission("r1"))
    await reader.page(after=0, limit=1)
    busy, _, _ = ledger._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert busy == 0
    assert path.with_name("ledger.db-wal").stat().st_size == 0


async def test_a_folder_with_signs_that_mean_something_in_a_uri_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "50%20off? #1" / "ledger.db"
    ledger = Ledger.open(path)
    take(ledger, submission())
    reader = Reader(path)
    assert (await reader.head()).position == 2
    await reader.close()
    ledger.close()
