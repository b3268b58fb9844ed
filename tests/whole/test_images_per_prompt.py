"""A workflow that makes several images in each run by itself: the daemon sets no batch size and expects so many."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from support.graphs import node
from support.processes import House
from support.wire_app import Refusal, of_kind

SIZES = (64, 72, 80)
GRAPH: dict[str, Any] = {
    **{f"{size}": node("NoiseImage", width=size, height=64, seed=1, batch_size=1) for size in SIZES},
    "2": node("BatchImagesNode", **{f"images.image{place}": [f"{size}", 0] for place, size in enumerate(SIZES)}),
    "9": node("SaveImage", images=["2", 0], filename_prefix="x"),
}
"""Three images in each run, whatever the batch sizes."""
ASKED: dict[str, Any] = {"workflow": GRAPH, "inputs": {}, "images_per_prompt": 3}


async def test_a_daemon_killed_between_two_runs_of_three_images_gives_them_to_six_numbers(house: House) -> None:
    await house.begin()
    house.comfyui.control(hold=["start"])
    async with house.app() as app:
        with pytest.raises(Refusal, match="workflow_batch_size"):
            await app.submit("r1", quantity=5, **ASKED)
        asked = await app.submit("r1", quantity=6, **ASKED)
        await house.comfyui.let_run(1)
        await app.counted("stored", 1, asked["batch_id"])
    house.daemon.signal(signal.SIGKILL)
    assert len(house.stored()) < 6
    house.comfyui.control(hold=[])
    await house.daemon.begin()
    async with house.app() as app:
        (batch,) = await app.settled(asked["batch_id"])
        (requested,) = of_kind(await app.log(), "batch_requested")
    assert all(prompt["seed"] < 65_536 for prompt in requested["data"]["prompts"]), "NoiseImage takes no larger one"
    assert [(image["number"], image["state"]) for image in batch["images"]] == [(k, "stored") for k in range(1, 7)]
    rendered = house.rendered(asked["batch_id"])
    assert sorted(rendered) == [f"{first}-a1_{count:05}_.png" for first in (1, 4) for count in (1, 2, 3)]
    drawn = [house.drawn(house.stored()[image["public_id"]]) for image in batch["images"]]
    assert drawn == [rendered[name] for name in sorted(rendered)]
    assert len(set(drawn)) == 6, "two seeds, three sizes"
    assert len(house.comfyui.posted()) == 2
