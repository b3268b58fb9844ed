"""What other programs put into the file of a ledger, or take out of it: tolerated and named, or refused by its name."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.ports import ImageFilter
from comfyledger.ledger.sqlite import schema
from comfyledger.ledger.sqlite.reader import Reader
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.audit.findings import Tally, silent
from comfyledger.maintenance.audit.run import audit
from comfyledger.maintenance.open_read_only import open_read_only
from comfyledger.maintenance.rebuild import rebuild
from support import large_ledger
from support.ledger_builders import as_before_lists, check_tables, raw, submission, take
from support.ledger_on_disk import folders_of


def changed(path: Path, *statements: str) -> None:
    """By somebody who knows SQL and nothing of comfyledger."""
    stranger = raw(path)
    for statement in statements:
        stranger.execute(statement)
    stranger.close()


@pytest.fixture
def used(path: Path) -> Path:
    """A ledger with a batch in it, which nobody has open."""
    ledger = Ledger.open(path)
    take(ledger, submission("r1"))
    ledger.close()
    return path


def whole(path: Path) -> list[str]:
    """What an audit finds, and in what it does not count as found."""
    tally = Tally()
    audited = audit(path, folders_of(path.parent), None, 0.0, tally, silent)
    assert tally.kinds == ()
    return list(audited.foreign)


HARMLESS = {
    "ANALYZE": "table sqlite_stat1",
    "CREATE INDEX mine ON events (kind)": "index mine on events",
    "CREATE INDEX mine ON images (state) WHERE state = 'parked'": "index mine on images",
    "CREATE INDEX mine ON images (lower(state))": "index mine on images",
    "CREATE INDEX mine ON images (row ->> '$.file')": "index mine on images",
    "CREATE INDEX mine ON images (json_extract(row, '$.file'))": "index mine on images",
    "CREATE VIEW mine AS SELECT * FROM images": "view mine",
    "CREATE VIEW mine AS SELECT nothing_that_there_is(state) FROM nowhere": "view mine",
    "CREATE TABLE mine (batch_id TEXT REFERENCES batches (batch_id), note TEXT)": "table mine",
    "CREATE TABLE mine (note TEXT, file AS (note ->> '$.file'))": "table mine",
    "CREATE TABLE mine (note TEXT UNIQUE)": "table mine",
    "CREATE VIRTUAL TABLE mine USING fts5(note)": "table mine",
}


@pytest.mark.parametrize(("statement", "name"), HARMLESS.items())
def test_what_is_not_ours_and_does_no_harm_is_tolerated_and_named(used: Path, statement: str, name: str) -> None:
    changed(used, statement)
    ledger = Ledger.open(used)
    take(ledger, submission("r2"))
    assert name in ledger.foreign
    ledger.close()
    check_tables(used)
    assert name in whole(used)


@pytest.mark.parametrize("statement", HARMLESS)
async def test_objects_added_to_an_open_ledger_stop_neither_writer_nor_reader(used: Path, statement: str) -> None:
    ledger, reader = Ledger.open(used), Reader(used)
    take(ledger, submission("r2"))
    assert (await reader.head()).position == ledger.head.position
    changed(used, statement)
    take(ledger, submission("r3"))
    assert (await reader.head()).position == ledger.head.position
    await reader.close()
    ledger.close()
    check_tables(used)


def test_a_trigger_on_a_table_of_others_is_theirs(used: Path) -> None:
    changed(used, "CREATE TABLE notes (text TEXT)")
    changed(used, "CREATE TRIGGER mine AFTER INSERT ON notes BEGIN DELETE FROM notes; END")
    ledger = Ledger.open(used)
    assert ledger.foreign == ("table notes", "trigger mine on notes")
    ledger.close()


@pytest.mark.parametrize(
    ("statement", "name", "mend"),
    [
        ("CREATE TRIGGER mine AFTER INSERT ON events BEGIN SELECT 1; END", "trigger mine on events", "DROP TRIGGER"),
        ("CREATE TRIGGER mine AFTER UPDATE ON Images BEGIN SELECT 1; END", "trigger mine on", "DROP TRIGGER"),
        ("CREATE UNIQUE INDEX mine ON images (state)", "index mine on images", "DROP INDEX"),
        ("CREATE UNIQUE INDEX mine ON events (at) WHERE at < 0", "index mine on events", "DROP INDEX"),
    ],
)
def test_objects_that_can_affect_our_rows_are_refused_until_dropped(
    path: Path, statement: str, name: str, mend: str
) -> None:
    Ledger.open(path).close()
    changed(path, statement)
    with pytest.raises(LedgerUnusable, match=name) as refused:
        Ledger.open(path)
    command = f'{mend} "mine";'
    assert command in refused.value.hint
    changed(path, command)
    Ledger.open(path).close()


def test_an_index_on_a_foreign_function_or_collation_is_refused_by_name(path: Path) -> None:
    Ledger.open(path).close()
    stranger = raw(path)
    stranger.create_function("theirs", 1, lambda value: value, deterministic=True)
    stranger.create_collation("their_order", lambda one, other: 0)
    stranger.execute("CREATE INDEX by_function ON images (theirs(row))")
    stranger.execute("CREATE INDEX by_order ON batches (row COLLATE their_order)")
    stranger.close()
    with pytest.raises(LedgerUnusable, match="index by_function on images, the index by_order on batches") as refused:
        Ledger.open(path)
    assert refused.value.hint.endswith('DROP INDEX "by_function"; DROP INDEX "by_order";')


def test_a_view_under_the_name_of_a_table_of_ours_is_refused_by_name(used: Path) -> None:
    changed(used, "DROP TABLE lanes", "CREATE VIEW lanes AS SELECT 1")
    with pytest.raises(LedgerUnusable, match=r"view lanes.*table lanes is missing") as refused:
        Ledger.open(used)
    changed(used, 'DROP VIEW "lanes"')
    assert "replay --rebuild" in refused.value.hint
    rebuild(used, silent)
    Ledger.open(used).close()


OURS = [
    *(("table", name) for name in ("series", "names_given", "requests", "batches", "prompts", "images", "lanes")),
    *(("table", name) for name in ("events_by_user", "template_uses", "facets")),
    *(
        ("index", name)
        for name in ("events_by_stream", "blobs_by_key", "batches_open", "images_unstored", "prompts_open")
    ),
    *(("index", name) for name in ("batches_by_user", "facets_by_user", "facets_by_label", "images_unstored")),
    *(("trigger", name) for name in ("events_are_never_changed", "events_are_never_deleted")),
]


@pytest.mark.parametrize(("kind", "name"), OURS)
def test_what_is_missing_of_ours_is_named_and_made_anew_from_the_log(used: Path, kind: str, name: str) -> None:
    changed(used, f"DROP {kind} {name}")
    with pytest.raises(LedgerUnusable, match=f"the {kind} {name}.* is missing") as refused:
        Ledger.open(used)
    assert "comfyledger replay --rebuild" in refused.value.hint
    rebuild(used, silent)
    ledger = Ledger.open(used)
    (answer,) = take(ledger, submission("r2"))
    assert [image.number for image in answer.images] == [4, 5, 6]
    ledger.close()
    check_tables(used)
    assert whole(used) == []


@pytest.mark.parametrize(
    "statements",
    [
        ("DROP TABLE lanes", "CREATE TABLE lanes (name TEXT)"),
        ("DROP INDEX images_unstored", "CREATE INDEX images_unstored ON images (batch_id)"),
        (
            "DROP TRIGGER events_are_never_deleted",
            "CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events BEGIN SELECT 1; END",
        ),
        ("ALTER TABLE names_given RENAME TO given",),
        ("ALTER TABLE series RENAME COLUMN next TO following",),
    ],
)
def test_what_was_changed_of_ours_is_named_and_made_anew_from_the_log(used: Path, statements: tuple[str, ...]) -> None:
    changed(used, *statements)
    with pytest.raises(LedgerUnusable, match="not as comfyledger left them"):
        Ledger.open(used)
    rebuild(used, silent)
    ledger = Ledger.open(used)
    take(ledger, submission("r2"))
    ledger.close()
    check_tables(used)


@pytest.mark.parametrize("table", ["series", "events", "blobs"])
def test_an_added_column_is_removed_by_the_statement_in_the_hint(used: Path, table: str) -> None:
    changed(used, f"ALTER TABLE {table} ADD COLUMN mine TEXT")
    with pytest.raises(LedgerUnusable, match=f"the table {table} was changed") as refused:
        Ledger.open(used)
    command = f'ALTER TABLE "{table}" DROP COLUMN "mine";'
    assert refused.value.hint.endswith(command)
    changed(used, command)
    Ledger.open(used).close()
    assert whole(used) == []


@pytest.mark.parametrize("table", ["events", "blobs", "meta"])
def test_what_no_log_can_give_back_comes_from_a_backup(used: Path, table: str) -> None:
    changed(used, f"DROP TABLE {table}")
    with pytest.raises(LedgerUnusable, match=f"the table {table} is missing") as refused:
        Ledger.open(used)
    assert "comfyledger restore" in refused.value.hint
    tally = Tally()
    audit(used, folders_of(used.parent), None, 0.0, tally, silent)
    assert "schema_changed" in {kind.kind for kind in tally.kinds}


@pytest.mark.parametrize("statement", ["DROP TABLE _sqlite_migrations", "DELETE FROM _sqlite_migrations WHERE id = 2"])
def test_a_list_of_migrations_that_is_not_whole_is_named_and_made_whole(used: Path, statement: str) -> None:
    changed(used, statement)
    with pytest.raises(LedgerUnusable, match="list of migrations") as refused:
        Ledger.open(used)
    assert "comfyledger replay --rebuild" in refused.value.hint
    rebuild(used, silent)
    Ledger.open(used).close()
    check_tables(used)


def test_a_rebuild_that_breaks_off_leaves_a_missing_table_missing(used: Path) -> None:
    """An empty one would give every number again."""
    changed(used, "DROP TABLE series")

    def full(what: str, done: int, _: int) -> None:
        if what == "tables" and done == 5:
            raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        rebuild(used, full)
    with pytest.raises(LedgerUnusable, match="the table series is missing"):
        Ledger.open(used)


@pytest.mark.parametrize(
    "statement",
    [
        "PRAGMA application_id=0",
        "PRAGMA application_id=1234",
        "PRAGMA user_version=0",
        "PRAGMA journal_mode=DELETE",
        "VACUUM",
        "PRAGMA auto_vacuum=2",
    ],
)
def test_what_another_program_set_in_the_header_is_set_again(used: Path, statement: str) -> None:
    changed(used, statement, "VACUUM")
    with open_read_only(used) as connection:
        assert schema.is_ours(connection)
    ledger = Ledger.open(used)
    said = [ledger._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    assert said == [schema.APPLICATION_ID, schema.USER_VERSION]
    assert ledger._connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    take(ledger, submission("r2"))
    ledger.close()
    check_tables(used)


def test_a_ledger_that_went_through_a_dump_is_ours(used: Path, tmp_path: Path) -> None:
    source, copy = raw(used), raw(tmp_path / "copy.db")
    copy.executescript("\n".join(source.iterdump()))
    source.close()
    copy.close()
    ledger = Ledger.open(tmp_path / "copy.db")
    (answer,) = take(ledger, submission("r1"))
    assert answer.repeated
    ledger.close()
    check_tables(tmp_path / "copy.db")


def test_a_ledger_before_its_migration_is_compared_with_its_own_version(path: Path) -> None:
    Ledger.open(path).close()
    changed(path, "DROP TABLE reviews")
    changed(path, "DELETE FROM _sqlite_migrations WHERE name = '0007_reviews'", "PRAGMA user_version=6")
    ledger = Ledger.open(path)
    assert ledger.foreign == ()
    ledger.close()
    whole(path)


def test_a_name_that_a_table_of_ours_will_need_is_refused_by_name(path: Path) -> None:
    Ledger.open(path).close()
    changed(path, "DROP TABLE reviews", "CREATE TABLE reviews (mine TEXT)")
    changed(path, "DELETE FROM _sqlite_migrations WHERE name = '0007_reviews'", "PRAGMA user_version=6")
    with pytest.raises(LedgerUnusable, match="table reviews") as refused:
        Ledger.open(path)
    changed(path, refused.value.hint[refused.value.hint.index("ALTER") :])
    Ledger.open(path).close()


def test_many_objects_of_others_make_no_endless_sentence(used: Path) -> None:
    changed(used, *(f"CREATE TRIGGER t{n} AFTER INSERT ON lanes BEGIN SELECT 1; END" for n in range(40)))
    with pytest.raises(LedgerUnusable, match="and 30 more"):
        Ledger.open(used)


def test_a_ledger_of_the_release_before_lists_get_their_table_and_one_index_for_three(path: Path) -> None:
    path.parent.mkdir(parents=True)
    large_ledger.fill(path, 300)
    expected = contents(path, "SELECT * FROM facets")
    as_before_lists(path)
    Ledger.open(path).close()
    assert contents(path, "SELECT * FROM facets") == expected
    named = {name for (name,) in contents(path, "SELECT name FROM sqlite_schema WHERE tbl_name = 'images'")}
    assert named == {"images", "images_unstored"}
    assert len(expected) > 30


def test_a_rebuild_of_the_release_before_lists_leaves_no_former_index(used: Path) -> None:
    as_before_lists(used)
    rebuild(used, silent)
    ledger = Ledger.open(used)
    assert ledger.foreign == ()
    ledger.close()
    check_tables(used)


async def test_images_of_the_release_before_lists_can_be_listed_in_its_file(used: Path) -> None:
    """A backup is read as it is, and nothing brings its tables up to date."""
    as_before_lists(used)
    reader = Reader(used)
    for wanted in (ImageFilter(), ImageFilter(username_key="areg", state="pending"), ImageFilter(label="app")):
        assert [row.index for row in await reader.images(wanted)] == [1, 2, 3]
    with pytest.raises(LedgerUnusable, match="older release"):
        await reader.images(ImageFilter(medium="video"))
    await reader.close()


def contents(path: Path, sql: str) -> list[Any]:
    with closing(raw(path)) as connection:
        return connection.execute(sql).fetchall()
