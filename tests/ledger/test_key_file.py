"""The file with the wrapping keys of a box: what it holds after each write, also after one that was cut short."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from comfyledger.ledger.shared.key_file import KeyFile, carried, read_carried

FIRST, SECOND = bytes(range(32)), bytes(range(32, 64))


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "fleet.keys")


def test_keys_are_for_their_owner_alone(file: KeyFile) -> None:
    assert file.read() == {}
    file.add(1, FIRST)
    file.add(2, SECOND)
    assert file.read() == {1: FIRST, 2: SECOND}
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_a_destroyed_key_is_nowhere_in_the_file(file: KeyFile) -> None:
    file.add(1, FIRST)
    inode = file.path.stat().st_ino
    file.add(2, SECOND)
    file.destroy_below(2)
    assert file.read() == {2: SECOND}
    assert FIRST.hex().encode() not in file.path.read_bytes()
    assert file.path.stat().st_ino == inode, "it is overwritten where it is"


def test_the_file_does_not_grow_with_each_generation(file: KeyFile) -> None:
    file.add(1, FIRST)
    for generation in range(2, 40):
        file.add(generation, bytes([generation]) * 32)
        file.destroy_below(generation)
    assert file.read() == {39: bytes([39]) * 32}
    assert len(file.path.read_bytes()) == 2 * len(_one(file))


def _one(file: KeyFile) -> bytes:
    return file.path.read_bytes().splitlines(keepends=True)[0]


def test_a_write_that_was_cut_short_harms_no_other_key(file: KeyFile) -> None:
    file.add(1, FIRST)
    before = file.path.read_bytes()
    file.add(2, SECOND)
    whole = file.path.read_bytes()
    for length in range(len(before), len(whole)):
        file.path.write_bytes(whole[:length])
        assert file.read() == {1: FIRST}
        file.add(2, SECOND)
        file.destroy_below(2)
        assert file.read() == {2: SECOND}


def test_a_destruction_that_was_cut_short_is_finished_by_the_next(file: KeyFile) -> None:
    file.add(1, FIRST)
    file.add(2, SECOND)
    with file.path.open("r+b") as opened:
        os.pwrite(opened.fileno(), b"0" * 40, 0)
    assert FIRST.hex()[40:].encode() in file.path.read_bytes(), "a part of the key is there"
    assert file.read() == {2: SECOND}
    file.destroy_below(2)
    assert FIRST.hex()[40:].encode() not in file.path.read_bytes()
    assert file.read() == {2: SECOND}


def test_a_first_key_replaces_those_of_another_fleet(file: KeyFile) -> None:
    file.add(6, FIRST)
    file.add(7, FIRST)
    file.begin_anew(1, SECOND)
    assert file.read() == {1: SECOND}
    assert FIRST.hex().encode() not in file.path.read_bytes()


def test_a_key_that_was_not_copied_whole_is_none(file: KeyFile) -> None:
    line = carried(3, FIRST)
    assert read_carried(f" {line}\n") == (3, FIRST)
    changed = line.replace("0001", "0002", 1)
    for text in ("", line[:-1], line[1:], changed, line.replace(":3:", ":4:"), line.replace(":3:", ":x:")):
        with pytest.raises(ValueError):
            read_carried(text)
