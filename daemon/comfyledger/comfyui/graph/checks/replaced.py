"""Node classes that ComfyUI knows under an older name. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from comfyledger.comfyui.object_info import ObjectInfo

_REPLACED: Final[Mapping[str, str]] = {
    "ResizeImagesByLongerEdge": "ImageScaleToMaxDimension",
    "ImageBatch": "BatchImagesNode",
    "ImageScaleBy": "ResizeImageMaskNode",
    "T2IAdapterLoader": "ControlNetLoader",
    "Load3DAnimation": "Load3D",
    "Preview3DAnimation": "Preview3D",
    "SDV_img2vid_Conditioning": "SVD_img2vid_Conditioning",
    "ConditioningAverage ": "ConditioningAverage",
}
"""Old classes that ComfyUI replaces by newer ones when it gets a prompt (0.29.0, `comfy_extras/nodes_replacements.py`).
It gives them other inputs, so nothing is said of those."""


def is_known(class_type: str, info: ObjectInfo) -> bool:
    """Whether a server has a class, or replaces it by one that it has."""
    return class_type in info or _REPLACED.get(class_type) in info
