"""Finds what a run fills in: outputs, seeds, batch size and named inputs. PURE.

Graphs come in from `read`, a `Plan` goes out. Nothing here changes a graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from comfyledger.comfyui.graph.nodes import (
    Graph,
    by_number,
    check_nodes,
    node_text,
    present_value,
    printable,
    unfit,
)
from comfyledger.comfyui.graph.outputs import Chosen, choose_outputs
from comfyledger.comfyui.graph.plan import Plan, addresses_of_the_run, classic_output
from comfyledger.comfyui.graph.seeds import Found, batch_size_max, find_batch_size, find_seeds, seed_range
from comfyledger.comfyui.graph.whole_numbers import Numbers
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.errors import Refused


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

    `info`: what the ComfyUI that will run the graph says of its nodes, if it is known. It gives the range of seeds,
    and what nodes show that no table has.

    Raises Refused: workflow_invalid, workflow_no_output, workflow_output_ambiguous, workflow_output_unsupported;
    unknown_input for an address that is not in the graph; invalid_field for one that cannot be filled in;
    seed_out_of_range if no seed suits all places. The path is the address, or the id of the node.
    """
    check_nodes(graph)
    chosen = choose_outputs(graph, named.outputs, info)
    graph = chosen.graph
    if named.secrets and chosen.telling:
        raise _telling(graph, chosen.telling)
    first = chosen.outputs[0]
    feeding = sorted(chosen.feeding, key=by_number)
    numbers = Numbers(graph, info)
    seeds = _seeds(graph, numbers, feeding, named)
    batch_size = _batch_size(graph, numbers, chosen, named)
    plan = Plan(
        output=first.node,
        prefix=first.prefix,
        seeds=seeds.addresses,
        batch_size=next(iter(batch_size.addresses), None),
        inputs=dict(named.inputs),
        secrets=named.secrets,
        outputs=() if chosen.outputs == (classic_output(first.node),) else chosen.outputs,
        left_out=chosen.left_out,
        no_nodes=named.no_nodes,
        seed_range=seed_range(graph, seeds.addresses, info),
        seeds_unclear=seeds.unclear,
        batch_sizes_too=batch_size.addresses[1:],
        batch_size_max=batch_size_max(numbers, batch_size),
        batch_sizes_unclear=batch_size.unclear,
    )
    _check_secrets(graph, plan)
    taken = addresses_of_the_run(plan)
    for name, address in plan.inputs.items():
        present_value(graph, address, name, plan.inputs, taken)
    return chosen.graph, plan


def _telling(graph: Graph, node_id: str) -> Refused:
    return Refused(
        "workflow_output_unsupported",
        f"Node {node_text(graph, node_id)} may write the secrets of the workflow into files from which the daemon"
        " cannot remove them.",
        hint="Save with another node, for example SaveImage or SaveVideo.",
        path=printable(node_id),
    )


def _check_secrets(graph: Graph, plan: Plan) -> None:
    taken = addresses_of_the_run(msgspec.structs.replace(plan, secrets=()))
    for address in plan.secrets:
        if not isinstance(present_value(graph, address, address, {}, taken), str):
            raise unfit(address, f"{printable(address)} is not a text, so it cannot be a secret.", "")


def _seeds(graph: Graph, numbers: Numbers, feeding: Iterable[str], named: Named) -> Found:
    if named.seeds is None:
        return find_seeds(graph, numbers, feeding)
    return Found(_named_numbers(graph, numbers, named.seeds, "seeds"), ())


def _batch_size(graph: Graph, numbers: Numbers, chosen: Chosen, named: Named) -> Found:
    """Where an output makes one file of a batch, the batch size is the number of frames: not ours to fill in."""
    if named.batch_size is not None:
        return Found(_named_numbers(graph, numbers, [named.batch_size], "batch_size"), ())
    found = find_batch_size(graph, numbers, [output.node for output in chosen.outputs])
    return found if chosen.each else Found((), (*found.addresses, *found.unclear))


def _named_numbers(graph: Graph, numbers: Numbers, addresses: Iterable[str], key: str) -> tuple[str, ...]:
    """Addresses that the configuration names under `key`. Each must contain a whole number, or stand for one."""
    for address in addresses:
        present_value(graph, address, address, {}, {})
        node_id, _, name = address.partition(".")
        if not numbers.can_hold((node_id, name)):
            raise unfit(address, f"{printable(address)} is not a whole number, so it cannot be `{key}`.", "")
    return tuple(dict.fromkeys(addresses))
