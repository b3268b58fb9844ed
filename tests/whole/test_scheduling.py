"""Who is next with two ComfyUIs and whole processes: models stay loaded, and a stranger does not wait for a long batch.

The laws are in tests/core/test_picker.py; here is shown that requests, ledger and workers follow them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from support.fleet import Fleet
from support.wire_app import of_kind

CHECKPOINTS = ("random-sd15.safetensors", "v1-5-pruned-emaonly.safetensors")
PLACES = 4


def drawn(checkpoint: str) -> dict[str, Any]:
    return {"workflow": "text-to-image", "inputs": {"checkpoint": checkpoint, "width": 64, "height": 64, "steps": 1}}


async def test_a_comfyui_gets_prompts_with_the_same_models_one_after_the_other(fleet: Fleet) -> None:
    await fleet.begin_all()
    async with fleet.app() as app:
        await app.ask("pause", scope="everything")
        models = {}
        for number, username in enumerate(("Areg", "Mara", "Ann", "Lee")):
            checkpoint = CHECKPOINTS[number % 2]
            accepted = await app.submit(f"r{number}", username, quantity=8, **drawn(checkpoint))
            models[accepted["batch_id"]] = checkpoint
        await app.ask("resume", scope="everything")
        batches = await app.settled(*models)
        sent = of_kind(await app.log(), "prompt_submitting")
    for batch in batches:
        fleet.check_stored(batch)
    for name in fleet.standins:
        order = [models[one["stream"]] for one in sent if one["data"]["backend"] == name]
        assert sum(one != other for one, other in pairwise(order)) <= 2, order


async def test_the_image_of_a_stranger_does_not_wait_for_a_long_batch(fleet: Fleet) -> None:
    await fleet.begin_all()
    async with fleet.app() as app:
        long = await app.submit("r1", "Areg", quantity=80)
        short = await app.submit("r2", "Mara", quantity=1)
        batches = await app.settled(long["batch_id"], short["batch_id"])
        log = await app.log()
    for batch in batches:
        fleet.check_stored(batch)
    (asked,) = (one["position"] for one in of_kind(log, "batch_requested") if one["stream"] == short["batch_id"])
    after = [one["stream"] for one in of_kind(log, "prompt_submitting") if one["position"] > asked]
    assert after.index(short["batch_id"]) <= PLACES
