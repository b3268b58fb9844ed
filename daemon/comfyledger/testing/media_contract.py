"""The laws of a store about files of every medium, and what all laws share. `StoreContract` includes them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from comfyledger.plugin_api import Deleted, Foreign, Held, ImageFault, Page, Store, Stored
from comfyledger.testing.place import EXTENSIONS, FOLDER, NAME, SERIES, STEM, Place, deposit, held, picture, sample

PAGE_FILES_MAX: Final = 500


async def all_pages(store: Store, prefix: str) -> list[Held]:
    """Every file below a folder. Fails if a cursor repeats."""
    found: list[Held] = []
    cursors: set[str] = set()
    cursor = ""
    while True:
        page = await store.page(prefix, cursor)
        assert isinstance(page, Page)
        assert len(page.held) <= PAGE_FILES_MAX
        found.extend(page.held)
        cursor = page.cursor
        if not cursor:
            return found
        assert cursor not in cursors, "the cursor of a later page repeats an earlier one"
        cursors.add(cursor)


@pytest.mark.asyncio
class MediaContract:
    """The laws about media. A subclass has the fixture `place`."""

    @pytest.fixture
    def spool(self, tmp_path: Path) -> Path:
        folder = tmp_path / "spool-of-the-contract"
        folder.mkdir()
        return folder

    @pytest.fixture
    async def store(self, place: Place) -> Store:
        store = place.opened()
        await store.prepare()
        return store

    @pytest.mark.parametrize("extension", EXTENSIONS)
    async def test_a_file_of_every_medium_goes_all_ways(
        self, place: Place, store: Store, spool: Path, tmp_path: Path, extension: str
    ) -> None:
        given, content = deposit(spool, sample(extension), extension=extension), sample(extension)
        for replayed in (False, True):
            outcome = await store.put(given)
            assert isinstance(outcome, Stored), outcome
            assert outcome.replayed is replayed
            assert await place.contents() == {f"{NAME}.{extension}": content}
        found = await store.check(NAME, extension)
        assert found is not None
        assert (found.public_id, found.extension, found.size_bytes) == (NAME, extension, len(content))
        assert [(one.public_id, one.extension) for one in await all_pages(store, FOLDER)] == [(NAME, extension)]
        target = tmp_path / "fetched"
        target.touch()
        await store.fetch(NAME, extension, target)
        assert target.read_bytes() == content
        assert await store.delete(held(given)) == Deleted(found=True)
        assert await place.contents() == {}

    @pytest.mark.parametrize("extension", EXTENSIONS)
    async def test_other_bytes_of_any_medium_stay(
        self, place: Place, store: Store, spool: Path, extension: str
    ) -> None:
        await place.put_foreign(NAME, extension, sample(extension, 7))
        given = deposit(spool, sample(extension), extension=extension)
        outcome = await store.put(given)
        assert isinstance(outcome, ImageFault)
        assert outcome.code == "collision"
        assert isinstance(await store.delete(held(given)), Foreign)
        assert await place.contents() == {f"{NAME}.{extension}": sample(extension, 7)}

    async def test_numbers_of_all_media_count(self, place: Place, store: Store) -> None:
        for number, extension in enumerate(EXTENSIONS, 1):
            await place.put_foreign(f"{FOLDER}/{STEM}{number}", extension, sample(extension, number))
            assert await store.highest_number(SERIES) == number

    @pytest.mark.parametrize("extension", ["jpg", "mp4", "glb", "txt"])
    async def test_a_name_with_another_extension_is_never_replaced(
        self, place: Place, store: Store, spool: Path, extension: str
    ) -> None:
        """Both are held, or the second one is a collision. To delete it leaves the first one as it is."""
        assert isinstance(await store.put(deposit(spool, picture(1))), Stored)
        content = picture(2) if extension == "jpg" else sample(extension, 2)
        second = deposit(spool, content, image_id="B1/2", extension=extension)
        outcome = await store.put(second)
        assert isinstance(outcome, Stored | ImageFault)
        if isinstance(outcome, ImageFault):
            assert outcome.code == "collision"
            assert isinstance(await store.delete(held(second)), Deleted | Foreign)
        else:
            assert len(await place.contents()) == 2
            assert await store.delete(held(second)) == Deleted(found=True)
        assert await place.contents() == {f"{NAME}.png": picture(1)}
