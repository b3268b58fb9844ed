"""What a store holds already, as the door shows it page by page, and what may be raised of it."""

from __future__ import annotations

from typing import Any

import pytest

from comfyledger.admission.store_import import held_series
from comfyledger.core.naming.names import Templates, outlier_in
from comfyledger.plugin_api import Held, LaneFault, Page, StoreTrouble
from comfyledger.plugins import OpenedStore
from support.wire_app import Refusal, of_kind

FOLDER = "Areg/characters/opal-fever/images"
STEM = "Areg_opal-fever_image_"
FOUND = {"folder": FOLDER, "stem": STEM, "highest": 57}


class Shelf:
    """A store of a few files, two a page, or in trouble."""

    identity = "shelf:1"

    def __init__(self, *names: str) -> None:
        self.names = names
        self.asked: list[tuple[str, str]] = []
        self.trouble: StoreTrouble | None = None

    async def page(self, prefix: str, cursor: str = "") -> Page:
        self.asked.append((prefix, cursor))
        if self.trouble is not None:
            raise self.trouble
        begin = int(cursor or 0)
        held = tuple(Held(name, "png", 5) for name in self.names[begin : begin + 2])
        return Page(held, str(begin + 2) if begin + 2 < len(self.names) else "")

    async def close(self) -> None:
        pass


@pytest.fixture
def shelf(door: Any) -> Shelf:
    made = Shelf(f"{FOLDER}/{STEM}57", "holiday", f"{FOLDER}/{STEM}56")
    door.context.stores["shelf"] = OpenedStore("shelf", "shelf", made.identity, made)
    return made


async def refused(app: Any, kind: str, **data: Any) -> dict[str, Any]:
    with pytest.raises(Refusal) as caught:
        await app.ask(kind, **data)
    return dict(caught.value.data)


async def test_a_page_is_one_call_to_the_store_and_says_what_comes_next(door: Any, shelf: Shelf) -> None:
    async with door.app() as app:
        with door.unchanged():
            first = await app.ask("survey_store", store="shelf", prefix="Areg")
            second = await app.ask("survey_store", store="shelf", prefix="Areg", cursor=first["cursor"])
    about = {"folder": FOLDER, "stem": STEM, "second": 0, "images": 1}
    assert first == {"found": [about | {"highest": 57}], "files": 2, "others": 1, "cursor": "2"}
    assert second == {"found": [about | {"highest": 56}], "files": 1, "others": 0}
    assert shelf.asked == [("Areg", ""), ("Areg", "2")]


def test_a_survey_gives_the_two_highest_numbers_of_a_series_in_any_order() -> None:
    names = [f"{FOLDER}/{STEM}{number}" for number in (3, 58, 7)] + [f"{FOLDER}/{STEM}58".upper(), "Areg/x"]
    for order in (names, names[::-1]):
        (found,) = held_series(Templates(), [Held(name, "png", 5) for name in order])
        assert (found.highest, found.second, found.images) == (58, 7, 4)


def test_each_medium_in_a_folder_is_a_series_and_an_extension_in_a_name_is_no_number() -> None:
    """A store that keeps the extension in its names, as Cloudinary does for raw files."""
    files = ("image_3", "video_7", "video_2", "model_1.glb", "model_2.3mf", "file_4.json", "picture_9")
    found = held_series(Templates(), [Held(f"{FOLDER}/Areg_opal-fever_{file}", "", 5) for file in files])
    assert {one.stem.split("_")[2]: (one.highest, one.images) for one in found} == {
        "image": (3, 1),
        "video": (7, 2),
        "model": (2, 2),
        "file": (4, 1),
    }


@pytest.mark.parametrize(
    ("fault", "retry_after_s"),
    [
        (LaneFault("throttled", "Try again later.", 2.5), 2.5),
        (LaneFault("throttled", "Try again later."), 60.0),
        (LaneFault("unknown", "502"), 5.0),
        (LaneFault("not_reached", "No route to host."), 0.0),
        (LaneFault("configuration", "Invalid Signature"), 0.0),
    ],
)
async def test_a_store_in_trouble_is_refused_with_its_words_and_the_time_to_wait(
    door: Any, shelf: Shelf, fault: LaneFault, retry_after_s: float
) -> None:
    shelf.trouble = StoreTrouble(fault)
    async with door.app() as app:
        error = await refused(app, "survey_store", store="shelf")
    assert error["code"] == "store_unavailable"
    assert fault.text in error["message"]
    assert error.get("retry_after_s", 0.0) == retry_after_s


