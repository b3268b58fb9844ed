"""A checksum in place of a signature over all bytes: only where the server compares it, and nobody is on the way."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

pytest.importorskip("obstore", reason="obstore is not installed")

from comfyledger.plugin_api import LaneFault, Stored
from comfyledger.sim.objects.server import KEY_ID, SECRET, ObjectsOptions, SimObjects, serve
from comfyledger.testing.place import deposit, picture
from comfyledger_objects.bucket import SUM_HEADER, Bucket
from comfyledger_objects.options import options_from
from comfyledger_objects.store import ObjectStore
from support.object_places import FailingProxy, moto_s3, s3_place


@pytest.fixture
async def sim(tmp_path: Path) -> AsyncIterator[SimObjects]:
    async with await serve(ObjectsOptions(root=tmp_path / "objects")) as running:
        yield running


@pytest.fixture
async def proxy(sim: SimObjects) -> AsyncIterator[FailingProxy]:
    made = FailingProxy(sim.url)
    await made.start()
    yield made
    await made.stop()


async def ready(proxy: FailingProxy, folder: Path) -> ObjectStore:
    who = {"access_key_id": KEY_ID, "secret_access_key": SECRET}
    store = ObjectStore.open("s3", "pics", {"bucket": "pictures", "endpoint": proxy.url, **who}, folder / "state")
    await store.prepare()
    return store


def watch(proxy: FailingProxy) -> list[dict[str, str]]:
    """The headers of each request that stores something from now on."""
    seen: list[dict[str, str]] = []

    def see(request: web.Request) -> bool:
        if request.method == "PUT":
            seen.append({name.lower(): value for name, value in request.headers.items()})
        return False

    proxy.fail("cut_before", see)
    return seen


async def test_a_server_that_compares_checksums_gets_one_in_place_of_signed_bytes(
    proxy: FailingProxy, tmp_path: Path
) -> None:
    store = await ready(proxy, tmp_path)
    seen = watch(proxy)
    assert isinstance(await store.put(deposit(tmp_path, picture(1))), Stored)
    (said,) = seen
    assert said["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert SUM_HEADER in said["authorization"]
    assert said["if-none-match"] == "*"
    await store.close()


async def test_bytes_are_signed_again_once_the_server_was_seen_to_compare_none(
    proxy: FailingProxy, tmp_path: Path
) -> None:
    store = await ready(proxy, tmp_path)
    store._bucket.send_sums(is_on=False)
    seen = watch(proxy)
    assert isinstance(await store.put(deposit(tmp_path, picture(1))), Stored)
    assert seen[0]["x-amz-content-sha256"] != "UNSIGNED-PAYLOAD"
    assert SUM_HEADER not in seen[0]
    await store.close()


async def test_bytes_that_change_on_the_way_are_not_stored(
    proxy: FailingProxy, sim: SimObjects, tmp_path: Path
) -> None:
    store, given = await ready(proxy, tmp_path), deposit(tmp_path, picture(1))
    proxy.fail("alter")
    outcome = await store.put(given)
    assert isinstance(outcome, LaneFault)
    assert "BadDigest" in outcome.text
    assert isinstance(await store.put(given), Stored)
    seen = await store.check(given.public_id, "png")
    assert seen is not None
    assert seen.sha256 == given.sha256
    await store.close()


@pytest.mark.parametrize("dropped", [set(), {SUM_HEADER}])
async def test_a_server_that_compares_no_checksum_gets_signed_bytes(tmp_path: Path, dropped: set[str]) -> None:
    with moto_s3() as server:
        async with s3_place(server, tmp_path) as place:
            place.proxy.dropped = dropped
            store = place.store()
            await store.prepare()
            seen = watch(place.proxy)
            assert isinstance(await store.put(deposit(tmp_path, picture(1))), Stored)
            (said,) = seen
            assert said["x-amz-content-sha256"] == hashlib.sha256(picture(1)).hexdigest()


@pytest.mark.parametrize(
    ("endpoint", "may"),
    [("https://s3.example", True), ("", True), ("http://127.0.0.1:9000", True), ("http://s3.example", False)],
)
def test_bytes_that_others_could_change_on_the_way_are_signed(endpoint: str, may: bool) -> None:
    given: dict[str, Any] = {"bucket": "pictures", **({"endpoint": endpoint} if endpoint else {})}
    assert Bucket(options_from("pics", "s3", given, {})).may_send_sums is may
