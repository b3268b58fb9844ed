"""A box is declared dead after a whole lease of silence, by one box, and never by one that could not hear."""

from __future__ import annotations

import pytest

from comfyledger.core.boxes import BoxRow
from comfyledger.ledger.ports import BoxSeen
from comfyledger.workers.fleet.leases import LEASE_S, Leases


def said(name: str, beat: int) -> BoxSeen:
    return BoxSeen(name, "", "{}", 0, beat, age_s=0.0)


def present(*names: str) -> list[BoxRow]:
    return [BoxRow(name, term=1, present=True) for name in names]


def ended(leases: Leases, beats: dict[str, int], rows: list[BoxRow], now_s: float) -> list[str]:
    return [row.name for row in leases.ended([said(*one) for one in beats.items()], rows, now_s)]


def test_a_silent_box_has_died_after_a_lease_and_not_before() -> None:
    leases, rows = Leases("a"), present("a", "b")
    assert ended(leases, {"a": 1, "b": 7}, rows, 100.0) == []
    assert ended(leases, {"a": 2, "b": 7}, rows, 100.0 + LEASE_S - 0.1) == []
    assert ended(leases, {"a": 3, "b": 7}, rows, 100.0 + LEASE_S) == ["b"]


def test_each_word_begins_the_lease_anew() -> None:
    leases, rows = Leases("a"), present("a", "b")
    assert ended(leases, {"b": 1}, rows, 0.0) == []
    assert ended(leases, {"b": 2}, rows, LEASE_S - 1) == []
    assert ended(leases, {"b": 2}, rows, LEASE_S + 1) == []


def test_a_box_that_was_cut_off_declares_nobody_dead_at_once() -> None:
    leases, rows = Leases("a"), present("a", "b")
    assert ended(leases, {"b": 1}, rows, 0.0) == []
    leases.forget()
    assert ended(leases, {"b": 1}, rows, 1_000.0) == []
    assert ended(leases, {"b": 1}, rows, 1_000.0 + LEASE_S) == ["b"]


@pytest.mark.parametrize(("own", "declared"), [("b", ["a"]), ("c", [])])
def test_the_first_by_name_of_those_that_live_declares_it(own: str, declared: list[str]) -> None:
    leases, rows = Leases(own), present("a", "b", "c")
    assert ended(leases, {"a": 1, "b": 1, "c": 1}, rows, 0.0) == []
    assert ended(leases, {"a": 1, "b": 2, "c": 2}, rows, LEASE_S) == declared


def test_a_box_that_has_left_is_not_declared_again_and_one_that_never_spoke_is() -> None:
    leases = Leases("a")
    rows = [*present("a", "silent"), BoxRow("gone", term=2, present=False)]
    assert ended(leases, {"a": 1, "gone": 3}, rows, 0.0) == []
    assert ended(leases, {"a": 2, "gone": 3}, rows, LEASE_S) == ["silent"]


def test_what_a_box_said_before_it_left_says_nothing_when_it_is_back() -> None:
    leases, own = Leases("a"), present("a")
    assert ended(leases, {"b": 7}, [*own, BoxRow("b", term=1, present=True)], 0.0) == []
    assert ended(leases, {"b": 7}, [*own, BoxRow("b", term=1)], LEASE_S) == []
    back = [*own, BoxRow("b", term=2, present=True)]
    assert ended(leases, {"b": 7}, back, 10 * LEASE_S) == []
    assert ended(leases, {"b": 7}, back, 11 * LEASE_S - 0.1) == []
    assert ended(leases, {"b": 7}, back, 11 * LEASE_S) == ["b"]
