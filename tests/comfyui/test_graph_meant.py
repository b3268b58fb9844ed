"""Laws of which savers of a graph are its outputs. Graphs are plain values."""

from __future__ import annotations

from typing import Any

import pytest

from comfyledger.comfyui.graph.plan import Plan
from comfyledger.comfyui.graph.read import NOTHING_NAMED, plan_workflow
from comfyledger.comfyui.graph.savers import SAVERS
from comfyledger.comfyui.object_info import ObjectInfo
from support.graphs import diffusion, node, plan_of, refusal

Graph = dict[str, Any]
SOURCE: Graph = {"1": node("EmptyImage", batch_size=1), "2": node("EmptyImage", batch_size=1)}
FILM = {"format": "auto", "codec": "auto", "filename_prefix": "v"}


def save(source: str, slot: int = 0, class_type: str = "SaveImage", **more: Any) -> Graph:
    return node(class_type, images=[source, slot], filename_prefix="x", **more)


def outputs_of(graph: Graph) -> list[str]:
    """The outputs, of a saver of ours the node that it is linked to; the same for each order of the nodes."""
    found = [_outputs({node_id: graph[node_id] for node_id in order}) for order in (list(graph), list(graph)[::-1])]
    assert found[0] == found[1]
    return found[0]


def _outputs(graph: Graph) -> list[str]:
    plan = plan_of(graph)
    return [output.node for output in plan.every_output]


# Results of their own


def test_every_result_of_its_own_is_an_output() -> None:
    """As eight camera angles of one picture, or one prompt for three models: ComfyUI would save them all."""
    graph = SOURCE | {"9": save("1"), "10": save("2")}
    assert outputs_of(graph) == ["9", "10"]
    angles = SOURCE | {f"3{i}": node("Turn", image=["1", 0]) for i in range(8)}
    angles |= {f"4{i}": save(f"3{i}") for i in range(8)}
    assert outputs_of(angles) == [f"4{i}" for i in range(8)]


@pytest.mark.parametrize("other", ["12", "30"])
def test_two_savers_of_which_none_is_made_from_the_other_both_count(other: str) -> None:
    graph = diffusion() | {"12": node("Grade", image=["8", 0]), "30": node("Blur", image=["8", 0])}
    assert outputs_of(graph | {"9": save("12"), "20": save("30")}) == ["9", "20"]
    assert outputs_of(graph | {"9": save("8"), "20": save(other)}) == ["20"]


def test_two_pictures_of_one_latent_both_count() -> None:
    graph = diffusion() | {"20": save("30"), "30": node("VAEDecodeTiled", samples=["3", 0])}
    assert outputs_of(graph) == ["9", "20"]


def test_an_image_saver_has_no_precedence_over_other_media() -> None:
    for saver in (
        node("SaveVideo", video=["2", 0], **FILM),
        node("VHS_VideoCombine", images=["2", 0], filename_prefix="v", format="image/gif"),
        node("SaveAudioMP3", audio=["2", 0], filename_prefix="v"),
    ):
        assert outputs_of(SOURCE | {"7": saver, "9": save("1")}) == ["7", "9"]
        made = {"2": node("ImageBlur", image=["1", 0])}
        graph = SOURCE | made | {"7": saver, "9": save("1")}
        assert outputs_of(graph) == ["7"]


def test_savers_in_a_circle_end_the_search() -> None:
    graph = SOURCE | {"2": node("A", image=["3", 0]), "3": node("B", image=["2", 0]), "8": save("2"), "9": save("3")}
    assert outputs_of(graph)
    decoding = {"2": node("VAEDecode", samples=["3", 0]), "3": node("VAEDecode", samples=["2", 0])}
    assert outputs_of(graph | decoding)
    beside = {"2": node("ImageStitch", image1=["3", 0]), "3": node("ImageStitch", image1=["2", 0])}
    assert outputs_of(graph | beside)


# What goes into another result


