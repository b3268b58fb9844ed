"""No temporary of the folder store stays, whatever ended its put; and nothing of anybody else is taken for one."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import comfyledger_folder.disk
from comfyledger.plugin_api import LaneFault, Stored
from comfyledger_folder.leftovers import Remains
from support.folder_store import NAME, Bench

FOLDER = NAME.rpartition("/")[0]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def kept_times(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (root, *root.rglob("*")) if path.is_dir()}


@pytest.mark.parametrize("step", ["copy", "link"])
@pytest.mark.parametrize("then", ["the same image", "another image"])
async def test_a_root_that_goes_and_comes_back_in_a_put_keeps_no_temporary(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str, then: str
) -> None:
    await bench.put(b"first", f"{FOLDER}/a_1")
    away = bench.root.with_name("away")
    real: Any = comfyledger_folder.disk._copy if step == "copy" else os.link

    def goes(*args: Any, **kwargs: Any) -> None:
        if step == "link":
            real(*args, **kwargs)
        bench.root.rename(away)
        if step == "copy":
            real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(*((comfyledger_folder.disk, "_copy") if step == "copy" else (os, "link")), goes)
        assert isinstance(await bench.put(), LaneFault)
    away.rename(bench.root)
    assert any(name.startswith(f"{FOLDER}/.comfyledger-") for name in bench.files()), "the test has lost its point"
    outcome = await (bench.put() if then == "the same image" else bench.put(b"other", f"{FOLDER}/a_2"))
    assert isinstance(outcome, Stored)
    assert not [name for name in bench.files() if "/.comfyledger-" in name]


def temporary(bench: Bench, home: str, pid: int, folder: str = "x/y") -> Path:
    return bench.place(f"{folder}/.comfyledger-0123456789abcdef-{home}{pid}-1")


def dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def swept(bench: Bench) -> None:
    bench.store._disk.sweep()
    assert bench.store._disk.is_swept


async def test_what_a_process_that_died_left_goes_at_the_next_start(bench: Bench) -> None:
    await bench.put()
    home = Remains(bench.root, bench.state).home()
    ours = [temporary(bench, home, dead_pid()), temporary(bench, home, os.getpid(), "x"), temporary(bench, home, 0, "")]
    foreign = [
        temporary(bench, "00000000-", dead_pid()),
        temporary(bench, home, os.getppid()),
        temporary(bench, "", dead_pid()),
        bench.place(f"x/.comfyledger-0123456789abcdef-{home}7-1.png"),
        bench.place(f"x/.comfyledger-0123456789ABCDEF-{home}7-1"),
        bench.place("x/.comfyledger-notes"),
        bench.place("x/.comfyledger-0123456789abcdef.claim"),
    ]
    swept(bench)
    assert [path for path in ours if path.exists() and path.name.split("-")[-2] != "0"] == []
    assert all(path.exists() for path in foreign)
    assert f"{NAME}.png" in bench.files()


async def test_what_an_earlier_release_left_goes_after_a_day(bench: Bench) -> None:
    await bench.put()
    old, young = temporary(bench, "", 7), temporary(bench, "", 8)
    os.utime(old, (time.time() - 90_000,) * 2)
    swept(bench)
    assert (old.exists(), young.exists()) == (False, True)


async def test_a_link_is_neither_removed_nor_followed(bench: Bench, tmp_path: Path) -> None:
    await bench.put()
    home = Remains(bench.root, bench.state).home()
    outside = tmp_path / "outside"
    outside.mkdir()
    kept = outside / f".comfyledger-0123456789abcdef-{home}1-1"
    kept.touch()
    (bench.root / "out").symlink_to(outside)
    link = bench.root / f".comfyledger-0123456789abcdef-{home}{dead_pid()}-2"
    link.symlink_to(kept)
    swept(bench)
    assert kept.exists()
    assert link.is_symlink()


async def test_a_root_that_is_away_at_the_start_is_swept_when_it_is_back(bench: Bench) -> None:
    await bench.put()
    left = temporary(bench, Remains(bench.root, bench.state).home(), dead_pid())
    away = bench.root.rename(bench.root.with_name("away"))
    bench.store = bench.opened()
    await bench.store.prepare()
    assert isinstance(await bench.put(), LaneFault)
    away.rename(bench.root)
    deadline = time.monotonic() + 20
    while left.exists():
        assert time.monotonic() < deadline
        assert isinstance(await bench.put(), Stored)


async def test_a_put_that_is_under_way_keeps_its_temporary(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.link
    other = bench.opened()

    def link(*args: Any) -> None:
        other._disk.sweep()
        real(*args)

    monkeypatch.setattr(os, "link", link)
    assert isinstance(await bench.put(), Stored)
    assert list(bench.files()) == [f"{NAME}.png"]


async def test_a_state_folder_that_cannot_be_written_stops_no_put(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.put()
    shutil.rmtree(bench.state)
    Remains(bench.root, bench.state)
    monkeypatch.setattr("comfyledger_folder.leftovers._home_of", lambda path: "")
    assert isinstance(await bench.put(b"other", f"{FOLDER}/a_2"), Stored)
