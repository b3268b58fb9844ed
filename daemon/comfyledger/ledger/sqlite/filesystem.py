"""Whether a folder can hold a ledger: a write-ahead log needs shared memory and locks that only a local disk has.

The kernel is asked for the type of the file system; what a type means is a table. FUSE and 9p are not in it: behind
them is a local disk as often as not, and there the lock and SQLite itself must tell.
"""

from __future__ import annotations

import ctypes
import os
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


def network_of(f_type: int) -> str | None:
    """What a type of file system is called if other machines may write on it as well, else None."""
    return NETWORK.get(f_type & 0xFFFFFFFF)


def type_of(folder: Path) -> int:
    """The `f_type` that statfs(2) says; 0 where that cannot be had. Raises OSError."""
    if not sys.platform.startswith("linux") or ctypes.sizeof(ctypes.c_long) != 8:
        return 0
    room = ctypes.create_string_buffer(_STATFS_BYTES)
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(folder), room):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    return int.from_bytes(room.raw[:8], sys.byteorder)