def hires_fix() -> Graph:
    """A first pass that is saved, and a second one from its latent."""
    return diffusion() | {
        "10": node("KSampler", seed=7, latent_image=["11", 0]),
        "11": node("LatentUpscale", samples=["3", 0]),
        "12": node("VAEDecode", samples=["10", 0], vae=["4", 2]),
        "20": save("12"),
    }


def detailer() -> Graph:
    return diffusion() | {"12": node("FaceDetailer", image=["8", 0], seed=3), "20": save("12")}


def video_of_frames() -> Graph:
    """Each frame as an animation, and a film of it with two passes more."""
    return diffusion() | {
        "9": node("SaveAnimatedWEBP", images=["8", 0], filename_prefix="w"),
        "12": node("Interpolate", images=["8", 0]),
        "13": node("CreateVideo", images=["12", 0], fps=24.0),
        "20": node("SaveVideo", video=["13", 0], **FILM),
    }


def longer_film() -> Graph:
    """A first part that is saved as a film of its own, and both parts one after the other."""
    return diffusion() | {
        "9": node("SaveVideo", video=["11", 0], **FILM),
        "11": node("CreateVideo", images=["8", 0], fps=24.0),
        "12": node("BatchImagesNode", **{"images.image0": ["8", 0], "images.image1": ["14", 0]}),
        "13": node("CreateVideo", images=["12", 0], fps=24.0),
        "14": node("VAEDecode", samples=["15", 0]),
        "15": node("KSampler", seed=1, latent_image=["5", 0]),
        "20": node("SaveVideo", video=["13", 0], **FILM),
    }


def edited_film() -> Graph:
    """A film by a paid service, and the film that a second service makes of it; both are loaded from where they lie."""
    return {
        "1": node("TextToVideo"),
        "2": node("VHS_LoadVideoFromURL", video=["1", 0]),
        "9": save("2", class_type="VHS_VideoCombine", format="video/h264-mp4"),
        "3": node("VideoEdit", video=["1", 0]),
        "5": node("VHS_LoadVideoFromURL", video=["3", 0]),
        "20": save("5", class_type="VHS_VideoCombine", format="video/h264-mp4"),
    }


def film_with_sound() -> Graph:
    """Music for a film that was loaded, saved beside the film that it was put under."""
    return {
        "1": node("LoadVideo", file="a.mp4"),
        "2": node("GetVideoComponents", video=["1", 0]),
        "3": node("VideoToMusic", video=["1", 0]),
        "4": node("CreateVideo", images=["2", 0], audio=["3", 0]),
        "9": node("SaveAudio", audio=["3", 0], filename_prefix="a"),
        "20": node("SaveVideo", video=["4", 0], **FILM),
    }


def frame_of_a_film() -> Graph:
    return diffusion() | {
        "12": node("ImageFromBatch", image=["8", 0], batch_index=0),
        "9": save("12"),
        "13": node("CreateVideo", images=["8", 0]),
        "20": node("SaveVideo", video=["13", 0], **FILM),
    }


INTO_ANOTHER = [
    hires_fix(),
    detailer(),
    video_of_frames(),
    longer_film(),
    edited_film(),
    film_with_sound(),
    frame_of_a_film(),
]


@pytest.mark.parametrize("graph", INTO_ANOTHER)
def test_what_goes_into_another_result_is_no_output(graph: Graph) -> None:
    assert outputs_of(graph) == ["20"]
    assert plan_of(graph).left_out == ("9",)
    assert outputs_of({**graph, "40": node("PreviewImage", images=["1", 0])}) == ["20"]
    stranger = {"50": node("TextToImage"), "51": save("50")}
    assert outputs_of(graph | stranger) == ["20", "51"]


def test_a_picture_that_is_made_from_a_frame_of_a_film_is_a_result_beside_the_film() -> None:
    graph = frame_of_a_film()
    graph["14"] = node("EditImage", image=["12", 0])
    graph["9"] = save("14")
    assert outputs_of(graph) == ["9", "20"]
    graph["12"] = node("FinalFrameSelector", images=["8", 0])
    assert outputs_of(graph | {"9": save("12")}) == ["20"]


