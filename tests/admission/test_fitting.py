"""What ComfyUI would refuse is refused before a number is used, and never by an answer that is out of date."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from comfyledger.admission import repeats
from comfyledger.admission.workflows import fitting, prepared
from comfyledger.admission.workflows.fitting import of_each, unfit
from comfyledger.admission.workflows.prepared import OWN_BYTES_MAX, ready
from comfyledger.comfyui import node_classes
from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.node_classes import Known
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.comfyui.transfer import NotReached
from comfyledger.comfyui.ui_format.process import Converter
from comfyledger.comfyui.workflow_checks import WorkflowChecks
from comfyledger.core.naming.names import Templates
from comfyledger.errors import Refused
from comfyledger.queries.dependencies import AdmissionPolicy, WorkflowSource, workflow_tools
from comfyledger.queries.large_graphs import LARGE_BYTES
from support.admission_builders import given
from support.waiting import until
from support.wire_app import Refusal, of_kind

TEXT_TO_IMAGE: dict[str, Any] = {"workflow": "text-to-image", "quantity": 1, "inputs": {}}
WRONG: dict[str, Any] = {**TEXT_TO_IMAGE, "inputs": {"checkpoint": "none-such.safetensors"}}
CODE = "workflow_failed_validation"
UNCHECKED = " · not checked: ComfyUI could not be asked"
DOCUMENT = {
    "nodes": [
        {
            "id": 1,
            "type": "EmptyImage",
            "mode": 0,
            "inputs": [],
            "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}],
            "widgets_values": [64, 64, 1, 0],
        },
        {
            "id": 9,
            "type": "SaveImage",
            "mode": 0,
            "inputs": [{"name": "images", "type": "IMAGE", "link": 1}],
            "outputs": [],
            "widgets_values": ["x"],
        },
    ],
    "links": [[1, 1, 0, 9, 0, "IMAGE"]],
    "version": 0.4,
}


def install(door: Any, **lists: list[str]) -> None:
    """What the stand-in has from now on."""
    door.sim._installed.change(lists, None)


def asked(door: Any) -> int:
    """How often ComfyUI was asked what it has."""
    return sum(request.path == "/object_info" for request in door.sim.ledger.requests)


async def refusal(app: Any, **more: Any) -> dict[str, Any]:
    with pytest.raises(Refusal) as refused:
        await app.submit("wrong", **more)
    return dict(refused.value.data)


@pytest.fixture
async def seen(door: Any) -> Any:
    """A door whose ComfyUI has said what it has."""
    classes = door.context.node_classes["main"]
    await until(lambda: classes.known is not None, "ComfyUI has answered")
    await classes.fresh(asyncio.get_running_loop().time())
    return door


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer is fresh any more when the next request comes."""
    monkeypatch.setattr(node_classes, "FRESH_S", 0.0)


