"""Webhooks of a fleet: the box that delivers is killed in the middle, and another one goes on."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import psycopg

from support.box_houses import BoxHouse
from support.ledger_kinds import NEEDS_POSTGRES
from support.postgres import shared_cluster
from support.receiver import SECRET, Receiver, receiving
from support.waiting import until
from support.wire_app import coloured

pytestmark = NEEDS_POSTGRES
KINDS = ["image_kept", "image_uploaded", "batch_settled"]


def configure(house: BoxHouse, receiver: Receiver) -> None:
    """Each box has an address of its own, so that the receiver knows who delivers."""
    (house.folder / "shop.secret").write_text(SECRET)
    house.configure(f"""
        [webhooks.shop]
        url = "{receiver.url}/{house.name}"
        http = true
        secret = "file:shop.secret"
        kinds = {KINDS}
    """)


def asked(house: BoxHouse) -> bool:
    """Whether a box has given a second sign of life, and so has asked for the turn at the first."""
    with psycopg.connect(house.address, autocommit=True) as connection:
        row = connection.execute("SELECT beat FROM boxes WHERE name = %s", (house.name,)).fetchone()
    return row is not None and row[0] >= 2


async def test_when_the_box_that_delivers_is_killed_another_goes_on_and_leaves_out_nothing(tmp_path: Path) -> None:
    address = shared_cluster().database()
    north, south = (BoxHouse(tmp_path, name, address) for name in ("north", "south"))
    try:
        async with receiving() as receiver:
            north.join()
            south.join(north)
            for house in (north, south):
                await house.comfyui.begin()
                configure(house, receiver)
            await north.daemon.begin()
            async with north.app() as app:
                await until(lambda: "webhooks.turn_begins" in north.daemon.last_words(), "north has the turn")
                await south.daemon.begin()
                await until(lambda: "fleet.joined" in south.daemon.last_words(), "south takes part")
                await until(partial(asked, south), "south has asked for the turn")
                early = await app.submit("r0", images=coloured(2), backend="north.main")
                await app.settled(early["batch_id"])
                await until(lambda: "batch_settled" in receiver.kinds, "north delivers beside south")
                before = len(receiver.received)
                await app.submit("r1", images=coloured(6))
                await until(lambda: len(receiver.received) >= before + 3, "some are delivered")
                receiver.free.clear()
                await until(lambda: any(not one.taken for one in receiver.received), "one is under way")
                north.daemon.signal(signal.SIGKILL)
            receiver.free.set()
            async with south.app() as app:
                await until(lambda: "webhooks.turn_begins" in south.daemon.last_words(), "south has the turn")
                later = await app.submit("r2", images=coloured(2), backend="south.main")
                await app.settled(later["batch_id"])
                page = await app.ask("read_log", after=0, kinds=KINDS)
                expected = {event["position"] for event in page["events"]}
                await until(lambda: expected <= {one.position for one in receiver.taken}, "all are delivered")
        whose = [one.path.rsplit("/", 1)[1] for one in receiver.received]
        assert whose == sorted(whose), "south delivers after north, and never beside it"
        assert set(whose) == {"north", "south"}
        assert all(one.is_signed for one in receiver.received)
        ids = {one.position: one.id for one in receiver.received}
        assert {(one.position, one.id) for one in receiver.received} == set(ids.items()), "one event has one id"
        for stream in {one.stream for one in receiver.received}:
            first = list(dict.fromkeys(one.position for one in receiver.received if one.stream == stream))
            assert first == sorted(first), "in the order of the log"
    finally:
        north.end()
        south.end()
