"""The bytes of an image for reading: those that were pinned, however often a player asks for pieces of a video."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from comfyledger.core.rows import ImageRow
from comfyledger.errors import Refused
from comfyledger.workers import file_source
from comfyledger.workers.file_source import FileSource
from comfyledger.workers.spool.spool import Spool

BODY = b"a video of a thousand bytes" * 40


class NoStores:
    """A reader that knows no batch, so that the spool alone can have the file."""

    async def batch(self, batch_id: str) -> None:
        return None


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = Spool(tmp_path / "spool").path_of("B1", 1, "mp4")
    path.parent.mkdir()
    path.write_bytes(BODY)
    return path


@pytest.fixture
def source(tmp_path: Path) -> FileSource:
    return FileSource({}, NoStores(), Spool(tmp_path / "spool"))  # type: ignore[arg-type]


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose bytes are compared."""
    names: list[str] = []

    def digest(file: Any, kind: str) -> Any:
        names.append(file.name)
        return hashlib.sha256(file.read())

    monkeypatch.setattr(file_source.hashlib, "file_digest", digest)
    return names


def row(size_bytes: int = len(BODY)) -> ImageRow:
    sha256 = hashlib.sha256(BODY).hexdigest()
    return ImageRow("B1", 1, 1, "f", "n_1", 1, "areg", "kept", sha256=sha256, size_bytes=size_bytes, extension="mp4")


async def read(source: FileSource) -> bytes:
    async with source.open(row()) as file:
        return file.read()


async def test_a_large_file_is_compared_once(
    source: FileSource, place: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [await read(source) for _ in range(2)] == [BODY, BODY]
    assert len(hashed) == 2, "a small one each time"
    monkeypatch.setattr(file_source, "LARGE_BYTES", 100)
    assert [await read(source) for _ in range(3)] == [BODY] * 3
    assert len(hashed) == 3


@pytest.mark.parametrize("change", ["written", "replaced"])
async def test_a_large_file_that_was_changed_is_not_returned(
    source: FileSource, place: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(file_source, "LARGE_BYTES", 100)
    assert await read(source) == BODY
    before = place.stat()
    other = place if change == "written" else place.with_name("other")
    while (now := other.stat() if other.exists() else before).st_ctime_ns == before.st_ctime_ns:
        other.write_bytes(BODY[::-1])  # The clock of a file system may stand still for some milliseconds.
    other.replace(place)
    assert now.st_size == before.st_size
    with pytest.raises(Refused):
        await read(source)


async def test_no_more_files_are_remembered_than_there_may_be(
    source: FileSource, place: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_source, "LARGE_BYTES", 100)
    monkeypatch.setattr(file_source, "COMPARED_MAX", 2)
    for _ in range(5):
        place.touch()
        assert await read(source) == BODY
    assert len(source._compared) == 2