def test_a_sound_that_is_not_in_the_film_is_a_result() -> None:
    """A sampler that makes both gives them out by different slots."""
    film = {"13": node("CreateVideo", images=["8", 0]), "20": node("SaveVideo", video=["13", 0], **FILM)}
    graph = diffusion() | film
    graph["9"] = node("SaveAudio", audio=["14", 0], filename_prefix="a")
    graph["14"] = node("VAEDecodeAudio", samples=["3", 1])
    assert outputs_of(graph) == ["9", "20"]
    graph["13"] = node("CreateVideo", images=["8", 0], audio=["14", 0])
    assert outputs_of(graph) == ["20"]


def test_what_is_only_cut_out_by_a_mask_does_not_go_into_the_result() -> None:
    """An edited picture, and the loaded one with the mask that the edit gave."""
    graph = {
        "1": node("LoadImage", image="a.png"),
        "7": node("EditImage", image=["1", 0]),
        "8": save("7"),
        "9": node("JoinImageWithAlpha", image=["1", 0], alpha=["7", 1]),
        "11": save("9"),
    }
    assert outputs_of(graph) == ["8", "11"]


# The same thing twice, masks, and what is shown beside a result


def test_the_same_link_is_saved_once() -> None:
    assert outputs_of(diffusion() | {"20": save("8")}) == ["9"]
    film = save("8", class_type="VHS_VideoCombine", format="video/h264-mp4")
    animation = node("SaveAnimatedWEBP", images=["8", 0], filename_prefix="w")
    graph = diffusion()
    assert outputs_of(graph | {"7": animation}) == ["7"]
    assert outputs_of(graph | {"6x": film, "7": animation}) == ["6x"]
    assert outputs_of(graph | {"7": save("8", class_type="SaverOfAStranger")}) == ["9"]
    assert outputs_of(graph | {"70": save("8", class_type="SaverOfAStranger")}) == ["9"]


def test_a_mask_or_a_loaded_file_counts_only_where_nothing_else_is_there() -> None:
    graph = {
        "1": node("LoadImage", image="a.png"),
        "2": node("Segment", image=["1", 0]),
        "3": node("MaskToImage", mask=["2", 1]),
        "4": node("InvertMask", mask=["2", 1]),
        "5": node("MaskToImage", mask=["4", 0]),
        "7": save("3"),
        "8": save("5"),
        "9": save("1"),
    }
    assert outputs_of(graph) == ["7", "8", "9"]
    assert outputs_of(graph | {"10": save("2")}) == ["10"]


@pytest.mark.parametrize("part", ["1", "6"])
def test_a_comparison_with_what_a_result_was_made_from_is_no_output(part: str) -> None:
    graph = {
        "1": node("LoadImage", image="a.png"),
        "6": node("Sharpen", image=["1", 0]),
        "2": node("EditImage", image=["6", 0]),
        "3": node("ImageConcatMulti", image_1=["2", 0], image_2=["4", 0]),
        "4": node("ImageStitch", image1=["1", 0], image2=[part, 0]),
        "9": save("3"),
    }
    assert outputs_of(graph) == ["9"]
    assert outputs_of(graph | {"10": save("2")}) == ["10"]


def test_results_that_are_put_beside_each_other_are_one_result() -> None:
    """A character sheet: no picture of it is made from another one."""
    graph = {
        "1": node("LoadImage", image="a.png"),
        "2": node("CloseUp", image=["1", 0]),
        "3": node("FullBody", image=["1", 0]),
        "4": node("ImageStitch", image1=["2", 0], image2=["3", 0]),
        "7": save("2"),
        "8": save("3"),
        "9": save("4"),
    }
    assert outputs_of(graph) == ["9"]


# Nodes that show something


