"""Opening a ledger: what SQLite must promise, whose file it is, who may write, and what an opening leaves as it was."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.sqlite import schema
from comfyledger.ledger.sqlite.writer import Ledger
from support.ledger_builders import raw, submission, take


def test_durability_settings_are_read_back_from_the_writers_connection(ledger: Ledger) -> None:
    def said(name: str) -> object:
        return ledger._connection.execute(f"PRAGMA {name}").fetchone()[0]

    assert said("journal_mode") == "wal"
    assert said("synchronous") == 2
    assert said("recursive_triggers") == 1
    assert said("foreign_keys") == 1
    assert said("trusted_schema") == 0
    assert said("application_id") == schema.APPLICATION_ID
    assert said("user_version") == schema.USER_VERSION


def test_a_connection_that_does_not_take_what_it_is_told_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(schema._PRAGMAS, "synchronous", 9)
    with pytest.raises(LedgerUnusable, match="refused the setting synchronous"):
        Ledger.open(path)


def test_a_place_without_a_write_ahead_log_is_refused() -> None:
    memory = sqlite3.connect(":memory:")
    with pytest.raises(LedgerUnusable, match="write-ahead log"):
        schema.set_up(memory)
    memory.close()


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE events SET data = '{}' WHERE position = 1", "never changed"),
        ("DELETE FROM events WHERE position = 1", "never deleted"),
        (
            "INSERT OR REPLACE INTO events (position, stream, kind, schema, at, data, hash)"
            " VALUES (1, 's', 'batch_held', 1, 0, '{}', x'00')",
            "never deleted",
        ),
    ],
)
def test_the_writers_own_connection_cannot_change_history(ledger: Ledger, statement: str, sentence: str) -> None:
    take(ledger, submission())
    with pytest.raises(sqlite3.IntegrityError, match=sentence):
        ledger._connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TRIGGER events_are_never_changed",
        "DROP TRIGGER events_are_never_deleted",
        "DROP INDEX prompts_open",
        "ALTER TABLE series ADD COLUMN mine TEXT",
    ],
)
def test_a_changed_table_index_or_trigger_is_found_at_the_next_start(path: Path, statement: str) -> None:
    Ledger.open(path).close()
    stranger = raw(path)
    stranger.execute(statement)
    stranger.close()
    with pytest.raises(LedgerUnusable, match="not as comfyledger left them"):
        Ledger.open(path)


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    theirs = raw(path)
    theirs.execute("CREATE TABLE bookmarks (url TEXT)")
    theirs.close()
    before = path.read_bytes()
    with pytest.raises(LedgerUnusable, match="another program"):
        Ledger.open(path)
    assert path.read_bytes() == before


def test_an_empty_database_with_another_programs_mark_is_refused(path: Path) -> None:
    path.parent.mkdir()
    theirs = raw(path)
    theirs.execute("PRAGMA application_id=1234")
    theirs.close()
    with pytest.raises(LedgerUnusable, match="another program"):
        Ledger.open(path)


def test_a_file_that_is_no_database_is_refused_with_a_sentence(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(LedgerUnusable, match="cannot be opened"):
        Ledger.open(path)
    assert path.read_bytes() == b"Dear diary, " * 1000


def test_a_newer_ledger_is_refused(path: Path) -> None:
    Ledger.open(path).close()
    newer = raw(path)
    newer.execute(f"PRAGMA user_version={schema.USER_VERSION + 1}")
    newer.close()
    with pytest.raises(LedgerUnusable, match="newer comfyledger"):
        Ledger.open(path)


def test_a_second_writer_is_refused_until_the_first_has_closed(path: Path) -> None:
    first = Ledger.open(path)
    with pytest.raises(LedgerUnusable, match=f"Another daemon holds the ledger {path}"):
        Ledger.open(path)
    first.close()
    Ledger.open(path).close()


def test_a_refused_opening_gives_the_lock_back(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"Dear diary, " * 1000)
    for _ in range(2):
        with pytest.raises(LedgerUnusable, match="cannot be opened"):
            Ledger.open(path)
    path.unlink()
    Ledger.open(path).close()


def test_id_epoch_and_secret_survive_and_are_no_other_ledgers(path: Path, tmp_path: Path) -> None:
    first = Ledger.open(path)
    first.close()
    again = Ledger.open(path)
    again.close()
    other = Ledger.open(tmp_path / "other.db")
    other.close()
    assert (first.ledger_id, first.epoch, first.secret) == (again.ledger_id, again.epoch, again.secret)
    assert len(first.secret) == 32
    assert not {first.ledger_id, first.epoch, first.secret} & {other.ledger_id, other.epoch, other.secret}


@pytest.mark.parametrize("key", ["epoch", "secret"])
def test_a_ledger_that_has_lost_its_identity_is_refused(path: Path, key: str) -> None:
    Ledger.open(path).close()
    stranger = raw(path)
    stranger.execute("DELETE FROM meta WHERE key = ?", (key,))
    stranger.close()
    with pytest.raises(LedgerUnusable, match=f"lost its {key}"):
        Ledger.open(path)


def test_only_the_owner_can_read_a_ledger(path: Path) -> None:
    before = os.umask(0)
    try:
        opened = Ledger.open(path)
        take(opened, submission())
        files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        opened.close()
    finally:
        os.umask(before)
    names = {"ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.lock", "ledger.db.mark"}
    assert files == dict.fromkeys(names, 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_birth_that_was_cut_off_is_begun_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(schema, "set_meta", cut_off)
    with pytest.raises(KeyboardInterrupt):
        Ledger.open(path)
    monkeypatch.undo()
    assert path.exists()
    opened = Ledger.open(path)
    take(opened, submission())
    opened.close()


def test_file_and_folder_are_synced_before_the_ledger_has_its_id(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash in between makes the next start sync again: without an id it is not born yet."""
    done: list[str] = []
    set_meta = schema.set_meta
    monkeypatch.setattr(os, "fsync", lambda fd: done.append(os.readlink(f"/proc/self/fd/{fd}")))
    monkeypatch.setattr(schema, "set_meta", lambda *args: (done.append(args[1]), set_meta(*args)))
    Ledger.open(path).close()
    ids = done.index("ledger_id")
    assert done[:4] == ["schema_digest", str(path), str(path.parent), str(path.parent.parent)]
    assert set(done[4:ids]) <= set(map(str, path.parents))
    done.clear()
    Ledger.open(path).close()
    assert done == []


def test_a_place_that_cannot_be_written_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, not a folder")
    with pytest.raises(LedgerUnusable, match="cannot be opened"):
        Ledger.open(tmp_path / "state" / "ledger.db")
    (tmp_path / "folder").mkdir()
    with pytest.raises(LedgerUnusable, match=r"cannot be opened.*Check folder"):
        Ledger.open(tmp_path / "folder")
