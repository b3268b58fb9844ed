"""What the doctor finds on this machine: beside a ledger that is held, of mounts and locks, where a check hangs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from comfyledger import settings as settings_of
from comfyledger.ledger import filesystem
from comfyledger.ledger.sqlite.locking import locks_in
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.doctor import machine, run
from comfyledger.settings import Settings
from support.doctor_report import about, report, verdicts
from support.ledger_builders import raw
from support.ledger_on_disk import Place, contents
from support.ports import closed_port
from support.waiting import DEADLINE_S

# ---- as a whole


async def test_a_fresh_machine_is_told_what_is_missing_and_nothing_is_made(loaded: Any, tmp_path: Path) -> None:
    settings = loaded()
    found = await report(settings)
    bad = {one.area: one.verdict for one in found.diagnoses if one.verdict != "ok"}
    assert bad == {"comfyui main": "failure", "daemon": "warning"}
    assert len(about(found, "comfyui main")) == 1
    assert not settings.state_path.exists()
    assert not found.overdue


async def test_a_check_that_breaks_is_a_line_and_keeps_its_words_to_itself(
    loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("hunter2")

    monkeypatch.setattr(machine, "token", broken)
    found = await report(loaded())
    assert verdicts(about(found, "token")) == ["failure"]
    assert "hunter2" not in repr(found)
    assert verdicts(about(found, "clock")) == ["ok"]


async def test_a_check_that_hangs_is_given_up_and_said_so(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(machine, "disk", lambda _: release.wait(DEADLINE_S))
    monkeypatch.setattr(run, "CHECK_S", 0.3)
    found = await report(loaded())
    release.set()
    (one,) = about(found, "disk spool")
    assert (one.verdict, one.sentence) == ("failure", "This did not answer within 0.3 s.")
    assert found.overdue


async def test_a_thread_that_hangs_does_not_keep_the_process(loaded: Any) -> None:
    threads: list[threading.Thread] = []
    await machine.in_thread(lambda: threads.append(threading.current_thread()))
    assert threads[0].daemon


# ---- disks, locks, mounts


MOUNTS = r"""
22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
30 22 8:2 / /srv rw shared:2 - xfs /dev/sdb rw
31 30 0:50 / /srv/my\040disk rw shared:3 master:1 - nfs4 box:/x rw
32 22 0:51 / /data rw - ext4 /dev/sdc rw
33 32 0:52 / /data rw - cifs //box/y rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/home/x", "ext4"),
        ("/srv", "xfs"),
        ("/srvx", "ext4"),
        ("/srv/my disk/images", "nfs4"),
        ("/srv/my disk2", "xfs"),
        ("/data/x", "cifs"),
    ],
)
def test_the_file_system_of_a_path_is_that_of_the_nearest_last_mount(path: str, kind: str) -> None:
    assert filesystem.mounted_at(path, MOUNTS) == kind


def test_where_mounts_are_not_told_the_file_system_is_unknown() -> None:
    assert filesystem.mounted_at("/srv", "") == ""
    assert filesystem.mounted_at("/srv", "rubbish - \n - \n1 2 - ext4") == ""


def test_a_folder_that_is_not_there_is_judged_by_the_one_above(tmp_path: Path) -> None:
    seen = machine.disk(tmp_path / "a" / "b")
    assert (seen.exists, seen.can_write, seen.free > 0, seen.file_system != "") == (False, True, True, True)
    (tmp_path / "file").touch(mode=0o755)
    assert not seen.network
    assert not machine.disk(tmp_path / "file" / "b").can_write


def test_a_file_system_that_the_daemon_would_refuse_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "type_of", lambda _: 0x6969)
    assert machine.disk(tmp_path).network == "NFS"


LOCKS = """1: POSIX  ADVISORY  READ 11 fe:00:77 128 128
2: FLOCK  ADVISORY  WRITE 12 fe:00:77 0 EOF
2: -> FLOCK  ADVISORY  WRITE 13 fe:00:78 0 EOF
3: FLOCK  ADVISORY  WRITE 14 fe:01:79 0 EOF
"""


@pytest.mark.parametrize(
    ("major", "minor", "inode", "pid"), [(254, 0, 77, 12), (254, 0, 78, None), (254, 1, 79, 14), (1, 1, 79, None)]
)
def test_who_holds_a_lock_is_read_and_not_tried(major: int, minor: int, inode: int, pid: int | None) -> None:
    found = locks_in(LOCKS, "FLOCK", major, minor, inode)
    assert found == ([] if pid is None else [("WRITE", pid)])


# ---- beside a daemon


