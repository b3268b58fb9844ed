"""Reading beside the writer: short, bounded, without a way to change anything."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from comfyledger.core.commands import CancelBatch, HoldBatch, PauseLane
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


def three_batches(ledger: Ledger) -> None:
    take(ledger, submission("r1"), submission("r2", user="Ann", quantity=2), submission("r3"))
    take(ledger, CancelBatch("app", "batch-app-r1"), HoldBatch("app", "batch-app-r3"), PauseLane("app", "store/x"))


async def test_pages_of_the_log_go_by_position_stream_user_and_end(ledger: Ledger, reader: Reader) -> None:
    three_batches(ledger)
    head = await reader.head()
    assert head == ledger.head
    everything = await reader.page(after=0, limit=99)
    assert [line.position for line in everything] == list(range(1, head.position + 1))
    assert await reader.page(after=2, limit=2) == everything[2:4]
    assert await reader.page(after=2, limit=99, upto=4) == everything[2:4]
    own = await reader.page(after=0, limit=99, stream="batch-app-r1")
    assert own == [line for line in everything if line.stream == "batch-app-r1"]
    of_ann = await reader.page(after=0, limit=99, user="ann")
    assert [(line.kind, line.user) for line in of_ann] == [("batch_requested", "ann")]


async def test_batches_are_listed_newest_first_and_in_pages(ledger: Ledger, reader: Reader) -> None:
    three_batches(ledger)

    async def found(**wanted: str | bool | int) -> list[str]:
        return [row.request_id for row in await reader.batches(BatchFilter(**wanted))]  # type: ignore[arg-type]

    assert await found() == ["r3", "r2", "r1"]
    assert await found(limit=1) == ["r3"]
    assert await found(before="batch-app-r3") == ["r2", "r1"]
    assert await found(username_key="areg") == ["r3", "r1"]
    assert await found(username_key="areg", before="batch-app-r3") == ["r1"]
    assert await found(open_only=True) == ["r3", "r2"]


async def test_images_are_listed_newest_batch_first_and_in_pages(ledger: Ledger, reader: Reader) -> None:
    three_batches(ledger)

    async def found(**wanted: str | tuple[str, int] | int) -> list[str]:
        return [row.file for row in await reader.images(ImageFilter(**wanted))]  # type: ignore[arg-type]

    of_areg = [f"Areg_opal-fever_image_{n}" for n in (4, 5, 6, 1, 2, 3)]
    assert await found(username_key="areg") == of_areg
    assert await found(username_key="areg", limit=2) == of_areg[:2]
    assert await found(username_key="areg", before=("batch-app-r3", 2)) == of_areg[2:]
    assert await found(username_key="areg", before=("batch-app-r3", 3)) == of_areg[3:]
    assert await found(batch_id="batch-app-r1", state="cancelled") == of_areg[3:]
    assert await found(batch_id="batch-app-r1", state="pending") == []
    assert len(await found()) == 8
    everything = await found()
    pages = [await found(before=place, limit=3) for place in (("batch-app-r3", 3), ("batch-app-r2", 2))]
    assert everything == everything[:3] + pages[0][:2] + pages[1]


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
    plan: list[str] = []

    class Explaining:
        def execute(self, sql: str, values: tuple[str | int, ...]) -> list[tuple[str]]:
            plan.extend(row[3] for row in ledger._connection.execute(f"EXPLAIN QUERY PLAN {sql}", values))
            return []

    readers._images(Explaining(), wanted)  # type: ignore[arg-type]
    assert "SEARCH" in plan[0]
    assert "batch_id" in plan[0]


async def test_single_rows_are_found_and_missing_ones_are_none(ledger: Ledger, reader: Reader) -> None:
    three_batches(ledger)
    batch = await reader.batch("batch-app-r2")
    assert batch is not None
    assert (batch.username, batch.pending) == ("Ann", 2)
    prompt, image = await reader.prompt("batch-app-r2", 2), await reader.image("batch-app-r2", 2)
    assert prompt is not None
    assert image is not None
    assert (prompt.index, image.number) == (2, 2)
    assert [lane.name for lane in await reader.lanes() if lane.person] == ["store/x"]
    assert await reader.batch("none") is None
    assert await reader.prompt("batch-app-r2", 3) is None
    assert await reader.image("none", 1) is None


async def test_an_image_is_found_by_its_name_however_it_is_spelled(ledger: Ledger, reader: Reader) -> None:
    take(ledger, submission(user="Zoë"))
    name = "Zoë/premade_characters/opal-fever/images/Zoë_opal-fever_image_2"
    for spelled in (name, name.upper(), name.replace("ë", "e\u0308")):
        image = await reader.image_named(spelled)
        assert image is not None
        assert image.number == 2
    assert await reader.image_named(name.replace("_2", "_9")) is None


async def test_texts_are_found_by_digest_and_an_erased_one_is_missing(ledger: Ledger, reader: Reader) -> None:
    command = submission(prompt="a castle at dusk")
    take(ledger, command)
    text = command.texts[0]
    assert await reader.texts([text.digest, "0" * 64]) == {text.digest: b"a castle at dusk"}


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


async def test_readers_see_only_committed_rows_while_a_group_is_open(ledger: Ledger, reader: Reader) -> None:
    take(ledger, submission("r1"))
    with ledger.group():
        with ledger.message():
            ledger._connection.execute("UPDATE series SET next = next")
        assert [row.request_id for row in await reader.batches(BatchFilter())] == ["r1"]
        assert (await reader.head()).position == 2
    take(ledger, submission("r2"))
    assert (await reader.head()).position == 3


async def test_a_reader_holds_no_transaction_between_two_calls(ledger: Ledger, reader: Reader, path: Path) -> None:
    """Else the log beside the file could not be checkpointed and would grow for as long as the reader lives."""
    take(ledger, submission("r1"))
    await reader.page(after=0, limit=1)
    busy, _, _ = ledger._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert busy == 0
    assert path.with_name("ledger.db-wal").stat().st_size == 0


async def test_many_reads_and_writes_at_the_same_time_agree(ledger: Ledger, reader: Reader) -> None:
    def write() -> None:
        for n in range(60):
            take(ledger, submission(f"r{n}"))

    thread = threading.Thread(target=write)
    thread.start()
    seen = [0]
    while thread.is_alive():
        pages = await asyncio.gather(*(reader.page(after=0, limit=999) for _ in range(3)))
        for page in pages:
            assert [line.position for line in page] == list(range(1, len(page) + 1))
            seen.append(len(page))
    thread.join()
    assert seen == sorted(seen)
    assert (await reader.head()).position == 61


async def test_a_folder_with_signs_that_mean_something_in_a_uri_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "50%20off? #1" / "ledger.db"
    ledger = Ledger.open(path)
    take(ledger, submission())
    reader = Reader(path)
    assert (await reader.head()).position == 2
    await reader.close()
    ledger.close()


async def test_a_reader_that_read_nothing_can_be_closed(tmp_path: Path) -> None:
    await Reader(tmp_path / "none.db").close()
