"""A token without `read_all`: what another label has is answered exactly as what does not exist."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from comfyledger import wire
from comfyledger.core.commands import AddInput
from comfyledger.core.rows import LaneRow
from comfyledger.engine import Question
from comfyledger.ledger.ports import BatchFilter, ImageFilter, LogWanted, Reader
from comfyledger.queries import limited_reader
from comfyledger.queries.dependencies import Dependencies
from comfyledger.server import tokens
from comfyledger.server.tokens import Right
from comfyledger.wire.routes import BACKEND, BATCH, BOX, INPUTS, ROUTES, STORE, WORKFLOW, Route
from support import spool_files
from support.http_requests import as_http
from support.waiting import DEADLINE_S, until
from support.wire_app import App, Frame, of_kind

in_module = pytest.mark.asyncio(loop_scope="module")
NOWHERE = {"user": "Nino", "character": "Pale Bear", "batch": "01ZZZZZZZZZZZZZZZZZZZZZZZZ", "input": "0" * 64}
"""Names that nothing has, as long as those of the batch of `theirs`."""
INPUT = "ab" * 32
SERIES = {"folder": "Mina/characters/gray-wolf/images", "stem": "Mina_gray-wolf_image_", "highest": 9}
SAMPLED = {"workflow": "text-to-image", "inputs": {"width": 64, "height": 64, "steps": 4}}


def limited(door: Any, label: str, right: Right = "submit") -> dict[str, str]:
    """The header of a new token that sees its own label only."""
    token = tokens.add(door.folder / "state" / "tokens.json", label, right, 0.0)
    door.context.access.keyring.refresh()
    return {"Authorization": f"Bearer {token}"}


async def added(door: Any, headers: dict[str, str], content: bytes) -> str:
    """Add an input. Returns its digest."""
    async with aiohttp.ClientSession(headers=headers) as http, http.put(door.url + INPUTS, data=content) as answer:
        return str((await answer.json())["input"]).removeprefix("sha256:")


class Two:
    """A door with a batch of `theirs`, stored, and connections of `ours`, by right, which see their own only."""

    def __init__(self, door: Any, stack: AsyncExitStack) -> None:
        self.door, self._stack = door, stack
        self.theirs: Frame = {}
        self.ours: Frame = {}
        self.headers: dict[str, dict[str, str]] = {}

    async def begin(self) -> None:
        app = await self.app(limited(self.door, "theirs"))
        asked = await app.submit("r1", "Mina", 2, character="Gray Wolf")
        (self.theirs,) = await app.settled(asked["batch_id"])
        self.prompt_id = of_kind(await self._log(app), "prompt_submitting")[0]["data"]["prompt_id"]
        await self.door.context.engine.command(AddInput("theirs", INPUT, 7, "png", 4, 4, "whole"))
        for right in ("submit", "operate", "admin"):
            self.headers[right] = limited(self.door, f"ours-{right}", right)  # type: ignore[arg-type]
        app = await self.app(self.headers["submit"])
        asked = await app.submit("r1", "Areg", 1)
        (self.ours,) = await app.settled(asked["batch_id"])

    async def _log(self, app: App) -> list[Frame]:
        page = await app.ask("read_log", batch_id=self.theirs["batch_id"])
        return list(page["events"])

    async def app(self, headers: dict[str, str]) -> App:
        socket = await self._stack.enter_async_context(self.door.connect(additional_headers=headers))
        app = App(socket)
        self._stack.push_async_callback(app.close)
        return app

    def names(self) -> dict[str, str]:
        """What is theirs, by the names of `NOWHERE`."""
        return {"user": "Mina", "character": "Gray Wolf", "batch": self.theirs["batch_id"], "input": INPUT}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two(lasting_door: Any) -> AsyncIterator[Two]:
    async with AsyncExitStack() as stack:
        made = Two(lasting_door, stack)
        await made.begin()
        yield made


def image_of(name: dict[str, str], number: int = 1) -> str:
    user, character = name["user"], name["character"].lower().replace(" ", "-")
    return f"{user}/characters/{character}/images/{user}_{character}_image_{number}"


def made_from(file: dict[str, Any]) -> dict[str, Any]:
    """A request for an image that is made from a file."""
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    asked = {"request_id": "from", "username": "Areg", "character": "Opal Fever", "quantity": 1, "dry_run": True}
    return {**asked, "workflow": graph, "inputs": {"1.image": file}}


def requests_about(name: dict[str, str]) -> list[tuple[Right, str, dict[str, Any]]]:
    """Every request that can name something, about what has this name, each with the right that it needs."""
    batch, user, character = name["batch"], name["user"], name["character"]
    image, leaf = image_of(name), image_of(name).rpartition("/")[2]
    number = {"username": user, "character": character, "number": 1}
    files: list[dict[str, Any]] = [{"image": one} for one in (image, leaf, f"{batch}/1", number)]
    files += [{"input": f"sha256:{name['input']}"}]
    return [
        ("submit", "get_batch", {"batch_id": batch}),
        ("submit", "list_batches", {"username": user}),
        ("submit", "list_batches", {"before": batch}),
        ("submit", "get_image", {"image": image}),
        ("submit", "get_image", {"image": image.upper()}),
        ("submit", "get_image", {"image": f"{batch}/1"}),
        ("submit", "get_recipe", {"image": image, "graph": True}),
        ("submit", "get_recipe", {"image": f"{batch}/1"}),
        ("submit", "submit_batch", {"request_id": "again", "like": image, "dry_run": True}),
        ("submit", "submit_batch", {"request_id": "again", "like": f"{batch}/1", "workflow": "x"}),
        *(("submit", "submit_batch", made_from(one)) for one in files),
        ("submit", "list_images", {"batch_id": batch}),
        ("submit", "list_images", {"username": user}),
        ("submit", "list_images", {"state": "stored", "username": user}),
        ("submit", "list_images", {"before": f"{batch}/2"}),
        ("submit", "list_images", {"character": character, "medium": "image", "verdict": "none"}),
        ("submit", "count_images", {"username": user, "by": "character"}),
        ("submit", "count_images", {"character": character, "by": "username", "cursors_every": 1}),
        ("submit", "count_images", {"batch_id": batch, "by": "state", "state": "stored"}),
        ("submit", "read_log", {"batch_id": batch}),
        ("submit", "read_log", {"batch_id": batch, "reverse": True}),
        ("submit", "read_log", {"username": user}),
        ("submit", "read_log", {"username": user, "reverse": True, "limit": 1}),
        ("submit", "read_log", {"username": user, "character": character}),
        ("submit", "read_log", {"batch_id": f"series/{image[:-1].lower()}"}),
        ("submit", "read_log", {"batch_id": f"lane/user/{user.lower()}"}),
        ("submit", "subscribe", {"batch_id": batch}),
        ("submit", "subscribe", {"username": user, "progress": True, "previews": True}),
        ("submit", "explain", {"what": batch}),
        ("submit", "explain", {"what": batch.lower()}),
        ("submit", "explain", {"what": f"{batch}/2"}),
        ("submit", "explain", {"what": image}),
        ("submit", "explain", {"what": f"{image}.png"}),
        ("submit", "explain", {"what": leaf}),
        ("submit", "explain", {"what": image_of(name, 3)}),
        ("submit", "explain", {"what": "1", "username": user, "character": character}),
        ("submit", "explain", {"what": "7", "username": user, "character": character}),
        ("submit", "list_inputs", {"before": f"9999999999999-{name['input']}"}),
        ("submit", "forget_input", {"input": f"sha256:{name['input']}"}),
        ("admin", "forget_input", {"input": f"sha256:{name['input']}", "all_labels": True}),
        ("submit", "cancel", {"batch_id": batch}),
        ("submit", "cancel", {"batch_id": batch, "images": [1]}),
        ("submit", "retry", {"batch_id": batch}),
        ("submit", "retry", {"batch_id": batch, "take": "all"}),
        ("submit", "set_priority", {"batch_id": batch, "priority": "high"}),
        *steering_requests_about(name),
    ]


def steering_requests_about(name: dict[str, str]) -> list[tuple[Right, str, dict[str, Any]]]:
    """Those that need more than the right to submit."""
    batch, user, image = name["batch"], name["user"], image_of(name)
    return [
        ("operate", "cancel", {"batch_id": batch}),
        ("operate", "retry", {"batch_id": batch}),
        ("operate", "set_priority", {"batch_id": batch, "priority": "high"}),
        ("operate", "pause", {"scope": f"batch:{batch}"}),
        ("operate", "resume", {"scope": f"batch:{batch}"}),
        ("operate", "resume", {"scope": f"user:{user}"}),
        ("operate", "recover", {"batch_id": batch}),
        ("operate", "recover", {"username": user}),
        ("operate", "recover", {"cursor": f"{batch}/2"}),
        ("operate", "recover", {"store": "folder", "missing": True, "dry_run": True, "batch_id": batch}),
        ("operate", "review", {"images": [f"{batch}/1"], "verdict": "approved"}),
        ("operate", "review", {"images": [image], "rating": 5}),
        ("admin", "review", {"images": [f"{batch}/1"], "verdict": "rejected", "forget": True}),
        ("admin", "forget", {"batch_id": batch}),
        ("admin", "forget", {"batch_id": batch, "dry_run": True}),
        ("admin", "forget", {"batch_id": batch, "images": [1], "stores": True}),
        ("admin", "forget", {"username": user}),
        ("admin", "forget", {"username": user, "before": batch}),
    ]


NAMES_NOTHING = {
    "hello",
    "unsubscribe",
    "server_info",
    "open_series",
    "survey_store",
    "raise_series",
    "move",
}
NAMES_NOTHING |= {
    "check_workflow",
    "activity",
    "describe_workflow",
    "list_checks",
    "list_characters",
    "add_input",
    "add_backend",
    "remove_backend",
    "give_up_box",
}
NAMES_NOTHING |= {kind for kind in wire.REQUESTS if "webhook" in kind}
"""Requests with tests of their own below. `survey_store`, `raise_series`, `move`, `give_up_box`, `list_checks` and
those about webhooks are refused whatever they name."""


def test_every_request_that_names_something_is_tried() -> None:
    tried = {kind for _, kind, _ in requests_about(NOWHERE)}
    assert tried | NAMES_NOTHING == set(wire.REQUESTS)


def nowhere(names: dict[str, str]) -> dict[str, str]:
    """`NOWHERE`, with an id that is read and sorted as that of `names`."""
    batch = names["batch"]
    last = "8" if batch[-1] == "9" else "9" if batch[-1].isdigit() else "Y" if batch[-1] == "Z" else "Z"
    return NOWHERE | {"batch": batch[:-1] + last}


def as_nowhere(answer: Frame, names: dict[str, str]) -> str:
    """An answer in which the names of another label are replaced with those that nothing has."""
    text = json.dumps(answer, sort_keys=True)
    pairs = [(names[key], nowhere(names)[key]) for key in names] + [("gray-wolf", "pale-bear")]
    for there, instead in pairs:
        for change in (str, str.lower, str.upper):
            text = text.replace(change(there), change(instead))
    return text


@in_module
async def test_what_another_label_has_is_as_what_does_not_exist(two: Two) -> None:
    wrong = []
    for (right, kind, theirs), (_, _, nothing) in zip(
        requests_about(two.names()), requests_about(nowhere(two.names())), strict=True
    ):
        async with two.door.raw(additional_headers=two.headers[right]) as raw:
            foreign = await raw.ask(kind, **theirs)
        async with two.door.raw(additional_headers=two.headers[right]) as raw:
            absent = await raw.ask(kind, **nothing)
        if as_nowhere(foreign, two.names()) != as_nowhere(absent, two.names()):
            wrong.append((right, kind, theirs, foreign, absent))
    assert wrong == [], "\n".join(map(repr, wrong))


@in_module
async def test_the_same_requests_find_what_a_token_may_see(two: Two) -> None:
    """Otherwise the test above would pass for a door that answers nothing."""
    found = set()
    async with two.door.raw() as raw:
        for _, kind, data in requests_about(two.names()):
            if kind in {"get_batch", "get_image", "get_recipe", "explain", "read_log", "list_images", "list_batches"}:
                answer = await raw.ask(kind, **data)
                text = json.dumps(answer)
                found |= {kind} if answer["type"] == "result" and two.theirs["batch_id"] in text else set()
    assert found == {"get_batch", "get_image", "get_recipe", "explain", "read_log", "list_images", "list_batches"}


@in_module
async def test_a_token_that_may_see_a_file_may_use_it(two: Two) -> None:
    made = [data for _, _, data in requests_about(two.names()) if data.get("request_id") == "from"]
    async with two.door.raw() as raw:
        answers = [(await raw.ask("submit_batch", **data))["type"] for data in made]
    assert answers == ["result"] * 5


@in_module
async def test_a_dry_run_foretells_no_number_of_a_series_that_only_another_label_uses(two: Two) -> None:
    foretold = []
    for user, character in (("Mina", "Gray Wolf"), ("Areg", "Opal Fever")):
        data = {"request_id": "dry", "username": user, "character": character, "quantity": 1, "dry_run": True}
        async with two.door.raw(additional_headers=two.headers["submit"]) as raw:
            foretold.append((await raw.ask("submit_batch", **data))["data"].get("numbers", []))
    assert foretold == [[], [2]]


@in_module
async def test_nothing_of_another_label_was_changed(two: Two) -> None:
    async with two.door.app() as admin:
        batch = await admin.batch(two.theirs["batch_id"])
    assert batch == two.theirs


@in_module
async def test_a_prompt_id_of_another_label_is_as_one_that_does_not_exist(two: Two) -> None:
    async with two.door.raw(additional_headers=two.headers["submit"]) as raw:
        foreign = await raw.ask("explain", what=two.prompt_id)
        absent = await raw.ask("explain", what="0" * 8 + two.prompt_id[8:])
    assert foreign["data"]["code"] == "unknown_image"
    assert json.dumps(foreign).replace(two.prompt_id, "0" * 8 + two.prompt_id[8:]) == json.dumps(absent)


@in_module
async def test_a_label_reads_its_own_recipes_whole(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited_reader, "WINDOW", 1)
    monkeypatch.setattr(limited_reader, "WINDOWS_MAX", 2)
    name = {"image": two.ours["images"][0]["image_id"], "graph": True}
    async with two.door.app() as admin:
        expected = await admin.ask("get_recipe", **name)
    assert await (await two.app(two.headers["submit"])).ask("get_recipe", **name) == expected
    assert "missing" not in expected


@in_module
async def test_lists_pages_and_counts_hold_only_what_a_label_has(two: Two) -> None:
    async with two.door.app() as admin:
        await admin.ask("pause", scope="user:Mina")
        app = await two.app(two.headers["submit"])
        shown = {
            "batches": await app.ask("list_batches"),
            "images": await app.ask("list_images"),
            "log": await app.ask("read_log"),
            "backwards": await app.ask("read_log", reverse=True),
            "explained": await app.ask("explain", what=two.ours["batch_id"]),
            "info": await app.ask("server_info"),
        }
        whole = await admin.ask("server_info")
        await admin.ask("resume", scope="user:Mina")
    assert [batch["batch_id"] for batch in shown["batches"]["batches"]] == [two.ours["batch_id"]]
    assert {image["batch_id"] for image in shown["images"]["images"]} == {two.ours["batch_id"]}
    assert {event["stream"] for event in shown["log"]["events"]} == {two.ours["batch_id"]}
    assert shown["backwards"]["events"] == shown["log"]["events"][::-1]
    assert [lane["lane"] for lane in whole["lanes"]] == ["user/mina"]
    assert {disk["use"] for disk in whole["disks"]} >= {"ledger", "spool", "inputs"}
    assert shown["info"].get("disks") is None, "the free space says what others make, and its paths where"
    assert shown["info"]["lanes"] == []
    for words in ("mina", "gray", "wolf", "theirs", two.theirs["batch_id"].lower()):
        assert words not in json.dumps(shown).lower(), words


@in_module
async def test_a_subscription_gets_the_events_of_its_label_alone(two: Two) -> None:
    app = await two.app(two.headers["submit"])
    await app.ask("subscribe")
    await app.ask("subscribe", after=-1)
    async with two.door.app("another") as other:
        await other.settled((await other.submit("live", "Mina", 1))["batch_id"])
        await other.ask("pause", scope="user:Mina")
        await other.ask("resume", scope="user:Mina")
    batch = (await app.submit("live", "Areg", 1))["batch_id"]
    await until(lambda: sum(one["stream"] == batch for one in of_kind(app.events, "batch_settled")) == 2, "both came")
    assert {event["stream"] for event in app.events} == {two.ours["batch_id"], batch}


async def test_events_are_filtered_however_they_are_read(
    open_door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In windows and pages so small that each call reads several of them."""
    monkeypatch.setattr(limited_reader, "WINDOW", 3)
    monkeypatch.setattr(limited_reader, "PAGE_LINES", 3)
    monkeypatch.setattr(limited_reader, "WINDOWS_MAX", 2)
    async with open_door(tmp_path) as door, door.app("theirs") as theirs, AsyncExitStack() as stack:
        ours = await Two(door, stack).app(limited(door, "ours"))
        batches = [await (ours, theirs)[turn % 2].submit(f"r{turn}", "Areg", 2) for turn in range(6)]
        await theirs.settled(*(one["batch_id"] for one in batches))
        whole = await theirs.log()
        mine = {one["batch_id"] for one in batches[::2]}
        expected = [event["position"] for event in whole if event["stream"] in mine]
        for more in ({}, {"username": "AREG"}, {"limit": 2}, {"reverse": True}, {"reverse": True, "limit": 2}):
            found = await read_on(ours, **more)
            assert found == (expected[::-1] if "reverse" in more else expected), more
        page = await ours.ask("read_log", batch_id=batches[1]["batch_id"])
        assert page == await ours.ask("read_log", batch_id="01NOBODY")
        assert (page["events"], page["more"], page["position"]) == ([], False, len(whole))
        await ours.ask("subscribe")
        await until(lambda: len(ours.events) >= len(expected), "all came")
        assert [event["position"] for event in ours.events] == expected


