"""One process writes a ledger, whatever names its file has, and SQLite's own locks on it last as long as it is open."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from comfyledger import durable
from comfyledger.core.commands import Forget
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger import file_lock
from comfyledger.ledger.sqlite import locking, replace
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.audit.findings import silent
from comfyledger.maintenance.backup import backup
from comfyledger.maintenance.rebuild import rebuild
from comfyledger.maintenance.restore import Wanted, restore
from support.ledger_builders import NOW_MS, check_tables, raw, submission, take
from support.waiting import DEADLINE_S

HERE = Path(__file__).parent.parent


def locks_of(path: Path, kind: str = "POSIX") -> int:
    """How many locks of a kind this process has on the file, as the kernel lists them."""
    inode, own = str(path.stat().st_ino), str(os.getpid())
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return sum(line[1] == kind and line[4] == own and line[5].rpartition(":")[2] == inode for line in lines)


def descriptors_of(path: Path) -> list[int]:
    """Of this process, for the file."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.path.samestat(os.stat(f"/proc/self/fd/{name}"), path.stat()):
                found.append(int(name))
        except FileNotFoundError:
            pass
    return found


def restored(path: Path, file: Path) -> None:
    wanted = Wanted(file, path, path.parent / "spool", None, "01SECONDEPOCH", NOW_MS, by="cli", replace=True)
    asyncio.run(restore(wanted, silent))


# ---- SQLite's locks


def test_sqlites_lock_is_there_at_every_point_of_a_life(path: Path, tmp_path: Path) -> None:
    """Without it the first reader that closes the file removes the write-ahead log of a daemon that runs."""
    first = Ledger.open(path)
    assert locks_of(path), "first run"
    take(first, submission("r1", prompt="typed"))
    assert locks_of(path), "after a commit"
    backup(path, tmp_path / "copy.db", 0.0, silent)
    assert locks_of(path), "after a backup"
    take(first, Forget("app", "batch-app-r1"))
    assert first.scrub()
    assert locks_of(path), "after a forget"
    with pytest.raises(LedgerUnusable):
        Ledger.open(path)
    assert locks_of(path), "after a second opening was refused"
    first.close()
    assert not locks_of(path)
    later = Ledger.open(path)
    assert locks_of(path), "later run"
    later.close()
    rebuild(path, silent)
    restored(path, tmp_path / "copy.db")
    again = Ledger.open(path)
    assert locks_of(path), "after a restore"
    again.close()
    assert locks_of(path, "FLOCK") == 0


def test_a_reader_that_closes_leaves_the_write_ahead_log_where_it_is(path: Path) -> None:
    """`sqlite3 ledger.db` beside the daemon in the first run of a new ledger, and then a kill."""
    opened = Ledger.open(path)
    take(opened, submission("a"))
    reading = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM events').fetchall()"
    subprocess.run([sys.executable, "-c", reading, str(path)], check=True)
    take(opened, submission("b"))
    killed = path.parent / "killed.db"
    for end in ("", "-wal"):
        shutil.copy(f"{path}{end}", f"{killed}{end}")
    opened.close()
    lines = check_tables(killed)
    assert [line.stream for line in lines if line.kind == "batch_requested"] == ["batch-app-a", "batch-app-b"]


def test_while_a_failed_connection_is_left_open_its_locks_stay(path: Path) -> None:
    opened = Ledger.open(path)
    opened._failed = True
    opened.close()
    assert locks_of(path)
    assert not locks_of(path, "FLOCK"), "whoever starts next may write"


