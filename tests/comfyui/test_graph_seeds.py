"""Laws of seeds and batch sizes: where a run fills them in, behind links too, and which numbers suit."""

from __future__ import annotations

import time
from typing import Any

import pytest

from comfyledger.comfyui.graph.plan import Plan
from comfyledger.comfyui.graph.read import NOTHING_NAMED, Named, as_template, describe, fill, plan_workflow
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.core.values import SEED_MAX
from comfyledger.errors import Refused
from support.graphs import diffusion, image, node, plan_of, refusal

WIDE = {"min": 0, "max": 2**64 - 1}


def described(outputs: str, /, **inputs: Any) -> dict[str, Any]:
    return {
        "input": {"required": {name: said if isinstance(said, list) else [said] for name, said in inputs.items()}}
    } | {"output": outputs.split()}


def known(**classes: Any) -> ObjectInfo:
    """A ComfyUI with the nodes of `diffusion`, and more or other ones."""
    usual = {
        "KSampler": described("LATENT", seed=["INT", WIDE], steps="INT", cfg="FLOAT", latent_image="LATENT"),
        "EmptyLatentImage": described("LATENT", width="INT", height="INT", batch_size=["INT", {"max": 4096}]),
        "CLIPTextEncode": described("CONDITIONING", text="STRING", clip="CLIP"),
        "VAEDecode": described("IMAGE", samples="LATENT", vae="VAE"),
        "SaveImage": described("", images="IMAGE", filename_prefix="STRING"),
        "PrimitiveInt": described("INT", value=["INT", {"min": -(2**63), "max": 2**63 - 1}]),
        "ComfySwitchNode": described(
            "COMFY_MATCHTYPE_V3", switch="BOOLEAN", on_false="COMFY_MATCHTYPE_V3", on_true="COMFY_MATCHTYPE_V3"
        ),
        "Sum": described("INT FLOAT", a="INT,FLOAT", b="INT,FLOAT"),
    }
    return ObjectInfo(usual | classes, "digest")


def plan(graph: Any, info: ObjectInfo | None = None, named: Named = NOTHING_NAMED) -> Plan:
    return plan_workflow(graph, named, info)[1]


def seeded(value: Any, **nodes: Any) -> dict[str, Any]:
    """The usual graph with another value as seed, and more nodes by the names n1, n2, ..."""
    graph = diffusion()
    graph["3"]["inputs"]["seed"] = value
    return graph | nodes


# Which seeds suit


@pytest.mark.parametrize(("low", "high"), [(0, 65535), (0, 9), (1, 2**31 - 1), (7, 7)])
def test_a_seed_lies_in_the_range_of_its_place(low: int, high: int) -> None:
    info = known(KSampler=described("LATENT", seed=["INT", {"min": low, "max": high}], latent_image="LATENT"))
    found = plan(diffusion(), info)
    assert found.seed_range == (low, high)
    assert f"seed: 3.seed (KSampler), {low} to {high} · " in describe(found, diffusion())


def test_a_seed_that_goes_to_several_places_suits_all() -> None:
    graph = seeded(5, **{"10": node("Upscaler", seed=1, image=["8", 0])})
    graph["9"]["inputs"]["images"] = ["10", 0]
    info = known(Upscaler=described("IMAGE", seed=["INT", {"min": 10, "max": 2**32 - 1}], image="IMAGE"))
    assert plan(graph, info).seed_range == (10, 2**32 - 1)
    info = known(
        KSampler=described("LATENT", seed=["INT", {"min": 0, "max": 2**31}], latent_image="LATENT"),
        Upscaler=described("IMAGE", seed=["INT", {"min": 10, "max": 2**32 - 1}], image="IMAGE"),
    )
    assert plan(graph, info).seed_range == (10, 2**31)


