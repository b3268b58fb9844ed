"""The order in which a graph runs, and which results of it are cached. PURE: no time, no files.

A result is identified by its signature: the class, its plain inputs, the file that it loads if the class says so, and
the signatures of the nodes it is linked to.
Node ids do not count, so two nodes with equal inputs share one result (recording `two_saves`), and with another name
prefix only the saving runs again (`retry_new_prefix`). At the start of each prompt everything that its graph does not
mention is dropped (`duplicate_later`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from comfyledger.sim.comfyui.catalogue import NODES

Graph = Mapping[str, Mapping[str, Any]]


class Result(msgspec.Struct, frozen=True):
    """The result of a node: values for its links and, for an output node, its output and under which id it ran."""

    values: tuple[Any, ...]
    output: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None


class Cache:
    """The results of the last prompts, by signature."""

    def __init__(self) -> None:
        self._results: dict[str, Result] = {}

    def keep_only(self, signatures: set[str]) -> None:
        """Drop what the graph that is about to run does not mention."""
        self._results = {key: result for key, result in self._results.items() if key in signatures}

    def get(self, signature: str) -> Result | None:
        """The result of this signature, if it is cached."""
        return self._results.get(signature)

    def value(self, signature: str, slot: int) -> Any:
        """A value of a node that has run. Raises KeyError if it has not, IndexError for an unknown slot."""
        return self._results[signature].values[slot]

    def put(self, signature: str, result: Result) -> None:
        """Keep a result."""
        self._results[signature] = result


def is_link(value: object) -> bool:
    """Whether an input's value names another node's output."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


def links(graph: Graph, node_id: str) -> list[str]:
    """The nodes that a node is linked to, in the order of its inputs."""
    return [value[0] for value in graph[node_id]["inputs"].values() if is_link(value)]


def needed(graph: Graph, output: str) -> list[str]:
    """The output and every node that it depends on, each after its own dependencies.

    Raises ValueError for a cycle and KeyError for a link to a missing node.
    """
    found: dict[str, None] = {}
    begun: set[str] = set()
    stack = [output]
    while stack:
        waiting = [link for link in links(graph, stack[-1]) if link not in found]
        if not begun.isdisjoint(waiting):
            raise ValueError(f"Dependency cycle detected at node {stack[-1]}")
        if waiting:
            begun.add(stack[-1])
            stack += waiting
        else:
            found[stack.pop()] = None
    return list(found)


def sign(graph: Graph, outputs: list[str], fingerprints: Mapping[str, str]) -> dict[str, str]:
    """The signature of every node that the outputs need. `fingerprints` tell the files of loaders apart, by node."""
    signed: dict[str, str] = {}
    for node_id in (node_id for output in outputs for node_id in needed(graph, output)):
        node = graph[node_id]
        inputs = {
            name: ["link", signed[value[0]], value[1]] if is_link(value) else ["plain", value]
            for name, value in node["inputs"].items()
        }
        text = json.dumps([node["class_type"], inputs, fingerprints.get(node_id)], sort_keys=True)
        signed[node_id] = hashlib.sha256(text.encode()).hexdigest()
    return signed


class Order:
    """The nodes that must run for some outputs, handed out one at a time."""

    def __init__(self, graph: Graph, outputs: list[str], done: set[str]) -> None:
        self._graph = graph
        self._waits_for: dict[str, set[str]] = {}
        for output in outputs:
            self._add(output, done)

    def _add(self, output: str, done: set[str]) -> None:
        stack = [output]
        while stack:
            node_id = stack.pop()
            if node_id not in self._waits_for:
                needed = [link for link in links(self._graph, node_id) if link not in done]
                self._waits_for[node_id] = set(needed)
                stack += needed

    def __bool__(self) -> bool:
        return bool(self._waits_for)

    def pop(self) -> str:
        """The node to begin next: an output if one is ready, else the one found first. It counts as done."""
        ready = [node_id for node_id, needed in self._waits_for.items() if not needed]
        chosen = next((node_id for node_id in ready if self._is_output(node_id)), ready[0])
        del self._waits_for[chosen]
        for needed in self._waits_for.values():
            needed.discard(chosen)
        return chosen

    def _is_output(self, node_id: str) -> bool:
        return NODES[self._graph[node_id]["class_type"]].is_output
