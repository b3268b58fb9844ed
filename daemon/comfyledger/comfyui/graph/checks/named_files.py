"""The files that a workflow names: models, and what must lie in ComfyUI's input folder. PURE.

ComfyUI lists the files that it has as the choices of an input. Its loaders take more than that: a name below a
subfolder, or one with the folder behind it, `name [output]`. So a name that is not in the list is missing only if the
list would have it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from comfyledger.comfyui.graph.checks.replaced import is_known
from comfyledger.comfyui.graph.nodes import Graph, by_number
from comfyledger.comfyui.graph.secret_inputs import words_of
from comfyledger.comfyui.object_info import COMBO, Input, NodeClass, ObjectInfo, inputs_of

NAME_CHARS_MAX: Final = 512
"""No file name is longer; a longer text is a prompt."""
_IMAGES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
_VIDEOS: Final = frozenset({".mp4", ".mov", ".webm", ".avi", ".mpg", ".mpeg"})
_SOUNDS: Final = frozenset({".mp3", ".wav"})
_LATENTS: Final = frozenset({".latent"})
_LISTED: Final = {"image_upload": _IMAGES, "video_upload": _VIDEOS, "audio_upload": _SOUNDS | _VIDEOS}
"""The endings that a list shows by the mark of its input. ComfyUI asks Python's `mimetypes` (`folder_paths.py`,
`filter_files_content_types`), whose answer depends on the machine: these it knows on every one."""
_UNMARKED: Final = {("LoadLatent", "latent"): _LATENTS, ("WebcamCapture", "image"): frozenset[str]()}
"""Inputs of ComfyUI 0.29.0 that name a file and have no mark, with the endings that their lists show (`nodes.py`,
`comfy_extras/nodes_webcam.py`)."""
_UPLOADED: Final = (*_LISTED, "file_upload")
_MEDIA: Final = _IMAGES | _VIDEOS | _SOUNDS | _LATENTS | frozenset({".flac", ".ogg", ".m4a", ".mkv", ".avif", ".glb"})
_MODELS: Final = frozenset(
    {".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".gguf", ".onnx", ".engine"}
)
"""The endings of weights: ComfyUI's own (`folder_paths.py`, `supported_pt_extensions`) and those of well-known custom
nodes."""
_NO_MODEL: Final = frozenset({"prefix", "url"})
"""Words in the name of an input that is no model of ComfyUI's: where to save one, where to get it."""
_LEADS_ELSEWHERE: Final = re.compile(r"[/\\~]|[A-Za-z][A-Za-z+]*:")
"""A path from the root, or an address."""
_ELSEWHERE: Final = ("[output]", "[temp]")
_HERE: Final = "[input]"


def names_model(value: object) -> bool:
    """Whether a value is the file name of a model."""
    return isinstance(value, str) and _ending(value) in _MODELS


def names_medium(value: object) -> bool:
    """Whether a value is the file name of a picture, a video, a sound or another file that people upload."""
    return isinstance(value, str) and _ending(value) in _MEDIA and not _LEADS_ELSEWHERE.match(value)


def marks_of(one: Input) -> list[str]:
    """The marks of an input that say what people upload for it: `image_upload`, `video_upload`, ..."""
    return [mark for mark in _UPLOADED if one.config.get(mark) is True]


def takes_uploads(node_class: NodeClass, one: Input) -> bool:
    """Whether an input names a file that people upload. ComfyUI then looks whether the file is there, and not whether
    its name is in the list.
    """
    is_marked = one.type == COMBO and bool(marks_of(one))
    return is_marked or (node_class.name, one.name) in _UNMARKED


def takes_texts_only(node_class: NodeClass, one: Input) -> bool:
    """Whether ComfyUI refuses a link and everything but a text for an input that takes uploads. Its own loaders fail
    there, except those of 3D models; custom nodes may see more in it.
    """
    return not node_class.is_custom and one.config.get("file_upload") is not True


