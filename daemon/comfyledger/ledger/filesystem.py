"""The type of a file system. A ledger needs shared memory and locks, which only a local disk has.

statfs(2) gives the type as a number, also if we cannot see the mount. By this number the daemon refuses a network disk.
FUSE and 9p are not in the table, because behind them is often a local disk. mountinfo gives the name of the type, with
the kinds of FUSE; doctor shows it.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path
from typing import Final

NETWORK: Final[dict[int, str]] = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x00C36400: "Ceph",
    0x5346414F: "AFS",
    0x6B414653: "AFS",
    0x73757245: "Coda",
    0x564C: "NCP",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
    0x19830326: "BeeGFS",
    0x01161970: "GFS2",
    0x7461636F: "OCFS2",
}
"""`f_type` of file systems that several machines share (Linux: statfs(2), linux/magic.h, and their own sources)."""

_STATFS_BYTES: Final = 256
MOUNTS: Final = Path("/proc/self/mountinfo")


def network_of(f_type: int) -> str | None:
    """The name of a file system that other machines may write to; None for any other."""
    return NETWORK.get(f_type & 0xFFFFFFFF)


def type_of(folder: Path) -> int:
    """The `f_type` from statfs(2); 0 if it is not available. Raises OSError."""
    if not sys.platform.startswith("linux") or ctypes.sizeof(ctypes.c_long) != 8:
        return 0
    room = ctypes.create_string_buffer(_STATFS_BYTES)
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(folder), room):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    return int.from_bytes(room.raw[:8], sys.byteorder)


def mounted_at(path: str, mounts: str) -> str:
    """The name of the type of the file system that holds a path; empty if it is not known.

    `path` has no links; `mounts` is the text of /proc/self/mountinfo. The last of several mounts at one place counts.
    """
    best, kind = "", ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, of = before.split(" "), after.split(" ")
        point = _unescaped(fields[4]) if len(fields) > 4 else ""
        if of[0] and _is_below(path, point) and len(point) >= len(best):
            best, kind = point, of[0]
    return kind


def _is_below(path: str, folder: str) -> bool:
    return bool(folder) and (path == folder or path.startswith(folder.rstrip("/") + "/"))


def _unescaped(point: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), point)
