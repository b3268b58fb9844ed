"""Laws of reading the workflow in a file: what a request can carry comes out, and no more than that is read."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from comfyledger.client import read_workflow, workflow_files
from comfyledger.sim.comfyui.media.stills import animated_png, animated_webp
from comfyledger.wire.strict import PARTS_MAX
from support.graphs import diffusion, refusal

PICTURES = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]


@pytest.mark.parametrize("made", [animated_png, animated_webp])
def test_a_picture_gives_its_graph_whatever_its_name_is(tmp_path: Path, made: Any) -> None:
    path = tmp_path / "saved.bin"
    path.write_bytes(made(PICTURES, 8.0, {"prompt": diffusion()}))
    assert read_workflow(path) == diffusion()


@pytest.mark.parametrize("is_picture", [False, True])
def test_standard_input_is_read_like_a_file(monkeypatch: pytest.MonkeyPatch, is_picture: bool) -> None:
    content = animated_png(PICTURES, 8.0, {"prompt": diffusion()}) if is_picture else json.dumps(diffusion()).encode()
    monkeypatch.setattr(workflow_files.sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    assert read_workflow("-") == diffusion()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "workflow_invalid"),
        (b"[1]", "workflow_invalid"),
        (b"\xff", "workflow_invalid"),
        (b"1" * 5_000, "workflow_invalid"),
        (b"[" * 100_000, "workflow_invalid"),
        (b'{"1": 1, "1": 2}', "invalid_field"),
        (b'{"1": NaN}', "workflow_invalid"),
        (b" " * workflow_files.WORKFLOW_BYTES_MAX + b"{}", "graph_too_large"),
        (b'{"nodes":[' + b"[]," * PARTS_MAX + b"[]]}", "graph_too_large"),
        (b"RIFF\0\0\0\0WEBP", "workflow_invalid"),
    ],
)
def test_a_file_without_a_workflow_is_refused_by_code(tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "g.json").write_bytes(content)
    assert refusal(read_workflow, tmp_path / "g.json").code == code


@pytest.mark.parametrize("path", ["none.json", ".", "a\0b.json"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, path: str) -> None:
    assert refusal(read_workflow, f"{tmp_path}/{path}").code == "workflow_invalid"


def test_the_indentation_of_a_file_does_not_count(tmp_path: Path) -> None:
    graph = {str(place): {"class_type": "A", "inputs": {"a": 1}} for place in range(12_000)}
    (tmp_path / "g.json").write_text(json.dumps(graph, indent=4))
    assert (tmp_path / "g.json").stat().st_size > 2**20 > len(json.dumps(graph))
    assert read_workflow(tmp_path / "g.json") == graph


def test_no_more_of_a_file_is_held_than_a_request_may_have() -> None:
    tracemalloc.start()
    assert refusal(read_workflow, "/dev/zero").code == "graph_too_large"
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 4 * workflow_files.WORKFLOW_BYTES_MAX
