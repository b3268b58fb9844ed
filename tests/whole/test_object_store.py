"""Images into a bucket, whatever its answers: each stored once under its number, and nothing ever overwritten.

The faults are the stand-in's; the daemon is killed in between. What is compared is the stand-in's own ledger, which has
every version of every object that ever was.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
from functools import partial
from typing import Any

import pytest
from websockets.exceptions import WebSocketException

pytest.importorskip("obstore", reason="obstore is not installed")

from support.object_house import ObjectHouse
from support.processes import Doomed
from support.waiting import pause, until
from support.wire_app import Frame, coloured

FOLDER = "Areg/characters/opal-fever/images"
STEM = f"{FOLDER}/Areg_opal-fever_image_"
GONE = (OSError, EOFError, WebSocketException, AssertionError)
"""What an app meets while the daemon is away; a connection that has ended is an AssertionError of the raw app."""
LIVES = {
    "nowhere": ("", ["store_then_reset", "store_then_html_502", "reset_mid_body", "store_then_truncate"]),
    "before the call": ("upload.intended:3", ["store_then_reset", "html_502", "reset_before_body"]),
    "after the answer": ("upload.answered:3", ["store_then_answer", "answer", "reset_after_body"]),
    "after the record": ("upload.logged:2", ["store_then_html_502", "answer", "store_then_reset"]),
}
"""Where the daemon dies, and the faults that strike the first, third, fifth ... image at every attempt but the last."""
PAUSES = {
    "SlowDown": ("throttled", "SlowDown"),
    "RequestTimeTooSkewed": ("clock", "clock of this machine"),
    "ExpiredToken": ("configuration", "ExpiredToken"),
    "PermanentRedirect": ("configuration", "region"),
    "InsufficientStorage": ("full", "InsufficientStorage"),
    "TooManyRequests": ("throttled", "TooManyRequests"),
    "ServiceUnavailable": ("throttled", "ServiceUnavailable"),
    "AccessDenied": ("configuration", "AccessDenied"),
    "QuotaExceeded": ("full", "QuotaExceeded"),
}
"""What the server answers, the code of the pause, and what its text names."""
OF_S3 = ("SlowDown", "RequestTimeTooSkewed", "ExpiredToken", "PermanentRedirect", "InsufficientStorage")
OF_GOOGLE = ("TooManyRequests", "ServiceUnavailable", "AccessDenied", "QuotaExceeded")
"""What Google answers: it has no regions, and of a clock that is wrong it gives no token."""


async def use(house: ObjectHouse, request_id: str, quantity: int) -> Frame:
    """An app that has its request answered, however often the daemon dies, and follows it to the end."""
    while True:
        with contextlib.suppress(*GONE):
            async with house.app("app") as app:
                asked = await app.submit(request_id, images=coloured(quantity))
                (batch,) = await app.settled(asked["batch_id"])
                return batch
        if isinstance(house.daemon, Doomed) and house.daemon.exit_code() is not None:
            assert house.daemon.exit_code() == -signal.SIGKILL, house.daemon.last_words()
            house.daemon = Doomed(house)
            await house.daemon.begin()
        await pause(0.02)


@pytest.mark.parametrize("dialect", ["s3", "gcs"])
async def test_whatever_the_server_answers_each_image_is_stored_once(side_by_side: Any, dialect: str) -> None:
    await side_by_side(life_with_faults, LIVES, make=partial(ObjectHouse, dialect=dialect))


async def life_with_faults(house: ObjectHouse, life: str) -> None:
    """The question whether an image is there is lost once as well, so that it is sent again although it is there."""
    place, faults = LIVES[life]
    house.objects.begin()
    foreign = house.objects.put(f"{FOLDER}/somebodys_own.png", "theirs")
    for index, fault in enumerate(faults):
        key = f"{STEM}{1 + 2 * index}.png"
        house.objects.spoil(fault, key, times=2)
        house.objects.spoil("reset_before_body", key, "HEAD")
    house.daemon = Doomed(house, place)
    await house.begin("[limits]\nuploads_max = 1")
    batch = await use(house, "r1", 2 * len(faults))
    assert batch["stored"] == 2 * len(faults)
    house.check_objects(batch, foreign=foreign)
    assert {one["fault"] for one in house.objects.requests()} - {None, "reset_before_body"} == (
        set(faults) - {"reset_before_body"}
    )


@pytest.mark.parametrize(("dialect", "refusals"), [("s3", OF_S3), ("gcs", OF_GOOGLE)])
async def test_a_store_that_does_not_take_images_pauses_and_goes_on_by_itself(
    side_by_side: Any, dialect: str, refusals: tuple[str, ...]
) -> None:
    await side_by_side(life_with_a_pause, refusals, make=partial(ObjectHouse, dialect=dialect))


async def life_with_a_pause(house: ObjectHouse, refusal: str) -> None:
    await house.begin()
    house.objects.control(faults=[{"fault": "answer", "code": refusal, "match": {"prefix": STEM}, "times": 0}])
    async with house.app() as app:
        asked = await app.submit("r1", images=coloured(2))
        await app.counted("kept", 2, asked["batch_id"])
        await app.ask("subscribe", kinds=["lane_paused"])
        await until(lambda: app.events, "the lane is paused")
        (lane,) = (await app.ask("server_info"))["lanes"]
        pause_code, named = PAUSES[refusal]
        assert (lane["lane"], lane["code"], named in lane["text"]) == ("store/objects", pause_code, True)
        house.objects.control(clear_faults=True)
        (batch,) = await app.settled(asked["batch_id"])
    assert batch["stored"] == 2
    house.check_objects(batch)


async def test_a_store_that_looks_first_is_named_as_such_by_the_daemon(objects: ObjectHouse) -> None:
    objects.options = 'unsafe_overwrite_check = "head"'
    await objects.begin()
    async with objects.app() as app:
        batch = await use(objects, "r1", 1)
        (store,) = (await app.ask("server_info"))["stores"]
    assert store["caveat"].startswith("Promise 8 does not hold for this store: ")
    objects.check_objects(batch)


async def test_numbers_go_on_after_those_in_the_bucket(objects: ObjectHouse) -> None:
    objects.objects.begin()
    objects.objects.control(seed=[{"key": f"{STEM}{number}.png", "text": "x"} for number in range(1, 58)])
    await objects.begin()
    async with objects.app() as app:
        asked = await app.submit("r1")
        await app.settled(asked["batch_id"])
    assert asked["numbers"] == [58, 59, 60]


async def test_a_lost_log_is_continued_and_what_was_stored_is_never_overwritten(objects: ObjectHouse) -> None:
    """The ledger is gone, the bucket is not: numbers go on after its highest."""
    await objects.begin()
    first = await use(objects, "r1", 2)
    before = {one["key"]: one["sha256"] for one in objects.objects.versions() if one["ended"] is None}
    objects.daemon.signal(signal.SIGKILL)
    shutil.rmtree(objects.state)
    await objects.daemon.begin()
    again = await use(objects, "r1", 2)
    assert [image["number"] for image in (*first["images"], *again["images"])] == [1, 2, 3, 4]
    objects.check_objects(again, foreign=before)


async def test_a_late_listing_costs_a_collision_that_is_parked_and_the_other_bytes_stay(objects: ObjectHouse) -> None:
    """Another program stores image 2 while listings do not show it yet."""
    await objects.begin()
    objects.objects.control(lists_late=True)
    foreign = objects.objects.put(f"{STEM}2.png", "theirs")
    async with objects.app() as app:
        asked = await app.submit("r1", images=coloured(3))
        (batch,) = await app.settled(asked["batch_id"])
    assert [image["state"] for image in batch["images"]] == ["stored", "parked", "stored"]
    assert batch["images"][1]["uploads"][0]["code"] == "collision"
    del batch["images"][1]
    objects.check_objects(batch, foreign=foreign)


async def test_behind_a_proxy_that_caches_images_wait_and_are_stored_once(objects: ObjectHouse) -> None:
    """The proxy has answered of each image that it is not there, and the answers to the uploads are lost."""
    await objects.begin()
    objects.objects.control(caches=True)
    for number in (1, 2):
        objects.see_missing(f"{STEM}{number}.png")
        objects.objects.spoil("store_then_reset", f"{STEM}{number}.png")
    async with objects.app() as app:
        asked = await app.submit("r1", images=coloured(2))
        await app.ask("subscribe", kinds=["lane_paused"])
        await until(lambda: app.events, "the lane is paused")
        objects.objects.control(caches=False)
        (batch,) = await app.settled(asked["batch_id"])
    assert batch["stored"] == 2
    objects.check_objects(batch)