@pytest.mark.parametrize("class_type", ["ImageCompare", "Image Comparer (rgthree)"])
def test_of_two_pictures_that_are_compared_the_later_one_counts(class_type: str) -> None:
    for before, after in (("image_a", "image_b"), ("image_b", "image_a")):
        graph = {
            "1": node("Camera"),
            "2": node("EditImage", image=["1", 0]),
            "9": node(class_type, **{before: ["1", 0], after: ["2", 0]}),
        }
        plan = plan_of(graph)
        assert (len(plan.every_output), plan.left_out) == (1, ("9",))
        assert plan_of(graph | {"20": node("PreviewImage", images=["2", 0])}).left_out == ("9", "20")
        assert outputs_of(graph | {"20": save("1")}) == ["20"]


def test_a_text_that_is_shown_counts_only_where_nothing_else_is_there() -> None:
    graph = {"1": node("Caption"), "9": node("ShowText|pysssss", text=["1", 0])}
    (output,) = plan_of(graph).every_output
    assert (output.node, output.medium, output.file_of("p", 1)) == ("comfyledger", "file", "p_00001.txt")
    shown = node("MaskPreview", mask=["1", 1])
    (output,) = plan_of(graph | {"8": shown}).every_output
    assert (output.medium, plan_of(graph | {"8": shown}).left_out) == ("image", ("8", "9"))


def test_a_text_that_goes_into_another_text_is_no_output() -> None:
    graph = {
        "1": node("Caption"),
        "2": node("PreviewAny", source=["1", 0]),
        "3": node("Translate", text=["2", 0]),
        "4": node("PreviewAny", source=["3", 0]),
    }
    assert plan_of(graph).left_out == ()
    assert len(plan_of(graph).every_output) == 1


@pytest.mark.parametrize("source", ["1", "2"])
def test_a_text_on_the_way_to_what_nobody_saves_is_no_output(source: str) -> None:
    graph = {
        "1": node("WritePrompt"),
        "2": node("PreviewAny", source=["1", 0]),
        "3": node("CLIPTextEncode", text=[source, 0]),
        "4": node("TextToImage", conditioning=["3", 0]),
    }
    assert refusal(plan_of, graph).code == "workflow_output_unsupported"
    assert outputs_of(graph | {"9": save("4")}) == ["9"]
    unrelated = {"6": node("LoadImage", image="a.png"), "7": node("ImageBlur", image=["6", 0])}
    assert len(outputs_of({"1": graph["1"], "2": graph["2"]} | unrelated)) == 1


# What ComfyUI says of its nodes


def described(*outputs: str, is_output: bool = False, **inputs: str) -> dict[str, Any]:
    required = {name: [kind, {}] for name, kind in inputs.items()}
    return {"input": {"required": required}, "output": list(outputs), "output_node": is_output}


INFO = ObjectInfo(
    {
        "Make": described("IMAGE", "STRING", "INT", "COMFY_MATCHTYPE_V3", "*", "MASK"),
        "Shower": described(is_output=True, pixels="IMAGE", strength="FLOAT"),
        "Filmer": described(is_output=True, pixels="IMAGE", film="VIDEO"),
        "Model": described("STRING", "FILE_3D_GLB"),
        "CreateVideo": described("VIDEO", images="IMAGE"),
        "Save Selector": described("COMBO", image="IMAGE", filename_prefix="STRING"),
        "SaveImage": described(is_output=True, images="IMAGE", filename_prefix="STRING"),
        "SaveVideo": described(is_output=True, video="VIDEO"),
        "SaveText": described(is_output=True, text="STRING"),
        "MaskToImage": described("IMAGE", mask="MASK"),
        "SaveGLB": described(is_output=True, mesh="MESH,FILE_3D_GLB"),
    },
    "digest",
)


def known(class_type: str, info: ObjectInfo = INFO, **inputs: Any) -> Plan:
    """The plan of one node of a class, fed by a node that makes several things."""
    return plan_workflow({"1": node("Make"), "9": node(class_type, **inputs)}, NOTHING_NAMED, info)[1]


def test_an_output_node_that_no_table_has_shows_what_it_is_linked_to() -> None:
    assert refusal(plan_of, {"1": node("Make"), "9": node("Shower", pixels=["1", 0])}).code == "workflow_no_output"
    assert known("Shower", pixels=["1", 0]).every_output[0].medium == "image"
    assert known("Filmer", pixels=["1", 0], film=["1", 4]).every_output[0].medium == "video"
    assert refusal(known, "Shower", pixels=1, strength=["1", 0]).code == "workflow_no_output"


