"""Laws of shots: each gives one image for each output, and all of them are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from comfyledger import wire, workflows
from comfyledger.admission.configured import made_ready, read_workflows
from comfyledger.comfyui.graph import read as graphs
from comfyledger.core.commands import SubmitBatch
from comfyledger.errors import Refused
from comfyledger.settings import Settings, Workflow
from support.admission_builders import command_of, given, ready

OUTPUTS = ("9", "12")


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def admitted(outputs: tuple[str, ...] = OUTPUTS, quantity_max: int = 1_000, **asked: Any) -> SubmitBatch:
    video = {"12": node("SaveVideo", video=["1", 0], filename_prefix="x")}
    graph = graphs.read_graph(workflows.load("empty-image"), 524_288).nodes | video
    named = graphs.Named(outputs, batch_size="1.batch_size")
    return command_of({"w": given(graph, named)}, quantity_max=quantity_max, **asked)


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


# Outputs that the request or the configuration names


FILM: dict[str, Any] = {
    "1": node("EmptyImage", width=64, height=64, batch_size=1, color=0),
    "2": node("CreateVideo", images=["1", 0], fps=24.0),
    "8": node("PreviewImage", images=["1", 0]),
    "9": node("SaveAnimatedWEBP", images=["1", 0], filename_prefix="x"),
    "12": node("SaveVideo", video=["2", 0], filename_prefix="x", format="auto", codec="auto"),
    "20": node("CLIPTextEncode", text="a"),
}


def nodes_of(command: SubmitBatch) -> list[str]:
    return [output["node"] for output in command.plan["outputs"]]


def test_a_request_names_the_outputs_of_its_graph() -> None:
    assert nodes_of(command_of(quantity=1, workflow=FILM)) == ["12"]
    assert nodes_of(command_of(quantity=1, workflow=FILM, output="9")) == ["9"]
    command = command_of(quantity=1, workflow=FILM, outputs=["12", "8", "9"])
    assert nodes_of(command) == ["12", "comfyledger", "9"]
    assert command.media == ("video", "image", "image")
    assert command.prompts[0].images == (1, 2, 3)


def test_without_a_name_every_result_of_a_graph_is_an_image_of_each_shot() -> None:
    angles = {f"3{i}": node("Turn", image=["1", 0]) for i in range(3)}
    angles |= {f"4{i}": node("SaveImage", images=[f"3{i}", 0], filename_prefix="x") for i in range(3)}
    command = command_of(quantity=2, workflow={"1": FILM["1"], **angles})
    assert nodes_of(command) == ["40", "41", "42"]
    assert (runs(command), command.media) == ([(1, 2, 3), (4, 5, 6)], ("image", "image", "image"))


def test_a_request_names_other_outputs_than_the_configuration() -> None:
    whole = given(FILM, graphs.Named(("12",), inputs={"prompt": "20.text"}))
    assert nodes_of(command_of({"w": whole}, quantity=1)) == ["12"]
    again = command_of({"w": whole}, quantity=1, outputs=["8", "12"], inputs={"prompt": "b"})
    assert (nodes_of(again), again.workflow) == (["comfyledger", "12"], "w")
    hidden = given(FILM, graphs.Named(("12",), secrets=("20.text",)))
    assert ready(FILM, hidden.named).graph["20"]["inputs"]["text"] == ""
    assert command_of({"w": hidden}, quantity=1, output="9").plan["secrets"] == ("20.text",)


def test_the_configuration_names_one_output_or_several(tmp_path: Path) -> None:
    file = tmp_path / "film.json"
    file.write_bytes(msgspec.json.encode(FILM))
    workflow = Workflow(str(file))
    cases = {"found": workflow, "one": replace(workflow, output="9"), "two": replace(workflow, outputs=("12", "8"))}
    prepared = {name: made_ready(one) for name, one in read_workflows(Settings(workflows=cases)).items()}
    found = {name: [output.node for output in one.plan.every_output] for name, one in prepared.items()}
    assert found == {"found": ["12"], "one": ["9"], "two": ["12", "comfyledger"]}
    assert prepared["two"].found.startswith(
        "outputs: node 12 (SaveVideo), video, node comfyledger (SaveImage) of node 1 (EmptyImage), image"
    )
    with pytest.raises(Refused) as refused:
        read_workflows(Settings(workflows={"w": replace(workflow, outputs=("12", "77"))}))
    assert (refused.value.code, refused.value.path) == ("config_invalid", "77")
    assert "12 (SaveVideo)" in refused.value.hint


def test_a_graph_with_one_image_saver_has_the_plan_that_it_always_had() -> None:
    graph = graphs.read_graph(workflows.load("text-to-image"), 524_288).nodes
    named = graphs.Named(inputs=dict(workflows.SAMPLES["text-to-image"].inputs))
    prepared = ready(graph, named)
    assert command_of({"w": given(graph, named)}, quantity=1).plan == {
        "output": "9",
        "prefix": "9.filename_prefix",
        "seeds": ("3.seed",),
        "batch_size": "5.batch_size",
        "inputs": dict(workflows.SAMPLES["text-to-image"].inputs),
    }
    assert prepared.key == "f00def760718a10ccd065f6c1db8178432575cf7111deb2a6c3af1ad18c9788a"


GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    "11": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 8}},
    "12": {
        "class_type": "SaveVideo",
        "inputs": {"video": ["11", 0], "filename_prefix": "z", "format": "auto", "codec": "auto"},
    },
}


async def test_a_batch_of_images_and_videos_is_answered_and_stored_under_the_names_of_its_media(door: Any) -> None:
    body: dict[str, Any] = {"quantity": 2, "workflow": GRAPH, "outputs": ["9", "12"], "inputs": {}}
    async with door.app("app") as app:
        asked = await app.submit("r1", **body)
        again = await app.submit("r1", **body)
        await app.settled(asked["batch_id"])
        told = await app.ask("get_batch", batch_id=asked["batch_id"])
        alone = await app.submit("r2", quantity=1)
        await app.settled(alone["batch_id"])
        opened = await app.ask("open_series", username="Areg", character="Opal Fever", medium="video")
    assert again == asked | {"repeated": True}
    assert asked["names"] == [f"Areg_opal-fever_{name}" for name in ("image_1", "video_1", "image_2", "video_2")]
    assert [(one.get("medium", "image"), one.get("output", 1)) for one in asked["images"]] == [
        ("image", 1),
        ("video", 2),
    ] * 2
    assert [(one["state"], one["extension"], one.get("medium")) for one in told["images"]] == [
        ("stored", "png", None),
        ("stored", "mp4", "video"),
    ] * 2
    assert [output["medium"] for output in told["outputs"]] == ["image", "video"]
    assert (alone["numbers"], opened["next"]) == ([3], 3)
    stored = {path.name for path in (door.folder / "images/Areg/characters/opal-fever/images").iterdir()}
    assert stored >= {"Areg_opal-fever_image_2.png", "Areg_opal-fever_video_2.mp4"}
