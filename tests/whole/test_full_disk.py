"""A disk that is really full, and one that fails: new work is refused, nothing is lost, and work goes on by itself.

The small disk is a tmpfs of its own. Where this user may not mount one, the daemon gets it in a mount namespace.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.sqlite.writer import Ledger
from support.ledger_builders import submission, take
from support.processes import House
from support.waiting import until
from support.wire_app import App, Frame, Refusal, check_gap_free, coloured, of_kind

MIB = 1024 * 1024
DISK_MIB = 48
NEEDED_MIB = 3
PIECE = b"\xaa" * 65_536


class Disk:
    """A small disk. `path` is where the daemon sees it, `seen` where this process does."""

    def __init__(self, path: Path, seen: Path) -> None:
        self.path = path
        self.seen = seen
        self._ballast = seen / "ballast"

    def fill(self, left: int = 0) -> None:
        """Take all room but so many bytes; with none, until the disk says that it is full."""
        with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while left == 0 or shutil.disk_usage(self.seen).free > left:
                file.write(PIECE)

    def make_room(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk(house: House) -> Iterator[Disk]:
    path = house.folder / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        try:
            yield Disk(path, path)
        finally:
            subprocess.run(["umount", "--lazy", str(path)], check=True)  # the daemon still runs
    else:
        yield from in_namespace(house, path, mount)


def in_namespace(house: House, path: Path, mount: list[str]) -> Iterator[Disk]:
    """The mount is made in a namespace that a waiting shell keeps alive, and the daemon is started in it."""
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", '"$@" && echo made && exec cat', "sh"]
    holder = subprocess.Popen([*words, *mount], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"made\n", "neither mount nor unshare may mount a tmpfs here"
        enter = ["nsenter", "-t", str(holder.pid), "--user", "--mount", "--preserve-credentials"]
        house.daemon._arguments[:0] = enter
        yield Disk(path, Path(f"/proc/{holder.pid}/root{path}"))
    finally:
        holder.terminate()
        holder.wait()


async def info_once(app: App, wanted: str) -> Frame:
    """The server's information once it says why nothing new is taken, or with an empty word once it no longer does."""

    async def said() -> Frame | None:
        info = await app.ask("server_info")
        is_so = info["storage_full"] == bool(wanted) and wanted in info.get("storage_text", "")
        return info if is_so else None

    info: Frame = await until(said, f"server_info says {wanted!r}")
    return info


async def for_some_time(app: App) -> None:
    """Until the daemon has been up for one or two seconds more: time enough for it to do what it must not."""
    before = (await app.ask("server_info"))["uptime_s"]

    async def later() -> bool:
        return bool((await app.ask("server_info"))["uptime_s"] >= before + 2)

    await until(later)


async def check_braked(app: App, given: Frame, disk: str) -> None:
    """New work is refused with what to do; old answers are given again; reads and subscriptions go on."""
    with pytest.raises(Refusal) as refusal:
        await app.submit("new")
    assert refusal.value.code == "storage_full"
    assert disk in refusal.value.data["message"]
    assert "work resumes by itself" in refusal.value.data["hint"]
    again = await app.submit("r1", images=coloured(8))
    assert (again["numbers"], again["batch_id"]) == (given["numbers"], given["batch_id"])
    assert (await app.batch(given["batch_id"]))["quantity"] == 8
    check_gap_free(await app.log())


async def check_all_arrived(house: House, app: App, given: Frame) -> list[Frame]:
    (batch,) = await app.settled(given["batch_id"])
    assert (batch["stored"], batch["parked"], batch["failed"]) == (8, 0, 0)
    house.check_stored(batch)
    after = await app.submit("new", quantity=1)
    assert [*given["numbers"], *after["numbers"]] == list(range(1, 10)), "a refused request took a number"
    await app.settled(after["batch_id"])
    log = await app.log()
    check_gap_free(log)
    assert of_kind(log, "prompt_failed") == of_kind(log, "image_parked") == []
    return log


def lane_changes(log: list[Frame], lane: str) -> list[str]:
    return [event["kind"] for event in log if event["stream"] == f"lane/{lane}"]


async def test_a_full_disk_of_the_spool_stops_rendering_and_loses_nothing(house: House, disk: Disk) -> None:
    await house.begin(
        f"""
        [spool]
        path = "{disk.path / "spool"}"
        free_min_bytes = {NEEDED_MIB * MIB}
        """,
        seconds_per_image=0.2,
    )
    async with house.app() as app:
        await app.ask("pause")
        given = await app.submit("r1", images=coloured(8))
        disk.fill(left=NEEDED_MIB * MIB - len(PIECE))
        await info_once(app, "The spool's disk")
        await app.ask("resume")
        await for_some_time(app)
        assert house.comfyui.posted() == [], "a prompt was sent although its files have no room"
        await check_braked(app, given, "The spool's disk")
        disk.make_room()
        await app.counted("stored", 1, given["batch_id"])

        disk.fill()
        info = await info_once(app, "The spool's disk")
        assert "spool" in {lane["lane"] for lane in info["lanes"]} or await lane_appears(app, "spool")
        await check_braked(app, given, "The spool's disk")
        sent = len(house.comfyui.posted())
        await for_some_time(app)
        assert len(house.comfyui.posted()) == sent < 8
        disk.make_room()
        log = await check_all_arrived(house, app, given)
    assert lane_changes(log, "spool") == ["lane_paused", "lane_resumed"] * 2
    assert lane_changes(log, "backend/main") == []
    assert len(house.comfyui.posted()) == 9, "something was rendered twice"


