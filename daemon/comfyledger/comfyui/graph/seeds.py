"""Which seeds the nodes of a graph take. PURE."""

from __future__ import annotations

import math
from collections.abc import Iterable

from comfyledger.comfyui.graph.nodes import Graph, printable
from comfyledger.comfyui.object_info import Input, ObjectInfo, inputs_of
from comfyledger.core.values import SEED_MAX
from comfyledger.errors import Refused


def described(graph: Graph, node_id: str, name: str, info: ObjectInfo | None) -> Input | None:
    """What `/object_info` says of an input of a node; None if it says nothing."""
    node_class = info.get(graph[node_id]["class_type"]) if info is not None else None
    return inputs_of(node_class, graph[node_id]["inputs"]).get(name) if node_class is not None else None


def seed_range(graph: Graph, seeds: Iterable[str], info: ObjectInfo | None) -> tuple[int, int] | None:
    """The smallest and the largest seed that all these addresses take; None if any from 0 to 2^53-1 will do, as far as
    `info` knows.

    Raises Refused (seed_out_of_range) if there is none. The path is the address at fault.
    """
    low, high, narrow = 0, SEED_MAX, ""
    for address in seeds:
        node_id, _, name = address.partition(".")
        one = described(graph, node_id, name, info)
        if one is None:
            continue
        its_low = 0 if one.low is None else max(0, math.ceil(one.low))
        its_high = SEED_MAX if one.high is None else min(SEED_MAX, math.floor(one.high))
        if its_low > high or its_high < low:
            raise _no_seed(address, narrow)
        if its_low > low or its_high < high:
            low, high, narrow = max(low, its_low), min(high, its_high), address
    return (low, high) if (low, high) != (0, SEED_MAX) else None


def _no_seed(address: str, other: str) -> Refused:
    suits = f"both {printable(other)} and {printable(address)}" if other else printable(address)
    return Refused(
        "seed_out_of_range",
        f"No seed suits {suits}.",
        hint="Configure the workflow, and name the inputs that get the seed as `seeds` in [workflows.NAME].",
        path=printable(address),
    )
