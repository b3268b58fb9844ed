"""The store of docs/plugins.md holds to all laws, and the laws find every store that breaks one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from comfyledger.plugin_api import (
    API_VERSION,
    Deleted,
    Deposit,
    Held,
    ImageFault,
    LaneFault,
    Page,
    Series,
    Space,
    Stored,
    StoreTrouble,
    medium_of,
)
from comfyledger.plugins import OpenedStore
from comfyledger.testing.store_contract import StoreContract
from support.documents import ROOT, blocks
from support.waiting import pause

DOCUMENT = (ROOT / "docs" / "plugins.md").read_text("utf-8")
STORE, SCALES, MEASURES, SIGNS, WARNS, PLACE = (body for _, body in blocks(DOCUMENT, "python"))
GUIDE: dict[str, Any] = {"hashlib": hashlib, "pytest": pytest, "__name__": __name__}
exec(compile(STORE + SCALES + MEASURES + SIGNS + WARNS + PLACE, "docs/plugins.md", "exec"), GUIDE)
ShelfStore, ShelfPlace, TestShelf = GUIDE["ShelfStore"], GUIDE["ShelfPlace"], GUIDE["TestShelf"]


class TestMeasured(StoreContract):
    """The store that says how much is free, at the same place."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Any:
        class MeasuredPlace(ShelfPlace):  # type: ignore[misc, valid-type]
            def opened(self) -> Any:
                return GUIDE["MeasuredStore"]("shelf", {"file": str(self._file)}, self._file.parent)

        return MeasuredPlace(tmp_path)


class TestLending(StoreContract):
    """The store that signs, at the same place."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Any:
        class LendingPlace(ShelfPlace):  # type: ignore[misc, valid-type]
            def opened(self) -> Any:
                return GUIDE["LendingStore"]("shelf", {"file": str(self._file)}, self._file.parent)

        return LendingPlace(tmp_path)


class TestGallery(StoreContract):
    """The store that scales, at the same place."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Any:
        class GalleryPlace(ShelfPlace):  # type: ignore[misc, valid-type]
            def opened(self) -> Any:
                return GUIDE["GalleryStore"]("shelf", {"file": str(self._file)}, self._file.parent)

        return GalleryPlace(tmp_path)


def test_the_store_of_the_guide_is_as_short_as_it_says() -> None:
    store = STORE[STORE.index("class ShelfStore") : STORE.index("@hookimpl")]
    assert sum(bool(line.strip()) for line in store.splitlines()) <= 60


def test_the_plugin_of_the_guide_speaks_the_version_of_today() -> None:
    assert GUIDE["COMFYLEDGER_API"] == API_VERSION


def test_the_store_of_the_guide_that_breaks_a_promise_says_which(tmp_path: Path) -> None:
    made = GUIDE["HastyStore"]("shelf", {"file": str(tmp_path / "shelf.db")}, tmp_path)
    assert OpenedStore("main", "shelf", waiting=made).caveat.startswith("Promise 8 does not hold")
    assert OpenedStore("main", "shelf", waiting=ShelfPlace(tmp_path).opened()).caveat == ""


def test_the_hook_of_the_guide_brings_its_store(tmp_path: Path) -> None:
    kinds = GUIDE["comfyledger_stores"]()
    assert kinds["shelf"]("main", {"file": str(tmp_path / "shelf.db")}, tmp_path).identity.startswith("shelf:/")
    with pytest.raises(ValueError, match="only option is file"):
        kinds["shelf"]("main", {"flie": "x"}, tmp_path)


# ---- stores that break a law


async def overwrites(store: Any, deposit: Deposit) -> Any:
    store._rows("DELETE FROM files WHERE name = ?", deposit.public_id)
    return await ShelfStore.put(store, deposit)


async def says_stored(store: Any, deposit: Deposit) -> Any:
    await ShelfStore.put(store, deposit)
    return Stored("somewhere")


async def never_replays(store: Any, deposit: Deposit) -> Any:
    outcome = await ShelfStore.put(store, deposit)
    return Stored(outcome.url) if isinstance(outcome, Stored) else outcome


async def blames_the_place(store: Any, deposit: Deposit) -> Any:
    outcome = await ShelfStore.put(store, deposit)
    return outcome if isinstance(outcome, Stored) else LaneFault("unknown", outcome.text)


