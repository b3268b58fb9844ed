"""A power loss at every recorded operation of backup, rebuild and restore, under four models of what a disk keeps.

Whatever is left, the live ledger opens and is the old one or the new one, whole; the old one is never gone; and what is
called a backup is one. The same with one durable step taken out must be found out, or the checks prove nothing.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.audit.findings import silent
from comfyledger.maintenance.backup import verified
from crash_images import recorder
from crash_images.lives import BACKUPS, ELSEWHERE, LIVE, WORDS, State, state_of
from crash_images.models import MODELS, Disk, Image, Model, everything, synced_only
from crash_images.recorder import Kind, Record

HERE = Path(__file__).parent
SEED = 20_240_607
PARTS = ("", "-wal", ".mark")
"""A ledger after a crash: its file, its write-ahead log and its mark."""


class Said(msgspec.Struct):
    """What was acknowledged up to an operation, and what each ledger will be next."""

    states: dict[str, State | None]
    coming: dict[str, State]
    backups: list[str] = []
    replaced: State | None = None
    """What the restore put another ledger in the place of."""
    aside: str = ""
    gone: bool = False
    """Whether the words were said to be forgotten."""

    @classmethod
    def at_first(cls) -> Said:
        return cls({LIVE: None, ELSEWHERE: None}, {})


def acknowledged(records: list[Record]) -> Iterator[Said]:
    """For each operation what was said up to it."""
    notes = [json.loads(record.content) if record.kind is Kind.NOTE else {} for record in records]
    coming: list[dict[str, State]] = [{}]
    for words in reversed(notes):
        coming.append(coming[-1] | ({words["ledger"]: words["state"]} if "ledger" in words else {}))
    said = Said.at_first()
    for words, then in zip(notes, itertools.islice(reversed(coming), 1, None), strict=True):
        _take(said, words)
        said.coming = then
        yield said


def _take(said: Said, words: dict[str, object]) -> None:
    match words:
        case {"ledger": str(ledger), "state": list(state)}:
            said.states[ledger] = state
        case {"backups": list(names)}:
            said.backups = names
        case {"gone": str()}:
            said.gone = True
        case {"restored": str(ledger), "aside": str(aside)} if ledger == LIVE:
            said.replaced, said.aside = said.states[LIVE], aside


class Looker:
    """Looks into what images hold. What was seen before is known by its bytes and not opened again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._serial = itertools.count()
        self._known: dict[bytes, State | str] = {}

    def ledger(self, image: Image, path: str) -> State | str | None:
        """What a start of the daemon finds there: what the ledger is, what is wrong with it, None without one."""
        if image.get(path) is None:
            return None
        return self._look([image.get(path + end) for end in PARTS], "ledger", _opened)

    def backup(self, image: Image, path: str) -> State | str:
        return self._look([image[path]], "backup", _proved)

    def _look(self, parts: list[bytes | None], what: str, look: Callable[[Path], State | str]) -> State | str:
        digest = hashlib.blake2b(repr((what, [part and hashlib.blake2b(part).digest() for part in parts])).encode())
        if digest.digest() not in self._known:
            place = self._folder / f"image{next(self._serial)}"
            place.mkdir()
            for part, end in zip(parts, PARTS, strict=False):
                if part is not None:
                    (place / f"ledger.db{end}").write_bytes(part)
            self._known[digest.digest()] = look(place / "ledger.db")
            shutil.rmtree(place)
        return self._known[digest.digest()]


def _opened(path: Path) -> State | str:
    try:
        ledger = Ledger.open(path)
        (integrity,) = ledger._connection.execute("PRAGMA integrity_check").fetchone()
        state = state_of(ledger._connection)
        scrubbed = ledger.scrub()  # as every start does
        spoken = [WORDS.encode() in file.read_bytes() for file in path.parent.iterdir()]
        ledger.close()
    except (LedgerUnusable, sqlite3.Error, TypeError) as error:
        return f"does not open: {error!r}"[:200]
    if integrity != "ok":
        return f"integrity_check: {integrity}"[:200]
    return [*state, any(spoken) or not scrubbed]


