"""Which seed a prompt gets: the one that was given, else one that every node takes."""

from __future__ import annotations

from typing import Any

import pytest

from comfyledger import wire, workflows
from comfyledger.admission import admit
from comfyledger.comfyui.graph import read as graphs
from comfyledger.core.naming.names import Templates
from comfyledger.core.values import SEED_MADE_UP_MAX, SEED_MAX

RAW = b"{}"


def seeds(made_up: int, **asked: Any) -> list[int]:
    """The seeds of a batch's prompts, where chance gives `made_up`."""
    graph = graphs.read_graph(workflows.load("empty-image"), 524_288).nodes
    prepared = {"w": admit.prepare("w", graph)}
    policy = admit.AdmissionPolicy(Templates(), prepared, "w", "main", 1_000, 524_288, trust=False)
    ids = admit.IdSource(lambda: "01JD0000000000000000ABCDEF", lambda: b"salt", lambda: made_up)
    message = wire.SubmitBatch("r1", "Areg", "Opal Fever", **asked)
    about: Any = {"raw": RAW, "label": "a", "policy": policy, "stores": (), "secret": b"s", "ids": ids}
    return [prompt.seed for prompt in admit.admit(message, **about).command.prompts]


def test_made_up_seeds_stay_where_every_node_takes_them() -> None:
    assert seeds(5, quantity=3) == [5, 6, 7]
    assert seeds(2**31 - 1, quantity=3) == [2**31 - 1, 0, 1]


def test_seeds_that_count_on_from_one_that_was_given_are_not_folded() -> None:
    assert seeds(5, quantity=3, seed=2**31 - 1) == [2**31 - 1, 2**31, 2**31 + 1]
    assert seeds(5, quantity=2, seed=SEED_MAX) == [SEED_MAX, 0]


def test_a_seed_of_one_image_stays_as_it_is() -> None:
    images = [wire.ImageAsked(), wire.ImageAsked(seed=SEED_MAX), wire.ImageAsked()]
    assert seeds(2**31 - 2, images=images) == [2**31 - 2, SEED_MAX, 0]


async def test_the_daemon_makes_up_seeds_of_31_bits(door: Any) -> None:
    made = [door.context.ids.seed() for _ in range(200)]
    assert 0 <= min(made) <= max(made) <= SEED_MADE_UP_MAX == 2**31 - 1


@pytest.mark.parametrize("seed", [2**31, 2**53 - 1])
async def test_a_large_seed_that_was_given_goes_out_as_it_is(door: Any, seed: int) -> None:
    async with door.app() as app:
        asked = await app.submit("r1", quantity=1, seed=seed)
        await app.settled(asked["batch_id"])
        (requested, *_) = [event for event in await app.log() if event["kind"] == "batch_requested"]
    assert [prompt["seed"] for prompt in requested["data"]["prompts"]] == [seed]
