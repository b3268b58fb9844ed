"""The node classes of the stand-in that make something of pictures and masks. What comes out follows what went in.

Names, inputs and types are those of ComfyUI 0.29.0.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from comfyledger.sim.comfyui.nodes import Inputs, Latent, NodeClass, Surroundings, digest, fraction, whole
from comfyledger.sim.comfyui.pictures import Picture

_LATENT_PX: Final = 8


def _encoded(inputs: Inputs, _: Surroundings) -> tuple[Any, ...]:
    pictures: tuple[Picture, ...] = inputs["pixels"]
    masks, grown = inputs.get("mask", ()), inputs.get("grow_mask_by")
    seed = digest([each.mark for each in (*pictures, *masks)], inputs["vae"], grown)
    width, height = (max(side // _LATENT_PX, 1) * _LATENT_PX for side in (pictures[0].width, pictures[0].height))
    return (Latent(width, height, len(pictures), seed),)


def _scaled(inputs: Inputs, _: Surroundings) -> tuple[Any, ...]:
    def size(side: int) -> int:
        return max(1, round(side * float(inputs["scale_by"])))

    pictures: tuple[Picture, ...] = inputs["image"]
    return (tuple(msgspec.structs.replace(p, width=size(p.width), height=size(p.height)) for p in pictures),)


CLASSES: Final = (
    NodeClass("VAEEncode", {"pixels": ["IMAGE"], "vae": ["VAE"]}, ("LATENT",), _encoded),
    NodeClass(
        "VAEEncodeForInpaint",
        {"pixels": ["IMAGE"], "vae": ["VAE"], "mask": ["MASK"], "grow_mask_by": whole(6, 0, 64)},
        ("LATENT",),
        _encoded,
    ),
    NodeClass(
        "MaskToImage",
        {"mask": ["MASK", {}]},
        ("IMAGE",),
        lambda inputs, _: (inputs["mask"],),
        module="comfy_extras.nodes_mask",
    ),
    NodeClass(
        "ImageScaleBy",
        {
            "image": ["IMAGE"],
            "upscale_method": [["nearest-exact", "bilinear", "area", "bicubic", "lanczos"]],
            "scale_by": fraction(1.0, 0.01, 8.0),
        },
        ("IMAGE",),
        _scaled,
    ),
)
