"""Forgetting over the wire: a batch, some images, a user page by page; what is asked wrongly changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from comfyledger.admission import forget
from support.wire_app import Refusal


async def test_a_batch_is_forgotten_and_says_so_everywhere(door: Any) -> None:
    async with door.app("cli") as app:
        asked = await app.submit("r1", tags=["shop"], metadata={"note": "secret"})
        await app.settled(asked["batch_id"])
        with door.unchanged():
            plan = await app.ask("forget", batch_id=asked["batch_id"], dry_run=True)
        done = await app.ask("forget", batch_id=asked["batch_id"])
        assert plan == {"batches": 1, "images": 3, "left": {"folder": 3}, "dry_run": True}
        assert done == {"batches": 1, "images": 3, "texts": 3, "left": {"folder": 3}}
        batch = await app.batch(asked["batch_id"])
        assert (batch["forgotten"], batch["stored"], batch.get("tags"), batch.get("metadata")) == (3, 0, None, None)
        listed = (await app.ask("list_images", state="forgotten"))["images"]
        assert [image["number"] for image in listed] == [1, 2, 3]
        told = await app.ask("explain", what=asked["names"][0])
        assert (told["image"]["state"], told["owed"]) == ("forgotten", [])
        assert [event["kind"] for event in told["events"]][-2:] == ["image_forgotten", "blob_erased"]
        with door.unchanged():
            assert await app.ask("forget", batch_id=asked["batch_id"]) == {"batches": 0, "images": 0}
        repeated = await app.submit("r1", tags=["shop"], metadata={"note": "secret"})
        assert (repeated["repeated"], repeated["numbers"]) == (True, [1, 2, 3])


async def test_some_images_are_forgotten_and_the_others_go_on(door: Any) -> None:
    async with door.app() as app:
        asked = await app.submit("r1")
        await app.settled(asked["batch_id"])
        done = await app.ask("forget", batch_id=asked["batch_id"], images=[2], stores=True)
        assert (done["images"], done["deletions"]) == (1, 1)
        batch = await app.counted("stored", 2, asked["batch_id"])
        assert [image["state"] for image in batch["images"]][::2] == ["stored", "stored"]


async def test_a_user_is_forgotten_page_by_page(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forget, "BATCHES_PAGE", 2)
    async with door.app() as app:
        asked = [await app.submit(f"r{number}", quantity=1) for number in range(3)]
        other = await app.submit("r9", "Mina", quantity=1)
        await app.settled(*(one["batch_id"] for one in (*asked, other)))
        first = await app.ask("forget", username="AREG")
        assert (first["batches"], first["images"], first["before"]) == (2, 2, asked[1]["batch_id"])
        again = await app.ask("forget", username="areg")
        assert (again["batches"], again["before"]) == (0, first["before"])
        last = await app.ask("forget", username="areg", before=first["before"])
        assert (last["batches"], last["images"], last.get("before", "")) == (1, 1, "")
        assert (await app.batch(other["batch_id"]))["stored"] == 1


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({}, "invalid_field", "$.data.batch_id"),
    ({"batch_id": "b", "username": "Areg"}, "invalid_field", "$.data.batch_id"),
    ({"username": "Areg", "images": [1]}, "invalid_field", "$.data.images"),
    ({"batch_id": "nobody's"}, "unknown_batch", "$.data.batch_id"),
    ({"batch_id": "nobody's", "dry_run": True}, "unknown_batch", "$.data.batch_id"),
]


async def test_what_is_asked_wrongly_is_refused(door: Any) -> None:
    async with door.raw() as raw:
        for asked, code, path in WRONG:
            with door.unchanged():
                answer = await raw.ask("forget", **asked)
            assert (answer["data"]["code"], answer["data"]["path"]) == (code, path)


@pytest.mark.parametrize("dry_run", [True, False])
async def test_an_image_that_the_batch_does_not_have_is_refused(door: Any, dry_run: bool) -> None:
    async with door.app() as app:
        asked = await app.submit("r1", quantity=1)
        await app.settled(asked["batch_id"])
        with door.unchanged(), pytest.raises(Refusal, match="unknown_image") as refused:
            await app.ask("forget", batch_id=asked["batch_id"], images=[1, 2], dry_run=dry_run)
    assert refused.value.data["path"] == "$.data.images"
