"""Gives nodes of subgraphs other ids where two have the same, as ComfyUI's page does when it opens a document. PURE.

The ids of a graph are then those of an export from the page, and a person who names `12:3.text` means the same node.
(`subgraphDeduplication.ts` of ComfyUI's frontend)
"""

from __future__ import annotations

from comfyledger.comfyui.ui_format.document import Document, Level


def renumber(document: Document) -> dict[str, dict[str, str]]:
    """Changes the document. Old id to new id, for each subgraph in which a node has another one now."""
    used = set(document.root.nodes)
    last = document.last_node_id
    changed: dict[str, dict[str, str]] = {}
    for level in document.subgraphs.values():
        new_ids: dict[str, str] = {}
        for node_id in level.nodes:
            if node_id in used:
                last += 1
                while str(last) in used:
                    last += 1
                new_ids[node_id] = str(last)
                used.add(str(last))
            else:
                used.add(node_id)
                if node_id.isascii() and node_id.isdigit() and len(node_id) < 16:
                    last = max(last, int(node_id))
        if new_ids:
            changed[level.id] = new_ids
            _apply(level, new_ids)
    return changed


def _apply(level: Level, new_ids: dict[str, str]) -> None:
    nodes = list(level.nodes.values())
    level.nodes.clear()
    for node in nodes:
        node.id = new_ids.get(node.id, node.id)
        level.nodes[node.id] = node
    for link in level.links.values():
        link.origin = new_ids.get(link.origin, link.origin)
        link.target = new_ids.get(link.target, link.target)
