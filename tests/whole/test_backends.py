"""Several ComfyUIs under one daemon: what happens when one of them dies, or goes out of the configuration."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from comfyledger.maintenance.doctor.comfyui import NO_ID
from support.command_line import command
from support.fleet import Fleet
from support.processes import StandIn
from support.waiting import until
from support.wire_app import App, Frame, check_gap_free, of_kind
from whole.conftest import kept


async def left_at_b(fleet: Fleet) -> str:
    """Eight images, two of them at each stand-in when `b` goes out of the configuration. Returns the batch id."""
    await fleet.begin_all()
    for one in fleet.standins.values():
        one.control(hold=["in_node"])
    async with fleet.app() as app:
        batch_id = str((await app.submit("r1", quantity=8))["batch_id"])

        async def accepted() -> bool:
            return len((await app.ask("read_log", kinds=["prompt_accepted"]))["events"]) == 4

        await until(accepted, "two are at each")
    assert fleet.daemon.signal(signal.SIGTERM) == 0
    fleet.configure_for(["a"])
    fleet.standins["a"].control(hold=[])
    await fleet.daemon.begin()
    async with fleet.app() as app:
        await app.counted("stored", 6, batch_id)
        await until(lambda: lane_of(app), "the lane says why")
    return batch_id


async def lane_of(app: App) -> Frame | None:
    lanes = (await app.ask("server_info"))["lanes"]
    return next((one for one in lanes if one["lane"] == "backend/b" and one.get("code") == "unconfigured"), None)


async def test_what_was_at_a_removed_backend_waits_for_it_and_everybody_says_so(fleet: Fleet) -> None:
    batch_id = await left_at_b(fleet)
    async with fleet.app() as app:
        lane = await lane_of(app)
        assert lane is not None
        assert "Put the section back, or cancel" in lane["text"]
        owed = (await app.ask("explain", what=batch_id))["owed"]
        assert any("There is no [comfyui.b] any more. Put the section back" in one["text"] for one in owed)
        assert {index for one in owed for index in one["images"]} == waiting(await app.batch(batch_id))
    said = await command(fleet, "doctor")
    (line,) = [one for one in said["diagnoses"] if one["area"] == "comfyui b"]
    assert line["sentence"].startswith("2 prompts are at the ComfyUI b, which is not configured any more")
    assert fleet.daemon.signal(signal.SIGTERM) == 0
    fleet.configure_for(["a", "b"])
    fleet.standins["b"].control(hold=[])
    await fleet.daemon.begin()
    async with fleet.app() as app:
        (batch,) = await app.settled(batch_id)
        assert await lane_of(app) is None
    fleet.check_stored(batch)
    posted = [[one for one in standin.posted() if one != NO_ID] for standin in fleet.standins.values()]
    assert [len(ids) for ids in posted] == [6, 2], "nothing was sent a second time"


async def test_what_was_at_a_removed_backend_can_be_given_up(fleet: Fleet) -> None:
    batch_id = await left_at_b(fleet)
    async with fleet.app() as app:
        await app.ask("cancel", batch_id=batch_id)
        (batch,) = await app.settled(batch_id)
        assert sorted(image["state"] for image in batch["images"]) == ["cancelled"] * 2 + ["stored"] * 6

        async def nothing_left() -> bool:
            return not await lane_of(app) and not (await app.ask("server_info"))["open"]["prompts"]

        await until(nothing_left, "nothing waits for the removed backend")


async def test_one_of_three_dies_in_the_middle_and_every_image_is_stored_once(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with kept(Fleet(tmp_path, ("a", "b", "c"), seconds_per_image=0.03), request) as fleet:
        await die_in_the_middle(fleet)


async def die_in_the_middle(fleet: Fleet) -> None:
    await fleet.begin_all()
    dying = fleet.standins["b"]
    async with fleet.app() as app:
        users = ("Areg", "Mina", "Nino")
        asked = [await app.submit(user, user, images=coloured(20, place)) for place, user in enumerate(users)]
        ids = [str(one["batch_id"]) for one in asked]
        await until(lambda: len(dying.ended()) >= 3, "it has rendered some")
        dying.control(hold=["in_node"])
        await until(lambda: dying.control()["held_at"], "it renders one, and ends none")
        ran = ran_by(dying)
        lost = await until(lambda: len(left := set(dying.posted()) - set(ran)) == 2 and left, "another one waits there")
        await dying.restart()
        batches = await app.settled(*ids)
        log = await app.log()
    fleet.check_stored(*batches)
    assert [sorted(one["numbers"]) for one in asked] == [list(range(1, 21))] * 3
    kept_images = of_kind(log, "image_kept")
    assert len({event["data"]["sha256"] for event in kept_images}) == len(kept_images) == 60
    assert len(of_kind(log, "image_uploaded")) == len(fleet.stored()) == 60
    for one in fleet.standins.values():
        ran += ran_by(one)
    assert len(ran) == len(set(ran)) == 60, "each was rendered once"
    again = [event["data"]["prompt_id"] for event in of_kind(log, "prompt_submitting") if event["data"]["attempt"] > 1]
    assert len(again) == len(lost), "only what was lost was sent a second time"
    shares = [len(ran_by(one)) for one in fleet.standins.values()]
    assert min(shares) > 0, f"one of them was not used: {shares}"
    check_gap_free(log)
    assert (await command(fleet, "audit", "--deep", "--stores"))["findings"] == []


def ran_by(standin: StandIn) -> list[str]:
    """The ids of the prompts that a stand-in has rendered since it began."""
    return [one["prompt_id"] for one in standin.ledger()["prompts"] if one["outcome"] == "execution_success"]


def coloured(count: int, place: int) -> list[Frame]:
    """Images of colours that no other batch has."""
    return [{"inputs": {"color": 10_000 * (place * count + number)}} for number in range(1, count + 1)]


def waiting(batch: Frame) -> set[Any]:
    return {image["index"] for image in batch["images"] if image["state"] == "pending"}
