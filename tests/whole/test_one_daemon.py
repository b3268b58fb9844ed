"""What is opened beside the daemon, and daemons beside the daemon: neither costs a batch, a file or the door."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from pathlib import Path
from typing import Any

from support.command_line import command
from support.processes import Daemon, House
from support.waiting import until
from support.wire_app import Frame


def read_all(path: Path) -> None:
    """As any tool that knows SQLite and not us."""
    connection = sqlite3.connect(path)
    connection.execute("SELECT * FROM events").fetchall()
    connection.close()


def locks_of(house: House, path: Path, kind: str) -> int:
    """How many locks of a kind the daemon has on a file."""
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return sum(
        (line[1], line[4], line[5].rpartition(":")[2]) == (kind, str(house.daemon.pid), str(path.stat().st_ino))
        for line in lines
    )


async def test_a_strangers_reader_in_the_first_run_of_a_ledger_costs_no_batch(house: House) -> None:
    await house.begin()
    ledger = house.state / "ledger.db"
    async with house.app("app") as app:
        first = await app.submit("a", quantity=2)
        await app.settled(first["batch_id"])
        read_all(ledger)
        second = await app.submit("b", quantity=2)
        assert [image["number"] for image in second["images"]] == [3, 4]
    house.daemon.signal(signal.SIGKILL)
    await house.daemon.begin()
    async with house.app("app") as app:
        again = await app.submit("b", quantity=2)
        third = await app.submit("c", quantity=1)
    assert (again["batch_id"], again["repeated"]) == (second["batch_id"], True)
    assert [image["number"] for image in third["images"]] == [5]


async def test_the_daemons_locks_on_its_ledger_last_as_long_as_it_runs(house: House) -> None:
    await house.begin()
    ledger = house.state / "ledger.db"

    def check(when: str) -> None:
        read_all(ledger)
        assert locks_of(house, ledger, "POSIX") > 0, when
        assert locks_of(house, ledger, "FLOCK") == 1, when
        assert (house.state / "ledger.db-wal").exists(), when

    for run in ("first run", "later run"):
        check(run)
        async with house.app("app") as app:
            batch = await app.submit(run, quantity=1)
            await app.settled(batch["batch_id"])
            check(f"{run}, after a batch")
            await command(house, "backup", str(house.folder / f"{run}.db"))
            check(f"{run}, after a backup")
            await app.ask("forget", batch_id=batch["batch_id"])
            check(f"{run}, after a forget")
            os.kill(house.daemon.pid, signal.SIGHUP)
            await until(lambda: "config.reloaded" in house.daemon.last_words(), "the configuration is read again")
            check(f"{run}, after a reload")
            await command(house, "audit")
            check(f"{run}, after an audit")
        house.daemon.signal(signal.SIGTERM)
        house.daemon.log.write_bytes(b"")
        await house.daemon.begin()


# ---- a second daemon


class Second(Daemon):
    """A daemon beside the house's, with keys of its own before the sections."""

    def __init__(self, house: House, name: str, keys: dict[str, Path]) -> None:
        folder = house.folder / name
        folder.mkdir()
        config = folder / "config.toml"
        state = keys.get("state", house.state)
        lines = [f'state_dir = "{state}"', "[door]", "port = 0", "[comfyui.main]", f'url = "{house.comfyui.url}"']
        for section in ("ledger", "spool"):
            if section in keys:
                lines += [f"[{section}]", f'path = "{keys[section]}"']
        config.write_text("\n".join(lines))
        super().__init__(folder, config, state)

    async def refused(self) -> str:
        """It ends with exit code 5 and says why."""
        self.start()
        assert self._popen is not None
        await until(lambda: self._popen and self._popen.poll() is not None, "it has ended")
        assert self._popen.poll() == 5
        return " ".join(str(fact.get("error")) for fact in self.errors())


def seen(house: House) -> dict[str, bytes]:
    """What belongs to the first daemon and no other may touch."""
    kept = [path for path in (house.state / "spool").rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in [house.state / "door.json", house.state / "token", *kept]}


def elsewhere(house: House) -> dict[str, dict[str, Path]]:
    """Ways to configure a second daemon so that it meets the first one, each with a folder of its own."""
    state, other = house.state, house.folder / "other"
    other.mkdir()
    for end in ("", "-wal"):
        shutil.copy(f"{state}/ledger.db{end}", other / f"copy.db{end}")
    (other / "linked").mkdir()
    os.link(state / "ledger.db", other / "linked" / "ledger.db")
    (other / "symlinked.db").symlink_to(state / "ledger.db")
    own = {"ledger": other / "own.db", "spool": other / "spool"}
    return {
        "the same state folder, nothing else": own,
        "the same ledger": {"state": other / "s1", "ledger": state / "ledger.db", "spool": other / "spool"},
        "a link to the ledger": {"state": other / "s2", "ledger": other / "symlinked.db", "spool": other / "spool"},
        "a hard link": {"state": other / "s3", "ledger": other / "linked" / "ledger.db", "spool": other / "spool"},
        "a copy with the same spool": {"state": other / "s4", "ledger": other / "copy.db", "spool": state / "spool"},
        "a new ledger with the same spool": {"state": other / "s5", "spool": state / "spool"},
    }


async def test_no_second_daemon_comes_in_and_none_touches_what_is_the_first_ones(house: House) -> None:
    await house.begin()
    house.comfyui.control(hold=["history"])
    async with house.app("app") as app:
        batch = await app.submit("a", quantity=1)
        house.comfyui.control(hold=[])
        await app.settled(batch["batch_id"])
        (house.state / "ledger.db.lock").unlink()
        before = seen(house)
        assert any("spool" in path for path in before)
        for number, (way, keys) in enumerate(elsewhere(house).items()):
            said = await Second(house, f"second{number}", keys).refused()
            assert "Another daemon" in said, (way, said)
            assert seen(house) == before, way
        again: Frame = await app.submit("b", quantity=1)
        await app.settled(again["batch_id"])


async def test_after_the_first_daemon_has_ended_its_spool_is_still_its_ledgers(side_by_side: Any) -> None:
    """Another ledger would sweep the files that it does not know, a copy would replace them."""
    await side_by_side(started_on_its_spool, ["a copy", "a new ledger"])


async def started_on_its_spool(house: House, which: str) -> None:
    await house.begin()
    async with house.app("app") as app:
        batch = await app.submit("a", quantity=1)
        await app.settled(batch["batch_id"])
    house.daemon.signal(signal.SIGTERM)
    before: dict[str, Any] = {str(path): path.read_bytes() for path in (house.state / "spool").rglob("*.png")}
    assert len(before) == 1
    keys = {"state": house.folder / "other", "spool": house.state / "spool"}
    if which == "a copy":
        keys["ledger"] = Path(shutil.copy(house.state / "ledger.db", house.folder / "copy.db"))
    said = await Second(house, "second", keys).refused()
    assert "is a copy" in said if which == "a copy" else "belongs to another ledger" in said
    assert {str(path): path.read_bytes() for path in (house.state / "spool").rglob("*.png")} == before
    await house.daemon.begin()
