"""Refuses files that a workflow names outside ComfyUI's folders, and those that comfyledger itself keeps in the input
folder, unless the operator's own configuration names them. PURE.

What comfyledger keeps has names that follow from the bytes. A graph that named one might load a file of another client,
or one that is removed while the prompt waits, because nobody knows that the prompt needs it.

The node and the input's name say what an input means, and its text does not: a base64 JPEG begins with `/9j/`, and a
prompt may begin with `/r/` or `~`. The check protects from accidents. If you accept graphs from people whom you do not
trust, give them tokens with the right `submit_configured`, or list node classes in `[limits] node_classes_denied`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from comfyledger.comfyui.graph.secret_inputs import words_of
from comfyledger.errors import Refused

_FILES: Final = frozenset(
    [
        "image",
        "images",
        "mask",
        "video",
        "audio",
        "file",
        "filename",
        "path",
        "name",
        "prefix",
        "folder",
        "directory",
        "dir",
        "subfolder",
        "model",
        "lora",
        "ckpt",
        "vae",
        "latent",
    ]
)
"""Words in the names of inputs that name files: `image`, `ckpt_name`, `filename_prefix`."""
_WRITTEN: Final = frozenset({"prefix", "filename", "file", "path", "folder", "directory", "dir", "subfolder"})
"""Words in the names of inputs that say what a saver writes."""
_WRITES: Final = frozenset({"save", "saver", "savers", "export", "exporter", "write", "writer", "output", "combine"})
"""Words in the class of a node, or in the name of an input, that mean a file to be written."""
_LOADERS: Final = frozenset(
    [
        "LoadImage",
        "LoadImageMask",
        "LoadImageOutput",
        "LoadVideo",
        "LoadAudio",
        "LoadLatent",
        "Load3D",
        "Load3DAnimation",
    ]
)
"""ComfyUI's own nodes that take the name of a file below its folders (0.29.0)."""
_KEPT: Final = re.compile(r"comfyledger(?:[/\\]+[0-9a-f]{2}[/\\]+|-)([0-9a-f]{64})\.", re.IGNORECASE)
"""The names of `input_names.input_name`, however their path is written."""
_ROOT: Final = re.compile(r"[/\\~]|[A-Za-z]:[/\\]|file:", re.IGNORECASE)


def check_graph(graph: Mapping[str, Any], own: Collection[str]) -> None:
    """`own`: the addresses of the prefixes that are filled in here. Raises Refused(workflow_unsafe_path)."""
    for node_id, node in graph.items():
        for name, value in node.get("inputs", {}).items():
            address = f"{node_id}.{name}"
            if address not in own:
                check_input(address, value, address, str(node["class_type"]))


def check_input(address: str, value: Any, path: str, node_class: str) -> None:
    """Raises Refused(workflow_unsafe_path) at `path` for an input that names a file outside ComfyUI's folders, or one
    of comfyledger's own.

    `..` is refused wherever a file is named. A root or a home is refused where a file is to be written, and where
    ComfyUI's own loaders take a name.
    """
    name = address.partition(".")[2]
    if (kept := next(_kept_in(value), None)) is not None:
        text = f"The input {name} names {kept[0].rstrip('.')!r}, a file that comfyledger itself keeps at ComfyUI."
        hint = f'Give {{"input": "sha256:{kept[1].lower()}"}} as {address}, or {{"image": NAME}} for an image.'
        raise Refused("workflow_unsafe_path", text, hint=hint, path=path)
    if not isinstance(value, str) or not _FILES.intersection(words_of(name)):
        return
    if climbs(value) or (_ROOT.match(value.strip()) and _is_of_comfyui(name, node_class)):
        text = f"The input {name} names {value[:100]!r}, which is outside ComfyUI's folders."
        hint = "Name a file below the folder that the node uses, or have the operator configure the workflow."
        raise Refused("workflow_unsafe_path", text, hint=hint, path=path)


def _kept_in(value: Any) -> Iterator[re.Match[str]]:
    """The names of files that comfyledger keeps at ComfyUI, in a text or in any text of a list or an object."""
    left = [value]
    while left:
        match left.pop():
            case str(text):
                yield from _KEPT.finditer(text)
            case list(items):
                left += items
            case dict(fields):
                left += fields.values()


def climbs(value: str) -> bool:
    """Whether a file name climbs out of its folder, on any system."""
    return ".." in re.split(r"[/\\]", value.strip())


def _is_of_comfyui(name: str, node_class: str) -> bool:
    words = words_of(name)
    writes = bool(_WRITES.intersection(words_of(node_class)) or _WRITES.intersection(words))
    return node_class in _LOADERS or "prefix" in words or (writes and bool(_WRITTEN.intersection(words)))
