"""Log and store against each other: what a store lacks, holds elsewhere, holds changed, and holds of strangers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from comfyledger.core.commands import Forget, OweStore, RenumberImages, RestoreLedger
from comfyledger.core.reports import UploadIntended, UploadRefused
from comfyledger.core.values import StoreRef
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.audit.findings import Kind, Tally, silent
from comfyledger.maintenance.audit.run import audit_stores
from comfyledger.maintenance.audit.stores import WAIT_MAX_S, WAIT_STEP_S, Comparison
from comfyledger.maintenance.open_read_only import open_read_only
from comfyledger.plugin_api import Deposit, Held, LaneFault, Outcome, Page, Series, StoreTrouble
from comfyledger.plugins import OpenedStore, open_stores, store_kinds
from support.ledger_builders import FOLDER, submission
from support.ledger_on_disk import Place, contents, picture, render, take_group

NOW_MS = 2_000_000_000_000


class Shelf:
    """A store in memory, two files a page. It fails the test if it is asked to change something."""

    def __init__(self, held: Mapping[str, Held], identity: str = FOLDER.identity) -> None:
        self.held = dict(held)
        self.behind: dict[str, Held] = {}
        """What `check` knows and the list not yet."""
        self.trouble = False
        self.checked: list[str] = []
        self._identity = identity

    @property
    def identity(self) -> str:
        return self._identity

    async def prepare(self) -> None:
        if self.trouble:
            raise StoreTrouble(LaneFault("not_reached", "asleep"))

    async def highest_number(self, series: Series) -> int:
        raise AssertionError

    async def put(self, deposit: Deposit) -> Outcome:
        raise AssertionError

    async def check(self, public_id: str, extension: str) -> Held | None:
        self.checked.append(public_id)
        held = (self.held | self.behind).get(public_id)
        return held if held and held.extension == extension else None

    async def page(self, prefix: str, cursor: str = "") -> Page:
        rest = [held for name, held in sorted(self.held.items()) if name.startswith(prefix) and name > cursor]
        return Page(tuple(rest[:2]), rest[1].public_id if len(rest) > 2 else "")

    async def close(self) -> None:
        return


@pytest.fixture
def shelf(place: Place) -> Shelf:
    """What the store should hold: the three stored images."""
    stored = [row for row in place.images() if row.state == "stored"]
    assert len(stored) == 3
    return Shelf({row.public_id: Held(row.public_id, "png", row.size_bytes, row.md5) for row in stored})


async def kinds(place: Place, shelf: Shelf, deep: bool = False) -> tuple[Kind, ...]:
    tally = Tally()
    stores = {"folder": OpenedStore("folder", "shelf", waiting=shelf)}
    await audit_stores(place.path, stores, NOW_MS, deep, tally, silent)
    return tally.kinds


async def found(place: Place, shelf: Shelf, deep: bool = False) -> dict[str, list[str]]:
    return {kind.kind: [finding.where for finding in kind.examples] for kind in await kinds(place, shelf, deep)}


def change(shelf: Shelf, name: str, **changed: object) -> None:
    shelf.held[name] = msgspec.structs.replace(shelf.held[name], **changed)


async def test_a_store_that_holds_what_was_given_is_whole(place: Place, shelf: Shelf) -> None:
    assert await found(place, shelf) == {}
    assert shelf.checked == []


async def test_a_store_keeps_an_image_under_the_name_that_it_got_it_by(place: Place, shelf: Shelf) -> None:
    """Another store would not take it under that name, so that it has a new number."""
    batch_id, about = "batch-app-r1", ("batch-app-r1", 1, "second")
    ledger = Ledger.open(place.path)
    owed = OweStore("app", batch_id, (1,), StoreRef("second", "second:/there"))
    renumbered = RenumberImages("app", batch_id, (submission("r1").series[0].key,), (1,))
    take_group(ledger, owed, UploadIntended(*about), UploadRefused(*about, "collision"), renumbered)
    ledger.close()
    assert min(shelf.held) not in {row.public_id for row in place.images()}
    assert await found(place, shelf) == {}


async def test_after_a_restore_a_stores_root_is_no_folder_of_the_ledger(place: Place, shelf: Shelf) -> None:
    """The row that stands for every series not used so far has no folder."""
    ledger = Ledger.open(place.path)
    take_group(ledger, RestoreLedger("cli", ledger.epoch, ledger.epoch, (), 1_000, 1_001, ()))
    ledger.close()
    shelf.held["holiday"] = Held("holiday", "png", 5)
    assert await found(place, shelf) == {}


async def test_what_is_not_there_is_missing(place: Place, shelf: Shelf) -> None:
    name = min(shelf.held)
    del shelf.held[name]
    assert await found(place, shelf) == {"store_missing": [f"folder:{name}"]}


async def test_a_forgotten_image_may_be_in_its_store_or_not(place: Place, shelf: Shelf) -> None:
    ledger = Ledger.open(place.path)
    take_group(ledger, Forget("app", "batch-app-r1"))
    ledger.close()
    assert await found(place, shelf) == {}
    del shelf.held[min(shelf.held)]
    assert await found(place, shelf) == {}


async def test_an_image_under_another_extension_is_missing(place: Place, shelf: Shelf) -> None:
    name = min(shelf.held)
    change(shelf, name, extension="jpg")
    assert await found(place, shelf) == {"store_missing": [f"folder:{name}"]}


@pytest.mark.parametrize(
    "changed",
    [{"size_bytes": 1}, {"md5": "0" * 32}, {"size_bytes": 1, "md5": ""}, {"sha256": "0" * 64, "md5": ""}],
)
async def test_other_bytes_are_different(place: Place, shelf: Shelf, changed: dict[str, object]) -> None:
    name = max(shelf.held)
    change(shelf, name, **changed)
    assert await found(place, shelf) == {"store_different": [f"folder:{name}"]}


async def test_without_an_md5_only_the_size_is_compared_unless_it_is_asked_for(place: Place, shelf: Shelf) -> None:
    listed = {name: msgspec.structs.replace(held, md5="") for name, held in shelf.held.items()}
    name = min(listed)
    real = {**shelf.held, name: msgspec.structs.replace(shelf.held[name], md5="0" * 32)}
    shelf.held, shelf.behind = listed, real
    assert await found(place, shelf) == {}
    assert await found(place, shelf, deep=True) == {"store_different": [f"folder:{name}"]}
    assert sorted(shelf.checked) == sorted(listed)


async def test_a_sha256_in_the_list_is_compared_and_makes_a_check_needless(place: Place, shelf: Shelf) -> None:
    sha256 = {row.public_id: row.sha256 for row in place.images()}
    shelf.held = {name: msgspec.structs.replace(one, md5="", sha256=sha256[name]) for name, one in shelf.held.items()}
    assert await found(place, shelf, deep=True) == {}
    assert shelf.checked == []


async def test_a_check_that_is_asked_for_compares_the_sha256_too(place: Place, shelf: Shelf) -> None:
    listed = {name: msgspec.structs.replace(held, md5="") for name, held in shelf.held.items()}
    name = min(listed)
    shelf.held, shelf.behind = listed, listed | {name: msgspec.structs.replace(listed[name], sha256="0" * 64)}
    assert await found(place, shelf, deep=True) == {"store_different": [f"folder:{name}"]}


@pytest.mark.parametrize("known_by", ["md5", "image_id", "file"])
async def test_an_image_under_another_name_is_misplaced_and_not_foreign(
    place: Place, shelf: Shelf, known_by: str
) -> None:
    name = min(shelf.held)
    held = shelf.held.pop(name)
    row = next(row for row in place.images() if row.public_id == name)
    elsewhere = {
        "md5": Held(f"{row.folder}/moved", "png", 1, held.md5),
        "image_id": Held(f"{row.folder}/moved", "png", 1, image_id=f"{row.batch_id}/{row.index}"),
        "file": Held(f"attic/{row.file}", "png", held.size_bytes),
    }[known_by]
    shelf.held[elsewhere.public_id] = elsewhere
    ((kind),) = await kinds(place, shelf)
    assert (kind.kind, kind.examples[0].where) == ("store_misplaced", f"folder:{name}")
    assert elsewhere.public_id in kind.examples[0].sentence


async def test_an_unknown_file_is_foreign_only_in_a_folder_of_ours(place: Place, shelf: Shelf) -> None:
    folder = min(shelf.held).rpartition("/")[0]
    for name in (f"{folder}/mine", "attic/mine", "mine", f"{folder.upper()}/Yours"):
        shelf.held[name] = Held(name, "png", 5)
    assert await found(place, shelf) == {
        "store_foreign": [f"folder:{name}" for name in sorted((f"{folder}/mine", f"{folder.upper()}/Yours"))]
    }


async def test_what_is_younger_than_a_minute_is_left_out(place: Place, shelf: Shelf) -> None:
    folder = min(shelf.held).rpartition("/")[0]
    shelf.held["new"] = Held(f"{folder}/new", "png", 5, created_at_ms=NOW_MS - 59_000)
    assert await found(place, shelf) == {}
    shelf.held["new"] = Held(f"{folder}/new", "png", 5, created_at_ms=NOW_MS - 61_000)
    assert await found(place, shelf) == {"store_foreign": [f"folder:{folder}/new"]}


async def test_an_image_given_but_not_told_as_stored_accuses_nobody(place: Place, shelf: Shelf) -> None:
    kept = next(row for row in place.images() if row.state == "kept")
    shelf.held[kept.public_id] = Held(kept.public_id, "png", 5)
    assert await found(place, shelf) == {}


async def test_a_list_that_is_behind_accuses_nobody(place: Place, shelf: Shelf) -> None:
    name = min(shelf.held)
    shelf.behind[name] = shelf.held.pop(name)
    assert await found(place, shelf) == {}


async def test_a_store_that_does_not_answer_is_told(place: Place, shelf: Shelf) -> None:
    shelf.trouble = True
    assert await found(place, shelf) == {"store_unusable": ["folder"]}


class Throttled(Shelf):
    """Asks to be left alone for a while before each so many pages."""

    def __init__(self, held: Mapping[str, Held], retry_after_s: float | None, times: int) -> None:
        super().__init__(held)
        self.retry_after_s, self.times = retry_after_s, times

    async def page(self, prefix: str, cursor: str = "") -> Page:
        if self.times:
            self.times -= 1
            raise StoreTrouble(LaneFault("throttled", "500 calls reached", self.retry_after_s))
        return await super().page(prefix, cursor)


@pytest.mark.parametrize(
    ("retry_after_s", "times", "slept_s", "kinds"),
    [(12.0, 2, 24.0, set()), (WAIT_MAX_S + 1, 1, 0.0, {"store_unusable"}), (None, 1, 0.0, {"store_unusable"})],
    ids=["soon", "too late", "nobody knows"],
)
async def test_a_throttled_store_is_waited_for_with_progress_and_not_for_ever(
    place: Place, shelf: Shelf, tmp_path: Path, retry_after_s: float, times: int, slept_s: float, kinds: set[str]
) -> None:
    slept: list[float] = []
    told: list[str] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    store, tally = Throttled(shelf.held, retry_after_s, times), Tally()

    def progress(what: str, done: int, total: int) -> None:
        told.append(what)

    with open_read_only(place.path) as live:
        about = {"now_ms": NOW_MS, "deep": False, "tally": tally, "progress": progress, "sleep": sleep}
        await Comparison(live, "folder", store, tmp_path / "lists.db", **about).run()  # type: ignore[arg-type]
    assert {kind.kind for kind in tally.kinds} == kinds
    assert (sum(slept), max(slept, default=0.0) <= WAIT_STEP_S) == (slept_s, True)
    assert ("seconds until folder answers again" in told) == bool(slept_s)


async def test_a_store_that_was_another_place_is_told_and_not_searched(place: Place, shelf: Shelf) -> None:
    assert await found(place, Shelf({}, "folder:/elsewhere")) == {"store_elsewhere": ["folder"]}


async def test_the_folder_store_is_whole_and_nothing_in_it_changes(tmp_path: Path) -> None:
    place = Place(tmp_path / "state")
    stores = open_stores(store_kinds(), {"folder": {"kind": "folder", "root": str(tmp_path / "images")}}, place.folder)
    store = stores["folder"].waiting
    assert store is not None
    await store.prepare()
    await store.check("any", "png")  # A folder is marked at its first use.
    ledger = Ledger.open(place.path)
    command = submission("r1")
    ref = msgspec.structs.replace(FOLDER, identity=store.identity)
    take_group(ledger, msgspec.structs.replace(command, stores=(ref,)))
    render(ledger, place.spool, "batch-app-r1", (1, 2, 3))
    ledger.close()
    for row in place.images():
        path = tmp_path / "images" / f"{row.public_id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(row.batch_id, row.index))
    before = contents(tmp_path)
    tally = Tally()
    await audit_stores(place.path, stores, NOW_MS, True, tally, silent)
    assert not tally
    path.write_bytes(b"other")
    await audit_stores(place.path, stores, NOW_MS, False, tally, silent)
    await store.close()
    assert [kind.kind for kind in tally.kinds] == ["store_different"]
    assert {name for name, raw in contents(tmp_path).items() if before.get(name) != raw} == {
        str(path.relative_to(tmp_path))
    }
