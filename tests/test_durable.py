"""A file is in its place whole and durable, or what was there is untouched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from comfyledger import durable


def nothing(fd: int) -> None:
    """The file keeps its owner and mode."""


def test_a_file_is_synced_before_its_name_and_the_folder_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd)))
    monkeypatch.setattr(Path, "replace", lambda old, new: (done.append("renamed"), replace(old, new)))
    durable.write_whole(tmp_path / "token", b"new", nothing)
    assert done == [str(tmp_path / f".token.{os.getpid()}"), "renamed", str(tmp_path)]
    assert (tmp_path / "token").read_bytes() == b"new"


def test_the_owner_alone_may_read_a_file_unless_prepare_says_otherwise(tmp_path: Path) -> None:
    durable.write_whole(tmp_path / "token", b"new", nothing)
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    durable.write_whole(tmp_path / "token", b"new", lambda fd: os.fchmod(fd, 0o640))
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o640


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_bytes(b"old")

    def failing(fd: int) -> None:
        raise OSError(5, "the disk failed")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="the disk failed"):
        durable.write_whole(tmp_path / "token", b"new", nothing)
    assert [one.name for one in tmp_path.iterdir()] == ["token"]
    assert (tmp_path / "token").read_bytes() == b"old"
