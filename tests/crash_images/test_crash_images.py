"""A power loss at every recorded operation, under four models of what a disk keeps: nothing acknowledged is lost.

One small day of ledger, engine and spool is recorded. For each operation and model the folder is built as a disk may
hold it then, opened as a start of the daemon opens it, and compared with what had been acknowledged up to there. The
same day with one durable step taken out must be found out by the same checks, or they prove nothing.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import re
import shutil
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pytest

from comfyledger.core.events import BatchRequested, ImageKept
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.eventlog import decode
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.workers.spool.spool import Spool
from crash_images import recorder
from crash_images.models import MODELS, Disk, Image, Model, everything, synced_only
from crash_images.recorder import Kind, Record
from crash_images.workload import LEDGER, SPOOL
from support.ledger_builders import check_tables

HERE = Path(__file__).parent
SEED = 20_240_607

Given = dict[str, list[int]]
Places = set[tuple[str, int]]


class Said(msgspec.Struct):
    """What was acknowledged so far: the numbers of each batch, and the images recorded as kept."""

    numbers: Given = {}
    kept: Places = set()

    def take(self, note: Record) -> None:
        words = json.loads(note.content)
        if "kept" in words:
            batch_id, index = words["kept"]
            self.kept.add((batch_id, index))
        else:
            self.numbers[words["batch"]] = words["numbers"]


class Found(msgspec.Struct):
    """What a start found in one image."""

    faults: list[str] = []
    numbers: Given = {}
    kept: Places = set()

    def lacks(self, said: Said) -> list[str]:
        """Everything that should not be so."""
        lost = [f"numbers of {name} lost" for name, given in said.numbers.items() if self.numbers.get(name) != given]
        return self.faults + lost + [f"kept {place} lost" for place in sorted(said.kept - self.kept)]


class Days:
    """The recorder, and the days recorded with it: the good one, and those with a durable step taken out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._library = recorder.compiled(folder)
        self._days: dict[str, list[Record]] = {}
        self.known: dict[bytes, Found] = {}
        """What was found in images, whichever model built them."""

    def root(self, step: str) -> Path:
        return self._folder / f"day{step}"

    def records(self, step: str = "") -> list[Record]:
        if step not in self._days:
            root = self.root(step)
            root.mkdir()
            program = [sys.executable, str(HERE / "workload.py"), str(root), step]
            log = self._folder / f"log{step}"
            self._days[step] = recorder.recorded(self._library, program, root, log, HERE.parent)
        return self._days[step]


@pytest.fixture(scope="module")
def quick() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of images are built in it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder).resolve()


@pytest.fixture(scope="module")
def days(quick: Path) -> Days:
    if recorder.compiler() is None:
        pytest.skip("no C compiler (cc or gcc): the recorder of crash images cannot be built")
    return Days(quick)


# ---- one image


def build(image: Image, place: Path) -> None:
    place.mkdir()
    for path, content in image.items():
        if content is None:
            (place / path).mkdir()
        else:
            (place / path).write_bytes(content)


def start_on(place: Path) -> Found:
    """Open what stands there as the daemon does at its start, check all that can be checked, and sweep the spool."""
    found = Found()
    try:
        ledger = Ledger.open(place / LEDGER)
        (integrity,) = ledger._connection.execute("PRAGMA integrity_check").fetchone()
        ledger.close()
        lines = check_tables(place / LEDGER)
    except (LedgerUnusable, AssertionError, sqlite3.Error) as error:
        return Found([f"the ledger does not hold: {error!r}"[:200]])
    if integrity != "ok":
        found.faults.append(f"integrity_check: {integrity}"[:200])
    events = [decode(line.kind, line.schema, line.data) for line in lines]
    for event in events:
        if isinstance(event, BatchRequested):
            found.numbers[event.batch_id] = [image.number for image in event.images]
    found.faults += _doubled(event for event in events if isinstance(event, BatchRequested))
    _look_into_spool(place, [event for event in events if isinstance(event, ImageKept)], found)
    return found


def _doubled(batches: Iterable[BatchRequested]) -> list[str]:
    given = Counter((batch.series, image.number) for batch in batches for image in batch.images)
    return [f"number {number} of {series} given twice" for (series, number), times in given.items() if times > 1]


