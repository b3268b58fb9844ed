"""What `/object_info` says of node classes, and what dynamic inputs become."""

from __future__ import annotations

import json
import math
import tracemalloc
from typing import Any

import pytest

from comfyledger.comfyui.fields import BadFrame
from comfyledger.comfyui.object_info import ObjectInfo, inputs_of, read_object_info


def info(**classes: Any) -> ObjectInfo:
    return ObjectInfo(classes, "digest")


def described(required: dict[str, Any], optional: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"input": {"required": required, "optional": optional or {}}, "output": ["IMAGE"], **more}


def names(one: ObjectInfo, class_type: str, given: dict[str, Any]) -> list[str]:
    found = one.get(class_type)
    assert found is not None
    return list(inputs_of(found, given))


def test_an_input_has_type_range_and_choices() -> None:
    one = info(
        Sampler=described(
            {
                "seed": ["INT", {"min": 0, "max": 65535}],
                "name": [["euler", "ddim"]],
                "mode": ["COMBO", {"options": ["a", "b"]}],
            },
            {"image": ["IMAGE,MASK"]},
        )
    )
    found = one.get("Sampler")
    assert found is not None
    inputs = inputs_of(found, {})
    assert (inputs["seed"].low, inputs["seed"].high, inputs["seed"].required) == (0, 65535, True)
    assert inputs["name"].options == ("euler", "ddim")
    assert inputs["mode"].options == ("a", "b")
    assert (inputs["image"].type, inputs["image"].required, inputs["image"].options) == ("IMAGE,MASK", False, None)
    assert found.outputs == ("IMAGE",)


def test_the_choice_of_a_dynamic_combo_brings_its_inputs() -> None:
    options = [
        {"key": "by size", "inputs": {"required": {"width": ["INT", {"max": 8}]}}},
        {"key": "none", "inputs": {}},
    ]
    one = info(Resize=described({"mode": ["COMFY_DYNAMICCOMBO_V3", {"options": options}]}))
    assert names(one, "Resize", {"mode": "by size"}) == ["mode", "mode.width"]
    assert names(one, "Resize", {"mode": "none"}) == ["mode"]
    assert names(one, "Resize", {}) == ["mode"]


def test_a_growing_input_is_as_many_inputs_as_it_may_have() -> None:
    template = {"input": {"required": {"image": ["IMAGE", {}]}}, "prefix": "image", "min": 1, "max": 3}
    found = info(Join=described({"images": ["COMFY_AUTOGROW_V3", {"template": template}]})).get("Join")
    assert found is not None
    assert {name: one.required for name, one in inputs_of(found, {}).items()} == {
        "images.image0": True,
        "images.image1": False,
        "images.image2": False,
    }


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"input": None},
        {"input": {"required": [], "optional": 3}},
        {"input": {"required": {"a": None, "b": [], "c": [7], "d": ["INT", None], "e": ["INT", {"min": "x"}]}}},
        {"input": {"required": {"a": ["COMFY_AUTOGROW_V3", {}], "b": ["COMFY_DYNAMICCOMBO_V3", {"options": 1}]}}},
        {"input": {"required": {"a": ["COMFY_AUTOGROW_V3", {"template": {"input": {}, "max": "x"}}]}}, "output": 5},
    ],
)
def test_nothing_that_a_server_says_raises(said: Any) -> None:
    found = info(Odd=said).get("Odd")
    for one in inputs_of(found, {}).values() if found else ():
        assert one.low is None
        assert one.options is None or one.options == ()


def test_a_body_without_an_object_is_no_answer() -> None:
    assert "A" in read_object_info(json.dumps({"A": described({})}).encode(), "x")
    with pytest.raises(BadFrame):
        read_object_info(b"[]", "x")


@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")], ids=["as Python writes it", "without spaces"])
def test_a_number_without_end_is_no_limit(separators: tuple[str, str]) -> None:
    odd = {"low": -math.inf, "high": math.inf, "odd": math.nan}
    given = {"text": ["STRING", {"default": "max: Infinity"}]}
    endless = {name: ["FLOAT", {"min": value, "max": value, "list": [value, value]}] for name, value in odd.items()}
    said = json.dumps({"Scale": described(given | endless)}, separators=separators)
    found = read_object_info(said.encode(), "digest").get("Scale")
    assert found is not None
    inputs = inputs_of(found, {})
    assert inputs["text"].config == {"default": "max: Infinity"}
    assert [(inputs[name].low, inputs[name].high) for name in odd] == [(None, None)] * 3


def test_names_that_a_server_does_not_have_are_not_remembered() -> None:
    """Strangers may ask for any name, in each request for others."""
    one = info(Known=described({}))
    tracemalloc.start()
    try:
        assert all(one.get(f"unknown {place}") is None for place in range(5_000))
        assert tracemalloc.get_traced_memory()[0] < 10_000
    finally:
        tracemalloc.stop()