async def read_on(app: App, **more: Any) -> list[int]:
    """The positions of all events that pages give, one page after the other."""
    found: list[int] = []
    epoch = (await app.ask("server_info"))["epoch"]
    place: dict[str, Any] = {}
    while True:
        page = await app.ask("read_log", **more, **place)
        found += [event["position"] for event in page["events"]]
        if not page["more"]:
            return found
        step = {"upto": page["position"] - 1} if more.get("reverse") else {"after": page["position"]}
        place = {**step, "epoch": epoch}


async def test_progress_and_previews_of_another_label_do_not_come(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path, seconds_per_image=0.2) as door, AsyncExitStack() as stack, door.app() as theirs:
        ours, seen = (
            await Two(door, stack).app(limited(door, "ours")),
            await Two(door, stack).app(limited(door, "seen")),
        )
        for app in (ours, seen):
            await app.ask("subscribe", after=-1, progress=True, previews=True)
        running = [await theirs.submit("r1", quantity=1, **SAMPLED), await seen.submit("r1", quantity=1, **SAMPLED)]
        await theirs.settled(*(one["batch_id"] for one in running))
        await until(lambda: of_kind(seen.events, "batch_settled"), "its own came")
    pushed = [frame for frame in seen.pushed if frame["type"] != "waiting"]
    assert {frame["data"]["batch_id"] for frame in pushed} == {running[1]["batch_id"]}
    assert {frame["type"] for frame in pushed} == {"progress", "preview"}
    assert (ours.pushed, ours.events) == ([], [])