async def looks_before_it_writes(store: Any, deposit: Deposit) -> Any:
    """The check and the write are two steps, so two files get one name."""
    if await store.check(deposit.public_id, deposit.extension) is None:
        await pause(0.01)
        return await overwrites(store, deposit)
    return await ShelfStore.put(store, deposit)


async def moves_the_file(store: Any, deposit: Deposit) -> Any:
    outcome = await ShelfStore.put(store, deposit)
    deposit.path.unlink()
    return outcome


async def counts_its_own(store: Any, series: Series) -> int:
    return len(store._rows("SELECT 1 FROM files"))


async def counts_the_neighbours(store: Any, series: Series) -> int:
    names = [str(name) for (name,) in store._rows("SELECT name FROM files")]
    return max((int(name.rpartition("_")[2]) for name in names if name.rpartition("_")[2].isdigit()), default=0)


async def deletes_anything(store: Any, ours: Held) -> Any:
    found = await store.check(ours.public_id, ours.extension)
    store._rows("DELETE FROM files WHERE name = ?", ours.public_id)
    return Deleted(found=found is not None)


async def deletes_by_beginning(store: Any, ours: Held) -> Any:
    found = await store.check(ours.public_id, ours.extension)
    store._rows("DELETE FROM files WHERE name GLOB ?", ours.public_id + "*")
    return Deleted(found=found is not None)


async def pages_beyond_the_folder(store: Any, prefix: str, cursor: str = "") -> Page:
    rows = store._rows("SELECT name, extension, sha256 FROM files WHERE name GLOB ?", prefix + "*")
    return Page(tuple(Held(name, extension, 1, sha256=sha256) for name, extension, sha256 in rows))


async def never_ends(store: Any, prefix: str, cursor: str = "") -> Page:
    return Page((await ShelfStore.page(store, prefix)).held, "again")


async def finds_nothing(store: Any, public_id: str, extension: str) -> None:
    return None


async def fetches_nothing(store: Any, public_id: str, extension: str, target: Path) -> None:
    target.write_bytes(b"")


async def calls_everything_a_picture(store: Any, deposit: Deposit) -> Any:
    return await ShelfStore.put(store, structs.replace(deposit, extension="png"))


async def refuses_unknown_extensions(store: Any, deposit: Deposit) -> Any:
    if medium_of(deposit.extension) == "file":
        return ImageFault("refused", "What is that?")
    return await ShelfStore.put(store, deposit)


async def replaces_another_extension(store: Any, deposit: Deposit) -> Any:
    store._rows("DELETE FROM files WHERE name = ? AND extension <> ?", deposit.public_id, deposit.extension)
    return await ShelfStore.put(store, deposit)


async def overwrites_videos(store: Any, deposit: Deposit) -> Any:
    known = medium_of(deposit.extension) == "image"
    return await (ShelfStore.put if known else overwrites)(store, deposit)


async def counts_pictures_alone(store: Any, series: Series) -> int:
    names = store._rows("SELECT name FROM files WHERE extension = 'png'")
    return max((int(str(name).rpartition("_")[2]) for (name,) in names), default=0)


async def deletes_every_extension(store: Any, ours: Held) -> Any:
    found = await store.check(ours.public_id, ours.extension)
    store._rows("DELETE FROM files WHERE name = ?", ours.public_id)
    return Deleted(found=found is not None)


async def deletes_pictures_alone(store: Any, ours: Held) -> Any:
    return await ShelfStore.delete(store, structs.replace(ours, extension="png"))


async def pages_names_with_extensions(store: Any, prefix: str, cursor: str = "") -> Page:
    page = await ShelfStore.page(store, prefix, cursor)
    whole = (structs.replace(one, public_id=f"{one.public_id}.{one.extension}", extension="") for one in page.held)
    return Page(tuple(whole), page.cursor)


async def fetches_pictures_alone(store: Any, public_id: str, extension: str, target: Path) -> None:
    await ShelfStore.fetch(store, public_id, "png", target)


def scales_everything(store: Any, url: str, extension: str, side_max: int) -> str:
    return f"https://gallery.example/{side_max}/{url}"


def scales_without_tls(store: Any, url: str, extension: str, side_max: int) -> str:
    return "http://gallery.example/1.webp" if url.startswith("shelf:") and extension == "png" else ""


