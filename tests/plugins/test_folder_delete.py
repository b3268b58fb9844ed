"""Laws of deleting from a folder: what is ours goes, whatever its case; what is not ours is never touched."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from comfyledger.plugin_api import Deleted, Deposit, Foreign, Held, LaneFault
from comfyledger_folder.store import FolderStore

FOLDER = "Areg/characters/opal-fever/images"
NAME = f"{FOLDER}/Areg_opal-fever_image_1"


def ours(content: bytes = b"ours", public_id: str = NAME) -> Held:
    md5, sha256 = (hashlib.new(name, content).hexdigest() for name in ("md5", "sha256"))
    return Held(public_id, "png", len(content), md5, sha256, "B1/1")


class Bench:
    """A store that holds one image of ours."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "store"
        self.spool = folder / "spool"
        self.spool.write_bytes(b"ours")
        self.store = FolderStore.open("main", {"root": str(self.root)}, folder / "state")

    async def put(self) -> None:
        held = ours()
        await self.store.put(Deposit("B1/1", NAME, "png", self.spool, held.sha256, held.md5, held.size_bytes, True))

    def place(self, path: str, content: bytes = b"foreign") -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(content)

    def files(self) -> dict[str, bytes]:
        found = (path for path in self.root.rglob("*") if path.is_file() and path.name != ".comfyledger")
        return {str(path.relative_to(self.root)): path.read_bytes() for path in found}


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    await made.put()
    return made


async def test_what_is_ours_goes_and_its_neighbours_stay(bench: Bench) -> None:
    neighbours = [f"{NAME}0.png", f"{NAME}.txt", f"{FOLDER}/notes.png", f"{NAME}.webp"]
    for path in neighbours:
        bench.place(path)
    assert await bench.store.delete(ours()) == Deleted(found=True)
    assert set(bench.files()) == set(neighbours)


async def test_what_is_not_there_counts_as_deleted(bench: Bench) -> None:
    assert await bench.store.delete(ours()) == Deleted(found=True)
    assert await bench.store.delete(ours()) == Deleted(found=False)
    assert await bench.store.delete(ours(public_id="nobody/nothing")) == Deleted(found=False)


async def test_other_bytes_under_the_name_are_left(bench: Bench) -> None:
    bench.place(f"{NAME}.png", b"drawn over by hand")
    assert isinstance(await bench.store.delete(ours()), Foreign)
    assert bench.files() == {f"{NAME}.png": b"drawn over by hand"}


async def test_ours_is_found_however_its_case_is_spelled(bench: Bench) -> None:
    (bench.root / f"{NAME}.png").rename(bench.root / FOLDER / "AREG_Opal-Fever_image_1.PNG")
    assert await bench.store.delete(ours()) == Deleted(found=True)
    assert bench.files() == {}


async def test_a_link_under_the_name_is_not_ours(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"ours")
    (bench.root / f"{NAME}.png").unlink()
    (bench.root / f"{NAME}.png").symlink_to(tmp_path / "elsewhere")
    assert isinstance(await bench.store.delete(ours()), Foreign)
    assert (tmp_path / "elsewhere").read_bytes() == b"ours"


async def test_what_an_upload_that_was_cut_off_left_goes_as_well(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.root / f"{NAME}.png").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        patch.setattr(os, "link", killed)
        with pytest.raises(KeyboardInterrupt):
            bench.store._disk.put(deposit_of(bench))
    assert list(bench.files().values()) == [b"ours"]
    assert await bench.store.delete(ours()) == Deleted(found=False)
    assert bench.files() == {}


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def deposit_of(bench: Bench) -> Deposit:
    held = ours()
    return Deposit("B1/1", NAME, "png", bench.spool, held.sha256, held.md5, held.size_bytes, True)


async def test_an_absent_disk_is_trouble_and_not_an_empty_one(bench: Bench) -> None:
    bench.root.rename(bench.root.with_name("unmounted"))
    bench.root.mkdir()
    outcome = await bench.store.delete(ours())
    assert isinstance(outcome, LaneFault)
    assert outcome.code == "not_reached"


async def test_a_disk_that_will_not_is_trouble(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", read_only)
    outcome = await bench.store.delete(ours())
    assert isinstance(outcome, LaneFault)
    assert outcome.code == "configuration"
