"""Chooses the nodes whose files become images, and links a saver of ours where a node cannot save for us. PURE.

A saver of ours becomes part of the graph, so that nothing that reads a template later needs to know of it. Nodes that
are not in the table of `savers` are judged by the name of their class and by their inputs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from comfyledger.comfyui.graph.meant import Candidate, Link, results, saved
from comfyledger.comfyui.graph.nodes import (
    NAMED_MAX,
    Graph,
    by_number,
    folded,
    is_link,
    printable,
    some_of,
    titled,
    unfit,
    upstream,
)
from comfyledger.comfyui.graph.plan import PREFIX_NAME, Output, Plan
from comfyledger.comfyui.graph.savers import (
    OURS,
    SAVERS,
    Saver,
    Type,
    made,
    takes_prefix,
    to_temporary,
    writes_a_series,
)
from comfyledger.comfyui.object_info import NodeClass, ObjectInfo, described_inputs
from comfyledger.core.media import PROVED, Medium, extension_of
from comfyledger.errors import Refused
from comfyledger.wire.requests.submitting import OUTPUTS_MAX

IMAGE_NAMES: Final = ("images", "image")
LATENT_NAMES: Final = ("samples", "latent", "latents")
MEDIA_WORDS: Final = ("video", "animated", "webm", "gif", "mp4", "audio", "3d", "mesh", "glb")
"""Words in the class name of a node that saves something other than images (ComfyUI, VideoHelperSuite)."""
SHOWING_WORDS: Final = ("save", "preview", "show", "display")
TEXT_WORDS: Final = ("text", "string")
TEXT_NAMES: Final = ("text", "string", "value")
"""Words in the class names of nodes that save or show a text, and their inputs."""
LEFT_OUT_MAX: Final = 100
OURS_ID: Final = "comfyledger"
"""The id of a saver of ours, and the beginning of the next ones."""
_SAVES_PIXELS: Final = Saver("its name and its inputs", "images", "IMAGE", each=True)


class Chosen(NamedTuple):
    """The outputs of a graph."""

    graph: dict[str, Any]
    """With the savers of ours."""
    outputs: tuple[Output, ...]
    left_out: tuple[str, ...]
    """Nodes that save or show something and are not run, at most LEFT_OUT_MAX."""
    feeding: set[str]
    """The outputs and all nodes that feed them."""
    each: bool
    """Whether every output writes a file for each member of a batch."""
    telling: str
    """The first output, if any, that may write the graph into a file from which nothing can be taken out."""


def choose_outputs(graph: Graph, asked: Sequence[str] | None = None, info: ObjectInfo | None = None) -> Chosen:
    """The outputs that `asked` names by node, in its order; without it those that are meant. `info`: what ComfyUI says
    of its nodes, if it is known.

    Raises Refused: workflow_no_output, workflow_output_ambiguous, workflow_output_unsupported.
    """
    found = list(_candidates(graph, info))
    living = [one for one in found if not _is_unfed(graph, one, info)]
    chosen = _meant(graph, living or found) if asked is None else [_named(graph, found, node_id) for node_id in asked]
    linked = dict(graph)
    made_of = [_output(linked, one) for one in chosen]
    outputs = tuple(output for output, _ in made_of)
    feeding = upstream(linked, [output.node for output in outputs])
    left_out = tuple(dict.fromkeys(one.node for one in found if one.node not in feeding))[:LEFT_OUT_MAX]
    each = all(saver.each for _, saver in made_of)
    telling = next((output.node for output, saver in made_of if _tells(saver, output.file)), "")
    return Chosen(linked, outputs, left_out, feeding, each, telling)


def _tells(saver: Saver, file: str) -> bool:
    """Whether a node may write the graph into a file of a format from which `workers.media` takes nothing out."""
    return saver.metadata and extension_of(file) not in PROVED


# What could be an output


def _candidates(graph: Graph, info: ObjectInfo | None) -> Iterator[Candidate]:
    """Every node that saves or shows something, in the order of the ids."""
    for node_id in sorted(graph, key=by_number):
        node = graph[node_id]
        saver = SAVERS.get(node["class_type"]) or _of_a_stranger(graph, node, info)
        if saver is not None:
            yield _candidate(graph, node_id, saver, info)
        if saver is not None and saver.beside:
            yield _candidate(graph, node_id, saver._replace(saves=saver.beside), info)


def _of_a_stranger(graph: Graph, node: Graph, info: ObjectInfo | None) -> Saver | None:
    """What a node that is in no table does: by the name of its class, or by what ComfyUI says of it."""
    node_class = info.get(node["class_type"]) if info is not None else None
    if node_class is None:
        return _by_name(graph, node)
    if node_class.is_output:
        return _by_name(graph, node) or _by_types(graph, node, node_class)
    return _meant_to_save(node_class) if PREFIX_NAME in node["inputs"] else None


def _meant_to_save(node_class: NodeClass) -> Saver | None:
    """A node that has a prefix in the graph but does not save, such as CreateVideo: what it gives out is saved."""
    for kind in _SHOWN:
        if kind in node_class.outputs:
            return Saver("/object_info", type=kind, slot=node_class.outputs.index(kind))
    return None


def _by_types(graph: Graph, node: Graph, node_class: NodeClass) -> Saver | None:
    """An output node is taken to show what it is linked to."""
    linked = {
        one.type: one.name for one in described_inputs(node_class) if is_link(graph, node["inputs"].get(one.name))
    }
    kind = next((kind for kind in _SHOWN if kind in linked), None)
    return Saver("/object_info", linked[kind], kind, role="preview") if kind else None


_SHOWN: Final[tuple[Type, ...]] = ("VIDEO", "IMAGE", "AUDIO", "MASK")


def _candidate(graph: Graph, node_id: str, saver: Saver, info: ObjectInfo | None) -> Candidate:
    inputs = graph[node_id]["inputs"]
    if to_temporary(saver, inputs):
        saver = saver._replace(role="preview")
    if saver.in_pieces and is_link(graph, inputs.get(saver.in_pieces)):
        saver = saver._replace(type=None, honours=False)
    direct = saver.honours and not writes_a_series(saver, inputs)
    medium = made(saver, inputs, _sounds(graph, saver, inputs)).medium if direct else _OURS_MAKE.get(saver.type, "file")
    link = _link(graph, node_id, saver)
    if link is not None and info is not None:
        link = _fitting(graph, link, info)
    if saver.type is not None and link is None and not direct:
        saver = saver._replace(role="other")
    return Candidate(node_id, saver, link, direct, medium)


def _link(graph: Graph, node_id: str, saver: Saver) -> Link | None:
    if saver.type is None:
        return None
    if saver.slot is not None:
        return Link(saver.type, node_id, saver.slot)
    value = graph[node_id]["inputs"].get(saver.saves)
    return Link(saver.type, value[0], value[1]) if is_link(graph, value) else None


def _fitting(graph: Graph, link: Link, info: ObjectInfo) -> Link | None:
    """The link, if ComfyUI has a saver of ours that takes it; None for a number where a text is shown. A 3D preview may
    be fed by a path; then the model itself is taken, if the same node gives it out too.
    """
    class_type = "MaskToImage" if link.type == "MASK" else OURS[link.type][0]
    ours, source = info.get(class_type), info.get(graph[link.node]["class_type"])
    if ours is None or source is None or link.slot >= len(source.outputs):
        return link if ours is not None else None
    names = ("mask", SAVERS[OURS[link.type][0]].saves)
    taken = {kind for one in described_inputs(ours) if one.name in names for kind in one.type.split(",")}
    fits = [kind.startswith(_ANY_TYPE) or not taken.isdisjoint(kind.split(",")) for kind in source.outputs]
    if not fits[link.slot] and link.type == "MESH" and True in fits:
        return link._replace(slot=fits.index(True))
    return link if fits[link.slot] else None


_ANY_TYPE: Final = ("*", "COMFY_")
"""How the types of outputs begin that depend on what is linked to the node."""
_OURS_MAKE: Final[dict[Type | None, Medium]] = {
    "IMAGE": "image",
    "MASK": "image",
    "VIDEO": "video",
    "AUDIO": "audio",
    "MESH": "model",
    "STRING": "file",
}


def _sounds(graph: Graph, saver: Saver, inputs: Mapping[str, Any]) -> bool:
    return bool(saver.sound) and is_link(graph, inputs.get(saver.sound))


def _by_name(graph: Graph, node: Graph) -> Saver | None:
    """What a node of an unknown class seems to do; None if it seems to save and show nothing."""
    inputs, name = node["inputs"], folded(node)
    saves = takes_prefix(inputs, node["class_type"])
    if not saves and not any(word in name for word in SHOWING_WORDS):
        return None
    link = next((name for name in IMAGE_NAMES if is_link(graph, inputs.get(name))), "")
    media = [word for word in MEDIA_WORDS if word in name]
    if name.startswith("preview") and (link or "text" not in name):
        return _SAVES_PIXELS._replace(saves=link, role="preview" if link else "other")
    if saves and media:
        return Saver(_SAVES_PIXELS.source, link, honours=True, medium=_medium_of(media[0]), metadata=True)
    if text := _text_shown(graph, inputs, name):
        return Saver(_SAVES_PIXELS.source, text, "STRING", role="text")
    if saves:
        return Saver(
            _SAVES_PIXELS.source, link, honours=True, each=True, medium="image", role="saver" if link else "other"
        )
    if "saveimage" in name or "imagesave" in name:
        return _SAVES_PIXELS._replace(saves=link, role="saver" if link else "other")
    return _SAVES_PIXELS._replace(role="other") if media and "save" in name else None


def _text_shown(graph: Graph, inputs: Mapping[str, Any], name: str) -> str:
    """The input with the text that a node shows or saves, by its name: ShowText, DisplayString, Save Text File."""
    if not any(word in name for word in TEXT_WORDS) or any(is_link(graph, inputs.get(one)) for one in IMAGE_NAMES):
        return ""
    return next((one for one in TEXT_NAMES if is_link(graph, inputs.get(one))), "")


def _medium_of(word: str) -> Medium:
    if word == "audio":
        return "audio"
    if word in ("3d", "mesh", "glb"):
        return "model"
    return "image" if word == "gif" else "video"


# Which of them is meant


def _named(graph: Graph, found: Iterable[Candidate], node_id: str) -> Candidate:
    """The candidate that a request or the configuration names. An unknown class is trusted if it takes a prefix."""
    one = next((one for one in found if one.node == node_id), None)
    if node_id not in graph:
        known = titled(graph, (one.node for one in found if _usable(one)))
        raise Refused(
            "workflow_no_output",
            f"The workflow has no node {printable(node_id)}.",
            hint=f"Its outputs are {some_of(known)}." if known else "Add a SaveImage node.",
            path=printable(node_id),
        )
    if one is None or not one.usable:
        raise _unsupported(graph, [node_id])
    return one


def _is_unfed(graph: Graph, one: Candidate, info: ObjectInfo | None) -> bool:
    """Whether nothing leads to what it saves: no link, or one to an output that the class does not have any more.
    ComfyUI runs the other outputs of such a graph.
    """
    if not one.saver.saves:
        return False
    link = saved(graph, one)
    source = info.get(graph[link[0]]["class_type"]) if link is not None and info is not None else None
    return link is None or (source is not None and link[1] >= len(source.outputs))


def _usable(one: Candidate) -> bool:
    return one.saver.role != "other" and one.usable


def _meant(graph: Graph, found: Sequence[Candidate]) -> list[Candidate]:
    """Every result of its own. One that cannot be got is left out, if there are others."""
    weighing = results(graph, found)
    usable = [one for one in weighing if one.usable]
    if len(usable) > OUTPUTS_MAX:
        raise _ambiguous(graph, [one.node for one in usable])
    if not usable and found:
        raise _unsupported(graph, [one.node for one in weighing or found])
    if not usable:
        raise Refused("workflow_no_output", hint="Add a SaveImage node.")
    return usable


def _ambiguous(graph: Graph, nodes: Sequence[str]) -> Refused:
    listed = ", ".join(f'"{printable(node_id)}"' for node_id in nodes[:NAMED_MAX])
    return Refused(
        "workflow_output_ambiguous",
        f"The workflow has {len(nodes)} outputs, and a batch has at most {OUTPUTS_MAX}:"
        f" {some_of(titled(graph, nodes))}.",
        hint="In the request or in [workflows.NAME], name one output, for example"
        f' output = "{printable(nodes[0])}", or several: outputs = [{listed}].',
        path=printable(nodes[0]),
    )


def _unsupported(graph: Graph, nodes: Sequence[str]) -> Refused:
    return Refused(
        "workflow_output_unsupported",
        f"No file can be got from {some_of(titled(graph, nodes))}.",
        hint="Add a SaveImage, SaveVideo, SaveAudio or SaveGLB node.",
        path=printable(nodes[0]),
    )


def check_medium(graph: Graph, plan: Plan, inputs: Mapping[str, Any], asked: Mapping[str, str]) -> None:
    """Raises Refused (invalid_field) for an input that has an output make another medium than the names say, write into
    ComfyUI's temporary folder, or write secrets where they cannot be taken out. `asked`: what the request calls it.
    """
    for output in plan.every_output:
        node = graph[output.node]
        saver = SAVERS.get(node["class_type"])
        if saver is None:
            continue
        deciding = (saver.by, saver.temporary[0] if saver.temporary else "")
        given = {name: at for name in deciding if (at := f"{output.node}.{name}") in inputs}
        values = {**node["inputs"], **{name: inputs[at] for name, at in given.items()}}
        writes = made(saver, values, _sounds(graph, saver, values))
        told = bool(plan.secrets) and _tells(saver, writes.file)
        other = writes.medium != output.medium or writes_a_series(saver, values) or to_temporary(saver, values)
        if given and (other or told):
            called = printable(asked[next(iter(given.values()))])
            raise unfit(called, f"{called} would change what the output makes.", "Change it in the workflow itself.")


# The output in the graph


def _output(graph: dict[str, Any], one: Candidate) -> tuple[Output, Saver]:
    """The output of a candidate, and what saves it.

    Changes `graph`: adds a saver of ours, or has saved what would only be shown.
    """
    node_id, saver = (one.node, one.saver) if one.direct or one.link is None else _ours(graph, one.link)
    node = graph[node_id]
    if saver.temporary is not None and to_temporary(saver, node["inputs"]):
        name, value = saver.temporary
        node = graph[node_id] = {**node, "inputs": {**node["inputs"], name: not value}}
    writes = made(saver, node["inputs"], _sounds(graph, saver, node["inputs"]))
    return Output(node_id, f"{node_id}.{PREFIX_NAME}", writes.medium, writes.file), saver


def _ours(graph: dict[str, Any], link: Link) -> tuple[str, Saver]:
    """Add a saver of ours for what a node saves or shows. Gives its id, and what it is."""
    class_type, more = OURS[link.type]
    saver = SAVERS[class_type]
    if link.type == "MASK":
        link = link._replace(node=_picture_of(graph, link), slot=0)
    node_id = _free_id(graph)
    inputs = {saver.saves: [link.node, link.slot], PREFIX_NAME: OURS_ID, **more}
    graph[node_id] = {"class_type": class_type, "inputs": inputs}
    return node_id, saver


def _picture_of(graph: dict[str, Any], link: Link) -> str:
    """Add a node that makes a picture of a mask. Gives its id."""
    node_id = _free_id(graph)
    graph[node_id] = {"class_type": "MaskToImage", "inputs": {"mask": [link.node, link.slot]}}
    return node_id


def _free_id(graph: Graph) -> str:
    """An id that no node has: comfyledger, comfyledger-2, ..."""
    ids = itertools.chain([OURS_ID], (f"{OURS_ID}-{place}" for place in itertools.count(2)))
    return next(node_id for node_id in ids if node_id not in graph)
