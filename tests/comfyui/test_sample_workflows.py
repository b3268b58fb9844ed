"""The sample workflows are read, planned and filled in like anybody's own."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from comfyledger import workflows
from comfyledger.comfyui.graph.read import Plan, as_template, check_inputs, fill
from comfyledger.workflows import SAMPLES, load
from support.graphs import plan_of, read_graph

RECORDING = Path(__file__).parents[1] / "recordings" / "comfyui-0.33.0" / "sampler.jsonl"


def planned(name: str) -> tuple[dict[str, Any], Plan]:
    graph = read_graph(load(name), 100_000)
    return graph, plan_of(graph, inputs=SAMPLES[name].inputs)


def shape(graph: dict[str, Any]) -> dict[str, Any]:
    """Classes, links and input names, without the values."""
    return {
        node_id: (node["class_type"], {k: v if isinstance(v, list) else None for k, v in node["inputs"].items()})
        for node_id, node in graph.items()
    }


@pytest.mark.parametrize("name", SAMPLES)
def test_every_input_of_a_sample_can_be_filled_in(name: str) -> None:
    graph, plan = planned(name)
    present = {word: graph[at.split(".")[0]]["inputs"][at.split(".")[1]] for word, at in plan.inputs.items()}
    values = check_inputs(graph, plan, present)
    filled = fill(as_template(graph, plan), plan, prefixes=["comfyledger"], seed=0, batch_size=1, inputs=values)
    assert filled == graph


def test_the_model_free_sample_has_an_output_and_no_seed() -> None:
    _, plan = planned("empty-image")
    assert (plan.output, plan.seeds, plan.batch_size) == ("9", (), "1.batch_size")


def test_the_sampler_sample_has_the_recorded_shape() -> None:
    graph, plan = planned("text-to-image")
    steps = [json.loads(line) for line in RECORDING.read_text("utf-8").splitlines()]
    entry = next(s["response"] for s in steps if "/history/" in s.get("path", "") and s["response"])
    assert shape(graph) == shape(next(iter(entry.values()))["prompt"][2])
    assert (plan.output, plan.seeds, plan.batch_size) == ("9", ("3.seed",), "5.batch_size")


def test_a_sample_that_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        load("nothing")


def test_every_file_is_a_sample() -> None:
    folder = Path(workflows.__file__).parent
    assert {path.name for path in folder.glob("*.json")} == {sample.file for sample in SAMPLES.values()}


def test_the_samples_import_nothing_of_the_package() -> None:
    tree = ast.parse(Path(workflows.__file__).read_text("utf-8"))
    imported = {n.module or "." for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    imported |= {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    assert not {name for name in imported if name.startswith((".", "comfyledger"))}
