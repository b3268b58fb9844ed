"""The main job with real processes: requests in over the websocket, numbered files out."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

from PIL import Image

from support.processes import House, chunk_kinds
from support.waiting import until
from support.wire_app import check_gap_free, coloured, of_kind


async def test_three_batches_at_once_become_eight_files_under_their_own_numbers(house: House) -> None:
    await house.begin()
    async with house.app() as app:
        first, second, other = await asyncio.gather(
            app.submit("r1", premade=True),
            app.submit("r2", premade=True),
            app.submit("r3", "CreatorName", quantity=2),
        )
        assert sorted(first["numbers"] + second["numbers"]) == [1, 2, 3, 4, 5, 6]
        assert other["numbers"] == [1, 2]
        batches = await app.settled(first["batch_id"], second["batch_id"], other["batch_id"])
        log = await app.log()
    areg = "Areg/premade_characters/opal-fever/images/Areg_opal-fever_image_"
    creator = "CreatorName/characters/opal-fever/images/CreatorName_opal-fever_image_"
    assert set(house.stored()) == {f"{areg}{n}" for n in range(1, 7)} | {f"{creator}{n}" for n in (1, 2)}
    house.check_stored(*batches)
    check_gap_free(log)
    assert len(of_kind(log, "image_uploaded")) == 8


async def test_what_is_stored_does_not_carry_the_graph(house: House) -> None:
    await house.begin()
    async with house.app() as app:
        asked = await app.submit("r1", quantity=1)
        await app.settled(asked["batch_id"])
    (stored,) = house.stored().values()
    (rendered,) = (house.comfyui.output / "comfyledger").rglob("*.png")
    assert b"tEXt" in chunk_kinds(rendered)
    assert chunk_kinds(stored) == {b"IHDR", b"IDAT", b"IEND"}


async def test_our_entries_leave_the_history(house: House) -> None:
    await house.begin()
    async with house.app() as app:
        asked = await app.submit("r1", images=coloured(6))
        await app.settled(asked["batch_id"])
    posted = house.comfyui.posted()
    assert len(posted) == 6
    await until(lambda: not any(map(house.comfyui.history, posted)), "the history is empty again")


async def test_a_prompt_of_four_gives_its_pictures_to_four_numbers_in_order(house: House) -> None:
    await house.begin()
    async with house.app() as app:
        asked = await app.submit("r1", quantity=6, images_per_prompt=4)
        (batch,) = await app.settled(asked["batch_id"])
    rendered = house.rendered(asked["batch_id"])
    first = [f"1-a1_{count:05}_.png" for count in (1, 2, 3, 4)]
    assert sorted(rendered) == [*first, "5-a1_00001_.png", "5-a1_00002_.png"]
    files = house.stored()
    assert [house.drawn(files[image["public_id"]]) for image in batch["images"]] == [
        rendered[name] for name in sorted(rendered)
    ]


async def test_each_image_has_its_own_inputs_and_seed(house: House) -> None:
    await house.begin()
    async with house.app() as app:
        images: list[dict[str, Any]] = [
            {"inputs": {"prompt": "in the rain"}, "seed": 7},
            {"seed": 2**53 - 1},
            {"inputs": {"prompt": "in the sun"}},
        ]
        shared = {"prompt": "at home", "width": 64, "height": 64, "steps": 1}
        asked = await app.submit("r1", workflow="text-to-image", images=images, inputs=shared, seed=100)
        (batch,) = await app.settled(asked["batch_id"])
        (requested,) = of_kind(await app.log(), "batch_requested")
    house.check_stored(batch)
    graphs = [_graph_in(path) for path in sorted((house.comfyui.output / "comfyledger").rglob("*.png"))]
    assert [graph["6"]["inputs"]["text"] for graph in graphs] == ["in the rain", "at home", "in the sun"]
    seeds = [graph["3"]["inputs"]["seed"] for graph in graphs]
    assert seeds[:2] == [7, 2**53 - 1]
    assert seeds == [prompt["seed"] for prompt in requested["data"]["prompts"]]


def _graph_in(path: Path) -> dict[str, Any]:
    """The graph that ComfyUI wrote into its own file."""
    with Image.open(path) as image:
        return dict(json.loads(image.info["prompt"]))


async def test_exactly_queue_depth_prompts_are_in_comfyui_while_work_waits(house: House) -> None:
    """The stand-in holds each prompt until the queue is full again, so that a busy machine changes nothing."""
    await house.begin()
    house.comfyui.control(hold=["start"])

    def is_full(ended: int) -> bool:
        return len(_posts(house)) == min(12, ended + 3) and house.comfyui.control()["held_at"] == "start"

    async with house.app() as app:
        asked = await app.submit("r1", images=coloured(12))
        for ended in range(12):
            await until(partial(is_full, ended), f"ComfyUI has work after {ended} prompts")
            house.comfyui.control(step=1)
        await app.settled(asked["batch_id"])
    ends = [(one["order"], -1) for one in house.comfyui.ledger()["prompts"]]
    depths = accumulate(change for _, change in sorted(_posts(house) + ends))
    assert max(depths) == 3


def _posts(house: House) -> list[tuple[int, int]]:
    requests = house.comfyui.ledger()["requests"]
    return [(one["order"], 1) for one in requests if (one["method"], one["path"]) == ("POST", "/prompt")]
