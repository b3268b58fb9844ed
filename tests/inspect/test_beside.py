"""The chain that a process of its own checks is checked as well as here, and never left out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from comfyledger.inspect import beside
from comfyledger.inspect.findings import EXAMPLES_MAX, Tally
from inspect_given import Place


@pytest.fixture(autouse=True)
def long_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every log counts as a long one."""
    monkeypatch.setattr(beside, "EVENTS_MIN", 0)


@pytest.fixture
def checked_here(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often this process has checked a chain."""
    times: list[object] = []
    check = beside.check_chain
    monkeypatch.setattr(beside, "check_chain", lambda *given: (times.append(given), check(*given))[1])
    return lambda: len(times)


def test_a_process_of_its_own_finds_what_was_changed(place: Place, checked_here: Callable[[], int]) -> None:
    assert place.kinds() == {}
    place.tamper("UPDATE events SET at = at + 1 WHERE position = 7")
    assert place.kinds() == {"chain_changed": ["position 7"]}
    assert checked_here() == 0


@pytest.mark.parametrize("process", ["/bin/true", "/bin/false"])
def test_a_process_that_says_nothing_leaves_the_check_to_this_one(
    place: Place, checked_here: Callable[[], int], monkeypatch: pytest.MonkeyPatch, process: str
) -> None:
    place.tamper("UPDATE events SET at = at + 1 WHERE position = 7")
    monkeypatch.setattr(sys, "executable", process)
    assert place.kinds() == {"chain_changed": ["position 7"]}
    assert checked_here() == 1


def test_a_process_that_cannot_be_started_leaves_the_check_to_this_one(
    place: Place, checked_here: Callable[[], int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place.tamper("UPDATE events SET at = at + 1 WHERE position = 7")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    assert place.kinds() == {"chain_changed": ["position 7"]}
    assert checked_here() == 1


def test_an_anchor_waits_for_the_process(place: Place, tmp_path: Path) -> None:
    place.tamper("UPDATE events SET at = at + 1 WHERE position = 7")
    place.look(tmp_path / "anchor.json")
    assert not (tmp_path / "anchor.json").exists()


def test_it_finds_what_is_wrong_beside_the_log_and_counts_all_of_it(
    place: Place, checked_here: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.tamper("UPDATE meta SET value = 'other' WHERE key = 'schema_digest'")
    beside_it = place.kinds()
    assert checked_here() == 0
    monkeypatch.setattr(beside, "EVENTS_MIN", 1_000_000)
    assert place.kinds() == beside_it
    assert "schema_changed" in beside_it


def test_a_tally_takes_another_ones_counts_and_not_only_its_examples() -> None:
    found, both = Tally(), Tally()
    for number in range(EXAMPLES_MAX + 5):
        found.add("spool_missing", f"file {number}", "It is not there.")
    both.take(found.kinds)
    assert both.kinds == found.kinds
    both.take(found.kinds)
    assert [(kind.count, len(kind.examples)) for kind in both.kinds] == [(2 * (EXAMPLES_MAX + 5), EXAMPLES_MAX)]
