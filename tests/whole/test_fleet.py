"""Three boxes on one log, as whole processes: whatever dies, each number is given once and each image is stored once.

The files of the store, the log in PostgreSQL and the replicas say what happened; the daemons' word is compared.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet.history import violations
from support.box_houses import BoxHouses
from support.command_line import command
from support.postgres import POSTGRES, WHY_NOT, Cluster, running
from support.waiting import until
from support.wire_app import Frame, Refusal, check_gap_free, of_kind
from whole.conftest import FAILED, check_laws

pytestmark = pytest.mark.skipif(POSTGRES is None, reason=WHY_NOT)
BATCHES, EACH = 12, 5
KILLS_OF_BOXES, KILLS_OF_DATABASE = 4, 2
AWAY = {"ledger.log_unreachable", "fleet.away"}
"""What a daemon may log when its database was killed."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running(Cluster()) as (one,):
        yield one.begin()


@pytest.fixture
async def boxes(tmp_path: Path, cluster: Cluster, request: pytest.FixtureRequest) -> AsyncIterator[BoxHouses]:
    """Nothing runs yet but the database: a test calls `begin`."""
    made = BoxHouses(tmp_path, cluster)
    try:
        yield made
        if not request.node.stash.get(FAILED, False):
            for one in made.all:
                one.expected_errors |= AWAY
                check_laws(one)
    finally:
        made.end()
        if request.node.stash.get(FAILED, False):
            for one in made.all:
                print(f"{one.folder}\n{one.daemon.last_words()}")


async def check_all(boxes: BoxHouses, *batches: Frame) -> list[Frame]:
    """Each image of these batches is stored once, whole, under its own number. Returns the log."""
    assert violations(await boxes.history()) == []
    images = [image for batch in batches for image in batch["images"]]
    files = boxes.stored()
    assert {image["state"] for image in images} == {"stored"}
    assert sorted(files) == sorted(image["public_id"] for image in images)
    for batch in batches:
        drawn = boxes.rendered(batch["batch_id"])
        assert all(boxes.all[0].drawn(files[image["public_id"]]) in drawn for image in batch["images"])
    async with boxes["north"].app() as app:
        log = await app.log()
    check_gap_free(log)
    assert len(of_kind(log, "image_uploaded")) == len(images)
    return log


async def check_replicas(boxes: BoxHouses) -> None:
    """What a person runs on each box. All are at the same end, and each is whole in itself."""
    heads = set()
    for one in boxes.all:
        assert (await command(one, "audit", "--deep"))["findings"] == []
        replayed = await command(one, "replay", "--check")
        heads.add(str(sorted(replayed.items())))
    assert len(heads) == 1


async def kill_in_turn(boxes: BoxHouses, seed: int) -> None:
    """Boxes and the database die at moments that a seed chooses, and come back."""
    chance = random.Random(seed)
    victims = ["box"] * KILLS_OF_BOXES + ["database"] * KILLS_OF_DATABASE
    chance.shuffle(victims)
    for victim in victims:
        images = len(boxes.stored())
        more = images + chance.randint(1, 6)
        await until(lambda more=more: len(boxes.stored()) >= min(more, BATCHES * EACH - 1), "more images are stored")
        if victim == "database":
            await asyncio.to_thread(boxes.cluster.restart)
            continue
        one = chance.choice(boxes.all)
        await asyncio.to_thread(one.kill)
        await one.daemon.begin()


@pytest.mark.parametrize("seed", [7])
async def test_whatever_is_killed_one_series_has_each_number_once_and_each_image_is_stored_once(
    boxes: BoxHouses, seed: int
) -> None:
    await boxes.begin(seconds_per_image=0.05)
    names = list(boxes.boxes)
    killing = asyncio.create_task(kill_in_turn(boxes, seed))
    asked: list[Any] = []
    async with asyncio.TaskGroup() as group:
        for number in range(BATCHES):
            turned = names[number % 3 :] + names[: number % 3]
            asked.append(group.create_task(boxes.submit(f"r{number}", turned, quantity=EACH)))
    batch_ids = [task.result()["batch_id"] for task in asked]
    batches = await boxes.settled("north", *batch_ids)
    await killing
    await check_all(boxes, *batches)
    numbers = sorted(image["number"] for batch in batches for image in batch["images"])
    assert numbers == list(range(1, BATCHES * EACH + 1))
    await check_replicas(boxes)


async def test_while_the_database_is_away_lists_answer_and_requests_are_refused(boxes: BoxHouses) -> None:
    await boxes.begin()
    first = await boxes.submit("r1", ["north"], quantity=2)
    await boxes.settled("south", first["batch_id"])
    async with boxes["south"].app("app") as app:
        await app.ask("subscribe")
        await asyncio.to_thread(boxes.cluster.stop)
        with pytest.raises(Refusal) as refused:
            await app.submit("r2", quantity=2)
        assert refused.value.code == "log_unreachable"
        assert "request_id" in refused.value.data["hint"]
        assert [batch["batch_id"] for batch in (await app.ask("list_batches"))["batches"]] == [first["batch_id"]]
        await until(lambda: of_kind(app.events, "batch_settled"), "the subscription goes on")
        await asyncio.to_thread(boxes.cluster.begin)
        second = await boxes.submit("r2", ["south"], quantity=2)
        await until(lambda: len(of_kind(app.events, "batch_settled")) == 2, "the subscription tells the rest")
    assert [image["number"] for image in second["images"]] == [3, 4]
    await check_all(boxes, *await boxes.settled("west", first["batch_id"], second["batch_id"]))


async def test_what_is_asked_at_one_box_is_answered_alike_at_every_other(boxes: BoxHouses) -> None:
    await boxes.begin()
    answers = [await boxes.submit("r1", [name], quantity=3) for name in boxes.boxes]
    assert [answer.pop("repeated", False) for answer in answers] == [False, True, True]
    assert answers[0] == answers[1] == answers[2]

    await check_all(boxes, *await boxes.settled("west", answers[0]["batch_id"]))
