"""Webhooks of a real daemon that dies around a delivery: no event is lost, and a repeat has the same id."""

from __future__ import annotations

from collections import Counter

import pytest

from support.doomed_lives import Seen, die, last_life
from support.ledger_builders import check_tables
from support.processes import House
from support.receiver import SECRET, Receiver, receiving
from support.waiting import until
from support.wire_app import App, coloured


def configure(house: House, receiver: Receiver) -> None:
    (house.folder / "shop.secret").write_text(SECRET)
    house.configure(f"""
        [webhooks.shop]
        url = "{receiver.url}"
        http = true
        secret = "file:shop.secret"
        kinds = ["image_kept", "image_uploaded", "batch_settled"]
    """)


@pytest.mark.parametrize("place", ["webhook.delivering:2", "webhook.delivered:4"])
async def test_a_daemon_that_dies_around_a_delivery_loses_no_event_and_repeats_its_id(
    doomed_house: House, place: str
) -> None:
    house, seen = doomed_house, Seen()

    async def ask(app: App) -> None:
        await seen.subscribe(app)
        seen.replies.append(await app.submit("r1", images=coloured(3)))

    async with receiving() as receiver:
        configure(house, receiver)
        await die(house, place, seen, ask)
        await last_life(house, seen, ask)
        await until(lambda: "batch_settled" in receiver.kinds, "the end is delivered")
    assert all(one.is_signed for one in receiver.received)
    assert Counter(receiver.kinds) == {"image_kept": 3, "image_uploaded": 3, "batch_settled": 1}
    first = list(dict.fromkeys(one.position for one in receiver.received))
    assert first == sorted(first), "in the order of the log"
    ids = {one.position: one.id for one in receiver.received}
    assert len(set(ids.values())) == len(ids)
    assert {(one.position, one.id) for one in receiver.received} == set(ids.items()), "one event has one id"
    check_tables(house.state / "ledger.db")