def test_a_node_that_comfyui_does_not_run_for_its_own_sake_is_no_output() -> None:
    graph = {"1": node("Make"), "9": node("Save Selector", image=["1", 0], filename_prefix="x")}
    assert plan_of(graph).output == "9"
    assert refusal(known, "Save Selector", image=["1", 0], filename_prefix="x").code == "workflow_no_output"
    assert refusal(known, "CreateVideo", images=["1", 0]).code == "workflow_no_output"


def test_a_saver_that_nothing_leads_to_is_left_out_where_another_is_fed() -> None:
    """As by ComfyUI, which runs the others. Alone it is kept, for the mistake to be told."""
    fed, unfed = save("1", 0), save("1", 9)
    missing = node("SaveImage", filename_prefix="x")
    for other in (unfed, missing):
        graph = {"1": node("Make"), "8": other}
        assert plan_workflow(graph, NOTHING_NAMED, INFO)[1].output == "8"
        _, plan = plan_workflow(graph | {"9": fed}, NOTHING_NAMED, INFO)
        assert ([one.node for one in plan.every_output], plan.left_out) == (["9"], ("8",))
    assert outputs_of({"1": node("Make"), "8": unfed, "9": fed}) == ["8", "9"]


def test_what_a_node_gives_out_that_was_meant_to_save_is_saved() -> None:
    graph = {"1": node("Make"), "9": node("CreateVideo", images=["1", 0], filename_prefix="x")}
    planned, plan = plan_workflow(graph, NOTHING_NAMED, INFO)
    assert (plan.every_output[0].medium, planned[plan.output]["inputs"]["video"]) == ("video", ["9", 0])


def test_a_preview_of_a_path_becomes_the_model_that_the_same_node_gives_out() -> None:
    graph = {"1": node("Model"), "9": node("Preview3D", model_file=["1", 0])}
    planned, plan = plan_workflow(graph, NOTHING_NAMED, INFO)
    assert planned[plan.output]["inputs"]["mesh"] == ["1", 1]


@pytest.mark.parametrize(("class_type", "fits"), [("MaskPreview", (3, 4, 5)), ("ShowText|pysssss", (1, 3, 4))])
def test_a_saver_of_ours_is_linked_to_what_it_can_save_only(class_type: str, fits: tuple[int, ...]) -> None:
    """Where the types are known. A node that shows anything may be fed by a number."""
    shown = SAVERS[class_type].saves
    for slot in (*fits, 9):
        assert known(class_type, **{shown: ["1", slot]}).output.startswith("comfyledger")
    for slot in {0, 1, 2, 5}.difference(fits):
        assert refusal(known, class_type, **{shown: ["1", slot]}).code == "workflow_output_unsupported"
    assert refusal(known, class_type, ObjectInfo({}, ""), **{shown: ["1", 4]}).code == "workflow_output_unsupported"
    assert plan_of({"1": node("Make"), "9": node(class_type, **{shown: ["1", 0]})}).output.startswith("comfyledger")


# What cannot be got


@pytest.mark.parametrize("class_type", ["Hy3DExportMesh", "SwarmSaveAnimationWS"])
def test_a_graph_that_ends_in_what_cannot_be_got_is_refused(class_type: str) -> None:
    """Its pictures only lead there; to take one of them would be the wrong file."""
    graph = SOURCE | {
        "3": node("MeshOf", image=["1", 0]),
        "7": node(class_type, trimesh=["3", 0], images=["3", 0]),
        "9": save("1"),
        "10": node("PreviewImage", images=["2", 0]),
    }
    refused = refusal(plan_of, graph)
    assert (refused.code, refused.path) == ("workflow_output_unsupported", "7")
    assert plan_of(graph, outputs=["9"]).output == "9"
    assert outputs_of(graph | {"11": save("2")}) == ["11"]
