"""Which values of a graph name a file outside ComfyUI's folders, and which only look a little like it."""

from __future__ import annotations

from typing import Any

import pytest

from comfyledger.comfyui.graph.input_names import input_name
from comfyledger.comfyui.graph.read import check_graph, check_inputs
from comfyledger.errors import Refused
from support.graphs import plan_of

SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "../../x"}}
EMPTY = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}}


def graph(name: str, value: Any, node_class: str = "Node") -> dict[str, Any]:
    return {"1": EMPTY, "7": {"class_type": node_class, "inputs": {name: value}}, "9": SAVE}


@pytest.mark.parametrize(
    ("node_class", "name", "value"),
    [
        ("Node", "image", "../../../etc/passwd"),
        ("Node", "image", "a/..\\..\\b"),
        ("Node", "lora_name_2", "../x"),
        ("LoadImage", "image", "/etc/passwd [input]"),
        ("LoadImage", "image", "C:\\Windows\\win.ini"),
        ("LoadImageMask", "image", "~/.ssh/id_rsa"),
        ("LoadImage", "image", "file:///etc/passwd"),
        ("LoadVideo", "file", " /dev/sda"),
        ("LoadAudio", "audio", "\\\\host\\share\\x"),
        ("Node", "filename_prefix", "../../../home/x"),
        ("Node", "filename_prefix", "/tmp/x"),
        ("Node", "filenamePrefix", "~/x"),
        ("Node", "output_path", "/root"),
        ("Image Save", "path", "/"),
        ("SaveImageExtended", "Directory", "C:/"),
        ("VHS_VideoCombine", "subfolder", "/x"),
        ("imageExporter", "file_name", "/x"),
    ],
)
def test_a_file_outside_comfyuis_folders_is_refused_with_its_place(node_class: str, name: str, value: str) -> None:
    with pytest.raises(Refused) as refused:
        check_graph(graph(name, value, node_class), ["9.filename_prefix"])
    assert (refused.value.code, refused.value.path) == ("workflow_unsafe_path", f"7.{name}")
    assert refused.value.hint


SHA256 = "1a" * 32
NESTED = input_name(SHA256, "png", top_level=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image", NESTED),
        ("image", f"{NESTED} [input]"),
        ("image", f"./{NESTED}"),
        ("image", NESTED.replace("/", "\\").upper()),
        ("image", NESTED.replace("/", "//")),
        ("anything", input_name(SHA256, "mp4", top_level=True)),
        ("text", f"a.png\n{NESTED}"),
        ("files", ["a.png", NESTED]),
        ("file", {"__value__": [{"name": NESTED}]}),
    ],
)
def test_a_file_of_an_input_is_loaded_by_its_digest_and_not_by_its_name_at_comfyui(name: str, value: Any) -> None:
    with pytest.raises(Refused) as refused:
        check_graph(graph(name, value), ["9.filename_prefix"])
    assert (refused.value.code, refused.value.path) == ("workflow_unsafe_path", f"7.{name}")
    assert f'{{"input": "sha256:{SHA256}"}}' in refused.value.hint
    assert f"{SHA256}'," in refused.value.message.lower()


@pytest.mark.parametrize(
    ("node_class", "name", "value"),
    [
        ("LoadImage", "image", f"comfyledger-{SHA256[2:]}.png"),
        ("LoadImage", "image", f"mine/1a/{SHA256}.png"),
        ("LoadImage", "image", "comfyledger/cat.png"),
        ("LoadImage", "image", "cat.png"),
        ("LoadImage", "image", "sub/cat..png"),
        ("Node", "ckpt_name", "sd15/v1-5.safetensors"),
        ("Node", "text", "/imagine a cat ../ or a dog"),
        ("Node", "prompt", "../.."),
        ("Node", "prompt", "~ a wave"),
        ("LoadImage", "image", ["1", 0]),
        ("Node", "image", 7),
        ("Node", "sampler_name", "euler"),
        ("ETN_LoadImageBase64", "image", "/9j/4AAQSkZJRgABAQAAAQABAAD"),
        ("LoadImageFromBase64", "image", "/9j/" + "A" * 10_000),
        ("RedditImages", "path", "/r/aww"),
        ("SaveText", "text", "/r/aww"),
        ("Node", "image_prompt", "/r/aww"),
        ("Node", "model_path", "/models/on/the/server"),
    ],
)
def test_texts_and_names_below_a_folder_are_left_alone(node_class: str, name: str, value: Any) -> None:
    check_graph(graph(name, value, node_class), ["9.filename_prefix"])


def test_an_input_that_a_request_fills_in_is_looked_at_like_the_graph() -> None:
    loading = {"class_type": "LoadImage", "inputs": {"image": "cat.png"}}
    whole = {"1": EMPTY, "7": loading, "9": SAVE}
    plan = plan_of(whole, inputs={"picture": "7.image"})
    assert check_inputs(whole, plan, {"picture": "dog.png"}) == {"7.image": "dog.png"}
    for asked in ("picture", "7.image"):
        with pytest.raises(Refused) as refused:
            check_inputs(whole, plan, {asked: "../../etc/passwd"})
        assert (refused.value.code, refused.value.path) == ("workflow_unsafe_path", asked)
