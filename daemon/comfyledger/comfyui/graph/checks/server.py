"""One `/object_info` during one search. PURE.

It keeps what several nodes need: how many names were compared, and for further searches in the same answer the inputs
of classes and long lists as sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

from comfyledger.comfyui.graph.checks.nearest import Nearest
from comfyledger.comfyui.graph.nodes import Graph
from comfyledger.comfyui.object_info import DYNAMIC_COMBO, DYNAMIC_SLOT, Input, NodeClass, ObjectInfo, inputs_of

FEW: Final = 50
"""A list of more choices is searched through a set."""
SETS_KEPT: Final = 16
"""Of one answer. A set of 50,000 names takes 4 MB."""


class _Kept:
    """What was made of one answer, which never changes. Several threads search in it."""

    def __init__(self) -> None:
        self.inputs: dict[str, Mapping[str, Input]] = {}
        self.dynamic: dict[str, bool] = {}
        self._sets: dict[int, tuple[tuple[Any, ...], frozenset[Any]]] = {}

    def set_of(self, options: tuple[Any, ...]) -> frozenset[Any]:
        """Raises TypeError if one of the choices has no hash."""
        kept = self._sets.get(id(options))
        if kept is None:
            kept = (options, frozenset(options))  # with the choices, so that the id of the list stays its own
            if len(self._sets) >= SETS_KEPT:
                self._sets.clear()
            self._sets[id(options)] = kept
        return kept[1]


class Server:
    """What one server has."""

    def __init__(self, info: ObjectInfo) -> None:
        self.info = info
        self.nearest = Nearest()
        kept = info.once(_Kept)
        self._inputs, self._dynamic, self._set_of = kept.inputs, kept.dynamic, kept.set_of

    @cached_property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.info)

    def class_of(self, node: Graph) -> NodeClass | None:
        return self.info.get(node["class_type"])

    def runs_only_for_others(self, node: Graph) -> bool:
        node_class = self.class_of(node)
        return node_class is not None and not node_class.is_output

    def inputs(self, node_class: NodeClass, given: Mapping[str, Any]) -> Mapping[str, Input]:
        """The inputs that ComfyUI looks at. A dynamic choice that is missing or unknown is none of them, and brings
        none. (`_expand_schema_for_dynamic` in `comfy_api/latest/_io.py`)
        """
        if node_class.name in self._inputs:
            return self._inputs[node_class.name]
        inputs = inputs_of(node_class, given)
        if not self.is_dynamic(node_class):
            self._inputs[node_class.name] = inputs
            return inputs
        return {name: one for name, one in inputs.items() if _is_chosen(one, given)}

    def is_dynamic(self, node_class: NodeClass) -> bool:
        """Whether the inputs of a class depend on the values that its node has."""
        if node_class.name not in self._dynamic:
            kinds = (one.type for one in inputs_of(node_class, {}).values())
            self._dynamic[node_class.name] = not {DYNAMIC_COMBO, DYNAMIC_SLOT}.isdisjoint(kinds)
        return self._dynamic[node_class.name]

    def has(self, options: tuple[Any, ...], value: object) -> bool:
        """Whether a list of choices has a value, by equality as Python has it."""
        if len(options) > FEW:
            try:
                return value in self._set_of(options)
            except TypeError:  # lists and objects have no hash
                pass
        return value in options


def _is_chosen(one: Input, given: Mapping[str, Any]) -> bool:
    if one.type == DYNAMIC_SLOT:
        return one.name in given
    return one.type != DYNAMIC_COMBO or (one.name in given and given[one.name] in (one.options or ()))
