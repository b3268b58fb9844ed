"""Laws of finding what ComfyUI would refuse, held against small answers of `/object_info`."""

from __future__ import annotations

import time
from typing import Any

import pytest

from comfyledger.comfyui.graph.checks import (
    MISTAKES_MAX,
    files,
    find_image_mistakes,
    find_mistakes,
    models,
    refusal,
    unknown_classes,
)
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.errors import NodeMistake

Inputs = dict[str, Any]


def made(required: Inputs, *outputs: str, optional: Inputs | None = None, **more: Any) -> Inputs:
    return {"input": {"required": required, "optional": optional or {}}, "output": list(outputs), **more}


BY_SIZE = {"key": "by size", "inputs": {"required": {"width": ["INT", {"min": 1, "max": 8}]}}}
SEVERAL = {"template": {"input": {"required": {"image": ["IMAGE", {}]}}, "prefix": "image", "min": 2, "max": 4}}
CLASSES: Inputs = {
    "Loader": made({"name": [["one.safetensors", "sd/two.safetensors"]]}, "MODEL", "CLIP"),
    "Picture": made({"image": [["photo.png", "none"], {"image_upload": True}]}, "IMAGE", "MASK"),
    "Sampler": made(
        {"model": ["MODEL"], "steps": ["INT", {"min": 1, "max": 100}], "cfg": ["FLOAT", {"min": 0.0, "max": 9.5}]},
        "IMAGE",
        optional={"mask": ["MASK"], "mode": ["COMBO", {"options": ["fast", "good"]}]},
    ),
    "Text": made({"text": ["STRING", {}], "bold": ["BOOLEAN", {}]}, "STRING"),
    "Switch": made({"any": ["*", {}], "same": ["COMFY_MATCHTYPE_V3", {}]}, "*"),
    "Either": made({"either": ["INT,FLOAT", {}]}, "INT,FLOAT"),
    "Tags": made({"tags": ["COMBO", {"options": ["a", "b"], "multiselect": True}]}, "IMAGE"),
    "Resize": made({"size": ["COMFY_DYNAMICCOMBO_V3", {"options": [BY_SIZE]}]}, "IMAGE"),
    "Join": made({}, "IMAGE", optional={"images": ["COMFY_AUTOGROW_V3", SEVERAL]}),
    "CustomCombo": made({"choice": ["COMBO", {"options": []}]}, "STRING"),
    "Ours": made(
        {"name": [["one.safetensors"]], "style": [["plain"]]}, "MODEL", python_module="custom_nodes.something"
    ),
    "LoadLatent": made({"latent": [["a.latent"]]}, "LATENT"),
    "Load Ours": made({"video": [["a.webm"]]}, "IMAGE", python_module="custom_nodes.something"),
    "Silent": made({}, python_module="custom_nodes.something"),
    "OurPicture": made(
        {"image": [["photo.png"], {"image_upload": True}]}, "IMAGE", python_module="custom_nodes.something"
    ),
    "Combine": made({"rate": ["FLOAT"]}, "IMAGE", "ANYTHING", python_module="custom_nodes.something"),
    "Mode": made({}, "IMAGE", optional={"size": ["COMFY_DYNAMICCOMBO_V3", {"options": [BY_SIZE]}]}),
    "ControlNetLoader": made({"control_net_name": [["a.pth"]]}, "CONTROL_NET"),
    "Save": made({"images": ["IMAGE"], "filename_prefix": ["STRING", {}]}, output_node=True),
    "Show": made({"any": ["*"]}, output_node=True),
}
INFO = ObjectInfo(CLASSES, "digest")


def node(class_type: str, **inputs: Any) -> Inputs:
    return {"class_type": class_type, "inputs": inputs}


def shown(one: Inputs, **others: Inputs) -> Inputs:
    """A graph that shows the output of node 1."""
    return {"1": one, **{key.strip("n"): other for key, other in others.items()}, "9": node("Show", any=["1", 0])}


def of(graph: Inputs, **more: Any) -> list[tuple[str, str, str]]:
    return [(one.node, one.input, one.kind) for one in find_mistakes(graph, ["9"], INFO, **more)]


def only(graph: Inputs) -> NodeMistake:
    (mistake,) = find_mistakes(graph, ["9"], INFO)
    return mistake


def sampler(**other: Any) -> Inputs:
    return shown(node("Sampler", **{"model": ["2", 0], "steps": 5, "cfg": 2, **other}), n2=node("Loader", name=NAME))


