"""Laws of the recorder and of the models, on records of a few calls."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from crash_images import recorder
from crash_images.models import Disk, Image, Model, everything, last_write_torn, some_of_the_rest, synced_only
from crash_images.recorder import Kind, Record

HERE = Path(__file__).parent

EVERY_CALL = """
import os, sys
root = sys.argv[1]
os.chdir(root)
os.mkdir("folder")
at = os.open("folder", os.O_RDONLY)
file = os.open("a", os.O_RDWR | os.O_CREAT)
os.write(file, b"first words")
os.pwrite(file, b"F", 0)
os.writev(file, [b"", b" and more"])
os.pwritev(file, [b"", b"RS"], 2)
os.ftruncate(file, 9)
os.fsync(file)
os.truncate("a", 30)
os.fdatasync(file)
with open("a", "ab") as appended:
    appended.write(b"the end")
other = os.open("b", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, dir_fd=at)
os.write(other, b"other")
with open("folder/b", "wb") as again:
    again.write(b"again")
os.fsync(at)
os.link("a", root + "/folder/linked")
os.rename("folder/b", "c", src_dir_fd=None)
os.replace("c", "d")
os.rename("linked", "moved", src_dir_fd=at, dst_dir_fd=at)
os.mkdir("deep", dir_fd=at)
os.rmdir("folder/deep")
os.unlink("moved", dir_fd=at)
with open(root + "/e", "w") as text:
    text.write("x")
os.remove("e")
"""


def made(*records: Record) -> Disk:
    disk = Disk()
    for record in records:
        disk.take(record)
    return disk


def create(path: str, inode: int = 1) -> Record:
    return Record(Kind.CREATE, path, "", inode, 0, b"")


def write(content: bytes, offset: int = 0, inode: int = 1) -> Record:
    return Record(Kind.WRITE, "", "", inode, offset, content)


def sync(inode: int = 1) -> Record:
    return Record(Kind.SYNC_FILE, "", "", inode, 0, b"")


def named(kind: Kind, path: str, other: str = "") -> Record:
    return Record(kind, path, other, 0, 0, b"")


SYNC_ROOT = named(Kind.SYNC_FOLDER, "")
NO_CHANCE = random.Random(1)


def images_of_chance(disk: Disk, model: Model = some_of_the_rest) -> list[Image]:
    return [model(disk, random.Random(seed)) for seed in range(300)]


def test_every_call_that_changes_a_file_or_a_name_is_recorded(tmp_path: Path) -> None:
    if recorder.compiler() is None:
        pytest.skip("no C compiler (cc or gcc): the recorder of crash images cannot be built")
    root = tmp_path / "root"
    root.mkdir()
    program = [sys.executable, "-c", EVERY_CALL, str(root)]
    records = recorder.recorded(recorder.compiled(tmp_path), program, root, tmp_path / "log", HERE.parent)
    assert {record.kind for record in records} == set(Kind) - {Kind.NOTE}
    assert everything(made(*records), NO_CHANCE) == {
        "folder": None,
        "a": (root / "a").read_bytes(),
        "d": b"again",
    }
    assert (root / "a").read_bytes() == b"FiRSt wor" + bytes(21) + b"the end"
    assert {path.name for path in root.iterdir()} == {"folder", "a", "d"}


def test_a_file_without_a_synced_name_is_gone() -> None:
    disk = made(create("a"), write(b"x"), sync())
    assert synced_only(disk, NO_CHANCE) == {}
    assert everything(disk, NO_CHANCE) == {"a": b"x"}


def test_a_name_without_synced_bytes_is_an_empty_file() -> None:
    assert synced_only(made(create("a"), write(b"x"), SYNC_ROOT), NO_CHANCE) == {"a": b""}


def test_a_sync_of_a_folder_does_not_sync_the_name_of_the_folder() -> None:
    disk = made(named(Kind.MKDIR, "f"), create("f/a"), named(Kind.SYNC_FOLDER, "f"))
    assert synced_only(disk, NO_CHANCE) == {}
    disk.take(SYNC_ROOT)
    assert synced_only(disk, NO_CHANCE) == {"f": None, "f/a": b""}


def test_a_rename_and_an_unlink_are_undone_until_the_folder_is_synced() -> None:
    disk = made(create("a"), create("b", 2), SYNC_ROOT, named(Kind.RENAME, "a", "c"), named(Kind.UNLINK, "b"))
    assert set(synced_only(disk, NO_CHANCE)) == {"a", "b"}
    disk.take(SYNC_ROOT)
    assert set(synced_only(disk, NO_CHANCE)) == {"c"}


def test_a_rename_within_a_folder_comes_whole_or_not_at_all() -> None:
    disk = made(create("a"), SYNC_ROOT, named(Kind.RENAME, "a", "b"))
    assert {tuple(image) for image in images_of_chance(disk)} == {("a",), ("b",)}


def test_of_the_rest_any_change_may_be_missing_whatever_came_after_it() -> None:
    disk = made(create("a"), SYNC_ROOT, write(b"1"), write(b"2", 1), write(b"3", 2))
    seen = {image["a"] for image in images_of_chance(disk)}
    assert seen == {b"", b"1", b"\x002", b"12", b"\x00\x003", b"1\x003", b"\x0023", b"123"}


def test_what_was_synced_is_in_every_image() -> None:
    disk = made(create("a"), write(b"kept"), sync(), SYNC_ROOT, write(b"K"), create("b", 2))
    assert {image["a"] for image in images_of_chance(disk)} == {b"kept", b"Kept"}


def test_the_last_write_alone_is_torn_and_only_while_it_is_not_synced() -> None:
    disk = made(create("a"), write(b"one"), create("b", 2), write(b"two", 0, 2))
    torn = images_of_chance(disk, last_write_torn)
    assert {image["a"] for image in torn} == {b"one"}
    assert {image["b"] for image in torn} == {b"", b"t", b"tw"}
    disk.take(sync(2))
    assert last_write_torn(disk, NO_CHANCE) == {"a": b"one", "b": b"two"}


def test_a_new_file_with_the_inode_of_an_old_one_is_another_file() -> None:
    disk = made(create("a"), write(b"old"), named(Kind.LINK, "a", "b"), named(Kind.UNLINK, "a"), create("a"))
    disk.take(write(b"new"))
    assert everything(disk, NO_CHANCE) == {"a": b"new", "b": b"old"}
