"""Subscriptions as cursors: everything after a position, then live, once each; and nobody waits for a slow client."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from comfyledger.engine import state
from comfyledger.queries import subscription
from comfyledger.server import pages, session
from comfyledger.wire import REQUESTS
from support.waiting import DEADLINE_S, until
from support.wire_app import App, Frame, Refusal, coloured, narrow_socket, of_kind

SAMPLED = {"workflow": "text-to-image", "inputs": {"width": 64, "height": 64, "steps": 4}}


@pytest.fixture(params=[(4_096, 200), (16, 5)], ids=["from-the-tail", "from-the-log"])
async def any_door(request: Any, open_door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A door whose tail holds everything, and one whose tail is so short that most is read from the log."""
    tail, page = request.param
    monkeypatch.setattr(state, "TAIL_LINES", tail)
    monkeypatch.setattr(subscription, "PAGE_LINES", page)
    async with open_door(tmp_path) as door:
        yield door


async def everything(door: Any) -> list[int]:
    return [line.position for line in await door.context.reader.page(after=0, limit=100_000)]


def positions(app: App) -> list[int]:
    return [event["position"] for event in app.events]


async def load(app: App, users: tuple[str, ...], quantity: int = 6) -> list[Frame]:
    """A batch for each user at the same time, followed to the end on a connection of its own."""
    asked = await asyncio.gather(*(app.submit(f"{user}-{quantity}", user, quantity) for user in users))
    return await app.settled(*(one["batch_id"] for one in asked))


async def test_whoever_comes_while_work_runs_gets_all_of_it_once(any_door: Any) -> None:
    epoch = any_door.context.engine.view.epoch
    async with contextlib.AsyncExitStack() as stack:
        working = await stack.enter_async_context(any_door.app())
        work = asyncio.create_task(load(working, ("Areg", "Mina", "Sona"), 12))
        followers: list[tuple[int, App]] = []
        for step in range(8):
            await until(lambda wanted=step * 15: any_door.position >= wanted, "the work goes on")
            after = any_door.position * (step % 3) // 2
            app = await stack.enter_async_context(any_door.app())
            answer = await app.ask("subscribe", after=after, epoch=epoch)
            assert (answer["position"], answer["epoch"]) == (after, epoch)
            followers.append((after, app))
        await work
        await until(lambda: all(positions(app)[-1:] == [any_door.position] for _, app in followers), "all have all")
        for after, app in followers:
            assert positions(app) == list(range(after + 1, any_door.position + 1))
        assert await everything(any_door) == list(range(1, any_door.position + 1))


async def test_after_minus_one_means_from_now(any_door: Any) -> None:
    async with any_door.app() as working, any_door.app() as app:
        await load(working, ("Areg",), 2)
        before = any_door.position
        assert (await app.ask("subscribe", after=-1))["position"] == before
        await load(working, ("Areg",), 3)
        await until(lambda: positions(app)[-1:] == [any_door.position], "the news came")
        assert positions(app)[0] == before + 1


async def test_a_filter_takes_what_it_names_and_nothing_else(any_door: Any) -> None:
    async with any_door.app() as working, any_door.app() as app:
        first, _ = await load(working, ("Areg", "Mina"), 3)
        wanted: dict[str, dict[str, Any]] = {
            "batch": {"batch_id": first["batch_id"]},
            "user": {"username": "AREG"},
            "kinds": {"kinds": ["image_kept", "batch_settled"]},
            "all three": {"batch_id": first["batch_id"], "username": "Areg", "kinds": ["image_kept"]},
            "nothing": {"batch_id": "01NOBODY"},
            "no kind": {"kinds": []},
        }
        names = {(await app.ask("subscribe", **asked))["subscription"]: name for name, asked in wanted.items()}
        second, _ = await load(working, ("Areg", "Mina"), 4)
        log = await working.log()
        mine = [event for event in log if event["stream"] == first["batch_id"]]
        areg = [event for event in log if event["stream"] in {first["batch_id"], second["batch_id"]}]
        expected = {
            "batch": mine,
            "user": areg,
            "kinds": [event for event in log if event["kind"] in {"image_kept", "batch_settled"}],
            "all three": of_kind(mine, "image_kept"),
            "nothing": [],
            "no kind": [],
        }

        def got(name: str) -> list[int]:
            return [event["position"] for event in app.events if names[event["subscription"]] == name]

        for name, events in expected.items():
            await until(lambda name=name, least=events: len(got(name)) >= len(least), f"{name} has come")
        assert {name: got(name) for name in expected} == {
            name: [event["position"] for event in events] for name, events in expected.items()
        }