@in_module
async def test_a_request_id_of_another_label_is_free(two: Two) -> None:
    app = await two.app(limited(two.door, "third"))
    accepted = await app.submit("r1", "Mina", 2, character="Gray Wolf")
    assert "repeated" not in accepted
    assert accepted["batch_id"] != two.theirs["batch_id"]
    assert accepted["numbers"] == [3, 4], "numbers show how many were given before: they are shared"
    explained = await app.ask("explain", what="1", username="Mina", character="Gray Wolf")
    assert (explained["subject"], explained["code"], explained["events"]) == ("gap", "unknown", [])


@in_module
async def test_open_work_is_counted_for_the_label_alone(two: Two) -> None:
    async with two.door.app("busy") as other:
        await other.ask("pause", scope="everything")
        held = (await other.submit("held", "Areg", 5))["batch_id"]
        app = await two.app(two.headers["submit"])
        mine = (await app.submit("mine", "Areg", 2))["batch_id"]
        explained, info = await app.ask("explain", what=mine), await app.ask("server_info")
        whole = await other.ask("server_info")
        reader = two.door.context.reader
        turns = [await one.turns(mine) for one in (reader, limited_reader.LimitedReader(reader, "ours-submit"))]
        for batch in (held, mine):
            await other.ask("cancel", batch_id=batch)
        await other.ask("resume", scope="everything")
    assert whole["open"]["prompts"] >= 7
    assert (info["open"]["batches"], info["open"]["prompts"]) == (1, 2)
    assert [lane["lane"] for lane in info["lanes"]] == ["everything"]
    assert explained["owed"][0]["code"] == "paused"
    assert (turns[0].batches >= 1, turns[1].batches, turns[1].own) == (True, 0, 2)


