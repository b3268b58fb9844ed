"""A power loss at every recorded operation of the folder of inputs, under four models of what a disk keeps.

Whatever is left, an input that was acknowledged is there with its bytes, and one that was said to have gone does not
come back. The same life with one durable step taken out must be found out, or the checks prove nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import random
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from comfyledger.core.inputs import InputRow
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.workers.inputs.store import InputStore
from comfyledger.workers.spool.checks import Checks
from crash_images import recorder
from crash_images.input_life import BOUNDS, INPUTS, LEDGER
from crash_images.models import MODELS, Disk, Image, Model, synced_only
from crash_images.recorder import Kind, Record
from support.ledger_builders import check_tables, rows_in

HERE = Path(__file__).parent
SEED = 20_240_607
Said = dict[str, str]
"""The last that was said of an input: that it is `kept` or `gone`, or that this `changes` now."""
Found = dict[str, str]
"""Where each input is: `kept`, `removing` or `gone`; `back` if its file is there although the ledger has it not."""


class Lives:
    """The recorder, what was recorded with it, and what was found in images."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._library = recorder.compiled(folder)
        self._serial = itertools.count()
        self._known: dict[bytes, tuple[list[str], Found]] = {}

    def records(self, step: str = "") -> list[Record]:
        root = self._folder / f"life {step}"
        root.mkdir()
        program = [sys.executable, str(HERE / "input_life.py"), str(root), step]
        return recorder.recorded(self._library, program, root, self._folder / f"log {step}", HERE.parent)

    def look(self, image: Image) -> tuple[list[str], Found]:
        """What is wrong in an image whatever was said, and where each input is."""
        digest = hashlib.blake2b(repr(sorted(image.items())).encode()).digest()
        if digest not in self._known:
            place = self._folder / f"image{next(self._serial)}"
            _build(image, place)
            self._known[digest] = started(place)
            shutil.rmtree(place)
        return self._known[digest]


def _build(image: Image, place: Path) -> None:
    place.mkdir()
    for path, content in image.items():
        if content is None:
            (place / path).mkdir()
        else:
            (place / path).write_bytes(content)


def started(place: Path) -> tuple[list[str], Found]:
    """As the daemon starts: the ledger is opened, then the folder is swept."""
    try:
        Ledger.open(place / LEDGER).close()
        check_tables(place / LEDGER)
    except (LedgerUnusable, AssertionError, sqlite3.Error) as error:
        return [f"the ledger does not hold: {error!r}"[:200]], {}
    inputs = [row for row in rows_in(place / LEDGER).values() if isinstance(row, InputRow)]
    found = {row.sha256: _found(place / INPUTS, row) for row in inputs}
    asyncio.run(_sweep(place / INPUTS, inputs))
    kept = [row for row in inputs if row.here == "kept"]
    faults = [f"{row.sha256} is not whole on disk" for row in kept if not _is_whole(place / INPUTS, row)]
    here = {row.sha256 for row in inputs if row.here}
    files = [path for path in (place / INPUTS).rglob("*") if path.is_file() and path.suffix != ".strikes"]
    faults += [f"{path.name} was left" for path in files if path.name.partition(".")[0] not in here]
    return faults, found


async def _sweep(root: Path, inputs: Sequence[InputRow]) -> None:
    async def known(names: Sequence[str]) -> Mapping[str, str]:
        return {row.sha256: row.extension for row in inputs if row.here and row.sha256 in names}

    await InputStore(root, BOUNDS, Checks(), known, strikes_max=3).sweep()


def _path(root: Path, row: InputRow) -> Path:
    return root / row.sha256[:2] / f"{row.sha256}.{row.extension}"


def _is_whole(root: Path, row: InputRow) -> bool:
    path = _path(root, row)
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == row.sha256


def _found(root: Path, row: InputRow) -> str:
    """As the power loss left it, before the sweep."""
    return row.here or ("back" if _path(root, row).exists() else "gone")


def violations(records: list[Record], model: Model, lives: Lives) -> list[str]:
    disk, said, chance = Disk(), Said(), random.Random(SEED)
    found = []
    for place, record in enumerate(records):
        disk.take(record)
        if record.kind is Kind.NOTE:
            ((word, name),) = json.loads(record.content).items()
            said[name] = word
        faults, here = lives.look(model(disk, chance))
        settled = {name: word for name, word in said.items() if word != "changes"}
        lost = [f"{name} is {here.get(name)}, not {word}" for name, word in settled.items() if here.get(name) != word]
        if faults or lost:
            found.append(f"after operation {place}: {'; '.join(faults + lost)}")
    return found


@pytest.fixture(scope="module")
def lives() -> Iterator[Lives]:
    """In memory where that is possible: hundreds of images are built."""
    if recorder.compiler() is None:
        pytest.skip("no C compiler (cc or gcc): the recorder of crash images cannot be built")
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Lives(Path(folder).resolve())


@pytest.fixture(scope="module")
def records(lives: Lives) -> list[Record]:
    return lives.records()


def test_the_life_keeps_ends_and_loses_inputs(records: list[Record]) -> None:
    notes = [json.loads(record.content) for record in records if record.kind is Kind.NOTE]
    words = [word for note in notes for word in note]
    assert words == ["kept", "kept", "changes", "changes", "gone", "gone", "changes", "kept"]


@pytest.mark.parametrize("model", MODELS)
def test_a_power_loss_at_any_operation_loses_no_input_and_brings_none_back(
    records: list[Record], lives: Lives, model: Model
) -> None:
    assert violations(records, model, lives) == []


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        ("sync_file", "is not whole on disk"),
        ("sync_folder", "is not whole on disk"),
        ("sync_folder of removals", "is back, not gone"),
    ],
)
def test_a_durable_step_that_is_taken_out_is_found_out(lives: Lives, step: str, fault: str) -> None:
    assert any(fault in line for line in violations(lives.records(step), synced_only, lives))
