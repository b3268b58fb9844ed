"""What a put remembers of folders is never other than what lies in them, and costs one listing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import comfyledger_folder.names
from comfyledger.plugin_api import Deposit, ImageFault, Stored
from comfyledger_folder.disk import Disk, _keys_of
from comfyledger_folder.names import Folder


def deposit(folder: Path, number: int) -> Deposit:
    source = folder / "source.png"
    source.write_bytes(b"ours")
    md5 = "abdc793c700a0f9110566c092398985f"
    return Deposit(f"b/{number}", f"a/x_{number}", "png", source, "0" * 64, md5, 4, first_attempt=True)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "root", tmp_path / "state")


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    times: list[object] = []
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: (times.append(path), real(path))[1])
    return lambda: len(times)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is synced: what comes next comes at once, often within a tick of the clock."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def test_a_folder_that_only_we_change_is_listed_once(disk: Disk, tmp_path: Path, listed: Callable[[], int]) -> None:
    for number in range(1, 200):
        assert isinstance(disk.put(deposit(tmp_path, number)), Stored)
    assert listed() == 1


@pytest.mark.parametrize("name", ["X_{}.png", "x_{}.jpg"])
def test_what_somebody_puts_there_right_after_us_is_seen(disk: Disk, tmp_path: Path, name: str) -> None:
    """Again and again, so that some fall into the tick of the clock in which we changed the folder last."""
    for number in range(1, 200, 2):
        assert isinstance(disk.put(deposit(tmp_path, number)), Stored)
        (tmp_path / "root" / "a" / name.format(number + 1)).write_bytes(b"theirs")
        outcome = disk.put(deposit(tmp_path, number + 1))
        assert isinstance(outcome, ImageFault)
        assert outcome.code == "collision"


def test_a_folder_spelled_otherwise_that_comes_right_after_us_is_seen(disk: Disk, tmp_path: Path) -> None:
    assert isinstance(disk.put(deposit(tmp_path, 1)), Stored)
    (tmp_path / "root" / "A").mkdir()
    (tmp_path / "root" / "A" / "x_2.png").write_bytes(b"theirs")
    assert isinstance(disk.put(deposit(tmp_path, 2)), ImageFault)


@pytest.mark.parametrize("trouble", ["refused", "coarse"])
def test_a_folder_whose_time_cannot_be_set_is_listed_each_time(
    disk: Disk, tmp_path: Path, listed: Callable[[], int], monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    def utime(path: Path, ns: tuple[int, int]) -> None:
        if trouble == "refused":
            raise PermissionError(errno.EPERM, "not the owner")
        real(path, ns=(ns[0] // 10**9 * 10**9,) * 2)

    real = os.utime
    monkeypatch.setattr(os, "utime", utime)
    for number in range(1, 11):
        assert isinstance(disk.put(deposit(tmp_path, number)), Stored)
    assert listed() == 10


def test_a_change_of_theirs_during_ours_is_not_taken_for_ours(tmp_path: Path) -> None:
    folder = Folder(tmp_path, _keys_of)
    assert not folder.may_hold("theirs")
    (tmp_path / "theirs.png").touch()
    with folder.changing("ours"):
        (tmp_path / "ours.png").touch()
    assert folder.may_hold("theirs")


def test_more_names_than_can_be_remembered_are_looked_at_each_time(
    tmp_path: Path, listed: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comfyledger_folder.names, "NAMES_MAX", 3)
    folder = Folder(tmp_path, _keys_of)
    for number in range(5):
        assert not folder.may_hold("x")
        with folder.changing(f"x_{number}"):
            (tmp_path / f"x_{number}.png").touch()
    assert listed() > 1