def is_surely_missing(node_class: NodeClass, one: Input, value: object) -> bool:
    """Whether a file that an input names is surely not in ComfyUI's input folder: a name at its top level, with an
    ending that the list would show, and not in the list; or the address of a file elsewhere.
    """
    if one.options is None or not isinstance(value, str) or not _in_input_folder(one, value):
        return False
    if "://" in value:
        return True
    name = value.removesuffix(_HERE).rstrip()
    if "/" in name or "\\" in name or not _is_listed(node_class, one, _ending(name)):
        return False
    folded = _folded(name)
    return not any(isinstance(option, str) and _folded(option) == folded for option in one.options)


def _is_listed(node_class: NodeClass, one: Input, ending: str) -> bool:
    """Whether the list of an input would show a file. What the list of a custom node shows is seen from the list."""
    marks = (mark for mark in _LISTED if one.config.get(mark) is True)
    endings = _UNMARKED.get((node_class.name, one.name)) or _LISTED.get(next(marks, ""), frozenset())
    is_seen = not node_class.is_custom or any(_ending(str(option)) == ending for option in one.options or ())
    return ending in endings and is_seen


def _in_input_folder(one: Input, value: str) -> bool:
    return one.config.get("image_folder", "input") == "input" and not value.endswith(_ELSEWHERE)


def _folded(name: str) -> str:
    """Some file systems fold case and the forms of Unicode."""
    return unicodedata.normalize("NFC", name).casefold()


def _ending(value: str) -> str:
    """The ending of a file name in lower case; empty if the text cannot be one."""
    if len(value) > NAME_CHARS_MAX or not value.isprintable():
        return ""
    stem, dot, ending = value.rpartition(".")
    return f".{ending.lower()}" if stem and dot else ""


# What a workflow needs


def unknown_classes(graph: Graph, info: ObjectInfo, nodes: Collection[str] | None = None) -> tuple[str, ...]:
    """The node classes that a server does not have, each once, by name. `nodes`: only these; None for all."""
    classes = {graph[node]["class_type"] for node in _wanted(graph, nodes)}
    return tuple(sorted(one for one in classes if not is_known(one, info)))


def models(graph: Graph, nodes: Collection[str] | None = None) -> tuple[str, ...]:
    """The file names of models in a graph, each once, in the order of the nodes. `nodes`: only these; None for all.

    A model is known by its ending.
    """
    found = (
        value
        for node_id in _wanted(graph, nodes)
        for name, given in graph[node_id]["inputs"].items()
        if not _NO_MODEL.intersection(words_of(name))
        for value in _texts(given)
        if names_model(value) and not _LEADS_ELSEWHERE.match(value)
    )
    return tuple(dict.fromkeys(found))


def files(graph: Graph, info: ObjectInfo | None = None, nodes: Collection[str] | None = None) -> tuple[str, ...]:
    """The names of files that must be in ComfyUI's input folder, each once, in the order of the nodes. `nodes`: only
    these; None for all.

    Of a custom node, or without `info`, the name of the class and the ending of the value decide.
    """
    found = (name for node_id in _wanted(graph, nodes) for name in _files_of(graph[node_id], info))
    return tuple(dict.fromkeys(name.removesuffix(_HERE).rstrip() for name in found))


def _files_of(node: Mapping[str, Any], info: ObjectInfo | None) -> Iterator[str]:
    given = node["inputs"]
    node_class = info.get(node["class_type"]) if info is not None else None
    if (node_class is None or node_class.is_custom) and "load" in words_of(node["class_type"]):
        yield from (value for value in given.values() if names_medium(value))
    if node_class is None:
        return
    for name, one in inputs_of(node_class, given).items():
        if takes_uploads(node_class, one) and _names_upload(one, given.get(name)):
            yield given[name]


def _names_upload(one: Input, value: object) -> bool:
    """Whether a value is a name in the input folder, and no choice like "none"."""
    if not isinstance(value, str) or not value or _LEADS_ELSEWHERE.match(value) or not _in_input_folder(one, value):
        return False
    return bool(_ending(value)) or value not in (one.options or ())


def _wanted(graph: Graph, nodes: Iterable[str] | None) -> list[str]:
    return sorted(graph if nodes is None else nodes, key=by_number)


def _texts(value: object) -> Iterator[str]:
    """A text, or the texts of an object that is switched on, as loaders of many models have them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict) and value.get("on") is not False:
        yield from (inner for inner in value.values() if isinstance(inner, str))