NAME = "one.safetensors"

# Nodes


def test_a_graph_without_mistakes_has_none() -> None:
    assert of(sampler(mask=["3", 1], mode="good") | {"3": node("Picture", image="photo.png")}) == []


def test_all_mistakes_are_found_at_once_in_the_order_of_the_nodes() -> None:
    graph = {
        "10": node("Loader", name="none.safetensors"),
        "2": node("Sampler", model=["10", 0], steps=0, cfg="x"),
        "3": node("Nowhere"),
        "9": node("Save", images=["2", 0], more=["3", 0]),
    }
    assert of(graph) == [
        ("2", "steps", "value_smaller_than_min"),
        ("2", "cfg", "invalid_input_type"),
        ("3", "", "missing_node_type"),
        ("9", "filename_prefix", "required_input_missing"),
        ("10", "name", "value_not_in_list"),
    ]


def test_what_feeds_no_output_is_not_checked() -> None:
    graph = sampler() | {"5": node("Nowhere"), "6": node("Loader"), "7": node("Show", any=["6", 0])}
    assert of(graph) == []


def test_behind_an_input_that_the_class_does_not_declare_only_classes_count() -> None:
    graph = sampler(other=["5", 0]) | {"5": node("Loader", other=["6", 0]), "6": node("Loader", name=NAME)}
    assert of(graph) == []
    assert of(graph | {"6": node("Nowhere")}) == [("6", "", "missing_node_type")]


def test_an_unknown_class_names_its_nearest() -> None:
    mistake = only(shown(node("Samplerr")))
    assert (mistake.kind, mistake.found, mistake.near) == ("missing_node_type", "Samplerr", ("Sampler",))
    assert mistake.message == "Node 1 (Samplerr): ComfyUI does not have this class; the nearest known: Sampler."


def test_what_is_behind_an_unknown_class_is_checked_too() -> None:
    graph = shown(node("Nowhere", a=["2", 0]), n2=node("Loader", name="none"))
    assert of(graph) == [("1", "", "missing_node_type"), ("2", "name", "value_not_in_list")]


def test_with_the_level_classes_only_classes_count() -> None:
    graph = shown(node("Nowhere", a=["2", 0]), n2=node("Loader"))
    assert of(graph, level="classes") == [("1", "", "missing_node_type")]


def test_an_output_that_comfyui_takes_for_none_is_a_mistake() -> None:
    graph = {"9": node("Loader", name=NAME)}
    assert of(graph) == of(graph, level="classes") == [("9", "", "prompt_no_outputs")]


def test_what_a_run_fills_in_does_not_count() -> None:
    graph = {"1": node("Picture", image="photo.png"), "2": node("Sampler", model=["3", 0], steps=None, cfg=1)}
    graph |= {"3": node("Loader", name=NAME), "9": node("Save", images=["2", 0])}
    assert of(graph) == [("2", "steps", "invalid_input_type"), ("9", "filename_prefix", "required_input_missing")]
    assert of(graph, filled={"2.steps", "9.filename_prefix"}) == []


def test_a_class_that_is_described_in_a_strange_way_takes_everything() -> None:
    info = ObjectInfo({**CLASSES, "Odd": {"input": 5}, "Old": {"input": {"required": {"a": 7}}}}, "digest")
    graph = {"1": node("Odd", a=["2", 9]), "2": node("Old", a=[1]), "9": node("Show", any=["1", 0])}
    assert [one.kind for one in find_mistakes(graph, ["9"], info)] == ["bad_linked_input"]


def test_an_old_class_that_comfyui_replaces_is_no_mistake() -> None:
    graph = shown(node("T2IAdapterLoader", t2i_adapter_name="x.pth"))
    assert of(graph) == []
    assert unknown_classes(graph, INFO) == ()
    old = ObjectInfo({name: one for name, one in CLASSES.items() if name != "ControlNetLoader"}, "digest")
    assert [one.kind for one in find_mistakes(graph, ["9"], old)] == ["missing_node_type"]
    assert unknown_classes(graph, old) == ("T2IAdapterLoader",)


# Links


def test_a_required_input_is_missing_and_an_optional_one_is_not() -> None:
    assert of(shown(node("Sampler", steps=5, cfg=1))) == [("1", "model", "required_input_missing")]


