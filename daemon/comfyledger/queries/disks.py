"""The disks as answers show them."""

from __future__ import annotations

from collections.abc import Iterable

from comfyledger import wire
from comfyledger.workers.spool.disks import Disk


def shown(seen: Iterable[Disk]) -> list[wire.DiskInfo]:
    """Each folder's disk. Disks are numbered as they come, so that no number of the machine is told."""
    numbers: dict[int, int] = {}
    return [_shown(one, numbers) for one in seen]


def _shown(one: Disk, numbers: dict[int, int]) -> wire.DiskInfo:
    space = one.space
    if space is None:
        return wire.DiskInfo(one.use, one.store, one.folder, None, None, one.free_min)
    number = numbers.setdefault(space.device, len(numbers) + 1)
    return wire.DiskInfo(one.use, one.store, one.folder, space.free_bytes, space.total_bytes, one.free_min, disk=number)
