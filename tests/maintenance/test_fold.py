"""Every projection is what the log says, or the row that is not is named; the fold is the daemon's own."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from comfyledger.core.commands import RetryBatch
from comfyledger.core.events import SeriesOpened
from comfyledger.core.reports import PromptHasFailed, SubmitIntended
from comfyledger.core.rows import SeriesRow
from comfyledger.core.values import LoadedFile
from comfyledger.errors import LedgerUnusable, Refused
from comfyledger.ledger.ports import ImageFilter
from comfyledger.ledger.sqlite import projections, schema
from comfyledger.ledger.sqlite.reader import Reader
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.audit import chain, fold
from comfyledger.maintenance.audit.compare import TABLES
from comfyledger.maintenance.audit.findings import Tally, silent
from comfyledger.maintenance.audit.run import check_projections
from comfyledger.maintenance.open_read_only import open_read_only
from comfyledger.maintenance.replay import position_at, replay
from support.ledger_builders import NOW_MS, raw, submission
from support.ledger_load import run_load
from support.ledger_on_disk import INPUT, Place, contents, rows, seen_in_parts, take_group


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """With a row in every table."""
    place = Place(tmp_path_factory.mktemp("filled") / "state")
    place.fill()
    place.give()
    return place


def found_in(path: Path) -> dict[str, list[str]]:
    """What the fold of the whole log finds; stream by stream the answer is the same, without a name."""
    tally = Tally()
    with open_read_only(path) as live:
        check_projections(live, tally, silent)
    assert seen_in_parts(path).tables == (not tally)
    return {kind.kind: [finding.where for finding in kind.examples] for kind in tally.kinds}


def columns() -> list[tuple[str, str]]:
    """Every column of every projection but the JSON rows, as a ledger is born with them."""
    memory = raw(Path(":memory:"))
    for statements in schema._STATEMENTS.values():
        for statement in statements:
            memory.execute(statement)
    found = [(table, name) for table in TABLES for _, name, *_ in memory.execute(f"PRAGMA table_info({table})")]
    memory.close()
    return [(table, name) for table, name in found if name != "row"]


FIELDS = [(table, field) for table, (_, kind) in TABLES.items() if kind for field in kind.__struct_fields__]


def whose(table: str) -> str:
    """One row of a table."""
    keys, _ = TABLES[table]
    order = ", ".join(keys)
    return f"({order}) = (SELECT {order} FROM {table} ORDER BY {order} LIMIT 1)"


def test_the_tables_that_nobody_touched_are_what_the_log_says(place: Place) -> None:
    assert found_in(place.path) == {}


def test_a_batch_that_is_opened_again_needs_its_input_again(place: Place) -> None:
    ledger = Ledger.open(place.path)
    asked, about = submission("r4", quantity=1), ("batch-app-r4", 1, 1)
    prompts = (replace(asked.prompts[0], loads=(LoadedFile("5.image", sha256=INPUT),)),)
    take_group(ledger, replace(asked, prompts=prompts))
    take_group(ledger, SubmitIntended(*about, "main"), PromptHasFailed(*about, "execution_error", final=True))
    take_group(ledger, RetryBatch("app", "batch-app-r4"))
    ledger.close()
    assert rows(place.path, "SELECT ended_ms FROM input_uses WHERE batch_id = 'batch-app-r4'") == [(0,)]
    assert found_in(place.path) == {}


@pytest.mark.parametrize(("table", "column"), columns())
def test_a_changed_column_is_found_in_its_row(place: Place, table: str, column: str) -> None:
    other = f"CASE typeof({column}) WHEN 'integer' THEN {column} + 1000 ELSE {column} || 'x' END"
    place.tamper(f"UPDATE {table} SET {column} = {other} WHERE {whose(table)}")
    found = found_in(place.path)
    if column in TABLES[table][0]:
        assert set(found) == {"row_missing", "row_foreign"}
    else:
        assert set(found) == {"row_changed"}
    assert all(where.startswith(f"{table} ") for places in found.values() for where in places)


@pytest.mark.parametrize(("table", "field"), FIELDS)
def test_a_changed_field_is_found_in_its_row(place: Place, table: str, field: str) -> None:
    value = f"row -> '$.{field}'"
    typed = f"json_type(row, '$.{field}')"
    other = f"CASE {typed} WHEN 'integer' THEN json({value} + 1) ELSE json('\"other\"') END"
    place.tamper(f"UPDATE {table} SET row = json_set(row, '$.{field}', {other}) WHERE {whose(table)}")
    assert [*found_in(place.path)] == ["row_changed"]


@pytest.mark.parametrize("table", TABLES)
def test_a_row_that_is_gone_or_was_put_in_is_found(place: Place, table: str) -> None:
    keys, _ = TABLES[table]
    place.tamper(f"CREATE TEMP TABLE one AS SELECT * FROM {table} WHERE {whose(table)}")
    last = keys[-1]
    other = f"CASE typeof({last}) WHEN 'integer' THEN {last} + 1000 ELSE {last} || 'x' END"
    names = [name for (_, name, *_) in rows(place.path, f"PRAGMA table_info({table})")]
    values = ", ".join(other if name == last else str(name) for name in names)
    place.tamper(f"INSERT INTO {table} SELECT {values} FROM {table} WHERE {whose(table)}")
    assert [*found_in(place.path)] == ["row_foreign"]
    place.tamper(f"DELETE FROM {table} WHERE {whose(table)}")
    assert [*found_in(place.path)] == ["row_missing", "row_foreign"]


@pytest.mark.parametrize("wrong", ["not json", '{"key": 1}', '{"state":"kept","state":"stored"}'])
def test_a_row_that_cannot_be_read_is_found(place: Place, wrong: str) -> None:
    place.tamper(f"UPDATE images SET row = '{wrong}' WHERE {whose('images')}")
    assert [*found_in(place.path)] == ["row_changed"]


def test_a_field_that_an_older_version_did_not_write_has_its_default(place: Place) -> None:
    place.tamper("UPDATE images SET row = json_remove(row, '$.code', '$.words')")
    assert found_in(place.path) == {}


def test_a_field_that_no_version_writes_is_found(place: Place) -> None:
    place.tamper(f"UPDATE images SET row = json_insert(row, '$.codd', '') WHERE {whose('images')}")
    assert [*found_in(place.path)] == ["row_changed"]


def test_a_field_that_no_version_writes_is_found_in_the_depth(place: Place) -> None:
    place.tamper("UPDATE images SET row = json_insert(row, '$.uploads[0].codd', '') WHERE state = 'stored'")
    assert [*found_in(place.path)] == ["row_changed"]


FOREIGN = "INSERT INTO blobs (digest, salt, content, key) VALUES ('{}', x'00', x'00', '{}')"
ONE_TEXT = "(SELECT min(digest) FROM blobs WHERE key = '')"


@pytest.mark.parametrize(
    ("statements", "kinds"),
    [
        ((f"DELETE FROM blobs WHERE digest = {ONE_TEXT}",), {"blob_missing"}),
        ((FOREIGN.format("f" * 64, ""),), {"blob_foreign"}),
        (
            (f"DELETE FROM blobs WHERE digest = {ONE_TEXT}", FOREIGN.format("f" * 64, "")),
            {"blob_missing", "blob_foreign"},
        ),
        (("DELETE FROM blobs WHERE key <> ''",), {"blob_missing"}),
        ((FOREIGN.format("f" * 64, "k"),), {"blob_foreign"}),
        (("DELETE FROM blobs WHERE key <> ''", FOREIGN.format("f" * 64, "k")), {"blob_missing", "blob_foreign"}),
        ((f"UPDATE blobs SET key = 'k' WHERE digest = {ONE_TEXT}",), {"blob_changed"}),
        (("UPDATE blobs SET key = ''",), {"blob_changed"}),
    ],
)
def test_texts_that_are_gone_foreign_or_taken_for_others_are_found(
    place: Place, statements: tuple[str, ...], kinds: set[str]
) -> None:
    """Also where as many stand there as should."""
    place.tamper(*statements)
    assert {*found_in(place.path)} == kinds


def test_a_row_in_memory_is_not_read_again(tmp_path: Path) -> None:
    """What is in the file is older."""
    scratch = fold.Scratch(tmp_path / "scratch.db")
    projections.save(scratch.connection, [SeriesRow("s", "f", 1)])
    working = fold.Working(scratch.connection)
    working.put([SeriesRow("s", "f", 5)])
    working.load_for("series/s", SeriesOpened("s", "f", 9))
    scratch.close()
    assert working.the_series("s").next == 5


def test_an_event_that_cannot_be_folded_is_told_with_its_position(place: Place) -> None:
    place.tamper("UPDATE events SET data = '{}' WHERE position = 9")
    assert found_in(place.path) == {"fold_impossible": ["position 9"]}


@pytest.mark.parametrize("seed", range(3))
def test_whatever_came_the_tables_are_what_the_log_says(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With so few rows in memory that they are written and let go all the time."""
    monkeypatch.setattr(fold, "ROWS_MAX", 10)
    monkeypatch.setattr(chain, "PAGE", 7)
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path)
    run_load(ledger, seed, groups=120)
    ledger.close()
    assert found_in(path) == {}


