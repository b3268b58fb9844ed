"""Laws of the folder store: it never replaces, never half writes, and never takes an absent disk for an empty one."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import comfyledger_folder.disk
import comfyledger_folder.pages
from comfyledger.plugin_api import (
    Deposit,
    Held,
    ImageFault,
    LaneFault,
    Series,
    Store,
    Stored,
    StoreTrouble,
)
from comfyledger_folder.disk import Disk, rename_noreplace
from comfyledger_folder.names import SETTLED_NS, Paths
from comfyledger_folder.root import Root
from comfyledger_folder.store import FolderStore, comfyledger_stores
from support.folder_store import NAME, SERIES, Bench
from support.waiting import DEADLINE_S


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def failing(number: int) -> Callable[..., Any]:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def no_links(patch: pytest.MonkeyPatch, number: int = errno.EPERM) -> None:
    patch.setattr(os, "link", failing(number))


def no_renames(patch: pytest.MonkeyPatch, number: int = errno.EINVAL) -> None:
    no_links(patch)
    patch.setattr(comfyledger_folder.disk, "rename_noreplace", failing(number))


@pytest.fixture(params=["link", "rename", "claim"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    {"link": lambda patch: None, "rename": no_links, "claim": no_renames}[request.param](monkeypatch)
    return str(request.param)


# opening


def test_the_hook_brings_the_kind_folder(tmp_path: Path) -> None:
    store: Store = comfyledger_stores()["folder"]("main", {"root": str(tmp_path / "r")}, tmp_path)
    assert store.identity == f"folder:{tmp_path.resolve() / 'r'}"


def test_opening_touches_no_disk(bench: Bench) -> None:
    assert not bench.root.exists()
    assert not bench.state.exists()


def test_two_ways_to_one_root_are_one_place(bench: Bench, tmp_path: Path) -> None:
    bench.root.mkdir(parents=True)
    (tmp_path / "other").symlink_to(bench.root)
    other = FolderStore.open("other", {"root": str(tmp_path / "other")}, bench.state)
    assert other.identity == bench.store.identity


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert FolderStore.open("m", {"root": "~/pictures"}, tmp_path).identity == f"folder:{tmp_path}/pictures"


@pytest.mark.parametrize(
    "options", [{}, {"root": "relative"}, {"root": ""}, {"root": 5}, {"root": "~no-such-user-x/y"}]
)
def test_a_root_must_be_absolute(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="absolute"):
        FolderStore.open("main", options, tmp_path)


def test_an_unknown_option_is_answered_with_the_known_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"stores\.main.*'rot'.*'root'"):
        FolderStore.open("main", {"root": "/x", "rot": 1}, tmp_path)
    with pytest.raises(ValueError, match=r"stores\.main.*'share'.*'shared'"):
        FolderStore.open("main", {"root": "/x", "share": True}, tmp_path)
    with pytest.raises(ValueError, match="true or false"):
        FolderStore.open("main", {"root": "/x", "shared": "yes"}, tmp_path)


def test_a_shared_folder_is_the_same_place(tmp_path: Path) -> None:
    assert FolderStore.open("m", {"root": "/x", "shared": True}, tmp_path).identity == "folder:/x"


# putting


async def test_a_file_stands_whole_under_its_name(bench: Bench, way: str) -> None:
    outcome = await bench.put()
    target = bench.root / f"{NAME}.png"
    assert outcome == Stored(url=target.as_uri())
    assert bench.files() == {f"{NAME}.png": b"ours"}
    assert (target.stat().st_nlink, target.stat().st_mode & 0o777) == (1, 0o666 & ~umask())


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


async def test_a_name_may_lie_in_the_root_itself(bench: Bench) -> None:
    assert await bench.put(public_id="a_1") == Stored(url=(bench.root / "a_1.png").as_uri())


async def test_the_same_bytes_again_are_replayed(bench: Bench, way: str) -> None:
    first = await bench.put()
    again = await bench.put(first_attempt=False)
    assert isinstance(first, Stored)
    assert again == Stored(url=first.url, replayed=True)


@pytest.mark.parametrize("content", [b"more bytes", b"OURS", b"", b"our"])
async def test_other_bytes_are_never_replaced(bench: Bench, way: str, content: bytes) -> None:
    bench.place(f"{NAME}.png", content)
    outcome = await bench.put()
    assert isinstance(outcome, ImageFault)
    assert outcome.code == "collision"
    assert bench.files() == {f"{NAME}.png": content}


async def test_a_file_that_appears_at_the_last_moment_is_not_replaced(
    bench: Bench, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = comfyledger_folder.disk._copy

    def copy_and_lose(deposit: Deposit, temporary: Path) -> None:
        real(deposit, temporary)
        bench.place(f"{NAME}.png", b"foreign")

    monkeypatch.setattr(comfyledger_folder.disk, "_copy", copy_and_lose)
    outcome = await bench.put()
    assert isinstance(outcome, ImageFault)
    assert outcome.code == "collision"
    assert bench.files() == {f"{NAME}.png": b"foreign"}


async def test_the_same_bytes_that_appear_at_the_last_moment_are_replayed(
    bench: Bench, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = comfyledger_folder.disk._copy

    def copy_and_lose(deposit: Deposit, temporary: Path) -> None:
        real(deposit, temporary)
        bench.place(f"{NAME}.png", b"ours")

    monkeypatch.setattr(comfyledger_folder.disk, "_copy", copy_and_lose)
    outcome = await bench.put()
    assert isinstance(outcome, Stored)
    assert outcome.replayed


async def test_of_twenty_with_one_name_one_wins(bench: Bench, way: str) -> None:
    contents = [b"picture %d" % number for number in range(20)]
    puts = [bench.put(content, image_id=f"B{content!r}") for content in contents]
    outcomes = await asyncio.gather(*puts)
    winners = [content for content, outcome in zip(contents, outcomes, strict=True) if isinstance(outcome, Stored)]
    assert bench.files() == {f"{NAME}.png": winners[0]}
    assert len(winners) == 1
    assert [outcome.code for outcome in outcomes if isinstance(outcome, ImageFault)] == ["collision"] * 19


async def test_one_image_put_twenty_times_at_once_is_stored_once(bench: Bench, way: str) -> None:
    deposit = bench.deposit()
    outcomes = await asyncio.gather(*(bench.store.put(deposit) for _ in range(20)))
    assert [outcome for outcome in outcomes if not isinstance(outcome, Stored)] == []
    assert [outcome.replayed for outcome in outcomes if isinstance(outcome, Stored)].count(False) == 1
    assert bench.files() == {f"{NAME}.png": b"ours"}


@pytest.mark.parametrize(
    "path",
    [
        NAME.lower() + ".png",
        NAME.replace("opal-fever_image", "OPAL-fever_image") + ".PNG",
        NAME.replace("Areg/", "AREG/") + ".png",
        NAME + ".jpg",
        NAME + ".jpeg",
        NAME.lower() + ".webp",
    ],
)
async def test_a_name_that_a_folding_disk_takes_for_ours_is_a_collision(bench: Bench, path: str) -> None:
    bench.place(path)
    outcome = await bench.put()
    assert isinstance(outcome, ImageFault)
    assert outcome.code == "collision"
    assert bench.files() == {path: b"foreign"}


async def test_composed_and_decomposed_are_one_name(bench: Bench) -> None:
    bench.place(unicodedata.normalize("NFD", "é/Zoë_1") + ".png")
    outcome = await bench.put(public_id=unicodedata.normalize("NFC", "é/Zoë_1"))
    assert isinstance(outcome, ImageFault)


async def test_our_bytes_under_a_folded_name_are_replayed_where_they_are(bench: Bench) -> None:
    held = bench.place(NAME.lower() + ".png", b"ours")
    assert await bench.put() == Stored(url=held.as_uri(), replayed=True)


@pytest.mark.parametrize("path", [NAME + ".txt", NAME + "0.png", NAME.replace("images/", "") + ".png"])
async def test_other_names_do_not_disturb(bench: Bench, path: str) -> None:
    bench.place(path)
    assert isinstance(await bench.put(), Stored)


async def test_a_file_is_synced_before_its_name_appears_and_folders_after(
    bench: Bench, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.put(public_id="warm")
    synced: list[tuple[str, int]] = []
    real = os.fsync
    target = bench.root / "a" / "b" / "x_1.png"

    def watched(file: int) -> None:
        name = os.readlink(f"/proc/self/fd/{file}").removeprefix(str(bench.root))
        synced.append((name, target.stat().st_size if target.exists() else 0))
        real(file)

    monkeypatch.setattr(os, "fsync", watched)
    await bench.put(public_id="a/b/x_1")
    assert synced[0][0].startswith("/a/b/.comfyledger-")
    assert synced[0][1] == 0
    assert synced[-3:] == [("", 4), ("/a", 4), ("/a/b", 4)]


async def test_settled_folders_are_synced_once_until_they_are_made_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    later_ns = [-10 * SETTLED_NS]
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}")))
    monkeypatch.setattr(bench.store._disk, "_paths", Paths(lambda: time.time_ns() + later_ns[0]))

    async def folders_synced(public_id: str) -> list[str]:
        synced.clear()
        assert isinstance(await bench.put(public_id=public_id), Stored)
        return [path.removeprefix(str(bench.root)) for path in synced if "/.comfyledger" not in path]

    down_to_it = ["", "/a", "/a/b"]
    await bench.put(public_id="warm")
    assert await folders_synced("a/b/x_1") == down_to_it
    assert await folders_synced("a/b/x_2") == down_to_it, "they were made just now"
    later_ns[0] = 10 * SETTLED_NS
    assert await folders_synced("a/b/x_3") == down_to_it
    assert await folders_synced("a/b/x_4") == ["/a/b"]
    shutil.rmtree(bench.root / "a")
    until_the_clock_ticks(bench.root)
    assert await folders_synced("a/b/x_5") == down_to_it


def until_the_clock_ticks(folder: Path) -> None:
    """Something changes in a folder until its time does: the kernel's clock for files is a coarse one."""
    before = folder.stat().st_ctime_ns
    while folder.stat().st_ctime_ns == before:
        (folder / "tick").touch()
        (folder / "tick").unlink()


