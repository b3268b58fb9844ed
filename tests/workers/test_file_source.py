"""The bytes of an image for reading: those that were pinned, however often a player asks for pieces of a video."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from comfyledger.core.rows import ImageRow, Upload
from comfyledger.core.values import StoreRef
from comfyledger.errors import Refused
from comfyledger.plugin_api import Held
from comfyledger.plugins import OpenedStore
from comfyledger.workers import file_source
from comfyledger.workers.file_source import FileSource
from comfyledger.workers.spool.spool import Spool
from support.waiting import until

BODY = b"a video of a thousand bytes" * 40


class NoStores:
    """A reader that knows no batch, so that the spool alone can have the file."""

    async def batch(self, batch_id: str) -> None:
        return None


class OneStore:
    """A reader of a batch with a store, and that store, which counts how often it is fetched from."""

    identity = "here"

    def __init__(self, body: bytes = BODY) -> None:
        self.body, self.fetched = body, 0
        self.opened = OpenedStore("folder", "folder", "here", store=self)  # type: ignore[arg-type]

    async def batch(self, batch_id: str) -> Any:
        return SimpleNamespace(stores=(StoreRef("folder", "here"),))

    async def check(self, public_id: str, extension: str) -> Held:
        return Held(public_id, extension, len(self.body))

    async def fetch(self, public_id: str, extension: str, target: Path) -> None:
        self.fetched += 1
        target.write_bytes(self.body)

    def source(self, tmp_path: Path) -> FileSource:
        return FileSource({"folder": self.opened}, self, Spool(tmp_path / "spool"))  # type: ignore[arg-type]


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


class SigningStore(OneStore):
    """Signs addresses of what it has, and says with what it was asked."""

    async def file_url(self, url: str) -> str:
        return f"https://signed.example/{url.removeprefix('s3://')}?signature=1" if url.startswith("s3://") else ""


async def test_a_store_that_signs_is_asked_for_an_address(tmp_path: Path, source: FileSource) -> None:
    def stored(url: str, state: Any = "stored") -> ImageRow:
        return msgspec.structs.replace(row(), uploads=(Upload("folder", state, url=url),))

    signing = SigningStore().source(tmp_path)
    assert await signing.address(stored("s3://images/a.mp4")) == "https://signed.example/images/a.mp4?signature=1"
    assert await signing.address(stored("https://cdn.example/a.mp4")) == "https://cdn.example/a.mp4"
    assert await signing.address(stored("gs://images/a.mp4")) == ""
    assert await signing.address(stored("s3://images/a.mp4", "owed")) == ""
    assert await OneStore().source(tmp_path).address(stored("s3://images/a.mp4")) == "", "it cannot sign"
    assert await source.address(stored("s3://images/a.mp4")) == "", "there is no such store"


async def test_what_the_spool_has_needs_no_address(tmp_path: Path, place: Path) -> None:
    signed = msgspec.structs.replace(row(), uploads=(Upload("folder", "stored", url="s3://images/a.mp4"),))
    assert await SigningStore().source(tmp_path).address(signed) == ""


def row(body: bytes = BODY) -> ImageRow:
    sha256, uploads = hashlib.sha256(body).hexdigest(), (Upload("folder", "stored"),)
    return ImageRow("B1", 1, 1, "f", "n_1", 1, "areg", "stored", uploads, sha256, "", len(body), extension="mp4")


async def read(source: FileSource, body: bytes = BODY) -> bytes:
    async with source.open(row(body)) as file:
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


async def test_a_large_copy_is_made_once_for_readers_that_come_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_source, "LARGE_BYTES", 100)
    store = OneStore()
    source = store.source(tmp_path)
    assert await asyncio.gather(*(read(source) for _ in range(3))) == [BODY] * 3
    async with source.open(row()) as first, source.open(row()) as second:
        assert (first.read(7), second.read()) == (BODY[:7], BODY), "each reader has a place of its own"
    assert store.fetched == 1


async def test_a_copy_ends_after_its_time_and_when_others_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_source, "LARGE_BYTES", 100)
    store = OneStore()
    source = store.source(tmp_path)
    for body in (BODY, BODY + b"2", BODY + b"3", BODY):
        store.body = body
        assert await read(source, body) == body
    assert store.fetched == 4
    monkeypatch.setattr(file_source, "KEPT_S", 0.0)
    assert await read(source) == BODY
    await until(lambda: source._kept.find(row().sha256) is None, "the copy is closed")
    monkeypatch.setattr(file_source, "KEPT_S", 60.0)
    before = store.fetched
    assert [await read(source) for _ in range(2)] == [BODY] * 2
    assert store.fetched == before + 1


async def test_a_small_copy_is_deleted_with_its_reader(tmp_path: Path) -> None:
    store = OneStore()
    source = store.source(tmp_path)
    assert [await read(source) for _ in range(2)] == [BODY] * 2
    assert store.fetched == 2


async def test_a_copy_with_other_bytes_is_neither_returned_nor_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_source, "LARGE_BYTES", 100)
    store = OneStore(BODY[::-1])
    source = store.source(tmp_path)
    for _ in range(2):
        with pytest.raises(Refused):
            await read(source)
    assert store.fetched == 2
