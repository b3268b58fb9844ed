"""Workflows and requests as admission sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfyledger import wire
from comfyledger.admission import admit, levels
from comfyledger.admission.files.find import NO_FILES, Files
from comfyledger.admission.workflows.ready import below, make_ready, source_of
from comfyledger.comfyui.graph import read as graphs
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.core.commands import SubmitBatch
from comfyledger.core.naming.names import Templates
from comfyledger.errors import Refused
from comfyledger.queries.dependencies import AdmissionPolicy, IdSource, ReadyWorkflow, WorkflowSource


def given(graph: Mapping[str, Any], named: graphs.Named = graphs.NOTHING_NAMED, name: str = "w") -> WorkflowSource:
    """A configured workflow."""
    return WorkflowSource(name, dict(graph), named=named)


def ready(
    graph: Mapping[str, Any], named: graphs.Named = graphs.NOTHING_NAMED, info: ObjectInfo | None = None
) -> ReadyWorkflow:
    return make_ready(given(graph, named), graph, info)


def command_of(
    workflows: Mapping[str, WorkflowSource] | None = None,
    *,
    quantity_max: int = 1_000,
    info: ObjectInfo | None = None,
    made_up: int = 5,
    files: Files = NO_FILES,
    **asked: Any,
) -> SubmitBatch:
    """What a request means; "w" is its workflow unless it says another. `made_up`: the seed that chance gives."""
    backends = {"main": frozenset[str]()}
    policy = AdmissionPolicy(Templates(), workflows or {}, "w", backends, quantity_max, 524_288, trust=False)
    ids = IdSource(lambda: "01JD0000000000000000ABCDEF", lambda: b"salt", lambda: made_up)
    return admitted(wire.SubmitBatch("r1", "Areg", "Opal Fever", **asked), b"{}", policy, ids, info, files).command


def admitted(
    message: wire.SubmitBatch,
    raw: bytes,
    policy: AdmissionPolicy,
    ids: IdSource,
    info: ObjectInfo | None = None,
    files: Files = NO_FILES,
) -> admit.Admitted:
    """As the daemon admits a request while ComfyUI has said `info`, without the checks. Raises Refused."""
    admit.check_message(message, policy)
    source = source_of(message, policy)
    try:
        workflow = make_ready(source, source.graph or {}, info, policy.node_classes_denied)
    except Refused as refusal:
        raise below(refusal, message) from refusal
    ground = levels.Ground(workflow, files, info)
    below_request = levels.lower(ground, source.files, None, {})
    return admit.admit(
        message, ground, below_request, raw=raw, label="a", policy=policy, stores=(), secret=b"s", ids=ids
    )