def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on ComfyUI cannot be asked what it has."""

    async def silent(_: ComfyUI, path: str) -> bytes:
        raise NotReached("not_reached", "It cannot be reached.", sent=False)

    monkeypatch.setattr(ComfyUI, "bytes_of", silent)


async def test_a_dry_run_says_the_same_as_the_request(seen: Any) -> None:
    async with seen.app() as app:
        with seen.unchanged():
            refused = await refusal(app, **WRONG)
            dry = await refusal(app, **WRONG, dry_run=True)
        assert refused == dry
        assert (refused["code"], refused["path"]) == (CODE, "$.data.inputs.checkpoint")
        assert [mistake["node"] for mistake in refused["mistakes"]] == ["4"]
        dry = await app.submit("right", **TEXT_TO_IMAGE, dry_run=True)
        right = await app.submit("right", **TEXT_TO_IMAGE)
    assert (dry["found"], dry["dry_run"]) == (right["found"], True)
    assert right["numbers"] == [1], "a refusal has used a number"


async def test_workers_need_not_check_again_what_was_admitted_as_right(
    seen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks, known = seen.context.tools.checks, seen.context.node_classes["main"].known
    looked: list[None] = []
    monkeypatch.setattr(checks, "mistakes", noting(checks.mistakes, lambda: looked.append(None)))
    async with seen.app() as app:
        await app.ask("pause", scope="backend:main")
        right = await app.submit("right", **TEXT_TO_IMAGE)
        assert checks.was_right(right["batch_id"], known.info)
        at_admission = len(looked)
        await app.ask("resume", scope="backend:main")
        await app.settled(right["batch_id"])
    assert len(looked) == at_admission
    assert not checks.was_right("another", known.info)


async def test_a_graph_of_a_request_is_refused_with_the_node(seen: Any) -> None:
    graph = {
        "1": {"class_type": "ColourOfMyOwn", "inputs": {}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    async with seen.app() as app:
        with seen.unchanged():
            refused = await refusal(app, workflow=graph, inputs={})
    assert (refused["code"], refused["path"]) == (CODE, "$.data.workflow.1")
    assert "ColourOfMyOwn" in refused["message"]


async def test_a_value_of_one_image_is_refused_at_its_place(seen: Any) -> None:
    images = [{}, {"inputs": {"width": 99_999}}, {"inputs": {"5.width": 0}}]
    async with seen.app() as app:
        refused = await refusal(app, workflow="text-to-image", quantity=None, images=images, inputs={})
    assert (refused["code"], refused["path"]) == (CODE, "$.data.images[1].inputs.width")
    assert len(refused["mistakes"]) == 2


async def test_a_value_of_a_sweep_is_refused_at_its_place(seen: Any) -> None:
    each = {"steps": [20, 30], "width": [64, 128, 99_999]}
    async with seen.app() as app:
        refused = await refusal(app, workflow="text-to-image", quantity=2, inputs_each=each, inputs={})
    assert (refused["code"], refused["path"]) == (CODE, "$.data.inputs_each.width[2]")


def noting(call: Any, note: Any) -> Any:
    def called(*args: Any, **named: Any) -> Any:
        note()
        return call(*args, **named)

    return called


def in_thread(main: threading.Thread) -> bool:
    return threading.current_thread() is not main


async def test_a_large_graph_is_read_planned_and_checked_beside_the_event_loop(
    seen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, threads = threading.current_thread(), list[bool]()
    for module, name in ((fitting, "source_of"), (prepared, "make_ready"), (WorkflowChecks, "mistakes")):
        monkeypatch.setattr(module, name, noting(getattr(module, name), lambda: threads.append(in_thread(main))))
    noted = {"1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}}}
    graph = {**noted, "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}}
    large = {**graph, "5": {"class_type": "Note", "inputs": {"text": "x" * LARGE_BYTES}}}
    async with seen.app() as app:
        for workflow, is_large in ((graph, False), (large, True)):
            await app.submit(f"large {is_large}", workflow=workflow, quantity=1, inputs={}, dry_run=True)
            assert threads == [is_large] * 3
            threads.clear()


async def test_a_model_that_was_added_is_found(seen: Any, at_once: None) -> None:
    async with seen.app() as app:
        assert (await refusal(app, **WRONG))["code"] == CODE
        install(seen, checkpoints=["none-such.safetensors"])
        assert (await app.submit("wrong", **WRONG))["numbers"] == [1]


async def test_many_wrong_requests_ask_comfyui_once(seen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with seen.app() as app:
        before = asked(seen)
        for _ in range(5):
            await refusal(app, **WRONG)
        assert asked(seen) == before, "the answer at the connection is fresh"
        monkeypatch.setattr(node_classes, "FRESH_S", 0.0)
        await refusal(app, **WRONG)
    assert asked(seen) == before + 1


async def test_a_request_that_fits_and_one_that_no_comfyui_takes_ask_nothing(seen: Any, at_once: None) -> None:
    async with seen.app() as app:
        before = asked(seen)
        await app.submit("right", **TEXT_TO_IMAGE)
        assert (await refusal(app, workflow="nobody's"))["code"] == "unknown_workflow"
        assert (await refusal(app, workflow={"1": 5}, inputs={}))["code"] == "workflow_invalid"
        assert (await refusal(app, **{**TEXT_TO_IMAGE, "inputs": {"5.depth": 1}}))["code"] == "unknown_input"
    assert asked(seen) == before


async def test_while_comfyui_cannot_be_asked_nothing_is_refused_for_it(
    seen: Any, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    away(monkeypatch)
    async with seen.app() as app:
        dry = await app.submit("wrong", **WRONG, dry_run=True)
        first = await app.submit("wrong", **WRONG)
        assert dry["found"] == first["found"]
        assert first["found"][0].endswith(UNCHECKED)
        again = await app.submit("wrong", **WRONG)
        assert again == {**first, "repeated": True}
        fits = await app.submit("right", **TEXT_TO_IMAGE)
        assert not fits["found"][0].endswith(UNCHECKED)
        requested = of_kind(await app.log(), "batch_requested")
    assert [event["data"].get("unchecked", False) for event in requested] == [True, False]


async def test_nothing_is_looked_up_while_a_comfyui_that_was_never_seen_is_silent(
    seen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it then, so a repeat is found where all are: when its numbers would be given."""
    away(monkeypatch)
    classes = seen.context.node_classes["main"]
    classes._known = classes._call = None
    monkeypatch.setattr(node_classes, "FRESH_S", 3_600.0)
    looked_up: list[str] = []
    original = repeats.answered_before

    async def answered_before(context: Any, label: str, raw: bytes) -> Any:
        looked_up.append(label)
        return await original(context, label, raw)

    monkeypatch.setattr(repeats, "answered_before", answered_before)
    async with seen.app() as app:
        first = await app.submit("first", **TEXT_TO_IMAGE)
        assert len(looked_up) == 1, "it is asked now, which may take its time"
        second = await app.submit("second", **TEXT_TO_IMAGE)
        assert await app.submit("second", **TEXT_TO_IMAGE) == {**second, "repeated": True}
        assert len(looked_up) == 1
        assert await app.submit("first", **TEXT_TO_IMAGE) == {**first, "repeated": True}
        with pytest.raises(Refusal) as refused:
            await app.submit("second", workflow=DOCUMENT, quantity=1, inputs={})
    assert refused.value.data["code"] == "request_id_conflict"


