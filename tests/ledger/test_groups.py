"""Groups in SQLite: full and failing disks, and what the tables hold. The rest is tested in `contract/`."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from comfyledger.core.reports import SubmitIntended
from comfyledger.core.rows import SeriesRow
from comfyledger.errors import LedgerUnusable, Refused
from comfyledger.ledger.ports import StorageFull
from comfyledger.ledger.sqlite import blobs, projections
from comfyledger.ledger.sqlite.writer import Ledger
from support.ledger_builders import bend, check_tables, failing, log_of, raw, room, submission, take, take_one


def test_a_name_is_never_given_twice_however_it_is_spelled(ledger: Ledger, path: Path) -> None:
    """The second lock: were the counter wrong, the table of names would still refuse."""
    take(ledger, submission("r1"))
    wrong = SeriesRow(submission().series[0].key, "Areg/premade_characters/opal-fever/images", next=1)
    projections.save(ledger._connection, [wrong])
    with ledger.group() as lines:
        take_one(ledger, submission("r2", user="Ann"))
        with pytest.raises(Refused) as refused:
            take_one(ledger, submission("r3", user="AREG"))
        take_one(ledger, submission("r4", user="Bob"))
    assert refused.value.code == "name_taken"
    assert [(line.position, line.hash) for line in lines] == [(line.position, line.hash) for line in log_of(path)[2:]]
    streams = {line.stream for line in log_of(path) if line.kind == "batch_requested"}
    assert streams == {"batch-app-r1", "batch-app-r2", "batch-app-r4"}
    assert raw(path).execute("SELECT count(*) FROM names_given").fetchone() == (9,)


@pytest.mark.parametrize("pages", [0, 1, 3, 8])
def test_a_full_disk_drops_the_whole_group_and_nothing_else(ledger: Ledger, path: Path, pages: int) -> None:
    take(ledger, submission("r1"))
    head, before = ledger.head, log_of(path)
    room(ledger, pages)
    with pytest.raises(StorageFull):
        take(ledger, *(submission(f"r{n}", prompt="x" * 3000, salt=bytes([n])) for n in range(2, 60)))
    assert ledger.head == head
    assert log_of(path) == before
    check_tables(path)
    room(ledger, 10_000)
    assert [image.number for image in take(ledger, submission("r2"))[0].images] == [4, 5, 6]
    check_tables(path)


def test_a_full_disk_during_a_message_ends_the_group_not_the_message(ledger: Ledger) -> None:
    """SQLite has ended the transaction: to go on with the next message would write outside of any group."""
    room(ledger, 0)
    with ledger.group():
        with pytest.raises(sqlite3.OperationalError) as full:
            take_one(ledger, submission(prompt="x" * 100_000))
        assert ledger.ends_group(full.value)
        ledger._connection.execute("BEGIN")  # for the end of the group, which the engine never reaches


def test_what_ends_a_group_and_what_does_not(ledger: Ledger) -> None:
    with ledger.group():
        assert ledger.ends_group(sqlite3.OperationalError())
        assert ledger.ends_group(sqlite3.DatabaseError("database disk image is malformed"))
        assert not ledger.ends_group(sqlite3.IntegrityError())
        assert not ledger.ends_group(KeyError())
        assert not ledger.ends_group(Refused("name_taken"))
    assert ledger.ends_group(KeyError())


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_WRITE])
def test_a_disk_that_fails_makes_the_ledger_unusable(ledger: Ledger, path: Path, code: int) -> None:
    take(ledger, submission("r1"))
    head, before = ledger.head, log_of(path)
    bend(ledger, failing("COMMIT", code))
    with pytest.raises(LedgerUnusable, match=r"The disk failed.*start again"):
        take(ledger, submission("r2"))
    assert ledger.head == head
    assert log_of(path) == before


def test_a_commit_that_finds_no_room_leaves_nothing(ledger: Ledger, path: Path) -> None:
    head = ledger.head
    bend(ledger, failing("COMMIT", sqlite3.SQLITE_FULL))
    with pytest.raises(StorageFull):
        take(ledger, submission("r1"))
    assert ledger.head == head
    assert log_of(path) == []


def test_a_group_that_appends_nothing_writes_nothing(ledger: Ledger, path: Path) -> None:
    take(ledger, submission("r1"))
    wal = path.with_name("ledger.db-wal")
    size = wal.stat().st_size
    answers = take(ledger, submission("r1"), submission("r1"))
    assert all(answer.repeated for answer in answers)
    assert wal.stat().st_size == size


def test_a_template_is_kept_once_and_a_refused_batch_leaves_no_text(ledger: Ledger, path: Path) -> None:
    """Each submission comes with a template salted anew; the first one is the one that all events name."""
    for n in range(5):
        take(ledger, submission(f"r{n}", salt=bytes([n]), prompt=f"text {n}"))
    take(ledger, submission("r1", prompt="the same request again", salt=b"again"))
    with pytest.raises(Refused, match="used before"):
        take(ledger, submission("r1", body="another", prompt="another body", salt=b"another"))
    unknown = take(ledger, submission("r9", user="Ann", trust=False, prompt="not decided yet", salt=b"yet"))
    assert type(unknown[0]).__name__ == "SeriesUnknown"
    rows = raw(path).execute("SELECT content, key FROM blobs ORDER BY rowid").fetchall()
    assert [content for content, key in rows if key] == [submission().template.content]
    assert [content for content, key in rows if not key] == [f"text {n}".encode() for n in range(5)]
    named = raw(path).execute("SELECT DISTINCT row ->> '$.template' FROM batches").fetchall()
    assert named == [(submission(salt=bytes([0])).template.digest,)]


def test_typed_text_lies_in_blobs_and_never_in_the_log(ledger: Ledger, path: Path) -> None:
    command = submission(prompt="a castle at dusk", graph=b'{"6":{"inputs":{"text":"by lamplight"}}}')
    take(ledger, command)
    log = "\n".join(line.data for line in log_of(path))
    assert "castle" not in log
    assert "lamplight" not in log
    for blob in (command.template, *command.texts):
        assert blob.digest in log
        assert blobs.get(ledger._connection, blob.digest) == blob.content
    columns = raw(path).execute("SELECT group_concat(row) FROM (SELECT row FROM batches UNION SELECT row FROM prompts)")
    assert "castle" not in columns.fetchone()[0]


def test_an_event_on_a_batch_that_did_not_change_is_its_users_all_the_same(ledger: Ledger, path: Path) -> None:
    take(ledger, submission("r1"))
    take(ledger, SubmitIntended("batch-app-r1", 2, 1, "main"))
    assert [line.kind for line in check_tables(path)] == ["series_opened", "batch_requested", "prompt_submitting"]
    assert raw(path).execute("SELECT user, position FROM events_by_user").fetchall() == [("areg", 2), ("areg", 3)]