@pytest.mark.parametrize("link", [["8", 0], ["2", 2], ["2", -3], ["2", "0"], ["2", 0.0], [2, 0], [], ["2"], [["2"], 0]])
def test_a_link_that_leads_nowhere_is_a_mistake(link: list[Any]) -> None:
    assert of(sampler(model=link)) == [("1", "model", "bad_linked_input")]


@pytest.mark.parametrize(
    ("link", "told"),
    [
        (["8", 0], "model is linked to node 8, which the workflow does not have."),
        ([2, 0], "model is linked to 2; the id of a node is a text."),
        (["2", 2], "model is linked to output 2 of node 2 (Loader), which has the outputs 0 to 1."),
        (["3", 1], "model is linked to output 1 of node 3 (Text), which has the output 0 only."),
        (["4", 0], "model is linked to output 0 of node 4 (Silent), which has no output."),
    ],
)
def test_a_link_that_leads_nowhere_is_told_by_its_end(link: list[Any], told: str) -> None:
    graph = sampler(model=link) | {"3": node("Text", text="x", bold=True), "4": node("Silent")}
    assert only(graph).message == f"Node 1 (Sampler): {told}"


def test_a_slot_may_count_from_the_end_and_be_a_boolean() -> None:
    assert of(sampler(model=["2", -2])) == of(sampler(model=["2", False])) == []


def test_a_custom_node_may_have_more_outputs_than_it_lists() -> None:
    assert of(sampler(model=["3", 7]) | {"3": node("Ours", name=NAME, style="plain")}) == []


def test_a_class_without_outputs_feeds_nothing() -> None:
    assert of(sampler(model=["3", 0]) | {"3": node("Silent")}) == [("1", "model", "bad_linked_input")]


def test_an_output_feeds_inputs_of_its_type_only() -> None:
    mistake = only(sampler(model=["2", 1]))
    assert (mistake.kind, mistake.found) == ("return_type_mismatch", "CLIP")
    assert mistake.message == "Node 1 (Sampler): model takes MODEL, and node 2 (Loader) gives CLIP."


def test_a_custom_node_may_take_more_types_than_it_says() -> None:
    rate = shown(node("Combine", rate=["2", 0]), n2=node("Text", text="x", bold=True))
    assert of(rate) == []


def test_a_custom_node_gives_what_it_says_if_comfyui_knows_the_type() -> None:
    source = {"3": node("Combine", rate=1)}
    assert of(sampler(model=["3", 0]) | source) == [("1", "model", "return_type_mismatch")]
    assert of(sampler(model=["3", 1]) | source) == []


def test_types_meet_if_they_have_one_in_common_or_one_is_any() -> None:
    graph = sampler(steps=["3", 0], cfg=["3", 0], model=["4", 0])
    graph["4"] = node("Switch", any=["2", 0], same=["2", 1])
    assert of(graph | {"3": node("Either", either=1)}) == []
    assert of(graph | {"3": node("Either", either=["2", 0])}) == [("3", "either", "return_type_mismatch")]


def test_a_circle_is_one_mistake_at_its_first_node() -> None:
    graph = shown(node("Switch", any=["2", 0], same=1), n2=node("Switch", any=["3", 0], same=1))
    graph["3"] = node("Switch", any=["2", 0], same=["3", 0])
    found = find_mistakes(graph, ["9"], INFO)
    assert [(one.node, one.kind) for one in found] == [("2", "dependency_cycle"), ("3", "dependency_cycle")]
    assert found[0].message == "Node 2 (Switch): it needs its own result, through 3 (Switch)."
    assert found[1].message == "Node 3 (Switch): it is linked to itself."


def test_a_long_line_and_a_large_circle_are_walked_without_recursion() -> None:
    line = {str(n): node("Switch", any=[str(n + 1), 0], same=1) for n in range(1, 5000)}
    line |= {"5000": node("Switch", any=1, same=1), "0": node("Show", any=["1", 0])}
    assert find_mistakes(line, ["0"], INFO) == ()
    line["5000"] = node("Switch", any=["1", 0], same=1)
    assert [one.kind for one in find_mistakes(line, ["0"], INFO)] == ["dependency_cycle"]


# Values


@pytest.mark.parametrize(("steps", "cfg"), [("5", "2.5"), (5.9, 2), (True, True), (" 7 ", "1e0"), (100, 9.5)])
def test_comfyui_makes_numbers_of_texts(steps: Any, cfg: Any) -> None:
    assert of(sampler(steps=steps, cfg=cfg)) == []