LIFE = """
import asyncio, os, sys
from pathlib import Path

from comfyledger.core.commands import Forget
from comfyledger.maintenance.audit.run import audit
from comfyledger.maintenance.backup import backup
from comfyledger.maintenance.audit.findings import Tally, silent
from comfyledger.maintenance.rebuild import rebuild
from comfyledger.maintenance.replay import replay
from comfyledger.maintenance.restore import Wanted, restore
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.ledger.sqlite.reader import Reader
from support.ledger_builders import NOW_MS, submission, take
from support.ledger_on_disk import folders_of

root = Path(sys.argv[1])


def is_open(path):
    try:
        meant = os.stat(path)
    except OSError:
        return False
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.path.samestat(os.stat(f"/proc/self/fd/{name}"), meant):
                return True
        except FileNotFoundError:
            pass
    return False


def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path = os.path.abspath(os.fsdecode(arguments[0]))
        is_database = os.path.isfile(path) and not path.endswith((".mark", ".lock"))
        if path.startswith(str(root) + "/") and is_database and is_open(path):
            print(os.path.basename(path), flush=True)


sys.addaudithook(watch)


async def read(path):
    reader = Reader(path)
    await reader.head()
    await reader.close()


ledger = root / "state" / "ledger.db"
for request in ("first", "later"):
    opened = Ledger.open(ledger)
    take(opened, submission(request, prompt="typed"))
    asyncio.run(read(ledger))
    backup(ledger, root / f"{request}.db", 0.0, silent)
    backup(ledger, root / f"{request}.db", 0.0, silent, force=True)
    audit(ledger, folders_of(root), None, 0.0, Tally(), silent)
    replay(ledger, 1, root / f"{request}-at.db", silent)
    take(opened, Forget("app", f"batch-app-{request}"))
    assert opened.scrub()
    opened.close()
rebuild(ledger, silent)
wanted = Wanted(root / "first.db", ledger, root / "spool", None, "01SECONDEPOCH", NOW_MS, by="cli", replace=True)
asyncio.run(restore(wanted, silent))
opened = Ledger.open(ledger)
if sys.argv[2:]:
    open(ledger, "rb").close()
opened.close()
"""