async def test_a_replay_makes_durable_what_a_crash_left(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.put(public_id="x_1")
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}")))
    await bench.put(public_id="x_1")
    assert synced == [str(bench.root / "x_1.png"), str(bench.root)]


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"size_bytes": 5}, {"path": Path("/no/such/file")}])
async def test_bytes_that_are_not_those_recorded_are_not_stored(bench: Bench, change: dict[str, Any]) -> None:
    outcome = await bench.put(**change)
    assert isinstance(outcome, ImageFault)
    assert outcome.code == "altered"
    assert bench.files() == {}


@pytest.mark.parametrize("public_id", ["../x", "a/../../x", "/x", "a//b", "", "a/.", "a/", "a\0b", "a/../x"])
async def test_no_name_leads_out_of_the_root(bench: Bench, public_id: str) -> None:
    outcome = await bench.put(public_id=public_id)
    assert isinstance(outcome, ImageFault)
    assert outcome.code == "refused"


async def test_a_link_within_the_root_is_followed(bench: Bench) -> None:
    (bench.root / "people").mkdir(parents=True)
    (bench.root / "Areg").symlink_to(bench.root / "people")
    assert isinstance(await bench.put(), Stored)
    assert await bench.store.highest_number(SERIES) == 1


async def test_a_link_in_place_of_a_file_is_a_collision(bench: Bench, tmp_path: Path) -> None:
    content = b"x" * len(str(tmp_path / "target"))  # As long as the link itself, whose size is its target's length.
    (tmp_path / "target").write_bytes(content)
    bench.place(f"{NAME}.txt").parent.joinpath(f"{NAME.rpartition('/')[2]}.png").symlink_to(tmp_path / "target")
    outcome = await bench.put(content)
    assert isinstance(outcome, ImageFault)
    assert (tmp_path / "target").read_bytes() == content


