"""Laws of choosing the outputs of a graph. Graphs are plain values."""

from __future__ import annotations

import time
from typing import Any

import pytest

from comfyledger.comfyui.graph.outputs import LEFT_OUT_MAX
from comfyledger.comfyui.graph.read import Named, as_template, check_inputs, describe, fill, plan_workflow
from comfyledger.comfyui.graph.savers import SAVERS
from comfyledger.core.media import PROVED, extension_of
from support.graphs import diffusion, image, node, plan_of, refusal

SOURCE = {"1": node("EmptyImage", batch_size=1)}


def save(source: str, slot: int = 0, title: str = "") -> dict[str, Any]:
    return node("SaveImage", title, images=[source, slot], filename_prefix="x")


# Which node is meant


def test_a_preview_counts_only_where_nothing_is_saved() -> None:
    preview = node("PreviewImage", images=["1", 0], filename_prefix="stale")
    plan = plan_of(image(**{"10": preview}))
    assert (plan.output, plan.left_out) == ("9", ("10",))
    graph = SOURCE | {"10": preview}
    planned, plan = plan_workflow(graph)
    assert planned == graph | {
        "comfyledger": node("SaveImage", images=["1", 0], filename_prefix="comfyledger"),
    }
    assert (plan.output, plan.prefix, plan.outputs) == ("comfyledger", "comfyledger.filename_prefix", ())
    assert plan.batch_size == "1.batch_size"
    said = describe(plan, planned)
    assert "output: node comfyledger (SaveImage) of node 1 (EmptyImage) · " in said
    assert said.endswith(" · not run: 10 (PreviewImage)")
    assert refusal(plan_of, {}).code == refusal(plan_of, SOURCE).code == "workflow_no_output"


def test_a_saver_of_ours_gets_an_id_that_no_node_has() -> None:
    taken = {"comfyledger": node("Note"), "comfyledger-2": node("Note")}
    graph = SOURCE | taken | {"10": node("PreviewImage", images=["1", 0])}
    assert plan_of(graph).output == "comfyledger-3"


def test_more_outputs_than_a_batch_can_have_are_refused_with_what_to_write() -> None:
    graph = image(**{"10": node("SaveImage", "Big\n" + "x" * 999, images=["2", 0], filename_prefix="y")})
    graph["2"] = node("EmptyImage")
    graph |= {f"1{i:02}": node("EmptyImage") for i in range(15)} | {f"2{i:02}": save(f"1{i:02}") for i in range(15)}
    refused = refusal(plan_of, graph)
    assert (refused.code, refused.path) == ("workflow_output_ambiguous", "9")
    assert "17 outputs, and a batch has at most 16: " in refused.message
    assert '9 (SaveImage), 10 (SaveImage, "Big?xx' in refused.message
    assert len(refused.message) < 350
    assert 'output = "9"' in refused.hint
    assert 'outputs = ["9", "10", "200"' in refused.hint
    assert "[workflows.NAME]" in refused.hint
    plan = plan_of(graph, outputs=["10"])
    assert (plan.prefix, plan.left_out[:2]) == ("10.filename_prefix", ("9", "200"))
    del graph["9"]
    assert len(plan_of(graph).outputs) == 16


def hires_fix() -> dict[str, Any]:
    """A first pass that is saved, and a second one from its latent."""
    return diffusion() | {
        "10": node("KSampler", seed=7, latent_image=["11", 0]),
        "11": node("LatentUpscale", samples=["3", 0]),
        "12": node("VAEDecode", samples=["10", 0], vae=["4", 2]),
        "20": save("12"),
    }


def detailer() -> dict[str, Any]:
    return diffusion() | {"12": node("FaceDetailer", image=["8", 0], seed=3), "20": save("12")}