def _proved(path: Path) -> State | str:
    try:
        identity, head = verified(path, silent)
    except (LedgerUnusable, sqlite3.Error) as error:
        return f"is not whole: {error}"[:200]
    return [identity.epoch, head.position]


def lacks(image: Image, said: Said, looker: Looker) -> list[str]:
    """Everything that should not be so."""
    found = {path: looker.ledger(image, path) for path in (LIVE, ELSEWHERE) if _is_due(path, said)}
    wrong = [
        f"{path} is neither the old one nor the new one: {state}"
        for path, state in found.items()
        if _told(state) not in (said.states[path], said.coming.get(path, said.states[path]))
    ]
    wrong += [f"{path} still holds the words" for path, state in found.items() if said.gone and _speaks(state)]
    if said.aside and _told(looker.ledger(image, f"{Path(LIVE).parent}/{said.aside}")) != said.replaced:
        wrong.append("the ledger that was replaced is not what it was")
    named = [path for path in image if path.startswith(f"{BACKUPS}/comfyledger-")]
    proved = {path: looker.backup(image, path) for path in named}
    wrong += [f"the backup {path} {why}" for path, why in proved.items() if isinstance(why, str)]
    return wrong + [f"the backup {name} is lost" for name in said.backups if f"{BACKUPS}/{name}" not in named]


def _told(state: State | str | None) -> State | str | None:
    """What a ledger is, as it was told where it was written."""
    return state[:-1] if isinstance(state, list) else state


def _speaks(state: State | str | None) -> bool:
    """Whether the words are in one of its files after a start."""
    return isinstance(state, list) and bool(state[-1])


def _is_due(path: str, said: Said) -> bool:
    """The birth of the live ledger is looked at elsewhere."""
    return path != LIVE or said.states[LIVE] is not None


def violations(records: list[Record], model: Model, looker: Looker) -> list[str]:
    disk, chance = Disk(), random.Random(SEED)
    found = []
    for place, (record, said) in enumerate(zip(records, acknowledged(records), strict=True)):
        disk.take(record)
        wrong = lacks(model(disk, chance), said, looker)
        if wrong:
            found.append(f"after operation {place}: {'; '.join(wrong)}")
    return found


# ---- the recorded lives


class Lives:
    """The recorder, and what was recorded with it: all is well, or a durable step is taken out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.looker = Looker(folder)
        self._library = recorder.compiled(folder)

    def records(self, step: str = "") -> list[Record]:
        root = self.folder / f"lives {step}"
        root.mkdir()
        program = [sys.executable, str(HERE / "lives.py"), str(root), step]
        return recorder.recorded(self._library, program, root, self.folder / f"log {step}", HERE.parent)


@pytest.fixture(scope="module")
def lives() -> Iterator[Lives]:
    """In memory where that is possible: hundreds of images are built."""
    if recorder.compiler() is None:
        pytest.skip("no C compiler (cc or gcc): the recorder of crash images cannot be built")
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Lives(Path(folder).resolve())


@pytest.fixture(scope="module")
def good(lives: Lives) -> list[Record]:
    return lives.records()


def test_the_record_is_complete_and_all_was_acknowledged(lives: Lives, good: list[Record]) -> None:
    disk = Disk()
    for record in good:
        disk.take(record)
    root = lives.folder / "lives "
    there = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if not path.name.endswith("-shm")}
    assert everything(disk, random.Random()) == {
        name: path.read_bytes() if path.is_file() else None for name, path in there.items()
    }
    *_, last = acknowledged(good)
    assert (len(last.backups), last.aside != "", None in last.states.values()) == (1, True, False)


@pytest.mark.parametrize("model", MODELS)
def test_a_power_loss_at_any_operation_leaves_the_old_or_the_new_ledger(
    lives: Lives, good: list[Record], model: Model
) -> None:
    assert violations(good, model, lives.looker) == []


@pytest.mark.parametrize(
    ("step", "loss"),
    [
        ("backup file", "is not whole"),
        ("backup folder", "is lost"),
        ("restore folder", "neither the old one nor the new one"),
        ("forget words", "still holds the words"),
    ],
)
def test_a_durable_step_that_is_taken_out_is_found_out(lives: Lives, step: str, loss: str) -> None:
    assert any(loss in line for line in violations(lives.records(step), synced_only, lives.looker))
