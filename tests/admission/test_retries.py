"""Retries in chains: what a retry takes along, whoever it belongs to, and what it refuses with the image to retry."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from comfyledger.admission import retries
from comfyledger.core.commands import MadeFrom, RetryBatch
from comfyledger.core.reports import PromptHasFailed, SubmitIntended
from comfyledger.errors import Refused
from support.chains import LARGER
from support.waiting import until
from support.wire_app import App, Frame, Refusal


async def made_from(app: App, request_id: str, *sources: Frame) -> Frame:
    """A batch with an image of each source."""
    images = [{"inputs": {"5.image": {"image": source["public_ids"][0]}}} for source in sources]
    return await app.submit(request_id, workflow=LARGER, images=images, inputs={})


async def begun(app: App, *request_ids: str) -> list[Frame]:
    """Batches of an image that is not rendered yet."""
    await app.ask("pause")
    return [await app.submit(request_id, quantity=1) for request_id in request_ids]


async def fail(door: Any, reply: Frame) -> None:
    """The image of a batch fails, at an attempt that was the last. Both reports are one group, so nothing is sent."""
    about = (reply["batch_id"], 1, 1)
    reports = (SubmitIntended(*about, backend="main"), PromptHasFailed(*about, "execution_error", final=True))
    await asyncio.gather(*map(door.context.engine.report, reports))


async def states(app: App, reply: Frame) -> list[str]:
    return [image["state"] for image in (await app.batch(reply["batch_id"]))["images"]]


async def until_failed(app: App, reply: Frame) -> None:
    async def has_failed() -> bool:
        return "failed" in await states(app, reply)

    await until(has_failed, f"{reply['batch_id']} has failed")


async def test_what_another_label_made_from_an_image_is_taken_up_and_not_counted(door: Any) -> None:
    async with door.app("app") as app, door.app("other") as other:
        (first,) = await begun(app, "r1")
        mine, theirs = await made_from(app, "r2", first), await made_from(other, "r3", first)
        await fail(door, first)
        for reply in (mine, theirs):
            await until_failed(app, reply)
        whole = await retries.completed(door.context.limited_to("app"), RetryBatch("app", first["batch_id"]))
        assert whole.also == tuple(MadeFrom(reply["batch_id"], (1,)) for reply in (mine, theirs))
        assert (await app.ask("retry", batch_id=first["batch_id"]))["images"] == 2
        assert [await states(app, reply) for reply in (first, mine, theirs)] == [["pending"]] * 3


async def test_a_held_batch_stays_held_when_its_source_is_tried_again(door: Any) -> None:
    async with door.app("app") as app:
        first, second = await begun(app, "r1", "r2")
        both = await made_from(app, "r3", first, second)
        await fail(door, first)
        await until_failed(app, both)
        await app.ask("pause", scope=f"batch:{both['batch_id']}")
        await app.ask("retry", batch_id=first["batch_id"])
        batch = await app.batch(both["batch_id"])
    assert (batch["status"], batch["pending"]) == ("held", 2)


async def test_a_retry_takes_up_the_failed_images_that_an_image_is_made_from(door: Any) -> None:
    async with door.app("app") as app:
        first, second = await begun(app, "r1", "r2")
        both = await made_from(app, "r3", first, second)
        last = await made_from(app, "r4", both)
        for reply in (first, second):
            await fail(door, reply)
        await app.settled(last["batch_id"])
        await app.ask("retry", batch_id=last["batch_id"])
        assert [await states(app, one) for one in (first, second, both, last)] == [
            *(["pending"], ["failed"], ["pending", "failed"], ["pending"])
        ]
        await app.ask("retry", batch_id=both["batch_id"], images=[2])
        assert [await states(app, one) for one in (second, both)] == [["pending"], ["pending", "pending"]]


async def test_a_retry_is_refused_while_every_image_has_a_source_that_cannot_be_retried(door: Any) -> None:
    async with door.app("app") as app:
        first, second = await begun(app, "r1", "r2")
        both = await made_from(app, "r3", first, second)
        for reply in (first, second):
            await app.ask("cancel", batch_id=reply["batch_id"])
        await app.settled(both["batch_id"])
        with pytest.raises(Refusal) as refusal:
            await app.ask("retry", batch_id=both["batch_id"])
    assert refusal.value.code == "input_failed"
    assert first["names"][0] in refusal.value.data["message"]


async def test_a_refusal_names_no_source_that_may_not_be_seen(door: Any) -> None:
    async with door.app("other") as other:
        (first,) = await begun(other, "r1")
        mine = await made_from(other, "r2", first)
        await fail(door, first)
        await until_failed(other, mine)
        with pytest.raises(Refused) as refused:
            await retries.completed(door.context.limited_to("app"), RetryBatch("app", mine["batch_id"]))
    assert (refused.value.code, first["names"][0] in refused.value.message) == ("input_failed", False)
