"""Counts of images over the wire and over HTTP, with the cursors that lists take, and what clients make of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from comfyledger.client import Client

in_module = pytest.mark.asyncio(loop_scope="module")
CHARACTERS = ("Opal Fever", "Sea Glass", "opal fever")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def counted(lasting_door: Any) -> AsyncIterator[Any]:
    """A door with three batches of three stored images."""
    async with lasting_door.app("shop") as app:
        for number, character in enumerate(CHARACTERS):
            await app.settled((await app.submit(f"r{number}", quantity=3, character=character))["batch_id"])
    yield lasting_door


async def got(door: Any, path: str, **query: str) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {door.token}"}
    async with aiohttp.ClientSession(headers=headers) as http, http.get(f"{door.url}{path}", params=query) as answer:
        return answer.status, await answer.json(content_type=None)


@in_module
async def test_a_count_over_http_has_groups_and_cursors(counted: Any) -> None:
    status, answer = await got(counted, "/v1/images/count", by="character", cursors_every="4", state="stored")
    assert status == HTTPStatus.OK
    assert answer["count"] == 9
    assert answer["groups"] == [{"value": "opal fever", "count": 6}, {"value": "Sea Glass", "count": 3}]
    assert (len(answer["cursors"]), answer["cursors_every"]) == (3, 4)
    pages = []
    for cursor in answer["cursors"]:
        _, page = await got(counted, "/v1/images", state="stored", limit="4", **({"cursor": cursor} if cursor else {}))
        pages.append([image["image_id"] for image in page["images"]])
    assert [len(page) for page in pages] == [4, 4, 1]
    _, whole = await got(counted, "/v1/images")
    assert [one for page in pages for one in page] == [image["image_id"] for image in whole["images"]]


@in_module
async def test_filters_go_together(counted: Any) -> None:
    async with Client(counted.url, counted.token) as client:
        found = await client.list_images(character="OPAL FEVER", medium="image", verdict="none", username="areg")
        assert len(found.images) == 6
        assert (await client.count_images(character="Opal Fever", state="failed")).count == 0
        await client.review([found.images[0].image_id], verdict="approved", rating=4)
        assert [one.image_id for one in (await client.list_images(rating_min=4)).images] == [found.images[0].image_id]
        counts = await client.count_images(by="verdict", cursors_every=5)
        assert [(one.value, one.count) for one in counts.groups] == [("none", 8), ("approved", 1)]
        assert len(counts.cursors) == 2


@in_module
async def test_what_is_no_filter_is_refused(counted: Any) -> None:
    for name, value in (("by", "label"), ("rating_min", "6"), ("rating_min", "0"), ("cursors_every", "-1")):
        status, answer = await got(counted, "/v1/images/count", **{name: value})
        assert status == HTTPStatus.UNPROCESSABLE_ENTITY
        assert (answer["code"], answer["path"]) == ("invalid_field", f"query.{name}")
    assert (await got(counted, "/v1/images/count", limit="5"))[1]["code"] == "unknown_field"