@pytest.mark.parametrize("steps", ["5.0", "many", "", None, {}, {"a": 1}, {"__value__": [5]}, "%seed%"])
def test_what_is_no_number_is_a_mistake(steps: Any) -> None:
    assert of(sampler(steps=steps)) == [("1", "steps", "invalid_input_type")]


def test_a_value_may_be_wrapped() -> None:
    assert of(sampler(steps={"__value__": 5})) == []
    assert of(sampler(steps={"__value__": 0})) == [("1", "steps", "value_smaller_than_min")]


@pytest.mark.parametrize(("steps", "kind"), [(0, "value_smaller_than_min"), ("101", "value_bigger_than_max")])
def test_a_number_out_of_range_names_the_limit(steps: Any, kind: str) -> None:
    mistake = only(sampler(steps=steps))
    assert (mistake.kind, mistake.found) == (kind, str(steps))
    assert mistake.message.endswith(("the smallest allowed is 1.", "the largest allowed is 100."))


@pytest.mark.parametrize("value", ["a", 5, None, {}, {"__value__": ["a"]}])
def test_anything_can_be_made_a_text_or_a_boolean(value: Any) -> None:
    assert of(shown(node("Text", text=value, bold=value))) == []


@pytest.mark.parametrize("value", ["a", 5, None, {}])
def test_an_input_that_only_takes_links_takes_any_value_in_comfyui(value: Any) -> None:
    assert of(sampler(model=value)) == []


def test_a_choice_is_one_of_the_list() -> None:
    assert of(sampler(mode="best")) == [("1", "mode", "value_not_in_list")]
    assert of(sampler(mode=None)) == of(sampler(mode={})) == [("1", "mode", "value_not_in_list")]


def test_several_choices_are_each_in_the_list() -> None:
    assert of(shown(node("Tags", tags={"__value__": ["a", "b"]}))) == []
    mistake = only(shown(node("Tags", tags={"__value__": ["a", "z"]})))
    assert (mistake.kind, mistake.found) == ("value_not_in_list", "z")


@pytest.mark.parametrize(
    ("name", "near"), [("TWO.safetensors", "sd/two.safetensors"), ("x/one.safetensors", "one.safetensors")]
)
def test_a_model_that_is_missing_names_the_nearest(name: str, near: str) -> None:
    mistake = only(shown(node("Loader", name=name)))
    assert mistake.near[0] == near
    assert mistake.message.startswith(f"Node 1 (Loader): name is '{name}', which ComfyUI does not have; the nearest")


def test_the_inputs_of_a_dynamic_choice_are_checked() -> None:
    chosen = {"size": "by size"}
    assert of(shown(node("Resize", **chosen))) == [("1", "size.width", "required_input_missing")]
    assert of(shown(node("Resize", **chosen, **{"size.width": 9}))) == [("1", "size.width", "value_bigger_than_max")]
    assert of(shown(node("Resize", **chosen, **{"size.width": 8}))) == []
    assert of(shown(node("Mode", **chosen))) == [("1", "size.width", "required_input_missing")]
    assert of(shown(node("Mode"))) == []


@pytest.mark.parametrize("inputs", [{}, {"size": "by weight"}, {"size": "by weight", "size.width": 99}])
def test_comfyui_looks_at_no_dynamic_choice_that_it_does_not_know(inputs: Inputs) -> None:
    assert of(shown(node("Resize", **inputs))) == []


def test_a_growing_list_has_a_least_length() -> None:
    graph = shown(node("Join", **{"images.image0": ["2", 0]}), n2=node("Picture", image="photo.png"))
    assert of(graph) == [("1", "images.image1", "required_input_missing")]
    graph["1"]["inputs"] |= {"images.image1": ["2", 1], "images.image9": ["2", 7]}
    assert of(graph) == [("1", "images.image1", "return_type_mismatch")]


# Nodes that check their inputs themselves


@pytest.mark.parametrize("name", ["sub/in.png", "photo.png [input]", "out.png [output]", "PHOTO.PNG", "drawing.kra"])
def test_a_picture_that_may_be_there_is_no_mistake(name: str) -> None:
    assert of(shown(node("Picture", image=name))) == []


@pytest.mark.parametrize("name", ["other.png", "other.png [input]", "phot.PNG"])
def test_a_picture_that_is_surely_not_there_is_a_mistake(name: str) -> None:
    mistake = only(shown(node("Picture", image=name)))
    assert (mistake.input, mistake.kind) == ("image", "value_not_in_list")
    assert "which is not in ComfyUI's input folder" in mistake.message


