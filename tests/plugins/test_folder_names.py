"""What a put remembers of folders is never other than what lies in them, and costs one listing."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import comfyledger_folder.names
from comfyledger.plugin_api import Deposit, ImageFault, Stored
from comfyledger_folder.disk import Disk, _keys_of
from comfyledger_folder.names import Folder, Names, Paths


def deposit(folder: Path, number: int) -> Deposit:
    source = folder / "source.png"
    source.write_bytes(b"ours")
    sha256, md5 = (hashlib.new(kind, b"ours").hexdigest() for kind in ("sha256", "md5"))
    return Deposit(f"b/{number}", f"a/x_{number}", "png", source, sha256, md5, 4, first_attempt=True)


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


@pytest.mark.parametrize(("ctime_ns", "settles_ns"), [(10**18 + 123_456, 10**8), (10**18 + 5_000_000, 25 * 10**8)])
def test_what_may_change_within_the_same_tick_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ctime_ns: int, settles_ns: int
) -> None:
    """A clock that shows no parts of a millisecond may tick every other second."""
    folders, now_ns = [tmp_path, tmp_path / "a"], [0]
    paths = Paths(lambda: now_ns[0])
    monkeypatch.setattr(paths, "state_of", lambda _: ((1, 2, ctime_ns),))
    for passed_ns, is_settled in ((settles_ns, False), (settles_ns + 1, True)):
        now_ns[0] = ctime_ns + passed_ns
        paths.remember(folders[-1], paths.state_of(folders))
        assert paths.hold(folders) == is_settled


def test_the_names_of_the_folders_that_were_used_last_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comfyledger_folder.names, "NAMES_MAX", 10)
    monkeypatch.setattr(comfyledger_folder.names, "CALLS", 1)
    names, places = Names(_keys_of), [tmp_path / str(number) for number in range(20)]
    for place in places:
        place.mkdir()
        with names.of(place).changing("one"):
            (place / "one").touch()
    names.of(places[-1])
    assert list(names._folders) == places[-10:]


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
