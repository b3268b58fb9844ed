"""Describes the inputs of a workflow for forms: kinds, ranges, choices and defaults. PURE.

A `Seen` is the workflow as one ComfyUI would run it, and what this ComfyUI says of its nodes. Of several, a form shows
what all take: the narrowest range, and the choices that all have. Of a node that no ComfyUI has described, only the
value in the graph tells anything.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from comfyledger import wire
from comfyledger.admission.suggest import TEXT_NAMES
from comfyledger.comfyui.graph.input_names import TakesFile, takes_file
from comfyledger.comfyui.graph.nodes import Graph, folded, is_link, kind_of
from comfyledger.comfyui.object_info import COMBO, DYNAMIC_COMBO, Input, ObjectInfo, inputs_of
from comfyledger.core.media import Medium
from comfyledger.wire.answers.workflows import InputKind
from comfyledger.wire.requests.files import SHA256

CHOICES_MAX: Final = 2_000
CHOICE_CHARS_MAX: Final = 500
"""With `CHOICES_MAX` it keeps an answer far below the 64 MiB that clients read."""
TOOLTIP_CHARS: Final = 500
WHOLE_MAX: Final = 2**53 - 1
"""Beyond it JavaScript rounds."""
_KINDS: Final[Mapping[str, tuple[InputKind, str]]] = {
    "INT": ("int", "a number"),
    "FLOAT": ("float", "a number"),
    "STRING": ("text", "a text"),
    "BOOLEAN": ("bool", "true or false"),
}
"""What a type of ComfyUI is in a form, and which kind of literal a graph must have there (`kind_of`)."""
_HOLDS: Final = "primitive"
"""Begins the names of ComfyUI's own classes that give on the one value which they hold."""


class Seen(NamedTuple):
    """`info`: None if the ComfyUI has not said what it has."""

    graph: Graph
    info: ObjectInfo | None


class _Facts(NamedTuple):
    """What one ComfyUI says of an input."""

    kind: InputKind
    low: float | None = None
    high: float | None = None
    step: float | None = None
    choices: tuple[Any, ...] = ()
    multiline: bool = False
    tooltip: str = ""


def described(
    name: str, label: str, address: str, seen: Sequence[Seen], *, file: wire.FileAsked | None, required: bool
) -> wire.WorkflowInput:
    """One input, at an address that every graph of `seen` has; there is at least one. `file`: what the workflow loads
    there. `required`: whether no ComfyUI takes what the workflow has.
    """
    node, _, own_name = address.partition(".")
    present = seen[0].graph[node]["inputs"][own_name]
    takes = next((takes for one in seen if (takes := takes_file(one.graph, address, one.info)) is not None), None)
    is_file = file is not None or (takes is not None and isinstance(present, str | None))
    found = [facts for one in seen if (facts := _facts(one, node, own_name)) is not None]
    is_described = any(_input_at(one, node, own_name) is not None for one in seen)
    facts = _Facts("file", tooltip=_tooltip(seen, node, own_name)) if is_file else _common(found, present, own_name)
    return wire.WorkflowInput(
        name,
        label,
        node,
        own_name,
        facts.kind,
        default=present if file is None else wire.InputNamed(f"{SHA256}{file.sha256}"),
        min=facts.low,
        max=facts.high,
        step=facts.step,
        choices=list(facts.choices[:CHOICES_MAX]),
        choices_left_out=max(0, len(facts.choices) - CHOICES_MAX),
        multiline=facts.multiline,
        tooltip=facts.tooltip,
        required=required or (present is None and file is None),
        medium=_medium(takes) if is_file else None,
        known=is_described if is_file else bool(found),
    )


def _tooltip(seen: Iterable[Seen], node: str, name: str) -> str:
    said = (one.config.get("tooltip") for at in seen if (one := _input_at(at, node, name)) is not None)
    return next((text.strip()[:TOOLTIP_CHARS] for text in said if isinstance(text, str)), "")


def _medium(takes: TakesFile | None) -> Medium | None:
    """The medium that people mostly give: an input for sounds takes them from videos as well."""
    media = takes.media if takes is not None else frozenset()
    if "audio" in media:
        return "audio"
    return next(iter(media)) if len(media) == 1 else None


# ---- what one ComfyUI says


