"""Several ComfyUIs under one daemon: what happens when one of them dies, or goes out of the configuration."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from comfyledger.maintenance.doctor.comfyui import NO_ID
from support.command_line import command
from support.fleet import Fleet
from support.processes import StandIn
from support.waiting import until
from support.wire_app import Frame, check_gap_free, of_kind
from whole.conftest import kept


async def test_what_was_at_a_removed_backend_is_rendered_by_the_others(fleet: Fleet) -> None:
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
    said = await command(fleet, "doctor")
    (line,) = [one for one in said["diagnoses"] if one["area"] == "comfyui b"]
    assert line["sentence"].startswith("2 prompts are at the ComfyUI b, which is not configured any more: others")
    for one in fleet.standins.values():
        one.control(hold=[])
    await fleet.daemon.begin()
    async with fleet.app() as app:
        (batch,) = await app.settled(batch_id)
        log = await app.log()
        assert not [one for one in (await app.ask("server_info"))["lanes"] if one["lane"] == "backend/b"]
    fleet.check_stored(batch)
    moved = of_kind(log, "prompt_moved")
    assert [(one["data"]["backend"], one["data"]["reason"]) for one in moved] == [("b", "removed")] * 2
    assert {one["data"]["outcome"] for one in of_kind(log, "stray_ended")} == {"given_up"}
    posted = [[one for one in standin.posted() if one != NO_ID] for standin in fleet.standins.values()]
    assert [len(ids) for ids in posted] == [8, 2], "what b had was sent a second time, to a"
    check_gap_free(log)


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
