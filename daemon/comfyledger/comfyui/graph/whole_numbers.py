"""Where whole numbers of a graph come from, where they go to, and how large they may be. PURE.

A sampler's seed is often linked: to a node that holds a number, through switches, reroutes and arithmetic. Such a link
is followed to the widget that a run can fill in, and a widget to all that it feeds. What a node does with a number is
read from `/object_info`. For a class that is not there, it is read from the names of the class and of its inputs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from comfyledger.comfyui.graph.nodes import Graph, folded, is_int, is_link
from comfyledger.comfyui.object_info import Input, NodeClass, ObjectInfo, inputs_of
from comfyledger.core.values import SEED_MAX

STEPS_MAX: Final = 20_000
"""How many inputs of one graph are looked at. After that no link is followed, so what is linked is not guessed."""
BATCH_SIZE: Final = "batch_size"
SEED_NAMES: Final = ("seed", "noise_seed")
"""The inputs to which ComfyUI's own page gives a new number after each run."""
_ALWAYS_WHOLE: Final = frozenset({*SEED_NAMES, BATCH_SIZE})
"""What is a whole number in every node: a text in its place stands for one."""
_OTHER_SEEDS: Final = re.compile(r"(.+_)?(sub)?seed|seed_(num|value)")
"""What custom nodes call a seed: rand_seed, variation_seed, seed_num."""
_NO_SEEDS: Final = frozenset({"last_seed"})
_NUMBERS: Final = frozenset({"value", "int", "integer", "number", "num", "int_value", "xi"})
"""Inputs in which nodes of unknown classes hold the number that they give on."""
_PASSING: Final = re.compile(r"|any[a-z]*_?\d*|input_?[a-z\d]?|value_?[a-z\d]|[a-e]|x|y|(on|if)_(true|false)")
"""Inputs that nodes of unknown classes give on when they are linked."""
_PASSING_CLASSES: Final = ("reroute", "switch", "math", "anything", "passthrough", "toint")
_TEXTS: Final = re.compile(r"text|string|prefix|name|title|source|label|note")
"""Inputs that show or write a number, in nodes of unknown classes."""
_SWITCH: Final = "ComfySwitchNode"
_BOOLEAN: Final = "PrimitiveBoolean"

Place = tuple[str, str]
"""Node id and input name."""


class Range(NamedTuple):
    """Whole numbers, both ends included. Empty if `low` is above `high`."""

    low: int
    high: int

    def both(self, other: Range) -> Range:
        return Range(max(self.low, other.low), min(self.high, other.high))


ALL_SEEDS: Final = Range(0, SEED_MAX)


def is_seed_name(name: str) -> bool:
    """Whether an input is a seed by its name. `sampling_mode.seed` is one that a dynamic combo brings."""
    word = name.rpartition(".")[2].casefold()
    return word in SEED_NAMES or (_OTHER_SEEDS.fullmatch(word) is not None and word not in _NO_SEEDS)


