"""Answers that say nothing: a lookup is repeated, and no image is lost or rendered twice for it."""

from __future__ import annotations

import signal
from typing import Any

from comfyledger.comfyui.watch import TEXT_BYTES_MAX
from support.processes import Doomed, House, in_between
from support.waiting import until
from support.wire_app import coloured


async def test_after_a_lost_answer_the_prompt_is_looked_up_before_it_is_resent(house: House) -> None:
    await house.comfyui.begin()
    house.configure(comfyui="request_timeout_s = 0.5")
    await house.daemon.begin()
    house.comfyui.control(answer_lost_next=1)
    async with house.app() as app:
        asked = await app.submit("r1", images=coloured(4))
        (batch,) = await app.settled(asked["batch_id"])
    house.check_stored(batch)
    assert len(house.comfyui.posted()) == 4


async def test_a_prompt_that_still_waits_is_found_by_its_id_and_not_sent_again(house: House) -> None:
    """Nothing of it is on disk yet: only the lookup keeps it from being rendered twice."""
    await house.comfyui.begin()
    house.configure(comfyui="request_timeout_s = 0.5")
    await house.daemon.begin()
    house.comfyui.control(hold=["start"], answer_lost_next=1)

    def tried_again() -> bool:
        asked = house.comfyui.ledger()["requests"]
        return len(house.comfyui.posted()) > 1 or any("/jobs/" in request["path"] for request in asked)

    async with house.app() as app:
        asked = await app.submit("r1", images=coloured(1))
        await until(tried_again, "the prompt is looked for, or sent again")
        house.comfyui.control(hold=[])
        (batch,) = await app.settled(asked["batch_id"])
    house.check_stored(batch)
    assert len(house.comfyui.posted()) == 1


async def test_an_entry_that_a_crash_left_in_comfyuis_history_goes_with_the_next(house: House) -> None:
    """The files are recorded as kept, so nothing is owed to that prompt any more."""
    house.daemon = Doomed(house, "fetch.logged")
    await house.begin()
    async with house.app() as app:
        await app.submit("r1", quantity=1)
        assert house.daemon.signal(signal.SIGCONT) == -signal.SIGKILL, "it did not die there"
    (left,) = house.comfyui.posted()
    assert house.comfyui.history(left) != {}
    house.daemon = Doomed(house)
    await house.daemon.begin()
    async with house.app() as app:
        asked = await app.submit("r2", quantity=1)
        await app.settled(asked["batch_id"])
        await until(lambda: all(house.comfyui.history(one) == {} for one in house.comfyui.posted()), "both are gone")
    assert len(house.comfyui.posted()) == 2


async def test_an_answer_that_is_cut_short_costs_a_lookup_and_no_image(side_by_side: Any) -> None:
    """The lookup that follows a POST without an answer may be cut short as well."""
    await side_by_side(cut_short, [("/history/",), ("/prompt",), ("/prompt", "/api/jobs/")])


async def cut_short(house: House, paths: tuple[str, ...]) -> None:
    await house.comfyui.begin()
    left = dict.fromkeys(paths, 2)

    def shortened(asked: str, body: bytes) -> bytes:
        path = next((path for path in paths if asked.startswith(path)), "")
        if left.get(path) and len(body) > 20:
            left[path] -= 1
            return body[:20]
        return body

    async with in_between(house.comfyui.url, answered=shortened) as url:
        house.configure(url=url)
        await house.daemon.begin()
        async with house.app() as app:
            house.comfyui.control(hold=["in_node"])
            asked = await app.submit("r1", images=coloured(5))
            await until(lambda: house.comfyui.control()["held_at"] == "in_node", "the first one runs")
            house.comfyui.control(hold=[], big_frame_bytes=TEXT_BYTES_MAX + 1)  # what follows it is looked up
            (batch,) = await app.settled(asked["batch_id"])
    assert not any(left.values())
    house.check_stored(batch)
    assert len(house.comfyui.posted()) == 5


async def test_a_jobs_unknown_status_does_not_count_as_removed_by_a_person(side_by_side: Any) -> None:
    """ComfyUI renders on: the batch is not held, and two images are two renders."""
    await side_by_side(
        unknown_status, [b'{"status": "queued"}', b'{"data": {"status": "in_progress"}}', b"{}", b"<html>"]
    )


async def unknown_status(house: House, said: bytes) -> None:
    await house.comfyui.begin()
    house.comfyui.control(hold=["in_node"])

    def odd(path: str, body: bytes) -> bytes:
        return said if path.startswith("/api/jobs/") else body

    def looked_up() -> bool:
        return [one["path"] for one in house.comfyui.requests()].count("/queue") >= 3

    async with in_between(house.comfyui.url, answered=odd) as url:
        house.configure(url=url)
        await house.daemon.begin()
        async with house.app() as app:
            asked = await app.submit("r1", images=coloured(2))
            await until(looked_up, "the silence is swept")
            assert (await app.batch(asked["batch_id"]))["held"] == ""
            house.comfyui.control(hold=[])
            (batch,) = await app.settled(asked["batch_id"])
    house.check_stored(batch)
    assert len(house.comfyui.posted()) == 2
