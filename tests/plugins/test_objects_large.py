"""Large files where obstore has no conditional upload in parts: they never go over another, wherever they break.

To Azure they go in blocks, of which a list is committed. To Google they go in parts to a key aside, and are copied.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

pytest.importorskip("obstore", reason="obstore is not installed")

from comfyledger.plugin_api import ImageFault, LaneFault, Stored
from comfyledger.testing.place import HOSTILE, NAME, SERIES, deposit, picture
from comfyledger_objects import blocks, probe, uploads
from comfyledger_objects.keys import ASIDE_FOLDER
from comfyledger_objects.options import Kind
from comfyledger_objects.store import ObjectStore
from support.google_account import made_key
from support.object_places import Fault, ProxiedPlace, Wanted, azure_place, google_place, refusal
from support.object_servers import AZURITE, Azurite
from support.objects_process import Objects

KEY = f"{NAME}.png"
LARGE = hashlib.sha256(b"seed").digest() * (uploads.WHOLE_BYTES_MAX // 32 + 10)
OTHER = hashlib.sha256(b"other").digest() * (uploads.WHOLE_BYTES_MAX // 32 + 10)
STEPS: dict[Kind, dict[str, Wanted]] = {
    "gcs": {
        "begin": lambda request: request.method == "POST" and "uploads" in request.query,
        "part": lambda request: "partNumber" in request.query,
        "complete": lambda request: request.method == "POST" and "uploadId" in request.query,
        "copy": lambda request: "x-goog-copy-source" in request.headers,
        "delete": lambda request: request.method == "DELETE",
    },
    "azure": {
        "block": lambda request: request.query.get("comp") == "block",
        "list": lambda request: request.query.get("comp") == "blocklist",
    },
}
EVERY_STEP = pytest.mark.parametrize(
    ("kind", "step"), [(kind, step) for kind, steps in STEPS.items() for step in steps]
)
EACH_KIND = pytest.mark.parametrize("kind", STEPS)


@pytest.fixture(scope="module")
def key() -> str:
    return made_key()


@pytest.fixture
async def place(kind: Kind, key: str, tmp_path: Path) -> AsyncIterator[ProxiedPlace]:
    if kind == "azure" and not AZURITE:
        pytest.skip("Azurite is not installed: make azurite")
    server = Azurite(tmp_path) if kind == "azure" else Objects(tmp_path, "gcs")
    try:
        server.begin()
        opened = azure_place(server, tmp_path) if isinstance(server, Azurite) else google_place(server, key, tmp_path)
        async with opened as made:
            yield made
    finally:
        server.end()


async def ready(place: ProxiedPlace, **more: Any) -> ObjectStore:
    store = place.store(**more)
    await store.prepare()
    place.proxy.requests.clear()
    return store


async def check_nothing_is_aside(place: ProxiedPlace) -> None:
    assert await place.contents() == {KEY: LARGE}


@pytest.mark.parametrize("kind", ["gcs"])
async def test_a_large_file_goes_in_parts_and_is_copied_with_all_that_is_said_of_it(
    place: ProxiedPlace, tmp_path: Path
) -> None:
    store, given = await ready(place), deposit(tmp_path, LARGE)
    assert await store.put(given) == Stored(f"gs://pictures/{KEY}")
    assert [method for method, _ in place.proxy.requests] == [
        "HEAD",
        "GET",
        "POST",
        *["PUT"] * 3,
        "POST",
        "PUT",
        "DELETE",
    ]
    await check_nothing_is_aside(place)
    seen = await store.check(NAME, "png")
    assert seen is not None
    assert (seen.sha256, seen.md5, seen.image_id) == (given.sha256, given.md5, given.image_id)
    assert (await place.headers(KEY))["Content-Type"] == "image/png"
    outcome = await store.put(given)
    assert isinstance(outcome, Stored)
    assert outcome.replayed
    await check_nothing_is_aside(place)
    assert "copied" in (await store.diagnose())[1].sentence


@pytest.mark.parametrize("kind", ["azure"])
async def test_a_large_file_goes_in_blocks_with_all_that_is_said_of_it(place: ProxiedPlace, tmp_path: Path) -> None:
    store, given = await ready(place, cache_control="max-age=9"), deposit(tmp_path, LARGE)
    assert isinstance(await store.put(given), Stored)
    assert ["blocklist" in path for method, path in place.proxy.requests] == [False] * 5 + [True]
    await check_nothing_is_aside(place)
    seen = await store.check(NAME, "png")
    assert seen is not None
    assert (seen.sha256, seen.md5, seen.image_id) == (given.sha256, given.md5, given.image_id)
    said = await place.headers(KEY)
    assert (said["Content-Type"], said["Cache-Control"]) == ("image/png", "max-age=9")
    outcome = await store.put(given)
    assert isinstance(outcome, Stored)
    assert outcome.replayed


@EACH_KIND
@pytest.mark.parametrize("name", [HOSTILE[0], HOSTILE[2]])
async def test_a_large_file_of_any_name_is_stored(place: ProxiedPlace, tmp_path: Path, kind: Kind, name: str) -> None:
    store, given = await ready(place), deposit(tmp_path, LARGE, name)
    assert isinstance(await store.put(given), Stored)
    assert len(place.proxy.requests) > 2, "it went in one request"
    assert await place.contents() == {f"{name}.png": LARGE}


@EACH_KIND
async def test_a_large_file_overwrites_nothing_and_leaves_nothing_aside(place: ProxiedPlace, tmp_path: Path) -> None:
    store = await ready(place)
    await place.put_foreign(NAME, "png", picture(7))
    outcome = await store.put(deposit(tmp_path, LARGE))
    assert isinstance(outcome, ImageFault)
    assert outcome.code == "collision"
    assert await place.contents() == {KEY: picture(7)}


@EVERY_STEP
@pytest.mark.parametrize("fault", ["cut_before", "cut_after", refusal(503, "SlowDown")])
async def test_an_upload_that_breaks_at_a_step_is_stored_once_when_it_is_repeated(
    place: ProxiedPlace, tmp_path: Path, kind: Kind, step: str, fault: Fault
) -> None:
    store, given = await ready(place), deposit(tmp_path, LARGE)
    place.proxy.fail(fault, STEPS[kind][step])
    outcome = await store.put(given)
    assert isinstance(outcome, Stored | LaneFault)
    assert isinstance(await store.put(given), Stored)
    await check_nothing_is_aside(place)


@EVERY_STEP
async def test_a_process_that_dies_at_a_step_leaves_only_what_the_next_attempt_removes(
    place: ProxiedPlace, tmp_path: Path, kind: Kind, step: str
) -> None:
    """What is aside is no image and has no number."""
    store, given = await ready(place), deposit(tmp_path, LARGE)

    def die() -> web.Response:
        putting.cancel()
        return refusal(500, "InternalError")()

    place.proxy.fail(die, STEPS[kind][step], times=9)
    putting = asyncio.create_task(store.put(given))
    with pytest.raises(asyncio.CancelledError):
        await putting
    place.proxy.forgive()
    held = {one.public_id for one in (await store.page("")).held}
    assert held == ({NAME} if step == "delete" else set())
    assert await store.highest_number(SERIES) == (1 if step == "delete" else 0)
    assert isinstance(await (await ready(place)).put(given), Stored)
    await check_nothing_is_aside(place)


@pytest.mark.parametrize("kind", ["gcs"])
async def test_what_was_aside_whole_is_not_sent_again(place: ProxiedPlace, tmp_path: Path) -> None:
    store, given = await ready(place), deposit(tmp_path, LARGE)
    place.proxy.fail(refusal(503, "SlowDown"), STEPS["gcs"]["copy"])
    assert isinstance(await store.put(given), LaneFault)
    place.proxy.requests.clear()
    assert isinstance(await store.put(given), Stored)
    assert [method for method, _ in place.proxy.requests] == ["HEAD", "PUT", "DELETE"]


@pytest.mark.parametrize("kind", ["gcs"])
async def test_what_others_left_aside_is_replaced(place: ProxiedPlace, tmp_path: Path) -> None:
    store, given = await ready(place), deposit(tmp_path, LARGE)
    place.proxy.fail(refusal(503, "SlowDown"), STEPS["gcs"]["copy"])
    assert isinstance(await store.put(given), LaneFault)
    aside = next(key for key in await place.contents() if key.startswith(ASIDE_FOLDER))
    await place.put_foreign(aside, "", b"not ours")
    assert isinstance(await store.put(given), Stored)
    await check_nothing_is_aside(place)


@EACH_KIND
async def test_of_two_files_for_one_key_exactly_one_is_stored(place: ProxiedPlace, tmp_path: Path) -> None:
    one, other = await ready(place), await ready(place)
    given = [deposit(tmp_path, LARGE), deposit(tmp_path, OTHER)]
    outcomes = await asyncio.gather(one.put(given[0]), other.put(given[1]))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ImageFault", "Stored"]
    won = outcomes.index(next(outcome for outcome in outcomes if isinstance(outcome, Stored)))
    assert await place.contents() == {KEY: given[won].path.read_bytes()}


@EACH_KIND
async def test_one_file_that_two_processes_store_at_once_is_stored_once(place: ProxiedPlace, tmp_path: Path) -> None:
    """The second one may find that the first one has used and deleted what was aside."""
    one, other = await ready(place), await ready(place)
    given = deposit(tmp_path, LARGE)
    outcomes = await asyncio.gather(one.put(given), other.put(given))
    assert [type(outcome) for outcome in outcomes] == [Stored, Stored]
    await check_nothing_is_aside(place)


@pytest.mark.parametrize("kind", ["gcs"])
async def test_what_is_gone_from_aside_is_looked_for_at_its_key(place: ProxiedPlace, tmp_path: Path) -> None:
    store, given = await ready(place), deposit(tmp_path, LARGE)
    place.proxy.fail(refusal(404, "NoSuchKey"), STEPS["gcs"]["copy"])
    assert isinstance(await store.put(given), Stored)
    await check_nothing_is_aside(place)


@pytest.mark.parametrize("kind", ["gcs"])
async def test_what_nobody_takes_up_again_is_deleted_when_it_is_a_week_old(
    place: ProxiedPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await ready(place)
    place.proxy.fail(refusal(503, "SlowDown"), STEPS["gcs"]["copy"])
    assert isinstance(await store.put(deposit(tmp_path, LARGE)), LaneFault)
    for left_s, count in ((probe.ASIDE_LEFT_S, 1), (-60.0, 0)):
        monkeypatch.setattr(probe, "ASIDE_LEFT_S", left_s)
        for known in (tmp_path / "state").glob("objects-*.json"):
            known.unlink()
        await place.store().prepare()
        assert len(await place.contents()) == count


@pytest.mark.parametrize("kind", ["azure"])
async def test_an_address_that_a_slow_clock_finds_too_new_is_tried_again(
    place: ProxiedPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "EARLY_S", 0.0)
    store, given = await ready(place), deposit(tmp_path, LARGE)
    place.proxy.fail(refusal(403, "AuthenticationFailed"), STEPS["azure"]["block"], times=2)
    assert isinstance(await store.put(given), Stored)
    place.proxy.fail(refusal(403, "AuthenticationFailed"), STEPS["azure"]["block"], times=99)
    outcome = await store.put(deposit(tmp_path, OTHER, f"{NAME}2"))
    assert isinstance(outcome, LaneFault)
    assert outcome.code == "configuration"


@pytest.mark.parametrize("kind", ["azure"])
async def test_a_server_that_goes_away_between_blocks_pauses_the_store_and_tells_no_signature(
    place: ProxiedPlace, tmp_path: Path
) -> None:
    store, given = await ready(place), deposit(tmp_path, LARGE)
    async with place.unreachable():
        outcome = await store.put(given)
    assert isinstance(outcome, LaneFault)
    assert outcome.code == "not_reached"
    assert "sig=" not in outcome.text
    assert isinstance(await store.put(given), Stored)


@pytest.mark.parametrize("kind", ["azure"])
@pytest.mark.parametrize("change", [b"x", b""])
async def test_a_large_file_that_was_altered_is_not_stored(place: ProxiedPlace, tmp_path: Path, change: bytes) -> None:
    store, given = await ready(place), deposit(tmp_path, LARGE)
    given.path.write_bytes(change + LARGE[1:])
    outcome = await store.put(given)
    assert isinstance(outcome, ImageFault)
    assert outcome.code == "altered"
    assert await place.contents() == {}


@pytest.mark.parametrize("kind", ["azure"])
async def test_blocks_that_another_upload_has_dropped_are_sent_again(place: ProxiedPlace, tmp_path: Path) -> None:
    store, given = await ready(place), deposit(tmp_path, LARGE)
    place.proxy.fail(refusal(400, "InvalidBlockList"), STEPS["azure"]["list"])
    assert isinstance(await store.put(given), Stored)
    await check_nothing_is_aside(place)
