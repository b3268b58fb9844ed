"""Stores that are away for a while, several stores with different outcomes, and stores that come, go and move."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time

import pytest

from support.processes import PROBE, House
from support.waiting import DEADLINE_S, until
from support.wire_app import App, Frame, Refusal, coloured, of_kind

KNOCK_S = 0.25
"""How soon a lane in trouble is tried again in the test of how often a store is tried; in use it is after a second."""
CHARACTER = "Areg/characters/opal-fever/images/Areg_opal-fever_image_"


def second(house: House, root: str = "second") -> str:
    """A further store beside the first."""
    return f'[stores.second]\nkind = "folder"\nroot = "{house.folder / root}"\n'


def lane_events(log: list[Frame], kind: str) -> list[str]:
    return [event["data"]["lane"] for event in of_kind(log, kind)]


async def at_least(app: App, kind: str, count: int) -> None:
    await app.ask("subscribe", kinds=[kind])
    await until(lambda: len(of_kind(app.events, kind)) >= count, f"{count} times {kind}")


async def test_a_store_that_is_away_costs_one_event_and_no_image(house: House) -> None:
    """Two uploads are under way when it goes; then one call at a time knocks, and nothing is counted."""
    house.daemon.constants = dict.fromkeys(PROBE, int(1_000 * KNOCK_S))
    await house.begin("[limits]\nuploads_max = 2")
    away = house.folder / "away"
    async with house.app() as app:
        first = await app.submit("r1", quantity=1)
        await app.settled(first["batch_id"])
        house.images.rename(away)
        since = time.monotonic()
        asked = await app.submit("r2", images=coloured(12))
        await app.counted("kept", 12, asked["batch_id"])
        await at_least(app, "upload_started", 1 + 2 + 1)
        log = await app.log()
        assert lane_events(log, "lane_paused") == ["store/folder"]
        assert len(of_kind(log, "upload_started")) <= 1 + 2 + (time.monotonic() - since) / KNOCK_S, (
            "it knocks too often"
        )
        away.rename(house.images)
        (batch,) = await app.settled(asked["batch_id"])
        log = await app.log()
    assert lane_events(log, "lane_paused") == lane_events(log, "lane_resumed") == ["store/folder"]
    assert [(image["state"], image["uploads"][0]["attempts"]) for image in batch["images"]] == [("stored", 1)] * 12
    house.check_stored(batch)


class Line:
    """The way to ComfyUI, which can be cut: then who knocks is counted and turned away."""

    def __init__(self, url: str) -> None:
        self._port = int(url.rpartition(":")[2])
        self._ends: list[asyncio.StreamWriter] = []
        self.is_cut = False
        self.knocks = 0

    def cut(self) -> None:
        self.is_cut = True
        for end in self._ends:
            end.close()

    async def met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            self.knocks += 1
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._ends += [writer, far_writer]
        with contextlib.suppress(OSError):
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65_536):
            writer.write(piece)
        writer.close()


async def test_a_comfyui_that_is_away_costs_a_handful_of_events_and_no_attempt(house: House) -> None:
    house.daemon.constants = {}
    await house.comfyui.begin()
    line = Line(house.comfyui.url)
    async with await asyncio.start_server(line.met, "127.0.0.1", 0) as server:
        house.configure(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await house.daemon.begin()
        async with house.app() as app:
            await app.settled((await app.submit("r1", quantity=1))["batch_id"])
            line.cut()
            since = time.monotonic()
            asked = await app.submit("r2", images=coloured(6))
            await until(lambda: line.knocks >= 3, "the daemon knocks again")
            assert line.knocks <= 3 + 3 * (time.monotonic() - since)
            away = await app.log()
            line.is_cut = False
            (batch,) = await app.settled(asked["batch_id"])
            log = await app.log()
    assert set(lane_events(log, "lane_paused")) <= {"backend/main"}
    assert len(lane_events(log, "lane_paused")) == len(lane_events(log, "lane_resumed")) <= 2
    assert len(of_kind(away, "prompt_submitting")) <= 1 + 3, "more were begun than have room"
    assert {event["data"]["attempt"] for event in of_kind(log, "prompt_submitting")} == {1}
    assert batch["stored"] == 6
    house.check_stored(batch)


async def test_what_one_store_will_not_take_is_parked_there_alone(house: House) -> None:
    await house.begin(second(house))
    foreign = house.folder / "second" / f"{CHARACTER}3.png"
    async with house.app() as app:
        first = await app.submit("r1", quantity=1)
        await app.settled(first["batch_id"])
        foreign.write_bytes(b"somebody else's")
        asked = await app.submit("r2", images=coloured(3))
        (batch,) = await app.settled(asked["batch_id"])
        assert (batch["stored"], batch["parked"]) == (2, 1)
        parked = batch["images"][1]
        assert {upload["store"]: (upload["state"], upload.get("code", "")) for upload in parked["uploads"]} == {
            "folder": ("stored", ""),
            "second": ("parked", "collision"),
        }
        assert foreign.read_bytes() == b"somebody else's"
        house.drawn(house.images / f"{CHARACTER}3.png")
        foreign.unlink()
        changed = await app.ask("retry", batch_id=asked["batch_id"])
        assert changed["images"] == 1
        await until_stored(app, "second", asked["batch_id"])
        batch = await app.batch(asked["batch_id"])
    assert [image["number"] for image in batch["images"]] == [2, 3, 4]
    tries = [{upload["store"]: upload["attempts"] for upload in image["uploads"]} for image in batch["images"]]
    assert tries == [{"folder": 1, "second": 1}, {"folder": 1, "second": 2}, {"folder": 1, "second": 1}]
    assert foreign.read_bytes() == (house.images / f"{CHARACTER}3.png").read_bytes()


def refused_start(house: House) -> str:
    """What a start says that is refused."""
    words = [sys.executable, "-m", "comfyledger", "run", "--config", str(house.folder / "config.toml")]
    ended = subprocess.run(words, check=False, capture_output=True, text=True, timeout=DEADLINE_S)
    assert ended.returncode == 1, ended.stderr
    assert not (house.state / "door.json").exists(), "the door was opened"
    return ended.stderr


async def restarted(house: House, config: str) -> None:
    house.daemon.signal(signal.SIGTERM)
    house.configure(config)
    await house.daemon.begin()


def uploads(batch: Frame) -> list[dict[str, str]]:
    return [{upload["store"]: upload["state"] for upload in image["uploads"]} for image in batch["images"]]


async def until_stored(app: App, store: str, batch_id: str) -> None:
    async def stored() -> bool:
        return {one.get(store) for one in uploads(await app.batch(batch_id))} == {"stored"}

    await until(stored, f"all images are stored in {store}")


async def until_lane(app: App, lane: str, code: str) -> None:
    async def paused() -> bool:
        return (lane, code) in {(one["lane"], one.get("code")) for one in (await app.ask("server_info"))["lanes"]}

    await until(paused, f"{lane} is paused with {code}")


async def test_a_store_that_comes_goes_and_moves_is_owed_what_it_was_owed(house: House) -> None:
    """Added: owes nothing for old batches. Moved: no start. Removed: its lane says so. Put back: it gets its images."""
    await house.begin()
    async with house.app() as app:
        await app.ask("pause")
        old = await app.submit("r1", quantity=1)
    in_the_way = house.folder / "mnt"
    in_the_way.touch()
    await restarted(house, second(house, "mnt/second"))
    async with house.app() as app:
        await app.ask("resume")
        (batch,) = await app.settled(old["batch_id"])
        assert uploads(batch) == [{"folder": "stored"}]
        asked = await app.submit("r2", images=coloured(2))
        await until_stored(app, "folder", asked["batch_id"])
        await until_lane(app, "store/second", "configuration")
    house.daemon.signal(signal.SIGTERM)

    house.configure(second(house, "elsewhere"))
    said = refused_start(house)
    assert f"The store second is now folder:{house.folder / 'elsewhere'}" in said
    assert f"images of batch {asked['batch_id']} (2) are owed to folder:{in_the_way / 'second'}" in said
    assert "[stores.second]" in said

    house.configure()
    await house.daemon.begin()
    async with house.app() as app:
        await until_lane(app, "store/second", "unconfigured")
        batch = await app.batch(asked["batch_id"])
        assert (batch["status"], batch["kept"]) == ("open", 2)
    in_the_way.unlink()
    await restarted(house, second(house, "mnt/second"))
    async with house.app() as app:
        (batch,) = await app.settled(asked["batch_id"])
        assert uploads(batch) == [{"folder": "stored", "second": "stored"}] * 2
        info = await app.ask("server_info")
        assert [lane for lane in info["lanes"] if lane.get("code")] == []


async def test_a_start_clears_unfinished_files_and_outputs_that_stores_have(house: House) -> None:
    await house.begin()
    async with house.app() as app:
        await app.ask("pause", scope="store:folder")
        asked = await app.submit("r1", quantity=1)
        await app.counted("kept", 1, asked["batch_id"])
    house.daemon.signal(signal.SIGKILL)
    spooled = house.state / "spool" / asked["batch_id"]
    for name in (".2-a1-1.raw", ".2-a1-1.pinned", "2.png"):
        (spooled / name).write_bytes(b"half")
    await house.daemon.begin()
    # What was being checked when the process died counts as a strike, and nothing else is left of it.
    assert sorted(path.name for path in spooled.iterdir()) == [".2-a1.strikes", "1.png"]
    async with house.app() as app:
        await app.ask("resume", scope="store:folder")
        (batch,) = await app.settled(asked["batch_id"])
    house.check_stored(batch)
    house.daemon.signal(signal.SIGTERM)
    house.configure(comfyui=f'output_dir = "{house.comfyui.output}"\noutput_keep_days = 0')
    await house.daemon.begin()
    output = house.comfyui.output / "comfyledger" / asked["batch_id"].lower()
    await until(lambda: not output.exists(), "what is stored has gone from ComfyUI's folder")


async def test_a_store_that_is_gone_for_good_is_given_up_by_one_command(house: House) -> None:
    """Paused by a person, then removed: it can be resumed and given up all the same, and the spool may go."""
    await house.begin(second(house))
    async with house.app() as app:
        await app.ask("pause", scope="store:second")
        asked = await app.submit("r1", images=coloured(3))
        await until_stored(app, "folder", asked["batch_id"])
    await restarted(house, "")
    async with house.app() as app:
        await app.ask("resume", scope="store:second")
        await until_lane(app, "store/second", "unconfigured")
        assert await app.ask("recover", drop_store="second", dry_run=True) == {
            "batches": 1,
            "images": 3,
            "dry_run": True,
        }
        assert await app.ask("recover", drop_store="second") == {"batches": 1, "images": 3}
        (batch,) = await app.settled(asked["batch_id"])
        assert (batch["stored"], uploads(batch)) == (3, [{"folder": "stored", "second": "dropped"}] * 3)
        assert (await app.ask("server_info"))["lanes"] == []
        (event,) = of_kind(await app.log(), "store_dropped")
        assert (event["data"]["store"], event["data"]["images"]) == ("second", [1, 2, 3])
        with pytest.raises(Refusal, match="nothing_to_do"):
            await app.ask("recover", drop_store="second")
    house.check_stored(batch)
