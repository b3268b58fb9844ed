"""Runs a program with the recorder loaded into it, and reads the log that the recorder wrote.

The recorder itself is `recorder.c`; here it is compiled, given its folder, and its records become plain values.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Final

import msgspec

SOURCE: Final = Path(__file__).with_name("recorder.c")
HEADER: Final = struct.Struct("=IIIIQq")
PROGRAM_ENDS_WITHIN_S: Final = 60.0


class Kind(IntEnum):
    """As `enum kind` of recorder.c says."""

    CREATE = 1
    WRITE = 2
    RESIZE = 3
    SYNC_FILE = 4
    SYNC_FOLDER = 5
    RENAME = 6
    LINK = 7
    UNLINK = 8
    MKDIR = 9
    RMDIR = 10
    NOTE = 11


class Record(msgspec.Struct, frozen=True):
    """One call. Paths are relative to the folder; `offset` is the size for RESIZE; `content` the words of a NOTE."""

    kind: Kind
    path: str
    other: str
    inode: int
    offset: int
    content: bytes


def compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc")


def compiled(folder: Path) -> Path:
    """The recorder as a library in this folder. Raises CalledProcessError with what the compiler says."""
    library = folder / "recorder.so"
    command = [str(compiler()), "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl", "-lpthread"]
    subprocess.run(command, check=True)
    return library


def recorded(library: Path, program: Sequence[str], root: Path, log: Path, python_path: Path) -> list[Record]:
    """Run a program to its end and give what it did below `root`, which must exist and be empty."""
    environment = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "RECORDER_ROOT": str(root.resolve()),
        "RECORDER_LOG": str(log),
        "PYTHONPATH": str(python_path),
    }
    subprocess.run(program, check=True, env=environment, timeout=PROGRAM_ENDS_WITHIN_S)
    return list(_records(log.read_bytes()))


def _records(raw: bytes) -> Iterator[Record]:
    at = 0
    while at < len(raw):
        kind, path_bytes, other_bytes, content_bytes, inode, offset = HEADER.unpack_from(raw, at)
        parts = []
        at += HEADER.size
        for size in (path_bytes, other_bytes, content_bytes):
            parts.append(raw[at : at + size])
            at += size
        yield Record(Kind(kind), parts[0].decode(), parts[1].decode(), inode, offset, parts[2])
