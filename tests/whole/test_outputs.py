"""The daemon dies at every place that a prompt of several outputs passes, while one output fails or gives too many
files: nothing that came is rendered again, and nobody is asked twice for what is there."""

from __future__ import annotations

import signal
from functools import partial

import pytest

from comfyledger.core.values import prompt_uuid
from support.command_line import command
from support.doomed_lives import Seen, die, last_life
from support.ledger_builders import check_tables
from support.media_graphs import savers_of, several
from support.processes import House
from support.waiting import until
from support.wire_app import App

ENDING = ["prompt.ended", "prompt.end_logged"]
FETCHING = ["fetch.asked", "spool.received", "spool.renamed", "spool.kept", "fetch.whole", "fetch.logged"]
SENDING = ["prompt.owed", "prompt.intended", "prompt.posting"]


@pytest.fixture
def house(doomed_house: House) -> House:
    return doomed_house


async def ask(app: App, media: tuple[str, ...], seen: Seen) -> None:
    await seen.subscribe(app)
    asked = {"workflow": several(*media, color=7), "outputs": savers_of(*media), "inputs": {}}
    seen.replies.append(await app.submit("r1", quantity=1, **asked))


def runs(house: House, batch_id: str, *media: str) -> list[set[str]]:
    """Which outputs of a batch each of its runs brought to an end."""
    ours = {prompt_uuid(batch_id, 1, attempt) for attempt in range(1, 9)}
    runs = [one for one in house.comfyui.ledger()["prompts"] if one["prompt_id"] in ours]
    return [set(one["executed"]) & set(savers_of(*media)) for one in runs]


async def test_what_one_output_gave_is_kept_whatever_dies_while_another_fails(house: House) -> None:
    seen, media = Seen(), ("mp4", "png")
    house.comfyui.control(fail_nodes={"png:9": 1})
    go_on = partial(ask, media=media, seen=seen)
    for place in [*ENDING, *FETCHING, *SENDING, *ENDING, *FETCHING]:
        await die(house, place, seen, go_on)
    batch = await last_life(house, seen, go_on)
    seen.check_replies()
    assert [image["state"] for image in batch["images"]] == ["stored", "stored"]
    assert sorted(house.stored()) == sorted(seen.replies[0]["public_ids"])
    kept = [event["data"] for event in seen.events if event["kind"] == "image_kept"]
    assert [(one["image"], one["attempt"]) for one in kept] == [(1, 1), (2, 2)]
    check_tables(house.state / "ledger.db")
    assert house.daemon.errors() == []
    assert runs(house, batch["batch_id"], *media) == [{"mp4:9"}, {"png:9"}]


async def test_files_of_one_output_wait_whatever_dies_meanwhile(house: House) -> None:
    seen, media = Seen(), ("mp4", "frames")
    go_on = partial(ask, media=media, seen=seen)
    for place in [*ENDING, "fetch.asked:3", "fetch.whole", "fetch.logged", "fetch.whole", "fetch.logged"]:
        await die(house, place, seen, go_on)
    batch = await last_life(house, seen, go_on)
    assert [image["state"] for image in batch["images"]] == ["stored", "parked"]
    assert "3 files of output 2 (node frames:9) where 1 was expected" in batch["images"][1]["text"]
    batch_id = batch["batch_id"]
    house.daemon.signal(signal.SIGKILL)
    for place in ("fetch.whole", "fetch.logged"):
        await die(house, place, Seen(), partial(take_all, batch_id=batch_id))
    await house.daemon.begin()
    async with house.app() as app:
        batch = await app.counted("stored", 4, batch_id)
    assert [image["number"] for image in batch["images"]] == [1, 1, 2, 3]
    assert runs(house, batch_id, *media) == [set(savers_of(*media))]
    spool = house.state / "spool" / batch_id
    await until(lambda: all(int(path.stem) < 10**9 for path in spool.glob("*")), "what waited goes")
    house.daemon.signal(signal.SIGTERM)
    assert (await command(house, "audit"))["findings"] == []


async def take_all(app: App, batch_id: str) -> None:
    """The first life makes the choice; the others go on with it."""
    batch = await app.batch(batch_id)
    if batch["parked"]:
        await app.ask("retry", batch_id=batch_id, take="all")
