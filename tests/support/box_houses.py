"""Boxes of a fleet as whole processes: each a daemon with its own stand-in, state and spool, and one cluster for all.

All boxes store into one folder. What apps were told is kept, and judged with the log in PostgreSQL and every replica.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import psycopg
from websockets.exceptions import WebSocketException

from comfyledger.ledger.shared.keys import Keys
from comfyledger.ledger.sqlite.log_table import read_head
from comfyledger.maintenance import fleet
from fleet.history import End, History, Row, Told, violations
from support.processes import PNG_END, QUICK, SWEEP_S, House
from support.waiting import pause, until
from support.wire_app import Frame, Refusal, check_gap_free, of_kind

GONE: Final = (OSError, EOFError, WebSocketException, ConnectionError)
SOON: Final = {
    "comfyledger.workers.fleet.membership.BEAT_S": 0.2,
    "comfyledger.workers.fleet.membership.LOOK_S": 0.2,
    "comfyledger.workers.fleet.membership.AGAIN_S": 0.1,
    "comfyledger.workers.fleet.orphans.AGAIN_S": 0.5,
    "comfyledger.workers.fleet.orphans.LOOK_EVERY_S": 0.2,
    "comfyledger.workers.webhooks.turn.TURN_S": 4.0,
    "comfyledger.workers.webhooks.turn.SAFE_S": 2.0,
}
"""How often the boxes of a test look for each other, and how soon one is missed."""
LEASE: Final = "comfyledger.workers.fleet.leases.LEASE_S"
AWAY: Final = {"log_unreachable", "not_running", "busy", "fenced"}
"""Refusals that an app of a fleet answers with the same request, at the same box or at another."""


class BoxHouse(House):
    """One box. `folder`: of the whole fleet; the box has one of its own below it."""

    def __init__(self, folder: Path, name: str, address: str) -> None:
        own = folder / name
        own.mkdir()
        super().__init__(own)
        self.name, self.address, self.images = name, address, folder / "images"
        self.store = f'kind = "folder"\nroot = "{self.images}"\nshared = true'
        self.box = ""
        """Further keys of its section."""
        self.daemon.constants = {**QUICK, **SOON}

    def join(self, first: BoxHouse | None = None) -> None:
        """Make the replica: of a new fleet, or of that of another box."""
        if first is None:
            fleet.init(self.address, self.replica, _nobody)
        else:
            carried = Keys.beside(first.replica).oldest_key()
            fleet.join(self.address, self.replica, _nobody, self.name, carried)

    @property
    def replica(self) -> Path:
        return self.state / "ledger.db"

    @property
    def backend(self) -> str:
        return f"{self.name}.main"

    def configure(self, config: str = "", depth: int = 3, url: str = "", comfyui: str = "") -> None:
        text = f"""
            state_dir = "{self.state}"
            {config}
            [ledger]
            shared = "{self.address}"
            [box]
            name = "{self.name}"
            {self.box}
            [door]
            port = 0
            [comfyui.main]
            url = "{url or self.comfyui.url}"
            queue_depth = {depth}
            sweep_interval_s = {SWEEP_S}
            {comfyui}
            [stores.folder]
            {self.store}
        """
        (self.folder / "config.toml").write_text(text)

    def gave_up(self) -> bool:
        """Whether the daemon has ended because the shared log is not what it was."""
        said = {fact["event"]: fact for fact in self.daemon.errors()}
        return self.daemon.exit_code() is not None and "lost events" in str(said)

    def holds(self, text: str) -> bool:
        """Whether a text is in the files of the replica."""
        files = [path for path in self.state.glob("ledger.db*") if path.is_file()]
        return any(text.encode() in path.read_bytes() for path in files)

    def kill(self) -> None:
        """The daemon alone; its stand-in goes on."""
        self.daemon.signal(signal.SIGKILL)

    def knows(self, box: str) -> tuple[bool, int]:
        """Whether a box takes part, as the replica of this one has it, and its term."""
        with closing(sqlite3.connect(f"file:{self.replica}?mode=ro", uri=True)) as connection:
            found = connection.execute("SELECT present, row FROM boxes WHERE name = ?", (box,)).fetchone()
        return (bool(found[0]), json.loads(found[1])["term"]) if found else (False, 0)

    def end_of_log(self) -> End:
        with closing(sqlite3.connect(f"file:{self.replica}?mode=ro", uri=True)) as connection:
            head = read_head(connection)
        return End(head.position, head.hash)


class BoxHouses:
    """The boxes by name. Nothing runs before `begin`. `address`: of an empty database."""

    def __init__(self, folder: Path, address: str, names: Iterable[str] = ("north", "south", "west")) -> None:
        self.folder, self.address = folder, address
        self.images = folder / "images"
        self.boxes = {name: BoxHouse(folder, name, self.address) for name in names}
        self.told: list[Told] = []

    def __getitem__(self, name: str) -> BoxHouse:
        return self.boxes[name]

    def miss_after(self, lease_s: float) -> None:
        """After so long without a word of a box, the others are to say that it has died."""
        for one in self.all:
            one.daemon.constants = {**one.daemon.constants, LEASE: lease_s}

    @property
    def all(self) -> list[BoxHouse]:
        return list(self.boxes.values())

    async def begin(self, config: str = "", box: str = "", seconds_per_image: float = 0.0, depth: int = 3) -> None:
        """Start all boxes. `config`: sections; `box`: further keys of `[box]`."""
        first, *others = self.all
        for one in self.all:
            one.comfyui = type(one.comfyui)(one.folder, seconds_per_image)
            await one.comfyui.begin()
            one.box = box
            one.configure(config, depth)
        await asyncio.to_thread(first.join)
        for one in others:
            await asyncio.to_thread(one.join, first)
        await asyncio.gather(*(one.daemon.begin() for one in self.all))
        for one in self.all:
            await self._until_all_are_known(one)

    async def _until_all_are_known(self, box: BoxHouse) -> None:
        async def are_known() -> bool:
            async with box.app() as app:
                known = (await app.ask("server_info"))["backends"]
            return {one["name"] for one in known if one["connected"]} == {one.backend for one in self.all}

        await until(are_known, f"{box.name} knows the ComfyUIs of all boxes")

    def end(self) -> None:
        for one in self.all:
            one.end()

    # ---- apps

    async def submit(self, request_id: str, boxes: Sequence[str], **asked: Any) -> Frame:
        """Send a request to one box after the other, until one has answered. What is told is kept."""
        for turn in range(10_000):
            try:
                async with self[boxes[turn % len(boxes)]].app("app") as app:
                    answer = await app.submit(request_id, **asked)
            except Refusal as refusal:
                if refusal.code not in AWAY:
                    raise
            except GONE:
                pass
            else:
                self.keep(request_id, answer)
                return answer
            await pause(0.02)
        raise AssertionError(f"nobody answered {request_id}")

    def keep(self, request_id: str, answer: Frame) -> None:
        images = tuple((image["number"], image["public_id"]) for image in answer["images"])
        self.told.append(Told(request_id, answer["batch_id"], answer["position"], images))

    async def settled(self, box: str, *batch_ids: str) -> list[Frame]:
        """How these batches ended, as one box has it; it may be cut off from its apps meanwhile."""

        async def all_settled() -> list[Frame] | None:
            try:
                async with self[box].app() as app:
                    found = [await app.batch(batch_id) for batch_id in batch_ids]
            except (*GONE, Refusal):
                return None
            return found if all(one["status"] == "settled" for one in found) else None

        found: list[Frame] = await until(all_settled, "all batches are settled")
        return found

    async def until_left(self, name: str, seen_by: str) -> None:
        """Until another box knows that a box has left."""
        await until(lambda: not self[seen_by].knows(name)[0], f"{name} has left")

    # ---- what was seen

    def stored(self) -> dict[str, Path]:
        return self.all[0].stored()

    def rendered(self, batch_id: str) -> list[bytes]:
        """The pixels of all whole files that any stand-in has for a batch."""
        folders = [one.comfyui.output / "comfyledger" / batch_id.lower() for one in self.all]
        files = [path for folder in folders for path in folder.glob("*.png") if path.read_bytes().endswith(PNG_END)]
        return [House.drawn(path) for path in files]

    def log(self) -> tuple[list[Row], End]:
        """The log and its end, as they were at one moment."""
        with psycopg.connect(self.address) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            lines = connection.execute(
                "SELECT position, stream, kind, schema, at, data, hash FROM events ORDER BY position"
            ).fetchall()
            (head,) = connection.execute("SELECT position, hash FROM head").fetchall()
        return [Row(*line) for line in lines], End(*head)

    async def history(self) -> History:
        """Once every box that runs has taken in the whole log. Boxes may go on: what is seen are those same ends."""

        def seen() -> History | None:
            log, head = self.log()
            ends = {one.name: one.end_of_log() for one in self.all}
            return History(self.told, log, head, ends) if all(end == head for end in ends.values()) else None

        found: History = await until(seen, "all replicas have the whole log")
        return found


async def check_boxes(boxes: BoxHouses, *batches: Frame) -> list[Frame]:
    """Each image of these batches is stored once, whole, under its own number, and nothing else is. Returns the log."""
    assert violations(await boxes.history()) == []
    images = [image for batch in batches for image in batch["images"]]
    files = boxes.stored()
    assert {image["state"] for image in images} == {"stored"}
    assert sorted(files) == sorted(image["public_id"] for image in images)
    for batch in batches:
        drawn = boxes.rendered(batch["batch_id"])
        assert all(House.drawn(files[image["public_id"]]) in drawn for image in batch["images"])
    async with boxes.all[0].app() as app:
        log = await app.log()
    check_gap_free(log)
    assert len(of_kind(log, "image_uploaded")) == len(images)
    return log


def _nobody(*_: object) -> None:
    return None
