"""All node classes of the stand-in by name. Validation, execution and `/object_info` read them from here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from comfyledger.sim.comfyui import nodes
from comfyledger.sim.comfyui.media import savers, sources

NODES: Final[Mapping[str, nodes.NodeClass]] = {
    node.name: node for node in (*nodes.CLASSES, *sources.CLASSES, *savers.CLASSES)
}
