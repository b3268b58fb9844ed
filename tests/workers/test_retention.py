"""What goes from the spool and from ComfyUI's output folder, and what never does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from comfyledger.core.rows import ImageRow, ImageState, Upload
from comfyledger.ledger.ports import ImageFilter
from comfyledger.workers.spool.retention import DAY_S, Outputs, Retention
from comfyledger.workers.spool.spool import Spool

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


async def test_at_the_start_of_a_box_what_another_one_keeps_now_goes(tmp_path: Path) -> None:
    """It was rendered here, given up, and rendered again there."""
    spool = spooled(tmp_path, 1, 2, 3)
    rows = [replace(image(index, "kept"), box=box) for index, box in enumerate(("north", "south", ""), 1)]
    here = Retention(spool, Rows(rows), 7, lambda: 0.0, box="north")  # type: ignore[arg-type]
    assert await here.sweep_at_start() == 1
    assert left(spool) == [1, 3]


async def test_files_of_a_batch_that_the_ledger_does_not_know_stay(tmp_path: Path) -> None:
    """After a restore they are all that is left of what was accepted after the backup."""
    spool = spooled(tmp_path, 1, 2, 3)
    assert await retention(spool, []).sweep_at_start() == 0
    assert await retention(spool, [], keep_days=0, later_days=999).clear() == 0
    assert left(spool) == [1, 2, 3]


# ---- ComfyUI's own output

OLD = ["1-a1_00001_.png", "1-a2_00001_.png"]


def numbered(number: int, state: ImageState, prompt: int) -> ImageRow:
    uploads = (Upload("folder", "stored" if state == "stored" else "owed"),)
    return ImageRow(BATCH, number, number, "f", f"n_{number}", prompt, "areg", state, uploads, "aa")


def written(tmp_path: Path, *names: str, batch: str = BATCH, age_days: float = 8) -> Path:
    """Files in a batch's folder below ComfyUI's output, so many days old."""
    folder = tmp_path / "output" / "comfyledger" / batch.lower()
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"picture")
        os.utime(folder / name, (100 * DAY_S - age_days * DAY_S,) * 2)
    return folder


async def clear(tmp_path: Path, *rows: ImageRow) -> int:
    """One clearing on the hundredth day, of what is a week old."""
    return await Outputs(tmp_path / "output", Rows(rows), 7, lambda: 100 * DAY_S).clear()  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_old_outputs_of_what_every_store_has_go_with_their_folder(tmp_path: Path) -> None:
    folder = written(tmp_path, *OLD)
    assert await clear(tmp_path, numbered(1, "stored", 1)) == 2
    assert not folder.exists()
    assert folder.parent.exists()


async def test_outputs_of_every_medium_and_of_every_saver_go(tmp_path: Path) -> None:
    folder = written(tmp_path, "1-a1_00001_.mp4", "1-a1-o2_00001_.latent", "1-a1_00001.png", "1-a1_00001-audio.MP4")
    assert await clear(tmp_path, numbered(1, "stored", 1)) == 4
    assert not folder.exists()


async def test_a_folder_that_cannot_be_cleared_does_not_keep_the_next_one(tmp_path: Path) -> None:
    folder = written(tmp_path, *OLD)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "comfyledger").write_bytes(b"a file where a folder should be")
    rows = Rows([numbered(1, "stored", 1)])
    both = [Outputs(tmp_path / name, rows, 7, lambda: 100 * DAY_S) for name in ("broken", "output")]  # type: ignore[arg-type]
    await Retention(Spool(tmp_path / "spool"), rows, 7, lambda: 0.0, lambda: both).clear()  # type: ignore[arg-type]
    assert not folder.exists()


async def test_a_young_output_stays(tmp_path: Path) -> None:
    folder = written(tmp_path, "1-a2_00001_.png", age_days=6.9)
    written(tmp_path, "1-a1_00001_.png")
    await clear(tmp_path, numbered(1, "stored", 1))
    assert names(folder) == ["1-a2_00001_.png"]


async def test_old_outputs_of_what_was_forgotten_go_as_well(tmp_path: Path) -> None:
    folder = written(tmp_path, *OLD, "3-a1_00001_.png")
    await clear(tmp_path, numbered(1, "forgotten", 1), numbered(2, "stored", 1), numbered(3, "kept", 2))
    assert names(folder) == ["3-a1_00001_.png"]


@pytest.mark.parametrize("state", ["pending", "kept", "parked", "failed", "cancelled"])
async def test_an_output_stays_while_a_store_lacks_an_image_of_its_prompt(tmp_path: Path, state: ImageState) -> None:
    """A prompt of two: its files carry the number of its first image."""
    folder = written(tmp_path, "1-a1_00001_.png", "1-a1_00002_.png", "3-a1_00001_.png")
    await clear(tmp_path, numbered(1, "stored", 1), numbered(2, state, 1), numbered(3, "stored", 2))
    assert names(folder) == ["1-a1_00001_.png", "1-a1_00002_.png"]


async def test_what_is_not_named_as_ours_is_never_touched(tmp_path: Path) -> None:
    strange = [
        "1-a1_00001_.safetensorz",
        "1-a1_00001_x.png",
        "1-a1-o0_00001_.png",
        "1_00001_.png",
        "note.txt",
        "x1-a1_00001_.png",
        "1-a0_00001_.png",
    ]
    folder = written(tmp_path, *strange, "2-a1_00001_.png")
    (folder / "1-a3_00001_.png").mkdir()
    os.utime(folder / "1-a3_00001_.png", (0, 0))
    written(tmp_path, *OLD, batch="somebody")
    unknown = written(tmp_path, *OLD, batch=BATCH[:-1] + "B")
    (tmp_path / "output" / "1-a1_00001_.png").write_bytes(b"theirs")
    assert await clear(tmp_path, numbered(1, "stored", 1)) == 0
    assert names(folder) == sorted([*strange, "1-a3_00001_.png", "2-a1_00001_.png"])
    assert names(unknown) == OLD


async def test_no_symbolic_link_is_followed(tmp_path: Path) -> None:
    elsewhere = written(tmp_path / "elsewhere", *OLD)
    ours = tmp_path / "output" / "comfyledger"
    ours.mkdir(parents=True)
    (ours / BATCH.lower()).symlink_to(elsewhere)
    assert await clear(tmp_path, numbered(1, "stored", 1)) == 0
    (ours / BATCH.lower()).unlink()
    folder = written(tmp_path)
    (folder / OLD[0]).symlink_to(elsewhere / OLD[0])
    os.utime(folder / OLD[0], (0, 0), follow_symlinks=False)
    assert await clear(tmp_path, numbered(1, "stored", 1)) == 0
    assert names(elsewhere) == OLD


async def test_an_output_folder_that_is_a_link_is_said_to_be_none(tmp_path: Path) -> None:
    elsewhere = written(tmp_path / "elsewhere", *OLD)
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "comfyledger").symlink_to(elsewhere.parent)
    with pytest.raises(OSError, match="comfyledger"):
        await clear(tmp_path, numbered(1, "stored", 1))
    assert names(elsewhere) == OLD


async def test_without_an_output_folder_there_is_nothing_to_clear(tmp_path: Path) -> None:
    assert await clear(tmp_path) == 0
