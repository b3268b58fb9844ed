"""A backup is one moment of the ledger, whole and alone, or there is none; the ledger is served meanwhile."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from comfyledger.errors import LedgerUnusable, Refused
from comfyledger.ledger import filesystem
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance import backup as module
from comfyledger.maintenance.audit.findings import Progress, silent
from comfyledger.maintenance.backup import Copied, backup, prune
from support.ledger_builders import check_tables, log_of, raw, submission, take

NOW_S = 1_700_000_000.0


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder / "copy.db"


def left(target: Path) -> list[str]:
    return sorted(os.listdir(target.parent))


def test_a_backup_of_a_ledger_in_use_is_whole_and_stands_alone(ledger: Ledger, path: Path, target: Path) -> None:
    take(ledger, submission(prompt="typed"))
    copied = backup(path, target, NOW_S, silent)
    assert left(target) == ["copy.db"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert check_tables(target) == log_of(path)
    assert (copied.position, copied.hash) == (ledger.head.position, ledger.head.hash.hex())
    assert (copied.ledger_id, copied.epoch, copied.size_bytes) == (
        ledger.ledger_id,
        ledger.epoch,
        target.stat().st_size,
    )
    assert raw(target).execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert raw(target).execute("SELECT count(*) FROM blobs").fetchone() == (2,)


def while_copying(do: Callable[[], object], at_the_end: bool = False) -> Progress:
    def progress(what: str, done: int, of: int) -> None:
        if what == "pages copied" and (done == of) is at_the_end:
            do()

    return progress


def test_the_writer_continues_and_the_copy_is_of_the_time_it_began(
    ledger: Ledger, path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STEP_PAGES", 1)
    take(ledger, submission())
    before, written = ledger.head, list[str]()

    def write() -> None:
        written.append(f"w{len(written)}")
        take(ledger, submission(written[-1], quantity=1))

    copied = backup(path, target, NOW_S, while_copying(write))
    assert len(written) > 10
    assert copied.hash == before.hash.hex()
    assert len(check_tables(target)) == before.position
    assert len(check_tables(path)) == before.position + len(written)


def test_what_takes_too_long_leaves_nothing(
    ledger: Ledger, path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COPY_S", -1.0)
    with pytest.raises(LedgerUnusable, match="took longer"):
        backup(path, target, NOW_S, silent)
    assert left(target) == []


def test_nothing_is_overwritten_unless_it_is_forced(ledger: Ledger, path: Path, target: Path) -> None:
    target.write_text("mine")
    with pytest.raises(Refused, match="exists already"):
        backup(path, target, NOW_S, silent)
    assert target.read_text() == "mine"
    backup(path, target, NOW_S, silent, force=True)
    check_tables(target)


def test_what_appears_while_the_copy_is_made_is_not_overwritten(ledger: Ledger, path: Path, target: Path) -> None:
    with pytest.raises(Refused, match="exists already"):
        backup(path, target, NOW_S, while_copying(lambda: target.write_text("mine"), at_the_end=True))
    assert (target.read_text(), left(target)) == ("mine", ["copy.db"])


@pytest.mark.parametrize("end", ["", "-wal", "-shm", ".lock", ".mark"])
def test_a_backup_never_goes_over_the_ledger_itself(ledger: Ledger, path: Path, tmp_path: Path, end: str) -> None:
    (tmp_path / "link").symlink_to(path.parent)
    with pytest.raises(Refused, match="is the ledger itself"):
        backup(path, tmp_path / "link" / f"ledger.db{end}", NOW_S, silent, force=True)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("UPDATE events SET at = at + 1 WHERE position = 2", "position 2"),
        ("DELETE FROM events WHERE position = (SELECT max(position) FROM events)", "was given out"),
        ("DELETE FROM meta WHERE key = 'epoch'", "lost its epoch"),
    ],
)
def test_a_ledger_that_is_not_whole_gives_no_backup(path: Path, target: Path, harm: str, said: str) -> None:
    ledger = Ledger.open(path)
    take(ledger, submission())
    ledger.close()
    stranger = raw(path)
    kept = stranger.execute("SELECT sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name in ("changed", "deleted"):
        stranger.execute(f"DROP TRIGGER events_are_never_{name}")
    stranger.execute(harm)
    for (sql,) in kept:
        stranger.execute(sql)
    stranger.close()
    target.write_text("the last good one")
    with pytest.raises(LedgerUnusable, match=said):
        backup(path, target, NOW_S, silent, force=True)
    assert (target.read_text(), left(target)) == ("the last good one", ["copy.db"])


def test_a_dropped_trigger_gives_no_backup(path: Path, target: Path) -> None:
    Ledger.open(path).close()
    raw(path).execute("DROP TRIGGER events_are_never_deleted")
    with pytest.raises(LedgerUnusable, match="not as comfyledger left it"):
        backup(path, target, NOW_S, silent)


def test_another_programs_database_is_no_ledger(path: Path, target: Path) -> None:
    path.parent.mkdir()
    theirs = raw(path)
    theirs.execute("PRAGMA application_id=1234")
    theirs.execute("CREATE TABLE bookmarks (url TEXT)")
    with pytest.raises(LedgerUnusable, match="is not a ledger of comfyledger"):
        backup(path, target, NOW_S, silent)
    assert left(target) == []


def test_a_backup_is_synced_before_it_is_named_and_its_name_synced_after(
    ledger: Ledger, path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda *names: (done.append("renamed"), replace(*names)))
    backup(path, target, NOW_S, silent)
    assert done == [str(target.with_name(f".copy.db.{os.getpid()}.new")), "renamed", str(target.parent)]


# ---- a folder of backups


def made(ledger: Ledger, path: Path, folder: Path, day: int) -> Copied:
    take(ledger, submission(f"day{day}", quantity=1))
    return backup(path, folder, NOW_S + day * 86_400, silent)


def test_in_a_folder_a_backup_is_called_by_its_date_and_position(ledger: Ledger, path: Path, target: Path) -> None:
    copied = made(ledger, path, target.parent, 1)
    assert Path(copied.file).name == f"comfyledger-{ledger.ledger_id}-20231115T221320Z-2.db"
    assert left(target) == [Path(copied.file).name]


def test_only_the_newest_of_the_own_ones_are_kept(ledger: Ledger, path: Path, target: Path, tmp_path: Path) -> None:
    folder = target.parent
    foreign = {"comfyledger-01M82RSEKFMX9TZBG0WMSYR1F2-20200101T000000Z-7.db", "notes.db", "copy.db"}
    for name in foreign:
        (folder / name).write_text("mine")
    copies = [made(ledger, path, folder, day) for day in (1, 2, 3)]
    pruned = prune(copies[-1], 2, NOW_S)
    assert pruned.removed == (copies[0].file,)
    assert set(left(target)) == foreign | {Path(copy.file).name for copy in copies[1:]}
    assert prune(copies[-1], 2, NOW_S).removed == ()


def test_the_one_just_made_stays_although_the_clock_was_set_back(ledger: Ledger, path: Path, target: Path) -> None:
    later, now = made(ledger, path, target.parent, 9), made(ledger, path, target.parent, 1)
    assert prune(now, 1, NOW_S).removed == (later.file,)
    assert left(target) == [Path(now.file).name]


def test_what_a_killed_backup_left_goes_after_a_day(ledger: Ledger, path: Path, target: Path) -> None:
    copied = made(ledger, path, target.parent, 1)
    for name, age_s in (("old", 90_000), ("young", 60)):
        stale = target.parent / f".comfyledger-{ledger.ledger_id}-{name}.new"
        stale.touch()
        os.utime(stale, (NOW_S - age_s, NOW_S - age_s))
    prune(copied, 1, NOW_S)
    assert left(target) == [f".comfyledger-{ledger.ledger_id}-young.new", Path(copied.file).name]


def test_a_backup_is_json(ledger: Ledger, path: Path, target: Path) -> None:
    copied = backup(path, target, NOW_S, silent)
    assert msgspec.json.decode(msgspec.json.encode(copied), type=Copied) == copied


# ---- where a ledger may be


@pytest.mark.parametrize(
    ("f_type", "name"),
    [(0x6969, "NFS"), (0xFF534D42, "CIFS"), (-0xACB2BE, "CIFS"), (0xFE534D42, "SMB2"), (0x00C36400, "Ceph")],
)
def test_a_file_system_of_several_machines_is_known_by_its_type(f_type: int, name: str) -> None:
    """0xFF534D42 is negative where the type is a signed number of 32 bits."""
    assert filesystem.network_of(f_type) == name


@pytest.mark.parametrize("f_type", [0xEF53, 0x58465342, 0x9123683E, 0x2FC12FC1, 0x01021994, 0x794C7630, 0x65735546, 0])
def test_a_local_file_system_is_none_of_them(f_type: int) -> None:
    """ext4, XFS, Btrfs, ZFS, tmpfs, overlayfs, FUSE, and what could not be asked."""
    assert filesystem.network_of(f_type) is None


def test_the_type_of_a_folder_is_what_the_kernel_says(tmp_path: Path) -> None:
    assert filesystem.network_of(filesystem.type_of(tmp_path)) is None
    assert filesystem.type_of(Path("/proc")) == 0x9FA0
    with pytest.raises(FileNotFoundError):
        filesystem.type_of(tmp_path / "nowhere")


def test_a_ledger_on_a_network_file_system_is_refused_and_nothing_is_made(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "type_of", lambda _: 0x6969)
    with pytest.raises(LedgerUnusable, match=r"on a network file system \(NFS\).*Put the ledger on a local disk"):
        Ledger.open(path)
    assert os.listdir(path.parent) == []


def test_a_full_disk_gives_no_backup_and_leaves_nothing(
    ledger: Ledger, path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(module, "copy", full)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        backup(path, target, NOW_S, silent)
    assert left(target) == []