@pytest.mark.parametrize(("careless", "found"), [([], ""), (["careless"], "ledger.db\n")])
def test_no_database_file_is_opened_beside_the_descriptor_that_there_is(
    tmp_path: Path, careless: list[str], found: str
) -> None:
    """Through a life with backup, audit, forgetting, rebuild and restore. A careless opening is found."""
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    words = [sys.executable, "-c", LIFE, str(tmp_path), *careless]
    ended = subprocess.run(words, check=False, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert (ended.returncode, ended.stdout) == (0, found), ended.stderr


# ---- one writer


def linked(path: Path, other: Path) -> Path:
    other.parent.mkdir(parents=True)
    os.link(path, other)
    return other


def symlinked(path: Path, other: Path) -> Path:
    other.parent.symlink_to(path.parent)
    return other


def symlinked_file(path: Path, other: Path) -> Path:
    other.parent.mkdir()
    other.symlink_to(path)
    return other


def without_lock_file(path: Path, other: Path) -> Path:
    path.with_name("ledger.db.lock").unlink()
    return path


WAYS = [linked, symlinked, symlinked_file, without_lock_file]
IN_A_PROCESS = """
import sys
from pathlib import Path
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.sqlite.writer import Ledger
try:
    Ledger.open(Path(sys.argv[1]))
except LedgerUnusable as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("way", WAYS)
def test_no_second_writer_comes_in_by_another_way(
    path: Path, tmp_path: Path, way: Callable[[Path, Path], Path]
) -> None:
    opened = Ledger.open(path)
    take(opened, submission("r1"))
    other = way(path, tmp_path / "other" / "ledger.db")
    words = [sys.executable, "-c", IN_A_PROCESS, str(other)]
    ended = subprocess.run(words, check=False, capture_output=True, text=True)
    assert "Another daemon holds the ledger" in ended.stderr
    with pytest.raises(LedgerUnusable, match="Another daemon holds"):
        Ledger.open(other)
    assert locks_of(path), "to be refused costs no lock"
    take(opened, submission("r2"))
    opened.close()
    check_tables(path)


def test_a_daemon_of_an_older_release_and_this_one_exclude_each_other(path: Path) -> None:
    path.parent.mkdir()
    with path.with_name("ledger.db.lock").open("w") as older:
        fcntl.flock(older, fcntl.LOCK_EX)
        with pytest.raises(LedgerUnusable, match="Another daemon holds"):
            Ledger.open(path)
    opened = Ledger.open(path)
    with path.with_name("ledger.db.lock").open("r+") as older, pytest.raises(BlockingIOError):
        fcntl.flock(older, fcntl.LOCK_EX | fcntl.LOCK_NB)
    opened.close()


@pytest.mark.parametrize("end", ["", "-wal"])
@pytest.mark.parametrize("work", [Ledger.open, lambda path: rebuild(path, silent), lambda path: restored(path, path)])
def test_a_ledger_with_a_second_name_is_refused(path: Path, end: str, work: Callable[[Path], object]) -> None:
    """`cp -al` and `rsync --link-dest` make them; each name has a write-ahead log of its own."""
    opened = Ledger.open(path)
    take(opened, submission("r1"))
    for name in ("ledger.db", "ledger.db-wal"):
        shutil.copy(path.with_name(name), path.parent / f"kept-{name}")
    opened.close()
    for name in ("ledger.db", "ledger.db-wal"):
        (path.parent / f"kept-{name}").rename(path.with_name(name))
    os.link(f"{path}{end}", path.parent / "second")
    with pytest.raises(LedgerUnusable, match=f"{path}{end} has a second name.*find DIR -samefile"):
        work(path)
    (path.parent / "second").unlink()
    Ledger.open(path).close()
    check_tables(path)


@pytest.mark.parametrize("has_log", [False, True])
def test_the_second_name_that_a_killed_restore_left_goes_at_the_next_start(path: Path, has_log: bool) -> None:
    opened = Ledger.open(path)
    take(opened, submission("r1"))
    shutil.copy(f"{path}-wal", path.parent / "kept")
    opened.close()
    aside = path.with_name("ledger.db.replaced-20200101T000000Z")
    os.link(path, aside)
    if has_log:
        (path.parent / "kept").rename(f"{aside}-wal")
    opened = Ledger.open(path)
    assert not aside.exists()
    take(opened, submission("r2"))
    opened.close()
    check_tables(path)
    assert not Path(f"{aside}-wal").exists()


def test_a_ledger_replaced_before_it_is_locked_is_not_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore renames another file to the same name between the opening and the lock."""
    Ledger.open(path).close()
    other = path.with_name("other.db")
    shutil.copy(path, other)
    inode = other.stat().st_ino
    lock = file_lock.lock

    def late(fd: int) -> None:
        if other.exists() and os.path.samestat(os.fstat(fd), path.stat()):
            other.replace(path)
        lock(fd)

    monkeypatch.setattr(file_lock, "lock", late)
    held = locking.hold(path)
    assert held.fd is not None
    assert os.fstat(held.fd).st_ino == path.stat().st_ino == inode
    held.close()


def test_a_restore_holds_the_new_ledger_until_it_has_ended(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Ledger.open(path).close()
    backup(path, tmp_path / "copy.db", 0.0, silent)
    seen = []
    sync = durable.sync_folder
    monkeypatch.setattr(replace, "sync_folder", lambda folder: (seen.append(locks_of(path, "FLOCK")), sync(folder)))
    restored(path, tmp_path / "copy.db")
    assert set(seen) == {1}


# ---- children


def test_no_child_keeps_the_descriptor(path: Path) -> None:
    opened = Ledger.open(path)
    assert opened._held is not None
    assert opened._held.fd is not None
    assert not os.get_inheritable(opened._held.fd)
    (told, telling), (waiting, ending) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        opened._held.close()
        os.write(telling, b"%d" % len(file_lock._holds))
        os.read(waiting, 1)
        os._exit(0)
    assert os.read(told, 1) == b"0"
    opened.close()
    try:
        assert not locks_of(path, "FLOCK")
        Ledger.open(path).close()
    finally:
        os.write(ending, b"e")
        os.waitpid(child, 0)


def test_one_descriptor_is_ours_and_it_ends_with_the_ledger(path: Path) -> None:
    opened = Ledger.open(path)
    assert opened._held is not None
    assert opened._held.fd in descriptors_of(path)
    opened.close()
    assert descriptors_of(path) == []


def test_a_strangers_reader_hinders_nobody(path: Path) -> None:
    Ledger.open(path).close()
    reader = raw(path)
    reader.execute("SELECT count(*) FROM events").fetchone()
    opened = Ledger.open(path)
    take(opened, submission("r1"))
    opened.close()
    reader.close()
