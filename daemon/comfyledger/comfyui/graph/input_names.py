"""Which inputs of a graph take a file from ComfyUI's input folder, which files, and under which name. PURE.

ComfyUI lists only the top level of that folder. Its own loaders look for the file and not for its name in the list, so
their files lie in subfolders, where a hundred thousand are no burden. A custom loader may do the same or not, and
`/object_info` does not tell: one with the mark of an upload may still refuse what its list does not have. Its files lie
at the top level, which every loader takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from comfyledger.comfyui.graph.checks.named_files import marks_of, names_medium, names_model
from comfyledger.comfyui.graph.nodes import Graph, locate
from comfyledger.comfyui.graph.secret_inputs import words_of
from comfyledger.comfyui.object_info import COMBO, Input, NodeClass, ObjectInfo, inputs_of
from comfyledger.core.media import Medium, medium_of
from comfyledger.core.values import LoadedFile

PREFIX: Final = "comfyledger"
_LOADING: Final = frozenset({"load", "loader", "upload", "read", "reader"})
"""Words in the class of a custom node that loads files."""
_FILES: Final = frozenset(
    {"image", "images", "picture", "mask", "video", "gif", "audio", "sound", "file", "filename", "latent"}
)
"""Words in the name of an input that names one."""


class TakesFile(NamedTuple):
    """What an input that names a file takes."""

    media: frozenset[Medium] = frozenset()
    """Empty, and `extensions` too: any file."""
    extensions: frozenset[str] = frozenset()
    """What it takes beside these media."""
    top_level: bool = False
    """Whether the file must lie at the top level of the input folder."""

    def takes(self, extension: str, medium: Medium | None = None) -> bool:
        """Whether it takes a file with this extension. `medium`: for a file that is not made yet, what it will be."""
        if not (self.media or self.extensions):
            return True
        return extension in self.extensions or (medium or medium_of(extension)) in self.media


_PICTURES: Final = TakesFile(frozenset({"image"}))
_VIDEOS: Final = TakesFile(frozenset({"video"}), frozenset({"gif", "webp"}))
"""Some pictures move."""
_SOUNDS: Final = TakesFile(frozenset({"audio", "video"}))
_ANY: Final = TakesFile()
_MARKED: Final = {
    "image_upload": _PICTURES,
    "video_upload": _VIDEOS,
    "audio_upload": _SOUNDS,
    "file_upload": _ANY,
}
_OWN: Final = {
    ("LoadImage", "image"): _PICTURES,
    ("LoadImageMask", "image"): _PICTURES,
    ("LoadImageOutput", "image"): _PICTURES,
    ("Painter", "mask"): _PICTURES,
    ("WebcamCapture", "image"): _PICTURES,
    ("LoadVideo", "file"): _VIDEOS,
    ("LoadAudio", "audio"): _SOUNDS,
    ("Load3D", "model_file"): _ANY,
    ("Load3DAdvanced", "model_file"): _ANY,
    ("LoadLatent", "latent"): TakesFile(extensions=frozenset({"latent"})),
}
"""ComfyUI's own inputs that name a file (0.29.0). They take a file in a subfolder."""


def takes_file(graph: Graph, address: str, info: ObjectInfo | None) -> TakesFile | None:
    """What the input at an address takes, if it names a file in the input folder; None for every other input.

    Without `info`, or if it does not have the class, the names of class and input decide, and what stands there. A text
    in which people type a path of the machine takes no file.
    """
    place = locate(graph, address)
    if place is None:
        return None
    node_id, name = place
    node = graph[node_id]
    own = _OWN.get((node["class_type"], name))
    if own is not None:
        return own
    node_class = info.get(node["class_type"]) if info is not None else None
    if node_class is None:
        return _by_words(node, name)
    one = inputs_of(node_class, node["inputs"]).get(name)
    return _as_described(node_class, one) if one is not None else None


def input_name(sha256: str, extension: str, *, top_level: bool) -> str:
    """The name of a file in the input folder, as a loader takes it. It follows from the bytes alone, so equal names
    mean equal bytes on every server. `extension`: without a dot.
    """
    if top_level:
        return f"{PREFIX}-{sha256}.{extension}"
    return f"{PREFIX}/{sha256[:2]}/{sha256}.{extension}"


def input_names(graph: Graph, loads: Iterable[LoadedFile], info: ObjectInfo | None) -> dict[str, str]:
    """The names of files whose bytes are known, by address. What is not known to look elsewhere gets a name at the top
    level.
    """
    taken = {load.at: (load, takes_file(graph, load.at, info)) for load in loads}
    return {
        at: input_name(load.sha256, load.extension, top_level=takes is None or takes.top_level)
        for at, (load, takes) in taken.items()
    }


def _as_described(node_class: NodeClass, one: Input) -> TakesFile | None:
    if one.config.get("image_folder", "input") != "input":
        return None
    taken = next((_MARKED[mark] for mark in marks_of(one)), None)
    if taken is None and (not node_class.is_custom or not _lists_media(node_class, one)):
        return None
    return (taken or _ANY)._replace(top_level=node_class.is_custom)


def _lists_media(node_class: NodeClass, one: Input) -> bool:
    """Whether the choices of an input without a mark are files of the input folder, as far as they tell."""
    if one.type != COMBO or any(map(names_model, one.options or ())):
        return False
    if any(map(names_medium, one.options or ())):
        return True
    return not one.options and _sounds_like_file(node_class.name, one.name)


def _by_words(node: Mapping[str, Any], name: str) -> TakesFile | None:
    """Of a class that is not known."""
    value = node["inputs"][name]
    if isinstance(value, str | None) and not names_model(value) and _sounds_like_file(node["class_type"], name):
        return TakesFile(top_level=True)
    return None


def _sounds_like_file(class_type: str, name: str) -> bool:
    words = words_of(name)
    return not _LOADING.isdisjoint(words_of(class_type)) and not _FILES.isdisjoint(words) and "path" not in words