def test_a_linked_seed_suits_what_it_feeds_also_behind_switches() -> None:
    graph = seeded(
        ["n1", 0], n1=node("ComfySwitchNode", switch=True, on_true=["n2", 0]), n2=node("PrimitiveInt", value=3)
    )
    info = known(KSampler=described("LATENT", seed=["INT", {"min": 0, "max": 65535}], latent_image="LATENT"))
    found = plan(graph, info)
    assert (found.seeds, found.seed_range) == (("n2.value",), (0, 65535))


@pytest.mark.parametrize("limits", [{}, WIDE, {"min": -(2**50), "max": 2**53}, {"min": "0", "max": None}])
def test_a_range_is_told_only_where_it_is_narrower_than_that_of_requests(limits: dict[str, Any]) -> None:
    info = known(KSampler=described("LATENT", seed=["INT", limits], latent_image="LATENT"))
    found = plan(diffusion(), info)
    assert found.seed_range is None
    assert "seed: 3.seed (KSampler) · " in describe(found, diffusion())


def test_nothing_is_known_of_an_unknown_class() -> None:
    assert plan(diffusion(), ObjectInfo({}, "digest")).seed_range is None
    assert plan(diffusion(), ObjectInfo({}, "digest")) == plan(diffusion())


def test_a_graph_that_no_seed_suits_is_refused() -> None:
    graph = seeded(5, **{"10": node("Upscaler", seed=1, image=["8", 0])})
    graph["9"]["inputs"]["images"] = ["10", 0]
    info = known(
        KSampler=described("LATENT", seed=["INT", {"min": 0, "max": 9}], latent_image="LATENT"),
        Upscaler=described("IMAGE", seed=["INT", {"min": 10, "max": 20}], image="IMAGE"),
    )
    refused = refusal(plan_workflow, graph, NOTHING_NAMED, info)
    assert (refused.code, refused.path) == ("seed_out_of_range", "10.seed")
    assert "10.seed takes 10 to 20, and 3.seed takes none of these" in refused.message
    assert plan(graph, info, Named(seeds=("10.seed",))).seed_range == (10, 20), "the operator says which counts"
    info = known(KSampler=described("LATENT", seed=["INT", {"min": -9, "max": -1}], latent_image="LATENT"))
    assert refusal(plan_workflow, diffusion(), NOTHING_NAMED, info).code == "seed_out_of_range"
    info = known(KSampler=described("LATENT", seed=["INT", {"min": SEED_MAX + 1}], latent_image="LATENT"))
    assert refusal(plan_workflow, diffusion(), NOTHING_NAMED, info).code == "seed_out_of_range"


# What stands for a seed


@pytest.mark.parametrize("value", ["%seed%", "PARAM_INT_SEED", "{{seed}}", "7", 5.0])
@pytest.mark.parametrize("info", [None, known()], ids=["no node list", "node list"])
def test_what_stands_for_a_seed_is_a_seeds_place(value: Any, info: ObjectInfo | None) -> None:
    graph = seeded(value)
    found = plan(graph, info)
    assert found.seeds == ("3.seed",)
    filled = fill(as_template(graph, found), found, prefixes=["p"], seed=11, batch_size=1, inputs={})
    assert filled["3"]["inputs"]["seed"] == 11


def test_a_text_that_is_expected_is_no_seed() -> None:
    graph = seeded("random", **{"3": node("Poet", seed="random", latent_image=["5", 0])})
    assert plan(graph, known(Poet=described("LATENT", seed="STRING", latent_image="LATENT"))).seeds == ()


def test_placeholders_of_other_numbers_are_no_seeds() -> None:
    graph = diffusion()
    graph["5"]["inputs"]["width"] = "%width%"
    assert plan(graph).seeds == ("3.seed",)


@pytest.mark.parametrize("name", ["rand_seed", "model_seed", "variation_seed", "subseed", "seed_num", "mode.seed"])
def test_seeds_of_custom_nodes_are_seeds(name: str) -> None:
    graph = image(**{"2": node("Any", **{name: 1})})
    graph["1"]["inputs"]["shade"] = ["2", 0]
    assert plan(graph).seeds == (f"2.{name}",)


