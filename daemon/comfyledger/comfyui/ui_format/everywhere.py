"""Links that nodes of the extension cg-use-everywhere make: `Anything Everywhere` sends what it gets to every input of
the type. PURE.

The extension writes down the links of the root level whenever a document is saved. Nothing else says reliably which
inputs it means, so a document without that list, and such a node within a subgraph, are refused.
(`use_everywhere_*.js` of cg-use-everywhere: `extra.ue_links`)
"""

from __future__ import annotations

from typing import Final

from comfyledger.comfyui.graph.nodes import printable
from comfyledger.comfyui.ui_format.document import Document, Link, Node, invalid
from comfyledger.errors import Refused

EVERYWHERE: Final = frozenset(
    {
        "Anything Everywhere",
        "Anything Everywhere3",
        "Anything Everywhere?",
        "Prompts Everywhere",
        "Seed Everywhere",
    }
)


def link_everywhere(document: Document) -> None:
    """Adds the links to the root level, while its slots are as the document has them. Raises Refused
    (workflow_invalid).
    """
    for level in document.levels():
        if level is not document.root or document.everywhere is None:
            for node in level.nodes.values():
                if node.type in EVERYWHERE and node.is_active:
                    raise _unclear(node)
    for number, said in enumerate(document.everywhere or []):
        _add(document, said, f"everywhere:{number}")


def _add(document: Document, said: object, key: str) -> None:
    if not isinstance(said, dict):
        return
    nodes = document.root.nodes
    controller = nodes.get(str(said.get("controller")))
    if controller is None or controller.type not in EVERYWHERE or not controller.is_active:
        return
    target, origin = nodes.get(str(said.get("downstream"))), nodes.get(str(said.get("upstream")))
    number, output = said.get("downstream_slot"), said.get("upstream_slot")
    if target is None or origin is None or not isinstance(number, int) or not isinstance(output, int):
        raise _unclear(controller)
    if output < 0 or not 0 <= number < len(target.slots) or target.slots[number].type != said.get("type"):
        raise _unclear(controller)
    if target.slots[number].link is None:
        target.slots[number].link = key
        document.root.links[key] = Link(origin.id, output, target.id)


def _unclear(node: Node) -> Refused:
    text = f"Node {printable(node.id)} ({printable(node.type)}) links nodes in a way that the file does not say."
    return invalid(text, node.id, "Replace it by links, or export the workflow in ComfyUI: Workflow > Export (API).")
