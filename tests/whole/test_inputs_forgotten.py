"""Forgetting an input, in whatever state what was made from it is: its bytes go when the last one needs them no more,
here and at ComfyUI, whose own ledger shows what was uploaded over them.
"""

from __future__ import annotations

import hashlib
import signal
from pathlib import Path
from typing import Any

import pytest

from comfyledger.workers.comfyui.input_files import PIXEL
from support.ledger_builders import check_tables
from support.loaded_pictures import NAME, RED, SHA256, add, loading, picture
from support.processes import Doomed, House
from support.waiting import until
from support.wire_app import App, Frame, Refusal

STUB = hashlib.sha256(PIXEL).hexdigest()


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def here(house: House) -> set[str]:
    """The digests of the files in the daemon's own folder."""
    return {path.stem for path in (house.state / "inputs").glob("*/*")}


def uploaded(house: House, sha256: str) -> list[str]:
    """What was uploaded under the name of an input, one after the other, as the stand-in saw it."""
    name = f"{sha256}.png"
    uploads = [one["sha256"] for one in house.comfyui.uploads() if one["filename"] == name]
    return ["stub" if one == STUB else "bytes" if one == sha256 else one for one in uploads]


async def asked(app: App, request_id: str, content: bytes = RED, **more: Any) -> str:
    """A batch of one image that loads a file; its id."""
    inputs = {"5.image": {"input": f"sha256:{sha256_of(content)}"}}
    reply = await app.submit(request_id, **{"workflow": loading(), "inputs": inputs, "quantity": 1, **more})
    return str(reply["batch_id"])


async def made(app: App, request_id: str, content: bytes = RED, **more: Any) -> Frame:
    (batch,) = await app.settled(await asked(app, request_id, content, **more))
    return batch


async def forget(app: App, content: bytes = RED) -> None:
    await app.ask("forget_input", input=f"sha256:{sha256_of(content)}")


async def gone(app: App, sha256: str = SHA256) -> None:
    """Wait until nothing of an input is owed any more, here or at ComfyUI."""

    async def settled() -> bool:
        held = (await app.ask("server_info"))["inputs"]
        page = await app.ask("read_log", kinds=["input_erased", "input_removed"])
        kinds = [event["kind"] for event in page["events"] if event["data"]["sha256"] == sha256]
        return "input_removed" in kinds and not held.get("removals")

    await until(settled, "it is removed everywhere")


async def owed_there_alone(app: App) -> None:
    async def owed() -> bool:
        return (await app.ask("server_info"))["inputs"].get("removals") == {"main": 1}

    await until(owed, "the removal here is done, and the one at the ComfyUI is owed")


async def test_a_file_that_waiting_work_needs_goes_after_it(house: House) -> None:
    await house.begin()
    await add(house, RED)
    async with house.app("app") as app:
        await app.ask("pause", scope="backend:main")
        waiting = await asked(app, "r1")
        await forget(app)
        with pytest.raises(Refusal) as refused:
            await asked(app, "r2")
        assert refused.value.code == "input_missing"
        assert here(house) == {SHA256}
        await app.ask("resume", scope="backend:main")
        (batch,) = await app.settled(waiting)
        assert batch["stored"] == 1
        await gone(app)
    assert here(house) == set()
    assert uploaded(house, SHA256) == ["bytes", "stub"]
    assert (house.comfyui.input / NAME).read_bytes() == PIXEL


async def test_a_batch_takes_its_file_along_however_it_has_ended(house: House) -> None:
    await house.begin()
    stored, failed, cancelled, unused = contents = [picture(colour) for colour in (10, 20, 30, 40)]
    for content in contents:
        await add(house, content)
    async with house.app("app") as app:
        first = await made(app, "stored", stored)
        house.comfyui.control(fail_next=9)
        second = await made(app, "failed", failed)
        house.comfyui.control(fail_next=0)
        await app.ask("pause", scope="backend:main")
        third = await asked(app, "cancelled", cancelled)
        await app.ask("cancel", batch_id=third)
        assert (first["stored"], second["failed"]) == (1, 1)
        for batch_id in (first["batch_id"], second["batch_id"], third):
            assert (await app.ask("forget", batch_id=batch_id))["inputs"] == 1
        await forget(app, unused)
        await app.ask("resume", scope="backend:main")
        for content in contents:
            await gone(app, sha256_of(content))
    assert here(house) == set()
    ends = [uploaded(house, sha256_of(content)) for content in contents]
    assert ends == [["bytes", "stub"], ["bytes", "stub"], [], []]


