"""What object stores list: each file once over all pages, whatever else is in the bucket and in whatever order."""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("obstore", reason="obstore is not installed")

from comfyledger.plugin_api import Deleted, Held, ImageFault, Page, Series, Stored, StoreTrouble
from comfyledger.testing.place import FOLDER, NAME, SERIES, STEM, deposit, picture
from comfyledger_objects.metadata import Found
from comfyledger_objects.options import Kind, options_from
from comfyledger_objects.store import PAGE_FILES, ObjectStore
from support.object_places import ProxiedPlace, S3Place, place_of

BAD = ["..", "../x", "a/../b", "a//b", "a/./b", "a\0b", "a\x7fb"]
"""Paths that obstore does not ask for."""


@pytest.fixture
async def azure(tmp_path: Path) -> AsyncIterator[Any]:
    async with place_of("azure", tmp_path) as made:
        yield made


async def paged(store: ObjectStore, folder: str = "") -> list[Page]:
    pages = [await store.page(folder)]
    while pages[-1].cursor:
        pages.append(await store.page(folder, pages[-1].cursor))
    return pages


def names(pages: list[Page]) -> list[str]:
    return [
        f"{one.public_id}.{one.extension}" if one.extension else one.public_id for page in pages for one in page.held
    ]


# ---- names that are none


@pytest.mark.parametrize("bad", BAD)
async def test_a_folder_that_cannot_be_looked_at_is_refused_and_not_taken_for_empty(place: S3Place, bad: str) -> None:
    store = place.store()
    for call in (store.page(bad), store.page("", f"{bad}/x.png"), store.highest_number(Series(bad, "b_"))):
        with pytest.raises(StoreTrouble, match="cannot be asked for") as trouble:
            await call
        assert trouble.value.fault.code == "configuration"
    assert place.proxy.requests == []


@pytest.mark.parametrize("bad", [*BAD, "/x", "a/", ""])
async def test_a_file_of_a_bad_name_is_held_by_no_bucket(place: S3Place, tmp_path: Path, bad: str) -> None:
    store, name = place.store(), f"{bad}/x"
    assert await store.check(name, "png") is None
    assert await store.delete(Held(name, "png", 1, "a", "b", "B1/1")) == Deleted(found=False)
    with pytest.raises(StoreTrouble, match="is gone"):
        await store.fetch(name, "png", tmp_path / "target")
    outcome = await store.put(deposit(tmp_path, picture(1), name))
    assert isinstance(outcome, ImageFault)
    assert outcome.code == "refused"
    assert place.proxy.requests == []


# ---- folders that other programs have marked


async def test_what_marks_a_folder_is_no_file(place: S3Place) -> None:
    marks = ["Areg/", f"{FOLDER}/", f"{FOLDER}/.hidden/", "empty/", "v1.0/"]
    for key in (*marks, f"{NAME}.png", "Areg-2/x.png", "empty-2.png"):
        place.client.put_object(Bucket=place.bucket, Key=key, Body=b"" if key in marks else b"x")
    store = place.store()
    assert names(await paged(store, FOLDER)) == [f"{NAME}.png"]
    assert names(await paged(store, "v1.0")) == []
    found = names(await paged(store))
    assert found == ["Areg-2/x.png", f"{NAME}.png", "empty-2.png", "v1.0"], "a mark with a dot may be an empty file"


async def test_a_marked_folder_keeps_its_number_and_raises_no_doubt(place: S3Place) -> None:
    store = place.store()
    place.client.put_object(Bucket=place.bucket, Key=f"{FOLDER}/{STEM}3.png", Body=b"x")
    place.client.put_object(Bucket=place.bucket, Key=f"{FOLDER}/{STEM}7/", Body=b"")
    assert await store.highest_number(SERIES) == 7
    place.client.put_object(Bucket=place.bucket, Key=f"{FOLDER}/{STEM}20260102/", Body=b"")
    assert await store.highest_number(SERIES) == 7
    place.client.put_object(Bucket=place.bucket, Key=f"{FOLDER}/{STEM}9.png", Body=b"")
    assert await store.highest_number(SERIES) == 9, "an empty file has a number"


