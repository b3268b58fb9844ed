"""What the writer knows of open work without reading is what its tables hold, whatever was undone in between."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from comfyledger.core.decide.decide import Message
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.keys import BatchKey, ImageKey, LaneKey, OneKey, PromptKey
from comfyledger.core.reports import LaneStuck, LaneWorks
from comfyledger.core.rows import BatchRow, ImageRow, LaneRow, PromptRow, Row, SeriesRow
from comfyledger.core.values import blob_of
from comfyledger.errors import Refused
from comfyledger.ledger.commit_group import Terms, decide_group
from comfyledger.ledger.ports import RowRefused
from comfyledger.ledger.sqlite import projections, row_memory
from comfyledger.ledger.sqlite.row_memory import RowMemory
from comfyledger.ledger.sqlite.writer import Ledger
from support.core_builders import one_stored
from support.ledger_builders import NOW_MS, check_tables, raw, submission, take, take_one
from support.ledger_load import Load

TERMS = Terms(NOW_MS, Policy(), None)
BATCH = "batch-app-r1"


class Checked(Ledger):
    """A ledger that compares each of its answers with the table."""

    known = 0

    def load_one(self, key: OneKey) -> Row | None:
        self.known += key.row_id in self._memory._rows
        row = super().load_one(key)
        assert row == projections.load_one(self._connection, key)
        return row


def agree(ledger: Ledger) -> None:
    """Each row that is known is in its table, and only rows of open work are known."""
    for (kind, name, more), row in ledger._memory._rows.items():
        key: OneKey = LaneKey(name)
        if kind != "lane":
            key = BatchKey(name) if kind == "batch" else {"prompt": PromptKey, "image": ImageKey}[kind](name, int(more))
        assert row == projections.load_one(ledger._connection, key)
        match row:
            case BatchRow():
                assert not row.settled
            case PromptRow():
                assert not row.is_over
            case ImageRow():
                assert row.state in {"pending", "kept", "forgetting"}
            case _:
                assert row is None or isinstance(row, LaneRow)


@pytest.mark.parametrize("rows_max", [3, 40, row_memory.ROWS_MAX])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_known_is_what_the_tables_hold(
    path: Path, seed: int, rows_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over groups that are written at once or message by message, and messages and groups that are undone after they
    wrote."""
    ledger = Checked.open(path)
    assert isinstance(ledger, Checked)
    monkeypatch.setattr(ledger._memory, "_rows_max", rows_max)
    load, chance = Load(ledger, seed), random.Random(seed)
    for _ in range(120):
        if chance.random() < 0.5:
            decide_group(ledger, [load.next() for _ in range(chance.choice([1, 2, 10]))], TERMS)
        else:
            _undone_here_and_there(ledger, load, chance)
        agree(ledger)
        assert len(ledger._memory) <= rows_max
    assert ledger.known > 100
    ledger.close()
    check_tables(path)


def _undone_here_and_there(ledger: Ledger, load: Load, chance: random.Random) -> None:
    try:
        with ledger.group():
            for _ in range(chance.choice([1, 2, 10])):
                _one(ledger, load.next(), fails=chance.random() < 0.2)
                agree(ledger)
            if chance.random() < 0.2:
                raise ZeroDivisionError
    except ZeroDivisionError:
        return


def _one(ledger: Ledger, message: Message, *, fails: bool) -> None:
    try:
        with ledger.message():
            take_one(ledger, message)
            if fails:
                raise ZeroDivisionError
    except (Refused, ZeroDivisionError):
        return


def test_a_whole_life_reads_no_row_of_open_work(ledger: Ledger) -> None:
    """From the batch to its files. What no row names is still looked for: a request, a series, a graph."""
    take(ledger, submission("r1"))
    statements: list[str] = []
    ledger._connection.set_trace_callback(statements.append)
    for message in one_stored(batch=BATCH):
        take(ledger, message)
    ledger._connection.set_trace_callback(None)
    read = [sql for sql in statements if sql.startswith("SELECT row")]
    assert [sql for sql in read if "image =" in sql or "prompt =" in sql] == []
    assert len([sql for sql in read if "lanes" in sql]) == 1, "only once, though the lane has no row"
    assert [sql for sql in read if "batches" in sql] == []


def test_what_another_program_writes_is_seen_by_the_next_group(ledger: Ledger, path: Path) -> None:
    take(ledger, submission("r1"))
    other = raw(path)
    other.execute("UPDATE images SET row = json_set(row, '$.width', 77) WHERE batch_id = ? AND image = 1", (BATCH,))
    other.close()
    with ledger.group():
        image = ledger.load_one(ImageKey(BATCH, 1))
    assert isinstance(image, ImageRow)
    assert image.width == 77


def test_an_absent_lane_is_there_once_it_was_written(ledger: Ledger) -> None:
    take(ledger, LaneWorks("store/folder"), LaneStuck("store/folder", "throttled", blob_of(b"429", b"salt")))
    row = ledger.load_one(LaneKey("store/folder"))
    assert isinstance(row, LaneRow)
    assert row.code == "throttled"


def test_a_refused_row_is_not_known(ledger: Ledger) -> None:
    """The name was given before: the images of the second batch are in no table."""
    take(ledger, submission("r1"))
    series = submission().series[0]
    projections.save(ledger._connection, [SeriesRow(series.key, series.folder, next=1)])
    with pytest.raises((Refused, RowRefused)):
        take(ledger, submission("r2"))
    assert ledger.load_one(ImageKey("batch-app-r2", 1)) is None
    agree(ledger)


def test_the_rows_that_were_written_last_are_kept() -> None:
    memory = RowMemory(rows_max=2)
    lanes = [LaneRow(name) for name in "abc"]
    memory.written(lanes[:2])
    memory.written(lanes[:1])
    memory.written(lanes[2:])
    assert [memory.known(LaneKey(name).row_id) for name in "ac"] == [lanes[0], lanes[2]]
    with pytest.raises(KeyError):
        memory.known(LaneKey("b").row_id)