async def test_a_name_that_the_disk_refuses_is_the_images_trouble(bench: Bench) -> None:
    outcome = await bench.put(public_id="x" * 300)
    assert isinstance(outcome, ImageFault)
    assert outcome.code == "refused"


# ways, crashes, a disk in trouble


@pytest.mark.parametrize("number", sorted(comfyledger_folder.disk.UNSUPPORTED))
async def test_a_disk_that_cannot_do_one_way_goes_another(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    no_links(monkeypatch, number)
    assert isinstance(await bench.put(public_id="a_1"), Stored)
    no_renames(monkeypatch, number)
    assert isinstance(await bench.put(public_id="a_2"), Stored)
    assert bench.files() == {"a_1.png": b"ours", "a_2.png": b"ours"}


async def test_a_disk_without_links_that_renames_makes_no_claim(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    no_links(monkeypatch)
    monkeypatch.setattr(comfyledger_folder.disk, "place_by_claim", failing(errno.EIO))
    assert isinstance(await bench.put(), Stored)


def test_a_rename_without_replacing_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    with pytest.raises(FileExistsError):
        rename_noreplace(tmp_path / "a", tmp_path / "b")
    rename_noreplace(tmp_path / "a", tmp_path / "c")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"b": b"b", "c": b"a"}


STEPS = ["mkdir", "scandir", "open", "write", "fsync", "link", "rename", "touch", "unlink"]
PATCHES: dict[str, tuple[object, str]] = {
    "mkdir": (Path, "mkdir"),
    "scandir": (os, "scandir"),
    "open": (Path, "open"),
    "write": (comfyledger_folder.disk, "_copy"),
    "fsync": (os, "fsync"),
    "link": (os, "link"),
    "rename": (os, "rename"),
    "touch": (Path, "touch"),
    "unlink": (Path, "unlink"),
}


class Killed(BaseException):
    """As a killed process does, it passes every handler; the clean-up of a dead one is kept from happening."""


@pytest.mark.parametrize("count", range(1, 8))
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_harms_nothing_and_the_next_try_ends_it(
    bench: Bench, way: str, quick_sync: None, step: str, count: int
) -> None:
    stranger = bench.place("Areg/characters/opal-fever/images/stranger.png")
    deposit = bench.deposit()
    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        kill(patch, step, count)
        Disk(bench.root, bench.state).put(deposit)
    assert bench.files().get(f"{NAME}.png", b"") in (b"", b"ours")
    outcome = Disk(bench.root, bench.state).put(deposit)
    assert isinstance(outcome, Stored)
    assert bench.files() == {f"{NAME}.png": b"ours", str(stranger.relative_to(bench.root)): b"foreign"}


@pytest.fixture
def quick_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)


