"""PostgreSQL clusters on loopback, each in a temporary folder, that tests start, kill, freeze and promote.

`POSTGRES` is the folder of PostgreSQL's programs, or None on a machine without them. PostgreSQL refuses to run as root,
so root runs it as another user, who owns the folder. Most tests take a database of `shared_cluster`; those that harm a
cluster make their own. Nothing here knows comfyledger.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from support.ports import KeptPort
from support.waiting import DEADLINE_S, until_without_a_loop

OWNER: Final = "owner"
PASSWORD: Final = "password-of-the-tests"
"""Any would do. A test may look whether it is shown anywhere."""
DATABASES_MAX: Final = 8
"""As many databases of ended tests wait in a cluster. The tests of one process use fewer at once."""
QUIET: Final = {
    "dynamic_shared_memory_type": "mmap",  # files in the folder, not in /dev/shm, where a kill would leave them
    "listen_addresses": "127.0.0.1",
    "log_line_prefix": "%m [%p] ",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "unix_socket_directories": "",
    "wal_retrieve_retry_interval": "100ms",
}


def _programs() -> Path | None:
    found = shutil.which("initdb")
    by_debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    paths = [Path(found).resolve()] if found else by_debian[-1:]
    return paths[0].parent if paths else None


POSTGRES: Final = _programs()
WHY_NOT: Final = "PostgreSQL is missing (Debian's package postgresql)"
"""Why tests are skipped where POSTGRES is None."""


# ---- programs and files of PostgreSQL's user


@cache
def _user() -> pwd.struct_passwd:
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres")
    return pwd.getpwnam("nobody")


def _as_user() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    return {"user": _user().pw_uid, "group": _user().pw_gid, "extra_groups": []}


def _run(program: str, *arguments: object) -> None:
    """Run a program of PostgreSQL to its end. Raises AssertionError with its words if it fails."""
    assert POSTGRES is not None, WHY_NOT
    words = [str(POSTGRES / program), *map(str, arguments)]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=DEADLINE_S, cwd="/", **_as_user())
    assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"


def _own_folder(within: Path | None) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="postgres-of-tests-", dir=within))
    os.chown(folder, _user().pw_uid, _user().pw_gid)
    return folder


@cache
def _new_cluster() -> Path:
    """The files of a cluster that was never started. Clusters begin as copies of it."""
    folder = _own_folder(None)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _run("initdb", "-D", folder / "data", "-U", OWNER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
    return folder / "data"


def _stat(pid: int) -> list[str]:
    """What the kernel says about a process: first its state, then its parent. Empty if it is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _runs(pid: int) -> bool:
    return _stat(pid)[:1] not in ([], ["Z"])


def is_stopped(pid: int) -> bool:
    """Whether a process has got SIGSTOP, and no SIGCONT since."""
    return _stat(pid)[:1] == ["T"]


def _family(pid: int) -> list[int]:
    """A server and its processes that still run."""
    every = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [one for one in every if one == pid or _stat(one)[1:2] == [str(pid)] if _runs(one)]


