"""Images into an account, whatever its answers: each stored once under its number, nothing overwritten, 0 Admin calls.

The faults are the stand-in's; the daemon is killed in between. What is compared is the stand-in's own ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import WebSocketException

from support.cloudinary_process import FOLDER, STEM, CloudHouse
from support.processes import Doomed
from support.waiting import pause, until
from support.wire_app import SMALL, App, Frame, Refusal, coloured, of_kind

GONE = (OSError, EOFError, WebSocketException, AssertionError)
"""What an app meets while the daemon is away; a connection that has ended is an AssertionError of the raw app."""
ASKED = "resources/image/upload"
EACH_TYPE = [f"resources/{kind}/upload" for kind in ("image", "video", "raw")]

LIVES = {
    "nowhere": ("", ["store_then_hang", "store_then_truncate", "store_then_html_502", "reset_mid_body"]),
    "before the call": ("upload.intended:3", ["store_then_reset", "html_502", "reset_before_body"]),
    "after the answer": ("upload.answered:3", ["store_then_truncate", "store_then_answer", "truncate"]),
    "after the record": ("upload.logged:2", ["store_then_html_502", "pending", "store_then_pending"]),
}
"""Where the daemon dies, and the faults that strike the first, third, fifth ... image: each is followed by one that
goes well, so that the lane is probed after a second and no longer. Some strike the second attempt again."""


def plan(cloud: CloudHouse, faults: list[str]) -> None:
    for place, fault in enumerate(faults):
        cloud.account.spoil(fault, f"{STEM}{1 + 2 * place}")
    cloud.account.spoil("store_then_reset", f"{STEM}1", nth=2)


async def use(cloud: CloudHouse, request_id: str, quantity: int) -> Frame:
    """An app that has its request answered, however often the daemon dies, and follows it to the end."""
    while True:
        with contextlib.suppress(*GONE):
            async with cloud.app("app") as app:
                asked = await app.submit(request_id, images=coloured(quantity))
                (batch,) = await app.settled(asked["batch_id"])
                return batch
        if isinstance(cloud.daemon, Doomed) and cloud.daemon.exit_code() is not None:
            assert cloud.daemon.exit_code() == -signal.SIGKILL, cloud.daemon.last_words()
            cloud.daemon = Doomed(cloud)
            await cloud.daemon.begin()
        await pause(0.02)


async def test_whatever_the_account_answers_each_image_is_stored_once(side_by_side: Any) -> None:
    await side_by_side(life_with_faults, LIVES, make=CloudHouse)


async def life_with_faults(cloud: CloudHouse, life: str) -> None:
    place, faults = LIVES[life]
    cloud.options = "answer_timeout_s = 0.4"
    await cloud.account.begin()
    foreign = cloud.account.put(f"{FOLDER}/somebodys_own")
    plan(cloud, faults)
    cloud.daemon = Doomed(cloud, place)
    await cloud.begin("[limits]\nuploads_max = 1")
    batch = await use(cloud, "r1", 2 * len(faults))
    assert batch["stored"] == 2 * len(faults)
    cloud.check_account(batch, foreign=foreign)
    asked = [path for path in cloud.account.admin_calls() if not path.endswith(("/config", "/usage"))]
    assert [path.rpartition("/v1_1/")[2].partition("/")[2] for path in asked] == EACH_TYPE, "asked during uploads"
    struck = {one["fault"] for one in cloud.account.uploads()} - {None}
    assert struck == {*faults, "store_then_reset"}


async def test_who_comes_with_57_images_goes_on_at_58_without_any_command(cloud: CloudHouse) -> None:
    await cloud.account.begin()
    cloud.account.control(seed={"prefix": STEM, "count": 57})
    await cloud.begin()
    async with cloud.app() as app:
        asked = await app.submit("r1")
        (batch,) = await app.settled(asked["batch_id"])
        again = await app.submit("r2", quantity=1)
    assert (asked["numbers"], again["numbers"]) == ([58, 59, 60], [61])
    assert {image["uploads"][0]["url"].rpartition("/")[2] for image in batch["images"]} == {
        f"Areg_opal-fever_image_{number}.png" for number in (58, 59, 60)
    }
    assert len([path for path in cloud.account.admin_calls() if path.endswith(ASKED)]) == 1


async def test_with_the_budget_used_up_the_batch_waits_and_says_so(cloud: CloudHouse) -> None:
    cloud.options = 'folder_mode = "dynamic"'
    await cloud.begin("[limits]\nfirst_use_wait_s = 30")
    cloud.account.control(admin_used=500)
    async with cloud.app() as app, cloud.app() as watcher:
        waiting = asyncio.create_task(app.submit("r1"))
        await until(lambda: app.pushed, "the app is told to wait")
        (question,) = (await watcher.ask("server_info"))["waiting"]
        assert re.search("Rate Limit Exceeded|budget of Admin calls is used up", question["reason"])
        cloud.account.control(admin_used=0)
        waiting.cancel()


async def test_a_lost_log_is_continued_and_what_was_stored_is_never_overwritten(cloud: CloudHouse) -> None:
    """The ledger is gone, the account is not: numbers go on after its highest."""
    await cloud.begin()
    first = await use(cloud, "r1", 2)
    before = cloud.account.assets()
    cloud.daemon.signal(signal.SIGKILL)
    shutil.rmtree(cloud.state)
    await cloud.daemon.begin()
    async with cloud.app() as app:
        asked = await app.submit("r1", images=coloured(2))
        await app.settled(asked["batch_id"])
    assert [image["number"] for image in first["images"]] == [1, 2]
    assert asked["numbers"] == [3, 4]
    after = cloud.account.assets()
    assert {name: after[name] for name in before} == before
    assert len(after) == 4


async def test_a_collision_is_parked_and_the_other_bytes_stay(cloud: CloudHouse) -> None:
    await cloud.begin()
    async with cloud.app() as app:
        await app.settled((await app.submit("r1", quantity=1))["batch_id"])
        foreign = cloud.account.put(f"{STEM}3")
        asked = await app.submit("r2", images=coloured(2))
        (batch,) = await app.settled(asked["batch_id"])
        assert [image["state"] for image in batch["images"]] == ["stored", "parked"]
        assert batch["images"][1]["uploads"][0]["code"] == "collision"
    assert cloud.account.assets()[f"{STEM}3"]["etag"] == foreign[f"{STEM}3"]


async def test_a_wrong_secret_pauses_the_lane_and_is_never_shown(cloud: CloudHouse) -> None:
    await cloud.begin('first_use = "trust"')
    right, wrong = cloud.account.api_secret, "not-the-secret-0123456789"
    cloud.daemon.signal(signal.SIGTERM)
    cloud.account.api_secret = wrong
    cloud.options = 'folder_mode = "dynamic"'
    cloud.configure('first_use = "trust"')
    await cloud.daemon.begin()
    async with cloud.app() as app:
        asked = await app.submit("r1", images=coloured(2))
        await app.counted("kept", 2, asked["batch_id"])
        await app.ask("subscribe", kinds=["lane_paused"])
        await until(lambda: app.events, "the lane is paused")
        (lane,) = (await app.ask("server_info"))["lanes"]
        assert (lane["lane"], lane["code"]) == ("store/cloud", "configuration")
        assert "Invalid Signature" in lane["text"]
        cloud.daemon.signal(signal.SIGTERM)
        cloud.account.api_secret = right
        cloud.configure('first_use = "trust"')
        cloud.daemon.cold = True
        await cloud.daemon.begin()
    async with cloud.app() as app:
        (batch,) = await app.settled(asked["batch_id"])
        assert len(of_kind(await app.log(), "image_uploaded")) == 2
    cloud.check_account(batch)
    for path in (one for one in cloud.folder.rglob("*") if one.is_file() and one != cloud.folder / "secret"):
        if cloud.account.root not in path.parents and path != cloud.account.out:
            written = path.read_bytes()
            assert right.encode() not in written, path
            assert wrong.encode() not in written, path
    assert right not in Path(f"/proc/{cloud.daemon.pid}/cmdline").read_text()


async def test_an_account_unreachable_at_the_start_is_used_once_it_is_back(
    cloud: CloudHouse,
) -> None:
    """The folder mode is not known yet: a batch could not be named by its place, so it is told to wait."""
    await cloud.account.begin()
    cloud.account.control(faults=[away()])
    await cloud.begin()
    async with cloud.app() as app:
        with pytest.raises(Exception, match="store_unavailable"):
            await app.submit("r1")
        cloud.account.control(clear_faults=True)
        batch = await asked_until_taken(app, "r1")
    cloud.check_account(batch)


def away() -> Frame:
    return {"fault": "answer", "match": {"path": "/config"}, "times": 0, "status": 503}


async def asked_until_taken(app: App, request_id: str) -> Frame:
    async def taken() -> Frame | None:
        with contextlib.suppress(Refusal):
            return await app.submit(request_id, images=[{"inputs": {**SMALL, "color": 7}}])
        return None

    asked = await until(taken, f"{request_id} is taken")
    (batch,) = await app.settled(asked["batch_id"])
    return batch
