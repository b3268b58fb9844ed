"""Laws of large files in the account: sent in parts, each file stored once whatever happens to any of its parts.

The stand-in's ledger is the proof. Parts are smaller here than in use, and than Cloudinary takes, so that the files are
too.
"""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from comfyledger.plugin_api import Deleted, Deposit, Held, ImageFault, LaneFault, Outcome, Stored
from comfyledger.sim.cloudinary import receive
from comfyledger.sim.cloudinary.server import SECRET, CloudinaryOptions, SimCloudinary, serve
from comfyledger_cloudinary import chunks, store
from comfyledger_cloudinary.store import CloudinaryStore
from comfyledger_cloudinary.transfer import JOINED_BYTES_PER_S
from support.media_builders import glb, movie
from support.waiting import pass_time, until

NAME = "Areg/characters/opal-fever/images/Areg_opal-fever_video_1"
PART = 256 * 1024
LEAST = 5 * 1024 * 1024
"""The least part that Cloudinary takes, but for the last."""
SIZE = 2 * PART + 100
PARTS = 3
ANSWER_S = 1.0
LOST = ("reset_before_body", "reset_mid_body", "reset_after_body", "hang", "truncate", "html_502", "pending")
STORED_THEN_LOST = ("hang", "reset", "truncate", "html_502", "pending", "answer")


class House:
    """The stand-in, a store in its account and a large file."""

    def __init__(self, account: SimCloudinary, session: aiohttp.ClientSession, folder: Path) -> None:
        self.account, self.folder = account, folder
        self.stores: list[CloudinaryStore] = []
        self._session = session

    def opened(self, **options: Any) -> CloudinaryStore:
        known = {"cloud_name": "demo", "api_key": "123456789012345", "api_secret": SECRET}
        where = {"answer_timeout_s": ANSWER_S, "upload_prefix": self.account.url, "folder_mode": "dynamic"}
        self.stores.append(CloudinaryStore.open("pics", {**known, **where, **options}, self.folder / "state"))
        return self.stores[-1]

    def deposit(self, extension: str = "mp4", *, first: bool = False, image_id: str = "B1/1") -> Deposit:
        """A video that its index says is whole, or a file of no kind, with bytes after its content."""
        content = {"mp4": movie(index_first=True), "glb": glb()}.get(extension, b"")
        content += bytes(SIZE - len(content) - len(image_id)) + image_id.encode()
        path = self.folder / f"large-{image_id.replace('/', '-')}.{extension}"
        path.write_bytes(content)
        md5, sha256 = (hashlib.new(name, content).hexdigest() for name in ("md5", "sha256"))
        return Deposit(image_id, NAME, extension, path, sha256, md5, len(content), first)

    async def control(self, **asked: Any) -> None:
        async with self._session.post(f"{self.account.control_url}/control", json=asked) as answer:
            assert answer.status == 200, await answer.text()

    async def fault(self, name: str, part: int, **more: Any) -> None:
        """At the part with this number, from 1."""
        await self.control(faults=[{"fault": name, "match": {"public_id": NAME, "nth": part}, **more}])

    async def put_with(self, fault: str, pics: CloudinaryStore, deposit: Deposit) -> Outcome:
        """Nobody waits for an answer that never comes: the time in which it could have come passes at once."""
        sending = asyncio.create_task(pics.put(deposit))
        if fault.endswith("hang"):
            await until(self.hangs, "a request hangs")
            pass_time(ANSWER_S + SIZE / JOINED_BYTES_PER_S)
        return await sending

    async def hangs(self) -> bool:
        async with self._session.get(f"{self.account.control_url}/control") as answer:
            return bool((await answer.json())["hanging"])

    async def assets(self) -> list[dict[str, Any]]:
        async with self._session.get(f"{self.account.control_url}/assets") as answer:
            return list((await answer.json())["assets"])

    async def requests(self) -> list[dict[str, Any]]:
        async with self._session.get(f"{self.account.control_url}/ledger") as answer:
            return list((await answer.json())["requests"])

    async def answers(self) -> list[str]:
        return [one["answer"] for one in await self.requests() if not one["is_admin"]]

    async def prove_exactly_one(self, deposit: Deposit) -> None:
        (asset,) = await self.assets()
        assert asset["etag"] == deposit.md5
        requests = await self.requests()
        assert sum(request["is_stored"] for request in requests) == 1
        assert not any(request["is_replaced"] for request in requests)


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(receive, "CHUNK_BYTES_MIN", PART)
    monkeypatch.setattr(chunks, "PART_BYTES", PART)
    monkeypatch.setattr(store, "CHUNKED_ABOVE_BYTES", PART)
    options = CloudinaryOptions(root=tmp_path / "account", file_bytes_max=2 * SIZE)
    async with await serve(options) as account, aiohttp.ClientSession() as session:
        made = House(account, session, tmp_path)
        yield made
        for each in made.stores:
            await each.close()


