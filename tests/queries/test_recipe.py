"""What made an image: read from the log as it was when its attempt was sent, and nothing made up."""

from __future__ import annotations

import http
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from comfyledger import wire
from comfyledger.core.commands import AddInput, ForgetInput
from comfyledger.core.events import KIND_OF, BatchRequested, PromptSubmitting, SourcesFixed
from comfyledger.core.reports import SubmitIntended
from comfyledger.core.values import ImageAt, LoadedFile
from comfyledger.queries import recipe
from comfyledger.queries.recipe import Made, Run, recipe_of
from support.core_builders import (
    PlainLedger,
    accepted,
    finished,
    given,
    intended,
    kept,
    laid_by,
    left,
    lost,
    miscounted,
    one_kept,
    one_stored,
    rendered,
    rendering,
    renumbering,
    retry,
    submit,
    taking,
    unwanted,
    uploaded,
    uploading,
)
from support.door import Door
from support.graphs import node
from support.wire_app import Refusal

GRAPH = {
    "1": node("NoiseImage", width=64, height=64, seed=1, batch_size=1),
    "7": node("NoteOfMine"),
    "9": node("SaveImage", images=["1", 0], filename_prefix="x"),
}
PLAN = {
    "output": "9",
    "prefix": "9.filename_prefix",
    "seeds": ["1.seed"],
    "batch_size": "1.batch_size",
    "inputs": {"width": "1.width", "height": "1.height", "picture": "9.images"},
    "secrets": ["7.api_key"],
}
TEMPLATE = {**GRAPH, "7": node("NoteOfMine", api_key=None)}
INPUTS = {"1.width": 128, "9.note": "x"}
SENT = SubmitIntended("b1", 1, 1, "main", "0.29.0", ())


def run_of(ledger: PlainLedger, index: int = 1) -> Run:
    image = ledger.image(index)
    run = Run(image, ledger.prompt(image.prompt))
    for entry in ledger.log:
        run.take(entry.event, entry.at_ms)
    return run


def made(ledger: PlainLedger, index: int = 1, **more: Any) -> Made:
    image = ledger.image(index)
    prompt = ledger.prompt(image.prompt)
    images = [ledger.image(one) for one in prompt.images]
    batch = replace(ledger.batch(), plan=PLAN)
    found = Made(batch, prompt, image, images, TEMPLATE, {"1.width": 128}, run_of(ledger, index))
    return found._replace(**more)


def gaps(found: Made) -> list[tuple[str, str]]:
    return [(gap.what, gap.code) for gap in recipe_of(found, with_graph=True).missing]


def test_every_step_of_a_stored_image_has_its_time() -> None:
    ledger = given(submit(quantity=1), *one_stored(1))
    at = {KIND_OF[type(entry.event)]: entry.at_ms for entry in ledger.log}
    found = recipe_of(made(ledger), with_graph=False)
    times = (found.requested_at_ms, found.submitted_at_ms, found.finished_at_ms, found.kept_at_ms)
    kinds = ("batch_requested", "prompt_submitting", "prompt_finished", "image_kept")
    assert times == tuple(at[kind] for kind in kinds)
    assert found.stored_at_ms == {"folder": at["image_uploaded"]}
    assert found.graph is None


def test_an_image_that_is_not_made_yet_has_a_recipe_without_run_and_times() -> None:
    found = recipe_of(made(given(submit(quantity=1))), with_graph=True)
    assert (found.attempt, found.prompt_id, found.submitted_at_ms, found.kept_at_ms) == (0, "", 0, 0)
    assert (found.graph, found.outputs[0].prefix, found.stored_at_ms) == (None, "", {})
    assert [(gap.what, gap.code) for gap in found.missing] == [("attempt", "not_sent")]
    assert (found.seed, found.inputs) == (1, {"width": 128})