@pytest.mark.parametrize("name", ["last_seed", "seeds", "speed", "seed_behavior", "reseeding"])
def test_what_only_sounds_like_a_seed_is_none(name: str) -> None:
    graph = image(**{"2": node("Any", **{name: 1})})
    graph["1"]["inputs"]["shade"] = ["2", 0]
    assert plan(graph).seeds == ()


# Where a linked seed comes from

THREE_SWITCHES = {
    "n1": node("ComfySwitchNode", switch=True, on_true=["n2", 0], on_false=["n9", 0]),
    "n2": node("ComfySwitchNode", switch=["n8", 0], on_true=["n3", 0]),
    "n3": node("Any Switch (rgthree)", any_01=["n4", 0]),
    "n4": node("PrimitiveInt", value=5),
    "n8": node("PrimitiveBoolean", value=True),
    "n9": node("PrimitiveInt", value=9),
}


@pytest.mark.parametrize("info", [None, known()], ids=["no node list", "node list"])
def test_a_seed_behind_three_switches_is_found(info: ObjectInfo | None) -> None:
    assert plan(seeded(["n1", 0], **THREE_SWITCHES), info).seeds == ("n4.value",)


@pytest.mark.parametrize(
    ("source", "address"),
    [
        (node("Seed (rgthree)", seed=-1), "n1.seed"),
        (node("easy seed", seed=7), "n1.seed"),
        (node("JWInteger", value=0), "n1.value"),
        (node("Int Literal", int=3), "n1.int"),
        (node("Int", Number="12"), "n1.Number"),
        (node("mxSlider", Xi=20, Xf=20.5, isfloatX=0), "n1.Xi"),
        (node("PrimitiveInt", value="%seed%"), ""),
        (node("LoadImage", image="a.png"), ""),
        (node("Two", width=1, height=2), ""),
    ],
)
def test_a_linked_seed_is_filled_in_where_its_number_stands(source: Any, address: str) -> None:
    found = plan(seeded(["n1", 0], n1=source))
    assert found.seeds == ((address,) if address else ())
    assert found.seeds_unclear == (() if address else ("3.seed",))


@pytest.mark.parametrize("switch", [True, False, ["n8", 0]])
@pytest.mark.parametrize("info", [None, known()], ids=["no node list", "node list"])
def test_a_switch_is_followed_as_the_graph_stands(switch: Any, info: ObjectInfo | None) -> None:
    nodes = {
        "n1": node("ComfySwitchNode", switch=switch, on_true=["n2", 0], on_false=["n3", 0]),
        "n2": node("PrimitiveInt", value=5),
        "n3": node("PrimitiveInt", value=6),
        "n8": node("PrimitiveBoolean", value=False),
    }
    taken = "n2.value" if switch is True else "n3.value"
    assert plan(seeded(["n1", 0], **nodes), info).seeds == (taken,)
    nodes["n8"] = node("Compare", value=True)
    assert plan(seeded(["n1", 0], **nodes), info).seeds == (() if isinstance(switch, list) else (taken,))


def test_of_the_latents_at_a_switch_the_one_that_is_taken_decides() -> None:
    graph = diffusion()
    graph["3"]["inputs"]["latent_image"] = ["n1", 0]
    graph["n1"] = node("ComfySwitchNode", switch=["n8", 0], on_true=["n2", 0], on_false=["5", 0])
    graph["n2"] = node("EmptyLatentImage", width=64, batch_size=1)
    graph["n8"] = node("PrimitiveBoolean", value=True)
    assert plan(graph).batch_size == "n2.batch_size"


def test_a_constant_beside_a_linked_number_is_left_alone() -> None:
    nodes = {"n1": node("Sum", a=["n2", 0], b=1), "n2": node("PrimitiveInt", value=5)}
    assert plan(seeded(["n1", 0], **nodes), known()).seeds == ("n2.value",)
    nodes["n1"] = node("Sum", a=1, b=2)
    assert plan(seeded(["n1", 0], **nodes), known()).seeds_unclear == ("3.seed",)


