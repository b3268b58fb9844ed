"""Files that a request gives to inputs of a graph: found in the graph, and compared with what the input takes. PURE.

A graph says where a file goes with an object in place of the file's name: `{"input": "sha256:..."}`. What is stored has
null there; the name is filled in once the bytes lie in ComfyUI's input folder.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from comfyledger.comfyui.graph.input_names import TakesFile, takes_file
from comfyledger.comfyui.graph.nodes import Graph, by_number, node_text, printable, some_of
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.core.media import Medium
from comfyledger.core.values import ImageAt, LoadedFile
from comfyledger.errors import Refused
from comfyledger.wire.requests.files import FileAsked

_KEYS: Final = ({"input"}, {"image"})
LISTED_MAX: Final = 500
"""Addresses that are looked at for the hint of a refusal."""


class GivenFile(NamedTuple):
    """A file that is known. `medium`: what it is, or will be; None if nobody knows yet."""

    sha256: str = ""
    extension: str = ""
    size_bytes: int = 0
    medium: Medium | None = None
    source: ImageAt | None = None
    """The image that it is; None for an input file."""
    depth: int = 0
    """How many images in a row what is made from it is made from."""
    called: str = "the file"
    """For sentences."""
    refusal: Refused | None = None
    """Why it cannot be had. It counts only where no other value takes the place."""

    def loaded(self, address: str) -> LoadedFile:
        """Of an image the bytes count that it has when it is used."""
        if self.source is not None:
            return LoadedFile(address, self.source)
        return LoadedFile(address, None, self.sha256, self.extension, self.size_bytes)


def files_in(nodes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, FileAsked]]:
    """The nodes with null wherever they have an object that stands for a file, and these files by address.

    Raises Refused(invalid_field) for such an object that is wrong.
    """
    files = dict(_found(nodes))
    if not files:
        return dict(nodes), {}
    emptied = dict(nodes)
    for address in files:
        node_id, _, name = address.partition(".")
        emptied[node_id] = {**emptied[node_id], "inputs": {**emptied[node_id]["inputs"], name: None}}
    return emptied, files


def _found(nodes: Mapping[str, Any]) -> Iterator[tuple[str, FileAsked]]:
    for node_id, node in nodes.items():
        for name, value in node["inputs"].items():
            if isinstance(value, dict) and value.keys() in _KEYS:
                address = f"{node_id}.{name}"
                try:
                    yield address, msgspec.convert(value, FileAsked)
                except msgspec.ValidationError as error:
                    text, _, place = str(error).partition(" - at `$")
                    path = f"{printable(address)}{place.rstrip('`')}"
                    raise Refused("invalid_field", f"{text}.", path=path) from error


def check_file(graph: Graph, address: str, file: GivenFile, asked: str, info: ObjectInfo | None) -> None:
    """Raises Refused(input_not_taken) if the input at an address takes no file, or none of this kind. `asked`: what the
    caller named it. Of a class that is not known, every text may be the name of a file.
    """
    takes = takes_file(graph, address, info)
    node_id, _, name = address.partition(".")
    node, is_known = node_text(graph, node_id), info is not None and graph[node_id]["class_type"] in info
    if takes is None and not is_known and isinstance(graph[node_id]["inputs"][name], str | None):
        return
    if takes is None:
        text = f"The input {printable(address)} of node {node} takes no file."
        raise Refused("input_not_taken", text, hint=_hint(graph, info), path=printable(asked))
    if (file.extension or file.medium) and not takes.takes(file.extension, None if file.extension else file.medium):
        kind = f"{file.extension} file" if file.extension else f"{file.medium} file"
        text = f"The input {printable(address)} of node {node} takes {_taken(takes)}, and {file.called} is a {kind}."
        raise Refused("input_not_taken", text, hint="Give a file that the node takes.", path=printable(asked))


def _taken(takes: TakesFile) -> str:
    kinds = [f"{medium} files" for medium in sorted(takes.media)] + [f".{one}" for one in sorted(takes.extensions)]
    return " and ".join(kinds)


def _hint(graph: Graph, info: ObjectInfo | None) -> str:
    addresses = islice(_addresses(graph), LISTED_MAX)
    taking = [printable(address) for address in addresses if takes_file(graph, address, info) is not None]
    return f"These inputs take one: {some_of(taking)}." if taking else "No input of the workflow takes one."


def _addresses(graph: Graph) -> Iterator[str]:
    nodes: Collection[str] = sorted(graph, key=by_number)
    yield from (f"{node_id}.{name}" for node_id in nodes for name in graph[node_id]["inputs"])
