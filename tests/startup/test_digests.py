"""What has to be the same on all boxes has the same digest where it is, and another one where it is not."""

from __future__ import annotations

from comfyledger.plugins import OpenedStore
from comfyledger.queries.dependencies import WorkflowSource
from comfyledger.settings import Settings
from comfyledger.settings.sections import Character, Naming
from comfyledger.startup import digests

FLOWS = {
    "a": WorkflowSource("a", {"1": {"class_type": "X", "inputs": {"n": 1}}}),
    "b": WorkflowSource("b", None, b"{}"),
}
SAME = digests.of_configuration(Settings(), FLOWS)


def differing(settings: Settings, flows: dict[str, WorkflowSource]) -> set[str]:
    found = digests.of_configuration(settings, flows)
    return {part for part, digest in found.items() if SAME[part] != digest}


def test_the_order_in_a_file_and_what_belongs_to_a_machine_make_no_difference() -> None:
    turned = {"b": FLOWS["b"], "a": WorkflowSource("a", {"1": {"inputs": {"n": 1}, "class_type": "X"}})}
    assert differing(Settings(state_dir="/elsewhere"), turned) == set()


def test_each_part_that_differs_is_named() -> None:
    assert differing(Settings(naming=Naming(folder="{username}")), FLOWS) == {"naming"}
    assert differing(Settings(characters={"opal": Character()}), FLOWS) == {"characters"}
    assert differing(Settings(default_workflow="b"), FLOWS) == {"workflows"}
    for other in (
        WorkflowSource("a", {"1": {"class_type": "X", "inputs": {"n": 2}}}),
        WorkflowSource("a", FLOWS["a"].graph, needs=("flux",)),
    ):
        assert differing(Settings(), {**FLOWS, "a": other}) == {"workflows"}


def test_a_store_that_is_another_place_differs_and_one_that_is_not_known_yet_does_not() -> None:
    here, there = (digests.of_stores({"f": OpenedStore("f", "folder", place)}) for place in ("folder:/a", "folder:/b"))
    assert {part for part in here if here[part] != there[part]} == {"store f"}
    unknown = digests.of_stores({"f": OpenedStore("f", "folder")})
    assert unknown.items() <= here.items()
    assert digests.of_stores({"f": OpenedStore("f", "s3")})["stores"] != here["stores"]