def test_beside_a_writer_nothing_is_found(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path)
    take_group(ledger, submission("first"))
    stop = threading.Event()
    made = []

    def write() -> None:
        while not stop.is_set() and len(made) < 2_000:
            made.append(f"w{len(made)}")
            take_group(ledger, submission(made[-1], prompt=made[-1], body=made[-1]))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        before = len(made)
        for _ in range(4):
            assert found_in(path) == {}
        assert len(made) > before
    finally:
        stop.set()
        writer.join()
        ledger.close()


def test_an_audit_changes_no_byte(place: Place) -> None:
    before = contents(place.folder)
    _, tally = place.look()
    assert not tally
    assert contents(place.folder) == before


# ---- the state as it was


def test_a_replay_to_the_end_is_the_ledger(place: Place, tmp_path: Path) -> None:
    head = rows(place.path, "SELECT max(position) FROM events")[0][0]
    replay(place.path, int(str(head)), tmp_path / "then.db", silent)
    for table in (*TABLES, "events"):
        sql = f"SELECT * FROM {table}"
        assert rows(tmp_path / "then.db", sql) == rows(place.path, sql)
    assert rows(tmp_path / "then.db", "PRAGMA integrity_check") == [("ok",)]


async def test_a_replay_to_a_position_is_the_state_of_then(place: Place, tmp_path: Path) -> None:
    """The third event accepts the second batch; nothing is rendered yet."""
    replay(place.path, 4, tmp_path / "then.db", silent)
    reader = Reader(tmp_path / "then.db")
    images = await reader.images(ImageFilter())
    await reader.close()
    assert [(row.number, row.state) for row in images] == [(n, "pending") for n in (1, 2, 3, 1, 2, 3)]
    assert len(rows(tmp_path / "then.db", "SELECT * FROM events")) == 4


