"""A ledger that has lost what was acknowledged is not gone on with, and no crash makes a whole one look like that."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.eventlog import Head
from comfyledger.ledger.ports import StorageFull
from comfyledger.ledger.sqlite import mark, schema
from comfyledger.ledger.sqlite.mark import MARK_BYTES, Mark, Marking
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.audit.findings import silent
from comfyledger.maintenance.rebuild import rebuild
from support.ledger_builders import bend, check_tables, failing, log_of, raw, submission, take, take_one

FILES = ("", "-wal", ".mark")


def as_killed(path: Path, folder: Path) -> Path:
    """What a kill leaves of a ledger that is open: a copy of its files in a folder of their own."""
    folder.mkdir()
    for end in FILES:
        if Path(f"{path}{end}").exists():
            shutil.copy(f"{path}{end}", folder / f"ledger.db{end}")
    return folder / "ledger.db"


def facts(call: Callable[[], object]) -> list[str]:
    with structlog.testing.capture_logs() as said:
        call()
    return [fact["event"] for fact in said]


def marked(path: Path) -> Head:
    found = mark.read(path)
    assert found is not None
    return found.head


# ---- it holds what was acknowledged


def test_it_names_the_head_after_each_commit_and_never_before(path: Path, ledger: Ledger) -> None:
    assert marked(path) == ledger.head == Head()
    for request in ("r1", "r2"):
        before = ledger.head
        with ledger.group():
            take_one(ledger, submission(request))
            assert marked(path) == before
        assert marked(path) == ledger.head != before


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR])
def test_what_was_not_committed_is_not_named(path: Path, ledger: Ledger, code: int) -> None:
    take(ledger, submission("r1"))
    before = ledger.head
    bend(ledger, failing("COMMIT", code))
    with pytest.raises((StorageFull, LedgerUnusable)):
        take(ledger, submission("r2"))
    assert marked(path) == before


def test_a_mark_is_written_into_the_same_few_bytes(path: Path, ledger: Ledger) -> None:
    inode = mark.place_of(path).stat().st_ino
    take(ledger, submission("r1"))
    found = mark.place_of(path).stat()
    assert (found.st_ino, found.st_size) == (inode, MARK_BYTES)
    assert MARK_BYTES <= 512


# ---- a ledger without its end


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_whoever_may_read_the_ledger_may_read_its_mark(path: Path, mode: int) -> None:
    """Every reader looks at the mark, the members of a service's group among them."""
    Ledger.open(path).close()
    path.chmod(mode)
    mark.place_of(path).unlink(missing_ok=True)
    ledger = Ledger.open(path)
    take(ledger, submission("r1"))
    ledger.close()
    assert mark.place_of(path).stat().st_mode & 0o777 == mode


@pytest.fixture
def killed(path: Path, tmp_path: Path) -> Path:
    """Three batches, of which the last two are in the write-ahead log only."""
    first = Ledger.open(path)
    take(first, submission("r1"))
    first.close()
    later = Ledger.open(path)
    take(later, submission("r2"), submission("r3"))
    left = as_killed(path, tmp_path / "killed")
    later.close()
    return left


WAYS_ON = [r"ledger\.db-wal back", "comfyledger restore FILE --replace", "comfyledger restore --accept-loss"]


@pytest.mark.parametrize("open_it", [Ledger.open, lambda path: rebuild(path, silent)])
def test_it_is_refused_without_its_write_ahead_log_and_complete_with_it(
    killed: Path, open_it: Callable[[Path], object]
) -> None:
    end, log = marked(killed).position, killed.with_name("ledger.db-wal")
    log.rename(killed.with_name("moved"))
    position = len(log_of(killed))
    before = killed.read_bytes()
    for _ in range(2):
        with pytest.raises(LedgerUnusable) as refused:
            open_it(killed)
        said = str(refused.value)
        assert f"ends at position {position}, and position {end} was acknowledged" in said
        for way in WAYS_ON:
            assert re.search(way, said)
    assert killed.read_bytes() == before
    killed.with_name("moved").replace(log)
    opened = Ledger.open(killed)
    assert opened.head.position == end
    opened.close()
    check_tables(killed)


def test_a_ledger_whose_creation_was_in_the_lost_log_is_not_created_anew(path: Path, tmp_path: Path) -> None:
    """The first run of a new ledger: its file has no table yet."""
    first = Ledger.open(path)
    take(first, submission("r1"))
    left = as_killed(path, tmp_path / "killed")
    first.close()
    left.with_name("ledger.db-wal").unlink()
    for harm in (lambda: None, lambda: os.truncate(left, 0), left.unlink):
        harm()
        with pytest.raises(LedgerUnusable, match=r"ends at position 0, and position 2 was acknowledged"):
            Ledger.open(left)
    assert not left.exists()


def test_an_earlier_state_in_its_place_is_refused(path: Path, tmp_path: Path) -> None:
    opened = Ledger.open(path)
    take(opened, submission("r1"))
    opened.close()
    shutil.copy(path, tmp_path / "earlier.db")
    opened = Ledger.open(path)
    take(opened, submission("r2"))
    opened.close()
    shutil.copy(tmp_path / "earlier.db", path)
    with pytest.raises(LedgerUnusable, match="has lost its end"):
        Ledger.open(path)


def test_another_end_in_its_place_is_refused(path: Path, tmp_path: Path) -> None:
    """Two copies of one ledger went on apart from each other."""
    Ledger.open(path).close()
    twin = tmp_path / "twin.db"
    shutil.copy(path, twin)
    for place, requests in ((path, ("a",)), (twin, ("b", "c"))):
        opened = Ledger.open(place)
        take(opened, *map(submission, requests))
        opened.close()
    shutil.copy(twin, path)
    with pytest.raises(LedgerUnusable, match=r"is not the one that was written last.*position 3.*position 2"):
        Ledger.open(path)