async def test_texts_about_lanes_may_quote_other_names_and_are_left_out() -> None:
    async def lanes() -> list[LaneRow]:
        return [LaneRow("store/cloud", code="unknown", words="digest")]

    reader: Any = SimpleNamespace(lanes=lanes)
    (lane,) = await limited_reader.LimitedReader(reader, "ours").lanes()
    assert (lane.name, lane.code, lane.words) == ("store/cloud", "unknown", None)


def waiting(only: str | None, *labels: str) -> list[wire.WaitingInfo]:
    unknown: Any = SimpleNamespace(series=SimpleNamespace(folder="f", stem="s_", key="f/s_"), stores=())
    question = Question(unknown, 7, labels)
    dependencies: Any = SimpleNamespace(view=SimpleNamespace(questions={"f/s_": question}), only=only)
    dependencies._waiting = lambda one: Dependencies._waiting(dependencies, one)
    return Dependencies.waiting(dependencies)


def test_series_that_wait_for_another_label_are_not_shown() -> None:
    assert [(one.requests, one.since_ms) for one in waiting(None, "theirs", "ours")] == [(2, 7)]
    assert [(one.requests, one.since_ms) for one in waiting("theirs", "theirs", "ours")] == [(1, 7)]
    assert [(one.requests, one.since_ms) for one in waiting("ours", "theirs", "ours")] == [(1, 0)]
    assert waiting("nobody", "theirs", "ours") == []