def test_what_was_replayed_cannot_be_run(place: Place, tmp_path: Path) -> None:
    replay(place.path, 4, tmp_path / "then.db", silent)
    with pytest.raises(LedgerUnusable):
        Ledger.open(tmp_path / "then.db")


def test_texts_are_not_copied(place: Place, tmp_path: Path) -> None:
    replay(place.path, 4, tmp_path / "then.db", silent)
    assert rows(tmp_path / "then.db", "SELECT * FROM blobs") == []


def test_a_file_that_exists_is_left_alone(place: Place, tmp_path: Path) -> None:
    (tmp_path / "mine.db").write_text("mine")
    with pytest.raises(Refused, match="exists already"):
        replay(place.path, 4, tmp_path / "mine.db", silent)
    assert (tmp_path / "mine.db").read_text() == "mine"


def test_a_position_that_is_not_there_leaves_no_file(place: Place, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no position"):
        replay(place.path, 10_000, tmp_path / "then.db", silent)
    place.tamper("UPDATE events SET data = '{}' WHERE position = 3")
    with pytest.raises(LedgerUnusable, match="cannot be folded"):
        replay(place.path, 4, tmp_path / "then.db", silent)
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_time_is_the_last_position_before_it(place: Place) -> None:
    assert position_at(place.path, NOW_MS - 1) == 0
    assert position_at(place.path, NOW_MS) > 0
    place.tamper(f"UPDATE events SET at = {NOW_MS + 5000} WHERE position > 6")
    assert position_at(place.path, NOW_MS + 4999) == 6
