"""Files that come broken are never kept: another attempt with names of its own brings whole ones."""

from __future__ import annotations

import hashlib
import signal
from typing import Any

import pytest

from support.command_line import command
from support.processes import House
from support.waiting import until
from support.wire_app import App, Frame, Refusal, of_kind

ONE_ATTEMPT_EACH = ["cut_1", "cut_4", "cut_20", "cut_1000", "trailing", "empty", "missing"]
ONE_TRANSFER_EACH = ["short_transfer", "html", "reset"]
HELD_BACK = 3
"""Transfers of one file that may break off before it counts as broken."""


async def settled_one(app: App, color: int, **more: Any) -> Frame:
    """A batch of one prompt, in a colour of its own: one in which all prompts fail alike would be held."""
    inputs = {"width": 64, "height": 64, "color": color}
    asked = await app.submit(f"r{color}", **{"quantity": 1, "character": f"c{color}", "inputs": inputs, **more})
    (batch,) = await app.settled(asked["batch_id"])
    return batch


def check_kept(house: House, log: list[Frame]) -> None:
    """What was recorded as kept is what lies in the store, byte for byte."""
    kept = {event["data"]["name"]: event["data"]["sha256"] for event in of_kind(log, "image_kept")}
    stored = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in house.stored().items()}
    assert kept == stored


def failures(log: list[Frame]) -> list[str]:
    return [event["data"]["code"] for event in of_kind(log, "prompt_failed")]


async def test_a_broken_file_is_never_kept_and_rendered_again(house: House) -> None:
    await house.begin()
    batches = []
    async with house.app() as app:
        for color, fault in enumerate([*ONE_ATTEMPT_EACH, *ONE_TRANSFER_EACH], 1):
            house.comfyui.control(view_next=[fault])
            batches.append(await settled_one(app, color))
        log = await app.log()
    house.check_stored(*batches)
    check_kept(house, log)
    assert failures(log) == [*["broken"] * 6, "file_missing"]
    assert [event["data"]["attempt"] for event in of_kind(log, "image_kept")] == [2] * 7 + [1] * 3
    for batch in batches[:7]:
        assert sorted(house.rendered(batch["batch_id"])) == ["1-a1_00001_.png", "1-a2_00001_.png"]


async def test_files_that_stay_broken_fail_only_their_own_images_with_a_code(house: House) -> None:
    await house.begin()
    house.comfyui.control(view_next=["short_transfer"] * (3 * HELD_BACK))
    async with house.app() as app:
        failed = await settled_one(app, 1)
        house.comfyui.control(view_next=["html"] * 3)
        failed_too = await settled_one(app, 2)
        other = await app.submit("r3", quantity=2)
        (batch,) = await app.settled(other["batch_id"])
        log = await app.log()
    assert [one["images"][0]["state"] for one in (failed, failed_too)] == ["failed", "failed"]
    assert [one["images"][0]["code"] for one in (failed, failed_too)] == ["broken", "broken"]
    assert failed["images"][0]["text"].startswith("truncated:")
    assert failed_too["images"][0]["text"].startswith("web_page:")
    assert failures(log) == ["broken"] * 4, "a page that stays is not rendered anew"
    assert of_kind(log, "lane_paused") == []
    house.check_stored(batch)
    check_kept(house, log)


async def test_a_deleted_file_comes_from_the_cache_with_the_next_attempts_name(house: House) -> None:
    await house.begin()
    house.comfyui.control(hold=["history"])
    async with house.app() as app:
        asked = await app.submit("r1", quantity=2, images_per_prompt=2)
        await until(lambda: house.comfyui.ended() == ["execution_success"], "both files are written")
        house.comfyui.control(delete_files_of=house.comfyui.posted()[0])
        house.comfyui.control(hold=[])
        (batch,) = await app.settled(asked["batch_id"])
        assert failures(await app.log()) == ["file_missing"]
    house.check_stored(batch)
    assert sorted(house.rendered(asked["batch_id"])) == ["1-a2_00001_.png", "1-a2_00002_.png"]
    executed = [run["executed"] for run in house.comfyui.ledger()["prompts"]]
    assert len(executed[1]) == 1 < len(executed[0]), "only the saving was done again"


async def no_entries(house: House) -> None:
    """Nothing of ours stays in ComfyUI's memory."""
    await until(lambda: all(house.comfyui.history(one) == {} for one in house.comfyui.posted()), "all entries went")


async def test_fewer_files_than_expected_are_kept_and_cost_one_run(house: House) -> None:
    await house.begin()
    async with house.app() as app:
        house.comfyui.control(miscount_next=[-1])
        batch = await settled_one(app, 30, quantity=3, images_per_prompt=3)
        await no_entries(house)
        log = await app.log()
    assert [image["state"] for image in batch["images"]] == ["stored", "stored", "failed"]
    assert batch["images"][2]["code"] == "wrong_count"
    text = batch["images"][2]["text"]
    assert "2 files" in text
    assert "3 were expected" in text
    assert "images_per_prompt" in text
    assert len(house.comfyui.posted()) == 1
    check_kept(house, log)


async def test_no_file_at_all_costs_one_run(house: House) -> None:
    await house.begin()
    async with house.app() as app:
        house.comfyui.control(miscount_next=[-1])
        batch = await settled_one(app, 31)
        await no_entries(house)
    assert [(image["state"], image["code"]) for image in batch["images"]] == [("failed", "wrong_count")]
    assert "0 files where 1 was expected" in batch["images"][0]["text"]
    assert len(house.comfyui.posted()) == 1


async def test_more_files_than_expected_wait_until_a_person_chooses(side_by_side: Any) -> None:
    """They wait in the spool: ComfyUI's own copies may go, and the daemon may die."""
    await side_by_side(more_than_expected, [("first", [1]), ("last", [1]), ("all", [1, 3, 4])])


async def more_than_expected(house: House, chosen: tuple[str, list[int]]) -> None:
    take, numbers = chosen
    await house.begin()
    async with house.app() as app:
        house.comfyui.control(miscount_next=[2])
        batch = await settled_one(app, 32)
        other = await app.submit("r2", quantity=1, character="c32", inputs={"width": 64, "height": 64, "color": 9})
        await app.settled(other["batch_id"])
        await no_entries(house)
    (image,) = batch["images"]
    assert (image["state"], image["code"]) == ("parked", "wrong_count")
    for said in ("3 files", "1 was expected", "--take", "images_per_prompt = 3"):
        assert said in image["text"]
    house.daemon.signal(signal.SIGKILL)
    house.comfyui.control(delete_files_of=house.comfyui.posted()[0])
    await house.daemon.begin()
    async with house.app() as app:
        with pytest.raises(Refusal, match="take_missing"):
            await app.ask("retry", batch_id=batch["batch_id"])
        changed = await app.ask("retry", batch_id=batch["batch_id"], take=take)
        assert changed["images"] == len(numbers)
        stored = await app.counted("stored", len(numbers), batch["batch_id"])
        log = await app.log()
    assert [one["number"] for one in stored["images"]] == numbers
    assert len(house.comfyui.posted()) == 2
    check_kept(house, log)
    spool = house.state / "spool" / batch["batch_id"]
    await until(lambda: all(int(path.stem) < 10**9 for path in spool.glob("*")), "what was not taken goes")
    house.daemon.signal(signal.SIGTERM)
    assert (await command(house, "audit"))["findings"] == []
