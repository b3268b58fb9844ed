"""Which inputs take a file from ComfyUI's input folder, which files, and under which name."""

from __future__ import annotations

from typing import Any

import pytest

from comfyledger.comfyui.graph.input_names import TakesFile, input_name, takes_file
from comfyledger.comfyui.object_info import ObjectInfo
from support.graphs import node

CUSTOM = "custom_nodes.something"
SHA256 = "ab" + "0" * 62


def said(name: str, spec: list[Any], module: str = "nodes") -> dict[str, Any]:
    return {"input": {"required": {name: spec}}, "output": ["IMAGE"], "python_module": module}


INFO = ObjectInfo(
    {
        "LoadImage": said("image", [["a.png"], {"image_upload": True}]),
        "LoadImageMask": said("image", [["a.png"], {"image_upload": True}]),
        "LoadImageOutput": said("image", ["COMBO", {"image_upload": True, "image_folder": "output", "remote": {}}]),
        "LoadVideo": said("file", ["COMBO", {"video_upload": True, "options": []}]),
        "LoadAudio": said("audio", ["COMBO", {"audio_upload": True, "options": []}]),
        "Load3D": said("model_file", ["COMBO", {"file_upload": True, "options": ["none"]}]),
        "LoadLatent": said("latent", [[]]),
        "LoadSomethingNew": said("picture", [[], {"image_upload": True}]),
        "CheckpointLoaderSimple": said("ckpt_name", [["a.safetensors"]]),
        "KSampler": said("sampler_name", [["euler"]]),
        "OurPicture": said("image", [["a.png"], {"image_upload": True}], CUSTOM),
        "OurOutput": said("image", [["a.png"], {"image_upload": True, "image_folder": "output"}], CUSTOM),
        "VHS_LoadVideo": said("video", [["a.mp4"]], CUSTOM),
        "VHS_LoadAudioUpload": said("audio", [[]], CUSTOM),
        "VHS_LoadVideoPath": said("video", ["STRING", {"vhs_path_extensions": ["mp4"]}], CUSTOM),
        "OurModelLoader": said("file", [["a.safetensors", "b.png"]], CUSTOM),
        "OurSampler": said("image", [["euler"]], CUSTOM),
    },
    "digest",
)
IMAGES, VIDEOS, SOUNDS = ({"a.png", "b.jpg"}, {"a.mp4", "a.webm", "a.gif"}, {"a.wav", "a.mp4"})


def of(class_type: str, name: str, value: Any = None, info: ObjectInfo | None = INFO) -> TakesFile | None:
    return takes_file({"5": node(class_type, **{name: value})}, f"5.{name}", info)


@pytest.mark.parametrize("info", [INFO, None])
@pytest.mark.parametrize(
    ("class_type", "name", "taken", "refused"),
    [
        ("LoadImage", "image", IMAGES, {"a.mp4", "a.wav", "a.bin"}),
        ("LoadImageMask", "image", IMAGES, {"a.mp4"}),
        ("LoadImageOutput", "image", IMAGES, {"a.mp4"}),
        ("LoadVideo", "file", VIDEOS, {"a.png", "a.wav"}),
        ("LoadAudio", "audio", SOUNDS, {"a.png"}),
        ("Load3D", "model_file", {"a.glb", "a.bin"}, set()),
        ("LoadLatent", "latent", {"a.latent"}, {"a.png", "a.safetensors"}),
    ],
)
def test_comfyuis_own_loaders_take_their_medium_from_a_subfolder(
    class_type: str, name: str, taken: set[str], refused: set[str], info: ObjectInfo | None
) -> None:
    found = of(class_type, name, "example.png", info)
    assert found is not None
    assert not found.top_level
    assert {file for file in taken | refused if found.takes(file.rpartition(".")[2])} == taken


def test_a_mark_counts_for_a_class_that_is_not_listed() -> None:
    found = of("LoadSomethingNew", "picture")
    assert found is not None
    assert not found.top_level
    assert not found.takes("mp4")


@pytest.mark.parametrize(
    ("class_type", "name"), [("OurPicture", "image"), ("VHS_LoadVideo", "video"), ("VHS_LoadAudioUpload", "audio")]
)
def test_a_custom_loader_gets_a_name_that_its_list_has(class_type: str, name: str) -> None:
    found = of(class_type, name, "a.png")
    assert found is not None
    assert found.top_level


def test_the_mark_of_a_custom_loader_says_what_it_takes() -> None:
    marked, unmarked = of("OurPicture", "image"), of("VHS_LoadVideo", "video")
    assert marked is not None
    assert not marked.takes("mp4")
    assert unmarked is not None
    assert unmarked.takes("mp4")


@pytest.mark.parametrize(
    ("class_type", "name", "value"),
    [
        ("CheckpointLoaderSimple", "ckpt_name", "a.safetensors"),
        ("KSampler", "sampler_name", "euler"),
        ("VHS_LoadVideoPath", "video", "/x/a.mp4"),
        ("OurModelLoader", "file", "b.png"),
        ("OurSampler", "image", "euler"),
        ("OurOutput", "image", "a.png"),
        ("LoadImage", "channel", "red"),
    ],
)
def test_other_inputs_take_no_file(class_type: str, name: str, value: str) -> None:
    assert of(class_type, name, value) is None


def test_an_address_that_is_not_there_takes_no_file() -> None:
    graph = {"5": node("LoadImage", image="a.png")}
    assert takes_file(graph, "5.mask", INFO) is None
    assert takes_file(graph, "6.image", INFO) is None


@pytest.mark.parametrize(
    ("class_type", "name", "value", "takes"),
    [
        ("VHS_LoadVideo", "video", "a.mp4", True),
        ("AnyImageLoader", "image", None, True),
        ("AnyImageLoader", "image_path", "a.png", False),
        ("AnyImageLoader", "image", 3, False),
        ("AnyImageLoader", "image", ["4", 0], False),
        ("AnyLoader", "file", "a.safetensors", False),
        ("Resize", "image", "a.png", False),
    ],
)
@pytest.mark.parametrize("info", [None, ObjectInfo({}, "empty")])
def test_an_unknown_class_is_known_by_its_words(
    class_type: str, name: str, value: Any, takes: bool, info: ObjectInfo | None
) -> None:
    found = of(class_type, name, value, info)
    assert (found is not None) is takes
    assert found is None or (found.top_level and found.takes("anything"))


def test_a_file_that_is_not_made_yet_is_judged_by_what_it_will_be() -> None:
    pictures = of("LoadImage", "image")
    assert pictures is not None
    assert pictures.takes("", "image")
    assert not pictures.takes("", "video")


def test_a_name_follows_from_the_bytes() -> None:
    assert input_name(SHA256, "png", top_level=False) == f"comfyledger/ab/{SHA256}.png"
    assert input_name(SHA256, "png", top_level=True) == f"comfyledger-{SHA256}.png"
