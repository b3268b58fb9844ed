"""Input files that the operator gives to a character or to a configured workflow."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from comfyledger import settings, wire
from comfyledger.admission import dispatch
from comfyledger.admission.characters.known import read_characters
from comfyledger.admission.configured import read_workflows
from comfyledger.admission.workflows.fitting import unfit
from comfyledger.core.commands import AddInput, ForgetInput
from comfyledger.errors import Refused
from comfyledger.settings import Invalid
from support.door import Door, opened
from support.waiting import until
from support.wire_app import Refusal

CAT = "ab" * 32
WITH_PICTURE = f"""
[workflows.empty-image]
file = "sample:empty-image"

[workflows.reference]
file = "reference.json"
inputs = {{ picture = "1.image" }}

[characters.fern]
workflow = "reference"
inputs = {{ picture = {{ input = "sha256:{CAT}" }} }}
"""
REFERENCE = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}


@pytest_asyncio.fixture
async def pictured(tmp_path: Path) -> AsyncIterator[Door]:
    (tmp_path / "reference.json").write_text(json.dumps(REFERENCE))
    async with opened(tmp_path, WITH_PICTURE) as door:
        await until(lambda: door.context.node_classes["main"].known is not None, "ComfyUI has answered")
        yield door


async def add_picture(door: Door) -> None:
    await door.context.engine.command(AddInput("operator", CAT, 7, "png", 4, 4, "whole"))


async def test_a_reference_picture_is_loaded_unless_the_request_gives_another(pictured: Door) -> None:
    asked = {"character": "Fern", "character_defaults": True, "quantity": 1}
    await add_picture(pictured)
    async with pictured.app("app") as app:
        await app.ask("pause", scope="everything")
        first = await app.submit("r1", **asked, inputs={})
        other = await app.submit("r2", **asked, inputs={"picture": "people/b.png"})
        found = [await pictured.context.reader.prompt(one["batch_id"], 1) for one in (first, other)]
    assert [[load.sha256 for load in prompt.loads] for prompt in found if prompt is not None] == [[CAT], []]


async def test_a_token_that_may_not_name_the_reference_picture_gets_it_through_the_character(pictured: Door) -> None:
    await add_picture(pictured)
    limited = pictured.context.limited_to("app")
    asked = {"username": "Areg", "character": "Fern", "character_defaults": True, "quantity": 1, "dry_run": True}
    message = wire.SubmitBatch("r1", **asked)  # type: ignore[arg-type]
    assert (await dispatch.answer(limited, "app", message, b"{}")).dry_run  # type: ignore[attr-defined]
    named = msgspec.structs.replace(message, inputs={"picture": wire.FileAsked(input=f"sha256:{CAT}")})
    with pytest.raises(Refused) as caught:
        await dispatch.answer(limited, "app", named, b"{}")
    assert caught.value.code == "input_missing"


async def test_what_a_token_made_with_the_reference_picture_it_can_make_again(pictured: Door) -> None:
    await add_picture(pictured)
    limited = pictured.context.limited_to("app")
    async with pictured.app("app") as app:
        await app.ask("pause", scope="everything")
        made = await app.submit("r1", character="Fern", character_defaults=True, quantity=1, inputs={})
    message = wire.SubmitBatch("r2", like=f"{made['batch_id']}/1", dry_run=True)
    assert (await dispatch.answer(limited, "app", message, b"{}")).dry_run  # type: ignore[attr-defined]


async def test_what_a_token_has_forgotten_another_ones_copy_does_not_bring_back(pictured: Door) -> None:
    own, graph = "cd" * 32, {**REFERENCE, "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}}
    for label in ("app", "other"):
        await pictured.context.engine.command(AddInput(label, own, 7, "png", 4, 4, "whole"))
    limited = pictured.context.limited_to("app")
    async with pictured.app("app") as app:
        await app.ask("pause", scope="everything")
        asked = {"workflow": graph, "quantity": 1, "inputs": {"1.image": {"input": f"sha256:{own}"}}}
        made = await app.submit("r1", **asked)
    message = wire.SubmitBatch("r2", like=f"{made['batch_id']}/1", dry_run=True)
    assert (await dispatch.answer(limited, "app", message, b"{}")).dry_run  # type: ignore[attr-defined]
    await pictured.context.engine.command(ForgetInput("app", own, ("app",)))
    with pytest.raises(Refused) as caught:
        await dispatch.answer(limited, "app", message, b"{}")
    assert (caught.value.code, caught.value.path) == ("input_missing", "$.data.like")


async def test_a_reference_picture_that_is_not_there_is_listed_and_refused(pictured: Door) -> None:
    async with pictured.app("app") as app:
        (listed,) = (await app.ask("list_characters"))["characters"]
        assert listed["own"]["inputs"] == {"picture": {"input": f"sha256:{CAT}"}}
        assert [text[:14] for text in listed["missing"]["main"]] == ["There is no in"]
        with pytest.raises(Refusal) as caught:
            await app.submit("r1", character="Fern", character_defaults=True, quantity=1, inputs={})
    assert (caught.value.data["code"], caught.value.data["path"]) == ("input_missing", "$.data.character")


def read_all(folder: Path) -> None:
    read = settings.load(folder / "config.toml", folder)
    read_characters(read, read_workflows(read), "reference")


@pytest.mark.parametrize(
    "wrong", ['"picture" = { input = "cat.png" }', '"picture" = { image = "x" }', '"9.images" = { input = "%s" }']
)
def test_a_wrong_reference_picture_is_a_mistake_of_the_configuration(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "reference.json").write_text(json.dumps(REFERENCE))
    text = WITH_PICTURE.partition("inputs = { picture = { ")[0] + f"inputs = {{ {wrong} }}\n"
    (tmp_path / "config.toml").write_text(text.replace("%s", f"sha256:{CAT}"))
    with pytest.raises(Invalid):
        read_all(tmp_path)


@pytest.mark.parametrize("file", [{"input": "https://images.example/a.png"}, {"image": "Areg_opal-fever_image_1"}])
def test_a_configured_workflow_names_its_files_by_their_bytes(tmp_path: Path, file: dict[str, str]) -> None:
    graph = {**REFERENCE, "1": {"class_type": "LoadImage", "inputs": {"image": file}}}
    (tmp_path / "reference.json").write_text(json.dumps(graph))
    (tmp_path / "config.toml").write_text(WITH_PICTURE.partition("[characters")[0])
    with pytest.raises(Refused) as caught:
        read_workflows(settings.load(tmp_path / "config.toml", tmp_path))
    assert (caught.value.code, caught.value.path) == ("config_invalid", "1.image")


async def test_a_configured_workflow_may_have_an_input_file(tmp_path: Path) -> None:
    graph = {**REFERENCE, "1": {"class_type": "LoadImage", "inputs": {"image": {"input": f"sha256:{CAT}"}}}}
    (tmp_path / "reference.json").write_text(json.dumps(graph))
    async with opened(tmp_path, WITH_PICTURE.partition("[characters")[0]) as door, door.app("app") as app:
        await until(lambda: door.context.node_classes["main"].known is not None, "ComfyUI has answered")
        assert await unfit(door.context) == {}
        await app.ask("pause", scope="everything")
        with pytest.raises(Refusal) as caught:
            await app.submit("r1", quantity=1, workflow="reference", inputs={})
        assert (caught.value.data["code"], caught.value.data["path"]) == ("input_missing", "$.data.workflow.1.image")
        await add_picture(door)
        batch = await app.submit("r2", quantity=1, workflow="reference", inputs={})
        prompt = await door.context.reader.prompt(batch["batch_id"], 1)
    assert prompt is not None
    assert [load.sha256 for load in prompt.loads] == [CAT]