async def measures_more_than_there_is(store: Any) -> Space:
    return Space("/srv", 2, 1, 7)


EVERY_MEDIUM = "test_a_file_of_every_medium_goes_all_ways"
BREAKS: list[tuple[str, Callable[..., Any], str]] = [
    ("put", overwrites, "test_other_bytes_are_never_replaced"),
    ("put", says_stored, "test_other_bytes_are_never_replaced"),
    ("put", never_replays, "test_the_same_file_again_is_replayed"),
    ("put", blames_the_place, "test_other_bytes_are_never_replaced"),
    ("put", looks_before_it_writes, "test_of_many_files_under_one_name_one_wins"),
    ("put", moves_the_file, "test_the_file_of_the_spool_stays_as_it_is"),
    ("highest_number", counts_its_own, "test_the_highest_number_counts_the_files_of_everybody"),
    ("delete", deletes_anything, "test_a_strangers_file_is_not_deleted"),
    ("delete", deletes_by_beginning, "test_ours_is_deleted_and_its_neighbours_stay"),
    ("page", pages_beyond_the_folder, "test_pages_show_each_file_below_a_folder_once"),
    ("page", never_ends, "test_pages_show_each_file_below_a_folder_once"),
    ("check", finds_nothing, "test_a_check_says_what_is_held"),
    ("fetch", fetches_nothing, "test_what_is_held_is_fetched_byte_for_byte"),
    ("put", calls_everything_a_picture, EVERY_MEDIUM),
    ("put", refuses_unknown_extensions, EVERY_MEDIUM),
    ("page", pages_names_with_extensions, EVERY_MEDIUM),
    ("fetch", fetches_pictures_alone, EVERY_MEDIUM),
    ("delete", deletes_pictures_alone, EVERY_MEDIUM),
    ("put", overwrites_videos, "test_other_bytes_of_any_medium_stay"),
    ("put", replaces_another_extension, "test_a_name_with_another_extension_is_never_replaced"),
    ("delete", deletes_every_extension, "test_a_name_with_another_extension_is_never_replaced"),
    ("thumbnail_url", scales_everything, "test_who_scales_gives_addresses_of_its_own_pictures_alone"),
    ("thumbnail_url", scales_without_tls, "test_who_scales_gives_addresses_of_its_own_pictures_alone"),
    ("space", measures_more_than_there_is, "test_who_measures_says_how_much_is_free"),
    ("highest_number", counts_pictures_alone, "test_numbers_of_all_media_count"),
]


@pytest.mark.parametrize(("call", "broken", "law"), BREAKS, ids=lambda value: getattr(value, "__name__", value))
async def test_a_store_that_breaks_a_law_is_found_out(
    tmp_path: Path, call: str, broken: Callable[..., Any], law: str
) -> None:
    class Broken(ShelfStore):  # type: ignore[misc, valid-type]
        pass

    setattr(Broken, call, broken)
    place = ShelfPlace(tmp_path)
    store = Broken("shelf", {"file": str(tmp_path / "shelf.db")}, tmp_path)
    (tmp_path / "spool").mkdir()
    given = {"place": place, "store": store, "spool": tmp_path / "spool", "tmp_path": tmp_path, "extension": "txt"}
    test = getattr(StoreContract(), law)
    wanted = test.__code__.co_varnames[1 : test.__code__.co_argcount]
    with pytest.raises((AssertionError, FileNotFoundError, StoreTrouble)):
        await test(**{name: given[name] for name in wanted})


async def test_a_store_that_counts_its_neighbours_is_found_out(tmp_path: Path) -> None:
    class Broken(ShelfStore):  # type: ignore[misc, valid-type]
        highest_number = counts_the_neighbours

    place, store = ShelfPlace(tmp_path), Broken("shelf", {"file": str(tmp_path / "shelf.db")}, tmp_path)
    with pytest.raises(AssertionError):
        await StoreContract().test_a_file_of_another_series_counts_for_nothing(place, store, "Bree/x_image_9")


async def test_a_shelf_that_cannot_be_read_is_the_places_fault(tmp_path: Path) -> None:
    (tmp_path / "shelf.db").write_bytes(b"no database" * 100)
    store = ShelfPlace(tmp_path).opened()
    with pytest.raises(Exception, match="not a database") as trouble:
        await store.highest_number(Series("a", "b_"))
    assert trouble.value.fault.code == "not_reached"
