"""What the stand-in refuses, in the words of ComfyUI 0.29.0, and what it says in `/object_info`.

Types and texts are those with which a real ComfyUI 0.29.0 answered to the same mistakes.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

Graph = dict[str, Any]
_AUTOGROWN = {"images.image0": ["1", 0], "images.image1": ["D", 0]}


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


@pytest.fixture
def graph(box: Any) -> Graph:
    """With loaders, a switch, a dynamic combo and a growing list, all of them right."""
    sampled: Graph = box.sampled(7)
    sampled["3"]["inputs"] |= {"seed": ["S", 0], "model": ["L", 0], "latent_image": ["N", 0]}
    sampled["6"]["inputs"]["clip"] = ["L", 1]
    return sampled | {
        "1": node("EmptyImage", width=8, height=8, batch_size=1, color=3),
        "B": node("BatchImagesNode", **_AUTOGROWN),
        "D": node("LoadImage", image="example.png"),
        "I": node("PrimitiveInt", value=7),
        "L": node(
            "LoraLoader",
            model=["4", 0],
            clip=["4", 1],
            lora_name="film-grain.safetensors",
            strength_model=1.0,
            strength_clip=1.0,
        ),
        "N": node("RepeatLatentBatch", samples=["5", 0], amount=2),
        "R": node(
            "ResizeImageMaskNode",
            input=["8", 0],
            resize_type="scale dimensions",
            **{"resize_type.width": 16, "resize_type.height": 0, "resize_type.crop": "center"},
            scale_method="area",
        ),
        "S": node("ComfySwitchNode", switch=True, on_false=["I", 0], on_true=["I", 0]),
        "X": node("BatchImagesNode", **{"images.image0": ["B", 0], "images.image5": ["R", 0]}),
        "9": node("SaveImage", images=["X", 0], filename_prefix="p/x"),
    }


async def errors_of(box: Any, graph: Graph) -> dict[str, list[tuple[str, str]]]:
    """Type and details of every error, by node, of a graph that is refused."""
    status, body = await box.post("/prompt", {"prompt": graph})
    assert status == 400
    return {
        node_id: [(error["type"], error["details"]) for error in found["errors"]]
        for node_id, found in json.loads(body)["node_errors"].items()
    }


async def test_a_right_graph_runs(box: Any, graph: Graph) -> None:
    entry = await box.finished(await box.submit(graph))
    assert (entry.ended, len(entry.outputs["9"])) == ("success", 4)


@pytest.mark.parametrize(
    ("place", "value", "error"),
    [
        ("1.width", 0, "value_smaller_than_min: width"),
        ("1.width", 99_999, "value_bigger_than_max: width"),
        (
            "1.width",
            None,
            "invalid_input_type: width, None, int() argument must be a string, a bytes-like object or a real number, "
            "not 'NoneType'",
        ),
        ("3.cfg", "high", "invalid_input_type: cfg, high, could not convert string to float: 'high'"),
        ("3.model", ["4"], "bad_linked_input: model"),
        ("3.model", ["4", 2], "return_type_mismatch: model, received_type(VAE) mismatch input_type(MODEL)"),
        ("3.cfg", ["I", 0], "return_type_mismatch: cfg, received_type(INT) mismatch input_type(FLOAT)"),
        (
            "3.scheduler",
            "fast",
            "value_not_in_list: scheduler: 'fast' not in "
            "['normal', 'karras', 'exponential', 'sgm_uniform', 'simple', 'ddim_uniform']",
        ),
        (
            "L.lora_name",
            "ink.safetensors",
            "value_not_in_list: lora_name: 'ink.safetensors' not in "
            "['film-grain.safetensors', 'styles/ink.safetensors']",
        ),
        ("D.image", "gone.png", "custom_validation_failed: image - Invalid image file: gone.png"),
        ("R.resize_type.width", -1, "value_smaller_than_min: resize_type.width"),
        ("R.resize_type.crop", "left", "value_not_in_list: resize_type.crop: 'left' not in ['disabled', 'center']"),
        (
            "X.images.image5",
            ["I", 0],
            "return_type_mismatch: images.image5, received_type(INT) mismatch input_type(IMAGE)",
        ),
    ],
)
async def test_a_wrong_value_is_named(box: Any, graph: Graph, place: str, value: Any, error: str) -> None:
    node_id, _, name = place.partition(".")
    graph[node_id]["inputs"][name] = value
    kind, _, details = error.partition(": ")
    assert await errors_of(box, graph) == {node_id: [(kind, details)]}


@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("3.model", "model"),
        ("9.images", "images"),
        ("R.resize_type.width", "width"),
        ("X.images.image0", "image0"),
    ],
)
async def test_a_missing_input_is_named(box: Any, graph: Graph, place: str, named: str) -> None:
    node_id, _, name = place.partition(".")
    del graph[node_id]["inputs"][name]
    assert await errors_of(box, graph) == {node_id: [("required_input_missing", named)]}


async def test_a_dynamic_combo_without_a_known_choice_brings_no_inputs(box: Any, graph: Graph) -> None:
    """ComfyUI does not check the choice itself; the node fails when it runs."""
    graph["R"]["inputs"]["resize_type"] = "scale somehow"
    assert (await box.post("/prompt", {"prompt": graph}))[0] == 200


async def test_a_long_list_is_not_printed(box: Any, graph: Graph) -> None:
    await box.control(lists={"loras": [f"{n}.safetensors" for n in range(21)]})
    assert await errors_of(box, graph) == {
        "L": [("value_not_in_list", "lora_name: 'film-grain.safetensors' not in (list of length 21)")]
    }
    _, body = await box.post("/prompt", {"prompt": graph})
    (error,) = json.loads(body)["node_errors"]["L"]["errors"]
    assert error["extra_info"] == {
        "input_name": "lora_name",
        "input_config": None,
        "received_value": "film-grain.safetensors",
    }


async def test_a_cycle_is_named_with_its_way(box: Any, graph: Graph) -> None:
    graph["B"]["inputs"]["images.image0"] = ["X", 0]
    details = "X (BatchImagesNode) -> B (BatchImagesNode) -> X (BatchImagesNode)"
    errors = await errors_of(box, graph)
    assert errors == {"X": [("dependency_cycle", details)], "B": [("dependency_cycle", details)]}


async def test_a_link_to_nothing_is_an_exception_of_the_node_that_has_it(box: Any, graph: Graph) -> None:
    graph["3"]["inputs"]["model"] = ["404", 0]
    assert await errors_of(box, graph) == {"3": [("exception_during_inner_validation", "'404'")]}
    graph["9"]["inputs"]["images"] = ["1", 5]
    assert await errors_of(box, graph) == {"9": [("exception_during_validation", "tuple index out of range")]}


async def test_an_output_that_is_wrong_leaves_the_others(box: Any, graph: Graph) -> None:
    graph["10"] = node("PreviewImage", images=["1", 0])
    graph["9"]["inputs"]["images"] = ["I", 0]
    status, body = await box.post("/prompt", {"prompt": graph})
    assert (status, list(json.loads(body)["node_errors"])) == (200, ["9"])


@pytest.mark.parametrize(
    ("graph", "kind", "message"),
    [
        ({"1": node("Gone")}, "missing_node_type", "Node 'Gone' not found. The custom node may not be installed."),
        (
            {"1": {"inputs": {}}},
            "missing_node_type",
            "Node 'ID #1' has no class_type. The workflow may be corrupted or a custom node is missing.",
        ),
        ({"1": node("PrimitiveInt", value=1)}, "prompt_no_outputs", "Prompt has no outputs"),
    ],
    ids=["unknown-class", "no-class", "no-outputs"],
)
async def test_a_graph_that_cannot_begin_is_refused(box: Any, graph: Graph, kind: str, message: str) -> None:
    status, body = await box.post("/prompt", {"prompt": graph})
    error = json.loads(body)["error"]
    assert (status, error["type"], error["message"]) == (400, kind, message)


async def test_the_lists_can_be_changed_while_it_runs(box: Any, graph: Graph) -> None:
    async def checkpoints() -> Any:
        info = json.loads((await box.get("/object_info/CheckpointLoaderSimple"))[1])
        return info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0]

    assert "random-sd15.safetensors" in await checkpoints()
    await box.control(lists={"checkpoints": ["other.safetensors"]})
    assert await checkpoints() == ["other.safetensors"]
    assert list(await errors_of(box, graph)) == ["4"]


async def test_a_class_can_be_taken_away_and_given_back(box: Any, graph: Graph) -> None:
    await box.control(missing_classes=["LoraLoader"])
    assert "LoraLoader" not in json.loads((await box.get("/object_info"))[1])
    status, body = await box.post("/prompt", {"prompt": graph})
    assert (status, json.loads(body)["error"]["details"]) == (400, "Node ID '#L'")
    await box.control(missing_classes=[])
    assert (await box.post("/prompt", {"prompt": graph}))[0] == 200
