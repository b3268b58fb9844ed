"""What the doctor says of the cache of thumbnails: how much it takes. Who may write there could show other pictures."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from comfyledger.maintenance.doctor.judge import Diagnosis, gib


class ThumbnailsSeen(msgspec.Struct, frozen=True):
    """How many files the cache has, and their bytes."""

    files: int = 0
    size_bytes: int = 0


def thumbnails(folder: Path) -> ThumbnailsSeen:
    """Counts the files, while a daemon may add and remove some. Raises OSError."""
    files = size_bytes = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size_bytes += os.lstat(os.path.join(path, name)).st_size
                files += 1
    return ThumbnailsSeen(files, size_bytes)


def of_thumbnails(seen: ThumbnailsSeen, quota_bytes: int) -> list[Diagnosis]:
    """Nothing if there are none."""
    room = f"take {gib(seen.size_bytes)} of the {gib(quota_bytes)} that they may take"
    return [Diagnosis("thumbnails", "ok", f"{seen.files:,} thumbnails {room}.")] if seen.files else []
