"""Laws of the table of media: whatever the spool keeps has an extension, a MIME type and a check of its bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfyledger.core.media import (
    IMAGE_EXTENSIONS,
    KINDS,
    PROVED,
    UNNAMED,
    extension_of,
    is_extension,
    medium_of,
    mime_type_of,
)
from comfyledger.core.naming.names import COMPONENT_BYTES_MAX, NUMBER_DIGITS_MAX, STEM_BYTES_MAX
from comfyledger.plugin_api import IMAGE_EXTENSIONS as SEEN_BY_PLUGINS
from comfyledger.workers.media.media_file import DECODES, WALKS

CONTAINERS = {
    "movie": {"mp4", "mov", "m4a"},
    "matroska": {"webm", "mkv"},
    "heif": {"avif", "heic"},
    "ogg": {"ogg", "ogv"},
}


def test_every_kind_of_file_that_says_whether_it_is_whole_is_checked() -> None:
    walked = {extension for kind in WALKS for extension in CONTAINERS.get(kind, {kind})}
    assert {*PROVED, "jxl"} == walked
    assert set(DECODES) < set(PROVED)


def test_a_mime_type_says_the_medium() -> None:
    other = {
        extension
        for extension, kind in KINDS.items()
        if kind.medium != "file" and not kind.mime_type.startswith(f"{kind.medium}/")
    }
    assert other == set()


def test_every_kind_can_be_kept_and_no_extension_means_two() -> None:
    spellings = [word for extension, kind in KINDS.items() for word in (extension, *kind.others)]
    assert all(is_extension(word) for word in (*spellings, UNNAMED))
    assert len(set(spellings)) == len(spellings)


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("a.PNG", "png"),
        ("a.jpeg", "jpg"),
        ("a_00001_.abc", "abc"),
        ("a.safetensors", "safetensors"),
        ("a.safetensorz", "bin"),
        ("a.tar.gz", "gz"),
        ("a", "bin"),
        ("a.", "bin"),
        ("a.p g", "bin"),
        ("a.é", "bin"),
        ("a.p\n", "bin"),
        ("", "bin"),
    ],
)
def test_a_file_is_kept_under_the_extension_of_its_name(name: str, extension: str) -> None:
    assert extension_of(name) == extension


def test_the_longest_name_of_a_file_fits_with_every_extension() -> None:
    longest = STEM_BYTES_MAX + NUMBER_DIGITS_MAX
    assert all(longest + 1 + len(extension) <= COMPONENT_BYTES_MAX for extension in (*KINDS, "x" * 8))


def test_what_no_table_knows_is_a_file_of_bytes() -> None:
    assert (medium_of("abc"), mime_type_of("abc")) == ("file", "application/octet-stream")
    assert (medium_of("jpeg"), mime_type_of("jpeg")) == ("image", "image/jpeg")
    assert medium_of("svg") == "file", "a document: a browser would run its scripts"


def test_plugins_see_the_same_pictures_and_every_spelling_of_them() -> None:
    assert SEEN_BY_PLUGINS == IMAGE_EXTENSIONS
    assert {"png", "jpg", "jpeg", "webp", "gif", "avif", "tiff", "tif", "exr"} <= IMAGE_EXTENSIONS


def test_every_kind_is_documented_with_its_medium_and_type_and_no_other() -> None:
    page = (Path(__file__).parents[2] / "docs" / "media.md").read_text()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| `")
    ]
    names = {", ".join(f"`{word}`" for word in (word, *kind.others)): kind for word, kind in KINDS.items()}
    assert [row[0] for row in rows] == list(names)
    for row in rows:
        kind = names[row[0]]
        assert row[1:3] == [kind.medium, f"`{kind.mime_type}`"]
        assert (row[3:] == ["its length", "nothing"]) == (not kind.proved and row[0] != "`jxl`")