def test_the_recipe_is_of_the_attempt_whose_bytes_are_kept() -> None:
    ledger = given(submit(quantity=2, per_prompt=2), *rendered(1, files=1), kept(1, prompt=1), retry(2), intended(1, 2))
    kept_one, other = (recipe_of(made(ledger, index), with_graph=False) for index in (1, 2))
    assert kept_one.outputs[0].prefix == "comfyledger/b1/1-a1"
    assert (kept_one.attempt, other.attempt) == (1, 2), "of nothing that is kept it is the last one"
    assert kept_one.kept_at_ms > kept_one.finished_at_ms > kept_one.submitted_at_ms
    assert (other.finished_at_ms, other.kept_at_ms) == (0, 0)


def test_a_recipe_of_files_that_were_left_behind_names_where_they_came_from_and_when() -> None:
    ledger = given(submit(quantity=1), rendering(1), left(1), intended(1, 2, backend="other"), finished(1), kept(1))
    found = recipe_of(made(ledger), with_graph=False)
    assert (found.attempt, found.backend) == (1, "main")
    assert found.kept_at_ms > found.finished_at_ms > found.submitted_at_ms > 0


def test_the_prefix_is_the_one_of_then_although_the_image_was_renumbered() -> None:
    ledger = given(submit(quantity=1), *one_kept(1), unwanted(1))
    before = ledger.image().number
    ledger.when(renumbering(1))
    found = recipe_of(made(ledger), with_graph=True)
    assert found.number != before
    assert found.outputs[0].prefix == f"comfyledger/b1/{before}-a1"
    ledger.given(lost(1), intended(1, 2))
    assert recipe_of(made(ledger), with_graph=True).outputs[0].prefix == f"comfyledger/b1/{found.number}-a2"


def test_images_that_were_added_from_surplus_files_were_not_asked_for() -> None:
    ledger = given(submit(quantity=1), intended(1), accepted(1), miscounted(1, files=3), laid_by(3))
    ledger.given(taking("all"), kept(1, 2, 3, prompt=1))
    for index in (1, 2, 3):
        found = recipe_of(made(ledger, index), with_graph=True)
        assert found.batch_size == 1
        assert found.graph is not None
        assert found.graph["1"]["inputs"]["batch_size"] == 1
        assert [image.index for image in found.images] == [1, 2, 3]


def test_the_graph_is_filled_in_as_it_was_sent() -> None:
    ledger = given(submit(quantity=2, per_prompt=2), SubmitIntended("b1", 1, 1, "main", "0.29.0", ("7",)), accepted(1))
    found = recipe_of(made(ledger, 2), with_graph=True)
    noise = node("NoiseImage", width=128, height=64, seed=1, batch_size=2)
    saver = node("SaveImage", images=["1", 0], filename_prefix="comfyledger/b1/1-a1")
    assert found.graph == {"1": noise, "9": saver}
    assert (found.version, found.left_out, found.missing) == ("0.29.0", ["7"], [])


def test_secrets_are_masked_in_the_graph() -> None:
    ledger = given(submit(quantity=1), SENT, accepted(1))
    found = recipe_of(made(ledger), with_graph=True)
    assert found.graph is not None
    assert found.graph["7"]["inputs"]["api_key"] == "***"
    assert found.masked == ["7.api_key"]


def test_inputs_have_their_names_and_defaults_are_told_apart() -> None:
    ledger = given(submit(quantity=1))
    found = recipe_of(made(ledger, inputs=INPUTS), with_graph=False)
    assert found.inputs == {"width": 128, "9.note": "x"}
    assert found.defaults == {"height": 64}, "a link is no value"


