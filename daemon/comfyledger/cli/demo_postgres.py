"""PostgreSQL for `demo --boxes`: a server of its own on loopback.

It refuses to run as root. Then it runs as the user `postgres`, or else `nobody`, and its files are in a folder of their
own below /tmp, which that user reaches whatever TMPDIR is.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from comfyledger.cli.demo_processes import DemoFailed, Processes

OWNER: Final = "comfyledger"
INIT_S: Final = 60.0
NAME: Final = "postgresql"
_PREFIX: Final = "comfyledger-demo-database-"
_DEBIAN: Final = Path("/usr/lib/postgresql")
_USERS: Final = ("postgres", "nobody")


class Database:
    """A server in the folder of the demo. `address`: of its one database."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._programs = _programs()
        self._user = _user() if os.geteuid() == 0 else None
        self._folder = (
            processes.folder / NAME if self._user is None else Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))
        )
        processes.folders.append(self._folder)
        self._port = _free_port()

    @property
    def address(self) -> str:
        return f"postgresql://{OWNER}@127.0.0.1:{self._port}/postgres"

    def begin(self) -> None:
        """Make its files and start it. Raises DemoFailed."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        words = [str(self._programs / "initdb"), "-D", str(self._data), "-U", OWNER, "-A", "trust", "--no-locale"]
        done = subprocess.run(  # noqa: S603 - a program that was found
            [*words, "-E", "UTF8"], capture_output=True, text=True, timeout=INIT_S, cwd="/", check=False, **self._as()
        )
        if done.returncode:
            raise DemoFailed(f"PostgreSQL could not be set up: {done.stderr.strip()[-300:]}")
        self.start()

    def start(self) -> None:
        """Start it, also after it was killed."""
        words = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self._port)]
        given = ["--listen_addresses=127.0.0.1", "--unix_socket_directories=", "--shared_buffers=32MB"]
        given += ["--dynamic_shared_memory_type=mmap"]  # in its folder: a kill leaves nothing in /dev/shm
        self._processes.start_program(NAME, [*words, *given], **self._as())

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _as(self) -> dict[str, Any]:
        """The arguments of `subprocess` that let it run as its user."""
        user = self._user
        return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _programs() -> Path:
    """The folder of PostgreSQL's programs, the newest ones. Raises DemoFailed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    by_debian = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not by_debian:
        raise DemoFailed("PostgreSQL is not installed; on Debian: apt install postgresql.")
    return by_debian[-1].parent


def _user() -> pwd.struct_passwd:
    known = {user.pw_name: user for user in pwd.getpwall()}
    for name in _USERS:
        if name in known:
            return known[name]
    raise DemoFailed("PostgreSQL does not run as root, and there is no other user. Run the demo as a plain user.")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
