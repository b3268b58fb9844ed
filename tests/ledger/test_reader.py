"""Reading SQLite beside the writer: short, by index, read-only. What is read is tested in `contract/`."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pytest

from comfyledger.ledger.ports import BatchFilter, ImageCounts, ImageFilter
from comfyledger.ledger.sqlite import image_lists
from comfyledger.ledger.sqlite import reader as readers
from comfyledger.ledger.sqlite.reader import Reader
from comfyledger.ledger.sqlite.writer import Ledger
from support import large_ledger
from support.ledger_builders import raw, submission, take
from support.waiting import DEADLINE_S


@pytest.fixture
async def reader(ledger: Ledger, path: Path) -> AsyncIterator[Reader]:
    opened = Reader(path)
    yield opened
    await opened.close()


Plan = list[str]


def plan_of(ledger: Ledger, sql: str, values: Any) -> Plan:
    """How SQLite finds the rows of a statement: what is read, in this order."""
    return [row[3] for row in ledger._connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]


PAGES: dict[str, tuple[ImageFilter, Plan]] = {
    "all": (ImageFilter(), ["SCAN g", "SEARCH i USING PRIMARY KEY"]),
    "after": (ImageFilter(before=("b", 1)), ["SEARCH g USING PRIMARY KEY (batch_id<?)", "SEARCH i USING PRIMARY KEY"]),
    "user": (ImageFilter(username_key="u"), ["SEARCH g USING COVERING INDEX facets_by_user (user_key=?)", "SEARCH i"]),
    "user after": (
        ImageFilter(username_key="u", before=("b", 1)),
        ["SEARCH g USING COVERING INDEX facets_by_user (user_key=? AND batch_id<?)", "SEARCH i USING PRIMARY KEY"],
    ),
    "times": (
        ImageFilter(since_ms=1, until_ms=2, state="stored"),
        ["SEARCH g USING PRIMARY KEY (batch_id>? AND batch_id<?)", "SEARCH i USING PRIMARY KEY"],
    ),
    "failed": (ImageFilter(state="failed"), ["SCAN i USING COVERING INDEX images_unstored", "SEARCH g USING PRIMARY"]),
    "failed after": (
        ImageFilter(state="failed", before=("b", 1)),
        ["SEARCH i USING COVERING INDEX images_unstored (batch_id<?)", "SEARCH g USING PRIMARY KEY"],
    ),
    "approved": (
        ImageFilter(verdict="approved"),
        [
            "SEARCH r USING COVERING INDEX reviews_by_verdict (verdict=?)",
            "SEARCH g USING PRIMARY KEY",
            "SEARCH i USING PRIMARY",
        ],
    ),
    "rated": (ImageFilter(rating_min=4), ["SCAN r", "SEARCH g USING PRIMARY KEY", "SEARCH i USING PRIMARY KEY"]),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_images_is_read_along_an_index_and_only_as_far_as_it_goes(ledger: Ledger, name: str) -> None:
    wanted, expected = PAGES[name]
    plan = plan_of(ledger, *image_lists.page(wanted))
    found = [step for step in plan if step.startswith(("SCAN", "SEARCH"))]
    assert [step[: len(start)] for step, start in zip(found, expected, strict=False)] == expected
    assert found[len(expected) :] == ["SCAN k", "SEARCH x USING PRIMARY KEY (batch_id=? AND image=?)"]
    sorts = [step for step in plan if "TEMP B-TREE" in step]
    assert "USE TEMP B-TREE FOR ORDER BY" not in sorts[:-1], "all that fits would be read to sort it"


def test_a_page_of_one_batch_reads_nothing_else(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ImageFilter(batch_id="b", before=("b", 1))
    statements: list[str] = []
    ledger._connection.set_trace_callback(statements.append)
    image_lists.images(ledger._connection, wanted)
    ledger._connection.set_trace_callback(None)
    assert plan_of(ledger, statements[-1], ())[0].startswith("SEARCH images USING PRIMARY KEY (batch_id=?")


COUNTS: dict[str, tuple[ImageFilter, Plan]] = {
    "all": (ImageFilter(), ["SCAN g"]),
    "user": (ImageFilter(username_key="u"), ["SEARCH g USING INDEX facets_by_user (user_key=?)"]),
    "character": (ImageFilter(character_key="c", workflow="w"), ["SCAN g"]),
    "failed": (ImageFilter(state="failed"), ["SCAN i USING COVERING INDEX images_unstored", "SEARCH g USING PRIMARY"]),
    "stored": (
        ImageFilter(state="stored"),
        ["SCAN g", "SCAN images USING COVERING INDEX images_unstored", "SEARCH i USING PRIMARY KEY (batch_id=?)"],
    ),
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_reads_no_image_of_a_batch_of_which_all_fit(ledger: Ledger, name: str) -> None:
    wanted, expected = COUNTS[name]
    plan = plan_of(ledger, *image_lists.count_query(wanted, 100))
    counts = plan[plan.index("MATERIALIZE counts") + 1 : plan.index("SCAN counts")]
    found = [step for step in counts if step.startswith(("SCAN", "SEARCH"))]
    assert [step[: len(start)] for step, start in zip(found, expected, strict=True)] == expected


def test_a_count_looks_only_into_the_batches_that_have_exceptions(tmp_path: Path) -> None:
    """Counted as steps of SQLite's own machine, which a busy machine does not change."""
    images = 4_000
    steps = {}
    for size in (images, 2 * images):
        path = tmp_path / f"{size}.db"
        batches = large_ledger.fill(path, size)
        with closing(raw(path)) as connection:
            steps[size] = steps_of(connection, lambda c: image_lists.count(c, ImageFilter(state="stored"), None, 100))
            assert steps[size] < 400 * batches, "some steps for a batch, and none for its images"
            first = steps_of(connection, lambda c: image_lists.images(c, ImageFilter(state="stored", limit=100)))
            assert first < 10_000
    assert steps[2 * images] < 2.5 * steps[images]


