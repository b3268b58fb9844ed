"""Checks workflows against the node classes of a ComfyUI, and remembers what it found.

Admission checks before it gives a number, and workers check before they send. Both mostly meet a workflow that was
checked before, so a result is kept by template and digest: the same question is never answered twice.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

from comfyledger.comfyui.graph import checks
from comfyledger.comfyui.graph.nodes import Graph, upstream
from comfyledger.comfyui.graph.plan import Plan, addresses_of_the_run
from comfyledger.comfyui.graph.seeds import seed_range
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.errors import NodeMistake

CheckLevel = Literal["full", "classes", "off"]
"""As in `[limits] check_workflows`."""
RESULTS_KEPT: Final = 256
SeedRange = tuple[int, int] | None
"""The smallest and the largest seed; None for every seed that there is."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The values of the keys that were used last, at most `most`. Of several threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: K, value: V) -> V:
        with self._lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return value


class Template(NamedTuple):
    """A graph as it is stored, with null where a run fills in a value. Equal keys mean equal graphs."""

    key: str
    graph: Graph
    plan: Plan


class _Found(NamedTuple):
    mistakes: tuple[NodeMistake, ...]
    feeding: frozenset[str]
    """The nodes that are run."""


class Mistakes(NamedTuple):
    """What is wrong: with the workflow, or else with the values that a request gives, by the place of the image."""

    workflow: tuple[NodeMistake, ...] = ()
    images: Mapping[int, tuple[NodeMistake, ...]] = {}

    @property
    def every(self) -> tuple[NodeMistake, ...]:
        """All of them; empty if ComfyUI would take the workflow."""
        return self.workflow or tuple(one for found in self.images.values() for one in found)[: checks.MISTAKES_MAX]


class WorkflowChecks:
    """Checks at one level. One object serves admission and all workers."""

    def __init__(self, level: CheckLevel) -> None:
        self.level = level
        self._found: Recent[tuple[Hashable, ...], _Found] = Recent(RESULTS_KEPT)
        self._unknown: Recent[tuple[str, str], frozenset[str]] = Recent(RESULTS_KEPT)
        self._seeds: Recent[tuple[Hashable, ...], tuple[SeedRange]] = Recent(RESULTS_KEPT)
        self._right: Recent[tuple[str, str], bool] = Recent(RESULTS_KEPT)

    def mistakes(
        self,
        template: Template,
        images: Sequence[Mapping[str, Any]],
        info: ObjectInfo,
        loads: Sequence[Collection[str]] = (),
    ) -> Mistakes:
        """Why ComfyUI would refuse a workflow with these values. `images`: the values of each image, by address.
        `loads`: for each image the addresses that get the name of a file that ComfyUI need not have yet; empty if no
        image has any.

        What every image replaces is not looked at in the workflow.
        """
        if self.level == "off":
            return Mistakes()
        replaced = _in_every(images, loads)
        found = self._of_workflow(template, replaced, info)
        if found.mistakes or self.level == "classes" or not any(images):
            return Mistakes(found.mistakes)
        by_image = checks.find_image_mistakes(template.graph, images, info, feeding=found.feeding, loads=loads)
        return Mistakes((), by_image)

    def is_right(self, batch_id: str, info: ObjectInfo) -> None:
        """All images of a batch were found to be right. Neither its graph nor their values ever change."""
        self._right.put((batch_id, info.digest), True)

    def was_right(self, batch_id: str, info: ObjectInfo) -> bool:
        """Whether that was found lately, for the same answer of ComfyUI."""
        return self._right.get((batch_id, info.digest)) is not None

    def _of_workflow(self, template: Template, replaced: frozenset[str], info: ObjectInfo) -> _Found:
        outputs = tuple(output.node for output in template.plan.every_output)
        filled = replaced.union(addresses_of_the_run(template.plan))
        key = (template.key, info.digest, outputs, filled)
        return self._found.get(key) or self._found.put(key, self._look(template.graph, outputs, filled, info))

    def _look(self, graph: Graph, outputs: Iterable[str], filled: Collection[str], info: ObjectInfo) -> _Found:
        level: checks.Level = "full" if self.level == "full" else "classes"
        mistakes = checks.find_mistakes(graph, outputs, info, filled=filled, level=level)
        return _Found(mistakes, frozenset(upstream(graph, outputs)))

    def seed_range(self, template: Template, info: ObjectInfo) -> SeedRange:
        """The seeds that a ComfyUI takes where the plan fills them in. Raises Refused (seed_out_of_range) if none."""
        key = (template.key, info.digest, template.plan.seeds)
        found = self._seeds.get(key)
        if found is None:
            found = self._seeds.put(key, (seed_range(template.graph, template.plan.seeds, info),))
        return found[0]

    def unneeded_unknown(self, template: Template, info: ObjectInfo) -> frozenset[str]:
        """The nodes that feed no output and whose class ComfyUI lacks. It refuses a graph for any such node."""
        key = (template.key, info.digest)
        found = self._unknown.get(key)
        if found is not None:
            return found
        feeding = upstream(template.graph, [output.node for output in template.plan.every_output])
        others = (node_id for node_id in template.graph if node_id not in feeding)
        return self._unknown.put(
            key, frozenset(node_id for node_id in others if template.graph[node_id]["class_type"] not in info)
        )


def _in_every(images: Sequence[Mapping[str, Any]], loads: Sequence[Collection[str]]) -> frozenset[str]:
    """The addresses at which every image has a value or a file of its own."""
    filled = [frozenset({*values, *files}) for values, files in zip(images, loads or [()] * len(images), strict=True)]
    return filled[0].intersection(*filled[1:]) if filled else frozenset()
