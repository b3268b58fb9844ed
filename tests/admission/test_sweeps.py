"""A sweep is the images of all combinations, in a stated order, checked and recorded like `images`."""

from __future__ import annotations

import time
from itertools import product
from typing import Any

import msgspec
import pytest

from comfyledger import wire
from comfyledger.admission.admit import request_digest
from comfyledger.comfyui.graph import read as graphs
from comfyledger.core.commands import SubmitBatch
from comfyledger.errors import Refused
from support.admission_builders import command_of, given
from support.graphs import node

GRAPH = {
    "1": node("EmptyImage", width=8, height=8, batch_size=1, color=0),
    "9": node("SaveImage", images=["1", 0], filename_prefix="x", note=""),
}
LOADED = GRAPH | {"1": node("LoadImage", image="a.png", width=8)}
EACH = {"9.note": ["a", "b"], "width": [16, 32, 64]}
NAMED = graphs.Named(inputs={"width": "1.width", "w": "1.width"})


def admitted(graph: dict[str, Any] = GRAPH, **asked: Any) -> SubmitBatch:
    return command_of({"w": given(graph, NAMED)}, **asked)


def refusal(**asked: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        admitted(**asked)
    return caught.value


@pytest.mark.parametrize(("quantity", "times"), [(None, 1), (1, 1), (2, 2)])
def test_a_sweep_is_recorded_as_the_images_that_it_means(quantity: int | None, times: int) -> None:
    combined = [{"9.note": note, "width": width} for note, width in product(*EACH.values())]
    images = [wire.ImageAsked(inputs) for inputs in combined for _ in range(times)]
    swept = admitted(inputs_each=EACH, quantity=quantity, inputs={"1.height": 4, "width": 9}, seed=3)
    assert swept == admitted(images=images, inputs={"1.height": 4, "width": 9}, seed=3)


def test_equal_images_of_a_combination_share_a_run() -> None:
    command = admitted(inputs_each={"width": [16, 32]}, quantity=4, images_per_prompt=2)
    assert [prompt.images for prompt in command.prompts] == [(1, 2), (3, 4), (5, 6), (7, 8)]


@pytest.mark.parametrize(
    ("each", "path"),
    [
        ({"width": [16, "x"]}, "inputs_each.width[1]"),
        ({"9.note": ["a", "b"], "width": [16, 32, None]}, "inputs_each.width[2]"),
        ({"9.note": ["a", 7], "width": [16, 32]}, "inputs_each.9.note[1]"),
        ({"width": [16], "widht": [16, 32]}, "inputs_each.widht[0]"),
        ({"width": [16], "w": [16, 32]}, "inputs_each.w[0]"),
    ],
)
@pytest.mark.parametrize("quantity", [1, 3])
def test_a_refusal_names_the_value(each: Any, path: str, quantity: int) -> None:
    assert refusal(inputs_each=each, quantity=quantity).path == f"$.data.{path}"


def test_a_sweep_has_no_images_of_its_own() -> None:
    refused = refusal(inputs_each=EACH, images=[wire.ImageAsked()])
    assert (refused.code, refused.path) == ("quantity_and_images", "$.data.inputs_each")


@pytest.mark.parametrize("quantity", [0, -1, 2, 10**30])
def test_all_images_of_a_sweep_count(quantity: int) -> None:
    refused = refusal(inputs_each=EACH, quantity=quantity, quantity_max=11)
    assert (refused.code, refused.path) == ("quantity_out_of_range", "$.data.inputs_each")


def test_more_combinations_than_a_batch_can_have_are_counted_not_made() -> None:
    began = time.process_time()
    assert refusal(inputs_each={f"9.{key}": list(range(1_000)) for key in range(16)}).code == "quantity_out_of_range"
    assert time.process_time() - began < 0.5


def test_a_run_of_several_must_fit_the_images_of_a_combination() -> None:
    refused = refusal(graph=LOADED, inputs_each={"9.note": ["a", "b"]}, quantity=3, images_per_prompt=2)
    assert (refused.code, refused.path) == ("workflow_batch_size", "$.data.quantity")


def test_another_order_of_inputs_is_another_request() -> None:
    def digest(**asked: Any) -> str:
        return request_digest(msgspec.json.encode({"request_id": "r", **asked}), b"s")

    assert digest(inputs_each=EACH) != digest(inputs_each=dict(reversed(EACH.items())))
    assert digest(inputs_each=EACH, quantity=1) == digest(quantity=1, inputs_each=EACH)
    assert digest(inputs_each=EACH) != digest(inputs_each=EACH | {"width": [16, 64, 32]})