def test_of_several_numbers_none_is_guessed() -> None:
    nodes = {
        "n1": node("Any Switch (rgthree)", any_01=["n2", 0], any_02=["n3", 0]),
        "n2": node("PrimitiveInt", value=5),
        "n3": node("PrimitiveInt", value=6),
    }
    graph = seeded(["n1", 0], **nodes)
    found = plan(graph, known())
    assert (found.seeds, found.seeds_unclear) == ((), ("3.seed",))
    said = (
        "linked and not guessed, so equal inputs give equal images; name their numbers with `seeds`: 3.seed (KSampler)"
    )
    assert f"seed: {said} · " in describe(found, graph)
    graph["8"] = node("VAEDecode", samples=["3", 0], noise_seed=5)
    said = "seed: 8.noise_seed (VAEDecode); others are linked and not guessed; name their numbers with `seeds`: 3.seed"
    assert said in describe(plan(graph), graph)


def test_of_several_seed_nodes_all_get_the_seed_whichever_is_used() -> None:
    nodes = {
        "n1": node("Any Switch (rgthree)", any_01=["n2", 0], any_02=["n3", 0]),
        "n2": node("Seed (rgthree)", seed=-1),
        "n3": node("Seed (rgthree)", seed=-1),
    }
    assert plan(seeded(["n1", 0], **nodes), known()).seeds == ("n2.seed", "n3.seed")


@pytest.mark.parametrize(
    "also",
    [
        {"5": node("EmptyLatentImage", width=["n1", 0], batch_size=1)},
        {"3": node("KSampler", seed=["n1", 0], steps=["n1", 0], latent_image=["5", 0])},
        {"8": node("Pick", index=["n1", 0], samples=["3", 0])},
        {"8": node("Pick", samples=["3", 0], index=["n2", 0]), "n2": node("Any Switch (rgthree)", any_01=["n1", 0])},
    ],
)
@pytest.mark.parametrize("info", [None, known()], ids=["no node list", "node list"])
def test_a_number_that_also_decides_something_else_is_not_filled_in(also: Any, info: ObjectInfo | None) -> None:
    graph = seeded(["n1", 0], n1=node("PrimitiveInt", value=5)) | also
    found = plan(graph, info)
    assert (found.seeds, found.seeds_unclear) == ((), ("3.seed",))


def test_a_number_that_is_also_written_into_a_text_is_filled_in() -> None:
    graph = seeded(["n1", 0], n1=node("PrimitiveInt", value=5))
    graph["9"]["inputs"]["filename_prefix"] = ["n2", 0]
    graph["n2"] = node("Join", text=["n1", 0])
    assert plan(graph, known()).seeds == ("n1.value",)


def test_a_switchs_index_is_no_source() -> None:
    nodes = {
        "n1": node("Choose", select=["n3", 0], one=["n2", 0]),
        "n2": node("PrimitiveInt", value=5),
        "n3": node("PrimitiveInt", value=1),
    }
    info = known(Choose=described("*", select="INT", one="*"))
    assert plan(seeded(["n1", 0], **nodes), info).seeds == ("n2.value",)


def test_a_seed_nodes_own_seed_comes_before_what_is_linked_to_it() -> None:
    nodes = {"n1": node("Seed Everywhere", seed=7, value=["n2", 0]), "n2": node("PrimitiveInt", value=5)}
    assert plan(seeded(["n1", 0], **nodes)).seeds == ("n1.seed",)


def test_a_seed_in_a_bundle_of_values_is_followed() -> None:
    nodes = {
        "n1": node("Context Big (rgthree)", steps=["n3", 0], seed=["n2", 0], model=["4", 0]),
        "n2": node("JWInteger", value=5),
        "n3": node("JWInteger", value=20),
    }
    graph = seeded(["n1", 5], **nodes)
    for found in (plan(graph), plan(graph, known())):
        assert (found.seeds, found.seeds_unclear) == (("n2.value",), ())


