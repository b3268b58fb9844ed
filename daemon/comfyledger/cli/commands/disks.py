"""The table of disks in `status`: a row for each disk, with all folders that are on it."""

from __future__ import annotations

from collections.abc import Iterable

from comfyledger import wire
from comfyledger.cli.ui.terminal import say_table
from comfyledger.workers.spool.disk_guard import in_words

UNKNOWN = "cannot be read"


def say_disks(disks: Iterable[wire.DiskInfo]) -> None:
    """Print what is on each disk, how much is free, and below what nothing new is taken."""
    together: dict[object, list[wire.DiskInfo]] = {}
    for one in disks:
        together.setdefault(one.folder if one.disk is None else one.disk, []).append(one)
    rows = [_row(folders) for folders in together.values()]
    if rows:
        say_table(("DISK OF", "FREE", "SIZE", "NOTHING NEW BELOW"), rows)


def _row(folders: list[wire.DiskInfo]) -> tuple[str, str, str, str]:
    names = ", ".join(f"store {one.store}" if one.store else one.use for one in folders)
    free = [one.free_bytes for one in folders if one.free_bytes is not None]
    sizes = [one.size_bytes for one in folders if one.size_bytes is not None]
    needed = max(one.free_min_bytes for one in folders)
    return (
        names,
        in_words(min(free)) if free else UNKNOWN,
        in_words(max(sizes)) if sizes else "?",
        in_words(needed) if needed else "-",
    )
