"""Judges one input of a node: its link or its value. PURE.

Some nodes check their inputs themselves (VALIDATE_INPUTS), and ComfyUI then takes what is out of range or not in the
list. `/object_info` does not tell which. Those of ComfyUI itself are listed here. Of a custom node, a choice that is
not in the list counts as a mistake only if it is the name of a model. A custom node may also take links of more types
than it says: frame rates of VideoHelperSuite are FLOAT and take INT.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from comfyledger.comfyui.graph.checks.named_files import (
    is_surely_missing,
    names_model,
    takes_texts_only,
    takes_uploads,
)
from comfyledger.comfyui.graph.checks.server import FEW, Server
from comfyledger.comfyui.graph.nodes import Graph, node_text, printable
from comfyledger.comfyui.object_info import ANY, COMBO, Input, NodeClass

MATCH: Final = "COMFY_MATCHTYPE_V3"
"""A type that the page of ComfyUI checks (`comfy_execution/validation.py`)."""
_CONVERTED: Final[Mapping[str, tuple[Callable[[Any], Any], str]]] = {
    "INT": (int, "a whole number"),
    "FLOAT": (float, "a number"),
    "STRING": (str, "a text"),
    "BOOLEAN": (bool, "true or false"),
}
"""What ComfyUI makes of a value before it looks at it."""
_EVERY_INPUT: Final = frozenset({ANY})
_UNCHECKED: Final[Mapping[str, frozenset[str]]] = {
    "CustomCombo": _EVERY_INPUT,
    "FluxProUltraImageNode": frozenset({"aspect_ratio"}),
    "KlingCameraControls": frozenset({"horizontal_movement", "vertical_movement", "pan", "tilt", "roll", "zoom"}),
    "Load3D": _EVERY_INPUT,
    "Load3DAdvanced": _EVERY_INPUT,
    "SelectCLIPDevice": frozenset({"device"}),
    "SelectModelDevice": frozenset({"device"}),
    "SelectVAEDevice": frozenset({"device"}),
}
"""Inputs of ComfyUI's own classes that the class checks itself, so that range and list do not count: the parameters of
its `VALIDATE_INPUTS` or `validate_inputs` (0.29.0). Inputs that take uploads are not listed; see `takes_uploads`."""
_PLAIN_TYPES: Final = frozenset(
    [
        "AUDIO",
        "BOOLEAN",
        "CLIP",
        "CLIP_VISION",
        "CONDITIONING",
        "CONTROL_NET",
        "FLOAT",
        "GUIDER",
        "IMAGE",
        "INT",
        "LATENT",
        "MASK",
        "MODEL",
        "NOISE",
        "SAMPLER",
        "SIGMAS",
        "STRING",
        "UPSCALE_MODEL",
        "VAE",
        "VIDEO",
    ]
)
"""Types of ComfyUI whose name a custom node gives to an output of just this type. Another name may stand for any."""
_TYPES_UNCHECKED: Final = frozenset({"TripoConversionNode"})
"""Classes of ComfyUI that check the types of links themselves: they have a parameter `input_types` (0.29.0)."""


class Fault(NamedTuple):
    """A mistake of one input, before it has node and class."""

    kind: str
    text: str
    """What follows "Node 4 (KSampler): " in its sentence, without the nearest names."""
    found: str = ""
    near: tuple[str, ...] = ()
    is_file: bool = False


def leads_to_node(graph: Graph, value: object) -> bool:
    """Whether ComfyUI would follow a value to another node, whatever its slot."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0] in graph


def fault_of(server: Server, graph: Graph, node_class: NodeClass, one: Input, value: object) -> Fault | None:
    """What is wrong with the value of an input; None if nothing is known to be."""
    if isinstance(value, list):
        return _of_link(server, graph, node_class, one, value)
    return _of_value(server, node_class, one, value)


# Links


def _of_link(server: Server, graph: Graph, node_class: NodeClass, one: Input, value: list[Any]) -> Fault | None:
    name = printable(one.name)
    if len(value) != 2:
        text = f"{name} is a list of {len(value)} values, which ComfyUI takes for a broken link"
        return Fault("bad_linked_input", text, _plain(value))
    if not leads_to_node(graph, value):
        source = _plain(value[0])
        text = f"{name} is linked to node {source}, which the workflow does not have"
        if not isinstance(value[0], str):
            text = f"{name} is linked to {source}; the id of a node is a text"
        return Fault("bad_linked_input", text, source)
    source, slot = value
    source_class = server.class_of(graph[source])
    if source_class is None:
        return None
    outputs = source_class.outputs
    if not isinstance(slot, int) or not -len(outputs) <= slot < len(outputs):
        if isinstance(slot, int) and source_class.is_custom and outputs:
            return None  # it may grow outputs that /object_info does not list
        where = f"output {_shown(slot)} of node {node_text(graph, source)}"
        text = f"{name} is linked to {where}, which has {_outputs_text(len(outputs))}"
        return Fault("bad_linked_input", text, _plain(slot))
    if takes_uploads(node_class, one) and takes_texts_only(node_class, one):
        return Fault("bad_linked_input", f"{name} takes the name of a file and no link", "a link")
    if _fits(outputs[slot], one.type) or _may_take_more(node_class, source_class, outputs[slot]):
        return None
    text = f"{name} takes {printable(one.type)}, and node {node_text(graph, source)} gives {printable(outputs[slot])}"
    return Fault("return_type_mismatch", text, printable(outputs[slot]))


