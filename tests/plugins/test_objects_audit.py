"""`audit --stores` and `recover --missing` with a bucket of each kind: what it lost is found, nothing is written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("obstore", reason="obstore is not installed")

from comfyledger.admission.recover import compare_with_store
from comfyledger.core.rows import ImageRow
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.audit.findings import Tally, silent
from comfyledger.maintenance.audit.run import audit_stores
from comfyledger.plugin_api import Deposit, Stored
from comfyledger.plugins import OpenedStore
from comfyledger_objects.store import ObjectStore
from support.ledger_builders import FOLDER, submission
from support.ledger_on_disk import Place, render, take_group
from support.object_places import ProxiedPlace, S3Place, place_of

BATCH = "batch-app-r1"
NOW_MS = 2_000_000_000_000


@pytest.fixture(params=["s3", "gcs", "azure"])
async def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[S3Place | ProxiedPlace]:
    async with place_of(request.param, tmp_path) as made:
        yield made


class Box:
    """A ledger of three images that a bucket has, too."""

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self.store, self.place = store, Place(folder / "box")

    async def fill(self) -> None:
        await self.store.prepare()
        ledger = Ledger.open(self.place.path)
        ref = msgspec.structs.replace(FOLDER, identity=self.store.identity)
        take_group(ledger, msgspec.structs.replace(submission("r1"), stores=(ref,)))
        render(ledger, self.place.spool, BATCH, (1, 2, 3))
        ledger.close()
        for row in self.rows:
            path = self.place.spool / BATCH / f"{row.index}.png"
            digests = (row.sha256, row.md5, row.size_bytes)
            given = Deposit(f"{BATCH}/{row.index}", row.public_id, "png", path, *digests, first_attempt=True)
            assert isinstance(await self.store.put(given), Stored)

    @property
    def rows(self) -> list[ImageRow]:
        return sorted(self.place.images(), key=lambda row: row.index)

    async def audit(self, *, deep: bool = False) -> dict[str, list[str]]:
        """The places of each kind of finding."""
        tally = Tally()
        stores = {"folder": OpenedStore("folder", "bucket", waiting=self.store)}
        await audit_stores(self.place.path, stores, NOW_MS, deep, tally, silent)
        return {kind.kind: [finding.where for finding in kind.examples] for kind in tally.kinds}


async def test_a_bucket_that_holds_everything_is_whole_and_stays_as_it_is(
    bucket: S3Place | ProxiedPlace, tmp_path: Path
) -> None:
    box = Box(bucket.store(), tmp_path)
    await box.fill()
    before = await bucket.contents()
    bucket.proxy.requests.clear()
    assert [await box.audit(deep=deep) for deep in (False, True, False)] == [{}, {}, {}]
    assert {method for method, _ in bucket.proxy.requests} <= {"GET", "HEAD"}
    assert await bucket.contents() == before


async def test_what_a_bucket_lost_or_another_program_put_there_is_found(
    bucket: S3Place | ProxiedPlace, tmp_path: Path
) -> None:
    box = Box(bucket.store(), tmp_path)
    await box.fill()
    lost, other, whole = (row.public_id for row in box.rows)
    foreign = f"{whole}0"
    await bucket.lose(f"{lost}.png")
    await bucket.put_foreign(other, "png", b"others")
    await bucket.put_foreign(foreign, "png", b"theirs")
    await bucket.put_foreign(f"elsewhere/{lost}", "jpg", b"theirs")
    found = {
        "store_missing": [f"folder:{lost}"],
        "store_different": [f"folder:{other}"],
        "store_foreign": [f"folder:{foreign}"],
    }
    assert await box.audit() == found
    assert await box.audit(deep=True) == found
    rows = {row.public_id: row for row in box.rows}
    compared = {lost: "missing", other: "different", whole: "held"}
    assert await compare_with_store(box.store, rows) == compared


async def test_metadata_that_contradict_the_log_are_found_only_if_they_are_asked_for(
    bucket: S3Place | ProxiedPlace, tmp_path: Path
) -> None:
    """Another image's object, copied with its metadata over one of the same size."""
    box = Box(bucket.store(), tmp_path)
    await box.fill()
    one, other, _ = box.rows
    assert one.size_bytes == other.size_bytes
    await bucket.lose(f"{one.public_id}.png")
    path = box.place.spool / BATCH / "2.png"
    digests = (other.sha256, other.md5, other.size_bytes)
    given = Deposit(f"{BATCH}/2", one.public_id, "png", path, *digests, first_attempt=True)
    assert isinstance(await box.store.put(given), Stored)
    assert await box.audit() == {}
    assert await box.audit(deep=True) == {"store_different": [f"folder:{one.public_id}"]}