async def test_a_batch_that_is_forgotten_while_it_runs_takes_its_file_along(house: House) -> None:
    await house.begin()
    await add(house, RED)
    house.comfyui.control(hold=["start"])
    async with house.app("app") as app:
        running = await asked(app, "r1")
        await until(lambda: house.comfyui.queue()["queue_running"], "the prompt runs")
        assert (await app.ask("forget", batch_id=running))["inputs"] == 1
        await gone(app)
        house.comfyui.control(hold=[])
        again = await app.submit("r2", quantity=1)
        assert (await app.settled(again["batch_id"]))[0]["stored"] == 1, "the ComfyUI works on"
    assert here(house) == set()
    assert uploaded(house, SHA256) == ["bytes", "stub"]
    assert house.comfyui.ended()[0] != "success"


async def test_a_file_stays_for_the_last_batch_and_the_last_label(house: House) -> None:
    await house.begin()
    await add(house, RED)
    async with house.app("app") as app, house.app("other") as other:
        batches = [await made(app, f"r{number}") for number in range(2)]
        await add(house, RED, "other")
        theirs = await made(other, "r9")
        answers = [await app.ask("forget", batch_id=one["batch_id"]) for one in batches]
        assert [answer.get("inputs", 0) for answer in answers] == [0, 1]
        assert here(house) == {SHA256}
        assert uploaded(house, SHA256) == ["bytes"]
        with pytest.raises(Refusal):
            await forget(app)
        assert (await other.ask("forget", batch_id=theirs["batch_id"]))["inputs"] == 1
        await gone(other)
    assert here(house) == set()
    assert uploaded(house, SHA256) == ["bytes", "stub"]


async def test_an_image_that_is_forgotten_is_overwritten_where_others_load_it(house: House) -> None:
    await house.begin()
    async with house.app("app") as app:
        (source,) = await app.settled((await app.submit("r1", quantity=1))["batch_id"])
        image = source["images"][0]
        inputs = {"5.image": {"image": image["public_id"]}}
        made_from = (await app.submit("r2", workflow=loading(), inputs=inputs, quantity=1))["batch_id"]
        (batch,) = await app.settled(made_from)
        assert (batch["stored"], uploaded(house, image["sha256"])) == (1, ["bytes"])
        assert (await app.ask("forget", batch_id=source["batch_id"]))["inputs"] == 1
        await gone(app, image["sha256"])
        assert (await app.batch(made_from))["stored"] == 1
    assert uploaded(house, image["sha256"]) == ["bytes", "stub"]


async def test_a_comfyui_that_is_away_is_owed_the_removal_until_it_is_back(house: House) -> None:
    await house.begin()
    await add(house, RED)
    async with house.app("app") as app:
        await made(app, "r1")
        house.comfyui.signal(signal.SIGKILL)
        await forget(app)
        await owed_there_alone(app)
        house.daemon.signal(signal.SIGKILL)
        await house.comfyui.begin()
        await house.daemon.begin()
    async with house.app("app") as app:
        await gone(app)
    assert (house.comfyui.input / NAME).read_bytes() == PIXEL


async def test_a_comfyui_that_is_gone_for_good_is_given_up_by_a_person(house: House) -> None:
    await house.begin()
    await add(house, RED)
    async with house.app("app") as app:
        await made(app, "r1")
        house.comfyui.signal(signal.SIGKILL)
        await forget(app)
        with pytest.raises(Refusal) as refused:
            await app.ask("recover", drop_comfyui="main")
        assert refused.value.code == "invalid_field"
    house.daemon.end()
    await house.comfyui.begin()
    config = house.folder / "config.toml"
    config.write_text(config.read_text().replace("[comfyui.main]", "[comfyui.other]"))
    await house.daemon.begin()
    async with house.app("app") as app:
        await owed_there_alone(app)
        assert (await app.ask("recover", drop_comfyui="main", dry_run=True))["inputs"] == 1
        assert (await app.ask("recover", drop_comfyui="main"))["inputs"] == 1
        await gone(app)
        with pytest.raises(Refusal) as nothing:
            await app.ask("recover", drop_comfyui="main")
    assert nothing.value.code == "nothing_to_do"
    assert (house.comfyui.input / NAME).read_bytes() == RED


@pytest.mark.parametrize("place", ["input.deleting", "input.deleted"])
async def test_a_daemon_that_dies_between_the_event_and_the_deletion_deletes_at_its_next_start(
    doomed_house: House, place: str
) -> None:
    house = doomed_house
    house.daemon = doomed = Doomed(house, place)
    await doomed.begin()
    await add(house, RED)
    async with house.app("app") as app:
        await forget(app)
        await until(lambda: doomed.exit_code() is not None, f"the daemon dies at {place}")
    assert here(house) == ({SHA256} if place == "input.deleting" else set())
    house.daemon = Doomed(house)
    await house.daemon.begin()
    async with house.app("app") as app:
        await gone(app)
    assert here(house) == set()
    kinds = [line.kind for line in check_tables(Path(house.state / "ledger.db"))]
    assert [kind for kind in kinds if kind.startswith("input_")] == [
        "input_added",
        "input_forgotten",
        "input_erased",
        "input_removed",
    ]
    assert house.daemon.errors() == []