def _outputs_text(count: int) -> str:
    if count > 1:
        return f"the outputs 0 to {count - 1}"
    return "the output 0 only" if count else "no output"


def _may_take_more(node_class: NodeClass, source_class: NodeClass, received: str) -> bool:
    """Whether the types of a link do not say whether ComfyUI takes it."""
    is_open = node_class.is_custom or node_class.name in _TYPES_UNCHECKED
    return is_open or (source_class.is_custom and received not in _PLAIN_TYPES)


def _fits(received: str, taken: str) -> bool:
    """Whether an output of a type may feed an input of a type: they are equal, have one in common, or one is any.
    (`validate_node_input` in `comfy_execution/validation.py`)
    """
    if received == taken or MATCH in (received, taken):
        return True
    given = {kind.strip() for kind in received.split(",")}
    asked = {kind.strip() for kind in taken.split(",")}
    return ANY in given or ANY in asked or not given.isdisjoint(asked)


# Values


def _of_value(server: Server, node_class: NodeClass, one: Input, value: object) -> Fault | None:
    if isinstance(value, dict) and "__value__" in value:
        value = value["__value__"]
    name = printable(one.name)
    convert, kind = _CONVERTED.get(one.type, (None, ""))
    if convert is not None:
        try:
            value = convert(value)
        except (ValueError, TypeError, OverflowError):
            return Fault("invalid_input_type", f"{name} is {_shown(value)}, which is not {kind}", _plain(value))
    if takes_uploads(node_class, one):
        return _of_file(server, node_class, one, value)
    if not _UNCHECKED.get(node_class.name, frozenset()).isdisjoint((ANY, one.name)):
        return None
    return _out_of_range(one, value) or _of_choice(server, node_class, one, value)


def _out_of_range(one: Input, value: Any) -> Fault | None:
    try:
        if one.low is not None and value < one.low:
            code, why = "value_smaller_than_min", f"; the smallest allowed is {one.low}"
        elif one.high is not None and value > one.high:
            code, why = "value_bigger_than_max", f"; the largest allowed is {one.high}"
        else:
            return None
    except TypeError:
        code, why = "invalid_input_type", ", which is not a number"
    return Fault(code, f"{printable(one.name)} is {_shown(value)}{why}", _plain(value))


def _of_choice(server: Server, node_class: NodeClass, one: Input, value: object) -> Fault | None:
    if one.type != COMBO or one.options is None:
        return None
    if one.config.get("multiselect") and isinstance(value, list):
        wrong = [item for item in value if not server.has(one.options, item)]
    else:
        wrong = [] if server.has(one.options, value) else [value]
    if not wrong or (node_class.is_custom and not _is_model_of(one.options, wrong[0])):
        return None
    return _not_in_list(server, one, wrong[0], "which ComfyUI does not have")


def _is_model_of(options: tuple[Any, ...], value: object) -> bool:
    """Whether a value names a model, as the choices do. A custom node that checks its inputs itself does so for files
    that people upload, and for choices that its page makes up, and not for the lists of models.
    """
    are_names = all(isinstance(option, str) for option in options[:FEW])
    return are_names and names_model(value) and any(map(names_model, options))


def _of_file(server: Server, node_class: NodeClass, one: Input, value: object) -> Fault | None:
    if not isinstance(value, str) and takes_texts_only(node_class, one):
        text = f"{printable(one.name)} is {_shown(value)}, which is not the name of a file"
        return Fault("invalid_input_type", text, _plain(value))
    if not is_surely_missing(node_class, one, value):
        return None
    return _not_in_list(server, one, value, "which is not in ComfyUI's input folder")._replace(is_file=True)


def _not_in_list(server: Server, one: Input, value: object, what: str) -> Fault:
    near = server.nearest.to(value, one.options or ()) if isinstance(value, str) else ()
    return Fault("value_not_in_list", f"{printable(one.name)} is {_shown(value)}, {what}", _plain(value), near)


# Sentences


def _shown(value: object) -> str:
    """A value in a sentence."""
    return f"'{printable(value)}'" if isinstance(value, str) else _plain(value)


def _plain(value: object) -> str:
    """A value cut to a bound, and printable."""
    match value:
        case str():
            return printable(value)
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case list():
            return "a list"
        case dict():
            return "an object"
    try:
        return printable(str(value))
    except ValueError:  # Python writes no more than 4,300 digits
        return "a number of very many digits"
