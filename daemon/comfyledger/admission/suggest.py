"""Suggests names for the inputs of a workflow: what people want to set, and where it stands in the graph. PURE.

A suggestion is never used by itself. `workflow check` shows it, and `workflow add` writes it into the configuration,
where a person reads it. What the run fills in itself is not suggested.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from comfyledger.comfyui.graph.nodes import Graph, by_number, folded, is_link, kind_of, present_value, upstream
from comfyledger.comfyui.graph.plan import Plan, addresses_of_the_run
from comfyledger.errors import Refused

SUGGESTED_MAX: Final = 40
STEPS_MAX: Final = 50
"""Links that are followed to a text."""
TEXT_NAMES: Final = ("text", "prompt", "text_g", "t5xxl", "clip_l", "text_positive", "positive_prompt", "wildcard_text")
TEXT_SOURCE_NAMES: Final = ("value", "text", "string", "prompt", "populated_text", "wildcard_text", "string_a", "text1")
"""Where a node that passes a text on has it."""
NEGATIVE_NAMES: Final = ("negative_prompt", "text_negative", "negative")
SIZE_NAMES: Final = ("width", "height", "length")
PLAIN_NAMES: Final = {
    "steps": "steps",
    "cfg": "cfg",
    "guidance": "guidance",
    "denoise": "denoise",
    "ckpt_name": "checkpoint",
    "unet_name": "model",
    "lora_name": "lora",
    "strength_model": "lora_strength",
    "fps": "fps",
    "frame_rate": "fps",
}
"""Inputs that mean the same in every node that has them, with the name that is suggested."""
LOADED_NAMES: Final = ("image", "mask", "video", "audio", "file", "model_file")
"""What loaders take the name of a file in."""
_FILE_NAMES: Final = {"file": "video", "model_file": "model_3d"}


def suggested_inputs(graph: Graph, plan: Plan) -> dict[str, str]:
    """Names with their addresses, at most `SUGGESTED_MAX`. The order is that of a person: texts, size, numbers, files.

    A name that is taken gets a number: `prompt`, `prompt_2`.
    """
    nodes = sorted(upstream(graph, [output.node for output in plan.every_output]), key=by_number)
    taken = addresses_of_the_run(plan)
    found: dict[str, str] = {}
    named: set[str] = set()
    for name, address in _all(graph, nodes):
        if address not in named and len(found) < SUGGESTED_MAX and _may_be_set(graph, address, taken):
            named.add(address)
            found[_free(name, found)] = address
    return found


def _all(graph: Graph, nodes: list[str]) -> Iterator[tuple[str, str]]:
    yield from _texts_of_samplers(graph, nodes)
    yield from _texts_beside(graph, nodes)
    for name in SIZE_NAMES:
        for node_id in nodes:
            if _has_a_size(graph[node_id]) and name in graph[node_id]["inputs"]:
                yield from ((name, address) for address in _number_behind(graph, node_id, name))
    for name, called in PLAIN_NAMES.items():
        for node_id in nodes:
            if name in graph[node_id]["inputs"]:
                yield called, f"{node_id}.{name}"
    yield from _files(graph, nodes)


def _may_be_set(graph: Graph, address: str, taken: Mapping[str, str]) -> bool:
    try:
        present_value(graph, address, address, {}, taken)
    except Refused:
        return False
    return True


def _free(name: str, found: Mapping[str, str]) -> str:
    if name not in found:
        return name
    return next(numbered for place in range(2, len(found) + 3) if (numbered := f"{name}_{place}") not in found)


# ---- texts


def _texts_of_samplers(graph: Graph, nodes: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The texts behind `positive` and `negative`, wherever a node takes both, and behind the guider of a model that has
    no negative prompt.
    """
    for side, name in (("positive", "prompt"), ("negative", "negative")):
        for node_id in nodes:
            inputs = graph[node_id]["inputs"]
            if side in inputs:
                yield from ((name, address) for address in _text_behind(graph, node_id, side, side))
            elif side == "positive" and "guider" in folded(graph[node_id]) and "conditioning" in inputs:
                yield from ((name, address) for address in _text_behind(graph, node_id, "conditioning", side))


def _texts_beside(graph: Graph, nodes: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Prompts that are no conditioning: nodes that ask a service take their text as it is."""
    for node_id in nodes:
        inputs = graph[node_id]["inputs"]
        names = [name for name in ("prompt", "positive_prompt", "text_prompt") if name in inputs]
        for name in names:
            yield from (("prompt", address) for address in _text_behind(graph, node_id, name, "positive"))
        for name in NEGATIVE_NAMES if names else ():
            if name in inputs:
                yield from (("negative", address) for address in _text_behind(graph, node_id, name, "negative"))


def _text_behind(graph: Graph, node_id: str, name: str, side: str) -> Iterator[str]:
    """The address of the text that an input has or is linked to; nothing where more than one may be meant."""
    for _ in range(STEPS_MAX):
        value = graph[node_id]["inputs"][name]
        if isinstance(value, str):
            yield f"{node_id}.{name}"
        if not is_link(graph, value):
            return
        node_id = value[0]
        name = _next(graph[node_id]["inputs"], side)
        if not name:
            return


def _next(inputs: Mapping[str, object], side: str) -> str:
    """Where a node that passes a text or a conditioning on has what it passes on. Nodes that take both sides are looked
    at by themselves.
    """
    others = NEGATIVE_NAMES if side == "negative" else ("positive_prompt",)
    conditionings = [name for name in inputs if name.startswith("conditioning")]
    names = (*others, *TEXT_NAMES, *conditionings, *TEXT_SOURCE_NAMES)
    return next((name for name in names if name in inputs), "")


# ---- numbers and files


def _has_a_size(node: Graph) -> bool:
    """Whether it begins a latent, an image or a video. Scalers have a size as well, and get something to scale."""
    inputs, name = node["inputs"], folded(node)
    begins = "batch_size" in inputs or "empty" in name or "length" in inputs or "prompt" in inputs
    return "width" in inputs and "height" in inputs and begins and "upscale" not in name


def _number_behind(graph: Graph, node_id: str, name: str) -> Iterator[str]:
    """The address of a number: of the input itself, or of the one number of the node that it is linked to."""
    value = graph[node_id]["inputs"][name]
    if not is_link(graph, value):
        yield f"{node_id}.{name}"
        return
    source = graph[value[0]]["inputs"]
    numbers = [one for one, literal in source.items() if kind_of(literal) == "a number"]
    if len(numbers) == 1 and not any(is_link(graph, one) for one in source.values()):
        yield f"{value[0]}.{numbers[0]}"


def _may_name_file(inputs: Graph, name: str) -> bool:
    """A name, or null where the workflow gives an input file."""
    return name in inputs and isinstance(inputs[name], str | None)


def _files(graph: Graph, nodes: Iterable[str]) -> Iterator[tuple[str, str]]:
    for node_id in nodes:
        name = folded(graph[node_id])
        for loaded in LOADED_NAMES:
            if "load" in name and _may_name_file(graph[node_id]["inputs"], loaded):
                called = "mask" if loaded == "image" and "mask" in name else _FILE_NAMES.get(loaded, loaded)
                yield called, f"{node_id}.{loaded}"