async def test_a_disk_that_fills_during_a_file_only_stops_the_spool(house: House, disk: Disk) -> None:
    """Without a brake before it: the first sign is a file that finds no room."""
    await house.begin(f'[spool]\npath = "{disk.path / "spool"}"\nfree_min_bytes = 0')
    disk.fill()
    async with house.app() as app:
        given = await app.submit("r1", images=coloured(8))
        await lane_appears(app, "spool")
        await check_braked(app, given, "The spool")
        assert len(house.comfyui.posted()) < 8
        disk.make_room()
        roomy_at = (await app.ask("server_info"))["uptime_s"]
        log = await check_all_arrived(house, app, given)
        assert (await app.ask("server_info"))["uptime_s"] <= roomy_at + 6
    assert lane_changes(log, "spool") == ["lane_paused", "lane_resumed"]
    assert lane_changes(log, "backend/main") == []
    assert len(house.comfyui.posted()) == 9, "something was rendered twice"


async def lane_appears(app: App, name: str) -> bool:
    async def appears() -> bool:
        return name in {lane["lane"] for lane in (await app.ask("server_info"))["lanes"]}

    return bool(await until(appears, f"lane {name}"))


async def test_a_full_disk_of_the_ledger_takes_nothing_new_and_forgets_nothing(house: House, disk: Disk) -> None:
    house.expected_errors.add("ledger.storage_full")
    await house.begin(
        f"""
        [ledger]
        path = "{disk.path / "ledger.db"}"
        free_min_bytes = {NEEDED_MIB * MIB}
        """,
        seconds_per_image=0.2,
    )
    async with house.app() as app:
        given = await app.submit("r1", images=coloured(8))
        await app.counted("stored", 1, given["batch_id"])
        disk.fill()
        await until(lambda: "ledger.storage_full" in house.daemon.last_words(), "a group finds no room")
        await info_once(app, "The ledger's disk")
        await check_braked(app, given, "The ledger's disk")
        disk.make_room()
        log = await check_all_arrived(house, app, given)
    assert len(of_kind(log, "batch_requested")) == 2
    assert len(house.comfyui.posted()) == 9, "something was rendered twice"


def ledger_on(disk: Disk) -> str:
    return f'[ledger]\npath = "{disk.path / "ledger.db"}"\nfree_min_bytes = {NEEDED_MIB * MIB}'


async def refused_start(house: House) -> str:
    """The last words of a daemon that does not start."""
    house.expected_errors.add("daemon.ended")
    house.daemon.start()
    await until(lambda: house.daemon.exit_code() is not None, "the daemon ends")
    assert house.daemon.signal(signal.SIGTERM) == 5
    return str(house.daemon.facts()[-1]["error"])


async def test_a_start_on_a_full_disk_ends_with_an_error_and_succeeds_later(house: House, disk: Disk) -> None:
    """A new ledger, and one that was closed: SQLite cannot open either without some room."""
    await house.comfyui.begin()
    house.configure(ledger_on(disk))
    disk.fill()
    assert "its disk is full. Make room on the disk" in await refused_start(house)
    disk.make_room()
    await house.daemon.begin()
    async with house.app() as app:
        given = await app.submit("r1", images=coloured(8))
        await app.settled(given["batch_id"])
    assert house.daemon.signal(signal.SIGTERM) == 0
    disk.fill()
    assert "its disk is full. Make room on the disk" in await refused_start(house)
    disk.make_room()
    await house.daemon.begin()
    async with house.app() as app:
        await check_all_arrived(house, app, given)


async def test_a_killed_daemon_starts_on_a_full_disk_and_continues_with_space(house: House, disk: Disk) -> None:
    """Its files lie there as it left them, and SQLite needs no more to open them."""
    house.expected_errors.add("ledger.storage_full")
    await house.begin(ledger_on(disk))
    house.comfyui.control(hold=["start"])
    async with house.app() as app:
        given = await app.submit("r1", images=coloured(8))
        await until(lambda: len(house.comfyui.posted()) == 3, "prompts wait at ComfyUI")
    house.daemon.signal(signal.SIGKILL)
    disk.fill()
    await house.daemon.begin()
    async with house.app() as app:
        await check_braked(app, given, "The ledger's disk")
        house.comfyui.control(hold=[])
        await until(lambda: "ledger.storage_full" in house.daemon.last_words(), "a group finds no room")
        await check_braked(app, given, "The ledger's disk")
        disk.make_room()
        await check_all_arrived(house, app, given)
    assert len(house.comfyui.posted()) == 9, "something was rendered twice"