def _send(number: signal.Signals, pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


# ---- a cluster


class Cluster:
    """One PostgreSQL server. It keeps its port and its files until `end`, however often it is killed.

    `within`: in which folder its own is made; one on a disk for what measures. `settings`: of PostgreSQL, such as
    `{"fsync": "off"}`; unless told, it is as safe as in production.
    """

    def __init__(self, within: Path | None = None, settings: dict[str, str] | None = None) -> None:
        self.folder = _own_folder(within)
        self.settings = dict(settings or {})
        self._port = KeptPort()
        self._popen: subprocess.Popen[bytes] | None = None
        self._counter = itertools.count(1)
        self._databases: list[str] = []

    # ---- its life

    def begin(self) -> Cluster:
        """Start it, with new files at first, and wait until it answers."""
        if not self._data.exists():
            shutil.copytree(_new_cluster(), self._data, symlinks=True)
            self._give_files()
        assert POSTGRES is not None
        words = [str(POSTGRES / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        given = [f"--{name}={value}" for name, value in {**QUIET, **self.settings}.items()]
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                [*words, *given], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", **_as_user()
            )
        until_without_a_loop(self._answers, "PostgreSQL answers")
        return self

    def end(self) -> None:
        """End it whatever it does, and remove its files."""
        if self._popen is not None and self._popen.poll() is None:
            self.thaw()
            self.stop("immediate")
        self._release_memory()
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self, how: str = "fast") -> None:
        """As an administrator stops it: `fast`, or `immediate`, which leaves a recovery to the next start."""
        self._process.send_signal({"fast": signal.SIGINT, "immediate": signal.SIGQUIT}[how])
        self._process.wait(DEADLINE_S)

    def kill(self) -> None:
        """As a machine dies: all processes at once, and no file is written any more."""
        processes = self._freeze()
        _send(signal.SIGKILL, processes)
        self._process.wait(DEADLINE_S)
        until_without_a_loop(lambda: not any(map(_runs, processes)), "PostgreSQL's processes end")

    def freeze(self) -> None:
        """As a machine that hangs: its connections stay, and nobody answers, until `thaw`."""
        self._freeze()

    def thaw(self) -> None:
        _send(signal.SIGCONT, _family(self._process.pid))

    def restart(self) -> None:
        """Killed and started again, on the same port."""
        self.kill()
        self.begin()

    def _freeze(self) -> list[int]:
        server = self._process.pid
        _send(signal.SIGSTOP, [server])
        until_without_a_loop(lambda: is_stopped(server), "PostgreSQL stops, and has no more children")
        processes = _family(server)
        _send(signal.SIGSTOP, processes)
        return processes

    # ---- what it holds

    @property
    def port(self) -> int:
        return self._port.number

    @property
    def log(self) -> Path:
        return self.folder / "postgres.log"

    def address(self, database: str) -> str:
        """The address of a database, with a password in it."""
        return f"postgresql://{OWNER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """The address of a new, empty database. Databases of tests before are dropped when there are too many."""
        name = f"test_{os.getpid()}_{next(self._counter)}"
        self.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        self._databases.append(name)
        while len(self._databases) > DATABASES_MAX:
            old = sql.Identifier(self._databases.pop(0))
            self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(old))
        return self.address(name)

    def execute(self, query: str | sql.Composed, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement by itself and give its rows."""
        with psycopg.connect(self.address(database), autocommit=True, connect_timeout=int(DEADLINE_S)) as connection:
            cursor = connection.execute(query.encode() if isinstance(query, str) else query)
            return cursor.fetchall() if cursor.description else []

    def set(self, **settings: str) -> None:
        """Change settings while it runs. A setting that needs a restart does not change before one."""
        for name, value in settings.items():
            self.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
        self.execute("SELECT pg_reload_conf()")
        for name, value in settings.items():
            until_without_a_loop(partial(self._shows, name, value), f"{name} is {value}")

    # ---- a standby

    def standby(self) -> Cluster:
        """A second cluster that follows this one, started and caught up. End it by itself."""
        following = Cluster(self.folder.parent, self.settings)
        source = f"host=127.0.0.1 port={self.port} user={OWNER} application_name=standby"
        _run("pg_basebackup", "-d", source, "-D", following._data, "-X", "stream", "-c", "fast", "-R", "--no-sync")
        following.begin()
        until_without_a_loop(lambda: self._replication() is not None, "the standby follows")
        return following

    def wait_for_standby(self) -> None:
        """From now on a commit is answered when a standby has it on its disk, as production has to be configured."""
        self.set(synchronous_standby_names="ANY 1 (*)")
        until_without_a_loop(lambda: self._replication() == "quorum", "the standby is synchronous")

    def promote(self) -> None:
        """A standby becomes a server of its own and takes writes."""
        assert self.execute("SELECT pg_promote(true, 60)") == [(True,)]

    def _replication(self) -> str | None:
        rows = self.execute("SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'")
        return rows[0][0] if rows else None

    # ---- within

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        assert self._popen is not None, "the cluster was never started"
        return self._popen

    def _give_files(self) -> None:
        for path in (self._data, *self._data.rglob("*")):
            os.chown(path, _user().pw_uid, _user().pw_gid, follow_symlinks=False)

    def _answers(self) -> bool:
        code = self._process.poll()
        assert code is None, f"PostgreSQL ended with {code}: {self.log.read_text(errors='replace')[-2_000:]}"
        with contextlib.suppress(psycopg.OperationalError):
            return self.execute("SELECT 1") == [(1,)]
        return False

    def _shows(self, name: str, value: str) -> bool:
        return self.execute(sql.SQL("SHOW {}").format(sql.Identifier(name))) == [(value,)]

    def _release_memory(self) -> None:
        """A killed server leaves a segment of System V memory. Its id is in the seventh line of its lock file."""
        with contextlib.suppress(FileNotFoundError, IndexError):
            ident = (self._data / "postmaster.pid").read_text().splitlines()[6].split()[1]
            subprocess.run(["ipcrm", "-m", ident], capture_output=True, check=False)


@contextlib.contextmanager
def running(*clusters: Cluster) -> Iterator[Sequence[Cluster]]:
    """Clusters that are ended when the block ends."""
    try:
        yield clusters
    finally:
        for cluster in clusters:
            cluster.end()


@cache
def shared_cluster() -> Cluster:
    """The one cluster of all tests of this process that only need a database. It ends with the process."""
    cluster = Cluster().begin()
    atexit.register(cluster.end)
    return cluster
