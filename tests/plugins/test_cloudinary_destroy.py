"""Laws of deleting from an account: an asset is looked at before it goes, and what is not ours is never destroyed."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from comfyledger.plugin_api import Deleted, Deposit, Foreign, Held, LaneFault
from comfyledger.sim.cloudinary.server import SECRET, CloudinaryOptions, SimCloudinary, serve
from comfyledger_cloudinary.answers import Answer, judge_destroyed
from comfyledger_cloudinary.store import CloudinaryStore

pytestmark = pytest.mark.usefixtures("quick_time")

NAME = "Areg/characters/opal-fever/images/Areg_opal-fever_image_1"


class House:
    """The stand-in, and a store in its account."""

    def __init__(self, account: SimCloudinary, session: aiohttp.ClientSession, folder: Path) -> None:
        self.account, self.folder, self._session = account, folder, session
        known = {"cloud_name": "demo", "api_key": "123456789012345", "api_secret": SECRET, "folder_mode": "dynamic"}
        times = {"answer_timeout_s": 0.3, "connect_timeout_s": 0.3, "upload_prefix": account.url}
        self.store = CloudinaryStore.open("pics", {**known, **times}, folder / "state")

    async def put(self) -> Held:
        buffer = BytesIO()
        Image.new("RGB", (64, 48), "red").save(buffer, "PNG")
        path = self.folder / "red.png"
        path.write_bytes(buffer.getvalue())
        md5, sha256 = (hashlib.new(name, path.read_bytes()).hexdigest() for name in ("md5", "sha256"))
        await self.store.put(Deposit("B1/1", NAME, "png", path, sha256, md5, path.stat().st_size, True))
        return Held(NAME, "png", path.stat().st_size, md5, sha256, "B1/1")

    async def control(self, **asked: Any) -> None:
        async with self._session.post(f"{self.account.control_url}/control", json=asked) as answer:
            assert answer.status == 200, await answer.text()

    async def fault(self, name: str, **more: Any) -> None:
        await self.control(faults=[{"fault": name, "match": {"path": "/destroy"}, **more}])

    async def names(self) -> list[str]:
        async with self._session.get(f"{self.account.control_url}/assets") as answer:
            return [asset["public_id"] for asset in (await answer.json())["assets"]]

    async def destroyed(self) -> int:
        async with self._session.get(f"{self.account.control_url}/ledger") as answer:
            return sum(one["path"].endswith("/destroy") for one in (await answer.json())["requests"])


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with await serve(CloudinaryOptions(root=tmp_path / "account")) as account, aiohttp.ClientSession() as session:
        made = House(account, session, tmp_path)
        yield made
        await made.store.close()


async def test_what_is_ours_goes_and_its_neighbours_stay(house: House) -> None:
    ours = await house.put()
    await house.control(seed={"public_id": f"{NAME}0", "etag": "00" * 16, "bytes": 9})
    assert await house.store.delete(ours) == Deleted(found=True)
    assert await house.names() == [f"{NAME}0"]


async def test_what_is_not_there_counts_as_deleted_and_is_not_asked_for(house: House) -> None:
    ours = await house.put()
    await house.store.delete(ours)
    assert await house.store.delete(ours) == Deleted(found=False)
    assert await house.destroyed() == 1


async def test_what_a_stranger_has_under_the_name_is_left(house: House) -> None:
    await house.control(seed={"public_id": NAME, "etag": "00" * 16, "bytes": 9})
    ours = Held(NAME, "png", 10, "11" * 16, "22" * 32, "B1/1")
    assert isinstance(await house.store.delete(ours), Foreign)
    assert await house.names() == [NAME]
    assert await house.destroyed() == 0


async def test_an_altered_asset_is_recognized_by_its_context(house: House) -> None:
    await house.control(transform_at_ingest=True)
    ours = await house.put()
    assert await house.store.delete(ours) == Deleted(found=True)
    assert await house.names() == []


@pytest.mark.parametrize("fault", ["store_then_hang", "hang", "html_502", "reset_after_body", "truncate"])
async def test_an_answer_that_is_lost_is_trouble_and_the_next_call_finds_out(house: House, fault: str) -> None:
    ours = await house.put()
    await house.fault(fault)
    outcome = await house.store.delete(ours)
    assert isinstance(outcome, LaneFault)
    await house.control(clear_faults=True)
    assert isinstance(await house.store.delete(ours), Deleted)
    assert await house.names() == []


async def test_a_used_up_budget_says_how_long_to_wait(house: House) -> None:
    ours = await house.put()
    await house.control(admin_used=500)
    outcome = await house.store.delete(ours)
    assert isinstance(outcome, LaneFault)
    assert outcome.code == "throttled"
    assert outcome.retry_after_s
    assert await house.names() == [NAME]


@pytest.mark.parametrize(
    ("status", "body", "meant"),
    [
        (200, b'{"result":"ok"}', Deleted(found=True)),
        (200, b'{"result":"not found"}', Deleted(found=False)),
        (200, b'{"result":"queued"}', "unknown"),
        (200, b"", "unknown"),
        (401, b'{"error":{"message":"Invalid Signature"}}', "configuration"),
        (420, b'{"error":{"message":"Rate Limit Exceeded"}}', "throttled"),
        (500, b"<html>", "unknown"),
    ],
)
def test_an_answer_means_one_thing(status: int, body: bytes, meant: Deleted | str) -> None:
    outcome = judge_destroyed(Answer(status, {}, body), 0.0)
    assert (outcome.code if isinstance(outcome, LaneFault) else outcome) == meant
