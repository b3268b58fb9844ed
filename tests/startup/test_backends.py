"""ComfyUIs come, change and go while a daemon runs in this process; what is under way elsewhere goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from msgspec.structs import replace

from comfyledger.settings import ComfyUI as Section
from comfyledger.startup.backends import Changes
from comfyledger.startup.build_comfyui import Wanted
from support.door import Door
from support.waiting import until
from support.wire_app import App, Frame, Refusal


@pytest_asyncio.fixture
async def two(tmp_path: Path, open_door: Callable[..., Any]) -> AsyncIterator[Door]:
    async with open_door(tmp_path, backends={"main": "", "b": ""}) as door:
        yield door


def take(door: Door, *names: str, **more: Any) -> Changes:
    """Use these of the stand-ins alone. `more`: keys of `b`."""
    return door.backends.take({name: wanted(door, name, **(more if name == "b" else {})) for name in names})


def wanted(door: Door, name: str, **more: Any) -> Wanted:
    return Wanted(Section(url=door.sims[name].url, **more))


def open_sockets(door: Door, name: str) -> int:
    return len(door.sims[name].sockets.open)


def posted(door: Door, name: str) -> list[str]:
    requests = door.sims[name].ledger.requests
    return [one.prompt_id for one in requests if (one.method, one.path) == ("POST", "/prompt") and one.prompt_id]


def asked_for(door: Door, name: str, path: str) -> bool:
    return any(one.path.startswith(path) for one in door.sims[name].ledger.requests)


async def control(door: Door, name: str, **asked: Any) -> None:
    async with ClientSession() as http, http.post(f"{door.sims[name].control_url}/control", json=asked) as answer:
        assert answer.status == 200


async def shown(app: App) -> list[str]:
    return [one["name"] for one in (await app.ask("server_info"))["backends"]]


# ---- one that comes, and one that goes


async def test_one_that_comes_is_watched_and_gets_work(two: Door) -> None:
    assert take(two, "main").removed == ("b",)
    await until(lambda: not open_sockets(two, "b"), "it is left")
    two.sim.breakpoints.hold(["in_node"])
    async with two.app() as app:
        batch = await app.submit("r1", quantity=6)
        await until(lambda: two.sim.breakpoints.held_at, "main is busy")
        assert take(two, "main", "b") == Changes(added=("b",))
        assert await shown(app) == ["main", "b"]
        await until(lambda: len(posted(two, "b")) >= 3, "it renders what waited")
        two.sim.breakpoints.hold([])
        await app.settled(str(batch["batch_id"]))
    assert two.context.node_classes["b"].known is not None


async def test_nothing_of_one_that_went_is_shown_or_used(two: Door) -> None:
    take(two, "main")
    context = two.context
    for mapping in (context.comfyui, context.node_classes, context.embeddings, context.policy.backends):
        assert list(mapping) == ["main"]
    assert len(context.progress.abouts) == 1
    async with two.app() as app:
        assert await shown(app) == ["main"]
        with pytest.raises(Refusal, match="There is no ComfyUI 'b'"):
            await app.submit("r0", backend="b")
        await app.settled(str((await app.submit("r1", quantity=4))["batch_id"]))
    await until(lambda: not open_sockets(two, "b"), "its socket is closed")
    assert not posted(two, "b")
    await until(lambda: not kept_at(two, "b").exists(), "its node classes are forgotten")


def kept_at(door: Door, name: str) -> Path:
    return door.folder / "state" / "node_classes" / f"{name}.json.gz"


async def test_the_order_is_that_of_the_configuration(two: Door) -> None:
    take(two, "b", "main")
    assert list(two.context.policy.backends) == list(two.context.view.fit.names) == ["b", "main"]
    assert not take(two, "b", "main")


async def test_one_that_cannot_be_reached_goes_without_leaving_trouble(two: Door) -> None:
    await two.sims["b"].stop()
    await until(lambda: two.context.view.in_trouble("backend/b"), "it is away")
    take(two, "main")
    await until(lambda: not two.context.view.in_trouble("backend/b"), "nobody waits for it")


# ---- one that changes


async def test_to_take_the_same_again_changes_nothing(two: Door) -> None:
    before = dict(two.backends.all)
    assert not take(two, "main", "b")
    assert all(two.backends.all[name] is one for name, one in before.items())


async def test_tags_and_depth_change_without_a_new_connection(two: Door) -> None:
    watcher = two.backends.all["b"].watcher
    assert take(two, "main", "b", tags=("flux",), queue_depth=5) == Changes(changed=("b",))
    assert two.backends.all["b"].watcher is watcher
    assert two.context.policy.backends["b"] == {"flux"}
    async with two.app() as app:
        batch = await app.submit("r1", quantity=3, needs=["flux"])
        await app.settled(str(batch["batch_id"]))
        backends = (await app.ask("server_info"))["backends"]
        assert {one["name"]: one["work"]["places"] for one in backends}["b"] == 5
    assert len(posted(two, "b")) == 3


async def test_output_folders_are_those_of_the_present_sections(two: Door, tmp_path: Path) -> None:
    def folders() -> list[str]:
        return [str(one._ours.parent) for one in two.retention._outputs()]

    assert folders() == []
    take(two, "main", "b", output_dir=str(tmp_path))
    assert folders() == [str(tmp_path)]
    take(two, "main")
    assert folders() == []


async def test_what_is_under_way_ends_once_although_the_times_change(two: Door) -> None:
    two.sims["b"].breakpoints.hold(["in_node"])
    async with two.app() as app:
        batch = str((await app.submit("r1", quantity=2, backend="b"))["batch_id"])
        await until(lambda: two.sims["b"].breakpoints.held_at and len(posted(two, "b")) == 2, "both are there")
        client = two.backends.all["b"].client
        assert take(two, "main", "b", request_timeout_s=20.0) == Changes(changed=("b",))
        assert two.backends.all["b"].client is not client
        two.sims["b"].breakpoints.hold([])
        (done,) = await app.settled(batch)
    assert {image["state"] for image in done["images"]} == {"stored"}
    assert len(posted(two, "b")) == 2, "nothing was sent a second time"


async def test_a_prompt_on_its_way_is_not_taken_for_gone_although_the_times_change(two: Door) -> None:
    await control(two, "b", slow={"/prompt": 1.0})
    async with two.app() as app:
        batch = str((await app.submit("r1", quantity=1, backend="b"))["batch_id"])
        await until(lambda: two.backends.all["b"].renderer.posting, "it is being sent")
        state = lambda: two.context.view.prompt(batch, 1).state  # type: ignore[union-attr] # noqa: E731
        await until(lambda: state() == "submitting", "its intent is durable")
        posting = two.backends.all["b"].renderer.posting
        take(two, "main", "b", request_timeout_s=20.0)
        await app.ask("cancel", batch_id=batch)
        await until(lambda: not two.context.open_counts()["prompts"], "it is cancelled")
        assert not posting, "it was sent before"
    assert len(posted(two, "b")) == 1
    async with ClientSession() as http, http.get(f"{two.sims['b'].url}/queue") as answer:
        assert await answer.json() == {"queue_running": [], "queue_pending": []}, "nothing of it is left there"


async def test_another_server_under_an_old_name_is_another_one(two: Door) -> None:
    before = two.backends.all["main"]
    changes = two.backends.take({"main": wanted(two, "b")})
    assert changes == Changes(replaced=("main",), removed=("b",))
    assert two.backends.all["main"].node_classes is not before.node_classes
    await until(lambda: not open_sockets(two, "main") and open_sockets(two, "b") == 1, "only the other is watched")
    async with two.app() as app:
        await app.settled(str((await app.submit("r1", quantity=3))["batch_id"]))
    assert (len(posted(two, "main")), len(posted(two, "b"))) == (0, 3)


async def test_what_a_server_refused_is_not_held_against_another_one(two: Door) -> None:
    view = two.context.view
    async with two.app() as app:
        await app.ask("pause", scope="everything")
        batch_id = str((await app.submit("r1", quantity=1))["batch_id"])
        batch, prompt = view.batch(batch_id), view.prompt(batch_id, 1)
        assert batch is not None
        assert prompt is not None
        for name in ("main", "b"):
            two.context.engine.refuse(name, batch.template, "", "Node 5 is missing.")
        two.backends.take({"main": wanted(two, "main"), "b": Wanted(Section(url="http://127.0.0.1:9"))})
        assert list(view.fit.reasons(batch, prompt)) == ["main"]


@pytest.mark.parametrize("again", ["http://localhost:{port}", "http://user:word@127.0.0.1:{port}/"])
async def test_another_spelling_of_its_address_is_the_same_server(two: Door, again: str) -> None:
    port = two.sims["b"].url.rpartition(":")[2]
    section = replace(wanted(two, "b").section, url=again.format(port=port))
    changes = two.backends.take({"main": wanted(two, "main"), "b": Wanted(section)})
    assert changes == Changes(changed=("b",))


# ---- what was sent to one that is left


async def begun(two: Door, app: App, quantity: int = 6, **more: Any) -> str:
    """A batch of which prompts are at both, and none ends. Returns its id."""
    for sim in two.sims.values():
        sim.breakpoints.hold(["in_node"])
    batch = str((await app.submit("r1", quantity=quantity, **more))["batch_id"])
    await until(lambda: len(accepted_at(two, "b", batch)) == 2, "two are at b")
    return batch


def accepted_at(door: Door, name: str, batch: str) -> list[int]:
    rows = (door.context.view.prompt(batch, index) for index in range(1, 10))
    return [row.index for row in rows if row is not None and (row.backend, row.state) == (name, "accepted")]


def let_go(door: Door) -> None:
    for sim in door.sims.values():
        sim.breakpoints.hold([])


async def events(app: App, *kinds: str) -> list[Frame]:
    found = (await app.ask("read_log", kinds=list(kinds), limit=500))["events"]
    return [one["data"] for one in found]


async def test_what_is_at_one_that_goes_is_rendered_by_the_others_and_stopped_there(two: Door) -> None:
    async with two.app() as app:
        batch = await begun(two, app)
        left = set(posted(two, "b"))
        take(two, "main")
        requests = two.sims["b"].ledger.requests
        await until(lambda: sum(one.path.endswith("/cancel") for one in requests) == 2, "it is asked to stop both")
        let_go(two)
        (done,) = await app.settled(batch)
        moved = await events(app, "prompt_moved")
        assert {(one["backend"], one["reason"], one.get("running")) for one in moved} == {("b", "removed", None)}
        assert [one["outcome"] for one in await events(app, "stray_ended")] == ["given_up", "given_up"]
    assert {image["state"] for image in done["images"]} == {"stored"}
    ran = [one.prompt_id for one in two.sims["b"].ledger.prompts if one.outcome == "execution_success"]
    assert not ran
    assert left.isdisjoint(posted(two, "main"))
    assert not two.context.view.open_work().troubles


async def test_what_is_at_the_server_that_had_the_name_before_is_rendered_by_others(two: Door) -> None:
    async with two.app() as app:
        batch = await begun(two, app)
        two.backends.take({"b": wanted(two, "main")})
        let_go(two)
        await app.settled(batch)
        moved = await events(app, "prompt_moved")
        assert {(one["backend"], one["reason"]) for one in moved} == {("b", "replaced"), ("main", "removed")}
        assert {one["outcome"] for one in await events(app, "stray_ended")} == {"given_up"}


async def test_what_is_being_sent_to_one_that_goes_is_ended(two: Door) -> None:
    await control(two, "b", slow={"/prompt": 600.0})
    async with two.app() as app:
        batch = str((await app.submit("r1", quantity=1, backend="b"))["batch_id"])
        state = lambda: two.context.view.prompt(batch, 1).state  # type: ignore[union-attr] # noqa: E731
        await until(lambda: state() == "submitting" and posted(two, "b"), "it is being sent")
        take(two, "main")
        await until(lambda: not two.context.open_counts()["running"], "nothing is under way")
        await until(lambda: state() == "queued", "it waits again")


async def test_what_is_pinned_to_one_that_went_waits_and_says_so(two: Door) -> None:
    async with two.app() as app:
        batch = await begun(two, app, 2, backend="b")
        take(two, "main")

        async def owed() -> Frame | None:
            found = (await app.ask("explain", what=batch))["owed"]
            return next((one for one in found if one["code"] == "no_backend"), None)

        said = await until(owed, "it says so")
        assert said["text"] == "No ComfyUI is b. Configure or add one, or cancel the batch."
        assert said["command"] == f"comfyledger cancel {batch}"
        let_go(two)
        take(two, "main", "b")
        await app.settled(batch)


async def test_one_that_comes_back_at_once_holds_no_batch_whose_prompts_it_was_asked_to_stop(
    two: Door,
) -> None:
    async with two.app() as app:
        batch = await begun(two, app)
        take(two, "main")
        take(two, "main", "b")
        requests = two.sims["b"].ledger.requests
        await until(lambda: sum(one.path.endswith("/cancel") for one in requests) == 2, "it is asked to stop both")
        let_go(two)
        await app.settled(batch)
        assert not await events(app, "batch_held")
        assert {one["reason"] for one in await events(app, "prompt_moved")} == {"removed"}


async def test_a_batch_is_cancelled_although_its_comfyui_went(two: Door) -> None:
    async with two.app() as app:
        batch = await begun(two, app, 2, backend="b")
        await control(two, "b", refuse={"/api/jobs": {"status": 502, "next": 1000}})
        await app.ask("cancel", batch_id=batch)
        take(two, "main")
        await until(lambda: not two.context.open_counts()["prompts"], "nothing is left of it")
    await until(lambda: not two.context.view.open_work().troubles, "and no trouble")


async def test_files_that_come_from_one_that_goes_come_all_the_same(two: Door) -> None:
    await control(two, "b", slow={"/view": 1.0})
    async with two.app() as app:
        batch = str((await app.submit("r1", quantity=1, backend="b"))["batch_id"])
        await until(lambda: asked_for(two, "b", "/view"), "its file is coming")
        take(two, "main")
        (done,) = await app.settled(batch)
        assert not await events(app, "prompt_moved")
    assert [image["state"] for image in done["images"]] == ["stored"]


# ---- nothing is left


async def test_two_hundred_that_come_and_go_leave_nothing(two: Door) -> None:
    take(two, "main")
    await until(lambda: not open_sockets(two, "b"), "it is left")
    tasks = len(asyncio.all_tasks())
    for number in range(200):
        name = f"gpu-{number}"
        section = wanted(two, "b").section if number % 2 else Section(url="http://127.0.0.1:9")
        two.backends.take({"main": wanted(two, "main"), name: Wanted(section)})
        if number % 20 == 1:
            await until(lambda name=name: two.backends.all[name].watcher.is_up, "it is connected")
        if number % 20 == 0:
            await until(lambda name=name: two.context.view.in_trouble(f"backend/{name}"), "it is not reached")
    take(two, "main")
    await until(lambda: not open_sockets(two, "b"), "no socket is open")
    await until(lambda: len(asyncio.all_tasks()) <= tasks, "no task is left")
    await until(lambda: not two.context.view.open_work().troubles, "no trouble is left")
    assert list(two.backends._watching) == ["main"]
    assert len(two.context.progress.abouts) == 1
    await until(lambda: [one.name for one in kept_at(two, "b").parent.iterdir()] == ["main.json.gz"], "no file is left")
    async with two.app() as app:
        await app.settled(str((await app.submit("r1", quantity=2))["batch_id"]))
