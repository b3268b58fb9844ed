"""Which models a prompt loads: prompts with the same ones follow each other on one ComfyUI, which need not load again.

Pure. The log has a keyed digest of their names only: the name of a model may say what a person works on.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from comfyledger.comfyui.graph import checks
from comfyledger.comfyui.graph.nodes import Graph, locate, upstream
from comfyledger.comfyui.graph.plan import Plan
from comfyledger.queries.dependencies import ReadyWorkflow

KEY_CHARS: Final = 16
KEYS_KEPT: Final = 1_024


def loaded_models(graph: Graph, plan: Plan) -> tuple[str, ...]:
    """The names of the models that the outputs of a graph need, sorted."""
    outputs = [output.node for output in plan.every_output if output.node in graph]
    return tuple(sorted(checks.models(graph, upstream(graph, outputs))))


def models_key(workflow: ReadyWorkflow, values: Mapping[str, Any], secret: bytes) -> str:
    """What prompts with the same models have in common; empty if none is named. `values`: its inputs by address."""
    models = workflow.models
    if any(checks.names_model(value) or _names_model(workflow.graph, address) for address, value in values.items()):
        models = loaded_models(_filled(workflow.graph, values), workflow.plan)
    return _key(models, secret) if models else ""


@lru_cache(maxsize=KEYS_KEPT)
def _key(models: tuple[str, ...], secret: bytes) -> str:
    """Cached, because most requests load the same models."""
    return hmac.digest(secret, msgspec.json.encode(models), "sha256").hex()[:KEY_CHARS]


def _names_model(graph: Graph, address: str) -> bool:
    place = locate(graph, address)
    return place is not None and checks.names_model(graph[place[0]]["inputs"].get(place[1]))


def _filled(graph: Graph, values: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(graph)
    for address, value in values.items():
        if place := locate(graph, address):
            node, name = place
            found[node] = found[node] | {"inputs": found[node]["inputs"] | {name: value}}
    return found