@in_module
async def test_what_concerns_all_labels_needs_a_token_that_sees_all(two: Two) -> None:
    async with two.door.raw(additional_headers=two.headers["admin"]) as raw:
        surveyed = await raw.ask("survey_store", store="folder")
        raised = await raw.ask("raise_series", store="folder", found=[SERIES])
    assert (surveyed["data"]["code"], raised["data"]["code"]) == ("forbidden", "forbidden")
    async with aiohttp.ClientSession(headers=two.headers["admin"]) as http:
        assert (await http.get(f"{two.door.url}/metrics")).status == HTTPStatus.FORBIDDEN


@in_module
async def test_an_image_page_of_another_label_is_as_one_that_does_not_exist(two: Two) -> None:
    async with aiohttp.ClientSession(headers=two.headers["admin"]) as http:
        foreign = await http.get(f"{two.door.url}/images/{image_of(two.names())}")
        absent = await http.get(f"{two.door.url}/images/{image_of(NOWHERE)}")
        own = await http.get(f"{two.door.url}/images/{two.ours['images'][0]['public_id']}")
        assert (foreign.status, await foreign.text()) == (HTTPStatus.NOT_FOUND, await absent.text())
        assert own.status == HTTPStatus.NOT_FOUND, "the batch is of another token of ours"
    async with aiohttp.ClientSession(headers=two.headers["submit"]) as http:
        own = await http.get(f"{two.door.url}/images/{two.ours['images'][0]['public_id']}")
        assert own.status == HTTPStatus.OK


