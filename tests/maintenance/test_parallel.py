"""A long log is looked at on all processors: the same is found, and nothing is left out when a process fails."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comfyledger.ledger.sqlite.log_table import read_head
from comfyledger.maintenance.audit import parallel, run
from comfyledger.maintenance.audit.findings import EXAMPLES_MAX, Tally
from comfyledger.maintenance.open_read_only import open_read_only
from support.ledger_on_disk import Place, folders_of


@pytest.fixture(autouse=True)
def long_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every log counts as a long one."""
    monkeypatch.setattr(parallel, "EVENTS_MIN", 0)


@pytest.fixture
def folded_here(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often this process has folded a log from end to end."""
    times: list[object] = []
    check = run.check_projections
    monkeypatch.setattr(run, "check_projections", lambda *given: (times.append(given), check(*given))[1])
    return lambda: len(times)


def test_processes_find_a_whole_ledger_whole(place: Place, folded_here: Callable[[], int]) -> None:
    assert place.kinds() == {}
    assert folded_here() == 0


def test_processes_find_a_ledger_of_an_older_release_whole(place: Place, folded_here: Callable[[], int]) -> None:
    place.tamper(
        "DROP TABLE webhooks",
        "DROP TABLE webhook_progress",
        "DELETE FROM _sqlite_migrations WHERE name = '0006_webhooks'",
        "PRAGMA user_version = 5",
    )
    assert place.kinds() == {}
    assert folded_here() == 0


def test_what_processes_find_wrong_is_named_here(place: Place, folded_here: Callable[[], int]) -> None:
    place.tamper(
        "UPDATE events SET at = at + 1 WHERE position = 7",
        "UPDATE images SET state = 'stored' WHERE image = 2 AND batch_id = 'batch-app-r2'",
    )
    assert place.kinds() == {"chain_changed": ["position 7"], "row_changed": ["images batch-app-r2/2"]}
    assert folded_here() == 1


@pytest.mark.parametrize("process", ["/bin/true", "/bin/cat", "/no/such/program"])
def test_processes_that_fail_leave_all_of_it_to_this_one(
    place: Place, folded_here: Callable[[], int], monkeypatch: pytest.MonkeyPatch, process: str
) -> None:
    """One ends, one says what is no answer (`cat -P` does not start), one is not there."""
    place.tamper("UPDATE meta SET value = '' WHERE key = 'secret'", "UPDATE events SET at = at + 1 WHERE position = 7")
    monkeypatch.setattr(sys, "executable", process)
    assert place.kinds() == {"file_damaged": ["meta secret"], "chain_changed": ["position 7"]}
    assert folded_here() == 1


def test_answers_that_are_none_count_as_a_no(
    place: Place, folded_here: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "answers_to", lambda tasks, _: [b"yes, certainly"] * len(tasks))
    assert place.kinds() == {}
    assert folded_here() == 1


def test_a_log_whose_parts_cannot_be_told_is_looked_at_here(
    place: Place, folded_here: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(parallel, "counted", damaged)
    assert place.kinds() == {}
    assert folded_here() == 1


def test_an_anchor_waits_for_the_processes(place: Place, tmp_path: Path) -> None:
    place.tamper("UPDATE events SET at = at + 1 WHERE position = 7")
    place.look(tmp_path / "anchor.json")
    assert not (tmp_path / "anchor.json").exists()


def test_it_finds_what_is_wrong_beside_the_log_and_counts_all_of_it(
    place: Place, folded_here: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.tamper("DROP INDEX events_by_stream")
    beside_it = place.kinds()
    assert folded_here() == 0
    monkeypatch.setattr(parallel, "EVENTS_MIN", 1_000_000)
    assert place.kinds() == beside_it
    assert "schema_changed" in beside_it


def test_who_is_interrupted_waits_for_nothing_and_leaves_no_process(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Noting(subprocess.Popen[bytes]):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            started.append(self)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Noting)
    monkeypatch.setattr(parallel, "EVENTS_A_SEGMENT", 1)
    with open_read_only(place.path) as live:
        scope = parallel.Scope(str(place.path), read_head(live), folders_of(place.folder), 0.0)
        with pytest.raises(KeyboardInterrupt):
            parallel.check_in_parallel(live, scope, interrupted)
    assert started
    assert all(process.returncode is not None for process in started)


def test_a_tally_takes_another_ones_counts_and_not_only_its_examples() -> None:
    found, both = Tally(), Tally()
    for number in range(EXAMPLES_MAX + 5):
        found.add("spool_missing", f"file {number}", "It is not there.")
    both.take(found.kinds)
    assert both.kinds == found.kinds
    both.take(found.kinds)
    assert [(kind.count, len(kind.examples)) for kind in both.kinds] == [(2 * (EXAMPLES_MAX + 5), EXAMPLES_MAX)]