def kill(patch: pytest.MonkeyPatch, step: str, count: int) -> None:
    """Let the process die at the `count`th use of `step`: from then on nothing changes the disk any more."""
    owner, name = PATCHES[step]
    real = getattr(owner, name)
    left = [count]

    def die(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0]:
            return real(*args, **kwargs)
        for dead, call in PATCHES.values():
            patch.setattr(dead, call, dead_call)
        raise Killed

    def dead_call(*args: Any, **kwargs: Any) -> Any:
        raise Killed

    patch.setattr(owner, name, die)


@pytest.mark.parametrize("step", ["scandir", "open", "write", "fsync", "link", "rename", "touch"])
@pytest.mark.parametrize("count", [1, 2, 3])
async def test_trouble_at_any_step_leaves_a_whole_file_or_none(
    bench: Bench, way: str, quick_sync: None, step: str, count: int
) -> None:
    await bench.put(b"earlier", "warm")
    deposit = bench.deposit(public_id="x_1")
    owner, name = PATCHES[step]
    real, left = getattr(owner, name), [count]

    def full(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        return real(*args, **kwargs) if left[0] else failing(errno.ENOSPC)()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, full)
        outcome = await bench.store.put(deposit)
    assert isinstance(outcome, Stored) == (left[0] > 0)
    assert isinstance(outcome, Stored) or outcome.code == "full"
    assert bench.files() in ({"warm.png": b"earlier"}, {"warm.png": b"earlier", "x_1.png": b"ours"})
    assert isinstance(await bench.store.put(deposit), Stored)


