"""Three boxes on one log, as whole processes: whatever dies, each number is given once and each image is stored once.

The files of the store, the log in PostgreSQL and the replicas say what happened; the daemons' word is compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.box_houses import BoxHouses, check_boxes
from support.postgres import POSTGRES, WHY_NOT, Cluster, running
from support.waiting import until
from support.wire_app import Refusal, of_kind
from whole.conftest import kept_boxes
from whole.soak_boxes import Plan, soak

pytestmark = pytest.mark.skipif(POSTGRES is None, reason=WHY_NOT)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running(Cluster()) as (one,):
        yield one.begin()


@pytest.fixture
async def boxes(tmp_path: Path, cluster: Cluster, request: pytest.FixtureRequest) -> AsyncIterator[BoxHouses]:
    """Nothing runs yet but the database: a test calls `begin`."""
    with kept_boxes(BoxHouses(tmp_path, cluster.database()), request) as made:
        yield made


async def test_whatever_is_killed_one_series_has_each_number_once_and_each_image_is_stored_once(
    boxes: BoxHouses, cluster: Cluster
) -> None:
    await soak(boxes, cluster, Plan(images=60, kills=4, database_kills=2, seed=7))


async def test_while_the_database_is_away_lists_answer_and_requests_are_refused(
    boxes: BoxHouses, cluster: Cluster
) -> None:
    await boxes.begin()
    first = await boxes.submit("r1", ["north"], quantity=2)
    await boxes.settled("south", first["batch_id"])
    async with boxes["south"].app("app") as app:
        await app.ask("subscribe")
        await asyncio.to_thread(cluster.stop)
        with pytest.raises(Refusal) as refused:
            await app.submit("r2", quantity=2)
        assert refused.value.code == "log_unreachable"
        assert "request_id" in refused.value.data["hint"]
        assert [batch["batch_id"] for batch in (await app.ask("list_batches"))["batches"]] == [first["batch_id"]]
        await until(lambda: of_kind(app.events, "batch_settled"), "the subscription goes on")
        await asyncio.to_thread(cluster.begin)
        second = await boxes.submit("r2", ["south"], quantity=2)
        await until(lambda: len(of_kind(app.events, "batch_settled")) == 2, "the subscription tells the rest")
    assert [image["number"] for image in second["images"]] == [3, 4]
    await check_boxes(boxes, *await boxes.settled("west", first["batch_id"], second["batch_id"]))


async def test_what_is_asked_at_one_box_is_answered_alike_at_every_other(boxes: BoxHouses) -> None:
    await boxes.begin()
    answers = [await boxes.submit("r1", [name], quantity=3) for name in boxes.boxes]
    assert [answer.pop("repeated", False) for answer in answers] == [False, True, True]
    assert answers[0] == answers[1] == answers[2]

    await check_boxes(boxes, *await boxes.settled("west", answers[0]["batch_id"]))
