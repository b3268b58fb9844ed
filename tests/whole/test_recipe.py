"""A recipe is exact: whoever posts its graph to ComfyUI by hand gets the bytes that are stored."""

from __future__ import annotations

import json
import shutil
import urllib.request
from typing import Any

from support.command_line import said
from support.graphs import node
from support.loaded_pictures import INPUT, RED, add
from support.processes import House
from support.waiting import DEADLINE_S, until

GRAPH: dict[str, Any] = {
    "1": node("NoiseImage", width=64, height=64, seed=1, batch_size=1),
    "7": node("NoteOfMine", text="no output needs it, and ComfyUI lacks its class"),
    "9": node("SaveImage", images=["1", 0], filename_prefix="x"),
}
WITH_METADATA = "[spool]\nstrip_metadata = false\n"
"""The graph is in the bytes then, so that equal bytes mean equal graphs."""


async def made_by_hand(house: House, graph: dict[str, Any]) -> list[bytes]:
    """The files that a graph makes."""
    body = json.dumps({"prompt": graph}).encode()
    asked = urllib.request.Request(f"{house.comfyui.url}/prompt", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=DEADLINE_S) as answer:
        prompt_id = json.load(answer)["prompt_id"]
    history = await until(lambda: house.comfyui.history(prompt_id), "it is rendered")
    files = history[prompt_id]["outputs"]["9"]["images"]
    return [(house.comfyui.output / file["subfolder"] / file["filename"]).read_bytes() for file in files]


async def test_the_graph_of_a_recipe_posted_by_hand_gives_the_stored_bytes(house: House) -> None:
    await house.begin(WITH_METADATA)
    async with house.app() as app:
        asked = await app.submit(
            "r1", quantity=4, images_per_prompt=2, workflow=GRAPH, inputs={"1.width": 80, "1.height": 72}
        )
        (batch,) = await app.settled(asked["batch_id"])
    assert batch["stored"] == 4
    stored = {name: path.read_bytes() for name, path in house.stored().items()}
    assert len(set(stored.values())) == 4
    shutil.rmtree(house.comfyui.output / "comfyledger")  # the stand-in draws the name of each file, with its counter
    await house.comfyui.restart()  # it has nothing left that it could take from its cache
    for first in (0, 2):
        graph = json.loads(await said(house, "recipe", asked["names"][first], "--graph"))
        assert sorted(graph) == ["1", "9"]
        assert await made_by_hand(house, graph) == [stored[name] for name in asked["public_ids"][first : first + 2]]


async def test_a_secret_is_masked_and_the_rest_is_ready_for_comfyui(house: House) -> None:
    secret = "sk-named-in-the-environment-5555"
    keyed = {**GRAPH, "9": node("SaveImage", images=["1", 0], filename_prefix="x", api_key="")}
    (house.folder / "keyed.json").write_text(json.dumps(keyed))
    section = '[workflows.keyed]\nfile = "keyed.json"\nsecrets = { "9.api_key" = "env:NAMED" }\n'
    house.daemon.environment |= {"NAMED": secret}
    await house.begin(f'default_workflow = "keyed"\n{section}')
    async with house.app() as app:
        asked = await app.submit("r1", quantity=1, workflow="keyed", inputs={})
        (batch,) = await app.settled(asked["batch_id"])
    assert batch["stored"] == 1
    words = await said(house, "recipe", f"{asked['batch_id']}/1", "--graph")
    assert secret not in words
    assert "Secrets are masked as ***: 9.api_key." in words
    graph, _ = json.JSONDecoder().raw_decode(words[words.index("{") :])
    assert graph["9"]["inputs"]["api_key"] == "***"
    async with house.app() as app:
        again = await app.ask("submit_batch", request_id="r2", like=f"{asked['batch_id']}/1")
        (batch,) = await app.settled(again["batch_id"])
    assert batch["stored"] == 1, "the secret is filled in as for the first one"
    assert len(await made_by_hand(house, graph)) == 1


async def test_the_run_of_an_image_is_made_again_from_the_same_graph(house: House) -> None:
    await house.begin()
    async with house.app() as app:
        asked = await app.submit("r1", quantity=4, images_per_prompt=2, workflow=GRAPH, inputs={"1.width": 80})
        await app.settled(asked["batch_id"])
        words = await said(house, "submit", "--like", asked["public_ids"][3], "--request-id", "r2", "--json")
        again, _ = json.JSONDecoder().raw_decode(words[words.index("{") :])
        (batch,) = await app.settled(again["batch_id"])
        before, after = [
            (await app.ask("get_recipe", image=name, graph=True))["graph"]
            for name in (asked["public_ids"][3], again["public_ids"][0])
        ]
    assert (batch["stored"], again["numbers"]) == (2, [5, 6])
    prefixes = {graph["9"]["inputs"].pop("filename_prefix") for graph in (before, after)}
    assert (before, len(prefixes)) == (after, 2)
    story = await said(house, "explain", again["public_ids"][0])
    assert f"Made like {asked['batch_id']}/4." in story


async def test_a_graph_that_loads_an_input_and_an_image_is_exact_too(house: House) -> None:
    await house.begin(WITH_METADATA)
    await add(house, RED)
    pictures = {"images.image0": ["1", 0], "images.image1": ["2", 0]}
    graph = {
        "1": node("LoadImage", image="example.png"),
        "2": node("LoadImage", image=INPUT),
        "3": node("BatchImagesNode", **pictures),
        "9": node("SaveImage", images=["3", 0], filename_prefix="x"),
    }
    async with house.app("app") as app:
        first = await app.submit("r1", quantity=1)
        source = {"1.image": {"image": first["names"][0]}}
        made = await app.submit("r2", quantity=2, images_per_prompt=2, workflow=graph, inputs=source)
        batches = await app.settled(first["batch_id"], made["batch_id"])
        assert [batch["stored"] for batch in batches] == [1, 2]
        stored = {name: path.read_bytes() for name, path in house.stored().items()}
        shutil.rmtree(house.comfyui.output / "comfyledger")
        await house.comfyui.restart()
        by_hand = json.loads((await said(house, "recipe", made["names"][0], "--graph")).partition("\nComfyUI must")[0])
        assert await made_by_hand(house, by_hand) == [stored[name] for name in made["public_ids"]]
        again = await app.ask("submit_batch", request_id="r3", like=f"{made['batch_id']}/1")
        (batch,) = await app.settled(again["batch_id"])
        recipes = [await app.ask("get_recipe", image=f"{one['batch_id']}/1") for one in (made, again)]
    assert batch["stored"] == 2
    assert recipes[0]["files"] == recipes[1]["files"]
    assert [file.get("image", "") for file in recipes[0]["files"]] == [f"{first['batch_id']}/1", ""]