@pytest.mark.parametrize("number", sorted(comfyledger_folder.disk.UNSUPPORTED))
async def test_a_disk_that_cannot_sync_is_used_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "fsync", failing(number))
    assert isinstance(await bench.put(), Stored)


async def test_an_empty_file_that_was_not_announced_is_a_strangers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_renames(monkeypatch)
    bench.place("x_1.png", b"")
    outcome = await bench.put(public_id="x_1")
    assert isinstance(outcome, ImageFault)
    assert bench.files() == {"x_1.png": b""}


async def test_the_claim_of_another_image_is_respected(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    no_renames(monkeypatch)
    deposit = bench.deposit(public_id="x_1", image_id="B9/9")
    with pytest.MonkeyPatch.context() as patch:
        kill(patch, "rename", 1)
        with pytest.raises(Killed):
            Disk(bench.root, bench.state).put(deposit)
    assert bench.files()["x_1.png"] == b""
    assert isinstance(await bench.put(public_id="x_1"), ImageFault)
    assert isinstance(await bench.store.put(deposit), Stored)


async def test_what_a_stranger_writes_into_a_claim_is_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    no_renames(monkeypatch)
    real = Path.touch

    def touch(path: Path, *args: Any, **kwargs: Any) -> None:
        real(path, *args, **kwargs)
        if path.name == "x_1.png":
            path.write_bytes(b"foreign")

    monkeypatch.setattr(Path, "touch", touch)
    assert isinstance(await bench.put(public_id="x_1"), ImageFault)
    assert bench.files() == {"x_1.png": b"foreign"}


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "full"),
        (errno.EDQUOT, "full"),
        (errno.EACCES, "configuration"),
        (errno.EROFS, "configuration"),
        (errno.ENOENT, "not_reached"),
        (errno.ESTALE, "not_reached"),
        (errno.EIO, "not_reached"),
        (errno.ETIMEDOUT, "not_reached"),
        (errno.EMFILE, "unknown"),
    ],
)
async def test_trouble_of_the_disk_is_the_lanes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    await bench.put(public_id="warm")
    monkeypatch.setattr(os, "link", failing(number))
    outcome = await bench.put()
    assert isinstance(outcome, LaneFault)
    assert (outcome.code, os.strerror(number) in outcome.text) == (code, True)
    assert list(bench.files()) == ["warm.png"]


async def test_a_disk_that_hangs_is_not_reached_and_harms_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave, left = threading.Event(), threading.Event()
    real = os.link

    def hang(*args: Any) -> None:
        leave.wait(DEADLINE_S)
        real(*args)
        left.set()

    monkeypatch.setattr(os, "link", hang)
    bench.store = FolderStore(bench.root, bench.state, timeout_s=0.05)
    outcome = await bench.put()
    assert isinstance(outcome, LaneFault)
    assert outcome.code == "not_reached"
    assert "0.05 s" in outcome.text
    leave.set()
    assert await asyncio.to_thread(left.wait, DEADLINE_S)
    monkeypatch.setattr(os, "link", real)
    bench.store = bench.opened()
    outcome = await bench.put()
    assert isinstance(outcome, Stored)
    assert bench.files()[f"{NAME}.png"] == b"ours"


