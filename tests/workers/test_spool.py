"""Laws of the spool: what has a name is whole and durable, and nothing else stays behind."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import struct
import threading
import tracemalloc
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from PIL import Image

from comfyledger.errors import SpoolUnusable
from comfyledger.workers.media.broken_file import Broken
from comfyledger.workers.media.media_file import ProvedFile
from comfyledger.workers.spool import files as files_module
from comfyledger.workers.spool import pinned_copy as copy_module
from comfyledger.workers.spool import spool as spool_module
from comfyledger.workers.spool.files import NoPlace
from comfyledger.workers.spool.spool import Spool
from support.media_builders import wav
from support.spool_files import LIMITS, image, keep
from support.waiting import DEADLINE_S


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "deep" / "spool")


@pytest.fixture
def root(spool: Spool, tmp_path: Path) -> Path:
    return tmp_path / "deep" / "spool"


async def test_a_kept_file_lies_under_batch_and_index_alone(spool: Spool, root: Path) -> None:
    result = await keep(spool, 12)
    assert result.extension == "png"
    assert spool.path_of("B1", 12, "png") == root / "B1" / "12.png"
    assert files(root) == {"B1", "B1/12.png"}
    assert (root / "B1" / "12.png").stat().st_size == result.size_bytes


async def test_nobody_else_may_read_the_spool(spool: Spool, root: Path) -> None:
    await keep(spool)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (root, root / "B1", root / "B1" / "1.png")]
    assert modes == [0o700, 0o700, 0o600]


@pytest.mark.parametrize(
    ("batch_id", "index", "extension"),
    [("..", 1, "png"), ("a/b", 1, "png"), ("", 1, "png"), ("B", 0, "png"), ("B", 1, "png/x"), ("B" * 65, 1, "png")],
)
def test_no_path_leads_out_of_the_spool(spool: Spool, batch_id: str, index: int, extension: str) -> None:
    with pytest.raises(ValueError):
        spool.path_of(batch_id, index, extension)


async def test_large_files_are_written_in_pieces(spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "HELD_BYTES", 64)
    await keep(spool, content=image("JPEG"), strip=False)
    assert (root / "B1" / "1.jpg").read_bytes() == image("JPEG")


async def test_keeping_again_replaces_the_file(spool: Spool, root: Path) -> None:
    await keep(spool)
    await keep(spool, content=image(colour=200))
    with Image.open(root / "B1" / "1.png") as kept:
        assert kept.getpixel((0, 0)) == (200, 1, 2)


async def test_an_image_has_one_file_whatever_its_kind(spool: Spool, root: Path) -> None:
    await keep(spool)
    await keep(spool, content=image("WEBP"))
    assert files(root) == {"B1", "B1/1.webp"}


@pytest.mark.parametrize("known", [32, 2])
async def test_an_earlier_file_of_an_image_goes_whatever_its_extension(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch, known: int
) -> None:
    monkeypatch.setattr(spool_module, "EXTENSIONS_MAX", known)
    for extension in ("a1", "a2", "a3", "a4"):
        await keep(spool, content=b"any", named=f"x.{extension}")
        assert files(root) == {"B1", f"B1/1.{extension}"}
    later = Spool(root)
    later.sweep(lambda batch_id, index: True)
    await keep(later)
    assert files(root) == {"B1", "B1/1.png"}


async def test_a_file_that_no_table_knows_is_kept_and_removed_like_others(spool: Spool, root: Path) -> None:
    result = await keep(spool, content=b"no picture", named="x_00001_.abc")
    assert (result.extension, result.checked) == ("abc", "length")
    assert files(root) == {"B1", "B1/1.abc"}
    assert spool.holds("B1", 1, result)
    assert spool.indexes("B1") == [1]
    await keep(spool, content=b"again", named="a.name.without.extensions")
    assert files(root) == {"B1", "B1/1.bin"}
    assert spool.remove("B1", 1)
    assert files(root) == set()


async def test_a_broken_file_leaves_the_earlier_one_and_nothing_else(spool: Spool, root: Path) -> None:
    await keep(spool)
    with pytest.raises(Broken) as refusal:
        await keep(spool, content=image()[:-1])
    assert refusal.value.reason == "truncated"
    assert files(root) == {"B1", "B1/1.png"}


async def test_a_broken_first_file_leaves_no_folder(spool: Spool, root: Path) -> None:
    with pytest.raises(Broken):
        await keep(spool, content=b"")
    assert files(root) == set()


async def test_the_limit_of_bytes_stops_the_stream(spool: Spool, root: Path) -> None:
    taken: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            taken.append(1)
            yield bytes(1000)

    with pytest.raises(Broken) as refusal:
        await spool.keep("B1", 1, 1, endless(), strip=True, bytes_max=4500, pixels_max=9)
    assert refusal.value.reason == "too_large"
    assert len(taken) == 5
    assert files(root) == set()


async def test_what_is_no_picture_may_be_larger(spool: Spool, root: Path) -> None:
    limits = {"bytes_max": 500, "file_bytes_max": 2_000}
    assert len(image("BMP")) > 500
    for content, named in ((wav(), ""), (bytes(1_500), "x.latent.abc"), (image("JPEG"), "x.abc")):
        if content[:2] == b"\xff\xd8":
            with pytest.raises(Broken, match="larger than 500 bytes"):
                await keep(spool, content=content, named=named, **limits)
        else:
            assert (await keep(spool, content=content, named=named, **limits)).size_bytes == len(content)
    with pytest.raises(Broken, match="larger than 2000 bytes"):
        await keep(spool, content=bytes(2_001), named="x.abc", **limits)
    with pytest.raises(Broken, match="larger than 500 bytes"):
        await keep(spool, content=image("BMP"), named="x.bmp", **limits)


async def test_a_large_file_needs_no_memory(spool: Spool, root: Path) -> None:
    size = 96 * 1_048_576

    async def sound() -> AsyncIterator[bytes]:
        yield b"RIFF" + struct.pack("<I", size + 36) + b"WAVE"
        yield b"fmt " + struct.pack("<I2H2I2H", 16, 1, 1, 8_000, 8_000, 1, 8) + b"data" + struct.pack("<I", size)
        for _ in range(size // 1_048_576):
            yield bytes(1_048_576)

    tracemalloc.start()
    try:
        kept = await spool.keep("B1", 1, 1, sound(), strip=True, bytes_max=9, file_bytes_max=2**30, pixels_max=9)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept.size_bytes == size + 44
    assert peak < 24 * 1_048_576


async def test_a_stream_that_breaks_leaves_nothing(spool: Spool, root: Path) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield image()[:50]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await spool.keep("B1", 1, 1, breaking(), **LIMITS)
    assert files(root) == set()


@pytest.mark.parametrize("step", ["new_file", "append", "walk", "proved", "sync_file", "sync_folder"])
async def test_trouble_of_the_disk_passes_and_leaves_no_temporary(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files_module, "HELD_BYTES", 64)
    for module in (spool_module, files_module, copy_module):
        monkeypatch.setattr(module, step, full, raising=False)
    with pytest.raises(NoPlace, match="No space") as found:
        await keep(spool)
    assert found.value.is_full
    assert not [name for name in files(root) if "/." in name]


async def test_a_stream_that_breaks_off_is_no_trouble_of_the_disk(spool: Spool) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield image()
        raise OSError(errno.ENOSPC, "of another machine")

    with pytest.raises(OSError, match="another machine"):
        await spool.keep("B1", 1, 1, breaking(), **LIMITS)


def test_a_folder_that_cannot_be_made_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, not a folder")
    with pytest.raises(SpoolUnusable, match=r"cannot be made.*Check folder"):
        Spool(tmp_path / "state" / "spool")


async def test_what_is_named_is_synced_before_and_its_folders_after(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []
    real = os.fsync

    def watched(file: int) -> None:
        name = os.readlink(f"/proc/self/fd/{file}")
        synced.append((name.rsplit("/", 1)[1], (root / "B1" / "1.png").exists()))
        real(file)

    monkeypatch.setattr(os, "fsync", watched)
    await keep(spool)
    assert synced == [(".1-a1-1.pinned", False), ("B1", True), ("spool", True)]


async def test_the_root_is_synced_again_for_a_folder_that_was_made_again(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def watched(file: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{file}"))
        real(file)

    monkeypatch.setattr(os, "fsync", watched)
    await keep(spool, 1)
    await keep(spool, 2)
    assert synced.count(str(root)) == 1
    spool.remove("B1", 1)
    await keep(spool, 3)
    assert synced.count(str(root)) == 1, "the folder never went"
    for index in (2, 3):
        spool.remove("B1", index)
    await keep(spool, 4)
    assert synced.count(str(root)) == 2


@pytest.mark.parametrize(
    ("name", "trouble", "raised"),
    [
        (".1-a1-1.pinned", errno.EIO, SpoolUnusable),
        (".1-a1-1.pinned", errno.ENOSPC, NoPlace),
        ("B1", errno.EIO, SpoolUnusable),
        ("B1", errno.ENOSPC, SpoolUnusable),
        ("spool", errno.EIO, SpoolUnusable),
    ],
)
async def test_a_sync_that_fails_is_the_end_and_not_tried_again(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, name: str, trouble: int, raised: type[Exception]
) -> None:
    """But for a file that found no room: it goes, and nothing is said to be kept."""
    tries = []

    def failing(file: int) -> None:
        if os.readlink(f"/proc/self/fd/{file}").rsplit("/", 1)[1] == name:
            tries.append(name)
            raise OSError(trouble, os.strerror(trouble))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(raised, match=os.strerror(trouble)):
        await keep(spool)
    assert tries == [name]


@pytest.mark.parametrize(("kind", "visits"), [("PNG", 1), ("JPEG", 2)])
async def test_a_small_file_visits_a_thread_once_and_once_more_to_be_decoded(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, kind: str, visits: int
) -> None:
    calls: list[object] = []
    real = ThreadPoolExecutor.submit

    def counting(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", counting)
    await keep(spool, content=image(kind))
    assert len(calls) == visits


async def test_a_cancelled_stream_leaves_nothing(spool: Spool, root: Path) -> None:
    begun = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        yield image()
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(spool.keep("B1", 1, 1, stalling(), **LIMITS))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files(root) == set()


async def test_a_cancellation_waits_for_the_disk_and_then_leaves_nothing(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, leave = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(source: BinaryIO, sink: BinaryIO, **how: object) -> ProvedFile:
        loop.call_soon_threadsafe(entered.set)
        leave.wait(DEADLINE_S)
        sink.write(b"late")
        raise Broken("truncated", "Late.")

    monkeypatch.setattr(spool_module, "walk", slow)
    task = asyncio.create_task(keep(spool))
    await entered.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.wait([task], timeout=0.01)
        assert not task.done()
    leave.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files(root) == set()


async def test_the_same_image_kept_many_times_at_once_is_whole(spool: Spool, root: Path) -> None:
    kept = await asyncio.gather(*(keep(spool, content=image(colour=colour)) for colour in range(20)))
    assert files(root) == {"B1", "B1/1.png"}
    assert (root / "B1" / "1.png").stat().st_size in {one.size_bytes for one in kept}


async def test_a_folder_that_goes_while_a_file_is_made_is_made_again(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files_module._private
    removals = [1, 2]

    def opener(path: str, flags: int) -> int:
        if removals:
            removals.pop()
            spool.remove("B1", 1)
        return real(path, flags)

    monkeypatch.setattr(files_module, "_private", opener)
    await keep(spool)
    assert files(root) == {"B1", "B1/1.png"}


async def test_removing_beside_keeping_loses_nothing(spool: Spool, root: Path) -> None:
    async def come_and_go(index: int) -> None:
        for _ in range(10):
            await keep(spool, index)
            assert await asyncio.to_thread(spool.remove, "B1", index)

    await asyncio.gather(*(come_and_go(index) for index in range(1, 5)))
    assert files(root) == set()


async def test_removing_what_is_not_there_is_said(spool: Spool) -> None:
    assert not spool.remove("B1", 1)


async def test_a_sweep_removes_temporaries_and_orphans_and_nothing_else(spool: Spool, root: Path) -> None:
    await keep(spool, 1)
    await keep(spool, 2)
    for name in (".3-a1-1.raw", ".3-a1-1.pinned", "notes.txt", "1.txt", "01.png"):
        (root / "B1" / name).touch()
    (root / "GONE").mkdir()
    (root / "GONE" / "7.webp").touch()
    (root / "not ours").mkdir()
    (root / "not ours" / "1.png").touch()
    removed = spool.sweep(lambda batch_id, index: (batch_id, index) == ("B1", 1))
    assert {str(path.relative_to(root)) for path in removed} == {
        "B1/2.png", "B1/.3-a1-1.raw", "B1/.3-a1-1.pinned", "GONE/7.webp",
    }  # fmt: skip
    assert files(root) == {
        "B1", "B1/1.png", "B1/notes.txt", "B1/1.txt", "B1/01.png", "B1/.3-a1.strikes", "not ours", "not ours/1.png",
    }  # fmt: skip


async def test_a_spool_opened_again_keeps_what_it_holds(spool: Spool, root: Path) -> None:
    await keep(spool)
    assert Spool(root).sweep(lambda batch_id, index: True) == []
    assert files(root) == {"B1", "B1/1.png"}