@pytest.mark.parametrize("address", ["https://example.com/photo.png", "file:///photo.png"])
def test_an_address_is_no_file_of_the_input_folder(address: str) -> None:
    assert of(shown(node("Picture", image=address))) == [("1", "image", "value_not_in_list")]


def test_a_latent_is_looked_for_among_the_latents() -> None:
    assert of(shown(node("LoadLatent", latent="sub/x.latent"))) == []
    assert of(shown(node("LoadLatent", latent="x.latent"))) == [("1", "latent", "value_not_in_list")]


@pytest.mark.parametrize(("value", "kind"), [(5, "invalid_input_type"), (["2", 0], "bad_linked_input")])
def test_a_loader_of_comfyui_takes_the_name_of_a_file_only(value: Any, kind: str) -> None:
    graph = {"2": node("Switch", any=1, same=1), "9": node("Show", any=["1", 0])}
    assert of(graph | {"1": node("Picture", image=value)}) == [("1", "image", kind)]
    assert of(graph | {"1": node("OurPicture", image=value)}) == []


def test_the_list_of_a_custom_node_shows_which_files_it_would_show() -> None:
    assert of(shown(node("OurPicture", image="other.png"))) == [("1", "image", "value_not_in_list")]
    assert of(shown(node("OurPicture", image="other.jpg"))) == []
    assert of(shown(node("Picture", image="other.jpg"))) == [("1", "image", "value_not_in_list")]


def test_of_a_custom_node_only_a_missing_model_is_a_wrong_choice() -> None:
    assert of(shown(node("Ours", name=NAME, style="made up by its page"))) == []
    assert of(shown(node("Ours", name=NAME, style="x.safetensors"))) == []
    assert of(shown(node("Ours", name="x.safetensors", style="plain"))) == [("1", "name", "value_not_in_list")]


def test_a_class_of_comfyui_that_checks_its_choices_itself_takes_any() -> None:
    assert of(shown(node("CustomCombo", choice="mine"))) == []


# What a workflow needs


def test_models_are_named_once_in_the_order_of_the_nodes() -> None:
    graph = {
        "10": node("Loader", name="one.safetensors"),
        "2": node("Power", a={"on": True, "lora": "b.gguf"}, b={"on": False, "lora": "c.gguf"}, c="one.safetensors"),
        "3": node("Text", text="a model.safetensors\nin a prompt", filename_prefix="x.ckpt", url="https://x/y.ckpt"),
        "4": node("Loader", name="/root/y.ckpt"),
    }
    assert models(graph) == ("b.gguf", "one.safetensors")
    assert models(graph, ["10"]) == ("one.safetensors",)


def test_files_are_what_must_be_in_the_input_folder() -> None:
    graph = {
        "1": node("Picture", image="sub/a.png"),
        "2": node("Picture", image="b.png [input]"),
        "3": node("Picture", image="c.png [output]"),
        "4": node("Picture", image=["1", 0]),
        "5": node("VHS_LoadVideo", video="d.mp4", text="e.txt"),
        "6": node("LoadImageFromUrl", url="https://example.com/f.png"),
        "7": node("SaveImage", filename_prefix="g.png"),
        "8": node("Picture", image="https://example.com/h.png"),
        "11": node("Load Ours", video="i.webm"),
        "12": node("Picture", image="none"),
    }
    assert files(graph, INFO) == ("sub/a.png", "b.png", "d.mp4", "i.webm")
    assert files(graph, INFO, ["1"]) == ("sub/a.png",)


def test_without_object_info_files_are_known_by_the_name_of_the_class() -> None:
    graph = {"1": node("LoadImage", image="a.png"), "2": node("CLIPTextEncode", text="a.png")}
    assert files(graph) == ("a.png",)


# Images


def test_the_values_of_images_are_checked_by_themselves() -> None:
    graph = sampler()
    images = [{}, {"1.steps": 7}, {"1.steps": 0, "1.mode": "best"}, {"5.x": 1}, {"2.name": "none"}]
    found = find_image_mistakes(graph, images, INFO, feeding={"1", "2", "9"})
    kinds = {place: [one.kind for one in mistakes] for place, mistakes in found.items()}
    assert kinds == {2: ["value_smaller_than_min", "value_not_in_list"], 4: ["value_not_in_list"]}