# the root


async def test_a_root_is_made_and_marked_at_the_first_use(bench: Bench) -> None:
    assert await bench.store.highest_number(SERIES) == 0
    assert [path.name for path in bench.root.iterdir()] == [".comfyledger"]


def test_two_first_uses_at_once_are_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    root, real = Root(bench.root, bench.state), Path.exists
    other = threading.Thread(target=root.make_ready)

    def exists(path: Path) -> bool:
        if path.suffix == ".seen" and other.ident is None:
            other.start()
            other.join(0.1)  # It waits for its turn; if it did not, it would be through by then.
        return real(path)

    monkeypatch.setattr(Path, "exists", exists)
    root.make_ready()
    other.join()
    assert bench.files() == {}


async def test_a_folder_that_is_there_already_is_taken_over(bench: Bench) -> None:
    bench.place(f"{NAME}.png", b"x")
    assert await bench.store.highest_number(SERIES) == 1


@pytest.mark.parametrize("gone", ["root", "mark"])
async def test_a_root_that_lost_its_mark_is_not_reached(bench: Bench, gone: str) -> None:
    await bench.put()
    bench.root.rename(bench.root.with_name("elsewhere"))
    if gone == "mark":
        bench.root.mkdir()
    store = bench.opened()
    outcome = await store.put(bench.deposit())
    assert isinstance(outcome, LaneFault)
    assert outcome.code == "not_reached"
    for call in (store.highest_number(SERIES), store.check(NAME, "png"), store.page("")):
        with pytest.raises(StoreTrouble) as trouble:
            await call
        assert trouble.value.fault.code == "not_reached"
    assert not bench.root.exists() or list(bench.root.iterdir()) == []


async def test_a_root_that_comes_back_is_used_again(bench: Bench) -> None:
    await bench.put()
    away = bench.root.rename(bench.root.with_name("away"))
    assert isinstance(await bench.put(), LaneFault)
    away.rename(bench.root)
    assert isinstance(await bench.put(), Stored)


async def test_the_space_is_known_before_the_root_is_made_and_says_which_folder_it_is_about(bench: Bench) -> None:
    await bench.store.prepare()
    found = await bench.store.space()
    assert found.folder == str(bench.root)
    assert 0 < found.free_bytes <= found.total_bytes
    assert found.device == bench.root.parent.parent.stat().st_dev
    assert not bench.root.exists(), "looking makes nothing"
    assert isinstance(await bench.put(), Stored)
    assert (await bench.store.space()).folder == found.folder


async def test_a_root_that_lost_its_mark_has_no_space(bench: Bench) -> None:
    assert isinstance(await bench.put(), Stored)
    (bench.root / ".comfyledger").unlink()
    with pytest.raises(StoreTrouble) as trouble:
        await bench.store.space()
    assert trouble.value.fault.code == "not_reached"


async def test_a_root_marked_before_is_remembered(bench: Bench, tmp_path: Path) -> None:
    await bench.put()
    bench.state = tmp_path / "another state"
    bench.store = bench.opened()
    assert await bench.store.highest_number(SERIES) == 1
    (bench.root / ".comfyledger").unlink()
    assert isinstance(await bench.put(), LaneFault)


async def test_a_mark_put_there_by_hand_is_enough(bench: Bench) -> None:
    await bench.put()
    bench.root.rename(bench.root.with_name("away"))
    bench.root.mkdir()
    (bench.root / ".comfyledger").touch()
    assert isinstance(await bench.put(), Stored)


