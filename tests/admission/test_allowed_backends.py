"""A request is for every ComfyUI that has what it needs, and is refused only if none takes it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comfyledger import wire
from comfyledger.admission.allowed_backends import backends_for, refused_by_all
from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.node_classes import Known, NodeClasses
from comfyledger.comfyui.object_info import read_object_info
from comfyledger.comfyui.transfer import NotReached
from comfyledger.core.scheduling.fit_words import TOLD_MAX, told_of_all
from comfyledger.errors import Refused
from support.waiting import until
from support.wire_app import Refusal, of_kind

TAGS = {"a": frozenset({"flux"}), "b": frozenset({"flux", "48gb"}), "c": frozenset[str]()}
TEXT_TO_IMAGE: dict[str, Any] = {"workflow": "text-to-image", "quantity": 1, "inputs": {}}
OF_MINE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
SMALL: dict[str, Any] = {"workflow": OF_MINE, "quantity": 1, "inputs": {}}


def names(needed: tuple[str, ...] = (), /, **asked: Any) -> tuple[str, ...]:
    return backends_for(TAGS, wire.SubmitBatch("r1", "Areg", "Opal Fever", **asked), needed)


@pytest.mark.parametrize(
    ("needs", "pin", "found"),
    [
        ((), None, ("a", "b", "c")),
        (("flux",), None, ("a", "b")),
        (("48gb", "flux"), None, ("b",)),
        ((), "c", ("c",)),
        (("flux",), "a", ("a",)),
    ],
)
def test_a_request_may_go_where_its_tags_are_and_to_no_other_than_it_names(
    needs: tuple[str, ...], pin: str | None, found: tuple[str, ...]
) -> None:
    assert names(needs, backend=pin) == found


@pytest.mark.parametrize(
    ("asked", "needs", "path", "says"),
    [
        ({"backend": "bb"}, (), "$.data.backend", "There is no ComfyUI 'bb'."),
        ({"needs": ["flux", "96gb"]}, ("flux", "96gb"), "$.data.needs", "a: '96gb'; b: '96gb'; c: 'flux', '96gb'"),
        ({}, ("96gb",), "$.data.workflow", "c: '96gb'"),
        ({"like": "x"}, ("96gb",), "$.data.like", "c: '96gb'"),
        ({"backend": "c"}, ("flux",), "$.data.workflow", "Missing: c: 'flux'."),
    ],
)
def test_a_request_that_may_go_nowhere_is_refused_with_what_is_missing_where(
    asked: dict[str, Any], needs: tuple[str, ...], path: str, says: str
) -> None:
    with pytest.raises(Refused) as refused:
        names(needs, **asked)
    assert (refused.value.code, refused.value.path) == ("no_backend", path)
    assert says in refused.value.message
    assert refused.value.hint


def test_what_all_say_is_said_once_and_a_long_list_is_cut() -> None:
    assert told_of_all({"a": "It lacks X.", "b": "It lacks X."}) == "It lacks X."
    many = told_of_all({f"b{number}": f"{number}" for number in range(TOLD_MAX + 3)})
    assert many.endswith("; and 3 more")
    both = refused_by_all(
        {"a": Refused("workflow_failed_validation", "X", path="$.x"), "b": Refused("unknown_input", "Y")}
    )
    assert (both.code, both.path) == ("workflow_failed_validation", "$.x")
    assert "a: X; b: Y" in both.message


# With two ComfyUIs


@pytest.fixture
async def two(tmp_path: Path, open_door: Any) -> Any:
    """A door whose ComfyUIs have said what they have: `main`, and `big`, which is paused and has a tag."""
    async with open_door(tmp_path, backends={"main": "", "big": 'tags = ["flux"]'}) as door:
        for classes in door.context.node_classes.values():
            await until(lambda classes=classes: classes.known is not None, "ComfyUI has answered")
        yield door


async def install(door: Any, name: str, missing: list[str] | None = None, **lists: list[str]) -> None:
    """What a stand-in has from now on, which the daemon knows then."""
    door.sims[name]._installed.change(lists, missing)
    classes, now = door.context.node_classes[name], asyncio.get_running_loop().time()
    classes.renew(now)
    await classes.fresh(now)


async def refusal(app: Any, **more: Any) -> dict[str, Any]:
    with pytest.raises(Refusal) as refused:
        await app.submit("wrong", **more)
    return dict(refused.value.data)


async def test_what_one_of_two_takes_is_accepted_and_the_check_says_where_it_fits(two: Any) -> None:
    await install(two, "main", ["EmptyImage"])
    async with two.app() as app:
        await app.ask("pause", scope="everything")
        dry = await app.submit("r1", **SMALL, dry_run=True)
        report = await app.ask("check_workflow", workflow=OF_MINE, strict=True)
        batch = await app.submit("r1", **SMALL)
        owed = {one["code"]: one["text"] for one in (await app.ask("explain", what=batch["batch_id"]))["owed"]}
        await install(two, "big", ["EmptyImage"])
        refused = await refusal(app, **SMALL)
        none = await app.ask("check_workflow", workflow=OF_MINE, strict=True)
        repeated = await app.submit("r1", **SMALL)
    where = dry["found"][1]
    assert where.startswith("fits: big · not main: ComfyUI would refuse the workflow: 1 mistake.")
    assert "EmptyImage" in where
    assert (report["verdict"], report["found"][-1]) == ("accepted", where)
    assert batch["numbers"] == [1]
    assert owed["unfit"].startswith("Not every ComfyUI takes it. main: ")
    assert (refused["code"], refused["path"]) == ("workflow_failed_validation", "$.data.workflow.1")
    assert (none["verdict"], none["code"]) == ("refused", "workflow_failed_validation")
    assert repeated == {**batch, "repeated": True}, "a repeat is answered whatever ComfyUI has lost since"


async def test_what_both_lack_is_said_of_each(two: Any) -> None:
    await install(two, "main", ["EmptyImage"])
    await install(two, "big", ["SaveImage"])
    async with two.app() as app:
        refused = await refusal(app, **SMALL)
        report = await app.ask("check_workflow", workflow=OF_MINE, strict=True)
    assert refused["message"].startswith("No ComfyUI would take it. main: ")
    assert "; big: " in refused["message"]
    assert report["message"] == refused["message"]


async def test_a_pin_and_a_need_choose_what_a_request_is_checked_against(two: Any) -> None:
    await install(two, "big", ["EmptyImage"])
    async with two.app() as app:
        await app.ask("pause", scope="everything")
        pinned = await refusal(app, **SMALL, backend="big")
        needy = await refusal(app, **SMALL, needs=["flux"])
        unknown = await refusal(app, **SMALL, backend="bog")
        lacking = await refusal(app, **SMALL, needs=["flux", "96gb"])
        batch = await app.submit("r1", **SMALL, backend="main")
        (requested,) = of_kind(await app.log(), "batch_requested")
    assert pinned["code"] == needy["code"] == "workflow_failed_validation"
    assert (unknown["code"], unknown["hint"]) == ("no_backend", "Did you mean 'big'? Configured: main, big.")
    assert (lacking["code"], lacking["path"]) == ("no_backend", "$.data.needs")
    assert (requested["data"]["backend"], requested["data"].get("needs", [])) == ("main", [])
    assert batch["numbers"] == [1]


async def test_like_takes_over_the_needs_and_not_the_pin(two: Any) -> None:
    async with two.app() as app:
        first = await app.submit("r1", **SMALL, backend="big", needs=["flux"])
        await app.settled(first["batch_id"])
        await app.ask("submit_batch", request_id="r2", like=f"{first['batch_id']}/1")
        await app.ask("submit_batch", request_id="r3", like=f"{first['batch_id']}/1", needs=[])
        requested = [event["data"] for event in of_kind(await app.log(), "batch_requested")]
    assert [one.get("needs", []) for one in requested] == [["flux"], ["flux"], []]
    assert [one.get("backend", "") for one in requested] == ["big", "", ""]


async def test_a_workflow_of_the_configuration_has_needs_of_its_own(tmp_path: Path, open_door: Any) -> None:
    sections = """
        [workflows.empty-image]
        file = "sample:empty-image"
        needs = ["flux"]
    """
    backends = {"main": "", "big": 'tags = ["flux", "48gb"]'}
    async with open_door(tmp_path, sections, backends=backends) as door, door.app() as app:
        await app.ask("pause", scope="everything")
        await app.submit("r1", workflow="empty-image", quantity=1, inputs={}, needs=["48gb"])
        refused = await refusal(app, workflow="empty-image", quantity=1, inputs={}, backend="main")
        (requested,) = of_kind(await app.log(), "batch_requested")
    assert requested["data"]["needs"] == ["48gb", "flux"]
    assert (refused["code"], refused["path"]) == ("no_backend", "$.data.workflow")


async def test_a_workflow_that_one_cannot_run_waits_unchecked_for_another_that_cannot_be_asked(
    two: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await install(two, "main", ["EmptyImage"])
    monkeypatch.setattr(two.context.node_classes["big"], "_known", None)

    ask = ComfyUI.bytes_of

    async def silent(comfyui: ComfyUI, path: str) -> bytes:
        if comfyui is two.context.comfyui["big"]:
            raise NotReached("not_reached", "It cannot be reached.", sent=False)
        return await ask(comfyui, path)

    monkeypatch.setattr(ComfyUI, "bytes_of", silent)
    monkeypatch.setattr("comfyledger.comfyui.node_classes.FRESH_S", 0.0)
    async with two.app() as app:
        await app.ask("pause", scope="everything")
        batch = await app.submit("r1", **SMALL)
    assert batch["found"][0].endswith("not checked: ComfyUI could not be asked")


def seeds_up_to(door: Any, name: str, most: int) -> None:
    """A ComfyUI says that its KSampler takes no larger seed."""
    classes = door.context.node_classes[name]
    said = msgspec.json.decode(classes.known.body)
    said["KSampler"]["input"]["required"]["seed"][1]["max"] = most
    body = msgspec.json.encode(said)
    classes._known = Known(body, read_object_info(body, f"up to {most}"))


async def seeds_of(app: Any, request: str, **more: Any) -> list[int]:
    await app.submit(request, **{**TEXT_TO_IMAGE, "quantity": 3, **more})
    requested = of_kind(await app.log(), "batch_requested")[-1]
    return [prompt["seed"] for prompt in requested["data"]["prompts"]]


async def test_a_seed_that_is_made_up_suits_all_that_fit_and_a_given_one_chooses(two: Any) -> None:
    seeds_up_to(two, "main", 5_000)
    seeds_up_to(two, "big", 40)
    async with two.app() as app:
        await app.ask("pause", scope="everything")
        for number in range(5):
            assert max(await seeds_of(app, f"any {number}")) <= 40
        assert await seeds_of(app, "given", seed=4_000) == [4_000, 4_001, 4_002]
        dry = await app.submit("dry", **TEXT_TO_IMAGE, seed=4_000, dry_run=True)
        refused = await refusal(app, **TEXT_TO_IMAGE, seed=6_000)
    assert dry["found"][1].startswith("fits: main · not big: ")
    assert (refused["code"], refused["path"]) == ("seed_out_of_range", "$.data.seed")


async def test_a_batch_is_held_only_when_no_comfyui_is_left_and_continues_at_any(
    two: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfyledger.comfyui.node_classes.FRESH_S", 0.0)
    ask, asked = NodeClasses.next, list[NodeClasses]()

    async def noted(classes: NodeClasses, now: float) -> Any:
        asked.append(classes)
        return await ask(classes, now)

    monkeypatch.setattr(NodeClasses, "next", noted)
    async with two.app() as app:
        await app.ask("pause", scope="everything")
        batch_id = (await app.submit("r1", **SMALL))["batch_id"]
        for name in ("main", "big"):
            await install(two, name, ["EmptyImage"])
        await app.ask("resume", scope="everything")

        async def held() -> Any:
            batch = await app.batch(batch_id)
            return batch if batch["held"] == "unfit" else None

        batch = await until(held, "the batch is held")
        assert "EmptyImage" in batch["held_text"]
        assert not asked
        two.sims["big"]._installed.change({}, [])
        await app.ask("resume", scope=f"batch:{batch_id}")
        (batch,) = await app.settled(batch_id)
        sent = of_kind(await app.log(), "prompt_submitting")
    assert batch["stored"] == 1
    assert [one["data"]["backend"] for one in sent] == ["big"]
    assert set(asked) == set(two.context.node_classes.values()), "each is asked after the batch was resumed"
    assert not any(request.path == "/prompt" for request in two.sims["main"].ledger.requests)