def test_a_number_beside_a_circle_is_found() -> None:
    nodes = {"n1": node("Any Switch (rgthree)", any_01=["n1", 0], any_02=["n2", 0]), "n2": node("JWInteger", value=5)}
    assert plan(seeded(["n1", 0], **nodes)).seeds == ("n2.value",)


def test_a_circle_of_links_ends() -> None:
    graph = seeded(["n1", 0], n1=node("Reroute", value=["n2", 0]), n2=node("Reroute", value=["n1", 0]))
    assert plan(graph, known()).seeds_unclear == ("3.seed",)


@pytest.mark.parametrize("info", [None, known()], ids=["no node list", "node list"])
def test_links_without_number_or_end_cost_little(info: ObjectInfo | None) -> None:
    """1,500 seeds, each behind a line of 1,500 nodes that all feed one another."""
    nodes = {f"r{place}": node("Reroute", value=[f"r{place + 1}", 0]) for place in range(1_500)}
    nodes["r1500"] = node("PrimitiveInt", value=1)
    nodes |= {
        f"s{place}": node("KSampler", seed=["r0", 0], latent_image=[f"s{place + 1}", 0]) for place in range(1_500)
    }
    nodes["s1500"] = node("EmptyLatentImage", width=64, batch_size=1)
    nodes["8"] = node("VAEDecode", samples=["3", 0], vae=["zzzzzz", 0])
    nodes["zzzzzz"] = node("Loader", seed=1)
    graph = seeded(["r0", 0], **nodes)
    graph["3"]["inputs"]["latent_image"] = ["s0", 0]
    started = time.process_time()
    found = plan(graph, info)
    assert time.process_time() - started < 1.5
    assert found.seeds == ("r1500.value", "zzzzzz.seed")
    assert len(found.seeds_unclear) == 100, "after so many links nothing is guessed"
    assert found.batch_size == "s1500.batch_size"


# How many files a run makes


@pytest.mark.parametrize(
    ("class_type", "name", "most"),
    [("OpenAIDalle2", "n", 8), ("GrokImageNode", "number_of_images", 10), ("IdeogramV3", "num_images", 8)],
)
def test_nodes_of_services_say_how_many_images_they_make(class_type: str, name: str, most: int) -> None:
    graph = {
        "1": node(class_type, prompt="a", **{name: 1}),
        "9": node("SaveImage", images=["1", 0], filename_prefix="x"),
    }
    info = known(**{class_type: described("IMAGE", prompt="STRING", **{name: ["INT", {"min": 1, "max": most}]})})
    assert plan(graph).batch_size == f"1.{name}"
    found = plan(graph, info)
    assert (found.batch_size, found.batch_size_max) == (f"1.{name}", most)
    assert f"batch size: 1.{name} ({class_type}), at most {most}" in describe(found, graph)


@pytest.mark.parametrize("class_type", ["RepeatLatentBatch", "RepeatImageBatch"])
def test_a_node_that_repeats_decides_if_it_is_the_only_one(class_type: str) -> None:
    graph = diffusion()
    graph["3"]["inputs"]["latent_image"] = ["10", 0]
    graph["10"] = node(class_type, samples=["5", 0], amount=1)
    assert plan(graph).batch_sizes_unclear == ("5.batch_size", "10.amount")
    graph["5"] = node("VAEEncode", pixels=["6", 0])
    assert plan(graph).batch_size == "10.amount"


def test_only_that_counts_through_which_the_batch_comes() -> None:
    """The picture of a ControlNet is no member of the batch."""
    graph = diffusion()
    graph["3"]["inputs"]["positive"] = ["10", 0]
    graph["10"] = node("ControlNetApply", conditioning=["6", 0], image=["11", 0])
    graph["11"] = node("EmptyImage", width=64, batch_size=1)
    more = {
        "ControlNetApply": described("CONDITIONING", conditioning="CONDITIONING", image="IMAGE"),
        "EmptyImage": described("IMAGE", width="INT", batch_size="INT"),
        "KSampler": described("LATENT", seed=["INT", WIDE], positive="CONDITIONING", latent_image="LATENT"),
    }
    assert plan(graph, known(**more)).batch_size == "5.batch_size"
    assert plan(graph).batch_size is None