def video_of_frames() -> dict[str, Any]:
    """Each frame as an animation, and a film of it with two passes more."""
    graph = diffusion() | {
        "12": node("Interpolate", images=["8", 0]),
        "13": node("CreateVideo", images=["12", 0], fps=24.0),
        "20": node("SaveVideo", video=["13", 0], filename_prefix="v", format="auto", codec="auto"),
    }
    graph["9"] = node("SaveAnimatedWEBP", images=["8", 0], filename_prefix="w")
    return graph


def test_the_same_image_is_saved_by_the_node_that_can() -> None:
    for class_type in ("SaveImageWebsocket", "Image Save", "PreviewImage"):
        graph = image(**{"7": node(class_type, images=["1", 0])})
        assert plan_of(graph).output == "9"
    again = hires_fix() | {"30": node("SaveImageWebsocket", images=["12", 0])}
    assert (plan_of(again).output, plan_of(again).left_out) == ("20", ("9", "30"))
    twice = SOURCE | {"5": node("SaveImageWebsocket", images=["1", 0]), "6": node("Image Save", images=["1", 0])}
    assert plan_of(twice).left_out == ("5", "6")


def test_a_text_counts_only_where_nothing_else_is_saved() -> None:
    text = node("SaveText", text=["1", 0], filename_prefix="t", format="txt")
    video = node("SaveVideo", video=["1", 0], filename_prefix="v")
    assert plan_of(SOURCE | {"5": text}).every_output[0].medium == "file"
    assert plan_of(SOURCE | {"5": text, "6": video}).output == "6"
    assert plan_of(SOURCE | {"5": text, "6": node("PreviewImage", images=["1", 0])}).output == "5"
    assert plan_of(SOURCE | {"5": text, "6": video}, outputs=["5"]).output == "5"


# Several outputs


def test_several_outputs_keep_the_order_in_which_they_are_named() -> None:
    graph = video_of_frames() | {"30": node("PreviewImage", images=["8", 0])}
    for asked in (["20", "9", "30"], ["30", "20", "9"]):
        planned, plan = plan_workflow(graph, Named(tuple(asked)))
        assert [output.node for output in plan.every_output] == [
            "comfyledger" if node_id == "30" else node_id for node_id in asked
        ]
        assert (plan.output, plan.prefix) == (plan.outputs[0].node, plan.outputs[0].prefix)
        assert plan.left_out == ("30",)
        assert "outputs: node " in describe(plan, planned)
        filled = fill(as_template(planned, plan), plan, prefixes=asked, seed=1, batch_size=1, inputs={})
        assert [filled[one.node]["inputs"]["filename_prefix"] for one in plan.outputs] == asked


def test_the_seeds_of_every_output_are_found() -> None:
    assert plan_of(hires_fix(), outputs=["9"]).seeds == ("3.seed",)
    assert plan_of(hires_fix(), outputs=["9", "20"]).seeds == ("3.seed", "10.seed")


def test_an_output_that_is_not_there_is_refused_with_those_that_are() -> None:
    refused = refusal(plan_of, image(), outputs=["8"])
    assert refused.code == "workflow_no_output"
    assert "9 (SaveImage)" in refused.hint
    assert refusal(plan_of, image(), outputs=["1"]).code == "workflow_output_unsupported"


# Batches


def test_a_batch_of_frames_is_no_batch_of_films() -> None:
    """AnimateDiff and the like take the number of frames as `batch_size`."""
    assert plan_of(diffusion()).batch_size == "5.batch_size"
    graph = video_of_frames()
    planned, plan = plan_workflow(graph)
    assert plan.batch_size is None
    assert "batch size: not filled in, because 20 (SaveVideo) makes one file of a batch" in describe(plan, planned)
    assert plan_of(graph, outputs=["9"]).batch_size is None
    graph["30"] = save("8")
    assert plan_of(graph, outputs=["30"]).batch_size == "5.batch_size"
    assert plan_of(graph, outputs=["30", "20"]).batch_size is None
    assert plan_of(graph, batch_size="5.batch_size").batch_size == "5.batch_size"


# Nodes that no table knows


