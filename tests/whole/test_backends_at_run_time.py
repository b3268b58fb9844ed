"""ComfyUIs that clients add to a running daemon: they have work at once, outlive it, and give their work back."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from comfyledger.maintenance.doctor.comfyui import NO_ID
from support.doomed_lives import GONE, Doomed
from support.fleet import Fleet
from support.processes import StandIn
from support.waiting import until
from support.wire_app import App, Frame, Refusal, check_gap_free, of_kind


def posted(standin: StandIn) -> list[str]:
    return [one for one in standin.posted() if one != NO_ID]


def configure(fleet: Fleet, *allowed: str) -> None:
    """`a` is in the configuration, and `b` may be added, or only what is named."""
    urls = allowed or (fleet.standins["b"].url,)
    fleet.configure_for(["a"], config=f"[backends]\nallowed = {list(urls)}")


async def begin(fleet: Fleet) -> None:
    """Both hold what they are sent."""
    for one in fleet.standins.values():
        await one.begin()
    configure(fleet)
    await fleet.daemon.begin()
    for one in fleet.standins.values():
        one.control(hold=["in_node"])


async def add(fleet: Fleet, app: App, **more: Any) -> Frame:
    return await app.ask("add_backend", name="b", url=fleet.standins["b"].url, **more)


async def names(app: App) -> list[str]:
    return [one["name"] for one in (await app.ask("server_info"))["backends"]]


def used(app: App, *wanted: str) -> Callable[[], Awaitable[bool]]:
    async def found() -> bool:
        return await names(app) == list(wanted)

    return found


def go_on(fleet: Fleet, *places: str) -> None:
    for name in places or fleet.standins:
        fleet.standins[name].control(hold=[])


async def ends_of(app: App) -> list[tuple[str, str]]:
    """Who was removed, and why."""
    return [(one["data"]["name"], one["data"]["reason"]) for one in of_kind(await app.log(), "backend_removed")]


async def test_a_backend_added_at_run_time_has_work_although_no_prompt_ends(fleet: Fleet) -> None:
    await begin(fleet)
    async with fleet.app() as app:
        batch_id = str((await app.submit("r1", quantity=6))["batch_id"])
        await until(lambda: len(posted(fleet.standins["a"])) == 2, "a has all that it may have")
        assert (await add(fleet, app))["changed"]
        await until(lambda: posted(fleet.standins["b"]), "b has work")
        go_on(fleet)
        (batch,) = await app.settled(batch_id)
        log = await app.log()
    fleet.check_stored(batch)
    (added,) = of_kind(log, "backend_added")
    assert (added["stream"], added["data"]["url"]) == ("backend/b", fleet.standins["b"].url)
    check_gap_free(log)


async def test_one_whose_ttl_ends_gives_its_prompts_back(fleet: Fleet) -> None:
    await begin(fleet)
    async with fleet.app() as app:
        await add(fleet, app, ttl_s=600)
        batch_id = str((await app.submit("r1", quantity=8))["batch_id"])
        await until(lambda: len(posted(fleet.standins["b"])) == 2, "b has all that it may have")
        assert not (await add(fleet, app, ttl_s=600))["changed"]
        assert (await add(fleet, app, ttl_s=1))["changed"]
        await until(used(app, "a"), "its time has ended")
        go_on(fleet, "a")
        (batch,) = await app.settled(batch_id)
        log, ended = await app.log(), await ends_of(app)
    go_on(fleet)
    fleet.check_stored(batch)
    assert (ended, len(of_kind(log, "backend_added"))) == ([("b", "expired")], 2)
    moved = [one["data"] for one in of_kind(log, "prompt_moved")]
    assert [(one["backend"], one["reason"]) for one in moved] == [("b", "removed")] * 2
    check_gap_free(log)


async def test_a_restart_keeps_what_was_added_and_what_it_renders(fleet: Fleet) -> None:
    await begin(fleet)
    async with fleet.app() as app:
        await add(fleet, app, tags=["flux"], ttl_s=600)
        batch_id = str((await app.submit("r1", quantity=2, needs=["flux"]))["batch_id"])
        await until(lambda: len(posted(fleet.standins["b"])) == 2, "b has both")
    fleet.daemon.signal(signal.SIGKILL)
    await fleet.daemon.begin()
    async with fleet.app() as app:
        assert await names(app) == ["a", "b"]
        go_on(fleet)
        (batch,) = await app.settled(batch_id)
        log = await app.log()
    fleet.check_stored(batch)
    assert (len(posted(fleet.standins["b"])), posted(fleet.standins["a"])) == (2, [])
    assert not of_kind(log, "prompt_moved")


async def test_one_is_removed_with_its_prompts_only_if_they_may_move(fleet: Fleet) -> None:
    await begin(fleet)
    async with fleet.app() as app:
        await add(fleet, app)
        batch_id = str((await app.submit("r1", quantity=8))["batch_id"])
        await until(lambda: len(posted(fleet.standins["b"])) == 2, "b has all that it may have")
        with pytest.raises(Refusal, match="backend_busy"):
            await app.ask("remove_backend", name="b")
        assert await names(app) == ["a", "b"]
        assert (await app.ask("remove_backend", name="b", move=True))["prompts"] == 2
        await until(used(app, "a"), "it is used no more")
        go_on(fleet, "a")
        (batch,) = await app.settled(batch_id)
        log = await app.log()
        await until(lambda: fleet.standins["b"].queue()["queue_pending"] == [], "what waited there is cancelled")
        await add(fleet, app)
        await until(used(app, "a", "b"), "it is used again")
        await app.ask("remove_backend", name="b")
        await until(used(app, "a"), "nothing of it was left to move")
    go_on(fleet)
    fleet.check_stored(batch)
    moved = [one["data"] for one in of_kind(log, "prompt_moved")]
    assert [(one["backend"], one["reason"]) for one in moved] == [("b", "removed")] * 2
    fleet.daemon.signal(signal.SIGTERM)
    await fleet.daemon.begin()
    async with fleet.app() as app:
        assert await names(app) == ["a"]


async def test_an_address_that_is_not_allowed_is_refused_and_ends_when_it_is_not_any_more(fleet: Fleet) -> None:
    await begin(fleet)
    async with fleet.app() as app:
        for url in ("http://127.0.0.1:1", f"{fleet.standins['b'].url}1", "http://169.254.169.254"):
            with pytest.raises(Refusal, match=r"backend_not_allowed|invalid_field"):
                await app.ask("add_backend", name="b", url=url)
        with pytest.raises(Refusal, match="backend_exists"):
            await app.ask("add_backend", name="a", url=fleet.standins["b"].url)
        assert not of_kind(await app.log(), "backend_added")
        await add(fleet, app)
        await until(used(app, "a", "b"), "it is used")
        configure(fleet, "http://127.0.0.1:1")
        os.kill(fleet.daemon.pid, signal.SIGHUP)
        await until(used(app, "a"), "it is used no more")
        assert await ends_of(app) == [("b", "not_allowed")]
    go_on(fleet)


@pytest.mark.parametrize(("point", "removes"), [("backend.changing", False), ("backend.changing:2", True)])
async def test_a_daemon_that_dies_between_the_event_and_what_follows_from_it_goes_on(
    fleet: Fleet, point: str, removes: bool
) -> None:
    for one in fleet.standins.values():
        await one.begin()
    configure(fleet)
    fleet.daemon = doomed = Doomed(fleet, point)
    await doomed.begin()
    with contextlib.suppress(*GONE):
        async with fleet.app() as app:
            await add(fleet, app)
            await app.ask("remove_backend", name="b", move=True)
    await until(lambda: doomed.exit_code() is not None, f"the daemon dies at {point}")
    fleet.daemon = Doomed(fleet)
    await fleet.daemon.begin()
    async with fleet.app() as app:
        await until(used(app, *("a", "b")[: 2 - removes]), "the ledger says so")
        (batch,) = await app.settled(str((await app.submit("r1", quantity=4))["batch_id"]))
    fleet.check_stored(batch)