def code(outcome: Outcome) -> str:
    assert isinstance(outcome, LaneFault | ImageFault), outcome
    return outcome.code


@pytest.mark.parametrize(("extension", "name", "kind"), [("mp4", NAME, "video"), ("glb", f"{NAME}.glb", "raw")])
async def test_a_large_file_goes_all_ways(house: House, extension: str, name: str, kind: str) -> None:
    pics, deposit = house.opened(), house.deposit(extension, first=True)
    found = await pics.put(deposit)
    assert isinstance(found, Stored)
    assert not found.replayed
    assert await house.answers() == ["chunk", "chunk", "new"]
    assert not [one for one in await house.requests() if one["is_admin"]], "no question for an upload"
    (asset,) = await house.assets()
    assert (asset["public_id"], asset["resource_type"]) == (name, kind)
    assert asset["context"]["image"] == "B1/1"
    await house.prove_exactly_one(deposit)
    held = await pics.check(NAME, extension)
    assert held is not None
    assert (held.public_id, held.extension, held.md5) == (NAME, extension, deposit.md5)
    target = house.folder / "back"
    target.touch()
    await pics.fetch(NAME, extension, target)
    assert target.read_bytes() == deposit.path.read_bytes()
    ours = Held(NAME, extension, deposit.size_bytes, deposit.md5, deposit.sha256, deposit.image_id)
    assert await pics.delete(ours) == Deleted(found=True)
    assert await pics.delete(ours) == Deleted(found=False)
    assert await house.assets() == []


@pytest.mark.parametrize("fault", STORED_THEN_LOST)
async def test_a_lost_answer_to_the_last_part_costs_no_second_upload(house: House, fault: str) -> None:
    deposit = house.deposit()
    await house.fault(f"store_then_{fault}", PARTS)
    assert code(await house.put_with(fault, house.opened(), deposit)) == "unknown"
    found = await house.opened().put(deposit)
    assert isinstance(found, Stored)
    assert found.replayed
    assert f"/v{found.details['version']}/{NAME}.mp4" in found.url
    assert len(await house.answers()) == PARTS, "the account was asked, the file was not sent again"
    await house.prove_exactly_one(deposit)


async def test_without_admin_calls_it_is_sent_again_and_found(house: House) -> None:
    deposit = house.deposit()
    await house.fault("store_then_reset", PARTS)
    assert code(await house.opened().put(deposit)) == "unknown"
    await house.control(admin_used=500)
    found = await house.opened().put(deposit)
    assert isinstance(found, Stored)
    assert found.replayed
    assert await house.answers() == ["chunk", "chunk", "new", "chunk", "chunk", "existing"]
    await house.prove_exactly_one(deposit)


@pytest.mark.parametrize("part", range(1, PARTS + 1))
@pytest.mark.parametrize("fault", LOST)
async def test_a_fault_at_any_part_is_mended_by_the_next_upload(house: House, fault: str, part: int) -> None:
    pics, deposit = house.opened(), house.deposit()
    await house.fault(fault, part)
    assert code(await house.put_with(fault, pics, deposit)) == "unknown"
    assert await house.assets() == []
    found = await pics.put(deposit)
    assert isinstance(found, Stored)
    assert not found.replayed
    assert len(await house.answers()) == part + PARTS, "sent anew: nobody knows whether the part was taken"
    await house.prove_exactly_one(deposit)


@pytest.mark.parametrize("part", range(1, PARTS))
async def test_a_lost_answer_to_a_part_in_the_middle_cannot_double_it(house: House, part: int) -> None:
    pics, deposit = house.opened(), house.deposit()
    await house.fault("store_then_reset", part)
    assert code(await pics.put(deposit)) == "unknown"
    assert isinstance(await pics.put(deposit), Stored)
    await house.prove_exactly_one(deposit)


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (420, "Your account has no active subscription", "configuration"),
        (423, "", "unknown"),
        (499, "", "unknown"),
        (500, "", "unknown"),
        (502, "Bad Gateway", "unknown"),
        (503, "", "unknown"),
        (504, "Gateway Timeout", "unknown"),
        (400, "File size too large. Got 9. Maximum is 8.", "refused"),
        (413, "Request Entity Too Large", "refused"),
        (401, "Invalid Signature 0f.", "configuration"),
        (403, "Forbidden", "configuration"),
        (404, "Unknown cloud_name demo", "configuration"),
    ],
)
@pytest.mark.parametrize("part", [2, PARTS])
async def test_each_answer_to_a_part_means_what_it_means(
    house: House, part: int, status: int, message: str, expected: str
) -> None:
    pics, deposit = house.opened(), house.deposit()
    await house.fault("answer", part, status=status, message=message)
    assert code(await pics.put(deposit)) == expected
    assert await house.assets() == []
    assert isinstance(await pics.put(deposit), Stored)
    await house.prove_exactly_one(deposit)


