"""From what a request says about its workflow to a workflow that is ready for one ComfyUI. PURE.

A `WorkflowSource` is what was given: a graph, or a document in the UI format that somebody else converts. With the node
classes of a ComfyUI it becomes a `ReadyWorkflow`, which another ComfyUI might plan in another way.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from comfyledger import wire
from comfyledger.admission.workflows.models import loaded_models
from comfyledger.comfyui.graph import read as graphs
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.comfyui.ui_format.convert import GRAPHS_A_DOCUMENT
from comfyledger.errors import Refused
from comfyledger.queries.dependencies import AdmissionPolicy, ReadyWorkflow, WorkflowSource

_OF_OUTPUTS: Final = frozenset({"workflow_no_output", "workflow_output_unsupported"})


def source_of(message: wire.SubmitBatch, policy: AdmissionPolicy, of_character: str = "") -> WorkflowSource:
    """The workflow that a request names or carries, else that of its character, else the default. Raises Refused."""
    wanted = of_character or policy.default_workflow if message.workflow is None else message.workflow
    outputs = _outputs(message)
    try:
        if isinstance(wanted, str):
            source = configured_source(wanted, policy.workflows)
        else:
            source = read_source(wanted, policy.graph_bytes_max)
    except Refused as refusal:
        raise refusal.below("$.data.workflow") from refusal
    return source if outputs is None else replace(source, named=replace(source.named, outputs=outputs))


def read_source(content: bytes | Mapping[str, Any], graph_bytes_max: int) -> WorkflowSource:
    """A workflow without a name, in either format. Raises Refused."""
    read = graphs.read_workflow(content, graph_bytes_max, document_bytes_max(graph_bytes_max))
    if isinstance(read, bytes):
        return WorkflowSource("", None, read)
    graph, files = graphs.files_in(read.nodes)
    return WorkflowSource("", graph, named=graphs.Named(no_nodes=read.no_nodes), files=files)


def document_bytes_max(graph_bytes_max: int) -> int:
    """Of a workflow in the UI format, as JSON."""
    return GRAPHS_A_DOCUMENT * graph_bytes_max


def make_ready(
    source: WorkflowSource, graph: graphs.Graph, info: ObjectInfo | None, denied: Sequence[str] = ()
) -> ReadyWorkflow:
    """A graph with its plan and its template. Equal templates have equal keys, so that each is stored once.

    `graph`: that of the source, or what its document became. `info`: what the ComfyUI that will run it says of its
    nodes, if it is known. `denied`: classes that a graph of a request may not use. Raises Refused as `plan_workflow`
    does, workflow_node_denied, workflow_unsafe_path and secret_input.
    """
    if not source.name:
        graphs.check_classes(graph, denied)
    planned, plan = graphs.plan_workflow(graph, source.named, info)
    planned = graphs.without(planned, plan.secrets)
    if not source.name:
        graphs.check_graph(planned, [output.prefix for output in plan.every_output])
    graphs.check_no_secrets(planned)
    template = msgspec.json.encode(graphs.as_template(planned, plan), order="sorted")
    key, found = hashlib.sha256(template).hexdigest(), graphs.describe(plan, planned)
    return ReadyWorkflow(source.name, planned, plan, template, key, found, loaded_models(planned, plan))


def below(refusal: Refused, message: wire.SubmitBatch) -> Refused:
    """A refusal of the workflow, or of an output that the request names."""
    if refusal.code not in _OF_OUTPUTS or (message.output is None and message.outputs is None):
        return refusal.below("$.data.workflow")
    return refusal.at("$.data.outputs" if message.output is None else "$.data.output")


def _outputs(message: wire.SubmitBatch) -> tuple[str, ...] | None:
    """The nodes that a request names as outputs."""
    if message.output is None:
        return _no_node_twice(message.outputs) if message.outputs is not None else None
    if message.outputs is not None:
        hint = "Name one node as `output`, or several nodes as `outputs`."
        raise Refused("invalid_field", "The request has both `output` and `outputs`.", hint=hint, path="$.data.output")
    return (message.output,)


def _no_node_twice(nodes: Sequence[str]) -> tuple[str, ...]:
    if len(set(nodes)) < len(nodes):
        hint = "Name each node once; `quantity` says how many images it makes."
        raise Refused("invalid_field", "A node is named twice in `outputs`.", hint=hint, path="$.data.outputs")
    return tuple(nodes)


def configured_source(name: str, workflows: Mapping[str, WorkflowSource]) -> WorkflowSource:
    """Raises Refused(unknown_workflow), with the nearest name."""
    if name not in workflows:
        near = difflib.get_close_matches(name, list(workflows), n=1)
        known = f"Did you mean {near[0]!r}? " if near else ""
        raise Refused(
            "unknown_workflow",
            f"There is no workflow {name[:64]!r}.",
            hint=f"{known}Configured: {', '.join(sorted(workflows))}.",
        )
    return workflows[name]