@pytest.mark.parametrize(
    "class_type",
    [
        *("ImageFromBatch", "ImageFromBatch+", "ImageBatch", "BatchImagesNode", "ImpactMakeImageBatch", "ImageGrid"),
        *(
            "ImageBatchMulti",
            "ImageMergeTileList",
            "MergeImageLists",
            "LatentCutToBatch",
            "RIFE VFI",
            "VHS_SplitImages",
        ),
    ],
)
def test_behind_a_node_that_counts_anew_nothing_decides(class_type: str) -> None:
    graph = diffusion()
    graph["9"]["inputs"]["images"] = ["10", 0]
    graph["10"] = node(class_type, image1=["8", 0], image2=["8", 0])
    found = plan(graph)
    assert (found.batch_size, found.batch_sizes_unclear) == (None, ())


@pytest.mark.parametrize(
    "class_type", ["LatentBatchSeedBehavior", "ImageScaleBy", "RebatchImages", "LatentInterpolate"]
)
def test_a_node_that_gives_as_many_as_it_takes_changes_nothing(class_type: str) -> None:
    graph = diffusion()
    graph["9"]["inputs"]["images"] = ["10", 0]
    graph["10"] = node(class_type, image=["8", 0])
    assert plan(graph).batch_size == "5.batch_size"


def test_a_film_that_is_saved_frame_by_frame_has_more_files_than_its_batch_size() -> None:
    graph = diffusion()
    graph["5"] = node("EmptyHunyuanLatentVideo", width=64, length=25, batch_size=1)
    assert plan(graph).batch_size is None
    graph["5"]["inputs"]["length"] = 1
    assert plan(graph).batch_size == "5.batch_size"


def test_one_number_that_two_latents_share_decides() -> None:
    graph = diffusion()
    graph["5"]["inputs"]["batch_size"] = ["n1", 0]
    graph["10"] = node("EmptyLatentImage", width=64, batch_size=["n1", 0])
    graph["n1"] = node("PrimitiveInt", value=1)
    graph["8"]["inputs"]["samples2"] = ["10", 0]
    assert plan(graph).batch_size == "n1.value"


def two_outputs(**more: Any) -> dict[str, Any]:
    """Two samplers with savers of their own."""
    graph = diffusion() | {
        "13": node("KSampler", seed=5, steps=2, latent_image=["15", 0]),
        "15": node("EmptyLatentImage", width=64, batch_size=4),
        "18": node("VAEDecode", samples=["13", 0], vae=["4", 2]),
        "19": node("SaveImage", images=["18", 0], filename_prefix="y"),
    }
    return graph | more


@pytest.mark.parametrize("value", [None, True, ["6", 0]])
def test_a_batch_size_that_is_no_number_is_not_filled_in(value: Any) -> None:
    graph = diffusion()
    graph["5"]["inputs"]["batch_size"] = value
    found = plan(graph)
    assert (found.batch_size, found.batch_sizes_unclear) == (None, ("5.batch_size",))


@pytest.mark.parametrize("value", ["%batch%", "4", 2.0])
def test_what_stands_for_a_batch_size_is_filled_in(value: Any) -> None:
    graph = diffusion()
    graph["5"]["inputs"]["batch_size"] = value
    assert plan(graph).batch_size == "5.batch_size"


def test_the_batch_sizes_of_several_outputs_get_the_same_number() -> None:
    graph = two_outputs()
    found = plan(graph, named=Named(("9", "19")))
    assert (found.batch_size, found.batch_sizes_too) == ("5.batch_size", ("15.batch_size",))
    assert "batch sizes: 5.batch_size (EmptyLatentImage), 15.batch_size (EmptyLatentImage)" in describe(found, graph)
    template = as_template(graph, found)
    assert template["15"]["inputs"]["batch_size"] is None
    filled = fill(template, found, prefixes=["p", "q"], seed=1, batch_size=2, inputs={})
    assert [filled[node_id]["inputs"]["batch_size"] for node_id in ("5", "15")] == [2, 2]
    refused = refusal(plan_workflow, graph, Named(("9", "19"), inputs={"n": "15.batch_size"}))
    assert (refused.code, refused.hint) == ("invalid_field", "Use `images_per_prompt`.")


