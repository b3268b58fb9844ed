"""What is in the stand-in's files, and what they are called."""

from __future__ import annotations

import io
from datetime import datetime
from pathlib import Path

import pytest
from PIL import Image

from comfyledger.sim.comfyui.pictures import (
    OutsideTheFolder,
    Picture,
    draw,
    expand,
    image_number,
    next_counter,
    plan_save,
    preview_jpeg,
    save,
)

NOW = datetime(2026, 11, 22, 8, 4, 15)
NAME = "17-a2_00003_.png"


@pytest.mark.parametrize("px", [1, 8, 63, 64, 65, 100, 256, 512])
@pytest.mark.parametrize("colour", [0x000000, 0xFFFFFF, 0x3366CC])
@pytest.mark.parametrize("name", [NAME, "x_00001_.png", "1234567890-a1_00001_" + "x" * 100 + ".png"])
def test_border_and_lower_left_corner_keep_the_colour(px: int, colour: int, name: str) -> None:
    image = draw(Picture(px, px, colour), name)
    pure = (colour >> 16, (colour >> 8) & 255, colour & 255)
    edge = [(x, y) for k in range(px) for x, y in ((k, 0), (k, px - 1), (0, k), (px - 1, k))]
    corner = [(x, px - 1 - y) for x in range(min(4, px)) for y in range(min(4, px))]
    assert {image.getpixel(at) for at in edge + corner} == {pure}


@pytest.mark.parametrize("px", [64, 200])
@pytest.mark.parametrize("colour", [0x000000, 0xFFFFFF, 0x808080])
def test_a_person_sees_which_is_which(px: int, colour: int) -> None:
    def ink(name: str) -> set[tuple[int, int]]:
        image = draw(Picture(px, px, colour), name)
        ground = image.getpixel((0, 0))
        assert isinstance(ground, tuple)
        found = set()
        for x in range(px):
            for y in range(px):
                pixel = image.getpixel((x, y))
                assert isinstance(pixel, tuple)
                if abs(pixel[0] - ground[0]) > 100:
                    found.add((x, y))
        return found

    third, fourth, unnumbered = ink(NAME), ink("17-a2_00004_.png"), ink("picture_00003_.png")
    assert third != fourth
    # The number fills a good part of the picture; a name alone does not.
    assert max(y for _, y in third) > px // 2 > max(y for _, y in unnumbered)


def test_too_small_pictures_are_left_alone() -> None:
    assert draw(Picture(63, 63, 5), NAME).getcolors() == [(63 * 63, (0, 0, 5))]


@pytest.mark.parametrize(
    ("name", "number"),
    [(NAME, 19), ("1-a1_00001_.png", 1), ("57-a12_00004_.png", 60), ("u_c_image_1_00001_.png", None), ("", None)],
)
def test_the_number_of_an_image_follows_from_its_name(name: str, number: int | None) -> None:
    assert image_number(name) == number


def test_a_file_decodes_and_carries_its_graph(tmp_path: Path) -> None:
    path = tmp_path / NAME
    save(Picture(96, 64, 0x102030), path, {"prompt": {"1": {}}, "workflow": {"nodes": []}})
    with Image.open(path) as image:
        image.load()
        assert (image.format, image.size, image.mode) == ("PNG", (96, 64), "RGB")
        assert image.text == {"prompt": '{"1":{}}', "workflow": '{"nodes":[]}'}  # type: ignore[attr-defined]
        assert image.getpixel((0, 63)) == (0x10, 0x20, 0x30)
    assert path.read_bytes()[-8:-4] == b"IEND"


def test_no_metadata_is_no_text_chunk(tmp_path: Path) -> None:
    save(Picture(8, 8, 1), tmp_path / NAME, {})
    assert b"tEXt" not in (tmp_path / NAME).read_bytes()


def test_noise_follows_its_seed() -> None:
    def drawn(seed: str) -> bytes:
        return draw(Picture(32, 32, seed=seed), NAME).tobytes()

    assert drawn("a") == drawn("a") != drawn("b")


def test_previews_are_large_jpegs() -> None:
    jpeg = preview_jpeg("seed", 1)
    assert len(jpeg) > 5_000
    assert jpeg == preview_jpeg("seed", 1) != preview_jpeg("seed", 2)
    with Image.open(io.BytesIO(jpeg)) as image:
        assert image.format == "JPEG"


@pytest.mark.parametrize(
    ("names", "counter"),
    [
        ([], 1),
        (["other_00009_.png"], 1),
        (["x_00001_.png", "x_00007_.png"], 8),
        (["x_2_00001_.png"], 3),
        (["x-a2_00004_.png"], 1),
        (["x_notes.txt"], 1),
    ],
)
def test_the_counter_comes_from_the_folder(names: list[str], counter: int) -> None:
    assert next_counter(names, "x") == counter


def test_prefixes_are_expanded(tmp_path: Path) -> None:
    first = Picture(640, 480)
    assert expand("%width%x%height%/%year%-%month%-%day%_%hour%%minute%%second%", first, NOW) == (
        "640x480/2026-11-22_080415"
    )
    assert expand("%date:yyyy%_%seed%", first, NOW) == "%date:yyyy%_%seed%"
    assert plan_save(tmp_path, "n%batch_num%", first, NOW).filename(2).startswith("n2_")


@pytest.mark.parametrize("prefix", ["../x", "a/../../x", "/etc/x"])
def test_no_prefix_leaves_the_folder(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(OutsideTheFolder):
        plan_save(tmp_path / "output", prefix, Picture(8, 8), NOW)


def test_a_prefix_may_make_folders(tmp_path: Path) -> None:
    plan = plan_save(tmp_path, "a/b/./c", Picture(8, 8), NOW)
    assert (plan.subfolder, plan.leaf, plan.counter) == ("a/b", "c", 1)
    assert plan.folder.is_dir()
    assert plan_save(tmp_path, "c", Picture(8, 8), NOW).subfolder == ""
