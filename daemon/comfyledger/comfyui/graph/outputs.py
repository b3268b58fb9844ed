"""Finds the nodes of a graph whose files become images. PURE."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from comfyledger.comfyui.graph.nodes import Graph, by_number, folded, is_link, printable, some_of, titled
from comfyledger.comfyui.graph.plan import PREFIX_NAME
from comfyledger.errors import Refused

IMAGE_NAMES = ("images", "image")
MEDIA_WORDS = ("video", "animated", "webm", "gif", "mp4", "audio", "3d", "mesh", "glb")
"""Words in the class name of a node that saves something other than images (ComfyUI, VideoHelperSuite)."""


def find_output(graph: Graph) -> str:
    found = _nodes_where(graph, _saves_images)
    if len(found) == 1:
        return found[0]
    if found:
        raise Refused(
            "workflow_output_ambiguous",
            f"{len(found)} nodes of the workflow save images: {some_of(titled(graph, found))}.",
            hint=f'Name the one that counts in [workflows.NAME], for instance output = "{found[0]}".',
            path=found[0],
        )
    if others := _nodes_where(graph, _saves_something):
        raise _unsupported(graph, others)
    raise Refused("workflow_no_output", hint="Add a SaveImage node; PreviewImage saves nothing.")


def named_output(graph: Graph, node_id: str) -> str:
    if node_id not in graph:
        found = titled(graph, _nodes_where(graph, _saves_images))
        raise Refused(
            "workflow_no_output",
            f"The workflow has no node {printable(node_id)}.",
            hint=f"Images are saved by {some_of(found)}." if found else "Add a SaveImage node.",
            path=printable(node_id),
        )
    if not _can_save(graph[node_id]):
        raise _unsupported(graph, [node_id])
    return node_id


def _unsupported(graph: Graph, nodes: Sequence[str]) -> Refused:
    return Refused(
        "workflow_output_unsupported",
        f"No output node of the workflow saves an image under a {PREFIX_NAME}: {some_of(titled(graph, nodes))}.",
        hint="Add a SaveImage node.",
        path=nodes[0],
    )


def _nodes_where(graph: Graph, true_of: Callable[[Graph, Graph], bool]) -> list[str]:
    return sorted((node_id for node_id, node in graph.items() if true_of(graph, node)), key=by_number)


def _can_save(node: Graph) -> bool:
    name = folded(node)
    by_name = name.startswith("preview") or any(word in name for word in MEDIA_WORDS)
    return not by_name and _takes_prefix(node)


def _saves_images(graph: Graph, node: Graph) -> bool:
    links = any(is_link(graph, node["inputs"].get(name)) for name in IMAGE_NAMES)
    return _can_save(node) and (links or node["class_type"] == "SaveImage")


def _saves_something(graph: Graph, node: Graph) -> bool:
    """Whether a person would call this node an output, although it cannot be used as one."""
    name = folded(node)
    if name.startswith("preview"):
        return False
    saves_media = "save" in name and any(word in name for word in MEDIA_WORDS)
    return _takes_prefix(node) or saves_media or "saveimage" in name or "imagesave" in name


def _takes_prefix(node: Graph) -> bool:
    # ComfyUI refuses a SaveImage without prefix (recording `partly_invalid`), but the run fills it in.
    return PREFIX_NAME in node["inputs"] or node["class_type"] == "SaveImage"
