"""Workflows as people have them, from the request to the graph that ComfyUI has run, which its pictures hold."""

from __future__ import annotations

import json
import urllib.request
import uuid
from typing import Any, NamedTuple

from PIL import Image

from support import ui_documents as ui
from support.checked_graphs import changed
from support.graphs import node
from support.page_documents import BYPASSED, MUTED, document
from support.processes import House
from support.waiting import DEADLINE_S
from support.wire_app import App

Graph = dict[str, Any]
SMALL_SEED_MAX = 65_535
MADE_UP_MAX = 2**31 - 1


class Ran(NamedTuple):
    """What the stand-in has run for a batch."""

    graphs: list[Graph]

    def values(self, address: str) -> list[Any]:
        """What stood at an address in each graph."""
        node_id, _, name = address.partition(".")
        return [graph[node_id]["inputs"][name] for graph in self.graphs]


async def run(house: House, app: App, workflow: Any, quantity: int = 1, **more: Any) -> Ran:
    """Submit a workflow and wait until it is stored."""
    request_id = uuid.uuid4().hex
    asked = await app.submit(request_id, workflow=workflow, quantity=quantity, inputs={}, **more)
    (batch,) = await app.settled(asked["batch_id"])
    assert batch["stored"] == quantity, batch["images"]
    folder = house.comfyui.output / "comfyledger" / asked["batch_id"].lower()
    paths = sorted(folder.iterdir(), key=lambda path: int(path.name.partition("-")[0]))
    return Ran([_graph_in(path) for path in paths])


def _graph_in(path: Any) -> Graph:
    with Image.open(path) as image:
        return json.loads(image.info["prompt"])  # type: ignore[no-any-return]


def noise(**inputs: Any) -> Graph:
    """The smallest graph of a node whose seed ends at 65535."""
    made = node("NoiseImage", width=8, height=8, batch_size=1)
    made["inputs"] |= {"seed": 1, **inputs}
    return {"1": made, "9": node("SaveImage", images=["1", 0], filename_prefix="x")}


async def test_the_forms_that_people_have_run_as_they_mean_them(house: House) -> None:
    await house.begin(depth=8)
    with urllib.request.urlopen(f"{house.comfyui.url}/object_info", timeout=DEADLINE_S) as answer:
        info = json.load(answer)
    async with house.app() as app:
        await a_small_range(house, app)
        await a_placeholder(house, app)
        await behind_three_switches(house, app)
        await muted_and_bypassed(house, app, info)
        await nested_subgraphs(house, app)


async def a_small_range(house: House, app: App) -> None:
    seeds = (await run(house, app, noise(), quantity=8)).values("1.seed")
    assert all(0 <= seed <= SMALL_SEED_MAX for seed in seeds)
    assert len(set(seeds)) > 1, "every image has the seed of the file"


async def a_placeholder(house: House, app: App) -> None:
    for text in ("%seed%", "PARAM_INT_SEED"):
        ran = await run(house, app, changed({"3.seed": text}), quantity=2)
        seeds = ran.values("3.seed")
        assert all(0 <= seed <= MADE_UP_MAX for seed in seeds)
        assert len(set(seeds)) == 2


async def behind_three_switches(house: House, app: App) -> None:
    def switch(source: str) -> Graph:
        return node("ComfySwitchNode", switch=True, on_false=[source, 0], on_true=[source, 0])

    switches = {"_22": switch("21"), "_23": switch("22"), "_24": switch("23")}
    graph = changed({"3.seed": ["24", 0]}, _21=node("PrimitiveInt", value=7), **switches)
    ran = await run(house, app, graph, quantity=2)
    assert ran.values("3.seed") == [["24", 0]] * 2
    assert len({7, *ran.values("21.value")}) == 3, "the number of the file is a seed"


async def muted_and_bypassed(house: House, app: App, info: Graph) -> None:
    graph = changed({}, _25=node("PreviewImage", images=["8", 0]))
    ran = await run(house, app, document(graph, info, {"10": BYPASSED, "25": MUTED}), output="9")
    (rendered,) = ran.graphs
    assert not {"10", "25"} & rendered.keys()
    assert ran.values("3.model") == [["4", 0]]
    assert ran.values("6.clip") == [["4", 1]]


async def nested_subgraphs(house: House, app: App) -> None:
    """Node 41 in a subgraph, whose node 31 is in another, whose node 30 is in the workflow."""

    def made(node_id: int, kind: str, out: int, **more: Any) -> Graph:
        return ui.node(node_id, kind, outputs=[{"name": "out", "type": "IMAGE", "links": [out]}], **more)

    blur = made(41, "ImageBlur", 2, values=[3, 2.0], links={"image": 1})
    ports: Graph = {"inputs": [("image", "IMAGE", [1])], "outputs": [("out", "IMAGE", [2])]}

    def through(node_id: int) -> list[Any]:
        return [[1, -10, 0, node_id, 0, "IMAGE"], [2, node_id, 0, -20, 0, "IMAGE"]]

    inner = ui.subgraph("inner", blur, links=through(41), **ports)
    outer = ui.subgraph("outer", made(31, "inner", 2, links={"image": 1}), links=through(31), **ports)
    workflow = ui.document(
        made(1, "NoiseImage", 1, values=[8, 8, 1, "randomize", 1]),
        made(30, "outer", 2, links={"image": 1}),
        ui.node(9, "SaveImage", ["x"], links={"images": 2}),
        links=[[1, 1, 0, 30, 0, "IMAGE"], [2, 30, 0, 9, 0, "IMAGE"]],
        definitions={"subgraphs": [outer, inner]},
    )
    (rendered,) = (await run(house, app, workflow)).graphs
    assert rendered["30:31:41"]["inputs"] == {"image": ["1", 0], "blur_radius": 3, "sigma": 2.0}
    assert rendered["9"]["inputs"]["images"] == ["30:31:41", 0]
