"""Prompts that move away from a ComfyUI, in whole processes: whatever was rendered by whom, each image is stored once.

The stand-ins' own ledgers and output folders say what was rendered; the daemon's word is not taken for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.command_line import command
from support.doomed_lives import GONE
from support.fleet import Fleet
from support.processes import PNG_END, Doomed, StandIn
from support.waiting import pause, until
from support.wire_app import App, Frame, check_gap_free, coloured, of_kind
from whole.conftest import kept

POISON = 666
SOON = "move_after_s = 0.5\nrequest_timeout_s = 2"
THREE = ("a", "b", "c")


async def at_a(fleet: Fleet, app: App, quantity: int = 1, **more: object) -> str:
    """A batch whose first prompts are sent to `a`, while `b` is paused. Returns its id."""
    await app.ask("pause", scope="backend:b")
    batch_id = str((await app.submit("r1", images=coloured(quantity), **more))["batch_id"])
    await until(fleet.standins["a"].posted, "it is sent to a")
    await app.ask("resume", scope="backend:b")
    return batch_id


def files_of(standin: StandIn, batch_id: str) -> list[str]:
    """The whole files that a stand-in wrote for a batch."""
    folder = standin.output / "comfyledger" / batch_id.lower()
    return sorted(path.name for path in folder.glob("*.png") if path.read_bytes().endswith(PNG_END))


async def said(app: App, kind: str, count: int = 1) -> list[Frame]:
    """The events of a kind, once there are so many."""

    async def there() -> list[Frame] | None:
        found = [event["data"] for event in (await app.ask("read_log", kinds=[kind]))["events"]]
        return found if len(found) >= count else None

    events: list[Frame] = await until(there, f"{count} of {kind}")
    return events


async def check_once(fleet: Fleet, app: App, *batches: Frame) -> list[Frame]:
    """Each image of these batches is stored once, and no two attempts of a prompt were live. Returns the log."""
    fleet.check_stored(*batches)
    log = await app.log()
    check_gap_free(log)
    images = sum(len(batch["images"]) for batch in batches)
    assert len(of_kind(log, "image_kept")) == len(of_kind(log, "image_uploaded")) == len(fleet.stored()) == images
    check_one_live(log)
    assert (await command(fleet, "audit", "--deep", "--stores"))["findings"] == []
    return log


def check_one_live(log: list[Frame]) -> None:
    """Of each prompt an attempt begins only when the one before has ended or was left behind."""
    ends = {"prompt_finished", "prompt_failed", "prompt_lost", "prompt_removed", "prompt_refused", "prompt_moved"}
    live: dict[tuple[str, int], int] = {}
    for event in log:
        data, place = event["data"], (event["stream"], event["data"].get("prompt", 0))
        if event["kind"] == "prompt_submitting":
            assert place not in live, f"{place} has two live attempts"
            live[place] = data["attempt"]
        elif event["kind"] in ends and live.get(place) == data["attempt"]:
            del live[place]


async def test_a_prompt_whose_answer_never_came_is_stored_once_although_two_backends_ran_it(fleet: Fleet) -> None:
    fleet.keys = "move_after_s = 2\nrequest_timeout_s = 1"
    await fleet.begin_all()
    a, b = fleet.standins["a"], fleet.standins["b"]
    a.control(answer_lost_next=1, hold=["history"])
    async with fleet.app() as app:
        batch_id = await at_a(fleet, app)
        await until(lambda: files_of(a, batch_id), "a has rendered it")
        a.signal(signal.SIGKILL)
        (batch,) = await app.settled(batch_id)
        moved = await said(app, "prompt_moved")
        assert [(one["attempt"], one["backend"], one["reason"]) for one in moved] == [(1, "a", "away")]
        assert len(files_of(a, batch_id)) == len(files_of(b, batch_id)) == 1, "both have rendered it"
        await a.begin()
        (ended,) = await said(app, "stray_ended")
        assert (ended["attempt"], ended["backend"]) == (1, "a")
        assert ended["outcome"] in {"late", "gone"}, "gone if the daemon had heard that it ran: its file may be cut off"
        log = await check_once(fleet, app, batch)
    assert [event["data"]["attempt"] for event in of_kind(log, "image_kept")] == [2]
    assert len(a.posted()) == 0, "nothing was sent to a again"


async def test_with_move_after_0_it_waits_for_its_backend_and_explain_says_so(fleet: Fleet) -> None:
    fleet.keys = "move_after_s = 0"
    await fleet.begin_all()
    a = fleet.standins["a"]
    a.control(hold=["in_node"])
    async with fleet.app() as app:
        batch_id = await at_a(fleet, app)
        await said(app, "prompt_accepted")
        a.signal(signal.SIGKILL)
        waits = "`comfyledger move backend:a` moves it"

        async def explained() -> Frame | None:
            owed = (await app.ask("explain", what=f"{batch_id}/1"))["owed"]
            return next((one for one in owed if waits in one["text"]), None)

        found = await until(explained, "explain says why it waits")
        assert "With move_after_s = 0 what was sent there waits for it" in found["text"]
        assert (found["lane"], found["command"]) == ("backend/a", "comfyledger move backend:a")
        assert found["since_ms"] > 0
        await pause(1.0)
        assert of_kind(await app.log(), "prompt_moved") == []
        await a.begin()
        (batch,) = await app.settled(batch_id)
        log = await check_once(fleet, app, batch)
    assert of_kind(log, "prompt_moved") == []
    assert {event["data"]["backend"] for event in of_kind(log, "prompt_submitting")} <= {"a", "b"}


async def test_a_comfyui_that_hangs_and_goes_on_renders_for_nobody(fleet: Fleet) -> None:
    fleet.keys = SOON
    await fleet.begin_all()
    a = fleet.standins["a"]
    async with fleet.app() as app:
        await app.ask("pause", scope="backend:b")
        a.control(hold=["in_node"])
        batch_id = str((await app.submit("r1", images=coloured(2)))["batch_id"])
        await until(lambda: len(a.posted()) == 2, "both are at a")
        await said(app, "prompt_accepted", 2)
        stop(a, signal.SIGSTOP)
        await app.ask("resume", scope="backend:b")
        try:
            (batch,) = await app.settled(batch_id)
        finally:
            stop(a, signal.SIGCONT)
        a.control(hold=[])
        await said(app, "stray_ended", 2)
        await until(lambda: not a.queue()["queue_running"] and not a.queue()["queue_pending"], "a has nothing left")
        await check_once(fleet, app, batch)


def stop(standin: StandIn, number: signal.Signals) -> None:
    os.kill(standin.pid, number)


async def test_a_stray_that_finished_first_is_used_and_its_successor_cancelled(fleet: Fleet) -> None:
    fleet.keys = SOON
    await fleet.begin_all()
    a, b = fleet.standins["a"], fleet.standins["b"]
    a.control(hold=["history"])
    b.control(hold=["in_node"])
    async with fleet.app() as app:
        batch_id = await at_a(fleet, app)
        await until(lambda: a.control()["held_at"], "a has rendered it and said so")
        await said(app, "prompt_accepted")

        async def heard() -> bool:
            return not await runs_one(app)

        await until(heard, "the daemon has heard it")
        a.signal(signal.SIGKILL)
        await until(lambda: b.control()["held_at"], "b renders it")
        await a.begin()
        (batch,) = await app.settled(batch_id)
        moved = await said(app, "prompt_moved", 2)
        assert [(one["attempt"], one["backend"], one["reason"]) for one in moved] == [
            (1, "a", "away"),
            (2, "b", "overtaken"),
        ]
        b.control(hold=[])
        ended = await said(app, "stray_ended", 2)
        assert [(one["attempt"], one["outcome"]) for one in ended] == [(1, "used"), (2, "gone")]
        log = await check_once(fleet, app, batch)
    assert [event["data"]["attempt"] for event in of_kind(log, "image_kept")] == [1]
    assert files_of(b, batch_id) == []


async def test_a_stray_whose_file_was_cut_off_takes_nothing_from_its_successor(fleet: Fleet) -> None:
    fleet.keys = SOON
    await fleet.begin_all()
    a, b = fleet.standins["a"], fleet.standins["b"]
    a.control(hold=["in_node"])
    b.control(hold=["in_node"])
    async with fleet.app() as app:
        batch_id = await at_a(fleet, app)
        await said(app, "prompt_accepted")
        await until(lambda: a.control()["held_at"], "a runs it")
        await until(lambda: runs_one(app), "that is known")
        a.signal(signal.SIGKILL)
        cut = a.output / "comfyledger" / batch_id.lower() / "1-a1_00001_.png"
        cut.parent.mkdir(parents=True, exist_ok=True)
        cut.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
        await until(lambda: b.control()["held_at"], "b renders it")
        await a.begin()
        (ended,) = await said(app, "stray_ended")
        assert ended["outcome"] == "gone"
        b.control(hold=[])
        (batch,) = await app.settled(batch_id)
        cut.unlink()
        log = await check_once(fleet, app, batch)
    assert [event["data"]["attempt"] for event in of_kind(log, "image_kept")] == [2]


# ---- poison


async def fall(fleet: Fleet, name: str, fallen: list[str], *, comes_back: bool) -> None:
    """A stand-in runs one node after the other, and is killed when it is at the poison."""
    standin = fleet.standins[name]
    while True:
        await pause(0.02)
        if standin.control()["held_at"] is None:
            continue
        if all(entry[2]["1"]["inputs"]["color"] != POISON for entry in standin.queue()["queue_running"]):
            standin.control(step=1)
            continue
        fallen.append(name)
        if not comes_back:
            standin.signal(signal.SIGKILL)
            return
        await standin.restart()
        standin.control(hold=["in_node"], seconds_per_image=0)


@contextlib.asynccontextmanager
async def falling(fleet: Fleet, fallen: list[str], *, comes_back: bool) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(fall(fleet, name, fallen, comes_back=comes_back)) for name in fleet.standins]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            assert error is None or isinstance(error, asyncio.CancelledError), error


@pytest.fixture
def three(tmp_path: Path, request: pytest.FixtureRequest) -> contextlib.AbstractContextManager[Fleet]:
    return kept(Fleet(tmp_path, THREE), request)  # type: ignore[return-value]


async def with_poison(fleet: Fleet, app: App) -> tuple[Frame, Frame]:
    """Two batches, one of them with a poison in it, while every stand-in holds its runs."""
    for one in fleet.standins.values():
        one.control(hold=["in_node"], seconds_per_image=0)
    images = coloured(4)
    images[1] = {"inputs": {"color": POISON}}
    return await app.submit("bad", images=images), await app.submit("good", "Mina", images=coloured(4))


@pytest.mark.parametrize("keys", ["", "move_after_s = 60"])
async def test_a_poison_prompt_takes_down_one_backend_of_three(three: Fleet, keys: str) -> None:
    with three as fleet:  # type: ignore[attr-defined]
        fleet.keys = keys
        await fleet.begin_all(config="[limits]\npoison_strikes_max = 2")
        fallen: list[str] = []
        async with fleet.app() as app:
            bad, good = await with_poison(fleet, app)
            async with falling(fleet, fallen, comes_back=True):
                bad, good = await app.settled(bad["batch_id"], good["batch_id"])
            assert [image["state"] for image in bad["images"]] == ["stored", "failed", "stored", "stored"]
            assert bad["images"][1]["code"] == "poison"
            fleet.check_stored(good)
        assert len(fallen) == 2
        assert len(set(fallen)) == 1, fallen


async def test_a_poison_prompt_whose_backends_stay_away_takes_down_two_of_three(three: Fleet) -> None:
    with three as fleet:  # type: ignore[attr-defined]
        fleet.keys = SOON
        await fleet.begin_all(config="[limits]\npoison_strikes_max = 2")
        fallen: list[str] = []
        async with fleet.app() as app:
            bad, good = await with_poison(fleet, app)
            async with falling(fleet, fallen, comes_back=False):
                await app.counted("stored", 3, bad["batch_id"])
                (good,) = await app.settled(good["batch_id"])
                await until(lambda: len(fallen) == 2, "the poison has taken down two")
            fleet.check_stored(good)
            await pause(2.0)
            assert len(set(fallen)) == 2
            for name in fallen:
                await fleet.standins[name].begin()
            (bad,) = await app.settled(bad["batch_id"])
            assert [image["state"] for image in bad["images"]] == ["stored", "failed", "stored", "stored"]
            assert bad["images"][1]["code"] == "poison"


async def test_a_drained_backend_gets_nothing_new_and_ends_empty(fleet: Fleet) -> None:
    await fleet.begin_all(depth=3)
    async with fleet.app() as app:
        asked = [await app.submit(f"r{number}", images=coloured(20)) for number in range(3)]
        await app.counted("stored", 3, asked[0]["batch_id"])
        one = await command(fleet, "drain", "backend:a", "--wait")
        work = one["work"]
        assert (one["state"], work.get("running", 0), work.get("waiting", 0)) == ("paused", 0, 0)
        batches = await app.settled(*(each["batch_id"] for each in asked))
        log = await check_once(fleet, app, *batches)
    (paused,) = (event["position"] for event in of_kind(log, "lane_paused") if event["data"]["lane"] == "backend/a")
    at_a = [event["position"] for event in of_kind(log, "prompt_submitting") if event["data"]["backend"] == "a"]
    assert at_a
    assert max(at_a) < paused


# ---- people, crashes, and what comes and goes


async def test_a_person_moves_what_a_comfyui_is_rendering(fleet: Fleet) -> None:
    await fleet.begin_all(depth=3)
    a = fleet.standins["a"]
    a.control(seconds_per_image=60)
    async with fleet.app() as app:
        batch_id = await at_a(fleet, app, 2)
        pinned = await app.submit("pinned", quantity=1, backend="a")
        await until(lambda: len(a.posted()) == 3, "all three are at a")
        await said(app, "prompt_accepted", 3)
        moved = await app.ask("move", scope="backend:a")
        assert (moved["moved"], moved["stays"]) == (2, {"pinned": 1})
        assert "1 prompt may go nowhere else, because the request names it" in moved["hint"]
        (batch,) = await app.settled(batch_id)
        await said(app, "stray_ended", 2)
        assert [one["reason"] for one in await said(app, "prompt_moved", 2)] == ["person", "person"]
        await app.ask("cancel", batch_id=pinned["batch_id"])
        await said(app, "prompt_removed")
        assert await command(fleet, "move", "backend:a", "--wait") == {
            "moved": 0,
            "hint": "`comfyledger resume backend:a` gives it work again.",
        }
        assert files_of(a, batch_id) == []
        await app.ask("resume", scope="backend:a")
        await check_once(fleet, app, batch)


async def test_a_person_moves_from_a_comfyui_that_is_away_and_drain_waits_for_what_was_left(fleet: Fleet) -> None:
    await fleet.begin_all()
    a = fleet.standins["a"]
    a.control(hold=["in_node"])
    async with fleet.app() as app:
        batch_id = await at_a(fleet, app)
        await said(app, "prompt_accepted")
        await until(lambda: a.control()["held_at"], "a runs it")
        a.signal(signal.SIGKILL)
        await until(lambda: is_away(app), "it is known to be away")
        assert (await app.ask("move", scope="backend:a"))["moved"] == 1
        (moved,) = await said(app, "prompt_moved")
        assert (moved["reason"], moved["running"]) == ("person", True)
        (batch,) = await app.settled(batch_id)
        draining = asyncio.create_task(command(fleet, "drain", "backend:a", "--wait"))
        await until(lambda: strays_of(app), "it is shown")
        assert not draining.done()
        await a.begin()
        one = await draining
        assert (one["state"], one["work"].get("strays", 0)) == ("paused", 0)
        await check_once(fleet, app, batch)


async def backend(app: App, name: str = "a") -> Frame:
    return next(one for one in (await app.ask("server_info"))["backends"] if one["name"] == name)


async def runs_one(app: App) -> bool:
    return bool((await backend(app))["work"].get("running"))


async def is_connected(app: App) -> bool:
    return bool((await backend(app))["connected"])


async def is_away(app: App) -> bool:
    return bool((await backend(app)).get("problem"))


async def strays_of(app: App) -> int:
    return int((await backend(app))["work"].get("strays", 0))


@pytest.mark.parametrize(
    "place", ["move.deciding", "move.decided", "prompt.ended", "prompt.end_logged", "fetch.logged"]
)
async def test_a_daemon_that_dies_while_prompts_move_goes_on(fleet: Fleet, place: str) -> None:
    fleet.keys = SOON
    for one in fleet.standins.values():
        await one.begin()
    fleet.configure_for(fleet.standins)
    fleet.daemon = doomed = Doomed(fleet, place)
    await doomed.begin()
    a = fleet.standins["a"]
    a.control(hold=["history"])
    with contextlib.suppress(*GONE):
        async with fleet.app() as app:
            batch_id = await at_a(fleet, app)
            await until(lambda: files_of(a, batch_id), "a has rendered it")
    a.signal(signal.SIGKILL)
    await until(lambda: doomed.exit_code() is not None, f"the daemon dies at {place}")
    fleet.daemon = Doomed(fleet)
    await fleet.daemon.begin()
    async with fleet.app() as app:
        (batch,) = await app.settled(batch_id)
        await a.begin()
        await said(app, "stray_ended")
        await check_once(fleet, app, batch)


async def test_a_comfyui_that_comes_and_goes_costs_renders_and_no_image(fleet: Fleet) -> None:
    fleet.keys = "move_after_s = 1\nrequest_timeout_s = 1"
    await fleet.begin_all()
    for one in fleet.standins.values():
        one.control(seconds_per_image=0.25)

    async def flap() -> None:
        while True:
            await pause(1.5)
            await fleet.standins["a"].restart(1.5)
            fleet.standins["a"].control(seconds_per_image=0.25)

    async with fleet.app() as app:
        accepted = await app.submit("r1", images=coloured(28))
        flapping = asyncio.create_task(flap())
        (batch,) = await app.settled(accepted["batch_id"])
        flapping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await flapping
        await until(lambda: comes_back(fleet.standins["a"]), "a runs")
        await until(lambda: nothing_left(app), "no stray is left")
        await check_once(fleet, app, batch)


async def comes_back(standin: StandIn) -> bool:
    if standin.exit_code() is not None:
        await standin.begin()
    return True


async def nothing_left(app: App) -> bool:
    return not (await app.ask("server_info"))["open"]["prompts"]


async def test_a_post_that_lands_after_all_is_taken_out_again(fleet: Fleet) -> None:
    fleet.keys = SOON
    await fleet.begin_all()
    a = fleet.standins["a"]
    a.control(seconds_per_image=60)
    async with fleet.app() as app:
        await until(lambda: is_connected(app), "a is connected")
        await app.ask("pause", scope="backend:b")
        stop(a, signal.SIGSTOP)
        try:
            batch_id = str((await app.submit("r1", images=coloured(1)))["batch_id"])
            await said(app, "prompt_submitting")
            await app.ask("resume", scope="backend:b")
            (batch,) = await app.settled(batch_id)
        finally:
            stop(a, signal.SIGCONT)
        (ended,) = await said(app, "stray_ended")
        assert ended["outcome"] == "gone"
        assert len(a.posted()) == 1
        await until(lambda: not a.queue()["queue_running"] and not a.queue()["queue_pending"], "a has nothing left")
        await check_once(fleet, app, batch)
