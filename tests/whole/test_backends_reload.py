"""SIGHUP takes the ComfyUIs of the configuration: what came has work, what went gives its work to others."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

from comfyledger.maintenance.doctor.comfyui import NO_ID
from support.doomed_lives import GONE
from support.fleet import Fleet
from support.processes import SWEEP_S, Doomed, StandIn
from support.waiting import until
from support.wire_app import App, Frame, check_gap_free, of_kind


def facts(fleet: Fleet, *events: str) -> list[Frame]:
    return [fact for fact in fleet.daemon.facts() if fact["event"] in events]


async def reload(fleet: Fleet) -> Frame:
    """Have the daemon read its configuration again. Returns what it says of that."""
    before = len(facts(fleet, "config.reloaded", "config.not_reloaded"))
    os.kill(fleet.daemon.pid, signal.SIGHUP)
    found = await until(
        lambda: facts(fleet, "config.reloaded", "config.not_reloaded")[before:], "the file is read again"
    )
    return dict(found[0])


def hold(fleet: Fleet, *places: str) -> None:
    for one in fleet.standins.values():
        one.control(hold=list(places))


def posted(standin: StandIn) -> list[str]:
    return [one for one in standin.posted() if one != NO_ID]


async def accepted(app: App, count: int) -> None:
    async def reached() -> bool:
        return len((await app.ask("read_log", kinds=["prompt_accepted"]))["events"]) >= count

    await until(reached, f"{count} are accepted")


async def test_one_that_is_added_has_work_at_once_and_one_that_is_removed_gives_its_work_back(
    fleet: Fleet,
) -> None:
    await fleet.begin_all()
    fleet.configure_for(["a"])
    assert (await reload(fleet))["restart_needed"] == []
    hold(fleet, "in_node")
    async with fleet.app() as app:
        batch_id = str((await app.submit("r1", quantity=9))["batch_id"])
        await accepted(app, 2)
        fleet.configure_for(["a", "b"])
        await reload(fleet)
        await until(lambda: posted(fleet.standins["b"]), "it has work, although no prompt ends")
        await accepted(app, 4)
        at_b = set(posted(fleet.standins["b"]))
        assert len(at_b) == 2

        fleet.configure_for(["b"])
        at_a = posted(fleet.standins["a"])
        await reload(fleet)
        fleet.standins["b"].control(hold=[])
        (batch,) = await app.settled(batch_id)
        log = await app.log()
    fleet.check_stored(batch)
    changed = facts(fleet, "backends.changed")
    assert [(fact["added"], fact["removed"]) for fact in changed] == [([], ["b"]), (["b"], []), ([], ["a"])]
    moved = of_kind(log, "prompt_moved")
    assert sorted(one["data"]["backend"] for one in moved) == ["a", "a"]
    assert posted(fleet.standins["a"]) == at_a
    assert len(posted(fleet.standins["b"])) == 9, "what b had was not sent a second time"
    check_gap_free(log)


async def test_a_tag_that_is_added_lets_a_batch_begin_and_nothing_else_notices(fleet: Fleet) -> None:
    await fleet.begin_all(tags={"a": ["flux"]})
    hold(fleet, "in_node")
    async with fleet.app() as app:
        batch_id = str((await app.submit("r1", quantity=5, needs=["flux"]))["batch_id"])
        await accepted(app, 2)
        assert not posted(fleet.standins["b"])
        fleet.configure_for(["a", "b"], depth=1, tags={"a": ["flux"], "b": ["flux"]})
        await reload(fleet)
        await accepted(app, 3)
        hold(fleet)
        (batch,) = await app.settled(batch_id)
        backends = (await app.ask("server_info"))["backends"]
        assert not of_kind(await app.log(), "prompt_moved")
    fleet.check_stored(batch)
    assert [(one["work"]["places"], one.get("reconnects", 0)) for one in backends] == [(1, 0), (1, 0)]
    assert facts(fleet, "backends.changed")[0]["changed"] == ["a", "b"]


async def test_another_url_is_another_server_also_while_the_daemon_is_down(fleet: Fleet) -> None:
    await fleet.begin_all()
    fleet.configure_for(["a"])
    await reload(fleet)
    hold(fleet, "in_node")
    config = fleet.folder / "config.toml"
    urls = [one.url for one in fleet.standins.values()]
    async with fleet.app() as app:
        batch_id = str((await app.submit("r1", quantity=4))["batch_id"])
        await accepted(app, 2)
        config.write_text(config.read_text().replace(*urls))
        await reload(fleet)
        await until(lambda: len(posted(fleet.standins["b"])) == 2, "the other one has work")
    assert facts(fleet, "backends.changed")[-1]["replaced"] == ["a"]
    assert fleet.daemon.signal(signal.SIGTERM) == 0
    config.write_text(config.read_text().replace(*reversed(urls)))
    hold(fleet)
    await fleet.daemon.begin()
    async with fleet.app() as app:
        (batch,) = await app.settled(batch_id)
        log = await app.log()
    fleet.check_stored(batch)
    moved = [one["data"] for one in of_kind(log, "prompt_moved")]
    assert {(one["backend"], one["reason"]) for one in moved} == {("a", "replaced")}
    assert {one["data"]["outcome"] for one in of_kind(log, "stray_ended")} == {"given_up"}
    servers = [one["data"]["server"] for one in of_kind(log, "prompt_submitting")]
    assert set(servers) == {url.removeprefix("http://") for url in urls}


@pytest.mark.parametrize("place", ["move.giving_up", "move.given_up"])
async def test_a_daemon_that_dies_while_a_comfyui_goes_goes_on_without_it(fleet: Fleet, place: str) -> None:
    for one in fleet.standins.values():
        await one.begin()
    fleet.configure_for(fleet.standins)
    fleet.daemon = doomed = Doomed(fleet, place)
    await doomed.begin()
    hold(fleet, "in_node")
    with contextlib.suppress(*GONE):
        async with fleet.app() as app:
            batch_id = str((await app.submit("r1", quantity=6))["batch_id"])
            await accepted(app, 4)
            fleet.configure_for(["a"])
            os.kill(doomed.pid, signal.SIGHUP)
            await until(lambda: doomed.exit_code() is not None, f"the daemon dies at {place}")
    hold(fleet)
    fleet.daemon = Doomed(fleet)
    await fleet.daemon.begin()
    async with fleet.app() as app:
        (batch,) = await app.settled(batch_id)
        log = await app.log()
    fleet.check_stored(batch)
    assert [one["data"]["reason"] for one in of_kind(log, "prompt_moved")] == ["removed"] * 2
    check_gap_free(log)


async def test_a_file_with_a_mistake_changes_nothing(fleet: Fleet) -> None:
    await fleet.begin_all()
    config = fleet.folder / "config.toml"
    good = config.read_text()
    key = fleet.folder / "key"
    for bad in (
        good.replace("[comfyui.b]", "[comfyui.b"),
        good.replace("queue_depth = 2", "queue_depth = -1"),
        good + f'[comfyui.c]\nurl = "{fleet.standins["a"].url}"\n',
        good + f'[comfyui.c]\nurl = "http://127.0.0.1:9"\nextra_data = {{ key = "file:{key}" }}\n',
    ):
        config.write_text(bad)
        assert (await reload(fleet))["event"] == "config.not_reloaded"
    fleet.expected_errors |= {"config.not_reloaded"}
    assert not facts(fleet, "backends.changed")
    async with fleet.app() as app:
        (batch,) = await app.settled(str((await app.submit("r1", quantity=6))["batch_id"]))
        assert [one["name"] for one in (await app.ask("server_info"))["backends"]] == ["a", "b"]
    fleet.check_stored(batch)
    key.write_text("key-of-mine")
    assert (await reload(fleet))["event"] == "config.reloaded"
    config.write_text(f'{good}[comfyui.c]\nurl = "http://127.0.0.1:9"\nsweep_interval_s = {SWEEP_S}\n')
    assert (await reload(fleet))["restart_needed"] == []
    config.write_text(good.replace("port = 0", "port = 1"))
    assert (await reload(fleet))["restart_needed"] == ["door"], "what needs a restart is named as before"
