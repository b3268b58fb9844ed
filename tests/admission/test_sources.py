"""Images as sources: how a request names one, which ones it may name, and what is recorded of them."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from comfyledger.admission.files.images import source
from comfyledger.core.commands import AddInput, ForgetInput
from comfyledger.core.rows import ImageRow, ImageState
from comfyledger.core.values import ImageAt, LoadedFile
from comfyledger.errors import Refused
from support.graphs import node
from support.wire_app import Refusal

CAT = "ab" * 32
GRAPH = {
    "1": node("LoadImage", image="a.png"),
    "2": node("LoadVideo", file="a.mp4"),
    "9": node("SaveImage", images=["1", 0], filename_prefix="x"),
}


async def from_image(app: Any, request_id: str, image: Any, at: str = "1.image", **more: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"workflow": GRAPH, "quantity": 1, "inputs": {at: {"image": image}}, **more}
    return dict(await app.submit(request_id, **asked))


async def refusal(app: Any, image: Any, **more: Any) -> dict[str, Any]:
    with pytest.raises(Refusal) as caught:
        await from_image(app, "wrong", image, **more)
    return dict(caught.value.data)


async def loads(door: Any, batch: dict[str, Any]) -> tuple[LoadedFile, ...]:
    prompt = await door.context.reader.prompt(batch["batch_id"], 1)
    return tuple(prompt.loads)


async def add(door: Any) -> None:
    await door.context.engine.command(AddInput("app", CAT, 7, "png", 4, 4, "whole"))


async def paused(app: Any) -> None:
    """So that nothing is made meanwhile."""
    await app.ask("pause", scope="everything")


async def test_a_source_is_recorded_by_its_batch_and_index_however_it_is_named(door: Any) -> None:
    async with door.app("app") as app:
        await paused(app)
        first = await app.submit("r0", quantity=2)
        batch_id, image = first["batch_id"], first["images"][1]
        number = {"username": "areg", "character": "Opal Fever", "number": 2}
        names: list[Any] = [
            image["public_id"],
            image["public_id"].upper(),
            image["name"],
            f"{image['name']}.png",
            f"{batch_id}/2",
            number,
            {**number, "premade": False, "medium": "image"},
            {"request_id": "r0", "index": 2},
        ]
        for place, name in enumerate(names):
            batch = await from_image(app, f"r{place + 1}", name)
            assert await loads(door, batch) == (LoadedFile("1.image", ImageAt(batch_id, 2)),), name


async def test_the_depth_counts_the_images_in_a_row_and_has_a_limit(open_door: Any, tmp_path: Any) -> None:
    async with open_door(tmp_path, "[limits]\nchain_depth_max = 2\n") as door, door.app("app") as app:
        await paused(app)
        first = await app.submit("r0", quantity=1)
        second = await from_image(app, "r1", first["public_ids"][0])
        third = await from_image(app, "r2", second["public_ids"][0])
        found = [await door.context.reader.prompt(one["batch_id"], 1) for one in (first, second, third)]
        assert [prompt.depth for prompt in found] == [0, 1, 2]
        refused = await refusal(app, third["public_ids"][0])
    assert (refused["code"], refused["path"]) == ("chain_too_deep", "$.data.inputs.1.image")
    assert "chain_depth_max" in refused["hint"]


async def test_a_number_that_both_collections_have_needs_premade(door: Any) -> None:
    async with door.app("app") as app:
        await paused(app)
        own = await app.submit("r0", quantity=1)
        asked = {"username": "Areg", "character": "Opal Fever", "number": 1}
        await app.submit("r1", quantity=1, premade=True)
        refused = await refusal(app, asked)
        assert (refused["code"], refused["hint"]) == ("unknown_image", "Say which one with `premade`.")
        batch = await from_image(app, "r2", {**asked, "premade": False})
        assert await loads(door, batch) == (LoadedFile("1.image", ImageAt(own["batch_id"], 1)),)


@pytest.mark.parametrize(
    "image",
    [
        "no-such",
        "Areg_opal-fever_image_9",
        {"username": "Areg", "character": "Opal Fever", "number": 9},
        {"request_id": "r0", "index": 2},
        {"request_id": "no-such", "index": 1},
    ],
)
async def test_an_image_that_does_not_exist_is_refused(door: Any, image: Any) -> None:
    async with door.app("app") as app:
        await paused(app)
        await app.submit("r0", quantity=1)
        refused = await refusal(app, image)
    assert (refused["code"], refused["path"]) == ("unknown_image", "$.data.inputs.1.image")
    assert refused["hint"]


async def test_request_ids_are_those_of_the_same_client(door: Any) -> None:
    async with door.app("app") as app, door.app("other") as other:
        await paused(app)
        await app.submit("r0", quantity=1)
        assert (await refusal(other, {"request_id": "r0", "index": 1}))["code"] == "unknown_image"


async def test_nothing_is_made_from_a_cancelled_or_forgotten_image(door: Any) -> None:
    async with door.app("app") as app:
        await paused(app)
        first = await app.submit("r0", quantity=1)
        await app.ask("cancel", batch_id=first["batch_id"])
        refused = await refusal(app, first["public_ids"][0])
        assert refused["code"] == "input_failed"
        assert "was cancelled" in refused["message"]
        await app.ask("forget", batch_id=first["batch_id"])
        assert "was forgotten" in (await refusal(app, first["public_ids"][0]))["message"]


class OneImage:
    """A reader of one image that is made from nothing."""

    async def prompt(self, batch_id: str, prompt: int) -> None:
        return None


@pytest.mark.parametrize("state", get_args(ImageState))
async def test_an_image_in_each_state_is_a_source_or_says_why_not(state: ImageState) -> None:
    image = ImageRow("b0", 2, 17, "f", "n_17", 1, "areg", state)
    reader: Any = OneImage()
    if state in {"pending", "kept", "stored", "parked"}:
        found = await source(reader, image, 16)
        assert (found.source, found.depth, found.refusal) == (ImageAt("b0", 2), 1, None)
        return
    with pytest.raises(Refused) as caught:
        await source(reader, image, 16)
    assert caught.value.code == "input_failed"
    assert ("comfyledger retry b0" in caught.value.hint) == (state == "failed")


async def test_the_medium_that_a_source_will_have_is_compared(door: Any) -> None:
    async with door.app("app") as app:
        await paused(app)
        first = await app.submit("r0", quantity=1)
        refused = await refusal(app, first["public_ids"][0], at="2.file")
    assert refused["code"] == "input_not_taken"
    assert "takes video files" in refused["message"]


async def test_a_graph_may_name_a_source_too(door: Any) -> None:
    async with door.app("app") as app:
        await paused(app)
        first = await app.submit("r0", quantity=1)
        graph = {**GRAPH, "1": node("LoadImage", image={"image": f"{first['batch_id']}/1"})}
        batch = await app.submit("r1", quantity=1, workflow=graph, inputs={})
        assert await loads(door, batch) == (LoadedFile("1.image", ImageAt(first["batch_id"], 1)),)
        graph["1"] = node("LoadImage", image={"image": "no-such"})
        with pytest.raises(Refusal) as caught:
            await app.submit("r2", quantity=1, workflow=graph, inputs={})
    assert (caught.value.data["code"], caught.value.data["path"]) == ("unknown_image", "$.data.workflow.1.image")


async def test_the_same_request_gets_the_same_answer_after_its_source_was_forgotten(door: Any) -> None:
    async with door.app("app") as app:
        await paused(app)
        first = await app.submit("r0", quantity=1)
        second = await from_image(app, "r1", first["public_ids"][0])
        await app.ask("cancel", batch_id=first["batch_id"])
        await app.ask("forget", batch_id=first["batch_id"])
        again = await from_image(app, "r1", first["public_ids"][0])
    assert (again["batch_id"], again["repeated"]) == (second["batch_id"], True)


async def test_a_recipe_that_is_used_again_loads_the_same(door: Any) -> None:
    async with door.app("app") as app:
        await paused(app)
        first = await app.submit("r0", quantity=2)
        await add(door)
        at_both = {"1.image": {"image": f"{first['batch_id']}/1"}, "3.image": {"input": f"sha256:{CAT}"}}
        graph = {**GRAPH, "3": node("LoadImage", image="a.png")}
        made = await app.submit("r1", quantity=1, workflow=graph, inputs=at_both)
        again = await app.ask("submit_batch", request_id="r2", like=f"{made['batch_id']}/1")
        assert await loads(door, again) == await loads(door, made) != ()
        other = {"1.image": {"image": f"{first['batch_id']}/2"}, "3.image": "b.png"}
        changed = await app.ask("submit_batch", request_id="r3", like=f"{made['batch_id']}/1", inputs=other)
        assert await loads(door, changed) == (LoadedFile("1.image", ImageAt(first["batch_id"], 2)),)


async def test_what_a_recipe_cannot_load_any_more_is_refused_unless_it_is_replaced(door: Any) -> None:
    async with door.app("app") as app:
        await paused(app)
        await add(door)
        graph = {**GRAPH, "1": node("LoadImage", image={"input": f"sha256:{CAT}"})}
        made = await app.submit("r1", quantity=1, workflow=graph, inputs={})
        await door.context.engine.command(ForgetInput("app", CAT))
        like = f"{made['batch_id']}/1"
        with pytest.raises(Refusal) as caught:
            await app.ask("submit_batch", request_id="r2", like=like)
        assert (caught.value.data["code"], caught.value.data["path"]) == ("input_missing", "$.data.like")
        again = await app.ask("submit_batch", request_id="r3", like=like, inputs={"1.image": "people/b.png"})
        assert await loads(door, again) == ()


async def test_an_explanation_shows_what_an_image_loads_and_what_loads_it(door: Any) -> None:
    async with door.app("app") as app:
        await paused(app)
        await add(door)
        first = await app.submit("r0", quantity=2)
        graph = {**GRAPH, "3": node("LoadImage", image={"input": f"sha256:{CAT}"})}
        second = await from_image(app, "r1", f"{first['batch_id']}/1", workflow=graph)
        third = await from_image(app, "r2", f"{second['batch_id']}/1")
        story = await app.ask("explain", what=f"{second['batch_id']}/1")
        assert [(one["input"], one.get("image"), one.get("sha256")) for one in story["loads"]] == [
            ("1.image", f"{first['batch_id']}/1", None),
            ("3.image", None, CAT),
        ]
        assert story["loaded_by"] == [third["batch_id"]]
        whole = await app.ask("explain", what=first["batch_id"])
        assert ("loads" in whole, whole["loaded_by"]) == (False, [second["batch_id"]])
        await app.ask("cancel", batch_id=third["batch_id"])
        await app.ask("forget", batch_id=third["batch_id"])
        for what in (third["batch_id"], f"{third['batch_id']}/1"):
            assert "loads" not in await app.ask("explain", what=what)
