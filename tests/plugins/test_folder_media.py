"""Laws of the folder store with every medium: any extension, names with several of them, and large files."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import pytest

import comfyledger_folder.store
from comfyledger.plugin_api import Deleted, Deposit, Foreign, Held, ImageFault, LaneFault, Series, Stored
from comfyledger_folder.disk import PIECE_BYTES
from support.folder_store import NAME, Bench

LONG = f"{'é' * 101}_"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def ours(deposit: Deposit) -> Held:
    return Held(NAME, deposit.extension, deposit.size_bytes, deposit.md5, deposit.sha256, deposit.image_id)


@pytest.mark.parametrize("extension", ["mp4", "webm", "flac", "glb", "gltf", "exr", "bin", "txt", "x1234567", "7z"])
async def test_a_file_with_any_extension_goes_all_ways(bench: Bench, tmp_path: Path, extension: str) -> None:
    deposit = bench.deposit(extension=extension)
    assert isinstance(await bench.store.put(deposit), Stored)
    again = await bench.opened().put(deposit)
    assert isinstance(again, Stored)
    assert again.replayed
    assert bench.files() == {f"{NAME}.{extension}": b"ours"}
    held = await bench.store.check(NAME, extension)
    assert held is not None
    assert (held.public_id, held.extension, held.md5) == (NAME, extension, deposit.md5)
    assert [(one.public_id, one.extension) for one in (await bench.store.page("Areg")).held] == [(NAME, extension)]
    target = tmp_path / "target"
    target.touch()
    await bench.store.fetch(NAME, extension, target)
    assert target.read_bytes() == b"ours"
    assert await bench.store.delete(ours(deposit)) == Deleted(found=True)
    assert bench.files() == {}


@pytest.mark.parametrize(
    ("there", "extension"),
    [
        *(("jpg", "png"), ("WEBP", "png"), ("mov", "mp4"), ("M4V", "mp4"), ("mp3", "flac"), ("obj", "glb")),
        *(("mp4", "mp4"), ("TXT", "txt"), ("x9", "x9")),
    ],
)
async def test_another_extension_of_one_medium_is_a_collision(bench: Bench, there: str, extension: str) -> None:
    bench.place(f"{NAME}.{there}")
    for store in (bench.store, bench.opened()):
        outcome = await store.put(bench.deposit(extension=extension))
        assert isinstance(outcome, ImageFault)
        assert outcome.code == "collision"
    assert bench.files() == {f"{NAME}.{there}": b"foreign"}


@pytest.mark.parametrize(
    ("there", "extension"),
    [
        *(("mp4", "png"), ("png", "mp4"), ("mp4", "flac"), ("glb", "png"), ("txt", "png"), ("json", "txt")),
        *(("txt", "mp4"), ("x9", "x8"), ("unknown-and-long", "bin")),
    ],
)
async def test_files_of_two_media_share_a_name(bench: Bench, there: str, extension: str) -> None:
    bench.place(f"{NAME}.{there}")
    deposit = bench.deposit(extension=extension)
    assert isinstance(await bench.store.put(deposit), Stored)
    assert bench.files() == {f"{NAME}.{there}": b"foreign", f"{NAME}.{extension}": b"ours"}
    assert await bench.store.delete(ours(deposit)) == Deleted(found=True)
    assert bench.files() == {f"{NAME}.{there}": b"foreign"}


async def test_a_strangers_video_is_not_deleted(bench: Bench) -> None:
    bench.place(f"{NAME}.mp4")
    assert isinstance(await bench.store.delete(ours(bench.deposit(extension="mp4"))), Foreign)
    assert bench.files() == {f"{NAME}.mp4": b"foreign"}


async def test_numbers_of_every_medium_are_counted(bench: Bench) -> None:
    series = Series("Areg/models", "model_")
    for number, extension in enumerate(("glb", "mp4", "FLAC", "x9", "tar.gz", "png"), 1):
        bench.place(f"Areg/models/model_{number}.{extension}")
        assert await bench.store.highest_number(series) == number


async def test_the_longest_name_fits_with_every_extension_and_its_temporary(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stem of 202 bytes, as names are cut, 15 digits, a dot and 8 letters."""
    name = f"a/{LONG[:-1]}{'1' * 15}"
    assert len(LONG[:-1].encode()) == 202
    assert isinstance(await bench.put(public_id=name, extension="x1234567"), Stored)
    assert list(bench.files()) == [f"{name}.x1234567"]


async def test_the_time_for_a_call_grows_with_its_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.store, "_timeout_s", 0.0)
    outcome = await bench.put(b"x" * 1_000)
    assert isinstance(outcome, LaneFault)
    assert outcome.code == "not_reached"
    monkeypatch.setattr(comfyledger_folder.store, "LEAST_BYTES_S", 100)
    assert isinstance(await bench.put(b"x" * 1_000), Stored)


async def test_memory_stays_flat_whatever_the_size(bench: Bench, tmp_path: Path) -> None:
    """A sparse file of 64 MB."""
    path, size = tmp_path / "sparse", 64_000_000
    with path.open("wb") as file:
        file.truncate(size)
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, "md5").hexdigest()
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    deposit = Deposit("B1/1", NAME, "mp4", path, sha256, md5, size, first_attempt=True)
    target = tmp_path / "target"
    target.touch()
    tracemalloc.start()
    try:
        assert isinstance(await bench.store.put(deposit), Stored)
        assert isinstance(await bench.store.put(deposit), Stored)
        await bench.store.fetch(NAME, "mp4", target)
        assert await bench.store.delete(ours(deposit)) == Deleted(found=True)
        assert tracemalloc.get_traced_memory()[1] < 8 * PIECE_BYTES
    finally:
        tracemalloc.stop()
    assert target.stat().st_size == size
