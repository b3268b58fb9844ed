"""The laws of a store, as tests that the author of a plugin runs against it.

A plugin's tests subclass `StoreContract` and give it a fixture `place`, which implements `Place`:

    class TestMyStore(StoreContract):
        @pytest.fixture
        async def place(self, tmp_path):
            yield MyPlace(tmp_path)

The tests need `pytest` and `pytest-asyncio` (the extra `testing`). `Place` gives them a second way in, so that they can
compare what the store answers with what the place really holds. Laws about what a place cannot do
(`can_be_unreachable`, `can_be_cut`, `can_be_throttled`) are skipped and said so.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import pytest

from comfyledger.plugin_api import (
    Deleted,
    Doubted,
    Foreign,
    ImageFault,
    LaneFault,
    Series,
    Space,
    Store,
    Stored,
    StoreTrouble,
)
from comfyledger.testing.media_contract import MediaContract, all_pages
from comfyledger.testing.place import (
    FOLDER,
    HOSTILE,
    NAME,
    SERIES,
    STEM,
    UNFIT,
    Place,
    deposit,
    held,
    picture,
    sample,
)

LANE_CODES: Final = frozenset({"not_reached", "unknown", "throttled", "configuration", "clock", "full"})
AT_ONCE: Final = 12
END_S: Final = 10.0


async def in_the_end(place: Place, wanted: dict[str, bytes]) -> None:
    """The place holds just these files, at the latest when a call that was cancelled has ended in its thread."""
    deadline = asyncio.get_running_loop().time() + END_S
    while (found := await place.contents()) != wanted:
        assert asyncio.get_running_loop().time() < deadline, sorted(found)
        await asyncio.sleep(0.01)


@pytest.mark.asyncio
class StoreContract(MediaContract):
    """All laws, those about media included. A subclass has the fixture `place`."""

    # ---- naming and replay

    async def test_a_file_is_held_under_its_name_byte_for_byte(self, place: Place, store: Store, spool: Path) -> None:
        outcome = await store.put(deposit(spool, picture(1)))
        assert isinstance(outcome, Stored), outcome
        assert not outcome.replayed
        assert await place.contents() == {f"{NAME}.png": picture(1)}

    async def test_the_file_of_the_spool_stays_as_it_is(self, store: Store, spool: Path) -> None:
        given = deposit(spool, picture(1))
        before = given.path.stat()
        assert isinstance(await store.put(given), Stored)
        after = given.path.stat()
        assert given.path.read_bytes() == picture(1)
        assert (after.st_ino, after.st_nlink, after.st_mode) == (before.st_ino, before.st_nlink, before.st_mode)

    async def test_the_same_file_again_is_replayed(self, place: Place, store: Store, spool: Path) -> None:
        first = await store.put(deposit(spool, picture(1)))
        again = await store.put(deposit(spool, picture(1), first_attempt=False))
        assert isinstance(first, Stored)
        assert isinstance(again, Stored)
        assert again.replayed
        assert again.url == first.url
        assert await place.contents() == {f"{NAME}.png": picture(1)}

    async def test_after_a_restart_it_is_replayed_as_well(self, place: Place, store: Store, spool: Path) -> None:
        assert isinstance(await store.put(deposit(spool, picture(1))), Stored)
        later = place.opened()
        await later.prepare()
        again = await later.put(deposit(spool, picture(1), first_attempt=False))
        assert isinstance(again, Stored)
        assert again.replayed
        assert later.identity == store.identity

    async def test_who_compares_bytes_stores_no_others(self, place: Place, store: Store, spool: Path) -> None:
        if not getattr(store, "compares_bytes", False):
            pytest.skip("this store leaves it to the daemon to compare the bytes")
        given = deposit(spool, picture(1))
        given.path.write_bytes(picture(2))
        altered = await store.put(given)
        given.path.unlink()
        for outcome in (altered, await store.put(given)):
            assert isinstance(outcome, ImageFault)
            assert outcome.code == "altered"
        assert await place.contents() == {}
        given.path.write_bytes(picture(1))
        assert isinstance(await store.put(given), Stored)

    @pytest.mark.parametrize("public_id", HOSTILE)
    @pytest.mark.parametrize("extension", ["png", "glb"])
    async def test_every_name_goes_all_ways(
        self, place: Place, store: Store, spool: Path, public_id: str, extension: str
    ) -> None:
        given = deposit(spool, sample(extension), public_id, extension=extension)
        assert isinstance(await store.put(given), Stored)
        assert await place.contents() == {f"{public_id}.{extension}": sample(extension)}
        found = await store.check(public_id, extension)
        assert found is not None
        assert found.public_id == public_id
        folder, _, leaf = public_id.rpartition("/")
        stem, _, number = leaf.rpartition("_")
        assert [one.public_id for one in await all_pages(store, folder)] == [public_id]
        if len(number) < 5:
            assert await store.highest_number(Series(folder, f"{stem}_")) == int(number)
        assert await store.delete(held(given)) == Deleted(found=True)
        assert await place.contents() == {}

    @pytest.mark.parametrize("public_id", UNFIT)
    async def test_a_name_that_does_not_fit_is_the_images_fault(
        self, place: Place, store: Store, spool: Path, public_id: str
    ) -> None:
        outcome = await store.put(deposit(spool, picture(1), public_id))
        if isinstance(outcome, Stored):
            assert await place.contents() == {f"{public_id}.png": picture(1)}
            return
        assert isinstance(outcome, ImageFault)
        assert outcome.code in {"refused", "misnamed"}
        assert outcome.text
        assert f"{public_id}.png" not in await place.contents()

    # ---- collision

    async def test_other_bytes_are_never_replaced(self, place: Place, store: Store, spool: Path) -> None:
        await place.put_foreign(NAME, "png", picture(7))
        outcome = await store.put(deposit(spool, picture(1)))
        assert isinstance(outcome, ImageFault)
        assert outcome.code == "collision"
        assert outcome.text
        assert await place.contents() == {f"{NAME}.png": picture(7)}

    async def test_of_many_files_under_one_name_one_wins(self, place: Place, store: Store, spool: Path) -> None:
        given = [deposit(spool, picture(one), image_id=f"B1/{one}") for one in range(1, AT_ONCE + 1)]
        outcomes = await asyncio.gather(*map(store.put, given))
        winners = [
            one.path.read_bytes() for one, outcome in zip(given, outcomes, strict=True) if type(outcome) is Stored
        ]
        assert len(winners) == 1
        assert {outcome.code for outcome in outcomes if isinstance(outcome, ImageFault)} == {"collision"}
        assert await place.contents() == {f"{NAME}.png": winners[0]}

    async def test_one_file_many_times_at_once_is_held_once(self, place: Place, store: Store, spool: Path) -> None:
        given = deposit(spool, picture(1))
        outcomes = await asyncio.gather(*(store.put(given) for _ in range(AT_ONCE)))
        assert all(isinstance(outcome, Stored) for outcome in outcomes)
        assert await place.contents() == {f"{NAME}.png": picture(1)}

    async def test_files_of_many_names_at_once_are_all_held(self, place: Place, store: Store, spool: Path) -> None:
        given = [deposit(spool, picture(one), f"{FOLDER}/{STEM}{one}", f"B1/{one}") for one in range(1, AT_ONCE + 1)]
        outcomes = await asyncio.gather(*map(store.put, given))
        assert all(isinstance(outcome, Stored) for outcome in outcomes)
        assert await place.contents() == {f"{one.public_id}.png": one.path.read_bytes() for one in given}

    # ---- cut short

    @pytest.mark.parametrize("steps", range(6))
    async def test_a_cancelled_put_can_be_repeated(self, place: Place, store: Store, spool: Path, steps: int) -> None:
        given = deposit(spool, picture(1))
        task = asyncio.ensure_future(store.put(given))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert isinstance(await store.put(given), Stored)
        await in_the_end(place, {f"{NAME}.png": picture(1)})

    @pytest.mark.parametrize("stored", [False, True])
    async def test_a_lost_answer_costs_a_repetition_and_nothing_else(
        self, place: Place, store: Store, spool: Path, stored: bool
    ) -> None:
        if not place.can_be_cut:
            pytest.skip("this place cannot cut a connection")
        given = deposit(spool, picture(1))
        await place.cut_next(stored=stored)
        outcome = await store.put(given)
        if not isinstance(outcome, Stored):
            assert isinstance(outcome, LaneFault)
            assert outcome.code in LANE_CODES
            outcome = await store.put(deposit(spool, picture(1), first_attempt=False))
        assert isinstance(outcome, Stored)
        assert await place.contents() == {f"{NAME}.png": picture(1)}

    async def test_an_unreachable_place_blames_no_image_and_is_not_empty(
        self, place: Place, store: Store, spool: Path
    ) -> None:
        if not place.can_be_unreachable:
            pytest.skip("this place can always be reached")
        given = deposit(spool, picture(1))
        assert isinstance(await store.put(given), Stored)
        async with place.unreachable():
            outcome = await store.put(deposit(spool, picture(2), f"{FOLDER}/{STEM}2", "B1/2"))
            assert isinstance(outcome, LaneFault)
            assert outcome.code in LANE_CODES
            assert outcome.text
            assert isinstance(await store.delete(held(given)), LaneFault)
            for call in (store.highest_number(SERIES), store.check(NAME, "png"), store.page(FOLDER)):
                with pytest.raises(StoreTrouble):
                    await call
        assert await store.highest_number(SERIES) == 1
        assert await place.contents() == {f"{NAME}.png": picture(1)}

    async def test_a_place_that_asks_for_patience_blames_no_image(
        self, place: Place, store: Store, spool: Path
    ) -> None:
        if not place.can_be_throttled:
            pytest.skip("this place never throttles")
        given = deposit(spool, picture(1))
        await place.throttle_next(7)
        outcome = await store.put(given)
        assert isinstance(outcome, LaneFault)
        assert outcome.code == "throttled"
        assert outcome.retry_after_s is None or 0 < outcome.retry_after_s <= 8
        assert await place.contents() == {}
        assert isinstance(await store.put(given), Stored)

    # ---- numbers

    async def test_an_empty_place_has_no_number(self, store: Store) -> None:
        assert await store.highest_number(SERIES) == 0

    async def test_the_highest_number_counts_the_files_of_everybody(
        self, place: Place, store: Store, spool: Path
    ) -> None:
        for number in (1, 2, 3):
            outcome = await store.put(deposit(spool, picture(number), f"{FOLDER}/{STEM}{number}", f"B1/{number}"))
            assert isinstance(outcome, Stored)
        assert await store.highest_number(SERIES) == 3
        await place.put_foreign(f"{FOLDER}/{STEM}57", "png", picture(57))
        assert await store.highest_number(SERIES) == 57

    @pytest.mark.parametrize(
        "name",
        [
            f"{FOLDER}/{STEM}",
            f"{FOLDER}/{STEM}x9",
            f"{FOLDER}/{STEM}9x",
            f"{FOLDER}/{STEM}\u0669",
            f"{FOLDER}/{STEM}1234567890123456",
            f"{FOLDER}/other_{STEM}9",
            f"{FOLDER}/below/{STEM}9",
            f"{FOLDER}2/{STEM}9",
            "Areg/characters/opal-fever/Areg_opal-fever_image_9",
            "Bree/characters/opal-fever/images/Bree_opal-fever_image_9",
        ],
    )
    async def test_a_file_of_another_series_counts_for_nothing(self, place: Place, store: Store, name: str) -> None:
        await place.put_foreign(f"{FOLDER}/{STEM}3", "png", picture(3))
        await place.put_foreign(name, "png", picture(9))
        assert await store.highest_number(SERIES) == 3

    async def test_a_number_far_above_the_others_is_doubted(self, place: Place, store: Store) -> None:
        await place.put_foreign(f"{FOLDER}/{STEM}3", "png", picture(3))
        await place.put_foreign(f"{FOLDER}/{STEM}20251122", "png", picture(4))
        with pytest.raises(Doubted) as doubt:
            await store.highest_number(SERIES)
        assert (doubt.value.number, doubt.value.below) == (20251122, 3)

    # ---- looking, fetching, deleting

    async def test_a_check_says_what_is_held(self, store: Store, spool: Path) -> None:
        given = deposit(spool, picture(1))
        assert await store.check(NAME, "png") is None
        assert isinstance(await store.put(given), Stored)
        found = await store.check(NAME, "png")
        assert found is not None
        assert (found.public_id, found.extension, found.size_bytes) == (NAME, "png", given.size_bytes)
        assert found.md5 in {"", given.md5}
        assert found.sha256 in {"", given.sha256}
        assert found.image_id in {"", given.image_id}
        assert found.md5 or found.sha256, "what is held must be comparable with what was given"

    async def test_what_is_held_is_fetched_byte_for_byte(self, store: Store, spool: Path, tmp_path: Path) -> None:
        assert isinstance(await store.put(deposit(spool, picture(1))), Stored)
        target = tmp_path / "fetched"
        target.touch()
        await store.fetch(NAME, "png", target)
        assert target.read_bytes() == picture(1)

    async def test_a_file_that_is_gone_cannot_be_fetched(self, store: Store, tmp_path: Path) -> None:
        target = tmp_path / "fetched"
        target.touch()
        with pytest.raises(StoreTrouble):
            await store.fetch(NAME, "png", target)
        assert target.read_bytes() == b""

    async def test_who_scales_gives_addresses_of_its_own_pictures_alone(self, store: Store, spool: Path) -> None:
        if not hasattr(store, "thumbnail_url"):
            pytest.skip("this store serves no smaller pictures")
        stored = await store.put(deposit(spool, picture(1)))
        assert isinstance(stored, Stored)
        for side_max in (256, 1024):
            address = store.thumbnail_url(stored.url, "png", side_max)
            assert not address or (address.startswith("https://") and address.isascii() and address.isprintable())
            assert store.thumbnail_url(stored.url, "png", side_max) == address, "so that browsers can cache it"
        for url in ("", "nonsense", "https://elsewhere.example/1/upload/v1/a.png", "file:///etc/passwd"):
            assert store.thumbnail_url(url, "png", 256) == ""
        for extension in ("wav", "glb", "txt", "x1234567"):
            assert store.thumbnail_url(stored.url, extension, 256) == ""

    async def test_who_measures_says_how_much_is_free(self, store: Store) -> None:
        if not hasattr(store, "space"):
            pytest.skip("this store is on no disk of this machine")
        found = await store.space()
        assert isinstance(found, Space)
        assert 0 <= found.free_bytes <= found.total_bytes
        assert found.folder

    async def test_who_signs_gives_addresses_of_its_own_files_alone(self, store: Store, spool: Path) -> None:
        sign = getattr(store, "file_url", None)
        if sign is None:
            pytest.skip("this store signs no addresses")
        stored = await store.put(deposit(spool, picture(1)))
        assert isinstance(stored, Stored)
        address = await sign(stored.url)
        assert not address or (address.startswith("https://") and address.isascii() and address.isprintable())
        for url in ("", "nonsense", "https://elsewhere.example/a.png", "file:///etc/passwd"):
            assert await sign(url) == ""

    async def test_ours_is_deleted_and_its_neighbours_stay(self, place: Place, store: Store, spool: Path) -> None:
        given = [deposit(spool, picture(one), f"{FOLDER}/{STEM}{one}", f"B1/{one}") for one in (1, 2, 12)]
        for one in given:
            assert isinstance(await store.put(one), Stored)
        assert await store.delete(held(given[0])) == Deleted(found=True)
        assert await store.delete(held(given[0])) == Deleted(found=False)
        assert await place.contents() == {f"{one.public_id}.png": one.path.read_bytes() for one in given[1:]}

    async def test_a_strangers_file_is_not_deleted(self, place: Place, store: Store, spool: Path) -> None:
        await place.put_foreign(NAME, "png", picture(7))
        outcome = await store.delete(held(deposit(spool, picture(1))))
        assert isinstance(outcome, Foreign)
        assert outcome.text
        assert await place.contents() == {f"{NAME}.png": picture(7)}

    # ---- paging

    async def test_pages_show_each_file_below_a_folder_once(self, place: Place, store: Store, spool: Path) -> None:
        inside = [f"{FOLDER}/{STEM}{number}" for number in range(1, 6)]
        for number, name in enumerate(inside):
            assert isinstance(await store.put(deposit(spool, picture(number), name, f"B1/{number}")), Stored)
        await place.put_foreign(f"{FOLDER}2/{STEM}1", "png", picture(8))
        await place.put_foreign("elsewhere", "png", picture(9))
        assert sorted(one.public_id for one in await all_pages(store, FOLDER)) == sorted(inside)
        everything = sorted(one.public_id for one in await all_pages(store, ""))
        assert everything == sorted([*inside, f"{FOLDER}2/{STEM}1", "elsewhere"])

    async def test_a_folder_that_does_not_exist_has_no_pages(self, store: Store) -> None:
        assert await all_pages(store, "nobody/characters/nothing/images") == []

    # ---- for people

    async def test_a_diagnosis_changes_nothing(self, place: Place, store: Store, spool: Path) -> None:
        assert isinstance(await store.put(deposit(spool, picture(1))), Stored)
        for remark in await store.diagnose():
            assert remark.verdict in {"ok", "warning", "failure"}
            assert remark.sentence
        assert await place.contents() == {f"{NAME}.png": picture(1)}