# ---- over HTTP


def http_requests_about(name: dict[str, str]) -> list[tuple[Right, Route, URL, dict[str, Any] | None]]:
    """The same requests by every route that takes them, and the addresses of files."""
    found = [
        (right, route, *placed)
        for right, kind, data in requests_about(name)
        for route in ROUTES
        if route.kind == kind and (placed := as_http(route, data)) is not None
    ]
    by_id = next(route for route in ROUTES if route.path == BATCH and route.method == "GET")
    return [*found, ("submit", by_id, URL(f"/v1/batches/{name['batch']}?wait=1"), None)]


NAMES_NOTHING_OVER_HTTP = {
    *((method, BACKEND) for method in ("PUT", "DELETE")),
    *((route.method, route.path) for route in ROUTES if "webhook" in route.kind),
    *(("POST", path) for path in ("/v1/workflows/check", "/v1/series", "/v1/move", f"{BOX}/give-up", STORE, INPUTS)),
    ("GET", f"{WORKFLOW}/inputs"),
    *(
        ("GET", path)
        for path in (
            "/v1/server",
            "/v1/workflows",
            "/v1/characters",
            "/v1/backends",
            "/v1/stores",
            "/v1/checks",
            "/v1/activity",
            STORE,
        )
    ),
}


def test_every_route_that_names_something_is_tried() -> None:
    tried = {(route.method, route.path) for _, route, _, _ in http_requests_about(NOWHERE)}
    assert tried | NAMES_NOTHING_OVER_HTTP == {(route.method, route.path) for route in ROUTES}
    assert not tried & NAMES_NOTHING_OVER_HTTP


