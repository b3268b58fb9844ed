"""The loaders of the stand-in: what they take, what they make of it, and how a file fails that is gone or broken.

Refusals, errors, lists and what is loaded anew are those of a real ComfyUI 0.29.0 (PyAV 18.1) in the same calls.
"""

from __future__ import annotations

import io
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comfyledger.sim.comfyui.media import clips, sounds, stills
from comfyledger.sim.comfyui.server import SimOptions, serve
from support.graphs import node

Graph = dict[str, Any]


def png(seed: int, px: int = 8) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (px, px), (seed, 0, 0)).save(out, "PNG")
    return out.getvalue()


def mp4(seed: int) -> bytes:
    return clips.mp4(f"clip {seed}", {})


def flac(seed: int) -> bytes:
    return sounds.flac(sounds.Sound(1.0, 44_100, 2, str(seed)), {})


def glb(seed: int) -> bytes:
    return stills.glb(stills.Mesh(str(seed)), {})


def saved(images: list[Any]) -> Graph:
    return node("SaveImage", images=images, filename_prefix=f"p/{uuid.uuid4()}")


def loading(image: Any, loader: str = "LoadImage", name: str = "image") -> Graph:
    return {"1": node(loader, **{name: image}), "9": saved(["1", 0])}


def masking(name: str) -> Graph:
    return {
        "1": node("LoadImageMask", image=name, channel="red"),
        "2": node("MaskToImage", mask=["1", 0]),
        "9": saved(["2", 0]),
    }


def playing(name: str) -> Graph:
    prefix = f"p/{uuid.uuid4()}"
    saver = node("SaveVideo", video=["1", 0], filename_prefix=prefix, format="auto", codec="auto")
    return {"1": node("LoadVideo", file=name), "9": saver}


def sounding(name: str) -> Graph:
    saver = node("SaveAudio", audio=["1", 0], filename_prefix=f"p/{uuid.uuid4()}")
    return {"1": node("LoadAudio", audio=name), "9": saver}


def modelling(name: str) -> Graph:
    drawn = dict.fromkeys(("image", "mask", "normal"), "example.png") | {"recording": "", "camera_info": {}}
    saver = node("SaveGLB", mesh=["1", 6], filename_prefix=f"p/{uuid.uuid4()}")
    return {"1": node("Load3D", model_file=name, image=drawn, width=64, height=64), "9": saver}


def combining(name: str) -> Graph:
    frames = {"frame_load_cap": 2, "skip_first_frames": 1, "select_every_nth": 1}
    size = {"force_rate": 0, "custom_width": 0, "custom_height": 0}
    return {"1": node("VHS_LoadVideo", video=name, **size, **frames), "9": saved(["1", 0])}


def taking_apart(name: str) -> Graph:
    parts = {"2": node("GetVideoComponents", video=["1", 0]), "9": saved(["2", 0])}
    return {"1": node("LoadVideo", file=name)} | parts


LOADERS: dict[str, tuple[Callable[[str], Graph], Callable[[int], bytes], str]] = {
    "LoadImage": (loading, png, "a.png"),
    "LoadImageMask": (masking, png, "a.png"),
    "LoadImageOutput": (lambda name: loading(name, "LoadImageOutput"), png, "a.png"),
    "LoadVideo": (playing, mp4, "a.mp4"),
    "LoadAudio": (sounding, flac, "a.flac"),
    "Load3D": (modelling, glb, "a.glb"),
    "VHS_LoadVideo": (combining, mp4, "a.mp4"),
}
"""A graph that loads a file, what such files hold, and a name."""


async def made(box: Any, graph: Graph) -> list[bytes]:
    """What tells the files apart that a graph gives: of a picture the first pixels, since its own name is drawn."""

    def content(path: Path) -> bytes:
        if path.suffix != ".png":
            return path.read_bytes().replace(json.dumps(graph).encode(), b"")
        with Image.open(path) as image:
            return repr(image.size).encode() + image.crop((0, 0, image.width, 2)).tobytes()

    files = (await box.finished(await box.submit(graph))).outputs["9"]
    return [content(box.output / file.subfolder / file.filename) for file in files]


async def failed(box: Any, graph: Graph, before_it_runs: Callable[[], object]) -> tuple[str, str, str]:
    """Node, type and text of the error of a graph that was taken, and whose file changes before it runs."""
    await box.control(hold=["start"])
    prompt_id = await box.submit(graph)
    await box.held_at("start")
    before_it_runs()
    await box.control(hold=[])
    error = (await box.finished(prompt_id)).error
    return error.node_id, error.exception_type, error.exception_message


async def refusals(box: Any, graph: Graph) -> list[tuple[str, str]]:
    status, body = await box.post("/prompt", {"prompt": graph})
    assert status == 400
    (errors,) = [found["errors"] for found in json.loads(body)["node_errors"].values()]
    return [(error["type"], error["details"]) for error in errors]


# ---- what is there


