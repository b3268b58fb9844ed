"""Which seed a prompt gets: the one that was given, else one that every node takes."""

from __future__ import annotations

from typing import Any

import pytest

from comfyledger import wire, workflows
from comfyledger.comfyui.graph import read as graphs
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.core.values import SEED_MADE_UP_MAX, SEED_MAX
from comfyledger.errors import Refused
from support.admission_builders import command_of, given


def taking(low: int, high: int) -> tuple[dict[str, Any], ObjectInfo]:
    """A workflow whose only seed takes so many numbers, and what ComfyUI says of it."""
    graph = {
        "1": {"class_type": "Noise", "inputs": {"seed": 5, "image": ["2", 0]}},
        "2": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    inputs = {"required": {"seed": ["INT", {"min": low, "max": high}], "image": ["IMAGE"]}}
    return graph, ObjectInfo({"Noise": {"input": inputs, "output": ["IMAGE"]}}, "digest")


def seeds(made_up: int, workflow: tuple[dict[str, Any], ObjectInfo] | None = None, **asked: Any) -> list[int]:
    """The seeds of a batch's prompts, where chance gives `made_up`."""
    graph, info = workflow or (graphs.read_graph(workflows.load("empty-image"), 524_288).nodes, None)
    return [prompt.seed for prompt in command_of({"w": given(graph)}, info=info, made_up=made_up, **asked).prompts]


def test_made_up_seeds_stay_where_every_node_takes_them() -> None:
    assert seeds(5, quantity=3) == [5, 6, 7]
    assert seeds(2**31 - 1, quantity=3) == [2**31 - 1, 0, 1]


def test_seeds_that_count_on_from_one_that_was_given_are_not_folded() -> None:
    assert seeds(5, quantity=3, seed=2**31 - 1) == [2**31 - 1, 2**31, 2**31 + 1]
    assert seeds(5, quantity=2, seed=SEED_MAX) == [SEED_MAX, 0]


def test_a_seed_of_one_image_stays_as_it_is() -> None:
    images = [wire.ImageAsked(), wire.ImageAsked(seed=SEED_MAX), wire.ImageAsked()]
    assert seeds(2**31 - 2, images=images) == [2**31 - 2, SEED_MAX, 0]


# Where ComfyUI says that a node takes fewer


@pytest.mark.parametrize(
    ("low", "high", "made_up", "expected"),
    [
        (0, 65_535, 65_535, [65_535, 0, 1]),
        (0, 65_535, 2**31 - 1, [65_535, 0, 1]),
        (0, 9, 18, [8, 9, 0]),
        (3, 4, 0, [3, 4, 3]),
        (7, 7, 5, [7, 7, 7]),
        (1, 2**31 - 1, 2**31 - 2, [2**31 - 1, 1, 2]),
        (2**40, 2**50, 2**31 - 1, [2**40 + 2**31 - 1, 2**40, 2**40 + 1]),
        (0, 2**32 - 1, 2**31 - 1, [2**31 - 1, 0, 1]),
    ],
)
def test_made_up_seeds_stay_within_the_range_of_the_workflow(
    low: int, high: int, made_up: int, expected: list[int]
) -> None:
    assert seeds(made_up, taking(low, high), quantity=3) == expected


def test_seeds_count_on_within_the_range_of_the_workflow() -> None:
    assert seeds(5, taking(0, 65_535), quantity=3, seed=65_534) == [65_534, 65_535, 0]
    assert seeds(5, taking(10, 12), quantity=4, seed=11) == [11, 12, 10, 11]
    assert seeds(5, taking(0, 2**40), quantity=2, seed=2**40) == [2**40, 0]
    images = [wire.ImageAsked(seed=12), wire.ImageAsked()]
    assert seeds(1, taking(10, 12), images=images) == [12, 12]


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ({"quantity": 1, "seed": 65_536}, "$.data.seed"),
        ({"images": [wire.ImageAsked(), wire.ImageAsked(seed=9)]}, "$.data.images[1].seed"),
    ],
)
def test_a_seed_that_a_node_does_not_take_is_refused_with_node_and_range(asked: dict[str, Any], path: str) -> None:
    with pytest.raises(Refused, match=r"1\.seed \(Noise\) takes 10 to 65535, not ") as refused:
        seeds(5, taking(10, 65_535), **asked)
    assert (refused.value.code, refused.value.path) == ("seed_out_of_range", path)


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