@in_module
async def test_over_http_what_another_label_has_is_as_what_does_not_exist(two: Two) -> None:
    wrong = []
    async with aiohttp.ClientSession() as http:
        for theirs, nothing in zip(
            http_requests_about(two.names()), http_requests_about(nowhere(two.names())), strict=True
        ):
            foreign, absent = await over_http(two, http, theirs), await over_http(two, http, nothing)
            if as_nowhere(foreign, two.names()) != as_nowhere(absent, two.names()):
                wrong.append((theirs, foreign, absent))
        for path in ("images/{}", "v1/images/{}/file", "v1/images/{}/file?expires=1&signature=0"):
            foreign, absent = [
                await got(two, http, URL("/" + path.format(image_of(name)), encoded=True))
                for name in (two.names(), nowhere(two.names()))
            ]
            if as_nowhere(foreign, two.names()) != as_nowhere(absent, two.names()):
                wrong.append((path, foreign, absent))
    assert wrong == [], "\n".join(map(repr, wrong))


async def over_http(two: Two, http: aiohttp.ClientSession, asked: Any) -> Frame:
    right, route, url, body = asked
    target = URL(two.door.url).join(url)
    async with http.request(route.method, target, json=body, headers=two.headers[right]) as answer:
        return {"status": answer.status, "link": answer.headers.get("Link", ""), "body": await answer.text()}


async def got(two: Two, http: aiohttp.ClientSession, url: URL) -> Frame:
    async with http.get(URL(two.door.url).join(url), headers=two.headers["admin"]) as answer:
        return {"status": answer.status, "body": await answer.text()}


@in_module
async def test_a_stream_of_events_has_those_of_its_label_alone(two: Two) -> None:
    headers = {**two.headers["submit"], "Accept": "text/event-stream"}
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.get(f"{two.door.url}/v1/events") as answer, two.door.app("another") as other:
            await other.settled((await other.submit("streamed", "Mina", 1))["batch_id"])
            app = await two.app(two.headers["submit"])
            batch_id = (await app.submit("streamed", "Areg", 1))["batch_id"]
            streams = await streams_until(answer, batch_id)
        assert batch_id in streams
        async with two.door.app() as admin:
            labels = {(await admin.batch(stream))["label"] for stream in streams}
        assert labels == {"ours-submit"}


async def streams_until(answer: aiohttp.ClientResponse, batch_id: str) -> set[str]:
    """The streams of all events up to the last one of a batch."""
    found = set()
    async with asyncio.timeout(DEADLINE_S):
        async for line in answer.content:
            if line.startswith(b"data: "):
                event = json.loads(line[6:])
                found.add(event["stream"])
                if (event["stream"], event["kind"]) == (batch_id, "batch_settled"):
                    break
    return found


@in_module
async def test_bytes_that_another_label_has_are_new_and_their_owner_is_not_named(two: Two) -> None:
    headers, content = limited(two.door, "fourth"), spool_files.image()
    sha256 = await added(two.door, limited(two.door, "fifth"), content)
    async with aiohttp.ClientSession(headers=headers) as http:
        statuses = [(await http.put(two.door.url + INPUTS, data=content)).status for _ in range(2)]
        listed = (await (await http.get(two.door.url + INPUTS)).json())["inputs"]
        gone = await http.delete(f"{two.door.url}{INPUTS}/sha256:{sha256}")
        again = await http.delete(f"{two.door.url}{INPUTS}/sha256:{sha256}")
    assert statuses == [201, 200]
    assert [(one["input"], one["labels"]) for one in listed] == [(f"sha256:{sha256}", ["fourth"])]
    assert (gone.status, "labels" in await gone.json(), again.status) == (200, False, 404)
    row = await two.door.context.reader.input(sha256)
    assert row.labels == ("fifth",)