async def test_a_disk_that_goes_while_it_is_asked_is_not_taken_for_empty(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.put()

    def unmount(disk: Disk, folder: str) -> list[Path]:
        bench.root.rename(bench.root.with_name("away"))
        return []

    monkeypatch.setattr(Disk, "_alike", unmount)
    with pytest.raises(StoreTrouble):
        await bench.store.highest_number(SERIES)


async def test_a_file_in_place_of_the_root_is_a_matter_of_configuration(bench: Bench) -> None:
    bench.root.parent.mkdir()
    bench.root.touch()
    outcome = await bench.put()
    assert isinstance(outcome, LaneFault)
    assert outcome.code == "configuration"


# asking


async def test_the_highest_number_counts_every_spelling_and_extension(bench: Bench) -> None:
    folder = "Areg/characters/opal-fever/images"
    for path in ("Areg_opal-fever_image_7.png", "Areg_opal-fever_image_0012.webp", "areg_OPAL-fever_image_9.TIFF"):
        bench.place(f"{folder}/{path}")
    assert await bench.store.highest_number(SERIES) == 12
    bench.place("areg/characters/OPAL-FEVER/images/Areg_opal-fever_image_57.jpg")
    assert await bench.store.highest_number(SERIES) == 57
    bench.place("Areg/Characters/opal-fever/images/Areg_opal-fever_image_58")
    assert await bench.store.highest_number(SERIES) == 58


@pytest.mark.parametrize(
    "name",
    [
        "Areg_opal-fever_image_.png",
        "Areg_opal-fever_image_-5.png",
        "Areg_opal-fever_image_5x.png",
        "Areg_opal-fever_image_5_2.png",
        "Areg_opal-fever_image_١.png",
        "Areg_opal-fever_image_1234567890123456.png",
        "xAreg_opal-fever_image_5.png",
        ".comfyledger-0123456789abcdef-7-1",
    ],
)
async def test_the_highest_number_counts_nothing_else(bench: Bench, name: str) -> None:
    bench.place(f"{SERIES.folder}/{name}")
    bench.place(f"{SERIES.folder}/deeper/Areg_opal-fever_image_5.png")
    assert await bench.store.highest_number(SERIES) == 0


async def test_a_suffix_is_part_of_the_name(bench: Bench) -> None:
    for name in ("a.3-final.png", "a.9.png", "a.8-FINAL.png", "a.11-finally.png", "ax12-final.png"):
        bench.place(f"f/{name}")
    assert await bench.store.highest_number(Series(folder="f", stem="a.", suffix="-final")) == 8


async def test_a_series_may_lie_in_the_root_and_in_decomposed_folders(bench: Bench) -> None:
    bench.place("x_4.png")
    assert await bench.store.highest_number(Series(folder="", stem="x_")) == 4
    bench.place(unicodedata.normalize("NFD", "É/Ï_6") + ".png")
    assert await bench.store.highest_number(Series(folder="é", stem="ï_")) == 6


async def test_a_hundred_thousand_files_are_counted_quickly(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        def __init__(self, name: str) -> None:
            self.name = name

    many = [Entry(f"Areg_opal-fever_image_{number}.png") for number in range(1, 100_001)]
    monkeypatch.setattr(Disk, "_alike", lambda disk, folder: [bench.root])
    monkeypatch.setattr(comfyledger_folder.disk, "entries", lambda folder: iter(many))
    begun = time.process_time()
    assert await bench.store.highest_number(SERIES) == 100_000
    assert time.process_time() - begun < 4


async def test_a_check_says_what_is_held(bench: Bench) -> None:
    assert await bench.store.check(NAME, "png") is None
    await bench.put()
    assert await bench.store.check(NAME, "png") == Held(NAME, "png", 4, hashlib.md5(b"ours").hexdigest())
    assert await bench.store.check(NAME, "jpg") is None
    assert await bench.store.check(NAME.rpartition("/")[0], "") is None
    assert await bench.store.check("../state/x", "png") is None


async def test_what_is_held_is_copied_into_a_file_that_is_there(bench: Bench, tmp_path: Path) -> None:
    await bench.put(b"ours" * 1_000_000)
    (tmp_path / "target").touch()
    await bench.store.fetch(NAME, "png", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"ours" * 1_000_000
    with pytest.raises(StoreTrouble):
        await bench.store.fetch(NAME, "png", tmp_path / "given-up")
    for name, extension in ((NAME, "jpg"), ("../state/x", "png")):
        with pytest.raises(StoreTrouble):
            await bench.store.fetch(name, extension, tmp_path / "target")
    assert not (tmp_path / "given-up").exists()


async def paged(store: FolderStore, prefix: str = "", cursor: str = "") -> list[Held]:
    """All pages, one after the other."""
    page = await store.page(prefix, cursor)
    held = list(page.held)
    while page.cursor:
        page = await store.page(prefix, page.cursor)
        held += page.held
    return held


@pytest.mark.parametrize("size", [1, 2, 3, 500])
async def test_pages_name_every_file_below_a_folder_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(comfyledger_folder.pages, "PAGE", size)
    for path in ("a/x_1.png", "a/b/x_2.jpg", "a/b+/a.jpg", "a/b-c", "a/x.tar.gz", "a/plain", "c/x_3.png"):
        bench.place(path, b"12345")
    for empty in range(5):
        (bench.root / f"a/empty-{empty}").mkdir()
    bench.place("a/.comfyledger-0123456789abcdef-7-1")
    (bench.root / "a" / "loop").symlink_to(bench.root)
    assert await paged(bench.store, "a") == [
        Held("a/b/x_2", "jpg", 5),
        Held("a/b+/a", "jpg", 5),
        Held("a/b-c", "", 5),
        Held("a/plain", "", 5),
        Held("a/x.tar", "gz", 5),
        Held("a/x_1", "png", 5),
    ]
    assert len(await paged(bench.store)) == 7
    assert await paged(bench.store, "nothing") == []


async def test_a_page_has_500_files_at_most(bench: Bench) -> None:
    for number in range(501):
        bench.place(f"a/x_{number}")
    page = await bench.store.page("")
    assert len(page.held) == 500
    last = await bench.store.page("", page.cursor)
    assert (len(last.held), last.cursor) == (1, "")


async def test_pages_go_on_after_the_cursor_whatever_came_or_went(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comfyledger_folder.pages, "PAGE", 2)
    for path in ("b/1", "b/2", "b/3", "c"):
        bench.place(path)
    cursor = (await bench.store.page("")).cursor
    (bench.root / "b/2").unlink()
    bench.place("a")
    bench.place("b/2/new")
    assert [held.public_id for held in await paged(bench.opened(), "", cursor)] == ["b/2/new", "b/3", "c"]


@pytest.mark.parametrize("prefix", ["..", "../state", "a/../..", "/", "\0", "a\0b"])
async def test_a_page_never_looks_outside_the_root(bench: Bench, prefix: str) -> None:
    bench.place("a/x")
    bench.state.mkdir()
    (bench.state / "x").touch()
    (bench.root / "out").symlink_to(bench.state)
    assert await paged(bench.store, prefix) == []


async def test_a_disk_that_goes_while_it_is_paged_is_not_taken_for_empty(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.put()

    def unmount(folder: Path) -> Iterator[os.DirEntry[str]]:
        bench.root.rename(bench.root.with_name("away"))
        return iter(())

    monkeypatch.setattr(comfyledger_folder.pages, "entries", unmount)
    with pytest.raises(StoreTrouble):
        await bench.store.page("")


async def test_a_name_that_is_no_text_can_be_paged_over(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comfyledger_folder.pages, "PAGE", 1)
    bench.place("a/x")
    Path(os.fsdecode(os.fsencode(bench.root) + b"/a/\xff_1.png")).touch()
    assert {held.public_id for held in await paged(bench.store, "a")} == {"a/x", "a/\N{REPLACEMENT CHARACTER}_1"}


async def test_a_closed_store_leaves_no_thread_at_work(bench: Bench) -> None:
    await bench.put()
    await bench.store.close()
    with pytest.raises(RuntimeError):
        await bench.put()