def _look_into_spool(place: Path, events: list[ImageKept], found: Found) -> None:
    """Every image that the log calls kept is whole, after the sweep of a start as before it."""
    wanted = {(event.batch_id, event.image) for event in events}
    spool = Spool(place / SPOOL)
    spool.sweep(lambda batch_id, index: (batch_id, index) in wanted)
    for event in events:
        path = spool.path_of(event.batch_id, event.image, event.extension)
        whole = path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == event.sha256
        if not whole:
            found.faults.append(f"kept image {event.batch_id}/{event.image} is not whole on disk")
        found.kept.add((event.batch_id, event.image))


# ---- all images of a day


class Crashes:
    """Crashes a recorded day at each operation under one model. Equal images are looked into once."""

    def __init__(self, days: Days, step: str, model: Model, folder: Path) -> None:
        self._records, self._model, self._folder = days.records(step), model, folder
        self._known, self._serial = days.known, itertools.count()
        self._seen: set[bytes] = set()
        self.violations: list[str] = []

    def run(self) -> Crashes:
        disk, said, chance = Disk(), Said(), random.Random(SEED)
        for place, record in enumerate(self._records):
            disk.take(record)
            if record.kind is Kind.NOTE:
                said.take(record)
            lacks = self._found(self._model(disk, chance)).lacks(said)
            if lacks:
                self.violations.append(f"after operation {place}: {'; '.join(lacks)}")
        return self

    def _found(self, image: Image) -> Found:
        digest = _digest(image)
        self._seen.add(digest)
        if digest not in self._known:
            place = self._folder / f"image{next(self._serial)}"
            build(image, place)
            self._known[digest] = start_on(place)
            shutil.rmtree(place)
        return self._known[digest]

    def summary(self) -> str:
        return (
            f"{self._model.__name__}: {len(self._records)} operations, as many images, {len(self._seen)} of them "
            f"different, {len(self.violations)} with violations"
        )


def _digest(image: Image) -> bytes:
    digest = hashlib.blake2b(digest_size=20)
    for path, content in sorted(image.items()):
        digest.update(f"{path}\0{-1 if content is None else len(content)}\0".encode())
        digest.update(content or b"")
    return digest.digest()


# ---- the laws


def tree(root: Path) -> Image:
    paths = [path for path in root.rglob("*") if not path.name.endswith("-shm")]
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in paths}


def test_the_record_is_complete(days: Days) -> None:
    records = days.records()
    disk = Disk()
    for record in records:
        disk.take(record)
    assert everything(disk, random.Random()) == tree(days.root(""))
    assert {record.kind for record in records} == set(Kind) - {Kind.LINK}


def test_the_day_acknowledges_numbers_and_kept_images(days: Days) -> None:
    said = Said()
    for record in days.records():
        if record.kind is Kind.NOTE:
            said.take(record)
    assert len(said.numbers) == 5
    assert len(said.kept) == sum(map(len, said.numbers.values())) == 7


@pytest.mark.parametrize("model", MODELS)
def test_a_power_loss_at_any_operation_loses_nothing_acknowledged(days: Days, quick: Path, model: Model) -> None:
    crashes = Crashes(days, "", model, quick).run()
    print(crashes.summary())
    assert crashes.violations == []


@pytest.mark.parametrize(
    ("step", "loss"),
    [
        ("synchronous", r"numbers of \S+ lost"),
        ("sync_file", r"kept image \S+ is not whole on disk"),
        ("sync_folder", r"kept image \S+ is not whole on disk"),
    ],
)
def test_a_durable_step_that_is_taken_out_is_found_out(days: Days, quick: Path, step: str, loss: str) -> None:
    crashes = Crashes(days, step, synced_only, quick).run()
    print(step, crashes.summary())
    assert any(re.search(loss, line) for line in crashes.violations), "which batch it is differs"


def test_a_mark_before_its_commit_is_found_out(days: Days, quick: Path) -> None:
    """A kill in between would leave a whole ledger that no start goes on with."""
    crashes = Crashes(days, "early mark", everything, quick).run()
    assert any("has lost its end" in line for line in crashes.violations)
