"""Laws of which prompts load the same models: what is loaded decides, not where it stands or what is drawn with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comfyledger import workflows
from comfyledger.admission.workflows.models import models_key
from comfyledger.admission.workflows.ready import make_ready
from comfyledger.comfyui.graph import read as graphs
from comfyledger.queries.dependencies import ReadyWorkflow, WorkflowSource

SECRET = b"secret"
Graph = dict[str, Any]
LORA = {"class_type": "LoraLoader", "inputs": {"lora_name": "ink.safetensors", "model": ["4", 0], "clip": ["4", 1]}}


def sample() -> Graph:
    graph: Graph = json.loads(workflows.load("text-to-image"))
    return graph


def ready(graph: Graph) -> ReadyWorkflow:
    return make_ready(WorkflowSource("", graph, named=graphs.Named()), graph, None)


def key(graph: Graph, values: dict[str, Any] | None = None, secret: bytes = SECRET) -> str:
    return models_key(ready(graph), values or {}, secret)


def with_checkpoint(name: str) -> Graph:
    graph = sample()
    graph["4"]["inputs"]["ckpt_name"] = name
    return graph


def test_what_is_drawn_does_not_matter() -> None:
    assert key(sample(), {"6.text": "a cat", "3.steps": 30, "5.width": 1024}) == key(sample()) != ""


@pytest.mark.parametrize("other", ["flux.safetensors", "sub/v1-5-pruned-emaonly.safetensors"])
def test_another_model_matters_whether_the_graph_names_it_or_an_input(other: str) -> None:
    assert key(with_checkpoint(other)) == key(sample(), {"4.ckpt_name": other}) != key(sample())


def test_an_input_that_names_the_model_of_the_graph_changes_nothing() -> None:
    name = sample()["4"]["inputs"]["ckpt_name"]
    assert key(sample(), {"4.ckpt_name": name}) == key(sample())


def test_a_lora_matters_where_it_is_used_and_not_elsewhere() -> None:
    beside = sample() | {"20": LORA}
    used = beside | {"3": beside["3"] | {"inputs": beside["3"]["inputs"] | {"model": ["20", 0]}}}
    assert key(beside) == key(sample())
    assert key(used) not in {"", key(sample())}


def test_where_a_model_stands_does_not_matter() -> None:
    moved = {("40" if node_id == "4" else node_id): node for node_id, node in sample().items()}
    text = json.dumps(moved).replace('["4", ', '["40", ')
    assert key(json.loads(text)) == key(sample())


def test_a_workflow_without_models_is_like_any_other_without() -> None:
    empty = json.loads(workflows.load("empty-image"))
    assert key(empty) == key(empty, {"1.color": 5}) == ""


def test_the_key_tells_no_names_to_who_has_not_the_secret() -> None:
    assert key(sample(), secret=b"another") != key(sample())
    assert "safetensors" not in key(sample())
