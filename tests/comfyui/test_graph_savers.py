"""The table of known savers: an example of each entry, and ComfyUI's own list of its output nodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comfyledger.comfyui.graph.read import as_template, fill, plan_workflow
from comfyledger.comfyui.graph.savers import OURS, SAVERS
from comfyledger.core.media import medium_of
from support.graphs import node, plan_of, refusal

LISTED = Path(__file__).parents[1] / "recordings" / "comfyui-0.29.0" / "output_nodes.json"
OUTPUT_NODES: dict[str, Any] = json.loads(LISTED.read_text("utf-8"))
"""What ComfyUI 0.29.0 says in `/object_info` of every node that is an output."""
EXAMPLES: list[tuple[str, dict[str, Any], str, str]] = [
    ("SaveImage", {}, "image", "p_00002_.png"),
    ("SaveImageAdvanced", {"format": "png", "format.bit_depth": "16-bit"}, "image", "p_00002.png"),
    ("SaveImageAdvanced", {"format": "exr"}, "image", "p_00002.exr"),
    ("SaveImageAdvanced", {"format": ["1", 0]}, "image", ""),
    ("SaveAnimatedWEBP", {"fps": 6.0}, "image", "p_00002_.webp"),
    ("SaveAnimatedPNG", {"fps": 6.0}, "image", "p_00002_.png"),
    ("SaveSVGNode", {}, medium_of("svg"), "p_00002_.svg"),
    ("SaveWEBM", {"codec": "vp9"}, "video", "p_00002_.webm"),
    ("SaveVideo", {"format": "auto", "codec": "auto"}, "video", "p_00002_.mp4"),
    ("SaveAudio", {}, "audio", "p_00002.flac"),
    ("SaveAudioMP3", {"quality": "V0"}, "audio", "p_00002.mp3"),
    ("SaveAudioOpus", {"quality": "128k"}, "audio", "p_00002.opus"),
    ("SaveAudioAdvanced", {"format": "mp3", "format.quality": "V0"}, "audio", "p_00002.mp3"),
    ("SaveAudioAdvanced", {"format": "opus"}, "audio", "p_00002.opus"),
    ("SaveAudioAdvanced", {"format": "flac"}, "audio", "p_00002.flac"),
    ("SaveGLB", {}, "model", "p_00002_.glb"),
    ("SaveLatent", {}, "file", "p_00002_.latent"),
    ("SaveText", {"format": "md"}, "file", "p_00002.md"),
    ("VHS_VideoCombine", {"format": "image/gif"}, "image", "p_00002.gif"),
    ("VHS_VideoCombine", {"format": "image/webp"}, "image", "p_00002.webp"),
    ("VHS_VideoCombine", {"format": "image/webp", "audio": ["1", 0]}, "image", "p_00002.webp"),
    ("VHS_VideoCombine", {"format": "video/h264-mp4"}, "video", "p_00002.mp4"),
    ("VHS_VideoCombine", {"format": "video/h264-mp4", "audio": ["1", 0]}, "video", "p_00002-audio.mp4"),
    ("VHS_VideoCombine", {"format": "video/h265-mp4"}, "video", "p_00002.mp4"),
    ("VHS_VideoCombine", {"format": "video/nvenc_h264-mp4"}, "video", "p_00002.mp4"),
    ("VHS_VideoCombine", {"format": "video/nvenc_hevc-mp4"}, "video", "p_00002.mp4"),
    ("VHS_VideoCombine", {"format": "video/nvenc_av1-mp4"}, "video", "p_00002.mp4"),
    ("VHS_VideoCombine", {"format": "video/av1-webm"}, "video", "p_00002.webm"),
    ("VHS_VideoCombine", {"format": "video/webm", "audio": ["1", 0]}, "video", "p_00002-audio.webm"),
    ("VHS_VideoCombine", {"format": "video/ProRes"}, "video", "p_00002.mov"),
    ("VHS_VideoCombine", {"format": "video/ffv1-mkv"}, "video", "p_00002.mkv"),
    ("VHS_VideoCombine", {"format": "video/ffmpeg-gif"}, "image", "p_00002.gif"),
    ("VHS_VideoCombine", {"format": "video/gifski"}, "image", "p_00002.gif"),
    ("VHS_VideoCombine", {"format": "video/of-my-own"}, "video", ""),
    ("VHS_VideoCombine", {"format": ["1", 0]}, "video", ""),
    ("VHS_VideoCombine", {"format": {"a": 1}}, "video", ""),
    ("ADE_AnimateDiffCombine", {"format": "image/gif"}, "image", "p_00002_.gif"),
    ("ADE_AnimateDiffCombine", {"format": "video/h264-mp4"}, "video", "p_00002_.mp4"),
    ("easy imageSave", {"only_preview": False}, "image", "p_00002_.png"),
    ("SaveImageWithAlpha", {}, "image", "p_00002.png"),
    ("DecodeAndSaveVideo", {"format": "auto"}, "video", "p_00002_.mp4"),
    ("SaveImageWithMetaData", {"file_format": "png"}, "image", "p_00002_.png"),
    ("SaveImageWithMetaData", {"file_format": "webp"}, "image", "p_00002_.webp"),
]
"""A class, the values that matter, and what it makes: the medium, and the name of the second file of a run."""


def graph_with(class_type: str, more: dict[str, Any]) -> dict[str, Any]:
    saves = SAVERS[class_type].saves or "model"
    saver = node(class_type, **{saves: ["1", 0]}, filename_prefix="theirs", **more)
    return {"1": node("Source"), "7": saver}


@pytest.mark.parametrize(("class_type", "more", "medium", "file"), EXAMPLES)
def test_a_saver_that_honours_our_prefix_stays(class_type: str, more: dict[str, Any], medium: str, file: str) -> None:
    graph = graph_with(class_type, more)
    planned, plan = plan_workflow(graph)
    (output,) = plan.every_output
    assert (output.node, output.prefix, output.medium) == ("7", "7.filename_prefix", medium)
    assert output.file_of("p", 2) == file
    filled = fill(as_template(planned, plan), plan, prefixes=["ours"], seed=1, batch_size=1, inputs={})
    assert filled["7"]["inputs"] == graph["7"]["inputs"] | {"filename_prefix": "ours"}


REPLACED = sorted(name for name, saver in SAVERS.items() if saver.type is not None and not saver.honours)
LOST = sorted(name for name, saver in SAVERS.items() if saver.type is None and not saver.honours)


@pytest.mark.parametrize("class_type", REPLACED)
def test_a_saver_that_cannot_save_for_us_is_replaced_by_one_of_ours(class_type: str) -> None:
    graph = graph_with(class_type, {})
    saver = SAVERS[class_type]
    assert saver.type is not None
    planned, plan = plan_workflow(graph)
    (output,) = plan.every_output
    ours, more = OURS[saver.type]
    source = ["1", 0] if saver.slot is None else ["7", saver.slot]
    added = planned.keys() - graph.keys()
    if saver.type == "MASK":
        added.remove("comfyledger")
        assert planned["comfyledger"] == {"class_type": "MaskToImage", "inputs": {"mask": source}}
        source = ["comfyledger", 0]
    assert added == {output.node}
    assert planned[output.node] == {
        "class_type": ours,
        "inputs": {SAVERS[ours].saves: source, "filename_prefix": "comfyledger", **more},
    }
    assert plan.left_out == (("7",) if saver.slot is None else ())


@pytest.mark.parametrize("class_type", LOST)
def test_a_node_that_gives_no_file_is_no_output(class_type: str) -> None:
    graph = graph_with(class_type, {})
    assert refusal(plan_of, graph).code == "workflow_output_unsupported"
    assert refusal(plan_of, graph, outputs=["7"]).code == "workflow_output_unsupported"
    graph["9"] = node("SaveImage", images=["1", 0], filename_prefix="x")
    assert (plan_of(graph).output, plan_of(graph).left_out) == ("9", ("7",))


@pytest.mark.parametrize("format_name", ["video/8bit-png", "video/16bit-png"])
def test_a_format_of_many_unnamed_files_is_saved_by_saveimage(format_name: str) -> None:
    planned, plan = plan_workflow(graph_with("VHS_VideoCombine", {"format": format_name}))
    assert planned[plan.output]["class_type"] == "SaveImage"


@pytest.mark.parametrize(
    ("class_type", "widget", "value"),
    [
        ("VHS_VideoCombine", "save_output", False),
        ("ADE_AnimateDiffCombine", "save_image", False),
        ("easy imageSave", "only_preview", True),
    ],
)
def test_what_would_only_be_shown_is_saved_if_nothing_else_is(class_type: str, widget: str, value: bool) -> None:
    graph = graph_with(class_type, {"format": "image/gif", widget: value})
    planned, plan = plan_workflow(graph)
    assert plan.output == "7"
    assert planned["7"]["inputs"][widget] is (not value)
    assert graph["7"]["inputs"][widget] is value
    graph["9"] = node("SaveVideo", video=["1", 0], filename_prefix="x")
    assert plan_of(graph).output == "9"


# ComfyUI's own list


@pytest.mark.parametrize("class_type", sorted(OUTPUT_NODES))
def test_every_output_node_of_comfyui_is_in_the_table(class_type: str) -> None:
    saver, listed = SAVERS[class_type], OUTPUT_NODES[class_type]
    inputs = listed["required"] | listed["optional"]
    if saver.role == "other":
        return
    if saver.slot is not None:
        assert listed["output"][saver.slot].startswith("STRING" if saver.type == "STRING" else "FILE_3D")
    else:
        assert saver.type is None or saver.type in inputs[saver.saves] or "FILE_3D" in inputs[saver.saves]
    assert saver.saves in {*inputs, ""}
    assert saver.by in {*inputs, ""}
    assert not saver.honours or inputs["filename_prefix"] == "STRING"
    assert listed["module"].rpartition(".")[2] in saver.source


@pytest.mark.parametrize("made_of", sorted(OURS))
def test_a_saver_of_ours_has_every_input_that_comfyui_requires(made_of: Any) -> None:
    class_type, more = OURS[made_of]
    assert {SAVERS[class_type].saves, "filename_prefix", *more} == OUTPUT_NODES[class_type]["required"].keys()
    taken = "IMAGE" if made_of == "MASK" else made_of
    assert taken in OUTPUT_NODES[class_type]["required"][SAVERS[class_type].saves].split(",")


def test_every_entry_names_its_source_and_has_an_example() -> None:
    assert all(saver.source for saver in SAVERS.values())
    assert {name for name, saver in SAVERS.items() if saver.honours} == {example[0] for example in EXAMPLES}
