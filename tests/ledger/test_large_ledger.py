"""The ledger with many images that other tests look at: it opens, and its tables say what those of a daemon would."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfyledger.core.rows import BatchRow, ImageRow
from comfyledger.ledger.ports import BatchFilter, ImageFilter
from comfyledger.ledger.sqlite.reader import Reader
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.workers.thumbnails.cache import Cache
from support import large_ledger
from support.ledger_builders import first_broken, log_of, rows_in

IMAGES = 1_500


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "ledger.db"
    large_ledger.fill(path, IMAGES)
    return path


def test_its_batches_count_their_images_and_have_names_of_their_own(path: Path) -> None:
    assert first_broken(log_of(path)) is None
    rows = rows_in(path).values()
    images = [row for row in rows if isinstance(row, ImageRow)]
    batches = [row for row in rows if isinstance(row, BatchRow)]
    assert len(images) == sum(batch.images for batch in batches) >= IMAGES
    assert len({image.public_id for image in images}) == len(images)
    assert {image.state for image in images} == {state for _, state, _ in large_ledger.FATES}
    assert all(batch.settled for batch in batches)


def test_the_same_numbers_make_the_same_ledger(path: Path, tmp_path: Path) -> None:
    large_ledger.fill(tmp_path / "ledger.db", IMAGES)
    assert rows_in(tmp_path / "ledger.db") == rows_in(path)


async def test_a_daemon_can_open_it_and_list_it(path: Path) -> None:
    Ledger.open(path).close()
    reader = Reader(path)
    newest = (await reader.batches(BatchFilter(limit=1)))[0]
    assert large_ledger.NOW_MS - 10 * 24 * 3_600_000 <= newest.at_ms <= large_ledger.NOW_MS
    first = (await reader.images(ImageFilter(limit=1)))[0]
    assert await reader.image_named(first.public_id) == first
    await reader.close()


async def test_its_newest_stored_images_can_have_thumbnails(path: Path, tmp_path: Path) -> None:
    assert large_ledger.draw(path, tmp_path, 3, b"WEBP") == 3
    reader = Reader(path)
    drawn = await reader.images(ImageFilter(state="stored", limit=3))
    await reader.close()
    cache = Cache(tmp_path / "thumbnails", 2**30)
    assert [cache.read(row.batch_id, row.index, "small", row.sha256) for row in drawn] == [b"WEBP"] * 3