@pytest.fixture
async def alive() -> AsyncIterator[Any]:
    """A door that says what it is told to."""
    said: dict[str, Any] = {"status": "alive", "version": run.__version__, "lanes": {}}

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(said)

    app = web.Application()
    app.router.add_get("/healthz", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield said, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_beside_a_daemon_nothing_is_locked_or_written(place: Place, loaded: Any, alive: Any) -> None:
    _, url = alive
    settings = loaded()
    assert settings.ledger_path == place.path
    settings.door_path.write_text(json.dumps({"url": url, "pid": os.getpid()}))
    ledger = Ledger.open(place.path)
    try:
        before = contents(place.folder)
        found = await report(settings)
        assert contents(place.folder) == before
        assert machine.lock_holder(place.path) in {os.getpid(), None}
    finally:
        ledger.close()
    assert verdicts(about(found, "daemon")) == ["ok"]
    (one,) = about(found, "ledger")
    assert (one.verdict, f"has {ledger.head.position} events" in one.sentence) == ("ok", True)


async def test_what_stands_still_in_the_daemon_is_told(loaded: Any, alive: Any) -> None:
    said, url = alive
    said |= {"lanes": {"store/x": "throttled"}, "storage_full": True, "version": "0.0"}
    settings = loaded()
    settings.state_path.mkdir()
    settings.door_path.write_text(json.dumps({"url": url, "pid": 1}))
    assert verdicts(about(await report(settings), "daemon")) == ["warning"] * 3


@pytest.mark.parametrize("left", ["", "no JSON", "[1]", '{"url": 3, "pid": "x"}', '{"url": "http://[::"}'])
async def test_a_door_that_cannot_be_read_is_as_none(loaded: Any, left: str) -> None:
    settings = loaded()
    settings.state_path.mkdir()
    settings.door_path.write_text(left)
    assert verdicts(about(await report(settings), "daemon")) == ["warning"]


@pytest.mark.parametrize("pid", [2**30, 1], ids=["no process", "another program's"])
async def test_a_door_that_was_left_over_is_told(loaded: Any, pid: int) -> None:
    settings = loaded()
    settings.state_path.mkdir()
    settings.door_path.write_text(json.dumps({"url": f"http://127.0.0.1:{closed_port()}", "pid": pid}))
    (one,) = about(await report(settings), "daemon")
    assert "left over" in one.sentence


async def test_a_daemon_that_lives_and_does_not_answer_is_a_failure(loaded: Any) -> None:
    settings = loaded()
    settings.state_path.mkdir()
    words = [sys.executable, "-c", "input()", "comfyledger"]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        settings.door_path.write_text(json.dumps({"url": f"http://127.0.0.1:{closed_port()}", "pid": process.pid}))
        (one,) = about(await report(settings), "daemon")
        process.communicate(b"\n")
    assert (one.verdict, "does not answer" in one.sentence) == ("failure", True)


async def test_another_program_at_the_doors_port_is_a_failure(loaded: Any, alive: Any) -> None:
    said, url = alive
    said["status"] = "nonsense"
    found = await report(msgspec.structs.replace(s := loaded(), door=replace_port(s, url)))
    assert verdicts(about(found, "daemon")) == ["failure"]


def replace_port(settings: Settings, url: str) -> settings_of.Door:
    return msgspec.structs.replace(settings.door, port=int(url.rpartition(":")[2]))


async def test_a_ledger_whose_trigger_is_gone_is_a_failure(place: Place, loaded: Any) -> None:
    raw(place.path).execute("DROP TRIGGER events_are_never_deleted")
    (one,) = about(await report(loaded()), "ledger")
    assert one.verdict == "failure"
    assert "trigger events_are_never_deleted on events is missing" in one.sentence
    assert "comfyledger replay --rebuild" in one.mend


async def test_what_other_programs_added_is_a_warning_that_names_it(place: Place, loaded: Any) -> None:
    raw(place.path).execute("CREATE TABLE notes (text TEXT)")
    fine, added = about(await report(loaded()), "ledger")
    assert (fine.verdict, added.verdict) == ("ok", "warning")
    assert "table notes" in added.sentence


async def test_a_file_that_is_no_ledger_is_a_failure(loaded: Any) -> None:
    settings = loaded()
    settings.state_path.mkdir()
    settings.ledger_path.write_bytes(b"x" * 5_000)
    assert verdicts(about(await report(settings), "ledger")) == ["failure"]


async def test_a_token_that_others_can_read_is_a_failure(loaded: Any) -> None:
    settings = loaded()
    settings.state_path.mkdir(mode=0o700)
    settings.token_path.touch(mode=0o600)
    assert verdicts(about(await report(settings), "token")) == ["ok"]
    settings.token_path.chmod(0o644)
    assert verdicts(about(await report(settings), "token")) == ["failure"]