async def test_a_disk_too_full_for_the_index_of_the_log_loses_nothing(house: House, disk: Disk) -> None:
    """SQLite keeps 32 KiB of index for each 16 MiB of its log. The log has room here, and a reader keeps it growing."""
    await house.begin(ledger_on(disk))
    house.comfyui.control(hold=["start"])
    async with house.app() as app:
        given = await app.submit("r1", images=coloured(8))
    house.daemon.signal(signal.SIGKILL)
    path = disk.seen / "ledger.db"
    with path.with_name("ledger.db-wal").open("ab") as log:
        log.write(bytes(24 * MIB))
    ledger = Ledger.open(path)
    reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM events").fetchone()
    disk.fill()
    acknowledged: list[list[int]] = []
    with pytest.raises(LedgerUnusable, match="Make room on the disk"):
        submit_until_full(ledger, acknowledged)
    reader.close()
    ledger.close()
    disk.make_room()
    reopened = Ledger.open(path)
    assert submit(reopened, 0) == acknowledged[0] != given["numbers"]
    assert min(submit(reopened, 99)) > max(acknowledged[-1]), "a number was given twice"
    reopened.close()


def submit_until_full(ledger: Ledger, acknowledged: list[list[int]]) -> None:
    while True:
        acknowledged.append(submit(ledger, len(acknowledged)))


def submit(ledger: Ledger, serial: int) -> list[int]:
    (accepted,) = take(ledger, submission(f"a{serial}", prompt=f"{serial}" + MIB * "x"))
    return [image.number for image in accepted.images]


FAILING_FSYNC = """
import errno, os

real = os.fsync

def fsync(file):
    if os.path.exists({marker!r}) and "/spool/" in os.readlink(f"/proc/self/fd/{{file}}"):
        with open({marker!r}, "a") as tries:
            tries.write("x")
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    real(file)

os.fsync = fsync
"""


async def end_by_a_failed_fsync(house: House, marker: Path, whose: str, environment: dict[str, str]) -> None:
    """One fsync fails in the middle of a batch: the daemon says so and ends, and the next one loses nothing."""
    house.daemon.environment = environment
    await house.begin(seconds_per_image=0.2, depth=1)
    async with house.app() as app:
        given = await app.submit("r1", images=coloured(4))
        await app.counted("stored", 1, given["batch_id"])
        marker.touch()
        await until(lambda: house.daemon.exit_code() is not None, "the daemon ends")
    assert house.daemon.signal(signal.SIGTERM) == 5
    last = house.daemon.facts()[-1]
    assert last["event"] == "daemon.ended"
    assert last["error"].startswith("The disk failed")
    assert whose in last["error"]
    assert "Check the disk" in last["error"]
    assert marker.read_text() == "x", "it was tried again"
    marker.unlink()
    house.daemon.environment = {}
    await house.daemon.begin()
    async with house.app() as app:
        (batch,) = await app.settled(given["batch_id"])
        check_gap_free(await app.log())
    assert (batch["stored"], batch["parked"], batch["failed"]) == (4, 0, 0)
    house.check_stored(batch)


async def test_a_failed_fsync_of_the_spool_ends_the_daemon_and_loses_nothing(house: House) -> None:
    house.expected_errors.add("daemon.ended")
    marker = house.folder / "failing"
    (house.folder / "sitecustomize.py").write_text(FAILING_FSYNC.format(marker=str(marker)))
    await end_by_a_failed_fsync(house, marker, "spool", {"PYTHONPATH": str(house.folder)})


FAILING_SYNC_OF_SQLITE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int file)
{
    char link[64], path[4096] = "";
    const char *marker = getenv("FAILING_SYNC");
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    if (marker == NULL || readlink(link, path, sizeof path - 1) < 0 || strstr(path, "/ledger.db") == NULL)
        return 0;
    int tries = open(marker, O_WRONLY | O_APPEND);
    if (tries < 0)
        return 0;
    if (write(tries, "x", 1) != 1)
        abort();
    close(tries);
    errno = EIO;
    return 1;
}

int fsync(int file)
{
    return fails(file) ? -1 : ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}

int fdatasync(int file)
{
    return fails(file) ? -1 : ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(file);
}
"""


def compiled(folder: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler (cc or gcc): SQLite's fsync cannot be made to fail")
    source, library = folder / "failing.c", folder / "failing.so"
    source.write_text(FAILING_SYNC_OF_SQLITE)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


async def test_a_failed_fsync_of_the_ledger_ends_the_daemon_and_loses_nothing(house: House) -> None:
    house.expected_errors |= {"daemon.ended", "engine.failed", "effect.died"}
    marker = house.folder / "failing"
    environment = {"LD_PRELOAD": str(compiled(house.folder)), "FAILING_SYNC": str(marker)}
    await end_by_a_failed_fsync(house, marker, "ledger", environment)
