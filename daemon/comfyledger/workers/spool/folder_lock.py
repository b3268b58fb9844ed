"""State folder, spool and folder of inputs belong to one daemon at a time, the last two also to one ledger.

Spool and folder of inputs are locked by the folder's own inode. A later daemon with another ledger, or with a copy of
this one, would delete or replace files that nobody else has. So a file in each of them names the ledger that it belongs
to. In the state folder a file is locked, because commands that change tokens lock the folder itself for a moment.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import msgspec
import structlog

from comfyledger.durable import sync_folder
from comfyledger.errors import SpoolUnusable, Unusable
from comfyledger.ledger.file_lock import Hold, Taken, hold_file, hold_folder

STATE_LOCK: Final = "daemon.lock"
OWNER: Final = ".ledger"
"""The file in such a folder that names its ledger."""

Section = Literal["spool", "inputs"]
NAMES: Final[dict[Section, str]] = {"spool": "spool", "inputs": "folder of inputs"}

log = structlog.get_logger("comfyledger.holding")


_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF})
"""Errors of file systems that have no flock, or none for folders."""


class Owner(msgspec.Struct, frozen=True):
    """The ledger that a folder belongs to, and its path. `inode`: that of the folder; a copy of it has another."""

    ledger_id: str
    ledger: str
    inode: int = 0


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, for the owner only. Their names are on stable storage then. Raises OSError."""
    missing = [one for one in (folder, *folder.parents) if not one.is_dir()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for one in missing:
        sync_folder(one.parent)


def hold_state(folder: Path) -> Hold | None:
    """Lock a state folder for this daemon; make it if it is missing. None if the file system has no locks.

    Raises Unusable, OSError.
    """
    make_folder(folder)
    try:
        return _where_locks_are(lambda: hold_file(folder / STATE_LOCK), folder)
    except Taken as error:
        hint = "See `comfyledger status`, or choose another --state-dir."
        raise Unusable(f"Another daemon uses the state folder {folder}.", hint=hint) from error


def hold_spool(root: Path, ledger_id: str, ledger: Path, section: Section = "spool") -> Hold | None:
    """Lock a spool or a folder of inputs, which must exist, for this daemon. None if the file system has no locks.

    Raises SpoolUnusable if another daemon uses it, or if it is another ledger's; OSError.
    """
    name = NAMES[section]
    try:
        held = _where_locks_are(lambda: hold_folder(root), root)
    except Taken as error:
        hint = f"Choose another [{section}] path."
        raise SpoolUnusable(f"Another daemon uses the {name} {root}.", hint=hint) from error
    try:
        _own(root, Owner(ledger_id, str(ledger.resolve()), root.stat().st_ino), section)
    except BaseException:
        if held is not None:
            held.close()
        raise
    return held


def _where_locks_are(take: Callable[[], Hold], folder: Path) -> Hold | None:
    try:
        return take()
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        log.warning("folder.not_locked", folder=str(folder), error=str(error))
        return None


def _own(root: Path, own: Owner, section: Section) -> None:
    """Write the owner of the folder, unless it belongs to another ledger."""
    found = _owner(root / OWNER)
    if found == own:
        return
    if found is not None:
        _check_same(root, found, own, section)
    beside = root / f"{OWNER}.new"
    try:
        beside.write_bytes(msgspec.json.encode(own))
        beside.replace(root / OWNER)
    except OSError as error:
        log.warning("folder.owner_not_written", folder=str(root), error=str(error))


def _owner(path: Path) -> Owner | None:
    """The owner; None without one, or if the file cannot be read."""
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(path.read_bytes(), type=Owner)
    return None


def _check_same(root: Path, found: Owner, own: Owner, section: Section) -> None:
    """A ledger that was moved keeps its folder. A copy of a ledger that is still in its place does not get it.

    If both were copied, as with a whole state folder, there are two folders. Raises SpoolUnusable.
    """
    name = NAMES[section]
    if found.ledger_id != own.ledger_id:
        text = f"The {name} {root} belongs to another ledger ({found.ledger_id}, {found.ledger})."
        hint = f"Choose another [{section}] path; or remove {root / OWNER}, which gives up the files in the {name}."
        raise SpoolUnusable(text, hint=hint)
    is_copied = found.inode != own.inode
    if not is_copied and os.path.exists(found.ledger) and not os.path.samefile(found.ledger, own.ledger):
        text = f"The {name} {root} belongs to the ledger {found.ledger}, of which {own.ledger} is a copy."
        hint = f"Choose another [{section}] path; or, if the ledger was moved, move {found.ledger} away."
        raise SpoolUnusable(text, hint=hint)