async def test_a_new_input_folder_has_an_example_and_an_emptied_one_stays_empty(box: Any) -> None:
    (example,) = box.input.iterdir()
    assert example.name == "example.png"
    example.unlink()
    async with await serve(SimOptions(output=box.output)):
        assert list(box.input.iterdir()) == []


@pytest.mark.parametrize(
    ("loader", "name", "config"),
    [
        ("LoadImage", "image", [[".c.gif", "a.webp", "b.PNG", "example.png"], {"image_upload": True}]),
        ("LoadImageMask", "image", [[".c.gif", "a.webp", "b.PNG", "example.png"], {"image_upload": True}]),
        ("LoadVideo", "file", ["COMBO", {"multiselect": False, "options": ["e.mp4"], "video_upload": True}]),
        ("LoadAudio", "audio", ["COMBO", {"multiselect": False, "options": ["e.mp4", "f.mp3"], "audio_upload": True}]),
        (
            "Load3D",
            "model_file",
            ["COMBO", {"multiselect": False, "options": ["none", "3d/deep/h.obj"], "file_upload": True}],
        ),
        ("VHS_LoadVideo", "video", [["e.mp4"]]),
        ("PickPicture", "picture", [[".c.gif", "a.webp", "b.PNG", "example.png"]]),
    ],
)
async def test_object_info_lists_the_top_level_of_the_folder(
    box: Any, loader: str, name: str, config: list[Any]
) -> None:
    """Bodies are listed below `3d` only, however deep."""
    (box.input / "3d" / "deep").mkdir(parents=True)
    for path in ("b.PNG", "a.webp", ".c.gif", "d.txt", "e.mp4", "f.mp3", "g.glb", "3d/deep/h.obj", "3d/deep/i.png"):
        (box.input / path).touch()
    await box.upload(png(1), subfolder="deep")
    (box.input / "folder.png").mkdir()
    info = json.loads((await box.get(f"/object_info/{loader}"))[1])[loader]
    assert info["input"]["required"][name] == config


# ---- what is made of it


@pytest.mark.parametrize("box", [{"disable_metadata": True}], indirect=True)
@pytest.mark.parametrize("loader", LOADERS)
async def test_what_is_loaded_decides_what_is_made(box: Any, loader: str) -> None:
    graph, content, name = LOADERS[loader]
    for folder, seed in (("x", 1), ("y", 1), ("z", 2)):
        await box.upload(content(seed), name, subfolder=folder)
    x, y, z = [await made(box, graph(f"{folder}/{name}")) for folder in "xyz"]
    assert x == y
    assert len({*x, *z}) == len(x) + len(z)


async def test_a_picture_keeps_its_size_and_an_animation_has_all_its_pictures(box: Any) -> None:
    await box.upload(png(1, px=16))
    out = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (10, 90, 200)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    await box.upload(out.getvalue(), "a.gif")
    assert [size[:8] for size in await made(box, loading("a.png [input]"))] == [b"(16, 16)"]
    assert len(set(await made(box, loading("a.gif")))) == 3


async def test_a_picture_goes_on_through_scaling_and_sampling(box: Any) -> None:
    graph = box.sampled(7)
    graph["1"] = node("LoadImage", image="a.png")
    graph["2"] = node("ImageScaleBy", image=["1", 0], upscale_method="lanczos", scale_by=2.0)
    masked = node("VAEEncodeForInpaint", pixels=["2", 0], vae=["4", 2], mask=["1", 1], grow_mask_by=6)
    seen = []
    for seed in (1, 2):
        await box.upload(png(seed), overwrite="true")
        for encode in (node("VAEEncode", pixels=["2", 0], vae=["4", 2]), masked):
            graph["5"] = encode
            graph["9"] = saved(["8", 0])
            seen += await made(box, graph)
    assert len(set(seen)) == 4
    assert all(one.startswith(b"(16, 16)") for one in seen)


@pytest.mark.parametrize("box", [{"disable_metadata": True}], indirect=True)
async def test_a_body_is_copied(box: Any) -> None:
    await box.upload(glb(1), "a.glb", subfolder="3d")
    assert await made(box, modelling("3d/a.glb")) == [glb(1)]


