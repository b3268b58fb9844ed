"""Images into a bucket of moto's S3, with a daemon that is killed: each stored once, nothing foreign touched.

What is compared is the bucket as moto has it.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import WebSocketException

pytest.importorskip("obstore", reason="obstore is not installed")

from support.command_line import command
from support.object_house import PREFIX, STEM, BucketHouse
from support.object_servers import MOTO
from support.processes import Doomed
from support.waiting import pause, until
from support.wire_app import Frame, coloured

pytestmark = pytest.mark.skipif(not MOTO, reason="moto is not installed")

GONE = (OSError, EOFError, WebSocketException, AssertionError)
"""What an app meets while the daemon is away; a connection that has ended is an AssertionError of the raw app."""
PLACES = ("upload.intended:2", "upload.answered:3", "upload.logged:1")


@pytest.fixture
async def bucket(tmp_path: Path) -> AsyncIterator[BucketHouse]:
    """Nothing runs yet: a test calls `begin`."""
    made = BucketHouse(tmp_path)
    try:
        yield made
    finally:
        made.end()


def kinds(said: dict[str, Any]) -> dict[str, int]:
    return Counter(step["kind"] for step in said["steps"])


async def use(house: BucketHouse, request_id: str, quantity: int, places: list[str]) -> Frame:
    """An app that has its request answered, however often the daemon dies, and follows it to the end."""
    while True:
        with contextlib.suppress(*GONE):
            async with house.app("app") as app:
                asked = await app.submit(request_id, images=coloured(quantity))
                (batch,) = await app.settled(asked["batch_id"])
                return batch
        if house.daemon.exit_code() is not None:
            assert house.daemon.exit_code() == -signal.SIGKILL, house.daemon.last_words()
            house.daemon = Doomed(house, places.pop(0) if places else "")
            await house.daemon.begin()
        await pause(0.02)


async def test_a_daemon_that_is_killed_during_uploads_stores_each_image_once(bucket: BucketHouse) -> None:
    bucket.begin_server()
    foreign = bucket.put(f"{PREFIX}/somebodys own.txt", b"somebody else's") | bucket.put("elsewhere.png", b"theirs")
    places = list(PLACES)
    bucket.daemon = Doomed(bucket, places.pop(0))
    await bucket.begin("[limits]\nuploads_max = 1")
    batch = await use(bucket, "r1", 6, places)
    assert places == [], "the daemon did not die in each place"
    assert batch["stored"] == 6
    assert bucket.objects() == bucket.wanted(batch) | foreign
    assert (await command(bucket, "audit", "--stores", "--deep"))["findings"] == []


async def test_what_a_bucket_lost_is_restored_and_what_is_forgotten_is_deleted(bucket: BucketHouse) -> None:
    await bucket.begin()
    async with bucket.app() as app:
        asked = await app.submit("r1", images=coloured(3))
        (batch,) = await app.settled(asked["batch_id"])
        whole = bucket.wanted(batch)
        assert bucket.objects() == whole
        bucket.delete(f"{STEM}1.png")
        assert kinds(await command(bucket, "recover", "--missing")) == {"missing": 1}
        await app.counted("stored", 3, asked["batch_id"])
        assert bucket.objects() == whole

        shutil.rmtree(bucket.state / "spool" / asked["batch_id"])
        bucket.put(f"{STEM}3.png", b"altered by somebody")
        before = bucket.objects()
        assert kinds(await command(bucket, "recover", "--missing")) == {"different": 1}
        assert bucket.objects() == before, "what is different is never overwritten"
        await app.ask("forget", username="areg", stores=True)
        await until(lambda: len(bucket.keys()) == 1, "the other two images are deleted")
        assert bucket.objects() == {key: digest for key, digest in before.items() if key == f"{STEM}3.png"}


async def test_who_comes_with_57_images_goes_on_at_58(bucket: BucketHouse) -> None:
    bucket.begin_server()
    foreign: dict[str, str] = {}
    for number in range(1, 58):
        foreign |= bucket.put(f"{STEM}{number}.png", b"%d" % number)
    await bucket.begin()
    imported = await command(bucket, "import", "bucket")
    async with bucket.app() as app:
        asked = await app.submit("r1", images=coloured(2))
        (batch,) = await app.settled(asked["batch_id"])
    assert (imported["files"], imported["others"], imported["opened"]) == (57, 0, 1)
    assert asked["numbers"] == [58, 59]
    assert bucket.objects() == bucket.wanted(batch) | foreign
