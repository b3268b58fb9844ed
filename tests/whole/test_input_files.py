"""Files that prompts load lie at ComfyUI when it needs them, whatever happened to its input folder meanwhile."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from comfyledger.workers.comfyui.input_files import PIXEL
from support.loaded_pictures import DARK, INPUT, NAME, RED, SHA256, add, loading
from support.processes import House
from support.waiting import until
from support.wire_app import App, Frame


async def made(app: App, request_id: str, **more: Any) -> Frame:
    """The batch that loads the file, at its end."""
    asked = {"workflow": loading(), "inputs": {"5.image": INPUT}, "quantity": 1, **more}
    reply = await app.submit(request_id, **asked)
    (batch,) = await app.settled(reply["batch_id"])
    return batch


def loaded(house: House, batch: Frame) -> set[bytes]:
    """The first pixels that were made of the file: they follow from its bytes. Further down a name is drawn."""
    return {house.drawn(house.stored()[image["public_id"]])[: 64 * 3] for image in batch["images"]}


async def kinds(app: App) -> list[str]:
    return [event["kind"] for event in await app.log()]


async def test_a_file_is_sent_again_after_its_folder_was_emptied_and_comfyui_restarted(house: House) -> None:
    await house.begin()
    await add(house, RED)
    async with house.app("app") as app:
        first = await made(app, "r1", quantity=3)
        second = await made(app, "r2")
        assert [one["filename"] for one in house.comfyui.uploads()] == [f"{SHA256}.png"]
        shutil.rmtree(house.comfyui.input)
        await house.comfyui.restart()
        third = await made(app, "r3")
        assert len(house.comfyui.uploads()) == 2
        assert loaded(house, first) == loaded(house, second) == loaded(house, third)
        assert (await kinds(app)).count("input_sent") == 1


async def test_a_file_that_was_replaced_while_comfyui_knew_it_is_sent_again(house: House) -> None:
    await house.begin()
    await add(house, RED)
    async with house.app("app") as app:
        first = await made(app, "r1")
        (house.comfyui.input / NAME).write_bytes(DARK)
        second = await made(app, "r2")
    assert (house.comfyui.input / NAME).read_bytes() == RED
    assert loaded(house, first) == loaded(house, second)


@pytest.mark.parametrize("fault", ["cut", "short", "answer_lost"])
async def test_an_upload_that_goes_wrong_is_made_again(house: House, fault: str) -> None:
    await house.begin()
    house.comfyui.control(upload_next=[fault])
    await add(house, RED)
    async with house.app("app") as app:
        batch = await made(app, "r1")
    assert [image["state"] for image in batch["images"]] == ["stored"]
    assert (house.comfyui.input / NAME).read_bytes() == RED


async def test_a_file_that_comfyui_writes_under_another_name_fails_its_image_with_the_reason(house: House) -> None:
    await house.begin()
    house.comfyui.control(upload_next=["other_name"])
    await add(house, RED)
    async with house.app("app") as app:
        batch = await made(app, "r1")
        (image,) = batch["images"]
        assert (image["state"], image["code"]) == ("failed", "input_failed")
        again = await app.submit("r2", quantity=1)
        assert (await app.settled(again["batch_id"]))[0]["images"][0]["state"] == "stored", "others go on"


@pytest.mark.parametrize("is_local", [False, True])
async def test_a_forgotten_file_is_overwritten_or_deleted_at_comfyui(house: House, is_local: bool) -> None:
    await house.begin()
    if is_local:
        house.configure(comfyui=f'input_dir = "{house.comfyui.input}"')
        house.daemon.end()
        await house.daemon.begin()
    await add(house, RED)
    async with house.app("app") as app:
        await made(app, "r1")
        assert (house.comfyui.input / NAME).read_bytes() == RED
        await app.ask("subscribe", kinds=["input_removed"])
        await app.ask("forget_input", input=f"sha256:{SHA256}")
        await until(lambda: len(removed(app)) == 2, "it is removed here and there")
    assert sorted(removed(app)) == [("", "", True), ("main", NAME, True)]
    left = [path.stat().st_size for path in house.comfyui.input.glob("comfyledger/*/*")]
    assert left == ([] if is_local else [len(PIXEL)])
    assert not list((house.state / "inputs").glob("*/*"))


async def test_what_a_running_prompt_loads_is_overwritten_after_its_batch_has_ended(house: House) -> None:
    await house.begin()
    await add(house, RED)
    house.comfyui.control(hold=["start"])
    async with house.app("app") as app:
        reply = await app.submit("r1", quantity=1, workflow=loading(), inputs={"5.image": INPUT})
        await until(lambda: house.comfyui.queue()["queue_running"], "the prompt runs")
        await app.ask("forget_input", input=f"sha256:{SHA256}")
        assert (house.comfyui.input / NAME).read_bytes() == RED
        house.comfyui.control(hold=[])
        (batch,) = await app.settled(reply["batch_id"])
        await app.ask("subscribe", kinds=["input_removed"])
        await until(lambda: len(removed(app)) == 2, "it is removed here and there")
    assert [image["state"] for image in batch["images"]] == ["stored"]
    assert (house.comfyui.input / NAME).read_bytes() == PIXEL


def removed(app: App) -> list[tuple[str, str, bool]]:
    gone = (event["data"] for event in app.events if event["kind"] == "input_removed")
    return [(data.get("backend", ""), data.get("name", ""), data.get("found", True)) for data in gone]
