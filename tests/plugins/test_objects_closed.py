"""One object that cannot be read is the fault of its own image: the store goes on with the others."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

pytest.importorskip("obstore", reason="obstore is not installed")

from comfyledger.plugin_api import Foreign, Held, ImageFault, LaneFault, Stored
from comfyledger.testing.place import FOLDER, NAME, STEM, deposit, held, picture
from support.object_places import Fault, ProxiedPlace, S3Place, place_of, refusal

KEY, OTHER = f"{NAME}.png", f"{FOLDER}/{STEM}2"
Place = S3Place | ProxiedPlace
MANY = 50


@pytest.fixture(params=["s3", "gcs", "azure"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with place_of(request.param, tmp_path) as made:
        yield made


def asks_for(request: web.Request, *keys: str) -> bool:
    """Whether a request reads one of these objects; of any object without keys."""
    is_list = "list-type" in request.query or "comp" in request.query
    return request.method in {"HEAD", "GET"} and not is_list and (not keys or request.path.endswith(keys))


DENIALS: dict[str, Fault] = {
    "not allowed": refusal(403, "AccessDenied"),
    "with a key of its own": refusal(400, "InvalidRequest"),
    "archived": refusal(409, "BlobArchived"),
    "in a cold class": refusal(403, "InvalidObjectState"),
}


@pytest.mark.parametrize("denial", DENIALS)
async def test_an_object_that_cannot_be_read_parks_its_image_alone(place: Place, tmp_path: Path, denial: str) -> None:
    store = place.store()
    await store.prepare()
    await place.put_foreign(NAME, "png", picture(7))
    place.proxy.fail(DENIALS[denial], lambda request: asks_for(request, KEY), MANY)
    outcome = await store.put(deposit(tmp_path, picture(1)))
    assert isinstance(outcome, ImageFault), outcome
    assert outcome.code == "collision"
    assert isinstance(await store.put(deposit(tmp_path, picture(2), OTHER)), Stored)
    assert isinstance(await store.delete(held(deposit(tmp_path, picture(1)))), Foreign)
    assert await place.contents() == {KEY: picture(7), f"{OTHER}.png": picture(2)}


async def test_an_object_with_odd_metadata_parks_its_image_alone(place: Place, tmp_path: Path) -> None:
    store = place.store()
    await store.prepare()
    await place.put_foreign(NAME, "png", picture(7)[:-1] + b"x")
    place.proxy.odd = lambda request: asks_for(request, KEY)
    outcome = await store.put(deposit(tmp_path, picture(7)))
    assert isinstance(outcome, ImageFault), outcome
    assert "Zo" not in outcome.text
    assert isinstance(await store.check(NAME, "png"), Held)
    assert isinstance(await store.put(deposit(tmp_path, picture(2), OTHER)), Stored)


async def test_of_an_object_that_cannot_be_read_a_list_tells_what_it_is(place: Place, tmp_path: Path) -> None:
    store = place.store()
    await store.prepare()
    await place.put_foreign(NAME, "png", picture(7))
    place.proxy.fail(refusal(403, "AccessDenied"), lambda request: asks_for(request, KEY), MANY)
    seen = await store.check(NAME, "png")
    assert seen is not None
    assert seen.size_bytes == len(picture(7))
    if isinstance(place, S3Place):
        assert seen.md5 == hashlib.md5(picture(7)).hexdigest()
        outcome = await store.put(deposit(tmp_path, picture(7)))
        assert isinstance(outcome, Stored), "its etag proves that it is ours"
        assert outcome.replayed


async def test_an_account_that_may_read_nothing_pauses_the_store(place: Place, tmp_path: Path) -> None:
    store = place.store()
    await store.prepare()
    await place.put_foreign(NAME, "png", picture(7)[:-1] + b"x")
    place.proxy.fail(refusal(403, "AccessDenied"), asks_for, MANY)
    given = deposit(tmp_path, picture(7))
    for answer in (await store.put(given), await store.delete(held(given))):
        assert isinstance(answer, LaneFault)
        assert answer.code == "configuration"
    assert len(await place.contents()) == 1, "what was written to find that out is gone"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (refusal(400, "ExpiredToken"), "configuration"),
        (refusal(403, "RequestTimeTooSkewed"), "clock"),
        (refusal(503, "SlowDown"), "throttled"),
    ],
)
async def test_a_fault_of_the_place_is_not_taken_for_one_of_the_object(
    place: Place, tmp_path: Path, answer: Fault, code: str
) -> None:
    store = place.store()
    await store.prepare()
    await place.put_foreign(NAME, "png", picture(7))
    place.proxy.fail(answer, lambda request: request.method != "PUT", MANY)
    outcome = await store.put(deposit(tmp_path, picture(1)))
    assert isinstance(outcome, LaneFault)
    assert outcome.code == code


async def test_an_object_that_goes_while_it_is_compared_parks_nothing(place: Place, tmp_path: Path) -> None:
    store = place.store()
    await store.prepare()
    await place.put_foreign(NAME, "png", bytes(len(picture(1))))
    place.proxy.fail(refusal(404, "NoSuchKey"), lambda request: asks_for(request, KEY) and "Range" in request.headers)
    assert isinstance(await store.put(deposit(tmp_path, picture(1))), LaneFault)
    seen = await store.check(NAME, "png")
    assert isinstance(seen, Held)
