"""All node classes of the stand-in by name. `installed` says which of them a server has now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from comfyledger.sim.comfyui import nodes
from comfyledger.sim.comfyui.common import edits, loaders, values
from comfyledger.sim.comfyui.media import loaders as file_loaders
from comfyledger.sim.comfyui.media import savers, sources

NODES: Final[Mapping[str, nodes.NodeClass]] = {
    node.name: node for part in (nodes, loaders, values, edits, file_loaders, sources, savers) for node in part.CLASSES
}