async def test_a_repeat_is_answered_without_asking_whatever_comfyui_has_lost(
    seen: Any, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with seen.app() as app:
        first = await app.submit("r1", **TEXT_TO_IMAGE)
        drawn = await app.submit("r2", workflow=DOCUMENT, quantity=1, inputs={})
        install(seen, checkpoints=["other.safetensors"])
        assert (await refusal(app, **WRONG))["code"] == CODE, "from now on it is known that the model is gone"
        assert (await refusal(app, **TEXT_TO_IMAGE))["code"] == CODE
        before = asked(seen)
        assert await app.submit("r1", **TEXT_TO_IMAGE) == {**first, "repeated": True}
        seen.context.tools.converted._kept.clear()
        monkeypatch.setattr(Converter, "convert", None)
        assert await app.submit("r2", workflow=DOCUMENT, quantity=1, inputs={}) == {**drawn, "repeated": True}
    assert asked(seen) == before


async def test_a_batch_that_came_unchecked_is_held_until_it_fits(
    seen: Any, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen.context.node_classes["main"], "_known", None)
    with monkeypatch.context() as meanwhile:
        away(meanwhile)
        async with seen.app() as app:
            await app.ask("pause", scope="backend:main")
            drawn = await refusal(app, workflow=DOCUMENT, inputs={})
            wrong = await app.submit("wrong", **WRONG)
    assert (drawn["code"], drawn["path"]) == ("backend_unknown", "$.data.workflow")
    async with seen.app() as app:
        await app.ask("resume", scope="backend:main")
        held = await until(lambda: held_as(app, wrong["batch_id"], "unfit"), "the batch is held")
        assert "none-such.safetensors" in held["held_text"]
        story = await app.ask("explain", what=wrong["batch_id"])
        assert "none-such.safetensors" in story["owed"][0]["text"]
        await app.ask("resume", scope=f"batch:{wrong['batch_id']}")
        await until(lambda: app_held_again(app, wrong["batch_id"]), "it is held again")
        assert not any(request.path == "/prompt" for request in seen.sim.ledger.requests), "something was sent"
        install(seen, checkpoints=["none-such.safetensors"])
        await app.ask("resume", scope=f"batch:{wrong['batch_id']}")
        (batch,) = await app.settled(wrong["batch_id"])
        attempts = [event["data"]["attempt"] for event in of_kind(await app.log(), "prompt_submitting")]
    assert (batch["stored"], batch.get("held_text", ""), attempts) == (1, "", [1])


async def held_as(app: Any, batch_id: str, reason: str) -> dict[str, Any] | None:
    batch: dict[str, Any] = await app.batch(batch_id)
    return batch if batch["held"] == reason else None


async def app_held_again(app: Any, batch_id: str) -> bool:
    return len([event for event in await app.log() if event["kind"] == "batch_held"]) == 2


async def test_after_comfyui_has_refused_a_prompt_the_next_request_uses_no_number(seen: Any, at_once: None) -> None:
    install(seen, checkpoints=["other.safetensors"])
    async with seen.app() as app:
        lost = await app.submit("lost", **TEXT_TO_IMAGE)
        (batch,) = await app.settled(lost["batch_id"])
        classes = seen.context.node_classes["main"]
        before = classes.known
        await until(lambda: classes.known is not before or asked(seen) > 1, "ComfyUI is asked again")
        await classes.latest()
        with seen.unchanged():
            assert (await refusal(app, **TEXT_TO_IMAGE))["code"] == CODE
    assert batch["failed"] == 1


async def test_a_node_that_nobody_needs_is_not_sent_if_comfyui_lacks_it(seen: Any) -> None:
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
        "7": {"class_type": "NoteOfMine", "inputs": {"text": "x"}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    async with seen.app() as app:
        answer = await app.submit("r1", workflow=graph, quantity=1, inputs={})
        (batch,) = await app.settled(answer["batch_id"])
    assert batch["stored"] == 1


async def test_a_document_in_the_ui_format_is_rendered(seen: Any) -> None:
    async with seen.app() as app:
        dry = await app.submit("r1", workflow=DOCUMENT, quantity=1, inputs={"1.color": 7}, dry_run=True)
        drawn = await app.submit("r1", workflow=DOCUMENT, quantity=1, inputs={"1.color": 7})
        (batch,) = await app.settled(drawn["batch_id"])
    assert dry["found"] == drawn["found"]
    assert batch["stored"] == 1


async def test_a_configured_file_may_be_in_the_ui_format(tmp_path: Path, open_door: Any) -> None:
    (tmp_path / "drawn.json").write_text(json.dumps(DOCUMENT))
    sections = """
        [workflows.empty-image]
        file = "sample:empty-image"
        [workflows.drawn]
        file = "drawn.json"
        inputs = {colour = "1.color"}
    """
    async with open_door(tmp_path, sections) as door, door.app() as app:
        answer = await app.submit("r1", workflow="drawn", quantity=2, inputs={"colour": 7})
        (batch,) = await app.settled(answer["batch_id"])
        wrong = await refusal(app, workflow="drawn", inputs={"nothing": 1})
        missing = await refusal(app, workflow="drawn", inputs={}, output="77")
    assert batch["stored"] == 2
    assert (wrong["code"], missing["code"]) == ("unknown_input", "workflow_no_output")


@pytest.mark.parametrize(("level", "accepted"), [("classes", True), ("off", True), ("full", False)])
async def test_the_configuration_says_how_much_is_checked(
    tmp_path: Path, open_door: Any, level: str, accepted: bool
) -> None:
    async with open_door(tmp_path, f'[limits]\ncheck_workflows = "{level}"') as door, door.app() as app:
        if accepted:
            answer = await app.submit("r1", **WRONG, dry_run=True)
            assert not answer["found"][0].endswith(UNCHECKED)
        else:
            assert (await refusal(app, **WRONG))["code"] == CODE


async def test_a_configured_workflow_that_does_not_fit_is_known(
    tmp_path: Path, open_door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Converter, "convert", None)  # what is in the UI format is left alone
    (tmp_path / "drawn.json").write_text(json.dumps(DOCUMENT))
    sections = """
        [workflows.empty-image]
        file = "sample:empty-image"
        [workflows.text-to-image]
        file = "sample:text-to-image"
        [workflows.drawn]
        file = "drawn.json"
    """
    async with open_door(tmp_path, sections) as door:
        classes = door.context.node_classes["main"]
        await until(lambda: classes.known is not None, "ComfyUI has answered")
        assert await unfit(door.context) == {}
        install(door, checkpoints=["other.safetensors"])
        classes.renew(asyncio.get_running_loop().time())
        await classes.fresh(asyncio.get_running_loop().time())
        found = await unfit(door.context)
    assert list(found) == ["text-to-image"]
    assert found["text-to-image"].startswith("1 mistake. Node 4 (CheckpointLoaderSimple): ckpt_name")


# What fits where


def farm(tags: dict[str, frozenset[str]], known: dict[str, Known], *sources: WorkflowSource) -> Any:
    """What `of_each` reads of a daemon: tags of its ComfyUIs, what those have said, and configured workflows."""
    workflows = {one.name: one for one in sources}
    policy = AdmissionPolicy(Templates(), workflows, sources[0].name, tags, 100, 524_288, trust=True)
    classes = {name: SimpleNamespace(known=known.get(name)) for name in tags}
    return SimpleNamespace(tools=workflow_tools("classes", 524_288), policy=policy, node_classes=classes)


async def test_each_comfyui_fits_what_it_can_run_and_one_that_was_never_seen_is_left_out() -> None:
    needy = replace(given(seeded(), name="needy"), needs=("flux", "48gb"))
    tags = {"a": frozenset({"flux"}), "b": frozenset({"flux", "48gb"}), "new": frozenset[str]()}
    around = farm(tags, {"a": WHOLE, "b": BARE}, needy, given(seeded(), name="any"))
    found = await of_each(around)
    assert list(found) == ["a", "b"]
    assert (found["a"].fits, found["a"].lacks) == (["any"], {"needy": "It does not have the tags: 48gb."})
    assert (found["b"].fits, list(found["b"].lacks)) == ([], ["any", "needy"])
    assert "Node 1 (Noise)" in found["b"].lacks["needy"]


async def test_a_workflow_is_compared_once_with_what_many_comfyuis_have(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr(fitting, "ready", noting(ready, lambda: looked.append("")))
    tags = {f"gpu-{n}": frozenset[str]() for n in range(50)}
    around = farm(tags, dict.fromkeys(tags, WHOLE), given(seeded(), name="w"))
    assert [one.fits for one in (await of_each(around)).values()] == [["w"]] * 50
    await of_each(around)
    assert len(looked) == 1


async def test_a_converter_that_is_busy_says_nothing_about_a_workflow(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [Refused("busy", "Too many wait."), seeded()]

    async def convert(*_: Any) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Refused):
            raise answer
        return answer

    monkeypatch.setattr(Converter, "convert", convert)
    drawn = replace(given(seeded(), name="drawn"), graph=None, document=b"{}")
    around = farm({"a": frozenset()}, {"a": WHOLE}, drawn)
    assert (await of_each(around))["a"].lacks == {"drawn": "Too many wait."}
    assert (await of_each(around))["a"].fits == ["drawn"]
    assert (await of_each(around))["a"].fits == ["drawn"]


# What was made ready before


def noisy(most: int, digest: str) -> Known:
    """What a ComfyUI said whose seeds end there."""
    described = {"input": {"required": {"seed": ["INT", {"min": 0, "max": most}]}}, "output": ["IMAGE"]}
    return Known(b"", ObjectInfo({"Noise": described}, digest))


SAVES = {"input": {"required": {"images": ["IMAGE"]}}, "output": [], "output_node": True}
MAKES = {"input": {"required": {"seed": ["INT", {}]}}, "output": ["IMAGE"]}
WHOLE = Known(b"", ObjectInfo({"Noise": MAKES, "SaveImage": SAVES}, "whole"))
BARE = Known(b"", ObjectInfo({"SaveImage": SAVES}, "bare"))


def seeded(**more: Any) -> dict[str, Any]:
    save = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x", **more}}
    return {"1": {"class_type": "Noise", "inputs": {"seed": 5}}, "9": save}


@pytest.mark.parametrize("name", ["", "configured"])
async def test_a_workflow_is_planned_once_for_what_a_comfyui_has(name: str) -> None:
    tools = workflow_tools("full", 524_288)
    around: Any = SimpleNamespace(tools=tools, policy=SimpleNamespace(node_classes_denied=()))
    source = given(seeded(), name=name)
    few, many = noisy(9, "few"), noisy(99, "many")
    first = await ready(around, source, few)
    assert first.plan.seed_range == (0, 9)
    assert (await ready(around, source, many)).plan.seed_range == (0, 99)
    assert (await ready(around, source, None)).plan.seed_range is None
    assert await ready(around, given(seeded(), name=name), few) is first


async def test_graphs_that_differ_are_not_taken_for_each_other() -> None:
    tools = workflow_tools("full", 524_288)
    around: Any = SimpleNamespace(tools=tools, policy=SimpleNamespace(node_classes_denied=()))
    known = noisy(9, "few")
    made = [await ready(around, given(seeded(quality=one), name=""), known) for one in (1, 2, 1.0, True, "1")]
    assert len({one.key for one in made}) == 5
    large = given(seeded(text="x" * OWN_BYTES_MAX), name="")
    assert await ready(around, large, known) is not await ready(around, large, known)
