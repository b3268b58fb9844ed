"""Every medium of the stand-in: its file, its key in the history, and the savers that behave in odd ways."""

from __future__ import annotations

import io
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comfyledger.sim.comfyui.media.clips import track_number
from comfyledger.workers.media.broken_file import Broken
from comfyledger.workers.media.media_file import pin
from support.media_graphs import SAVERS, graph_of

SECRET = "sk-typed-into-a-node"
PIXELS_MAX = 10**8
LINES_BYTES = 32 * (8 + 32 * 3 * 4)
"""The pixels of an EXR of 32 x 32 pixels, each line with its number and its length."""


async def ran(box: Any, medium: str, color: int = 7, **more: Any) -> tuple[dict[str, Any], list[Path]]:
    """The output of the saver in the history, and its files in the order in which they were written."""
    graph = graph_of(medium, color, prefix=f"p/{uuid.uuid4()}", **more)
    graph["9"]["inputs"]["api_key"] = SECRET
    prompt_id = await box.submit(graph)
    await box.finished(prompt_id)
    entry = json.loads((await box.get(f"/history/{prompt_id}"))[1])[prompt_id]
    assert entry["status"]["status_str"] == "success"
    files = [one["path"] for one in (await box.ledger())["files"] if one["prompt_id"] == prompt_id]
    return entry["outputs"].get("9", {}), [box.output / path for path in files]


@pytest.mark.parametrize("medium", SAVERS)
async def test_a_file_is_whole_names_its_prompt_and_is_shown_under_its_key(box: Any, medium: str) -> None:
    shown, files = await ran(box, medium)
    key, ending, animated = SAVERS[medium][1:]
    assert [one["filename"] for one in shown[key]] == [files[-1].name]
    assert files[-1].name.endswith(ending)
    assert shown.get("animated") == ([True] if animated else None)
    raw = files[-1].read_bytes()
    assert SECRET.encode() in raw or medium in {"gif", "text"}
    assert await box.get("/view", filename=files[-1].name, subfolder=shown[key][0]["subfolder"]) == (200, raw)
    if medium not in {"text", "exr"}:
        proved = pin(io.BytesIO(raw), io.BytesIO(), strip=False, pixels_max=PIXELS_MAX)
        assert ending.endswith({"ogg": "opus"}.get(proved.extension, proved.extension))


@pytest.mark.parametrize("medium", [medium for medium in SAVERS if medium != "text"])
async def test_the_bytes_follow_what_was_asked_for_and_nothing_else(box: Any, medium: str) -> None:
    def content(files: list[Path]) -> bytes:
        """Without what differs in every prompt: its prefix."""
        raw = files[-1].read_bytes()
        if medium == "exr":
            return raw[-LINES_BYTES:]
        out = io.BytesIO()
        pin(io.BytesIO(raw), out, strip=True, pixels_max=PIXELS_MAX)
        return out.getvalue()

    seven, again, eight = [content((await ran(box, medium, color))[1]) for color in (7, 7, 8)]
    assert seven == again != eight


@pytest.mark.parametrize("medium", ["mp4", "webm", "flac", "glb", "mp3", "opus"])
async def test_a_cut_file_is_not_whole(box: Any, medium: str) -> None:
    raw = (await ran(box, medium))[1][-1].read_bytes()
    for cut in (1, 4, 20, len(raw) // 2, len(raw) - 16):
        with pytest.raises(Broken):
            pin(io.BytesIO(raw[:-cut]), io.BytesIO(), strip=False, pixels_max=PIXELS_MAX)


def test_a_webm_shows_by_its_track_for_what_it_was_made() -> None:
    assert track_number("a") != track_number("b")
    assert len(track_number("a")) == 8


async def test_a_video_with_sound_is_written_silent_first(box: Any) -> None:
    graph = graph_of("vhs", 7, prefix="v/x", sound_too=True)
    await box.control(hold=["between_files"])
    prompt_id = await box.submit(graph)
    await box.held_at("between_files")
    assert sorted(path.name for path in (box.output / "v").iterdir()) == ["x_00001.mp4", "x_00001.png"]
    silent = (box.output / "v" / "x_00001.mp4").read_bytes()
    pin(io.BytesIO(silent), io.BytesIO(), strip=False, pixels_max=PIXELS_MAX)
    await box.control(hold=[])
    await box.finished(prompt_id)
    entry = json.loads((await box.get(f"/history/{prompt_id}"))[1])[prompt_id]
    (seen,) = entry["outputs"]["9"]["gifs"]
    assert (seen["filename"], seen["format"]) == ("x_00001-audio.mp4", "video/h264-mp4")
    assert (box.output / "v" / "x_00001-audio.mp4").read_bytes() != silent


async def test_a_saver_that_makes_no_folder_saves_nothing_and_does_not_say_so(box: Any) -> None:
    assert await ran(box, "was") == ({"images": []}, [])
    shown, (file,) = await ran(box, "was", in_folder=False)
    assert shown["images"][0]["filename"] == file.name
    assert await ran(box, "websocket") == ({}, [])
    assert await ran(box, "words") == ({"text": ["7"]}, [])


async def test_a_node_may_make_more_images_than_its_inputs_say(box: Any) -> None:
    shown, files = await ran(box, "frames")
    assert len(shown["images"]) == len(files) == 3
    assert len({path.read_bytes() for path in files}) == 3


async def test_what_one_output_wrote_stays_in_the_history_when_another_fails(box: Any) -> None:
    graph = graph_of("mp4", 7, prefix="p/a")
    graph |= {"10": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "p/b"}}}
    await box.control(fail_nodes={"9": 1})
    prompt_id = await box.submit(graph)
    await box.finished(prompt_id)
    entry = json.loads((await box.get(f"/history/{prompt_id}"))[1])[prompt_id]
    assert (list(entry["outputs"]), entry["status"]["status_str"]) == (["10"], "error")
    assert entry["status"]["messages"][-1][1]["node_id"] == "9"
    prompt_id = await box.submit(graph, partial_execution_targets=["9", "10"])
    await box.finished(prompt_id)
    entry = json.loads((await box.get(f"/history/{prompt_id}"))[1])[prompt_id]
    assert sorted(entry["outputs"]) == ["10", "9"]


async def test_inputs_are_checked_as_the_catalogue_describes_them(box: Any) -> None:
    graph = graph_of("exr", 7, prefix="p/x")
    del graph["9"]["inputs"]["format.bit_depth"]
    graph |= {"8": {"class_type": "SaveVideo", "inputs": {"video": ["1", 0], "format": "avi"}}}
    status, answer = await box.post("/prompt", {"prompt": graph})
    errors = json.loads(answer)["node_errors"]
    assert status == 400
    assert [one["type"] for one in errors["9"]["errors"]] == ["required_input_missing"]
    assert [one["type"] for one in errors["8"]["errors"]] == [
        "return_type_mismatch",
        "required_input_missing",
        "value_not_in_list",
        "required_input_missing",
    ]


async def test_an_animation_has_as_many_frames_as_pictures(box: Any) -> None:
    for medium in ("webp", "apng", "gif"):
        with Image.open((await ran(box, medium, batch_size=3))[1][-1]) as image:
            assert getattr(image, "n_frames", 1) == 3
