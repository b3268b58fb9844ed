"""The tables are the fold of the log, whatever came: commands, and reports that fit, are late, doubled or foreign."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfyledger.core.commands import CancelBatch
from comfyledger.core.events import KINDS
from comfyledger.core.rows import BatchRow, PromptRow
from comfyledger.ledger.sqlite.writer import Ledger
from support.core_builders import gone, left, rendering
from support.ledger_builders import check_tables, submission, take
from support.ledger_load import run_load


@pytest.mark.parametrize("seed", range(4))
def test_the_tables_equal_the_fold_of_the_log(path: Path, seed: int) -> None:
    ledger = Ledger.open(path)
    run_load(ledger, seed, groups=260)
    ledger.close()
    lines = check_tables(path)
    assert len(lines) > 300


def test_the_random_loads_lead_to_every_kind_of_event(path: Path) -> None:
    """Else the test above would say less than it seems to."""
    lacking = set(KINDS)
    for seed in range(4, 20):
        ledger = Ledger.open(path.with_name(f"{seed}.db"))
        run_load(ledger, seed, groups=200)
        ledger.close()
        lacking -= {line.kind for line in check_tables(ledger.path)}
        if not lacking:
            break
    assert lacking == set()


def test_what_is_open_is_found_again_after_a_start(path: Path) -> None:
    ledger = Ledger.open(path)
    run_load(ledger, 5, groups=100)
    take(ledger, submission("last"))
    ledger.close()
    again = Ledger.open(path)
    rows = again.open_rows()
    again.close()
    prompts = [(row.batch_id, row.index) for row in rows if type(row).__name__ == "PromptRow"]
    assert ("batch-app-last", 1) in prompts
    batches = {row.batch_id for row in rows if type(row).__name__ == "BatchRow"}
    assert {batch_id for batch_id, _ in prompts} <= batches


def test_a_prompt_that_is_done_and_has_a_stray_is_found_again(path: Path) -> None:
    ledger = Ledger.open(path)
    batch_id = take(ledger, submission("one"))[0].batch_id
    take(ledger, *rendering(1, batch=batch_id), left(1, batch=batch_id), CancelBatch("app", batch_id))
    ledger.close()
    again = Ledger.open(path)
    rows = again.open_rows()
    assert [row.strays[0].attempt for row in rows if isinstance(row, PromptRow)] == [1]
    assert [row.settled for row in rows if isinstance(row, BatchRow)] == [True]
    take(again, gone(1, batch=batch_id))
    assert [row for row in again.open_rows() if isinstance(row, PromptRow | BatchRow)] == []
    again.close()
    check_tables(path)
