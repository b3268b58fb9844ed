"""What is forgotten is in no file of the ledger: not in a page, not in a free one, not in the write-ahead log."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from comfyledger.core.commands import Forget
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.reports import PromptHasFailed, PromptWasAccepted, SubmitIntended
from comfyledger.core.results import Forgotten
from comfyledger.core.values import Blob, blob_of
from comfyledger.ledger.commit_group import Terms, decide_group
from comfyledger.ledger.sqlite import blobs, schema
from comfyledger.ledger.sqlite.projections import open_rows
from comfyledger.ledger.sqlite.reader import Reader
from comfyledger.ledger.sqlite.writer import Ledger
from support.core_builders import one_kept, one_stored, uploading
from support.ledger_builders import check_tables, log_of, raw, submission, take

SECRET = "a secret that nobody but Areg may know"


def files_with(path: Path, words: str | bytes) -> list[str]:
    """The files beside a ledger that hold the words, byte for byte."""
    wanted = words.encode() if isinstance(words, str) else words
    return [file.name for file in path.parent.iterdir() if wanted in file.read_bytes()]


def forget(ledger: Ledger, batch_id: str, *images: int, stores: bool = False) -> Forgotten:
    (answer,) = take(ledger, Forget("cli", batch_id, images, stores))
    assert isinstance(answer, Forgotten)
    return answer


def test_the_words_are_in_no_file_once_the_log_is_emptied(ledger: Ledger, path: Path) -> None:
    asked = submission(prompt=SECRET)
    take(ledger, asked)
    ledger.scrub()
    take(ledger, submission("r2", prompt="something else", salt=b"pepper"))
    assert path.name in files_with(path, SECRET)
    assert forget(ledger, asked.batch_id).texts == 1
    assert ledger.scrub()
    assert files_with(path, SECRET) == []
    assert files_with(path, "something else") == [path.name]


def test_what_is_still_in_the_log_alone_goes_as_well(ledger: Ledger, path: Path) -> None:
    ledger.scrub()
    asked = submission(prompt=SECRET)
    take(ledger, asked)
    assert files_with(path, SECRET) == [f"{path.name}-wal"]
    forget(ledger, asked.batch_id)
    assert files_with(path, SECRET) == [f"{path.name}-wal"]
    assert ledger.scrub()
    assert files_with(path, SECRET) == []


def test_while_a_reader_looks_at_what_was_before_it_has_to_be_tried_again(ledger: Ledger, path: Path) -> None:
    asked = submission(prompt=SECRET)
    take(ledger, asked)
    reader = raw(path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM events").fetchone()
    forget(ledger, asked.batch_id)
    assert not ledger.scrub()
    assert ledger.scrub_owed
    assert files_with(path, SECRET)
    reader.execute("COMMIT")
    assert ledger.scrub()
    assert files_with(path, SECRET) == []
    reader.close()


def test_what_a_killed_process_left_in_the_log_is_owed_again_at_the_start(path: Path) -> None:
    ledger = Ledger.open(path)
    asked = submission(prompt=SECRET)
    take(ledger, asked)
    forget(ledger, asked.batch_id)
    beside = path.parent.parent / "after the kill"
    beside.mkdir()
    for file in path.parent.iterdir():
        (beside / file.name).write_bytes(file.read_bytes())
    ledger.close()
    again = Ledger.open(beside / path.name)
    assert files_with(beside / path.name, SECRET)
    assert again.scrub()
    assert files_with(beside / path.name, SECRET) == []
    again.close()


@pytest.mark.parametrize("seed", [10, 13, 22])
def test_texts_that_share_pages_leave_no_copy_of_their_neighbours(tmp_path: Path, seed: int) -> None:
    """With these seeds a text would be found again if rows were deleted: SQLite moves the others together then."""
    chance = random.Random(seed)
    connection = raw(tmp_path / "texts.db")
    schema.set_up(connection)
    schema.migrate(connection)
    held, gone = list[Blob](), list[Blob]()
    for number in range(150):
        digest = f"{chance.getrandbits(256):064x}"
        content = f"<secret {number:04} ".encode() + b"x" * chance.choice([100, 300])
        held.append(Blob(digest, b"s" * 16, content))
        blobs.put(connection, held[-1:])
        if chance.random() < 0.4:
            gone.append(held.pop(chance.randrange(len(held))))
            blobs.erase(connection, [gone[-1].digest])
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    pages = (tmp_path / "texts.db").read_bytes()
    assert [blob.content[:13] for blob in gone if blob.content[:13] in pages] == []
    assert [blobs.get(connection, blob.digest) for blob in held] == [blob.content for blob in held]
    assert {blobs.get(connection, blob.digest) for blob in gone} == {None}
    connection.close()


def test_a_text_of_many_pages_goes_as_a_whole(ledger: Ledger, path: Path) -> None:
    pieces = [f"<piece {number:05} of a long text>" for number in range(5_000)]
    asked = submission(prompt="".join(pieces))
    take(ledger, asked)
    forget(ledger, asked.batch_id)
    assert ledger.scrub()
    pages = path.read_bytes()
    assert not [piece for piece in pieces if piece.encode() in pages]


def test_a_graph_stays_as_long_as_another_batch_uses_it(ledger: Ledger, path: Path) -> None:
    graph = b'{"9":{"class_type":"SaveImage","inputs":{"text":"typed into the graph"}}}'
    first, second = submission("r1", graph=graph), submission("r2", graph=graph)
    take(ledger, first, second)
    forget(ledger, first.batch_id)
    forget(ledger, second.batch_id, 1)
    assert ledger.scrub()
    assert files_with(path, graph) == [path.name]
    forget(ledger, second.batch_id)
    assert ledger.scrub()
    assert files_with(path, graph) == []


def test_a_graph_that_was_forgotten_can_be_sent_again(ledger: Ledger, path: Path) -> None:
    graph = b'{"9":{"class_type":"SaveImage","inputs":{"text":"typed into the graph"}}}'
    take(ledger, submission("r1", graph=graph))
    forget(ledger, submission("r1").batch_id)
    take(ledger, submission("r2", graph=graph, salt=b"pepper"))
    assert ledger.scrub()
    assert files_with(path, graph) == [path.name]


def test_every_error_text_about_an_image_is_erased_not_only_the_last(ledger: Ledger, path: Path) -> None:
    asked = submission(quantity=2)
    take(ledger, asked)
    for prompt in (1, 2):
        for attempt in (1, 2):
            about = (asked.batch_id, prompt, attempt)
            words = blob_of(f"out of memory, prompt {prompt}, attempt {attempt}".encode(), bytes([prompt, attempt]))
            failed = PromptHasFailed(*about, "execution_error", words)
            report(ledger, SubmitIntended(*about, "main"), PromptWasAccepted(*about), failed)
    forget(ledger, asked.batch_id, 1)
    assert ledger.scrub()
    assert files_with(path, "out of memory, prompt 1") == []
    assert files_with(path, "out of memory, prompt 2, attempt 1") == [path.name]


def report(ledger: Ledger, *reports: Any) -> None:
    """As the engine does it: with the words that a report brings."""
    outcomes, _ = decide_group(ledger, list(reports), Terms(1, Policy(), None))
    assert [outcome.error for outcome in outcomes] == [None] * len(reports)


def test_the_log_itself_stays_as_it_was_written(ledger: Ledger, path: Path) -> None:
    asked = submission(prompt=SECRET)
    take(ledger, asked)
    before = log_of(path)
    forget(ledger, asked.batch_id)
    ledger.scrub()
    after = check_tables(path)
    assert after[: len(before)] == before
    assert [line.kind for line in after[len(before) :]] == ["image_forgotten", "blob_erased", "batch_settled"]


def test_deletions_that_are_owed_are_found_by_an_index(ledger: Ledger, path: Path) -> None:
    asked = submission(quantity=2)
    take(ledger, asked)
    report(ledger, *one_stored(1, batch=asked.batch_id))
    forget(ledger, asked.batch_id, stores=True)
    rows = [row for row in ledger.open_rows() if type(row).__name__ == "ImageRow"]
    assert [(row.index, row.state) for row in rows] == [(1, "forgetting")]  # type: ignore[union-attr]
    plan = explained(path, "SELECT row FROM images WHERE state = 'forgetting' AND state <> 'stored'")
    assert "images_unstored" in plan
    plan = explained(path, "SELECT 1 FROM template_uses WHERE template = 'x' AND batch_id <> 'y' LIMIT 1")
    assert "PRIMARY KEY (template=?)" in plan
    assert list(open_rows(raw(path)))


async def test_a_removed_store_is_owed_only_deletions_of_forgotten_images(ledger: Ledger, path: Path) -> None:
    first, second = submission("r1", quantity=2), submission("r2", quantity=2)
    take(ledger, first, second)
    for batch_id in (first.batch_id, second.batch_id):
        report(ledger, *one_kept(1, batch=batch_id), uploading(1, batch=batch_id))
    forget(ledger, first.batch_id)
    forget(ledger, second.batch_id, stores=True)
    reader = Reader(path)
    assert await reader.owing("folder") == {second.batch_id: 1}
    await reader.close()


def explained(path: Path, sql: str) -> str:
    connection = raw(path)
    try:
        return " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}"))
    finally:
        connection.close()


def test_a_ledger_of_the_first_version_opens_and_knows_its_graphs_users(path: Path) -> None:
    """Made with the tables of then; what is new is added, nothing is lost."""
    path.parent.mkdir(parents=True)
    as_born(path, schema._BIRTH)
    before = raw(path)
    before.execute("INSERT INTO batches VALUES ('b1', 'areg', 'settled', 1, '{\"template\": \"t1\"}')")
    before.close()
    ledger = Ledger.open(path)
    ledger.close()
    after = raw(path)
    assert after.execute("PRAGMA user_version").fetchone()[0] == schema.USER_VERSION
    assert after.execute("SELECT * FROM template_uses").fetchall() == [("t1", "b1")]
    after.close()
    Ledger.open(path).close()


def as_born(path: Path, statements: Iterable[str]) -> None:
    """A ledger as the first version left it: its tables, its version, the digest of its schema."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE _sqlite_migrations (migration_set TEXT, name TEXT, applied_at TEXT)")
    for statement in statements:
        connection.execute(statement)
    connection.execute("INSERT INTO _sqlite_migrations VALUES ('comfyledger', '0001_birth', 'then')")
    connection.execute(f"PRAGMA application_id={schema.APPLICATION_ID}")
    connection.execute("PRAGMA user_version=1")
    for key in ("ledger_id", "epoch", "secret"):
        schema.set_meta(connection, key, "00" * 32)
    schema.set_meta(connection, "schema_digest", schema.schema_digest(connection))
    connection.close()