# ---- how long it takes


class Recording:
    """A reader, and the names of all reads."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.reads: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.reads.append(name)
        return getattr(self._reader, name)


@in_module
async def test_another_labels_things_cost_the_reads_of_what_does_not_exist(two: Two) -> None:
    """Each time that they are asked for: what is remembered would answer sooner."""
    reads = []
    for name in (two.names(), nowhere(two.names())):
        recording: Any = Recording(two.door.context.reader)
        reader = limited_reader.LimitedReader(recording, "ours-submit")
        batch, image, user = name["batch"], image_of(name), name["user"].lower()
        for _ in range(2):
            found: list[Any] = [
                await reader.batch(batch),
                await reader.image(batch, 1),
                await reader.prompt(batch, 1),
                await reader.image_named(image),
                await reader.name_place(image.lower()),
                await reader.prompt_place(two.prompt_id if user == "mina" else "x", 0, 1_000),
                await reader.series(image[:-1].lower()),
                await reader.input(name["input"]),
                *await reader.these_inputs([name["input"]]),
                *await reader.prompts(batch),
                *await reader.these_images(batch, (1, 2)),
                *await reader.images(ImageFilter(batch_id=batch)),
                *await reader.images(ImageFilter(username_key=user)),
                *await reader.batches(BatchFilter(username_key=user)),
                *await reader.page(after=0, limit=9, stream=batch),
                *await reader.page(after=0, limit=9, user=user),
                *(await reader.log_lines(LogWanted(stream=batch))).lines,
                *(await reader.log_lines(LogWanted(user=user))).lines,
            ]
            assert set(found) == {None}
        reads.append(recording.reads)
    assert reads[0] == reads[1]


async def test_an_admin_that_sees_its_own_forgets_its_own_of_a_shared_user(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, door.app("theirs") as theirs, AsyncExitStack() as stack:
        ours = await Two(door, stack).app(limited(door, "ours", "admin"))
        batches = [(await app.submit("r1", "Areg", 1))["batch_id"] for app in (ours, theirs)]
        await theirs.settled(*batches)
        recovered = await ours.ask("recover", username="Areg", dry_run=True)
        forgotten = await ours.ask("forget", username="Areg")
        left = [(await theirs.batch(batch_id)).get("forgotten", 0) for batch_id in batches]
    assert recovered["looked_at"] == 1
    assert (forgotten["batches"], forgotten["images"], left) == (1, 1, [1, 0])


@in_module
async def test_what_another_label_made_like_an_image_is_not_named(two: Two) -> None:
    image = two.ours["images"][0]["image_id"]
    app = await two.app(two.headers["submit"])
    async with two.door.app() as admin:
        theirs = await admin.ask("submit_batch", request_id="like ours", like=image)
        ours = await app.ask("submit_batch", request_id="like our own", like=image)
        await admin.settled(theirs["batch_id"], ours["batch_id"])
        every = (await admin.ask("explain", what=image))["made_like"]
        whole = (await admin.ask("explain", what=two.ours["batch_id"]))["made_like"]
    assert sorted(every) == sorted(whole) == sorted([theirs["batch_id"], ours["batch_id"]])
    assert (await app.ask("explain", what=image))["made_like"] == [ours["batch_id"]]
    assert (await app.ask("explain", what=two.ours["batch_id"]))["made_like"] == [ours["batch_id"]]


@in_module
async def test_what_happened_in_each_hour_is_counted_for_each_label_alone(two: Two) -> None:
    async def requested(right: str) -> int:
        app = await two.app(two.headers[right])
        answer = await app.ask("activity")
        return sum(bucket["requested"] for bucket in answer["buckets"])

    own, none, again = [await requested(right) for right in ("submit", "operate", "submit")]
    assert own == again > 0
    assert none == 0
