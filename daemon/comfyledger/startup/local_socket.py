"""The path of the socket for the command line and the Python client: in the state folder if possible.

The path of a Unix socket has at most 107 bytes (unix(7)), and some file systems have no sockets. Then the socket is in
the user's run-time folder, else in a folder that nobody else can enter. `door.json` says where.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

NAME: Final = "door.sock"
PATH_BYTES_MAX: Final = 107
_TEMPORARY: Final = Path("/tmp")  # noqa: S108 (a folder there is checked before use)


def socket_paths(state: Path, environ: Mapping[str, str], user: int) -> Iterator[Path]:
    """Possible paths of the socket of a state folder, the best one first. The last folder is made."""
    return (path for path in _every(state, environ, user) if len(os.fsencode(path)) <= PATH_BYTES_MAX)


def _every(state: Path, environ: Mapping[str, str], user: int) -> Iterator[Path]:
    yield state / NAME
    name = f"comfyledger-{hashlib.sha256(os.fsencode(state)).hexdigest()[:16]}.sock"
    for folder in dict.fromkeys((environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{user}")):
        if folder.startswith("/") and is_private(Path(folder), user):
            yield Path(folder) / name
    with suppress(OSError):
        yield _own_folder(user) / name


def _own_folder(user: int) -> Path:
    folder = _TEMPORARY / f"comfyledger-{user}"
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not is_private(folder, user):  # another user made it first
            return Path(tempfile.mkdtemp(prefix="comfyledger-", dir=_TEMPORARY))
    return folder


def is_private(folder: Path, user: int) -> bool:
    """Whether it is a folder and no link, belongs to this user, and nobody else can enter it."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o077
