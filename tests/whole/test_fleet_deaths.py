"""What becomes of a fleet when a box dies, sleeps or returns, and when its database is not what it was."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from fleet.history import GENESIS, Row, hash_of
from support.box_houses import BoxHouses, check_boxes
from support.cloudinary_process import Account
from support.command_line import command
from support.postgres import POSTGRES, WHY_NOT, Cluster, running
from support.waiting import until
from support.wire_app import of_kind
from whole.conftest import kept_boxes

pytestmark = pytest.mark.skipif(POSTGRES is None, reason=WHY_NOT)
LEASE_S = 2.0
"""Of a fleet that is to miss a box soon. A busy machine may miss the other one too, which then joins again."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running(Cluster()) as (one,):
        yield one.begin()


@pytest.fixture
async def boxes(tmp_path: Path, cluster: Cluster, request: pytest.FixtureRequest) -> AsyncIterator[BoxHouses]:
    """Two boxes. A test calls `begin`, and may say before how soon they miss each other."""
    with kept_boxes(BoxHouses(tmp_path, cluster.database(), ("north", "south")), request) as made:
        yield made


@pytest.fixture
def standby(cluster: Cluster) -> Iterator[Cluster]:
    with running(cluster.standby()) as (one,):
        yield one


@pytest.fixture
async def two_servers(
    tmp_path: Path, cluster: Cluster, standby: Cluster, request: pytest.FixtureRequest
) -> AsyncIterator[BoxHouses]:
    """Two boxes that know both servers, and use the one that takes writes."""
    server, _, database = cluster.database().rpartition("/")
    address = f"{server},127.0.0.1:{standby.port}/{database}?target_session_attrs=read-write"
    with kept_boxes(BoxHouses(tmp_path, address, ("north", "south")), request) as made:
        yield made


async def kept_at_north(boxes: BoxHouses, images: int) -> str:
    """North has rendered a batch, and no store has any of it, because a person paused the store. Returns its id."""
    async with boxes["north"].app("app") as app:
        for scope in ("store:folder", "backend:south.main"):
            await app.ask("pause", scope=scope)
        answer = await app.submit("r1", quantity=images)
        boxes.keep("r1", answer)
        await app.counted("kept", images, answer["batch_id"])
    return str(answer["batch_id"])


async def give_up_north(boxes: BoxHouses) -> None:
    """North is dead and does not come back: somebody says so, and what it kept is for south."""
    boxes["north"].kill()
    assert (await command(boxes["north"], "fleet", "leave"))["changed"]
    await boxes.until_left("north", seen_by="south")
    async with boxes["south"].app("app") as app:
        assert (await app.ask("give_up_box", name="north"))["changed"]


async def resume_all(boxes: BoxHouses) -> None:
    async with boxes["south"].app("app") as app:
        for scope in ("store:folder", "backend:south.main"):
            await app.ask("resume", scope=scope)


async def test_what_a_dead_box_kept_is_stored_under_its_own_numbers(boxes: BoxHouses) -> None:
    await boxes.begin()
    batch_id = await kept_at_north(boxes, 20)
    await give_up_north(boxes)
    await resume_all(boxes)
    (batch,) = await boxes.settled("south", batch_id)
    await boxes["north"].daemon.begin()
    log = await check_boxes(boxes, batch)
    assert [image["number"] for image in batch["images"]] == list(range(1, 21))
    assert len(of_kind(log, "image_kept")) == 40, "each was rendered at north, and again"


async def test_a_box_that_returns_stores_nothing_twice_and_replaces_nothing(boxes: BoxHouses, tmp_path: Path) -> None:
    """North has uploaded an image when it dies, and nobody was told so."""
    account = Account(tmp_path)
    await account.begin()
    account.control(faults=[{"fault": "store_then_hang", "match": {"path": "/upload", "method": "POST"}}])
    secret = tmp_path / "secret"
    secret.write_text(account.api_secret)
    for one in boxes.all:
        one.store = (
            f'kind = "cloudinary"\ncloud_name = "{account.cloud_name}"\napi_key = "{account.api_key}"\n'
            f'api_secret_file = "{secret}"\nupload_prefix = "{account.url}"'
        )
    try:
        await boxes.begin()
        async with boxes["north"].app("app") as app:
            await app.ask("pause", scope="backend:south.main")
        answer = await boxes.submit("r1", ["north"], quantity=1)
        await until(account.assets, "the account has the image")
        await give_up_north(boxes)
        async with boxes["south"].app("app") as app:
            await app.ask("resume", scope="backend:south.main")
        (batch,) = await boxes.settled("south", answer["batch_id"])
        before = account.assets()
        await boxes["north"].daemon.begin()
        await until(lambda: boxes["south"].knows("north")[0], "north is back")
        more = await boxes.submit("r2", ["north"], quantity=2)
        await boxes.settled("north", more["batch_id"])
        (image,) = batch["images"]
        assert image["state"] == "stored"
        assert [one["fault"] for one in account.uploads() if one["fault"]] == ["store_then_hang"]
        assert account.assets()[image["public_id"]] == before[image["public_id"]]
        assert not [one for one in account.requests() if one["is_replaced"]]
        news = Counter(one["public_id"] for one in account.uploads() if one["answer"] == "new" and one["is_stored"])
        assert set(news.values()) == {1}
        assert len(news) == 3
    finally:
        account.end()