# ---- pages


@pytest.mark.parametrize("count", [PAGE_FILES - 1, PAGE_FILES, PAGE_FILES + 1, 2 * PAGE_FILES])
async def test_pages_end_with_the_last_file_and_have_each_once(place: S3Place, count: int) -> None:
    keys = [f"{FOLDER}/{STEM}{number}.png" for number in range(1, count + 1)]
    place.fill(keys)
    pages = await paged(place.store(), FOLDER)
    assert sorted(names(pages)) == sorted(keys)
    assert [len(page.held) for page in pages[:-1]] == [PAGE_FILES] * (count // PAGE_FILES)


async def test_a_mark_between_two_pages_repeats_and_hides_no_file(place: S3Place) -> None:
    """`dir/` is listed as `dir`, behind which `dir-1` would be listed again."""
    keys = [f"dir-{number:03}.png" for number in range(PAGE_FILES - 1)] + ["dir/a.png", "dir/b.png"]
    place.fill(keys)
    place.client.put_object(Bucket=place.bucket, Key="dir/", Body=b"")
    assert names(await paged(place.store())) == keys


class Listing:
    """Lists objects in the order in which it has them, as servers do that cannot begin after a key."""

    def __init__(self, keys: list[str]) -> None:
        self._keys = keys

    async def listed(self, folder: str, after: str, chunk: int) -> AsyncIterator[list[Found]]:
        for begin in range(0, len(self._keys), 300):
            some = self._keys[begin : begin + 300]
            yield [Found(key, 1, "", "", 0, {}) for key in some if key > after]


@pytest.mark.parametrize("count", [3, PAGE_FILES // 2, PAGE_FILES, PAGE_FILES + 1])
async def test_an_account_that_lists_folders_before_their_siblings_hides_no_file(tmp_path: Path, count: int) -> None:
    """As Azure does with a hierarchical namespace: `Areg/x` is listed before `Areg-2`."""
    keys = [f"{folder}/{number}.png" for folder in ("Areg", "Areg-2", "Areg.b") for number in range(count)]
    options = options_from("x", cast(Kind, "azure"), {"bucket": "images", "account_name": "anna"}, {})
    store = ObjectStore("x", options, cast(Any, Listing(keys)), tmp_path)
    assert names(await paged(store)) == sorted(keys)


async def test_a_container_that_is_ordered_by_utf_16_hides_no_file(azure: ProxiedPlace) -> None:
    """Azurite lists U+1F600 before U+FF21."""
    keys = [f"\U0001f600{number}.png" for number in range(PAGE_FILES)] + ["\uff211.png", "\uff212.png"]
    for key in keys:
        await azure.put_foreign(key.removesuffix(".png"), "png", b"x")
    assert names(await paged(azure.store())) == sorted(keys)


# ---- numbers


async def test_the_highest_of_thousands_of_numbers_is_found_in_any_spelling(place: S3Place, tmp_path: Path) -> None:
    """Names within a folder are compared after NFC and casefold; more of them than a server lists at a time."""
    folder, decomposed = "Zo\u00eb/images", unicodedata.normalize("NFD", "ZO\u00cb")
    series = Series(folder, "Zo\u00eb_")
    place.fill(f"{folder}/Zo\u00eb_{number}.png" for number in range(1, 2_501))
    store = place.store()
    assert await store.highest_number(series) == 2_500
    assert isinstance(await store.put(deposit(tmp_path, picture(1), f"{folder}/Zo\u00eb_2501")), Stored)
    place.client.put_object(Bucket=place.bucket, Key=f"{folder}/{decomposed}_2502.PNG", Body=b"x")
    assert await store.highest_number(series) == 2_502
    assert len(names(await paged(store))) == 2_502
