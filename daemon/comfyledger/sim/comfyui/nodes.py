"""The node classes of the stand-in that make and save images: their inputs, their outputs, and what they do.

The catalogue describes inputs in the form of ComfyUI's own `/object_info`; validation and execution read it from here.
`run` knows neither clock nor clients: the worker waits, and sends sampler steps and previews.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from comfyledger.comfyui.messages import ViewFile
from comfyledger.sim.comfyui.folders import Folders, Medium
from comfyledger.sim.comfyui.pictures import Picture, plan_save, save

PIXELS_MAX: Final = 16_384
SEED_MAX: Final = 2**64 - 1
ListName = Literal["checkpoints", "loras", "vaes", "samplers", "schedulers", "embeddings"]
LISTS: Final[Mapping[ListName, list[str]]] = {
    "checkpoints": ["random-sd15.safetensors", "v1-5-pruned-emaonly.safetensors"],
    "loras": ["film-grain.safetensors", "styles/ink.safetensors"],
    "vaes": ["pixel_space", "vae-ft-mse-840000.safetensors"],
    "samplers": ["euler", "euler_ancestral", "heun", "dpmpp_2m", "dpmpp_sde", "ddim", "lcm"],
    "schedulers": ["normal", "karras", "exponential", "sgm_uniform", "simple", "ddim_uniform"],
    "embeddings": ["opal-fever", "styles/ink"],
}
"""What a stand-in has from its start. ComfyUI finds models in its folders; custom nodes add samplers."""


class Latent(msgspec.Struct, frozen=True):
    """A batch of latents: a size, a count and the text from which all noise is derived. `seconds`: of a sound."""

    width: int
    height: int
    batch_size: int
    seed: str = ""
    seconds: float = 0.0


class Surroundings(msgspec.Struct, frozen=True):
    """What a node may use besides its inputs."""

    folders: Folders
    temp_suffix: str
    texts: Mapping[str, Any]
    """Prompt and workflow."""
    keeps_metadata: bool
    now: datetime

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What goes into files; nothing with `--disable-metadata`, which some savers do not ask for."""
        return self.texts if self.keeps_metadata else {}


class Saved(msgspec.Struct, frozen=True):
    """The result of an output node: the files that it wrote, what the history shows of it, and values for its links.

    `then` goes on to write: between the files a machine may die.
    """

    files: tuple[ViewFile, ...] = ()
    shown: dict[str, Any] | None = None
    values: tuple[Any, ...] = ()
    then: Callable[[], Saved] | None = None


Inputs = Mapping[str, Any]
Config = list[Any]


class ListOf(msgspec.Struct, frozen=True):
    """Stands in an input's description for the names that are there now."""

    name: ListName


class FilesOf(msgspec.Struct, frozen=True):
    """Stands in an input's description for the names that lie in the input folder now. `first` come before them."""

    media: tuple[Medium, ...]
    first: tuple[str, ...] = ()


class Loads(msgspec.Struct, frozen=True):
    """The file that a class loads: which input names it, and how the class looks after it."""

    name: str
    refusal: str = ""
    """What the class says of a name that is not there. Empty: the name is compared with the list, as by a class that
    says nothing."""
    fingerprint: Literal["", "sha256", "mtime"] = ""
    """By what the class notices that the file is another one. Empty: not at all, so its results stay cached."""
    takes_all: bool = False
    """Whether its check takes all inputs. Then none is compared with its range, a refusal names each, and "none" and
    nothing are no file."""


class NodeClass(msgspec.Struct, frozen=True):
    """A node class. `images` is the number of images that a run makes, for a class that takes time for each of them."""

    name: str
    required: Mapping[str, Config]
    returns: tuple[str, ...]
    run: Callable[[Inputs, Surroundings], tuple[Any, ...] | Saved]
    is_output: bool = False
    images: Callable[[Inputs], int] = lambda inputs: 0
    steps: Callable[[Inputs], int] = lambda inputs: 0
    optional: Mapping[str, Config] = msgspec.field(default_factory=dict)
    module: str = "nodes"
    loads: Loads | None = None

    @property
    def is_v3(self) -> bool:
        """Whether it is written with ComfyUI's newer API, which alone has inputs that grow or change."""
        return self.module.startswith("comfy_extras.")


def shown(key: str, files: Sequence[ViewFile], *values: Any, animated: bool = False) -> Saved:
    """Files as the history shows them, under the key of their node."""
    listed = {key: msgspec.to_builtins(files)} | ({"animated": [True]} if animated else {})
    return Saved(tuple(files), listed, values)


def whole(default: int, least: int, most: int, step: int = 1) -> Config:
    return ["INT", {"default": default, "min": least, "max": most, "step": step}]


def seed(most: int, least: int = 0) -> Config:
    """A seed, which ComfyUI's own page changes after each run if it is told so."""
    return ["INT", {"default": 0, "min": least, "max": most, "control_after_generate": True}]


def fraction(default: float, least: float, most: float) -> Config:
    return ["FLOAT", {"default": default, "min": least, "max": most, "step": 0.01}]


def choice(*options: str) -> Config:
    """An input that takes one of these, as newer nodes describe it."""
    return ["COMBO", {"default": options[0], "multiselect": False, "options": list(options)}]