@pytest.mark.parametrize("verdict", ["rejected", "none"])
def test_a_batch_is_read_once_however_many_cursors_are_in_it(
    tmp_path: Path, verdict: Literal["rejected", "none"]
) -> None:
    """Read for each cursor, one batch of 10,000 images kept every other count waiting for a minute."""
    steps = {}
    for size in (500, 1_000):
        path = tmp_path / f"{size}.db"
        Ledger.open(path).close()
        with closing(raw(path)) as connection:
            connection.execute("INSERT INTO facets VALUES ('b', 'u', 'c', 'w', 'l', 'image', ?)", (size,))
            images = [("b", index) for index in range(1, size + 1)]
            connection.executemany("INSERT INTO images VALUES (?, ?, 1, 'u', 'stored', '{}')", images)
            connection.executemany("INSERT INTO reviews VALUES (?, ?, 'rejected', 0)", images[::2])
            wanted = ImageFilter(verdict=verdict)
            found = image_lists.count(connection, wanted, None, 1)
            assert found.cursors[:3] == (("", "b/1", "b/3") if verdict == "rejected" else ("", "b/2", "b/4"))
            assert len(found.cursors) == size // 2
            steps[size] = steps_of(connection, lambda c, w=wanted: image_lists.count(c, w, None, 1))  # type: ignore[misc]
    assert steps[1_000] < 2.5 * steps[500]


def steps_of(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], object]) -> int:
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    connection.set_progress_handler(step, 10)
    work(connection)
    connection.set_progress_handler(None, 0)
    return count * 10


async def test_no_other_read_waits_for_a_count(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()

    def counting(*_: object) -> ImageCounts:
        is_over.wait(DEADLINE_S)
        return ImageCounts(0)

    monkeypatch.setattr(image_lists, "count", counting)
    count = asyncio.create_task(reader.count_images(ImageFilter()))
    async with asyncio.timeout(DEADLINE_S):
        assert await reader.images(ImageFilter()) == []
        assert not count.done()
        is_over.set()
        await count


OF_LABEL = {
    "user": ImageFilter(label="l", username_key="u", before=("b", 1)),
    "stored": ImageFilter(label="l", state="stored"),
    "failed": ImageFilter(label="l", state="failed"),
    "code": ImageFilter(label="l", code="c"),
    "approved": ImageFilter(label="l", verdict="approved"),
    "unreviewed": ImageFilter(label="l", verdict="none", medium="image"),
    "batch": ImageFilter(label="l", batch_id="b", character_key="c"),
}


@pytest.mark.parametrize("name", OF_LABEL)
def test_images_of_one_label_are_read_from_its_batches_alone(ledger: Ledger, name: str) -> None:
    """Otherwise the time of an answer would show what others have."""
    wanted = OF_LABEL[name]
    for sql, values in (image_lists.page(wanted), image_lists.count_query(wanted, 10)):
        read = [step for step in plan_of(ledger, sql, values) if step.startswith(("SCAN", "SEARCH"))]
        assert read[0].startswith("SEARCH g USING")
        assert ("(batch_id=?" if wanted.batch_id else "facets_by_label (label=?") in read[0]
        scanned = {step.split()[1] for step in read if step.startswith("SCAN")}
        assert scanned.isdisjoint({"g", "i", "r", "images", "reviews", "facets"})


@pytest.mark.parametrize(
    "wanted",
    [
        BatchFilter(label="l"),
        BatchFilter(label="l", username_key="u", before="b", open_only=True),
        BatchFilter(label="l", series="s"),
    ],
)
async def test_a_list_of_one_label_reads_no_batch_of_another(ledger: Ledger, wanted: BatchFilter) -> None:
    """Otherwise its time would show how much others have of the same user."""
    statements: list[str] = []
    ledger._connection.set_trace_callback(statements.append)
    readers._batches(ledger._connection, wanted)
    ledger._connection.set_trace_callback(None)
    plan = plan_of(ledger, statements[-1], ())
    assert plan[0] == "SEARCH batches USING PRIMARY KEY (batch_id=?)"
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