@pytest.mark.parametrize(
    ("lacking", "expected"),
    [
        ({"inputs": None}, [("inputs", "forgotten")]),
        ({"template": None}, [("graph", "forgotten")]),
        ({"inputs": None, "template": None}, [("inputs", "forgotten"), ("graph", "forgotten")]),
    ],
    ids=["inputs", "template", "both"],
)
def test_what_was_forgotten_is_absent_and_said(lacking: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    ledger = given(submit(quantity=1), SENT, accepted(1))
    found = recipe_of(made(ledger, **lacking), with_graph=True)
    assert (found.graph, found.defaults) == (None, {})
    assert gaps(made(ledger, **lacking)) == expected


def test_what_an_earlier_release_did_not_record_is_said() -> None:
    ledger = given(submit(quantity=1), *one_stored(1))
    assert gaps(made(ledger)) == [("version", "not_recorded"), ("left_out", "not_recorded")]
    assert gaps(made(ledger, run=Run(ledger.image(), ledger.prompt()))) == [("attempt", "not_recorded")]


def test_the_log_is_read_no_further_than_needed() -> None:
    ledger = given(submit(quantity=1, into=("folder", "cloud")), *one_stored(1))
    assert not run_of(ledger).is_whole
    ledger.given(uploading(1, "cloud"), uploaded(1, "cloud"))
    assert run_of(ledger).is_whole


async def test_an_app_reads_the_same_recipe_in_every_way(door: Door) -> None:
    async with door.app("app") as app:
        asked = await app.submit("r1", quantity=2, images_per_prompt=2, inputs={"width": 64, "height": 64})
        (batch,) = await app.settled(asked["batch_id"])
        name, image = asked["public_ids"][1], batch["images"][1]
        with door.unchanged():
            found = await app.ask("get_recipe", image=name.upper(), graph=True)
            assert await app.ask("get_recipe", image=image["image_id"], graph=True) == found
            shown = await app.ask("get_image", image=name)
            story = (await app.ask("explain", what=name))["image"]
    url, headers = f"{door.url}/v1/images/{name}/recipe?graph=true", {"Authorization": f"Bearer {door.token}"}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        assert (answer.status, await answer.json()) == (http.HTTPStatus.OK, found)
    assert found["sha256"] == image["sha256"]
    assert found["inputs"] == {"width": 64, "height": 64}
    assert [one["index"] for one in found["images"]] == [1, 2]
    assert (found["left_out"], found.get("missing", [])) == ([], [])
    assert found["version"]
    for one in (shown, story):
        assert (one["workflow"], one["seed"], one["run"]) == (found["workflow"], found["seed"], [1, 2])


async def test_of_a_forgotten_image_neither_inputs_nor_graph_are_shown(door: Door) -> None:
    async with door.app("app") as app:
        asked = await app.submit("r1", quantity=2, images_per_prompt=2)
        await app.settled(asked["batch_id"])
        await app.ask("forget", batch_id=asked["batch_id"], images=[1])
        found = [await app.ask("get_recipe", image=name, graph=True) for name in asked["public_ids"]]
    assert "graph" not in found[0]
    assert (found[0]["inputs"], found[0]["defaults"]) == (None, {})
    assert [gap["code"] for gap in found[0]["missing"]] == ["forgotten", "forgotten"]
    assert found[1]["graph"], "the other image still has its recipe"


async def test_a_recipe_that_fills_several_pages_of_the_log_is_read_whole(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with door.app("app") as app:
        asked = await app.submit("r1", quantity=3)
        await app.settled(asked["batch_id"])
        found = [await app.ask("get_recipe", image=name) for name in asked["public_ids"]]
        monkeypatch.setattr(recipe, "PAGE_LINES", 1)
        assert [await app.ask("get_recipe", image=name) for name in asked["public_ids"]] == found
    assert all(one["stored_at_ms"] for one in found)


async def test_an_image_that_nobody_has_is_refused(door: Door) -> None:
    async with door.app() as app:
        with pytest.raises(Refusal) as refused:
            await app.ask("get_recipe", image="no/such_image_1")
    assert (refused.value.code, refused.value.data["path"]) == ("unknown_image", "$.data.image")


async def test_an_image_that_waits_has_a_recipe(
    open_door: Callable[..., AbstractAsyncContextManager[Door]], tmp_path: Path
) -> None:
    async with open_door(tmp_path) as door, door.app() as app:
        await app.ask("pause", scope="backend:main")
        asked = await app.submit("r1", quantity=1)
        found = await app.ask("get_recipe", image=asked["public_ids"][0], graph=True)
        assert [gap["code"] for gap in found["missing"]] == ["not_sent"]
        await app.ask("resume", scope="backend:main")
        await app.settled(asked["batch_id"])
        found = await app.ask("get_recipe", image=asked["public_ids"][0], graph=True)
    assert "missing" not in found


# ---- files

CAT, DOG = "ab" * 32, "cd" * 32
PICTURES = {"1": node("LoadImage", image=None), "9": node("SaveImage", images=["1", 0], filename_prefix="x")}
OF_PICTURES = {
    "output": "9",
    "prefix": "9.filename_prefix",
    "seeds": [],
    "batch_size": None,
    "inputs": {"p": "1.image"},
}


def loading(loads: tuple[LoadedFile, ...], *reports: Any, **more: Any) -> Made:
    ledger = given(submit(quantity=1), *reports)
    prompt = replace(ledger.prompt(1), loads=loads)
    run = Run(ledger.image(), prompt)
    for entry in ledger.log:
        event = entry.event
        if isinstance(event, BatchRequested):
            event = replace(event, prompts=tuple(replace(one, loads=loads) for one in event.prompts))
        run.take(event, entry.at_ms)
    found = Made(replace(ledger.batch(), plan=OF_PICTURES), prompt, ledger.image(), [ledger.image()], PICTURES, {}, run)
    return found._replace(**more)


INPUT = LoadedFile("1.image", None, CAT, "png", 7)
SOURCE = LoadedFile("1.image", ImageAt("b0", 2))


def test_the_graph_has_the_name_that_the_file_had_at_comfyui() -> None:
    found = recipe_of(loading((INPUT,), SENT, accepted(1)), with_graph=True)
    name = f"comfyledger/ab/{CAT}.png"
    assert found.files == [wire.RecipeFile("p", "1.image", "", CAT, "png", 7, name)]
    assert found.graph is not None
    assert found.graph["1"]["inputs"] == {"image": name}
    assert (found.inputs, found.defaults) == ({}, {})


def test_a_source_that_was_not_used_yet_has_no_bytes() -> None:
    found = recipe_of(loading((SOURCE,)), with_graph=True)
    assert found.files == [wire.RecipeFile("p", "1.image", "b0/2")]
    assert found.graph is None


def test_an_attempt_has_the_bytes_that_it_loaded() -> None:
    """A retry may find other bytes of the same image."""
    first, later = (replace(SOURCE, sha256=sha256, extension="png", size_bytes=7) for sha256 in (CAT, DOG))
    found = loading((SOURCE,))
    sent = PromptSubmitting("b1", 1, 0, "id", "main")
    for event in (SourcesFixed("b1", 1, (first,)), sent, SourcesFixed("b1", 1, (later,))):
        found.run.take(event, 1)
    assert found.loads == (first,)
    assert [file.sha256 for file in recipe_of(found, with_graph=True).files] == [CAT]


def test_files_of_a_forgotten_image_are_absent_and_said() -> None:
    found = loading((INPUT,), SENT, accepted(1), gone=frozenset({"forgotten"}))
    found = found._replace(image=replace(found.image, state="forgotten"), template=None, inputs=None)
    told = recipe_of(found, with_graph=True)
    assert (told.files, told.graph) == ([], None)
    assert ("files", "forgotten") in gaps(found)


async def test_the_recipe_of_an_image_says_which_files_are_gone(door: Door) -> None:
    graph = {**PICTURES, "1": node("LoadImage", image={"input": f"sha256:{CAT}"})}
    command = AddInput("app", CAT, 7, "png", 4, 4, "whole")
    async with door.app("app") as app:
        await app.ask("pause", scope="everything")
        await door.context.engine.command(command)
        batch = await app.submit("r1", quantity=1, workflow=graph, inputs={})
        name = batch["public_ids"][0]
        found = await app.ask("get_recipe", image=name)
        assert [file["sha256"] for file in found["files"]] == [CAT]
        assert [gap["what"] for gap in found["missing"]] == ["attempt"]
        await door.context.engine.command(ForgetInput("app", CAT))
        found = await app.ask("get_recipe", image=name)
    assert ("files", "forgotten") in [(gap["what"], gap["code"]) for gap in found["missing"]]