def test_a_value_may_choose_other_inputs_of_its_node() -> None:
    graph = shown(node("Resize", size="other"))
    found = find_image_mistakes(graph, [{"1.size": "by size"}], INFO, feeding={"1", "9"})
    assert [(one.input, one.kind) for one in found[0]] == [("size.width", "required_input_missing")]


def test_thousands_of_images_with_values_of_their_own_cost_little() -> None:
    many = [f"folder {n}/model {n}.safetensors" for n in range(50_000)]
    info = ObjectInfo({**CLASSES, "Loader": made({"name": [many]}, "MODEL", "CLIP")}, "digest")
    images = [{"2.name": many[-n], "1.steps": n % 90 + 1} for n in range(1, 4001)]
    began = time.process_time()
    assert find_image_mistakes(sampler(), images, info, feeding={"1", "2"}) == {}
    assert time.process_time() - began < 0.8


# The bounds


def test_mistakes_are_bounded_in_number_and_size() -> None:
    huge = "\n\x1b" + "x" * 100_000
    graph = {str(n): node(huge, a=1) for n in range(200)}
    graph["9"] = node("Show", **{str(n): [str(n), 0] for n in range(200)})
    found = find_mistakes(graph, ["9"], INFO)
    assert len(found) == MISTAKES_MAX
    assert all(len(text) < 1000 and text.isprintable() for one in found for text in (*one[:5], *one.near, one.message))


def test_the_nearest_of_many_names_are_found_in_bounded_time() -> None:
    many = [f"folder {n}/some model {n}.safetensors" for n in range(50_000)]
    info = ObjectInfo({**CLASSES, "Loader": made({"name": [many]}, "MODEL", "CLIP")}, "digest")
    graph = {str(n): node("Loader", name=f"some model {n}.safetensors") for n in range(49_980, 50_080)}
    graph["9"] = node("Nowhere", **{node_id: [node_id, 0] for node_id in graph})
    began = time.process_time()
    found = find_mistakes(graph, ["9"], info)
    assert time.process_time() - began < 3
    assert found[1].near[0] == "folder 49980/some model 49980.safetensors"


def test_the_nearest_are_three_and_those_of_the_same_name_come_first() -> None:
    folders = [f"{n}/detail.safetensors" for n in range(5)]
    info = ObjectInfo({**CLASSES, "Loader": made({"name": [["detail2.safetensors", *folders]]}, "MODEL")}, "digest")
    (mistake,) = find_mistakes(shown(node("Loader", name="detail.safetensors")), ["9"], info)
    assert mistake.near == tuple(folders[:3])
    (mistake,) = find_mistakes(shown(node("Loader", name="x/detail2.safetensors")), ["9"], info)
    assert mistake.near[0] == "detail2.safetensors"
    (mistake,) = find_mistakes(shown(node("Loader", name="something else")), ["9"], info)
    assert mistake.near == ()


# The refusal


def test_the_refusal_has_all_mistakes_and_tells_the_first_few() -> None:
    graph = {str(n): node("Loader", name=f"none {n}") for n in range(1, 6)}
    graph["9"] = node("Nowhere", **{node_id: [node_id, 0] for node_id in graph})
    mistakes = find_mistakes(graph, ["9"], INFO)
    refused = refusal(mistakes).below("$.data.workflow")
    assert (refused.code, refused.path) == ("workflow_failed_validation", "$.data.workflow.1.name")
    first = "Node 1 (Loader): name is 'none 1', which ComfyUI does not have"
    assert refused.message.startswith(f"ComfyUI would refuse the workflow: 6 mistakes. {first}")
    assert refused.message.endswith("3 more are in `mistakes`.")
    assert refused.mistakes == mistakes
    assert len(refused.mistakes) == 6


def test_where_the_number_of_mistakes_is_cut_off_the_refusal_says_so() -> None:
    (mistake,) = find_mistakes(sampler(steps=0), ["9"], INFO)
    assert "at least 100 mistakes." in refusal((mistake,) * MISTAKES_MAX).message


def test_one_mistake_is_told_in_one_sentence() -> None:
    refused = refusal(find_mistakes(sampler(steps=0), ["9"], INFO))
    assert refused.message == (
        "ComfyUI would refuse the workflow: 1 mistake. Node 1 (Sampler): steps is 0; the smallest allowed is 1."
    )
    assert refused.path == "1.steps"
    assert refused.hint
