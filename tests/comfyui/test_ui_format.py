"""What a document in ComfyUI's UI format becomes: laws that hold for the page of ComfyUI as well."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.comfyui.ui_format.convert import read_document
from comfyledger.errors import Refused
from support.ui_documents import (
    BYTES_MAX,
    CLASSES,
    INFO,
    Document,
    document,
    graph_of,
    inputs_of,
    node,
    node_class,
    subgraph,
)

BYPASS = 4
NEVER = 2
THROUGH = [[1, 1, 0, 2, 0], [2, 2, 0, 9, 0]]
"""From node 1 to 2, and from there to 9."""


def chain(*middle: dict[str, Any], links: list[Any], feeds: int) -> dict[str, Any]:
    """Empty (1), what stands in the middle, Save (9) fed by a link."""
    return document(node(1, "Empty", [8, 8]), *middle, node(9, "Save", ["x"], links={"images": feeds}), links=links)


def test_a_node_has_its_values_by_name_its_links_and_its_title() -> None:
    said = chain(node(2, "Blur", [3], links={"image": 1}, title="Softer"), links=THROUGH, feeds=2)
    assert graph_of(said) == {
        "1": {"class_type": "Empty", "inputs": {"width": 8, "height": 8}, "_meta": {"title": "Shown"}},
        "2": {"class_type": "Blur", "inputs": {"radius": 3, "image": ["1", 0]}, "_meta": {"title": "Softer"}},
        "9": {
            "class_type": "Save",
            "inputs": {"filename_prefix": "x", "images": ["2", 0]},
            "_meta": {"title": "Shown"},
        },
    }


def test_links_as_objects_and_ids_as_texts_mean_the_same() -> None:
    arrays = chain(links=[[1, 1, 0, 9, 0, "IMAGE"]], feeds=1)
    keys = {"id": "1", "origin_id": "1", "origin_slot": 0, "target_id": 9, "target_slot": 0, "type": "IMAGE"}
    assert graph_of({**arrays, "version": 1, "links": [keys]}) == graph_of(arrays)


# ---- values


def test_a_seed_is_followed_by_what_becomes_of_it() -> None:
    said = document(node(1, "Sample", [7, "randomize", 30, "ddim"]))
    assert inputs_of(said)["1"] == {"seed": 7, "steps": 30, "sampler": "ddim"}


def test_a_widget_that_the_list_is_too_short_for_has_its_default() -> None:
    assert inputs_of(document(node(1, "Sample", [7])))["1"] == {"seed": 7, "steps": 20, "sampler": "euler"}
    assert inputs_of(document(node(1, "Empty")))["1"] == {"width": 512, "height": 512}


def test_values_may_be_an_object() -> None:
    said = document(node(1, "Empty", {"height": 5, "crf": 19, "preview": {"hidden": False}}))
    assert inputs_of(said)["1"] == {"width": 512, "height": 5, "crf": 19}


def test_names_in_the_document_count_more_than_the_order_of_a_class_that_has_changed() -> None:
    names = {"gone": 1, "height": 2, "width": 3}
    said = document(node(1, "Empty", [7, 8, 9], widgets_values_named=names))
    assert inputs_of(said)["1"] == {"width": 9, "height": 8}
    said["nodes"][0]["widgets_values"] = [7, 8]
    assert inputs_of(said)["1"] == {"width": 7, "height": 8}


def test_a_choice_of_words_that_people_wrote_has_its_number_and_all_words() -> None:
    info = ObjectInfo({"CustomCombo": node_class({"choice": ["COMBO", {"options": []}]}, "STRING", "INT")}, "")
    chosen = inputs_of(document(node(1, "CustomCombo", ["b", 0, "a", "b", ""])), info)["1"]
    assert chosen == {"choice": "b", "index": 1, "option1": "a", "option2": "b", "option3": ""}


def test_a_loader_of_any_number_of_loras_gets_all_of_them() -> None:
    name = "Power Lora Loader (rgthree)"
    info = ObjectInfo({name: node_class({}, "MODEL", optional={"model": ["MODEL"]})}, "")
    loras = [{"on": True, "lora": "a", "strength": 1, "strengthTwo": None}, {"on": False, "lora": "b", "strength": 2}]
    said = document(node(1, name, [{}, {"type": "header"}, *loras, {}, ""]))
    assert inputs_of(said, info)["1"] == {
        "lora_1": {"on": True, "lora": "a", "strength": 1},
        "lora_2": {"on": False, "lora": "b", "strength": 2},
    }


def test_a_list_as_a_value_is_wrapped_so_that_it_is_no_link() -> None:
    info = ObjectInfo({"Pick": node_class({"names": ["COMBO", {"options": ["a"], "multiselect": True}]})}, "")
    assert inputs_of(document(node(1, "Pick", [["a", 0]])), info) == {"1": {"names": {"__value__": ["a", 0]}}}
    assert inputs_of(document(node(1, "Pick")), info) == {"1": {"names": {"__value__": []}}}


def test_a_choice_brings_its_own_widgets_right_behind_it() -> None:
    options = [
        {"key": "size", "inputs": {"required": {"width": ["INT", {"default": 1}], "seed": ["INT", {}]}}},
        {"key": "none", "inputs": {}},
    ]
    info = ObjectInfo(
        {"Resize": node_class({"mode": ["COMFY_DYNAMICCOMBO_V3", {"options": options}], "end": ["INT", {}]})}, ""
    )
    sized = inputs_of(document(node(1, "Resize", ["size", 3, 4, 5])), info)["1"]
    assert sized == {"mode": "size", "mode.width": 3, "mode.seed": 4, "end": 5}
    assert inputs_of(document(node(1, "Resize", ["none", 5])), info)["1"] == {"mode": "none", "end": 5}
    for values in (["fit", 3, 4, 5], ["fit", 5]):
        with pytest.raises(Refused) as refused:
            inputs_of(document(node(1, "Resize", values)), info)
        assert (refused.value.code, refused.value.path) == ("workflow_invalid", "1")
        assert "the choice fit of mode of node 1 (Resize)" in refused.value.message
    assert inputs_of(document(node(1, "Resize", ["fit"])), info)["1"]["mode"] == "fit"
    assert inputs_of(document(node(1, "Resize")), info)["1"] == {
        "mode": "size",
        "mode.width": 1,
        "mode.seed": 0,
        "end": 0,
    }


def test_a_growing_list_of_inputs_is_linked_by_name() -> None:
    template = {"input": {"required": {"image": ["IMAGE"]}}, "prefix": "image", "min": 1, "max": 5}
    info = ObjectInfo({**CLASSES, "Batch": node_class({"images": ["COMFY_AUTOGROW_V3", {"template": template}]})}, "")
    said = document(
        node(1, "Empty", [8, 8]),
        node(2, "Batch", links={"images.image0": 1, "images.image1": 2, "images.image2": None}),
        links=[[1, 1, 0, 2, 0], [2, 1, 0, 2, 1]],
    )
    assert inputs_of(said, info)["2"] == {"images.image0": ["1", 0], "images.image1": ["1", 0]}


def test_an_input_that_is_no_widget_any_more_has_no_place_in_the_list_unless_it_is_an_old_one() -> None:
    assert inputs_of(document(node(1, "Join", ["b"])))["1"] == {"other": "b"}
    assert inputs_of(document(node(1, "Join", ["a", "b"])))["1"] == {"other": "b"}


def test_a_link_to_a_widget_counts_and_its_value_does_not() -> None:
    said = document(node(1, "Text", ["hello"]), node(2, "Join", ["old"], links={"other": 1}), links=[[1, 1, 0, 2, 0]])
    assert inputs_of(said)["2"] == {"other": ["1", 0]}


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("a {red|blue} car", "a red car"),
        ("{a {b|c}|d} e", "a b e"),
        (r"\{a|b\} {c", "{a|b} c"),
        ("a // b\nc /* d */ e | f}", "a \nc  e | f}"),
    ],
)
def test_of_choices_in_a_text_the_first_is_taken(text: str, becomes: str) -> None:
    assert inputs_of(document(node(1, "Text", [text])))["1"] == {"text": becomes}


# ---- nodes that ComfyUI never sees


def test_a_muted_node_is_left_out_with_its_links() -> None:
    said = chain(node(2, "Blur", [3], links={"image": 1}, mode=NEVER), links=THROUGH, feeds=2)
    assert inputs_of(said) == {"1": {"width": 8, "height": 8}, "9": {"filename_prefix": "x"}}


def test_a_bypassed_node_hands_on_the_input_of_the_same_type() -> None:
    outputs = [{"name": "IMAGE", "type": "IMAGE", "links": [3]}]
    middle = node(2, "Sample", [1, "fixed", 2, "euler"], links={"model": 1, "image": 2}, mode=BYPASS, outputs=outputs)
    said = chain(middle, node(3, "Load", ["m"]), links=[[1, 3, 0, 2, 0], [2, 1, 0, 2, 4], [3, 2, 0, 9, 0]], feeds=3)
    said["nodes"][-2]["id"] = 3
    assert inputs_of(said)["9"] == {"filename_prefix": "x", "images": ["1", 0]}
    assert "2" not in graph_of(said)


def test_a_reroute_hands_on_its_input_and_what_only_the_page_shows_is_left_out() -> None:
    reroutes = [node(2, "Reroute", links={"": 1}), node(3, "Reroute (rgthree)", links={"": 2})]
    page = [node(4, "Note", ["text"]), node(5, "Fast Muter (rgthree)", links={"": 1})]
    links = [[1, 1, 0, 2, 0], [2, 2, 0, 3, 0], [3, 3, 0, 9, 0]]
    said = chain(*reroutes, *page, links=links, feeds=3)
    assert inputs_of(said) == {"1": {"width": 8, "height": 8}, "9": {"filename_prefix": "x", "images": ["1", 0]}}


def test_a_primitive_gives_its_value_to_all_that_it_is_linked_to() -> None:
    said = document(
        node(1, "PrimitiveNode", [64, "fixed"], outputs=[{"type": "INT", "links": [1, 2]}]),
        node(2, "Empty", [8, 8], links={"width": 1, "height": 2}),
        links=[[1, 1, 0, 2, 0], [2, 1, 0, 2, 1]],
    )
    assert inputs_of(said) == {"2": {"width": 64, "height": 64}}


def test_what_a_node_sets_another_gets() -> None:
    said = chain(
        node(2, "SetNode", ["picture"], links={"IMAGE": 1}),
        node(3, "GetNode", ["picture"]),
        links=[[1, 1, 0, 2, 0], [2, 3, 0, 9, 0]],
        feeds=2,
    )
    assert inputs_of(said)["9"] == {"filename_prefix": "x", "images": ["1", 0]}


@pytest.mark.parametrize("setters", [0, 2])
def test_a_node_that_gets_what_no_other_or_several_set_is_refused(setters: int) -> None:
    nodes = [node(10 + number, "SetNode", ["picture"], links={"IMAGE": 1}) for number in range(setters)]
    said = chain(*nodes, node(3, "GetNode", ["picture"]), links=[[1, 1, 0, 2, 0], [2, 3, 0, 9, 0]], feeds=2)
    with pytest.raises(Refused, match="picture") as refused:
        graph_of(said)
    assert (refused.value.code, refused.value.path) == ("workflow_invalid", "3")


def everywhere(**link: Any) -> Document:
    """Node 5 sends the picture of node 1 to node 9, which has no link."""
    said = document(
        node(1, "Empty", [8, 8]),
        node(5, "Anything Everywhere", links={"anything": 1}),
        node(9, "Save", ["x"]),
        links=[[1, 1, 0, 5, 0]],
    )
    said["nodes"][-1]["inputs"] = [{"name": "images", "type": "IMAGE", "link": None}]
    made = {
        "downstream": 9,
        "downstream_slot": 0,
        "upstream": "1",
        "upstream_slot": 0,
        "controller": 5,
        "type": "IMAGE",
    }
    return {**said, "extra": {"ue_links": [made | link]}}


def test_links_that_an_extension_makes_are_those_that_the_document_lists() -> None:
    assert inputs_of(everywhere()) == {
        "1": {"width": 8, "height": 8},
        "9": {"filename_prefix": "x", "images": ["1", 0]},
    }
    assert inputs_of(everywhere(controller=77))["9"] == {"filename_prefix": "x"}


@pytest.mark.parametrize(
    "link", [{"downstream": "2:9"}, {"downstream_slot": 3}, {"type": "MASK"}, {"upstream": 77}, {"upstream_slot": -1}]
)
def test_links_of_an_extension_that_lead_nowhere_are_refused(link: Any) -> None:
    with pytest.raises(Refused, match="Anything Everywhere") as refused:
        graph_of(everywhere(**link))
    assert (refused.value.code, refused.value.path) == ("workflow_invalid", "5")


def test_a_node_that_links_without_a_list_of_its_links_is_refused() -> None:
    said = everywhere()
    del said["extra"]
    with pytest.raises(Refused, match="Anything Everywhere"):
        graph_of(said)
    said["nodes"][1]["mode"] = NEVER
    assert inputs_of(said)["9"] == {"filename_prefix": "x"}


# ---- subgraphs


def test_a_subgraph_is_written_out_once_for_each_of_its_nodes() -> None:
    inside = subgraph(
        "soft",
        node(5, "Blur", [3], links={"image": 1}),
        links=[[1, -10, 0, 5, 0, "IMAGE"], [2, 5, 0, -20, 0, "IMAGE"]],
        inputs=[("image", "IMAGE", [1])],
        outputs=[("image", "IMAGE", [2])],
    )
    said = chain(
        node(2, "soft", links={"image": 1}),
        node(3, "soft", links={"image": 2}),
        links=[[1, 1, 0, 2, 0], [2, 2, 0, 3, 0], [3, 3, 0, 9, 0]],
        feeds=3,
    )
    assert inputs_of({**said, "definitions": {"subgraphs": [inside]}}) == {
        "1": {"width": 8, "height": 8},
        "2:5": {"radius": 3, "image": ["1", 0]},
        "3:5": {"radius": 3, "image": ["2:5", 0]},
        "9": {"filename_prefix": "x", "images": ["3:5", 0]},
    }


def nested(
    *, outer_values: Any = None, inner_values: Any = None, outer_link: Any = None, mode: int = 0
) -> dict[str, Any]:
    """A width from outside two subgraphs, and a picture from within them: node 2 holds node 4, which holds node 5."""
    inner = subgraph(
        "inner",
        node(5, "Empty", [8, 9], links={"width": 1}),
        links=[[1, -10, 0, 5, 0, "INT"], [2, 5, 0, -20, 0, "IMAGE"]],
        inputs=[("width", "INT", [1])],
        outputs=[("image", "IMAGE", [2])],
    )
    outer = subgraph(
        "outer",
        node(4, "inner", inner_values, links={"width": 1}),
        links=[[1, -10, 0, 4, 0, "INT"], [2, 4, 0, -20, 0, "IMAGE"]],
        inputs=[("wide", "INT", [1])],
        outputs=[("image", "IMAGE", [2])],
    )
    return document(
        node(2, "outer", outer_values, links={"wide": outer_link}, mode=mode),
        node(3, "Load", ["7"]),
        node(9, "Save", ["x"], links={"images": 1}),
        links=[[1, 2, 0, 9, 0], [2, 3, 0, 2, 0]],
        definitions={"subgraphs": [outer, inner]},
    )


def test_a_subgraph_in_a_subgraph_is_written_out() -> None:
    assert inputs_of(nested()) == {
        "2:4:5": {"width": 8, "height": 9},
        "3": {"name": "7"},
        "9": {"filename_prefix": "x", "images": ["2:4:5", 0]},
    }


def test_a_value_goes_from_the_node_of_a_subgraph_to_the_widget_within() -> None:
    assert inputs_of(nested(inner_values=[16]))["2:4:5"]["width"] == 16
    assert inputs_of(nested(outer_values=[32], inner_values=[16]))["2:4:5"]["width"] == 32


def test_a_link_goes_through_two_subgraphs_before_any_value() -> None:
    assert inputs_of(nested(outer_values=[32], outer_link=2))["2:4:5"]["width"] == ["3", 0]


@pytest.mark.parametrize("mode", [NEVER, BYPASS])
def test_a_subgraph_that_is_off_is_not_written_out(mode: int) -> None:
    assert inputs_of(nested(mode=mode)) == {"3": {"name": "7"}, "9": {"filename_prefix": "x"}}


def proxied(entries: Any, values: Any, inner: dict[str, Any] | None = None) -> dict[str, Any]:
    """A subgraph whose node names widgets within in the older way, one of them linked to an input."""
    inside = subgraph(
        "sub",
        node(5, "Empty", [8, 9], links={"width": 1}),
        *([inner] if inner else []),
        links=[[1, -10, 0, 5, 0, "INT"], [2, 5, 0, -20, 0, "IMAGE"], [3, 6, 0, 5, 1, "INT"]],
        inputs=[("wide", "INT", [1])],
        outputs=[("image", "IMAGE", [2])],
    )
    host = node(2, "sub", values, properties={"proxyWidgets": entries})
    return document(
        host, node(9, "Save", ["x"], links={"images": 1}), links=[[1, 2, 0, 9, 0]], definitions={"subgraphs": [inside]}
    )


def test_widgets_named_in_the_older_way_get_their_values_linked_or_not() -> None:
    said = proxied([["5", "height"], ["5", "width"]], [32, 16])
    assert inputs_of(said)["2:5"] == {"width": 16, "height": 32}
    assert inputs_of(proxied([["5", "2: height"]], [32]))["2:5"] == {"width": 8, "height": 32}
    assert inputs_of(proxied([["5", "height"], ["77", "gone"], ["5", "none"]], [None, 1, 2]))["2:5"] == {
        "width": 8,
        "height": 9,
    }


def test_an_input_of_the_subgraph_may_be_named_instead_of_a_widget_within() -> None:
    assert inputs_of(proxied([["5", "height"], ["-1", "wide"]], [32, 16]))["2:5"] == {"width": 16, "height": 32}


@pytest.mark.parametrize("name", ["width", "wide"])
def test_a_widget_two_subgraphs_deep_is_named_by_the_input_or_by_itself(name: str) -> None:
    said = nested(outer_values=[48])
    outer, inner = said["definitions"]["subgraphs"]
    inner["inputs"][0]["name"] = "wide"
    outer["nodes"][0]["inputs"] = []
    outer["inputs"] = []
    said["nodes"][0]["properties"] = {"proxyWidgets": [["4", name]]}
    assert inputs_of(said)["2:4:5"]["width"] == 48


def test_a_value_that_the_page_has_set_aside_counts() -> None:
    said = proxied([], [8])
    aside = [{"originalEntry": ["-1", "wide"], "hostValue": 64}, {"originalEntry": ["-1", "wide"], "hostValue": 65}, 1]
    said["nodes"][0]["properties"] = {"proxyWidgetErrorQuarantine": aside}
    assert inputs_of(said)["2:5"] == {"width": 64, "height": 9}


def test_the_value_of_a_primitive_within_a_subgraph_may_come_from_its_node() -> None:
    primitive = node(6, "PrimitiveNode", [64, "fixed"], outputs=[{"type": "INT", "links": [3]}])
    said = proxied([["6", "value"]], [128], primitive)
    said["definitions"]["subgraphs"][0]["nodes"][0]["inputs"].append({"name": "height", "link": 3})
    assert inputs_of(said)["2:5"] == {"width": 8, "height": 128}
    said["nodes"][0]["widgets_values"] = []
    assert inputs_of(said)["2:5"] == {"width": 8, "height": 64}


def test_values_without_names_follow_the_marks_of_the_document_where_a_class_has_lost_a_widget() -> None:
    inside = subgraph(
        "sub",
        node(5, "Empty", [8, 9]),
        links=[[1, -10, 0, 5, 0, "STRING"], [2, -10, 1, 5, 1, "INT"]],
        inputs=[("lost", "STRING", [1]), ("height", "INT", [2])],
    )
    inside["nodes"][0]["inputs"] = [
        {"name": "lost", "type": "STRING", "link": 1, "widget": {"name": "lost"}},
        {"name": "height", "type": "INT", "link": 2, "widget": {"name": "height"}},
    ]
    said = document(node(2, "sub", ["flow", 32]), definitions={"subgraphs": [inside]})
    assert inputs_of(said) == {"2:5": {"width": 8, "height": 32}}


def test_two_nodes_of_one_id_on_different_levels_get_the_ids_that_the_page_gives_them() -> None:
    inside = subgraph("sub", node(2, "Empty", [8, 8]), node(3, "Empty", [9, 9]), links=[])
    said = document(node(2, "sub"), node(7, "Text", ["a"]), last_node_id=7, definitions={"subgraphs": [inside]})
    assert list(graph_of(said)) == ["7", "2:8", "2:3"]


# ---- classes that the server does not have


def test_unknown_classes_are_refused_all_at_once_where_an_output_needs_them() -> None:
    said = chain(
        node(2, "Nowhere", [1], links={"image": 1}),
        node(3, "Nothing", [1], links={"image": 2}),
        links=[[1, 1, 0, 2, 0], [2, 2, 0, 3, 0], [3, 3, 0, 9, 0]],
        feeds=3,
    )
    with pytest.raises(Refused) as refused:
        graph_of(said)
    assert refused.value.code == "workflow_failed_validation"
    assert [(one.node, one.class_type, one.kind) for one in refused.value.mistakes] == [
        ("2", "Nowhere", "missing_node_type"),
        ("3", "Nothing", "missing_node_type"),
    ]


@pytest.mark.parametrize("mode", [NEVER, BYPASS])
def test_an_unknown_class_that_is_off_is_not_needed(mode: int) -> None:
    middle = node(2, "Nowhere", [1], links={"image": 1}, mode=mode, outputs=[{"type": "IMAGE"}])
    said = chain(middle, links=THROUGH, feeds=2)
    assert "2" not in graph_of(said)


def test_an_unknown_class_that_no_output_needs_stays_with_its_links_and_a_label_goes() -> None:
    said = chain(node(2, "Nowhere", [1], links={"image": 1}), node(3, "Label", ["a"]), links=[[1, 1, 0, 9, 0]], feeds=1)
    assert set(graph_of(said)) == {"1", "2", "9"}
    assert inputs_of(said)["2"] == {"image": ["1", 0]}


def test_an_unknown_class_is_converted_where_the_document_names_its_values() -> None:
    said = chain(node(2, "Nowhere", {"crf": 19}, links={"image": 1}), links=THROUGH, feeds=2)
    assert inputs_of(said)["2"] == {"crf": 19, "image": ["1", 0]}
    said["nodes"][1] |= {
        "widgets_values": [7, "fixed"],
        "widgets_values_named": {"n": 1, "control_after_generate": "fixed"},
    }
    assert inputs_of(said)["2"] == {"n": 7, "image": ["1", 0]}


def test_a_class_that_comfyui_replaces_keeps_its_old_name_and_values() -> None:
    classes = {**CLASSES, "ConditioningAverage": node_class({}, "CONDITIONING"), "Load3D": node_class({}, "IMAGE")}
    info = ObjectInfo(classes, "")
    old = node(1, "ConditioningAverage ", [0.5])
    said = document(old, node(9, "Save", ["x"], links={"images": 1}), links=[[1, 1, 0, 9, 0]])
    assert inputs_of(said, info)["1"] == {"conditioning_to_strength": 0.5}
    old["type"] = "Load3DAnimation"
    with pytest.raises(Refused, match="Load3DAnimation") as refused:
        graph_of(said, info)
    assert (refused.value.code, refused.value.path) == ("workflow_invalid", "1")


@pytest.mark.parametrize("kind", ["workflow>mine", "workflow/mine"])
def test_a_group_node_is_refused_by_name(kind: str) -> None:
    with pytest.raises(Refused, match="mine") as refused:
        graph_of(document(node(1, "Empty", [8, 8]), node(4, kind, [1])))
    assert (refused.value.code, refused.value.path) == ("workflow_invalid", "4")


def test_a_node_whose_value_only_the_page_makes_is_refused() -> None:
    info = ObjectInfo({**CLASSES, "Camera": node_class({"image": ["WEBCAM", {}]}, "IMAGE")}, "")
    said = document(node(1, "Camera", [""]), node(9, "Save", ["x"], links={"images": 1}), links=[[1, 1, 0, 9, 0]])
    with pytest.raises(Refused, match=r"node 1 \(Camera\)") as refused:
        graph_of(said, info)
    assert refused.value.code == "workflow_invalid"
    said["nodes"][0]["widgets_values"] = ["taken.png"]
    assert inputs_of(said, info)["1"] == {"image": "taken.png"}


# ---- as text


def test_a_document_is_found_in_a_wrapper_and_behind_a_byte_order_mark() -> None:
    said = chain(links=[[1, 1, 0, 9, 0]], feeds=1)
    for text in (json.dumps({"workflow": said}), "\ufeff" + json.dumps(said)):
        assert read_document(text.encode(), INFO, BYTES_MAX) == graph_of(said)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"1": {"class_type": "Save", "inputs": {}}}', "\ud800"])
def test_a_text_without_a_document_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        read_document(text.encode("utf-8", "surrogatepass"), INFO, BYTES_MAX)
    assert refused.value.code == "workflow_invalid"
