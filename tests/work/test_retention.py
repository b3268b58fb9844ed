"""What goes from the spool, and what never does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from comfyledger.core.slices import ImageRow, ImageState, Upload
from comfyledger.ledger.reader import ImageFilter
from comfyledger.work.retention import DAY_S, Retention
from comfyledger.work.spool import Spool

BATCH = "01M8000000000000000000000A"


class Rows:
    """A reader that knows these images only."""

    def __init__(self, rows: Sequence[ImageRow]) -> None:
        self.rows = rows

    async def images(self, wanted: ImageFilter) -> list[ImageRow]:
        return [row for row in self.rows if row.batch_id == wanted.batch_id]


def image(index: int, state: ImageState, sha256: str = "aa") -> ImageRow:
    uploads = (Upload("folder", "stored" if state == "stored" else "owed"),)
    return ImageRow(BATCH, index, index, "f", f"n_{index}", index, "areg", state, uploads, sha256)


def spooled(tmp_path: Path, *indexes: int) -> Spool:
    spool = Spool(tmp_path / "spool")
    for index in indexes:
        path = spool.path_of(BATCH, index, "png")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"picture")
    return spool


def left(spool: Spool) -> list[int]:
    return [index for index in range(1, 10) if spool.path_of(BATCH, index, "png").exists()]


def retention(spool: Spool, rows: Sequence[ImageRow], *, keep_days: float = 7, later_days: float = 0) -> Retention:
    now_s = spool.path_of(BATCH, 1, "png").stat().st_mtime + later_days * DAY_S
    return Retention(spool, Rows(rows), keep_days, lambda: now_s)  # type: ignore[arg-type]


@pytest.mark.parametrize(("later_days", "stays"), [(6.9, [1]), (7.1, [])])
async def test_a_stored_file_stays_for_the_days_it_shall(tmp_path: Path, later_days: float, stays: list[int]) -> None:
    spool = spooled(tmp_path, 1)
    await retention(spool, [image(1, "stored")], later_days=later_days).clear()
    assert left(spool) == stays


@pytest.mark.parametrize("state", ["pending", "kept", "parked", "failed", "cancelled"])
async def test_what_is_not_stored_everywhere_never_goes_by_age(tmp_path: Path, state: ImageState) -> None:
    spool = spooled(tmp_path, 1)
    await retention(spool, [image(1, state)], keep_days=0, later_days=999).clear()
    assert left(spool) == [1]


async def test_an_image_without_stores_has_its_only_copy_here_and_keeps_it(tmp_path: Path) -> None:
    spool = spooled(tmp_path, 1)
    alone = ImageRow(BATCH, 1, 1, "f", "n_1", 1, "areg", "stored", (), "aa")
    await retention(spool, [alone], keep_days=0, later_days=999).clear()
    assert left(spool) == [1]


async def test_at_the_start_what_was_not_recorded_as_kept_goes(tmp_path: Path) -> None:
    spool = spooled(tmp_path, 1, 2, 3)
    swept = await retention(spool, [image(1, "kept"), image(2, "pending", sha256="")]).sweep_at_start()
    assert swept == 2
    assert left(spool) == [1]
