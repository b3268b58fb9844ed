"""By what the loaders of a graph notice, before it runs, that their files are others than last time.

ComfyUI calls it `IS_CHANGED` or `fingerprint_inputs`: a hash of the bytes, or only the time of the last change. A file
that cannot be read differs from everything, so its loader runs and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from comfyledger.sim.comfyui.catalogue import NODES
from comfyledger.sim.comfyui.folders import Folders, sha256_of
from comfyledger.sim.comfyui.graph import Graph
from comfyledger.sim.comfyui.nodes import Loads


def fingerprints(graph: Graph, folders: Folders, prompt_id: str) -> dict[str, str]:
    """A text for each loader that looks at its file."""
    looking = {node_id: NODES[node["class_type"]].loads for node_id, node in graph.items()}
    return {
        node_id: _fingerprint(loads, graph[node_id]["inputs"], folders) or f"{prompt_id}/{node_id}"
        for node_id, loads in looking.items()
        if loads and loads.fingerprint
    }


def _fingerprint(loads: Loads, inputs: Mapping[str, Any], folders: Folders) -> str | None:
    name = inputs.get(loads.name)
    try:
        return _read(loads, folders.annotated(name)) if isinstance(name, str) else None
    except (OSError, ValueError):
        return None


def _read(loads: Loads, path: Path) -> str:
    if loads.fingerprint == "mtime":
        return str(path.stat().st_mtime)
    with path.open("rb") as file:
        return sha256_of(file)
