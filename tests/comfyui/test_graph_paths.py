"""Which values of a graph name a file outside ComfyUI's folders, and which only look a little like it."""

from __future__ import annotations

from typing import Any

import pytest

from comfyledger.comfyui.graph import check_graph, check_inputs, find_plan
from comfyledger.errors import Refused

SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "../../x"}}
EMPTY = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}}


def graph(name: str, value: Any) -> dict[str, Any]:
    return {"1": EMPTY, "7": {"class_type": "Node", "inputs": {name: value}}, "9": SAVE}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image", "../../../etc/passwd"),
        ("image", "/etc/passwd [input]"),
        ("image", "C:\\Windows\\win.ini"),
        ("image", "a/..\\..\\b"),
        ("image", "~/.ssh/id_rsa"),
        ("image", "file:///etc/passwd"),
        ("filename_prefix", "../../../home/x"),
        ("filename_prefix", "/tmp/x"),
        ("ckpt_name", "\\\\host\\share\\model"),
        ("lora_name_2", "../x"),
        ("output_path", "/root"),
        ("Directory", "/"),
        ("video", " /dev/sda"),
    ],
)
def test_a_file_outside_comfyuis_folders_is_refused_with_its_place(name: str, value: str) -> None:
    with pytest.raises(Refused) as refused:
        check_graph(graph(name, value), "9.filename_prefix")
    assert (refused.value.code, refused.value.path) == ("workflow_unsafe_path", f"7.{name}")
    assert refused.value.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image", "cat.png"),
        ("image", "sub/cat..png"),
        ("ckpt_name", "sd15/v1-5.safetensors"),
        ("text", "/imagine a cat ../ or a dog"),
        ("prompt", "../.."),
        ("image", ["1", 0]),
        ("image", 7),
        ("sampler_name", "euler"),
    ],
)
def test_texts_and_names_below_a_folder_are_left_alone(name: str, value: Any) -> None:
    check_graph(graph(name, value), "9.filename_prefix")


def test_an_input_that_a_request_fills_in_is_looked_at_like_the_graph() -> None:
    loading = {"class_type": "LoadImage", "inputs": {"image": "cat.png"}}
    whole = {"1": EMPTY, "7": loading, "9": SAVE}
    plan = find_plan(whole, inputs={"picture": "7.image"})
    assert check_inputs(whole, plan, {"picture": "dog.png"}) == {"7.image": "dog.png"}
    for asked in ("picture", "7.image"):
        with pytest.raises(Refused) as refused:
            check_inputs(whole, plan, {asked: "../../etc/passwd"})
        assert (refused.value.code, refused.value.path) == ("workflow_unsafe_path", asked)
