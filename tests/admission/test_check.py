"""Laws of the report about a workflow: what it says, and that nothing in a workflow makes it fail."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyledger.admission.check import Ground, check, check_any_form
from comfyledger.comfyui.graph import checks
from comfyledger.comfyui.graph.checks import Level
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.errors import CODES, NodeMistake, Refused
from comfyledger.wire.strict import PARTS_MAX
from support.graphs import ROOM, diffusion

LOOSE = Ground(ROOM)
NAMES = ["a.safetensors", "b.safetensors"]
CLASSES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "KSampler": (["LATENT"], {"seed": ["INT", {"min": 0, "max": 65535}], "steps": ["INT", {"min": 1, "max": 100}]}),
    "EmptyLatentImage": (["LATENT"], {"batch_size": ["INT", {"min": 1, "max": 64}]}),
    "CLIPTextEncode": (["CONDITIONING"], {"text": ["STRING", {}], "clip": ["CLIP"]}),
    "CheckpointLoaderSimple": (["MODEL", "CLIP", "VAE"], {"ckpt_name": [NAMES]}),
    "VAEDecode": (["IMAGE"], {"samples": ["LATENT"], "vae": ["VAE"]}),
    "SaveImage": ([], {"images": ["IMAGE"], "filename_prefix": ["STRING", {}]}),
    "LoadImage": (["IMAGE", "MASK"], {"image": [["example.png"], {"image_upload": True}]}),
}
KNOWN = ObjectInfo(
    {
        name: {"input": {"required": inputs}, "output": outputs, "output_node": not outputs}
        for name, (outputs, inputs) in CLASSES.items()
    },
    "d",
)
STRICT = Ground(ROOM, KNOWN, "full")


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


def test_a_class_is_shown_without_characters_that_control_a_terminal() -> None:
    graph = diffusion()
    graph["9"] = {"class_type": "Save\u2028Image\x1b", "inputs": {"images": ["8", 0], "filename_prefix": "x"}}
    report = check(graph, Ground(ROOM, KNOWN, "full")).report
    assert [one.class_type for one in report.outputs] == ["Save?Image?"]
    assert msgspec.json.encode(report)


def test_a_class_of_a_node_that_is_not_run_is_not_missed() -> None:
    graph = {**diffusion(), "20": {"class_type": "Elsewhere", "inputs": {}}}
    assert "Elsewhere" not in check(graph, Ground(ROOM, ObjectInfo({}, "d"))).report.unknown_classes


@pytest.mark.parametrize("denied", [(), ("KSampler",)])
def test_a_class_that_is_denied_counts_only_for_a_submission(denied: tuple[str, ...]) -> None:
    assert check(diffusion(), Ground(ROOM, node_classes_denied=denied)).report.verdict == "accepted"
    strict = check(diffusion(), Ground(ROOM, strict="full", node_classes_denied=denied)).report
    assert (strict.verdict == "refused") == bool(denied)


def test_a_submission_refuses_every_mistake_at_once_and_what_was_found_is_told() -> None:
    graph = diffusion()
    graph["4"]["inputs"]["ckpt_name"] = "c.safetensors"
    graph["3"]["inputs"]["steps"] = 0
    report = check(graph, STRICT).report
    assert (report.verdict, report.code, report.checked) == ("refused", "workflow_failed_validation", "full")
    assert [(one.node, one.kind) for one in report.mistakes] == [
        ("3", "value_smaller_than_min"),
        ("4", "value_not_in_list"),
    ]
    assert [one.node for one in report.outputs] == ["9"]
    assert check(graph, Ground(ROOM, KNOWN)).report.verdict == "accepted"


def test_what_a_run_fills_in_is_no_mistake() -> None:
    graph = diffusion()
    graph["3"]["inputs"]["seed"] = 10**9
    graph["5"]["inputs"]["batch_size"] = 1_000
    assert check(graph, STRICT).report.verdict == "accepted"


def test_the_range_of_seeds_is_told() -> None:
    assert "seed: 3.seed (KSampler), 0 to 65535" in check(diffusion(), STRICT).report.found


def test_models_and_files_are_those_of_the_nodes_that_are_run() -> None:
    graph = diffusion()
    graph["20"] = {"class_type": "LoadImage", "inputs": {"image": "a.png"}}
    graph["21"] = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "x.safetensors"}}
    assert (check(graph, STRICT).report.models, check(graph, STRICT).report.files) == (["a.safetensors"], [])
    graph["3"]["inputs"]["latent_image"] = ["20", 0]
    assert check(graph, LOOSE).report.files == ["a.png"]


@pytest.mark.parametrize(("info", "strict"), [(None, "full"), (KNOWN, "full"), (KNOWN, "off")])
def test_what_comfyui_cannot_be_asked_is_accepted_and_told(info: ObjectInfo | None, strict: Any) -> None:
    unasked = Ground(ROOM, info, strict, is_asked=False)
    graph = diffusion()
    graph["3"]["inputs"]["steps"] = 0
    report = check(graph, unasked).report
    assert (report.verdict, report.checked) == ("accepted", "structure")
    assert (checks.UNCHECKED in report.found) == (strict != "off")


def test_what_fitted_comfyui_when_it_was_seen_last_is_told_as_checked() -> None:
    report = check(diffusion(), Ground(ROOM, KNOWN, "full", is_asked=False)).report
    assert (report.checked, checks.UNCHECKED in report.found) == ("full", False)


async def test_a_document_is_converted_before_it_is_judged() -> None:
    async def convert(_: Any) -> dict[str, Any]:
        return diffusion()

    async def refuse(_: Any) -> dict[str, Any]:
        raise Refused("workflow_invalid", "It cannot be converted.")

    large = {"nodes": [], "links": [], "extra": "x" * ROOM}
    assert (await check_any_form({"nodes": []}, STRICT, convert)).report.verdict == "accepted"
    assert (await check_any_form(large, STRICT, convert)).graph == diffusion()
    assert (await check_any_form(large, STRICT, refuse)).report.message == "It cannot be converted."
    assert (await check_any_form(large, STRICT, None)).report.code == "backend_unknown"


async def test_the_classes_for_which_a_document_is_not_converted_are_named() -> None:
    async def refuse(_: Any) -> dict[str, Any]:
        lacking = NodeMistake("3", "FaceDetailer", "", "missing_node_type", "", (), "Node 3 is unknown.")
        raise Refused("workflow_failed_validation", mistakes=(lacking, lacking))

    report = (await check_any_form({"nodes": []}, Ground(ROOM, KNOWN), refuse)).report
    assert report.unknown_classes == ["FaceDetailer"]
    assert len(report.mistakes) == 2


async def test_a_graph_that_is_too_large_is_no_document() -> None:
    graph = {"1": {"class_type": "A", "inputs": {"text": "x" * ROOM}}}
    assert (await check_any_form(graph, STRICT, None)).report.code == "graph_too_large"


async def test_a_file_of_very_many_parts_is_not_decoded() -> None:
    async def convert(_: Any) -> dict[str, Any]:
        raise AssertionError("it was taken for a document")

    text = b'{"nodes":[' + b"[]," * PARTS_MAX + b"[]]}"
    tracemalloc.start()
    report = (await check_any_form(text, Ground(1_000, KNOWN), convert)).report
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.code == "graph_too_large"
    assert most < len(text)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["9", "class_type", "inputs"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["1", "9", "class_type", "inputs", "text", "nodes"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=150)
@given(st.dictionaries(st.text(max_size=3), ANYTHING, max_size=5), st.sampled_from([None, "full"]))
def test_whatever_a_workflow_holds_the_report_says_yes_or_names_a_code(
    graph: dict[str, Any], strict: Level | None
) -> None:
    report = check(graph, Ground(ROOM, KNOWN, strict)).report
    assert report.verdict == "accepted" or report.code in CODES
    assert msgspec.json.encode(report)


@given(st.binary(max_size=200))
def test_whatever_a_file_holds_the_report_is_a_verdict(content: bytes) -> None:
    report = check(content, LOOSE).report
    assert report.verdict == "accepted" or report.code in CODES