def test_a_ledger_from_before_a_restore_is_refused_and_such_a_mark_ignored(path: Path) -> None:
    opened = Ledger.open(path)
    take(opened, submission("r1"))
    opened.close()
    own = mark.read(path)
    assert own is not None
    mark.place_of(path).write_bytes(Mark(own.head, own.ledger_id, "01LATEREPOCH").packed())
    with pytest.raises(LedgerUnusable, match="epoch 01LATEREPOCH"):
        Ledger.open(path)
    stranger = raw(path)
    stranger.execute(
        "INSERT INTO events (stream, kind, schema, at, data, hash)"
        """ VALUES ('ledger', 'ledger_restored', 1, 0, '{"epoch_before":"01LATEREPOCH"}', x'00')"""
    )
    stranger.close()
    Ledger.open(path).close()


# ---- a mark that says nothing


def broken(place: Path, content: Callable[[bytes], bytes]) -> None:
    place.write_bytes(content(place.read_bytes()))


@pytest.mark.parametrize(
    "content",
    [
        lambda raw: b"",
        lambda raw: bytes(len(raw)),
        lambda raw: raw[:100],
        lambda raw: raw[:-1],
        lambda raw: raw + b"\0",
        *[lambda raw, at=at: raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :] for at in (0, 15, 40, 60, 130, 190)],
    ],
)
def test_a_broken_mark_counts_as_none_is_reported_and_made_anew(path: Path, content: Callable[[bytes], bytes]) -> None:
    opened = Ledger.open(path)
    take(opened, submission("r1"))
    opened.close()
    broken(mark.place_of(path), content)
    assert facts(lambda: Ledger.open(path).close()) == ["ledger.mark_broken"]
    assert marked(path).position == 2


def test_the_mark_of_another_ledger_is_reported_ignored_and_rewritten(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    for place, count in ((path, 1), (other, 5)):
        opened = Ledger.open(place)
        take(opened, *(submission(f"r{number}") for number in range(count)))
        opened.close()
    shutil.copy(mark.place_of(other), mark.place_of(path))
    assert facts(lambda: Ledger.open(path).close()) == ["ledger.mark_of_another"]
    assert marked(path).position == 2
    assert facts(lambda: Ledger.open(path).close()) == []


def test_a_ledger_without_one_gets_one(path: Path) -> None:
    opened = Ledger.open(path)
    take(opened, submission("r1"))
    opened.close()
    mark.place_of(path).unlink()
    assert facts(lambda: Ledger.open(path).close()) == []
    assert marked(path).position == 2


def test_what_a_new_mark_names_was_synced_by_a_commit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process had written need not be on the disk yet; the mark would be before it."""
    opened = Ledger.open(path)
    take(opened, submission("r1"))
    opened.close()
    mark.place_of(path).unlink()
    done: list[str] = []
    note = Marking.note
    monkeypatch.setattr(Marking, "note", lambda self, head: (done.append("mark"), note(self, head)))
    set_meta = schema.set_meta
    monkeypatch.setattr(schema, "set_meta", lambda *words: (done.append("commit"), set_meta(*words)))
    Ledger.open(path).close()
    assert done == ["commit", "mark"]
    Ledger.open(path).close()
    assert done == ["commit", "mark"], "one that is there stays as it is until something is committed"


def test_a_full_disk_keeps_no_ledger_from_opening(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Ledger.open(path)
    take(opened, submission("r1"))
    opened.close()
    mark.place_of(path).unlink()

    def full(*_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(schema, "set_meta", full)
    opened = Ledger.open(path)
    assert mark.read(path) is None
    take(opened, submission("r2"))
    assert marked(path) == opened.head
    opened.close()


def test_a_mark_that_cannot_be_written_is_reported_once_and_stops_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Ledger.open(path)

    def failed(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pwrite", failed)
    said = facts(lambda: [take(opened, submission(request)) for request in ("r1", "r2")])
    assert said == ["ledger.mark_not_written"]
    monkeypatch.undo()
    take(opened, submission("r3"))
    assert marked(path) == opened.head
    opened.close()


# ---- where it lies


def test_it_lies_beside_the_file_that_a_link_leads_to(path: Path, tmp_path: Path) -> None:
    Ledger.open(path).close()
    link = tmp_path / "link.db"
    link.symlink_to(path)
    opened = Ledger.open(link)
    take(opened, submission("r1"))
    opened.close()
    assert marked(path).position == 2
    assert not (tmp_path / "link.db.mark").exists()


def test_a_mark_with_a_second_name_is_made_anew(path: Path, tmp_path: Path) -> None:
    """`cp -al` of the whole folder: the copy must not be told what happens here."""
    opened = Ledger.open(path)
    take(opened, submission("r1"))
    opened.close()
    os.link(mark.place_of(path), tmp_path / "kept.mark")
    opened = Ledger.open(path)
    take(opened, submission("r2"))
    opened.close()
    assert marked(path).position == 3
    assert (tmp_path / "kept.mark").read_bytes() != mark.place_of(path).read_bytes()


def test_another_programs_database_is_still_called_that(path: Path) -> None:
    Ledger.open(path).close()
    path.unlink()
    theirs = raw(path)
    theirs.execute("PRAGMA application_id=1234")
    theirs.close()
    with pytest.raises(LedgerUnusable, match="another program"):
        Ledger.open(path)
