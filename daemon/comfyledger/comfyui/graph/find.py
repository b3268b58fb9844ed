"""Finds what a run fills in: outputs, seeds, batch size and named inputs. PURE.

Graphs come in from `read`, a `Plan` goes out. Nothing here changes a graph.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from comfyledger.comfyui.graph.nodes import (
    Graph,
    by_number,
    check_nodes,
    folded,
    is_int,
    is_link,
    locate,
    node_text,
    present_value,
    printable,
    unfit,
)
from comfyledger.comfyui.graph.outputs import IMAGE_NAMES, LATENT_NAMES, choose_outputs
from comfyledger.comfyui.graph.plan import Plan, addresses_of_the_run, classic_output
from comfyledger.comfyui.graph.seeds import seed_range
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.errors import Refused

SEED_NAMES = ("seed", "noise_seed")
SEED_SOURCE_NAMES = (*SEED_NAMES, "value", "int")
BATCH_NAMES = (*LATENT_NAMES, *IMAGE_NAMES)


class Named(msgspec.Struct, frozen=True):
    """What the configuration or a request names. What is None is found."""

    outputs: tuple[str, ...] | None = None
    """Ids of the nodes whose files become images, in their order."""
    seeds: tuple[str, ...] | None = None
    batch_size: str | None = None
    inputs: Mapping[str, str] = {}
    secrets: tuple[str, ...] = ()
    no_nodes: tuple[str, ...] = ()
    """What the reader left out of the graph, for the plan to tell."""


NOTHING_NAMED: Final = Named()


def plan_workflow(
    graph: Graph, named: Named = NOTHING_NAMED, info: ObjectInfo | None = None
) -> tuple[dict[str, Any], Plan]:
    """The inputs that a run fills in, and the graph with the savers of ours that it needs.

    `info`: what the ComfyUI that will run the graph says of its nodes, if it is known. It gives the range of seeds.

    Raises Refused: workflow_invalid, workflow_no_output, workflow_output_ambiguous, workflow_output_unsupported;
    unknown_input for an address that is not in the graph; invalid_field for one that cannot be filled in;
    seed_out_of_range if no seed suits all places. The path is the address, or the id of the node.
    """
    check_nodes(graph)
    chosen = choose_outputs(graph, named.outputs)
    graph = chosen.graph
    if named.secrets and chosen.telling:
        raise _telling(graph, chosen.telling)
    first = chosen.outputs[0]
    feeding = sorted(chosen.feeding, key=by_number)
    seeds = _find_seeds(graph, feeding) if named.seeds is None else _named_ints(graph, named.seeds, "seeds")
    plan = Plan(
        output=first.node,
        prefix=first.prefix,
        seeds=seeds,
        batch_size=_find_batch_size(graph, feeding if chosen.each else ())
        if named.batch_size is None
        else _named_ints(graph, [named.batch_size], "batch_size")[0],
        inputs=dict(named.inputs),
        secrets=named.secrets,
        outputs=() if chosen.outputs == (classic_output(first.node),) else chosen.outputs,
        left_out=chosen.left_out,
        no_nodes=named.no_nodes,
        seed_range=seed_range(graph, seeds, info),
    )
    _check_secrets(graph, plan)
    taken = addresses_of_the_run(plan)
    for name, address in plan.inputs.items():
        present_value(graph, address, name, plan.inputs, taken)
    return chosen.graph, plan


def _telling(graph: Graph, node_id: str) -> Refused:
    return Refused(
        "workflow_output_unsupported",
        f"Node {node_text(graph, node_id)} may write the secrets of the workflow into files from which they cannot be"
        " taken out.",
        hint="Save with another node, for example SaveImage or SaveVideo.",
        path=printable(node_id),
    )


def _check_secrets(graph: Graph, plan: Plan) -> None:
    taken = addresses_of_the_run(msgspec.structs.replace(plan, secrets=()))
    for address in plan.secrets:
        if not isinstance(present_value(graph, address, address, {}, taken), str):
            raise unfit(address, f"{printable(address)} is not a text, so it cannot be a secret.", "")


def _named_ints(graph: Graph, addresses: Iterable[str], key: str) -> tuple[str, ...]:
    """Addresses that the configuration names under `key`. Each must contain a whole number."""
    for address in addresses:
        if not is_int(present_value(graph, address, address, {}, {})):
            raise unfit(address, f"{printable(address)} is not a whole number, so it cannot be `{key}`.", "")
    return tuple(dict.fromkeys(addresses))


# Seeds and batch size


def _find_seeds(graph: Graph, feeding: Iterable[str]) -> tuple[str, ...]:
    seen: set[tuple[str, str]] = set()
    places = itertools.product(feeding, SEED_NAMES)
    found = (_int_behind(graph, *place, seen) for place in places if place[1] in graph[place[0]]["inputs"])
    return tuple(address for address in found if address)


def _int_behind(graph: Graph, node_id: str, name: str, seen: set[tuple[str, str]]) -> str:
    """The address of the whole number that an input contains or is linked to; empty if there is none, or if it was seen
    before.
    """
    while (node_id, name) not in seen:
        seen.add((node_id, name))
        value = graph[node_id]["inputs"][name]
        if is_int(value):
            return f"{node_id}.{name}"
        if not is_link(graph, value):
            break
        node_id = value[0]
        name = next((n for n in SEED_SOURCE_NAMES if n in graph[node_id]["inputs"]), "")
        if not name:
            break
    return ""


def _find_batch_size(graph: Graph, feeding: Iterable[str]) -> str | None:
    found = batch_sizes(graph, feeding)
    place = locate(graph, found[0]) if len(found) == 1 else None
    return found[0] if place and is_int(graph[place[0]]["inputs"][place[1]]) else None


def batch_sizes(graph: Graph, feeding: Iterable[str]) -> list[str]:
    """Every `batch_size` of a node that begins a latent or an image. Linked ones count too."""
    return [f"{node_id}.batch_size" for node_id in feeding if _begins_a_batch(graph, graph[node_id])]


def _begins_a_batch(graph: Graph, node: Graph) -> bool:
    """RebatchLatents and upscalers have a `batch_size` of another meaning: they take what others began."""
    if "batch_size" not in node["inputs"]:
        return False
    name = folded(node)
    takes = any(is_link(graph, node["inputs"].get(n)) for n in BATCH_NAMES)
    return ("latent" in name or "emptyimage" in name) and not takes
