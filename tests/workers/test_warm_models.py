"""What is told of the models that a ComfyUI has loaded: those of the last prompt, as far as its outputs need them."""

from __future__ import annotations

from typing import Any

from comfyledger.workers.comfyui.warm_models import NAME_CHARS_MAX, NAMES_MAX, WarmModels


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


GRAPH = {
    "1": node("CheckpointLoaderSimple", ckpt_name="sd15.safetensors"),
    "2": node("LoraLoader", model=["1", 0], lora_name="fox.safetensors"),
    "3": node("SaveImage", images=["2", 0], filename_prefix="x"),
    "4": node("VAELoader", vae_name="other.safetensors"),
    "5": node("SaveImage", images=["4", 0], filename_prefix="x"),
}


def test_nothing_is_known_before_a_prompt_was_sent() -> None:
    assert WarmModels().names is None


def test_the_last_prompt_counts_and_only_what_its_outputs_need() -> None:
    warm = WarmModels()
    warm.sent(GRAPH, ["3"])
    assert warm.names == ("fox.safetensors", "sd15.safetensors")
    warm.sent(GRAPH, ["5"])
    assert warm.names == ("other.safetensors",)
    warm.sent({"1": node("EmptyImage"), "3": node("SaveImage", images=["1", 0])}, ["3"])
    assert warm.names == ()


def test_what_a_stranger_names_is_bounded() -> None:
    warm = WarmModels()
    loaders = {str(n): node("LoraLoader", lora_name=f"{n:04}.safetensors") for n in range(100)}
    loaders["x"] = node("LoraLoader", lora_name="0" * NAME_CHARS_MAX + ".safetensors")
    warm.sent(loaders, loaders)
    assert warm.names is not None
    assert len(warm.names) == NAMES_MAX
    assert max(map(len, warm.names)) <= NAME_CHARS_MAX
