"""Documents of strangers: whatever they hold, the answer is a graph within its bounds or a refusal, and comes soon."""

from __future__ import annotations

import copy
import gc
import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from comfyledger.comfyui.ui_format.convert import convert, read_document
from comfyledger.errors import Refused
from support.ui_documents import BYTES_MAX, INFO, Document, document, graph_of, node, of_everything, subgraph


def refusal(said: Any, bytes_max: int = BYTES_MAX) -> Refused:
    with pytest.raises(Refused) as refused:
        convert(said, INFO, bytes_max)
    return refused.value


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """So much processor time, without the collection of what other tests have left."""
    gc.disable()
    try:
        began = time.process_time()
        yield
        assert time.process_time() - began < seconds
    finally:
        gc.enable()


def growing(levels: int, uses: int) -> Document:
    """Subgraphs in subgraphs, each with several nodes of the one below it."""
    deepest = subgraph("0", node(1, "Empty", [8, 8]), links=[])
    others = [
        subgraph(str(level), *(node(number, str(level - 1)) for number in range(uses)), links=[])
        for level in range(1, levels)
    ]
    return document(node(1, str(levels - 1)), definitions={"subgraphs": [*others, deepest]})


def test_a_document_that_would_grow_beyond_the_bound_is_refused_before_it_does() -> None:
    said = growing(levels=8, uses=10)
    assert len(json.dumps(said)) < 12_000
    with at_most(0.2):
        assert refusal(said).message == "The workflow has more than 10,000 nodes."


def test_a_document_of_many_nodes_is_refused_before_they_are_read() -> None:
    said = {"nodes": [{"id": number, "type": "Empty"} for number in range(10_001)]}
    assert refusal(said).message == "The workflow has more than 10,000 nodes."


def test_subgraphs_may_not_be_nested_too_deeply() -> None:
    assert len(graph_of(growing(levels=30, uses=1))) == 1
    assert "more than 32 levels" in refusal(growing(levels=34, uses=1)).message


@pytest.mark.parametrize("uses", [["a"], ["b", "a"], ["b", "c", "a"]])
def test_a_subgraph_that_contains_itself_is_refused(uses: list[str]) -> None:
    chain = zip(["a", *uses], uses, strict=False)
    subgraphs = [subgraph(name, node(1, inner), links=[]) for name, inner in chain]
    said = document(node(1, "Empty", [8, 8]), definitions={"subgraphs": subgraphs})
    assert refusal(said).message == "A subgraph of the workflow contains itself."


def test_links_in_a_circle_are_refused_with_a_node_of_it() -> None:
    said = document(
        node(2, "Reroute", links={"": 2}),
        node(3, "Reroute", links={"": 1}),
        node(9, "Save", ["x"], links={"images": 3}),
        links=[[1, 2, 0, 3, 0], [2, 3, 0, 2, 0], [3, 3, 0, 9, 0]],
    )
    refused = refusal(said)
    assert (refused.code, refused.path) == ("workflow_invalid", "3")


def test_a_long_chain_is_followed_once() -> None:
    count = 3_000
    chain = [node(number, "Reroute", links={"": number - 1}) for number in range(1, count)]
    savers = [node(count + number, "Save", ["x"], links={"images": count + number}) for number in range(count)]
    links = [[number - 1, number - 1, 0, number, 0] for number in range(1, count)]
    links += [[count + number, count - 1, 0, count + number, 0] for number in range(count)]
    said = document(node(0, "Empty", [8, 8]), *chain, *savers, links=links)
    graph = convert(said, INFO, 1 << 24)
    assert graph[str(2 * count - 1)]["inputs"]["images"] == ["0", 0]


def test_a_text_that_each_use_of_a_subgraph_repeats_is_bounded_as_the_graph_is() -> None:
    inside = subgraph("long", node(5, "Text", ["x" * 10_000]), links=[])
    said = document(*(node(number, "long") for number in range(1_000)), definitions={"subgraphs": [inside]})
    assert len(graph_of({**said, "nodes": said["nodes"][:20]})) == 20
    assert refusal(said).code == "graph_too_large"


def test_a_text_beyond_the_bound_is_not_read() -> None:
    with pytest.raises(Refused) as refused:
        read_document(b"[" * (8 * BYTES_MAX + 1), INFO, BYTES_MAX)
    assert refused.value.code == "graph_too_large"


def test_a_small_document_of_very_many_inputs_is_refused_before_they_are_made() -> None:
    inside = subgraph("wide", links=[], inputs=[(str(number), "*", []) for number in range(300)])
    hosts = (node(number, "wide") for number in range(400))
    with at_most(0.2):
        assert "more than 100,000 inputs" in refusal(document(*hosts, definitions={"subgraphs": [inside]})).message


def test_links_to_a_bypassed_node_of_very_many_inputs_are_refused() -> None:
    count = 1_000
    slots = [{"name": str(number), "type": "A"} for number in range(count)]
    bypassed = {**node(1, "Nowhere", mode=4, outputs=[{"type": "B"}] * count), "inputs": slots}
    fed = {**node(2, "Save"), "inputs": [{"name": str(number), "type": "C", "link": number} for number in range(count)]}
    said = document(bypassed, fed, links=[[number, 1, number, 2, number] for number in range(count)])
    assert "too many links to bypassed nodes" in refusal(said).message


def test_a_name_of_a_widget_without_end_is_not_searched_for() -> None:
    inside = subgraph("sub", node(5, "Empty", [8, 8]), links=[])
    entries = [["5", "1:" * 100_000 + "width"]] * 5
    said = document(node(1, "sub", [9], properties={"proxyWidgets": entries}), definitions={"subgraphs": [inside]})
    with at_most(0.2):
        assert graph_of(said)["1:5"]["inputs"]["width"] == 8


def test_two_nodes_of_one_id_are_refused() -> None:
    assert refusal(document(node(1, "Empty"), node("1", "Empty"))).path == "nodes[1].id"


# ---- anything anywhere

ODD: list[Any] = [None, True, -1, -77, 0, 1e300, 10**400, "", "1", "sub", "x" * 2_000, "\ud800"]
ODD += [[], {}, [[]], [None], {"a": 1}, [1, 2, 3, 4, 5]]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a document."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in parts:
        yield from places(inner, (*path, key))


def put(said: Document, path: tuple[Any, ...], value: Any) -> Any:
    """The document with another value in one place."""
    if not path:
        return value
    changed: Any = copy.deepcopy(said)
    within = changed
    for key in path[:-1]:
        within = within[key]
    within[path[-1]] = value
    return changed


def is_answered(said: Any) -> bool:
    try:
        json.dumps(convert(said, INFO, BYTES_MAX))
    except Refused as refused:
        return refused.code in {"workflow_invalid", "workflow_failed_validation"}
    return True


def test_the_whole_document_is_converted() -> None:
    assert graph_of(of_everything())["9"]["inputs"]["images"] == ["2:5", 0]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_an_odd_value_anywhere_is_answered(odd: Any) -> None:
    said = of_everything()
    for path in places(said):
        if path:
            assert is_answered(put(said, path, odd)), (path, odd)


def test_several_odd_values_are_answered() -> None:
    dice = random.Random(7)
    said = of_everything()
    ways = [path for path in places(said) if path]
    for _ in range(500):
        changed = said
        for path in dice.sample(ways, 3):
            try:
                changed = put(changed, path, dice.choice(ODD))
            except (KeyError, IndexError, TypeError):
                continue
        assert is_answered(changed)