def test_a_strangers_saver_counts_by_its_prefix_and_its_image() -> None:
    for name in ("images", "image"):
        plan = plan_of(SOURCE | {"2": node("MySaver", filename_prefix="x", **{name: ["1", 0]})})
        (output,) = plan.every_output
        assert (output.node, output.medium, output.file) == ("2", "image", "")
    pixels = SOURCE | {"2": node("MySaver", filename_prefix="x", pixels=["1", 0])}
    assert refusal(plan_of, pixels).code == "workflow_output_unsupported"
    assert plan_of(pixels, outputs=["2"]).output == "2"


@pytest.mark.parametrize(
    ("class_type", "medium"),
    [("MyVideoSaver", "video"), ("Save Audio Mine", "audio"), ("MyMeshExport", "model"), ("save_gif", "image")],
)
def test_a_strangers_saver_counts_by_its_prefix_and_its_name(class_type: str, medium: str) -> None:
    (output,) = plan_of(SOURCE | {"2": node(class_type, filename_prefix="x", what=["1", 0])}).every_output
    assert (output.node, output.medium, output.file) == ("2", medium, "")


def test_a_strangers_saver_without_prefix_is_replaced() -> None:
    for class_type in ("My Image Save", "SaveImageElsewhere", "PreviewBridge"):
        planned, plan = plan_workflow(SOURCE | {"2": node(class_type, images=["1", 0])})
        assert planned[plan.output]["class_type"] == "SaveImage"
        nothing = SOURCE | {"2": node(class_type)}
        assert refusal(plan_of, nothing).code == "workflow_output_unsupported"


@pytest.mark.parametrize("class_type", ["show_text", "DisplayString", "TextPreview", "PreviewText", "Save Text File"])
def test_a_text_that_a_stranger_shows_or_saves_is_saved(class_type: str) -> None:
    for name in ("text", "string", "value"):
        for more in ({}, {"filename_prefix": "x"}):
            (output,) = plan_of(SOURCE | {"2": node(class_type, **{name: ["1", 0]}, **more)}).every_output
            assert (output.node, output.medium) == ("comfyledger", "file")
    assert plan_of(SOURCE | {"2": node(class_type, text=["1", 0]), "9": save("1")}).output == "9"
    assert plan_of(SOURCE | {"2": node("SaveImageWithText", images=["1", 0], text=["1", 0])}).outputs == ()
    assert refusal(plan_of, SOURCE | {"2": node(class_type, text="a")}).code.startswith("workflow_")
    assert refusal(plan_of, SOURCE | {"2": node("CLIPTextEncode", text=["1", 0])}).code == "workflow_no_output"


def test_a_prefix_that_is_a_link_or_missing_is_replaced() -> None:
    for inputs in ({"filename_prefix": ["1", 0]}, {}):
        graph = {"1": node("StringConcat"), "9": node("SaveImage", images=["1", 0], **inputs)}
        planned, plan = plan_workflow(graph)
        filled = fill(as_template(planned, plan), plan, prefixes=["ours"], seed=1, batch_size=1, inputs={})
        assert filled["9"]["inputs"] == {"images": ["1", 0], "filename_prefix": "ours"}


def test_a_film_that_is_made_in_several_runs_is_refused() -> None:
    """VideoHelperSuite then puts prompts of its own into the queue, which nobody follows."""
    graph = combining(meta_batch=["2", 0])
    assert refusal(plan_of, graph).code == refusal(plan_of, graph, outputs=["7"]).code == "workflow_output_unsupported"
    assert plan_of(combining(meta_batch=None)).output == "7"


# What a request may change


def combining(**more: Any) -> dict[str, Any]:
    inputs = {"images": ["1", 0], "filename_prefix": "x", "format": "video/h264-mp4", "crf": 19, "save_output": True}
    return SOURCE | {"2": node("Keyed", api_key=""), "7": node("VHS_VideoCombine", **(inputs | more))}


