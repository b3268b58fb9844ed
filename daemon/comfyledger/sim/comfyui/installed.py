"""What the stand-in has installed: node classes, names of models, input files. `/object_info` tells of it.

A test takes classes away and changes the lists while the stand-in runs, as people do who install nodes and models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from comfyledger.sim.comfyui.catalogue import NODES
from comfyledger.sim.comfyui.folders import Folders, listed
from comfyledger.sim.comfyui.nodes import LISTS, Config, FilesOf, ListName, ListOf, NodeClass


class Installed:
    """The classes of the catalogue that are there now, their lists filled in."""

    def __init__(self, folders: Folders) -> None:
        self.folders = folders
        self.lists: dict[ListName, list[str]] = dict(LISTS)
        self.missing: frozenset[str] = frozenset()
        self.classes: Mapping[str, NodeClass] = {}
        self._files: dict[FilesOf, list[str]] = {}
        self._fill()

    def look(self) -> None:
        """Fill in the names that lie in the input folder now."""
        found = {files: [*files.first, *listed(self.folders.input, files.media)] for files in _FILES}
        if found != self._files:
            self._files = found
            self._fill()

    def change(self, lists: Mapping[ListName, Sequence[str]] | None, missing: Sequence[str] | None) -> None:
        """Set the lists that are named, and which classes are missing; None changes nothing."""
        self.lists |= {name: list(names) for name, names in (lists or {}).items()}
        if missing is not None:
            self.missing = frozenset(missing)
        self._fill()

    def object_info(self, wanted: str | None = None) -> dict[str, Any]:
        """What `/object_info` answers, or `/object_info/{wanted}`."""
        return {name: _described(node) for name, node in self.classes.items() if wanted in (None, name)}

    def state(self) -> dict[str, object]:
        """What `/control` answers of it."""
        return {"lists": self.lists, "missing_classes": sorted(self.missing)}

    def _fill(self) -> None:
        self.classes = {name: self._filled(node) for name, node in NODES.items() if name not in self.missing}

    def _filled(self, node: NodeClass) -> NodeClass:
        required, optional = self._filled_in(node.required), self._filled_in(node.optional)
        return msgspec.structs.replace(node, required=required, optional=optional)

    def _filled_in(self, configs: Mapping[str, Config]) -> dict[str, Config]:
        return {name: self._filled_one(config) for name, config in configs.items()}

    def _filled_one(self, config: Config) -> Config:
        """A list stands where older nodes have their choices, in the place of the type."""
        kind, *more = config
        if isinstance(kind, ListOf):
            return [self.lists[kind.name], *more]
        if isinstance(kind, FilesOf):
            return [self._files.get(kind, []), *more]
        options = more[0].get("options") if more else None
        return [kind, more[0] | {"options": self._files.get(options, [])}] if isinstance(options, FilesOf) else config


def _described(node: NodeClass) -> dict[str, Any]:
    hidden = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"} if node.is_output else {}
    inputs: dict[str, Mapping[str, Any]] = {"required": node.required}
    inputs |= {"optional": node.optional} if node.optional else {}
    inputs |= {"hidden": hidden} if hidden else {}
    return {
        "input": inputs,
        "input_order": {kind: list(named) for kind, named in inputs.items()},
        "is_input_list": False,
        "output": node.returns,
        "output_is_list": [False] * len(node.returns),
        "output_name": node.returns,
        "name": node.name,
        "display_name": node.name,
        "description": "",
        "python_module": node.module,
        "category": "image",
        "output_node": node.is_output,
    }


def _files_of(config: Config) -> FilesOf | None:
    options = config[1].get("options") if len(config) > 1 else None
    return next((each for each in (config[0], options) if isinstance(each, FilesOf)), None)


_FILES: Final = frozenset(
    files for node in NODES.values() for config in node.required.values() if (files := _files_of(config))
)
