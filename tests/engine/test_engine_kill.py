"""kill -9 in the middle of a load: every number that was answered is in the log, and none is ever given twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from comfyledger.core.events import BatchRequested
from comfyledger.ledger.eventlog import decode
from comfyledger.ledger.sqlite.writer import Ledger
from support.ledger_builders import check_tables

TESTS = Path(__file__).parent.parent


def submit_until_killed(path: Path, run: str, answers: int) -> dict[str, list[int]]:
    """What a process was answered until it was killed. What it printed at the moment of its death counts as well."""
    program = [sys.executable, str(TESTS / "engine" / "submitting.py"), str(path), run]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(TESTS)})
    assert process.stdout is not None
    lines: list[str] = []
    while sum(line.startswith("batch-") for line in lines) < answers:
        lines.append(process.stdout.readline())
    process.kill()
    lines += process.stdout.readlines()
    process.stdout.close()
    assert process.wait() == -9
    whole = (line.split() for line in lines if line.startswith("batch-") and line.endswith("\n"))
    return {batch_id: [int(number) for number in numbers] for batch_id, *numbers in whole}


def test_numbers_outlive_a_kill_and_are_never_given_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    answered: dict[str, list[int]] = {}
    for run, answers in (("a", 30), ("b", 1), ("c", 120)):
        answered |= submit_until_killed(path, run, answers)
        Ledger.open(path).close()
        events = [decode(line.kind, line.schema, line.data) for line in check_tables(path)]
        given = {
            event.batch_id: [image.number for image in event.images]
            for event in events
            if isinstance(event, BatchRequested)
        }
        assert answered.items() <= given.items()
        numbers = [number for numbers in given.values() for number in numbers]
        assert numbers == list(range(1, len(numbers) + 1))
    assert len(answered) > 150