async def test_series_are_raised_once_and_the_next_batch_goes_on_above_them(door: Any) -> None:
    async with door.app("importer") as app:
        first = await app.ask("raise_series", store="folder", found=[FOUND])
        with door.unchanged():
            again = await app.ask("raise_series", store="folder", found=[FOUND, FOUND | {"highest": 3}])
        higher = await app.ask("raise_series", store="folder", found=[FOUND | {"highest": 60}])
        asked = await app.submit("r1")
        await app.settled(asked["batch_id"])
        log = await app.log()
    assert first == {"opened": 1, "raised": 0, "unchanged": 0}
    assert again == {"opened": 0, "raised": 0, "unchanged": 2}
    assert higher == {"opened": 0, "raised": 1, "unchanged": 0}
    assert asked["numbers"] == [61, 62, 63]
    told = [event["data"] for event in of_kind(log, "series_raised")]
    assert [one["next"] for one in told] == [58, 61]
    assert {one["by"] for one in told} == {"importer"}
    assert told[0]["evidence"][0]["identity"] == f"folder:{door.folder / 'images'}"


@pytest.mark.parametrize(
    "changed",
    [
        {"folder": ""},
        {"folder": "Areg"},
        {"folder": f"{FOLDER}/"},
        {"folder": FOLDER.rpartition("/")[0], "stem": f"images/{STEM}"},
        {"stem": ""},
        {"stem": f"{STEM}1"},
        {"stem": "picture_"},
        {"stem": "Zoe\u0308_x_image_"},
        {"suffix": "-final"},
        {"suffix": "5"},
        {"highest": 0},
        {"highest": 10**15},
        {"highest": True},
        {"stem": "x" * 256},
    ],
)
async def test_only_a_series_under_the_templates_is_raised(door: Any, changed: dict[str, Any]) -> None:
    async with door.app() as app:
        with door.unchanged():
            error = await refused(app, "raise_series", store="folder", found=[FOUND, FOUND | changed])
    assert error["code"] == "invalid_field"
    assert error["path"].startswith("$.data.found[")


@pytest.mark.parametrize("count", [0, 501])
async def test_a_page_of_found_series_has_1_to_500(door: Any, count: int) -> None:
    async with door.app() as app:
        error = await refused(app, "raise_series", store="folder", found=[FOUND] * count)
    assert (error["code"], error["path"]) == ("invalid_field", "$.data.found")


async def test_a_store_that_is_not_there_or_cannot_be_used_is_said(door: Any) -> None:
    door.context.stores["broken"] = OpenedStore("broken", "s3", problem="No plugin offers stores of kind 's3'.")
    async with door.app() as app:
        for kind, more in (("survey_store", {}), ("raise_series", {"found": [FOUND]})):
            unknown = await refused(app, kind, store="cloud", **more)
            broken = await refused(app, kind, store="broken", **more)
            assert (unknown["code"], unknown["path"]) == ("unknown_store", "$.data.store")
            assert "folder" in unknown["hint"]
            assert broken["code"] == "plugin_broken"
            assert "'s3'" in broken["message"]


async def test_a_store_that_is_not_prepared_yet_is_to_be_asked_again(door: Any, shelf: Shelf) -> None:
    door.context.stores["shelf"] = OpenedStore("shelf", "shelf", problem="No answer.", waiting=shelf)
    async with door.app() as app:
        for kind, more in (("survey_store", {}), ("raise_series", {"found": [FOUND]})):
            error = await refused(app, kind, store="shelf", **more)
            assert (error["code"], error["retry_after_s"]) == ("store_unavailable", 5.0)
            assert "No answer." in error["message"]
    assert shelf.asked == []


def test_a_survey_reads_what_follows_a_dot_as_an_extension() -> None:
    files = [Held(f"{FOLDER}/{STEM}{rest}", "gz", 1) for rest in ("57.tar", "58.png.bak", "59x.tar", "60")]
    [found] = held_series(Templates(), files)
    assert (found.highest, found.second, found.images) == (60, 58, 3)


def test_a_survey_gives_extremes_that_the_two_highest_do_not_include() -> None:
    numbers = (57, 3, 20_251_122, 20_251_121, 20_251_120)
    [found] = held_series(Templates(), [Held(f"{FOLDER}/{STEM}{number}", "png", 1) for number in numbers])
    assert outlier_in(found.extremes) == outlier_in(numbers) == (20_251_120, 57)
    [found] = held_series(Templates(), [Held(f"{FOLDER}/{STEM}{number}", "png", 1) for number in (57, 20_251_122)])
    assert found.extremes == ()


async def test_a_series_of_which_no_number_counts_begins_at_the_beginning(door: Any) -> None:
    found = {"folder": FOLDER, "stem": STEM, "highest": 20_251_122, "counts": False}
    async with door.app() as app:
        assert (await app.ask("raise_series", store="folder", found=[found]))["opened"] == 1
        assert (await app.ask("raise_series", store="folder", found=[found]))["unchanged"] == 1
