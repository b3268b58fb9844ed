"""Laws of shots: each gives one image for each output, and all of them are counted."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from comfyledger import wire, workflows
from comfyledger.admission import admit
from comfyledger.comfyui.graph import read as graphs
from comfyledger.comfyui.graph.plan import Output
from comfyledger.core.commands import SubmitBatch
from comfyledger.core.naming.names import Templates
from comfyledger.errors import Refused

OUTPUTS = (Output("9", "9.filename_prefix"), Output("12", "12.filename_prefix", "video"))


def admitted(outputs: tuple[Output, ...] = OUTPUTS, quantity_max: int = 1_000, **asked: Any) -> SubmitBatch:
    graph = graphs.read_graph(workflows.load("empty-image"), 524_288)
    prepared = {"w": admit.prepare("w", graph)}
    prepared["w"] = replace(prepared["w"], plan=replace(prepared["w"].plan, outputs=outputs))
    policy = admit.AdmissionPolicy(Templates(), prepared, "w", "main", quantity_max, 524_288, trust=False)
    ids = admit.IdSource(lambda: "01JD0000000000000000ABCDEF", lambda: b"salt", lambda: 5)
    message = wire.SubmitBatch("r1", "Areg", "Opal Fever", **asked)
    about: Any = {"raw": b"{}", "label": "a", "policy": policy, "stores": (), "secret": b"s", "ids": ids}
    return admit.admit(message, **about).command


def runs(command: SubmitBatch) -> list[tuple[int, ...]]:
    return [prompt.images for prompt in command.prompts]


def test_a_shot_has_an_image_for_each_output_in_their_order() -> None:
    command = admitted(quantity=3)
    assert runs(command) == [(1, 2), (3, 4), (5, 6)]
    assert command.media == ("image", "video")
    assert [series.stem for series in command.series] == ["Areg_opal-fever_image_", "Areg_opal-fever_video_"]


def test_a_run_renders_so_many_shots() -> None:
    assert runs(admitted(quantity=3, images_per_prompt=2)) == [(1, 2, 3, 4), (5, 6)]


def test_one_seed_and_one_set_of_inputs_belong_to_a_shot() -> None:
    images = [wire.ImageAsked(seed=7), wire.ImageAsked(inputs={"1.width": 64}), wire.ImageAsked(inputs={"1.width": 64})]
    command = admitted(images=images, images_per_prompt=2)
    assert runs(command) == [(1, 2), (3, 4, 5, 6)]
    assert [prompt.seed for prompt in command.prompts] == [7, 6]


def test_one_output_of_videos_makes_videos() -> None:
    command = admitted(OUTPUTS[1:], quantity=2)
    assert (runs(command), command.media) == ([(1,), (2,)], ("video",))
    assert command.series[0].stem == "Areg_opal-fever_video_"


@pytest.mark.parametrize(
    ("asked", "path"),
    [({"quantity": 6}, "$.data.quantity"), ({"images": [wire.ImageAsked()] * 6}, "$.data.images")],
)
def test_the_limit_counts_images_and_not_shots(asked: dict[str, Any], path: str) -> None:
    assert len(runs(admitted(quantity_max=12, **asked))) == 6
    with pytest.raises(Refused, match="1 to 11 images, not 12") as refused:
        admitted(quantity_max=11, **asked)
    assert (refused.value.code, refused.value.path) == ("quantity_out_of_range", path)
