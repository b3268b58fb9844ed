"""The node classes of the stand-in that load a model by its name: LoRAs and VAEs.

Names, inputs and types are those of ComfyUI 0.29.0.
"""

from __future__ import annotations

from typing import Any, Final

from comfyledger.sim.comfyui.nodes import Inputs, ListOf, NodeClass, Surroundings, digest, fraction

_STRENGTH: Final = fraction(1.0, -100.0, 100.0)


def _with_lora(inputs: Inputs, _: Surroundings) -> tuple[Any, ...]:
    model = digest(inputs["model"], inputs["lora_name"], inputs["strength_model"])
    return model, digest(inputs.get("clip"), inputs["lora_name"], inputs.get("strength_clip"))


CLASSES: Final = (
    NodeClass(
        "LoraLoader",
        {
            "model": ["MODEL"],
            "clip": ["CLIP"],
            "lora_name": [ListOf("loras"), {}],
            "strength_model": _STRENGTH,
            "strength_clip": _STRENGTH,
        },
        ("MODEL", "CLIP"),
        _with_lora,
    ),
    NodeClass(
        "LoraLoaderModelOnly",
        {"model": ["MODEL"], "lora_name": [ListOf("loras")], "strength_model": _STRENGTH},
        ("MODEL",),
        lambda inputs, around: _with_lora(inputs, around)[:1],
    ),
    NodeClass("VAELoader", {"vae_name": [ListOf("vaes")]}, ("VAE",), lambda inputs, _: (inputs["vae_name"],)),
)
