"""The widgets of a node, and their values: `widgets_values` is a list without names, in the order of the page. PURE.

The names come from `/object_info`, the order and what has no name there from ComfyUI's page: a seed is followed by the
widget that says what becomes of it after a run, the choice of a dynamic combo by its own inputs. A widget that the list
is too short for has its default. Nodes whose widgets are custom write an object instead, by name.
(`litegraphService.ts`, `dynamicWidgets.ts` and `widgets/composables` of ComfyUI's frontend 1.47)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from typing import Any, Final

from comfyledger.comfyui.object_info import (
    AUTOGROW,
    COMBO,
    DYNAMIC_COMBO,
    Input,
    NodeClass,
    chosen_inputs,
    described_inputs,
    grown_inputs,
    grown_min,
)
from comfyledger.comfyui.ui_format.document import Node, Slot

DEFAULTS: Final[Mapping[str, Any]] = {
    "INT": 0,
    "FLOAT": 0,
    "STRING": "",
    "BOOLEAN": False,
    COMBO: None,
    DYNAMIC_COMBO: None,
    "COLOR": "#000000",
    "COLORS": [],
    "BOUNDING_BOX": {"x": 0, "y": 0, "width": 512, "height": 512},
    "BOUNDING_BOXES": [],
    "CURVE": {"points": [[0, 0], [1, 1]], "interpolation": "monotone_cubic"},
    "RANGE": {"min": 0.0, "max": 1.0},
    "MARKDOWN": "",
    "TEXTAREA": "",
    "PAINTER": "",
    "IMAGECOMPARE": ["", ""],
    "CHART": {},
    "GALLERIA": [],
    "LOAD_3D": "",
    "LOAD_3D_ADVANCED": "",
    "WEBCAM": "",
    "AUDIO_RECORD": "",
}
"""The types that the page has a widget for, with the value that it has at first."""
SEEDS: Final = frozenset({"seed", "noise_seed"})
"""Inputs that a control widget follows, whatever their description says."""
CONTROL: Final = "control_after_generate"
BUTTONS: Final = frozenset({"upload3dmodel", "uploadExtraResources", "clear"})
"""Values of the buttons of nodes that load 3D models. How many there are depends on the version of the page."""
PAGE_MADE: Final = frozenset({"LOAD_3D", "WEBCAM", "AUDIO_RECORD"})
"""Inputs that the page makes when it sends the graph: a view of a 3D model, a picture of the camera, a recording."""
CUSTOM_COMBO: Final = "CustomCombo"
"""A node whose choices people write on the page: its inputs `option1`, `option2`, ... are in no description."""
LORAS: Final = "Power Lora Loader (rgthree)"
"""A node of the extension rgthree that takes any number of objects, `lora_1`, `lora_2`, ..., in no description."""
OLD_CLASSES: Final[Mapping[str, tuple[str, ...]]] = {
    "ConditioningAverage ": ("conditioning_to_strength",),
    "ResizeImagesByLongerEdge": ("longer_edge",),
    "SDV_img2vid_Conditioning": (
        "width",
        "height",
        "video_frames",
        "motion_bucket_id",
        "fps",
        "augmentation_level",
    ),
    "T2IAdapterLoader": ("t2i_adapter_name",),
}
"""The widgets of classes that ComfyUI replaces when it gets a graph. (`comfy_extras/nodes_replacements.py`)"""
WIDGETS_MAX: Final = 1_000
"""Of one node."""


def fill(node: Node, node_class: NodeClass) -> None:
    """Give a node the values of its widgets by name, and the slots of its class with the links of the document.

    The slots are in the order of the page: a bypassed node hands on the first that fits.
    """
    inputs = described_inputs(node_class)
    given, place = _given(node, inputs), 0
    layout = _Layout({slot.name for slot in node.slots if slot.link is not None})
    layout.add(inputs)
    choices, combos = list[str](), list[str]()
    while (said := layout.next()) is not None and len(node.widgets) < WIDGETS_MAX:
        value = node.widgets[said.name] = _value(given, place, said)
        place += _entries(said)
        if said.type == DYNAMIC_COMBO:
            if said.options and value not in said.options and isinstance(given, list) and place < len(given):
                node.odd_choice = said.name
            layout.insert(chosen_inputs(said, value))
            combos.append(f"{said.name}.")
        if said.type in PAGE_MADE and said.name != "viewport_state" and not value:
            node.page_made = said.name
        if said.config.get("dynamicPrompts") is True:
            choices.append(said.name)
    node.choices = frozenset(choices)
    if node_class.name == CUSTOM_COMBO:
        _fill_custom_combo(node)
    if node_class.name == LORAS:
        _fill_loras(node)
    node.slots = _linked(layout.sockets + layout.widget_slots, node.slots, tuple(combos))
    node.outputs = node.outputs or list(node_class.outputs)
    if isinstance(node.given, dict):
        node.widgets |= _named(node.given)


def fill_unknown(node: Node) -> None:
    """The same for a node of a class that the server does not have: its values have names only if the document says
    them. Newer pages write `widgets_values_named`, whose values may be older than those in the list.
    """
    names = OLD_CLASSES.get(node.type, node.names)
    if isinstance(node.given, dict):
        node.widgets |= _named(node.given)
    elif isinstance(node.given, list) and len(node.given) == len(names):
        node.widgets |= {name: value for name, value in zip(names, node.given, strict=True) if name != CONTROL}
    else:
        node.is_named = not isinstance(node.given, list) or not node.given


def _fill_custom_combo(node: Node) -> None:
    """After the choice come its number, which follows from it, and the choices that there are."""
    options = node.given[2:WIDGETS_MAX] if isinstance(node.given, list) else []
    choice = node.widgets.get("choice")
    node.widgets["index"] = options.index(choice) if choice in options else -1
    node.widgets |= {f"option{number}": option for number, option in enumerate(options, 1)}


def _fill_loras(node: Node) -> None:
    listed = node.given[:WIDGETS_MAX] if isinstance(node.given, list) else []
    loras = [one for one in listed if isinstance(one, dict) and "lora" in one]
    for number, lora in enumerate(loras, 1):
        node.widgets[f"lora_{number}"] = {key: value for key, value in lora.items() if value is not None}


def _named(given: Mapping[str, Any]) -> dict[str, Any]:
    """What an object of values says. Objects in it are the page's own, such as a preview."""
    return {name: value for name, value in given.items() if not isinstance(value, dict | list)}


