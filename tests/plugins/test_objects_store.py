"""The S3 store against moto behind a proxy that fails on demand: no overwriting, lost answers, large files."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

pytest.importorskip("obstore", reason="obstore is not installed")

from comfyledger.plugin_api import Deleted, Deposit, Foreign, Held, ImageFault, LaneFault, Stored, StoreTrouble
from comfyledger.testing.place import FOLDER, NAME, SERIES, STEM, deposit, held, picture
from comfyledger_objects import uploads
from comfyledger_objects.bucket import Bucket
from comfyledger_objects.options import options_from
from comfyledger_objects.store import ObjectStore
from support.object_places import Fault, S3Place, refusal

KEY = f"{NAME}.png"
LARGE = uploads.WHOLE_BYTES_MAX + 1_000_000


async def ready(place: S3Place, **more: Any) -> ObjectStore:
    store = place.store(**more)
    await store.prepare()
    place.proxy.requests.clear()
    return store


def large(folder: Path, **other: Any) -> Deposit:
    return deposit(folder, hashlib.sha256(b"seed").digest() * (LARGE // 32), **other)


def is_completion(request: web.Request) -> bool:
    return request.method == "POST" and "uploadId" in request.query


def is_part(request: web.Request) -> bool:
    return request.method == "PUT" and "partNumber" in request.query


# ---- what the server can


async def test_a_start_tries_overwriting_once_and_leaves_nothing(place: S3Place) -> None:
    await place.store().prepare()
    assert place.keys() == []
    assert place.uploads() == []
    assert [method for method, path in place.proxy.requests if ".comfyledger-probe" in path].count("PUT") == 6
    place.proxy.requests.clear()
    await place.store().prepare()
    assert [method for method, _ in place.proxy.requests] == ["GET"]


class Days:
    """A clock that a test moves on."""

    def __init__(self) -> None:
        self.now_s = time.time()

    def __call__(self) -> float:
        return self.now_s


def with_clock(place: S3Place, clock: Days, state: str = "state") -> ObjectStore:
    options = options_from("objects", "s3", place.options(), {})
    place.stores.append(ObjectStore("objects", options, Bucket(options), place.folder / state, clock))
    return place.stores[-1]


def probes(place: S3Place) -> list[str]:
    """The methods of requests about objects that are written to try something."""
    return [method for method, path in place.proxy.requests if "/.comfyledger-probe" in path]


async def test_what_is_known_is_tried_again_a_week_later_before_an_upload(place: S3Place, tmp_path: Path) -> None:
    clock = Days()
    store = with_clock(place, clock)
    await store.prepare()
    place.proxy.requests.clear()
    for number, (days, tries) in enumerate([(6, 0), (8, 1), (8, 1), (14, 1), (16, 2)], 1):
        clock.now_s = time.time() + days * 86_400
        assert isinstance(await store.put(deposit(tmp_path, picture(number), f"{FOLDER}/{STEM}{number}")), Stored)
        assert probes(place).count("PUT") == 6 * tries
    assert len(place.keys()) == 5
    place.proxy.dropped = {"if-none-match"}
    clock.now_s += 8 * 86_400
    outcome = await store.put(deposit(tmp_path, picture(6), f"{FOLDER}/{STEM}6"))
    assert isinstance(outcome, LaneFault)
    assert "unsafe_overwrite_check" in outcome.text
    assert len(place.keys()) == 5


async def test_who_only_reads_a_bucket_that_was_tried_writes_nothing_there(place: S3Place) -> None:
    """As `audit` and `recover` do, whenever that was."""
    clock = Days()
    await with_clock(place, clock).prepare()
    place.proxy.requests.clear()
    clock.now_s += 100 * 86_400
    store = with_clock(place, clock)
    await store.prepare()
    assert await store.check(NAME, "png") is None
    assert (await store.page("")).held == ()
    assert {method for method, _ in place.proxy.requests} == {"GET", "HEAD"}


async def test_what_a_killed_try_left_is_deleted_by_a_later_one_and_nothing_else(place: S3Place) -> None:
    await place.put_foreign("somebody/1", "png", b"x")
    await place.put_foreign(".comfyledger-probe/killed-1", "x", b"1")
    clock = Days()
    await with_clock(place, clock).prepare()
    assert sorted(place.keys()) == [".comfyledger-probe/killed-1.x", "somebody/1.png"], "it may be in use elsewhere"
    clock.now_s += 2 * 3_600
    await with_clock(place, clock, "another box").prepare()
    assert place.keys() == ["somebody/1.png"]


async def test_a_server_that_ignores_the_condition_is_refused_and_named(place: S3Place) -> None:
    place.proxy.dropped = {"if-none-match"}
    store = place.store()
    with pytest.raises(StoreTrouble) as refused:
        await store.prepare()
    assert refused.value.fault.code == "configuration"
    assert 'unsafe_overwrite_check = "head"' in refused.value.fault.text
    assert place.keys() == []
    assert [one.verdict for one in await store.diagnose()] == ["ok", "failure"]


async def test_with_the_unsafe_option_each_upload_looks_first(place: S3Place, tmp_path: Path) -> None:
    place.proxy.dropped = {"if-none-match"}
    store = await ready(place, unsafe_overwrite_check="head")
    await place.put_foreign(NAME, "png", picture(7))
    outcome = await store.put(deposit(tmp_path, picture(1)))
    assert isinstance(outcome, ImageFault)
    assert outcome.code == "collision"
    assert isinstance(await store.put(deposit(tmp_path, picture(2), f"{FOLDER}/{STEM}2")), Stored)
    assert await place.contents() == {KEY: picture(7), f"{FOLDER}/{STEM}2.png": picture(2)}
    remarks = await store.diagnose()
    assert [one.verdict for one in remarks] == ["ok", "warning"]
    assert remarks[1].sentence == store.caveat
    assert store.caveat.startswith("Promise 8 does not hold")
    assert place.store().caveat == ""


async def test_a_server_without_conditions_for_parts_gets_large_files_in_one_request(
    place: S3Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.proxy.fail(refusal(501, "NotImplemented"), lambda request: "uploads" in request.query)
    store = await ready(place)
    given = large(tmp_path)
    assert isinstance(await store.put(given), Stored)
    assert [method for method, _ in place.proxy.requests] == ["PUT"]
    assert place.client.head_object(Bucket=place.bucket, Key=KEY)["ContentLength"] == given.size_bytes
    assert "512 MiB" in (await store.diagnose())[1].sentence
    monkeypatch.setattr(uploads, "ONE_REQUEST_BYTES_MAX", LARGE // 2)
    outcome = await store.put(large(tmp_path, public_id=f"{FOLDER}/{STEM}2"))
    assert isinstance(outcome, ImageFault)
    assert outcome.code == "refused"
    assert place.keys() == [KEY]


async def test_a_start_without_network_uses_what_is_known(place: S3Place) -> None:
    await ready(place)
    async with place.unreachable():
        await place.store().prepare()
        other = place.store(prefix="elsewhere")
        with pytest.raises(StoreTrouble):
            await other.prepare()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (refusal(403, "AccessDenied"), "configuration"),
        (refusal(404, "NoSuchBucket"), "configuration"),
        (refusal(403, "RequestTimeTooSkewed"), "clock"),
        (refusal(503, "SlowDown"), "throttled"),
        (refusal(500, "InternalError"), "unknown"),
    ],
)
async def test_a_start_that_fails_says_why(place: S3Place, answer: Fault, code: str) -> None:
    place.proxy.fail(answer, lambda request: True)
    with pytest.raises(StoreTrouble) as trouble:
        await place.store().prepare()
    assert trouble.value.fault.code == code
    assert "hidden-secret" not in str(trouble.value)


# ---- large files


async def test_a_large_file_goes_in_parts_and_is_replayed(place: S3Place, tmp_path: Path) -> None:
    store, given = await ready(place), large(tmp_path)
    for expected in (False, True):
        outcome = await store.put(given)
        assert isinstance(outcome, Stored), outcome
        assert outcome.replayed is expected
    assert [path.partition("?")[2][:10] for method, path in place.proxy.requests if method == "PUT"] == (
        ["partNumber"] * 3 * 2
    )
    assert await place.contents() == {KEY: given.path.read_bytes()}
    assert place.uploads() == []
    seen = await store.check(NAME, "png")
    assert seen is not None
    assert (seen.sha256, seen.md5, seen.size_bytes) == (given.sha256, given.md5, given.size_bytes)
    target = tmp_path / "fetched"
    target.touch()
    await store.fetch(NAME, "png", target)
    assert target.read_bytes() == given.path.read_bytes()
    assert await store.delete(held(given)) == Deleted(found=True)


async def test_a_large_file_overwrites_nothing(place: S3Place, tmp_path: Path) -> None:
    store, given = await ready(place), large(tmp_path)
    await place.put_foreign(NAME, "png", picture(7))
    outcome = await store.put(given)
    assert isinstance(outcome, ImageFault)
    assert outcome.code == "collision"
    assert await place.contents() == {KEY: picture(7)}
    assert place.uploads() == []


@pytest.mark.parametrize("change", ["other", "shorter", "longer", "missing"])
async def test_a_large_file_that_was_altered_is_not_stored(place: S3Place, tmp_path: Path, change: str) -> None:
    store, given = await ready(place), large(tmp_path)
    content = given.path.read_bytes()
    match change:
        case "other":
            given.path.write_bytes(b"x" + content[1:])
        case "shorter":
            given.path.write_bytes(content[:-1])
        case "longer":
            given.path.write_bytes(content + b"x")
        case _:
            given.path.unlink()
    outcome = await store.put(given)
    assert isinstance(outcome, ImageFault)
    assert outcome.code == "altered"
    assert place.keys() == []
    assert place.uploads() == []


@pytest.mark.parametrize("at", [is_part, is_completion])
@pytest.mark.parametrize("fault", ["cut_before", "cut_after", refusal(503, "SlowDown")])
async def test_a_large_file_whose_upload_breaks_is_stored_once_when_it_is_repeated(
    place: S3Place, tmp_path: Path, at: Any, fault: Fault
) -> None:
    store, given = await ready(place), large(tmp_path)
    place.proxy.fail(fault, at)
    outcome = await store.put(given)
    if not isinstance(outcome, Stored):
        assert isinstance(outcome, LaneFault)
        outcome = await store.put(given)
    assert isinstance(outcome, Stored)
    assert await place.contents() == {KEY: given.path.read_bytes()}


# ---- answers that are lost


async def test_a_file_that_is_stored_although_nobody_says_so_counts_as_stored(place: S3Place, tmp_path: Path) -> None:
    store = await ready(place)
    place.proxy.fail("cut_after")
    outcome = await store.put(deposit(tmp_path, picture(1)))
    assert isinstance(outcome, Stored)
    assert [method for method, _ in place.proxy.requests] == ["PUT", "HEAD"]


async def test_answers_that_are_lost_each_time_cost_no_image(place: S3Place, tmp_path: Path) -> None:
    store, given = await ready(place), deposit(tmp_path, picture(1))
    place.proxy.fail("cut_after", lambda request: True, times=4)
    outcomes = [await store.put(given), await store.put(given), await store.put(given)]
    assert [type(one) for one in outcomes] == [LaneFault, LaneFault, Stored]
    assert await place.contents() == {KEY: picture(1)}


async def test_what_another_program_stored_meanwhile_is_a_collision(place: S3Place, tmp_path: Path) -> None:
    store = await ready(place)
    await place.put_foreign(NAME, "png", picture(7))
    place.proxy.fail("cut_before")
    outcome = await store.put(deposit(tmp_path, picture(1)))
    assert isinstance(outcome, ImageFault)
    assert outcome.code == "collision"
    assert await place.contents() == {KEY: picture(7)}


async def test_a_conflict_of_the_server_is_tried_again(place: S3Place, tmp_path: Path) -> None:
    store = await ready(place)
    place.proxy.fail(refusal(409, "ConditionalRequestConflict"))
    assert isinstance(await store.put(deposit(tmp_path, picture(1))), Stored)
    assert await place.contents() == {KEY: picture(1)}


# ---- whose it is


async def test_our_bytes_from_another_program_count_as_stored(place: S3Place, tmp_path: Path) -> None:
    """By the etag, and where that is no MD5, by the bytes."""
    store = await ready(place)
    await place.put_foreign(NAME, "png", picture(1))
    for _ in range(2):
        outcome = await store.put(deposit(tmp_path, picture(1)))
        assert isinstance(outcome, Stored)
        assert outcome.replayed
    given = large(tmp_path, public_id=f"{FOLDER}/{STEM}2")
    upload = {"Bucket": place.bucket, "Key": f"{FOLDER}/{STEM}2.png"}
    place.client.upload_file(str(given.path), upload["Bucket"], upload["Key"])
    assert isinstance(await store.put(given), Stored)
    other = large(tmp_path, public_id=f"{FOLDER}/{STEM}2", sha256="0" * 64, md5="0" * 32)
    assert isinstance(await store.delete(held(other)), Foreign)


async def test_an_object_that_is_replaced_while_it_is_deleted_stays(place: S3Place, tmp_path: Path) -> None:
    store, given = await ready(place), deposit(tmp_path, picture(1))
    assert isinstance(await store.put(given), Stored)
    place.proxy.fail(refusal(412, "PreconditionFailed"), lambda request: request.method == "DELETE")
    assert isinstance(await store.delete(held(given)), Foreign)
    assert await place.contents() == {KEY: picture(1)}


async def test_a_server_that_cannot_compare_deletes_what_was_looked_at(place: S3Place, tmp_path: Path) -> None:
    store, given = await ready(place), deposit(tmp_path, picture(1))
    assert isinstance(await store.put(given), Stored)
    place.proxy.fail(refusal(501, "NotImplemented"), lambda request: request.method == "DELETE")
    assert await store.delete(held(given)) == Deleted(found=True)
    assert place.keys() == []


async def test_a_bucket_that_is_gone_holds_no_empty_answers(place: S3Place) -> None:
    store = await ready(place)
    place.client.delete_bucket(Bucket=place.bucket)
    for call in (store.check(NAME, "png"), store.highest_number(SERIES), store.page("")):
        with pytest.raises(StoreTrouble) as trouble:
            await call
        assert trouble.value.fault.code == "configuration"
    outcome = await store.delete(Held(NAME, "png", 1, "a", "b", "B1/1"))
    assert isinstance(outcome, LaneFault)
    assert outcome.code == "configuration"


# ---- addresses


async def test_an_address_is_signed_for_a_while_and_opens_the_object(place: S3Place, tmp_path: Path) -> None:
    store = place.store(url_lifetime_s=60, endpoint="https://s3.example")
    address = await store.file_url(f"s3://{place.bucket}/{KEY}")
    assert address.startswith(f"https://s3.example/{place.bucket}/{FOLDER}/")
    assert "X-Amz-Expires=60&" in address
    assert "hidden-secret" not in address
    assert await store.file_url("s3://other/a.png") == ""


async def test_no_address_is_signed_that_people_cannot_use(place: S3Place) -> None:
    plain, none = place.store(url_lifetime_s=60), place.store(endpoint="https://s3.example")
    for store in (plain, none):
        assert await store.file_url(f"s3://{place.bucket}/{KEY}") == ""


# ---- lists


async def test_many_objects_come_in_pages_of_500_below_a_prefix(place: S3Place) -> None:
    store = await ready(place, prefix="deep/er")
    place.fill(f"deep/er/{FOLDER}/{STEM}{number}.png" for number in range(1, 503))
    place.client.put_object(Bucket=place.bucket, Key=f"deep/er2/{FOLDER}/{STEM}900.png", Body=b"x")
    place.proxy.requests.clear()
    first = await store.page(FOLDER)
    assert len(place.proxy.requests) == 1
    second = await store.page(FOLDER, first.cursor)
    assert (len(first.held), len(second.held), second.cursor) == (500, 2, "")
    names = {one.public_id for one in (*first.held, *second.held)}
    assert names == {f"{FOLDER}/{STEM}{number}" for number in range(1, 503)}
    assert await store.highest_number(SERIES) == 502


async def test_a_key_that_cannot_be_listed_is_named(place: S3Place) -> None:
    store = await ready(place)
    place.client.put_object(Bucket=place.bucket, Key="odd//key.png", Body=b"x")
    with pytest.raises(StoreTrouble) as trouble:
        await store.page("")
    assert trouble.value.fault.code == "configuration"
    assert "odd//key.png" in str(trouble.value)


async def test_a_key_that_is_too_long_is_the_images_fault(place: S3Place, tmp_path: Path) -> None:
    store = await ready(place, prefix="/".join(["p" * 200] * 5))
    outcome = await store.put(deposit(tmp_path, picture(1)))
    assert isinstance(outcome, ImageFault)
    assert outcome.code == "refused"
    assert place.proxy.requests == []


async def test_an_object_says_what_it_is(place: S3Place, tmp_path: Path) -> None:
    store, given = await ready(place, cache_control="max-age=9"), deposit(tmp_path, picture(1))
    assert isinstance(await store.put(given), Stored)
    said = place.client.head_object(Bucket=place.bucket, Key=KEY)
    assert (said["ContentType"], said["CacheControl"]) == ("image/png", "max-age=9")
    assert said["Metadata"] == {"sha256": given.sha256, "md5": given.md5, "image": "B1/1"}
