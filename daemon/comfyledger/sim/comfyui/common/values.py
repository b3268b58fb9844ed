"""The node classes of the stand-in that hold, choose or grow values, and those with seeds of their own ranges.

Names, inputs and types are those of ComfyUI 0.29.0. Of the custom nodes, `Seed (rgthree)` and `Any Switch (rgthree)`
have the ranges and types of that pack, and `NoiseImage` plays a node whose seed ends at 65535, as Rodin's do.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from comfyledger.sim.comfyui.nodes import (
    PIXELS_MAX,
    Config,
    Inputs,
    NodeClass,
    Surroundings,
    choice,
    fraction,
    option,
    seed,
    whole,
)
from comfyledger.sim.comfyui.pictures import Picture

SMALL_SEED_MAX: Final = 65_535
RGTHREE_SEED_MAX: Final = 2**50
_INT_MAX: Final = 2**63 - 1
_PRIMITIVE, _RGTHREE = "comfy_extras.nodes_primitive", "custom_nodes.rgthree-comfy"
_DYNAMIC: Final = "COMFY_DYNAMICCOMBO_V3"


def _one_value(inputs: Inputs, _: Surroundings) -> tuple[Any, ...]:
    return (inputs["value"],)


def _switched(inputs: Inputs, _: Surroundings) -> tuple[Any, ...]:
    return (inputs["on_true"] if inputs["switch"] else inputs["on_false"],)


def _first_given(inputs: Inputs, _: Surroundings) -> tuple[Any, ...]:
    return (next((value for value in inputs.values() if value is not None), None),)


def _noise_image(inputs: Inputs, _: Surroundings) -> tuple[Any, ...]:
    drawn = [
        Picture(inputs["width"], inputs["height"], seed=f"{inputs['seed']}/{k}") for k in range(inputs["batch_size"])
    ]
    return (tuple(drawn),)


def _batched(inputs: Inputs, _: Surroundings) -> tuple[Any, ...]:
    return (tuple(picture for given in inputs.values() for picture in given),)


def _resized(inputs: Inputs, _: Surroundings) -> tuple[Any, ...]:
    def size(picture: Picture) -> tuple[int, int]:
        if inputs["resize_type"] == "scale dimensions":
            return inputs["resize_type.width"] or picture.width, inputs["resize_type.height"] or picture.height
        factor = inputs["resize_type.multiplier"]
        return max(1, round(picture.width * factor)), max(1, round(picture.height * factor))

    resized = [(picture, *size(picture)) for picture in inputs["input"]]
    return (tuple(msgspec.structs.replace(picture, width=w, height=h) for picture, w, h in resized),)


def _repeated(inputs: Inputs, _: Surroundings) -> tuple[Any, ...]:
    latent = inputs["samples"]
    return (msgspec.structs.replace(latent, batch_size=latent.batch_size * inputs["amount"]),)


def _matched(template: str, types: str = "*", **more: Any) -> Config:
    """An input whose type is that of what is linked to it."""
    return ["COMFY_MATCHTYPE_V3", more | {"template": {"template_id": template, "allowed_types": types}}]


CLASSES: Final = (
    NodeClass(
        "PrimitiveInt",
        {"value": ["INT", {"min": -_INT_MAX, "max": _INT_MAX, "control_after_generate": "fixed"}]},
        ("INT",),
        _one_value,
        module=_PRIMITIVE,
    ),
    NodeClass(
        "PrimitiveFloat",
        {"value": ["FLOAT", {"min": -_INT_MAX, "max": _INT_MAX, "step": 0.1}]},
        ("FLOAT",),
        _one_value,
        module=_PRIMITIVE,
    ),
    NodeClass("PrimitiveBoolean", {"value": ["BOOLEAN", {}]}, ("BOOLEAN",), _one_value, module=_PRIMITIVE),
    NodeClass(
        "ComfySwitchNode",
        {
            "switch": ["BOOLEAN", {}],
            "on_false": _matched("switch", lazy=True),
            "on_true": _matched("switch", lazy=True),
        },
        ("COMFY_MATCHTYPE_V3",),
        _switched,
        module="comfy_extras.nodes_logic",
    ),
    NodeClass(
        "Any Switch (rgthree)",
        {},
        ("*",),
        _first_given,
        optional={f"any_{place:02}": ["*"] for place in range(1, 6)},
        module=_RGTHREE,
    ),
    NodeClass(
        "Seed (rgthree)",
        {"seed": seed(RGTHREE_SEED_MAX, -RGTHREE_SEED_MAX)},
        ("INT",),
        lambda inputs, _: (inputs["seed"],),
        module=_RGTHREE,
    ),
    NodeClass(
        "NoiseImage",
        {
            "width": whole(64, 1, PIXELS_MAX),
            "height": whole(64, 1, PIXELS_MAX),
            "seed": seed(SMALL_SEED_MAX),
            "batch_size": whole(1, 1, 64),
        },
        ("IMAGE",),
        _noise_image,
        images=lambda inputs: int(inputs["batch_size"]),
        module="custom_nodes.noise-image",
    ),
    NodeClass(
        "BatchImagesNode",
        {
            "images": [
                "COMFY_AUTOGROW_V3",
                {
                    "template": {
                        "input": {"required": {"image": ["IMAGE", {}]}},
                        "prefix": "image",
                        "min": 1,
                        "max": 50,
                    }
                },
            ]
        },
        ("IMAGE",),
        _batched,
        module="comfy_extras.nodes_post_processing",
    ),
    NodeClass(
        "ResizeImageMaskNode",
        {
            "input": _matched("input_type", "IMAGE,MASK"),
            "resize_type": [
                _DYNAMIC,
                {
                    "options": [
                        option(
                            "scale dimensions",
                            width=whole(512, 0, PIXELS_MAX),
                            height=whole(512, 0, PIXELS_MAX),
                            crop=choice("disabled", "center"),
                        ),
                        option("scale by multiplier", multiplier=fraction(1.0, 0.01, 8.0)),
                    ]
                },
            ],
            "scale_method": choice("nearest-exact", "bilinear", "area", "bicubic", "lanczos"),
        },
        ("COMFY_MATCHTYPE_V3",),
        _resized,
        module="comfy_extras.nodes_post_processing",
    ),
    NodeClass(
        "RepeatLatentBatch",
        {"samples": ["LATENT"], "amount": whole(1, 1, 64)},
        ("LATENT",),
        _repeated,
    ),
)