async def test_after_unsubscribe_nothing_comes_any_more(door: Any) -> None:
    async with door.app() as working, door.app() as app:
        ended = (await app.ask("subscribe"))["subscription"]
        other = (await app.ask("subscribe", after=-1))["subscription"]
        await app.ask("unsubscribe", subscription=ended)
        with pytest.raises(Refusal, match="unknown_subscription"):
            await app.ask("unsubscribe", subscription=ended)
        await load(working, ("Areg",))
        await until(lambda: positions(app)[-1:] == [door.position], "the other one goes on")
        assert {event["subscription"] for event in app.events} == {other}


async def test_subscriptions_of_one_connection_are_bounded(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path, "subscriptions_max = 2") as door, door.app() as app, door.app() as other:
        made = [await app.ask("subscribe", progress=True) for _ in range(2)]
        with pytest.raises(Refusal, match="subscriptions_limit"):
            await app.ask("subscribe")
        await app.ask("unsubscribe", subscription=made[0]["subscription"])
        await app.ask("subscribe")
        await other.ask("subscribe")


# ---- progress


async def test_progress_goes_to_those_who_asked_for_it_and_not_into_the_log(open_door: Any, tmp_path: Path) -> None:
    async with (
        open_door(tmp_path, seconds_per_image=0.2) as door,
        door.app() as working,
        contextlib.AsyncExitStack() as stack,
    ):
        asked: dict[str, dict[str, Any]] = {
            "steps": {"progress": True},
            "pictures": {"previews": True, "username": "areg"},
            "facts": {},
            "another's": {"progress": True, "username": "Mina"},
            "another batch": {"progress": True, "batch_id": "01NOBODY"},
        }
        apps = {name: await stack.enter_async_context(door.app()) for name in asked}
        for name, options in asked.items():
            await apps[name].ask("subscribe", after=-1, **options)
        batch = await working.submit("r1", quantity=2, images_per_prompt=2, **SAMPLED)
        await working.settled(batch["batch_id"])
        kinds = {event["kind"] for event in await working.log()}
        await until(lambda: all(of_kind(app.events, "batch_settled") for app in list(apps.values())[:3]), "all came")
    pushed = {name: {frame["type"] for frame in app.pushed} for name, app in apps.items()}
    assert pushed == {
        "steps": {"progress"},
        "pictures": {"progress", "preview"},
        "facts": set(),
        "another's": set(),
        "another batch": set(),
    }
    steps = [frame["data"] for frame in apps["steps"].pushed]
    assert {(step["batch_id"], step["prompt"], tuple(step["images"])) for step in steps} == {
        (batch["batch_id"], 1, (1, 2))
    }
    assert [(step["value"], step["max"]) for step in steps if step["max"] == 4][-1] == (4, 4)
    assert not kinds & {"progress", "preview"}


@pytest.mark.parametrize(
    ("watched", "asked_for"),
    [
        ({"previews": True}, "auto"),
        ({"previews": True, "username": "areg"}, "auto"),
        ({"previews": True, "username": "Mina"}, None),
        ({"previews": True, "batch_id": "01NOBODY"}, None),
        ({"progress": True}, None),
        ({}, None),
    ],
    ids=["all", "theirs", "another's", "another batch", "steps", "facts"],
)
async def test_comfyui_makes_previews_only_while_somebody_watches(
    open_door: Any, tmp_path: Path, watched: dict[str, Any], asked_for: str | None
) -> None:
    async with open_door(tmp_path) as door, door.app() as working, door.app() as watching:
        name = (await watching.ask("subscribe", after=-1, **watched))["subscription"]
        await working.settled((await working.submit("r1", quantity=1, **SAMPLED))["batch_id"])
        await watching.ask("unsubscribe", subscription=name)
        await working.settled((await working.submit("r2", quantity=1, **SAMPLED))["batch_id"])
    assert [ran.preview_method for ran in door.sim.ledger.prompts] == [asked_for, None]


# ---- those who do not read


class Watched(session.Session):
    """Sessions that a test can look at."""

    made: list[Watched]

    def __init__(self, context: Any, request: Any, connection: Any, caller: Any) -> None:
        super().__init__(context, request, connection, caller)
        self.connection = connection
        self.made.append(self)

    def unsent_bytes(self) -> int:
        transport = self.connection._req.transport
        return 0 if transport is None else int(transport.get_write_buffer_size())