async def test_a_box_that_slept_is_fenced_and_goes_on(boxes: BoxHouses) -> None:
    boxes.miss_after(LEASE_S)
    await boxes.begin(seconds_per_image=0.1)
    first = await boxes.submit("r1", ["north"], quantity=6)
    north = boxes["north"]
    await until(north.comfyui.posted, "north has work")
    os.kill(north.daemon.pid, signal.SIGSTOP)
    await boxes.until_left("north", seen_by="south")
    os.kill(north.daemon.pid, signal.SIGCONT)
    await until(lambda: boxes["south"].knows("north") >= (True, 2), "north has joined again")
    second = await boxes.submit("r2", ["north"], quantity=2)
    batches = await boxes.settled("north", first["batch_id"], second["batch_id"])
    log = await check_boxes(boxes, *batches)
    terms = [event["data"]["term"] for event in of_kind(log, "box_joined") if event["data"]["box"] == "north"]
    left = [event["data"] for event in of_kind(log, "box_left") if event["data"]["box"] == "north"]
    assert terms == list(range(1, len(terms) + 1))
    assert left[0] == {"box": "north", "term": 1, "reason": "lease"}


async def test_a_box_that_had_nothing_to_do_when_it_slept_joins_again(boxes: BoxHouses) -> None:
    boxes.miss_after(LEASE_S)
    await boxes.begin()
    north = boxes["north"]
    await until(lambda: boxes["south"].knows("north") == (True, 1), "north has joined")
    os.kill(north.daemon.pid, signal.SIGSTOP)
    await boxes.until_left("north", seen_by="south")
    os.kill(north.daemon.pid, signal.SIGCONT)
    await until(lambda: boxes["south"].knows("north") >= (True, 2), "north has joined again")
    answer = await boxes.submit("r1", ["north"], quantity=2)
    log = await check_boxes(boxes, *await boxes.settled("north", answer["batch_id"]))
    assert [event["data"]["box"] for event in of_kind(log, "box_left")] == ["north"]


async def test_a_promoted_sync_standby_loses_nothing(
    two_servers: BoxHouses, cluster: Cluster, standby: Cluster
) -> None:
    await asyncio.to_thread(cluster.wait_for_standby)
    await two_servers.begin()
    names = list(two_servers.boxes)
    before = [await two_servers.submit(f"r{number}", names, quantity=2) for number in range(4)]
    await asyncio.to_thread(cluster.kill)
    await asyncio.to_thread(standby.promote)
    after = [await two_servers.submit(f"r{number}", names, quantity=2) for number in range(6)]
    assert [answer["batch_id"] for answer in after[:4]] == [answer["batch_id"] for answer in before]
    batches = await two_servers.settled("south", *(answer["batch_id"] for answer in after))
    await check_boxes(two_servers, *batches)


async def all_give_up(boxes: BoxHouses) -> None:
    """Each box finds out by itself that the log is not what it was, and ends rather than give a number."""
    await until(lambda: all(one.gave_up() for one in boxes.all), "every box notices it")
    for one in boxes.all:
        one.expected_errors |= {fact["event"] for fact in one.daemon.errors()}


async def test_a_promoted_async_one_is_noticed_by_every_box(
    two_servers: BoxHouses, cluster: Cluster, standby: Cluster
) -> None:
    await two_servers.begin()
    await two_servers.submit("r1", ["north"], quantity=1)
    await asyncio.to_thread(standby.kill)
    lost = await two_servers.submit("r2", ["north"], quantity=1)
    await two_servers.settled("south", lost["batch_id"])
    await asyncio.to_thread(cluster.kill)
    await asyncio.to_thread(standby.begin)
    await asyncio.to_thread(standby.promote)
    await all_give_up(two_servers)


def rewritten(rows: list[Row]) -> list[Row]:
    """The log with another user in it, and every hash computed anew."""
    found: list[Row] = []
    for row in rows:
        changed = row._replace(data=row.data.replace('"username":"Areg"', '"username":"Anna"'))
        found.append(changed._replace(hash=hash_of(found[-1].hash if found else GENESIS, changed)))
    return found


async def test_a_history_rewritten_in_the_database_is_noticed_by_every_box(boxes: BoxHouses) -> None:
    await boxes.begin()
    answer = await boxes.submit("r1", ["north"], quantity=2)
    await boxes.settled("south", answer["batch_id"])
    await boxes.history()
    rows = rewritten(boxes.log()[0])
    with psycopg.connect(boxes.address) as connection:
        connection.execute("SELECT 1 FROM head FOR UPDATE")
        connection.execute("ALTER TABLE events DISABLE TRIGGER USER")
        for row in rows:
            connection.execute(
                "UPDATE events SET data = %s, hash = %s WHERE position = %s", (row.data, row.hash, row[0])
            )
        connection.execute("UPDATE head SET hash = %s", (rows[-1].hash,))
    await all_give_up(boxes)


async def test_forgotten_texts_are_in_no_replica_and_not_in_the_database(boxes: BoxHouses, cluster: Cluster) -> None:
    text = "a word that nobody must find again"
    await boxes.begin()
    answer = await boxes.submit("r1", ["north"], quantity=1, workflow="text-to-image", inputs={"prompt": text})
    await boxes.settled("south", answer["batch_id"])
    await boxes.history()
    assert all(one.holds(text) for one in boxes.all)
    assert not in_database(cluster, text), "it was never written there in the clear"
    async with boxes["south"].app("app") as app:
        await app.ask("forget", batch_id=answer["batch_id"])
    await until(lambda: not any(one.holds(text) for one in boxes.all), "no replica has it")
    assert not in_database(cluster, text)


def in_database(cluster: Cluster, text: str) -> bool:
    """Whether a text is in any file of PostgreSQL, its write-ahead log among them."""
    cluster.execute("CHECKPOINT")
    return any(text.encode() in path.read_bytes() for path in cluster.folder.rglob("*") if path.is_file())
