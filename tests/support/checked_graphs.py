"""Graphs for the check of workflows: right ones, and ones made wrong, each with the mistakes that must be found.

All have classes of the stand-in, and each but those of custom nodes runs on a ComfyUI 0.29.0 that has the models.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from support.graphs import node
from support.page_documents import document

Graph = dict[str, Any]
Mistake = tuple[str, str, str]
"""Node, input, kind."""
GONE: Final = object()
CROP: Final = "resize_type.crop"
MULTIPLIER: Final = "resize_type.multiplier"

FORMS: Final[Mapping[str, Callable[[Graph, Graph], Any]]] = {
    "bare": lambda graph, _: graph,
    "prompt": lambda graph, _: {"prompt": graph, "client_id": "x"},
    "input": lambda graph, _: {"input": {"workflow": graph}},
    "beside": lambda graph, _: {**graph, "_meta": {"author": "x"}, "version": "1.2"},
    "ui": document,
    "ui in a wrapper": lambda graph, info: {"workflow": document(graph, info)},
}
"""How a graph is handed over. The second argument is what `/object_info` answers."""


class Case(NamedTuple):
    """A workflow as it is handed over. `mistakes`: those that must be found, none if it is right."""

    graph: Graph
    form: str = "bare"
    mistakes: frozenset[Mistake] = frozenset()


def sampled() -> Graph:
    """One image of 8 by 8 pixels, in one step."""
    graph: Graph = {
        "3": node(
            "KSampler",
            seed=5,
            steps=1,
            cfg=7.0,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
            model=["10", 0],
            positive=["6", 0],
            negative=["7", 0],
            latent_image=["5", 0],
        ),
        "4": node("CheckpointLoaderSimple", ckpt_name="random-sd15.safetensors"),
        "5": node("EmptyLatentImage", width=16, height=16, batch_size=1),
        "6": node("CLIPTextEncode", text="a portrait", clip=["10", 1]),
        "7": node("CLIPTextEncode", text="blurry", clip=["10", 1]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", images=["17", 0], filename_prefix="x"),
        "10": node(
            "LoraLoader",
            model=["4", 0],
            clip=["4", 1],
            lora_name="film-grain.safetensors",
            strength_model=1.0,
            strength_clip=0.5,
        ),
        "16": node(
            "ResizeImageMaskNode",
            input=["8", 0],
            resize_type="scale by multiplier",
            scale_method="area",
        ),
        "17": node("BatchImagesNode"),
    }
    graph["16"]["inputs"][MULTIPLIER] = 0.5
    graph["17"]["inputs"]["images.image0"] = ["16", 0]
    return graph


def changed(values: Mapping[str, Any], **more: Any) -> Graph:
    """The graph above with other values, by address. GONE takes an input away; without an input the class is meant.
    `more`: further nodes by id, after an underscore.
    """
    graph = sampled() | {name.removeprefix("_"): copy.deepcopy(added) for name, added in more.items()}
    for address, value in values.items():
        node_id, _, name = address.partition(".")
        if not name:
            graph[node_id]["class_type"] = value
        elif value is GONE:
            del graph[node_id]["inputs"][name]
        else:
            graph[node_id]["inputs"][name] = value
    return graph


def wrong(values: Mapping[str, Any], *mistakes: str, form: str = "bare", **more: Any) -> Case:
    """A case with mistakes, each as `NODE.INPUT KIND` or `NODE KIND`."""
    found: set[Mistake] = set()
    for mistake in mistakes:
        address, kind = mistake.split(" ")
        node_id, _, name = address.partition(".")
        found.add((node_id, name, kind))
    return Case(changed(values, **more), form, frozenset(found))


def right(values: Mapping[str, Any], form: str = "bare", **more: Any) -> Case:
    return Case(changed(values, **more), form)


_LOADED: Final = node("LoadImage", image="example.png")
_SWITCH: Final = node("ComfySwitchNode", switch=True, on_false=["21", 0], on_true=["21", 0])
_SEED: Final = node("PrimitiveInt", value=7)

WRONG: Final[Mapping[str, Case]] = {
    "a class": wrong({"10": "LoraLoadr"}, "10 missing_node_type"),
    "a class, UI": wrong({"10": "LoraLoadr"}, "10 missing_node_type", form="ui"),
    "two classes": wrong({"10": "Lora", "16": "Resize"}, "10 missing_node_type", "16 missing_node_type", form="prompt"),
    "a checkpoint": wrong({"4.ckpt_name": "sd15.safetensors"}, "4.ckpt_name value_not_in_list"),
    "a checkpoint, UI": wrong({"4.ckpt_name": "sd15.ckpt"}, "4.ckpt_name value_not_in_list", form="ui"),
    "a LoRA in a folder": wrong({"10.lora_name": "ink.safetensors"}, "10.lora_name value_not_in_list", form="input"),
    "a sampler": wrong({"3.sampler_name": "Euler a"}, "3.sampler_name value_not_in_list", form="ui in a wrapper"),
    "a scheduler": wrong({"3.scheduler": "fast"}, "3.scheduler value_not_in_list", form="beside"),
    "too few steps": wrong({"3.steps": 0}, "3.steps value_smaller_than_min"),
    "too many steps, UI": wrong({"3.steps": 10_001}, "3.steps value_bigger_than_max", form="ui"),
    "below zero": wrong({"3.cfg": -0.5}, "3.cfg value_smaller_than_min"),
    "above one": wrong({"3.denoise": 1.01}, "3.denoise value_bigger_than_max"),
    "a width, UI": wrong({"5.width": 20_000}, "5.width value_bigger_than_max", form="ui"),
    "a word for a number": wrong({"3.cfg": "high"}, "3.cfg invalid_input_type"),
    "a word for a number, UI": wrong({"3.steps": "many"}, "3.steps invalid_input_type", form="ui"),
    "nothing for a number": wrong({"5.height": None}, "5.height invalid_input_type", form="prompt"),
    "no model": wrong({"3.model": GONE}, "3.model required_input_missing"),
    "no model, UI": wrong({"3.model": GONE}, "3.model required_input_missing", form="ui"),
    "no name": wrong({"4.ckpt_name": GONE}, "4.ckpt_name required_input_missing"),
    "a link to nothing": wrong({"3.model": ["404", 0]}, "3.model bad_linked_input"),
    "half a link": wrong({"3.model": ["4"]}, "3.model bad_linked_input"),
    "no such output": wrong({"3.model": ["4", 7]}, "3.model bad_linked_input"),
    "a VAE for a model": wrong({"3.model": ["4", 2]}, "3.model return_type_mismatch"),
    "latents for images, UI": wrong({"9.images": ["5", 0]}, "9.images return_type_mismatch", form="ui"),
    "a circle": wrong({"16.input": ["17", 0]}, "16 dependency_cycle"),
    "in a dynamic choice": wrong({f"16.{MULTIPLIER}": 9.0}, f"16.{MULTIPLIER} value_bigger_than_max"),
    "in a dynamic choice, UI": wrong({f"16.{MULTIPLIER}": 0.0}, f"16.{MULTIPLIER} value_smaller_than_min", form="ui"),
    "a choice without its input": wrong({f"16.{MULTIPLIER}": GONE}, f"16.{MULTIPLIER} required_input_missing"),
    "a growing list without its first": wrong(
        {"17.images.image0": GONE, "17.images.image1": ["16", 0]}, "17.images.image0 required_input_missing"
    ),
    "late in a growing list": wrong({"17.images.image9": ["5", 0]}, "17.images.image9 return_type_mismatch"),
    "a picture that is gone": wrong(
        {"17.images.image1": ["20", 0], "20.image": "gone.png"}, "20.image value_not_in_list", _20=_LOADED
    ),
    "through a switch": wrong(
        {"3.cfg": ["22", 0]},
        "21.value invalid_input_type",
        _21=node("PrimitiveFloat", value="high"),
        _22=_SWITCH,
    ),
    "three at once, UI": wrong(
        {"4.ckpt_name": "x.ckpt", "3.steps": 0, "10.clip": ["5", 0]},
        "4.ckpt_name value_not_in_list",
        "3.steps value_smaller_than_min",
        "10.clip return_type_mismatch",
        form="ui",
    ),
}

RIGHT: Final[Mapping[str, Case]] = {
    **{f"as it is, {form}": right({}, form) for form in FORMS},
    "numbers as texts": right({"3.steps": "1", "3.cfg": " 7.5 "}),
    "a fraction for a whole number": right({"3.steps": 1.9}),
    "true for a number": right({"3.denoise": True}),
    "the smallest": right({"3.cfg": 0, "3.denoise": 0.0}),
    "the smallest, UI": right({"3.cfg": 0, "3.denoise": 0.0}, "ui"),
    "the largest": right({"3.cfg": 100, "10.strength_model": 100.0}),
    "a LoRA in a folder": right({"10.lora_name": "styles/ink.safetensors"}),
    "a LoRA in a folder, UI": right({"10.lora_name": "styles/ink.safetensors"}, "ui"),
    "inputs that no class has": right({"3.speed": "fast", "9.comment": None}),
    "a value for what is linked": right({"3.model": "any"}),
    "another choice": right(
        {
            "16.resize_type": "scale dimensions",
            "16.resize_type.width": 8,
            "16.resize_type.height": 0,
            f"16.{CROP}": "center",
        }
    ),
    "another choice, UI": right(
        {
            "16.resize_type": "scale dimensions",
            "16.resize_type.width": 8,
            "16.resize_type.height": 0,
            f"16.{CROP}": "center",
        },
        "ui",
    ),
    "a link with a negative slot": right({"3.model": ["10", -2]}),
    "an input picture": right({"9.images": ["20", 0]}, _20=_LOADED),
    "an input picture, UI": right({"9.images": ["20", 0]}, "ui", _20=_LOADED),
    "an input picture of the input folder": right(
        {"9.images": ["20", 0], "20.image": "example.png [input]"}, _20=_LOADED
    ),
    "a primitive seed": right({"3.seed": ["21", 0]}, _21=_SEED),
    "a primitive seed, UI": right({"3.seed": ["21", 0]}, "ui", _21=_SEED),
    "a switch": right({"3.seed": ["22", 0]}, _21=_SEED, _22=_SWITCH),
    "a switch, UI": right({"3.seed": ["22", 0]}, "ui", _21=_SEED, _22=_SWITCH),
    "any type": right(
        {"9.images": ["23", 0]}, _23=node("Any Switch (rgthree)", any_01=["17", 0]), _24=node("Seed (rgthree)", seed=-1)
    ),
    "a class that nobody needs": right({}, _25=node("NoSuchNode", images=["17", 0])),
    "a class that nobody needs, UI": right({}, "ui", _25=node("NoSuchNode")),
    "a preview beside it": right({}, _25=node("PreviewImage", images=["8", 0])),
    "a preview beside it, UI": right({}, "ui", _25=node("PreviewImage", images=["8", 0])),
}
