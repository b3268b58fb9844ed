"""Laws of the report about a workflow: what it says, and that nothing in a workflow makes it fail."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyledger.admission.check import Ground, check
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.errors import CODES
from support.graphs import ROOM, diffusion

LOOSE = Ground(ROOM)


def test_an_accepted_workflow_says_what_is_filled_in_where() -> None:
    report, graph = check(diffusion(), LOOSE)
    assert report.verdict == "accepted"
    assert [(one.node, one.class_type, one.medium) for one in report.outputs] == [("9", "SaveImage", "image")]
    assert (report.medium, report.seeds, report.batch_size) == ("image", ["3.seed"], "5.batch_size")
    assert report.inputs["prompt"] == "6.text"
    assert report.found[0] == "output: node 9 (SaveImage)"
    assert graph == diffusion()


def test_a_refused_workflow_has_the_code_the_sentence_and_the_hint_of_a_submission() -> None:
    report, graph = check({"1": {"class_type": "EmptyImage", "inputs": {}}}, LOOSE)
    assert (report.verdict, report.code, report.medium) == ("refused", "workflow_no_output", None)
    assert report.message
    assert report.hint
    assert graph is not None


def test_a_class_that_comfyui_lacks_is_named_and_is_no_matter_of_structure() -> None:
    report, _ = check(diffusion(), Ground(ROOM, ObjectInfo({"KSampler": {"input": {}}}, "d")))
    assert report.verdict == "accepted"
    assert "SaveImage" in report.unknown_classes
    assert "KSampler" not in report.unknown_classes


def test_of_classes_that_nobody_knows_none_is_called_unknown() -> None:
    assert check(diffusion(), LOOSE).report.unknown_classes == []


def test_a_class_of_a_node_that_is_not_run_is_not_missed() -> None:
    graph = {**diffusion(), "20": {"class_type": "Elsewhere", "inputs": {}}}
    assert "Elsewhere" not in check(graph, Ground(ROOM, ObjectInfo({}, "d"))).report.unknown_classes


@pytest.mark.parametrize("denied", [(), ("KSampler",)])
def test_a_class_that_is_denied_counts_only_for_a_submission(denied: tuple[str, ...]) -> None:
    assert check(diffusion(), Ground(ROOM, node_classes_denied=denied)).report.verdict == "accepted"
    strict = check(diffusion(), Ground(ROOM, strict=True, node_classes_denied=denied)).report
    assert (strict.verdict == "refused") == bool(denied)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["9", "class_type", "inputs"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["1", "9", "class_type", "inputs", "text", "nodes"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=150)
@given(st.dictionaries(st.text(max_size=3), ANYTHING, max_size=5), st.booleans())
def test_whatever_a_workflow_holds_the_report_says_yes_or_names_a_code(graph: dict[str, Any], strict: bool) -> None:
    report = check(graph, Ground(ROOM, strict=strict)).report
    assert report.verdict == "accepted" or report.code in CODES


@given(st.binary(max_size=200))
def test_whatever_a_file_holds_the_report_says_yes_or_names_a_code(content: bytes) -> None:
    report = check(content, LOOSE).report
    assert report.verdict == "accepted" or report.code in CODES