def _facts(seen: Seen, node: str, name: str) -> _Facts | None:
    """None if the ComfyUI does not describe the input, or takes something else there than the graph has."""
    one = _input_at(seen, node, name)
    if one is None or seen.info is None:
        return None
    literal = kind_of(seen.graph[node]["inputs"][name]) or "a text"
    tooltip = _tooltip([seen], node, name)
    if one.type in {COMBO, DYNAMIC_COMBO}:
        choices = tuple(_choices(one, literal))
        return _Facts("choice", choices=choices, tooltip=tooltip) if choices else None
    kind, wanted = _KINDS.get(one.type, (None, ""))
    if kind is None or wanted != literal:
        return None
    if kind == "text":
        return _Facts(kind, multiline=one.config.get("multiline") is True, tooltip=tooltip)
    if kind == "bool":
        return _Facts(kind, tooltip=tooltip)
    return _number(kind, [one, *_fed_as_it_is(seen, node)], tooltip)


def _input_at(seen: Seen, node: str, name: str) -> Input | None:
    node_class = seen.info.get(seen.graph[node]["class_type"]) if seen.info is not None else None
    return inputs_of(node_class, seen.graph[node]["inputs"]).get(name) if node_class is not None else None


def _choices(one: Input, literal: str) -> Iterator[Any]:
    """The choices that a request may give: those of the kind that the graph has there."""
    for choice in dict.fromkeys(option for option in one.options or () if isinstance(option, str | int | float)):
        if kind_of(choice) == literal and not (isinstance(choice, str) and len(choice) > CHOICE_CHARS_MAX):
            yield choice


def _fed_as_it_is(seen: Seen, node: str) -> Iterator[Input]:
    """The inputs that get the number of a node which only holds it, so that their ranges count, too."""
    if not folded(seen.graph[node]).startswith(_HOLDS):
        return
    for target, other in seen.graph.items():
        for name, value in other["inputs"].items():
            if is_link(seen.graph, value) and value[0] == node:
                one = _input_at(seen, target, name)
                if one is not None and one.type in {"INT", "FLOAT"}:
                    yield one


def _number(kind: InputKind, inputs: Iterable[Input], tooltip: str) -> _Facts:
    facts = _Facts(kind, tooltip=tooltip)
    for one in inputs:
        step = one.config.get("step")
        is_step = isinstance(step, int | float) and not isinstance(step, bool) and math.isfinite(step) and step > 0
        facts = _narrowed(facts, _Facts(kind, one.low, one.high, step if is_step else None, tooltip=tooltip))
    return facts


# ---- what all say


def _common(found: Sequence[_Facts], present: object, name: str) -> _Facts:
    """What all ComfyUIs take that describe the input. Without any, or if they differ in kind, what the value says."""
    if not found or len({one.kind for one in found}) > 1:
        return _of_value(present, name)
    facts = found[0]
    for other in found[1:]:
        facts = _narrowed(facts, other)
    if facts.kind == "choice" and not facts.choices:
        return _of_value(present, name)._replace(tooltip=facts.tooltip)
    return facts if facts.kind not in {"int", "float"} else _in_bounds(facts)


def _narrowed(facts: _Facts, other: _Facts) -> _Facts:
    has: Collection[Any] = frozenset(other.choices)
    return facts._replace(
        low=_either(max, facts.low, other.low),
        high=_either(min, facts.high, other.high),
        step=_either(max, facts.step, other.step),
        choices=tuple(choice for choice in facts.choices if choice in has),
        multiline=facts.multiline or other.multiline,
        tooltip=facts.tooltip or other.tooltip,
    )


def _either(better: Any, one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    chosen: float = better(one, other)
    return chosen


def _in_bounds(facts: _Facts) -> _Facts:
    """With limits that are whole for whole numbers, and without limits between which there is no number."""
    low, high, step = facts.low, facts.high, facts.step
    if facts.kind == "int":
        low = None if low is None else max(-WHOLE_MAX, math.ceil(low))
        high = None if high is None else min(WHOLE_MAX, math.floor(high))
        step = None if step is None else max(1, math.floor(step))
    if low is not None and high is not None and low > high:
        low = high = None
    return facts._replace(low=low, high=high, step=step)


def _of_value(present: object, name: str) -> _Facts:
    match kind_of(present):
        case "true or false":
            return _Facts("bool")
        case "a number":
            return _Facts("int" if isinstance(present, int) else "float")
    lines = isinstance(present, str) and "\n" in present
    return _Facts("text", multiline=lines or name in TEXT_NAMES)
