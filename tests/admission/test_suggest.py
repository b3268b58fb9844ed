"""Laws of suggested inputs: they can be used as they are, and mean what they are called."""

from __future__ import annotations

from typing import Any

from comfyledger.admission.suggest import SUGGESTED_MAX, suggested_inputs
from comfyledger.comfyui.graph.find import Named, plan_workflow
from support.graphs import diffusion as without_negative
from support.graphs import node


def suggested(graph: dict[str, Any]) -> dict[str, str]:
    planned, plan = plan_workflow(graph)
    return suggested_inputs(planned, plan)


def diffusion() -> dict[str, Any]:
    graph = without_negative()
    graph["3"]["inputs"]["negative"] = ["7", 0]
    return {**graph, "7": node("CLIPTextEncode", text="blurred", clip=["4", 1])}


def test_prompt_and_negative_are_those_of_the_sampler() -> None:
    graph = diffusion()
    graph["3"]["inputs"] |= {"positive": ["7", 0], "negative": ["6", 0]}
    found = suggested(graph)
    assert (found["prompt"], found["negative"]) == ("7.text", "6.text")


def test_a_text_is_followed_to_the_node_where_it_is_written() -> None:
    graph = diffusion()
    graph["6"]["inputs"]["text"] = ["20", 0]
    graph["20"] = node("PrimitiveString", value="a red coat")
    assert suggested(graph)["prompt"] == "20.value"


def test_a_text_is_followed_on_its_side_through_nodes_that_take_both() -> None:
    graph = diffusion()
    graph["30"] = node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], strength=1.0)
    graph["3"]["inputs"] |= {"positive": ["30", 0], "negative": ["30", 1]}
    found = suggested(graph)
    assert (found["prompt"], found["negative"]) == ("6.text", "7.text")


def test_a_circle_of_links_gives_no_text() -> None:
    graph = diffusion()
    graph["6"]["inputs"]["text"] = ["20", 0]
    graph["20"] = node("TextConcatenate", text=["20", 0])
    assert "prompt" not in suggested(graph)


def test_a_size_that_is_linked_is_that_of_the_number() -> None:
    graph = diffusion()
    graph["5"]["inputs"]["width"] = ["20", 0]
    graph["20"] = node("PrimitiveInt", value=768)
    found = suggested(graph)
    assert (found["width"], found["height"]) == ("20.value", "5.height")


def test_a_name_that_is_taken_gets_a_number() -> None:
    graph = diffusion()
    graph["40"] = node("LoraLoader", model=["4", 0], clip=["4", 1], lora_name="a", strength_model=1.0)
    graph["41"] = node("LoraLoader", model=["40", 0], clip=["40", 1], lora_name="b", strength_model=1.0)
    graph["3"]["inputs"]["model"] = ["41", 0]
    found = suggested(graph)
    assert (found["lora"], found["lora_2"]) == ("40.lora_name", "41.lora_name")


def test_what_the_run_fills_in_is_not_suggested() -> None:
    assert not {"3.seed", "5.batch_size", "9.filename_prefix"} & set(suggested(diffusion()).values())


def test_a_value_that_comes_from_another_node_is_not_suggested() -> None:
    graph = diffusion()
    graph["3"]["inputs"]["steps"] = ["20", 0]
    graph["20"] = node("PrimitiveInt", value=20)
    assert "steps" not in suggested(graph)


def test_a_node_that_is_not_run_gives_no_suggestion() -> None:
    graph = {**diffusion(), "20": node("LoadImage", image="a.png")}
    assert "20.image" not in suggested(graph).values()


def test_every_suggestion_can_be_configured_however_many_nodes_there_are() -> None:
    graph = diffusion()
    last = ["4", 0]
    for place in range(100, 160):
        graph[str(place)] = node("LoraLoaderModelOnly", model=last, lora_name="x", strength_model=1.0)
        last = [str(place), 0]
    graph["3"]["inputs"]["model"] = last
    found = suggested(graph)
    assert len(found) == SUGGESTED_MAX
    plan_workflow(graph, Named(inputs=found))
