"""Cancel wherever a prompt may be, and retry: what was asked is owed until it is done, and no number comes again."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from aiohttp import web

from support.processes import House, in_between
from support.waiting import until
from support.wire_app import SMALL, App, Frame, coloured, of_kind


def states(batch: Frame) -> list[str]:
    return [image["state"] for image in batch["images"]]


async def next_number(app: App) -> int:
    """The number that a further batch gets."""
    return int((await app.submit("next", quantity=1))["numbers"][0])


def nothing_left(house: House) -> Callable[[], bool]:
    return lambda: not any(house.comfyui.queue().values())


async def at_prompts(app: App, kind: str, count: int) -> None:
    """Wait until so many prompts have an event of a kind."""
    await app.ask("subscribe", kinds=[kind])
    await until(lambda: len({one["position"] for one in of_kind(app.events, kind)}) >= count, f"{count} times {kind}")


async def test_a_cancel_is_owed_until_the_prompt_is_seen_gone(side_by_side: Any) -> None:
    """Two images at ComfyUI: pending, running and deaf to interrupts, or between its queue and its history."""
    await side_by_side(cancel_owed, ["queue", "in_node", "history"])


async def cancel_owed(house: House, place: str) -> None:
    await house.begin(depth=2)
    house.comfyui.control(hold=[place])
    async with house.app() as app:
        asked = await app.submit("r1", images=coloured(4))
        await at_prompts(app, "prompt_accepted", 2)
        if place != "queue":
            await until(lambda: house.comfyui.control()["held_at"] == place, "a prompt is held")
        changed = await app.ask("cancel", batch_id=asked["batch_id"])
        assert changed == {"images": 4}
        (batch,) = await app.settled(asked["batch_id"])
        assert states(batch) == ["cancelled"] * 4
        gone = of_kind(await app.log(), "prompt_removed")
        assert 1 not in {event["data"]["prompt"] for event in gone} or place == "queue", "said gone before it was"
        house.comfyui.control(hold=[])
        await until(nothing_left(house), "ComfyUI has nothing of ours")
        if place != "history":
            await at_prompts(app, "prompt_removed", 2)
        after = await app.submit("r2", quantity=1)
        assert after["numbers"] == [5]
        await app.settled(after["batch_id"])
        assert states(await app.batch(asked["batch_id"])) == ["cancelled"] * 4
    assert len(set(house.comfyui.posted())) == len(house.comfyui.posted()) == 2 + 1
    assert len(house.stored()) == 1


async def test_a_cancel_while_the_prompt_is_being_posted_takes_it_out_after_all(house: House) -> None:
    """ComfyUI has it and does not answer; what may be there is looked for and taken out."""
    await house.comfyui.begin()
    house.comfyui.control(hold=["queue"], answer_lost_next=1)
    house.configure(depth=1, comfyui="request_timeout_s = 1.0")
    await house.daemon.begin()
    async with house.app() as app:
        asked = await app.submit("r1", images=coloured(3))
        await until(lambda: len(house.comfyui.posted()) == 1, "it is posted")
        await app.ask("cancel", batch_id=asked["batch_id"])
        (batch,) = await app.settled(asked["batch_id"])
        assert states(batch) == ["cancelled"] * 3
        await until(nothing_left(house), "ComfyUI has nothing of ours")
        await at_prompts(app, "prompt_removed", 1)
        house.comfyui.control(hold=[])
        assert await next_number(app) == 4
    assert house.comfyui.ledger()["files"] == [] or len(house.comfyui.posted()) == 2


async def test_a_cancel_while_files_are_fetched_leaves_the_rest_where_it_is(house: House) -> None:
    closed = True

    def answered(path: str, body: bytes) -> bytes:
        if closed and path == "/view":
            raise web.HTTPServiceUnavailable
        return body

    await house.comfyui.begin()
    async with in_between(house.comfyui.url, answered=answered) as url:
        house.configure(url=url)
        await house.daemon.begin()
        async with house.app() as app:
            asked = await app.submit("r1", quantity=2)
            await at_prompts(app, "prompt_finished", 1)
            await app.ask("cancel", batch_id=asked["batch_id"])
            (batch,) = await app.settled(asked["batch_id"])
            closed = False
            assert states(batch) == ["cancelled"] * 2
            assert await next_number(app) == 3
            spooled = house.state / "spool" / asked["batch_id"]
            await until(lambda: not any(files for _, _, files in os.walk(spooled)), "the spool holds nothing of it")


async def test_what_is_kept_is_stored_after_a_cancel_and_said_to_be_left(house: House) -> None:
    """One image waits for its store, one for ComfyUI; a cancel of each by its number says which it could stop."""
    await house.begin(depth=1)
    away = house.folder / "away"
    async with house.app() as app:
        first = await app.submit("r1", quantity=1)
        await app.settled(first["batch_id"])
        house.images.rename(away)
        asked = await app.submit("r2", quantity=1)
        await app.counted("kept", 1, asked["batch_id"])
        house.comfyui.control(hold=["queue"])
        other = await app.submit("r3", images=coloured(3))
        assert await app.ask("cancel", batch_id=asked["batch_id"]) == {"images": 0, "left": {"kept": 1}}
        assert await app.ask("cancel", batch_id=other["batch_id"], images=[2]) == {"images": 1}
        assert await app.ask("cancel", batch_id=first["batch_id"]) == {"images": 0, "left": {"stored": 1}}
        house.comfyui.control(hold=[])
        away.rename(house.images)
        batches = await app.settled(asked["batch_id"], other["batch_id"])
        assert [states(batch) for batch in batches] == [["stored"], ["stored", "cancelled", "stored"]]
        assert await next_number(app) == 6


async def test_a_retry_takes_what_failed_and_nothing_else_and_goes_on_counting(house: House) -> None:
    await house.begin("[limits]\nrender_attempts_max = 1", depth=1)
    house.comfyui.control(fail_next=2)
    async with house.app() as app:
        await app.ask("pause")
        asked = await app.submit("r1", images=coloured(5))
        await app.ask("cancel", batch_id=asked["batch_id"], images=[5])
        await app.ask("resume")
        (batch,) = await app.settled(asked["batch_id"])
        assert states(batch) == ["failed", "failed", "stored", "stored", "cancelled"]
        changed = await app.ask("retry", batch_id=asked["batch_id"])
        assert changed == {"images": 2, "left": {"stored": 2, "cancelled": 1}}
        batch = await app.counted("stored", 4, asked["batch_id"])
        log = await app.log()
    assert [image["number"] for image in batch["images"]] == asked["numbers"] == [1, 2, 3, 4, 5]
    assert states(batch) == ["stored"] * 4 + ["cancelled"]
    submitted = [(one["data"]["prompt"], one["data"]["attempt"]) for one in of_kind(log, "prompt_submitting")]
    assert submitted == [(1, 1), (2, 1), (3, 1), (4, 1), (1, 2), (2, 2)]
    assert sorted(house.rendered(asked["batch_id"])) == [
        f"{name}_00001_.png" for name in ("1-a2", "2-a2", "3-a1", "4-a1")
    ]


async def test_a_retry_lets_a_held_batch_go_on_under_its_own_numbers(house: House) -> None:
    """Three that fail alike hold their batch; `retry` renews them, and the rest goes on with them."""
    await house.begin("[limits]\nrender_attempts_max = 1", depth=1)
    house.comfyui.control(fail_next=3)
    async with house.app() as app:
        asked = await app.submit("r1", images=coloured(5), inputs=SMALL)
        await app.counted("failed", 3, asked["batch_id"])
        assert (await app.batch(asked["batch_id"]))["held"] == "failing"
        assert await app.ask("retry", batch_id=asked["batch_id"]) == {"images": 3, "left": {"pending": 2}}
        (batch,) = await app.settled(asked["batch_id"])
    assert states(batch) == ["stored"] * 5
    assert [image["number"] for image in batch["images"]] == asked["numbers"]
    house.check_stored(batch)
