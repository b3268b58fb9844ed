"""`recipe` for people and for scripts: what made an image, and the graph alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from comfyledger import wire
from comfyledger.cli import base
from comfyledger.errors import Refused

BATCH = "01JD0000000000000000ABCDEF"
GRAPH = {"9": {"class_type": "SaveImage", "inputs": {"text": "a fox", "api_key": "***"}}}
RECIPE = wire.Recipe(
    image_id=f"{BATCH}/1",
    batch_id=BATCH,
    index=1,
    number=17,
    public_id="f/n_17",
    state="stored",
    username="Areg",
    character="Opal Fever",
    workflow="portrait",
    inputs={"prompt": "a fox in snow", "9.strength": 0.5},
    defaults={"steps": 20},
    seed=7,
    seeds=["3.seed"],
    batch_size=2,
    batch_sizes=["5.batch_size"],
    outputs=[
        wire.RecipeOutput("9", "image", "9.filename_prefix", "comfyledger/b/17-a1"),
        wire.RecipeOutput("10", "image", "10.filename_prefix", "comfyledger/b/17-a1-o2", is_run=False),
    ],
    images=[wire.ImageGiven(1, 17, "n_17", "f/n_17"), wire.ImageGiven(2, 18, "n_18", "f/n_18")],
    backend="main",
    prompt=1,
    attempt=1,
    prompt_id="5f1b0c1e-7d0a-5a5e-9c51-0d3a1d1f7c11",
    version="0.29.0",
    left_out=["12"],
    requested_at_ms=1_000,
    submitted_at_ms=2_000,
    finished_at_ms=3_000,
    kept_at_ms=4_000,
    stored_at_ms={"folder": 5_000},
    sha256="ab" * 32,
)
EARLIER = wire.RecipeGap("left_out", "not_recorded", "It was not recorded whether nodes were left out.")
ERASED = wire.RecipeGap("graph", "forgotten", "The graph was forgotten, as requested.")


def told(text: str) -> list[tuple[str, str]]:
    """Title and words of each line but the first."""
    lines = [line.strip().split("  ", 1) for line in text.splitlines()[1:]]
    return [(title, words.strip()) for title, words in lines]


def test_a_person_reads_what_made_an_image(door: Any, run: Any) -> None:
    door.answers["get_recipe"] = RECIPE
    result = run("recipe", "f/n_17")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (base.DONE, "f/n_17")
    found = [(title, words) for title, words in told(result.stdout) if not words.startswith("19")]
    assert found == [
        ("state", f"stored, image 1 of batch {BATCH}"),
        ("for", "Areg · Opal Fever"),
        ("workflow", "portrait"),
        ("prompt", "a fox in snow"),
        ("9.strength", "0.5"),
        ("steps", "20 (as in the workflow)"),
        ("seed", "7 at 3.seed"),
        ("same run", "n_18"),
        ("backend", "main, ComfyUI 0.29.0"),
        ("run", "attempt 1 of prompt 1, 5f1b0c1e-7d0a-5a5e-9c51-0d3a1d1f7c11"),
        ("files", "comfyledger/b/17-a1"),
        ("not sent", "nodes 12"),
        ("sha256", "ab" * 32),
    ]
    times = [title for title, words in told(result.stdout) if words.startswith("19")]
    assert times == ["requested", "submitted", "finished", "kept", "stored"]
    assert door.requests("get_recipe") == [{"image": "f/n_17"}]


def test_what_is_missing_is_said_and_nothing_is_made_up(door: Any, run: Any) -> None:
    door.answers["get_recipe"] = replace(
        RECIPE,
        inputs=None,
        defaults={},
        version="",
        attempt=0,
        prompt_id="",
        left_out=None,
        workflow="",
        missing=[ERASED],
    )
    found = told(run("recipe", "f/n_17").stdout)
    assert ("missing", "The graph was forgotten, as requested.") in found
    assert ("workflow", "a graph of the request") in found
    assert ("backend", "main") in found
    assert not {"prompt", "steps", "run", "files", "not sent"} & {title for title, _ in found}


def test_a_name_from_a_stranger_cannot_steer_the_terminal(door: Any, run: Any) -> None:
    door.answers["get_recipe"] = replace(RECIPE, inputs={"prompt\x1b[2J": "\x1b]0;x\x07\n"})
    assert "\x1b" not in run("recipe", "f/n_17").stdout


def test_the_graph_is_all_that_stands_on_standard_output(door: Any, run: Any) -> None:
    door.answers["get_recipe"] = replace(RECIPE, graph=GRAPH, masked=["9.api_key"], missing=[EARLIER])
    result = run("recipe", "f/n_17", "--graph")
    assert (result.exit_code, json.loads(result.stdout)) == (base.DONE, GRAPH)
    assert result.stderr.splitlines() == ["Secrets are masked as ***: 9.api_key.", EARLIER.text]
    assert door.requests("get_recipe") == [{"image": "f/n_17", "graph": True}]


def test_files_are_told_by_the_inputs_that_load_them(door: Any, run: Any) -> None:
    name = f"comfyledger/ab/{'ab' * 32}.png"
    files = [
        wire.RecipeFile("picture", "5.image", "", "ab" * 32, "png", 1_500, name),
        wire.RecipeFile("6.image", "6.image", f"{BATCH}/2", "cd" * 32, "jpg", 7, "x"),
        wire.RecipeFile("7.image", "7.image", f"{BATCH}/3"),
    ]
    door.answers["get_recipe"] = replace(RECIPE, files=files, graph=GRAPH, left_out=[])
    found = told(run("recipe", "f/n_17").stdout)
    assert ("picture", f"input sha256:{'ab' * 32}, png, 1,500 bytes") in found
    assert ("6.image", f"image {BATCH}/2, sha256:{'cd' * 32}, jpg, 7 bytes") in found
    assert ("7.image", f"image {BATCH}/3, not used yet") in found
    aside = run("recipe", "f/n_17", "--graph").stderr
    assert " ".join(aside.split()) == f"ComfyUI must have in its input folder: {name}, x."


def test_without_a_graph_the_reason_is_said(door: Any, run: Any) -> None:
    door.answers["get_recipe"] = replace(RECIPE, missing=[ERASED])
    result = run("recipe", "f/n_17", "--graph")
    assert (result.exit_code, result.stdout) == (base.REFUSED, "")
    assert result.stderr == "forgotten: The graph was forgotten, as requested.\n"


def test_a_script_gets_the_answer_itself(door: Any, run: Any) -> None:
    door.answers["get_recipe"] = RECIPE
    said = json.loads(run("recipe", "f/n_17", "--json").stdout)
    assert (said["image_id"], said["inputs"], said["stored_at_ms"]) == (
        RECIPE.image_id,
        RECIPE.inputs,
        {"folder": 5_000},
    )


@pytest.mark.parametrize(("name", "found"), [("n_17", True), ("none_17", False), ("f/n_17", False)])
def test_a_name_without_its_folder_is_looked_up(door: Any, run: Any, name: str, found: bool) -> None:
    def answer(data: dict[str, Any]) -> wire.Recipe:
        if data["image"] != RECIPE.image_id:
            raise Refused("unknown_image")
        return RECIPE

    image = wire.ImageInfo(RECIPE.image_id, BATCH, 1, 17, "n_17", "f/n_17", "stored", 1)
    door.answers["get_recipe"] = answer
    door.answers["explain"] = wire.Explanation("image", "e1", [], [], image=image if name == "n_17" else None)
    assert run("recipe", name).exit_code == (base.DONE if found else base.REFUSED)
    assert bool(door.requests("explain")) == ("/" not in name)