class Numbers:
    """The whole numbers of one graph. Remembers what it has looked up, and looks at a bounded number of inputs."""

    def __init__(self, graph: Graph, info: ObjectInfo | None) -> None:
        self._graph = graph
        self._info = info
        self._inputs: dict[str, dict[str, Input]] = {}
        self._fed: dict[str, list[Place]] | None = None
        self._giving: dict[Place, list[str]] = {}
        self._steps_left = STEPS_MAX

    def node_class(self, node_id: str) -> NodeClass | None:
        """What `/object_info` says of the class of a node; None if it says nothing."""
        return self._info.get(self._graph[node_id]["class_type"]) if self._info is not None else None

    def described(self, place: Place) -> Input | None:
        """What `/object_info` says of an input; None if it says nothing."""
        return self._described(place[0]).get(place[1])

    def can_hold(self, place: Place) -> bool:
        """Whether a run can put a whole number there: one stands there, or what stands for one (`"%seed%"`, `5.0`)."""
        value, one = self._value(place), self.described(place)
        if one is not None and not _is_whole(one.type):
            return False
        named = is_seed_name(place[1]) or place[1] == BATCH_SIZE or place[1].casefold() in _NUMBERS
        if isinstance(value, float):
            return math.isfinite(value) and (one is not None or (named and value.is_integer()))
        if isinstance(value, str):
            return one is not None or (named and (place[1] in _ALWAYS_WHOLE or value.strip().isdecimal()))
        return is_int(value)

    def range_of(self, place: Place) -> Range:
        """What `/object_info` allows there, as far as a request may ask for it: 0 to 2^53-1."""
        one = self.described(place)
        if one is None or not _is_whole(one.type):
            return ALL_SEEDS
        low = 0 if one.low is None else math.ceil(one.low)
        return ALL_SEEDS.both(Range(low, SEED_MAX if one.high is None else math.floor(one.high)))

    def sources(self, place: Place) -> set[Place]:
        """The widgets that an input can get its number from: itself, unless it is linked. Empty if there are none, or
        more links than are followed.
        """
        if not is_link(self._graph, self._value(place)):
            return {place} if self.can_hold(place) else set()
        found: set[Place] = set()

        def behind(at: Place) -> Sequence[Place]:
            value = self._value(at)
            if is_link(self._graph, value):
                return self._behind(value[0], value[1], place[1])
            if self.can_hold(at):
                found.add(at)
            return ()

        return found if self._walk([place], behind) is not None else set()

    def reached(self, place: Place) -> list[Place] | None:
        """Every input that the number of a widget reaches, also through nodes that give it on; None if there are more
        than are looked at.
        """

        def after(at: Place) -> Sequence[Place]:
            return self.fed_by(at[0]) if self._gives_on(at) else ()

        return self._walk(after(place), after)

    def feeds_only(self, place: Place, fits: Callable[[str], bool]) -> bool:
        """Whether the number of a widget is used by inputs whose names fit only, and for texts."""
        reached = self.reached(place)
        return reached is not None and all(
            fits(at[1]) or self._gives_on(at) or self._is_no_number(at) for at in reached
        )

    def chosen(self, node_id: str) -> str | None:
        """The input that a switch takes as the graph stands; None if it cannot be said, or the node is no switch."""
        node = self._graph[node_id]
        value: Any = node["inputs"].get("switch") if node["class_type"] == _SWITCH else None
        if is_link(self._graph, value) and self._graph[value[0]]["class_type"] == _BOOLEAN:
            value = self._graph[value[0]]["inputs"].get("value")
        return {True: "on_true", False: "on_false"}[value] if isinstance(value, bool) else None

    def fed_by(self, node_id: str) -> Sequence[Place]:
        """The inputs that are linked to a node."""
        if self._fed is None:
            self._fed = {}
            for target, node in self._graph.items():
                for name, value in node["inputs"].items():
                    if is_link(self._graph, value):
                        self._fed.setdefault(value[0], []).append((target, name))
        return self._fed.get(node_id, ())

    def _walk(self, waiting: Iterable[Place], further: Callable[[Place], Sequence[Place]]) -> list[Place] | None:
        seen: dict[Place, None] = {}
        left = list(waiting)
        while left:
            if self._steps_left <= 0:
                return None
            self._steps_left -= 1
            place = left.pop()
            if place not in seen:
                seen[place] = None
                more = further(place)
                self._steps_left -= len(more)
                left += more
        return list(seen)

    def _value(self, place: Place) -> Any:
        return self._graph[place[0]]["inputs"][place[1]]

    def _described(self, node_id: str) -> dict[str, Input]:
        if node_id not in self._inputs:
            node_class = self.node_class(node_id)
            given = self._graph[node_id]["inputs"]
            self._inputs[node_id] = inputs_of(node_class, given) if node_class is not None else {}
        return self._inputs[node_id]

    def _behind(self, node_id: str, slot: int, wanted: str) -> list[Place]:
        """The inputs of a node whose number one of its outputs gives on. `wanted`: what the number is for, by name.

        A seed of the node is taken for a seed. Otherwise links come before numbers: `b` of `a + b` is a constant.
        """
        node_class, inputs = self.node_class(node_id), self._graph[node_id]["inputs"]
        if node_class is not None and not any(map(_is_whole, node_class.outputs[slot : slot + 1])):
            return []
        chosen = self.chosen(node_id)
        if chosen is not None:
            return [(node_id, chosen)] if chosen in inputs else []
        kind = "seed" if is_seed_name(wanted) else wanted.rpartition(".")[2]
        if (node_id, kind) not in self._giving:
            self._giving[node_id, kind] = self._names_behind(node_id, kind)
        return [(node_id, name) for name in self._giving[node_id, kind]]

    def _names_behind(self, node_id: str, kind: str) -> list[str]:
        inputs = self._graph[node_id]["inputs"]
        names = [name for name in inputs if self._gives_on((node_id, name))]
        if kind == "seed":
            alike = list(filter(is_seed_name, names if self.node_class(node_id) is not None else inputs))
        else:
            alike = [name for name in names if name == kind]
        return alike or [name for name in names if is_link(self._graph, inputs[name])] or names

    def _gives_on(self, place: Place) -> bool:
        """Whether a node gives on the number of this input, as it is or computed with."""
        node_id, name = place
        node_class, one = self.node_class(node_id), self.described(place)
        if node_class is not None and not any(map(_is_whole, node_class.outputs)):
            return False
        if one is not None:
            its = [_takes_anything(other.type) for other in self._described(node_id).values()]
            return _takes_anything(one.type) if any(its) else _is_whole(one.type)
        named = folded(self._graph[node_id])
        passes = any(word in named for word in _PASSING_CLASSES)
        holds = name.casefold() in _NUMBERS
        if is_link(self._graph, self._value(place)):
            of_seed_node = is_seed_name(name) and "seed" in named
            return passes or holds or of_seed_node or _PASSING.fullmatch(name.casefold()) is not None
        return (holds or is_seed_name(name) or name == BATCH_SIZE) and not passes and "latent" not in named

    def _is_no_number(self, place: Place) -> bool:
        one = self.described(place)
        if one is None:
            return _TEXTS.search(place[1].casefold()) is not None
        return not {"INT", "FLOAT"} & set(one.type.split(","))


def _is_whole(type_name: str) -> bool:
    return "INT" in type_name.split(",") or _takes_anything(type_name)


def _takes_anything(type_name: str) -> bool:
    return "*" in type_name.split(",") or type_name.startswith("COMFY_MATCHTYPE")