def _written_anew(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _at_the_same_time(path: Path, content: bytes) -> None:
    stat = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _touched(path: Path, _: bytes) -> None:
    os.utime(path, (1, 1))


@pytest.mark.parametrize("change", [_written_anew, _at_the_same_time, _touched])
@pytest.mark.parametrize(
    ("loader", "noticed"),
    [
        ("LoadImage", {_written_anew, _at_the_same_time}),
        ("LoadImageMask", {_written_anew, _at_the_same_time}),
        ("LoadAudio", {_written_anew, _at_the_same_time}),
        ("LoadVideo", {_written_anew, _touched}),
        ("Load3D", set()),
    ],
)
async def test_a_replaced_file_is_loaded_anew_if_its_loader_notices(
    box: Any, loader: str, noticed: set[Any], change: Callable[[Path, bytes], None]
) -> None:
    graph, content, name = LOADERS[loader]
    path = box.input / name
    path.write_bytes(content(1))
    await box.finished(await box.submit(graph(name)))
    change(path, content(2))
    await box.finished(await box.submit(graph(name)))
    assert ("1" in (await box.ledger())["prompts"][-1]["executed"]) is (change in noticed)


async def test_what_looks_at_nothing_gives_an_old_picture_of_the_same_name(box: Any) -> None:
    await box.upload(png(1))
    before = await made(box, loading("a.png", "PickPicture", "picture"))
    await box.upload(png(2), overwrite="true")
    assert await made(box, loading("a.png", "PickPicture", "picture")) == before


# ---- what is refused or fails


@pytest.mark.parametrize(
    ("loader", "word"),
    [("LoadImage", "image"), ("LoadVideo", "video"), ("LoadAudio", "audio"), ("VHS_LoadVideo", "video")],
)
@pytest.mark.parametrize("name", ["gone.bin", "deep/gone.bin", "../output/a.png", "gone.bin [output]", "/etc/hosts"])
async def test_a_name_that_is_not_there_is_refused(box: Any, loader: str, word: str, name: str) -> None:
    graph = LOADERS[loader][0](name)
    (named,) = [each for each, value in graph["1"]["inputs"].items() if value == name]
    text = f"{named} - Invalid {word} file: {name}"
    assert await refusals(box, graph) == [("custom_validation_failed", text)]


async def test_a_link_out_of_the_folder_is_not_there(box: Any, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(1))
    (box.input / "a.png").symlink_to(tmp_path / "secret.png")
    assert await refusals(box, loading("a.png")) == [
        ("custom_validation_failed", "image - Invalid image file: a.png"),
    ]


async def test_a_body_that_is_not_there_is_refused_for_each_input(box: Any) -> None:
    """And no other value is looked at."""
    graph = modelling("gone.glb")
    graph["1"]["inputs"]["width"] = 99_999
    text = "Invalid 3D model file: gone.glb"
    assert await refusals(box, graph) == [
        ("custom_validation_failed", f"{name} - {text}") for name in ("model_file", "image", "width", "height")
    ]
    graph["1"]["inputs"]["model_file"] = "none"
    assert (await box.post("/prompt", {"prompt": graph}))[0] == 200


async def test_a_class_that_says_nothing_takes_names_of_its_list_only(box: Any) -> None:
    await box.upload(png(1), subfolder="deep")
    assert await refusals(box, loading("deep/a.png", "PickPicture", "picture")) == [
        ("value_not_in_list", "picture: 'deep/a.png' not in ['example.png']"),
    ]
    await box.upload(png(1))
    assert len(await made(box, loading("a.png", "PickPicture", "picture"))) == 1


_GONE = "[Errno 2] No such file or directory: '{path}'"
_INVALID = "[Errno 1094995529] Invalid data found when processing input: '{path}'"
_AV_GONE, _AV_INVALID = "av.error.FileNotFoundError", "av.error.InvalidDataError"


@pytest.mark.parametrize(
    ("loader", "content", "error"),
    [
        ("LoadImage", None, ("1", _AV_GONE, _GONE)),
        ("LoadImage", b"", ("1", _AV_INVALID, _INVALID)),
        ("LoadImage", b"rubbish", ("1", "PIL.UnidentifiedImageError", "cannot identify image file '{path}'")),
        ("LoadVideo", None, ("9", _AV_GONE, _GONE)),
        ("LoadVideo", b"", ("9", _AV_INVALID, _INVALID)),
        ("LoadVideo", b"rubbish" * 9, ("9", _AV_INVALID, _INVALID)),
        ("LoadAudio", None, ("1", _AV_GONE, _GONE)),
        ("LoadAudio", b"rubbish" * 9, ("1", "ValueError", "No audio frames decoded.")),
        ("Load3D", None, ("9", "FileNotFoundError", _GONE)),
    ],
)
async def test_a_file_that_is_gone_or_broken_ends_its_prompt(
    box: Any, loader: str, content: bytes | None, error: tuple[str, str, str]
) -> None:
    """`LoadVideo` and `Load3D` open nothing: the node behind them fails."""
    graph, good, name = LOADERS[loader]
    path = box.input / name
    path.write_bytes(good(1))

    def change() -> None:
        path.unlink() if content is None else path.write_bytes(content)

    node_id, kind, text = error
    assert await failed(box, graph(name), change) == (node_id, kind, text.format(path=path) + "\n")


async def test_a_video_that_is_gone_fails_who_takes_it_apart(box: Any) -> None:
    path = box.input / "a.mp4"
    path.write_bytes(mp4(1))
    assert (await failed(box, taking_apart("a.mp4"), path.unlink))[0] == "2"


async def test_a_picture_that_lacks_its_end_is_loaded_without_complaint(box: Any) -> None:
    await box.upload(png(1)[:-20])
    assert len(await made(box, loading("a.png"))) == 1
