"""Which images share a run: as many as the daemon sets, or exactly as many as the workflow makes by itself."""

from __future__ import annotations

from typing import Any

import pytest

from comfyledger import wire
from comfyledger.comfyui.graph import read as graphs
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.core.commands import SubmitBatch
from comfyledger.errors import Refused
from support.admission_builders import command_of, given
from support.graphs import node

LOADED = {"1": node("LoadImage", image="a.png"), "9": node("SaveImage", images=["1", 0], filename_prefix="x")}
"""A run makes what it makes."""
EMPTY = LOADED | {"1": node("EmptyImage", width=8, height=8, batch_size=1, color=0)}
SERVICE = LOADED | {"1": node("GrokImageNode", prompt="a", number_of_images=1)}
SHOT = wire.ImageAsked()
OTHER = wire.ImageAsked(inputs={"9.note": "a"})


def admitted(graph: dict[str, Any], info: ObjectInfo | None = None, outputs: Any = None, **asked: Any) -> SubmitBatch:
    return command_of({"w": given(graph, graphs.Named(outputs))}, info=info, **asked)


def runs(graph: dict[str, Any], **asked: Any) -> list[tuple[int, ...]]:
    return [prompt.images for prompt in admitted(graph, **asked).prompts]


def noted(graph: dict[str, Any]) -> dict[str, Any]:
    """The graph with an input that images may differ in."""
    return graph | {"9": node("SaveImage", images=["1", 0], filename_prefix="x", note="")}


def test_a_workflow_without_batch_size_makes_so_many_in_each_run() -> None:
    assert runs(LOADED, quantity=6, images_per_prompt=3) == [(1, 2, 3), (4, 5, 6)]
    assert runs(LOADED, quantity=3, images_per_prompt=3) == [(1, 2, 3)]
    assert runs(LOADED, quantity=2) == [(1,), (2,)]


def test_equal_neighbours_share_a_run_of_a_workflow_without_batch_size() -> None:
    images = [SHOT, SHOT, OTHER, OTHER, SHOT, SHOT]
    assert runs(noted(LOADED), images=images, images_per_prompt=2) == [(1, 2), (3, 4), (5, 6)]


def test_images_with_the_same_seed_share_a_run_only_if_the_workflow_makes_several() -> None:
    images = [wire.ImageAsked(seed=7)] * 4
    command = admitted(LOADED, images=images, images_per_prompt=2)
    assert [(prompt.images, prompt.seed) for prompt in command.prompts] == [((1, 2), 7), ((3, 4), 7)]
    assert runs(EMPTY, images=images, images_per_prompt=2) == [(1,), (2,), (3,), (4,)]


def test_each_shot_of_several_outputs_counts_once() -> None:
    graph = LOADED | {"12": node("SaveVideo", video=["1", 0], filename_prefix="y")}
    command = admitted(graph, outputs=("9", "12"), quantity=4, images_per_prompt=2)
    assert [prompt.images for prompt in command.prompts] == [(1, 2, 3, 4), (5, 6, 7, 8)]


@pytest.mark.parametrize(
    ("asked", "path", "says"),
    [
        ({"quantity": 7}, "$.data.quantity", ("quantity is 7", "Ask for 6 or 9, ")),
        ({"quantity": 1}, "$.data.quantity", ("quantity is 1", "Ask for 3, ")),
        ({"images": [SHOT] * 4}, "$.data.images[0]", ("4 equal entries", "Ask for 3 or 6, ")),
        ({"images": [SHOT] * 3 + [OTHER] * 2}, "$.data.images[3]", ("2 equal entries", "Ask for 3, ")),
        ({"images": [SHOT, OTHER, SHOT]}, "$.data.images[0]", ("1 equal entry", "Ask for 3, ")),
    ],
)
def test_a_run_that_would_make_more_than_was_asked_is_refused(
    asked: dict[str, Any], path: str, says: tuple[str, ...]
) -> None:
    with pytest.raises(Refused, match="Each run makes 3 images") as refused:
        admitted(noted(LOADED), images_per_prompt=3, **asked)
    assert (refused.value.code, refused.value.path) == ("workflow_batch_size", path)
    for words in says:
        assert words in refused.value.message + refused.value.hint


def test_where_the_daemon_sets_how_many_the_last_run_may_make_fewer() -> None:
    assert runs(EMPTY, quantity=4, images_per_prompt=3) == [(1, 2, 3), (4,)]


def test_more_than_a_node_takes_is_refused_with_the_number() -> None:
    inputs = {"required": {"prompt": ["STRING"], "number_of_images": ["INT", {"min": 1, "max": 10}]}}
    info = ObjectInfo({"GrokImageNode": {"input": inputs, "output": ["IMAGE"]}}, "digest")
    assert len(admitted(SERVICE, info, quantity=10, images_per_prompt=10).prompts) == 1
    with pytest.raises(Refused, match=r"is 11, but the batch size 1\.number_of_images may be 10 at most") as refused:
        admitted(SERVICE, info, quantity=11, images_per_prompt=11)
    assert (refused.value.code, refused.value.path) == ("workflow_batch_size", "$.data.images_per_prompt")
    assert len(admitted(SERVICE, quantity=11, images_per_prompt=11).prompts) == 1, "nothing is known of it"


def test_one_batch_size_beside_an_output_that_has_none_makes_one_of_each() -> None:
    other = {"2": node("LoadImage", image="a.png"), "12": node("SaveImage", images=["2", 0], filename_prefix="y")}
    asked: dict[str, Any] = {"graph": EMPTY | other, "outputs": ("9", "12"), "quantity": 2}
    assert [prompt.images for prompt in admitted(**asked).prompts] == [(1, 2), (3, 4)]
    with pytest.raises(Refused, match=r"is 2, but the batch size 1\.batch_size may be 1 at most\. Omit") as refused:
        admitted(images_per_prompt=2, **asked)
    assert (refused.value.code, refused.value.path) == ("workflow_batch_size", "$.data.images_per_prompt")


def test_a_workflow_that_makes_one_by_its_own_settings_is_not_asked_for_several() -> None:
    """Two inputs could be the batch size, and both are 1: then the request hopes for what the daemon does not do."""
    graph = EMPTY | {"2": node("EmptyImage", width=8, height=8, batch_size=1, color=0)}
    graph["9"] = node("SaveImage", images=["1", 0], mask=["2", 0], filename_prefix="x")
    assert runs(graph, quantity=2) == [(1,), (2,)]
    with pytest.raises(
        Refused, match=r"which of these inputs sets the batch size: 1\.batch_size, 2\.batch_size\."
    ) as refused:
        admitted(graph, quantity=2, images_per_prompt=2)
    assert (refused.value.code, refused.value.path) == ("workflow_batch_size", "$.data.images_per_prompt")
    graph["1"] = node("EmptyImage", width=8, height=8, batch_size=2, color=0)
    assert runs(graph, quantity=2, images_per_prompt=2) == [(1, 2)]


def test_a_film_of_one_frame_may_be_several_films() -> None:
    """Its batch size is the number of frames, and says nothing of how many files there are."""
    graph = EMPTY | {"9": node("SaveAnimatedWEBP", images=["1", 0], filename_prefix="x")}
    assert runs(graph, quantity=2, images_per_prompt=2) == [(1, 2)]