def option(key: str, **inputs: Config) -> dict[str, Any]:
    """One choice of a dynamic combo, with the inputs that it brings."""
    return {"key": key, "inputs": {"required": inputs}}


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _empty_image(inputs: Inputs, _: Surroundings) -> tuple[Any, ...]:
    picture = Picture(inputs["width"], inputs["height"], inputs["color"])
    return ((picture,) * inputs["batch_size"],)


def _sample(inputs: Inputs, _: Surroundings) -> tuple[Any, ...]:
    latent: Latent = inputs["latent_image"]
    words = [inputs[name] for name in ("model", "positive", "negative", "seed", "steps", "cfg", "denoise")]
    noise = digest(latent.seed, inputs["sampler_name"], inputs["scheduler"], *words)
    return (msgspec.structs.replace(latent, seed=noise),)


def _decode(inputs: Inputs, _: Surroundings) -> tuple[Any, ...]:
    latent: Latent = inputs["samples"]
    # The noise of a batch comes from one seed: picture 3 of 4 is not the picture that its seed gives alone.
    pictures = [Picture(latent.width, latent.height, seed=f"{latent.seed}/{k}") for k in range(latent.batch_size)]
    return (tuple(pictures),)


def _save_image(inputs: Inputs, around: Surroundings) -> Saved:
    return _written(around.folders.output, "output", inputs["filename_prefix"], inputs["images"], around)


def _preview_image(inputs: Inputs, around: Surroundings) -> Saved:
    prefix = f"ComfyUI_temp_{around.temp_suffix}"
    return _written(around.folders.temp, "temp", prefix, inputs["images"], around)


def _written(root: Path, kind: str, prefix: str, pictures: tuple[Picture, ...], around: Surroundings) -> Saved:
    plan = plan_save(root, prefix, pictures[0], around.now)
    names = [plan.filename(index) for index in range(len(pictures))]
    for name, picture in zip(names, pictures, strict=True):
        save(picture, plan.folder / name, dict(around.metadata))
    return shown("images", [ViewFile(name, plan.subfolder, kind) for name in names], pictures)


CLASSES: Final = (
    NodeClass(
        "EmptyImage",
        {
            "width": whole(512, 1, PIXELS_MAX),
            "height": whole(512, 1, PIXELS_MAX),
            "batch_size": whole(1, 1, 4096),
            "color": ["INT", {"default": 0, "min": 0, "max": 0xFFFFFF, "step": 1, "display": "color"}],
        },
        ("IMAGE",),
        _empty_image,
        images=lambda inputs: int(inputs["batch_size"]),
    ),
    NodeClass(
        "ImageBlur",
        {"image": ["IMAGE"], "blur_radius": whole(1, 1, 31), "sigma": fraction(1.0, 0.1, 10.0)},
        ("IMAGE",),
        # Blurring a plain colour changes nothing, and nothing depends on how blurred noise looks.
        lambda inputs, _: (inputs["image"],),
        module="comfy_extras.nodes_post_processing",
    ),
    NodeClass(
        "SaveImage",
        {"images": ["IMAGE"], "filename_prefix": ["STRING", {"default": "ComfyUI"}]},
        ("IMAGE",),
        _save_image,
        is_output=True,
    ),
    NodeClass("PreviewImage", {"images": ["IMAGE"]}, ("IMAGE",), _preview_image, is_output=True),
    NodeClass(
        "CheckpointLoaderSimple",
        {"ckpt_name": [ListOf("checkpoints"), {}]},
        ("MODEL", "CLIP", "VAE"),
        lambda inputs, _: (inputs["ckpt_name"],) * 3,
    ),
    NodeClass(
        "EmptyLatentImage",
        {
            "width": whole(512, 16, PIXELS_MAX, 8),
            "height": whole(512, 16, PIXELS_MAX, 8),
            "batch_size": whole(1, 1, 4096),
        },
        ("LATENT",),
        lambda inputs, _: (Latent(inputs["width"], inputs["height"], inputs["batch_size"]),),
    ),
    NodeClass(
        "CLIPTextEncode",
        {"text": ["STRING", {"multiline": True, "dynamicPrompts": True}], "clip": ["CLIP"]},
        ("CONDITIONING",),
        lambda inputs, _: (digest(inputs["text"], inputs["clip"]),),
    ),
    NodeClass(
        "KSampler",
        {
            "model": ["MODEL"],
            "seed": seed(SEED_MAX),
            "steps": whole(20, 1, 10_000),
            "cfg": fraction(8.0, 0.0, 100.0),
            "sampler_name": [ListOf("samplers"), {}],
            "scheduler": [ListOf("schedulers"), {}],
            "positive": ["CONDITIONING"],
            "negative": ["CONDITIONING"],
            "latent_image": ["LATENT"],
            "denoise": fraction(1.0, 0.0, 1.0),
        },
        ("LATENT",),
        _sample,
        images=lambda inputs: int(inputs["latent_image"].batch_size),
        steps=lambda inputs: int(inputs["steps"]),
    ),
    NodeClass(
        "VAEDecode",
        {"samples": ["LATENT"], "vae": ["VAE"]},
        ("IMAGE",),
        _decode,
    ),
)
