"""Reviews over the wire: all images or none, the rights of the token, and forgetting what was rejected."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from comfyledger.client import Client
from comfyledger.server import tokens
from comfyledger.server.tokens import Right
from support.waiting import until
from support.wire_app import App, Refusal


@asynccontextmanager
async def app_with(door: Any, label: str, right: Right, *, read_all: bool = False) -> AsyncIterator[App]:
    token = tokens.add(door.folder / "state" / "tokens.json", label, right, 0.0, read_all=read_all)
    door.context.access.keyring.refresh()
    async with door.connect(additional_headers={"Authorization": f"Bearer {token}"}) as socket:
        app = App(socket)
        try:
            yield app
        finally:
            await app.close()


async def stored(app: App, request_id: str = "r1", quantity: int = 3) -> str:
    asked = await app.submit(request_id, quantity=quantity)
    await app.settled(asked["batch_id"])
    return str(asked["batch_id"])


async def is_forgotten(app: App, image: str) -> bool:
    return bool((await app.ask("get_image", image=image))["state"] == "forgotten")


def said(images: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(image.get("verdict", ""), image.get("rating", 0)) for image in images]


async def test_images_are_reviewed_by_id_or_by_name_and_say_so_everywhere(door: Any) -> None:
    async with door.app("cli") as app:
        batch = await stored(app)
        await app.ask("subscribe", kinds=["image_reviewed"])
        name = (await app.batch(batch))["images"][2]["public_id"]
        done = await app.ask("review", images=[name, f"{batch}/1", f"{batch}/3"], verdict="approved", rating=4)
        assert done["changed"] == 2
        assert [image["index"] for image in done["images"]] == [3, 1]
        assert said(done["images"]) == [("approved", 4), ("approved", 4)]
        assert all(image["file_url"] for image in done["images"])
        assert said((await app.batch(batch))["images"]) == [("approved", 4), ("", 0), ("approved", 4)]
        assert said((await app.ask("list_images", batch_id=batch))["images"])[1:] == [("", 0), ("approved", 4)]
        await until(lambda: "image_reviewed" in [one["kind"] for one in app.events], "the event")
        (event,) = [one for one in app.events if one["kind"] == "image_reviewed"]
        wanted = {"batch_id": batch, "images": [1, 3], "by": "cli", "verdict": "approved", "rating": 4}
        assert event["data"] == wanted
        with door.unchanged():
            again = await app.ask("review", images=[f"{batch}/3", f"{batch}/1"], verdict="approved")
        assert again["changed"] == 0


async def test_one_request_reviews_images_of_several_batches_or_none(door: Any) -> None:
    async with door.app() as app:
        first, second = await stored(app), await stored(app, "r2", quantity=1)
        await app.ask("forget", batch_id=first, images=[2])
        for wrong, code, path in [
            (f"{first}/2", "no_file", "$.data.images"),
            (f"{first}/9", "unknown_image", "$.data.images[2]"),
        ]:
            with door.unchanged(), pytest.raises(Refusal) as refused:
                await app.ask("review", images=[f"{second}/1", f"{first}/1", wrong], verdict="approved")
            assert (refused.value.code, refused.value.data["path"]) == (code, path)
        done = await app.ask("review", images=[f"{second}/1", f"{first}/1"], verdict="approved")
        assert done["changed"] == 2


async def test_what_is_rejected_can_be_forgotten_with_what_the_stores_have(door: Any) -> None:
    async with door.app() as app:
        first, second = await stored(app), await stored(app, "r2", quantity=1)
        asked = {"images": [f"{first}/1", f"{second}/1"], "verdict": "rejected", "forget": True, "stores": True}
        done = await app.ask("review", **asked)
        assert done["changed"] == 2
        assert (done["forgotten"]["images"], done["forgotten"]["deletions"]) == (2, 2)
        assert said(done["images"]) == [("rejected", 0)] * 2
        assert {image["state"] for image in done["images"]} <= {"forgetting", "forgotten"}
        assert not any(image.get("file_url") for image in done["images"])
        kinds = [event["kind"] for event in (await app.ask("read_log", batch_id=first))["events"]]
        assert kinds.index("image_reviewed") < kinds.index("image_forgotten")
        for batch in (first, second):
            await until(lambda: is_forgotten(app, f"{batch}/1"), "the store has deleted it")  # noqa: B023
        with door.unchanged():
            again = await app.ask("review", **asked)
        assert (again["changed"], again["forgotten"]["images"]) == (0, 0)


async def test_an_interrupted_request_is_completed_by_its_repeat(door: Any) -> None:
    async with door.app() as app:
        batch = await stored(app)
        images = [f"{batch}/1", f"{batch}/2"]
        await app.ask("review", images=images, verdict="rejected")
        await app.ask("forget", batch_id=batch, images=[1])
        done = await app.ask("review", images=images, verdict="rejected", forget=True)
        assert (done["changed"], done["forgotten"]["images"]) == (0, 1)
        assert [image["state"] for image in done["images"]] == ["forgotten", "forgotten"]


async def test_the_client_reviews_one_image_or_several(door: Any) -> None:
    async with door.app() as app:
        batch = await stored(app)
    async with Client(url=door.url, token=door.token) as client:
        done = await client.review(f"{batch}/1", verdict="approved", rating=5)
        assert (done.changed, done.images[0].verdict, done.images[0].rating) == (1, "approved", 5)
        done = await client.review([f"{batch}/1", f"{batch}/2"], verdict="rejected", forget=True)
        assert done.forgotten is not None
        assert (done.changed, done.forgotten.images) == (2, 2)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "$.data.verdict"),
    ({"verdict": "good"}, "$.data.verdict"),
    ({"rating": 6}, "$.data.rating"),
    ({"rating": -1}, "$.data.rating"),
    ({"rating": 1, "images": []}, "$.data.images"),
    ({"rating": 1, "images": ["x/1"] * 501}, "$.data.images"),
    ({"rating": 1, "forget": True}, "$.data.forget"),
    ({"verdict": "approved", "forget": True}, "$.data.forget"),
    ({"verdict": "rejected", "stores": True}, "$.data.stores"),
]


async def test_what_is_asked_wrongly_is_refused(door: Any) -> None:
    async with door.raw() as raw:
        for data, path in WRONG:
            answer = await raw.ask("review", **{"images": ["x/1"], **data})
            assert (answer["data"]["code"], answer["data"]["path"]) == ("invalid_field", path), data


async def test_a_token_that_sees_its_own_work_reviews_its_own_images_only(door: Any) -> None:
    async with app_with(door, "ours", "operate") as ours, app_with(door, "theirs", "operate") as theirs:
        batch = await stored(theirs)
        with door.unchanged(), pytest.raises(Refusal, match="unknown_image"):
            await ours.ask("review", images=[f"{batch}/1"], verdict="rejected")
        assert (await theirs.ask("review", images=[f"{batch}/1"], rating=5))["changed"] == 1
    async with app_with(door, "desk", "operate", read_all=True) as desk:
        assert (await desk.ask("review", images=[f"{batch}/1"], rating=4))["changed"] == 1
