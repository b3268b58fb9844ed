"""The inputs of a workflow for forms: what every ComfyUI takes that can run it, and nothing that nobody may see."""

from __future__ import annotations

from typing import Any

import pytest

from comfyledger import wire
from comfyledger.admission.described_inputs import CHOICES_MAX, TOOLTIP_CHARS, WHOLE_MAX, Seen, described
from comfyledger.comfyui.object_info import ObjectInfo
from support.graphs import node


def seen(graph: dict[str, Any], *infos: dict[str, Any]) -> list[Seen]:
    """The graph at one ComfyUI for each of `infos`: the inputs of the class `Any` of node 1."""
    if not infos:
        return [Seen(graph, None)]
    return [
        Seen(graph, ObjectInfo({"Any": {"input": {"required": one}, "output": ["INT"]}}, str(place)))
        for place, one in enumerate(infos)
    ]


def one(value: Any, *infos: Any, name: str = "x", **more: Any) -> wire.WorkflowInput:
    """The input `name` of a node that has `value` there, as ComfyUIs describe it in these ways."""
    graph = {"1": node("Any", **{name: value})}
    called = {"file": None, "required": False, **more}
    return described("named", "shown", f"1.{name}", seen(graph, *({name: info} for info in infos)), **called)


@pytest.mark.parametrize(
    ("value", "info", "kind"),
    [
        (5, ["INT", {}], "int"),
        (5, ["FLOAT", {}], "float"),
        (5.5, ["FLOAT", {}], "float"),
        ("a", ["STRING", {}], "text"),
        (True, ["BOOLEAN", {}], "bool"),
        ("a", [["a", "b"], {}], "choice"),
        ("a", ["COMBO", {"options": ["a", "b"]}], "choice"),
        (2, [[1, 2], {}], "choice"),
    ],
)
def test_a_kind_is_that_of_the_type(value: Any, info: Any, kind: str) -> None:
    found = one(value, info)
    assert (found.kind, found.default, found.known, found.required) == (kind, value, True, False)
    assert (found.name, found.label, found.node, found.input) == ("named", "shown", "1", "x")


@pytest.mark.parametrize(
    ("value", "info"), [("%seed%", ["INT", {}]), (5, ["STRING", {}]), ("a", ["COMBO", {"remote": {}}]), ("a", ["X"])]
)
def test_a_value_of_another_kind_than_the_type_decides_because_requests_must_give_that_kind(
    value: Any, info: Any
) -> None:
    assert (one(value, info).kind, one(value, info).known) == ({str: "text", int: "int"}[type(value)], False)


@pytest.mark.parametrize(("value", "kind"), [(5, "int"), (5.0, "float"), (False, "bool"), ("a", "text")])
def test_of_a_class_that_nobody_described_the_value_tells_the_kind(value: Any, kind: str) -> None:
    found = one(value)
    assert (found.kind, found.known, found.min, found.max, found.choices) == (kind, False, None, None, [])


def test_a_range_is_the_narrowest_of_all() -> None:
    found = one(5, ["INT", {"min": 1, "max": 100, "step": 1}], ["INT", {"min": 3, "max": 500, "step": 8}])
    assert (found.min, found.max, found.step) == (3, 100, 8)
    apart = one(5, ["INT", {"max": 4}], ["INT", {"min": 6}])
    assert (apart.min, apart.max) == (None, None)


def test_a_whole_number_has_whole_limits_that_every_client_can_hold() -> None:
    found = one(5, ["INT", {"min": -0.5, "max": 2**64, "step": 0.5}])
    assert (found.min, found.max, found.step) == (0, WHOLE_MAX, 1)
    assert one(0.5, ["FLOAT", {"min": -0.5, "step": 0.01}]).min == -0.5


def test_choices_are_those_that_all_have_and_of_the_kind_that_requests_must_give() -> None:
    found = one("b", [["c", "b", "a", 7, "x" * 501]], [["a", "b", "d", 7, "x" * 501]])
    assert found.choices == ["b", "a"]
    none = one("a", [["a"]], [["b"]])
    assert (none.kind, none.choices) == ("text", [])


def test_a_list_without_end_is_cut_and_says_so() -> None:
    found = one("1", [[str(number) for number in range(CHOICES_MAX + 3)]])
    assert (len(found.choices), found.choices_left_out) == (CHOICES_MAX, 3)


def test_comfyuis_that_differ_in_kind_leave_the_value_to_tell() -> None:
    assert one("a", [["a", "b"]], ["STRING", {}]).kind == "text"


def test_a_text_has_lines_where_comfyui_shows_them_or_the_name_says_so() -> None:
    assert one("a", ["STRING", {"multiline": True, "tooltip": "t" * 900}]).multiline
    assert len(one("a", ["STRING", {"tooltip": "t" * 900}]).tooltip) == TOOLTIP_CHARS
    assert not one("a", ["STRING", {}]).multiline
    assert (one("a", name="text").multiline, one("a").multiline, one("a\nb").multiline) == (True, False, True)


def test_an_input_that_names_a_file_says_which_it_takes() -> None:
    picture = one("a.png", [["a.png"], {"image_upload": True}])
    assert (picture.kind, picture.medium, picture.choices, picture.known) == ("file", "image", [], True)
    assert one(None, [["a.wav"], {"audio_upload": True}]).medium == "audio"
    assert one(None, [[], {"file_upload": True}]).medium is None


def test_what_nothing_stands_in_must_be_given() -> None:
    empty = one(None, [[], {"image_upload": True}])
    assert (empty.kind, empty.required, empty.default) == ("file", True, None)
    configured = wire.FileAsked(input=f"sha256:{'a' * 64}")
    kept = one(None, [[], {"image_upload": True}], file=configured)
    assert (kept.required, kept.default) == (False, wire.InputNamed(f"sha256:{'a' * 64}"))
    assert one("gone.safetensors", [["a"]], required=True).required


def test_a_number_that_a_node_only_holds_has_the_ranges_of_what_gets_it() -> None:
    graph = {
        "1": node("PrimitiveInt", value=64),
        "2": node("Latent", width=["1", 0], name="x"),
        "3": node("Latent", width=1, name="x"),
    }
    info = ObjectInfo(
        {
            "PrimitiveInt": {"input": {"required": {"value": ["INT", {"min": -9, "max": 99_999}]}}, "output": ["INT"]},
            "Latent": {"input": {"required": {"width": ["INT", {"min": 16, "step": 8}], "name": ["STRING", {}]}}},
        },
        "digest",
    )
    found = described("width", "width", "1.value", [Seen(graph, info)], file=None, required=False)
    assert (found.min, found.max, found.step) == (16, 99_999, 8)