def test_the_smallest_of_several_maxima_counts() -> None:
    graph = two_outputs(**{"15": node("Small", batch_size=1)})
    info = known(Small=described("LATENT", batch_size=["INT", {"min": 1, "max": 8}]))
    assert plan(graph, info, Named(("9", "19"))).batch_size_max == 8


def test_beside_an_output_without_batch_size_each_run_makes_one_file_of_each() -> None:
    graph = two_outputs(**{"15": node("VAEEncode", pixels=["21", 0]), "21": node("LoadImage", image="a.png")})
    found = plan(graph, named=Named(("9", "19")))
    assert (found.batch_size, found.batch_size_max) == ("5.batch_size", 1)
    assert plan(graph, named=Named(("19",))).batch_size_max is None
    assert plan(graph, named=Named(("9",))).batch_size_max is None


def test_an_output_with_two_batch_sizes_makes_all_unclear() -> None:
    graph = two_outputs()
    graph["18"]["inputs"]["mask"] = ["20", 0]
    graph["20"] = node("EmptyImage", width=64, batch_size=1)
    found = plan(graph, named=Named(("9", "19")))
    assert (found.batch_size, found.batch_sizes_unclear) == (None, ("15.batch_size", "20.batch_size"))


def test_a_linked_batch_size_comes_from_the_input_of_that_name() -> None:
    graph = diffusion()
    graph["5"]["inputs"]["batch_size"] = ["n1", 2]
    graph["n1"] = node("Sizes", value=64, batch_size=1)
    assert plan(graph).batch_size == "n1.batch_size"


def test_of_the_outputs_of_a_loader_only_a_latent_or_an_image_counts() -> None:
    graph = diffusion()
    del graph["5"]
    graph["12"] = node("CR SDXL Aspect Ratio", width=64, height=64, batch_size=1)
    graph["3"]["inputs"]["latent_image"] = ["12", 4]
    assert plan(graph).batch_size == "12.batch_size"
    graph["3"]["inputs"] |= {"latent_image": ["13", 0], "width": ["12", 0]}
    assert plan(graph).batch_size is None


def test_of_a_class_that_is_known_the_slot_says_whether_a_batch_comes_from_it() -> None:
    graph = diffusion()
    graph["12"] = node("Sizes", batch_size=1)
    graph["3"]["inputs"]["extra"] = ["12", 1]
    info = known(
        Sizes=described("LATENT INT", batch_size="INT"),
        KSampler=described("LATENT", seed=["INT", WIDE], latent_image="LATENT", extra="*"),
    )
    assert plan(graph, info).batch_size == "5.batch_size"
    graph["3"]["inputs"]["extra"] = ["12", 0]
    assert plan(graph, info).batch_sizes_unclear == ("5.batch_size", "12.batch_size")


def test_a_plan_without_numbers_is_as_it_always_was() -> None:
    assert plan_of(diffusion()) == Plan("9", "9.filename_prefix", ("3.seed",), "5.batch_size", {})


def test_a_refusal_is_printable() -> None:
    graph = seeded(5)
    graph["\u00e9" * 100] = node("KSampler", seed=1, latent_image=["3", 0])
    graph["8"]["inputs"]["samples"] = ["\u00e9" * 100, 0]
    info = known(KSampler=described("LATENT", seed=["INT", {"min": 3, "max": 2}], latent_image="LATENT"))
    with pytest.raises(Refused) as refused:
        plan(graph, info)
    assert (refused.value.message + refused.value.hint + refused.value.path).isprintable()
