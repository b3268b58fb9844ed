"""Files and names on stable storage: sync a file, sync a folder, put a file in its place whole.

A rename is atomic and not durable: after a power loss the old name may be back until the folder is synced. So a file is
synced before it gets its name, and the folder after it. Every function raises OSError.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def sync_file(fd: int) -> None:
    """The bytes of an open file. After a failure the same descriptor may report success for bytes that are lost."""
    os.fsync(fd)


def sync_folder(folder: Path) -> None:
    """The names in a folder."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def rename(source: Path, target: Path) -> None:
    """Give a synced file of the same folder its final name, durably. A file that has the name is replaced."""
    source.replace(target)
    sync_folder(target.parent)


def write_whole(path: Path, content: bytes, prepare: Callable[[int], None]) -> None:
    """Put a file in its place with all of its content, or leave what is there. Its mode is 0600.

    `prepare` gets the descriptor before the file has its name, to set its owner or mode.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            prepare(file.fileno())
            sync_file(file.fileno())
        rename(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
