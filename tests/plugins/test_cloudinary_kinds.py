"""Laws of resource types: each file has one, raw names carry their extension, pages lead through all types."""

from __future__ import annotations

import pytest

from comfyledger.plugin_api import Held, Series
from comfyledger_cloudinary.kinds import KINDS, cursor_after, kind_of, name_in_account, own_name, turned
from comfyledger_cloudinary.listing import Numbers, held


@pytest.mark.parametrize(
    ("extension", "kind"),
    [
        *(("png", "image"), ("jpg", "image"), ("webp", "image"), ("gif", "image")),
        *(("mp4", "video"), ("webm", "video"), ("mov", "video"), ("mkv", "video"), ("MP4", "video")),
        *(("flac", "video"), ("mp3", "video"), ("wav", "video"), ("ogg", "video")),
        *(
            ("tiff", "image"),
            ("dds", "raw"),
            ("glb", "raw"),
            ("txt", "raw"),
            ("json", "raw"),
            ("bin", "raw"),
            ("exr", "raw"),
            ("x9", "raw"),
            ("", "raw"),
        ),
    ],
)
def test_a_file_has_the_type_of_its_medium(extension: str, kind: str) -> None:
    assert kind_of(extension) == kind


@pytest.mark.parametrize("name", ["a/b_1", "a.b/c.png/d_1", "a b/é.é_1", "plain", "a/.hidden"])
@pytest.mark.parametrize("extension", ["png", "mp4", "glb", "x1234567"])
def test_the_name_in_the_account_leads_back_to_ours(name: str, extension: str) -> None:
    kind = kind_of(extension)
    stored = name_in_account(name, extension)
    assert stored == (f"{name}.{extension}" if kind == "raw" else name)
    assert own_name(kind, stored, "" if kind == "raw" else extension) == (name, extension)


@pytest.mark.parametrize("name", ["a.b/notes", "a/.hidden", "a/"])
def test_a_raw_file_of_somebody_without_an_extension_has_none(name: str) -> None:
    assert own_name("raw", name, "") == (name, "")


def test_the_number_of_a_raw_file_is_before_its_extension() -> None:
    found = Numbers(Series("a/models", "model_"))
    found.add(["a/models/model_1.glb"])
    assert found.highest() == 1
    found.add(["a/models/model_2.glb", "a/models/model_3.tar.gz", "a/models/model_4.glb/x", "a/models/model_5glb"])
    assert found.highest() == 3


def test_what_is_held_has_its_extension_beside_its_name() -> None:
    raw = {"public_id": "a/model_1.glb", "bytes": 9, "resource_type": "raw", "format": "glb"}
    video = {"public_id": "a/video_1", "bytes": 9, "resource_type": "video", "format": "mp4"}
    assert held(raw) == Held("a/model_1", "glb", 9)
    assert held(video) == Held("a/video_1", "mp4", 9)


@pytest.mark.parametrize(("format_", "extension"), [("tif", "tiff"), ("jpeg", "jpg"), ("opus", "ogg"), ("PNG", "png")])
def test_cloudinarys_spelling_of_a_format_is_ours(format_: str, extension: str) -> None:
    found = held({"public_id": "a/b_1", "bytes": 9, "resource_type": "image", "format": format_})
    assert found == Held("a/b_1", extension, 9)


def test_pages_lead_through_every_type_once() -> None:
    cursor, seen = "", []
    for following in ("0a1b", "", "0c", "", ""):
        kind, own = turned(cursor)
        seen.append((kind, own))
        cursor = cursor_after(kind, following)
    assert seen == [("image", ""), ("image", "0a1b"), ("video", ""), ("video", "0c"), ("raw", "")]
    assert cursor == ""
    assert {kind for kind, _ in seen} == set(KINDS)


def test_a_cursor_of_an_earlier_release_continues_with_images() -> None:
    assert turned("9f8e:x") == ("image", "9f8e:x")
    assert turned("9f8e") == ("image", "9f8e")
