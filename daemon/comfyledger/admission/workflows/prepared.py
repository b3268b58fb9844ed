"""Workflows made ready for a ComfyUI, and what was made before: nothing is planned or converted twice."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from functools import partial
from typing import Any, Final

import msgspec

from comfyledger.admission.workflows.ready import make_ready
from comfyledger.comfyui.node_classes import Known
from comfyledger.errors import Refused
from comfyledger.queries.dependencies import Dependencies, ReadyWorkflow, WorkflowSource
from comfyledger.queries.large_graphs import LARGE_BYTES

OWN_BYTES_MAX: Final = LARGE_BYTES
"""The size up to which a graph that comes with a request is remembered: that of most. Strangers send what they like."""


async def ready(
    context: Dependencies, source: WorkflowSource, known: Known | None, size_bytes: int = 0
) -> ReadyWorkflow:
    """A workflow for a ComfyUI with these node classes; None if they are not known.

    `size_bytes`: of the request. What was made is kept, of a request that carries its own graph only if that is small.
    Raises Refused: backend_unknown for a document in the UI format while nothing is known.
    """
    graph, info = await _graph(context, source, known), known.info if known is not None else None
    key = (*_identity(source, graph), source.named.outputs, info.digest if info is not None else "")
    kept = context.tools.ready.get(key) if key[0] else None
    if kept is None:
        call = partial(make_ready, source, graph, info, context.policy.node_classes_denied)
        kept = await context.tools.large_graphs.run(size_bytes, call)
        if key[0]:
            context.tools.ready.put(key, kept)
    return kept


def _identity(source: WorkflowSource, graph: dict[str, Any]) -> tuple[Hashable, ...]:
    """What tells a workflow from others, beside outputs and node classes. Empty first if it is too large to be kept."""
    if source.name:
        return "configured", source.name
    content = msgspec.json.encode(graph)
    return hashlib.sha256(content).digest() if len(content) <= OWN_BYTES_MAX else b"", source.named.no_nodes


async def _graph(context: Dependencies, source: WorkflowSource, known: Known | None) -> dict[str, Any]:
    if source.graph is not None:
        return source.graph
    if known is None:
        raise Refused(
            "backend_unknown",
            "The workflow is in ComfyUI's UI format, and ComfyUI has not said yet which nodes it has.",
            hint="Start ComfyUI and try again, or send the workflow in the API format: Workflow > Export (API).",
        )
    converted = converted_before(context, source, known)
    if converted is not None:
        return converted
    graph = await context.tools.converter.convert(source.document, known.body, known.info.digest)
    return context.tools.converted.put(_conversion(source, known), graph)


def converted_before(context: Dependencies, source: WorkflowSource, known: Known) -> dict[str, Any] | None:
    """What a document became when it was converted last with these node classes."""
    return context.tools.converted.get(_conversion(source, known))


def _conversion(source: WorkflowSource, known: Known) -> tuple[str, str]:
    return hashlib.sha256(source.document).hexdigest(), known.info.digest