@pytest.mark.parametrize("status", [420, 429])
async def test_an_account_that_throttles_in_the_middle_goes_on_there(house: House, status: int) -> None:
    pics, deposit = house.opened(), house.deposit()
    await house.fault("answer", 2, status=status, headers={"Retry-After": "7"})
    outcome = await pics.put(deposit)
    assert isinstance(outcome, LaneFault)
    assert outcome.code == "throttled"
    assert outcome.retry_after_s is not None
    assert isinstance(await pics.put(deposit), Stored)
    assert len(await house.answers()) == PARTS + 1, "no part was sent twice but the one that was refused"
    await house.prove_exactly_one(deposit)


async def test_an_upload_that_the_account_has_forgotten_is_sent_anew(house: House) -> None:
    pics, deposit = house.opened(), house.deposit()
    await house.fault("answer", 2, status=429)
    assert code(await pics.put(deposit)) == "throttled"
    house.account._uploads._chunks._ranges.clear()
    assert isinstance(await pics.put(deposit), Stored)
    assert (await house.answers())[2:] == ["Invalid Content-Range", "chunk", "chunk", "new"]
    await house.prove_exactly_one(deposit)


async def test_a_stale_signature_in_the_middle_is_made_again_and_goes_on(house: House) -> None:
    pics, deposit = house.opened(), house.deposit()
    await house.fault("answer", 2, status=400, message="Stale request - reported time is an hour ago")
    assert isinstance(await pics.put(deposit), Stored)
    assert len(await house.answers()) == PARTS + 1
    assert len({one["parameters"]["timestamp"] for one in await house.requests() if not one["is_admin"]}) >= 1


async def test_a_conflict_is_tried_again_and_then_parked(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CONFLICT_DELAY_S", 0.0)
    deposit = house.deposit()
    await house.fault("answer", PARTS, status=409, message="Conflict", times=1)
    assert isinstance(await house.opened().put(deposit), Stored)
    await house.prove_exactly_one(deposit)


async def test_an_account_away_between_two_parts_is_continued_later(house: House) -> None:
    pics, deposit = house.opened(), house.deposit()
    await house.fault("answer", 2, status=429)
    assert code(await pics.put(deposit)) == "throttled"
    await house.control(listening=False)
    assert code(await pics.put(deposit)) == "not_reached"
    await house.control(listening=True)
    assert isinstance(await pics.put(deposit), Stored)
    assert len(await house.answers()) == PARTS + 1
    await house.prove_exactly_one(deposit)


@pytest.mark.parametrize("first", [True, False])
async def test_a_strangers_file_stays_as_it_is(house: House, first: bool) -> None:
    assert isinstance(await house.opened().put(house.deposit(image_id="B9/9", first=True)), Stored)
    before = await house.assets()
    outcome = await house.opened().put(house.deposit(first=first))
    assert code(outcome) == "collision"
    assert await house.assets() == before
    ours = house.deposit()
    found = await house.opened().delete(Held(NAME, "mp4", ours.size_bytes, ours.md5, ours.sha256, ours.image_id))
    assert not isinstance(found, Deleted)
    assert await house.assets() == before


async def test_a_file_that_the_account_alters_or_names_otherwise_is_parked(house: House) -> None:
    await house.control(transform_at_ingest=True)
    for first in (True, False):
        assert code(await house.opened().put(house.deposit(first=first))) == "altered"
    await house.control(transform_at_ingest=False)
    await house.fault("rename", PARTS)
    renamed = msgspec.structs.replace(house.deposit("glb", first=True))
    await house.control(faults=[{"fault": "rename", "match": {"public_id": f"{NAME}.glb", "nth": PARTS}}])
    assert code(await house.opened().put(renamed)) == "misnamed"


async def test_a_file_that_changes_between_two_parts_is_the_images_fault(house: House) -> None:
    pics, deposit = house.opened(), house.deposit()
    await house.fault("answer", 2, status=429)
    assert code(await pics.put(deposit)) == "throttled"
    with deposit.path.open("ab") as file:
        file.write(b"more")
    assert code(await pics.put(deposit)) == "altered"


async def test_memory_stays_flat_whatever_the_size(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse file of 64 MB. The stand-in runs in this process too and takes pieces of the same size."""
    monkeypatch.setattr(receive, "CHUNK_BYTES_MIN", LEAST)
    monkeypatch.setattr(chunks, "PART_BYTES", LEAST)
    pics, size = house.opened(), 64_000_000
    await house.control(faults=[])
    house.account._shared.account.file_bytes_max = size
    path = house.folder / "sparse.bin"
    with path.open("wb") as file:
        file.truncate(size)
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, "md5").hexdigest()
    deposit = Deposit("B1/1", NAME, "bin", path, "5ha", md5, size, first_attempt=True)
    tracemalloc.start()
    try:
        assert isinstance(await pics.put(deposit), Stored)
        assert tracemalloc.get_traced_memory()[1] < LEAST, "less than a part"
    finally:
        tracemalloc.stop()
