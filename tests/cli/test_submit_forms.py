"""The files that `submit --workflow` takes a graph from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comfyledger import wire
from comfyledger.cli import base
from comfyledger.errors import Refused
from comfyledger.sim.comfyui.media.stills import animated_png, animated_webp
from support.graphs import diffusion

ACCEPTED = wire.BatchAccepted("01JD0000000000000000ABCDEF", "e1", 1, 1, [1], ["n_1"], ["f/n_1"], [])


def sent(door: Any, run: Any, path: Path | str) -> Any:
    door.answers["submit_batch"] = ACCEPTED
    assert run("submit", "a", "b", "--workflow", str(path)).exit_code == 0
    return door.requests("submit_batch")[0]["workflow"]


@pytest.mark.parametrize(
    ("name", "made"), [("a.PNG", animated_png), ("a.webp", animated_webp), ("a.jpg", animated_png)]
)
def test_a_picture_is_sent_as_its_graph(door: Any, run: Any, tmp_path: Path, name: str, made: Any) -> None:
    pictures = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    (tmp_path / name).write_bytes(made(pictures, 8.0, {"prompt": diffusion(), "workflow": {"nodes": []}}))
    assert sent(door, run, tmp_path / name) == diffusion()


@pytest.mark.parametrize("name", ["json", "png", "portrait", "json-2"])
def test_a_word_without_an_ending_is_a_configured_workflow(door: Any, run: Any, name: str) -> None:
    assert sent(door, run, name) == name


def test_numbers_that_comfyui_does_not_look_at_are_left_out(door: Any, run: Any, tmp_path: Path) -> None:
    text = '\ufeff{"1": {"class_type": "A", "inputs": {"x": 1}, "is_changed": [NaN]}}'
    (tmp_path / "g.json").write_text(text, encoding="utf-8")
    assert sent(door, run, tmp_path / "g.json") == {"1": {"class_type": "A", "inputs": {"x": 1}}}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("g.json", '{"1": 1, "1": 2}', "twice"),
        ("g.png", "no picture", "Export (API)"),
        ("g.webp", "RIFF....WEBP", "no workflow in the picture"),
        ("none.webp", None, "cannot be read"),
        ("a.mp4", "\udcff", "neither JSON nor a PNG"),
    ],
)
def test_a_file_without_a_graph_asks_nobody(
    door: Any, run: Any, tmp_path: Path, name: str, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8", errors="surrogateescape")
    result = run("submit", "a", "b", "--workflow", str(tmp_path / name))
    assert result.exit_code == base.USAGE
    assert said in " ".join(result.stderr.split())
    assert not door.asked


def test_a_wrapped_graph_is_sent_whole_so_that_the_daemon_names_the_rest(door: Any, run: Any, tmp_path: Path) -> None:
    (tmp_path / "g.json").write_text(json.dumps({"input": {"workflow": diffusion()}, "_meta": 1}))
    assert sent(door, run, tmp_path / "g.json") == {"input": {"workflow": diffusion()}, "_meta": 1}


def test_like_sends_the_image_and_what_was_typed_alone(door: Any, run: Any) -> None:
    door.answers["submit_batch"] = ACCEPTED
    assert run("submit", "--like", "f/n_1", "--seed", "+1", "--request-id", "r2").exit_code == 0
    assert run("submit", "Nare", "Sun", "--like", "b1/2", "--seed", "random", "--request-id", "r3").exit_code == 0
    bare, full = door.requests("submit_batch")
    assert bare == {"request_id": "r2", "like": "f/n_1", "seed": "+1"}
    assert full == {"request_id": "r3", "like": "b1/2", "seed": "random", "username": "Nare", "character": "Sun"}


@pytest.mark.parametrize(("name", "found"), [("n_17", True), ("none_17", False), ("f/n_17", False)])
def test_like_takes_a_name_without_its_folder(door: Any, run: Any, name: str, found: bool) -> None:
    def answer(data: dict[str, Any]) -> wire.BatchAccepted:
        if data["like"] != "b1/3":
            raise Refused("unknown_image")
        return ACCEPTED

    image = wire.ImageInfo("b1/3", "b1", 3, 17, "n_17", "f/n_17", "stored", 1)
    door.answers["submit_batch"] = answer
    door.answers["explain"] = wire.Explanation("image", "e1", [], [], image=image if found else None)
    assert run("submit", "--like", name).exit_code == (base.DONE if found else base.REFUSED)
    assert bool(door.requests("explain")) == ("/" not in name)


@pytest.mark.parametrize("words", [(), ("Areg",), ("Areg", "Opal", "--seed", "often"), ("a", "b", "--seed", "+x")])
def test_what_no_daemon_could_take_asks_nobody(door: Any, run: Any, words: tuple[str, ...]) -> None:
    assert run("submit", *words).exit_code == base.USAGE
    assert door.requests("submit_batch") == []