def _value(given: Any, place: int, said: Input) -> Any:
    if isinstance(given, dict):
        value = given.get(said.name, _default(said))
    else:
        value = given[place] if place < len(given) and _entries(said) else _default(said)
    return said.options[0] if value is None and said.options else value


def _default(said: Input) -> Any:
    if said.type == COMBO and said.config.get("multiselect") is True:
        return []
    default = said.config.get("default")
    if said.type in (COMBO, DYNAMIC_COMBO):
        return default or None
    return DEFAULTS[_kind(said)] if default is None else default


def _given(node: Node, inputs: list[Input]) -> Any:
    """The values by name where the document says the names. Otherwise the list, without the values of inputs that were
    widgets before version 1.16 of the page, and without those of buttons.
    """
    given = node.given
    if not isinstance(given, list):
        return given if isinstance(given, dict) else []
    if len(given) == len(node.names):
        return dict(zip(node.names, given, strict=True))
    if any(one.type == "LOAD_3D" for one in inputs):
        given = [value for value in given if not (isinstance(value, str) and value in BUTTONS)]
    forced: list[bool] = []
    for one in inputs:
        is_forced = one.config.get("forceInput") is True
        if is_forced or _kind(one):
            forced.append(is_forced)
            if one.config.get(CONTROL):
                forced.append(False)
    if any(forced) and len(forced) == len(given):
        return [value for value, is_forced in zip(given, forced, strict=True) if not is_forced]
    return given


class _Layout:
    """The widgets of a node in the order of the page, which grows as values are read."""

    def __init__(self, linked: Collection[str]) -> None:
        self._linked = linked
        self._waiting = deque[Input]()
        self._late = deque[Input]()
        self.sockets: list[Slot] = []
        self.widget_slots: list[Slot] = []

    def next(self) -> Input | None:
        waiting = self._waiting or self._late
        if not waiting:
            return None
        one = waiting.popleft()
        if one.config.get("socketless") is not True:
            self.widget_slots.append(Slot(one.name, one.type, None, False))
        return one

    def add(self, inputs: list[Input]) -> None:
        """The inputs of the class. The page makes those of growing lists first."""
        grown = [inner for one in inputs if one.type == AUTOGROW for inner in self._grown(one)]
        self._waiting.extend(grown + [one for one in inputs if self._is_widget(one)])

    def insert(self, inputs: list[Input]) -> None:
        """What a choice brings stands right behind it."""
        brought = list[Input]()
        for one in inputs:
            brought += self._grown(one) if one.type == AUTOGROW else [one] if self._is_widget(one) else []
        self._waiting.extendleft(reversed(brought))

    def _grown(self, one: Input) -> list[Input]:
        """The widgets of a growing list. The page adds one more at the very end for each that is linked."""
        inputs = [inner for inner in grown_inputs(one) if self._is_widget(inner)]
        at_first = max(1, grown_min(one) + 1)
        ends = max((place + 2 for place, inner in enumerate(inputs) if inner.name in self._linked), default=0)
        self._late.extend(inputs[at_first:ends])
        return inputs[:at_first]

    def _is_widget(self, one: Input) -> bool:
        if _kind(one) and one.config.get("forceInput") is not True:
            return True
        if one.type != AUTOGROW:
            self.sockets.append(Slot(one.name, _socket_type(one), None, False))
        return False


def _linked(defined: list[Slot], given: list[Slot], combos: tuple[str, ...]) -> list[Slot]:
    """The slots of the class with the links of the document, and after them what only the document has.

    `combos`: how the names begin that belong to another choice, if they are not in the class.
    """
    known = {slot.name: slot for slot in given}
    for slot in defined:
        if (said := known.get(slot.name)) is not None:
            slot.link, slot.marked = said.link, said.marked
    names = {slot.name for slot in defined}
    return defined + [slot for slot in given if slot.name not in names and not slot.name.startswith(combos)]


def _entries(one: Input) -> int:
    """How many values a widget has in the list. After it may come widgets that are no inputs: for what becomes of the
    value after a run, for a filter of choices, for the four sides of a box.
    """
    control = one.config.get(CONTROL)
    if one.type == "INT":
        return 2 if control or (control is None and one.name in SEEDS) else 1
    if one.type == "BOUNDING_BOX":
        return 5
    if one.type == "IMAGECOMPARE":
        return 0
    return {"FLOAT": 2, COMBO: 3}.get(one.type, 1) if control else 1


def _kind(one: Input) -> str:
    """The type of its widget; empty if it has none."""
    kind = one.config.get("widgetType")
    kind = kind if isinstance(kind, str) else one.type
    return kind if kind in DEFAULTS else ""


def _socket_type(one: Input) -> str:
    """The types that an input takes whose type follows from what is linked to it."""
    template = one.config.get("template")
    allowed = template.get("allowed_types") if one.type == "COMFY_MATCHTYPE_V3" and isinstance(template, dict) else None
    return allowed if isinstance(allowed, str) else one.type
