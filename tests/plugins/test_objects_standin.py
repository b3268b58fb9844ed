"""Laws of the object store against our stand-in: whatever is done to an upload, the bucket ends with exactly one object
with the right bytes, nothing was ever overwritten, and nothing of strangers was touched. Its ledger is the proof.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from comfyledger.plugin_api import Deposit, ImageFault, LaneFault, Outcome, Stored, StoreTrouble
from comfyledger.sim.objects.server import KEY_ID, SECRET, ObjectsOptions, SimObjects, serve
from comfyledger.testing.place import NAME, SERIES, deposit, picture
from comfyledger_objects import bucket, uploads
from comfyledger_objects.store import ObjectStore

pytest.importorskip("obstore", reason="obstore is not installed")

KEY = f"{NAME}.png"
LARGE = uploads.WHOLE_BYTES_MAX + 1_000_000
STORED_THEN_LOST = ("store_then_reset", "store_then_truncate", "store_then_html_502", "store_then_answer")
LOST = ("reset_before_body", "reset_mid_body", "reset_after_body", "html_502", "answer")
REFUSALS = {
    "SlowDown": "throttled",
    "TooManyRequests": "throttled",
    "ServiceUnavailable": "throttled",
    "RequestTimeTooSkewed": "clock",
    "ExpiredToken": "configuration",
    "PermanentRedirect": "configuration",
    "AccessDenied": "configuration",
    "InsufficientStorage": "full",
    "QuotaExceeded": "full",
    "EntityTooLarge": "refused",
}


class House:
    """The stand-in, stores in its bucket, and a spool."""

    def __init__(self, sim: SimObjects, session: aiohttp.ClientSession, folder: Path) -> None:
        self.sim, self.folder = sim, folder
        self.stores: list[ObjectStore] = []
        self._session = session

    async def opened(self, **options: Any) -> ObjectStore:
        """A store as after a start of the daemon."""
        known = {"bucket": "pictures", "endpoint": self.sim.url, "access_key_id": KEY_ID, "secret_access_key": SECRET}
        times = {"request_timeout_s": 100.0, "connect_timeout_s": 60.0}
        self.stores.append(ObjectStore.open("s3", "pics", {**known, **times, **options}, self.folder / "state"))
        await self.stores[-1].prepare()
        return self.stores[-1]

    def small(self, number: int = 1) -> Deposit:
        return deposit(self.folder, picture(number))

    def large(self) -> Deposit:
        return deposit(self.folder, hashlib.sha256(b"seed").digest() * (LARGE // 32))

    async def control(self, **asked: Any) -> dict[str, Any]:
        async with self._session.post(f"{self.sim.control_url}/control", json=asked) as answer:
            assert answer.status == 200, await answer.text()
            return dict(await answer.json())

    async def fault(self, name: str, method: str = "PUT", times: int = 1, **more: Any) -> None:
        rule = {"fault": name, "match": {"key": KEY, "method": method}, "times": times}
        await self.control(faults=[{**rule, **more}])

    async def versions(self) -> list[dict[str, Any]]:
        """Every version of every object that ever was, without the probes of a start."""
        async with self._session.get(f"{self.sim.control_url}/objects") as answer:
            found = list((await answer.json())["objects"])
        return [one for one in found if not one["key"].startswith(".comfyledger-probe/")]

    async def check_exactly_one(self, given: Deposit) -> None:
        """There is one object with the right bytes, and there never was another one."""
        (only,) = await self.versions()
        assert (only["key"], only["sha256"], only["ended"]) == (KEY, given.sha256, None)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with await serve(ObjectsOptions(root=tmp_path / "objects")) as sim, aiohttp.ClientSession() as session:
        made = House(sim, session, tmp_path)
        yield made
        for store in made.stores:
            await store.close()


def code(outcome: Outcome) -> str:
    assert isinstance(outcome, LaneFault | ImageFault), outcome
    return outcome.code


async def test_a_start_leaves_nothing_and_touches_nothing(house: House) -> None:
    await house.control(seed=[{"key": "theirs.png", "text": "theirs"}])
    await house.opened()
    assert [(one["key"], one["ended"]) for one in await house.versions()] == [("theirs.png", None)]
    assert {one["state"] for one in (await house.control())["uploads"]} <= {"completed", "aborted"}


async def test_a_server_that_ignores_conditions_is_not_used(house: House) -> None:
    await house.control(ignores_conditions=True)
    with pytest.raises(StoreTrouble, match="unsafe_overwrite_check"):
        await house.opened()
    assert await house.versions() == []


@pytest.mark.parametrize("fault", STORED_THEN_LOST)
async def test_an_upload_whose_answer_is_lost_each_time_is_stored_once(house: House, fault: str) -> None:
    """The question whether it is there is lost twice as well."""
    store, given = await house.opened(), house.small()
    await house.fault(fault, times=0)
    await house.fault("reset_before_body", "HEAD", times=2)
    await house.fault("reset_before_body", "GET", times=0)
    assert [code(await store.put(given)) for _ in range(2)] == ["unknown"] * 2
    found = await (await house.opened()).put(given)  # As after a restart of the daemon.
    assert isinstance(found, Stored)
    await house.check_exactly_one(given)


@pytest.mark.parametrize("fault", LOST)
async def test_an_upload_that_was_lost_is_stored_by_the_next(house: House, fault: str) -> None:
    store, given = await house.opened(), house.small()
    await house.fault(fault)
    assert code(await store.put(given)) == "unknown"
    assert await house.versions() == []
    found = await store.put(given)
    assert isinstance(found, Stored)
    assert not found.replayed
    await house.check_exactly_one(given)


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_refusal_stores_nothing_and_says_whose_trouble_it_is(house: House, refusal: str) -> None:
    store, given = await house.opened(), house.small()
    await house.fault("answer", code=refusal)
    assert code(await store.put(given)) == REFUSALS[refusal]
    assert await house.versions() == []
    assert isinstance(await store.put(given), Stored)
    await house.check_exactly_one(given)


async def test_a_conflict_with_a_request_that_fails_is_not_taken_for_a_stored_file(house: House) -> None:
    store, given = await house.opened(), house.small()
    await house.fault("answer", code="ConditionalRequestConflict")
    found = await store.put(given)
    assert isinstance(found, Stored)
    await house.check_exactly_one(given)


@pytest.mark.parametrize("asked", [{"clock_offset_s": 2_000.0}, {"clock_offset_s": -2_000.0}])
async def test_a_clock_that_is_off_is_named_and_nothing_is_stored(house: House, asked: Any) -> None:
    store, given = await house.opened(), house.small()
    await house.control(**asked)
    assert code(await store.put(given)) == "clock"
    await house.control(clock_offset_s=0.0)
    assert isinstance(await store.put(given), Stored)
    await house.check_exactly_one(given)


async def test_credentials_that_have_expired_are_the_stores_trouble(house: House) -> None:
    await house.control(session_token="old")
    store, given = await house.opened(session_token="old"), house.small()
    await house.control(session_token="new")
    assert code(await store.put(given)) == "configuration"
    assert isinstance(await (await house.opened(session_token="new")).put(given), Stored)
    await house.check_exactly_one(given)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"region": "eu-central-1"}, "us-east-1"),
        ({"secret_access_key": "wrong"}, "SignatureDoesNotMatch"),
        ({"bucket": "elsewhere"}, "NoSuchBucket"),
    ],
)
async def test_a_start_with_a_wrong_setting_says_what_the_server_says(house: House, options: Any, named: str) -> None:
    with pytest.raises(StoreTrouble, match=named) as trouble:
        await house.opened(**options)
    assert trouble.value.fault.code == "configuration"
    assert SECRET not in trouble.value.fault.text


async def test_behind_a_proxy_that_caches_a_file_waits_and_is_stored_once(house: House) -> None:
    """The proxy has answered that the object is not there, and answers so although it is there now."""
    store, given = await house.opened(), house.small()
    await house.control(caches=True)
    assert await store.check(NAME, "png") is None
    await house.fault("store_then_reset")
    assert [code(await store.put(given)) for _ in range(2)] == ["unknown"] * 2
    await house.control(caches=False)
    found = await store.put(given)
    assert isinstance(found, Stored)
    assert found.replayed
    await house.check_exactly_one(given)


async def test_behind_a_proxy_that_caches_nothing_foreign_is_taken_for_ours(house: House) -> None:
    store, given = await house.opened(), house.small()
    await store.put(given)
    await house.control(caches=True)
    there = await store.check(NAME, "png")
    assert there is not None
    assert there.sha256 == given.sha256
    assert code(await store.put(house.small(2))) == "collision"
    await house.check_exactly_one(given)


async def test_a_listing_that_is_late_costs_a_collision_and_no_file(house: House) -> None:
    store = await house.opened()
    await house.control(lists_late=True)
    await house.control(seed=[{"key": KEY, "text": "theirs"}])
    assert await store.highest_number(SERIES) == 0
    assert code(await store.put(house.small())) == "collision"
    await house.control(lists_late=False)
    assert await store.highest_number(SERIES) == 1
    assert [(one["sha256"], one["ended"]) for one in await house.versions()] == [
        (hashlib.sha256(b"theirs").hexdigest(), None)
    ]


async def test_of_two_daemons_that_store_at_once_one_does(house: House) -> None:
    first, second = await house.opened(), await house.opened()
    found = await asyncio.gather(first.put(house.small(1)), second.put(house.small(2)))
    assert sorted(type(one).__name__ for one in found) == ["ImageFault", "Stored"]
    (only,) = await house.versions()
    assert only["ended"] is None


@pytest.mark.parametrize("fault", STORED_THEN_LOST)
async def test_a_large_file_whose_end_is_lost_each_time_is_stored_once(house: House, fault: str) -> None:
    store, given = await house.opened(), house.large()
    rule = {"fault": fault, "match": {"key": KEY, "method": "POST", "query": "uploadId"}, "times": 0}
    await house.control(faults=[rule])
    await house.fault("reset_before_body", "HEAD", times=1)
    await house.fault("reset_before_body", "GET", times=1)
    found = [await store.put(given) for _ in range(2)]
    assert isinstance(found[-1], Stored), found
    await house.check_exactly_one(given)


async def test_a_large_file_of_which_a_part_is_lost_is_stored_by_the_next(house: House) -> None:
    store, given = await house.opened(), house.large()
    rule = {"fault": "reset_mid_body", "match": {"key": KEY, "query": "partNumber", "nth": 2}}
    await house.control(faults=[rule])
    assert code(await store.put(given)) == "unknown"
    assert await house.versions() == []
    assert isinstance(await store.put(given), Stored)
    await house.check_exactly_one(given)


async def test_where_parts_know_no_condition_a_large_file_goes_in_one_request(house: House) -> None:
    await house.control(strict_parts=True)
    store, given = await house.opened(), house.large()
    assert isinstance(await store.put(given), Stored)
    (only,) = await house.versions()
    assert only["etag"] == f'"{given.md5}"'
    await house.check_exactly_one(given)


async def test_a_request_has_the_time_that_its_bytes_need(house: House) -> None:
    await house.opened()
    store = await house.opened(request_timeout_s=0.5)
    await house.fault("latency", seconds=1.0)
    large = await store.put(deposit(house.folder, bytes(bucket.QUICK_BYTES + 1)))
    assert isinstance(large, Stored), large
    assert not large.replayed
    await house.control(faults=[{"fault": "hang", "match": {"method": "PUT"}}])
    assert code(await store.put(deposit(house.folder, picture(2), f"{NAME}2"))) == "unknown"