async def test_a_client_that_does_not_read_holds_little_and_stops_nobody(
    door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watched, "made", [], raising=False)
    monkeypatch.setattr(pages, "Session", Watched)
    async with door.app() as working:
        await working.settled((await working.submit("r0", "Sona", images=coloured(40)))["batch_id"])
        with narrow_socket(door.url) as narrow:
            async with door.connect(sock=narrow, max_queue=1) as slow:
                for number in range(64):
                    await slow.send(json.dumps({"type": "subscribe", "id": number, "data": {"progress": True}}))
                stuck = Watched.made[-1]
                await until(lambda: stuck.unsent_bytes() > 10_000, "the client is behind")
                batches = await load(working, ("Areg", "Mina"))
                assert all(batch["stored"] == 6 for batch in batches)
                assert stuck.unsent_bytes() < 512 * 1024
                got = await read_up_to(slow, door.position, subscriptions=64)
    assert set(map(len, got.values())) == {door.position}
    assert all(seen == list(range(1, door.position + 1)) for seen in got.values())


async def read_up_to(slow: Any, last: int, subscriptions: int) -> dict[str, list[int]]:
    """The positions that came for each subscription, until all have come to `last`."""
    got: dict[str, list[int]] = {}
    ended = set[str]()
    async with asyncio.timeout(DEADLINE_S):
        while len(ended) < subscriptions:
            frame = json.loads(await slow.recv())
            if frame["type"] == "event":
                name, position = frame["data"]["subscription"], frame["data"]["position"]
                got.setdefault(name, []).append(position)
                if position == last:
                    ended.add(name)
    return got


async def test_a_connection_has_64_requests_under_way_and_the_rest_wait_unread(
    door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = door.context.stores["folder"].store
    answers = asyncio.Event()

    async def slow_answer(series: Any) -> int:
        await answers.wait()
        return 0

    monkeypatch.setattr(store, "highest_number", slow_answer)
    async with door.raw() as raw, door.app() as other:
        for number in range(session.REQUESTS_MAX):
            await raw.socket.send(json.dumps(open_series(f"User{number}")))
        await raw.socket.send(json.dumps({"type": "server_info", "id": "last", "data": {}}))
        told = [await raw.receive() for _ in range(session.REQUESTS_MAX)]
        assert {frame["type"] for frame in told} == {"waiting"}
        assert {frame["data"]["code"] for frame in told} == {"series_unanswered"}
        info = await other.ask("server_info")
        assert len(info["waiting"]) == session.REQUESTS_MAX
        answers.set()
        results = [await raw.receive() for _ in range(session.REQUESTS_MAX + 1)]
    assert {frame["type"] for frame in results} == {"result"}
    assert results[0]["id"] != "last"
    assert "last" in {frame["id"] for frame in results}


def open_series(username: str) -> Frame:
    return {"type": "open_series", "id": username, "data": {"username": username, "character": "Opal Fever"}}


async def test_a_client_that_leaves_ends_its_subscriptions_but_not_its_batch(door: Any) -> None:
    async with door.app() as app:
        await app.ask("subscribe", progress=True)
        asked = await app.submit("r1")
        tasks = len(asyncio.all_tasks())
    await until(lambda: len(asyncio.all_tasks()) < tasks, "its tasks end")
    async with door.app() as other:
        (batch,) = await other.settled(asked["batch_id"])
    assert batch["stored"] == 3


def test_every_request_is_known_to_these_tests() -> None:
    """A message that is added without a test here is noticed."""
    tested = {
        "hello",
        "submit_batch",
        "open_series",
        "get_batch",
        "list_batches",
        "get_image",
        "list_images",
        "count_images",
    }
    tested |= {"cancel", "retry", "pause", "move", "resume", "subscribe", "unsubscribe", "server_info"}
    tested |= {
        "add_backend",
        "remove_backend",
        "give_up_box",
        "read_log",
        "explain",
        "survey_store",
        "raise_series",
        "recover",
        "forget",
        "activity",
        "list_checks",
        "describe_workflow",
        "set_priority",
        "review",
        "check_workflow",
        "get_recipe",
        "list_characters",
        "add_input",
        "list_inputs",
        "forget_input",
        "add_webhook",
        "remove_webhook",
        "list_webhooks",
        "test_webhook",
        "replay_webhook",
    }
    assert set(REQUESTS) == tested