@pytest.mark.parametrize("value", ["video/webm", "video/h265-mp4"])
def test_an_input_may_change_the_format_within_the_medium(value: str) -> None:
    graph = combining()
    asked = {"7.format": value, "7.crf": 30}
    assert check_inputs(graph, plan_of(graph), asked) == asked


@pytest.mark.parametrize(
    ("asked", "value"), [("7.format", "image/gif"), ("7.format", "video/8bit-png"), ("7.save_output", False)]
)
def test_an_input_may_not_change_what_the_names_say(asked: str, value: object) -> None:
    graph = combining()
    for plan, name in ((plan_of(graph), asked), (plan_of(graph, inputs={"chosen": asked}), "chosen")):
        refused = refusal(check_inputs, graph, plan, {"7.crf": 30, name: value})
        assert (refused.code, refused.path) == ("invalid_field", name)


# Secrets


@pytest.mark.parametrize(
    "saver",
    [
        node("VHS_VideoCombine", images=["1", 0], filename_prefix="x", format="video/of-my-own"),
        node("MyVideoSaver", images=["1", 0], filename_prefix="x"),
    ],
)
def test_secrets_are_not_written_where_they_cannot_be_taken_out(saver: dict[str, Any]) -> None:
    graph = SOURCE | {"2": node("Keyed", api_key=""), "7": saver}
    assert plan_of(graph).output == "7"
    refused = refusal(plan_of, graph, secrets=["2.api_key"])
    assert (refused.code, refused.path) == ("workflow_output_unsupported", "7")
    assert "SaveVideo" in refused.hint


def test_an_input_may_not_choose_a_format_that_keeps_secrets() -> None:
    graph = combining()
    plan = plan_of(graph, secrets=["2.api_key"])
    assert check_inputs(graph, plan, {"7.format": "video/webm"})
    assert refusal(check_inputs, graph, plan, {"7.format": "video/of-my-own"}).code == "invalid_field"
    assert check_inputs(graph, plan_of(graph), {"7.format": "video/of-my-own"})


def test_what_every_known_saver_writes_can_be_cleaned() -> None:
    """A new entry whose files keep the graph would refuse every workflow with a secret."""
    for class_type, saver in SAVERS.items():
        extensions = [*saver.extensions.values(), saver.extension] if saver.metadata and saver.honours else []
        assert all(extension_of(f"x.{extension}") in PROVED for extension in extensions if extension), class_type


# Hostile graphs


def test_thousands_of_savers_in_a_line_are_quick() -> None:
    """A generous bound: a few passes take a tenth of a second, a pass for each saver takes minutes."""
    graph: dict[str, Any] = {str(i): node("Step", image=[str(i - 1), 0]) for i in range(1, 5_000)}
    graph |= {f"s{i}": save(str(i)) for i in range(1, 5_000)} | {"0": node("EmptyImage")}
    began = time.process_time()
    plan = plan_of(graph)
    assert (plan.output, len(plan.left_out)) == ("s4999", LEFT_OUT_MAX)
    graph["s5000"] = save("0")
    assert [one.node for one in plan_of(graph | {"x": node("Step"), "y": save("x")}).outputs] == ["y", "s4999"]
    for i in range(5_000):
        graph[f"v{i}"] = node("SaveVideo", video=[f"c{i}", 0], filename_prefix="v")
        graph[f"c{i}"] = node("CreateVideo", images=["1", 0], audio=["4999", 0])
    assert len(refusal(plan_of, graph).hint) < 400
    assert time.process_time() - began < 5


def test_thousands_of_pictures_side_by_side_are_quick() -> None:
    graph: dict[str, Any] = {"0": node("EmptyImage"), "x": node("EmptyImage")}
    graph |= {str(i): node("ImageStitch", image1=[str(i - 1), 0], image2=["x", 0]) for i in range(1, 1_500)}
    graph |= {f"s{i}": save(str(i)) for i in range(1, 1_500)}
    began = time.process_time()
    assert plan_of(graph).output == "s1499"
    assert time.process_time() - began < 3
