"""PgBouncer before a database of the tests: a pooler as people put one there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from support.ports import KeptPort
from support.waiting import DEADLINE_S, until_without_a_loop

PROGRAM: Final = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
WHY_NOT: Final = "PgBouncer is missing (Debian's package pgbouncer)"
_SETTINGS: Final = """[databases]
{dbname} = host={host} port={port} dbname={dbname} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
auth_type = any
pool_mode = {mode}
unix_socket_dir =
ignore_startup_parameters = options,extra_float_digits
"""


@contextmanager
def bouncer(address: str, folder: Path, mode: str) -> Iterator[str]:
    """The address of the same database behind a pooler of a mode: `transaction` or `session`."""
    assert PROGRAM is not None, WHY_NOT
    there, port = conninfo_to_dict(address), KeptPort()
    folder.mkdir()
    file = folder / "pgbouncer.ini"
    file.write_text(_SETTINGS.format(**there, own_port=port.number, mode=mode))
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen([PROGRAM, *user, str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        behind = f"postgresql://{there['user']}@127.0.0.1:{port.number}/{there['dbname']}"
        until_without_a_loop(lambda: _answers(behind), "PgBouncer answers")
        yield behind
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def _answers(address: str) -> bool:
    with suppress(psycopg.OperationalError), psycopg.connect(address, autocommit=True) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)
    return False
