"""Sample workflows in ComfyUI's API format, shipped with the package, and the names of their inputs.

The workflows are plain files beside this module, which imports nothing of the package. To use one, pass its bytes to
`comfyui.graph.read_graph` and its inputs to `plan_workflow`, as with a workflow of your own.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType
from typing import NamedTuple


class Sample(NamedTuple):
    """One sample workflow. `inputs` are named inputs with their addresses, as in
    `[workflows.NAME.inputs]`."""

    file: str
    description: str
    inputs: Mapping[str, str]


SAMPLES: Mapping[str, Sample] = MappingProxyType(
    {
        "empty-image": Sample(
            "empty-image.json",
            "An image of one colour. Needs no model, runs on any ComfyUI, and has no seed.",
            MappingProxyType({"color": "1.color", "width": "1.width", "height": "1.height"}),
        ),
        "text-to-image": Sample(
            "text-to-image.json",
            "Stable Diffusion 1.5 from a prompt. Needs the checkpoint that the input `checkpoint` names.",
            MappingProxyType(
                {
                    "prompt": "6.text",
                    "negative": "7.text",
                    "checkpoint": "4.ckpt_name",
                    "width": "5.width",
                    "height": "5.height",
                    "steps": "3.steps",
                    "cfg": "3.cfg",
                }
            ),
        ),
    }
)


def load(name: str) -> bytes:
    """The JSON of a sample. Raises KeyError for a name that is not in SAMPLES."""
    return resources.files(__name__).joinpath(SAMPLES[name].file).read_bytes()
